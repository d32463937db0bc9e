/* Messages of schedulers: decoding, the checks that all calls share, and the calls other than SUBSCRIBE and ACCEPT. */
#include "mesos/local/state.h"
#include "mesos/local/validate.h"

#include "core/logline.h"

static void drop(const struct upid *from, const char *what, const char *why)
{
    logline(LOG_INFO, "dropped", "from=%s message=%s why=%s", from->id, what, why);
}

/* ---------------- calls ---------------- */

static void call_decline(struct master *m, Mesos__OfferID *const *ids, size_t n, const Mesos__Filters *filters)
{
    static const Mesos__Filters defaults = MESOS__FILTERS__INIT;
    for (size_t i = 0; i < n; i++) {
        struct offered *o = offer_find(m, ids[i]->value);
        if (o) offer_discard(m, o, filters ? filters : &defaults);
    }
}

static void call_kill(struct master *m, struct framework *f, const Mesos__Scheduler__Call__Kill *k)
{
    struct task *t = task_known(f, k->task_id->value);
    if (!t) {
        Mesos__Scheduler__Call__Reconcile r = MESOS__SCHEDULER__CALL__RECONCILE__INIT;
        Mesos__Scheduler__Call__Reconcile__Task one = MESOS__SCHEDULER__CALL__RECONCILE__TASK__INIT, *list = &one;
        one.task_id = k->task_id;
        one.slave_id = k->slave_id;
        r.n_tasks = 1;
        r.tasks = &list;
        call_reconcile(m, f, &r);
        return;
    }
    if (k->slave_id && strcmp(k->slave_id->value, t->agent->id) != 0) return;
    /* Also for an agent whose loss isn't known yet; it gets the order when it comes back. */
    t->kill_wanted = true;
    bool has_grace = k->kill_policy && k->kill_policy->grace_period;
    if (t->agent->state == AGENT_REGISTERED)
        task_kill(m, t, has_grace ? k->kill_policy->grace_period->nanoseconds / 1000000 : -1);
}

static void acknowledge(struct master *m, struct framework *f, const char *agent_id, const char *id,
                        const uint8_t uuid[16])
{
    struct agent *a = agent_find(m, agent_id);
    if (!a || a->state != AGENT_REGISTERED) return;
    struct task *t = task_known(f, id);
    if (t && t->agent == a) {
        if (!t->has_status) return;
        m->totals.acknowledged++;
        bool last = task_state_terminal(t->status_state) && memcmp(t->status_uuid, uuid, 16) == 0;
        /* The agent's half first: the task lives as long as the master knows it. */
        task_acknowledge(m, t, uuid);
        if (last) task_drop_master_half(m, t);
        return;
    }
    /* Not known to the master any more: the agent gets it all the same. */
    struct task *next;
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        if (t->fw == f && strcmp(t->id, id) == 0) {
            task_acknowledge(m, t, uuid);
            return;
        }
    }
}

static void set_suppressed(struct framework *f, char *const *roles, size_t n, bool suppressed)
{
    /* One role that isn't the framework's drops the whole call. */
    for (size_t i = 0; i < n; i++)
        if (!framework_role(f, roles[i])) return;
    for (uint32_t i = 0; i < f->n_roles_live && n == 0; i++) f->roles[i]->suppressed = suppressed;
    for (size_t i = 0; i < n; i++) framework_role(f, roles[i])->suppressed = suppressed;
}

static void call_revive(struct master *m, struct framework *f, char *const *roles, size_t n)
{
    set_suppressed(f, roles, n, false);
    f->refusal_epoch++;
    offers_prompt_all(m);
}

/* Ends an executor with all its tasks, unreported but for its own end. */
static void call_shutdown(struct master *m, struct framework *f, const Mesos__Scheduler__Call__Shutdown *s)
{
    struct agent *a = agent_find(m, s->slave_id->value);
    struct executor *e = a && a->state == AGENT_REGISTERED ? executor_find(a, f, s->executor_id->value) : NULL;
    struct task *t, *next;
    if (!e) return;
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        if (t->executor == e) task_kill(m, t, 0);
    }
}

