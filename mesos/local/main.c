/* mesos-local: a Mesos master with agents in one process, for the first run, the tests and the benchmarks. */
#include "mesos/local/wire.h"

#include "core/err.h"
#include "core/logline.h"

#include <arpa/inet.h>
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct program {
    uv_loop_t loop;
    struct wire wire;
    struct guard guard;
    uv_signal_t signals[3];
    bool ending;
};

static void log_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void on_signal(uv_signal_t *s, int signo)
{
    struct program *p = s->data;
    if (p->ending) return;
    p->ending = true;
    logline(LOG_INFO, "ending", "signal=%d", signo);
    for (int i = 0; i < 3; i++) uv_close((uv_handle_t *)&p->signals[i], NULL);
    wire_close(&p->wire, nothing, NULL);
}

static void watch_signals(struct program *p)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
}

static int read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "re");
    if (!f) return ERR_NOT_FOUND;
    size_t n;
    while ((n = fread(buf_reserve(out, 4096), 1, 4096, f)) > 0 && out->len < (1 << 20)) buf_commit(out, n);
    int rc = ferror(f) ? ERR_IO : 0;
    fclose(f);
    return rc;
}

/* The one line that programs wait for. */
static void say_ready(const struct wire *w)
{
    printf("listening ip=%s port=%u\n", w->options.ip, w->port);
    fflush(stdout);
}

static int complain(const char *text)
{
    fprintf(stderr, "mesos-local: %s\n", text);
    return 1;
}

static int serve(struct program *p, const struct options *o)
{
    struct buf err = { 0 }, credentials = { 0 };
    struct str text = { 0 };
    int rc = 0;
    if (o->credentials) {
        rc = read_file(o->credentials, &credentials);
        if (rc) buf_addf(&err, "cannot read %s", o->credentials);
        text = (struct str){ buf_cstr(&credentials), (uint32_t)credentials.len };
    }
    if (!rc && guard_start(&p->guard)) {
        buf_adds(&err, "cannot start the guard of tasks");
        rc = ERR_IO;
    }
    uv_loop_init(&p->loop);
    if (!rc) rc = wire_start(&p->wire, &p->loop, o, text, &p->guard, &err);
    if (!rc) {
        watch_signals(p);
        say_ready(&p->wire);
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    guard_stop(&p->guard);
    int left = uv_loop_close(&p->loop);
    assert(left == 0);
    if (rc) complain(buf_cstr(&err));
    buf_release(&err);
    buf_release(&credentials);
    return rc ? 1 : 0;
}

static int usage(void)
{
    struct buf text = { 0 };
    options_usage(&text);
    fputs(buf_cstr(&text), stdout);
    buf_release(&text);
    return 0;
}

int main(int argc, char **argv)
{
    static struct program p;
    struct options o;
    struct buf err = { 0 };
    if (options_parse(argc, argv, &o, &err)) {
        complain(buf_cstr(&err));
        buf_release(&err);
        return 1;
    }
    if (o.help) return usage();
    if (!o.seed) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        o.seed = (uint64_t)ts.tv_sec * 1000000007u + (uint64_t)ts.tv_nsec + (uint64_t)getpid();
    }
    logline_set_sink(log_line, NULL);
    if (o.verbose) logline_set_level(LOG_DEBUG);
    return serve(&p, &o);
}
