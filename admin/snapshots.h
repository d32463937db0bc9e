/* When the scheduler's state is written down as a whole: into the log every -dlog_snapshot_interval, into a backup
 * along with that where one is due, and both by RPC. A backup shows the moment at which its snapshot was begun; the
 * snapshot shows a later one, since others write while it is encoded. */
#ifndef AURORA_ADMIN_SNAPSHOTS_H
#define AURORA_ADMIN_SNAPSHOTS_H

#include "admin/app.h"

/* Opens -backup_dir, if it is set; blocks. A line in err_text. */
int snapshots_open(struct app *a, struct buf *err_text);
/* We lead: begins to count the interval. */
void snapshots_start(struct app *a);

/* Both only when this process leads. cb runs later, once, with 0 or an error. ERR_BUSY: a command is half done, or a
 * snapshot is being written; another attempt is due in SNAPSHOT_RETRY_MS. Other errors are final. */
#define SNAPSHOT_RETRY_MS 100
int snapshot_now(struct app *a, void (*cb)(int err, void *arg), void *arg);
int backup_now(struct app *a, void (*cb)(int err, void *arg), void *arg);

#endif
