#include "test/sim/lib/clients.h"

#include "core/buf.h"

#include <assert.h>
#include <stdio.h>

#define ANSWER_TIMEOUT_US 3000000

struct client_message {
    struct event e;
    struct client *k;
    uint64_t attempt;
    unsigned host;
    bool definite; /* an answer: what was asked is done */
    uint64_t explained;
};

/* ---- network ---- */

static struct client_message *message(struct client *k, unsigned host, void (*run)(struct event *e))
{
    struct clients *all = k->all;
    struct world *w = &all->s->c.w;
    if (world_chance(w, all->lose)) return NULL;
    struct client_message *m = world_after(w, world_between(w, 50, all->delay_max_us), sizeof(*m), run);
    m->k = k;
    m->host = host;
    m->attempt = k->attempt;
    return m;
}

static void forget_answer(struct client *k)
{
    k->give_up_us = 0;
    k->host = (unsigned)rng_below(&k->all->s->c.w.rng, k->all->s->c.n);
}

static void done(struct client *k)
{
    struct test_job *j = &k->all->jobs[k->job];
    if (k->ask == ASK_CREATE) j->state = JOB_LIVE;
    if (k->ask == ASK_KILL) j->state = JOB_KILLED;
    k->all->answers[k->ask]++;
    k->busy = false;
}

static void on_answer(struct event *e)
{
    const struct client_message *m = (struct client_message *)e;
    struct client *k = m->k;
    if (!k->busy || m->attempt != k->attempt) return;
    if (!m->definite) {
        forget_answer(k);
        return;
    }
    if (m->explained > k->all->known) k->all->known = m->explained;
    done(k);
}

static void answer(struct client *k, unsigned host, bool definite, uint64_t explained)
{
    struct client_message *m = message(k, host, on_answer);
    if (!m) return;
    m->definite = definite;
    m->explained = explained;
}

/* ---- questions ---- */

static void key_json(const struct client *k, struct buf *b)
{
    buf_addf(b, "{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j%u\"}", k->job);
}

static void create_json(const struct client *k, struct buf *b)
{
    buf_adds(b, "{\"description\":{\"key\":");
    key_json(k, b);
    buf_addf(b, ",\"owner\":{\"user\":\"user\"},\"instanceCount\":%u,\"taskConfig\":{\"job\":",
             k->all->jobs[k->job].instances);
    key_json(k, b);
    buf_adds(b, ",\"owner\":{\"user\":\"user\"},\"isService\":true,"
                "\"executorConfig\":{\"name\":\"shell\",\"data\":\"true\"},"
                "\"resources\":[{\"numCpus\":1.0},{\"ramMb\":128},{\"diskMb\":64}]}}}");
}

static bool ask(struct client *k, struct host *h)
{
    static const char *const methods[ASKS] = { "createJob", "getTasksStatus", "restartShards", "killTasks" };
    struct buf b = { 0 };
    if (k->ask == ASK_CREATE) {
        create_json(k, &b);
    } else {
        buf_adds(&b, k->ask == ASK_READ ? "{\"query\":{\"jobKeys\":[" : "{\"job\":");
        key_json(k, &b);
        buf_adds(&b, k->ask == ASK_READ ? "]}" : "");
        if (k->ask == ASK_RESTART) buf_addf(&b, ",\"shardIds\":[%u]", k->instance);
        buf_addc(&b, '}');
    }
    bool taken = process_call(h, (uint64_t)k->id << 32 | k->attempt, methods[k->ask], buf_cstr(&b));
    buf_release(&b);
    return taken;
}

static void on_question(struct event *e)
{
    const struct client_message *m = (struct client_message *)e;
    struct client *k = m->k;
    struct host *h = &k->all->s->hosts[m->host];
    if (!k->busy || m->attempt != k->attempt) return; /* the connection was closed meanwhile */
    if (h->p && node_is_paused(&k->all->s->c.nodes[m->host])) {
        e->at_us = k->all->s->c.nodes[m->host].resume_us;
        return;
    }
    k->delivered++;
    if (ask(k, h)) return;
    k->delivered--;
    answer(k, m->host, false, 0);
}

static void try_again(struct client *k)
{
    struct world *w = &k->all->s->c.w;
    k->attempt++;
    k->floor = k->all->known;
    k->give_up_us = w->now_us + ANSWER_TIMEOUT_US;
    message(k, k->host, on_question);
}

static void begin(struct client *k, enum ask what, unsigned job)
{
    k->busy = true;
    k->ask = what;
    k->job = job;
    k->delivered = 0;
    k->instance = (unsigned)rng_below(&k->all->s->c.w.rng, k->all->jobs[job].instances);
    try_again(k);
}

static unsigned live_instances(const struct clients *all)
{
    unsigned n = 0;
    for (unsigned i = 0; i < all->n_jobs; i++)
        if (all->jobs[i].state != JOB_KILLED) n += all->jobs[i].instances;
    return n;
}

static bool begin_create(struct client *k)
{
    struct clients *all = k->all;
    unsigned instances = (unsigned)world_between(&all->s->c.w, 1, TRUTH_INSTANCES_MAX);
    if (all->n_jobs == TRUTH_JOBS_MAX || live_instances(all) + instances > CLIENTS_INSTANCES_MAX) return false;
    all->jobs[all->n_jobs] = (struct test_job){ .owner = k->id, .instances = instances };
    begin(k, ASK_CREATE, all->n_jobs++);
    return true;
}

