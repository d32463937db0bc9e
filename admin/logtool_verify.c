/* `log verify`: everything that can be known of a log without its peers. A finding is what a healthy replica never has;
 * a note is what it may have, such as a last entry that it has not learned, or a frame whose writer died. */
#include "admin/logtool_impl.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/thrift.h"

#include <inttypes.h>

struct verifying {
    struct logtool *t;
    struct entry_reader reader;
    struct store *store; /* NULL: replay has failed, or the log has a gap */
    uint64_t certain;    /* behind the last position up to which all is known here */
    uint64_t entries, transactions, snapshots, replayed;
    uint64_t findings, notes;
    uint64_t bad_frames; /* of the reader, told already */
    bool in_orphans;     /* they are told once in a row */
};

/* ---- lines ---- */

static void line(struct verifying *v, const char *class, const char *what, const uint64_t *position, const char *text)
{
    struct buf *out = &v->t->line;
    buf_addf(out, "{\"%s\":\"%s\"", class, what);
    if (position) buf_addf(out, ",\"position\":%" PRIu64, *position);
    buf_adds(out, ",\"text\":");
    json_write_string(out, str_c(text), JSON_PLAIN);
    buf_addc(out, '}');
    logtool_print(v->t);
}

/* position NULL: of the whole folder. */
static void finding(struct verifying *v, const char *what, const uint64_t *position, const char *text)
{
    v->findings++;
    line(v, "finding", what, position, text);
}

static void note(struct verifying *v, const char *what, const uint64_t *position, const char *text)
{
    v->notes++;
    line(v, "note", what, position, text);
}

/* ---- metadata and positions ---- */

static void check_metadata(struct verifying *v)
{
    const struct logtool *t = v->t;
    const struct storage_metadata *m = &t->metadata;
    if (!t->has_metadata && t->n_records) finding(v, "metadata", NULL, "there are records, but no metadata");
    if (m->quorum > LIMIT_LOG_QUORUM) finding(v, "metadata", NULL, "the quorum size is beyond the limit");
    if (m->promised > LOG_NUMBER_MAX) finding(v, "metadata", NULL, "the promise is beyond the limit");
    if (!t->has_metadata || m->status != REPLICA_VOTING)
        note(v, "status", NULL, "this replica does not vote yet: it fetches the log when it is started");
}

/* What no replica stores; NULL: nothing is wrong. */
static const char *wrong_with(const struct action *a)
{
    if (a->position > LOG_NUMBER_MAX || a->promised > LOG_NUMBER_MAX || a->performed > LOG_NUMBER_MAX)
        return "a number is beyond the limit";
    if (a->type == ACTION_NONE && (a->has_performed || a->learned)) return "it was written, but has no content";
    if (a->type != ACTION_APPEND && a->n) return "it has bytes, but is no append";
    if (a->type == ACTION_TRUNCATE && a->to > a->position) return "it truncates what is behind it";
    return NULL;
}

static void check_record(uint64_t position, const struct action *a, void *arg)
{
    const char *wrong = a ? wrong_with(a) : "its checksum or its form is wrong";
    if (wrong) finding(arg, "record", &position, wrong);
}

static void check_holes(struct verifying *v)
{
    const struct iset *holes = &v->t->replica.holes;
    char text[96];
    if (!v->t->n_records) return; /* a new log: nobody has written position 0 yet */
    for (size_t i = 0; i < holes->n; i++) {
        uint64_t last = holes->v[i].hi - 1;
        snprintf(text, sizeof(text), "there is no record from here to position %" PRIu64, last);
        finding(v, "hole", &holes->v[i].lo, text);
    }
}

/* Another replica or the next writer settles them. Damaged records have had their line. */
static void note_unlearned(struct verifying *v)
{
    const struct iset *unlearned = &v->t->replica.unlearned;
    uint64_t n = 0;
    char text[96];
    for (size_t i = 0; i < unlearned->n; i++) n += unlearned->v[i].hi - unlearned->v[i].lo;
    if (n <= v->t->n_damaged) return;
    snprintf(text, sizeof(text), "%" PRIu64 " position(s) from here on are not known to be agreed on",
             n - v->t->n_damaged);
    note(v, "unlearned", &unlearned->v[0].lo, text);
}

/* ---- entries ---- */

static int apply(struct store *s, const struct api_log_entry *e)
{
    int err = e->snapshot ? store_apply_snapshot(s, e->snapshot) : 0;
    for (uint32_t i = 0; e->transaction && i < e->transaction->n_ops && !err; i++)
        err = store_apply(s, &e->transaction->ops[i]);
    return err;
}

