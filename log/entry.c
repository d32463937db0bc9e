#include "log/entry.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/thrift.h"

#include <assert.h>
#include <openssl/evp.h>
#include <zlib.h>

/* Field ids that are written by hand here, where a whole struct in memory would be wasteful. */
enum { ENTRY_TRANSACTION = 2, TRANSACTION_OPS = 1, TRANSACTION_VERSION = 2, SCHEMA_VERSION = 1 };

static void md5(const void *data, size_t n, uint8_t out[16])
{
    unsigned len = 0;
    int ok = EVP_Digest(data, n, out, &len, EVP_md5(), NULL);
    assert(ok == 1);
    assert(len == 16);
}

static void put_field(struct buf *out, enum ttype type, uint16_t id)
{
    uint8_t head[3] = { (uint8_t)type, (uint8_t)(id >> 8), (uint8_t)id };
    buf_add(out, head, sizeof(head));
}

static void set_i32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_i32(struct buf *out, uint32_t v)
{
    set_i32(buf_reserve(out, 4), v);
    buf_commit(out, 4);
}

/* ---- frames ---- */

void entry_frames_init(struct entry_frames *f, const void *entry, size_t n, size_t max)
{
    assert(max > 0);
    *f = (struct entry_frames){ .entry = entry, .n = n, .max = max, .records = 1 };
    if (n <= max) return;
    f->records = 1 + (n + max - 1) / max;
    md5(entry, n, f->md5);
}

void entry_frames_record(const struct entry_frames *f, size_t i, struct buf *out)
{
    assert(i < f->records);
    buf_reset(out);
    if (f->records == 1) {
        buf_add(out, f->entry, f->n);
        return;
    }
    struct api_frame_header header = { .has_chunk_count = true,
                                       .chunk_count = (int32_t)(f->records - 1),
                                       .checksum = { (const char *)f->md5, sizeof(f->md5) } };
    struct api_frame_chunk chunk = { 0 };
    struct api_frame frame = { .header = i ? NULL : &header, .chunk = i ? &chunk : NULL };
    if (i) {
        size_t at = (i - 1) * f->max, left = f->n - at;
        chunk.data = (struct str){ (const char *)f->entry + at, (uint32_t)(left < f->max ? left : f->max) };
    }
    int err = tbinary_write(out, &api_log_entry_desc, &(struct api_log_entry){ .frame = &frame });
    assert(!err);
}

/* ---- transactions ---- */

enum { COUNT_AT = 7 }; /* in the bytes of a transaction, behind two field heads and the element type */

void entry_transaction_begin(struct entry_transaction *t)
{
    buf_reset(&t->bytes);
    t->n_ops = 0;
    put_field(&t->bytes, TT_STRUCT, ENTRY_TRANSACTION);
    put_field(&t->bytes, TT_LIST, TRANSACTION_OPS);
    buf_addc(&t->bytes, TT_STRUCT);
    assert(t->bytes.len == COUNT_AT);
    put_i32(&t->bytes, 0);
}

void entry_transaction_rewind(struct entry_transaction *t, size_t n, uint32_t n_ops)
{
    assert(n <= t->bytes.len);
    assert(n_ops <= t->n_ops);
    t->bytes.len = n;
    t->n_ops = n_ops;
}

int entry_transaction_op(struct entry_transaction *t, const struct api_op *op)
{
    size_t n = t->bytes.len;
    int err = t->n_ops < LIMIT_CODEC_ELEMENTS ? tbinary_write(&t->bytes, &api_op_desc, op) : ERR_TOO_BIG;
    if (err)
        t->bytes.len = n;
    else
        t->n_ops++;
    return err;
}

void entry_transaction_end(struct entry_transaction *t)
{
    set_i32(t->bytes.data + COUNT_AT, t->n_ops);
    put_field(&t->bytes, TT_I32, TRANSACTION_VERSION);
    put_i32(&t->bytes, SCHEMA_VERSION);
    buf_addc(&t->bytes, TT_STOP);
    buf_addc(&t->bytes, TT_STOP);
}

/* ---- reading ---- */

static int corrupt(struct buf *why, const char *text)
{
    if (why) buf_adds(why, text);
    return ERR_CORRUPT;
}

static void drop_frame(struct entry_reader *r)
{
    if (r->wanted) r->bad_frames++;
    r->wanted = r->chunks = 0;
    buf_reset(&r->frame);
}

void entry_reader_end(struct entry_reader *r)
{
    drop_frame(r);
}

void entry_reader_release(struct entry_reader *r)
{
    buf_release(&r->frame);
}

static int inflate_all(struct str in, size_t max, struct buf *out, struct buf *why)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = in.n };
    int rc = inflateInit(&z);
    if (rc != Z_OK) return corrupt(why, "zlib cannot start");
    while (rc == Z_OK) {
        size_t room = out->len < 65536 ? 65536 : out->len;
        if (room > max + 1 - out->len) room = max + 1 - out->len;
        z.next_out = buf_reserve(out, room);
        z.avail_out = (uInt)room;
        rc = inflate(&z, Z_NO_FLUSH);
        buf_commit(out, room - z.avail_out);
        if (out->len > max) break;
    }
    inflateEnd(&z);
    if (out->len > max) return corrupt(why, "a deflated entry is beyond the limit");
    return rc == Z_STREAM_END && z.avail_in == 0 ? 0 : corrupt(why, "a deflated entry is damaged");
}

