#include "log/log.h"

#include "core/err.h"
#include "core/logline.h"
#include "log/catchup.h"
#include "log/local.h"
#include "log/recover.h"
#include "log/wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory that one decoded message of a peer may take. */
#define LOG_MESSAGE_BYTES ((size_t)512 << 20)
#define LOG_FILL_TIMEOUT_MS 10000
/* A deadline that is noticed later than this was missed by a blocked loop: what has come meanwhile is handled first. */
#define LOG_LATE_MS 20

/* Whose request it is: the upper bits of its number. */
enum role { ROLE_WRITER, ROLE_RECOVER, ROLE_CATCHUP };
#define ROLE_SHIFT 60

enum operation { OPERATION_NONE, OPERATION_ELECT, OPERATION_APPEND, OPERATION_TRUNCATE };

struct timing {
    struct stat_timer *time;
    struct stat *timeouts, *failures;
};

struct log {
    struct log_config c;
    struct storage *storage;
    struct replica replica;
    struct quorum_record record; /* kept with the metadata */
    struct coordinator coordinator;
    struct recover recover;
    struct catchup catchup;
    struct local *local;
    uv_timer_t timer; /* the coordinator's deadline */
    uv_timer_t soon;  /* results that were known at once */
    uv_timer_t slow;  /* a slice of a read takes too long */

    enum operation operation;
    struct log_req *req;
    uint64_t started_ns;
    int result; /* of req, when `soon` runs for it */

    bool recovering;  /* does not vote; begins once peers are known */
    bool elect_waits; /* for the end of that */
    uint64_t elect_by_ms;
    uint64_t late_ms, patience_ms; /* a deadline that a blocked loop has missed, and until when it does not count */

    bool following, changed;
    void (*on_learned)(void *arg);
    void *learned_arg;

    struct log_req *read_req;
    uint64_t read_from, read_to, read_started_ns, slow_ms;
    int (*on_entry)(uint64_t position, const void *bytes, size_t n, void *arg);
    void *entry_arg;
    int read_result;
    bool read_over; /* `soon` runs for it */
    bool slice;     /* the local is asked for one */

    /* [i] is member i and stays it as long as it is listed, since answers are counted by number. [0] is ourselves. */
    char *peers[COORDINATOR_MEMBERS_MAX];
    unsigned n_peers;

    int failure; /* of the storage */
    struct buf error;
    bool driving, again, closing;
    int handles;
    void (*close_cb)(void *arg);
    void *close_arg;
    struct timing append, truncate, read;
    struct stat *skipped;
};

static void drive(struct log *l);
static uint64_t writer_now(struct log *l);

/* ---- results ---- */

static void count(struct timing *t, uint64_t started_ns, int err)
{
    if (!t->time) return;
    stat_timer_add(t->time, (int64_t)(uv_hrtime() - started_ns));
    if (err == ERR_TIMEOUT)
        stat_add(t->timeouts, 1);
    else if (err)
        stat_add(t->failures, 1);
}

static void finish(struct log *l, int err)
{
    struct log_req *r = l->req;
    if (l->operation == OPERATION_APPEND) count(&l->append, l->started_ns, err);
    if (l->operation == OPERATION_TRUNCATE) count(&l->truncate, l->started_ns, err);
    l->req = NULL;
    l->operation = OPERATION_NONE;
    r->cb(r, err);
}

static void finish_read(struct log *l, int err)
{
    struct log_req *r = l->read_req;
    count(&l->read, l->read_started_ns, err);
    l->read_req = NULL;
    l->read_over = false;
    r->cb(r, err);
}

static void on_soon(uv_timer_t *t)
{
    struct log *l = t->data;
    if (l->result && l->req) {
        int err = l->result;
        l->result = 0;
        finish(l, err);
    }
    if (l->read_over) finish_read(l, l->read_result);
}

static void finish_soon(struct log *l, int err)
{
    l->result = err;
    uv_timer_start(&l->soon, on_soon, 0, 0);
}

