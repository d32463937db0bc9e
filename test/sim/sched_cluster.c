/* Whole scheduler clusters of 1, 3 and 5 on virtual time, each run from one seed (test/sim/lib/seeds.h). First anything
 * may fail while clients create, read, restart and kill jobs; then a quorum is healed and must get on within a bound;
 * then a connection to ZooKeeper that is lost for less than the session must cost nothing.
 *
 * What runs is the real thing: the core, admin/pipeline, log/stream with log/replay and log/entry, zk/election, and the
 * roles of the log. Models are libuv (lib/loop.h), the wiring of log/log.c (lib/cluster.h, lib/simlog.h), the
 * ZooKeeper session (lib/zookeeper.h), Mesos (lib/mesos.h) and the life of a process (lib/process.h).
 *
 * What is asserted, beside all that lib/checker.h says of the log:
 *   - what clients are told is linearizable, with the log as the history (lib/truth.h, lib/clients.h): nothing that was
 *     acknowledged is lost, no killed job lives again, no job is created twice, no read goes back;
 *   - what leaves to Mesos (launches, kills, acknowledgements) is in the log by then; but a deposed leader that does
 * not know it yet may kill tasks of its successor, which it does not know either: such kills need no entry, and the
 *     tasks are replaced;
 *   - at most one task of an instance is active;
 *   - the memory of leaders and followers equals the log at every position at which it is looked at; a snapshot says
 *     what the log before it says. */
#include "test/sim/lib/clients.h"
#include "test/sim/lib/seeds.h"
#include "test/sim/lib/trouble.h"

#include "core/task_fsm.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND_US ((uint64_t)1000000)
#define CHAOS_EVENTS 8000
#define CHAOS_MAX_US (180 * SECOND_US)
#define HEALED_MAX_US (600 * SECOND_US)
#define PAUSE_MAX_US (20 * SECOND_US)
/* Shorter than a session that has not been heard of for a ping's time already. */
#define SHORT_CUT_US (2 * SECOND_US)
#define CALM_US (15 * SECOND_US)
/* Clocks that are set wrong, and right again. */
#define CLOCK_BACK_MS 60000
#define CLOCK_AHEAD_MS 7200000

struct run {
    struct sched_cluster s; /* first: hooks find the run by it */
    struct clients clients;
    unsigned trouble_ms;
    unsigned crash_chance, pause_chance, cut_chance, full_chance, lose_disk_chance;
    unsigned clock_chance, zk_cut_chance, expire_chance, mesos_cut_chance, usurp_chance;
    bool healed;
    unsigned alive; /* who may run: a bit each */
    unsigned champion_job;
};

/* ---- trouble ---- */

struct restart {
    struct event e;
    struct run *r;
    unsigned host;
};

static void on_restart(struct event *e)
{
    const struct restart *v = (struct restart *)e;
    struct host *h = &v->r->s.hosts[v->host];
    if (!v->r->s.over && !h->p && v->r->alive >> v->host & 1) process_start(h);
}

static void schedule_restart(struct run *r, unsigned host)
{
    struct world *w = &r->s.c.w;
    uint64_t delay = world_between(w, 1000, 3 * SECOND_US);
    if (!r->healed && world_chance(w, r->lose_disk_chance) && trouble_may_lose_disk(&r->s.c, host)) {
        node_lose_disk(&r->s.c.nodes[host]);
        delay += LOST_DISK_US + r->s.c.faults.late_max_us;
    }
    struct restart *v = world_after(w, delay, sizeof(*v), on_restart);
    v->r = r;
    v->host = host;
}

static void on_exit_of(struct host *h)
{
    schedule_restart((struct run *)h->s, h->id);
}

static void on_reply(struct host *h, uint64_t cookie, const struct api_response *response)
{
    clients_on_reply(&((struct run *)h->s)->clients, h, cookie, response);
}

static void set_clock(struct world *w, struct host *h)
{
    h->clock_ms = world_chance(w, 300) ? 0 : (int64_t)world_between(w, 0, CLOCK_AHEAD_MS) - CLOCK_BACK_MS;
}

