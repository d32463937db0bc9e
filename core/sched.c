#include "core/sched.h"

#include "core/buf.h"
#include "core/command.h"
#include "core/limits.h"
#include "core/logline.h"
#include "core/sched_impl.h"
#include "core/stats.h"

#include <assert.h>

/* ---------------- settings ---------------- */

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static const struct tier_setting default_tiers[] = {
    { { "preemptible", 11 }, true, false },
    { { "preferred", 9 }, false, false },
    { { "revocable", 9 }, true, true },
};

/* ^(prod|devel|test|staging\d*)$ */
static bool default_environment_ok(struct str env, void *arg)
{
    (void)arg;
    if (str_eq(env, STR("prod")) || str_eq(env, STR("devel")) || str_eq(env, STR("test"))) return true;
    if (env.n < 7 || memcmp(env.p, "staging", 7) != 0) return false;
    for (uint32_t i = 7; i < env.n; i++)
        if (env.p[i] < '0' || env.p[i] > '9') return false;
    return true;
}

void sched_config_defaults(struct sched_config *c)
{
    *c = (struct sched_config){
        .stats_url_prefix = STR(""),
        .max_tasks_per_job = 4000,
        .environment_ok = default_environment_ok,
        .environment_regex = STR("^(prod|devel|test|staging\\d*)$"),
        .tiers = (struct tier_setting *)default_tiers,
        .n_tiers = sizeof default_tiers / sizeof *default_tiers,
        .default_tier = STR("preemptible"),
        .allow_mesos = true,
        .require_docker_use_executor = true,
        .enable_revocable_cpus = true,
        .min_required_instances_for_sla_check = 20,
        .max_sla_duration_secs = 2 * 60 * 60,
        .first_schedule_delay = 1,
        .initial_schedule_penalty = 1 * SECOND,
        .max_schedule_penalty = 1 * MINUTE,
        .max_schedule_attempts_per_sec = 40,
        .max_tasks_per_schedule_attempt = 5,
        .flapping_task_threshold = 5 * MINUTE,
        .initial_flapping_task_delay = 30 * SECOND,
        .max_flapping_task_delay = 5 * MINUTE,
        .max_reschedule_task_delay_on_startup = 30 * SECOND,
        .min_offer_hold_time = 5 * MINUTE,
        .offer_hold_jitter_window = 1 * MINUTE,
        .offer_filter_duration = 5 * SECOND,
        .unavailability_threshold = 6 * MINUTE,
        .transient_task_state_timeout = 5 * MINUTE,
        .initial_task_kill_retry_interval = 15 * SECOND,
        .reconciliation_initial_delay = 1 * MINUTE,
        .reconciliation_explicit_interval = 60 * MINUTE,
        .reconciliation_implicit_interval = 60 * MINUTE,
        .reconciliation_schedule_spread = 30 * MINUTE,
        .reconciliation_explicit_batch_interval = 5 * SECOND,
        .reconciliation_explicit_batch_size = 1000,
        .history_prune_threshold = 48 * (int64_t)HOUR,
        .history_min_retention_threshold = 1 * HOUR,
        .history_max_per_job_threshold = 100,
    };
}

/* ---------------- life ---------------- */

struct sched *sched_new(const struct sched_config *c, struct stats *stats)
{
    assert(stats);
    assert(c->max_tasks_per_schedule_attempt > 0);
    assert(c->max_schedule_attempts_per_sec > 0);
    struct sched *s = xcalloc(1, sizeof *s);
    s->config = *c;
    s->stats = stats;
    s->store = store_new();
    s->rng.state = c->seed;
    s->pending.limiter.tokens = c->max_schedule_attempts_per_sec;
    sched_stats_init(s);
    return s;
}

void sched_free(struct sched *s)
{
    if (!s) return;
    assert(!s->step.update);
    creation_free_all(s);
    pending_clear(s);
    offers_clear(s);
    task_timers_clear(s);
    prune_clear(s);
    reconcile_clear(s);
    timers_release(&s->timers);
    free(s->changes);
    store_free(s->store);
    free(s);
}

