/* Changes of the quorum size: each rule, then a model of a cluster whose operator changes sizes, copies and starts
 * folders at random: whatever is not refused never loses an acknowledged entry. */
#include "log/quorum_change.h"

#include "core/err.h"
#include "core/rng.h"
#include "test/lib/random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- rules ---- */

static const struct quorum_change leader_of_five = {
    .to = 2,
    .own = { .replica = 1, .size = 3, .seen = { 1, 2, 3, 4, 5 }, .n_seen = 5 },
    .votes = true,
    .complete = true,
    .znode = { .replica = 1, .size = 3, .seen = { 1, 2, 3, 4, 5 }, .n_seen = 5 },
};

static struct quorum_plan must_plan(const struct quorum_change *c)
{
    struct quorum_plan p;
    struct buf why = { 0 };
    if (quorum_plan_size(c, &p, &why)) fail_msg("%s", buf_cstr(&why));
    buf_release(&why);
    return p;
}

static void must_refuse(const struct quorum_change *c, const char *says)
{
    struct quorum_plan p;
    struct buf why = { 0 };
    assert_int_equal(quorum_plan_size(c, &p, &why), ERR_INVALID);
    if (!strstr(buf_cstr(&why), says)) fail_msg("\"%s\" does not say \"%s\"", buf_cstr(&why), says);
    buf_release(&why);
}

static void shrinking_keeps_the_last_leader(void **state)
{
    (void)state;
    struct quorum_change c = leader_of_five;
    struct quorum_plan p = must_plan(&c);
    assert_true(p.changes_znode && p.changes_own && p.may_be_copied);
    assert_int_equal(p.znode.size, 2);
    assert_int_equal(p.znode.replica, 0);
    assert_int_equal(p.znode.n_seen, 1);
    assert_int_equal(p.own.size, 2);
    assert_int_equal(p.own.replica, 1);
    c.complete = false;
    must_refuse(&c, "stop them with SIGTERM");
    c.complete = true;
    c.own.replica = 2;
    must_refuse(&c, "replica 0000000000000001 led last and has everything, this one is 0000000000000002");
    c.znode.replica = 0;
    must_refuse(&c, "start all with -native_log_quorum_size=3 first");
    c.znode = (struct quorum_record){ 0 };
    must_refuse(&c, "start all with -native_log_quorum_size=3 first");
    c.znode = p.znode;
    must_refuse(&c, "move the folder away");
}

static void growing_takes_every_replica(void **state)
{
    (void)state;
    struct quorum_change c = leader_of_five;
    c.to = 4;
    c.own.replica = 2;
    c.complete = false;
    struct quorum_plan p = must_plan(&c);
    assert_true(p.changes_znode && p.changes_own);
    assert_false(p.may_be_copied); /* it may lack entries; two of it would be too many */
    assert_int_equal(p.znode.replica, 1);
    assert_int_equal(p.znode.n_seen, 5);
    c.znode = p.znode;
    c.own.replica = 3;
    p = must_plan(&c);
    assert_true(p.changes_own);
    assert_false(p.changes_znode);
}

static void a_single_replica_grows(void **state)
{
    (void)state;
    struct quorum_change c = { .to = 2, .own = { .replica = 1, .size = 1 }, .votes = true };
    struct quorum_plan p = must_plan(&c);
    assert_true(p.changes_znode && p.changes_own && p.may_be_copied);
    c.znode = p.znode; /* interrupted before the folder */
    p = must_plan(&c);
    assert_false(p.changes_znode);
    assert_true(p.changes_own && p.may_be_copied);
    c.znode.seen[0] = 9; /* another one was chosen */
    must_refuse(&c, "the size was changed elsewhere");
    c.znode = (struct quorum_record){ .replica = 9, .size = 1, .seen = { 9 }, .n_seen = 1 };
    must_refuse(&c, "replaced by others");
}

