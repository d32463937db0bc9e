/* TBinary: known bytes, round trips, every kind of bad input, limits at their edge. */
#include "core/err.h"
#include "core/limits.h"
#include "test/lib/random_value.h"

#include "api.gen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static uint64_t the_seed;

#define BYTES(lit) lit, sizeof(lit) - 1

static void assert_bytes(struct buf *b, const char *want, size_t n)
{
    assert_int_equal(b->len, n);
    assert_memory_equal(b->data, want, n);
    buf_release(b);
}

/* Reads bytes as a struct of type d and releases; the result of the read. */
static int reading(const struct tdesc *d, const void *bytes, size_t n)
{
    struct arena a = { 0 };
    void *copy = malloc(n ? n : 1); /* so that the sanitizer sees a read behind the end */
    if (n) memcpy(copy, bytes, n);
    int rc = tbinary_read(copy, n, d, arena_alloc(&a, d->size), &a, NULL);
    free(copy);
    arena_release(&a);
    return rc;
}

static void test_known_bytes(void **state)
{
    (void)state;
    struct buf b = { 0 };
    struct api_job_key k = { .role = STR("r"), .name = STR("") };
    assert_int_equal(tbinary_write(&b, &api_job_key_desc, &k), 0);
    assert_bytes(&b, BYTES("\x0b\0\1\0\0\0\1r\x0b\0\3\0\0\0\0\0"));
    struct api_resource cpus = { .has_num_cpus = true, .num_cpus = 1.5 };
    assert_int_equal(tbinary_write(&b, &api_resource_desc, &cpus), 0);
    assert_bytes(&b, BYTES("\x04\0\1\x3f\xf8\0\0\0\0\0\0\0"));
    struct api_range range = { .has_first = true, .first = -2, .has_last = true, .last = 258 };
    assert_int_equal(tbinary_write(&b, &api_range_desc, &range), 0);
    assert_bytes(&b, BYTES("\x08\0\1\xff\xff\xff\xfe\x08\0\2\0\0\1\2\0"));
}

static void test_messages(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct tmessage m;
    const char call[] = "\x80\1\0\1\0\0\0\x0egetRoleSummary\0\0\0\1";
    assert_int_equal(tbinary_message_read(call, sizeof call, &m, &a),
                     0); /* with the NUL as the empty struct: 27 bytes */
    assert_true(str_eq(m.name, STR("getRoleSummary")));
    assert_int_equal(m.type, TMSG_CALL);
    assert_int_equal(m.seqid, 1);
    assert_int_equal(m.body, 26);
    const char old[] = "\0\0\0\2hi\1\xff\xff\xff\xfe";
    assert_int_equal(tbinary_message_read(old, sizeof old, &m, &a), 0);
    assert_true(str_eq(m.name, STR("hi")) && m.type == 1 && m.seqid == -2 && m.body == 11);
    for (size_t n = 0; n < sizeof call - 1; n++) assert_int_equal(tbinary_message_read(call, n, &m, &a), ERR_TRUNCATED);
    assert_int_equal(tbinary_message_read(BYTES("\x80\2\0\1\0\0\0\0\0\0\0\0"), &m, &a), ERR_MALFORMED);
    assert_int_equal(m.body, 11); /* untouched on failure */
    struct buf b = { 0 };
    struct api_response_detail d = { .message = STR("x") };
    assert_int_equal(tbinary_reply_write(&b, STR("m"), 7, &api_response_detail_desc, &d), 0);
    assert_bytes(&b, BYTES("\x80\1\0\2\0\0\0\1m\0\0\0\7\x0c\0\0\x0b\0\1\0\0\0\1x\0\0"));
    tbinary_exception_write(&b, STR("m"), 7, "no", 1);
    assert_bytes(&b, BYTES("\x80\1\0\3\0\0\0\1m\0\0\0\7\x0b\0\1\0\0\0\2no\x08\0\2\0\0\0\1\0"));
    arena_release(&a);
}

