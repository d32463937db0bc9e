#include "test/sim/lib/mesos.h"

#include "core/buf.h"
#include "core/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define UPDATES_MAX 8
#define SECOND_US ((uint64_t)1000000)
#define OFFER_TIMEOUT_US (10 * SECOND_US)
#define TASK_LIFE_MAX_US (120 * SECOND_US)

struct agent {
    char id[16], host[16];
    unsigned used;
    uint64_t refused_until_us;
    unsigned offer; /* number of the outstanding one; 0: none */
    uint64_t offered_us;
    uint64_t back_us; /* lost until then */
};

struct agent_task {
    struct agent_task *next;
    char *id;
    unsigned agent;
    int state;
    uint64_t life; /* of events about it */
    int updates[UPDATES_MAX];
    uint64_t numbers[UPDATES_MAX];
    unsigned n;
};

enum message_type {
    TO_MASTER_REGISTER,
    TO_MASTER_LAUNCH,
    TO_MASTER_KILL,
    TO_MASTER_DECLINE,
    TO_MASTER_RECONCILE,
    TO_MASTER_ACK,
    TO_SCHEDULER, /* from here on */
    TO_SCHEDULER_EVENT,
    TO_SCHEDULER_FATAL,
};

struct mesos {
    struct world *w;
    struct mesos_faults faults;
    bool stopped;
    struct agent agents[MESOS_AGENTS];
    struct agent_task *tasks;
    uint64_t n_lives, n_updates;
    unsigned n_offers, n_frameworks, n_launched;
    char framework[24]; /* "": none has registered */
    struct mesos_link *current;
};

struct mesos_link {
    struct mesos *m;
    struct loop *loop;
    void (*on_event)(struct sched_event *ev, void *arg);
    void (*on_fatal)(void *arg);
    void *arg;
    unsigned users;
    bool gone;
    uint64_t epoch, to_master_us, to_scheduler_us;
};

struct mesos_message {
    struct event e;
    struct mesos_link *l;
    uint64_t epoch;
    enum message_type type;
    struct arena a;
    struct sched_event ev; /* to the scheduler */
    struct str id, agent_id;
    struct task_on_agent *tasks;
    struct str *ids;
    uint32_t n;
    int64_t refuse_ms;
    uint8_t uuid[16];
};

/* ---- messages ---- */

static void unref(struct mesos_link *l)
{
    if (--l->users == 0) free(l);
}

static void handle(struct mesos_link *l, const struct mesos_message *v);

static void on_message(struct event *e)
{
    struct mesos_message *v = (struct mesos_message *)e;
    struct mesos_link *l = v->l;
    if (v->type > TO_SCHEDULER && !l->gone && l->loop->resume_us > l->m->w->now_us) {
        e->at_us = l->loop->resume_us;
        return;
    }
    if (v->epoch != l->epoch || l->gone) {
        /* lost with the connection */
    } else if (v->type == TO_SCHEDULER_EVENT) {
        l->on_event(&v->ev, l->arg);
    } else if (v->type == TO_SCHEDULER_FATAL) {
        l->on_fatal(l->arg);
    } else {
        handle(l, v);
    }
    arena_release(&v->a);
    unref(l);
}

/* A message to fill in; it leaves at once. Lost ones leave, too, but with an epoch that does not come. */
static struct mesos_message *message(struct mesos_link *l, enum message_type type)
{
    struct world *w = l->m->w;
    uint64_t *last = type > TO_SCHEDULER ? &l->to_scheduler_us : &l->to_master_us;
    uint64_t at = w->now_us + world_between(w, 50, l->m->faults.delay_max_us);
    if (at < *last) at = *last;
    *last = at;
    struct mesos_message *v = world_after(w, at - w->now_us, sizeof(*v), on_message);
    v->l = l;
    v->type = type;
    v->epoch = world_chance(w, l->m->faults.lose) ? UINT64_MAX : l->epoch;
    l->users++;
    return v;
}

