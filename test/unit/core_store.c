/* The store: ops, indexes, queries, snapshots, and that a replay gives the same state. */
#include "core/err.h"
#include "core/hash.h"
#include "core/image.h"
#include "core/store.h"
#include "core/store_impl.h"
#include "core/task.h"
#include "test/lib/store_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *task_json(const char *id, const char *role, const char *job, int instance, const char *status,
                             const char *host)
{
    static char text[4][2048];
    static int at;
    char *t = text[at++ % 4];
    snprintf(t, 2048,
             "{\"assignedTask\":{\"taskId\":\"%s\",\"instanceId\":%d,%s%s%s\"task\":{\"job\":{\"role\":\"%s\","
             "\"environment\":\"prod\",\"name\":\"%s\"},\"isService\":true}},\"status\":\"%s\",\"taskEvents\":[{"
             "\"timestamp\":1000,\"status\":\"%s\",\"scheduler\":\"me\"}]}",
             id, instance, host ? "\"slaveId\":\"S1\",\"slaveHost\":\"" : "", host ? host : "", host ? "\"," : "", role,
             job, status, status);
    return t;
}

static void save(struct store *s, const char *id, const char *role, const char *job, int instance, const char *status,
                 const char *host)
{
    char op[4096];
    snprintf(op, sizeof op, "{\"saveTasks\":{\"tasks\":[%s]}}", task_json(id, role, job, instance, status, host));
    assert_int_equal(try_json(s, op), 0);
}

/* The ids that a query finds, sorted. */
static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void expect_query(struct store *s, const char *query, const char *ids)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    struct api_task_query *q = ARENA_NEW(&a, struct api_task_query);
    assert_int_equal(json_read(query, strlen(query), &api_task_query_desc, q, &a, JSON_STRICT, NULL), 0);
    thrift_normalize(&api_task_query_desc, q, &a);
    struct task_list l = store_query(s, q, &a);
    struct str found[64];
    assert_true(l.n <= 64);
    for (uint32_t i = 0; i < l.n; i++) found[i] = l.v[i]->id;
    qsort(found, l.n, sizeof *found, by_text);
    for (uint32_t i = 0; i < l.n; i++) buf_addf(&b, "%s%.*s", i ? " " : "", STR_ARG(found[i]));
    if (strcmp(buf_cstr(&b), ids) != 0) fail_msg("%s: %s instead of %s", query, buf_cstr(&b), ids);
    buf_release(&b);
    arena_release(&a);
}

static struct store *filled(void)
{
    struct store *s = store_new();
    save(s, "a0", "ra", "j1", 0, "RUNNING", "h1");
    save(s, "a1", "ra", "j1", 1, "RUNNING", "h2");
    save(s, "a2", "ra", "j2", 0, "PENDING", NULL);
    save(s, "b0", "rb", "j1", 0, "FAILED", "h1");
    save(s, "b1", "rb", "j1", 0, "THROTTLED", NULL);
    return s;
}

static void queries_use_every_field(void **state)
{
    (void)state;
    struct store *s = filled();
    expect_query(s, "{}", "a0 a1 a2 b0 b1");
    expect_query(s, "{\"role\":\"ra\"}", "a0 a1 a2");
    expect_query(s, "{\"role\":\"  \"}", "a0 a1 a2 b0 b1");
    expect_query(s, "{\"jobName\":\"j1\"}", "a0 a1 b0 b1");
    expect_query(s, "{\"environment\":\"test\"}", "");
    expect_query(s, "{\"role\":\"rb\",\"environment\":\"prod\",\"jobName\":\"j1\",\"statuses\":[\"FAILED\"]}", "b0");
    expect_query(s,
                 "{\"jobKeys\":[{\"role\":\"ra\",\"environment\":\"prod\",\"name\":\"j2\"},{\"role\":\"x\","
                 "\"environment\":\"y\",\"name\":\"z\"}]}",
                 "a2");
    expect_query(s, "{\"taskIds\":[\"b1\",\"a0\",\"nobody\"]}", "a0 b1");
    expect_query(s, "{\"taskIds\":[\"b1\",\"a0\"],\"role\":\"ra\"}", "a0");
    expect_query(s, "{\"statuses\":[\"RUNNING\",\"PENDING\"]}", "a0 a1 a2");
    expect_query(s, "{\"instanceIds\":[1,7]}", "a1");
    expect_query(s, "{\"slaveHosts\":[\"h1\",\"h9\"]}", "a0 b0");
    expect_query(s, "{\"slaveHosts\":[\"h1\"],\"role\":\"rb\"}", "b0");
    expect_query(s, "{\"statuses\":[],\"taskIds\":[]}", "a0 a1 a2 b0 b1");
    store_free(s);
}

