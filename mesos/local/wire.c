#include "mesos/local/wire.h"

#include "core/err.h"
#include "core/logline.h"
#include "mesos/local/control.h"

#include "mesos/scheduler.pb-c.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

/* From the order to die to the death: the answer to the order must get out. */
enum { DEATH_MS = 20, RETRY_MS = 50 };

int64_t wire_now(const struct wire *w)
{
    return w->clock_base_ms + (int64_t)uv_now(w->loop);
}

static int64_t now_of(void *arg)
{
    return wire_now(arg);
}

/* ---------------- messages out ---------------- */

static void send_message(const struct upid *to, const char *name, const ProtobufCMessage *msg, void *arg)
{
    struct wire *w = arg;
    size_t n = protobuf_c_message_get_packed_size(msg);
    if (!w->process) return;
    buf_reset(&w->scratch);
    protobuf_c_message_pack(msg, buf_reserve(&w->scratch, n));
    faults_pass(w->faults, false, to, str_c(name), (struct str){ 0 }, w->scratch.data, n, wire_now(w));
}

static void link_peer(const struct upid *peer, void *arg)
{
    struct wire *w = arg;
    if (w->process) lp_link(w->process, peer);
}

/* ---------------- messages in ---------------- */

static void deliver(bool incoming, const struct upid *peer, struct str name, const void *body, size_t n, void *arg)
{
    struct wire *w = arg;
    if (!incoming) {
        if (w->process) lp_send(w->process, peer, name.p, body, n);
    } else if (!w->process) {
        return;
    } else if (str_eq(name, STR("mesos.internal.AuthenticateMessage"))) {
        authn_start(w->authn, w->lp, w->process, peer, body, n);
    } else {
        master_receive(w->m, peer, name, body, n, wire_now(w));
    }
}

/* "ACKNOWLEDGE": the type is the second field of a call and sent as `10 08` somewhere near its start; found by decoding
 * only when there are rules to be held against it. */
static struct str call_type(struct wire *w, struct str name, const void *body, size_t n)
{
    const struct fault *rules;
    if (!faults_list(w->faults, &rules) || !str_eq(name, STR("mesos.scheduler.Call"))) return (struct str){ 0 };
    Mesos__Scheduler__Call *c = mesos__scheduler__call__unpack(NULL, n, body);
    if (!c) return (struct str){ 0 };
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&mesos__scheduler__call__type__descriptor, (int)c->type);
    mesos__scheduler__call__free_unpacked(c, NULL);
    return v ? str_c(v->name) : (struct str){ 0 };
}

static void on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    struct wire *w = arg;
    (void)p;
    faults_pass(w->faults, true, from, name, call_type(w, name, body, n), body, n, wire_now(w));
}

static void on_exited(struct lp_process *p, const struct upid *peer, void *arg)
{
    struct wire *w = arg;
    (void)p;
    master_exited(w->m, peer, wire_now(w));
}

static void on_authentication_begin(const struct upid *scheduler, void *arg)
{
    struct wire *w = arg;
    master_authenticating(w->m, scheduler, wire_now(w));
}

static void on_authentication_end(const struct upid *scheduler, const char *principal, void *arg)
{
    struct wire *w = arg;
    master_authenticated(w->m, scheduler, principal, wire_now(w));
}

/* ---------------- tasks ---------------- */

static void *run_task(struct task *t, const Mesos__TaskInfo *info, void *arg)
{
    struct wire *w = arg;
    return runner_run(w->runner, t, info);
}

static void kill_task(void *run, int64_t grace_ms, void *arg)
{
    (void)arg;
    runner_kill(run, grace_ms);
}

static void forget_task(void *run, void *arg)
{
    (void)arg;
    runner_forget(run);
}

static void on_task_event(struct task *t, Mesos__TaskState state, int reason, const char *message, void *arg)
{
    struct wire *w = arg;
    master_task_event(w->m, t, state, reason, message, wire_now(w));
}

/* ---------------- time ---------------- */

static void on_timer(uv_timer_t *timer)
{
    (void)timer; /* the prepare handle does the work */
}

