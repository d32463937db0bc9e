/* What a record of the log is, in a line of JSON. */
#include "admin/logtool_impl.h"
#include "core/thrift.h"
#include "core/value.h"

#include <assert.h>
#include <inttypes.h>
#include <zlib.h>

static const char *type_name(enum action_type t)
{
    static const char *const names[] = { "promise", "nop", "append", "truncate" };
    assert(t <= ACTION_TRUNCATE);
    return names[t];
}

void logtool_add_action(struct buf *out, const struct action *a)
{
    buf_addf(out, "\"position\":%" PRIu64 ",\"promised\":%" PRIu64, a->position, a->promised);
    if (a->has_performed) buf_addf(out, ",\"performed\":%" PRIu64, a->performed);
    buf_addf(out, ",\"learned\":%s,\"type\":\"%s\"", a->learned ? "true" : "false", type_name(a->type));
    if (a->type == ACTION_NOP && a->tombstone) buf_adds(out, ",\"tombstone\":true");
    if (a->type == ACTION_TRUNCATE) buf_addf(out, ",\"to\":%" PRIu64, a->to);
    if (a->type == ACTION_APPEND) buf_addf(out, ",\"bytes\":%zu,\"crc32\":\"%08lx\"", a->n, crc32_z(0, a->bytes, a->n));
}

/* How often each kind of op occurs. */
static void add_ops(struct buf *out, const struct api_transaction *t)
{
    const char *comma = "";
    buf_addf(out, "\"kind\":\"transaction\",\"n_ops\":%" PRIu32 ",\"ops\":{", t->n_ops);
    for (uint16_t f = 0; f < api_op_desc.n_fields; f++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < t->n_ops; i++) n += tfield_is_set(&api_op_desc.fields[f], &t->ops[i]);
        if (!n) continue;
        buf_addf(out, "%s\"%s\":%" PRIu32, comma, api_op_desc.fields[f].name, n);
        comma = ",";
    }
    buf_addc(out, '}');
}

static void add_counts(struct buf *out, const struct api_snapshot *s)
{
    buf_addf(out, "\"kind\":\"snapshot\",\"timestamp\":%" PRId64, s->timestamp);
    for (uint16_t f = 0; f < api_snapshot_desc.n_fields; f++) {
        const struct tfield *field = &api_snapshot_desc.fields[f];
        if (ttype_is_container(field->type.type))
            buf_addf(out, ",\"%s\":%" PRIu32, field->name, *tfield_count(field, s));
    }
}

static void add_entry(struct buf *out, const struct api_log_entry *e)
{
    if (e->transaction)
        add_ops(out, e->transaction);
    else if (e->snapshot)
        add_counts(out, e->snapshot);
    else
        buf_adds(out, "\"kind\":\"noop\"");
}

static void add_frame(struct buf *out, const struct api_frame *f)
{
    if (f->chunk) {
        buf_addf(out, "\"kind\":\"frame_chunk\",\"chunk_bytes\":%" PRIu32, f->chunk->data.n);
        return;
    }
    buf_adds(out, "\"kind\":\"frame_header\"");
    if (!f->header) return;
    buf_addf(out, ",\"chunks\":%" PRId32 ",\"md5\":\"", f->header->chunk_count);
    for (uint32_t i = 0; i < f->header->checksum.n; i++) buf_addf(out, "%02x", (uint8_t)f->header->checksum.p[i]);
    buf_addc(out, '"');
}

/* The record's own frame, if it is a part of one. */
static const struct api_frame *frame_of(const struct action *a, struct arena *arena)
{
    static const uint8_t head[] = { TT_STRUCT, 0, 4 }; /* LogEntry.frame */
    struct api_log_entry *e = ARENA_NEW(arena, struct api_log_entry);
    if (a->n < sizeof(head) || memcmp(a->bytes, head, sizeof(head)) != 0) return NULL;
    return tbinary_read(a->bytes, a->n, &api_log_entry_desc, e, arena, NULL) ? NULL : e->frame;
}

void logtool_add_content(struct buf *out, struct entry_reader *r, const struct action *a)
{
    struct arena arena = { 0 };
    struct buf why = { 0 };
    const struct api_log_entry *e;
    uint64_t deflated = r->deflated;
    buf_addc(out, '{');
    const struct api_frame *frame = frame_of(a, &arena);
    int err = entry_reader_feed(r, a->bytes, a->n, &arena, &e, &why);
    if (frame) add_frame(out, frame);
    if (frame && e) buf_adds(out, ",\"completes\":{");
    if (e) add_entry(out, e);
    if (e && r->deflated > deflated) buf_adds(out, ",\"deflated\":true");
    if (frame && e) buf_addc(out, '}');
    if (err) {
        buf_adds(out, frame ? ",\"error\":" : "\"error\":");
        json_write_string(out, (struct str){ buf_cstr(&why), (uint32_t)why.len }, JSON_PLAIN);
        entry_reader_end(r);
    }
    buf_addc(out, '}');
    arena_release(&arena);
    buf_release(&why);
}