static void send_status(struct mesos *m, struct str task_id, struct str agent_id, int state, uint64_t number)
{
    if (!m->current) return;
    struct mesos_message *v = message(m->current, TO_SCHEDULER_EVENT);
    struct status_update *u = ARENA_NEW(&v->a, struct status_update);
    *u = (struct status_update){ .task_id = arena_str(&v->a, task_id),
                                 .agent_id = arena_str(&v->a, agent_id),
                                 .state = state,
                                 .source = -1,
                                 .reason = -1,
                                 .timestamp_ms = -1,
                                 .has_uuid = number != 0 };
    if (number) memcpy(u->uuid, &number, sizeof(number));
    u->uuid[15] = (uint8_t)state;
    v->ev = (struct sched_event){ .type = EV_STATUS, .status = { u, 1 } };
}

int mesos_state_of(const uint8_t uuid[16])
{
    return uuid[15];
}

/* ---- tasks ---- */

static struct agent_task **task_at(struct mesos *m, struct str id)
{
    struct agent_task **at = &m->tasks;
    while (*at && !str_eq(str_c((*at)->id), id)) at = &(*at)->next;
    return at;
}

static bool is_over(int state)
{
    return state >= MESOS_FINISHED && state <= MESOS_LOST;
}

static void remove_task(struct mesos *m, struct agent_task **at)
{
    struct agent_task *t = *at;
    *at = t->next;
    if (!is_over(t->state)) m->agents[t->agent].used--;
    free(t->id);
    free(t);
}

struct task_event_later {
    struct event e;
    struct mesos *m;
    uint64_t life;
    int state;
};

static struct agent_task *task_of_life(struct mesos *m, uint64_t life)
{
    struct agent_task *t = m->tasks;
    while (t && t->life != life) t = t->next;
    return t;
}

static void task_later(struct mesos *m, const struct agent_task *t, uint64_t us, int state,
                       void (*run)(struct event *e))
{
    struct task_event_later *v = world_after(m->w, us, sizeof(*v), run);
    v->m = m;
    v->life = t->life;
    v->state = state;
}

/* The oldest update that has not been acknowledged, again and again. */
static void on_repeat(struct event *e)
{
    struct task_event_later *v = (struct task_event_later *)e;
    struct mesos *m = v->m;
    struct agent_task *t = task_of_life(m, v->life);
    if (!t || !t->n || m->stopped || t->numbers[0] != (uint64_t)v->state) return;
    send_status(m, str_c(t->id), str_c(m->agents[t->agent].id), t->updates[0], t->numbers[0]);
    e->at_us += world_between(m->w, SECOND_US / 2, 4 * SECOND_US);
}

static void report(struct mesos *m, struct agent_task *t)
{
    task_later(m, t, 0, (int)t->numbers[0], on_repeat);
}

static void move(struct mesos *m, struct agent_task *t, int state)
{
    assert(t->n < UPDATES_MAX);
    if (is_over(t->state)) return;
    if (is_over(state)) m->agents[t->agent].used--;
    t->state = state;
    t->updates[t->n] = state;
    t->numbers[t->n++] = ++m->n_updates;
    if (t->n == 1) report(m, t);
}

static void on_move(struct event *e)
{
    const struct task_event_later *v = (struct task_event_later *)e;
    struct agent_task *t = task_of_life(v->m, v->life);
    if (t && !v->m->stopped) move(v->m, t, v->state);
}

static void launch(struct mesos *m, unsigned agent, struct str id)
{
    struct agent_task *t = xcalloc(1, sizeof(*t));
    *t = (struct agent_task){
        .next = m->tasks, .id = xstrndup(id.p, id.n), .agent = agent, .state = -1, .life = ++m->n_lives
    };
    m->tasks = t;
    m->agents[agent].used++;
    m->n_launched++;
    uint64_t start = world_between(m->w, 20000, SECOND_US);
    if (world_chance(m->w, 500)) task_later(m, t, start / 2, MESOS_STARTING, on_move);
    task_later(m, t, start, MESOS_RUNNING, on_move);
    if (world_chance(m->w, m->faults.task_ends))
        task_later(m, t, start + world_between(m->w, 1, TASK_LIFE_MAX_US),
                   world_chance(m->w, 500) ? MESOS_FAILED : MESOS_FINISHED, on_move);
}

/* ---- what the master is asked ---- */

/* The agent whose outstanding offer this is; MESOS_AGENTS: none. */
static unsigned agent_of_offer(const struct mesos *m, struct str offer_id)
{
    unsigned n = (unsigned)strtoul(offer_id.p + 1, NULL, 10), i = 0;
    while (i < MESOS_AGENTS && m->agents[i].offer != n) i++;
    return i;
}

