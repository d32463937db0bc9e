/* The RPC methods: codes, messages, results. */
#include "test/lib/sched_rig.h"

#include "core/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define JOB "{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j\"}"

static const char *answer(struct rig *r, const char *method, const char *json)
{
    return rig_answer(r, rig_call_json(r, method, json));
}

static const char *result_json(struct rig *r, const struct api_response *resp)
{
    struct buf b = { 0 };
    assert_non_null(resp->result);
    assert_int_equal(json_write(&b, &api_result_desc, resp->result, JSON_PLAIN), 0);
    const char *text = arena_str(&r->replies, (struct str){ buf_cstr(&b), (uint32_t)b.len }).p;
    buf_release(&b);
    return text;
}

/* A service of n instances on one agent, all RUNNING. */
static void running(struct rig *r, int n)
{
    assert_string_equal(rig_create(r, "j", n, ",\"isService\":true"), "OK");
    rig_offer(r, "a", 100, 100000, 100000, NULL);
    rig_run(r, 1000);
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        rig_status(r, name, RIG_RUNNING);
    }
    rig_clear(r);
}

static void create_job(void **state)
{
    struct rig *r = *state;
    assert_string_equal(answer(r, "createJob", "{}"), "ERROR: ");
    assert_null(r->reply->details[0].message.p);
    assert_string_equal(answer(r, "createJob", "{\"description\":{}}"),
                        "INVALID_REQUEST: Job configuration must have taskConfig set.");
    assert_string_equal(rig_create(r, "j", 2, ""), "OK");
    assert_int_equal(r->reply->n_details, 0);
    assert_true(str_eq(r->reply->server_info->cluster_name, STR("test")));
    assert_true(str_eq(r->reply->server_info->stats_url_prefix, STR("")));
    assert_null(r->reply->result);
    assert_string_equal(rig_create(r, "j", 2, ""), "INVALID_REQUEST: Job role/prod/j already exists");
    assert_string_equal(rig_tasks(r), "t0 PENDING; t1 PENDING");
    const struct task *t = rig_task(r, "t1");
    assert_int_equal(t->instance_id, 1);
    assert_memory_equal(t->id.p, "role-prod-j-1-", 14);
    assert_int_equal(t->id.n, 14 + 36);
    assert_int_equal(t->id.p[14 + 14], '4');
    assert_true(str_eq(t->events[0].scheduler, STR("scheduler.example")));
    assert_null(t->events[0].message.p);
}

static void create_job_limits(void **state)
{
    struct rig *r = *state;
    assert_string_equal(rig_create(r, "big", 4001, ""),
                        "INVALID_REQUEST: Instance count must be between 1 and 4000 inclusive.");
    assert_string_equal(rig_create(r, "big", 4000, ""), "OK");
    assert_int_equal(store_task_count(sched_store(r->s)), 4000);
}

static void create_job_refuses_cron_and_half_unions(void **state)
{
    struct rig *r = *state;
    assert_string_equal(
        answer(r, "createJob",
               "{\"description\":{\"key\":" JOB ",\"instanceCount\":1,\"cronSchedule\":\"\",\"taskConfig\":{"
               "\"job\":" JOB ",\"executorConfig\":{\"name\":\"shell\"},\"resources\":[{\"numCpus\":1},{"
               "\"ramMb\":1},{\"diskMb\":1}]}}}"),
        "INVALID_REQUEST: Cron jobs may only be created/updated by calling scheduleCronJob.");
    /* A union of a kind that a newer client knows arrives empty. */
    struct api_resource res[4] = { { .has_num_cpus = true, .num_cpus = 1 },
                                   { .has_ram_mb = true, .ram_mb = 1 },
                                   { .has_disk_mb = true, .disk_mb = 1 } };
    struct api_job_key key = { STR("role"), STR("prod"), STR("j") };
    struct api_executor_config ex = { .name = STR("shell") };
    struct api_task_config task = { .job = &key, .executor_config = &ex, .n_resources = 4, .resources = res };
    struct api_job_configuration job = { .key = &key, .instance_count = 1, .task_config = &task };
    struct api_create_job_args args = { &job };
    assert_string_equal(rig_answer(r, rig_call(r, "createJob", &args)),
                        "INVALID_REQUEST: The task configuration holds a union without a value.");
    assert_int_equal(store_task_count(sched_store(r->s)), 0);
}