static void trouble_of_process(struct run *r, struct host *h)
{
    struct world *w = &r->s.c.w;
    struct zk_session *z = process_session(h);
    if (world_chance(w, r->zk_cut_chance)) zookeeper_cut(z, rng_below(&w->rng, 2));
    if (world_chance(w, r->expire_chance)) zookeeper_expire(z, world_between(w, 1000, 5 * SECOND_US));
    if (world_chance(w, r->mesos_cut_chance) && process_link(h)) mesos_cut(process_link(h));
    if (world_chance(w, r->usurp_chance)) process_usurp(h);
    if (world_chance(w, r->pause_chance)) process_pause(h, world_between(w, 100000, PAUSE_MAX_US));
    if (world_chance(w, r->crash_chance)) {
        process_kill(h);
        schedule_restart(r, h->id);
    }
}

static void trouble(struct run *r)
{
    struct cluster *c = &r->s.c;
    struct world *w = &c->w;
    struct host *h = &r->s.hosts[rng_below(&w->rng, c->n)];
    if (world_chance(w, r->cut_chance)) {
        if (rng_below(&w->rng, 2))
            trouble_cut_links(c);
        else
            trouble_heal_links(c);
    }
    if (world_chance(w, r->clock_chance)) set_clock(w, h);
    c->nodes[h->id].full = world_chance(w, r->full_chance);
    if (h->p && !node_is_paused(&c->nodes[h->id])) trouble_of_process(r, h);
}

struct trouble_event {
    struct event e;
    struct run *r;
};

static void on_trouble(struct event *e)
{
    struct run *r = ((struct trouble_event *)e)->r;
    if (r->healed || r->s.over) return;
    trouble(r);
    e->at_us += world_between(&r->s.c.w, 1000, (uint64_t)r->trouble_ms * 1000);
}

/* ---- a run ---- */

static void choose_faults(struct run *r)
{
    struct world *w = &r->s.c.w;
    r->s.c.faults = trouble_faults(w);
    r->s.c.faults.crash /= 2;
    struct mesos_faults m = { .lose = trouble_some(w, 100),
                              .task_ends = trouble_some(w, 500),
                              .agent_lost = trouble_some(w, 20),
                              .delay_max_us = world_between(w, 1000, 500000) };
    mesos_set_faults(r->s.mesos, &m);
    zookeeper_set_delay(r->s.zk, world_between(w, 1000, 300000));
    r->s.snapshot_max_us = trouble_some(w, 1000) * SECOND_US / 20;
    r->clients.lose = trouble_some(w, 100);
    r->clients.delay_max_us = world_between(w, 1000, 500000);
    r->clients.tick_ms = (unsigned)world_between(w, 20, 500);
    r->crash_chance = trouble_some(w, 60);
    r->pause_chance = trouble_some(w, 60);
    r->cut_chance = trouble_some(w, 200);
    r->full_chance = trouble_some(w, 10);
    r->lose_disk_chance = trouble_some(w, 300);
    r->clock_chance = trouble_some(w, 100);
    r->zk_cut_chance = trouble_some(w, 200);
    r->expire_chance = trouble_some(w, 60);
    r->mesos_cut_chance = trouble_some(w, 60);
    r->usurp_chance = trouble_some(w, 20);
    r->trouble_ms = (unsigned)world_between(w, 200, 2000);
}

static void begin(struct run *r, uint64_t seed)
{
    static const unsigned sizes[] = { 1, 3, 3, 3, 3, 3, 3, 5, 5, 5 };
    struct rng g = { seed };
    unsigned n = sizes[rng_below(&g, 10)];
    sched_cluster_init(&r->s, rng_next(&g), n, rng_below(&g, 2));
    clients_init(&r->clients, &r->s);
    r->s.on_exit = on_exit_of;
    r->s.on_reply = on_reply;
    r->alive = (1u << n) - 1;
    choose_faults(r);
    for (unsigned i = 0; i < n; i++) process_start(&r->s.hosts[i]);
    struct trouble_event *t = world_after(&r->s.c.w, SECOND_US, sizeof(*t), on_trouble);
    t->r = r;
}

