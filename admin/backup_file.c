#include "admin/backup_file.h"

#include "core/err.h"
#include "core/limits.h"
#include "log/backup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEMP_PREFIX "temp_"
/* A half written file that nobody has touched for so long is nobody's any more. */
#define STALE_SECS 3600
/* Written at once. */
#define WRITE_BYTES (1u << 20)

static int fail(int number, struct buf *err_text)
{
    char text[128];
    buf_adds(err_text, strerror_r(number, text, sizeof(text)));
    return number == ENOSPC || number == EDQUOT ? ERR_NOSPACE : number == ENOENT ? ERR_NOT_FOUND : ERR_IO;
}

/* ---------------- the folder ---------------- */

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int make_folders(const char *dir)
{
    char path[PATH_MAX];
    if (!*dir) return ENOENT;
    if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path)) return ENAMETOOLONG;
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST) return errno;
        *p = '/';
    }
    return mkdir(path, 0755) != 0 && errno != EEXIST ? errno : 0;
}

static void remove_stale(int folder)
{
    DIR *d = fdopendir(folder);
    if (!d) {
        (void)close(folder);
        return;
    }
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (begins_with(e->d_name, TEMP_PREFIX BACKUP_PREFIX) && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
            st.st_mtime < time(NULL) - STALE_SECS)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    (void)closedir(d);
}

int backup_folder_open(const char *dir, struct buf *err_text)
{
    int number = make_folders(dir);
    int folder = number ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return fail(number ? number : errno, err_text), ERR_IO;
    if (faccessat(folder, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        fail(errno, err_text);
        (void)close(folder);
        return ERR_IO;
    }
    remove_stale(folder);
    return 0;
}

void backup_name(int64_t now_ms, char out[64])
{
    time_t secs = now_ms / 1000;
    struct tm tm;
    localtime_r(&secs, &tm);
    size_t n = strftime(out, 64, BACKUP_PREFIX "%Y-%m-%d-%H-%M", &tm);
    assert(n > 0);
}

bool backup_name_valid(struct str name)
{
    if (name.n == 0 || name.n > NAME_MAX) return false;
    if (str_eq(name, STR(".")) || str_eq(name, STR(".."))) return false;
    return !memchr(name.p, '/', name.n) && !memchr(name.p, 0, name.n);
}

/* ---------------- writing ---------------- */

struct out {
    int fd;
    struct buf bytes;
    const atomic_bool *cancel;
    int number; /* errno */
};

static int flush(struct out *o)
{
    const uint8_t *p = o->bytes.data;
    for (size_t left = o->bytes.len; left;) {
        ssize_t n = write(o->fd, p, left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            o->number = errno;
            return ERR_IO;
        }
        p += n;
        left -= (size_t)n;
    }
    buf_reset(&o->bytes);
    return 0;
}

static int put(const void *data, size_t n, void *arg)
{
    struct out *o = arg;
    if (atomic_load(o->cancel)) return ERR_CLOSED;
    buf_add(&o->bytes, data, n);
    return o->bytes.len < WRITE_BYTES ? 0 : flush(o);
}

/* Encodes into the open file and syncs it. */
static int write_image(int fd, const struct image *image, const atomic_bool *cancel, struct buf *err_text)
{
    struct out o = { .fd = fd, .cancel = cancel };
    int err = backup_encode(image, put, &o);
    if (!err) err = flush(&o);
    if (!err && fsync(fd) != 0) {
        o.number = errno;
        err = ERR_IO;
    }
    buf_release(&o.bytes);
    if (o.number) return fail(o.number, err_text);
    if (err) buf_adds(err_text, err_str(err));
    return err;
}

static int write_file(int folder, const char *temp, const struct image *image, const atomic_bool *cancel,
                      struct buf *err_text)
{
    int fd = openat(folder, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return fail(errno, err_text);
    int err = write_image(fd, image, cancel, err_text);
    if (close(fd) != 0 && !err) err = fail(errno, err_text);
    return err;
}

int backup_write(const char *dir, const char *name, const struct image *image, const atomic_bool *cancel,
                 struct buf *err_text)
{
    char temp[NAME_MAX + 1];
    int n = snprintf(temp, sizeof(temp), TEMP_PREFIX "%s", name);
    assert(n > 0 && n < (int)sizeof(temp));
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return fail(errno, err_text);
    int err = write_file(folder, temp, image, cancel, err_text);
    if (!err && renameat(folder, temp, folder, name) != 0) err = fail(errno, err_text);
    if (err)
        (void)unlinkat(folder, temp, 0);
    else if (fsync(folder) != 0)
        err = fail(errno, err_text);
    (void)close(folder);
    return err;
}

/* ---------------- listing ---------------- */

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int read_names(DIR *d, const char *prefix, uint32_t max, struct str **ret, uint32_t *ret_n, struct arena *a)
{
    struct str *v = NULL;
    uint32_t n = 0, cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || !begins_with(e->d_name, prefix)) continue;
        if (n == max) {
            free(v);
            return ERR_TOO_BIG;
        }
        if (n == cap) v = xrealloc(v, (cap = cap ? cap * 2 : 64) * sizeof(*v));
        v[n++] = arena_str(a, str_c(e->d_name));
    }
    if (n > 1) qsort(v, n, sizeof(*v), by_name);
    *ret = ARENA_ARRAY(a, struct str, n);
    if (n) memcpy(*ret, v, n * sizeof(*v));
    *ret_n = n;
    free(v);
    return 0;
}

