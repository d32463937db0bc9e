#include "net/http_parser.h"

#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

/* What a message may keep of its memory for the next one. */
enum { KEEP_HEAD_BYTES = 8 << 10, KEEP_BODY_BYTES = 64 << 10 };
/* A longer body than this gets its memory as it comes: a length is easily claimed. */
enum { TRUST_LENGTH_BYTES = 1 << 20 };

static void trim(struct buf *b, size_t keep)
{
    if (b->cap > keep) buf_release(b);
    buf_reset(b);
}

void http_msg_reset(struct http_msg *m)
{
    trim(&m->head, KEEP_HEAD_BYTES);
    trim(&m->body, KEEP_BODY_BYTES);
    *m = (struct http_msg){ .head = m->head, .body = m->body, .headers = m->headers, .cap_headers = m->cap_headers };
}

void http_msg_release(struct http_msg *m)
{
    buf_release(&m->head);
    buf_release(&m->body);
    free(m->headers);
    *m = (struct http_msg){ 0 };
}

static int fail(struct http_parser *p, int status)
{
    p->error_status = status;
    return HPE_USER;
}

static int grow_head(struct http_parser *p, size_t n)
{
    p->head_bytes += n;
    return p->head_bytes > LIMIT_HTTP_HEADER_BYTES ? fail(p, 431) : 0;
}

static int on_url(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = ll->data;
    if (p->msg->head.len + n > LIMIT_HTTP_URL_BYTES) return fail(p, 414);
    buf_add(&p->msg->head, at, n);
    return 0;
}

static int on_url_complete(llhttp_t *ll)
{
    struct http_parser *p = ll->data;
    p->msg->target.n = (uint32_t)p->msg->head.len;
    p->msg->method = str_c(llhttp_method_name(ll->method));
    buf_addc(&p->msg->head, 0);
    return grow_head(p, p->msg->method.n + strlen("  HTTP/1.1\r\n\r\n") + p->msg->target.n);
}

static int on_version_complete(llhttp_t *ll)
{
    struct http_parser *p = ll->data;
    if (ll->http_major != 1) return fail(p, ll->http_major == 2 ? 505 : 400);
    p->line_done = true;
    return 0;
}

/* Ends the value that is being read: trailing blanks are no part of it. */
static void close_value(struct http_parser *p)
{
    struct http_msg *m = p->msg;
    if (!p->value_open) return;
    struct str *v = &m->headers[m->n_headers - 1].value;
    while (v->n && (m->head.data[m->head.len - 1] == ' ' || m->head.data[m->head.len - 1] == '\t')) {
        v->n--;
        m->head.len--;
    }
    buf_addc(&m->head, 0);
    p->value_open = false;
}

static int open_header(struct http_parser *p)
{
    struct http_msg *m = p->msg;
    close_value(p);
    if (m->n_headers == LIMIT_HTTP_HEADERS) return fail(p, 431);
    if (m->n_headers == m->cap_headers) {
        m->cap_headers = m->cap_headers ? 2 * m->cap_headers : 8;
        m->headers = xrealloc(m->headers, m->cap_headers * sizeof *m->headers);
    }
    m->headers[m->n_headers++] = (struct http_header){ 0 };
    p->field_begun = true;
    return grow_head(p, strlen(": \r\n"));
}

/* Trailers are counted and dropped: they must not pass for headers. */
static int on_header_field(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = ll->data;
    if (p->headers_done) return grow_head(p, n);
    if (!p->field_begun) {
        int rv = open_header(p);
        if (rv) return rv;
    }
    buf_add(&p->msg->head, at, n);
    p->msg->headers[p->msg->n_headers - 1].name.n += (uint32_t)n;
    return grow_head(p, n);
}

static int on_header_field_complete(llhttp_t *ll)
{
    struct http_parser *p = ll->data;
    struct buf *b = &p->msg->head;
    if (p->headers_done || !p->field_begun) return 0;
    /* llhttp lets blanks pass; a proxy that reads such a name otherwise could be led astray. */
    uint32_t n = p->msg->headers[p->msg->n_headers - 1].name.n;
    if (!n || memchr(b->data + b->len - n, ' ', n)) return fail(p, 400);
    buf_addc(b, 0);
    p->field_begun = false;
    p->value_open = true;
    return 0;
}

static int on_header_value(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = ll->data;
    if (!p->headers_done && p->value_open) {
        buf_add(&p->msg->head, at, n);
        p->msg->headers[p->msg->n_headers - 1].value.n += (uint32_t)n;
    }
    return grow_head(p, n);
}

/* The path of the target, also of one in absolute form (http://host/path?query). A path that does not end where the
 * target does is copied, so that it too has its NUL. Returns its offset in `head`. */
static size_t find_path(struct http_msg *m)
{
    const char *at = (const char *)m->head.data, *end = at + m->target.n;
    if (m->target.n >= 7 && !strncasecmp(at, "http://", 7)) {
        at += 7;
        while (at < end && *at != '/' && *at != '?') at++;
    }
    const char *q = memchr(at, '?', (size_t)(end - at));
    size_t off = (size_t)(at - (const char *)m->head.data);
    m->path.n = (uint32_t)((q ? q : end) - at);
    if (!q) return off;
    m->query.n = (uint32_t)(end - q - 1);
    size_t copy = m->head.len;
    memcpy(buf_reserve(&m->head, m->path.n + 1), m->head.data + off, m->path.n);
    m->head.data[copy + m->path.n] = 0;
    buf_commit(&m->head, m->path.n + 1);
    return copy;
}

