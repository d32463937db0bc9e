/* The subscribe table (reference: mesos-scheduler, section 4) and what follows from a lost connection, on virtual time.
 */
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

static void again_with(int s, bool force)
{
    rig_subscribe_as(&rig, s,
                     &(struct rig_subscription){ .id = rig.framework_id, .force = force, .failover_timeout = 10 });
}

static void test_new_framework(void **state)
{
    (void)state;
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_expect(&rig, "s0 Registered 0000\n");
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Offers O0@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
    rig_subscribe(&rig, 1);
    rig_expect(&rig, "s1 Registered 0001\n");
    assert_string_equal(buf_cstr(&rig.links), "s0 s1 ");
}

static void test_retry_without_id_keeps_offers(void **state)
{
    (void)state;
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
    rig_subscribe(&rig, 0);
    rig_expect(&rig, "s0 Registered 0000\n");
    rig_run(&rig, 5000);
    rig_expect(&rig, "");
}

static void test_unknown_id_is_adopted(void **state)
{
    (void)state;
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .id = "some-other-0042" });
    rig_expect(&rig, "s0 Registered 0042\n");
    rig_subscribe_as(&rig, 1, &(struct rig_subscription){ .id = "some-other-0043", .force = true });
    rig_expect(&rig, "s1 Registered 0043\n");
}

static void test_other_pid_without_force(void **state)
{
    (void)state;
    rig_subscribe(&rig, 0);
    buf_reset(&rig.log);
    again_with(1, false);
    rig_expect(&rig, "s1 Error 'Framework failed over'\n");
    /* Also while the incumbent is away. */
    master_exited(rig.m, &rig.s[0], rig.now);
    buf_reset(&rig.log);
    again_with(1, false);
    rig_expect(&rig, "s1 Error 'Framework failed over'\n");
}

static void test_same_pid_without_force(void **state)
{
    (void)state;
    rig_agents(&rig, 2);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
    again_with(0, false);
    rig_expect(&rig, "s0 Rescind O0\ns0 Rescind O1\ns0 Reregistered 0000\n");
    rig_run(&rig, 1100);
    assert_true(rig_said(&rig, "s0 Offers O2@S0"));
    assert_true(rig_said(&rig, " O3@S1"));
}

static void test_force_from_another(void **state)
{
    (void)state;
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
    again_with(1, true);
    rig_expect(&rig, "s0 Error 'Framework failed over'\ns1 Registered 0000\n");
    rig_run(&rig, 50);
    rig_expect(&rig, "s1 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
    /* The old one's calls are ignored, its subscription refused. */
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__TEARDOWN);
    rig_expect(&rig, "");
    again_with(0, false);
    rig_expect(&rig, "s0 Error 'Framework failed over'\n");
}

static void test_force_from_the_same(void **state)
{
    (void)state;
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
    again_with(0, true);
    rig_expect(&rig, "s0 Registered 0000\n");
    rig_run(&rig, 50);
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
}

static void test_removed_framework(void **state)
{
    (void)state;
    rig_subscribe(&rig, 0);
    rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__TEARDOWN);
    buf_reset(&rig.log);
    again_with(0, true);
    rig_expect(&rig, "s0 Error 'Framework has been removed'\n");
}

/* The last of many stays dead; the first is forgotten, as a real master forgets. */
static void test_completed_limit(void **state)
{
    (void)state;
    char first[64];
    for (int i = 0; i <= 50; i++) {
        rig_subscribe(&rig, 0);
        if (i == 0) snprintf(first, sizeof first, "%s", rig.framework_id);
        rig_simple(&rig, 0, MESOS__SCHEDULER__CALL__TYPE__TEARDOWN);
    }
    buf_reset(&rig.log);
    again_with(0, true);
    rig_expect(&rig, "s0 Error 'Framework has been removed'\n");
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .id = first });
    rig_expect(&rig, "s0 Registered 0000\n");
}

