/* The life of tasks in time: each test reads as events and what they lead to. Offers and placing: core_placing.c. */
#include "test/lib/sched_rig.h"

#include "core/logline.h"
#include "core/task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

#define SERVICE ",\"isService\":true"
#define KILL_JOB "{\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j\"}}"

static void expect_tasks(struct rig *r, const char *text)
{
    assert_string_equal(rig_tasks(r), text);
}

static void expect_message(struct rig *r, const char *task, const char *message)
{
    const struct task_event *e = task_last_event(rig_task(r, task));
    if (!message)
        assert_null(e->message.p);
    else
        assert_string_equal(e->message.p, message);
}

/* createJob of n instances, all placed on agent a. */
static void placed(struct rig *r, int n, const char *more)
{
    assert_string_equal(rig_create(r, "j", n, more), "OK");
    rig_offer(r, "a", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_clear(r);
}

/* ---------------- the way of a task ---------------- */

static void job_runs_and_is_killed(void **state)
{
    struct rig *r = *state;
    assert_string_equal(rig_create(r, "j", 2, SERVICE), "OK");
    expect_tasks(r, "t0 PENDING; t1 PENDING");
    rig_expect(r, "");
    rig_offer(r, "a", 4, 1024, 1024, NULL);
    rig_run(r, SECOND);
    rig_expect(r, "launch a: t0 t1\n");
    expect_tasks(r, "t0 ASSIGNED; t1 ASSIGNED");
    rig_status(r, "t0", RIG_STARTING);
    rig_status(r, "t0", RIG_RUNNING);
    rig_expect(r, "ack t0\nack t0\n");
    assert_string_equal(rig_events(r, "t0"), "PENDING ASSIGNED STARTING RUNNING");
    rig_call_json(r, "killTasks", KILL_JOB);
    rig_expect(r, "kill t0\nkill t1\n");
    rig_status(r, "t0", RIG_KILLED);
    rig_status(r, "t1", RIG_KILLED);
    expect_tasks(r, "t0 KILLED; t1 KILLED");
}

static void failed_service_is_replaced(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_FAILED);
    expect_tasks(r, "t0 FAILED; t1 PENDING");
    const struct task *t = rig_task(r, "t1");
    assert_true(str_eq(t->ancestor_id, rig_id(r, "t0")));
    assert_int_equal(t->failure_count, 1);
    assert_int_equal(rig_task(r, "t0")->failure_count, 1);
    assert_int_equal(t->instance_id, 0);
    expect_message(r, "t1", "Rescheduled");
}

static void failures_of_a_batch_task_are_limited(void **state)
{
    struct rig *r = *state;
    placed(r, 1, ",\"maxTaskFailures\":2");
    rig_status(r, "t0", RIG_FAILED);
    expect_tasks(r, "t0 FAILED; t1 PENDING");
    rig_offer(r, "b", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_status(r, "t1", RIG_FAILED);
    expect_tasks(r, "t0 FAILED; t1 FAILED");
    assert_int_equal(rig_task(r, "t1")->failure_count, 2);
}

static void finished_batch_task_is_done(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_status(r, "t0", RIG_FINISHED);
    expect_tasks(r, "t0 FINISHED");
    assert_string_equal(rig_create(r, "j", 1, ""), "OK"); /* no active task: the name is free again */
}

static void lost_task_is_replaced_without_counting(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_status(r, "t0", RIG_LOST);
    rig_expect(r, "kill t0\nack t0\n"); /* from ASSIGNED it is killed too */
    expect_tasks(r, "t0 LOST; t1 PENDING");
    assert_int_equal(rig_task(r, "t1")->failure_count, 0);
}

/* ---------------- status updates ---------------- */

static void unknown_tasks_are_killed(void **state)
{
    struct rig *r = *state;
    rig_status(r, "stranger", RIG_RUNNING);
    rig_expect(r, "kill t0\nack t0\n");
    assert_true(str_eq(r->update.effects[0].kill.agent_id, STR("agent")));
    rig_status(r, "stranger", RIG_LOST);
    rig_status(r, "stranger", RIG_UNREACHABLE);
    rig_expect(r, "ack t0\nack t0\n");
    assert_int_equal(r->update.n_ops, 0);
    assert_int_equal(stat_get(stats_int(r->stats, "scheduler_illegal_task_state_transitions")), 3);
}

static void ended_tasks_that_live_are_killed(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_FINISHED);
    rig_clear(r);
    rig_status(r, "t0", RIG_RUNNING);
    rig_expect(r, "kill t0\nack t0\n");
    rig_status(r, "t0", RIG_FAILED); /* illegal, and acknowledged */
    rig_expect(r, "ack t0\n");
    expect_tasks(r, "t0 FINISHED");
}

