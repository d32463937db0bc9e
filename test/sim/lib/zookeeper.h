/* A ZooKeeper in one process: sessions, ephemeral and sequential nodes, watches of children. The client side is
 * zk/session.h as far as zk/election.c uses it, in the place of zk/session.c. Requests and answers of a session keep
 * their order, as on its connection; what is under way when that breaks is lost on one side or on both.
 *
 * The server expires a session whose host is cut off or stopped for longer than its time-out. The client notices by its
 * own clock, which does not run while the host is stopped: then it believes for too long. The server may also expire a
 * session out of the blue, and the client hear of it late. */
#ifndef AURORA_SIM_ZOOKEEPER_H
#define AURORA_SIM_ZOOKEEPER_H

#include "test/sim/lib/loop.h"
#include "zk/session.h"

#define SIM_SESSION_MS 4000

struct zookeeper;
struct zk_session;

struct zookeeper *zookeeper_new(struct world *w);
/* All sessions must have vanished, and the world have come to its end. */
void zookeeper_free(struct zookeeper *zk);
/* Of one message. */
void zookeeper_set_delay(struct zookeeper *zk, uint64_t max_us);

/* A client on this loop; connects by itself. */
struct zk_session *zookeeper_connect(struct zookeeper *zk, struct loop *loop);
/* The process is gone, without a word to the server: no callback any more, but zk_forget() and zk_unlisten() may still
 * come in this event. */
void zookeeper_vanish(struct zk_session *z);

/* The host can or can't reach the servers. */
void zookeeper_cut(struct zk_session *z, bool cut);
/* The loop has been stopped until its resume_us. */
void zookeeper_paused(struct zk_session *z);
/* The server ends the session now; the client hears of it after delay_us. */
void zookeeper_expire(struct zk_session *z, uint64_t delay_us);
/* Whether the client's present session lives on the server. */
bool zookeeper_is_alive(const struct zk_session *z);

#endif