static void test_disconnect_and_return(void **state)
{
    (void)state;
    rig_agents(&rig, 1);
    rig_subscribe(&rig, 0);
    rig_run(&rig, 50);
    buf_reset(&rig.log);
    master_exited(rig.m, &rig.s[0], rig.now);
    rig_expect(&rig, "s0 Error 'Framework disconnected'\ns0 Rescind O0\n");
    rig_reconcile(&rig, 0, NULL, NULL);
    rig_expect(&rig, "s0 Error 'Framework disconnected'\n");
    rig_run(&rig, 9000);
    rig_expect(&rig, "");
    again_with(0, false);
    rig_expect(&rig, "s0 Reregistered 0000\n");
    rig_run(&rig, 60000); /* the failover timer is off */
    rig_expect(&rig, "s0 Offers O1@S0 cpus:4 mem:1024 ports:[31000-31009]\n");
}

static void test_failover_timeout(void **state)
{
    (void)state;
    rig_subscribe(&rig, 0);
    master_exited(rig.m, &rig.s[0], rig.now);
    rig_run(&rig, 9999);
    buf_reset(&rig.log);
    again_with(1, true);
    rig_expect(&rig, "s1 Registered 0000\n");
    master_exited(rig.m, &rig.s[1], rig.now);
    rig_run(&rig, 10000);
    buf_reset(&rig.log);
    again_with(1, true);
    rig_expect(&rig, "s1 Error 'Framework has been removed'\n");
}

/* What is wrong with a FrameworkInfo is told; what is missing is dropped with the call. */
static void test_refused_infos(void **state)
{
    (void)state;
    static const struct {
        struct rig_subscription with;
        const char *text;
    } cases[] = {
        { { .role = "" }, "'FrameworkInfo.role' is not a valid role: Role names cannot be the empty string" },
        { { .role = "/a" }, "'FrameworkInfo.role' is not a valid role: Role '/a' cannot start with a slash" },
        { { .role = "a/" }, "'FrameworkInfo.role' is not a valid role: Role 'a/' cannot end with a slash" },
        { { .role = "a//b" },
          "'FrameworkInfo.role' is not a valid role: Role 'a//b' cannot contain two adjacent slashes" },
        { { .role = "a/." }, "'FrameworkInfo.role' is not a valid role: Role 'a/.' cannot include '.' as a component" },
        { { .role = "a/*" }, "'FrameworkInfo.role' is not a valid role: Role 'a/*' cannot include '*' as a component" },
        { { .role = "-a" },
          "'FrameworkInfo.role' is not a valid role: Role component '-a' is invalid because it starts with a dash" },
        { { .role = "a b" },
          "'FrameworkInfo.role' is not a valid role: Role component 'a b' is invalid because it contains backspace or "
          "whitespace" },
        { { .id = "a/b" }, "'a/b' contains invalid characters" },
        { { .failover_timeout = 1e10 }, "The framework failover_timeout (1e+10) is invalid" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf want = { 0 };
        rig_subscribe_as(&rig, 0, &cases[i].with);
        buf_addf(&want, "s0 Error '%s'\n", cases[i].text);
        rig_expect(&rig, buf_cstr(&want));
        buf_release(&want);
    }
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .failover_timeout = -1, .role = "a/b", .name = "" });
    rig_expect(&rig, "s0 Registered 0000\n");
}

static void test_principal_is_fixed(void **state)
{
    (void)state;
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .principal = "p" });
    buf_reset(&rig.log);
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .id = rig.framework_id, .principal = "q" });
    rig_expect(&rig, "s0 Error 'Changing framework's principal is not allowed.'\n");
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .id = rig.framework_id });
    rig_expect(&rig, "s0 Error 'Changing framework's principal is not allowed.'\n");
}