static void instances_collide(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 2, "");
    assert_string_equal(
        answer(r, "createJob",
               "{\"description\":{\"key\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"other\"},"
               "\"instanceCount\":1,\"taskConfig\":{\"job\":" JOB ",\"executorConfig\":{\"name\":\"shell\"},"
               "\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1}]}}}"),
        "ERROR: Instance ID collision detected.");
}

static void updating_jobs_are_left_alone(void **state)
{
    (void)state;
    struct rig r;
    rig_init_follower(&r, NULL);
    struct api_job_key key = { STR("role"), STR("prod"), STR("j") };
    struct api_job_update_key ukey = { &key, STR("1") };
    struct api_range range = { .first = 0, .last = 0 };
    struct api_task_config task = { .job = &key };
    struct api_instance_task_config desired = { .task = &task, .n_instances = 1, .instances = &range };
    struct api_job_update_settings settings = { 0 };
    struct api_job_update_instructions in = { .desired_state = &desired, .settings = &settings };
    struct api_job_update_summary summary = { .key = &ukey };
    struct api_job_update update = { &summary, &in };
    struct api_save_job_update save = { .job_update = &update };
    struct api_job_update_event event = { .has_status = true, .status = API_JOB_UPDATE_STATUS_ROLL_FORWARD_PAUSED };
    struct api_save_job_update_event save_event = { .event = &event, .key = &ukey };
    const struct api_op ops[] = { { .save_job_update = &save }, { .save_job_update_event = &save_event } };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sched_apply(r.s, &ops[i]), 0);
        assert_int_equal(store_apply(r.mirror, &ops[i]), 0);
    }
    rig_lead(&r);
    assert_string_equal(rig_create(&r, "j", 1, ""), "JOB_UPDATING_ERROR: Job is currently updating");
    assert_string_equal(answer(&r, "killTasks", "{\"job\":" JOB "}"), "JOB_UPDATING_ERROR: Job is currently updating");
    assert_string_equal(answer(&r, "restartShards", "{\"job\":" JOB ",\"shardIds\":[0]}"),
                        "JOB_UPDATING_ERROR: Job is currently updating");
    rig_release(&r);
}

static void kill_tasks(void **state)
{
    struct rig *r = *state;
    running(r, 3);
    assert_string_equal(answer(r, "killTasks", "{}"), "ERROR: ");
    assert_string_equal(answer(r, "killTasks", "{\"job\":{\"role\":\"x y\"}}"), "ERROR: ");
    assert_string_equal(answer(r, "killTasks", "{\"job\":" JOB ",\"instances\":[7]}"), "OK: No tasks to kill.");
    assert_string_equal(answer(r, "killTasks", "{\"job\":" JOB ",\"instances\":[1],\"message\":\"why\"}"), "OK");
    rig_expect(r, "kill t1\n");
    const struct task *t = rig_task(r, "t1");
    assert_true(str_eq(t->events[t->n_events - 1].message, STR("Killed by UNSECURE.\nwhy")));
    assert_string_equal(answer(r, "killTasks", "{\"job\":" JOB ",\"instances\":[1]}"), "OK: No tasks to kill.");
    assert_string_equal(answer(r, "killTasks", "{\"job\":" JOB ",\"instances\":[]}"), "OK");
    rig_expect(r, "kill t0\nkill t2\n");
    t = rig_task(r, "t0");
    assert_true(str_eq(t->events[t->n_events - 1].message, STR("Killed by UNSECURE")));
}

