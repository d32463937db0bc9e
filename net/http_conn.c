#include "net/http_server.h"

#include "core/err.h"
#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>

/* An idle connection keeps no more than this for its next answer. */
enum { KEEP_OUT_BYTES = 4 << 10 };

size_t conn_out_bytes(const struct http_conn *c)
{
    return c->out.len + c->held_bytes + uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

/* ---- writing ---- */

static void drop_output(struct http_conn *c)
{
    c->broken = true;
    buf_release(&c->out);
}

/* The maker of a streamed answer may go on. */
static void tell_drained(struct http_conn *c)
{
    struct request *r = c->requests;
    if (c->is_writing || c->out.len || !r || r->state != REQUEST_STREAMING || !r->drain_wanted) return;
    r->drain_wanted = false;
    if (c->server->cfg.on_drain) c->server->cfg.on_drain(&r->pub, c->server->cfg.arg);
}

static void on_written(uv_write_t *w, int status)
{
    struct http_conn *c = w->data;
    c->is_writing = false;
    buf_release(&c->writing[0]);
    buf_release(&c->writing[1]);
    if (c->closing) return;
    if (status) drop_output(c);
    conn_update(c);
}

/* Writes a and then b, which become empty. What the socket does not take at once waits in c->writing. */
static void write_both(struct http_conn *c, struct buf *a, struct buf *b)
{
    struct buf *parts[2] = { a, b };
    uv_buf_t v[2];
    unsigned n = 0;
    assert(!c->is_writing && !c->broken);
    for (int i = 0; i < 2; i++)
        if (parts[i]->len) v[n++] = uv_buf_init((char *)parts[i]->data, (unsigned)parts[i]->len);
    if (!n) return;
    int done = uv_try_write((uv_stream_t *)&c->tcp, v, n);
    if (done < 0 && done != UV_EAGAIN) {
        drop_output(c);
        buf_reset(b);
        return;
    }
    size_t left = done < 0 ? 0 : (size_t)done;
    if (left == a->len + b->len) {
        buf_reset(a);
        buf_reset(b);
        return;
    }
    n = 0;
    for (int i = 0; i < 2; i++) {
        size_t skip = left < parts[i]->len ? left : parts[i]->len;
        left -= skip;
        c->writing[i] = *parts[i];
        *parts[i] = (struct buf){ 0 };
        if (skip < c->writing[i].len)
            v[n++] = uv_buf_init((char *)c->writing[i].data + skip, (unsigned)(c->writing[i].len - skip));
    }
    c->write.data = c;
    c->is_writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, v, n, on_written) == 0;
    if (c->is_writing) return;
    buf_release(&c->writing[0]);
    buf_release(&c->writing[1]);
    drop_output(c);
}

void conn_flush(struct http_conn *c)
{
    struct buf none = { 0 };
    if (c->closing || c->broken) buf_reset(&c->out);
    if (!c->out.len || c->is_writing || c->corked) return;
    write_both(c, &c->out, &none);
    if (c->out.cap > KEEP_OUT_BYTES && !c->out.len) buf_release(&c->out);
}

void conn_write_body(struct http_conn *c, struct buf *body)
{
    if (c->closing || c->broken) {
        buf_release(body);
    } else if (c->is_writing) {
        buf_add(&c->out, body->data, body->len);
        buf_release(body);
    } else {
        write_both(c, &c->out, body);
        buf_release(body);
    }
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *h)
{
    struct http_conn *c = h->data;
    struct http_server *s = c->server;
    if (s->cfg.on_close) s->cfg.on_close(c, s->cfg.arg);
    DL_DELETE(s->conns, c);
    s->n_conns--;
    buf_release(&c->out);
    buf_release(&c->stash);
    buf_release(&c->writing[0]);
    buf_release(&c->writing[1]);
    free(c);
    server_handle_closed(s);
}

static void abandon_requests(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct request *r;
    while ((r = c->requests)) {
        DL_DELETE(c->requests, r);
        c->n_requests--;
        if (c->dispatching == r) c->dispatching = NULL;
        if (r->state != REQUEST_ANSWERED && s->cfg.on_abandoned) s->cfg.on_abandoned(&r->pub, s->cfg.arg);
        server_request_free(s, r);
    }
}

void conn_close(struct http_conn *c)
{
    struct http_server *s = c->server;
    if (c->closing) return;
    c->closing = true;
    server_wait(c, WAIT_NONE);
    server_not_later(s, c);
    if (c->current) server_request_free(s, c->current);
    c->current = NULL;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    abandon_requests(c);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct http_conn *c = req->data;
    if (status && !c->closing) conn_close(c);
}

