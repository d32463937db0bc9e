/* A Mesos master with its agents, as far as a scheduler sees them: registration and fail-over of the framework, offers,
 * launches, status updates that agents repeat until they are acknowledged, kills, reconciliation, agents that are lost.
 * Every agent has room for some tasks of one cpu.
 *
 * A link is one scheduler process's connection. Its messages keep their order, as TCP does, but any may be lost; when
 * it is cut all that are under way are. Only the scheduler that registered last is listened to. */
#ifndef AURORA_SIM_MESOS_H
#define AURORA_SIM_MESOS_H

#include "core/sched.h"
#include "test/sim/lib/loop.h"

#define MESOS_AGENTS 4
#define MESOS_CPUS 6

/* mesos.TaskState */
enum { MESOS_STARTING, MESOS_RUNNING, MESOS_FINISHED, MESOS_FAILED, MESOS_KILLED, MESOS_LOST };

struct mesos;
struct mesos_link;

struct mesos_faults {
    unsigned lose;       /* of messages; per mille */
    unsigned task_ends;  /* of tasks that end by themselves after a while; per mille */
    unsigned agent_lost; /* per second; per mille */
    uint64_t delay_max_us;
};

struct mesos *mesos_new(struct world *w);
/* Nothing more begins by itself. */
void mesos_stop(struct mesos *m);
/* The world has come to its end. */
void mesos_free(struct mesos *m);
void mesos_set_faults(struct mesos *m, const struct mesos_faults *f);

/* on_event: registered, offers, ...; borrowed until it returns. on_fatal: another scheduler has taken over. */
struct mesos_link *mesos_connect(struct mesos *m, struct loop *loop,
                                 void (*on_event)(struct sched_event *ev, void *arg), void (*on_fatal)(void *arg),
                                 void *arg);
/* The process is gone. No callback any more. */
void mesos_vanish(struct mesos_link *l);
/* Breaks the connection; the process sees EV_DISCONNECTED and is to register again. */
void mesos_cut(struct mesos_link *l);
/* framework_id: unset at the very first time. */
void mesos_register(struct mesos_link *l, struct str framework_id);
/* Any effect but a reply. */
void mesos_effect(struct mesos_link *l, const struct effect *e);

/* The state that an update with this uuid reported. */
int mesos_state_of(const uint8_t uuid[16]);
/* fn for each task that is alive on an agent. */
void mesos_each_task(const struct mesos *m, void (*fn)(struct str task_id, int state, void *arg), void *arg);
unsigned mesos_launched(const struct mesos *m);

#endif
