#include "net/libprocess_wire.h"

#include "core/err.h"

#include <stdio.h>
#include <strings.h>

int upid_parse(struct str text, struct upid *ret)
{
    struct upid u = { .id = "" };
    const char *at = text.n ? memchr(text.p, '@', text.n) : NULL;
    if (!at || at - text.p > UPID_ID_MAX) return ERR_MALFORMED;
    const char *host = at + 1, *end = text.p + text.n;
    const char *colon = memchr(host, ':', (size_t)(end - host));
    char ip[INET_ADDRSTRLEN];
    if (!colon || colon - host >= INET_ADDRSTRLEN) return ERR_MALFORMED;
    memcpy(ip, host, (size_t)(colon - host));
    ip[colon - host] = 0;
    if (uv_inet_pton(AF_INET, ip, &u.ip)) return ERR_MALFORMED;
    /* As the original reads it: digits, and whatever comes behind them. */
    unsigned port = 0;
    const char *digit = colon + 1;
    for (; digit < end && *digit >= '0' && *digit <= '9' && port <= UINT16_MAX; digit++)
        port = 10 * port + (unsigned)(*digit - '0');
    if (digit == colon + 1 || port > UINT16_MAX) return ERR_MALFORMED;
    u.port = (uint16_t)port;
    memcpy(u.id, text.p, (size_t)(at - text.p));
    if (memchr(u.id, 0, (size_t)(at - text.p))) return ERR_MALFORMED;
    *ret = u;
    return 0;
}

const char *upid_text(const struct upid *u, char out[UPID_TEXT_MAX])
{
    const uint8_t *b = (const uint8_t *)&u->ip;
    snprintf(out, UPID_TEXT_MAX, "%s@%u.%u.%u.%u:%u", u->id, b[0], b[1], b[2], b[3], u->port);
    return out;
}

bool upid_eq(const struct upid *a, const struct upid *b)
{
    return a->ip == b->ip && a->port == b->port && !strcmp(a->id, b->id);
}

bool upid_valid(const struct upid *u)
{
    return u->id[0] && u->ip && u->port;
}

static struct str trimmed(struct str s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static enum lp_kind decode_path(struct str path, struct lp_message *m)
{
    if (!path.n || path.p[0] != '/') return LP_BAD_PATH;
    const char *id = path.p + 1, *end = path.p + path.n;
    const char *slash = memchr(id, '/', (size_t)(end - id));
    struct buf b = { 0 };
    enum lp_kind kind = LP_MESSAGE;
    m->name = slash ? (struct str){ slash + 1, (uint32_t)(end - slash - 1) } : STR("");
    if (url_decode((struct str){ id, (uint32_t)((slash ? slash : end) - id) }, &b, false))
        kind = LP_BAD_ID;
    else if (b.len > UPID_ID_MAX || (b.len && memchr(b.data, 0, b.len)))
        kind = LP_LONG_ID;
    else
        memcpy(m->to, buf_cstr(&b), b.len + 1);
    buf_release(&b);
    return kind;
}

enum lp_kind lp_decode(const struct http_request *r, struct lp_message *ret)
{
    static const char agent[] = "libprocess/";
    const uint32_t agent_n = sizeof agent - 1;
    struct str ua = http_request_header(r, "User-Agent"), from = http_request_header(r, "Libprocess-From");
    bool by_agent = ua.n >= agent_n && !memcmp(ua.p, agent, agent_n);
    if (!str_eq(r->method, STR("POST")) || (!by_agent && !from.p)) return LP_NO_MESSAGE;
    *ret = (struct lp_message){ .wants_answer = from.p };
    struct str pid = from.p ? from : (struct str){ ua.p + agent_n, ua.n - agent_n };
    if (upid_parse(trimmed(pid), &ret->from)) ret->from = (struct upid){ .id = "" };
    return decode_path(r->path, ret);
}

void lp_encode(struct buf *out, const char *from, const struct upid *to, const char *name, const void *body, size_t n)
{
    const uint8_t *ip = (const uint8_t *)&to->ip;
    buf_reserve(out, n + 512);
    buf_addf(out,
             "POST /%s%s%s HTTP/1.1\r\nUser-Agent: libprocess/%s\r\nLibprocess-From: %s\r\nConnection: Keep-Alive\r\n"
             "Host: %u.%u.%u.%u:%u\r\n",
             to->id, to->id[0] ? "/" : "", name, from, from, ip[0], ip[1], ip[2], ip[3], to->port);
    if (!n) {
        buf_adds(out, "\r\n");
        return;
    }
    buf_addf(out, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", n);
    buf_add(out, body, n);
    buf_adds(out, "\r\n0\r\n\r\n");
}

bool lp_id_sendable(const char *id)
{
    for (; *id; id++)
        if ((unsigned char)*id <= ' ' || *id == 0x7f || *id == '?' || *id == '#') return false;
    return true;
}
