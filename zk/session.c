#include "zk/session.h"

#include "core/buf.h"
#include "core/logline.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <zookeeper/zookeeper.h>

enum {
    RETRY_MS = 100,       /* after a call of the client that failed without a socket to wait for */
    RENEW_MS = 250,       /* between a lost handle and the next one */
    ENDPOINTS_MAX = 16,   /* of one ensemble */
    REQUESTS_MAX = 10000, /* under way at once */
};

/* The client's callbacks carry one of these. It stays allocated until the client has let go of it. */
struct zk_request {
    struct zk_request *prev, *next;
    struct zk_session *z; /* NULL once the session is being closed */
    zk_cb cb;             /* NULL: forgotten */
    void *arg;
    struct zk_watch *watch;
    bool exists_ok;
    char *path; /* of a create that asks, when it is refused, whether the node is there anyway */
};

struct zk_watch {
    struct zk_watch *prev, *next;
    void (*changed)(void *arg); /* NULL: forgotten */
    void *arg;
};

struct zk_listener {
    struct zk_listener *next;
    struct zk_session *z;
    void (*fn)(enum zk_event ev, void *arg); /* NULL: ended; unlinked when no event is being told */
    void *arg;
};

struct zk_session {
    uv_loop_t *loop;
    char *endpoints, *chroot, *digest;
    uint32_t timeout_ms;
    zhandle_t *zh;
    uv_poll_t *poll; /* own allocation: closing one outlives its fd */
    int poll_fd;
    uv_timer_t timer;  /* the client's next deadline */
    uv_timer_t expiry; /* when the session must be taken for lost */
    int in_client;     /* depth of calls into the client, in which its callbacks run */
    bool connected, had_session, auth_failed, closing, dead;
    uint64_t heard_at; /* loop time of the last bytes from a server */
    int64_t id;
    struct zk_request *requests;
    unsigned n_requests;
    struct zk_watch *watches;
    struct zk_listener *listeners;
    int telling;
    struct stat *gauge[5], *count[5];
    /* resolution of endpoints, one after the other */
    uv_getaddrinfo_t resolver;
    bool resolving;
    unsigned endpoint;
    struct buf servers;
    uv_work_t close_work;
    void (*close_cb)(void *arg);
    void *close_arg;
    unsigned handles; /* uv handles still closing */
};

static void pump(struct zk_session *z);
static void connect_anew(struct zk_session *z);
static void dispose(struct zk_session *z);

/* ---------------- states and listeners ---------------- */

static void count_state(struct zk_session *z, int state)
{
    for (int i = 0; i < 5; i++)
        if (z->gauge[i]) stat_set(z->gauge[i], i == state);
    if (z->count[state]) stat_add(z->count[state], 1);
}

static void sweep_listeners(struct zk_session *z)
{
    for (struct zk_listener **p = &z->listeners; *p;) {
        struct zk_listener *l = *p;
        if (l->fn) {
            p = &l->next;
        } else {
            *p = l->next;
            free(l);
        }
    }
}

static void tell(struct zk_session *z, enum zk_event ev)
{
    static const int state_of[] = {
        [ZK_CONNECTED] = 0, [ZK_SUSPENDED] = 1, [ZK_RECONNECTED] = 2, [ZK_LOST] = 3, [ZK_AUTH_FAILED] = 3
    };
    static const char *const names[] = { "connected", "suspended", "reconnected", "lost", "auth-failed" };
    count_state(z, state_of[ev]);
    logline(ev == ZK_CONNECTED || ev == ZK_RECONNECTED ? LOG_INFO : LOG_WARN, "zookeeper-session",
            "state=%s session=0x%llx timeout_ms=%u", names[ev], (unsigned long long)z->id, zk_session_timeout_ms(z));
    z->telling++;
    for (struct zk_listener *l = z->listeners; l; l = l->next)
        if (l->fn && !z->closing) l->fn(ev, l->arg);
    if (--z->telling == 0) sweep_listeners(z);
}

struct zk_listener *zk_listen(struct zk_session *z, void (*fn)(enum zk_event ev, void *arg), void *arg)
{
    struct zk_listener *l = xcalloc(1, sizeof *l), **end = &z->listeners;
    *l = (struct zk_listener){ .z = z, .fn = fn, .arg = arg };
    while (*end) end = &(*end)->next;
    *end = l;
    return l;
}

