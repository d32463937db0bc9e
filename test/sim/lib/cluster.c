#include "test/sim/lib/cluster.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "log/wire.h"

#include <assert.h>
#include <stdlib.h>

#define LAZY_US 50000 /* log/local.h */

static void drive(struct node *n);

/* ---- network ---- */

struct envelope {
    struct event e;
    struct cluster *c;
    unsigned from, to;
    uint64_t number;
    bool is_answer;
    enum message_kind kind;
    size_t n;
    uint8_t body[];
};

static void on_answer(struct node *n, unsigned from, uint64_t number, const struct message *m);

static bool is_foreign(const struct node *n)
{
    return n->c->foreign >> n->id & 1;
}

static void enqueue(struct node *n, unsigned from, uint64_t number, const struct message *m)
{
    struct request *r = xcalloc(1, sizeof(*r));
    *r = (struct request){ .m = message_copy(m), .from = from, .number = number };
    if (is_foreign(n)) r->m->binding = false;
    *n->tail = r;
    n->tail = &r->next;
}

/* Whether the event has to wait until the node goes on. */
static bool put_off(struct event *e, const struct node *n)
{
    if (!node_is_paused(n)) return false;
    e->at_us = n->resume_us;
    return true;
}

static void on_envelope(struct event *e)
{
    struct envelope *v = (struct envelope *)e;
    struct node *n = &v->c->nodes[v->to];
    struct arena a = { 0 };
    struct message m;
    if (put_off(e, n)) return;
    if (!n->up || v->c->cut[v->from][v->to]) return;
    if (message_decode(v->kind, v->body, v->n, &a, &m) != 0)
        checker_fail(&v->c->check, "17: node %u sent a message that breaks the protocol", v->from);
    else if (v->is_answer)
        on_answer(n, v->from, v->number, &m);
    else
        enqueue(n, v->from, v->number, &m);
    arena_release(&a);
    drive(n);
}

static uint64_t message_delay(struct cluster *c)
{
    uint64_t max = world_chance(&c->w, c->faults.late) ? c->faults.late_max_us : c->faults.delay_max_us;
    return world_between(&c->w, 50, max);
}

static void send_to(struct node *n, unsigned to, uint64_t number, bool is_answer, const struct message *m)
{
    struct cluster *c = n->c;
    struct buf body = { 0 };
    message_encode(m, &body);
    for (unsigned copies = 1 + world_chance(&c->w, c->faults.repeat); copies; copies--) {
        if (c->cut[n->id][to] || world_chance(&c->w, c->faults.lose)) continue;
        if (m->kind == MESSAGE_LEARNED && world_chance(&c->w, c->faults.lose_learned)) continue;
        struct envelope *v = world_after(&c->w, message_delay(c), sizeof(*v) + body.len, on_envelope);
        v->c = c;
        v->from = n->id;
        v->to = to;
        v->number = number;
        v->is_answer = is_answer;
        v->kind = m->kind;
        v->n = body.len;
        if (body.len) memcpy(v->body, body.data, body.len);
        c->messages++;
    }
    buf_release(&body);
}

/* To all members; the own replica gets it in-process. */
static void broadcast(struct node *n, uint64_t number, const struct message *m)
{
    struct message sent = *m;
    if (is_foreign(n)) sent.binding = false;
    enqueue(n, n->id, number, &sent);
    for (unsigned i = 0; i < n->c->n; i++)
        if (i != n->id && n->members & 1u << i) send_to(n, i, number, false, &sent);
}

/* ---- what the roles want ---- */

static bool carry_out(struct node *n, const struct coordinator_output *out)
{
    if (out->has_request) broadcast(n, out->request, &out->message);
    if (out->has_learned && out->for_own)
        enqueue(n, n->id, 0, &out->learned);
    else if (out->has_learned)
        broadcast(n, 0, &out->learned);
    return out->has_request || out->has_learned;
}

static void start_catchup(struct node *n)
{
    struct coordinator_output out;
    catchup_start(&n->catchup, world_ms(&n->c->w), &out);
    carry_out(n, &out);
}

/* What does not write keeps up with what does. */
static void finish(struct node *n, int err)
{
    enum doing what = n->doing;
    n->doing = DOING_NOTHING;
    free(n->value);
    n->value = NULL;
    if (err) start_catchup(n);
    n->c->on_done(n, what, err);
}

