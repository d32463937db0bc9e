#include "net/http_server.h"

#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>

/* A body up to this size is copied behind its headers; a longer one is written from where it is. */
enum { COPIED_BODY_BYTES = 8 << 10 };

const char *http_status_text(int status)
{
    static const char *const texts[600] = {
        [100] = "Continue",
        [200] = "OK",
        [201] = "Created",
        [202] = "Accepted",
        [204] = "No Content",
        [206] = "Partial Content",
        [301] = "Moved Permanently",
        [302] = "Found",
        [303] = "See Other",
        [304] = "Not Modified",
        [307] = "Temporary Redirect",
        [308] = "Permanent Redirect",
        [400] = "Bad Request",
        [401] = "Unauthorized",
        [403] = "Forbidden",
        [404] = "Not Found",
        [405] = "Method Not Allowed",
        [406] = "Not Acceptable",
        [408] = "Request Timeout",
        [409] = "Conflict",
        [411] = "Length Required",
        [413] = "Payload Too Large",
        [414] = "URI Too Long",
        [415] = "Unsupported Media Type",
        [416] = "Range Not Satisfiable",
        [422] = "Unprocessable Entity",
        [429] = "Too Many Requests",
        [431] = "Request Header Fields Too Large",
        [500] = "Internal Server Error",
        [501] = "Not Implemented",
        [502] = "Bad Gateway",
        [503] = "Service Unavailable",
        [504] = "Gateway Timeout",
        [505] = "HTTP Version Not Supported",
    };
    const char *text = status >= 100 && status < 600 ? texts[status] : NULL;
    return text ? text : "Unknown";
}

struct str http_request_header(const struct http_request *r, const char *name)
{
    return http_header_find(r->headers, r->n_headers, name);
}

/* ---- the head of an answer ---- */

static void add_number(struct buf *b, size_t n)
{
    char digits[24], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    buf_add(b, at, (size_t)(digits + sizeof digits - at));
}

/* Text that comes from handlers: nothing in it may end the line. */
static void add_text(struct buf *b, struct str s)
{
    size_t from = b->len;
    buf_add_str(b, s);
    for (size_t i = from; i < b->len; i++)
        if (b->data[i] < 0x20 && b->data[i] != '\t') b->data[i] = ' ';
}

static void add_header(struct buf *b, const char *name, struct str value)
{
    add_text(b, str_c(name));
    buf_add(b, ": ", 2);
    add_text(b, value);
    buf_add(b, "\r\n", 2);
}

