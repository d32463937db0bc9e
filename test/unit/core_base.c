/* The base pieces: buffers, arenas, strings, errors, log lines, random numbers. */
#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/logline.h"
#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---------------- str ---------------- */

static void test_str_unset_differs_from_empty(void **state)
{
    (void)state;
    struct str unset = { 0 }, empty = STR("");
    assert_true(str_eq(unset, unset));
    assert_true(str_eq(empty, str_c("")));
    assert_false(str_eq(unset, empty));
    assert_true(str_cmp(unset, empty) < 0);
    assert_true(str_cmp(empty, unset) > 0);
    assert_int_equal(str_cmp(unset, unset), 0);
    assert_null(str_c(NULL).p);
}

static void test_str_order_is_by_unsigned_bytes(void **state)
{
    (void)state;
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("b"), STR("ab")) > 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_true(str_cmp(STR("a\0b"), STR("a\0c")) < 0);
    assert_int_equal(str_cmp(STR("same"), str_c("same")), 0);
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
}

/* ---------------- buf ---------------- */

static void test_buf_appends_of_all_kinds(void **state)
{
    (void)state;
    struct buf b = { 0 };
    assert_string_equal(buf_cstr(&b), "");
    buf_addc(&b, 'a');
    buf_adds(&b, "bc");
    buf_add_str(&b, STR("de"));
    buf_add_str(&b, (struct str){ 0 });
    buf_add(&b, NULL, 0);
    buf_addf(&b, "%d%s", 12, "f");
    assert_string_equal(buf_cstr(&b), "abcde12f");
    assert_int_equal(b.len, 8); /* the NUL is not counted */
    buf_consume(&b, 0);
    buf_consume(&b, 3);
    assert_string_equal(buf_cstr(&b), "de12f");
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    uint8_t *before = b.data;
    buf_reset(&b);
    assert_ptr_equal(b.data, before);
    buf_release(&b);
    assert_null(b.data);
    buf_adds(&b, "again");
    assert_string_equal(buf_cstr(&b), "again");
    buf_release(&b);
}

/* The formatted text just fits into, and just exceeds, what is reserved for it at first. */
static void test_buf_addf_around_its_first_guess(void **state)
{
    (void)state;
    for (int n = 120; n <= 136; n++) {
        struct buf b = { 0 };
        buf_adds(&b, "<");
        buf_addf(&b, "%0*d", n, 7);
        buf_adds(&b, ">");
        assert_int_equal(b.len, n + 2);
        assert_memory_equal(b.data + n - 1, "07>", 3);
        buf_release(&b);
    }
}

static void test_buf_grows_and_keeps_its_content(void **state)
{
    (void)state;
    struct buf b = { 0 };
    for (uint32_t i = 0; i < 100000; i++) buf_add(&b, &i, sizeof i);
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t v;
        memcpy(&v, b.data + i * sizeof v, sizeof v);
        assert_int_equal(v, i);
    }
    memset(buf_reserve(&b, 1000), 'x', 1000);
    assert_int_equal(b.len, 400000);
    buf_commit(&b, 1000);
    assert_int_equal(b.len, 401000);
    buf_release(&b);
}

static void test_allocations_of_nothing(void **state)
{
    (void)state;
    free(xmalloc(0));
    free(xcalloc(0, 0));
    free(xrealloc(NULL, 0));
    char *s = xstrndup("abc", 2), *z = xstrdup(""), *none = xstrndup(NULL, 0);
    assert_string_equal(s, "ab");
    assert_string_equal(z, "");
    assert_string_equal(none, "");
    free(s);
    free(z);
    free(none);
}

/* ---------------- arena ---------------- */

static void test_arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    struct arena a = { 0 };
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_true(a.used >= 3000 / 7 * 1500);
    arena_release(&a);
    assert_int_equal(a.used, 0);
    assert_int_equal(*(char *)arena_alloc(&a, 1 << 20), 0); /* larger than any chunk */
    arena_release(&a);
}

static void test_arena_with_big_and_small_pieces_in_turn(void **state)
{
    (void)state;
    struct arena a = { 0 };
    char *small[50], *big[50];
    for (int i = 0; i < 50; i++) {
        small[i] = memset(arena_alloc(&a, 10), i, 10);
        big[i] = memset(arena_alloc(&a, 100000), i, 100000);
    }
    assert_true(small[1] - small[0] == 16); /* the big piece between them did not use up their chunk */
    for (int i = 0; i < 50; i++) {
        assert_int_equal(small[i][9], i);
        assert_int_equal(big[i][99999], i);
    }
    arena_release(&a);
}

