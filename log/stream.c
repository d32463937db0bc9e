#include "log/stream.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "log/entry.h"
#include "log/log.h"
#include "log/replay.h"
#include "log/snapshot.h"

#include <assert.h>
#include <stdlib.h>

/* What is learned is read once it is on this replica's disk, where it goes within LOCAL_LAZY_MS by itself: reading at
 * once would cost each replica a sync more. */
#define FOLLOW_DELAY_MS 50
/* A transaction record's frame around its ops. */
#define TRANSACTION_OVERHEAD 32

/* A round of a snapshot that has encoded no more tasks than this is followed by the last one; so is the one before the
 * last. */
#define SNAPSHOT_FEW_TASKS 5000
#define SNAPSHOT_ROUNDS 6

enum kind { KIND_TRANSACTION, KIND_SNAPSHOT };

struct snapshot;

/* What becomes one entry. */
struct pending {
    struct pending *next;
    enum kind kind;
    bool sealed; /* takes no more ops */
    struct entry_transaction t;
    uint64_t last; /* the index that is durable with it */
};

/* A snapshot on its way. It is encoded in the pool, in rounds: the first one takes long, and what changes meanwhile is
 * the work of the next one. Only the last image stands for what the snapshot says, and only what is appended after it
 * waits. If the stream is closed while a round runs, it ends by itself. */
struct snapshot {
    uv_work_t work;
    struct stream *stream; /* NULL: closed */
    const struct store *store;
    struct image *images[SNAPSHOT_ROUNDS];
    unsigned rounds;
    struct snapshot_writer *writer; /* NULL: the last round is over */
    uint32_t tasks;                 /* that the last round has encoded */
    size_t max_entry_bytes;
    bool in_pool, last, waits; /* waits: for the end of a hold, to begin the last round */
    struct buf entry;
    struct entry_frames frames;
    int err;
    uint64_t started_ns, held_ns, took_ns;
    void (*cb)(int err, void *arg);
    void *arg;
};

/* One request to the log, with what it borrows. It outlives a stream that is closed meanwhile. */
struct call {
    struct log_req req;
    struct stream *stream; /* NULL: closed */
    struct buf record;
};

struct stream {
    struct stream_config c;
    struct pending *head, *tail;
    size_t queued;
    uint64_t index, durable;
    struct call *call; /* under way: the election or a write */
    struct call *read;
    bool ready, failed, closing, held;

    /* The entry that is being written: the head. */
    bool writing;
    struct entry_frames frames;
    size_t record;
    uint64_t first_position;
    uint64_t entry_started_ns;

    struct snapshot *snapshot; /* NULL: none is on its way */

    bool following, elected;
    uint64_t next;     /* the first position that has not been read */
    uint64_t applied;  /* the first that has not been applied, as far as is known */
    uint64_t applying; /* the first behind the batch that is being applied */
    uint64_t last;     /* elected: where replay ends */
    uv_timer_t follow;
    struct replay *replay;
    struct buf why; /* why replay failed */

    uv_check_t check; /* writing begins at the end of a loop pass, with all that the pass has queued */
    uv_idle_t idle;   /* keeps the loop from sleeping before that */
    int handles;
    void (*close_cb)(void *arg);
    void *close_arg;

    struct {
        struct stat *bytes_written, *entries_written, *snapshots, *unsnapshotted, *queued, *lag;
        struct stat_timer *append, *deflate, *snapshot, *persist, *truncate, *hold;
    } st;
};

static void kick(struct stream *s);

static void add(struct stat *st, int64_t n)
{
    if (st) stat_add(st, n);
}

static void took(struct stat_timer *t, uint64_t since_ns)
{
    if (t) stat_timer_add(t, (int64_t)(uv_hrtime() - since_ns));
}

