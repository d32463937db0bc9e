/* The stream on a real disk: what it reports as durable is what a new process replays, in order, whatever was framed,
 * grouped, snapshotted and truncated in between. */
#include "log/replay.h"
#include "log/stream.h"

#include "core/err.h"
#include "log/log.h"
#include "test/lib/random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_ENTRY = 2000 };

struct process {
    uv_loop_t loop;
    struct log *log;
    struct stream *stream;
    struct store *store;
    struct stats *stats;
    struct stream_config config;
    uint64_t map_bytes;
    uint64_t durable;
    unsigned snapshots_replayed, ops_replayed;
    bool ready, stream_closed, log_closed;
    int snapshot_result;    /* 1: not yet */
    int replay_fails_after; /* ops; 0: never */
    uint32_t most_tasks;    /* of an op that was replayed */
    struct buf failure;
};

static char folder[40];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/log_stream.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[80];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- a process ---- */

static int64_t now_ms(void *arg)
{
    (void)arg;
    return 1000;
}

static int on_op(const struct api_op *op, void *arg)
{
    struct process *p = arg;
    p->ops_replayed++;
    if (op->save_tasks && op->save_tasks->n_tasks > p->most_tasks) p->most_tasks = op->save_tasks->n_tasks;
    if (p->replay_fails_after && p->ops_replayed == (unsigned)p->replay_fails_after) return ERR_INVALID;
    return store_apply(p->store, op);
}

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct process *p = arg;
    p->snapshots_replayed++;
    struct store *old = p->store;
    store_inherit(state, old);
    p->store = state;
    return old;
}

static void on_ready(void *arg)
{
    ((struct process *)arg)->ready = true;
}

static void on_durable(uint64_t durable, void *arg)
{
    struct process *p = arg;
    assert_true(durable >= p->durable);
    p->durable = durable;
    assert_int_equal(stream_durable(p->stream), durable);
}

static void on_failed(const char *why, void *arg)
{
    struct process *p = arg;
    assert_int_equal(p->failure.len, 0); /* once */
    buf_adds(&p->failure, why);
}

static void drop_message(uint64_t request, const char *to, const char *name, const void *body, size_t n, void *arg)
{
    (void)request, (void)to, (void)name, (void)body, (void)n, (void)arg;
}

static void begin(struct process *p)
{
    struct log_config lc = { .loop = &p->loop,
                             .path = folder,
                             .quorum = 1,
                             .seed = 1,
                             .initialize = true,
                             .election_timeout_ms = 5000,
                             .read_timeout_ms = 5000,
                             .write_timeout_ms = 5000,
                             .election_retries = 3,
                             .map_bytes = p->map_bytes,
                             .send = drop_message };
    struct buf why = { 0 };
    uv_loop_init(&p->loop);
    if (log_open(&lc, &p->log, &why)) fail_msg("%s", buf_cstr(&why));
    p->store = store_new();
    p->stats = stats_new();
    p->snapshot_result = 1;
    p->config = (struct stream_config){ .loop = &p->loop,
                                        .log = p->log,
                                        .max_entry_bytes = MAX_ENTRY,
                                        .max_queued_bytes = p->config.max_queued_bytes,
                                        .now_ms = now_ms,
                                        .stats = p->stats,
                                        .on_snapshot = on_snapshot,
                                        .on_op = on_op,
                                        .on_ready = on_ready,
                                        .on_durable = on_durable,
                                        .on_failed = on_failed,
                                        .arg = p };
    assert_int_equal(stream_new(&p->config, &p->stream), 0);
    stream_start(p->stream);
}

static void run_until_ready(struct process *p)
{
    while (!p->ready && !p->failure.len) uv_run(&p->loop, UV_RUN_ONCE);
}

static void must_begin(struct process *p)
{
    begin(p);
    run_until_ready(p);
    assert_true(p->ready);
}

static void on_stream_closed(void *arg)
{
    ((struct process *)arg)->stream_closed = true;
}

static void on_log_closed(void *arg)
{
    ((struct process *)arg)->log_closed = true;
}

static void end(struct process *p)
{
    stream_close(p->stream, on_stream_closed, p);
    log_close(p->log, on_log_closed, p);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_true(p->stream_closed);
    assert_true(p->log_closed);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    store_free(p->store);
    stats_free(p->stats);
    buf_release(&p->failure);
}

static int64_t stat_of(struct process *p, const char *name)
{
    return stat_get(stats_int(p->stats, name));
}

