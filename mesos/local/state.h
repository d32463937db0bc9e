/* What the files behind mesos/local/master.h share: the objects and who owns what. Not for others.
 *
 *   master ── frameworks ── tasks (those the master knows, by id), offers
 *          └─ agents ────── tasks (those on the agent or known there), executors, offers, refusals
 *
 * A task is one object with two halves: `on_agent` (the agent has it, or updates of it to deliver) and `at_master`. It
 * is freed when both are gone and it isn't remembered as unreachable. */
#ifndef AURORA_MESOS_LOCAL_STATE_H
#define AURORA_MESOS_LOCAL_STATE_H

#include "mesos/local/master.h"
#include "mesos/local/timerq.h"

#include "core/rng.h"

#include "mesos/messages.pb-c.h"
#include "mesos/scheduler.pb-c.h"

#include <uthash.h>
#include <utlist.h>

enum { MASTER_ID_BYTES = 37, ID_BYTES = 64 }; /* of ids that the master makes, the NUL included */

/* ---------------- frameworks ---------------- */

enum framework_state {
    FRAMEWORK_ABSENT,    /* this master has never heard of it; agents that are away have tasks of it */
    FRAMEWORK_RECOVERED, /* known from an agent that came back */
    FRAMEWORK_CONNECTED,
    FRAMEWORK_DISCONNECTED,
};

enum framework_capability {
    CAN_REVOCABLE = 1,
    CAN_KILLING = 2,
    CAN_GPUS = 4,
    CAN_PARTITION = 8,
    CAN_ROLES = 16,
    CAN_REFINED = 32,
};

struct framework_role {
    char *name;
    bool suppressed;
};

struct framework {
    struct master *m;
    char *id;
    enum framework_state state;
    bool active; /* gets offers; only while connected */
    struct upid pid;
    char *name, *user, *hostname, *webui_url;
    char *principal; /* NULL: none */
    bool checkpoint;
    int64_t failover_timeout_ms;
    unsigned capabilities;
    struct framework_role **roles;  /* owned; kept while tasks and offers point at the names */
    uint32_t n_roles, n_roles_live; /* the live ones first */
    struct task *tasks;             /* uthash by id: known or unreachable */
    struct offered *offers;
    struct offered *last_sent; /* during an allocation: what follows is fresh */
    uint32_t refusal_epoch;    /* refusals of an earlier one are void */
    int64_t allocated_cpus, allocated_mem;
    struct timer failover;
    struct framework *prev, *next;
};

/* A framework that was torn down: its id is dead. */
struct completed {
    char *id;
    struct completed *prev, *next;
};

/* ---------------- agents ---------------- */

enum agent_state { AGENT_REGISTERED, AGENT_DISCONNECTED, AGENT_UNREACHABLE, AGENT_GONE, AGENT_RECOVERED };

/* An offer that is out. */
struct offered {
    char id[ID_BYTES];
    struct framework *fw;
    struct agent *agent;
    const char *role; /* of fw */
    struct res res;
    struct timer timeout;
    UT_hash_handle hh;
    struct offered *fw_prev, *fw_next, *agent_prev, *agent_next;
};

/* "Don't offer me this for a while." */
struct refusal {
    struct framework *fw;
    uint32_t epoch;
    const char *role;
    int64_t until_ms;
    struct res res;
    struct refusal *next;
};

struct executor {
    struct framework *fw;
    struct agent *agent;
    char *id;
    struct res res;
    const char *role;
    struct buf identity; /* executor_identity() */
    uint32_t n_tasks;    /* not terminal at the agent */
    struct timer exit;
    struct executor *next;
};

