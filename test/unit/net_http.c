/* The HTTP server against raw sockets: what it answers, in which order, and what it refuses. */
#include "core/err.h"
#include "core/limits.h"
#include "net/http.h"
#include "test/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { PENDING_MAX = 256 };

struct fixture {
    uv_loop_t loop;
    struct http_server *server;
    struct http_server_config cfg;
    struct http_request *pending[PENDING_MAX]; /* of /later and /stream */
    unsigned n_pending;
    unsigned n_requests, n_abandoned, n_closed, n_drained;
    size_t body_bytes; /* of all requests */
    struct buf last_target;
    bool close_in_handler;
    bool closed;
};

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static void answer_text(struct http_request *r, const char *text)
{
    http_respond(r, 200, "text/plain", NULL, 0, text, strlen(text));
}

/* "/big/N": N bytes. */
static void answer_big(struct http_request *r)
{
    struct buf b = { 0 };
    size_t n = strtoul(r->path.p + 5, NULL, 10);
    memset(buf_reserve(&b, n), 'b', n);
    buf_commit(&b, n);
    http_respond_buf(r, 200, NULL, NULL, 0, &b);
    assert_int_equal(b.len, 0);
}

static void on_request(struct http_request *r, void *arg)
{
    struct fixture *f = arg;
    f->n_requests++;
    f->body_bytes += r->body.n;
    assert_int_equal(r->body.p[r->body.n], 0);
    assert_null(http_request_header(r, "X-Trailer").p); /* must not pass for a header */
    buf_reset(&f->last_target);
    buf_add_str(&f->last_target, r->target);
    buf_cstr(&f->last_target);
    if (str_eq(r->path, STR("/later")) || str_eq(r->path, STR("/stream"))) {
        assert_true(f->n_pending < PENDING_MAX);
        f->pending[f->n_pending++] = r;
    } else if (str_eq(r->path, STR("/echo"))) {
        http_respond(r, 200, NULL, NULL, 0, r->body.p, r->body.n);
    } else if (str_eq(r->path, STR("/nothing"))) {
        http_respond_nothing(r);
    } else if (r->path.n > 5 && !memcmp(r->path.p, "/big/", 5)) {
        answer_big(r);
    } else if (str_eq(r->path, STR("/empty"))) {
        http_respond(r, 204, NULL, NULL, 0, NULL, 0);
    } else {
        answer_text(r, "OK\n");
    }
    if (f->close_in_handler) http_server_close(f->server, on_closed, f);
}

static void on_abandoned(struct http_request *r, void *arg)
{
    struct fixture *f = arg;
    f->n_abandoned++;
    for (unsigned i = 0; i < f->n_pending; i++)
        if (f->pending[i] == r) f->pending[i] = NULL;
}

static void on_drain(struct http_request *r, void *arg)
{
    (void)r;
    ((struct fixture *)arg)->n_drained++;
}

static void on_conn_closed(struct http_conn *c, void *arg)
{
    (void)c;
    ((struct fixture *)arg)->n_closed++;
}

static struct fixture *start(struct http_server_config cfg)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    uv_loop_init(&f->loop);
    cfg.on_request = on_request;
    cfg.on_abandoned = on_abandoned;
    cfg.on_close = on_conn_closed;
    cfg.on_drain = on_drain;
    cfg.arg = f;
    f->cfg = cfg;
    assert_int_equal(http_server_new(&f->loop, &cfg, &f->server), 0);
    assert_int_equal(http_server_listen(f->server, "127.0.0.1", 0), 0);
    assert_true(http_server_port(f->server) != 0);
    return f;
}

