/* A message of a peer, as the port delivers it: the first byte is the kind. What decodes encodes to something that
 * decodes to the same, and the replica survives every request. */
#include "log/replica.h"
#include "log/wire.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void step(const struct message *m)
{
    struct replica r;
    struct replica_output out;
    struct buf answer = { 0 };
    struct action record = { .position = m->position, .promised = 3, .type = ACTION_NOP };
    uint64_t position;
    replica_init(&r);
    r.status = REPLICA_VOTING;
    replica_restore_action(&r, &record);
    replica_step(&r, m, replica_reads(&r, m, &position) ? &record : NULL, &out);
    if (out.has_reply) message_encode(&out.reply, &answer);
    assert(r.begin <= r.end + 1);
    buf_release(&answer);
    replica_release(&r);
}

static void same(const struct message *a, const struct message *b)
{
    assert(a->proposal == b->proposal);
    assert(a->position == b->position);
    assert(a->has_position == b->has_position);
    assert(a->has_action == b->has_action);
    assert(a->answer == b->answer);
    assert(a->status == b->status);
    assert(a->begin == b->begin);
    assert(a->end == b->end);
    assert(a->action.promised == b->action.promised);
    assert(a->action.learned == b->action.learned);
    assert(action_same_value(&a->action, &b->action));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena a = { .max_bytes = 1 << 20 };
    struct message m, again;
    if (!n) return 0;
    enum message_kind kind = (enum message_kind)(data[0] % MESSAGE_KINDS);
    if (message_decode(kind, data + 1, n - 1, &a, &m) == 0) {
        struct buf bytes = { 0 };
        message_encode(&m, &bytes);
        int err = message_decode(kind, bytes.data, bytes.len, &a, &again);
        assert(err == 0);
        same(&m, &again);
        bool request = kind == MESSAGE_PROMISE_REQUEST || kind == MESSAGE_WRITE_REQUEST || kind == MESSAGE_LEARNED ||
                       kind == MESSAGE_RECOVER_REQUEST;
        if (request) step(&m);
        buf_release(&bytes);
    }
    arena_release(&a);
    return 0;
}
