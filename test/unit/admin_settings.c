/* Flags and the files that they name become settings; each mistake has its line. */
#include "admin/settings.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
    struct flags flags;
    struct settings settings;
    struct buf err;
    char path[64]; /* of a file that a flag names */
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/admin_settings.XXXXXX");
    *state = f;
    int fd = mkstemp(f->path);
    return fd < 0 || close(fd) != 0;
}

static void tear_down_settings(struct fixture *f)
{
    settings_release(&f->settings);
    flags_release(&f->flags);
    buf_reset(&f->err);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tear_down_settings(f);
    buf_release(&f->err);
    unlink(f->path);
    free(f);
    return 0;
}

/* Settings of the required flags and one more, which names the file if it ends in =. */
static int read_with(struct fixture *f, const char *flag, const char *file_content)
{
    char word[128];
    (void)snprintf(word, sizeof(word), "%s%s", flag, file_content ? f->path : "");
    const char *argv[] = { "aurora-scheduler", "-cluster_name=c", "-native_log_file_path=l",
                           "-mesos_master_address=h:5050", word };
    if (file_content) {
        FILE *file = fopen(f->path, "w");
        assert_non_null(file);
        (void)fputs(file_content, file);
        (void)fclose(file);
    }
    tear_down_settings(f);
    bool master = strncmp(flag, "-mesos_master", 13) == 0;
    if (master) argv[3] = word;
    int rv = flags_parse(&f->flags, master ? 4 : 5, argv, NULL, NULL, &f->err);
    return rv != 0 ? rv : settings_from_flags(&f->settings, &f->flags, &f->err);
}

static void assert_error(struct fixture *f, const char *flag, const char *content, const char *expected)
{
    assert_int_equal(read_with(f, flag, content), ERR_INVALID);
    assert_string_equal(buf_cstr(&f->err), expected);
}

static void test_scheduler_settings(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_with(f, "-history_prune_threshold=1500us", NULL), 0);
    const struct sched_config *c = &f->settings.sched;
    assert_string_equal(c->cluster_name.p, "c");
    assert_int_equal(c->history_prune_threshold, 2);
    assert_int_equal(c->max_sla_duration_secs, 7200);
    assert_int_equal(c->reconciliation_explicit_batch_size, 1000);
    assert_true(c->allow_mesos);
    assert_false(c->allow_docker);
    assert_true(c->max_schedule_attempts_per_sec == 40);
    assert_int_equal(c->n_tiers, 3);
    assert_string_equal(c->default_tier.p, "preemptible");
}

static void test_zookeeper(void **state)
{
    struct fixture *f = *state;
#define ZK "-zk_endpoints=a:2181,b:2181"
    static const struct {
        const char *words[6];
        const char *text; /* NULL: fine */
    } rows[] = {
        { { ZK, "-serverset_path=/aurora/scheduler" }, NULL },
        { { ZK, "-serverset_path=/a", "-native_log_zk_group_path=/b", "-native_log_quorum_size=2" }, NULL },
        { { ZK, "-serverset_path=/a", "-zk_chroot_path=/c", "-zk_digest_credentials=u:p" }, NULL },
        { { "-serverset_path=/a" }, NULL },
        { { ZK }, "flag -zk_endpoints needs -serverset_path" },
        { { ZK, "-serverset_path=/" }, "flag -serverset_path: '/' is not of the form /name/name" },
        { { ZK, "-serverset_path=a/b" }, "flag -serverset_path: 'a/b' is not of the form /name/name" },
        { { ZK, "-serverset_path=/a//b" }, "flag -serverset_path: '/a//b' is not of the form /name/name" },
        { { ZK, "-serverset_path=/a", "-zk_chroot_path=c" },
          "flag -zk_chroot_path: 'c' is not of the form /name/name" },
        { { "-native_log_quorum_size=2" }, "flag -native_log_quorum_size: more than 1 needs -zk_endpoints" },
        { { ZK, "-serverset_path=/a", "-native_log_quorum_size=2" },
          "flag -native_log_quorum_size: more than 1 needs -native_log_zk_group_path" },
        { { "-zk_endpoints=a:*", "-serverset_path=/a" }, "flag -zk_endpoints: a port is a number" },
        { { ZK, "-serverset_path=/a", "-zk_digest_credentials=u:p:q" },
          "flag -zk_digest_credentials is not of the form user:password" },
        { { ZK, "-serverset_path=/a", "-zk_digest_credentials=u" },
          "flag -zk_digest_credentials is not of the form user:password" },
    };
#undef ZK
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *argv[10] = { "aurora-scheduler", "-cluster_name=c", "-native_log_file_path=l",
                                 "-mesos_master_address=h:5050" };
        int n = 4;
        for (const char *const *w = rows[i].words; *w; w++) argv[n++] = *w;
        tear_down_settings(f);
        assert_int_equal(flags_parse(&f->flags, n, argv, NULL, NULL, &f->err), 0);
        assert_int_equal(settings_from_flags(&f->settings, &f->flags, &f->err), rows[i].text ? ERR_INVALID : 0);
        assert_string_equal(buf_cstr(&f->err), rows[i].text ? rows[i].text : "");
    }
}

