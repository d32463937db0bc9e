#include "zk/election.h"

#include "core/buf.h"
#include "core/logline.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdlib.h>

enum { RETRY_MS = 1000 };

/* One thing at a time is asked of ZooKeeper: list the children, then read what matters. A change in between makes it
 * dirty. */
struct zk_election {
    struct zk_election_config cfg;
    char *path, *host, *endpoint_name, *uuid;
    struct zk_listener *listener;
    uv_timer_t *retry;        /* own allocation: closing it outlives us */
    char *candidate, *member; /* names of our nodes, NULL while there is none */
    bool joined, advertising, elected, defeated, failed;
    bool busy, dirty, creating_candidate, creating_member;
    bool leader_known;
    struct zk_endpoint leader; /* host "" = none */
};

static void look(struct zk_election *e);

/* ---------------- the advertisement ---------------- */

static cJSON *endpoint_json(const char *host, uint16_t port)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "host", host);
    cJSON_AddNumberToObject(o, "port", port);
    return o;
}

void zk_service_write(struct buf *out, const char *host, uint16_t port, const char *endpoint_name)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "serviceEndpoint", endpoint_json(host, port));
    cJSON *more = cJSON_AddObjectToObject(o, "additionalEndpoints");
    cJSON_AddItemToObject(more, endpoint_name, endpoint_json(host, port));
    cJSON_AddStringToObject(o, "status", "ALIVE");
    char *text = cJSON_PrintUnformatted(o);
    if (!text) abort();
    buf_adds(out, text);
    cJSON_free(text);
    cJSON_Delete(o);
}

/* What a host name or an address may hold: it becomes part of a Location header. */
static bool is_host(const char *s)
{
    static const char extra[] = "-._:[]%";
    size_t n = 0;
    for (; s[n]; n++) {
        char c = s[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && !strchr(extra, c)) return false;
    }
    return n > 0 && n < sizeof(((struct zk_endpoint *)0)->host);
}

int zk_service_read(struct str json, struct zk_endpoint *ret)
{
    cJSON *o = json.n ? cJSON_ParseWithLength(json.p, json.n) : NULL;
    const cJSON *s = cJSON_GetObjectItemCaseSensitive(o, "serviceEndpoint");
    const cJSON *host = cJSON_GetObjectItemCaseSensitive(s, "host"),
                *port = cJSON_GetObjectItemCaseSensitive(s, "port");
    int rc = ERR_MALFORMED;
    if (cJSON_IsString(host) && cJSON_IsNumber(port) && is_host(host->valuestring) && port->valueint > 0 &&
        port->valueint < 65536) {
        struct zk_endpoint e = { .port = (uint16_t)port->valueint };
        strcpy(e.host, host->valuestring);
        *ret = e;
        rc = 0;
    }
    cJSON_Delete(o);
    return rc;
}

/* ---------------- outcomes ---------------- */

static void fail(struct zk_election *e, const char *why)
{
    if (e->failed) return;
    e->failed = true;
    e->cfg.on_failed(why, e->cfg.arg);
}

static void refuse(struct zk_election *e, const char *what)
{
    struct buf why = { 0 };
    zk_refusal(e->cfg.session, what, e->path, &why);
    fail(e, buf_cstr(&why));
    buf_release(&why);
}

static void defeat(struct zk_election *e, const char *why)
{
    if (!e->joined || e->defeated) return;
    e->defeated = true;
    e->cfg.on_defeated(why, e->cfg.arg);
}

static void tell_leader(struct zk_election *e, const struct zk_endpoint *now)
{
    bool same = e->leader_known && e->leader.port == now->port && strcmp(e->leader.host, now->host) == 0;
    e->leader = *now;
    e->leader_known = true;
    if (!same) e->cfg.on_leader(now->host[0] ? &e->leader : NULL, e->cfg.arg);
}

static void on_retry(uv_timer_t *t)
{
    look(t->data);
}

/* True: the request failed and what follows has been arranged. */
static bool troubled(struct zk_election *e, const struct zk_result *r, const char *what)
{
    if (!r->err) return false;
    if (r->err == ERR_REFUSED)
        refuse(e, what);
    else if (zk_connected(e->cfg.session))
        uv_timer_start(e->retry, on_retry, RETRY_MS, 0);
    return true;
}

static void child_path(const struct zk_election *e, const char *name, struct buf *out)
{
    buf_addf(out, "%s/%s", e->path, name);
}

