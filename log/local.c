#include "log/local.h"

#include "core/buf.h"
#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

struct item {
    struct item *next;
    struct message *m;
    struct local_origin origin;
};

/* What one commit holds. Actions and answers borrow from the items and the arena. */
struct batch {
    struct item *items;
    struct arena records; /* stored records that steps were given */
    struct action *actions;
    size_t n, cap, bytes;
    struct {
        struct message m;
        struct local_origin *origin;
    } * answers;
    size_t n_answers, cap_answers;
    bool store_metadata;
    struct storage_metadata metadata;
    uint64_t purge_below;
};

enum job { JOB_NONE, JOB_COMMIT, JOB_RECORDS, JOB_RANGE };

/* Stored records that the first requests of the queue need, in its order: read together, they are stepped together and
 * so answered by one commit. */
struct needed {
    uint64_t positions[LOCAL_NEEDED_MAX];
    struct action records[LOCAL_NEEDED_MAX];
    unsigned n, next; /* next: of those that have been read and not been used */
};

struct local {
    struct local_config c;
    struct item *head, **tail;
    size_t queued;
    struct batch batch, running;
    bool urgent; /* commit without waiting for more */
    enum job job;
    uv_work_t work;
    uv_timer_t lazy;
    int err;
    uint64_t started_ns, took_ns;
    struct needed needed; /* JOB_RECORDS */
    struct {
        bool wanted;
        uint64_t from, to;
        void (*cb)(int err, const struct local_records *r, void *arg);
        void *arg;
        struct arena arena;
        struct action *v;
        size_t n, bytes;
        uint64_t next;
    } range;
    bool failed, closing, complete;
    void (*close_cb)(void *arg);
    void *close_arg;
    struct stat_timer *commit_time;
    struct stat *commit_records, *dropped, *depth;
};

static void on_lazy(uv_timer_t *t)
{
    struct local *l = t->data;
    l->urgent = true;
    l->c.on_ready(l->c.arg);
}

struct local *local_new(const struct local_config *c)
{
    struct local *l = xcalloc(1, sizeof(*l));
    l->c = *c;
    l->tail = &l->head;
    l->work.data = l;
    l->lazy.data = l;
    uv_timer_init(c->loop, &l->lazy);
    if (!c->stats) return l;
    l->commit_time = stats_timer(c->stats, "log_commit", "nanos");
    l->commit_records = stats_int(c->stats, "log_commit_records");
    l->dropped = stats_int(c->stats, "log_requests_dropped");
    l->depth = stats_int(c->stats, "log_queue_depth");
    return l;
}

static void count_queue(struct local *l, int change)
{
    l->queued += (size_t)change;
    if (l->depth) stat_set(l->depth, (int64_t)l->queued);
}

static void item_free(struct item *i)
{
    free(i->origin.peer);
    free(i->m);
    free(i);
}

static void batch_release(struct batch *b)
{
    for (struct item *i = b->items, *next; i; i = next) {
        next = i->next;
        item_free(i);
    }
    arena_release(&b->records);
    free(b->actions);
    free(b->answers);
    *b = (struct batch){ 0 };
}

int local_deliver(struct local *l, const struct message *m, struct local_origin o)
{
    bool full = l->queued >= LOCAL_QUEUE_MAX && o.peer;
    if (full || l->failed || l->closing) {
        if (full && l->dropped) stat_add(l->dropped, 1);
        free(o.peer);
        return full ? ERR_FULL : ERR_CLOSED;
    }
    struct item *i = xcalloc(1, sizeof(*i));
    i->m = message_copy(m);
    i->origin = o;
    *l->tail = i;
    l->tail = &i->next;
    count_queue(l, 1);
    return 0;
}

/* ---- steps ---- */

static bool dirty(const struct batch *b)
{
    return b->n || b->store_metadata;
}

static void add_metadata(struct local *l)
{
    const struct quorum_record *r = l->c.record;
    struct storage_metadata *m = &l->batch.metadata;
    l->batch.store_metadata = true;
    *m = (struct storage_metadata){ .status = l->c.replica->status,
                                    .promised = l->c.replica->promised,
                                    .quorum = r->size,
                                    .id = (uint32_t)r->replica,
                                    .complete = l->closing && l->complete,
                                    .n_seen = r->n_seen,
                                    .changes = r->changes };
    memcpy(m->seen, r->seen, r->n_seen * sizeof(*m->seen));
}

static void add_action(struct batch *b, const struct action *a)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 8;
        b->actions = xrealloc(b->actions, b->cap * sizeof(*b->actions));
    }
    b->actions[b->n++] = *a;
    b->bytes += a->n;
}

static void add_answer(struct batch *b, const struct message *m, struct local_origin *o)
{
    if (b->n_answers == b->cap_answers) {
        b->cap_answers = b->cap_answers ? b->cap_answers * 2 : 8;
        b->answers = xrealloc(b->answers, b->cap_answers * sizeof(*b->answers));
    }
    b->answers[b->n_answers].m = *m;
    b->answers[b->n_answers++].origin = o;
}

