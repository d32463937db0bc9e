/* The form of backups: what is written is a Snapshot for any Thrift library, what is read is the same state, and no
 * bytes do harm. */
#include "log/backup.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/thrift.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TASK(id, instance, job)                                                                                        \
    "{\"assignedTask\":{\"taskId\":\"" id "\",\"instanceId\":" instance ",\"slaveHost\":\"h1\",\"slaveId\":\"s1\","    \
    "\"assignedPorts\":{\"http\":31000},\"task\":{\"job\":{\"role\":\"www\",\"environment\":\"prod\",\"name\":\"" job  \
    "\"},\"isService\":true,\"resources\":[{\"numCpus\":1.5},{\"ramMb\":16},{\"diskMb\":8}],"                          \
    "\"executorConfig\":{\"name\":\"AuroraExecutor\",\"data\":\"{}\"}}},\"status\":\"RUNNING\",\"failureCount\":2,"    \
    "\"taskEvents\":[{\"timestamp\":5,\"status\":\"PENDING\",\"scheduler\":\"here\"}],\"ancestorId\":\"old\"}"

#define UPDATE_KEY "{\"job\":{\"role\":\"www\",\"environment\":\"prod\",\"name\":\"a\"},\"id\":\"u1\"}"

/* Something of everything that is stored. */
static const char state_json[] =
    "{\"timestamp\":1700000000123,"
    "\"hostAttributes\":[{\"host\":\"h1\",\"slaveId\":\"s1\",\"mode\":\"DRAINING\","
    "\"attributes\":[{\"name\":\"rack\",\"values\":[\"r1\"]}]}],"
    "\"tasks\":[" TASK("t1", "0", "a") "," TASK("t2", "1", "a") "," TASK(
        "t3", "0",
        "b") "],"
             "\"cronJobs\":[{\"jobConfiguration\":{\"key\":{\"role\":\"www\",\"environment\":\"prod\",\"name\":\"c\"},"
             "\"cronSchedule\":\"* * * * *\",\"instanceCount\":3,\"taskConfig\":{\"priority\":7}}}],"
             "\"schedulerMetadata\":{\"frameworkId\":\"framework-1\",\"details\":{\"k\":\"v\"}},"
             "\"quotaConfigurations\":[{\"role\":\"www\",\"quota\":{\"resources\":[{\"numCpus\":4.0},{\"ramMb\":5},{"
             "\"diskMb\":"
             "6}]}}],"
             "\"jobUpdateDetails\":[{\"details\":{\"update\":{\"summary\":{\"key\":" UPDATE_KEY ",\"user\":\"me\"},"
             "\"instructions\":{\"desiredState\":{\"task\":{\"priority\":1},\"instances\":[{\"first\":0,\"last\":4}]},"
             "\"settings\":{\"updateGroupSize\":2}}},"
             "\"updateEvents\":[{\"status\":\"ROLLING_FORWARD\",\"timestampMs\":10},{\"status\":\"ROLLED_FORWARD\","
             "\"timestampMs\":20}],"
             "\"instanceEvents\":[{\"instanceId\":3,\"timestampMs\":15,\"action\":\"INSTANCE_UPDATING\"}]}}],"
             "\"hostMaintenanceRequests\":[{\"host\":\"h1\",\"timeoutSecs\":60,\"createdTimestampMs\":9,"
             "\"defaultSlaPolicy\":{\"countSlaPolicy\":{\"count\":1,\"durationSecs\":2}}}]}";

static void snapshot_of(const char *json, struct api_snapshot *snap, struct arena *a)
{
    struct buf why = { 0 };
    int err = json_read(json, strlen(json), &api_snapshot_desc, snap, a, JSON_STRICT, &why);
    if (err) fail_msg("%s", buf_cstr(&why));
    buf_release(&why);
}

static struct store *store_of(const char *json)
{
    struct arena a = { 0 };
    struct api_snapshot snap = { 0 };
    snapshot_of(json, &snap, &a);
    struct store *s = store_new();
    assert_int_equal(store_apply_snapshot(s, &snap), 0);
    arena_release(&a);
    return s;
}

