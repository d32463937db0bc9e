/* The writing of snapshots of log/entry.h: TBinary straight into zlib, so that only the deflated form is ever whole in
 * memory. */
#include "log/entry.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/thrift.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>
#include <zlib.h>

enum { ENTRY_DEFLATED = 5, ENTRY_DEDUPLICATED = 6, PARTIAL_SNAPSHOT = 1, PARTIAL_TASKS = 2, TASK_CONFIGS = 3 };
enum { LEVEL = 3, PORTION = 64 << 10 };

struct config_number {
    const struct config *config;
    int32_t number;
    UT_hash_handle hh;
};

struct writer {
    z_stream z;
    struct buf plain; /* not yet deflated */
    struct buf *out;
    struct config_number *numbers; /* room for one per task; in order of first appearance */
    struct config_number *table;
    uint32_t n_configs;
    int err;
};

static void deflate_plain(struct writer *w, int flush)
{
    w->z.next_in = w->plain.data;
    w->z.avail_in = (uInt)w->plain.len;
    do {
        w->z.next_out = buf_reserve(w->out, PORTION);
        w->z.avail_out = PORTION;
        int rc = deflate(&w->z, flush);
        assert(rc != Z_STREAM_ERROR);
        buf_commit(w->out, PORTION - w->z.avail_out);
    } while (w->z.avail_out == 0);
    assert(w->z.avail_in == 0);
    buf_reset(&w->plain);
    if (w->out->len > LIMIT_CODEC_STRING_BYTES || w->z.total_in > LIMIT_LOG_INFLATED_BYTES) w->err = ERR_TOO_BIG;
}

static void put_head(struct buf *out, enum ttype type, uint16_t id)
{
    uint8_t head[3] = { (uint8_t)type, (uint8_t)(id >> 8), (uint8_t)id };
    buf_add(out, head, sizeof(head));
}

static void put_be32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_list(struct writer *w, uint16_t id, uint32_t n)
{
    uint8_t head[5] = { TT_STRUCT };
    put_head(&w->plain, TT_LIST, id);
    put_be32(head + 1, n);
    buf_add(&w->plain, head, sizeof(head));
}

static void put_struct(struct writer *w, const struct tdesc *d, const void *obj)
{
    if (!w->err) w->err = tbinary_write(&w->plain, d, obj);
    if (!w->err && w->plain.len >= PORTION) deflate_plain(w, Z_NO_FLUSH);
}

static int32_t number_of(struct writer *w, const struct config *c)
{
    struct config_number *n = NULL;
    HASH_FIND_PTR(w->table, &c, n);
    if (n) return n->number;
    n = &w->numbers[w->n_configs];
    n->config = c;
    n->number = (int32_t)w->n_configs++;
    HASH_ADD_PTR(w->table, config, n);
    return n->number;
}

static void put_task(struct writer *w, const struct task *t, struct arena *a)
{
    struct api_scheduled_task partial = { 0 };
    task_to_api(t, &partial, a);
    struct api_assigned_task assigned = *partial.assigned_task;
    assigned.task = NULL;
    partial.assigned_task = &assigned;
    struct api_deduplicated_scheduled_task d = { .partial_scheduled_task = &partial,
                                                 .has_task_config_id = true,
                                                 .task_config_id = number_of(w, t->config) };
    put_struct(w, &api_deduplicated_scheduled_task_desc, &d);
}

static void put_tasks(struct writer *w, const struct task *const *tasks, uint32_t n)
{
    struct arena a = { 0 };
    put_list(w, PARTIAL_TASKS, n);
    for (uint32_t i = 0; i < n && !w->err; i++) {
        put_task(w, tasks[i], &a);
        arena_release(&a);
    }
    put_list(w, TASK_CONFIGS, w->n_configs);
    for (uint32_t i = 0; i < w->n_configs; i++) put_struct(w, &api_task_config_desc, w->numbers[i].config->api);
}

static void put_snapshot(struct writer *w, const struct api_snapshot *rest, const struct task *const *tasks, uint32_t n)
{
    struct api_snapshot partial = *rest;
    partial.has_tasks = false;
    put_head(&w->plain, TT_STRUCT, ENTRY_DEDUPLICATED);
    put_head(&w->plain, TT_STRUCT, PARTIAL_SNAPSHOT);
    put_struct(w, &api_snapshot_desc, &partial);
    if (n) put_tasks(w, tasks, n);
    buf_addc(&w->plain, TT_STOP);
    buf_addc(&w->plain, TT_STOP);
}

static void writer_release(struct writer *w)
{
    HASH_CLEAR(hh, w->table);
    free(w->numbers);
    buf_release(&w->plain);
    deflateEnd(&w->z);
}

int entry_snapshot(const struct api_snapshot *rest, const struct task *const *tasks, uint32_t n, struct buf *out)
{
    assert(rest->n_tasks == 0);
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    struct buf deflated = { 0 };
    struct writer w = { .out = &deflated, .numbers = xcalloc(n, sizeof(*w.numbers)) };
    int rc = deflateInit(&w.z, LEVEL);
    assert(rc == Z_OK);
    put_snapshot(&w, rest, tasks, n);
    if (!w.err) deflate_plain(&w, Z_FINISH);
    if (!w.err) {
        uint8_t length[4];
        put_be32(length, (uint32_t)deflated.len);
        put_head(out, TT_STRING, ENTRY_DEFLATED);
        buf_add(out, length, sizeof(length));
        buf_add(out, deflated.data, deflated.len);
        buf_addc(out, TT_STOP);
    }
    int err = w.err;
    writer_release(&w);
    buf_release(&deflated);
    return err;
}
