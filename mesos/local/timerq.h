/* Deadlines in order: an intrusive binary heap. The time is the caller's, so tests run it on virtual time. */
#ifndef AURORA_MESOS_LOCAL_TIMERQ_H
#define AURORA_MESOS_LOCAL_TIMERQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in its owner; zero-initialised is stopped. Must be stopped before its memory goes. */
struct timer {
    int64_t at_ms;
    void (*fn)(struct timer *t, void *arg);
    void *arg;
    size_t slot; /* in the heap, from 1; 0 = stopped */
};

/* Zero-initialised is empty. */
struct timerq {
    struct timer **v;
    size_t n, cap;
};

void timerq_release(struct timerq *q);
/* (Re)starts; fn runs once from timerq_run() at or after at_ms. */
void timer_start(struct timerq *q, struct timer *t, int64_t at_ms, void (*fn)(struct timer *t, void *arg), void *arg);
void timer_stop(struct timerq *q, struct timer *t);
static inline bool timer_active(const struct timer *t)
{
    return t->slot != 0;
}
/* The earliest deadline or -1. */
int64_t timerq_next(const struct timerq *q);
/* Runs what is due at now_ms, at most `max` timers; what they start for now or earlier is run too. */
void timerq_run(struct timerq *q, int64_t now_ms, size_t max);

#endif
