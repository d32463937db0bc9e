#include "mesos/offer_convert.h"

#include "core/buf.h"
#include "core/stats.h"

#include <assert.h>
#include <math.h>

/* Far beyond any machine, and far from overflow when many are added up. */
static const double amount_max = 1e12;

static const struct {
    const char *name;
    enum resource_kind kind;
    Mesos__Value__Type type;
} kinds[] = {
    { "cpus", RES_CPUS, MESOS__VALUE__TYPE__SCALAR },    { "mem", RES_RAM_MB, MESOS__VALUE__TYPE__SCALAR },
    { "disk", RES_DISK_MB, MESOS__VALUE__TYPE__SCALAR }, { "ports", RES_PORTS, MESOS__VALUE__TYPE__RANGES },
    { "gpus", RES_GPUS, MESOS__VALUE__TYPE__SCALAR },
};

static bool find_kind(const Mesos__Resource *r, enum resource_kind *ret)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(r->name, kinds[i].name) != 0 || r->type != kinds[i].type) continue;
        *ret = kinds[i].kind;
        return true;
    }
    return false;
}

static milli scalar_amount(const Mesos__Resource *r)
{
    double v = r->scalar ? r->scalar->value : 0;
    if (!(v > 0)) return 0;
    return llround(fmin(v, amount_max) * 1000);
}

static void convert_ranges(const Mesos__Value__Ranges *m, struct offer_resource *out, struct arena *a)
{
    if (!m) return;
    out->ranges = ARENA_ARRAY(a, struct port_range, m->n_range);
    for (size_t i = 0; i < m->n_range; i++) {
        uint64_t begin = m->range[i]->begin;
        uint64_t end = m->range[i]->end < UINT16_MAX ? m->range[i]->end : UINT16_MAX;
        if (begin > end) continue;
        out->ranges[out->n_ranges++] = (struct port_range){ (uint32_t)begin, (uint32_t)end };
        out->amount += 1000 * (milli)(end - begin + 1);
    }
}

static bool is_reserved(const Mesos__Resource *r)
{
    return (r->role && strcmp(r->role, "*") != 0) || r->n_reservations > 0;
}

static void convert_resources(const Mesos__Offer *m, struct offer *o, struct arena *a)
{
    o->resources = ARENA_ARRAY(a, struct offer_resource, m->n_resources);
    for (uint32_t i = 0; i < m->n_resources; i++) {
        const Mesos__Resource *r = m->resources[i];
        enum resource_kind kind;
        if (!find_kind(r, &kind)) continue;
        struct offer_resource *out = &o->resources[o->n_resources++];
        *out = (struct offer_resource){
            .kind = kind, .index = i, .revocable = r->revocable != NULL, .reserved = is_reserved(r)
        };
        if (kind == RES_PORTS)
            convert_ranges(r->ranges, out, a);
        else
            out->amount = scalar_amount(r);
    }
}

static struct str scalar_text(double v, struct arena *a)
{
    struct buf b = { 0 };
    java_double(&b, v);
    struct str s = arena_str(a, (struct str){ (char *)b.data, (uint32_t)b.len });
    buf_release(&b);
    return s;
}

static void convert_attributes(const Mesos__Offer *m, struct offer *o, struct arena *a)
{
    o->attributes = ARENA_ARRAY(a, struct offer_attribute, m->n_attributes);
    for (size_t i = 0; i < m->n_attributes; i++) {
        const Mesos__Attribute *at = m->attributes[i];
        struct str value = { 0 };
        if (at->type == MESOS__VALUE__TYPE__TEXT && at->text) value = str_c(at->text->value);
        if (at->type == MESOS__VALUE__TYPE__SCALAR && at->scalar) value = scalar_text(at->scalar->value, a);
        if (!value.p) continue;
        o->attributes[o->n_attributes++] = (struct offer_attribute){ str_c(at->name), value };
    }
}

void offer_convert(const Mesos__Offer *m, struct offer *ret, struct arena *a)
{
    *ret = (struct offer){
        .id = str_c(m->id->value),
        .agent_id = str_c(m->slave_id->value),
        .hostname = str_c(m->hostname),
        .unavailable_from_ms = m->unavailability ? m->unavailability->start->nanoseconds / 1000000 : -1,
    };
    convert_resources(m, ret, a);
    convert_attributes(m, ret, a);
    assert(ret->n_resources <= m->n_resources);
    assert(ret->n_attributes <= m->n_attributes);
}
