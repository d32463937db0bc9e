/* Backup files: whole or not there, named by local time, the oldest removed; failures are counted and nothing more. */
#include "admin/backups.h"

#include "admin/backup_file.h"
#include "core/err.h"
#include "core/limits.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const atomic_bool go_on = false;

struct fixture {
    char dir[64]; /* a temporary folder */
    uv_loop_t loop;
    struct store *store;
    struct image *image;
    struct stats *stats;
    struct backups *b;
    int64_t now_ms;
    struct buf why;
    int called, last_err;
    bool closed;
};

static int64_t now(void *arg)
{
    return ((struct fixture *)arg)->now_ms;
}

static int setup(void **state)
{
    struct fixture *f = *state = xcalloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/admin_backups.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = store_new();
    struct api_save_framework_id save = { .id = STR("framework-7") };
    assert_int_equal(store_apply(f->store, &(struct api_op){ .save_framework_id = &save }), 0);
    f->image = image_take(f->store, 42);
    f->stats = stats_new();
    f->now_ms = 1700000000000;
    f->last_err = 1;
    setenv("TZ", "UTC-5:30", 1); /* which is 5:30 hours east */
    tzset();
    return 0;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->b) backups_close(f->b, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(!f->b || f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    image_unref(f->image);
    store_free(f->store);
    stats_free(f->stats);
    buf_release(&f->why);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void open_backups(struct fixture *f, uint32_t max_saved)
{
    struct backups_config c = { .loop = &f->loop,
                                .dir = f->dir,
                                .interval_ms = 1000,
                                .max_saved = max_saved,
                                .now_ms = now,
                                .arg = f,
                                .stats = f->stats };
    assert_int_equal(backups_new(&c, &f->b, &f->why), 0);
}

static void on_saved(int err, void *arg)
{
    struct fixture *f = arg;
    f->called++;
    f->last_err = err;
}

static const char *in(struct fixture *f, const char *name)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return path;
}

static void touch(struct fixture *f, const char *name)
{
    FILE *file = fopen(in(f, name), "w");
    assert_non_null(file);
    fclose(file);
}

/* The names in the folder, with a blank behind each. */
static void assert_files(struct fixture *f, const char *expected)
{
    struct arena a = { 0 };
    struct buf all = { 0 };
    struct str *names;
    uint32_t n;
    assert_int_equal(backup_list(f->dir, &names, &n, &a, &f->why), 0);
    for (uint32_t i = 0; i < n; i++) buf_addf(&all, "%s ", names[i].p);
    assert_string_equal(buf_cstr(&all), expected);
    buf_release(&all);
    arena_release(&a);
}

static int64_t stat_of(struct fixture *f, const char *name)
{
    return stat_get(stats_int(f->stats, name));
}

/* ---------------- files ---------------- */

static void test_name_is_local_time(void **state)
{
    (void)state;
    char name[64];
    backup_name(1700000000000, name); /* 22:13:20 UTC */
    assert_string_equal(name, "scheduler-backup-2023-11-15-03-43");
}

static void test_written_file_is_read(void **state)
{
    struct fixture *f = *state;
    struct store *back;
    int64_t t = 0;
    assert_int_equal(backup_write(f->dir, "scheduler-backup-x", f->image, &go_on, &f->why), 0);
    assert_files(f, "scheduler-backup-x ");
    assert_int_equal(backup_read(in(f, "scheduler-backup-x"), &back, &t, &f->why), 0);
    assert_int_equal(t, 42);
    assert_true(store_hash(back) == store_hash(f->store));
    store_free(back);
    /* The same name again: replaced. */
    assert_int_equal(backup_write(f->dir, "scheduler-backup-x", f->image, &go_on, &f->why), 0);
    assert_files(f, "scheduler-backup-x ");
}

static void test_cancelled_write_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    atomic_bool cancel = true;
    assert_int_equal(backup_write(f->dir, "scheduler-backup-x", f->image, &cancel, &f->why), ERR_CLOSED);
    assert_files(f, "");
}

static void test_failed_write_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    /* The name is taken by a folder that is not empty: the rename fails. */
    assert_int_equal(mkdir(in(f, "scheduler-backup-x"), 0755), 0);
    touch(f, "scheduler-backup-x/inside");
    assert_int_equal(backup_write(f->dir, "scheduler-backup-x", f->image, &go_on, &f->why), ERR_IO);
    assert_files(f, "scheduler-backup-x ");
    assert_true(f->why.len > 0);
    assert_int_equal(backup_write("/nonexistent", "scheduler-backup-x", f->image, &go_on, &f->why), ERR_NOT_FOUND);
}