static bool chaos(struct run *r)
{
    struct cluster *c = &r->s.c;
    while (c->w.ran < CHAOS_EVENTS && !checker_failed(&c->check))
        if (!world_step(&c->w, CHAOS_MAX_US)) break;
    return !checker_failed(&c->check);
}

static void heal_host(struct run *r, struct host *h)
{
    struct cluster *c = &r->s.c;
    c->nodes[h->id].full = false;
    if (r->alive >> h->id & 1) {
        if (!h->p) process_start(h);
        zookeeper_cut(process_session(h), false);
        if (process_link(h)) mesos_cut(process_link(h)); /* what was lost is made good */
        return;
    }
    if (h->p) process_kill(h);
    for (unsigned k = 0; k < c->n; k++) c->cut[h->id][k] = c->cut[k][h->id] = true;
}

static void heal(struct run *r)
{
    struct cluster *c = &r->s.c;
    r->alive = trouble_survivors(c);
    r->healed = true;
    c->faults = trouble_none();
    mesos_set_faults(r->s.mesos, &(struct mesos_faults){ .delay_max_us = 2000 });
    zookeeper_set_delay(r->s.zk, 2000);
    trouble_heal_links(c);
    for (unsigned i = 0; i < c->n; i++) heal_host(r, &r->s.hosts[i]);
    r->clients.stopped = true;
    r->clients.lose = 0;
    r->clients.delay_max_us = 2000;
    r->champion_job = TRUTH_JOBS_MAX;
}

static struct host *leader(struct run *r)
{
    struct host *l = NULL;
    for (unsigned i = 0; i < r->s.c.n; i++) {
        if (!process_is_active(&r->s.hosts[i])) continue;
        if (l) return NULL;
        l = &r->s.hosts[i];
    }
    return l;
}

struct census {
    const struct store *store;
    unsigned wrong, running;
};

static void count_task(struct str id, int state, void *arg)
{
    struct census *n = arg;
    const struct task *t = store_task(n->store, id);
    bool right = t && t->status == API_SCHEDULE_STATUS_RUNNING && state == MESOS_RUNNING;
    n->running += right;
    n->wrong += !right;
}

/* What was created and not killed runs, each instance once, and nothing else. */
static bool all_run(struct run *r, const struct host *l)
{
    struct census n = { .store = process_store(l) };
    unsigned wanted = 0;
    mesos_each_task(r->s.mesos, count_task, &n);
    for (unsigned i = 0; i < r->clients.n_jobs; i++)
        if (r->clients.jobs[i].state == JOB_LIVE) wanted += r->clients.jobs[i].instances;
    return !n.wrong && n.running == wanted && store_status_count(n.store, API_SCHEDULE_STATUS_RUNNING) == wanted;
}

/* But for the newest position, which a follower may miss until the writer's next. */
static bool all_equal(struct run *r, const struct host *l)
{
    uint64_t hash = store_hash(process_store(l));
    truth_advance(&r->s.truth);
    if (store_hash(r->s.truth.store) != hash) return false;
    for (unsigned i = 0; i < r->s.c.n; i++) {
        const struct host *h = &r->s.hosts[i];
        uint64_t lag = h->p ? process_lag(h) : 1;
        if (lag > 1 || (lag == 0 && store_hash(process_store(h)) != hash)) return false;
    }
    return true;
}

/* NULL: all is as it is to be. */
static const char *what_lacks(struct run *r)
{
    const struct host *l = leader(r);
    if (!l) return "no leader, or several";
    if (!clients_are_idle(&r->clients)) return "a client has no answer";
    if (r->champion_job == TRUTH_JOBS_MAX) {
        r->champion_job = clients_create(&r->clients);
        return "no new job";
    }
    if (!all_run(r, l)) return "not all that is to run runs, or more does";
    return all_equal(r, l) ? NULL : "the stores differ";
}

