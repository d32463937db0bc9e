/* How fast a log is replayed from the disk alone: bench_replay FOLDER QUORUM, with a copy of a stopped scheduler's log
 * folder. Opens it as a scheduler does, applies all of it to an empty store, prints one JSON object (open_ms,
 * replay_ms, tasks, bytes) and ends. */
#include "core/buf.h"
#include "core/err.h"
#include "core/store.h"
#include "log/log.h"
#include "log/stream.h"
#include "test/bench/lib/measure.h"

#include <stdio.h>
#include <stdlib.h>

struct replay {
    uv_loop_t loop;
    struct log *log;
    struct stream *stream;
    struct store *store;
    struct stats *stats;
    uint64_t began_ns, opened_ns;
};

static void must(int err, const char *what)
{
    if (!err) return;
    fprintf(stderr, "%s: %s\n", what, err_str(err));
    exit(1);
}

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct replay *r = arg;
    struct store *old = r->store;
    r->store = state;
    return old;
}

static int on_op(const struct api_op *op, void *arg)
{
    return store_apply(((struct replay *)arg)->store, op);
}

static void on_ready(void *arg)
{
    (void)arg; /* it never leads */
}

static void on_durable(uint64_t durable, void *arg)
{
    (void)durable, (void)arg;
}

static void on_failed(const char *why, void *arg)
{
    (void)arg;
    fprintf(stderr, "the log failed: %s\n", why);
    exit(1);
}

static int64_t no_time(void *arg)
{
    (void)arg;
    return 0;
}

static bool count(const struct task *t, void *arg)
{
    (void)t;
    ++*(unsigned *)arg;
    return true;
}

static void open_log(struct replay *r, const char *folder, unsigned quorum)
{
    struct buf why = { 0 };
    struct log_config c = { .loop = &r->loop, .path = folder, .quorum = quorum, .seed = uv_hrtime() };
    must(log_open(&c, &r->log, &why), buf_cstr(&why));
    struct stream_config sc = { .loop = &r->loop,
                                .log = r->log,
                                .max_entry_bytes = 512 * 1024,
                                .now_ms = no_time,
                                .stats = r->stats,
                                .on_snapshot = on_snapshot,
                                .on_op = on_op,
                                .on_ready = on_ready,
                                .on_durable = on_durable,
                                .on_failed = on_failed,
                                .arg = r };
    must(stream_new(&sc, &r->stream), "stream");
}

/* What was being written when the scheduler stopped, and behind it: alone it can't learn that. */
static uint64_t unlearned(const struct replay *r)
{
    return log_heard(r->log) - log_known(r->log, log_begin(r->log));
}

static void print(struct replay *r)
{
    double now = (double)measure_now_ns();
    unsigned tasks = 0;
    store_each_task(r->store, count, &tasks);
    printf("{\"open_ms\": %.1f, \"replay_ms\": %.1f, \"tasks\": %u, \"bytes\": %lld}\n",
           (double)(r->opened_ns - r->began_ns) / 1e6, (now - (double)r->opened_ns) / 1e6, tasks,
           (long long)stat_get(stats_int(r->stats, "scheduler_log_bytes_read")));
}

int main(int argc, char **argv)
{
    static struct replay r;
    if (argc != 3) return 2;
    uv_loop_init(&r.loop);
    r.store = store_new();
    r.stats = stats_new();
    r.began_ns = measure_now_ns();
    open_log(&r, argv[1], (unsigned)atoi(argv[2]));
    r.opened_ns = measure_now_ns();
    stream_follow(r.stream);
    while (stream_lag(r.stream) > unlearned(&r)) uv_run(&r.loop, UV_RUN_ONCE);
    print(&r);
    return 0;
}
