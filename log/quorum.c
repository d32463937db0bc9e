#include "log/quorum.h"

#include "core/err.h"

#include <assert.h>
#include <inttypes.h>

/* The most replicas that a size is safe for: any two quorums of them have one in common. */
static unsigned cluster(unsigned size)
{
    return 2 * size - 1;
}

static bool is_in(uint64_t replica, const uint64_t *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (v[i] == replica) return true;
    return false;
}

/* ---- contradictions ---- */

static bool contradicts(const struct quorum_view *v, const struct quorum_record *r)
{
    return r->size != 0 && r->size != v->flag;
}

static void advise(struct buf *why, unsigned size)
{
    buf_addf(why, "; set -native_log_quorum_size=%u", size);
}

/* Both hold the log, but one of them from before the size was changed; whatever it has now. */
static bool is_older(const struct quorum_record *a, const struct quorum_record *b)
{
    return a->n_seen && b->n_seen && a->changes < b->changes;
}

static void explain_change(const struct quorum_view *v, struct buf *why)
{
    if (v->znode.changes - v->own.changes == 1 && v->znode.size > v->own.size)
        buf_addf(why,
                 "the quorum size was changed to %u, and this folder has %u; set -native_log_quorum_size=%u and run "
                 "`aurora-scheduler log set-quorum` with it",
                 v->znode.size, v->own.size, v->znode.size);
    else
        buf_addf(why,
                 "this folder is from before the quorum size was changed, so what it has is out of date; move it away, "
                 "and set -native_log_quorum_size=%u",
                 v->znode.size);
}

/* Nobody has missed a change. */
static bool changes_agree(const struct quorum_view *v, struct buf *why)
{
    if (is_older(&v->own, &v->znode)) {
        explain_change(v, why);
        return false;
    }
    for (unsigned i = 0; i < v->n; i++) {
        const struct quorum_member *m = &v->members[i];
        if (!m->heard || (!is_older(&v->own, &m->record) && !is_older(&m->record, &v->own))) continue;
        buf_addf(
            why,
            "the quorum size was changed %u times here and %u times at %s; move the folder away that is out of date",
            v->own.changes, m->record.changes, m->name);
        return false;
    }
    return true;
}

/* Sizes are the same wherever one is known. */
static bool sizes_agree(const struct quorum_view *v, struct buf *why)
{
    if (v->flag < 1 || v->flag > LIMIT_LOG_QUORUM) {
        buf_addf(why, "-native_log_quorum_size=%u is not between 1 and %d", v->flag, LIMIT_LOG_QUORUM);
        return false;
    }
    if (contradicts(v, &v->own)) {
        buf_addf(why, "this log was made with quorum size %u, not %u", v->own.size, v->flag);
        advise(why, v->own.size);
        return false;
    }
    if (contradicts(v, &v->znode)) {
        buf_addf(why, "the log's group in ZooKeeper has quorum size %u, not %u", v->znode.size, v->flag);
        advise(why, v->znode.size);
        return false;
    }
    for (unsigned i = 0; i < v->n; i++) {
        const struct quorum_member *m = &v->members[i];
        if (!m->heard || !contradicts(v, &m->record)) continue;
        buf_addf(why, "%s has quorum size %u, not %u", m->name, m->record.size, v->flag);
        advise(why, m->record.size);
        return false;
    }
    return true;
}

/* ---- the number of members ---- */

/* Different replicas that have spoken, the own one included; a replica that is listed twice counts once. */
static unsigned count_heard(const struct quorum_view *v)
{
    unsigned n = 1;
    for (unsigned i = 0; i < v->n; i++) {
        bool again = false;
        for (unsigned k = 0; k < i && !again; k++)
            again = v->members[k].heard && v->members[k].record.replica == v->members[i].record.replica;
        n += v->members[i].heard && !again;
    }
    return n;
}

static unsigned count_silent(const struct quorum_view *v)
{
    unsigned n = 0;
    for (unsigned i = 0; i < v->n; i++) n += !v->members[i].heard;
    return n;
}

