/* A standby that keeps up: what it asks, what it fills, what it leaves alone. */
#include "log/catchup.h"

#include "core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct replica replica;
    struct catchup c;
    struct coordinator_output out;
    struct message *sent; /* the last request */
    uint64_t request, now_ms;
    unsigned requests;
    bool done; /* some time since it was last cleared */
};

static void learn(struct rig *g, const struct message *m)
{
    struct replica_output ignored;
    replica_step(&g->replica, m, NULL, &ignored);
}

static struct message learned(uint64_t position)
{
    return (struct message){ .kind = MESSAGE_LEARNED,
                             .has_action = true,
                             .action = { .position = position,
                                         .promised = 1,
                                         .has_performed = true,
                                         .performed = 1,
                                         .has_learned = true,
                                         .learned = true,
                                         .type = ACTION_APPEND,
                                         .bytes = "v",
                                         .n = 1 } };
}

/* Carries out g->out and what follows from it. */
static void settle(struct rig *g)
{
    for (;;) {
        g->done = g->done || g->out.done;
        if (g->out.has_request) {
            free(g->sent);
            g->sent = message_copy(&g->out.message);
            g->request = g->out.request;
            g->requests++;
        }
        bool more = g->out.has_request || g->out.has_learned;
        if (g->out.has_learned) learn(g, &g->out.learned);
        if (!more) return;
        catchup_advance(&g->c, g->now_ms, &g->out);
    }
}

static void advance(struct rig *g, uint64_t now_ms)
{
    g->now_ms = now_ms;
    catchup_advance(&g->c, now_ms, &g->out);
    settle(g);
}

static void rig_init(struct rig *g)
{
    *g = (struct rig){ 0 };
    replica_init(&g->replica);
    g->replica.status = REPLICA_VOTING;
    catchup_init(&g->c, 2, 1, &g->replica);
    catchup_members(&g->c, 3);
    catchup_start(&g->c, 0, &g->out);
    settle(g);
    assert_int_equal(g->sent->kind, MESSAGE_RECOVER_REQUEST);
}

static void rig_release(struct rig *g)
{
    free(g->sent);
    catchup_release(&g->c);
    replica_release(&g->replica);
}

static void answer(struct rig *g, unsigned member, const struct message *m)
{
    catchup_answer(&g->c, g->request, member, m, g->now_ms, &g->out);
    settle(g);
}

static void reports(struct rig *g, unsigned member, enum replica_status s, uint64_t begin, uint64_t end)
{
    answer(g, member,
           &(struct message){ .kind = MESSAGE_RECOVER_RESPONSE,
                              .status = s,
                              .has_range = s == REPLICA_VOTING,
                              .begin = begin,
                              .end = end });
}

/* The member has learned the position that is asked for. */
static void has_it(struct rig *g, unsigned member, uint64_t position)
{
    assert_int_equal(g->sent->kind, MESSAGE_PROMISE_REQUEST);
    assert_int_equal(g->sent->position, position);
    struct message m = learned(position);
    m.kind = MESSAGE_PROMISE_RESPONSE;
    m.answer = ANSWER_ACCEPT;
    m.proposal = g->sent->proposal;
    answer(g, member, &m);
}

static void fetches_all_but_the_last(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 1, REPLICA_VOTING, 0, 3);
    assert_int_equal(g.requests, 1);
    reports(&g, 2, REPLICA_VOTING, 0, 2);
    assert_int_equal(catchup_lag(&g.c), 4);
    for (uint64_t p = 0; p < 3; p++) has_it(&g, 1 + p % 2, p);
    assert_true(g.done);
    assert_int_equal(catchup_lag(&g.c), 1); /* position 3 may be the writer's running one */
    assert_int_equal(g.c.state, CATCHUP_WAITS);
    rig_release(&g);
}

static void begins_where_a_quorum_begins(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 1, REPLICA_VOTING, 7, 9);
    reports(&g, 2, REPLICA_VOTING, 6, 9);
    has_it(&g, 2, 6);
    has_it(&g, 2, 7);
    has_it(&g, 2, 8);
    assert_true(g.done);
    rig_release(&g);
}

