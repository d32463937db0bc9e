#include "core/jsonin.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/text.h"
#include "core/value.h"

#include <assert.h>

static size_t left(const struct jsonin *in)
{
    return (size_t)(in->end - in->p);
}

int jsonin_peek(struct jsonin *in)
{
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\n' || *in->p == '\r' || *in->p == '\t')) in->p++;
    return in->p < in->end ? *in->p : 0;
}

bool jsonin_accept(struct jsonin *in, char c)
{
    assert(c);
    if (jsonin_peek(in) != c) return false;
    in->p++;
    return true;
}

/* The error for a character that does not belong here. */
static int unexpected(const struct jsonin *in)
{
    return in->p == in->end ? ERR_TRUNCATED : ERR_MALFORMED;
}

int jsonin_expect(struct jsonin *in, char c)
{
    return jsonin_accept(in, c) ? 0 : unexpected(in);
}

int jsonin_more(struct jsonin *in, char close, bool *ret_more)
{
    bool more = jsonin_accept(in, ',');
    if (!more && !jsonin_accept(in, close)) return unexpected(in);
    *ret_more = more;
    return 0;
}

int jsonin_enter(struct jsonin *in)
{
    if (in->depth == LIMIT_CODEC_DEPTH) return ERR_TOO_DEEP;
    in->depth++;
    return 0;
}

static bool hex(uint8_t c, uint32_t *digit)
{
    if (c >= '0' && c <= '9')
        *digit = c - '0';
    else if (c >= 'a' && c <= 'f')
        *digit = c - 'a' + 10u;
    else if (c >= 'A' && c <= 'F')
        *digit = c - 'A' + 10u;
    else
        return false;
    return true;
}

/* The four hex digits of an escape. */
static bool hex4(const uint8_t *p, uint32_t *ret)
{
    uint32_t v = 0, digit;
    for (int i = 0; i < 4; i++) {
        if (!hex(p[i], &digit)) return false;
        v = v << 4 | digit;
    }
    *ret = v;
    return true;
}

/* Passes one escape at p, which is behind the backslash. */
static int scan_escape(struct jsonin *in)
{
    uint32_t code;
    if (!left(in)) return ERR_TRUNCATED;
    uint8_t c = *in->p++;
    if (c != 'u') return c && strchr("\"\\/bfnrt", c) ? 0 : ERR_MALFORMED;
    if (left(in) < 4) return ERR_TRUNCATED;
    if (!hex4(in->p, &code)) return ERR_MALFORMED;
    in->p += 4;
    return 0;
}

/* Passes a string: *ret is what stands between the quotes, checked. */
static int scan_string(struct jsonin *in, struct str *ret, bool *ret_has_escapes)
{
    int rc = jsonin_expect(in, '"');
    if (rc) return rc;
    const uint8_t *from = in->p;
    *ret_has_escapes = false;
    for (;;) {
        in->p += text_plain_run(in->p, left(in), false);
        if (!left(in) || *in->p == '"') break;
        if (*in->p < 0x20 && !in->lax) return ERR_MALFORMED;
        if (*in->p == '\\') {
            *ret_has_escapes = true;
            in->p++;
            rc = scan_escape(in);
            if (rc) return rc;
            continue;
        }
        size_t n = utf8_length(in->p, left(in));
        if (!n) return ERR_MALFORMED;
        in->p += n;
    }
    if (!left(in)) return ERR_TRUNCATED;
    size_t n = (size_t)(in->p++ - from);
    if (n > LIMIT_CODEC_STRING_BYTES) return ERR_TOO_BIG;
    *ret = (struct str){ (const char *)from, (uint32_t)n };
    return 0;
}

/* The code point of an escape, or of the two of a surrogate pair, at p, which is behind the first u; returns the bytes
 * used. */
static size_t decode_unicode(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
    uint32_t high = 0, low = 0;
    hex4(p, &high);
    bool pair = high >= 0xd800 && high < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u' && hex4(p + 6, &low) &&
                low >= 0xdc00 && low < 0xe000;
    *ret = pair ? 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) : high;
    return pair ? 10 : 4;
}

