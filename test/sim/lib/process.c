#include "test/sim/lib/process.h"

#include "admin/pipeline.h"
#include "core/buf.h"
#include "core/store.h"
#include "core/task_fsm.h"
#include "core/thrift.h"
#include "log/stream.h"
#include "test/sim/lib/simlog.h"
#include "zk/election.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define EPOCH_MS INT64_C(1600000000000)
/* admin/app.c */
#define SCHED_TIMER_MAX_MS 60000
#define REGISTER_RETRY_MS 1000
#define BUSY_RETRY_MS 100
#define WATCH_MAX_US 6000000
/* Small, so that entries get framed. */
#define MAX_ENTRY_BYTES 6000

enum process_timer { TIMER_SCHED, TIMER_REGISTER, TIMER_SNAPSHOT, TIMERS };

struct process {
    struct loop loop; /* first: on_drained() finds the process by it */
    struct host *host;
    struct log *log;
    struct sched_config config;
    struct stats *stats;
    struct sched *sched;
    struct pipeline *pipeline;
    struct stream *stream;
    struct zk_session *session;
    struct zk_election *election;
    struct mesos_link *link;
    uv_timer_t timers[TIMERS];
    uv_check_t release;
    struct str framework_id;
    uint64_t proposal; /* with which it was elected */
    bool elected, by_zookeeper, ready, registered, active, stopping;
    uint64_t registered_after;
};

static struct checker *check_of(const struct process *p)
{
    return &p->host->s->c.check;
}

static int64_t now_ms(void *arg)
{
    const struct process *p = arg;
    return EPOCH_MS + (int64_t)world_ms(p->loop.w) + p->host->clock_ms;
}

/* ---- the end of a process ---- */

struct end_event {
    struct event e;
    struct process *p;
};

static void on_end(struct event *e)
{
    struct process *p = ((struct end_event *)e)->p;
    struct host *h = p->host;
    if (h->p == p) {
        process_kill(h);
        h->s->on_exit(h);
    }
    p->loop.due--;
    if (p->loop.dead && !p->loop.due) p->loop.on_drained(&p->loop);
}

/* It ends soon; until then it does nothing more that anybody could see. */
static void stop(struct process *p)
{
    if (p->stopping) return;
    p->stopping = true;
    struct end_event *v = world_after(p->loop.w, world_between(p->loop.w, 0, 1000), sizeof(*v), on_end);
    v->p = p;
    p->loop.due++;
}

/* ---- what leaves: it must be in the log ---- */

static const enum api_schedule_status meaning[] = {
    [MESOS_STARTING] = API_SCHEDULE_STATUS_STARTING, [MESOS_RUNNING] = API_SCHEDULE_STATUS_RUNNING,
    [MESOS_FINISHED] = API_SCHEDULE_STATUS_FINISHED, [MESOS_FAILED] = API_SCHEDULE_STATUS_FAILED,
    [MESOS_KILLED] = API_SCHEDULE_STATUS_KILLED,     [MESOS_LOST] = API_SCHEDULE_STATUS_LOST,
};

/* A leader that was deposed without knowing it may take its successor's task for one that nobody wants. */
static bool is_stranger(const struct process *p, struct str task_id)
{
    return p->proposal < p->host->s->c.check.elected && !store_task(sched_store(p->sched), task_id);
}

static void check_launch(struct process *p, const struct effect *e)
{
    for (uint32_t i = 0; i < e->launch.n_tasks; i++)
        if (!truth_has_task(&p->host->s->truth, e->launch.tasks[i].task->id, API_SCHEDULE_STATUS_ASSIGNED))
            checker_fail(check_of(p), "node %u launches a task that is not in the log", p->host->id);
}

static void check_kill(struct process *p, const struct effect *e)
{
    const struct task *t = store_task(p->host->s->truth.store, e->kill.task_id);
    if (is_stranger(p, e->kill.task_id)) return;
    if (t && status_in(t->status, ST(PENDING) | ST(ASSIGNED) | ST(STARTING) | ST(RUNNING)))
        checker_fail(check_of(p), "node %u kills a task that is to run, says the log", p->host->id);
}

