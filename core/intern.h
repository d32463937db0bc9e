/* Interned values: host names, agent ids and scheduler names (few, repeated in every task) and task configs (one per
 * version of a job, shared by its instances). Each is counted; it goes with its last reference. Equal values are one
 * pointer, so comparing is comparing pointers.
 *
 * An interned name is also the head of the index that leads to the tasks of the host called so. Not for use by several
 * threads. */
#ifndef AURORA_CORE_INTERN_H
#define AURORA_CORE_INTERN_H

#include "core/hash.h"
#include "core/store.h"

struct slot; /* core/store_impl.h */

/* The tasks that share a value, linked through their slots, in order of their arrival in the list. */
struct index_list {
    struct slot *head, *tail;
    uint32_t n;
};

struct interned {
    UT_hash_handle hh;
    struct intern_pool *pool;
    uint32_t refs;
    uint32_t n;
    struct index_list by_host; /* tasks whose slaveHost this is */
    char bytes[];              /* NUL-terminated */
};

struct intern_pool {
    struct interned *table;
};

/* A str of the pool with one reference more; the unset str stays unset. */
struct str intern(struct intern_pool *pool, struct str s);
/* The interned form if there is one, without a reference; else unset. */
struct str intern_find(const struct intern_pool *pool, struct str s);
/* s must come from intern(), or be unset. */
void intern_unref(struct str s);
static inline struct interned *intern_of(struct str s)
{
    return container_of(s.p, struct interned, bytes);
}

/* ---- configs ---- */

/* What core/store.h shows of a config is its first member. */
struct config_entry {
    struct config pub;
    UT_hash_handle hh;     /* by encoded */
    UT_hash_handle hh_api; /* by the address of pub.api: a config that comes back to us is known at once */
    struct config_pool *pool;
    struct arena arena; /* pub.api */
    struct buf encoded; /* TBinary of the storage form */
};

struct config_pool {
    struct config_entry *by_value, *by_api;
    /* The last address that was interned in the operation in progress: tasks of one message often share it. */
    const struct api_task_config *last_api;
    struct config *last;
};

/* One reference more. api needs no storage form; it is copied if it is new. NULL if it can't be encoded. *ret_new
 * (may be NULL) tells whether the entry was made. */
struct config *config_intern(struct config_pool *pool, const struct api_task_config *api, bool *ret_new);
static inline struct config_entry *config_entry(const struct config *c)
{
    return (struct config_entry *)c;
}
/* Forgets the shortcut for the message in progress; its memory may go away now. */
void config_pool_end(struct config_pool *pool);

#endif
