/* Recovery: the recorded recoveries and automatic initialisations of real replicas, message for message, then what the
 * recordings do not show. */
#include "log/recover.h"

#include "core/buf.h"
#include "log/wire.h"
#include "test/lib/recording.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- one recovering replica ---- */

struct sent {
    struct message *m;
    uint64_t request;
};

struct rig {
    struct replica replica;
    struct recover r;
    uint64_t now_ms;
    struct sent sent[64]; /* broadcasts, oldest first */
    unsigned n;
    bool hold_store; /* metadata wait for finish_store() */
    bool done;
    unsigned stores;
};

static void carry_out(struct rig *g, const struct recover_output *out);

static void to_itself(struct rig *g, const struct coordinator_output *to)
{
    const struct message *m = to->has_request ? &to->message : &to->learned;
    struct replica_output stepped;
    struct recover_output next;
    assert_int_not_equal(g->replica.status, REPLICA_VOTING);
    replica_step(&g->replica, m, NULL, &stepped);
    if (!stepped.has_reply) return;
    recover_answer(&g->r, to->request, 0, &stepped.reply, g->now_ms, &next);
    carry_out(g, &next);
}

static void finish_store(struct rig *g)
{
    struct recover_output next;
    recover_stored(&g->r, g->now_ms, &next);
    carry_out(g, &next);
}

static void carry_out(struct rig *g, const struct recover_output *out)
{
    struct replica_output stored;
    struct recover_output next;
    bool message = out->to.has_request || out->to.has_learned;
    g->done = g->done || out->done;
    if (message) {
        assert_true(g->n < 64);
        const struct message *m = out->to.has_request ? &out->to.message : &out->to.learned;
        g->sent[g->n++] = (struct sent){ message_copy(m), out->to.request };
        to_itself(g, &out->to);
    }
    if (out->has_metadata) {
        g->stores++;
        replica_set_metadata(&g->replica, out->status, out->promised, &stored);
        assert_true(stored.store_metadata);
        if (!g->hold_store) finish_store(g);
    }
    if (!message) return;
    recover_advance(&g->r, g->now_ms, &next);
    carry_out(g, &next);
}

static void rig_init(struct rig *g, enum replica_status status, unsigned members, bool auto_initialize)
{
    const struct recover_config config = { .quorum = members / 2 + 1, .auto_initialize = auto_initialize, .seed = 1 };
    *g = (struct rig){ 0 };
    replica_init(&g->replica);
    g->replica.status = status;
    recover_init(&g->r, &config, &g->replica);
    recover_members(&g->r, members);
    g->r.filler.window = 1; /* one position at a time, as Mesos does it */
}

static void rig_start(struct rig *g)
{
    struct recover_output out;
    recover_start(&g->r, g->now_ms, &out);
    carry_out(g, &out);
}

static void rig_release(struct rig *g)
{
    for (unsigned i = 0; i < g->n; i++) free(g->sent[i].m);
    recover_release(&g->r);
    replica_release(&g->replica);
}

static void wait_for_deadline(struct rig *g)
{
    struct recover_output out;
    uint64_t due = recover_deadline(&g->r);
    assert_int_not_equal(due, UINT64_MAX);
    recover_advance(&g->r, due - 1, &out);
    assert_false(out.to.has_request);
    g->now_ms = due;
    recover_advance(&g->r, due, &out);
    carry_out(g, &out);
}

static struct message *last(const struct rig *g)
{
    assert_true(g->n > 0);
    return g->sent[g->n - 1].m;
}

static void answer(struct rig *g, unsigned member, struct message m)
{
    struct recover_output out;
    recover_answer(&g->r, g->sent[g->n - 1].request, member, &m, g->now_ms, &out);
    carry_out(g, &out);
}

static struct message status_is(enum replica_status s, uint64_t begin, uint64_t end)
{
    return (struct message){
        .kind = MESSAGE_RECOVER_RESPONSE, .status = s, .has_range = s == REPLICA_VOTING, .begin = begin, .end = end
    };
}

static struct message promise(enum answer a, uint64_t proposal)
{
    return (struct message){ .kind = MESSAGE_PROMISE_RESPONSE, .answer = a, .proposal = proposal };
}