static void on_register(struct mesos_link *l, const struct mesos_message *v)
{
    struct mesos *m = l->m;
    bool first = !v->id.p;
    if (m->current && m->current != l) message(m->current, TO_SCHEDULER_FATAL);
    m->current = l;
    if (first && !v->refuse_ms) snprintf(m->framework, sizeof(m->framework), "framework-%u", ++m->n_frameworks);
    for (unsigned i = 0; i < MESOS_AGENTS; i++) m->agents[i].offer = 0;
    struct mesos_message *answer = message(l, TO_SCHEDULER_EVENT);
    answer->ev = (struct sched_event){ .type = EV_REGISTERED };
    answer->ev.registered.framework_id = arena_str(&answer->a, str_c(m->framework));
    answer->ev.registered.first = first;
}

static void on_launch(struct mesos_link *l, const struct mesos_message *v)
{
    struct mesos *m = l->m;
    unsigned agent = agent_of_offer(m, v->id);
    bool valid =
        agent < MESOS_AGENTS && m->agents[agent].back_us <= m->w->now_us && m->agents[agent].used + v->n <= MESOS_CPUS;
    for (uint32_t i = 0; i < v->n; i++) {
        if (valid && !*task_at(m, v->ids[i]))
            launch(m, agent, v->ids[i]);
        else
            send_status(m, v->ids[i], v->agent_id, MESOS_LOST, 0);
    }
    if (agent < MESOS_AGENTS) m->agents[agent].offer = 0;
}

static void on_decline(struct mesos *m, const struct mesos_message *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        unsigned agent = agent_of_offer(m, v->ids[i]);
        if (agent == MESOS_AGENTS) continue;
        m->agents[agent].offer = 0;
        m->agents[agent].refused_until_us = m->w->now_us + (uint64_t)v->refuse_ms * 1000;
    }
}

static void tell_state(struct mesos *m, struct str id, struct str agent_id)
{
    const struct agent_task *t = *task_at(m, id);
    if (!t)
        send_status(m, id, agent_id, MESOS_LOST, 0);
    else if (t->state >= 0)
        send_status(m, id, str_c(m->agents[t->agent].id), t->state, 0);
}

static void on_kill(struct mesos *m, const struct mesos_message *v)
{
    struct agent_task *t = *task_at(m, v->id);
    if (t && !is_over(t->state))
        task_later(m, t, world_between(m->w, 1000, SECOND_US), MESOS_KILLED, on_move);
    else
        tell_state(m, v->id, v->agent_id);
}

static void on_reconcile(struct mesos *m, const struct mesos_message *v)
{
    for (uint32_t i = 0; i < v->n; i++) tell_state(m, v->tasks[i].task_id, v->tasks[i].agent_id);
    for (struct agent_task *t = m->tasks; t && !v->n; t = t->next) tell_state(m, str_c(t->id), (struct str){ 0 });
}

static void on_ack(struct mesos *m, const struct mesos_message *v)
{
    struct agent_task **at = task_at(m, v->id), *t = *at;
    uint64_t number;
    memcpy(&number, v->uuid, sizeof(number));
    if (!t || !t->n || t->numbers[0] != (number & 0xffffffff)) return;
    t->n--;
    memmove(t->updates, t->updates + 1, t->n * sizeof(t->updates[0]));
    memmove(t->numbers, t->numbers + 1, t->n * sizeof(t->numbers[0]));
    if (t->n)
        report(m, t);
    else if (is_over(t->state))
        remove_task(m, at);
}

static void handle(struct mesos_link *l, const struct mesos_message *v)
{
    struct mesos *m = l->m;
    if (m->stopped || (m->current != l && v->type != TO_MASTER_REGISTER)) return;
    switch (v->type) {
    case TO_MASTER_REGISTER:
        on_register(l, v);
        break;
    case TO_MASTER_LAUNCH:
        on_launch(l, v);
        break;
    case TO_MASTER_KILL:
        on_kill(m, v);
        break;
    case TO_MASTER_DECLINE:
        on_decline(m, v);
        break;
    case TO_MASTER_RECONCILE:
        on_reconcile(m, v);
        break;
    case TO_MASTER_ACK:
        on_ack(m, v);
        break;
    case TO_SCHEDULER:
    case TO_SCHEDULER_EVENT:
    case TO_SCHEDULER_FATAL:
        assert(!"not the master's");
    }
}

