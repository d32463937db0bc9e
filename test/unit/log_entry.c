/* Aurora's entries: what is written is read back, and every way in which stored bytes can be wrong ends as the
 * reference says. */
#include "log/entry.h"
#include "log/snapshot.h"

#include "core/err.h"
#include "core/image.h"
#include "core/limits.h"
#include "core/thrift.h"
#include "test/lib/random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

enum { MAX = 1000 };

static struct api_op framework_op(struct arena *a, const char *id)
{
    struct api_op op = { .save_framework_id = ARENA_NEW(a, struct api_save_framework_id) };
    op.save_framework_id->id = str_c(id);
    return op;
}

/* A LogEntry with one op whose id has n bytes. */
static void make_entry(size_t n, char fill, struct buf *out)
{
    struct arena a = { 0 };
    struct entry_transaction t = { 0 };
    char *id = arena_alloc(&a, n + 1);
    memset(id, fill, n);
    struct api_op op = framework_op(&a, id);
    entry_transaction_begin(&t);
    assert_int_equal(entry_transaction_op(&t, &op), 0);
    entry_transaction_end(&t);
    buf_reset(out);
    buf_add(out, t.bytes.data, t.bytes.len);
    buf_release(&t.bytes);
    arena_release(&a);
}

struct fixture {
    struct entry_reader r;
    struct arena a;
    struct buf why, entry, record;
    const struct api_log_entry *got;
};

static int setup(void **state)
{
    *state = xcalloc(1, sizeof(struct fixture));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    entry_reader_release(&f->r);
    arena_release(&f->a);
    buf_release(&f->why);
    buf_release(&f->entry);
    buf_release(&f->record);
    free(f);
    return 0;
}

static int feed(struct fixture *f, const void *record, size_t n)
{
    buf_reset(&f->why);
    return entry_reader_feed(&f->r, record, n, &f->a, &f->got, &f->why);
}

static int feed_record(struct fixture *f, const struct entry_frames *frames, size_t i)
{
    entry_frames_record(frames, i, &f->record);
    return feed(f, f->record.data, f->record.len);
}

static void assert_framework(const struct fixture *f, size_t n, char fill)
{
    assert_non_null(f->got);
    assert_non_null(f->got->transaction);
    assert_int_equal(f->got->transaction->n_ops, 1);
    assert_int_equal(f->got->transaction->schema_version, 1);
    struct str id = f->got->transaction->ops[0].save_framework_id->id;
    assert_int_equal(id.n, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(id.p[i], fill);
}

/* ---- transactions and frames ---- */

static void a_transaction_is_the_generic_encoding(void **state)
{
    struct fixture *f = *state;
    struct rng g = { random_seed("build/asan/test/log_entry") };
    for (int round = 0; round < 200; round++) {
        struct entry_transaction t = { 0 };
        struct api_op ops[5];
        uint32_t n = (uint32_t)rng_below(&g, 5);
        entry_transaction_begin(&t);
        for (uint32_t i = 0; i < n; i++) {
            ops[i] = *(struct api_op *)random_value(&g, &api_op_desc, &f->a);
            assert_int_equal(entry_transaction_op(&t, &ops[i]), 0);
        }
        struct api_op nothing = { 0 }; /* is refused and leaves no trace */
        assert_int_equal(entry_transaction_op(&t, &nothing), ERR_INVALID);
        entry_transaction_end(&t);
        struct api_transaction transaction = {
            .has_ops = true, .n_ops = n, .ops = ops, .has_schema_version = true, .schema_version = 1
        };
        struct buf want = { 0 };
        assert_int_equal(
            tbinary_write(&want, &api_log_entry_desc, &(struct api_log_entry){ .transaction = &transaction }), 0);
        assert_int_equal(t.bytes.len, want.len);
        assert_memory_equal(t.bytes.data, want.data, want.len);
        assert_int_equal(feed(f, t.bytes.data, t.bytes.len), 0);
        assert_int_equal(f->got->transaction->n_ops, n);
        buf_release(&want);
        buf_release(&t.bytes);
        arena_release(&f->a);
    }
}

static void entries_are_framed_above_the_maximum_only(void **state)
{
    struct fixture *f = *state;
    struct entry_frames frames;
    make_entry(1, 'x', &f->entry);
    size_t overhead = f->entry.len - 1;
    for (size_t len = MAX - 1; len <= MAX + 1; len++) {
        make_entry(len - overhead, 'x', &f->entry);
        assert_int_equal(f->entry.len, len);
        entry_frames_init(&frames, f->entry.data, f->entry.len, MAX);
        assert_int_equal(frames.records, len <= MAX ? 1 : 3);
        for (size_t i = 0; i < frames.records; i++) {
            if (i) assert_null(f->got);
            assert_int_equal(feed_record(f, &frames, i), 0);
        }
        assert_framework(f, len - overhead, 'x');
    }
}

static void chunks_are_exactly_the_maximum(void **state)
{
    struct fixture *f = *state;
    struct entry_frames frames;
    make_entry(3 * MAX, 'y', &f->entry);
    entry_frames_init(&frames, f->entry.data, f->entry.len, MAX);
    assert_int_equal(frames.records, 5);
    for (size_t i = 1; i < frames.records; i++) {
        struct api_log_entry e = { 0 };
        entry_frames_record(&frames, i, &f->record);
        assert_int_equal(tbinary_read(f->record.data, f->record.len, &api_log_entry_desc, &e, &f->a, NULL), 0);
        assert_int_equal(e.frame->chunk->data.n, i < 4 ? MAX : f->entry.len - 3 * MAX);
    }
}

static void a_torn_frame_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct entry_frames big, small;
    struct buf other = { 0 };
    make_entry(3 * MAX, 'a', &f->entry);
    make_entry(10, 'b', &other);
    entry_frames_init(&big, f->entry.data, f->entry.len, MAX);
    entry_frames_init(&small, other.data, other.len, MAX);
    assert_int_equal(feed_record(f, &big, 0), 0);
    assert_int_equal(feed_record(f, &big, 1), 0);
    assert_int_equal(feed_record(f, &small, 0), 0); /* not a chunk: it is an entry itself */
    assert_framework(f, 10, 'b');
    assert_int_equal(f->r.bad_frames, 1);
    assert_int_equal(feed_record(f, &big, 2), 0); /* a chunk without header is skipped */
    assert_null(f->got);
    assert_int_equal(f->r.orphans, 1);
    assert_int_equal(feed_record(f, &big, 0), 0);
    for (size_t i = 0; i < big.records; i++) assert_int_equal(feed_record(f, &big, i), 0); /* header after header */
    assert_framework(f, 3 * MAX, 'a');
    assert_int_equal(f->r.bad_frames, 2);
    assert_int_equal(feed_record(f, &big, 0), 0);
    entry_reader_end(&f->r);
    assert_int_equal(f->r.bad_frames, 3);
    buf_release(&other);
}

