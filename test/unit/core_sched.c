/* The scheduler's behaviour in time: each test reads as events and what they lead to. */
#include "test/lib/sched_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void job_runs_and_is_killed(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, NULL);
    assert_string_equal(rig_create(&r, "hello", 2, ",\"isService\":true"), "OK");
    assert_string_equal(rig_tasks(&r), "t0 PENDING; t1 PENDING");
    rig_expect(&r, "");
    rig_offer(&r, "a", 4, 1024, 1024, NULL);
    rig_run(&r, 1000);
    rig_expect(&r, "launch a: t0 t1\n");
    assert_string_equal(rig_tasks(&r), "t0 ASSIGNED; t1 ASSIGNED");
    rig_status(&r, "t0", RIG_STARTING);
    rig_status(&r, "t0", RIG_RUNNING);
    rig_expect(&r, "ack t0\nack t0\n");
    assert_string_equal(rig_events(&r, "t0"), "PENDING ASSIGNED STARTING RUNNING");

    rig_call_json(&r, "killTasks", "{\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"hello\"}}");
    rig_expect(&r, "kill t0\nkill t1\n");
    rig_status(&r, "t0", RIG_KILLED);
    rig_status(&r, "t1", RIG_KILLED);
    assert_string_equal(rig_tasks(&r), "t0 KILLED; t1 KILLED");
    rig_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_runs_and_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
