/* Which task of a group goes onto which offer: first fit in the order of the offers, a fair share on each.
 *
 * Aurora puts one task per round on an offer, which spreads a job over the agents but makes a large job wait for as
 * many allocation rounds as tasks share an agent. Here an offer gets at most ceil(tasks that wait / offers that are
 * left), so that a small job is spread just as well and a large one is placed at once. When the offers end while tasks
 * are left, those that were used in this step are filled up.
 *
 * An offer that a group can't use for a lasting reason is not looked at twice (group.vetoed_upto). Limit constraints
 * count what was placed a moment ago, so tasks of one attempt can't exceed them together. */
#include "core/logline.h"
#include "core/stats.h"
#include "core/tasks.h"

#include <assert.h>

struct assignment {
    struct sched *s;
    struct group *group;
    struct aggregate aggregate;
    const struct str *port_names;
    uint32_t n_ports;
    struct held_offer *at; /* where the next task is tried first; NULL = the offers are through */
    uint32_t left;         /* offers from `at` on */
    uint32_t share, used_share;
    bool contiguous;   /* all plain offers so far are vetoed for good: vetoed_upto may move on */
    bool second_round; /* filling up what was used in this step */
};

/* ---------------- the state of the job ---------------- */

static void count_job(struct assignment *as)
{
    struct sched *s = as->s;
    struct task_list l = store_job_tasks(s->store, as->group->config->api->job, &s->step.scratch);
    for (uint32_t i = 0; i < l.n; i++) {
        if (!status_in(l.v[i]->status, TASKS_SLAVE_ASSIGNED)) continue;
        const struct api_host_attributes *h = store_host(s->store, l.v[i]->slave_host);
        if (h) aggregate_add(&as->aggregate, h);
    }
}

static void collect_port_names(struct assignment *as)
{
    const struct api_task_config *c = as->group->config->api;
    struct str *names = ARENA_ARRAY(&as->s->step.scratch, struct str, c->n_resources);
    for (uint32_t i = 0; i < c->n_resources; i++)
        if (c->resources[i].named_port.p) names[as->n_ports++] = c->resources[i].named_port;
    as->port_names = names;
}

/* The first plain offer that the group has not seen, and how many there are from there on. */
static void find_start(struct assignment *as)
{
    const struct offers *o = &as->s->offers;
    struct held_offer *at = NULL;
    for (struct held_offer *h = o->plain.tail; h && h->seq > as->group->vetoed_upto; h = h->prev) {
        at = h;
        as->left++;
    }
    as->at = at ? at : o->postponed.head;
    as->left += o->postponed.n;
}

static void set_share(struct assignment *as)
{
    as->used_share = 0;
    as->share = as->left ? (as->group->n_tasks + as->left - 1) / as->left : 0;
}

struct assignment *assignment_begin(struct sched *s, struct group *g)
{
    struct assignment *as = ARENA_NEW(&s->step.scratch, struct assignment);
    *as = (struct assignment){ .s = s, .group = g, .contiguous = true };
    if (g->has_limits) count_job(as);
    collect_port_names(as);
    find_start(as);
    set_share(as);
    return as;
}

uint32_t assignment_share_left(const struct assignment *as)
{
    bool begun = as->at && !as->second_round && as->used_share > 0 && as->used_share < as->share;
    return begun ? as->share - as->used_share : 0;
}

void assignment_end(struct assignment *as)
{
    aggregate_release(&as->aggregate);
}

/* ---------------- matching ---------------- */

static void record_vetoes(struct assignment *as, const struct vetoes *v)
{
    struct nearest_fit *n = &as->group->nearest;
    sched_stats_vetoes(as->s, v);
    int64_t score = vetoes_score(v);
    if (n->vetoes.n && n->score <= score) return;
    if (!n->vetoes.n) n->since_ms = as->s->now_ms;
    n->vetoes = *v;
    n->score = score;
}

/* Without cpus or memory an offer is of no use to any task. */
static bool is_empty(const struct held_offer *o)
{
    return bag_total(&o->bag, RES_CPUS) <= 0 || bag_total(&o->bag, RES_RAM_MB) <= 0;
}

