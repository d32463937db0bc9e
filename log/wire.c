#include "log/wire.h"

#include "core/err.h"
#include "log/log.pb-c.h"

#include <assert.h>

/* Short names for protobuf-c's. */
typedef Mesos__Internal__Log__Action pb_action;
typedef Mesos__Internal__Log__PromiseRequest pb_promise_request;
typedef Mesos__Internal__Log__PromiseResponse pb_promise_response;
typedef Mesos__Internal__Log__WriteRequest pb_write_request;
typedef Mesos__Internal__Log__WriteResponse pb_write_response;
typedef Mesos__Internal__Log__LearnedMessage pb_learned;
typedef Mesos__Internal__Log__RecoverResponse pb_recover_response;

#define DESC(x) (&mesos__internal__log__##x##__descriptor)

static const ProtobufCMessageDescriptor *const descriptors[MESSAGE_KINDS] = {
    [MESSAGE_PROMISE_REQUEST] = DESC(promise_request),   [MESSAGE_PROMISE_RESPONSE] = DESC(promise_response),
    [MESSAGE_WRITE_REQUEST] = DESC(write_request),       [MESSAGE_WRITE_RESPONSE] = DESC(write_response),
    [MESSAGE_LEARNED] = DESC(learned_message),           [MESSAGE_RECOVER_REQUEST] = DESC(recover_request),
    [MESSAGE_RECOVER_RESPONSE] = DESC(recover_response),
};

const char *message_name(enum message_kind k)
{
    assert(k < MESSAGE_KINDS);
    return descriptors[k]->name;
}

int message_kind_of(struct str name, enum message_kind *ret)
{
    for (int k = 0; k < MESSAGE_KINDS; k++) {
        if (!str_eq(name, str_c(descriptors[k]->name))) continue;
        *ret = (enum message_kind)k;
        return 0;
    }
    return ERR_NOT_FOUND;
}

/* ---- encoding ---- */

/* The parts of an action or a write request that hold its value. */
struct pb_value {
    Mesos__Internal__Log__Action__Nop nop;
    Mesos__Internal__Log__Action__Append append;
    Mesos__Internal__Log__Action__Truncate truncate;
};

static void value_encode(const struct action *a, struct pb_value *v)
{
    mesos__internal__log__action__nop__init(&v->nop);
    mesos__internal__log__action__append__init(&v->append);
    mesos__internal__log__action__truncate__init(&v->truncate);
    v->nop.has_tombstone = a->tombstone;
    v->nop.tombstone = a->tombstone;
    v->append.bytes.data = (uint8_t *)a->bytes;
    v->append.bytes.len = a->n;
    v->truncate.to = a->to;
}

static void action_encode(const struct action *a, pb_action *p, struct pb_value *v)
{
    mesos__internal__log__action__init(p);
    value_encode(a, v);
    p->position = a->position;
    p->promised = a->promised;
    p->has_performed = a->has_performed;
    p->performed = a->performed;
    p->has_learned = a->has_learned;
    p->learned = a->learned;
    if (a->type == ACTION_NONE) {
        assert(!a->has_performed);
        assert(!a->learned);
        return;
    }
    p->has_type = 1;
    p->type = (Mesos__Internal__Log__Action__Type)a->type;
    if (a->type == ACTION_NOP) p->nop = &v->nop;
    if (a->type == ACTION_APPEND) p->append = &v->append;
    if (a->type == ACTION_TRUNCATE) p->truncate = &v->truncate;
}

static void pack(const void *message, struct buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    buf_commit(out, protobuf_c_message_pack(message, buf_reserve(out, n)));
}

static void encode_promise_response(const struct message *m, struct buf *out)
{
    pb_promise_response p = MESOS__INTERNAL__LOG__PROMISE_RESPONSE__INIT;
    pb_action action;
    struct pb_value v;
    p.okay = m->answer == ANSWER_ACCEPT;
    p.proposal = m->proposal;
    p.has_position = m->has_position;
    p.position = m->position;
    p.has_type = 1;
    p.type = (Mesos__Internal__Log__PromiseResponse__Type)m->answer;
    if (m->has_action) {
        action_encode(&m->action, &action, &v);
        p.action = &action;
    }
    pack(&p, out);
}

