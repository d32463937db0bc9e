#include "test/sim/lib/disk.h"

#include "core/buf.h"

#include <assert.h>
#include <stdlib.h>

void disk_init(struct disk *d)
{
    *d = (struct disk){ .status = REPLICA_EMPTY };
}

void disk_release(struct disk *d)
{
    for (size_t i = 0; i < d->n; i++) free(d->records[i]);
    free(d->records);
    disk_init(d);
}

static void grow(struct disk *d, uint64_t position)
{
    assert(position < 1u << 20);
    if (position < d->n) return;
    size_t n = (size_t)position + 64;
    d->records = xrealloc(d->records, n * sizeof(*d->records));
    memset(d->records + d->n, 0, (n - d->n) * sizeof(*d->records));
    d->n = n;
}

static void apply(struct disk *d, const struct disk_op *op)
{
    if (op->origin == ORIGIN_METADATA) {
        d->status = op->status;
        d->promised = op->promised;
        return;
    }
    uint64_t p = op->record->action.position;
    grow(d, p);
    free(d->records[p]);
    d->records[p] = message_copy(op->record);
}

void disk_apply(struct disk *d, const struct commit *c, size_t n)
{
    assert(n <= c->n);
    for (size_t i = 0; i < n; i++) apply(d, &c->ops[i]);
    for (uint64_t p = 0; n == c->n && p < c->purge_below && p < d->n; p++) {
        free(d->records[p]);
        d->records[p] = NULL;
    }
}

const struct action *disk_read(const struct disk *d, uint64_t position)
{
    return position < d->n && d->records[position] ? &d->records[position]->action : NULL;
}

static struct disk_op *add(struct commit *c)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 8;
        c->ops = xrealloc(c->ops, c->cap * sizeof(*c->ops));
    }
    return &c->ops[c->n++];
}

void commit_metadata(struct commit *c, enum replica_status status, uint64_t promised)
{
    *add(c) = (struct disk_op){ .origin = ORIGIN_METADATA, .status = status, .promised = promised };
}

void commit_record(struct commit *c, enum origin origin, const struct action *a)
{
    struct message *copy = message_copy(&(struct message){ .kind = MESSAGE_LEARNED, .action = *a });
    *add(c) = (struct disk_op){ .origin = origin, .record = copy };
}

void commit_release(struct commit *c)
{
    for (size_t i = 0; i < c->n; i++) free(c->ops[i].record);
    free(c->ops);
    *c = (struct commit){ 0 };
}
