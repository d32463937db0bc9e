#include "log/coordinator.h"

#include "core/err.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void coordinator_init(struct coordinator *c, const struct coordinator_config *config, const struct replica *local)
{
    assert(config->quorum >= 1);
    *c = (struct coordinator){ .config = *config, .local = local, .rng = { config->seed }, .members = 1 };
    /* Numbers of another process life must not be taken for ours. */
    c->round.number = rng_next(&c->rng) >> 16;
}

static void drop(struct message **m)
{
    free(*m);
    *m = NULL;
}

void coordinator_release(struct coordinator *c)
{
    drop(&c->round.best);
    drop(&c->value);
}

void coordinator_members(struct coordinator *c, unsigned n)
{
    assert(n >= 1);
    assert(n <= COORDINATOR_MEMBERS_MAX);
    c->members = n;
}

void coordinator_demote(struct coordinator *c)
{
    c->state = COORDINATOR_IDLE;
    c->round.unsent = false;
    c->round.number++;
    drop(&c->round.best);
    drop(&c->value);
}

static void finish(struct coordinator *c, int err, struct coordinator_output *out)
{
    out->done = true;
    out->err = err;
    out->position = c->position;
    if (err || !c->elected)
        coordinator_demote(c);
    else
        c->state = COORDINATOR_ELECTED;
}

/* Alone, an accepted write is chosen: it is stored as learned at once, which saves a second store. */
static bool alone(const struct coordinator *c)
{
    return c->config.quorum == 1 && c->members == 1;
}

/* ---- rounds: one request to all members ---- */

static void send_round(struct coordinator *c, struct coordinator_output *out)
{
    c->round.unsent = c->members < c->config.quorum;
    if (c->round.unsent) return;
    out->has_request = true;
    out->request = c->round.number;
    out->message = c->round.message;
}

static void start_round(struct coordinator *c, enum coordinator_state state, const struct message *m,
                        struct coordinator_output *out)
{
    uint64_t number = c->round.number + 1;
    drop(&c->round.best);
    memset(&c->round, 0, sizeof(c->round));
    c->round.number = number;
    c->round.message = *m;
    c->state = state;
    send_round(c, out);
}

static void start_write(struct coordinator *c, enum coordinator_state state, uint64_t proposal,
                        const struct action *value, struct coordinator_output *out)
{
    struct message m = { .kind = MESSAGE_WRITE_REQUEST,
                         .proposal = proposal,
                         .has_position = true,
                         .position = c->position,
                         .binding = true,
                         .has_action = true,
                         .action = *value };
    m.action.position = c->position;
    m.action.has_learned = m.action.learned = alone(c);
    start_round(c, state, &m, out);
}

/* The written value as everybody is to learn it. */
static void tell_learned(const struct coordinator *c, struct coordinator_output *out)
{
    if (alone(c)) return;
    struct action a = c->round.message.action;
    a.promised = a.performed = c->round.message.proposal;
    a.has_performed = a.has_learned = a.learned = true;
    out->has_learned = true;
    out->learned = (struct message){ .kind = MESSAGE_LEARNED, .has_action = true, .action = a };
}

static uint64_t delay(struct coordinator *c, uint64_t now_ms)
{
    return now_ms + COORDINATOR_DELAY_MS + rng_below(&c->rng, COORDINATOR_DELAY_MS);
}

/* ---- filling ---- */

static void fill_promise(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    drop(&c->value);
    if (c->config.fill_timeout_ms && !c->elected) c->deadline_ms = now_ms + c->config.fill_timeout_ms;
    struct message m = {
        .kind = MESSAGE_PROMISE_REQUEST, .proposal = c->fill, .has_position = true, .position = c->position
    };
    start_round(c, COORDINATOR_FILL_PROMISE, &m, out);
}

static void fill_next(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    uint64_t next = replica_next_missing(c->local, c->from, c->index);
    if (next != UINT64_MAX) {
        c->from = c->position = next;
        fill_promise(c, now_ms, out);
        return;
    }
    c->position = c->index;
    if (c->elected) c->index++;
    finish(c, 0, out);
}

static void fill_again(struct coordinator *c, uint64_t now_ms)
{
    c->fill = (c->highest > c->fill ? c->highest : c->fill) + 1;
    c->resume_ms = delay(c, now_ms);
    if (!c->elected) c->deadline_ms = UINT64_MAX; /* the next try of the position has its own */
    c->state = COORDINATOR_FILL_DELAYED;
}

