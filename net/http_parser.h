/* One direction of one HTTP connection as a pure function of its bytes: no socket, no clock, no callback. The server,
 * the client and the fuzzers feed it. It wraps llhttp and adds the limits of core/limits.h. */
#ifndef AURORA_NET_HTTP_PARSER_H
#define AURORA_NET_HTTP_PARSER_H

#include "net/http.h"

#include <llhttp.h>

/* A message; its memory can be used for one after the other. Zero-initialised is empty and valid. The strs point into
 * `head` and `body` and are good once the message is complete. */
struct http_msg {
    struct buf head; /* target, names and values, each with a NUL behind */
    struct buf body;
    struct http_header *headers;
    uint32_t n_headers, cap_headers;
    struct str method, target, path, query; /* of a request */
    int status;                             /* of a response */
    uint8_t minor;
    bool keep_alive;
};

/* Empties; large memory is given back. */
void http_msg_reset(struct http_msg *m);
void http_msg_release(struct http_msg *m);

enum http_parse {
    HTTP_PARSE_MORE, /* all bytes are used, the message goes on */
    HTTP_PARSE_DONE, /* the message is complete; the bytes behind it are not used */
    HTTP_PARSE_BAD   /* error_status says what to answer; stays so */
};

struct http_parser {
    llhttp_t ll;
    struct http_msg *msg;
    size_t max_body;
    size_t raw_bytes;  /* fed while the head was not complete */
    size_t head_bytes; /* request line and headers in their shortest form, trailers included */
    int error_status;  /* 400, 413, 414, 431, 505 */
    bool line_done;    /* the request line was read */
    bool field_begun;  /* a header name was begun */
    bool value_open;   /* the last header's value may still grow */
    bool headers_done;
    bool done;
    bool no_body;          /* response to a HEAD */
    bool expects_continue; /* the head is complete, asks for 100 Continue, and no byte of the body has come yet */
    char last_byte;
};

/* For requests (HTTP_REQUEST) or responses (HTTP_RESPONSE) with at most max_body bytes of body. */
void http_parser_init(struct http_parser *p, llhttp_type_t type, size_t max_body);
/* Begins the next message, into m. no_body: the response to a HEAD. */
void http_parser_begin(struct http_parser *p, struct http_msg *m, bool no_body);
/* *ret_used <= n bytes were used. */
enum http_parse http_parser_feed(struct http_parser *p, const char *data, size_t n, size_t *ret_used);
/* The peer has closed its side: DONE for a response that ends so, BAD inside any other message, MORE between messages.
 */
enum http_parse http_parser_eof(struct http_parser *p);
/* Exactly the line of an HTTP/1.0 request was read, and nothing of a header or of the blank line. */
bool http_parser_is_bare(const struct http_parser *p);

/* The last of these headers of that name, or unset. */
struct str http_header_find(const struct http_header *headers, uint32_t n, const char *name);

#endif
