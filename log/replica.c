#include "log/replica.h"

#include <assert.h>

void replica_init(struct replica *r)
{
    *r = (struct replica){ .status = REPLICA_EMPTY };
    iset_add(&r->holes, 0, 1);
}

void replica_release(struct replica *r)
{
    iset_release(&r->holes);
    iset_release(&r->unlearned);
}

/* Position `begin` is kept, all below are gone. */
static bool raise_begin(struct replica *r, uint64_t begin)
{
    if (begin <= r->begin) return false;
    r->begin = begin;
    iset_remove(&r->holes, 0, begin);
    iset_remove(&r->unlearned, 0, begin);
    return true;
}

/* Counts a record in. Returns whether it moved begin. */
static bool note(struct replica *r, const struct action *a)
{
    uint64_t p = a->position;
    if (p > r->end) {
        iset_add(&r->holes, r->end + 1, p);
        r->end = p;
    }
    if (p >= r->begin) {
        iset_remove(&r->holes, p, p + 1);
        if (a->learned)
            iset_remove(&r->unlearned, p, p + 1);
        else
            iset_add(&r->unlearned, p, p + 1);
    }
    if (!a->learned) return false;
    if (a->type == ACTION_TRUNCATE) return raise_begin(r, a->to);
    return a->type == ACTION_NOP && a->tombstone && raise_begin(r, p + 1);
}

void replica_restore_metadata(struct replica *r, enum replica_status status, uint64_t promised)
{
    r->status = status;
    r->promised = promised;
}

void replica_restore_action(struct replica *r, const struct action *a)
{
    note(r, a);
}

bool replica_missing(const struct replica *r, uint64_t position)
{
    if (position < r->begin) return false;
    return position > r->end || iset_has(&r->holes, position) || iset_has(&r->unlearned, position);
}

uint64_t replica_next_missing(const struct replica *r, uint64_t from, uint64_t to)
{
    if (from < r->begin) from = r->begin;
    uint64_t hole = iset_next(&r->holes, from), unlearned = iset_next(&r->unlearned, from);
    uint64_t beyond = from > r->end ? from : r->end + 1;
    uint64_t next = hole < unlearned ? hole : unlearned;
    if (beyond < next) next = beyond;
    return next <= to ? next : UINT64_MAX;
}

static bool has_record(const struct replica *r, uint64_t position)
{
    return position >= r->begin && position <= r->end && !iset_has(&r->holes, position);
}

bool replica_reads(const struct replica *r, const struct message *request, uint64_t *ret_position)
{
    bool explicit_promise = request->kind == MESSAGE_PROMISE_REQUEST && request->has_position;
    if (!explicit_promise && request->kind != MESSAGE_WRITE_REQUEST) return false;
    if (r->status != REPLICA_VOTING || !has_record(r, request->position)) return false;
    *ret_position = request->position;
    return true;
}

static void store(struct replica *r, const struct action *a, struct replica_output *out)
{
    assert(!a->learned || a->type != ACTION_NONE);
    assert(a->type != ACTION_TRUNCATE || a->to <= a->position);
    out->store_action = true;
    out->action = *a;
    out->purge = note(r, a);
}

/* ---- promises ---- */

static void answer(struct replica_output *out, enum answer a, uint64_t proposal)
{
    out->has_reply = true;
    out->reply.answer = a;
    out->reply.proposal = proposal;
}

static void implicit_promise(struct replica *r, uint64_t proposal, struct replica_output *out)
{
    if (proposal <= r->promised) {
        answer(out, ANSWER_REJECT, r->promised);
        return;
    }
    r->promised = proposal;
    out->store_metadata = true;
    answer(out, ANSWER_ACCEPT, proposal);
    out->reply.has_position = true;
    out->reply.position = r->end;
}

/* The position was truncated: nobody needs to know what it held. */
static void promise_truncated(const struct replica *r, const struct message *q, struct replica_output *out)
{
    answer(out, ANSWER_ACCEPT, q->proposal);
    out->reply.has_action = true;
    out->reply.action = (struct action){ .position = q->position,
                                         .promised = r->promised,
                                         .has_performed = true,
                                         .performed = r->promised,
                                         .has_learned = true,
                                         .learned = true,
                                         .type = ACTION_NOP,
                                         .tombstone = true };
}

static void promise_unwritten(struct replica *r, const struct message *q, struct replica_output *out)
{
    if (q->proposal <= r->promised) {
        answer(out, ANSWER_REJECT, r->promised);
        return;
    }
    store(r, &(struct action){ .position = q->position, .promised = q->proposal }, out);
    answer(out, ANSWER_ACCEPT, q->proposal);
    out->reply.has_position = true;
    out->reply.position = q->position;
}

