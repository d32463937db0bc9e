/* The offers that are held: at most one per agent, declined when they get old, in the order in which they are tried. */
#include "core/buf.h"
#include "core/logline.h"
#include "core/sched_impl.h"
#include "core/stats.h"

#include <assert.h>

/* ---------------- the list ---------------- */

static const struct api_host_attributes *host_of(const struct sched *s, const struct held_offer *o)
{
    return store_host(s->store, o->offer.hostname);
}

/* Smaller is tried first: maintenance mode, then the later unavailability, then arrival. */
static bool tried_before(const struct sched *s, const struct held_offer *a, const struct held_offer *b)
{
    const struct api_host_attributes *ha = host_of(s, a), *hb = host_of(s, b);
    int ma = ha ? (int)ha->mode : 0, mb = hb ? (int)hb->mode : 0;
    if (ma != mb) return ma < mb;
    int64_t ua = a->offer.unavailable_from_ms, ub = b->offer.unavailable_from_ms;
    if (ua < 0) ua = INT64_MAX;
    if (ub < 0) ub = INT64_MAX;
    return ua != ub ? ua > ub : a->seq < b->seq;
}

static void list_insert_after(struct offer_list *l, struct held_offer *o, struct held_offer *prev)
{
    o->prev = prev;
    o->next = prev ? prev->next : l->head;
    if (o->next)
        o->next->prev = o;
    else
        l->tail = o;
    if (prev)
        prev->next = o;
    else
        l->head = o;
    l->n++;
}

static void list_remove(struct offer_list *l, struct held_offer *o)
{
    assert(l->n > 0);
    if (o->prev)
        o->prev->next = o->next;
    else
        l->head = o->next;
    if (o->next)
        o->next->prev = o->prev;
    else
        l->tail = o->prev;
    l->n--;
}

static struct offer_list *list_of(struct sched *s, const struct held_offer *o)
{
    return o->postponed ? &s->offers.postponed : &s->offers.plain;
}

static void enlist(struct sched *s, struct held_offer *o)
{
    const struct api_host_attributes *h = host_of(s, o);
    o->postponed = o->offer.unavailable_from_ms >= 0 || (h && h->mode != API_MAINTENANCE_MODE_NONE);
    struct offer_list *l = list_of(s, o);
    struct held_offer *prev = l->tail;
    while (o->postponed && prev && tried_before(s, o, prev)) prev = prev->prev;
    list_insert_after(l, o, prev);
}

/* ---------------- copies ---------------- */

static void copy_resources(struct held_offer *h, const struct offer *o)
{
    struct arena *a = &h->arena;
    h->offer.resources = ARENA_ARRAY(a, struct offer_resource, o->n_resources);
    for (uint32_t i = 0; i < o->n_resources; i++) {
        struct offer_resource *r = &h->offer.resources[i];
        *r = o->resources[i];
        r->ranges = ARENA_ARRAY(a, struct port_range, r->n_ranges);
        if (r->n_ranges) memcpy(r->ranges, o->resources[i].ranges, r->n_ranges * sizeof *r->ranges);
    }
}

static struct held_offer *held_new(const struct offer *o)
{
    struct held_offer *h = xcalloc(1, sizeof *h);
    struct arena *a = &h->arena;
    h->offer = (struct offer){ .id = arena_str(a, o->id),
                               .agent_id = arena_str(a, o->agent_id),
                               .hostname = arena_str(a, o->hostname),
                               .n_resources = o->n_resources,
                               .n_attributes = o->n_attributes,
                               .unavailable_from_ms = o->unavailable_from_ms };
    copy_resources(h, o);
    h->offer.attributes = ARENA_ARRAY(a, struct offer_attribute, o->n_attributes);
    for (uint32_t i = 0; i < o->n_attributes; i++) {
        h->offer.attributes[i].name = arena_str(a, o->attributes[i].name);
        h->offer.attributes[i].value = arena_str(a, o->attributes[i].value);
    }
    bag_init(&h->bag, &h->offer, a);
    return h;
}

static void remove_offer(struct sched *s, struct held_offer *o)
{
    timers_cancel(&s->timers, &o->hold);
    list_remove(list_of(s, o), o);
    HASH_DEL(s->offers.by_id, o);
    HASH_DELETE(hh_agent, s->offers.by_agent, o);
    arena_release(&o->arena);
    free(o);
}

/* ---------------- declining ---------------- */

static void decline(struct sched *s, const struct str *ids, uint32_t n)
{
    struct arena *a = &s->step.update->arena;
    struct str *copy = ARENA_ARRAY(a, struct str, n);
    for (uint32_t i = 0; i < n; i++) copy[i] = arena_str(a, ids[i]);
    struct effect *e = step_effect(&s->step, EFFECT_DECLINE);
    e->decline.offer_ids = copy;
    e->decline.n = n;
    e->decline.refuse_ms = s->config.offer_filter_duration;
}

static void on_hold_end(struct sched *s, struct timer *t)
{
    struct held_offer *o = container_of(t, struct held_offer, hold);
    if (o->n_launches) return; /* used in this very step: it leaves with its launch */
    decline(s, &o->offer.id, 1);
    remove_offer(s, o);
}

static void start_hold(struct sched *s, struct held_offer *o)
{
    if (s->config.hold_offers_forever) return;
    int64_t window = s->config.offer_hold_jitter_window;
    int64_t jitter = window > 0 ? (int64_t)rng_below(&s->rng, (uint64_t)window) : 0;
    timers_set(&s->timers, &o->hold, s->now_ms + s->config.min_offer_hold_time + jitter, on_hold_end);
}

/* ---------------- host attributes ---------------- */