static struct message learned_at(uint64_t position, uint64_t proposal)
{
    struct message m = promise(ANSWER_ACCEPT, proposal);
    m.has_action = true;
    m.action = (struct action){ .position = position,
                                .promised = 1,
                                .has_performed = true,
                                .performed = 1,
                                .has_learned = true,
                                .learned = true,
                                .type = ACTION_APPEND,
                                .bytes = "v",
                                .n = 1 };
    return m;
}

/* ---- recordings ---- */

static int member_of(const char *role)
{
    return strncmp(role, "replica-", 8) == 0 ? atoi(role + 8) : 0;
}

/* Our numbers of the members: 0 is who recovers. */
static unsigned number_of(int who, int member)
{
    return (unsigned)((member - who + 3) % 3);
}

static struct message decode(const struct recorded *l, struct arena *a)
{
    struct message q;
    enum message_kind kind;
    assert_int_equal(message_kind_of(str_c(strrchr(l->path, '/') + 1), &kind), 0);
    assert_int_equal(message_decode(kind, l->body.data, l->body.len, a, &q), 0);
    return q;
}

static void assert_sends(struct rig *g, unsigned index, const struct recorded *l)
{
    struct buf mine = { 0 };
    while (index >= g->n) wait_for_deadline(g);
    struct message *m = g->sent[index].m;
    m->binding = false; /* ours alone */
    assert_string_equal(message_name(m->kind), strrchr(l->path, '/') + 1);
    message_encode(m, &mine);
    if (m->kind == MESSAGE_LEARNED) {
        /* A position that was learned is passed on as it came; Mesos puts the number of its own promise in. */
        struct arena a = { 0 };
        struct message theirs = decode(l, &a);
        assert_int_equal(m->action.position, theirs.action.position);
        assert_true(action_same_value(&m->action, &theirs.action));
        arena_release(&a);
    } else {
        assert_int_equal(mine.len, l->body.len);
        if (mine.len) assert_memory_equal(mine.data, l->body.data, mine.len);
    }
    buf_release(&mine);
}

/* What `who` sent from its first RecoverRequest on until it voted, ours sends too. Returns how many messages agreed. */
static unsigned replay(const char *name, int who, enum replica_status status, bool auto_initialize)
{
    struct recording rec = recording_load(name);
    struct rig g;
    unsigned sent_to[4] = { 0 }, agreed = 0;
    struct {
        char id[128];
        unsigned index;
    } asked[128];
    unsigned n_asked = 0;
    size_t i = 0;
    rig_init(&g, status, 3, auto_initialize);
    rig_start(&g);
    while (member_of(rec.v[i].from) != who || !strstr(rec.v[i].path, "RecoverRequest")) i++;
    for (; i < rec.n && !g.done; i++) {
        const struct recorded *l = &rec.v[i];
        if (!l->is_message) continue;
        struct arena a = { 0 };
        struct message m = decode(l, &a);
        int to = member_of(l->to);
        if (member_of(l->from) == who && strncmp(l->path, "/log-replica(1)/", 16) == 0) {
            if (m.kind == MESSAGE_PROMISE_REQUEST && !m.has_position) {
                arena_release(&a);
                break; /* it votes, and begins an election */
            }
            assert_sends(&g, sent_to[to], l);
            assert_true(n_asked < 128);
            snprintf(asked[n_asked].id, sizeof(asked[0].id), "%.30s/%s/", l->to, l->sender);
            asked[n_asked++].index = sent_to[to]++;
            agreed++;
        }
        for (unsigned k = 0; to == who && k < n_asked; k++) {
            char id[200];
            snprintf(id, sizeof(id), "%s%.150s", l->from, l->path);
            if (strncmp(id, asked[k].id, strlen(asked[k].id)) != 0) continue;
            struct recover_output out;
            recover_answer(&g.r, g.sent[asked[k].index].request, number_of(who, member_of(l->from)), &m, g.now_ms,
                           &out);
            carry_out(&g, &out);
        }
        arena_release(&a);
    }
    if (!g.done) {
        /* Ours asks for promises too, which the recorded replica did not. */
        assert_int_equal(g.r.state, RECOVER_PROMISED);
        assert_false(last(&g)->has_position);
        answer(&g, 1, promise(ANSWER_REJECT, 1));
        answer(&g, 2, promise(ANSWER_REJECT, 1));
        assert_int_equal(g.replica.promised, 1);
    }
    assert_true(g.done);
    assert_int_equal(g.replica.status, REPLICA_VOTING);
    print_message("%s, member %d: %u messages\n", name, who, agreed);
    rig_release(&g);
    recording_release(&rec);
    return agreed;
}

