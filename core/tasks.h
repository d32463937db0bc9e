/* The state manager: the only code that changes tasks. Each change goes through the table of core/task_fsm.h, its
 * actions are carried out in the table's order, and everybody concerned is told at the end of the step's event
 * (changes_deliver). */
#ifndef AURORA_CORE_TASKS_H
#define AURORA_CORE_TASKS_H

#include "core/sched_impl.h"

struct task_order {
    enum api_schedule_status to;
    int only_from;       /* do nothing unless the task is in this state; -1 = from any */
    struct str message;  /* of the event; unset = none */
    struct str agent_id; /* where a task that we do not know runs, if that is known */
    const char *cause;   /* one word for the log: "status-update", "kill-tasks", "timeout", ... */
};

enum task_result {
    TASK_RESULT_NOOP,
    TASK_RESULT_SUCCESS,
    TASK_RESULT_ILLEGAL,
    TASK_RESULT_ILLEGAL_WITH_SIDE_EFFECTS,
    TASK_RESULT_INVALID_CAS_STATE
};
const char *task_result_name(enum task_result r); /* "NOOP", as in stats */

enum task_result task_change(struct sched *s, struct str task_id, const struct task_order *order);

/* New instances, PENDING at once. The caller has checked that no active task has one of the ids. */
void tasks_insert(struct sched *s, struct config *config, const int32_t *instance_ids, uint32_t n, const char *cause);
/* PENDING -> ASSIGNED with agent, host and ports; the new version, pinned. */
const struct task *task_assign(struct sched *s, const struct task *t, struct str agent_id, struct str host,
                               const struct assigned_port *ports, uint32_t n_ports);
/* Removes the rows without asking the state machine. Unknown ids are ignored; the number of those removed. */
uint32_t tasks_delete(struct sched *s, const struct str *ids, uint32_t n, const char *cause);

#endif
