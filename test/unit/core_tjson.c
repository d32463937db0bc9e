/* TJSON: known text, round trips, what a lenient reader takes and what it does not, limits at their edge. */
#include "core/err.h"
#include "core/limits.h"
#include "test/lib/random_value.h"

#include "api.gen.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static uint64_t the_seed;

static void assert_text(struct buf *b, const char *want)
{
    assert_string_equal(buf_cstr(b), want);
    buf_release(b);
}

/* Reads from a copy of exactly n bytes, so that the sanitizer sees a read behind the end. */
static int reading(const struct tdesc *d, const char *text, size_t n, void *obj, struct arena *a)
{
    char *copy = malloc(n ? n : 1);
    if (n) memcpy(copy, text, n);
    int rc = tjson_read(copy, n, d, obj, a, NULL);
    free(copy);
    return rc;
}

static int read_text(const struct tdesc *d, const char *text)
{
    struct arena a = { 0 };
    int rc = reading(d, text, strlen(text), arena_alloc(&a, d->size), &a);
    arena_release(&a);
    return rc;
}

static void test_known_reply(void **state)
{
    (void)state;
    struct buf b = { 0 };
    struct api_role_summary www = {
        .role = STR("www"), .has_job_count = true, .job_count = 2, .has_cron_job_count = true
    };
    struct api_role_summary_result roles = { .has_summaries = true, .n_summaries = 1, .summaries = &www };
    struct api_result result = { .role_summary_result = &roles };
    struct api_server_info info = { .cluster_name = STR("east"), .stats_url_prefix = STR("") };
    struct api_response r = { .has_response_code = true,
                              .response_code = API_RESPONSE_CODE_OK,
                              .result = &result,
                              .server_info = &info,
                              .has_details = true };
    assert_int_equal(tjson_reply_write(&b, STR("getRoleSummary"), 0, &api_response_desc, &r), 0);
    assert_text(
        &b,
        "[1,\"getRoleSummary\",2,0,{\"0\":{\"rec\":{\"1\":{\"i32\":1},\"3\":{\"rec\":{\"17\":{\"rec\":{\"1\":{\"set\":["
        "\"rec\",1,{\"1\":{\"str\":\"www\"},\"2\":{\"i32\":2},\"3\":{\"i32\":0}}]}}}}},\"5\":{\"rec\":{\"1\":{\"str\":"
        "\"east\"},\"3\":{\"str\":\"\"}}},\"6\":{\"lst\":[\"rec\",0]}}}}]");
}

static void test_known_values(void **state)
{
    (void)state;
    struct buf b = { 0 };
    struct str keys[] = { STR("http"), STR("a\"b") };
    int32_t ports[] = { 80, -1 };
    struct api_assigned_task t = {
        .has_assigned_ports = true, .n_assigned_ports = 2, .assigned_ports_keys = keys, .assigned_ports = ports
    };
    assert_int_equal(tjson_write(&b, &api_assigned_task_desc, &t), 0);
    assert_text(&b, "{\"5\":{\"map\":[\"str\",\"i32\",2,{\"http\":80,\"a\\\"b\":-1}]}}");
    t.n_assigned_ports = 0;
    assert_int_equal(tjson_write(&b, &api_assigned_task_desc, &t), 0);
    assert_text(&b, "{\"5\":{\"map\":[\"str\",\"i32\",0,{}]}}");
    struct api_frame_header h = { .has_chunk_count = true, .chunk_count = 1, .checksum = { "\xff\xfe\xfd\xfc", 4 } };
    assert_int_equal(tjson_write(&b, &api_frame_header_desc, &h), 0);
    assert_text(&b, "{\"1\":{\"i32\":1},\"2\":{\"str\":\"//79/A\"}}");
    struct api_log_entry noop = { .has_noop = true, .noop = true };
    assert_int_equal(tjson_write(&b, &api_log_entry_desc, &noop), 0);
    assert_text(&b, "{\"3\":{\"tf\":1}}");
    struct api_resource cpus = { .has_num_cpus = true, .num_cpus = -INFINITY };
    assert_int_equal(tjson_write(&b, &api_resource_desc, &cpus), 0);
    assert_text(&b, "{\"1\":{\"dbl\":\"-Infinity\"}}");
    struct api_resource none = { 0 };
    buf_adds(&b, "x");
    assert_int_equal(tjson_write(&b, &api_resource_desc, &none), ERR_INVALID);
    assert_text(&b, "x");
}

