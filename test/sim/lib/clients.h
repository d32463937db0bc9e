/* Users of the cluster: each creates jobs, reads them, restarts and kills them, through whatever scheduler it takes for
 * the leader, and asks again until it has a definite answer. Every answer is held against the history of the log when
 * it leaves the scheduler.
 *
 * One kind of answer can't be held against it: a leader that was deposed without knowing it answers what needs no entry
 * (a read, a kill of nothing) from its memory. Such an answer is counted, not trusted; it must still be some state of
 * the log. */
#ifndef AURORA_SIM_CLIENTS_H
#define AURORA_SIM_CLIENTS_H

#include "test/sim/lib/process.h"

#define CLIENTS 3
/* Live instances of all jobs together; the agents have room for them when one agent is away. */
#define CLIENTS_INSTANCES_MAX 14

enum ask { ASK_CREATE, ASK_READ, ASK_RESTART, ASK_KILL, ASKS };
enum job_state { JOB_UNKNOWN, JOB_LIVE, JOB_KILLED };

struct test_job {
    unsigned owner, instances;
    enum job_state state;
};

struct client {
    struct clients *all;
    unsigned id, host; /* host: it asks next */
    bool busy;         /* with this: */
    enum ask ask;
    unsigned job, instance;
    uint64_t attempt; /* grows over all questions */
    unsigned delivered;
    uint64_t floor; /* what was known when it was asked */
    uint64_t give_up_us;
};

struct clients {
    struct sched_cluster *s;
    unsigned lose; /* of messages; per mille */
    uint64_t delay_max_us;
    unsigned tick_ms;
    bool stopped; /* nothing new is asked */
    struct client v[CLIENTS];
    struct test_job jobs[TRUTH_JOBS_MAX];
    unsigned n_jobs;
    uint64_t known; /* op that some client knows to be in the log */
    unsigned answers[ASKS], doubtful;
};

void clients_init(struct clients *all, struct sched_cluster *s);
/* Of sched_cluster.on_reply. */
void clients_on_reply(struct clients *all, struct host *h, uint64_t cookie, const struct api_response *response);
bool clients_are_idle(const struct clients *all);
/* A new job by the first client, which must be idle. Its number. */
unsigned clients_create(struct clients *all);

#endif
