#include "test/sim/lib/zookeeper.h"

#include "core/buf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SESSION_US ((uint64_t)SIM_SESSION_MS * 1000)
/* A client pings this often, so that much of a session's time may be over when the connection breaks. */
#define PING_US (SESSION_US / 3)
/* The server looks for expired sessions this often. */
#define TICK_US ((uint64_t)500000)
#define SESSIONS_MAX 4096

struct znode {
    struct znode *next;
    int64_t owner;
    char *path, *data;
};

struct zookeeper {
    struct world *w;
    uint64_t delay_max_us;
    struct znode *nodes;
    struct zk_session *clients;
    int64_t version; /* of the children of the one path that is used */
    int64_t last_session;
    uint32_t last_number;
    bool alive[SESSIONS_MAX];
};

enum verb { VERB_CREATE, VERB_DELETE, VERB_GET, VERB_CHILDREN, VERB_PATH, VERB_NOTIFY };

/* A request, its way back, or a watch's notification. */
struct message_event {
    struct event e;
    struct zk_session *z;
    uint64_t epoch;
    struct request_state *r;
    bool back;
};

struct request_state {
    struct request_state *next;
    enum verb verb;
    char *path, *data;
    int flags;
    bool listed, under_way; /* freed when neither */
    zk_cb cb;               /* NULL: nobody wants it any more */
    void *arg;
    struct zk_result result;
    char **names;
};

struct zk_listener {
    struct zk_listener *next;
    struct zk_session *z;
    void (*fn)(enum zk_event ev, void *arg);
    void *arg;
};

struct zk_session {
    struct zk_session *next;
    struct zookeeper *zk;
    struct loop *loop;
    unsigned users; /* the process, and events on their way */
    bool gone, cut, connected, had_session;
    int64_t id;
    uint64_t epoch; /* of the connection */
    uint64_t to_server_us, to_client_us, reachable_us;
    unsigned silences; /* times that the server has begun to wait for it */
    struct zk_listener *listener;
    struct request_state *requests;
    struct {
        void (*changed)(void *arg);
        void *arg;
        int64_t version;
    } watch;
};

struct client_event {
    struct event e;
    struct zk_session *z;
    uint64_t epoch;
    void (*run)(struct zk_session *z);
};

/* ---- small things ---- */

static void unref(struct zk_session *z)
{
    if (--z->users) return;
    assert(!z->requests);
    free(z);
}

static bool is_stopped(const struct zk_session *z)
{
    return !z->gone && z->loop->resume_us > z->zk->w->now_us;
}

static void on_client_event(struct event *e)
{
    struct client_event *v = (struct client_event *)e;
    struct zk_session *z = v->z;
    if (is_stopped(z)) {
        e->at_us = z->loop->resume_us + 2000; /* the connection breaks behind what came through it */
        return;
    }
    if (!z->gone && v->epoch == z->epoch) v->run(z);
    unref(z);
}

static void client_after(struct zk_session *z, uint64_t delay_us, void (*run)(struct zk_session *z))
{
    struct client_event *v = world_after(z->zk->w, delay_us, sizeof(*v), on_client_event);
    v->z = z;
    v->epoch = z->epoch;
    v->run = run;
    z->users++;
}

static void request_free(struct request_state *r)
{
    if (r->listed || r->under_way) return;
    for (uint32_t i = 0; i < r->result.n_names; i++) free(r->names[i]);
    free(r->names);
    free((void *)r->result.names);
    free(r->path);
    free(r->data);
    free(r);
}

static void tell(struct zk_session *z, enum zk_event ev)
{
    if (z->listener && !z->gone) z->listener->fn(ev, z->listener->arg);
}

/* ---- the server ---- */

static void notify(struct zk_session *z);

static void changed(struct zookeeper *zk)
{
    zk->version++;
    for (struct zk_session *z = zk->clients; z; z = z->next) notify(z);
}

static void remove_node(struct zookeeper *zk, struct znode **at)
{
    struct znode *n = *at;
    *at = n->next;
    free(n->path);
    free(n->data);
    free(n);
    (void)zk;
}

static void end_session(struct zookeeper *zk, int64_t id)
{
    bool any = false;
    if (!zk->alive[id]) return;
    zk->alive[id] = false;
    for (struct znode **at = &zk->nodes; *at;) {
        if ((*at)->owner != id) {
            at = &(*at)->next;
            continue;
        }
        remove_node(zk, at);
        any = true;
    }
    if (any) changed(zk);
}