/* Every test ends here: nothing may be left in the loop. */
static void stop(struct fixture *f)
{
    if (!f->close_in_handler) http_server_close(f->server, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    buf_release(&f->last_target);
    free(f);
}

static int set_up(void **state)
{
    *state = start((struct http_server_config){ 0 });
    return 0;
}

static int tear_down(void **state)
{
    stop(*state);
    return 0;
}

#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static struct peer join(struct fixture *f)
{
    return peer_open(&f->loop, http_server_port(f->server));
}

/* The received text with the value of Date cut out, from the start; then forgotten. */
static void expect_exactly(struct peer *p, const char *text)
{
    struct buf b = { 0 };
    const char *s = buf_cstr(&p->in), *d;
    while ((d = strstr(s, "Date: "))) {
        buf_add(&b, s, (size_t)(d - s));
        s = d + strlen("Date: Sun, 22 Nov 2026 18:44:25 GMT\r\n");
    }
    buf_adds(&b, s);
    assert_string_equal(buf_cstr(&b), text);
    buf_release(&b);
    buf_reset(&p->in);
}

static void request_and_answer(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    for (int i = 0; i < 3; i++) {
        assert_true(peer_send(&p, "GET /health?a=1 HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_true(peer_expect(&p, "OK\n"));
        expect_exactly(&p, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nOK\n");
    }
    assert_string_equal(f->last_target.data, "/health?a=1");
    assert_true(peer_send(&p, "GET /empty HTTP/1.1\r\n\r\nHEAD /big/100000 HTTP/1.1\r\n\r\n"));
    assert_true(peer_expect(&p, "100000\r\n\r\n"));
    expect_exactly(&p, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    assert_int_equal(f->n_closed, 0);
    peer_close(&p);
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == 1));
}

static void version_1_0_closes_unless_asked(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_true(peer_expect(&p, "OK\n"));
    expect_exactly(&p, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
                       "Connection: keep-alive\r\n\r\nOK\n");
    assert_true(peer_send(&p, "GET / HTTP/1.0\r\n\r\n"));
    assert_true(peer_expect_end(&p) && p.eof);
    expect_exactly(&p,
                   "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK\n");
    peer_close(&p);
    p = join(f);
    assert_true(peer_send(&p, "GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n"));
    assert_true(peer_expect_end(&p) && p.eof);
    assert_int_equal(peer_count(&p, "200 OK"), 1);
    assert_int_equal(f->n_requests, 3);
    peer_close(&p);
}

static void answers_leave_in_request_order(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET /later?0 HTTP/1.1\r\n\r\nGET /later?1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
                              "GET /big/100000 HTTP/1.1\r\n\r\nGET /later?2 HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 3));
    uint64_t id = f->pending[1]->id;
    assert_ptr_equal(http_find(f->server, id), f->pending[1]);
    answer_text(f->pending[2], "two");
    answer_text(f->pending[1], "one");
    assert_null(http_find(f->server, id));
    peer_poll(&p);
    assert_int_equal(p.in.len, 0);
    answer_text(f->pending[0], "zero");
    assert_true(peer_expect(&p, "two"));
    const char *s = buf_cstr(&p.in);
    assert_true(strstr(s, "zero") < strstr(s, "one"));
    assert_true(strstr(s, "one") < strstr(s, "OK\n"));
    assert_true(strstr(s, "OK\n") < strstr(s, "bbb"));
    assert_true(strstr(s, "bbb") < strstr(s, "two"));
    assert_int_equal(peer_count(&p, "200 OK"), 5);
    peer_close(&p);
}

static void bodies_in_every_framing(void **state)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nh\r\n04\r\nello\r\n0\r\nX-Trailer: "
        "1\r\n\r\n",
        "\r\n\r\nPOST /echo HTTP/1.1\r\ncontent-length:5\r\n\r\nhello",
        "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    };
    struct fixture *f = *state;
    struct peer p = join(f);
    for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++) {
        assert_true(peer_send(&p, requests[i]));
        assert_true(peer_expect(&p, "\r\n\r\nhello"));
        buf_reset(&p.in);
        for (const char *s = requests[i]; *s; s++) {
            assert_true(peer_send_n(&p, s, 1));
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        assert_true(peer_expect(&p, "\r\n\r\nhello"));
        buf_reset(&p.in);
    }
    assert_int_equal(f->n_requests, 2 * sizeof requests / sizeof *requests);
    peer_close(&p);
}

static void expect_100_continue(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .max_body_bytes = 10 });
    struct peer p = join(f);
    assert_true(peer_send(&p, "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
    assert_true(peer_expect(&p, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_true(peer_send(&p, "hello"));
    assert_true(peer_expect(&p, "hello"));
    assert_int_equal(peer_count(&p, "100 Continue"), 1);
    buf_reset(&p.in);
    /* Not asked for when the body comes along, nor before an earlier answer, nor for a body that is refused. */
    assert_true(peer_send(&p, "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"));
    assert_true(peer_expect(&p, "hello"));
    assert_int_equal(peer_count(&p, "100 Continue"), 0);
    buf_reset(&p.in);
    assert_true(peer_send(
        &p, "GET /later HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 1));
    answer_text(f->pending[0], "first");
    assert_true(peer_expect(&p, "firstHTTP/1.1 100 Continue\r\n\r\n"));
    assert_true(peer_send(&p, "hello"));
    assert_true(peer_expect(&p, "OK\n"));
    buf_reset(&p.in);
    assert_true(peer_send(&p, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"));
    assert_true(peer_expect_end(&p));
    assert_non_null(strstr(buf_cstr(&p.in), "HTTP/1.1 413 "));
    assert_int_equal(peer_count(&p, "100 Continue"), 0);
    peer_close(&p);
    stop(f);
}

/* Sends one request on a new connection and expects this status; unless it is 200 the connection ends. */
static void try_request(struct fixture *f, const char *data, size_t n, int status)
{
    char line[32];
    struct peer p = join(f);
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    peer_send_n(&p, data, n);
    if (!peer_expect(&p, line)) fail_msg("wanted %s got %s for %.60s", line, buf_cstr(&p.in), data);
    if (status != 200) {
        assert_true(peer_expect_end(&p) && p.eof);
        assert_int_equal(peer_count(&p, "HTTP/1.1"), 1);
        assert_non_null(strstr(buf_cstr(&p.in), "Connection: close\r\n"));
    }
    peer_close(&p);
}

/* A request with a head of exactly that many bytes. */
static void try_head(struct fixture *f, size_t bytes, int status)
{
    struct buf b = { 0 };
    buf_adds(&b, "GET / HTTP/1.1\r\nX: ");
    while (b.len < bytes - 4) buf_addc(&b, 'x');
    buf_adds(&b, "\r\n\r\n");
    try_request(f, (char *)b.data, b.len, status);
    buf_release(&b);
}

/* Blanks before a value are no part of it, but there can be too many all the same. */
static void try_blanks(struct fixture *f, size_t bytes, int status)
{
    struct buf b = { 0 };
    buf_adds(&b, "GET / HTTP/1.1\r\nX:");
    memset(buf_reserve(&b, bytes), ' ', bytes);
    buf_commit(&b, bytes);
    buf_adds(&b, "y\r\n\r\n");
    try_request(f, (char *)b.data, b.len, status);
    buf_release(&b);
}

static void try_url(struct fixture *f, size_t bytes, int status)
{
    struct buf b = { 0 };
    buf_adds(&b, "GET ");
    for (size_t i = 0; i < bytes; i++) buf_addc(&b, i ? 'u' : '/');
    buf_adds(&b, " HTTP/1.1\r\n\r\n");
    try_request(f, (char *)b.data, b.len, status);
    buf_release(&b);
}

static void try_n_headers(struct fixture *f, unsigned n, int status)
{
    struct buf b = { 0 };
    buf_adds(&b, "GET / HTTP/1.1\r\n");
    for (unsigned i = 0; i < n; i++) buf_addf(&b, "X-%u: y\r\n", i);
    buf_adds(&b, "\r\n");
    try_request(f, (char *)b.data, b.len, status);
    buf_release(&b);
}

static void try_body(struct fixture *f, size_t bytes, bool chunked, int status)
{
    struct buf b = { 0 };
    buf_addf(&b,
             chunked ? "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n"
                     : "POST / HTTP/1.1\r\nContent-Length: %zu\r\n\r\n",
             bytes);
    memset(buf_reserve(&b, bytes), 'z', bytes);
    buf_commit(&b, bytes);
    if (chunked) buf_adds(&b, "\r\n0\r\n\r\n");
    try_request(f, (char *)b.data, b.len, status);
    buf_release(&b);
}

static void limits_hold_at_their_edges(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .max_body_bytes = 100000 });
    try_head(f, LIMIT_HTTP_HEADER_BYTES, 200);
    try_head(f, LIMIT_HTTP_HEADER_BYTES + 1, 431);
    try_head(f, 4 * LIMIT_HTTP_HEADER_BYTES, 431);
    try_blanks(f, 2 * LIMIT_HTTP_HEADER_BYTES, 431);
    try_url(f, LIMIT_HTTP_URL_BYTES, 200);
    try_url(f, LIMIT_HTTP_URL_BYTES + 1, 414);
    try_n_headers(f, LIMIT_HTTP_HEADERS, 200);
    try_n_headers(f, LIMIT_HTTP_HEADERS + 1, 431);
    for (int chunked = 0; chunked < 2; chunked++) {
        try_body(f, 100000, chunked, 200);
        try_body(f, 100001, chunked, 413);
    }
    stop(f);
}

static void malformed_requests(void **state)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        { "BLAH\r\n\r\n", 400 },
        { "GET\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nno colon\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nX : y\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n: y\r\n\r\n", 400 },
        { "GET / HTTP/9.9\r\n\r\n", 400 },
        { "GET /\r\n\r\n", 400 },
        { "GET / HTTP/2.0\r\n\r\n", 505 },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
        { "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400 },
        { "\x16\x03\x01\x02\x01\x01\xfc\x03\x03", 400 },
    };
    struct fixture *f = *state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        try_request(f, rows[i].text, strlen(rows[i].text), rows[i].status);
    assert_int_equal(f->n_requests, 0);
    /* What came before it is answered first. */
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\nrubbish\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 1));
    answer_text(f->pending[0], "first");
    assert_true(peer_expect_end(&p) && p.eof);
    const char *s = buf_cstr(&p.in);
    assert_true(strstr(s, "first") && strstr(s, "first") < strstr(s, "HTTP/1.1 400 "));
    peer_close(&p);
}

static void silent_errors_close_without_an_answer(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .silent_errors = true });
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET / HTTP/1.1\r\n\r\nrubbish\r\n\r\n"));
    assert_true(peer_expect_end(&p));
    assert_int_equal(peer_count(&p, "HTTP/1.1"), 1);
    assert_int_equal(peer_count(&p, "200 OK"), 1);
    peer_close(&p);
    stop(f);
}

static void time_outs(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .idle_ms = 30, .request_ms = 40 });
    struct peer idle = join(f), fresh = join(f), half = join(f), body = join(f);
    assert_true(peer_send(&idle, "GET / HTTP/1.1\r\n\r\n"));
    assert_true(peer_send(&half, "GET / HTTP/1.1\r\nHo"));
    assert_true(peer_send(&body, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell"));
    assert_true(peer_expect_end(&idle) && idle.eof);
    assert_int_equal(peer_count(&idle, "200 OK"), 1);
    assert_true(peer_expect_end(&fresh) && fresh.in.len == 0);
    assert_true(peer_expect_end(&half) && peer_count(&half, "HTTP/1.1 408 Request Timeout") == 1);
    assert_true(peer_expect_end(&body) && peer_count(&body, "HTTP/1.1 408 Request Timeout") == 1);
    peer_close(&half);
    peer_close(&body);
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == 4));
    /* A handler may take its time. */
    struct peer slow = join(f), other = join(f);
    assert_true(peer_send(&slow, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(peer_expect_end(&other));
    answer_text(f->pending[0], "done");
    assert_true(peer_expect(&slow, "done"));
    assert_int_equal(f->n_abandoned, 0);
    peer_close(&idle);
    peer_close(&fresh);
    peer_close(&slow);
    peer_close(&other);
    stop(f);
}

static void a_busy_loop_blames_nobody(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .idle_ms = 20, .request_ms = 20 });
    struct peer p = join(f), q = join(f);
    assert_true(peer_send(&q, "GET / HT"));
    assert_true(RUN_UNTIL(&f->loop, (uv_run(&f->loop, UV_RUN_NOWAIT), true)));
    uint64_t end = uv_hrtime() + 60000000; /* longer than both time-outs: the loop does not turn */
    while (uv_hrtime() < end) continue;
    assert_true(peer_send(&p, "GET / HTTP/1.1\r\n\r\n") && peer_send(&q, "TP/1.1\r\n\r\n"));
    assert_true(peer_expect(&p, "OK\n") && peer_expect(&q, "OK\n"));
    peer_close(&p);
    peer_close(&q);
    stop(f);
}

