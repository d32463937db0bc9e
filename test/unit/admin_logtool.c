/* The log tool on folders of made-up records: each kind of damage has its finding, what may be there has a note. */
#include "admin/logtool.h"

#include "core/err.h"
#include "core/thrift.h"
#include "log/backup.h"
#include "log/entry.h"
#include "log/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_FRAME = 64 };

static char folder[40];
static char *out, *err;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/logtool.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[80];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    free(out);
    free(err);
    out = err = NULL;
    return system(command);
}

static enum logtool_status run(const char *command)
{
    char path[60];
    size_t n_out, n_err;
    free(out);
    free(err);
    FILE *o = open_memstream(&out, &n_out), *e = open_memstream(&err, &n_err);
    snprintf(path, sizeof(path), "--path=%s", folder);
    const char *argv[] = { command, path };
    enum logtool_status status = logtool(2, argv, o, e);
    fclose(o);
    fclose(e);
    return status;
}

/* ---- making folders ---- */

static void put(struct action a)
{
    struct storage *s;
    struct storage_metadata m = { .status = REPLICA_VOTING, .promised = 1, .quorum = 2, .id = 7 };
    assert_int_equal(storage_open(folder, 0, &s, NULL), 0);
    assert_int_equal(storage_write(s, &(struct storage_batch){ .metadata = &m, .actions = &a, .n = 1 }), 0);
    storage_close(s);
}

static struct action learned(uint64_t position)
{
    return (struct action){ .position = position,
                            .promised = 1,
                            .performed = 1,
                            .has_performed = true,
                            .has_learned = true,
                            .learned = true,
                            .type = ACTION_NOP };
}

static void put_append(uint64_t position, const void *bytes, size_t n)
{
    struct action a = learned(position);
    a.type = ACTION_APPEND;
    a.bytes = bytes;
    a.n = n;
    put(a);
}

static void entry_of(const struct api_op *op, struct buf *ret)
{
    struct entry_transaction t = { 0 };
    entry_transaction_begin(&t);
    assert_int_equal(entry_transaction_op(&t, op), 0);
    entry_transaction_end(&t);
    *ret = t.bytes;
}

static void put_op(uint64_t position, const struct api_op *op)
{
    struct buf entry;
    entry_of(op, &entry);
    put_append(position, entry.data, entry.len);
    buf_release(&entry);
}

static void put_framework_id(uint64_t position)
{
    put_op(position, &(struct api_op){ .save_framework_id = &(struct api_save_framework_id){ .id = STR("fw") } });
}

/* A framed entry's records at position and behind, without the left-out one; returns behind the last. */
static uint64_t put_framed(uint64_t position, size_t leave_out, bool spoil)
{
    static const char id[] = "a framework id which is so long that its transaction takes three frames: "
                             "0123456789012345678901234567890123456789012345678901234567890123456789";
    struct api_op op = { .save_framework_id = &(struct api_save_framework_id){ .id = str_c(id) } };
    struct buf entry, record = { 0 };
    struct entry_frames f;
    entry_of(&op, &entry);
    entry_frames_init(&f, entry.data, entry.len, MAX_FRAME);
    assert_in_range(f.records, 4, 5);
    for (size_t i = 0; i < f.records; i++) {
        entry_frames_record(&f, i, &record);
        if (spoil && i == 1) record.data[record.len - 8] ^= 1;
        if (i != leave_out) put_append(position++, record.data, record.len);
    }
    buf_release(&record);
    buf_release(&entry);
    return position;
}

static void expect(enum logtool_status status, const char *says)
{
    assert_int_equal(run("verify"), status);
    if (!strstr(out, says)) fail_msg("\"%s\" does not say \"%s\"", out, says);
    assert_string_equal(err, "");
}

/* ---- tests ---- */

