/* Arbitrary bytes as a libprocess message. What decodes is sent on and must decode to the same. */
#include "net/http_parser.h"
#include "net/libprocess_wire.h"

#include "core/limits.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool parse(struct http_msg *m, const void *data, size_t n)
{
    struct http_parser p;
    size_t used;
    http_parser_init(&p, HTTP_REQUEST, LIMIT_HTTP_BODY_BYTES);
    http_parser_begin(&p, m, false);
    return http_parser_feed(&p, data, n, &used) == HTTP_PARSE_DONE;
}

static struct http_request request_of(const struct http_msg *m)
{
    return (struct http_request){ .method = m->method,
                                  .path = m->path,
                                  .headers = m->headers,
                                  .n_headers = m->n_headers,
                                  .body = { (const char *)m->body.data, (uint32_t)m->body.len } };
}

static void send_on(const struct http_request *r, const struct lp_message *m)
{
    struct upid to = { .ip = 1, .port = 1 };
    char from[UPID_TEXT_MAX];
    struct buf b = { 0 };
    struct http_msg again = { 0 };
    struct lp_message lm;
    memcpy(to.id, m->to, sizeof to.id);
    lp_encode(&b, upid_text(&m->from, from), &to, m->name.p, r->body.p, r->body.n);
    assert(parse(&again, b.data, b.len));
    struct http_request ar = request_of(&again);
    assert(lp_decode(&ar, &lm) == LP_MESSAGE && lm.wants_answer);
    assert(upid_eq(&lm.from, &m->from) && !strcmp(lm.to, m->to) && str_eq(lm.name, m->name) &&
           str_eq(ar.body, r->body));
    http_msg_release(&again);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_msg m = { 0 };
    struct lp_message lm;
    struct upid u;
    char text[UPID_TEXT_MAX];
    struct str whole = { (const char *)data, (uint32_t)n };
    if (!upid_parse(whole, &u)) {
        struct upid v;
        assert(!upid_parse(str_c(upid_text(&u, text)), &v) && upid_eq(&u, &v));
    }
    if (n && parse(&m, data, n)) {
        struct http_request r = request_of(&m);
        /* Ids that need escapes are not made by us, so that they can not be sent either. */
        if (lp_decode(&r, &lm) == LP_MESSAGE && lm.to[0] && lp_id_sendable(lm.to) && !strpbrk(lm.to, "%/"))
            send_on(&r, &lm);
    }
    http_msg_release(&m);
    return 0;
}