static void promise_written(struct replica *r, const struct message *q, const struct action *record,
                            struct replica_output *out)
{
    if (q->proposal <= record->promised) {
        answer(out, ANSWER_REJECT, record->promised);
        return;
    }
    struct action a = *record;
    a.promised = q->proposal;
    store(r, &a, out);
    answer(out, ANSWER_ACCEPT, q->proposal);
    out->reply.has_action = true;
    out->reply.action = *record;
}

static void on_promise(struct replica *r, const struct message *q, const struct action *record,
                       struct replica_output *out)
{
    out->reply.kind = MESSAGE_PROMISE_RESPONSE;
    if (r->status != REPLICA_VOTING)
        answer(out, ANSWER_IGNORED, q->proposal);
    else if (!q->has_position)
        implicit_promise(r, q->proposal, out);
    else if (q->position < r->begin)
        promise_truncated(r, q, out);
    else if (!record)
        promise_unwritten(r, q, out);
    else
        promise_written(r, q, record, out);
}

/* ---- writes ---- */

static void accept_write(struct replica *r, const struct message *q, uint64_t promised, struct replica_output *out)
{
    struct action a = q->action;
    a.position = q->position;
    a.promised = q->binding ? q->proposal : promised;
    a.has_performed = true;
    a.performed = q->proposal;
    a.tombstone = false; /* only learned actions carry it */
    store(r, &a, out);
    answer(out, ANSWER_ACCEPT, q->proposal);
}

/* Below this number nothing may be written.
 *
 * Mesos's replicas look at promises only. So one that never promised 3 accepts 3 and, when a slow writer's 2 arrives
 * behind it, replaces it, although a quorum may have accepted 3 and its writer may have said so. Whoever sends binding
 * writes is protected from that; others get exactly what Mesos does. */
static uint64_t write_floor(const struct replica *r, const struct message *q, const struct action *record)
{
    if (!record) return r->promised;
    bool forgets = q->binding && record->has_performed && record->performed > record->promised;
    return forgets ? record->performed : record->promised;
}

static void on_write(struct replica *r, const struct message *q, const struct action *record,
                     struct replica_output *out)
{
    out->reply.kind = MESSAGE_WRITE_RESPONSE;
    out->reply.has_position = true;
    out->reply.position = q->position;
    if (r->status != REPLICA_VOTING) {
        answer(out, ANSWER_IGNORED, q->proposal);
        return;
    }
    if (q->position < r->begin) return;
    uint64_t promised = write_floor(r, q, record);
    if (q->proposal < promised)
        answer(out, ANSWER_REJECT, promised);
    else if (!record || !record->learned)
        accept_write(r, q, promised, out);
}

/* ---- the rest ---- */

static void on_learned(struct replica *r, const struct action *a, struct replica_output *out)
{
    assert(a->learned);
    if (a->position >= r->begin) store(r, a, out);
}

static void on_recover(const struct replica *r, struct replica_output *out)
{
    out->has_reply = true;
    out->reply.kind = MESSAGE_RECOVER_RESPONSE;
    out->reply.status = r->status;
    out->reply.has_range = r->status == REPLICA_VOTING;
    if (!out->reply.has_range) return;
    /* A tombstone at the end puts begin behind it; a C++ peer aborts on such a range. */
    out->reply.begin = r->begin < r->end ? r->begin : r->end;
    out->reply.end = r->end;
}

void replica_step(struct replica *r, const struct message *request, const struct action *record,
                  struct replica_output *out)
{
    uint64_t position;
    assert(!replica_reads(r, request, &position) || record);
    assert(!record || record->position == request->position);
    *out = (struct replica_output){ 0 };
    switch (request->kind) {
    case MESSAGE_PROMISE_REQUEST:
        on_promise(r, request, record, out);
        break;
    case MESSAGE_WRITE_REQUEST:
        on_write(r, request, record, out);
        break;
    case MESSAGE_LEARNED:
        on_learned(r, &request->action, out);
        break;
    case MESSAGE_RECOVER_REQUEST:
        on_recover(r, out);
        break;
    default:
        assert(!"a response is not for the replica");
    }
    assert(r->begin <= r->end + 1);
}

void replica_set_status(struct replica *r, enum replica_status status, struct replica_output *out)
{
    *out = (struct replica_output){ .store_metadata = true };
    r->status = status;
}

void replica_set_metadata(struct replica *r, enum replica_status status, uint64_t promised, struct replica_output *out)
{
    assert(promised >= r->promised);
    replica_set_status(r, status, out);
    r->promised = promised;
}