/* Not one that would still change the task. */
static void check_ack(struct process *p, const struct effect *e)
{
    const struct truth *truth = &p->host->s->truth;
    enum api_schedule_status to = meaning[mesos_state_of(e->ack.uuid)];
    const struct task *t = store_task(truth->store, e->ack.task_id);
    struct task_facts facts = { .is_service = true };
    unsigned actions;
    if (!t || truth_has_task(truth, e->ack.task_id, to) || is_stranger(p, e->ack.task_id)) return;
    if (task_fsm(t->status, to, &facts, &actions) == TASK_CHANGED)
        checker_fail(check_of(p), "node %u acknowledges an update that is not in the log", p->host->id);
}

static void on_effect(const struct effect *e, void *arg)
{
    struct process *p = arg;
    if (p->stopping) return;
    truth_advance(&p->host->s->truth);
    if (e->type == EFFECT_LAUNCH) check_launch(p, e);
    if (e->type == EFFECT_KILL) check_kill(p, e);
    if (e->type == EFFECT_ACK) check_ack(p, e);
    mesos_effect(p->link, e);
}

static void on_reply(uint64_t cookie, const struct api_response *response, struct held *h, void *arg)
{
    struct process *p = arg;
    (void)h;
    if (p->stopping) return;
    truth_advance(&p->host->s->truth);
    p->host->s->on_reply(p->host, cookie, response);
}

/* ---- the data path ---- */

static void step(struct process *p, struct sched_event *ev)
{
    if (!p->stopping) pipeline_step(p->pipeline, ev);
}

static void on_sched_timer(uv_timer_t *t)
{
    step(t->data, &(struct sched_event){ .type = EV_TIMER });
}

static void on_stepped(void *arg)
{
    struct process *p = arg;
    int64_t wait = sched_timeout(p->sched) - now_ms(p);
    if (wait < 1) wait = 1;
    if (wait > SCHED_TIMER_MAX_MS) wait = SCHED_TIMER_MAX_MS;
    uv_timer_start(&p->timers[TIMER_SCHED], on_sched_timer, (uint64_t)wait, 0);
}

static uint64_t append(const struct api_op *ops, uint32_t n, void *arg)
{
    struct process *p = arg;
    if (sched_busy(p->sched)) stream_hold(p->stream, true);
    uint64_t index = stream_append(p->stream, ops, n);
    if (!sched_busy(p->sched)) stream_hold(p->stream, false);
    return index;
}

static uint64_t durable(void *arg)
{
    const struct process *p = arg;
    return stream_durable(p->stream);
}

/* All that is decided is durable: memory is what the log says. */
static void compare_leader(struct process *p)
{
    struct truth *truth = &p->host->s->truth;
    uint64_t hash;
    if (pipeline_held(p->pipeline) || stream_queued_bytes(p->stream) || sched_busy(p->sched)) return;
    uint64_t next = p->host->s->c.nodes[p->host->id].next;
    p->host->s->n_comparisons++;
    if (!truth_hash(truth, next, &hash) || hash != store_hash(sched_store(p->sched)))
        checker_fail(check_of(p), "the memory of leader %u is not what the log says below %llu", p->host->id,
                     (unsigned long long)next);
}

static void check_registered(struct process *p)
{
    if (p->active || !p->registered || stream_durable(p->stream) < p->registered_after) return;
    p->active = true;
    if (p->by_zookeeper) zk_election_advertise(p->election);
}

static void on_release(uv_check_t *c)
{
    struct process *p = c->data;
    uv_check_stop(c);
    if (p->stopping) return;
    pipeline_durable(p->pipeline, stream_durable(p->stream));
    if (pipeline_releasable(p->pipeline)) uv_check_start(c, on_release);
}

static void on_durable(uint64_t index, void *arg)
{
    struct process *p = arg;
    if (p->stopping) return;
    pipeline_durable(p->pipeline, index);
    if (pipeline_releasable(p->pipeline)) uv_check_start(&p->release, on_release);
    if (world_chance(p->loop.w, 200)) compare_leader(p);
    check_registered(p);
}

/* ---- Mesos ---- */

static void on_register(uv_timer_t *t)
{
    struct process *p = t->data;
    if (p->stopping || p->registered) return;
    mesos_register(p->link, p->framework_id);
    uv_timer_start(t, on_register, REGISTER_RETRY_MS, 0);
}

/* The id stays the process's, as the driver keeps it. */
static void on_registered(struct process *p, struct sched_event *ev)
{
    if (p->registered) return; /* asked twice */
    p->registered = true;
    if (!p->framework_id.p)
        p->framework_id = (struct str){ xstrndup(ev->registered.framework_id.p, ev->registered.framework_id.n),
                                        ev->registered.framework_id.n };
    p->registered_after = pipeline_step(p->pipeline, ev);
    check_registered(p);
}