/* ---- operations ---- */

static struct api_op task_op(struct arena *a, int job, int instance, size_t padding)
{
    char *text = arena_alloc(a, padding + 1);
    memset(text, 'x', padding);
    struct api_job_key *key = ARENA_NEW(a, struct api_job_key);
    *key = (struct api_job_key){ STR("role"), STR("prod"), arena_strf(a, "job%d", job) };
    struct api_task_config *config = ARENA_NEW(a, struct api_task_config);
    *config = (struct api_task_config){ .job = key };
    struct api_assigned_task *assigned = ARENA_NEW(a, struct api_assigned_task);
    *assigned = (struct api_assigned_task){ .task_id = arena_strf(a, "task-%d-%d", job, instance),
                                            .task = config,
                                            .has_instance_id = true,
                                            .instance_id = instance };
    struct api_task_event *event = ARENA_NEW(a, struct api_task_event);
    *event = (struct api_task_event){ .has_timestamp = true,
                                      .timestamp = 1,
                                      .has_status = true,
                                      .status = API_SCHEDULE_STATUS_PENDING,
                                      .message = { text, (uint32_t)padding } };
    struct api_scheduled_task *task = ARENA_NEW(a, struct api_scheduled_task);
    *task = (struct api_scheduled_task){ .assigned_task = assigned,
                                         .has_status = true,
                                         .status = API_SCHEDULE_STATUS_PENDING,
                                         .has_task_events = true,
                                         .n_task_events = 1,
                                         .task_events = event };
    struct api_save_tasks *save = ARENA_NEW(a, struct api_save_tasks);
    *save = (struct api_save_tasks){ .has_tasks = true, .n_tasks = 1, .tasks = task };
    return (struct api_op){ .save_tasks = save };
}

/* Applies and appends, as the scheduler does. */
static uint64_t save(struct process *p, int job, int instance, size_t padding)
{
    struct arena a = { 0 };
    struct api_op op = task_op(&a, job, instance, padding);
    assert_int_equal(store_apply(p->store, &op), 0);
    uint64_t index = stream_append(p->stream, &op, 1);
    arena_release(&a);
    return index;
}

static void wait_durable(struct process *p, uint64_t index)
{
    while (p->durable < index && !p->failure.len) uv_run(&p->loop, UV_RUN_ONCE);
    assert_int_equal(p->failure.len, 0);
}

/* What a new process replays equals the memory of the one that ended. */
static void restart(struct process *p)
{
    uint64_t before = store_hash(p->store);
    struct process next = { .map_bytes = p->map_bytes };
    end(p);
    *p = next;
    must_begin(p);
    assert_int_equal(store_hash(p->store), before);
}

/* ---- tests ---- */

static void what_is_durable_is_replayed(void **state)
{
    (void)state;
    struct process p = { 0 };
    must_begin(&p);
    assert_int_equal(stream_append(p.stream, NULL, 0), 0);
    assert_int_equal(save(&p, 1, 1, 10), 1);
    assert_int_equal(save(&p, 1, 2, 10), 2);
    assert_int_equal(stream_append(p.stream, NULL, 0), 2);
    assert_true(stream_queued_bytes(p.stream) > 0);
    wait_durable(&p, 2);
    assert_int_equal(stream_queued_bytes(p.stream), 0);
    restart(&p);
    assert_int_equal(p.ops_replayed, 2);
    wait_durable(&p, save(&p, 1, 3, 10));
    restart(&p);
    assert_int_equal(p.ops_replayed, 3);
    end(&p);
}

static void what_queues_meanwhile_is_one_entry(void **state)
{
    (void)state;
    struct process p = { 0 };
    must_begin(&p);
    uint64_t last = save(&p, 1, 0, 0);
    uv_run(&p.loop, UV_RUN_NOWAIT); /* the first one is under way */
    for (int i = 1; i <= 10; i++) last = save(&p, 1, i, 0);
    wait_durable(&p, last);
    assert_int_equal(stat_of(&p, "scheduler_log_entries_written"), 2);
    assert_int_equal(stat_of(&p, "scheduler_log_un_snapshotted_transactions"), 2);
    restart(&p);
    assert_int_equal(p.ops_replayed, 11);
    end(&p);
}

