/* Agents: made, lost, coming back; and a new master that has to learn of them again. */
#include "mesos/local/state.h"
#include "mesos/local/validate.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

const char *agent_pid(const struct agent *a, char out[UPID_TEXT_MAX])
{
    const struct upid *self = &a->m->config.self;
    const uint8_t *ip = (const uint8_t *)&self->ip;
    snprintf(out, UPID_TEXT_MAX, "slave(%u)@%u.%u.%u.%u:%u", a->number, ip[0], ip[1], ip[2], ip[3], self->port);
    return out;
}

struct agent *agent_find(struct master *m, const char *id)
{
    struct agent *a;
    HASH_FIND_STR(m->agents, id, a);
    return a;
}

struct agent *master_find_agent(struct master *m, const char *name)
{
    struct agent *a = agent_find(m, name);
    if (a) return a;
    for (a = m->agents; a; a = a->hh.next) {
        const char *short_id = strrchr(a->id, '-') + 1;
        if (strcmp(short_id, name) == 0 || strcmp(a->hostname, name) == 0) return a;
    }
    return NULL;
}

/* ---------------- executors ---------------- */

struct executor *executor_find(struct agent *a, const struct framework *f, const char *id)
{
    struct executor *e = a->executors;
    while (e && (e->fw != f || strcmp(e->id, id) != 0)) e = e->next;
    return e;
}

struct executor *executor_new(struct agent *a, struct framework *f, const Mesos__ExecutorInfo *info,
                              struct res_table *t, const char *role)
{
    struct executor *e = xcalloc(1, sizeof *e);
    e->fw = f;
    e->agent = a;
    e->id = xstrdup(info->executor_id->value);
    e->role = role;
    res_add_proto(t, &e->res, info->resources, info->n_resources);
    executor_identity(info, f->id, &e->identity);
    LL_PREPEND(a->executors, e);
    return e;
}

void executor_remove(struct agent *a, struct executor *e)
{
    struct task *t;
    DL_FOREACH(a->tasks, t)
    {
        if (t->executor == e) t->executor = NULL;
    }
    if (a->state == AGENT_REGISTERED || a->state == AGENT_DISCONNECTED) {
        res_add(&a->free, &e->res);
        framework_charge(e->fw, &e->res, -1);
    }
    timer_stop(&a->m->timers, &e->exit);
    LL_DELETE(a->executors, e);
    buf_release(&e->identity);
    res_release(&e->res);
    free(e->id);
    free(e);
}

/* ---------------- making agents ---------------- */

static void attribute_free(Mesos__Attribute *p)
{
    mesos__attribute__free_unpacked(p, NULL);
}

static Mesos__Attribute *attribute_new(const char *name, const char *value)
{
    Mesos__Attribute p = MESOS__ATTRIBUTE__INIT;
    Mesos__Value__Scalar scalar = MESOS__VALUE__SCALAR__INIT;
    Mesos__Value__Text text = MESOS__VALUE__TEXT__INIT;
    char *end;
    p.name = (char *)name;
    scalar.value = strtod(value, &end);
    if (*value && !*end) {
        p.type = MESOS__VALUE__TYPE__SCALAR;
        p.scalar = &scalar;
    } else {
        p.type = MESOS__VALUE__TYPE__TEXT;
        text.value = (char *)value;
        p.text = &text;
    }
    size_t n = mesos__attribute__get_packed_size(&p);
    uint8_t *bytes = xmalloc(n);
    mesos__attribute__pack(&p, bytes);
    Mesos__Attribute *own = mesos__attribute__unpack(NULL, n, bytes);
    free(bytes);
    return own;
}

/* Copies `pattern` with each "%d" as the number. */
static void expand(struct str pattern, uint32_t number, struct buf *out)
{
    for (uint32_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] == '%' && i + 1 < pattern.n && pattern.p[i + 1] == 'd') {
            buf_addf(out, "%u", number);
            i++;
        } else {
            buf_addc(out, pattern.p[i]);
        }
    }
}

