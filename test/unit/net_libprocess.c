/* The libprocess transport against raw sockets, against itself, and against recorded bytes. */
#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "net/http_parser.h"
#include "net/libprocess.h"
#include "net/libprocess_wire.h"
#include "test/lib/capture.h"
#include "test/lib/peer.h"

#include <setjmp.h>
#include <sys/resource.h>
#include <stdarg.h>
#include <cmocka.h>

struct node {
    uv_loop_t *loop;
    struct libprocess *lp;
    struct lp_process *process;
    struct upid self;
    unsigned n_messages, n_exits, n_http;
    struct upid from, exited;
    struct buf names;  /* of all messages, each with a blank behind */
    struct buf bodies; /* of all messages, one behind the other */
    size_t body_bytes;
    bool terminate_in_callback, close_in_callback, relink_in_exit;
    bool closed;
};

static void on_lp_closed(void *arg)
{
    ((struct node *)arg)->closed = true;
}

static void act(struct node *n)
{
    if (n->terminate_in_callback) lp_terminate(n->process);
    if (n->close_in_callback) libprocess_close(n->lp, on_lp_closed, n);
}

static void on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t size,
                       void *arg)
{
    struct node *n = arg;
    assert_non_null(lp_self(p));
    assert_int_equal(name.p[name.n], 0);
    n->n_messages++;
    n->from = *from;
    buf_add_str(&n->names, name);
    buf_addc(&n->names, ' ');
    if (size < 100000) buf_add(&n->bodies, body, size);
    n->body_bytes += size;
    act(n);
}

static void on_exited(struct lp_process *p, const struct upid *peer, void *arg)
{
    struct node *n = arg;
    n->n_exits++;
    n->exited = *peer;
    if (n->relink_in_exit) lp_link(p, peer);
    act(n);
}

static struct lp_handlers handlers(struct node *n)
{
    return (struct lp_handlers){ on_message, on_exited, n };
}

static struct node *node_new(uv_loop_t *loop, const char *id, struct libprocess_config cfg)
{
    struct node *n = xcalloc(1, sizeof *n);
    struct lp_handlers h = handlers(n);
    cfg.loop = loop;
    if (!cfg.ip) cfg.ip = "127.0.0.1";
    n->loop = loop;
    assert_int_equal(libprocess_new(&cfg, &n->lp), 0);
    assert_int_equal(lp_spawn(n->lp, id, &h, &n->process), 0);
    n->self = *lp_self(n->process);
    assert_true(upid_valid(&n->self));
    return n;
}

static void node_free(struct node *n)
{
    if (!n->close_in_callback) libprocess_close(n->lp, on_lp_closed, n);
    assert_true(RUN_UNTIL(n->loop, n->closed));
    buf_release(&n->names);
    buf_release(&n->bodies);
    free(n);
}

static int loop_set_up(void **state)
{
    return uv_loop_init(*state = xcalloc(1, sizeof(uv_loop_t)));
}

static int loop_tear_down(void **state)
{
    uv_run(*state, UV_RUN_DEFAULT);
    int rv = uv_loop_close(*state);
    free(*state);
    return rv;
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, loop_set_up, loop_tear_down)

static struct upid pid_at(const char *id, uint16_t port)
{
    struct upid u = { .ip = htonl(INADDR_LOOPBACK), .port = port };
    strcpy(u.id, id);
    return u;
}

static void turn(uv_loop_t *loop, int times)
{
    while (times--) uv_run(loop, UV_RUN_NOWAIT);
}

/* ---- recorded bytes ---- */

static const char *const scenarios[] = {
    "agent-loss-and-return-partition-aware",
    "agent-loss-and-return",
    "custom-executor",
    "executor-and-agent-loss",
    "framework-auth-errors",
    "framework-lifecycle-crammd5",
    "framework-lifecycle-multirole-explicit-ack",
    "framework-lifecycle",
    "http-probes",
    "master-failover",
    "master-restart",
    "offer-rescind",
    "replica-table",
    "replicated-log-autoinit",
    "replicated-log-slow-start",
    "replicated-log",
    "retries",
    "scheduler-failover",
    "scheduler-relink",
    "scheduler-resubscribe",
    "v1-http-scheduler",
};

/* Parses one message in pieces of `step` bytes; it must end with the last byte. */
static void parse_whole(struct http_parser *p, struct http_msg *m, const struct buf *b, size_t step)
{
    enum http_parse rv = HTTP_PARSE_MORE;
    size_t at = 0, used = 0;
    http_parser_begin(p, m, false);
    while (at < b->len) {
        size_t n = b->len - at < step ? b->len - at : step;
        assert_int_equal(rv, HTTP_PARSE_MORE);
        rv = http_parser_feed(p, (const char *)b->data + at, n, &used);
        at += n;
    }
    if (rv == HTTP_PARSE_MORE) rv = http_parser_eof(p);
    assert_int_equal(rv, HTTP_PARSE_DONE);
    assert_int_equal(used, b->len % step ? b->len % step : step < b->len ? step : b->len);
}