static void test_messages(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct tmessage m;
    const char *text = " [ 1 , \"get\\u0041\" , 1 , -7 , {} ] ";
    size_t n = strlen(text), used;
    assert_int_equal(tjson_message_read(text, n, &m, &a), 0);
    assert_true(str_eq(m.name, STR("getA")));
    assert_int_equal(m.type, TMSG_CALL);
    assert_int_equal(m.seqid, -7);
    struct api_get_role_summary_args args;
    assert_int_equal(tjson_read(text + m.body, n - m.body, &api_get_role_summary_args_desc, &args, &a, &used), 0);
    assert_int_equal(tjson_message_end(text, n, m.body + used), 0);
    assert_int_equal(tjson_message_end(text, n - 2, m.body + used), ERR_TRUNCATED);
    assert_int_equal(tjson_message_end("{}]x", 4, 2), ERR_MALFORMED);
    static const char *const bad[] = { "[2,\"m\",1,0,{}]", "{}", "[1,1,1,0,{}]", "[1,\"m\",1,2147483648,{}]",
                                       "[1,\"m\",1.5,0,{}]" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tjson_message_read(bad[i], strlen(bad[i]), &m, &a), ERR_MALFORMED);
    for (size_t cut = 0; cut < m.body; cut++) assert_int_not_equal(tjson_message_read(text, cut, &m, &a), 0);
    assert_int_equal(m.seqid, -7);
    arena_release(&a);
    struct buf b = { 0 };
    tjson_exception_write(&b, STR("x\"y"), 3, "Invalid method name: 'x'", 1);
    assert_text(&b, "[1,\"x\\\"y\",3,3,{\"1\":{\"str\":\"Invalid method name: 'x'\"},\"2\":{\"i32\":1}}]");
}

static void test_round_trip_of_every_struct(void **state)
{
    (void)state;
    struct rng r = { the_seed };
    for (uint32_t i = 0; i < api_n_structs * 4; i++) {
        const struct tdesc *d = api_structs[i % api_n_structs];
        struct arena a = { 0 };
        struct buf b = { 0 };
        void *x = random_value(&r, d, &a), *y = arena_alloc(&a, d->size);
        assert_int_equal(tjson_write(&b, d, x), 0);
        assert_int_equal(reading(d, (char *)b.data, b.len, y, &a), 0);
        assert_int_equal(thrift_compare(d, x, y), 0);
        for (size_t n = 0; n < b.len; n += 1 + b.len / 100)
            assert_true(reading(d, (char *)b.data, n, arena_alloc(&a, d->size), &a) < 0);
        buf_release(&b);
        arena_release(&a);
    }
}

static void test_lenient_reading(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct api_frame_header h = { 0 };
    const char *text = "\n{ \"1\" : { \"i32\" : 5 } ,\t\"2\":{\"str\":\"/\\/79\\/A==\"} }\r\n ";
    assert_int_equal(reading(&api_frame_header_desc, text, strlen(text), &h, &a), 0);
    assert_int_equal(h.chunk_count, 5);
    assert_true(str_eq(h.checksum, (struct str){ "\xff\xfe\xfd\xfc", 4 }));
    struct api_identity id = { 0 };
    text = "{\"2\":{\"str\":\"\\u00E4\\u00e4\\uD83D\\ude00\\ud83dx\\udE00\\/\\\"\\b\\u0000\"}}";
    assert_int_equal(reading(&api_identity_desc, text, strlen(text), &id, &a), 0);
    assert_true(str_eq(id.user, STR("\u00e4\u00e4\U0001f600\ufffdx\ufffd/\"\b\0")));
    text = "{\"2\":{\"str\":\"raw\n\x01\x1f\"}}"; /* as the Python library writes it */
    assert_int_equal(reading(&api_identity_desc, text, strlen(text), &id, &a), 0);
    assert_true(str_eq(id.user, STR("raw\n\x01\x1f")));
    struct api_resource cpus = { 0 };
    text = "{\"1\":{\"dbl\":\"NaN\"}}";
    assert_int_equal(reading(&api_resource_desc, text, strlen(text), &cpus, &a), 0);
    assert_true(cpus.num_cpus != cpus.num_cpus);
    arena_release(&a);
}

