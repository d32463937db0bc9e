/* The one way in which durable state changes: ops and snapshots. */
#include "core/err.h"
#include "core/job_key.h"
#include "core/store_impl.h"

#include <assert.h>

struct store *store_new(void)
{
    return xcalloc(1, sizeof(struct store));
}

void store_reset(struct store *s)
{
    store_clear_tasks(s);
    store_clear_updates(s);
    record_clear(s, &s->hosts);
    record_clear(s, &s->cron_jobs);
    record_clear(s, &s->quotas);
    record_clear(s, &s->maintenance);
}

void store_free(struct store *s)
{
    if (!s) return;
    store_reset(s);
    s->freed = true;
    if (s->images) return; /* the last one calls again */
    assert(!s->strings.table);
    assert(!s->configs.by_value);
    free((char *)s->framework_id.p);
    free(s->versions);
    free(s);
}

bool store_is_shown(const struct store *s)
{
    return s->images;
}

/* ---------------- ops ---------------- */

static int save_framework_id(struct store *s, const struct api_save_framework_id *op)
{
    if (!op->id.p) return ERR_INVALID;
    char *copy = xstrndup(op->id.p, op->id.n);
    s->other_changes++;
    free((char *)s->framework_id.p);
    s->framework_id = (struct str){ copy, op->id.n };
    return 0;
}

void store_inherit(struct store *s, const struct store *from)
{
    if (!s->framework_id.p && from->framework_id.p)
        (void)save_framework_id(s, &(struct api_save_framework_id){ .id = from->framework_id });
}

static int save_cron_job(struct store *s, const struct api_save_cron_job *op)
{
    const struct api_job_configuration *j = op->job_config;
    if (!j || !job_key_valid(j->key)) return ERR_INVALID;
    struct arena a = { 0 };
    int err = record_put(s, &s->cron_jobs, job_key_text(j->key, &a), &api_job_configuration_desc, j);
    arena_release(&a);
    return err;
}

static int remove_cron_job(struct store *s, const struct api_remove_job *op)
{
    struct arena a = { 0 };
    record_remove(s, &s->cron_jobs, job_key_text(op->job_key, &a));
    arena_release(&a);
    return 0;
}

/* All are checked before the first is put: the op is applied whole or not at all. */
static int save_tasks(struct store *s, const struct api_save_tasks *op)
{
    struct config **configs = xmalloc(op->n_tasks * sizeof(struct config *));
    uint32_t n = 0;
    int err = 0;
    for (; n < op->n_tasks && !err; n++) {
        configs[n] = NULL;
        if (!task_api_valid(&op->tasks[n]))
            err = ERR_INVALID;
        else if (!(configs[n] = config_intern(&s->configs, op->tasks[n].assigned_task->task, NULL)))
            err = ERR_INVALID;
    }
    for (uint32_t i = 0; i < op->n_tasks && !err; i++) store_put_task(s, &op->tasks[i], configs[i]);
    for (uint32_t i = 0; i < n; i++) config_unref(configs[i]);
    config_pool_end(&s->configs);
    free(configs);
    return err;
}

static int remove_tasks(struct store *s, const struct api_remove_tasks *op)
{
    for (uint32_t i = 0; i < op->n_task_ids; i++) store_remove_task(s, op->task_ids[i]);
    return 0;
}

/* Exactly one value each of cpus, ram and disk. */
static bool quota_valid(const struct api_resource_aggregate *q)
{
    int cpus = 0, ram = 0, disk = 0;
    for (uint32_t i = 0; i < q->n_resources; i++) {
        cpus += q->resources[i].has_num_cpus;
        ram += q->resources[i].has_ram_mb;
        disk += q->resources[i].has_disk_mb;
    }
    return q->n_resources == 3 && cpus == 1 && ram == 1 && disk == 1;
}

static int save_quota(struct store *s, struct str role, const struct api_resource_aggregate *quota)
{
    if (!role.p || !quota || !quota_valid(quota)) return ERR_INVALID;
    return record_put(s, &s->quotas, role, &api_resource_aggregate_desc, quota);
}