/* ---- offers and agents ---- */

static struct offer *make_offer(struct mesos *m, struct agent *g, struct arena *a)
{
    static const struct {
        enum resource_kind kind;
        milli amount;
    } kinds[] = { { RES_CPUS, 0 }, { RES_RAM_MB, 100000000 }, { RES_DISK_MB, 100000000 } };
    struct offer *o = ARENA_NEW(a, struct offer);
    g->offer = ++m->n_offers;
    g->offered_us = m->w->now_us;
    *o = (struct offer){ .id = arena_strf(a, "o%u", g->offer),
                         .agent_id = arena_str(a, str_c(g->id)),
                         .hostname = arena_str(a, str_c(g->host)),
                         .resources = ARENA_ARRAY(a, struct offer_resource, 3),
                         .n_resources = 3,
                         .unavailable_from_ms = -1 };
    for (uint32_t i = 0; i < 3; i++)
        o->resources[i] = (struct offer_resource){ .kind = kinds[i].kind, .index = i, .amount = kinds[i].amount };
    o->resources[0].amount = (milli)(MESOS_CPUS - g->used) * 1000;
    return o;
}

static void offer(struct mesos *m, struct agent *g)
{
    uint64_t now = m->w->now_us;
    if (g->offer && now - g->offered_us > OFFER_TIMEOUT_US) {
        struct mesos_message *v = message(m->current, TO_SCHEDULER_EVENT);
        v->ev = (struct sched_event){ .type = EV_RESCIND };
        v->ev.rescind.offer_id = arena_strf(&v->a, "o%u", g->offer);
        g->offer = 0;
    }
    if (g->offer || g->used == MESOS_CPUS || g->refused_until_us > now || g->back_us > now) return;
    struct mesos_message *v = message(m->current, TO_SCHEDULER_EVENT);
    v->ev = (struct sched_event){ .type = EV_OFFERS, .offers = { make_offer(m, g, &v->a), 1 } };
}

static void lose_agent(struct mesos *m, unsigned agent)
{
    struct agent *g = &m->agents[agent];
    g->back_us = m->w->now_us + world_between(m->w, SECOND_US, 30 * SECOND_US);
    g->offer = 0;
    for (struct agent_task **at = &m->tasks; *at;) {
        if ((*at)->agent != agent) {
            at = &(*at)->next;
            continue;
        }
        send_status(m, str_c((*at)->id), str_c(g->id), MESOS_LOST, 0);
        remove_task(m, at);
    }
}

static void on_second(struct event *e)
{
    struct task_event_later *v = (struct task_event_later *)e;
    struct mesos *m = v->m;
    if (m->stopped) return;
    for (unsigned i = 0; i < MESOS_AGENTS && m->current; i++) offer(m, &m->agents[i]);
    if (world_chance(m->w, m->faults.agent_lost)) lose_agent(m, (unsigned)rng_below(&m->w->rng, MESOS_AGENTS));
    e->at_us += world_between(m->w, SECOND_US / 2, 3 * SECOND_US / 2);
}

struct mesos *mesos_new(struct world *w)
{
    struct mesos *m = xcalloc(1, sizeof(*m));
    m->w = w;
    m->faults.delay_max_us = 2000;
    for (unsigned i = 0; i < MESOS_AGENTS; i++) {
        snprintf(m->agents[i].id, sizeof(m->agents[i].id), "agent-%u", i);
        snprintf(m->agents[i].host, sizeof(m->agents[i].host), "host-%u", i);
    }
    struct task_event_later *v = world_after(w, SECOND_US, sizeof(*v), on_second);
    v->m = m;
    return m;
}

void mesos_stop(struct mesos *m)
{
    m->stopped = true;
}

void mesos_free(struct mesos *m)
{
    while (m->tasks) remove_task(m, &m->tasks);
    free(m);
}

void mesos_set_faults(struct mesos *m, const struct mesos_faults *f)
{
    m->faults = *f;
}

/* ---- links ---- */

struct mesos_link *mesos_connect(struct mesos *m, struct loop *loop,
                                 void (*on_event)(struct sched_event *ev, void *arg), void (*on_fatal)(void *arg),
                                 void *arg)
{
    struct mesos_link *l = xcalloc(1, sizeof(*l));
    *l =
        (struct mesos_link){ .m = m, .loop = loop, .on_event = on_event, .on_fatal = on_fatal, .arg = arg, .users = 1 };
    return l;
}

