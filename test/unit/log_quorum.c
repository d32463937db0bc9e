/* Quorum sizes: every combination of 1 to 5 schedulers' flags, right and wrong, in every order of starting, whoever
 * hears whom. No two that may lead may ever have quorums without a replica in common. */
#include "log/quorum.h"

#include "core/err.h"
#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SCHEDULERS = 5, SIZES = 4 };

/* ---- a group of schedulers ---- */

struct group {
    unsigned n;
    unsigned flag[SCHEDULERS];
    unsigned stored[SCHEDULERS];        /* 0: a new log */
    bool hears[SCHEDULERS][SCHEDULERS]; /* who, whom */
    bool registered[SCHEDULERS], leads[SCHEDULERS];
    bool has_znode; /* ZooKeeper lets us write the group's data */
    struct quorum_record znode;
};

static const char *const names[] = { "log-replica(1)@10.0.0.1:8083", "log-replica(1)@10.0.0.2:8083",
                                     "log-replica(1)@10.0.0.3:8083", "log-replica(1)@10.0.0.4:8083",
                                     "log-replica(1)@10.0.0.5:8083" };

static struct quorum_record record_of(const struct group *g, unsigned i)
{
    return (struct quorum_record){ .replica = i + 1, .size = g->stored[i] ? g->stored[i] : g->flag[i] };
}

static enum quorum_verdict judge(const struct group *g, unsigned who, struct buf *why)
{
    struct quorum_member members[SCHEDULERS];
    struct quorum_view v = { .flag = g->flag[who], .own = { .replica = who + 1, .size = g->stored[who] } };
    struct buf ignored = { 0 };
    v.members = members;
    if (g->has_znode) v.znode = g->znode;
    for (unsigned i = 0; i < g->n; i++) {
        if (i == who || !g->registered[i]) continue;
        members[v.n++] = (struct quorum_member){ names[i], g->hears[who][i], record_of(g, i) };
    }
    enum quorum_verdict verdict = quorum_judge(&v, why ? why : &ignored);
    buf_release(&ignored);
    return verdict;
}

/* Registers if it may; then leads if it may, and writes the znode's record if it is the first. */
static void start(struct group *g, unsigned i)
{
    if (judge(g, i, NULL) == QUORUM_SAFE) g->registered[i] = true;
}

static void lead(struct group *g, unsigned i)
{
    if (!g->registered[i] || judge(g, i, NULL) != QUORUM_SAFE) return;
    g->leads[i] = true;
    if (g->has_znode && !g->znode.size) g->znode = record_of(g, i);
}

/* Two that have led, at any time, could not both have written without the other's replicas. */
static void assert_safe(const struct group *g)
{
    unsigned all = 0;
    for (unsigned i = 0; i < g->n; i++) all += g->registered[i];
    for (unsigned i = 0; i < g->n; i++)
        for (unsigned k = 0; k <= i; k++)
            if (g->leads[i] && g->leads[k]) assert_true(g->flag[i] + g->flag[k] > all);
}

static bool is_right(const struct group *g)
{
    for (unsigned i = 0; i < g->n; i++)
        if (g->flag[i] != g->flag[0] || (g->stored[i] && g->stored[i] != g->flag[0])) return false;
    return g->n <= 2 * g->flag[0] - 1;
}

static void hear_all(struct group *g, bool heard)
{
    for (unsigned i = 0; i < SCHEDULERS; i++)
        for (unsigned k = 0; k < SCHEDULERS; k++) g->hears[i][k] = heard;
}

static unsigned power(unsigned base, unsigned exponent)
{
    return exponent ? base * power(base, exponent - 1) : 1;
}

static void set_flags(struct group *g, unsigned code)
{
    for (unsigned i = 0; i < g->n; i++, code /= SIZES) g->flag[i] = 1 + code % SIZES;
}

/* The k-th order of n schedulers. */
static void order_of(unsigned k, unsigned n, unsigned *order)
{
    unsigned left[SCHEDULERS] = { 0, 1, 2, 3, 4 };
    for (unsigned i = 0; i < n; i++) {
        unsigned at = k % (n - i);
        k /= n - i;
        order[i] = left[at];
        for (unsigned m = at; m + 1 < n - i; m++) left[m] = left[m + 1];
    }
}

static unsigned factorial(unsigned n)
{
    return n < 2 ? 1 : n * factorial(n - 1);
}

/* ---- every combination ---- */

