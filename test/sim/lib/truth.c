#include "test/sim/lib/truth.h"

#include "core/buf.h"
#include "core/hash.h"
#include "core/rng.h"
#include "core/task_fsm.h"
#include "core/thrift.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define LL(x) ((unsigned long long)(x))
/* What runs or is to run. */
#define TASKS_LIVE (TASKS_ACTIVE & ~ST(KILLING))

struct seen_task {
    UT_hash_handle hh;
    uint32_t states; /* a bit for each that it has had an event of */
    char id[];
};

void truth_init(struct truth *t, struct checker *check)
{
    *t = (struct truth){ .check = check, .store = store_new() };
}

void truth_release(struct truth *t)
{
    struct seen_task *s, *next;
    HASH_ITER(hh, t->tasks, s, next)
    {
        HASH_DEL(t->tasks, s);
        free(s);
    }
    for (unsigned i = 0; i < TRUTH_JOBS_MAX; i++) free(t->jobs[i].v);
    free(t->hashes);
    entry_reader_release(&t->reader);
    store_free(t->store);
}

/* ---- views ---- */

unsigned truth_job(const struct api_job_key *key)
{
    if (key->name.n < 2 || key->name.p[0] != 'j') return TRUTH_JOBS_MAX;
    unsigned long n = strtoul(key->name.p + 1, NULL, 10);
    return n < TRUTH_JOBS_MAX ? (unsigned)n : TRUTH_JOBS_MAX;
}

static uint64_t print_of(struct str id, enum api_schedule_status status, uint32_t n_events)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < id.n; i++) h = (h ^ (uint8_t)id.p[i]) * 0x100000001b3u;
    struct rng r = { h ^ (uint64_t)status << 32 ^ n_events };
    return rng_next(&r);
}

void view_add(struct job_view *v, struct str task_id, enum api_schedule_status status, uint32_t n_events)
{
    v->print += print_of(task_id, status, n_events);
    v->tasks++;
    v->active += status_in(status, TASKS_ACTIVE);
    v->live += status_in(status, TASKS_LIVE);
}

static struct api_job_key key_of(unsigned job, char name[16])
{
    int n = snprintf(name, 16, "j%u", job);
    return (struct api_job_key){ STR("role"), STR("prod"), { name, (uint32_t)n } };
}

/* At most one task of each instance is active. */
static struct job_view look(struct truth *t, unsigned job)
{
    struct job_view v = { 0 };
    struct arena a = { 0 };
    char name[16];
    struct api_job_key key = key_of(job, name);
    bool busy[TRUTH_INSTANCES_MAX] = { 0 };
    struct task_list l = store_job_tasks(t->store, &key, &a);
    for (uint32_t i = 0; i < l.n; i++) {
        const struct task *k = l.v[i];
        view_add(&v, k->id, k->status, k->n_events);
        if (!status_in(k->status, TASKS_ACTIVE)) continue;
        if (busy[k->instance_id])
            checker_fail(t->check, "instance %d of %s has two active tasks behind op %llu", k->instance_id, name,
                         LL(t->ops));
        busy[k->instance_id] = true;
    }
    arena_release(&a);
    return v;
}

static void note_job(struct truth *t, unsigned job)
{
    struct job_history *h = &t->jobs[job];
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->v = xrealloc(h->v, h->cap * sizeof(*h->v));
    }
    struct job_moment m = { t->ops, look(t, job) };
    if (h->kill_acknowledged && m.view.live)
        checker_fail(t->check, "job j%u lives again behind op %llu: its kill was acknowledged", job, LL(t->ops));
    h->v[h->n++] = m;
}

/* ---- ops ---- */

static struct seen_task *seen(const struct truth *t, struct str id)
{
    struct seen_task *s;
    HASH_FIND(hh, t->tasks, id.p, id.n, s);
    return s;
}

static void note_first(struct truth *t, const struct api_scheduled_task *k, unsigned job)
{
    struct job_history *h = &t->jobs[job];
    int32_t instance = k->assigned_task->instance_id;
    assert(instance >= 0 && instance < TRUTH_INSTANCES_MAX);
    if (!k->ancestor_id.p && ++h->first_tasks[instance] > 1) checker_fail(t->check, "job j%u was created twice", job);
}

static void note_task(struct truth *t, const struct api_scheduled_task *k, unsigned job)
{
    struct str id = k->assigned_task->task_id;
    struct seen_task *s = seen(t, id);
    if (!s) {
        s = xcalloc(1, sizeof(*s) + id.n + 1);
        memcpy(s->id, id.p, id.n);
        HASH_ADD_KEYPTR(hh, t->tasks, s->id, id.n, s);
        if (job < TRUTH_JOBS_MAX) note_first(t, k, job);
    }
    for (uint32_t i = 0; i < k->n_task_events; i++) s->states |= STATUS_BIT(k->task_events[i].status);
}

struct touched {
    bool job[TRUTH_JOBS_MAX + 1];
};