static const struct action *in_commit(const struct commit *c, uint64_t position)
{
    for (size_t i = c->n; i-- > 0;)
        if (c->ops[i].record && c->ops[i].record->action.position == position) return &c->ops[i].record->action;
    return NULL;
}

const struct action *node_record(const struct node *n, uint64_t position)
{
    const struct action *a = in_commit(&n->batch, position);
    if (!a) a = in_commit(&n->running, position);
    return a ? a : disk_read(&n->disk, position);
}

static const struct action *newest(void *arg, uint64_t position)
{
    return node_record(arg, position);
}

static void won(struct node *n, uint64_t last)
{
    checker_elected(&n->c->check, n->id, &n->submission, n->writer.proposal, last, &n->replica, newest, n);
    n->next = last + 1;
}

static void written(struct node *n, uint64_t position)
{
    if (position != n->next) checker_fail(&n->c->check, "4: node %u skips a position", n->id);
    checker_acknowledged(&n->c->check, n->id, &n->submission, position, &n->value->action, &n->replica);
    n->next = position + 1;
}

static bool carry_out_writer(struct node *n, const struct coordinator_output *out)
{
    bool more = carry_out(n, out);
    if (!out->done) return more;
    if (!out->err && n->doing == DOING_ELECTION) won(n, out->position);
    if (!out->err && n->doing == DOING_WRITE) written(n, out->position);
    finish(n, out->err);
    return true;
}

static bool carry_out_recovery(struct node *n, const struct recover_output *out)
{
    bool more = carry_out(n, &out->to);
    if (out->has_metadata) {
        struct replica_output stored;
        checker_status(&n->c->check, n->id, &n->replica, out->status, n->recover.begin, n->recover.end);
        replica_set_metadata(&n->replica, out->status, out->promised, &stored);
        commit_metadata(&n->batch, out->status, out->promised);
        n->urgent = n->recover_stores = true;
    }
    if (out->done) {
        n->recovering = false;
        n->changed = true;
        start_catchup(n);
    }
    return more || out->has_metadata || out->done;
}

static void on_answer(struct node *n, unsigned from, uint64_t number, const struct message *m)
{
    unsigned member = (from + n->c->n - n->id) % n->c->n;
    uint64_t now = world_ms(&n->c->w);
    struct coordinator_output out;
    struct recover_output recovery;
    coordinator_answer(&n->writer, number, member, m, now, &out);
    carry_out_writer(n, &out);
    catchup_answer(&n->catchup, number, member, m, now, &out);
    carry_out(n, &out);
    if (!n->recovering) return;
    recover_answer(&n->recover, number, member, m, now, &recovery);
    carry_out_recovery(n, &recovery);
}

/* ---- the replica and its disk ---- */

static void answers_add(struct answers *a, struct answer_out out)
{
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 8;
        a->v = xrealloc(a->v, a->cap * sizeof(*a->v));
    }
    a->v[a->n++] = out;
}

static void answers_release(struct answers *a)
{
    for (size_t i = 0; i < a->n; i++) free(a->v[i].m);
    free(a->v);
    *a = (struct answers){ 0 };
}

static void answer_now(struct node *n, struct answers *leaving)
{
    struct answers a = *leaving;
    *leaving = (struct answers){ 0 };
    for (size_t i = 0; i < a.n; i++) {
        const struct answer_out *out = &a.v[i];
        checker_answered(&n->c->check, n->id, &n->disk, out->m, out->implicit ? NULL : &out->position);
        if (out->to == n->id)
            on_answer(n, n->id, out->number, out->m);
        else
            send_to(n, out->to, out->number, true, out->m);
    }
    answers_release(&a);
}

static struct request *pop(struct node *n)
{
    struct request *r = n->head;
    n->head = r->next;
    if (!n->head) n->tail = &n->head;
    return r;
}

static void request_free(struct request *r)
{
    free(r->m);
    free(r);
}

/* A copy without sets; enough to see what a step has changed. */
static struct replica outline(const struct replica *r)
{
    return (struct replica){ .status = r->status, .promised = r->promised, .begin = r->begin, .end = r->end };
}

