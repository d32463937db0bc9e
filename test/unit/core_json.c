/* Plain JSON: known text, round trips, messages that name the place, strict and lenient reading, limits at their edge.
 */
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

static void assert_written(const struct tdesc *d, const void *obj, int flags, const char *want)
{
    struct buf b = { 0 };
    assert_int_equal(json_write(&b, d, obj, flags), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

/* Reads from a copy of exactly n bytes, so that the sanitizer sees a read behind the end. */
static int reading(const struct tdesc *d, const char *text, size_t n, void *obj, struct arena *a, int flags,
                   struct buf *err)
{
    char *copy = malloc(n ? n : 1);
    if (n) memcpy(copy, text, n);
    int rc = json_read(copy, n, d, obj, a, flags, err);
    free(copy);
    return rc;
}

static void assert_fails(const struct tdesc *d, int flags, const char *text, int code, const char *message)
{
    struct arena a = { 0 };
    struct buf err = { 0 };
    assert_int_equal(reading(d, text, strlen(text), arena_alloc(&a, d->size), &a, flags, &err), code);
    assert_string_equal(buf_cstr(&err), message);
    assert_int_equal(reading(d, text, strlen(text), arena_alloc(&a, d->size), &a, flags, NULL), code);
    buf_release(&err);
    arena_release(&a);
}

/* *obj of type d from text; a is the caller's. */
static void *assert_reads(const struct tdesc *d, int flags, const char *text, struct arena *a)
{
    struct buf err = { 0 };
    void *obj = arena_alloc(a, d->size);
    int rc = reading(d, text, strlen(text), obj, a, flags, &err);
    if (rc < 0) print_error("%s\n", buf_cstr(&err));
    assert_int_equal(rc, 0);
    assert_int_equal(err.len, 0);
    return obj;
}

static void test_known_text(void **state)
{
    (void)state;
    struct str keys[] = { STR("http"), STR("a\"b") };
    int32_t ports[] = { 80, -1 };
    struct api_task_config config = { .has_is_service = true, .is_service = true };
    struct api_assigned_task t = { .task_id = STR("<x>"),
                                   .task = &config,
                                   .has_assigned_ports = true,
                                   .n_assigned_ports = 2,
                                   .assigned_ports_keys = keys,
                                   .assigned_ports = ports };
    assert_written(&api_assigned_task_desc, &t, JSON_PLAIN,
                   "{\"taskId\":\"<x>\",\"task\":{\"isService\":true},\"assignedPorts\":{\"http\":80,\"a\\\"b\":-1}}");
    assert_written(&api_assigned_task_desc, &t, JSON_GSON,
                   "{\"taskId\":\"\\u003cx\\u003e\",\"task\":{\"isService\":true,\"priority\":0,\"maxTaskFailures\":0,"
                   "\"production\":"
                   "false},\"assignedPorts\":{\"http\":80,\"a\\\"b\":-1},\"instanceId\":0}");
    enum api_schedule_status statuses[] = { API_SCHEDULE_STATUS_RUNNING, (enum api_schedule_status)8 };
    struct api_task_query q = { .has_statuses = true, .n_statuses = 2, .statuses = statuses, .has_task_ids = true };
    assert_written(&api_task_query_desc, &q, JSON_PLAIN, "{\"taskIds\":[],\"statuses\":[\"RUNNING\",8]}");
    struct api_resource ram = { .has_ram_mb = true, .ram_mb = INT64_MAX };
    assert_written(&api_resource_desc, &ram, JSON_GSON, "{\"ramMb\":9223372036854775807}");
    struct api_resource cpus = { .has_num_cpus = true, .num_cpus = NAN };
    assert_written(&api_resource_desc, &cpus, JSON_PLAIN, "{\"numCpus\":null}");
    struct api_frame_header h = { .checksum = { "\xff\xfe\xfd\xfc", 4 } };
    assert_written(&api_frame_header_desc, &h, JSON_PLAIN, "{\"checksum\":\"//79/A==\"}");
    struct buf b = { 0 };
    buf_adds(&b, "x");
    struct api_resource none = { 0 };
    assert_int_equal(json_write(&b, &api_resource_desc, &none, JSON_GSON), ERR_INVALID);
    assert_int_equal(b.len, 1);
    buf_reset(&b);
    json_write_string(&b, STR("<\xff>"), JSON_GSON);
    assert_string_equal(buf_cstr(&b), "\"\\u003c\ufffd\\u003e\"");
    buf_release(&b);
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
        thrift_normalize(d, x,
                         &a); /* no repeated keys: JSON_STRICT minds them in structs only, but let maps be sound */
        assert_int_equal(json_write(&b, d, x, i % 2 ? JSON_GSON : JSON_PLAIN), 0);
        assert_int_equal(reading(d, (char *)b.data, b.len, y, &a, JSON_STRICT, NULL), 0);
        assert_int_equal(thrift_compare(d, x, y), 0);
        for (size_t n = 0; n < b.len; n += 1 + b.len / 100)
            assert_true(reading(d, (char *)b.data, n, arena_alloc(&a, d->size), &a, 0, NULL) < 0);
        buf_release(&b);
        arena_release(&a);
    }
}

static void test_integers_are_exact(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct api_resource *r = assert_reads(&api_resource_desc, JSON_STRICT, "{\"ramMb\":9007199254740993}", &a);
    assert_true(r->ram_mb == 9007199254740993);
    r = assert_reads(&api_resource_desc, JSON_STRICT, "{\"ramMb\":-9223372036854775808}", &a);
    assert_true(r->ram_mb == INT64_MIN);
    r = assert_reads(&api_resource_desc, JSON_STRICT, "{\"ramMb\": 5.0}", &a);
    assert_true(r->ram_mb == 5);
    r = assert_reads(&api_resource_desc, JSON_STRICT, "{\"ramMb\": 1e3}", &a);
    assert_true(r->ram_mb == 1000);
    arena_release(&a);
    const struct tdesc *d = &api_resource_desc;
    assert_fails(d, 0, "{\"ramMb\":9223372036854775808}", ERR_INVALID, "ramMb: out of range");
    assert_fails(d, 0, "{\"ramMb\":1e300}", ERR_INVALID, "ramMb: out of range");
    assert_fails(d, 0, "{\"ramMb\":1e400}", ERR_INVALID, "ramMb: not a number, or too big");
    assert_fails(d, 0, "{\"ramMb\":1.5}", ERR_INVALID, "ramMb: not an integer");
    assert_fails(d, 0, "{\"ramMb\":--1}", ERR_INVALID, "ramMb: not a number, or too big");
    assert_fails(&api_range_desc, 0, "{\"first\":2147483648}", ERR_INVALID, "first: out of range");
}

static void test_messages_name_the_place(void **state)
{
    (void)state;
    const struct tdesc *d = &api_create_job_args_desc;
    assert_fails(d, 0, "[]", ERR_INVALID, "not an object");
    assert_fails(d, 0, "", ERR_TRUNCATED, "input ends too early");
    assert_fails(d, 0, "{\"description\":{\"taskConfig\":{\"priority\":\"high\"}}}", ERR_INVALID,
                 "description.taskConfig.priority: not an integer");
    assert_fails(d, 0, "{\"description\":{\"taskConfig\":{\"resources\":[{\"numCpus\":1},{\"ramMb\":{}}]}}}",
                 ERR_INVALID, "description.taskConfig.resources[1].ramMb: not an integer");
    assert_fails(d, 0, "{\"description\":{\"taskConfig\":{\"taskLinks\":{\"http\":5}}}}", ERR_INVALID,
                 "description.taskConfig.taskLinks.http: not a string");
    assert_fails(d, 0, "{\"description\":{\"taskConfig\":{\"constraints\":{}}}}", ERR_INVALID,
                 "description.taskConfig.constraints: not an array");
    assert_fails(d, 0, "{\"description\":{\"taskConfig\":{\"isService\":1}}}", ERR_INVALID,
                 "description.taskConfig.isService: not true or false");
    assert_fails(d, 0, "{\"description\":{\"taskConfig\":{\"taskLinks\":[]}}}", ERR_INVALID,
                 "description.taskConfig.taskLinks: not an object");
    assert_fails(d, 0, "{\"description\":{\"key\":{\"role\":tru}}}", ERR_MALFORMED,
                 "description.key.role: malformed input at byte 30");
    assert_fails(d, 0, "{\"description\":{\"key\":{\"role\":\"a\"", ERR_TRUNCATED,
                 "description.key: input ends too early");
    assert_fails(d, 0, "{\"description\":{\"key\":{\"role\":\"a\nb\"}}}", ERR_MALFORMED,
                 "description.key.role: malformed input at byte 32");
    assert_fails(d, 0, "{}}", ERR_MALFORMED, "malformed input at byte 2");
    assert_fails(&api_attribute_desc, 0, "{\"values\":[\"a\",null]}", ERR_INVALID, "values[1]: not a string");
    assert_fails(&api_frame_header_desc, 0, "{\"checksum\":\"?\"}", ERR_INVALID, "checksum: not base64");
}

static void test_strict_and_lenient(void **state)
{
    (void)state;
    struct arena a = { 0 };
    const struct tdesc *d = &api_host_attributes_desc;
    const char *unknown = "{\"host\":\"h\",\"nope\":[{\"x\":null},true,false,-1.5e-3,\"\\u00e4\"]}";
    assert_fails(d, JSON_STRICT, unknown, ERR_INVALID, "nope: unknown member");
    assert_true(str_eq(((struct api_host_attributes *)assert_reads(d, 0, unknown, &a))->host, STR("h")));
    const char *name = "{\"mode\":\"FLYING\"}";
    assert_fails(d, JSON_STRICT, name, ERR_INVALID, "mode: unknown name");
    assert_false(((struct api_host_attributes *)assert_reads(d, 0, name, &a))->has_mode);
    const char *twice = "{\"host\":\"a\",\"host\":\"b\"}";
    assert_fails(d, JSON_STRICT, twice, ERR_INVALID, "host: given twice");
    assert_true(str_eq(((struct api_host_attributes *)assert_reads(d, 0, twice, &a))->host, STR("b")));
    assert_fails(&api_task_query_desc, 0, "{\"statuses\":[\"RUNNING\",\"X\"]}", ERR_INVALID,
                 "statuses[1]: unknown name");
    assert_fails(&api_host_attributes_desc, 0, "{\"mode\":true}", ERR_INVALID, "mode: not a name");
    struct api_host_attributes *h =
        assert_reads(d, JSON_STRICT, " { \"host\" : null , \"mode\" : 4 , \"attributes\" : [ ] } ", &a);
    assert_null(h->host.p);
    assert_true(h->has_mode && h->mode == API_MAINTENANCE_MODE_DRAINED);
    assert_true(h->has_attributes && h->n_attributes == 0);
    struct api_task_config *c = assert_reads(&api_task_config_desc, JSON_STRICT, "{\"container\":null}", &a);
    assert_non_null(c->container->mesos);
    arena_release(&a);
}

static void test_unions(void **state)
{
    (void)state;
    const struct tdesc *d = &api_resource_aggregate_desc;
    assert_fails(d, 0, "{\"resources\":[{}]}", ERR_INVALID, "resources[0]: needs exactly one member");
    assert_fails(d, 0, "{\"resources\":[{\"ramMb\":null}]}", ERR_INVALID, "resources[0]: needs exactly one member");
    assert_fails(d, 0, "{\"resources\":[{\"ramMb\":1,\"diskMb\":2}]}", ERR_INVALID,
                 "resources[0]: needs exactly one member");
    assert_fails(d, 0, "{\"resources\":[{\"ramGb\":1}]}", ERR_INVALID, "resources[0].ramGb: unknown member");
}

/* The outer object is the first level. */
static void assert_nested(unsigned depth, int code, const char *message)
{
    struct buf b = { 0 };
    buf_adds(&b, "{\"nope\":");
    for (unsigned i = 1; i < depth; i++) buf_addc(&b, '[');
    for (unsigned i = 1; i < depth; i++) buf_addc(&b, ']');
    buf_addc(&b, '}');
    assert_fails(&api_attribute_desc, 0, buf_cstr(&b), code, message);
    buf_release(&b);
}

static void test_depth_limit(void **state)
{
    (void)state;
    assert_nested(LIMIT_CODEC_DEPTH, 0, "");
    assert_nested(LIMIT_CODEC_DEPTH + 1, ERR_TOO_DEEP, "nope: nesting is too deep");
    assert_nested(1000000, ERR_TOO_DEEP, "nope: nesting is too deep");
}

static void assert_elements(uint32_t n, int code, const char *message)
{
    struct buf b = { 0 };
    buf_adds(&b, "{\"groupSizes\":[7");
    for (uint32_t i = 1; i < n; i++) buf_adds(&b, ",7");
    buf_adds(&b, "]}");
    assert_fails(&api_variable_batch_job_update_strategy_desc, 0, buf_cstr(&b), code, message);
    buf_release(&b);
}

static void test_element_limit(void **state)
{
    (void)state;
    assert_elements(LIMIT_CODEC_ELEMENTS, 0, "");
    assert_elements(LIMIT_CODEC_ELEMENTS + 1, ERR_TOO_BIG, "groupSizes[1048576]: a size limit is exceeded");
}

static void test_damaged_input_never_crashes(void **state)
{
    (void)state;
    static const char parts[] = "{}[]\",:\\u0123456789eE+-.tfnld \x80\xff";
    struct rng r = { the_seed + 2 };
    for (unsigned i = 0; i < 4000; i++) {
        const struct tdesc *d = api_structs[rng_below(&r, api_n_structs)];
        struct arena a = { 0 };
        struct buf b = { 0 }, err = { 0 };
        void *x = random_value(&r, d, &a);
        assert_int_equal(json_write(&b, d, x, 0), 0);
        for (uint64_t k = rng_below(&r, 3); k < 3; k++)
            b.data[rng_below(&r, b.len)] = (uint8_t)parts[rng_below(&r, sizeof parts - 1)];
        int rc = reading(d, (char *)b.data, b.len, arena_alloc(&a, d->size), &a, i % 2 ? JSON_STRICT : 0, &err);
        assert_int_equal(rc<0, err.len> 0);
        buf_release(&b);
        buf_release(&err);
        arena_release(&a);
    }
}

int main(void)
{
    the_seed = random_seed("build/asan/test/core_json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_text),
        cmocka_unit_test(test_round_trip_of_every_struct),
        cmocka_unit_test(test_integers_are_exact),
        cmocka_unit_test(test_messages_name_the_place),
        cmocka_unit_test(test_strict_and_lenient),
        cmocka_unit_test(test_unions),
        cmocka_unit_test(test_depth_limit),
        cmocka_unit_test(test_element_limit),
        cmocka_unit_test(test_damaged_input_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
