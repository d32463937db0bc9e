/* Who hears of a change of a task. Job updates, preemption, webhooks and the SLA will listen here too. */
#include "core/buf.h"
#include "core/sched_impl.h"

#include <assert.h>

void changes_add(struct sched *s, const struct task *t, int from, bool deleted)
{
    if (s->n_changes == s->cap_changes) {
        s->cap_changes = s->cap_changes ? 2 * s->cap_changes : 16;
        s->changes = xrealloc(s->changes, s->cap_changes * sizeof *s->changes);
    }
    s->changes[s->n_changes++] = (struct task_changed){ task_ref(t), from, deleted };
}

/* At the start every pending task of a job would come at once: they are spread over some time. */
static int64_t first_delay(struct sched *s, const struct task *t, bool replayed)
{
    if (!replayed) return s->config.first_schedule_delay;
    int64_t window = s->config.max_reschedule_task_delay_on_startup;
    int64_t spread = window > 0 ? (int64_t)rng_below(&s->rng, (uint64_t)window) : 0;
    return spread + flapping_penalty(s, t);
}

static void pending_on_change(struct sched *s, const struct task_changed *c)
{
    if (!c->deleted && c->task->status == API_SCHEDULE_STATUS_PENDING)
        pending_add(s, c->task, first_delay(s, c->task, c->from < 0));
    else if (c->from == API_SCHEDULE_STATUS_PENDING)
        pending_remove(s, c->task->id);
}

static void deliver(struct sched *s, const struct task_changed *c)
{
    pending_on_change(s, c);
    task_timers_on_change(s, c);
    prune_on_change(s, c);
    sched_stats_on_change(s, c);
}

void changes_deliver(struct sched *s)
{
    while (s->change_at < s->n_changes) {
        struct task_changed c = s->changes[s->change_at++]; /* the array may move */
        deliver(s, &c);
        task_unref(c.task);
    }
    s->change_at = s->n_changes = 0;
}
