#include "log/message.h"

#include "core/buf.h"

#include <assert.h>
#include <string.h>

struct message *message_copy(const struct message *m)
{
    struct message *copy = xmalloc(sizeof(*copy) + m->action.n);
    *copy = *m;
    if (m->action.n) memcpy(copy + 1, m->action.bytes, m->action.n);
    copy->action.bytes = copy + 1;
    return copy;
}

bool action_same_value(const struct action *a, const struct action *b)
{
    if (a->type != b->type) return false;
    switch (a->type) {
    case ACTION_APPEND:
        return a->n == b->n && (!a->n || memcmp(a->bytes, b->bytes, a->n) == 0);
    case ACTION_TRUNCATE:
        return a->to == b->to;
    case ACTION_NOP:
        return a->tombstone == b->tombstone;
    case ACTION_NONE:
        return true;
    }
    return false;
}

const char *replica_status_name(enum replica_status s)
{
    static const char *const names[] = {
        [REPLICA_VOTING] = "VOTING",
        [REPLICA_RECOVERING] = "RECOVERING",
        [REPLICA_STARTING] = "STARTING",
        [REPLICA_EMPTY] = "EMPTY",
    };
    assert(s >= REPLICA_VOTING && s <= REPLICA_EMPTY);
    return names[s];
}
