#include "log/iset.h"

#include "core/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void iset_release(struct iset *s)
{
    free(s->v);
    *s = (struct iset){ 0 };
}

/* The first interval that ends at or behind x. */
static size_t lower(const struct iset *s, uint64_t x)
{
    size_t a = 0, b = s->n;
    while (a < b) {
        size_t mid = (a + b) / 2;
        if (s->v[mid].hi < x)
            a = mid + 1;
        else
            b = mid;
    }
    return a;
}

/* Replaces the intervals [from, to) by n others. */
static void splice(struct iset *s, size_t from, size_t to, const struct interval *with, size_t n)
{
    size_t tail = s->n - to, len = from + n + tail;
    assert(from <= to);
    if (len > s->cap) {
        s->cap = len * 2;
        s->v = xrealloc(s->v, s->cap * sizeof(*s->v));
    }
    if (tail) memmove(s->v + from + n, s->v + to, tail * sizeof(*s->v));
    if (n) memcpy(s->v + from, with, n * sizeof(*s->v));
    s->n = len;
}

void iset_add(struct iset *s, uint64_t lo, uint64_t hi)
{
    if (lo >= hi) return;
    size_t from = lower(s, lo), to = from;
    struct interval merged = { lo, hi };
    for (; to < s->n && s->v[to].lo <= hi; to++) {
        if (s->v[to].lo < merged.lo) merged.lo = s->v[to].lo;
        if (s->v[to].hi > merged.hi) merged.hi = s->v[to].hi;
    }
    splice(s, from, to, &merged, 1);
}

void iset_remove(struct iset *s, uint64_t lo, uint64_t hi)
{
    if (lo >= hi) return;
    size_t from = lower(s, lo), to = from, n = 0;
    struct interval rest[2];
    if (from < s->n && s->v[from].hi == lo) to = ++from; /* touches only */
    for (; to < s->n && s->v[to].lo < hi; to++) {
        struct interval i = s->v[to];
        if (i.lo < lo) rest[n++] = (struct interval){ i.lo, lo };
        if (i.hi > hi) rest[n++] = (struct interval){ hi, i.hi };
    }
    assert(n <= 2);
    if (to > from) splice(s, from, to, rest, n);
}

bool iset_has(const struct iset *s, uint64_t x)
{
    return iset_next(s, x) == x;
}

uint64_t iset_next(const struct iset *s, uint64_t from)
{
    size_t i = lower(s, from);
    if (i < s->n && s->v[i].hi == from) i++;
    if (i == s->n) return UINT64_MAX;
    return s->v[i].lo > from ? s->v[i].lo : from;
}

bool iset_eq(const struct iset *a, const struct iset *b)
{
    return a->n == b->n && (!a->n || memcmp(a->v, b->v, a->n * sizeof(*a->v)) == 0);
}
