#include "admin/peers.h"

#include "admin/quorumnode.h"
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
    uint64_t silent_ms; /* from when on its silence is taken for an answer */
    struct quorum_record record;
};

struct peers {
    struct peers_config c;
    struct lp_process *replica, *network;
    struct zk_group *group;
    struct quorumnode *node;
    struct zk_listener *listener;
    struct quorum_record znode; /* as it was read, when has_znode */
    bool has_znode, listed;     /* in this session */
    bool joins;                 /* the group is asked to let us in, in this session */
    bool registered;            /* and has: we are listed */
    bool takes_part;
    bool leads, recorded, writing;
    bool failed;
    bool told; /* that all replicas are empty */
    struct peer *v;
    unsigned n;
    struct request *oldest, **newest;
    unsigned n_requests;
    uv_timer_t expiry, look; /* of requests; for silence and for the own vote */
    unsigned handles;
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

static void reconsider(struct peers *p);
static void record_lead(struct peers *p);
static void claim_place(struct peers *p);
static void fail(struct peers *p, const char *why);

static void changed(struct peers *p)
{
    if (p->c.on_changed) p->c.on_changed(p->c.arg);
}

static void announce(struct peers *p, const struct upid *to)
{
    struct buf body = { 0 };
    quorum_encode(log_quorum_record(p->c.log), &body);
    if (lp_send(p->replica, to, QUORUM_MESSAGE, body.data, body.len)) count(p->dropped);
    buf_release(&body);
}

/* Those that vote: from then on they hold a part of the log. */
static unsigned voters(const struct peers *p, uint64_t v[QUORUM_SEEN_MAX])
{
    unsigned n = 0;
    v[n++] = log_quorum_record(p->c.log)->replica;
    for (unsigned i = 0; i < p->n && n < QUORUM_SEEN_MAX; i++)
        if (p->v[i].heard && p->v[i].record.n_seen) v[n++] = p->v[i].record.replica;
    return n;
}

/* Notes who is there now, and tells everybody if that is news. */
static void see(struct peers *p)
{
    uint64_t v[QUORUM_SEEN_MAX];
    struct quorum_record before = *log_quorum_record(p->c.log);
    if (!p->takes_part || !log_votes(p->c.log)) return;
    log_see_replicas(p->c.log, v, voters(p, v));
    if (quorum_record_eq(&before, log_quorum_record(p->c.log))) return;
    for (unsigned i = 0; i < p->n; i++) announce(p, &p->v[i].pid);
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
        if (news) reconsider(p);
        return;
    }
    announce(p, from); /* it asks before it registers */
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
    } else if (!p->takes_part || log_request(p->c.log, upid_text(from, text), name, body, n)) {
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
    m->silent_ms = uv_now(p->c.loop) + PEERS_SILENCE_MS;
    upid_text(&pid, m->text);
}

static void tell_log(struct peers *p)
{
    const char *pids[PEERS_MAX];
    for (unsigned i = 0; i < p->n; i++) pids[i] = p->v[i].text;
    int err = log_set_peers(p->c.log, pids, p->n);
    assert(!err);
}

/* v is ours from now on. */
static void set_members(struct peers *p, struct peer *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
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
    if (p->takes_part) tell_log(p);
    reconsider(p);
}