static void stats_init(struct stream *s)
{
    struct stats *st = s->c.stats;
    if (!st) return;
    s->st.bytes_written = stats_int(st, "scheduler_log_bytes_written");
    s->st.entries_written = stats_int(st, "scheduler_log_entries_written");
    s->st.snapshots = stats_int(st, "scheduler_log_snapshots");
    s->st.unsnapshotted = stats_int(st, "scheduler_log_un_snapshotted_transactions");
    s->st.queued = stats_int(st, "log_stream_queued_bytes");
    s->st.lag = stats_int(st, "log_follower_lag_positions");
    s->st.append = stats_timer(st, "log_manager_append", "nanos");
    s->st.deflate = stats_timer(st, "log_manager_deflate", "nanos");
    s->st.snapshot = stats_timer(st, "scheduler_log_snapshot", "nanos");
    s->st.persist = stats_timer(st, "scheduler_log_snapshot_persist", "nanos");
    s->st.hold = stats_timer(st, "log_snapshot_hold", "nanos");
    s->st.truncate = stats_timer(st, "scheduler_log_native_truncate_before", "nanos");
}

static void on_applied(int err, const char *why, void *arg);

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct stream *s = arg;
    return s->c.on_snapshot(state, s->c.arg);
}

static int on_op(const struct api_op *op, void *arg)
{
    struct stream *s = arg;
    return s->c.on_op(op, s->c.arg);
}

static void on_check(uv_check_t *h)
{
    struct stream *s = h->data;
    uv_check_stop(&s->check);
    uv_idle_stop(&s->idle);
    kick(s);
}

static void on_idle(uv_idle_t *h)
{
    (void)h;
}

/* At the end of this loop pass. */
static void kick_later(struct stream *s)
{
    if (s->closing || uv_is_active((uv_handle_t *)&s->check)) return;
    uv_check_start(&s->check, on_check);
    uv_idle_start(&s->idle, on_idle);
}

int stream_new(const struct stream_config *c, struct stream **ret)
{
    assert(c->max_entry_bytes > TRANSACTION_OVERHEAD);
    if (c->max_entry_bytes > LIMIT_LOG_ENTRY_BYTES) return ERR_INVALID;
    struct stream *s = xcalloc(1, sizeof(*s));
    s->c = *c;
    if (!s->c.max_queued_bytes) s->c.max_queued_bytes = LIMIT_LOG_QUEUE_BYTES;
    uv_check_init(c->loop, &s->check);
    uv_idle_init(c->loop, &s->idle);
    uv_timer_init(c->loop, &s->follow);
    s->check.data = s->idle.data = s->follow.data = s;
    stats_init(s);
    struct replay_config rc = { .loop = c->loop,
                                .stats = c->stats,
                                .on_snapshot = on_snapshot,
                                .on_op = on_op,
                                .on_applied = on_applied,
                                .arg = s };
    s->replay = replay_new(&rc);
    *ret = s;
    return 0;
}

/* ---- requests to the log ---- */

static struct call *call_in(struct stream *s, struct call **slot, void (*cb)(struct log_req *r, int err))
{
    assert(!*slot);
    struct call *c = xcalloc(1, sizeof(*c));
    c->req.data = c;
    c->req.cb = cb;
    c->stream = s;
    *slot = c;
    return c;
}

static struct call *call_new(struct stream *s, void (*cb)(struct log_req *r, int err))
{
    return call_in(s, &s->call, cb);
}

/* Ends the call; NULL if its stream is gone. */
static struct stream *call_end(struct log_req *r, uint64_t *ret_position)
{
    struct call *c = r->data;
    struct stream *s = c->stream;
    if (s && s->call == c) s->call = NULL;
    if (s && s->read == c) s->read = NULL;
    if (ret_position) *ret_position = r->position;
    buf_release(&c->record);
    free(c);
    return s;
}

/* ---- the queue ---- */

static void count_queued(struct stream *s, size_t before, size_t after)
{
    s->queued += after - before;
    if (s->st.queued) stat_set(s->st.queued, (int64_t)s->queued);
}

static struct pending *push(struct stream *s, enum kind kind)
{
    struct pending *p = xcalloc(1, sizeof(*p));
    p->kind = kind;
    p->last = s->index;
    if (s->tail)
        s->tail->next = p;
    else
        s->head = p;
    s->tail = p;
    return p;
}

