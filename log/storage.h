/* The log's disk: one LMDB environment in a folder of its own, with the replica's metadata and one record per position,
 * and before it a journal that makes each batch durable with a single sync (log/journal.h).
 *
 * Every function here blocks; except for open, close and restore, which belong to start-up and shutdown, they run in a
 * job of libuv's pool, one at a time. A batch is durable when the write returns, and all or nothing.
 *
 * Nothing on disk is trusted: a folder of another program is refused, the tree is checked before LMDB may follow it,
 * every record has a checksum that covers its position. */
#ifndef AURORA_LOG_STORAGE_H
#define AURORA_LOG_STORAGE_H

#include "core/arena.h"
#include "core/buf.h"
#include "log/message.h"
#include "log/quorum.h"

/* LMDB's address space; the file grows only as far as it is used. */
#define STORAGE_MAP_BYTES_DEFAULT ((uint64_t)64 << 30)
/* Truncated records that one commit deletes at most; the rest goes with the next ones. */
#define STORAGE_PURGE_PER_COMMIT 2000

/* More than this that only the journal has, or anything to purge, goes into LMDB before records are read. */
#define STORAGE_OVERLAY_BYTES ((size_t)256 << 10)

struct storage;

struct storage_metadata {
    enum replica_status status;
    uint64_t promised;
    uint32_t quorum;
    uint32_t id;   /* of the replica, random; 0: it has none yet */
    bool complete; /* the log's writer has closed it in order: unless others have written since, it has everything */
    uint64_t seen[QUORUM_SEEN_MAX]; /* as in struct quorum_record */
    unsigned n_seen;
    uint32_t changes;
};

/* Opens the folder, which is made (its parents are not) if it is missing. map_bytes 0: the default.
 * ERR_BUSY: another process has it open. ERR_FOREIGN, ERR_CORRUPT, ERR_NOSPACE, ERR_IO. err_text gets a sentence on
 * what to do. */
int storage_open(const char *path, uint64_t map_bytes, struct storage **ret, struct buf *err_text);
/* A folder that no scheduler has open, to be looked at: not a byte of it is changed, and it may lie where nothing can
 * be written. ERR_NOT_FOUND: there is no log; else as above. storage_write() must not be called. */
int storage_open_read_only(const char *path, struct storage **ret, struct buf *err_text);
void storage_close(struct storage *s);

/* False: never stored. */
bool storage_metadata(const struct storage *s, struct storage_metadata *ret);
/* Opened for reading: whether the last batch was left out because it is not whole. It was never acknowledged, unless
 * the disk has changed it since; the two look the same. */
bool storage_is_torn(const struct storage *s);
/* All records by ascending position; bytes are valid during the call only. Checks every one. ERR_CORRUPT, ERR_IO. */
int storage_restore(struct storage *s, void (*fn)(const struct action *a, void *arg), void *arg, struct buf *err_text);

struct storage_batch {
    const struct storage_metadata *metadata; /* NULL: unchanged */
    const struct action *actions;            /* later ones replace earlier ones at the same position */
    size_t n;
    uint64_t purge_below; /* records below may go */
};

/* Durable on return. On failure the storage must not be written any more, and whether the batch is stored is unknown.
 * ERR_NOSPACE (disk or map full), ERR_IO, ERR_CORRUPT. */
int storage_write(struct storage *s, const struct storage_batch *b);
/* The record at position, bytes copied into a. ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
int storage_read(struct storage *s, uint64_t position, struct arena *a, struct action *ret);
/* Records in [from, to] by ascending position, until fn returns false. Bytes are valid during the call. */
int storage_each(struct storage *s, uint64_t from, uint64_t to, bool (*fn)(const struct action *a, void *arg),
                 void *arg);
/* The same, but goes on behind damaged records, for which a is NULL. (Where not even the key can be trusted, position
 * is the lowest one that it may be.) */
int storage_scan(struct storage *s, uint64_t from, uint64_t to,
                 bool (*fn)(uint64_t position, const struct action *a, void *arg), void *arg);
/* What went wrong in the last failed call, for people. Never NULL. */
const char *storage_error(const struct storage *s);

#endif
