#include "log/storage.h"

#include "core/err.h"
#include "log/journal.h"
#include "log/lmdb_check.h"
#include "log/record.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The folder holds LOCK (ours, held while open), data.mdb and lock.mdb (LMDB's), the journal, and, while it is being
 * made, new/: a data file appears under its name only when it is complete.
 *
 * Opened for reading nothing of it is written: LMDB takes no lock of its own, and what only the journal has stays in
 * memory, laid over LMDB's records. */
static const char FORMAT[] = "aurora-scheduler log 1";
enum { PATH_BYTES = 4096, MODE_DIR = 0750, MODE_FILE = 0640, FREE_ENOUGH = 1 << 20 };

struct storage {
    char path[PATH_BYTES];
    int lock;
    MDB_env *env;
    MDB_dbi meta, records;
    uint64_t map_bytes;
    struct journal *journal;
    uint64_t generation; /* of the journal that is being written */
    struct buf unstored; /* its batches: a length, then the encoded batch */
    bool purges;         /* one of them does */
    struct buf encoded;  /* the batch that is being written */
    bool read_only;
    struct arena overlay; /* during a walk, or read only always: what the journal has, decoded */
    struct action *fresh; /* by position, borrowed from it and from unstored */
    size_t n_fresh;
    bool has_metadata;
    struct storage_metadata metadata;
    char error[256];
};

/* ---- errors ---- */

