/* The heap of deadlines, and how many of them one step handles. */
#include "core/timers.h"

#include "core/limits.h"
#include "core/rng.h"
#include "test/lib/sched_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void never(struct sched *s, struct timer *t)
{
    (void)s;
    (void)t;
    fail();
}

static void they_come_in_order_of_time_and_setting(void **state)
{
    (void)state;
    struct timers ts = { 0 };
    struct timer a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
    assert_int_equal(timers_next(&ts), INT64_MAX);
    timers_set(&ts, &a, 30, never);
    timers_set(&ts, &b, 10, never);
    timers_set(&ts, &c, 10, never);
    timers_set(&ts, &d, 20, never);
    timers_set(&ts, &d, 5, never); /* moved */
    timers_cancel(&ts, &a);
    timers_cancel(&ts, &a); /* not set: nothing */
    assert_false(timer_is_set(&a));
    assert_int_equal(timers_next(&ts), 5);
    assert_null(timers_pop(&ts, 4));
    assert_ptr_equal(timers_pop(&ts, 5), &d);
    assert_null(timers_pop(&ts, 9));
    assert_ptr_equal(timers_pop(&ts, 10), &b);
    assert_ptr_equal(timers_pop(&ts, 10), &c);
    assert_null(timers_pop(&ts, INT64_MAX));
    timers_release(&ts);
}

enum { MANY = 300 };

/* The timer that must come next, found the slow way. */
static struct timer *first_of(struct timer *v)
{
    struct timer *best = NULL;
    for (int i = 0; i < MANY; i++) {
        if (!timer_is_set(&v[i])) continue;
        if (!best || v[i].due_ms < best->due_ms || (v[i].due_ms == best->due_ms && v[i].seq < best->seq)) best = &v[i];
    }
    return best;
}

static void random_timers_match_a_search(void **state)
{
    (void)state;
    const char *env = getenv("SEED");
    struct rng rng = { env ? strtoull(env, NULL, 10) : 1 };
    print_message("SEED=%llu build/asan/test/core_timers\n", (unsigned long long)rng.state);
    static struct timer v[MANY];
    struct timers ts = { 0 };
    for (int i = 0; i < 20000; i++) {
        struct timer *t = &v[rng_below(&rng, MANY)];
        uint64_t dice = rng_below(&rng, 4);
        if (dice < 2)
            timers_set(&ts, t, (int64_t)rng_below(&rng, 50), never);
        else if (dice == 2)
            timers_cancel(&ts, t);
        else {
            struct timer *want = first_of(v);
            assert_ptr_equal(timers_pop(&ts, 100), want);
            assert_true(!want || !timer_is_set(want));
        }
    }
    timers_release(&ts);
}

static void a_step_handles_no_more_than_its_limit(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, NULL);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        rig_offer(&r, name, 100, 100000, 100000, NULL);
    }
    rig_create(&r, "j", LIMIT_STEP_TIMERS + 1, "");
    rig_run(&r, 1000);
    assert_int_equal(r.launched, LIMIT_STEP_TIMERS + 1);
    r.now_ms += 299500; /* all launches are out of time at once */
    rig_step(&r, &(struct sched_event){ .type = EV_TIMER });
    assert_int_equal(store_status_count(sched_store(r.s), API_SCHEDULE_STATUS_ASSIGNED), 2); /* and a reconciliation */
    assert_true(sched_timeout(r.s) <= r.now_ms);
    rig_step(&r, &(struct sched_event){ .type = EV_TIMER });
    assert_int_equal(store_status_count(sched_store(r.s), API_SCHEDULE_STATUS_ASSIGNED), 0);
    rig_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_come_in_order_of_time_and_setting),
        cmocka_unit_test(random_timers_match_a_search),
        cmocka_unit_test(a_step_handles_no_more_than_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