static struct http_request request_of(const struct http_msg *m)
{
    return (struct http_request){ .method = m->method,
                                  .path = m->path,
                                  .headers = m->headers,
                                  .n_headers = m->n_headers,
                                  .body = { (const char *)m->body.data, (uint32_t)m->body.len } };
}

/* Every message of libprocess itself comes out of our encoder byte for byte. */
static unsigned compare_encoding(const struct capture *c, const struct http_request *r, const struct lp_message *m)
{
    struct str host = http_request_header(r, "Host"), from = http_request_header(r, "Libprocess-From");
    struct upid to;
    struct buf b = { 0 };
    if (!from.p || !strcmp(c->from, "probe") || !host.n || !http_request_header(r, "Transfer-Encoding").p) return 0;
    buf_addf(&b, "%s@%.*s", m->to, STR_ARG(host));
    if (upid_parse((struct str){ (char *)b.data, (uint32_t)b.len }, &to)) {
        buf_release(&b);
        return 0;
    }
    buf_reset(&b);
    lp_encode(&b, from.p, &to, m->name.p, r->body.p, r->body.n);
    assert_int_equal(b.len, c->http.len);
    assert_memory_equal(b.data, c->http.data, b.len);
    buf_release(&b);
    return 1;
}

static unsigned check_request(const struct capture *c, const struct http_msg *m)
{
    struct http_request r = request_of(m);
    struct lp_message lm;
    const char *name = strrchr(c->path, '/') + 1;
    assert_int_equal(r.path.n, strlen(c->path));
    assert_memory_equal(r.path.p, c->path, r.path.n);
    enum lp_kind kind = lp_decode(&r, &lm);
    if (kind == LP_NO_MESSAGE) return 0;
    assert_int_equal(kind, LP_MESSAGE);
    assert_string_equal(lm.name.p, name);
    assert_true(lm.from.ip || strstr((char *)c->http.data, "nonsense"));
    return compare_encoding(c, &r, &lm);
}

static void recorded_messages(void **state)
{
    (void)state;
    static const size_t steps[] = { SIZE_MAX, 1, 7 };
    struct http_parser req, resp;
    struct http_msg m = { 0 };
    unsigned n_requests = 0, n_same = 0, n_responses = 0;
    http_parser_init(&req, HTTP_REQUEST, LIMIT_HTTP_BODY_BYTES);
    http_parser_init(&resp, HTTP_RESPONSE, LIMIT_HTTP_BODY_BYTES);
    for (unsigned i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        struct capture c;
        assert_true(capture_open(&c, scenarios[i]));
        while (capture_next(&c)) {
            bool is_request = !strcmp(c.kind, "request");
            if (!is_request && strcmp(c.kind, "response") != 0) continue;
            for (unsigned s = 0; s < 3; s++) parse_whole(is_request ? &req : &resp, &m, &c.http, steps[s]);
            if (is_request) n_same += check_request(&c, &m);
            n_requests += is_request;
            n_responses += !is_request;
        }
        capture_close(&c);
    }
    http_msg_release(&m);
    print_message("%u requests, %u of them encoded again, %u responses\n", n_requests, n_same, n_responses);
    assert_true(n_requests > 1500 && n_same > 1000 && n_responses > 1000);
}

/* ---- pids ---- */

static void pids(void **state)
{
    (void)state;
    static const char *const good[] = { "master@1.2.3.4:5050", "log-replica(1)@127.0.0.1:1", "@0.0.0.0:0",
                                        "a@255.255.255.255:65535" };
    static const char *const bad[] = { "",
                                       "nonsense",
                                       "a@",
                                       "a@1.2.3.4",
                                       "a@1.2.3.4:",
                                       "a@1.2.3.4:x",
                                       "a@1.2.3.4:65536",
                                       "a@host:1",
                                       "a@1.2.3:1",
                                       "a@::1:5",
                                       "a@1.2.3.4:99999999999999999999" };
    char text[UPID_TEXT_MAX], id[UPID_ID_MAX + 20];
    struct upid u;
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(upid_parse(str_c(good[i]), &u), 0);
        assert_string_equal(upid_text(&u, text), good[i]);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(upid_parse(str_c(bad[i]), &u), ERR_MALFORMED);
    assert_int_equal(upid_parse(STR("a@1.2.3.4:5 and more"), &u), 0);
    assert_int_equal(u.port, 5);
    memset(id, 'i', sizeof id);
    strcpy(id + UPID_ID_MAX, "@1.2.3.4:65535");
    assert_int_equal(upid_parse(str_c(id), &u), 0);
    assert_string_equal(upid_text(&u, text), id);
    strcpy(id + UPID_ID_MAX, "i@1.2.3.4:65535");
    assert_int_equal(upid_parse(str_c(id), &u), ERR_MALFORMED);
    struct upid a = pid_at("x", 1), b = pid_at("x", 2), null = { .id = "" };
    assert_true(upid_eq(&a, &a) && !upid_eq(&a, &b) && upid_valid(&a) && !upid_valid(&null));
}

