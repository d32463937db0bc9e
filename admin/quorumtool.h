/* `aurora-scheduler log set-quorum FLAGS` and `log new-replica FLAGS`: change the quorum size on purpose, while all
 * schedulers are stopped. FLAGS is the scheduler's own command line, with the new -native_log_quorum_size: it names the
 * folder, the servers of ZooKeeper with the credentials, and the log's group. What may be changed, and why, is in
 * log/quorum_change.h; how it is used, in docs/operating.md.
 *
 * Blocks. The folder is locked, and ZooKeeper is asked with the time-out -zk_connection_timeout. */
#ifndef AURORA_ADMIN_QUORUMTOOL_H
#define AURORA_ADMIN_QUORUMTOOL_H

#include <stdbool.h>
#include <stdio.h>

/* Whether the process's arguments are for here. */
bool quorumtool_wants(int argc, const char *const *argv);
/* Returns the exit status: 0 done, or there was nothing to do; 2 wrong arguments; 3 refused, or it could not be done.
 */
int quorumtool(int argc, const char *const *argv, FILE *out, FILE *err);

#endif
