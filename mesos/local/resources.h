/* Mesos resources as the master reckons with them: sets of named amounts that add, subtract and compare like the
 * original's (three decimals, ranges coalesced, sets of words).
 *
 * What two resources must have in common to be added (name, type, reservations, revocable, disk, ...) is interned once
 * as a `res_kind`, so arithmetic compares pointers. The role of an allocation isn't part of a kind: all resources of
 * one offer or task have the same, and who holds the set knows it. */
#ifndef AURORA_MESOS_LOCAL_RESOURCES_H
#define AURORA_MESOS_LOCAL_RESOURCES_H

#include "core/arena.h"
#include "core/buf.h"

#include "mesos/mesos.pb-c.h"

struct res_table;

/* Owned by its table. */
struct res_kind {
    const char *name;
    Mesos__Value__Type type;
    const char *reserved_role; /* of the innermost reservation; NULL: unreserved */
    bool revocable;
    Mesos__Resource *post; /* without values, with `reservations` */
    Mesos__Resource
        *pre; /* the same with `role` and `reservation`, as frameworks without RESERVATION_REFINEMENT get it */
};

struct res_range {
    uint64_t begin, end; /* closed */
};

struct res_item {
    const struct res_kind *kind;
    int64_t milli; /* scalars */
    uint32_t n;    /* of ranges or words */
    union {
        struct res_range *ranges; /* sorted, disjoint, not adjacent */
        char **words;
    };
};

/* Zero-initialised is the empty set. Empty items are never kept. */
struct res {
    struct res_item *v;
    uint32_t n;
};

struct res_table *res_table_new(void);
void res_table_free(struct res_table *t);

/* The resources of an agent's flag: "cpus:4;mem:4096;ports:[31000-32000];disk(prod):100;cpus{REV}:2". Appends a
 * reason to err. ERR_MALFORMED. */
int res_parse(struct res_table *t, struct str text, struct res *ret, struct buf *err);
/* Adds resources that were found valid (validate.h). */
void res_add_proto(struct res_table *t, struct res *r, Mesos__Resource *const *v, size_t n);

void res_add(struct res *a, const struct res *b);
/* What b has and a has not is ignored. */
void res_sub(struct res *a, const struct res *b);
bool res_contains(const struct res *a, const struct res *b);
bool res_eq(const struct res *a, const struct res *b);
struct res res_copy(const struct res *a);
void res_release(struct res *r);
/* Brings the items into the order in which `like` has them. */
void res_order(struct res *r, const struct res *like);
/* Takes out what a filter does not want. */
void res_keep(struct res *r, bool (*want)(const struct res_item *it, const void *arg), const void *arg);
/* The sum of all scalars of that name, in thousandths. */
int64_t res_scalar(const struct res *r, const char *name);
/* True if adding both one after the other loses something: a port or word that is in both. */
bool res_overlap(const struct res *a, const struct res *b);

/* As Mesos prints them: "cpus(allocated: *):4; ports(allocated: *):[31000-32000]", "{}" when empty. allocated may be
 * NULL. */
void res_text(const struct res *r, const char *allocated, struct buf *out);
/* One resource as it came, valid or not. */
void res_text_proto(const Mesos__Resource *p, struct buf *out);

/* Messages in the arena; names and reservations are borrowed from the table. allocated: role to set or NULL. refined:
 * with `reservations`. */
Mesos__Resource **res_to_proto(const struct res *r, struct arena *a, const char *allocated, bool refined,
                               size_t *ret_n);

/* Thousandths, rounded half away from zero, as everywhere in Mesos. */
int64_t res_milli(double value);

#endif
