#include "log/journal.h"

#include "core/buf.h"
#include "core/err.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PAGE = 4096, MODE = 0640 };
#define MAGIC 0x4c4a5341u /* "ASJL" */

struct record {
    uint32_t magic;
    uint32_t crc; /* of all that follows, and the data */
    uint64_t generation;
    uint32_t number; /* within the generation */
    uint32_t n;
};
static_assert(sizeof(struct record) == 24, "a disk format without holes");

struct journal {
    int fd;
    uint64_t generation;
    uint32_t number;
    size_t at; /* where the next record goes */
    bool torn; /* there is the beginning of one, or what was one */
    struct buf out;
};

static size_t whole_pages(size_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

static int io_error(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_NOSPACE : ERR_IO;
}

static int write_all(int fd, const uint8_t *data, size_t n, size_t at)
{
    while (n) {
        ssize_t done = pwrite(fd, data, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return io_error();
        data += done;
        at += (size_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int journal_create(const char *file)
{
    enum { PORTION = 1 << 20 };
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
    if (fd < 0) return io_error();
    uint8_t *zeros = xcalloc(1, PORTION);
    int err = 0;
    for (size_t at = 0; at < JOURNAL_BYTES && !err; at += PORTION) err = write_all(fd, zeros, PORTION, at);
    if (!err && fsync(fd) < 0) err = io_error();
    int saved = errno;
    free(zeros);
    close(fd);
    errno = saved;
    return err;
}

int journal_open(const char *file, bool read_only, struct journal **ret)
{
    struct stat st;
    int fd = open(file, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0) return ERR_IO;
    if (fstat(fd, &st) < 0 || (size_t)st.st_size != JOURNAL_BYTES) {
        close(fd);
        return ERR_CORRUPT;
    }
    *ret = xcalloc(1, sizeof(**ret));
    (*ret)->fd = fd;
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j) return;
    close(j->fd);
    buf_release(&j->out);
    free(j);
}

void journal_begin(struct journal *j, uint64_t generation)
{
    j->generation = generation;
    j->number = 0;
    j->at = 0;
    j->torn = false;
}

/* ---- reading ---- */

static uint32_t sum(const struct record *r, const void *data)
{
    const size_t skip = offsetof(struct record, generation);
    uLong crc = crc32_z(0, (const uint8_t *)r + skip, sizeof(*r) - skip);
    return (uint32_t)crc32_z(crc, data, r->n);
}

/* The record at `at`, if it is whole. */
static bool whole_record_at(const uint8_t *all, size_t at, struct record *ret)
{
    if (at > JOURNAL_BYTES - sizeof(*ret)) return false;
    memcpy(ret, all + at, sizeof(*ret));
    return ret->magic == MAGIC && ret->n <= JOURNAL_BYTES - at - sizeof(*ret) &&
           ret->crc == sum(ret, all + at + sizeof(*ret));
}

/* The same, if it is of this generation. */
static bool record_at(const struct journal *j, const uint8_t *all, size_t at, struct record *ret)
{
    return whole_record_at(all, at, ret) && ret->generation == j->generation;
}

/* Whether what is there, whole or not, was to be the next record. */
static bool begins_at(const struct journal *j, const uint8_t *all, size_t at)
{
    struct record r;
    if (at > JOURNAL_BYTES - sizeof(r)) return false;
    memcpy(&r, all + at, sizeof(r));
    return r.magic == MAGIC && r.generation == j->generation && r.number == j->number;
}

static int replay(struct journal *j, const uint8_t *all, int (*fn)(const void *data, size_t n, void *arg), void *arg)
{
    struct record r;
    if (whole_record_at(all, 0, &r) && r.generation > j->generation) return ERR_CORRUPT;
    while (record_at(j, all, j->at, &r) && r.number == j->number) {
        int err = fn(all + j->at + sizeof(r), r.n, arg);
        if (err) return err;
        j->at += whole_pages(sizeof(r) + r.n);
        j->number++;
    }
    j->torn = begins_at(j, all, j->at);
    /* Each append waited for the one before: behind a torn one there is none. */
    for (size_t at = j->at + PAGE; at < JOURNAL_BYTES; at += PAGE)
        if (record_at(j, all, at, &r) && r.number > j->number) return ERR_CORRUPT;
    return 0;
}

static int read_all(int fd, uint8_t *out, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(fd, out + at, n - at, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return ERR_IO;
        at += (size_t)got;
    }
    return 0;
}

int journal_replay(struct journal *j, uint64_t generation, int (*fn)(const void *data, size_t n, void *arg), void *arg)
{
    uint8_t *all = xmalloc(JOURNAL_BYTES);
    journal_begin(j, generation);
    int err = read_all(j->fd, all, JOURNAL_BYTES);
    if (!err) err = replay(j, all, fn, arg);
    free(all);
    return err;
}

bool journal_is_torn(const struct journal *j)
{
    return j->torn;
}

/* ---- writing ---- */

int journal_append(struct journal *j, const void *data, size_t n)
{
    assert(n <= JOURNAL_RECORD_MAX);
    size_t bytes = whole_pages(sizeof(struct record) + n);
    if (bytes > JOURNAL_BYTES - j->at) return ERR_FULL;
    struct record r = { .magic = MAGIC, .generation = j->generation, .number = j->number, .n = (uint32_t)n };
    r.crc = sum(&r, data);
    buf_reset(&j->out);
    memset(buf_reserve(&j->out, bytes), 0, bytes);
    memcpy(j->out.data, &r, sizeof(r));
    memcpy(j->out.data + sizeof(r), data, n);
    int err = write_all(j->fd, j->out.data, bytes, j->at);
    if (!err && fdatasync(j->fd) < 0) err = io_error();
    if (err) return err;
    j->at += bytes;
    j->number++;
    return 0;
}