static void test_environments(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_with(f, "-http_port=0", NULL), 0);
    const struct sched_config *c = &f->settings.sched;
    static const struct {
        const char *env;
        bool ok;
    } rows[] = { { "prod", true },   { "devel", true },  { "test", true }, { "staging", true }, { "staging42", true },
                 { "prod1", false }, { "xprod", false }, { "", false },    { "prod\n", false } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(c->environment_ok(str_c(rows[i].env), c->environment_arg), rows[i].ok);
    assert_int_equal(read_with(f, "-allowed_job_environments=a|bc", NULL), 0);
    assert_true(c->environment_ok(STR("bc"), c->environment_arg));
    assert_false(c->environment_ok(STR("b"), c->environment_arg));
    assert_false(c->environment_ok(STR("ac"), c->environment_arg));
    assert_error(f, "-allowed_job_environments=(", NULL,
                 "flag -allowed_job_environments: missing closing parenthesis at character 1");
    /* A pattern that backtracks without end gives up instead. */
    assert_int_equal(read_with(f, "-allowed_job_environments=(a*)*b", NULL), 0);
    char many[200];
    memset(many, 'a', sizeof(many));
    assert_false(c->environment_ok((struct str){ many, sizeof(many) }, c->environment_arg));
}

static void test_tiers(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        read_with(f, "-tier_config=", "{\"default\":\"b\",\"tiers\":{\"a\":{},\"b\":{\"revocable\":true}}}"), 0);
    assert_int_equal(f->settings.sched.n_tiers, 2);
    assert_string_equal(f->settings.sched.tiers[1].name.p, "b");
    assert_true(f->settings.sched.tiers[1].revocable);
    assert_false(f->settings.sched.tiers[1].preemptible);
    assert_error(f, "-tier_config=", "{", "flag -tier_config: not valid JSON");
    assert_error(f, "-tier_config=", "{\"default\":\"a\",\"tiers\":{}}",
                 "flag -tier_config: not of the form {\"default\": NAME, \"tiers\": {NAME: {...}, ...}}");
    assert_error(f, "-tier_config=", "{\"default\":\"x\",\"tiers\":{\"a\":{}}}",
                 "flag -tier_config: the default 'x' is not one of the tiers");
    assert_error(f, "-tier_config=", "{\"default\":\"a\",\"tiers\":{\"a\":{\"preemptable\":true}}}",
                 "flag -tier_config: tier 'a': unknown member 'preemptable'");
    assert_error(f, "-tier_config=", "{\"default\":\"a\",\"tiers\":{\"a\":{\"revocable\":1}}}",
                 "flag -tier_config: tier 'a' is not {\"preemptible\": true|false, \"revocable\": true|false}");
    assert_error(f, "-tier_config=/nowhere/at/all", NULL, "flag -tier_config: can't read /nowhere/at/all: not found");
}

static void test_credential(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_with(f, "-framework_authentication_file=",
                               "# who\naurora_authentication_principal = aurora\r\naurora_authentication_secret:s=e\n"),
                     0);
    assert_string_equal(f->settings.principal.p, "aurora");
    assert_string_equal(f->settings.secret.p, "s=e");
    assert_error(f, "-framework_authentication_file=", "aurora_authentication_principal=aurora\n",
                 "flag -framework_authentication_file: the file must set aurora_authentication_principal and "
                 "aurora_authentication_secret");
}

static void test_master_address(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_with(f, "-mesos_master_address=master.example.com:5050", NULL), 0);
    assert_int_equal(read_with(f, "-mesos_master_address=zk://u:p@a:2181,b:2181/mesos", NULL), 0);
    assert_error(f, "-mesos_master_address=zk://a:2181/", NULL,
                 "flag -mesos_master_address: not of the form zk://[user:password@]host:port,.../path");
    assert_error(f, "-mesos_master_address=host", NULL, "flag -mesos_master_address: 'host' is not host:port");
    assert_error(f, "-mesos_master_address=host:0", NULL, "flag -mesos_master_address: 'host:0' is not host:port");
    assert_error(f, "-mesos_master_address=host:65536", NULL,
                 "flag -mesos_master_address: 'host:65536' is not host:port");
}

static void test_docker_parameters(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_with(f, "-default_docker_parameters=a=b=c,d=", NULL), 0);
    assert_int_equal(f->settings.sched.n_default_docker_parameters, 2);
    assert_string_equal(f->settings.sched.default_docker_parameters[0].name.p, "a");
    assert_string_equal(f->settings.sched.default_docker_parameters[0].value.p, "b=c");
    assert_string_equal(f->settings.sched.default_docker_parameters[1].value.p, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scheduler_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_environments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tiers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_credential, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_master_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_zookeeper, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_docker_parameters, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
