#include "core/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p) abort();
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) abort();
    return p;
}

void *xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q) abort();
    return q;
}

char *xstrndup(const char *s, size_t n)
{
    char *p = xmalloc(n + 1);
    if (n) memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

void buf_grow(struct buf *b, size_t n)
{
    assert(b->len <= b->cap);
    assert(n <= SIZE_MAX / 4 && b->len <= SIZE_MAX / 4);
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < n) cap *= 2;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *to = (char *)buf_reserve(b, 128);
    size_t room = b->cap - b->len;
    int n = vsnprintf(to, room, fmt, ap);
    assert(n >= 0);
    if ((size_t)n >= room) vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n && n < b->len) memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ 0 };
}

const char *buf_cstr(struct buf *b)
{
    *buf_reserve(b, 1) = 0;
    return (const char *)b->data;
}
