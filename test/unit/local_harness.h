/* A master on virtual time with scripted schedulers, for the tests of mesos/local. All that schedulers get is written
 * down as lines of text, with ids cut to what follows the master's: "s0 Registered 0000", "s0 Offers O0@S0 cpus:4", "s0
 * Update t1 TASK_RUNNING". */
#ifndef AURORA_TEST_LOCAL_HARNESS_H
#define AURORA_TEST_LOCAL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesos/local/master.h"
#include "mesos/messages.pb-c.h"
#include "mesos/scheduler.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

enum { RIG_SCHEDULERS = 4, RIG_OFFERS = 64 };

struct rig {
    struct master *m;
    int64_t now;
    struct buf log;   /* since the last rig_expect() */
    struct buf links; /* "s0 s1 " */
    struct upid s[RIG_SCHEDULERS];
    char framework_id[64];           /* of the last registration */
    char offer[64], offer_agent[64]; /* of the last offer that came */
    uint8_t uuid[16];                /* of the last update that wants an acknowledgement */
    char uuid_task[64], uuid_agent[64];
};

static inline const char *rig_short(const char *id)
{
    const char *dash = strrchr(id, '-');
    return dash ? dash + 1 : id;
}

static inline void rig_log_offers(struct rig *r, const Mesos__Internal__ResourceOffersMessage *m)
{
    buf_adds(&r->log, "Offers");
    assert_int_equal(m->n_offers, m->n_pids);
    for (size_t i = 0; i < m->n_offers; i++) {
        const Mesos__Offer *o = m->offers[i];
        buf_addf(&r->log, " %s@%s", rig_short(o->id->value), rig_short(o->slave_id->value));
        for (size_t j = 0; j < o->n_resources; j++) {
            buf_addc(&r->log, ' ');
            res_text_proto(o->resources[j], &r->log);
        }
        snprintf(r->offer, sizeof r->offer, "%s", o->id->value);
        snprintf(r->offer_agent, sizeof r->offer_agent, "%s", o->slave_id->value);
    }
}

static inline void rig_log_update(struct rig *r, const Mesos__Internal__StatusUpdateMessage *m)
{
    const Mesos__TaskStatus *s = m->update->status;
    buf_addf(&r->log, "Update %s %s", s->task_id->value, task_state_name(s->state));
    if (s->has_reason) {
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value(&mesos__task_status__reason__descriptor, (int)s->reason);
        buf_addf(&r->log, " %s", v->name + strlen("REASON_"));
    }
    if (s->message) buf_addf(&r->log, " '%s'", s->message);
    if (!s->has_uuid) {
        assert_true(!m->pid || strcmp(m->pid, "@0.0.0.0:0") == 0);
        return;
    }
    buf_adds(&r->log, " uuid");
    assert_int_equal(s->uuid.len, 16);
    assert_memory_equal(s->uuid.data, m->update->uuid.data, 16);
    memcpy(r->uuid, s->uuid.data, 16);
    snprintf(r->uuid_task, sizeof r->uuid_task, "%s", s->task_id->value);
    snprintf(r->uuid_agent, sizeof r->uuid_agent, "%s", s->slave_id->value);
}

static inline void rig_send(const struct upid *to, const char *name, const ProtobufCMessage *msg, void *arg)
{
    struct rig *r = arg;
    int n = 0;
    while (n < RIG_SCHEDULERS && !upid_eq(&r->s[n], to)) n++;
    assert_true(n < RIG_SCHEDULERS);
    buf_addf(&r->log, "s%d ", n);
    /* What can't be packed would fail on the wire, too. */
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(msg) + 1);
    protobuf_c_message_pack(msg, bytes);
    free(bytes);
    const char *kind = strrchr(name, '.') + 1;
    if (strcmp(kind, "FrameworkRegisteredMessage") == 0 || strcmp(kind, "FrameworkReregisteredMessage") == 0) {
        const Mesos__Internal__FrameworkRegisteredMessage *m = (const void *)msg;
        buf_addf(&r->log, "%.*s %s", (int)(strlen(kind) - strlen("FrameworkMessage")), kind + strlen("Framework"),
                 rig_short(m->framework_id->value));
        snprintf(r->framework_id, sizeof r->framework_id, "%s", m->framework_id->value);
    } else if (strcmp(kind, "ResourceOffersMessage") == 0) {
        rig_log_offers(r, (const void *)msg);
    } else if (strcmp(kind, "StatusUpdateMessage") == 0) {
        rig_log_update(r, (const void *)msg);
    } else if (strcmp(kind, "RescindResourceOfferMessage") == 0) {
        const Mesos__Internal__RescindResourceOfferMessage *m = (const void *)msg;
        buf_addf(&r->log, "Rescind %s", rig_short(m->offer_id->value));
    } else if (strcmp(kind, "LostSlaveMessage") == 0) {
        const Mesos__Internal__LostSlaveMessage *m = (const void *)msg;
        buf_addf(&r->log, "Lost %s", rig_short(m->slave_id->value));
    } else if (strcmp(kind, "FrameworkErrorMessage") == 0) {
        const Mesos__Internal__FrameworkErrorMessage *m = (const void *)msg;
        buf_addf(&r->log, "Error '%s'", m->message);
    } else if (strcmp(kind, "ExitedExecutorMessage") == 0) {
        const Mesos__Internal__ExitedExecutorMessage *m = (const void *)msg;
        buf_addf(&r->log, "Exited %s %d", m->executor_id->value, m->status);
    } else {
        fail_msg("unexpected message %s", name);
    }
    buf_addc(&r->log, '\n');
}