static void killing_a_pending_task_deletes_it(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 3, "");
    assert_string_equal(answer(r, "killTasks", "{\"job\":" JOB ",\"instances\":[0,1]}"), "OK");
    assert_string_equal(rig_tasks(r), "t2 PENDING");
    assert_int_equal(r->update.n_ops, 1); /* one removal of both */
    assert_int_equal(r->update.ops[0].remove_tasks->n_task_ids, 2);
    rig_expect(r, "");
    rig_offer(r, "a", 10, 1000, 1000, NULL);
    rig_run(r, 1000);
    rig_expect(r, "launch a: t2\n");
}

static void restart_shards(void **state)
{
    struct rig *r = *state;
    running(r, 2);
    assert_string_equal(answer(r, "restartShards", "{\"job\":" JOB "}"), "ERROR: Argument cannot be blank");
    assert_string_equal(answer(r, "restartShards", "{\"shardIds\":[0]}"), "ERROR: ");
    assert_string_equal(answer(r, "restartShards", "{\"job\":" JOB ",\"shardIds\":[0,2]}"),
                        "INVALID_REQUEST: Not all requested shards are active.");
    rig_expect(r, "");
    assert_string_equal(answer(r, "restartShards", "{\"job\":" JOB ",\"shardIds\":[0]}"), "OK");
    rig_expect(r, "kill t0\n");
    const struct task *t = rig_task(r, "t0");
    assert_true(str_eq(t->events[t->n_events - 1].message, STR("Restarted by UNSECURE")));
    rig_status(r, "t0", RIG_KILLED);
    assert_string_equal(rig_tasks(r), "t0 KILLED; t1 RUNNING; t2 PENDING");
}

static void task_queries(void **state)
{
    struct rig *r = *state;
    running(r, 5);
    assert_string_equal(answer(r, "getTasksStatus", "{}"), "ERROR: ");
    const struct api_response *resp = rig_call_json(r, "getTasksStatus", "{\"query\":{\"role\":\"role\"}}");
    assert_int_equal(resp->result->schedule_status_result->n_tasks, 5);
    assert_true(
        str_eq(resp->result->schedule_status_result->tasks[0].assigned_task->task->executor_config->data, STR("true")));
    resp = rig_call_json(r, "getTasksStatus", "{\"query\":{\"offset\":3,\"limit\":10}}");
    assert_int_equal(resp->result->schedule_status_result->n_tasks, 2);
    resp = rig_call_json(r, "getTasksStatus", "{\"query\":{\"offset\":-1,\"limit\":1}}");
    assert_int_equal(resp->result->schedule_status_result->n_tasks, 1);
    resp = rig_call_json(r, "getTasksStatus", "{\"query\":{\"offset\":99}}");
    assert_int_equal(resp->result->schedule_status_result->n_tasks, 0);
    resp = rig_call_json(r, "getTasksWithoutConfigs", "{\"query\":{}}");
    const struct api_task_config *c = resp->result->schedule_status_result->tasks[4].assigned_task->task;
    assert_true(str_eq(c->executor_config->name, STR("shell")));
    assert_null(c->executor_config->data.p);
    assert_non_null(rig_task(r, "t0")->config->api->executor_config->data.p);
}

static void pending_reasons(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 1, "");
    rig_run(r, 100);
    const struct api_response *resp = rig_call_json(r, "getPendingReason", "{\"query\":{}}");
    assert_true(str_eq(resp->result->get_pending_reason_result->reasons[0].reason, STR("")));
    rig_offer(r, "a", 1, 64, 64, NULL);
    rig_offer(r, "b", 0, 64, 32, NULL); /* without cpus it isn't even looked at */
    rig_run(r, 2000);
    resp = rig_call_json(r, "getPendingReason", "{\"query\":{\"jobName\":\"j\"}}");
    assert_int_equal(resp->result->get_pending_reason_result->n_reasons, 1);
    assert_true(str_eq(resp->result->get_pending_reason_result->reasons[0].reason, STR("Insufficient: RAM")));
    assert_string_equal(answer(r, "getPendingReason", "{\"query\":{\"slaveHosts\":[\"x\"]}}"),
                        "INVALID_REQUEST: SlaveHosts are not supported in {\"slaveHosts\":[\"x\"]}");
    assert_string_equal(answer(r, "getPendingReason", "{\"query\":{\"statuses\":[\"RUNNING\"]}}"),
                        "INVALID_REQUEST: Statuses is not supported in {\"statuses\":[\"RUNNING\"]}");
}

