/* Who is offered what, and when: all free resources of an agent go to one framework, at every allocation interval and,
 * for agents and schedulers that have just come, at once. */
#include "mesos/local/state.h"

#include "core/logline.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* Below both there's nothing worth offering. */
enum { MIN_CPUS_MILLI = 10, MIN_MEM_MILLI = 32000 };
/* Agents and revivals of one moment are answered by one message. */
enum { PROMPT_MS = 2 };
/* So many frameworks get offers of one agent in turn; more than any test has. */
enum { FRAMEWORKS_MAX = 256 };

static const double DEFAULT_REFUSE_S = 5, MAX_REFUSE_S = 365.0 * 86400;

/* ---------------- offers that are out ---------------- */

struct offered *offer_find(struct master *m, const char *id)
{
    struct offered *o;
    HASH_FIND_STR(m->offers, id, o);
    return o;
}

void offer_remove(struct master *m, struct offered *o)
{
    timer_stop(&m->timers, &o->timeout);
    HASH_DEL(m->offers, o);
    DL_DELETE2(o->fw->offers, o, fw_prev, fw_next);
    DL_DELETE2(o->agent->offers, o, agent_prev, agent_next);
    framework_charge(o->fw, &o->res, -1);
    m->totals.offers--;
    res_release(&o->res);
    free(o);
}

void offer_discard(struct master *m, struct offered *o, const Mesos__Filters *filters)
{
    offer_recover(m, o->fw, o->agent, o->role, &o->res, filters);
    offer_remove(m, o);
}

void offer_rescind(struct master *m, struct offered *o)
{
    Mesos__Internal__RescindResourceOfferMessage msg = MESOS__INTERNAL__RESCIND_RESOURCE_OFFER_MESSAGE__INIT;
    Mesos__OfferID id = MESOS__OFFER_ID__INIT;
    id.value = o->id;
    msg.offer_id = &id;
    framework_send(m, o->fw, "mesos.internal.RescindResourceOfferMessage", &msg.base);
    offer_discard(m, o, NULL);
}

uint32_t master_rescind(struct master *m, const char *offer_id, int64_t now_ms)
{
    struct offered *o, *next;
    uint32_t n = 0;
    m->now_ms = now_ms;
    HASH_ITER(hh, m->offers, o, next)
    {
        if (offer_id && strcmp(o->id, offer_id) != 0) continue;
        offer_rescind(m, o);
        n++;
    }
    return n;
}

/* ---------------- refusals ---------------- */

static void refusal_free(struct refusal *r)
{
    res_release(&r->res);
    free(r);
}

void refusals_clear(struct agent *a)
{
    while (a->refusals) {
        struct refusal *r = a->refusals;
        a->refusals = r->next;
        refusal_free(r);
    }
}

static bool refusal_over(const struct master *m, const struct refusal *r)
{
    return !r->fw || r->epoch != r->fw->refusal_epoch || r->until_ms <= m->now_ms;
}

static void refusals_expire(struct master *m, struct agent *a)
{
    for (struct refusal **at = &a->refusals; *at;) {
        struct refusal *r = *at;
        if (refusal_over(m, r)) {
            *at = r->next;
            refusal_free(r);
        } else {
            at = &r->next;
        }
    }
}

/* The time until which the framework doesn't want it, or 0. */
static int64_t refused_until(const struct agent *a, const struct framework *f, const char *role, const struct res *res)
{
    for (const struct refusal *r = a->refusals; r; r = r->next)
        if (r->fw == f && r->role == role && res_contains(&r->res, res)) return r->until_ms;
    return 0;
}

static int64_t refuse_ms(const struct master *m, const Mesos__Filters *filters)
{
    double s = filters->refuse_seconds;
    if (isnan(s) || s < 0) s = DEFAULT_REFUSE_S;
    if (s > MAX_REFUSE_S) s = MAX_REFUSE_S;
    if (s == 0) return 0;
    int64_t ms = (int64_t)(s * 1000);
    /* Never shorter than the interval: else it would be over before it could do anything (MESOS-4302). */
    return ms > m->config.allocation_interval_ms ? ms : m->config.allocation_interval_ms;
}

void offer_recover(struct master *m, struct framework *f, struct agent *a, const char *role, const struct res *res,
                   const Mesos__Filters *filters)
{
    if (!res->n) return;
    res_add(&a->free, res);
    offers_candidate(m, a, false);
    int64_t ms = filters ? refuse_ms(m, filters) : 0;
    if (!ms) return;
    struct refusal *r = xcalloc(1, sizeof *r);
    *r = (struct refusal){ f, f->refusal_epoch, role, m->now_ms + ms, res_copy(res), a->refusals };
    a->refusals = r;
}

/* ---------------- allocation ---------------- */

/* Parts of agents that a role and its framework may be offered. */
struct wanter {
    const struct framework *fw;
    const char *role;
};