static inline void rig_link(const struct upid *peer, void *arg)
{
    struct rig *r = arg;
    for (int n = 0; n < RIG_SCHEDULERS; n++)
        if (upid_eq(&r->s[n], peer)) buf_addf(&r->links, "s%d ", n);
}

static inline struct master_config rig_config(struct rig *r)
{
    struct master_config c = { .hostname = "127.0.0.1",
                               .seed = 1,
                               .allocation_interval_ms = 1000,
                               .agent_reregister_ms = 75000,
                               .io = { .send = rig_send, .link = rig_link, .arg = r } };
    assert_int_equal(upid_parse(STR("master@127.0.0.1:5050"), &c.self), 0);
    sim_defaults(&c.script);
    return c;
}

static inline void rig_open_config(struct rig *r, const struct master_config *c)
{
    r->now = 1700000000000;
    for (int i = 0; i < RIG_SCHEDULERS; i++) {
        char pid[64];
        snprintf(pid, sizeof pid, "scheduler-%c@127.0.0.1:%d", 'A' + i, 6000 + i);
        assert_int_equal(upid_parse(str_c(pid), &r->s[i]), 0);
    }
    r->m = master_new(c, r->now);
}

static inline void rig_open(struct rig *r)
{
    *r = (struct rig){ 0 };
    struct master_config c = rig_config(r);
    rig_open_config(r, &c);
}

static inline void rig_close(struct rig *r)
{
    master_free(r->m);
    buf_release(&r->log);
    buf_release(&r->links);
}

static inline void rig_agents_of(struct rig *r, uint32_t n, const char *resources)
{
    struct agent_spec spec = { str_c(resources), STR("rack:r%d"), STR("host%d") };
    struct buf err = { 0 };
    int rc = master_add_agents(r->m, &spec, n, r->now, &err);
    if (rc) fail_msg("%s", buf_cstr(&err));
    buf_release(&err);
}

static inline void rig_agents(struct rig *r, uint32_t n)
{
    rig_agents_of(r, n, "cpus:4;mem:1024;ports:[31000-31009]");
}

/* Lets time pass, deadline by deadline. */
static inline void rig_run(struct rig *r, int64_t ms)
{
    int64_t end = r->now + ms, next;
    while ((next = master_next(r->m)) >= 0 && next <= end) {
        if (next > r->now) r->now = next;
        master_run(r->m, r->now);
    }
    r->now = end;
}

/* The lines since the last time, and a fresh page. */
static inline void rig_expect(struct rig *r, const char *lines)
{
    assert_string_equal(buf_cstr(&r->log), lines);
    buf_reset(&r->log);
}

static inline bool rig_said(struct rig *r, const char *part)
{
    return strstr(buf_cstr(&r->log), part) != NULL;
}

/* ---------------- calls ---------------- */

static inline void rig_call(struct rig *r, int s, Mesos__Scheduler__Call *c)
{
    size_t n = mesos__scheduler__call__get_packed_size(c);
    uint8_t *bytes = malloc(n + 1);
    mesos__scheduler__call__pack(c, bytes);
    master_receive(r->m, &r->s[s], STR("mesos.scheduler.Call"), bytes, n, r->now);
    free(bytes);
}

static inline void rig_call_type(struct rig *r, int s, Mesos__Scheduler__Call__Type type, Mesos__Scheduler__Call *c)
{
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    id.value = r->framework_id;
    c->framework_id = &id;
    c->has_type = true;
    c->type = type;
    rig_call(r, s, c);
    c->framework_id = NULL;
}

enum { CAPABILITIES = 4 };