static bool run_for(struct run *r, uint64_t us)
{
    struct cluster *c = &r->s.c;
    uint64_t until = c->w.now_us + us;
    while (!checker_failed(&c->check) && world_step(&c->w, until)) continue;
    return !checker_failed(&c->check);
}

static bool progress(struct run *r)
{
    struct cluster *c = &r->s.c;
    uint64_t until = c->w.now_us + HEALED_MAX_US;
    const char *lacks = "";
    while (lacks && c->w.now_us < until && run_for(r, SECOND_US)) lacks = what_lacks(r);
    if (lacks) checker_fail(&c->check, "%" PRIu64 " s after healing: %s", HEALED_MAX_US / SECOND_US, lacks);
    return !checker_failed(&c->check);
}

/* A connection that is lost for less than the session costs nothing. */
static void calm_down(struct run *r)
{
    struct host *l = leader(r);
    const struct process *before = l->p;
    zookeeper_cut(process_session(l), true);
    if (!run_for(r, SHORT_CUT_US)) return;
    if (l->p == before) zookeeper_cut(process_session(l), false);
    if (!run_for(r, CALM_US)) return;
    if (l->p != before || leader(r) != l)
        checker_fail(&r->s.c.check, "a short loss of ZooKeeper cost node %u the leadership", l->id);
    else
        progress(r);
}

/* ---- many ---- */

struct totals {
    uint64_t events, virtual_us, healing_us_max, ops;
    unsigned elections, takeovers, comparisons, snapshots, crashes, launched, answers[ASKS], doubtful;
};

static void add_up(struct totals *t, const struct run *r, uint64_t healed_at_us)
{
    uint64_t healing = r->s.c.w.now_us - healed_at_us;
    t->events += r->s.c.w.ran;
    t->virtual_us += r->s.c.w.now_us;
    t->ops += r->s.truth.ops;
    if (healing > t->healing_us_max) t->healing_us_max = healing;
    t->elections += r->s.c.check.n_elections;
    t->takeovers += r->s.n_takeovers;
    t->comparisons += r->s.n_comparisons;
    t->snapshots += r->s.truth.snapshots;
    t->crashes += r->s.c.crashes;
    t->launched += mesos_launched(r->s.mesos);
    t->doubtful += r->clients.doubtful;
    for (int i = 0; i < ASKS; i++) t->answers[i] += r->clients.answers[i];
}

static void run_seed(uint64_t seed, char why[256], void *totals)
{
    static struct run r;
    r = (struct run){ 0 };
    begin(&r, seed);
    bool ok = chaos(&r);
    uint64_t healed_at_us = r.s.c.w.now_us;
    if (ok) {
        heal(&r);
        ok = progress(&r);
    }
    add_up(totals, &r, healed_at_us);
    if (ok) calm_down(&r);
    snprintf(why, 256, "%s", r.s.c.check.text);
    sched_cluster_release(&r.s);
}

static void any_fault_then_progress(void **state)
{
    (void)state;
    struct totals t = { 0 };
    uint64_t seeds = seeds_run(run_seed, &t);
    print_message("%" PRIu64 " seeds: %" PRIu64 " events in %" PRIu64
                  " virtual s; %u elections, %u takeovers, %u crashes, "
                  "%u snapshots, %" PRIu64 " ops, %u launches, %u comparisons of stores; %u jobs created, %u killed, "
                  "%u reads, %u restarts, %u doubtful answers; slowest healing %" PRIu64 " s\n",
                  seeds, t.events, t.virtual_us / SECOND_US, t.elections, t.takeovers, t.crashes, t.snapshots, t.ops,
                  t.launched, t.comparisons, t.answers[ASK_CREATE], t.answers[ASK_KILL], t.answers[ASK_READ],
                  t.answers[ASK_RESTART], t.doubtful, t.healing_us_max / SECOND_US);
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