static struct znode **find(struct zookeeper *zk, const char *path)
{
    struct znode **at = &zk->nodes;
    while (*at && strcmp((*at)->path, path) != 0) at = &(*at)->next;
    return at;
}

static void carry_out_create(struct zk_session *z, struct request_state *r)
{
    struct zookeeper *zk = z->zk;
    char path[256];
    assert(r->flags == (ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL));
    snprintf(path, sizeof(path), "%s%010" PRIu32, r->path, zk->last_number++);
    struct znode *n = xcalloc(1, sizeof(*n));
    *n = (struct znode){ .next = zk->nodes, .owner = z->id, .path = xstrdup(path), .data = xstrdup(r->data) };
    zk->nodes = n;
    free(r->path);
    r->path = xstrdup(path);
    r->result.path = str_c(r->path);
    changed(zk);
}

static void carry_out_children(struct zk_session *z, struct request_state *r)
{
    struct zookeeper *zk = z->zk;
    uint32_t n = 0;
    for (struct znode *k = zk->nodes; k; k = k->next) n++;
    struct str *names = xcalloc(n + 1, sizeof(*names));
    r->names = xcalloc(n + 1, sizeof(*r->names));
    for (struct znode *k = zk->nodes; k; k = k->next) {
        char *name = r->names[r->result.n_names] = xstrdup(strrchr(k->path, '/') + 1);
        names[r->result.n_names++] = str_c(name);
    }
    r->result.names = names;
    z->watch.version = zk->version;
}

static void carry_out(struct zk_session *z, struct request_state *r)
{
    struct znode **at = find(z->zk, r->path);
    switch (r->verb) {
    case VERB_CREATE:
        carry_out_create(z, r);
        break;
    case VERB_CHILDREN:
        carry_out_children(z, r);
        break;
    case VERB_DELETE:
    case VERB_GET:
        if (!*at) {
            r->result.err = ERR_NOT_FOUND;
        } else if (r->verb == VERB_DELETE) {
            remove_node(z->zk, at);
            changed(z->zk);
        } else {
            r->data = xstrdup((*at)->data);
            r->result.data = str_c(r->data);
        }
        break;
    case VERB_PATH:
    case VERB_NOTIFY:
        break;
    }
}

/* ---- the connection ---- */

static void on_message(struct event *e);

static void send_message(struct zk_session *z, struct request_state *r, bool back)
{
    struct world *w = z->zk->w;
    uint64_t *last = back ? &z->to_client_us : &z->to_server_us;
    uint64_t at = w->now_us + world_between(w, 50, z->zk->delay_max_us);
    if (at < *last) at = *last;
    *last = at;
    struct message_event *m = world_after(w, at - w->now_us, sizeof(*m), on_message);
    m->z = z;
    m->epoch = z->epoch;
    m->r = r;
    m->back = back;
    r->under_way = true;
    z->users++;
}

static void unlist(struct zk_session *z, struct request_state *r)
{
    struct request_state **at = &z->requests;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    r->listed = false;
}

/* At the client: an answer, or a watch's turn. */
static void arrived(struct zk_session *z, struct request_state *r)
{
    if (r->verb == VERB_NOTIFY) {
        void (*fn)(void *arg) = z->watch.changed;
        z->watch.changed = NULL;
        if (fn) fn(z->watch.arg);
        return;
    }
    unlist(z, r);
    if (r->cb) r->cb(&r->result, r->arg);
}

static void on_message(struct event *e)
{
    const struct message_event *m = (struct message_event *)e;
    struct zk_session *z = m->z;
    if (m->back && is_stopped(z)) {
        e->at_us = z->loop->resume_us;
        return;
    }
    m->r->under_way = false;
    bool there = m->epoch == z->epoch && !z->cut && (m->back ? z->connected && !z->gone : z->zk->alive[z->id]);
    if (there && m->back) {
        arrived(z, m->r);
    } else if (there) {
        carry_out(z, m->r);
        send_message(z, m->r, true);
    }
    request_free(m->r);
    unref(z);
}