static void pop(struct stream *s)
{
    struct pending *p = s->head;
    s->head = p->next;
    if (!s->head) s->tail = NULL;
    count_queued(s, p->t.bytes.len, 0);
    buf_release(&p->t.bytes);
    free(p);
}

static void snapshot_free(struct snapshot *n)
{
    snapshot_writer_free(n->writer);
    for (unsigned i = 0; i < n->rounds; i++) image_unref(n->images[i]);
    buf_release(&n->entry);
    free(n);
}

/* Gives up a snapshot; one that is in the pool ends there. */
static void snapshot_drop(struct stream *s, int err)
{
    struct snapshot *n = s->snapshot;
    s->snapshot = NULL;
    n->cb(err, n->arg);
    if (n->in_pool)
        n->stream = NULL;
    else
        snapshot_free(n);
}

static void drop_queue(struct stream *s, int err)
{
    while (s->head) pop(s);
    if (s->snapshot) snapshot_drop(s, err);
}

/* The last callback. */
static void fail(struct stream *s, int err, const char *what)
{
    if (s->failed || s->closing) return;
    s->failed = true;
    struct buf why = { 0 };
    const char *detail = log_error(s->c.log);
    buf_addf(&why, "%s: %s%s%s", what, err_str(err), *detail ? ": " : "", detail);
    if (s->why.len) buf_addf(&why, ": %s", buf_cstr(&s->why));
    logline(LOG_ERROR, "log_failed", "why=\"%s\"", buf_cstr(&why));
    drop_queue(s, err);
    s->c.on_failed(buf_cstr(&why), s->c.arg);
    buf_release(&why);
}

/* ---- writing ---- */

static void on_appended(struct log_req *r, int err);

static void append_record(struct stream *s)
{
    struct call *c = call_new(s, on_appended);
    entry_frames_record(&s->frames, s->record, &c->record);
    add(s->st.bytes_written, (int64_t)c->record.len);
    log_append(s->c.log, &c->req, c->record.data, c->record.len);
}

/* The entry takes no more. */
static void seal(struct stream *s, struct pending *p)
{
    size_t before = p->t.bytes.len;
    entry_transaction_end(&p->t);
    p->sealed = true;
    count_queued(s, before, p->t.bytes.len);
}

static void kick(struct stream *s)
{
    struct pending *p = s->head;
    if (!s->ready || s->failed || s->closing || s->call || !p) return;
    if (p->kind == KIND_SNAPSHOT && s->snapshot->in_pool) return; /* what is behind must stay behind */
    if (s->held && p->kind == KIND_TRANSACTION && !p->sealed) return;
    if (p->kind == KIND_TRANSACTION && !p->sealed) seal(s, p);
    s->writing = true;
    s->record = 0;
    s->entry_started_ns = uv_hrtime();
    if (p->kind == KIND_SNAPSHOT)
        s->frames = s->snapshot->frames;
    else
        entry_frames_init(&s->frames, p->t.bytes.data, p->t.bytes.len, s->c.max_entry_bytes);
    append_record(s);
}

static void on_truncated(struct log_req *r, int err)
{
    struct stream *s = call_end(r, NULL);
    if (!s) return;
    struct snapshot *n = s->snapshot;
    s->snapshot = NULL;
    pop(s);
    s->writing = false;
    took(s->st.truncate, s->entry_started_ns);
    took(s->st.snapshot, n->started_ns);
    took(s->st.hold, n->held_ns);
    n->cb(err, n->arg);
    snapshot_free(n);
    if (s->closing) return;
    if (err)
        fail(s, err, "truncating the log failed");
    else
        kick_later(s);
}

static void snapshot_written(struct stream *s)
{
    struct call *c = call_new(s, on_truncated);
    took(s->st.persist, s->entry_started_ns);
    add(s->st.snapshots, 1);
    if (s->st.unsnapshotted) stat_set(s->st.unsnapshotted, 0);
    s->entry_started_ns = uv_hrtime();
    log_truncate(s->c.log, &c->req, s->first_position);
}