/* All register at once, then all look: a wrong combination leads nowhere, a right one everywhere. */
static void all_at_once(void **state)
{
    (void)state;
    unsigned right = 0, wrong = 0;
    for (unsigned n = 1; n <= SCHEDULERS; n++) {
        for (unsigned code = 0; code < power(SIZES, n); code++) {
            struct group g = { .n = n };
            set_flags(&g, code);
            hear_all(&g, true);
            for (unsigned i = 0; i < n; i++) g.registered[i] = true;
            for (unsigned i = 0; i < n; i++) {
                struct buf why = { 0 };
                assert_int_equal(judge(&g, i, &why), is_right(&g) ? QUORUM_SAFE : QUORUM_REFUSED);
                if (!is_right(&g)) assert_non_null(strstr(buf_cstr(&why), "set -native_log_quorum_size="));
                buf_release(&why);
            }
            right += is_right(&g);
            wrong += !is_right(&g);
        }
    }
    print_message("%u right and %u wrong combinations\n", right, wrong);
    assert_true(right > 0);
}

static void in_every_order(bool has_znode, bool heard)
{
    for (unsigned n = 1; n <= SCHEDULERS; n++) {
        for (unsigned code = 0; code < power(SIZES, n) * factorial(n); code++) {
            struct group g = { .n = n, .has_znode = has_znode };
            unsigned order[SCHEDULERS];
            set_flags(&g, code / factorial(n));
            order_of(code % factorial(n), n, order);
            hear_all(&g, heard);
            for (unsigned i = 0; i < n; i++) {
                start(&g, order[i]);
                lead(&g, order[i]);
                assert_safe(&g);
            }
            for (unsigned i = 0; is_right(&g) && i < n; i++) assert_true(g.leads[i]);
        }
    }
}

static void one_after_the_other(void **state)
{
    (void)state;
    in_every_order(false, true);
    in_every_order(true, true);
    in_every_order(true, false); /* nobody hears anybody: the znode alone must do */
}

/* Three, and whoever hears whom: with the znode's record it makes no difference to safety. */
static void whoever_hears_whom(void **state)
{
    (void)state;
    for (unsigned code = 0; code < power(SIZES, 3) * factorial(3) * 64; code++) {
        struct group g = { .n = 3, .has_znode = true };
        unsigned order[SCHEDULERS], ears = code % 64;
        set_flags(&g, code / 64 / factorial(3));
        order_of(code / 64 % factorial(3), 3, order);
        for (unsigned i = 0; i < 3; i++)
            for (unsigned k = 0; k < 3; k++)
                if (i != k) g.hears[i][k] = ears >> (2 * i + (k > i ? k - 1 : k)) & 1;
        for (unsigned i = 0; i < 3; i++) {
            start(&g, order[i]);
            lead(&g, order[i]);
            assert_safe(&g);
        }
    }
}

/* Any of them is restarted with another flag than its log was made with. */
static void a_changed_flag_is_refused(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= SCHEDULERS; n++) {
        for (unsigned code = 0; code < power(SIZES, n) * SIZES; code++) {
            unsigned stored = 1 + code % SIZES, present = 0;
            struct group g = { .n = n };
            set_flags(&g, code / SIZES);
            hear_all(&g, true);
            for (unsigned i = 0; i < n; i++) g.stored[i] = stored;
            for (unsigned i = 0; i < n; i++) {
                start(&g, i);
                assert_int_equal(g.registered[i], g.flag[i] == stored && present < 2 * stored - 1);
                present += g.registered[i];
            }
            for (unsigned i = 0; i < n; i++) lead(&g, i);
            assert_safe(&g);
        }
    }
}

/* ---- single rules ---- */

static struct quorum_view view(unsigned flag)
{
    return (struct quorum_view){ .flag = flag, .own = { .replica = 1 } };
}

static enum quorum_verdict verdict_of(const struct quorum_view *v, const char *expected)
{
    struct buf why = { 0 };
    enum quorum_verdict verdict = quorum_judge(v, &why);
    assert_string_equal(buf_cstr(&why), expected);
    buf_release(&why);
    return verdict;
}

static void sizes_at_their_limits(void **state)
{
    (void)state;
    struct quorum_view v = view(0);
    assert_int_equal(verdict_of(&v, "-native_log_quorum_size=0 is not between 1 and 16"), QUORUM_REFUSED);
    v = view(LIMIT_LOG_QUORUM + 1);
    assert_int_equal(verdict_of(&v, "-native_log_quorum_size=17 is not between 1 and 16"), QUORUM_REFUSED);
    v = view(LIMIT_LOG_QUORUM);
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
}

