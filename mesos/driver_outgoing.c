#include "mesos/driver_internal.h"
#include "mesos/proto.h"
#include "mesos/task_info.h"

#include "core/limits.h"
#include "core/logline.h"
#include "core/store.h"

#include <assert.h>
#include <stdlib.h>

#include "mesos/mesos.pb-c.h"

/* Every call but the first SUBSCRIBE carries the framework id. */
void driver_send_call(struct driver *d, Mesos__Scheduler__Call *call)
{
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    id.value = (char *)d->framework_id.p;
    if (d->framework_id.p) call->framework_id = &id;
    call->has_type = true;
    driver_send(d, "mesos.scheduler.Call", call);
    call->framework_id = NULL;
}

static bool dropped(const struct driver *d, const char *what)
{
    if (d->state == REG_CONNECTED) return false;
    logline(LOG_INFO, "mesos_call_dropped", "call=%s state=%s", what, registration_name(d->state));
    return true;
}

/* Filters.refuse_seconds; 0 is no filter at all. */
static Mesos__Filters *filters_new(int64_t refuse_ms, struct arena *a)
{
    Mesos__Filters *f = proto_new(&mesos__filters__descriptor, a);
    f->has_refuse_seconds = true;
    f->refuse_seconds = (double)refuse_ms / 1000;
    return f;
}

static Mesos__OfferID **offer_ids_new(const struct str *ids, uint32_t n, struct arena *a)
{
    Mesos__OfferID **v = ARENA_ARRAY(a, Mesos__OfferID *, n);
    for (uint32_t i = 0; i < n; i++) {
        v[i] = proto_new(&mesos__offer_id__descriptor, a);
        v[i]->value = proto_str(ids[i], a);
    }
    return v;
}

static Mesos__TaskID *task_id_new(struct str id, struct arena *a)
{
    Mesos__TaskID *m = proto_new(&mesos__task_id__descriptor, a);
    m->value = proto_str(id, a);
    return m;
}

/* NULL for the unset str. */
static Mesos__SlaveID *agent_id_new(struct str id, struct arena *a)
{
    if (!id.p) return NULL;
    Mesos__SlaveID *m = proto_new(&mesos__slave_id__descriptor, a);
    m->value = proto_str(id, a);
    return m;
}

/* ---------------- subscribe ---------------- */

static void set_capabilities(const struct driver *d, Mesos__FrameworkInfo *m, struct arena *a)
{
    const struct driver_framework *f = &d->c.framework;
    const struct {
        bool on;
        Mesos__FrameworkInfo__Capability__Type type;
    } all[] = {
        { f->revocable_resources, MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__REVOCABLE_RESOURCES },
        { f->gpu_resources, MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__GPU_RESOURCES },
        { f->partition_aware, MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__PARTITION_AWARE },
    };
    size_t n = sizeof(all) / sizeof(all[0]);
    m->capabilities = ARENA_ARRAY(a, Mesos__FrameworkInfo__Capability *, n);
    for (size_t i = 0; i < n; i++) {
        if (!all[i].on) continue;
        Mesos__FrameworkInfo__Capability *c = proto_new(&mesos__framework_info__capability__descriptor, a);
        c->has_type = true;
        c->type = all[i].type;
        m->capabilities[m->n_capabilities++] = c;
    }
}

static Mesos__FrameworkInfo *framework_info_new(const struct driver *d, struct arena *a)
{
    const struct driver_framework *f = &d->c.framework;
    Mesos__FrameworkInfo *m = proto_new(&mesos__framework_info__descriptor, a);
    m->user = proto_str(f->user.p ? f->user : STR(""), a);
    m->name = proto_str(f->name.p ? f->name : STR(""), a);
    if (d->framework_id.p) {
        m->id = proto_new(&mesos__framework_id__descriptor, a);
        m->id->value = proto_str(d->framework_id, a);
    }
    m->has_failover_timeout = m->has_checkpoint = true;
    m->failover_timeout = f->failover_timeout_secs;
    m->checkpoint = f->checkpoint;
    if (f->role.p) m->role = proto_str(f->role, a);
    m->hostname = proto_str(f->hostname, a);
    m->webui_url = proto_str(f->webui_url, a);
    if (f->announce_principal) m->principal = proto_str(d->c.principal, a);
    set_capabilities(d, m, a);
    return m;
}

