/* The form of a backup: one bare TBinary Snapshot, neither deflated nor deduplicated, as Aurora writes and reads it.
 *
 * Both ways go value by value, through functions that are handed in: memory stays bounded by the largest value (a task
 * with its config), however many there are. They block as long as those functions do, so they are for libuv's pool. */
#ifndef AURORA_LOG_BACKUP_H
#define AURORA_LOG_BACKUP_H

#include "core/image.h"

/* Takes the next n bytes. Non-zero ends the encoding. */
typedef int (*backup_put)(const void *data, size_t n, void *arg);
/* Gives the next bytes, at most n; *ret_n = 0 at the end. Non-zero ends the decoding. */
typedef int (*backup_get)(void *data, size_t n, size_t *ret_n, void *arg);

/* What put() gave, or ERR_TOO_BIG for what no reader would take. */
int backup_encode(const struct image *image, backup_put put, void *arg);

/* Fills the new store. On failure it is to be thrown away. What get() gave, or, beside the readers' errors of
 * core/thrift.h, ERR_INVALID for a value that can't be stored; ERR_MALFORMED also for a Snapshot without a time and for
 * bytes behind it. */
int backup_decode(backup_get get, void *arg, struct store *store, int64_t *ret_timestamp_ms);

#endif
