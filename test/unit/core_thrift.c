/* Descriptors, storage form, order and copies. */
#include "core/err.h"
#include "core/value.h"
#include "test/lib/random_value.h"

#include "api.gen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static uint64_t the_seed;

static struct str encoded(const struct tdesc *d, const void *obj, struct arena *a)
{
    struct buf b = { 0 };
    assert_int_equal(tbinary_write(&b, d, obj), 0);
    struct str s = arena_str(a, (struct str){ (char *)b.data, (uint32_t)b.len });
    buf_release(&b);
    return s;
}

static void test_descriptors_are_sound(void **state)
{
    (void)state;
    assert_int_equal(api_n_methods, 45);
    for (uint32_t i = 0; i < api_n_structs; i++) {
        const struct tdesc *d = api_structs[i];
        for (uint32_t k = 0; k < d->n_fields; k++) {
            const struct tfield *f = &d->fields[k];
            assert_true(k == 0 || d->fields[k - 1].id < f->id);
            assert_true(f->off < d->size);
            assert_ptr_equal(tdesc_field(d, f->name), f);
            uint32_t at = k / 2;
            assert_ptr_equal(tdesc_field_by_id(d, f->id, &at), f);
        }
        uint32_t at = 0;
        assert_null(tdesc_field(d, "noSuchField"));
        assert_null(tdesc_field_by_id(d, 999, &at));
    }
}

static void test_enum_names(void **state)
{
    (void)state;
    int32_t v = -7;
    assert_string_equal(tenum_name(&api_schedule_status_enum, API_SCHEDULE_STATUS_PARTITIONED), "PARTITIONED");
    assert_null(tenum_name(&api_schedule_status_enum, 8));
    assert_int_equal(tenum_value(&api_schedule_status_enum, STR("SANDBOX"), &v), ERR_NOT_FOUND);
    assert_int_equal(tenum_value(&api_schedule_status_enum, STR("PEND"), &v), ERR_NOT_FOUND);
    assert_int_equal(v, -7);
    assert_int_equal(tenum_value(&api_schedule_status_enum, STR("THROTTLED"), &v), 0);
    assert_int_equal(v, 16);
}

static void test_normalize_fills_what_is_always_written(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct api_task_config c = { 0 };
    thrift_normalize(&api_task_config_desc, &c, &a);
    assert_true(c.has_is_service && !c.is_service);
    assert_true(c.has_production && !c.production); /* optional, yet written */
    assert_true(c.has_resources && c.n_resources == 0);
    assert_true(c.has_task_links && c.n_task_links == 0);
    assert_non_null(c.container);
    assert_non_null(c.container->mesos);
    assert_true(c.container->mesos->has_volumes);
    assert_null(c.container->mesos->image);
    assert_null(c.tier.p);
    assert_null(c.job);
    struct api_host_attributes h = { 0 };
    thrift_normalize(&api_host_attributes_desc, &h, &a);
    assert_false(h.has_mode); /* enums stay unset */
    struct api_resource r = { .has_num_cpus = true, .num_cpus = 1 };
    thrift_normalize(&api_resource_desc, &r, &a);
    assert_false(r.has_ram_mb); /* a union keeps its one member */
    arena_release(&a);
}

static void test_normalize_sorts_sets_and_drops_duplicates(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct str values[] = { STR("c"), STR("a"), STR("c"), STR("b"), STR("a") };
    struct api_attribute t = { .name = STR("rack"), .has_values = true, .n_values = 5, .values = values };
    thrift_normalize(&api_attribute_desc, &t, &a);
    assert_int_equal(t.n_values, 3);
    assert_true(str_eq(values[0], STR("a")) && str_eq(values[1], STR("b")) && str_eq(values[2], STR("c")));
    struct api_resource res[] = { { .has_ram_mb = true, .ram_mb = 5 },
                                  { .has_num_cpus = true, .num_cpus = 0.0 },
                                  { .has_num_cpus = true, .num_cpus = -0.0 },
                                  { .has_ram_mb = true, .ram_mb = 5 } };
    struct api_resource_aggregate g = { .has_resources = true, .n_resources = 4, .resources = res };
    thrift_normalize(&api_resource_aggregate_desc, &g, &a);
    assert_int_equal(g.n_resources, 3); /* 0.0 and -0.0 are different bytes */
    arena_release(&a);
}

