/* Deadlines in one binary heap, ordered by time and then by when they were set. A timer is a member of what it belongs
 * to (container_of finds that); a zeroed one is not set. */
#ifndef AURORA_CORE_TIMERS_H
#define AURORA_CORE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct sched;
struct timer;

/* Called when due, the timer not set any more: it may be set again or freed. */
typedef void (*timer_fn)(struct sched *s, struct timer *t);

struct timer {
    int64_t due_ms;
    uint64_t seq;
    uint32_t pos; /* 1 + index in the heap; 0 = not set */
    timer_fn fire;
};

struct timers {
    struct timer **heap;
    uint32_t n, cap;
    uint64_t seq;
};

/* Sets or moves. */
void timers_set(struct timers *ts, struct timer *t, int64_t due_ms, timer_fn fire);
void timers_cancel(struct timers *ts, struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
    return t->pos != 0;
}
/* INT64_MAX if none is set. */
int64_t timers_next(const struct timers *ts);
/* Takes the first one due at now_ms out, or NULL. */
struct timer *timers_pop(struct timers *ts, int64_t now_ms);
/* All of them become due so much later; earlier, if it is negative. */
void timers_shift(struct timers *ts, int64_t by_ms);
/* Frees the heap; the timers are their owners'. */
void timers_release(struct timers *ts);

#endif
