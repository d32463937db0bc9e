#include "test/sim/lib/checker.h"

#include "core/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define LL(x) ((unsigned long long)(x))

void checker_init(struct checker *c, unsigned nodes, unsigned quorum)
{
    assert(nodes <= SIM_NODES_MAX);
    *c = (struct checker){ .nodes = nodes, .quorum = quorum };
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) c->status[i] = REPLICA_EMPTY;
}

void checker_release(struct checker *c)
{
    for (size_t p = 0; p < c->n; p++) {
        for (size_t i = 0; i < c->slots[p].n; i++) free(c->slots[p].ballots[i].value);
        free(c->slots[p].ballots);
        free(c->slots[p].chosen);
    }
    free(c->slots);
}

void checker_fail(struct checker *c, const char *fmt, ...)
{
    if (checker_failed(c)) return; /* what follows from a violation explains nothing */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(c->text, sizeof(c->text), fmt, ap);
    va_end(ap);
    assert(n > 0);
}

static struct slot *slot_at(struct checker *c, uint64_t position)
{
    assert(position < 1u << 20);
    if (position >= c->n) {
        size_t n = (size_t)position + 64;
        c->slots = xrealloc(c->slots, n * sizeof(*c->slots));
        memset(c->slots + c->n, 0, (n - c->n) * sizeof(*c->slots));
        c->n = n;
    }
    return &c->slots[position];
}

/* A tombstone is a NOP that says more. */
static bool same(const struct action *a, const struct action *b)
{
    return (a->type == ACTION_NOP && b->type == ACTION_NOP) || action_same_value(a, b);
}

static struct message *copy(const struct action *a)
{
    return message_copy(&(struct message){ .kind = MESSAGE_LEARNED, .action = *a });
}

/* ---- what is accepted and chosen: 1, 2 ---- */

static void choose(struct checker *c, uint64_t position, const struct ballot *b)
{
    struct slot *s = slot_at(c, position);
    const struct action *a = &b->value->action;
    if (s->chosen && !same(&s->chosen->action, a)) checker_fail(c, "1: two values are chosen at %llu", LL(position));
    if (s->chosen && s->chosen_at <= b->proposal) return;
    free(s->chosen);
    s->chosen = copy(a);
    s->chosen_at = b->proposal;
    if (a->type == ACTION_TRUNCATE && a->to > c->truncated) c->truncated = a->to;
    for (size_t i = 0; i < s->n; i++)
        if (s->ballots[i].proposal > b->proposal && !same(&s->ballots[i].value->action, a))
            checker_fail(c, "2: number %llu was accepted at %llu with another value than %llu, which is chosen",
                         LL(s->ballots[i].proposal), LL(position), LL(b->proposal));
}

static struct ballot *ballot_of(struct slot *s, uint64_t proposal, const struct action *a)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->ballots[i].proposal == proposal && same(&s->ballots[i].value->action, a)) return &s->ballots[i];
    s->ballots = xrealloc(s->ballots, (s->n + 1) * sizeof(*s->ballots));
    s->ballots[s->n] = (struct ballot){ proposal, copy(a), 0 };
    return &s->ballots[s->n++];
}

static void accepted(struct checker *c, unsigned node, const struct action *a)
{
    struct slot *s = slot_at(c, a->position);
    if (s->chosen && a->performed > s->chosen_at && !same(&s->chosen->action, a))
        checker_fail(c, "2: node %u accepts another value at %llu under %llu than was chosen under %llu", node,
                     LL(a->position), LL(a->performed), LL(s->chosen_at));
    struct ballot *b = ballot_of(s, a->performed, a);
    b->nodes |= 1u << node;
    if ((unsigned)__builtin_popcount(b->nodes) >= c->quorum) choose(c, a->position, b);
}

void checker_durable(struct checker *c, unsigned node, const struct disk_op *op)
{
    if (op->origin == ORIGIN_METADATA) {
        if (op->promised < c->durable_promised[node])
            checker_fail(c, "6: the promise of node %u falls from %llu to %llu", node, LL(c->durable_promised[node]),
                         LL(op->promised));
        c->durable_promised[node] = op->promised;
        c->status[node] = op->status;
    } else if (op->origin == ORIGIN_WRITE) {
        accepted(c, node, &op->record->action);
    }
}

/* ---- one step of one replica: 6, 8, 10, 15 ---- */

static void check_learned(struct checker *c, unsigned node, const struct action *a)
{
    const struct slot *s = slot_at(c, a->position);
    if (a->type == ACTION_NOP && a->tombstone) {
        if (a->position >= c->truncated)
            checker_fail(c, "1: node %u learns a tombstone at %llu, which nobody truncated", node, LL(a->position));
    } else if (!s->chosen) {
        checker_fail(c, "1: node %u learns at %llu what nobody chose", node, LL(a->position));
    } else if (!same(&s->chosen->action, a)) {
        checker_fail(c, "1: node %u learns another value at %llu than was chosen", node, LL(a->position));
    }
}

