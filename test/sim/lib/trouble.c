#include "test/sim/lib/trouble.h"

unsigned trouble_some(struct world *w, unsigned max)
{
    return rng_below(&w->rng, 2) ? 0 : (unsigned)world_between(w, 1, max);
}

struct faults trouble_faults(struct world *w)
{
    return (struct faults){ .lose = trouble_some(w, 200),
                            .repeat = trouble_some(w, 200),
                            .late = trouble_some(w, 100),
                            .crash = trouble_some(w, 20),
                            .fail = trouble_some(w, 10),
                            .stall = trouble_some(w, 50),
                            .delay_max_us = world_between(w, 100, 20000),
                            .late_max_us = world_between(w, 50000, 5000000),
                            .disk_max_us = world_between(w, 100, 10000),
                            .stall_max_us = world_between(w, 50000, 3000000) };
}

struct faults trouble_none(void)
{
    return (struct faults){ .delay_max_us = 2000, .late_max_us = 2000, .disk_max_us = 5000, .stall_max_us = 5000 };
}

void trouble_heal_links(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++)
        for (unsigned k = 0; k < c->n; k++) c->cut[i][k] = false;
}

void trouble_cut_links(struct cluster *c)
{
    struct world *w = &c->w;
    unsigned side = (unsigned)rng_below(&w->rng, 1u << c->n), kind = (unsigned)rng_below(&w->rng, 3);
    trouble_heal_links(c);
    for (unsigned i = 0; i < c->n; i++) {
        for (unsigned k = 0; k < c->n; k++) {
            bool out = (side >> i & 1) && !(side >> k & 1), in = (side >> k & 1) && !(side >> i & 1);
            bool cut = kind == 0 ? out || in : kind == 1 ? out : world_chance(w, 300);
            c->cut[i][k] = i != k && cut;
        }
    }
}

bool trouble_may_lose_disk(const struct cluster *c, unsigned node)
{
    unsigned others = 0;
    for (unsigned i = 0; i < c->n; i++) others += i != node && c->check.status[i] == REPLICA_VOTING;
    return others >= c->quorum;
}

unsigned trouble_survivors(struct cluster *c)
{
    unsigned all = (1u << c->n) - 1, voters = 0, chosen = 0;
    for (unsigned i = 0; i < c->n; i++) voters |= (unsigned)(c->check.status[i] == REPLICA_VOTING) << i;
    if ((unsigned)__builtin_popcount(voters) < c->quorum) return all;
    while ((unsigned)__builtin_popcount(chosen) < c->quorum) chosen |= voters & 1u << rng_below(&c->w.rng, c->n);
    return chosen | (unsigned)rng_below(&c->w.rng, all + 1);
}
