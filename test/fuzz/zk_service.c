/* The leader's advertisement: refused, or an endpoint that is safe in a Location header and reads back as written. */
#include "zk/election.h"

#include "core/buf.h"

#include <assert.h>
#include <ctype.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct zk_endpoint e = { 0 }, again = { 0 };
    struct buf b = { 0 };
    if (zk_service_read((struct str){ (const char *)data, (uint32_t)n }, &e) != 0) {
        assert(!e.host[0]);
        return 0;
    }
    assert(e.port > 0);
    assert(e.host[0]);
    for (const char *p = e.host; *p; p++) assert(isalnum((unsigned char)*p) || strchr("-._:[]%", *p));
    zk_service_write(&b, e.host, e.port, "http");
    int err = zk_service_read((struct str){ buf_cstr(&b), (uint32_t)b.len }, &again);
    assert(!err);
    assert(strcmp(e.host, again.host) == 0);
    assert(e.port == again.port);
    buf_release(&b);
    return 0;
}