/* A lower write takes the place of a higher one, which may be chosen: what follows may contradict anything. */
static void check_forgotten(struct checker *c, unsigned node, const struct message *request, const struct action *old,
                            const struct action *new)
{
    if (!old->has_performed || old->performed <= new->performed || old->learned) return;
    if (request->binding)
        checker_fail(c, "2: node %u replaces %llu at %llu by a lower write", node, LL(old->performed),
                     LL(new->position));
    c->n_forgotten++;
}

static void check_record(struct checker *c, unsigned node, const struct message *request, const struct action *old,
                         const struct action *new)
{
    uint64_t p = new->position;
    if (old && request->kind == MESSAGE_WRITE_REQUEST) check_forgotten(c, node, request, old, new);
    if (old && !old->learned && !new->learned &&new->promised < old->promised)
        checker_fail(c, "6: the promise of node %u at %llu falls", node, LL(p));
    if (old && old->learned && (!new->learned || !(same(old, new) || new->tombstone)))
        checker_fail(c, "15: node %u changes what it learned at %llu", node, LL(p));
    /* A lone replica learns with the write itself; the write's commit chooses. */
    if (new->learned && request->kind == MESSAGE_LEARNED) check_learned(c, node, new);
}

static void check_sets(struct checker *c, unsigned node, const struct replica *before, const struct replica *after)
{
    if (after->begin < before->begin) checker_fail(c, "10: begin of node %u falls", node);
    if (after->begin > after->end + 1) checker_fail(c, "10: begin of node %u is behind its end", node);
    if (after->begin > c->truncated && c->quorum > 1)
        checker_fail(c, "10: node %u begins at %llu, which nobody truncated", node, LL(after->begin));
    for (size_t i = 0; i < after->unlearned.n; i++) {
        struct interval u = after->unlearned.v[i];
        if (u.lo < after->begin || u.hi > after->end + 1)
            checker_fail(c, "10: unlearned positions of node %u are out of range", node);
        if (iset_next(&after->holes, u.lo) < u.hi) checker_fail(c, "10: node %u has a hole with a record", node);
    }
    if (after->holes.n && after->holes.v[after->holes.n - 1].hi > after->end + 1)
        checker_fail(c, "10: holes of node %u are out of range", node);
}

void checker_stepped(struct checker *c, unsigned node, const struct replica *before, const struct replica *after,
                     const struct message *request, const struct action *record, const struct replica_output *out)
{
    bool accepts = out->has_reply && out->reply.kind != MESSAGE_RECOVER_RESPONSE && out->reply.answer == ANSWER_ACCEPT;
    if (before->status != REPLICA_VOTING) {
        if (accepts) checker_fail(c, "8: node %u accepts and may not vote", node);
        if (after->promised != before->promised || (out->store_action && request->kind != MESSAGE_LEARNED))
            checker_fail(c, "8: node %u changes and may not vote", node);
    }
    if (after->promised < before->promised) checker_fail(c, "6: the promise of node %u falls", node);
    if (out->store_action) check_record(c, node, request, record, &out->action);
    check_sets(c, node, before, after);
}

/* ---- status: 12, 13 ---- */

void checker_status(struct checker *c, unsigned node, const struct replica *r, enum replica_status to, uint64_t begin,
                    uint64_t end)
{
    enum replica_status from = r->status;
    unsigned voting = 0;
    for (unsigned i = 0; i < c->nodes; i++) voting += c->status[i] == REPLICA_VOTING;
    if (to == REPLICA_STARTING && (from != REPLICA_EMPTY || voting))
        checker_fail(c, "13: node %u initialises beside %u voters", node, voting);
    if (to == REPLICA_VOTING && from == REPLICA_EMPTY) checker_fail(c, "13: node %u votes from nothing", node);
    if (to == REPLICA_VOTING && from == REPLICA_RECOVERING) {
        c->n_recoveries++;
        if (replica_next_missing(r, begin, end) != UINT64_MAX)
            checker_fail(c, "12: node %u votes and misses %llu", node, LL(replica_next_missing(r, begin, end)));
    }
}

/* ---- answers: 7, 9 ---- */

static void promised(struct checker *c, unsigned node, const struct disk *d, uint64_t proposal)
{
    if (d->promised < proposal)
        checker_fail(c, "7: node %u promised %llu, which is not on its disk", node, LL(proposal));
    if (c->promised[node] > proposal) checker_fail(c, "9: node %u promised %llu twice", node, LL(proposal));
    c->promised[node] = proposal + 1;
}

