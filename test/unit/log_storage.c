/* The log's disk: what was committed is there after a reopen, and nothing that is damaged, foreign or in use is opened.
 */
#include "log/storage.h"

#include "core/err.h"
#include "core/rng.h"
#include "log/journal.h"
#include "log/record.h"

#include <fcntl.h>
#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { MAX_RECORDS = 256 };

static char folder[40];

static int fresh_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/log_storage.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[160];
    snprintf(command, sizeof(command), "rm -rf %s %s.copy", folder, folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static struct storage *must_open(const char *path)
{
    struct storage *s = NULL;
    struct buf why = { 0 };
    if (storage_open(path, 0, &s, &why)) fail_msg("%s", buf_cstr(&why));
    buf_release(&why);
    return s;
}

static void must_not_open(int err, const char *says)
{
    struct storage *s = NULL;
    struct buf why = { 0 };
    assert_int_equal(storage_open(folder, 0, &s, &why), err);
    assert_null(s);
    if (!strstr(buf_cstr(&why), says)) fail_msg("\"%s\" does not say \"%s\"", buf_cstr(&why), says);
    buf_release(&why);
}

/* ---- a model of what is stored ---- */

struct model {
    bool has[MAX_RECORDS];
    struct action v[MAX_RECORDS];
    uint8_t fill[MAX_RECORDS]; /* an append's bytes are n times this */
    struct storage_metadata metadata;
};

static struct action make_action(uint64_t position, uint8_t fill, size_t n, uint8_t *bytes)
{
    memset(bytes, fill, n);
    return (struct action){ .position = position,
                            .promised = fill,
                            .has_performed = fill & 1,
                            .performed = fill / 2,
                            .has_learned = fill & 2,
                            .learned = (fill & 6) == 6,
                            .tombstone = n == 0 && fill & 8,
                            .type = n           ? ACTION_APPEND
                                    : fill & 16 ? ACTION_TRUNCATE
                                                : ACTION_NOP,
                            .to = n ? 0 : fill,
                            .bytes = bytes,
                            .n = n };
}

static void put(struct storage *s, struct model *m, uint64_t position, uint8_t fill, size_t n)
{
    static uint8_t bytes[1 << 20];
    assert_true(n <= sizeof(bytes));
    struct action a = make_action(position, fill, n, bytes);
    m->metadata = (struct storage_metadata){ .status = REPLICA_VOTING,
                                             .promised = fill,
                                             .quorum = 1,
                                             .id = 77,
                                             .complete = fill & 1,
                                             .changes = fill,
                                             .n_seen = fill % (QUORUM_SEEN_MAX + 1) };
    for (unsigned i = 0; i < m->metadata.n_seen; i++) m->metadata.seen[i] = UINT64_MAX - i;
    struct storage_batch b = { .metadata = &m->metadata, .actions = &a, .n = 1 };
    assert_int_equal(storage_write(s, &b), 0);
    m->has[position] = true;
    m->v[position] = a;
    m->fill[position] = fill;
}

struct comparing {
    const struct model *m;
    unsigned n;
    bool same;
};

static bool same_record(const struct model *m, const struct action *a)
{
    if (a->position >= MAX_RECORDS || !m->has[a->position]) return false;
    const struct action *b = &m->v[a->position];
    bool same = a->promised == b->promised && a->performed == b->performed && a->to == b->to && a->type == b->type &&
                a->has_performed == b->has_performed && a->has_learned == b->has_learned && a->learned == b->learned &&
                a->tombstone == b->tombstone && a->n == b->n;
    for (size_t i = 0; i < a->n && same; i++) same = ((const uint8_t *)a->bytes)[i] == m->fill[a->position];
    return same;
}

static void compare(const struct action *a, void *arg)
{
    struct comparing *c = arg;
    c->n++;
    c->same = c->same && same_record(c->m, a);
}

static bool same_metadata(const struct storage_metadata *a, const struct storage_metadata *b)
{
    bool same = a->status == b->status && a->promised == b->promised && a->quorum == b->quorum && a->id == b->id;
    if (!same || a->complete != b->complete || a->n_seen != b->n_seen || a->changes != b->changes) return false;
    return memcmp(a->seen, b->seen, a->n_seen * sizeof(*a->seen)) == 0;
}

/* Whether what is stored is the model, or its restoring fails. */
static bool equals(struct storage *s, const struct model *m, int *ret_err)
{
    struct comparing c = { m, 0, true };
    struct storage_metadata d = { 0 };
    unsigned n = 0;
    for (int i = 0; i < MAX_RECORDS; i++) n += m->has[i];
    *ret_err = storage_restore(s, compare, &c, NULL);
    return c.same && c.n == n && storage_metadata(s, &d) && same_metadata(&d, &m->metadata);
}

static void assert_reopens_as(const char *path, const struct model *m)
{
    int err;
    struct storage *s = must_open(path);
    assert_true(equals(s, m, &err));
    assert_int_equal(err, 0);
    storage_close(s);
}

static void fill_some(struct storage *s, struct model *m, struct rng *g, int n)
{
    for (int i = 0; i < n; i++)
        put(s, m, rng_below(g, MAX_RECORDS), (uint8_t)rng_next(g), rng_below(g, 8) ? rng_below(g, 3000) : 20000);
}

/* ---- tests ---- */

static void a_reopen_gives_what_was_committed(void **state)
{
    (void)state;
    static struct model m;
    struct rng g = { 1 };
    struct storage_metadata d;
    memset(&m, 0, sizeof(m));
    struct storage *s = must_open(folder);
    assert_false(storage_metadata(s, &d));
    fill_some(s, &m, &g, 100);
    storage_close(s);
    assert_reopens_as(folder, &m);
}

static void one_record_is_read(void **state)
{
    (void)state;
    static struct model m;
    struct arena a = { 0 };
    struct action got;
    memset(&m, 0, sizeof(m));
    struct storage *s = must_open(folder);
    put(s, &m, 7, 3, 10000);
    put(s, &m, 9, 4, 0);
    assert_int_equal(storage_read(s, 7, &a, &got), 0);
    assert_true(same_record(&m, &got));
    assert_int_equal(storage_read(s, 8, &a, &got), ERR_NOT_FOUND);
    assert_int_equal(storage_read(s, 10, &a, &got), ERR_NOT_FOUND);
    arena_release(&a);
    storage_close(s);
}

/* Wherever the records are: only in the journal, in LMDB, in both. */
static void what_was_just_written_is_read(void **state)
{
    (void)state;
    static struct model m;
    struct rng g = { 11 };
    int err;
    memset(&m, 0, sizeof(m));
    struct storage *s = must_open(folder);
    for (int i = 0; i < 200; i++) {
        fill_some(s, &m, &g, (int)rng_below(&g, 8) + 1);
        assert_true(equals(s, &m, &err));
        assert_int_equal(err, 0);
    }
    storage_close(s);
    assert_reopens_as(folder, &m);
}

static struct timespec changed_at(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mtim;
}

/* Writes records that take so many bytes more than STORAGE_OVERLAY_BYTES, and reads; whether that wrote to LMDB. */
static bool reading_stores(struct storage *s, size_t more)
{
    enum { OVERHEAD = 72, HALF = STORAGE_OVERLAY_BYTES / 2 - OVERHEAD }; /* of a batch of one record */
    static const uint8_t bytes[HALF + 1];
    struct timespec before = changed_at(in_folder("data.mdb"));
    struct arena arena = { 0 };
    struct action got, a = { .position = 1, .type = ACTION_APPEND, .bytes = bytes, .n = HALF };
    assert_int_equal(storage_write(s, &(struct storage_batch){ .actions = &a, .n = 1 }), 0);
    a.n += more;
    assert_int_equal(storage_write(s, &(struct storage_batch){ .actions = &a, .n = 1 }), 0);
    assert_int_equal(storage_read(s, 1, &arena, &got), 0);
    assert_int_equal(got.n, HALF + more);
    arena_release(&arena);
    struct timespec after = changed_at(in_folder("data.mdb"));
    return before.tv_sec != after.tv_sec || before.tv_nsec != after.tv_nsec;
}

static void a_little_is_read_without_a_checkpoint(void **state)
{
    (void)state;
    struct storage *s = must_open(folder);
    assert_false(reading_stores(s, 0));
    storage_close(s);
    s = must_open(folder);
    assert_true(reading_stores(s, 1));
    storage_close(s);
}

static void truncated_records_go_in_portions(void **state)
{
    (void)state;
    enum { N = STORAGE_PURGE_PER_COMMIT + 500 };
    static struct action v[N];
    struct storage *s = must_open(folder);
    for (int i = 0; i < N; i++) {
        v[i] = (struct action){ .position = (uint64_t)i, .type = ACTION_NOP };
    }
    assert_int_equal(storage_write(s, &(struct storage_batch){ .actions = v, .n = N }), 0);
    struct arena a = { 0 };
    struct action got;
    struct storage_batch purge = { .purge_below = N - 1 };
    assert_int_equal(storage_write(s, &purge), 0);
    assert_int_equal(storage_read(s, STORAGE_PURGE_PER_COMMIT - 1, &a, &got), ERR_NOT_FOUND);
    assert_int_equal(storage_read(s, STORAGE_PURGE_PER_COMMIT, &a, &got), 0);
    assert_int_equal(storage_write(s, &purge), 0);
    assert_int_equal(storage_read(s, N - 2, &a, &got), ERR_NOT_FOUND);
    assert_int_equal(storage_read(s, N - 1, &a, &got), 0);
    arena_release(&a);
    storage_close(s);
}

static void a_second_opener_is_refused(void **state)
{
    (void)state;
    struct storage *s = must_open(folder);
    must_not_open(ERR_BUSY, "another process has it open");
    storage_close(s);
    storage_close(must_open(folder));
}

static void touch(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void foreign_folders_are_refused(void **state)
{
    (void)state;
    touch("notes.txt", "hello");
    must_not_open(ERR_FOREIGN, "holds files of something else");
    assert_int_equal(access(in_folder("LOCK"), F_OK), -1);
    assert_int_equal(unlink(in_folder("notes.txt")), 0);
    touch("CURRENT", "MANIFEST-000002\n");
    must_not_open(ERR_FOREIGN, "LevelDB");
    assert_int_equal(unlink(in_folder("CURRENT")), 0);
    touch("data.mdb", "this is not LMDB, and not a log");
    must_not_open(ERR_CORRUPT, "move it away");
    touch("data.mdb", "");
    must_not_open(ERR_CORRUPT, "move it away");
}

static void a_foreign_lmdb_file_is_refused(void **state)
{
    (void)state;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = { 1, "k" }, v = { 1, "v" };
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    must_not_open(ERR_FOREIGN, "another program");
}

static void an_interrupted_creation_begins_anew(void **state)
{
    (void)state;
    static struct model m;
    memset(&m, 0, sizeof(m));
    assert_int_equal(mkdir(in_folder("new"), 0700), 0);
    touch("new/data.mdb", "half");
    struct storage *s = must_open(folder);
    put(s, &m, 1, 1, 100);
    storage_close(s);
    assert_reopens_as(folder, &m);
}

static void a_full_map_says_so_and_loses_nothing(void **state)
{
    (void)state;
    static struct model m;
    static uint8_t bytes[50000];
    struct storage *s;
    memset(&m, 0, sizeof(m));
    assert_int_equal(storage_open(folder, 1 << 20, &s, NULL), 0);
    int err = 0;
    uint64_t p = 0;
    for (; p < MAX_RECORDS; p++) {
        struct action a = make_action(p, 5, sizeof(bytes), bytes);
        struct storage_metadata meta = { .status = REPLICA_VOTING, .promised = p, .quorum = 1, .id = 77 };
        err = storage_write(s, &(struct storage_batch){ .metadata = &meta, .actions = &a, .n = 1 });
        if (err) break;
        m.has[p] = true;
        m.v[p] = a;
        m.fill[p] = 5;
        m.metadata = meta;
    }
    assert_int_equal(err, ERR_NOSPACE);
    assert_non_null(strstr(storage_error(s), "1048576 bytes"));
    assert_in_range(p, 50, 100); /* what fits the journal was still taken */
    storage_close(s);
    assert_int_equal(storage_open(folder, 1 << 20, &s, NULL), ERR_NOSPACE);
    assert_reopens_as(folder, &m);
}

/* As versions before the replicas seen have written it: alone, and in a batch. */
static void metadata_of_older_versions(void **state)
{
    (void)state;
    struct {
        uint32_t crc, status, quorum, id;
        uint64_t promised;
    } old = { 0, REPLICA_VOTING, 2, 77, 5 };
    struct {
        uint64_t purge_below;
        uint32_t n, has_metadata;
        uint8_t metadata[METADATA_BYTES_MIN];
    } batch = { 0, 0, 1, { 0 } };
    const struct storage_metadata expected = { .status = REPLICA_VOTING, .promised = 5, .quorum = 2, .id = 77 };
    struct storage_metadata got = { .n_seen = 3 };
    struct storage_batch b;
    struct arena a = { 0 };
    uint64_t position = UINT64_MAX;
    uLong crc = crc32_z(0, (const uint8_t *)&position, sizeof(position));
    old.crc = (uint32_t)crc32_z(crc, (const uint8_t *)&old + sizeof(old.crc), sizeof(old) - sizeof(old.crc));
    assert_int_equal(metadata_decode(&old, sizeof(old), &got), 0);
    assert_true(same_metadata(&got, &expected));
    assert_int_equal(metadata_decode(&old, sizeof(old) - 1, &got), ERR_CORRUPT);
    memcpy(batch.metadata, &old, sizeof(old));
    assert_int_equal(batch_decode(&batch, sizeof(batch), &a, &b), 0);
    assert_true(same_metadata(b.metadata, &expected));
    arena_release(&a);
}

static void copy_folder(void)
{
    char command[320];
    snprintf(command, sizeof(command), "rm -rf %s.copy && mkdir %s.copy && cp %s/data.mdb %s/journal %s.copy/", folder,
             folder, folder, folder, folder);
    assert_int_equal(system(command), 0);
}

static void a_crash_after_any_commit_keeps_it(void **state)
{
    (void)state;
    static struct model m;
    struct rng g = { 3 };
    char copy[80];
    memset(&m, 0, sizeof(m));
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    struct storage *s = must_open(folder);
    for (int i = 0; i < 30; i++) {
        fill_some(s, &m, &g, 3);
        copy_folder();
        assert_reopens_as(copy, &m);
    }
    storage_close(s);
}

static off_t file_size(void)
{
    struct stat st;
    assert_int_equal(stat(in_folder("data.mdb"), &st), 0);
    return st.st_size;
}

static void flip(const char *path, off_t at, uint8_t bits)
{
    uint8_t b;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= bits;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

/* Opens and restores: 0 only if all is there. */
static int try_folder(const struct model *m)
{
    struct storage *s = NULL;
    int err = storage_open(folder, 0, &s, NULL);
    if (err) return err;
    bool same = equals(s, m, &err);
    storage_close(s);
    if (!err && !same) fail_msg("damage went unnoticed");
    return err;
}

/* A flipped bit anywhere behind LMDB's two root pages is either found or does not matter (free space). */
static void damage_is_found(void **state)
{
    (void)state;
    static struct model m;
    const char *env = getenv("SEED");
    struct rng g = { env ? strtoull(env, NULL, 10) : 1 };
    print_message("replay: SEED=%llu build/asan/test/log_storage\n", (unsigned long long)g.state);
    memset(&m, 0, sizeof(m));
    struct storage *s = must_open(folder);
    fill_some(s, &m, &g, 120);
    storage_close(s);
    off_t size = file_size();
    int found = 0;
    for (int i = 0; i < 500; i++) {
        off_t at = 8192 + (off_t)rng_below(&g, (uint64_t)size - 8192);
        uint8_t bit = (uint8_t)(1 << rng_below(&g, 8));
        flip(in_folder("data.mdb"), at, bit);
        found += try_folder(&m) != 0;
        flip(in_folder("data.mdb"), at, bit);
    }
    print_message("%d of 500 flips mattered\n", found);
    assert_in_range(found, 50, 499);
    assert_int_equal(try_folder(&m), 0);
}

/* Without a checkpoint all is in the journal: two pages for the first batch, then one each. */
static void a_damaged_journal_is_found(void **state)
{
    (void)state;
    static struct model m, shorter;
    struct buf why = { 0 };
    char copy[80], journal[100];
    memset(&m, 0, sizeof(m));
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    snprintf(journal, sizeof(journal), "%s/journal", copy);
    struct storage *s = must_open(folder);
    put(s, &m, 1, 1, 5000), put(s, &m, 2, 2, 100), put(s, &m, 3, 3, 100);
    shorter = m;
    put(s, &m, 4, 4, 100);
    for (int page = 0; page < 5; page++) {
        struct storage *damaged = NULL;
        copy_folder();
        flip(journal, page * 4096 + 40, 1);
        if (page < 4) {
            assert_int_equal(storage_open(copy, 0, &damaged, &why), ERR_CORRUPT);
            assert_non_null(strstr(buf_cstr(&why), "its journal is damaged"));
        } else {
            assert_reopens_as(copy, &shorter); /* the last record: no difference from one that a crash tore */
        }
    }
    copy_folder();
    assert_int_equal(truncate(journal, 4096), 0);
    struct storage *cut = NULL;
    assert_int_equal(storage_open(copy, 0, &cut, &why), ERR_CORRUPT);
    assert_int_equal(unlink(journal), 0);
    assert_int_equal(storage_open(copy, 0, &cut, &why), ERR_CORRUPT);
    buf_release(&why);
    storage_close(s);
    assert_reopens_as(folder, &m);
}

/* More than the journal holds, with records of all sizes around its limit for one record. */
static void the_journal_goes_round(void **state)
{
    (void)state;
    static struct model m;
    struct rng g = { 9 };
    char copy[80];
    memset(&m, 0, sizeof(m));
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    struct storage *s = must_open(folder);
    for (int i = 0; i < 300; i++) {
        size_t n = JOURNAL_RECORD_MAX - 100 + rng_below(&g, 50);
        put(s, &m, rng_below(&g, 20), (uint8_t)rng_next(&g), i % 4 ? rng_below(&g, 100000) : n);
        if (i % 30) continue;
        copy_folder();
        assert_reopens_as(copy, &m);
    }
    storage_close(s);
    assert_reopens_as(folder, &m);
}

static void a_shortened_file_is_found(void **state)
{
    (void)state;
    static struct model m;
    struct rng g = { 5 };
    memset(&m, 0, sizeof(m));
    struct storage *s = must_open(folder);
    fill_some(s, &m, &g, 50);
    put(s, &m, 11, 77, 500000); /* new pages at the end */
    storage_close(s);
    assert_int_equal(truncate(in_folder("data.mdb"), file_size() - 4096 * 10), 0);
    must_not_open(ERR_CORRUPT, "move it away");
    assert_int_equal(truncate(in_folder("data.mdb"), 5000), 0);
    must_not_open(ERR_CORRUPT, "move it away");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fresh_folder, remove_folder)

/* ---- reading only ---- */

static void folder_text(const char *path, char out[4096])
{
    char command[160];
    snprintf(command, sizeof(command), "cd %s && ls -lA --time-style=full-iso && md5sum *", path);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, 4095, p);
    out[n] = 0;
    assert_int_equal(pclose(p), 0);
}

static struct storage *must_open_to_read(const char *path)
{
    struct storage *s = NULL;
    struct buf why = { 0 };
    if (storage_open_read_only(path, &s, &why)) fail_msg("%s", buf_cstr(&why));
    buf_release(&why);
    return s;
}

static void assert_reads_as(const char *path, const struct model *m)
{
    char before[4096], after[4096];
    int err;
    folder_text(path, before);
    struct storage *s = must_open_to_read(path);
    assert_true(equals(s, m, &err));
    assert_int_equal(err, 0);
    storage_close(s);
    folder_text(path, after);
    assert_string_equal(before, after);
}

/* Wherever the records are: only in the journal, in part in LMDB, all there. */
static void reading_only_changes_nothing(void **state)
{
    (void)state;
    static struct model m;
    struct rng g = { 7 };
    char copy[80];
    memset(&m, 0, sizeof(m));
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    struct storage *s = must_open(folder);
    for (int i = 0; i < 30; i++) {
        fill_some(s, &m, &g, 10);
        copy_folder();
        assert_reads_as(copy, &m);
    }
    storage_close(s);
    assert_reads_as(folder, &m);
}

static void must_not_open_to_read(const char *path, int err, const char *says)
{
    struct storage *s = NULL;
    struct buf why = { 0 };
    assert_int_equal(storage_open_read_only(path, &s, &why), err);
    assert_null(s);
    if (!strstr(buf_cstr(&why), says)) fail_msg("\"%s\" does not say \"%s\"", buf_cstr(&why), says);
    buf_release(&why);
}

static void reading_only_needs_a_log_that_nobody_has_open(void **state)
{
    (void)state;
    must_not_open_to_read("/nonexistent/log", ERR_NOT_FOUND, "no such folder");
    must_not_open_to_read(folder, ERR_NOT_FOUND, "holds no log");
    assert_int_equal(access(in_folder("LOCK"), F_OK), -1);
    struct storage *s = must_open(folder);
    must_not_open_to_read(folder, ERR_BUSY, "another process has it open");
    storage_close(s);
    s = must_open_to_read(folder);
    must_not_open(ERR_BUSY, "another process has it open");
    storage_close(s);
}

/* Each bit of the numbers by which LMDB knows its last commit: what is only in the journal must not get lost with it.
 */
static void an_older_commit_is_not_taken_for_the_last(void **state)
{
    (void)state;
    enum { NUMBER_AT = 144, PAGE = 4096 };
    static struct model m;
    struct rng g = { 11 };
    char copy[80], data[100];
    memset(&m, 0, sizeof(m));
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    snprintf(data, sizeof(data), "%s/data.mdb", copy);
    struct storage *s = must_open(folder);
    for (int opened = 0; opened < 5; opened++) {
        fill_some(s, &m, &g, 5);
        copy_folder();
        assert_reads_as(copy, &m);
        for (off_t bit = 0; bit < 2 * 64; bit++) {
            struct storage *wrong = NULL;
            off_t at = bit / 64 * PAGE + NUMBER_AT + bit % 64 / 8;
            flip(data, at, (uint8_t)(1 << bit % 8));
            if (!storage_open_read_only(copy, &wrong, NULL))
                fail_msg("number %d, bit %d", (int)(bit / 64), (int)(bit % 64));
            flip(data, at, (uint8_t)(1 << bit % 8));
        }
        storage_close(s);
        s = must_open(folder);
    }
    storage_close(s);
}

static void a_torn_last_write_is_told(void **state)
{
    (void)state;
    static struct model m, shorter;
    char copy[80], journal[100];
    memset(&m, 0, sizeof(m));
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    snprintf(journal, sizeof(journal), "%s/journal", copy);
    struct storage *s = must_open(folder), *r;
    put(s, &m, 1, 1, 100);
    shorter = m;
    put(s, &m, 2, 2, 100);
    for (int torn = 0; torn < 2; torn++) {
        copy_folder();
        if (torn) flip(journal, 4096 + 100, 1);
        assert_reads_as(copy, torn ? &shorter : &m);
        r = must_open_to_read(copy);
        assert_int_equal(storage_is_torn(r), torn);
        storage_close(r);
    }
    storage_close(s);
    r = must_open_to_read(folder);
    assert_false(storage_is_torn(r));
    storage_close(r);
}

struct scanning {
    uint64_t damaged, n_damaged, n_sound;
};

static bool scan_one(uint64_t position, const struct action *a, void *arg)
{
    struct scanning *c = arg;
    if (a)
        c->n_sound++;
    else
        c->damaged = position, c->n_damaged++;
    return true;
}

/* Where in the file these bytes are, once. */
static off_t find_in_file(const char *path, uint8_t fill, size_t n)
{
    size_t size = (size_t)file_size(), run = 0;
    uint8_t *all = xmalloc(size);
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, all, size, 0), (ssize_t)size);
    close(fd);
    size_t at = 0;
    for (; at < size && run < n; at++) run = all[at] == fill ? run + 1 : 0;
    free(all);
    assert_int_equal(run, n);
    return (off_t)at - 1;
}

