#include "admin/app.h"

#include "admin/exchange.h"
#include "admin/logsink.h"
#include "admin/memory.h"
#include "admin/procstats.h"
#include "admin/recovery.h"
#include "admin/snapshots.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "core/store.h"

#include <systemd/sd-daemon.h>

#include <assert.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* An orderly end has this long; then the process just ends, which is as safe as kill -9 is. */
#define STOP_TIMEOUT_MS 5000
/* The clock of sched_timeout() can be set, the one of timers can't: look at the former at least so often. */
#define SCHED_TIMER_MAX_MS 60000
/* A loop that runs learns by a timer that its session is over: later than this it has stood still. */
#define LEAD_LATE_MS 100
/* How often it is looked for memory to give back, in ticks of the statistics. */
#define TRIM_TICKS 5

static const char *const state_names[] = {
#define X(name) #name,
    LIFECYCLE_MAP(X)
#undef X
};

const char *lifecycle_name(enum lifecycle state)
{
    return state_names[state];
}

int64_t app_now_ms(void *arg)
{
    (void)arg;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    int rv = uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL);
    assert(rv == 0);
    return seed;
}

void app_enter(struct app *a, enum lifecycle state)
{
    assert(state == LIFECYCLE_DEAD || state == a->state || state == a->state + 1);
    stat_set(a->state_stats[a->state], 0);
    a->state = state;
    stat_set(a->state_stats[state], 1);
    logline(LOG_INFO, "lifecycle", "state=%s", state_names[state]);
    (void)sd_notifyf(0, "STATUS=%s", state_names[state]);
}

void app_start_timer(struct app *a, enum app_timer t, uv_timer_cb cb, int64_t ms, int64_t repeat_ms)
{
    if (!a->stopping) uv_timer_start(&a->timers[t], cb, (uint64_t)ms, (uint64_t)repeat_ms);
}

/* ---------------- the data path ---------------- */

/* A leader that was stopped for a while may have been replaced and not know it yet. The log refuses what it would
 * write; but what it would tell from memory is out of date, and the tasks that it would kill as unknown are another's.
 * It wakes up in the middle of a pass of the loop, with signs of life from ZooKeeper that may be as old as the pause.
 * So whatever comes from outside first asks for the time up to which the session was sure to last before the loop
 * waited. */
static bool stood_still(struct app *a)
{
    if (!a->ready || a->stopping || !a->lead || !a->leads_until_ns || uv_hrtime() < a->leads_until_ns) return false;
    app_stop(a, 0, "the ZooKeeper session was lost while this process stood still");
    return true;
}

static void renew_lead(struct app *a)
{
    (void)stood_still(a);
    if (a->lead && !a->stopping)
        a->leads_until_ns = uv_hrtime() + (zk_session_left_ms(lead_session(a->lead)) + LEAD_LATE_MS) * 1000000;
}

static void on_sched_timer(uv_timer_t *t)
{
    struct app *a = t->data;
    if (a->frozen || stood_still(a)) return;
    struct sched_event ev = { .type = EV_TIMER };
    pipeline_step(a->pipeline, &ev);
}

static void arm_sched_timer(void *arg)
{
    struct app *a = arg;
    int64_t wait = sched_timeout(a->sched) - app_now_ms(NULL);
    /* uv runs a timer of 0 that is set in a timer's callback in the same pass: work without end would starve all else.
     */
    if (wait < 1) wait = 1;
    if (wait > SCHED_TIMER_MAX_MS) wait = SCHED_TIMER_MAX_MS;
    app_start_timer(a, TIMER_SCHED, on_sched_timer, wait, 0);
}

static uint64_t append(const struct api_op *ops, uint32_t n, void *arg)
{
    struct app *a = arg;
    /* The last slice of a command belongs into the same entry: the hold ends behind it. */
    if (sched_busy(a->sched)) stream_hold(a->stream, true);
    uint64_t index = stream_append(a->stream, ops, n);
    if (!sched_busy(a->sched)) stream_hold(a->stream, false);
    stat_set(a->queue_stat, (int64_t)stream_queued_bytes(a->stream));
    return index;
}

static uint64_t durable(void *arg)
{
    struct app *a = arg;
    return stream_durable(a->stream);
}

static void on_effect(const struct effect *e, void *arg)
{
    struct app *a = arg;
    if (!a->stopping) driver_effect(a->driver, e);
}

static void on_reply(uint64_t cookie, const struct api_response *response, struct held *h, void *arg)
{
    rpc_on_reply(arg, cookie, response, h);
}