static void fill_learned(struct coordinator *c, const struct action *a, struct coordinator_output *out)
{
    c->value = message_copy(&(struct message){ .kind = MESSAGE_LEARNED, .has_action = true, .action = *a });
    out->has_learned = true;
    out->for_own = !c->elected;
    out->learned = *c->value;
    c->state = COORDINATOR_FILL_LEARN;
}

static void fill_write(struct coordinator *c, struct coordinator_output *out)
{
    static const struct action nop = { .type = ACTION_NOP };
    drop(&c->value);
    c->value = c->round.best;
    c->round.best = NULL;
    start_write(c, COORDINATOR_FILL_WRITE, c->fill, c->value ? &c->value->action : &nop, out);
}

/* ---- elections ---- */

static void attempt(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    uint64_t floor = c->highest > c->local->promised ? c->highest : c->local->promised;
    if (c->proposal > floor) floor = c->proposal;
    c->proposal = floor + 1;
    c->attempts--;
    c->deadline_ms = now_ms + c->config.election_timeout_ms;
    start_round(c, COORDINATOR_PROMISE, &(struct message){ .kind = MESSAGE_PROMISE_REQUEST, .proposal = c->proposal },
                out);
}

static void attempt_failed(struct coordinator *c, int err, uint64_t now_ms, struct coordinator_output *out)
{
    if (c->attempts == 0) {
        finish(c, err, out);
        return;
    }
    c->state = COORDINATOR_DELAYED;
    c->resume_ms = delay(c, now_ms);
}

void coordinator_elect(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    assert(c->state == COORDINATOR_IDLE);
    *out = (struct coordinator_output){ 0 };
    c->elected = true;
    c->attempts = c->config.election_attempts ? c->config.election_attempts : 1;
    attempt(c, now_ms, out);
}

void coordinator_catch_up(struct coordinator *c, uint64_t from, uint64_t to, uint64_t now_ms,
                          struct coordinator_output *out)
{
    assert(c->state == COORDINATOR_IDLE);
    *out = (struct coordinator_output){ 0 };
    c->elected = false;
    c->deadline_ms = UINT64_MAX;
    c->from = from;
    c->index = to;
    uint64_t floor = c->highest > c->local->promised ? c->highest : c->local->promised;
    if (floor && c->fill <= floor) c->fill = floor + 1; /* lower ones are known to be rejected */
    fill_next(c, now_ms, out);
}

void coordinator_write(struct coordinator *c, const struct action *value, uint64_t now_ms,
                       struct coordinator_output *out)
{
    assert(c->state == COORDINATOR_ELECTED);
    assert(value->type != ACTION_NONE);
    assert(value->type != ACTION_TRUNCATE || value->to <= c->index);
    *out = (struct coordinator_output){ 0 };
    c->position = c->index;
    c->deadline_ms = now_ms + c->config.write_timeout_ms;
    start_write(c, COORDINATOR_WRITE, c->proposal, value, out);
}

/* ---- answers ---- */

/* An answer that breaks the protocol counts as none. */
static bool sound(const struct coordinator *c, const struct message *m)
{
    const struct message *q = &c->round.message;
    bool write = q->kind == MESSAGE_WRITE_REQUEST;
    if (m->kind != (write ? MESSAGE_WRITE_RESPONSE : MESSAGE_PROMISE_RESPONSE)) return false;
    if (m->answer == ANSWER_ACCEPT && m->proposal != q->proposal) return false;
    if (write) return m->position == q->position;
    if (m->answer != ANSWER_ACCEPT) return true;
    if (!q->has_position) return m->has_position;
    return m->has_action ? m->action.position == q->position : m->has_position && m->position == q->position;
}

static void count(struct coordinator *c, const struct message *m)
{
    if (m->answer == ANSWER_IGNORED) {
        c->round.ignored++;
        return;
    }
    c->round.decided++;
    if (m->answer == ANSWER_REJECT) {
        c->round.rejected = true;
        if (m->proposal > c->highest) c->highest = m->proposal;
        return;
    }
    if (m->has_position && m->position > c->round.end) c->round.end = m->position;
    if (!m->has_action || !m->action.has_performed) return;
    if (c->round.best && c->round.best->action.performed >= m->action.performed) return;
    drop(&c->round.best);
    c->round.best = message_copy(m);
}

static void promise_decided(struct coordinator *c, bool ok, uint64_t now_ms, struct coordinator_output *out)
{
    if (!ok) {
        attempt_failed(c, ERR_REJECTED, now_ms, out);
        return;
    }
    c->fill = c->proposal + 1;
    c->from = 0;
    c->index = c->round.end;
    fill_next(c, now_ms, out);
}

