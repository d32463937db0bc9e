/* What becomes of tasks: status updates with retries, kill, reconciliation, agents that are lost and return, a new
 * master. */
#include "local_harness.h"

#include "core/err.h"
#include "core/limits.h"

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static const struct rig_subscription aware = { .failover_timeout = 3600,
                                               .n_caps = 2,
                                               .caps = {
                                                   MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__PARTITION_AWARE,
                                                   MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__TASK_KILLING_STATE } };

/* One agent with one task "t" of that script; the log is empty. */
static void begin_as(const struct rig_subscription *w, const char *script)
{
    rig_agents(&rig, 1);
    rig_subscribe_as(&rig, 0, w);
    rig_run(&rig, 50);
    rig_launch(&rig, 0, rig.offer,
               &(struct rig_task){ .id = "t", .agent = rig.offer_agent, .command = script, .cpus = 1, .mem = 32 });
    buf_reset(&rig.log);
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__SUPPRESS); /* offers would only be in the way */
}

static void begin(const char *script)
{
    begin_as(&(struct rig_subscription){ .failover_timeout = 3600 }, script);
}

static void expect_update(const char *text)
{
    rig_run(&rig, 1);
    rig_expect(&rig, text);
    rig_ack(&rig, 0);
}

static void test_life(void **state)
{
    (void)state;
    begin("sim:starting=10 running=20 lifetime=1000");
    rig_run(&rig, 9);
    rig_expect(&rig, "");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    rig_run(&rig, 19);
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    rig_run(&rig, 999);
    expect_update("s0 Update t TASK_FINISHED 'Command exited with status 0' uuid\n");
    rig_run(&rig, 100000);
    rig_expect(&rig, "");
    rig_reconcile(&rig, 0, "t", NULL);
    rig_expect(&rig, "s0 Update t TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown'\n");
    struct master_totals all;
    master_totals(rig.m, &all);
    assert_int_equal(all.tasks, 0);
}

/* 10 s, 20 s, 40 s ... 10 min; the next state waits its turn. */
static void test_retries(void **state)
{
    (void)state;
    static const int64_t gaps[] = { 10, 20, 40, 80, 160, 320, 600, 600 };
    begin("sim:running=5");
    rig_run(&rig, 1);
    rig_expect(&rig, "s0 Update t TASK_STARTING uuid\n");
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        rig_run(&rig, gaps[i] * 1000 - 2);
        rig_expect(&rig, "");
        rig_run(&rig, 2);
        rig_expect(&rig, "s0 Update t TASK_STARTING uuid\n");
    }
    rig_ack(&rig, 0);
    rig_expect(&rig, "s0 Update t TASK_RUNNING uuid\n");
    rig_run(&rig, 10000);
    rig_expect(&rig, "s0 Update t TASK_RUNNING uuid\n");
    rig_ack(&rig, 0);
    rig_ack(&rig, 0); /* a repeated one does nothing */
    rig_run(&rig, 1000000);
    rig_expect(&rig, "");
}

static void test_wrong_acknowledgements(void **state)
{
    (void)state;
    begin("sim:running=5");
    rig_run(&rig, 10);
    buf_reset(&rig.log);
    uint8_t other[16] = { 0 };
    other[6] = 0x40;
    rig_ack_as(&rig, 0, "t", rig.uuid_agent, other, 16);
    rig_ack_as(&rig, 0, "u", rig.uuid_agent, rig.uuid, 16);
    rig_ack_as(&rig, 0, "t", "no-agent", rig.uuid, 16);
    rig_ack_as(&rig, 1, "t", rig.uuid_agent, rig.uuid, 16);
    rig_expect(&rig, "");
    rig_run(&rig, 10000);
    rig_expect(&rig, "s0 Update t TASK_STARTING uuid\n");
}

/* A task that has ended with RUNNING unacknowledged still counts as running, but a repeat tells the master better. */
static void test_latest_state_frees_resources(void **state)
{
    (void)state;
    begin("sim:lifetime=100");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    buf_reset(&rig.log);
    rig_run(&rig, 5000);
    rig_reconcile(&rig, 0, NULL, NULL);
    rig_expect(&rig, "s0 Update t TASK_RUNNING RECONCILIATION 'Reconciliation: Latest task state'\n");
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:3 mem:992 ports:[31000-31009]\n");
    rig_run(&rig, 5900);
    assert_true(rig_said(&rig, "s0 Update t TASK_RUNNING uuid\ns0 Offers O2@S0 cpus:1 mem:32"));
}

