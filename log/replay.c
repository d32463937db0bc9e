#include "log/replay.h"

#include "core/buf.h"
#include "core/err.h"
#include "core/logline.h"
#include "log/entry.h"

#include <assert.h>
#include <stdlib.h>

struct record {
    uint64_t position;
    size_t at, n; /* in the batch's bytes */
};

/* What a record has completed. */
struct decoded {
    uint64_t position;
    const struct api_transaction *transaction; /* in arena; or */
    struct store *state;                       /* of a snapshot; or neither: a no-op */
    struct arena arena;
};

struct batch {
    uv_work_t work;
    struct replay *replay; /* NULL: closed while this was in the pool */
    struct buf bytes;
    struct record *records;
    uint32_t n_records, cap_records;

    struct entry_reader reader; /* the replay's, while this is being decoded */
    struct decoded *entries;    /* room for one per record */
    uint32_t n_entries;
    int err;
    struct buf why;
};

struct replay {
    struct replay_config c;
    struct batch *gathered, *running; /* NULL: none */
    bool applying, closing;
    uint32_t entry, op, task; /* what is applied next */
    struct entry_reader reader;
    uint64_t bad_frames, deflated; /* counted already */
    uv_idle_t slice;
    void (*close_cb)(void *arg);
    void *close_arg;
    struct stat *bytes, *entries, *deflated_stat, *bad_stat;
};

/* ---- batches ---- */

static struct batch *batch_new(struct replay *r)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    b->work.data = b;
    b->replay = r;
    return b;
}

static void batch_free(struct batch *b)
{
    if (!b) return;
    for (uint32_t i = 0; i < b->n_entries; i++) {
        store_free(b->entries[i].state);
        arena_release(&b->entries[i].arena);
    }
    buf_release(&b->bytes);
    buf_release(&b->why);
    free(b->records);
    free(b->entries);
    free(b);
}

void replay_add(struct replay *r, uint64_t position, const void *record, size_t n)
{
    if (!r->gathered) r->gathered = batch_new(r);
    struct batch *b = r->gathered;
    if (b->n_records == b->cap_records) {
        b->cap_records = b->cap_records ? 2 * b->cap_records : 16;
        b->records = xrealloc(b->records, b->cap_records * sizeof(*b->records));
    }
    b->records[b->n_records++] = (struct record){ position, b->bytes.len, n };
    buf_add(&b->bytes, record, n);
    if (r->bytes) stat_add(r->bytes, (int64_t)n);
}

size_t replay_gathered(const struct replay *r)
{
    return r->gathered ? r->gathered->bytes.len + 1 : 0;
}

bool replay_busy(const struct replay *r)
{
    return r->running;
}

/* ---- in the pool ---- */

static int build_state(const struct api_snapshot *snap, struct decoded *d, struct buf *why)
{
    struct store *s = store_new();
    int err = store_apply_snapshot(s, snap);
    if (err) {
        buf_addf(why, "a snapshot cannot be applied: %s", err_str(err));
        store_free(s);
        return err;
    }
    d->state = s;
    return 0;
}

/* A snapshot needs its memory only until the store is built. */
static int decode_record(struct batch *b, const struct record *r)
{
    struct arena arena = { 0 };
    const struct api_log_entry *e;
    struct decoded d = { .position = r->position };
    int err = entry_reader_feed(&b->reader, b->bytes.data + r->at, r->n, &arena, &e, &b->why);
    if (!err && e && e->snapshot) err = build_state(e->snapshot, &d, &b->why);
    if (!err && e && e->transaction) {
        d.transaction = e->transaction;
        d.arena = arena;
    } else {
        arena_release(&arena);
    }
    if (!err && e) b->entries[b->n_entries++] = d;
    if (err) buf_addf(&b->why, ", at position %llu", (unsigned long long)r->position);
    return err;
}

/* What comes before a broken record is still applied, as it would be one by one. */
static void decode_batch(uv_work_t *w)
{
    struct batch *b = w->data;
    b->entries = xcalloc(b->n_records, sizeof(*b->entries));
    for (uint32_t i = 0; i < b->n_records && !b->err; i++) b->err = decode_record(b, &b->records[i]);
    buf_release(&b->bytes);
}

struct disposal {
    uv_work_t work;
    struct store *store;
};

static void dispose_in_pool(uv_work_t *w)
{
    store_free(((struct disposal *)w->data)->store);
}

static void after_disposal(uv_work_t *w, int status)
{
    (void)status;
    free(w->data);
}

/* Nobody else knows the store any more, unless an image shows it. */
static void dispose(struct replay *r, struct store *s)
{
    if (store_is_shown(s)) {
        store_free(s);
        return;
    }
    struct disposal *d = xcalloc(1, sizeof(*d));
    d->work.data = d;
    d->store = s;
    int rc = uv_queue_work(r->c.loop, &d->work, dispose_in_pool, after_disposal);
    assert(rc == 0);
}

/* ---- on the loop ---- */

static void count_frames(struct replay *r)
{
    if (r->bad_stat) stat_add(r->bad_stat, (int64_t)(r->reader.bad_frames - r->bad_frames));
    if (r->deflated_stat) stat_add(r->deflated_stat, (int64_t)(r->reader.deflated - r->deflated));
    r->bad_frames = r->reader.bad_frames;
    r->deflated = r->reader.deflated;
}

