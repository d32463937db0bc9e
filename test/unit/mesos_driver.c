/* The driver against a scripted master on a real socket. */
#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "core/store.h"
#include "mesos/proto.h"
#include "test/lib/mesos_master.h"
#include "test/lib/mesos_offers.h"
#include "test/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mesos/authentication.pb-c.h"
#include "mesos/messages.pb-c.h"

static void start(struct test_master *m, const char *id)
{
    struct driver_config c = { .framework = { .id = str_c(id) } };
    test_master_start(m, &c);
}

static int set_up(void **state)
{
    start(*state = xcalloc(1, sizeof(struct test_master)), NULL);
    return 0;
}

static int tear_down(void **state)
{
    test_master_stop(*state);
    free(*state);
    return 0;
}

#define MASTER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static int64_t stat_of(struct test_master *m, const char *name)
{
    return stat_get(stats_int(m->stats, name));
}

/* ---------------- registration ---------------- */

static void test_a_new_framework_registers(void **state)
{
    struct test_master *m = *state;
    assert_int_equal(stat_of(m, "framework_registered"), 0);
    test_master_connect(m);
    assert_true(driver_connected(m->driver));
    assert_int_equal(stat_of(m, "framework_registered"), 1);
    assert_int_equal(stat_of(m, "scheduler_framework_reregisters"), 0);
    assert_int_equal(strncmp(m->sender.id, "scheduler-", 10), 0);
    assert_int_equal(strlen(m->sender.id), 10 + 36);
}

static void test_a_stored_id_is_taken_over_once(void **state)
{
    (void)state;
    struct test_master m;
    start(&m, "F-9");
    test_master_detect(&m);
    test_master_expect(&m, "SUBSCRIBE id=F-9 force=1\n");
    test_master_register(&m, "F-9", true);
    test_master_expect(&m, "registered F-9 first=1\n");
    test_master_detect(&m); /* the same master again */
    test_master_expect(&m, "disconnected\nSUBSCRIBE id=F-9 force=0\n");
    assert_int_equal(stat_of(&m, "framework_registered"), 0);
    test_master_register(&m, "F-9", false);
    test_master_expect(&m, "registered F-9 first=0\n");
    assert_int_equal(stat_of(&m, "scheduler_framework_reregisters"), 1);
    assert_int_equal(stat_of(&m, "scheduler_framework_disconnects"), 1);
    test_master_stop(&m);
}

static void test_subscribe_is_repeated_until_answered(void **state)
{
    (void)state;
    struct test_master m;
    struct driver_config c = { .timing = { .registration_backoff = 1 } };
    test_master_start(&m, &c);
    test_master_detect(&m);
    test_master_expect(&m, "SUBSCRIBE id=- force=-\nSUBSCRIBE id=- force=-\nSUBSCRIBE id=- force=-\n");
    assert_true(stat_of(&m, "mesos_scheduler_subscription_attempts") >= 3);
    test_master_stop(&m);
}

static void test_a_second_registered_is_ignored(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_register(m, "F-1", true);
    test_master_register(m, "F-2", false);
    test_master_expect_nothing(m);
}

static void test_no_master_and_back(void **state)
{
    struct test_master *m = *state;
    assert_int_equal(driver_set_master(m->driver, "master@nowhere:5050"), ERR_MALFORMED);
    assert_int_equal(driver_set_master(m->driver, "127.0.0.1"), ERR_MALFORMED);
    assert_int_equal(driver_set_master(m->driver, ""), ERR_MALFORMED);
    assert_int_equal(driver_set_master(m->driver, NULL), 0);
    test_master_connect(m);
    assert_int_equal(driver_set_master(m->driver, NULL), 0);
    test_master_expect(m, "disconnected\n");
    assert_false(driver_connected(m->driver));
    char pid[32];
    snprintf(pid, sizeof(pid), "127.0.0.1:%u", m->port); /* without "master@" */
    assert_int_equal(driver_set_master(m->driver, pid), 0);
    test_master_expect(m, "SUBSCRIBE id=F-1 force=0\n");
}

static void test_a_lost_master_is_found_again(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_kill(m);
    test_master_expect(m, "disconnected\n");
    test_master_restart(m);
    test_master_expect(m, "SUBSCRIBE id=F-1 force=0\n");
    test_master_register(m, "F-1", true);
    test_master_expect(m, "registered F-1 first=1\n");
}

static void test_framework_disconnected_is_no_error(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_error(m, "Framework disconnected");
    test_master_expect(m, "disconnected\nSUBSCRIBE id=F-1 force=0\n");
    test_master_register(m, "F-1", false);
    test_master_expect(m, "registered F-1 first=0\n");
}