static void a_group_is_never_split(void **state)
{
    (void)state;
    struct process p = { 0 };
    struct arena a = { 0 };
    struct api_op ops[30];
    must_begin(&p);
    for (int i = 0; i < 30; i++) {
        ops[i] = task_op(&a, 2, i, 100);
        assert_int_equal(store_apply(p.store, &ops[i]), 0);
    }
    save(&p, 1, 1, 0);
    wait_durable(&p, stream_append(p.stream, ops, 30)); /* far above one record: framed */
    assert_int_equal(stat_of(&p, "scheduler_log_entries_written"), 2);
    arena_release(&a);
    restart(&p);
    assert_int_equal(stat_of(&p, "scheduler_log_entries_read"), 2);
    assert_int_equal(p.ops_replayed, 31);
    end(&p);
}

static void entries_end_below_the_record_size(void **state)
{
    (void)state;
    struct process p = { 0 };
    uint64_t last = 0;
    must_begin(&p);
    for (int i = 0; i < 40; i++) last = save(&p, 1, i, 300);
    wait_durable(&p, last);
    int64_t entries = stat_of(&p, "scheduler_log_entries_written");
    assert_in_range(entries, 8, 20);
    /* None was framed: as many records as entries. */
    end(&p);
    struct process q = { 0 };
    must_begin(&q);
    assert_int_equal(stat_of(&q, "scheduler_log_entries_read"), entries);
    assert_true(stat_of(&q, "scheduler_log_bytes_read") < entries * MAX_ENTRY);
    end(&q);
}

static void on_snapshot_done(int err, void *arg);

static void what_is_held_is_one_entry_or_nothing(void **state)
{
    (void)state;
    struct process p = { 0 };
    must_begin(&p);
    uint64_t before = store_hash(p.store);
    stream_hold(p.stream, true);
    for (int i = 0; i < 40; i++) save(&p, 1, i, 1000); /* far more than one record takes */
    assert_int_equal(stream_snapshot(p.stream, p.store, on_snapshot_done, &p), ERR_BUSY);
    for (int i = 0; i < 100; i++) uv_run(&p.loop, UV_RUN_NOWAIT);
    assert_int_equal(p.durable, 0);
    struct process next = { 0 };
    end(&p); /* in the middle: nothing of it is there */
    p = next;
    must_begin(&p);
    assert_true(store_hash(p.store) == before);

    int64_t entries = stat_of(&p, "scheduler_log_entries_written");
    stream_hold(p.stream, true);
    uint64_t last = 0;
    for (int i = 0; i < 40; i++) last = save(&p, 1, i, 1000);
    stream_hold(p.stream, false);
    wait_durable(&p, last);
    assert_int_equal(stat_of(&p, "scheduler_log_entries_written") - entries, 1);
    restart(&p);
    end(&p);
}

static void on_snapshot_done(int err, void *arg)
{
    ((struct process *)arg)->snapshot_result = err;
}

static void wait_snapshot(struct process *p)
{
    while (p->snapshot_result == 1) uv_run(&p->loop, UV_RUN_ONCE);
}

static void a_snapshot_replaces_what_was_before(void **state)
{
    (void)state;
    struct process p = { 0 };
    must_begin(&p);
    for (int i = 0; i < 200; i++) save(&p, i % 7, i, 20);
    assert_int_equal(stream_snapshot(p.stream, p.store, on_snapshot_done, &p), 0);
    assert_int_equal(stream_snapshot(p.stream, p.store, on_snapshot_done, &p), ERR_BUSY);
    for (int i = 200; i < 250; i++) save(&p, i % 7, i, 20); /* must come behind the snapshot */
    wait_snapshot(&p);
    assert_int_equal(p.snapshot_result, 0);
    wait_durable(&p, 250);
    assert_int_equal(stat_of(&p, "scheduler_log_snapshots"), 1);
    restart(&p);
    assert_int_equal(p.snapshots_replayed, 1);
    assert_int_equal(p.ops_replayed, 50);
    assert_int_equal(stat_of(&p, "scheduler_log_deflated_entries_read"), 1);
    /* Again, and on top of a replayed one. */
    p.snapshot_result = 1;
    assert_int_equal(stream_snapshot(p.stream, p.store, on_snapshot_done, &p), 0);
    wait_snapshot(&p);
    restart(&p);
    assert_int_equal(p.snapshots_replayed, 1);
    assert_int_equal(p.ops_replayed, 0);
    end(&p);
}