void zk_unlisten(struct zk_listener *l)
{
    if (!l) return;
    struct zk_session *z = l->z;
    l->fn = NULL;
    if (!z->telling) sweep_listeners(z);
}

bool zk_connected(const struct zk_session *z)
{
    return z->connected;
}

uv_loop_t *zk_loop(const struct zk_session *z)
{
    return z->loop;
}

int64_t zk_session_id(const struct zk_session *z)
{
    return z->id;
}

uint32_t zk_session_timeout_ms(const struct zk_session *z)
{
    return z->zh && z->had_session ? (uint32_t)zoo_recv_timeout(z->zh) : z->timeout_ms;
}

/* ---------------- driving the client ---------------- */

static void free_poll(uv_handle_t *h)
{
    free(h);
}

static void drop_poll(struct zk_session *z)
{
    if (!z->poll) return;
    uv_poll_stop(z->poll);
    uv_close((uv_handle_t *)z->poll, free_poll);
    z->poll = NULL;
    z->poll_fd = -1;
}

/* Before any call that may close the client's socket: epoll must forget the fd while its number is still known. */
static void enter(struct zk_session *z)
{
    if (z->in_client++ == 0 && z->poll) uv_poll_stop(z->poll);
}

static void on_pump_timer(uv_timer_t *t)
{
    pump(t->data);
}

static void pump_soon(struct zk_session *z, uint64_t ms)
{
    if (!z->closing) uv_timer_start(&z->timer, on_pump_timer, ms, 0);
}

static void leave(struct zk_session *z)
{
    if (--z->in_client == 0) pump_soon(z, 0);
}

static void process(struct zk_session *z, int events)
{
    if (z->closing || !z->zh) return;
    if (events & ZOOKEEPER_READ) z->heard_at = uv_now(z->loop);
    enter(z);
    zookeeper_process(z->zh, events);
    z->in_client--;
    pump(z);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct zk_session *z = p->data;
    /* A refused or reset connection comes as an error; the client finds out by reading. */
    if (status < 0) events = UV_READABLE | UV_WRITABLE;
    process(z, (events & UV_READABLE ? ZOOKEEPER_READ : 0) | (events & UV_WRITABLE ? ZOOKEEPER_WRITE : 0));
}

static void watch_fd(struct zk_session *z, int fd, int interest)
{
    if (z->poll && z->poll_fd != fd) drop_poll(z);
    if (fd < 0) return;
    if (!z->poll) {
        z->poll = xmalloc(sizeof *z->poll);
        if (uv_poll_init(z->loop, z->poll, fd)) {
            free(z->poll);
            z->poll = NULL;
            return;
        }
        z->poll->data = z;
        z->poll_fd = fd;
    }
    int events = (interest & ZOOKEEPER_READ ? UV_READABLE : 0) | (interest & ZOOKEEPER_WRITE ? UV_WRITABLE : 0);
    if (events) uv_poll_start(z->poll, events, on_poll);
}