int sched_apply(struct sched *s, const struct api_op *op)
{
    assert(!s->leading); /* a leader applies only what it has decided itself */
    return store_apply(s->store, op);
}

struct store *sched_replace_store(struct sched *s, struct store *state)
{
    assert(!s->leading);
    struct store *old = s->store;
    store_inherit(state, old);
    s->store = state;
    return old;
}

/* ---------------- events ---------------- */

/* The time beside the task: sorting looks at each task's memory once, not at every comparison. */
struct aged {
    int64_t last_event_ms;
    const struct task *task;
};

static int by_last_event(const void *a, const void *b)
{
    const struct aged *x = a, *y = b;
    int64_t xt = x->last_event_ms, yt = y->last_event_ms;
    return xt != yt ? (xt > yt) - (xt < yt) : str_cmp(x->task->id, y->task->id);
}

/* The states of replayed tasks that anybody listens to. Most tasks run, and nobody does anything about that: a new
 * leader is to answer before it has gone through all of them. */
#define REPLAYED_AND_HEARD (TASKS_TIMED | STATUS_BIT(API_SCHEDULE_STATUS_PENDING))

/* Those who listen hear of the stored tasks, as if they had just got where they are; the oldest event first. */
static void on_leading(struct sched *s)
{
    assert(!s->leading);
    s->leading = true;
    struct task_list l = store_status_tasks(s->store, REPLAYED_AND_HEARD, &s->step.scratch);
    struct aged *v = ARENA_ARRAY(&s->step.scratch, struct aged, l.n);
    for (uint32_t i = 0; i < l.n; i++) v[i] = (struct aged){ task_last_event_ms(l.v[i]), l.v[i] };
    if (l.n) qsort(v, l.n, sizeof(*v), by_last_event);
    for (uint32_t i = 0; i < l.n; i++) changes_add(s, v[i].task, -1, false);
    logline(LOG_INFO, "leading", "tasks=%llu heard=%u", (unsigned long long)store_task_count(s->store), l.n);
}

static void save_framework_id(struct sched *s, struct str id)
{
    struct api_save_framework_id op = { .id = id };
    step_record(&s->step, &(struct api_op){ .save_framework_id = &op });
}

static void on_registered(struct sched *s, const struct sched_event *ev)
{
    struct str id = ev->registered.framework_id;
    if (ev->registered.first)
        save_framework_id(s, id);
    else
        stat_add(s->count.reregisters, 1);
    stat_set(s->count.registered, 1);
    logline(LOG_INFO, "registered", "framework=%.*s first=%s", STR_ARG(id), ev->registered.first ? "true" : "false");
    if (s->active) return;
    s->active = true;
    reconcile_start(s);
}

static void on_disconnected(struct sched *s)
{
    stat_add(s->count.disconnects, 1);
    stat_set(s->count.registered, 0);
    logline(LOG_WARN, "disconnected", "offers=%u", HASH_COUNT(s->offers.by_id));
    offers_clear(s);
}

static void on_timer(struct sched *s)
{
    if (s->creations) {
        creation_go_on(s);
        return;
    }
    for (int i = 0; s->active && i < LIMIT_STEP_TIMERS; i++) {
        if (s->pending.placed_in_step >= LIMIT_STEP_PLACED_TASKS) return;
        struct timer *t = timers_pop(&s->timers, s->now_ms);
        if (!t) return;
        t->fire(s, t);
        changes_deliver(s);
    }
}

static void on_executor_lost(struct sched *s, const struct sched_event *ev)
{
    if (!ev->executor_lost.status) return;
    stat_add(s->count.executors_lost, 1);
    logline(LOG_WARN, "executor-lost", "agent=%.*s executor=%.*s status=%d", STR_ARG(ev->executor_lost.agent_id),
            STR_ARG(ev->executor_lost.executor_id), ev->executor_lost.status);
}

