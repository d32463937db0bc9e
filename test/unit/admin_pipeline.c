/* Effects leave in order and never before what they depend on is durable. */
#include "admin/pipeline.h"

#include "admin/rpc.h"
#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
    struct stats *stats;
    struct sched *sched;
    struct pipeline *pipeline;
    uint64_t appended, durable;
    int64_t now_ms;
    uint64_t replies[16]; /* cookies, in order */
    unsigned n_replies, n_stepped;
    enum api_response_code last_code;
    bool pin;
    struct held *pinned;
    const struct api_response *pinned_response;
};

static int64_t now(void *arg)
{
    return ((struct fixture *)arg)->now_ms;
}

static uint64_t append(const struct api_op *ops, uint32_t n, void *arg)
{
    (void)ops;
    struct fixture *f = arg;
    return n ? ++f->appended : f->appended;
}

static uint64_t durable(void *arg)
{
    return ((struct fixture *)arg)->durable;
}

static void on_effect(const struct effect *e, void *arg)
{
    (void)e, (void)arg;
}

static void on_reply(uint64_t cookie, const struct api_response *response, struct held *h, void *arg)
{
    struct fixture *f = arg;
    if (f->n_replies < sizeof(f->replies) / sizeof(f->replies[0])) f->replies[f->n_replies] = cookie;
    f->n_replies++;
    f->last_code = response->response_code;
    if (!f->pin) return;
    held_pin(h);
    f->pinned = h;
    f->pinned_response = response;
}

static void on_stepped(void *arg)
{
    ((struct fixture *)arg)->n_stepped++;
}

static bool any_environment(struct str env, void *arg)
{
    (void)env, (void)arg;
    return true;
}

static int set_up(void **state)
{
    static struct executor_setting executors[] = { { .name = { "CommandExecutor", 15 } } };
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct sched_config c;
    sched_config_defaults(&c);
    c.cluster_name = c.hostname = STR("test");
    c.environment_ok = any_environment;
    c.executors = executors;
    c.n_executors = 1;
    f->now_ms = 1600000000000;
    f->stats = stats_new();
    f->sched = sched_new(&c, f->stats);
    struct pipeline_config pc = { f->sched, f->stats, now, append, durable, on_effect, on_reply, on_stepped, f };
    f->pipeline = pipeline_new(&pc);
    *state = f;
    struct sched_event ev = { .type = EV_LEADING };
    pipeline_step(f->pipeline, &ev);
    f->durable = f->appended;
    pipeline_durable(f->pipeline, f->durable);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->pipeline) pipeline_free(f->pipeline);
    sched_free(f->sched);
    stats_free(f->stats);
    free(f);
    return 0;
}

static uint64_t command(struct fixture *f, uint64_t cookie, const char *method, const char *json)
{
    struct rpc_request q;
    struct rpc_answer a = { 0 };
    assert_true(rpc_read_json(RPC_V1, str_c(method), str_c(json), NULL, &q, &a));
    struct sched_event ev = { .type = EV_COMMAND };
    ev.command.cookie = cookie;
    ev.command.method = q.method;
    ev.command.args = q.args;
    ev.command.user = STR("UNSECURE");
    uint64_t after = pipeline_step(f->pipeline, &ev);
    rpc_request_release(&q);
    return after;
}

static uint64_t create(struct fixture *f, uint64_t cookie)
{
    char json[1024];
    (void)snprintf(
        json, sizeof(json),
        "{\"description\":{\"key\":{\"role\":\"r\",\"environment\":\"e\",\"name\":\"n%llu\"},\"instanceCount\":1,"
        "\"taskConfig\":{\"job\":{\"role\":\"r\",\"environment\":\"e\",\"name\":\"n%llu\"},"
        "\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1}],"
        "\"executorConfig\":{\"name\":\"CommandExecutor\",\"data\":\"true\"}}}}",
        (unsigned long long)cookie, (unsigned long long)cookie);
    return command(f, cookie, "createJob", json);
}

static void test_a_write_waits(void **state)
{
    struct fixture *f = *state;
    uint64_t after = create(f, 7);
    assert_int_equal(after, f->appended);
    assert_true(after > f->durable);
    assert_int_equal(f->n_replies, 0);
    assert_int_equal(pipeline_held_commands(f->pipeline), 1);
    pipeline_durable(f->pipeline, after - 1);
    assert_int_equal(f->n_replies, 0);
    pipeline_durable(f->pipeline, after);
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->replies[0], 7);
    assert_int_equal(f->last_code, API_RESPONSE_CODE_OK);
    assert_int_equal(pipeline_held(f->pipeline), 0);
}

