/* The HTTP parser on arbitrary bytes. The first byte says request or response and the size of the pieces; however the
 * bytes are cut, the messages must come out the same, within their limits. */
#include "net/http_parser.h"

#include "core/limits.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_BODY = 1000 };

static void add_str(struct buf *out, struct str s)
{
    if (s.p) assert(strlen(s.p) <= s.n || s.p[s.n] == 0);
    buf_addf(out, "%u:", s.p ? s.n : UINT32_MAX);
    buf_add_str(out, s);
}

/* A text that is equal for equal messages. */
static void describe(struct buf *out, const struct http_msg *m)
{
    buf_addf(out, "%d %u %d %u\n", m->status, m->minor, m->keep_alive, m->n_headers);
    add_str(out, m->method);
    add_str(out, m->target);
    add_str(out, m->path);
    add_str(out, m->query);
    assert(m->n_headers <= LIMIT_HTTP_HEADERS && m->target.n <= LIMIT_HTTP_URL_BYTES && m->body.len <= MAX_BODY);
    for (uint32_t i = 0; i < m->n_headers; i++) {
        assert(!memchr(m->headers[i].value.p, '\n', m->headers[i].value.n));
        add_str(out, m->headers[i].name);
        add_str(out, m->headers[i].value);
        assert(http_header_find(m->headers, m->n_headers, m->headers[i].name.p).p);
    }
    buf_add(out, m->body.data, m->body.len);
    buf_addc(out, '\n');
}

/* All messages of the input, in pieces of `step` bytes, and how it ended. */
static void parse_all(struct buf *out, llhttp_type_t type, const char *data, size_t n, size_t step)
{
    struct http_parser p;
    struct http_msg m = { 0 };
    enum http_parse rv = HTTP_PARSE_MORE;
    http_parser_init(&p, type, MAX_BODY);
    http_parser_begin(&p, &m, false);
    for (size_t at = 0, used = 0; at < n && rv != HTTP_PARSE_BAD; at += used) {
        rv = http_parser_feed(&p, data + at, n - at < step ? n - at : step, &used);
        assert(used <= n - at && (used || rv == HTTP_PARSE_DONE));
        if (rv != HTTP_PARSE_DONE) continue;
        describe(out, &m);
        http_parser_begin(&p, &m, false);
    }
    if (rv != HTTP_PARSE_BAD) rv = http_parser_eof(&p);
    if (rv == HTTP_PARSE_DONE) describe(out, &m);
    /* Which error is met first may depend on the cut where the head is too long. */
    buf_addf(out, "end %d", rv == HTTP_PARSE_BAD);
    assert((rv == HTTP_PARSE_BAD) == (p.error_status != 0));
    http_msg_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf whole = { 0 }, cut = { 0 };
    if (!n) return 0;
    llhttp_type_t type = data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST;
    size_t step = (size_t)(data[0] >> 1) + 1;
    parse_all(&whole, type, (const char *)data + 1, n - 1, SIZE_MAX);
    parse_all(&cut, type, (const char *)data + 1, n - 1, step);
    assert(whole.len == cut.len && !memcmp(whole.data, cut.data, whole.len));
    buf_release(&whole);
    buf_release(&cut);
    return 0;
}