static int code_of(const struct storage *s, int rc)
{
    struct statvfs v;
    switch (rc) {
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return ERR_NOSPACE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return ERR_CORRUPT;
    case EIO: /* LMDB's answer to a write that the disk took in part */
        if (statvfs(s->path, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < FREE_ENOUGH) return ERR_NOSPACE;
        return ERR_IO;
    default:
        return ERR_IO;
    }
}

static int failed(struct storage *s, const char *what, int rc)
{
    int err = code_of(s, rc);
    if (rc == MDB_MAP_FULL)
        snprintf(s->error, sizeof(s->error), "the log has reached its limit of %llu bytes",
                 (unsigned long long)s->map_bytes);
    else if (err == ERR_NOSPACE)
        snprintf(s->error, sizeof(s->error), "no space left on the log's file system");
    else
        snprintf(s->error, sizeof(s->error), "%s: %s", what, mdb_strerror(rc));
    return err;
}

const char *storage_error(const struct storage *s)
{
    return s->error;
}

static int key_decode(const MDB_val *k, uint64_t *ret)
{
    if (k->mv_size != sizeof(*ret)) return ERR_CORRUPT;
    memcpy(ret, k->mv_data, sizeof(*ret));
    return 0;
}

static MDB_val val(const void *p, size_t n)
{
    return (MDB_val){ .mv_size = n, .mv_data = (void *)p };
}

/* ---- commits ---- */

static int put_metadata(struct storage *s, MDB_txn *txn, const struct storage_metadata *m)
{
    uint8_t value[METADATA_BYTES_MAX];
    MDB_val k = val("replica", 7), v = val(value, metadata_size(m));
    metadata_encode(m, value);
    return mdb_put(txn, s->meta, &k, &v, 0);
}

static int put_action(struct storage *s, MDB_txn *txn, const struct action *a)
{
    assert(a->position < UINT64_MAX);
    MDB_val k = val(&a->position, sizeof(a->position)), v = val(NULL, record_size(a));
    int rc = mdb_put(txn, s->records, &k, &v, MDB_RESERVE);
    if (!rc) record_encode(a, v.mv_data);
    return rc;
}

static int purge(struct storage *s, MDB_txn *txn, uint64_t below)
{
    MDB_cursor *c;
    MDB_val k, v;
    uint64_t position;
    int rc = mdb_cursor_open(txn, s->records, &c);
    if (rc) return rc;
    for (int n = 0; n < STORAGE_PURGE_PER_COMMIT && !rc; n++) {
        rc = mdb_cursor_get(c, &k, &v, n ? MDB_NEXT : MDB_FIRST);
        if (rc) break;
        if (key_decode(&k, &position))
            rc = MDB_CORRUPTED;
        else if (position < below)
            rc = mdb_cursor_del(c, 0);
        else
            break;
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_batch(struct storage *s, MDB_txn *txn, const struct storage_batch *b)
{
    int rc = b->metadata ? put_metadata(s, txn, b->metadata) : 0;
    for (size_t i = 0; i < b->n && !rc; i++) rc = put_action(s, txn, &b->actions[i]);
    if (!rc && b->purge_below) rc = purge(s, txn, b->purge_below);
    if (!rc && b->metadata) {
        s->metadata = *b->metadata;
        s->has_metadata = true;
    }
    return rc;
}

static int put_unstored(struct storage *s, MDB_txn *txn)
{
    int rc = 0;
    for (size_t at = 0; at < s->unstored.len && !rc;) {
        struct arena a = { 0 };
        struct storage_batch b;
        uint64_t n;
        memcpy(&n, s->unstored.data + at, sizeof(n));
        at += sizeof(n);
        assert(n <= s->unstored.len - at);
        rc = batch_decode(s->unstored.data + at, n, &a, &b) ? MDB_CORRUPTED : put_batch(s, txn, &b);
        arena_release(&a);
        at += n;
    }
    return rc;
}

static int put_generation(struct storage *s, MDB_txn *txn)
{
    MDB_val k = val("journal", 7), v = val(&s->generation, sizeof(s->generation));
    return mdb_put(txn, s->meta, &k, &v, 0);
}

/* Brings what only the journal has, and `more` (may be NULL), into LMDB in one durable commit. */
static int checkpoint(struct storage *s, const struct storage_batch *more)
{
    MDB_txn *txn;
    if (!s->unstored.len && !more) {
        journal_begin(s->journal, s->generation);
        return 0;
    }
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc) return failed(s, "cannot begin to write", rc);
    rc = put_unstored(s, txn);
    if (!rc && more) rc = put_batch(s, txn, more);
    if (!rc) rc = put_generation(s, txn);
    if (rc) {
        mdb_txn_abort(txn);
        return failed(s, "cannot write", rc);
    }
    rc = mdb_txn_commit(txn);
    if (rc) return failed(s, "cannot commit", rc);
    buf_release(&s->unstored);
    s->purges = false;
    journal_begin(s->journal, ++s->generation);
    return 0;
}

/* ---- opening ---- */

static int text(struct buf *out, int err, const char *path, const char *what)
{
    if (out) buf_addf(out, "log folder %s: %s", path, what);
    return err;
}

static int os_error(struct buf *out, const char *path, const char *what)
{
    int e = errno;
    if (out) buf_addf(out, "log folder %s: %s: %s", path, what, strerror(e));
    return e == ENOSPC || e == EDQUOT ? ERR_NOSPACE : ERR_IO;
}

static const char *in(const struct storage *s, const char *name, char out[PATH_BYTES + 32])
{
    snprintf(out, PATH_BYTES + 32, "%s/%s", s->path, name);
    return out;
}

static int take_lock(struct storage *s, struct buf *err_text)
{
    char name[PATH_BYTES + 32];
    int flags = s->read_only ? O_RDONLY : O_RDWR | O_CREAT;
    s->lock = open(in(s, "LOCK", name), flags | O_CLOEXEC, MODE_FILE);
    if (s->lock < 0 && s->read_only && errno == ENOENT) return 0; /* a copy that was made without it: nobody's */
    if (s->lock < 0) return os_error(err_text, s->path, "cannot open LOCK");
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK) return os_error(err_text, s->path, "cannot lock");
    return text(err_text, ERR_BUSY, s->path,
                "another process has it open; stop it, or give each scheduler a folder of its own "
                "(-native_log_file_path)");
}

enum folder { FOLDER_EMPTY, FOLDER_OURS, FOLDER_MESOS, FOLDER_OTHER, FOLDER_UNREADABLE };

static bool known_name(const char *n)
{
    static const char *const names[] = { ".", "..", "LOCK", "journal", "lock.mdb", "new", "lost+found" };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(n, names[i]) == 0) return true;
    return false;
}

