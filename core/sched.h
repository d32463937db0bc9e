/* The scheduler as a pure function of events: sched_step(event, now) gives ops (durable changes) and effects
 * (what the world must see once they are durable). No I/O, clock, randomness or callback inside.
 *
 * Life: sched_new; sched_apply() for every op of the log (a follower goes on applying); then one
 * EV_LEADING, after which events of all kinds may come.
 *
 * Memory: an event stays the caller's and is only read during the call. What a step gives lives in its `update`, which
 * the caller owns: sched_update_release() when its last effect has been carried out. A step has already applied its own
 * ops to the store: the caller appends them to the log and must not apply them again. Effects may be carried out only
 * when the ops of this and all earlier steps are durable, in order. */
#ifndef AURORA_CORE_SCHED_H
#define AURORA_CORE_SCHED_H

#include "core/arena.h"
#include "core/offer.h"
#include "core/stats.h"
#include "core/str.h"

#include "api.gen.h"

struct sched;
struct store;
struct task; /* core/store.h */

/* ---------------- settings (from flags; defaults are Aurora's) ---------------- */

/* An executor that tasks may name (reference: scheduling, "Executors"). What Mesos is told of it is mesos/'s. */
struct executor_setting {
    struct str name;
    milli cpus, ram_mb, disk_mb; /* overhead per task; milli units */
};

struct tier_setting {
    struct str name;
    bool preemptible, revocable;
};

struct sched_config {
    struct str cluster_name;     /* serverInfo */
    struct str stats_url_prefix; /* serverInfo; "" by default */
    struct str hostname;         /* TaskEvent.scheduler */
    uint64_t seed;               /* of task ids, jitter and ports; to be another one in every process */
    int64_t max_tasks_per_job;
    bool (*environment_ok)(struct str env, void *arg); /* full match of allowed_job_environments */
    void *environment_arg;
    struct str environment_regex; /* for the message */
    struct executor_setting *executors;
    uint32_t n_executors;
    struct tier_setting *tiers;
    uint32_t n_tiers;
    struct str default_tier;
    bool allow_docker, allow_mesos, allow_docker_parameters, require_docker_use_executor, allow_container_volumes,
        allow_gpu_resource, enable_mesos_fetcher, sla_aware_kill_non_prod;
    struct api_docker_parameter *default_docker_parameters;
    uint32_t n_default_docker_parameters;
    bool enable_revocable_cpus, enable_revocable_ram;
    int64_t min_required_instances_for_sla_check, max_sla_duration_secs;
    bool partition_aware;
    /* all in ms */
    int64_t first_schedule_delay, initial_schedule_penalty, max_schedule_penalty;
    double max_schedule_attempts_per_sec;
    int64_t max_tasks_per_schedule_attempt;
    int64_t flapping_task_threshold, initial_flapping_task_delay, max_flapping_task_delay,
        max_reschedule_task_delay_on_startup;
    int64_t min_offer_hold_time, offer_hold_jitter_window, offer_filter_duration, unavailability_threshold;
    bool hold_offers_forever;
    int64_t transient_task_state_timeout, initial_task_kill_retry_interval;
    int64_t reconciliation_initial_delay, reconciliation_explicit_interval, reconciliation_implicit_interval,
        reconciliation_schedule_spread, reconciliation_explicit_batch_interval;
    int64_t reconciliation_explicit_batch_size;
    int64_t history_prune_threshold, history_min_retention_threshold, history_max_per_job_threshold;
};

/* Aurora's defaults; the caller then changes what flags say. Strings are borrowed until sched_free(). */
void sched_config_defaults(struct sched_config *c);

/* ---------------- events ---------------- */

enum sched_event_type {
    EV_TIMER,        /* sched_timeout() has come (harmless when early) */
    EV_LEADING,      /* storage is recovered and this process leads: timers of replayed state start */
    EV_REGISTERED,   /* Mesos: registered or re-registered */
    EV_DISCONNECTED, /* Mesos: the master is gone; all offers with it */
    EV_OFFERS,
    EV_RESCIND,
    EV_STATUS,
    EV_AGENT_LOST,
    EV_EXECUTOR_LOST,
    EV_COMMAND, /* an RPC, reads included */
};

struct status_update {
    struct str task_id;
    struct str agent_id;    /* unset: unknown */
    int state;              /* mesos.TaskState number; unknown numbers are ignored but acknowledged */
    int source;             /* mesos.TaskStatus.Source or -1 */
    int reason;             /* mesos.TaskStatus.Reason or -1 */
    struct str reason_name; /* "REASON_RECONCILIATION"; unset with reason -1 */
    struct str message;
    bool has_uuid; /* must be acknowledged */
    uint8_t uuid[16];
    int64_t timestamp_ms; /* -1 = unset */
};

