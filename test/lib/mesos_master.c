#include "test/lib/mesos_master.h"

#include "core/err.h"
#include "mesos/proto.h"
#include "test/lib/mesos_offers.h"
#include "test/lib/peer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mesos/messages.pb-c.h"
#include "mesos/scheduler.pb-c.h"

/* ---------------- the trace: calls ---------------- */

static const char *text_or_dash(struct str s)
{
    return s.p ? s.p : "-";
}

static void trace_offer_ids(struct buf *b, Mesos__OfferID *const *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) buf_addf(b, "%s%s", i > 0 ? "," : "", ids[i]->value);
}

static void trace_subscribe(struct buf *b, const Mesos__Scheduler__Call *c)
{
    const Mesos__Scheduler__Call__Subscribe *s = c->subscribe;
    const Mesos__FrameworkID *id = s->framework_info->id;
    assert_int_equal(id != NULL, c->framework_id != NULL);
    if (id && c->framework_id) assert_string_equal(id->value, c->framework_id->value);
    buf_addf(b, "SUBSCRIBE id=%s force=%s", id ? id->value : "-", !s->has_force ? "-" : s->force ? "1" : "0");
}

static void trace_accept(struct buf *b, const Mesos__Scheduler__Call__Accept *m)
{
    buf_adds(b, "ACCEPT ");
    trace_offer_ids(b, m->offer_ids, m->n_offer_ids);
    buf_adds(b, " tasks=");
    const char *sep = "";
    for (size_t i = 0; i < m->n_operations; i++) {
        for (size_t k = 0; k < m->operations[i]->launch->n_task_infos; k++) {
            buf_addf(b, "%s%s", sep, m->operations[i]->launch->task_infos[k]->task_id->value);
            sep = ",";
        }
    }
    buf_addf(b, " refuse=%g", m->filters->refuse_seconds);
}

static void trace_reconcile(struct buf *b, const Mesos__Scheduler__Call__Reconcile *m)
{
    buf_adds(b, "RECONCILE");
    for (size_t i = 0; i < m->n_tasks; i++)
        buf_addf(b, " %s@%s", m->tasks[i]->task_id->value, m->tasks[i]->slave_id ? m->tasks[i]->slave_id->value : "-");
}

static void trace_scheduler_call(struct buf *b, const Mesos__Scheduler__Call *c)
{
    switch (c->type) {
    case MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE:
        trace_subscribe(b, c);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__ACCEPT:
        trace_accept(b, c->accept);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__DECLINE:
        buf_adds(b, "DECLINE ");
        trace_offer_ids(b, c->decline->offer_ids, c->decline->n_offer_ids);
        buf_addf(b, " refuse=%g", c->decline->filters->refuse_seconds);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__KILL:
        buf_addf(b, "KILL %s agent=%s", c->kill->task_id->value, c->kill->slave_id ? c->kill->slave_id->value : "-");
        break;
    case MESOS__SCHEDULER__CALL__TYPE__RECONCILE:
        trace_reconcile(b, c->reconcile);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__ACKNOWLEDGE:
        assert_int_equal(c->acknowledge->uuid.len, 16);
        buf_addf(b, "ACKNOWLEDGE %s@%s", c->acknowledge->task_id->value, c->acknowledge->slave_id->value);
        break;
    default:
        buf_adds(b, proto_enum_name(&mesos__scheduler__call__type__descriptor, (int)c->type).p);
        break;
    }
    buf_addc(b, '\n');
}

static void on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    struct test_master *m = arg;
    m->sender = *from;
    if (m->on_call) m->on_call(m, name, body, n);
    if (!str_eq(name, STR("mesos.scheduler.Call"))) {
        const char *dot = memrchr(name.p, '.', name.n);
        buf_addf(&m->trace, "%.*s to=%s\n", (int)(name.p + name.n - dot - 1), dot + 1, lp_self(p)->id);
        return;
    }
    struct arena a = { 0 };
    const Mesos__Scheduler__Call *c = proto_unpack(&mesos__scheduler__call__descriptor, body, n, &a);
    assert_non_null(c);
    assert_true(c->has_type);
    trace_scheduler_call(&m->trace, c);
    arena_release(&a);
}

/* ---------------- the trace: events ---------------- */

