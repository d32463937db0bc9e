/* TJSON: structs and messages. */
#include "test/fuzz/codec.h"

static int read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a)
{
    return tjson_read(data, n, d, obj, a, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1) return 0;
    const struct tdesc *d = fuzz_type(data[0]);
    struct arena a = { 0 };
    void *x = arena_alloc(&a, d->size);
    size_t used = 0;
    if (tjson_read(data + 1, n - 1, d, x, &a, &used) == 0) {
        assert(used <= n - 1);
        tjson_message_end(data + 1, n - 1, used);
        fuzz_round_trip(read, tjson_write, d, x, &a);
    }
    struct tmessage m;
    if (tjson_message_read(data + 1, n - 1, &m, &a) == 0) assert(m.body <= n - 1);
    arena_release(&a);
    return 0;
}