static void test_a_link_is_not_followed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(symlink("/dev/full", in(f, "temp_scheduler-backup-x")), 0);
    /* A link is not followed, whatever it leads to. */
    assert_int_equal(backup_write(f->dir, "scheduler-backup-x", f->image, &go_on, &f->why), ERR_IO);
    assert_files(f, "");
}

static void test_what_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    int64_t t = 0;
    assert_int_equal(backup_read(in(f, "none"), &s, &t, &f->why), ERR_NOT_FOUND);
    assert_int_equal(backup_read(f->dir, &s, &t, &f->why), ERR_NOT_FOUND);
    assert_int_equal(mkfifo(in(f, "pipe"), 0600), 0);
    assert_int_equal(backup_read(in(f, "pipe"), &s, &t, &f->why), ERR_NOT_FOUND);
    touch(f, "empty");
    assert_int_equal(backup_read(in(f, "empty"), &s, &t, &f->why), ERR_TRUNCATED);
    assert_null(s);
}

static void test_names(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = 0;
    assert_true(backup_name_valid(STR("scheduler-backup-2023-11-15-03-43")));
    assert_true(backup_name_valid(STR("..x")));
    assert_true(backup_name_valid((struct str){ longest, 255 }));
    assert_false(backup_name_valid((struct str){ longest, 256 }));
    assert_false(backup_name_valid(STR("")));
    assert_false(backup_name_valid(STR(".")));
    assert_false(backup_name_valid(STR("..")));
    assert_false(backup_name_valid(STR("a/b")));
    assert_false(backup_name_valid(STR("/etc/passwd")));
    assert_false(backup_name_valid(STR("a\0b")));
}

static void test_pruning(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = { "scheduler-backup-2", "scheduler-backup-10", "scheduler-backup-3", "other",
                                         "temp_scheduler-backup-1" };
    uint32_t removed;
    for (size_t i = 0; i < 5; i++) touch(f, names[i]);
    assert_int_equal(backup_prune(f->dir, 3, &removed, &f->why), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(backup_prune(f->dir, 2, &removed, &f->why), 0);
    assert_int_equal(removed, 1);
    assert_files(f, "other scheduler-backup-2 scheduler-backup-3 temp_scheduler-backup-1 ");
    /* What can't be removed is said, and does not keep the others. */
    assert_int_equal(mkdir(in(f, "scheduler-backup-0"), 0755), 0);
    assert_int_equal(backup_prune(f->dir, 1, &removed, &f->why), ERR_IO);
    assert_int_equal(removed, 1);
    assert_files(f, "other scheduler-backup-0 scheduler-backup-3 temp_scheduler-backup-1 ");
}

static void test_list_has_a_limit(void **state)
{
    struct fixture *f = *state;
    struct arena a = { 0 };
    struct str *names;
    uint32_t n = 0;
    char name[32];
    for (int i = 0; i < LIMIT_BACKUP_NAMES; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        touch(f, name);
    }
    assert_int_equal(backup_list(f->dir, &names, &n, &a, &f->why), 0);
    assert_int_equal(n, LIMIT_BACKUP_NAMES);
    touch(f, "one more");
    assert_int_equal(backup_list(f->dir, &names, &n, &a, &f->why), ERR_TOO_BIG);
    arena_release(&a);
}

static void test_folder(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(backup_folder_open(in(f, "a/b/c"), &f->why), 0);
    assert_int_equal(backup_folder_open(in(f, "a/b/c"), &f->why), 0);
    touch(f, "file");
    assert_int_equal(backup_folder_open(in(f, "file"), &f->why), ERR_IO);
    assert_int_equal(backup_folder_open(in(f, "file/below"), &f->why), ERR_IO);
    assert_int_equal(backup_folder_open("/proc/none", &f->why), ERR_IO);
    assert_int_equal(backup_folder_open("", &f->why), ERR_IO);
    assert_int_equal(backup_folder_open(in(f, "d/"), &f->why), 0);
    char long_path[5000];
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = 0;
    assert_int_equal(backup_folder_open(long_path, &f->why), ERR_IO);
}

static void test_stale_files_are_removed(void **state)
{
    struct fixture *f = *state;
    touch(f, "temp_scheduler-backup-old");
    touch(f, "temp_scheduler-backup-new");
    touch(f, "temp_other");
    static const struct timespec long_ago[2] = { { 1, 0 }, { 1, 0 } };
    assert_int_equal(utimensat(AT_FDCWD, in(f, "temp_scheduler-backup-old"), long_ago, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, in(f, "temp_other"), long_ago, 0), 0);
    assert_int_equal(backup_folder_open(f->dir, &f->why), 0);
    assert_files(f, "temp_other temp_scheduler-backup-new ");
}

/* ---------------- in the scheduler ---------------- */

static void test_due_after_the_interval(void **state)
{
    struct fixture *f = *state;
    open_backups(f, 48);
    assert_false(backups_due(f->b));
    f->now_ms += 999;
    assert_false(backups_due(f->b));
    f->now_ms += 1;
    assert_true(backups_due(f->b));
    assert_int_equal(backups_save(f->b, f->image, on_saved, f), 0);
    assert_false(backups_due(f->b)); /* at once, whatever becomes of it */
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->called, 1);
    assert_int_equal(f->last_err, 0);
    assert_int_equal(stat_of(f, "scheduler_backup_success"), 1);
    assert_int_equal(stat_of(f, "scheduler_backup_failed"), 0);
    assert_files(f, "scheduler-backup-2023-11-15-03-43 ");
}

