/* The backup that is loaded in order to be restored, beside the scheduler's own state, and the methods that show and
 * change it: listBackups, stageRecovery, queryRecovery, deleteRecoveryTasks, unloadRecovery. They block on files and on
 * large stores, so they run in libuv's pool, one at a time: nothing here is shared with anybody else. */
#ifndef AURORA_ADMIN_STAGED_H
#define AURORA_ADMIN_STAGED_H

#include "core/store.h"
#include "core/thrift.h"

/* Zero-initialised: none is loaded. */
struct staged {
    struct store *store; /* NULL: none */
    int64_t timestamp_ms;
};

bool staged_serves(struct str method);
/* Carries out the method on the backups of dir (NULL: -backup_dir is unset). *r comes as OK and without details; what
 * it gets is in a, and its tasks are good until the next call. */
void staged_run(struct staged *g, const char *dir, const struct tmethod *m, const void *args, struct api_response *r,
                struct arena *a);
void staged_release(struct staged *g);

/* Sets the code and adds a detail, whose text may be NULL. */
void response_fail(struct api_response *r, struct arena *a, enum api_response_code code, const char *text);

#endif