static void repeated_updates_change_nothing(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_STARTING); /* out of order */
    rig_expect(r, "ack t0\nack t0\nack t0\n");
    assert_string_equal(rig_events(r, "t0"), "PENDING ASSIGNED RUNNING");
}

static void only_updates_with_uuid_are_acknowledged(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    struct status_update u = { .task_id = rig_id(r, "t0"), .state = RIG_RUNNING, .source = 0, .reason = -1 };
    u.timestamp_ms = -1;
    rig_status_of(r, &u);
    rig_expect(r, "");
    expect_tasks(r, "t0 RUNNING");
    u.state = 77; /* of a Mesos to come: ignored, but not sent for ever */
    u.has_uuid = true;
    rig_status_of(r, &u);
    rig_expect(r, "ack t0\n");
    expect_tasks(r, "t0 RUNNING");
}

/* Both kills leave before the first acknowledgement, whatever caused them first. */
static void effects_leave_in_their_order(void **state)
{
    struct rig *r = *state;
    struct status_update u[2] = { { .task_id = STR("x"), .state = RIG_RUNNING, .source = 2, .reason = -1 },
                                  { .task_id = STR("y"), .state = RIG_RUNNING, .source = 2, .reason = -1 } };
    u[0].has_uuid = u[1].has_uuid = true;
    u[0].timestamp_ms = u[1].timestamp_ms = -1;
    rig_step(r, &(struct sched_event){ .type = EV_STATUS, .status = { u, 2 } });
    rig_expect(r, "kill t0\nkill t1\nack t0\nack t1\n");
}

static void messages_of_updates(void **state)
{
    (void)state;
    static const struct {
        struct str reason;
        const char *message, *stored;
    } cases[] = {
        { { NULL, 0 }, "boom", "boom" },
        { { NULL, 0 }, NULL, NULL },
        { STR("REASON_CONTAINER_LIMITATION_MEMORY"), NULL, "Task used more memory than requested." },
        { STR("REASON_CONTAINER_LIMITATION_MEMORY"), "own words", "own words" },
        { STR("REASON_CONTAINER_LIMITATION_DISK"), NULL, "Task used more disk than requested." },
        { STR("REASON_EXECUTOR_UNREGISTERED"), "noise", NULL },
        { STR("REASON_COMMAND_EXECUTOR_FAILED"), "x", "x" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        rig_init(&r, NULL);
        placed(&r, 1, "");
        struct status_update u = { .task_id = rig_id(&r, "t0"),
                                   .state = RIG_FAILED,
                                   .source = 2,
                                   .reason = cases[i].reason.p ? 1 : -1,
                                   .reason_name = cases[i].reason,
                                   .message = str_c(cases[i].message),
                                   .timestamp_ms = r.now_ms - 5 };
        rig_status_of(&r, &u);
        expect_message(&r, "t0", cases[i].stored);
        if (cases[i].reason.p)
            assert_int_equal(stat_get(stats_intf(r.stats, "status_update_%s_SUCCESS", cases[i].reason.p)), 1);
        rig_release(&r);
    }
}

/* ---------------- partitions ---------------- */

static void partition_without_policy_is_lost_at_once(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_RUNNING);
    rig_clear(r);
    rig_status(r, "t0", RIG_UNREACHABLE);
    expect_tasks(r, "t0 PARTITIONED");
    rig_run(r, 0);
    expect_tasks(r, "t0 LOST; t1 PENDING");
    expect_message(r, "t0", "Task partitioned for too long.");
    rig_expect(r, "ack t0\nkill t0\n");
}