static void indexes_follow_changes(void **state)
{
    (void)state;
    struct store *s = filled();
    save(s, "a0", "ra", "j1", 0, "KILLED", "h1");
    expect_query(s, "{\"statuses\":[\"RUNNING\"]}", "a1");
    expect_query(s, "{\"statuses\":[\"KILLED\"]}", "a0");
    save(s, "a2", "ra", "j2", 0, "ASSIGNED", "h9");
    expect_query(s, "{\"slaveHosts\":[\"h9\"]}", "a2");
    const struct api_job_key key = { STR("ra"), STR("prod"), STR("j1") };
    assert_int_equal(store_job(s, &key)->n_tasks, 2);
    assert_int_equal(store_job(s, &key)->n_terminal, 1);
    assert_int_equal(store_status_count(s, API_SCHEDULE_STATUS_KILLED), 1);

    assert_int_equal(try_json(s, "{\"removeTasks\":{\"taskIds\":[\"a0\",\"a1\",\"nobody\"]}}"), 0);
    assert_null(store_job(s, &key));
    expect_query(s, "{\"role\":\"ra\"}", "a2");
    expect_query(s, "{\"slaveHosts\":[\"h2\"]}", "");
    assert_int_equal(store_task_count(s), 3);
    store_free(s);
}

static void equal_configs_are_one(void **state)
{
    (void)state;
    struct store *s = filled();
    assert_ptr_equal(store_task(s, STR("a0"))->config, store_task(s, STR("a1"))->config);
    assert_ptr_not_equal(store_task(s, STR("a0"))->config, store_task(s, STR("a2"))->config);
    /* An explicit default is the same config; a different value is not. */
    assert_int_equal(try_json(s,
                              "{\"saveTasks\":{\"tasks\":[{\"status\":\"PENDING\",\"assignedTask\":{\"taskId\":\"c\","
                              "\"task\":{\"isService\":true,\"priority\":0,\"constraints\":[],\"job\":{\"role\":\"ra\","
                              "\"environment\":\"prod\",\"name\":\"j1\"}}}}]}}"),
                     0);
    assert_ptr_equal(store_task(s, STR("c"))->config, store_task(s, STR("a1"))->config);
    struct config *c = store_intern_config(s, store_task(s, STR("c"))->config->api);
    assert_ptr_equal(c, store_task(s, STR("a0"))->config);
    config_unref(c);
    store_free(s);
}

static void versions_outlive_their_place(void **state)
{
    (void)state;
    struct store *s = filled();
    const struct task *pinned[] = { task_ref(store_task(s, STR("a0"))), task_ref(store_task(s, STR("a1"))) };
    save(s, "a0", "ra", "j1", 0, "LOST", "h1");
    assert_int_equal(try_json(s, "{\"removeTasks\":{\"taskIds\":[\"a1\"]}}"), 0);
    assert_int_equal(pinned[0]->status, API_SCHEDULE_STATUS_RUNNING);
    assert_true(str_eq(pinned[1]->slave_host, STR("h2")));
    for (int i = 0; i < 2; i++) task_unref(pinned[i]);
    store_free(s);
}

