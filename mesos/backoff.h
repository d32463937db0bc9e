/* When to try again. Both schedules are those of Mesos's own driver (reference: mesos-scheduler §3, §4). */
#ifndef AURORA_MESOS_BACKOFF_H
#define AURORA_MESOS_BACKOFF_H

#include "core/rng.h"

/* Delays uniform in [0, bound], where the bound doubles with each one up to max. Milliseconds. */
struct backoff {
    int64_t first, bound, max;
};

void backoff_init(struct backoff *b, int64_t first, int64_t max);
int64_t backoff_next(struct backoff *b, struct rng *r);
/* Begins anew. */
void backoff_reset(struct backoff *b);

/* How long to wait for an answer: uniform in [min, bound]; after each failure the bound moves away from min to twice
 * the distance, up to max. Milliseconds. */
struct patience {
    int64_t min, first, bound, max;
};

/* The first bound is min + 2/5 of min: 7 s for Mesos's 5 s. min <= max. */
void patience_init(struct patience *p, int64_t min, int64_t max);
int64_t patience_draw(const struct patience *p, struct rng *r);
void patience_failed(struct patience *p);
void patience_reset(struct patience *p);

#endif
