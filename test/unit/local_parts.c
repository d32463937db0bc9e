/* The small parts of mesos-local: scripts of simulations, durations and flags, the CRAM-MD5 digest, fault rules, paths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/err.h"
#include "core/limits.h"
#include "mesos/local/authn.h"
#include "mesos/local/faults.h"
#include "mesos/local/files.h"
#include "mesos/local/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_scripts(void **state)
{
    (void)state;
    struct sim_script s;
    struct buf err = { 0 };
    struct rng r = { 1 };
    sim_defaults(&s);
    assert_int_equal(sim_draw(&s.lifetime, &r), -1);
    assert_int_equal(sim_draw(&s.starting, &r), 0);
    assert_int_equal(sim_parse(STR(" starting=10 lifetime=5-7  outcome=failed:1,lost:3 message=a b "), &s, &err), 0);
    assert_int_equal(s.starting.max_ms, 10);
    assert_string_equal(s.message, "a b ");
    bool seen[3] = { false };
    for (int i = 0; i < 200; i++) {
        int64_t ms = sim_draw(&s.lifetime, &r);
        assert_in_range(ms, 5, 7);
        seen[ms - 5] = true;
        Mesos__TaskState o = sim_draw_outcome(&s, &r);
        assert_true(o == MESOS__TASK_STATE__TASK_FAILED || o == MESOS__TASK_STATE__TASK_LOST);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    static const char *const bad[] = { "x",
                                       "x=1",
                                       "starting",
                                       "starting=",
                                       "starting=-1",
                                       "starting=5-4",
                                       "starting=1x",
                                       "outcome=",
                                       "outcome=happy",
                                       "outcome=failed:0",
                                       "outcome=failed:",
                                       "outcome=failed:1000001",
                                       "starting=99999999999" };
    struct sim_script before = s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_reset(&err);
        if (sim_parse(str_c(bad[i]), &s, &err) != ERR_MALFORMED) fail_msg("'%s' was taken", bad[i]);
        assert_true(err.len > 0);
        assert_memory_equal(&before, &s, sizeof s);
    }
    buf_release(&err);
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        { "0", 0 },         { "7", 7000 },       { "500ms", 500 },    { "1.5secs", 1500 },
        { "2s", 2000 },     { "3mins", 180000 }, { "1hrs", 3600000 }, { "1days", 86400000 },
        { "1000us", 1 },    { "", -1 },          { "-1", -1 },        { "5 s", -1 },
        { "5parsecs", -1 }, { "nan", -1 },       { "inf", -1 },       { "1e300", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        int rc = duration_parse(str_c(cases[i].text), &ms);
        if (rc != (cases[i].ms < 0 ? ERR_MALFORMED : 0) || ms != cases[i].ms) fail_msg("'%s'", cases[i].text);
    }
}

static void test_options(void **state)
{
    (void)state;
    struct options o;
    struct buf err = { 0 };
    char *argv[] = { (char *)"mesos-local",
                     (char *)"--port=5050",
                     (char *)"--agents",
                     (char *)"100000",
                     (char *)"--simulate",
                     (char *)"--no-authenticate",
                     (char *)"--script=running=5",
                     (char *)"--allocation-interval",
                     (char *)"50ms" };
    assert_int_equal(options_parse(9, argv, &o, &err), 0);
    assert_int_equal(o.port, 5050);
    assert_int_equal(o.agents, LIMIT_LOCAL_AGENTS);
    assert_true(o.simulate);
    assert_false(o.authenticate);
    assert_int_equal(o.script.running.min_ms, 5);
    assert_int_equal(o.allocation_interval_ms, 50);
    assert_string_equal(o.ip, "127.0.0.1");
    argv[1] = (char *)"--agents=100001";
    assert_int_equal(options_parse(2, argv, &o, &err), ERR_MALFORMED);
    assert_string_equal(buf_cstr(&err), "--agents: '100001' is not a value for it");
    buf_release(&err);
}

/* The example of RFC 2195. */
static void test_digest(void **state)
{
    (void)state;
    struct timerq q = { 0 };
    struct authn_config c = { .timers = &q, .hostname = "h" };
    struct authn *a = authn_new(&c);
    struct buf err = { 0 };
    struct str challenge = STR("<1896.697170952@postoffice.reston.mci.net>");
    assert_int_equal(authn_load(a, STR("tim tanstaaftanstaaf\n\n other\tx\n"), &err), 0);
    assert_string_equal(authn_check(a, STR("tim b913a602c7eda7a495b4e6e7334d3890"), challenge), "tim");
    assert_null(authn_check(a, STR("tim b913a602c7eda7a495b4e6e7334d3891"), challenge));
    assert_null(authn_check(a, STR("tim B913A602C7EDA7A495B4E6E7334D3890"), challenge));
    assert_null(authn_check(a, STR("other b913a602c7eda7a495b4e6e7334d3890"), challenge));
    assert_null(authn_check(a, STR("nobody b913a602c7eda7a495b4e6e7334d3890"), challenge));
    assert_null(authn_check(a, STR("tim"), challenge));
    assert_null(authn_check(a, STR(""), challenge));
    assert_int_equal(authn_load(a, STR("alone\n"), &err), ERR_MALFORMED);
    assert_int_equal(authn_load(a, STR("{\"credentials\":[{}]}"), &err), ERR_MALFORMED);
    assert_int_equal(authn_load(a, STR("{\"credentials\":5}"), &err), ERR_MALFORMED);
    int rc = 0;
    for (int i = 0; i <= LIMIT_LOCAL_CREDENTIALS && !rc; i++) rc = authn_load(a, STR("p s"), &err);
    assert_int_equal(rc, ERR_TOO_BIG);
    buf_release(&err);
    authn_free(a);
    timerq_release(&q);
}