static void test_other_errors_are_fatal(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_error(m, "Framework failed over");
    test_master_expect(m, "disconnected\nfatal: Framework failed over\nDeactivateFrameworkMessage to=master\n");
    test_master_detect(m); /* has no effect any more */
    assert_false(driver_connected(m->driver));
}

static void test_an_error_while_subscribing_is_fatal(void **state)
{
    (void)state;
    struct test_master m;
    start(&m, "F-1");
    test_master_detect(&m);
    test_master_expect(&m, "SUBSCRIBE id=F-1 force=1\n");
    test_master_error(&m, "Framework has been removed");
    test_master_expect(&m, "fatal: Framework has been removed\n");
    test_master_stop(&m);
}

static void test_a_master_from_before_calls_is_refused(void **state)
{
    struct test_master *m = *state;
    test_master_detect(m);
    test_master_expect(m, "SUBSCRIBE id=- force=-\n");
    Mesos__Internal__FrameworkRegisteredMessage msg = MESOS__INTERNAL__FRAMEWORK_REGISTERED_MESSAGE__INIT;
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    Mesos__MasterInfo info = MESOS__MASTER_INFO__INIT;
    id.value = "F-1";
    info.id = "M";
    msg.framework_id = &id;
    msg.master_info = &info;
    test_master_send(m, "mesos.internal.FrameworkRegisteredMessage", &msg);
    test_master_expect(
        m, "fatal: the master says no version, so it is older than Mesos 0.23 and does not know our calls\n");
}

static void test_strangers_and_early_messages_are_dropped(void **state)
{
    struct test_master *m = *state;
    test_master_detect(m);
    test_master_expect(m, "SUBSCRIBE id=- force=-\n");
    test_master_offer(m, "O1", "S1"); /* not connected yet */
    test_master_expect_nothing(m);
    struct lp_process *master = m->master;
    m->master = m->session; /* another process at the same address */
    test_master_register(m, "F-1", true);
    test_master_error(m, "go away");
    test_master_expect_nothing(m);
    m->master = master;
    test_master_register(m, "F-1", true);
    test_master_expect(m, "registered F-1 first=1\n");
}

static void test_garbage_is_dropped(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_send_bytes(m, "mesos.internal.StatusUpdateMessage", "\xff\xff\xff", 3);
    test_master_send_bytes(m, "mesos.internal.StatusUpdateMessage", NULL, 0);
    test_master_send_bytes(m, "mesos.internal.ResourceOffersMessage", NULL, 0); /* empty, but well-formed */
    test_master_expect_nothing(m);
    test_master_send_bytes(m, "mesos.internal.NoSuchMessage", "x", 1);
    assert_true(RUN_UNTIL(&m->loop, stat_of(m, "mesos_scheduler_event_UNKNOWN") == 2));
    assert_int_equal(stat_of(m, "mesos_scheduler_event_UPDATE"), 0);
}

/* ---------------- offers and launches ---------------- */

static void rescind(struct test_master *m, const char *id)
{
    Mesos__Internal__RescindResourceOfferMessage msg = MESOS__INTERNAL__RESCIND_RESOURCE_OFFER_MESSAGE__INIT;
    Mesos__OfferID offer_id = MESOS__OFFER_ID__INIT;
    offer_id.value = (char *)id;
    msg.offer_id = &offer_id;
    test_master_send(m, "mesos.internal.RescindResourceOfferMessage", &msg);
}

static struct api_job_key job = { STR("r"), STR("e"), STR("n") };
static struct api_executor_config executor = { STR("CommandExecutor"), STR("true") };
static struct api_task_config task_config = { .job = &job, .executor_config = &executor };
static struct config config = { .api = &task_config, .refs = 1 };
static const struct carve cpu_carve = { .index = 1, .kind = RES_CPUS, .amount = 100 };

static struct task task_named(const char *id)
{
    return (struct task){ .refs = 1, .config = &config, .id = str_c(id), .slave_id = STR("S1") };
}

static void launch(struct test_master *m, const char *offer_id, const struct task *tasks, uint32_t n)
{
    struct launch_task *lt = calloc(n, sizeof(*lt));
    for (uint32_t i = 0; i < n; i++)
        lt[i] = (struct launch_task){
            .task = &tasks[i], .tier = STR("preferred"), .task_resources = &cpu_carve, .n_task_resources = 1
        };
    struct effect e = { .type = EFFECT_LAUNCH };
    e.launch.offer_id = str_c(offer_id);
    e.launch.tasks = lt;
    e.launch.n_tasks = n;
    e.launch.refuse_ms = 5000;
    driver_effect(m->driver, &e);
    free(lt);
}

