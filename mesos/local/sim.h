/* What simulated tasks do: states and durations, one script for all and a task's own in its command or label.
 *
 * Text form, parts separated by blanks: "starting=10 running=50 lifetime=1000-5000 outcome=failed:10,finished:90 kill=0
 * message=words to the end". Times are milliseconds since the previous state; a range is drawn uniformly; lifetime=- is
 * forever; weights are relative. */
#ifndef AURORA_MESOS_LOCAL_SIM_H
#define AURORA_MESOS_LOCAL_SIM_H

#include "core/buf.h"
#include "core/rng.h"

#include "mesos/mesos.pb-c.h"

struct sim_span {
    int64_t min_ms, max_ms; /* min < 0: never */
};

enum { SIM_OUTCOMES = 5 };

struct sim_script {
    struct sim_span starting, running, lifetime, kill;
    uint32_t weight[SIM_OUTCOMES]; /* as sim_outcomes[] */
    char message[128];             /* of the outcome; "" = a text as the command executor would give */
};

/* TASK_FINISHED, TASK_FAILED, TASK_KILLED, TASK_LOST, TASK_ERROR. */
extern const Mesos__TaskState sim_outcomes[SIM_OUTCOMES];

/* STARTING and RUNNING at once, then until killed. */
void sim_defaults(struct sim_script *s);
/* Changes what the text mentions; on failure the script is unchanged and a reason is appended to err. ERR_MALFORMED. */
int sim_parse(struct str text, struct sim_script *s, struct buf *err);
/* -1: never. */
int64_t sim_draw(const struct sim_span *span, struct rng *r);
Mesos__TaskState sim_draw_outcome(const struct sim_script *s, struct rng *r);

#endif