static void test_one_after_the_other(void **state)
{
    struct fixture *f = *state;
    open_backups(f, 2);
    for (int i = 0; i < LIMIT_BACKUP_QUEUE; i++) assert_int_equal(backups_save(f->b, f->image, on_saved, f), 0);
    assert_int_equal(backups_save(f->b, f->image, on_saved, f), ERR_FULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->called, LIMIT_BACKUP_QUEUE);
    assert_files(f, "scheduler-backup-2023-11-15-03-43 ");
    for (int minutes = 1; minutes < 4; minutes++) {
        f->now_ms += 60000;
        assert_int_equal(backups_save(f->b, f->image, NULL, NULL), 0);
        uv_run(&f->loop, UV_RUN_DEFAULT);
    }
    assert_files(f, "scheduler-backup-2023-11-15-03-45 scheduler-backup-2023-11-15-03-46 ");
}

static void test_a_failure_is_counted(void **state)
{
    struct fixture *f = *state;
    open_backups(f, 1);
    assert_int_equal(mkdir(in(f, "temp_scheduler-backup-2023-11-15-03-43"), 0755), 0);
    assert_int_equal(backups_save(f->b, f->image, on_saved, f), 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->last_err, ERR_IO);
    assert_int_equal(stat_of(f, "scheduler_backup_failed"), 1);
    f->now_ms += 60000;
    assert_int_equal(backups_save(f->b, f->image, on_saved, f), 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->last_err, 0);
    assert_int_equal(stat_of(f, "scheduler_backup_success"), 1);
}

static void test_closing_ends_what_waits(void **state)
{
    struct fixture *f = *state;
    open_backups(f, 48);
    for (int i = 0; i < 3; i++) assert_int_equal(backups_save(f->b, f->image, on_saved, f), 0);
    struct backups *b = f->b;
    f->b = NULL;
    backups_close(b, on_closed, f);
    assert_int_equal(f->called, 2);
    assert_int_equal(f->last_err, ERR_CLOSED);
    assert_false(f->closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(f->called, 3);
}

static void test_a_folder_that_is_none(void **state)
{
    struct fixture *f = *state;
    touch(f, "file");
    struct backups_config c = { .loop = &f->loop,
                                .dir = in(f, "file"),
                                .interval_ms = 1000,
                                .max_saved = 1,
                                .now_ms = now,
                                .arg = f,
                                .stats = f->stats };
    assert_int_equal(backups_new(&c, &f->b, &f->why), ERR_IO);
    assert_non_null(strstr(buf_cstr(&f->why), "flag -backup_dir: /tmp/admin_backups."));
    assert_non_null(strstr(buf_cstr(&f->why), "/file can't be used: "));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_name_is_local_time),
        TEST(test_written_file_is_read),
        TEST(test_cancelled_write_leaves_nothing),
        TEST(test_failed_write_leaves_nothing),
        TEST(test_a_link_is_not_followed),
        TEST(test_what_cannot_be_read),
        TEST(test_names),
        TEST(test_pruning),
        TEST(test_list_has_a_limit),
        TEST(test_folder),
        TEST(test_stale_files_are_removed),
        TEST(test_due_after_the_interval),
        TEST(test_one_after_the_other),
        TEST(test_a_failure_is_counted),
        TEST(test_closing_ends_what_waits),
        TEST(test_a_folder_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
