#include "net/http_server.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "net/tcp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t wait_ms(const struct http_server *s, enum http_wait wait)
{
    switch (wait) {
    case WAIT_IDLE:
    case WAIT_WRITE:
        return s->cfg.idle_ms;
    case WAIT_REQUEST:
        return s->cfg.request_ms;
    case WAIT_BARE:
        return s->cfg.bare_request_ms;
    case WAIT_LINGER:
        return LIMIT_HTTP_LINGER_MS;
    default:
        return UINT64_MAX;
    }
}

static uint64_t due(const struct http_server *s, const struct http_conn *c)
{
    uint64_t ms = wait_ms(s, c->wait);
    return ms > UINT64_MAX - c->wait_since ? UINT64_MAX : c->wait_since + ms;
}

static void on_timer(uv_timer_t *t);

static void arm(struct http_server *s, uint64_t at)
{
    uint64_t now = uv_now(s->loop);
    if (at >= s->timer_due || s->timer_polled || s->closing) return;
    s->timer_due = at;
    uv_timer_start(&s->timer, on_timer, at > now ? at - now : 0, 0);
}

/* Expires what is due and sleeps until the next of the lists' heads. The loop may have been busy for long: what came
 * meanwhile is read first, so that nobody is blamed for our delay. */
static void on_timer(uv_timer_t *t)
{
    struct http_server *s = t->data;
    uint64_t now = uv_now(s->loop);
    if (!s->timer_polled) {
        s->timer_polled = true;
        uv_timer_start(t, on_timer, 1, 0); /* the next pass polls before it */
        return;
    }
    s->timer_polled = false;
    s->timer_due = UINT64_MAX;
    for (int k = WAIT_NONE + 1; k < WAIT_KINDS; k++) {
        while (s->waiting[k] && due(s, s->waiting[k]) <= now && !s->closing) conn_expired(s->waiting[k]);
        if (s->waiting[k]) arm(s, due(s, s->waiting[k]));
    }
}

void server_wait(struct http_conn *c, enum http_wait wait)
{
    struct http_server *s = c->server;
    if (c->wait != WAIT_NONE) DL_DELETE2(s->waiting[c->wait], c, wait_prev, wait_next);
    c->wait = wait;
    c->wait_since = uv_now(s->loop);
    if (wait == WAIT_NONE) return;
    DL_APPEND2(s->waiting[wait], c, wait_prev, wait_next);
    arm(s, due(s, c));
}

/* Only what was there at the start: what is added meanwhile waits for the next pass. */
static void on_idle(uv_idle_t *h)
{
    struct http_server *s = h->data;
    for (unsigned n = s->n_later; n && s->later; n--) {
        struct http_conn *c = s->later;
        server_not_later(s, c);
        c->had_turn = false;
        conn_update(c);
    }
    if (!s->later) uv_idle_stop(h);
}

void server_later(struct http_server *s, struct http_conn *c)
{
    if (c->is_later || c->closing) return;
    c->is_later = true;
    s->n_later++;
    DL_APPEND2(s->later, c, later_prev, later_next);
    uv_idle_start(&s->idle, on_idle);
}

void server_not_later(struct http_server *s, struct http_conn *c)
{
    if (!c->is_later) return;
    c->is_later = false;
    s->n_later--;
    DL_DELETE2(s->later, c, later_prev, later_next);
}

struct request *server_request_new(struct http_server *s)
{
    struct request *r = s->kept;
    if (r) {
        LL_DELETE(s->kept, r);
        s->n_kept--;
    } else {
        r = xcalloc(1, sizeof *r);
    }
    r->pub.id = s->next_id++;
    return r;
}

void server_request_free(struct http_server *s, struct request *r)
{
    if (r->findable) HASH_DEL(s->by_id, r);
    buf_release(&r->held);
    buf_release(&r->held_body);
    if (s->n_kept == KEPT_REQUESTS || s->closing) {
        http_msg_release(&r->msg);
        free(r);
        return;
    }
    struct http_msg msg = r->msg;
    http_msg_reset(&msg);
    *r = (struct request){ .msg = msg };
    LL_PREPEND(s->kept, r);
    s->n_kept++;
}

