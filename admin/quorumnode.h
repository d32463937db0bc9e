/* The quorum record as data of the log group's znode, where it outlives all processes (log/quorum.h). Mesos's replicas
 * make the znode without data and read only its children.
 *
 * No data: no record. Data that is no record is refused: what it protects is not known, and it is not ours to replace.
 */
#ifndef AURORA_ADMIN_QUORUMNODE_H
#define AURORA_ADMIN_QUORUMNODE_H

#include "log/quorum.h"
#include "zk/session.h"

struct quorumnode;

struct quorumnode_config {
    struct zk_session *session; /* outlives it */
    const char *path;           /* made with its parents if missing */
    /* What is there: at first, after each change, and again with each connection. size 0: no record. */
    void (*on_record)(const struct quorum_record *r, void *arg);
    /* The data is no record, or there is no permission. Last callback. */
    void (*on_failed)(const char *why, void *arg);
    void *arg;
};

/* Strings are copied. */
int quorumnode_new(const struct quorumnode_config *c, struct quorumnode **ret);
/* Replaces the record that was told last, and that one only. cb once, later: 0; ERR_REJECTED, ERR_CLOSED: it is another
 * one by now, or that is not known, and it will be told; ERR_REFUSED: no permission. A call that fails (ERR_CLOSED:
 * none has been told in this session; ERR_BUSY: a replacement is under way) never calls back. */
int quorumnode_write(struct quorumnode *n, const struct quorum_record *r, void (*cb)(int err, void *arg), void *arg);
/* No callback runs after the call. */
void quorumnode_free(struct quorumnode *n);

#endif
