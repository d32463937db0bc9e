#include "zk/group.h"

#include "core/buf.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

enum { MEMBERS_MAX = 1000, RETRY_MS = 2000 };

struct slot {
    struct zk_group *g;
    struct zk_member m;
    char *name, *label, *data;
    bool read;
};

struct zk_group {
    struct zk_group_config cfg;
    char *path, *data, *label;
    uint32_t data_len;
    struct zk_listener *listener;
    uv_timer_t *retry; /* own allocation: closing it outlives the group */
    int32_t own;       /* our number, -1 while not joined */
    bool joining, listing, dirty;
    struct slot *slots;
    uint32_t n_slots, unread;
};

static void list(struct zk_group *g);
static void begin(struct zk_group *g);

bool zk_member_name(struct str name, int32_t *ret_number, struct str *ret_label)
{
    uint32_t at = name.n;
    while (at > 0 && name.p[at - 1] != '_') at--;
    if (at == name.n) return false;
    int64_t v = 0;
    for (uint32_t i = at; i < name.n; i++) {
        if (name.p[i] < '0' || name.p[i] > '9') return false;
        v = v * 10 + (name.p[i] - '0');
        if (v > INT32_MAX) return false;
    }
    *ret_number = (int32_t)v;
    *ret_label = (struct str){ 0 };
    if (at > 0) {
        const char *end = memchr(name.p, '_', name.n);
        *ret_label = (struct str){ name.p, (uint32_t)(end - name.p) };
    }
    return true;
}

static void free_slots(struct zk_group *g)
{
    for (uint32_t i = 0; i < g->n_slots; i++) {
        free(g->slots[i].name);
        free(g->slots[i].label);
        free(g->slots[i].data);
        zk_forget(g->cfg.session, &g->slots[i]);
    }
    free(g->slots);
    g->slots = NULL;
    g->n_slots = g->unread = 0;
}

static void on_retry(uv_timer_t *t)
{
    begin(t->data);
}

static void retry_later(struct zk_group *g)
{
    uv_timer_start(g->retry, on_retry, RETRY_MS, 0);
}

static void fail(struct zk_group *g, const char *why)
{
    void (*cb)(const char *, void *) = g->cfg.on_failed;
    g->cfg.on_failed = NULL;
    g->cfg.on_members = NULL;
    if (cb) cb(why, g->cfg.arg);
}

static void refuse(struct zk_group *g, const char *what)
{
    struct buf why = { 0 };
    zk_refusal(g->cfg.session, what, g->path, &why);
    fail(g, buf_cstr(&why));
    buf_release(&why);
}

/* ---------------- reading the members ---------------- */

static int by_number(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    return (x->m.number > y->m.number) - (x->m.number < y->m.number);
}

static void report(struct zk_group *g)
{
    struct zk_member *m = xcalloc(g->n_slots, sizeof *m);
    uint32_t n = 0;
    bool own = false;
    for (uint32_t i = 0; i < g->n_slots; i++) {
        if (!g->slots[i].read) continue; /* vanished before we could read it */
        m[n++] = g->slots[i].m;
        own = own || g->slots[i].m.number == g->own;
    }
    g->listing = false;
    if (g->cfg.on_members) g->cfg.on_members(m, n, g->cfg.arg);
    free(m);
    /* Somebody deleted our node, or it was made by a session that is gone. */
    if (g->own >= 0 && !own && !g->dirty) {
        g->own = -1;
        begin(g);
    } else if (g->dirty) {
        list(g);
    }
}

static void on_member_data(const struct zk_result *r, void *arg)
{
    struct slot *s = arg;
    struct zk_group *g = s->g;
    if (r->err == ERR_CLOSED) {
        g->listing = false;
        if (zk_connected(g->cfg.session)) retry_later(g);
        return;
    }
    if (r->err == 0) {
        s->data = xstrndup(r->data.p, r->data.n);
        s->m.data = (struct str){ s->data, r->data.n };
        s->m.owner = r->owner;
        s->read = true;
    }
    if (--g->unread == 0) report(g);
}

static void on_changed(void *arg)
{
    struct zk_group *g = arg;
    g->dirty = true;
    if (!g->listing) list(g);
}

static void read_members(struct zk_group *g)
{
    struct buf path = { 0 };
    for (uint32_t i = 0; i < g->n_slots; i++) {
        buf_reset(&path);
        buf_addf(&path, "%s/%s", g->path, g->slots[i].name);
        if (zk_get(g->cfg.session, buf_cstr(&path), on_member_data, &g->slots[i])) {
            g->listing = false;
            break;
        }
    }
    buf_release(&path);
}

static void on_list(const struct zk_result *r, void *arg)
{
    struct zk_group *g = arg;
    if (r->err) {
        g->listing = false;
        if (r->err == ERR_REFUSED)
            refuse(g, "list the group");
        else if (zk_connected(g->cfg.session))
            retry_later(g);
        return;
    }
    free_slots(g);
    g->slots = xcalloc(r->n_names, sizeof *g->slots);
    for (uint32_t i = 0; i < r->n_names && g->n_slots < MEMBERS_MAX; i++) {
        struct slot *s = &g->slots[g->n_slots];
        struct str label;
        if (!zk_member_name(r->names[i], &s->m.number, &label)) continue;
        s->g = g;
        s->name = xstrndup(r->names[i].p, r->names[i].n);
        s->label = label.p ? xstrndup(label.p, label.n) : NULL;
        s->m.label = str_c(s->label);
        g->n_slots++;
    }
    qsort(g->slots, g->n_slots, sizeof *g->slots, by_number);
    g->unread = g->n_slots;
    if (g->n_slots)
        read_members(g);
    else
        report(g);
}

