/* Sets of resources: what Mesos's own arithmetic gives (src/common/resources.cpp, values.cpp). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/err.h"
#include "mesos/local/resources.h"

#include <stdio.h>
#include <stdlib.h>

static struct res_table *table;

static int setup(void **state)
{
    (void)state;
    table = res_table_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    res_table_free(table);
    return 0;
}

static struct res parse(const char *text)
{
    struct res r = { 0 };
    struct buf err = { 0 };
    int rc = res_parse(table, str_c(text), &r, &err);
    if (rc) fail_msg("%s: %s", text, buf_cstr(&err));
    buf_release(&err);
    return r;
}

static void assert_text(const struct res *r, const char *want)
{
    struct buf b = { 0 };
    res_text(r, NULL, &b);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_parse_and_text(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "cpus:4;mem:1024", "cpus:4; mem:1024" },
        { " cpus : 0.5 ; ports:[31000-31005, 31006-31010,31020-31030]", "cpus:0.5; ports:[31000-31010, 31020-31030]" },
        { "words:{a,b}", "words:{a, b}" },
        { "cpus:1;cpus:2;cpus(prod):3", "cpus:3; cpus(reservations: [(STATIC,prod)]):3" },
        { "cpus:1;cpus{REV}:2", "cpus:1; cpus{REV}:2" },
        { "cpus:1.23456", "cpus:1.235" },
        { "cpus:0", "{}" },
        { "", "{}" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct res r = parse(texts[i][0]);
        assert_text(&r, texts[i][1]);
        res_release(&r);
    }
}

static void test_parse_errors(void **state)
{
    (void)state;
    static const char *const bad[] = { "cpus",      "cpus:",       "cpus:x",      ":4",        "cpus:-1",  "ports:[]",
                                       "ports:[5]", "ports:[6-5]", "cpus(prod:1", "cpus:1e99", "cpus:inf", "words:{}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct res r = { 0 };
        struct buf err = { 0 };
        if (res_parse(table, str_c(bad[i]), &r, &err) != ERR_MALFORMED) fail_msg("'%s' was taken", bad[i]);
        assert_true(err.len > 0);
        assert_int_equal(r.n, 0);
        buf_release(&err);
    }
}

static void test_add_and_subtract(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *sum, *difference;
    } cases[] = {
        { "cpus:4", "cpus:1.5", "cpus:5.5", "cpus:2.5" },
        { "cpus:4", "cpus:4", "cpus:8", "{}" },
        { "cpus:4", "mem:1", "cpus:4; mem:1", "cpus:4" },
        { "cpus:1", "cpus:2", "cpus:3", "{}" },
        { "ports:[1-10]", "ports:[3-4]", "ports:[1-10]", "ports:[1-2, 5-10]" },
        { "ports:[1-10]", "ports:[1-10]", "ports:[1-10]", "{}" },
        { "ports:[1-3,7-9]", "ports:[2-8]", "ports:[1-9]", "ports:[1-1, 9-9]" },
        { "ports:[1-3]", "ports:[4-5]", "ports:[1-5]", "ports:[1-3]" },
        { "ports:[1-20]", "ports:[2-3,5-6,19-30]", "ports:[1-30]", "ports:[1-1, 4-4, 7-18]" },
        { "words:{a,b}", "words:{b,c}", "words:{a, b, c}", "words:{a}" },
        { "cpus{REV}:1", "cpus:1", "cpus{REV}:1; cpus:1", "cpus{REV}:1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct res a = parse(cases[i].a), b = parse(cases[i].b), sum = res_copy(&a), rest = res_copy(&a);
        res_add(&sum, &b);
        assert_text(&sum, cases[i].sum);
        res_sub(&rest, &b);
        assert_text(&rest, cases[i].difference);
        res_release(&a);
        res_release(&b);
        res_release(&sum);
        res_release(&rest);
    }
}

static void test_contains(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool want;
    } cases[] = {
        { "cpus:4", "cpus:4.0004", true }, /* three decimals count */
        { "cpus:4", "cpus:4.001", false },
        { "cpus:4", "", true },
        { "cpus:4", "mem:1", false },
        { "ports:[1-10]", "ports:[1-2,9-10]", true },
        { "ports:[1-10,12-20]", "ports:[10-12]", false },
        { "words:{a,b}", "words:{b}", true },
        { "words:{a}", "words:{a,b}", false },
        { "cpus(prod):4", "cpus:1", false },
        { "cpus{REV}:4", "cpus:1", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct res a = parse(cases[i].a), b = parse(cases[i].b);
        if (res_contains(&a, &b) != cases[i].want) fail_msg("'%s' and '%s'", cases[i].a, cases[i].b);
        res_release(&a);
        res_release(&b);
    }
}

