#include "log/snapshot.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/thrift.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>
#include <zlib.h>

enum { ENTRY_DEFLATED = 5, ENTRY_DEDUPLICATED = 6, PARTIAL_SNAPSHOT = 1, PARTIAL_TASKS = 2, TASK_CONFIGS = 3 };
enum { LEVEL = 3, RAW_WINDOW_BITS = -15, MEMORY_LEVEL = 8 };
/* What zlib writes in front of a stream of that level. */
static const uint8_t zlib_head[2] = { 0x78, 0x5e };

struct config_number {
    const struct config *config;
    int32_t number;
    UT_hash_handle hh;
};

/* Bytes that are deflated so that others can precede and follow. */
struct part {
    struct buf deflated;
    size_t plain_n;
    uLong adler;
};

struct task_part {
    struct part part;
    uint32_t from, n; /* in the last image */
};

struct snapshot_writer {
    z_stream z;
    struct buf plain; /* of the part that is being made */
    struct arena scratch;
    const struct image *image; /* the last one */
    struct part hosts, rest;
    struct task_part *tasks;
    uint32_t n_tasks, cap_tasks;
    struct config_number *numbers; /* by config; in order of first appearance */
    int err;
};

/* ---------------- parts ---------------- */

static void part_release(struct part *p)
{
    buf_release(&p->deflated);
    *p = (struct part){ 0 };
}

static void put_head(struct buf *out, enum ttype type, uint16_t id)
{
    uint8_t head[3] = { (uint8_t)type, (uint8_t)(id >> 8), (uint8_t)id };
    buf_add(out, head, sizeof(head));
}