/* ---- receiving ---- */

static void receives_every_form(void **state)
{
    static const char *const forms[] = {
        "POST /master/x.Call HTTP/1.1\r\nUser-Agent: libprocess/s@127.0.0.1:5\r\nLibprocess-From: s@127.0.0.1:5\r\n"
        "Connection: Keep-Alive\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /master/x.Call HTTP/1.1\r\nlibprocess-from: s@127.0.0.1:5\r\ncontent-length: 5\r\n\r\nhello",
        "POST /master/x.Call HTTP/1.1\r\nLibprocess-From:  s@127.0.0.1:5 \r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n",
        "POST /%6daster/x.Call HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\nContent-Length: 5\r\n\r\nhello",
        "POST /master/x.Call HTTP/1.0\r\nConnection: Keep-Alive\r\nLibprocess-From: s@127.0.0.1:5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    };
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "master", (struct libprocess_config){ 0 });
    struct peer p = peer_open(loop, n->self.port);
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            buf_reset(&p.in);
            buf_reset(&n->bodies);
            buf_reset(&n->names);
            for (const char *s = forms[i]; bytewise && *s; s++) {
                assert_true(peer_send_n(&p, s, 1));
                turn(loop, 1);
            }
            if (!bytewise) assert_true(peer_send(&p, forms[i]));
            assert_true(peer_expect(&p, "HTTP/1.1 202 Accepted\r\nDate: "));
            assert_true(peer_expect(&p, "GMT\r\nContent-Length: 0\r\n"));
            assert_string_equal(buf_cstr(&n->bodies), "hello");
            assert_string_equal(buf_cstr(&n->names), "x.Call ");
            assert_string_equal(n->from.id, "s");
            assert_int_equal(n->from.port, 5);
        }
    }
    /* Pipelined, with an empty body, and with a name that is a path. */
    buf_reset(&n->names);
    buf_reset(&p.in);
    assert_true(peer_send(&p, "POST /master/a HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n"
                              "POST /master/b/c%20d HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n"
                              "POST /master HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n"));
    assert_true(RUN_UNTIL(loop, peer_count(&p, "202 Accepted") == 3));
    assert_string_equal(buf_cstr(&n->names), "a b/c%20d  ");
    /* The connection is ours to close only when asked to. */
    assert_true(
        peer_send(&p, "POST /master/a HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\nConnection: close\r\n\r\n"));
    assert_true(peer_expect_end(&p) && p.eof);
    peer_close(&p);
    node_free(n);
}

static void answers_by_the_rules(void **state)
{
    static const struct {
        const char *head;
        const char *status; /* NULL: none */
        bool delivered;
    } rows[] = {
        { "POST /nobody/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n", "404 Not Found", false },
        { "POST /master/x HTTP/1.1\r\nLibprocess-From: nonsense\r\n", "202 Accepted", true },
        { "POST /master/x HTTP/1.1\r\nUser-Agent: libprocess/s@127.0.0.1:5\r\n", NULL, true },
        { "POST /nobody/x HTTP/1.1\r\nUser-Agent: libprocess/s@127.0.0.1:5\r\n", NULL, false },
        { "POST /master/x HTTP/1.1\r\nUser-Agent: curl/7\r\n", "404 Not Found", false },
        { "POST /master/x HTTP/1.1\r\n", "404 Not Found", false },
        { "GET /master/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n", "404 Not Found", false },
        { "GET /version HTTP/1.1\r\n", "404 Not Found", false },
        { "POST * HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n", "400 Bad Request", false },
        { "POST /ma%zzster/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n", "500 Internal Server Error", false },
        { "POST /master%00/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n", "404 Not Found", false },
    };
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "master", (struct libprocess_config){ 0 });
    struct peer p = peer_open(loop, n->self.port);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        char wanted[64];
        unsigned before = n->n_messages;
        buf_reset(&p.in);
        assert_true(peer_send(&p, rows[i].head) && peer_send(&p, "Content-Length: 1\r\n\r\nb"));
        /* The connection goes on; what follows is answered behind it. */
        assert_true(peer_send(&p, "POST /master/end HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n"));
        snprintf(wanted, sizeof wanted, "HTTP/1.1 %s\r\n", rows[i].status ? rows[i].status : "202 Accepted");
        assert_true(RUN_UNTIL(loop, peer_count(&p, "HTTP/1.1 ") == (rows[i].status ? 2 : 1)));
        assert_memory_equal(p.in.data, wanted, strlen(wanted));
        assert_int_equal(n->n_messages, before + 1 + rows[i].delivered);
        if (rows[i].status && !strncmp(rows[i].status, "404", 3))
            assert_non_null(strstr(buf_cstr(&p.in), "Content-Length: 14\r\n\r\n404 Not Found."));
    }
    /* Who sent what did not parse is the null pid. */
    assert_true(peer_send(&p, "POST /master/x HTTP/1.1\r\nLibprocess-From: @0.0.0.0:0\r\n\r\n"));
    assert_true(RUN_UNTIL(loop, n->from.port == 0));
    assert_true(!n->from.id[0] && !n->from.ip);
    /* Bad syntax: closed without an answer. */
    buf_reset(&p.in);
    assert_true(RUN_UNTIL(loop, (peer_poll(&p), true)));
    buf_reset(&p.in);
    assert_true(peer_send(&p, "rubbish\r\n\r\n") && peer_expect_end(&p));
    assert_int_equal(peer_count(&p, "400"), 0);
    peer_close(&p);
    node_free(n);
}