static void test_unknown_fields_and_other_types_are_skipped(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct api_task_config c = { 0 };
    const char *text =
        "{\"99\":{\"map\":[\"str\",\"lst\",1,{\"k\":[\"tf\",2,1,0]}]},\"11\":{\"i64\":5},\"-3\":{\"rec\":{}},"
        "\"98\":{\"x\":[true,false,null,{\"a\":-1.5e3}]},\"30\":{\"str\":\"t\"}}";
    assert_int_equal(reading(&api_task_config_desc, text, strlen(text), &c, &a), 0);
    assert_false(c.has_priority);
    assert_true(str_eq(c.tier, STR("t")));
    assert_non_null(c.container);
    arena_release(&a);
    assert_int_equal(read_text(&api_resource_desc, "{\"9\":{\"i32\":5}}"), 0);
    assert_int_equal(read_text(&api_resource_desc, "{\"2\":{\"i64\":5},\"3\":{\"i64\":5}}"), ERR_MALFORMED);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}x",
        "{,}",
        "{\"1\":{\"i32\":1},}",
        "{\"x\":{\"i32\":1}}",
        "{\"32768\":{\"i32\":1}}",
        "{1:{\"i32\":1}}",
        "{\"1\":{}}",
        "{\"1\":{\"i32\":1,\"i32\":2}}",
        "{\"1\":{\"i32\":2147483648}}",
        "{\"1\":{\"i32\":1.5}}",
        "{\"1\":{\"i32\":\"1\"}}",
        "{\"1\":{\"i32\":null}}",
        "{\"2\":{\"str\":5}}",
        "{\"2\":{\"str\":\"A\"}}", /* base64: a lone letter */
        "{\"2\":{\"str\":\"A_==\"}}",
        "{\"2\":{\"str\":\"AA=A\"}}",
        "{\"9\":{\"str\":\"\\x\"}}",
        "{\"9\":{\"str\":\"\\u12g4\"}}",
        "{\"9\":{\"str\":\"\xff\"}}",
        "{\"9\":{\"str\":\"\xed\xa0\x80\"}}",
        "{\"9\":{\"i32\":1e}}",
        "{\"9\":{\"i32\":tru}}",
        "{\"9\":{\"lst\":[1 2]}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_text(&api_frame_header_desc, bad[i]), ERR_MALFORMED);
    static const char *const lists[] = {
        "{\"2\":{\"set\":[\"i32\",1,5]}}",       "{\"2\":{\"set\":[\"str\",-1]}}",
        "{\"2\":{\"set\":[\"str\",1]}}   ",      "{\"2\":{\"set\":[\"str\",0,\"a\"]}}",
        "{\"2\":{\"set\":[\"str\",2,\"a\"]}}  ", "{\"2\":{\"set\":{}}}",
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        assert_int_equal(read_text(&api_attribute_desc, lists[i]), ERR_MALFORMED);
    assert_int_equal(read_text(&api_attribute_desc, "{\"2\":{\"set\":[\"i32\",0]}}"), 0);
    assert_int_equal(read_text(&api_attribute_desc, "{\"2\":{\"set\":[\"str\",70000,\"a\"]}}"), ERR_TRUNCATED);
    assert_int_equal(read_text(&api_resource_desc, "{\"1\":{\"dbl\":\"1.0\"}}"), ERR_MALFORMED);
    assert_int_equal(read_text(&api_resource_desc, "{\"1\":{\"dbl\":1e999}}"), ERR_MALFORMED);
    assert_int_equal(read_text(&api_log_entry_desc, "{\"3\":{\"tf\":2}}"), ERR_MALFORMED);
    assert_int_equal(read_text(&api_log_entry_desc, "{\"3\":{\"tf\":true}}"), ERR_MALFORMED);
    assert_int_equal(tjson_read(NULL, 0, &api_identity_desc, NULL, NULL, NULL), ERR_TRUNCATED);
}

