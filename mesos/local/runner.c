#include "mesos/local/runner.h"

#include "core/err.h"
#include "core/logline.h"
#include "core/rng.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

/* Ports that get a variable each. */
enum { PORT_VARIABLES = 64 };

struct run {
    struct runner *r;
    struct task *task; /* NULL: the master isn't interested any more */
    uv_process_t process;
    uv_timer_t timer; /* first until the start, then until SIGKILL */
    int open_handles; /* the timer, and the process once a spawn was tried */
    bool spawned, running, killed;
    uint64_t kill_at; /* uv_now of the SIGKILL to come */
    char *sandbox;
    char **argv, **env;
    size_t n_env;
    const char *refused; /* why it can't be started */
    int refused_reason;
    struct run *prev, *next;
};

struct runner {
    struct runner_config config;
    char *work_dir;
    struct rng rng;
    struct run *runs;
    bool closing;
    void (*cb)(void *arg);
    void *arg;
};

/* ---------------- memory ---------------- */

static void free_words(char **v)
{
    for (char **w = v; w && *w; w++) free(*w);
    free(v);
}

static void runner_maybe_closed(struct runner *r)
{
    if (!r->closing || r->runs) return;
    void (*cb)(void *) = r->cb;
    void *arg = r->arg;
    free(r->work_dir);
    free(r);
    if (cb) cb(arg);
}

static void on_closed(uv_handle_t *h)
{
    struct run *run = h->data;
    struct runner *r = run->r;
    if (--run->open_handles) return;
    DL_DELETE(r->runs, run);
    free(run->sandbox);
    free_words(run->argv);
    free_words(run->env);
    free(run);
    runner_maybe_closed(r);
}

static void finish(struct run *run)
{
    run->task = NULL;
    run->running = false;
    uv_close((uv_handle_t *)&run->timer, on_closed);
    if (run->spawned) uv_close((uv_handle_t *)&run->process, on_closed);
}

static void report(struct run *run, Mesos__TaskState state, int reason, const char *message)
{
    if (run->task) run->r->config.on_event(run->task, state, reason, message, run->r->config.arg);
}

/* ---------------- the sandbox ---------------- */

static int make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash) *slash = 0;
        int rc = mkdir(path, 0755);
        if (slash) *slash = '/';
        if (rc && errno != EEXIST) return ERR_IO;
        if (!slash) return 0;
    }
}

/* The folders have the names that a Mesos agent gives them. */
static int make_sandbox(struct run *run)
{
    struct runner *r = run->r;
    struct task *t = run->task;
    struct buf path = { 0 }, latest = { 0 };
    uint64_t a = rng_next(&r->rng), b = rng_next(&r->rng);
    buf_addf(&path, "%s/slaves/%s/frameworks/%s/executors/%s/runs", r->work_dir, task_agent_id(t), task_framework_id(t),
             task_executor_id(t));
    buf_addf(&latest, "%s/latest", buf_cstr(&path));
    buf_addf(&path, "/%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff,
             (unsigned)a & 0xfff, ((unsigned)(b >> 48) & 0x3fff) | 0x8000, (unsigned long long)b & 0xffffffffffffull);
    run->sandbox = xstrdup(buf_cstr(&path));
    int rc = make_folders(run->sandbox);
    unlink(buf_cstr(&latest));
    /* For people; that it can't be made matters to nobody. */
    if (!rc && symlink(strrchr(run->sandbox, '/') + 1, buf_cstr(&latest)))
        logline(LOG_DEBUG, "no_latest_link", "path=%s", buf_cstr(&latest));
    buf_release(&path);
    buf_release(&latest);
    return rc;
}

