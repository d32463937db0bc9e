#include "net/http_parser.h"

#include "core/err.h"
#include "core/limits.h"
#include "net/tcp.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

enum { READ_BUFFER_BYTES = 64 << 10, COPIED_BODY_BYTES = 8 << 10 };

/* A connection has a call, or is kept for the next one, or is closing. */
struct client_conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* the call's time-out; while kept, how long */
    struct http_client *client;
    struct client_conn *prev, *next;           /* in http_client.conns */
    struct client_conn *kept_prev, *kept_next; /* in http_client.kept */
    struct sockaddr_storage addr;
    struct http_call *call;
    uint64_t deadline; /* loop time, of the call */
    struct http_parser parser;
    struct http_msg msg;
    struct buf head; /* of the request, with its body if that is small */
    uv_connect_t connect;
    uv_write_t write;
    bool used_before, is_kept, is_writing, got_bytes, closing;
    unsigned n_handles;
};

struct http_client {
    uv_loop_t *loop;
    struct client_conn *conns, *kept;
    unsigned n_kept;
    bool closing;
    uv_timer_t keeper; /* never started: the handle that http_client_close() can wait for */
    unsigned n_handles;
    void (*close_cb)(void *arg);
    void *close_arg;
    char read_buffer[READ_BUFFER_BYTES];
};

/* ---- lifetimes ---- */

static void handle_closed(struct http_client *hc)
{
    if (--hc->n_handles) return;
    void (*cb)(void *) = hc->close_cb;
    void *arg = hc->close_arg;
    free(hc);
    if (cb) cb(arg);
}

static void on_conn_closed(uv_handle_t *h)
{
    struct client_conn *c = h->data;
    struct http_client *hc = c->client;
    if (--c->n_handles) return;
    DL_DELETE(hc->conns, c);
    http_msg_release(&c->msg);
    buf_release(&c->head);
    free(c);
    handle_closed(hc);
}

static void unkeep(struct client_conn *c)
{
    if (!c->is_kept) return;
    c->is_kept = false;
    DL_DELETE2(c->client->kept, c, kept_prev, kept_next);
    c->client->n_kept--;
}

static void conn_end(struct client_conn *c)
{
    if (c->closing) return;
    c->closing = true;
    unkeep(c);
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
    uv_close((uv_handle_t *)&c->timer, on_conn_closed);
}

/* Ends the call; the caller of ours may free it. */
static void tell(struct http_call *call, int err)
{
    call->impl = NULL;
    call->cb(call, err);
}

