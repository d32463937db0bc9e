#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------- numbers ---------------- */

void text_i64(struct buf *out, int64_t v)
{
    char digits[20], *p = digits + sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0) *--p = '-';
    buf_add(out, p, (size_t)(digits + sizeof digits - p));
}

bool text_parse_i64(struct str s, int64_t *ret)
{
    uint32_t i = s.n && s.p[0] == '-';
    bool negative = i;
    if (i == s.n) return false;
    uint64_t u = 0;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(u, 10, &u) || __builtin_add_overflow(u, (uint64_t)(s.p[i] - '0'), &u)) return false;
    }
    if (u > (uint64_t)INT64_MAX + negative) return false;
    *ret = (int64_t)(negative ? 0 - u : u);
    return true;
}

static uint32_t skip_digits(struct str s, uint32_t i)
{
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') i++;
    return i;
}

/* -?digits(.digits)?([eE][+-]?digits)?  Leading zeros are let through: Java writes none and takes them. */
static bool is_number(struct str s)
{
    uint32_t i = s.n && s.p[0] == '-', from = i;
    i = skip_digits(s, i);
    if (i == from) return false;
    if (i < s.n && s.p[i] == '.') {
        from = ++i;
        i = skip_digits(s, i);
        if (i == from) return false;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        if (i < s.n && (s.p[i] == '+' || s.p[i] == '-')) i++;
        from = i;
        i = skip_digits(s, i);
        if (i == from) return false;
    }
    return i == s.n;
}

bool text_parse_double(struct str s, double *ret)
{
    if (!is_number(s)) return false;
    char small[64], *z = s.n < sizeof small ? memcpy(small, s.p, s.n) : xstrndup(s.p, s.n);
    z[s.n] = 0;
    double v = strtod(z, NULL);
    if (z != small) free(z);
    if (v - v != 0) return false; /* infinite */
    *ret = v;
    return true;
}

/* The fewest significant digits that give v again, and the exponent of the first; v is finite and > 0. */
static int shortest(double v, char digits[20], int *ret_exponent)
{
    char text[40];
    /* 15 digits of any shorter decimal survive, so trailing zeros are all that there is to take away; numbers below
     * 2^-1022 have fewer bits. */
    for (int precision = v < 0x1p-1022 ? 2 : 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, v);
        if (precision == 17 || strtod(text, NULL) == v) break;
    }
    int n = 0;
    char *p = text;
    for (; *p != 'e'; p++)
        if (*p != '.') digits[n++] = *p;
    assert(n >= 2);
    while (n > 1 && digits[n - 1] == '0') n--;
    *ret_exponent = (int)strtol(p + 1, NULL, 10);
    return n;
}

static void add_digits(struct buf *out, const char *digits, int n)
{
    buf_add(out, digits, n > 0 ? (size_t)n : 0);
    if (n <= 0) buf_addc(out, '0');
}

static void add_zeros(struct buf *out, int n)
{
    while (n-- > 0) buf_addc(out, '0');
}

/* 0.001 <= v < 10^7 */
static void add_plain(struct buf *out, const char *digits, int n, int exponent)
{
    if (exponent < 0) {
        buf_adds(out, "0.");
        add_zeros(out, -exponent - 1);
        buf_add(out, digits, (size_t)n);
        return;
    }
    int whole = exponent + 1;
    buf_add(out, digits, (size_t)(n < whole ? n : whole));
    add_zeros(out, whole - n);
    buf_addc(out, '.');
    add_digits(out, digits + whole, n - whole);
}

/* The usual case made quick: few decimals. If they give v again they are the fewest that do, being less than 15 digits.
 */