static void never_means_never(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .idle_ms = UINT64_MAX, .request_ms = UINT64_MAX });
    struct peer p = join(f);
    uint64_t end = uv_hrtime() + 50000000;
    while (uv_hrtime() < end) uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_true(peer_send(&p, "GET / HTTP/1.1\r\n\r\n"));
    assert_true(peer_expect(&p, "OK\n"));
    peer_close(&p);
    stop(f);
}

static void refused_peer_is_not_waited_for_long(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .idle_ms = UINT64_MAX, .request_ms = UINT64_MAX });
    struct peer p = join(f);
    uint64_t begin = uv_hrtime();
    assert_true(peer_send(&p, "rubbish\r\n\r\n") && peer_expect_end(&p));
    assert_int_equal(f->n_closed, 0); /* only half: it may still be sending */
    assert_true(peer_send(&p, "and more"));
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == 1));
    assert_true(uv_hrtime() - begin >= (uint64_t)(LIMIT_HTTP_LINGER_MS - 10) * 1000000);
    assert_int_equal(f->n_requests, 0);
    peer_close(&p);
    stop(f);
}

static void connection_cap(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .max_connections = 2 });
    struct peer a = join(f), b = join(f);
    assert_true(peer_send(&b, "GET / HTTP/1.1\r\n\r\n") && peer_expect(&b, "OK\n"));
    struct peer over[LIMIT_HTTP_REFUSED_CONNECTIONS + 1];
    for (unsigned i = 0; i <= LIMIT_HTTP_REFUSED_CONNECTIONS; i++) over[i] = join(f);
    for (unsigned i = 0; i < LIMIT_HTTP_REFUSED_CONNECTIONS; i++) {
        assert_true(peer_expect_end(&over[i]));
        assert_int_equal(peer_count(&over[i], "HTTP/1.1 503 Service Unavailable"), 1);
    }
    assert_true(peer_expect_end(&over[LIMIT_HTTP_REFUSED_CONNECTIONS]));
    assert_int_equal(over[LIMIT_HTTP_REFUSED_CONNECTIONS].in.len, 0);
    for (unsigned i = 0; i <= LIMIT_HTTP_REFUSED_CONNECTIONS; i++) peer_close(&over[i]);
    peer_close(&b);
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == LIMIT_HTTP_REFUSED_CONNECTIONS + 1));
    b = join(f);
    assert_true(peer_send(&b, "GET / HTTP/1.1\r\n\r\n") && peer_expect(&b, "OK\n"));
    peer_close(&a);
    peer_close(&b);
    stop(f);
}

