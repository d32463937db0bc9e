/* What the roles of the replicated log say to each other, as plain values. log/wire.h turns them into Mesos's protobuf
 * messages; the roles themselves (log/replica.h, log/coordinator.h) know only these. */
#ifndef AURORA_LOG_MESSAGE_H
#define AURORA_LOG_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Positions and proposals of peers beyond this are refused as malformed, so that adding one never wraps. */
#define LOG_NUMBER_MAX (UINT64_MAX >> 1)

/* The numbers of these enums are the wire's. */
enum action_type { ACTION_NONE = 0, ACTION_NOP = 1, ACTION_APPEND = 2, ACTION_TRUNCATE = 3 };
enum answer { ANSWER_ACCEPT = 1, ANSWER_REJECT = 2, ANSWER_IGNORED = 3 };
enum replica_status { REPLICA_VOTING = 1, REPLICA_RECOVERING = 2, REPLICA_STARTING = 3, REPLICA_EMPTY = 4 };

/* What a position holds, or is to hold. `bytes` is borrowed from whoever made the action. */
struct action {
    uint64_t position;
    uint64_t promised;
    uint64_t performed; /* with has_performed */
    bool has_performed;
    bool has_learned; /* an unset mark and a false one mean the same but are kept apart, as Mesos does */
    bool learned;
    bool tombstone;        /* ACTION_NOP: this position and all below were truncated */
    enum action_type type; /* ACTION_NONE: promised only */
    const void *bytes;     /* ACTION_APPEND */
    size_t n;
    uint64_t to; /* ACTION_TRUNCATE: positions below are gone; never above `position` */
};

enum message_kind {
    MESSAGE_PROMISE_REQUEST,
    MESSAGE_PROMISE_RESPONSE,
    MESSAGE_WRITE_REQUEST,
    MESSAGE_WRITE_RESPONSE,
    MESSAGE_LEARNED,
    MESSAGE_RECOVER_REQUEST,
    MESSAGE_RECOVER_RESPONSE,
    MESSAGE_KINDS
};

struct message {
    enum message_kind kind;
    uint64_t proposal;
    uint64_t position;
    bool has_position; /* always in write requests and responses */
    bool has_action;   /* always in write requests and learned messages */
    bool has_range;
    bool binding;               /* write request: who accepts it promises to accept nothing lower */
    enum answer answer;         /* promise and write responses */
    struct action action;       /* of a write request: its value and learned mark; position and proposal are above */
    enum replica_status status; /* recover response, with begin and end if has_range */
    uint64_t begin, end;
};

/* A copy in one block, freed with free(). */
struct message *message_copy(const struct message *m);
/* Equal in type and payload. */
bool action_same_value(const struct action *a, const struct action *b);
/* "VOTING"; never NULL. */
const char *replica_status_name(enum replica_status s);

#endif