static void closing_right_behind_a_message(void **state)
{
    static const char message[] =
        "POST /master/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\nContent-Length: 1\r\n\r\nb";
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "master", (struct libprocess_config){ 0 });
    for (unsigned i = 0; i < 30; i++) {
        struct peer p = peer_open(loop, n->self.port);
        assert_true(peer_send(&p, message) && peer_send(&p, message));
        if (i % 3 == 0)
            peer_reset(&p);
        else if (i % 3 == 1)
            peer_close(&p);
        else
            shutdown(p.fd, SHUT_WR);
        assert_true(RUN_UNTIL(loop, n->n_messages == 2 * (i + 1)));
        peer_close(&p);
    }
    node_free(n);
}

static void peer_address_must_match_if_wanted(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "master", (struct libprocess_config){ .require_peer_address_ip_match = true });
    struct peer p = peer_open(loop, n->self.port);
    assert_true(peer_send(&p, "POST /master/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.9:5\r\n\r\n"));
    assert_true(peer_expect(&p, "HTTP/1.1 400 Bad Request"));
    buf_reset(&p.in);
    assert_true(peer_send(&p, "POST /master/x HTTP/1.1\r\nLibprocess-From: nonsense\r\n\r\n"));
    assert_true(peer_expect(&p, "HTTP/1.1 400 Bad Request"));
    assert_int_equal(n->n_messages, 0);
    assert_true(peer_send(&p, "POST /master/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n"));
    assert_true(peer_expect(&p, "HTTP/1.1 202 Accepted"));
    assert_int_equal(n->n_messages, 1);
    peer_close(&p);
    node_free(n);
}

static void body_limit(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "master", (struct libprocess_config){ .max_body_bytes = 4 });
    struct peer p = peer_open(loop, n->self.port);
    assert_true(
        peer_send(&p, "POST /master/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\nContent-Length: 4\r\n\r\nfour"));
    assert_true(peer_expect(&p, "202 Accepted"));
    assert_true(
        peer_send(&p, "POST /master/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\nContent-Length: 5\r\n\r\nfiver"));
    assert_true(peer_expect_end(&p));
    assert_int_equal(n->n_messages, 1);
    peer_close(&p);
    node_free(n);
}

/* ---- sending ---- */

