/* The durable state in memory: tasks, cron templates, quotas, hosts, updates, maintenance requests, the framework id. Only
 * store_apply() changes it. Tasks are immutable versions with a reference count: a change puts a new version in
 * place, so that an answer or a snapshot in progress keeps a consistent view for the price of a reference. */
#ifndef AURORA_CORE_STORE_H
#define AURORA_CORE_STORE_H

#include "core/arena.h"
#include "core/str.h"

#include "api.gen.h"

/* An interned TaskConfig in storage form: equality of configs is equality of pointers. */
struct config {
    const struct api_task_config *api; /* in the config's own memory */
    uint64_t hash;
    uint32_t refs;
    /* further fields are the store's and the scheduler's */
};

struct task_event {
    int64_t timestamp_ms;
    enum api_schedule_status status;
    struct str message;   /* unset: none */
    struct str scheduler; /* interned host name */
};

struct assigned_port {
    struct str name;
    int32_t port;
};

struct task {
    uint32_t refs;
    enum api_schedule_status status;
    int32_t instance_id;
    int32_t failure_count;
    int32_t times_partitioned;
    struct config *config;
    struct str id;
    struct str ancestor_id; /* unset: none */
    struct str slave_id;    /* unset: not assigned */
    struct str slave_host;
    const struct task_event *events; /* oldest first */
    uint32_t n_events;
    const struct assigned_port *ports;
    uint32_t n_ports;
};

const struct task *task_ref(const struct task *t);
void task_unref(const struct task *t);
/* A shallow api_scheduled_task in a: it points into t and is good while t is pinned. */
void task_to_api(const struct task *t, struct api_scheduled_task *out, struct arena *a);

struct store *store_new(void);
void store_free(struct store *s);
/* See sched_apply(). */
int store_apply(struct store *s, const struct api_op *op);
void store_reset(struct store *s); /* all but the framework id */

const struct task *store_task(const struct store *s, struct str task_id);
uint64_t store_task_count(const struct store *s);
/* Tasks in insertion order of their ids (deterministic, never hash order); fn returns false to stop. */
void store_each_task(const struct store *s, bool (*fn)(const struct task *t, void *arg), void *arg);
/* References to all tasks, for a snapshot; the array is malloc'ed, each is pinned. */
const struct task **store_pin_all(const struct store *s, uint32_t *ret_n);
/* Everything but the tasks as a Snapshot in a (deep copies); timestamp is the caller's to set. */
void store_snapshot_rest(const struct store *s, struct api_snapshot *out, struct arena *a);

void store_each_host(const struct store *s, bool (*fn)(const struct api_host_attributes *h, void *arg), void *arg);
const struct api_host_attributes *store_host(const struct store *s, struct str hostname);
struct str store_framework_id(const struct store *s);

#endif