static void write_decided(struct coordinator *c, bool ok, struct coordinator_output *out)
{
    if (!ok) {
        finish(c, ERR_REJECTED, out);
        return;
    }
    tell_learned(c, out);
    c->state = COORDINATOR_WRITE_LEARN;
}

static void decide(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    bool ok = !c->round.rejected && c->round.decided >= c->config.quorum;
    switch (c->state) {
    case COORDINATOR_PROMISE:
        promise_decided(c, ok, now_ms, out);
        break;
    case COORDINATOR_FILL_PROMISE:
        if (ok)
            fill_write(c, out);
        else
            fill_again(c, now_ms);
        break;
    case COORDINATOR_FILL_WRITE:
        if (ok) {
            tell_learned(c, out);
            c->state = COORDINATOR_FILL_LEARN;
        } else {
            fill_again(c, now_ms);
        }
        break;
    case COORDINATOR_WRITE:
        write_decided(c, ok, out);
        break;
    default:
        assert(!"no round is running");
    }
}

static bool waits_for_answers(const struct coordinator *c)
{
    return c->state == COORDINATOR_PROMISE || c->state == COORDINATOR_FILL_PROMISE ||
           c->state == COORDINATOR_FILL_WRITE || c->state == COORDINATOR_WRITE;
}

void coordinator_answer(struct coordinator *c, uint64_t request, unsigned member, const struct message *m,
                        uint64_t now_ms, struct coordinator_output *out)
{
    assert(member < COORDINATOR_MEMBERS_MAX);
    *out = (struct coordinator_output){ 0 };
    if (!waits_for_answers(c) || request != c->round.number || !sound(c, m)) return;
    /* What was said long ago may not be true any more: a process can be stopped before it reads it. */
    if (now_ms >= c->deadline_ms) return;
    if (c->round.answered & (uint64_t)1 << member) return;
    c->round.answered |= (uint64_t)1 << member;
    if (c->state == COORDINATOR_FILL_PROMISE && m->answer == ANSWER_ACCEPT && m->has_action && m->action.learned) {
        fill_learned(c, &m->action, out);
        return;
    }
    count(c, m);
    if (c->round.decided >= c->config.quorum || c->round.ignored >= c->config.quorum) decide(c, now_ms, out);
}

/* ---- time and the own replica ---- */

static void timed_out(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    if (c->state == COORDINATOR_WRITE || c->state == COORDINATOR_WRITE_LEARN)
        finish(c, ERR_TIMEOUT, out);
    else if (c->elected)
        attempt_failed(c, ERR_TIMEOUT, now_ms, out);
    else
        fill_again(c, now_ms);
}

static bool delayed(const struct coordinator *c)
{
    return c->state == COORDINATOR_DELAYED || c->state == COORDINATOR_FILL_DELAYED;
}

static void resume(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    if (c->state == COORDINATOR_DELAYED)
        attempt(c, now_ms, out);
    else if (replica_missing(c->local, c->position))
        fill_promise(c, now_ms, out);
    else
        fill_next(c, now_ms, out);
}

static void written(struct coordinator *c, struct coordinator_output *out)
{
    c->index = c->position + 1;
    finish(c, 0, out);
}

void coordinator_advance(struct coordinator *c, uint64_t now_ms, struct coordinator_output *out)
{
    *out = (struct coordinator_output){ 0 };
    if (c->state == COORDINATOR_IDLE || c->state == COORDINATOR_ELECTED) return;
    if (c->state == COORDINATOR_FILL_LEARN && !replica_missing(c->local, c->position))
        fill_next(c, now_ms, out);
    else if (c->state == COORDINATOR_WRITE_LEARN && !replica_missing(c->local, c->position))
        written(c, out);
    else if (c->state != COORDINATOR_DELAYED && now_ms >= c->deadline_ms)
        timed_out(c, now_ms, out);
    else if (delayed(c) && now_ms >= c->resume_ms)
        resume(c, now_ms, out);
    else if (c->round.unsent && waits_for_answers(c) && c->members >= c->config.quorum)
        send_round(c, out);
}

uint64_t coordinator_deadline(const struct coordinator *c)
{
    if (c->state == COORDINATOR_IDLE || c->state == COORDINATOR_ELECTED) return UINT64_MAX;
    if (c->state == COORDINATOR_DELAYED) return c->resume_ms;
    if (c->state == COORDINATOR_FILL_DELAYED && c->resume_ms < c->deadline_ms) return c->resume_ms;
    return c->deadline_ms;
}