static void forget(struct mesos_link *l)
{
    struct mesos *m = l->m;
    l->epoch++;
    if (m->current != l) return;
    m->current = NULL;
    for (unsigned i = 0; i < MESOS_AGENTS; i++) m->agents[i].offer = 0;
}

void mesos_vanish(struct mesos_link *l)
{
    forget(l);
    l->gone = true;
    unref(l);
}

void mesos_cut(struct mesos_link *l)
{
    forget(l);
    struct mesos_message *v = message(l, TO_SCHEDULER_EVENT);
    v->ev = (struct sched_event){ .type = EV_DISCONNECTED };
    v->epoch = l->epoch; /* seen in any case */
}

void mesos_register(struct mesos_link *l, struct str framework_id)
{
    struct mesos_message *v = message(l, TO_MASTER_REGISTER);
    v->id = arena_str(&v->a, framework_id);
    v->refuse_ms = l->m->current == l; /* asks again: gets the id that it has been given */
}

static void copy_tasks(struct mesos_message *v, const struct effect *e)
{
    v->n = e->reconcile.n;
    v->tasks = ARENA_ARRAY(&v->a, struct task_on_agent, v->n);
    for (uint32_t i = 0; i < v->n; i++)
        v->tasks[i] = (struct task_on_agent){ arena_str(&v->a, e->reconcile.tasks[i].task_id),
                                              arena_str(&v->a, e->reconcile.tasks[i].agent_id) };
}

static void copy_launch(struct mesos_message *v, const struct effect *e)
{
    v->id = arena_str(&v->a, e->launch.offer_id);
    v->agent_id = arena_str(&v->a, e->launch.agent_id);
    v->n = e->launch.n_tasks;
    v->ids = ARENA_ARRAY(&v->a, struct str, v->n);
    for (uint32_t i = 0; i < v->n; i++) v->ids[i] = arena_str(&v->a, e->launch.tasks[i].task->id);
}

static void copy_decline(struct mesos_message *v, const struct effect *e)
{
    v->n = e->decline.n;
    v->refuse_ms = e->decline.refuse_ms;
    v->ids = ARENA_ARRAY(&v->a, struct str, v->n);
    for (uint32_t i = 0; i < v->n; i++) v->ids[i] = arena_str(&v->a, e->decline.offer_ids[i]);
}

static void copy_one(struct mesos_message *v, struct str task_id, struct str agent_id)
{
    v->id = arena_str(&v->a, task_id);
    v->agent_id = arena_str(&v->a, agent_id);
}

void mesos_effect(struct mesos_link *l, const struct effect *e)
{
    static const enum message_type types[EFFECT_TYPES] = { [EFFECT_KILL] = TO_MASTER_KILL,
                                                           [EFFECT_LAUNCH] = TO_MASTER_LAUNCH,
                                                           [EFFECT_DECLINE] = TO_MASTER_DECLINE,
                                                           [EFFECT_RECONCILE] = TO_MASTER_RECONCILE,
                                                           [EFFECT_ACK] = TO_MASTER_ACK };
    struct mesos_message *v = message(l, types[e->type]);
    switch (e->type) {
    case EFFECT_KILL:
        copy_one(v, e->kill.task_id, e->kill.agent_id);
        break;
    case EFFECT_LAUNCH:
        copy_launch(v, e);
        break;
    case EFFECT_DECLINE:
        copy_decline(v, e);
        break;
    case EFFECT_RECONCILE:
        copy_tasks(v, e);
        break;
    case EFFECT_ACK:
        copy_one(v, e->ack.task_id, e->ack.agent_id);
        memcpy(v->uuid, e->ack.uuid, sizeof(v->uuid));
        break;
    case EFFECT_REPLY:
    case EFFECT_TYPES:
        assert(!"not Mesos's");
    }
}

/* ---- looking ---- */

void mesos_each_task(const struct mesos *m, void (*fn)(struct str task_id, int state, void *arg), void *arg)
{
    for (const struct agent_task *t = m->tasks; t; t = t->next)
        if (!is_over(t->state)) fn(str_c(t->id), t->state, arg);
}

unsigned mesos_launched(const struct mesos *m)
{
    return m->n_launched;
}