bool app_leads(struct app *a)
{
    return a->ready && !stood_still(a) && !a->stopping;
}

bool app_accepts_command(struct app *a, const char **why)
{
    if (!app_leads(a))
        *why = "Storage is not READY";
    else if (a->frozen)
        *why = "A backup is being restored";
    else if (!pipeline_has_room(a->pipeline) || stream_queued_bytes(a->stream) > LIMIT_PENDING_LOG_BYTES)
        *why = "Too many requests wait for the log";
    else
        return true;
    return false;
}

/* ---------------- Mesos ---------------- */

static void on_registration_timeout(uv_timer_t *t)
{
    app_stop(t->data, 1, "Mesos has not registered the framework within max_registration_delay");
}

static void on_leading_timeout(uv_timer_t *t)
{
    app_stop(t->data, 0, "max_leading_duration has passed");
}

/* The framework's id is saved before anybody is told that we are active. */
static void check_registered(struct app *a)
{
    if (a->state != LIFECYCLE_LEADER_AWAITING_REGISTRATION || !a->registered) return;
    if (stream_durable(a->stream) < a->registered_after) return;
    uv_timer_stop(&a->timers[TIMER_REGISTRATION]);
    app_enter(a, LIFECYCLE_ACTIVE);
    if (a->lead) lead_advertise(a->lead);
}

static void step_statuses(struct app *a)
{
    if (!a->statuses.n) return;
    struct sched_event ev = statuses_event(&a->statuses);
    pipeline_step(a->pipeline, &ev);
    statuses_clear(&a->statuses);
}

static void gather_statuses(struct app *a, struct sched_event ev)
{
    while (ev.status.n) {
        uint32_t taken = statuses_add(&a->statuses, &ev);
        ev.status.v += taken;
        ev.status.n -= taken;
        if (statuses_full(&a->statuses)) step_statuses(a);
    }
}

/* Nothing but its being active: the loop then polls without waiting. */
static void on_go_on(uv_idle_t *i)
{
    (void)i;
}

/* What one pass has gathered leaves before the loop waits again. */
static void on_pass(uv_prepare_t *p)
{
    struct app *a = p->data;
    renew_lead(a);
    if (!a->stopping) {
        if (!a->frozen) step_statuses(a);
        if (pipeline_releasable(a->pipeline)) pipeline_durable(a->pipeline, stream_durable(a->stream));
    }
    if (!a->stopping && pipeline_releasable(a->pipeline))
        uv_idle_start(&a->go_on, on_go_on);
    else
        uv_idle_stop(&a->go_on);
    logsink_flush();
}

static void on_driver_event(const struct sched_event *ev, void *arg)
{
    struct app *a = arg;
    if (a->stopping || a->frozen || stood_still(a)) return;
    if (ev->type == EV_STATUS) {
        gather_statuses(a, *ev);
        return;
    }
    step_statuses(a); /* events of the driver keep their order */
    struct sched_event copy = *ev;
    uint64_t after = pipeline_step(a->pipeline, &copy);
    if (ev->type == EV_REGISTERED) {
        stat_set(a->registered_stat, 1);
        master_found(a->master);
        a->registered = true;
        a->registered_after = after;
        check_registered(a);
    } else if (ev->type == EV_DISCONNECTED) {
        stat_set(a->registered_stat, 0);
        master_lost(a->master);
    }
}

static void on_driver_fatal(const char *why, void *arg)
{
    app_stop(arg, 1, why);
}

static void on_master(const char *pid, void *arg)
{
    struct app *a = arg;
    if (!a->stopping && driver_set_master(a->driver, pid) != 0) app_stop(a, 1, "the master's address is malformed");
}

/* Sharing the election's session saves a connection, where the master's znodes are on the same servers. */
static int start_master(struct app *a)
{
    const struct flags *f = a->flags;
    struct master_config c = { .loop = a->loop,
                               .address = flag_text(f, FLAG_mesos_master_address),
                               .session = a->lead ? lead_session(a->lead) : NULL,
                               .session_endpoints = flag_text(f, FLAG_zk_endpoints),
                               .session_credentials = flag_text(f, FLAG_zk_digest_credentials),
                               .on_master = on_master,
                               .arg = a };
    return master_new(&c, &a->master);
}

