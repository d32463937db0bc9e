/* Whole log clusters of 1, 3 and 5 on virtual time, each run from one seed (test/sim/lib/seeds.h). First anything may
 * fail, and the checker looks at every step; then a quorum is healed and must get on within a bound.
 *
 * Time is the loop's monotonic one here, which jumps only while a process is stopped; those jumps are made. Clocks that
 * are set are sched_cluster.c's.
 *
 * In some clusters a part of the nodes follows Mesos's own rule for writes: they look at promises only, and as writers
 * they do not ask for more (log/replica.h). Then a delayed write of a slow writer can take the place of a higher one
 * that a replica has accepted without having promised it, and what was acknowledged is lost: no mixed cluster, nor one
 * of Mesos's replicas alone, is safe from that. What still holds, and is asserted: such a replacement is the only way
 * into it, so all invariants hold until one happens, with which the run ends; and it never happens where a write of
 * ours meets a replica of ours. */
#include "core/err.h"
#include "test/sim/lib/seeds.h"
#include "test/sim/lib/trouble.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define CHAOS_EVENTS 6000
#define CHAOS_MAX_US ((uint64_t)120 * 1000000)
#define HEALED_MAX_US ((uint64_t)60 * 1000000)
/* Three attempts, and the pauses between them. */
#define RIVALS_US ((uint64_t)6 * ELECTION_TIMEOUT_MS * 1000)
#define CALM_APPENDS 20
#define HEALED_APPENDS 3
/* Longer than that: who was stopped wakes up in another world. */
#define PAUSE_MAX_US ((uint64_t)20 * 1000000)

struct run {
    struct cluster c; /* first: on_done() finds the run by it */
    uint64_t seed;
    unsigned tick_ms, trouble_ms;
    unsigned elect_chance, truncate_chance, resign_chance; /* per mille of a client's ticks */
    unsigned crash_chance, pause_chance, cut_chance, member_chance, full_chance, lose_disk_chance;
    bool healed, calm;
    unsigned alive;              /* who may run: a bit each */
    unsigned champion, appended; /* the healed cluster's only writer */
};

/* ---- clients ---- */

struct tick {
    struct event e;
    struct run *r;
    unsigned node;
};

static void on_tick(struct event *e);

static void schedule_tick(struct run *r, unsigned node, uint64_t delay_us)
{
    struct tick *t = world_after(&r->c.w, delay_us, sizeof(*t), on_tick);
    t->r = r;
    t->node = node;
}

static void write_something(struct run *r, struct node *n)
{
    uint64_t begin = n->replica.begin, last = n->next - 1;
    if (last > begin && world_chance(&r->c.w, r->truncate_chance))
        node_truncate(n, world_between(&r->c.w, begin, last));
    else
        node_append(n);
}

static void chaos_client(struct run *r, struct node *n)
{
    struct world *w = &r->c.w;
    if (node_is_writer(n) && world_chance(w, r->resign_chance))
        node_resign(n);
    else if (node_is_writer(n))
        write_something(r, n);
    else if (node_is_ready(n) && world_chance(w, r->elect_chance))
        node_elect(n);
}

static void healed_client(struct run *r, struct node *n)
{
    if (n->id != r->champion) {
        if (node_is_writer(n)) node_resign(n);
        return;
    }
    if (r->calm && r->appended >= CALM_APPENDS) return;
    if (node_is_writer(n))
        node_append(n);
    else if (node_is_ready(n))
        node_elect(n);
}

static void on_tick(struct event *e)
{
    const struct tick *t = (struct tick *)e;
    struct run *r = t->r;
    struct node *n = &r->c.nodes[t->node];
    if (r->healed)
        healed_client(r, n);
    else if (!node_is_paused(n))
        chaos_client(r, n);
    schedule_tick(r, t->node, world_between(&r->c.w, 1000, (uint64_t)r->tick_ms * 1000));
}

static void on_done(struct node *n, enum doing what, int err)
{
    struct run *r = (struct run *)n->c;
    if (r->healed && what == DOING_WRITE && !err) r->appended++;
    if (r->calm && err) checker_fail(&r->c.check, "16: a writer without a rival is disturbed: %s", err_str(err));
}

/* ---- trouble ---- */

struct restart {
    struct event e;
    struct run *r;
    unsigned node;
    bool lost; /* its disk */
};

static void on_restart(struct event *e)
{
    const struct restart *s = (struct restart *)e;
    struct node *n = &s->r->c.nodes[s->node];
    if (!n->up && s->r->alive >> s->node & 1) node_start(n);
}

