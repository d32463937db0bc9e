#include "net/libprocess_impl.h"

#include "core/err.h"
#include "core/limits.h"
#include "net/tcp.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

/* How many processes of a prefix there were. */
struct lp_counter {
    char prefix[UPID_ID_MAX + 1];
    uint64_t n;
    UT_hash_handle hh;
};

void lp_count(struct stat *st)
{
    if (st) stat_add(st, 1);
}

/* ---- processes ---- */

static struct lp_process *find(struct libprocess *lp, const char *id)
{
    struct lp_process *p;
    HASH_FIND_STR(lp->processes, id, p);
    return p;
}

int lp_spawn(struct libprocess *lp, const char *id, const struct lp_handlers *h, struct lp_process **ret)
{
    assert(h->on_message && !lp->closing);
    size_t n = strlen(id);
    if (!n || n > UPID_ID_MAX) return ERR_INVALID;
    if (find(lp, id)) return ERR_EXISTS;
    struct lp_process *p = xcalloc(1, sizeof *p);
    p->lp = lp;
    p->self.ip = lp->ip;
    p->self.port = lp->port;
    memcpy(p->self.id, id, n + 1);
    upid_text(&p->self, p->self_text);
    p->handlers = *h;
    p->serial = lp->next_serial++;
    HASH_ADD_STR(lp->processes, self.id, p);
    *ret = p;
    return 0;
}

int lp_spawn_numbered(struct libprocess *lp, const char *prefix, const struct lp_handlers *h, struct lp_process **ret)
{
    char id[UPID_ID_MAX + 32];
    struct lp_counter *c;
    if (strlen(prefix) > UPID_ID_MAX - 24) return ERR_INVALID;
    HASH_FIND_STR(lp->counters, prefix, c);
    if (!c) {
        c = xcalloc(1, sizeof *c);
        memcpy(c->prefix, prefix, strlen(prefix) + 1);
        HASH_ADD_STR(lp->counters, prefix, c);
    }
    snprintf(id, sizeof id, "%s(%llu)", prefix, (unsigned long long)++c->n);
    return lp_spawn(lp, id, h, ret);
}

static void queue_local(struct libprocess *lp, struct lp_local *l)
{
    DL_APPEND(lp->local, l);
    lp->n_local++;
    lp->local_bytes += l->n;
    lp_kick(lp);
}

static void queue_exit(struct lp_process *to, const struct upid *who)
{
    struct lp_local *l = xcalloc(1, sizeof *l);
    l->is_exit = true;
    l->from = *who;
    memcpy(l->to, to->self.id, sizeof l->to);
    l->to_serial = to->serial;
    queue_local(to->lp, l);
}

void lp_terminate(struct lp_process *p)
{
    struct libprocess *lp = p->lp;
    struct lp_link *l, *next;
    if (lp->closing) return;
    assert(find(lp, p->self.id) == p);
    HASH_DEL(lp->processes, p);
    while (p->links) link_drop(p->links);
    DL_FOREACH_SAFE(lp->local_links, l, next)
    {
        if (strcmp(l->to.id, p->self.id) != 0) continue;
        queue_exit(l->process, &l->to);
        link_drop(l);
    }
    /* It may be in one of its own callbacks: its memory stays until the pump runs. */
    p->next_dead = lp->dead;
    lp->dead = p;
    lp_kick(lp);
}

const struct upid *lp_self(const struct lp_process *p)
{
    return &p->self;
}

/* ---- sending and linking ---- */

static bool is_ours(const struct libprocess *lp, const struct upid *u)
{
    return u->ip == lp->ip && u->port == lp->port;
}

static int send_local(struct lp_process *p, const struct upid *to, const char *name, const void *body, size_t n)
{
    struct libprocess *lp = p->lp;
    if (lp->local_bytes + n > lp->cfg.max_out_bytes) return ERR_FULL;
    struct lp_local *l = xcalloc(1, sizeof *l);
    l->from = p->self;
    memcpy(l->to, to->id, sizeof l->to);
    l->name = xstrdup(name);
    l->body = xmalloc(n);
    if (n) memcpy(l->body, body, n);
    l->n = n;
    queue_local(lp, l);
    return 0;
}

