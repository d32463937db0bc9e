/* Changing the quorum size on purpose, while no scheduler runs (pure; the command: admin/quorumtool.h).
 *
 * What was acknowledged with size q is on some q replicas. It must be on at least one of every q' of the new group:
 *
 * - Growing (q' > q): of the at most 2q-1 old replicas less than q lack an entry, so every q' of them have one that
 * does not, and a replica that joins empty fetches from q' of them. Each old replica may just take the new size.
 * - Shrinking: only a replica that has everything may take the new size; all others begin empty, or as its copies. The
 *   group's record names it: a leader has everything when it writes its id there (admin/peers.h), and acknowledges
 *   nothing that it has not got itself; but its disk is sure to have it only if that leader closed it in order.
 *
 * With the new size, q' replicas must have the log before an empty one can fetch it. A replica that has everything may
 * be copied until there are enough, as long as nobody has led since the change: the record then names nobody. A copy
 * gets an id of its own.
 *
 * Changes are counted, in the folders, too: one that missed a change is out of date, even if its size is right again.
 *
 * The group's record is changed before the folder. In between, and while other folders have the old size, every mixture
 * is a contradiction that quorum_judge() refuses; the change can be begun again. */
#ifndef AURORA_LOG_QUORUM_CHANGE_H
#define AURORA_LOG_QUORUM_CHANGE_H

#include "log/quorum.h"

struct quorum_change {
    unsigned to;              /* -native_log_quorum_size */
    struct quorum_record own; /* of the folder */
    bool votes;               /* it holds the log */
    bool complete;            /* its metadata say so */
    struct quorum_record znode;
    unsigned members; /* that are registered in the group */
};

struct quorum_plan {
    bool changes_znode, changes_own; /* in this order; neither: all is as it should be */
    struct quorum_record znode, own;
    bool may_be_copied; /* from now on until somebody leads */
};

/* The folder and the group get the size `to`. ERR_INVALID: why gets a sentence on what to do. */
int quorum_plan_size(const struct quorum_change *c, struct quorum_plan *ret, struct buf *why);
/* The folder is a copy, made since the size was changed; it gets the id `replica`. ERR_INVALID as above. */
int quorum_plan_copy(const struct quorum_change *c, uint64_t replica, struct quorum_plan *ret, struct buf *why);

#endif
