/* A writer of the log alone, to be killed: tool_logwriter FOLDER [grow]. It replays what is there, prints `have FIRST
 * LAST` (consecutive numbers), then appends the next numbers in groups, prints `s N` before and `a N` after number N is
 * durable, and takes a snapshot now and then. Old numbers are removed, so that truncation has something to do. */
#include "core/err.h"
#include "core/rng.h"
#include "core/store.h"
#include "log/log.h"
#include "log/stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ENTRY = 8 << 10, OUTSTANDING = 40, KEEP = 300, SNAPSHOT_EVERY = 150, PADDING_MAX = 2000 };

struct writer {
    uv_loop_t loop;
    struct log *log;
    struct stream *stream;
    struct store *store;
    struct rng rng;
    bool grow;
    uint64_t first, next; /* numbers that are stored: [first, next) */
    uint64_t base;        /* the number of index 1, less 1 */
    uint64_t told;
};

static void say(const char *fmt, uint64_t a, uint64_t b)
{
    char line[64];
    int n = snprintf(line, sizeof(line), fmt, (unsigned long long)a, (unsigned long long)b);
    if (write(STDOUT_FILENO, line, (size_t)n) != n) _exit(3);
}

static int64_t now_ms(void *arg)
{
    (void)arg;
    return (int64_t)time(NULL) * 1000;
}

static void on_failed(const char *why, void *arg)
{
    (void)arg;
    fprintf(stderr, "%s\n", why);
    _exit(1);
}

/* Bytes that depend on the number only, so that a replay can check them. */
static struct str padding(uint64_t number, struct arena *a)
{
    struct rng g = { number };
    uint32_t n = (uint32_t)rng_below(&g, PADDING_MAX);
    if (rng_below(&g, 20) == 0) n *= 12; /* framed */
    char *text = arena_alloc(a, n + 1);
    for (uint32_t i = 0; i < n; i++) text[i] = (char)('a' + rng_below(&g, 26));
    return (struct str){ text, n };
}

static struct api_op save_op(uint64_t number, struct arena *a)
{
    struct api_job_key *key = ARENA_NEW(a, struct api_job_key);
    *key = (struct api_job_key){ STR("role"), STR("prod"), arena_strf(a, "job%d", (int)(number % 3)) };
    struct api_task_config *config = ARENA_NEW(a, struct api_task_config);
    *config = (struct api_task_config){ .job = key };
    struct api_assigned_task *assigned = ARENA_NEW(a, struct api_assigned_task);
    *assigned =
        (struct api_assigned_task){ .task_id = arena_strf(a, "%llu", (unsigned long long)number), .task = config };
    struct api_task_event *event = ARENA_NEW(a, struct api_task_event);
    *event = (struct api_task_event){ .has_status = true, .message = padding(number, a) };
    struct api_scheduled_task *task = ARENA_NEW(a, struct api_scheduled_task);
    *task = (struct api_scheduled_task){
        .assigned_task = assigned, .has_status = true, .has_task_events = true, .n_task_events = 1, .task_events = event
    };
    struct api_save_tasks *save = ARENA_NEW(a, struct api_save_tasks);
    *save = (struct api_save_tasks){ .has_tasks = true, .n_tasks = 1, .tasks = task };
    return (struct api_op){ .save_tasks = save };
}

static struct api_op remove_op(uint64_t number, struct arena *a)
{
    struct str *id = ARENA_NEW(a, struct str);
    *id = arena_strf(a, "%llu", (unsigned long long)number);
    struct api_remove_tasks *remove = ARENA_NEW(a, struct api_remove_tasks);
    *remove = (struct api_remove_tasks){ .has_task_ids = true, .n_task_ids = 1, .task_ids = id };
    return (struct api_op){ .remove_tasks = remove };
}

/* One number, and with it the removal of an old one: both or none. */
static void append(struct writer *w)
{
    struct arena a = { 0 };
    struct api_op ops[2] = { save_op(w->next, &a) };
    uint32_t n = 1;
    if (!w->grow && w->next - w->first >= KEEP) ops[n++] = remove_op(w->first++, &a);
    for (uint32_t i = 0; i < n; i++) {
        int err = store_apply(w->store, &ops[i]);
        assert(err == 0);
    }
    say("s %llu\n", w->next++, 0);
    (void)stream_append(w->stream, ops, n);
    arena_release(&a);
}

static void on_snapshot_done(int err, void *arg)
{
    (void)arg;
    if (err) on_failed(err_str(err), NULL);
}

static void on_durable(uint64_t durable, void *arg)
{
    struct writer *w = arg;
    for (; w->told < durable; w->told++) {
        say("a %llu\n", w->base + w->told + 1, 0);
        append(w);
        bool snapshot = !w->grow && rng_below(&w->rng, SNAPSHOT_EVERY) == 0;
        if (snapshot) (void)stream_snapshot(w->stream, w->store, on_snapshot_done, w);
    }
}

/* What was replayed must be consecutive numbers with their own bytes. */
static bool check(const struct task *t, void *arg)
{
    struct writer *w = arg;
    struct arena a = { 0 };
    uint64_t number = strtoull(t->id.p, NULL, 10);
    struct str want = padding(number, &a);
    bool sound = (w->next == 0 || number == w->next) && t->n_events == 1 && t->events[0].message.n == want.n &&
                 (!want.n || memcmp(t->events[0].message.p, want.p, want.n) == 0);
    arena_release(&a);
    if (!sound) on_failed("what was replayed is not what was written", NULL);
    if (w->next == 0) w->first = number;
    w->next = number + 1;
    return true;
}

static void on_ready(void *arg)
{
    struct writer *w = arg;
    store_each_task(w->store, check, w);
    if (w->next == 0) w->first = w->next = 1;
    w->base = w->next - 1;
    say("have %llu %llu\n", w->first, w->next - 1);
    for (int i = 0; i < OUTSTANDING; i++) append(w);
}

static int on_op(const struct api_op *op, void *arg)
{
    return store_apply(((struct writer *)arg)->store, op);
}

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct writer *w = arg;
    struct store *old = w->store;
    w->store = state;
    return old;
}

int main(int argc, char **argv)
{
    static struct writer w;
    struct buf why = { 0 };
    if (argc < 2) return 2;
    w.grow = argc > 2 && strcmp(argv[2], "grow") == 0;
    uv_loop_init(&w.loop);
    w.store = store_new();
    w.rng.state = uv_hrtime();
    struct log_config lc = { .loop = &w.loop,
                             .path = argv[1],
                             .quorum = 1,
                             .seed = w.rng.state,
                             .initialize = true,
                             .election_timeout_ms = 15000,
                             .read_timeout_ms = 5000,
                             .write_timeout_ms = 30000,
                             .election_retries = 20 };
    if (log_open(&lc, &w.log, &why)) on_failed(buf_cstr(&why), NULL);
    struct stream_config sc = { .loop = &w.loop,
                                .log = w.log,
                                .max_entry_bytes = MAX_ENTRY,
                                .now_ms = now_ms,
                                .on_snapshot = on_snapshot,
                                .on_op = on_op,
                                .on_ready = on_ready,
                                .on_durable = on_durable,
                                .on_failed = on_failed,
                                .arg = &w };
    if (stream_new(&sc, &w.stream)) return 2;
    stream_start(w.stream);
    return uv_run(&w.loop, UV_RUN_DEFAULT);
}