static void slow_reader_is_not_read_from(void **state)
{
    (void)state;
    enum { N = 100, BYTES = 1000000 };
    struct fixture *f = start((struct http_server_config){ .max_out_bytes = BYTES });
    struct peer p = join(f);
    for (int i = 0; i < N; i++) assert_true(peer_send(&p, "GET /big/1000000 HTTP/1.1\r\n\r\n"));
    unsigned before = 0;
    do {
        before = f->n_requests;
        for (int i = 0; i < 100; i++) uv_run(&f->loop, UV_RUN_NOWAIT);
    } while (f->n_requests != before);
    /* What the kernel's buffers hold, and little more. */
    assert_in_range(f->n_requests, 1, N - 1);
    unsigned n = 0;
    for (; n < N; n++) {
        const char *end = NULL;
        assert_true(RUN_UNTIL(&f->loop, peer_has_(&p, "\r\n\r\n")));
        end = memmem(p.in.data, p.in.len, "\r\n\r\n", 4);
        size_t head = (size_t)(end - (char *)p.in.data) + 4;
        assert_true(peer_expect_bytes(&p, head + BYTES));
        buf_consume(&p.in, head + BYTES);
    }
    assert_int_equal(f->n_requests, N);
    peer_close(&p);
    stop(f);
}