static void read_over(struct log *l, int err)
{
    l->read_over = true;
    l->read_result = err;
    uv_timer_start(&l->soon, on_soon, 0, 0);
}

/* ---- the coordinator's outputs ---- */

static void to_peers(struct log *l, uint64_t request, const struct message *m)
{
    if (!l->n_peers || !l->c.send) return;
    struct buf body = { 0 };
    message_encode(m, &body);
    for (unsigned i = 1; i < COORDINATOR_MEMBERS_MAX; i++)
        if (l->peers[i]) l->c.send(request, l->peers[i], message_name(m->kind), body.data, body.len, l->c.arg);
    buf_release(&body);
}

/* The own replica gets it in-process; a failed one is as silent as a lost peer. */
static void broadcast(struct log *l, uint64_t request, const struct message *m)
{
    (void)local_deliver(l->local, m, (struct local_origin){ .request = request });
    to_peers(l, request, m);
    l->again = true;
}

static void send_out(struct log *l, enum role role, const struct coordinator_output *out)
{
    if (out->has_learned && out->for_own) {
        (void)local_deliver(l->local, &out->learned, (struct local_origin){ 0 });
        l->again = true;
    } else if (out->has_learned) {
        broadcast(l, 0, &out->learned);
    }
    if (out->has_request) broadcast(l, (uint64_t)role << ROLE_SHIFT | out->request, &out->message);
}

static void carry_out(struct log *l, const struct coordinator_output *out)
{
    send_out(l, ROLE_WRITER, out);
    if (!out->done) return;
    l->again = true;
    l->req->position = out->position;
    l->req->begin = l->replica.begin;
    finish(l, out->err && l->failure ? l->failure : out->err);
}

/* ---- recovery and catching up ---- */

/* While another process writes. Members without a vote have nothing to catch up with but recovery. */
static void follow(struct log *l)
{
    struct coordinator_output out;
    if (!l->following || l->recovering || l->catchup.state != CATCHUP_STOPPED) return;
    catchup_start(&l->catchup, uv_now(l->c.loop), &out);
    send_out(l, ROLE_CATCHUP, &out);
}

static void start_election(struct log *l)
{
    struct coordinator_output out;
    l->elect_waits = false;
    coordinator_elect(&l->coordinator, uv_now(l->c.loop), &out);
    carry_out(l, &out);
}

static void recovered(struct log *l)
{
    l->recovering = false;
    l->again = true;
    logline(LOG_INFO, "log_replica_votes", "path=%s begin=%llu end=%llu promised=%llu", l->c.path,
            (unsigned long long)l->replica.begin, (unsigned long long)l->replica.end,
            (unsigned long long)l->replica.promised);
    if (l->elect_waits) start_election(l);
    follow(l);
}

static void carry_out_recovery(struct log *l, const struct recover_output *out)
{
    struct replica_output stored;
    send_out(l, ROLE_RECOVER, &out->to);
    if (out->has_metadata) {
        logline(LOG_INFO, "log_replica_status", "path=%s from=%s to=%s", l->c.path,
                replica_status_name(l->replica.status), replica_status_name(out->status));
        replica_set_metadata(&l->replica, out->status, out->promised, &stored);
        local_store_metadata(l->local);
        l->again = true;
    }
    if (out->done) recovered(l);
}

static void on_stored(void *arg)
{
    struct log *l = arg;
    struct recover_output out;
    if (!l->recovering || l->recover.state != RECOVER_STORE || l->closing) return;
    recover_stored(&l->recover, uv_now(l->c.loop), &out);
    carry_out_recovery(l, &out);
}

static void start_recovery(struct log *l)
{
    struct recover_output out;
    if (!l->recovering || l->recover.state != RECOVER_IDLE) return;
    logline(LOG_INFO, "log_recovering", "path=%s status=%s", l->c.path, replica_status_name(l->replica.status));
    recover_start(&l->recover, uv_now(l->c.loop), &out);
    carry_out_recovery(l, &out);
}

