#include "core/tasks.h"

#include "core/buf.h"
#include "core/logline.h"
#include "core/stats.h"

#include <assert.h>

/* ---------------- ids ---------------- */

static char id_char(char c)
{
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    return ok ? c : '-';
}

static struct str random_task_id(struct sched *s, const struct api_job_key *k, int32_t instance)
{
    uint64_t hi = (rng_next(&s->rng) & ~UINT64_C(0xf000)) | 0x4000;
    uint64_t lo = (rng_next(&s->rng) & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    return arena_strf(&s->step.scratch, "%.*s-%.*s-%.*s-%d-%08x-%04x-%04x-%04x-%012llx", STR_ARG(k->role),
                      STR_ARG(k->environment), STR_ARG(k->name), instance, (unsigned)(hi >> 32),
                      (unsigned)(hi >> 16 & 0xffff), (unsigned)(hi & 0xffff), (unsigned)(lo >> 48),
                      (unsigned long long)(lo & 0xffffffffffff));
}

/* role-environment-name-instance-UUIDv4, with every other character made a '-'. A leader that starts with the seed of
 * an earlier one draws what that one drew: an id that is taken is not used again. */
static struct str new_task_id(struct sched *s, const struct api_job_key *k, int32_t instance)
{
    struct str id;
    do {
        id = random_task_id(s, k, instance);
        for (uint32_t i = 0; i < id.n; i++) ((char *)id.p)[i] = id_char(id.p[i]);
    } while (store_task(s->store, id));
    return id;
}

/* ---------------- drafts: the next version of a task ---------------- */

/* A shallow copy in scratch with room for one more event. */
static struct api_scheduled_task *draft_of(struct sched *s, const struct task *t)
{
    struct arena *a = &s->step.scratch;
    struct api_scheduled_task *d = ARENA_NEW(a, struct api_scheduled_task);
    task_to_api(t, d, a);
    struct api_task_event *events = ARENA_ARRAY(a, struct api_task_event, d->n_task_events + 1);
    if (d->n_task_events) memcpy(events, d->task_events, d->n_task_events * sizeof *events);
    d->task_events = events;
    return d;
}

/* A task that is not stored yet. */
static struct api_scheduled_task *draft_new(struct sched *s, struct config *config, int32_t instance)
{
    struct arena *a = &s->step.scratch;
    struct api_scheduled_task *d = ARENA_NEW(a, struct api_scheduled_task);
    d->assigned_task = ARENA_NEW(a, struct api_assigned_task);
    d->assigned_task->task = (struct api_task_config *)config->api;
    d->assigned_task->instance_id = instance;
    d->assigned_task->task_id = new_task_id(s, config->api->job, instance);
    d->has_status = true;
    d->status = API_SCHEDULE_STATUS_INIT;
    d->task_events = ARENA_NEW(a, struct api_task_event);
    return d;
}

/* A task that goes to and fro between a state and PARTITIONED keeps one such pair, not all of them. */
static void compact_partitions(struct api_scheduled_task *d)
{
    uint32_t n = d->n_task_events;
    const struct api_task_event *e = d->task_events;
    if (n < 3 || e[n - 2].status != API_SCHEDULE_STATUS_PARTITIONED || e[n - 3].status != e[n - 1].status) return;
    d->n_task_events = n - 2;
}

static void draft_move(struct sched *s, struct api_scheduled_task *d, enum api_schedule_status to, struct str message)
{
    if (to == API_SCHEDULE_STATUS_PARTITIONED) {
        d->times_partitioned++;
        compact_partitions(d);
    }
    d->status = to;
    d->task_events[d->n_task_events++] = (struct api_task_event){ .has_timestamp = true,
                                                                  .timestamp = s->now_ms,
                                                                  .has_status = true,
                                                                  .status = to,
                                                                  .message = message,
                                                                  .scheduler = s->config.hostname };
}

static const struct task *save(struct sched *s, const struct api_scheduled_task *d)
{
    return step_save_task(&s->step, d);
}

/* ---------------- changes ---------------- */

static void log_transition(struct str id, const char *from, enum api_schedule_status to, const char *cause,
                           struct str message)
{
    if (message.p)
        logline(LOG_INFO, "task-transition", "task=%.*s from=%s to=%s cause=%s message=\"%.*s\"", STR_ARG(id), from,
                status_name(to), cause, STR_ARG(message));
    else
        logline(LOG_INFO, "task-transition", "task=%.*s from=%s to=%s cause=%s", STR_ARG(id), from, status_name(to),
                cause);
}

static struct task_facts facts_of(const struct task *t)
{
    struct task_facts f = { 0 };
    if (!t) return f;
    f.is_service = t->config->api->is_service;
    f.max_task_failures = t->config->api->max_task_failures;
    f.failure_count = t->failure_count;
    for (uint32_t i = 0; i < t->n_events; i++) f.was_killing |= t->events[i].status == API_SCHEDULE_STATUS_KILLING;
    return f;
}

static void enter(struct sched *s, struct api_scheduled_task *d, enum api_schedule_status to, struct str message,
                  const char *cause)
{
    unsigned actions;
    enum task_change legal = task_fsm(API_SCHEDULE_STATUS_INIT, to, &(struct task_facts){ 0 }, &actions);
    assert(legal == TASK_CHANGED);
    assert(actions == TASK_SAVE);
    (void)legal;
    draft_move(s, d, to, message);
    const struct task *t = save(s, d);
    log_transition(t->id, "INIT", to, cause, message);
    changes_add(s, t, API_SCHEDULE_STATUS_INIT, false);
}

void tasks_insert(struct sched *s, struct config *config, const int32_t *instance_ids, uint32_t n, const char *cause)
{
    for (uint32_t i = 0; i < n; i++)
        enter(s, draft_new(s, config, instance_ids[i]), API_SCHEDULE_STATUS_PENDING, (struct str){ 0 }, cause);
}

/* The replacement of t: same config and instance; penalized if its ancestors died too quickly. */
static void reschedule(struct sched *s, const struct task *t)
{
    int64_t penalty = flapping_penalty(s, t);
    struct api_scheduled_task *d = draft_new(s, t->config, t->instance_id);
    d->ancestor_id = t->id;
    d->failure_count = t->failure_count;
    if (penalty > 0)
        enter(s, d, API_SCHEDULE_STATUS_THROTTLED,
              arena_strf(&s->step.scratch, "Rescheduled, penalized for %lld ms for flapping", (long long)penalty),
              "reschedule");
    else
        enter(s, d, API_SCHEDULE_STATUS_PENDING, STR("Rescheduled"), "reschedule");
}

static void kill_effect(struct sched *s, struct str task_id, struct str agent_id)
{
    struct arena *a = &s->step.update->arena;
    struct effect *e = step_effect(&s->step, EFFECT_KILL);
    e->kill.task_id = arena_str(a, task_id);
    e->kill.agent_id = arena_str(a, agent_id);
}

static void delete_row(struct sched *s, const struct task *t)
{
    changes_add(s, t, (int)t->status, true);
    step_remove_tasks(&s->step, &t->id, 1);
}

static const struct task *save_change(struct sched *s, const struct task *t, const struct task_order *o,
                                      unsigned actions)
{
    struct api_scheduled_task *d = draft_of(s, t);
    if (actions & TASK_COUNT_FAILURE) d->failure_count++;
    draft_move(s, d, o->to, o->message);
    return save(s, d);
}

/* In the order of enum task_action_order. Returns the task as saved, or t. */
static const struct task *carry_out(struct sched *s, const struct task *t, struct str id, const struct task_order *o,
                                    unsigned actions)
{
    assert(!(actions & TASK_COUNT_FAILURE) || actions & TASK_SAVE);
    const struct task *now = t;
    if (actions & TASK_SAVE) now = save_change(s, t, o, actions);
    if (actions & TASK_RESCHEDULE) reschedule(s, now);
    if (actions & TASK_MAKE_LOST)
        task_change(s, id,
                    &(struct task_order){ .to = API_SCHEDULE_STATUS_LOST,
                                          .only_from = -1,
                                          .message = STR("Action performed on partitioned task, marking as LOST."),
                                          .cause = "partitioned" });
    if (actions & TASK_KILL) kill_effect(s, id, t && t->slave_id.p ? t->slave_id : o->agent_id);
    if (actions & TASK_DELETE) delete_row(s, t);
    return now;
}

static enum task_result refused(struct sched *s, struct str id, const char *from, const struct task_order *o,
                                enum task_change change)
{
    stat_add(s->count.illegal_transitions, 1);
    bool kills = change == TASK_ILLEGAL_WITH_ACTIONS;
    logline(LOG_INFO, "task-transition-refused", "task=%.*s from=%s to=%s cause=%s killed=%s", STR_ARG(id), from,
            status_name(o->to), o->cause, kills ? "true" : "false");
    return kills ? TASK_RESULT_ILLEGAL_WITH_SIDE_EFFECTS : TASK_RESULT_ILLEGAL;
}

enum task_result task_change(struct sched *s, struct str task_id, const struct task_order *o)
{
    assert(s->step.update);
    const struct task *t = store_task(s->store, task_id);
    enum api_schedule_status from = t ? t->status : TASK_ABSENT;
    if (o->only_from >= 0 && (int)from != o->only_from) return TASK_RESULT_INVALID_CAS_STATE;
    struct task_facts facts = facts_of(t);
    unsigned actions;
    enum task_change change = task_fsm(from, o->to, &facts, &actions);
    if (change == TASK_NOOP) return TASK_RESULT_NOOP;

