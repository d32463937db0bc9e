/* The encoding of a snapshot while the store goes on (reference: storage, section 2): a LogEntry with a deduplicated
 * Snapshot, deflated. It is made of parts (hosts, the rest, a hundred tasks each) that are deflated by themselves and
 * can be put together in any number, so that of a later image only the parts that have changed are encoded again:
 *
 *   snapshot_encode(first image)     takes long; meanwhile others write
 *   snapshot_encode(second image)    what they have changed
 *   snapshot_encode(last image)      while nobody writes: little
 *   snapshot_finish()
 *
 * For a job of the pool. */
#ifndef AURORA_LOG_SNAPSHOT_H
#define AURORA_LOG_SNAPSHOT_H

#include "core/buf.h"
#include "core/image.h"

/* Tasks of one part. */
#define SNAPSHOT_PART_TASKS 100

struct snapshot_writer;

struct snapshot_writer *snapshot_writer_new(void);
void snapshot_writer_free(struct snapshot_writer *w);
/* The images must be of one store, each later than the last, and all must be held until the writer is freed. *ret_tasks
 * (may be NULL) gets how many tasks were encoded. ERR_TOO_BIG: beyond what a reader accepts. */
int snapshot_encode(struct snapshot_writer *w, const struct image *image, uint32_t *ret_tasks);
/* Appends the entry of the last image to out. ERR_TOO_BIG. */
int snapshot_finish(struct snapshot_writer *w, struct buf *out);

#endif
