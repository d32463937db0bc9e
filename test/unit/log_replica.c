/* The replica against a real one: the 106 recorded probes of test/data/captures/replica-table.jsonl, and the traffic of
 * whole clusters in replicated-log*.jsonl. To every request our replica, in the same state, gives the same bytes. */
#include "log/replica.h"

#include "core/buf.h"
#include "core/rng.h"
#include "log/wire.h"
#include "test/lib/recording.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a replica with a disk in memory ---- */

enum { POSITIONS = 64 };

struct member {
    struct replica r;
    struct message *disk[POSITIONS]; /* each holds one action */
    enum replica_status disk_status;
    uint64_t disk_promised;
};

static void member_init(struct member *m, enum replica_status status)
{
    *m = (struct member){ .disk_status = status };
    replica_init(&m->r);
    m->r.status = status;
}

static void member_release(struct member *m)
{
    replica_release(&m->r);
    for (int i = 0; i < POSITIONS; i++) free(m->disk[i]);
}

static void member_store(struct member *m, const struct replica_output *out)
{
    if (out->store_metadata) {
        m->disk_status = m->r.status;
        m->disk_promised = m->r.promised;
    }
    if (out->store_action) {
        assert_true(out->action.position < POSITIONS);
        struct message *copy = message_copy(&(struct message){ .action = out->action });
        free(m->disk[out->action.position]);
        m->disk[out->action.position] = copy;
    }
    for (uint64_t p = 0; out->purge && p < m->r.begin && p < POSITIONS; p++) {
        if (m->disk[p] && m->disk[p]->action.tombstone) continue;
        free(m->disk[p]);
        m->disk[p] = NULL;
    }
}

/* Steps, encodes the answer into `answer` (empty: silence) and stores. Returns the answer's kind or -1. */
static int member_step(struct member *m, const struct message *q, struct buf *answer)
{
    uint64_t at;
    const struct action *record = NULL;
    if (replica_reads(&m->r, q, &at)) {
        assert_non_null(m->disk[at]);
        record = &m->disk[at]->action;
    }
    struct replica_output out;
    replica_step(&m->r, q, record, &out);
    buf_reset(answer);
    if (out.has_reply) message_encode(&out.reply, answer);
    int kind = out.has_reply ? (int)out.reply.kind : -1;
    member_store(m, &out);
    return kind;
}

static void assert_same_replica(const struct replica *a, const struct replica *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->promised, b->promised);
    assert_int_equal(a->begin, b->begin);
    assert_int_equal(a->end, b->end);
    assert_true(iset_eq(&a->holes, &b->holes));
    assert_true(iset_eq(&a->unlearned, &b->unlearned));
}

/* A restart from disk gives the state that was in memory. */
static void member_restart(struct member *m)
{
    struct replica fresh;
    replica_init(&fresh);
    replica_restore_metadata(&fresh, m->disk_status, m->disk_promised);
    for (int i = 0; i < POSITIONS; i++)
        if (m->disk[i]) replica_restore_action(&fresh, &m->disk[i]->action);
    assert_same_replica(&m->r, &fresh);
    replica_release(&m->r);
    m->r = fresh;
}

/* ---- the table ---- */

static void list(struct buf *out, const struct iset *s, uint64_t end)
{
    const char *comma = "";
    for (uint64_t x = iset_next(s, 0); x <= end; x = iset_next(s, x + 1)) {
        buf_addf(out, "%s%llu", comma, (unsigned long long)x);
        comma = ", ";
    }
}

static void state_text(const struct replica *r, struct buf *out)
{
    buf_reset(out);
    buf_addf(out, "%s promised=%llu begin=%llu end=%llu holes=[", replica_status_name(r->status),
             (unsigned long long)r->promised, (unsigned long long)r->begin, (unsigned long long)r->end);
    list(out, &r->holes, r->end);
    buf_adds(out, "] unlearned=[");
    list(out, &r->unlearned, r->end);
    buf_adds(out, "]");
}

static enum replica_status group_status(const char *group)
{
    for (int s = REPLICA_VOTING; s <= REPLICA_EMPTY; s++) {
        char name[16];
        snprintf(name, sizeof(name), "%s", replica_status_name((enum replica_status)s));
        for (char *p = name; *p; p++) *p = (char)tolower(*p);
        if (strcmp(name, group) == 0) return (enum replica_status)s;
    }
    return REPLICA_VOTING;
}

