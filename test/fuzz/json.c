/* Plain JSON, strict and lenient, written both ways; every failure has a message. */
#include "test/fuzz/codec.h"

static int read_strict(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a)
{
    return json_read(data, n, d, obj, a, JSON_STRICT, NULL);
}

static int write_plain(struct buf *out, const struct tdesc *d, const void *obj)
{
    return json_write(out, d, obj, JSON_PLAIN);
}

/* Gson's form shows unset primitives, so it is compared in storage form. */
static void check_gson(const struct tdesc *d, const void *x, struct arena *a)
{
    struct buf b = { 0 };
    void *y = thrift_clone(d, x, a);
    thrift_normalize(d, y, a);
    assert(json_write(&b, d, y, JSON_GSON) == 0);
    assert(thrift_compare(d, y, fuzz_read(read_strict, &b, d, a)) == 0);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2) return 0;
    const struct tdesc *d = fuzz_type(data[0]);
    struct arena a = { 0 };
    struct buf err = { 0 };
    void *x = arena_alloc(&a, d->size);
    int rc = json_read(data + 2, n - 2, d, x, &a, data[1] & 1 ? JSON_STRICT : JSON_PLAIN, &err);
    assert((rc < 0) == (err.len > 0));
    if (rc == 0) {
        fuzz_round_trip(read_strict, write_plain, d, x, &a);
        check_gson(d, x, &a);
    }
    buf_release(&err);
    arena_release(&a);
    return 0;
}
