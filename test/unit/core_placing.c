/* Offers, pending groups and which task goes where. */
#include "test/lib/sched_rig.h"

#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND };

#define SERVICE ",\"isService\":true"

/* ---------------- offers ---------------- */

static void offers_are_declined_when_old(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 1, 1, 1, NULL);
    rig_run(r, 5 * MINUTE - 1);
    rig_expect(r, "");
    rig_run(r, MINUTE + 1);
    rig_expect(r, "decline a\n");
    assert_int_equal(r->update.effects[0].decline.refuse_ms, 5000);
}

static void held_for_ever_if_told_so(void **state)
{
    (void)state;
    struct sched_config c;
    rig_defaults(&c);
    c.hold_offers_forever = true;
    struct rig r;
    rig_init(&r, &c);
    rig_offer(&r, "a", 1, 1, 1, NULL);
    rig_run(&r, 20 * MINUTE);
    rig_expect(&r, "");
    rig_release(&r);
}

static void two_offers_of_one_agent_go_back(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 1, 1, 1, NULL);
    rig_offer(r, "a", 1, 1, 1, NULL);
    rig_expect(r, "decline a a.2\n");
    rig_offer(r, "a", 2, 2, 2, NULL);
    rig_expect(r, "");
    assert_int_equal(r->update.n_ops, 0); /* the host is known */
}

static void rescinded_offers_are_not_used(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 10, 1000, 1000, NULL);
    rig_rescind(r, "a");
    rig_create(r, "j", 1, "");
    rig_run(r, MINUTE / 2);
    rig_expect(r, "");
    rig_step(r, &(struct sched_event){ .type = EV_RESCIND, .rescind = { STR("nobody") } });
    assert_int_equal(stat_get(stats_int(r->stats, "offers_rescinded")), 2);
    assert_int_equal(stat_get(stats_int(r->stats, "offer_cancel_failures")), 1);
}

static void disconnection_drops_offers(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 10, 1000, 1000, NULL);
    rig_disconnect(r);
    assert_int_equal(stat_get(stats_int(r->stats, "framework_registered")), 0);
    rig_create(r, "j", 1, "");
    rig_run(r, MINUTE / 2);
    rig_expect(r, "");
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("framework-1"), false } });
    assert_int_equal(r->update.n_ops, 0); /* the id is saved only the first time */
    rig_offer(r, "b", 10, 1000, 1000, NULL);
    rig_run(r, SECOND);
    rig_expect(r, "launch b: t0\n");
}

static void host_attributes_are_stored_when_they_change(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 1, 1, 1, "rack=r1,rack=r2,disk=ssd");
    assert_int_equal(r->update.n_ops, 1);
    const struct api_host_attributes *h = store_host(sched_store(r->s), STR("host-a"));
    assert_int_equal(h->n_attributes, 2);
    assert_true(str_eq(h->attributes[1].name, STR("rack")));
    assert_int_equal(h->attributes[1].n_values, 2);
    assert_int_equal(h->mode, API_MAINTENANCE_MODE_NONE);
    rig_rescind(r, "a");
    rig_offer(r, "a", 1, 1, 1, "disk=ssd,rack=r2,rack=r1");
    assert_int_equal(r->update.n_ops, 0);
    rig_rescind(r, "a");
    rig_offer(r, "a", 1, 1, 1, "disk=ssd");
    assert_int_equal(r->update.n_ops, 1);
}

static void hosts_with_maintenance_ahead_come_last(void **state)
{
    (void)state;
    struct rig r;
    rig_init_follower(&r, NULL);
    struct api_host_attributes h = { .host = STR("host-a"), .has_mode = true, .slave_id = STR("a") };
    h.mode = API_MAINTENANCE_MODE_SCHEDULED;
    struct api_save_host_attributes save = { &h };
    assert_int_equal(sched_apply(r.s, &(struct api_op){ .save_host_attributes = &save }), 0);
    assert_int_equal(store_apply(r.mirror, &(struct api_op){ .save_host_attributes = &save }), 0);
    rig_lead(&r);
    rig_offer(&r, "a", 1, 1000, 1000, NULL); /* keeps its mode */
    rig_offer(&r, "b", 1, 1000, 1000, NULL);
    rig_create(&r, "j", 1, "");
    rig_run(&r, SECOND);
    rig_expect(&r, "launch b: t0\n");
    rig_create(&r, "k", 1, "");
    rig_run(&r, SECOND);
    rig_expect(&r, "launch a: t1\n");
    rig_release(&r);
}

/* ---------------- assignment ---------------- */

static void small_jobs_are_spread(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 10, 10000, 10000, NULL);
    rig_offer(r, "b", 10, 10000, 10000, NULL);
    rig_offer(r, "c", 10, 10000, 10000, NULL);
    rig_create(r, "j", 3, "");
    rig_run(r, SECOND);
    rig_expect(r, "launch a: t0\nlaunch b: t1\nlaunch c: t2\n");
}