/* ---------------- memory instead of files ---------------- */

struct pipe {
    struct buf bytes;
    size_t at, portion; /* at most so much at once; 0: any */
    size_t fail_at;     /* put: no more than that, then ERR_NOSPACE; 0: never */
};

static int put(const void *data, size_t n, void *arg)
{
    struct pipe *p = arg;
    if (p->fail_at && p->bytes.len + n > p->fail_at) return ERR_NOSPACE;
    buf_add(&p->bytes, data, n);
    return 0;
}

static int get(void *data, size_t n, size_t *ret_n, void *arg)
{
    struct pipe *p = arg;
    size_t left = p->bytes.len - p->at;
    if (n > left) n = left;
    if (p->portion && n > p->portion) n = p->portion;
    if (n) memcpy(data, p->bytes.data + p->at, n);
    p->at += n;
    *ret_n = n;
    return 0;
}

static int encode(struct store *s, int64_t timestamp_ms, struct pipe *p)
{
    struct image *i = image_take(s, timestamp_ms);
    int err = backup_encode(i, put, p);
    image_unref(i);
    return err;
}

static int decode(struct pipe *p, struct store **ret, int64_t *timestamp_ms)
{
    struct store *s = store_new();
    p->at = 0;
    int err = backup_decode(get, p, s, timestamp_ms);
    if (err) {
        store_free(s);
        s = NULL;
    }
    *ret = s;
    return err;
}

static int decode_bytes(const void *bytes, size_t n)
{
    struct pipe p = { 0 };
    buf_add(&p.bytes, bytes, n);
    struct store *s;
    int64_t t = -1;
    int err = decode(&p, &s, &t);
    if (err) assert_int_equal(t, -1);
    store_free(s);
    buf_release(&p.bytes);
    return err;
}

/* ---------------- tests ---------------- */

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t portions[] = { 0, 1, 7, 100 };
    struct store *s = store_of(state_json);
    struct pipe p = { 0 };
    assert_int_equal(encode(s, 77, &p), 0);
    for (size_t i = 0; i < sizeof(portions) / sizeof(portions[0]); i++) {
        struct store *back;
        int64_t t = 0;
        p.portion = portions[i];
        assert_int_equal(decode(&p, &back, &t), 0);
        assert_int_equal(t, 77);
        assert_true(store_hash(back) == store_hash(s));
        assert_string_equal(store_framework_id(back).p, "framework-1");
        store_free(back);
    }
    buf_release(&p.bytes);
    store_free(s);
}

/* The bytes are a Snapshot to a reader that knows nothing of this file. */
static void test_is_a_bare_snapshot(void **state)
{
    (void)state;
    struct store *s = store_of(state_json), *back = store_new();
    struct pipe p = { 0 };
    struct arena a = { 0 };
    struct api_snapshot snap = { 0 };
    assert_int_equal(encode(s, 77, &p), 0);
    assert_int_equal(tbinary_read(p.bytes.data, p.bytes.len, &api_snapshot_desc, &snap, &a, NULL), 0);
    assert_int_equal(snap.timestamp, 77);
    assert_int_equal(snap.n_tasks, 3);
    assert_int_equal(snap.tasks[2].assigned_task->task->n_resources, 3);
    assert_int_equal(store_apply_snapshot(back, &snap), 0);
    assert_true(store_hash(back) == store_hash(s));
    /* Fields come in ascending order, as others write them. */
    struct buf again = { 0 };
    assert_int_equal(tbinary_write(&again, &api_snapshot_desc, &snap), 0);
    assert_int_equal(again.len, p.bytes.len);
    assert_memory_equal(again.data, p.bytes.data, again.len);
    buf_release(&again);
    arena_release(&a);
    buf_release(&p.bytes);
    store_free(back);
    store_free(s);
}

