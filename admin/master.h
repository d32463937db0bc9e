/* Where the leading Mesos master is: -mesos_master_address names it (host:port, looked up anew before each try, since a
 * master that comes back may have another address), or the ZooKeeper path where the masters announce themselves. */
#ifndef AURORA_ADMIN_MASTER_H
#define AURORA_ADMIN_MASTER_H

#include "core/stats.h"

#include <uv.h>

struct master;
struct zk_session;

struct master_config {
    uv_loop_t *loop;
    const char *address; /* host:port or zk://[user:password@]host:port,.../path; checked by settings_from_flags() */
    /* Ours, for a path on the same servers with the same credentials; else master makes its own. NULL: there is none.
     * It must outlive the master. */
    struct zk_session *session;
    const char *session_endpoints, *session_credentials; /* of that session; credentials may be NULL */
    /* The leading master's pid "master@ip:port", or NULL: there is none. */
    void (*on_master)(const char *pid, void *arg);
    void *arg;
};

/* Strings are copied. Begins to look at once. ERR_INVALID: the servers can't be parsed. */
int master_new(const struct master_config *c, struct master **ret);
/* The connection to the master has broken: has on_master told again, unless it is found before. */
void master_lost(struct master *m);
void master_found(struct master *m);
/* No callback runs after the call; then cb. */
void master_close(struct master *m, void (*cb)(void *arg), void *arg);

#endif
