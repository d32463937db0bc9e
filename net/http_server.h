/* Inside the HTTP server: what its files share. Nobody else includes this.
 *
 *   http_server.c  listening, accepting, time-outs, closing
 *   http_conn.c    one connection: bytes in, requests out to the handler, bytes out
 *   http_answer.c  what the handlers call
 *
 * No function that a handler calls calls a handler back (http_server_close() alone calls on_abandoned): what an answer
 * makes possible (the next stashed request, the end of the connection) happens in a later pass of the loop. */
#ifndef AURORA_NET_HTTP_SERVER_H
#define AURORA_NET_HTTP_SERVER_H

#include "net/http.h"
#include "net/http_parser.h"

#include <uthash.h>
#include <utlist.h>

enum { READ_BUFFER_BYTES = 64 << 10, KEPT_REQUESTS = 64 };

/* What a connection waits for, each kind with a fixed time, so that a list in order of entry is a list in order of
 * expiry. */
enum http_wait {
    WAIT_NONE,    /* a handler */
    WAIT_IDLE,    /* the next request */
    WAIT_REQUEST, /* the rest of a request */
    WAIT_BARE,    /* a blank line that may never come */
    WAIT_WRITE,   /* a slow reader */
    WAIT_LINGER,  /* the peer's close after ours */
    WAIT_KINDS
};

enum request_state {
    REQUEST_OPEN,
    REQUEST_STREAMING, /* answer begun */
    REQUEST_ANSWERED   /* answer complete, but those of earlier requests are not */
};

struct request {
    struct http_request pub; /* first: handlers hold a pointer to it */
    struct http_msg msg;
    struct request *prev, *next; /* in http_conn.requests, or free */
    UT_hash_handle hh;           /* by pub.id, once on_request has returned */
    uint64_t start_ns;
    enum request_state state;
    bool findable;
    bool is_head;
    bool is_chunked;
    bool close_after;
    bool drain_wanted;
    struct buf held, held_body; /* the answer, while it is not its turn */
    size_t accounted;           /* of their bytes, in http_conn.held_bytes */
};

struct http_conn {
    uv_tcp_t tcp;
    struct http_server *server;
    struct http_conn *prev, *next;             /* in http_server.conns */
    struct http_conn *wait_prev, *wait_next;   /* in http_server.waiting[wait] */
    struct http_conn *later_prev, *later_next; /* in http_server.later */
    struct sockaddr_storage peer;
    struct http_parser parser;
    struct request *current;     /* being read */
    struct request *requests;    /* complete and not gone, in order of arrival */
    struct request *dispatching; /* the one that on_request has just now */
    uint32_t n_requests;
    struct buf stash;  /* read but not parsed: the peer is ahead of its answers */
    struct buf out;    /* waits for the end of this pass or of the write under way */
    size_t held_bytes; /* of all requests */
    uv_write_t write;  /* the one write under way */
    struct buf writing[2];
    uv_shutdown_t shutdown;
    enum http_wait wait;
    uint64_t wait_since;
    size_t wait_mark; /* WAIT_WRITE: bytes that were waiting then */
    unsigned corked;  /* output is collected while > 0 */
    bool is_later;
    bool is_reading;
    bool had_turn; /* has read a full buffer in this pass: it goes on in the next */
    bool is_writing;
    bool got_eof;
    bool last;      /* no further request will be taken */
    bool cut;       /* an answer without a length was given: those to later requests have no place any more */
    bool broken;    /* writing has failed: answers are dropped, what was received is still handled */
    bool lingering; /* our side is shut; what still comes is dropped */
    bool closing;
};

struct http_server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t timer;
    uv_idle_t idle; /* runs while `later` is not empty */
    struct http_server_config cfg;
    struct http_conn *conns;
    uint32_t n_conns;
    struct http_conn *waiting[WAIT_KINDS];
    struct http_conn *later;
    unsigned n_later;
    struct request *by_id;
    struct request *kept; /* free requests with their memory */
    uint32_t n_kept;
    uint64_t next_id;
    uint64_t timer_due; /* loop time, UINT64_MAX: stopped */
    bool timer_polled;  /* it was due and now lets the loop poll once more */
    struct stat_timer *stats[600];
    char date[40];
    int64_t date_sec;
    uint16_t port;
    bool listening;
    bool closing;
    unsigned n_handles;
    void (*close_cb)(void *arg);
    void *close_arg;
    char read_buffer[READ_BUFFER_BYTES];
};

/* ---- http_server.c ---- */
/* Has the connection looked at (conn_update) in the loop's next pass. */
void server_later(struct http_server *s, struct http_conn *c);
void server_not_later(struct http_server *s, struct http_conn *c);
/* The connection waits for this from now on. */
void server_wait(struct http_conn *c, enum http_wait wait);
struct request *server_request_new(struct http_server *s);
void server_request_free(struct http_server *s, struct request *r);
/* A handle of the server was closed; the last one frees the server. */
void server_handle_closed(struct http_server *s);
void server_count(struct http_server *s, int status, uint64_t start_ns);
const char *server_date(struct http_server *s);

/* ---- http_conn.c ---- */
void conn_accept(struct http_server *s);
/* Drops everything that waits, calls on_abandoned for unanswered requests, and closes. Idempotent. */
void conn_close(struct http_conn *c);
/* Does what the state allows: parse on, read or not, close, wait. Calls handlers. */
void conn_update(struct http_conn *c);
/* Writes what is collected. Calls no handler. */
void conn_flush(struct http_conn *c);
/* Collects or writes the body after what is collected; the buffer becomes empty. */
void conn_write_body(struct http_conn *c, struct buf *body);
size_t conn_out_bytes(const struct http_conn *c);
/* The time of the connection's wait is over. */
void conn_expired(struct http_conn *c);

/* ---- http_answer.c ---- */
/* Sends what the first requests hold as far as it is their turn. */
void conn_advance(struct http_conn *c);
/* Answers in the place of a handler, behind all earlier requests, and closes. */
void conn_refuse(struct http_conn *c, int status);

#endif