static const char *const good_ops[] = {
    "{\"saveFrameworkId\":{\"id\":\"f1\"}}",
    "{\"saveCronJob\":{\"jobConfig\":{\"key\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"c\"},"
    "\"instanceCount\":2}}}",
    "{\"saveCronJob\":{\"jobConfig\":{\"key\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"d\"}}}}",
    "{\"removeJob\":{\"jobKey\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"d\"}}}",
    "{\"saveQuota\":{\"role\":\"r\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2},{\"diskMb\":3}]}}}",
    "{\"saveQuota\":{\"role\":\"q\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2},{\"diskMb\":3}]}}}",
    "{\"removeQuota\":{\"role\":\"q\"}}",
    "{\"saveHostAttributes\":{\"hostAttributes\":{\"host\":\"h1\",\"slaveId\":\"S1\",\"mode\":\"NONE\",\"attributes\":["
    "{"
    "\"name\":\"rack\",\"values\":[\"a\"]}]}}}",
    "{\"saveHostAttributes\":{\"hostAttributes\":{\"host\":\"old\",\"mode\":\"NONE\"}}}",
    "{\"saveJobUpdate\":{\"jobUpdate\":{\"summary\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\","
    "\"name\":"
    "\"u\"},\"id\":\"1\"},\"user\":\"me\"},\"instructions\":{\"settings\":{\"updateGroupSize\":3},\"desiredState\":{"
    "\"task\":"
    "{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"u\"}},\"instances\":[{\"first\":0,\"last\":1}]}}}}}",
    "{\"saveJobUpdateEvent\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"u\"},\"id\":\"1\"},"
    "\"event\":{\"status\":\"ROLL_FORWARD_PAUSED\",\"timestampMs\":20}}}",
    "{\"saveJobUpdateEvent\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"u\"},\"id\":\"1\"},"
    "\"event\":{\"status\":\"ROLLING_FORWARD\",\"timestampMs\":10}}}",
    "{\"saveJobInstanceUpdateEvent\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"u\"},\"id\":"
    "\"1\"},"
    "\"event\":{\"instanceId\":1,\"action\":\"INSTANCE_UPDATING\",\"timestampMs\":30}}}",
    "{\"saveHostMaintenanceRequest\":{\"hostMaintenanceRequest\":{\"host\":\"h1\",\"timeoutSecs\":5}}}",
    "{\"saveHostMaintenanceRequest\":{\"hostMaintenanceRequest\":{\"host\":\"h2\",\"timeoutSecs\":5}}}",
    "{\"removeHostMaintenanceRequest\":{\"host\":\"h2\"}}",
    "{\"saveLock\":{\"lock\":{\"token\":\"x\"}}}",
    "{\"removeLock\":{\"lockKey\":{\"job\":{\"role\":\"r\"}}}}",
    "{\"pruneJobUpdateHistory\":{\"perJobRetainCount\":1}}",
};

static const char *const bad_ops[] = {
    "{\"saveFrameworkId\":{}}",
    "{\"saveTasks\":{\"tasks\":[{}]}}",
    "{\"saveTasks\":{\"tasks\":[{\"status\":\"PENDING\",\"assignedTask\":{\"taskId\":\"x\",\"task\":{}}}]}}",
    "{\"saveTasks\":{\"tasks\":[{\"status\":\"PENDING\",\"assignedTask\":{\"task\":{\"job\":{\"role\":\"a\","
    "\"environment\":"
    "\"b\",\"name\":\"c\"}}}}]}}",
    "{\"saveCronJob\":{\"jobConfig\":{\"key\":{\"role\":\"no good\",\"environment\":\"prod\",\"name\":\"c\"}}}}",
    "{\"saveQuota\":{\"role\":\"r\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2}]}}}",
    "{\"saveQuota\":{\"role\":\"r\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2},{\"ramMb\":3}]}}}",
    "{\"saveHostAttributes\":{\"hostAttributes\":{\"host\":\"h\",\"slaveId\":\"S\"}}}",
    "{\"saveHostAttributes\":{\"hostAttributes\":{\"host\":\"h\",\"slaveId\":\"S\",\"mode\":\"NONE\",\"attributes\":[{"
    "\"name\":\"rack\",\"values\":[]}]}}}",
    "{\"saveJobUpdate\":{\"jobUpdate\":{\"summary\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\","
    "\"name\":"
    "\"w\"},\"id\":\"1\"}},\"instructions\":{\"settings\":{}}}}}",
    "{\"saveJobUpdate\":{\"jobUpdate\":{\"summary\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\","
    "\"name\":"
    "\"w\"},\"id\":\"1\"}},\"instructions\":{\"settings\":{},\"desiredState\":{\"task\":{},\"instances\":[]}}}}}",
    "{\"saveJobUpdateEvent\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"none\"},\"id\":"
    "\"1\"},"
    "\"event\":{\"status\":\"ROLLING_FORWARD\",\"timestampMs\":10}}}",
    "{\"saveJobInstanceUpdateEvent\":{\"key\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"none\"},"
    "\"id\":"
    "\"1\"},\"event\":{\"instanceId\":1}}}",
};