static struct api_attribute *attribute_named(struct api_host_attributes *h, struct str name)
{
    for (uint32_t i = 0; i < h->n_attributes; i++)
        if (str_eq(h->attributes[i].name, name)) return &h->attributes[i];
    return NULL;
}

/* Attributes of the same name become one with several values. What has no value is left out. */
static void merge_attributes(struct api_host_attributes *h, const struct offer *o, struct arena *a)
{
    h->has_attributes = true;
    h->attributes = ARENA_ARRAY(a, struct api_attribute, o->n_attributes);
    for (uint32_t i = 0; i < o->n_attributes; i++) {
        if (!o->attributes[i].name.p || !o->attributes[i].value.p) continue;
        struct api_attribute *at = attribute_named(h, o->attributes[i].name);
        if (!at) {
            at = &h->attributes[h->n_attributes++];
            at->name = o->attributes[i].name;
            at->has_values = true;
            at->values = ARENA_ARRAY(a, struct str, o->n_attributes);
        }
        at->values[at->n_values++] = o->attributes[i].value;
    }
}

static bool same_host(const struct api_host_attributes *a, const struct api_host_attributes *b)
{
    struct buf x = { 0 }, y = { 0 };
    int err = tbinary_write(&x, &api_host_attributes_desc, a);
    err |= tbinary_write(&y, &api_host_attributes_desc, b);
    bool same = !err && x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
    buf_release(&x);
    buf_release(&y);
    return same;
}

/* Stored only if something has changed; the maintenance mode is ours, not the agent's. */
static void save_host(struct sched *s, const struct offer *o)
{
    struct arena *a = &s->step.scratch;
    const struct api_host_attributes *known = store_host(s->store, o->hostname);
    struct api_host_attributes h = { .host = o->hostname, .has_mode = true, .slave_id = o->agent_id };
    h.mode = known ? known->mode : API_MAINTENANCE_MODE_NONE;
    merge_attributes(&h, o, a);
    thrift_normalize(&api_host_attributes_desc, &h, a);
    if (known && same_host(known, &h)) return;
    struct api_save_host_attributes op = { .host_attributes = &h };
    step_record(&s->step, &(struct api_op){ .save_host_attributes = &op });
}

/* ---------------- coming and going ---------------- */

/* Two offers of one agent go back together, so that the master makes one of them. */
static bool decline_both(struct sched *s, const struct offer *o)
{
    struct held_offer *held;
    HASH_FIND(hh_agent, s->offers.by_agent, o->agent_id.p, o->agent_id.n, held);
    if (!held) return false;
    const struct str ids[] = { held->offer.id, o->id };
    decline(s, ids, str_eq(ids[0], ids[1]) ? 1 : 2);
    remove_offer(s, held);
    return true;
}

static void add_offer(struct sched *s, const struct offer *o)
{
    stat_add(s->count.resource_offers, 1);
    save_host(s, o);
    if (decline_both(s, o)) return;
    struct held_offer *known;
    HASH_FIND(hh, s->offers.by_id, o->id.p, o->id.n, known);
    if (known) return; /* an id that is held for another agent: Mesos never does this */
    struct held_offer *h = held_new(o);
    h->seq = ++s->offers.seq;
    HASH_ADD_KEYPTR(hh, s->offers.by_id, h->offer.id.p, h->offer.id.n, h);
    HASH_ADD_KEYPTR(hh_agent, s->offers.by_agent, h->offer.agent_id.p, h->offer.agent_id.n, h);
    enlist(s, h);
    start_hold(s, h);
}

void offers_add(struct sched *s, const struct offer *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i].id.p && v[i].agent_id.p && v[i].hostname.p) add_offer(s, &v[i]);
    pending_wake(s);
}

void offers_rescind(struct sched *s, struct str offer_id)
{
    stat_add(s->count.offers_rescinded, 1);
    struct held_offer *o = NULL;
    if (offer_id.p) HASH_FIND(hh, s->offers.by_id, offer_id.p, offer_id.n, o);
    if (o)
        remove_offer(s, o);
    else
        stat_add(s->count.offer_cancel_failures, 1);
}

void offers_clear(struct sched *s)
{
    assert(!s->offers.used);
    while (s->offers.by_id) remove_offer(s, s->offers.by_id);
}

/* ---------------- launching ---------------- */

struct launch_task *offer_use(struct sched *s, struct held_offer *o)
{
    if (!o->n_launches) {
        if (s->offers.used_tail)
            s->offers.used_tail->next_used = o;
        else
            s->offers.used = o;
        s->offers.used_tail = o;
    }
    if (o->n_launches == o->cap_launches) {
        uint32_t cap = o->cap_launches ? 2 * o->cap_launches : 4;
        struct launch_task *more = ARENA_ARRAY(&s->step.update->arena, struct launch_task, cap);
        if (o->n_launches) memcpy(more, o->launches, o->n_launches * sizeof *more);
        o->launches = more;
        o->cap_launches = cap;
    }
    return &o->launches[o->n_launches++];
}

void offers_launch_used(struct sched *s)
{
    struct arena *a = &s->step.update->arena;
    for (struct held_offer *o = s->offers.used, *next; o; o = next) {
        next = o->next_used;
        struct effect *e = step_effect(&s->step, EFFECT_LAUNCH);
        e->launch.offer_id = arena_str(a, o->offer.id);
        e->launch.agent_id = arena_str(a, o->offer.agent_id);
        e->launch.tasks = o->launches;
        e->launch.n_tasks = o->n_launches;
        e->launch.refuse_ms = s->config.offer_filter_duration;
        remove_offer(s, o);
    }
    s->offers.used = s->offers.used_tail = NULL;
}
