/* The writing role of the replicated log (reference: replicated-log, sections 4 and 5), pure: it wins an election by an
 * implicit promise of a quorum, fills the positions that its own replica has not learned, and then writes one position
 * after the other. Recovery uses it to catch up with a range of positions, which needs no election.
 *
 * Every call fills one coordinator_output, which the shell carries out: broadcasts go to all members, the own replica
 * included. It calls coordinator_advance() whenever the own replica has stepped, the members have changed, or
 * coordinator_deadline() has come, until nothing comes out.
 *
 * A write that did not succeed demotes: its outcome is unknown, and only another election may say. */
#ifndef AURORA_LOG_COORDINATOR_H
#define AURORA_LOG_COORDINATOR_H

#include "core/rng.h"
#include "log/replica.h"

/* Members are numbered from 0 (the own replica) by the shell. */
#define COORDINATOR_MEMBERS_MAX 64
#define COORDINATOR_DELAY_MS 100 /* after a rejection: uniform in [1, 2) times this */

struct coordinator_config {
    unsigned quorum;
    uint64_t seed;
    uint64_t election_timeout_ms; /* of one attempt */
    unsigned election_attempts;
    uint64_t write_timeout_ms;
    uint64_t fill_timeout_ms; /* catch-up: of one position, which is then begun anew; 0 = none */
};

enum coordinator_state {
    COORDINATOR_IDLE,
    COORDINATOR_DELAYED,      /* between two attempts of an election */
    COORDINATOR_PROMISE,      /* election: implicit promise */
    COORDINATOR_FILL_DELAYED, /* filling: between two attempts of a position */
    COORDINATOR_FILL_PROMISE,
    COORDINATOR_FILL_WRITE,
    COORDINATOR_FILL_LEARN, /* until the own replica has learned the position */
    COORDINATOR_ELECTED,
    COORDINATOR_WRITE,
    COORDINATOR_WRITE_LEARN,
};

struct coordinator_output {
    bool has_request; /* to all members, each answer back through coordinator_answer() with this number */
    bool has_learned; /* to all members, without answer */
    bool for_own;     /* the learned message is for the own replica only: the others know or fetch it */
    bool done;        /* what was begun is over */
    int err;          /* with done: 0, ERR_REJECTED, ERR_TIMEOUT */
    uint64_t request;
    uint64_t position;               /* with done: of the write; of an election the last position */
    struct message message, learned; /* bytes are good until the next call */
};

struct coordinator {
    struct coordinator_config config;
    const struct replica *local;
    struct rng rng;
    enum coordinator_state state;
    bool elected;         /* filling belongs to an election, not to a catch-up */
    unsigned members;     /* own replica included */
    unsigned attempts;    /* of this election that are left */
    uint64_t proposal;    /* of the election and its writes */
    uint64_t fill;        /* the number that filling has reached */
    uint64_t highest;     /* seen in any rejection */
    uint64_t index;       /* next position to write; while filling: the last to fill */
    uint64_t from;        /* filling: the first */
    uint64_t position;    /* of the running round */
    uint64_t resume_ms;   /* of a delay */
    uint64_t deadline_ms; /* of the attempt, the write or the position */
    struct {
        uint64_t number; /* of the request; they never repeat */
        bool unsent;     /* waits until a quorum is listed */
        bool rejected;
        uint64_t answered; /* a bit per member */
        unsigned decided, ignored;
        uint64_t end;         /* implicit promise: the highest reported */
        struct message *best; /* explicit promise: holds the action performed at the highest number */
        struct message message;
    } round;
    struct message *value; /* what is filled in; NULL: NOP */
};

/* local must outlive it. */
void coordinator_init(struct coordinator *c, const struct coordinator_config *config, const struct replica *local);
void coordinator_release(struct coordinator *c);
void coordinator_members(struct coordinator *c, unsigned n);

/* Idle only. Done with the last position, or ERR_TIMEOUT, ERR_REJECTED after the last attempt. */
void coordinator_elect(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out);
/* Elected only. value: type and payload; its bytes stay the caller's and must be good until done. */
void coordinator_write(struct coordinator *c, const struct action *value, uint64_t now_ms,
                       struct coordinator_output *out);
/* Idle only. Learns every position in [from, to] that is missing, one after the other; tries for ever. See
 * log/filler.h. */
void coordinator_catch_up(struct coordinator *c, uint64_t from, uint64_t to, uint64_t now_ms,
                          struct coordinator_output *out);

void coordinator_answer(struct coordinator *c, uint64_t request, unsigned member, const struct message *m,
                        uint64_t now_ms, struct coordinator_output *out);
void coordinator_advance(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out);
/* When coordinator_advance() has something to do by time; UINT64_MAX: never. */
uint64_t coordinator_deadline(const struct coordinator *c);
/* Stops whatever runs, without a result; what was written may still be learned by others. */
void coordinator_demote(struct coordinator *c);

#endif
