/* Where log lines go: standard error, one line each.
 *
 *   2026-11-22T20:16:41.123Z INFO event key=value ...
 *   <6>event key=value ...                                 where the journal listens, which has its own time
 *
 * The loop never waits for a reader: lines that can't be written now are kept, up to LIMIT_LOG_BUFFER_BYTES, then
 * counted and dropped. */
#ifndef AURORA_ADMIN_LOGSINK_H
#define AURORA_ADMIN_LOGSINK_H

#include "core/logline.h"

#include <stdbool.h>

/* Installs the sink for all rooms. journal: standard error leads to systemd's journal. */
void logsink_open(int fd, bool journal);
/* Writes what is kept as far as the reader takes it; to be called once per pass of the loop. */
void logsink_flush(void);
/* Writes what is kept, waiting for the reader, and removes the sink. */
void logsink_close(void);

#endif
