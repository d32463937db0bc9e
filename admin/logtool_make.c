/* `log initialize` and `log import`: the commands that make a log. Neither touches one that somebody has used. */
#include "admin/backup_file.h"
#include "admin/logtool_impl.h"
#include "core/err.h"
#include "core/limits.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

/* An imported log's records are as large as a scheduler's by default. All that is imported from one backup is the same
 * byte by byte, so that several replicas can be made of it: they then agree on every position. */
enum { IMPORT_FRAME_BYTES = 512 << 10, IMPORT_OPS = 50, IMPORT_PROPOSAL = 1 };

static enum logtool_status refuse(struct logtool *t, const char *why)
{
    logtool_complain(t, "log folder %s: %s; nothing was changed", t->path, why);
    return LOGTOOL_FAILED;
}

static bool stop_at_first(const struct action *a, void *arg)
{
    (void)a;
    *(bool *)arg = true;
    return false;
}

static enum logtool_status store_voting(struct logtool *t, struct storage *s, struct storage_metadata m)
{
    m.status = REPLICA_VOTING;
    m.quorum = t->quorum;
    while (!m.id)
        if (getrandom(&m.id, sizeof(m.id), 0) != sizeof(m.id)) m.id = 0;
    int err = storage_write(s, &(struct storage_batch){ .metadata = &m });
    if (err) return refuse(t, storage_error(s));
    t->metadata = m;
    t->has_metadata = true;
    buf_adds(&t->line, "{\"metadata\":{");
    logtool_add_metadata(t);
    buf_adds(&t->line, "}}");
    logtool_print(t);
    return t->status;
}

/* Whether it may become a replica that votes; complains if not. */
static bool may_initialize(struct logtool *t, struct storage *s, struct storage_metadata *ret)
{
    char why[160];
    bool has_records = false;
    *ret = (struct storage_metadata){ .status = REPLICA_EMPTY };
    (void)storage_metadata(s, ret);
    int err = storage_each(s, 0, UINT64_MAX, stop_at_first, &has_records);
    bool is_new = !err && ret->status == REPLICA_EMPTY && !has_records;
    if (is_new && (!ret->quorum || ret->quorum == t->quorum)) return true;
    if (is_new)
        snprintf(why, sizeof(why),
                 "a scheduler with quorum size %" PRIu32 " has opened it already; give --quorum=%" PRIu32
                 ", or remove the folder",
                 ret->quorum, ret->quorum);
    else
        snprintf(why, sizeof(why), "it is initialised already (%s, quorum size %" PRIu32 "%s)",
                 replica_status_name(ret->status), ret->quorum, has_records ? ", with entries" : "");
    refuse(t, err ? storage_error(s) : why);
    return false;
}

/* What is there is looked at without changing it. */
static int look_before(struct logtool *t, struct buf *why)
{
    struct storage *s = NULL;
    struct storage_metadata m;
    int err = storage_open_read_only(t->path, &s, why);
    if (err == ERR_NOT_FOUND) {
        buf_reset(why);
        return 0;
    }
    if (!err && !may_initialize(t, s, &m)) err = ERR_EXISTS;
    storage_close(s);
    return err;
}

enum logtool_status logtool_initialize(struct logtool *t)
{
    struct buf why = { 0 };
    struct storage *s = NULL;
    struct storage_metadata m;
    enum logtool_status status = LOGTOOL_FAILED;
    int err = look_before(t, &why);
    if (!err) err = storage_open(t->path, 0, &s, &why);
    if (!err && may_initialize(t, s, &m)) status = store_voting(t, s, m);
    if (why.len) logtool_complain(t, "%s", buf_cstr(&why));
    storage_close(s);
    buf_release(&why);
    return status;
}

/* ---- import ---- */

struct importing {
    struct logtool *t;
    struct storage *storage;
    struct entry_transaction transaction;
    uint64_t next; /* position */
    uint64_t n_ops;
    int err;
};

static void write_record(struct importing *m, enum action_type type, const void *bytes, size_t n)
{
    struct action a = { .position = m->next,
                        .promised = IMPORT_PROPOSAL,
                        .performed = IMPORT_PROPOSAL,
                        .has_performed = true,
                        .has_learned = true,
                        .learned = true,
                        .type = type,
                        .bytes = bytes,
                        .n = n };
    if (m->err) return;
    m->err = storage_write(m->storage, &(struct storage_batch){ .actions = &a, .n = 1 });
    m->next++;
}

static void write_transaction(struct importing *m)
{
    struct entry_frames f;
    struct buf record = { 0 };
    if (!m->transaction.n_ops) return;
    entry_transaction_end(&m->transaction);
    entry_frames_init(&f, m->transaction.bytes.data, m->transaction.bytes.len, IMPORT_FRAME_BYTES);
    for (size_t i = 0; i < f.records; i++) {
        entry_frames_record(&f, i, &record);
        write_record(m, ACTION_APPEND, record.data, record.len);
    }
    buf_release(&record);
    entry_transaction_begin(&m->transaction);
}