/* ---------------- own nodes ---------------- */

static char *last_part(struct str path)
{
    const char *slash = strrchr(path.p, '/');
    assert(slash);
    return xstrdup(slash + 1);
}

static void on_candidate(const struct zk_result *r, void *arg)
{
    struct zk_election *e = arg;
    e->creating_candidate = false;
    if (troubled(e, r, "become a candidate")) return; /* looking again finds it by its uuid, if it was made */
    e->candidate = last_part(r->path);
    look(e);
}

static void on_advertised(const struct zk_result *r, void *arg)
{
    struct zk_election *e = arg;
    e->creating_member = false;
    if (troubled(e, r, "announce the leader")) return;
    e->member = last_part(r->path);
    look(e);
}

static void make_candidate(struct zk_election *e)
{
    if (e->creating_candidate) return;
    struct buf p = { 0 };
    buf_addf(&p, "%s/_c_%s-lock-", e->path, e->uuid);
    e->creating_candidate = zk_create(e->cfg.session, buf_cstr(&p), str_c(e->host), ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL,
                                      on_candidate, e) == 0;
    buf_release(&p);
}

static void make_member(struct zk_election *e)
{
    if (e->creating_member) return;
    struct buf p = { 0 }, json = { 0 };
    buf_addf(&p, "%s/member_", e->path);
    zk_service_write(&json, e->host, e->cfg.port, e->endpoint_name);
    e->creating_member = zk_create(e->cfg.session, buf_cstr(&p), (struct str){ buf_cstr(&json), (uint32_t)json.len },
                                   ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL, on_advertised, e) == 0;
    buf_release(&p);
    buf_release(&json);
}

/* ---------------- looking at the children ---------------- */

const char *zk_lock_key(const char *name)
{
    const char *key = name, *at = name;
    while ((at = strstr(at, "lock-"))) key = at += 5;
    return key;
}