/* Watches of a connection that is broken are made good when it comes back. */
static void notify(struct zk_session *z)
{
    if (z->gone || !z->connected || !z->watch.changed || z->watch.version == z->zk->version) return;
    struct request_state *r = xcalloc(1, sizeof(*r));
    r->verb = VERB_NOTIFY;
    send_message(z, r, true);
}

/* ---- the client: sessions come and go ---- */

static void on_reconnect(struct zk_session *z);

static void reconnect_later(struct zk_session *z)
{
    client_after(z, world_between(z->zk->w, 10000, 400000), on_reconnect);
}

static void fail_requests(struct zk_session *z)
{
    while (z->requests && !z->gone) {
        struct request_state *r = z->requests;
        zk_cb cb = r->cb;
        void *arg = r->arg;
        unlist(z, r);
        request_free(r);
        if (cb) cb(&(struct zk_result){ .err = ERR_CLOSED }, arg);
    }
}

static void lost(struct zk_session *z)
{
    z->had_session = false;
    z->watch.changed = NULL;
    tell(z, ZK_LOST);
}

/* Its own clock says that the server may have expired it. */
static void on_own_expiry(struct zk_session *z)
{
    if (z->connected || !z->had_session) return;
    z->epoch++;
    lost(z);
    if (!z->gone) reconnect_later(z);
}

static void on_broken(struct zk_session *z)
{
    if (!z->connected) return;
    z->epoch++;
    z->connected = false;
    fail_requests(z);
    tell(z, ZK_SUSPENDED);
    if (z->gone) return;
    reconnect_later(z);
    uint64_t heard = z->reachable_us, now = z->zk->w->now_us;
    client_after(z, heard + SESSION_US > now ? heard + SESSION_US - now : 0, on_own_expiry);
}

static void connect_anew(struct zk_session *z)
{
    struct zookeeper *zk = z->zk;
    assert(zk->last_session + 1 < SESSIONS_MAX);
    z->id = ++zk->last_session;
    zk->alive[z->id] = true;
    z->connected = z->had_session = true;
    tell(z, ZK_CONNECTED);
}

static void on_reconnect(struct zk_session *z)
{
    if (z->connected) return;
    if (z->cut) {
        reconnect_later(z);
        return;
    }
    z->epoch++;
    if (z->had_session && z->zk->alive[z->id]) {
        z->connected = true;
        tell(z, ZK_RECONNECTED);
        if (!z->gone) notify(z);
        return;
    }
    if (z->had_session) lost(z);
    if (!z->gone) connect_anew(z);
}

/* ---- the server's clock ---- */

struct expiry {
    struct event e;
    struct zk_session *z;
    int64_t id;
    unsigned silence;
};

/* Not heard of since the expiry was armed. */
static void on_server_expiry(struct event *e)
{
    const struct expiry *x = (struct expiry *)e;
    struct zk_session *z = x->z;
    bool silent = z->gone || z->cut || !z->connected || is_stopped(z);
    if (z->id != x->id) {
        end_session(z->zk, x->id); /* the client has given it up */
    } else if (silent && z->silences == x->silence) {
        end_session(z->zk, x->id);
        if (!z->gone) client_after(z, 1000, on_broken);
    }
    unref(z);
}

/* The session's last ping was a while ago. */
static void arm_server_expiry(struct zk_session *z)
{
    struct world *w = z->zk->w;
    if (!z->had_session) return;
    uint64_t since_ping = world_between(w, 0, PING_US);
    z->reachable_us = w->now_us > since_ping ? w->now_us - since_ping : 0;
    struct expiry *x =
        world_after(w, SESSION_US - since_ping + world_between(w, 0, TICK_US), sizeof(*x), on_server_expiry);
    x->z = z;
    x->id = z->id;
    x->silence = ++z->silences;
    z->users++;
}

/* ---- what the simulation does ---- */

struct zookeeper *zookeeper_new(struct world *w)
{
    struct zookeeper *zk = xcalloc(1, sizeof(*zk));
    zk->w = w;
    zk->delay_max_us = 2000;
    return zk;
}

void zookeeper_free(struct zookeeper *zk)
{
    assert(!zk->clients);
    while (zk->nodes) remove_node(zk, &zk->nodes);
    free(zk);
}

void zookeeper_set_delay(struct zookeeper *zk, uint64_t max_us)
{
    zk->delay_max_us = max_us;
}

