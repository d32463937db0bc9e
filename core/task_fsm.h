/* The life of a task as one table: for every pair of states, whether the change is legal and which actions it takes.
 * The table knows nothing of storage, Mesos or time; core/tasks.c carries the actions out. */
#ifndef AURORA_CORE_TASK_FSM_H
#define AURORA_CORE_TASK_FSM_H

#include "api.gen.h"

/* The pseudo state of a task that the store does not have. */
#define TASK_ABSENT ((enum api_schedule_status)19)
#define TASK_STATES 20

/* Sets of states, as bits. */
#define STATUS_BIT(s) (UINT32_C(1) << (s))
#define ST(name) STATUS_BIT(API_SCHEDULE_STATUS_##name)
#define TASKS_TERMINAL (ST(FAILED) | ST(FINISHED) | ST(KILLED) | ST(LOST))
#define TASKS_SLAVE_ASSIGNED                                                                                           \
    (ST(ASSIGNED) | ST(DRAINING) | ST(KILLING) | ST(PREEMPTING) | ST(RESTARTING) | ST(RUNNING) | ST(STARTING) |        \
     ST(PARTITIONED))
#define TASKS_ACTIVE (TASKS_SLAVE_ASSIGNED | ST(PENDING) | ST(THROTTLED))
/* States that must not last: a timeout makes the task LOST. */
#define TASKS_TRANSIENT (ST(ASSIGNED) | ST(PREEMPTING) | ST(RESTARTING) | ST(KILLING) | ST(DRAINING))
/* A task that was interrupted from outside has not flapped. */
#define TASKS_INTERRUPTED (ST(RESTARTING) | ST(KILLING) | ST(DRAINING))

static inline bool status_in(enum api_schedule_status s, uint32_t set)
{
    return (STATUS_BIT(s) & set) != 0;
}

/* In the order in which they are carried out: failures are counted before the copy is made, the copy is made before
 * anything is deleted. */
#define TASK_ACTION_MAP(X)                                                                                             \
    X(COUNT_FAILURE)                                                                                                   \
    X(SAVE)                                                                                                            \
    X(RESCHEDULE)                                                                                                      \
    X(MAKE_LOST) /* a second change, to LOST */                                                                        \
    X(KILL)                                                                                                            \
    X(DELETE)

enum task_action_order {
#define X(name) TASK_##name##_AT,
    TASK_ACTION_MAP(X)
#undef X
        TASK_ACTIONS
};
enum task_action {
#define X(name) TASK_##name = 1 << TASK_##name##_AT,
    TASK_ACTION_MAP(X)
#undef X
};

/* What some cells depend on. */
struct task_facts {
    bool is_service;
    int32_t max_task_failures; /* -1: no limit */
    int32_t failure_count;     /* before this change */
    bool was_killing;          /* a KILLING event is in the task's history */
};

enum task_change { TASK_NOOP, TASK_CHANGED, TASK_ILLEGAL, TASK_ILLEGAL_WITH_ACTIONS };

/* What a change from `from` (or TASK_ABSENT) to `to` means: *ret_actions is a mask of enum task_action. */
enum task_change task_fsm(enum api_schedule_status from, enum api_schedule_status to, const struct task_facts *facts,
                          unsigned *ret_actions);

#endif