static void keep_up(struct log *l)
{
    struct recover_output out;
    struct coordinator_output fetch;
    if (l->recovering) {
        recover_advance(&l->recover, uv_now(l->c.loop), &out);
        carry_out_recovery(l, &out);
    } else if (l->catchup.state != CATCHUP_STOPPED) {
        catchup_advance(&l->catchup, uv_now(l->c.loop), &fetch);
        send_out(l, ROLE_CATCHUP, &fetch);
    }
}

static void take_answer(struct log *l, uint64_t tagged, unsigned member, const struct message *m)
{
    struct recover_output recovery;
    struct coordinator_output out;
    uint64_t request = tagged & (((uint64_t)1 << ROLE_SHIFT) - 1), now = uv_now(l->c.loop);
    if (l->closing) return;
    switch ((enum role)(tagged >> ROLE_SHIFT)) {
    case ROLE_WRITER:
        /* The own disk may be late because this loop was; what a peer said that long ago counts no more. */
        coordinator_answer(&l->coordinator, request, member, m, member == 0 ? writer_now(l) : now, &out);
        carry_out(l, &out);
        break;
    case ROLE_RECOVER:
        if (!l->recovering) return;
        recover_answer(&l->recover, request, member, m, now, &recovery);
        carry_out_recovery(l, &recovery);
        break;
    case ROLE_CATCHUP:
        catchup_answer(&l->catchup, request, member, m, now, &out);
        send_out(l, ROLE_CATCHUP, &out);
        l->changed = true;
    }
}

/* ---- time ---- */

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The time as the writer is to see it. When the loop was blocked for longer than a deadline, the own replica's answer
 * may be there already, unread: as much time as it came too late is added, to handle it. */
static uint64_t writer_now(struct log *l)
{
    uint64_t at = coordinator_deadline(&l->coordinator), now = uv_now(l->c.loop);
    if (at == UINT64_MAX || now < at) return now;
    if (at != l->late_ms && now - at < LOG_LATE_MS) return now;
    if (at != l->late_ms) {
        l->late_ms = at;
        l->patience_ms = now + lesser(now - at, l->c.write_timeout_ms);
    }
    return now < l->patience_ms ? at - 1 : now;
}

static uint64_t next_deadline(const struct log *l)
{
    uint64_t at = coordinator_deadline(&l->coordinator);
    if (at == l->late_ms && l->patience_ms > at) at = l->patience_ms;
    if (l->elect_waits) at = lesser(at, l->elect_by_ms);
    if (l->recovering) return lesser(at, recover_deadline(&l->recover));
    return lesser(at, catchup_deadline(&l->catchup));
}

static void on_timer(uv_timer_t *t)
{
    drive(t->data);
}

static void arm(struct log *l)
{
    uint64_t at = next_deadline(l), now = uv_now(l->c.loop);
    if (l->closing || at == UINT64_MAX)
        uv_timer_stop(&l->timer);
    else
        uv_timer_start(&l->timer, on_timer, at > now ? at - now : 0, 0);
}

static void advance(struct log *l)
{
    struct coordinator_output out;
    if (l->elect_waits && uv_now(l->c.loop) >= l->elect_by_ms) {
        l->elect_waits = false;
        finish(l, ERR_TIMEOUT);
    }
    keep_up(l);
    coordinator_advance(&l->coordinator, writer_now(l), &out);
    carry_out(l, &out);
}

static void tell_follower(struct log *l)
{
    if (!l->changed || l->closing) return;
    l->changed = false;
    if (l->on_learned) l->on_learned(l->learned_arg);
}

/* Lets the replica and the roles get on until none can. Calls of users and results come in between: they only set
 * `again`. */
