/* From the log's records to the state in memory, without holding the loop up. Records are gathered, decoded in libuv's
 * pool, and their ops applied on the loop in slices, between which it runs. A snapshot becomes a whole new store in the
 * pool, which then takes the place of the old one; that one is freed there, too.
 *
 * One batch is decoded and applied while the next one is gathered. */
#ifndef AURORA_LOG_REPLAY_H
#define AURORA_LOG_REPLAY_H

#include "core/stats.h"
#include "core/store.h"

#include <uv.h>

/* A batch is full with this many bytes of records. */
#define REPLAY_BATCH_BYTES ((size_t)1 << 20)
/* A slice of ops ends after this long, and saves at most so many tasks in one go. */
#define REPLAY_SLICE_NS 2000000
#define REPLAY_SLICE_TASKS 200

struct replay;

struct replay_config {
    uv_loop_t *loop;
    struct stats *stats; /* may be NULL */
    /* The state is now that of `state`, which is the callee's from here on; gives back the store that it replaces. */
    struct store *(*on_snapshot)(struct store *state, void *arg);
    /* Non-zero stops the replay. */
    int (*on_op)(const struct api_op *op, void *arg);
    /* All of the batch has been applied; or not, and `why` says why. */
    void (*on_applied)(int err, const char *why, void *arg);
    void *arg;
};

struct replay *replay_new(const struct replay_config *c);
/* Gathers a copy of the record. */
void replay_add(struct replay *r, uint64_t position, const void *record, size_t n);
/* Bytes of what is gathered; never 0 if anything is. */
size_t replay_gathered(const struct replay *r);
/* A batch is being decoded or applied. */
bool replay_busy(const struct replay *r);
/* Begins with what is gathered; on_applied later. Not while busy. */
void replay_begin(struct replay *r);
/* The log ends here, or what it had has been truncated: a frame that is not complete is dropped. Not while busy. */
void replay_end(struct replay *r);
/* A batch in the pool ends by itself. cb later; no other callback from here on. May be called from on_applied, not from
 * the others. */
void replay_close(struct replay *r, void (*cb)(void *arg), void *arg);

#endif