static void a_sound_log_is_sound(void **state)
{
    (void)state;
    put(learned(0));
    put_framework_id(1);
    uint64_t next = put_framed(2, SIZE_MAX, false);
    put_append(next, "\x02\0\x03\x01\0", 5); /* noop: true */
    expect(LOGTOOL_OK, "\"summary\":\"sound\",\"findings\":0,\"notes\":0,\"status\":\"VOTING\"");
    assert_non_null(strstr(out, "\"entries\":3,\"transactions\":2"));
    assert_int_equal(run("read"), LOGTOOL_OK);
    assert_non_null(strstr(out, "{\"position\":0,\"promised\":1,\"performed\":1,\"learned\":true,\"type\":\"nop\"}\n"));
    assert_non_null(strstr(out, "\"kind\":\"transaction\",\"n_ops\":1,\"ops\":{\"saveFrameworkId\":1}"));
    assert_non_null(strstr(out, "\"kind\":\"frame_header\",\"chunks\":"));
    assert_non_null(strstr(out, ",\"completes\":{\"kind\":\"transaction\""));
    assert_non_null(strstr(out, "\"entry\":{\"kind\":\"noop\"}}"));
    assert_int_equal(run("dump"), LOGTOOL_OK);
    assert_non_null(strstr(out,
                           "{\"first\":1,\"last\":1,\"entry\":{\"transaction\":{\"ops\":[{\"saveFrameworkId\":{\"id\":"
                           "\"fw\"}}],\"schemaVersion\":1}}}\n{\"first\":2,\"last\":"));
}

static void a_new_log_is_sound(void **state)
{
    (void)state;
    struct storage *s;
    assert_int_equal(storage_open(folder, 0, &s, NULL), 0);
    storage_close(s);
    expect(LOGTOOL_OK, "{\"note\":\"status\"");
    assert_non_null(strstr(out, "\"findings\":0"));
}

static void a_hole_is_found(void **state)
{
    (void)state;
    put(learned(0));
    put_framework_id(1);
    put_framework_id(4);
    expect(LOGTOOL_DAMAGED,
           "{\"finding\":\"hole\",\"position\":2,\"text\":\"there is no record from here to position 3\"}");
    assert_non_null(strstr(out, "\"entries\":2"));
    assert_non_null(strstr(out, "\"replayed\":1,"));
}

static void what_was_truncated_is_no_hole(void **state)
{
    (void)state;
    struct action t = learned(9);
    t.type = ACTION_TRUNCATE;
    t.to = 8;
    put_append(3, "left behind", 11);
    put_framework_id(8);
    put(t);
    expect(LOGTOOL_OK, "\"begin\":8,\"end\":9,");
    assert_int_equal(run("read"), LOGTOOL_OK);
    assert_null(strstr(out, "\"position\":3"));
    assert_non_null(strstr(out, "\"type\":\"truncate\",\"to\":8}"));
}

static void an_unlearned_end_is_noted(void **state)
{
    (void)state;
    struct action a = learned(2);
    a.learned = false;
    put(learned(0));
    put_framework_id(1);
    put(a);
    put((struct action){ .position = 3, .promised = 5 });
    expect(LOGTOOL_OK, "{\"note\":\"unlearned\",\"position\":2,\"text\":\"2 position(s)");
}

static void impossible_records_are_found(void **state)
{
    (void)state;
    struct action t = learned(1);
    t.type = ACTION_TRUNCATE;
    t.to = 2;
    put(learned(0));
    put(t);
    expect(LOGTOOL_DAMAGED, "{\"finding\":\"record\",\"position\":1,\"text\":\"it truncates what is behind it\"}");
}

static void records_without_metadata_are_found(void **state)
{
    (void)state;
    struct storage *s;
    struct action a = learned(0);
    assert_int_equal(storage_open(folder, 0, &s, NULL), 0);
    assert_int_equal(storage_write(s, &(struct storage_batch){ .actions = &a, .n = 1 }), 0);
    storage_close(s);
    expect(LOGTOOL_DAMAGED, "{\"finding\":\"metadata\"");
}

