/* ACCEPT: which offers count, which tasks pass, what is left over (reference: mesos-scheduler, section 11). */
#include "mesos/local/state.h"
#include "mesos/local/validate.h"

#include <assert.h>
#include <stdlib.h>

/* A LAUNCH on its way: what the answered offers held and what tasks have taken of it. */
struct launch {
    struct master *m;
    struct framework *fw;
    struct agent *agent;
    const char *role;
    struct res remaining;
};

static void refuse_task(struct master *m, struct framework *f, const Mesos__TaskInfo *t, Mesos__TaskState state,
                        int reason, const char *why)
{
    struct master_update u = { .task_id = t->task_id->value,
                               .agent_id = t->slave_id->value,
                               .state = state,
                               .reason = reason,
                               .message = why,
                               .with_pid = true,
                               .unreachable_ms = -1 };
    master_update(m, f, &u);
}

static void refuse_operation(struct master *m, struct framework *f, const Mesos__Offer__Operation *op,
                             Mesos__TaskState state, int reason, const char *why)
{
    if (!op->has_type || op->type != MESOS__OFFER__OPERATION__TYPE__LAUNCH || !op->launch) return;
    for (size_t i = 0; i < op->launch->n_task_infos; i++)
        refuse_task(m, f, op->launch->task_infos[i], state, reason, why);
}

/* ---------------- the offers ---------------- */

static bool offers_unique(Mesos__OfferID *const *ids, size_t n, struct buf *err)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(ids[i]->value, ids[j]->value) != 0) continue;
            buf_addf(err, "Duplicate offer %s in offer list", ids[i]->value);
            return false;
        }
    }
    return true;
}

static bool offers_present(struct master *m, Mesos__OfferID *const *ids, size_t n, struct buf *err)
{
    for (size_t i = 0; i < n; i++) {
        if (offer_find(m, ids[i]->value)) continue;
        buf_addf(err, "Offer %s is no longer valid", ids[i]->value);
        return false;
    }
    return true;
}

static bool offers_ours(struct master *m, const struct framework *f, Mesos__OfferID *const *ids, size_t n,
                        struct buf *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct offered *o = offer_find(m, ids[i]->value);
        if (o->fw == f) continue;
        buf_addf(err, "Offer %s has invalid framework %s while framework %s is expected", o->id, o->fw->id, f->id);
        return false;
    }
    return true;
}

static bool offers_together(struct master *m, Mesos__OfferID *const *ids, size_t n, struct buf *err)
{
    const struct offered *first = offer_find(m, ids[0]->value);
    for (size_t i = 1; i < n; i++) {
        const struct offered *o = offer_find(m, ids[i]->value);
        if (strcmp(o->role, first->role) == 0) continue;
        buf_addf(
            err,
            "Aggregated offers must be allocated to the same role. Offer %s uses role '%s but another is using role "
            "'%s",
            o->id, o->role, first->role);
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        const struct offered *o = offer_find(m, ids[i]->value);
        if (o->agent == first->agent) continue;
        buf_addf(err, "Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s", o->id,
                 o->agent->id, first->agent->id);
        return false;
    }
    return true;
}

static bool validate_offers(struct master *m, const struct framework *f, Mesos__OfferID *const *ids, size_t n,
                            struct buf *err)
{
    if (n == 0) {
        buf_adds(err, "No offers specified");
        return false;
    }
    return offers_unique(ids, n, err) && offers_present(m, ids, n, err) && offers_ours(m, f, ids, n, err) &&
           offers_together(m, ids, n, err);
}

static void refuse_offers(struct master *m, struct framework *f, Mesos__OfferID *const *ids, size_t n,
                          Mesos__Offer__Operation *const *ops, size_t n_ops, const char *why)
{
    struct buf text = { 0 };
    for (size_t i = 0; i < n; i++) {
        struct offered *o = offer_find(m, ids[i]->value);
        if (o) offer_discard(m, o, NULL);
    }
    buf_addf(&text, "Task launched with invalid offers: %s", why);
    Mesos__TaskState state =
        f->capabilities & CAN_PARTITION ? MESOS__TASK_STATE__TASK_DROPPED : MESOS__TASK_STATE__TASK_LOST;
    for (size_t i = 0; i < n_ops; i++)
        refuse_operation(m, f, ops[i], state, MESOS__TASK_STATUS__REASON__REASON_INVALID_OFFERS, buf_cstr(&text));
    buf_release(&text);
}

/* ---------------- the tasks ---------------- */

