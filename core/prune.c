/* The history of a job is kept short: beyond history_max_per_job_threshold ended tasks, the oldest go, but none before
 * history_min_retention_threshold. (That single tasks go after history_prune_threshold is in task_timers.c.)
 *
 * A job that has too many is looked at once, and again when its oldest ended task has reached the age: not at every
 * task that ends, which for a large job would cost the square of its size. */
#include "core/job_key.h"
#include "core/sched_impl.h"
#include "core/stats.h"
#include "core/tasks.h"

struct job_prune {
    struct timer timer;
    struct api_job_key key; /* in `arena` */
    struct arena arena;
    UT_hash_handle hh; /* by text */
};

static bool too_many(const struct sched *s, const struct job *j)
{
    return j && (int64_t)j->n_terminal > s->config.history_max_per_job_threshold;
}

static void drop(struct sched *s, struct job_prune *p)
{
    timers_cancel(&s->timers, &p->timer);
    HASH_DEL(s->job_prunes, p);
    arena_release(&p->arena);
    free(p);
}

void prune_clear(struct sched *s)
{
    while (s->job_prunes) drop(s, s->job_prunes);
}

static int by_age(const void *a, const void *b)
{
    const struct task *x = *(const struct task *const *)a, *y = *(const struct task *const *)b;
    int64_t xt = task_last_event_ms(x), yt = task_last_event_ms(y);
    return xt != yt ? (xt > yt) - (xt < yt) : str_cmp(x->id, y->id);
}

static struct task_list ended_by_age(struct sched *s, const struct api_job_key *key)
{
    struct task_list l = store_job_tasks(s->store, key, &s->step.scratch);
    uint32_t n = 0;
    for (uint32_t i = 0; i < l.n; i++)
        if (status_in(l.v[i]->status, TASKS_TERMINAL)) l.v[n++] = l.v[i];
    l.n = n;
    if (n) qsort(l.v, n, sizeof(struct task *), by_age);
    return l;
}

static void on_prune(struct sched *s, struct timer *t)
{
    struct job_prune *p = container_of(t, struct job_prune, timer);
    struct task_list l = ended_by_age(s, &p->key);
    int64_t surplus = (int64_t)l.n - s->config.history_max_per_job_threshold;
    int64_t retention = s->config.history_min_retention_threshold;
    struct str *ids = ARENA_ARRAY(&s->step.scratch, struct str, l.n);
    uint32_t n = 0;
    while ((int64_t)n < surplus && s->now_ms - task_last_event_ms(l.v[n]) >= retention) {
        ids[n] = l.v[n]->id;
        n++;
    }
    if ((int64_t)n < surplus) timers_set(&s->timers, t, task_last_event_ms(l.v[n]) + retention, on_prune);
    stat_add(s->count.tasks_pruned, tasks_delete(s, ids, n, "prune"));
    if (!timer_is_set(t)) drop(s, p);
}

void prune_on_change(struct sched *s, const struct task_changed *c)
{
    if (c->deleted || !status_in(c->task->status, TASKS_TERMINAL)) return;
    const struct job *j = store_job(s->store, task_job(c->task));
    if (!too_many(s, j)) return;
    struct job_prune *p;
    HASH_FIND(hh, s->job_prunes, j->text.p, j->text.n, p);
    if (p) return;
    p = xcalloc(1, sizeof *p);
    p->key = (struct api_job_key){ .role = arena_str(&p->arena, j->key.role),
                                   .environment = arena_str(&p->arena, j->key.environment),
                                   .name = arena_str(&p->arena, j->key.name) };
    struct str text = job_key_text(&p->key, &p->arena);
    HASH_ADD_KEYPTR(hh, s->job_prunes, text.p, text.n, p);
    timers_set(&s->timers, &p->timer, s->now_ms, on_prune);
}
