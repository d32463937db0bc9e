#include "log/record.h"

#include "core/err.h"

#include <assert.h>
#include <zlib.h>

/* A record: this head, then the payload of an append. */
struct head {
    uint32_t crc; /* of the position, the rest of the head and the payload */
    uint8_t type, flags;
    uint16_t zero;
    uint64_t promised, performed, to;
};
static_assert(sizeof(struct head) == 32, "a disk format without holes");
enum { HAS_PERFORMED = 1, HAS_LEARNED = 2, LEARNED = 4, TOMBSTONE = 8, FLAGS = 15 };

struct disk_metadata {
    uint32_t crc, status, quorum, id;
    uint64_t promised;
};
static_assert(sizeof(struct disk_metadata) == METADATA_BYTES_MIN, "a disk format without holes");

struct disk_seen { /* behind it; then the ids */
    uint16_t complete, n;
    uint32_t changes;
};
static_assert(sizeof(struct disk_seen) == 8, "a disk format without holes");

struct batch_head {
    uint64_t purge_below;
    uint32_t n, metadata; /* bytes of the metadata; METADATA_OLD: METADATA_BYTES_MIN */
};
enum { METADATA_OLD = 1 };
static_assert(sizeof(struct batch_head) == 16, "a disk format without holes");

struct item_head { /* of each action of a batch; its record follows */
    uint64_t position, n;
};

static uint32_t checksum(uint64_t position, const uint8_t *value, size_t n)
{
    uLong crc = crc32_z(0, (const uint8_t *)&position, sizeof(position));
    return (uint32_t)crc32_z(crc, value + sizeof(uint32_t), n - sizeof(uint32_t));
}

size_t record_size(const struct action *a)
{
    assert(a->type == ACTION_APPEND || a->n == 0);
    return sizeof(struct head) + a->n;
}

void record_encode(const struct action *a, uint8_t *value)
{
    struct head h = { .type = (uint8_t)a->type,
                      .flags = (uint8_t)((a->has_performed ? HAS_PERFORMED : 0) | (a->has_learned ? HAS_LEARNED : 0) |
                                         (a->learned ? LEARNED : 0) | (a->tombstone ? TOMBSTONE : 0)),
                      .promised = a->promised,
                      .performed = a->performed,
                      .to = a->to };
    memcpy(value, &h, sizeof(h));
    if (a->n) memcpy(value + sizeof(h), a->bytes, a->n);
    uint32_t crc = checksum(a->position, value, sizeof(h) + a->n);
    memcpy(value, &crc, sizeof(crc));
}

int record_decode(uint64_t position, const void *value, size_t n, struct action *ret)
{
    struct head h;
    if (n < sizeof(h)) return ERR_CORRUPT;
    memcpy(&h, value, sizeof(h));
    if (h.crc != checksum(position, value, n)) return ERR_CORRUPT;
    if (h.type > ACTION_TRUNCATE || h.flags > FLAGS) return ERR_CORRUPT;
    *ret = (struct action){ .position = position,
                            .promised = h.promised,
                            .performed = h.performed,
                            .to = h.to,
                            .type = (enum action_type)h.type,
                            .has_performed = h.flags & HAS_PERFORMED,
                            .has_learned = h.flags & HAS_LEARNED,
                            .learned = h.flags & LEARNED,
                            .tombstone = h.flags & TOMBSTONE,
                            .bytes = (const uint8_t *)value + sizeof(h),
                            .n = n - sizeof(h) };
    return 0;
}

size_t metadata_size(const struct storage_metadata *m)
{
    return sizeof(struct disk_metadata) + sizeof(struct disk_seen) + m->n_seen * sizeof(*m->seen);
}

void metadata_encode(const struct storage_metadata *m, uint8_t *value)
{
    struct disk_metadata d = {
        .status = (uint32_t)m->status, .quorum = m->quorum, .id = m->id, .promised = m->promised
    };
    struct disk_seen seen = { m->complete, (uint16_t)m->n_seen, m->changes };
    assert(m->n_seen <= QUORUM_SEEN_MAX);
    memcpy(value, &d, sizeof(d));
    memcpy(value + sizeof(d), &seen, sizeof(seen));
    memcpy(value + sizeof(d) + sizeof(seen), m->seen, m->n_seen * sizeof(*m->seen));
    d.crc = checksum(UINT64_MAX, value, metadata_size(m));
    memcpy(value, &d.crc, sizeof(d.crc));
}