static int start_driver(struct app *a)
{
    const struct flags *f = a->flags;
    struct buf url = { 0 };
    buf_addf(&url, "%s://%s:%u", flag_text(f, FLAG_serverset_endpoint_name), a->settings->hostname.p, a->http_port);
    struct driver_config c = {
        .loop = a->loop,
        .lp = a->lp,
        .framework = { .user = flag_str(f, FLAG_executor_user),
                       .name = flag_str(f, FLAG_framework_name),
                       .id = sched_framework_id(a->sched),
                       .hostname = a->settings->hostname,
                       .webui_url = str_c(buf_cstr(&url)),
                       .role = flag_str(f, FLAG_mesos_role),
                       .failover_timeout_secs = (double)flag_ms(f, FLAG_framework_failover_timeout) / 1000,
                       .checkpoint = true,
                       .announce_principal = flag_bool(f, FLAG_framework_announce_principal),
                       .revocable_resources = flag_bool(f, FLAG_receive_revocable_resources),
                       .gpu_resources = flag_bool(f, FLAG_allow_gpu_resource),
                       .partition_aware = flag_bool(f, FLAG_partition_aware) },
        .principal = a->settings->principal,
        .secret = a->settings->secret,
        .executors = a->settings->executors,
        .cluster_name = flag_str(f, FLAG_cluster_name),
        .populate_discovery_info = flag_bool(f, FLAG_populate_discovery_info),
        .seed = random_seed(),
        .now_ms = app_now_ms,
        .stats = a->stats,
        .on_event = on_driver_event,
        .on_fatal = on_driver_fatal,
        .arg = a,
    };
    int rv = driver_new(&c, &a->driver);
    buf_release(&url);
    return rv;
}

/* ---------------- storage ---------------- */

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct app *a = arg;
    return sched_replace_store(a->sched, state);
}

static int on_op(const struct api_op *op, void *arg)
{
    struct app *a = arg;
    return sched_apply(a->sched, op);
}

static void on_durable(uint64_t index, void *arg)
{
    struct app *a = arg;
    stat_set(a->queue_stat, (int64_t)stream_queued_bytes(a->stream));
    if (a->stopping) return;
    pipeline_durable(a->pipeline, index);
    check_registered(a);
}

static void on_failed(const char *why, void *arg)
{
    app_stop(arg, 1, why);
}

void app_ready(struct app *a)
{
    const struct flags *f = a->flags;
    if (a->stopping) return;
    logline(LOG_INFO, "replayed", "tasks=%llu framework_id=%.*s",
            (unsigned long long)store_task_count(sched_store(a->sched)), STR_ARG(sched_framework_id(a->sched)));
    if (start_driver(a) != 0) {
        app_stop(a, 1, "the Mesos driver can't be started");
        return;
    }
    a->ready = true;
    struct sched_event ev = { .type = EV_LEADING };
    pipeline_step(a->pipeline, &ev);
    if (start_master(a) != 0) {
        app_stop(a, 1, "flag -mesos_master_address: the servers can't be used");
        return;
    }
    app_start_timer(a, TIMER_REGISTRATION, on_registration_timeout, flag_ms(f, FLAG_max_registration_delay), 0);
    app_start_timer(a, TIMER_LEADING, on_leading_timeout, flag_ms(f, FLAG_max_leading_duration), 0);
    snapshots_start(a);
}

static int open_storage(struct app *a, struct buf *err)
{
    const struct flags *f = a->flags;
    bool alone = !flag_text(f, FLAG_native_log_zk_group_path) || !settings_zookeeper(f);
    struct log_config lc = {
        .loop = a->loop,
        .path = flag_text(f, FLAG_native_log_file_path),
        .quorum = (unsigned)flag_int(f, FLAG_native_log_quorum_size),
        .seed = random_seed(),
        .initialize = alone,
        .auto_initialize = flag_bool(f, FLAG_native_log_auto_initialize),
        .election_timeout_ms = (uint64_t)flag_ms(f, FLAG_native_log_election_timeout),
        .read_timeout_ms = (uint64_t)flag_ms(f, FLAG_native_log_read_timeout),
        .write_timeout_ms = (uint64_t)flag_ms(f, FLAG_native_log_write_timeout),
        .election_retries = (unsigned)flag_int(f, FLAG_native_log_election_retries),
        .stats = a->stats,
    };
    int rv = log_open(&lc, &a->log, err);
    if (rv != 0) return rv;
    struct stream_config sc = {
        .loop = a->loop,
        .log = a->log,
        .max_entry_bytes = (size_t)flag_bytes(f, FLAG_dlog_max_entry_size),
        .now_ms = app_now_ms,
        .stats = a->stats,
        .on_snapshot = on_snapshot,
        .on_op = on_op,
        .on_ready = standby_replayed,
        .on_durable = on_durable,
        .on_failed = on_failed,
        .arg = a,
    };
    return stream_new(&sc, &a->stream);
}

