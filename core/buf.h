/* A growable byte buffer. Zero-initialised is empty and valid. Running out of memory aborts the
 * process (a scheduler without memory can keep no promise), so appending has no error to check;
 * inputs are bounded by core/limits.h long before. */
#ifndef AURORA_CORE_BUF_H
#define AURORA_CORE_BUF_H

#include "core/str.h"

#include <stdarg.h>

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* The slow part of buf_reserve(): makes the buffer bigger. */
void buf_grow(struct buf *b, size_t n);
/* Makes room for n more bytes and returns where they go; buf_commit() counts them in. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->len < n || !b->data) buf_grow(b, n);
    return b->data + b->len;
}
static inline void buf_commit(struct buf *b, size_t n)
{
    b->len += n;
}
static inline void buf_add(struct buf *b, const void *data, size_t n)
{
    if (!n) return;
    memcpy(buf_reserve(b, n), data, n);
    b->len += n;
}
static inline void buf_addc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = (uint8_t)c;
    b->len++;
}
static inline void buf_adds(struct buf *b, const char *z)
{
    buf_add(b, z, strlen(z));
}
static inline void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes (n <= len) and moves the rest to the front. */
void buf_consume(struct buf *b, size_t n);
/* Keeps the memory. */
static inline void buf_reset(struct buf *b)
{
    b->len = 0;
}
/* Frees the memory; the buffer is empty and usable again. */
void buf_release(struct buf *b);
/* Ends the content with a NUL that is not counted, and returns it as C string. Borrowed. */
const char *buf_cstr(struct buf *b);

/* malloc, calloc, realloc and strndup that abort instead of returning NULL. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrndup(const char *s, size_t n);
char *xstrdup(const char *s);

#endif