static const struct recorded *answer_of(const struct recording *rec, int probe)
{
    for (size_t i = 0; i < rec->n; i++)
        if (rec->v[i].probe == probe && strcmp(rec->v[i].from, "replica") == 0) return &rec->v[i];
    return NULL;
}

static struct message decode(const struct recorded *l, struct arena *a)
{
    struct message q;
    enum message_kind kind;
    assert_int_equal(message_kind_of(str_c(strrchr(l->path, '/') + 1), &kind), 0);
    assert_int_equal(message_decode(kind, l->body.data, l->body.len, a, &q), 0);
    return q;
}

static void probe(struct member *m, const struct recording *rec, const struct recorded *l)
{
    struct arena a = { 0 };
    struct buf mine = { 0 }, text = { 0 };
    char before[200], after[200];
    recording_field(l->text, "state", before, sizeof(before));
    recording_field(l->text, "after", after, sizeof(after));
    if (strstr(before, " record=")) *strstr(before, " record=") = 0;
    state_text(&m->r, &text);
    assert_string_equal(buf_cstr(&text), before);
    struct message q = decode(l, &a);
    int kind = member_step(m, &q, &mine);
    const struct recorded *theirs = answer_of(rec, l->probe);
    if (theirs) {
        assert_true(kind >= 0);
        assert_string_equal(strrchr(theirs->path, '/') + 1, message_name((enum message_kind)kind));
        assert_int_equal(mine.len, theirs->body.len);
        if (mine.len) assert_memory_equal(mine.data, theirs->body.data, mine.len);
    } else {
        assert_int_equal(kind, -1);
    }
    state_text(&m->r, &text);
    assert_string_equal(buf_cstr(&text), after[0] ? after : before);
    member_restart(m);
    buf_release(&mine);
    buf_release(&text);
    arena_release(&a);
}

static void refused(const struct recorded *l)
{
    struct arena a = { 0 };
    struct message q;
    enum message_kind kind;
    assert_int_equal(message_kind_of(str_c(strrchr(l->path, '/') + 1), &kind), 0);
    assert_true(message_decode(kind, l->body.data, l->body.len, &a, &q) < 0);
    arena_release(&a);
}

static void every_row_of_the_table(void **state)
{
    (void)state;
    struct recording rec = recording_load("replica-table");
    struct member m;
    char last[32] = "voting", group[32];
    int probes = 0;
    member_init(&m, REPLICA_VOTING);
    for (size_t i = 0; i < rec.n; i++) {
        const struct recorded *l = &rec.v[i];
        if (!l->probe || !strstr(l->text, "\"request\":")) continue;
        probes++;
        recording_field(l->text, "group", group, sizeof(group));
        if (strcmp(group, "abort") == 0) {
            refused(l);
            continue;
        }
        if (strcmp(group, last) != 0 && strcmp(group, "voting-restarted") != 0) {
            member_release(&m);
            member_init(&m, group_status(group));
        }
        snprintf(last, sizeof(last), "%s", group);
        probe(&m, &rec, l);
    }
    assert_int_equal(probes, 106);
    member_release(&m);
    recording_release(&rec);
}

/* ---- whole clusters ---- */

static int member_of(const char *role)
{
    return strncmp(role, "replica-", 8) == 0 ? atoi(role + 8) : 0;
}

static int compare(const struct recording *rec, size_t i, int kind, const struct buf *mine)
{
    const struct recorded *theirs = recording_answer(rec, i);
    if (!theirs) return 0;
    if (kind < 0) fail_msg("silence where the real replica answered: %s", rec->v[i].text);
    assert_string_equal(strrchr(theirs->path, '/') + 1, message_name((enum message_kind)kind));
    if (mine->len != theirs->body.len || (mine->len && memcmp(mine->data, theirs->body.data, mine->len) != 0))
        fail_msg("another answer than the real replica's: %s\n%s", rec->v[i].text, theirs->text);
    return 1;
}