static void test_round_trip_of_every_struct(void **state)
{
    (void)state;
    struct rng r = { the_seed };
    for (uint32_t i = 0; i < api_n_structs * 20; i++) {
        const struct tdesc *d = api_structs[i % api_n_structs];
        struct arena a = { 0 };
        struct buf b = { 0 };
        void *x = random_value(&r, d, &a), *y = arena_alloc(&a, d->size);
        assert_int_equal(tbinary_write(&b, d, x), 0);
        buf_addc(&b, '!');
        size_t used;
        assert_int_equal(tbinary_read(b.data, b.len, d, y, &a, &used), 0);
        assert_int_equal(used, b.len - 1);
        assert_int_equal(thrift_compare(d, x, y), 0);
        assert_int_equal(tbinary_read(b.data, b.len, d, arena_alloc(&a, d->size), &a, NULL), ERR_MALFORMED);
        buf_release(&b);
        arena_release(&a);
    }
}

static void test_every_cut_is_noticed(void **state)
{
    (void)state;
    struct rng r = { the_seed + 1 };
    for (uint32_t i = 0; i < api_n_structs; i++) {
        struct arena a = { 0 };
        struct buf b = { 0 };
        void *x = random_value(&r, api_structs[i], &a);
        assert_int_equal(tbinary_write(&b, api_structs[i], x), 0);
        for (size_t n = 0; n < b.len; n += 1 + b.len / 200)
            assert_int_equal(reading(api_structs[i], b.data, n), ERR_TRUNCATED);
        buf_release(&b);
        arena_release(&a);
    }
}

static void test_defaults_and_unknown_fields(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct api_task_config c = { 0 };
    /* priority as i64 (another type: skipped), unknown field 99 {1: map<string,list<bool>>}, tier as string */
    const char bytes[] = "\x0a\0\x0b\0\0\0\0\0\0\0\5"
                         "\x0c\0\x63\x0d\0\1\x0b\x0f\0\0\0\1\0\0\0\1k\2\0\0\0\2\1\1\0"
                         "\x0b\0\x1e\0\0\0\1t";
    assert_int_equal(tbinary_read(bytes, sizeof bytes, &api_task_config_desc, &c, &a, NULL), 0);
    assert_false(c.has_priority);
    assert_true(str_eq(c.tier, STR("t")));
    assert_non_null(c.container);
    assert_non_null(c.container->mesos);
    arena_release(&a);
}

static void test_unions(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_adds(&b, "before");
    struct api_resource none = { 0 };
    assert_int_equal(tbinary_write(&b, &api_resource_desc, &none), ERR_INVALID);
    struct api_resource two = { .has_ram_mb = true, .has_disk_mb = true };
    assert_int_equal(tbinary_write(&b, &api_resource_desc, &two), ERR_INVALID);
    assert_int_equal(b.len, 6);
    buf_release(&b);
    assert_int_equal(reading(&api_resource_desc, BYTES("\0")), 0); /* perhaps a member that we do not know */
    assert_int_equal(reading(&api_resource_desc, BYTES("\x0a\0\2\0\0\0\0\0\0\0\1\x0a\0\3\0\0\0\0\0\0\0\1\0")),
                     ERR_MALFORMED);
}

static void test_malformed(void **state)
{
    (void)state;
    const struct tdesc *attribute = &api_attribute_desc, *assigned = &api_assigned_task_desc;
    assert_int_equal(tbinary_read(NULL, 0, attribute, &(struct api_attribute){ 0 }, &(struct arena){ 0 }, NULL),
                     ERR_TRUNCATED);
    assert_int_equal(reading(attribute, BYTES("\1\0\1\0")), ERR_MALFORMED);                       /* no such type */
    assert_int_equal(reading(attribute, BYTES("\x10\0\1\0")), ERR_MALFORMED);                     /* nor this one */
    assert_int_equal(reading(attribute, BYTES("\x0b\0\1\xff\xff\xff\xff\0")), ERR_MALFORMED);     /* length -1 */
    assert_int_equal(reading(attribute, BYTES("\x0e\0\2\x0b\xff\xff\xff\xff\0")), ERR_MALFORMED); /* size -1 */
    assert_int_equal(reading(attribute, BYTES("\x0e\0\2\x08\0\0\0\1\0\0\0\0\0")),
                     ERR_MALFORMED);                                          /* of i32, not string */
    assert_int_equal(reading(attribute, BYTES("\x0e\0\2\x08\0\0\0\0\0")), 0); /* harmless if empty */
    assert_int_equal(reading(attribute, BYTES("\x0e\0\2\1\0\0\0\1\0\0")), ERR_MALFORMED);
    assert_int_equal(reading(assigned, BYTES("\x0d\0\5\x0b\x0b\0\0\0\1\0\0\0\0\0\0\0\0\0")), ERR_MALFORMED);
    assert_int_equal(reading(assigned, BYTES("\x0d\0\5\1\x08\0\0\0\1\0\0\0\0\0\0\0\0\0")), ERR_MALFORMED);
}