/* Only its owner changes a job, one thing after the other; all read it. */
static void begin_something(struct client *k)
{
    struct clients *all = k->all;
    unsigned dice = (unsigned)rng_below(&all->s->c.w.rng, 100);
    if ((dice < 25 || !all->n_jobs) && begin_create(k)) return;
    if (!all->n_jobs) return;
    unsigned job = (unsigned)rng_below(&all->s->c.w.rng, all->n_jobs);
    const struct test_job *j = &all->jobs[job];
    bool mine = j->owner == k->id && j->state == JOB_LIVE;
    if (mine && dice >= 85)
        begin(k, ASK_KILL, job);
    else if (mine && dice >= 65)
        begin(k, ASK_RESTART, job);
    else
        begin(k, ASK_READ, job);
}

static void on_tick(struct event *e)
{
    struct client *k = ((struct client_message *)e)->k;
    struct world *w = &k->all->s->c.w;
    if (k->all->s->over) return;
    if (k->busy && k->give_up_us && k->give_up_us <= w->now_us)
        forget_answer(k);
    else if (k->busy && !k->give_up_us)
        try_again(k);
    else if (!k->busy && !k->all->stopped)
        begin_something(k);
    e->at_us += world_between(w, 1000, (uint64_t)k->all->tick_ms * 1000);
}

/* ---- answers ---- */

static struct checker *check_of(const struct client *k)
{
    return &k->all->s->c.check;
}

static bool has_text(const struct api_response *r, const char *text)
{
    for (uint32_t i = 0; i < r->n_details; i++)
        if (r->details[i].message.p && strstr(r->details[i].message.p, text)) return true;
    return false;
}

static uint64_t explain_read(const struct client *k, const struct api_response *r, bool rightful)
{
    const struct api_schedule_status_result *tasks = r->result->schedule_status_result;
    struct job_view v = { 0 };
    for (uint32_t i = 0; i < tasks->n_tasks; i++)
        view_add(&v, tasks->tasks[i].assigned_task->task_id, tasks->tasks[i].status, tasks->tasks[i].n_task_events);
    uint64_t op = truth_explains(&k->all->s->truth, k->job, &v, rightful ? k->floor : 0);
    if (op == UINT64_MAX)
        checker_fail(check_of(k), "client %u reads a state of j%u that %s", k->id, k->job,
                     rightful ? "is older than what was known, or never was" : "never was in the log");
    return op;
}

static uint64_t explain_kill(const struct client *k, bool rightful)
{
    struct truth *t = &k->all->s->truth;
    uint64_t op = truth_killed(t, k->job);
    if (op != UINT64_MAX)
        truth_kill_acknowledged(t, k->job);
    else if (rightful)
        checker_fail(check_of(k), "the kill of j%u is acknowledged and not in the log", k->job);
    return op;
}

/* The op that explains the answer; UINT64_MAX: the answer is of no use. */
static uint64_t explain(const struct client *k, const struct api_response *r, bool rightful)
{
    const struct truth *t = &k->all->s->truth;
    bool ok = r->response_code == API_RESPONSE_CODE_OK;
    bool exists = k->ask == ASK_CREATE && has_text(r, "already exists");
    if (exists && k->delivered < 2) checker_fail(check_of(k), "j%u exists before it is created", k->job);
    if (!ok && !exists && rightful && r->response_code != API_RESPONSE_CODE_ERROR_TRANSIENT)
        checker_fail(check_of(k), "question %u about j%u is answered with code %d", k->ask, k->job,
                     (int)r->response_code);
    if (!ok && !exists) return UINT64_MAX;
    if (k->ask == ASK_READ) return explain_read(k, r, rightful);
    if (k->ask == ASK_KILL) return explain_kill(k, rightful);
    if (k->ask == ASK_RESTART) return 0; /* a task that does not run yet is not restarted, and that is OK, too */
    if (truth_created(t, k->job) == UINT64_MAX)
        checker_fail(check_of(k), "the creation of j%u is acknowledged and not in the log", k->job);
    return truth_created(t, k->job);
}

void clients_on_reply(struct clients *all, struct host *h, uint64_t cookie, const struct api_response *response)
{
    struct client *k = &all->v[cookie >> 32];
    if (!k->busy || (cookie & UINT32_MAX) != k->attempt) return;
    bool rightful = process_is_rightful(h);
    uint64_t op = explain(k, response, rightful);
    all->doubtful += !rightful;
    /* From a deposed leader's reads nobody can know more than before. */
    bool tells = rightful || k->ask == ASK_CREATE || k->ask == ASK_KILL;
    answer(k, h->id, op != UINT64_MAX, tells ? op : 0);
}

/* ---- the whole ---- */

void clients_init(struct clients *all, struct sched_cluster *s)
{
    *all = (struct clients){ .s = s, .delay_max_us = 2000, .tick_ms = 300 };
    for (unsigned i = 0; i < CLIENTS; i++) {
        all->v[i] = (struct client){ .all = all, .id = i };
        struct client_message *m = world_after(&s->c.w, 1000, sizeof(*m), on_tick);
        m->k = &all->v[i];
    }
}

bool clients_are_idle(const struct clients *all)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (all->v[i].busy) return false;
    return true;
}

unsigned clients_create(struct clients *all)
{
    assert(!all->v[0].busy);
    assert(all->n_jobs < TRUTH_JOBS_MAX);
    all->jobs[all->n_jobs] = (struct test_job){ .instances = 1 };
    begin(&all->v[0], ASK_CREATE, all->n_jobs++);
    return all->n_jobs - 1;
}