struct zk_session *zookeeper_connect(struct zookeeper *zk, struct loop *loop)
{
    struct zk_session *z = xcalloc(1, sizeof(*z));
    *z = (struct zk_session){ .next = zk->clients, .zk = zk, .loop = loop, .users = 1 };
    zk->clients = z;
    reconnect_later(z);
    return z;
}

void zookeeper_vanish(struct zk_session *z)
{
    struct zk_session **at = &z->zk->clients;
    while (*at != z) at = &(*at)->next;
    *at = z->next;
    arm_server_expiry(z);
    z->gone = true;
    z->connected = false;
    z->epoch++;
    while (z->requests) {
        struct request_state *r = z->requests;
        unlist(z, r);
        request_free(r);
    }
    client_after(z, 0, NULL); /* keeps it until this event is over */
    unref(z);
}

void zookeeper_cut(struct zk_session *z, bool cut)
{
    if (z->cut == cut) return;
    z->cut = cut;
    if (!cut || !z->connected) return;
    arm_server_expiry(z);
    client_after(z, world_between(z->zk->w, 0, PING_US), on_broken);
}

void zookeeper_paused(struct zk_session *z)
{
    arm_server_expiry(z);
}

void zookeeper_expire(struct zk_session *z, uint64_t delay_us)
{
    if (!zookeeper_is_alive(z)) return;
    end_session(z->zk, z->id);
    client_after(z, delay_us, on_broken);
}

bool zookeeper_is_alive(const struct zk_session *z)
{
    return z->had_session && z->zk->alive[z->id];
}

/* ---- zk/session.h ---- */

struct zk_listener *zk_listen(struct zk_session *z, void (*fn)(enum zk_event ev, void *arg), void *arg)
{
    assert(!z->listener);
    struct zk_listener *l = z->listener = xcalloc(1, sizeof(*l));
    *l = (struct zk_listener){ .z = z, .fn = fn, .arg = arg };
    return l;
}

void zk_unlisten(struct zk_listener *l)
{
    l->z->listener = NULL;
    free(l);
}

bool zk_connected(const struct zk_session *z)
{
    return z->connected;
}

uv_loop_t *zk_loop(const struct zk_session *z)
{
    return &z->loop->uv;
}

static int request(struct zk_session *z, enum verb verb, const char *path, const char *data, int flags, zk_cb cb,
                   void *arg)
{
    if (!z->connected) return ERR_CLOSED;
    struct request_state *r = xcalloc(1, sizeof(*r));
    *r = (struct request_state){ .next = z->requests,
                                 .verb = verb,
                                 .path = xstrdup(path),
                                 .data = data ? xstrdup(data) : NULL,
                                 .flags = flags,
                                 .listed = true,
                                 .cb = cb,
                                 .arg = arg };
    z->requests = r;
    send_message(z, r, false);
    return 0;
}

int zk_create(struct zk_session *z, const char *path, struct str data, int flags, zk_cb cb, void *arg)
{
    return request(z, VERB_CREATE, path, data.p, flags, cb, arg);
}

int zk_delete(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    return request(z, VERB_DELETE, path, NULL, 0, cb, arg);
}

int zk_get(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    return request(z, VERB_GET, path, NULL, 0, cb, arg);
}

int zk_ensure_path(struct zk_session *z, const char *path, zk_cb cb, void *arg)
{
    return request(z, VERB_PATH, path, NULL, 0, cb, arg);
}

int zk_children_watch(struct zk_session *z, const char *path, void (*changed_cb)(void *arg), zk_cb cb, void *arg)
{
    int err = request(z, VERB_CHILDREN, path, NULL, 0, cb, arg);
    if (err) return err;
    z->watch.changed = changed_cb;
    z->watch.arg = arg;
    z->watch.version = z->zk->version; /* of what is read, at the latest */
    return 0;
}

void zk_forget(struct zk_session *z, void *arg)
{
    for (struct request_state *r = z->requests; r; r = r->next)
        if (r->arg == arg) r->cb = NULL;
    if (z->watch.arg == arg) z->watch.changed = NULL;
}

/* Nothing is refused here. */
void zk_refusal(const struct zk_session *z, const char *what, const char *path, struct buf *out)
{
    (void)z;
    buf_addf(out, "%s at %s", what, path);
}
