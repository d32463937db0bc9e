/* Status updates gathered for one step. */
#include "admin/statuses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint32_t add(struct statuses *s, const char *id, uint32_t n)
{
    static struct status_update v[LIMIT_STATUS_BATCH + 1];
    for (uint32_t i = 0; i < n; i++)
        v[i] = (struct status_update){ .task_id = str_c(id), .message = STR("m"), .state = 1, .has_uuid = true };
    struct sched_event ev = { .type = EV_STATUS, .status = { v, n } };
    return statuses_add(s, &ev);
}

static void copies_what_the_driver_lends(void **state)
{
    (void)state;
    struct statuses s;
    statuses_init(&s, 10);
    char id[] = "task-1";
    assert_int_equal(add(&s, id, 1), 1);
    id[5] = '2';
    assert_int_equal(add(&s, id, 1), 1);
    struct sched_event ev = statuses_event(&s);
    assert_int_equal(ev.type, EV_STATUS);
    assert_int_equal(ev.status.n, 2);
    assert_string_equal(ev.status.v[0].task_id.p, "task-1");
    assert_string_equal(ev.status.v[1].task_id.p, "task-2");
    assert_null(ev.status.v[0].agent_id.p);
    statuses_clear(&s);
    assert_int_equal(statuses_event(&s).status.n, 0);
    statuses_release(&s);
}

static void takes_no_more_than_fits(void **state)
{
    (void)state;
    struct statuses s;
    statuses_init(&s, 1000000);
    assert_int_equal(add(&s, "t", LIMIT_STATUS_BATCH - 1), LIMIT_STATUS_BATCH - 1);
    assert_false(statuses_full(&s));
    assert_int_equal(add(&s, "t", 2), 1);
    assert_true(statuses_full(&s));
    statuses_release(&s);
    statuses_init(&s, 1);
    assert_int_equal(add(&s, "t", 2), 1);
    assert_true(statuses_full(&s));
    statuses_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_what_the_driver_lends),
        cmocka_unit_test(takes_no_more_than_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
