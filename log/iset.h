/* A set of 64-bit numbers kept as sorted, disjoint, non-touching intervals: holes of a log are few runs, however long.
 * Zero-initialised is empty and valid. */
#ifndef AURORA_LOG_ISET_H
#define AURORA_LOG_ISET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
    uint64_t lo, hi; /* lo <= x < hi */
};

struct iset {
    struct interval *v;
    size_t n, cap;
};

void iset_release(struct iset *s);
/* Adds or removes all x with lo <= x < hi; nothing if lo >= hi. */
void iset_add(struct iset *s, uint64_t lo, uint64_t hi);
void iset_remove(struct iset *s, uint64_t lo, uint64_t hi);
bool iset_has(const struct iset *s, uint64_t x);
/* The smallest member >= from, or UINT64_MAX. */
uint64_t iset_next(const struct iset *s, uint64_t from);
bool iset_eq(const struct iset *a, const struct iset *b);

#endif