static void put_be32(struct buf *out, uint32_t v)
{
    uint8_t bytes[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    buf_add(out, bytes, sizeof(bytes));
}

static void put_list(struct buf *out, uint16_t id, uint32_t n)
{
    put_head(out, TT_LIST, id);
    buf_addc(out, TT_STRUCT);
    put_be32(out, n);
}

static void put_struct(struct snapshot_writer *w, const struct tdesc *d, const void *obj)
{
    if (!w->err) w->err = tbinary_write(&w->plain, d, obj);
}

/* A struct's fields without its end, so that others can follow. */
static void put_fields(struct snapshot_writer *w, const struct tdesc *d, const void *obj)
{
    put_struct(w, d, obj);
    if (!w->err) w->plain.len--;
}

/* Deflates what is in w->plain. Every part begins without memory of the others and ends at a byte. */
static void make_part(struct snapshot_writer *w, struct part *p, int flush)
{
    part_release(p);
    p->plain_n = w->plain.len;
    p->adler = adler32(adler32(0, NULL, 0), w->plain.data, (uInt)w->plain.len);
    deflateReset(&w->z);
    w->z.next_in = w->plain.data;
    w->z.avail_in = (uInt)w->plain.len;
    do {
        size_t room = w->plain.len / 4 + 64;
        w->z.next_out = buf_reserve(&p->deflated, room);
        w->z.avail_out = (uInt)room;
        int rc = deflate(&w->z, flush);
        assert(rc != Z_STREAM_ERROR);
        buf_commit(&p->deflated, room - w->z.avail_out);
    } while (w->z.avail_out == 0);
    assert(w->z.avail_in == 0);
    buf_reset(&w->plain);
}

/* ---------------- tasks ---------------- */

static int32_t number_of(struct snapshot_writer *w, const struct config *c)
{
    struct config_number *n = NULL;
    HASH_FIND_PTR(w->numbers, &c, n);
    if (n) return n->number;
    n = xcalloc(1, sizeof(*n));
    n->config = c;
    n->number = (int32_t)HASH_COUNT(w->numbers);
    HASH_ADD_PTR(w->numbers, config, n);
    return n->number;
}

static void put_task(struct snapshot_writer *w, const struct task *t)
{
    struct api_scheduled_task partial = { 0 };
    task_to_api(t, &partial, &w->scratch);
    struct api_assigned_task assigned = *partial.assigned_task;
    assigned.task = NULL;
    partial.assigned_task = &assigned;
    struct api_deduplicated_scheduled_task d = { .partial_scheduled_task = &partial,
                                                 .has_task_config_id = true,
                                                 .task_config_id = number_of(w, t->config) };
    put_struct(w, &api_deduplicated_scheduled_task_desc, &d);
    arena_release(&w->scratch);
}

static void make_task_part(struct snapshot_writer *w, const struct image *i, struct task_part *p)
{
    for (uint32_t k = p->from; k < p->from + p->n; k++) put_task(w, i->tasks[k]);
    make_part(w, &p->part, Z_FULL_FLUSH);
}

static struct task_part *add_task_part(struct snapshot_writer *w)
{
    if (w->n_tasks == w->cap_tasks) {
        w->cap_tasks = w->cap_tasks ? 2 * w->cap_tasks : 64;
        w->tasks = xrealloc(w->tasks, w->cap_tasks * sizeof(*w->tasks));
    }
    struct task_part *p = &w->tasks[w->n_tasks++];
    *p = (struct task_part){ 0 };
    return p;
}

/* Finds in the new image what the part shows of the last one; both list tasks in the same order. Versions of the last
 * image are still held, so that equal addresses are equal versions. True: nothing has changed. */
static bool find_again(const struct snapshot_writer *w, const struct image *i, struct task_part *p, uint32_t at)
{
    bool same = true;
    uint32_t to = at;
    for (uint32_t k = p->from; k < p->from + p->n; k++) {
        const struct task *t = w->image->tasks[k];
        bool there = to < i->n && i->tasks[to] == t;
        same = same && there;
        if (there || (to < i->n && str_eq(i->tasks[to]->id, t->id))) to++; /* else it has been removed */
    }
    p->from = at;
    p->n = to - at;
    return same;
}

/* Those that the last image showed, too. Gives where the new ones begin. */
static uint32_t encode_old_tasks(struct snapshot_writer *w, const struct image *i, uint32_t *encoded)
{
    uint32_t at = 0, kept = 0;
    for (uint32_t k = 0; k < w->n_tasks && !w->err; k++) {
        struct task_part *p = &w->tasks[k];
        if (!find_again(w, i, p, at) && p->n) {
            make_task_part(w, i, p);
            *encoded += p->n;
        }
        at += p->n;
        if (p->n)
            w->tasks[kept++] = *p;
        else
            part_release(&p->part);
    }
    if (!w->err) w->n_tasks = kept;
    return at;
}

static void encode_new_tasks(struct snapshot_writer *w, const struct image *i, uint32_t at, uint32_t *encoded)
{
    while (at < i->n && !w->err) {
        struct task_part *p = add_task_part(w);
        p->from = at;
        p->n = i->n - at < SNAPSHOT_PART_TASKS ? i->n - at : SNAPSHOT_PART_TASKS;
        make_task_part(w, i, p);
        *encoded += p->n;
        at += p->n;
    }
}

/* ---------------- the rest ---------------- */

/* The fields of a Snapshot are written by ascending number, which puts the hosts behind the timestamp. */
static void encode_hosts(struct snapshot_writer *w, const struct image *i)
{
    if (w->image && w->image->host_changes == i->host_changes) return;
    struct api_snapshot hosts = { .has_timestamp = true,
                                  .timestamp = i->rest.timestamp,
                                  .has_host_attributes = true,
                                  .n_host_attributes = i->rest.n_host_attributes,
                                  .host_attributes = i->rest.host_attributes };
    put_head(&w->plain, TT_STRUCT, ENTRY_DEDUPLICATED);
    put_head(&w->plain, TT_STRUCT, PARTIAL_SNAPSHOT);
    put_fields(w, &api_snapshot_desc, &hosts);
    make_part(w, &w->hosts, Z_FULL_FLUSH);
}

static void encode_rest(struct snapshot_writer *w, const struct image *i)
{
    if (w->image && w->image->other_changes == i->other_changes) return;
    struct api_snapshot rest = i->rest;
    rest.has_timestamp = rest.has_host_attributes = rest.has_tasks = false;
    put_struct(w, &api_snapshot_desc, &rest);
    make_part(w, &w->rest, Z_FULL_FLUSH);
}

static size_t plain_size(const struct snapshot_writer *w)
{
    size_t n = w->hosts.plain_n + w->rest.plain_n;
    for (uint32_t i = 0; i < w->n_tasks; i++) n += w->tasks[i].part.plain_n;
    return n;
}

int snapshot_encode(struct snapshot_writer *w, const struct image *i, uint32_t *ret_tasks)
{
    uint32_t encoded = 0;
    assert(i->rest.n_tasks == 0);
    if (i->n > LIMIT_CODEC_ELEMENTS) return w->err = ERR_TOO_BIG;
    assert(!w->image || w->image->rest.timestamp == i->rest.timestamp);
    encode_hosts(w, i);
    encode_rest(w, i);
    encode_new_tasks(w, i, encode_old_tasks(w, i, &encoded), &encoded);
    w->image = i;
    if (!w->err && plain_size(w) > LIMIT_LOG_INFLATED_BYTES) w->err = ERR_TOO_BIG;
    if (!w->err && ret_tasks) *ret_tasks = encoded;
    return w->err;
}

/* ---------------- the whole ---------------- */

static void add_part(struct buf *out, const struct part *p, uLong *adler)
{
    buf_add(out, p->deflated.data, p->deflated.len);
    *adler = adler32_combine(*adler, p->adler, (z_off_t)p->plain_n);
}

static void add_task_parts(struct snapshot_writer *w, struct buf *out, uLong *adler)
{
    struct part list = { 0 };
    put_list(&w->plain, PARTIAL_TASKS, w->image->n);
    make_part(w, &list, Z_FULL_FLUSH);
    add_part(out, &list, adler);
    part_release(&list);
    for (uint32_t i = 0; i < w->n_tasks; i++) add_part(out, &w->tasks[i].part, adler);
}

/* The configs, and the ends of all structs. */
static void add_last_part(struct snapshot_writer *w, struct buf *out, uLong *adler)
{
    struct part last = { 0 };
    if (w->image->n) {
        put_list(&w->plain, TASK_CONFIGS, HASH_COUNT(w->numbers));
        for (struct config_number *n = w->numbers; n; n = n->hh.next)
            put_struct(w, &api_task_config_desc, n->config->api);
    }
    buf_addc(&w->plain, TT_STOP);
    buf_addc(&w->plain, TT_STOP);
    make_part(w, &last, Z_FINISH);
    add_part(out, &last, adler);
    part_release(&last);
}

static void write_stream(struct snapshot_writer *w, struct buf *out)
{
    uLong adler = adler32(0, NULL, 0);
    buf_add(out, zlib_head, sizeof(zlib_head));
    add_part(out, &w->hosts, &adler);
    add_part(out, &w->rest, &adler);
    if (w->image->n) add_task_parts(w, out, &adler);
    add_last_part(w, out, &adler);
    put_be32(out, (uint32_t)adler);
}

int snapshot_finish(struct snapshot_writer *w, struct buf *out)
{
    size_t before = out->len;
    assert(w->image);
    if (w->err) return w->err;
    put_head(out, TT_STRING, ENTRY_DEFLATED);
    size_t length_at = out->len;
    put_be32(out, 0);
    write_stream(w, out);
    size_t n = out->len - length_at - 4;
    struct buf length = { 0 };
    put_be32(&length, (uint32_t)n);
    memcpy(out->data + length_at, length.data, length.len);
    buf_release(&length);
    buf_addc(out, TT_STOP);
    if (!w->err && n > LIMIT_CODEC_STRING_BYTES) w->err = ERR_TOO_BIG;
    if (w->err) out->len = before;
    return w->err;
}

struct snapshot_writer *snapshot_writer_new(void)
{
    struct snapshot_writer *w = xcalloc(1, sizeof(*w));
    int rc = deflateInit2(&w->z, LEVEL, Z_DEFLATED, RAW_WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK);
    return w;
}

void snapshot_writer_free(struct snapshot_writer *w)
{
    if (!w) return;
    for (struct config_number *n = w->numbers, *next; n; n = next) {
        next = n->hh.next;
        HASH_DEL(w->numbers, n);
        free(n);
    }
    for (uint32_t i = 0; i < w->n_tasks; i++) part_release(&w->tasks[i].part);
    free(w->tasks);
    part_release(&w->hosts);
    part_release(&w->rest);
    buf_release(&w->plain);
    arena_release(&w->scratch);
    deflateEnd(&w->z);
    free(w);
}