static void test_empty_store(void **state)
{
    (void)state;
    struct store *s = store_new(), *back;
    struct pipe p = { 0 };
    int64_t t = 0;
    assert_int_equal(encode(s, 5, &p), 0);
    assert_int_equal(decode(&p, &back, &t), 0);
    assert_int_equal(t, 5);
    assert_true(store_hash(back) == store_hash(s));
    assert_null(store_framework_id(back).p);
    buf_release(&p.bytes);
    store_free(back);
    store_free(s);
}

/* More than one portion of tasks, through small windows. */
static void test_many_tasks(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct store *s = store_of(state_json), *back;
    for (int i = 0; i < N; i++) {
        char json[1200];
        struct arena a = { 0 };
        struct api_scheduled_task t = { 0 };
        int n = snprintf(json, sizeof(json), TASK("m-%d", "%d", "many"), i, i);
        assert_int_equal(json_read(json, (size_t)n, &api_scheduled_task_desc, &t, &a, JSON_STRICT, NULL), 0);
        struct api_save_tasks save = { .has_tasks = true, .n_tasks = 1, .tasks = &t };
        assert_int_equal(store_apply(s, &(struct api_op){ .save_tasks = &save }), 0);
        arena_release(&a);
    }
    struct pipe p = { .portion = 3333 };
    int64_t t = 0;
    assert_int_equal(encode(s, 5, &p), 0);
    assert_int_equal(decode(&p, &back, &t), 0);
    assert_int_equal(store_task_count(back), N + 3);
    assert_true(store_hash(back) == store_hash(s));
    buf_release(&p.bytes);
    store_free(back);
    store_free(s);
}

static void test_a_full_disk_ends_it(void **state)
{
    (void)state;
    struct store *s = store_of(state_json);
    struct pipe p = { .fail_at = 100 };
    assert_int_equal(encode(s, 77, &p), ERR_NOSPACE);
    buf_release(&p.bytes);
    store_free(s);
}

static void test_cut_short(void **state)
{
    (void)state;
    struct store *s = store_of(state_json);
    struct pipe p = { 0 };
    assert_int_equal(encode(s, 77, &p), 0);
    for (size_t n = 0; n < p.bytes.len; n++) assert_int_equal(decode_bytes(p.bytes.data, n), ERR_TRUNCATED);
    buf_addc(&p.bytes, 0);
    assert_int_equal(decode_bytes(p.bytes.data, p.bytes.len), ERR_MALFORMED);
    buf_release(&p.bytes);
    store_free(s);
}

/* Every bit of a good file, turned: an error or another state, and no harm (sanitizers). */
static void test_damage(void **state)
{
    (void)state;
    struct store *s = store_of(state_json);
    struct pipe p = { 0 };
    assert_int_equal(encode(s, 77, &p), 0);
    for (size_t bit = 0; bit < p.bytes.len * 8; bit++) {
        p.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)decode_bytes(p.bytes.data, p.bytes.len);
        p.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buf_release(&p.bytes);
    store_free(s);
}

#define BYTES(lit) (lit), sizeof(lit) - 1
#define TIMED "\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05"

static void test_what_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_bytes(BYTES(TIMED "\x00")), 0);
    assert_int_equal(decode_bytes(BYTES("")), ERR_TRUNCATED);
    assert_int_equal(decode_bytes(BYTES("\x00")), ERR_MALFORMED);                             /* no time */
    assert_int_equal(decode_bytes(BYTES("\x00\x00\x00\x00")), ERR_MALFORMED);                 /* a file of zeros */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x00\x00")), ERR_MALFORMED);                   /* something behind it */
    assert_int_equal(decode_bytes(BYTES("\x08\x00\x01\x00\x00\x00\x05\x00")), ERR_MALFORMED); /* a time of 32 bits */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0f\x00\x04\x0c\x00\x00\x00\x00\x00")), ERR_MALFORMED); /* a list */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x04\x08\x00\x00\x00\x01\x00")), ERR_MALFORMED); /* of numbers */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x07\x00\x63\x00")), ERR_MALFORMED); /* a type that is none */
    /* A task without anything, an update without anything, hosts without mode. */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x04\x0c\x00\x00\x00\x01\x00\x00")), ERR_INVALID);
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x0a\x0c\x00\x00\x00\x01\x00\x00")), ERR_INVALID);
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x05\x0c\x00\x00\x00\x01\x00\x00")), ERR_INVALID);
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x08\x0c\x00\x00\x00\x01\x00\x00")), ERR_INVALID);
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x0d\x0c\x00\x00\x00\x01\x00\x00")), ERR_INVALID);
}

