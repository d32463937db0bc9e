#include "log/recover.h"

#include <assert.h>

/* Of one position; then it is begun anew. */
#define FILL_TIMEOUT_MS 10000

void recover_init(struct recover *r, const struct recover_config *config, const struct replica *local)
{
    *r = (struct recover){ .config = *config, .local = local, .rng = { config->seed } };
    survey_init(&r->survey, config->quorum, rng_next(&r->rng) >> 16);
    filler_init(&r->filler, config->quorum, rng_next(&r->rng), FILL_TIMEOUT_MS, local);
}

void recover_release(struct recover *r)
{
    filler_release(&r->filler);
}

void recover_members(struct recover *r, unsigned n)
{
    r->survey.members = n;
    filler_members(&r->filler, n);
}

static void ask(struct recover *r, enum recover_state state, uint64_t now_ms, struct recover_output *out)
{
    bool status = state == RECOVER_SURVEY;
    assert(status || state == RECOVER_PROMISED);
    r->state = state;
    r->due_ms = now_ms + RECOVER_TIMEOUT_MS;
    survey_ask(&r->survey, status ? MESSAGE_RECOVER_REQUEST : MESSAGE_PROMISE_REQUEST, &out->to);
}

static void become(struct recover *r, enum replica_status status, uint64_t promised, struct recover_output *out)
{
    assert(r->local->status != REPLICA_VOTING);
    assert(promised >= r->local->promised);
    r->state = RECOVER_STORE;
    out->has_metadata = true;
    out->status = status;
    out->promised = promised;
}

static void begin_again(struct recover *r, uint64_t now_ms)
{
    r->state = RECOVER_DELAYED;
    r->due_ms = now_ms + RECOVER_DELAY_MS + rng_below(&r->rng, RECOVER_DELAY_MS);
}

void recover_start(struct recover *r, uint64_t now_ms, struct recover_output *out)
{
    assert(r->state == RECOVER_IDLE);
    *out = (struct recover_output){ 0 };
    out->done = r->local->status == REPLICA_VOTING;
    if (!out->done) ask(r, RECOVER_SURVEY, now_ms, out);
}

/* ---- automatic initialisation ---- */

/* Only where nobody can have written anything: the whole cluster is new. */
static bool initializes(const struct recover *r, enum replica_status *ret)
{
    const unsigned *n = r->survey.replicas;
    unsigned cluster = 2 * r->config.quorum - 1;
    if (!r->config.auto_initialize) return false;
    /* Who is STARTING goes on: by then all others are at least that, and the first one to vote makes the log exist. */
    if (r->local->status == REPLICA_EMPTY && !r->exists && n[REPLICA_EMPTY] + n[REPLICA_STARTING] >= cluster) {
        *ret = REPLICA_STARTING;
        return true;
    }
    if (r->local->status == REPLICA_STARTING && n[REPLICA_STARTING] + n[REPLICA_VOTING] >= cluster) {
        *ret = REPLICA_VOTING;
        return true;
    }
    return false;
}

bool recover_is_uninitialized(const struct recover *r)
{
    return (!r->config.auto_initialize || r->exists) && r->survey.replicas[REPLICA_EMPTY] >= 2 * r->config.quorum - 1;
}

/* ---- the survey ---- */

static void surveyed(struct recover *r, uint64_t now_ms, struct recover_output *out)
{
    enum replica_status next;
    if (r->survey.replicas[REPLICA_VOTING] >= r->config.quorum) {
        r->begin = r->survey.begin;
        r->end = r->survey.end;
        become(r, REPLICA_RECOVERING, r->local->promised, out);
    } else if (initializes(r, &next)) {
        become(r, next, r->local->promised, out);
    } else if (survey_is_over(&r->survey)) {
        begin_again(r, now_ms);
    }
}

static void promises_known(struct recover *r, uint64_t now_ms, struct recover_output *out)
{
    uint64_t promised = r->survey.promised > r->local->promised ? r->survey.promised : r->local->promised;
    if (r->survey.promises >= r->config.quorum)
        become(r, REPLICA_VOTING, promised, out);
    else if (survey_is_over(&r->survey))
        begin_again(r, now_ms);
}

/* ---- catching up ---- */

/* The filler's end is the recovery's next stage. */
static void filled(struct recover *r, uint64_t now_ms, struct recover_output *out)
{
    if (!out->to.done) return;
    assert(out->to.err == 0);
    assert(replica_next_missing(r->local, r->begin, r->end) == UINT64_MAX);
    out->to = (struct coordinator_output){ 0 };
    ask(r, RECOVER_PROMISED, now_ms, out);
}

void recover_stored(struct recover *r, uint64_t now_ms, struct recover_output *out)
{
    assert(r->state == RECOVER_STORE);
    *out = (struct recover_output){ 0 };
    switch (r->local->status) {
    case REPLICA_STARTING:
        ask(r, RECOVER_SURVEY, now_ms, out);
        break;
    case REPLICA_RECOVERING:
        r->state = RECOVER_CATCH_UP;
        filler_begin(&r->filler, r->begin, r->end, now_ms, &out->to);
        filled(r, now_ms, out);
        break;
    case REPLICA_VOTING:
        r->state = RECOVER_IDLE;
        out->done = true;
        break;
    case REPLICA_EMPTY:
        assert(!"nothing becomes EMPTY");
    }
}

/* ---- messages and time ---- */

void recover_answer(struct recover *r, uint64_t request, unsigned member, const struct message *m, uint64_t now_ms,
                    struct recover_output *out)
{
    *out = (struct recover_output){ 0 };
    if (r->state == RECOVER_CATCH_UP) {
        filler_answer(&r->filler, request, member, m, now_ms, &out->to);
        filled(r, now_ms, out);
        return;
    }
    bool status = r->state == RECOVER_SURVEY;
    if (!status && r->state != RECOVER_PROMISED) return;
    if (!survey_answer(&r->survey, request, member, m)) return;
    if (status)
        surveyed(r, now_ms, out);
    else
        promises_known(r, now_ms, out);
}

void recover_advance(struct recover *r, uint64_t now_ms, struct recover_output *out)
{
    *out = (struct recover_output){ 0 };
    switch (r->state) {
    case RECOVER_CATCH_UP:
        filler_advance(&r->filler, now_ms, &out->to);
        filled(r, now_ms, out);
        break;
    case RECOVER_SURVEY:
    case RECOVER_DELAYED:
    case RECOVER_PROMISED:
        if (now_ms >= r->due_ms)
            ask(r, RECOVER_SURVEY, now_ms, out);
        else if (r->state != RECOVER_DELAYED)
            survey_advance(&r->survey, &out->to);
        break;
    case RECOVER_IDLE:
    case RECOVER_STORE:
        break;
    }
}

uint64_t recover_deadline(const struct recover *r)
{
    if (r->state == RECOVER_CATCH_UP) return filler_deadline(&r->filler);
    if (r->state == RECOVER_IDLE || r->state == RECOVER_STORE) return UINT64_MAX;
    return r->due_ms;
}