static void reader_without_progress_is_dropped(void **state)
{
    (void)state;
    struct fixture *f = start((struct http_server_config){ .idle_ms = 50 });
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET /big/30000000 HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == 1));
    peer_close(&p);
    stop(f);
}

static void pipeline_limit(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    for (int i = 0; i < 2 * LIMIT_HTTP_PIPELINE; i++) assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending >= LIMIT_HTTP_PIPELINE));
    for (int i = 0; i < 100; i++) uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->n_pending, LIMIT_HTTP_PIPELINE);
    answer_text(f->pending[0], "x");
    assert_int_equal(f->n_pending, LIMIT_HTTP_PIPELINE); /* no handler is called from within an answer */
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == LIMIT_HTTP_PIPELINE + 1));
    for (unsigned i = 1; i < 2 * LIMIT_HTTP_PIPELINE; i++) {
        assert_true(RUN_UNTIL(&f->loop, f->n_pending > i));
        answer_text(f->pending[i], "x");
    }
    assert_true(RUN_UNTIL(&f->loop, peer_count(&p, "200 OK") == 2 * LIMIT_HTTP_PIPELINE));
    peer_close(&p);
}

static void half_closing_peer_gets_its_answer(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f), q = join(f), r = join(f);
    assert_true(peer_send(&p, "GET /big/3000000 HTTP/1.1\r\n\r\n"));
    assert_true(peer_send(&q, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(peer_send(&r, "GET / HTTP/1.1\r\n\r\nGET / HT"));
    shutdown(p.fd, SHUT_WR);
    shutdown(q.fd, SHUT_WR);
    shutdown(r.fd, SHUT_WR);
    assert_true(peer_expect_end(&p) && p.eof && p.in.len > 3000000);
    assert_true(peer_expect_end(&r) && r.eof && peer_count(&r, "200 OK") == 1);
    assert_int_equal(f->n_pending, 1);
    answer_text(f->pending[0], "late");
    assert_true(peer_expect_end(&q) && q.eof && peer_count(&q, "late") == 1);
    peer_close(&p);
    peer_close(&q);
    peer_close(&r);
}

static void reset_does_not_lose_complete_requests(void **state)
{
    struct fixture *f = *state;
    struct buf b = { 0 };
    buf_adds(&b, "POST /big/100000 HTTP/1.1\r\nContent-Length: 20000\r\n\r\n");
    memset(buf_reserve(&b, 20000), 'x', 20000);
    buf_commit(&b, 20000);
    for (unsigned round = 1; round <= 10; round++) {
        struct peer p = join(f);
        assert_true(peer_send_n(&p, b.data, b.len));
        assert_true(peer_send_n(&p, b.data, b.len));
        peer_reset(&p);
        assert_true(RUN_UNTIL(&f->loop, f->n_closed == round));
        assert_int_equal(f->n_requests, 2 * round);
    }
    buf_release(&b);
}

static void writing_to_a_peer_that_is_gone(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    for (int i = 0; i < 5; i++) assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 5));
    peer_close(&p); /* looks like a half-close, until an answer is met by a reset */
    for (int i = 0; i < 5 && f->pending[i]; i++) {
        answer_text(f->pending[i], "x");
        for (int t = 0; t < 5; t++) uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == 1));
    assert_in_range(f->n_abandoned, 1, 3);
}

