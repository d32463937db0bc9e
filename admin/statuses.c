#include "admin/statuses.h"

#include <assert.h>

void statuses_init(struct statuses *s, int64_t max)
{
    assert(max >= 1);
    *s = (struct statuses){ .max = max < LIMIT_STATUS_BATCH ? (uint32_t)max : LIMIT_STATUS_BATCH };
}

void statuses_release(struct statuses *s)
{
    arena_release(&s->arena);
    s->n = 0;
}

uint32_t statuses_add(struct statuses *s, const struct sched_event *ev)
{
    assert(ev->type == EV_STATUS);
    uint32_t taken = 0;
    for (; taken < ev->status.n && s->n < s->max; taken++) {
        struct status_update u = ev->status.v[taken];
        u.task_id = arena_str(&s->arena, u.task_id);
        u.agent_id = arena_str(&s->arena, u.agent_id);
        u.message = arena_str(&s->arena, u.message);
        u.reason_name = arena_str(&s->arena, u.reason_name);
        s->v[s->n++] = u;
    }
    return taken;
}

struct sched_event statuses_event(const struct statuses *s)
{
    return (struct sched_event){ .type = EV_STATUS, .status = { s->v, s->n } };
}

void statuses_clear(struct statuses *s)
{
    statuses_release(s);
}
