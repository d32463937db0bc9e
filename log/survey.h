/* A question to all members that changes nothing at them: RecoverRequest, or PromiseRequest with number 0, which every
 * voting replica rejects with the number that it has promised. Recovery and catch-up begin with one.
 *
 * Members are numbered as for the coordinator; the own replica is asked like any other. */
#ifndef AURORA_LOG_SURVEY_H
#define AURORA_LOG_SURVEY_H

#include "log/coordinator.h"

struct survey {
    unsigned quorum;
    unsigned members; /* listed now, own replica included */
    uint64_t number;  /* of the request; they never repeat */
    bool unsent;      /* waits until a quorum is listed */
    unsigned asked;   /* members that were listed when it was sent */
    uint64_t answered;
    struct message message;
    unsigned replicas[REPLICA_EMPTY + 1]; /* answers to a RecoverRequest by status */
    uint64_t begin, end;                  /* of the voting ones: the lowest, the highest */
    unsigned promises;                    /* answers to a PromiseRequest */
    uint64_t promised;                    /* the highest of them */
};

/* first: request numbers start behind it; random, so that another process life's answers are not taken for ours. */
void survey_init(struct survey *s, unsigned quorum, uint64_t first);
/* Begins anew; answers to earlier questions no longer count. kind: RECOVER_REQUEST or PROMISE_REQUEST. */
void survey_ask(struct survey *s, enum message_kind kind, struct coordinator_output *out);
/* Sends what waited for a quorum of members. */
void survey_advance(struct survey *s, struct coordinator_output *out);
/* Whether it counted: the right request, a sound answer, the member's first. */
bool survey_answer(struct survey *s, uint64_t request, unsigned member, const struct message *m);
/* Every member that was asked has answered. */
bool survey_is_over(const struct survey *s);

#endif