static void test_outcomes(void **state)
{
    (void)state;
    begin("sim:lifetime=1 outcome=failed message=it did not work");
    rig_run(&rig, 2);
    rig_ack(&rig, 0);
    rig_ack(&rig, 0);
    rig_expect(&rig, "s0 Update t TASK_STARTING uuid\ns0 Update t TASK_RUNNING uuid\n"
                     "s0 Update t TASK_FAILED 'it did not work' uuid\n");
}

static void test_bad_script(void **state)
{
    (void)state;
    begin("sim:running=soon");
    rig_run(&rig, 2);
    rig_ack(&rig, 0);
    rig_ack(&rig, 0);
    assert_true(rig_said(&rig, "TASK_FAILED 'cannot parse 'running=soon' of a simulation'"));
}

/* ---------------- kill ---------------- */

static void test_kill(void **state)
{
    (void)state;
    begin("sim:kill=500");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    rig_kill(&rig, 0, "t", "another-agent");
    rig_run(&rig, 1000);
    rig_expect(&rig, "");
    rig_kill(&rig, 0, "t", NULL);
    rig_run(&rig, 490);
    rig_expect(&rig, "");
    rig_run(&rig, 20);
    expect_update("s0 Update t TASK_KILLED 'Command terminated with signal Terminated' uuid\n");
    rig_kill(&rig, 0, "t", NULL);
    rig_expect(&rig, "s0 Update t TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown'\n");
}

static void test_killing_state(void **state)
{
    (void)state;
    begin_as(&aware, "sim:kill=500");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    rig_kill(&rig, 0, "t", NULL);
    rig_kill(&rig, 0, "t", NULL);
    expect_update("s0 Update t TASK_KILLING uuid\n");
    rig_run(&rig, 500);
    rig_expect(&rig, "s0 Update t TASK_KILLED 'Command terminated with signal Terminated' uuid\n");
}

static void test_executor_ends_with_its_last_task(void **state)
{
    (void)state;
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__SUPPRESS);
    rig_launch(&rig, 0, rig.offer,
               &(struct rig_task){
                   .id = "t", .agent = rig.offer_agent, .command = "x", .executor = "e", .cpus = 1, .mem = 32 });
    buf_reset(&rig.log);
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    rig_kill(&rig, 0, "t", NULL);
    rig_run(&rig, 1);
    rig_ack(&rig, 0);
    buf_reset(&rig.log);
    rig_run(&rig, LIMIT_LOCAL_EXECUTOR_LINGER_MS);
    rig_expect(&rig, "s0 Exited e 0\n");
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
}

/* ---------------- reconciliation ---------------- */

static void test_reconciliation_table(void **state)
{
    (void)state;
    for (int is_aware = 0; is_aware < 2; is_aware++) {
        struct rig_subscription w = aware;
        if (!is_aware) w.n_caps = 0;
        if (is_aware) {
            rig_close(&rig);
            rig_open(&rig);
        }
        begin_as(&w, "sim:");
        rig_agents(&rig, 3);
        char agent[4][64];
        for (int i = 0; i < 4; i++) snprintf(agent[i], sizeof agent[i], "%s-S%d", master_id(rig.m), i);
        master_lose_agent(rig.m, master_find_agent(rig.m, "S1"), AGENT_LOSS_UNREACHABLE, false, rig.now);
        master_lose_agent(rig.m, master_find_agent(rig.m, "S2"), AGENT_LOSS_GONE, false, rig.now);
        master_lose_agent(rig.m, master_find_agent(rig.m, "S3"), AGENT_LOSS_DISCONNECT, false, rig.now);
        rig_run(&rig, 1);
        buf_reset(&rig.log);
        rig_reconcile(&rig, 0, "t", "whatever"); /* known: its state, whatever agent was asked */
        rig_expect(&rig, "s0 Update t TASK_STARTING RECONCILIATION 'Reconciliation: Latest task state'\n");
        rig_reconcile(&rig, 0, "x", agent[0]);
        rig_reconcile(&rig, 0, "x", agent[1]);
        rig_reconcile(&rig, 0, "x", agent[2]);
        rig_reconcile(&rig, 0, "x", agent[3]);
        rig_reconcile(&rig, 0, "x", "never-heard-of");
        rig_reconcile(&rig, 0, "x", NULL);
        rig_expect(&rig, is_aware
                             ? "s0 Update x TASK_GONE RECONCILIATION 'Reconciliation: Task is unknown to the agent'\n"
                               "s0 Update x TASK_UNREACHABLE RECONCILIATION 'Reconciliation: Task is unreachable'\n"
                               "s0 Update x TASK_GONE_BY_OPERATOR RECONCILIATION 'Reconciliation: Task is gone'\n"
                               "s0 Update x TASK_GONE RECONCILIATION 'Reconciliation: Task is unknown to the agent'\n"
                               "s0 Update x TASK_UNKNOWN RECONCILIATION 'Reconciliation: Task is unknown'\n"
                               "s0 Update x TASK_UNKNOWN RECONCILIATION 'Reconciliation: Task is unknown'\n"
                             : "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown to the agent'\n"
                               "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is unreachable'\n"
                               "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is gone'\n"
                               "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown to the agent'\n"
                               "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown'\n"
                               "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown'\n");
    }
}