static void recorded_recoveries(void **state)
{
    (void)state;
    assert_int_equal(replay("replicated-log", 3, REPLICA_EMPTY, false), 16);
    assert_int_equal(replay("replicated-log-autoinit", 1, REPLICA_EMPTY, true), 4);
    assert_int_equal(replay("replicated-log-autoinit", 2, REPLICA_EMPTY, true), 14);
    assert_int_equal(replay("replicated-log-autoinit", 3, REPLICA_EMPTY, true), 4);
}

/* ---- scripted ---- */

static void a_voter_has_nothing_to_recover(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_VOTING, 3, false);
    rig_start(&g);
    assert_true(g.done);
    assert_int_equal(g.n, 0);
    rig_release(&g);
}

static void asks_when_a_quorum_is_listed(void **state)
{
    (void)state;
    struct rig g;
    struct recover_output out;
    rig_init(&g, REPLICA_EMPTY, 3, false);
    recover_members(&g.r, 1);
    rig_start(&g);
    assert_int_equal(g.n, 0);
    recover_members(&g.r, 2);
    recover_advance(&g.r, 1, &out);
    carry_out(&g, &out);
    assert_int_equal(g.n, 1);
    assert_int_equal(last(&g)->kind, MESSAGE_RECOVER_REQUEST);
    rig_release(&g);
}

static void counts_every_member_once(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 3, false);
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_VOTING, 0, 3));
    answer(&g, 1, status_is(REPLICA_VOTING, 0, 3));
    assert_int_equal(g.replica.status, REPLICA_EMPTY);
    assert_int_equal(g.r.state, RECOVER_SURVEY);
    wait_for_deadline(&g); /* asked again: the former answer is void */
    assert_int_equal(g.n, 2);
    answer(&g, 2, status_is(REPLICA_VOTING, 0, 3));
    assert_int_equal(g.replica.status, REPLICA_EMPTY);
    rig_release(&g);
}

/* Learns the range that a quorum reports, then adopts what it promised, then votes. */
static void learns_then_adopts_promises_then_votes(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 3, false);
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_VOTING, 4, 5));
    answer(&g, 2, status_is(REPLICA_VOTING, 3, 4));
    assert_int_equal(g.replica.status, REPLICA_RECOVERING);
    for (uint64_t p = 3; p <= 5; p++) {
        assert_int_equal(last(&g)->kind, MESSAGE_PROMISE_REQUEST);
        assert_true(last(&g)->has_position);
        assert_int_equal(last(&g)->position, p);
        answer(&g, 1, learned_at(p, last(&g)->proposal));
    }
    assert_int_equal(g.r.state, RECOVER_PROMISED);
    assert_int_equal(last(&g)->proposal, 0);
    assert_false(last(&g)->has_position);
    answer(&g, 1, promise(ANSWER_REJECT, 7));
    assert_false(g.done);
    answer(&g, 2, promise(ANSWER_REJECT, 9));
    assert_true(g.done);
    assert_int_equal(g.replica.status, REPLICA_VOTING);
    assert_int_equal(g.replica.promised, 9);
    assert_int_equal(replica_next_missing(&g.replica, 3, 5), UINT64_MAX);
    rig_release(&g);
}

static void promises_of_less_than_a_quorum_do_not_do(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_RECOVERING, 3, false);
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_VOTING, 0, 0));
    answer(&g, 2, status_is(REPLICA_VOTING, 0, 0));
    answer(&g, 2, learned_at(0, 0));
    assert_int_equal(g.r.state, RECOVER_PROMISED);
    answer(&g, 1, promise(ANSWER_REJECT, 7));
    answer(&g, 2, promise(ANSWER_IGNORED, 0)); /* it stopped voting meanwhile */
    assert_int_equal(g.r.state, RECOVER_DELAYED);
    assert_int_equal(g.replica.status, REPLICA_RECOVERING);
    wait_for_deadline(&g);
    assert_int_equal(last(&g)->kind, MESSAGE_RECOVER_REQUEST);
    assert_false(g.done);
    rig_release(&g);
}