static void says_what_contradicts(void **state)
{
    (void)state;
    struct quorum_view v = view(1);
    v.own.size = 2;
    assert_int_equal(verdict_of(&v, "this log was made with quorum size 2, not 1; set -native_log_quorum_size=2"),
                     QUORUM_REFUSED);
    v.own.size = 1;
    v.znode = (struct quorum_record){ .size = 3 };
    assert_int_equal(verdict_of(&v, "the log's group in ZooKeeper has quorum size 3, not 1; set "
                                    "-native_log_quorum_size=3"),
                     QUORUM_REFUSED);
    v.znode.size = 0;
    struct quorum_member peer = { names[1], true, { .replica = 2, .size = 2 } };
    v.members = &peer;
    v.n = 1;
    assert_int_equal(
        verdict_of(&v, "log-replica(1)@10.0.0.2:8083 has quorum size 2, not 1; set -native_log_quorum_size=2"),
        QUORUM_REFUSED);
}

static void a_missed_change_is_refused(void **state)
{
    (void)state;
    struct quorum_view v = view(1);
    v.own = (struct quorum_record){ .replica = 1, .size = 1, .seen = { 1 }, .n_seen = 1 };
    v.znode = (struct quorum_record){ .size = 3, .changes = 1, .seen = { 1 }, .n_seen = 1 };
    assert_int_equal(verdict_of(&v, "the quorum size was changed to 3, and this folder has 1; set "
                                    "-native_log_quorum_size=3 and run `aurora-scheduler log set-quorum` with it"),
                     QUORUM_REFUSED);
    v.znode.size = 1; /* and back */
    v.znode.changes = 2;
    assert_int_equal(verdict_of(&v, "this folder is from before the quorum size was changed, so what it has is out of "
                                    "date; move it away, and set -native_log_quorum_size=1"),
                     QUORUM_REFUSED);
    v.own.n_seen = 0; /* a new one */
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
    v.own.n_seen = 1;
    v.flag = v.own.size = 2;
    v.znode = (struct quorum_record){ 0 };
    struct quorum_member peer = { names[1],
                                  true,
                                  { .replica = 2, .size = 2, .changes = 2, .seen = { 2 }, .n_seen = 1 } };
    v.members = &peer;
    v.n = 1;
    assert_int_equal(verdict_of(&v, "the quorum size was changed 0 times here and 2 times at "
                                    "log-replica(1)@10.0.0.2:8083; move the folder away that is out of date"),
                     QUORUM_REFUSED);
}

/* A member that says nothing may be Mesos's, which counts, or a registration left behind, which goes. */
static void silent_members_make_it_wait(void **state)
{
    (void)state;
    struct quorum_member peers[3] = { { .name = names[1], .heard = true, .record = { .replica = 2, .size = 2 } },
                                      { .name = names[2] },
                                      { .name = names[3] } };
    struct quorum_view v = view(2);
    v.members = peers;
    v.n = 2;
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
    v.n = 3;
    assert_int_equal(
        verdict_of(&v, "there are 4 replicas, but quorum size 2 is safe for at most 3 (2 of them are only registered, "
                       "and go with their session if they have stopped); stop the surplus ones, or set "
                       "-native_log_quorum_size=3 on all as docs/operating.md tells"),
        QUORUM_WAITS);
}

/* A replica that restarted on another port is listed twice until its old session ends. */
static void one_replica_counts_once(void **state)
{
    (void)state;
    struct quorum_member peers[3] = { { names[1], true, { .replica = 3, .size = 2 } },
                                      { names[2], true, { .replica = 2, .size = 2 } },
                                      { names[3], true, { .replica = 2, .size = 2 } } };
    struct quorum_view v = view(2);
    v.members = peers;
    v.n = 3;
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
}

/* Two votes of one folder would be one too many. */
static void a_copy_is_refused(void **state)
{
    (void)state;
    struct quorum_member peer = { names[1], true, { .replica = 1, .size = 2 } };
    struct quorum_view v = view(2);
    v.members = &peer;
    v.n = 1;
    assert_int_equal(
        verdict_of(&v, "log-replica(1)@10.0.0.2:8083 is the same replica as this: one of the folders is a copy of the "
                       "other; move the copy away, or, where it was made on purpose, run `aurora-scheduler log "
                       "new-replica` on it"),
        QUORUM_REFUSED);
    peer.heard = false;
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
}

