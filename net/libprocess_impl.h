/* Inside libprocess: what its files share. Nobody else includes this.
 *
 *   libprocess.c       processes, what is received, what is local, closing
 *   libprocess_peer.c  outgoing connections and links
 *   libprocess_wire.c  the form of a message
 *
 * Callbacks run from the loop only, never from within a call of a process. What a call sets off (an exit, a local
 * message, the bytes of a send) is done by the pump, an idle handle that runs while there is something to do, so that
 * all sends of one pass of the loop to one peer leave in one write. */
#ifndef AURORA_NET_LIBPROCESS_IMPL_H
#define AURORA_NET_LIBPROCESS_IMPL_H

#include "net/http.h"
#include "net/libprocess.h"
#include "net/libprocess_wire.h"

#include <uthash.h>
#include <utlist.h>

enum { DISCARD_BYTES = 64 << 10 };

/* One process's interest in one pid. */
struct lp_link {
    struct lp_process *process;
    struct upid to;
    struct lp_peer *peer;            /* NULL: one of our own processes */
    struct lp_link *prev, *next;     /* in peer->links or libprocess.local_links */
    struct lp_link *p_prev, *p_next; /* in process->links */
};

struct lp_process {
    struct libprocess *lp;
    struct upid self;
    char self_text[UPID_TEXT_MAX];
    struct lp_handlers handlers;
    struct lp_link *links;
    uint64_t serial;   /* ids can come again */
    UT_hash_handle hh; /* by self.id */
    struct lp_process *next_dead;
};

/* A remote address with at least one of: a connection, waiting bytes, links. */
struct lp_peer {
    struct libprocess *lp;
    uint64_t key;
    struct sockaddr_in addr;
    struct lp_conn *conn; /* NULL only while it is failing or not begun */
    struct buf out;       /* whole messages that were not given to conn yet */
    struct lp_link *links;
    struct lp_peer *prev, *next; /* in libprocess.dirty */
    bool is_dirty;
    bool failing; /* the pump will end it */
    UT_hash_handle hh;
};

/* One outgoing connection. Its owner is the loop: it is freed when its two handles are closed. */
struct lp_conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* bounds the connect, later the retirement */
    struct libprocess *lp;
    struct lp_peer *peer; /* NULL: retired */
    struct lp_conn *prev, *next;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct buf writing;
    bool connected, is_writing, closing;
    unsigned n_handles;
};

/* Something for one of our own processes, from one of our own. */
struct lp_local {
    struct lp_local *prev, *next;
    bool is_exit;
    struct upid from; /* of an exit: who has ended */
    char to[UPID_ID_MAX + 1];
    uint64_t to_serial; /* of an exit */
    char *name;
    uint8_t *body;
    size_t n;
};

struct libprocess {
    struct libprocess_config cfg;
    uv_loop_t *loop;
    struct http_server *server;
    uv_idle_t pump;
    uint32_t ip; /* advertised, network order */
    uint16_t port;
    struct lp_process *processes, *dead;
    struct lp_link *local_links;
    struct lp_counter *counters;
    struct lp_peer *peers;
    struct lp_peer *dirty;
    unsigned n_dirty;
    struct lp_conn *conns;
    struct lp_local *local;
    unsigned n_local;
    size_t local_bytes;
    uint64_t next_serial;
    void (*on_http)(struct http_request *r, void *arg);
    void (*on_http_abandoned)(struct http_request *r, void *arg);
    void *on_http_arg;
    struct stat *sent, *received, *unknown, *dropped, *exits;
    bool closing;
    unsigned n_handles;
    void (*close_cb)(void *arg);
    void *close_arg;
    char discard[DISCARD_BYTES];
};

/* ---- libprocess.c ---- */
void lp_kick(struct libprocess *lp);
void lp_handle_closed(struct libprocess *lp);
void lp_count(struct stat *st);

/* ---- libprocess_peer.c ---- */
/* The peer of that address, made and connecting if need be. ERR_FULL. */
int peer_get(struct libprocess *lp, uint32_t ip, uint16_t port, struct lp_peer **ret);
/* Has the pump look at it. */
void peer_touch(struct lp_peer *p);
/* Called by the pump for a peer that was touched: writes, or ends it. Calls on_exited. */
void peer_pump(struct lp_peer *p);
/* Drops all that waits and the links (with on_exited unless libprocess is closing), closes, frees. */
void peer_end(struct lp_peer *p);
/* A new connection in the place of the present one. */
void peer_reconnect(struct lp_peer *p);
size_t peer_waiting(const struct lp_peer *p);
void conn_end(struct lp_conn *c);
void link_drop(struct lp_link *l);

#endif
