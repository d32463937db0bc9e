/* The executors that a task may name, from flags and the custom_executor_config file (reference: scheduling §12).
 *
 *   AuroraExecutor    Thermos: one URI and a command line, overhead from flags, task id prefix "thermos-". Absent
 *                     without a thermos_executor_path.
 *   CommandExecutor   ours: executorConfig.data is a shell command and the task becomes one of Mesos's own command
 *                     executor (TaskInfo.command), so a plain Mesos cluster is enough. No overhead, no ExecutorInfo.
 *   all others        an ExecutorInfo of the configuration file, under its name. */
#ifndef AURORA_MESOS_EXECUTORS_H
#define AURORA_MESOS_EXECUTORS_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/sched.h"

#include "mesos/mesos.pb-c.h"

#define EXECUTOR_THERMOS "AuroraExecutor"
#define EXECUTOR_COMMAND "CommandExecutor"

struct executor {
    struct str name;
    struct str task_prefix;          /* of ExecutorInfo.executor_id */
    const Mesos__ExecutorInfo *info; /* executor_id unset; NULL: a command task */
    Mesos__Volume **volumes;         /* mounted into every container of this executor */
    size_t n_volumes;
};

/* Flags, as given. Unset strings: the flag is absent. */
struct executors_config {
    struct str thermos_executor_path, thermos_executor_flags, thermos_executor_resources /* comma list of URIs */;
    bool thermos_home_in_sandbox;
    milli thermos_cpus, thermos_ram_mb;
    struct str global_container_mounts; /* comma list of host:container:ro|rw; for AuroraExecutor */
    struct str custom_executor_config;  /* the content of the file */
};

struct executors;

/* Everything is copied. On ERR_INVALID, err_text says what is wrong, in words for an operator. */
int executors_new(const struct executors_config *c, struct executors **ret, struct buf *err_text);
void executors_free(struct executors *e);

/* NULL if no executor is called so. */
const struct executor *executors_find(const struct executors *e, struct str name);
/* What the core needs to know of them (name and overhead), for sched_config. Lives as long as e. */
struct executor_setting *executors_settings(const struct executors *e, uint32_t *ret_n);

#endif