static int decode_seen(const uint8_t *value, size_t n, struct storage_metadata *m)
{
    struct disk_seen seen;
    if (n < sizeof(seen)) return ERR_CORRUPT;
    memcpy(&seen, value, sizeof(seen));
    if (seen.complete > 1 || seen.n > QUORUM_SEEN_MAX) return ERR_CORRUPT;
    if (n != sizeof(seen) + seen.n * sizeof(*m->seen)) return ERR_CORRUPT;
    m->complete = seen.complete;
    m->n_seen = seen.n;
    m->changes = seen.changes;
    memcpy(m->seen, value + sizeof(seen), seen.n * sizeof(*m->seen));
    return 0;
}

int metadata_decode(const void *value, size_t n, struct storage_metadata *ret)
{
    struct disk_metadata d;
    if (n < sizeof(d)) return ERR_CORRUPT;
    memcpy(&d, value, sizeof(d));
    if (d.crc != checksum(UINT64_MAX, value, n)) return ERR_CORRUPT;
    if (d.status < REPLICA_VOTING || d.status > REPLICA_EMPTY) return ERR_CORRUPT;
    struct storage_metadata m = {
        .status = (enum replica_status)d.status, .promised = d.promised, .quorum = d.quorum, .id = d.id
    };
    int err = n > sizeof(d) ? decode_seen((const uint8_t *)value + sizeof(d), n - sizeof(d), &m) : 0;
    if (!err) *ret = m;
    return err;
}

/* ---- batches ---- */

size_t batch_size(const struct storage_batch *b)
{
    size_t n = sizeof(struct batch_head) + (b->metadata ? metadata_size(b->metadata) : 0);
    for (size_t i = 0; i < b->n; i++) n += sizeof(struct item_head) + record_size(&b->actions[i]);
    return n;
}

void batch_encode(const struct storage_batch *b, struct buf *out)
{
    struct batch_head h = { b->purge_below, (uint32_t)b->n, b->metadata ? (uint32_t)metadata_size(b->metadata) : 0 };
    buf_add(out, &h, sizeof(h));
    if (b->metadata) {
        metadata_encode(b->metadata, buf_reserve(out, h.metadata));
        buf_commit(out, h.metadata);
    }
    for (size_t i = 0; i < b->n; i++) {
        struct item_head item = { b->actions[i].position, record_size(&b->actions[i]) };
        buf_add(out, &item, sizeof(item));
        record_encode(&b->actions[i], buf_reserve(out, item.n));
        buf_commit(out, item.n);
    }
}

/* What is left of the input. */
static int take(struct str *left, void *out, size_t n)
{
    if (left->n < n) return ERR_CORRUPT;
    memcpy(out, left->p, n);
    left->p += n;
    left->n -= (uint32_t)n;
    return 0;
}

static int decode_actions(struct str *left, struct action *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct item_head item;
        if (take(left, &item, sizeof(item)) || item.n > left->n) return ERR_CORRUPT;
        if (record_decode(item.position, left->p, item.n, &v[i])) return ERR_CORRUPT;
        left->p += item.n;
        left->n -= (uint32_t)item.n;
    }
    return left->n ? ERR_CORRUPT : 0;
}

int batch_decode(const void *data, size_t n, struct arena *a, struct storage_batch *ret)
{
    struct str left = { data, (uint32_t)n };
    struct batch_head h;
    uint8_t bytes[METADATA_BYTES_MAX];
    struct storage_metadata *m = NULL;
    if (n > UINT32_MAX || take(&left, &h, sizeof(h))) return ERR_CORRUPT;
    if (h.metadata == METADATA_OLD) h.metadata = METADATA_BYTES_MIN;
    if (h.metadata) {
        m = ARENA_NEW(a, struct storage_metadata);
        if (h.metadata > sizeof(bytes) || take(&left, bytes, h.metadata)) return ERR_CORRUPT;
        if (metadata_decode(bytes, h.metadata, m)) return ERR_CORRUPT;
    }
    if (h.n > left.n / sizeof(struct item_head)) return ERR_CORRUPT;
    struct action *v = ARENA_ARRAY(a, struct action, h.n);
    int err = decode_actions(&left, v, h.n);
    if (!err) *ret = (struct storage_batch){ m, v, h.n, h.purge_below };
    return err;
}
