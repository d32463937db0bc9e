/* Backups as files of a folder: scheduler-backup-yyyy-MM-dd-HH-mm in local time, of the form of log/backup.h. All
 * functions block, so they are for the start or for libuv's pool. On failure err_text gets one line without a place:
 * "No space left on device". */
#ifndef AURORA_ADMIN_BACKUP_FILE_H
#define AURORA_ADMIN_BACKUP_FILE_H

#include "core/buf.h"
#include "core/image.h"

#include <stdatomic.h>

#define BACKUP_PREFIX "scheduler-backup-"

/* Makes the folder if it is missing, tries whether it can be written, and removes what a process that was killed has
 * left half written. ERR_IO. */
int backup_folder_open(const char *dir, struct buf *err_text);

/* The name for that time; a later one sorts behind it. */
void backup_name(int64_t now_ms, char out[64]);

/* Writes a whole file or none: under a name that begins with temp_, synced, then renamed; one of the same name is
 * replaced. *cancel (may be set meanwhile) ends it with ERR_CLOSED. Else ERR_NOSPACE, ERR_IO, ERR_TOO_BIG. */
int backup_write(const char *dir, const char *name, const struct image *image, const atomic_bool *cancel,
                 struct buf *err_text);

/* Removes the oldest backups beyond the newest `keep`, by name. *ret_removed of them, also if not all could be. */
int backup_prune(const char *dir, uint32_t keep, uint32_t *ret_removed, struct buf *err_text);

/* The names of all files in the folder, sorted, in a. ERR_TOO_BIG beyond LIMIT_BACKUP_NAMES. */
int backup_list(const char *dir, struct str **ret, uint32_t *ret_n, struct arena *a, struct buf *err_text);

/* Loads a file into a new store. ERR_NOT_FOUND: there is none of that name, or no plain file; ERR_IO: it can't be read;
 * any other error: it is damaged. */
int backup_read(const char *path, struct store **ret, int64_t *ret_timestamp_ms, struct buf *err_text);

/* Whether the name is one of a file in the folder, and not a way out of it. */
bool backup_name_valid(struct str name);

#endif