static bool attributes_valid(const struct api_host_attributes *h)
{
    if (!h->host.p || !h->has_mode || !tenum_name(&api_maintenance_mode_enum, h->mode)) return false;
    for (uint32_t i = 0; i < h->n_attributes; i++)
        if (!h->attributes[i].name.p || h->attributes[i].n_values == 0) return false;
    return true;
}

static int save_host_attributes(struct store *s, const struct api_host_attributes *h)
{
    if (!h) return ERR_INVALID;
    if (!h->slave_id.p) return 0; /* from before agents had ids: dropped, as Aurora does */
    if (!attributes_valid(h)) return ERR_INVALID;
    return record_put(s, &s->hosts, h->host, &api_host_attributes_desc, h);
}

static int remove_updates(struct store *s, const struct api_remove_job_updates *op)
{
    for (uint32_t i = 0; i < op->n_keys; i++) store_remove_update(s, &op->keys[i]);
    return 0;
}

static int save_maintenance(struct store *s, const struct api_host_maintenance_request *r)
{
    if (!r || !r->host.p) return ERR_INVALID;
    return record_put(s, &s->maintenance, r->host, &api_host_maintenance_request_desc, r);
}

int store_apply(struct store *s, const struct api_op *op)
{
    if (op->save_tasks) return save_tasks(s, op->save_tasks);
    if (op->remove_tasks) return remove_tasks(s, op->remove_tasks);
    if (op->save_host_attributes) return save_host_attributes(s, op->save_host_attributes->host_attributes);
    if (op->save_framework_id) return save_framework_id(s, op->save_framework_id);
    if (op->save_cron_job) return save_cron_job(s, op->save_cron_job);
    if (op->remove_job) return remove_cron_job(s, op->remove_job);
    if (op->save_quota) return save_quota(s, op->save_quota->role, op->save_quota->quota);
    if (op->remove_quota) return record_remove(s, &s->quotas, op->remove_quota->role), 0;
    if (op->save_job_update)
        return op->save_job_update->job_update ? store_put_update(s, op->save_job_update->job_update) : ERR_INVALID;
    if (op->save_job_update_event) {
        const struct api_save_job_update_event *e = op->save_job_update_event;
        return e->event ? store_add_update_event(s, e->key, e->event) : ERR_INVALID;
    }
    if (op->save_job_instance_update_event) {
        const struct api_save_job_instance_update_event *e = op->save_job_instance_update_event;
        return e->event ? store_add_instance_event(s, e->key, e->event) : ERR_INVALID;
    }
    if (op->remove_job_update) return remove_updates(s, op->remove_job_update);
    if (op->save_host_maintenance_request)
        return save_maintenance(s, op->save_host_maintenance_request->host_maintenance_request);
    if (op->remove_host_maintenance_request)
        return record_remove(s, &s->maintenance, op->remove_host_maintenance_request->host), 0;
    /* Locks and counted pruning are relics: they mean nothing any more. */
    if (op->save_lock || op->remove_lock || op->prune_job_update_history) return 0;
    return ERR_INVALID;
}

/* ---------------- snapshots in ---------------- */

static int apply_updates(struct store *s, const struct api_snapshot *snap)
{
    for (uint32_t i = 0; i < snap->n_job_update_details; i++) {
        const struct api_job_update_details *d = snap->job_update_details[i].details;
        if (!d || !d->update) return ERR_INVALID;
        int err = store_put_update(s, d->update);
        const struct api_job_update_key *key = err ? NULL : d->update->summary->key;
        for (uint32_t k = 0; k < d->n_update_events && !err; k++)
            err = store_add_update_event(s, key, &d->update_events[k]);
        for (uint32_t k = 0; k < d->n_instance_events && !err; k++)
            err = store_add_instance_event(s, key, &d->instance_events[k]);
        if (err) return err;
    }
    return 0;
}

