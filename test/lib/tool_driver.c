/* The driver on a real master: subscribes, runs a command on the first offer until RUNNING, optionally goes through a
 * restart of the master, reconciles, kills, reconciles, tears down. Prints what happens; exit status 0 if all of it
 * did.
 *
 *     tool_driver IP:PORT [principal secret] [restart]
 *
 * With `restart` it prints "restart the master now" and waits for the loss of the master and its return. */
#include "core/err.h"
#include "core/logline.h"
#include "core/store.h"
#include "mesos/driver.h"
#include "mesos/executors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum { RUNNING = 1, KILLED = 4, LOST = 5, DEADLINE_MS = 120000 };

enum step { STEP_LAUNCH, STEP_START, STEP_RESTART, STEP_FIND, STEP_KILL, STEP_UNKNOWN, STEP_DONE };

struct tool {
    uv_loop_t loop;
    uv_timer_t retry, deadline;
    struct libprocess *lp;
    struct driver *driver;
    struct executors *executors;
    struct stats *stats;
    enum step step;
    bool restart;
    int rc;
};

static const struct str task_id = STR("tool-task"), unknown_id = STR("tool-unknown");
static struct api_job_key job = { STR("tool"), STR("test"), STR("sleep") };
static struct api_executor_config command = { STR(EXECUTOR_COMMAND), STR("echo started; sleep 1000") };
static struct api_task_config task_config = { .job = &job, .executor_config = &command };
static struct config config = { .api = &task_config, .refs = 1 };
static struct task task = { .refs = 1, .config = &config, .id = STR("tool-task") };
static char agent[256];

static int64_t now_ms(void *arg)
{
    (void)arg;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
}

/* ---- effects ---- */

static bool carve(const struct offer *o, enum resource_kind kind, milli amount, struct carve *ret)
{
    for (uint32_t i = 0; i < o->n_resources; i++) {
        if (o->resources[i].kind != kind || o->resources[i].amount < amount) continue;
        *ret = (struct carve){ .index = o->resources[i].index, .kind = kind, .amount = amount };
        return true;
    }
    return false;
}

static void launch(struct tool *t, const struct offer *o)
{
    struct carve carves[2];
    if (!carve(o, RES_CPUS, 100, &carves[0]) || !carve(o, RES_RAM_MB, 32000, &carves[1])) return;
    snprintf(agent, sizeof(agent), "%.*s", STR_ARG(o->agent_id));
    task.slave_id = str_c(agent);
    struct launch_task lt = {
        .task = &task, .tier = STR("preferred"), .task_resources = carves, .n_task_resources = 2
    };
    struct effect e = { .type = EFFECT_LAUNCH };
    e.launch.offer_id = o->id;
    e.launch.agent_id = o->agent_id;
    e.launch.tasks = &lt;
    e.launch.n_tasks = 1;
    e.launch.refuse_ms = 5000;
    driver_effect(t->driver, &e);
    t->step = STEP_START;
    say("launched");
}

static void decline(struct tool *t, const struct offer *o)
{
    struct effect e = { .type = EFFECT_DECLINE };
    e.decline.offer_ids = &o->id;
    e.decline.n = 1;
    e.decline.refuse_ms = 1000;
    driver_effect(t->driver, &e);
}

static void reconcile(struct tool *t, struct str id)
{
    struct task_on_agent asked = { id, str_c(agent) };
    struct effect e = { .type = EFFECT_RECONCILE };
    e.reconcile.tasks = &asked;
    e.reconcile.n = 1;
    driver_effect(t->driver, &e);
}

static void kill_task(struct tool *t)
{
    struct effect e = { .type = EFFECT_KILL };
    e.kill.task_id = task_id;
    e.kill.agent_id = str_c(agent);
    driver_effect(t->driver, &e);
}

static void acknowledge(struct tool *t, const struct status_update *u)
{
    struct effect e = { .type = EFFECT_ACK };
    e.ack.task_id = u->task_id;
    e.ack.agent_id = u->agent_id;
    memcpy(e.ack.uuid, u->uuid, sizeof(e.ack.uuid));
    driver_effect(t->driver, &e);
}

/* ---- the steps ---- */

static void on_lp_closed(void *arg)
{
    (void)arg;
}

static void on_driver_closed(void *arg)
{
    struct tool *t = arg;
    libprocess_close(t->lp, on_lp_closed, NULL);
}

static void finish(struct tool *t, int rc)
{
    if (uv_is_closing((uv_handle_t *)&t->retry)) return;
    t->rc = rc;
    uv_close((uv_handle_t *)&t->retry, NULL);
    uv_close((uv_handle_t *)&t->deadline, NULL);
    driver_close(t->driver, false, on_driver_closed, t);
}