static void partition_policy_waits_or_stays(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE ",\"partitionPolicy\":{\"reschedule\":true,\"delaySecs\":60}");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_UNREACHABLE);
    rig_run(r, 50 * SECOND);
    rig_status(r, "t0", RIG_RUNNING);
    rig_run(r, 5 * SECOND);
    rig_status(r, "t0", RIG_UNREACHABLE);
    rig_run(r, 59 * SECOND); /* the first partition's timer is not meant */
    expect_tasks(r, "t0 PARTITIONED");
    assert_int_equal(rig_task(r, "t0")->times_partitioned, 2);
    assert_string_equal(rig_events(r, "t0"), "PENDING ASSIGNED RUNNING PARTITIONED"); /* one pair is kept */
    rig_run(r, SECOND);
    expect_tasks(r, "t0 LOST; t1 PENDING");
    rig_release(r);

    rig_init(r, NULL);
    placed(r, 1, SERVICE ",\"partitionPolicy\":{\"reschedule\":false}");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_UNREACHABLE);
    rig_run(r, 48 * (int64_t)HOUR);
    expect_tasks(r, "t0 PARTITIONED");
}

static void killing_a_partitioned_task_makes_it_lost(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE ",\"partitionPolicy\":{\"reschedule\":false}");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_UNREACHABLE);
    rig_clear(r);
    rig_call_json(r, "killTasks", KILL_JOB);
    rig_expect(r, ""); /* nobody there to kill it */
    expect_tasks(r, "t0 LOST");
    assert_string_equal(rig_events(r, "t0"), "PENDING ASSIGNED RUNNING PARTITIONED KILLING LOST");
    expect_message(r, "t0", "Action performed on partitioned task, marking as LOST.");
    assert_int_equal(r->update.n_ops, 1);
    assert_int_equal(r->update.ops[0].save_tasks->n_tasks, 1); /* both steps in one version */
    rig_status(r, "t0", RIG_RUNNING);                          /* it comes back: a zombie */
    rig_expect(r, "kill t0\nack t0\n");
}

static void partition_while_killing_is_the_end(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_call_json(r, "killTasks", KILL_JOB);
    rig_clear(r);
    rig_status(r, "t0", RIG_UNREACHABLE);
    expect_tasks(r, "t0 LOST"); /* no replacement: somebody wanted it dead */
    rig_expect(r, "kill t0\nack t0\n");
}

/* ---------------- time-outs ---------------- */

static void launch_without_answer_times_out(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_run(r, 5 * MINUTE - 2 * SECOND);
    expect_tasks(r, "t0 ASSIGNED");
    rig_run(r, 2 * SECOND);
    expect_tasks(r, "t0 LOST; t1 PENDING");
    expect_message(r, "t0", "Task timed out");
    assert_int_equal(stat_get(stats_int(r->stats, "timed_out_tasks")), 1);
}

static void starting_may_take_for_ever(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_status(r, "t0", RIG_STARTING);
    rig_run(r, 10 * (int64_t)HOUR);
    expect_tasks(r, "t0 STARTING");
}

static void kills_are_repeated_until_they_time_out(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_RUNNING);
    rig_clear(r);
    rig_call_json(r, "killTasks", KILL_JOB);
    rig_run(r, 14 * SECOND);
    rig_expect(r, "kill t0\n");
    rig_run(r, 16 * SECOND);
    rig_expect(r, "kill t0\n"); /* between 15 and 30 s */
    rig_run(r, 4 * MINUTE);
    assert_true(stat_get(stats_int(r->stats, "task_kill_retries")) >= 2);
    rig_run(r, 30 * SECOND);
    expect_tasks(r, "t0 LOST");
    rig_clear(r);
    rig_run(r, HOUR / 4);
    assert_null(strstr(buf_cstr(&r->trace), "kill"));
}

/* ---------------- flapping ---------------- */

static void quick_deaths_are_penalized_from_the_second_on(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_FAILED);
    expect_message(r, "t1", "Rescheduled");
    rig_offer(r, "b", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_status(r, "t1", RIG_FAILED);
    expect_tasks(r, "t0 FAILED; t1 FAILED; t2 THROTTLED");
    const char *m = task_last_event(rig_task(r, "t2"))->message.p;
    long ms;
    assert_int_equal(sscanf(m, "Rescheduled, penalized for %ld ms for flapping", &ms), 1);
    assert_true(ms >= 30 * SECOND && ms <= 60 * SECOND);
    rig_run(r, 30 * SECOND - 1);
    expect_tasks(r, "t0 FAILED; t1 FAILED; t2 THROTTLED");
    rig_run(r, 91 * SECOND); /* the delay is drawn anew, over two ancestors */
    expect_tasks(r, "t0 FAILED; t1 FAILED; t2 PENDING");
    expect_message(r, "t2", NULL);
}