static void transaction_written(struct stream *s)
{
    add(s->st.unsnapshotted, 1);
    pop(s);
    s->writing = false;
    kick_later(s);
}

static void entry_written(struct stream *s)
{
    struct pending *p = s->head;
    took(s->st.append, s->entry_started_ns);
    add(s->st.entries_written, 1);
    s->durable = p->last;
    if (p->kind == KIND_SNAPSHOT)
        snapshot_written(s);
    else
        transaction_written(s);
    s->c.on_durable(s->durable, s->c.arg);
}

static void on_appended(struct log_req *r, int err)
{
    uint64_t position;
    struct stream *s = call_end(r, &position);
    if (!s) return;
    if (err) {
        fail(s, err, "writing to the log failed");
        return;
    }
    if (s->record == 0) s->first_position = position;
    if (++s->record < s->frames.records)
        append_record(s);
    else
        entry_written(s);
}

/* The entry that takes n more bytes of ops: the last one that is not being written, or a new one. */
static struct pending *open_transaction(struct stream *s)
{
    struct pending *p = s->tail;
    if (p && p->kind == KIND_TRANSACTION && !p->sealed) return p;
    p = push(s, KIND_TRANSACTION);
    entry_transaction_begin(&p->t);
    count_queued(s, 0, p->t.bytes.len);
    return p;
}

/* Encodes the group behind what p holds. If the two are too much for one record, the group gets an entry of its own. */
static int add_group(struct stream *s, struct pending *p, const struct api_op *ops, uint32_t n)
{
    size_t before = p->t.bytes.len;
    uint32_t n_before = p->t.n_ops;
    int err = 0;
    for (uint32_t i = 0; i < n && !err; i++) err = entry_transaction_op(&p->t, &ops[i]);
    bool too_much = !s->held && (err == ERR_TOO_BIG || p->t.bytes.len + TRANSACTION_OVERHEAD > s->c.max_entry_bytes);
    if (err || (too_much && n_before)) entry_transaction_rewind(&p->t, before, n_before);
    if (too_much && n_before) {
        seal(s, p);
        return add_group(s, open_transaction(s), ops, n);
    }
    count_queued(s, before, p->t.bytes.len);
    if (!err) p->last = s->index + 1;
    return err;
}

uint64_t stream_append(struct stream *s, const struct api_op *ops, uint32_t n)
{
    if (s->failed || s->closing || !n) return s->index;
    int err = add_group(s, open_transaction(s), ops, n);
    if (!err && s->queued > s->c.max_queued_bytes) err = ERR_FULL;
    if (err) {
        fail(s, err, "an operation cannot be logged");
        return s->index;
    }
    s->index++;
    kick_later(s);
    return s->index;
}

static void encode_round(struct stream *s);

void stream_hold(struct stream *s, bool held)
{
    if (s->held == held) return;
    s->held = held;
    if (held) return;
    kick_later(s);
    if (s->snapshot && s->snapshot->waits) encode_round(s);
}

uint64_t stream_durable(const struct stream *s)
{
    return s->durable;
}

size_t stream_queued_bytes(const struct stream *s)
{
    return s->queued;
}

/* ---- snapshots ---- */

static void encode_in_pool(uv_work_t *w)
{
    struct snapshot *n = w->data;
    uint64_t start = uv_hrtime();
    n->err = snapshot_encode(n->writer, n->images[n->rounds - 1], &n->tasks);
    if (!n->err && n->last) n->err = snapshot_finish(n->writer, &n->entry);
    if (!n->err && n->last) entry_frames_init(&n->frames, n->entry.data, n->entry.len, n->max_entry_bytes);
    if (n->last) {
        snapshot_writer_free(n->writer);
        n->writer = NULL;
    }
    n->took_ns += uv_hrtime() - start;
}

static void after_encode(uv_work_t *w, int status)
{
    struct snapshot *n = w->data;
    struct stream *s = n->stream;
    assert(status == 0);
    n->in_pool = false;
    if (!s) {
        snapshot_free(n);
    } else if (n->err) {
        fail(s, n->err, "the snapshot cannot be encoded");
    } else if (n->last) {
        if (s->st.deflate) stat_timer_add(s->st.deflate, (int64_t)n->took_ns);
        kick_later(s);
    } else {
        encode_round(s);
    }
}

