/* A server with the limits of the command line, for tests and measurements from outside: tool_httpd [name=value]...
 * Prints its port. /health answers "OK\n", /big/N N bytes, /slow holds its answer for 200 ms, everything else echoes
 * the body. */
#include "net/http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOW_MS = 200 };

struct slow {
    uv_timer_t timer;
    uint64_t id;
};

static struct http_server *server;

static void on_slow_closed(uv_handle_t *h)
{
    free(h);
}

static void on_slow(uv_timer_t *t)
{
    struct slow *s = (struct slow *)t;
    struct http_request *r = server ? http_find(server, s->id) : NULL;
    if (r) http_respond(r, 200, "text/plain", NULL, 0, "slow\n", 5);
    uv_close((uv_handle_t *)t, on_slow_closed);
}

static void answer_slowly(struct http_request *r, uv_loop_t *loop)
{
    struct slow *s = xcalloc(1, sizeof *s);
    s->id = r->id;
    uv_timer_init(loop, &s->timer);
    uv_timer_start(&s->timer, on_slow, SLOW_MS, 0);
}

static void answer_big(struct http_request *r)
{
    size_t n = strtoul(r->path.p + 5, NULL, 10);
    struct buf b = { 0 };
    memset(buf_reserve(&b, n), 'x', n);
    buf_commit(&b, n);
    http_respond_buf(r, 200, "text/plain", NULL, 0, &b);
}

static void on_request(struct http_request *r, void *arg)
{
    if (str_eq(r->path, STR("/health")))
        http_respond(r, 200, "text/plain", NULL, 0, "OK\n", 3);
    else if (str_eq(r->path, STR("/slow")))
        answer_slowly(r, arg);
    else if (r->path.n > 5 && !memcmp(r->path.p, "/big/", 5))
        answer_big(r);
    else
        http_respond(r, 200, "application/octet-stream", NULL, 0, r->body.p, r->body.n);
}

static void on_abandoned(struct http_request *r, void *arg)
{
    (void)r;
    (void)arg;
}

static void on_signal(uv_signal_t *h, int number)
{
    (void)number;
    http_server_close(server, NULL, NULL);
    server = NULL;
    uv_close((uv_handle_t *)h, NULL);
}

static void set(struct http_server_config *c, const char *arg)
{
    const char *eq = strchr(arg, '=');
    uint64_t v = eq ? strtoull(eq + 1, NULL, 10) : 0;
    if (!eq) return;
    if (!strncmp(arg, "idle_ms=", 8)) c->idle_ms = v;
    if (!strncmp(arg, "request_ms=", 11)) c->request_ms = v;
    if (!strncmp(arg, "bare_request_ms=", 16)) c->bare_request_ms = v;
    if (!strncmp(arg, "max_body_bytes=", 15)) c->max_body_bytes = v;
    if (!strncmp(arg, "max_connections=", 16)) c->max_connections = (uint32_t)v;
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_signal_t term;
    struct http_server_config c = { .on_request = on_request, .on_abandoned = on_abandoned, .arg = loop };
    for (int i = 1; i < argc; i++) set(&c, argv[i]);
    if (http_server_new(loop, &c, &server) || http_server_listen(server, "127.0.0.1", 0)) return 1;
    printf("%u\n", http_server_port(server));
    fflush(stdout);
    uv_signal_init(loop, &term);
    uv_signal_start(&term, on_signal, SIGTERM);
    uv_run(loop, UV_RUN_DEFAULT);
    return uv_loop_close(loop) ? 2 : 0;
}
