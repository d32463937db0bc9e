/* How a replica that may not vote comes to vote (reference: replicated-log, section 6), pure.
 *
 *   EMPTY ──────────► STARTING ─────────► VOTING     automatic initialisation: all 2q-1 replicas are new
 *     └───────┐          │
 *             ▼          ▼
 *           RECOVERING ──────────────────► VOTING    a quorum votes: learn all that it holds, and what it promised
 *
 * Each arrow is durable before anything follows from it. A crash at any point starts the protocol anew from the status
 * on disk. A replica that lost its disk forgot its promises; before it votes it therefore adopts the highest number
 * that a quorum has promised, lest it helps a writer that has been replaced. (Mesos leaves it at 0.)
 *
 * Used like the coordinator: every call fills one recover_output; recover_advance() is called whenever the own replica
 * has stepped, the members have changed, or recover_deadline() has come, until nothing comes out. */
#ifndef AURORA_LOG_RECOVER_H
#define AURORA_LOG_RECOVER_H

#include "log/filler.h"
#include "log/survey.h"

/* How long answers are awaited before everybody is asked again. (Mesos waits 10 s; asking costs a voter nothing.) */
#define RECOVER_TIMEOUT_MS 2000
/* All have answered and there is nothing to be done yet: uniform in [1, 2) times this. */
#define RECOVER_DELAY_MS 500

struct recover_config {
    unsigned quorum;
    bool auto_initialize;
    uint64_t seed;
};

enum recover_state {
    RECOVER_IDLE,
    RECOVER_SURVEY,   /* asks for everybody's status */
    RECOVER_DELAYED,  /* until it asks again */
    RECOVER_STORE,    /* until recover_stored() */
    RECOVER_CATCH_UP, /* learns [begin, end] */
    RECOVER_PROMISED, /* asks what has been promised */
};

struct recover_output {
    struct coordinator_output to; /* requests and learned messages to send; its `done` is not used */
    bool has_metadata;            /* replica_set_metadata() with these, store, then recover_stored() */
    enum replica_status status;
    uint64_t promised;
    bool done; /* the replica votes */
};

struct recover {
    struct recover_config config;
    const struct replica *local;
    struct rng rng;
    bool exists; /* the user's: others hold the log, so that no new one is begun */
    enum recover_state state;
    struct survey survey;
    struct filler filler;
    uint64_t begin, end; /* what has to be learned */
    uint64_t due_ms;     /* of the survey or the delay */
};

/* local must outlive it. */
void recover_init(struct recover *r, const struct recover_config *config, const struct replica *local);
void recover_release(struct recover *r);
/* Own replica included. */
void recover_members(struct recover *r, unsigned n);

/* Done at once where the replica votes already. */
void recover_start(struct recover *r, uint64_t now_ms, struct recover_output *out);
/* The metadata of the last output are durable. */
void recover_stored(struct recover *r, uint64_t now_ms, struct recover_output *out);
void recover_answer(struct recover *r, uint64_t request, unsigned member, const struct message *m, uint64_t now_ms,
                    struct recover_output *out);
void recover_advance(struct recover *r, uint64_t now_ms, struct recover_output *out);
/* UINT64_MAX: nothing to do by time. */
uint64_t recover_deadline(const struct recover *r);
/* All of this cluster's replicas answered EMPTY, and none begins a new log: for the operator. */
bool recover_is_uninitialized(const struct recover *r);

#endif