static void free_watches(struct zk_session *z)
{
    for (struct zk_watch *w = z->watches, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    z->watches = NULL;
}

static void on_renew(uv_timer_t *t)
{
    connect_anew(t->data);
}

/* The handle is of no use any more. Disconnected or expired as it is, closing it does not wait for anybody. */
static void renew(struct zk_session *z)
{
    bool had = z->had_session;
    z->connected = z->had_session = z->dead = false;
    uv_timer_stop(&z->expiry);
    uv_timer_stop(&z->timer);
    drop_poll(z);
    if (z->zh) {
        zhandle_t *zh = z->zh;
        z->in_client++;
        zookeeper_close(zh);
        z->in_client--;
        z->zh = NULL;
    }
    free_watches(z);
    if (z->closing) return;
    if (had) tell(z, ZK_LOST);
    if (!z->auth_failed && !z->closing) uv_timer_start(&z->timer, on_renew, RENEW_MS, 0);
}

static void pump(struct zk_session *z)
{
    if (z->closing || !z->zh || z->in_client) return;
    if (z->dead || is_unrecoverable(z->zh)) {
        renew(z);
        return;
    }
    if (z->poll) uv_poll_stop(z->poll);
    int fd = -1, interest = 0;
    struct timeval tv = { 0 };
    z->in_client++;
    int rc = zookeeper_interest(z->zh, &fd, &interest, &tv);
    z->in_client--;
    if (z->closing) return;
    if (rc != ZOK) {
        drop_poll(z);
        pump_soon(z, is_unrecoverable(z->zh) ? 0 : RETRY_MS);
        return;
    }
    watch_fd(z, fd, interest);
    pump_soon(z, (uint64_t)tv.tv_sec * 1000 + ((uint64_t)tv.tv_usec + 999) / 1000);
}

/* While disconnected the client never reports an expiry: past this moment the server may have forgotten us. */
static void on_expiry(uv_timer_t *t)
{
    struct zk_session *z = t->data;
    z->dead = true;
    pump(z);
}

uint64_t zk_session_left_ms(const struct zk_session *z)
{
    uint64_t deadline = z->heard_at + zk_session_timeout_ms(z), now = uv_now(z->loop);
    return deadline > now ? deadline - now : 0;
}

static void arm_expiry(struct zk_session *z)
{
    uv_timer_start(&z->expiry, on_expiry, zk_session_left_ms(z), 0);
}

static void on_auth(int rc, const void *data)
{
    (void)rc;
    (void)data;
}

static void on_session_connected(struct zk_session *z)
{
    bool again = z->had_session;
    z->connected = z->had_session = true;
    z->heard_at = uv_now(z->loop);
    z->id = zoo_client_id(z->zh)->client_id;
    uv_timer_stop(&z->expiry);
    if (!again && z->digest) zoo_add_auth(z->zh, "digest", z->digest, (int)strlen(z->digest), on_auth, NULL);
    tell(z, again ? ZK_RECONNECTED : ZK_CONNECTED);
}

static void on_session_event(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    struct zk_session *z = ctx;
    (void)path;
    if (type != ZOO_SESSION_EVENT || z->closing || zh != z->zh) return;
    if (state == ZOO_CONNECTED_STATE) {
        on_session_connected(z);
    } else if (state == ZOO_CONNECTING_STATE && z->connected) {
        z->connected = false;
        arm_expiry(z);
        tell(z, ZK_SUSPENDED);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        z->connected = false;
        z->dead = true;
    } else if (state == ZOO_AUTH_FAILED_STATE) {
        z->connected = false;
        z->auth_failed = z->dead = true;
        tell(z, ZK_AUTH_FAILED);
    }
}

static void on_client_log(const char *message)
{
    logline(LOG_DEBUG, "zookeeper-client", "message=\"%s\"", message);
}

static void init_handle(struct zk_session *z)
{
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    z->zh = zookeeper_init2(buf_cstr(&z->servers), on_session_event, (int)z->timeout_ms, NULL, z, 0, on_client_log);
    if (!z->zh) {
        uv_timer_start(&z->timer, on_renew, RENEW_MS, 0);
        return;
    }
    /* The servers are numeric already: nothing to resolve again while connected. */
    zoo_set_servers_resolution_delay(z->zh, -1);
    z->heard_at = uv_now(z->loop);
    arm_expiry(z); /* no server within the time: resolve again, try anew */
    pump(z);
}

/* ---------------- resolution ---------------- */

/* The i-th "host:port" of the list into host and port. False: there is none. */
static bool endpoint_at(const char *list, unsigned i, char host[256], char port[8])
{
    const char *p = list;
    while (i-- > 0) {
        p = strchr(p, ',');
        if (!p) return false;
        p++;
    }
    size_t n = strcspn(p, ",");
    const char *colon = NULL;
    for (size_t k = 0; k < n; k++)
        if (p[k] == ':') colon = p + k;
    if (!colon || colon == p || (size_t)(colon - p) > 255 || n - (size_t)(colon - p) - 1 > 5 || colon + 1 == p + n)
        return false;
    memcpy(host, p, (size_t)(colon - p));
    host[colon - p] = 0;
    memcpy(port, colon + 1, (size_t)(p + n - colon - 1));
    port[p + n - colon - 1] = 0;
    return true;
}

static bool endpoints_ok(const char *list)
{
    char host[256], port[8];
    unsigned n = 1;
    for (const char *p = list; *p; p++) n += *p == ',';
    if (n > ENDPOINTS_MAX) return false;
    for (unsigned i = 0; i < n; i++) {
        if (!endpoint_at(list, i, host, port)) return false;
        char *end;
        long v = strtol(port, &end, 10);
        if (*end || v < 1 || v > 65535) return false;
    }
    return true;
}

static void resolve_next(struct zk_session *z);

static void add_server(struct zk_session *z, const struct sockaddr *sa)
{
    char text[64];
    int port;
    if (sa->sa_family == AF_INET) {
        uv_ip4_name((const struct sockaddr_in *)sa, text, sizeof text);
        port = ntohs(((const struct sockaddr_in *)sa)->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        text[0] = '[';
        uv_ip6_name((const struct sockaddr_in6 *)sa, text + 1, sizeof text - 2);
        strcat(text, "]");
        port = ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
    } else {
        return;
    }
    buf_addf(&z->servers, "%s%s:%d", z->servers.len ? "," : "", text, port);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct zk_session *z = req->data;
    z->resolving = false;
    if (status == 0)
        for (struct addrinfo *a = res; a; a = a->ai_next) add_server(z, a->ai_addr);
    uv_freeaddrinfo(res);
    if (z->closing) {
        dispose(z);
        return;
    }
    if (status) logline(LOG_WARN, "zookeeper-resolve", "endpoints=%s error=\"%s\"", z->endpoints, uv_strerror(status));
    z->endpoint++;
    resolve_next(z);
}

static void resolve_next(struct zk_session *z)
{
    char host[256], port[8];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    while (endpoint_at(z->endpoints, z->endpoint, host, port)) {
        struct sockaddr_in v4;
        if (uv_ip4_addr(host, atoi(port), &v4) == 0) {
            add_server(z, (struct sockaddr *)&v4);
            z->endpoint++;
            continue;
        }
        z->resolver.data = z;
        if (uv_getaddrinfo(z->loop, &z->resolver, on_resolved, host, port, &hints) == 0) {
            z->resolving = true;
            return;
        }
        z->endpoint++;
    }
    if (z->servers.len)
        init_handle(z);
    else
        uv_timer_start(&z->timer, on_renew, RENEW_MS * 4, 0);
}

static void connect_anew(struct zk_session *z)
{
    assert(!z->zh && !z->resolving);
    buf_reset(&z->servers);
    z->endpoint = 0;
    resolve_next(z);
}

static void on_first(uv_timer_t *t)
{
    connect_anew(t->data);
}

/* ---------------- life ---------------- */

int zk_session_new(const struct zk_session_config *c, struct zk_session **ret)
{
    static const char *const states[] = { "CONNECTED", "SUSPENDED", "RECONNECTED", "LOST", "READ_ONLY" };
    if (!c->endpoints || !endpoints_ok(c->endpoints)) return ERR_INVALID;
    struct zk_session *z = xcalloc(1, sizeof *z);
    z->loop = c->loop;
    z->endpoints = xstrdup(c->endpoints);
    z->chroot = xstrdup(c->chroot && strcmp(c->chroot, "/") != 0 ? c->chroot : "");
    z->digest = c->digest ? xstrdup(c->digest) : NULL;
    z->timeout_ms = c->session_timeout_ms;
    z->poll_fd = -1;
    for (int i = 0; i < 5 && c->stats; i++) {
        z->gauge[i] = stats_intf(c->stats, "zk_connection_state_%s", states[i]);
        z->count[i] = stats_intf(c->stats, "zk_connection_state_%s_counter", states[i]);
    }
    uv_timer_init(z->loop, &z->timer);
    uv_timer_init(z->loop, &z->expiry);
    z->timer.data = z->expiry.data = z;
    uv_timer_start(&z->timer, on_first, 0, 0);
    *ret = z;
    return 0;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct zk_session *z = h->data;
    if (--z->handles) return;
    void (*cb)(void *) = z->close_cb;
    void *arg = z->close_arg;
    for (struct zk_listener *l = z->listeners, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    free_watches(z);
    free(z->endpoints);
    free(z->chroot);
    free(z->digest);
    buf_release(&z->servers);
    free(z);
    if (cb) cb(arg);
}

static void close_in_pool(uv_work_t *w)
{
    struct zk_session *z = w->data;
    zookeeper_close(z->zh);
}

static void after_close(uv_work_t *w, int status)
{
    struct zk_session *z = w->data;
    (void)status;
    z->zh = NULL;
    dispose(z);
}

/* Runs when neither the pool nor the client uses the session any more. */
static void dispose(struct zk_session *z)
{
    if (z->resolving) return;
    z->handles = 2;
    uv_close((uv_handle_t *)&z->timer, on_handle_closed);
    uv_close((uv_handle_t *)&z->expiry, on_handle_closed);
}

static void on_deferred_close(uv_timer_t *t)
{
    struct zk_session *z = t->data;
    drop_poll(z);
    if (!z->zh) {
        dispose(z);
        return;
    }
    /* zookeeper_close() waits for the server, up to seconds: not on the loop. Nobody else uses the handle from here. */
    z->close_work.data = z;
    int rc = uv_queue_work(z->loop, &z->close_work, close_in_pool, after_close);
    assert(rc == 0);
    (void)rc;
}

void zk_session_close(struct zk_session *z, void (*cb)(void *arg), void *arg)
{
    assert(!z->closing);
    z->closing = true;
    z->close_cb = cb;
    z->close_arg = arg;
    for (struct zk_request *r = z->requests, *next; r; r = next) {
        next = r->next;
        r->z = NULL;
        r->cb = NULL;
        r->prev = r->next = NULL;
    }
    z->requests = NULL;
    for (struct zk_watch *w = z->watches; w; w = w->next) w->changed = NULL;
    uv_timer_stop(&z->expiry);
    if (z->resolving) uv_cancel((uv_req_t *)&z->resolver);
    /* We may be inside one of the client's callbacks: not from here. */
    uv_timer_start(&z->timer, on_deferred_close, 0, 0);
}

/* ---------------- requests ---------------- */

static int err_of(int rc)
{
    switch (rc) {
    case ZOK:
        return 0;
    case ZNONODE:
        return ERR_NOT_FOUND;
    case ZNODEEXISTS:
        return ERR_EXISTS;
    case ZBADVERSION:
        return ERR_REJECTED;
    case ZNOAUTH:
    case ZAUTHFAILED:
    case ZINVALIDACL:
        return ERR_REFUSED;
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZSESSIONEXPIRED:
    case ZSESSIONMOVED:
    case ZINVALIDSTATE:
    case ZCLOSING:
        return ERR_CLOSED;
    default:
        return ERR_IO;
    }
}

static struct zk_request *request_new(struct zk_session *z, zk_cb cb, void *arg)
{
    if (!z->connected || z->closing || z->n_requests >= REQUESTS_MAX) return NULL;
    struct zk_request *r = xcalloc(1, sizeof *r);
    *r = (struct zk_request){ .next = z->requests, .z = z, .cb = cb, .arg = arg };
    if (r->next) r->next->prev = r;
    z->requests = r;
    z->n_requests++;
    return r;
}

static void request_free(struct zk_request *r)
{
    if (r->z) {
        if (r->prev)
            r->prev->next = r->next;
        else
            r->z->requests = r->next;
        if (r->next) r->next->prev = r->prev;
        r->z->n_requests--;
    }
    free(r->path);
    free(r);
}

static void watch_free(struct zk_session *z, struct zk_watch *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        z->watches = w->next;
    if (w->next) w->next->prev = w->prev;
    free(w);
}

static struct zk_watch *watch_new(struct zk_session *z, void (*changed)(void *arg), void *arg)
{
    struct zk_watch *w = xcalloc(1, sizeof *w);
    *w = (struct zk_watch){ .next = z->watches, .changed = changed, .arg = arg };
    if (w->next) w->next->prev = w;
    z->watches = w;
    return w;
}

static void finish(struct zk_request *r, struct zk_result *res, int rc)
{
    res->err = rc == ZNODEEXISTS && r->exists_ok ? 0 : err_of(rc);
    struct zk_session *z = r->z;
    zk_cb cb = r->cb;
    void *arg = r->arg;
    /* A read that failed has left no watch behind. */
    if (r->watch && rc != ZOK && z && !z->closing) watch_free(z, r->watch);
    request_free(r);
    if (cb) cb(res, arg);
}

static void on_exists(int rc, const struct Stat *stat, const void *data)
{
    struct zk_result res = { 0 };
    (void)stat;
    finish((struct zk_request *)(uintptr_t)data, &res, rc == ZNONODE ? ZNOAUTH : rc);
}

/* Whether we may create is checked before whether there is something to create: a node below a parent that is closed to
 * us is refused even if it exists. */
static bool asks_if_exists(struct zk_request *r, int rc)
{
    return rc == ZNOAUTH && r->path && r->z && !r->z->closing && zoo_aexists(r->z->zh, r->path, 0, on_exists, r) == ZOK;
}

static void on_string(int rc, const char *value, const void *data)
{
    struct zk_request *r = (struct zk_request *)(uintptr_t)data;
    struct zk_result res = { 0 };
    if (asks_if_exists(r, rc)) return;
    if (rc == ZOK && value && r->z) res.path = str_c(value + strlen(r->z->chroot));
    finish(r, &res, rc);
}

static void on_void(int rc, const void *data)
{
    struct zk_result res = { 0 };
    finish((struct zk_request *)(uintptr_t)data, &res, rc);
}

static void on_data(int rc, const char *value, int n, const struct Stat *stat, const void *data)
{
    struct zk_result res = { 0 };
    if (rc == ZOK) {
        res.data = n > 0 ? (struct str){ value, (uint32_t)n } : STR("");
        res.owner = stat->ephemeralOwner;
        res.version = stat->version;
    }
    finish((struct zk_request *)(uintptr_t)data, &res, rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct zk_result res = { 0 };
    if (rc == ZOK) res.version = stat->version;
    finish((struct zk_request *)(uintptr_t)data, &res, rc);
}

static void on_strings(int rc, const struct String_vector *v, const void *data)
{
    struct zk_result res = { 0 };
    struct str *names = NULL;
    if (rc == ZOK && v->count > 0) {
        names = xcalloc((size_t)v->count, sizeof *names);
        for (int i = 0; i < v->count; i++) names[i] = str_c(v->data[i]);
        res.names = names;
        res.n_names = (uint32_t)v->count;
    }
    finish((struct zk_request *)(uintptr_t)data, &res, rc);
    free(names);
}

/* Watches hear of session events too; those are told by listeners. The client has let go of a watch that fired. */
static void on_watch(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
    (void)state;
    (void)path;
    if (type == ZOO_SESSION_EVENT) return;
    struct zk_session *z = (struct zk_session *)(uintptr_t)zoo_get_context(zh);
    struct zk_watch *w = ctx;
    if (z->closing) return;
    void (*changed)(void *) = w->changed;
    void *arg = w->arg;
    watch_free(z, w);
    if (changed) changed(arg);
}

static void full_path(const struct zk_session *z, const char *path, struct buf *out)
{
    buf_addf(out, "%s%s", z->chroot, z->chroot[0] && strcmp(path, "/") == 0 ? "" : path);
}

static int start(struct zk_session *z, struct zk_request *r, int rc)
{
    if (rc == ZOK) return 0;
    if (r->watch) watch_free(z, r->watch);
    request_free(r);
    return err_of(rc);
}

static int create_full(struct zk_session *z, const char *full, struct str data, int flags, zk_cb cb, void *arg)
{
    enum { PERM_READ = 1, PERM_ALL = 31 }; /* ZooKeeper's bits; the client's names of them are no constants */
    static struct ACL open_acl[] = { { PERM_ALL, { (char *)"world", (char *)"anyone" } } };
    static struct ACL own_acl[] = { { PERM_READ, { (char *)"world", (char *)"anyone" } },
                                    { PERM_ALL, { (char *)"auth", (char *)"" } } };
    struct ACL_vector acl = z->digest ? (struct ACL_vector){ 2, own_acl } : (struct ACL_vector){ 1, open_acl };
    struct zk_request *r = request_new(z, cb, arg);
    if (!r) return ERR_CLOSED;
    int f = (flags & ZK_EPHEMERAL_NODE ? ZOO_EPHEMERAL : 0) | (flags & ZK_SEQUENTIAL ? ZOO_SEQUENCE : 0);
    enter(z);
    int rc = zoo_acreate(z->zh, full, data.p ? data.p : "", (int)data.n, &acl, f, on_string, r);
    leave(z);
    return start(z, r, rc);
}

int zk_create(struct zk_session *z, const char *path, struct str data, int flags, zk_cb cb, void *arg)
{
    struct buf full = { 0 };
    full_path(z, path, &full);
    int rc = create_full(z, buf_cstr(&full), data, flags, cb, arg);
    buf_release(&full);
    return rc;
}

int zk_delete(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    struct zk_request *r = request_new(z, cb, arg);
    if (!r) return ERR_CLOSED;
    struct buf full = { 0 };
    full_path(z, path, &full);
    enter(z);
    int rc = zoo_adelete(z->zh, buf_cstr(&full), -1, on_void, r);
    leave(z);
    buf_release(&full);
    return start(z, r, rc);
}

int zk_set(struct zk_session *z, const char *path, struct str data, int32_t version, zk_cb cb, void *arg)
{
    struct zk_request *r = request_new(z, cb, arg);
    if (!r) return ERR_CLOSED;
    struct buf full = { 0 };
    full_path(z, path, &full);
    enter(z);
    int rc = zoo_aset(z->zh, buf_cstr(&full), data.p ? data.p : "", (int)data.n, version, on_stat, r);
    leave(z);
    buf_release(&full);
    return start(z, r, rc);
}

int zk_get_watch(struct zk_session *z, const char *path, void (*changed)(void *arg), zk_cb cb, void *arg)
{
    struct zk_request *r = request_new(z, cb, arg);
    if (!r) return ERR_CLOSED;
    if (changed) r->watch = watch_new(z, changed, arg);
    struct buf full = { 0 };
    full_path(z, path, &full);
    enter(z);
    int rc = zoo_awget(z->zh, buf_cstr(&full), changed ? on_watch : NULL, r->watch, on_data, r);
    leave(z);
    buf_release(&full);
    return start(z, r, rc);
}

int zk_get(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    return zk_get_watch(z, path, NULL, cb, arg);
}

int zk_children_watch(struct zk_session *z, const char *path, void (*changed)(void *arg), zk_cb cb, void *arg)
{
    struct zk_request *r = request_new(z, cb, arg);
    if (!r) return ERR_CLOSED;
    if (changed) r->watch = watch_new(z, changed, arg);
    struct buf full = { 0 };
    full_path(z, path, &full);
    enter(z);
    int rc = zoo_awget_children(z->zh, buf_cstr(&full), changed ? on_watch : NULL, r->watch, on_strings, r);
    leave(z);
    buf_release(&full);
    return start(z, r, rc);
}

int zk_children(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    return zk_children_watch(z, path, NULL, cb, arg);
}

void zk_forget(struct zk_session *z, void *arg)
{
    for (struct zk_request *r = z->requests; r; r = r->next)
        if (r->arg == arg) r->cb = NULL;
    for (struct zk_watch *w = z->watches; w; w = w->next)
        if (w->arg == arg) w->changed = NULL;
}

/* ---------------- making a path ---------------- */

/* Only the last of the creates counts: ZooKeeper answers a session's requests in order. Parents may exist, or be
 * closed to us, as long as the last one stands in the end. */
static void on_parent(const struct zk_result *r, void *arg)
{
    (void)r;
    (void)arg;
}

int zk_ensure_path(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    struct buf full = { 0 };
    full_path(z, path, &full);
    char *text = xstrdup(buf_cstr(&full));
    buf_release(&full);
    int rc = 0;
    for (char *p = strchr(text + 1, '/'); p && !rc; p = strchr(p + 1, '/')) {
        *p = 0;
        rc = create_full(z, text, STR(""), ZK_PERSISTENT, on_parent, NULL);
        *p = '/';
    }
    if (!rc) rc = create_full(z, text, STR(""), ZK_PERSISTENT, cb, arg);
    if (rc) {
        free(text);
        return rc;
    }
    z->requests->exists_ok = true;
    z->requests->path = text;
    return 0;
}

void zk_refusal(const struct zk_session *z, const char *what, const char *path, struct buf *out)
{
    buf_addf(out, "no permission to %s: the ACL of %s%s is for other credentials (-zk_digest_credentials)", what,
             z->chroot, path);
}
