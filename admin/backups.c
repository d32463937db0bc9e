#include "admin/backups.h"

#include "admin/backup_file.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

struct save {
    struct save *next;
    struct image *image;
    void (*cb)(int err, void *arg);
    void *arg;
};

struct backups {
    struct backups_config c;
    char *dir;
    int64_t last_ms; /* the last attempt */
    struct save *head, *tail;
    uint32_t n;
    struct stat *success, *failed;

    /* The one that is being written: the head. */
    bool writing;
    atomic_bool cancel;
    uv_work_t work;
    uint64_t began_ns;
    char name[64];
    int err, prune_err;
    uint32_t pruned;
    struct buf why, prune_why;

    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

int backups_new(const struct backups_config *c, struct backups **ret, struct buf *err_text)
{
    assert(c->max_saved > 0);
    struct buf why = { 0 };
    int err = backup_folder_open(c->dir, &why);
    if (err) buf_addf(err_text, "flag -backup_dir: %s can't be used: %s", c->dir, buf_cstr(&why));
    buf_release(&why);
    if (err) return err;
    struct backups *b = xcalloc(1, sizeof(*b));
    b->c = *c;
    b->dir = xstrdup(c->dir);
    b->last_ms = c->now_ms(c->arg);
    b->success = stats_int(c->stats, "scheduler_backup_success");
    b->failed = stats_int(c->stats, "scheduler_backup_failed");
    b->work.data = b;
    *ret = b;
    return 0;
}

bool backups_due(const struct backups *b)
{
    return b->c.now_ms(b->c.arg) >= b->last_ms + b->c.interval_ms;
}

/* ---------------- writing ---------------- */

static void in_pool(uv_work_t *w)
{
    struct backups *b = w->data;
    b->err = backup_write(b->dir, b->name, b->head->image, &b->cancel, &b->why);
    b->prune_err = backup_prune(b->dir, b->c.max_saved, &b->pruned, &b->prune_why);
}

static void write_next(struct backups *b);

static void report(struct backups *b)
{
    unsigned long long ms = (uv_hrtime() - b->began_ns) / 1000000;
    if (b->err && !b->closing) {
        stat_add(b->failed, 1);
        logline(LOG_ERROR, "backup_failed", "file=%s/%s reason=\"%s\"", b->dir, b->name, buf_cstr(&b->why));
    } else if (!b->err) {
        stat_add(b->success, 1);
        logline(LOG_INFO, "backup", "file=%s/%s tasks=%u ms=%llu removed=%u", b->dir, b->name, b->head->image->n, ms,
                b->pruned);
    }
    if (b->prune_err)
        logline(LOG_ERROR, "backup_not_removed", "folder=%s reason=\"%s\"", b->dir, buf_cstr(&b->prune_why));
}

/* It is out of the queue already. */
static void end(struct backups *b, struct save *s, int err)
{
    b->n--;
    image_unref(s->image);
    if (s->cb) s->cb(err, s->arg);
    free(s);
}

static void closed(struct backups *b)
{
    void (*cb)(void *arg) = b->close_cb;
    void *arg = b->close_arg;
    buf_release(&b->why);
    buf_release(&b->prune_why);
    free(b->dir);
    free(b);
    cb(arg);
}

static void after_pool(uv_work_t *w, int status)
{
    struct backups *b = w->data;
    assert(status == 0);
    report(b);
    b->writing = false;
    struct save *s = b->head;
    b->head = s->next;
    if (!b->head) b->tail = NULL;
    end(b, s, b->err);
    if (b->closing)
        closed(b);
    else
        write_next(b);
}

static void write_next(struct backups *b)
{
    if (b->writing || b->closing || !b->head) return;
    b->writing = true;
    b->began_ns = uv_hrtime();
    b->last_ms = b->c.now_ms(b->c.arg);
    backup_name(b->last_ms, b->name);
    buf_reset(&b->why);
    buf_reset(&b->prune_why);
    int rv = uv_queue_work(b->c.loop, &b->work, in_pool, after_pool);
    assert(rv == 0);
}

int backups_save(struct backups *b, struct image *image, void (*cb)(int err, void *arg), void *arg)
{
    assert(!b->closing);
    if (b->n == LIMIT_BACKUP_QUEUE) return ERR_FULL;
    struct save *s = xcalloc(1, sizeof(*s));
    *s = (struct save){ .image = image_ref(image), .cb = cb, .arg = arg };
    if (b->tail)
        b->tail->next = s;
    else
        b->head = s;
    b->tail = s;
    b->n++;
    b->last_ms = b->c.now_ms(b->c.arg);
    write_next(b);
    return 0;
}

void backups_close(struct backups *b, void (*cb)(void *arg), void *arg)
{
    assert(!b->closing);
    b->closing = true;
    b->close_cb = cb;
    b->close_arg = arg;
    atomic_store(&b->cancel, true);
    struct save **waiting = b->writing ? &b->head->next : &b->head;
    for (struct save *s; (s = *waiting);) {
        *waiting = s->next;
        end(b, s, ERR_CLOSED);
    }
    if (!b->writing) closed(b); /* else behind it */
}