void driver_send_subscribe(struct driver *d)
{
    struct arena a = { 0 };
    Mesos__Scheduler__Call__Subscribe sub = MESOS__SCHEDULER__CALL__SUBSCRIBE__INIT;
    sub.framework_info = framework_info_new(d, &a);
    sub.has_force = d->framework_id.p != NULL;
    sub.force = d->take_over;
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE;
    call.subscribe = &sub;
    stat_add(d->stats.subscriptions, 1);
    driver_send_call(d, &call);
    arena_release(&a);
}

/* A call for all roles, without content. */
static void send_bare_call(struct driver *d, Mesos__Scheduler__Call__Type type)
{
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = type;
    driver_send_call(d, &call);
}

void driver_suppress(struct driver *d)
{
    d->suppressed = true;
    if (d->state != REG_CONNECTED) return;
    send_bare_call(d, MESOS__SCHEDULER__CALL__TYPE__SUPPRESS);
}

void driver_revive(struct driver *d)
{
    d->suppressed = false;
    if (d->state != REG_CONNECTED) return;
    send_bare_call(d, MESOS__SCHEDULER__CALL__TYPE__REVIVE);
}

/* ---------------- launch ---------------- */

static struct str copy(struct str s)
{
    return (struct str){ s.p ? xstrndup(s.p, s.n) : NULL, s.n };
}

static void lose_locally(struct driver *d, const struct task *t, bool offer_gone)
{
    if (d->local.n >= LIMIT_DRIVER_LOCAL_UPDATES) {
        logline(LOG_WARN, "mesos_local_updates_full", "task=%.*s", STR_ARG(t->id));
        return;
    }
    if (!d->local.v) d->local.v = xcalloc(LIMIT_DRIVER_LOCAL_UPDATES, sizeof(*d->local.v));
    d->local.v[d->local.n++] = (struct local_update){ copy(t->id), copy(t->slave_id), offer_gone };
    uv_timer_start(&d->local_timer, driver_on_local_updates, 0, 0);
}

static void lose_all(struct driver *d, const struct effect *e, bool offer_gone)
{
    for (uint32_t i = 0; i < e->launch.n_tasks; i++) lose_locally(d, e->launch.tasks[i].task, offer_gone);
}

void local_updates_release(struct local_updates *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        free((char *)l->v[i].task_id.p);
        free((char *)l->v[i].agent_id.p);
    }
    free(l->v);
    *l = (struct local_updates){ 0 };
}

static void fill_local_update(const struct driver *d, const struct local_update *l, struct status_update *u)
{
    Mesos__TaskStatus__Reason reason = l->offer_gone ? MESOS__TASK_STATUS__REASON__REASON_INVALID_OFFERS
                                                     : MESOS__TASK_STATUS__REASON__REASON_MASTER_DISCONNECTED;
    *u = (struct status_update){
        .task_id = l->task_id,
        .agent_id = l->agent_id,
        .state = d->c.framework.partition_aware ? MESOS__TASK_STATE__TASK_DROPPED : MESOS__TASK_STATE__TASK_LOST,
        .source = MESOS__TASK_STATUS__SOURCE__SOURCE_MASTER,
        .reason = (int)reason,
        .reason_name = proto_enum_name(&mesos__task_status__reason__descriptor, (int)reason),
        .message = l->offer_gone ? STR("The offer is no longer valid") : STR("Master disconnected"),
        .timestamp_ms = d->c.now_ms(d->c.arg),
    };
}