static void abandoned_requests(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f), q = join(f);
    assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\nGET /later HTTP/1.1\r\n\r\nGET /later HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 3));
    uint64_t id = f->pending[0]->id;
    answer_text(f->pending[2], "x"); /* waits for its turn: not abandoned */
    peer_reset(&p);
    assert_true(RUN_UNTIL(&f->loop, f->n_closed == 1));
    assert_int_equal(f->n_abandoned, 2);
    assert_null(http_find(f->server, id));
    assert_true(peer_send(&q, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 4));
    struct fixture *same = f;
    http_server_close(f->server, on_closed, f);
    assert_int_equal(same->n_abandoned, 3);
    f->close_in_handler = true;
    peer_close(&q);
}

static void answer_given_while_closing_still_leaves(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    f->close_in_handler = true;
    assert_true(peer_send(&p, "POST /quitquitquit HTTP/1.1\r\n\r\nGET /never HTTP/1.1\r\n\r\n"));
    assert_true(peer_expect_end(&p));
    assert_int_equal(peer_count(&p, "OK\n"), 1);
    assert_int_equal(f->n_requests, 1);
    peer_close(&p);
}

static void closing_abandons_the_request_in_its_handler(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    f->close_in_handler = true;
    assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->closed));
    assert_int_equal(f->n_abandoned, 1);
    peer_close(&p);
}

