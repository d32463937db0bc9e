/* Resource arithmetic in integer thousandths: what a task asks for, what an offer has left, and which entries of the
 * offer a task takes. Rules: reference, scheduling "Resources". */
#ifndef AURORA_CORE_RESOURCES_H
#define AURORA_CORE_RESOURCES_H

#include "core/arena.h"
#include "core/offer.h"
#include "core/rng.h"
#include "core/sched.h"

/* Ports count 1000 each, like units of everything else. */
#define MILLI 1000

struct request {
    milli task[RES_KINDS];
    milli executor[RES_KINDS]; /* overhead: counted in matching */
    milli total[RES_KINDS];
    struct str tier;
    bool revocable;
};

/* Of a validated config. An unset or unknown tier counts as the default one, an unknown executor as none. */
void request_init(struct request *r, const struct api_task_config *config, const struct sched_config *sc);

/* What is left of an offer while tasks are being put on it. Memory: the arena given to bag_init(). */
struct bag_entry {
    struct offer_resource res; /* amount and ranges: what is left */
    uint32_t cap_ranges;
};
struct bag {
    struct bag_entry *v;
    uint32_t n;
    struct arena *arena;
};
void bag_init(struct bag *b, const struct offer *o, struct arena *a);
/* What a task of this kind of tier may take. */
milli bag_available(const struct bag *b, enum resource_kind kind, bool revocable_task, const struct sched_config *sc);
/* Of all entries, revocable or not. */
milli bag_total(const struct bag *b, enum resource_kind kind);

/* Picks n different ports at random; bag_take() takes them out. They are there: bag_available() has been asked. */
void bag_pick_ports(const struct bag *b, bool revocable_task, const struct sched_config *sc, uint32_t n,
                    uint32_t *ret_ports, struct rng *rng);

/* Takes what the request says out of the bag and lists, in `a`, from which entries. The ports of the task are given.
 * It is all there. */
struct carves {
    struct carve *v;
    uint32_t n;
};
void bag_take(struct bag *b, const struct request *r, const uint32_t *ports, uint32_t n_ports,
              const struct sched_config *sc, struct arena *a, struct carves *ret_task, struct carves *ret_executor);

#endif