static void decline(struct test_master *m, const struct str *ids, uint32_t n, int64_t refuse_ms)
{
    struct effect e = { .type = EFFECT_DECLINE };
    e.decline.offer_ids = ids;
    e.decline.n = n;
    e.decline.refuse_ms = refuse_ms;
    driver_effect(m->driver, &e);
}

static void test_offers_are_used_and_declined(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_offer(m, "O1", "S1");
    test_master_offer(m, "O2", "S2");
    test_master_offer(m, "O3", "S3");
    test_master_expect(m, "offers O1@S1\noffers O2@S2\noffers O3@S3\n");
    struct task tasks[] = { task_named("a"), task_named("b") };
    launch(m, "O1", tasks, 2);
    const struct str ids[] = { STR("O2"), STR("O3") };
    decline(m, ids, 2, 500);
    test_master_expect(m, "ACCEPT O1 tasks=a,b refuse=5\nDECLINE O2,O3 refuse=0.5\n");
    assert_int_equal(stat_of(m, "scheduler_resource_offers"), 3);
    launch(m, "O1", tasks, 1); /* used up */
    test_master_expect(m, "status a TASK_LOST REASON_INVALID_OFFERS ack=0\n");
}

static void test_a_task_that_cannot_be_built_is_lost(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_offer(m, "O1", "S1");
    test_master_expect(m, "offers O1@S1\n");
    struct api_executor_config unknown = { STR("unknown"), STR("") };
    struct api_task_config odd = { .job = &job, .executor_config = &unknown };
    struct config odd_config = { .api = &odd, .refs = 1 };
    struct task tasks[] = { task_named("a"), task_named("odd") };
    tasks[1].config = &odd_config;
    launch(m, "O1", tasks, 2);
    test_master_expect(m, "status odd TASK_LOST REASON_INVALID_OFFERS ack=0\nACCEPT O1 tasks=a refuse=5\n");
    test_master_offer(m, "O2", "S1");
    test_master_expect(m, "offers O2@S1\n");
    launch(m, "O2", &tasks[1], 1); /* nothing is left of it: a decline */
    test_master_expect(m, "status odd TASK_LOST REASON_INVALID_OFFERS ack=0\nACCEPT O2 tasks= refuse=5\n");
}

/* protobuf-c takes a field number 0 in two bytes, but not in the one byte that it makes of them. */
static void test_an_offer_that_cannot_be_read_again(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    struct buf offer = { 0 }, body = { 0 };
    proto_pack(test_plain_offer("O1", "S1", &m->arena), &offer);
    buf_add(&offer, "\x80\x00\x00", 3);
    buf_addc(&body, '\x0a');
    buf_addc(&body, (char)(offer.len % 128 | 128));
    buf_addc(&body, (char)(offer.len / 128));
    buf_add(&body, offer.data, offer.len);
    test_master_send_bytes(m, "mesos.internal.ResourceOffersMessage", body.data, body.len);
    test_master_expect(m, "offers O1@S1\n");
    struct task t = task_named("a");
    launch(m, "O1", &t, 1);
    test_master_expect(m, "status a TASK_LOST REASON_INVALID_OFFERS ack=0\nACCEPT O1 tasks= refuse=5\n");
    buf_release(&offer);
    buf_release(&body);
}

static void test_rescinded_offers_are_gone(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_offer(m, "O1", "S1");
    rescind(m, "O1");
    test_master_expect(m, "offers O1@S1\nrescind O1\n");
    struct task t = task_named("a");
    launch(m, "O1", &t, 1);
    test_master_expect(m, "status a TASK_LOST REASON_INVALID_OFFERS ack=0\n");
    rescind(m, "O2"); /* overtakes its offer */
    test_master_expect(m, "rescind O2\n");
    test_master_offer(m, "O2", "S1");
    test_master_expect_nothing(m);
    assert_int_equal(stat_of(m, "offers_rescinded"), 2);
}

static void test_offers_end_with_the_connection(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    test_master_offer(m, "O1", "S1");
    test_master_expect(m, "offers O1@S1\n");
    struct buf b = { 0 };
    driver_write_offer(m->driver, STR("O1"), &b);
    assert_non_null(strstr(buf_cstr(&b), "\"agent_id\":{\"value\":\"S1\"}"));
    buf_reset(&b);
    test_master_detect(m);
    test_master_expect(m, "disconnected\nSUBSCRIBE id=F-1 force=0\n");
    driver_write_offer(m->driver, STR("O1"), &b);
    assert_int_equal(b.len, 0);
    buf_release(&b);
    test_master_register(m, "F-1", false);
    test_master_expect(m, "registered F-1 first=0\n");
    struct task t = task_named("a");
    launch(m, "O1", &t, 1);
    test_master_expect(m, "status a TASK_LOST REASON_INVALID_OFFERS ack=0\n");
}

