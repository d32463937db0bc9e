/* What the core knows of a Mesos offer: plain values, no protobuf. The room mesos/ keeps the original
 * message by offer id until the offer is used, declined, rescinded or lost. */
#ifndef AURORA_CORE_OFFER_H
#define AURORA_CORE_OFFER_H

#include "core/str.h"

enum resource_kind { RES_CPUS, RES_RAM_MB, RES_DISK_MB, RES_PORTS, RES_GPUS, RES_KINDS };

/* Mesos compares scalars with three decimals; so do we, as integers: 1.5 cpus = 1500. */
typedef int64_t milli;

struct port_range {
    uint32_t begin, end; /* closed */
};

/* One entry of Offer.resources, in its order; entries of kinds that we ignore are left out, so `index` says
 * which one it was. */
struct offer_resource {
    enum resource_kind kind;
    uint32_t index;
    bool revocable;
    bool reserved; /* role set and not "*" */
    milli amount;  /* scalars; for ports 1000 x their number */
    struct port_range *ranges;
    uint32_t n_ranges;
};

struct offer_attribute {
    struct str name;
    struct str value; /* text as is, scalar in Java notation; ranges and sets are left out */
};

struct offer {
    struct str id;
    struct str agent_id;
    struct str hostname;
    struct offer_resource *resources;
    uint32_t n_resources;
    struct offer_attribute *attributes;
    uint32_t n_attributes;
    int64_t unavailable_from_ms; /* -1 = none announced */
};

#endif