static void trace_status(struct buf *b, const struct status_update *u)
{
    buf_addf(b, "status %s %s %s ack=%d\n", u->task_id.p,
             text_or_dash(proto_enum_name(&mesos__task_state__descriptor, u->state)), text_or_dash(u->reason_name),
             u->has_uuid);
}

static void trace_offers(struct buf *b, const struct sched_event *ev)
{
    buf_adds(b, "offers");
    for (uint32_t i = 0; i < ev->offers.n; i++) buf_addf(b, " %s@%s", ev->offers.v[i].id.p, ev->offers.v[i].agent_id.p);
    buf_addc(b, '\n');
}

static void on_event(const struct sched_event *ev, void *arg)
{
    struct test_master *m = arg;
    struct buf *b = &m->trace;
    assert_int_equal(ev->now_ms, 1234567);
    if (m->on_event) m->on_event(m, ev);
    switch (ev->type) {
    case EV_REGISTERED:
        buf_addf(b, "registered %s first=%d\n", ev->registered.framework_id.p, ev->registered.first);
        break;
    case EV_DISCONNECTED:
        buf_adds(b, "disconnected\n");
        break;
    case EV_OFFERS:
        trace_offers(b, ev);
        break;
    case EV_RESCIND:
        buf_addf(b, "rescind %s\n", ev->rescind.offer_id.p);
        break;
    case EV_STATUS:
        for (uint32_t i = 0; i < ev->status.n; i++) trace_status(b, &ev->status.v[i]);
        break;
    case EV_AGENT_LOST:
        buf_addf(b, "lost agent %s\n", ev->agent_lost.agent_id.p);
        break;
    case EV_EXECUTOR_LOST:
        buf_addf(b, "exited executor %s@%s status=%d\n", ev->executor_lost.executor_id.p, ev->executor_lost.agent_id.p,
                 ev->executor_lost.status);
        break;
    default:
        fail();
    }
}

static void on_fatal(const char *why, void *arg)
{
    struct test_master *m = arg;
    buf_addf(&m->trace, "fatal: %s\n", why);
}

static size_t count_lines(const char *text, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    return lines;
}

void test_master_expect(struct test_master *m, const char *lines)
{
    size_t want = count_lines(lines, strlen(lines));
    (void)RUN_UNTIL(&m->loop, count_lines((char *)m->trace.data, m->trace.len) >= want);
    assert_string_equal(buf_cstr(&m->trace), lines);
    buf_reset(&m->trace);
}

/* A message that no driver knows is counted, whatever the state. */
void test_master_settle(struct test_master *m)
{
    const struct stat *seen = stats_int(m->stats, "mesos_scheduler_event_UNKNOWN");
    int64_t before = stat_get(seen);
    test_master_send_bytes(m, "mesos.internal.SettleMessage", NULL, 0);
    assert_true(RUN_UNTIL(&m->loop, stat_get(seen) > before));
}

void test_master_expect_nothing(struct test_master *m)
{
    test_master_settle(m);
    assert_string_equal(buf_cstr(&m->trace), "");
}

/* ---------------- life ---------------- */

static int64_t fixed_clock(void *arg)
{
    (void)arg;
    return 1234567;
}

static void listen_as_master(struct test_master *m)
{
    struct libprocess_config c = { .loop = &m->loop, .ip = "127.0.0.1", .port = m->port };
    assert_int_equal(libprocess_new(&c, &m->lp_master), 0);
    m->port = libprocess_port(m->lp_master);
    struct lp_handlers h = { .on_message = on_message, .arg = m };
    assert_int_equal(lp_spawn(m->lp_master, "master", &h, &m->master), 0);
    assert_int_equal(lp_spawn_numbered(m->lp_master, "crammd5-authenticator-session", &h, &m->session), 0);
}

static void start_driver(struct test_master *m, const struct driver_config *given)
{
    struct driver_config c = { 0 };
    if (given) c = *given;
    c.loop = &m->loop;
    c.lp = m->lp_driver;
    c.stats = m->stats;
    if (!c.executors) c.executors = m->executors;
    c.now_ms = fixed_clock;
    c.on_event = on_event;
    c.on_fatal = on_fatal;
    c.arg = m;
    if (!c.framework.user.p) c.framework.user = STR("nobody");
    if (!c.framework.name.p) c.framework.name = STR("test");
    if (!c.timing.registration_backoff) c.timing.registration_backoff = 60000;
    if (!c.timing.retry_backoff) c.timing.retry_backoff = 1;
    if (!c.timing.teardown) c.timing.teardown = 20;
    assert_int_equal(driver_new(&c, &m->driver), 0);
}

