#include "admin/recovery.h"

#include "admin/rpc_call.h"
#include "admin/snapshots.h"
#include "admin/staged.h"
#include "core/err.h"
#include "core/image.h"
#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

enum kind { KIND_STAGED, KIND_SNAPSHOT, KIND_BACKUP, KIND_COMMIT };

struct turn {
    struct turn *next;
    enum kind kind;
    struct rpc_call *call;
    struct api_response *response; /* in arena */
    struct arena arena;
};

/* The first turn of the queue is under way, the others wait. */
struct recovery {
    struct app *app;
    struct staged staged; /* the pool's while a turn of KIND_STAGED is there, else the loop's */
    struct turn *head, *tail;
    uint32_t n;
    struct image *restoring; /* of the staged store */
    uv_work_t work;
};

static enum kind kind_of(struct str method)
{
    if (str_eq(method, STR("snapshot"))) return KIND_SNAPSHOT;
    if (str_eq(method, STR("performBackup"))) return KIND_BACKUP;
    if (str_eq(method, STR("commitRecovery"))) return KIND_COMMIT;
    return KIND_STAGED;
}

bool recovery_serves(struct str method)
{
    return kind_of(method) != KIND_STAGED || staged_serves(method);
}

struct recovery *recovery_new(struct app *a)
{
    struct recovery *r = xcalloc(1, sizeof(*r));
    r->app = a;
    r->work.data = r;
    return r;
}

/* ---------------- answers ---------------- */

static void begin(struct recovery *r);

static void turn_free(struct turn *t)
{
    arena_release(&t->arena);
    free(t);
}

/* The first turn is done, and its answer encoded. */
static void done(struct recovery *r)
{
    struct turn *t = r->head;
    r->head = t->next;
    if (!r->head) r->tail = NULL;
    r->n--;
    image_unref(r->restoring);
    r->restoring = NULL;
    rpc_call_send(t->call, t->response);
    turn_free(t);
    begin(r);
}

static void answer(struct recovery *r)
{
    rpc_call_encode(r->head->call, r->head->response);
    done(r);
}

static void answer_failure(struct recovery *r, enum api_response_code code, const char *why)
{
    response_fail(r->head->response, &r->head->arena, code, why);
    answer(r);
}

/* ---------------- snapshots and backups of what is there ---------------- */

/* Aurora answers OK to performBackup whatever becomes of it: the statistics and the log tell. */
static void on_backup(int err, void *arg)
{
    if (err != ERR_CLOSED) answer(arg);
}

static void on_snapshot(int err, void *arg)
{
    if (err == ERR_CLOSED) return; /* the process ends */
    if (err)
        answer_failure(arg, API_RESPONSE_CODE_ERROR, err_str(err));
    else
        answer(arg);
}

/* ---------------- commitRecovery ---------------- */

static void on_restored(int err, void *arg)
{
    struct recovery *r = arg;
    if (err) return; /* the process ends; what has become of it nobody knows */
    struct app *a = r->app;
    answer(r);
    app_stop(a, 0, "a backup has been restored");
}

static int commit(struct recovery *r)
{
    struct app *a = r->app;
    if (sched_busy(a->sched)) return ERR_BUSY; /* the log waits for the rest of the command */
    if (!r->restoring) r->restoring = image_take(r->staged.store, r->staged.timestamp_ms);
    int rv = stream_snapshot_image(a->stream, r->restoring, on_restored, r);
    if (rv != 0) return rv;
    a->frozen = true;
    logline(LOG_WARN, "restoring", "tasks=%u timestamp_ms=%lld framework_id=%.*s", r->restoring->n,
            (long long)r->staged.timestamp_ms, STR_ARG(store_framework_id(r->staged.store)));
    return 0;
}

/* ---------------- the queue ---------------- */

static void in_pool(uv_work_t *w)
{
    struct recovery *r = w->data;
    struct turn *t = r->head;
    const struct rpc_request *q = rpc_call_request(t->call);
    staged_run(&r->staged, flag_text(r->app->flags, FLAG_backup_dir), q->method, q->args, t->response, &t->arena);
    rpc_call_encode(t->call, t->response);
}

static void after_pool(uv_work_t *w, int status)
{
    assert(status == 0);
    done(w->data);
}

static void run_staged(struct recovery *r)
{
    int rv = uv_queue_work(r->app->loop, &r->work, in_pool, after_pool);
    assert(rv == 0);
}

/* What keeps the first turn from being done here and now, or NULL. */
static const char *obstacle(const struct recovery *r, enum api_response_code *ret_code)
{
    const char *why = NULL;
    *ret_code = API_RESPONSE_CODE_ERROR;
    if (r->head->kind == KIND_COMMIT && !r->staged.store) return "No backup loaded.";
    if (r->head->kind == KIND_BACKUP && !r->app->backups) return "Flag -backup_dir is not set.";
    *ret_code = API_RESPONSE_CODE_ERROR_TRANSIENT;
    return app_accepts_command(r->app, &why) ? NULL : why;
}

static int run_now(struct recovery *r)
{
    if (r->head->kind == KIND_SNAPSHOT) return snapshot_now(r->app, on_snapshot, r);
    if (r->head->kind == KIND_BACKUP) return backup_now(r->app, on_backup, r);
    return commit(r);
}

static void on_retry(uv_timer_t *t)
{
    struct app *a = t->data;
    begin(a->recovery);
}

static void run_with_storage(struct recovery *r)
{
    enum api_response_code code;
    const char *why = obstacle(r, &code);
    if (why) {
        answer_failure(r, code, why);
        return;
    }
    int rv = run_now(r);
    if (rv == ERR_BUSY)
        app_start_timer(r->app, TIMER_RECOVERY, on_retry, SNAPSHOT_RETRY_MS, 0);
    else if (rv != 0)
        answer_failure(r, API_RESPONSE_CODE_ERROR, err_str(rv));
}

static void begin(struct recovery *r)
{
    if (!r->head || r->app->stopping) return;
    if (r->head->kind == KIND_STAGED)
        run_staged(r);
    else
        run_with_storage(r);
}

void recovery_call(struct recovery *r, struct rpc_call *call)
{
    struct turn *t = xcalloc(1, sizeof(*t));
    t->kind = kind_of(rpc_call_request(call)->name);
    t->call = call;
    t->response = rpc_call_response(call, &t->arena);
    if (r->n == LIMIT_RECOVERY_CALLS) {
        response_fail(t->response, &t->arena, API_RESPONSE_CODE_ERROR_TRANSIENT, "Too many calls wait for a backup");
        rpc_call_encode(call, t->response);
        rpc_call_send(call, t->response);
        turn_free(t);
        return;
    }
    if (r->tail)
        r->tail->next = t;
    else
        r->head = t;
    r->tail = t;
    if (r->n++ == 0) begin(r);
}

void recovery_free(struct recovery *r)
{
    if (!r) return;
    for (struct turn *t = r->head, *next; t; t = next) {
        next = t->next;
        turn_free(t);
    }
    image_unref(r->restoring);
    staged_release(&r->staged);
    free(r);
}