static bool can_repeat(const struct http_call *call)
{
    static const char *const safe[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS" };
    for (unsigned i = 0; i < sizeof safe / sizeof *safe; i++)
        if (!strcmp(call->method, safe[i])) return true;
    return false;
}

static struct client_conn *conn_open(struct http_client *hc, const struct sockaddr_storage *addr, int *ret_err);
static int conn_begin(struct client_conn *c, struct http_call *call, uint64_t deadline);

/* The call over a new connection. */
static int call_anew(struct http_client *hc, const struct sockaddr_storage *addr, struct http_call *call,
                     uint64_t deadline)
{
    int rv = 0;
    struct client_conn *c = conn_open(hc, addr, &rv);
    if (!c) return rv;
    rv = conn_begin(c, call, deadline);
    if (rv) conn_end(c);
    return rv;
}

/* The peer may have closed a kept connection just when we used it: then the call gets one more, of its own. */
static void conn_failed(struct client_conn *c, int err)
{
    struct http_call *call = c->call;
    bool again = c->used_before && !c->got_bytes && err == ERR_CLOSED;
    if (c->closing) return;
    c->call = NULL;
    conn_end(c);
    if (!call) return;
    if (again) err = call_anew(c->client, &c->addr, call, c->deadline);
    if (!again || err) tell(call, err);
}

static void on_timer(uv_timer_t *t)
{
    conn_failed(t->data, ERR_TIMEOUT);
}

/* ---- the answer ---- */

static unsigned kept_for(const struct http_client *hc, const struct sockaddr_storage *addr)
{
    const struct client_conn *c;
    unsigned n = 0;
    DL_FOREACH2(hc->kept, c, kept_next) n += !memcmp(&c->addr, addr, sizeof *addr);
    return n;
}

static void conn_keep(struct client_conn *c)
{
    struct http_client *hc = c->client;
    if (kept_for(hc, &c->addr) >= LIMIT_HTTP_CLIENT_KEPT || hc->n_kept >= LIMIT_HTTP_CLIENT_KEPT_ALL) {
        conn_end(c);
        return;
    }
    c->is_kept = true;
    DL_PREPEND2(hc->kept, c, kept_prev, kept_next);
    hc->n_kept++;
    uv_timer_start(&c->timer, on_timer, LIMIT_HTTP_CLIENT_KEPT_MS, 0);
}

/* all_used: nothing came behind the answer. */
static void conn_done(struct client_conn *c, bool all_used)
{
    struct http_call *call = c->call;
    struct http_msg *m = &c->msg;
    bool keep = m->keep_alive && all_used && !c->is_writing;
    call->status = m->status;
    call->ret_headers = m->headers;
    call->n_ret_headers = m->n_headers;
    call->ret_body = (struct str){ (const char *)m->body.data, (uint32_t)m->body.len };
    c->call = NULL;
    uv_timer_stop(&c->timer);
    tell(call, 0);
    if (c->closing) return;
    if (keep)
        conn_keep(c);
    else
        conn_end(c);
}

static void begin_answer(struct client_conn *c)
{
    http_parser_begin(&c->parser, &c->msg, !strcmp(c->call->method, "HEAD"));
}

static void take_bytes(struct client_conn *c, const char *data, size_t n)
{
    size_t at = 0, used = 0;
    c->got_bytes = true;
    while (at < n) {
        enum http_parse rv = http_parser_feed(&c->parser, data + at, n - at, &used);
        at += used;
        if (rv == HTTP_PARSE_BAD) {
            bool big = c->parser.error_status == 413 || c->parser.error_status == 431;
            conn_failed(c, big ? ERR_TOO_BIG : ERR_MALFORMED);
            return;
        }
        if (rv == HTTP_PARSE_MORE) continue;
        if (c->msg.status >= 200 || c->msg.status == 101) {
            conn_done(c, at == n);
            return;
        }
        begin_answer(c);
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    struct client_conn *c = h->data;
    (void)hint;
    *ret = uv_buf_init(c->client->read_buffer, READ_BUFFER_BYTES);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
    struct client_conn *c = h->data;
    if (!n || c->closing) return;
    if (n > 0 && c->call)
        take_bytes(c, b->base, (size_t)n);
    else if (n == UV_EOF && c->call && c->got_bytes && http_parser_eof(&c->parser) == HTTP_PARSE_DONE)
        conn_done(c, false);
    else
        conn_failed(c, n < 0 ? tcp_err((int)n) : ERR_MALFORMED);
}

/* ---- the request ---- */

static void on_written(uv_write_t *w, int status)
{
    struct client_conn *c = w->data;
    c->is_writing = false;
    /* A server may refuse a request before it has read it all: its answer is still to be read. */
    if (status && status != UV_EPIPE && status != UV_ECONNRESET) conn_failed(c, tcp_err(status));
}

/* Nothing that could end a line, nor, unless allowed, a word. */
static bool is_clean(const char *p, size_t n, bool blanks)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == 0x7f || (c <= ' ' && !(blanks && (c == ' ' || c == '\t')))) return false;
    }
    return true;
}

static bool is_sendable(const struct http_call *call)
{
    if (!*call->method || *call->target != '/') return false;
    if (!is_clean(call->method, strlen(call->method), false) || !is_clean(call->target, strlen(call->target), false))
        return false;
    for (uint32_t i = 0; i < call->n_headers; i++)
        if (!is_clean(call->headers[i].name.p, call->headers[i].name.n, false) ||
            !is_clean(call->headers[i].value.p, call->headers[i].value.n, true))
            return false;
    return true;
}

static void add_head(struct buf *b, const struct http_call *call, const struct sockaddr_storage *addr)
{
    char host[TCP_ADDR_TEXT_MAX];
    buf_addf(b, "%s %s HTTP/1.1\r\n", call->method, call->target);
    if (!http_header_find(call->headers, call->n_headers, "Host").p)
        buf_addf(b, "Host: %s\r\n", tcp_addr_text(addr, host));
    for (uint32_t i = 0; i < call->n_headers; i++) {
        buf_add_str(b, call->headers[i].name);
        buf_adds(b, ": ");
        buf_add_str(b, call->headers[i].value);
        buf_adds(b, "\r\n");
    }
    if (call->body.p || !strcmp(call->method, "POST") || !strcmp(call->method, "PUT"))
        buf_addf(b, "Content-Length: %u\r\n", call->body.n);
    buf_adds(b, "\r\n");
}