static enum folder look(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return FOLDER_UNREADABLE;
    bool data = false, leveldb = false, other = false;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, "data.mdb") == 0)
            data = true;
        else if (strcmp(e->d_name, "CURRENT") == 0 || strncmp(e->d_name, "MANIFEST-", 9) == 0)
            leveldb = true;
        else if (!known_name(e->d_name))
            other = true;
    }
    closedir(d);
    if (leveldb) return FOLDER_MESOS;
    if (data) return FOLDER_OURS;
    return other ? FOLDER_OTHER : FOLDER_EMPTY;
}

/* Looked at before LOCK is made, so that a foreign folder stays as it was. */
static int check_folder(const char *path, struct buf *err_text)
{
    switch (look(path)) {
    case FOLDER_MESOS:
        return text(err_text, ERR_FOREIGN, path,
                    "it holds a log of Mesos's C++ library (LevelDB), as Aurora's Java scheduler writes it; give this "
                    "scheduler an empty folder: as a member of the same quorum it fetches the log from the others");
    case FOLDER_OTHER:
        return text(err_text, ERR_FOREIGN, path, "it holds files of something else; give an empty or a new folder");
    case FOLDER_UNREADABLE:
        return os_error(err_text, path, "cannot read it");
    default:
        return 0;
    }
}

static int open_env(const char *path, uint64_t map_bytes, unsigned flags, MDB_env **ret)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);
    if (rc) return rc;
    if (!rc) rc = mdb_env_set_maxdbs(env, 2);
    if (!rc) rc = mdb_env_set_mapsize(env, map_bytes);
    if (!rc) rc = mdb_env_open(env, path, MDB_NOTLS | flags, MODE_FILE);
    if (rc)
        mdb_env_close(env);
    else
        *ret = env;
    return rc;
}

static int write_format(MDB_env *env)
{
    MDB_txn *txn;
    MDB_dbi meta, records;
    MDB_val k = val("format", 6), v = val(FORMAT, sizeof(FORMAT));
    uint64_t none = 0;
    MDB_val journal = val("journal", 7), done = val(&none, sizeof(none));
    int rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc) return rc;
    if (!rc) rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &meta);
    if (!rc) rc = mdb_dbi_open(txn, "records", MDB_CREATE | MDB_INTEGERKEY, &records);
    if (!rc) rc = mdb_put(txn, meta, &k, &v, 0);
    if (!rc) rc = mdb_put(txn, meta, &journal, &done, 0);
    if (!rc) return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

static void remove_new(const struct storage *s)
{
    char name[PATH_BYTES + 32];
    (void)unlink(in(s, "new/journal", name));
    (void)unlink(in(s, "new/data.mdb", name));
    (void)unlink(in(s, "new/lock.mdb", name));
    (void)rmdir(in(s, "new", name));
}

static int move(const struct storage *s, const char *from, const char *to)
{
    char a[PATH_BYTES + 32], b[PATH_BYTES + 32];
    return rename(in(s, from, a), in(s, to, b)) < 0 ? -1 : sync_folder(s->path);
}

static int create_files(struct storage *s, struct buf *err_text)
{
    char name[PATH_BYTES + 32];
    MDB_env *env = NULL;
    if (mkdir(in(s, "new", name), MODE_DIR) < 0) return os_error(err_text, s->path, "cannot create");
    int rc = open_env(name, s->map_bytes, 0, &env);
    if (!rc) rc = write_format(env);
    if (env) mdb_env_close(env);
    if (rc) {
        int err = failed(s, "cannot create", rc);
        return text(err_text, err, s->path, s->error);
    }
    if (journal_create(in(s, "new/journal", name)) < 0) return os_error(err_text, s->path, "cannot create the journal");
    return 0;
}

