/* ACCEPT and DECLINE: which offers are valid, what the master says about tasks, refusals, reservations, gpus, revocable
 * resources. */
#include "local_harness.h"

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

/* One agent, one framework, and its first offer. */
static void begin(void)
{
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
}

static void launch(const struct rig_task *t)
{
    rig_launch(&rig, 0, rig.offer, t);
}

static void next_offer(void)
{
    rig_run(&rig, 1100);
    buf_reset(&rig.log);
}

/* ---------------- offers ---------------- */

static void test_invalid_offers(void **state)
{
    (void)state;
    struct buf want = { 0 };
    begin();
    struct rig_task t = { .id = "t", .agent = rig.offer_agent, .command = "", .cpus = 1, .mem = 32 };
    rig_launch(&rig, 0, "no-such-offer", &t);
    rig_expect(&rig,
               "s0 Update t TASK_LOST INVALID_OFFERS 'Task launched with invalid offers: Offer no-such-offer is no "
               "longer valid'\n");
    /* Good ones beside it are used up. */
    const char *offers[] = { rig.offer, "no-such-offer" };
    rig_accept_all(&rig, 0, NULL, 0, offers, 2, 60);
    next_offer();
    assert_string_equal(rig_short(rig.offer), "O1");
    const char *twice[] = { rig.offer, rig.offer };
    char id[64];
    snprintf(id, sizeof id, "%s", rig.offer);
    Mesos__TaskInfo info = MESOS__TASK_INFO__INIT, *infos = &info;
    Mesos__TaskID task = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    task.value = (char *)"t";
    agent.value = rig.offer_agent;
    info.name = (char *)"";
    info.task_id = &task;
    info.slave_id = &agent;
    rig_accept_all(&rig, 0, &infos, 1, twice, 2, 0);
    buf_addf(&want,
             "s0 Update t TASK_LOST INVALID_OFFERS 'Task launched with invalid offers: Duplicate offer %s in offer "
             "list'\n",
             id);
    rig_expect(&rig, buf_cstr(&want));
    rig_accept_all(&rig, 0, &infos, 1, NULL, 0, 0);
    rig_expect(&rig, "s0 Update t TASK_LOST INVALID_OFFERS 'Task launched with invalid offers: No offers specified'\n");
    buf_release(&want);
}

static void test_invalid_offers_partition_aware(void **state)
{
    (void)state;
    rig_subscribe_as(&rig, 0,
                     &(struct rig_subscription){
                         .n_caps = 1, .caps = { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__PARTITION_AWARE } });
    buf_reset(&rig.log);
    rig_launch(&rig, 0, "x", &(struct rig_task){ .id = "t", .agent = "a", .command = "", .cpus = 1, .mem = 32 });
    rig_expect(&rig, "s0 Update t TASK_DROPPED INVALID_OFFERS 'Task launched with invalid offers: Offer x is no longer "
                     "valid'\n");
}

static void test_offers_of_two_agents(void **state)
{
    (void)state;
    rig_agents(&rig, 2);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
    char o0[64], o1[64], s0[64], s1[64];
    const char *id = master_id(rig.m);
    snprintf(o0, sizeof o0, "%s-O0", id);
    snprintf(o1, sizeof o1, "%s-O1", id);
    snprintf(s0, sizeof s0, "%s-S0", id);
    snprintf(s1, sizeof s1, "%s-S1", id);
    const char *offers[] = { o0, o1 };
    Mesos__TaskInfo info = MESOS__TASK_INFO__INIT, *infos = &info;
    Mesos__TaskID task = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    task.value = (char *)"t";
    agent.value = s0;
    info.name = (char *)"";
    info.task_id = &task;
    info.slave_id = &agent;
    rig_accept_all(&rig, 0, &infos, 1, offers, 2, 0);
    struct buf want = { 0 };
    buf_addf(&want,
             "s0 Update t TASK_LOST INVALID_OFFERS 'Task launched with invalid offers: Aggregated offers must belong "
             "to one single agent. Offer %s uses agent %s and agent %s'\n",
             o1, s1, s0);
    rig_expect(&rig, buf_cstr(&want));
    buf_release(&want);
}

static void test_rest_is_offered_again(void **state)
{
    (void)state;
    begin();
    launch(&(struct rig_task){ .id = "t", .agent = rig.offer_agent, .command = "x", .cpus = 1, .mem = 24 });
    rig_run(&rig, 1000);
    assert_true(rig_said(&rig, "s0 Offers O1@S0 cpus:3 mem:1000 ports:[31000-31009]\n"));
}