static void every_op_is_kept_or_refused_whole(void **state)
{
    (void)state;
    struct store *s = filled();
    for (size_t i = 0; i < sizeof good_ops / sizeof *good_ops; i++)
        if (try_json(s, good_ops[i])) fail_msg("refused: %s", good_ops[i]);
    uint64_t before = store_hash(s);
    assert_int_equal(store_apply(s, &(struct api_op){ 0 }), ERR_INVALID); /* of a kind that we do not know */
    for (size_t i = 0; i < sizeof bad_ops / sizeof *bad_ops; i++) {
        if (try_json(s, bad_ops[i]) != ERR_INVALID) fail_msg("accepted: %s", bad_ops[i]);
        if (store_hash(s) != before) fail_msg("changed something: %s", bad_ops[i]);
    }
    /* One bad task among good ones: none of them is stored. */
    char op[8192];
    snprintf(op, sizeof op, "{\"saveTasks\":{\"tasks\":[%s,{}]}}", task_json("n", "ra", "j1", 9, "PENDING", NULL));
    assert_int_equal(try_json(s, op), ERR_INVALID);
    assert_int_equal(store_hash(s), before);

    assert_true(str_eq(store_framework_id(s), STR("f1")));
    assert_null(store_host(s, STR("old"))); /* without an agent id */
    assert_non_null(store_host(s, STR("h1")));
    const struct api_job_key c = { STR("r"), STR("prod"), STR("c") }, d = { STR("r"), STR("prod"), STR("d") },
                             u = { STR("r"), STR("prod"), STR("u") };
    assert_int_equal(store_cron_job(s, &c)->instance_count, 2);
    assert_null(store_cron_job(s, &d));
    assert_true(store_job_updating(s, &u));
    assert_false(store_job_updating(s, &c));
    store_free(s);
}

/* As the log does it: the rest, then the tasks, through bytes. */
static struct store *through_snapshot(struct store *s)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    struct image *image = image_take(s, 1);
    struct api_snapshot snap = image->rest;
    snap.n_tasks = image->n;
    snap.tasks = ARENA_ARRAY(&a, struct api_scheduled_task, snap.n_tasks);
    for (uint32_t i = 0; i < snap.n_tasks; i++) task_to_api(image->tasks[i], &snap.tasks[i], &a);
    assert_int_equal(tbinary_write(&b, &api_snapshot_desc, &snap), 0);
    image_unref(image);

    struct store *copy = store_new();
    struct api_snapshot *back = ARENA_NEW(&a, struct api_snapshot);
    assert_int_equal(tbinary_read(b.data, b.len, &api_snapshot_desc, back, &a, NULL), 0);
    assert_int_equal(
        try_json(copy, "{\"saveQuota\":{\"role\":\"gone\",\"quota\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":2},"
                       "{\"diskMb\":3}]}}}"),
        0);
    assert_int_equal(store_apply_snapshot(copy, back), 0);
    arena_release(&a);
    buf_release(&b);
    return copy;
}

