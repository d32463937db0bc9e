/* What Aurora puts into the log (reference: storage, section 2). A LogEntry of at most max bytes is one record of the
 * log. A larger one is a FrameHeader with count and MD5, then chunks of max bytes each. Snapshots are deduplicated,
 * then deflated (zlib; log/snapshot.h), then framed; transactions are written plain. */
#ifndef AURORA_LOG_ENTRY_H
#define AURORA_LOG_ENTRY_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/store.h"

#include "api.gen.h"

/* ---- writing ---- */

/* An entry cut into records. Borrows the entry. */
struct entry_frames {
    const uint8_t *entry;
    size_t n, max;
    size_t records;
    uint8_t md5[16];
};

void entry_frames_init(struct entry_frames *f, const void *entry, size_t n, size_t max);
/* Puts the record i < records into out, replacing what was there. */
void entry_frames_record(const struct entry_frames *f, size_t i, struct buf *out);

/* A transaction is built op by op: begin, any number of ops, end. ERR_INVALID from an op leaves t as it was. */
struct entry_transaction {
    struct buf bytes;
    uint32_t n_ops;
};
void entry_transaction_begin(struct entry_transaction *t);
int entry_transaction_op(struct entry_transaction *t, const struct api_op *op);
/* bytes are then a whole LogEntry. */
void entry_transaction_end(struct entry_transaction *t);
/* Takes back all behind the first n_ops ops, which took n bytes; for groups that fail half-way. */
void entry_transaction_rewind(struct entry_transaction *t, size_t n, uint32_t n_ops);

/* ---- reading ---- */

struct entry_reader {
    /* Limits; 0: those of core/limits.h. */
    size_t max_entry_bytes, max_inflated_bytes;
    /* Counts for the stats. */
    uint64_t bad_frames, deflated, orphans;
    /* The frame that is being read. */
    struct buf frame;
    uint32_t chunks, wanted; /* wanted 0: none */
    uint8_t md5[16];
};

/* Reads one record. *ret is set where it completes an entry: transaction, noop, or snapshot (a deduplicated one comes
 * as a plain one); it is NULL after a part of a frame. All in a. A broken frame is dropped and counted; ERR_CORRUPT
 * with the reason in why for what must stop a recovery: a wrong checksum, an entry that does not decode, a limit
 * exceeded. */
int entry_reader_feed(struct entry_reader *r, const void *record, size_t n, struct arena *a,
                      const struct api_log_entry **ret, struct buf *why);
/* The log ends: a frame that is not complete is dropped. The reader may be used again. */
void entry_reader_end(struct entry_reader *r);
void entry_reader_release(struct entry_reader *r);

#endif
