/* Groups of pending tasks and when they are tried (reference: tasks, "PENDING groups").
 *
 * As in Aurora a group is tried after first_schedule_delay, max_tasks_per_schedule_attempt tasks at a time, and waits
 * longer after each attempt that placed nothing. Unlike there, a group whose attempt placed all its tasks goes on with
 * the next ones at once, max_schedule_attempts_per_sec brakes only attempts that place nothing, and offers that arrive
 * wake the groups that wait for some: with 5 tasks per attempt and 40 attempts per second a job of 10,000 tasks would
 * take 50 s. */
#include "core/buf.h"
#include "core/job_key.h"
#include "core/limits.h"
#include "core/sched_impl.h"
#include "core/stats.h"

#include <assert.h>
#include <math.h>

/* Aurora forgets why a group waits after this time; we look at all offers again. */
enum { NEAREST_FIT_MS = 600000 };

static void on_evaluate(struct sched *s, struct timer *t);

/* ---------------- groups ---------------- */

static struct group *group_find(const struct sched *s, const struct config *config)
{
    struct group *g;
    HASH_FIND(hh, s->pending.groups, &config, sizeof(void *), g);
    return g;
}

static struct group *group_new(struct sched *s, struct config *config, int64_t delay_ms)
{
    struct group *g = xcalloc(1, sizeof *g);
    g->config = config_ref(config);
    g->name = job_key_text(config->api->job, &g->arena);
    request_init(&g->request, config->api, &s->config);
    g->has_limits = config_has_limit_constraint(config->api);
    g->penalty_ms = delay_ms;
    HASH_ADD_KEYPTR(hh, s->pending.groups, &g->config, sizeof(void *), g);
    timers_set(&s->timers, &g->timer, s->now_ms + delay_ms, on_evaluate);
    return g;
}

static void group_free(struct sched *s, struct group *g)
{
    assert(g->n_tasks == 0);
    timers_cancel(&s->timers, &g->timer);
    HASH_DEL(s->pending.groups, g);
    config_unref(g->config);
    arena_release(&g->arena);
    free(g);
}

static struct pending_task *pending_find(const struct sched *s, struct str id)
{
    struct pending_task *p = NULL;
    if (id.p) HASH_FIND(hh, s->pending.by_id, id.p, id.n, p);
    return p;
}

void pending_add(struct sched *s, const struct task *t, int64_t delay_ms)
{
    if (pending_find(s, t->id)) return;
    struct group *g = group_find(s, t->config);
    if (!g) g = group_new(s, t->config, delay_ms);
    struct pending_task *p = xcalloc(1, sizeof *p + t->id.n + 1);
    memcpy(p->bytes, t->id.p, t->id.n);
    p->id = (struct str){ p->bytes, t->id.n };
    p->group = g;
    p->prev = g->tail;
    if (g->tail)
        g->tail->next = p;
    else
        g->head = p;
    g->tail = p;
    g->n_tasks++;
    HASH_ADD_KEYPTR(hh, s->pending.by_id, p->id.p, p->id.n, p);
}

void pending_remove(struct sched *s, struct str task_id)
{
    struct pending_task *p = pending_find(s, task_id);
    if (!p) return;
    struct group *g = p->group;
    if (p->prev)
        p->prev->next = p->next;
    else
        g->head = p->next;
    if (p->next)
        p->next->prev = p->prev;
    else
        g->tail = p->prev;
    g->n_tasks--;
    HASH_DEL(s->pending.by_id, p);
    free(p);
    g->nearest = (struct nearest_fit){ 0 };
    if (!g->n_tasks && !g->evaluating) group_free(s, g);
}

void pending_clear(struct sched *s)
{
    while (s->pending.by_id) pending_remove(s, s->pending.by_id->id);
    assert(!s->pending.groups);
}

const struct group *pending_group_of(const struct sched *s, struct str task_id)
{
    const struct pending_task *p = pending_find(s, task_id);
    return p ? p->group : NULL;
}

void group_reason(const struct group *g, const char *separator, struct buf *out)
{
    for (uint32_t i = 0; i < g->nearest.vetoes.n; i++) {
        if (i) buf_adds(out, separator);
        veto_text(&g->nearest.vetoes.v[i], out);
    }
}

/* ---------------- the limiter ---------------- */