int lp_send(struct lp_process *p, const struct upid *to, const char *name, const void *body, size_t n)
{
    struct libprocess *lp = p->lp;
    struct lp_peer *peer;
    if (n > LIMIT_LIBPROCESS_BODY_BYTES) return ERR_TOO_BIG;
    if (lp->closing || !to->ip || !to->port || !lp_id_sendable(to->id)) return 0;
    lp_count(lp->sent);
    if (is_ours(lp, to)) return send_local(p, to, name, body, n);
    int rv = peer_get(lp, to->ip, to->port, &peer);
    if (rv || peer->failing) return rv;
    if (peer_waiting(peer) + n > lp->cfg.max_out_bytes) {
        peer->failing = true;
        peer_touch(peer);
        return ERR_FULL;
    }
    lp_encode(&peer->out, p->self_text, to, name, body, n);
    peer_touch(peer);
    return 0;
}

static bool is_linked(const struct lp_process *p, const struct upid *to)
{
    const struct lp_link *l;
    DL_FOREACH2(p->links, l, p_next) if (upid_eq(&l->to, to)) return true;
    return false;
}

static void link_add(struct lp_process *p, struct lp_peer *peer, const struct upid *to)
{
    if (is_linked(p, to)) return;
    struct lp_link *l = xcalloc(1, sizeof *l);
    struct lp_link **list = peer ? &peer->links : &p->lp->local_links;
    l->process = p;
    l->peer = peer;
    l->to = *to;
    DL_APPEND(*list, l);
    DL_APPEND2(p->links, l, p_prev, p_next);
}

static void link_to(struct lp_process *p, const struct upid *to, bool anew)
{
    struct libprocess *lp = p->lp;
    struct lp_peer *peer;
    if (lp->closing) return;
    if (is_ours(lp, to)) {
        if (find(lp, to->id))
            link_add(p, NULL, to);
        else
            queue_exit(p, to);
        return;
    }
    unsigned before = HASH_COUNT(lp->peers);
    if (!to->ip || !to->port || peer_get(lp, to->ip, to->port, &peer)) {
        queue_exit(p, to);
        return;
    }
    if (anew && HASH_COUNT(lp->peers) == before) peer_reconnect(peer);
    link_add(p, peer, to);
}

void lp_link(struct lp_process *p, const struct upid *peer)
{
    link_to(p, peer, false);
}

void lp_relink(struct lp_process *p, const struct upid *peer)
{
    link_to(p, peer, true);
}

/* ---- the pump ---- */

static void local_free(struct lp_local *l)
{
    free(l->name);
    free(l->body);
    free(l);
}

static void deliver_local(struct libprocess *lp)
{
    struct lp_local *l = lp->local;
    DL_DELETE(lp->local, l);
    lp->n_local--;
    lp->local_bytes -= l->n;
    struct lp_process *p = find(lp, l->to);
    if (p && !l->is_exit) {
        lp_count(lp->received);
        p->handlers.on_message(p, &l->from, str_c(l->name), l->body, l->n, p->handlers.arg);
    } else if (p && p->serial == l->to_serial && p->handlers.on_exited) {
        p->handlers.on_exited(p, &l->from, p->handlers.arg);
    }
    local_free(l);
}

static void free_dead(struct libprocess *lp)
{
    while (lp->dead) {
        struct lp_process *p = lp->dead;
        lp->dead = p->next_dead;
        free(p);
    }
}

/* Only what is there at the start; what comes meanwhile waits for the next pass, so that the loop goes on turning. */
static void on_pump(uv_idle_t *h)
{
    struct libprocess *lp = h->data;
    free_dead(lp);
    for (unsigned n = lp->n_dirty; n && lp->dirty && !lp->closing; n--) peer_pump(lp->dirty);
    for (unsigned n = lp->n_local; n && lp->local && !lp->closing; n--) deliver_local(lp);
    if (!lp->dirty && !lp->local && !lp->dead) uv_idle_stop(h);
}