static void stop_replay(struct verifying *v)
{
    store_free(v->store);
    v->store = NULL;
}

static void replay(struct verifying *v, uint64_t position, const struct api_log_entry *e)
{
    v->entries++;
    v->transactions += e->transaction != NULL;
    v->snapshots += e->snapshot != NULL;
    if (!v->store || position >= v->certain) return;
    if (apply(v->store, e)) {
        finding(v, "replay", &position, "the entry that ends here contradicts the state before it");
        stop_replay(v);
        return;
    }
    v->replayed = position;
}

static void tell_incomplete(struct verifying *v, uint64_t position)
{
    if (v->reader.bad_frames == v->bad_frames) return;
    v->bad_frames = v->reader.bad_frames;
    note(v, "frame", &position, "a framed entry before here is incomplete; readers leave it out");
}

static void check_entry(struct verifying *v, const struct action *a)
{
    struct arena arena = { 0 };
    struct buf why = { 0 };
    const struct api_log_entry *e;
    uint64_t orphans = v->reader.orphans;
    int err = entry_reader_feed(&v->reader, a->bytes, a->n, &arena, &e, &why);
    tell_incomplete(v, a->position);
    bool orphan = v->reader.orphans > orphans;
    if (orphan && !v->in_orphans) finding(v, "frame", &a->position, "a part of a framed entry whose header is missing");
    v->in_orphans = orphan || err; /* what is left of a broken frame needs no line of its own */
    if (err) {
        finding(v, "entry", &a->position, buf_cstr(&why));
        entry_reader_end(&v->reader);
        v->bad_frames = v->reader.bad_frames;
        if (v->store) stop_replay(v);
    } else if (e) {
        replay(v, a->position, e);
    }
    arena_release(&arena);
    buf_release(&why);
}

static bool check_one(uint64_t position, const struct action *a, void *arg)
{
    struct verifying *v = arg;
    (void)position;
    if (a && a->type == ACTION_APPEND) check_entry(v, a);
    return v->t->status != LOGTOOL_FAILED;
}

static int check_entries(struct verifying *v)
{
    struct replica *r = &v->t->replica;
    uint64_t missing = replica_next_missing(r, r->begin, r->end);
    v->certain = missing == UINT64_MAX ? r->end + 1 : missing;
    v->store = store_new();
    int err = storage_scan(v->t->storage, r->begin, UINT64_MAX, check_one, v);
    entry_reader_end(&v->reader);
    tell_incomplete(v, r->end);
    return err;
}

/* ---- the whole ---- */

static void summarize(struct verifying *v)
{
    struct buf *out = &v->t->line;
    buf_addf(out, "{\"summary\":\"%s\",\"findings\":%" PRIu64 ",\"notes\":%" PRIu64, v->findings ? "damaged" : "sound",
             v->findings, v->notes);
    if (v->t->storage) {
        buf_addc(out, ',');
        logtool_add_metadata(v->t);
        buf_addf(out, ",\"entries\":%" PRIu64 ",\"transactions\":%" PRIu64 ",\"snapshots\":%" PRIu64, v->entries,
                 v->transactions, v->snapshots);
    }
    if (v->store)
        buf_addf(out, ",\"replayed\":%" PRIu64 ",\"tasks\":%" PRIu64 ",\"state\":\"%016" PRIx64 "\"", v->replayed,
                 store_task_count(v->store), store_hash(v->store));
    buf_addc(out, '}');
    logtool_print(v->t);
}

static int check_all(struct verifying *v, struct buf *why)
{
    struct logtool *t = v->t;
    int err = logtool_open(t, why);
    if (err == ERR_CORRUPT) finding(v, "folder", NULL, buf_cstr(why));
    if (err) return err == ERR_CORRUPT ? 0 : err;
    err = logtool_survey(t, check_record, v);
    check_metadata(v);
    if (storage_is_torn(t->storage))
        note(v, "journal", NULL,
             "the last write is not whole and was left out: a crash cut it short, or it is damaged");
    check_holes(v);
    note_unlearned(v);
    if (!err) err = check_entries(v);
    if (err) buf_adds(why, storage_error(t->storage));
    return err;
}

enum logtool_status logtool_verify(struct logtool *t)
{
    struct verifying v = { .t = t };
    struct buf why = { 0 };
    if (check_all(&v, &why)) {
        t->status = LOGTOOL_FAILED;
        logtool_complain(t, "%s", buf_cstr(&why));
    } else {
        summarize(&v);
    }
    if (t->status == LOGTOOL_OK && v.findings) t->status = LOGTOOL_DAMAGED;
    store_free(v.store);
    entry_reader_release(&v.reader);
    buf_release(&why);
    return t->status;
}
