/* The libprocess message transport (reference: libprocess): named processes on one listening port that send each
 * other one-way messages, at most once, in order per connection.
 *
 * One outgoing connection per remote ip:port, kept open; a failure drops what was queued and fires the exit
 * of every link to that address. Messages to our own address are delivered in-process, asynchronously, in order. */
#ifndef AURORA_NET_LIBPROCESS_H
#define AURORA_NET_LIBPROCESS_H

#include "core/stats.h"
#include "core/str.h"

#include <uv.h>

enum { UPID_ID_MAX = 255, UPID_TEXT_MAX = 300 };

/* A process id, id@ip:port. IPv4 only, as on the wire. */
struct upid {
    char id[UPID_ID_MAX + 1];
    uint32_t ip; /* network byte order */
    uint16_t port;
};

/* Parses "id@1.2.3.4:5050". Numeric addresses only: names are resolved by who configures them. ERR_MALFORMED. */
int upid_parse(struct str text, struct upid *ret);
/* Writes the text and returns out. */
const char *upid_text(const struct upid *u, char out[UPID_TEXT_MAX]);
bool upid_eq(const struct upid *a, const struct upid *b);
/* id non-empty, ip and port not 0. */
bool upid_valid(const struct upid *u);

struct libprocess;
struct lp_process;

struct libprocess_config {
    uv_loop_t *loop;
    const char *ip;           /* bind; "0.0.0.0" allowed */
    uint16_t port;            /* 0 = any */
    const char *advertise_ip; /* NULL: ip, or for 0.0.0.0 the first IPv4 of the host name, else 127.0.0.1 */
    uint16_t advertise_port;  /* 0: the bound one */
    bool require_peer_address_ip_match;
    uint64_t connect_timeout_ms; /* 0: LIMIT_LIBPROCESS_CONNECT_MS */
    size_t max_body_bytes;       /* of a received message; 0: LIMIT_LIBPROCESS_BODY_BYTES */
    size_t max_out_bytes;        /* that may wait for one peer; 0: LIMIT_LIBPROCESS_OUT_BYTES */
    struct stats *stats;         /* may be NULL */
};

/* Listens at once. ERR_BUSY: address in use; ERR_INVALID: an address that is no IPv4 literal or not ours; ERR_IO. */
int libprocess_new(const struct libprocess_config *c, struct libprocess **ret);
/* Closes everything; no callback of any process runs after this call; then cb. Processes that were not terminated are
 * freed with it. */
void libprocess_close(struct libprocess *lp, void (*cb)(void *arg), void *arg);
uint16_t libprocess_port(const struct libprocess *lp);

/* What a process gets. `name` is the message's full type name. from: the null pid (id "", ip 0, port 0) if it did not
 * parse. */
struct lp_handlers {
    void (*on_message)(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg);
    /* A linked peer's connection broke; the link is gone. May be NULL. */
    void (*on_exited)(struct lp_process *p, const struct upid *peer, void *arg);
    void *arg;
};

/* id is copied; ERR_EXISTS. */
int lp_spawn(struct libprocess *lp, const char *id, const struct lp_handlers *h, struct lp_process **ret);
/* `prefix(N)` with N counting from 1 per prefix, as libprocess makes them. */
int lp_spawn_numbered(struct libprocess *lp, const char *prefix, const struct lp_handlers *h, struct lp_process **ret);
/* No callback runs for it any more; messages to it get 404. Safe inside its own callbacks. */
void lp_terminate(struct lp_process *p);
const struct upid *lp_self(const struct lp_process *p);

/* Queues a copy of the message; n may be 0. Fails silently like the original (at-most-once), also for an invalid `to`.
 * ERR_TOO_BIG: the body is over LIMIT_LIBPROCESS_BODY_BYTES. ERR_FULL: too much waits for this peer, whose connection
 * is then given up as if it had failed; or LIMIT_LIBPROCESS_PEERS. */
int lp_send(struct lp_process *p, const struct upid *to, const char *name, const void *body, size_t n);
/* Opens (or reuses) the connection to the peer's address and watches it: on_exited once if it fails or closes, never
 * inside this call. A peer of our own is watched until it terminates. */
void lp_link(struct lp_process *p, const struct upid *peer);
/* As lp_link, but over a new connection; the old one is closed without exit events. */
void lp_relink(struct lp_process *p, const struct upid *peer);

/* Requests on the port that are not messages: by default 404. */
struct http_request;
void libprocess_on_http(struct libprocess *lp, void (*fn)(struct http_request *r, void *arg), void *arg);
/* For those that are not answered at once (http_server_config.on_abandoned), with the same arg. */
void libprocess_on_http_abandoned(struct libprocess *lp, void (*fn)(struct http_request *r, void *arg));

#endif