static void sends_in_the_recorded_form(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "scheduler-1", (struct libprocess_config){ 0 });
    uint16_t port;
    int fd = peer_listen(&port, 5);
    struct upid to = pid_at("log-replica(1)", port);
    struct peer p;
    char self[UPID_TEXT_MAX];
    struct buf want = { 0 };
    upid_text(&n->self, self);
    assert_int_equal(lp_send(n->process, &to, "x.Call", "hello, this is it", 17), 0);
    assert_int_equal(lp_send(n->process, &to, "x.Empty", NULL, 0), 0);
    buf_addf(&want,
             "POST /log-replica(1)/x.Call HTTP/1.1\r\nUser-Agent: libprocess/%s\r\nLibprocess-From: %s\r\n"
             "Connection: Keep-Alive\r\nHost: 127.0.0.1:%u\r\nTransfer-Encoding: chunked\r\n\r\n"
             "11\r\nhello, this is it\r\n0\r\n\r\n"
             "POST /log-replica(1)/x.Empty HTTP/1.1\r\nUser-Agent: libprocess/%s\r\nLibprocess-From: %s\r\n"
             "Connection: Keep-Alive\r\nHost: 127.0.0.1:%u\r\n\r\n",
             self, self, port, self, self, port);
    assert_true(peer_accept(loop, fd, &p));
    assert_true(peer_expect_bytes(&p, want.len));
    assert_string_equal(buf_cstr(&p.in), buf_cstr(&want));
    /* One connection for all pids there; what comes back is thrown away. */
    struct upid other = pid_at("other", port);
    for (int i = 0; i < 50; i++) {
        buf_reset(&p.in);
        assert_int_equal(lp_send(n->process, i % 2 ? &other : &to, "y", "z", 1), 0);
        assert_true(peer_expect(&p, "\r\n1\r\nz\r\n0\r\n\r\n"));
        assert_true(peer_send(&p, i % 3 ? "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" : "what ever"));
    }
    assert_int_equal(accept(fd, NULL, NULL), -1);
    assert_int_equal(n->n_exits, 0);
    /* Nothing goes to nobody, nor to an id that would break the request line. */
    struct upid null = { .id = "" }, evil = pid_at("a HTTP/1.1\r\n\r\nGET /", port);
    buf_reset(&p.in);
    assert_int_equal(lp_send(n->process, &null, "y", "z", 1), 0);
    assert_int_equal(lp_send(n->process, &evil, "y", "z", 1), 0);
    turn(loop, 20);
    peer_poll(&p);
    assert_int_equal(p.in.len, 0);
    assert_int_equal(lp_send(n->process, &to, "y", "z", (size_t)LIMIT_LIBPROCESS_BODY_BYTES + 1), ERR_TOO_BIG);
    buf_release(&want);
    peer_close(&p);
    close(fd);
    node_free(n);
}

static void discards_answers_that_would_fill_the_socket(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ 0 });
    uint16_t port;
    int fd = peer_listen(&port, 5);
    struct upid to = pid_at("m", port);
    struct peer p;
    struct buf big = { 0 };
    memset(buf_reserve(&big, 20000000), 'a', 20000000);
    lp_link(n->process, &to);
    assert_true(peer_accept(loop, fd, &p));
    assert_true(peer_send_n(&p, big.data, 20000000));
    assert_int_equal(n->n_exits, 0);
    buf_release(&big);
    peer_close(&p);
    close(fd);
    node_free(n);
}

static void between_two_nodes(void **state)
{
    enum { N = 2000, BIG = 3000000 };
    uv_loop_t *loop = *state;
    struct node *a = node_new(loop, "a", (struct libprocess_config){ 0 });
    struct node *b = node_new(loop, "b", (struct libprocess_config){ 0 });
    struct buf want = { 0 }, big = { 0 };
    for (int i = 0; i < N; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d;", i);
        buf_adds(&want, text);
        assert_int_equal(lp_send(a->process, &b->self, "n", text, strlen(text)), 0);
        if (i % 7 == 0) turn(loop, 1);
    }
    assert_true(RUN_UNTIL(loop, b->n_messages == N));
    assert_string_equal(buf_cstr(&b->bodies), buf_cstr(&want));
    assert_true(upid_eq(&b->from, &a->self));
    memset(buf_reserve(&big, BIG), 'b', BIG);
    for (int i = 0; i < 5; i++) assert_int_equal(lp_send(b->process, &a->self, "big", big.data, BIG), 0);
    assert_true(RUN_UNTIL(loop, a->n_messages == 5));
    assert_int_equal(a->body_bytes, 5 * BIG);
    buf_release(&want);
    buf_release(&big);
    node_free(a);
    node_free(b);
}

