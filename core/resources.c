#include "core/resources.h"

#include <assert.h>
#include <math.h>

/* ---------------- requests ---------------- */

/* What a user asks for is only known to be positive: beyond this nothing fits anyway, and sums can't overflow. */
static milli to_milli(double amount)
{
    if (!(amount > 0)) return 0;
    return amount > 1e12 ? (milli)1e15 : llround(amount * MILLI);
}

static void add_resource(milli *v, const struct api_resource *r)
{
    if (r->has_num_cpus) v[RES_CPUS] += to_milli(r->num_cpus);
    if (r->has_ram_mb) v[RES_RAM_MB] += to_milli((double)r->ram_mb);
    if (r->has_disk_mb) v[RES_DISK_MB] += to_milli((double)r->disk_mb);
    if (r->named_port.p) v[RES_PORTS] += MILLI;
    if (r->has_num_gpus) v[RES_GPUS] += to_milli((double)r->num_gpus);
}

static const struct tier_setting *tier_of(const struct sched_config *sc, struct str name)
{
    if (!name.p) name = sc->default_tier;
    for (uint32_t i = 0; i < sc->n_tiers; i++)
        if (str_eq(sc->tiers[i].name, name)) return &sc->tiers[i];
    return NULL;
}

void request_init(struct request *r, const struct api_task_config *config, const struct sched_config *sc)
{
    *r = (struct request){ .tier = sc->default_tier };
    const struct tier_setting *tier = tier_of(sc, config->tier);
    if (tier) {
        r->tier = tier->name;
        r->revocable = tier->revocable;
    }
    for (uint32_t i = 0; i < config->n_resources; i++) add_resource(r->task, &config->resources[i]);
    for (uint32_t i = 0; config->executor_config && i < sc->n_executors; i++) {
        const struct executor_setting *e = &sc->executors[i];
        if (!str_eq(e->name, config->executor_config->name)) continue;
        r->executor[RES_CPUS] = e->cpus;
        r->executor[RES_RAM_MB] = e->ram_mb;
        r->executor[RES_DISK_MB] = e->disk_mb;
    }
    for (int k = 0; k < RES_KINDS; k++) r->total[k] = r->task[k] + r->executor[k];
}

/* ---------------- what is left ---------------- */

void bag_init(struct bag *b, const struct offer *o, struct arena *a)
{
    *b = (struct bag){ .v = ARENA_ARRAY(a, struct bag_entry, o->n_resources), .n = o->n_resources, .arena = a };
    for (uint32_t i = 0; i < o->n_resources; i++) {
        struct bag_entry *e = &b->v[i];
        e->res = o->resources[i];
        e->cap_ranges = e->res.n_ranges;
        if (e->res.kind != RES_PORTS) continue;
        e->res.ranges = ARENA_ARRAY(a, struct port_range, e->res.n_ranges);
        e->res.n_ranges = 0;
        e->res.amount = 0;
        for (uint32_t j = 0; j < o->resources[i].n_ranges; j++) {
            struct port_range r = o->resources[i].ranges[j];
            if (r.begin > r.end) continue;
            e->res.ranges[e->res.n_ranges++] = r;
            e->res.amount += ((milli)r.end - r.begin + 1) * MILLI;
        }
    }
}

static bool enabled_as_revocable(enum resource_kind kind, const struct sched_config *sc)
{
    return (kind == RES_CPUS && sc->enable_revocable_cpus) || (kind == RES_RAM_MB && sc->enable_revocable_ram);
}

static bool usable(const struct offer_resource *r, bool revocable_task, const struct sched_config *sc)
{
    if (!revocable_task) return !r->revocable;
    return r->revocable || !enabled_as_revocable(r->kind, sc);
}

milli bag_available(const struct bag *b, enum resource_kind kind, bool revocable_task, const struct sched_config *sc)
{
    milli sum = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->v[i].res.kind == kind && usable(&b->v[i].res, revocable_task, sc)) sum += b->v[i].res.amount;
    return sum;
}

milli bag_total(const struct bag *b, enum resource_kind kind)
{
    milli sum = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->v[i].res.kind == kind) sum += b->v[i].res.amount;
    return sum;
}

/* ---------------- ports ---------------- */

/* The k-th port that is left, counting through the entries that the task may use. */
static uint32_t nth_port(const struct bag *b, bool revocable_task, const struct sched_config *sc, uint64_t k)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct offer_resource *r = &b->v[i].res;
        if (r->kind != RES_PORTS || !usable(r, revocable_task, sc)) continue;
        for (uint32_t j = 0; j < r->n_ranges; j++) {
            uint64_t len = (uint64_t)r->ranges[j].end - r->ranges[j].begin + 1;
            if (k < len) return r->ranges[j].begin + (uint32_t)k;
            k -= len;
        }
    }
    assert(!"fewer ports than counted");
    return 0;
}

static bool chosen(const uint64_t *v, uint32_t n, uint64_t k)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i] == k) return true;
    return false;
}

/* Draws n of the ports without replacement (Floyd): no list of all ports is made. */
void bag_pick_ports(const struct bag *b, bool revocable_task, const struct sched_config *sc, uint32_t n,
                    uint32_t *ret_ports, struct rng *rng)
{
    uint64_t total = (uint64_t)bag_available(b, RES_PORTS, revocable_task, sc) / MILLI;
    assert(n <= total);
    struct arena scratch = { 0 };
    uint64_t *picked = ARENA_ARRAY(&scratch, uint64_t, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t last = total - n + i;
        uint64_t k = rng_below(rng, last + 1);
        picked[i] = chosen(picked, i, k) ? last : k;
        ret_ports[i] = nth_port(b, revocable_task, sc, picked[i]);
    }
    arena_release(&scratch);
}