static void test_normalize_of_a_map_keeps_the_last_of_equal_keys(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct str keys[] = { STR("http"), STR("admin"), STR("http") };
    int32_t ports[] = { 1, 2, 3 };
    struct api_assigned_task t = {
        .has_assigned_ports = true, .n_assigned_ports = 3, .assigned_ports_keys = keys, .assigned_ports = ports
    };
    thrift_normalize(&api_assigned_task_desc, &t, &a);
    assert_int_equal(t.n_assigned_ports, 2);
    assert_true(str_eq(keys[0], STR("admin")) && ports[0] == 2);
    assert_true(str_eq(keys[1], STR("http")) && ports[1] == 3);
    arena_release(&a);
}

static void test_normalize_is_idempotent_and_independent_of_order(void **state)
{
    (void)state;
    struct rng r = { the_seed };
    for (uint32_t i = 0; i < api_n_structs * 20; i++) {
        const struct tdesc *d = api_structs[i % api_n_structs];
        struct arena a = { 0 };
        void *x = random_value(&r, d, &a);
        thrift_normalize(d, x, &a);
        struct str once = encoded(d, x, &a);
        void *y = arena_alloc(&a, d->size);
        assert_int_equal(tbinary_read(once.p, once.n, d, y, &a, NULL), 0);
        for (uint32_t k = 0; k < d->n_fields; k++) { /* turn every set round */
            const struct tfield *f = &d->fields[k];
            if (f->type.type != TT_SET || !*tfield_has(f, y) || *tfield_count(f, y) != 2) continue;
            size_t size = ttype_size(f->type.elem);
            char *v = *tfield_array(f, y), tmp[512];
            assert_true(size <= sizeof tmp);
            memcpy(tmp, v, size);
            memcpy(v, v + size, size);
            memcpy(v + size, tmp, size);
        }
        thrift_normalize(d, y, &a);
        assert_int_equal(thrift_compare(d, x, y), 0);
        assert_true(str_eq(encoded(d, y, &a), once));
        arena_release(&a);
    }
}

static void test_compare_agrees_with_the_encoding(void **state)
{
    (void)state;
    struct rng r = { the_seed + 1 };
    for (uint32_t i = 0; i < api_n_structs * 20; i++) {
        const struct tdesc *d = api_structs[i % api_n_structs];
        struct arena a = { 0 };
        void *x = random_value(&r, d, &a), *y = random_value(&r, d, &a);
        bool same = str_eq(encoded(d, x, &a), encoded(d, y, &a));
        assert_int_equal(thrift_compare(d, x, y) == 0, same);
        assert_int_equal(thrift_compare(d, x, y), -thrift_compare(d, y, x));
        assert_int_equal(thrift_compare(d, x, x), 0);
        arena_release(&a);
    }
}

static void test_clone_shares_nothing(void **state)
{
    (void)state;
    struct rng r = { the_seed + 2 };
    for (uint32_t i = 0; i < api_n_structs * 10; i++) {
        const struct tdesc *d = api_structs[i % api_n_structs];
        struct arena a = { 0 }, b = { 0 };
        void *x = random_value(&r, d, &a);
        void *y = thrift_clone(d, x, &b);
        struct str before = encoded(d, x, &b);
        arena_release(&a); /* the sanitizer sees any use of it below */
        assert_true(str_eq(encoded(d, y, &b), before));
        arena_release(&b);
    }
}

int main(void)
{
    the_seed = random_seed("build/asan/test/core_thrift");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_are_sound),
        cmocka_unit_test(test_enum_names),
        cmocka_unit_test(test_normalize_fills_what_is_always_written),
        cmocka_unit_test(test_normalize_sorts_sets_and_drops_duplicates),
        cmocka_unit_test(test_normalize_of_a_map_keeps_the_last_of_equal_keys),
        cmocka_unit_test(test_normalize_is_idempotent_and_independent_of_order),
        cmocka_unit_test(test_compare_agrees_with_the_encoding),
        cmocka_unit_test(test_clone_shares_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
