/* What the codec fuzzers share: the first byte of an input picks the type, and what decodes must encode and decode to
 * the same. */
#ifndef AURORA_TEST_FUZZ_CODEC_H
#define AURORA_TEST_FUZZ_CODEC_H

#include "core/err.h"
#include "core/thrift.h"

#include "api.gen.h"

#include <assert.h>

typedef int (*codec_read)(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a);
typedef int (*codec_write)(struct buf *out, const struct tdesc *d, const void *obj);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline const struct tdesc *fuzz_type(uint8_t pick)
{
    uint32_t i = pick % (api_n_structs + api_n_methods);
    return i < api_n_structs ? api_structs[i] : api_methods[i - api_n_structs].args;
}

static inline void *fuzz_read(codec_read read, const struct buf *b, const struct tdesc *d, struct arena *a)
{
    void *obj = arena_alloc(a, d->size);
    int rc = read(b->data, b->len, d, obj, a);
    assert(rc == 0);
    return obj;
}

/* x was decoded from an input: what it encodes to decodes to an equal value and encodes to the same bytes. Only a union
 * whose member nobody here knows can be read but not written. */
static inline void fuzz_round_trip(codec_read read, codec_write write, const struct tdesc *d, const void *x,
                                   struct arena *a)
{
    struct buf once = { 0 }, twice = { 0 };
    int rc = write(&once, d, x);
    assert(rc == 0 || rc == ERR_INVALID);
    if (rc == 0) {
        const void *y = fuzz_read(read, &once, d, a);
        assert(thrift_compare(d, x, y) == 0);
        assert(write(&twice, d, y) == 0);
        assert(once.len == twice.len);
        assert(memcmp(once.data, twice.data, once.len) == 0);
    }
    buf_release(&once);
    buf_release(&twice);
}

#endif
