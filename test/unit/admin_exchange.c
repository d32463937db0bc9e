/* Compression of answers. */
#include "admin/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>
#include <cmocka.h>

static void test_accepts_gzip(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool yes;
    } rows[] = { { NULL, false },
                 { "", false },
                 { "gzip", true },
                 { "deflate, gzip", true },
                 { "deflate,GZIP ;q=0.5", true },
                 { "gzip;q=0", false },
                 { "gzip; q=0.000001", true },
                 { "xgzip", false },
                 { "gzipped", false },
                 { "identity", false } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(accepts_gzip(str_c(rows[i].header)), rows[i].yes);
}

static void test_gzip(void **state)
{
    (void)state;
    struct buf b = { 0 };
    for (int i = 0; i < 10000; i++) buf_adds(&b, "abc");
    assert_true(gzip_buf(&b));
    assert_true(b.len < 1000);
    static uint8_t out[40000];
    z_stream z = { .next_in = b.data, .avail_in = (uInt)b.len, .next_out = out, .avail_out = sizeof(out) };
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, 30000);
    assert_memory_equal(out, "abcabc", 6);
    inflateEnd(&z);
    buf_release(&b);
}

static void test_what_does_not_shrink_stays(void **state)
{
    (void)state;
    struct buf b = { 0 };
    uint32_t x = 1;
    for (int i = 0; i < 1000; i++) buf_addc(&b, (char)((x = x * 1664525 + 1013904223) >> 24));
    assert_false(gzip_buf(&b));
    assert_int_equal(b.len, 1000);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_accepts_gzip), cmocka_unit_test(test_gzip),
                                        cmocka_unit_test(test_what_does_not_shrink_stays) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
