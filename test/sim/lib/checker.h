/* What must hold in a cluster of log replicas whatever happens (reference: replicated-log, section 9). It sees every
 * store, every answer and every result from above, and remembers what no replica may contradict.
 *
 * A value is chosen when a quorum has durably accepted it under one number. The rest follows: nothing else is ever
 * learned, accepted under a higher number, read or acknowledged at that position. The numbers in the code are the
 * sheet's. The first violation is kept in `text`. */
#ifndef AURORA_SIM_CHECKER_H
#define AURORA_SIM_CHECKER_H

#include "log/replica.h"
#include "test/sim/lib/disk.h"

#define SIM_NODES_MAX 5

struct ballot {
    uint64_t proposal;
    struct message *value;
    unsigned nodes; /* a bit for each that accepted */
};

struct slot {
    struct ballot *ballots;
    size_t n;
    struct message *chosen; /* NULL: nothing is */
    uint64_t chosen_at;
    bool acknowledged;
    uint64_t granted[SIM_NODES_MAX]; /* the highest explicit promise that a node gave out, plus 1 */
};

struct checker {
    unsigned nodes, quorum;
    struct slot *slots;
    size_t n;
    uint64_t truncated; /* the highest `to` of a chosen truncation */
    uint64_t floor;     /* behind the highest position that was acknowledged */
    uint64_t elected;   /* the highest number with which an election was won */
    unsigned n_submitted, n_acknowledged, n_elections, n_truncations, n_recoveries;
    unsigned n_forgotten; /* times that a write took the place of one with a higher number: Mesos's rule lets it */
    uint64_t promised[SIM_NODES_MAX]; /* the highest implicit promise that a node gave out, plus 1 */
    uint64_t durable_promised[SIM_NODES_MAX];
    enum replica_status status[SIM_NODES_MAX]; /* on disk */
    char text[256];                            /* "": all is well */
};

void checker_init(struct checker *c, unsigned nodes, unsigned quorum);
void checker_release(struct checker *c);
void checker_fail(struct checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool checker_failed(const struct checker *c)
{
    return c->text[0] != 0;
}

/* A replica has stepped. record: what it had at the position, NULL: nothing. */
void checker_stepped(struct checker *c, unsigned node, const struct replica *before, const struct replica *after,
                     const struct message *request, const struct action *record, const struct replica_output *out);
/* Recovery changes a status; [begin, end] is what had to be learned. */
void checker_status(struct checker *c, unsigned node, const struct replica *r, enum replica_status to, uint64_t begin,
                    uint64_t end);
/* It is on the node's disk. */
void checker_durable(struct checker *c, unsigned node, const struct disk_op *op);
/* An answer leaves the node. position: of the request, NULL: an implicit promise. */
void checker_answered(struct checker *c, unsigned node, const struct disk *d, const struct message *answer,
                      const uint64_t *position);
void checker_restarted(struct checker *c, unsigned node, const struct replica *before, const struct replica *restored);
void checker_disk_lost(struct checker *c, unsigned node);

/* What was true when an election or a write began. */
struct submission {
    bool outvoted;  /* a later election was won already */
    uint64_t floor; /* all positions below were acknowledged: a reader sees them, a writer comes behind them */
};
/* A client hands a value to a writer that was elected under `proposal`, or begins an election (UINT64_MAX). */
struct submission checker_submitted(struct checker *c, uint64_t proposal);
/* The writer at a node has won its election; record() reads its replica. */
void checker_elected(struct checker *c, unsigned node, const struct submission *s, uint64_t proposal, uint64_t last,
                     const struct replica *r, const struct action *(*record)(void *arg, uint64_t position), void *arg);
/* The writer reports success. */
void checker_acknowledged(struct checker *c, unsigned node, const struct submission *s, uint64_t position,
                          const struct action *value, const struct replica *r);

#endif