static bool within_role(const char *role, const char *reserved)
{
    size_t n = strlen(reserved);
    return strncmp(role, reserved, n) == 0 && (role[n] == 0 || role[n] == '/');
}

static bool wanted(const struct res_item *it, const void *arg)
{
    const struct wanter *w = arg;
    if (it->kind->revocable && !(w->fw->capabilities & CAN_REVOCABLE)) return false;
    if (it->kind->reserved_role && !within_role(w->role, it->kind->reserved_role)) return false;
    return !(it->kind->post->n_reservations > 1 && !(w->fw->capabilities & CAN_REFINED));
}

static struct offered *offer_new(struct master *m, struct framework *f, struct agent *a, const char *role,
                                 struct res *res)
{
    struct offered *o = xcalloc(1, sizeof *o);
    snprintf(o->id, sizeof o->id, "%s-O%llu", m->id, (unsigned long long)m->next_offer++);
    o->fw = f;
    o->agent = a;
    o->role = role;
    o->res = *res;
    res_sub(&a->free, res);
    framework_charge(f, res, 1);
    HASH_ADD_STR(m->offers, id, o);
    DL_APPEND2(f->offers, o, fw_prev, fw_next);
    DL_APPEND2(a->offers, o, agent_prev, agent_next);
    m->totals.offers++;
    m->totals.offers_sent++;
    return o;
}

/* What of the agent's free resources that role gets; NULL and the time of the next try in *until when none. */
static struct offered *allocate(struct master *m, struct framework *f, struct agent *a, const char *role,
                                int64_t *until)
{
    struct wanter w = { f, role };
    struct res res = res_copy(&a->free);
    res_keep(&res, wanted, &w);
    res_order(&res, &a->total);
    bool worth = res_scalar(&res, "cpus") >= MIN_CPUS_MILLI || res_scalar(&res, "mem") >= MIN_MEM_MILLI;
    int64_t refused = worth ? refused_until(a, f, role, &res) : 0;
    if (refused && refused < *until) *until = refused;
    if (worth && !refused) return offer_new(m, f, a, role, &res);
    res_release(&res);
    return NULL;
}

static double share(const struct framework *f, const struct res *all)
{
    double cpus = (double)f->allocated_cpus / (double)(res_scalar(all, "cpus") + 1);
    double mem = (double)f->allocated_mem / (double)(res_scalar(all, "mem") + 1);
    return cpus > mem ? cpus : mem;
}

/* Active frameworks, the poorest first. Shares are compared by what one agent has: the order is the same. */
static uint32_t sorted(struct master *m, const struct agent *a, struct framework **v, uint32_t max)
{
    uint32_t n = 0;
    struct framework *f;
    DL_FOREACH(m->frameworks, f)
    {
        if (!f->active || n == max) continue;
        uint32_t i = n++;
        while (i > 0 && share(v[i - 1], &a->total) > share(f, &a->total)) {
            v[i] = v[i - 1];
            i--;
        }
        v[i] = f;
    }
    return n;
}

/* Offers that are made here are sent later: the fresh ones of a framework are the tail of its list. */
static void allocate_agent(struct master *m, struct agent *a)
{
    struct framework *v[FRAMEWORKS_MAX];
    int64_t until = INT64_MAX;
    bool any = false;
    refusals_expire(m, a);
    uint32_t n = sorted(m, a, v, FRAMEWORKS_MAX);
    for (uint32_t i = 0; i < n && a->free.n; i++) {
        if (a->has_gpus && !(v[i]->capabilities & CAN_GPUS)) continue;
        for (uint32_t j = 0; j < v[i]->n_roles_live && a->free.n; j++)
            if (!v[i]->roles[j]->suppressed && allocate(m, v[i], a, v[i]->roles[j]->name, &until)) any = true;
    }
    a->quiet_until_ms = any ? 0 : until;
}

/* ---------------- the message ---------------- */

static void fill_url(const struct master *m, const struct agent *a, Mesos__Offer *p, struct arena *mem)
{
    const uint8_t *ip = (const uint8_t *)&m->config.self.ip;
    Mesos__Address *address = ARENA_NEW(mem, Mesos__Address);
    mesos__address__init(address);
    address->hostname = a->hostname;
    address->ip = (char *)arena_strf(mem, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]).p;
    address->port = m->config.self.port;
    p->url = ARENA_NEW(mem, Mesos__URL);
    mesos__url__init(p->url);
    p->url->scheme = (char *)"http";
    p->url->address = address;
    p->url->path = (char *)arena_strf(mem, "/slave(%u)", a->number).p;
}

static void fill_executors(const struct offered *o, Mesos__Offer *p, struct arena *mem)
{
    size_t n = 0;
    for (const struct executor *e = o->agent->executors; e; e = e->next) n += e->fw == o->fw;
    p->executor_ids = ARENA_ARRAY(mem, Mesos__ExecutorID *, n);
    for (const struct executor *e = o->agent->executors; e; e = e->next) {
        if (e->fw != o->fw) continue;
        Mesos__ExecutorID *id = ARENA_NEW(mem, Mesos__ExecutorID);
        mesos__executor_id__init(id);
        id->value = e->id;
        p->executor_ids[p->n_executor_ids++] = id;
    }
}

