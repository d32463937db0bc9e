/* From an event to what the world sees of it: sched_step(), the ops to the log, the effects held back until they are
 * durable, then carried out in order.
 *
 *     event ─► sched_step ─► ops ─► append ─► durable n ─┐
 *                  └─► effects, held with their index ───┴─► reply, effect
 *
 * A step without ops waits all the same for the ops before it: what it has read could still be lost. Memory here
 * is ahead of the log by what is held; a log that fails therefore ends the process. No I/O inside. */
#ifndef AURORA_ADMIN_PIPELINE_H
#define AURORA_ADMIN_PIPELINE_H

#include "core/sched.h"
#include "core/stats.h"

struct pipeline;

/* The result of one step. It is freed when its effects have been carried out and nobody pins it. */
struct held;

struct pipeline_config {
    struct sched *sched;
    struct stats *stats;
    int64_t (*now_ms)(void *arg);
    /* Queues ops for the log, as one group; gives their index, or with n = 0 that of what was queued last. */
    uint64_t (*append)(const struct api_op *ops, uint32_t n, void *arg);
    uint64_t (*durable)(void *arg);
    /* Every effect but the replies. Must not step. */
    void (*effect)(const struct effect *e, void *arg);
    /* The answer to a command. It is good until the call returns or, if the callee pins `h`, until it is unpinned. */
    void (*reply)(uint64_t cookie, const struct api_response *response, struct held *h, void *arg);
    /* After each step; the next sched_timeout() may have changed. */
    void (*stepped)(void *arg);
    void *arg;
};

struct pipeline *pipeline_new(const struct pipeline_config *c);
/* Drops what is held, neither replies nor effects, but for what waits in pipeline_after(). Pinned results must have
 * been unpinned. */
void pipeline_free(struct pipeline *p);

/* Stamps ev with the time, steps, and releases what is durable already. Returns the index that its effects wait for. */
uint64_t pipeline_step(struct pipeline *p, struct sched_event *ev);
/* Everything up to this index is durable; it never sinks. Releases what waits for it, but about LIMIT_RELEASE_WORK
 * effects at most, so as not to hold the loop up: while pipeline_releasable(), it is to be called again, a pass of the
 * loop later. */
void pipeline_durable(struct pipeline *p, uint64_t durable);
bool pipeline_releasable(const struct pipeline *p);
/* Calls then(arg) once all that has been appended so far is durable, at once if it is, and at the latest from
 * pipeline_free(): for who has read the state and must not show what could still be lost. */
void pipeline_after(struct pipeline *p, void (*then)(void *arg), void *arg);

/* False: LIMIT_PENDING_COMMANDS commands wait already and the next one is to be refused. */
bool pipeline_has_room(const struct pipeline *p);
/* Steps whose effects wait. */
size_t pipeline_held(const struct pipeline *p);
size_t pipeline_held_commands(const struct pipeline *p);

void held_pin(struct held *h);
void held_unpin(struct held *h);
/* Tasks that the result pins: a measure of how large its answer is. */
uint32_t held_n_tasks(const struct held *h);

#endif