static void test_arena_strings(void **state)
{
    (void)state;
    struct arena a = { 0 };
    char text[] = "text";
    struct str copy = arena_str(&a, str_c(text));
    text[0] = 'n';
    assert_string_equal(copy.p, "text");
    assert_null(arena_str(&a, (struct str){ 0 }).p);
    struct str empty = arena_str(&a, STR(""));
    assert_non_null(empty.p);
    assert_int_equal(empty.n, 0);
    struct str f = arena_strf(&a, "%s-%d", "job", 5);
    assert_string_equal(f.p, "job-5");
    assert_int_equal(f.n, 5);
    arena_release(&a);
}

static void test_arena_limit(void **state)
{
    (void)state;
    struct arena a = { .max_bytes = 64 };
    assert_non_null(arena_alloc(&a, 48));
    assert_null(arena_alloc(&a, 17));
    assert_null(arena_alloc(&a, PTRDIFF_MAX));
    assert_non_null(arena_alloc(&a, 16)); /* exactly full */
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_str(&a, STR("x")).p);
    assert_null(arena_strf(&a, "x").p);
    arena_release(&a);
    assert_int_equal(a.max_bytes, 64);
    assert_non_null(arena_alloc(&a, 64));
    arena_release(&a);
}

/* ---------------- err ---------------- */

static void test_every_error_has_its_text(void **state)
{
    (void)state;
    assert_string_equal(err_str(ERR_OK), "success");
    assert_string_equal(err_str(ERR_TRUNCATED), "input ends too early");
    assert_string_equal(err_str(-5), "unknown error");
    assert_string_equal(err_str(5), "unknown error");
#define X(code, text)                                                                                                  \
    assert_true(ERR_##code < 0);                                                                                       \
    assert_string_equal(err_str(ERR_##code), text);
    ERR_MAP(X)
#undef X
}

/* ---------------- logline ---------------- */

static void keep_line(enum log_level level, const char *line, void *arg)
{
    struct buf *b = arg;
    buf_addf(b, "%d:%s|", (int)level, line);
}

static void test_log_lines(void **state)
{
    (void)state;
    struct buf b = { 0 };
    logline(LOG_ERROR, "nobody", "listens=%d", 1);
    logline_set_sink(keep_line, &b);
    assert_int_equal(logline_level(), LOG_INFO);
    logline(LOG_DEBUG, "hidden", "x=%d", 1);
    logline(LOG_INFO, "started", "%s", "");
    logline(LOG_WARN, "task", "id=%s n=%d", "a\nERROR forged=1\x7f\t\x1b[31m", 3);
    logline_set_level(LOG_WARN);
    logline(LOG_INFO, "hidden", "x=%d", 1);
    logline_set_level(LOG_DEBUG);
    logline(LOG_DEBUG, "seen", "text=%s", "\u00e4");
    assert_string_equal(buf_cstr(&b), "1:started |2:task id=a?ERROR forged=1???[31m n=3|0:seen text=\u00e4|");
    logline_set_sink(NULL, NULL);
    logline(LOG_ERROR, "nobody", "listens=%d", 2);
    logline_set_level(LOG_INFO);
    buf_release(&b);
}

/* ---------------- rng ---------------- */

static void test_random_numbers_follow_from_the_seed(void **state)
{
    (void)state;
    struct rng a = { 1 }, b = { 1 }, c = { 2 }, zero = { 0 };
    assert_int_equal(rng_next(&zero), 0xe220a8397b1dcdaf); /* splitmix64's published first output */
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t v = rng_next(&a);
        assert_int_equal(v, rng_next(&b));
        differs |= v != rng_next(&c);
    }
    assert_true(differs);
}

static void test_random_numbers_cover_their_range(void **state)
{
    (void)state;
    struct rng r = { 3 };
    unsigned seen[7] = { 0 };
    double sum = 0;
    for (int i = 0; i < 7000; i++) {
        seen[rng_below(&r, 7)]++;
        double u = rng_unit(&r);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    for (int i = 0; i < 7; i++) assert_true(seen[i] > 800 && seen[i] < 1200);
    assert_true(sum > 3400 && sum < 3600);
    assert_int_equal(rng_below(&r, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_unset_differs_from_empty),
        cmocka_unit_test(test_str_order_is_by_unsigned_bytes),
        cmocka_unit_test(test_buf_appends_of_all_kinds),
        cmocka_unit_test(test_buf_addf_around_its_first_guess),
        cmocka_unit_test(test_buf_grows_and_keeps_its_content),
        cmocka_unit_test(test_allocations_of_nothing),
        cmocka_unit_test(test_arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(test_arena_with_big_and_small_pieces_in_turn),
        cmocka_unit_test(test_arena_strings),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_every_error_has_its_text),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_random_numbers_follow_from_the_seed),
        cmocka_unit_test(test_random_numbers_cover_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