/* ---------------- reconciliation (reference: mesos-scheduler, section 10) ---------------- */

static void reconcile_known(struct master *m, struct framework *f, const struct task *t)
{
    struct master_update u = { .task_id = t->id,
                               .agent_id = t->agent->id,
                               .state = t->has_status ? t->status_state : t->state,
                               .reason = MESOS__TASK_STATUS__REASON__REASON_RECONCILIATION,
                               .message = "Reconciliation: Latest task state",
                               .unreachable_ms = -1 };
    if (t->custom) u.executor_id = t->executor_id;
    master_update(m, f, &u);
}

static void reconcile_unknown(struct master *m, struct framework *f, const char *id, const char *agent_id)
{
    const struct agent *a = agent_id ? agent_find(m, agent_id) : NULL;
    struct master_update u = { .task_id = id,
                               .agent_id = agent_id,
                               .reason = MESOS__TASK_STATUS__REASON__REASON_RECONCILIATION,
                               .unreachable_ms = -1 };
    /* It may be on an agent that has not come back to this master yet: no answer is the right one. */
    if (agent_id ? a && a->state == AGENT_RECOVERED : m->n_recovered > 0) return;
    if (a && (a->state == AGENT_REGISTERED || a->state == AGENT_DISCONNECTED)) {
        u.state = MESOS__TASK_STATE__TASK_GONE;
        u.message = "Reconciliation: Task is unknown to the agent";
    } else if (a && a->state == AGENT_UNREACHABLE) {
        u.state = MESOS__TASK_STATE__TASK_UNREACHABLE;
        u.message = "Reconciliation: Task is unreachable";
        u.unreachable_ms = a->unreachable_ms;
    } else if (a) {
        u.state = MESOS__TASK_STATE__TASK_GONE_BY_OPERATOR;
        u.message = "Reconciliation: Task is gone";
    } else {
        u.state = MESOS__TASK_STATE__TASK_UNKNOWN;
        u.message = "Reconciliation: Task is unknown";
    }
    if (!(f->capabilities & CAN_PARTITION)) u.state = MESOS__TASK_STATE__TASK_LOST;
    master_update(m, f, &u);
}

void call_reconcile(struct master *m, struct framework *f, const Mesos__Scheduler__Call__Reconcile *r)
{
    struct task *t, *next;
    for (size_t i = 0; i < r->n_tasks; i++) {
        const char *id = r->tasks[i]->task_id->value;
        t = task_known(f, id);
        if (t) {
            reconcile_known(m, f, t);
        } else {
            reconcile_unknown(m, f, id, r->tasks[i]->slave_id ? r->tasks[i]->slave_id->value : NULL);
        }
    }
    if (r->n_tasks) return;
    HASH_ITER(hh, f->tasks, t, next)
    {
        if (t->at_master) reconcile_known(m, f, t);
    }
}

/* ---------------- dispatch ---------------- */

static void call_framework(struct master *m, struct framework *f, const Mesos__Scheduler__Call *c)
{
    switch (c->type) {
    case MESOS__SCHEDULER__CALL__TYPE__TEARDOWN:
        framework_teardown(m, f);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__ACCEPT:
        call_accept(m, f, c->accept->offer_ids, c->accept->n_offer_ids, c->accept->operations, c->accept->n_operations,
                    c->accept->filters);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__DECLINE:
        call_decline(m, c->decline->offer_ids, c->decline->n_offer_ids, c->decline->filters);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__REVIVE:
        call_revive(m, f, c->revive ? c->revive->roles : NULL, c->revive ? c->revive->n_roles : 0);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__SUPPRESS:
        set_suppressed(f, c->suppress ? c->suppress->roles : NULL, c->suppress ? c->suppress->n_roles : 0, true);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__KILL:
        call_kill(m, f, c->kill);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__SHUTDOWN:
        call_shutdown(m, f, c->shutdown);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__ACKNOWLEDGE:
        acknowledge(m, f, c->acknowledge->slave_id->value, c->acknowledge->task_id->value, c->acknowledge->uuid.data);
        break;
    case MESOS__SCHEDULER__CALL__TYPE__RECONCILE:
        call_reconcile(m, f, c->reconcile);
        break;
    default: /* REQUEST, MESSAGE and inverse offers lead nowhere: there's nobody behind them */
        break;
    }
}

