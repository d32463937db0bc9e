/* The coordinator: scripted answers first, then clusters of replicas and rival coordinators over a network that loses,
 * repeats and reorders, in virtual time from a seed. */
#include "log/coordinator.h"

#include "core/buf.h"
#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct coordinator_config config = {
    .quorum = 2, .seed = 1, .election_timeout_ms = 1000, .election_attempts = 3, .write_timeout_ms = 500
};

static const struct action hello = { .type = ACTION_APPEND, .bytes = "hello", .n = 5 };

/* ---- scripted ---- */

struct script {
    struct replica local;
    struct coordinator c;
    struct coordinator_output out;
};

static void begin(struct script *s)
{
    replica_init(&s->local);
    s->local.status = REPLICA_VOTING;
    coordinator_init(&s->c, &config, &s->local);
    coordinator_members(&s->c, 3);
}

static void end(struct script *s)
{
    coordinator_release(&s->c);
    replica_release(&s->local);
}

static int set_up(void **state)
{
    begin(*state = xcalloc(1, sizeof(struct script)));
    return 0;
}

static int tear_down(void **state)
{
    end(*state);
    free(*state);
    return 0;
}

#define SCRIPT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void answer(struct script *s, unsigned member, struct message m)
{
    if (!m.proposal) m.proposal = s->c.round.message.proposal;
    coordinator_answer(&s->c, s->c.round.number, member, &m, 10, &s->out);
}

static struct message promised(uint64_t position)
{
    return (struct message){
        .kind = MESSAGE_PROMISE_RESPONSE, .answer = ANSWER_ACCEPT, .has_position = true, .position = position
    };
}

static struct message holding(struct action a)
{
    return (
        struct message){ .kind = MESSAGE_PROMISE_RESPONSE, .answer = ANSWER_ACCEPT, .has_action = true, .action = a };
}

static struct message wrote(const struct script *s, enum answer a, uint64_t proposal)
{
    return (struct message){ .kind = MESSAGE_WRITE_RESPONSE,
                             .answer = a,
                             .proposal = proposal,
                             .has_position = true,
                             .position = s->c.position };
}

static struct message refused(enum answer a, uint64_t proposal)
{
    return (struct message){ .kind = MESSAGE_PROMISE_RESPONSE, .answer = a, .proposal = proposal };
}

/* The own replica learns what the coordinator told everybody. */
static void learn(struct script *s)
{
    struct replica_output ignored;
    assert_true(s->out.has_learned);
    replica_step(&s->local, &s->out.learned, NULL, &ignored);
}

static void become_elected(struct script *s)
{
    struct replica_output ignored;
    struct message q = { .kind = MESSAGE_LEARNED, .has_action = true };
    q.action = (struct action){ .has_learned = true, .learned = true, .type = ACTION_NOP };
    replica_step(&s->local, &q, NULL, &ignored);
    coordinator_elect(&s->c, 0, &s->out);
    answer(s, 1, promised(0));
    answer(s, 2, promised(0));
    assert_true(s->out.done);
    assert_int_equal(s->out.err, 0);
}

static void an_election_fills_holes(void **state)
{
    struct script *s = *state;
    coordinator_elect(&s->c, 0, &s->out);
    assert_true(s->out.has_request);
    assert_false(s->out.message.has_position);
    assert_int_equal(s->out.message.proposal, 1);
    answer(s, 1, promised(0));
    assert_false(s->out.has_request);
    answer(s, 1, promised(7)); /* a repeat counts for nothing */
    assert_int_equal(s->c.state, COORDINATOR_PROMISE);
    answer(s, 2, promised(0));
    assert_int_equal(s->out.message.kind, MESSAGE_PROMISE_REQUEST);
    assert_true(s->out.message.has_position);
    assert_int_equal(s->out.message.proposal, 2);
    answer(s, 0, promised(0));
    answer(s, 1, promised(0));
    assert_int_equal(s->out.message.kind, MESSAGE_WRITE_REQUEST);
    assert_int_equal(s->out.message.action.type, ACTION_NOP);
    assert_false(s->out.message.action.has_learned);
    answer(s, 0, wrote(s, ANSWER_ACCEPT, 2));
    answer(s, 2, wrote(s, ANSWER_ACCEPT, 2));
    assert_int_equal(s->out.learned.action.promised, 2);
    assert_int_equal(s->out.learned.action.performed, 2);
    learn(s);
    coordinator_advance(&s->c, 20, &s->out);
    assert_true(s->out.done);
    assert_int_equal(s->out.position, 0);
    assert_int_equal(s->c.state, COORDINATOR_ELECTED);
    coordinator_write(&s->c, &hello, 30, &s->out);
    assert_int_equal(s->out.message.position, 1);
    assert_int_equal(s->out.message.proposal, 1); /* the election's number, not the filling's */
}