struct agent {
    struct master *m;
    uint32_t number; /* from 1; its pid is slave(number) */
    char id[ID_BYTES];
    char *hostname;
    struct res total, free; /* free: neither offered nor used, as the master sees it */
    Mesos__Attribute **attributes;
    uint32_t n_attributes;
    bool has_gpus;
    enum agent_state state;
    int64_t unreachable_ms;
    struct timer timer; /* disconnected: becomes unreachable; recovered: comes back */
    struct offered *offers;
    struct refusal *refusals;
    struct executor *executors;
    struct task *tasks;
    int64_t quiet_until_ms; /* nothing to offer before, unless that is set back to 0 */
    UT_hash_handle hh;
};

/* ---------------- tasks ---------------- */

struct update {
    uint8_t uuid[16];
    Mesos__TaskState state;
    Mesos__TaskStatus__Source source;
    int reason; /* -1: none */
    char *message;
    double timestamp;
    struct update *next;
};

struct task {
    char *id;
    char *name;
    struct framework *fw;
    struct agent *agent;
    struct executor *executor; /* NULL: a command task; also once the executor is gone */
    char *executor_id;
    bool custom; /* came with an ExecutorInfo */
    struct res res;
    const char *role;
    int64_t kill_grace_ms; /* -1: the default */
    char *command;         /* for GET /state; NULL */

    /* the agent's half */
    bool on_agent;
    Mesos__TaskState run_state;
    struct update *queue; /* the head is out for acknowledgement */
    int64_t backoff_ms;
    struct timer retry, sim;
    bool killing;
    Mesos__TaskState outcome;  /* of a simulation */
    struct sim_script *script; /* NULL: the master's */
    void *run;                 /* the runner's; NULL: simulated or over */
    char *run_path;            /* of the sandbox; NULL: simulated */

    /* the master's half */
    bool at_master, unreachable, kill_wanted;
    Mesos__TaskState state;
    bool has_status; /* an update has been forwarded */
    Mesos__TaskState status_state;
    uint8_t status_uuid[16];

    UT_hash_handle hh;        /* in fw->tasks */
    struct task *prev, *next; /* in agent->tasks */
};

/* ---------------- the master ---------------- */

struct authentication {
    struct upid pid;
    bool pending;
    char *principal;    /* when done */
    struct buf waiting; /* a packed SUBSCRIBE call */
    struct authentication *next;
};

struct master {
    struct master_config config;
    char *hostname;
    char id[MASTER_ID_BYTES];
    int64_t now_ms;
    struct rng rng;
    struct timerq timers;
    struct timer batch;  /* every allocation interval, over all agents */
    struct timer prompt; /* soon, over agents that became candidates */
    struct res_table *table;
    struct framework *frameworks;
    struct completed *completed;
    uint32_t n_completed;
    struct agent *agents; /* uthash by id, in order of arrival */
    uint32_t n_agents, n_recovered, last_agent;
    struct offered *offers; /* uthash by id */
    uint64_t next_framework, next_offer;
    struct authentication *authentications;
    struct master_totals totals; /* the counters of it */
};

/* ---------------- frameworks.c ---------------- */

struct framework *framework_find(struct master *m, const char *id);
struct framework *framework_by_pid(struct master *m, const struct upid *pid);
bool framework_connected(const struct framework *f);
/* Sends to its scheduler. */
void framework_send(struct master *m, struct framework *f, const char *name, const ProtobufCMessage *msg);
void framework_error(struct master *m, const struct upid *to, const char *text);
void framework_subscribe(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info, bool force,
                         char *const *suppressed, size_t n_suppressed);
void framework_deactivate(struct master *m, struct framework *f, bool rescind);
void framework_disconnect(struct master *m, struct framework *f);
/* Tasks die, the id is dead. */
void framework_teardown(struct master *m, struct framework *f);
/* A new master forgets it; frees it unless agents have tasks of it. */
void framework_forget(struct master *m, struct framework *f);
void framework_free(struct master *m, struct framework *f);
/* What the framework holds, for fairness: tasks, executors and offers. */
void framework_charge(struct framework *f, const struct res *r, int sign);
struct framework_role *framework_role(struct framework *f, const char *name);
void authentication_forget(struct master *m, const struct upid *pid);
void completed_clear(struct master *m);