static void alloc_buffer(uv_handle_t *h, size_t hint, uv_buf_t *ret);
static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b);

static void set_reading(struct http_conn *c, bool on)
{
    if (on == c->is_reading) return;
    c->is_reading = on;
    if (on)
        uv_read_start((uv_stream_t *)&c->tcp, alloc_buffer, on_read);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* All is answered and written. A close right now could reset the connection and so destroy the answer on its way: shut
 * our side and wait for the peer's close. */
static void finish(struct http_conn *c)
{
    if (c->got_eof || c->broken) {
        conn_close(c);
        return;
    }
    c->lingering = true;
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown)) {
        conn_close(c);
        return;
    }
    set_reading(c, true);
    server_wait(c, WAIT_LINGER);
}

/* ---- requests ---- */

static void dispatch(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct request *r = c->current;
    struct http_msg *m = &r->msg;
    c->current = NULL;
    r->start_ns = s->cfg.stats ? uv_hrtime() : 0;
    r->is_head = str_eq(m->method, STR("HEAD"));
    r->pub = (struct http_request){
        .conn = c,
        .id = r->pub.id,
        .method = m->method,
        .target = m->target,
        .path = m->path,
        .query = m->query,
        .headers = m->headers,
        .n_headers = m->n_headers,
        .body = { (const char *)m->body.data, (uint32_t)m->body.len },
        .version_minor = m->minor,
        .keep_alive = m->keep_alive,
        .peer = c->peer,
    };
    r->close_after = !m->keep_alive;
    if (r->close_after) c->last = true;
    DL_APPEND(c->requests, r);
    c->n_requests++;
    c->dispatching = r;
    s->cfg.on_request(&r->pub, s->cfg.arg);
    if (c->dispatching != r) return;
    c->dispatching = NULL;
    r->findable = true;
    HASH_ADD(hh, s->by_id, pub.id, sizeof r->pub.id, r);
}

static bool takes_requests(const struct http_conn *c)
{
    return !c->closing && !c->last && c->n_requests < LIMIT_HTTP_PIPELINE &&
           conn_out_bytes(c) <= c->server->cfg.max_out_bytes;
}

static void begin_request(struct http_conn *c)
{
    c->current = server_request_new(c->server);
    http_parser_begin(&c->parser, &c->current->msg, false);
}

static void refuse_current(struct http_conn *c, int status)
{
    server_request_free(c->server, c->current);
    c->current = NULL;
    conn_refuse(c, status);
}

/* Parses as far as requests are taken; returns how many bytes were used. */
static size_t parse(struct http_conn *c, const char *data, size_t n)
{
    size_t at = 0, used = 0;
    while (at < n && takes_requests(c)) {
        if (!c->current) begin_request(c);
        enum http_parse rv = http_parser_feed(&c->parser, data + at, n - at, &used);
        at += used;
        if (rv == HTTP_PARSE_DONE)
            dispatch(c);
        else if (rv == HTTP_PARSE_BAD)
            refuse_current(c, c->parser.error_status);
    }
    return at;
}

static void take_bytes(struct http_conn *c, const char *data, size_t n)
{
    c->corked++;
    size_t used = parse(c, data, n);
    if (c->closing) return;
    if (used < n && !c->last) buf_add(&c->stash, data + used, n - used);
    c->corked--;
}

static void take_stash(struct http_conn *c)
{
    struct buf b = c->stash;
    c->stash = (struct buf){ 0 };
    take_bytes(c, (const char *)b.data, b.len);
    buf_release(&b);
}

/* The request line alone has to do as a request. */
static void complete_bare(struct http_conn *c)
{
    take_bytes(c, "\r\n", 2);
    conn_update(c);
}

static void on_eof(struct http_conn *c)
{
    c->got_eof = true;
    set_reading(c, false);
    if (c->current && c->server->cfg.bare_request_ms && http_parser_is_bare(&c->parser)) take_bytes(c, "\r\n", 2);
    c->last = true;
    if (c->current) server_request_free(c->server, c->current);
    c->current = NULL;
}

