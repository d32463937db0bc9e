/* The RPC methods on snapshots and backups: snapshot, performBackup, listBackups, stageRecovery, queryRecovery,
 * deleteRecoveryTasks, unloadRecovery, commitRecovery (reference: storage, section 7). They are carried out one after
 * the other, in the order in which they come, on the loop or in libuv's pool; the scheduler goes on meanwhile.
 *
 * commitRecovery ends this process. From the moment at which the loaded backup goes to the log nothing is stepped any
 * more (app.frozen): whatever this process still knows of the old state can't land behind the restored one. Its answer
 * leaves once the restored state is durable and the log is truncated before it; the next leader starts with that. */
#ifndef AURORA_ADMIN_RECOVERY_H
#define AURORA_ADMIN_RECOVERY_H

#include "admin/app.h"

struct recovery;

bool recovery_serves(struct str method);
struct recovery *recovery_new(struct app *a);
/* Answers the call of one of these methods. */
void recovery_call(struct recovery *r, struct rpc_call *call);
/* Behind uv_run(), after everything that could call back: what waits is forgotten. NULL is allowed. */
void recovery_free(struct recovery *r);

#endif
