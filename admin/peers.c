#include "admin/peers.h"

#include "core/err.h"
#include "core/logline.h"
#include "log/coordinator.h"
#include "zk/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REPLICA_ID "log-replica(1)"
#define NETWORK_ID "log-network(1)"
#define REQUEST_PREFIX "__req_res__"
#define LEARNED_MESSAGE "mesos.internal.log.LearnedMessage"
#define PEERS_MAX (COORDINATOR_MEMBERS_MAX - 1)

/* A request that waits for its answer; oldest first in the list. */
struct request {
    struct request *next;
    struct peers *peers;
    struct lp_process *process;
    uint64_t number, expires_ms;
    char peer[UPID_TEXT_MAX];
    bool answered;
};

struct peer {
    struct upid pid;
    char text[UPID_TEXT_MAX];
    bool heard;
    struct quorum_record record;
};

struct peers {
    struct peers_config c;
    struct lp_process *replica, *network;
    struct zk_group *group;
    struct peer *v;
    unsigned n;
    struct quorum_record own;
    struct request *oldest, **newest;
    unsigned n_requests;
    uv_timer_t expiry;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
    struct stat *members, *dropped, *expired, *bad_members;
};

static void count(struct stat *st)
{
    if (st) stat_add(st, 1);
}

/* ---- requests ---- */

static void request_free(struct request *r)
{
    lp_terminate(r->process);
    free(r);
}

static void pop_request(struct peers *p)
{
    struct request *r = p->oldest;
    p->oldest = r->next;
    if (!p->oldest) p->newest = &p->oldest;
    p->n_requests--;
    if (!r->answered) count(p->expired);
    request_free(r);
}

static void unlink_request(struct request *r)
{
    struct peers *p = r->peers;
    struct request **at = &p->oldest;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    if (p->newest == &r->next) p->newest = at;
    p->n_requests--;
}

/* Whatever id answers, it is the answer of the peer that was asked: only the target tells. */
static void on_answer(struct lp_process *process, const struct upid *from, struct str name, const void *body, size_t n,
                      void *arg)
{
    struct request *r = arg;
    struct peers *p = r->peers;
    (void)process;
    (void)from;
    unlink_request(r);
    if (log_answer(p->c.log, r->number, r->peer, name, body, n)) count(p->dropped);
    request_free(r);
}

static void arm(struct peers *p);

static void on_expiry(uv_timer_t *t)
{
    struct peers *p = t->data;
    while (p->oldest && p->oldest->expires_ms <= uv_now(p->c.loop)) pop_request(p);
    arm(p);
}

/* The timer runs for the oldest; it may find that one gone already. */
static void arm(struct peers *p)
{
    uint64_t now = uv_now(p->c.loop);
    if (!p->oldest || uv_is_active((uv_handle_t *)&p->expiry)) return;
    uv_timer_start(&p->expiry, on_expiry, p->oldest->expires_ms > now ? p->oldest->expires_ms - now : 0, 0);
}

static void ask(struct peers *p, uint64_t number, const char *to, const struct upid *pid, const char *name,
                const void *body, size_t n)
{
    struct request *r = xcalloc(1, sizeof(*r));
    r->peers = p;
    r->number = number;
    r->expires_ms = uv_now(p->c.loop) + PEERS_REQUEST_TIMEOUT_MS;
    assert(strlen(to) < sizeof(r->peer));
    memcpy(r->peer, to, strlen(to) + 1);
    struct lp_handlers h = { .on_message = on_answer, .arg = r };
    if (lp_spawn_numbered(p->c.lp, REQUEST_PREFIX, &h, &r->process)) {
        count(p->dropped);
        free(r);
        return;
    }
    if (p->n_requests == PEERS_REQUESTS_MAX) pop_request(p);
    *p->newest = r;
    p->newest = &r->next;
    p->n_requests++;
    if (lp_send(r->process, pid, name, body, n)) count(p->dropped);
    arm(p);
}

/* The log's sender: a request, an answer of the own replica, or what was learned. */
static void send_message(uint64_t request, const char *to, const char *name, const void *body, size_t n, void *arg)
{
    struct peers *p = arg;
    struct upid pid;
    if (upid_parse(str_c(to), &pid)) {
        count(p->dropped);
        return;
    }
    if (request) {
        ask(p, request, to, &pid, name, body, n);
        return;
    }
    struct lp_process *from = strcmp(name, LEARNED_MESSAGE) == 0 ? p->network : p->replica;
    if (lp_send(from, &pid, name, body, n)) count(p->dropped);
}

/* ---- announcements ---- */

