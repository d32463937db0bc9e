/* Numbers and JSON strings as text. */
#include "core/rng.h"
#include "core/text.h"
#include "test/lib/random_value.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static uint64_t the_seed;

static void assert_java(double v, const char *want)
{
    struct buf b = { 0 };
    java_double(&b, v);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_doubles_look_like_java(void **state)
{
    (void)state;
    assert_java(0, "0.0");
    assert_java(-0.0, "-0.0");
    assert_java(12, "12.0");
    assert_java(-1.5, "-1.5");
    assert_java(0.1, "0.1");
    assert_java(0.1 + 0.2, "0.30000000000000004");
    assert_java(123.456, "123.456");
    assert_java(0.001, "0.001");
    assert_java(0.00099, "9.9E-4");
    assert_java(1.5e-4, "1.5E-4");
    assert_java(9999999, "9999999.0");
    assert_java(9999999.5, "9999999.5");
    assert_java(1e7, "1.0E7");
    assert_java(12345678.9, "1.23456789E7");
    assert_java(1e21, "1.0E21");
    assert_java(100.0 / 3, "33.333333333333336");
    assert_java(DBL_MAX, "1.7976931348623157E308");
    assert_java(DBL_MIN, "2.2250738585072014E-308");
    assert_java(0x1p-1074, "4.9E-324");
    assert_java(0x1p-1072, "2.0E-323");
    assert_java(NAN, "NaN");
    assert_java(INFINITY, "Infinity");
    assert_java(-INFINITY, "-Infinity");
}

static void test_doubles_read_back(void **state)
{
    (void)state;
    struct rng r = { the_seed };
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t bits = rng_next(&r), again;
        double v, w;
        memcpy(&v, &bits, sizeof v);
        if (v - v != 0) continue;
        struct buf b = { 0 };
        java_double(&b, v);
        assert_true(text_parse_double(str_c(buf_cstr(&b)), &w));
        memcpy(&again, &w, sizeof again);
        assert_int_equal(bits, again);
        buf_release(&b);
    }
}

static void test_doubles_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = { "",     "-",   ".5",  "5.", "1e", "1e+",  "+1",
                                       "0x10", "nan", "inf", "1 ", " 1", "1.0f", "1e999" };
    double v = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(text_parse_double(str_c(bad[i]), &v));
    assert_int_equal(v, 7);
    struct buf b = { 0 };
    for (int i = 0; i < 1000; i++) buf_addc(&b, '0');
    buf_adds(&b, "25.5e-1");
    assert_true(text_parse_double(str_c(buf_cstr(&b)), &v));
    assert_true(v == 2.55);
    buf_release(&b);
}

static void assert_i64(const char *text, int64_t want)
{
    int64_t v;
    assert_true(text_parse_i64(str_c(text), &v));
    assert_true(v == want);
}

static void test_integers(void **state)
{
    (void)state;
    assert_i64("0", 0);
    assert_i64("-0", 0);
    assert_i64("9223372036854775807", INT64_MAX);
    assert_i64("-9223372036854775808", INT64_MIN);
    static const char *const bad[] = { "",
                                       "-",
                                       "--1",
                                       "+1",
                                       "1.0",
                                       "1e3",
                                       " 1",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "18446744073709551616",
                                       "99999999999999999999999" };
    int64_t v;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(text_parse_i64(str_c(bad[i]), &v));
    static const int64_t edges[] = { 0, 7, -7, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        struct buf b = { 0 };
        text_i64(&b, edges[i]);
        assert_i64(buf_cstr(&b), edges[i]);
        buf_release(&b);
    }
}

