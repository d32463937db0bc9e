/* Leader election and advertisement under one znode in Curator's form, which Aurora's schedulers and clients know
 * (apache/aurora discovery/CuratorSingletonService.java, curator LockInternals.java): candidates `_c_<uuid>-lock-<10
 * digits>`, the leader's advertisement `member_<10 digits>` with ServiceInstance JSON. */
#ifndef AURORA_ZK_ELECTION_H
#define AURORA_ZK_ELECTION_H

#include "zk/session.h"

struct zk_election;

struct zk_endpoint {
    char host[256];
    uint16_t port;
};

struct zk_election_config {
    struct zk_session *session;
    const char *path; /* -serverset_path */
    const char *host; /* advertised HTTP host */
    uint16_t port;
    const char *endpoint_name; /* -serverset_endpoint_name: "http" */
    const char *uuid;          /* of this candidate; 36 characters */
    void (*on_elected)(void *arg);
    /* Leadership or candidacy is over: the session was lost, or somebody deleted our node. Never again elected: the
     * process ends. */
    void (*on_defeated)(const char *why, void *arg);
    /* The advertised leader as every scheduler sees it, first and after each change: NULL for none, or for more than
     * one. */
    void (*on_leader)(const struct zk_endpoint *leader, void *arg);
    /* The path can't be used (no permission). Last callback. */
    void (*on_failed)(const char *why, void *arg);
    void *arg;
};

/* Strings are copied. Watching for the advertised leader starts now, the candidacy with zk_election_join(). */
int zk_election_new(const struct zk_election_config *c, struct zk_election **ret);
void zk_election_join(struct zk_election *e);
/* The elected leader announces itself; the node is made again if somebody deletes it. */
void zk_election_advertise(struct zk_election *e);
/* Deletes advertisement and candidate if connected. No callback runs after the call. */
void zk_election_free(struct zk_election *e);

/* The advertisement's JSON: write appends it, read takes serviceEndpoint, whose host is letters, digits and -._:[]%
 * only. ERR_MALFORMED. */
struct buf;
void zk_service_write(struct buf *out, const char *host, uint16_t port, const char *endpoint_name);
int zk_service_read(struct str json, struct zk_endpoint *ret);

/* What candidates are ordered by, as Curator does: what stands behind the last "lock-" of the name, else the whole
 * name. Borrowed from name. */
const char *zk_lock_key(const char *name);

#endif