/* raw is checked; to has room for as many bytes. Returns the length. */
static uint32_t decode(struct str raw, char *to)
{
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    struct buf out = { .data = (uint8_t *)to, .cap = raw.n };
    const uint8_t *p = (const uint8_t *)raw.p, *end = p + raw.n;
    while (p < end) {
        const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
        buf_add(&out, p, (size_t)((escape ? escape : end) - p));
        if (!escape) break;
        p = escape + 2;
        const char *name = strchr(names, escape[1]);
        uint32_t code = name ? (uint8_t)values[name - names] : escape[1];
        if (code == 'u') p += decode_unicode(p, end, &code);
        utf8_add(&out, code);
    }
    assert(out.data == (uint8_t *)to); /* it never grew: an escape is longer than what it stands for */
    return (uint32_t)out.len;
}

static int decode_to_arena(struct jsonin *in, struct str raw, bool has_escapes, struct str *ret)
{
    char *p = decode_alloc(in->a, (uint64_t)raw.n + 1, 1);
    if (!p) return ERR_TOO_BIG;
    if (!has_escapes) memcpy(p, raw.p, raw.n);
    uint32_t n = has_escapes ? decode(raw, p) : raw.n;
    p[n] = 0;
    *ret = (struct str){ p, n };
    return 0;
}

int jsonin_string(struct jsonin *in, struct str *ret)
{
    struct str raw;
    bool has_escapes;
    int rc = scan_string(in, &raw, &has_escapes);
    return rc ? rc : decode_to_arena(in, raw, has_escapes, ret);
}

int jsonin_borrow_string(struct jsonin *in, struct str *ret)
{
    struct str raw;
    bool has_escapes;
    int rc = scan_string(in, &raw, &has_escapes);
    if (rc) return rc;
    if (has_escapes) return decode_to_arena(in, raw, true, ret);
    *ret = raw;
    return 0;
}

static bool is_number_character(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '+' || (c | 0x20) == 'e';
}

int jsonin_number(struct jsonin *in, struct str *ret)
{
    int c = jsonin_peek(in);
    if (c != '-' && (c < '0' || c > '9')) return unexpected(in);
    const uint8_t *from = in->p;
    while (left(in) && is_number_character(*in->p)) in->p++;
    if (in->p - from > LIMIT_CODEC_STRING_BYTES) return ERR_TOO_BIG;
    *ret = (struct str){ (const char *)from, (uint32_t)(in->p - from) };
    return 0;
}

bool jsonin_accept_word(struct jsonin *in, struct str word)
{
    jsonin_peek(in);
    if (left(in) < word.n || memcmp(in->p, word.p, word.n) != 0) return false;
    in->p += word.n;
    return true;
}

static int skip_members(struct jsonin *in, bool is_object)
{
    char close = is_object ? '}' : ']';
    if (jsonin_accept(in, close)) return 0;
    for (bool more = true; more;) {
        struct str key;
        bool escapes;
        int rc = is_object ? scan_string(in, &key, &escapes) : 0;
        if (rc == 0 && is_object) rc = jsonin_expect(in, ':');
        if (rc == 0) rc = jsonin_skip(in);
        if (rc == 0) rc = jsonin_more(in, close, &more);
        if (rc) return rc;
    }
    return 0;
}

int jsonin_skip(struct jsonin *in)
{
    struct str s = { 0 };
    bool escapes;
    double v;
    int c = jsonin_peek(in), rc;
    switch (c) {
    case '{':
    case '[':
        rc = jsonin_enter(in);
        if (rc) return rc;
        in->p++;
        rc = skip_members(in, c == '{');
        jsonin_leave(in);
        return rc;
    case '"':
        return scan_string(in, &s, &escapes);
    case 't':
        return jsonin_accept_word(in, STR("true")) ? 0 : ERR_MALFORMED;
    case 'f':
        return jsonin_accept_word(in, STR("false")) ? 0 : ERR_MALFORMED;
    case 'n':
        return jsonin_accept_word(in, STR("null")) ? 0 : ERR_MALFORMED;
    default:
        rc = jsonin_number(in, &s);
        return rc ? rc : text_parse_double(s, &v) ? 0 : ERR_MALFORMED;
    }
}

int jsonin_end(struct jsonin *in)
{
    jsonin_peek(in);
    return in->p == in->end ? 0 : ERR_MALFORMED;
}