/* "name:value;name:value", already expanded; cut in place. False without a colon. */
static bool add_attributes(struct agent *a, char *text)
{
    for (char *save = NULL, *one = strtok_r(text, ";", &save); one; one = strtok_r(NULL, ";", &save)) {
        char *colon = strchr(one, ':');
        if (!colon || colon == one) return false;
        *colon = 0;
        a->attributes = xrealloc(a->attributes, (a->n_attributes + 1) * sizeof(Mesos__Attribute *));
        a->attributes[a->n_attributes++] = attribute_new(one, colon + 1);
    }
    return true;
}

static void agent_release(struct agent *a)
{
    for (uint32_t i = 0; i < a->n_attributes; i++) attribute_free(a->attributes[i]);
    free(a->attributes);
    free(a->hostname);
    res_release(&a->total);
    res_release(&a->free);
    free(a);
}

void agent_free(struct master *m, struct agent *a)
{
    struct task *t, *next;
    assert(!a->offers);
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        t->unreachable = t->unreachable && t->on_agent;
        task_drop_agent_half(m, t);
    }
    while (a->executors) executor_remove(a, a->executors);
    refusals_clear(a);
    timer_stop(&m->timers, &a->timer);
    HASH_DEL(m->agents, a);
    agent_release(a);
}

static struct agent *agent_new(struct master *m, const struct agent_spec *spec, const struct res *total)
{
    struct agent *a = xcalloc(1, sizeof *a);
    struct buf text = { 0 };
    a->m = m;
    a->number = m->last_agent + 1;
    expand(spec->hostname, a->number, &text);
    a->hostname = xstrdup(buf_cstr(&text));
    buf_reset(&text);
    expand(spec->attributes, a->number, &text);
    bool ok = add_attributes(a, (char *)buf_cstr(&text));
    buf_release(&text);
    a->total = res_copy(total);
    a->free = res_copy(total);
    a->has_gpus = res_scalar(total, "gpus") > 0;
    if (ok) return a;
    agent_release(a);
    return NULL;
}

int master_add_agents(struct master *m, const struct agent_spec *spec, uint32_t n, int64_t now_ms, struct buf *err)
{
    struct res total = { 0 };
    m->now_ms = now_ms;
    if (n > LIMIT_LOCAL_AGENTS || m->n_agents > LIMIT_LOCAL_AGENTS - n) return ERR_TOO_BIG;
    int rc = res_parse(m->table, spec->resources, &total, err);
    for (uint32_t i = 0; i < n && !rc; i++) {
        struct agent *a = agent_new(m, spec, &total);
        if (!a) {
            /* All have the same pattern: the first one fails or none. */
            buf_addf(err, "cannot parse attributes '%.*s'", STR_ARG(spec->attributes));
            rc = ERR_MALFORMED;
            break;
        }
        snprintf(a->id, sizeof a->id, "%s-S%u", m->id, m->last_agent++);
        HASH_ADD_STR(m->agents, id, a);
        m->n_agents++;
        offers_candidate(m, a, true);
    }
    res_release(&total);
    return rc;
}

/* ---------------- losing agents ---------------- */

static void rescind_offers(struct master *m, struct agent *a)
{
    struct offered *o, *next;
    DL_FOREACH_SAFE2(a->offers, o, next, agent_next)
    {
        offer_rescind(m, o);
    }
}