static void explain_number(const struct quorum_view *v, unsigned heard, unsigned silent, struct buf *why)
{
    unsigned all = heard + silent;
    buf_addf(why, "there are %u replicas, but quorum size %u is safe for at most %u", all, v->flag, cluster(v->flag));
    if (silent)
        buf_addf(why, " (%u of them are only registered, and go with their session if they have stopped)", silent);
    buf_addf(why, "; stop the surplus ones, or set -native_log_quorum_size=%u on all as docs/operating.md tells",
             all / 2 + 1);
}

/* ---- which replica this is ---- */

static bool is_unique(const struct quorum_view *v, struct buf *why)
{
    for (unsigned i = 0; i < v->n; i++) {
        const struct quorum_member *m = &v->members[i];
        if (!m->heard || m->record.replica != v->own.replica) continue;
        buf_addf(why,
                 "%s is the same replica as this: one of the folders is a copy of the other; move the copy away, or, "
                 "where it was made on purpose, run `aurora-scheduler log new-replica` on it",
                 m->name);
        return false;
    }
    return true;
}

static bool is_current(const struct quorum_view *v, struct buf *why)
{
    const struct quorum_record *z = &v->znode;
    bool holds_log = v->own.n_seen > 0;
    if (!z->size || !holds_log || is_in(v->own.replica, z->seen, z->n_seen)) return true;
    buf_adds(why, "this replica has been replaced by others while it was away, or it was initialised beside them, so "
                  "what it has is of no use; move its folder away, and it begins anew");
    return false;
}

/* ---- verdicts ---- */

enum quorum_verdict quorum_judge(const struct quorum_view *v, struct buf *why)
{
    if (!changes_agree(v, why) || !sizes_agree(v, why)) return QUORUM_REFUSED;
    if (!is_unique(v, why) || !is_current(v, why)) return QUORUM_REFUSED;
    unsigned heard = count_heard(v), silent = count_silent(v);
    if (heard + silent <= cluster(v->flag)) return QUORUM_SAFE;
    explain_number(v, heard, silent, why);
    return heard > cluster(v->flag) ? QUORUM_REFUSED : QUORUM_WAITS;
}

bool quorum_may_initialize(const struct quorum_view *v)
{
    bool exists = v->znode.n_seen > 0;
    for (unsigned i = 0; i < v->n; i++) exists = exists || (v->members[i].heard && v->members[i].record.n_seen > 0);
    return !exists;
}

/* ---- replicas seen ---- */

bool quorum_record_eq(const struct quorum_record *a, const struct quorum_record *b)
{
    if (a->replica != b->replica || a->size != b->size || a->changes != b->changes) return false;
    if (a->n_seen != b->n_seen) return false;
    for (unsigned i = 0; i < a->n_seen; i++)
        if (a->seen[i] != b->seen[i]) return false;
    return true;
}

bool quorum_see(struct quorum_record *r, const uint64_t *replicas, unsigned n)
{
    uint64_t next[QUORUM_SEEN_MAX];
    unsigned max = cluster(r->size), count = 0;
    assert(r->size >= 1);
    assert(r->size <= LIMIT_LOG_QUORUM);
    for (unsigned i = 0; i < n && count < max; i++)
        if (!is_in(replicas[i], next, count)) next[count++] = replicas[i];
    unsigned present = count, known = 0;
    for (unsigned i = 0; i < present; i++) known += is_in(next[i], r->seen, r->n_seen);
    for (unsigned i = 0; i < r->n_seen && count < max; i++)
        if (!is_in(r->seen[i], next, count)) next[count++] = r->seen[i];
    /* Only the order may differ: that is not worth a store. */
    if (known == present && count == r->n_seen) return false;
    memcpy(r->seen, next, count * sizeof(*next));
    r->n_seen = count;
    return true;
}

bool quorum_may_claim(const struct quorum_view *v, struct buf *why)
{
    unsigned holders = v->own.n_seen > 0;
    for (unsigned i = 0; i < v->n; i++) holders += !v->members[i].heard || v->members[i].record.n_seen > 0;
    if (holders >= v->flag) return true;
    buf_addf(
        why,
        "the log exists, but of the %u replicas that it can be fetched from there are %u; start those that hold it, "
        "or begin a new log as docs/operating.md tells",
        v->flag, holders);
    return false;
}

