#include "admin/pipeline.h"

#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>

struct held {
    struct sched_update update;
    uint64_t after; /* effects wait for this index to be durable */
    bool is_command;
    void (*then)(void *arg); /* of pipeline_after(), instead of a step's update */
    void *arg;
    unsigned pins;
    struct held *next;
};

struct pipeline {
    struct pipeline_config c;
    struct held *first, **last;
    size_t n_held, n_commands;
    uint64_t durable;
    bool releasing, stepping;
    struct stat *held_stat, *commands_stat;
};

struct pipeline *pipeline_new(const struct pipeline_config *c)
{
    struct pipeline *p = xcalloc(1, sizeof(*p));
    p->c = *c;
    p->last = &p->first;
    p->held_stat = stats_int(c->stats, "pipeline_held_steps");
    p->commands_stat = stats_int(c->stats, "pipeline_held_commands");
    return p;
}

void pipeline_free(struct pipeline *p)
{
    for (struct held *h = p->first, *next; h; h = next) {
        next = h->next;
        if (h->then) h->then(h->arg);
        held_unpin(h);
    }
    free(p);
}

void held_pin(struct held *h)
{
    assert(h->pins > 0);
    h->pins++;
}

void held_unpin(struct held *h)
{
    assert(h->pins > 0);
    if (--h->pins > 0) return;
    sched_update_release(&h->update);
    free(h);
}

uint32_t held_n_tasks(const struct held *h)
{
    return h->update.n_pins;
}

static void count(struct pipeline *p, const struct held *h, int sign)
{
    p->n_held += (size_t)sign;
    p->n_commands += h->is_command ? (size_t)sign : 0;
    stat_set(p->held_stat, (int64_t)p->n_held);
    stat_set(p->commands_stat, (int64_t)p->n_commands);
}

/* The work that an effect is, roughly: a launch builds a message per task. */
static uint32_t weight(const struct effect *e)
{
    return e->type == EFFECT_LAUNCH ? e->launch.n_tasks : 1;
}

/* Gives the work done. */
static uint32_t carry_out(struct pipeline *p, struct held *h)
{
    uint32_t work = 1;
    if (h->then) h->then(h->arg);
    for (uint32_t i = 0; i < h->update.n_effects; i++) {
        const struct effect *e = &h->update.effects[i];
        if (e->type == EFFECT_REPLY)
            p->c.reply(e->reply.cookie, e->reply.response, h, p->c.arg);
        else
            p->c.effect(e, p->c.arg);
        work += weight(e);
    }
    return work;
}

bool pipeline_releasable(const struct pipeline *p)
{
    return p->first && p->first->after <= p->durable;
}

void pipeline_durable(struct pipeline *p, uint64_t durable)
{
    assert(durable >= p->durable);
    p->durable = durable;
    if (p->releasing) return; /* the outer call goes on */
    p->releasing = true;
    for (uint32_t work = 0; pipeline_releasable(p) && work < LIMIT_RELEASE_WORK;) {
        struct held *h = p->first;
        p->first = h->next;
        if (!p->first) p->last = &p->first;
        count(p, h, -1);
        work += carry_out(p, h);
        held_unpin(h);
    }
    p->releasing = false;
}

static void enqueue(struct pipeline *p, struct held *h)
{
    *p->last = h;
    p->last = &h->next;
    count(p, h, 1);
}

void pipeline_after(struct pipeline *p, void (*then)(void *arg), void *arg)
{
    struct held *h = xcalloc(1, sizeof(*h));
    h->pins = 1;
    h->then = then;
    h->arg = arg;
    h->after = p->c.append(NULL, 0, p->c.arg);
    enqueue(p, h);
    pipeline_durable(p, p->c.durable(p->c.arg));
}

uint64_t pipeline_step(struct pipeline *p, struct sched_event *ev)
{
    assert(!p->stepping);
    p->stepping = true;
    struct held *h = xcalloc(1, sizeof(*h));
    h->pins = 1;
    h->is_command = ev->type == EV_COMMAND;
    ev->now_ms = p->c.now_ms(p->c.arg);
    sched_step(p->c.sched, ev, &h->update);
    uint64_t after = h->after = p->c.append(h->update.ops, h->update.n_ops, p->c.arg);
    enqueue(p, h);
    p->stepping = false;
    pipeline_durable(p, p->c.durable(p->c.arg));
    p->c.stepped(p->c.arg);
    return after;
}

bool pipeline_has_room(const struct pipeline *p)
{
    return p->n_commands < LIMIT_PENDING_COMMANDS;
}

size_t pipeline_held(const struct pipeline *p)
{
    return p->n_held;
}

size_t pipeline_held_commands(const struct pipeline *p)
{
    return p->n_commands;
}