static int list(const char *dir, const char *prefix, uint32_t max, struct str **ret, uint32_t *ret_n, struct arena *a,
                struct buf *err_text)
{
    DIR *d = opendir(dir);
    if (!d) return fail(errno, err_text);
    int err = read_names(d, prefix, max, ret, ret_n, a);
    if (err) buf_addf(err_text, "more than %u files", max);
    (void)closedir(d);
    return err;
}

int backup_list(const char *dir, struct str **ret, uint32_t *ret_n, struct arena *a, struct buf *err_text)
{
    return list(dir, "", LIMIT_BACKUP_NAMES, ret, ret_n, a, err_text);
}

int backup_prune(const char *dir, uint32_t keep, uint32_t *ret_removed, struct buf *err_text)
{
    struct arena a = { 0 };
    struct str *names;
    uint32_t n = 0;
    *ret_removed = 0;
    int err = list(dir, BACKUP_PREFIX, UINT32_MAX, &names, &n, &a, err_text);
    for (uint32_t i = 0; n > keep && i < n - keep; i++) {
        struct str path = arena_strf(&a, "%s/%s", dir, names[i].p);
        if (unlink(path.p) == 0)
            (*ret_removed)++;
        else if (!err)
            err = fail(errno, err_text);
    }
    arena_release(&a);
    return err;
}

/* ---------------- reading ---------------- */

struct file {
    int fd, number;
};

static int get(void *data, size_t n, size_t *ret_n, void *arg)
{
    struct file *in = arg;
    ssize_t got;
    do got = read(in->fd, data, n);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        in->number = errno;
        return ERR_IO;
    }
    *ret_n = (size_t)got;
    return 0;
}

static int read_file(int fd, struct store **ret, int64_t *ret_timestamp_ms, struct buf *err_text)
{
    struct file in = { .fd = fd };
    struct store *s = store_new();
    int err = backup_decode(get, &in, s, ret_timestamp_ms);
    if (!err) {
        *ret = s;
        return 0;
    }
    store_free(s);
    if (in.number)
        (void)fail(in.number, err_text);
    else
        buf_adds(err_text, err_str(err));
    return err;
}

int backup_read(const char *path, struct store **ret, int64_t *ret_timestamp_ms, struct buf *err_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not waited for */
    if (fd < 0) return fail(errno, err_text);
    struct stat st;
    int err = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? 0 : ERR_NOT_FOUND;
    if (err)
        buf_adds(err_text, "not a file");
    else
        err = read_file(fd, ret, ret_timestamp_ms, err_text);
    (void)close(fd);
    return err;
}
