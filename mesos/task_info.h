/* What Mesos is told of a task that is to start (reference: scheduling §11). */
#ifndef AURORA_MESOS_TASK_INFO_H
#define AURORA_MESOS_TASK_INFO_H

#include "core/sched.h"
#include "mesos/executors.h"

#include "mesos/mesos.pb-c.h"

struct task_info_config {
    const struct executors *executors;
    struct str cluster_name;
    bool populate_discovery_info;
};

/* One task of an EFFECT_LAUNCH on the offer that it uses. The result is in a and points into the task and the offer.
 * Carved resources are copies of the offer's entries (role, reservation, disk and allocation info as they came) with
 * other amounts. ERR_INVALID, with the reason in *ret_why: the executor is not configured, no tier, or a carve does not
 * fit the offer. */
int task_info_build(const struct launch_task *lt, const Mesos__Offer *offer, const struct task_info_config *c,
                    struct arena *a, Mesos__TaskInfo **ret, const char **ret_why);

#endif