void driver_on_local_updates(uv_timer_t *t)
{
    struct driver *d = t->data;
    /* The callback may cause new ones, so these are taken out first. */
    struct local_updates taken = d->local;
    d->local = (struct local_updates){ 0 };
    struct status_update *u = xcalloc(taken.n, sizeof(*u));
    for (uint32_t i = 0; i < taken.n; i++) fill_local_update(d, &taken.v[i], &u[i]);
    struct sched_event ev = { .type = EV_STATUS };
    ev.status.v = u;
    ev.status.n = taken.n;
    driver_emit(d, &ev);
    free(u);
    local_updates_release(&taken);
}

static void send_accept(struct driver *d, const struct effect *e, Mesos__Offer__Operation__Launch *launch,
                        struct arena *a)
{
    Mesos__Offer__Operation op = MESOS__OFFER__OPERATION__INIT, *ops = &op;
    op.has_type = true;
    op.type = MESOS__OFFER__OPERATION__TYPE__LAUNCH;
    op.launch = launch;
    Mesos__Scheduler__Call__Accept accept = MESOS__SCHEDULER__CALL__ACCEPT__INIT;
    accept.n_offer_ids = 1;
    accept.offer_ids = offer_ids_new(&e->launch.offer_id, 1, a);
    accept.n_operations = launch->n_task_infos > 0;
    accept.operations = &ops;
    accept.filters = filters_new(e->launch.refuse_ms, a);
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = MESOS__SCHEDULER__CALL__TYPE__ACCEPT;
    call.accept = &accept;
    driver_send_call(d, &call);
}

/* The tasks that can be built; the others are lost like those whose offer is gone. */
static void build_launch(struct driver *d, const struct effect *e, const Mesos__Offer *offer, struct arena *a,
                         Mesos__Offer__Operation__Launch *launch)
{
    struct task_info_config c = { d->c.executors, d->c.cluster_name, d->c.populate_discovery_info };
    launch->task_infos = ARENA_ARRAY(a, Mesos__TaskInfo *, e->launch.n_tasks);
    for (uint32_t i = 0; i < e->launch.n_tasks; i++) {
        const struct launch_task *lt = &e->launch.tasks[i];
        const char *why = NULL;
        if (task_info_build(lt, offer, &c, a, &launch->task_infos[launch->n_task_infos], &why) == 0) {
            launch->n_task_infos++;
            continue;
        }
        logline(LOG_ERROR, "mesos_launch_impossible", "task=%.*s why=\"%s\"", STR_ARG(lt->task->id), why);
        lose_locally(d, lt->task, true);
    }
}

/* An ACCEPT without tasks declines the offer: either way it is used up. protobuf-c accepts and packs a field number 0
 * that it then does not read again, so an odd offer may have become unreadable. */
static void launch_on(struct driver *d, const struct effect *e, const void *packed, size_t n)
{
    struct arena a = { 0 };
    const Mesos__Offer *offer = proto_unpack(&mesos__offer__descriptor, packed, n, &a);
    Mesos__Offer__Operation__Launch launch = MESOS__OFFER__OPERATION__LAUNCH__INIT;
    if (offer)
        build_launch(d, e, offer, &a, &launch);
    else
        lose_all(d, e, true);
    send_accept(d, e, &launch, &a);
    offer_table_remove(&d->offers, e->launch.offer_id);
    arena_release(&a);
}

static void launch_tasks(struct driver *d, const struct effect *e)
{
    if (dropped(d, "ACCEPT")) {
        lose_all(d, e, false);
        return;
    }
    size_t n = 0;
    const void *packed = offer_table_find(&d->offers, e->launch.offer_id, &n);
    if (packed) {
        launch_on(d, e, packed, n);
        return;
    }
    logline(LOG_INFO, "mesos_offer_gone", "offer=%.*s tasks=%u", STR_ARG(e->launch.offer_id), e->launch.n_tasks);
    lose_all(d, e, true);
}

/* ---------------- the other effects ---------------- */