void lp_kick(struct libprocess *lp)
{
    if (!lp->closing) uv_idle_start(&lp->pump, on_pump);
}

/* ---- receiving ---- */

static void answer(struct http_request *r, const struct lp_message *m, int status, const char *text)
{
    if (!m->wants_answer)
        http_respond_nothing(r);
    else
        http_respond(r, status, text ? "text/plain; charset=utf-8" : NULL, NULL, 0, text, text ? strlen(text) : 0);
}

static bool from_its_own_address(const struct http_request *r, const struct lp_message *m)
{
    const struct sockaddr_in *a = (const struct sockaddr_in *)&r->peer;
    return a->sin_family == AF_INET && a->sin_addr.s_addr == m->from.ip;
}

static void receive(struct libprocess *lp, struct http_request *r, const struct lp_message *m)
{
    struct lp_process *p = find(lp, m->to);
    if (!p) {
        lp_count(lp->unknown);
        answer(r, m, 404, "404 Not Found.");
        return;
    }
    lp_count(lp->received);
    p->handlers.on_message(p, &m->from, m->name, r->body.p, r->body.n, p->handlers.arg);
    if (!lp->closing) answer(r, m, 202, NULL);
}

static void on_request(struct http_request *r, void *arg)
{
    struct libprocess *lp = arg;
    struct lp_message m;
    enum lp_kind kind = lp_decode(r, &m);
    if (kind == LP_NO_MESSAGE && lp->on_http)
        lp->on_http(r, lp->on_http_arg);
    else if (kind == LP_NO_MESSAGE)
        http_respond(r, 404, "text/plain; charset=utf-8", NULL, 0, "404 Not Found.", 14);
    else if (kind == LP_BAD_PATH)
        answer(r, &m, 400, "The path must start with '/'.");
    else if (lp->cfg.require_peer_address_ip_match && !from_its_own_address(r, &m))
        answer(r, &m, 400, "The sender's address is not that of the connection.");
    else if (kind == LP_BAD_ID)
        answer(r, &m, 500, "The receiver's id can not be decoded.");
    else if (kind == LP_LONG_ID)
        answer(r, &m, 404, "404 Not Found.");
    else
        receive(lp, r, &m);
}

static void on_abandoned(struct http_request *r, void *arg)
{
    struct libprocess *lp = arg;
    if (lp->on_http_abandoned) lp->on_http_abandoned(r, lp->on_http_arg);
}

void libprocess_on_http(struct libprocess *lp, void (*fn)(struct http_request *r, void *arg), void *arg)
{
    lp->on_http = fn;
    lp->on_http_arg = arg;
}

void libprocess_on_http_abandoned(struct libprocess *lp, void (*fn)(struct http_request *r, void *arg))
{
    lp->on_http_abandoned = fn;
}

/* ---- beginning and end ---- */

/* The address that our processes give as theirs. Asking for the host's own address may take a moment; this is before
 * the loop has anything to do. */
static int own_ip(const struct libprocess_config *c, uint32_t *ret)
{
    char host[256] = "";
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *ai = NULL;
    uint32_t ip;
    if (uv_inet_pton(AF_INET, c->advertise_ip ? c->advertise_ip : c->ip, &ip)) return ERR_INVALID;
    if (!ip) {
        size_t n = sizeof host;
        if (!uv_os_gethostname(host, &n) && !getaddrinfo(host, NULL, &hints, &ai))
            ip = ((const struct sockaddr_in *)ai->ai_addr)->sin_addr.s_addr;
        if (ai) freeaddrinfo(ai);
        if (!ip) ip = htonl(INADDR_LOOPBACK);
    }
    *ret = ip;
    return 0;
}

static int listen_at(struct libprocess *lp)
{
    struct http_server_config cfg = {
        .max_body_bytes = lp->cfg.max_body_bytes,
        .max_connections = LIMIT_LIBPROCESS_PEERS,
        .idle_ms = UINT64_MAX,
        .request_ms = UINT64_MAX,
        .silent_errors = true,
        .on_request = on_request,
        .on_abandoned = on_abandoned,
        .arg = lp,
    };
    int rv = http_server_new(lp->loop, &cfg, &lp->server);
    if (rv) return rv;
    rv = http_server_listen(lp->server, lp->cfg.ip, lp->cfg.port);
    if (rv) http_server_close(lp->server, NULL, NULL);
    return rv;
}