static void encode_write_request(const struct message *m, struct buf *out)
{
    pb_write_request p = MESOS__INTERNAL__LOG__WRITE_REQUEST__INIT;
    struct pb_value v;
    assert(m->action.type != ACTION_NONE);
    assert(m->action.type != ACTION_TRUNCATE || m->action.to <= m->position);
    value_encode(&m->action, &v);
    p.proposal = m->proposal;
    p.position = m->position;
    p.has_learned = m->action.has_learned;
    p.learned = m->action.learned;
    p.type = (Mesos__Internal__Log__Action__Type)m->action.type;
    p.has_binding = p.binding = m->binding;
    if (m->action.type == ACTION_NOP) p.nop = &v.nop;
    if (m->action.type == ACTION_APPEND) p.append = &v.append;
    if (m->action.type == ACTION_TRUNCATE) p.truncate = &v.truncate;
    pack(&p, out);
}

static void encode_write_response(const struct message *m, struct buf *out)
{
    pb_write_response p = MESOS__INTERNAL__LOG__WRITE_RESPONSE__INIT;
    p.okay = m->answer == ANSWER_ACCEPT;
    p.proposal = m->proposal;
    p.position = m->position;
    p.has_type = 1;
    p.type = (Mesos__Internal__Log__WriteResponse__Type)m->answer;
    pack(&p, out);
}

static void encode_learned(const struct message *m, struct buf *out)
{
    pb_learned p = MESOS__INTERNAL__LOG__LEARNED_MESSAGE__INIT;
    pb_action action;
    struct pb_value v;
    assert(m->action.has_learned);
    assert(m->action.learned);
    action_encode(&m->action, &action, &v);
    p.action = &action;
    pack(&p, out);
}

static void encode_recover_response(const struct message *m, struct buf *out)
{
    pb_recover_response p = MESOS__INTERNAL__LOG__RECOVER_RESPONSE__INIT;
    assert(m->has_range == (m->status == REPLICA_VOTING));
    assert(m->begin <= m->end);
    p.status = (Mesos__Internal__Log__Metadata__Status)m->status;
    p.has_begin = p.has_end = m->has_range;
    p.begin = m->begin;
    p.end = m->end;
    pack(&p, out);
}

void message_encode(const struct message *m, struct buf *out)
{
    pb_promise_request promise = MESOS__INTERNAL__LOG__PROMISE_REQUEST__INIT;
    switch (m->kind) {
    case MESSAGE_PROMISE_REQUEST:
        promise.proposal = m->proposal;
        promise.has_position = m->has_position;
        promise.position = m->position;
        pack(&promise, out);
        return;
    case MESSAGE_PROMISE_RESPONSE:
        encode_promise_response(m, out);
        return;
    case MESSAGE_WRITE_REQUEST:
        encode_write_request(m, out);
        return;
    case MESSAGE_WRITE_RESPONSE:
        encode_write_response(m, out);
        return;
    case MESSAGE_LEARNED:
        encode_learned(m, out);
        return;
    case MESSAGE_RECOVER_RESPONSE:
        encode_recover_response(m, out);
        return;
    case MESSAGE_RECOVER_REQUEST: /* has no fields */
    case MESSAGE_KINDS:
        return;
    }
}

/* ---- decoding ---- */

static int value_decode(int type, const Mesos__Internal__Log__Action__Nop *nop,
                        const Mesos__Internal__Log__Action__Append *append,
                        const Mesos__Internal__Log__Action__Truncate *truncate, struct arena *a, struct action *ret)
{
    ret->type = (enum action_type)type;
    switch (type) {
    case ACTION_NOP:
        if (!nop) return ERR_MALFORMED;
        ret->tombstone = nop->has_tombstone && nop->tombstone;
        return 0;
    case ACTION_APPEND:
        if (!append) return ERR_MALFORMED;
        ret->n = append->bytes.len;
        ret->bytes = arena_alloc(a, ret->n + 1);
        if (!ret->bytes) return ERR_TOO_BIG;
        if (ret->n) memcpy((void *)ret->bytes, append->bytes.data, ret->n);
        return 0;
    case ACTION_TRUNCATE:
        if (!truncate || truncate->to > ret->position) return ERR_MALFORMED;
        ret->to = truncate->to;
        return 0;
    default:
        return ERR_MALFORMED;
    }
}

static int action_decode(const pb_action *p, struct arena *a, struct action *ret)
{
    if (p->position > LOG_NUMBER_MAX || p->promised > LOG_NUMBER_MAX || p->performed > LOG_NUMBER_MAX)
        return ERR_MALFORMED;
    ret->position = p->position;
    ret->promised = p->promised;
    ret->has_performed = p->has_performed;
    ret->performed = p->performed;
    ret->has_learned = p->has_learned;
    ret->learned = p->has_learned && p->learned;
    if (!p->has_type) return ret->has_performed || ret->learned ? ERR_MALFORMED : 0;
    return value_decode((int)p->type, p->nop, p->append, p->truncate, a, ret);
}

