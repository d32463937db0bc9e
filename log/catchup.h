/* How a voting replica that does not write keeps up with the one that does, pure. It learns most positions from the
 * writer's own messages; this fetches what they missed: ask a quorum how far the log goes, then fill the gaps.
 *
 * The last position is left alone: the writer may be at work on it, and a fill there would take its promise away. All
 * others are decided, since a writer has one position in flight. So catching up never disturbs a writer.
 *
 * Used like the coordinator: every call fills one coordinator_output; catchup_advance() is called whenever the own
 * replica has stepped, the members have changed, or catchup_deadline() has come, until nothing comes out. `done` tells
 * that all positions below catchup.end are learned. Stopped before the own coordinator begins an election. */
#ifndef AURORA_LOG_CATCHUP_H
#define AURORA_LOG_CATCHUP_H

#include "log/filler.h"
#include "log/survey.h"

/* Between two looks at the peers while nothing seems to be missing. */
#define CATCHUP_INTERVAL_MS 1000
/* A gap below the newest position is fetched after this long: its message may have been overtaken. */
#define CATCHUP_GRACE_MS 50
/* How long a quorum's answers are awaited. */
#define CATCHUP_TIMEOUT_MS 500

enum catchup_state { CATCHUP_STOPPED, CATCHUP_WAITS, CATCHUP_SURVEY, CATCHUP_FILL };

struct catchup {
    const struct replica *local;
    enum catchup_state state;
    struct survey survey;
    struct filler filler;
    uint64_t due_ms; /* of the next survey, or when the running one has taken too long */
    uint64_t gap;    /* the gap that moved due_ms forward; UINT64_MAX: none */
    uint64_t end;    /* the highest position that anybody has told of */
};

/* local must outlive it. */
void catchup_init(struct catchup *c, unsigned quorum, uint64_t seed, const struct replica *local);
void catchup_release(struct catchup *c);
/* Own replica included. */
void catchup_members(struct catchup *c, unsigned n);

/* Stopped only; the own replica votes. */
void catchup_start(struct catchup *c, uint64_t now_ms, struct coordinator_output *out);
void catchup_stop(struct catchup *c);
void catchup_answer(struct catchup *c, uint64_t request, unsigned member, const struct message *m, uint64_t now_ms,
                    struct coordinator_output *out);
void catchup_advance(struct catchup *c, uint64_t now_ms, struct coordinator_output *out);
/* UINT64_MAX: nothing to do by time. */
uint64_t catchup_deadline(const struct catchup *c);
/* How many positions the own replica is behind what it has heard of. */
uint64_t catchup_lag(const struct catchup *c);

#endif