/* Before each wait for events: runs what is due and sets the alarm for the rest. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct wire *w = prepare->data;
    int64_t now = wire_now(w);
    timerq_run(&w->timers, now, 1000);
    master_run(w->m, now);
    int64_t a = timerq_next(&w->timers), b = master_next(w->m);
    int64_t next = a < 0 ? b : b < 0 ? a : a < b ? a : b;
    if (next >= 0) uv_timer_start(&w->timer, on_timer, next > now ? (uint64_t)(next - now) : 0, 0);
}

/* ---------------- start ---------------- */

static int open_port(struct wire *w, struct buf *err)
{
    struct libprocess_config c = { .loop = w->loop,
                                   .ip = w->options.ip,
                                   .port = w->port ? w->port : w->options.port,
                                   .advertise_ip = w->options.advertise_ip,
                                   .advertise_port = w->options.advertise_port };
    struct lp_handlers h = { on_message, on_exited, w };
    int rc = libprocess_new(&c, &w->lp);
    if (rc) {
        buf_addf(err, "cannot listen on %s:%u: %s", c.ip, c.port, err_str(rc));
        return rc;
    }
    w->port = libprocess_port(w->lp);
    rc = lp_spawn(w->lp, "master", &h, &w->process);
    assert(rc == 0);
    libprocess_on_http(w->lp, control_handle, w);
    master_set_self(w->m, lp_self(w->process));
    if (w->runner) runner_set_self(w->runner, lp_self(w->process));
    return 0;
}

static int open_work_dir(struct wire *w, struct buf *err)
{
    char own[64];
    const char *path = w->options.work_dir;
    if (!path) {
        snprintf(own, sizeof own, "/tmp/mesos-local.%d.%llx", (int)getpid(), (unsigned long long)w->clock_base_ms);
        path = own;
    }
    /* An own folder must be new; that the user's exists is fine, and all else shows below. */
    bool made = mkdir(path, 0755) == 0;
    char *real = made || w->options.work_dir ? realpath(path, NULL) : NULL;
    int n = real ? snprintf(w->work_dir, sizeof w->work_dir, "%s", real) : -1;
    free(real);
    if (n > 0 && (size_t)n < sizeof w->work_dir) return 0;
    buf_addf(err, "cannot use the work folder %s", path);
    return ERR_IO;
}

static struct master_config master_settings(struct wire *w)
{
    const struct options *o = &w->options;
    struct master_config c = { .hostname = o->hostname ? o->hostname : o->ip,
                               .seed = o->seed,
                               .allocation_interval_ms = o->allocation_interval_ms,
                               .offer_timeout_ms = o->offer_timeout_ms,
                               .agent_reregister_ms = o->agent_reregister_ms,
                               .authenticate = o->authenticate,
                               .script = o->script,
                               .io = { .send = send_message, .link = link_peer, .arg = w } };
    if (!o->simulate) {
        c.io.run = run_task;
        c.io.kill = kill_task;
        c.io.forget = forget_task;
    }
    return c;
}

static void make_parts(struct wire *w)
{
    const struct options *o = &w->options;
    struct master_config mc = master_settings(w);
    struct authn_config ac = { .timers = &w->timers,
                               .timeout_ms = o->authentication_timeout_ms,
                               .seed = o->seed,
                               .hostname = mc.hostname,
                               .now_ms = now_of,
                               .on_begin = on_authentication_begin,
                               .on_end = on_authentication_end,
                               .arg = w };
    struct faults_config fc = { .timers = &w->timers, .deliver = deliver, .arg = w };
    w->m = master_new(&mc, wire_now(w));
    w->authn = authn_new(&ac);
    w->faults = faults_new(&fc);
}

static int add_agents(struct wire *w, struct buf *err)
{
    const struct options *o = &w->options;
    struct agent_spec spec = { str_c(o->agent_resources), str_c(o->attributes), str_c(o->agent_hostname) };
    return master_add_agents(w->m, &spec, o->agents, wire_now(w), err);
}

static void start_handles(struct wire *w)
{
    uv_timer_init(w->loop, &w->timer);
    uv_timer_init(w->loop, &w->restart);
    uv_prepare_init(w->loop, &w->prepare);
    w->timer.data = w->restart.data = w->prepare.data = w;
    w->open_handles = 3;
    uv_prepare_start(&w->prepare, on_prepare);
}