/* A member's own recovery moves its status without a word on the wire: its answers tell where it was. */
static void follow_status(struct member *m, const struct recorded *theirs, struct arena *a)
{
    if (!theirs) return;
    struct message r = decode(theirs, a);
    if (r.kind == MESSAGE_RECOVER_RESPONSE)
        m->r.status = r.status;
    else if (r.answer == ANSWER_IGNORED && m->r.status == REPLICA_VOTING)
        m->r.status = REPLICA_STARTING;
    else if (r.answer != ANSWER_IGNORED)
        m->r.status = REPLICA_VOTING;
    m->disk_status = m->r.status;
}

/* Replays what `who` got. Its own coordinator's requests never were on the wire: what it sent to `other` it sent to
 * itself. */
static int replay(const struct recording *rec, int who, int other, enum replica_status status)
{
    struct member m;
    struct buf mine = { 0 };
    int compared = 0;
    member_init(&m, status);
    for (size_t i = 0; i < rec->n; i++) {
        const struct recorded *l = &rec->v[i];
        if (!l->is_message || strncmp(l->path, "/log-replica(1)/", 16) != 0) continue;
        bool to_me = member_of(l->to) == who;
        if (!to_me && (member_of(l->from) != who || member_of(l->to) != other)) continue;
        struct arena a = { 0 };
        struct message q = decode(l, &a);
        if (to_me) follow_status(&m, recording_answer(rec, i), &a);
        /* Writers wait until their own replica votes. */
        bool elects = !to_me && q.kind == MESSAGE_PROMISE_REQUEST && !q.has_position;
        if (elects) m.r.status = m.disk_status = REPLICA_VOTING;
        int kind = member_step(&m, &q, &mine);
        if (to_me) compared += compare(rec, i, kind, &mine);
        arena_release(&a);
    }
    print_message("member %d: %d answers\n", who, compared);
    member_restart(&m);
    member_release(&m);
    buf_release(&mine);
    return compared;
}

static void recorded_clusters(void **state)
{
    (void)state;
    struct recording rec = recording_load("replicated-log");
    assert_int_equal(replay(&rec, 1, 2, REPLICA_VOTING), 17);
    assert_int_equal(replay(&rec, 2, 1, REPLICA_VOTING), 17);
    recording_release(&rec);
    rec = recording_load("replicated-log-autoinit");
    assert_int_equal(replay(&rec, 1, 2, REPLICA_EMPTY), 17);
    assert_int_equal(replay(&rec, 2, 1, REPLICA_EMPTY), 6);
    assert_int_equal(replay(&rec, 3, 1, REPLICA_EMPTY), 14);
    recording_release(&rec);
    rec = recording_load("replicated-log-slow-start");
    assert_int_equal(replay(&rec, 1, 2, REPLICA_EMPTY), 23);
    assert_int_equal(replay(&rec, 2, 1, REPLICA_EMPTY), 19);
    assert_int_equal(replay(&rec, 3, 1, REPLICA_EMPTY), 37);
    recording_release(&rec);
}

/* ---- binding writes ---- */

static enum answer write_under(struct member *m, uint64_t proposal, bool binding, const char *text)
{
    struct message q = { .kind = MESSAGE_WRITE_REQUEST,
                         .proposal = proposal,
                         .position = 1,
                         .has_position = true,
                         .has_action = true,
                         .binding = binding,
                         .action = { .position = 1, .type = ACTION_APPEND, .bytes = text, .n = strlen(text) } };
    struct buf sent = { 0 }, answer = { 0 };
    struct arena a = { 0 };
    struct message got, r;
    message_encode(&q, &sent);
    assert_int_equal(message_decode(MESSAGE_WRITE_REQUEST, sent.data, sent.len, &a, &got), 0);
    assert_int_equal(got.binding, binding);
    assert_int_equal(member_step(m, &got, &answer), MESSAGE_WRITE_RESPONSE);
    assert_int_equal(message_decode(MESSAGE_WRITE_RESPONSE, answer.data, answer.len, &a, &r), 0);
    enum answer result = r.answer;
    arena_release(&a);
    buf_release(&sent);
    buf_release(&answer);
    return result;
}

/* A slow writer's value never replaces a later one, which may be chosen: not where either of the two was binding. */
static void a_lower_write_replaces_nothing_bound(void **state)
{
    (void)state;
    for (int binding = 0; binding < 4; binding++) {
        struct member m;
        member_init(&m, REPLICA_VOTING);
        assert_int_equal(write_under(&m, 3, binding & 1, "later"), ANSWER_ACCEPT);
        enum answer slow = write_under(&m, 2, binding & 2, "slow");
        assert_int_equal(slow, binding ? ANSWER_REJECT : ANSWER_ACCEPT);
        assert_memory_equal(m.disk[1]->action.bytes, binding ? "later" : "slow", 4);
        assert_int_equal(write_under(&m, 4, binding & 2, "next"), ANSWER_ACCEPT);
        member_restart(&m);
        member_release(&m);
    }
}

