/* libuv on virtual time: the few of its functions that log/stream.c, log/replay.c, zk/election.c and the wiring of a
 * simulated process call are defined in loop.c and take the place of the library's. One loop is one process; a process
 * that is stopped (SIGSTOP) has its callbacks put off, one that is dead gets only those that free its memory. */
#ifndef AURORA_SIM_LOOP_H
#define AURORA_SIM_LOOP_H

#include "test/sim/lib/world.h"

#include <uv.h>

struct loop {
    uv_loop_t uv; /* first: what handles point to */
    struct world *w;
    uint64_t work_max_us; /* how long a job of the pool takes */
    uint64_t resume_us;   /* stopped until then */
    bool dead;
    unsigned due; /* callbacks that are still to come, those that were cancelled included */
    /* Dead, and nothing will come any more. Last callback. */
    void (*on_drained)(struct loop *l);
};

void loop_init(struct loop *l, struct world *w);
/* From now on only closing and finished jobs call back. */
void loop_kill(struct loop *l);

#endif
