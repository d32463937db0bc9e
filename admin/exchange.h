/* A request and its answer: compressed if the client takes that, made on libuv's pool if it is large, dropped if the
 * client has gone meanwhile. */
#ifndef AURORA_ADMIN_EXCHANGE_H
#define AURORA_ADMIN_EXCHANGE_H

#include "admin/rpc.h"
#include "net/http.h"

#include <uv.h>

/* Shorter bodies are not worth compressing. */
#define GZIP_MIN_BYTES 256

struct exchange {
    struct http_request *request; /* NULL: the client has gone */
    struct rpc_answer answer;
    const struct http_header *headers; /* extra ones; must stay until it is sent */
    uint32_t n_headers;
    /* Set by the owner of the memory around it: called once, behind the answer. */
    void (*free)(struct exchange *x);
    /* internal */
    uv_loop_t *loop;
    bool gzip, gzipped;
    void (*work)(struct exchange *x);
    void (*done)(struct exchange *x);
    uv_work_t req;
};

/* From here on the request is answered by exchange_send(), exactly once. x: zeroed, with free and headers set. */
void exchange_begin(struct exchange *x, struct http_request *r, uv_loop_t *loop);
/* For http_server_config.on_abandoned. */
void exchange_abandoned(struct http_request *r, void *arg);
/* Sends x->answer; may take a while. Then x->free. */
void exchange_send(struct exchange *x);
/* Runs work on the pool, where it must touch only what nobody changes, then done on the loop. */
void exchange_offload(struct exchange *x, void (*work)(struct exchange *x), void (*done)(struct exchange *x));

/* An answer made at once; takes the body over. */
void exchange_reply(struct http_request *r, int status, const char *content_type, const struct http_header *headers,
                    uint32_t n_headers, struct buf *body, uv_loop_t *loop);
/* The same as an exchange of its own, which the caller sends. */
struct exchange *exchange_new(struct http_request *r, int status, const char *content_type, struct buf *body,
                              uv_loop_t *loop);
void exchange_reply_text(struct http_request *r, int status, const char *text);

/* Whether an Accept-Encoding takes gzip. */
bool accepts_gzip(struct str accept_encoding);
/* Replaces the content by its gzip form; false, with nothing changed, if that would not be smaller. */
bool gzip_buf(struct buf *b);

#endif
