/* A peer's announcement, or the data of the group's znode: refused, or a record that keeps its limits. */
#include "log/quorum.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct quorum_record r, again;
    struct buf b = { 0 };
    if (quorum_decode(data, n, &r) != 0) return 0;
    assert(r.size >= 1);
    assert(r.size <= LIMIT_LOG_QUORUM);
    assert(r.n_seen <= 2 * r.size - 1);
    quorum_encode(&r, &b);
    assert(quorum_decode(b.data, b.len, &again) == 0);
    assert(memcmp(&r, &again, sizeof(r)) == 0);
    buf_release(&b);
    return 0;
}