static void on_mesos_event(struct sched_event *ev, void *arg)
{
    struct process *p = arg;
    if (p->stopping) return;
    if (ev->type == EV_REGISTERED) {
        on_registered(p, ev);
        return;
    }
    if (ev->type == EV_DISCONNECTED) {
        p->registered = false;
        uv_timer_start(&p->timers[TIMER_REGISTER], on_register, REGISTER_RETRY_MS, 0);
    }
    step(p, ev);
}

static void on_fatal(void *arg)
{
    stop(arg);
}

/* ---- storage ---- */

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct process *p = arg;
    return sched_replace_store(p->sched, state);
}

static int on_op(const struct api_op *op, void *arg)
{
    struct process *p = arg;
    return sched_apply(p->sched, op);
}

static void on_snapshot_timer(uv_timer_t *t);

static void arm_snapshot(struct process *p)
{
    uint64_t max = p->host->s->snapshot_max_us;
    if (max) uv_timer_start(&p->timers[TIMER_SNAPSHOT], on_snapshot_timer, world_between(p->loop.w, 1, max) / 1000, 0);
}

static void on_snapshot_written(int err, void *arg)
{
    struct process *p = arg;
    if (err || p->stopping) return;
    arm_snapshot(p);
}

static void on_snapshot_timer(uv_timer_t *t)
{
    struct process *p = t->data;
    if (p->stopping) return;
    if (sched_busy(p->sched))
        uv_timer_start(t, on_snapshot_timer, BUSY_RETRY_MS, 0);
    else if (stream_snapshot(p->stream, sched_store(p->sched), on_snapshot_written, p) != 0)
        arm_snapshot(p);
}

/* Replayed and ours. What it knows is what the log says, before it decides anything itself. */
static void on_ready(void *arg)
{
    struct process *p = arg;
    struct host *h = p->host;
    if (p->stopping) return;
    p->ready = true;
    h->s->n_takeovers++;
    p->proposal = h->s->c.nodes[h->id].writer.proposal;
    compare_leader(p);
    step(p, &(struct sched_event){ .type = EV_LEADING });
    struct str id = sched_framework_id(p->sched);
    if (id.p) p->framework_id = (struct str){ xstrndup(id.p, id.n), id.n };
    p->link = mesos_connect(h->s->mesos, &p->loop, on_mesos_event, on_fatal, p);
    on_register(&p->timers[TIMER_REGISTER]);
    arm_snapshot(p);
}

static void on_failed(const char *why, void *arg)
{
    (void)why;
    stop(arg);
}

/* ---- leadership ---- */

static void begin_leading(struct process *p)
{
    if (p->stopping || p->elected) return;
    p->elected = true;
    stream_start(p->stream);
}

static void on_elected(void *arg)
{
    struct process *p = arg;
    p->by_zookeeper = true;
    begin_leading(p);
}

void process_usurp(struct host *h)
{
    begin_leading(h->p);
}

static void on_defeated(const char *why, void *arg)
{
    (void)why;
    stop(arg);
}

static void on_leader(const struct zk_endpoint *leader, void *arg)
{
    (void)leader;
    (void)arg;
}

static void open_election(struct process *p)
{
    struct world *w = p->loop.w;
    char uuid[37], name[16];
    snprintf(uuid, sizeof(uuid), "%08x-0000-4000-8000-%012llx", (unsigned)rng_next(&w->rng),
             (unsigned long long)(rng_next(&w->rng) >> 16));
    snprintf(name, sizeof(name), "host%u", p->host->id);
    struct zk_election_config c = { .session = p->session,
                                    .path = "/aurora",
                                    .host = name,
                                    .port = 8081,
                                    .endpoint_name = "http",
                                    .uuid = uuid,
                                    .on_elected = on_elected,
                                    .on_defeated = on_defeated,
                                    .on_leader = on_leader,
                                    .on_failed = on_defeated,
                                    .arg = p };
    int err = zk_election_new(&c, &p->election);
    assert(!err);
    zk_election_join(p->election);
}

/* ---- followers ---- */

struct watch_event {
    struct event e;
    struct process *p;
};

