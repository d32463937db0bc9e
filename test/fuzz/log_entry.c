/* Stored entries: the input is a list of records, each with its length in two bytes, fed to one reader. */
#include "log/entry.h"

#include "core/err.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct entry_reader r = { .max_entry_bytes = 1 << 16, .max_inflated_bytes = 1 << 20 };
    int err = 0;
    while (n >= 2 && !err) {
        struct arena a = { .max_bytes = 16 << 20 };
        struct buf why = { 0 };
        const struct api_log_entry *e;
        size_t len = (size_t)data[0] << 8 | data[1];
        data += 2;
        n -= 2;
        if (len > n) len = n;
        err = entry_reader_feed(&r, data, len, &a, &e, &why);
        assert(err == 0 || (err == ERR_CORRUPT && why.len > 0 && !e));
        assert(!e || e->transaction || e->snapshot || e->has_noop);
        data += len;
        n -= len;
        buf_release(&why);
        arena_release(&a);
    }
    entry_reader_end(&r);
    entry_reader_release(&r);
    return 0;
}