/* The image is the one that counts: it has its place among what is appended. */
static void enter_queue(struct stream *s)
{
    s->snapshot->last = true;
    s->snapshot->held_ns = uv_hrtime();
    push(s, KIND_SNAPSHOT);
}

static void encode_image(struct stream *s, struct image *image)
{
    struct snapshot *n = s->snapshot;
    assert(n->rounds < SNAPSHOT_ROUNDS);
    n->images[n->rounds++] = image;
    n->in_pool = true;
    int rc = uv_queue_work(s->c.loop, &n->work, encode_in_pool, after_encode);
    assert(rc == 0);
}

/* An image in the middle of a hold shows groups that must become durable together. As long as others follow it does not
 * matter. */
static void encode_round(struct stream *s)
{
    struct snapshot *n = s->snapshot;
    bool last = n->tasks <= SNAPSHOT_FEW_TASKS || n->rounds == SNAPSHOT_ROUNDS - 1;
    n->waits = last && s->held;
    if (n->waits) return;
    if (last) enter_queue(s);
    /* All have the first one's time: a snapshot's is when it was begun. */
    encode_image(s, image_take(n->store, n->rounds ? n->images[0]->rest.timestamp : s->c.now_ms(s->c.arg)));
}

static int begin_snapshot(struct stream *s, void (*cb)(int err, void *arg), void *arg)
{
    if (s->failed || s->closing) return ERR_CLOSED;
    if (s->snapshot || s->held || !s->ready) return ERR_BUSY;
    struct snapshot *n = s->snapshot = xcalloc(1, sizeof(*n));
    n->stream = s;
    n->writer = snapshot_writer_new();
    n->max_entry_bytes = s->c.max_entry_bytes;
    n->cb = cb;
    n->arg = arg;
    n->started_ns = uv_hrtime();
    n->work.data = n;
    return 0;
}

int stream_snapshot_image(struct stream *s, struct image *image, void (*cb)(int err, void *arg), void *arg)
{
    int err = begin_snapshot(s, cb, arg);
    if (err) return err;
    enter_queue(s);
    encode_image(s, image_ref(image));
    return 0;
}

int stream_snapshot(struct stream *s, const struct store *store, void (*cb)(int err, void *arg), void *arg)
{
    int err = begin_snapshot(s, cb, arg);
    if (err) return err;
    s->snapshot->store = store;
    s->snapshot->tasks = (uint32_t)store_task_count(store); /* as if a round had found so many changed */
    encode_round(s);
    return 0;
}

/* ---- replay ---- */

static void count_lag(struct stream *s)
{
    if (s->st.lag) stat_set(s->st.lag, (int64_t)stream_lag(s));
}

static void replayed(struct stream *s)
{
    replay_end(s->replay);
    s->ready = true;
    s->following = false;
    count_lag(s);
    kick_later(s);
    s->c.on_ready(s->c.arg);
}

static void read_on(struct stream *s);

static bool batch_full(const struct stream *s)
{
    return replay_gathered(s->replay) > REPLAY_BATCH_BYTES;
}

/* A full batch stops the read, which goes on behind it. */
static int on_entry(uint64_t position, const void *bytes, size_t n, void *arg)
{
    struct stream *s = ((struct call *)arg)->stream;
    if (!s) return ERR_CLOSED;
    replay_add(s->replay, position, bytes, n);
    s->next = position + 1;
    return batch_full(s);
}

/* Truncated under the reader: what is left begins with a snapshot, which says it all. */
static bool truncated_meanwhile(const struct stream *s, int err)
{
    return (err == ERR_NOT_FOUND || err == ERR_INVALID) && s->next < log_begin(s->c.log);
}

static void on_read(struct log_req *r, int err)
{
    uint64_t to = r->position;
    struct stream *s = call_end(r, NULL);
    if (!s) return;
    if (err && !truncated_meanwhile(s, err)) {
        fail(s, err, "replaying the log failed");
        return;
    }
    if (!err && !batch_full(s) && s->next <= to) s->next = to + 1; /* what is left holds no entries */
    read_on(s);
}