/* An interrupted creation leaves no data.mdb; the next one begins anew. */
static int create(struct storage *s, struct buf *err_text)
{
    remove_new(s);
    int err = create_files(s, err_text);
    if (!err && (move(s, "new/journal", "journal") < 0 || move(s, "new/data.mdb", "data.mdb") < 0))
        err = os_error(err_text, s->path, "cannot create");
    remove_new(s);
    return err;
}

static int load_metadata(struct storage *s, MDB_txn *txn)
{
    MDB_val k = val("replica", 7), v;
    int rc = mdb_get(txn, s->meta, &k, &v);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return rc;
    if (metadata_decode(v.mv_data, v.mv_size, &s->metadata)) return MDB_CORRUPTED;
    s->has_metadata = true;
    return 0;
}

static int load_generation(struct storage *s, MDB_txn *txn)
{
    uint64_t done;
    MDB_val k = val("journal", 7), v;
    int rc = mdb_get(txn, s->meta, &k, &v);
    if (rc) return rc;
    if (v.mv_size != sizeof(done)) return MDB_CORRUPTED;
    memcpy(&done, v.mv_data, sizeof(done));
    s->generation = done + 1;
    return 0;
}

/* MDB_NOTFOUND: not our file. */
static int open_tables(struct storage *s)
{
    MDB_txn *txn;
    MDB_val k = val("format", 6), v;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc) return rc;
    if (!rc) rc = mdb_dbi_open(txn, "meta", 0, &s->meta);
    if (!rc) rc = mdb_dbi_open(txn, "records", MDB_INTEGERKEY, &s->records);
    if (!rc) rc = mdb_get(txn, s->meta, &k, &v);
    if (!rc && (v.mv_size != sizeof(FORMAT) || memcmp(v.mv_data, FORMAT, sizeof(FORMAT)) != 0)) rc = MDB_NOTFOUND;
    if (!rc) rc = load_generation(s, txn);
    if (!rc) rc = load_metadata(s, txn);
    if (!rc) return mdb_txn_commit(txn); /* keeps the handles */
    mdb_txn_abort(txn);
    return rc;
}

static int damaged(struct buf *err_text, const char *path, const char *why)
{
    if (err_text)
        buf_addf(
            err_text,
            "log folder %s is damaged (%s); do not start from it: move it away and start with an empty folder, so that "
            "a quorum of other schedulers restores the log, or recover from a backup",
            path, why);
    return ERR_CORRUPT;
}

static int open_existing(struct storage *s, struct buf *err_text)
{
    char name[PATH_BYTES + 32];
    const char *why = "";
    int err = lmdb_check(in(s, "data.mdb", name), &why);
    if (err == ERR_CORRUPT) return damaged(err_text, s->path, why);
    if (err) return os_error(err_text, s->path, "cannot read data.mdb");
    int rc = open_env(s->path, s->map_bytes, s->read_only ? MDB_RDONLY | MDB_NOLOCK : 0, &s->env);
    if (rc == MDB_VERSION_MISMATCH)
        return text(err_text, ERR_FOREIGN, s->path, "its LMDB format is of another version");
    if (!rc) rc = open_tables(s);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
        return text(err_text, ERR_FOREIGN, s->path,
                    "it holds an LMDB file of another program or version; give an empty or a new folder");
    if (!rc) return 0;
    err = failed(s, "cannot open", rc);
    return err == ERR_CORRUPT ? damaged(err_text, s->path, s->error) : text(err_text, err, s->path, s->error);
}

static int keep_batch(const void *data, size_t n, void *arg)
{
    struct storage *s = arg;
    uint64_t length = n;
    buf_add(&s->unstored, &length, sizeof(length));
    buf_add(&s->unstored, data, n);
    return 0;
}

/* A record of the journal among all of them. */
struct written {
    uint64_t position;
    size_t at;
};

