/* The local master on the network: libprocess messages in and out through the fault rules, authentication, the clock,
 * commands that really run, and the HTTP controls on the same port (mesos/local/control.h). */
#ifndef AURORA_MESOS_LOCAL_WIRE_H
#define AURORA_MESOS_LOCAL_WIRE_H

#include "mesos/local/authn.h"
#include "mesos/local/faults.h"
#include "mesos/local/guard.h"
#include "mesos/local/master.h"
#include "mesos/local/options.h"
#include "mesos/local/runner.h"

#include <uv.h>

struct wire {
    uv_loop_t *loop;
    struct options options; /* strings are the caller's */
    char work_dir[512];     /* absolute, without links */
    struct libprocess *lp;  /* NULL while the master is down */
    struct lp_process *process;
    uint16_t port; /* bound; kept over a fail-over */
    struct master *m;
    struct runner *runner;
    struct guard *guard;
    struct authn *authn;
    struct faults *faults;
    struct timerq timers;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_timer_t restart;
    int64_t down_ms;
    int64_t clock_base_ms; /* wall clock minus loop clock, from the start */
    struct buf scratch;
    int open_handles;
    bool closing;
    void (*cb)(void *arg);
    void *arg;
};

/* Listens, with the agents of the options. `guard` outlives it; credentials: the file's text or unset. Errors are those
 * of libprocess_new(), master_add_agents(), authn_load() and ERR_IO for the work folder, with a line for the user in
 * err. */
int wire_start(struct wire *w, uv_loop_t *loop, const struct options *o, struct str credentials, struct guard *guard,
               struct buf *err);
int64_t wire_now(const struct wire *w);
/* The master dies a moment later, its connections with it, and comes back at the same address as another one after
 * down_ms; agents come back agents_after_ms later (master_failover()). ERR_BUSY: it is down. */
int wire_failover(struct wire *w, int64_t down_ms, int64_t agents_after_ms, int64_t agents_spread_ms);
/* Kills all tasks and closes everything; cb when no handle is left. */
void wire_close(struct wire *w, void (*cb)(void *arg), void *arg);

#endif
