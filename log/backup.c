#include "log/backup.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/thrift.h"

#include <assert.h>

enum { PORTION = 64 << 10 };

/* The fields of Snapshot. */
enum {
    TIMESTAMP = 1,
    HOST_ATTRIBUTES = 3,
    TASKS = 4,
    CRON_JOBS = 5,
    SCHEDULER_METADATA = 6,
    QUOTA_CONFIGURATIONS = 8,
    JOB_UPDATE_DETAILS = 10,
    HOST_MAINTENANCE_REQUESTS = 13,
};

/* ---------------- encoding ---------------- */

struct writer {
    struct buf bytes; /* not put yet */
    backup_put put;
    void *arg;
    int err;
};

static void flush(struct writer *w)
{
    if (!w->err) w->err = w->put(w->bytes.data, w->bytes.len, w->arg);
    buf_reset(&w->bytes);
}

static void put_struct(struct writer *w, const struct tdesc *d, const void *obj)
{
    if (!w->err) w->err = tbinary_write(&w->bytes, d, obj);
    if (w->bytes.len >= PORTION) flush(w);
}

/* Fields of a struct that goes on: without the stop at its end. */
static void put_fields(struct writer *w, const struct api_snapshot *part)
{
    if (!w->err) w->err = tbinary_write(&w->bytes, &api_snapshot_desc, part);
    if (w->err) return;
    assert(w->bytes.len > 0);
    w->bytes.len--;
}

static void put_tasks(struct writer *w, const struct image *image)
{
    uint32_t n = image->n;
    uint8_t head[] = { TT_SET,    0, TASKS, TT_STRUCT, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                       (uint8_t)n };
    buf_add(&w->bytes, head, sizeof(head));
    struct arena a = { 0 };
    for (uint32_t i = 0; i < n && !w->err; i++) {
        struct api_scheduled_task t = { 0 };
        task_to_api(image->tasks[i], &t, &a);
        put_struct(w, &api_scheduled_task_desc, &t);
        arena_release(&a);
    }
}

int backup_encode(const struct image *image, backup_put put, void *arg)
{
    if (image->n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    struct writer w = { .put = put, .arg = arg };
    /* In ascending order of the fields, the tasks in their place. */
    struct api_snapshot before = { 0 }, behind = image->rest;
    before.has_timestamp = true;
    before.timestamp = behind.timestamp;
    before.has_host_attributes = true;
    before.n_host_attributes = behind.n_host_attributes;
    before.host_attributes = behind.host_attributes;
    behind.has_timestamp = behind.has_host_attributes = behind.has_tasks = false;
    put_fields(&w, &before);
    put_tasks(&w, image);
    put_fields(&w, &behind);
    buf_addc(&w.bytes, TT_STOP);
    flush(&w);
    buf_release(&w.bytes);
    return w.err;
}

/* ---------------- decoding: values out of a stream ---------------- */

struct reader {
    backup_get get;
    void *arg;
    struct buf window; /* what has been read; before `at` it is done with */
    size_t at;
    bool ended;
    struct store *store;
    struct arena arena; /* of the value at hand */
};

/* More bytes; each time as many as there are, so that a long value is looked at only a few times. */
static int fill(struct reader *r)
{
    buf_consume(&r->window, r->at);
    r->at = 0;
    size_t room = LIMIT_BACKUP_VALUE_BYTES - r->window.len, n;
    size_t want = r->window.len > PORTION ? r->window.len : PORTION;
    if (want > room) want = room;
    if (want == 0) return ERR_TOO_BIG;
    int err = r->get(buf_reserve(&r->window, want), want, &n, r->arg);
    if (err) return err;
    assert(n <= want);
    buf_commit(&r->window, n);
    r->ended = n == 0;
    return r->ended ? ERR_TRUNCATED : 0;
}

static const uint8_t *here(const struct reader *r)
{
    return r->window.data + r->at;
}

static size_t left(const struct reader *r)
{
    return r->window.len - r->at;
}

static int need(struct reader *r, size_t n)
{
    int err = 0;
    while (left(r) < n && !err) err = fill(r);
    return err;
}

/* The value is read anew with more bytes as long as they do not suffice. */
static int read_struct(struct reader *r, const struct tdesc *d, void **ret)
{
    for (;;) {
        size_t used;
        arena_release(&r->arena);
        *ret = arena_alloc(&r->arena, d->size);
        int err = r->window.data ? tbinary_read(here(r), left(r), d, *ret, &r->arena, &used) : ERR_TRUNCATED;
        if (err == 0) r->at += used;
        if (err != ERR_TRUNCATED) return err;
        err = fill(r);
        if (err) return err;
    }
}

static int skip_value(struct reader *r, unsigned type)
{
    for (;;) {
        size_t used;
        int err = tbinary_skip(here(r), left(r), type, &used);
        if (err == 0) r->at += used;
        if (err != ERR_TRUNCATED) return err;
        err = fill(r);
        if (err) return err;
    }
}

static uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---------------- decoding: what becomes of them ---------------- */

static int apply_host(struct store *s, void *obj)
{
    struct api_save_host_attributes save = { .host_attributes = obj };
    return store_apply(s, &(struct api_op){ .save_host_attributes = &save });
}

static int apply_task(struct store *s, void *obj)
{
    struct api_save_tasks save = { .has_tasks = true, .n_tasks = 1, .tasks = obj };
    return store_apply(s, &(struct api_op){ .save_tasks = &save });
}

static int apply_cron_job(struct store *s, void *obj)
{
    const struct api_stored_cron_job *job = obj;
    struct api_save_cron_job save = { .job_config = job->job_configuration };
    return store_apply(s, &(struct api_op){ .save_cron_job = &save });
}

static int apply_metadata(struct store *s, void *obj)
{
    const struct api_scheduler_metadata *m = obj;
    struct api_save_framework_id save = { .id = m->framework_id };
    return m->framework_id.p ? store_apply(s, &(struct api_op){ .save_framework_id = &save }) : 0;
}

static int apply_quota(struct store *s, void *obj)
{
    const struct api_quota_configuration *q = obj;
    struct api_save_quota save = { .role = q->role, .quota = q->quota };
    return store_apply(s, &(struct api_op){ .save_quota = &save });
}

static int apply_maintenance(struct store *s, void *obj)
{
    struct api_save_host_maintenance_request save = { .host_maintenance_request = obj };
    return store_apply(s, &(struct api_op){ .save_host_maintenance_request = &save });
}

static int apply_update_events(struct store *s, struct api_job_update_details *d)
{
    struct api_job_update_key *key = d->update->summary->key;
    int err = 0;
    for (uint32_t i = 0; i < d->n_update_events && !err; i++) {
        struct api_save_job_update_event save = { .event = &d->update_events[i], .key = key };
        err = store_apply(s, &(struct api_op){ .save_job_update_event = &save });
    }
    for (uint32_t i = 0; i < d->n_instance_events && !err; i++) {
        struct api_save_job_instance_update_event save = { .event = &d->instance_events[i], .key = key };
        err = store_apply(s, &(struct api_op){ .save_job_instance_update_event = &save });
    }
    return err;
}

static int apply_update(struct store *s, void *obj)
{
    struct api_job_update_details *d = ((struct api_stored_job_update_details *)obj)->details;
    if (!d || !d->update) return ERR_INVALID;
    struct api_save_job_update save = { .job_update = d->update };
    int err = store_apply(s, &(struct api_op){ .save_job_update = &save });
    return err ? err : apply_update_events(s, d);
}

static const struct part {
    uint16_t id;
    enum ttype type; /* TT_SET: of structs */
    const struct tdesc *d;
    int (*apply)(struct store *s, void *obj);
} parts[] = {
    { HOST_ATTRIBUTES, TT_SET, &api_host_attributes_desc, apply_host },
    { TASKS, TT_SET, &api_scheduled_task_desc, apply_task },
    { CRON_JOBS, TT_SET, &api_stored_cron_job_desc, apply_cron_job },
    { SCHEDULER_METADATA, TT_STRUCT, &api_scheduler_metadata_desc, apply_metadata },
    { QUOTA_CONFIGURATIONS, TT_SET, &api_quota_configuration_desc, apply_quota },
    { JOB_UPDATE_DETAILS, TT_SET, &api_stored_job_update_details_desc, apply_update },
    { HOST_MAINTENANCE_REQUESTS, TT_SET, &api_host_maintenance_request_desc, apply_maintenance },
};

static const struct part *part_of(uint16_t id)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i].id == id) return &parts[i];
    return NULL;
}