/* A deduplicated snapshot's tasks get their configs back; they share them. */
static int reduplicate(struct api_deduplicated_snapshot *d, struct arena *a, struct buf *why)
{
    if (!d->partial_snapshot) return corrupt(why, "a snapshot has no content");
    if (!d->n_partial_tasks) return 0;
    struct api_scheduled_task *tasks = ARENA_ARRAY(a, struct api_scheduled_task, d->n_partial_tasks);
    if (!tasks) return corrupt(why, "a snapshot is beyond the limit");
    for (uint32_t i = 0; i < d->n_partial_tasks; i++) {
        const struct api_deduplicated_scheduled_task *p = &d->partial_tasks[i];
        if (!p->partial_scheduled_task || !p->partial_scheduled_task->assigned_task)
            return corrupt(why, "a task of a snapshot is incomplete");
        if (!p->has_task_config_id || p->task_config_id < 0 || (uint32_t)p->task_config_id >= d->n_task_configs)
            return corrupt(why, "a task of a snapshot has no config");
        tasks[i] = *p->partial_scheduled_task;
        tasks[i].assigned_task->task = &d->task_configs[p->task_config_id];
    }
    d->partial_snapshot->tasks = tasks;
    d->partial_snapshot->n_tasks = d->n_partial_tasks;
    d->partial_snapshot->has_tasks = true;
    return 0;
}

static struct api_log_entry *parse(const void *data, size_t n, struct arena *a, struct buf *why)
{
    struct api_log_entry *e = ARENA_NEW(a, struct api_log_entry);
    if (!a->max_bytes) a->max_bytes = LIMIT_CODEC_ARENA_BYTES;
    int err = e ? tbinary_read(data, n, &api_log_entry_desc, e, a, NULL) : ERR_TOO_BIG;
    if (!err) return e;
    if (why) buf_addf(why, "an entry does not decode: %s", err_str(err));
    return NULL;
}

static int finish_entry(struct api_log_entry *e, struct arena *a, const struct api_log_entry **ret, struct buf *why)
{
    if (e->deduplicated_snapshot) {
        int err = reduplicate(e->deduplicated_snapshot, a, why);
        if (err) return err;
        e->snapshot = e->deduplicated_snapshot->partial_snapshot;
        e->deduplicated_snapshot = NULL;
    }
    if (!e->snapshot && !e->transaction && !e->has_noop) return corrupt(why, "an entry is of an unknown kind");
    *ret = e;
    return 0;
}

static int inflate_entry(struct entry_reader *r, struct str deflated, struct arena *a, const struct api_log_entry **ret,
                         struct buf *why)
{
    struct buf plain = { 0 };
    size_t max = r->max_inflated_bytes ? r->max_inflated_bytes : LIMIT_LOG_INFLATED_BYTES;
    int err = inflate_all(deflated, max, &plain, why);
    struct api_log_entry *e = err ? NULL : parse(plain.data, plain.len, a, why);
    buf_release(&plain);
    if (!e) return ERR_CORRUPT;
    r->deflated++;
    if (e->frame || e->deflated_entry.p) return corrupt(why, "an entry is deflated twice");
    return finish_entry(e, a, ret, why);
}

static int complete(struct entry_reader *r, struct api_log_entry *e, struct arena *a, const struct api_log_entry **ret,
                    struct buf *why)
{
    if (e->frame) return corrupt(why, "an entry is framed twice");
    if (e->deflated_entry.p) return inflate_entry(r, e->deflated_entry, a, ret, why);
    return finish_entry(e, a, ret, why);
}

static int start_frame(struct entry_reader *r, const struct api_frame_header *h, struct buf *why)
{
    if (!h->has_chunk_count || h->chunk_count < 1 || h->checksum.n != sizeof(r->md5))
        return corrupt(why, "a frame's header is damaged");
    r->wanted = (uint32_t)h->chunk_count;
    r->chunks = 0;
    memcpy(r->md5, h->checksum.p, sizeof(r->md5));
    return 0;
}

static int finish_frame(struct entry_reader *r, struct arena *a, const struct api_log_entry **ret, struct buf *why)
{
    uint8_t sum[16];
    md5(r->frame.data, r->frame.len, sum);
    if (memcmp(sum, r->md5, sizeof(sum)) != 0) return corrupt(why, "a framed entry has a wrong checksum");
    struct api_log_entry *e = parse(r->frame.data, r->frame.len, a, why);
    r->wanted = r->chunks = 0;
    buf_release(&r->frame);
    return e ? complete(r, e, a, ret, why) : ERR_CORRUPT;
}

static int add_chunk(struct entry_reader *r, struct str data, struct arena *a, const struct api_log_entry **ret,
                     struct buf *why)
{
    size_t max = r->max_entry_bytes ? r->max_entry_bytes : LIMIT_LOG_ENTRY_BYTES;
    if (!r->wanted) { /* its header was lost with an older frame */
        r->orphans++;
        return 0;
    }
    if (data.n > max || r->frame.len > max - data.n) return corrupt(why, "a framed entry is beyond the limit");
    buf_add(&r->frame, data.p, data.n);
    return ++r->chunks < r->wanted ? 0 : finish_frame(r, a, ret, why);
}

int entry_reader_feed(struct entry_reader *r, const void *record, size_t n, struct arena *a,
                      const struct api_log_entry **ret, struct buf *why)
{
    *ret = NULL;
    struct api_log_entry *e = parse(record, n, a, why);
    if (!e) return ERR_CORRUPT;
    if (e->frame && e->frame->chunk) return add_chunk(r, e->frame->chunk->data, a, ret, why);
    drop_frame(r);
    if (!e->frame) return complete(r, e, a, ret, why);
    return e->frame->header ? start_frame(r, e->frame->header, why) : corrupt(why, "a frame is of an unknown kind");
}