static void a_replaced_replica_is_refused(void **state)
{
    (void)state;
    struct quorum_view v = view(2);
    v.own = (struct quorum_record){ .replica = 1, .size = 2, .seen = { 1, 2, 3 }, .n_seen = 3 };
    v.znode = (struct quorum_record){ .replica = 2, .size = 2, .seen = { 2, 3, 4 }, .n_seen = 3 };
    assert_int_equal(verdict_of(&v,
                                "this replica has been replaced by others while it was away, or it was initialised "
                                "beside them, so what it has is of no use; move its folder away, and it begins anew"),
                     QUORUM_REFUSED);
    v.own.n_seen = 0; /* empty: it fetches the log */
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
    v.own.n_seen = 3;
    v.znode = (struct quorum_record){ .replica = 2, .size = 2, .seen = { 2, 3, 1 }, .n_seen = 3 };
    assert_int_equal(verdict_of(&v, ""), QUORUM_SAFE);
}

static void an_existing_log_is_not_initialised_again(void **state)
{
    (void)state;
    struct quorum_view v = view(2);
    assert_true(quorum_may_initialize(&v));
    v.znode = (struct quorum_record){ .size = 2, .seen = { 7 }, .n_seen = 1 };
    assert_false(quorum_may_initialize(&v));
    v.znode = (struct quorum_record){ 0 };
    struct quorum_member peer = { names[1], true, { .replica = 2, .size = 2, .seen = { 2 }, .n_seen = 1 } };
    v.members = &peer;
    v.n = 1;
    assert_false(quorum_may_initialize(&v));
    peer.heard = false;
    assert_true(quorum_may_initialize(&v));
}

/* After a change the first place tells who has everything. */
static void the_first_place_is_kept_after_a_change(void **state)
{
    (void)state;
    struct quorum_record z = { .replica = 0, .size = 2, .seen = { 1, 2, 3 }, .n_seen = 3 };
    assert_true(quorum_claim(&z, (const uint64_t[]){ 9, 2 }, 2));
    assert_int_equal(z.n_seen, 3);
    assert_memory_equal(z.seen, ((uint64_t[]){ 1, 9, 2 }), sizeof(uint64_t[3]));
    z.replica = 1;
    assert_true(quorum_claim(&z, (const uint64_t[]){ 7, 2, 9 }, 3));
    assert_memory_equal(z.seen, ((uint64_t[]){ 7, 2, 9 }), sizeof(uint64_t[3]));
}

static void remembers_the_latest_replicas(void **state)
{
    (void)state;
    struct quorum_record r = { .replica = 1, .size = 2 };
    assert_true(quorum_see(&r, (const uint64_t[]){ 1, 2, 3 }, 3));
    assert_int_equal(r.n_seen, 3);
    assert_false(quorum_see(&r, (const uint64_t[]){ 3, 1, 1 }, 3));
    assert_true(quorum_see(&r, (const uint64_t[]){ 1, 3, 4 }, 3)); /* 4 replaces 2 */
    assert_int_equal(r.n_seen, 3);
    for (unsigned i = 0; i < 3; i++) assert_int_not_equal(r.seen[i], 2);
    assert_true(quorum_see(&r, (const uint64_t[]){ 5 }, 1));
    assert_int_equal(r.seen[0], 5);
    assert_int_equal(r.n_seen, 3);
}

/* ---- bytes ---- */

static struct quorum_record remembers(uint64_t replica, uint64_t a, uint64_t b, uint64_t c)
{
    return (struct quorum_record){ .replica = replica, .size = 2, .seen = { a, b, c }, .n_seen = 3 };
}

/* ZooKeeper came back empty. */
static void a_lost_record_is_remembered(void **state)
{
    (void)state;
    struct quorum_member peer = { names[1], true, remembers(2, 2, 1, 3) };
    struct quorum_view v = { .flag = 2, .own = remembers(1, 1, 2, 3), .members = &peer, .n = 1 };
    struct quorum_record z = { 0 };
    quorum_remember(&v, &z);
    assert_int_equal(z.n_seen, 3); /* 3 keeps its place while it is away */

    z = (struct quorum_record){ 0 };
    peer.record = remembers(2, 2, 1, 4); /* 3 or 4 has been replaced: who knows? */
    quorum_remember(&v, &z);
    assert_int_equal(z.n_seen, 0);
    peer.record.changes = 1; /* of another time */
    quorum_remember(&v, &z);
    assert_int_equal(z.n_seen, 0);

    peer.record = remembers(2, 2, 1, 3);
    peer.heard = false; /* 4 may have written with it */
    quorum_remember(&v, &z);
    assert_int_equal(z.n_seen, 0);
    peer.heard = true;
    peer.record.n_seen = 0; /* it begins anew */
    quorum_remember(&v, &z);
    assert_int_equal(z.n_seen, 0);

    peer.record.n_seen = 3;
    z = remembers(1, 1, 2, 5); /* there is one */
    quorum_remember(&v, &z);
    assert_int_equal(z.seen[2], 5);
}