static void test_huge_counts(void **state)
{
    (void)state;
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x04\x0c\x7f\xff\xff\xff\x00")), ERR_TOO_BIG);
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x04\x0c\xff\xff\xff\xff\x00")), ERR_MALFORMED);
    /* LIMIT_CODEC_ELEMENTS and one more; hosts of before agents had ids are passed over. */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0e\x00\x03\x0c\x00\x10\x00\x01\x00")), ERR_TOO_BIG);
    struct buf most = { 0 };
    buf_add(&most, BYTES(TIMED "\x0e\x00\x03\x0c\x00\x10\x00\x00"));
    memset(buf_reserve(&most, LIMIT_CODEC_ELEMENTS + 1), 0, LIMIT_CODEC_ELEMENTS + 1);
    buf_commit(&most, LIMIT_CODEC_ELEMENTS + 1);
    assert_int_equal(decode_bytes(most.data, most.len), 0);
    buf_release(&most);
    /* A string of 2 GB, and an unknown list of as many. */
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0c\x00\x06\x0b\x00\x01\x7f\xff\xff\xff\x61")), ERR_TOO_BIG);
    assert_int_equal(decode_bytes(BYTES(TIMED "\x0f\x00\x07\x0b\x7f\xff\xff\xff\x61")), ERR_TOO_BIG);
}

static void test_parts_of_other_releases_are_passed_over(void **state)
{
    (void)state;
    assert_int_equal(decode_bytes(BYTES("\x0e\x00\x07\x0c\x00\x00\x00\x01\x0b\x00\x02\x00\x00\x00\x01x\x00" TIMED
                                        "\x0f\x00\x0c\x0b\x00\x00\x00\x02\x00\x00\x00\x01q\x00\x00\x00\x00\x00")),
                     0);
}

/* schedulerMetadata with a framework id and, unknown to us, a binary of the rest: n bytes in all. */
static int decode_value_of(size_t n)
{
    static const uint8_t begin[] = TIMED "\x0c\x00\x06";
    struct buf b = { 0 };
    buf_add(&b, begin, sizeof(begin) - 1);
    size_t start = b.len;
    for (int id = 20; b.len - start + 8 <= n; id++) { /* strings, each as long as one may be */
        size_t len = n - (b.len - start) - 8;
        if (len > LIMIT_CODEC_STRING_BYTES) len = LIMIT_CODEC_STRING_BYTES;
        uint8_t head[] = { TT_STRING,           0,           (uint8_t)id, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                           (uint8_t)(len >> 8), (uint8_t)len };
        buf_add(&b, head, sizeof(head));
        memset(buf_reserve(&b, len), 'x', len);
        buf_commit(&b, len);
    }
    buf_addc(&b, TT_STOP);
    assert_int_equal(b.len - start, n);
    buf_addc(&b, TT_STOP);
    int err = decode_bytes(b.data, b.len);
    buf_release(&b);
    return err;
}

static void test_largest_value(void **state)
{
    (void)state;
    assert_int_equal(decode_value_of(LIMIT_BACKUP_VALUE_BYTES), 0);
    assert_int_equal(decode_value_of(LIMIT_BACKUP_VALUE_BYTES + 1), ERR_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_is_a_bare_snapshot),
        cmocka_unit_test(test_empty_store),
        cmocka_unit_test(test_many_tasks),
        cmocka_unit_test(test_a_full_disk_ends_it),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_huge_counts),
        cmocka_unit_test(test_parts_of_other_releases_are_passed_over),
        cmocka_unit_test(test_largest_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