static void changed(struct peers *p)
{
    if (p->c.on_changed) p->c.on_changed(p->c.arg);
}

/* Replicas are seen from the time on at which the log exists. */
static void see(struct peers *p)
{
    uint64_t v[QUORUM_SEEN_MAX];
    unsigned n = 0;
    if (!log_votes(p->c.log)) return;
    v[n++] = p->own.replica;
    for (unsigned i = 0; i < p->n && n < QUORUM_SEEN_MAX; i++)
        if (p->v[i].heard && p->v[i].record.replica != p->own.replica) v[n++] = p->v[i].record.replica;
    (void)quorum_see(&p->own, v, n);
}

static void announce(struct peers *p, const struct upid *to)
{
    struct buf body = { 0 };
    see(p);
    quorum_encode(&p->own, &body);
    if (lp_send(p->replica, to, QUORUM_MESSAGE, body.data, body.len)) count(p->dropped);
    buf_release(&body);
}

static void on_announced(struct peers *p, const struct upid *from, const void *body, size_t n)
{
    struct quorum_record record;
    if (quorum_decode(body, n, &record)) {
        count(p->dropped);
        return;
    }
    for (unsigned i = 0; i < p->n; i++) {
        struct peer *m = &p->v[i];
        if (!upid_eq(&m->pid, from)) continue;
        bool news = !m->heard || !quorum_record_eq(&m->record, &record);
        bool first = !m->heard;
        m->heard = true;
        m->record = record;
        /* It may have come before it knew us, or we before it did. */
        if (first) announce(p, from);
        if (news) changed(p);
        return;
    }
}

static void on_request(struct lp_process *process, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    struct peers *p = arg;
    char text[UPID_TEXT_MAX];
    (void)process;
    if (!upid_valid(from)) {
        count(p->dropped);
    } else if (str_eq(name, str_c(QUORUM_MESSAGE))) {
        on_announced(p, from, body, n);
    } else if (log_request(p->c.log, upid_text(from, text), name, body, n)) {
        count(p->dropped);
    }
}

static void on_network(struct lp_process *process, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    (void)process, (void)from, (void)name, (void)body, (void)n;
    count(((struct peers *)arg)->dropped); /* nobody has anything to say to it */
}

/* ---- members ---- */

static struct peer *find(struct peer *v, unsigned n, const struct upid *pid)
{
    for (unsigned i = 0; i < n; i++)
        if (upid_eq(&v[i].pid, pid)) return &v[i];
    return NULL;
}

static struct str trimmed(struct str s)
{
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == ' ')) s.n--;
    return s;
}

/* Adds it unless it is ourselves, there already, no process id, or one too many. */
static void add_member(struct peers *p, struct peer *v, unsigned *n, struct str data)
{
    struct upid pid;
    data = trimmed(data);
    if (upid_parse(data, &pid) || !upid_valid(&pid)) {
        logline(LOG_WARN, "log_member_malformed", "data=\"%.*s\"", (int)(data.n < 100 ? data.n : 100), data.p);
        count(p->bad_members);
        return;
    }
    if (upid_eq(&pid, lp_self(p->replica)) || find(v, *n, &pid)) return;
    if (*n == PEERS_MAX) {
        logline(LOG_WARN, "log_members_too_many", "max=%d", PEERS_MAX);
        count(p->bad_members);
        return;
    }
    const struct peer *known = find(p->v, p->n, &pid);
    struct peer *m = &v[(*n)++];
    if (known) {
        *m = *known;
        return;
    }
    m->pid = pid;
    upid_text(&pid, m->text);
}

/* v is ours from now on. */
static void set_members(struct peers *p, struct peer *v, unsigned n)
{
    const char *pids[PEERS_MAX];
    for (unsigned i = 0; i < n; i++) {
        pids[i] = v[i].text;
        /* Mesos links all anew. A message that is on its way over the old connection would be lost with it, though, and
         * one lost answer can cost a write. */
        if (find(p->v, p->n, &v[i].pid))
            lp_link(p->network, &v[i].pid);
        else
            lp_relink(p->network, &v[i].pid);
    }
    free(p->v);
    p->v = v;
    p->n = n;
    for (unsigned i = 0; i < n; i++) announce(p, &v[i].pid);
    if (p->members) stat_set(p->members, n + 1);
    logline(LOG_INFO, "log_members", "n=%u quorum=%u", n + 1, p->c.quorum);
    int err = log_set_peers(p->c.log, pids, n);
    assert(!err);
    changed(p);
}

