/* Nothing that a local agent runs outlives it: each command has a session of its own, and a guard process kills the
 * sessions that are left when this process ends, however it ends. */
#ifndef AURORA_MESOS_LOCAL_GUARD_H
#define AURORA_MESOS_LOCAL_GUARD_H

#include <sys/types.h>

struct guard {
    pid_t pid; /* 0: not started */
    int fd;
};

/* Forks the guard; call it before there are threads. ERR_IO. */
int guard_start(struct guard *g);
void guard_add(struct guard *g, pid_t session);
void guard_remove(struct guard *g, pid_t session);
/* Kills all sessions that were added and not removed, and waits until the guard has done so. */
void guard_stop(struct guard *g);

/* Sends the signal to every process of the session (found in /proc), and to the group of that number. */
void session_signal(pid_t session, int signo);

#endif