static void large_jobs_share_offers_fairly_and_fill_up(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 4, 10000, 10000, NULL);
    rig_offer(r, "b", 1, 10000, 10000, NULL);
    rig_create(r, "j", 6, "");
    rig_run(r, SECOND);
    rig_expect(r, "launch a: t0 t1 t2 t4\nlaunch b: t3\n");
    rig_run(r, 30 * SECOND);
    rig_expect(r, "");
    rig_offer(r, "c", 4, 10000, 10000, NULL);
    rig_run(r, SECOND);
    rig_expect(r, "launch c: t5\n");
}

static void ports_are_assigned(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 10, 1000, 1000, NULL);
    rig_create(r, "j", 2,
               ",\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{\"namedPort\":\"http\"},{\"namedPort\":"
               "\"admin\"}]");
    rig_run(r, SECOND);
    for (int i = 0; i < 2; i++) {
        const struct task *t = rig_task(r, i ? "t1" : "t0");
        assert_int_equal(t->n_ports, 2);
        assert_in_range(t->ports[0].port, 31000, 31099);
        assert_true(str_eq(t->slave_host, STR("host-a")));
        assert_true(str_eq(t->slave_id, STR("a")));
    }
}

/* Aurora counted a rack only at the start of an attempt, so one attempt could exceed its limit. */
static void one_attempt_keeps_the_rack_limit(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 10, 10000, 10000, "rack=r1");
    rig_offer(r, "b", 10, 10000, 10000, "rack=r1");
    rig_offer(r, "c", 10, 10000, 10000, "rack=r2");
    rig_create(r, "j", 4, ",\"constraints\":[{\"name\":\"rack\",\"constraint\":{\"limit\":{\"limit\":1}}}]");
    rig_run(r, SECOND);
    rig_expect(r, "launch a: t0\nlaunch c: t1\n");
    rig_run(r, MINUTE);
    rig_expect(r, "reconcile t0 t1\n");
    const struct api_response *resp = rig_call_json(r, "getPendingReason", "{\"query\":{}}");
    assert_true(str_eq(resp->result->get_pending_reason_result->reasons[0].reason, STR("Limit not satisfied: rack")));
    /* A limit is not for ever: when a task ends, its rack is free again, on an offer that was refused before. */
    rig_status(r, "t0", RIG_FINISHED);
    rig_clear(r);
    rig_run(r, MINUTE);
    rig_expect(r, "launch b: t2\n");
}

static void what_does_not_fit_is_not_asked_again(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        rig_offer(r, name, 1, 64, 64, NULL);
    }
    rig_create(r, "j", 50, "");
    rig_run(r, MINUTE);
    assert_int_equal(stat_get(stats_int(r->stats, "veto_evaluated_offers")), 10);
    assert_int_equal(stat_get(stats_int(r->stats, "scheduling_veto_insufficient_resources")), 10);
    assert_int_equal(stat_get(stats_int(r->stats, "scheduling_veto_static")), 10);
}

static void two_groups_share_an_offer_in_one_step(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 1, "");
    rig_create(r, "k", 1, SERVICE);
    rig_offer(r, "a", 2, 10000, 10000, NULL);
    rig_run(r, MINUTE / 2);
    rig_expect(r, "launch a: t0 t1\n");
}

/* ---------------- pending groups ---------------- */

struct groups {
    struct buf b;
    int64_t penalty_ms;
    uint32_t n;
};

static void note_group(const struct pending_group *g, void *arg)
{
    struct groups *s = arg;
    s->n++;
    s->penalty_ms = g->penalty_ms;
    buf_addf(&s->b, "%.*s x%u %.*s; ", STR_ARG(g->name), g->n_task_ids, STR_ARG(g->reason));
}

static void failures_back_off_and_offers_wake(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 2, "");
    struct groups g = { 0 };
    sched_each_pending_group(r->s, note_group, &g);
    assert_int_equal(g.penalty_ms, 1);
    assert_string_equal(buf_cstr(&g.b), "role/prod/j x2 []; ");
    rig_offer(r, "a", 1, 64, 1, NULL);
    rig_run(r, 10 * MINUTE);
    buf_reset(&g.b);
    sched_each_pending_group(r->s, note_group, &g);
    assert_int_equal(g.penalty_ms, MINUTE);
    assert_string_equal(buf_cstr(&g.b), "role/prod/j x2 [Insufficient: RAM, Insufficient: disk]; ");
    rig_clear(r);
    rig_offer(r, "b", 10, 1000, 1000, NULL);
    rig_run(r, 100);
    rig_expect(r, "launch b: t0 t1\n");
    buf_reset(&g.b);
    sched_each_pending_group(r->s, note_group, &g);
    assert_string_equal(buf_cstr(&g.b), "");
    buf_release(&g.b);
}