/* ---- random ---- */

static struct message random_request(struct rng *g)
{
    struct message q = { .kind = MESSAGE_PROMISE_REQUEST, .proposal = rng_below(g, 20) };
    q.position = q.action.position = rng_below(g, POSITIONS - 1);
    switch (rng_below(g, 4)) {
    case 0:
        q.has_position = rng_below(g, 4) != 0;
        return q;
    case 1:
        q.kind = MESSAGE_LEARNED;
        q.action.promised = q.action.performed = q.proposal;
        q.action.has_performed = q.action.has_learned = q.action.learned = true;
        break;
    default:
        q.kind = MESSAGE_WRITE_REQUEST;
        q.has_position = true;
        q.action.learned = q.action.has_learned = rng_below(g, 5) == 0;
    }
    /* One value per position, whoever writes it: a value that was learned never changes. */
    struct rng value = { q.position };
    q.has_action = true;
    q.action.type = (enum action_type)(1 + rng_below(&value, 3));
    q.action.bytes = "text";
    q.action.n = q.action.type == ACTION_APPEND ? rng_below(&value, 5) : 0;
    if (q.action.type == ACTION_TRUNCATE) q.action.to = rng_below(&value, q.action.position + 1);
    q.action.tombstone = q.kind == MESSAGE_LEARNED && q.action.type == ACTION_NOP && rng_below(&value, 4) == 0;
    return q;
}

/* What any sequence of requests must leave true (reference: replicated-log, section 9). */
static void check_invariants(const struct member *m, uint64_t promised_before, uint64_t begin_before)
{
    assert_true(m->r.promised >= promised_before);
    assert_true(m->r.begin >= begin_before);
    for (uint64_t p = m->r.begin; p <= m->r.end; p++) {
        bool hole = iset_has(&m->r.holes, p), unlearned = iset_has(&m->r.unlearned, p);
        assert_false(hole && unlearned);
        assert_int_equal(hole, m->disk[p] == NULL);
        if (m->disk[p]) assert_int_equal(unlearned, !m->disk[p]->action.learned);
    }
}

static void random_requests_and_restarts(void **state)
{
    (void)state;
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 10) : 1;
    print_message("replay: SEED=%llu build/asan/test/log_replica\n", (unsigned long long)seed);
    for (int round = 0; round < 200; round++, seed++) {
        struct rng g = { seed };
        struct member m;
        struct buf mine = { 0 };
        member_init(&m, REPLICA_VOTING);
        for (int i = 0; i < 200; i++) {
            struct message q = random_request(&g);
            uint64_t promised = m.r.promised, begin = m.r.begin;
            member_step(&m, &q, &mine);
            check_invariants(&m, promised, begin);
            if (rng_below(&g, 10) == 0) member_restart(&m);
        }
        member_release(&m);
        buf_release(&mine);
    }
}

static void interval_sets(void **state)
{
    (void)state;
    struct rng g = { 7 };
    struct iset s = { 0 };
    bool model[64] = { 0 };
    for (int i = 0; i < 5000; i++) {
        uint64_t lo = rng_below(&g, 64), hi = rng_below(&g, 65);
        bool add = rng_below(&g, 2);
        (add ? iset_add : iset_remove)(&s, lo, hi);
        for (uint64_t x = lo; x < hi; x++) model[x] = add;
        uint64_t next = UINT64_MAX;
        for (uint64_t x = 64; x-- > 0;) {
            if (model[x]) next = x;
            assert_int_equal(iset_has(&s, x), model[x]);
            assert_int_equal(iset_next(&s, x), next);
        }
        for (size_t k = 1; k < s.n; k++) assert_true(s.v[k - 1].hi < s.v[k].lo);
    }
    iset_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table),
        cmocka_unit_test(recorded_clusters),
        cmocka_unit_test(a_lower_write_replaces_nothing_bound),
        cmocka_unit_test(random_requests_and_restarts),
        cmocka_unit_test(interval_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