static void a_wrong_checksum_is_fatal(void **state)
{
    struct fixture *f = *state;
    struct entry_frames frames;
    make_entry(2 * MAX, 'a', &f->entry);
    entry_frames_init(&frames, f->entry.data, f->entry.len, MAX);
    assert_int_equal(feed_record(f, &frames, 0), 0);
    assert_int_equal(feed_record(f, &frames, 1), 0);
    f->entry.data[MAX + 5] ^= 1;
    assert_int_equal(feed_record(f, &frames, 2), 0);
    f->entry.data[f->entry.len - 40] ^= 1;
    assert_int_equal(feed_record(f, &frames, 3), ERR_CORRUPT);
    assert_string_equal(buf_cstr(&f->why), "a framed entry has a wrong checksum");
}

static void a_framed_entry_has_a_limit(void **state)
{
    struct fixture *f = *state;
    struct entry_frames frames;
    make_entry(2 * MAX, 'a', &f->entry);
    entry_frames_init(&frames, f->entry.data, f->entry.len, MAX);
    f->r.max_entry_bytes = f->entry.len;
    for (size_t i = 0; i < frames.records; i++) assert_int_equal(feed_record(f, &frames, i), 0);
    assert_framework(f, 2 * MAX, 'a');
    f->r.max_entry_bytes = f->entry.len - 1;
    for (size_t i = 0; i + 1 < frames.records; i++) assert_int_equal(feed_record(f, &frames, i), 0);
    assert_int_equal(feed_record(f, &frames, frames.records - 1), ERR_CORRUPT);
}

static void undecodable_records_are_fatal(void **state)
{
    struct fixture *f = *state;
    make_entry(100, 'a', &f->entry);
    assert_int_equal(feed(f, f->entry.data, f->entry.len - 1), ERR_CORRUPT);
    assert_int_equal(feed(f, "", 0), ERR_CORRUPT);
    assert_int_equal(feed(f, "\0", 1), ERR_CORRUPT); /* no member: of a kind that only a newer version knows */
    assert_string_equal(buf_cstr(&f->why), "an entry is of an unknown kind");
    f->entry.data[0] = 99;
    assert_int_equal(feed(f, f->entry.data, f->entry.len), ERR_CORRUPT);
}

/* ---- deflated entries ---- */