static void the_value_of_the_highest_number_wins(void **state)
{
    (void)state;
    const struct action old = {
        .promised = 1, .has_performed = true, .performed = 1, .type = ACTION_APPEND, .bytes = "old", .n = 3
    };
    struct action new = old;
    new.performed = 4;
    new.bytes = "new";
    for (int new_first = 0; new_first < 2; new_first++) {
        struct script s;
        begin(&s);
        coordinator_elect(&s.c, 0, &s.out);
        answer(&s, 1, promised(0));
        answer(&s, 2, promised(0));
        answer(&s, 1, holding(new_first ? new : old));
        answer(&s, 2, holding(new_first ? old : new));
        assert_int_equal(s.out.message.kind, MESSAGE_WRITE_REQUEST);
        assert_memory_equal(s.out.message.action.bytes, "new", 3);
        end(&s);
    }
}

static void a_learned_value_ends_the_phase(void **state)
{
    struct script *s = *state;
    coordinator_elect(&s->c, 0, &s->out);
    answer(s, 1, promised(0));
    answer(s, 2, promised(0));
    answer(s, 1,
           holding((struct action){ .promised = 9,
                                    .has_performed = true,
                                    .performed = 9,
                                    .has_learned = true,
                                    .learned = true,
                                    .type = ACTION_NOP }));
    assert_true(s->out.has_learned);
    assert_int_equal(s->out.learned.action.promised, 9);
    learn(s);
    coordinator_advance(&s->c, 20, &s->out);
    assert_true(s->out.done);
}

static void a_rejected_fill_tries_a_higher_number(void **state)
{
    struct script *s = *state;
    coordinator_elect(&s->c, 0, &s->out);
    answer(s, 1, promised(0));
    answer(s, 2, promised(0));
    answer(s, 1, refused(ANSWER_REJECT, 40));
    answer(s, 2, promised(0));
    assert_int_equal(s->c.state, COORDINATOR_FILL_DELAYED);
    uint64_t at = coordinator_deadline(&s->c);
    assert_in_range(at, 110, 209);
    coordinator_advance(&s->c, at - 1, &s->out);
    assert_false(s->out.has_request);
    coordinator_advance(&s->c, at, &s->out);
    assert_int_equal(s->out.message.proposal, 41);
    answer(s, 1, refused(ANSWER_IGNORED, 41));
    answer(s, 2, refused(ANSWER_IGNORED, 41)); /* a quorum that does not vote: tried again, not fatal */
    assert_int_equal(s->c.state, COORDINATOR_FILL_DELAYED);
}

static void a_rejected_election_learns_the_number(void **state)
{
    struct script *s = *state;
    coordinator_elect(&s->c, 0, &s->out);
    answer(s, 1, refused(ANSWER_REJECT, 7));
    answer(s, 2, promised(3));
    assert_int_equal(s->c.state, COORDINATOR_DELAYED);
    coordinator_advance(&s->c, coordinator_deadline(&s->c), &s->out);
    assert_int_equal(s->out.message.proposal, 8);
    answer(s, 1, refused(ANSWER_IGNORED, 8));
    answer(s, 2, refused(ANSWER_IGNORED, 8));
    coordinator_advance(&s->c, coordinator_deadline(&s->c), &s->out);
    assert_int_equal(s->out.message.proposal, 9);
    uint64_t at = coordinator_deadline(&s->c);
    coordinator_advance(&s->c, at, &s->out); /* the third and last attempt */
    assert_true(s->out.done);
    assert_int_equal(s->out.err, ERR_TIMEOUT);
    assert_int_equal(s->c.state, COORDINATOR_IDLE);
}

static void a_rejected_write_demotes(void **state)
{
    struct script *s = *state;
    become_elected(s);
    coordinator_write(&s->c, &hello, 0, &s->out);
    answer(s, 1, wrote(s, ANSWER_ACCEPT, 1));
    answer(s, 2, wrote(s, ANSWER_REJECT, 5));
    assert_true(s->out.done);
    assert_int_equal(s->out.err, ERR_REJECTED);
    assert_int_equal(s->c.state, COORDINATOR_IDLE);
    coordinator_elect(&s->c, 0, &s->out);
    assert_int_equal(s->out.message.proposal, 6);
}