/* The struct is the first level, each array behind it one more. */
static int nested(unsigned depth)
{
    struct buf b = { 0 };
    buf_adds(&b, "{\"99\":{\"lst\":");
    for (unsigned i = 1; i < depth; i++) buf_addc(&b, '[');
    for (unsigned i = 1; i < depth; i++) buf_addc(&b, ']');
    buf_adds(&b, "}}");
    int rc = read_text(&api_attribute_desc, buf_cstr(&b));
    buf_release(&b);
    return rc;
}

static void test_depth_limit(void **state)
{
    (void)state;
    assert_int_equal(nested(LIMIT_CODEC_DEPTH), 0);
    assert_int_equal(nested(LIMIT_CODEC_DEPTH + 1), ERR_TOO_DEEP);
    assert_int_equal(nested(1000000), ERR_TOO_DEEP);
}

static int string_of(size_t n)
{
    struct buf b = { 0 };
    buf_adds(&b, "{\"2\":{\"str\":\"");
    memset(buf_reserve(&b, n), 'x', n);
    buf_commit(&b, n);
    buf_adds(&b, "\"}}");
    int rc = read_text(&api_identity_desc, buf_cstr(&b));
    struct api_identity id = { .user = { (char *)b.data + 12, (uint32_t)n } };
    struct buf out = { 0 };
    assert_int_equal(tjson_write(&out, &api_identity_desc, &id), rc);
    buf_release(&out);
    buf_release(&b);
    return rc;
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
    buf_addf(&b, "{\"1\":{\"lst\":[\"i32\",%u", n);
    for (uint32_t i = 0; i < n; i++) buf_adds(&b, ",7");
    buf_adds(&b, "]}}");
    int rc = read_text(&api_variable_batch_job_update_strategy_desc, buf_cstr(&b));
    buf_release(&b);
    return rc;
}

static void test_element_limit(void **state)
{
    (void)state;
    assert_int_equal(list_of(LIMIT_CODEC_ELEMENTS), 0);
    assert_int_equal(list_of(LIMIT_CODEC_ELEMENTS + 1), ERR_TOO_BIG);
}

static void test_damaged_input_never_crashes(void **state)
{
    (void)state;
    static const char parts[] = "{}[]\",:\\u0123456789eE+-.tfnld \x80\xff";
    struct rng r = { the_seed + 2 };
    for (unsigned i = 0; i < 4000; i++) {
        const struct tdesc *d = api_structs[rng_below(&r, api_n_structs)];
        struct arena a = { 0 };
        struct buf b = { 0 };
        void *x = random_value(&r, d, &a);
        assert_int_equal(tjson_write(&b, d, x), 0);
        for (uint64_t k = rng_below(&r, 3); k < 3; k++)
            b.data[rng_below(&r, b.len)] = (uint8_t)parts[rng_below(&r, sizeof parts - 1)];
        reading(d, (char *)b.data, b.len, arena_alloc(&a, d->size), &a);
        buf_release(&b);
        arena_release(&a);
    }
}

int main(void)
{
    the_seed = random_seed("build/asan/test/core_tjson");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_reply),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_round_trip_of_every_struct),
        cmocka_unit_test(test_lenient_reading),
        cmocka_unit_test(test_unknown_fields_and_other_types_are_skipped),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_depth_limit),
        cmocka_unit_test(test_string_limit),
        cmocka_unit_test(test_element_limit),
        cmocka_unit_test(test_damaged_input_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