struct sched_event {
    enum sched_event_type type;
    int64_t now_ms; /* wall clock, epoch */
    union {
        struct {
            struct str framework_id;
            bool first; /* `registered`, not `re-registered`: the id is saved */
        } registered;
        struct {
            const struct offer *v;
            uint32_t n;
        } offers;
        struct {
            struct str offer_id;
        } rescind;
        struct {
            const struct status_update *v;
            uint32_t n;
        } status;
        struct {
            struct str agent_id;
        } agent_lost;
        struct {
            struct str agent_id, executor_id;
            int status;
        } executor_lost;
        struct {
            uint64_t cookie;              /* comes back in the reply */
            const struct tmethod *method; /* of api_methods[] */
            const void *args;             /* decoded; not normalized */
            struct str user;              /* principal or "UNSECURE" */
            bool lenient_isset;           /* /apibeta: primitives carry no "is set" (reference: api §11) */
        } command;
    };
};

/* ---------------- updates ---------------- */

/* In the order in which the effects of one step leave. */
enum effect_type {
    EFFECT_KILL,
    EFFECT_LAUNCH,
    EFFECT_DECLINE,
    EFFECT_RECONCILE,
    EFFECT_ACK,
    EFFECT_REPLY,
    EFFECT_TYPES
};

/* How much of which entry of the offer a launch takes. */
struct carve {
    uint32_t index; /* in the original Offer.resources */
    enum resource_kind kind;
    bool revocable; /* set `revocable {}` on the result */
    milli amount;   /* scalars */
    const struct port_range *ranges;
    uint32_t n_ranges;
};

struct task_on_agent {
    struct str task_id, agent_id;
};

/* One task of a launch. The carves of all tasks of a launch together never exceed the offer. */
struct launch_task {
    const struct task *task; /* ASSIGNED, with agent and ports; pinned by the update */
    struct str tier;         /* resolved */
    const struct carve *task_resources;
    uint32_t n_task_resources;
    const struct carve *executor_resources; /* none for a task without an executor's overhead */
    uint32_t n_executor_resources;
};

struct effect {
    enum effect_type type;
    union {
        struct {
            struct str task_id;
            struct str agent_id; /* unset: unknown */
        } kill;
        struct { /* one ACCEPT with one LAUNCH of all these tasks; the offer is used up by it */
            struct str offer_id, agent_id;
            const struct launch_task *tasks;
            uint32_t n_tasks;
            int64_t refuse_ms;
        } launch;
        struct {
            const struct str *offer_ids;
            uint32_t n;
            int64_t refuse_ms;
        } decline;
        struct {
            const struct task_on_agent *tasks;
            uint32_t n; /* 0 = implicit */
        } reconcile;
        struct {
            struct str task_id, agent_id;
            uint8_t uuid[16];
        } ack;
        struct {
            uint64_t cookie;
            const struct api_response *response; /* serverInfo filled in; its tasks are pinned by the update */
        } reply;
    };
};

struct sched_update {
    struct arena arena;
    struct api_op *ops; /* in order; storage form */
    uint32_t n_ops, cap_ops;
    struct effect *effects; /* in the order of enum effect_type, else in order of origin */
    uint32_t n_effects, cap_effects;
    const struct task **pins;
    uint32_t n_pins, cap_pins;
};

struct sched *sched_new(const struct sched_config *c, struct stats *stats);
void sched_free(struct sched *s);

/* Applies one op of the log: the only way in which durable state changes; sched_step() uses it too.
 * ERR_INVALID, with nothing changed, for an op that breaks an invariant (reference: storage §4, §6) or is unknown. */
int sched_apply(struct sched *s, const struct api_op *op);
/* A snapshot of the log, as a store: it takes the place of the present one, which is the caller's from here on. Only
 * the framework id stays where the snapshot has none. */
struct store *sched_replace_store(struct sched *s, struct store *state);

/* `update` is zeroed or released; it gets the step's result. */
void sched_step(struct sched *s, const struct sched_event *ev, struct sched_update *update);
void sched_update_release(struct sched_update *u);

/* Whether EV_COMMAND of this method has a handler; the others are answered with an ERROR that names them. */
bool sched_serves(struct str method_name);

/* A command is being carried out over several steps, so as not to hold its caller up; EV_TIMER is due at once. What
 * these steps give must become durable together or not at all. */
bool sched_busy(const struct sched *s);

/* When EV_TIMER is due, epoch ms; INT64_MAX if nothing is scheduled. */
int64_t sched_timeout(const struct sched *s);

/* Read access for endpoints and tests. */
const struct store *sched_store(const struct sched *s);
/* Unset before the first registration ever. */
struct str sched_framework_id(const struct sched *s);

/* Offers held: fn for each. */
void sched_each_offer(const struct sched *s, void (*fn)(const struct offer *o, void *arg), void *arg);
/* Groups of pending tasks, in order of name: reason is the bracketed list, "[]" if unknown. */
struct pending_group {
    struct str name;
    const struct str *task_ids;
    uint32_t n_task_ids;
    int64_t penalty_ms;
    struct str reason;
};
void sched_each_pending_group(const struct sched *s, void (*fn)(const struct pending_group *g, void *arg), void *arg);

#endif