static void within_one_node(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "a", (struct libprocess_config){ .max_out_bytes = 10 }), other = { .loop = loop };
    struct lp_handlers h = handlers(&other);
    struct lp_process *p, *q;
    assert_int_equal(lp_spawn(n->lp, "a", &h, &p), ERR_EXISTS);
    assert_int_equal(lp_spawn(n->lp, "", &h, &p), ERR_INVALID);
    assert_int_equal(lp_spawn_numbered(n->lp, "__req_res__", &h, &p), 0);
    assert_int_equal(lp_spawn_numbered(n->lp, "__req_res__", &h, &q), 0);
    assert_string_equal(lp_self(p)->id, "__req_res__(1)");
    assert_string_equal(lp_self(q)->id, "__req_res__(2)");
    lp_terminate(q);
    assert_int_equal(lp_spawn_numbered(n->lp, "__req_res__", &h, &q), 0);
    assert_string_equal(lp_self(q)->id, "__req_res__(3)");
    assert_int_equal(lp_send(n->process, lp_self(p), "one", "1", 1), 0);
    assert_int_equal(lp_send(n->process, lp_self(p), "two", "2", 1), 0);
    assert_int_equal(lp_send(n->process, lp_self(p), "three", NULL, 0), 0);
    assert_int_equal(other.n_messages, 0); /* never inside lp_send */
    assert_true(RUN_UNTIL(loop, other.n_messages == 3));
    assert_string_equal(buf_cstr(&other.names), "one two three ");
    assert_string_equal(buf_cstr(&other.bodies), "12");
    assert_true(upid_eq(&other.from, &n->self));
    assert_int_equal(lp_send(n->process, lp_self(p), "ten", "0123456789", 10), 0);
    assert_int_equal(lp_send(n->process, lp_self(p), "eleven", "1", 1), ERR_FULL);
    assert_true(RUN_UNTIL(loop, other.n_messages == 4));
    /* Links to our own: the end of the process is its exit, and so is its absence. */
    struct upid gone = *lp_self(p);
    lp_link(n->process, &gone);
    turn(loop, 3);
    assert_int_equal(n->n_exits, 0);
    lp_terminate(p);
    assert_int_equal(n->n_exits, 0);
    assert_true(RUN_UNTIL(loop, n->n_exits == 1));
    assert_true(upid_eq(&n->exited, &gone));
    lp_relink(n->process, &gone);
    assert_int_equal(n->n_exits, 1);
    assert_true(RUN_UNTIL(loop, n->n_exits == 2));
    /* An exit is for the process that had linked, not for a later one of its id. */
    struct lp_process *first, *second;
    assert_int_equal(lp_spawn(n->lp, "again", &h, &first), 0);
    lp_link(first, &gone);
    lp_terminate(first);
    assert_int_equal(lp_spawn(n->lp, "again", &h, &second), 0);
    turn(loop, 10);
    assert_int_equal(other.n_exits, 0);
    buf_release(&other.names);
    buf_release(&other.bodies);
    node_free(n);
}

/* ---- links ---- */

static void count_line(enum log_level level, const char *line, void *arg)
{
    (void)line;
    if (level >= LOG_INFO) ++*(int *)arg;
}

static void exit_when_the_peer_closes(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ 0 });
    uint16_t port;
    int fd = peer_listen(&port, 5);
    struct upid to = pid_at("master", port), also = pid_at("master(2)", port);
    struct peer p, q;
    lp_link(n->process, &to);
    lp_link(n->process, &to);
    lp_link(n->process, &also);
    assert_true(peer_accept(loop, fd, &p));
    turn(loop, 10);
    peer_poll(&p);
    assert_int_equal(p.in.len, 0); /* a link sends nothing */
    assert_int_equal(accept(fd, NULL, NULL), -1);
    shutdown(p.fd, SHUT_WR);
    assert_true(RUN_UNTIL(loop, n->n_exits == 2));
    peer_close(&p);
    turn(loop, 10);
    assert_int_equal(n->n_exits, 2);
    /* Edge-triggered: the next connection is not watched, until it is linked. */
    assert_int_equal(lp_send(n->process, &to, "x", "y", 1), 0);
    assert_true(peer_accept(loop, fd, &p) && peer_expect(&p, "0\r\n\r\n"));
    peer_close(&p);
    turn(loop, 30);
    assert_int_equal(n->n_exits, 2);
    n->relink_in_exit = true;
    lp_link(n->process, &to);
    assert_true(peer_accept(loop, fd, &p));
    peer_reset(&p);
    assert_true(peer_accept(loop, fd, &q));
    assert_int_equal(n->n_exits, 3);
    n->relink_in_exit = false;
    close(fd);
    peer_close(&q);
    int lines = 0;
    logline_set_sink(count_line, &lines);
    assert_true(RUN_UNTIL(loop, n->n_exits == 4));
    assert_int_equal(lines, 1);
    /* Nobody listens. That can be so for long, and is not worth a line each time. */
    lp_link(n->process, &to);
    assert_int_equal(n->n_exits, 4);
    assert_true(RUN_UNTIL(loop, n->n_exits == 5));
    assert_true(upid_eq(&n->exited, &to));
    assert_int_equal(lines, 1);
    logline_set_sink(NULL, NULL);
    node_free(n);
}

static void relink_opens_a_new_connection(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ 0 });
    uint16_t port;
    int fd = peer_listen(&port, 5);
    struct upid to = pid_at("log-replica(1)", port);
    struct peer p, q;
    lp_relink(n->process, &to);
    assert_true(peer_accept(loop, fd, &p));
    turn(loop, 5);
    assert_int_equal(accept(fd, NULL, NULL), -1);
    assert_int_equal(lp_send(n->process, &to, "x", "y", 1), 0); /* queued: goes with the new one */
    lp_relink(n->process, &to);
    assert_true(peer_accept(loop, fd, &q));
    assert_true(peer_expect(&q, "\r\ny\r\n0\r\n\r\n"));
    assert_true(peer_expect_end(&p) && p.in.len == 0);
    peer_close(&p);
    turn(loop, 10);
    assert_int_equal(n->n_exits, 0);
    peer_close(&q);
    assert_true(RUN_UNTIL(loop, n->n_exits == 1));
    close(fd);
    node_free(n);
}

