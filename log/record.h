/* How actions, metadata and batches lie on disk: fixed little structs in the machine's byte order (LMDB's own), each
 * record with a checksum that covers its position too. */
#ifndef AURORA_LOG_RECORD_H
#define AURORA_LOG_RECORD_H

#include "log/storage.h"

/* The value stored under an action's position. */
size_t record_size(const struct action *a);
/* value has record_size() bytes. */
void record_encode(const struct action *a, uint8_t *value);
/* bytes are borrowed from value. ERR_CORRUPT. */
int record_decode(uint64_t position, const void *value, size_t n, struct action *ret);

/* Folders of older versions have METADATA_BYTES_MIN: no replicas seen, not complete. */
enum { METADATA_BYTES_MIN = 24, METADATA_BYTES_MAX = 24 + 8 + 8 * QUORUM_SEEN_MAX };
size_t metadata_size(const struct storage_metadata *m);
/* value has metadata_size() bytes. */
void metadata_encode(const struct storage_metadata *m, uint8_t *value);
int metadata_decode(const void *value, size_t n, struct storage_metadata *ret);

/* A batch as one run of bytes. */
size_t batch_size(const struct storage_batch *b);
void batch_encode(const struct storage_batch *b, struct buf *out);
/* Arrays in a, payloads borrowed from data. ERR_CORRUPT. */
int batch_decode(const void *data, size_t n, struct arena *a, struct storage_batch *ret);

#endif
