#include "mesos/backoff.h"

#include <assert.h>

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t uniform(int64_t from, int64_t to, struct rng *r)
{
    assert(from <= to);
    return from + (int64_t)rng_below(r, (uint64_t)(to - from) + 1);
}

void backoff_init(struct backoff *b, int64_t first, int64_t max)
{
    assert(first >= 0);
    assert(max >= 0);
    *b = (struct backoff){ .first = min64(first, max), .max = max };
    backoff_reset(b);
}

void backoff_reset(struct backoff *b)
{
    b->bound = b->first;
}

int64_t backoff_next(struct backoff *b, struct rng *r)
{
    int64_t delay = uniform(0, b->bound, r);
    b->bound = min64(b->bound * 2, b->max);
    return delay;
}

void patience_init(struct patience *p, int64_t min, int64_t max)
{
    assert(min >= 0);
    assert(min <= max);
    *p = (struct patience){ .min = min, .first = min64(min + min * 2 / 5, max), .max = max };
    patience_reset(p);
}

void patience_reset(struct patience *p)
{
    p->bound = p->first;
}

int64_t patience_draw(const struct patience *p, struct rng *r)
{
    return uniform(p->min, p->bound, r);
}

void patience_failed(struct patience *p)
{
    p->bound = min64(p->min + 2 * (p->bound - p->min), p->max);
}