static void promised_at(struct checker *c, unsigned node, const struct disk *d, const struct message *m, uint64_t p)
{
    struct slot *s = slot_at(c, p);
    if (m->has_action && m->action.tombstone) return; /* nothing is promised about what is gone */
    const struct action *a = disk_read(d, p);
    bool kept = p < c->truncated || (a && (a->learned || a->promised >= m->proposal));
    if (!kept)
        checker_fail(c, "7: node %u promised %llu at %llu, which is not on its disk", node, LL(m->proposal), LL(p));
    /* What is learned promises nothing that matters: a learned message may set its number back. */
    if (m->has_action && m->action.learned) return;
    if (s->granted[node] > m->proposal)
        checker_fail(c, "9: node %u promised %llu at %llu twice", node, LL(m->proposal), LL(p));
    s->granted[node] = m->proposal + 1;
}

static void wrote(struct checker *c, unsigned node, const struct message *m)
{
    const struct slot *s = slot_at(c, m->position);
    for (size_t i = 0; i < s->n; i++)
        if (s->ballots[i].proposal == m->proposal && s->ballots[i].nodes & 1u << node) return;
    checker_fail(c, "7: node %u accepted %llu at %llu, which was not on its disk", node, LL(m->proposal),
                 LL(m->position));
}

void checker_answered(struct checker *c, unsigned node, const struct disk *d, const struct message *m,
                      const uint64_t *position)
{
    if (m->kind == MESSAGE_RECOVER_RESPONSE) {
        if (m->status == REPLICA_VOTING && c->status[node] != REPLICA_VOTING)
            checker_fail(c, "7: node %u says that it votes before that is on its disk", node);
        return;
    }
    if (m->answer != ANSWER_ACCEPT) return;
    if (c->status[node] != REPLICA_VOTING) checker_fail(c, "8: node %u accepts and may not vote", node);
    if (m->kind == MESSAGE_WRITE_RESPONSE)
        wrote(c, node, m);
    else if (position)
        promised_at(c, node, d, m, *position);
    else
        promised(c, node, d, m->proposal);
}

/* ---- restarts: 14 ---- */

void checker_restarted(struct checker *c, unsigned node, const struct replica *before, const struct replica *restored)
{
    bool equal = before->status == restored->status && before->promised == restored->promised &&
                 before->begin == restored->begin && before->end == restored->end &&
                 iset_eq(&before->holes, &restored->holes) && iset_eq(&before->unlearned, &restored->unlearned);
    if (!equal) checker_fail(c, "14: node %u comes back in another state", node);
}

void checker_disk_lost(struct checker *c, unsigned node)
{
    c->promised[node] = c->durable_promised[node] = 0;
    c->status[node] = REPLICA_EMPTY;
    for (size_t p = 0; p < c->n; p++) c->slots[p].granted[node] = 0;
}

/* ---- writers and readers: 3, 4, 5, 11 ---- */

void checker_elected(struct checker *c, unsigned node, const struct submission *s, uint64_t proposal, uint64_t last,
                     const struct replica *r, const struct action *(*record)(void *arg, uint64_t position), void *arg)
{
    c->n_elections++;
    if (proposal > c->elected) c->elected = proposal;
    if (replica_next_missing(r, 0, last) != UINT64_MAX)
        checker_fail(c, "11: node %u is elected and misses %llu", node, LL(replica_next_missing(r, 0, last)));
    if (s->floor > last + 1)
        checker_fail(c, "3: node %u is elected at %llu, but %llu was acknowledged", node, LL(last), LL(s->floor - 1));
    for (uint64_t p = r->begin; p <= last && !checker_failed(c); p++) {
        const struct action *a = record(arg, p);
        const struct slot *slot = slot_at(c, p);
        if (!a || !a->learned)
            checker_fail(c, "11: node %u is elected and has not learned %llu", node, LL(p));
        else if (!a->tombstone && (!slot->chosen || !same(a, &slot->chosen->action)))
            checker_fail(c, "3: node %u reads at %llu what was not chosen", node, LL(p));
    }
}

struct submission checker_submitted(struct checker *c, uint64_t proposal)
{
    if (proposal != UINT64_MAX) c->n_submitted++;
    return (struct submission){ c->elected > proposal, c->floor };
}

void checker_acknowledged(struct checker *c, unsigned node, const struct submission *s, uint64_t position,
                          const struct action *value, const struct replica *r)
{
    struct slot *slot = slot_at(c, position);
    c->n_acknowledged++;
    if (value->type == ACTION_TRUNCATE) c->n_truncations++;
    if (s->outvoted) checker_fail(c, "5: node %u writes %llu after a later election", node, LL(position));
    if (!slot->chosen || !same(value, &slot->chosen->action))
        checker_fail(c, "3: node %u acknowledges %llu, which is not what was chosen", node, LL(position));
    if (slot->acknowledged || position < s->floor)
        checker_fail(c, "4: node %u acknowledges %llu behind what was acknowledged before", node, LL(position));
    if (replica_missing(r, position))
        checker_fail(c, "11: node %u acknowledges %llu and has not learned it", node, LL(position));
    slot->acknowledged = true;
    if (position >= c->floor) c->floor = position + 1;
}
