/* A scheduler cluster in one process: hosts on which scheduler processes live and die, with what they need around them.
 * A process runs the real core, pipeline, stream, replay and election over a node of the simulated log cluster; what
 * admin/app.c, admin/standby.c and mesos/driver.c do between them is here in a few lines. */
#ifndef AURORA_SIM_PROCESS_H
#define AURORA_SIM_PROCESS_H

#include "core/sched.h"
#include "test/sim/lib/cluster.h"
#include "test/sim/lib/mesos.h"
#include "test/sim/lib/truth.h"
#include "test/sim/lib/zookeeper.h"

struct process;

struct host {
    struct sched_cluster *s;
    unsigned id;
    int64_t clock_ms;  /* how far its clock is ahead */
    struct process *p; /* NULL: down */
};

struct sched_cluster {
    struct cluster c; /* first: the node's callbacks find the whole by it */
    struct truth truth;
    struct zookeeper *zk;
    struct mesos *mesos;
    struct host hosts[SIM_NODES_MAX];
    bool over;          /* nothing begins any more */
    unsigned processes; /* whose memory is not free yet */
    uint64_t snapshot_max_us;
    unsigned n_takeovers, n_comparisons;
    /* A process has ended, or died with its log. */
    void (*on_exit)(struct host *h);
    void (*on_reply)(struct host *h, uint64_t cookie, const struct api_response *response);
};

void sched_cluster_init(struct sched_cluster *s, uint64_t seed, unsigned n, bool auto_initialize);
/* Kills what lives and lets the world come to its end. */
void sched_cluster_release(struct sched_cluster *s);

void process_start(struct host *h);
void process_kill(struct host *h);
void process_pause(struct host *h, uint64_t us);
/* A rival: it takes itself for elected, whatever ZooKeeper says. */
void process_usurp(struct host *h);
/* False: it is down, or not ready; nothing has happened then. */
bool process_call(struct host *h, uint64_t cookie, const char *method, const char *args_json);
/* ZooKeeper knows it as the leader, and nobody has won an election of the log since it did. */
bool process_is_rightful(const struct host *h);
/* It leads, registered with the master. */
bool process_is_active(const struct host *h);
const struct store *process_store(const struct host *h);
/* Positions that are not applied yet; a writer's are. */
uint64_t process_lag(const struct host *h);
struct zk_session *process_session(const struct host *h); /* of a process that is up */
struct mesos_link *process_link(const struct host *h);    /* NULL: it has none */

#endif