static void bare_request_line(void **state)
{
    (void)state;
    static const char probe[] = "GET /health HTTP/1.0\r\n";
    struct fixture *f = start((struct http_server_config){ .bare_request_ms = 30, .request_ms = 100 });
    struct peer p = join(f), q = join(f);
    assert_true(peer_send(&p, probe)); /* silence */
    assert_true(peer_send(&q, probe)); /* half-close */
    shutdown(q.fd, SHUT_WR);
    assert_true(peer_expect(&q, "\r\n\r\nOK\n") && peer_expect_end(&q) && q.eof);
    assert_true(peer_expect(&p, "\r\n\r\nOK\n") && peer_expect_end(&p) && p.eof);
    assert_int_equal(f->n_requests, 2);
    peer_close(&p);
    peer_close(&q);
    /* Not what was documented: these have to be complete. */
    static const char *const others[] = { "GET /health HTTP/1.0", "GET /health HTTP/1.1\r\n",
                                          "GET /health HTTP/1.0\r\nA", "GET /health HTTP/1.0\r\nA: b\r\n" };
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++) try_request(f, others[i], strlen(others[i]), 408);
    assert_int_equal(f->n_requests, 2);
    stop(f);
    f = start((struct http_server_config){ .request_ms = 30 });
    try_request(f, probe, strlen(probe), 408);
    stop(f);
}

static void part(struct http_request *r, const char *text)
{
    struct buf b = { 0 };
    buf_adds(&b, text);
    assert_true(http_stream_write(r, &b));
}

static void streamed_answers(void **state)
{
    static const char *const wanted[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nConnection: close\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    static const char *const requests[] = {
        "GET /stream HTTP/1.1\r\n\r\n",
        "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /later HTTP/1.0\r\n\r\n",
        "HEAD /stream HTTP/1.1\r\n\r\n"
    };
    struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        struct peer p = join(f);
        f->n_pending = 0;
        assert_true(peer_send(&p, requests[i]));
        assert_true(RUN_UNTIL(&f->loop, f->n_pending >= 1));
        http_stream_begin(f->pending[0], 200, "text/x", NULL, 0);
        part(f->pending[0], "abc");
        part(f->pending[0], "");
        part(f->pending[0], "de");
        http_stream_end(f->pending[0]);
        assert_true(i == 1 ? peer_expect_end(&p) : peer_expect_bytes(&p, strlen(wanted[i])));
        expect_exactly(&p, wanted[i]);
        peer_close(&p);
    }
    assert_int_equal(f->n_abandoned, 1); /* behind an answer that only the close can end nothing has a place */
}

static void streamed_answer_waits_for_its_turn(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\nGET /stream HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 2));
    http_stream_begin(f->pending[1], 200, NULL, NULL, 0);
    part(f->pending[1], "abc");
    peer_poll(&p);
    assert_int_equal(p.in.len, 0);
    answer_text(f->pending[0], "first");
    assert_true(peer_expect(&p, "3\r\nabc\r\n"));
    part(f->pending[1], "def");
    http_stream_end(f->pending[1]);
    assert_true(peer_expect(&p, "0\r\n\r\n"));
    assert_true(strstr(buf_cstr(&p.in), "first") < strstr(buf_cstr(&p.in), "chunked"));
    peer_close(&p);
}

