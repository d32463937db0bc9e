#include "admin/lead.h"

#include "core/buf.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

struct lead {
    struct lead_config cfg;
    char *host;
    struct zk_session *session;
    struct zk_session *plain; /* without a chroot; the same one, or another */
    struct zk_listener *listener;
    struct zk_election *election;
    uv_timer_t unreachable;    /* -zk_connection_timeout */
    struct zk_endpoint leader; /* host "": none */
    bool advertised, over;
    unsigned parts; /* that are still closing */
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void on_unreachable(uv_timer_t *t)
{
    struct lead *l = t->data;
    logline(LOG_WARN, "zookeeper_unreachable", "endpoints=%s for_ms=%lld", flag_text(l->cfg.flags, FLAG_zk_endpoints),
            (long long)flag_ms(l->cfg.flags, FLAG_zk_connection_timeout));
}

static void watch_connection(struct lead *l)
{
    uint64_t ms = (uint64_t)flag_ms(l->cfg.flags, FLAG_zk_connection_timeout);
    uv_timer_start(&l->unreachable, on_unreachable, ms, ms);
}

static void on_session(enum zk_event ev, void *arg)
{
    struct lead *l = arg;
    if (ev == ZK_CONNECTED || ev == ZK_RECONNECTED)
        uv_timer_stop(&l->unreachable);
    else
        watch_connection(l);
}

static void end(struct lead *l, int exit_status, const char *why)
{
    if (l->over) return;
    l->over = true;
    l->cfg.on_over(exit_status, why, l->cfg.arg);
}

static void on_elected(void *arg)
{
    struct lead *l = arg;
    if (!l->over) l->cfg.on_elected(l->cfg.arg);
}

/* Not an error of this process: its supervisor starts it again, as one that follows. */
static void on_defeated(const char *why, void *arg)
{
    end(arg, 0, why);
}

static void on_failed(const char *why, void *arg)
{
    end(arg, 1, why);
}

static void on_leader(const struct zk_endpoint *leader, void *arg)
{
    struct lead *l = arg;
    l->leader = leader ? *leader : (struct zk_endpoint){ 0 };
    if (leader)
        logline(LOG_INFO, "leader", "address=%s:%u", leader->host, leader->port);
    else
        logline(LOG_INFO, "leader", "address=none");
}

/* In the form of a random UUID, by which a candidate finds its own znode. */
static void make_uuid(char out[37])
{
    uint8_t b[16];
    int rv = uv_random(NULL, NULL, b, sizeof(b), 0, NULL);
    assert(rv == 0);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (unsigned i = 0; i < sizeof(b); i++) {
        bool dash = i == 4 || i == 6 || i == 8 || i == 10;
        out += snprintf(out, 4, dash ? "-%02x" : "%02x", b[i]);
    }
}

/* NULL: there is none. */
static const char *chroot_of(const struct lead *l)
{
    const char *chroot = flag_text(l->cfg.flags, FLAG_zk_chroot_path);
    return chroot && *chroot && strcmp(chroot, "/") != 0 ? chroot : NULL;
}

static int open_session(struct lead *l, const char *chroot, struct stats *stats, struct zk_session **ret,
                        struct buf *err)
{
    const struct flags *f = l->cfg.flags;
    struct zk_session_config c = { .loop = l->cfg.loop,
                                   .endpoints = flag_text(f, FLAG_zk_endpoints),
                                   .chroot = chroot,
                                   .session_timeout_ms = (uint32_t)flag_ms(f, FLAG_zk_session_timeout),
                                   .digest = flag_text(f, FLAG_zk_digest_credentials),
                                   .stats = stats };
    int rv = zk_session_new(&c, ret);
    if (rv != 0) buf_addf(err, "flag -zk_endpoints: '%s' can't be used", c.endpoints);
    return rv;
}

/* The log's paths are as they are, whatever the chroot (reference: zookeeper, section 1). */
static int open_sessions(struct lead *l, struct buf *err)
{
    const char *chroot = chroot_of(l);
    int rv = open_session(l, chroot, l->cfg.stats, &l->session, err);
    l->plain = l->session;
    if (rv == 0 && chroot) {
        l->plain = NULL;
        rv = open_session(l, NULL, NULL, &l->plain, err);
    }
    return rv;
}

static int open_election(struct lead *l, struct buf *err)
{
    const struct flags *f = l->cfg.flags;
    char uuid[37];
    make_uuid(uuid);
    struct zk_election_config c = { .session = l->session,
                                    .path = flag_text(f, FLAG_serverset_path),
                                    .host = l->host,
                                    .port = l->cfg.port,
                                    .endpoint_name = flag_text(f, FLAG_serverset_endpoint_name),
                                    .uuid = uuid,
                                    .on_elected = on_elected,
                                    .on_defeated = on_defeated,
                                    .on_leader = on_leader,
                                    .on_failed = on_failed,
                                    .arg = l };
    int rv = zk_election_new(&c, &l->election);
    if (rv != 0) buf_addf(err, "flag -serverset_path: '%s' can't be used", c.path);
    return rv;
}

int lead_new(const struct lead_config *c, struct lead **ret, struct buf *err_text)
{
    struct lead *l = xcalloc(1, sizeof(*l));
    l->cfg = *c;
    l->host = xstrdup(c->host);
    uv_timer_init(c->loop, &l->unreachable);
    l->unreachable.data = l;
    int rv = open_sessions(l, err_text);
    if (rv == 0) {
        l->listener = zk_listen(l->session, on_session, l);
        watch_connection(l);
        rv = open_election(l, err_text);
    }
    if (rv != 0)
        lead_close(l, NULL, NULL);
    else
        *ret = l;
    return rv;
}

void lead_stand(struct lead *l)
{
    logline(LOG_INFO, "candidate", "path=%s", flag_text(l->cfg.flags, FLAG_serverset_path));
    zk_election_join(l->election);
}

void lead_advertise(struct lead *l)
{
    l->advertised = true;
    zk_election_advertise(l->election);
}

enum lead_who lead_who(const struct lead *l, struct zk_endpoint *ret)
{
    if (!l->leader.host[0] || l->over) return LEAD_NOBODY;
    if (ret) *ret = l->leader;
    bool ours = l->leader.port == l->cfg.port && strcmp(l->leader.host, l->host) == 0;
    /* The process that had our address before us may still be announced. */
    if (ours) return l->advertised ? LEAD_US : LEAD_NOBODY;
    return LEAD_OTHER;
}

struct zk_session *lead_session(const struct lead *l)
{
    return l->plain;
}

static void part_closed(void *arg)
{
    struct lead *l = arg;
    assert(l->parts > 0);
    if (--l->parts) return;
    void (*cb)(void *) = l->close_cb;
    void *cb_arg = l->close_arg;
    free(l->host);
    free(l);
    if (cb) cb(cb_arg);
}

static void on_timer_closed(uv_handle_t *h)
{
    part_closed(h->data);
}

void lead_close(struct lead *l, void (*cb)(void *arg), void *arg)
{
    l->close_cb = cb;
    l->close_arg = arg;
    bool two = l->plain && l->plain != l->session;
    l->parts = 1U + (l->session != NULL) + two;
    zk_election_free(l->election);
    if (l->listener) zk_unlisten(l->listener);
    if (two) zk_session_close(l->plain, part_closed, l);
    if (l->session) zk_session_close(l->session, part_closed, l);
    uv_close((uv_handle_t *)&l->unreachable, on_timer_closed);
}