/* The master takes the agent out: its tasks are lost to it, in the words of their frameworks. */
static void remove_agent(struct master *m, struct agent *a, const char *why)
{
    struct task *t, *next;
    bool gone = a->state == AGENT_GONE;
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        if (!t->at_master) continue;
        struct framework *f = t->fw;
        bool aware = f->capabilities & CAN_PARTITION;
        struct master_update u = { .task_id = t->id, .agent_id = a->id, .message = why, .with_pid = true };
        u.unreachable_ms = gone ? -1 : a->unreachable_ms;
        u.reason = MESOS__TASK_STATUS__REASON__REASON_SLAVE_REMOVED;
        u.state = aware ? MESOS__TASK_STATE__TASK_UNREACHABLE : MESOS__TASK_STATE__TASK_LOST;
        if (aware && gone) {
            u.state = MESOS__TASK_STATE__TASK_GONE_BY_OPERATOR;
            u.reason = MESOS__TASK_STATUS__REASON__REASON_SLAVE_REMOVED_BY_OPERATOR;
        }
        if (t->custom) u.executor_id = t->executor_id;
        task_set_state(m, t, u.state);
        t->at_master = false;
        t->unreachable = true;
        t->has_status = false;
        if (framework_connected(f)) master_update(m, f, &u);
        if (gone) task_drop_master_half(m, t);
    }
    for (struct executor *e = a->executors; e; e = e->next) framework_charge(e->fw, &e->res, -1);
}

static void tell_lost(struct master *m, const struct agent *a)
{
    Mesos__Internal__LostSlaveMessage msg = MESOS__INTERNAL__LOST_SLAVE_MESSAGE__INIT;
    Mesos__SlaveID id = MESOS__SLAVE_ID__INIT;
    struct framework *f;
    id.value = (char *)a->id;
    msg.slave_id = &id;
    DL_FOREACH(m->frameworks, f)
    {
        if (framework_connected(f)) framework_send(m, f, "mesos.internal.LostSlaveMessage", &msg.base);
    }
    logline(LOG_INFO, "agent_lost", "id=%s", a->id);
}

/* Tasks and executors die with their machine; what the master knows stays until it learns of it. */
static void kill_tasks_of(struct master *m, struct agent *a)
{
    struct task *t, *next;
    while (a->executors) executor_remove(a, a->executors);
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        task_drop_agent_half(m, t);
    }
}

void agent_unreachable(struct master *m, struct agent *a, const char *why)
{
    rescind_offers(m, a);
    timer_stop(&m->timers, &a->timer);
    if (a->state == AGENT_RECOVERED) m->n_recovered--;
    a->state = AGENT_UNREACHABLE;
    a->unreachable_ms = m->now_ms;
    remove_agent(m, a, why);
    tell_lost(m, a);
}

static void reregister_timeout(struct timer *timer, void *arg)
{
    struct agent *a = arg;
    struct buf why = { 0 };
    (void)timer;
    buf_addf(&why, "agent did not reregister within %gsecs after disconnecting",
             (double)a->m->config.agent_reregister_ms / 1000.0);
    agent_unreachable(a->m, a, buf_cstr(&why));
    buf_release(&why);
}

static void agent_disconnect(struct master *m, struct agent *a)
{
    struct task *t, *next;
    struct buf why = { 0 };
    rescind_offers(m, a);
    buf_addf(&why, "Agent %s disconnected", a->hostname);
    a->state = AGENT_DISCONNECTED;
    timer_start(&m->timers, &a->timer, m->now_ms + m->config.agent_reregister_ms, reregister_timeout, a);
    /* Frameworks that don't checkpoint lose their tasks with the connection. */
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        if (!t->at_master || t->fw->checkpoint) continue;
        struct master_update u = { .task_id = t->id,
                                   .agent_id = a->id,
                                   .state = MESOS__TASK_STATE__TASK_LOST,
                                   .reason = MESOS__TASK_STATUS__REASON__REASON_SLAVE_DISCONNECTED,
                                   .message = buf_cstr(&why),
                                   .with_pid = true,
                                   .unreachable_ms = -1 };
        task_set_state(m, t, u.state);
        if (framework_connected(t->fw)) master_update(m, t->fw, &u);
        task_drop_master_half(m, t);
    }
    buf_release(&why);
}

