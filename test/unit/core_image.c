/* Images: they stay what they were while the store changes, and give back all they have held. */
#include "core/hash.h"
#include "core/image.h"
#include "core/job_key.h"
#include "core/rng.h"
#include "core/store_impl.h"
#include "test/lib/random_value.h"
#include "test/lib/store_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define UPDATE_KEY "{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"u\"},\"id\":\"1\"}"

static void put_update_event(struct store *s, int at)
{
    char op[512];
    snprintf(op, sizeof(op),
             "{\"saveJobUpdateEvent\":{\"key\":" UPDATE_KEY ",\"event\":{\"status\":\"ROLLING_FORWARD\","
             "\"timestampMs\":%d}}}",
             at);
    apply_json(s, op);
    snprintf(op, sizeof(op),
             "{\"saveJobInstanceUpdateEvent\":{\"key\":" UPDATE_KEY ",\"event\":{\"instanceId\":1,\"timestampMs\":%d,"
             "\"action\":\"INSTANCE_UPDATING\"}}}",
             at);
    apply_json(s, op);
}

static void put_rest(struct store *s)
{
    apply_json(s, "{\"saveFrameworkId\":{\"id\":\"f1\"}}");
    apply_json(
        s, "{\"saveQuota\":{\"role\":\"r\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2},{\"diskMb\":3}]}}}");
    apply_json(s, "{\"saveCronJob\":{\"jobConfig\":{\"key\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"c\"},"
                  "\"instanceCount\":2}}}");
    apply_json(s, "{\"saveHostMaintenanceRequest\":{\"hostMaintenanceRequest\":{\"host\":\"h1\",\"timeoutSecs\":5}}}");
    apply_json(s, "{\"saveJobUpdate\":{\"jobUpdate\":{\"summary\":{\"key\":" UPDATE_KEY
                  ",\"user\":\"me\"},\"instructions\":{"
                  "\"initialState\":[{\"task\":{\"isService\":true},\"instances\":[{\"first\":0,\"last\":0}]}],"
                  "\"settings\":{\"updateGroupSize\":3}}}}}");
}

static struct store *filled(void)
{
    struct store *s = store_new();
    for (int i = 0; i < 40; i++) put_task(s, i, i % 3, "RUNNING");
    for (int i = 0; i < 5; i++) put_host(s, i, "NONE");
    put_rest(s);
    for (int i = 0; i < 5; i++) put_update_event(s, 10 * i);
    return s;
}

/* All that an image shows. */
static uint64_t image_hash(const struct image *i)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    assert_int_equal(tbinary_write(&b, &api_snapshot_desc, &i->rest), 0);
    for (uint32_t k = 0; k < i->n; k++) {
        struct api_scheduled_task t;
        task_to_api(i->tasks[k], &t, &a);
        assert_int_equal(tbinary_write(&b, &api_scheduled_task_desc, &t), 0);
    }
    uint64_t h = hash_bytes(b.data, b.len, 0);
    buf_release(&b);
    arena_release(&a);
    return h;
}

static void change_everything(struct store *s)
{
    for (int i = 0; i < 40; i += 2) put_task(s, i, i % 3, "FAILED");
    for (int i = 0; i < 40; i += 3) remove_task(s, i);
    for (int i = 40; i < 60; i++) put_task(s, i, i % 3, "PENDING");
    for (int i = 0; i < 7; i++) put_host(s, i, "DRAINING");
    for (int i = 0; i < 9; i++) put_update_event(s, 5 + 10 * i);
    apply_json(s, "{\"saveFrameworkId\":{\"id\":\"another\"}}");
    apply_json(s, "{\"removeQuota\":{\"role\":\"r\"}}");
    apply_json(s, "{\"removeJob\":{\"jobKey\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"c\"}}}");
    apply_json(s, "{\"removeHostMaintenanceRequest\":{\"host\":\"h1\"}}");
}

static void it_stays_what_it_was(void **state)
{
    (void)state;
    struct store *s = filled();
    struct image *i = image_take(s, 77);
    uint64_t before = image_hash(i);
    change_everything(s);
    assert_true(image_hash(i) == before);
    struct image *j = image_take(s, 78);
    uint64_t later = image_hash(j);
    assert_true(later != before);
    apply_json(s, "{\"removeJobUpdate\":{\"keys\":[" UPDATE_KEY "]}}");
    store_reset(s);
    assert_true(image_hash(i) == before);
    assert_true(image_hash(j) == later);
    image_unref(i);
    assert_true(image_hash(j) == later);
    image_unref(j);
    store_free(s);
}