static void relink_lets_what_is_under_way_go_out(void **state)
{
    enum { BIG = 8000000 };
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ 0 });
    uint16_t port;
    int fd = peer_listen(&port, 5);
    struct upid to = pid_at("m", port);
    struct buf big = { 0 };
    struct peer p, q;
    memset(buf_reserve(&big, BIG), 'b', BIG);
    assert_int_equal(lp_send(n->process, &to, "x", big.data, BIG), 0);
    assert_true(peer_accept(loop, fd, &p));
    turn(loop, 20);
    lp_relink(n->process, &to);
    assert_true(peer_accept(loop, fd, &q));
    assert_true(peer_expect_end(&p) && p.eof && p.in.len > BIG);
    assert_int_equal(n->n_exits, 0);
    buf_release(&big);
    peer_close(&p);
    peer_close(&q);
    close(fd);
    node_free(n);
}

static void unresponsive_connect_is_given_up(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ .connect_timeout_ms = 30 });
    uint16_t port;
    int fd = peer_listen(&port, 0), fill[8];
    struct sockaddr_in a = peer_addr(port);
    /* A full backlog drops further connects without a word. */
    for (unsigned i = 0; i < 8; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int rv = connect(fill[i], (struct sockaddr *)&a, sizeof a);
        assert_true(rv == 0 || errno == EINPROGRESS);
    }
    struct upid to = pid_at("m", port);
    lp_link(n->process, &to);
    assert_int_equal(lp_send(n->process, &to, "x", "y", 1), 0);
    assert_true(RUN_UNTIL(loop, n->n_exits == 1));
    for (unsigned i = 0; i < 8; i++) close(fill[i]);
    close(fd);
    node_free(n);
}

static void full_queue_breaks_the_connection(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ .max_out_bytes = 10000000 });
    uint16_t port;
    int fd = peer_listen(&port, 5), rv = 0;
    struct upid to = pid_at("m", port);
    char body[100000] = { 0 };
    struct peer p;
    lp_link(n->process, &to);
    assert_true(peer_accept(loop, fd, &p));
    unsigned sent = 0;
    while (!rv && sent < 1000) {
        rv = lp_send(n->process, &to, "x", body, sizeof body);
        sent++;
        turn(loop, 1);
    }
    assert_int_equal(rv, ERR_FULL);
    assert_in_range(sent, 100, 999);
    assert_true(RUN_UNTIL(loop, n->n_exits == 1));
    assert_true(peer_expect_end(&p));
    /* The next message finds a new connection. */
    struct peer q;
    assert_int_equal(lp_send(n->process, &to, "x", "z", 1), 0);
    assert_true(peer_accept(loop, fd, &q) && peer_expect(&q, "\r\nz\r\n"));
    peer_close(&p);
    peer_close(&q);
    close(fd);
    node_free(n);
}

/* Most of the addresses get no socket at all: the limit is one of memory. */
static void limits_of_messages_and_peers(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "s", (struct libprocess_config){ 0 });
    struct upid null = { .id = "" }, to = pid_at("x", 1);
    struct rlimit few = { 200, 200 }, old;
    assert_int_equal(lp_send(n->process, &null, "y", "z", LIMIT_LIBPROCESS_BODY_BYTES), 0);
    assert_int_equal(lp_send(n->process, &null, "y", "z", (size_t)LIMIT_LIBPROCESS_BODY_BYTES + 1), ERR_TOO_BIG);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (uint32_t i = 0; i < LIMIT_LIBPROCESS_PEERS; i++) {
        to.ip = htonl(0x7f000001 + i);
        assert_int_equal(lp_send(n->process, &to, "y", "z", 1), 0);
    }
    to.ip = htonl(0x7f000001 + LIMIT_LIBPROCESS_PEERS);
    assert_int_equal(lp_send(n->process, &to, "y", "z", 1), ERR_FULL);
    lp_link(n->process, &to);
    assert_true(RUN_UNTIL(loop, n->n_exits == 1));
    turn(loop, 100);
    assert_int_equal(lp_send(n->process, &to, "y", "z", 1), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    node_free(n);
}

