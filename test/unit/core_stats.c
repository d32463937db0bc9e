/* The registry and what /vars, /vars.json and /graphdata show of it. */
#include "core/err.h"
#include "core/limits.h"
#include "core/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void assert_vars(struct stats *s, const char *want)
{
    struct buf b = { 0 };
    stats_write_vars(s, &b);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static int64_t get_seven(void *arg)
{
    return 7 + *(int64_t *)arg;
}

static double get_nan(void *arg)
{
    (void)arg;
    return NAN;
}

static void test_lines_are_sorted_whole(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    assert_vars(s, "");
    stat_add(stats_int(s, "a_b"), 1);
    stat_set(stats_int(s, "a"), -2);
    stat_set_double(stats_double(s, "a-b"), 12);
    stats_string(s, "Z", str_c("text with\nlines"));
    assert_vars(s, "Z text with\nlines\na -2\na-b 12.0\na_b 1");
    stats_string(s, "Z", STR("other"));
    stats_int(s, "0");
    assert_vars(s, "0 0\nZ other\na -2\na-b 12.0\na_b 1");
    stats_free(s);
}

static void test_names_are_normalised_if_tracked(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    struct stat *st = stats_int(s, "a b\"c/d.e-f");
    assert_ptr_equal(st, stats_int(s, "a_b_c/d.e-f"));
    assert_ptr_equal(st, stats_intf(s, "a_%s", "b_c/d.e-f"));
    stats_int_untracked(s, "sla_R/E/N_x:y");
    stat_set_double(stats_double_untracked(s, "sla:up"), 99.5);
    assert_vars(s, "a_b_c/d.e-f 0\nsla:up 99.5\nsla_R/E/N_x:y 0");
    stats_free(s);
}

static void test_gauges_are_asked_and_first_wins(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    int64_t one = 1, two = 2;
    stats_gauge(s, "g", get_seven, &one);
    stats_gauge(s, "g", get_seven, &two);
    stats_gauge_double(s, "n", get_nan, NULL);
    assert_vars(s, "g 8\nn 0.0");
    one = 10;
    assert_vars(s, "g 17\nn 0.0");
    assert_int_equal(stat_get(stats_int(s, "g")), 17);
    stat_set_double(stats_double(s, "i"), INFINITY);
    assert_vars(s, "g 17\ni 0.0\nn 0.0");
    stats_free(s);
}

static void test_timers(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    struct stat_timer *t = stats_timer(s, "save", "nanos");
    assert_ptr_equal(t, stats_timer(s, "save", "nanos"));
    assert_ptr_not_equal(t, stats_timer(s, "save", "ms"));
    stat_timer_add(t, 30);
    stats_tick(s, 1000); /* no interval yet, so no rate */
    struct buf b = { 0 };
    stats_write_vars(s, &b);
    assert_non_null(strstr(buf_cstr(&b), "save_events 1\nsave_events_per_sec 0.0\n"));
    stat_timer_add(t, 10);
    stat_timer_add(t, 20);
    stats_tick(s, 3000);
    buf_reset(&b);
    stats_write_vars(s, &b);
    assert_string_equal(buf_cstr(&b), "save_events 3\nsave_events_per_sec 1.0\nsave_ms_per_event 0.0\nsave_ms_total 0\n"
                                      "save_ms_total_per_sec 0.0\nsave_nanos_per_event 15.0\nsave_nanos_total 60\n"
                                      "save_nanos_total_per_sec 15.0");
    stats_tick(s, 3000); /* the clock stood still */
    buf_reset(&b);
    stats_write_vars(s, &b);
    assert_non_null(strstr(buf_cstr(&b), "save_events_per_sec 0.0\n"));
    buf_release(&b);
    stats_free(s);
}

static void test_json(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    struct buf b = { 0 };
    stats_write_json(s, &b, true);
    assert_string_equal(buf_cstr(&b), "{}");
    stat_set(stats_int(s, "n"), 5);
    stat_set_double(stats_double(s, "d"), 0.5);
    stats_string(s, "t", STR("a=\"b\""));
    buf_reset(&b);
    stats_write_json(s, &b, false);
    assert_string_equal(buf_cstr(&b), "{\"d\":0.5,\"n\":5,\"t\":\"a\\u003d\\\"b\\\"\"}");
    buf_reset(&b);
    stats_write_json(s, &b, true);
    assert_string_equal(buf_cstr(&b), "{\n  \"d\": 0.5,\n  \"n\": 5,\n  \"t\": \"a\\u003d\\\"b\\\"\"\n}");
    buf_release(&b);
    stats_free(s);
}

static void assert_graph(struct stats *s, struct str metrics, int64_t since, const char *want)
{
    struct buf b = { 0 };
    struct str unknown;
    assert_int_equal(stats_write_graph(s, metrics, since, &b, &unknown), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_graph(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    stats_retain(s, 3);
    struct stat *a = stats_int(s, "a");
    stats_int_untracked(s, "hidden");
    stats_string(s, "text", STR("x"));
    assert_graph(s, STR("a"), 0, "{\"names\":[\"time\",\"a\"],\"data\":[]}");
    stat_set(a, 5);
    stats_tick(s, 1000);
    struct stat *late = stats_double(s, "late");
    stat_set_double(late, 1.5);
    stats_tick(s, 2000);
    assert_graph(s, STR("time,late,a"), 0,
                 "{\"names\":[\"time\",\"late\",\"a\"],\"data\":[[1000,0.0,5],[2000,1.5,5]]}");
    assert_graph(s, STR("a"), 1000, "{\"names\":[\"time\",\"a\"],\"data\":[[2000,5]]}");
    stat_set(a, 6);
    stats_tick(s, 3000);
    stats_tick(s, 4000); /* the first row goes */
    assert_graph(s, STR("a,,a"), 0, "{\"names\":[\"time\",\"a\",\"a\"],\"data\":[[2000,5,5],[3000,6,6],[4000,6,6]]}");
    for (int i = 5; i < 100; i++) { /* every value new: points are dropped as fast as they come */
        stat_set(a, i);
        stats_tick(s, i * 1000);
    }
    assert_graph(s, STR("a,late"), 0,
                 "{\"names\":[\"time\",\"a\",\"late\"],\"data\":[[97000,97,1.5],[98000,98,1.5],[99000,99,1.5]]}");
    struct buf b = { 0 };
    stats_write_series_names(s, &b);
    assert_string_equal(buf_cstr(&b), "[\"a\",\"late\"]");
    buf_release(&b);
    stats_free(s);
}

static void test_graph_errors(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    struct buf b = { 0 }, list = { 0 };
    struct str unknown;
    stats_int(s, "a");
    stats_int_untracked(s, "hidden");
    stats_tick(s, 1000);
    assert_int_equal(stats_write_graph(s, STR("a,nope,b"), 0, &b, &unknown), ERR_NOT_FOUND);
    assert_true(str_eq(unknown, STR("nope")));
    assert_int_equal(stats_write_graph(s, STR("hidden"), 0, &b, &unknown), ERR_NOT_FOUND);
    for (unsigned i = 0; i < LIMIT_GRAPH_METRICS; i++) buf_adds(&list, "a,");
    assert_int_equal(stats_write_graph(s, str_c(buf_cstr(&list)), 0, &b, &unknown), 0);
    buf_adds(&list, "a");
    buf_reset(&b);
    assert_int_equal(stats_write_graph(s, str_c(buf_cstr(&list)), 0, &b, &unknown), ERR_TOO_BIG);
    assert_int_equal(b.len, 0);
    buf_release(&b);
    buf_release(&list);
    stats_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_sorted_whole),
        cmocka_unit_test(test_names_are_normalised_if_tracked),
        cmocka_unit_test(test_gauges_are_asked_and_first_wins),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_graph_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