static void schedule_restart(struct run *r, unsigned node)
{
    struct world *w = &r->c.w;
    uint64_t delay = world_between(w, 1000, 3000000);
    if (world_chance(w, r->lose_disk_chance) && trouble_may_lose_disk(&r->c, node)) {
        node_lose_disk(&r->c.nodes[node]);
        delay += LOST_DISK_US + r->c.faults.late_max_us;
    }
    struct restart *s = world_after(w, delay, sizeof(*s), on_restart);
    s->r = r;
    s->node = node;
}

static void on_down(struct node *n)
{
    struct run *r = (struct run *)n->c;
    if (!r->healed) schedule_restart(r, n->id);
}

static void trouble(struct run *r)
{
    struct world *w = &r->c.w;
    unsigned id = (unsigned)rng_below(&w->rng, r->c.n);
    struct node *n = &r->c.nodes[id];
    if (world_chance(w, r->cut_chance)) {
        if (rng_below(&w->rng, 2))
            trouble_cut_links(&r->c);
        else
            trouble_heal_links(&r->c);
    }
    if (world_chance(w, r->member_chance)) node_set_members(n, (unsigned)rng_below(&w->rng, 1u << r->c.n) | 1u << id);
    if (world_chance(w, 500)) node_set_members(n, (1u << r->c.n) - 1);
    n->full = world_chance(w, r->full_chance);
    if (n->up && world_chance(w, r->pause_chance)) node_pause(n, world_between(w, 100000, PAUSE_MAX_US));
    if (n->up && world_chance(w, r->crash_chance)) {
        node_crash(n);
        schedule_restart(r, id);
    }
}

struct trouble_event {
    struct event e;
    struct run *r;
};

static void on_trouble(struct event *e)
{
    struct run *r = ((struct trouble_event *)e)->r;
    if (r->healed) return;
    trouble(r);
    struct trouble_event *next =
        world_after(&r->c.w, world_between(&r->c.w, 1000, (uint64_t)r->trouble_ms * 1000), sizeof(*next), on_trouble);
    next->r = r;
}

/* ---- a run ---- */

static void choose_faults(struct run *r)
{
    struct world *w = &r->c.w;
    r->c.faults = trouble_faults(w);
    r->crash_chance = trouble_some(w, 100);
    r->pause_chance = trouble_some(w, 100);
    r->cut_chance = trouble_some(w, 400);
    r->member_chance = trouble_some(w, 200);
    r->full_chance = trouble_some(w, 20);
    r->lose_disk_chance = trouble_some(w, 300);
    r->tick_ms = (unsigned)world_between(w, 10, 300);
    r->trouble_ms = (unsigned)world_between(w, 50, 1000);
    r->elect_chance = (unsigned)world_between(w, 2, 200);
    r->resign_chance = (unsigned)world_between(w, 1, 100);
    r->truncate_chance = trouble_some(w, 300);
    if (world_chance(w, 300)) r->c.foreign = (unsigned)rng_below(&w->rng, 1u << r->c.n);
}

static void begin(struct run *r, uint64_t seed)
{
    static const unsigned sizes[] = { 1, 3, 3, 3, 3, 3, 5, 5, 5, 5 };
    struct rng g = { seed };
    r->seed = seed;
    unsigned n = sizes[rng_below(&g, 10)];
    cluster_init(&r->c, rng_next(&g), n, rng_below(&g, 2));
    r->c.on_done = on_done;
    r->c.on_down = on_down;
    r->alive = (1u << n) - 1;
    choose_faults(r);
    for (unsigned i = 0; i < n; i++) {
        node_start(&r->c.nodes[i]);
        schedule_tick(r, i, world_between(&r->c.w, 1, 100000));
    }
    struct trouble_event *t = world_after(&r->c.w, 100000, sizeof(*t), on_trouble);
    t->r = r;
}

/* Failed, or no longer bound to hold anything. */
static bool is_over(const struct run *r)
{
    return checker_failed(&r->c.check) || r->c.check.n_forgotten;
}

static bool chaos(struct run *r)
{
    while (r->c.w.ran < CHAOS_EVENTS && !is_over(r))
        if (!world_step(&r->c.w, CHAOS_MAX_US)) break;
    return !is_over(r);
}

static void heal(struct run *r)
{
    struct cluster *c = &r->c;
    r->alive = trouble_survivors(c);
    r->healed = true;
    c->faults = trouble_none();
    trouble_heal_links(&r->c);
    do r->champion = (unsigned)rng_below(&c->w.rng, c->n);
    while (!(r->alive >> r->champion & 1));
    for (unsigned i = 0; i < c->n; i++) {
        struct node *n = &c->nodes[i];
        n->full = false;
        n->resume_us = 0;
        node_set_members(n, (1u << c->n) - 1);
        if (!(r->alive >> i & 1)) {
            if (n->up) node_crash(n);
            for (unsigned k = 0; k < c->n; k++) c->cut[i][k] = c->cut[k][i] = true;
        } else if (!n->up) {
            node_start(n);
        } else if (node_is_writer(n)) {
            node_resign(n);
        }
    }
}