static void on_applied(int err, const char *why, void *arg)
{
    struct stream *s = arg;
    if (err) {
        buf_adds(&s->why, why);
        fail(s, err, "replaying the log failed");
        return;
    }
    read_on(s);
}

static void read_up_to(struct stream *s, uint64_t last)
{
    struct call *c = call_in(s, &s->read, on_read);
    c->req.position = last;
    log_read(s->c.log, &c->req, s->next, last, on_entry, c);
}

/* Reads what is known and has not been read, and applies what has: one batch is read while another is applied. */
static void read_on(struct stream *s)
{
    uint64_t begin = log_begin(s->c.log);
    if (s->read || s->failed || s->closing) return;
    if (!replay_busy(s->replay)) {
        s->applied = replay_gathered(s->replay) ? s->applying : s->next;
        s->applying = s->next;
        if (replay_gathered(s->replay)) replay_begin(s->replay);
    }
    if (s->next < begin) s->next = begin;
    count_lag(s);
    uint64_t end = s->elected ? s->last + 1 : log_known(s->c.log, s->next);
    if (s->next < end && !replay_gathered(s->replay))
        read_up_to(s, end - 1);
    else if (s->next >= end && s->elected && !replay_busy(s->replay))
        replayed(s);
}

/* ---- following ---- */

static void on_follow(uv_timer_t *t)
{
    read_on(t->data);
}

static void on_learned(void *arg)
{
    struct stream *s = arg;
    if (s->failed || s->closing) return;
    int err = log_failure(s->c.log);
    if (err && !s->call) { /* what waits for the log is told by itself */
        fail(s, err, "storing the log failed");
        return;
    }
    if (!s->following || s->elected) return;
    count_lag(s);
    if (!uv_is_active((uv_handle_t *)&s->follow)) uv_timer_start(&s->follow, on_follow, FOLLOW_DELAY_MS, 0);
}

void stream_follow(struct stream *s)
{
    assert(!s->following);
    assert(!s->call);
    assert(!s->ready);
    s->following = true;
    log_follow(s->c.log, on_learned, s);
}

uint64_t stream_lag(const struct stream *s)
{
    uint64_t begin = log_begin(s->c.log), heard = log_heard(s->c.log);
    uint64_t first = s->applied > begin ? s->applied : begin;
    return s->ready || heard < first ? 0 : heard - first;
}

/* ---- taking over ---- */

static void on_elected(struct log_req *r, int err)
{
    uint64_t last;
    struct stream *s = call_end(r, &last);
    if (!s) return;
    if (err) {
        fail(s, err, "becoming the log's writer failed");
        return;
    }
    s->elected = true;
    s->last = last;
    uv_timer_stop(&s->follow);
    read_on(s);
}

void stream_start(struct stream *s)
{
    log_elect(s->c.log, &call_new(s, on_elected)->req);
}

/* ---- closing ---- */

static void on_part_closed(void *part)
{
    struct stream *s = part;
    if (--s->handles) return;
    void (*cb)(void *arg) = s->close_cb;
    void *arg = s->close_arg;
    buf_release(&s->why);
    free(s);
    cb(arg);
}

static void on_closed(uv_handle_t *h)
{
    on_part_closed(h->data);
}

void stream_close(struct stream *s, void (*cb)(void *arg), void *arg)
{
    assert(!s->closing);
    s->closing = true;
    s->close_cb = cb;
    s->close_arg = arg;
    if (s->call) s->call->stream = NULL;
    if (s->read) s->read->stream = NULL;
    if (s->following) log_unfollow(s->c.log);
    drop_queue(s, ERR_CLOSED);
    s->handles = 4;
    replay_close(s->replay, on_part_closed, s);
    uv_close((uv_handle_t *)&s->follow, on_closed);
    uv_close((uv_handle_t *)&s->check, on_closed);
    uv_close((uv_handle_t *)&s->idle, on_closed);
}
