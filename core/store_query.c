/* Evaluation of TaskQuery: the index with the fewest candidates, then the whole predicate on each. */
#include "core/job_key.h"
#include "core/store_impl.h"

#include <assert.h>
#include <ctype.h>

static struct task_list list_of(struct arena *a, uint32_t cap)
{
    struct task_list l = { ARENA_ARRAY(a, const struct task *, cap), 0 };
    assert(l.v);
    return l;
}

static void add_index(struct task_list *out, const struct index_list *l, enum task_index i)
{
    for (struct slot *slot = l ? l->head : NULL; slot; slot = slot->link[i].next) out->v[out->n++] = slot->task;
}

struct task_list store_job_tasks(const struct store *s, const struct api_job_key *key, struct arena *a)
{
    struct job_entry *j = store_job_entry(s, key);
    struct task_list out = list_of(a, j ? j->tasks.n : 0);
    add_index(&out, j ? &j->tasks : NULL, BY_JOB);
    return out;
}

struct task_list store_status_tasks(const struct store *s, uint32_t statuses, struct arena *a)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < TASK_STATES; i++)
        if (statuses & STATUS_BIT(i)) n += s->by_status[i].n;
    struct task_list out = list_of(a, n);
    for (unsigned i = 0; i < TASK_STATES; i++)
        if (statuses & STATUS_BIT(i)) add_index(&out, &s->by_status[i], BY_STATUS);
    return out;
}

/* ---------------- the predicate ---------------- */

static bool is_blank(struct str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (!isspace((unsigned char)s.p[i])) return false;
    return true;
}

static bool has_role(const struct api_task_query *q)
{
    return q->role.p && !is_blank(q->role);
}

static bool in_strings(struct str x, const struct str *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(x, v[i])) return true;
    return false;
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Instance ids may be as many as a job has, and the storage form sorts them. */
static bool in_numbers(int32_t x, const int32_t *v, uint32_t n)
{
    return bsearch(&x, v, n, sizeof *v, by_number) != NULL;
}

static bool in_statuses(enum api_schedule_status x, const enum api_schedule_status *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i] == x) return true;
    return false;
}

static bool in_keys(const struct api_job_key *x, const struct api_job_key *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (job_key_eq(x, &v[i])) return true;
    return false;
}

static bool matches_job(const struct task *t, const struct api_task_query *q)
{
    const struct api_job_key *k = task_job(t);
    if (has_role(q) && !str_eq(k->role, q->role)) return false;
    if (q->environment.p && !str_eq(k->environment, q->environment)) return false;
    if (q->job_name.p && !str_eq(k->name, q->job_name)) return false;
    return !q->n_job_keys || in_keys(k, q->job_keys, q->n_job_keys);
}

/* The task ids need no check here: where they are given, they are the index. */
static bool matches(const struct task *t, const struct api_task_query *q)
{
    if (!matches_job(t, q)) return false;
    if (q->n_statuses && !in_statuses(t->status, q->statuses, q->n_statuses)) return false;
    if (q->n_slave_hosts && !in_strings(t->slave_host, q->slave_hosts, q->n_slave_hosts)) return false;
    return !q->n_instance_ids || in_numbers(t->instance_id, q->instance_ids, q->n_instance_ids);
}

/* ---------------- the choice of the index ---------------- */

static const struct index_list *host_index(const struct store *s, struct str host)
{
    struct str known = intern_find(&s->strings, host);
    return known.p ? &intern_of(known)->by_host : NULL;
}

static struct task_list by_ids(const struct store *s, const struct api_task_query *q, struct arena *a)
{
    struct task_list out = list_of(a, q->n_task_ids);
    for (uint32_t i = 0; i < q->n_task_ids; i++) {
        const struct task *t = store_task(s, q->task_ids[i]);
        if (t) out.v[out.n++] = t;
    }
    return out;
}

static struct task_list by_keys(const struct store *s, const struct api_job_key *keys, uint32_t n, struct arena *a)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct job_entry *j = store_job_entry(s, &keys[i]);
        total += j ? j->tasks.n : 0;
    }
    struct task_list out = list_of(a, total);
    for (uint32_t i = 0; i < n; i++) {
        struct job_entry *j = store_job_entry(s, &keys[i]);
        add_index(&out, j ? &j->tasks : NULL, BY_JOB);
    }
    return out;
}

static struct task_list by_hosts(const struct store *s, const struct api_task_query *q, struct arena *a)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < q->n_slave_hosts; i++) {
        const struct index_list *l = host_index(s, q->slave_hosts[i]);
        total += l ? l->n : 0;
    }
    struct task_list out = list_of(a, total);
    for (uint32_t i = 0; i < q->n_slave_hosts; i++) add_index(&out, host_index(s, q->slave_hosts[i]), BY_HOST);
    return out;
}

static struct task_list by_role(const struct store *s, struct str role, struct arena *a)
{
    struct role_entry *r;
    HASH_FIND(hh, s->roles, role.p, role.n, r);
    uint32_t total = 0;
    for (struct job_entry *j = r ? r->head : NULL; j; j = j->next) total += j->tasks.n;
    struct task_list out = list_of(a, total);
    for (struct job_entry *j = r ? r->head : NULL; j; j = j->next) add_index(&out, &j->tasks, BY_JOB);
    return out;
}

static struct task_list by_statuses(const struct store *s, const struct api_task_query *q, struct arena *a)
{
    uint32_t set = q->n_statuses ? 0 : UINT32_MAX;
    for (uint32_t i = 0; i < q->n_statuses; i++)
        if ((unsigned)q->statuses[i] < TASK_STATES) set |= STATUS_BIT(q->statuses[i]);
    return store_status_tasks(s, set, a);
}

static struct task_list candidates(const struct store *s, const struct api_task_query *q, struct arena *a)
{
    if (q->n_task_ids) return by_ids(s, q, a);
    if (q->n_job_keys) return by_keys(s, q->job_keys, q->n_job_keys, a);
    if (has_role(q) && q->environment.p && q->job_name.p) {
        struct api_job_key key = { .role = q->role, .environment = q->environment, .name = q->job_name };
        return by_keys(s, &key, 1, a);
    }
    if (q->n_slave_hosts) return by_hosts(s, q, a);
    if (has_role(q)) return by_role(s, q->role, a);
    return by_statuses(s, q, a);
}

struct task_list store_query(const struct store *s, const struct api_task_query *q, struct arena *a)
{
    struct task_list found = candidates(s, q, a);
    uint32_t n = 0;
    for (uint32_t i = 0; i < found.n; i++)
        if (matches(found.v[i], q)) found.v[n++] = found.v[i];
    found.n = n;
    return found;
}