static void list(struct zk_group *g)
{
    if (g->listing || !g->cfg.on_members) return;
    g->dirty = false;
    g->listing = zk_children_watch(g->cfg.session, g->path, on_changed, on_list, g) == 0;
}

/* ---------------- joining ---------------- */

static void on_joined(const struct zk_result *r, void *arg)
{
    struct zk_group *g = arg;
    struct str label;
    g->joining = false;
    if (r->err == ERR_REFUSED) {
        refuse(g, "join the group");
        return;
    }
    if (r->err) {
        /* The node may have been made all the same: begin() looks for it before it makes another. */
        if (zk_connected(g->cfg.session)) retry_later(g);
        return;
    }
    const char *slash = strrchr(r->path.p, '/');
    assert(slash);
    if (!zk_member_name(str_c(slash + 1), &g->own, &label)) g->own = -1;
    logline(LOG_INFO, "zookeeper-group", "path=%s joined=%d", g->path, g->own);
    list(g);
}

static void join(struct zk_group *g)
{
    if (g->joining || g->own >= 0 || !g->cfg.on_members) return;
    struct buf path = { 0 };
    buf_addf(&path, "%s/%s%s", g->path, g->label ? g->label : "", g->label ? "_" : "");
    g->joining = zk_create(g->cfg.session, buf_cstr(&path), (struct str){ g->data, g->data_len },
                           ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL, on_joined, g) == 0;
    buf_release(&path);
}

/* A node of this very session with our data is ours: its create was answered by a lost connection. */
static bool find_own(struct zk_group *g)
{
    int64_t id = zk_session_id(g->cfg.session);
    for (uint32_t i = 0; i < g->n_slots && g->own < 0; i++) {
        const struct slot *s = &g->slots[i];
        if (s->read && s->m.owner == id && str_eq(s->m.data, (struct str){ g->data, g->data_len }))
            g->own = s->m.number;
    }
    return g->own >= 0;
}

static void on_path(const struct zk_result *r, void *arg)
{
    struct zk_group *g = arg;
    if (r->err == ERR_REFUSED) {
        refuse(g, "make the group's path");
        return;
    }
    if (r->err) {
        if (zk_connected(g->cfg.session)) retry_later(g);
        return;
    }
    if (g->data && !find_own(g))
        join(g);
    else
        list(g);
}

static void begin(struct zk_group *g)
{
    if (g->cfg.on_members) zk_ensure_path(g->cfg.session, g->path, on_path, g);
}

static void on_session(enum zk_event ev, void *arg)
{
    struct zk_group *g = arg;
    if (ev == ZK_LOST) {
        g->own = -1;
        g->joining = g->listing = false;
    } else if (ev == ZK_CONNECTED || ev == ZK_RECONNECTED) {
        begin(g);
    } else if (ev == ZK_AUTH_FAILED) {
        fail(g, "ZooKeeper refuses the credentials");
    }
}

int zk_group_new(const struct zk_group_config *c, struct zk_group **ret)
{
    if (!c->path || c->path[0] != '/' || !c->path[1]) return ERR_INVALID;
    struct zk_group *g = xcalloc(1, sizeof *g);
    g->cfg = *c;
    g->path = xstrdup(c->path);
    g->data = c->join_data.p ? xstrndup(c->join_data.p, c->join_data.n) : NULL;
    g->data_len = c->join_data.n;
    g->label = c->join_label ? xstrdup(c->join_label) : NULL;
    g->own = -1;
    g->retry = xmalloc(sizeof *g->retry);
    uv_timer_init(zk_loop(c->session), g->retry);
    g->retry->data = g;
    g->listener = zk_listen(c->session, on_session, g);
    if (zk_connected(c->session)) begin(g);
    *ret = g;
    return 0;
}

void zk_group_join(struct zk_group *g, struct str data)
{
    assert(!g->data);
    assert(data.p);
    g->data = xstrndup(data.p, data.n);
    g->data_len = data.n;
    if (zk_connected(g->cfg.session)) begin(g);
}

static void on_left(const struct zk_result *r, void *arg)
{
    (void)r;
    (void)arg;
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h);
}

void zk_group_free(struct zk_group *g)
{
    if (!g) return;
    free_slots(g);
    zk_forget(g->cfg.session, g);
    zk_unlisten(g->listener);
    if (g->own >= 0) {
        struct buf path = { 0 };
        buf_addf(&path, "%s/%s%s%010d", g->path, g->label ? g->label : "", g->label ? "_" : "", g->own);
        zk_delete(g->cfg.session, buf_cstr(&path), on_left, NULL);
        buf_release(&path);
    }
    uv_close((uv_handle_t *)g->retry, on_timer_closed);
    free(g->path);
    free(g->data);
    free(g->label);
    free(g);
}