static bool fits(struct assignment *as, struct held_offer *o, struct vetoes *v)
{
    struct sched *s = as->s;
    struct filter_offer f = { &o->bag, store_host(s->store, o->offer.hostname), o->offer.unavailable_from_ms };
    stat_add(s->count.veto_evaluated, 1);
    return filter_offer(&f, as->group->config->api, &as->group->request, &as->aggregate, &s->config, s->now_ms, v);
}

static void step_on(struct assignment *as)
{
    struct held_offer *o = as->at;
    assert(o);
    if (as->second_round) {
        as->at = o->next_used;
        return;
    }
    assert(as->left > 0);
    as->left--;
    as->at = o->next ? o->next : o->postponed ? NULL : as->s->offers.postponed.head;
    set_share(as);
    if (as->at) return;
    as->second_round = true;
    as->at = as->s->offers.used;
}

/* What a veto means for later evaluations. An offer that is in use goes away anyway. */
static void remember(struct assignment *as, const struct held_offer *o, bool lasting)
{
    if (as->second_round || o->postponed) return;
    if (!lasting && !o->n_launches) as->contiguous = false;
    if (as->contiguous) as->group->vetoed_upto = o->seq;
}

/* The offer for the next task, or NULL. */
static struct held_offer *next_match(struct assignment *as)
{
    while (as->at) {
        struct held_offer *o = as->at;
        struct vetoes v = { 0 };
        bool share_left = as->second_round || as->used_share < as->share;
        if (share_left && !is_empty(o) && fits(as, o, &v)) return o;
        if (v.n) record_vetoes(as, &v);
        remember(as, o, is_empty(o) || vetoes_static(&v));
        step_on(as);
    }
    return NULL;
}

/* ---------------- placing ---------------- */

static void place(struct assignment *as, const struct task *t, struct held_offer *o)
{
    struct sched *s = as->s;
    struct arena *a = &s->step.update->arena;
    const struct request *r = &as->group->request;
    uint32_t *ports = ARENA_ARRAY(&s->step.scratch, uint32_t, as->n_ports);
    struct assigned_port *assigned = ARENA_ARRAY(&s->step.scratch, struct assigned_port, as->n_ports);
    bag_pick_ports(&o->bag, r->revocable, &s->config, as->n_ports, ports, &s->rng);
    for (uint32_t i = 0; i < as->n_ports; i++)
        assigned[i] = (struct assigned_port){ as->port_names[i], (int32_t)ports[i] };

    struct carves task = { 0 }, executor = { 0 };
    bag_take(&o->bag, r, ports, as->n_ports, &s->config, a, &task, &executor);
    const struct task *now = task_assign(s, t, o->offer.agent_id, o->offer.hostname, assigned, as->n_ports);
    *offer_use(s, o) = (struct launch_task){ .task = now,
                                             .tier = r->tier,
                                             .task_resources = task.v,
                                             .n_task_resources = task.n,
                                             .executor_resources = executor.v,
                                             .n_executor_resources = executor.n };
    pending_remove(s, now->id);
    as->used_share++;
    const struct api_host_attributes *host = store_host(s->store, o->offer.hostname);
    if (as->group->has_limits && host) aggregate_add(&as->aggregate, host);
}

struct attempt assignment_attempt(struct sched *s, struct assignment *as, uint32_t max_tasks)
{
    struct group *g = as->group;
    struct attempt result = { .tried = g->n_tasks < max_tasks ? g->n_tasks : max_tasks };
    stat_add(s->count.attempts_fired, result.tried);
    while (result.placed < result.tried) {
        const struct task *t = store_task(s->store, g->head->id);
        assert(t && t->status == API_SCHEDULE_STATUS_PENDING);
        assert(t->config == g->config);
        struct held_offer *o = next_match(as);
        if (!o) break;
        place(as, t, o);
        result.placed++;
    }
    stat_add(s->count.attempts_no_match, result.tried - result.placed);
    return result;
}