/* What a follower has applied is what the log says up to there. */
static void compare_follower(struct process *p)
{
    struct truth *truth = &p->host->s->truth;
    uint64_t hash, next = log_heard(p->log) - stream_lag(p->stream);
    if (p->ready || next < truth_whole_from(truth, log_begin(p->log))) return;
    p->host->s->n_comparisons++;
    if (!truth_hash(truth, next, &hash) || hash != store_hash(sched_store(p->sched)))
        checker_fail(check_of(p), "the memory of follower %u is not what the log says below %llu", p->host->id,
                     (unsigned long long)next);
}

static void on_watch(struct event *e)
{
    struct watch_event *v = (struct watch_event *)e;
    struct process *p = v->p;
    if (p->loop.dead) {
        p->loop.due--;
        if (!p->loop.due) p->loop.on_drained(&p->loop);
        return;
    }
    if (!p->stopping && !checker_failed(check_of(p))) compare_follower(p);
    e->at_us += world_between(p->loop.w, 1000, WATCH_MAX_US);
}

/* ---- life ---- */

static struct executor_setting executors[] = { { { "shell", 5 }, 0, 0, 0 } };

static void configure(struct process *p)
{
    struct sched_config *c = &p->config;
    sched_config_defaults(c);
    c->cluster_name = STR("test");
    c->hostname = STR("scheduler.example");
    c->seed = rng_next(&p->loop.w->rng);
    c->executors = executors;
    c->n_executors = 1;
    c->initial_schedule_penalty = 500;
    c->max_schedule_penalty = 4000;
    c->initial_flapping_task_delay = 500;
    c->max_flapping_task_delay = 5000;
    c->max_reschedule_task_delay_on_startup = 1000;
    c->min_offer_hold_time = 20000;
    c->offer_hold_jitter_window = 5000;
    c->offer_filter_duration = 1000;
    c->transient_task_state_timeout = 20000;
    c->initial_task_kill_retry_interval = 2000;
    c->reconciliation_explicit_interval = 60000;
    c->reconciliation_implicit_interval = 60000;
    c->reconciliation_schedule_spread = 60000;
    c->history_prune_threshold = 3600000;
    c->history_min_retention_threshold = 600000;
}

static void on_drained(struct loop *l)
{
    struct process *p = (struct process *)l;
    p->host->s->processes--;
    free(p);
}

static void open_parts(struct process *p)
{
    struct host *h = p->host;
    p->stats = stats_new();
    p->sched = sched_new(&p->config, p->stats);
    p->log = simlog_new(&h->s->c.nodes[h->id]);
    struct stream_config sc = { .loop = &p->loop.uv,
                                .log = p->log,
                                .max_entry_bytes = MAX_ENTRY_BYTES,
                                .now_ms = now_ms,
                                .on_snapshot = on_snapshot,
                                .on_op = on_op,
                                .on_ready = on_ready,
                                .on_durable = on_durable,
                                .on_failed = on_failed,
                                .arg = p };
    int err = stream_new(&sc, &p->stream);
    assert(!err);
    struct pipeline_config pc = { .sched = p->sched,
                                  .stats = p->stats,
                                  .now_ms = now_ms,
                                  .append = append,
                                  .durable = durable,
                                  .effect = on_effect,
                                  .reply = on_reply,
                                  .stepped = on_stepped,
                                  .arg = p };
    p->pipeline = pipeline_new(&pc);
}

void process_start(struct host *h)
{
    struct sched_cluster *s = h->s;
    assert(!h->p);
    struct process *p = h->p = xcalloc(1, sizeof(*p));
    loop_init(&p->loop, &s->c.w);
    p->loop.on_drained = on_drained;
    p->loop.work_max_us = world_between(&s->c.w, 100, 50000);
    p->host = h;
    s->processes++;
    configure(p);
    open_parts(p);
    for (int i = 0; i < TIMERS; i++) {
        uv_timer_init(&p->loop.uv, &p->timers[i]);
        p->timers[i].data = p;
    }
    uv_check_init(&p->loop.uv, &p->release);
    p->release.data = p;
    struct watch_event *v = world_after(&s->c.w, WATCH_MAX_US, sizeof(*v), on_watch);
    v->p = p;
    p->loop.due++;
    node_start(&s->c.nodes[h->id]);
    stream_follow(p->stream);
    p->session = zookeeper_connect(s->zk, &p->loop);
    open_election(p);
}

static void on_stream_closed(void *arg)
{
    struct process *p = arg;
    pipeline_free(p->pipeline);
    sched_free(p->sched);
    stats_free(p->stats);
    free((char *)p->framework_id.p);
}