static int send_request(struct client_conn *c)
{
    uv_buf_t v[2];
    unsigned n = 1;
    buf_reset(&c->head);
    add_head(&c->head, c->call, &c->addr);
    if (c->call->body.n <= COPIED_BODY_BYTES)
        buf_add_str(&c->head, c->call->body);
    else
        v[n++] = uv_buf_init((char *)c->call->body.p, c->call->body.n);
    v[0] = uv_buf_init((char *)c->head.data, (unsigned)c->head.len);
    int rv = uv_write(&c->write, (uv_stream_t *)&c->tcp, v, n, on_written);
    c->is_writing = !rv;
    return tcp_err(rv);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct client_conn *c = req->data;
    if (c->closing) return;
    if (!status) status = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    int rv = tcp_err(status);
    uv_tcp_nodelay(&c->tcp, 1);
    if (!rv) rv = send_request(c);
    if (rv) conn_failed(c, rv);
}

static struct client_conn *conn_open(struct http_client *hc, const struct sockaddr_storage *addr, int *ret_err)
{
    struct client_conn *c = xcalloc(1, sizeof *c);
    if (uv_tcp_init(hc->loop, &c->tcp)) {
        free(c);
        *ret_err = ERR_IO;
        return NULL;
    }
    uv_timer_init(hc->loop, &c->timer);
    c->tcp.data = c->timer.data = c->connect.data = c->write.data = c;
    c->n_handles = 2;
    c->client = hc;
    c->addr = *addr;
    DL_APPEND(hc->conns, c);
    hc->n_handles++;
    int rv = uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&c->addr, on_connect);
    if (!rv) return c;
    conn_end(c);
    *ret_err = tcp_err(rv);
    return NULL;
}

/* Gives the call to a connection that is connecting or was kept. */
static int conn_begin(struct client_conn *c, struct http_call *call, uint64_t deadline)
{
    uint64_t now = uv_now(c->client->loop);
    c->call = call;
    c->deadline = deadline;
    c->got_bytes = false;
    http_parser_init(&c->parser, HTTP_RESPONSE, call->max_body_bytes ? call->max_body_bytes : LIMIT_HTTP_BODY_BYTES);
    begin_answer(c);
    uv_timer_start(&c->timer, on_timer, deadline > now ? deadline - now : 0, 0);
    int rv = c->used_before ? send_request(c) : 0;
    if (rv)
        c->call = NULL;
    else
        call->impl = c;
    return rv;
}

static struct client_conn *take_kept(struct http_client *hc, const struct sockaddr_storage *addr)
{
    struct client_conn *c;
    DL_FOREACH2(hc->kept, c, kept_next)
    {
        if (memcmp(&c->addr, addr, sizeof *addr) != 0) continue;
        unkeep(c);
        c->used_before = true;
        return c;
    }
    return NULL;
}

int http_client_call(struct http_client *hc, struct http_call *call)
{
    struct sockaddr_storage addr;
    assert(call->cb);
    if (hc->closing) return ERR_CLOSED;
    if (tcp_addr(call->ip, call->port, &addr) || !is_sendable(call)) return ERR_INVALID;
    uint64_t deadline = uv_now(hc->loop) + (call->timeout_ms ? call->timeout_ms : LIMIT_HTTP_CLIENT_MS);
    struct client_conn *c = can_repeat(call) ? take_kept(hc, &addr) : NULL;
    if (c && !conn_begin(c, call, deadline)) return 0;
    if (c) conn_end(c);
    return call_anew(hc, &addr, call, deadline);
}

void http_client_cancel(struct http_call *call)
{
    struct client_conn *c = call->impl;
    assert(c && c->call == call);
    c->call = NULL;
    conn_end(c);
    tell(call, ERR_CLOSED);
}

/* ---- beginning and end ---- */

static void on_keeper_closed(uv_handle_t *h)
{
    handle_closed(h->data);
}

int http_client_new(uv_loop_t *loop, struct http_client **ret)
{
    tcp_ignore_sigpipe();
    struct http_client *hc = xcalloc(1, sizeof *hc);
    hc->loop = loop;
    uv_timer_init(loop, &hc->keeper);
    hc->keeper.data = hc;
    hc->n_handles = 1;
    *ret = hc;
    return 0;
}

void http_client_close(struct http_client *hc, void (*cb)(void *arg), void *arg)
{
    struct client_conn *c, *next;
    assert(!hc->closing);
    hc->closing = true;
    hc->close_cb = cb;
    hc->close_arg = arg;
    DL_FOREACH_SAFE(hc->conns, c, next)
    {
        if (c->call)
            http_client_cancel(c->call);
        else
            conn_end(c);
    }
    uv_close((uv_handle_t *)&hc->keeper, on_keeper_closed);
}