/* ---------------- calls.c, launch.c ---------------- */

void call_dispatch(struct master *m, const struct upid *from, const Mesos__Scheduler__Call *call);
void call_accept(struct master *m, struct framework *f, Mesos__OfferID *const *offer_ids, size_t n_offer_ids,
                 Mesos__Offer__Operation *const *ops, size_t n_ops, const Mesos__Filters *filters);
void call_reconcile(struct master *m, struct framework *f, const Mesos__Scheduler__Call__Reconcile *r);

/* ---------------- offers.c ---------------- */

/* The agent may have something to offer now; `prompt`: don't wait for the next interval. */
void offers_candidate(struct master *m, struct agent *a, bool prompt);
void offers_prompt_all(struct master *m);
void offers_start(struct master *m);
struct offered *offer_find(struct master *m, const char *id);
/* The resources go back. filters: of a decline; NULL: none. The offer is freed. */
void offer_discard(struct master *m, struct offered *o, const Mesos__Filters *filters);
void offer_rescind(struct master *m, struct offered *o);
/* Takes it out of all lists without giving anything back; the caller has o->res. */
void offer_remove(struct master *m, struct offered *o);
/* Gives resources of an answered offer back, with what the answer says about the next time. */
void offer_recover(struct master *m, struct framework *f, struct agent *a, const char *role, const struct res *res,
                   const Mesos__Filters *filters);
void refusals_clear(struct agent *a);

/* ---------------- agents.c ---------------- */

const char *agent_pid(const struct agent *a, char out[UPID_TEXT_MAX]);
struct agent *agent_find(struct master *m, const char *id);
struct executor *executor_find(struct agent *a, const struct framework *f, const char *id);
struct executor *executor_new(struct agent *a, struct framework *f, const Mesos__ExecutorInfo *info,
                              struct res_table *t, const char *role);
/* Frees it and gives its resources back to the master's account. */
void executor_remove(struct agent *a, struct executor *e);
void agent_unreachable(struct master *m, struct agent *a, const char *why);
void agent_free(struct master *m, struct agent *a);

/* ---------------- tasks.c ---------------- */

struct task *task_known(struct framework *f, const char *id);
/* Made by a launch; takes over *res; both halves are live and the state is STAGING. */
struct task *task_new(struct master *m, struct framework *f, struct agent *a, const Mesos__TaskInfo *info,
                      struct res *res, const char *role);
/* The agent runs or simulates it. */
void task_start(struct master *m, struct task *t, const Mesos__TaskInfo *info);
void task_kill(struct master *m, struct task *t, int64_t grace_ms);
/* Drops a half; frees the task when both are gone. */
void task_drop_agent_half(struct master *m, struct task *t);
void task_drop_master_half(struct master *m, struct task *t);
/* The agent sends its pending update again, as after a reconnect. */
void task_resume(struct master *m, struct task *t);
/* The agent is asked about a task that it hasn't: it says so, in an update of its own. */
void task_missing(struct master *m, struct task *t);
void task_acknowledge(struct master *m, struct task *t, const uint8_t uuid[16]);
/* Frees its resources in the master's account if it wasn't terminal. */
void task_set_state(struct master *m, struct task *t, Mesos__TaskState state);
bool task_uses_resources(const struct task *t);
/* What the master says by itself; no uuid. task_id etc. of things unknown may be NULL. with_pid: the null pid, as in
 * all but reconciliation. unreachable_ms -1: not set. */
struct master_update {
    const char *task_id, *agent_id, *executor_id;
    Mesos__TaskState state;
    int reason;
    const char *message;
    bool with_pid;
    int64_t unreachable_ms;
};
void master_update(struct master *m, struct framework *f, const struct master_update *u);
void sim_start(struct master *m, struct task *t, const Mesos__TaskInfo *info);
void sim_kill(struct master *m, struct task *t);

#endif