struct http_request *http_find(struct http_server *s, uint64_t id)
{
    struct request *r;
    HASH_FIND(hh, s->by_id, &id, sizeof id, r);
    return r ? &r->pub : NULL;
}

void server_count(struct http_server *s, int status, uint64_t start_ns)
{
    assert(status >= 100 && status < 600);
    if (!s->cfg.stats) return;
    if (!s->stats[status]) {
        char name[40];
        snprintf(name, sizeof name, "http_%d_responses", status);
        s->stats[status] = stats_timer(s->cfg.stats, name, "nanos");
    }
    stat_timer_add(s->stats[status], (int64_t)(uv_hrtime() - start_ns));
}

const char *server_date(struct http_server *s)
{
    uv_timeval64_t now = { 0 };
    struct tm tm;
    uv_gettimeofday(&now);
    if (now.tv_sec == s->date_sec) return s->date;
    time_t t = (time_t)now.tv_sec;
    strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
    s->date_sec = now.tv_sec;
    return s->date;
}

static void set_defaults(struct http_server_config *c)
{
    if (!c->max_body_bytes) c->max_body_bytes = LIMIT_HTTP_BODY_BYTES;
    if (!c->max_connections) c->max_connections = LIMIT_HTTP_CONNECTIONS;
    if (!c->idle_ms) c->idle_ms = LIMIT_HTTP_IDLE_MS;
    if (!c->request_ms) c->request_ms = LIMIT_HTTP_REQUEST_MS;
    if (!c->max_out_bytes) c->max_out_bytes = LIMIT_HTTP_OUT_BYTES;
}

int http_server_new(uv_loop_t *loop, const struct http_server_config *config, struct http_server **ret)
{
    assert(config->on_request);
    tcp_ignore_sigpipe();
    struct http_server *s = xcalloc(1, sizeof *s);
    s->loop = loop;
    s->cfg = *config;
    set_defaults(&s->cfg);
    s->next_id = 1;
    s->timer_due = UINT64_MAX;
    s->date_sec = -1;
    if (uv_tcp_init(loop, &s->listener)) {
        free(s);
        return ERR_IO;
    }
    uv_timer_init(loop, &s->timer);
    uv_idle_init(loop, &s->idle);
    s->listener.data = s->timer.data = s->idle.data = s;
    s->n_handles = 3;
    *ret = s;
    return 0;
}

static void on_connection(uv_stream_t *h, int status)
{
    struct http_server *s = h->data;
    if (status)
        logline(LOG_WARN, "http_accept_failed", "port=%u error=%s", s->port, uv_err_name(status));
    else
        conn_accept(s);
}

int http_server_listen(struct http_server *s, const char *ip, uint16_t port)
{
    assert(!s->listening && !s->closing);
    int rv = tcp_listen(&s->listener, ip, port, on_connection, &s->port);
    if (!rv) s->listening = true;
    return rv;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

void server_handle_closed(struct http_server *s)
{
    assert(s->n_handles > 0);
    if (--s->n_handles) return;
    struct request *r, *next;
    LL_FOREACH_SAFE(s->kept, r, next)
    {
        http_msg_release(&r->msg);
        free(r);
    }
    assert(!s->by_id && !s->conns);
    void (*cb)(void *) = s->close_cb;
    void *arg = s->close_arg;
    free(s);
    if (cb) cb(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    server_handle_closed(h->data);
}

void http_server_close(struct http_server *s, void (*cb)(void *arg), void *arg)
{
    struct http_conn *c, *next;
    assert(!s->closing);
    s->closing = true;
    s->close_cb = cb;
    s->close_arg = arg;
    /* An answer that was given in this very pass still goes out if the socket takes it. */
    DL_FOREACH_SAFE(s->conns, c, next)
    {
        c->corked = 0;
        conn_flush(c);
        conn_close(c);
    }
    uv_close((uv_handle_t *)&s->listener, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, on_handle_closed);
}