static int by_position(const void *a, const void *b)
{
    const struct written *x = a, *y = b;
    if (x->position != y->position) return x->position < y->position ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Of several records of a position the last one counts. */
static void sort_fresh(struct storage *s, const struct action *all, size_t n)
{
    struct written *order = xcalloc(n + 1, sizeof(*order));
    for (size_t i = 0; i < n; i++) order[i] = (struct written){ all[i].position, i };
    qsort(order, n, sizeof(*order), by_position);
    s->fresh = xcalloc(n + 1, sizeof(*s->fresh));
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || order[i + 1].position != order[i].position) s->fresh[s->n_fresh++] = all[order[i].at];
    free(order);
}

/* What only the journal has, laid over LMDB's records. Read only, truncated ones that it would purge stay visible: they
 * may lie around at any time. */
static int overlay_unstored(struct storage *s)
{
    struct action *all = NULL;
    size_t n = 0;
    int err = 0;
    for (size_t at = 0; at < s->unstored.len && !err;) {
        struct storage_batch b;
        uint64_t bytes;
        memcpy(&bytes, s->unstored.data + at, sizeof(bytes));
        at += sizeof(bytes);
        err = batch_decode(s->unstored.data + at, bytes, &s->overlay, &b);
        at += bytes;
        if (err) break;
        if (b.metadata) s->metadata = *b.metadata;
        s->has_metadata = s->has_metadata || b.metadata;
        all = xrealloc(all, (n + b.n + 1) * sizeof(*all));
        if (b.n) memcpy(all + n, b.actions, b.n * sizeof(*all));
        n += b.n;
    }
    if (err)
        snprintf(s->error, sizeof(s->error), "its journal is damaged");
    else
        sort_fresh(s, all, n);
    free(all);
    return err;
}

static void drop_overlay(struct storage *s)
{
    free(s->fresh);
    s->fresh = NULL;
    s->n_fresh = 0;
    arena_release(&s->overlay);
}

/* What only the journal has goes into LMDB. */
static int open_journal(struct storage *s, struct buf *err_text)
{
    char name[PATH_BYTES + 32];
    int err = journal_open(in(s, "journal", name), s->read_only, &s->journal);
    if (err == ERR_IO && errno != ENOENT) return os_error(err_text, s->path, "cannot read the journal");
    if (err) return damaged(err_text, s->path, "its journal is missing or cut short");
    err = journal_replay(s->journal, s->generation, keep_batch, s);
    if (err == ERR_CORRUPT) return damaged(err_text, s->path, "its journal is damaged");
    if (err) return os_error(err_text, s->path, "cannot read the journal");
    err = s->read_only ? overlay_unstored(s) : checkpoint(s, NULL);
    if (err == ERR_CORRUPT) return damaged(err_text, s->path, s->error);
    return err ? text(err_text, err, s->path, s->error) : 0;
}

static int open_folder_to_read(struct storage *s, struct buf *err_text)
{
    if (access(s->path, F_OK) < 0 && errno == ENOENT)
        return text(err_text, ERR_NOT_FOUND, s->path, "there is no such folder");
    int err = check_folder(s->path, err_text);
    if (!err && look(s->path) == FOLDER_EMPTY) err = text(err_text, ERR_NOT_FOUND, s->path, "it holds no log");
    if (!err) err = take_lock(s, err_text);
    if (!err) err = open_existing(s, err_text);
    return err ? err : open_journal(s, err_text);
}

static int open_folder(struct storage *s, struct buf *err_text)
{
    if (mkdir(s->path, MODE_DIR) < 0 && errno != EEXIST) return os_error(err_text, s->path, "cannot make it");
    int err = check_folder(s->path, err_text);
    if (!err) err = take_lock(s, err_text);
    if (!err && look(s->path) == FOLDER_EMPTY) err = create(s, err_text);
    if (!err) err = open_existing(s, err_text);
    return err ? err : open_journal(s, err_text);
}