    if (t) step_pin(&s->step, t); /* the new version takes its place in the store */
    const struct task *now = carry_out(s, t, t ? t->id : task_id, o, actions);
    const char *from_name = t ? status_name(from) : "absent";
    if (change != TASK_CHANGED) return refused(s, task_id, from_name, o, change);
    log_transition(t->id, from_name, o->to, o->cause, o->message);
    if (actions & TASK_SAVE) changes_add(s, now, (int)from, false);
    return TASK_RESULT_SUCCESS;
}

const struct task *task_assign(struct sched *s, const struct task *t, struct str agent_id, struct str host,
                               const struct assigned_port *ports, uint32_t n_ports)
{
    unsigned actions;
    struct task_facts facts = facts_of(t);
    enum task_change legal = task_fsm(t->status, API_SCHEDULE_STATUS_ASSIGNED, &facts, &actions);
    assert(legal == TASK_CHANGED);
    assert(actions == TASK_SAVE);
    (void)legal;
    step_pin(&s->step, t); /* the new version takes its place in the store */
    enum api_schedule_status from = t->status;
    struct api_scheduled_task *d = draft_of(s, t);
    struct api_assigned_task *at = d->assigned_task;
    at->slave_id = agent_id;
    at->slave_host = host;
    at->n_assigned_ports = n_ports;
    at->assigned_ports_keys = ARENA_ARRAY(&s->step.scratch, struct str, n_ports);
    at->assigned_ports = ARENA_ARRAY(&s->step.scratch, int32_t, n_ports);
    for (uint32_t i = 0; i < n_ports; i++) {
        at->assigned_ports_keys[i] = ports[i].name;
        at->assigned_ports[i] = ports[i].port;
    }
    draft_move(s, d, API_SCHEDULE_STATUS_ASSIGNED, (struct str){ 0 });
    const struct task *now = save(s, d);
    log_transition(now->id, status_name(from), API_SCHEDULE_STATUS_ASSIGNED, "assign", (struct str){ 0 });
    changes_add(s, now, (int)from, false);
    return now;
}

uint32_t tasks_delete(struct sched *s, const struct str *ids, uint32_t n, const char *cause)
{
    uint32_t deleted = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct task *t = store_task(s->store, ids[i]);
        if (!t) continue;
        step_pin(&s->step, t);
        logline(LOG_INFO, "task-deleted", "task=%.*s status=%s cause=%s", STR_ARG(t->id), status_name(t->status),
                cause);
        delete_row(s, t);
        deleted++;
    }
    return deleted;
}

const char *task_result_name(enum task_result r)
{
    switch (r) {
    case TASK_RESULT_NOOP:
        return "NOOP";
    case TASK_RESULT_SUCCESS:
        return "SUCCESS";
    case TASK_RESULT_ILLEGAL:
        return "ILLEGAL";
    case TASK_RESULT_ILLEGAL_WITH_SIDE_EFFECTS:
        return "ILLEGAL_WITH_SIDE_EFFECTS";
    case TASK_RESULT_INVALID_CAS_STATE:
        return "INVALID_CAS_STATE";
    }
    assert(!"no such result");
    return "";
}