static void what_is_in_the_way(void **state)
{
    (void)state;
    struct quorum_change c = leader_of_five;
    c.members = 1;
    must_refuse(&c, "1 schedulers are registered: stop all of them first");
    c.members = 0;
    c.votes = false;
    must_refuse(&c, "does not hold the log");
    c.votes = true;
    c.znode.size = 4;
    c.znode.changes = 1;
    must_refuse(&c, "has quorum size 4 already");
    c.to = c.own.size;
    must_refuse(&c, "has quorum size 4 already");
    c.znode.size = 3;
    c.znode.changes = 2;
    must_refuse(&c, "from before the quorum size was changed");
    c.znode.changes = 0;
    struct quorum_plan p = must_plan(&c);
    assert_false(p.changes_own || p.changes_znode);
    c.to = 0;
    must_refuse(&c, "not between 1 and 16");
    c.to = LIMIT_LOG_QUORUM + 1;
    must_refuse(&c, "not between 1 and 16");
    c.to = LIMIT_LOG_QUORUM;
    must_plan(&c);
}

static void copies_get_ids_of_their_own(void **state)
{
    (void)state;
    struct quorum_change c = leader_of_five;
    struct quorum_plan p;
    struct buf why = { 0 };
    assert_int_equal(quorum_plan_copy(&c, 7, &p, &why), ERR_INVALID); /* not changed yet */
    p = must_plan(&c);
    c.znode = p.znode;
    c.own = p.own;
    c.members = 1;
    assert_int_equal(quorum_plan_copy(&c, 7, &p, &why), 0);
    assert_true(p.changes_own && p.changes_znode);
    assert_int_equal(p.own.replica, 7);
    assert_int_equal(p.znode.n_seen, 2);
    assert_int_equal(p.znode.seen[0], 1);
    c.own = p.own;
    assert_int_equal(quorum_plan_copy(&c, 8, &p, &why), ERR_INVALID); /* it has one already */
    c.own.replica = 1;
    c.znode.replica = 1;
    assert_int_equal(quorum_plan_copy(&c, 8, &p, &why), ERR_INVALID); /* somebody has led */
    buf_release(&why);
}

/* ---- a model ---- */

enum { FOLDERS = 8, SIZE_MAX_ = 3, ENTRIES = 60, STEPS = 400, WORLDS = 10000 };

struct folder {
    bool exists, up, votes, complete;
    struct quorum_record own;
    uint64_t entries, unstored; /* by number; unstored: of a leader, behind its own disk's back */
};

struct world {
    struct rng rng;
    struct folder f[FOLDERS];
    struct quorum_record znode;
    uint64_t ids, acknowledged;
    unsigned n_entries;
    int leader; /* -1: none */
    unsigned elections, changes, copies, shrunk;
};

static unsigned up(const struct world *w)
{
    unsigned n = 0;
    for (int i = 0; i < FOLDERS; i++) n += w->f[i].up;
    return n;
}

static struct quorum_change change_of(const struct world *w, int i, unsigned to)
{
    const struct folder *f = &w->f[i];
    return (struct quorum_change){
        .to = to, .own = f->own, .votes = f->votes, .complete = f->complete, .znode = w->znode, .members = up(w)
    };
}

/* ret_may: begin a log, claim a place. */
static bool safe(const struct world *w, int who, unsigned flag, bool ret_may[2])
{
    struct quorum_member members[FOLDERS];
    struct quorum_view v = { .flag = flag, .own = w->f[who].own, .znode = w->znode, .members = members };
    struct buf why = { 0 };
    for (int i = 0; i < FOLDERS; i++)
        if (i != who && w->f[i].up) members[v.n++] = (struct quorum_member){ "peer", true, w->f[i].own };
    bool ok = quorum_judge(&v, &why) == QUORUM_SAFE;
    ret_may[0] = quorum_may_initialize(&v);
    ret_may[1] = w->znode.size == 0 || quorum_may_claim(&v, &why);
    buf_release(&why);
    return ok;
}

/* Any q that are up and vote; false: there are less. */
static bool choose(struct world *w, unsigned q, bool chosen[FOLDERS])
{
    int voters[FOLDERS];
    unsigned n = 0;
    for (int i = 0; i < FOLDERS; i++) {
        chosen[i] = false;
        if (w->f[i].up && w->f[i].votes) voters[n++] = i;
    }
    if (n < q) return false;
    for (unsigned k = 0; k < q; k++) {
        unsigned at = (unsigned)rng_below(&w->rng, n);
        chosen[voters[at]] = true;
        voters[at] = voters[--n];
    }
    return true;
}