/* A read that saw what is not durable could tell of a change that a crash undoes. */
static void test_a_read_waits_for_what_it_saw(void **state)
{
    struct fixture *f = *state;
    command(f, 1, "getJobs", "{}");
    assert_int_equal(f->n_replies, 1);
    uint64_t after = create(f, 2);
    command(f, 3, "getJobs", "{}");
    assert_int_equal(f->n_replies, 1);
    pipeline_durable(f->pipeline, after);
    assert_int_equal(f->n_replies, 3);
    assert_int_equal(f->replies[1], 2);
    assert_int_equal(f->replies[2], 3);
}

static void test_the_order_is_kept(void **state)
{
    struct fixture *f = *state;
    create(f, 1);
    uint64_t second = create(f, 2);
    uint64_t third = create(f, 3);
    pipeline_durable(f->pipeline, second);
    assert_int_equal(f->n_replies, 2);
    pipeline_durable(f->pipeline, third);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(f->replies[i], i + 1);
    assert_true(f->n_stepped >= 4);
}

static void test_room_for_commands(void **state)
{
    struct fixture *f = *state;
    create(f, 0);
    for (unsigned i = 1; i < LIMIT_PENDING_COMMANDS - 1; i++) command(f, i, "getTierConfigs", "{}");
    assert_true(pipeline_has_room(f->pipeline));
    command(f, 9, "getTierConfigs", "{}");
    assert_false(pipeline_has_room(f->pipeline));
    pipeline_durable(f->pipeline, f->appended);
    assert_true(pipeline_has_room(f->pipeline));
    /* No more leaves at once than keeps the loop answering. */
    assert_true(f->n_replies > 0 && f->n_replies <= LIMIT_RELEASE_WORK);
    while (pipeline_releasable(f->pipeline)) pipeline_durable(f->pipeline, f->appended);
    assert_int_equal(f->n_replies, LIMIT_PENDING_COMMANDS);
}

/* An answer that is still being encoded outlives the pipeline's own interest in it. */
static void test_a_pinned_answer_stays(void **state)
{
    struct fixture *f = *state;
    f->pin = true;
    create(f, 1);
    pipeline_durable(f->pipeline, f->appended);
    assert_non_null(f->pinned);
    assert_int_equal(f->pinned_response->response_code, API_RESPONSE_CODE_OK);
    assert_true(str_eq(f->pinned_response->server_info->cluster_name, STR("test")));
    held_unpin(f->pinned);
}

/* Leaks would show under the sanitizer. */
static void test_what_is_held_is_dropped_at_the_end(void **state)
{
    struct fixture *f = *state;
    create(f, 1);
    create(f, 2);
    pipeline_free(f->pipeline);
    f->pipeline = NULL;
    assert_int_equal(f->n_replies, 0);
}

static void count_page(void *pages)
{
    ++*(unsigned *)pages;
}

/* A page shows what a read would. */
static void test_a_page_waits_for_what_it_saw(void **state)
{
    struct fixture *f = *state;
    unsigned pages = 0;
    pipeline_after(f->pipeline, count_page, &pages);
    assert_int_equal(pages, 1);
    uint64_t after = create(f, 1);
    pipeline_after(f->pipeline, count_page, &pages);
    pipeline_durable(f->pipeline, after - 1);
    assert_int_equal(pages, 1);
    pipeline_durable(f->pipeline, after);
    assert_int_equal(pages, 2);
    assert_int_equal(f->n_replies, 1);
}

/* Whoever waits has memory to free. */
static void test_a_page_is_called_at_the_end(void **state)
{
    struct fixture *f = *state;
    unsigned pages = 0;
    create(f, 1);
    pipeline_after(f->pipeline, count_page, &pages);
    pipeline_free(f->pipeline);
    f->pipeline = NULL;
    assert_int_equal(pages, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_write_waits),
        TEST(test_a_read_waits_for_what_it_saw),
        TEST(test_the_order_is_kept),
        TEST(test_room_for_commands),
        TEST(test_a_pinned_answer_stays),
        TEST(test_what_is_held_is_dropped_at_the_end),
        TEST(test_a_page_waits_for_what_it_saw),
        TEST(test_a_page_is_called_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