/* ---------------- faults ---------------- */

static struct buf seen;

static void note(bool incoming, const struct upid *peer, struct str name, const void *body, size_t n, void *arg)
{
    (void)peer;
    (void)name;
    (void)arg;
    buf_addf(&seen, "%s%.*s ", incoming ? "<" : ">", (int)n, (const char *)body);
}

static void pass(struct faults *f, const char *body, int64_t now)
{
    struct upid peer = { "p", 1, 1 };
    faults_pass(f, false, &peer, STR("mesos.internal.X"), (struct str){ 0 }, body, strlen(body), now);
}

static void expect(const char *text)
{
    assert_string_equal(buf_cstr(&seen), text);
    buf_reset(&seen);
}

static void test_faults(void **state)
{
    (void)state;
    struct timerq q = { 0 };
    struct faults_config c = { .timers = &q, .deliver = note };
    struct faults *f = faults_new(&c);
    struct fault drop = { .name = "X", .action = FAULT_DROP, .skip = 1, .count = 2 };
    struct fault other = { .name = "internal", .action = FAULT_DROP, .count = UINT32_MAX };
    struct fault in = { .name = "X", .incoming = true, .action = FAULT_DROP, .count = UINT32_MAX };
    assert_int_equal(faults_add(f, &other), 0);
    assert_int_equal(faults_add(f, &in), 0);
    assert_int_equal(faults_add(f, &drop), 0);
    for (const char *p = "1\0002\0003\0004\0"; *p; p += 2) pass(f, p, 0);
    expect(">1 >4 ");
    faults_clear(f);
    struct fault delay = { .name = "*", .action = FAULT_DELAY, .count = 1, .delay_ms = 50 };
    struct fault reorder = { .name = "mesos.internal.X", .action = FAULT_REORDER, .count = 2 };
    faults_add(f, &delay);
    faults_add(f, &reorder);
    for (const char *p = "1\0002\0003\0004\0"; *p; p += 2) pass(f, p, 0);
    expect(">4 >2 >3 ");
    timerq_run(&q, 50, 10);
    expect(">1 ");
    faults_clear(f);
    faults_add(f, &reorder);
    pass(f, "5", 100); /* nothing comes after it */
    timerq_run(&q, 1099, 10);
    expect("");
    timerq_run(&q, 1100, 10);
    expect(">5 ");
    faults_forget(f);
    faults_clear(f);
    /* No more than so many are held: the oldest goes on. */
    delay.count = UINT32_MAX;
    delay.delay_ms = 1000000;
    faults_add(f, &delay);
    for (int i = 0; i < LIMIT_LOCAL_HELD_MESSAGES; i++) pass(f, i ? "x" : "first", 0);
    expect("");
    pass(f, "y", 0);
    expect(">first ");
    for (int i = 1; i < LIMIT_LOCAL_FAULTS; i++) assert_int_equal(faults_add(f, &delay), 0);
    assert_int_equal(faults_add(f, &delay), ERR_FULL);
    faults_free(f);
    timerq_release(&q);
    buf_release(&seen);
}

/* ---------------- files ---------------- */

static void test_paths(void **state)
{
    (void)state;
    char made[64], path[512], outside[64];
    snprintf(made, sizeof made, "/tmp/local-parts.%d", (int)getpid());
    assert_int_equal(mkdir(made, 0700), 0);
    char *dir = realpath(made, NULL);
    snprintf(outside, sizeof outside, "%s2", dir); /* has the folder's name as its beginning */
    snprintf(path, sizeof path, "%s/a", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    close(open(outside, O_CREAT | O_WRONLY, 0600));
    struct buf out = { 0 };
    uint64_t size = 0;
    assert_int_equal(files_read(files_open(dir, "a"), 2, 3, &out, &size), 0);
    assert_string_equal(buf_cstr(&out), "234");
    assert_int_equal(size, 10);
    assert_int_equal(files_read(files_open(dir, path), 9, 100, &out, &size), 0);
    assert_string_equal(buf_cstr(&out), "2349");
    assert_int_equal(files_open(dir, outside), ERR_REFUSED);
    assert_int_equal(files_open(dir, "../../etc/passwd"), ERR_REFUSED);
    assert_int_equal(files_open(dir, "b"), ERR_NOT_FOUND);
    assert_int_equal(files_open(dir, "/dev/null"), ERR_REFUSED);
    assert_int_equal(files_read(files_open(dir, "."), 0, 1, &out, &size), ERR_UNSUPPORTED);
    assert_int_equal(files_open_sandbox(dir, "", "stdout"), ERR_NOT_FOUND);
    assert_int_equal(files_open_sandbox(dir, "a/b", "stdout"), ERR_NOT_FOUND);
    buf_release(&out);
    unlink(path);
    unlink(outside);
    rmdir(dir);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts), cmocka_unit_test(test_durations), cmocka_unit_test(test_options),
        cmocka_unit_test(test_digest),  cmocka_unit_test(test_faults),    cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