static void summaries(void **state)
{
    struct rig *r = *state;
    running(r, 3);
    rig_status(r, "t2", RIG_FAILED); /* t3 takes its place */
    assert_string_equal(
        result_json(r, rig_call_json(r, "getRoleSummary", "{}")),
        "{\"roleSummaryResult\":{\"summaries\":[{\"role\":\"role\",\"jobCount\":1,\"cronJobCount\":0}]}}");
    const struct api_response *resp = rig_call_json(r, "getJobSummary", "{\"role\":\"role\"}");
    const struct api_job_summary *s = resp->result->job_summary_result->summaries;
    assert_int_equal(resp->result->job_summary_result->n_summaries, 1);
    assert_int_equal(s->job->instance_count, 4);
    assert_int_equal(s->stats->active_task_count, 2);
    assert_int_equal(s->stats->failed_task_count, 1);
    assert_int_equal(s->stats->pending_task_count, 1);
    assert_false(s->has_next_cron_run_ms);
    resp = rig_call_json(r, "getJobs", "{\"ownerRole\":\"role\"}");
    assert_int_equal(resp->result->get_jobs_result->configs[0].instance_count, 3);
    assert_int_equal(rig_call_json(r, "getJobs", "{\"ownerRole\":\"nobody\"}")->result->get_jobs_result->n_configs, 0);
    assert_int_equal(rig_call_json(r, "getJobs", "{}")->result->get_jobs_result->n_configs, 1);
    assert_int_equal(rig_call_json(r, "getJobSummary", "{\"role\":\" \"}")->result->job_summary_result->n_summaries, 1);
}

static void cron_templates_show_in_summaries(void **state)
{
    (void)state;
    struct rig r;
    rig_init_follower(&r, NULL);
    struct api_job_key key = { STR("cronrole"), STR("prod"), STR("c") };
    struct api_task_config task = { .job = &key };
    struct api_job_configuration job = {
        .key = &key, .task_config = &task, .has_instance_count = true, .instance_count = 9
    };
    struct api_save_cron_job save = { &job };
    assert_int_equal(sched_apply(r.s, &(struct api_op){ .save_cron_job = &save }), 0);
    assert_int_equal(store_apply(r.mirror, &(struct api_op){ .save_cron_job = &save }), 0);
    rig_lead(&r);
    rig_create(&r, "j", 1, "");
    assert_int_equal(rig_call_json(&r, "getJobs", "{}")->result->get_jobs_result->n_configs, 2);
    const struct api_response *resp = rig_call_json(&r, "getJobSummary", "{\"role\":\"cronrole\"}");
    assert_int_equal(resp->result->job_summary_result->n_summaries, 1);
    assert_int_equal(resp->result->job_summary_result->summaries[0].job->instance_count, 9);
    resp = rig_call_json(&r, "getRoleSummary", "{}");
    assert_int_equal(resp->result->role_summary_result->n_summaries, 2);
    assert_int_equal(rig_call_json(&r, "getJobs", "{\"ownerRole\":\"\"}")->result->get_jobs_result->n_configs, 1);
    rig_release(&r);
}