static void nothing_to_fetch(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 0, REPLICA_VOTING, 0, 0);
    reports(&g, 1, REPLICA_VOTING, 0, 0);
    assert_true(g.done);
    assert_int_equal(g.requests, 1);
    advance(&g, CATCHUP_INTERVAL_MS - 1);
    assert_int_equal(g.requests, 1);
    advance(&g, CATCHUP_INTERVAL_MS);
    assert_int_equal(g.requests, 2);
    g.done = false;
    reports(&g, 0, REPLICA_VOTING, 5, 5); /* all that was truncated is decided */
    reports(&g, 1, REPLICA_VOTING, 5, 5);
    assert_true(g.done);
    rig_release(&g);
}

static void members_that_do_not_vote_do_not_count(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 0, REPLICA_VOTING, 0, 0);
    reports(&g, 1, REPLICA_RECOVERING, 0, 0);
    assert_int_equal(g.c.state, CATCHUP_SURVEY);
    reports(&g, 2, REPLICA_EMPTY, 0, 0);
    assert_int_equal(g.c.state, CATCHUP_WAITS);
    assert_false(g.done);
    rig_release(&g);
}

static void a_gap_is_fetched_soon_but_asked_for_once(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 0, REPLICA_VOTING, 0, 0);
    reports(&g, 1, REPLICA_VOTING, 0, 0);
    struct message m = learned(2);
    learn(&g, &m);
    advance(&g, 10);
    assert_int_equal(catchup_deadline(&g.c), 10 + CATCHUP_GRACE_MS);
    advance(&g, 10 + CATCHUP_GRACE_MS);
    assert_int_equal(g.requests, 2);
    reports(&g, 1, REPLICA_VOTING, 2, 2);
    reports(&g, 2, REPLICA_VOTING, 2, 2); /* nobody has it any more */
    assert_int_equal(g.c.state, CATCHUP_WAITS);
    advance(&g, g.now_ms + 1);
    assert_true(catchup_deadline(&g.c) > g.now_ms + CATCHUP_GRACE_MS);
    rig_release(&g);
}

static void asks_again_when_answers_are_lost(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 1, REPLICA_VOTING, 0, 3);
    uint64_t former = g.request;
    advance(&g, CATCHUP_TIMEOUT_MS);
    assert_int_equal(g.requests, 2);
    assert_int_not_equal(g.request, former);
    g.request = former;
    reports(&g, 2, REPLICA_VOTING, 0, 3); /* too late */
    assert_int_equal(g.c.state, CATCHUP_SURVEY);
    rig_release(&g);
}

static void stops_and_starts_at_any_time(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    reports(&g, 1, REPLICA_VOTING, 0, 3);
    reports(&g, 2, REPLICA_VOTING, 0, 3);
    assert_int_equal(g.c.state, CATCHUP_FILL);
    catchup_stop(&g.c);
    assert_int_equal(catchup_deadline(&g.c), UINT64_MAX);
    unsigned requests = g.requests;
    advance(&g, 100000);
    assert_int_equal(g.requests, requests);
    catchup_start(&g.c, g.now_ms, &g.out);
    settle(&g);
    reports(&g, 1, REPLICA_VOTING, 0, 3);
    reports(&g, 2, REPLICA_VOTING, 0, 3);
    has_it(&g, 1, 0);
    assert_int_equal(g.sent->position, 1);
    rig_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_all_but_the_last),
        cmocka_unit_test(begins_where_a_quorum_begins),
        cmocka_unit_test(nothing_to_fetch),
        cmocka_unit_test(members_that_do_not_vote_do_not_count),
        cmocka_unit_test(a_gap_is_fetched_soon_but_asked_for_once),
        cmocka_unit_test(asks_again_when_answers_are_lost),
        cmocka_unit_test(stops_and_starts_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
