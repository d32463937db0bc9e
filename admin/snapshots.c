#include "admin/snapshots.h"

#include "core/err.h"
#include "core/image.h"
#include "core/logline.h"

#include <assert.h>

int snapshots_open(struct app *a, struct buf *err_text)
{
    const struct flags *f = a->flags;
    struct backups_config c = { .loop = a->loop,
                                .dir = flag_text(f, FLAG_backup_dir),
                                .interval_ms = flag_ms(f, FLAG_backup_interval),
                                .max_saved = (uint32_t)flag_int(f, FLAG_max_saved_backups),
                                .now_ms = app_now_ms,
                                .stats = a->stats };
    if (c.dir) return backups_new(&c, &a->backups, err_text);
    logline(LOG_WARN, "no_backups", "reason=\"flag -backup_dir is not set\"");
    return 0;
}

static void back_up_if_due(struct app *a)
{
    if (!a->backups || !backups_due(a->backups)) return;
    int rv = backup_now(a, NULL, NULL);
    if (rv != 0) logline(LOG_ERROR, "backup_failed", "reason=\"%s\"", err_str(rv));
}

int snapshot_now(struct app *a, void (*cb)(int err, void *arg), void *arg)
{
    if (sched_busy(a->sched)) return ERR_BUSY; /* half of a job is no state to keep */
    int rv = stream_snapshot(a->stream, sched_store(a->sched), cb, arg);
    if (rv == 0) back_up_if_due(a);
    return rv;
}

int backup_now(struct app *a, void (*cb)(int err, void *arg), void *arg)
{
    assert(a->backups);
    if (sched_busy(a->sched)) return ERR_BUSY;
    struct image *image = image_take(sched_store(a->sched), app_now_ms(NULL));
    int rv = backups_save(a->backups, image, cb, arg);
    image_unref(image);
    return rv;
}

/* ---------------- every interval ---------------- */

static void on_written(int err, void *arg)
{
    (void)arg;
    if (err != 0 && err != ERR_CLOSED) logline(LOG_WARN, "snapshot_failed", "reason=\"%s\"", err_str(err));
}

static void on_timer(uv_timer_t *t)
{
    struct app *a = t->data;
    if (a->frozen) return;
    int64_t interval = flag_ms(a->flags, FLAG_dlog_snapshot_interval);
    int rv = snapshot_now(a, on_written, a);
    app_start_timer(a, TIMER_SNAPSHOT, on_timer, rv == ERR_BUSY ? SNAPSHOT_RETRY_MS : interval, 0);
    if (rv != ERR_BUSY) on_written(rv, a);
}

void snapshots_start(struct app *a)
{
    app_start_timer(a, TIMER_SNAPSHOT, on_timer, flag_ms(a->flags, FLAG_dlog_snapshot_interval), 0);
}
