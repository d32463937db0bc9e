#include "mesos/local/timerq.h"

#include "core/buf.h"

#include <assert.h>
#include <stdlib.h>

void timerq_release(struct timerq *q)
{
    free(q->v);
    *q = (struct timerq){ 0 };
}

static void put(struct timerq *q, size_t slot, struct timer *t)
{
    q->v[slot - 1] = t;
    t->slot = slot;
}

static void sift_up(struct timerq *q, struct timer *t)
{
    size_t i = t->slot;
    while (i > 1 && q->v[i / 2 - 1]->at_ms > t->at_ms) {
        put(q, i, q->v[i / 2 - 1]);
        i /= 2;
    }
    put(q, i, t);
}

static void sift_down(struct timerq *q, struct timer *t)
{
    size_t i = t->slot;
    for (;;) {
        size_t child = 2 * i;
        if (child > q->n) break;
        if (child < q->n && q->v[child]->at_ms < q->v[child - 1]->at_ms) child++;
        if (q->v[child - 1]->at_ms >= t->at_ms) break;
        put(q, i, q->v[child - 1]);
        i = child;
    }
    put(q, i, t);
}

void timer_stop(struct timerq *q, struct timer *t)
{
    if (!t->slot) return;
    assert(t->slot <= q->n);
    assert(q->v[t->slot - 1] == t);
    struct timer *last = q->v[--q->n];
    size_t hole = t->slot;
    t->slot = 0;
    if (last == t) return;
    put(q, hole, last);
    sift_up(q, last);
    sift_down(q, last);
}

void timer_start(struct timerq *q, struct timer *t, int64_t at_ms, void (*fn)(struct timer *t, void *arg), void *arg)
{
    timer_stop(q, t);
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 64;
        q->v = xrealloc(q->v, q->cap * sizeof(struct timer *));
    }
    t->at_ms = at_ms;
    t->fn = fn;
    t->arg = arg;
    put(q, ++q->n, t);
    sift_up(q, t);
}

int64_t timerq_next(const struct timerq *q)
{
    return q->n ? q->v[0]->at_ms : -1;
}

void timerq_run(struct timerq *q, int64_t now_ms, size_t max)
{
    for (; max > 0 && q->n && q->v[0]->at_ms <= now_ms; max--) {
        struct timer *t = q->v[0];
        timer_stop(q, t);
        t->fn(t, t->arg);
    }
}
