/* The scheduler's log as its wiring sees it: ops in, durable indexes out, snapshots, replay. Underneath are entry
 * framing (log/entry.h), the replicated log (log/log.h: Paxos roles) and LMDB storage (log/storage.h).
 *
 * Grouped, not pipelined: one entry is in flight; all ops appended meanwhile go into the next one. */
#ifndef AURORA_LOG_STREAM_H
#define AURORA_LOG_STREAM_H

#include "core/buf.h"
#include "core/image.h"
#include "core/stats.h"

#include <uv.h>

#include "api.gen.h"

struct log; /* log/log.h */
struct stream;

struct stream_config {
    uv_loop_t *loop;
    struct log *log;         /* opened; outlives the stream */
    size_t max_entry_bytes;  /* -dlog_max_entry_size; larger entries are framed */
    size_t max_queued_bytes; /* beyond it the stream fails; 0 = LIMIT_LOG_QUEUE_BYTES */
    int64_t (*now_ms)(void *arg);
    struct stats *stats; /* may be NULL */

    /* Replay, in order, decoded in the pool and given in slices between which the loop runs. A snapshot is a whole new
     * store, which is the callee's from then on: it gives back the one that it replaces, or `state`. Non-zero from
     * on_op aborts the replay. */
    struct store *(*on_snapshot)(struct store *state, void *arg);
    int (*on_op)(const struct api_op *op, void *arg);
    /* All entries have been replayed and this process is the log's writer. */
    void (*on_ready)(void *arg);
    /* All ops with index <= durable are on a quorum's disks. */
    void (*on_durable)(uint64_t durable, void *arg);
    /* The log cannot be used any more, or replay failed: the process must end. Last callback. */
    void (*on_failed)(const char *why, void *arg);
    void *arg;
};

int stream_new(const struct stream_config *c, struct stream **ret);
/* Follows the log's writer, as long as another one writes: on_snapshot and on_op as the own replica learns entries;
 * what it missed is fetched. Begins once this replica votes. Before stream_start(), or not at all. */
void stream_follow(struct stream *s);
/* How many positions of the log that this process has heard of are not applied yet; 0 once on_ready has run. The newest
 * one may stay unknown until the writer's next. Also the stat log_follower_lag_positions. */
uint64_t stream_lag(const struct stream *s);
/* Becomes the writer (election), then replays what has not been applied yet, then on_ready. */
void stream_start(struct stream *s);
/* Queues ops as one indivisible group; returns their index (1, 2, ... per call), which on_durable reports. n may be 0:
 * the index of what is queued last. ops are encoded before the call returns. */
uint64_t stream_append(struct stream *s, const struct api_op *ops, uint32_t n);
/* While held, what is appended gathers in one entry, which is not written before the hold ends: groups of several calls
 * that must become durable together or not at all. What was complete before is still written. No snapshot meanwhile
 * (ERR_BUSY). */
void stream_hold(struct stream *s, bool held);
uint64_t stream_durable(const struct stream *s);
size_t stream_queued_bytes(const struct stream *s);
/* Writes a snapshot of the store (as Aurora does: deduplicated, deflated, framed) and truncates before it. It is
 * encoded in the pool from images, while others append: after the first round only what has changed meanwhile. What is
 * appended behind the last image, which has little left to encode, waits until the snapshot is written, since it resets
 * whoever replays it; the stat log_snapshot_hold says how long. The store must stay until cb. One at a time, and after
 * on_ready only: ERR_BUSY. A failure is also the stream's. */
int stream_snapshot(struct stream *s, const struct store *store, void (*cb)(int err, void *arg), void *arg);
/* The same with an image, which may be another store's: whoever replays the log then has that state, followed by what
 * is appended after this call. The memory of this process is the caller's business. Takes its own reference. */
int stream_snapshot_image(struct stream *s, struct image *image, void (*cb)(int err, void *arg), void *arg);
/* Waits for nothing; queued ops that are not durable are dropped, a snapshot's cb gets ERR_CLOSED. Then cb. May be
 * called from any callback but on_op and on_snapshot. Before log_close(). */
void stream_close(struct stream *s, void (*cb)(void *arg), void *arg);

#endif