static void drive(struct log *l)
{
    l->again = true;
    if (l->driving) return;
    l->driving = true;
    while (l->again) {
        l->again = false;
        local_pump(l->local);
        if (l->closing) break;
        if (!l->failure) advance(l);
    }
    l->driving = false;
    arm(l);
    tell_follower(l);
}

/* ---- the replica's outputs ---- */

static void on_answer(const struct local_origin *o, const struct message *answer, void *arg)
{
    struct log *l = arg;
    struct buf body = { 0 };
    if (!o->peer) {
        take_answer(l, o->request, 0, answer);
        return;
    }
    if (!l->c.send) return;
    message_encode(answer, &body);
    l->c.send(0, o->peer, message_name(answer->kind), body.data, body.len, l->c.arg);
    buf_release(&body);
}

static void on_changed(void *arg)
{
    struct log *l = arg;
    l->again = l->changed = true;
}

static void on_ready(void *arg)
{
    drive(arg);
}

/* The disk does not take it: whatever is under way cannot succeed, and nothing will. */
static void on_failed(int err, const char *why, void *arg)
{
    struct log *l = arg;
    l->failure = err;
    l->changed = true;
    buf_reset(&l->error);
    buf_adds(&l->error, why);
    (void)buf_cstr(&l->error);
    logline(LOG_ERROR, "log_storage_failed", "path=%s error=\"%s\"", l->c.path, why);
    coordinator_demote(&l->coordinator);
    catchup_stop(&l->catchup);
    l->elect_waits = false;
    if (l->req) finish_soon(l, err);
}

const char *log_error(const struct log *l)
{
    return l->error.len ? (const char *)l->error.data : "";
}

int log_failure(const struct log *l)
{
    return l->failure;
}

/* ---- opening and closing ---- */

static void restore_action(const struct action *a, void *arg)
{
    struct log *l = arg;
    replica_restore_action(&l->replica, a);
}

static int check_quorum(const struct log_config *c, const struct storage_metadata *m, struct buf *err_text)
{
    /* An empty folder is nothing yet: its scheduler was refused, and has got another size now. */
    if (!m->quorum || m->quorum == c->quorum || m->status == REPLICA_EMPTY) return 0;
    if (err_text)
        buf_addf(
            err_text,
            "log folder %s belongs to a log with quorum size %u, but -native_log_quorum_size is %u: all schedulers "
            "must use the same size, or acknowledged changes can be lost; set it to %u, or change the size on purpose "
            "with `aurora-scheduler log set-quorum` (docs/operating.md)",
            c->path, m->quorum, c->quorum, m->quorum);
    return ERR_INVALID;
}

/* It is open from now on. */
static int store_first_metadata(struct log *l, struct buf *err_text)
{
    struct storage_metadata m = { .status = l->replica.status,
                                  .promised = l->replica.promised,
                                  .quorum = l->record.size,
                                  .id = (uint32_t)l->record.replica,
                                  .n_seen = l->record.n_seen,
                                  .changes = l->record.changes };
    memcpy(m.seen, l->record.seen, m.n_seen * sizeof(*m.seen));
    int err = storage_write(l->storage, &(struct storage_batch){ .metadata = &m });
    if (err && err_text) buf_addf(err_text, "log folder %s: %s", l->c.path, storage_error(l->storage));
    return err;
}

static uint32_t new_id(const struct log *l)
{
    struct rng rng = { l->c.seed };
    return (uint32_t)(rng_next(&rng) >> 32) | 1;
}

