/* Tasks: their life at an agent, the stream of status updates with retries, and what the master makes of it. */
#include "mesos/local/state.h"

#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

bool task_state_terminal(Mesos__TaskState s)
{
    switch (s) {
    case MESOS__TASK_STATE__TASK_FINISHED:
    case MESOS__TASK_STATE__TASK_FAILED:
    case MESOS__TASK_STATE__TASK_KILLED:
    case MESOS__TASK_STATE__TASK_LOST:
    case MESOS__TASK_STATE__TASK_ERROR:
    case MESOS__TASK_STATE__TASK_DROPPED:
    case MESOS__TASK_STATE__TASK_GONE:
    case MESOS__TASK_STATE__TASK_GONE_BY_OPERATOR:
        return true;
    default:
        return false;
    }
}

/* ---------------- objects ---------------- */

const char *task_id(const struct task *t)
{
    return t->id;
}

const char *task_framework_id(const struct task *t)
{
    return t->fw->id;
}

const char *task_agent_id(const struct task *t)
{
    return t->agent->id;
}

const char *task_executor_id(const struct task *t)
{
    return t->executor_id;
}

const char *task_agent_hostname(const struct task *t)
{
    return t->agent->hostname;
}

void task_set_sandbox(struct task *t, const char *path)
{
    free(t->run_path);
    t->run_path = xstrdup(path);
}

bool task_is_real(const struct task *t)
{
    return t->run != NULL;
}

const char *task_role(const struct task *t)
{
    return t->role;
}

struct task *task_known(struct framework *f, const char *id)
{
    struct task *t;
    HASH_FIND_STR(f->tasks, id, t);
    return t && t->at_master ? t : NULL;
}

struct task *master_find_task(struct master *m, const char *framework_id, const char *id)
{
    struct framework *f;
    DL_FOREACH(m->frameworks, f)
    {
        if (framework_id && strcmp(f->id, framework_id) != 0) continue;
        struct task *t;
        HASH_FIND_STR(f->tasks, id, t);
        if (t && t->on_agent) return t;
    }
    /* One that no master knows yet, at an agent that is away. */
    for (struct agent *a = m->agents; a; a = a->hh.next) {
        struct task *t;
        DL_FOREACH(a->tasks, t)
        {
            if (t->on_agent && strcmp(t->id, id) == 0 && (!framework_id || strcmp(t->fw->id, framework_id) == 0))
                return t;
        }
    }
    return NULL;
}

static void free_updates(struct task *t)
{
    while (t->queue) {
        struct update *u = t->queue;
        t->queue = u->next;
        free(u->message);
        free(u);
    }
}

static void task_free(struct master *m, struct task *t)
{
    assert(!t->on_agent);
    assert(!t->at_master);
    assert(!t->unreachable);
    timer_stop(&m->timers, &t->retry);
    timer_stop(&m->timers, &t->sim);
    free_updates(t);
    DL_DELETE(t->agent->tasks, t);
    res_release(&t->res);
    free(t->script);
    free(t->command);
    free(t->run_path);
    free(t->executor_id);
    free(t->name);
    free(t->id);
    free(t);
    m->totals.tasks--;
}

void task_drop_agent_half(struct master *m, struct task *t)
{
    if (!t->on_agent) return;
    t->on_agent = false;
    timer_stop(&m->timers, &t->retry);
    timer_stop(&m->timers, &t->sim);
    free_updates(t);
    if (t->run) m->config.io.forget(t->run, m->config.io.arg);
    t->run = NULL;
    if (!t->at_master && !t->unreachable) task_free(m, t);
}

void task_drop_master_half(struct master *m, struct task *t)
{
    if (!t->at_master && !t->unreachable) return;
    HASH_DEL(t->fw->tasks, t);
    t->at_master = t->unreachable = false;
    t->kill_wanted = t->has_status = false;
    if (!t->on_agent) task_free(m, t);
}

static int64_t kill_grace(const Mesos__KillPolicy *p)
{
    return p && p->grace_period ? p->grace_period->nanoseconds / 1000000 : -1;
}

