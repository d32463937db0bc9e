#include "log/catchup.h"

#include <assert.h>

/* Of one position; then it is begun anew. */
#define FILL_TIMEOUT_MS 10000

void catchup_init(struct catchup *c, unsigned quorum, uint64_t seed, const struct replica *local)
{
    struct rng rng = { seed };
    *c = (struct catchup){ .local = local, .gap = UINT64_MAX };
    survey_init(&c->survey, quorum, rng_next(&rng) >> 16);
    filler_init(&c->filler, quorum, rng_next(&rng), FILL_TIMEOUT_MS, local);
}

void catchup_release(struct catchup *c)
{
    filler_release(&c->filler);
}

void catchup_members(struct catchup *c, unsigned n)
{
    c->survey.members = n;
    filler_members(&c->filler, n);
}

static void look(struct catchup *c, uint64_t now_ms, struct coordinator_output *out)
{
    c->state = CATCHUP_SURVEY;
    c->due_ms = now_ms + CATCHUP_TIMEOUT_MS;
    survey_ask(&c->survey, MESSAGE_RECOVER_REQUEST, out);
}

static void rest(struct catchup *c, uint64_t now_ms)
{
    c->state = CATCHUP_WAITS;
    c->due_ms = now_ms + CATCHUP_INTERVAL_MS;
}

void catchup_start(struct catchup *c, uint64_t now_ms, struct coordinator_output *out)
{
    assert(c->state == CATCHUP_STOPPED);
    assert(c->local->status == REPLICA_VOTING);
    *out = (struct coordinator_output){ 0 };
    c->gap = UINT64_MAX;
    look(c, now_ms, out);
}

void catchup_stop(struct catchup *c)
{
    if (c->state == CATCHUP_FILL) filler_stop(&c->filler);
    c->state = CATCHUP_STOPPED;
}

static void filled(struct catchup *c, uint64_t now_ms, struct coordinator_output *out)
{
    if (out->done) rest(c, now_ms);
}

static void surveyed(struct catchup *c, uint64_t now_ms, struct coordinator_output *out)
{
    const struct survey *s = &c->survey;
    if (s->end > c->end) c->end = s->end;
    if (s->replicas[REPLICA_VOTING] >= s->quorum) {
        /* begin: what all of them have truncated is nowhere any more. */
        uint64_t last = s->end ? s->end - 1 : 0;
        if (s->end == 0 || s->begin > last) {
            out->done = true;
            rest(c, now_ms);
            return;
        }
        c->state = CATCHUP_FILL;
        filler_begin(&c->filler, s->begin, last, now_ms, out);
        filled(c, now_ms, out);
    } else if (survey_is_over(s)) {
        rest(c, now_ms);
    }
}

void catchup_answer(struct catchup *c, uint64_t request, unsigned member, const struct message *m, uint64_t now_ms,
                    struct coordinator_output *out)
{
    *out = (struct coordinator_output){ 0 };
    if (c->state == CATCHUP_FILL) {
        filler_answer(&c->filler, request, member, m, now_ms, out);
        filled(c, now_ms, out);
    } else if (c->state == CATCHUP_SURVEY && survey_answer(&c->survey, request, member, m)) {
        surveyed(c, now_ms, out);
    }
}

/* A new gap brings the next look forward, once: one that can't be filled must not make us ask without end. */
static void notice_gap(struct catchup *c, uint64_t now_ms)
{
    if (c->local->end > c->end) c->end = c->local->end;
    if (c->local->end == 0) return;
    uint64_t gap = replica_next_missing(c->local, 0, c->local->end - 1);
    if (gap == c->gap) return;
    c->gap = gap;
    if (gap != UINT64_MAX && c->due_ms > now_ms + CATCHUP_GRACE_MS) c->due_ms = now_ms + CATCHUP_GRACE_MS;
}

void catchup_advance(struct catchup *c, uint64_t now_ms, struct coordinator_output *out)
{
    *out = (struct coordinator_output){ 0 };
    switch (c->state) {
    case CATCHUP_STOPPED:
        break;
    case CATCHUP_WAITS:
        notice_gap(c, now_ms);
        if (now_ms >= c->due_ms) look(c, now_ms, out);
        break;
    case CATCHUP_SURVEY:
        if (now_ms >= c->due_ms)
            look(c, now_ms, out);
        else
            survey_advance(&c->survey, out);
        break;
    case CATCHUP_FILL:
        filler_advance(&c->filler, now_ms, out);
        filled(c, now_ms, out);
        break;
    }
}

uint64_t catchup_deadline(const struct catchup *c)
{
    if (c->state == CATCHUP_STOPPED) return UINT64_MAX;
    return c->state == CATCHUP_FILL ? filler_deadline(&c->filler) : c->due_ms;
}

uint64_t catchup_lag(const struct catchup *c)
{
    uint64_t end = c->local->end > c->end ? c->local->end : c->end;
    uint64_t first = replica_next_missing(c->local, 0, end);
    return first == UINT64_MAX ? 0 : end + 1 - first;
}