static void test_launches_while_disconnected(void **state)
{
    struct test_master *m = *state;
    struct task tasks[] = { task_named("a"), task_named("b") };
    launch(m, "O1", tasks, 2);
    assert_int_equal(m->trace.len, 0); /* later, not inside the call */
    test_master_expect(m, "status a TASK_LOST REASON_MASTER_DISCONNECTED ack=0\n"
                          "status b TASK_LOST REASON_MASTER_DISCONNECTED ack=0\n");
    test_master_stop(m);
    struct driver_config c = { .framework = { .partition_aware = true } };
    test_master_start(m, &c);
    launch(m, "O1", tasks, 1);
    test_master_expect(m, "status a TASK_DROPPED REASON_MASTER_DISCONNECTED ack=0\n");
    launch(m, "O1", tasks, 1); /* closed before it is told: nothing leaks */
}

static void count_updates(struct test_master *m, const struct sched_event *ev)
{
    *(uint32_t *)m->arg += ev->status.n;
}

static void test_local_losses_are_bounded(void **state)
{
    struct test_master *m = *state;
    uint32_t seen = 0;
    m->on_event = count_updates;
    m->arg = &seen;
    struct task *tasks = calloc(LIMIT_DRIVER_LOCAL_UPDATES + 1, sizeof(*tasks));
    for (int i = 0; i <= LIMIT_DRIVER_LOCAL_UPDATES; i++) tasks[i] = task_named("t");
    launch(m, "O1", tasks, LIMIT_DRIVER_LOCAL_UPDATES + 1);
    assert_true(RUN_UNTIL(&m->loop, seen > 0));
    assert_int_equal(seen, LIMIT_DRIVER_LOCAL_UPDATES);
    launch(m, "O1", tasks, LIMIT_DRIVER_LOCAL_UPDATES);
    assert_true(RUN_UNTIL(&m->loop, seen > LIMIT_DRIVER_LOCAL_UPDATES));
    assert_int_equal(seen, 2 * LIMIT_DRIVER_LOCAL_UPDATES);
    free(tasks);
}

static void count_offers(struct test_master *m, const struct sched_event *ev)
{
    *(uint32_t *)m->arg += ev->offers.n;
}

static bool ends_with(const struct buf *b, const char *text)
{
    size_t n = strlen(text);
    return b->len >= n && memcmp(b->data + b->len - n, text, n) == 0;
}

static void test_offers_beyond_the_limit_are_declined(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    uint32_t seen = 0;
    m->on_event = count_offers;
    m->arg = &seen;
    Mesos__Internal__ResourceOffersMessage msg = MESOS__INTERNAL__RESOURCE_OFFERS_MESSAGE__INIT;
    msg.n_offers = LIMIT_DRIVER_OFFERS + 1;
    msg.offers = calloc(msg.n_offers, sizeof(Mesos__Offer *));
    struct arena a = { 0 };
    for (size_t i = 0; i < msg.n_offers; i++) {
        msg.offers[i] = proto_new(&mesos__offer__descriptor, &a);
        msg.offers[i]->id = proto_new(&mesos__offer_id__descriptor, &a);
        msg.offers[i]->id->value = proto_str(arena_strf(&a, "O%zu", i), &a);
        msg.offers[i]->framework_id = proto_new(&mesos__framework_id__descriptor, &a);
        msg.offers[i]->framework_id->value = "F-1";
        msg.offers[i]->slave_id = proto_new(&mesos__slave_id__descriptor, &a);
        msg.offers[i]->slave_id->value = "S";
        msg.offers[i]->hostname = "h";
    }
    test_master_send(m, "mesos.internal.ResourceOffersMessage", &msg);
    assert_true(RUN_UNTIL(&m->loop, ends_with(&m->trace, "DECLINE O200000 refuse=5\n")));
    assert_int_equal(seen, LIMIT_DRIVER_OFFERS);
    buf_reset(&m->trace);
    m->on_event = NULL;
    static const struct str one = STR("O5");
    decline(m, &one, 1, 0);
    test_master_expect(m, "DECLINE O5 refuse=0\n");
    test_master_offer(m, "P1", "S");
    test_master_expect(m, "offers P1@S\n");
    test_master_offer(m, "P2", "S");
    test_master_expect(m, "DECLINE P2 refuse=5\n");
    free(msg.offers);
    arena_release(&a);
}