static uint64_t entries_of(const struct world *w, const bool chosen[FOLDERS])
{
    uint64_t all = 0;
    for (int i = 0; i < FOLDERS; i++)
        if (chosen[i]) all |= w->f[i].entries;
    return all;
}

static void see_all(struct world *w, struct quorum_record *r)
{
    uint64_t ids[FOLDERS];
    unsigned n = 0;
    for (int i = 0; i < FOLDERS; i++)
        if (w->f[i].up && w->f[i].votes) ids[n++] = w->f[i].own.replica;
    if (n) (void)quorum_see(r, ids, n);
}

static bool has_place(const struct world *w, int i)
{
    for (unsigned k = 0; k < w->znode.n_seen; k++)
        if (w->znode.seen[k] == w->f[i].own.replica) return true;
    return false;
}

/* Own id first, then who else votes. */
static void claim(struct world *w, int who)
{
    uint64_t ids[FOLDERS + 1] = { w->f[who].own.replica };
    unsigned n = 1;
    for (int i = 0; i < FOLDERS; i++)
        if (w->f[i].up && w->f[i].votes) ids[n++] = w->f[i].own.replica;
    (void)quorum_claim(&w->znode, ids, n);
}

/* Before anybody has led there is no record, and of a size no more than a cluster's folders are begun. */
static bool may_begin(const struct world *w, unsigned flag)
{
    unsigned n = 0;
    for (int i = 0; i < FOLDERS; i++) n += w->f[i].exists && w->f[i].own.size == flag;
    return w->znode.size || n < 2 * flag - 1;
}

static void start(struct world *w, int i)
{
    struct folder *f = &w->f[i];
    bool may[2];
    if (f->up) return;
    unsigned flag = rng_below(&w->rng, 5) ? w->znode.size : 1 + (unsigned)rng_below(&w->rng, SIZE_MAX_);
    if (!flag) flag = f->exists ? f->own.size : 2;
    if (f->exists && f->own.size != flag) return; /* refused by its own folder */
    bool is_new = !f->exists;
    if (is_new && !may_begin(w, flag)) return;
    if (is_new) *f = (struct folder){ .exists = true, .own = { .replica = ++w->ids, .size = flag } };
    if (safe(w, i, flag, may) && (may[1] || has_place(w, i))) {
        f->up = true;
        f->complete = false;
        if (!f->own.n_seen) f->own.changes = w->znode.changes;
        if (w->znode.size && !has_place(w, i)) claim(w, i);
    } else if (is_new) {
        *f = (struct folder){ 0 };
    }
}

static void recover(struct world *w, int i)
{
    struct folder *f = &w->f[i];
    bool chosen[FOLDERS], may[2];
    if (!f->up || f->votes) return;
    if (choose(w, f->own.size, chosen)) {
        f->entries = entries_of(w, chosen);
        f->votes = true;
        (void)quorum_see(&f->own, &f->own.replica, 1);
        return;
    }
    unsigned empty = 0;
    for (int k = 0; k < FOLDERS; k++) empty += w->f[k].up && !w->f[k].votes && w->f[k].own.size == f->own.size;
    (void)safe(w, i, f->own.size, may);
    if (!may[0] || empty < 2 * f->own.size - 1) return;
    assert_int_equal(w->acknowledged, 0); /* nothing is begun anew */
    for (int k = 0; k < FOLDERS; k++) {
        struct folder *o = &w->f[k];
        if (!o->up) continue;
        o->votes = true;
        (void)quorum_see(&o->own, &o->own.replica, 1);
    }
}

static void elect(struct world *w, int i)
{
    struct folder *f = &w->f[i];
    bool chosen[FOLDERS], may[2];
    if (w->leader >= 0 || !f->up || !f->votes || !safe(w, i, f->own.size, may)) return;
    if (!choose(w, f->own.size, chosen)) return;
    f->entries |= entries_of(w, chosen);
    assert_int_equal(f->entries & w->acknowledged, w->acknowledged);
    w->elections++;
    w->leader = i;
    for (int k = 0; k < FOLDERS; k++)
        if (w->f[k].up && w->f[k].votes) see_all(w, &w->f[k].own);
    w->znode.size = f->own.size;
    w->znode.changes = f->own.changes;
    w->znode.replica = f->own.replica;
    see_all(w, &w->znode);
}