static int restore(struct log *l, struct buf *err_text)
{
    struct storage_metadata m = { .status = REPLICA_EMPTY };
    bool stored = storage_metadata(l->storage, &m);
    int err = check_quorum(&l->c, &m, err_text);
    if (err) return err;
    replica_restore_metadata(&l->replica, m.status, m.promised);
    err = storage_restore(l->storage, restore_action, l, err_text);
    if (err) return err;
    bool initialize = l->c.initialize && m.status == REPLICA_EMPTY && l->replica.end == 0;
    if (initialize) l->replica.status = REPLICA_VOTING;
    l->record = (struct quorum_record){ .replica = m.id ? m.id : new_id(l), .size = l->c.quorum, .n_seen = m.n_seen };
    memcpy(l->record.seen, m.seen, m.n_seen * sizeof(*m.seen));
    if (l->replica.status == REPLICA_VOTING) (void)quorum_see(&l->record, &l->record.replica, 1);
    l->record.changes = m.status == REPLICA_EMPTY ? 0 : m.changes; /* what it does not hold is not out of date */
    bool differs = !stored || !m.id || m.complete || m.quorum != l->c.quorum;
    return initialize || differs ? store_first_metadata(l, err_text) : 0;
}

static void timing_init(struct timing *t, struct stats *s, const char *what)
{
    char name[64];
    int n = snprintf(name, sizeof(name), "scheduler_log_native_%s", what);
    assert(n > 0);
    t->time = stats_timer(s, name, "nanos");
    t->timeouts = stats_intf(s, "%s_timeouts", name);
    t->failures = stats_intf(s, "%s_failures", name);
}

static void stats_init(struct log *l)
{
    if (!l->c.stats) return;
    timing_init(&l->append, l->c.stats, "append");
    timing_init(&l->truncate, l->c.stats, "truncate");
    timing_init(&l->read, l->c.stats, "read");
    l->skipped = stats_int(l->c.stats, "scheduler_log_native_native_entries_skipped");
}

static void start_roles(struct log *l)
{
    const struct log_config *c = &l->c;
    struct coordinator_config coordinator = { .quorum = c->quorum,
                                              .seed = c->seed,
                                              .election_timeout_ms = c->election_timeout_ms,
                                              .election_attempts = c->election_retries,
                                              .write_timeout_ms = c->write_timeout_ms,
                                              .fill_timeout_ms = LOG_FILL_TIMEOUT_MS };
    struct local_config local = { .loop = c->loop,
                                  .storage = l->storage,
                                  .replica = &l->replica,
                                  .record = &l->record,
                                  .stats = c->stats,
                                  .on_answer = on_answer,
                                  .on_changed = on_changed,
                                  .on_stored = on_stored,
                                  .on_failed = on_failed,
                                  .on_ready = on_ready,
                                  .arg = l };
    struct rng rng = { ~c->seed };
    struct recover_config recovery = { c->quorum, c->auto_initialize, rng_next(&rng) };
    coordinator_init(&l->coordinator, &coordinator, &l->replica);
    recover_init(&l->recover, &recovery, &l->replica);
    catchup_init(&l->catchup, c->quorum, rng_next(&rng), &l->replica);
    l->recovering = l->replica.status != REPLICA_VOTING;
    l->local = local_new(&local);
    uv_timer_init(c->loop, &l->timer);
    uv_timer_init(c->loop, &l->soon);
    uv_timer_init(c->loop, &l->slow);
    l->timer.data = l->soon.data = l->slow.data = l;
    stats_init(l);
}

static void log_free(struct log *l)
{
    storage_close(l->storage);
    replica_release(&l->replica);
    coordinator_release(&l->coordinator);
    recover_release(&l->recover);
    catchup_release(&l->catchup);
    for (unsigned i = 0; i < COORDINATOR_MEMBERS_MAX; i++) free(l->peers[i]);
    buf_release(&l->error);
    free((void *)l->c.path);
    free(l);
}

int log_open(const struct log_config *c, struct log **ret, struct buf *err_text)
{
    assert(c->quorum >= 1);
    struct log *l = xcalloc(1, sizeof(*l));
    l->c = *c;
    l->c.path = xstrdup(c->path);
    replica_init(&l->replica);
    int err = storage_open(c->path, c->map_bytes, &l->storage, err_text);
    if (!err) err = restore(l, err_text);
    if (err) {
        log_free(l);
        return err;
    }
    start_roles(l);
    *ret = l;
    return 0;
}