int master_lose_agent(struct master *m, struct agent *a, enum agent_loss how, bool kill_tasks, int64_t now_ms)
{
    static const enum agent_state states[] = { AGENT_DISCONNECTED, AGENT_UNREACHABLE, AGENT_GONE };
    m->now_ms = now_ms;
    if (a->state == AGENT_GONE || a->state == states[how]) return ERR_REFUSED;
    if (how == AGENT_LOSS_DISCONNECT && a->state != AGENT_REGISTERED) return ERR_REFUSED;
    if (how == AGENT_LOSS_DISCONNECT) {
        agent_disconnect(m, a);
    } else if (how == AGENT_LOSS_UNREACHABLE) {
        agent_unreachable(m, a, "health check timed out");
    } else {
        rescind_offers(m, a);
        timer_stop(&m->timers, &a->timer);
        if (a->state == AGENT_RECOVERED) m->n_recovered--;
        a->state = AGENT_GONE;
        remove_agent(m, a, "Agent has been marked gone");
        tell_lost(m, a);
        kill_tasks = true; /* the master tells it to shut down */
    }
    if (kill_tasks) kill_tasks_of(m, a);
    return 0;
}

/* ---------------- agents that come back ---------------- */

/* The master's account of what is in use, from what the agent says. */
static void account(struct master *m, struct agent *a)
{
    struct task *t;
    (void)m;
    res_release(&a->free);
    a->free = res_copy(&a->total);
    DL_FOREACH(a->tasks, t)
    {
        if (task_uses_resources(t)) res_sub(&a->free, &t->res);
    }
    for (struct executor *e = a->executors; e; e = e->next) res_sub(&a->free, &e->res);
}

/* The master learns of a task from its agent. */
static void readmit_task(struct master *m, struct task *t, const char *why)
{
    struct framework *f = t->fw;
    struct task *other;
    if (f->state == FRAMEWORK_ABSENT) f->state = FRAMEWORK_RECOVERED;
    HASH_FIND_STR(f->tasks, t->id, other);
    if (other && other != t) { /* the id has been used again meanwhile */
        task_drop_agent_half(m, t);
        return;
    }
    if (!other) HASH_ADD_KEYPTR(hh, f->tasks, t->id, strlen(t->id), t);
    t->unreachable = false;
    t->at_master = true;
    t->has_status = false;
    t->state = t->run_state;
    if (task_uses_resources(t)) framework_charge(f, &t->res, 1);
    if (!why || !framework_connected(f)) return;
    struct master_update u = { .task_id = t->id,
                               .agent_id = t->agent->id,
                               .state = t->state,
                               .reason = MESOS__TASK_STATUS__REASON__REASON_SLAVE_REREGISTERED,
                               .message = why,
                               .with_pid = true,
                               .unreachable_ms = -1 };
    if (t->custom) u.executor_id = t->executor_id;
    master_update(m, f, &u);
}

static void reregister(struct master *m, struct agent *a, const char *why)
{
    struct task *t, *next;
    bool was_known = a->state == AGENT_DISCONNECTED;
    timer_stop(&m->timers, &a->timer);
    if (a->state == AGENT_RECOVERED) m->n_recovered--;
    a->state = AGENT_REGISTERED;
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        if (t->on_agent && !t->at_master && (!was_known || t->fw->checkpoint)) {
            readmit_task(m, t, why);
        } else if (t->on_agent && !t->at_master) {
            task_drop_agent_half(m, t);
        } else if (!t->on_agent && t->unreachable) {
            task_drop_master_half(m, t); /* known as lost, and lost it is */
        }
    }
    for (struct executor *e = a->executors; e && !was_known; e = e->next) framework_charge(e->fw, &e->res, 1);
    account(m, a);
    DL_FOREACH_SAFE(a->tasks, t, next)
    {
        if (t->kill_wanted) task_kill(m, t, -1);
        if (t->on_agent) {
            task_resume(m, t);
        } else {
            task_missing(m, t);
        }
    }
    offers_candidate(m, a, true);
    logline(LOG_INFO, "agent_back", "id=%s", a->id);
}

int master_return_agent(struct master *m, struct agent *a, bool kill_tasks, int64_t now_ms)
{
    m->now_ms = now_ms;
    if (a->state == AGENT_REGISTERED || a->state == AGENT_GONE) return ERR_REFUSED;
    if (kill_tasks) kill_tasks_of(m, a);
    reregister(m, a, a->state == AGENT_UNREACHABLE ? "Unreachable agent re-reregistered" : NULL);
    return 0;
}

