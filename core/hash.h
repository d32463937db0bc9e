/* uthash as this program uses it: out of memory aborts, as everywhere (core/buf.h). Tables iterate in order of
 * insertion, so nothing here ever depends on the order of hashes or addresses. */
#ifndef AURORA_CORE_HASH_H
#define AURORA_CORE_HASH_H

#include <stdlib.h>

#define uthash_fatal(msg) abort()
#include <uthash.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* FNV-1a, 64 bits. */
static inline uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

#endif