/* Now that `head` does not move any more, lengths become strs: the texts lie one behind the other. */
static void place_texts(struct http_msg *m)
{
    bool request = m->method.p;
    buf_reserve(&m->head, 1);
    size_t path = request ? find_path(m) : 0;
    const char *base = (const char *)m->head.data, *at = base;
    if (request) {
        m->target.p = at;
        at += m->target.n + 1;
        m->path.p = base + path;
        if (path > m->target.n) m->query.p = m->target.p + m->target.n - m->query.n;
    }
    for (uint32_t i = 0; i < m->n_headers; i++) {
        m->headers[i].name.p = at;
        at += m->headers[i].name.n + 1;
        m->headers[i].value.p = at;
        at += m->headers[i].value.n + 1;
    }
    assert(at == base + (path > m->target.n ? path : m->head.len));
}

static int on_headers_complete(llhttp_t *ll)
{
    struct http_parser *p = ll->data;
    struct http_msg *m = p->msg;
    close_value(p);
    if (ll->http_major != 1) return fail(p, ll->http_major == 2 ? 505 : 400);
    m->minor = ll->http_minor;
    m->status = ll->status_code;
    place_texts(m);
    p->headers_done = true;
    /* We never change protocols; the body of a request that asks for it is a body. */
    ll->upgrade = 0;
    if (p->no_body || (!m->method.p && (m->status < 200 || m->status == 204 || m->status == 304))) return 1;
    if (ll->flags & F_CONTENT_LENGTH) {
        if (ll->content_length > p->max_body) return fail(p, 413);
        if (ll->content_length <= TRUST_LENGTH_BYTES) buf_reserve(&m->body, ll->content_length + 1);
    }
    struct str expect = http_header_find(m->headers, m->n_headers, "Expect");
    p->expects_continue = m->minor >= 1 && expect.n == 12 && !strncasecmp(expect.p, "100-continue", 12);
    return 0;
}

static int on_body(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = ll->data;
    p->expects_continue = false;
    if (n > p->max_body - p->msg->body.len) return fail(p, 413);
    buf_add(&p->msg->body, at, n);
    return 0;
}

static int on_message_complete(llhttp_t *ll)
{
    struct http_parser *p = ll->data;
    p->expects_continue = false;
    p->msg->keep_alive = llhttp_should_keep_alive(ll);
    buf_cstr(&p->msg->body);
    p->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_version_complete = on_version_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_parser_init(struct http_parser *p, llhttp_type_t type, size_t max_body)
{
    *p = (struct http_parser){ .max_body = max_body };
    llhttp_init(&p->ll, type, &settings);
}

void http_parser_begin(struct http_parser *p, struct http_msg *m, bool no_body)
{
    llhttp_type_t type = (llhttp_type_t)p->ll.type;
    http_msg_reset(m);
    *p = (struct http_parser){ .max_body = p->max_body, .msg = m, .no_body = no_body };
    llhttp_init(&p->ll, type, &settings);
    p->ll.data = p;
}

static enum http_parse bad(struct http_parser *p)
{
    if (!p->error_status) p->error_status = 400;
    return HTTP_PARSE_BAD;
}

enum http_parse http_parser_feed(struct http_parser *p, const char *data, size_t n, size_t *ret_used)
{
    assert(p->msg && !p->done);
    *ret_used = n;
    if (p->error_status) return HTTP_PARSE_BAD;
    if (!n) return HTTP_PARSE_MORE;
    llhttp_errno_t rv = llhttp_execute(&p->ll, data, n);
    if (p->done) {
        *ret_used = (size_t)(llhttp_get_error_pos(&p->ll) - data);
        assert(*ret_used <= n);
        return HTTP_PARSE_DONE;
    }
    if (rv != HPE_OK) return bad(p);
    p->last_byte = data[n - 1];
    if (p->headers_done) return HTTP_PARSE_MORE;
    p->raw_bytes += n;
    if (p->raw_bytes > LIMIT_HTTP_HEADER_BYTES) p->error_status = 431;
    return p->error_status ? HTTP_PARSE_BAD : HTTP_PARSE_MORE;
}

enum http_parse http_parser_eof(struct http_parser *p)
{
    if (p->error_status) return HTTP_PARSE_BAD;
    llhttp_errno_t rv = llhttp_finish(&p->ll);
    if (p->done) return HTTP_PARSE_DONE;
    return rv == HPE_OK && !p->line_done && !p->headers_done ? HTTP_PARSE_MORE : bad(p);
}

bool http_parser_is_bare(const struct http_parser *p)
{
    return p->line_done && p->ll.http_minor == 0 && p->msg->method.p && !p->headers_done && !p->field_begun &&
           !p->msg->n_headers && p->last_byte == '\n';
}

struct str http_header_find(const struct http_header *headers, uint32_t n, const char *name)
{
    size_t len = strlen(name);
    while (n-- > 0)
        if (headers[n].name.n == len && !strncasecmp(headers[n].name.p, name, len)) return headers[n].value;
    return (struct str){ 0 };
}
