/* TBinary: structs and messages; and, on what decodes, copies and the storage form. */
#include "test/fuzz/codec.h"

static int read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a)
{
    return tbinary_read(data, n, d, obj, a, NULL);
}

static void check_storage_form(const struct tdesc *d, const void *x, struct arena *a)
{
    void *y = thrift_clone(d, x, a);
    assert(thrift_compare(d, x, y) == 0);
    thrift_normalize(d, y, a);
    void *z = thrift_clone(d, y, a);
    thrift_normalize(d, z, a);
    assert(thrift_compare(d, y, z) == 0);
    fuzz_round_trip(read, tbinary_write, d, y, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1) return 0;
    const struct tdesc *d = fuzz_type(data[0]);
    struct arena a = { 0 };
    void *x = arena_alloc(&a, d->size);
    size_t used = 0;
    if (tbinary_read(data + 1, n - 1, d, x, &a, &used) == 0) {
        assert(used <= n - 1);
        fuzz_round_trip(read, tbinary_write, d, x, &a);
        check_storage_form(d, x, &a);
    }
    struct tmessage m;
    if (tbinary_message_read(data + 1, n - 1, &m, &a) == 0) assert(m.body <= n - 1);
    arena_release(&a);
    return 0;
}
