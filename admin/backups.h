/* The backups of the running scheduler (-backup_dir, -backup_interval, -max_saved_backups): when one is due, one
 * written at a time in libuv's pool, the oldest removed, failures counted and logged. A failure never is more than
 * that.
 *
 * Stats: scheduler_backup_success, scheduler_backup_failed. */
#ifndef AURORA_ADMIN_BACKUPS_H
#define AURORA_ADMIN_BACKUPS_H

#include "core/image.h"
#include "core/stats.h"

#include <uv.h>

struct backups;

struct backups_config {
    uv_loop_t *loop;
    const char *dir; /* made if missing */
    int64_t interval_ms;
    uint32_t max_saved;
    int64_t (*now_ms)(void *arg);
    void *arg;
    struct stats *stats;
};

/* Copies dir. ERR_IO with a line in err_text. Blocks on the folder (start-up only). */
int backups_new(const struct backups_config *c, struct backups **ret, struct buf *err_text);

/* The interval has passed since the last one was begun, whatever became of it; at first, since the start. */
bool backups_due(const struct backups *b);
/* Writes the image, behind those that wait already; takes a reference of its own. cb (may be NULL) runs later, once,
 * unless this fails: ERR_FULL with LIMIT_BACKUP_QUEUE waiting. err is 0, what backup_write() gave, or ERR_CLOSED. */
int backups_save(struct backups *b, struct image *image, void (*cb)(int err, void *arg), void *arg);

/* Drops those that wait (ERR_CLOSED), ends the one that is being written; then cb, perhaps at once. No images are held
 * any more. */
void backups_close(struct backups *b, void (*cb)(void *arg), void *arg);

#endif