static void on_handle_closed(struct log *l)
{
    if (--l->handles) return;
    void (*cb)(void *arg) = l->close_cb;
    void *arg = l->close_arg;
    log_free(l);
    cb(arg);
}

static void on_timer_closed(uv_handle_t *h)
{
    on_handle_closed(h->data);
}

static void on_local_closed(void *arg)
{
    on_handle_closed(arg);
}

void log_close(struct log *l, void (*cb)(void *arg), void *arg)
{
    assert(!l->closing);
    l->closing = true;
    l->close_cb = cb;
    l->close_arg = arg;
    enum coordinator_state state = l->coordinator.state;
    bool writer = state == COORDINATOR_ELECTED || state == COORDINATOR_WRITE || state == COORDINATOR_WRITE_LEARN;
    coordinator_demote(&l->coordinator);
    catchup_stop(&l->catchup);
    l->elect_waits = false;
    if (l->req) finish(l, ERR_CLOSED);
    if (l->read_req) finish_read(l, ERR_CLOSED);
    l->handles = 4;
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    uv_close((uv_handle_t *)&l->soon, on_timer_closed);
    uv_close((uv_handle_t *)&l->slow, on_timer_closed);
    local_close(l->local, writer, on_local_closed, l);
    if (!l->driving) local_pump(l->local);
}

/* ---- writing ---- */

static bool begin(struct log *l, struct log_req *r, enum operation o, enum coordinator_state needed)
{
    assert(!l->req);
    assert(!l->closing);
    l->req = r;
    l->operation = o;
    l->started_ns = uv_hrtime();
    if (!l->failure && l->coordinator.state == needed) return true;
    finish_soon(l, l->failure ? l->failure : ERR_REJECTED);
    return false;
}

void log_elect(struct log *l, struct log_req *r)
{
    if (l->coordinator.state == COORDINATOR_ELECTED) coordinator_demote(&l->coordinator);
    catchup_stop(&l->catchup);
    l->following = false;
    if (!begin(l, r, OPERATION_ELECT, COORDINATOR_IDLE)) return;
    if (l->recovering) {
        unsigned attempts = l->c.election_retries ? l->c.election_retries : 1;
        l->elect_waits = true;
        l->elect_by_ms = uv_now(l->c.loop) + l->c.election_timeout_ms * attempts;
    } else {
        start_election(l);
    }
    drive(l);
}

static void write_action(struct log *l, struct log_req *r, enum operation o, const struct action *a)
{
    struct coordinator_output out;
    if (!begin(l, r, o, COORDINATOR_ELECTED)) return;
    coordinator_write(&l->coordinator, a, uv_now(l->c.loop), &out);
    carry_out(l, &out);
    drive(l);
}

void log_append(struct log *l, struct log_req *r, const void *bytes, size_t n)
{
    write_action(l, r, OPERATION_APPEND, &(struct action){ .type = ACTION_APPEND, .bytes = bytes, .n = n });
}

void log_truncate(struct log *l, struct log_req *r, uint64_t to)
{
    write_action(l, r, OPERATION_TRUNCATE, &(struct action){ .type = ACTION_TRUNCATE, .to = to });
}

/* ---- reading ---- */

static void on_records(int err, const struct local_records *r, void *arg);

static void on_slow(uv_timer_t *t)
{
    struct log *l = t->data;
    uint64_t late = uv_now(l->c.loop) - l->slow_ms;
    if (!l->read_req || l->read_over) return;
    if (late < LOG_LATE_MS) {
        finish_read(l, ERR_TIMEOUT);
        return;
    }
    /* The loop was blocked: the slice may be there, unread. */
    l->slow_ms = uv_now(l->c.loop) + lesser(late, l->c.read_timeout_ms);
    uv_timer_start(&l->slow, on_slow, l->slow_ms - uv_now(l->c.loop), 0);
}

