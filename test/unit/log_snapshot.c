/* Snapshots that are encoded in rounds: whatever changes between the images, what comes out is the last one. */
#include "log/snapshot.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/rng.h"
#include "log/entry.h"
#include "test/lib/random_value.h"
#include "test/lib/store_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

static void put_quota(struct store *s, int role)
{
    char op[256];
    snprintf(
        op, sizeof(op),
        "{\"saveQuota\":{\"role\":\"q%d\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2},{\"diskMb\":3}]}}}",
        role);
    apply_json(s, op);
}

/* What a reader of the log makes of the entry. */
static uint64_t hash_of(const struct buf *entry)
{
    struct entry_reader r = { 0 };
    struct arena a = { 0 };
    struct buf why = { 0 };
    const struct api_log_entry *e;
    if (entry_reader_feed(&r, entry->data, entry->len, &a, &e, &why)) fail_msg("%s", buf_cstr(&why));
    assert_non_null(e);
    assert_non_null(e->snapshot);
    assert_int_equal(e->snapshot->timestamp, 99);
    struct store *s = store_new();
    assert_int_equal(store_apply_snapshot(s, e->snapshot), 0);
    uint64_t h = store_hash(s);
    store_free(s);
    arena_release(&a);
    entry_reader_release(&r);
    buf_release(&why);
    return h;
}

static void finish(struct snapshot_writer *w, struct image **images, unsigned n, uint64_t expected)
{
    struct buf entry = { 0 };
    assert_int_equal(snapshot_finish(w, &entry), 0);
    assert_true(hash_of(&entry) == expected);
    buf_release(&entry);
    snapshot_writer_free(w);
    for (unsigned i = 0; i < n; i++) image_unref(images[i]);
}

enum { TASKS = 10 * SNAPSHOT_PART_TASKS };

static struct store *filled(void)
{
    struct store *s = store_new();
    apply_json(s, "{\"saveFrameworkId\":{\"id\":\"f1\"}}");
    for (int i = 0; i < TASKS; i++) put_task(s, i, i % 7, "RUNNING");
    for (int i = 0; i < 5; i++) put_host(s, i, "NONE");
    put_quota(s, 1);
    return s;
}

static void only_what_has_changed_is_encoded_again(void **state)
{
    (void)state;
    struct store *s = filled();
    struct snapshot_writer *w = snapshot_writer_new();
    struct image *images[4];
    uint32_t n;
    assert_int_equal(snapshot_encode(w, images[0] = image_take(s, 99), &n), 0);
    assert_int_equal(n, TASKS);
    assert_int_equal(snapshot_encode(w, images[1] = image_take(s, 99), &n), 0);
    assert_int_equal(n, 0);
    put_task(s, 5, 1, "FAILED");
    put_task(s, TASKS - 1, 1, "FAILED");
    put_task(s, TASKS, 8, "PENDING"); /* behind all others */
    put_host(s, 2, "DRAINING");
    assert_int_equal(snapshot_encode(w, images[2] = image_take(s, 99), &n), 0);
    assert_int_equal(n, 2 * SNAPSHOT_PART_TASKS + 1);
    remove_task(s, SNAPSHOT_PART_TASKS); /* the first of a part */
    put_quota(s, 2);
    assert_int_equal(snapshot_encode(w, images[3] = image_take(s, 99), &n), 0);
    assert_int_equal(n, SNAPSHOT_PART_TASKS - 1);
    finish(w, images, 4, store_hash(s));
    store_free(s);
}

static void parts_may_vanish(void **state)
{
    (void)state;
    struct store *s = filled();
    struct snapshot_writer *w = snapshot_writer_new();
    struct image *images[3];
    uint32_t n;
    assert_int_equal(snapshot_encode(w, images[0] = image_take(s, 99), &n), 0);
    for (int i = 0; i < 3 * SNAPSHOT_PART_TASKS; i++) remove_task(s, i);
    put_task(s, 0, 0, "PENDING"); /* is back, but behind all others */
    assert_int_equal(snapshot_encode(w, images[1] = image_take(s, 99), &n), 0);
    assert_int_equal(n, 1);
    store_reset(s);
    assert_int_equal(snapshot_encode(w, images[2] = image_take(s, 99), &n), 0);
    assert_int_equal(n, 0);
    finish(w, images, 3, store_hash(s));
    store_free(s);
}

static void random_changes(void **state)
{
    (void)state;
    struct rng g = { random_seed("build/asan/test/log_snapshot") };
    for (int run = 0; run < 20; run++) {
        struct store *s = store_new();
        struct snapshot_writer *w = snapshot_writer_new();
        struct image *images[5];
        unsigned rounds = 1 + (unsigned)rng_below(&g, 5);
        for (unsigned r = 0; r < rounds; r++) {
            for (uint64_t n = rng_below(&g, rng_below(&g, 2) ? 1000 : 20); n > 0; n--) {
                int id = (int)rng_below(&g, 1000);
                if (rng_below(&g, 3))
                    put_task(s, id, (int)rng_below(&g, 9), rng_below(&g, 2) ? "RUNNING" : "LOST");
                else
                    remove_task(s, id);
                if (rng_below(&g, 100) == 0) put_host(s, id % 7, "DRAINED");
                if (rng_below(&g, 100) == 0) put_quota(s, id % 7);
            }
            assert_int_equal(snapshot_encode(w, images[r] = image_take(s, 99), NULL), 0);
        }
        finish(w, images, rounds, store_hash(s));
        store_free(s);
    }
}

/* Java's Inflater reads what zlib's own functions read in one go. */
static void it_is_one_zlib_stream(void **state)
{
    (void)state;
    struct store *s = filled();
    struct snapshot_writer *w = snapshot_writer_new();
    struct image *image = image_take(s, 99);
    struct buf entry = { 0 };
    assert_int_equal(snapshot_encode(w, image, NULL), 0);
    assert_int_equal(snapshot_finish(w, &entry), 0);
    struct api_log_entry e = { 0 };
    struct arena a = { 0 };
    assert_int_equal(tbinary_read(entry.data, entry.len, &api_log_entry_desc, &e, &a, NULL), 0);
    static uint8_t plain[1 << 20];
    uLongf n = sizeof(plain);
    assert_int_equal(uncompress(plain, &n, (const Bytef *)e.deflated_entry.p, e.deflated_entry.n), Z_OK);
    assert_true(n > 50 * TASKS);
    assert_int_equal((uint8_t)e.deflated_entry.p[0], 0x78);
    arena_release(&a);
    buf_release(&entry);
    snapshot_writer_free(w);
    image_unref(image);
    store_free(s);
}

static void too_many_tasks_are_refused(void **state)
{
    (void)state;
    struct snapshot_writer *w = snapshot_writer_new();
    struct image image = { .n = LIMIT_CODEC_ELEMENTS + 1 };
    struct buf entry = { 0 };
    assert_int_equal(snapshot_encode(w, &image, NULL), ERR_TOO_BIG);
    image.n = 0;
    snapshot_writer_free(w);
    w = snapshot_writer_new();
    assert_int_equal(snapshot_encode(w, &image, NULL), 0);
    assert_int_equal(snapshot_finish(w, &entry), 0);
    buf_release(&entry);
    snapshot_writer_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_has_changed_is_encoded_again),
        cmocka_unit_test(parts_may_vanish),
        cmocka_unit_test(random_changes),
        cmocka_unit_test(it_is_one_zlib_stream),
        cmocka_unit_test(too_many_tasks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
