/* What a Mesos master checks before it acts, with its own words (reference: mesos-scheduler, sections 4, 8 and 11).
 * Pure. Each function returns true when all is well, else it appends the reason to err. */
#ifndef AURORA_MESOS_LOCAL_VALIDATE_H
#define AURORA_MESOS_LOCAL_VALIDATE_H

#include "mesos/local/resources.h"

#include "mesos/scheduler.pb-c.h"

/* Ids of frameworks, tasks and executors. */
bool validate_id(const char *id, struct buf *err);
bool validate_role(const char *role, struct buf *err);
/* Roles, id and failover_timeout; what a FrameworkError says on SUBSCRIBE. */
bool validate_framework_info(const Mesos__FrameworkInfo *info, struct buf *err);
/* The parts that every call of its type must have; failing calls are dropped in silence. */
bool validate_call(const Mesos__Scheduler__Call *call, struct buf *err);
/* 16 bytes whose version nibble is one of RFC 4122. */
bool validate_uuid(const uint8_t *p, size_t n);
bool framework_has(const Mesos__FrameworkInfo *info, Mesos__FrameworkInfo__Capability__Type type);

/* All resources of one operation's tasks; failing it fails every task of the operation. */
bool validate_operation(const Mesos__Offer__Operation *op, struct buf *err);

enum task_known { TASK_NOT_KNOWN, TASK_KNOWN, TASK_KNOWN_UNREACHABLE };

/* What one task of a LAUNCH is held against. */
struct launch_context {
    struct res_table *table;
    const char *framework_id;
    const char *agent_id;
    const char *role; /* the offer's allocation */
    const struct res *available;
    enum task_known (*known)(const char *task_id, void *arg);
    /* The packed ExecutorInfo of that id which the framework runs on the agent, or unset. */
    struct str (*executor)(const char *executor_id, void *arg);
    void *arg;
};

/* Tasks of operations that passed validate_operation(). On success *ret_total is what the launch takes: the task's
 * resources and, for a new executor, its own; the caller releases it. */
bool validate_task(const struct launch_context *c, const Mesos__TaskInfo *task, struct res *ret_total, struct buf *err);

/* The bytes by which two ExecutorInfos are compared: with the framework id that the master fills in. Appended to out.
 */
void executor_identity(const Mesos__ExecutorInfo *e, const char *framework_id, struct buf *out);

#endif
