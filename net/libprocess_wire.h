/* libprocess messages as HTTP requests: pure text in, text out. */
#ifndef AURORA_NET_LIBPROCESS_WIRE_H
#define AURORA_NET_LIBPROCESS_WIRE_H

#include "net/http.h"
#include "net/libprocess.h"

struct lp_message {
    struct upid from; /* the null pid if it did not parse */
    char to[UPID_ID_MAX + 1];
    struct str name;   /* in the request's path */
    bool wants_answer; /* senders that do not say Libprocess-From take an answer for an error */
};

enum lp_kind {
    LP_MESSAGE,
    LP_NO_MESSAGE, /* an ordinary HTTP request */
    LP_BAD_PATH,   /* 400 */
    LP_BAD_ID,     /* 500: a broken escape */
    LP_LONG_ID     /* 404: nobody has such an id */
};

/* Everything but `to` and `name` is set whenever it is not LP_NO_MESSAGE. */
enum lp_kind lp_decode(const struct http_request *r, struct lp_message *ret);
/* Appends one complete request. from: the sender's text. */
void lp_encode(struct buf *out, const char *from, const struct upid *to, const char *name, const void *body, size_t n);
/* The id can be part of a request line. */
bool lp_id_sendable(const char *id);

#endif
