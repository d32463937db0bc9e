/* The durable state in memory: tasks, cron templates, quotas, hosts, updates, maintenance requests, the framework id.
 * Only store_apply() changes it. Tasks are immutable versions with a reference count: a change puts a new version in
 * place, so that an answer in progress keeps what it shows for the price of a reference, and a snapshot in progress
 * the whole (core/image.h). */
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
    struct str ancestor_id;          /* unset: none */
    struct str slave_id;             /* unset: not assigned */
    struct str slave_host;           /* interned, like slave_id */
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
/* All pinned tasks must have been given back. What images show (core/image.h) goes with the last of them. */
void store_free(struct store *s);
/* Whether an image shows it. */
bool store_is_shown(const struct store *s);

/* Applies one op: see sched_apply(). The op is only read; it needs no storage form. */
int store_apply(struct store *s, const struct api_op *op);
/* Drops all but the framework id, which is what a snapshot in the log does first. */
void store_reset(struct store *s);
/* What store_reset() leaves alone comes from another store, unless s has its own. */
void store_inherit(struct store *s, const struct store *from);
/* store_reset(), then the snapshot's contents as ops. On failure (ERR_INVALID) the store is to be thrown away. */
int store_apply_snapshot(struct store *s, const struct api_snapshot *snap);

/* ---- tasks: what is returned is borrowed, good until the next change ---- */

const struct task *store_task(const struct store *s, struct str task_id);
uint64_t store_task_count(const struct store *s);
uint32_t store_status_count(const struct store *s, enum api_schedule_status status);
/* Tasks in insertion order of their ids (deterministic, never hash order); fn returns false to stop. */
void store_each_task(const struct store *s, bool (*fn)(const struct task *t, void *arg), void *arg);

struct task_list {
    const struct task **v;
    uint32_t n;
};
/* The tasks that match (reference: tasks, "Identifiers"), in a, by the index that promises fewest candidates. offset
 * and limit are the caller's. q must be in storage form. */
struct task_list store_query(const struct store *s, const struct api_task_query *q, struct arena *a);
struct task_list store_job_tasks(const struct store *s, const struct api_job_key *key, struct arena *a);
/* Tasks in any status of the set (STATUS_BIT of core/task_fsm.h). */
struct task_list store_status_tasks(const struct store *s, uint32_t statuses, struct arena *a);

/* Jobs are the keys for which tasks are stored. */
struct job {
    struct api_job_key key;
    struct str text; /* role/environment/name */
    uint32_t n_tasks, n_terminal;
};
const struct job *store_job(const struct store *s, const struct api_job_key *key);
/* Jobs of the role, or of all roles if it is unset. */
void store_each_job(const struct store *s, struct str role, bool (*fn)(const struct job *j, void *arg), void *arg);
void store_each_role(const struct store *s, bool (*fn)(struct str role, uint32_t n_jobs, void *arg), void *arg);

/* ---- the rest ---- */

/* Everything but the tasks as a Snapshot in a; timestamp is the caller's to set. It points into the store: good until
 * the next change, in an image (core/image.h) as long as that. */
void store_snapshot_rest(const struct store *s, struct api_snapshot *out, struct arena *a);

void store_each_host(const struct store *s, bool (*fn)(const struct api_host_attributes *h, void *arg), void *arg);
const struct api_host_attributes *store_host(const struct store *s, struct str hostname);
struct str store_framework_id(const struct store *s);
const struct api_job_configuration *store_cron_job(const struct store *s, const struct api_job_key *key);
void store_each_cron_job(const struct store *s, bool (*fn)(const struct api_job_configuration *j, void *arg),
                         void *arg);
/* Whether an update of the job is in one of the active states. */
bool store_job_updating(const struct store *s, const struct api_job_key *key);

/* ---- shared configs ---- */

/* The shared form of a config, with one reference more; NULL if it can't be stored (a union without member). */
struct config *store_intern_config(struct store *s, const struct api_task_config *api);
struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/* Equal for equal states, however they came about (order of insertion does not count): for tests and for comparing a
 * follower with its leader. */
uint64_t store_hash(const struct store *s);

#endif