static int read_one(struct reader *r, const struct part *p)
{
    void *obj;
    int err = read_struct(r, p->d, &obj);
    return err ? err : p->apply(r->store, obj);
}

static int read_part(struct reader *r, const struct part *p)
{
    if (p->type == TT_STRUCT) return read_one(r, p);
    int err = need(r, 5);
    if (err) return err;
    unsigned elem = *here(r);
    uint32_t n = get_be32(here(r) + 1);
    if (n > INT32_MAX || (n && elem != TT_STRUCT)) return ERR_MALFORMED;
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    r->at += 5;
    for (; n && !err; n--) err = read_one(r, p);
    return err;
}

static int read_timestamp(struct reader *r, int64_t *ret_ms)
{
    int err = need(r, 8);
    if (err) return err;
    *ret_ms = (int64_t)((uint64_t)get_be32(here(r)) << 32 | get_be32(here(r) + 4));
    r->at += 8;
    return 0;
}

/* Thrift passes over a field of another type than declared; what is to be restored is not to lose a part like that. */
static int read_field(struct reader *r, unsigned type, uint16_t id, int64_t *timestamp_ms, bool *timed)
{
    const struct part *p = part_of(id);
    if (id == TIMESTAMP) {
        *timed = true;
        return type == TT_I64 ? read_timestamp(r, timestamp_ms) : ERR_MALFORMED;
    }
    if (!p) return skip_value(r, type); /* of another release */
    return type == p->type ? read_part(r, p) : ERR_MALFORMED;
}

static int read_snapshot(struct reader *r, int64_t *timestamp_ms)
{
    bool timed = false;
    for (;;) {
        int err = need(r, 1);
        if (err) return err;
        if (*here(r) == TT_STOP) break;
        err = need(r, 3);
        if (err) return err;
        const uint8_t *p = here(r);
        r->at += 3;
        err = read_field(r, p[0], (uint16_t)(p[1] << 8 | p[2]), timestamp_ms, &timed);
        if (err) return err;
    }
    r->at++;
    if (!timed || left(r)) return ERR_MALFORMED;
    int err = fill(r);
    if (err == 0) return ERR_MALFORMED;
    return r->ended ? 0 : err;
}

int backup_decode(backup_get get, void *arg, struct store *store, int64_t *ret_timestamp_ms)
{
    struct reader r = { .get = get, .arg = arg, .store = store };
    int64_t timestamp_ms = 0;
    int err = read_snapshot(&r, &timestamp_ms);
    arena_release(&r.arena);
    buf_release(&r.window);
    if (err) return err;
    *ret_timestamp_ms = timestamp_ms;
    return 0;
}