static void append(struct world *w)
{
    bool chosen[FOLDERS];
    if (w->leader < 0 || w->n_entries == ENTRIES) return;
    struct folder *f = &w->f[w->leader];
    if (!choose(w, f->own.size, chosen)) return;
    uint64_t entry = (uint64_t)1 << w->n_entries++;
    for (int i = 0; i < FOLDERS; i++)
        if (chosen[i]) w->f[i].entries |= entry;
    if (!chosen[w->leader]) f->unstored |= entry;
    w->acknowledged |= entry;
}

static void end(struct world *w, int i)
{
    struct folder *f = &w->f[i];
    if (!f->up) return;
    bool in_order = rng_below(&w->rng, 4) != 0;
    if (in_order) f->entries |= f->unstored;
    f->complete = in_order && w->leader == i;
    f->unstored = 0;
    f->up = false;
    if (w->leader == i) w->leader = -1;
}

static void change(struct world *w, int i)
{
    struct quorum_plan p;
    struct buf why = { 0 };
    struct folder *f = &w->f[i];
    unsigned to = rng_below(&w->rng, 2) && w->znode.size ? w->znode.size : 1 + (unsigned)rng_below(&w->rng, SIZE_MAX_);
    struct quorum_change c = change_of(w, i, to);
    if (f->up || !f->exists) return;
    if (quorum_plan_size(&c, &p, &why) == 0) {
        assert_true(up(w) == 0 || (!p.changes_own && !p.changes_znode));
        w->shrunk += p.changes_own && to < f->own.size;
        w->changes += p.changes_own;
        if (p.changes_znode) w->znode = p.znode;
        if (p.changes_own && rng_below(&w->rng, 5)) f->own = p.own; /* else interrupted */
    } else if (strstr(buf_cstr(&why), "away") && rng_below(&w->rng, 4) == 0) {
        *f = (struct folder){ 0 };
    }
    buf_release(&why);
}

/* A copy that gets no id of its own is thrown away, as the documentation says. */
static void copy(struct world *w, int from, int to)
{
    struct quorum_plan p;
    struct buf why = { 0 };
    if (w->f[from].up || !w->f[from].exists || w->f[to].exists) return;
    w->f[to] = w->f[from];
    struct quorum_change c = change_of(w, to, w->f[to].own.size);
    if (quorum_plan_copy(&c, ++w->ids, &p, &why) == 0) {
        w->f[to].own = p.own;
        w->znode = p.znode;
        w->copies++;
    } else {
        w->f[to] = (struct folder){ 0 };
    }
    buf_release(&why);
}

static void one_step(struct world *w)
{
    int i = (int)rng_below(&w->rng, FOLDERS);
    switch (rng_below(&w->rng, 16)) {
    case 0: /* the end of all */
        for (int k = 0; k < FOLDERS; k++) end(w, k);
        break;
    case 1:
        end(w, i);
        break;
    case 2:
    case 3:
        change(w, i);
        break;
    case 4:
        copy(w, i, (int)rng_below(&w->rng, FOLDERS));
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        start(w, i);
        break;
    case 9:
    case 10:
        recover(w, i);
        break;
    case 11:
    case 12:
        elect(w, i);
        break;
    default:
        append(w);
    }
    if (w->leader >= 0) see_all(w, &w->znode);
}

static void whatever_an_operator_does(void **state)
{
    (void)state;
    unsigned elections = 0, changes = 0, copies = 0, shrunk = 0;
    uint64_t seed = random_seed("log_quorum_change");
    for (uint64_t n = 0; n < WORLDS; n++) {
        struct world w = { .rng = { seed + n }, .leader = -1 };
        for (int i = 0; i < STEPS; i++) one_step(&w);
        elections += w.elections;
        changes += w.changes;
        copies += w.copies;
        shrunk += w.shrunk;
    }
    print_message("%u elections, %u changes (%u smaller), %u copies\n", elections, changes, shrunk, copies);
    assert_true(elections && changes && copies && shrunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrinking_keeps_the_last_leader), cmocka_unit_test(growing_takes_every_replica),
        cmocka_unit_test(a_single_replica_grows),          cmocka_unit_test(what_is_in_the_way),
        cmocka_unit_test(copies_get_ids_of_their_own),     cmocka_unit_test(whatever_an_operator_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