void test_master_start(struct test_master *m, const struct driver_config *c)
{
    *m = (struct test_master){ 0 };
    assert_int_equal(uv_loop_init(&m->loop), 0);
    m->stats = stats_new();
    struct executors_config none = { 0 };
    struct buf err = { 0 };
    assert_int_equal(executors_new(&none, &m->executors, &err), 0);
    listen_as_master(m);
    struct libprocess_config d = { .loop = &m->loop, .ip = "127.0.0.1" };
    assert_int_equal(libprocess_new(&d, &m->lp_driver), 0);
    start_driver(m, c);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void run_until_closed(struct test_master *m)
{
    assert_true(RUN_UNTIL(&m->loop, m->closed));
    m->closed = false;
}

void test_master_kill(struct test_master *m)
{
    libprocess_close(m->lp_master, on_closed, &m->closed);
    run_until_closed(m);
    m->lp_master = NULL;
}

void test_master_restart(struct test_master *m)
{
    listen_as_master(m);
}

void test_master_stop(struct test_master *m)
{
    if (m->driver) {
        driver_close(m->driver, true, on_closed, &m->closed);
        run_until_closed(m);
    }
    libprocess_close(m->lp_driver, on_closed, &m->closed);
    run_until_closed(m);
    if (m->lp_master) test_master_kill(m);
    assert_int_equal(uv_run(&m->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&m->loop), 0);
    executors_free(m->executors);
    stats_free(m->stats);
    buf_release(&m->trace);
    arena_release(&m->arena);
}

void test_master_detect(struct test_master *m)
{
    char pid[64];
    snprintf(pid, sizeof(pid), "master@127.0.0.1:%u", m->port);
    assert_int_equal(driver_set_master(m->driver, pid), 0);
}

void test_master_connect(struct test_master *m)
{
    test_master_detect(m);
    test_master_expect(m, "SUBSCRIBE id=- force=-\n");
    test_master_register(m, "F-1", true);
    test_master_expect(m, "registered F-1 first=1\n");
}

/* ---------------- what the master says ---------------- */

void test_master_send_bytes(struct test_master *m, const char *name, const void *body, size_t n)
{
    assert_int_equal(lp_send(m->master, &m->sender, name, body, n), 0);
}

void test_master_send(struct test_master *m, const char *name, const void *message)
{
    struct buf b = { 0 };
    proto_pack(message, &b);
    test_master_send_bytes(m, name, b.data, b.len);
    buf_release(&b);
}

void test_master_register(struct test_master *m, const char *framework_id, bool first)
{
    /* Both messages look alike. */
    Mesos__Internal__FrameworkRegisteredMessage msg = MESOS__INTERNAL__FRAMEWORK_REGISTERED_MESSAGE__INIT;
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    Mesos__MasterInfo info = MESOS__MASTER_INFO__INIT;
    id.value = (char *)framework_id;
    info.id = "M";
    info.version = "1.11.0";
    msg.framework_id = &id;
    msg.master_info = &info;
    test_master_send(
        m, first ? "mesos.internal.FrameworkRegisteredMessage" : "mesos.internal.FrameworkReregisteredMessage", &msg);
}

void test_master_offer(struct test_master *m, const char *id, const char *agent)
{
    Mesos__Internal__ResourceOffersMessage msg = MESOS__INTERNAL__RESOURCE_OFFERS_MESSAGE__INIT;
    Mesos__Offer *offer = test_plain_offer(id, agent, &m->arena);
    char *pid = "slave(1)@127.0.0.1:5051";
    msg.n_offers = msg.n_pids = 1;
    msg.offers = &offer;
    msg.pids = &pid;
    test_master_send(m, "mesos.internal.ResourceOffersMessage", &msg);
}

void test_master_error(struct test_master *m, const char *text)
{
    Mesos__Internal__FrameworkErrorMessage msg = MESOS__INTERNAL__FRAMEWORK_ERROR_MESSAGE__INIT;
    msg.message = (char *)text;
    test_master_send(m, "mesos.internal.FrameworkErrorMessage", &msg);
}
