/* Backup files, read in portions: no bytes do harm, and what is read is written and read again as the same state. */
#include "log/backup.h"

#include "core/buf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct bytes {
    const uint8_t *p;
    size_t n, portion;
};

static int get(void *to, size_t n, size_t *ret_n, void *arg)
{
    struct bytes *b = arg;
    if (n > b->n) n = b->n;
    if (n > b->portion) n = b->portion;
    if (n) memcpy(to, b->p, n);
    b->p += n;
    b->n -= n;
    *ret_n = n;
    return 0;
}

static int put(const void *data, size_t n, void *arg)
{
    buf_add(arg, data, n);
    return 0;
}

static void check_again(struct store *s, int64_t timestamp_ms)
{
    struct buf out = { 0 };
    struct image *i = image_take(s, timestamp_ms);
    assert(backup_encode(i, put, &out) == 0);
    image_unref(i);
    struct bytes again = { out.data, out.len, out.len };
    struct store *back = store_new();
    int64_t t;
    assert(backup_decode(get, &again, back, &t) == 0);
    assert(t == timestamp_ms);
    assert(store_hash(back) == store_hash(s));
    store_free(back);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1) return 0;
    struct bytes in = { data + 1, n - 1, 1 + (size_t)data[0] * data[0] };
    struct store *s = store_new();
    int64_t timestamp_ms;
    if (backup_decode(get, &in, s, &timestamp_ms) == 0) check_again(s, timestamp_ms);
    store_free(s);
    return 0;
}