static void deflated(const void *plain, size_t n, struct buf *out)
{
    uLongf len = compressBound(n);
    char *bytes = xmalloc(len);
    assert_int_equal(compress2((Bytef *)bytes, &len, plain, n, 3), Z_OK);
    struct api_log_entry e = { .deflated_entry = { bytes, (uint32_t)len } };
    buf_reset(out);
    assert_int_equal(tbinary_write(out, &api_log_entry_desc, &e), 0);
    free(bytes);
}

static void a_deflated_entry_is_inflated(void **state)
{
    struct fixture *f = *state;
    make_entry(500000, 'z', &f->entry);
    deflated(f->entry.data, f->entry.len, &f->record);
    assert_int_equal(feed(f, f->record.data, f->record.len), 0);
    assert_framework(f, 500000, 'z');
    assert_int_equal(f->r.deflated, 1);
    struct buf twice = { 0 };
    deflated(f->record.data, f->record.len, &twice);
    assert_int_equal(feed(f, twice.data, twice.len), ERR_CORRUPT);
    buf_release(&twice);
}

static void inflating_has_a_limit(void **state)
{
    struct fixture *f = *state;
    make_entry(300000, 'z', &f->entry);
    deflated(f->entry.data, f->entry.len, &f->record);
    f->r.max_inflated_bytes = f->entry.len;
    assert_int_equal(feed(f, f->record.data, f->record.len), 0);
    f->r.max_inflated_bytes = f->entry.len - 1;
    assert_int_equal(feed(f, f->record.data, f->record.len), ERR_CORRUPT);
    assert_string_equal(buf_cstr(&f->why), "a deflated entry is beyond the limit");
}

static void damaged_deflated_entries_are_fatal(void **state)
{
    struct fixture *f = *state;
    make_entry(5000, 'z', &f->entry);
    deflated(f->entry.data, f->entry.len, &f->record);
    f->record.data[f->record.len - 3] ^= 1; /* the Adler-32 sum */
    assert_int_equal(feed(f, f->record.data, f->record.len), ERR_CORRUPT);
    struct api_log_entry e = { .deflated_entry = STR("not zlib") };
    buf_reset(&f->record);
    assert_int_equal(tbinary_write(&f->record, &api_log_entry_desc, &e), 0);
    assert_int_equal(feed(f, f->record.data, f->record.len), ERR_CORRUPT);
}

/* ---- snapshots ---- */

static struct api_op task_op(struct arena *a, int job, int instance)
{
    struct api_job_key *key = ARENA_NEW(a, struct api_job_key);
    *key = (struct api_job_key){ STR("role"), STR("prod"), arena_strf(a, "job%d", job) };
    struct api_task_config *config = ARENA_NEW(a, struct api_task_config);
    *config = (struct api_task_config){ .job = key, .has_is_service = true, .is_service = true };
    struct api_assigned_task *assigned = ARENA_NEW(a, struct api_assigned_task);
    *assigned = (struct api_assigned_task){ .task_id = arena_strf(a, "task-%d-%d", job, instance),
                                            .task = config,
                                            .has_instance_id = true,
                                            .instance_id = instance };
    struct api_save_tasks *save = ARENA_NEW(a, struct api_save_tasks);
    struct api_scheduled_task *task = ARENA_NEW(a, struct api_scheduled_task);
    *task = (struct api_scheduled_task){ .assigned_task = assigned,
                                         .has_status = true,
                                         .status = API_SCHEDULE_STATUS_PENDING };
    *save = (struct api_save_tasks){ .has_tasks = true, .n_tasks = 1, .tasks = task };
    return (struct api_op){ .save_tasks = save };
}

static void fill_store(struct store *s, int jobs, int instances)
{
    struct arena a = { 0 };
    struct api_op op = framework_op(&a, "framework-1");
    assert_int_equal(store_apply(s, &op), 0);
    for (int j = 0; j < jobs; j++)
        for (int i = 0; i < instances; i++) {
            op = task_op(&a, j, i);
            assert_int_equal(store_apply(s, &op), 0);
        }
    arena_release(&a);
}

static void snapshot_of(struct store *s, struct buf *out)
{
    struct image *i = image_take(s, 12345);
    buf_reset(out);
    struct snapshot_writer *w = snapshot_writer_new();
    assert_int_equal(snapshot_encode(w, i, NULL), 0);
    assert_int_equal(snapshot_finish(w, out), 0);
    snapshot_writer_free(w);
    image_unref(i);
}