void call_dispatch(struct master *m, const struct upid *from, const Mesos__Scheduler__Call *c)
{
    struct buf err = { 0 };
    if (!validate_call(c, &err)) {
        drop(from, "Call", buf_cstr(&err));
        buf_release(&err);
        return;
    }
    if (c->type == MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE) {
        framework_subscribe(m, from, c->subscribe->framework_info, c->subscribe->has_force && c->subscribe->force,
                            c->subscribe->suppressed_roles, c->subscribe->n_suppressed_roles);
        return;
    }
    struct framework *f = framework_find(m, c->framework_id->value);
    if (!f || f->state == FRAMEWORK_ABSENT) {
        drop(from, "Call", "Framework cannot be found");
    } else if (f->state == FRAMEWORK_RECOVERED || !upid_eq(&f->pid, from)) {
        drop(from, "Call", "Call is not from registered framework");
    } else if (!framework_connected(f)) {
        framework_error(m, from, "Framework disconnected");
    } else {
        call_framework(m, f, c);
    }
}

/* ---------------- the messages from before Call ---------------- */

/* The framework of an old message, if it comes from its scheduler. */
static struct framework *expected(struct master *m, const struct upid *from, const Mesos__FrameworkID *id)
{
    struct framework *f = framework_find(m, id->value);
    return f && framework_connected(f) && upid_eq(&f->pid, from) ? f : NULL;
}

static void old_register(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__RegisterFrameworkMessage *msg = mesos__internal__register_framework_message__unpack(NULL, n, body);
    if (!msg) return;
    if (msg->framework->id && msg->framework->id->value[0]) {
        framework_error(m, from, "Registering with 'id' already set");
    } else {
        framework_subscribe(m, from, msg->framework, false, NULL, 0);
    }
    mesos__internal__register_framework_message__free_unpacked(msg, NULL);
}

static void old_reregister(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__ReregisterFrameworkMessage *msg =
        mesos__internal__reregister_framework_message__unpack(NULL, n, body);
    if (!msg) return;
    if (!msg->framework->id || !msg->framework->id->value[0]) {
        framework_error(m, from, "Re-registering without an 'id'");
    } else {
        framework_subscribe(m, from, msg->framework, msg->failover, NULL, 0);
    }
    mesos__internal__reregister_framework_message__free_unpacked(msg, NULL);
}

static void old_unregister(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__UnregisterFrameworkMessage *msg =
        mesos__internal__unregister_framework_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    if (f) framework_teardown(m, f);
    mesos__internal__unregister_framework_message__free_unpacked(msg, NULL);
}

static void old_deactivate(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__DeactivateFrameworkMessage *msg =
        mesos__internal__deactivate_framework_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    if (f) framework_deactivate(m, f, true);
    mesos__internal__deactivate_framework_message__free_unpacked(msg, NULL);
}

static void old_launch(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__LaunchTasksMessage *msg = mesos__internal__launch_tasks_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    if (f && !msg->n_tasks) call_decline(m, msg->offer_ids, msg->n_offer_ids, msg->filters);
    if (f && msg->n_tasks) {
        Mesos__Offer__Operation op = MESOS__OFFER__OPERATION__INIT, *list = &op;
        Mesos__Offer__Operation__Launch launch = MESOS__OFFER__OPERATION__LAUNCH__INIT;
        launch.task_infos = msg->tasks;
        launch.n_task_infos = msg->n_tasks;
        op.has_type = true;
        op.type = MESOS__OFFER__OPERATION__TYPE__LAUNCH;
        op.launch = &launch;
        call_accept(m, f, msg->offer_ids, msg->n_offer_ids, &list, 1, msg->filters);
    }
    mesos__internal__launch_tasks_message__free_unpacked(msg, NULL);
}

