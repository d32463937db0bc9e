/* A Mesos master with its agents, as far as a v0 scheduler can tell (reference: mesos-scheduler). Pure: messages, time
 * and what became of commands come in through calls; messages to schedulers and orders to run commands leave through
 * `struct master_io`. mesos/local/wire.c puts it on the network, mesos/local/runner.c runs the commands.
 *
 * Master and agents are objects of one process without messages between them, but their memories are kept apart: an
 * agent that is away goes on with its tasks, a new master knows nothing until agents and schedulers come back.
 *
 * One clock: milliseconds since the epoch that never go back; every call that takes `now_ms` sets it. */
#ifndef AURORA_MESOS_LOCAL_MASTER_H
#define AURORA_MESOS_LOCAL_MASTER_H

#include "mesos/local/resources.h"
#include "mesos/local/sim.h"

#include "net/libprocess.h"

#include "mesos/mesos.pb-c.h"

struct master;
struct agent;
struct task;

/* What the world must do. Arguments are borrowed for the call. None of them may call back into the master. */
struct master_io {
    /* A message from `master` to a scheduler. */
    void (*send)(const struct upid *to, const char *name, const ProtobufCMessage *message, void *arg);
    /* Watches the connection to that process: master_exited() when it breaks. */
    void (*link)(const struct upid *peer, void *arg);
    /* Runs a command task for real; what becomes of it comes back through master_task_event(). Returns the runner's
     * handle, which is what `kill` and `forget` get. NULL (the whole function): every task is simulated. */
    void *(*run)(struct task *t, const Mesos__TaskInfo *info, void *arg);
    /* Ends the command with grace; master_task_event() follows. */
    void (*kill)(void *run, int64_t grace_ms, void *arg);
    /* Ends it at once; the task is gone and no event must follow. */
    void (*forget)(void *run, void *arg);
    void *arg;
};

struct master_config {
    struct upid self;
    const char *hostname;
    uint64_t seed;
    int64_t allocation_interval_ms;
    int64_t offer_timeout_ms;    /* 0: offers stay */
    int64_t agent_reregister_ms; /* a disconnected agent that stays away so long is unreachable */
    bool authenticate;           /* frameworks must be authenticated (master_authenticated) */
    struct sim_script script;    /* for tasks that are not run */
    struct master_io io;
};

/* Strings of config are copied. */
struct master *master_new(const struct master_config *c, int64_t now_ms);
void master_free(struct master *m);
const char *master_id(const struct master *m);
/* Once the port is known. */
void master_set_self(struct master *m, const struct upid *self);
/* The earliest deadline or -1. */
int64_t master_next(const struct master *m);
void master_run(struct master *m, int64_t now_ms);

/* ---------------- schedulers ---------------- */

/* A message for process `master`; unknown and broken ones are dropped. Authentication is wire.c's. */
void master_receive(struct master *m, const struct upid *from, struct str name, const void *body, size_t n,
                    int64_t now_ms);
void master_exited(struct master *m, const struct upid *peer, int64_t now_ms);
/* As if the connection to that framework's scheduler had broken. ERR_NOT_FOUND: no such connected framework. */
int master_disconnect(struct master *m, const char *framework_id, int64_t now_ms);
/* An authentication of that process begins (its SUBSCRIBE waits, its old status is gone) and ends: principal NULL when
 * it failed, which loses the waiting SUBSCRIBE. */
void master_authenticating(struct master *m, const struct upid *peer, int64_t now_ms);
void master_authenticated(struct master *m, const struct upid *peer, const char *principal, int64_t now_ms);

/* ---------------- agents ---------------- */

struct agent_spec {
    struct str resources; /* res_parse() */
    struct str
        attributes; /* "rack:r%d;zone:a": %d becomes the agent's number; numbers are scalars, [a-b] ranges, else text */
    struct str hostname; /* likewise */
};

/* Adds n agents. ERR_MALFORMED, ERR_TOO_BIG (LIMIT_LOCAL_AGENTS); then none is added. */
int master_add_agents(struct master *m, const struct agent_spec *spec, uint32_t n, int64_t now_ms, struct buf *err);
/* By full id, by its part from "S" on, or by host name. */
struct agent *master_find_agent(struct master *m, const char *name);

enum agent_loss {
    AGENT_LOSS_DISCONNECT,  /* its connection breaks: offers are rescinded, tasks stay */
    AGENT_LOSS_UNREACHABLE, /* it doesn't answer pings */
    AGENT_LOSS_GONE,        /* an operator has marked it gone: it can't come back */
};

/* ERR_REFUSED when it is in that state already or gone. kill_tasks: its tasks die with it, unreported. */
int master_lose_agent(struct master *m, struct agent *a, enum agent_loss how, bool kill_tasks, int64_t now_ms);
/* ERR_REFUSED when it isn't away, or gone. kill_tasks: it comes back without its tasks. */
int master_return_agent(struct master *m, struct agent *a, bool kill_tasks, int64_t now_ms);
/* The master dies and another one with another id takes over at the same address: it knows no framework, and no agent
 * until each has come back, which they do evenly over the time from after_ms to after_ms + spread_ms. after_ms < 0: by
 * master_return_agent() only. */
void master_failover(struct master *m, int64_t after_ms, int64_t spread_ms, int64_t now_ms);
/* Takes back an offer, or all with NULL, and tells its owner. Returns how many. */
uint32_t master_rescind(struct master *m, const char *offer_id, int64_t now_ms);

/* ---------------- tasks ---------------- */

/* A task that an agent has, by id; framework_id NULL: of any framework. */
struct task *master_find_task(struct master *m, const char *framework_id, const char *task_id);
const char *task_id(const struct task *t);
const char *task_framework_id(const struct task *t);
const char *task_agent_id(const struct task *t);
const char *task_executor_id(const struct task *t);
const char *task_agent_hostname(const struct task *t);
const char *task_role(const struct task *t);
bool task_is_real(const struct task *t); /* a command is running */
/* The runner's word on where the task runs: shown in /state. Copied. */
void task_set_sandbox(struct task *t, const char *path);
/* The state changes at its agent: queues a status update. reason -1: none; message NULL: none. After a terminal one
 * more are ignored, and the runner's handle is not used any more. */
void master_task_event(struct master *m, struct task *t, Mesos__TaskState state, int reason, const char *message,
                       int64_t now_ms);
bool task_state_terminal(Mesos__TaskState s);

/* ---------------- looking in ---------------- */

struct master_totals {
    uint32_t agents, agents_registered, frameworks, offers, tasks;
    uint64_t launched, updates_sent, acknowledged, offers_sent;
};
void master_totals(const struct master *m, struct master_totals *ret);
/* "TASK_RUNNING". */
const char *task_state_name(Mesos__TaskState s);
/* JSON for GET /state: all frameworks, and of agents and tasks those from `from` to `from` + n. */
void master_write_state(const struct master *m, uint32_t from, uint32_t n, struct buf *out);

#endif