static void broken_frames(void **state)
{
    (void)state;
    put(learned(0));
    uint64_t next = put_framed(1, 2, false); /* a writer died in the middle */
    put_framework_id(next);
    expect(LOGTOOL_OK, "{\"note\":\"frame\",\"position\":4,\"text\":\"a framed entry before here is incomplete");
    next = put_framed(next + 1, 0, false);
    expect(LOGTOOL_DAMAGED,
           "{\"finding\":\"frame\",\"position\":5,\"text\":\"a part of a framed entry whose header is");
    assert_non_null(strstr(out, "\"findings\":1,"));
    put_framed(next, SIZE_MAX, true);
    expect(LOGTOOL_DAMAGED, "\"text\":\"a framed entry has a wrong checksum\"}");
    assert_int_equal(run("dump"), LOGTOOL_DAMAGED);
    assert_non_null(strstr(err, "a framed entry has a wrong checksum"));
    assert_non_null(strstr(out, "{\"first\":4,\"last\":4,"));
}

static void what_does_not_decode_is_found(void **state)
{
    (void)state;
    put(learned(0));
    put_append(1, "not a LogEntry", 14);
    put_framework_id(2);
    expect(LOGTOOL_DAMAGED, "{\"finding\":\"entry\",\"position\":1,\"text\":\"an entry does not decode");
    assert_non_null(strstr(out, "\"entries\":1"));
    assert_int_equal(run("read"), LOGTOOL_OK); /* it only shows what is there */
    assert_non_null(strstr(out, "\"entry\":{\"error\":\"an entry does not decode"));
}

static void what_contradicts_the_state_is_found(void **state)
{
    (void)state;
    struct api_job_update_key key = { .id = STR("u"), .job = &(struct api_job_key){ STR("r"), STR("e"), STR("n") } };
    struct api_job_update_event event = { .has_status = true };
    struct api_save_job_update_event save = { .event = &event, .key = &key };
    put(learned(0));
    put_op(1, &(struct api_op){ .save_job_update_event = &save });
    expect(LOGTOOL_DAMAGED, "{\"finding\":\"replay\",\"position\":1,");
}

/* ---- import ---- */

enum { MANY_TASKS = 120, LARGE = 700000 }; /* more than two transactions; more than one record takes */

#define KEY "{\"role\":\"www\",\"environment\":\"prod\",\"name\":\"a\"}"

/* Something of everything that is stored, but the tasks. */
static const char rest_json[] =
    "\"hostAttributes\":[{\"host\":\"h1\",\"slaveId\":\"s1\",\"mode\":\"DRAINING\"}],"
    "\"cronJobs\":[{\"jobConfiguration\":{\"key\":" KEY ",\"cronSchedule\":\"* * * * *\",\"instanceCount\":3,"
    "\"taskConfig\":{\"priority\":7}}}],"
    "\"schedulerMetadata\":{\"frameworkId\":\"framework-1\"},"
    "\"quotaConfigurations\":[{\"role\":\"www\",\"quota\":{\"resources\":[{\"numCpus\":4.0},{\"ramMb\":5},{\"diskMb\":"
    "6}]}}],"
    "\"jobUpdateDetails\":[{\"details\":{\"update\":{\"summary\":{\"key\":{\"job\":" KEY
    ",\"id\":\"u1\"},\"user\":\"me\"},"
    "\"instructions\":{\"desiredState\":{\"task\":{\"priority\":1},\"instances\":[{\"first\":0,\"last\":4}]},"
    "\"settings\":{\"updateGroupSize\":2}}},"
    "\"updateEvents\":[{\"status\":\"ROLLING_FORWARD\",\"timestampMs\":10},{\"status\":\"ROLLED_FORWARD\","
    "\"timestampMs\":20}],"
    "\"instanceEvents\":[{\"instanceId\":3,\"timestampMs\":15,\"action\":\"INSTANCE_UPDATING\"}]}}],"
    "\"hostMaintenanceRequests\":[{\"host\":\"h1\",\"timeoutSecs\":60,\"createdTimestampMs\":9,"
    "\"defaultSlaPolicy\":{\"countSlaPolicy\":{\"count\":1,\"durationSecs\":2}}}]";