static void it_goes_with_its_last_reference(void **state)
{
    (void)state;
    struct store *s = filled();
    struct image *i = image_take(s, 1);
    uint64_t before = image_hash(i);
    assert_ptr_equal(image_ref(i), i);
    image_unref(i);
    store_reset(s);
    assert_true(image_hash(i) == before);
    image_unref(i);
    image_unref(NULL);
    store_free(s);
}

static void it_says_who_made_it_and_when(void **state)
{
    (void)state;
    struct store *s = filled();
    struct image *i = image_take(s, 1234567890123);
    assert_true(i->rest.has_timestamp);
    assert_int_equal(i->rest.timestamp, 1234567890123);
    const struct api_scheduler_metadata *m = i->rest.scheduler_metadata;
    assert_true(str_eq(m->framework_id, STR("f1")));
    bool revision = false;
    for (uint32_t k = 0; k < m->n_details; k++)
        if (str_eq(m->details_keys[k], STR("build.git.revision"))) revision = m->details[k].n > 0;
    assert_true(revision);
    image_unref(i);
    store_free(s);
}

static void one_of_nothing_is_empty(void **state)
{
    (void)state;
    struct store *s = store_new();
    struct image *i = image_take(s, 0);
    assert_int_equal(i->n, 0);
    assert_int_equal(i->rest.n_host_attributes, 0);
    assert_null(i->rest.scheduler_metadata->framework_id.p);
    image_unref(i);
    store_free(s);
}

/* Several at a time, given back in any order, while tasks come, change and go. */
static void any_order_of_giving_back(void **state)
{
    (void)state;
    enum { IMAGES = 6, TASKS = 300 };
    struct rng g = { random_seed("build/asan/test/core_image") };
    struct store *s = filled();
    struct {
        struct image *image;
        uint64_t hash;
    } held[IMAGES] = { 0 };
    for (int step = 0; step < 3000; step++) {
        int id = (int)rng_below(&g, TASKS), k = (int)rng_below(&g, IMAGES);
        if (rng_below(&g, 3))
            put_task(s, id, id % 3, rng_below(&g, 2) ? "RUNNING" : "KILLED");
        else
            remove_task(s, id);
        if (rng_below(&g, 5) == 0) put_host(s, id % 7, rng_below(&g, 2) ? "NONE" : "DRAINED");
        if (rng_below(&g, 9) == 0) put_update_event(s, (int)rng_below(&g, 100));
        if (rng_below(&g, 50) || step < 100) continue;
        if (held[k].image) {
            assert_true(image_hash(held[k].image) == held[k].hash);
            image_unref(held[k].image);
            held[k].image = NULL;
        } else {
            held[k].image = image_take(s, step);
            held[k].hash = image_hash(held[k].image);
        }
    }
    for (int k = 0; k < IMAGES; k++) {
        if (held[k].image) assert_true(image_hash(held[k].image) == held[k].hash);
        image_unref(held[k].image);
    }
    store_free(s);
}

static void it_outlives_its_store(void **state)
{
    (void)state;
    struct store *s = filled();
    assert_false(store_is_shown(s));
    struct image *i = image_take(s, 1), *j = image_take(s, 2);
    uint64_t hash = image_hash(i);
    assert_true(store_is_shown(s));
    store_free(s);
    assert_true(image_hash(i) == hash);
    image_unref(j);
    assert_true(image_hash(i) == hash);
    image_unref(i);
}

static bool next_is(const struct task *t, void *arg)
{
    const struct task *const **at = arg;
    assert_ptr_equal(*(*at)++, t);
    return true;
}

static void it_lists_what_the_store_lists(void **state)
{
    (void)state;
    struct store *s = filled();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 200; i++) put_task(s, 1000 * round + i, i % 3, "PENDING");
        for (int i = 0; i < 200; i += 1 + round % 3) remove_task(s, 1000 * round + i);
        struct image *i = image_take(s, 1);
        const struct task *const *at = i->tasks;
        store_each_task(s, next_is, &at);
        assert_int_equal(at - i->tasks, i->n);
        image_unref(i);
    }
    assert_true(s->cap_versions < 10000); /* holes are closed */
    store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stays_what_it_was),          cmocka_unit_test(it_goes_with_its_last_reference),
        cmocka_unit_test(it_says_who_made_it_and_when),  cmocka_unit_test(one_of_nothing_is_empty),
        cmocka_unit_test(it_lists_what_the_store_lists), cmocka_unit_test(it_outlives_its_store),
        cmocka_unit_test(any_order_of_giving_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