/* All who live vote and know everything but, at most, the last position. */
static bool caught_up(const struct run *r)
{
    const struct node *champion = &r->c.nodes[r->champion];
    for (unsigned i = 0; i < r->c.n; i++) {
        const struct node *n = &r->c.nodes[i];
        if (!n->up) continue;
        if (n->recovering || n->replica.status != REPLICA_VOTING) return false;
        if (replica_next_missing(&n->replica, champion->replica.begin, champion->next - 2) != UINT64_MAX) return false;
    }
    return true;
}

static bool progress(struct run *r)
{
    struct cluster *c = &r->c;
    uint64_t until = c->w.now_us + HEALED_MAX_US;
    while (!is_over(r)) {
        if (r->appended >= HEALED_APPENDS && caught_up(r)) return true;
        if (world_step(&c->w, until)) continue;
        checker_fail(&c->check, "16: %u of %u appends within %" PRIu64 " s of healing, %s", r->appended, HEALED_APPENDS,
                     HEALED_MAX_US / 1000000, caught_up(r) ? "all caught up" : "not all caught up");
    }
    return false;
}

/* When the bad times are over, with the last late message and the last rival election: one writer and many standbys,
 * which miss half of what it tells them: their catching up does not disturb it. */
static void calm_down(struct run *r, uint64_t over_us)
{
    struct cluster *c = &r->c;
    while (!is_over(r) && world_step(&c->w, over_us)) continue;
    uint64_t until = c->w.now_us + HEALED_MAX_US;
    r->appended = 0;
    while (!is_over(r) && !r->appended && world_step(&c->w, until)) continue;
    c->faults = (struct faults){ .lose_learned = 500, .delay_max_us = 60000, .disk_max_us = 20000 };
    r->calm = true;
    r->appended = 0;
    while (!is_over(r) && (r->appended < CALM_APPENDS || !caught_up(r))) {
        if (world_step(&c->w, until)) continue;
        checker_fail(&c->check, "16: %u appends in calm, and not all caught up", r->appended);
    }
}

struct totals {
    uint64_t events, messages, virtual_us, healing_us_max;
    unsigned elections, appends, submitted, truncations, crashes, lost_disks, recoveries, mixed, forgotten;
};

static void add_up(struct totals *t, const struct run *r, uint64_t healed_at_us)
{
    const struct checker *k = &r->c.check;
    uint64_t healing = r->c.w.now_us - healed_at_us;
    t->events += r->c.w.ran;
    t->messages += r->c.messages;
    t->virtual_us += r->c.w.now_us;
    if (healing > t->healing_us_max) t->healing_us_max = healing;
    t->elections += k->n_elections;
    t->appends += k->n_acknowledged;
    t->submitted += k->n_submitted;
    t->truncations += k->n_truncations;
    t->crashes += r->c.crashes;
    t->lost_disks += r->c.lost_disks;
    t->recoveries += k->n_recoveries;
    t->mixed += r->c.foreign != 0;
    t->forgotten += k->n_forgotten;
}

/* ---- many ---- */

static void run_seed(uint64_t seed, char why[256], void *totals)
{
    static struct run r;
    r = (struct run){ 0 };
    begin(&r, seed);
    bool ok = chaos(&r);
    uint64_t healed_at_us = r.c.w.now_us;
    uint64_t over_us = healed_at_us + r.c.faults.late_max_us + r.c.faults.stall_max_us + RIVALS_US;
    if (ok) {
        heal(&r);
        ok = progress(&r);
    }
    add_up(totals, &r, healed_at_us);
    if (ok) calm_down(&r, over_us);
    snprintf(why, 256, "%s", r.c.check.text);
    cluster_release(&r.c);
}

static void any_fault_then_progress(void **state)
{
    (void)state;
    struct totals t = { 0 };
    uint64_t seeds = seeds_run(run_seed, &t);
    print_message("%" PRIu64 " seeds: %" PRIu64 " events and %" PRIu64 " messages in %" PRIu64
                  " virtual s; %u elections, %u of %u writes acknowledged, %u truncations, %u crashes, %u lost disks, "
                  "%u recoveries, %u mixed clusters, in %u of them a write was forgotten; slowest healing %" PRIu64
                  " ms\n",
                  seeds, t.events, t.messages, t.virtual_us / 1000000, t.elections, t.appends, t.submitted,
                  t.truncations, t.crashes, t.lost_disks, t.recoveries, t.mixed, t.forgotten, t.healing_us_max / 1000);
}

int main(int argc, char **argv)
{
    (void)argc;
    seeds_init(argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_fault_then_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