static void handle(struct sched *s, const struct sched_event *ev)
{
    switch (ev->type) {
    case EV_TIMER:
        on_timer(s);
        return;
    case EV_LEADING:
        on_leading(s);
        return;
    case EV_REGISTERED:
        on_registered(s, ev);
        return;
    case EV_DISCONNECTED:
        on_disconnected(s);
        return;
    case EV_OFFERS:
        offers_add(s, ev->offers.v, ev->offers.n);
        return;
    case EV_RESCIND:
        offers_rescind(s, ev->rescind.offer_id);
        return;
    case EV_STATUS:
        status_updates(s, ev->status.v, ev->status.n);
        return;
    case EV_AGENT_LOST:
        stat_add(s->count.slaves_lost, 1);
        logline(LOG_WARN, "agent-lost", "agent=%.*s", STR_ARG(ev->agent_lost.agent_id));
        return;
    case EV_EXECUTOR_LOST:
        on_executor_lost(s, ev);
        return;
    case EV_COMMAND:
        command_run(s, ev);
        return;
    }
    assert(!"no such event");
}

/* A clock that is set back must not hold up what is due by it, such as kills that are repeated. */
static void set_now(struct sched *s, int64_t now_ms)
{
    if (now_ms < s->now_ms) timers_shift(&s->timers, now_ms - s->now_ms);
    s->now_ms = now_ms;
}

void sched_step(struct sched *s, const struct sched_event *ev, struct sched_update *update)
{
    assert(s->leading || ev->type == EV_LEADING || ev->type == EV_COMMAND || ev->type == EV_TIMER);
    set_now(s, ev->now_ms);
    s->pending.placed_in_step = 0;
    step_begin(&s->step, s->store, update);
    handle(s, ev);
    changes_deliver(s);
    offers_launch_used(s);
    step_end(&s->step);
}

int64_t sched_timeout(const struct sched *s)
{
    if (s->creations) return s->now_ms;
    return s->active ? timers_next(&s->timers) : INT64_MAX;
}

bool sched_busy(const struct sched *s)
{
    return s->creations != NULL;
}

/* ---------------- read access ---------------- */

const struct store *sched_store(const struct sched *s)
{
    return s->store;
}

struct str sched_framework_id(const struct sched *s)
{
    return store_framework_id(s->store);
}

void sched_each_offer(const struct sched *s, void (*fn)(const struct offer *o, void *arg), void *arg)
{
    for (struct held_offer *o = s->offers.by_id; o; o = o->hh.next) fn(&o->offer, arg);
}

/* A job may have several groups: of these, the one with the smaller first id. */
static int by_name(const void *a, const void *b)
{
    const struct group *x = *(const struct group *const *)a, *y = *(const struct group *const *)b;
    int d = str_cmp(x->name, y->name);
    return d ? d : str_cmp(x->head->id, y->head->id);
}

static void show_group(const struct group *g, void (*fn)(const struct pending_group *g, void *arg), void *arg)
{
    struct arena a = { 0 };
    struct buf reason = { 0 };
    struct str *ids = ARENA_ARRAY(&a, struct str, g->n_tasks);
    uint32_t n = 0;
    for (struct pending_task *p = g->head; p; p = p->next) ids[n++] = p->id;
    buf_addc(&reason, '[');
    group_reason(g, ", ", &reason);
    buf_addc(&reason, ']');
    fn(&(struct pending_group){ .name = g->name,
                                .task_ids = ids,
                                .n_task_ids = n,
                                .penalty_ms = g->penalty_ms,
                                .reason = { buf_cstr(&reason), (uint32_t)reason.len } },
       arg);
    buf_release(&reason);
    arena_release(&a);
}

void sched_each_pending_group(const struct sched *s, void (*fn)(const struct pending_group *g, void *arg), void *arg)
{
    uint32_t n = 0;
    const struct group **v = xmalloc(HASH_COUNT(s->pending.groups) * sizeof(struct group *));
    for (struct group *g = s->pending.groups; g; g = g->hh.next) v[n++] = g;
    if (n) qsort(v, n, sizeof(struct group *), by_name);
    for (uint32_t i = 0; i < n; i++) show_group(v[i], fn, arg);
    free(v);
}
