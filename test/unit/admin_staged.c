/* The methods on a backup that is loaded, and what they answer. */
#include "admin/staged.h"

#include "admin/backup_file.h"
#include "admin/rpc.h"
#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const atomic_bool go_on = false;

struct fixture {
    char dir[64];
    struct staged staged;
    struct arena a; /* of the last answer */
    struct api_response *r;
};

static void run(struct fixture *f, const char *dir, const char *method, const void *args)
{
    arena_release(&f->a);
    f->r = ARENA_NEW(&f->a, struct api_response);
    f->r->response_code = API_RESPONSE_CODE_OK;
    assert_true(staged_serves(str_c(method)));
    staged_run(&f->staged, dir, rpc_method(str_c(method)), args, f->r, &f->a);
}

static void assert_ok(struct fixture *f)
{
    if (f->r->n_details) fail_msg("%s", f->r->details[0].message.p);
    assert_int_equal(f->r->response_code, API_RESPONSE_CODE_OK);
}

/* `dir` in the text stands for the folder. */
static void assert_error(struct fixture *f, const char *before, bool dir, const char *behind)
{
    char text[256];
    snprintf(text, sizeof(text), "%s%s%s", before, dir ? f->dir : "", behind);
    assert_int_equal(f->r->response_code, API_RESPONSE_CODE_ERROR);
    assert_int_equal(f->r->n_details, 1);
    assert_string_equal(f->r->details[0].message.p, text);
}

static void stage(struct fixture *f, const char *name)
{
    struct api_stage_recovery_args args = { .backup_id = str_c(name) };
    run(f, f->dir, "stageRecovery", &args);
}

static uint32_t count(struct fixture *f, struct api_task_query *q)
{
    struct api_query_recovery_args args = { .query = q };
    run(f, f->dir, "queryRecovery", &args);
    assert_ok(f);
    return f->r->result->query_recovery_result->n_tasks;
}

static void add_task(struct store *s, const char *id, int32_t instance)
{
    struct api_job_key key = { STR("www"), STR("prod"), STR("hello") };
    struct api_task_config config = { .job = &key };
    struct api_assigned_task assigned = {
        .task_id = str_c(id), .task = &config, .has_instance_id = true, .instance_id = instance
    };
    struct api_task_event event = { .has_status = true, .status = API_SCHEDULE_STATUS_PENDING };
    struct api_scheduled_task t = { .assigned_task = &assigned,
                                    .has_status = true,
                                    .status = API_SCHEDULE_STATUS_PENDING,
                                    .has_task_events = true,
                                    .n_task_events = 1,
                                    .task_events = &event };
    struct api_save_tasks save = { .has_tasks = true, .n_tasks = 1, .tasks = &t };
    assert_int_equal(store_apply(s, &(struct api_op){ .save_tasks = &save }), 0);
}