static void limiter_refill(struct limiter *l, double per_sec, int64_t now_ms)
{
    if (now_ms > l->refilled_ms) l->tokens += (double)(now_ms - l->refilled_ms) * per_sec / 1000;
    l->refilled_ms = now_ms;
    if (l->tokens > per_sec) l->tokens = per_sec; /* at most what one second gives is saved up */
}

/* Draws a token; how long until it is there. */
static int64_t limiter_draw(struct limiter *l, double per_sec, int64_t now_ms)
{
    limiter_refill(l, per_sec, now_ms);
    l->tokens -= 1;
    return l->tokens >= 0 ? 0 : (int64_t)ceil(-l->tokens * 1000 / per_sec);
}

/* True if the group may go on; else it is set to come back when its token is there. */
static bool permitted(struct sched *s, struct group *g)
{
    if (g->has_permit) return true;
    g->has_permit = true;
    int64_t wait = limiter_draw(&s->pending.limiter, s->config.max_schedule_attempts_per_sec, s->now_ms);
    if (!wait) return true;
    stat_add(s->count.attempts_blocked, 1);
    timers_set(&s->timers, &g->timer, s->now_ms + wait, on_evaluate);
    return false;
}

/* ---------------- evaluation ---------------- */

/* How many tasks the next attempt may try. Beyond the step's limit an offer that has been begun still gets its share
 * (within twice the limit): what it has left would be lost until the next round. */
static uint32_t attempt_size(const struct sched *s, const struct assignment *as)
{
    uint32_t max = (uint32_t)s->config.max_tasks_per_schedule_attempt, placed = s->pending.placed_in_step;
    if (placed < LIMIT_STEP_PLACED_TASKS) return max;
    if (placed >= 2 * LIMIT_STEP_PLACED_TASKS) return 0;
    uint32_t left = assignment_share_left(as);
    return left < max ? left : max;
}

/* Attempts as long as they place all they try. The number of tasks placed. */
static uint32_t attempt_all(struct sched *s, struct group *g, bool *ret_more_now)
{
    struct assignment *as = assignment_begin(s, g);
    uint32_t placed = 0;
    struct attempt last = { 0 };
    for (uint32_t n; g->n_tasks && last.placed == last.tried && (n = attempt_size(s, as)) > 0;) {
        last = assignment_attempt(s, as, n);
        placed += last.placed;
        s->pending.placed_in_step += last.placed;
    }
    assignment_end(as);
    *ret_more_now = last.placed == last.tried;
    return placed;
}

static void schedule_next(struct sched *s, struct group *g, uint32_t placed, bool more_now)
{
    const struct sched_config *c = &s->config;
    g->waits_for_offers = placed == 0;
    if (placed)
        g->penalty_ms = c->first_schedule_delay;
    else
        g->penalty_ms = truncated_backoff(s, g->penalty_ms, c->initial_schedule_penalty, c->max_schedule_penalty);
    stat_timer_add(stats_timer(s->stats, "scheduled_task_penalty", "ms"), g->penalty_ms);
    timers_set(&s->timers, &g->timer, s->now_ms + (more_now ? 0 : g->penalty_ms), on_evaluate);
}

static void forget_old_reason(struct sched *s, struct group *g)
{
    if (!g->nearest.vetoes.n || s->now_ms - g->nearest.since_ms < NEAREST_FIT_MS) return;
    g->nearest = (struct nearest_fit){ 0 };
    g->vetoed_upto = 0;
}

static void on_evaluate(struct sched *s, struct timer *t)
{
    struct group *g = container_of(t, struct group, timer);
    assert(g->n_tasks > 0);
    if (!permitted(s, g)) return;
    g->has_permit = false;
    g->evaluating = true;
    forget_old_reason(s, g);
    bool more_now;
    uint32_t placed = attempt_all(s, g, &more_now);
    g->evaluating = false;
    if (placed) s->pending.limiter.tokens += 1;
    if (g->n_tasks)
        schedule_next(s, g, placed, more_now);
    else
        group_free(s, g);
}

void pending_wake(struct sched *s)
{
    for (struct group *g = s->pending.groups; g; g = g->hh.next) {
        int64_t soon = s->now_ms + s->config.first_schedule_delay;
        if (!g->waits_for_offers || g->has_permit || g->timer.due_ms <= soon) continue;
        timers_set(&s->timers, &g->timer, soon, on_evaluate);
    }
}
