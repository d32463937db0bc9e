#include "admin/staged.h"

#include "admin/backup_file.h"
#include "core/err.h"

#include <assert.h>
#include <unistd.h>

struct query {
    struct staged *g;
    const char *dir;
    const void *args;
    struct api_response *r;
    struct arena *a;
};

void response_fail(struct api_response *r, struct arena *a, enum api_response_code code, const char *text)
{
    r->response_code = code;
    r->n_details = 1;
    r->details = ARENA_NEW(a, struct api_response_detail);
    r->details->message = arena_str(a, str_c(text));
}

static void fail(struct query *q, const char *before, struct str what, const char *behind, const char *why)
{
    struct buf b = { 0 };
    buf_addf(&b, "%s%.*s%s%s", before, STR_ARG(what), behind, why);
    response_fail(q->r, q->a, API_RESPONSE_CODE_ERROR, buf_cstr(&b));
    buf_release(&b);
}

static void fail_missing(struct query *q, struct str path)
{
    fail(q, "Backup ", path, " does not exist.", "");
}

/* Aurora's answer to an argument that it stumbles over. */
static void fail_blank(struct query *q)
{
    response_fail(q->r, q->a, API_RESPONSE_CODE_ERROR, NULL);
}

static bool has_folder(struct query *q)
{
    if (q->dir) return true;
    response_fail(q->r, q->a, API_RESPONSE_CODE_ERROR, "Flag -backup_dir is not set.");
    return false;
}

static bool is_loaded(struct query *q)
{
    if (q->g->store) return true;
    response_fail(q->r, q->a, API_RESPONSE_CODE_ERROR, "No backup loaded.");
    return false;
}

static struct api_result *result(struct query *q)
{
    return q->r->result = ARENA_NEW(q->a, struct api_result);
}

/* ---------------- the methods ---------------- */

static void list_backups(struct query *q)
{
    struct buf why = { 0 };
    struct api_list_backups_result *l = ARENA_NEW(q->a, struct api_list_backups_result);
    if (!has_folder(q)) return;
    l->has_backups = true;
    if (backup_list(q->dir, &l->backups, &l->n_backups, q->a, &why) == 0)
        result(q)->list_backups_result = l;
    else
        fail(q, "Failed to list ", str_c(q->dir), ": ", buf_cstr(&why));
    buf_release(&why);
}

static void load(struct query *q, struct str path)
{
    struct buf why = { 0 };
    int err = backup_read(path.p, &q->g->store, &q->g->timestamp_ms, &why);
    if (err == ERR_NOT_FOUND)
        fail_missing(q, path);
    else if (err)
        fail(q, err == ERR_IO ? "Failed to read backup " : "Failed to decode backup ", path, ": ", buf_cstr(&why));
    buf_release(&why);
}

static void stage(struct query *q)
{
    const struct api_stage_recovery_args *args = q->args;
    if (!args->backup_id.p) {
        fail_blank(q);
        return;
    }
    if (!has_folder(q)) return;
    if (!backup_name_valid(args->backup_id)) {
        fail(q, "'", args->backup_id, "' is not the name of a backup.", "");
        return;
    }
    struct str path = arena_strf(q->a, "%s/%.*s", q->dir, STR_ARG(args->backup_id));
    if (access(path.p, F_OK) != 0)
        fail_missing(q, path);
    else if (q->g->store)
        response_fail(q->r, q->a, API_RESPONSE_CODE_ERROR, "Another backup is already loaded.");
    else
        load(q, path);
}

/* False: the query was refused. Offset and limit do not count, as in Aurora. */
static bool find(struct query *q, const struct api_task_query *sent, struct task_list *ret)
{
    if (!sent) {
        fail_blank(q);
        return false;
    }
    if (!is_loaded(q)) return false;
    struct api_task_query *normal = thrift_clone(&api_task_query_desc, sent, q->a);
    thrift_normalize(&api_task_query_desc, normal, q->a);
    *ret = store_query(q->g->store, normal, q->a);
    return true;
}

static void query_tasks(struct query *q)
{
    const struct api_query_recovery_args *args = q->args;
    struct task_list l;
    if (!find(q, args->query, &l)) return;
    struct api_query_recovery_result *found = ARENA_NEW(q->a, struct api_query_recovery_result);
    *found = (struct api_query_recovery_result){ .has_tasks = true, .n_tasks = l.n };
    found->tasks = ARENA_ARRAY(q->a, struct api_scheduled_task, l.n);
    for (uint32_t i = 0; i < l.n; i++) task_to_api(l.v[i], &found->tasks[i], q->a);
    result(q)->query_recovery_result = found;
}

static void delete_tasks(struct query *q)
{
    const struct api_delete_recovery_tasks_args *args = q->args;
    struct task_list l;
    if (!find(q, args->query, &l)) return;
    struct api_remove_tasks remove = { .has_task_ids = true, .n_task_ids = l.n };
    remove.task_ids = ARENA_ARRAY(q->a, struct str, l.n);
    for (uint32_t i = 0; i < l.n; i++) remove.task_ids[i] = arena_str(q->a, l.v[i]->id);
    int err = store_apply(q->g->store, &(struct api_op){ .remove_tasks = &remove });
    assert(err == 0);
    (void)err;
}

static void unload(struct query *q)
{
    staged_release(q->g);
}

static const struct method {
    const char *name;
    void (*run)(struct query *q);
} methods[] = {
    { "listBackups", list_backups },         { "stageRecovery", stage },   { "queryRecovery", query_tasks },
    { "deleteRecoveryTasks", delete_tasks }, { "unloadRecovery", unload },
};

static const struct method *find_method(struct str name)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (str_eq(name, str_c(methods[i].name))) return &methods[i];
    return NULL;
}

bool staged_serves(struct str method)
{
    return find_method(method) != NULL;
}

void staged_run(struct staged *g, const char *dir, const struct tmethod *m, const void *args, struct api_response *r,
                struct arena *a)
{
    struct query q = { .g = g, .dir = dir, .args = args, .r = r, .a = a };
    const struct method *method = find_method(str_c(m->name));
    assert(method);
    method->run(&q);
}

void staged_release(struct staged *g)
{
    store_free(g->store);
    *g = (struct staged){ 0 };
}