/* ---------------- signals, timers ---------------- */

static void on_signal(uv_signal_t *s, int number)
{
    struct app *a = s->data;
    if (++a->signals > 1) _exit(128 + number);
    app_stop(a, 0, number == SIGINT ? "SIGINT" : "SIGTERM");
}

static void on_tick(uv_timer_t *t)
{
    struct app *a = t->data;
    looplag_tick(&a->lag);
    procstats_tick(a->stats, app_now_ms(NULL));
    stats_tick(a->stats, app_now_ms(NULL));
    if (++a->ticks % TRIM_TICKS == 0 && pipeline_held(a->pipeline) == 0) memory_trim(a->loop, app_now_ms(NULL));
}

static void on_watchdog(uv_timer_t *t)
{
    (void)t;
    (void)sd_notify(0, "WATCHDOG=1");
}

static void start_handles(struct app *a)
{
    for (int i = 0; i < TIMER_COUNT; i++) {
        uv_timer_init(a->loop, &a->timers[i]);
        a->timers[i].data = a;
    }
    uv_idle_init(a->loop, &a->go_on);
    uv_prepare_init(a->loop, &a->pass);
    a->pass.data = a;
    uv_prepare_start(&a->pass, on_pass);
    uv_unref((uv_handle_t *)&a->pass);
    statuses_init(&a->statuses, flag_int(a->flags, FLAG_max_status_update_batch_size));
    uv_signal_init(a->loop, &a->sigint);
    uv_signal_init(a->loop, &a->sigterm);
    a->sigint.data = a->sigterm.data = a;
    uv_signal_start(&a->sigint, on_signal, SIGINT);
    uv_signal_start(&a->sigterm, on_signal, SIGTERM);
}

/* Behind all that blocks at the start, which is not the loop's lag. */
static void start_measuring(struct app *a)
{
    uv_update_time(a->loop);
    looplag_start(&a->lag, a->loop, a->stats);
    int64_t interval = flag_ms(a->flags, FLAG_stat_sampling_interval);
    app_start_timer(a, TIMER_TICK, on_tick, interval, interval);
    uint64_t usec;
    if (sd_watchdog_enabled(0, &usec) > 0)
        app_start_timer(a, TIMER_WATCHDOG, on_watchdog, (int64_t)(usec / 3000), (int64_t)(usec / 3000));
}

/* ---------------- start and end ---------------- */

static void start_stats(struct app *a)
{
    const struct flags *f = a->flags;
    a->stats = stats_new();
    int64_t points = flag_ms(f, FLAG_stat_retention_period) / flag_ms(f, FLAG_stat_sampling_interval);
    if (points < 1) points = 1;
    if (points > LIMIT_STATS_POINTS) points = LIMIT_STATS_POINTS;
    stats_retain(a->stats, (unsigned)points);
    for (int i = 0; i < LIFECYCLE_COUNT; i++)
        a->state_stats[i] = stats_intf(a->stats, "scheduler_lifecycle_%s", state_names[i]);
    a->registered_stat = stats_int(a->stats, "framework_registered");
    a->queue_stat = stats_int(a->stats, "log_queued_bytes");
    stat_set(a->state_stats[a->state], 1);
    procstats_start(a->stats, f, app_now_ms(NULL));
}

static void start_scheduler(struct app *a)
{
    a->settings->sched.seed = random_seed();
    a->sched = sched_new(&a->settings->sched, a->stats);
    struct pipeline_config pc = {
        .sched = a->sched,
        .stats = a->stats,
        .now_ms = app_now_ms,
        .append = append,
        .durable = durable,
        .effect = on_effect,
        .reply = on_reply,
        .stepped = arm_sched_timer,
        .arg = a,
    };
    a->pipeline = pipeline_new(&pc);
}

int app_start(struct app *a, uv_loop_t *loop, const struct flags *flags, struct settings *settings,
              struct buf *err_text)
{
    a->loop = loop;
    a->flags = flags;
    a->settings = settings;
    start_stats(a);
    start_scheduler(a);
    start_handles(a);
    a->recovery = recovery_new(a);
    /* What is wrong with the ports shows before the log's folder is touched. */
    int rv = listen_http(a, err_text);
    if (rv == 0) rv = listen_libprocess(a, err_text);
    if (rv == 0) rv = snapshots_open(a, err_text);
    if (rv != 0) return rv;
    app_enter(a, LIFECYCLE_PREPARING_STORAGE);
    rv = open_storage(a, err_text);
    if (rv == 0) rv = standby_open(a, err_text);
    if (rv != 0) return rv;
    app_enter(a, LIFECYCLE_STORAGE_PREPARED);
    start_measuring(a);
    (void)sd_notify(0, "READY=1");
    standby_start(a);
    return 0;
}