bool quorum_claim(struct quorum_record *z, const uint64_t *voters, unsigned n)
{
    uint64_t v[QUORUM_SEEN_MAX];
    unsigned count = 0;
    assert(n >= 1);
    if (z->replica == 0 && z->n_seen) v[count++] = z->seen[0];
    for (unsigned i = 0; i < n && count < QUORUM_SEEN_MAX; i++) v[count++] = voters[i];
    return quorum_see(z, v, count);
}

static unsigned join_seen(uint64_t *to, unsigned n, unsigned max, const struct quorum_record *r)
{
    for (unsigned i = 0; i < r->n_seen && n <= max; i++)
        if (!is_in(r->seen[i], to, n)) to[n++] = r->seen[i];
    return n;
}

void quorum_remember(const struct quorum_view *v, struct quorum_record *z)
{
    uint64_t all[QUORUM_SEEN_MAX + 1];
    unsigned max = cluster(v->own.size), present = 1;
    if (z->size) return;
    unsigned n = join_seen(all, 0, max, &v->own);
    for (unsigned i = 0; i < v->n; i++) {
        const struct quorum_member *m = &v->members[i];
        if (!m->heard || !m->record.n_seen || m->record.changes != v->own.changes) continue;
        present++;
        n = join_seen(all, n, max, &m->record);
    }
    if (present < v->own.size || n > max) return;
    memcpy(z->seen, all, n * sizeof(*all));
    z->n_seen = n;
}

/* ---- bytes ---- */

/* One line of text: people look at znodes. */
void quorum_encode(const struct quorum_record *r, struct buf *out)
{
    assert(r->size >= 1);
    assert(r->size <= LIMIT_LOG_QUORUM);
    buf_addf(out, "quorum=%u changes=%" PRIu32 " replica=%016" PRIx64 " seen=", r->size, r->changes, r->replica);
    for (unsigned i = 0; i < r->n_seen; i++) buf_addf(out, "%s%016" PRIx64, i ? "," : "", r->seen[i]);
}

/* Takes a word off the front of *at. */
static bool skip(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0) return false;
    *at += n;
    return true;
}

/* At least one digit and not more than `digits`; no sign, no space. */
static bool take_number(const char **at, unsigned base, int digits, uint64_t *ret)
{
    static const char set[] = "0123456789abcdef";
    int n = 0;
    for (*ret = 0; n < digits && **at; n++, (*at)++) {
        const char *digit = memchr(set, **at, base);
        if (!digit) break;
        *ret = *ret * base + (uint64_t)(digit - set);
    }
    return n > 0;
}

static bool take_id(const char **at, uint64_t *ret)
{
    const char *start = *at;
    return take_number(at, 16, 16, ret) && *at - start == 16;
}

static bool take_seen(const char **at, struct quorum_record *r)
{
    if (!**at) return true;
    do {
        if (r->n_seen == cluster(r->size) || !take_id(at, &r->seen[r->n_seen])) return false;
        if (is_in(r->seen[r->n_seen], r->seen, r->n_seen)) return false;
        r->n_seen++;
    } while (skip(at, ","));
    return true;
}

int quorum_decode(const void *data, size_t n, struct quorum_record *ret)
{
    char text[64 + 17 * (QUORUM_SEEN_MAX + 1)];
    struct quorum_record r = { 0 };
    const char *at = text;
    uint64_t size, changes;
    if (n >= sizeof(text) || memchr(data, 0, n)) return ERR_MALFORMED;
    memcpy(text, data, n);
    text[n] = 0;
    if (!skip(&at, "quorum=") || !take_number(&at, 10, 2, &size)) return ERR_MALFORMED;
    if (size < 1 || size > LIMIT_LOG_QUORUM) return ERR_MALFORMED;
    r.size = (unsigned)size;
    if (!skip(&at, " changes=") || !take_number(&at, 10, 9, &changes)) return ERR_MALFORMED;
    r.changes = (uint32_t)changes;
    if (!skip(&at, " replica=") || !take_id(&at, &r.replica) || !skip(&at, " seen=")) return ERR_MALFORMED;
    if (!take_seen(&at, &r) || *at) return ERR_MALFORMED;
    *ret = r;
    return 0;
}
