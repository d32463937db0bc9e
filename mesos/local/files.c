#include "mesos/local/files.h"

#include "core/err.h"
#include "core/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool inside(const char *work_dir, const char *real)
{
    size_t n = strlen(work_dir);
    return strncmp(real, work_dir, n) == 0 && (real[n] == '/' || real[n] == 0);
}

int files_open(const char *work_dir, const char *path)
{
    struct buf full = { 0 };
    struct stat st;
    if (path[0] != '/') buf_addf(&full, "%s/", work_dir);
    buf_adds(&full, path);
    char *real = realpath(buf_cstr(&full), NULL);
    buf_release(&full);
    if (!real) return ERR_NOT_FOUND;
    bool ours = inside(work_dir, real);
    /* Not blocking: opening somebody's FIFO must not wait for a writer. */
    int fd = ours ? open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    free(real);
    if (!ours) return ERR_REFUSED;
    if (fd < 0) return ERR_NOT_FOUND;
    if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) return fd;
    close(fd);
    return ERR_REFUSED;
}

/* As a pattern of glob(3) that matches only the text itself. */
static void add_literal(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("*?[]\\", *text)) buf_addc(out, '\\');
        buf_addc(out, *text);
    }
}

int files_open_sandbox(const char *work_dir, const char *task_id, const char *file)
{
    struct buf pattern = { 0 };
    glob_t found = { 0 };
    if (!*task_id || strchr(task_id, '/')) return ERR_NOT_FOUND;
    add_literal(&pattern, work_dir);
    buf_adds(&pattern, "/slaves/*/frameworks/*/executors/");
    add_literal(&pattern, task_id);
    buf_adds(&pattern, "/runs/latest/");
    add_literal(&pattern, file);
    bool ok = glob(buf_cstr(&pattern), 0, NULL, &found) == 0 && found.gl_pathc > 0;
    int fd = ok ? files_open(work_dir, found.gl_pathv[found.gl_pathc - 1]) : ERR_NOT_FOUND;
    globfree(&found);
    buf_release(&pattern);
    return fd;
}

int files_read(int fd, uint64_t offset, uint64_t length, struct buf *out, uint64_t *ret_size)
{
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st)) rc = ERR_IO;
    if (!rc && S_ISDIR(st.st_mode)) rc = ERR_UNSUPPORTED;
    while (!rc && length > 0) {
        size_t want = length < 65536 ? (size_t)length : 65536;
        ssize_t n = pread(fd, buf_reserve(out, want), want, (off_t)offset);
        if (n < 0) rc = ERR_IO;
        if (n <= 0) break;
        buf_commit(out, (size_t)n);
        offset += (uint64_t)n;
        length -= (uint64_t)n;
    }
    close(fd);
    if (!rc) *ret_size = (uint64_t)st.st_size;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_entry(int fd, const char *path, const char *name, bool first, struct buf *out)
{
    struct stat st;
    struct buf full = { 0 };
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW)) memset(&st, 0, sizeof st);
    size_t n = strlen(path);
    buf_addf(&full, "%s%s%s", path, n && path[n - 1] == '/' ? "" : "/", name);
    buf_adds(out, first ? "{\"path\":" : ",{\"path\":");
    text_json_string(out, (struct str){ (const char *)full.data, (uint32_t)full.len }, false);
    buf_addf(out, ",\"size\":%lld,\"folder\":%s}", (long long)st.st_size, S_ISDIR(st.st_mode) ? "true" : "false");
    buf_release(&full);
}

int files_list(int fd, const char *path, struct buf *out)
{
    char **names = NULL;
    size_t n = 0;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return ERR_UNSUPPORTED;
    }
    for (const struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        names = xrealloc(names, (n + 1) * sizeof *names);
        names[n++] = xstrdup(e->d_name);
    }
    if (n) qsort(names, n, sizeof *names, by_name);
    buf_addc(out, '[');
    for (size_t i = 0; i < n; i++) {
        list_entry(dirfd(d), path, names[i], i == 0, out);
        free(names[i]);
    }
    buf_addc(out, ']');
    free(names);
    closedir(d);
    return 0;
}