static void alloc_buffer(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    struct http_conn *c = h->data;
    (void)hint;
    *ret = uv_buf_init(c->server->read_buffer, READ_BUFFER_BYTES);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
    struct http_conn *c = h->data;
    if (!n || c->closing) return;
    if (n == UV_EOF && !c->lingering) {
        on_eof(c);
    } else if (n < 0) {
        conn_close(c);
        return;
    } else if (!c->last) {
        take_bytes(c, b->base, (size_t)n);
        /* uv would go on reading at once, up to 32 buffers: others first. */
        if ((size_t)n == b->len && !c->closing) {
            c->had_turn = true;
            server_later(c->server, c);
        }
    }
    conn_update(c);
}

/* The answer to Expect: 100-continue, when it is its turn. */
static void answer_expect(struct http_conn *c)
{
    if (!c->current || !c->parser.expects_continue || c->requests) return;
    c->parser.expects_continue = false;
    buf_adds(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static enum http_wait waits_for(const struct http_conn *c)
{
    if (c->is_writing) return WAIT_WRITE;
    bool reading = c->is_reading || c->had_turn;
    if (reading && c->current)
        return c->server->cfg.bare_request_ms && http_parser_is_bare(&c->parser) ? WAIT_BARE : WAIT_REQUEST;
    return c->requests || !reading ? WAIT_NONE : WAIT_IDLE;
}

/* A wait that goes on keeps its time, but for an idle one: each request begins it anew. */
static void update_wait(struct http_conn *c)
{
    enum http_wait wait = waits_for(c);
    if (wait == c->wait && wait != WAIT_IDLE) return;
    c->wait_mark = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    server_wait(c, wait);
}

void conn_update(struct http_conn *c)
{
    if (c->closing || c->lingering) return;
    conn_flush(c);
    while (c->stash.len && takes_requests(c)) {
        take_stash(c);
        conn_flush(c);
    }
    if (c->closing) return;
    if (c->cut) abandon_requests(c);
    answer_expect(c);
    conn_flush(c);
    /* A stream into nowhere would never end by itself. */
    if (c->broken && (c->got_eof || (c->requests && c->requests->state == REQUEST_STREAMING))) {
        conn_close(c);
        return;
    }
    tell_drained(c);
    if (c->closing) return;
    if (c->last && !c->requests && !c->is_writing) {
        finish(c);
        return;
    }
    set_reading(c, !c->got_eof && !c->had_turn && !c->stash.len && (c->last || takes_requests(c)));
    update_wait(c);
}

void conn_expired(struct http_conn *c)
{
    size_t waiting = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    switch (c->wait) {
    case WAIT_WRITE:
        if (waiting >= c->wait_mark) break;
        c->wait_mark = waiting;
        server_wait(c, WAIT_WRITE);
        return;
    case WAIT_BARE:
        server_wait(c, WAIT_NONE);
        complete_bare(c);
        return;
    case WAIT_REQUEST:
        server_wait(c, WAIT_NONE);
        refuse_current(c, 408);
        conn_update(c);
        return;
    default:
        break;
    }
    conn_close(c);
}

/* ---- accepting ---- */

static void on_refused_closed(uv_handle_t *h)
{
    struct http_server *s = h->data;
    free(h);
    server_handle_closed(s);
}

static void close_at_once(struct http_server *s)
{
    uv_tcp_t *h = xcalloc(1, sizeof *h);
    if (uv_tcp_init(s->loop, h)) {
        free(h);
        return;
    }
    h->data = s;
    s->n_handles++;
    uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)h);
    uv_close((uv_handle_t *)h, on_refused_closed);
}

static struct http_conn *conn_new(struct http_server *s)
{
    struct http_conn *c = xcalloc(1, sizeof *c);
    if (uv_tcp_init(s->loop, &c->tcp)) {
        free(c);
        return NULL;
    }
    c->tcp.data = c;
    c->server = s;
    DL_APPEND(s->conns, c);
    s->n_conns++;
    s->n_handles++;
    http_parser_init(&c->parser, HTTP_REQUEST, s->cfg.max_body_bytes);
    return c;
}

void conn_accept(struct http_server *s)
{
    bool full = s->n_conns >= s->cfg.max_connections;
    if (full && s->n_conns - s->cfg.max_connections >= LIMIT_HTTP_REFUSED_CONNECTIONS) {
        close_at_once(s);
        return;
    }
    struct http_conn *c = conn_new(s);
    if (!c) return;
    int len = sizeof c->peer;
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)&c->tcp)) {
        conn_close(c);
        return;
    }
    /* The peer may have reset the connection already: then it has no address, but what it sent is still there. */
    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&c->peer, &len);
    uv_tcp_nodelay(&c->tcp, 1);
    if (full) conn_refuse(c, 503);
    conn_update(c);
}