static void keep(struct node *n, const struct message *request, const struct replica_output *out)
{
    enum origin o = request->kind == MESSAGE_WRITE_REQUEST ? ORIGIN_WRITE
                    : request->kind == MESSAGE_LEARNED     ? ORIGIN_LEARNED
                                                           : ORIGIN_PROMISE;
    if (out->store_metadata) commit_metadata(&n->batch, n->replica.status, n->replica.promised);
    if (out->store_action) commit_record(&n->batch, o, &out->action);
    /* A tombstone holds `begin` itself, so it stays. */
    uint64_t below = out->action.type == ACTION_TRUNCATE ? out->action.to : out->action.position;
    if (out->purge && below > n->batch.purge_below) n->batch.purge_below = below;
}

static void step(struct node *n, const struct action *record)
{
    struct request *r = pop(n);
    struct replica before = outline(&n->replica);
    struct replica_output out;
    const struct action *old = node_record(n, r->m->kind == MESSAGE_LEARNED ? r->m->action.position : r->m->position);
    replica_step(&n->replica, r->m, record, &out);
    checker_stepped(&n->c->check, n->id, &before, &n->replica, r->m, old, &out);
    n->changed = true;
    keep(n, r->m, &out);
    if (out.has_reply) {
        bool implicit = r->m->kind == MESSAGE_PROMISE_REQUEST && !r->m->has_position;
        answers_add(&n->waiting,
                    (struct answer_out){ r->from, r->number, message_copy(&out.reply), implicit, r->m->position });
    }
    request_free(r);
}

struct ending {
    struct event e;
    struct node *node;
    uint64_t life, at_us; /* at_us: when it was to be */
};

static void on_commit_end(struct event *e);

static void start_commit(struct node *n)
{
    struct cluster *c = n->c;
    assert(!n->committing);
    n->running = n->batch;
    n->leaving = n->waiting;
    n->batch = (struct commit){ 0 };
    n->waiting = (struct answers){ 0 };
    n->committing = true;
    n->urgent = false;
    n->lazy_at_us = UINT64_MAX;
    n->recover_stored = n->recover_stores;
    n->recover_stores = false;
    uint64_t max = world_chance(&c->w, c->faults.stall) ? c->faults.stall_max_us : c->faults.disk_max_us;
    struct ending *end = world_after(&c->w, world_between(&c->w, 50, max), sizeof(*end), on_commit_end);
    end->node = n;
    end->life = n->life;
}

/* The first n of its ops are on the disk. */
static void land(struct node *n, size_t ops)
{
    disk_apply(&n->disk, &n->running, ops);
    for (size_t i = 0; i < ops; i++) checker_durable(&n->c->check, n->id, &n->running.ops[i]);
}

static void stopped(struct node *n)
{
    node_crash(n);
    n->c->on_down(n);
}

static void on_commit_end(struct event *e)
{
    const struct ending *end = (struct ending *)e;
    struct node *n = end->node;
    struct cluster *c = n->c;
    if (!n->up || n->life != end->life) return;
    bool stored = false;
    if (put_off(e, n)) return;
    if (n->full || world_chance(&c->w, c->faults.fail) || world_chance(&c->w, c->faults.crash)) {
        stopped(n);
        return;
    }
    land(n, n->running.n);
    commit_release(&n->running);
    n->committing = false;
    stored = n->recover_stored;
    n->recover_stored = false;
    answer_now(n, &n->leaving);
    if (stored) {
        struct recover_output out;
        recover_stored(&n->recover, world_ms(&c->w), &out);
        carry_out_recovery(n, &out);
    }
    drive(n);
}

static void commit_or_wait(struct node *n)
{
    if (!n->batch.n)
        answer_now(n, &n->waiting);
    else if (n->urgent || n->waiting.n || n->lazy_at_us <= n->c->w.now_us)
        start_commit(n);
    else if (n->lazy_at_us == UINT64_MAX)
        n->lazy_at_us = n->c->w.now_us + LAZY_US;
}

static void step_queue(struct node *n)
{
    uint64_t position;
    while (n->head) {
        bool reads = replica_reads(&n->replica, n->head->m, &position);
        if (reads && n->batch.n) {
            n->urgent = true; /* the record may be among what is not stored yet */
            return;
        }
        step(n, reads ? disk_read(&n->disk, position) : NULL);
    }
}