static void an_unanswered_write_times_out(void **state)
{
    struct script *s = *state;
    become_elected(s);
    coordinator_write(&s->c, &hello, 100, &s->out);
    answer(s, 1, wrote(s, ANSWER_ACCEPT, 1));
    assert_int_equal(coordinator_deadline(&s->c), 600);
    coordinator_advance(&s->c, 599, &s->out);
    assert_false(s->out.done);
    coordinator_advance(&s->c, 600, &s->out);
    assert_int_equal(s->out.err, ERR_TIMEOUT);
    assert_int_equal(s->c.state, COORDINATOR_IDLE);
}

/* A catch-up whose peers are silent begins the position anew, again and again. */
static void a_fill_that_takes_too_long_is_begun_anew(void **state)
{
    struct script *s = *state;
    s->c.config.fill_timeout_ms = 1000;
    coordinator_catch_up(&s->c, 0, 3, 0, &s->out);
    for (uint64_t now = 0, rounds = 0; rounds < 3; rounds++) {
        uint64_t request = s->out.request;
        assert_true(s->out.has_request);
        assert_int_equal(s->out.message.position, 0);
        assert_int_equal(coordinator_deadline(&s->c), now + 1000);
        coordinator_advance(&s->c, now + 1000, &s->out);
        assert_false(s->out.has_request);
        now = coordinator_deadline(&s->c);
        coordinator_advance(&s->c, now, &s->out);
        assert_int_not_equal(s->out.request, request);
    }
}

/* A process that was stopped reads what was said before: its time is over, whether its timer has run or not. */
static void answers_after_the_deadline_count_no_more(void **state)
{
    struct script *s = *state;
    coordinator_elect(&s->c, 0, &s->out);
    struct message m = promised(0);
    m.proposal = 1;
    coordinator_answer(&s->c, s->c.round.number, 1, &m, coordinator_deadline(&s->c) - 1, &s->out);
    coordinator_answer(&s->c, s->c.round.number, 2, &m, coordinator_deadline(&s->c), &s->out);
    assert_int_equal(s->c.state, COORDINATOR_PROMISE);
    assert_false(s->out.has_request);
}

static void a_request_waits_until_a_quorum_is_listed(void **state)
{
    struct script *s = *state;
    coordinator_members(&s->c, 1);
    coordinator_elect(&s->c, 0, &s->out);
    assert_false(s->out.has_request);
    coordinator_members(&s->c, 2);
    coordinator_advance(&s->c, 5, &s->out);
    assert_true(s->out.has_request);
    coordinator_advance(&s->c, 6, &s->out);
    assert_false(s->out.has_request);
}

static void unsound_answers_count_for_nothing(void **state)
{
    struct script *s = *state;
    coordinator_elect(&s->c, 0, &s->out);
    struct message m = promised(0);
    m.proposal = 2; /* another number */
    answer(s, 1, m);
    m = promised(0);
    m.has_position = false;
    answer(s, 1, m);
    answer(s, 1, wrote(s, ANSWER_ACCEPT, 1));
    coordinator_answer(&s->c, s->c.round.number + 1, 1, &m, 10, &s->out);
    assert_int_equal(s->c.round.answered, 0);
}

/* ---- clusters ---- */

enum { MEMBERS_MAX = 5, POSITIONS = 400, WIRES = 256 };

struct wire {
    struct message *m;
    unsigned from, to;
    uint64_t request; /* 0: learned, no answer */
    bool is_answer;
};

struct node {
    struct replica r;
    struct message *disk[POSITIONS];
    struct coordinator c;
    uint64_t writing; /* the value that is being appended; 0: none */
    uint64_t last;    /* the last position that was reported to it */
    uint64_t floor;   /* the highest position that had been reported to anybody when its election began */
};

struct cluster {
    struct rng g;
    unsigned n, quorum;
    struct node v[MEMBERS_MAX];
    struct wire wires[WIRES];
    unsigned n_wires;
    uint64_t now, next_value;
    bool faults;
    struct message *chosen[POSITIONS]; /* first seen as learned anywhere */
    uint64_t reported[POSITIONS];      /* value that an append was told to have written here */
    uint64_t highest_reported, successes;
};