static enum task_known known(const char *id, void *arg)
{
    struct launch *l = arg;
    struct task *t;
    HASH_FIND_STR(l->fw->tasks, id, t);
    if (!t) return TASK_NOT_KNOWN;
    return t->at_master ? TASK_KNOWN : TASK_KNOWN_UNREACHABLE;
}

static struct str running_executor(const char *id, void *arg)
{
    struct launch *l = arg;
    const struct executor *e = executor_find(l->agent, l->fw, id);
    return e ? (struct str){ (const char *)e->identity.data, (uint32_t)e->identity.len } : (struct str){ 0 };
}

static struct executor *join_executor(struct launch *l, const Mesos__ExecutorInfo *info)
{
    struct executor *e = executor_find(l->agent, l->fw, info->executor_id->value);
    if (!e) {
        e = executor_new(l->agent, l->fw, info, l->m->table, l->role);
        framework_charge(l->fw, &e->res, 1);
    }
    timer_stop(&l->m->timers, &e->exit);
    e->n_tasks++;
    return e;
}

static void launch_valid(struct launch *l, const Mesos__TaskInfo *info, struct res *total)
{
    struct res own = { 0 };
    res_sub(&l->remaining, total);
    res_add_proto(l->m->table, &own, info->resources, info->n_resources);
    struct task *t = task_new(l->m, l->fw, l->agent, info, &own, l->role);
    framework_charge(l->fw, &t->res, 1);
    if (info->executor) t->executor = join_executor(l, info->executor);
    task_start(l->m, t, info);
}

static void launch_task(struct launch *l, const Mesos__TaskInfo *info)
{
    struct launch_context c = { .table = l->m->table,
                                .framework_id = l->fw->id,
                                .agent_id = l->agent->id,
                                .role = l->role,
                                .available = &l->remaining,
                                .known = known,
                                .executor = running_executor,
                                .arg = l };
    struct buf err = { 0 };
    struct res total = { 0 };
    if (validate_task(&c, info, &total, &err)) {
        launch_valid(l, info, &total);
    } else {
        refuse_task(l->m, l->fw, info, MESOS__TASK_STATE__TASK_ERROR, MESOS__TASK_STATUS__REASON__REASON_TASK_INVALID,
                    buf_cstr(&err));
    }
    res_release(&total);
    buf_release(&err);
}

/* Operations are worked off in order; only LAUNCH does anything here. */
static void run_operation(struct launch *l, const Mesos__Offer__Operation *op)
{
    struct buf err = { 0 };
    if (!op->has_type) return;
    bool ok = validate_operation(op, &err);
    if (ok && op->type == MESOS__OFFER__OPERATION__TYPE__LAUNCH && op->id) {
        buf_adds(&err, "The `id` field cannot be set on LAUNCH operations");
        ok = false;
    } else if (ok && op->id && op->type != MESOS__OFFER__OPERATION__TYPE__UNKNOWN) {
        framework_error(l->m, &l->fw->pid,
                        "The 'id' field was set in an offer operation, but operation feedback is not supported for the "
                        "SchedulerDriver API; please use the HTTP scheduler API for this feature");
    }
    if (!ok)
        refuse_operation(l->m, l->fw, op, MESOS__TASK_STATE__TASK_ERROR,
                         MESOS__TASK_STATUS__REASON__REASON_TASK_INVALID, buf_cstr(&err));
    if (ok && op->type == MESOS__OFFER__OPERATION__TYPE__LAUNCH)
        for (size_t i = 0; i < op->launch->n_task_infos; i++) launch_task(l, op->launch->task_infos[i]);
    buf_release(&err);
}

void call_accept(struct master *m, struct framework *f, Mesos__OfferID *const *ids, size_t n,
                 Mesos__Offer__Operation *const *ops, size_t n_ops, const Mesos__Filters *filters)
{
    static const Mesos__Filters defaults = MESOS__FILTERS__INIT;
    struct buf err = { 0 };
    if (!validate_offers(m, f, ids, n, &err)) {
        refuse_offers(m, f, ids, n, ops, n_ops, buf_cstr(&err));
        buf_release(&err);
        return;
    }
    const struct offered *first = offer_find(m, ids[0]->value);
    struct launch l = { .m = m, .fw = f, .agent = first->agent, .role = first->role };
    assert(l.agent->state == AGENT_REGISTERED);
    for (size_t i = 0; i < n; i++) {
        struct offered *o = offer_find(m, ids[i]->value);
        res_add(&l.remaining, &o->res);
        offer_remove(m, o);
    }
    for (size_t i = 0; i < n_ops; i++) run_operation(&l, ops[i]);
    offer_recover(m, f, l.agent, l.role, &l.remaining, filters ? filters : &defaults);
    res_release(&l.remaining);
}