struct task *task_new(struct master *m, struct framework *f, struct agent *a, const Mesos__TaskInfo *info,
                      struct res *res, const char *role)
{
    struct task *t = xcalloc(1, sizeof *t);
    t->id = xstrdup(info->task_id->value);
    t->name = xstrdup(info->name);
    t->fw = f;
    t->agent = a;
    t->custom = info->executor != NULL;
    t->executor_id = xstrdup(t->custom ? info->executor->executor_id->value : t->id);
    t->res = *res;
    *res = (struct res){ 0 };
    t->role = role;
    t->kill_grace_ms = kill_grace(info->kill_policy);
    if (info->command && info->command->value) t->command = xstrdup(info->command->value);
    t->run_state = t->state = MESOS__TASK_STATE__TASK_STAGING;
    t->on_agent = t->at_master = true;
    HASH_ADD_KEYPTR(hh, f->tasks, t->id, strlen(t->id), t);
    DL_APPEND(a->tasks, t);
    m->totals.tasks++;
    m->totals.launched++;
    return t;
}

void task_start(struct master *m, struct task *t, const Mesos__TaskInfo *info)
{
    if (!t->custom && m->config.io.run) {
        t->run = m->config.io.run(t, info, m->config.io.arg);
    } else {
        sim_start(m, t, info);
    }
}

void task_kill(struct master *m, struct task *t, int64_t grace_ms)
{
    if (!t->on_agent || task_state_terminal(t->run_state)) return;
    if (!t->killing && (t->fw->capabilities & CAN_KILLING))
        master_task_event(m, t, MESOS__TASK_STATE__TASK_KILLING, -1, NULL, m->now_ms);
    t->killing = true;
    if (grace_ms < 0) grace_ms = t->kill_grace_ms;
    if (t->run) {
        m->config.io.kill(t->run, grace_ms < 0 ? LIMIT_LOCAL_KILL_GRACE_MS : grace_ms, m->config.io.arg);
    } else {
        sim_kill(m, t);
    }
}

/* ---------------- the master's account ---------------- */

bool task_uses_resources(const struct task *t)
{
    return t->at_master && !task_state_terminal(t->state) && t->state != MESOS__TASK_STATE__TASK_UNREACHABLE;
}

void task_set_state(struct master *m, struct task *t, Mesos__TaskState state)
{
    bool used = task_uses_resources(t);
    if (!task_state_terminal(t->state)) t->state = state;
    if (!used || task_uses_resources(t)) return;
    res_add(&t->agent->free, &t->res);
    framework_charge(t->fw, &t->res, -1);
    /* A real master offers what a task leaves at the next interval, not at once. */
    offers_candidate(m, t->agent, false);
}

/* ---------------- updates by the master ---------------- */

struct status_parts {
    Mesos__FrameworkID framework;
    Mesos__SlaveID agent;
    Mesos__TaskID task;
    Mesos__ExecutorID executor;
    Mesos__TimeInfo unreachable;
    Mesos__ContainerID container_id;
    Mesos__ContainerStatus container;
    Mesos__TaskStatus status;
    Mesos__Internal__StatusUpdate update;
    Mesos__Internal__StatusUpdateMessage message;
};

/* Fills the message but for what differs between master and agent. */
static void status_init(struct status_parts *p, const struct framework *f, const char *task_id_text,
                        Mesos__TaskState state, double timestamp)
{
    mesos__framework_id__init(&p->framework);
    mesos__slave_id__init(&p->agent);
    mesos__task_id__init(&p->task);
    mesos__executor_id__init(&p->executor);
    mesos__time_info__init(&p->unreachable);
    mesos__task_status__init(&p->status);
    mesos__internal__status_update__init(&p->update);
    mesos__internal__status_update_message__init(&p->message);
    p->framework.value = f->id;
    p->task.value = (char *)task_id_text;
    p->status.task_id = &p->task;
    p->status.state = state;
    p->status.has_timestamp = true;
    p->status.timestamp = timestamp;
    p->update.framework_id = &p->framework;
    p->update.status = &p->status;
    p->update.timestamp = timestamp;
    p->message.update = &p->update;
}

static void status_agent(struct status_parts *p, const char *agent_id, const char *executor_id)
{
    p->agent.value = (char *)agent_id;
    if (agent_id) p->update.slave_id = p->status.slave_id = &p->agent;
    p->executor.value = (char *)executor_id;
    if (executor_id) p->update.executor_id = p->status.executor_id = &p->executor;
}

