#include "log/quorum_change.h"

#include "core/err.h"

#include <assert.h>
#include <inttypes.h>

static int refuse(struct buf *why, const char *text)
{
    buf_adds(why, text);
    return ERR_INVALID;
}

static bool has_seen(const struct quorum_record *r, uint64_t replica)
{
    for (unsigned i = 0; i < r->n_seen; i++)
        if (r->seen[i] == replica) return true;
    return false;
}

static bool grows(const struct quorum_change *c)
{
    return c->to > c->own.size;
}

/* The group has the new size, this folder has not. */
static bool has_begun(const struct quorum_change *c)
{
    return c->znode.size == c->to && c->znode.changes == c->own.changes + 1;
}

/* Nobody has led since a change for which this folder, or the one that it is a copy of, was the one with everything. */
static bool is_source(const struct quorum_change *c)
{
    const struct quorum_record *z = &c->znode;
    bool own_change = z->changes == c->own.changes || has_begun(c);
    return z->size && own_change && z->replica == 0 && z->n_seen && z->seen[0] == c->own.replica;
}

/* Whether this folder is known to hold all that was acknowledged. A single replica does, however it ended. */
static bool has_everything(const struct quorum_change *c)
{
    if (is_source(c)) return true;
    if (c->own.size == 1) return c->znode.size == 0 || c->znode.replica == c->own.replica;
    return c->znode.replica == c->own.replica && c->complete;
}

static int refuse_incomplete(const struct quorum_change *c, struct buf *why)
{
    if (has_begun(c))
        buf_adds(why, "the size was changed elsewhere: move the folder away, the log is fetched from the others");
    else if (c->znode.size && grows(c))
        buf_adds(why, "this replica was replaced by others while it was away, so what it has is out of date; move the "
                      "folder away");
    else if (c->znode.size == 0 || c->znode.replica == 0)
        buf_addf(
            why,
            "nobody knows which replica has everything: start all with -native_log_quorum_size=%u first, until one "
            "has led",
            c->own.size);
    else if (c->znode.replica != c->own.replica)
        buf_addf(why,
                 "replica %016" PRIx64 " led last and has everything, this one is %016" PRIx64
                 ": run this where that one is",
                 c->znode.replica, c->own.replica);
    else
        buf_addf(why,
                 "this was not stopped in order while it led, so the folder may lack the last entry: start all with "
                 "-native_log_quorum_size=%u once more, until one has led, and stop them with SIGTERM",
                 c->own.size);
    return ERR_INVALID;
}

static int check(const struct quorum_change *c, struct buf *why)
{
    if (c->to < 1 || c->to > LIMIT_LOG_QUORUM) {
        buf_addf(why, "-native_log_quorum_size=%u is not between 1 and %d", c->to, LIMIT_LOG_QUORUM);
        return ERR_INVALID;
    }
    if (!c->votes) return refuse(why, "this folder does not hold the log: move it away, there is nothing to keep");
    if (c->members) {
        buf_addf(
            why,
            "%u schedulers are registered: stop all of them first (one that was killed goes when its session ends)",
            c->members);
        return ERR_INVALID;
    }
    if (c->znode.size == 0 || has_begun(c)) return 0;
    if (c->znode.size == c->own.size && c->znode.changes == c->own.changes) return 0;
    if (c->znode.changes > c->own.changes && c->znode.size == c->to)
        buf_adds(why, "this folder is from before the quorum size was changed, so what it has is out of date; move it "
                      "away");
    else
        buf_addf(why, "the group in ZooKeeper has quorum size %u already; set -native_log_quorum_size=%u",
                 c->znode.size, c->znode.size);
    return ERR_INVALID;
}

/* Only `replica` is known to have anything. */
static void forget_others(struct quorum_record *r, uint64_t replica)
{
    r->seen[0] = replica;
    r->n_seen = 1;
}

/* It comes first, so that its copies can be told. */
static void name_source(struct quorum_record *z, uint64_t replica)
{
    unsigned n = 1;
    for (unsigned i = 0; i < z->n_seen; i++) n += z->seen[i] != replica;
    for (unsigned i = z->n_seen, at = n; i-- > 0;)
        if (z->seen[i] != replica) z->seen[--at] = z->seen[i];
    z->seen[0] = replica;
    z->n_seen = n;
}

static void plan(const struct quorum_change *c, bool everything, struct quorum_plan *p)
{
    struct quorum_record *z = &p->znode;
    *p = (struct quorum_plan){ .changes_own = true, .znode = c->znode, .own = c->own };
    z->size = p->own.size = c->to;
    z->changes = p->own.changes = c->own.changes + 1;
    if (!grows(c)) forget_others(z, c->own.replica);
    if (!grows(c)) forget_others(&p->own, c->own.replica);
    if (everything) {
        name_source(z, c->own.replica);
        z->replica = 0;
    }
    p->changes_znode = !quorum_record_eq(z, &c->znode);
    p->may_be_copied = everything;
}

int quorum_plan_size(const struct quorum_change *c, struct quorum_plan *ret, struct buf *why)
{
    int err = check(c, why);
    if (err) return err;
    if (c->own.size == c->to) {
        *ret = (struct quorum_plan){ .znode = c->znode, .own = c->own, .may_be_copied = is_source(c) };
        return 0;
    }
    bool everything = has_everything(c);
    if (!everything && !(grows(c) && has_seen(&c->znode, c->own.replica))) return refuse_incomplete(c, why);
    plan(c, everything, ret);
    return 0;
}

int quorum_plan_copy(const struct quorum_change *c, uint64_t replica, struct quorum_plan *ret, struct buf *why)
{
    struct quorum_change alone = *c;
    assert(replica != 0);
    alone.members = 0; /* the others may wait for it already */
    int err = check(&alone, why);
    if (err) return err;
    if (c->own.size != c->to || c->znode.size != c->to || c->own.changes != c->znode.changes)
        return refuse(why,
                      "copies are for after `aurora-scheduler log set-quorum`, and made from the folder it was run on");
    if (c->znode.replica != 0)
        return refuse(why, "somebody has led since the size was changed: move the folder away, the log is fetched from "
                           "the others");
    if (!is_source(c))
        return refuse(why, "this is no copy of the folder on which the size was changed, or it has an id of its own "
                           "already");
    *ret = (struct quorum_plan){ .changes_znode = true, .changes_own = true, .znode = c->znode, .own = c->own };
    (void)quorum_claim(&ret->znode, &replica, 1);
    ret->own.replica = replica;
    forget_others(&ret->own, replica);
    return 0;
}