/* Answers may bring new requests to the own replica. */
static void pump(struct node *n)
{
    while (!n->committing) {
        step_queue(n);
        commit_or_wait(n);
        if (!n->head && !n->urgent) return;
    }
}

/* ---- time ---- */

static bool advance(struct node *n)
{
    uint64_t now = world_ms(&n->c->w);
    struct coordinator_output out;
    struct recover_output recovery;
    coordinator_advance(&n->writer, now, &out);
    bool more = carry_out_writer(n, &out);
    catchup_advance(&n->catchup, now, &out);
    more = carry_out(n, &out) || more;
    if (!n->recovering) return more;
    recover_advance(&n->recover, now, &recovery);
    return carry_out_recovery(n, &recovery) || more;
}

static uint64_t earlier(uint64_t a_us, uint64_t b_ms)
{
    uint64_t b_us = b_ms == UINT64_MAX ? UINT64_MAX : b_ms * 1000;
    return a_us < b_us ? a_us : b_us;
}

static void on_wake(struct event *e)
{
    struct ending *wake = (struct ending *)e;
    struct node *n = wake->node;
    if (!n->up || n->life != wake->life || n->wake_at_us != wake->at_us) return;
    if (node_is_paused(n)) {
        e->at_us = n->resume_us + 1000; /* behind all that came */
        return;
    }
    n->wake_at_us = UINT64_MAX;
    drive(n);
}

static void arm(struct node *n)
{
    uint64_t at = n->committing ? UINT64_MAX : n->lazy_at_us;
    at = earlier(at, coordinator_deadline(&n->writer));
    at = earlier(at, catchup_deadline(&n->catchup));
    if (n->recovering) at = earlier(at, recover_deadline(&n->recover));
    if (at == UINT64_MAX || at >= n->wake_at_us) return;
    if (at <= n->c->w.now_us) at = n->c->w.now_us + 1000;
    struct ending *wake = world_after(&n->c->w, at - n->c->w.now_us, sizeof(*wake), on_wake);
    wake->node = n;
    wake->life = n->life;
    n->wake_at_us = wake->at_us = at;
}

static void drive(struct node *n)
{
    do {
        if (!n->up || checker_failed(&n->c->check)) return;
        pump(n);
    } while (advance(n));
    arm(n);
    if (!n->changed || !n->c->on_changed) return;
    n->changed = false;
    n->c->on_changed(n);
}

/* ---- life and death ---- */

static void restore(struct node *n, struct replica *r)
{
    replica_init(r);
    replica_restore_metadata(r, n->disk.status, n->disk.promised);
    for (uint64_t p = 0; p < n->disk.n; p++)
        if (disk_read(&n->disk, p)) replica_restore_action(r, disk_read(&n->disk, p));
}

void node_start(struct node *n)
{
    struct cluster *c = n->c;
    assert(!n->up);
    const struct coordinator_config writer = { .quorum = c->quorum,
                                               .seed = rng_next(&c->w.rng),
                                               .election_timeout_ms = ELECTION_TIMEOUT_MS,
                                               .election_attempts = 3,
                                               .write_timeout_ms = 700,
                                               .fill_timeout_ms = 10000 };
    const struct recover_config recover = { c->quorum, c->auto_initialize, rng_next(&c->w.rng) };
    n->up = true;
    n->resume_us = 0;
    n->life++;
    n->tail = &n->head;
    n->lazy_at_us = n->wake_at_us = UINT64_MAX;
    restore(n, &n->replica);
    coordinator_init(&n->writer, &writer, &n->replica);
    recover_init(&n->recover, &recover, &n->replica);
    catchup_init(&n->catchup, c->quorum, rng_next(&c->w.rng), &n->replica);
    node_set_members(n, n->members);
    n->recovering = true;
    struct recover_output out;
    recover_start(&n->recover, world_ms(&c->w), &out);
    carry_out_recovery(n, &out);
    drive(n);
}

/* A commit that was under way: all of it, nothing, or a first part got to the disk. */
static void tear(struct node *n)
{
    switch (rng_below(&n->c->w.rng, 3)) {
    case 0:
        break;
    case 1:
        land(n, n->running.n);
        break;
    default:
        land(n, rng_below(&n->c->w.rng, n->running.n + 1));
    }
}

