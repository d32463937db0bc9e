/* log/log.h over a node of the simulated cluster: what log/stream.c calls. In the place of log/log.c, whose wiring of
 * the roles is the node's (test/sim/lib/cluster.h), and of its storage, which is the node's disk. */
#ifndef AURORA_SIM_SIMLOG_H
#define AURORA_SIM_SIMLOG_H

#include "log/log.h"
#include "test/sim/lib/cluster.h"

/* The node is up; the log ends before the node's life does. */
struct log *simlog_new(struct node *n);
/* Requests that are under way get ERR_CLOSED. */
void simlog_free(struct log *l);
/* The node has ended an election or a write. */
void simlog_done(struct log *l, int err);
/* The node's replica has stepped or stored something, or begun to vote. */
void simlog_changed(struct log *l);

#endif