int store_apply_snapshot(struct store *s, const struct api_snapshot *snap)
{
    store_reset(s);
    int err = 0;
    for (uint32_t i = 0; i < snap->n_host_attributes && !err; i++)
        err = save_host_attributes(s, &snap->host_attributes[i]);
    if (!err) err = save_tasks(s, &(struct api_save_tasks){ .n_tasks = snap->n_tasks, .tasks = snap->tasks });
    for (uint32_t i = 0; i < snap->n_cron_jobs && !err; i++)
        err = save_cron_job(s, &(struct api_save_cron_job){ .job_config = snap->cron_jobs[i].job_configuration });
    if (!err && snap->scheduler_metadata && snap->scheduler_metadata->framework_id.p)
        err = save_framework_id(s, &(struct api_save_framework_id){ .id = snap->scheduler_metadata->framework_id });
    for (uint32_t i = 0; i < snap->n_quota_configurations && !err; i++)
        err = save_quota(s, snap->quota_configurations[i].role, snap->quota_configurations[i].quota);
    if (!err) err = apply_updates(s, snap);
    for (uint32_t i = 0; i < snap->n_host_maintenance_requests && !err; i++)
        err = save_maintenance(s, &snap->host_maintenance_requests[i]);
    return err;
}

/* ---------------- snapshots out ---------------- */

/* An array in `a` of shallow copies of a table's objects. */
static void *list_records(struct record *table, const struct tdesc *d, uint32_t *ret_n, struct arena *a)
{
    uint32_t n = HASH_COUNT(table), i = 0;
    char *v = arena_alloc(a, (size_t)d->size * n);
    for (struct record *r = table; r; r = r->hh.next) memcpy(v + (size_t)d->size * i++, r->obj, d->size);
    *ret_n = n;
    return v;
}

static void snapshot_cron(const struct store *s, struct api_snapshot *out, struct arena *a)
{
    out->has_cron_jobs = true;
    out->n_cron_jobs = HASH_COUNT(s->cron_jobs);
    out->cron_jobs = ARENA_ARRAY(a, struct api_stored_cron_job, out->n_cron_jobs);
    uint32_t i = 0;
    for (struct record *r = s->cron_jobs; r; r = r->hh.next) out->cron_jobs[i++].job_configuration = r->obj;
}

static void snapshot_quotas(const struct store *s, struct api_snapshot *out, struct arena *a)
{
    out->has_quota_configurations = true;
    out->n_quota_configurations = HASH_COUNT(s->quotas);
    out->quota_configurations = ARENA_ARRAY(a, struct api_quota_configuration, out->n_quota_configurations);
    uint32_t i = 0;
    for (struct record *r = s->quotas; r; r = r->hh.next, i++) {
        out->quota_configurations[i].role = r->key;
        out->quota_configurations[i].quota = r->obj;
    }
}

/* The state changes in place, so it is copied. */
static void snapshot_update(const struct update_record *u, struct api_stored_job_update_details *out, struct arena *a)
{
    struct api_job_update_details *d = out->details = ARENA_NEW(a, struct api_job_update_details);
    update_record_to_api(u, d);
    d->update = ARENA_NEW(a, struct api_job_update);
    *d->update = *u->update;
    d->update->summary = ARENA_NEW(a, struct api_job_update_summary);
    *d->update->summary = *u->update->summary;
    if (!u->update->summary->state) return;
    d->update->summary->state = ARENA_NEW(a, struct api_job_update_state);
    *d->update->summary->state = *u->update->summary->state;
}

static void snapshot_updates(const struct store *s, struct api_snapshot *out, struct arena *a)
{
    out->has_job_update_details = true;
    out->n_job_update_details = HASH_COUNT(s->updates);
    out->job_update_details = ARENA_ARRAY(a, struct api_stored_job_update_details, out->n_job_update_details);
    uint32_t i = 0;
    for (struct update_record *u = s->updates; u; u = u->hh.next) snapshot_update(u, &out->job_update_details[i++], a);
}