void node_crash(struct node *n)
{
    struct replica restored;
    assert(n->up);
    bool clean = !n->committing && !n->batch.n;
    if (n->committing) tear(n);
    restore(n, &restored);
    if (clean) checker_restarted(&n->c->check, n->id, &n->replica, &restored);
    replica_release(&restored);
    while (n->head) request_free(pop(n));
    commit_release(&n->batch);
    commit_release(&n->running);
    answers_release(&n->waiting);
    answers_release(&n->leaving);
    coordinator_release(&n->writer);
    recover_release(&n->recover);
    catchup_release(&n->catchup);
    replica_release(&n->replica);
    free(n->value);
    n->value = NULL;
    n->doing = DOING_NOTHING;
    n->up = n->committing = n->urgent = n->recovering = n->recover_stores = n->recover_stored = false;
    n->c->crashes++;
}

bool node_is_paused(const struct node *n)
{
    return n->up && n->resume_us > n->c->w.now_us;
}

void node_pause(struct node *n, uint64_t us)
{
    assert(n->up);
    n->resume_us = n->c->w.now_us + us;
}

void node_lose_disk(struct node *n)
{
    assert(!n->up);
    disk_release(&n->disk);
    checker_disk_lost(&n->c->check, n->id);
    n->c->lost_disks++;
}

void node_set_members(struct node *n, unsigned members)
{
    assert(members & 1u << n->id);
    n->members = members;
    if (!n->up) return;
    unsigned count = (unsigned)__builtin_popcount(members);
    coordinator_members(&n->writer, count);
    recover_members(&n->recover, count);
    catchup_members(&n->catchup, count);
}

/* ---- its client ---- */

bool node_is_ready(const struct node *n)
{
    return n->up && !n->recovering && n->doing == DOING_NOTHING;
}

bool node_is_writer(const struct node *n)
{
    return node_is_ready(n) && n->writer.state == COORDINATOR_ELECTED;
}

void node_elect(struct node *n)
{
    struct coordinator_output out;
    assert(node_is_ready(n));
    if (n->writer.state == COORDINATOR_ELECTED) coordinator_demote(&n->writer);
    catchup_stop(&n->catchup);
    n->doing = DOING_ELECTION;
    n->submission = checker_submitted(&n->c->check, UINT64_MAX);
    coordinator_elect(&n->writer, world_ms(&n->c->w), &out);
    carry_out_writer(n, &out);
    drive(n);
}

void node_write(struct node *n, const struct action *value)
{
    struct coordinator_output out;
    assert(node_is_writer(n));
    n->value = message_copy(&(struct message){ .kind = MESSAGE_WRITE_REQUEST, .action = *value });
    n->submission = checker_submitted(&n->c->check, n->writer.proposal);
    n->doing = DOING_WRITE;
    coordinator_write(&n->writer, &n->value->action, world_ms(&n->c->w), &out);
    carry_out_writer(n, &out);
    drive(n);
}

/* No two appends of a run have the same bytes. */
void node_append(struct node *n)
{
    uint64_t id = ++n->c->next_value;
    node_write(n, &(struct action){ .type = ACTION_APPEND, .bytes = &id, .n = 1 + (id > 255) + (id > 65535) });
}

void node_truncate(struct node *n, uint64_t to)
{
    node_write(n, &(struct action){ .type = ACTION_TRUNCATE, .to = to });
}

void node_resign(struct node *n)
{
    assert(node_is_writer(n));
    coordinator_demote(&n->writer);
    start_catchup(n);
    drive(n);
}

/* ---- the whole ---- */

void cluster_init(struct cluster *c, uint64_t seed, unsigned n, bool auto_initialize)
{
    *c = (struct cluster){ .n = n, .quorum = n / 2 + 1, .auto_initialize = auto_initialize };
    world_init(&c->w, seed);
    checker_init(&c->check, n, c->quorum);
    for (unsigned i = 0; i < n; i++) {
        struct node *node = &c->nodes[i];
        node->c = c;
        node->id = i;
        node->members = (1u << n) - 1;
        disk_init(&node->disk);
        if (auto_initialize) continue;
        node->disk.status = c->check.status[i] = REPLICA_VOTING;
    }
}

void cluster_release(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].up) node_crash(&c->nodes[i]);
        disk_release(&c->nodes[i].disk);
    }
    checker_release(&c->check);
    world_release(&c->w);
}