static void slow_or_wanted_deaths_are_not_flapping(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_RUNNING);
    rig_run(r, 6 * MINUTE);
    rig_status(r, "t0", RIG_FAILED);
    rig_offer(r, "b", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_call_json(r, "restartShards",
                  "{\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j\"},\"shardIds\":[0]}");
    rig_status(r, "t1", RIG_KILLED);
    expect_tasks(r, "t0 FAILED; t1 KILLED; t2 PENDING");
    rig_offer(r, "c", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_status(r, "t2", RIG_FAILED);
    expect_tasks(r, "t0 FAILED; t1 KILLED; t2 FAILED; t3 PENDING");
}

static void throttled_tasks_can_be_killed(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_FAILED);
    rig_offer(r, "b", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_status(r, "t1", RIG_FAILED);
    rig_call_json(r, "killTasks", KILL_JOB);
    expect_tasks(r, "t0 FAILED; t1 FAILED");
    rig_run(r, 10 * MINUTE);
    expect_tasks(r, "t0 FAILED; t1 FAILED");
}

/* ---------------- reconciliation, pruning ---------------- */

static void reconciliation_runs(void **state)
{
    (void)state;
    struct sched_config c;
    rig_defaults(&c);
    c.reconciliation_explicit_batch_size = 2;
    struct rig r;
    rig_init(&r, &c);
    placed(&r, 3, SERVICE);
    for (int i = 0; i < 3; i++) rig_status(&r, i == 0 ? "t0" : i == 1 ? "t1" : "t2", RIG_RUNNING);
    rig_clear(&r);
    rig_run(&r, MINUTE);
    rig_expect(&r, "reconcile t0 t1\n");
    assert_true(str_eq(r.update.effects[0].reconcile.tasks[0].agent_id, STR("a")));
    rig_run(&r, 5 * SECOND);
    rig_expect(&r, "reconcile t2\n");
    rig_run(&r, 30 * MINUTE);
    rig_expect(&r, "reconcile all\n");
    rig_run(&r, 30 * MINUTE);
    rig_expect(&r, "reconcile t0 t1\nreconcile t2\n");
    assert_int_equal(stat_get(stats_int(r.stats, "reconciliation_explicit_runs")), 2);
    assert_int_equal(stat_get(stats_int(r.stats, "reconciliation_implicit_runs")), 1);
    rig_release(&r);
}

static void nothing_to_reconcile_is_not_everything(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 1, "");
    rig_run(r, 2 * MINUTE);
    rig_expect(r, ""); /* an empty list would be an implicit reconciliation */
}

static void history_is_forgotten_in_time(void **state)
{
    struct rig *r = *state;
    placed(r, 1, "");
    rig_status(r, "t0", RIG_FINISHED);
    rig_run(r, 48 * (int64_t)HOUR - SECOND);
    expect_tasks(r, "t0 FINISHED");
    rig_run(r, 2 * SECOND);
    expect_tasks(r, "");
    assert_int_equal(stat_get(stats_int(r->stats, "tasks_pruned")), 1);
}

static void history_per_job_is_limited(void **state)
{
    (void)state;
    struct sched_config c;
    rig_defaults(&c);
    c.history_max_per_job_threshold = 2;
    struct rig r;
    rig_init(&r, &c);
    placed(&r, 5, "");
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i % 5);
        if (i >= 5) rig_run(&r, MINUTE);
        rig_status(&r, name, i < 5 ? RIG_RUNNING : RIG_FINISHED);
    }
    rig_run(&r, 55 * MINUTE);
    assert_int_equal(store_task_count(sched_store(r.s)), 5); /* none is an hour old */
    rig_run(&r, MINUTE + MINUTE / 2);
    expect_tasks(&r, "t1 FINISHED; t2 FINISHED; t3 FINISHED; t4 FINISHED");
    rig_run(&r, 10 * MINUTE);
    expect_tasks(&r, "t3 FINISHED; t4 FINISHED"); /* at the limit, the rest stays */
    rig_release(&r);
}

