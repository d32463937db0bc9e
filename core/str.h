/* A counted string that somebody else owns. `p == NULL` means "unset", which differs from "".
 * Every str that this program makes is followed by a NUL byte which `n` does not count, so that
 * `%s` works on text without NUL bytes inside. */
#ifndef AURORA_CORE_STR_H
#define AURORA_CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    uint32_t n;
};

/* A str of a string literal. */
#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
/* printf arguments for "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

/* Borrows a C string; NULL gives the unset str. */
static inline struct str str_c(const char *z)
{
    return (struct str){ z, z ? (uint32_t)strlen(z) : 0 };
}

/* Byte equality. Two unset strings are equal; an unset one differs from "". */
static inline bool str_eq(struct str a, struct str b)
{
    if (!a.p || !b.p) return a.p == b.p;
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* Byte order, shorter first on a common prefix; unset sorts before "". */
static inline int str_cmp(struct str a, struct str b)
{
    if (!a.p || !b.p) return (a.p != NULL) - (b.p != NULL);
    uint32_t n = a.n < b.n ? a.n : b.n;
    int d = n ? memcmp(a.p, b.p, n) : 0;
    return d ? d : (a.n > b.n) - (a.n < b.n);
}

#endif
