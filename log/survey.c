#include "log/survey.h"

#include <assert.h>

void survey_init(struct survey *s, unsigned quorum, uint64_t first)
{
    assert(quorum >= 1);
    *s = (struct survey){ .quorum = quorum, .members = 1, .number = first };
}

static void send_question(struct survey *s, struct coordinator_output *out)
{
    s->unsent = s->members < s->quorum;
    if (s->unsent) return;
    s->asked = s->members;
    out->has_request = true;
    out->request = s->number;
    out->message = s->message;
}

void survey_ask(struct survey *s, enum message_kind kind, struct coordinator_output *out)
{
    assert(kind == MESSAGE_RECOVER_REQUEST || kind == MESSAGE_PROMISE_REQUEST);
    *s = (struct survey){
        .quorum = s->quorum, .members = s->members, .number = s->number + 1, .message = { .kind = kind }
    };
    send_question(s, out);
}

void survey_advance(struct survey *s, struct coordinator_output *out)
{
    if (s->unsent) send_question(s, out);
}

static bool sound(const struct survey *s, const struct message *m)
{
    if (s->message.kind == MESSAGE_RECOVER_REQUEST) return m->kind == MESSAGE_RECOVER_RESPONSE;
    /* Nobody can accept number 0. */
    return m->kind == MESSAGE_PROMISE_RESPONSE && m->answer != ANSWER_ACCEPT;
}

static void count_replica(struct survey *s, const struct message *m)
{
    assert(m->status >= REPLICA_VOTING);
    assert(m->status <= REPLICA_EMPTY);
    s->replicas[m->status]++;
    if (m->status != REPLICA_VOTING) return;
    if (s->replicas[REPLICA_VOTING] == 1 || m->begin < s->begin) s->begin = m->begin;
    if (m->end > s->end) s->end = m->end;
}

bool survey_answer(struct survey *s, uint64_t request, unsigned member, const struct message *m)
{
    assert(member < COORDINATOR_MEMBERS_MAX);
    uint64_t bit = (uint64_t)1 << member;
    if (request != s->number || s->asked == 0 || s->answered & bit || !sound(s, m)) return false;
    s->answered |= bit;
    if (m->kind == MESSAGE_RECOVER_RESPONSE) {
        count_replica(s, m);
    } else if (m->answer == ANSWER_REJECT) {
        s->promises++;
        if (m->proposal > s->promised) s->promised = m->proposal;
    }
    return true;
}

bool survey_is_over(const struct survey *s)
{
    return s->asked > 0 && (unsigned)__builtin_popcountll(s->answered) >= s->asked;
}