void store_snapshot_rest(const struct store *s, struct api_snapshot *out, struct arena *a)
{
    *out =
        (struct api_snapshot){ .has_host_attributes = true, .has_tasks = true, .has_host_maintenance_requests = true };
    out->host_attributes = list_records(s->hosts, &api_host_attributes_desc, &out->n_host_attributes, a);
    snapshot_cron(s, out, a);
    out->scheduler_metadata = ARENA_NEW(a, struct api_scheduler_metadata);
    out->scheduler_metadata->framework_id = arena_str(a, s->framework_id);
    out->scheduler_metadata->has_details = true;
    snapshot_quotas(s, out, a);
    snapshot_updates(s, out, a);
    out->host_maintenance_requests =
        list_records(s->maintenance, &api_host_maintenance_request_desc, &out->n_host_maintenance_requests, a);
}

/* ---------------- reading ---------------- */

void store_each_host(const struct store *s, bool (*fn)(const struct api_host_attributes *h, void *arg), void *arg)
{
    for (struct record *r = s->hosts; r; r = r->hh.next)
        if (!fn(r->obj, arg)) return;
}

const struct api_host_attributes *store_host(const struct store *s, struct str hostname)
{
    struct record *r = record_find(s->hosts, hostname);
    return r ? r->obj : NULL;
}

struct str store_framework_id(const struct store *s)
{
    return s->framework_id;
}

const struct api_job_configuration *store_cron_job(const struct store *s, const struct api_job_key *key)
{
    struct arena a = { 0 };
    struct record *r = record_find(s->cron_jobs, job_key_text(key, &a));
    arena_release(&a);
    return r ? r->obj : NULL;
}

void store_each_cron_job(const struct store *s, bool (*fn)(const struct api_job_configuration *j, void *arg), void *arg)
{
    for (struct record *r = s->cron_jobs; r; r = r->hh.next)
        if (!fn(r->obj, arg)) return;
}

/* ---------------- comparing ---------------- */

static uint64_t hash_struct(uint64_t kind, struct str key, const struct tdesc *d, const void *obj)
{
    struct buf b = { 0 };
    int err = tbinary_write(&b, d, obj);
    assert(!err);
    (void)err;
    uint64_t h = hash_bytes(b.data, b.len, hash_bytes(key.p, key.n, kind));
    buf_release(&b);
    return h;
}

static uint64_t hash_records(uint64_t kind, struct record *table, const struct tdesc *d)
{
    uint64_t sum = 0;
    for (struct record *r = table; r; r = r->hh.next) sum += hash_struct(kind, r->key, d, r->obj);
    return sum;
}

/* A sum of the hashes of everything: the order of insertion does not count. */
uint64_t store_hash(const struct store *s)
{
    enum { TASK = 1, HOST, CRON, QUOTA, MAINTENANCE, UPDATE, FRAMEWORK };
    uint64_t sum = hash_bytes(s->framework_id.p, s->framework_id.n, FRAMEWORK);
    struct arena a = { 0 };
    for (struct slot *slot = s->tasks; slot; slot = slot->hh.next) {
        struct api_scheduled_task api;
        task_to_api(slot->task, &api, &a);
        sum += hash_struct(TASK, slot->task->id, &api_scheduled_task_desc, &api);
        arena_release(&a);
    }
    for (struct update_record *u = s->updates; u; u = u->hh.next) {
        struct api_job_update_details d;
        update_record_to_api(u, &d);
        sum += hash_struct(UPDATE, u->key, &api_job_update_details_desc, &d);
        arena_release(&a);
    }
    sum += hash_records(HOST, s->hosts, &api_host_attributes_desc);
    sum += hash_records(CRON, s->cron_jobs, &api_job_configuration_desc);
    sum += hash_records(QUOTA, s->quotas, &api_resource_aggregate_desc);
    return sum + hash_records(MAINTENANCE, s->maintenance, &api_host_maintenance_request_desc);
}