/* ---------------- refusals ---------------- */

static void test_decline_without_refusal(void **state)
{
    (void)state;
    begin();
    rig_decline(&rig, 0, rig.offer, 0);
    rig_run(&rig, 1000);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
}

static void test_decline_with_refusal(void **state)
{
    (void)state;
    begin();
    rig_decline(&rig, 0, rig.offer, 5);
    rig_run(&rig, 4900);
    rig_expect(&rig, "");
    rig_run(&rig, 1100);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
    rig_decline(&rig, 0, rig.offer, -7); /* as 5 */
    rig_run(&rig, 4000);
    rig_expect(&rig, "");
    rig_run(&rig, 3000);
    rig_expect(&rig, "s0 Offers O2@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
    rig_decline(&rig, 0, rig.offer, 1e300); /* a year at most */
    rig_run(&rig, 365ll * 86400 * 1000 - 10);
    rig_expect(&rig, "");
    rig_run(&rig, 2000);
    rig_expect(&rig, "s0 Offers O3@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
    rig_decline(&rig, 0, "unknown", 5);
    rig_expect(&rig, "");
}

/* A refusal covers what is contained in it; more is offered. */
static void test_refusal_of_less(void **state)
{
    (void)state;
    begin();
    launch(&(struct rig_task){
        .id = "t", .agent = rig.offer_agent, .command = "sim:lifetime=3000", .cpus = 1, .mem = 24 });
    rig_run(&rig, 1000);
    assert_true(rig_said(&rig, "O1@S0 cpus:3"));
    buf_reset(&rig.log);
    rig_decline(&rig, 0, rig.offer, 3600);
    rig_ack(&rig, 0);
    rig_ack(&rig, 0);
    rig_run(&rig, 1900);
    assert_false(rig_said(&rig, "Offers"));
    rig_run(&rig, 2000);
    assert_true(rig_said(&rig, "s0 Offers O2@S0 cpus:4 mem:1024 ports:[31000-31009]\n"));
}

static void test_revive_clears_refusals(void **state)
{
    (void)state;
    begin();
    rig_decline(&rig, 0, rig.offer, 3600);
    rig_run(&rig, 10000);
    rig_expect(&rig, "");
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
}

static void test_suppress(void **state)
{
    (void)state;
    begin();
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__SUPPRESS);
    rig_expect(&rig, ""); /* rescinds nothing */
    rig_decline(&rig, 0, rig.offer, 0);
    rig_run(&rig, 10000);
    rig_expect(&rig, "");
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
}

static void test_offer_timeout_and_rescind(void **state)
{
    (void)state;
    struct master_config c = rig_config(&rig);
    c.offer_timeout_ms = 2000;
    master_free(rig.m);
    rig_open_config(&rig, &c);
    begin();
    rig_run(&rig, 1960);
    rig_expect(&rig, "s0 Rescind O0\n");
    rig_run(&rig, 1000);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
    assert_int_equal(master_rescind(rig.m, "unknown", rig.now), 0);
    assert_int_equal(master_rescind(rig.m, NULL, rig.now), 1);
    rig_expect(&rig, "s0 Rescind O1\n");
}

/* ---------------- who gets what ---------------- */

static void test_two_frameworks_share(void **state)
{
    (void)state;
    rig_subscribe(&rig, 0);
    rig_subscribe(&rig, 1);
    buf_reset(&rig.log);
    rig_agents(&rig, 4);
    rig_run(&rig, 50);
    struct buf *log = &rig.log;
    int lines = 0;
    for (const char *p = buf_cstr(log); (p = strstr(p, "@S")); p++) lines++;
    assert_int_equal(lines, 4);
    assert_true(rig_said(&rig, "s0 Offers O0@S0"));
    assert_true(rig_said(&rig, "s1 Offers O1@S1"));
}

static void test_special_resources(void **state)
{
    (void)state;
    rig_agents_of(&rig, 1, "cpus:2;mem:64;gpus:1");
    rig_agents_of(&rig, 1, "cpus:2;mem:64;cpus(prod):1;cpus{REV}:8");
    rig_agents_of(&rig, 1, "cpus:0.009;mem:31;disk:500"); /* too little of both */
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Registered 0000\ns0 Offers O0@S1 cpus:2 mem:64\n");
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__TEARDOWN);
    rig_subscribe_as(
        &rig, 1,
        &(struct rig_subscription){ .role = "prod/web",
                                    .n_caps = 2,
                                    .caps = { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__GPU_RESOURCES,
                                              MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__REVOCABLE_RESOURCES } });
    rig_run(&rig, 50);
    rig_expect(&rig,
               "s1 Registered 0001\ns1 Offers O1@S0 cpus:2 mem:64 gpus:1 O2@S1 cpus:2 mem:64 cpus:1 cpus{REV}:8\n");
}

