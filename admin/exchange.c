#include "admin/exchange.h"

#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#define MAX_HEADERS 8

bool accepts_gzip(struct str accept_encoding)
{
    for (const char *p = accept_encoding.p, *end = p ? p + accept_encoding.n : p; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        if (!comma) comma = end;
        while (p < comma && *p == ' ') p++;
        if (comma - p >= 4 && strncasecmp(p, "gzip", 4) == 0) {
            const char *rest = p + 4;
            while (rest < comma && *rest == ' ') rest++;
            if (rest == comma) return true;
            if (*rest == ';')
                return !memmem(rest, (size_t)(comma - rest), "q=0", 3) ||
                       memmem(rest, (size_t)(comma - rest), "q=0.", 4);
        }
        p = comma + 1;
    }
    return false;
}

bool gzip_buf(struct buf *b)
{
    z_stream z = { 0 };
    /* Level 1: the loop's time is dearer than the network's. 16 more window bits ask for gzip's framing. */
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
    struct buf out = { 0 };
    z.next_in = b->data;
    z.avail_in = (uInt)b->len;
    z.next_out = buf_reserve(&out, b->len);
    z.avail_out = (uInt)b->len;
    bool smaller = b->len <= UINT32_MAX && deflate(&z, Z_FINISH) == Z_STREAM_END;
    buf_commit(&out, z.total_out);
    deflateEnd(&z);
    if (!smaller) {
        buf_release(&out);
        return false;
    }
    buf_release(b);
    *b = out;
    return true;
}

static bool may_gzip(const struct http_request *r)
{
    return accepts_gzip(http_request_header(r, "Accept-Encoding")) &&
           (str_eq(r->method, STR("GET")) || str_eq(r->method, STR("POST")));
}

static void respond(struct http_request *r, int status, const char *type, const struct http_header *headers,
                    uint32_t n_headers, struct buf *body, bool gzipped)
{
    static const struct http_header gzip_headers[] = { { STR("Content-Encoding"), STR("gzip") },
                                                       { STR("Vary"), STR("Accept-Encoding") } };
    struct http_header all[MAX_HEADERS];
    assert(n_headers + 2 <= MAX_HEADERS);
    if (n_headers) memcpy(all, headers, n_headers * sizeof(*headers));
    if (gzipped) {
        memcpy(all + n_headers, gzip_headers, sizeof(gzip_headers));
        n_headers += 2;
    }
    http_respond_buf(r, status, type, all, n_headers, body);
}

void exchange_begin(struct exchange *x, struct http_request *r, uv_loop_t *loop)
{
    assert(x->free);
    x->loop = loop;
    x->request = r;
    x->gzip = may_gzip(r);
    r->user = x;
}

void exchange_abandoned(struct http_request *r, void *arg)
{
    (void)arg;
    struct exchange *x = r->user;
    if (x) x->request = NULL;
}

static void finish(struct exchange *x)
{
    struct http_request *r = x->request;
    if (r) {
        r->user = NULL;
        respond(r, x->answer.status, x->answer.content_type, x->headers, x->n_headers, &x->answer.body, x->gzipped);
    }
    buf_release(&x->answer.body);
    x->free(x);
}

static void work_gzip(struct exchange *x)
{
    x->gzipped = gzip_buf(&x->answer.body);
}

void exchange_send(struct exchange *x)
{
    size_t n = x->answer.body.len;
    if (!x->request || !x->gzip || x->gzipped || x->answer.status != 200 || n < GZIP_MIN_BYTES) {
        finish(x);
    } else if (n > LIMIT_INLINE_GZIP_BYTES) {
        exchange_offload(x, work_gzip, finish);
    } else {
        work_gzip(x);
        finish(x);
    }
}

static void on_work(uv_work_t *req)
{
    struct exchange *x = req->data;
    x->work(x);
}

static void on_done(uv_work_t *req, int status)
{
    (void)status;
    struct exchange *x = req->data;
    x->done(x);
}

void exchange_offload(struct exchange *x, void (*work)(struct exchange *x), void (*done)(struct exchange *x))
{
    x->work = work;
    x->done = done;
    x->req.data = x;
    int rv = uv_queue_work(x->loop, &x->req, on_work, on_done);
    assert(rv == 0);
}

static void free_exchange(struct exchange *x)
{
    free((void *)x->headers);
    free(x);
}

struct exchange *exchange_new(struct http_request *r, int status, const char *content_type, struct buf *body,
                              uv_loop_t *loop)
{
    struct exchange *x = xcalloc(1, sizeof(*x));
    x->free = free_exchange;
    x->answer = (struct rpc_answer){ status, content_type, *body };
    *body = (struct buf){ 0 };
    exchange_begin(x, r, loop);
    return x;
}

/* A large answer that was made at once but is compressed on the pool. */
static void reply_later(struct http_request *r, int status, const char *type, const struct http_header *headers,
                        uint32_t n_headers, struct buf *body, uv_loop_t *loop)
{
    struct exchange *x = exchange_new(r, status, type, body, loop);
    struct http_header *copy = xcalloc(n_headers, sizeof(*copy));
    if (n_headers) memcpy(copy, headers, n_headers * sizeof(*copy));
    x->headers = copy;
    x->n_headers = n_headers;
    exchange_offload(x, work_gzip, finish);
}

void exchange_reply(struct http_request *r, int status, const char *content_type, const struct http_header *headers,
                    uint32_t n_headers, struct buf *body, uv_loop_t *loop)
{
    bool gzip = status == 200 && body->len >= GZIP_MIN_BYTES && may_gzip(r);
    if (gzip && body->len > LIMIT_INLINE_GZIP_BYTES)
        reply_later(r, status, content_type, headers, n_headers, body, loop);
    else
        respond(r, status, content_type, headers, n_headers, body, gzip && gzip_buf(body));
    buf_release(body);
}

void exchange_reply_text(struct http_request *r, int status, const char *text)
{
    http_respond(r, status, TYPE_TEXT, NULL, 0, text, strlen(text));
}
