/* What the kernel tells of the process's memory. */
#include "admin/memory.h"
#include "core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 32 << 20 };

static void what_is_used_is_counted(void **state)
{
    (void)state;
    struct memory before, after;
    assert_true(memory_read(&before));
    assert_true(before.own > 0);
    assert_true(before.own <= before.resident);
    assert_true(before.own <= before.reserved);
    char *bytes = xmalloc(MANY);
    memset(bytes, 1, MANY);
    assert_true(memory_read(&after));
    assert_true(after.own >= before.own + MANY / 2);
    free(bytes);
}

static void trimming_takes_nothing_that_is_used(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    memory_setup();
    char *bytes = xmalloc(MANY);
    memset(bytes, 7, MANY);
    for (int64_t now = 1; now < 5; now++) {
        memory_trim(&loop, now * 1000000);
        memory_trim(&loop, now * 1000000); /* is running */
        assert_true(uv_loop_alive(&loop));
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    memory_trim(&loop, 4000001); /* too soon */
    assert_false(uv_loop_alive(&loop));
    assert_int_equal(uv_loop_close(&loop), 0);
    for (size_t i = 0; i < MANY; i++) assert_int_equal(bytes[i], 7);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_used_is_counted),
        cmocka_unit_test(trimming_takes_nothing_that_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