/* ---------------- status updates, kills, reconciliation ---------------- */

struct update_spec {
    const char *framework, *pid, *agent;
    const void *uuid;
    size_t n_uuid;
};

static void send_update(struct test_master *m, const struct update_spec *s)
{
    Mesos__Internal__StatusUpdateMessage msg = MESOS__INTERNAL__STATUS_UPDATE_MESSAGE__INIT;
    Mesos__Internal__StatusUpdate u = MESOS__INTERNAL__STATUS_UPDATE__INIT;
    Mesos__TaskStatus st = MESOS__TASK_STATUS__INIT;
    Mesos__FrameworkID framework = MESOS__FRAMEWORK_ID__INIT;
    Mesos__TaskID task = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    framework.value = (char *)s->framework;
    task.value = "a";
    agent.value = (char *)s->agent;
    st.task_id = &task;
    st.state = MESOS__TASK_STATE__TASK_RUNNING;
    st.slave_id = s->agent ? &agent : NULL;
    u.framework_id = &framework;
    u.status = &st;
    u.has_uuid = s->uuid != NULL;
    u.uuid = (ProtobufCBinaryData){ s->n_uuid, (uint8_t *)s->uuid };
    /* The status has one in any case; it does not count. */
    st.has_uuid = true;
    st.uuid = (ProtobufCBinaryData){ 16, (uint8_t *)"0123456789abcdef" };
    msg.update = &u;
    msg.pid = (char *)s->pid;
    test_master_send(m, "mesos.internal.StatusUpdateMessage", &msg);
}