static void on_running(struct tool *t)
{
    if (t->step == STEP_START && t->restart) {
        t->step = STEP_RESTART;
        say("restart the master now");
    } else if (t->step == STEP_START) {
        t->step = STEP_FIND; /* the timer reconciles */
    } else if (t->step == STEP_FIND) {
        t->step = STEP_KILL;
        say("found by reconciliation");
        kill_task(t);
    }
}

static void on_status(struct tool *t, const struct status_update *u)
{
    printf("status %.*s state=%d reason=%.*s ack=%d\n", STR_ARG(u->task_id), u->state, STR_ARG(u->reason_name),
           u->has_uuid);
    if (u->has_uuid) acknowledge(t, u);
    bool ours = str_eq(u->task_id, task_id);
    if (ours && u->state == RUNNING) on_running(t);
    if (ours && u->state == KILLED && t->step == STEP_KILL) {
        t->step = STEP_UNKNOWN;
        say("killed");
        reconcile(t, unknown_id);
    }
    if (str_eq(u->task_id, unknown_id) && u->state == LOST && t->step == STEP_UNKNOWN) {
        t->step = STEP_DONE;
        say("done");
        finish(t, 0);
    }
}

static void on_offers(struct tool *t, const struct offer *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (t->step == STEP_LAUNCH)
            launch(t, &v[i]);
        else
            decline(t, &v[i]);
    }
}

static void on_event(const struct sched_event *ev, void *arg)
{
    struct tool *t = arg;
    if (ev->type == EV_REGISTERED) {
        printf("registered %.*s first=%d\n", STR_ARG(ev->registered.framework_id), ev->registered.first);
        if (t->step == STEP_RESTART) t->step = STEP_FIND;
    }
    if (ev->type == EV_DISCONNECTED) say("disconnected");
    if (ev->type == EV_OFFERS) on_offers(t, ev->offers.v, ev->offers.n);
    for (uint32_t i = 0; ev->type == EV_STATUS && i < ev->status.n; i++) on_status(t, &ev->status.v[i]);
    fflush(stdout);
}

static void on_fatal(const char *why, void *arg)
{
    printf("fatal: %s\n", why);
    finish(arg, 1);
}

static void on_retry(uv_timer_t *timer)
{
    struct tool *t = timer->data;
    if (t->step == STEP_FIND) reconcile(t, task_id);
}

static void on_deadline(uv_timer_t *timer)
{
    say("too slow");
    finish(timer->data, 1);
}

static void to_stderr(enum log_level level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static int start(struct tool *t, const char *master, const char *principal, const char *secret)
{
    struct buf err_text = { 0 };
    struct executors_config ec = { 0 };
    int err = executors_new(&ec, &t->executors, &err_text);
    struct libprocess_config lc = { .loop = &t->loop, .ip = "127.0.0.1" };
    if (!err) err = libprocess_new(&lc, &t->lp);
    struct driver_config c = {
        .loop = &t->loop,
        .lp = t->lp,
        .framework = { .user = str_c(getenv("USER")),
                       .name = STR("tool"),
                       .hostname = STR("127.0.0.1"),
                       .failover_timeout_secs = 600,
                       .checkpoint = true },
        .principal = str_c(principal),
        .secret = str_c(secret),
        .executors = t->executors,
        .now_ms = now_ms,
        .stats = t->stats,
        .on_event = on_event,
        .on_fatal = on_fatal,
        .arg = t,
    };
    if (getrandom(&c.seed, sizeof(c.seed), 0) != sizeof(c.seed)) err = ERR_IO;
    if (!err) err = driver_new(&c, &t->driver);
    if (!err) err = driver_set_master(t->driver, master);
    return err;
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    struct tool t = { .restart = strcmp(argv[argc - 1], "restart") == 0, .rc = 1 };
    bool secret = argc - t.restart >= 4;
    logline_set_sink(to_stderr, NULL);
    logline_set_level(LOG_DEBUG);
    uv_loop_init(&t.loop);
    uv_timer_init(&t.loop, &t.retry);
    uv_timer_init(&t.loop, &t.deadline);
    t.retry.data = t.deadline.data = &t;
    t.stats = stats_new();
    int err = start(&t, argv[1], secret ? argv[2] : NULL, secret ? argv[3] : NULL);
    if (err) {
        fprintf(stderr, "%s\n", err_str(err));
        return 2;
    }
    uv_timer_start(&t.retry, on_retry, 1000, 1000);
    uv_timer_start(&t.deadline, on_deadline, DEADLINE_MS, 0);
    uv_run(&t.loop, UV_RUN_DEFAULT);
    executors_free(t.executors);
    stats_free(t.stats);
    return uv_loop_close(&t.loop) == 0 ? t.rc : 3;
}
