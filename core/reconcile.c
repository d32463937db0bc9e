/* Asking Mesos what it knows of our tasks: all of them in batches (explicit), and of everything it has (implicit). The
 * answers come as ordinary status updates. Intervals are whole minutes, as in Aurora. */
#include "core/buf.h"
#include "core/logline.h"
#include "core/sched_impl.h"
#include "core/stats.h"

#include <assert.h>

enum { MINUTE_MS = 60000, SECOND_MS = 1000 };

static int64_t whole(int64_t ms, int64_t unit)
{
    return ms / unit * unit;
}

/* Intervals of less than one unit would never end. */
static int64_t interval(int64_t ms, int64_t unit)
{
    return ms < unit ? unit : whole(ms, unit);
}

static void batch_free(struct reconcile *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        free((char *)r->batch[i].task_id.p);
        free((char *)r->batch[i].agent_id.p);
    }
    free(r->batch);
    r->batch = NULL;
    r->n = r->at = 0;
}

static struct str own(struct str s)
{
    return s.p ? (struct str){ xstrndup(s.p, s.n), s.n } : s;
}

static struct task_on_agent *copy_batch(const struct task_on_agent *v, uint32_t n, struct arena *a)
{
    struct task_on_agent *out = ARENA_ARRAY(a, struct task_on_agent, n);
    for (uint32_t i = 0; i < n; i++)
        out[i] = (struct task_on_agent){ arena_str(a, v[i].task_id), arena_str(a, v[i].agent_id) };
    return out;
}

static void send_batch(struct sched *s, struct timer *t)
{
    struct reconcile *r = &s->reconcile;
    uint32_t n = r->n - r->at;
    if ((int64_t)n > s->config.reconciliation_explicit_batch_size)
        n = (uint32_t)s->config.reconciliation_explicit_batch_size;
    struct effect *e = step_effect(&s->step, EFFECT_RECONCILE);
    e->reconcile.tasks = copy_batch(r->batch + r->at, n, &s->step.update->arena);
    e->reconcile.n = n;
    r->at += n;
    if (r->at == r->n)
        batch_free(r);
    else
        timers_set(&s->timers, t, s->now_ms + whole(s->config.reconciliation_explicit_batch_interval, SECOND_MS),
                   send_batch);
}

static void on_explicit(struct sched *s, struct timer *t)
{
    struct reconcile *r = &s->reconcile;
    timers_set(&s->timers, t, s->now_ms + interval(s->config.reconciliation_explicit_interval, MINUTE_MS), on_explicit);
    stat_add(s->count.explicit_runs, 1);
    timers_cancel(&s->timers, &r->explicit_batch);
    batch_free(r);
    struct task_list l = store_status_tasks(s->store, TASKS_SLAVE_ASSIGNED, &s->step.scratch);
    logline(LOG_INFO, "reconcile", "kind=explicit tasks=%u", l.n);
    if (!l.n) return; /* an empty list would mean an implicit one */
    r->batch = xcalloc(l.n, sizeof *r->batch);
    r->n = l.n;
    for (uint32_t i = 0; i < l.n; i++) r->batch[i] = (struct task_on_agent){ own(l.v[i]->id), own(l.v[i]->slave_id) };
    send_batch(s, &r->explicit_batch);
}

static void on_implicit(struct sched *s, struct timer *t)
{
    timers_set(&s->timers, t, s->now_ms + interval(s->config.reconciliation_implicit_interval, MINUTE_MS), on_implicit);
    stat_add(s->count.implicit_runs, 1);
    logline(LOG_INFO, "reconcile", "kind=implicit");
    step_effect(&s->step, EFFECT_RECONCILE);
}

void reconcile_start(struct sched *s)
{
    const struct sched_config *c = &s->config;
    assert(c->reconciliation_explicit_batch_size > 0);
    int64_t first = whole(c->reconciliation_initial_delay, MINUTE_MS);
    int64_t spread = whole(c->reconciliation_schedule_spread, MINUTE_MS);
    timers_set(&s->timers, &s->reconcile.explicit_run, s->now_ms + first, on_explicit);
    timers_set(&s->timers, &s->reconcile.implicit_run, s->now_ms + first + spread, on_implicit);
}

void reconcile_clear(struct sched *s)
{
    timers_cancel(&s->timers, &s->reconcile.explicit_run);
    timers_cancel(&s->timers, &s->reconcile.explicit_batch);
    timers_cancel(&s->timers, &s->reconcile.implicit_run);
    batch_free(&s->reconcile);
}