static void remove_range(struct bag_entry *e, struct arena *a, uint32_t at, uint32_t port)
{
    struct offer_resource *r = &e->res;
    struct port_range old = r->ranges[at];
    r->amount -= MILLI;
    if (old.begin == old.end) {
        r->ranges[at] = r->ranges[--r->n_ranges];
    } else if (port == old.begin) {
        r->ranges[at].begin++;
    } else if (port == old.end) {
        r->ranges[at].end--;
    } else {
        if (r->n_ranges == e->cap_ranges) {
            struct port_range *more = ARENA_ARRAY(a, struct port_range, 2 * e->cap_ranges + 2);
            memcpy(more, r->ranges, r->n_ranges * sizeof *more);
            r->ranges = more;
            e->cap_ranges = 2 * e->cap_ranges + 2;
        }
        r->ranges[at].end = port - 1;
        r->ranges[r->n_ranges++] = (struct port_range){ port + 1, old.end };
    }
}

/* True if the port was left in this entry; it is not any more. */
static bool take_port(struct bag_entry *e, struct arena *a, uint32_t port)
{
    for (uint32_t j = 0; j < e->res.n_ranges; j++) {
        if (port < e->res.ranges[j].begin || port > e->res.ranges[j].end) continue;
        remove_range(e, a, j, port);
        return true;
    }
    return false;
}

/* Adds a port to ranges that are ascending and maximal, the port being above all of them. */
static void append_port(struct port_range *v, uint32_t *n, uint32_t port)
{
    if (*n && v[*n - 1].end + 1 == port)
        v[*n - 1].end = port;
    else
        v[(*n)++] = (struct port_range){ port, port };
}

static void sort_ports(uint32_t *v, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint32_t x = v[i], j = i;
        for (; j && v[j - 1] > x; j--) v[j] = v[j - 1];
        v[j] = x;
    }
}

/* ---------------- carving ---------------- */

static struct carve *add_carve(struct carves *c, const struct bag_entry *e, bool revocable)
{
    struct carve *v = &c->v[c->n++];
    *v = (struct carve){ .index = e->res.index, .kind = e->res.kind, .revocable = revocable };
    return v;
}

#define TAKEN UINT32_MAX

/* Those of the ports that are in entries of this kind; they become TAKEN. */
static void take_ports(struct bag *b, uint32_t *ports, uint32_t n, bool reserved, bool revocable_task,
                       const struct sched_config *sc, struct arena *a, struct carves *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct bag_entry *e = &b->v[i];
        if (e->res.kind != RES_PORTS || e->res.reserved != reserved || !usable(&e->res, revocable_task, sc)) continue;
        struct port_range *ranges = ARENA_ARRAY(a, struct port_range, n);
        uint32_t n_ranges = 0, taken = 0;
        for (uint32_t p = 0; p < n; p++) {
            if (ports[p] == TAKEN || !take_port(e, b->arena, ports[p])) continue;
            append_port(ranges, &n_ranges, ports[p]);
            ports[p] = TAKEN;
            taken++;
        }
        if (!taken) continue;
        struct carve *c = add_carve(out, e, false);
        c->amount = (milli)taken * MILLI;
        c->ranges = ranges;
        c->n_ranges = n_ranges;
    }
}

static milli take_scalar(struct bag *b, enum resource_kind kind, milli want, bool reserved, bool revocable_task,
                         const struct sched_config *sc, struct carves *out)
{
    for (uint32_t i = 0; i < b->n && want > 0; i++) {
        struct bag_entry *e = &b->v[i];
        if (e->res.kind != kind || e->res.reserved != reserved || !usable(&e->res, revocable_task, sc)) continue;
        milli amount = want < e->res.amount ? want : e->res.amount;
        if (amount <= 0) continue;
        e->res.amount -= amount;
        want -= amount;
        add_carve(out, e, revocable_task && enabled_as_revocable(kind, sc))->amount = amount;
    }
    return want;
}

/* Resources reserved for our role are used up first. */
static void take_all(struct bag *b, const milli *want, bool revocable_task, const struct sched_config *sc,
                     struct carves *out)
{
    for (int k = 0; k < RES_KINDS; k++) {
        if (k == RES_PORTS) continue;
        milli rest = take_scalar(b, (enum resource_kind)k, want[k], true, revocable_task, sc, out);
        rest = take_scalar(b, (enum resource_kind)k, rest, false, revocable_task, sc, out);
        assert(rest == 0);
        (void)rest;
    }
}

void bag_take(struct bag *b, const struct request *r, const uint32_t *ports, uint32_t n_ports,
              const struct sched_config *sc, struct arena *a, struct carves *ret_task, struct carves *ret_executor)
{
    *ret_task = (struct carves){ .v = ARENA_ARRAY(a, struct carve, b->n) };
    *ret_executor = (struct carves){ .v = ARENA_ARRAY(a, struct carve, b->n) };
    take_all(b, r->task, r->revocable, sc, ret_task);
    if (n_ports) {
        uint32_t *sorted = ARENA_ARRAY(a, uint32_t, n_ports);
        memcpy(sorted, ports, n_ports * sizeof *sorted);
        sort_ports(sorted, n_ports);
        take_ports(b, sorted, n_ports, true, r->revocable, sc, a, ret_task);
        take_ports(b, sorted, n_ports, false, r->revocable, sc, a, ret_task);
    }
    /* Mesos is told of overhead only in kinds that the task asks for, as Aurora does. */
    milli overhead[RES_KINDS];
    for (int k = 0; k < RES_KINDS; k++) overhead[k] = r->task[k] ? r->executor[k] : 0;
    take_all(b, overhead, r->revocable, sc, ret_executor);
}