static void a_scan_goes_on_behind_a_damaged_record(void **state)
{
    (void)state;
    static struct model m;
    struct scanning c = { 0 };
    memset(&m, 0, sizeof(m));
    struct storage *s = must_open(folder);
    for (uint64_t i = 1; i < 6; i++) put(s, &m, i, (uint8_t)(0xa0 + i), 900);
    storage_close(s);
    flip(in_folder("data.mdb"), find_in_file(in_folder("data.mdb"), 0xa3, 900), 1);
    s = must_open_to_read(folder);
    assert_int_equal(storage_scan(s, 0, UINT64_MAX, scan_one, &c), 0);
    assert_int_equal(c.n_sound, 4);
    assert_int_equal(c.n_damaged, 1);
    assert_int_equal(c.damaged, 3);
    assert_int_equal(storage_restore(s, compare, &(struct comparing){ &m, 0, true }, NULL), ERR_CORRUPT);
    assert_non_null(strstr(storage_error(s), "position 3"));
    storage_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_reopen_gives_what_was_committed),
        WITH_FOLDER(one_record_is_read),
        WITH_FOLDER(what_was_just_written_is_read),
        WITH_FOLDER(a_little_is_read_without_a_checkpoint),
        WITH_FOLDER(truncated_records_go_in_portions),
        WITH_FOLDER(a_second_opener_is_refused),
        WITH_FOLDER(foreign_folders_are_refused),
        WITH_FOLDER(a_foreign_lmdb_file_is_refused),
        WITH_FOLDER(an_interrupted_creation_begins_anew),
        WITH_FOLDER(a_full_map_says_so_and_loses_nothing),
        WITH_FOLDER(a_crash_after_any_commit_keeps_it),
        WITH_FOLDER(damage_is_found),
        WITH_FOLDER(a_damaged_journal_is_found),
        WITH_FOLDER(the_journal_goes_round),
        WITH_FOLDER(a_shortened_file_is_found),
        WITH_FOLDER(reading_only_changes_nothing),
        WITH_FOLDER(reading_only_needs_a_log_that_nobody_has_open),
        WITH_FOLDER(a_torn_last_write_is_told),
        WITH_FOLDER(an_older_commit_is_not_taken_for_the_last),
        WITH_FOLDER(a_scan_goes_on_behind_a_damaged_record),
        cmocka_unit_test(metadata_of_older_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
