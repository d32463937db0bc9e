/* Large jobs are created in slices: the loop is free in between, and to everybody else it is one job. */
#include "core/limits.h"
#include "test/lib/sched_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct api_job_key the_key = { .role = { "role", 4 }, .environment = { "prod", 4 }, .name = { "big", 3 } };

/* Begins to create it; what the first step answers. */
static const struct api_response *begin(struct rig *r, int instances)
{
    static struct api_resource res[] = { { .has_num_cpus = true, .num_cpus = 1 },
                                         { .has_ram_mb = true, .ram_mb = 1 },
                                         { .has_disk_mb = true, .disk_mb = 1 } };
    static struct api_executor_config executor = { .name = { "AuroraExecutor", 14 }, .data = { "{}", 2 } };
    static struct api_identity owner = { .user = { "user", 4 } };
    static struct api_task_config task;
    static struct api_job_configuration job;
    task = (struct api_task_config){ .job = &the_key,
                                     .owner = &owner,
                                     .has_resources = true,
                                     .n_resources = 3,
                                     .resources = res,
                                     .executor_config = &executor };
    job = (struct api_job_configuration){
        .key = &the_key, .owner = &owner, .has_instance_count = true, .instance_count = instances, .task_config = &task
    };
    return rig_call(r, "createJob", &(struct api_create_job_args){ .description = &job });
}

static void a_slice_is_created_at_once(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, NULL);
    const struct api_response *resp = begin(&r, LIMIT_STEP_CREATED_TASKS);
    assert_non_null(resp);
    assert_string_equal(rig_answer(&r, resp), "OK");
    assert_false(sched_busy(r.s));
    assert_int_equal(store_task_count(sched_store(r.s)), LIMIT_STEP_CREATED_TASKS);
    rig_release(&r);
}

static void more_takes_further_steps(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, NULL);
    assert_null(begin(&r, 2 * LIMIT_STEP_CREATED_TASKS + 1));
    assert_true(sched_busy(r.s));
    assert_true(sched_timeout(r.s) <= r.now_ms);
    assert_int_equal(store_task_count(sched_store(r.s)), LIMIT_STEP_CREATED_TASKS);
    rig_step(&r, &(struct sched_event){ .type = EV_TIMER });
    assert_null(r.reply);
    assert_true(sched_busy(r.s));
    rig_step(&r, &(struct sched_event){ .type = EV_TIMER });
    assert_false(sched_busy(r.s));
    assert_non_null(r.reply);
    assert_string_equal(rig_answer(&r, r.reply), "OK");
    assert_int_equal(store_task_count(sched_store(r.s)), 2 * LIMIT_STEP_CREATED_TASKS + 1);
    rig_release(&r);
}

static void nobody_touches_a_job_in_the_making(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, NULL);
    assert_null(begin(&r, LIMIT_STEP_CREATED_TASKS + 1));
    const struct api_response *kill = rig_call(&r, "killTasks", &(struct api_kill_tasks_args){ .job = &the_key });
    assert_string_equal(rig_answer(&r, kill), "ERROR_TRANSIENT: Job role/prod/big is being created");
    const struct api_response *again = begin(&r, 1);
    assert_string_equal(rig_answer(&r, again), "ERROR_TRANSIENT: Job role/prod/big is being created");
    /* Others go on. */
    const struct api_response *tiers = rig_call(&r, "getTierConfigs", &(struct api_get_tier_configs_args){ 0 });
    assert_string_equal(rig_answer(&r, tiers), "OK");
    assert_string_equal(rig_answer(&r, rig_finish(&r)), "OK");
    kill = rig_call(&r, "killTasks", &(struct api_kill_tasks_args){ .job = &the_key });
    assert_string_equal(rig_answer(&r, kill), "OK");
    assert_int_equal(store_task_count(sched_store(r.s)), 0);
    rig_release(&r);
}

static void an_unfinished_one_is_freed(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, NULL);
    assert_null(begin(&r, LIMIT_STEP_CREATED_TASKS + 1));
    rig_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_is_created_at_once),
        cmocka_unit_test(more_takes_further_steps),
        cmocka_unit_test(nobody_touches_a_job_in_the_making),
        cmocka_unit_test(an_unfinished_one_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