static void nothing(uv_handle_t *h)
{
    (void)h;
}

/* Its memory goes in the order of an orderly end, but nobody hears of it. */
void process_kill(struct host *h)
{
    struct process *p = h->p;
    struct node *n = &h->s->c.nodes[h->id];
    h->p = NULL;
    p->stopping = true;
    loop_kill(&p->loop);
    zookeeper_vanish(p->session);
    zk_election_free(p->election);
    if (p->link) mesos_vanish(p->link);
    for (int i = 0; i < TIMERS; i++) uv_close((uv_handle_t *)&p->timers[i], nothing);
    uv_close((uv_handle_t *)&p->release, nothing);
    stream_close(p->stream, on_stream_closed, p);
    simlog_free(p->log);
    if (n->up) node_crash(n);
}

void process_pause(struct host *h, uint64_t us)
{
    struct node *n = &h->s->c.nodes[h->id];
    node_pause(n, us);
    h->p->loop.resume_us = n->resume_us;
    zookeeper_paused(h->p->session);
}

bool process_call(struct host *h, uint64_t cookie, const char *method, const char *args_json)
{
    struct process *p = h->p;
    struct arena a = { 0 };
    struct buf err = { 0 };
    const struct tmethod *m = api_methods;
    if (!p || !p->ready || p->stopping || !pipeline_has_room(p->pipeline)) return false;
    while (strcmp(m->name, method) != 0) m++;
    void *args = arena_alloc(&a, m->args->size);
    int rv = json_read(args_json, strlen(args_json), m->args, args, &a, JSON_STRICT, &err);
    assert(!rv);
    struct sched_event ev = { .type = EV_COMMAND };
    ev.command.cookie = cookie;
    ev.command.method = m;
    ev.command.args = args;
    ev.command.user = STR("UNSECURE");
    step(p, &ev);
    arena_release(&a);
    buf_release(&err);
    return true;
}

bool process_is_rightful(const struct host *h)
{
    const struct process *p = h->p;
    return p && p->ready && zookeeper_is_alive(p->session) && p->proposal >= h->s->c.check.elected;
}

bool process_is_active(const struct host *h)
{
    return h->p && h->p->active && !h->p->stopping;
}

const struct store *process_store(const struct host *h)
{
    return sched_store(h->p->sched);
}

uint64_t process_lag(const struct host *h)
{
    return stream_lag(h->p->stream);
}

struct zk_session *process_session(const struct host *h)
{
    return h->p->session;
}

struct mesos_link *process_link(const struct host *h)
{
    return h->p->link;
}

/* ---- the whole ---- */

static struct host *host_of(struct node *n)
{
    return &((struct sched_cluster *)n->c)->hosts[n->id];
}

static void on_node_done(struct node *n, enum doing what, int err)
{
    (void)what;
    if (host_of(n)->p) simlog_done(host_of(n)->p->log, err);
}

static void on_node_down(struct node *n)
{
    struct host *h = host_of(n);
    process_kill(h);
    h->s->on_exit(h);
}

static void on_node_changed(struct node *n)
{
    struct process *p = host_of(n)->p;
    if (p && !p->stopping) simlog_changed(p->log);
}

void sched_cluster_init(struct sched_cluster *s, uint64_t seed, unsigned n, bool auto_initialize)
{
    *s = (struct sched_cluster){ 0 };
    cluster_init(&s->c, seed, n, auto_initialize);
    s->c.on_done = on_node_done;
    s->c.on_down = on_node_down;
    s->c.on_changed = on_node_changed;
    truth_init(&s->truth, &s->c.check);
    s->zk = zookeeper_new(&s->c.w);
    s->mesos = mesos_new(&s->c.w);
    for (unsigned i = 0; i < n; i++) s->hosts[i] = (struct host){ .s = s, .id = i };
}

void sched_cluster_release(struct sched_cluster *s)
{
    s->over = true;
    mesos_stop(s->mesos);
    for (unsigned i = 0; i < s->c.n; i++)
        if (s->hosts[i].p) process_kill(&s->hosts[i]);
    while (world_step(&s->c.w, UINT64_MAX)) continue;
    assert(!s->processes);
    truth_release(&s->truth);
    mesos_free(s->mesos);
    zookeeper_free(s->zk);
    cluster_release(&s->c);
}