static void attempts_that_place_nothing_are_limited(void **state)
{
    (void)state;
    struct sched_config c;
    rig_defaults(&c);
    c.max_schedule_attempts_per_sec = 10;
    struct rig r;
    rig_init(&r, &c);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "j%d", i);
        rig_create(&r, name, 1, "");
    }
    rig_run(&r, SECOND);
    int64_t fired = stat_get(stats_int(r.stats, "schedule_attempts_fired"));
    assert_true(fired >= 19 && fired <= 21); /* what was saved up, and one second's */
    assert_true(stat_get(stats_int(r.stats, "schedule_attempts_blocks")) >= 80);
    rig_run(&r, 20 * SECOND);
    assert_true(stat_get(stats_int(r.stats, "schedule_attempts_fired")) <= 10 + 211);
    /* Those that can be placed are not held up by it for long. */
    rig_offer(&r, "a", 1000, 1000000, 1000000, NULL);
    rig_run(&r, 15 * SECOND);
    assert_true(r.launched > 0);
    rig_release(&r);
}

/* Forty jobs at once with ten attempts per second: what can be placed is placed at once. */
static void attempts_that_place_are_not_limited(void **state)
{
    (void)state;
    struct sched_config c;
    rig_defaults(&c);
    c.max_schedule_attempts_per_sec = 10;
    struct rig r;
    rig_init(&r, &c);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "j%d", i);
        rig_offer(&r, name, 1, 1000, 1000, NULL);
        rig_create(&r, name, 1, "");
    }
    rig_run(&r, 100);
    assert_int_equal(r.launched, 40);
    assert_int_equal(stat_get(stats_int(r.stats, "schedule_attempts_blocks")), 0);
    rig_release(&r);
}

/* The reason is of those that wait, so it goes when one of them no longer does. */
static void reasons_go_with_the_first_that_is_placed(void **state)
{
    struct rig *r = *state;
    rig_create(r, "j", 2, "");
    rig_offer(r, "a", 1, 1, 1000, NULL);
    rig_run(r, SECOND);
    rig_call_json(r, "killTasks",
                  "{\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j\"},\"instances\":[0]}");
    const struct api_response *resp = rig_call_json(r, "getPendingReason", "{\"query\":{}}");
    assert_int_equal(resp->result->get_pending_reason_result->n_reasons, 1);
    assert_true(str_eq(resp->result->get_pending_reason_result->reasons[0].reason, STR("")));
}

static void many_tasks_are_placed_quickly(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        rig_offer(r, name, 20, 20000, 20000, NULL);
    }
    rig_create(r, "j", 2 * LIMIT_STEP_PLACED_TASKS + 1, "");
    uint64_t steps = r->steps;
    rig_run(r, 100);
    assert_int_equal(r->launched, 2 * LIMIT_STEP_PLACED_TASKS + 1);
    assert_true(r->steps - steps >= 2); /* not all in one, so that the loop stays free */
}

static void a_step_places_no_more_than_its_limit(void **state)
{
    struct rig *r = *state;
    rig_offer(r, "a", 4000, 4000000, 4000000, NULL);
    rig_create(r, "j", 2 * LIMIT_STEP_PLACED_TASKS + 1, "");
    r->now_ms += 1;
    rig_step(r, &(struct sched_event){ .type = EV_TIMER });
    assert_int_equal(r->launched, 2 * LIMIT_STEP_PLACED_TASKS); /* one offer: the first limit lets it be finished */
    assert_true(sched_timeout(r->s) <= r->now_ms);
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = {
        RIG_TEST(offers_are_declined_when_old),
        T(held_for_ever_if_told_so),
        RIG_TEST(two_offers_of_one_agent_go_back),
        RIG_TEST(rescinded_offers_are_not_used),
        RIG_TEST(disconnection_drops_offers),
        RIG_TEST(host_attributes_are_stored_when_they_change),
        T(hosts_with_maintenance_ahead_come_last),
        RIG_TEST(small_jobs_are_spread),
        RIG_TEST(large_jobs_share_offers_fairly_and_fill_up),
        RIG_TEST(ports_are_assigned),
        RIG_TEST(one_attempt_keeps_the_rack_limit),
        RIG_TEST(what_does_not_fit_is_not_asked_again),
        RIG_TEST(two_groups_share_an_offer_in_one_step),
        RIG_TEST(failures_back_off_and_offers_wake),
        T(attempts_that_place_nothing_are_limited),
        T(attempts_that_place_are_not_limited),
        RIG_TEST(reasons_go_with_the_first_that_is_placed),
        RIG_TEST(many_tasks_are_placed_quickly),
        RIG_TEST(a_step_places_no_more_than_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