static void carry_out(struct cluster *k, unsigned who, const struct coordinator_output *out);

static void post(struct cluster *k, struct wire w, const struct message *m)
{
    if (k->n_wires == WIRES || (k->faults && rng_below(&k->g, 10) == 0)) return;
    w.m = message_copy(m);
    k->wires[k->n_wires++] = w;
    if (k->faults && rng_below(&k->g, 20) == 0 && k->n_wires < WIRES) {
        w.m = message_copy(m);
        k->wires[k->n_wires++] = w;
    }
}

static void check_agreement(struct cluster *k, const struct action *a)
{
    assert_true(a->position < POSITIONS);
    struct message **chosen = &k->chosen[a->position];
    if (*chosen) {
        assert_true(action_same_value(&(*chosen)->action, a));
        return;
    }
    *chosen = message_copy(&(struct message){ .kind = MESSAGE_LEARNED, .has_action = true, .action = *a });
}

static void advance(struct cluster *k, unsigned who)
{
    struct coordinator_output out;
    coordinator_advance(&k->v[who].c, k->now, &out);
    carry_out(k, who, &out);
}

static void deliver_request(struct cluster *k, const struct wire *w)
{
    struct node *to = &k->v[w->to];
    struct replica_output out;
    uint64_t at;
    const struct action *record = replica_reads(&to->r, w->m, &at) ? &to->disk[at]->action : NULL;
    replica_step(&to->r, w->m, record, &out);
    struct message *reply = out.has_reply ? message_copy(&out.reply) : NULL;
    if (out.store_action) {
        if (out.action.learned) check_agreement(k, &out.action);
        struct message *stored = message_copy(&(struct message){ .action = out.action });
        free(to->disk[out.action.position]);
        to->disk[out.action.position] = stored;
    }
    if (reply) post(k, (struct wire){ .from = w->to, .to = w->from, .request = w->request, .is_answer = true }, reply);
    free(reply);
    advance(k, w->to);
}

static void deliver(struct cluster *k, unsigned i)
{
    struct coordinator_output out;
    struct wire w = k->wires[i];
    k->wires[i] = k->wires[--k->n_wires];
    if (w.is_answer) {
        coordinator_answer(&k->v[w.to].c, w.request, w.from, w.m, k->now, &out);
        carry_out(k, w.to, &out);
        advance(k, w.to);
    } else {
        deliver_request(k, &w);
    }
    free(w.m);
}

static void finished(struct cluster *k, unsigned who, const struct coordinator_output *out)
{
    struct node *n = &k->v[who];
    uint64_t value = n->writing;
    n->writing = 0;
    if (out->err) return;
    if (!value) {
        assert_true(out->position >= n->floor);
        n->last = out->position;
        return;
    }
    k->successes++;
    assert_int_equal(out->position, n->last + 1);
    assert_int_equal(k->reported[out->position], 0);
    n->last = out->position;
    if (out->position > k->highest_reported) k->highest_reported = out->position;
    k->reported[out->position] = value;
    const struct message *chosen = k->chosen[out->position];
    assert_non_null(chosen);
    assert_int_equal(chosen->action.n, sizeof(value));
    assert_memory_equal(chosen->action.bytes, &value, sizeof(value));
}

static void carry_out(struct cluster *k, unsigned who, const struct coordinator_output *out)
{
    struct coordinator_output o = *out;
    for (unsigned m = 0; m < k->n; m++) {
        struct wire w = { .from = who, .to = m };
        if (o.has_learned) post(k, w, &o.learned);
        w.request = o.request;
        if (o.has_request) post(k, w, &o.message);
    }
    if (o.done) finished(k, who, &o);
}

static void act(struct cluster *k, unsigned who)
{
    static uint64_t values[MEMBERS_MAX];
    struct node *n = &k->v[who];
    struct coordinator_output out;
    if (n->c.state == COORDINATOR_IDLE) {
        n->floor = k->highest_reported;
        coordinator_elect(&n->c, k->now, &out);
    } else if (n->c.state == COORDINATOR_ELECTED && n->c.index < POSITIONS - 1) {
        values[who] = n->writing = ++k->next_value;
        struct action a = { .type = ACTION_APPEND, .bytes = &values[who], .n = sizeof(values[who]) };
        coordinator_write(&n->c, &a, k->now, &out);
    } else {
        return;
    }
    carry_out(k, who, &out);
}

