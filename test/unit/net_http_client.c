/* The HTTP client against raw sockets and against our own server. */
#include "core/err.h"
#include "core/limits.h"
#include "net/http.h"
#include "test/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct fixture {
    uv_loop_t loop;
    struct http_client *client;
    int listener;
    uint16_t port;
    bool closed;
};

struct result {
    unsigned n; /* callbacks */
    int err, status;
    struct buf body, header; /* of the answer; X-A */
    struct fixture *close_in_cb;
};

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static struct fixture *start(void)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    uv_loop_init(&f->loop);
    assert_int_equal(http_client_new(&f->loop, &f->client), 0);
    f->listener = peer_listen(&f->port, 50);
    return f;
}

static void stop(struct fixture *f)
{
    if (f->client) http_client_close(f->client, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    close(f->listener);
    free(f);
}

static void on_answer(struct http_call *c, int err)
{
    struct result *r = c->data;
    r->n++;
    r->err = err;
    if (!err) {
        r->status = c->status;
        buf_reset(&r->body);
        buf_reset(&r->header);
        buf_add_str(&r->body, c->ret_body);
        for (uint32_t i = 0; i < c->n_ret_headers; i++)
            if (!strcmp(c->ret_headers[i].name.p, "X-A")) buf_add_str(&r->header, c->ret_headers[i].value);
    }
    if (r->close_in_cb) {
        http_client_close(r->close_in_cb->client, on_closed, r->close_in_cb);
        r->close_in_cb->client = NULL;
    }
}

static struct http_call call_to(struct fixture *f, struct result *r, const char *method, const char *target)
{
    return (struct http_call){
        .data = r, .cb = on_answer, .ip = "127.0.0.1", .port = f->port, .method = method, .target = target
    };
}

static void forget(struct result *r)
{
    buf_release(&r->body);
    buf_release(&r->header);
    *r = (struct result){ 0 };
}

static void request_form(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct result r = { 0 };
    struct http_call c = call_to(f, &r, "POST", "/hook?x=1");
    struct http_header h[] = { { STR("Content-Type"), STR("application/json") }, { STR("X-Empty"), STR("") } };
    struct peer p;
    char want[256];
    c.headers = h;
    c.n_headers = 2;
    c.body = STR("{}");
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(peer_accept(&f->loop, f->listener, &p));
    snprintf(want, sizeof want,
             "POST /hook?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\nX-Empty: \r\n"
             "Content-Length: 2\r\n\r\n{}",
             f->port);
    assert_true(peer_expect_bytes(&p, strlen(want)));
    assert_string_equal(buf_cstr(&p.in), want);
    assert_int_equal(r.n, 0);
    assert_true(peer_send(&p, "HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 4\r\n\r\ndone"));
    assert_true(RUN_UNTIL(&f->loop, r.n == 1));
    assert_int_equal(r.err, 0);
    assert_int_equal(r.status, 201);
    assert_string_equal(buf_cstr(&r.body), "done");
    assert_string_equal(buf_cstr(&r.header), "b");
    peer_close(&p);
    forget(&r);
    stop(f);
}

static void answers_in_every_framing(void **state)
{
    (void)state;
    static const struct {
        const char *method, *text;
        int err, status;
        const char *body;
        bool close;
    } rows[] = {
        { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 0, 200, "hi", false },
        { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", 0, 200, "hi",
          false },
        { "GET", "HTTP/1.1 200 OK\r\n\r\nhi", 0, 200, "hi", true },
        { "GET", "HTTP/1.0 200 OK\r\n\r\nhi", 0, 200, "hi", true },
        { "GET", "HTTP/1.1 204 No Content\r\n\r\n", 0, 204, "", false },
        { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 0, 304, "", false },
        { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 0, 200, "", false },
        { "GET",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny", 0,
          200, "y", false },
        { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 0, 200, NULL, false }, /* the limit */
        { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", ERR_TOO_BIG, 0, NULL, false },
        { "GET", "rubbish\r\n\r\n", ERR_MALFORMED, 0, NULL, false },
        { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", ERR_CLOSED, 0, NULL, true },
        { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", ERR_CLOSED, 0, NULL, true },
        { "GET", "HTTP/1.1 20", ERR_CLOSED, 0, NULL, true },
        { "GET", "", ERR_CLOSED, 0, NULL, true },
    };
    struct fixture *f = start();
    for (unsigned i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        unsigned k = i / 2;
        struct result r = { 0 };
        struct http_call c = call_to(f, &r, rows[k].method, "/");
        struct peer p;
        char hundred[101] = { 0 };
        c.max_body_bytes = 100;
        assert_int_equal(http_client_call(f->client, &c), 0);
        assert_true(peer_accept(&f->loop, f->listener, &p));
        assert_true(peer_expect(&p, "\r\n\r\n"));
        for (const char *s = rows[k].text; i % 2 && *s; s++) {
            if (!peer_send_n(&p, s, 1)) break;
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        if (i % 2 == 0) peer_send(&p, rows[k].text);
        if (!rows[k].err && !rows[k].body) peer_send_n(&p, memset(hundred, 'x', 100), 100);
        if (rows[k].close) shutdown(p.fd, SHUT_WR);
        assert_true(RUN_UNTIL(&f->loop, r.n == 1));
        assert_int_equal(r.err, rows[k].err);
        if (!r.err) assert_int_equal(r.status, rows[k].status);
        if (!r.err) assert_string_equal(buf_cstr(&r.body), rows[k].body ? rows[k].body : hundred);
        peer_close(&p);
        for (int t = 0; t < 20; t++) uv_run(&f->loop, UV_RUN_NOWAIT);
        forget(&r);
    }
    stop(f);
}

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";

static void serve(struct peer *p, struct result *r, const char *body)
{
    unsigned before = r->n;
    assert_true(peer_expect(p, "\r\n\r\n"));
    buf_reset(&p->in);
    assert_true(peer_send(p, ok) && peer_send(p, body));
    assert_true(RUN_UNTIL(p->loop, r->n == before + 1));
    assert_int_equal(r->err, 0);
    assert_string_equal(buf_cstr(&r->body), body);
}

static void connections_are_kept(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct result r = { 0 };
    struct http_call c = call_to(f, &r, "GET", "/"), d = call_to(f, &r, "POST", "/");
    struct peer p, q;
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(peer_accept(&f->loop, f->listener, &p));
    serve(&p, &r, "1");
    assert_int_equal(http_client_call(f->client, &c), 0);
    serve(&p, &r, "2");
    /* What can not be repeated goes over a connection of its own. */
    assert_int_equal(http_client_call(f->client, &d), 0);
    assert_true(peer_accept(&f->loop, f->listener, &q));
    serve(&q, &r, "3");
    assert_int_equal(http_client_call(f->client, &c), 0);
    serve(&q, &r, "4");
    /* Closed under our hands: a new one. */
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(peer_expect(&q, "\r\n\r\n"));
    peer_close(&q);
    assert_true(peer_accept(&f->loop, f->listener, &q));
    serve(&q, &r, "5");
    /* But only once. */
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(peer_expect(&q, "\r\n\r\n"));
    peer_close(&q);
    assert_true(peer_accept(&f->loop, f->listener, &q) && peer_expect(&q, "\r\n\r\n"));
    peer_close(&q);
    assert_true(RUN_UNTIL(&f->loop, r.n == 6));
    assert_int_equal(r.err, ERR_CLOSED);
    /* A byte too much, or a close announced, ends the keeping. */
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(peer_expect(&p, "\r\n\r\n"));
    assert_true(peer_send(&p, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    assert_true(RUN_UNTIL(&f->loop, r.n == 7));
    assert_true(peer_expect_end(&p));
    peer_close(&p);
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(peer_accept(&f->loop, f->listener, &p));
    assert_true(peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore"));
    assert_true(RUN_UNTIL(&f->loop, r.n == 8));
    assert_true(peer_expect_end(&p));
    peer_close(&p);
    forget(&r);
    stop(f);
}

static void only_some_are_kept(void **state)
{
    (void)state;
    enum { N = LIMIT_HTTP_CLIENT_KEPT + 1 };
    struct fixture *f = start();
    struct result r = { 0 };
    struct http_call c[N];
    struct peer p[N];
    for (unsigned i = 0; i < N; i++) {
        c[i] = call_to(f, &r, "GET", "/");
        assert_int_equal(http_client_call(f->client, &c[i]), 0);
        assert_true(peer_accept(&f->loop, f->listener, &p[i]));
    }
    for (unsigned i = 0; i < N; i++) serve(&p[i], &r, "x");
    assert_true(peer_expect_end(&p[N - 1]));
    peer_poll(&p[0]);
    assert_false(p[0].eof);
    for (unsigned i = 0; i < N; i++) peer_close(&p[i]);
    forget(&r);
    stop(f);
}

/* Over so many addresses that the limit of each is not reached. */
static void only_so_many_are_kept_in_all(void **state)
{
    (void)state;
    enum { N = LIMIT_HTTP_CLIENT_KEPT_ALL + 1, ADDRESSES = N / LIMIT_HTTP_CLIENT_KEPT + 1 };
    struct fixture *f = start();
    struct result r = { 0 };
    struct sockaddr_in any = { .sin_family = AF_INET };
    socklen_t len = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, len) + listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
    struct http_call *c = xcalloc(N, sizeof *c);
    struct peer *p = xcalloc(N, sizeof *p);
    char ips[ADDRESSES][16];
    for (unsigned i = 0; i < N; i++) {
        snprintf(ips[i % ADDRESSES], 16, "127.0.0.%u", i % ADDRESSES + 1);
        c[i] = call_to(f, &r, "GET", "/");
        c[i].ip = ips[i % ADDRESSES];
        c[i].port = ntohs(any.sin_port);
        assert_int_equal(http_client_call(f->client, &c[i]), 0);
        assert_true(peer_accept(&f->loop, fd, &p[i]));
    }
    for (unsigned i = 0; i < N; i++) serve(&p[i], &r, "x");
    assert_true(peer_expect_end(&p[N - 1]));
    peer_poll(&p[N - 2]);
    assert_false(p[N - 2].eof);
    for (unsigned i = 0; i < N; i++) peer_close(&p[i]);
    free(c);
    free(p);
    close(fd);
    forget(&r);
    stop(f);
}

static void failures(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct result r = { 0 };
    struct http_call c = call_to(f, &r, "GET", "/");
    struct peer p;
    c.timeout_ms = 30; /* nobody answers */
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_true(RUN_UNTIL(&f->loop, r.n == 1));
    assert_int_equal(r.err, ERR_TIMEOUT);
    assert_true(peer_accept(&f->loop, f->listener, &p));
    assert_true(peer_expect_end(&p));
    peer_close(&p);
    c.port = 1;
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_int_equal(r.n, 1);
    assert_true(RUN_UNTIL(&f->loop, r.n == 2));
    assert_int_equal(r.err, ERR_REFUSED);
    static const char *const targets[] = { "", "x", "/a b", "/a\r\nX: y", "/a\tb" };
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
        c = call_to(f, &r, "GET", targets[i]);
        assert_int_equal(http_client_call(f->client, &c), ERR_INVALID);
    }
    struct http_header evil = { STR("X"), STR("a\r\nY: b") };
    c = call_to(f, &r, "GET", "/");
    c.headers = &evil;
    c.n_headers = 1;
    assert_int_equal(http_client_call(f->client, &c), ERR_INVALID);
    c = call_to(f, &r, "GET", "/");
    c.ip = "localhost";
    assert_int_equal(http_client_call(f->client, &c), ERR_INVALID);
    c = call_to(f, &r, "GET", "/");
    assert_int_equal(http_client_call(f->client, &c), 0);
    http_client_cancel(&c);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.err, ERR_CLOSED);
    forget(&r);
    stop(f);
}

static void closing_cancels(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct result r = { 0 }, s = { 0 };
    struct http_call c = call_to(f, &r, "GET", "/"), d = call_to(f, &s, "GET", "/");
    struct peer p;
    assert_int_equal(http_client_call(f->client, &c), 0);
    assert_int_equal(http_client_call(f->client, &d), 0);
    assert_true(peer_accept(&f->loop, f->listener, &p));
    r.close_in_cb = f;
    assert_true(peer_expect(&p, "\r\n\r\n") && peer_send(&p, ok) && peer_send(&p, "x"));
    assert_true(RUN_UNTIL(&f->loop, r.n + s.n == 2));
    assert_int_equal(r.err, 0);
    assert_int_equal(s.err, ERR_CLOSED);
    peer_close(&p);
    forget(&r);
    forget(&s);
    stop(f);
}

static void echo(struct http_request *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", NULL, 0, r->body.p, r->body.n);
}

static void against_our_own_server(void **state)
{
    (void)state;
    enum { N = 50, BIG = 2000000 };
    struct fixture *f = start(), other = { 0 };
    struct http_server_config cfg = { .on_request = echo };
    struct http_server *server;
    struct result r[N] = { 0 };
    struct http_call c[N];
    struct buf big = { 0 };
    memset(buf_reserve(&big, BIG), 'b', BIG);
    assert_int_equal(http_server_new(&f->loop, &cfg, &server), 0);
    assert_int_equal(http_server_listen(server, "::1", 0), 0);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++) {
            c[i] = call_to(f, &r[i], i % 2 ? "PUT" : "POST", "/echo");
            c[i].ip = "::1";
            c[i].port = http_server_port(server);
            c[i].body = (struct str){ (char *)big.data, i == 7 ? BIG : 10 * i };
            assert_int_equal(http_client_call(f->client, &c[i]), 0);
        }
        for (unsigned i = 0; i < N; i++) {
            assert_true(RUN_UNTIL(&f->loop, r[i].n == (unsigned)round + 1));
            assert_int_equal(r[i].err, 0);
            assert_int_equal(r[i].body.len, c[i].body.n);
        }
    }
    http_server_close(server, on_closed, &other);
    assert_true(RUN_UNTIL(&f->loop, other.closed));
    for (unsigned i = 0; i < N; i++) forget(&r[i]);
    buf_release(&big);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_form),
        cmocka_unit_test(answers_in_every_framing),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(only_some_are_kept),
        cmocka_unit_test(only_so_many_are_kept_in_all),
        cmocka_unit_test(failures),
        cmocka_unit_test(closing_cancels),
        cmocka_unit_test(against_our_own_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
