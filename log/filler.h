/* Learns all positions of a range that the own replica misses, several at a time, pure: recovery and catch-up. Each
 * position is a Paxos round of its own (log/coordinator.h), but most take one message each way: a peer that has learned
 * the position says so in its promise.
 *
 * Used like the coordinator: every call fills one coordinator_output; filler_advance() is called until nothing comes
 * out. Nothing here ends an attempt: it tries for ever. */
#ifndef AURORA_LOG_FILLER_H
#define AURORA_LOG_FILLER_H

#include "core/limits.h"
#include "log/coordinator.h"

struct filler {
    const struct replica *local;
    struct coordinator workers[LIMIT_LOG_FILLS]; /* idle, or at one position each */
    unsigned window;                             /* how many of them are used: all, but tests may set fewer */
    bool active;
    uint64_t next, last; /* what has not been handed to a worker yet */
};

/* local must outlive it. timeout_ms: of one position, which is then begun anew. */
void filler_init(struct filler *f, unsigned quorum, uint64_t seed, uint64_t timeout_ms, const struct replica *local);
void filler_release(struct filler *f);
/* Own replica included. */
void filler_members(struct filler *f, unsigned n);

/* Inactive only. Done once every position in [from, to] is learned. */
void filler_begin(struct filler *f, uint64_t from, uint64_t to, uint64_t now_ms, struct coordinator_output *out);
void filler_stop(struct filler *f);
void filler_answer(struct filler *f, uint64_t request, unsigned member, const struct message *m, uint64_t now_ms,
                   struct coordinator_output *out);
void filler_advance(struct filler *f, uint64_t now_ms, struct coordinator_output *out);
/* UINT64_MAX: nothing to do by time. */
uint64_t filler_deadline(const struct filler *f);

#endif
