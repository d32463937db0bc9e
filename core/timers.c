#include "core/timers.h"

#include "core/buf.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct timer *a, const struct timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->seq < b->seq;
}

static void place(struct timers *ts, uint32_t at, struct timer *t)
{
    ts->heap[at] = t;
    t->pos = at + 1;
}

static void sift_up(struct timers *ts, uint32_t at)
{
    struct timer *t = ts->heap[at];
    for (; at && before(t, ts->heap[(at - 1) / 2]); at = (at - 1) / 2) place(ts, at, ts->heap[(at - 1) / 2]);
    place(ts, at, t);
}

static void sift_down(struct timers *ts, uint32_t at)
{
    struct timer *t = ts->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= ts->n) break;
        if (child + 1 < ts->n && before(ts->heap[child + 1], ts->heap[child])) child++;
        if (!before(ts->heap[child], t)) break;
        place(ts, at, ts->heap[child]);
        at = child;
    }
    place(ts, at, t);
}

void timers_set(struct timers *ts, struct timer *t, int64_t due_ms, timer_fn fire)
{
    assert(fire);
    timers_cancel(ts, t);
    if (ts->n == ts->cap) {
        ts->cap = ts->cap ? 2 * ts->cap : 64;
        ts->heap = xrealloc(ts->heap, ts->cap * sizeof(struct timer *));
    }
    t->due_ms = due_ms;
    t->seq = ts->seq++;
    t->fire = fire;
    place(ts, ts->n++, t);
    sift_up(ts, ts->n - 1);
}

void timers_cancel(struct timers *ts, struct timer *t)
{
    if (!t->pos) return;
    uint32_t at = t->pos - 1;
    assert(at < ts->n);
    assert(ts->heap[at] == t);
    t->pos = 0;
    struct timer *last = ts->heap[--ts->n];
    if (last == t) return;
    place(ts, at, last);
    sift_up(ts, at);
    sift_down(ts, last->pos - 1);
}

int64_t timers_next(const struct timers *ts)
{
    return ts->n ? ts->heap[0]->due_ms : INT64_MAX;
}

struct timer *timers_pop(struct timers *ts, int64_t now_ms)
{
    if (!ts->n || ts->heap[0]->due_ms > now_ms) return NULL;
    struct timer *t = ts->heap[0];
    timers_cancel(ts, t);
    return t;
}

void timers_shift(struct timers *ts, int64_t by_ms)
{
    for (uint32_t i = 0; i < ts->n; i++) ts->heap[i]->due_ms += by_ms; /* their order stays */
}

void timers_release(struct timers *ts)
{
    free(ts->heap);
    *ts = (struct timers){ 0 };
}