/* Where a command runs: the container's id is the name of its sandbox. */
static void status_container(struct status_parts *p, const struct task *t)
{
    if (!t->run_path) return;
    mesos__container_id__init(&p->container_id);
    mesos__container_status__init(&p->container);
    p->container_id.value = strrchr(t->run_path, '/') + 1;
    p->container.container_id = &p->container_id;
    p->status.container_status = &p->container;
}

static void status_why(struct status_parts *p, Mesos__TaskStatus__Source source, int reason, const char *message)
{
    p->status.has_source = true;
    p->status.source = source;
    p->status.has_reason = reason >= 0;
    if (reason >= 0) p->status.reason = (Mesos__TaskStatus__Reason)reason;
    p->status.message = (char *)message;
}

void master_update(struct master *m, struct framework *f, const struct master_update *u)
{
    struct status_parts p;
    status_init(&p, f, u->task_id, u->state, (double)m->now_ms / 1000.0);
    status_agent(&p, u->agent_id, u->executor_id);
    status_why(&p, MESOS__TASK_STATUS__SOURCE__SOURCE_MASTER, u->reason, u->message);
    p.unreachable.nanoseconds = u->unreachable_ms * 1000000;
    if (u->unreachable_ms >= 0) p.status.unreachable_time = &p.unreachable;
    if (u->with_pid) p.message.pid = (char *)"@0.0.0.0:0";
    m->totals.updates_sent++;
    framework_send(m, f, "mesos.internal.StatusUpdateMessage", &p.message.base);
}

/* ---------------- updates by agents ---------------- */

/* Master::statusUpdate: forwards to a connected scheduler and takes note. */
static void forward(struct master *m, struct task *t, const struct update *u)
{
    struct framework *f = t->fw;
    struct status_parts p;
    char pid[UPID_TEXT_MAX];
    status_init(&p, f, t->id, u->state, u->timestamp);
    status_agent(&p, t->agent->id, t->executor_id);
    status_why(&p, u->source, u->reason, u->message);
    status_container(&p, t);
    p.status.has_uuid = p.update.has_uuid = true;
    p.status.uuid = p.update.uuid = (ProtobufCBinaryData){ sizeof u->uuid, (uint8_t *)u->uuid };
    p.update.has_latest_state = true;
    p.update.latest_state = t->run_state;
    p.message.pid = (char *)agent_pid(t->agent, pid);
    if (framework_connected(f)) {
        t->has_status = true;
        t->status_state = u->state;
        memcpy(t->status_uuid, u->uuid, sizeof t->status_uuid);
        m->totals.updates_sent++;
        framework_send(m, f, "mesos.internal.StatusUpdateMessage", &p.message.base);
    }
    if (t->at_master) task_set_state(m, t, t->run_state);
}

static void retry(struct timer *timer, void *arg);

/* Sends the head of the queue; the next try is `backoff` from now. */
static void deliver(struct task *t, int64_t backoff_ms)
{
    struct master *m = t->agent->m;
    if (!t->queue || t->agent->state != AGENT_REGISTERED) return;
    t->backoff_ms = backoff_ms;
    timer_start(&m->timers, &t->retry, m->now_ms + backoff_ms, retry, t);
    forward(m, t, t->queue);
}

static void retry(struct timer *timer, void *arg)
{
    struct task *t = arg;
    (void)timer;
    int64_t next = t->backoff_ms * 2;
    deliver(t, next > LIMIT_LOCAL_UPDATE_RETRY_MAX_MS ? LIMIT_LOCAL_UPDATE_RETRY_MAX_MS : next);
}

void task_resume(struct master *m, struct task *t)
{
    timer_stop(&m->timers, &t->retry);
    deliver(t, LIMIT_LOCAL_UPDATE_RETRY_MS);
}

