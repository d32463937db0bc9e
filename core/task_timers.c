/* What happens to a task that stays in a state: transient states time out, kills are repeated, partitions end by
 * policy, throttled tasks become pending, history is forgotten. One timer per event that starts one; it looks when it
 * fires whether the task is still where it was. */
#include "core/logline.h"
#include "core/stats.h"
#include "core/tasks.h"

#include <assert.h>

static struct task_timer *timer_of(struct timer *t)
{
    return container_of(t, struct task_timer, timer);
}

static void timer_start(struct sched *s, const struct task *t, int64_t due_ms, timer_fn fire)
{
    struct task_timer *tt = xcalloc(1, sizeof *tt + t->id.n + 1);
    memcpy(tt->bytes, t->id.p, t->id.n);
    tt->id = (struct str){ tt->bytes, t->id.n };
    tt->status = t->status;
    tt->event_ms = task_last_event_ms(t);
    tt->next = s->task_timers;
    if (tt->next) tt->next->prev = tt;
    s->task_timers = tt;
    timers_set(&s->timers, &tt->timer, due_ms, fire);
}

static void timer_free(struct sched *s, struct task_timer *tt)
{
    timers_cancel(&s->timers, &tt->timer);
    if (tt->prev)
        tt->prev->next = tt->next;
    else
        s->task_timers = tt->next;
    if (tt->next) tt->next->prev = tt->prev;
    free(tt);
}

void task_timers_clear(struct sched *s)
{
    while (s->task_timers) timer_free(s, s->task_timers);
}

/* The task, if nothing has happened to it since. */
static const struct task *unchanged(struct sched *s, const struct task_timer *tt)
{
    const struct task *t = store_task(s->store, tt->id);
    return t && t->status == tt->status && task_last_event_ms(t) == tt->event_ms ? t : NULL;
}

static enum task_result move_on(struct sched *s, const struct task_timer *tt, enum api_schedule_status to,
                                struct str message, const char *cause)
{
    return task_change(
        s, tt->id, &(struct task_order){ .to = to, .only_from = (int)tt->status, .message = message, .cause = cause });
}

/* ---------------- what each timer does ---------------- */

static void on_timeout(struct sched *s, struct timer *t)
{
    struct task_timer *tt = timer_of(t);
    if (unchanged(s, tt) &&
        move_on(s, tt, API_SCHEDULE_STATUS_LOST, STR("Task timed out"), "timeout") == TASK_RESULT_SUCCESS)
        stat_add(s->count.timed_out_tasks, 1);
    timer_free(s, tt);
}

static void on_kill_retry(struct sched *s, struct timer *t)
{
    struct task_timer *tt = timer_of(t);
    const struct task *task = unchanged(s, tt);
    if (!task) {
        timer_free(s, tt);
        return;
    }
    struct arena *a = &s->step.update->arena;
    struct effect *e = step_effect(&s->step, EFFECT_KILL);
    e->kill.task_id = arena_str(a, task->id);
    e->kill.agent_id = arena_str(a, task->slave_id);
    stat_add(s->count.kill_retries, 1);
    logline(LOG_INFO, "kill-retry", "task=%.*s", STR_ARG(task->id));
    tt->backoff_ms = truncated_backoff(s, tt->backoff_ms, s->config.initial_task_kill_retry_interval,
                                       s->config.transient_task_state_timeout);
    timers_set(&s->timers, t, s->now_ms + tt->backoff_ms, on_kill_retry);
}

static void on_partition_end(struct sched *s, struct timer *t)
{
    struct task_timer *tt = timer_of(t);
    if (unchanged(s, tt))
        move_on(s, tt, API_SCHEDULE_STATUS_LOST, STR("Task partitioned for too long."), "partition-policy");
    timer_free(s, tt);
}

static void on_throttle_end(struct sched *s, struct timer *t)
{
    struct task_timer *tt = timer_of(t);
    if (unchanged(s, tt)) move_on(s, tt, API_SCHEDULE_STATUS_PENDING, (struct str){ 0 }, "throttle-end");
    timer_free(s, tt);
}

static void on_history_end(struct sched *s, struct timer *t)
{
    struct task_timer *tt = timer_of(t);
    if (unchanged(s, tt)) stat_add(s->count.tasks_pruned, tasks_delete(s, &tt->id, 1, "prune"));
    timer_free(s, tt);
}

/* ---------------- when they start ---------------- */

static void start_kill_retry(struct sched *s, const struct task *t)
{
    int64_t delay =
        truncated_backoff(s, 0, s->config.initial_task_kill_retry_interval, s->config.transient_task_state_timeout);
    timer_start(s, t, s->now_ms + delay, on_kill_retry);
    s->task_timers->backoff_ms = delay;
}

/* No policy means no patience; a policy without reschedule means any amount. */
static void start_partition(struct sched *s, const struct task *t, bool replayed)
{
    const struct api_partition_policy *p = t->config->api->partition_policy;
    if (p && !p->reschedule) return;
    int64_t delay_ms = p ? p->delay_secs * 1000 : 0;
    int64_t age = s->now_ms - task_last_event_ms(t);
    if (replayed && age > 0) delay_ms -= age / 1000 * 1000; /* a leader before us may have had a clock that is ahead */
    timer_start(s, t, s->now_ms + (delay_ms > 0 ? delay_ms : 0), on_partition_end);
}

/* The penalty is drawn anew: it now counts the task that has just died, so it differs from the one in the event. */
static void start_throttle(struct sched *s, const struct task *t)
{
    int64_t penalty = flapping_penalty(s, t);
    int64_t age = s->now_ms - task_last_event_ms(t);
    int64_t left = age > 0 ? penalty - age : penalty; /* never more, whatever clock the event was made by */
    stat_timer_add(stats_timer(s->stats, "task_throttle", "ms"), penalty);
    timer_start(s, t, s->now_ms + (left > 0 ? left : 0), on_throttle_end);
}

static void start_history(struct sched *s, const struct task *t)
{
    int64_t age = s->now_ms - task_last_event_ms(t);
    int64_t delay = s->config.history_prune_threshold - (age > 0 ? age : 0);
    int64_t least = s->config.history_min_retention_threshold;
    timer_start(s, t, s->now_ms + (delay > least ? delay : least), on_history_end);
}

void task_timers_on_change(struct sched *s, const struct task_changed *c)
{
    /* The change may be history by now: a nested one is announced before the one that it follows from. */
    const struct task *t = c->task;
    if (c->deleted || !status_in(t->status, TASKS_TIMED) || store_task(s->store, t->id) != t) return;
    if (status_in(t->status, TASKS_TRANSIENT))
        timer_start(s, t, s->now_ms + s->config.transient_task_state_timeout, on_timeout);
    if (t->status == API_SCHEDULE_STATUS_KILLING) start_kill_retry(s, t);
    if (t->status == API_SCHEDULE_STATUS_PARTITIONED) start_partition(s, t, c->from < 0);
    if (t->status == API_SCHEDULE_STATUS_THROTTLED) start_throttle(s, t);
    if (status_in(t->status, TASKS_TERMINAL)) start_history(s, t);
}
