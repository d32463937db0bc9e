/* Task output over HTTP: files below the work folder and nothing else. */
#ifndef AURORA_MESOS_LOCAL_FILES_H
#define AURORA_MESOS_LOCAL_FILES_H

#include "core/buf.h"

/* Opens a regular file or folder that lies, links resolved, in the work folder (itself without links). `path` is
 * absolute or relative to it. Returns a descriptor, ERR_NOT_FOUND, or ERR_REFUSED for what is outside or neither of
 * both. */
int files_open(const char *work_dir, const char *path);
/* The same for a file in the sandbox of a task's last run, also of one that is over. */
int files_open_sandbox(const char *work_dir, const char *task_id, const char *file);
/* Up to `length` bytes from `offset` are appended; *ret_size is the file's size. Closes fd. ERR_UNSUPPORTED: a folder.
 * ERR_IO. */
int files_read(int fd, uint64_t offset, uint64_t length, struct buf *out, uint64_t *ret_size);
/* A JSON array of {"path", "size", "mode"} in order of name, in Mesos's form. `path` is what the entries' paths begin
 * with. Closes fd. ERR_UNSUPPORTED: not a folder. ERR_IO. */
int files_list(int fd, const char *path, struct buf *out);

#endif