static void test_overlap(void **state)
{
    (void)state;
    struct res a = parse("cpus:1;ports:[1-5];words:{x}"), b = parse("cpus:1;ports:[6-7]"), c = parse("ports:[5-6]"),
               d = parse("words:{x,y}");
    assert_false(res_overlap(&a, &b));
    assert_true(res_overlap(&a, &c));
    assert_true(res_overlap(&a, &d));
    res_release(&a);
    res_release(&b);
    res_release(&c);
    res_release(&d);
}

/* Random sets of ports against a bitmap. */
static void test_ranges_model(void **state)
{
    (void)state;
    const char *env = getenv("SEED");
    unsigned long long seed = env ? strtoull(env, NULL, 10) : 20240823;
    uint64_t x = seed;
    print_message("replay: SEED=%llu build/asan/test/local_resources\n", seed);
    for (int round = 0; round < 500; round++) {
        bool model[40] = { 0 };
        struct res have = { 0 };
        for (int step = 0; step < 20; step++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            unsigned from = (unsigned)(x >> 33) % 40, len = (unsigned)(x >> 43) % 8,
                     to = from + len > 39 ? 39 : from + len;
            bool add = (x >> 50) & 1;
            char text[32];
            snprintf(text, sizeof text, "p:[%u-%u]", from, to);
            struct res one = parse(text);
            if (add) res_add(&have, &one);
            if (!add) res_sub(&have, &one);
            for (unsigned i = from; i <= to; i++) model[i] = add;
            res_release(&one);
            for (unsigned i = 0; i < 40; i++) {
                snprintf(text, sizeof text, "p:[%u-%u]", i, i);
                one = parse(text);
                assert_int_equal(res_contains(&have, &one), model[i]);
                res_release(&one);
            }
        }
        res_release(&have);
    }
}

/* Both formats of a reservation are the same kind; each framework gets its own back. */
static void test_reservation_formats(void **state)
{
    (void)state;
    Mesos__Resource old = MESOS__RESOURCE__INIT, new = MESOS__RESOURCE__INIT, *list[2] = { &old, &new };
    Mesos__Resource__ReservationInfo info = MESOS__RESOURCE__RESERVATION_INFO__INIT, *infos = &info;
    Mesos__Value__Scalar v = MESOS__VALUE__SCALAR__INIT;
    struct arena mem = { 0 };
    struct res r = { 0 };
    size_t n;
    v.value = 1;
    old.name = new.name = (char *)"cpus";
    old.scalar = new.scalar = &v;
    old.role = (char *)"prod";
    info.has_type = true;
    info.type = MESOS__RESOURCE__RESERVATION_INFO__TYPE__STATIC;
    info.role = (char *)"prod";
    new.reservations = &infos;
    new.n_reservations = 1;
    res_add_proto(table, &r, list, 2);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.v[0].milli, 2000);
    assert_string_equal(r.v[0].kind->reserved_role, "prod");
    Mesos__Resource **out = res_to_proto(&r, &mem, NULL, false, &n);
    assert_int_equal(n, 1);
    assert_string_equal(out[0]->role, "prod");
    assert_int_equal(out[0]->n_reservations, 0);
    out = res_to_proto(&r, &mem, "prod", true, &n);
    assert_int_equal(out[0]->n_reservations, 1);
    assert_string_equal(out[0]->allocation_info->role, "prod");
    arena_release(&mem);
    res_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parse_and_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parse_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_add_and_subtract, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reservation_formats, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
