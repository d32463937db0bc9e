/* Runs commands of tasks: a sandbox folder with stdout and stderr, a session of their own, and an end that is reported
 * as Mesos's command executor words it. Folders and files are made with plain system calls: they are local and few. */
#ifndef AURORA_MESOS_LOCAL_RUNNER_H
#define AURORA_MESOS_LOCAL_RUNNER_H

#include "mesos/local/guard.h"
#include "mesos/local/master.h"

#include <uv.h>

struct runner;

struct runner_config {
    uv_loop_t *loop;
    const char *work_dir; /* absolute; made if missing */
    struct upid self;     /* the address that tasks are told of */
    uint64_t seed;        /* of container ids */
    struct guard *guard;  /* outlives the runner */
    void (*on_event)(struct task *t, Mesos__TaskState state, int reason, const char *message, void *arg);
    void *arg;
};

/* ERR_IO: the work folder can't be made. */
int runner_new(const struct runner_config *c, struct runner **ret);
void runner_set_self(struct runner *r, const struct upid *self);
/* As master_io wants them. Events come later, from the loop. */
void *runner_run(struct runner *r, struct task *t, const Mesos__TaskInfo *info);
void runner_kill(void *run, int64_t grace_ms);
void runner_forget(void *run);
/* Kills everything; cb when all handles are closed. No event comes any more. */
void runner_close(struct runner *r, void (*cb)(void *arg), void *arg);

/* "exited with status 3", "terminated with signal Killed". */
void exit_text(int64_t exit_status, int term_signal, struct buf *out);

#endif