static void assert_json(const char *bytes, uint32_t n, bool for_html, const char *want)
{
    struct buf b = { 0 };
    text_json_string(&b, (struct str){ bytes, n }, for_html);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

#define BYTES(lit) lit, sizeof(lit) - 1

static void test_json_strings(void **state)
{
    (void)state;
    assert_json(NULL, 0, false, "\"\"");
    assert_json(BYTES("plain text, longer than eight bytes"), false, "\"plain text, longer than eight bytes\"");
    assert_json(BYTES("\"\\/\b\f\n\r\t\x01\x1f\x7f"), false, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    assert_json(BYTES("a\0b"), false, "\"a\\u0000b\"");
    assert_json(BYTES("<&>='"), false, "\"<&>='\"");
    assert_json(BYTES("<&>='"), true, "\"\\u003c\\u0026\\u003e\\u003d\\u0027\"");
    assert_json(BYTES("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"), true, "\"\\u2028\\u2029\xe2\x80\xaa\"");
    assert_json(BYTES("\xe2\x80\xa8"), false, "\"\xe2\x80\xa8\"");
    for (uint32_t at = 0; at < 17; at++) { /* wherever the special character is in a word of eight */
        char text[32], want[64];
        memset(text, 'x', sizeof text);
        text[at] = '"';
        snprintf(want, sizeof want, "\"%.*s\\\"%.*s\"", (int)at, text, 17 - (int)at, "xxxxxxxxxxxxxxxxx");
        assert_json(text, 18, false, want);
    }
}

static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;
#define BAD "\xef\xbf\xbd"
    assert_json(BYTES("a\xff"
                      "b"),
                false, "\"a" BAD "b\"");
    assert_json(BYTES("\xc3"), false, "\"" BAD "\"");                         /* cut off */
    assert_json(BYTES("\xc0\x80"), false, "\"" BAD BAD "\"");                 /* too long a form of NUL */
    assert_json(BYTES("\xed\xa0\x80"), false, "\"" BAD BAD BAD "\"");         /* a surrogate */
    assert_json(BYTES("\xf4\x90\x80\x80"), false, "\"" BAD BAD BAD BAD "\""); /* beyond U+10FFFF */
    assert_json(BYTES("\xf0\x9f\x98\x80"), false, "\"\xf0\x9f\x98\x80\"");
}

static void test_utf8_add_and_length_agree(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110100; code += code < 0x3000 ? 1 : 61) {
        struct buf b = { 0 };
        utf8_add(&b, code);
        assert_int_equal(utf8_length(b.data, b.len), b.len);
        bool replaced = b.len == 3 && memcmp(b.data, BAD, 3) == 0;
        assert_int_equal(replaced, (code >= 0xd800 && code < 0xe000) || code > 0x10ffff || code == 0xfffd);
        buf_release(&b);
    }
}

static void assert_base64(const char *bytes, uint32_t n, const char *padded)
{
    struct buf b = { 0 };
    text_base64(&b, (struct str){ bytes, n }, true);
    assert_string_equal(buf_cstr(&b), padded);
    buf_reset(&b);
    text_base64(&b, (struct str){ bytes, n }, false);
    assert_int_equal(b.len, (4 * n + 2) / 3);
    char back[64];
    uint32_t m = 99;
    assert_true(text_parse_base64((struct str){ (char *)b.data, (uint32_t)b.len }, back, &m));
    assert_int_equal(m, n);
    assert_memory_equal(back, bytes, n);
    assert_true(text_parse_base64(str_c(padded), back, &m));
    assert_int_equal(m, n);
    assert_memory_equal(back, bytes, n);
    buf_release(&b);
}

static void test_base64(void **state)
{
    (void)state;
    assert_base64("", 0, "");
    assert_base64("f", 1, "Zg==");
    assert_base64("fo", 2, "Zm8=");
    assert_base64("foo", 3, "Zm9v");
    assert_base64("foobar", 6, "Zm9vYmFy");
    assert_base64(BYTES("\xff\xfe\xfd\0\xfb"), "//79APs=");
    static const char *const bad[] = { "A", "AAAAA", "=", "A===", "AA=A", "A-B_", "AA AA", "Zg=", "Zm8==" };
    char back[16];
    uint32_t n = 99;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(text_parse_base64(str_c(bad[i]), back, &n));
    assert_int_equal(n, 99);
}

int main(void)
{
    the_seed = random_seed("build/asan/test/core_text");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_look_like_java),
        cmocka_unit_test(test_doubles_read_back),
        cmocka_unit_test(test_doubles_that_are_none),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_utf8_add_and_length_agree),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
