/* Virtual time and one seed: what happens next, and when, follows from these two alone. */
#ifndef AURORA_SIM_WORLD_H
#define AURORA_SIM_WORLD_H

#include "core/rng.h"

#include <stdbool.h>
#include <stddef.h>

/* Embedded first in a malloc'ed block, which is freed behind run() or, where the world ends earlier, without it. run()
 * may put it off by raising at_us. */
struct event {
    uint64_t at_us, order; /* order: those of one moment run as they were made */
    void (*run)(struct event *e);
};

struct world {
    uint64_t now_us;
    struct rng rng;
    struct event **heap;
    size_t n, cap;
    uint64_t made, ran;
};

void world_init(struct world *w, uint64_t seed);
void world_release(struct world *w);
static inline uint64_t world_ms(const struct world *w)
{
    return w->now_us / 1000;
}
/* A zeroed block of `size` bytes that begins with an event, to run after `delay_us`. */
void *world_after(struct world *w, uint64_t delay_us, size_t size, void (*run)(struct event *e));
/* Runs the next event; false: there is none before `until_us`, which is now. */
bool world_step(struct world *w, uint64_t until_us);
/* True once in a while: per_mille of 1000 times. */
static inline bool world_chance(struct world *w, unsigned per_mille)
{
    return per_mille && rng_below(&w->rng, 1000) < per_mille;
}
/* Uniform in [lo, hi]. */
static inline uint64_t world_between(struct world *w, uint64_t lo, uint64_t hi)
{
    return lo + rng_below(&w->rng, hi - lo + 1);
}

#endif