static void applied(struct replay *r, int err)
{
    struct batch *b = r->running;
    r->running = NULL;
    r->applying = false;
    uv_idle_stop(&r->slice);
    if (!err) err = b->err;
    r->c.on_applied(err, buf_cstr(&b->why), r->c.arg);
    batch_free(b);
}

/* A part of an op that saves many tasks; true: that was the last one. */
static bool apply_tasks(struct replay *r, const struct api_save_tasks *whole, int *err)
{
    uint32_t left = whole->n_tasks - r->task, n = left < REPLAY_SLICE_TASKS ? left : REPLAY_SLICE_TASKS;
    struct api_save_tasks part = { .has_tasks = true, .n_tasks = n, .tasks = whole->tasks + r->task };
    *err = r->c.on_op(&(struct api_op){ .save_tasks = &part }, r->c.arg);
    r->task += n;
    if (r->task < whole->n_tasks) return false;
    r->task = 0;
    return true;
}

static int apply_op(struct replay *r, const struct api_op *op)
{
    int err = 0;
    if (op->save_tasks && op->save_tasks->n_tasks > REPLAY_SLICE_TASKS)
        r->op += apply_tasks(r, op->save_tasks, &err);
    else if (!(err = r->c.on_op(op, r->c.arg)))
        r->op++;
    return err;
}

static void next_entry(struct replay *r)
{
    arena_release(&r->running->entries[r->entry++].arena);
    r->op = r->task = 0;
    if (r->entries) stat_add(r->entries, 1);
}

/* One op, or one snapshot. */
static int apply_some(struct replay *r)
{
    struct decoded *d = &r->running->entries[r->entry];
    if (d->state) {
        dispose(r, r->c.on_snapshot(d->state, r->c.arg));
        d->state = NULL;
    }
    if (!d->transaction || r->op == d->transaction->n_ops) {
        next_entry(r);
        return 0;
    }
    int err = apply_op(r, &d->transaction->ops[r->op]);
    if (err)
        buf_addf(&r->running->why, "an operation cannot be applied: %s, at position %llu", err_str(err),
                 (unsigned long long)d->position);
    return err;
}

static void apply_slice(struct replay *r)
{
    uint64_t until = uv_hrtime() + REPLAY_SLICE_NS;
    int err = 0;
    while (!err && r->entry < r->running->n_entries && uv_hrtime() < until) err = apply_some(r);
    if (err || r->entry == r->running->n_entries) applied(r, err);
}

static void on_slice(uv_idle_t *h)
{
    apply_slice(h->data);
}

static void after_decode(uv_work_t *w, int status)
{
    struct batch *b = w->data;
    struct replay *r = b->replay;
    assert(status == 0);
    if (!r) {
        entry_reader_release(&b->reader);
        batch_free(b);
        return;
    }
    r->reader = b->reader;
    count_frames(r);
    r->applying = true;
    r->entry = r->op = r->task = 0;
    uv_idle_start(&r->slice, on_slice);
    apply_slice(r);
}

void replay_begin(struct replay *r)
{
    assert(!r->running);
    assert(r->gathered);
    struct batch *b = r->running = r->gathered;
    r->gathered = NULL;
    b->reader = r->reader;
    int rc = uv_queue_work(r->c.loop, &b->work, decode_batch, after_decode);
    assert(rc == 0);
}

void replay_end(struct replay *r)
{
    assert(!r->running);
    entry_reader_end(&r->reader);
    count_frames(r);
    if (r->reader.bad_frames || r->reader.orphans)
        logline(LOG_WARN, "log_frames_dropped", "incomplete=%llu chunks_without_header=%llu",
                (unsigned long long)r->reader.bad_frames, (unsigned long long)r->reader.orphans);
}

struct replay *replay_new(const struct replay_config *c)
{
    struct replay *r = xcalloc(1, sizeof(*r));
    r->c = *c;
    uv_idle_init(c->loop, &r->slice);
    r->slice.data = r;
    if (!c->stats) return r;
    r->bytes = stats_int(c->stats, "scheduler_log_bytes_read");
    r->entries = stats_int(c->stats, "scheduler_log_entries_read");
    r->deflated_stat = stats_int(c->stats, "scheduler_log_deflated_entries_read");
    r->bad_stat = stats_int(c->stats, "scheduler_log_bad_frames_read");
    return r;
}

static void on_closed(uv_handle_t *h)
{
    struct replay *r = h->data;
    void (*cb)(void *arg) = r->close_cb;
    void *arg = r->close_arg;
    free(r);
    cb(arg);
}

void replay_close(struct replay *r, void (*cb)(void *arg), void *arg)
{
    assert(!r->closing);
    r->closing = true;
    r->close_cb = cb;
    r->close_arg = arg;
    batch_free(r->gathered);
    if (r->running && !r->applying) {
        r->running->replay = NULL; /* has the reader */
    } else {
        entry_reader_release(&r->reader);
        batch_free(r->running);
    }
    uv_close((uv_handle_t *)&r->slice, on_closed);
}
