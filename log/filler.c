#include "log/filler.h"

#include <assert.h>

void filler_init(struct filler *f, unsigned quorum, uint64_t seed, uint64_t timeout_ms, const struct replica *local)
{
    struct rng rng = { seed };
    *f = (struct filler){ .local = local, .window = LIMIT_LOG_FILLS };
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) {
        const struct coordinator_config worker = {
            .quorum = quorum,
            .seed = rng_next(&rng),
            .fill_timeout_ms = timeout_ms,
        };
        coordinator_init(&f->workers[i], &worker, local);
    }
}

void filler_release(struct filler *f)
{
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) coordinator_release(&f->workers[i]);
}

void filler_members(struct filler *f, unsigned n)
{
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) coordinator_members(&f->workers[i], n);
}

static bool busy(const struct coordinator *w)
{
    return w->state != COORDINATOR_IDLE;
}

static bool says_something(const struct coordinator_output *out)
{
    return out->has_request || out->has_learned;
}

/* What one of them has seen rejected would be rejected again. */
static uint64_t highest(const struct filler *f)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) {
        const struct coordinator *w = &f->workers[i];
        if (w->highest > n) n = w->highest;
    }
    return n;
}

/* Hands the next missing position to the worker; false: there is none. */
static bool hand_out(struct filler *f, struct coordinator *w, uint64_t now_ms, struct coordinator_output *out)
{
    uint64_t position = replica_next_missing(f->local, f->next, f->last);
    if (position == UINT64_MAX) return false;
    f->next = position + 1;
    w->highest = highest(f);
    coordinator_catch_up(w, position, position, now_ms, out);
    return true;
}

/* Gives what one worker has to say; false: none has anything. */
static bool advance_workers(struct filler *f, uint64_t now_ms, struct coordinator_output *out)
{
    for (unsigned i = 0; i < f->window; i++) {
        struct coordinator *w = &f->workers[i];
        if (busy(w)) coordinator_advance(w, now_ms, out);
        if (!says_something(out) && !busy(w)) hand_out(f, w, now_ms, out);
        if (says_something(out)) return true;
        *out = (struct coordinator_output){ 0 }; /* the end of one position is not the end */
    }
    return false;
}

static bool finished(const struct filler *f)
{
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++)
        if (busy(&f->workers[i])) return false;
    return replica_next_missing(f->local, f->next, f->last) == UINT64_MAX;
}

void filler_advance(struct filler *f, uint64_t now_ms, struct coordinator_output *out)
{
    *out = (struct coordinator_output){ 0 };
    if (!f->active || advance_workers(f, now_ms, out) || !finished(f)) return;
    f->active = false;
    out->done = true;
}

void filler_begin(struct filler *f, uint64_t from, uint64_t to, uint64_t now_ms, struct coordinator_output *out)
{
    assert(!f->active);
    f->active = true;
    f->next = from;
    f->last = to;
    filler_advance(f, now_ms, out);
}

void filler_stop(struct filler *f)
{
    f->active = false;
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) coordinator_demote(&f->workers[i]);
}

void filler_answer(struct filler *f, uint64_t request, unsigned member, const struct message *m, uint64_t now_ms,
                   struct coordinator_output *out)
{
    *out = (struct coordinator_output){ 0 };
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) {
        struct coordinator *w = &f->workers[i];
        if (!busy(w) || w->round.number != request) continue;
        coordinator_answer(w, request, member, m, now_ms, out);
        return;
    }
}

uint64_t filler_deadline(const struct filler *f)
{
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i < LIMIT_LOG_FILLS; i++) {
        uint64_t d = coordinator_deadline(&f->workers[i]);
        if (d < at) at = d;
    }
    return at;
}