static void free_parts(struct wire *w)
{
    authn_free(w->authn);
    faults_free(w->faults);
    /* A folder of its own that nothing was put into isn't left behind. */
    if (!w->options.work_dir && w->work_dir[0]) rmdir(w->work_dir);
    timerq_release(&w->timers);
    buf_release(&w->scratch);
}

int wire_start(struct wire *w, uv_loop_t *loop, const struct options *o, struct str credentials, struct guard *guard,
               struct buf *err)
{
    struct timeval tv;
    gettimeofday(&tv, NULL);
    *w = (struct wire){ .loop = loop, .options = *o, .guard = guard };
    w->clock_base_ms = (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 - (int64_t)uv_now(loop);
    make_parts(w);
    int rc = credentials.p ? authn_load(w->authn, credentials, err) : 0;
    if (!rc) rc = add_agents(w, err);
    if (!rc) rc = open_work_dir(w, err);
    struct runner_config rcfg = {
        .loop = loop, .work_dir = w->work_dir, .seed = o->seed, .guard = guard, .on_event = on_task_event, .arg = w
    };
    if (!rc && !o->simulate) rc = runner_new(&rcfg, &w->runner);
    if (!rc) rc = open_port(w, err);
    if (rc) {
        master_free(w->m);
        if (w->runner) runner_close(w->runner, NULL, NULL);
        free_parts(w);
        return rc;
    }
    start_handles(w);
    return 0;
}

/* ---------------- fail-over ---------------- */

static void on_restart(uv_timer_t *timer)
{
    struct wire *w = timer->data;
    struct buf err = { 0 };
    if (w->closing) return;
    if (open_port(w, &err)) {
        /* Somebody has the port for a moment; there's no other that would do. */
        logline(LOG_WARN, "restart", "error=%s", buf_cstr(&err));
        uv_timer_start(&w->restart, on_restart, RETRY_MS, 0);
    }
    buf_release(&err);
}

static void on_died(void *arg)
{
    struct wire *w = arg;
    if (!w->closing) uv_timer_start(&w->restart, on_restart, (uint64_t)w->down_ms, 0);
}

static void drop_connections(struct wire *w, void (*cb)(void *arg))
{
    struct libprocess *lp = w->lp;
    w->lp = NULL;
    w->process = NULL;
    authn_reset(w->authn);
    faults_forget(w->faults);
    libprocess_close(lp, cb, w);
}

static void on_death(uv_timer_t *timer)
{
    struct wire *w = timer->data;
    if (w->lp && !w->closing) drop_connections(w, on_died);
}

int wire_failover(struct wire *w, int64_t down_ms, int64_t agents_after_ms, int64_t agents_spread_ms)
{
    if (!w->lp || uv_is_active((uv_handle_t *)&w->restart)) return ERR_BUSY;
    w->down_ms = down_ms;
    uv_timer_start(&w->restart, on_death, DEATH_MS, 0);
    /* From now on it knows nobody, so nobody hears from it. */
    int64_t after = agents_after_ms < 0 ? -1 : DEATH_MS + down_ms + agents_after_ms;
    master_failover(w->m, after, agents_spread_ms, wire_now(w));
    return 0;
}

/* ---------------- the end ---------------- */

static void maybe_closed(struct wire *w)
{
    if (w->open_handles || w->lp || w->runner) return;
    free_parts(w);
    if (w->cb) w->cb(w->arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct wire *w = h->data;
    w->open_handles--;
    maybe_closed(w);
}

static void on_port_closed(void *arg)
{
    struct wire *w = arg;
    w->open_handles--;
    maybe_closed(w);
}

static void on_runner_closed(void *arg)
{
    struct wire *w = arg;
    w->runner = NULL;
    maybe_closed(w);
}

void wire_close(struct wire *w, void (*cb)(void *arg), void *arg)
{
    assert(!w->closing);
    w->closing = true;
    w->cb = cb;
    w->arg = arg;
    uv_close((uv_handle_t *)&w->timer, on_handle_closed);
    uv_close((uv_handle_t *)&w->restart, on_handle_closed);
    uv_close((uv_handle_t *)&w->prepare, on_handle_closed);
    if (w->lp) {
        w->open_handles++;
        drop_connections(w, on_port_closed);
    }
    /* It forgets its tasks, which ends them. */
    master_free(w->m);
    w->m = NULL;
    if (w->runner) runner_close(w->runner, on_runner_closed, w);
}