/* ---------------- agents ---------------- */

static struct agent *the_agent(void)
{
    return master_find_agent(rig.m, "S0");
}

static void test_unreachable_and_back(void **state)
{
    (void)state;
    begin_as(&aware, "sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    assert_int_equal(master_lose_agent(rig.m, the_agent(), AGENT_LOSS_UNREACHABLE, false, rig.now), 0);
    rig_expect(&rig, "s0 Update t TASK_UNREACHABLE SLAVE_REMOVED 'health check timed out'\ns0 Lost S0\n");
    assert_int_equal(master_lose_agent(rig.m, the_agent(), AGENT_LOSS_UNREACHABLE, false, rig.now), ERR_REFUSED);
    rig_reconcile(&rig, 0, NULL, NULL);
    rig_expect(&rig, "");
    assert_int_equal(master_return_agent(rig.m, the_agent(), false, rig.now), 0);
    rig_expect(&rig, "s0 Update t TASK_RUNNING SLAVE_REREGISTERED 'Unreachable agent re-reregistered'\n");
    assert_int_equal(master_return_agent(rig.m, the_agent(), false, rig.now), ERR_REFUSED);
    rig_kill(&rig, 0, "t", NULL);
    rig_run(&rig, 1);
    assert_true(rig_said(&rig, "s0 Update t TASK_KILLING uuid\n"));
    rig_ack(&rig, 0);
    rig_ack(&rig, 0);
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
    rig_run(&rig, 1100);
    assert_true(rig_said(&rig, "cpus:4 mem:1024 ports:[31000-31009]\n")); /* the account is right again */
}

static void test_lost_is_not_final(void **state)
{
    (void)state;
    begin("sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_UNREACHABLE, false, rig.now);
    rig_expect(&rig, "s0 Update t TASK_LOST SLAVE_REMOVED 'health check timed out'\ns0 Lost S0\n");
    master_return_agent(rig.m, the_agent(), false, rig.now);
    rig_expect(&rig, "s0 Update t TASK_RUNNING SLAVE_REREGISTERED 'Unreachable agent re-reregistered'\n");
}

static void test_back_without_tasks(void **state)
{
    (void)state;
    begin("sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_UNREACHABLE, true, rig.now);
    master_return_agent(rig.m, the_agent(), false, rig.now);
    rig_expect(&rig, "s0 Update t TASK_LOST SLAVE_REMOVED 'health check timed out'\ns0 Lost S0\n");
    struct master_totals all;
    master_totals(rig.m, &all);
    assert_int_equal(all.tasks, 0);
    assert_int_equal(all.agents_registered, 1);
}

static void test_gone(void **state)
{
    (void)state;
    begin_as(&aware, "sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    buf_reset(&rig.log);
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_GONE, false, rig.now);
    rig_expect(
        &rig, "s0 Update t TASK_GONE_BY_OPERATOR SLAVE_REMOVED_BY_OPERATOR 'Agent has been marked gone'\ns0 Lost S0\n");
    assert_int_equal(master_return_agent(rig.m, the_agent(), false, rig.now), ERR_REFUSED);
}

static void test_disconnected_and_back(void **state)
{
    (void)state;
    begin("sim:running=50");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
    rig_run(&rig, 10);
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__SUPPRESS);
    buf_reset(&rig.log);
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_DISCONNECT, false, rig.now);
    rig_expect(&rig, "s0 Rescind O1\n");
    rig_run(&rig, 60000); /* the task goes on, but nobody hears of it */
    rig_kill(&rig, 0, "t", NULL);
    rig_expect(&rig, "");
    rig_reconcile(&rig, 0, "t", NULL);
    rig_expect(&rig, "s0 Update t TASK_STARTING RECONCILIATION 'Reconciliation: Latest task state'\n");
    master_return_agent(rig.m, the_agent(), false, rig.now);
    rig_expect(&rig, "s0 Update t TASK_RUNNING uuid\n");
    rig_ack(&rig, 0);
    rig_run(&rig, 1);
    rig_expect(&rig, "s0 Update t TASK_KILLED 'Command terminated with signal Terminated' uuid\n");
}

static void test_disconnected_too_long(void **state)
{
    (void)state;
    begin("sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_DISCONNECT, false, rig.now);
    rig_run(&rig, 74999);
    rig_expect(&rig, "");
    rig_run(&rig, 1);
    rig_expect(&rig,
               "s0 Update t TASK_LOST SLAVE_REMOVED 'agent did not reregister within 75secs after disconnecting'\n"
               "s0 Lost S0\n");
}

static void test_disconnected_loses_tasks(void **state)
{
    (void)state;
    begin_as(&aware, "sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_DISCONNECT, true, rig.now);
    master_return_agent(rig.m, the_agent(), false, rig.now);
    rig_expect(&rig, "s0 Update t TASK_DROPPED RECONCILIATION 'Reconciliation: task unknown to the agent' uuid\n");
    rig_ack(&rig, 0);
    struct master_totals all;
    master_totals(rig.m, &all);
    assert_int_equal(all.tasks, 0);
}

static void test_no_checkpoint(void **state)
{
    (void)state;
    begin_as(&(struct rig_subscription){ .checkpoint_off = true, .failover_timeout = 3600 }, "sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    buf_reset(&rig.log);
    master_lose_agent(rig.m, the_agent(), AGENT_LOSS_DISCONNECT, false, rig.now);
    rig_expect(&rig, "s0 Update t TASK_LOST SLAVE_DISCONNECTED 'Agent host1 disconnected'\n");
    master_return_agent(rig.m, the_agent(), false, rig.now);
    rig_expect(&rig, "");
    struct master_totals all;
    master_totals(rig.m, &all);
    assert_int_equal(all.tasks, 0);
}

static void test_teardown_kills(void **state)
{
    (void)state;
    begin("sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    buf_reset(&rig.log);
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__TEARDOWN);
    rig_run(&rig, 100000);
    rig_expect(&rig, "");
    struct master_totals all;
    master_totals(rig.m, &all);
    assert_int_equal(all.tasks, 0);
    rig_subscribe(&rig, 1);
    rig_run(&rig, 1100);
    assert_true(rig_said(&rig, "cpus:4 mem:1024 ports:[31000-31009]\n"));
}

/* Updates that came while the scheduler was away are sent when it is back. */
static void test_scheduler_away(void **state)
{
    (void)state;
    begin("sim:running=500");
    rig_run(&rig, 10);
    rig_ack(&rig, 0);
    master_exited(rig.m, &rig.s[0], rig.now);
    buf_reset(&rig.log);
    rig_run(&rig, 3000);
    rig_expect(&rig, "");
    rig_subscribe_as(&rig, 1, &(struct rig_subscription){ .id = rig.framework_id, .force = true });
    assert_true(rig_said(&rig, "s1 Registered 0000\ns1 Update t TASK_RUNNING uuid\n"));
}

/* ---------------- a new master ---------------- */

static void test_failover(void **state)
{
    (void)state;
    begin("sim:running=1000");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    char old[64], agent[64];
    snprintf(old, sizeof old, "%s", master_id(rig.m));
    snprintf(agent, sizeof agent, "%s", rig.uuid_agent);
    rig_agents(&rig, 1);
    buf_reset(&rig.log);
    master_failover(rig.m, 5000, 1000, rig.now);
    assert_string_not_equal(old, master_id(rig.m));
    rig_run(&rig, 2000);
    rig_expect(&rig, "");
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .id = rig.framework_id });
    rig_expect(&rig, "s0 Registered 0000\n"); /* adopted, not re-registered */
    /* While an agent is missing there's no answer about it, nor about tasks of unknown place. */
    rig_reconcile(&rig, 0, "t", agent);
    rig_reconcile(&rig, 0, "t", NULL);
    rig_reconcile(&rig, 0, "x", NULL);
    rig_reconcile(&rig, 0, NULL, NULL);
    rig_kill(&rig, 0, "t", NULL);
    rig_expect(&rig, "");
    rig_run(&rig, 3010);
    assert_true(rig_said(&rig, "s0 Update t TASK_RUNNING uuid\n"));
    rig_run(&rig, 2000);
    buf_reset(&rig.log);
    rig_reconcile(&rig, 0, "t", agent);
    rig_reconcile(&rig, 0, "x", NULL);
    rig_expect(&rig, "s0 Update t TASK_RUNNING RECONCILIATION 'Reconciliation: Latest task state'\n"
                     "s0 Update x TASK_LOST RECONCILIATION 'Reconciliation: Task is unknown'\n");
    rig_kill(&rig, 0, "t", NULL);
    rig_run(&rig, 1);
    rig_ack(&rig, 0);
    rig_expect(&rig, "s0 Update t TASK_KILLED 'Command terminated with signal Terminated' uuid\n");
}

/* The agent is back first, so the framework is known from it when it comes. */
static void test_failover_agents_first(void **state)
{
    (void)state;
    begin("sim:");
    expect_update("s0 Update t TASK_STARTING uuid\n");
    expect_update("s0 Update t TASK_RUNNING uuid\n");
    master_failover(rig.m, 0, 0, rig.now);
    rig_run(&rig, 100);
    rig_reconcile(&rig, 0, NULL, NULL); /* a call before SUBSCRIBE is dropped */
    rig_expect(&rig, "");
    rig_subscribe_as(&rig, 1, &(struct rig_subscription){ .id = rig.framework_id });
    buf_reset(&rig.log);
    rig_reconcile(&rig, 1, NULL, NULL);
    rig_expect(&rig, "s1 Update t TASK_RUNNING RECONCILIATION 'Reconciliation: Latest task state'\n");
    /* New offers leave out what the task has. */
    rig_run(&rig, 50);
    rig_expect(&rig, "s1 Offers O0@S0 cpus:3 mem:992 ports:[31000-31009]\n");
}

/* ---------------- limits ---------------- */

static void test_limits(void **state)
{
    (void)state;
    struct agent_spec spec = { STR("cpus:1"), STR(""), STR("h") };
    struct buf err = { 0 };
    assert_int_equal(master_add_agents(rig.m, &spec, LIMIT_LOCAL_AGENTS + 1, rig.now, &err), ERR_TOO_BIG);
    assert_int_equal(master_add_agents(rig.m, &spec, LIMIT_LOCAL_AGENTS, rig.now, &err), 0);
    assert_int_equal(master_add_agents(rig.m, &spec, 1, rig.now, &err), ERR_TOO_BIG);
    spec.attributes = STR("rack");
    rig_close(&rig);
    rig_open(&rig);
    assert_int_equal(master_add_agents(rig.m, &spec, 1, rig.now, &err), ERR_MALFORMED);
    assert_string_equal(buf_cstr(&err), "cannot parse attributes 'rack'");
    buf_release(&err);
    begin("sim:");
    struct task *t = master_find_task(rig.m, NULL, "t");
    struct master_totals all;
    for (int i = 0; i < 2 * LIMIT_LOCAL_TASK_UPDATES; i++)
        master_task_event(rig.m, t, MESOS__TASK_STATE__TASK_RUNNING, -1, NULL, rig.now);
    master_task_event(rig.m, t, MESOS__TASK_STATE__TASK_FINISHED, -1, "the end", rig.now);
    for (int i = 0; i < LIMIT_LOCAL_TASK_UPDATES + 1; i++) {
        assert_false(rig_said(&rig, "the end") && i < LIMIT_LOCAL_TASK_UPDATES);
        rig_ack(&rig, 0);
    }
    assert_true(rig_said(&rig, "the end"));
    master_totals(rig.m, &all);
    assert_int_equal(all.tasks, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_life),
        T(test_retries),
        T(test_wrong_acknowledgements),
        T(test_latest_state_frees_resources),
        T(test_outcomes),
        T(test_bad_script),
        T(test_kill),
        T(test_killing_state),
        T(test_executor_ends_with_its_last_task),
        T(test_reconciliation_table),
        T(test_unreachable_and_back),
        T(test_lost_is_not_final),
        T(test_back_without_tasks),
        T(test_gone),
        T(test_disconnected_and_back),
        T(test_disconnected_too_long),
        T(test_disconnected_loses_tasks),
        T(test_no_checkpoint),
        T(test_teardown_kills),
        T(test_scheduler_away),
        T(test_failover),
        T(test_failover_agents_first),
        T(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
