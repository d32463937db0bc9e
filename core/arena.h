/* A bump allocator: everything that belongs to one decoded message, one step or one answer is
 * taken from one arena and freed at once. Zero-initialised is empty and valid. Memory comes
 * zeroed. */
#ifndef AURORA_CORE_ARENA_H
#define AURORA_CORE_ARENA_H

#include "core/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t used;      /* bytes handed out, padding included */
    size_t max_bytes; /* 0 = no limit; beyond it arena_alloc() returns NULL */
};

/* n zeroed bytes, aligned for any type. NULL only where max_bytes is set and would be exceeded. */
void *arena_alloc(struct arena *a, size_t n);
/* Copies, with a NUL behind. The unset str stays unset. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_strf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Frees everything; the arena is empty and usable again. */
void arena_release(struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))

#endif