static Mesos__Offer *offer_proto(const struct master *m, struct offered *o, struct arena *mem)
{
    Mesos__Offer *p = ARENA_NEW(mem, Mesos__Offer);
    bool roles = o->fw->capabilities & CAN_ROLES;
    mesos__offer__init(p);
    p->id = ARENA_NEW(mem, Mesos__OfferID);
    p->framework_id = ARENA_NEW(mem, Mesos__FrameworkID);
    p->slave_id = ARENA_NEW(mem, Mesos__SlaveID);
    mesos__offer_id__init(p->id);
    mesos__framework_id__init(p->framework_id);
    mesos__slave_id__init(p->slave_id);
    p->id->value = o->id;
    p->framework_id->value = o->fw->id;
    p->slave_id->value = o->agent->id;
    p->hostname = o->agent->hostname;
    p->attributes = o->agent->attributes;
    p->n_attributes = o->agent->n_attributes;
    p->resources =
        res_to_proto(&o->res, mem, roles ? o->role : NULL, o->fw->capabilities & CAN_REFINED, &p->n_resources);
    if (roles) {
        p->allocation_info = ARENA_NEW(mem, Mesos__Resource__AllocationInfo);
        mesos__resource__allocation_info__init(p->allocation_info);
        p->allocation_info->role = (char *)o->role;
    }
    fill_url(m, o->agent, p, mem);
    fill_executors(o, p, mem);
    return p;
}

static void timed_out(struct timer *timer, void *arg)
{
    struct offered *o = arg;
    (void)timer;
    offer_rescind(o->fw->m, o);
}

/* All offers of one allocation in one message, as the original does. */
static void send_offers(struct master *m, struct framework *f, struct offered *first)
{
    Mesos__Internal__ResourceOffersMessage msg = MESOS__INTERNAL__RESOURCE_OFFERS_MESSAGE__INIT;
    struct arena mem = { 0 };
    size_t n = 0;
    for (const struct offered *o = first; o; o = o->fw_next) n++;
    msg.offers = ARENA_ARRAY(&mem, Mesos__Offer *, n);
    msg.pids = ARENA_ARRAY(&mem, char *, n);
    for (struct offered *o = first; o; o = o->fw_next) {
        char pid[UPID_TEXT_MAX];
        msg.offers[msg.n_offers++] = offer_proto(m, o, &mem);
        msg.pids[msg.n_pids++] = (char *)arena_str(&mem, str_c(agent_pid(o->agent, pid))).p;
        if (m->config.offer_timeout_ms > 0)
            timer_start(&m->timers, &o->timeout, m->now_ms + m->config.offer_timeout_ms, timed_out, o);
    }
    assert(msg.n_offers == n);
    framework_send(m, f, "mesos.internal.ResourceOffersMessage", &msg.base);
    logline(LOG_DEBUG, "offers", "framework=%s n=%zu", f->id, n);
    arena_release(&mem);
}

static void allocate_all(struct master *m)
{
    struct framework *f;
    DL_FOREACH(m->frameworks, f)
    {
        f->last_sent = f->offers ? f->offers->fw_prev : NULL;
    }
    for (struct agent *a = m->agents; a; a = a->hh.next)
        if (a->state == AGENT_REGISTERED && a->free.n && a->quiet_until_ms <= m->now_ms) allocate_agent(m, a);
    DL_FOREACH(m->frameworks, f)
    {
        struct offered *first = f->last_sent ? f->last_sent->fw_next : f->offers;
        if (first) send_offers(m, f, first);
    }
}

/* ---------------- when ---------------- */

static void on_prompt(struct timer *timer, void *arg)
{
    (void)timer;
    allocate_all(arg);
}

static void on_batch(struct timer *timer, void *arg)
{
    struct master *m = arg;
    timer_start(&m->timers, timer, m->now_ms + m->config.allocation_interval_ms, on_batch, m);
    allocate_all(m);
}

void offers_start(struct master *m)
{
    timer_start(&m->timers, &m->batch, m->now_ms + m->config.allocation_interval_ms, on_batch, m);
}

static void prompt(struct master *m)
{
    if (!timer_active(&m->prompt)) timer_start(&m->timers, &m->prompt, m->now_ms + PROMPT_MS, on_prompt, m);
}

void offers_candidate(struct master *m, struct agent *a, bool soon)
{
    a->quiet_until_ms = 0;
    if (soon) prompt(m);
}

void offers_prompt_all(struct master *m)
{
    for (struct agent *a = m->agents; a; a = a->hh.next) a->quiet_until_ms = 0;
    prompt(m);
}
