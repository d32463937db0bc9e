#include "net/http.h"

#include "core/err.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int url_decode(struct str in, struct buf *out, bool plus)
{
    size_t before = out->len;
    for (uint32_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int hi = in.n - i > 2 ? hex(in.p[i + 1]) : -1, lo = hi < 0 ? -1 : hex(in.p[i + 2]);
            if (lo < 0) {
                out->len = before;
                return ERR_MALFORMED;
            }
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        buf_addc(out, c);
    }
    return 0;
}

/* The text up to sep, which is taken off the front of *rest together with it. */
static struct str cut(struct str *rest, char sep)
{
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    struct str head = { rest->p, at ? (uint32_t)(at - rest->p) : rest->n };
    *rest = at ? (struct str){ at + 1, rest->n - head.n - 1 } : (struct str){ rest->p + rest->n, 0 };
    return head;
}

int query_param(struct str query, const char *name, struct buf *out)
{
    struct buf key = { 0 };
    int rv = ERR_NOT_FOUND;
    while (query.n && rv == ERR_NOT_FOUND) {
        struct str value = cut(&query, '&'), raw = cut(&value, '=');
        buf_reset(&key);
        if (!url_decode(raw, &key, true) && key.len == strlen(name) && !memcmp(buf_cstr(&key), name, key.len))
            rv = url_decode(value, out, true);
    }
    buf_release(&key);
    return rv;
}
