/* What goes wrong in a cluster of log replicas, and how it is healed: for all simulations. */
#ifndef AURORA_SIM_TROUBLE_H
#define AURORA_SIM_TROUBLE_H

#include "test/sim/lib/cluster.h"

/* A replica that lost its disk stays away for longer than anybody waits for what it said before: longer than a fill,
 * and than any message is under way. With less no protocol of this kind can be safe, since its vote may count twice. */
#define LOST_DISK_US ((uint64_t)12 * 1000000)

/* Up to max per mille; but each kind of fault is absent in half of the runs, so that it can't hide what others do. */
unsigned trouble_some(struct world *w, unsigned max);
struct faults trouble_faults(struct world *w);
/* When all is well. */
struct faults trouble_none(void);
/* Two sides that don't hear each other, or only one of them the other, or any links at all. */
void trouble_cut_links(struct cluster *c);
void trouble_heal_links(struct cluster *c);
/* As many others as a quorum needs have their disks, and vote. */
bool trouble_may_lose_disk(const struct cluster *c, unsigned node);
/* Who must live on for progress, a bit each: a quorum of voters, or all where there never was one. */
unsigned trouble_survivors(struct cluster *c);

#endif