static void write_text(struct fixture *f, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    struct fixture *f = *state = xcalloc(1, sizeof(*f));
    struct buf why = { 0 };
    snprintf(f->dir, sizeof(f->dir), "/tmp/admin_staged.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    struct store *s = store_new();
    add_task(s, "t0", 0);
    add_task(s, "t1", 1);
    add_task(s, "t2", 2);
    struct image *i = image_take(s, 42);
    assert_int_equal(backup_write(f->dir, "good", i, &go_on, &why), 0);
    image_unref(i);
    store_free(s);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    staged_release(&f->staged);
    arena_release(&f->a);
    free(f);
    return 0;
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    write_text(f, "another", "");
    run(f, f->dir, "listBackups", NULL);
    assert_ok(f);
    const struct api_list_backups_result *l = f->r->result->list_backups_result;
    assert_int_equal(l->n_backups, 2);
    assert_string_equal(l->backups[0].p, "another");
    assert_string_equal(l->backups[1].p, "good");
    run(f, "/nonexistent", "listBackups", NULL);
    assert_error(f, "Failed to list /nonexistent: No such file or directory", false, "");
}

static void test_stage_query_delete_unload(void **state)
{
    struct fixture *f = *state;
    struct api_task_query all = { 0 }, second = { .has_instance_ids = true };
    int32_t ids[] = { 1, 7 };
    second.n_instance_ids = 2;
    second.instance_ids = ids;
    stage(f, "good");
    assert_ok(f);
    assert_int_equal(f->staged.timestamp_ms, 42);
    assert_int_equal(count(f, &all), 3);
    assert_int_equal(count(f, &second), 1);
    assert_string_equal(f->r->result->query_recovery_result->tasks[0].assigned_task->task_id.p, "t1");
    struct api_delete_recovery_tasks_args delete = { .query = &second };
    run(f, f->dir, "deleteRecoveryTasks", &delete);
    assert_ok(f);
    assert_int_equal(count(f, &all), 2);
    run(f, f->dir, "deleteRecoveryTasks", &delete);
    assert_ok(f);
    run(f, f->dir, "unloadRecovery", NULL);
    assert_ok(f);
    run(f, f->dir, "unloadRecovery", NULL);
    assert_ok(f);
    stage(f, "good");
    assert_int_equal(count(f, &all), 3);
}

/* As in Aurora, which asks its store without them. */
static void test_offset_and_limit_do_not_count(void **state)
{
    struct fixture *f = *state;
    struct api_task_query q = { .has_limit = true, .limit = 1, .has_offset = true, .offset = 1 };
    stage(f, "good");
    assert_int_equal(count(f, &q), 3);
}

static void test_stage_errors(void **state)
{
    struct fixture *f = *state;
    stage(f, "none");
    assert_error(f, "Backup ", true, "/none does not exist.");
    stage(f, "../good");
    assert_error(f, "'../good' is not the name of a backup.", false, "");
    stage(f, "");
    assert_error(f, "'' is not the name of a backup.", false, "");
    write_text(f, "bad", "this is no backup");
    stage(f, "bad");
    assert_error(f, "Failed to decode backup ", true, "/bad: malformed input");
    assert_null(f->staged.store);
    stage(f, "good");
    assert_ok(f);
    stage(f, "none");
    assert_error(f, "Backup ", true, "/none does not exist.");
    stage(f, "good");
    assert_error(f, "Another backup is already loaded.", false, "");
}

static void test_nothing_loaded(void **state)
{
    struct fixture *f = *state;
    struct api_task_query all = { 0 };
    run(f, f->dir, "queryRecovery", &(struct api_query_recovery_args){ .query = &all });
    assert_error(f, "No backup loaded.", false, "");
    run(f, f->dir, "deleteRecoveryTasks", &(struct api_delete_recovery_tasks_args){ .query = &all });
    assert_error(f, "No backup loaded.", false, "");
}

/* Aurora stumbles: ERROR, a detail without text. */
static void test_missing_arguments(void **state)
{
    struct fixture *f = *state;
    stage(f, NULL);
    assert_int_equal(f->r->response_code, API_RESPONSE_CODE_ERROR);
    assert_null(f->r->details[0].message.p);
    run(f, f->dir, "queryRecovery", &(struct api_query_recovery_args){ 0 });
    assert_int_equal(f->r->response_code, API_RESPONSE_CODE_ERROR);
    assert_null(f->r->details[0].message.p);
}

static void test_without_a_folder(void **state)
{
    struct fixture *f = *state;
    run(f, NULL, "listBackups", NULL);
    assert_error(f, "Flag -backup_dir is not set.", false, "");
    run(f, NULL, "stageRecovery", &(struct api_stage_recovery_args){ .backup_id = STR("good") });
    assert_error(f, "Flag -backup_dir is not set.", false, "");
    run(f, NULL, "unloadRecovery", NULL);
    assert_ok(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_list),
        TEST(test_stage_query_delete_unload),
        TEST(test_offset_and_limit_do_not_count),
        TEST(test_stage_errors),
        TEST(test_nothing_loaded),
        TEST(test_missing_arguments),
        TEST(test_without_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