/* Enough tasks for several rounds; what is appended meanwhile, and what is held in the middle, comes out once. */
static void others_write_while_a_large_snapshot_is_encoded(void **state)
{
    (void)state;
    enum { TASKS = 12000, JOBS = 10 };
    struct process p = { 0 };
    must_begin(&p);
    for (int j = 0; j < JOBS; j++) {
        struct arena a = { 0 };
        struct api_save_tasks save = { .has_tasks = true, .n_tasks = TASKS / JOBS };
        save.tasks = ARENA_ARRAY(&a, struct api_scheduled_task, save.n_tasks);
        for (int i = 0; i < TASKS / JOBS; i++) save.tasks[i] = *task_op(&a, j, i, 10).save_tasks->tasks;
        struct api_op op = { .save_tasks = &save };
        assert_int_equal(store_apply(p.store, &op), 0);
        wait_durable(&p, stream_append(p.stream, &op, 1));
        arena_release(&a);
    }
    assert_int_equal(stream_snapshot(p.stream, p.store, on_snapshot_done, &p), 0);
    uint64_t last = 0, before = p.durable;
    int more = 0;
    for (; p.snapshot_result == 1; more++) {
        stream_hold(p.stream, more % 3 != 2);
        last = save(&p, more % 2 ? JOBS : 1, TASKS + more, 10);
        uv_run(&p.loop, UV_RUN_NOWAIT);
    }
    stream_hold(p.stream, false);
    assert_int_equal(p.snapshot_result, 0);
    assert_true(p.durable > before); /* some did not wait for its end */
    wait_durable(&p, last);
    restart(&p);
    assert_int_equal(p.snapshots_replayed, 1);
    assert_int_equal(store_task_count(p.store), TASKS + more);
    end(&p);
}

/* An op that saves more tasks than the loop may stop for. */
static void a_large_op_is_replayed_in_slices(void **state)
{
    (void)state;
    enum { N = 2 * REPLAY_SLICE_TASKS + 1 };
    struct process p = { 0 };
    struct arena a = { 0 };
    must_begin(&p);
    struct api_save_tasks save = { .has_tasks = true,
                                   .n_tasks = N,
                                   .tasks = ARENA_ARRAY(&a, struct api_scheduled_task, N) };
    for (int i = 0; i < N; i++) save.tasks[i] = *task_op(&a, 1, i, 10).save_tasks->tasks;
    struct api_op op = { .save_tasks = &save };
    assert_int_equal(store_apply(p.store, &op), 0);
    wait_durable(&p, stream_append(p.stream, &op, 1));
    arena_release(&a);
    restart(&p); /* compares */
    assert_int_equal(store_task_count(p.store), N);
    assert_int_equal(p.ops_replayed, 3);
    assert_int_equal(p.most_tasks, REPLAY_SLICE_TASKS);
    end(&p);
}

/* What a recovery from a backup does. */
static void an_image_of_another_store_replaces_all(void **state)
{
    (void)state;
    struct process p = { 0 };
    must_begin(&p);
    for (int i = 0; i < 20; i++) save(&p, 1, i, 20);
    struct store *other = store_new();
    struct arena a = { 0 };
    struct api_op op = task_op(&a, 2, 77, 20);
    assert_int_equal(store_apply(other, &op), 0);
    arena_release(&a);
    uint64_t hash = store_hash(other);
    struct image *image = image_take(other, 123);
    assert_int_equal(stream_snapshot_image(p.stream, image, on_snapshot_done, &p), 0);
    assert_int_equal(stream_snapshot_image(p.stream, image, on_snapshot_done, &p), ERR_BUSY);
    image_unref(image); /* the stream has its own reference */
    wait_snapshot(&p);
    assert_int_equal(p.snapshot_result, 0);
    end(&p);
    store_free(other);

    p = (struct process){ 0 };
    must_begin(&p);
    assert_int_equal(store_task_count(p.store), 1);
    assert_true(store_hash(p.store) == hash);
    end(&p);
}

static void closing_works_at_any_moment(void **state)
{
    (void)state;
    for (int passes = 0; passes < 30; passes++) {
        struct process p = { 0 };
        begin(&p);
        for (int i = 0; i < passes; i++) {
            uv_run(&p.loop, UV_RUN_NOWAIT);
            if (!p.ready) continue;
            save(&p, 1, i, 3000);
            if (i % 3 == 0) (void)stream_snapshot(p.stream, p.store, on_snapshot_done, &p);
        }
        end(&p);
    }
    struct process p = { 0 };
    must_begin(&p);
    end(&p);
}

