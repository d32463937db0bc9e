/* A member of the replicated log alone, for trials with Mesos's own replicas:
 *
 *   tool_logpeer FOLDER QUORUM ZK_ADDRESS GROUP_PATH [-i] [write N BYTES]
 *
 * -i makes an empty log vote at once. Without `write` it follows until it is killed and prints `learned N` for what it
 * has learned up to; with it, it becomes the coordinator, writes N entries of so many bytes one after the other, prints
 * the figures and ends. */
#include "admin/peers.h"
#include "core/err.h"
#include "zk/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tool {
    uv_loop_t loop;
    struct libprocess *lp;
    struct zk_session *zk;
    struct log *log;
    struct peers *peers;
    struct log_req req;
    char *entry;
    size_t bytes;
    unsigned n, written;
    uint64_t begin_ns, *took_ns, started_ns, known;
};

static void must(int err, const char *what)
{
    if (!err) return;
    fprintf(stderr, "%s: %s\n", what, err_str(err));
    exit(1);
}

/* ---- writing ---- */

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void finish(struct tool *t)
{
    double s = (double)(uv_hrtime() - t->begin_ns) / 1e9;
    unsigned p50 = t->n / 2, p99 = t->n - 1 - t->n / 100;
    qsort(t->took_ns, t->n, sizeof(*t->took_ns), by_time);
    printf("written %u last=%llu per_second=%.0f p50_ms=%.2f p99_ms=%.2f\n", t->n, (unsigned long long)t->req.position,
           t->n / s, (double)t->took_ns[p50] / 1e6, (double)t->took_ns[p99] / 1e6);
    fflush(stdout);
    _exit(0);
}

static void write_next(struct tool *t)
{
    t->started_ns = uv_hrtime();
    log_append(t->log, &t->req, t->entry, t->bytes);
}

static void on_written(struct log_req *r, int err)
{
    struct tool *t = r->data;
    must(err, "append");
    t->took_ns[t->written++] = uv_hrtime() - t->started_ns;
    if (t->written == t->n)
        finish(t);
    else
        write_next(t);
}

static void on_elected(struct log_req *r, int err)
{
    struct tool *t = r->data;
    must(err, "election");
    printf("elected begin=%llu last=%llu members=%u\n", (unsigned long long)r->begin, (unsigned long long)r->position,
           peers_members(t->peers));
    r->cb = on_written;
    t->begin_ns = uv_hrtime();
    write_next(t);
}

/* ---- following ---- */

static void on_learned(void *arg)
{
    struct tool *t = arg;
    uint64_t known = log_known(t->log, log_begin(t->log));
    if (known == t->known) return;
    t->known = known;
    printf("learned %llu begin=%llu heard=%llu\n", (unsigned long long)known, (unsigned long long)log_begin(t->log),
           (unsigned long long)log_heard(t->log));
    fflush(stdout);
}

static void open_parts(struct tool *t, char **argv, bool initialize)
{
    struct buf why = { 0 };
    struct libprocess_config lc = { .loop = &t->loop, .ip = "127.0.0.1" };
    struct zk_session_config zc = { .loop = &t->loop, .endpoints = argv[3], .session_timeout_ms = 10000 };
    struct log_config c = { .loop = &t->loop,
                            .path = argv[1],
                            .quorum = (unsigned)atoi(argv[2]),
                            .initialize = initialize,
                            .seed = uv_hrtime(),
                            .election_timeout_ms = 15000,
                            .read_timeout_ms = 5000,
                            .write_timeout_ms = 3000,
                            .election_retries = 4 };
    uv_loop_init(&t->loop);
    must(libprocess_new(&lc, &t->lp), "libprocess");
    must(zk_session_new(&zc, &t->zk), "zk");
    must(log_open(&c, &t->log, &why), buf_cstr(&why));
    struct peers_config pc = {
        .loop = &t->loop, .lp = t->lp, .log = t->log, .zk = t->zk, .group_path = argv[4], .quorum = c.quorum
    };
    must(peers_new(&pc, &t->peers), "peers");
    printf("port %u\n", libprocess_port(t->lp));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct tool t = { 0 };
    bool initialize = argc > 5 && strcmp(argv[5], "-i") == 0;
    int at = 5 + initialize;
    if (argc < 5 || (argc > at && argc != at + 3)) {
        fprintf(stderr, "usage: tool_logpeer FOLDER QUORUM ZK_ADDRESS GROUP_PATH [-i] [write N BYTES]\n");
        return 2;
    }
    open_parts(&t, argv, initialize);
    if (argc > at) {
        t.n = (unsigned)atoi(argv[at + 1]);
        t.bytes = (size_t)atol(argv[at + 2]);
        if (!t.n) return 2;
        t.entry = xcalloc(1, t.bytes + 1);
        t.took_ns = xcalloc(t.n, sizeof(*t.took_ns));
        t.req = (struct log_req){ .data = &t, .cb = on_elected };
        log_elect(t.log, &t.req);
    } else {
        log_follow(t.log, on_learned, &t);
    }
    uv_run(&t.loop, UV_RUN_DEFAULT);
    return 0;
}