static int open_as(const char *path, uint64_t map_bytes, bool read_only, struct storage **ret, struct buf *err_text)
{
    if (strlen(path) >= PATH_BYTES) return text(err_text, ERR_INVALID, path, "its name is too long");
    struct storage *s = xcalloc(1, sizeof(*s));
    memcpy(s->path, path, strlen(path) + 1);
    s->lock = -1;
    s->read_only = read_only;
    s->map_bytes = map_bytes ? map_bytes : STORAGE_MAP_BYTES_DEFAULT;
    int err = read_only ? open_folder_to_read(s, err_text) : open_folder(s, err_text);
    if (err)
        storage_close(s);
    else
        *ret = s;
    return err;
}

int storage_open(const char *path, uint64_t map_bytes, struct storage **ret, struct buf *err_text)
{
    return open_as(path, map_bytes, false, ret, err_text);
}

int storage_open_read_only(const char *path, struct storage **ret, struct buf *err_text)
{
    return open_as(path, 0, true, ret, err_text);
}

void storage_close(struct storage *s)
{
    if (!s) return;
    if (s->journal && !s->read_only) (void)checkpoint(s, NULL); /* saves the next start the trouble */
    journal_close(s->journal);
    if (s->env) mdb_env_close(s->env);
    buf_release(&s->unstored);
    buf_release(&s->encoded);
    drop_overlay(s);
    if (s->lock >= 0) close(s->lock);
    free(s);
}

bool storage_metadata(const struct storage *s, struct storage_metadata *ret)
{
    if (s->has_metadata) *ret = s->metadata;
    return s->has_metadata;
}

bool storage_is_torn(const struct storage *s)
{
    return journal_is_torn(s->journal);
}

/* ---- reading ---- */

/* A walk over LMDB's records and those laid over them. */
struct walk {
    struct storage *s;
    uint64_t to;
    size_t fresh; /* the next one of s->fresh */
    bool (*fn)(uint64_t position, const struct action *a, void *arg);
    void *arg;
    bool stopped;
};

static void give(struct walk *w, uint64_t position, const struct action *a)
{
    w->stopped = w->stopped || position > w->to || !w->fn(position, a, w->arg);
}

static void give_fresh(struct walk *w, uint64_t below)
{
    const struct storage *s = w->s;
    for (; w->fresh < s->n_fresh && s->fresh[w->fresh].position < below && !w->stopped; w->fresh++)
        give(w, s->fresh[w->fresh].position, &s->fresh[w->fresh]);
}

static bool is_fresh(const struct walk *w, uint64_t position)
{
    return w->fresh < w->s->n_fresh && w->s->fresh[w->fresh].position == position;
}

static int walk(struct walk *w, MDB_cursor *c, uint64_t from)
{
    MDB_val k = val(&from, sizeof(from)), v;
    int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (uint64_t position, floor = from; !rc && !w->stopped; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        struct action a;
        bool ordered = !key_decode(&k, &position) && position >= floor;
        if (!ordered) position = floor;
        give_fresh(w, position);
        if (ordered && is_fresh(w, position)) continue; /* written again since */
        give(w, position, ordered && !record_decode(position, v.mv_data, v.mv_size, &a) ? &a : NULL);
        if (ordered) floor = position + 1;
    }
    give_fresh(w, UINT64_MAX);
    return !rc || rc == MDB_NOTFOUND ? 0 : failed(w->s, "cannot read", rc);
}

static int scan(struct walk *w, uint64_t from)
{
    struct storage *s = w->s;
    MDB_txn *txn;
    MDB_cursor *c;
    while (w->fresh < s->n_fresh && s->fresh[w->fresh].position < from) w->fresh++;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc) return failed(s, "cannot read", rc);
    rc = mdb_cursor_open(txn, s->records, &c);
    int err = rc ? failed(s, "cannot read", rc) : walk(w, c, from);
    if (!rc) mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return err;
}