static void add_connection(struct buf *b, const struct request *r)
{
    if (r->close_after)
        buf_adds(b, "Connection: close\r\n");
    else if (!r->pub.version_minor)
        buf_adds(b, "Connection: keep-alive\r\n");
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

/* All but the framing of the body and the blank line. */
static void add_head(struct buf *b, struct request *r, int status, const char *content_type,
                     const struct http_header *headers, uint32_t n_headers)
{
    struct http_server *s = r->pub.conn->server;
    buf_reserve(b, 256);
    buf_adds(b, "HTTP/1.1 ");
    add_number(b, (size_t)status);
    buf_addc(b, ' ');
    buf_adds(b, http_status_text(status));
    buf_adds(b, "\r\nDate: ");
    buf_adds(b, server_date(s));
    buf_add(b, "\r\n", 2);
    if (content_type) add_header(b, "Content-Type", str_c(content_type));
    for (uint32_t i = 0; i < n_headers; i++) add_header(b, headers[i].name.p, headers[i].value);
    server_count(s, status, r->start_ns);
}

static void add_length(struct buf *b, size_t n)
{
    buf_adds(b, "Content-Length: ");
    add_number(b, n);
    buf_add(b, "\r\n", 2);
}

/* ---- whose turn it is ---- */

static bool is_turn(const struct request *r)
{
    return r->pub.conn->requests == r && !r->pub.conn->cut;
}

/* Where the bytes of r's answer go. */
static struct buf *out_of(struct request *r)
{
    return is_turn(r) ? &r->pub.conn->out : &r->held;
}

/* Keeps the sum of what is held up to date. */
static void account(struct request *r)
{
    size_t now = r->held.len + r->held_body.len;
    r->pub.conn->held_bytes += now - r->accounted;
    r->accounted = now;
}

static void remove_first(struct http_conn *c)
{
    struct request *r = c->requests;
    bool close_after = r->close_after;
    if (c->dispatching == r) c->dispatching = NULL;
    DL_DELETE(c->requests, r);
    c->n_requests--;
    if (close_after && c->requests) c->cut = true;
    server_request_free(c->server, r);
}

static void emit_held(struct request *r)
{
    struct http_conn *c = r->pub.conn;
    buf_add(&c->out, r->held.data, r->held.len);
    buf_release(&r->held);
    if (r->held_body.len) conn_write_body(c, &r->held_body);
    account(r);
}

void conn_advance(struct http_conn *c)
{
    while (c->requests && !c->cut) {
        emit_held(c->requests);
        if (c->requests->state != REQUEST_ANSWERED) break;
        remove_first(c);
    }
}

/* The answer is complete in out_of(r), but for a body that may follow. */
static void complete(struct request *r, struct buf *body)
{
    struct http_conn *c = r->pub.conn;
    if (r->findable) {
        HASH_DEL(c->server->by_id, r);
        r->findable = false;
    }
    if (c->dispatching == r) c->dispatching = NULL;
    r->state = REQUEST_ANSWERED;
    if (!is_turn(r)) {
        if (body) r->held_body = *body;
        if (body) *body = (struct buf){ 0 };
        account(r);
        return;
    }
    if (body) conn_write_body(c, body);
    remove_first(c);
    conn_advance(c);
    conn_flush(c);
    if (!c->corked) server_later(c->server, c);
}

/* ---- what handlers call ---- */

static struct request *open_request(struct http_request *pub)
{
    struct request *r = (struct request *)pub;
    assert(r->state == REQUEST_OPEN);
    return r;
}

static void add_whole_head(struct request *r, int status, const char *content_type, const struct http_header *headers,
                           uint32_t n_headers, size_t body_len)
{
    struct buf *b = out_of(r);
    add_head(b, r, status, content_type, headers, n_headers);
    if (status_has_body(status)) add_length(b, body_len);
    add_connection(b, r);
    buf_add(b, "\r\n", 2);
}

void http_respond(struct http_request *pub, int status, const char *content_type, const struct http_header *headers,
                  uint32_t n_headers, const void *body, size_t body_len)
{
    struct request *r = open_request(pub);
    add_whole_head(r, status, content_type, headers, n_headers, body_len);
    if (!r->is_head && status_has_body(status)) buf_add(out_of(r), body, body_len);
    complete(r, NULL);
}

void http_respond_buf(struct http_request *pub, int status, const char *content_type, const struct http_header *headers,
                      uint32_t n_headers, struct buf *body)
{
    struct request *r = open_request(pub);
    bool small = body->len <= COPIED_BODY_BYTES || r->is_head || !status_has_body(status);
    if (small) {
        http_respond(pub, status, content_type, headers, n_headers, body->data, body->len);
        buf_release(body);
        return;
    }
    add_whole_head(r, status, content_type, headers, n_headers, body->len);
    complete(r, body);
}

void http_respond_nothing(struct http_request *pub)
{
    complete(open_request(pub), NULL);
}

void http_stream_begin(struct http_request *pub, int status, const char *content_type,
                       const struct http_header *headers, uint32_t n_headers)
{
    struct request *r = open_request(pub);
    struct http_conn *c = pub->conn;
    r->is_chunked = pub->version_minor >= 1 && status_has_body(status);
    if (!r->is_chunked && status_has_body(status)) r->close_after = c->last = true;
    r->state = REQUEST_STREAMING;
    struct buf *b = out_of(r);
    add_head(b, r, status, content_type, headers, n_headers);
    if (r->is_chunked) buf_adds(b, "Transfer-Encoding: chunked\r\n");
    add_connection(b, r);
    buf_add(b, "\r\n", 2);
    account(r);
    conn_flush(c);
}

bool http_stream_write(struct http_request *pub, struct buf *part)
{
    struct request *r = (struct request *)pub;
    struct http_conn *c = pub->conn;
    assert(r->state == REQUEST_STREAMING);
    if (part->len && !r->is_head) {
        struct buf *b = out_of(r);
        if (r->is_chunked) buf_addf(b, "%zx\r\n", part->len);
        buf_add(b, part->data, part->len);
        if (r->is_chunked) buf_add(b, "\r\n", 2);
    }
    buf_release(part);
    account(r);
    conn_flush(c);
    if (c->broken) server_later(c->server, c);
    r->drain_wanted = (is_turn(r) ? conn_out_bytes(c) : r->held.len) >= LIMIT_HTTP_STREAM_BYTES;
    return !r->drain_wanted;
}

void http_stream_end(struct http_request *pub)
{
    struct request *r = (struct request *)pub;
    assert(r->state == REQUEST_STREAMING);
    if (r->is_chunked && !r->is_head) buf_adds(out_of(r), "0\r\n\r\n");
    complete(r, NULL);
}

void conn_refuse(struct http_conn *c, int status)
{
    struct buf text = { 0 };
    c->last = true;
    if (c->server->cfg.silent_errors) return;
    struct request *r = server_request_new(c->server);
    r->pub.conn = c;
    r->pub.version_minor = 1;
    r->close_after = true;
    r->start_ns = c->server->cfg.stats ? uv_hrtime() : 0;
    DL_APPEND(c->requests, r);
    c->n_requests++;
    buf_addf(&text, "%d %s\n", status, http_status_text(status));
    http_respond_buf(&r->pub, status, "text/plain;charset=utf-8", NULL, 0, &text);
}
