/* The replicated log on the loop: this process's replica (votes and stores), its coordinator (writes), LMDB storage
 * and, for more than one replica, the peers that `send` reaches. The roles themselves are pure state machines:
 * log/replica.h, log/coordinator.h; the replica's commits are batched by log/local.h. Messages are Mesos's (reference:
 * replicated-log). */
#ifndef AURORA_LOG_LOG_H
#define AURORA_LOG_LOG_H

#include "core/buf.h"
#include "core/stats.h"
#include "core/str.h"
#include "log/quorum.h"

#include <uv.h>

struct log;

struct log_config {
    uv_loop_t *loop;
    const char *path; /* folder; made if missing */
    unsigned quorum;
    uint64_t seed;   /* random: also the first source of the replica's id */
    bool initialize; /* an empty folder becomes a VOTING replica at once (single-replica use); else recovery is awaited
                      */
    bool auto_initialize; /* recovery: where all 2 quorum - 1 replicas are empty, they begin a new log */
    uint64_t election_timeout_ms, read_timeout_ms, write_timeout_ms; /* of one attempt, one slice, one write */
    unsigned election_retries;
    uint64_t map_bytes;  /* LMDB's address space; 0 = default */
    struct stats *stats; /* may be NULL */

    /* For the replicated log; NULL with quorum 1. Sends a message to the pid `to`: from "log-replica(1)" if request is
     * 0, else from an id of its own per (request, to), as libprocess's `__req_res__(N)`, whose first answer goes to
     * log_answer(). */
    void (*send)(uint64_t request, const char *to, const char *name, const void *body, size_t n, void *arg);
    void *arg;
};

/* Opens storage and reads its state. Blocks (start-up only). ERR_FOREIGN, ERR_CORRUPT, ERR_NOSPACE, ERR_IO, ERR_BUSY
 * (another process has it open), ERR_INVALID (quorum contradicts what is stored), each with what to do in err_text. */
int log_open(const struct log_config *c, struct log **ret, struct buf *err_text);
/* Stores what waits to be stored. Requests that are under way get ERR_CLOSED first. */
void log_close(struct log *l, void (*cb)(void *arg), void *arg);

/* Caller-owned request; cb once, later. */
struct log_req {
    void *data;
    void (*cb)(struct log_req *r, int err);
    uint64_t position; /* of what was written; of log_elect: the last position */
    uint64_t begin;    /* of log_elect: the first position */
    void *impl;
};

/* Becomes the coordinator; fills holes. ERR_TIMEOUT, ERR_REJECTED. */
void log_elect(struct log *l, struct log_req *r);
/* One at a time. bytes must stay until cb. ERR_REJECTED, ERR_TIMEOUT, ERR_NOSPACE, ERR_IO: the log has demoted itself
 * and takes no more writes. */
void log_append(struct log *l, struct log_req *r, const void *bytes, size_t n);
/* Positions below `to` are gone; to must not be above the last written position. */
void log_truncate(struct log *l, struct log_req *r, uint64_t to);

/* Reads entries [from, to], in order: on_entry for each APPEND (NOPs and truncations are left out), then r->cb. About
 * a megabyte per slice. on_entry returning an error stops with it, a positive number stops without one. One at a time.
 * ERR_INVALID: not all of the range is known here. */
void log_read(struct log *l, struct log_req *r, uint64_t from, uint64_t to,
              int (*on_entry)(uint64_t position, const void *bytes, size_t n, void *arg), void *arg);

/* What the last storage failure was, for people; "" if there was none. */
const char *log_error(const struct log *l);
/* That failure, 0 if there was none: nothing is stored any more. */
int log_failure(const struct log *l);

/* What is kept with the log: its quorum size, the random id of this replica (it tells one that came back under another
 * address from a new one), and the replicas that have been seen. The log's. */
const struct quorum_record *log_quorum_record(const struct log *l);
/* Notes the replicas that are in the group now, for good. Nothing is noted before this replica votes. */
void log_see_replicas(struct log *l, const uint64_t *replicas, unsigned n);
/* A new replica takes part from here on: its size is the one after so many changes. Before log_set_peers(). */
void log_join_group(struct log *l, uint32_t changes);
/* Others hold this log, even if all that answer are EMPTY: an EMPTY replica begins no new one, as long as it is set. */
void log_exists_elsewhere(struct log *l, bool exists);
/* Whether this replica votes. One that does not recovers by itself once the peers are known; elections wait for it. */
bool log_votes(const struct log *l);
/* All replicas are empty, and none begins a new log by itself: they may not, or the log exists elsewhere. */
bool log_is_uninitialized(const struct log *l);

/* ---- following another writer ---- */

/* Fetches what this replica misses until log_elect(). on_learned: positions may have been learned, or truncated, or the
 * storage has failed. */
void log_follow(struct log *l, void (*on_learned)(void *arg), void *arg);
void log_unfollow(struct log *l);
/* The first position that has not been truncated. */
uint64_t log_begin(const struct log *l);
/* Behind the last position up to which, from `from` on, all are known here. */
uint64_t log_known(const struct log *l, uint64_t from);
/* Behind the last position that anybody has told of. */
uint64_t log_heard(const struct log *l);

/* ---- for the replicated log ---- */

/* As `send` and `arg` of log_config, for who comes to exist after the log. NULL: nothing is sent any more. */
void log_set_sender(struct log *l,
                    void (*send)(uint64_t request, const char *to, const char *name, const void *body, size_t n,
                                 void *arg),
                    void *arg);

/* The pids of all other replicas, "log-replica(1)@ip:port". Copied. ERR_TOO_BIG. */
int log_set_peers(struct log *l, const char *const *pids, unsigned n);
/* A message to "log-replica(1)". Unknown or malformed ones are dropped: ERR_NOT_FOUND, ERR_MALFORMED, ERR_FULL;
 * ERR_UNSUPPORTED without `send`. */
int log_request(struct log *l, const char *from, struct str name, const void *body, size_t n);
/* The answer of the peer `from` to a request that was sent. */
int log_answer(struct log *l, uint64_t request, const char *from, struct str name, const void *body, size_t n);

#endif