static void start_node(struct cluster *k, unsigned who)
{
    struct node *n = &k->v[who];
    struct coordinator_config c = config;
    c.quorum = k->quorum;
    c.seed = rng_next(&k->g);
    coordinator_init(&n->c, &c, &n->r);
    coordinator_members(&n->c, k->n);
    n->writing = 0;
}

static void restart(struct cluster *k, unsigned who)
{
    struct node *n = &k->v[who];
    uint64_t promised_number = n->r.promised;
    replica_release(&n->r);
    replica_init(&n->r);
    replica_restore_metadata(&n->r, REPLICA_VOTING, promised_number);
    for (int i = 0; i < POSITIONS; i++)
        if (n->disk[i]) replica_restore_action(&n->r, &n->disk[i]->action);
    coordinator_release(&n->c);
    start_node(k, who);
}

static void step(struct cluster *k, unsigned actors)
{
    uint64_t dice = rng_below(&k->g, 100);
    if (k->n_wires && dice < 80) {
        deliver(k, (unsigned)rng_below(&k->g, k->n_wires));
    } else if (dice < 90) {
        k->now += rng_below(&k->g, 30);
        for (unsigned m = 0; m < k->n; m++) advance(k, m);
    } else if (dice == 99 && k->faults) {
        restart(k, (unsigned)rng_below(&k->g, k->n));
    } else {
        act(k, (unsigned)rng_below(&k->g, actors));
    }
}

/* What was reported to a writer is what everybody else learns there. */
static void check_reported(const struct cluster *k)
{
    for (int p = 0; p < POSITIONS; p++) {
        if (!k->reported[p]) continue;
        assert_int_equal(k->chosen[p]->action.type, ACTION_APPEND);
        assert_memory_equal(k->chosen[p]->action.bytes, &k->reported[p], sizeof(k->reported[p]));
    }
}

static void run_cluster(uint64_t seed)
{
    static struct cluster k;
    memset(&k, 0, sizeof(k));
    k.g.state = seed;
    k.quorum = 1 + (unsigned)rng_below(&k.g, 3);
    k.n = 2 * k.quorum - 1;
    for (unsigned m = 0; m < k.n; m++) {
        replica_init(&k.v[m].r);
        k.v[m].r.status = REPLICA_VOTING;
        start_node(&k, m);
    }
    k.faults = true;
    for (int i = 0; i < 4000; i++) step(&k, k.n);
    /* Healed, one writer gets on. */
    k.faults = false;
    uint64_t before = k.successes;
    for (int i = 0; i < 20000 && k.successes < before + 3 && k.v[0].c.index < POSITIONS - 5; i++) step(&k, 1);
    if (k.v[0].c.index < POSITIONS - 5) assert_true(k.successes >= before + 3);
    check_reported(&k);
    for (unsigned i = 0; i < k.n_wires; i++) free(k.wires[i].m);
    for (int p = 0; p < POSITIONS; p++) free(k.chosen[p]);
    for (unsigned m = 0; m < k.n; m++) {
        for (int p = 0; p < POSITIONS; p++) free(k.v[m].disk[p]);
        coordinator_release(&k.v[m].c);
        replica_release(&k.v[m].r);
    }
}

static uint64_t running_seed;

static int print_seed(void **state)
{
    (void)state;
    print_message("ended with SEED=%llu build/asan/test/log_coordinator\n", (unsigned long long)running_seed);
    return 0;
}

static void clusters_agree(void **state)
{
    (void)state;
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 10) : 1;
    for (int i = 0; i < (env ? 1 : 200); i++, seed++) {
        running_seed = seed;
        run_cluster(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(an_election_fills_holes),
        cmocka_unit_test(the_value_of_the_highest_number_wins),
        SCRIPT_TEST(a_learned_value_ends_the_phase),
        SCRIPT_TEST(a_rejected_fill_tries_a_higher_number),
        SCRIPT_TEST(a_rejected_election_learns_the_number),
        SCRIPT_TEST(a_rejected_write_demotes),
        SCRIPT_TEST(an_unanswered_write_times_out),
        SCRIPT_TEST(a_fill_that_takes_too_long_is_begun_anew),
        SCRIPT_TEST(answers_after_the_deadline_count_no_more),
        SCRIPT_TEST(a_request_waits_until_a_quorum_is_listed),
        SCRIPT_TEST(unsound_answers_count_for_nothing),
        cmocka_unit_test_teardown(clusters_agree, print_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