static void records_as_text(void **state)
{
    (void)state;
    struct quorum_record r = { .replica = 0x1234, .size = 2, .seen = { 0x1234, UINT64_MAX }, .n_seen = 2 }, back;
    struct buf b = { 0 };
    quorum_encode(&r, &b);
    assert_string_equal(buf_cstr(&b),
                        "quorum=2 changes=0 replica=0000000000001234 seen=0000000000001234,ffffffffffffffff");
    assert_int_equal(quorum_decode(b.data, b.len, &back), 0);
    assert_memory_equal(&r, &back, sizeof(r));
    buf_release(&b);
    r = (struct quorum_record){ .replica = 1, .size = LIMIT_LOG_QUORUM, .n_seen = QUORUM_SEEN_MAX };
    for (unsigned i = 0; i < QUORUM_SEEN_MAX; i++) r.seen[i] = i;
    quorum_encode(&r, &b);
    assert_int_equal(quorum_decode(b.data, b.len, &back), 0);
    assert_memory_equal(&r, &back, sizeof(r));
    buf_adds(&b, ",00000000000000ff");
    assert_int_equal(quorum_decode(b.data, b.len, &back), ERR_MALFORMED);
    buf_release(&b);
}

static void damaged_records(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "quorum=",
        "quorum=0 changes=0 replica=0000000000000001 seen=",
        "quorum=17 changes=0 replica=0000000000000001 seen=",
        "quorum=-1 changes=0 replica=0000000000000001 seen=",
        "quorum= 1 changes=0 replica=0000000000000001 seen=",
        "quorum=1 changes=0 replica=1 seen=",
        "quorum=1 replica=0000000000000001 seen=",
        "quorum=1 changes= replica=0000000000000001 seen=",
        "quorum=1 changes=-1 replica=0000000000000001 seen=",
        "quorum=1 changes=1234567890 replica=0000000000000001 seen=",
        "quorum=1 changes=0 replica=0x00000000000001 seen=",
        "quorum=1 changes=0 replica=0000000000000001",
        "quorum=1 changes=0 replica=0000000000000001 seen=,",
        "quorum=1 changes=0 replica=0000000000000001 seen=0000000000000001,",
        "quorum=1 changes=0 replica=0000000000000001 seen=0000000000000001,0000000000000002",
        "quorum=2 changes=0 replica=0000000000000001 seen=0000000000000001,0000000000000001",
        "quorum=1 changes=0 replica=0000000000000001 seen=0000000000000001 ",
        "log-replica(1)@127.0.0.1:8083",
    };
    struct quorum_record r;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(quorum_decode(bad[i], strlen(bad[i]), &r), ERR_MALFORMED);
    /* Every damaged byte is seen, or gives a record that is well-formed. */
    struct rng g = { 3 };
    char text[] = "quorum=2 changes=0 replica=00000000000000aa seen=00000000000000aa,00000000000000bb";
    for (int i = 0; i < 20000; i++) {
        size_t at = rng_below(&g, sizeof(text) - 1);
        char was = text[at];
        text[at] = (char)rng_below(&g, 256);
        if (quorum_decode(text, sizeof(text) - 1, &r) == 0) assert_in_range(r.size, 1, LIMIT_LOG_QUORUM);
        text[at] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
        cmocka_unit_test(one_after_the_other),
        cmocka_unit_test(whoever_hears_whom),
        cmocka_unit_test(a_changed_flag_is_refused),
        cmocka_unit_test(sizes_at_their_limits),
        cmocka_unit_test(says_what_contradicts),
        cmocka_unit_test(silent_members_make_it_wait),
        cmocka_unit_test(one_replica_counts_once),
        cmocka_unit_test(a_copy_is_refused),
        cmocka_unit_test(a_missed_change_is_refused),
        cmocka_unit_test(a_replaced_replica_is_refused),
        cmocka_unit_test(an_existing_log_is_not_initialised_again),
        cmocka_unit_test(the_first_place_is_kept_after_a_change),
        cmocka_unit_test(remembers_the_latest_replicas),
        cmocka_unit_test(a_lost_record_is_remembered),
        cmocka_unit_test(records_as_text),
        cmocka_unit_test(damaged_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