static void add_thousandths(struct buf *out, int64_t thousandths)
{
    int64_t rest = thousandths % 1000;
    text_i64(out, thousandths / 1000);
    char decimals[4] = { '.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10) };
    size_t n = sizeof decimals;
    while (n > 2 && decimals[n - 1] == '0') n--;
    buf_add(out, decimals, n);
}

void java_double(struct buf *out, double v)
{
    if (v != v) {
        buf_adds(out, "NaN");
        return;
    }
    if (__builtin_signbit(v)) {
        buf_addc(out, '-');
        v = -v;
    }
    if (v - v != 0) {
        buf_adds(out, "Infinity");
        return;
    }
    if (v < 1e7 && v == (double)(int64_t)v) {
        text_i64(out, (int64_t)v);
        buf_adds(out, ".0");
        return;
    }
    int64_t thousandths = v < 1e7 ? (int64_t)(v * 1000 + 0.5) : 0;
    if (thousandths && (double)thousandths / 1000 == v) {
        add_thousandths(out, thousandths);
        return;
    }
    char digits[20];
    int exponent, n = shortest(v, digits, &exponent);
    if (v >= 1e-3 && v < 1e7) {
        add_plain(out, digits, n, exponent);
        return;
    }
    buf_addc(out, digits[0]);
    buf_addc(out, '.');
    add_digits(out, digits + 1, n - 1);
    buf_addc(out, 'E');
    text_i64(out, exponent);
}

/* ---------------- UTF-8 ---------------- */

size_t utf8_length(const uint8_t *p, size_t n)
{
    assert(n);
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    size_t len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* longer than needed */
    if (p[0] == 0xed && p[1] > 0x9f) return 0; /* surrogates */
    if (p[0] == 0xf0 && p[1] < 0x90) return 0;
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0; /* beyond U+10FFFF */
    return len;
}

void utf8_add(struct buf *out, uint32_t code)
{
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) code = 0xfffd;
    if (code < 0x80) {
        buf_addc(out, (char)code);
        return;
    }
    char bytes[4];
    unsigned more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (unsigned i = more; i; i--) {
        bytes[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    bytes[0] = (char)((0xff00 >> (more + 1) & 0xff) | code);
    buf_add(out, bytes, more + 1);
}

/* ---------------- JSON strings ---------------- */

enum { PLAIN, ESCAPED, HTML, WIDE };

static const uint8_t class_of[256] = {
    [0 ... 0x1f] = ESCAPED, ['"'] = ESCAPED, ['\\'] = ESCAPED, ['<'] = HTML,           ['>'] = HTML,
    ['&'] = HTML,           ['='] = HTML,    ['\''] = HTML,    [0x80 ... 0xff] = WIDE,
};

#define EACH_BYTE(c) (0x0101010101010101u * (c))
#define HAS_ZERO(v) (((v)-EACH_BYTE(1)) & ~(v)&EACH_BYTE(0x80))

size_t text_plain_run(const uint8_t *p, size_t n, bool for_html)
{
    size_t i = 0;
    for (; !for_html && i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, sizeof v);
        /* eight bytes at a time */
        uint64_t control = (v - EACH_BYTE(0x20)) & ~v & EACH_BYTE(0x80);
        if (control | (v & EACH_BYTE(0x80)) | HAS_ZERO(v ^ EACH_BYTE('"')) | HAS_ZERO(v ^ EACH_BYTE('\\'))) break;
    }
    for (; i < n; i++) {
        unsigned class = class_of[p[i]];
        if (class != PLAIN && (class != HTML || for_html)) break;
    }
    return i;
}

static void add_escape(struct buf *out, unsigned c)
{
    static const char letters[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
    const char *at = c < 0x80 && c ? strchr(letters, (int)c) : NULL;
    if (at) {
        char escape[2] = { '\\', names[at - letters] };
        buf_add(out, escape, sizeof escape);
    } else {
        buf_addf(out, "\\u%04x", c);
    }
}

/* A character that is not plain, at p; returns the bytes used. */
static size_t add_special(struct buf *out, const uint8_t *p, size_t n, bool for_html)
{
    size_t len = utf8_length(p, n);
    if (len == 1) {
        add_escape(out, *p);
    } else if (len == 0) {
        utf8_add(out, 0xfffd);
        return 1;
    } else if (for_html && len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] | 1) == 0xa9) {
        add_escape(out, 0x2028 | (p[2] & 1));
    } else {
        buf_add(out, p, len);
    }
    return len;
}

void text_json_string(struct buf *out, struct str s, bool for_html)
{
    buf_reserve(out, (size_t)s.n + 2);
    buf_addc(out, '"');
    const uint8_t *p = (const uint8_t *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t run = text_plain_run(p + i, s.n - i, for_html);
        buf_add(out, p + i, run);
        i += run;
        if (i < s.n) i += add_special(out, p + i, s.n - i, for_html);
    }
    buf_addc(out, '"');
}

/* ---------------- base64 ---------------- */

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_base64(struct buf *out, struct str bytes, bool padded)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    for (uint32_t i = 0; i < bytes.n; i += 3) {
        uint32_t have = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t v = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);
        char four[4];
        for (unsigned k = 0; k < 4; k++) four[k] = k <= have ? base64_letters[v >> (18 - 6 * k) & 63] : '=';
        buf_add(out, four, padded ? 4 : have + 1);
    }
}

bool text_parse_base64(struct str from, char *to, uint32_t *ret_n)
{
    uint32_t n = from.n, v = 0, made = 0;
    for (int pad = 0; pad < 2 && n && from.n % 4 == 0 && from.p[n - 1] == '='; pad++) n--;
    if (n % 4 == 1) return false;
    for (uint32_t i = 0; i < n; i++) {
        const char *letter = from.p[i] ? strchr(base64_letters, from.p[i]) : NULL;
        if (!letter) return false;
        v = v << 6 | (uint32_t)(letter - base64_letters);
        if (i % 4) to[made++] = (char)(v >> (6 - 2 * (i % 4)));
    }
    *ret_n = made;
    return true;
}
