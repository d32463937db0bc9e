/* A standby that keeps up: what it asks, what it fills, what it leaves alone. */
#include "log/catchup.h"

#include "core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { POSITIONS = 3 * LIMIT_LOG_FILLS };

struct rig {
    struct replica replica;
    struct catchup c;
    struct coordinator_output out;
    struct message *sent; /* the last request */
    uint64_t request, now_ms;
    unsigned requests, fills;
    struct {
        uint64_t request, proposal; /* of the last promise that was asked for; 0: none */
    } fill[POSITIONS];
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
            if (g->sent->kind == MESSAGE_PROMISE_REQUEST) {
                assert_true(g->sent->position < POSITIONS);
                g->fills += g->fill[g->sent->position].request == 0;
                g->fill[g->sent->position].request = g->request;
                g->fill[g->sent->position].proposal = g->sent->proposal;
            }
        }
        bool more = g->out.has_request || g->out.has_learned;
        if (g->out.has_learned) {
            assert_true(g->out.for_own); /* the others know it */
            learn(g, &g->out.learned);
        }
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
    assert_true(g->fill[position].request);
    struct message m = learned(position);
    m.kind = MESSAGE_PROMISE_RESPONSE;
    m.answer = ANSWER_ACCEPT;
    m.proposal = g->fill[position].proposal;
    g->request = g->fill[position].request;
    answer(g, member, &m);
}

/* The member has promised the position to somebody else. */
static void rejects(struct rig *g, unsigned member, uint64_t position, uint64_t promised)
{
    g->request = g->fill[position].request;
    answer(g, member,
           &(struct message){ .kind = MESSAGE_PROMISE_RESPONSE,
                              .answer = ANSWER_REJECT,
                              .proposal = promised,
                              .has_position = true,
                              .position = position });
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
    for (uint64_t p = 3; p-- > 0;) has_it(&g, 1, p);
    assert_true(g.done);
    rig_release(&g);
}

static void fetches_several_positions_at_a_time(void **state)
{
    (void)state;
    enum { LAST = 2 * LIMIT_LOG_FILLS + 3 };
    struct rig g;
    rig_init(&g);
    reports(&g, 1, REPLICA_VOTING, 0, LAST);
    reports(&g, 2, REPLICA_VOTING, 0, LAST);
    assert_int_equal(g.fills, LIMIT_LOG_FILLS);
    has_it(&g, 1, 5); /* any of them makes room for one more */
    assert_int_equal(g.fills, LIMIT_LOG_FILLS + 1);
    assert_true(g.fill[LIMIT_LOG_FILLS].request);
    struct message m = learned(LIMIT_LOG_FILLS + 1);
    learn(&g, &m); /* the writer's own message */
    for (uint64_t p = 0; p < LAST; p++)
        if (p != 5 && p != LIMIT_LOG_FILLS + 1) has_it(&g, 2, p);
    assert_false(g.fill[LIMIT_LOG_FILLS + 1].request);
    assert_false(g.fill[LAST].request);
    assert_true(g.done);
    rig_release(&g);
}

/* What one position has shown to be too low is not tried with the others. */
static void numbers_that_were_rejected_are_not_used_again(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g);
    g.replica.promised = 4;
    reports(&g, 1, REPLICA_VOTING, 0, LIMIT_LOG_FILLS + 1);
    reports(&g, 2, REPLICA_VOTING, 0, LIMIT_LOG_FILLS + 1);
    assert_int_equal(g.fill[0].proposal, 5);
    rejects(&g, 1, 0, 40);
    rejects(&g, 2, 0, 7);
    has_it(&g, 1, 1);
    assert_int_equal(g.fill[LIMIT_LOG_FILLS].proposal, 41);
    advance(&g, catchup_deadline(&g.c));
    assert_int_equal(g.fill[0].proposal, 41);
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
        cmocka_unit_test(fetches_several_positions_at_a_time),
        cmocka_unit_test(numbers_that_were_rejected_are_not_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