static void a_snapshot_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    struct store *s = store_new();
    struct entry_frames frames;
    fill_store(s, 7, 300);
    snapshot_of(s, &f->entry);
    entry_frames_init(&frames, f->entry.data, f->entry.len, MAX);
    assert_true(frames.records > 3);
    for (size_t i = 0; i < frames.records; i++) assert_int_equal(feed_record(f, &frames, i), 0);
    const struct api_snapshot *snap = f->got->snapshot;
    assert_non_null(snap);
    assert_int_equal(snap->timestamp, 12345);
    assert_string_equal(snap->scheduler_metadata->framework_id.p, "framework-1");
    assert_int_equal(snap->n_tasks, 2100);
    for (uint32_t i = 0; i < snap->n_tasks; i++) {
        const struct api_assigned_task *t = snap->tasks[i].assigned_task;
        char id[32];
        snprintf(id, sizeof(id), "task-%s-%d", t->task->job->name.p + 3, t->instance_id);
        assert_string_equal(t->task_id.p, id);
        assert_int_equal(t->instance_id, i % 300);
    }
    store_free(s);
}

static void tasks_of_a_job_share_one_config(void **state)
{
    struct fixture *f = *state;
    struct store *s = store_new();
    fill_store(s, 3, 100);
    snapshot_of(s, &f->entry);
    struct api_log_entry outer = { 0 }, inner = { 0 };
    assert_int_equal(tbinary_read(f->entry.data, f->entry.len, &api_log_entry_desc, &outer, &f->a, NULL), 0);
    uLongf len = 1 << 20;
    uint8_t *plain = arena_alloc(&f->a, len);
    assert_int_equal(uncompress(plain, &len, (const Bytef *)outer.deflated_entry.p, outer.deflated_entry.n), Z_OK);
    assert_int_equal(tbinary_read(plain, len, &api_log_entry_desc, &inner, &f->a, NULL), 0);
    const struct api_deduplicated_snapshot *d = inner.deduplicated_snapshot;
    assert_non_null(d);
    assert_int_equal(d->n_task_configs, 3);
    assert_int_equal(d->n_partial_tasks, 300);
    assert_false(d->partial_snapshot->has_tasks);
    for (uint32_t i = 0; i < 300; i++) {
        assert_null(d->partial_tasks[i].partial_scheduled_task->assigned_task->task);
        assert_int_equal(d->partial_tasks[i].task_config_id, i / 100);
    }
    store_free(s);
}

static void an_empty_snapshot_has_no_task_lists(void **state)
{
    struct fixture *f = *state;
    struct store *s = store_new();
    snapshot_of(s, &f->entry);
    assert_int_equal(feed(f, f->entry.data, f->entry.len), 0);
    assert_non_null(f->got->snapshot);
    assert_int_equal(f->got->snapshot->n_tasks, 0);
    store_free(s);
}

static void a_snapshot_with_a_wrong_config_number_is_fatal(void **state)
{
    struct fixture *f = *state;
    struct api_snapshot rest = { 0 };
    struct api_task_config config = { 0 };
    for (int32_t id = -1; id <= 1; id++) {
        struct api_assigned_task assigned = { .task_id = STR("t") };
        struct api_scheduled_task task = { .assigned_task = &assigned };
        struct api_deduplicated_scheduled_task partial = { &task, true, id };
        struct api_deduplicated_snapshot d = { .partial_snapshot = &rest,
                                               .has_partial_tasks = true,
                                               .n_partial_tasks = 1,
                                               .partial_tasks = &partial,
                                               .has_task_configs = true,
                                               .n_task_configs = 1,
                                               .task_configs = &config };
        struct api_log_entry e = { .deduplicated_snapshot = &d };
        buf_reset(&f->record);
        assert_int_equal(tbinary_write(&f->record, &api_log_entry_desc, &e), 0);
        assert_int_equal(feed(f, f->record.data, f->record.len), id == 0 ? 0 : ERR_CORRUPT);
    }
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(a_transaction_is_the_generic_encoding),
        WITH_FIXTURE(entries_are_framed_above_the_maximum_only),
        WITH_FIXTURE(chunks_are_exactly_the_maximum),
        WITH_FIXTURE(a_torn_frame_is_dropped),
        WITH_FIXTURE(a_wrong_checksum_is_fatal),
        WITH_FIXTURE(a_framed_entry_has_a_limit),
        WITH_FIXTURE(undecodable_records_are_fatal),
        WITH_FIXTURE(a_deflated_entry_is_inflated),
        WITH_FIXTURE(inflating_has_a_limit),
        WITH_FIXTURE(damaged_deflated_entries_are_fatal),
        WITH_FIXTURE(a_snapshot_comes_back_whole),
        WITH_FIXTURE(tasks_of_a_job_share_one_config),
        WITH_FIXTURE(an_empty_snapshot_has_no_task_lists),
        WITH_FIXTURE(a_snapshot_with_a_wrong_config_number_is_fatal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