static void snapshot_gives_the_same_state(void **state)
{
    (void)state;
    struct store *s = filled();
    for (size_t i = 0; i < sizeof good_ops / sizeof *good_ops; i++) assert_int_equal(try_json(s, good_ops[i]), 0);
    struct store *copy = through_snapshot(s);
    assert_int_equal(store_hash(copy), store_hash(s));
    expect_query(copy, "{\"slaveHosts\":[\"h1\"]}", "a0 b0");
    assert_ptr_equal(store_task(copy, STR("a0"))->config, store_task(copy, STR("a1"))->config);

    uint64_t with = store_hash(copy);
    store_reset(copy);
    assert_int_not_equal(store_hash(copy), with);
    assert_true(str_eq(store_framework_id(copy), STR("f1"))); /* survives */
    assert_int_equal(store_task_count(copy), 0);
    store_free(copy);
    store_free(s);
}

static void update_state_is_derived_and_sorted(void **state)
{
    (void)state;
    struct store *s = store_new();
    for (size_t i = 0; i < sizeof good_ops / sizeof *good_ops; i++) assert_int_equal(try_json(s, good_ops[i]), 0);
    struct arena a = { 0 };
    struct api_snapshot snap;
    store_snapshot_rest(s, &snap, &a);
    assert_int_equal(snap.n_job_update_details, 1);
    const struct api_job_update_details *d = snap.job_update_details[0].details;
    assert_int_equal(d->update_events[0].timestamp_ms, 10); /* came last */
    assert_int_equal(d->update->summary->state->status, API_JOB_UPDATE_STATUS_ROLL_FORWARD_PAUSED);
    assert_int_equal(d->update->summary->state->created_timestamp_ms, 10);
    assert_int_equal(d->update->summary->state->last_modified_timestamp_ms, 30);
    assert_int_equal(d->update->instructions->settings->update_strategy->queue_strategy->group_size, 3);
    arena_release(&a);
    /* Saved again, it starts over. */
    assert_int_equal(try_json(s, good_ops[9]), 0);
    store_snapshot_rest(s, &snap, &a);
    assert_int_equal(snap.job_update_details[0].details->n_update_events, 0);
    arena_release(&a);
    assert_int_equal(
        try_json(s, "{\"removeJobUpdate\":{\"keys\":[{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":"
                    "\"u\"},\"id\":\"1\"}]}}"),
        0);
    store_snapshot_rest(s, &snap, &a);
    assert_int_equal(snap.n_job_update_details, 0);
    arena_release(&a);
    store_free(s);
}

static bool collect_role(struct str role, uint32_t n_jobs, void *arg)
{
    buf_addf(arg, "%.*s=%u ", STR_ARG(role), n_jobs);
    return true;
}

static bool collect_job(const struct job *j, void *arg)
{
    buf_addf(arg, "%.*s:%u ", STR_ARG(j->text), j->n_tasks);
    return true;
}

static void jobs_and_roles_exist_while_tasks_do(void **state)
{
    (void)state;
    struct store *s = filled();
    struct buf b = { 0 };
    store_each_role(s, collect_role, &b);
    assert_string_equal(buf_cstr(&b), "ra=2 rb=1 ");
    buf_reset(&b);
    store_each_job(s, (struct str){ 0 }, collect_job, &b);
    assert_string_equal(buf_cstr(&b), "ra/prod/j1:2 ra/prod/j2:1 rb/prod/j1:2 ");
    buf_reset(&b);
    assert_int_equal(try_json(s, "{\"removeTasks\":{\"taskIds\":[\"b0\",\"b1\"]}}"), 0);
    store_each_job(s, STR("rb"), collect_job, &b);
    store_each_role(s, collect_role, &b);
    assert_string_equal(buf_cstr(&b), "ra=2 ");
    buf_release(&b);
    store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_use_every_field),
        cmocka_unit_test(indexes_follow_changes),
        cmocka_unit_test(equal_configs_are_one),
        cmocka_unit_test(versions_outlive_their_place),
        cmocka_unit_test(every_op_is_kept_or_refused_whole),
        cmocka_unit_test(snapshot_gives_the_same_state),
        cmocka_unit_test(update_state_is_derived_and_sorted),
        cmocka_unit_test(jobs_and_roles_exist_while_tasks_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
