/* HTTP/1.0 and 1.1 on the loop: a server and a client, parsed by llhttp.
 *
 * Server: one handler per complete request. A request may be answered at once or later, in any order; answers
 * leave in request order (pipelining). A slow reader is not read from while more than LIMIT_HTTP_OUT_BYTES or
 * LIMIT_HTTP_PIPELINE requests are unanswered. Limits of core/limits.h: 431 for headers, 414 for the URL, 413 for the
 * body, 408 for a request that is not complete in time, 400 for bad syntax, 505 for HTTP/2, 503 beyond the connection
 * cap; each closes the connection. Expect: 100-continue, HEAD, chunked bodies and Connection are handled here. A peer
 * that half-closes still gets its answers. Any callback may answer any request and may close the server. */
#ifndef AURORA_NET_HTTP_H
#define AURORA_NET_HTTP_H

#include "core/buf.h"
#include "core/stats.h"
#include "core/str.h"

#include <uv.h>

struct http_server;
struct http_conn;

struct http_header {
    struct str name, value;
};

/* A complete request. Memory is the server's and lasts until the request is answered. */
struct http_request {
    struct http_conn *conn;
    struct str method; /* "GET" */
    struct str target; /* as sent: "/a%20b?x=1" */
    struct str path;   /* target up to '?', not decoded */
    struct str query;  /* behind '?', unset without one */
    struct http_header *headers;
    uint32_t n_headers;
    struct str body;       /* "" without one */
    uint8_t version_minor; /* HTTP/1.x */
    bool keep_alive;
    struct sockaddr_storage peer;
    uint64_t id; /* unique in this server; http_find() */
    void *user;  /* the handler's; NULL at first */
};

/* The last header of that name (case-insensitive) or unset. */
struct str http_request_header(const struct http_request *r, const char *name);

struct http_server_config {
    size_t max_body_bytes;    /* 0: LIMIT_HTTP_BODY_BYTES */
    uint32_t max_connections; /* 0: LIMIT_HTTP_CONNECTIONS */
    /* Between requests, and without progress while an answer is being written; 0: LIMIT_HTTP_IDLE_MS; UINT64_MAX: never
     * (libprocess). */
    uint64_t idle_ms;
    uint64_t request_ms;  /* from first to last byte of a request; 0: LIMIT_HTTP_REQUEST_MS; UINT64_MAX: never */
    size_t max_out_bytes; /* answers that wait for one reader; 0: LIMIT_HTTP_OUT_BYTES */
    bool silent_errors;   /* close on bad input without an answer, as libprocess does */
    struct stats *stats;  /* may be NULL; timers `http_<status>_responses` in nanos */
    /* A request line of HTTP/1.0 that is followed by silence (for this long) or a half-close instead of the blank line
     * is answered all the same: monit's documented probe does that. 0: off. */
    uint64_t bare_request_ms;
    /* Called for every complete request. Must lead to exactly one http_respond(). */
    void (*on_request)(struct http_request *r, void *arg);
    /* The connection ended before the answer: the request must not be used any more. May be NULL only if every
     * request is answered inside on_request. */
    void (*on_abandoned)(struct http_request *r, void *arg);
    /* A streamed answer whose waiting bytes had reached LIMIT_HTTP_STREAM_BYTES has been written out. May be NULL. */
    void (*on_drain)(struct http_request *r, void *arg);
    /* May be NULL. Every accepted connection that ended, for whatever reason. */
    void (*on_close)(struct http_conn *c, void *arg);
    void *arg;
};

/* Makes a server that does not listen yet. config is copied. */
int http_server_new(uv_loop_t *loop, const struct http_server_config *config, struct http_server **ret);
/* ip: IPv4 or IPv6 literal; port 0 = any. Can be called once. ERR_BUSY: address in use; ERR_INVALID; ERR_IO. */
int http_server_listen(struct http_server *s, const char *ip, uint16_t port);
uint16_t http_server_port(const struct http_server *s);
/* Stops listening, drops all connections; then calls cb, after which the server is freed. */
void http_server_close(struct http_server *s, void (*cb)(void *arg), void *arg);

/* Answers the request. headers: extra ones, copied; Date, Content-Length, Connection are added here; content_type may
 * be NULL. body is copied; for HEAD it is counted, not sent. After it the request is gone. */
void http_respond(struct http_request *r, int status, const char *content_type, const struct http_header *headers,
                  uint32_t n_headers, const void *body, size_t body_len);
/* The same, taking over the buffer (which becomes empty). */
void http_respond_buf(struct http_request *r, int status, const char *content_type, const struct http_header *headers,
                      uint32_t n_headers, struct buf *body);
/* No answer at all for this request (libprocess peers of old versions); the connection goes on. */
void http_respond_nothing(struct http_request *r);

/* A streamed answer, for bodies that are made bit by bit: begin, any number of writes, end. Chunked to HTTP/1.1, ended
 * by the close of the connection to HTTP/1.0. The request lives until http_stream_end() or on_abandoned. */
void http_stream_begin(struct http_request *r, int status, const char *content_type, const struct http_header *headers,
                       uint32_t n_headers);
/* Takes over the buffer's bytes (it becomes empty). False: LIMIT_HTTP_STREAM_BYTES or more wait now; better go on after
 * on_drain. */
bool http_stream_write(struct http_request *r, struct buf *part);
void http_stream_end(struct http_request *r);

/* The unanswered request of that id or NULL. Not for requests that are in on_request just now. */
struct http_request *http_find(struct http_server *s, uint64_t id);
const char *http_status_text(int status);

/* ---------------- client ---------------- */

/* One request over a connection of its own or a kept one, caller-owned. Errors: ERR_REFUSED, ERR_TIMEOUT, ERR_CLOSED
 * (cancelled, or the peer closed before its answer was complete), ERR_MALFORMED, ERR_TOO_BIG (the answer), ERR_IO. Only
 * methods that can be repeated safely go over a kept connection; such a call is repeated once, over a new one, if the
 * kept one turns out dead. */
struct http_call {
    /* set by the caller */
    void *data;
    void (*cb)(struct http_call *c, int err); /* once, later; err 0: the answer's fields are good until it returns */
    const char *ip;                           /* IPv4 or IPv6 literal */
    uint16_t port;
    const char *method;
    const char *target;
    const struct http_header *headers;
    uint32_t n_headers;
    struct str body;
    uint64_t timeout_ms;   /* whole call; 0 = 30 s */
    size_t max_body_bytes; /* of the answer; 0: LIMIT_HTTP_BODY_BYTES */
    /* the answer */
    int status;
    struct http_header *ret_headers;
    uint32_t n_ret_headers;
    struct str ret_body;
    /* internal */
    void *impl;
};

struct http_client;
int http_client_new(uv_loop_t *loop, struct http_client **ret);
/* Starts; a failing start calls nothing back. What the caller set must stay until cb. Idle connections are kept and
 * used again, per address. */
int http_client_call(struct http_client *hc, struct http_call *call);
/* Calls cb with ERR_CLOSED, before it returns. */
void http_client_cancel(struct http_call *call);
/* Cancels all calls; then cb, after which the client is freed. */
void http_client_close(struct http_client *hc, void (*cb)(void *arg), void *arg);

/* ---------------- small helpers ---------------- */

/* Percent-decodes into out (appended). ERR_MALFORMED for a bad escape. plus: '+' is a blank (query strings). */
int url_decode(struct str in, struct buf *out, bool plus);
/* The decoded value of a query parameter into out; ERR_NOT_FOUND. */
int query_param(struct str query, const char *name, struct buf *out);

#endif
