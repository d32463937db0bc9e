/* The voting and storing role of the replicated log (reference: replicated-log, section 2), pure: a request goes in,
 * what must be stored and the answer come out. The shell stores first and answers then.
 *
 * replica_step() changes the memory at once, so requests may be stepped one after the other and stored in one
 * commit; but no answer may leave, and no step may rely on a stored record, before the commit that covers it. When a
 * store fails, memory is ahead of the disk: this replica must not answer any more. */
#ifndef AURORA_LOG_REPLICA_H
#define AURORA_LOG_REPLICA_H

#include "log/iset.h"
#include "log/message.h"

struct replica {
    enum replica_status status;
    uint64_t promised;     /* the highest implicit promise */
    uint64_t begin, end;   /* end: the highest position that has, or once had, a record; begin <= end + 1 */
    struct iset holes;     /* in [begin, end], without a record */
    struct iset unlearned; /* in [begin, end], with a record that is not learned */
};

struct replica_output {
    bool store_metadata; /* the replica's status and promised */
    bool store_action;
    bool purge; /* once stored, records below the replica's `begin` may be deleted, at any time */
    bool has_reply;
    struct action action; /* its bytes are borrowed from the request or the record */
    struct message reply; /* likewise */
};

/* A fresh log: EMPTY, begin = end = 0, position 0 a hole. */
void replica_init(struct replica *r);
void replica_release(struct replica *r);

/* Start from disk: replica_init(), the metadata if there is any, all records by ascending position. */
void replica_restore_metadata(struct replica *r, enum replica_status status, uint64_t promised);
void replica_restore_action(struct replica *r, const struct action *a);

/* Whether the step needs the record that is stored at *ret_position. Never for a write behind the end. */
bool replica_reads(const struct replica *r, const struct message *request, uint64_t *ret_position);
/* Handles a request: promise, write, learned, recover. record: what is stored where replica_reads() asked; must be
 * given then. */
void replica_step(struct replica *r, const struct message *request, const struct action *record,
                  struct replica_output *out);
/* Recovery: moves to another status. */
void replica_set_status(struct replica *r, enum replica_status status, struct replica_output *out);
/* The same, and adopts a promise; promised must not be lower than the replica's. */
void replica_set_metadata(struct replica *r, enum replica_status status, uint64_t promised, struct replica_output *out);

/* Positions that this replica has not learned; those below begin are not missing. */
bool replica_missing(const struct replica *r, uint64_t position);
/* The first missing position in [from, to], or UINT64_MAX. */
uint64_t replica_next_missing(const struct replica *r, uint64_t from, uint64_t to);

#endif