static void on_members(const struct zk_member *m, uint32_t n, void *arg)
{
    struct peers *p = arg;
    struct peer *v = xcalloc(PEERS_MAX, sizeof(*v));
    unsigned n_v = 0;
    for (uint32_t i = 0; i < n; i++) add_member(p, v, &n_v, m[i].data);
    set_members(p, v, n_v);
}

int peers_set(struct peers *p, const char *const *pids, unsigned n)
{
    if (n > PEERS_MAX) return ERR_TOO_BIG;
    struct peer *v = xcalloc(PEERS_MAX, sizeof(*v));
    unsigned n_v = 0;
    for (unsigned i = 0; i < n; i++) add_member(p, v, &n_v, str_c(pids[i]));
    set_members(p, v, n_v);
    return 0;
}

unsigned peers_members(const struct peers *p)
{
    return p->n + 1;
}

enum quorum_verdict peers_judge(const struct peers *p, struct buf *why)
{
    struct quorum_member *members = xcalloc(p->n + 1, sizeof(*members));
    for (unsigned i = 0; i < p->n; i++)
        members[i] = (struct quorum_member){ p->v[i].text, p->v[i].heard, p->v[i].record };
    struct quorum_view view = { .flag = p->c.quorum, .own = p->own, .members = members, .n = p->n };
    struct buf unread = { 0 };
    enum quorum_verdict verdict = quorum_judge(&view, why ? why : &unread);
    buf_release(&unread);
    free(members);
    return verdict;
}

/* ---- the whole ---- */

static void on_group_failed(const char *why, void *arg)
{
    struct peers *p = arg;
    logline(LOG_ERROR, "log_group_failed", "path=%s why=\"%s\"", p->c.group_path, why);
    if (p->c.on_failed) p->c.on_failed(why, p->c.arg);
}

static void stats_init(struct peers *p)
{
    if (!p->c.stats) return;
    p->members = stats_int(p->c.stats, "log_members");
    p->dropped = stats_int(p->c.stats, "log_messages_dropped");
    p->expired = stats_int(p->c.stats, "log_requests_unanswered");
    p->bad_members = stats_int(p->c.stats, "log_members_malformed");
}

static int spawn(struct peers *p)
{
    struct lp_handlers replica = { .on_message = on_request, .arg = p };
    struct lp_handlers network = { .on_message = on_network, .arg = p };
    int err = lp_spawn(p->c.lp, REPLICA_ID, &replica, &p->replica);
    if (err) return err;
    err = lp_spawn(p->c.lp, NETWORK_ID, &network, &p->network);
    if (err) lp_terminate(p->replica);
    return err;
}

static int join(struct peers *p)
{
    char own[UPID_TEXT_MAX];
    struct zk_group_config c = { .session = p->c.zk,
                                 .path = p->c.group_path,
                                 .join_data = str_c(upid_text(lp_self(p->replica), own)),
                                 .on_members = on_members,
                                 .on_failed = on_group_failed,
                                 .arg = p };
    return p->c.zk ? zk_group_new(&c, &p->group) : 0;
}

static void leave(struct peers *p)
{
    if (p->group) zk_group_free(p->group);
    while (p->oldest) pop_request(p);
    lp_terminate(p->replica);
    lp_terminate(p->network);
    log_set_sender(p->c.log, NULL, NULL);
}

int peers_new(const struct peers_config *c, struct peers **ret)
{
    assert(!c->zk || c->group_path);
    if (c->quorum < 1 || c->quorum > LIMIT_LOG_QUORUM) return ERR_INVALID;
    struct peers *p = xcalloc(1, sizeof(*p));
    p->c = *c;
    p->newest = &p->oldest;
    int err = spawn(p);
    if (err) {
        free(p);
        return err;
    }
    p->c.group_path = xstrdup(c->group_path ? c->group_path : "");
    p->own = (struct quorum_record){ .replica = log_replica_id(c->log), .size = c->quorum };
    stats_init(p);
    log_set_sender(c->log, send_message, p);
    err = join(p);
    if (err) {
        leave(p);
        free((void *)p->c.group_path);
        free(p);
        return err;
    }
    uv_timer_init(c->loop, &p->expiry);
    p->expiry.data = p;
    *ret = p;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct peers *p = h->data;
    void (*cb)(void *arg) = p->close_cb;
    void *arg = p->close_arg;
    free(p->v);
    free((void *)p->c.group_path);
    free(p);
    cb(arg);
}

void peers_close(struct peers *p, void (*cb)(void *arg), void *arg)
{
    assert(!p->closing);
    p->closing = true;
    p->close_cb = cb;
    p->close_arg = arg;
    leave(p);
    uv_close((uv_handle_t *)&p->expiry, on_closed);
}
