/* Tasks in the store: slots, versions, and the indexes that hang on them. */
#include "core/job_key.h"
#include "core/store_impl.h"

#include <assert.h>

static_assert(sizeof(struct slot) <= 128, "a task's indexes are to stay small");

struct slot *store_slot(const struct store *s, struct str task_id)
{
    struct slot *slot = NULL;
    if (task_id.p) HASH_FIND(hh, s->tasks, task_id.p, task_id.n, slot);
    return slot;
}

/* ---------------- index lists ---------------- */

static void list_add(struct index_list *l, enum task_index i, struct slot *slot)
{
    slot->link[i].prev = l->tail;
    slot->link[i].next = NULL;
    if (l->tail)
        l->tail->link[i].next = slot;
    else
        l->head = slot;
    l->tail = slot;
    l->n++;
}

static void list_remove(struct index_list *l, enum task_index i, struct slot *slot)
{
    assert(l->n > 0);
    struct slot *prev = slot->link[i].prev, *next = slot->link[i].next;
    if (prev)
        prev->link[i].next = next;
    else
        l->head = next;
    if (next)
        next->link[i].prev = prev;
    else
        l->tail = prev;
    l->n--;
}

static struct index_list *host_list(const struct task *t)
{
    return t->slave_host.p ? &intern_of(t->slave_host)->by_host : NULL;
}

/* ---------------- jobs and roles ---------------- */

struct job_entry *store_job_entry(const struct store *s, const struct api_job_key *key)
{
    struct arena a = { 0 };
    struct str text = job_key_text(key, &a);
    struct job_entry *j = NULL;
    if (text.p) HASH_FIND(hh, s->jobs, text.p, text.n, j);
    arena_release(&a);
    return j;
}

static struct role_entry *role_get(struct store *s, struct str name)
{
    struct role_entry *r;
    HASH_FIND(hh, s->roles, name.p, name.n, r);
    if (r) return r;
    r = xcalloc(1, sizeof *r + name.n + 1);
    if (name.n) memcpy(r->bytes, name.p, name.n);
    r->name = (struct str){ r->bytes, name.n };
    HASH_ADD_KEYPTR(hh, s->roles, r->bytes, r->name.n, r);
    return r;
}

static struct str put_str(char **at, struct str s)
{
    char *p = *at;
    if (s.n) memcpy(p, s.p, s.n);
    *at += s.n + 1;
    return (struct str){ p, s.n };
}

static struct job_entry *job_get(struct store *s, const struct api_job_key *key)
{
    struct job_entry *j = store_job_entry(s, key);
    if (j) return j;
    struct arena a = { 0 };
    struct str text = job_key_text(key, &a);
    j = xcalloc(1, sizeof *j + 2 * ((size_t)text.n + 2));
    char *at = j->bytes;
    j->pub.text = put_str(&at, text);
    j->pub.key = (struct api_job_key){ .role = put_str(&at, key->role) };
    j->pub.key.environment = put_str(&at, key->environment);
    j->pub.key.name = put_str(&at, key->name);
    arena_release(&a);

    struct role_entry *r = j->role = role_get(s, key->role);
    j->prev = r->tail;
    if (r->tail)
        r->tail->next = j;
    else
        r->head = j;
    r->tail = j;
    r->n_jobs++;
    HASH_ADD_KEYPTR(hh, s->jobs, j->pub.text.p, j->pub.text.n, j);
    return j;
}

static void job_drop_if_empty(struct store *s, struct job_entry *j)
{
    if (j->pub.n_tasks) return;
    struct role_entry *r = j->role;
    if (j->prev)
        j->prev->next = j->next;
    else
        r->head = j->next;
    if (j->next)
        j->next->prev = j->prev;
    else
        r->tail = j->prev;
    HASH_DEL(s->jobs, j);
    free(j);
    if (--r->n_jobs) return;
    HASH_DEL(s->roles, r);
    free(r);
}

/* ---------------- versions ---------------- */

static void index_version(struct store *s, struct slot *slot)
{
    const struct task *t = slot->task;
    list_add(&s->by_status[t->status], BY_STATUS, slot);
    if (host_list(t)) list_add(host_list(t), BY_HOST, slot);
    slot->job->pub.n_terminal += status_in(t->status, TASKS_TERMINAL);
}

static void unindex_version(struct store *s, struct slot *slot)
{
    const struct task *t = slot->task;
    list_remove(&s->by_status[t->status], BY_STATUS, slot);
    if (host_list(t)) list_remove(host_list(t), BY_HOST, slot);
    slot->job->pub.n_terminal -= status_in(t->status, TASKS_TERMINAL);
}

static void enter_job(struct store *s, struct slot *slot)
{
    slot->job = job_get(s, task_job(slot->task));
    list_add(&slot->job->tasks, BY_JOB, slot);
    slot->job->pub.n_tasks++;
}