struct rig_subscription {
    const char *id; /* NULL: none */
    bool force;
    const char *role, *principal, *name;
    double failover_timeout;
    bool checkpoint_off;
    Mesos__FrameworkInfo__Capability__Type caps[CAPABILITIES];
    int n_caps;
};

static inline void rig_subscribe_as(struct rig *r, int s, const struct rig_subscription *w)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Subscribe sub = MESOS__SCHEDULER__CALL__SUBSCRIBE__INIT;
    Mesos__FrameworkInfo info = MESOS__FRAMEWORK_INFO__INIT;
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    Mesos__FrameworkInfo__Capability caps[CAPABILITIES], *list[CAPABILITIES];
    char given[256];
    info.user = (char *)"root";
    info.name = (char *)(w->name ? w->name : "test");
    info.has_failover_timeout = true;
    info.failover_timeout = w->failover_timeout;
    info.has_checkpoint = true;
    info.checkpoint = !w->checkpoint_off;
    if (w->role) info.role = (char *)w->role;
    info.principal = (char *)w->principal;
    for (int i = 0; i < w->n_caps; i++) {
        list[i] = &caps[i];
        mesos__framework_info__capability__init(list[i]);
        caps[i].has_type = true;
        caps[i].type = w->caps[i];
    }
    info.n_capabilities = (size_t)w->n_caps;
    info.capabilities = list;
    if (w->id) {
        snprintf(given, sizeof given, "%s", w->id);
        id.value = given;
        info.id = c.framework_id = &id;
    }
    sub.framework_info = &info;
    sub.has_force = true;
    sub.force = w->force;
    c.has_type = true;
    c.type = MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE;
    c.subscribe = &sub;
    rig_call(r, s, &c);
}

/* A new framework with a failover timeout of 10 s. */
static inline void rig_subscribe(struct rig *r, int s)
{
    rig_subscribe_as(r, s, &(struct rig_subscription){ .failover_timeout = 10 });
}

static inline void rig_simple(struct rig *r, int s, Mesos__Scheduler__Call__Type type)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    rig_call_type(r, s, type, &c);
}

static inline void rig_decline(struct rig *r, int s, const char *offer, double refuse_s)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Decline d = MESOS__SCHEDULER__CALL__DECLINE__INIT;
    Mesos__OfferID id = MESOS__OFFER_ID__INIT, *ids = &id;
    Mesos__Filters f = MESOS__FILTERS__INIT;
    id.value = (char *)offer;
    f.has_refuse_seconds = true;
    f.refuse_seconds = refuse_s;
    d.offer_ids = &ids;
    d.n_offer_ids = 1;
    d.filters = &f;
    c.decline = &d;
    rig_call_type(r, s, MESOS__SCHEDULER__CALL__TYPE__DECLINE, &c);
}

/* A task of a launch: cpus and mem, a command unless `executor` names one. */
struct rig_task {
    const char *id, *agent, *command, *executor;
    double cpus, mem;
    Mesos__Resource *extra;
    Mesos__TaskInfo *info; /* sent instead of all this */
};

static inline void rig_scalar(Mesos__Resource *p, Mesos__Value__Scalar *v, const char *name, double value)
{
    mesos__resource__init(p);
    mesos__value__scalar__init(v);
    p->name = (char *)name;
    p->type = MESOS__VALUE__TYPE__SCALAR;
    v->value = value;
    p->scalar = v;
}

static inline void rig_accept_all(struct rig *r, int s, Mesos__TaskInfo **infos, size_t n, const char *const *offers,
                                  size_t n_offers, double refuse_s)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Accept a = MESOS__SCHEDULER__CALL__ACCEPT__INIT;
    Mesos__Offer__Operation op = MESOS__OFFER__OPERATION__INIT, *ops = &op;
    Mesos__Offer__Operation__Launch launch = MESOS__OFFER__OPERATION__LAUNCH__INIT;
    Mesos__OfferID id[4], *ids[4];
    Mesos__Filters f = MESOS__FILTERS__INIT;
    for (size_t i = 0; i < n_offers; i++) {
        mesos__offer_id__init(ids[i] = &id[i]);
        id[i].value = (char *)offers[i];
    }
    launch.task_infos = infos;
    launch.n_task_infos = n;
    op.has_type = true;
    op.type = MESOS__OFFER__OPERATION__TYPE__LAUNCH;
    op.launch = &launch;
    f.has_refuse_seconds = true;
    f.refuse_seconds = refuse_s;
    a.filters = &f;
    a.offer_ids = ids;
    a.n_offer_ids = n_offers;
    a.operations = &ops;
    a.n_operations = 1;
    c.accept = &a;
    rig_call_type(r, s, MESOS__SCHEDULER__CALL__TYPE__ACCEPT, &c);
}