static void old_revive(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__ReviveOffersMessage *msg = mesos__internal__revive_offers_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    if (f) call_revive(m, f, msg->roles, msg->n_roles);
    mesos__internal__revive_offers_message__free_unpacked(msg, NULL);
}

static void old_kill(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__KillTaskMessage *msg = mesos__internal__kill_task_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    Mesos__Scheduler__Call__Kill kill = MESOS__SCHEDULER__CALL__KILL__INIT;
    if (f) kill.task_id = msg->task_id;
    if (f) call_kill(m, f, &kill);
    mesos__internal__kill_task_message__free_unpacked(msg, NULL);
}

static void old_acknowledge(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__StatusUpdateAcknowledgementMessage *msg =
        mesos__internal__status_update_acknowledgement_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    if (f && validate_uuid(msg->uuid.data, msg->uuid.len))
        acknowledge(m, f, msg->slave_id->value, msg->task_id->value, msg->uuid.data);
    mesos__internal__status_update_acknowledgement_message__free_unpacked(msg, NULL);
}

static void old_reconcile(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Internal__ReconcileTasksMessage *msg = mesos__internal__reconcile_tasks_message__unpack(NULL, n, body);
    struct framework *f = msg ? expected(m, from, msg->framework_id) : NULL;
    struct arena mem = { 0 };
    Mesos__Scheduler__Call__Reconcile r = MESOS__SCHEDULER__CALL__RECONCILE__INIT;
    if (f) r.tasks = ARENA_ARRAY(&mem, Mesos__Scheduler__Call__Reconcile__Task *, msg->n_statuses);
    for (size_t i = 0; f && i < msg->n_statuses; i++) {
        Mesos__Scheduler__Call__Reconcile__Task *t = ARENA_NEW(&mem, Mesos__Scheduler__Call__Reconcile__Task);
        mesos__scheduler__call__reconcile__task__init(t);
        t->task_id = msg->statuses[i]->task_id;
        t->slave_id = msg->statuses[i]->slave_id;
        r.tasks[r.n_tasks++] = t;
    }
    if (f) call_reconcile(m, f, &r);
    arena_release(&mem);
    mesos__internal__reconcile_tasks_message__free_unpacked(msg, NULL);
}

static void new_call(struct master *m, const struct upid *from, const void *body, size_t n)
{
    Mesos__Scheduler__Call *c = mesos__scheduler__call__unpack(NULL, n, body);
    if (c) {
        call_dispatch(m, from, c);
    } else {
        drop(from, "Call", "does not parse");
    }
    mesos__scheduler__call__free_unpacked(c, NULL);
}

static const struct {
    const char *name;
    void (*fn)(struct master *m, const struct upid *from, const void *body, size_t n);
} messages[] = {
    { "mesos.scheduler.Call", new_call },
    { "mesos.internal.RegisterFrameworkMessage", old_register },
    { "mesos.internal.ReregisterFrameworkMessage", old_reregister },
    { "mesos.internal.UnregisterFrameworkMessage", old_unregister },
    { "mesos.internal.DeactivateFrameworkMessage", old_deactivate },
    { "mesos.internal.LaunchTasksMessage", old_launch },
    { "mesos.internal.ReviveOffersMessage", old_revive },
    { "mesos.internal.KillTaskMessage", old_kill },
    { "mesos.internal.StatusUpdateAcknowledgementMessage", old_acknowledge },
    { "mesos.internal.ReconcileTasksMessage", old_reconcile },
};

void master_receive(struct master *m, const struct upid *from, struct str name, const void *body, size_t n,
                    int64_t now_ms)
{
    m->now_ms = now_ms;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        if (!str_eq(name, str_c(messages[i].name))) continue;
        messages[i].fn(m, from, body, n);
        return;
    }
    drop(from, "unknown", "no such message");
}