/* ---------------- tasks ---------------- */

static void test_task_texts(void **state)
{
    (void)state;
    static const char LONG_ID[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
                                  "0123456789012345678901234567890123456789012345678901234567890123456789"
                                  "0123456789012345678901234567890123456789012345678901234567890123456789"
                                  "0123456789012345678901234567890123456789ABCDEF";
    begin();
    char agent[64];
    snprintf(agent, sizeof agent, "%s", rig.offer_agent);
    const struct {
        struct rig_task t;
        const char *text;
    } cases[] = {
        { { .id = "", .command = "x", .cpus = 1, .mem = 32 }, "ID must not be empty" },
        { { .id = "..", .command = "x", .cpus = 1, .mem = 32 }, "'..' is disallowed" },
        { { .id = "a/b", .command = "x", .cpus = 1, .mem = 32 }, "'a/b' contains invalid characters" },
        { { .id = "a\\b", .command = "x", .cpus = 1, .mem = 32 }, "'a\\b' contains invalid characters" },
        { { .id = LONG_ID, .command = "x", .cpus = 1, .mem = 32 }, "ID must not be greater than 255 characters" },
        { { .id = "t", .agent = "elsewhere", .command = "x", .cpus = 1, .mem = 32 },
          "Task uses invalid agent elsewhere while agent %s is expected" },
        { { .id = "t", .command = "x", .cpus = 5, .mem = 32 },
          "Total resources cpus(allocated: *):5; mem(allocated: *):32 required by task and its executor is more than "
          "available cpus(allocated: *):4; mem(allocated: *):1024; ports(allocated: *):[31000-31009]" },
        { { .id = "t", .command = "x", .cpus = 4.001, .mem = 32 },
          "Total resources cpus(allocated: *):4.001; mem(allocated: *):32 required by task and its executor is more "
          "than "
          "available cpus(allocated: *):4; mem(allocated: *):1024; ports(allocated: *):[31000-31009]" },
        { { .id = "t", .command = "x", .cpus = 0.0001, .mem = 32 },
          "Resource 'cpus:0' is invalid: Invalid scalar resource: value <= 0" },
        { { .id = "t", .command = "x", .cpus = -1, .mem = 32 },
          "Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0" },
        { { .id = "t", .executor = "../e", .command = "x", .cpus = 1, .mem = 32 },
          "'../e' contains invalid characters" },
        { { .id = "t", .executor = "e", .command = "x", .cpus = 4, .mem = 32 },
          "Total resources cpus(allocated: *):4.1; mem(allocated: *):64 required by task and its executor is more than "
          "available cpus(allocated: *):4; mem(allocated: *):1024; ports(allocated: *):[31000-31009]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig_task t = cases[i].t;
        struct buf want = { 0 };
        if (!t.agent) t.agent = agent;
        launch(&t);
        buf_addf(&want, "s0 Update %s TASK_ERROR TASK_INVALID '", t.id);
        const char *hole = strstr(cases[i].text, "%s");
        buf_addf(&want, "%.*s%s%s'\n", hole ? (int)(hole - cases[i].text) : (int)strlen(cases[i].text), cases[i].text,
                 hole ? agent : "", hole ? hole + 2 : "");
        rig_expect(&rig, buf_cstr(&want));
        buf_release(&want);
        next_offer();
    }
    /* What is just inside. */
    char id[256];
    snprintf(id, sizeof id, "%.255s", LONG_ID);
    launch(&(struct rig_task){ .id = id, .agent = agent, .command = "x", .cpus = 4.0004, .mem = 0 });
    assert_false(rig_said(&rig, "TASK_ERROR"));
}

/* Everything of a TaskInfo that the rig's tasks can't say. */
static void expect_refusal(Mesos__TaskInfo *info, const char *text)
{
    struct buf want = { 0 };
    launch(&(struct rig_task){ .info = info });
    buf_addf(&want, "s0 Update t TASK_ERROR TASK_INVALID '%s'\n", text);
    rig_expect(&rig, buf_cstr(&want));
    buf_release(&want);
    next_offer();
}

static void test_task_infos(void **state)
{
    (void)state;
    begin();
    Mesos__TaskInfo info = MESOS__TASK_INFO__INIT;
    Mesos__TaskID id = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    Mesos__CommandInfo command = MESOS__COMMAND_INFO__INIT;
    Mesos__ExecutorInfo executor = MESOS__EXECUTOR_INFO__INIT;
    Mesos__ExecutorID executor_id = MESOS__EXECUTOR_ID__INIT;
    Mesos__Resource res[2], *list[2] = { &res[0], &res[1] };
    Mesos__Value__Scalar v[2];
    char agent_text[64];
    snprintf(agent_text, sizeof agent_text, "%s", rig.offer_agent);
    id.value = (char *)"t";
    agent.value = agent_text;
    executor_id.value = (char *)"e";
    executor.executor_id = &executor_id;
    info.name = (char *)"";
    info.task_id = &id;
    info.slave_id = &agent;
    info.command = &command;
    expect_refusal(&info, "Task uses no resources");
    rig_scalar(&res[0], &v[0], "cpus", 1);
    rig_scalar(&res[1], &v[1], "mem", 32);
    info.resources = list;
    info.n_resources = 2;
    info.executor = &executor;
    expect_refusal(&info, "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present");
    info.command = NULL;
    expect_refusal(&info, "'ExecutorInfo.command' must be set");
    executor.command = &command;
    executor.has_type = true;
    executor.type = MESOS__EXECUTOR_INFO__TYPE__DEFAULT;
    expect_refusal(&info, "'ExecutorInfo.command' must not be set for 'DEFAULT' executor");
    info.executor = NULL;
    expect_refusal(&info, "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present");
    info.command = &command;

    Mesos__KillPolicy policy = MESOS__KILL_POLICY__INIT;
    Mesos__DurationInfo grace = MESOS__DURATION_INFO__INIT;
    grace.nanoseconds = -1;
    policy.grace_period = &grace;
    info.kill_policy = &policy;
    expect_refusal(&info, "Task's 'kill_policy.grace_period' must be non-negative");
    info.kill_policy = NULL;

    Mesos__Environment env = MESOS__ENVIRONMENT__INIT;
    Mesos__Environment__Variable var = MESOS__ENVIRONMENT__VARIABLE__INIT, *vars = &var;
    var.name = (char *)"X";
    env.variables = &vars;
    env.n_variables = 1;
    command.environment = &env;
    expect_refusal(&info,
                   "Task's `CommandInfo` is invalid: Environment variable 'X' of type 'VALUE' must have a value set");
    command.environment = NULL;

    Mesos__ContainerInfo container = MESOS__CONTAINER_INFO__INIT;
    container.type = MESOS__CONTAINER_INFO__TYPE__DOCKER;
    info.container = &container;
    expect_refusal(&info,
                   "Task's `ContainerInfo` is invalid: DockerInfo 'docker' is not set for DOCKER typed ContainerInfo");
    Mesos__ContainerInfo__DockerInfo docker = MESOS__CONTAINER_INFO__DOCKER_INFO__INIT;
    Mesos__Parameter p = MESOS__PARAMETER__INIT, *ps = &p;
    docker.image = (char *)"i";
    p.key = (char *)"name";
    p.value = (char *)"v";
    docker.parameters = &ps;
    docker.n_parameters = 1;
    container.docker = &docker;
    expect_refusal(&info, "Task's `ContainerInfo` is invalid: Parameter in DockerInfo must not be 'name'");
    Mesos__Volume volume = MESOS__VOLUME__INIT, *volumes = &volume;
    volume.container_path = (char *)"/x";
    container.volumes = &volumes;
    container.n_volumes = 1;
    expect_refusal(&info,
                   "Task's `ContainerInfo` is invalid: Invalid volume: Only one of them should be set: 'host_path', "
                   "'image' and 'source'");
    info.container = NULL;

    Mesos__Resource__RevocableInfo rev = MESOS__RESOURCE__REVOCABLE_INFO__INIT;
    rig_scalar(&res[1], &v[1], "cpus", 1);
    res[1].revocable = &rev;
    expect_refusal(&info,
                   "Task mixes revocable and non-revocable resources: Cannot use both revocable and non-revocable "
                   "'cpus' at the same time");
    res[1].revocable = NULL;
    Mesos__Resource__AllocationInfo a = MESOS__RESOURCE__ALLOCATION_INFO__INIT, b = a;
    a.role = (char *)"x";
    b.role = (char *)"y";
    res[0].allocation_info = &a;
    res[1].allocation_info = &b;
    expect_refusal(&info,
                   "Invalid task resources: The resources have multiple allocation roles ('y' and 'x') but only one "
                   "allocation role is allowed");
    res[0].allocation_info = res[1].allocation_info = NULL;
    rig_scalar(&res[1], &v[1], "gpus", 0.5);
    expect_refusal(&info,
                   "Task uses invalid resources: Invalid 'gpus' resource: The 'gpus' resource must be an unsigned "
                   "integer");
}

static void test_ports(void **state)
{
    (void)state;
    begin();
    Mesos__Resource ports = MESOS__RESOURCE__INIT;
    Mesos__Value__Ranges ranges = MESOS__VALUE__RANGES__INIT;
    Mesos__Value__Range range = MESOS__VALUE__RANGE__INIT, *list = &range;
    char agent[64];
    snprintf(agent, sizeof agent, "%s", rig.offer_agent);
    ports.name = (char *)"ports";
    ports.type = MESOS__VALUE__TYPE__RANGES;
    ports.ranges = &ranges;
    ranges.range = &list;
    ranges.n_range = 1;
    range.begin = 31005;
    range.end = 31004;
    struct rig_task t = { .id = "t", .agent = agent, .command = "x", .cpus = 1, .mem = 24, .extra = &ports };
    launch(&t);
    rig_expect(&rig, "s0 Update t TASK_ERROR TASK_INVALID 'Resource 'ports:[31005-31004]' is invalid: Invalid ranges "
                     "resource: begin > end'\n");
    next_offer();
    range.end = 31010;
    launch(&t);
    assert_true(rig_said(&rig, "TASK_ERROR"));
    next_offer();
    range.end = 31006;
    launch(&t);
    rig_run(&rig, 1000);
    assert_true(rig_said(&rig, "cpus:3 mem:1000 ports:[31000-31004, 31007-31009]"));
}

static void test_duplicate_and_unreachable_ids(void **state)
{
    (void)state;
    rig_agents(&rig, 2);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    char first[64], agent[64];
    snprintf(first, sizeof first, "%s-O0", master_id(rig.m));
    snprintf(agent, sizeof agent, "%s-S0", master_id(rig.m));
    struct rig_task t = { .id = "t", .agent = agent, .command = "x", .cpus = 1, .mem = 32 };
    rig_launch(&rig, 0, first, &t);
    buf_reset(&rig.log);
    t.agent = rig.offer_agent;
    launch(&t);
    rig_expect(&rig, "s0 Update t TASK_ERROR TASK_INVALID 'Task has duplicate ID: t'\n");
    master_lose_agent(rig.m, master_find_agent(rig.m, "S0"), AGENT_LOSS_UNREACHABLE, false, rig.now);
    next_offer();
    launch(&t);
    rig_expect(&rig, "s0 Update t TASK_ERROR TASK_INVALID 'Task reuses the ID of an unreachable task: t'\n");
}

static void test_executor_is_counted_once(void **state)
{
    (void)state;
    begin();
    char agent[64];
    snprintf(agent, sizeof agent, "%s", rig.offer_agent);
    struct rig_task t = { .id = "a", .executor = "e", .agent = agent, .command = "x", .cpus = 1, .mem = 100 };
    launch(&t);
    rig_run(&rig, 1000);
    assert_true(rig_said(&rig, "cpus:2.9 mem:892 "));
    t.id = "b";
    launch(&t);
    rig_run(&rig, 1000);
    assert_true(rig_said(&rig, "cpus:1.9 mem:792 "));
    buf_reset(&rig.log);
    t.id = "c";
    t.command = "another";
    launch(&t);
    assert_true(rig_said(&rig, "s0 Update c TASK_ERROR TASK_INVALID 'ExecutorInfo is not compatible with existing "
                               "ExecutorInfo with same ExecutorID."));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_invalid_offers),
        T(test_invalid_offers_partition_aware),
        T(test_offers_of_two_agents),
        T(test_rest_is_offered_again),
        T(test_decline_without_refusal),
        T(test_decline_with_refusal),
        T(test_refusal_of_less),
        T(test_revive_clears_refusals),
        T(test_suppress),
        T(test_offer_timeout_and_rescind),
        T(test_two_frameworks_share),
        T(test_special_resources),
        T(test_task_texts),
        T(test_task_infos),
        T(test_ports),
        T(test_duplicate_and_unreachable_ids),
        T(test_executor_is_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
