/* A cluster of log replicas in one process: each node is a replica, a writer, a recovery and a standby, wired as
 * log/log.c and log/local.c wire them, over a network and disks that fail as they are told. The checker sees all. */
#ifndef AURORA_SIM_CLUSTER_H
#define AURORA_SIM_CLUSTER_H

#include "log/catchup.h"
#include "log/recover.h"
#include "test/sim/lib/checker.h"
#include "test/sim/lib/world.h"

#define ELECTION_TIMEOUT_MS 1000

/* How likely things go wrong; per mille. */
struct faults {
    unsigned lose_learned; /* of learned messages, beside what else is lost */
    unsigned lose, repeat; /* of messages */
    unsigned late;         /* messages that take up to late_max_us */
    unsigned crash;        /* at the end of a commit */
    unsigned fail;         /* commits that end in an error: the node stops */
    unsigned stall;        /* commits that take up to stall_max_us */
    uint64_t delay_max_us, late_max_us, disk_max_us, stall_max_us;
};

struct request {
    struct request *next;
    struct message *m;
    unsigned from;
    uint64_t number;
};

struct answer_out {
    unsigned to;
    uint64_t number;
    struct message *m;
    bool implicit;
    uint64_t position; /* of the request */
};

struct answers {
    struct answer_out *v;
    size_t n, cap;
};

enum doing { DOING_NOTHING, DOING_ELECTION, DOING_WRITE };

struct cluster;

struct node {
    struct cluster *c;
    unsigned id;
    bool up, full;      /* full: its disk takes nothing more */
    uint64_t resume_us; /* until then it is stopped, as by SIGSTOP: what comes waits */
    struct disk disk;

    /* Of this life. */
    uint64_t life;
    struct replica replica;
    struct coordinator writer;
    struct recover recover;
    struct catchup catchup;
    bool recovering;
    struct request *head, **tail;
    struct commit batch, running;
    struct answers waiting, leaving; /* of batch, of running */
    bool committing, urgent, recover_stores, recover_stored;
    bool changed; /* on_changed is due */
    uint64_t lazy_at_us, wake_at_us;
    unsigned members; /* that are listed, a bit each */

    /* Its client. */
    enum doing doing;
    struct message *value; /* being written */
    struct submission submission;
    uint64_t next; /* position that the next write must get */
};

struct cluster {
    struct world w;
    struct checker check;
    struct faults faults;
    unsigned n, quorum;
    bool auto_initialize;
    unsigned foreign; /* nodes that neither send nor know binding writes, as Mesos's own replicas; a bit each */
    struct node nodes[SIM_NODES_MAX];
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    uint64_t next_value;
    unsigned crashes, lost_disks, messages;
    /* An election or a write is over; the node is idle again. */
    void (*on_done)(struct node *n, enum doing what, int err);
    /* A node has stopped by itself. */
    void (*on_down)(struct node *n);
    /* Its replica has stepped, or may vote now. May be NULL. */
    void (*on_changed)(struct node *n);
};

void cluster_init(struct cluster *c, uint64_t seed, unsigned n, bool auto_initialize);
void cluster_release(struct cluster *c);

void node_start(struct node *n);
void node_crash(struct node *n);
/* For so long nothing is seen or done; what came meanwhile is handled before any timer. */
void node_pause(struct node *n, uint64_t us);
bool node_is_paused(const struct node *n);
/* Down only. */
void node_lose_disk(struct node *n);
void node_set_members(struct node *n, unsigned members);
/* The replica votes and neither an election nor a write is under way. */
bool node_is_ready(const struct node *n);
bool node_is_writer(const struct node *n);
void node_elect(struct node *n);
/* Writer only: an append, or a truncation. */
void node_append(struct node *n);
void node_truncate(struct node *n, uint64_t to);
void node_write(struct node *n, const struct action *value); /* which is copied */
void node_resign(struct node *n);
/* The record as the replica's memory has it, stored or not; NULL: none. */
const struct action *node_record(const struct node *n, uint64_t position);

#endif
