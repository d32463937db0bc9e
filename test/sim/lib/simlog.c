#include "test/sim/lib/simlog.h"

#include "core/buf.h"
#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

#define ELECTION_WAIT_US ((uint64_t)3 * ELECTION_TIMEOUT_MS * 1000)
#define READ_MAX_US 3000

struct log {
    struct node *node;
    unsigned users; /* this, and events on their way */
    bool closed;
    struct log_req *req; /* under way: an election or a write */
    bool elect_waits;    /* until the replica votes */
    struct log_req *read_req;
    uint64_t from, to;
    int (*on_entry)(uint64_t position, const void *bytes, size_t n, void *arg);
    void *entry_arg;
    bool following;
    void (*on_learned)(void *arg);
    void *learned_arg;
};

struct log_event {
    struct event e;
    struct log *log;
    void (*run)(struct log *l, int err);
    int err;
};

static void unref(struct log *l)
{
    if (--l->users == 0) free(l);
}

static void on_event(struct event *e)
{
    struct log_event *v = (struct log_event *)e;
    struct log *l = v->log;
    if (!l->closed && node_is_paused(l->node)) {
        e->at_us = l->node->resume_us;
        return;
    }
    if (!l->closed) v->run(l, v->err);
    unref(l);
}

static void later(struct log *l, uint64_t delay_us, void (*run)(struct log *l, int err), int err)
{
    struct log_event *v = world_after(&l->node->c->w, delay_us, sizeof(*v), on_event);
    v->log = l;
    v->run = run;
    v->err = err;
    l->users++;
}

static void finish(struct log *l, int err)
{
    struct log_req *r = l->req;
    l->req = NULL;
    l->elect_waits = false;
    if (!err) {
        r->position = l->node->next - 1;
        r->begin = l->node->replica.begin;
    }
    r->cb(r, err);
}

struct log *simlog_new(struct node *n)
{
    struct log *l = xcalloc(1, sizeof(*l));
    l->node = n;
    l->users = 1;
    return l;
}

void simlog_free(struct log *l)
{
    struct log_req *read = l->read_req;
    l->closed = true;
    l->read_req = NULL;
    if (l->req) finish(l, ERR_CLOSED);
    if (read) read->cb(read, ERR_CLOSED);
    unref(l);
}

void simlog_done(struct log *l, int err)
{
    assert(l->req);
    later(l, 0, finish, err);
}

void simlog_changed(struct log *l)
{
    if (l->elect_waits && node_is_ready(l->node)) {
        l->elect_waits = false;
        node_elect(l->node);
    }
    if (l->on_learned) l->on_learned(l->learned_arg);
}

/* ---- writing ---- */

static void give_up_waiting(struct log *l, int err)
{
    if (l->elect_waits) finish(l, err);
}

void log_elect(struct log *l, struct log_req *r)
{
    assert(!l->req);
    l->req = r;
    l->following = false;
    l->elect_waits = !node_is_ready(l->node);
    if (l->elect_waits)
        later(l, ELECTION_WAIT_US, give_up_waiting, ERR_TIMEOUT);
    else
        node_elect(l->node);
}

static void write_action(struct log *l, struct log_req *r, const struct action *a)
{
    assert(!l->req);
    l->req = r;
    if (node_is_writer(l->node))
        node_write(l->node, a);
    else
        later(l, 0, finish, ERR_REJECTED);
}

void log_append(struct log *l, struct log_req *r, const void *bytes, size_t n)
{
    write_action(l, r, &(struct action){ .type = ACTION_APPEND, .bytes = bytes, .n = n });
}

void log_truncate(struct log *l, struct log_req *r, uint64_t to)
{
    write_action(l, r, &(struct action){ .type = ACTION_TRUNCATE, .to = to });
}

/* ---- reading ---- */

static int give_records(struct log *l)
{
    int err = 0;
    for (uint64_t p = l->from; p <= l->to && !err; p++) {
        const struct action *a = node_record(l->node, p);
        if (!a || p < l->node->replica.begin) return ERR_NOT_FOUND; /* truncated since */
        if (a->type == ACTION_APPEND) err = l->on_entry(p, a->bytes, a->n, l->entry_arg);
    }
    return err;
}

static void read_records(struct log *l, int err)
{
    struct log_req *r = l->read_req;
    if (!err) err = give_records(l);
    l->read_req = NULL;
    r->cb(r, err < 0 ? err : 0);
}

void log_read(struct log *l, struct log_req *r, uint64_t from, uint64_t to,
              int (*on_entry)(uint64_t position, const void *bytes, size_t n, void *arg), void *arg)
{
    const struct replica *replica = &l->node->replica;
    assert(!l->read_req);
    assert(from <= to);
    l->read_req = r;
    l->from = from;
    l->to = to;
    l->on_entry = on_entry;
    l->entry_arg = arg;
    bool known = from >= replica->begin && to <= replica->end && replica_next_missing(replica, from, to) == UINT64_MAX;
    later(l, world_between(&l->node->c->w, 20, READ_MAX_US), read_records, known ? 0 : ERR_INVALID);
}

/* ---- following ---- */

/* The node catches up by itself until it is a writer. */
void log_follow(struct log *l, void (*on_learned)(void *arg), void *arg)
{
    l->following = true;
    l->on_learned = on_learned;
    l->learned_arg = arg;
}

void log_unfollow(struct log *l)
{
    l->following = false;
    l->on_learned = NULL;
}

uint64_t log_begin(const struct log *l)
{
    return l->node->replica.begin;
}

uint64_t log_known(const struct log *l, uint64_t from)
{
    const struct replica *r = &l->node->replica;
    if (from > r->end) return from;
    uint64_t missing = replica_next_missing(r, from, r->end);
    return missing == UINT64_MAX ? r->end + 1 : missing;
}

uint64_t log_heard(const struct log *l)
{
    const struct node *n = l->node;
    uint64_t last = n->replica.end;
    if (n->catchup.end > last) last = n->catchup.end;
    if (n->recover.end > last) last = n->recover.end;
    return last == 0 && replica_missing(&n->replica, 0) ? 0 : last + 1;
}

/* A node whose disk fails dies with it. */
int log_failure(const struct log *l)
{
    (void)l;
    return 0;
}

const char *log_error(const struct log *l)
{
    (void)l;
    return "";
}