/* ---------------- a new leader ---------------- */

static void timers_start_over_with_a_new_leader(void **state)
{
    struct rig *r = *state;
    placed(r, 2, SERVICE);
    rig_status(r, "t1", RIG_RUNNING);
    rig_run(r, 4 * MINUTE);
    rig_clear(r);
    rig_fail_over(r, 0);
    rig_step(r, &(struct sched_event){ .type = EV_LEADING });
    assert_int_equal(sched_timeout(r->s), INT64_MAX); /* nothing runs before Mesos knows us */
    r->now_ms += 10 * MINUTE;
    rig_step(r, &(struct sched_event){ .type = EV_TIMER });
    rig_expect(r, "");
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("framework-1"), false } });
    assert_true(str_eq(sched_framework_id(r->s), STR("framework-1")));
    rig_run(r, SECOND);
    expect_tasks(r, "t0 LOST; t1 RUNNING; t2 PENDING");
    rig_expect(r, "kill t0\n");
    rig_run(r, MINUTE);
    rig_expect(r, "reconcile t1\n");
}

static void pending_tasks_are_spread_over_the_start(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 3, "");
    rig_fail_over(r, 0);
    rig_step(r, &(struct sched_event){ .type = EV_LEADING });
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("framework-1"), false } });
    rig_offer(r, "a", 10, 10000, 10000, NULL);
    rig_expect(r, "");
    rig_run(r, 30 * SECOND);
    rig_expect(r, "launch a: t0 t1 t2\n");
}

static void replayed_partitions_and_history_count_their_age(void **state)
{
    struct rig *r = *state;
    placed(r, 2, SERVICE ",\"partitionPolicy\":{\"reschedule\":true,\"delaySecs\":60}");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_UNREACHABLE);
    rig_call_json(r, "killTasks",
                  "{\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j\"},\"instances\":[1]}");
    rig_status(r, "t1", RIG_KILLED);
    rig_fail_over(r, 40 * SECOND);
    rig_step(r, &(struct sched_event){ .type = EV_LEADING });
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("framework-1"), false } });
    rig_run(r, 19 * SECOND);
    expect_tasks(r, "t0 PARTITIONED; t1 KILLED");
    rig_run(r, SECOND);
    assert_non_null(strstr(rig_tasks(r), "t0 LOST"));
    rig_run(r, 48 * (int64_t)HOUR - 62 * SECOND);
    assert_non_null(rig_task(r, "t1"));
    rig_run(r, 3 * SECOND);
    assert_null(rig_task(r, "t1"));
}

static void kills_go_on_after_a_change_of_leader(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_call_json(r, "killTasks", KILL_JOB);
    rig_fail_over(r, 0); /* the kill was lost with the old leader */
    rig_clear(r);
    rig_step(r, &(struct sched_event){ .type = EV_LEADING });
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("framework-1"), false } });
    rig_run(r, 30 * SECOND);
    rig_expect(r, "kill t0\n");
}

/* ---------------- clocks that are set back ---------------- */

static void kills_are_repeated_whatever_the_clock(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_call_json(r, "killTasks", KILL_JOB);
    rig_clear(r);
    r->now_ms -= HOUR;
    rig_step(r, &(struct sched_event){ .type = EV_TIMER });
    rig_run(r, 30 * SECOND);
    rig_expect(r, "kill t0\n");
}

/* The leader before had a clock that was ahead. */
static void penalties_end_whatever_the_clock(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE);
    rig_status(r, "t0", RIG_FAILED);
    rig_offer(r, "b", 100, 100000, 100000, NULL);
    rig_run(r, SECOND);
    rig_status(r, "t1", RIG_FAILED);
    expect_tasks(r, "t0 FAILED; t1 FAILED; t2 THROTTLED");
    rig_fail_over(r, -HOUR);
    rig_lead(r);
    rig_run(r, 121 * SECOND);
    expect_tasks(r, "t0 FAILED; t1 FAILED; t2 PENDING");
}

static void partitions_end_whatever_the_clock(void **state)
{
    struct rig *r = *state;
    placed(r, 1, SERVICE ",\"partitionPolicy\":{\"reschedule\":true,\"delaySecs\":60}");
    rig_status(r, "t0", RIG_RUNNING);
    rig_status(r, "t0", RIG_UNREACHABLE);
    expect_tasks(r, "t0 PARTITIONED");
    rig_fail_over(r, -HOUR);
    rig_lead(r);
    rig_run(r, 61 * SECOND);
    expect_tasks(r, "t0 LOST; t1 PENDING");
}