static void read_on(struct log *l)
{
    l->slice = true;
    l->slow_ms = uv_now(l->c.loop) + l->c.read_timeout_ms;
    if (l->c.read_timeout_ms) uv_timer_start(&l->slow, on_slow, l->c.read_timeout_ms, 0);
    local_read(l->local, l->read_from, l->read_to, on_records, l);
    drive(l);
}

static int give_records(struct log *l, const struct local_records *r)
{
    int err = 0;
    for (size_t i = 0; i < r->n && !err; i++) {
        const struct action *a = &r->v[i];
        if (a->position != l->read_from + i) return ERR_NOT_FOUND; /* truncated since */
        if (a->type == ACTION_APPEND)
            err = l->on_entry(a->position, a->bytes, a->n, l->entry_arg);
        else if (l->skipped)
            stat_add(l->skipped, 1);
    }
    return err;
}

static void on_records(int err, const struct local_records *r, void *arg)
{
    struct log *l = arg;
    l->slice = false;
    if (l->closing || !l->read_req) return; /* the request has had its ERR_CLOSED or ERR_TIMEOUT */
    uv_timer_stop(&l->slow);
    if (err && err != ERR_CLOSED) {
        buf_reset(&l->error);
        buf_adds(&l->error, storage_error(l->storage));
        (void)buf_cstr(&l->error);
    }
    if (!err) err = give_records(l, r);
    if (!err && r->n == 0) err = ERR_NOT_FOUND;
    if (l->closing || !l->read_req) return;
    l->read_from = err ? l->read_from : r->next;
    if (err || l->read_from > l->read_to)
        read_over(l, err < 0 ? err : 0);
    else
        read_on(l);
}

void log_read(struct log *l, struct log_req *r, uint64_t from, uint64_t to,
              int (*on_entry)(uint64_t position, const void *bytes, size_t n, void *arg), void *arg)
{
    assert(!l->read_req);
    assert(!l->closing);
    l->read_req = r;
    l->read_from = from;
    l->read_to = to;
    l->on_entry = on_entry;
    l->entry_arg = arg;
    l->read_started_ns = uv_hrtime();
    bool known =
        from >= l->replica.begin && to <= l->replica.end && replica_next_missing(&l->replica, from, to) == UINT64_MAX;
    if (from > to)
        read_over(l, 0);
    else if (l->failure || l->slice)
        read_over(l, l->failure ? l->failure : ERR_BUSY);
    else if (!known)
        read_over(l, ERR_INVALID);
    else
        read_on(l);
}

/* ---- peers ---- */

static bool listed(const char *pid, const char *const *pids, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(pid, pids[i]) == 0) return true;
    return false;
}

static unsigned member_of(const struct log *l, const char *pid)
{
    for (unsigned i = 1; i < COORDINATOR_MEMBERS_MAX; i++)
        if (l->peers[i] && strcmp(l->peers[i], pid) == 0) return i;
    return 0;
}

static void add_peer(struct log *l, const char *pid)
{
    unsigned i = 1;
    if (member_of(l, pid)) return;
    while (l->peers[i]) i++;
    assert(i < COORDINATOR_MEMBERS_MAX);
    l->peers[i] = xstrdup(pid);
    l->n_peers++;
}

int log_set_peers(struct log *l, const char *const *pids, unsigned n)
{
    if (n >= COORDINATOR_MEMBERS_MAX) return ERR_TOO_BIG;
    assert(!n || l->c.send);
    for (unsigned i = 1; i < COORDINATOR_MEMBERS_MAX; i++) {
        if (!l->peers[i] || listed(l->peers[i], pids, n)) continue;
        free(l->peers[i]);
        l->peers[i] = NULL;
        l->n_peers--;
    }
    for (unsigned i = 0; i < n; i++) add_peer(l, pids[i]);
    coordinator_members(&l->coordinator, l->n_peers + 1);
    recover_members(&l->recover, l->n_peers + 1);
    catchup_members(&l->catchup, l->n_peers + 1);
    if (!l->failure) start_recovery(l);
    drive(l);
    return 0;
}