/* A follower reads many times a second what it has just stored: a little is laid over LMDB each time, since a
 * checkpoint would cost two syncs and keep the next batch waiting. */
int storage_scan(struct storage *s, uint64_t from, uint64_t to,
                 bool (*fn)(uint64_t position, const struct action *a, void *arg), void *arg)
{
    struct walk w = { .s = s, .to = to, .fn = fn, .arg = arg };
    bool little = s->unstored.len <= STORAGE_OVERLAY_BYTES && !s->purges;
    if (s->read_only) return scan(&w, from);
    int err = little ? overlay_unstored(s) : checkpoint(s, NULL);
    if (!err) err = scan(&w, from);
    drop_overlay(s);
    return err;
}

struct each {
    struct storage *s;
    bool (*fn)(const struct action *a, void *arg);
    void *arg;
    int err;
};

static bool each_one(uint64_t position, const struct action *a, void *arg)
{
    struct each *e = arg;
    if (a) return e->fn(a, e->arg);
    snprintf(e->s->error, sizeof(e->s->error), "the record of position %llu is damaged", (unsigned long long)position);
    e->err = ERR_CORRUPT;
    return false;
}

int storage_each(struct storage *s, uint64_t from, uint64_t to, bool (*fn)(const struct action *a, void *arg),
                 void *arg)
{
    struct each e = { s, fn, arg, 0 };
    int err = storage_scan(s, from, to, each_one, &e);
    return err ? err : e.err;
}

struct restoring {
    void (*fn)(const struct action *a, void *arg);
    void *arg;
};

static bool restore_one(const struct action *a, void *arg)
{
    struct restoring *r = arg;
    r->fn(a, r->arg);
    return true;
}

int storage_restore(struct storage *s, void (*fn)(const struct action *a, void *arg), void *arg, struct buf *err_text)
{
    struct restoring r = { fn, arg };
    int err = storage_each(s, 0, UINT64_MAX, restore_one, &r);
    if (err == ERR_CORRUPT) return damaged(err_text, s->path, s->error);
    return err ? text(err_text, err, s->path, s->error) : 0;
}

struct reading {
    uint64_t position;
    struct arena *a;
    struct action *ret;
    int err;
};

static bool read_one(const struct action *a, void *arg)
{
    struct reading *r = arg;
    if (a->position != r->position) return false;
    uint8_t *copy = arena_alloc(r->a, a->n + 1);
    r->err = copy ? 0 : ERR_TOO_BIG;
    if (r->err) return false;
    if (a->n) memcpy(copy, a->bytes, a->n);
    *r->ret = *a;
    r->ret->bytes = copy;
    return false;
}

int storage_read(struct storage *s, uint64_t position, struct arena *a, struct action *ret)
{
    struct reading r = { position, a, ret, ERR_NOT_FOUND };
    int err = storage_each(s, position, position, read_one, &r);
    return err ? err : r.err;
}

/* ---- writing ---- */

static int journal_failed(struct storage *s, int err)
{
    if (err == ERR_NOSPACE)
        snprintf(s->error, sizeof(s->error), "no space left on the log's file system");
    else
        snprintf(s->error, sizeof(s->error), "cannot write the journal: %s", strerror(errno));
    return err;
}

int storage_write(struct storage *s, const struct storage_batch *b)
{
    size_t n = batch_size(b);
    assert(!s->read_only);
    if (n > JOURNAL_RECORD_MAX) return checkpoint(s, b);
    buf_reset(&s->encoded);
    batch_encode(b, &s->encoded);
    int err = journal_append(s->journal, s->encoded.data, n);
    if (err == ERR_FULL) {
        err = checkpoint(s, NULL);
        if (err) return err;
        err = journal_append(s->journal, s->encoded.data, n);
    }
    if (err) return journal_failed(s, err);
    s->purges = s->purges || b->purge_below;
    return keep_batch(s->encoded.data, n, s);
}
