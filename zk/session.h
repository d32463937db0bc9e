/* One ZooKeeper session on the loop: the single-threaded C client driven by uv, with its traps handled (reference: zk:
 * zookeeper.c 3.8): host names are resolved by uv_getaddrinfo, never inside the client; the fd is polled anew around
 * every call; expiry is noticed by a local timer while disconnected.
 *
 * A session that was lost is made again by itself; its users (group, election, detector) are told and start over. */
#ifndef AURORA_ZK_SESSION_H
#define AURORA_ZK_SESSION_H

#include "core/err.h"
#include "core/stats.h"
#include "core/str.h"

#include <uv.h>

struct buf;
struct zk_session;

enum zk_event {
    ZK_CONNECTED,   /* a new session: nothing of an older one (ephemerals, watches) is left */
    ZK_SUSPENDED,   /* connection lost; the session may live on */
    ZK_RECONNECTED, /* the same session again: ephemerals and watches are still there */
    ZK_LOST,        /* the session is over: expired, or disconnected for so long that it must be taken for it */
    ZK_AUTH_FAILED, /* wrong credentials; the session does not come back */
};

struct zk_session_config {
    uv_loop_t *loop;
    const char *endpoints;       /* "host:port,host:port" */
    const char *chroot;          /* NULL or "/path": stands before every path of this session */
    uint32_t session_timeout_ms; /* asked for; the server may change it */
    const char
        *digest; /* "user:password" or NULL. What is created is then world-readable and all else is its creator's */
    struct stats *stats; /* zk_connection_state_*; may be NULL */
};

/* Strings are copied. Events begin after the call. ERR_INVALID: endpoints can't be parsed. */
int zk_session_new(const struct zk_session_config *c, struct zk_session **ret);
/* Ends the session; while connected its ephemerals vanish at once. No listener or request callback runs after the call.
 * Then cb. */
void zk_session_close(struct zk_session *z, void (*cb)(void *arg), void *arg);

/* Events to any number of listeners, in order of registration. */
struct zk_listener;
struct zk_listener *zk_listen(struct zk_session *z, void (*fn)(enum zk_event ev, void *arg), void *arg);
void zk_unlisten(struct zk_listener *l);

bool zk_connected(const struct zk_session *z);
uv_loop_t *zk_loop(const struct zk_session *z);
int64_t zk_session_id(const struct zk_session *z);          /* 0 before the first connection */
uint32_t zk_session_timeout_ms(const struct zk_session *z); /* negotiated; before that, asked for */

/* How long the session is sure to last if nothing more is heard of a server: the rest of its time-out since the last
 * sign of life. By the loop's time. */
uint64_t zk_session_left_ms(const struct zk_session *z);

struct zk_result {
    int err; /* 0, ERR_NOT_FOUND, ERR_EXISTS, ERR_REJECTED (set: the data have another version by now), ERR_REFUSED (no
              * permission), ERR_IO, or ERR_CLOSED (connection or session lost, outcome unknown) */
    struct str path;         /* create: the name that was made */
    struct str data;         /* get */
    int64_t owner;           /* get: session of an ephemeral, else 0 */
    int32_t version;         /* get: of the data; set: the new one */
    const struct str *names; /* children, in no order */
    uint32_t n_names;
};
typedef void (*zk_cb)(const struct zk_result *r, void *arg);

/* Requests. cb runs exactly once, later, and its data is good until it returns; but if the call itself fails
 * (ERR_CLOSED: not connected), never. A request may outlive its user: cancel with zk_forget(). */
enum zk_create_flags { ZK_PERSISTENT = 0, ZK_EPHEMERAL_NODE = 1, ZK_SEQUENTIAL = 2 };
int zk_create(struct zk_session *z, const char *path, struct str data, int flags, zk_cb cb, void *arg);
int zk_delete(struct zk_session *z, const char *path, zk_cb cb, void *arg);
int zk_get(struct zk_session *z, const char *path, zk_cb cb, void *arg);
int zk_children(struct zk_session *z, const char *path, zk_cb cb, void *arg);
/* Replaces the data, if they have this version (of zk_result). */
int zk_set(struct zk_session *z, const char *path, struct str data, int32_t version, zk_cb cb, void *arg);
/* Watching forms: `changed` runs at most once, with arg, when what was read changes; never after the session is lost.
 */
int zk_get_watch(struct zk_session *z, const char *path, void (*changed)(void *arg), zk_cb cb, void *arg);
int zk_children_watch(struct zk_session *z, const char *path, void (*changed)(void *arg), zk_cb cb, void *arg);
/* Makes the path and all its parents as empty persistent nodes; those that exist are fine, also where we may not create
 * any. */
int zk_ensure_path(struct zk_session *z, const char *path, zk_cb cb, void *arg);
/* For people, after ERR_REFUSED: what could not be done with the path, and where to look. */
void zk_refusal(const struct zk_session *z, const char *what, const char *path, struct buf *out);
/* No callback with this arg runs any more: requests and watches under way are forgotten. */
void zk_forget(struct zk_session *z, void *arg);

#endif