static void waits_for_its_store(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 3, true);
    g.hold_store = true;
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_EMPTY, 0, 0));
    answer(&g, 2, status_is(REPLICA_STARTING, 0, 0));
    assert_int_equal(g.replica.status, REPLICA_STARTING);
    assert_int_equal(g.r.state, RECOVER_STORE);
    assert_int_equal(recover_deadline(&g.r), UINT64_MAX);
    assert_int_equal(g.n, 1);
    finish_store(&g);
    assert_int_equal(g.n, 2);
    answer(&g, 1, status_is(REPLICA_STARTING, 0, 0));
    answer(&g, 2, status_is(REPLICA_VOTING, 0, 0));
    assert_int_equal(g.r.state, RECOVER_STORE);
    assert_false(g.done);
    finish_store(&g);
    assert_true(g.done);
    assert_int_equal(g.stores, 2);
    rig_release(&g);
}

/* One replica that votes may have written something: the others must not begin at nothing. */
static void no_initialisation_beside_a_voter(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 3, true);
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_EMPTY, 0, 0));
    answer(&g, 2, status_is(REPLICA_VOTING, 0, 8));
    assert_int_equal(g.replica.status, REPLICA_EMPTY);
    assert_int_equal(g.r.state, RECOVER_DELAYED);
    rig_release(&g);
}

static void a_new_cluster_needs_the_operator(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 3, false);
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_EMPTY, 0, 0));
    assert_false(recover_is_uninitialized(&g.r));
    answer(&g, 2, status_is(REPLICA_EMPTY, 0, 0));
    assert_true(recover_is_uninitialized(&g.r));
    assert_int_equal(g.replica.status, REPLICA_EMPTY);
    assert_int_equal(g.r.state, RECOVER_DELAYED);
    assert_in_range(recover_deadline(&g.r), RECOVER_DELAY_MS, 2 * RECOVER_DELAY_MS - 1);
    rig_release(&g);
}

/* All three are empty, but others know that the log exists: its disks have been lost. */
static void an_existing_log_is_not_begun_anew(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 3, true);
    g.r.exists = true;
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_EMPTY, 0, 0));
    answer(&g, 2, status_is(REPLICA_EMPTY, 0, 0));
    assert_true(recover_is_uninitialized(&g.r));
    assert_int_equal(g.replica.status, REPLICA_EMPTY);
    rig_release(&g);
}

/* The first one that votes makes the log exist; the others are not stopped on their way. */
static void who_has_started_goes_on(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_STARTING, 3, true);
    g.r.exists = true;
    rig_start(&g);
    answer(&g, 1, status_is(REPLICA_STARTING, 0, 0));
    answer(&g, 2, status_is(REPLICA_VOTING, 0, 0));
    assert_int_equal(g.replica.status, REPLICA_VOTING);
    rig_release(&g);
}

static void alone_it_initialises_itself(void **state)
{
    (void)state;
    struct rig g;
    rig_init(&g, REPLICA_EMPTY, 1, true);
    rig_start(&g);
    assert_true(g.done);
    assert_int_equal(g.stores, 2);
    assert_int_equal(g.replica.status, REPLICA_VOTING);
    rig_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_recoveries),
        cmocka_unit_test(a_voter_has_nothing_to_recover),
        cmocka_unit_test(asks_when_a_quorum_is_listed),
        cmocka_unit_test(counts_every_member_once),
        cmocka_unit_test(learns_then_adopts_promises_then_votes),
        cmocka_unit_test(promises_of_less_than_a_quorum_do_not_do),
        cmocka_unit_test(waits_for_its_store),
        cmocka_unit_test(no_initialisation_beside_a_voter),
        cmocka_unit_test(a_new_cluster_needs_the_operator),
        cmocka_unit_test(an_existing_log_is_not_begun_anew),
        cmocka_unit_test(who_has_started_goes_on),
        cmocka_unit_test(alone_it_initialises_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