static int open_output(const struct run *run, const char *name)
{
    struct buf path = { 0 };
    buf_addf(&path, "%s/%s", run->sandbox, name);
    int fd = open(buf_cstr(&path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    buf_release(&path);
    return fd;
}

/* ---------------- the environment ---------------- */

/* Sets or replaces. */
static void setvar(struct run *run, const char *name, const char *value)
{
    size_t n = strlen(name), len = n + strlen(value) + 2, i = 0;
    char *word = xmalloc(len);
    snprintf(word, len, "%s=%s", name, value);
    while (i < run->n_env && (strncmp(run->env[i], name, n) != 0 || run->env[i][n] != '=')) i++;
    if (i < run->n_env) {
        free(run->env[i]);
    } else {
        run->env = xrealloc(run->env, (++run->n_env + 1) * sizeof(char *));
        run->env[run->n_env] = NULL;
    }
    run->env[i] = word;
}

static void set_ports(struct run *run, const Mesos__TaskInfo *info)
{
    struct buf all = { 0 };
    unsigned count = 0;
    for (size_t i = 0; i < info->n_resources; i++) {
        const Mesos__Resource *p = info->resources[i];
        if (strcmp(p->name, "ports") != 0 || !p->ranges) continue;
        for (size_t j = 0; j < p->ranges->n_range; j++) {
            const Mesos__Value__Range *range = p->ranges->range[j];
            for (uint64_t port = range->begin; port <= range->end && count < PORT_VARIABLES; port++, count++) {
                char name[16], value[24];
                snprintf(name, sizeof name, "PORT%u", count);
                snprintf(value, sizeof value, "%llu", (unsigned long long)port);
                setvar(run, name, value);
                buf_addf(&all, "%s%s", count ? "," : "", value);
            }
        }
    }
    if (count) setvar(run, "PORTS", buf_cstr(&all));
    buf_release(&all);
}

/* First what the agent has, then what it says, then the task's own. */
static void set_environment(struct run *run, const Mesos__TaskInfo *info)
{
    const struct task *t = run->task;
    char pid[UPID_TEXT_MAX];
    extern char **environ;
    run->env = xcalloc(1, sizeof(char *));
    for (char **e = environ; *e; e++) {
        char *eq = strchr(*e, '=');
        if (!eq) continue;
        char *name = xstrndup(*e, (size_t)(eq - *e));
        setvar(run, name, eq + 1);
        free(name);
    }
    setvar(run, "MESOS_SANDBOX", run->sandbox);
    setvar(run, "MESOS_DIRECTORY", run->sandbox);
    setvar(run, "MESOS_TASK_ID", task_id(t));
    setvar(run, "MESOS_FRAMEWORK_ID", task_framework_id(t));
    setvar(run, "MESOS_EXECUTOR_ID", task_executor_id(t));
    setvar(run, "MESOS_SLAVE_ID", task_agent_id(t));
    setvar(run, "MESOS_AGENT_ENDPOINT", strchr(upid_text(&run->r->config.self, pid), '@') + 1);
    setvar(run, "MESOS_ALLOCATION_ROLE", task_role(t));
    setvar(run, "LIBPROCESS_PORT", "0");
    set_ports(run, info);
    const Mesos__Environment *own = info->command->environment;
    for (size_t i = 0; own && i < own->n_variables; i++)
        if (own->variables[i]->value) setvar(run, own->variables[i]->name, own->variables[i]->value);
}

static void set_arguments(struct run *run, const Mesos__CommandInfo *c)
{
    bool shell = !c->has_shell || c->shell;
    size_t n = shell ? 3 : c->n_arguments ? c->n_arguments : 1;
    run->argv = xcalloc(n + 2, sizeof(char *));
    if (shell) {
        run->argv[0] = xstrdup("/bin/sh");
        run->argv[1] = xstrdup("-c");
        run->argv[2] = xstrdup(c->value);
        return;
    }
    run->argv[0] = xstrdup(c->value);
    for (size_t i = 1; i < c->n_arguments; i++) run->argv[i] = xstrdup(c->arguments[i]);
}

/* ---------------- start and end ---------------- */

void exit_text(int64_t exit_status, int term_signal, struct buf *out)
{
    if (term_signal) {
        buf_addf(out, "terminated with signal %s", strsignal(term_signal));
    } else {
        buf_addf(out, "exited with status %lld", (long long)exit_status);
    }
}

static void on_exit_of(uv_process_t *p, int64_t exit_status, int term_signal)
{
    struct run *run = p->data;
    struct buf text = { 0 };
    /* What it left behind goes with it, as with a container. */
    session_signal(p->pid, SIGKILL);
    guard_remove(run->r->config.guard, p->pid);
    buf_adds(&text, "Command ");
    exit_text(exit_status, term_signal, &text);
    bool ok = exit_status == 0 && term_signal == 0;
    report(run,
           run->killed ? MESOS__TASK_STATE__TASK_KILLED
           : ok        ? MESOS__TASK_STATE__TASK_FINISHED
                       : MESOS__TASK_STATE__TASK_FAILED,
           -1, buf_cstr(&text));
    buf_release(&text);
    finish(run);
}

static int spawn(struct run *run)
{
    int out = open_output(run, "stdout"), err = open_output(run, "stderr");
    uv_stdio_container_t io[3] = { { .flags = UV_IGNORE },
                                   { .flags = UV_INHERIT_FD, .data.fd = out },
                                   { .flags = UV_INHERIT_FD, .data.fd = err } };
    uv_process_options_t o = { .exit_cb = on_exit_of,
                               .file = run->argv[0],
                               .args = run->argv,
                               .env = run->env,
                               .cwd = run->sandbox,
                               .flags = UV_PROCESS_DETACHED, /* a session of its own */
                               .stdio = io,
                               .stdio_count = 3 };
    int rc = UV_EIO;
    if (out >= 0 && err >= 0) {
        run->spawned = true;
        run->open_handles++;
        rc = uv_spawn(run->r->config.loop, &run->process, &o);
    }
    if (out >= 0) close(out);
    if (err >= 0) close(err);
    return rc;
}

/* Why it can't be started, with the reason code, or NULL. */
static const char *refusal(const Mesos__TaskInfo *info, int *ret_reason)
{
    *ret_reason = -1;
    if (info->command->n_uris) return "Failed to fetch all URIs for container: mesos-local fetches nothing";
    if (info->command->value) return NULL;
    *ret_reason = MESOS__TASK_STATUS__REASON__REASON_EXECUTOR_TERMINATED;
    return "Executor terminated"; /* the real command executor aborts */
}

/* The task's own stderr says why; to the scheduler it looks like what a real agent reports, whose helper has failed. */
static void spawn_failed(struct run *run, const char *why)
{
    int fd = open_output(run, "stderr");
    if (fd >= 0) dprintf(fd, "Failed to launch command '%s': %s\n", run->argv[0], why);
    if (fd >= 0) close(fd);
    report(run, MESOS__TASK_STATE__TASK_RUNNING, -1, NULL);
    report(run, MESOS__TASK_STATE__TASK_FAILED, -1, "Command exited with status 1");
    finish(run);
}

static void start(struct run *run)
{
    int rc = spawn(run);
    if (rc) {
        spawn_failed(run, uv_strerror(rc));
        return;
    }
    run->running = true;
    guard_add(run->r->config.guard, run->process.pid);
    report(run, MESOS__TASK_STATE__TASK_RUNNING, -1, NULL);
}

static void on_start(uv_timer_t *timer)
{
    struct run *run = timer->data;
    if (!run->killed) report(run, MESOS__TASK_STATE__TASK_STARTING, -1, NULL);
    if (run->killed) {
        report(run, MESOS__TASK_STATE__TASK_KILLED, MESOS__TASK_STATUS__REASON__REASON_TASK_KILLED_DURING_LAUNCH,
               "Killed before delivery to the executor");
    } else if (run->task && run->refused) {
        report(run, MESOS__TASK_STATE__TASK_FAILED, run->refused_reason, run->refused);
    } else if (run->task) {
        start(run);
        return;
    }
    finish(run);
}

void *runner_run(struct runner *r, struct task *t, const Mesos__TaskInfo *info)
{
    struct run *run = xcalloc(1, sizeof *run);
    run->r = r;
    run->task = t;
    run->process.data = run->timer.data = run;
    DL_APPEND(r->runs, run);
    run->refused = refusal(info, &run->refused_reason);
    if (!run->refused && make_sandbox(run)) run->refused = "Failed to create the sandbox";
    if (!run->refused) {
        task_set_sandbox(t, run->sandbox);
        set_environment(run, info);
        set_arguments(run, info->command);
    }
    uv_timer_init(r->config.loop, &run->timer);
    run->open_handles = 1;
    /* Later: the master is still at work with the launch. */
    uv_timer_start(&run->timer, on_start, 0, 0);
    return run;
}

static void on_grace_over(uv_timer_t *timer)
{
    struct run *run = timer->data;
    if (run->running) session_signal(run->process.pid, SIGKILL);
}

void runner_kill(void *handle, int64_t grace_ms)
{
    struct run *run = handle;
    uv_loop_t *loop = run->r->config.loop;
    uint64_t grace = grace_ms < 0 ? 0 : (uint64_t)grace_ms;
    assert(run->task);
    /* A repeated kill may shorten the time that is left, never lengthen it. */
    uint64_t at = uv_now(loop) + grace;
    if (run->killed && at >= run->kill_at) return;
    bool first = !run->killed;
    run->killed = true;
    run->kill_at = at;
    if (!run->running) return; /* it isn't going to start */
    if (first) kill(-run->process.pid, SIGTERM);
    uv_timer_start(&run->timer, on_grace_over, grace, 0);
}

void runner_forget(void *handle)
{
    struct run *run = handle;
    run->task = NULL;
    /* The rest follows when it has been reaped, or when its start comes up. */
    if (run->running) session_signal(run->process.pid, SIGKILL);
}

/* ---------------- the runner ---------------- */

int runner_new(const struct runner_config *c, struct runner **ret)
{
    struct runner *r = xcalloc(1, sizeof *r);
    assert(c->work_dir[0] == '/');
    r->config = *c;
    r->work_dir = xstrdup(c->work_dir);
    r->config.work_dir = r->work_dir;
    r->rng.state = c->seed ^ 0x72756e6e6572;
    if (make_folders(r->work_dir)) {
        free(r->work_dir);
        free(r);
        return ERR_IO;
    }
    *ret = r;
    return 0;
}

void runner_set_self(struct runner *r, const struct upid *self)
{
    r->config.self = *self;
}

void runner_close(struct runner *r, void (*cb)(void *arg), void *arg)
{
    struct run *run, *next;
    r->closing = true;
    r->cb = cb;
    r->arg = arg;
    DL_FOREACH_SAFE(r->runs, run, next)
    {
        runner_forget(run);
    }
    runner_maybe_closed(r);
}
