/* A loop that is kept busy says so; one that only waits does not. */
#include "admin/looplag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum { BUSY_MS = 150 };

struct fixture {
    uv_loop_t loop;
    struct looplag lag;
    struct stats *stats;
    uv_timer_t timer;
    uv_pipe_t pipe;
    int write_end;
};

static int64_t value(struct fixture *f, const char *name)
{
    return stat_get(stats_int(f->stats, name));
}

static void be_busy(void)
{
    uint64_t end = uv_hrtime() + BUSY_MS * UINT64_C(1000000);
    while (uv_hrtime() < end) {
    }
}

static void on_end(uv_timer_t *t)
{
    uv_stop(t->loop);
}

static void on_busy(uv_timer_t *t)
{
    be_busy();
    uv_timer_start(t, on_end, 1, 0);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    static char space[16];
    (void)h, (void)hint;
    *ret = uv_buf_init(space, sizeof(space));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct fixture *f = s->data;
    (void)n, (void)b;
    uv_read_stop(s);
    be_busy();
    uv_timer_start(&f->timer, on_end, 1, 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    uv_loop_init(&f->loop);
    f->stats = stats_new();
    uv_timer_init(&f->loop, &f->timer);
    looplag_start(&f->lag, &f->loop, f->stats);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    looplag_stop(&f->lag);
    uv_close((uv_handle_t *)&f->timer, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int rv = uv_loop_close(&f->loop);
    stats_free(f->stats);
    free(f);
    return rv;
}

static void test_waiting_is_no_work(void **state)
{
    struct fixture *f = *state;
    uv_timer_start(&f->timer, on_end, BUSY_MS, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    looplag_tick(&f->lag);
    assert_true(value(f, "loop_busy_ms") < BUSY_MS);
    assert_true(value(f, "loop_busy_nanos_total") < BUSY_MS * INT64_C(1000000));
}

static void test_a_busy_timer(void **state)
{
    struct fixture *f = *state;
    uv_timer_start(&f->timer, on_busy, 1, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    looplag_tick(&f->lag);
    assert_true(value(f, "loop_busy_ms") >= BUSY_MS);
    assert_true(value(f, "loop_lag_ms") >= BUSY_MS - 100 - 10);
    looplag_tick(&f->lag);
    assert_int_equal(value(f, "loop_busy_ms"), 0);
    assert_true(value(f, "loop_busy_ms_max") >= BUSY_MS);
}

/* Callbacks of I/O run inside uv's poll, but are work all the same. */
static void test_a_busy_reader(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    uv_pipe_init(&f->loop, &f->pipe, 0);
    f->pipe.data = f;
    uv_pipe_open(&f->pipe, fds[0]);
    uv_read_start((uv_stream_t *)&f->pipe, on_alloc, on_read);
    assert_int_equal(write(fds[1], "x", 1), 1);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    looplag_tick(&f->lag);
    assert_true(value(f, "loop_busy_ms") >= BUSY_MS);
    uv_close((uv_handle_t *)&f->pipe, NULL);
    close(fds[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = { TEST(test_waiting_is_no_work), TEST(test_a_busy_timer),
                                        TEST(test_a_busy_reader) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