/* A struct with an unknown field of `depth - 1` lists inside one another: the struct itself is the first level. */
static int nested(unsigned depth)
{
    struct buf b = { 0 };
    buf_add(&b, "\x0f\0\x63", 3);
    for (unsigned i = 2; i < depth; i++) buf_add(&b, "\x0f\0\0\0\1", 5);
    buf_add(&b, "\x02\0\0\0\0\0", 6);
    int rc = reading(&api_attribute_desc, b.data, b.len);
    buf_release(&b);
    return rc;
}

static void test_depth_limit(void **state)
{
    (void)state;
    assert_int_equal(nested(LIMIT_CODEC_DEPTH), 0);
    assert_int_equal(nested(LIMIT_CODEC_DEPTH + 1), ERR_TOO_DEEP);
    assert_int_equal(nested(100000), ERR_TOO_DEEP);
}

static int string_of(uint32_t n)
{
    struct buf b = { 0 };
    struct api_identity id = { .user = { calloc(1, n), n } };
    int written = tbinary_write(&b, &api_identity_desc, &id);
    uint8_t head[7] = { TT_STRING, 0, 2, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
    buf_reset(&b);
    buf_add(&b, head, sizeof head);
    buf_add(&b, id.user.p, n);
    buf_addc(&b, 0);
    int read = reading(&api_identity_desc, b.data, b.len);
    assert_int_equal(read, written);
    free((void *)(uintptr_t)id.user.p);
    buf_release(&b);
    return read;
}

static void test_string_limit(void **state)
{
    (void)state;
    assert_int_equal(string_of(LIMIT_CODEC_STRING_BYTES), 0);
    assert_int_equal(string_of(LIMIT_CODEC_STRING_BYTES + 1), ERR_TOO_BIG);
}

static int list_of(uint32_t n)
{
    struct buf b = { 0 };
    struct api_variable_batch_job_update_strategy s = { .has_group_sizes = true, .n_group_sizes = n };
    s.group_sizes = calloc(n, sizeof *s.group_sizes);
    int written = tbinary_write(&b, &api_variable_batch_job_update_strategy_desc, &s);
    uint8_t head[8] = { TT_LIST, 0, 1, TT_I32, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
    buf_reset(&b);
    buf_add(&b, head, sizeof head);
    buf_add(&b, s.group_sizes, n * sizeof *s.group_sizes);
    buf_addc(&b, 0);
    int read = reading(&api_variable_batch_job_update_strategy_desc, b.data, b.len);
    assert_int_equal(read, written);
    free(s.group_sizes);
    buf_release(&b);
    return read;
}

static void test_element_limit(void **state)
{
    (void)state;
    assert_int_equal(list_of(LIMIT_CODEC_ELEMENTS), 0);
    assert_int_equal(list_of(LIMIT_CODEC_ELEMENTS + 1), ERR_TOO_BIG);
}

static void test_a_claimed_count_allocates_nothing(void **state)
{
    (void)state;
    /* 65536 tasks claimed, 8 bytes there: must fail before an array is made, so within a small arena */
    const char bytes[] = "\x0f\0\1\x0c\0\1\0\0\0\0\0\0\0\0\0";
    struct arena a = { .max_bytes = 4096 };
    struct api_schedule_status_result r = { 0 };
    assert_int_equal(tbinary_read(bytes, sizeof bytes, &api_schedule_status_result_desc, &r, &a, NULL), ERR_TRUNCATED);
    assert_int_equal(a.used, 0);
    arena_release(&a);
}

static void test_memory_limit(void **state)
{
    (void)state;
    struct buf b = { 0 };
    struct api_job_key k = { .role = STR("role"), .environment = STR("env"), .name = STR("name") };
    assert_int_equal(tbinary_write(&b, &api_job_key_desc, &k), 0);
    struct arena measure = { 0 };
    assert_int_equal(tbinary_read(b.data, b.len, &api_job_key_desc, &k, &measure, NULL), 0);
    size_t need = measure.used;
    arena_release(&measure);
    for (size_t more = 0; more <= 16; more += 16) { /* the caller's limit, and the codecs' own; one arena unit beyond */
        struct arena own = { .max_bytes = need - more }, fixed = { .used = LIMIT_CODEC_ARENA_BYTES - need + more };
        assert_int_equal(tbinary_read(b.data, b.len, &api_job_key_desc, &k, &own, NULL), more ? ERR_TOO_BIG : 0);
        assert_int_equal(tbinary_read(b.data, b.len, &api_job_key_desc, &k, &fixed, NULL), more ? ERR_TOO_BIG : 0);
        arena_release(&own);
        arena_release(&fixed);
    }
    buf_release(&b);
}

static void test_damaged_input_never_crashes(void **state)
{
    (void)state;
    struct rng r = { the_seed + 2 };
    for (unsigned i = 0; i < 20000; i++) {
        const struct tdesc *d = api_structs[rng_below(&r, api_n_structs)];
        struct arena a = { 0 };
        struct buf b = { 0 };
        void *x = random_value(&r, d, &a);
        assert_int_equal(tbinary_write(&b, d, x), 0);
        for (uint64_t k = rng_below(&r, 4); k < 4; k++) b.data[rng_below(&r, b.len)] = (uint8_t)rng_next(&r);
        reading(d, b.data, b.len);
        buf_release(&b);
        arena_release(&a);
    }
}

static void assert_skips(unsigned type, const char *bytes, size_t n)
{
    size_t used = 99;
    assert_int_equal(tbinary_skip(bytes, n, type, &used), 0);
    assert_int_equal(used, n);
    assert_int_equal(tbinary_skip(bytes, n + 1, type, &used), 0); /* the literal's NUL */
    assert_int_equal(used, n);
    for (size_t cut = 0; cut < n; cut++) assert_int_equal(tbinary_skip(bytes, cut, type, &used), ERR_TRUNCATED);
}

static void test_skipping(void **state)
{
    (void)state;
    size_t used;
    assert_skips(TT_BOOL, BYTES("\1"));
    assert_skips(TT_I16, BYTES("\1\2"));
    assert_skips(TT_DOUBLE, BYTES("\1\2\3\4\5\6\7\x08"));
    assert_skips(TT_STRING, BYTES("\0\0\0\2ab"));
    assert_skips(TT_STRUCT, BYTES("\x0b\0\1\0\0\0\1r\0"));
    assert_skips(TT_SET, BYTES("\x06\0\0\0\2\1\2\3\4"));
    assert_skips(TT_MAP, BYTES("\x0b\2\0\0\0\1\0\0\0\1k\1"));
    assert_int_equal(tbinary_skip(BYTES("\0\0\0\0"), 7, &used), ERR_MALFORMED);
    assert_int_equal(tbinary_skip(NULL, 0, TT_BOOL, &used), ERR_TRUNCATED);
}

int main(void)
{
    the_seed = random_seed("build/asan/test/core_tbinary");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_round_trip_of_every_struct),
        cmocka_unit_test(test_every_cut_is_noticed),
        cmocka_unit_test(test_defaults_and_unknown_fields),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_unions),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_depth_limit),
        cmocka_unit_test(test_string_limit),
        cmocka_unit_test(test_element_limit),
        cmocka_unit_test(test_a_claimed_count_allocates_nothing),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_damaged_input_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