static void ends_inside_callbacks(void **state)
{
    (void)state;
    static const char two[] = "POST /m/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n"
                              "POST /m/x HTTP/1.1\r\nLibprocess-From: s@127.0.0.1:5\r\n\r\n";
    for (int what = 0; what < 4; what++) {
        void *own;
        assert_int_equal(loop_set_up(&own), 0);
        uv_loop_t *loop = own;
        struct node *n = node_new(loop, "m", (struct libprocess_config){ 0 });
        struct peer p = peer_open(loop, n->self.port);
        struct upid one = pid_at("nobody", 1), other = pid_at("nobody", 2);
        n->terminate_in_callback = what % 2 == 0;
        n->close_in_callback = what % 2 == 1;
        if (what < 2) {
            assert_true(peer_send(&p, two));
            assert_true(RUN_UNTIL(loop, n->n_messages == 1));
        } else {
            lp_link(n->process, &one);
            lp_link(n->process, &other);
            assert_true(RUN_UNTIL(loop, n->n_exits == 1));
        }
        turn(loop, 20);
        assert_int_equal(n->n_messages + n->n_exits, 1);
        if (what == 0) assert_true(RUN_UNTIL(loop, peer_count(&p, "404 Not Found\r\n") == 1));
        peer_close(&p);
        node_free(n);
        assert_int_equal(loop_tear_down(&own), 0);
    }
}

static void closing_with_all_kinds_of_work_open(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "a", (struct libprocess_config){ 0 });
    struct node *m = node_new(loop, "b", (struct libprocess_config){ 0 });
    uint16_t port;
    int fd = peer_listen(&port, 5);
    struct upid silent = pid_at("silent", port), nobody = pid_at("nobody", 1);
    struct buf big = { 0 };
    memset(buf_reserve(&big, 9000000), 'b', 9000000);
    lp_send(n->process, &n->self, "self", "x", 1);
    lp_send(n->process, &silent, "big", big.data, 9000000);
    lp_send(n->process, &m->self, "big", big.data, 9000000);
    lp_link(n->process, &m->self);
    lp_link(n->process, &nobody);
    lp_link(n->process, &n->self);
    lp_relink(n->process, &silent);
    node_free(n);
    node_free(m);
    buf_release(&big);
    close(fd);
}

static void on_http(struct http_request *r, void *arg)
{
    ((struct node *)arg)->n_http++;
    http_respond(r, 200, "text/plain", NULL, 0, "metrics", 7);
}

static void other_requests_and_addresses(void **state)
{
    uv_loop_t *loop = *state;
    struct node *n = node_new(loop, "m", (struct libprocess_config){ .ip = "0.0.0.0" });
    libprocess_on_http(n->lp, on_http, n);
    struct peer p = peer_open(loop, libprocess_port(n->lp));
    assert_true(peer_send(&p, "GET /metrics/snapshot HTTP/1.1\r\n\r\n") && peer_expect(&p, "metrics"));
    assert_int_equal(n->n_http, 1);
    assert_true(n->self.ip != 0);
    struct libprocess *other;
    struct libprocess_config cfg = { .loop = loop, .ip = "0.0.0.0", .port = libprocess_port(n->lp) };
    assert_int_equal(libprocess_new(&cfg, &other), ERR_BUSY);
    cfg.ip = "localhost";
    assert_int_equal(libprocess_new(&cfg, &other), ERR_INVALID);
    struct node *m =
        node_new(loop, "m", (struct libprocess_config){ .advertise_ip = "10.1.2.3", .advertise_port = 99 });
    char text[UPID_TEXT_MAX];
    assert_string_equal(upid_text(&m->self, text), "m@10.1.2.3:99");
    assert_int_not_equal(libprocess_port(m->lp), 99);
    peer_close(&p);
    node_free(m);
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_messages),
        cmocka_unit_test(pids),
        LOOP_TEST(receives_every_form),
        LOOP_TEST(answers_by_the_rules),
        LOOP_TEST(closing_right_behind_a_message),
        LOOP_TEST(peer_address_must_match_if_wanted),
        LOOP_TEST(body_limit),
        LOOP_TEST(sends_in_the_recorded_form),
        LOOP_TEST(discards_answers_that_would_fill_the_socket),
        LOOP_TEST(between_two_nodes),
        LOOP_TEST(within_one_node),
        LOOP_TEST(exit_when_the_peer_closes),
        LOOP_TEST(relink_opens_a_new_connection),
        LOOP_TEST(relink_lets_what_is_under_way_go_out),
        LOOP_TEST(unresponsive_connect_is_given_up),
        LOOP_TEST(full_queue_breaks_the_connection),
        LOOP_TEST(limits_of_messages_and_peers),
        cmocka_unit_test(ends_inside_callbacks),
        LOOP_TEST(closing_with_all_kinds_of_work_open),
        LOOP_TEST(other_requests_and_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