static void on_members(const struct zk_member *m, uint32_t n, void *arg)
{
    struct peers *p = arg;
    struct peer *v = xcalloc(PEERS_MAX, sizeof(*v));
    unsigned n_v = 0;
    p->registered = false;
    for (uint32_t i = 0; i < n; i++) {
        add_member(p, v, &n_v, m[i].data);
        p->registered = p->registered || (p->joins && m[i].owner == zk_session_id(p->c.zk));
    }
    p->listed = true;
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

/* ---- the quorum size ---- */

/* Free its members. */
static struct quorum_view view_of(const struct peers *p)
{
    struct quorum_member *members = xcalloc(p->n + 1, sizeof(*members));
    for (unsigned i = 0; i < p->n; i++)
        members[i] = (struct quorum_member){ p->v[i].text, p->v[i].heard, p->v[i].record };
    return (struct quorum_view){
        .flag = p->c.quorum, .own = *log_quorum_record(p->c.log), .znode = p->znode, .members = members, .n = p->n
    };
}

static enum quorum_verdict judge(const struct peers *p, struct buf *why)
{
    struct quorum_view view = view_of(p);
    enum quorum_verdict verdict = quorum_judge(&view, why);
    free((void *)view.members);
    return verdict;
}

/* Where there is a record: among the replicas of it. */
static bool has_place(const struct peers *p)
{
    const struct quorum_record *z = &p->znode;
    uint64_t own = log_quorum_record(p->c.log)->replica;
    for (unsigned i = 0; i < z->n_seen; i++)
        if (z->seen[i] == own) return true;
    return !p->c.zk || !z->size;
}

/* Since when all have answered that will; UINT64_MAX: that is not known. */
static uint64_t settled_at(const struct peers *p)
{
    uint64_t at = 0;
    if (p->c.zk && (!p->has_znode || !p->listed)) return UINT64_MAX;
    for (unsigned i = 0; i < p->n; i++)
        if (!p->v[i].heard && p->v[i].silent_ms > at) at = p->v[i].silent_ms;
    return at;
}

static bool may_claim(const struct peers *p, struct buf *why)
{
    struct quorum_view view = view_of(p);
    bool may = quorum_may_claim(&view, why);
    free((void *)view.members);
    return may;
}

enum quorum_verdict peers_judge(const struct peers *p, struct buf *why)
{
    struct buf unread = { 0 };
    if (!p->takes_part && uv_now(p->c.loop) < settled_at(p)) return QUORUM_WAITS;
    if (p->takes_part && !has_place(p)) return QUORUM_WAITS; /* the first leader has not heard of us: it is claimed */
    enum quorum_verdict verdict = judge(p, why ? why : &unread);
    if (verdict == QUORUM_SAFE && !p->takes_part) {
        verdict = QUORUM_WAITS;
        if (p->registered && !has_place(p)) (void)may_claim(p, why ? why : &unread);
    }
    buf_release(&unread);
    return verdict;
}

static void join_group(struct peers *p)
{
    char own[UPID_TEXT_MAX];
    p->joins = true;
    zk_group_join(p->group, str_c(upid_text(lp_self(p->replica), own)));
}

static void take_part(struct peers *p)
{
    p->takes_part = true;
    log_join_group(p->c.log, p->znode.changes);
    tell_log(p);
    see(p);
}

/* A step further, if what is known allows it. */
static void get_on(struct peers *p)
{
    struct buf why = { 0 };
    bool settled = uv_now(p->c.loop) >= settled_at(p);
    enum quorum_verdict verdict = settled && (!p->joins || !p->takes_part) ? judge(p, &why) : QUORUM_WAITS;
    if (p->takes_part && !p->joins && verdict == QUORUM_REFUSED)
        fail(p, buf_cstr(&why)); /* while our session was away */
    else if (p->c.zk && !p->joins && verdict == QUORUM_SAFE)
        join_group(p);
    else if (p->registered && !p->takes_part && verdict == QUORUM_SAFE && has_place(p))
        take_part(p);
    buf_release(&why);
}

static void tell_exists(struct peers *p)
{
    struct quorum_view view = view_of(p);
    bool exists = !quorum_may_initialize(&view);
    free((void *)view.members);
    log_exists_elsewhere(p->c.log, exists);
    if (p->told || !log_is_uninitialized(p->c.log)) return;
    p->told = true;
    logline(LOG_WARN, "log_uninitialized", "reason=\"all replicas are empty%s\"",
            exists ? ", but the log exists: start those that hold it, or begin a new one as docs/operating.md tells"
                   : "; run `aurora-scheduler log initialize` on each");
}

static void on_look(uv_timer_t *t)
{
    reconsider(t->data);
}

/* For who is still silent, and for the own vote. */
static void look_again(struct peers *p)
{
    uint64_t now = uv_now(p->c.loop), at = settled_at(p);
    uv_timer_stop(&p->look);
    if (at > now && at != UINT64_MAX)
        uv_timer_start(&p->look, on_look, at - now, 0);
    else if (p->takes_part && !log_quorum_record(p->c.log)->n_seen)
        uv_timer_start(&p->look, on_look, PEERS_LOOK_MS, 0);
}

static void reconsider(struct peers *p)
{
    if (p->closing || p->failed) return;
    get_on(p);
    if (p->failed) return;
    tell_exists(p);
    see(p);
    claim_place(p);
    record_lead(p);
    look_again(p);
    changed(p);
}

/* ---- the group's record ---- */

static void refuse_record(struct peers *p)
{
    struct buf why = { 0 };
    zk_refusal(p->c.zk, "write the group's quorum record", p->c.group_path, &why);
    fail(p, buf_cstr(&why));
    buf_release(&why);
}

static void on_place_claimed(int err, void *arg)
{
    struct peers *p = arg;
    p->writing = false;
    if (err == ERR_REFUSED) refuse_record(p);
}

static void on_record_written(int err, void *arg)
{
    struct peers *p = arg;
    p->writing = false;
    if (err == ERR_REFUSED) {
        refuse_record(p);
    } else if (err == 0 && !p->recorded) {
        p->recorded = true;
        p->c.on_recorded(p->c.arg);
    }
}

/* Before it takes part; or the first leader has not heard of us. */
static void claim_place(struct peers *p)
{
    uint64_t v[QUORUM_SEEN_MAX];
    struct quorum_record next = p->znode;
    struct buf unread = { 0 };
    if (p->leads || p->writing || has_place(p) || next.size != log_quorum_record(p->c.log)->size) return;
    if (!p->registered) return;
    bool settled = uv_now(p->c.loop) >= settled_at(p);
    bool may = p->takes_part || (settled && judge(p, &unread) == QUORUM_SAFE && may_claim(p, &unread));
    buf_release(&unread);
    if (!may) return;
    (void)quorum_claim(&next, v, voters(p, v));
    p->writing = quorumnode_write(p->node, &next, on_place_claimed, p) == 0;
}

static void remember(const struct peers *p, struct quorum_record *next)
{
    struct quorum_view view = view_of(p);
    quorum_remember(&view, next);
    free((void *)view.members);
}

/* Says that we lead, and later whom we see. What fails is tried again with the next thing that is told of the znode. */
static void record_lead(struct peers *p)
{
    uint64_t v[QUORUM_SEEN_MAX];
    const struct quorum_record *own = log_quorum_record(p->c.log);
    struct quorum_record next = p->znode;
    if (!p->leads || !p->has_znode || p->writing) return;
    bool taken = p->znode.size && p->znode.replica != own->replica;
    if (p->recorded && taken) return; /* another one leads by now */
    remember(p, &next);
    next.size = own->size;
    next.replica = own->replica;
    next.changes = own->changes;
    (void)quorum_see(&next, v, voters(p, v));
    if (p->recorded && quorum_record_eq(&next, &p->znode)) return;
    if (p->znode.size && (p->znode.size != own->size || p->znode.changes != own->changes))
        fail(p, "the quorum size in ZooKeeper has been changed");
    else
        p->writing = quorumnode_write(p->node, &next, on_record_written, p) == 0;
}

void peers_lead(struct peers *p)
{
    assert(p->c.zk);
    assert(p->c.on_recorded);
    assert(!p->leads);
    p->leads = true;
    record_lead(p);
}

static void on_record(const struct quorum_record *r, void *arg)
{
    struct peers *p = arg;
    p->znode = *r;
    p->has_znode = true;
    logline(LOG_INFO, "log_quorum_record", "path=%s quorum=%u leader=%016llx seen=%u", p->c.group_path, r->size,
            (unsigned long long)r->replica, r->n_seen);
    reconsider(p);
}

/* ---- the whole ---- */

static void fail(struct peers *p, const char *why)
{
    if (p->failed) return;
    p->failed = true;
    logline(LOG_ERROR, "log_group_failed", "path=%s why=\"%s\"", p->c.group_path, why);
    if (p->c.on_failed) p->c.on_failed(why, p->c.arg);
}

static void on_group_failed(const char *why, void *arg)
{
    fail(arg, why);
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

/* Registering waits. */
static int watch_group(struct peers *p)
{
    struct zk_group_config c = {
        .session = p->c.zk, .path = p->c.group_path, .on_members = on_members, .on_failed = on_group_failed, .arg = p
    };
    p->listed = p->joins = p->registered = false;
    return zk_group_new(&c, &p->group);
}

/* What is registered next is judged anew: others may have taken our place. */
static void on_session(enum zk_event ev, void *arg)
{
    struct peers *p = arg;
    if (ev != ZK_LOST || p->closing) return;
    p->has_znode = false;
    zk_group_free(p->group);
    int err = watch_group(p);
    assert(!err);
}

static int open_group(struct peers *p)
{
    struct quorumnode_config c = {
        .session = p->c.zk, .path = p->c.group_path, .on_record = on_record, .on_failed = on_group_failed, .arg = p
    };
    if (!p->c.zk) return 0;
    p->listener = zk_listen(p->c.zk, on_session, p);
    int err = watch_group(p);
    return err ? err : quorumnode_new(&c, &p->node);
}

static void leave(struct peers *p)
{
    quorumnode_free(p->node);
    zk_group_free(p->group);
    zk_unlisten(p->listener);
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
    assert(log_quorum_record(c->log)->size == c->quorum);
    p->takes_part = !c->zk;
    stats_init(p);
    log_set_sender(c->log, send_message, p);
    err = open_group(p);
    if (err) {
        leave(p);
        free((void *)p->c.group_path);
        free(p);
        return err;
    }
    uv_timer_init(c->loop, &p->expiry);
    uv_timer_init(c->loop, &p->look);
    p->expiry.data = p->look.data = p;
    *ret = p;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct peers *p = h->data;
    if (--p->handles) return;
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
    p->handles = 2;
    uv_close((uv_handle_t *)&p->expiry, on_closed);
    uv_close((uv_handle_t *)&p->look, on_closed);
}