static uint64_t purge_limit(const struct action *a)
{
    /* A tombstone holds `begin` itself, so it stays. */
    return a->type == ACTION_TRUNCATE ? a->to : a->position;
}

static struct item *pop(struct local *l)
{
    struct item *i = l->head;
    l->head = i->next;
    if (!l->head) l->tail = &l->head;
    count_queue(l, -1);
    return i;
}

static void step(struct local *l, const struct action *record)
{
    struct replica_output out;
    struct batch *b = &l->batch;
    struct item *i = pop(l);
    i->next = b->items;
    b->items = i;
    replica_step(l->c.replica, i->m, record, &out);
    if (out.store_metadata) add_metadata(l);
    if (out.store_action) add_action(b, &out.action);
    if (out.purge && purge_limit(&out.action) > b->purge_below) b->purge_below = purge_limit(&out.action);
    if (out.has_reply) add_answer(b, &out.reply, &i->origin);
    l->c.on_changed(l->c.arg);
}

void local_store_metadata(struct local *l)
{
    add_metadata(l);
    l->urgent = true;
}

/* ---- jobs ---- */

static void fail(struct local *l, int err)
{
    if (l->failed) return;
    l->failed = true;
    l->c.on_failed(err, storage_error(l->c.storage), l->c.arg);
}

static void release_answers(struct local *l, struct batch *b)
{
    for (size_t i = 0; i < b->n_answers; i++) l->c.on_answer(b->answers[i].origin, &b->answers[i].m, l->c.arg);
}

static void commit_in_pool(struct local *l)
{
    struct batch *b = &l->running;
    struct storage_batch s = { .metadata = b->store_metadata ? &b->metadata : NULL,
                               .actions = b->actions,
                               .n = b->n,
                               .purge_below = b->purge_below };
    l->err = storage_write(l->c.storage, &s);
}

static bool keep_record(const struct action *a, void *arg)
{
    struct local *l = arg;
    if (l->range.n && (l->range.bytes + a->n > LOCAL_READ_BYTES || l->range.n == LOCAL_READ_RECORDS)) return false;
    uint8_t *bytes = arena_alloc(&l->range.arena, a->n + 1);
    if (a->n) memcpy(bytes, a->bytes, a->n);
    struct action *copy = &l->range.v[l->range.n++];
    *copy = *a;
    copy->bytes = bytes;
    l->range.bytes += a->n;
    l->range.next = a->position + 1;
    return true;
}

static void range_in_pool(struct local *l)
{
    l->range.v = ARENA_ARRAY(&l->range.arena, struct action, LOCAL_READ_RECORDS);
    l->range.n = l->range.bytes = 0;
    l->range.next = l->range.from;
    l->err = storage_each(l->c.storage, l->range.from, l->range.to, keep_record, l);
    if (!l->range.n) l->range.next = l->range.to + 1;
}

static void records_in_pool(struct local *l)
{
    struct needed *d = &l->needed;
    l->err = 0;
    for (unsigned i = 0; i < d->n && !l->err; i++)
        l->err = storage_read(l->c.storage, d->positions[i], &l->batch.records, &d->records[i]);
}

static void in_pool(uv_work_t *w)
{
    struct local *l = w->data;
    uint64_t start = uv_hrtime();
    if (l->job == JOB_COMMIT)
        commit_in_pool(l);
    else if (l->job == JOB_RECORDS)
        records_in_pool(l);
    else
        range_in_pool(l);
    l->took_ns = uv_hrtime() - start;
}

static void committed(struct local *l)
{
    if (l->commit_time) stat_timer_add(l->commit_time, (int64_t)l->took_ns);
    if (l->commit_records) stat_add(l->commit_records, (int64_t)l->running.n);
    if (l->err) {
        fail(l, l->err);
    } else {
        /* Newer metadata that wait in the next batch are not stored by this one. */
        bool stored = l->running.store_metadata && !l->batch.store_metadata;
        if (stored && l->c.on_stored) l->c.on_stored(l->c.arg);
        release_answers(l, &l->running);
    }
    batch_release(&l->running);
}

static void give_range(struct local *l)
{
    struct local_records r = { l->range.v, l->range.n, l->range.next };
    struct arena arena = l->range.arena;
    l->range.arena = (struct arena){ 0 };
    l->range.wanted = false;
    l->range.cb(l->err, &r, l->range.arg);
    arena_release(&arena);
}

static void after_pool(uv_work_t *w, int status)
{
    struct local *l = w->data;
    assert(status == 0);
    enum job job = l->job;
    l->job = JOB_NONE;
    if (job == JOB_COMMIT)
        committed(l);
    else if (job == JOB_RANGE)
        give_range(l);
    else if (l->err)
        fail(l, l->err); /* the replica's memory says that there is a record */
    l->c.on_ready(l->c.arg);
}