/* ---------------- a new master ---------------- */

static void comes_back(struct timer *timer, void *arg)
{
    struct agent *a = arg;
    (void)timer;
    reregister(a->m, a, NULL);
}

static void recovered(struct master *m, struct agent *a, int64_t at_ms)
{
    timer_stop(&m->timers, &a->timer);
    refusals_clear(a);
    if (a->state == AGENT_GONE || a->state == AGENT_UNREACHABLE) return; /* the registry keeps that */
    a->state = AGENT_RECOVERED;
    m->n_recovered++;
    if (at_ms >= 0) timer_start(&m->timers, &a->timer, at_ms, comes_back, a);
}

static void new_id(struct master *m)
{
    uint64_t a = rng_next(&m->rng), b = rng_next(&m->rng);
    snprintf(m->id, sizeof m->id, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff,
             (unsigned)a & 0xfff, ((unsigned)(b >> 48) & 0x3fff) | 0x8000, (unsigned long long)b & 0xffffffffffffull);
    m->next_framework = m->next_offer = 0;
}

void master_failover(struct master *m, int64_t after_ms, int64_t spread_ms, int64_t now_ms)
{
    struct framework *f, *next;
    uint32_t i = 0;
    m->now_ms = now_ms;
    while (m->authentications) authentication_forget(m, &m->authentications->pid);
    DL_FOREACH_SAFE(m->frameworks, f, next)
    {
        framework_forget(m, f);
    }
    completed_clear(m);
    new_id(m);
    m->n_recovered = 0;
    for (struct agent *a = m->agents; a; a = a->hh.next, i++)
        recovered(m, a, after_ms < 0 ? -1 : now_ms + after_ms + spread_ms * i / m->n_agents);
    logline(LOG_INFO, "master_failover", "id=%s agents=%u", m->id, m->n_agents);
}

/* ---------------- the master as a whole ---------------- */

struct master *master_new(const struct master_config *c, int64_t now_ms)
{
    struct master *m = xcalloc(1, sizeof *m);
    assert(c->allocation_interval_ms > 0);
    m->config = *c;
    m->hostname = xstrdup(c->hostname);
    m->now_ms = now_ms;
    m->rng.state = c->seed;
    m->table = res_table_new();
    new_id(m);
    offers_start(m);
    return m;
}

void master_free(struct master *m)
{
    struct framework *f, *next;
    struct agent *a, *after;
    if (!m) return;
    /* Nobody is told: the connections are gone. */
    while (m->authentications) authentication_forget(m, &m->authentications->pid);
    DL_FOREACH_SAFE(m->frameworks, f, next)
    {
        framework_forget(m, f);
    }
    HASH_ITER(hh, m->agents, a, after)
    {
        agent_free(m, a);
    }
    while (m->frameworks) framework_free(m, m->frameworks);
    completed_clear(m);
    res_table_free(m->table);
    timerq_release(&m->timers);
    free(m->hostname);
    free(m);
}

const char *master_id(const struct master *m)
{
    return m->id;
}

void master_set_self(struct master *m, const struct upid *self)
{
    m->config.self = *self;
}

int64_t master_next(const struct master *m)
{
    return timerq_next(&m->timers);
}

void master_run(struct master *m, int64_t now_ms)
{
    m->now_ms = now_ms;
    /* A slice: with very many tasks the loop must get to its sockets in between. */
    timerq_run(&m->timers, now_ms, 2000);
}

void master_totals(const struct master *m, struct master_totals *ret)
{
    const struct framework *f;
    *ret = m->totals;
    ret->agents = m->n_agents;
    ret->agents_registered = ret->frameworks = 0;
    for (const struct agent *a = m->agents; a; a = a->hh.next) ret->agents_registered += a->state == AGENT_REGISTERED;
    DL_FOREACH(m->frameworks, f)
    {
        ret->frameworks += f->state != FRAMEWORK_ABSENT;
    }
}