static int decode_answer(bool okay, bool has_type, int type, struct message *ret)
{
    /* Before Mesos 0.26 there was no type. */
    if (!has_type) type = okay ? ANSWER_ACCEPT : ANSWER_REJECT;
    if (type < ANSWER_ACCEPT || type > ANSWER_IGNORED || okay != (type == ANSWER_ACCEPT)) return ERR_MALFORMED;
    ret->answer = (enum answer)type;
    return 0;
}

static int decode_promise_request(const pb_promise_request *p, struct message *ret)
{
    ret->proposal = p->proposal;
    ret->has_position = p->has_position;
    ret->position = p->has_position ? p->position : 0;
    return 0;
}

static int decode_promise_response(const pb_promise_response *p, struct arena *a, struct message *ret)
{
    ret->proposal = p->proposal;
    ret->has_position = p->has_position;
    ret->position = p->has_position ? p->position : 0;
    ret->has_action = p->action != NULL;
    int err = decode_answer(p->okay, p->has_type, (int)p->type, ret);
    if (err || !p->action) return err;
    return action_decode(p->action, a, &ret->action);
}

static int decode_write_request(const pb_write_request *p, struct arena *a, struct message *ret)
{
    ret->proposal = p->proposal;
    ret->has_position = ret->has_action = true;
    ret->binding = p->has_binding && p->binding;
    ret->position = ret->action.position = p->position;
    ret->action.has_learned = p->has_learned;
    ret->action.learned = p->has_learned && p->learned;
    return value_decode((int)p->type, p->nop, p->append, p->truncate, a, &ret->action);
}

static int decode_write_response(const pb_write_response *p, struct message *ret)
{
    ret->proposal = p->proposal;
    ret->has_position = true;
    ret->position = p->position;
    return decode_answer(p->okay, p->has_type, (int)p->type, ret);
}

static int decode_learned(const pb_learned *p, struct arena *a, struct message *ret)
{
    ret->has_action = true;
    int err = action_decode(p->action, a, &ret->action);
    return !err && !ret->action.learned ? ERR_MALFORMED : err;
}

static int decode_recover_response(const pb_recover_response *p, struct message *ret)
{
    int status = (int)p->status;
    if (status < REPLICA_VOTING || status > REPLICA_EMPTY) return ERR_MALFORMED;
    ret->status = (enum replica_status)status;
    ret->has_range = ret->status == REPLICA_VOTING;
    if (!ret->has_range) return 0;
    if (!p->has_begin || !p->has_end || p->begin > p->end || p->end > LOG_NUMBER_MAX) return ERR_MALFORMED;
    ret->begin = p->begin;
    ret->end = p->end;
    return 0;
}

static int decode_parsed(enum message_kind k, const void *p, struct arena *a, struct message *ret)
{
    switch (k) {
    case MESSAGE_PROMISE_REQUEST:
        return decode_promise_request(p, ret);
    case MESSAGE_PROMISE_RESPONSE:
        return decode_promise_response(p, a, ret);
    case MESSAGE_WRITE_REQUEST:
        return decode_write_request(p, a, ret);
    case MESSAGE_WRITE_RESPONSE:
        return decode_write_response(p, ret);
    case MESSAGE_LEARNED:
        return decode_learned(p, a, ret);
    case MESSAGE_RECOVER_RESPONSE:
        return decode_recover_response(p, ret);
    case MESSAGE_RECOVER_REQUEST:
    case MESSAGE_KINDS:
        break;
    }
    return 0;
}

int message_decode(enum message_kind k, const void *data, size_t n, struct arena *a, struct message *ret)
{
    assert(k < MESSAGE_KINDS);
    ProtobufCMessage *p = protobuf_c_message_unpack(descriptors[k], NULL, n, data);
    if (!p) return ERR_MALFORMED;
    struct message m = { .kind = k };
    int err = decode_parsed(k, p, a, &m);
    protobuf_c_message_free_unpacked(p, NULL);
    if (!err && (m.proposal > LOG_NUMBER_MAX || m.position > LOG_NUMBER_MAX)) err = ERR_MALFORMED;
    if (!err) *ret = m;
    return err;
}