static void touch_saved(struct truth *t, const struct api_save_tasks *op, struct touched *jobs)
{
    for (uint32_t i = 0; i < op->n_tasks; i++) {
        unsigned job = truth_job(op->tasks[i].assigned_task->task->job);
        jobs->job[job] = true;
        note_task(t, &op->tasks[i], job);
    }
}

static void touch_removed(struct truth *t, const struct api_remove_tasks *op, struct touched *jobs)
{
    for (uint32_t i = 0; i < op->n_task_ids; i++) {
        const struct task *k = store_task(t->store, op->task_ids[i]);
        if (k) jobs->job[truth_job(k->config->api->job)] = true;
    }
}

static void apply(struct truth *t, const struct api_op *op)
{
    struct touched jobs = { 0 };
    t->ops++;
    if (op->save_tasks) touch_saved(t, op->save_tasks, &jobs);
    if (op->remove_tasks) touch_removed(t, op->remove_tasks, &jobs);
    if (store_apply(t->store, op) != 0) checker_fail(t->check, "op %llu cannot be applied", LL(t->ops));
    for (unsigned i = 0; i < TRUTH_JOBS_MAX; i++)
        if (jobs.job[i]) note_job(t, i);
}

/* A snapshot changes nothing. */
static void apply_snapshot(struct truth *t, const struct api_snapshot *snap)
{
    uint64_t before = store_hash(t->store);
    t->snapshots++;
    int err = store_apply_snapshot(t->store, snap);
    if (err)
        checker_fail(t->check, "the snapshot at %llu cannot be applied", LL(t->next));
    else if (store_hash(t->store) != before)
        checker_fail(t->check, "the snapshot at %llu says something else than the log before it", LL(t->next));
}

static void read_record(struct truth *t, const struct action *a)
{
    struct arena arena = { 0 };
    struct buf why = { 0 };
    const struct api_log_entry *e = NULL;
    if (entry_reader_feed(&t->reader, a->bytes, a->n, &arena, &e, &why))
        checker_fail(t->check, "the log can't be read at %llu: %s", LL(a->position), buf_cstr(&why));
    else if (e && e->snapshot)
        apply_snapshot(t, e->snapshot);
    for (uint32_t i = 0; e && e->transaction && i < e->transaction->n_ops; i++) apply(t, &e->transaction->ops[i]);
    arena_release(&arena);
    buf_release(&why);
}

static void note_hash(struct truth *t)
{
    if (t->next >= t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->hashes = xrealloc(t->hashes, t->cap * sizeof(*t->hashes));
    }
    t->hashes[t->next] = store_hash(t->store);
}

void truth_advance(struct truth *t)
{
    const struct checker *c = t->check;
    if (!t->next) note_hash(t);
    while (t->next < c->n && c->slots[t->next].chosen && !checker_failed(c)) {
        const struct action *a = &c->slots[t->next].chosen->action;
        if (a->type == ACTION_APPEND) read_record(t, a);
        t->next++;
        note_hash(t);
    }
}

bool truth_hash(struct truth *t, uint64_t next, uint64_t *ret)
{
    truth_advance(t);
    if (next > t->next) return false;
    *ret = t->hashes[next];
    return true;
}

/* The truncation was written behind the snapshot that makes up for what it drops. */
uint64_t truth_whole_from(const struct truth *t, uint64_t begin)
{
    const struct checker *c = t->check;
    if (!begin) return 0;
    for (uint64_t p = begin; p < c->n; p++) {
        const struct message *m = c->slots[p].chosen;
        if (m && m->action.type == ACTION_TRUNCATE && m->action.to >= begin) return p;
    }
    return UINT64_MAX;
}

/* ---- questions ---- */

bool truth_has_task(const struct truth *t, struct str task_id, enum api_schedule_status status)
{
    const struct seen_task *s = seen(t, task_id);
    return s && s->states & STATUS_BIT(status);
}

uint64_t truth_explains(const struct truth *t, unsigned job, const struct job_view *view, uint64_t floor)
{
    const struct job_history *h = &t->jobs[job];
    /* Before its first moment a job has no tasks. */
    if (!view->tasks && (!h->n || h->v[0].op > floor)) return floor;
    for (size_t i = 0; i < h->n; i++) {
        bool over = i + 1 < h->n && h->v[i + 1].op <= floor;
        if (over || h->v[i].view.print != view->print || h->v[i].view.tasks != view->tasks) continue;
        return h->v[i].op > floor ? h->v[i].op : floor;
    }
    return UINT64_MAX;
}

uint64_t truth_created(const struct truth *t, unsigned job)
{
    return t->jobs[job].n ? t->jobs[job].v[0].op : UINT64_MAX;
}

uint64_t truth_killed(const struct truth *t, unsigned job)
{
    const struct job_history *h = &t->jobs[job];
    size_t i = h->n;
    while (i && !h->v[i - 1].view.live) i--;
    return i < h->n ? h->v[i].op : UINT64_MAX;
}

void truth_kill_acknowledged(struct truth *t, unsigned job)
{
    t->jobs[job].kill_acknowledged = true;
}
