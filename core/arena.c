#include "core/arena.h"

#include "core/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 1024, ARENA_CHUNK_MAX = 256 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t len, cap;
    _Alignas(16) unsigned char data[];
};

static struct arena_chunk *chunk_new(size_t cap, struct arena_chunk *next)
{
    struct arena_chunk *c = xmalloc(sizeof *c + cap);
    c->len = 0;
    c->cap = cap;
    c->next = next;
    return c;
}

/* A chunk with room for n bytes. What is big gets its own behind the first one, which so stays in use. */
static struct arena_chunk *chunk_for(struct arena *a, size_t n)
{
    struct arena_chunk *first = a->chunks;
    if (first && first->cap - first->len >= n) return first;
    if (first && n > ARENA_CHUNK_MAX / 4) return first->next = chunk_new(n, first->next);
    size_t cap = first ? first->cap * 2 : ARENA_FIRST;
    if (cap > ARENA_CHUNK_MAX) cap = ARENA_CHUNK_MAX;
    return a->chunks = chunk_new(cap > n ? cap : n, first);
}

void *arena_alloc(struct arena *a, size_t n)
{
    assert(n <= PTRDIFF_MAX);
    n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (n == 0) n = ARENA_ALIGN;
    if (a->max_bytes && (n > a->max_bytes || a->used > a->max_bytes - n)) return NULL;
    struct arena_chunk *c = chunk_for(a, n);
    void *p = c->data + c->len;
    c->len += n;
    a->used += n;
    return memset(p, 0, n);
}

struct str arena_str(struct arena *a, struct str s)
{
    if (!s.p) return s;
    char *p = arena_alloc(a, (size_t)s.n + 1);
    if (!p) return (struct str){ 0 };
    if (s.n) memcpy(p, s.p, s.n);
    return (struct str){ p, s.n };
}

struct str arena_strf(struct arena *a, const char *fmt, ...)
{
    char small[256]; /* most are; only longer ones are formatted twice */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    if ((size_t)n < sizeof small) return arena_str(a, (struct str){ small, (uint32_t)n });
    char *p = arena_alloc(a, (size_t)n + 1);
    if (!p) return (struct str){ 0 };
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return (struct str){ p, (uint32_t)n };
}

void arena_release(struct arena *a)
{
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct arena){ .max_bytes = a->max_bytes };
}