static void make_stats(struct libprocess *lp)
{
    struct stats *s = lp->cfg.stats;
    if (!s) return;
    lp->sent = stats_int(s, "libprocess_messages_sent");
    lp->received = stats_int(s, "libprocess_messages_received");
    lp->unknown = stats_int(s, "libprocess_messages_unknown_receiver");
    lp->dropped = stats_int(s, "libprocess_queues_dropped");
    lp->exits = stats_int(s, "libprocess_exits");
}

int libprocess_new(const struct libprocess_config *c, struct libprocess **ret)
{
    uint32_t ip, bind_ip;
    int rv = own_ip(c, &ip);
    if (rv || uv_inet_pton(AF_INET, c->ip, &bind_ip)) return ERR_INVALID;
    struct libprocess *lp = xcalloc(1, sizeof *lp);
    lp->cfg = *c;
    lp->loop = c->loop;
    if (!lp->cfg.connect_timeout_ms) lp->cfg.connect_timeout_ms = LIMIT_LIBPROCESS_CONNECT_MS;
    if (!lp->cfg.max_body_bytes) lp->cfg.max_body_bytes = LIMIT_LIBPROCESS_BODY_BYTES;
    if (!lp->cfg.max_out_bytes) lp->cfg.max_out_bytes = LIMIT_LIBPROCESS_OUT_BYTES;
    rv = listen_at(lp);
    if (rv) {
        free(lp);
        return rv;
    }
    lp->cfg.ip = lp->cfg.advertise_ip = NULL; /* the caller's, and no longer needed */
    lp->ip = ip;
    lp->port = c->advertise_port ? c->advertise_port : http_server_port(lp->server);
    lp->next_serial = 1;
    make_stats(lp);
    uv_idle_init(lp->loop, &lp->pump);
    lp->pump.data = lp;
    lp->n_handles = 2;
    *ret = lp;
    return 0;
}

uint16_t libprocess_port(const struct libprocess *lp)
{
    return http_server_port(lp->server);
}

static void free_processes(struct libprocess *lp)
{
    struct lp_process *p = lp->processes, *next;
    struct lp_counter *c = lp->counters, *next_c;
    HASH_CLEAR(hh, lp->processes);
    HASH_CLEAR(hh, lp->counters);
    for (; p; p = next) {
        next = p->hh.next;
        while (p->links) link_drop(p->links);
        free(p);
    }
    for (; c; c = next_c) {
        next_c = c->hh.next;
        free(c);
    }
    free_dead(lp);
}

void lp_handle_closed(struct libprocess *lp)
{
    struct lp_local *l, *next;
    assert(lp->n_handles > 0);
    if (--lp->n_handles) return;
    assert(lp->closing && !lp->peers && !lp->conns);
    free_processes(lp);
    DL_FOREACH_SAFE(lp->local, l, next) local_free(l);
    void (*cb)(void *) = lp->close_cb;
    void *arg = lp->close_arg;
    free(lp);
    if (cb) cb(arg);
}

static void on_server_closed(void *arg)
{
    lp_handle_closed(arg);
}

static void on_pump_closed(uv_handle_t *h)
{
    lp_handle_closed(h->data);
}

void libprocess_close(struct libprocess *lp, void (*cb)(void *arg), void *arg)
{
    struct lp_peer *p, *next;
    struct lp_conn *c, *next_c;
    assert(!lp->closing);
    lp->closing = true;
    lp->close_cb = cb;
    lp->close_arg = arg;
    HASH_ITER(hh, lp->peers, p, next) peer_end(p);
    DL_FOREACH_SAFE(lp->conns, c, next_c) conn_end(c);
    http_server_close(lp->server, on_server_closed, lp);
    uv_close((uv_handle_t *)&lp->pump, on_pump_closed);
}