static void a_full_log_fails_with_the_reason(void **state)
{
    (void)state;
    struct process p = { .map_bytes = 1 << 20 };
    must_begin(&p);
    for (int i = 0; !p.failure.len; i++) {
        uint64_t index = save(&p, 1, i, 1500);
        while (p.durable < index && !p.failure.len) uv_run(&p.loop, UV_RUN_ONCE);
    }
    assert_non_null(strstr(buf_cstr(&p.failure), "writing to the log failed: no space left on device"));
    assert_non_null(strstr(buf_cstr(&p.failure), "limit of 1048576 bytes"));
    uint64_t durable = p.durable;
    assert_int_equal(save(&p, 2, 2, 0), stream_append(p.stream, NULL, 0)); /* not taken any more */
    end(&p);
    struct process q = { 0 };
    must_begin(&q);
    assert_int_equal(q.ops_replayed, durable);
    end(&q);
}

static void the_queue_has_a_limit(void **state)
{
    (void)state;
    struct process p = { 0 };
    p.config.max_queued_bytes = 5000;
    must_begin(&p);
    save(&p, 1, 1, 1000);
    save(&p, 1, 2, 1000);
    save(&p, 1, 3, 1000);
    assert_int_equal(p.failure.len, 0);
    save(&p, 1, 4, 2000);
    assert_non_null(strstr(buf_cstr(&p.failure), "a queue is full"));
    end(&p);
}

static void a_failing_replay_says_where(void **state)
{
    (void)state;
    struct process p = { 0 };
    must_begin(&p);
    wait_durable(&p, save(&p, 1, 1, 0));
    wait_durable(&p, save(&p, 1, 2, 0));
    end(&p);
    struct process q = { .replay_fails_after = 2 };
    begin(&q);
    run_until_ready(&q);
    assert_false(q.ready);
    assert_non_null(strstr(buf_cstr(&q.failure), "replaying the log failed"));
    assert_non_null(strstr(buf_cstr(&q.failure), "at position 2"));
    end(&q);
}

static void a_rival_stops_the_stream(void **state)
{
    (void)state;
    static const char promise[] = "\x08\x63"; /* proposal 99, implicit */
    struct str name = STR("mesos.internal.log.PromiseRequest");
    struct process p = { 0 };
    must_begin(&p);
    assert_int_equal(log_request(p.log, "rival", name, promise, 2), 0);
    save(&p, 1, 1, 0);
    while (!p.failure.len) uv_run(&p.loop, UV_RUN_ONCE);
    assert_non_null(strstr(buf_cstr(&p.failure), "rejected by a newer leader"));
    assert_int_equal(p.durable, 0);
    end(&p);
}

static void random_histories_replay(void **state)
{
    (void)state;
    struct rng g = { random_seed("build/asan/test/log_stream") };
    struct process p = { 0 };
    must_begin(&p);
    for (int i = 0; i < 400; i++) {
        save(&p, (int)rng_below(&g, 5), (int)rng_below(&g, 100), rng_below(&g, 10) ? rng_below(&g, 200) : 5000);
        if (rng_below(&g, 20) == 0) (void)stream_snapshot(p.stream, p.store, on_snapshot_done, &p);
        for (uint64_t n = rng_below(&g, 3); n > 0; n--) uv_run(&p.loop, UV_RUN_NOWAIT);
        if (rng_below(&g, 50)) continue;
        wait_durable(&p, stream_append(p.stream, NULL, 0));
        restart(&p);
    }
    wait_durable(&p, stream_append(p.stream, NULL, 0));
    restart(&p);
    end(&p);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(what_is_durable_is_replayed),
        WITH_FOLDER(what_queues_meanwhile_is_one_entry),
        WITH_FOLDER(a_group_is_never_split),
        WITH_FOLDER(what_is_held_is_one_entry_or_nothing),
        WITH_FOLDER(entries_end_below_the_record_size),
        WITH_FOLDER(a_snapshot_replaces_what_was_before),
        WITH_FOLDER(others_write_while_a_large_snapshot_is_encoded),
        WITH_FOLDER(a_large_op_is_replayed_in_slices),
        WITH_FOLDER(an_image_of_another_store_replaces_all),
        WITH_FOLDER(closing_works_at_any_moment),
        WITH_FOLDER(a_full_log_fails_with_the_reason),
        WITH_FOLDER(the_queue_has_a_limit),
        WITH_FOLDER(a_failing_replay_says_where),
        WITH_FOLDER(a_rival_stops_the_stream),
        WITH_FOLDER(random_histories_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