static void random_uuid(struct rng *r, uint8_t out[16])
{
    uint64_t a = rng_next(r), b = rng_next(r);
    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

static void executor_exited(struct timer *timer, void *arg)
{
    struct executor *e = arg;
    struct master *m = e->agent->m;
    (void)timer;
    Mesos__Internal__ExitedExecutorMessage msg = MESOS__INTERNAL__EXITED_EXECUTOR_MESSAGE__INIT;
    Mesos__SlaveID agent = MESOS__SLAVE_ID__INIT;
    Mesos__FrameworkID fw = MESOS__FRAMEWORK_ID__INIT;
    Mesos__ExecutorID id = MESOS__EXECUTOR_ID__INIT;
    agent.value = e->agent->id;
    fw.value = e->fw->id;
    id.value = e->id;
    msg.slave_id = &agent;
    msg.framework_id = &fw;
    msg.executor_id = &id;
    if (e->agent->state == AGENT_REGISTERED && framework_connected(e->fw))
        framework_send(m, e->fw, "mesos.internal.ExitedExecutorMessage", &msg.base);
    struct agent *a = e->agent;
    executor_remove(a, e);
    offers_candidate(m, a, false);
}

/* A simulated executor ends with its last task. */
static void leave_executor(struct master *m, struct task *t)
{
    struct executor *e = t->executor;
    if (!e) return;
    assert(e->n_tasks > 0);
    if (--e->n_tasks == 0)
        timer_start(&m->timers, &e->exit, m->now_ms + LIMIT_LOCAL_EXECUTOR_LINGER_MS, executor_exited, e);
}

static void push_update(struct master *m, struct task *t, Mesos__TaskState state, Mesos__TaskStatus__Source source,
                        int reason, const char *message)
{
    struct update *u = xcalloc(1, sizeof *u);
    random_uuid(&m->rng, u->uuid);
    u->state = state;
    u->source = source;
    u->reason = reason;
    u->message = message ? xstrdup(message) : NULL;
    u->timestamp = (double)m->now_ms / 1000.0;
    t->run_state = state;
    logline(LOG_DEBUG, "task", "id=%s state=%d agent=%s", t->id, (int)state, t->agent->id);
    bool first = t->queue == NULL;
    LL_APPEND(t->queue, u);
    if (first) deliver(t, LIMIT_LOCAL_UPDATE_RETRY_MS);
}

void master_task_event(struct master *m, struct task *t, Mesos__TaskState state, int reason, const char *message,
                       int64_t now_ms)
{
    struct update *u;
    int waiting;
    assert(now_ms >= m->now_ms);
    m->now_ms = now_ms;
    if (!t->on_agent || task_state_terminal(t->run_state)) return;
    LL_COUNT(t->queue, u, waiting);
    bool over = task_state_terminal(state);
    if (waiting >= LIMIT_LOCAL_TASK_UPDATES && !over) return;
    if (over) {
        timer_stop(&m->timers, &t->sim);
        t->run = NULL;
        leave_executor(m, t);
    }
    /* A reason is what the agent has to say, not the executor. */
    push_update(m, t, state,
                reason >= 0 ? MESOS__TASK_STATUS__SOURCE__SOURCE_SLAVE : MESOS__TASK_STATUS__SOURCE__SOURCE_EXECUTOR,
                reason, message);
}

void task_missing(struct master *m, struct task *t)
{
    bool aware = t->fw->capabilities & CAN_PARTITION;
    assert(!t->on_agent);
    t->on_agent = true;
    push_update(m, t, aware ? MESOS__TASK_STATE__TASK_DROPPED : MESOS__TASK_STATE__TASK_LOST,
                MESOS__TASK_STATUS__SOURCE__SOURCE_SLAVE, MESOS__TASK_STATUS__REASON__REASON_RECONCILIATION,
                "Reconciliation: task unknown to the agent");
}

void task_acknowledge(struct master *m, struct task *t, const uint8_t uuid[16])
{
    struct update *u = t->queue;
    if (!t->on_agent || !u || memcmp(u->uuid, uuid, sizeof u->uuid) != 0) return;
    bool over = task_state_terminal(u->state);
    t->queue = u->next;
    free(u->message);
    free(u);
    timer_stop(&m->timers, &t->retry);
    if (over) {
        task_drop_agent_half(m, t);
    } else {
        deliver(t, LIMIT_LOCAL_UPDATE_RETRY_MS);
    }
}