static void end_at_once(uv_timer_t *t)
{
    struct app *a = t->data;
    logline(LOG_ERROR, "stop_timeout", "parts=%u", a->closing);
    logsink_close();
    _exit(a->exit_status ? a->exit_status : 1);
}

/* TIMER_STOP goes last, in app_free(): work on the pool (a name that does not resolve) may still keep the loop. */
static void close_handles(struct app *a)
{
    uv_unref((uv_handle_t *)&a->timers[TIMER_STOP]);
    for (int i = 0; i < TIMER_COUNT; i++)
        if (i != TIMER_STOP) uv_close((uv_handle_t *)&a->timers[i], NULL);
    uv_close((uv_handle_t *)&a->pass, NULL);
    uv_close((uv_handle_t *)&a->go_on, NULL);
    uv_close((uv_handle_t *)&a->sigint, NULL);
    uv_close((uv_handle_t *)&a->sigterm, NULL);
    looplag_stop(&a->lag);
}

static void part_closed(void *arg);

static void part_closed(void *arg)
{
    struct app *a = arg;
    assert(a->closing > 0);
    if (--a->closing == 0) close_handles(a);
}

/* libprocess carries the last messages of driver and log, so it goes behind them. */
static void release_libprocess(struct app *a)
{
    if (--a->libprocess_users > 0) return;
    if (a->lp)
        libprocess_close(a->lp, part_closed, a);
    else
        part_closed(a);
}

static void on_driver_closed(void *arg)
{
    struct app *a = arg;
    a->driver = NULL;
    release_libprocess(a);
}

/* Nothing can be written any more: others may lead, and the log can be closed. */
static void on_peers_closed(void *arg)
{
    struct app *a = arg;
    a->peers = NULL;
    release_libprocess(a);
    if (a->log)
        log_close(a->log, part_closed, a);
    else
        part_closed(a);
    if (a->lead)
        lead_close(a->lead, part_closed, a);
    else
        part_closed(a);
}

static void on_stream_closed(void *arg)
{
    struct app *a = arg;
    a->stream = NULL;
    if (a->peers)
        peers_close(a->peers, on_peers_closed, a);
    else
        on_peers_closed(a);
}

static void close_parts(uv_timer_t *t)
{
    struct app *a = t->data;
    uv_timer_start(t, end_at_once, STOP_TIMEOUT_MS, 0);
    /* libprocess, log, leadership, and one for this function. */
    a->closing = 4 + (a->http != NULL) + (a->thrift != NULL) + (a->master != NULL) + (a->backups != NULL);
    a->libprocess_users = 2;
    if (a->http) http_server_close(a->http, part_closed, a);
    if (a->thrift) http_server_close(a->thrift, part_closed, a);
    if (a->backups) backups_close(a->backups, part_closed, a);
    if (a->master) master_close(a->master, part_closed, a); /* before the session that it may use */
    if (a->driver)
        driver_close(a->driver, true, on_driver_closed, a);
    else
        on_driver_closed(a);
    if (a->stream)
        stream_close(a->stream, on_stream_closed, a);
    else
        on_stream_closed(a);
    part_closed(a);
}

void app_stop(struct app *a, int exit_status, const char *why)
{
    if (a->stopping) return;
    logline(exit_status ? LOG_ERROR : LOG_INFO, "stopping", "status=%d reason=\"%s\"", exit_status, why);
    (void)sd_notify(0, "STOPPING=1");
    app_enter(a, LIFECYCLE_DEAD);
    for (int i = 0; i < TIMER_COUNT; i++) uv_timer_stop(&a->timers[i]);
    a->stopping = true;
    a->exit_status = exit_status;
    /* Not at once: the part that calls may be in the middle of something. */
    uv_timer_start(&a->timers[TIMER_STOP], close_parts, 0, 0);
}

void app_free(struct app *a)
{
    uv_close((uv_handle_t *)&a->timers[TIMER_STOP], NULL);
    uv_run(a->loop, UV_RUN_DEFAULT);
    if (a->pipeline) pipeline_free(a->pipeline);
    recovery_free(a->recovery);
    rpc_free_calls(a);
    statuses_release(&a->statuses);
    if (a->sched) sched_free(a->sched);
    if (a->stats) stats_free(a->stats);
}