/* One task on one offer. */
static inline void rig_launch(struct rig *r, int s, const char *offer, const struct rig_task *t)
{
    Mesos__TaskInfo info = MESOS__TASK_INFO__INIT, *infos = &info;
    Mesos__TaskID id = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    Mesos__CommandInfo command = MESOS__COMMAND_INFO__INIT;
    Mesos__ExecutorInfo executor = MESOS__EXECUTOR_INFO__INIT;
    Mesos__ExecutorID executor_id = MESOS__EXECUTOR_ID__INIT;
    Mesos__Resource res[4], *list[4] = { &res[0], &res[1], t->extra };
    Mesos__Value__Scalar v[4];
    id.value = (char *)t->id;
    agent.value = (char *)t->agent;
    rig_scalar(&res[0], &v[0], "cpus", t->cpus);
    rig_scalar(&res[1], &v[1], "mem", t->mem);
    info.name = (char *)"";
    info.task_id = &id;
    info.slave_id = &agent;
    info.resources = list;
    info.n_resources = t->extra ? 3 : 2;
    command.value = (char *)t->command;
    Mesos__Resource eres[2], *elist[2] = { &eres[0], &eres[1] };
    Mesos__Value__Scalar ev[2];
    if (t->executor) {
        executor_id.value = (char *)t->executor;
        executor.executor_id = &executor_id;
        executor.command = &command;
        rig_scalar(&eres[0], &ev[0], "cpus", 0.1);
        rig_scalar(&eres[1], &ev[1], "mem", 32);
        executor.resources = elist;
        executor.n_resources = 2;
        info.executor = &executor;
    } else {
        info.command = &command;
    }
    if (t->info) infos = t->info;
    rig_accept_all(r, s, &infos, 1, &offer, 1, 0);
}

static inline void rig_ack_as(struct rig *r, int s, const char *task, const char *agent, const uint8_t *uuid, size_t n)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Acknowledge a = MESOS__SCHEDULER__CALL__ACKNOWLEDGE__INIT;
    Mesos__TaskID id = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent_id = MESOS__SLAVE_ID__INIT;
    id.value = (char *)task;
    agent_id.value = (char *)agent;
    a.task_id = &id;
    a.slave_id = &agent_id;
    a.uuid = (ProtobufCBinaryData){ n, (uint8_t *)uuid };
    c.acknowledge = &a;
    rig_call_type(r, s, MESOS__SCHEDULER__CALL__TYPE__ACKNOWLEDGE, &c);
}

/* The last update that wanted it. */
static inline void rig_ack(struct rig *r, int s)
{
    uint8_t uuid[16];
    char task[64], agent[64];
    memcpy(uuid, r->uuid, sizeof uuid);
    snprintf(task, sizeof task, "%s", r->uuid_task);
    snprintf(agent, sizeof agent, "%s", r->uuid_agent);
    rig_ack_as(r, s, task, agent, uuid, sizeof uuid);
}

static inline void rig_kill(struct rig *r, int s, const char *task, const char *agent)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Kill k = MESOS__SCHEDULER__CALL__KILL__INIT;
    Mesos__TaskID id = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent_id = MESOS__SLAVE_ID__INIT;
    id.value = (char *)task;
    agent_id.value = (char *)agent;
    k.task_id = &id;
    if (agent) k.slave_id = &agent_id;
    c.kill = &k;
    rig_call_type(r, s, MESOS__SCHEDULER__CALL__TYPE__KILL, &c);
}

/* task NULL: implicit. */
static inline void rig_reconcile(struct rig *r, int s, const char *task, const char *agent)
{
    Mesos__Scheduler__Call c = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Reconcile rec = MESOS__SCHEDULER__CALL__RECONCILE__INIT;
    Mesos__Scheduler__Call__Reconcile__Task t = MESOS__SCHEDULER__CALL__RECONCILE__TASK__INIT, *list = &t;
    Mesos__TaskID id = MESOS__TASK_ID__INIT;
    Mesos__SlaveID agent_id = MESOS__SLAVE_ID__INIT;
    id.value = (char *)task;
    agent_id.value = (char *)agent;
    t.task_id = &id;
    if (agent) t.slave_id = &agent_id;
    rec.tasks = &list;
    rec.n_tasks = task ? 1 : 0;
    c.reconcile = &rec;
    rig_call_type(r, s, MESOS__SCHEDULER__CALL__TYPE__RECONCILE, &c);
}

#endif
