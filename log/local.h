/* The own replica on the loop: requests in, their stores batched into one commit at a time in libuv's pool, answers out
 * once they may leave. What arrives while a commit runs goes into the next one together.
 *
 * A learned mark needs no answer, so it waits for the next commit (or LOCAL_LAZY_MS): with an append per batch that is
 * one sync less. A crash loses only the mark; the position is then learned anew. */
#ifndef AURORA_LOG_LOCAL_H
#define AURORA_LOG_LOCAL_H

#include "core/stats.h"
#include "log/replica.h"
#include "log/storage.h"

#include <uv.h>

#define LOCAL_LAZY_MS 50
/* Requests that may wait; further ones of peers are dropped, as a network would. */
#define LOCAL_QUEUE_MAX 1024
/* Bytes and records that one read brings at most (at least one record). */
#define LOCAL_READ_BYTES ((size_t)1 << 20)
#define LOCAL_READ_RECORDS 1024
/* Requests whose records are read in one go. */
#define LOCAL_NEEDED_MAX 64

struct local;

/* Where a request came from; handed back with its answer. */
struct local_origin {
    uint64_t request; /* the coordinator's number, when peer is NULL */
    char *peer;       /* malloc'ed; the local's from then on */
};

struct local_config {
    uv_loop_t *loop;
    struct storage *storage;            /* outlives it */
    struct replica *replica;            /* restored; the local's to change */
    const struct quorum_record *record; /* kept with the metadata, as it is at the time */
    struct stats *stats;                /* may be NULL */
    /* The answer is durable; bytes are good during the call. */
    void (*on_answer)(const struct local_origin *o, const struct message *answer, void *arg);
    /* The replica in memory has changed: coordinators may get on. Called from local_pump(). */
    void (*on_changed)(void *arg);
    /* What local_store_metadata() asked for, or a promise, is durable. May be NULL. */
    void (*on_stored)(void *arg);
    /* A store or read failed: nothing is answered any more. Once. */
    void (*on_failed)(int err, const char *why, void *arg);
    /* Jobs have ended and local_pump() has something to do. */
    void (*on_ready)(void *arg);
    void *arg;
};

struct local *local_new(const struct local_config *c);
/* Queues a copy. ERR_FULL, ERR_CLOSED (failed). */
int local_deliver(struct local *l, const struct message *m, struct local_origin o);
/* Stores the replica's present status. */
void local_store_metadata(struct local *l);
/* Does what can be done now. */
void local_pump(struct local *l);

/* Reads records in [from, to] once all that was stepped is stored; one at a time. cb gets the records (good during the
 * call) and where to go on; *next > to: the end. */
struct local_records {
    const struct action *v;
    size_t n;
    uint64_t next;
};
void local_read(struct local *l, uint64_t from, uint64_t to,
                void (*cb)(int err, const struct local_records *r, void *arg), void *arg);

/* Stores what waits, drops what is queued, then cb. A read that has not begun gets ERR_CLOSED. complete: as in the
 * metadata. */
void local_close(struct local *l, bool complete, void (*cb)(void *arg), void *arg);

#endif