void log_set_sender(struct log *l,
                    void (*send)(uint64_t request, const char *to, const char *name, const void *body, size_t n,
                                 void *arg),
                    void *arg)
{
    l->c.send = send;
    l->c.arg = arg;
}

const struct quorum_record *log_quorum_record(const struct log *l)
{
    return &l->record;
}

void log_see_replicas(struct log *l, const uint64_t *replicas, unsigned n)
{
    /* While it recovers, the next metadata that are stored must be those of the recovery. */
    if (l->recovering || l->failure || l->closing || !quorum_see(&l->record, replicas, n)) return;
    local_store_metadata(l->local);
    drive(l);
}

void log_join_group(struct log *l, uint32_t changes)
{
    if (!l->record.n_seen) l->record.changes = changes;
}

void log_exists_elsewhere(struct log *l, bool exists)
{
    l->recover.exists = exists;
}

bool log_votes(const struct log *l)
{
    return !l->recovering;
}

bool log_is_uninitialized(const struct log *l)
{
    return l->recovering && recover_is_uninitialized(&l->recover);
}

void log_follow(struct log *l, void (*on_learned)(void *arg), void *arg)
{
    assert(!l->closing);
    l->following = true;
    l->on_learned = on_learned;
    l->learned_arg = arg;
    l->changed = true;
    if (!l->failure) follow(l);
    drive(l);
}

void log_unfollow(struct log *l)
{
    l->following = false;
    l->on_learned = NULL;
    catchup_stop(&l->catchup);
    if (!l->closing) drive(l);
}

uint64_t log_begin(const struct log *l)
{
    return l->replica.begin;
}

uint64_t log_known(const struct log *l, uint64_t from)
{
    if (from > l->replica.end) return from;
    uint64_t missing = replica_next_missing(&l->replica, from, l->replica.end);
    return missing == UINT64_MAX ? l->replica.end + 1 : missing;
}

uint64_t log_heard(const struct log *l)
{
    uint64_t last = l->replica.end;
    if (l->catchup.end > last) last = l->catchup.end;
    if (l->recover.end > last) last = l->recover.end;
    return last == 0 && replica_missing(&l->replica, 0) ? 0 : last + 1;
}

static int decode(struct str name, const void *body, size_t n, struct arena *a, struct message *ret)
{
    enum message_kind kind;
    int err = message_kind_of(name, &kind);
    return err ? err : message_decode(kind, body, n, a, ret);
}

static bool is_request(enum message_kind k)
{
    return k == MESSAGE_PROMISE_REQUEST || k == MESSAGE_WRITE_REQUEST || k == MESSAGE_LEARNED ||
           k == MESSAGE_RECOVER_REQUEST;
}

int log_request(struct log *l, const char *from, struct str name, const void *body, size_t n)
{
    struct arena a = { .max_bytes = LOG_MESSAGE_BYTES };
    struct message m;
    if (!l->c.send) return ERR_UNSUPPORTED;
    int err = decode(name, body, n, &a, &m);
    if (!err && !is_request(m.kind)) err = ERR_NOT_FOUND;
    if (!err) err = local_deliver(l->local, &m, (struct local_origin){ .peer = xstrdup(from) });
    arena_release(&a);
    if (!err) drive(l);
    return err;
}

int log_answer(struct log *l, uint64_t request, const char *from, struct str name, const void *body, size_t n)
{
    struct arena a = { .max_bytes = LOG_MESSAGE_BYTES };
    struct message m;
    unsigned member = member_of(l, from);
    int err = member ? decode(name, body, n, &a, &m) : ERR_NOT_FOUND;
    if (!err && is_request(m.kind)) err = ERR_NOT_FOUND;
    if (!err) {
        if (!l->failure) take_answer(l, request, member, &m);
        drive(l);
    }
    arena_release(&a);
    return err;
}