/* ---------------- log lines ---------------- */

static void keep_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    buf_addf(arg, "%s\n", line);
}

static void every_transition_is_one_line(void **state)
{
    (void)state;
    struct rig r;
    struct buf log = { 0 };
    rig_init(&r, NULL);
    placed(&r, 1, SERVICE);
    logline_set_sink(keep_line, &log);
    struct status_update u = { .task_id = rig_id(&r, "t0"), .state = RIG_FAILED, .source = 2, .reason = -1 };
    u.message = STR("exit\nstatus 1");
    u.timestamp_ms = -1;
    rig_status_of(&r, &u);
    logline_set_sink(NULL, NULL);
    struct buf want = { 0 };
    buf_addf(&want,
             "task-transition task=%s from=INIT to=PENDING cause=reschedule message=\"Rescheduled\"\n"
             "task-transition task=%s from=ASSIGNED to=FAILED cause=status-update message=\"exit?status 1\"\n",
             rig_id(&r, "t1").p, rig_id(&r, "t0").p);
    assert_string_equal(buf_cstr(&log), buf_cstr(&want));
    buf_release(&log);
    buf_release(&want);
    rig_release(&r);
}

static void losses_of_agents_and_executors_are_counted(void **state)
{
    struct rig *r = *state;
    rig_step(r, &(struct sched_event){ .type = EV_AGENT_LOST, .agent_lost = { STR("a") } });
    rig_step(r, &(struct sched_event){ .type = EV_EXECUTOR_LOST, .executor_lost = { STR("a"), STR("e"), 0 } });
    rig_step(r, &(struct sched_event){ .type = EV_EXECUTOR_LOST, .executor_lost = { STR("a"), STR("e"), 9 } });
    assert_int_equal(stat_get(stats_int(r->stats, "slaves_lost")), 1);
    assert_int_equal(stat_get(stats_int(r->stats, "scheduler_lost_executors")), 1);
    rig_expect(r, "");
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = {
        RIG_TEST(job_runs_and_is_killed),
        RIG_TEST(failed_service_is_replaced),
        RIG_TEST(failures_of_a_batch_task_are_limited),
        RIG_TEST(finished_batch_task_is_done),
        RIG_TEST(lost_task_is_replaced_without_counting),
        RIG_TEST(unknown_tasks_are_killed),
        RIG_TEST(ended_tasks_that_live_are_killed),
        RIG_TEST(repeated_updates_change_nothing),
        RIG_TEST(only_updates_with_uuid_are_acknowledged),
        RIG_TEST(effects_leave_in_their_order),
        T(messages_of_updates),
        RIG_TEST(partition_without_policy_is_lost_at_once),
        RIG_TEST(partition_policy_waits_or_stays),
        RIG_TEST(killing_a_partitioned_task_makes_it_lost),
        RIG_TEST(partition_while_killing_is_the_end),
        RIG_TEST(launch_without_answer_times_out),
        RIG_TEST(starting_may_take_for_ever),
        RIG_TEST(kills_are_repeated_until_they_time_out),
        RIG_TEST(quick_deaths_are_penalized_from_the_second_on),
        RIG_TEST(slow_or_wanted_deaths_are_not_flapping),
        RIG_TEST(throttled_tasks_can_be_killed),
        T(reconciliation_runs),
        RIG_TEST(nothing_to_reconcile_is_not_everything),
        RIG_TEST(history_is_forgotten_in_time),
        T(history_per_job_is_limited),
        RIG_TEST(timers_start_over_with_a_new_leader),
        RIG_TEST(pending_tasks_are_spread_over_the_start),
        RIG_TEST(replayed_partitions_and_history_count_their_age),
        RIG_TEST(kills_go_on_after_a_change_of_leader),
        RIG_TEST(kills_are_repeated_whatever_the_clock),
        RIG_TEST(penalties_end_whatever_the_clock),
        RIG_TEST(partitions_end_whatever_the_clock),
        T(every_transition_is_one_line),
        RIG_TEST(losses_of_agents_and_executors_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