static void start(struct local *l, enum job job)
{
    assert(l->job == JOB_NONE);
    l->job = job;
    int rc = uv_queue_work(l->c.loop, &l->work, in_pool, after_pool);
    assert(rc == 0);
}

static void start_commit(struct local *l)
{
    struct batch *b = &l->running;
    *b = l->batch;
    l->batch = (struct batch){ 0 };
    l->urgent = false;
    uv_timer_stop(&l->lazy);
    start(l, JOB_COMMIT);
}

/* ---- what to do next ---- */

static void commit_or_wait(struct local *l)
{
    struct batch *b = &l->batch;
    if (!dirty(b)) {
        struct batch done = *b; /* an answer may ask for something to be stored, in the next one */
        *b = (struct batch){ 0 };
        release_answers(l, &done);
        batch_release(&done);
    } else if (l->urgent || b->n_answers || b->bytes > LOCAL_READ_BYTES || l->range.wanted || l->closing) {
        start_commit(l);
    } else if (!uv_is_active((uv_handle_t *)&l->lazy)) {
        uv_timer_start(&l->lazy, on_lazy, LOCAL_LAZY_MS, 0);
    }
}

static bool in_batch(const struct batch *b, uint64_t position)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->actions[i].position == position) return true;
    return false;
}

static bool is_needed(const struct needed *d, uint64_t position)
{
    for (unsigned i = 0; i < d->n; i++)
        if (d->positions[i] == position) return true;
    return false;
}

/* What the head of the queue and the requests right behind it need. What one of them changes no other one may read, and
 * what is not stored yet can't be read. */
static void list_needed(struct local *l)
{
    struct needed *d = &l->needed;
    uint64_t position;
    for (const struct item *i = l->head; i && d->n < LOCAL_NEEDED_MAX; i = i->next) {
        if (!replica_reads(l->c.replica, i->m, &position)) return;
        if (in_batch(&l->batch, position) || is_needed(d, position)) return;
        d->positions[d->n++] = position;
    }
}

/* NULL: it has not been read. Those before it have lost their use, since their positions were truncated meanwhile. */
static const struct action *take_needed(struct local *l, uint64_t position)
{
    struct needed *d = &l->needed;
    while (d->next < d->n)
        if (d->positions[d->next++] == position) return &d->records[d->next - 1];
    return NULL;
}

/* Steps the queue until records must be read; true: that has begun. */
static bool step_queue(struct local *l)
{
    uint64_t position;
    while (l->head && !l->closing) {
        const struct action *record = NULL;
        if (replica_reads(l->c.replica, l->head->m, &position)) {
            record = take_needed(l, position);
            if (!record) break;
        }
        step(l, record);
    }
    l->needed.n = l->needed.next = 0;
    if (!l->head || l->closing) return false;
    list_needed(l);
    if (l->needed.n) {
        start(l, JOB_RECORDS);
        return true;
    }
    l->urgent = true; /* the record is among what is not stored yet */
    return false;
}

static void on_closed(uv_handle_t *h)
{
    struct local *l = h->data;
    void (*cb)(void *arg) = l->close_cb;
    void *arg = l->close_arg;
    while (l->head) item_free(pop(l));
    batch_release(&l->batch);
    free(l);
    cb(arg);
}

static void drop_range(struct local *l, int err)
{
    if (!l->range.wanted) return;
    l->range.wanted = false;
    l->range.cb(err, NULL, l->range.arg);
}

static void finish_close(struct local *l)
{
    drop_range(l, ERR_CLOSED);
    if (!uv_is_closing((uv_handle_t *)&l->lazy)) uv_close((uv_handle_t *)&l->lazy, on_closed);
}

void local_pump(struct local *l)
{
    if (l->job != JOB_NONE) return;
    if (l->failed) {
        drop_range(l, ERR_IO);
    } else {
        if (step_queue(l)) return;
        commit_or_wait(l);
        if (l->job != JOB_NONE) return;
        if (l->range.wanted && !dirty(&l->batch) && !l->closing) {
            start(l, JOB_RANGE);
            return;
        }
    }
    if (l->closing) finish_close(l);
}

void local_read(struct local *l, uint64_t from, uint64_t to,
                void (*cb)(int err, const struct local_records *r, void *arg), void *arg)
{
    assert(!l->range.wanted);
    assert(from <= to);
    l->range.wanted = true;
    l->range.from = from;
    l->range.to = to;
    l->range.cb = cb;
    l->range.arg = arg;
}

void local_close(struct local *l, bool complete, void (*cb)(void *arg), void *arg)
{
    assert(!l->closing);
    l->closing = true;
    l->complete = complete;
    l->close_cb = cb;
    l->close_arg = arg;
    if (!l->failed) add_metadata(l);
}