static void add_op(struct importing *m, struct api_op op)
{
    if (m->err) return;
    m->err = entry_transaction_op(&m->transaction, &op);
    m->n_ops++;
    if (m->transaction.n_ops == IMPORT_OPS) write_transaction(m);
}

static void add_tasks(struct importing *m, const struct image *i)
{
    for (uint32_t k = 0; k < i->n; k++) {
        struct arena a = { 0 };
        struct api_scheduled_task task = { 0 };
        struct api_save_tasks save = { .has_tasks = true, .n_tasks = 1, .tasks = &task };
        task_to_api(i->tasks[k], &task, &a);
        add_op(m, (struct api_op){ .save_tasks = &save });
        arena_release(&a);
    }
}

static void add_update(struct importing *m, const struct api_job_update_details *d)
{
    struct api_job_update_key *key = d->update->summary->key;
    add_op(m, (struct api_op){ .save_job_update = &(struct api_save_job_update){ d->update } });
    for (uint32_t i = 0; i < d->n_update_events; i++) {
        struct api_save_job_update_event e = { &d->update_events[i], key };
        add_op(m, (struct api_op){ .save_job_update_event = &e });
    }
    for (uint32_t i = 0; i < d->n_instance_events; i++) {
        struct api_save_job_instance_update_event e = { &d->instance_events[i], key };
        add_op(m, (struct api_op){ .save_job_instance_update_event = &e });
    }
}

static void add_rest(struct importing *m, const struct api_snapshot *s)
{
    struct str framework = s->scheduler_metadata ? s->scheduler_metadata->framework_id : (struct str){ 0 };
    if (framework.p) add_op(m, (struct api_op){ .save_framework_id = &(struct api_save_framework_id){ framework } });
    for (uint32_t i = 0; i < s->n_host_attributes; i++)
        add_op(m,
               (struct api_op){ .save_host_attributes = &(struct api_save_host_attributes){ &s->host_attributes[i] } });
    for (uint32_t i = 0; i < s->n_cron_jobs; i++)
        add_op(m, (struct api_op){ .save_cron_job = &(struct api_save_cron_job){ s->cron_jobs[i].job_configuration } });
    for (uint32_t i = 0; i < s->n_quota_configurations; i++) {
        struct api_quota_configuration *q = &s->quota_configurations[i];
        add_op(m, (struct api_op){ .save_quota = &(struct api_save_quota){ q->role, q->quota } });
    }
    for (uint32_t i = 0; i < s->n_job_update_details; i++) add_update(m, s->job_update_details[i].details);
    for (uint32_t i = 0; i < s->n_host_maintenance_requests; i++) {
        struct api_save_host_maintenance_request r = { &s->host_maintenance_requests[i] };
        add_op(m, (struct api_op){ .save_host_maintenance_request = &r });
    }
}

/* The vote comes last: what a crash leaves half written is no replica yet, and a second import refuses it. */
static enum logtool_status write_state(struct logtool *t, struct storage *s, struct storage_metadata made,
                                       const struct store *state)
{
    struct importing m = { .t = t, .storage = s };
    struct image *image = image_take(state, 0);
    entry_transaction_begin(&m.transaction);
    write_record(&m, ACTION_NOP, NULL, 0);
    add_rest(&m, &image->rest);
    add_tasks(&m, image);
    write_transaction(&m);
    image_unref(image);
    buf_release(&m.transaction.bytes);
    if (m.err) {
        logtool_complain(t, "log folder %s: %s; remove it before you try again", t->path,
                         *storage_error(s) ? storage_error(s) : err_str(m.err));
        return LOGTOOL_FAILED;
    }
    made.promised = IMPORT_PROPOSAL;
    t->replica.end = m.next - 1;
    t->n_records = m.next;
    return store_voting(t, s, made);
}

enum logtool_status logtool_import(struct logtool *t)
{
    struct buf why = { 0 };
    struct storage *s = NULL;
    struct store *state = NULL;
    struct storage_metadata m;
    int64_t timestamp_ms;
    enum logtool_status status = LOGTOOL_FAILED;
    int err = look_before(t, &why);
    if (!err && backup_read(t->backup, &state, &timestamp_ms, &why)) {
        logtool_complain(t, "backup %s: %s; nothing was changed", t->backup, buf_cstr(&why));
        buf_reset(&why);
        err = ERR_INVALID;
    }
    if (!err) err = storage_open(t->path, 0, &s, &why);
    if (!err && may_initialize(t, s, &m)) status = write_state(t, s, m, state);
    if (why.len) logtool_complain(t, "%s", buf_cstr(&why));
    storage_close(s);
    store_free(state);
    buf_release(&why);
    return status;
}
