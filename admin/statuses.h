/* Status updates of one pass of the loop, copied and stepped together: one step, one group of ops, one release of
 * effects for many updates (Aurora: max_status_update_batch_size), instead of one of each per update. */
#ifndef AURORA_ADMIN_STATUSES_H
#define AURORA_ADMIN_STATUSES_H

#include "core/limits.h"
#include "core/sched.h"

struct statuses {
    struct arena arena;
    struct status_update v[LIMIT_STATUS_BATCH];
    uint32_t n, max;
};

/* max: at most so many together, 1 .. LIMIT_STATUS_BATCH. */
void statuses_init(struct statuses *s, int64_t max);
void statuses_release(struct statuses *s);
/* Copies what ev (of type EV_STATUS) holds, as far as there is room; returns how many of its updates, from the first,
 * were taken. */
uint32_t statuses_add(struct statuses *s, const struct sched_event *ev);
static inline bool statuses_full(const struct statuses *s)
{
    return s->n == s->max;
}
/* An event of all that was added; borrowed until statuses_clear(). */
struct sched_event statuses_event(const struct statuses *s);
void statuses_clear(struct statuses *s);

#endif
