/* How long the replacement of a task has to wait because its ancestors died too quickly (reference: tasks, "Flapping").
 */
#include "core/sched_impl.h"

#include <math.h>

int64_t truncated_backoff(struct sched *s, int64_t last, int64_t initial, int64_t max)
{
    int64_t h = last == 0 ? initial : last;
    int64_t next = h + llround(rng_unit(&s->rng) * (double)h);
    return next < max ? next : max;
}

/* The time from the latest event in an active state to the end. A task that was interrupted from outside, or that has
 * not ended, has not flapped. */
static bool flapped(const struct sched *s, const struct task *t)
{
    const struct task_event *last = task_last_event(t);
    if (!last || !status_in(last->status, TASKS_TERMINAL)) return false;
    int64_t active_ms = 0;
    bool was_active = false;
    for (uint32_t i = 0; i < t->n_events; i++) {
        const struct task_event *e = &t->events[i];
        if (status_in(e->status, TASKS_INTERRUPTED)) return false;
        if (!status_in(e->status, TASKS_ACTIVE)) continue;
        if (!was_active || e->timestamp_ms > active_ms) active_ms = e->timestamp_ms;
        was_active = true;
    }
    return was_active && last->timestamp_ms - active_ms < s->config.flapping_task_threshold;
}

/* A walk through the ancestors of t, which itself does not count, back to the first that lived long enough. */
int64_t flapping_penalty(struct sched *s, const struct task *t)
{
    int64_t penalty = 0;
    const struct task *a = store_task(s->store, t->ancestor_id);
    while (a && flapped(s, a)) {
        int64_t next =
            truncated_backoff(s, penalty, s->config.initial_flapping_task_delay, s->config.max_flapping_task_delay);
        if (next == penalty) break;
        penalty = next;
        a = store_task(s->store, a->ancestor_id);
    }
    return penalty;
}