static void send_decline(struct driver *d, const struct str *ids, uint32_t n, int64_t refuse_ms)
{
    struct arena a = { 0 };
    Mesos__Scheduler__Call__Decline m = MESOS__SCHEDULER__CALL__DECLINE__INIT;
    m.n_offer_ids = n;
    m.offer_ids = offer_ids_new(ids, n, &a);
    m.filters = filters_new(refuse_ms, &a);
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = MESOS__SCHEDULER__CALL__TYPE__DECLINE;
    call.decline = &m;
    driver_send_call(d, &call);
    arena_release(&a);
}

void driver_decline_surplus(struct driver *d, struct str offer_id)
{
    static const int64_t refuse_ms = 5000; /* Mesos's own default */
    send_decline(d, &offer_id, 1, refuse_ms);
}

static void decline(struct driver *d, const struct effect *e)
{
    if (dropped(d, "DECLINE") || e->decline.n == 0) return;
    for (uint32_t i = 0; i < e->decline.n; i++) offer_table_remove(&d->offers, e->decline.offer_ids[i]);
    send_decline(d, e->decline.offer_ids, e->decline.n, e->decline.refuse_ms);
}

static void kill_task(struct driver *d, const struct effect *e)
{
    if (dropped(d, "KILL")) {
        stat_add(d->stats.kill_failures, 1);
        return;
    }
    struct arena a = { 0 };
    Mesos__Scheduler__Call__Kill m = MESOS__SCHEDULER__CALL__KILL__INIT;
    m.task_id = task_id_new(e->kill.task_id, &a);
    m.slave_id = agent_id_new(e->kill.agent_id, &a);
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = MESOS__SCHEDULER__CALL__TYPE__KILL;
    call.kill = &m;
    driver_send_call(d, &call);
    arena_release(&a);
}

static void reconcile(struct driver *d, const struct effect *e)
{
    if (dropped(d, "RECONCILE")) return;
    struct arena a = { 0 };
    Mesos__Scheduler__Call__Reconcile m = MESOS__SCHEDULER__CALL__RECONCILE__INIT;
    m.n_tasks = e->reconcile.n;
    m.tasks = ARENA_ARRAY(&a, Mesos__Scheduler__Call__Reconcile__Task *, e->reconcile.n);
    for (uint32_t i = 0; i < e->reconcile.n; i++) {
        m.tasks[i] = proto_new(&mesos__scheduler__call__reconcile__task__descriptor, &a);
        m.tasks[i]->task_id = task_id_new(e->reconcile.tasks[i].task_id, &a);
        m.tasks[i]->slave_id = agent_id_new(e->reconcile.tasks[i].agent_id, &a);
    }
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = MESOS__SCHEDULER__CALL__TYPE__RECONCILE;
    call.reconcile = &m;
    driver_send_call(d, &call);
    arena_release(&a);
}

static void acknowledge(struct driver *d, const struct effect *e)
{
    if (dropped(d, "ACKNOWLEDGE")) return;
    struct arena a = { 0 };
    Mesos__Scheduler__Call__Acknowledge m = MESOS__SCHEDULER__CALL__ACKNOWLEDGE__INIT;
    m.task_id = task_id_new(e->ack.task_id, &a);
    m.slave_id = agent_id_new(e->ack.agent_id, &a);
    m.uuid = (ProtobufCBinaryData){ sizeof(e->ack.uuid), (uint8_t *)e->ack.uuid };
    assert(m.slave_id != NULL); /* status_convert() asks for no other acknowledgement */
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    call.type = MESOS__SCHEDULER__CALL__TYPE__ACKNOWLEDGE;
    call.acknowledge = &m;
    driver_send_call(d, &call);
    arena_release(&a);
}

void driver_effect(struct driver *d, const struct effect *e)
{
    assert(!d->closing);
    switch (e->type) {
    case EFFECT_KILL:
        kill_task(d, e);
        break;
    case EFFECT_LAUNCH:
        launch_tasks(d, e);
        break;
    case EFFECT_DECLINE:
        decline(d, e);
        break;
    case EFFECT_RECONCILE:
        reconcile(d, e);
        break;
    case EFFECT_ACK:
        acknowledge(d, e);
        break;
    default:
        assert(0);
    }
}