static void snapshot_json(struct buf *b)
{
    buf_addf(b, "{\"timestamp\":1700000000123,%s,\"tasks\":[", rest_json);
    for (int i = 0; i < MANY_TASKS; i++) {
        buf_addf(b, "%s{\"assignedTask\":{\"taskId\":\"t%d\",\"instanceId\":%d,\"task\":{\"job\":" KEY, i ? "," : "", i,
                 i);
        buf_adds(b, ",\"executorConfig\":{\"name\":\"x\",\"data\":\"");
        size_t n = i == 60 ? LARGE : 10;
        memset(buf_reserve(b, n), 'd', n);
        buf_commit(b, n);
        buf_adds(b, "\"}}},\"status\":\"RUNNING\"}");
    }
    buf_adds(b, "]}");
}

static int put_bytes(const void *data, size_t n, void *arg)
{
    return fwrite(data, 1, n, arg) == n ? 0 : ERR_IO;
}

/* A backup file, and the hash of the state in it. */
static uint64_t write_backup(const char *path)
{
    struct buf json = { 0 }, why = { 0 };
    struct arena a = { 0 };
    struct api_snapshot snap = { 0 };
    struct store *s = store_new();
    snapshot_json(&json);
    int bad = json_read(json.data, json.len, &api_snapshot_desc, &snap, &a, JSON_STRICT, &why);
    if (bad) fail_msg("%s", buf_cstr(&why));
    assert_int_equal(store_apply_snapshot(s, &snap), 0);
    uint64_t hash = store_hash(s);
    struct image *image = image_take(s, 77);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(backup_encode(image, put_bytes, f), 0);
    assert_int_equal(fclose(f), 0);
    image_unref(image);
    store_free(s);
    arena_release(&a);
    buf_release(&json);
    buf_release(&why);
    return hash;
}

static void an_imported_log_has_the_state_of_the_backup(void **state)
{
    (void)state;
    char backup[60], option[80], path[80], says[40];
    size_t n_out, n_err;
    snprintf(backup, sizeof(backup), "%s.backup", folder);
    snprintf(option, sizeof(option), "--backup=%s", backup);
    snprintf(path, sizeof(path), "--path=%s", folder);
    snprintf(says, sizeof(says), "\"state\":\"%016llx\"", (unsigned long long)write_backup(backup));
    FILE *o = open_memstream(&out, &n_out), *e = open_memstream(&err, &n_err);
    enum logtool_status status = logtool(4, (const char *const[]){ "import", path, option, "--quorum=2" }, o, e);
    fclose(o);
    fclose(e);
    assert_string_equal(err, "");
    assert_int_equal(status, LOGTOOL_OK);
    assert_int_equal(unlink(backup), 0);
    expect(LOGTOOL_OK, says);
    assert_non_null(
        strstr(out, "\"summary\":\"sound\",\"findings\":0,\"notes\":0,\"status\":\"VOTING\",\"promised\":1,"));
    assert_int_equal(run("read"), LOGTOOL_OK);
    assert_non_null(strstr(out, "\"kind\":\"frame_header\""));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sound_log_is_sound),
        TEST(a_new_log_is_sound),
        TEST(a_hole_is_found),
        TEST(what_was_truncated_is_no_hole),
        TEST(an_unlearned_end_is_noted),
        TEST(impossible_records_are_found),
        TEST(records_without_metadata_are_found),
        TEST(broken_frames),
        TEST(what_does_not_decode_is_found),
        TEST(what_contradicts_the_state_is_found),
        TEST(an_imported_log_has_the_state_of_the_backup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