static void stream_asks_for_a_pause(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    size_t sent = 0;
    struct buf b = { 0 };
    assert_true(peer_send(&p, "GET /stream HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 1));
    http_stream_begin(f->pending[0], 200, NULL, NULL, 0);
    bool more = true;
    while (more) {
        memset(buf_reserve(&b, 100000), 's', 100000);
        buf_commit(&b, 100000);
        more = http_stream_write(f->pending[0], &b);
        sent += 100000;
        assert_true(sent < 100000000);
    }
    assert_int_equal(f->n_drained, 0);
    assert_true(peer_expect_bytes(&p, sent));
    assert_true(RUN_UNTIL(&f->loop, f->n_drained == 1));
    http_stream_end(f->pending[0]);
    assert_true(peer_expect(&p, "\r\n0\r\n\r\n"));
    /* A stream whose reader is gone is abandoned once that is known. */
    assert_true(peer_send(&p, "GET /stream HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 2));
    http_stream_begin(f->pending[1], 200, NULL, NULL, 0);
    peer_reset(&p);
    assert_true(RUN_UNTIL(&f->loop, f->n_abandoned == 1));
}

static void nothing_is_an_answer(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET /nothing HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    assert_true(peer_expect(&p, "OK\n"));
    assert_int_equal(peer_count(&p, "HTTP/1.1"), 1);
    peer_close(&p);
}

static void handlers_cannot_split_headers(void **state)
{
    struct fixture *f = *state;
    struct peer p = join(f);
    assert_true(peer_send(&p, "GET /later HTTP/1.1\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, f->n_pending == 1));
    struct http_header h = { STR("Location"), STR("/a\r\nX-Evil: 1") };
    http_respond(f->pending[0], 302, NULL, &h, 1, NULL, 0);
    assert_true(peer_expect(&p, "\r\n\r\n"));
    expect_exactly(&p, "HTTP/1.1 302 Found\r\nLocation: /a  X-Evil: 1\r\nContent-Length: 0\r\n\r\n");
    peer_close(&p);
}

static void listen_errors(void **state)
{
    struct fixture *f = *state;
    struct http_server *s;
    bool closed = false;
    struct fixture other = { 0 };
    assert_int_equal(http_server_new(&f->loop, &f->cfg, &s), 0);
    assert_int_equal(http_server_listen(s, "127.0.0.1", http_server_port(f->server)), ERR_BUSY);
    http_server_close(s, on_closed, &other);
    assert_true(RUN_UNTIL(&f->loop, other.closed));
    assert_int_equal(http_server_new(&f->loop, &f->cfg, &s), 0);
    assert_int_equal(http_server_listen(s, "localhost", 0), ERR_INVALID);
    http_server_close(s, NULL, &closed);
    assert_int_equal(http_server_new(&f->loop, &f->cfg, &s), 0);
    assert_int_equal(http_server_listen(s, "::1", 0), 0);
    http_server_close(s, NULL, &closed);
}

static void urls(void **state)
{
    (void)state;
    struct buf b = { 0 };
    assert_int_equal(url_decode(STR("/a%20b+c%2F%41"), &b, false), 0);
    assert_string_equal(buf_cstr(&b), "/a b+c/A");
    static const char *const wrong[] = { "%", "%4", "%zz", "%4z", "abc%", "%%41" };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(url_decode(str_c(wrong[i]), &b, false), ERR_MALFORMED);
    assert_string_equal(buf_cstr(&b), "/a b+c/A");
    buf_reset(&b);
    struct str query = STR("role=www+data&%6aobs=1%2C2&flag&empty=&bad=%zz&role=two");
    assert_int_equal(query_param(query, "role", &b), 0);
    assert_string_equal(buf_cstr(&b), "www data");
    buf_reset(&b);
    assert_int_equal(query_param(query, "jobs", &b), 0);
    assert_string_equal(buf_cstr(&b), "1,2");
    assert_int_equal(query_param(query, "flag", &b), 0);
    assert_int_equal(query_param(query, "empty", &b), 0);
    assert_string_equal(buf_cstr(&b), "1,2");
    assert_int_equal(query_param(query, "bad", &b), ERR_MALFORMED);
    assert_int_equal(query_param(query, "ro", &b), ERR_NOT_FOUND);
    assert_int_equal(query_param((struct str){ 0 }, "role", &b), ERR_NOT_FOUND);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(request_and_answer),
        SERVER_TEST(version_1_0_closes_unless_asked),
        SERVER_TEST(answers_leave_in_request_order),
        SERVER_TEST(bodies_in_every_framing),
        cmocka_unit_test(expect_100_continue),
        cmocka_unit_test(limits_hold_at_their_edges),
        SERVER_TEST(malformed_requests),
        cmocka_unit_test(silent_errors_close_without_an_answer),
        cmocka_unit_test(time_outs),
        cmocka_unit_test(a_busy_loop_blames_nobody),
        cmocka_unit_test(never_means_never),
        cmocka_unit_test(refused_peer_is_not_waited_for_long),
        cmocka_unit_test(connection_cap),
        cmocka_unit_test(slow_reader_is_not_read_from),
        cmocka_unit_test(reader_without_progress_is_dropped),
        SERVER_TEST(pipeline_limit),
        SERVER_TEST(half_closing_peer_gets_its_answer),
        SERVER_TEST(reset_does_not_lose_complete_requests),
        SERVER_TEST(writing_to_a_peer_that_is_gone),
        SERVER_TEST(abandoned_requests),
        SERVER_TEST(answer_given_while_closing_still_leaves),
        SERVER_TEST(closing_abandons_the_request_in_its_handler),
        cmocka_unit_test(bare_request_line),
        SERVER_TEST(streamed_answers),
        SERVER_TEST(streamed_answer_waits_for_its_turn),
        SERVER_TEST(stream_asks_for_a_pause),
        SERVER_TEST(nothing_is_an_answer),
        SERVER_TEST(handlers_cannot_split_headers),
        SERVER_TEST(listen_errors),
        cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