static bool has_prefix(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static void done_looking(struct zk_election *e)
{
    e->busy = false;
    if (e->dirty) look(e);
}

static void on_member_data(const struct zk_result *r, void *arg)
{
    struct zk_election *e = arg;
    struct zk_endpoint leader = { 0 };
    if (r->err == ERR_CLOSED) {
        e->busy = false;
        return;
    }
    if (r->err == 0 && zk_service_read(r->data, &leader))
        logline(LOG_WARN, "leader-unreadable", "path=%s data=\"%.*s\"", e->path, STR_ARG(r->data));
    tell_leader(e, &leader);
    done_looking(e);
}

/* Exactly one advertisement names the leader. */
static void look_at_members(struct zk_election *e, const struct zk_result *r)
{
    const char *only = NULL;
    unsigned n = 0;
    bool own = false;
    for (uint32_t i = 0; i < r->n_names; i++) {
        if (!has_prefix(r->names[i], "member_")) continue;
        only = r->names[i].p;
        n++;
        own = own || (e->member && strcmp(only, e->member) == 0);
    }
    if (e->member && !own) {
        free(e->member);
        e->member = NULL;
    }
    if (e->advertising && !e->defeated && !e->member) make_member(e);
    if (n != 1) {
        tell_leader(e, &(struct zk_endpoint){ 0 });
        done_looking(e);
        return;
    }
    struct buf p = { 0 };
    child_path(e, only, &p);
    if (zk_get(e->cfg.session, buf_cstr(&p), on_member_data, e)) e->busy = false;
    buf_release(&p);
}

static void look_at_candidates(struct zk_election *e, const struct zk_result *r)
{
    if (!e->joined || e->defeated) return;
    const char *mine = NULL, *first = NULL;
    struct buf prefix = { 0 };
    buf_addf(&prefix, "_c_%s-lock-", e->uuid);
    for (uint32_t i = 0; i < r->n_names; i++) {
        const char *name = r->names[i].p;
        if (has_prefix(r->names[i], buf_cstr(&prefix)) && (!mine || strcmp(zk_lock_key(name), zk_lock_key(mine)) < 0))
            mine = name;
        if (!first || strcmp(zk_lock_key(name), zk_lock_key(first)) < 0) first = name;
    }
    buf_release(&prefix);
    if (!mine) {
        if (e->elected)
            defeat(e, "our candidate node was deleted");
        else
            make_candidate(e);
        return;
    }
    free(e->candidate);
    e->candidate = xstrdup(mine);
    if (!e->elected && strcmp(first, mine) == 0) {
        e->elected = true;
        e->cfg.on_elected(e->cfg.arg);
    }
}

static void on_changed(void *arg)
{
    struct zk_election *e = arg;
    e->dirty = true;
    if (!e->busy) look(e);
}

static void on_children(const struct zk_result *r, void *arg)
{
    struct zk_election *e = arg;
    if (r->err) {
        e->busy = false;
        troubled(e, r, "list the candidates");
        return;
    }
    look_at_candidates(e, r);
    look_at_members(e, r);
}

static void on_path(const struct zk_result *r, void *arg)
{
    struct zk_election *e = arg;
    if (troubled(e, r, "make the path")) {
        e->busy = false;
        return;
    }
    if (zk_children_watch(e->cfg.session, e->path, on_changed, on_children, e)) e->busy = false;
}

static void look(struct zk_election *e)
{
    if (e->failed || e->busy) {
        e->dirty = true;
        return;
    }
    e->dirty = false;
    e->busy = zk_ensure_path(e->cfg.session, e->path, on_path, e) == 0;
}

/* A candidate node of the lost session may linger on the server: with another name the next one can't be taken for it.
 */
static void renew_uuid(struct zk_election *e)
{
    static const char digits[] = "0123456789abcdef";
    for (char *p = e->uuid + strlen(e->uuid) - 1; p >= e->uuid; p--) {
        const char *at = strchr(digits, *p);
        if (!at) continue;
        *p = digits[(at - digits + 1) % 16];
        if (*p != '0') return;
    }
}

/* Leadership lives through disconnections; it ends with the session. */
static void on_session(enum zk_event ev, void *arg)
{
    struct zk_election *e = arg;
    if (ev == ZK_CONNECTED || ev == ZK_RECONNECTED) {
        e->busy = false;
        look(e);
    } else if (ev == ZK_LOST) {
        e->busy = e->creating_candidate = e->creating_member = false;
        free(e->candidate);
        free(e->member);
        e->candidate = e->member = NULL;
        tell_leader(e, &(struct zk_endpoint){ 0 });
        renew_uuid(e);
        if (e->elected) defeat(e, "the ZooKeeper session was lost");
    } else if (ev == ZK_AUTH_FAILED) {
        fail(e, "ZooKeeper refuses the credentials");
    }
}

/* ---------------- life ---------------- */

int zk_election_new(const struct zk_election_config *c, struct zk_election **ret)
{
    if (!c->path || c->path[0] != '/' || !c->path[1]) return ERR_INVALID;
    struct zk_election *e = xcalloc(1, sizeof *e);
    e->cfg = *c;
    e->path = xstrdup(c->path);
    e->host = xstrdup(c->host);
    e->endpoint_name = xstrdup(c->endpoint_name);
    e->uuid = xstrdup(c->uuid);
    e->retry = xmalloc(sizeof *e->retry);
    uv_timer_init(zk_loop(c->session), e->retry);
    e->retry->data = e;
    e->listener = zk_listen(c->session, on_session, e);
    if (zk_connected(c->session)) look(e);
    *ret = e;
    return 0;
}

void zk_election_join(struct zk_election *e)
{
    e->joined = true;
    if (zk_connected(e->cfg.session)) look(e);
}

void zk_election_advertise(struct zk_election *e)
{
    assert(e->elected);
    e->advertising = true;
    if (zk_connected(e->cfg.session)) look(e);
}

static void on_deleted(const struct zk_result *r, void *arg)
{
    (void)r;
    (void)arg;
}

static void delete_node(struct zk_election *e, const char *name)
{
    if (!name) return;
    struct buf p = { 0 };
    child_path(e, name, &p);
    zk_delete(e->cfg.session, buf_cstr(&p), on_deleted, NULL);
    buf_release(&p);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h);
}

void zk_election_free(struct zk_election *e)
{
    if (!e) return;
    zk_forget(e->cfg.session, e);
    zk_unlisten(e->listener);
    delete_node(e, e->member);
    delete_node(e, e->candidate);
    uv_close((uv_handle_t *)e->retry, on_timer_closed);
    free(e->candidate);
    free(e->member);
    free(e->path);
    free(e->host);
    free(e->endpoint_name);
    free(e->uuid);
    free(e);
}