static void config_summary(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 6, "");
    answer(r, "killTasks", "{\"job\":" JOB ",\"instances\":[3]}");
    assert_string_equal(answer(r, "getConfigSummary", "{}"), "ERROR: ");
    const struct api_response *resp = rig_call_json(r, "getConfigSummary", "{\"job\":" JOB "}");
    const struct api_config_summary *s = resp->result->config_summary_result->summary;
    assert_true(str_eq(s->key->name, STR("j")));
    assert_int_equal(s->n_groups, 1);
    assert_int_equal(s->groups[0].n_instances, 2);
    assert_int_equal(s->groups[0].instances[0].first, 0);
    assert_int_equal(s->groups[0].instances[0].last, 2);
    assert_int_equal(s->groups[0].instances[1].first, 4);
    assert_int_equal(s->groups[0].instances[1].last, 5);
}

static void populate_and_tiers(void **state)
{
    (void)state;
    struct rig r;
    rig_init_follower(&r, NULL); /* these two touch no storage */
    assert_string_equal(answer(&r, "populateJobConfig", "{\"description\":{}}"),
                        "INVALID_REQUEST: Invalid configuration: Job configuration must have taskConfig set.");
    const struct api_response *resp = rig_call_json(
        &r, "populateJobConfig",
        "{\"description\":{\"key\":" JOB ",\"instanceCount\":1,\"taskConfig\":{\"job\":" JOB
        ",\"executorConfig\":{\"name\":\"shell\"},\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1}]}}}");
    assert_true(str_eq(resp->result->populate_job_result->task_config->tier, STR("preemptible")));
    assert_true(resp->result->populate_job_result->task_config->has_metadata);
    resp = rig_call_json(&r, "getTierConfigs", "{}");
    assert_true(str_eq(resp->result->get_tier_config_result->default_tier_name, STR("preemptible")));
    assert_int_equal(resp->result->get_tier_config_result->n_tiers, 3);
    assert_true(str_eq(resp->result->get_tier_config_result->tiers[0].settings[0], STR("true")));
    assert_string_equal(rig_create(&r, "j", 1, ""), "ERROR_TRANSIENT: Storage is not READY");
    assert_string_equal(rig_create(&r, "j", 0, ""), "INVALID_REQUEST: Instance count must be positive.");
    static const char *const others[] = { "getRoleSummary", "getJobSummary", "getJobs" };
    for (int i = 0; i < 3; i++)
        assert_string_equal(answer(&r, others[i], "{}"), "ERROR_TRANSIENT: Storage is not READY");
    rig_release(&r);
}

/* Every method of the IDL gets an answer; the table holds only methods of the IDL. */
static void methods_without_handler_say_so(void **state)
{
    struct rig *r = *state;
    unsigned served = 0, listed = 0;
    for (uint32_t i = 0; i < api_n_methods; i++) {
        const char *name = api_methods[i].name;
        const char *text = answer(r, name, "{}");
        bool refused = strstr(text, "is not implemented by this scheduler") != NULL;
        assert_int_equal(refused, !sched_serves(str_c(name)));
        if (refused) assert_non_null(strstr(text, name));
        served += !refused;
    }
    for (const struct command_entry *e = command_table; e->method; e++, listed++) rig_method(e->method);
    assert_int_equal(served, listed);
    assert_string_equal(answer(r, "getQuota", "{}"), "ERROR: Method getQuota is not implemented by this scheduler.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(create_job),
        RIG_TEST(create_job_limits),
        RIG_TEST(create_job_refuses_cron_and_half_unions),
        RIG_TEST(instances_collide),
        cmocka_unit_test(updating_jobs_are_left_alone),
        RIG_TEST(kill_tasks),
        RIG_TEST(killing_a_pending_task_deletes_it),
        RIG_TEST(restart_shards),
        RIG_TEST(task_queries),
        RIG_TEST(pending_reasons),
        RIG_TEST(summaries),
        cmocka_unit_test(cron_templates_show_in_summaries),
        RIG_TEST(config_summary),
        cmocka_unit_test(populate_and_tiers),
        RIG_TEST(methods_without_handler_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