static void test_which_updates_want_an_acknowledgement(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    static const char uuid[] = "0123456789abcdef", agent_pid[] = "slave(1)@127.0.0.1:5051";
    const struct {
        struct update_spec spec;
        const char *want;
    } cases[] = {
        { { "F-1", agent_pid, "S1", uuid, 16 }, "status a TASK_RUNNING - ack=1\n" },
        { { "F-1", "@0.0.0.0:0", "S1", uuid, 16 }, "status a TASK_RUNNING - ack=0\n" },
        { { "F-1", "rubbish", "S1", uuid, 16 }, "status a TASK_RUNNING - ack=0\n" },
        { { "F-1", NULL, "S1", uuid, 16 }, "status a TASK_RUNNING - ack=0\n" },
        { { "F-1", agent_pid, "S1", NULL, 0 }, "status a TASK_RUNNING - ack=0\n" },
        { { "F-1", agent_pid, "S1", uuid, 0 }, "status a TASK_RUNNING - ack=0\n" },
        { { "F-1", agent_pid, "S1", uuid, 15 }, "status a TASK_RUNNING - ack=0\n" },
        { { "F-1", agent_pid, NULL, uuid, 16 }, "status a TASK_RUNNING - ack=0\n" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        send_update(m, &cases[i].spec);
        test_master_expect(m, cases[i].want);
    }
    send_update(m, &(struct update_spec){ "F-2", agent_pid, "S1", uuid, 16 }); /* not ours */
    test_master_expect_nothing(m);
    assert_int_equal(stat_of(m, "scheduler_status_update"), 8);
}

static void effect_ack(struct test_master *m)
{
    struct effect e = { .type = EFFECT_ACK };
    e.ack.task_id = STR("a");
    e.ack.agent_id = STR("S1");
    driver_effect(m->driver, &e);
}

static void effect_kill(struct test_master *m, struct str agent)
{
    struct effect e = { .type = EFFECT_KILL };
    e.kill.task_id = STR("a");
    e.kill.agent_id = agent;
    driver_effect(m->driver, &e);
}

static void effect_reconcile(struct test_master *m, uint32_t n)
{
    static const struct task_on_agent tasks[] = { { STR("a"), STR("S1") }, { STR("b"), { 0 } } };
    struct effect e = { .type = EFFECT_RECONCILE };
    e.reconcile.tasks = tasks;
    e.reconcile.n = n;
    driver_effect(m->driver, &e);
}

static void all_small_effects(struct test_master *m)
{
    effect_kill(m, STR("S1"));
    effect_kill(m, (struct str){ 0 });
    effect_reconcile(m, 2);
    effect_reconcile(m, 0);
    effect_ack(m);
}

static void test_effects_become_calls(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    all_small_effects(m);
    test_master_expect(m, "KILL a agent=S1\nKILL a agent=-\nRECONCILE a@S1 b@-\nRECONCILE\nACKNOWLEDGE a@S1\n");
}

static void test_nothing_is_sent_while_disconnected(void **state)
{
    struct test_master *m = *state;
    all_small_effects(m);
    static const struct str id = STR("O1");
    decline(m, &id, 1, 0);
    driver_revive(m->driver);
    test_master_detect(m);
    all_small_effects(m);
    test_master_expect(m, "SUBSCRIBE id=- force=-\n");
    test_master_expect_nothing(m);
    assert_int_equal(stat_of(m, "scheduler_driver_kill_failures"), 4);
}

static void test_suppress_is_remembered(void **state)
{
    struct test_master *m = *state;
    driver_suppress(m->driver);
    test_master_detect(m);
    test_master_expect(m, "SUBSCRIBE id=- force=-\n");
    test_master_register(m, "F-1", true);
    test_master_expect(m, "registered F-1 first=1\nSUPPRESS\n");
    driver_revive(m->driver);
    test_master_expect(m, "REVIVE\n");
    test_master_detect(m);
    test_master_expect(m, "disconnected\nSUBSCRIBE id=F-1 force=0\n");
    test_master_register(m, "F-1", false);
    test_master_expect(m, "registered F-1 first=0\n");
    driver_suppress(m->driver);
    test_master_expect(m, "SUPPRESS\n");
}

static void test_lost_agents_and_executors(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    Mesos__FrameworkID framework = MESOS__FRAMEWORK_ID__INIT;
    Mesos__ExecutorID executor_id = MESOS__EXECUTOR_ID__INIT;
    agent.value = "S1";
    framework.value = "F-1";
    executor_id.value = "e";
    Mesos__Internal__LostSlaveMessage lost = MESOS__INTERNAL__LOST_SLAVE_MESSAGE__INIT;
    lost.slave_id = &agent;
    test_master_send(m, "mesos.internal.LostSlaveMessage", &lost);
    Mesos__Internal__ExitedExecutorMessage exited = MESOS__INTERNAL__EXITED_EXECUTOR_MESSAGE__INIT;
    exited.slave_id = &agent;
    exited.framework_id = &framework;
    exited.executor_id = &executor_id;
    test_master_send(m, "mesos.internal.ExitedExecutorMessage", &exited);
    exited.status = 9;
    test_master_send(m, "mesos.internal.ExitedExecutorMessage", &exited);
    test_master_expect(m, "lost agent S1\nexited executor e@S1 status=0\nexited executor e@S1 status=9\n");
    assert_int_equal(stat_of(m, "slaves_lost"), 1);
    assert_int_equal(stat_of(m, "scheduler_lost_executors"), 1);
    assert_int_equal(stat_of(m, "mesos_scheduler_event_FAILURE"), 3);
}

/* ---------------- closing ---------------- */

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void test_closing_for_good_tears_down(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    bool closed = false;
    driver_close(m->driver, false, on_closed, &closed);
    test_master_expect(m, "TEARDOWN\n");
    assert_true(RUN_UNTIL(&m->loop, closed));
    m->driver = NULL;
}

static void close_inside(struct test_master *m, const struct sched_event *ev)
{
    (void)ev;
    driver_close(m->driver, true, on_closed, m->arg);
    m->driver = NULL;
}

static void test_closing_inside_a_callback(void **state)
{
    struct test_master *m = *state;
    test_master_connect(m);
    bool closed = false;
    m->on_event = close_inside;
    m->arg = &closed;
    test_master_error(m, "Framework failed over"); /* disconnected closes it, so that fatal does not come */
    test_master_expect(m, "disconnected\nDeactivateFrameworkMessage to=master\n");
    assert_true(RUN_UNTIL(&m->loop, closed));
    assert_int_equal(m->trace.len, 0);
}

/* ---------------- authentication ---------------- */

static void start_with_secret(struct test_master *m, int64_t timeout)
{
    struct driver_config c = { .principal = STR("tim"),
                               .secret = STR("tanstaaftanstaaf"),
                               .timing = { .authentication_timeout_min = timeout,
                                           .authentication_timeout_max = timeout } };
    test_master_start(m, &c);
}

static void send_from_session(struct test_master *m, const char *name, const void *message)
{
    struct lp_process *master = m->master;
    m->master = m->session;
    test_master_send(m, name, message);
    m->master = master;
}

static void send_mechanisms(struct test_master *m, char *name)
{
    Mesos__Internal__AuthenticationMechanismsMessage msg = MESOS__INTERNAL__AUTHENTICATION_MECHANISMS_MESSAGE__INIT;
    char *names[] = { "PLAIN", name };
    msg.mechanisms = names;
    msg.n_mechanisms = 2;
    send_from_session(m, "mesos.internal.AuthenticationMechanismsMessage", &msg);
}

static const char challenge[] = "<1896.697170952@postoffice.reston.mci.net>";

static void send_challenge(struct test_master *m)
{
    Mesos__Internal__AuthenticationStepMessage msg = MESOS__INTERNAL__AUTHENTICATION_STEP_MESSAGE__INIT;
    msg.data = (ProtobufCBinaryData){ strlen(challenge), (uint8_t *)challenge };
    send_from_session(m, "mesos.internal.AuthenticationStepMessage", &msg);
}

static void send_completed(struct test_master *m)
{
    Mesos__Internal__AuthenticationCompletedMessage msg = MESOS__INTERNAL__AUTHENTICATION_COMPLETED_MESSAGE__INIT;
    send_from_session(m, "mesos.internal.AuthenticationCompletedMessage", &msg);
}

#define ASKED "AuthenticateMessage to=master\n"
#define STARTED "AuthenticationStartMessage to=crammd5-authenticator-session(1)\n"
#define ANSWERED "AuthenticationStepMessage to=crammd5-authenticator-session(1)\n"

static void check_answer(struct test_master *m, struct str name, const void *body, size_t n)
{
    struct arena a = { 0 };
    if (str_eq(name, STR("mesos.internal.AuthenticationStepMessage"))) {
        const Mesos__Internal__AuthenticationStepMessage *msg =
            proto_unpack(&mesos__internal__authentication_step_message__descriptor, body, n, &a);
        assert_non_null(msg);
        static const char want[] = "tim b913a602c7eda7a495b4e6e7334d3890";
        assert_int_equal(msg->data.len, strlen(want));
        assert_memory_equal(msg->data.data, want, msg->data.len);
        *(bool *)m->arg = true;
    }
    arena_release(&a);
}

static void answer_login(struct test_master *m)
{
    send_mechanisms(m, "CRAM-MD5");
    test_master_expect(m, STARTED);
    send_challenge(m);
    test_master_expect(m, ANSWERED);
    send_completed(m);
}

static void log_in(struct test_master *m)
{
    test_master_expect(m, ASKED);
    answer_login(m);
}

static void test_cram_md5(void **state)
{
    (void)state;
    struct test_master m;
    start_with_secret(&m, 60000);
    bool answered = false;
    m.on_call = check_answer;
    m.arg = &answered;
    test_master_detect(&m);
    log_in(&m);
    assert_true(answered);
    test_master_expect(&m, "SUBSCRIBE id=- force=-\n");
    test_master_register(&m, "F-1", true);
    test_master_expect(&m, "registered F-1 first=1\n");
    /* Each way back begins with a login. */
    test_master_error(&m, "Framework disconnected");
    test_master_expect(&m, "disconnected\n" ASKED);
    assert_string_equal(m.sender.id, "crammd5-authenticatee(2)");
    test_master_stop(&m);
}

static void test_refused_authentication_is_fatal(void **state)
{
    (void)state;
    struct test_master m;
    start_with_secret(&m, 60000);
    test_master_detect(&m);
    test_master_expect(&m, ASKED);
    Mesos__Internal__AuthenticationFailedMessage msg = MESOS__INTERNAL__AUTHENTICATION_FAILED_MESSAGE__INIT;
    send_from_session(&m, "mesos.internal.AuthenticationFailedMessage", &msg);
    test_master_expect(&m, "fatal: Master refused authentication\n");
    test_master_stop(&m);
}

static void test_broken_authentication_begins_anew(void **state)
{
    (void)state;
    struct test_master m;
    start_with_secret(&m, 60000);
    test_master_detect(&m);
    test_master_expect(&m, ASKED);
    Mesos__Internal__AuthenticationErrorMessage msg = MESOS__INTERNAL__AUTHENTICATION_ERROR_MESSAGE__INIT;
    msg.error = "No authenticator loaded";
    send_from_session(&m, "mesos.internal.AuthenticationErrorMessage", &msg);
    test_master_expect(&m, ASKED);
    send_mechanisms(&m, "GSSAPI"); /* nothing for us */
    test_master_expect(&m, ASKED);
    send_challenge(&m); /* out of order */
    test_master_expect(&m, ASKED);
    send_completed(&m);
    test_master_expect(&m, ASKED);
    send_mechanisms(&m, "CRAM-MD5");
    test_master_expect(&m, STARTED);
    send_mechanisms(&m, "CRAM-MD5"); /* a second time */
    test_master_expect(&m, ASKED);
    assert_string_equal(m.sender.id, "crammd5-authenticatee(6)");
    answer_login(&m);
    test_master_expect(&m, "SUBSCRIBE id=- force=-\n");
    test_master_stop(&m);
}

static void count_warning(enum log_level level, const char *line, void *arg)
{
    if (level >= LOG_INFO && strstr(line, "mesos_broken")) ++*(int *)arg;
}

static void test_a_reason_is_logged_once(void **state)
{
    (void)state;
    struct test_master m;
    int lines = 0;
    logline_set_sink(count_warning, &lines);
    start_with_secret(&m, 60000);
    test_master_detect(&m);
    Mesos__Internal__AuthenticationErrorMessage msg = MESOS__INTERNAL__AUTHENTICATION_ERROR_MESSAGE__INIT;
    for (int i = 0; i < 3; i++) {
        test_master_expect(&m, ASKED);
        msg.error = "No authenticator loaded";
        send_from_session(&m, "mesos.internal.AuthenticationErrorMessage", &msg);
    }
    test_master_expect(&m, ASKED);
    assert_int_equal(lines, 1);
    msg.error = "another reason";
    send_from_session(&m, "mesos.internal.AuthenticationErrorMessage", &msg);
    test_master_expect(&m, ASKED);
    assert_int_equal(lines, 2);
    answer_login(&m);
    test_master_stop(&m);
    logline_set_sink(NULL, NULL);
}

static void test_unanswered_authentication_is_repeated(void **state)
{
    (void)state;
    struct test_master m;
    start_with_secret(&m, 1);
    test_master_detect(&m);
    test_master_expect(&m, ASKED ASKED ASKED);
    test_master_stop(&m);
}

static void test_a_forgotten_login_is_done_again(void **state)
{
    (void)state;
    struct test_master m;
    start_with_secret(&m, 60000);
    test_master_detect(&m);
    log_in(&m);
    test_master_expect(&m, "SUBSCRIBE id=- force=-\n");
    test_master_error(&m, "Framework at scheduler-x@127.0.0.1:1 is not authenticated");
    test_master_expect(&m, ASKED);
    test_master_stop(&m);
    start(&m, NULL); /* without a secret there is nothing to repeat */
    test_master_detect(&m);
    test_master_expect(&m, "SUBSCRIBE id=- force=-\n");
    test_master_error(&m, "Framework at x is not authenticated");
    test_master_expect(&m, "fatal: Framework at x is not authenticated\n");
    test_master_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MASTER_TEST(test_a_new_framework_registers),
        cmocka_unit_test(test_a_stored_id_is_taken_over_once),
        cmocka_unit_test(test_subscribe_is_repeated_until_answered),
        MASTER_TEST(test_a_second_registered_is_ignored),
        MASTER_TEST(test_no_master_and_back),
        MASTER_TEST(test_a_lost_master_is_found_again),
        MASTER_TEST(test_framework_disconnected_is_no_error),
        MASTER_TEST(test_other_errors_are_fatal),
        cmocka_unit_test(test_an_error_while_subscribing_is_fatal),
        MASTER_TEST(test_a_master_from_before_calls_is_refused),
        MASTER_TEST(test_strangers_and_early_messages_are_dropped),
        MASTER_TEST(test_garbage_is_dropped),
        MASTER_TEST(test_offers_are_used_and_declined),
        MASTER_TEST(test_a_task_that_cannot_be_built_is_lost),
        MASTER_TEST(test_an_offer_that_cannot_be_read_again),
        MASTER_TEST(test_rescinded_offers_are_gone),
        MASTER_TEST(test_offers_end_with_the_connection),
        MASTER_TEST(test_launches_while_disconnected),
        MASTER_TEST(test_local_losses_are_bounded),
        MASTER_TEST(test_offers_beyond_the_limit_are_declined),
        MASTER_TEST(test_which_updates_want_an_acknowledgement),
        MASTER_TEST(test_effects_become_calls),
        MASTER_TEST(test_nothing_is_sent_while_disconnected),
        MASTER_TEST(test_suppress_is_remembered),
        MASTER_TEST(test_lost_agents_and_executors),
        MASTER_TEST(test_closing_for_good_tears_down),
        MASTER_TEST(test_closing_inside_a_callback),
        cmocka_unit_test(test_cram_md5),
        cmocka_unit_test(test_refused_authentication_is_fatal),
        cmocka_unit_test(test_broken_authentication_begins_anew),
        cmocka_unit_test(test_a_reason_is_logged_once),
        cmocka_unit_test(test_unanswered_authentication_is_repeated),
        cmocka_unit_test(test_a_forgotten_login_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
