/* The replicated log's place in the cluster: which replicas there are, and how messages reach them over libprocess
 * (reference: replicated-log, section 3; zookeeper, section 4).
 *
 * Two processes: "log-replica(1)" takes requests and answers them, "log-network(1)" tells what was learned. A request
 * to a peer comes from a process of its own, "__req_res__(N)", which ends with the answer, after
 * PEERS_REQUEST_TIMEOUT_MS, or when PEERS_REQUESTS_MAX younger ones are waiting: then nobody wants the answer any more.
 *
 * Members are the own replica and whoever is in the ZooKeeper group; one process id is one member, in however many
 * znodes. Data that is no process id is left out and logged. New ones are linked over a new connection, the others
 * stay.
 *
 * The own replica takes part only while the quorum size is known to be safe:
 *
 *   read ──────────────► ask ─────────► register ─────────► ask ─────────► take part
 *   the group's record   who is listed  in the group        who is listed  in the log; may lead
 *   and members          by now                             by now
 *
 * Asking is announcing the own record; whoever is asked answers with its own, members or not. Who says nothing within
 * PEERS_SILENCE_MS is one of Mesos's, or a registration whose process has gone. A new session begins at reading, but
 * for taking part: until it is registered again, nobody asks anything of it. */
#ifndef AURORA_ADMIN_PEERS_H
#define AURORA_ADMIN_PEERS_H

#include "log/log.h"
#include "log/quorum.h"
#include "net/libprocess.h"

#define PEERS_REQUEST_TIMEOUT_MS 10000
#define PEERS_REQUESTS_MAX 256
#define PEERS_SILENCE_MS 2000
/* How often a replica without a vote looks whether it has got one: then it is one that has been seen. */
#define PEERS_LOOK_MS 500

struct peers;
struct zk_session;

struct peers_config {
    uv_loop_t *loop;
    struct libprocess *lp;  /* outlives it */
    struct log *log;        /* opened; closed after it; its messages go out here from now on */
    struct zk_session *zk;  /* outlives it; NULL: the members are those of peers_set() */
    const char *group_path; /* -native_log_zk_group_path */
    unsigned quorum;        /* -native_log_quorum_size; announced */
    struct stats *stats;    /* may be NULL */

    /* Who is a member, what a member announced, or the group's record has changed: peers_judge() may say something
     * else. May be NULL. */
    void (*on_changed)(void *arg);
    /* What peers_lead() asked for is done. */
    void (*on_recorded)(void *arg);
    /* The group can't be used (no permission, not our data), or not any more. Last callback. May be NULL. */
    void (*on_failed)(const char *why, void *arg);
    void *arg;
};

/* Strings are copied. ERR_EXISTS: lp has such a process already. ERR_INVALID: a quorum beyond LIMIT_LOG_QUORUM. */
int peers_new(const struct peers_config *c, struct peers **ret);
/* Leaves the group. No callback but cb runs after the call; the log then sends nothing any more. */
void peers_close(struct peers *p, void (*cb)(void *arg), void *arg);

/* The members' process ids, the own one or not. Without ZooKeeper, and for tests. ERR_TOO_BIG. */
int peers_set(struct peers *p, const char *const *pids, unsigned n);
/* Own replica included. */
unsigned peers_members(const struct peers *p);
/* Whether all that is known of the others allows this quorum size (log/quorum.h). why: what to set, if not; may be
 * NULL. QUORUM_WAITS with nothing to say: not enough is known yet. */
enum quorum_verdict peers_judge(const struct peers *p, struct buf *why);
/* The own replica is the log's writer, and has all that was acknowledged: says so in the group's record, then
 * on_recorded, before which nothing may be acknowledged. With ZooKeeper only; once. */
void peers_lead(struct peers *p);

#endif
