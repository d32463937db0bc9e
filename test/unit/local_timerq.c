#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesos/local/timerq.h"

#include <stdio.h>
#include <stdlib.h>

enum { N = 200 };

static int64_t last;
static int fired;

static void note(struct timer *t, void *arg)
{
    (void)arg;
    assert_true(t->at_ms >= last);
    assert_false(timer_active(t));
    last = t->at_ms;
    fired++;
}

/* Random starts, restarts and stops: what is left comes in order and nothing else. */
static void test_random_order(void **state)
{
    (void)state;
    const char *env = getenv("SEED");
    unsigned long long seed = env ? strtoull(env, NULL, 10) : 7;
    uint64_t x = seed;
    print_message("replay: SEED=%llu build/asan/test/local_timerq\n", seed);
    for (int round = 0; round < 100; round++) {
        struct timer t[N] = { 0 };
        struct timerq q = { 0 };
        int active = 0;
        for (int i = 0; i < 2000; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            struct timer *one = &t[(x >> 33) % N];
            if ((x >> 60) & 1) {
                timer_start(&q, one, (int64_t)((x >> 40) % 1000), note, NULL);
            } else {
                timer_stop(&q, one);
            }
        }
        for (int i = 0; i < N; i++) active += timer_active(&t[i]);
        last = fired = 0;
        timerq_run(&q, 499, SIZE_MAX);
        assert_true(last <= 499);
        assert_true(timerq_next(&q) == -1 || timerq_next(&q) >= 500);
        timerq_run(&q, 1000, SIZE_MAX);
        assert_int_equal(fired, active);
        assert_int_equal(timerq_next(&q), -1);
        timerq_release(&q);
    }
}

static struct timerq again_q;

static void again(struct timer *t, void *arg)
{
    fired++;
    timer_start(&again_q, t, t->at_ms, again, arg);
}

static void test_limit_per_run(void **state)
{
    (void)state;
    struct timer t = { 0 };
    fired = 0;
    timer_start(&again_q, &t, 5, again, NULL);
    timerq_run(&again_q, 4, 10);
    assert_int_equal(fired, 0);
    timerq_run(&again_q, 5, 10);
    assert_int_equal(fired, 10); /* not for ever */
    timer_stop(&again_q, &t);
    timerq_release(&again_q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_order),
        cmocka_unit_test(test_limit_per_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