static void leave_job(struct store *s, struct slot *slot)
{
    list_remove(&slot->job->tasks, BY_JOB, slot);
    slot->job->pub.n_tasks--;
    job_drop_if_empty(s, slot->job);
}

/* Closes the holes. The slots are in the same order. */
static void compact_versions(struct store *s)
{
    uint32_t n = 0;
    for (struct slot *slot = s->tasks; slot; slot = slot->hh.next) {
        slot->at = n;
        s->versions[n++] = slot->task;
    }
    s->n_versions = n;
}

/* Half of the room at least is in use after a compaction is over, so that the next one is far. */
static uint32_t add_version(struct store *s, const struct task *t)
{
    if (s->n_versions == s->cap_versions && HASH_COUNT(s->tasks) < s->n_versions / 2) compact_versions(s);
    if (s->n_versions == s->cap_versions) {
        s->cap_versions = s->cap_versions ? 2 * s->cap_versions : 64;
        s->versions = xrealloc(s->versions, s->cap_versions * sizeof(struct task *));
    }
    s->versions[s->n_versions] = t;
    return s->n_versions++;
}

/* A version of a task that has no slot yet. */
static void add_slot(struct store *s, const struct task *t)
{
    struct slot *slot = xcalloc(1, sizeof *slot);
    slot->task = t;
    slot->at = add_version(s, t);
    HASH_ADD_KEYPTR(hh, s->tasks, t->id.p, t->id.n, slot);
    enter_job(s, slot);
    index_version(s, slot);
}

static void replace_version(struct store *s, struct slot *slot, const struct task *t)
{
    const struct task *old = slot->task;
    bool moves = !job_key_eq(task_job(old), task_job(t));
    unindex_version(s, slot);
    if (moves) leave_job(s, slot);
    slot->task = s->versions[slot->at] = t;
    slot->hh.key = (void *)t->id.p; /* the same bytes, in memory that stays */
    if (moves) enter_job(s, slot);
    index_version(s, slot);
    store_retire_task(s, old);
}

void store_put_task(struct store *s, const struct api_scheduled_task *api, struct config *config)
{
    const struct task *t = task_new(&s->strings, config, api);
    struct slot *slot = store_slot(s, t->id);
    if (slot)
        replace_version(s, slot, t);
    else
        add_slot(s, t);
}

void store_remove_task(struct store *s, struct str task_id)
{
    struct slot *slot = store_slot(s, task_id);
    if (!slot) return;
    unindex_version(s, slot);
    leave_job(s, slot);
    HASH_DEL(s->tasks, slot);
    s->versions[slot->at] = NULL;
    store_retire_task(s, slot->task);
    free(slot);
}

void store_clear_tasks(struct store *s)
{
    while (s->tasks) store_remove_task(s, s->tasks->task->id);
    s->n_versions = 0;
    assert(!s->jobs && !s->roles);
}

/* ---------------- reading ---------------- */

const struct task *store_task(const struct store *s, struct str task_id)
{
    const struct slot *slot = store_slot(s, task_id);
    return slot ? slot->task : NULL;
}

uint64_t store_task_count(const struct store *s)
{
    return HASH_COUNT(s->tasks);
}

uint32_t store_status_count(const struct store *s, enum api_schedule_status status)
{
    assert((unsigned)status < TASK_STATES);
    return s->by_status[status].n;
}

void store_each_task(const struct store *s, bool (*fn)(const struct task *t, void *arg), void *arg)
{
    for (struct slot *slot = s->tasks; slot; slot = slot->hh.next)
        if (!fn(slot->task, arg)) return;
}

const struct job *store_job(const struct store *s, const struct api_job_key *key)
{
    struct job_entry *j = store_job_entry(s, key);
    return j ? &j->pub : NULL;
}

void store_each_job(const struct store *s, struct str role, bool (*fn)(const struct job *j, void *arg), void *arg)
{
    if (!role.p) {
        for (struct job_entry *j = s->jobs; j; j = j->hh.next)
            if (!fn(&j->pub, arg)) return;
        return;
    }
    struct role_entry *r;
    HASH_FIND(hh, s->roles, role.p, role.n, r);
    for (struct job_entry *j = r ? r->head : NULL; j; j = j->next)
        if (!fn(&j->pub, arg)) return;
}

void store_each_role(const struct store *s, bool (*fn)(struct str role, uint32_t n_jobs, void *arg), void *arg)
{
    for (struct role_entry *r = s->roles; r; r = r->hh.next)
        if (!fn(r->name, r->n_jobs, arg)) return;
}

struct config *store_intern_config(struct store *s, const struct api_task_config *api)
{
    struct config *c = config_intern(&s->configs, api, NULL);
    config_pool_end(&s->configs); /* api's memory is not ours to remember */
    return c;
}