static void test_broken_calls_are_dropped(void **state)
{
    (void)state;
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    id.value = (char *)"x";
    rig_call(&rig, 0, &c); /* no type */
    c.has_type = true;
    c.type = MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE;
    rig_call(&rig, 0, &c); /* no subscribe */
    rig_subscribe(&rig, 0);
    buf_reset(&rig.log);
    c.framework_id = &id;
    for (int type = 0; type < 20; type++) {
        c.type = (Mesos__Scheduler__Call__Type)type;
        rig_call(&rig, 0, &c); /* a framework that nobody knows, without the parts */
        rig_call_type(&rig, 1, (Mesos__Scheduler__Call__Type)type, &c); /* from somebody else */
        c.framework_id = &id;
    }
    master_receive(rig.m, &rig.s[0], STR("mesos.scheduler.Call"), "\xff\xff", 2, rig.now);
    master_receive(rig.m, &rig.s[0], STR("mesos.internal.Nonsense"), "", 0, rig.now);
    rig_expect(&rig, "");
    rig_ack_as(&rig, 0, "t", "a", (const uint8_t *)"xxxxxxxxxxxxxxxx", 16);
    rig_ack_as(&rig, 0, "t", "a", (const uint8_t *)"short", 5);
    rig_expect(&rig, "");
}

/* The id in the call and in the info must be the same, both or none. */
static void test_ids_must_agree(void **state)
{
    (void)state;
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Subscribe sub = MESOS__SCHEDULER__CALL__SUBSCRIBE__INIT;
    Mesos__FrameworkInfo info = MESOS__FRAMEWORK_INFO__INIT;
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    id.value = (char *)"x";
    info.user = info.name = (char *)"";
    sub.framework_info = &info;
    c.has_type = true;
    c.type = MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE;
    c.subscribe = &sub;
    c.framework_id = &id;
    rig_call(&rig, 0, &c);
    c.framework_id = NULL;
    info.id = &id;
    rig_call(&rig, 0, &c);
    rig_expect(&rig, "");
    c.framework_id = &id;
    rig_call(&rig, 0, &c);
    rig_expect(&rig, "s0 Registered x\n");
}

static void test_authentication(void **state)
{
    (void)state;
    struct master_config c = rig_config(&rig);
    c.authenticate = true;
    master_free(rig.m);
    rig_open_config(&rig, &c);
    rig_subscribe(&rig, 0);
    rig_expect(&rig, "s0 Error 'Framework at scheduler-A@127.0.0.1:6000 is not authenticated'\n");
    /* A subscription that comes meanwhile waits, and is lost if it fails. */
    master_authenticating(rig.m, &rig.s[0], rig.now);
    rig_subscribe(&rig, 0);
    master_authenticated(rig.m, &rig.s[0], NULL, rig.now);
    rig_expect(&rig, "");
    master_authenticating(rig.m, &rig.s[0], rig.now);
    rig_subscribe(&rig, 0);
    rig_expect(&rig, "");
    master_authenticated(rig.m, &rig.s[0], "aurora", rig.now);
    rig_expect(&rig, "s0 Registered 0000\n");
    rig_subscribe_as(&rig, 0, &(struct rig_subscription){ .principal = "other" });
    rig_expect(&rig, "s0 Error 'Framework principal 'other' does not match authenticated principal 'aurora''\n");
    /* A lost connection takes it away. */
    master_exited(rig.m, &rig.s[0], rig.now);
    buf_reset(&rig.log);
    again_with(0, false);
    rig_expect(&rig, "s0 Error 'Framework at scheduler-A@127.0.0.1:6000 is not authenticated'\n");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_new_framework),          T(test_retry_without_id_keeps_offers),
        T(test_unknown_id_is_adopted),  T(test_other_pid_without_force),
        T(test_same_pid_without_force), T(test_force_from_another),
        T(test_force_from_the_same),    T(test_removed_framework),
        T(test_completed_limit),        T(test_disconnect_and_return),
        T(test_failover_timeout),       T(test_refused_infos),
        T(test_principal_is_fixed),     T(test_broken_calls_are_dropped),
        T(test_ids_must_agree),         T(test_authentication),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
