/* Offers for the tests of mesos/, as a master without MULTI_ROLE makes them. */
#ifndef AURORA_TEST_MESOS_OFFERS_H
#define AURORA_TEST_MESOS_OFFERS_H

#include "mesos/proto.h"

#include "mesos/mesos.pb-c.h"

static inline Mesos__Resource *test_resource(const char *name, const char *role, struct arena *a)
{
    Mesos__Resource *r = proto_new(&mesos__resource__descriptor, a);
    r->name = proto_str(str_c(name), a);
    if (role) r->role = proto_str(str_c(role), a);
    return r;
}

static inline Mesos__Resource *test_scalar(const char *name, double v, const char *role, struct arena *a)
{
    Mesos__Resource *r = test_resource(name, role, a);
    r->type = MESOS__VALUE__TYPE__SCALAR;
    r->scalar = proto_new(&mesos__value__scalar__descriptor, a);
    r->scalar->value = v;
    return r;
}

static inline Mesos__Resource *test_ports(uint64_t begin, uint64_t end, const char *role, struct arena *a)
{
    Mesos__Resource *r = test_resource("ports", role, a);
    r->type = MESOS__VALUE__TYPE__RANGES;
    r->ranges = proto_new(&mesos__value__ranges__descriptor, a);
    r->ranges->n_range = 1;
    r->ranges->range = ARENA_ARRAY(a, Mesos__Value__Range *, 1);
    r->ranges->range[0] = proto_new(&mesos__value__range__descriptor, a);
    r->ranges->range[0]->begin = begin;
    r->ranges->range[0]->end = end;
    return r;
}

/* Room for 16 resources and 8 attributes. */
static inline Mesos__Offer *test_offer(const char *id, const char *agent, struct arena *a)
{
    Mesos__Offer *o = proto_new(&mesos__offer__descriptor, a);
    o->id = proto_new(&mesos__offer_id__descriptor, a);
    o->id->value = proto_str(str_c(id), a);
    o->framework_id = proto_new(&mesos__framework_id__descriptor, a);
    o->framework_id->value = "F-0000";
    o->slave_id = proto_new(&mesos__slave_id__descriptor, a);
    o->slave_id->value = proto_str(str_c(agent), a);
    o->hostname = "host-1";
    o->resources = ARENA_ARRAY(a, Mesos__Resource *, 16);
    o->attributes = ARENA_ARRAY(a, Mesos__Attribute *, 8);
    return o;
}

static inline void test_offer_add(Mesos__Offer *o, Mesos__Resource *r)
{
    o->resources[o->n_resources++] = r;
}

/* 4 cpus, 2048 MB, 4096 MB of disk, ports 31000 to 31100. */
static inline Mesos__Offer *test_plain_offer(const char *id, const char *agent, struct arena *a)
{
    Mesos__Offer *o = test_offer(id, agent, a);
    test_offer_add(o, test_ports(31000, 31100, "*", a));
    test_offer_add(o, test_scalar("cpus", 4, "*", a));
    test_offer_add(o, test_scalar("mem", 2048, "*", a));
    test_offer_add(o, test_scalar("disk", 4096, "*", a));
    return o;
}

#endif
