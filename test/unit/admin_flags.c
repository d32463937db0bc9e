/* The command line in both grammars of Aurora, and what is wrong with a wrong one. */
#include "admin/flags.h"

#include "core/err.h"
#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define REQUIRED "-cluster_name=c", "-native_log_file_path=/tmp/l", "-mesos_master_address=127.0.0.1:5050"

static int read_nothing(const char *path, struct buf *out, void *arg)
{
    (void)out, (void)arg;
    return strcmp(path, "missing") == 0 ? ERR_NOT_FOUND : ERR_IO;
}

static int read_text(const char *path, struct buf *out, void *arg)
{
    (void)path;
    buf_adds(out, arg);
    return 0;
}

/* Parses the words up to NULL; the text of an error is in `said`. */
static char said[1024];

static int parse_with(struct flags *f, flags_read_file read, void *arg, const char *const *words)
{
    const char *argv[LIMIT_FLAG_ARGUMENTS + 16] = { "aurora-scheduler" };
    int argc = 1;
    while (*words) argv[argc++] = *words++;
    struct buf err = { 0 };
    memset(f, 0, sizeof(*f));
    int rv = flags_parse(f, argc, argv, read, arg, &err);
    strncpy(said, buf_cstr(&err), sizeof(said) - 1);
    buf_release(&err);
    return rv;
}

#define PARSE(f, ...) parse_with((f), read_nothing, NULL, (const char *const[]){ __VA_ARGS__, NULL })

static void assert_refused(const char *text, const char *const *words)
{
    struct flags f;
    assert_int_equal(parse_with(&f, read_nothing, NULL, words), ERR_INVALID);
    assert_string_equal(said, text);
    assert_null(strchr(said, '\n'));
    flags_release(&f);
}
#define REFUSED(text, ...) assert_refused((text), (const char *const[]){ __VA_ARGS__, NULL })

static void test_defaults(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, REQUIRED), 0);
    assert_string_equal(flag_text(&f, FLAG_cluster_name), "c");
    assert_int_equal(flag_int(&f, FLAG_http_port), 0);
    assert_null(flag_text(&f, FLAG_hostname));
    assert_int_equal(flag_ms(&f, FLAG_framework_failover_timeout), 21 * 86400000LL);
    assert_int_equal(flag_bytes(&f, FLAG_dlog_max_entry_size), 512 << 10);
    assert_true(flag_double(&f, FLAG_max_schedule_attempts_per_sec) == 40);
    assert_true(flag_bool(&f, FLAG_require_docker_use_executor));
    assert_int_equal(flag_int(&f, FLAG_offer_static_ban_cache_max_size), INT64_MAX);
    uint32_t n;
    assert_string_equal(flag_list(&f, FLAG_sla_prod_metrics, &n)[1].p, "PLATFORM_UPTIME");
    assert_int_equal(n, 3);
    assert_false(f.v[FLAG_http_port].given);
    flags_release(&f);
}

static void test_both_grammars(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, "-cluster_name", "two words", "--native_log_file_path=/a=b",
                           "-org.apache.aurora.scheduler.mesos.Driver$Options.mesos_master_address=\" h:1 \"",
                           "-partition_aware", "-no_require_docker_use_executor", "-hold_offers_forever", "TRUE",
                           "-no_enable_revocable_cpus=false", "-zk_chroot_path=", "-http_port", "8081",
                           "-thermos_executor_flags", "--announcer-ensemble x", "-logtostderr"),
                     0);
    assert_string_equal(flag_text(&f, FLAG_cluster_name), "two words");
    assert_string_equal(flag_text(&f, FLAG_native_log_file_path), "/a=b");
    assert_string_equal(flag_text(&f, FLAG_mesos_master_address), " h:1 ");
    assert_true(flag_bool(&f, FLAG_partition_aware));
    assert_false(flag_bool(&f, FLAG_require_docker_use_executor));
    assert_true(flag_bool(&f, FLAG_hold_offers_forever));
    assert_true(flag_bool(&f, FLAG_enable_revocable_cpus));
    assert_string_equal(flag_text(&f, FLAG_zk_chroot_path), "");
    assert_int_equal(flag_int(&f, FLAG_http_port), 8081);
    assert_string_equal(flag_text(&f, FLAG_thermos_executor_flags), "--announcer-ensemble x");
    assert_true(flag_bool(&f, FLAG_logtostderr));
    flags_release(&f);
}

static void test_lists(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, REQUIRED, "-allowed_container_types=mesos,Docker", "-thermos_executor_resources=a, b,",
                           "-thermos_executor_resources=c", "-sla_prod_metrics=''",
                           "-global_container_mounts=/a:/b:rw,/c:/d:RO", "-default_docker_parameters=k=v=w"),
                     0);
    uint32_t n;
    const struct str *v = flag_list(&f, FLAG_allowed_container_types, &n);
    assert_int_equal(n, 2);
    assert_string_equal(v[1].p, "DOCKER");
    v = flag_list(&f, FLAG_thermos_executor_resources, &n);
    assert_int_equal(n, 3);
    assert_string_equal(v[1].p, "b");
    assert_string_equal(v[2].p, "c");
    assert_string_equal(flag_text(&f, FLAG_thermos_executor_resources), "a,b,c");
    flag_list(&f, FLAG_sla_prod_metrics, &n);
    assert_int_equal(n, 0);
    flag_list(&f, FLAG_global_container_mounts, &n);
    assert_int_equal(n, 2);
    flag_list(&f, FLAG_default_docker_parameters, &n);
    assert_int_equal(n, 1);
    flags_release(&f);
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *time;
        int64_t ms;
    } times[] = { { "-max_schedule_penalty=1ns", 1 },        { "-max_schedule_penalty=1500us", 2 },
                  { "-max_schedule_penalty=7ms", 7 },        { "-max_schedule_penalty=2secs", 2000 },
                  { "-max_schedule_penalty=3mins", 180000 }, { "-max_schedule_penalty=106751days", 9223286400000 } };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct flags f;
        assert_int_equal(PARSE(&f, REQUIRED, times[i].time), 0);
        assert_int_equal(flag_ms(&f, FLAG_max_schedule_penalty), times[i].ms);
        flags_release(&f);
    }
    static const struct {
        const char *data;
        int64_t bytes;
    } data[] = { { "-thermos_executor_ram=9BITS", 2 },
                 { "-thermos_executor_ram=1Kb", 128 },
                 { "-thermos_executor_ram=3BYTES", 3 },
                 { "-thermos_executor_ram=2GB", INT64_C(2) << 30 },
                 { "-thermos_executor_ram=1PB", INT64_C(1) << 50 } };
    for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
        struct flags f;
        assert_int_equal(PARSE(&f, REQUIRED, data[i].data), 0);
        assert_int_equal(flag_bytes(&f, FLAG_thermos_executor_ram), data[i].bytes);
        flags_release(&f);
    }
}

static void test_refused(void **state)
{
    (void)state;
    REFUSED("flag -cluster_name is required: name of the cluster, shown to clients", "-http_port=1");
    REFUSED("unknown flag -clustername (see -help)", "-clustername=x");
    REFUSED("unknown flag -no_cluster_name (see -help)", "-no_cluster_name");
    REFUSED("'word' is not a flag: flags begin with a dash (see -help)", REQUIRED, "word");
    REFUSED("flag -http_port is given more than once", "-http_port=1", "-http_port=1");
    REFUSED("flag -http_port: 'x' is not an integer", "-http_port=x");
    REFUSED("flag -http_port: '' is not an integer", "-http_port=");
    REFUSED("flag -http_port: '65536' must be a port, 0 to 65535", "-http_port=65536");
    REFUSED("flag -http_port needs a value: an integer", "-http_port", "-partition_aware");
    REFUSED("flag -http_port needs a value: an integer", "-http_port");
    REFUSED("flag -max_tasks_per_job: '2147483648' is not an integer", "-max_tasks_per_job=2147483648");
    REFUSED("flag -max_tasks_per_job: '0' must be greater than 0", "-max_tasks_per_job=0");
    REFUSED("flag -max_schedule_attempts_per_sec: 'nan' is not a number", "-max_schedule_attempts_per_sec=nan");
    REFUSED("flag -partition_aware: 'yes' is not true or false", "-partition_aware=yes");
    REFUSED("flag -cluster_name: '' must not be empty", "-cluster_name=");
    static const char *const times[] = {
        "1min", "5s", "1.5secs", "-1secs", "secs", "9999999999999999999days", "1 secs"
    };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char word[64];
        char text[160];
        (void)snprintf(word, sizeof(word), "-backup_interval=%s", times[i]);
        (void)snprintf(text, sizeof(text),
                       "flag -backup_interval: '%s' is not a time like 30secs (units: ns us ms secs mins hrs days)",
                       times[i]);
        REFUSED(text, word);
    }
    REFUSED("flag -dlog_max_entry_size: '1kb' is not an amount like 512KB (units: BITS Kb Mb Gb BYTES KB MB GB TB PB)",
            "-dlog_max_entry_size=1kb");
    REFUSED("flag -allowed_container_types: 'APPC' is not MESOS|DOCKER", "-allowed_container_types=APPC");
    REFUSED("flag -zk_endpoints: 'host' is not host:port,...", "-zk_endpoints=host");
    REFUSED("flag -global_container_mounts: '/a:/b' is not host:container:rw|ro,...", "-global_container_mounts=/a:/b");
    REFUSED("can't read the arguments in missing: not found", "@missing");
}

/* A flag whose neglect would open the cluster or split the log must not be ignored. */
static void test_unsafe_to_ignore(void **state)
{
    (void)state;
    static const char *const words[] = { "-http_authentication_mechanism=BASIC", "-auth_module=com.example.Ldap",
                                         "-no_enable_job_creation" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct flags f;
        assert_int_equal(PARSE(&f, REQUIRED, words[i]), ERR_INVALID);
        assert_non_null(strstr(said, "ignoring the flag would not be safe"));
        flags_release(&f);
    }
    struct flags f;
    assert_int_equal(PARSE(&f, REQUIRED, "-http_authentication_mechanism=none", "-zk_in_proc=false"), 0);
    flags_release(&f);
}

static void test_warnings(void **state)
{
    (void)state;
    struct flags f;
    struct buf b = { 0 };
    assert_int_equal(PARSE(&f, REQUIRED, "-zk_use_curator", "-webhook_config=x", "-http_port=1"), 0);
    assert_string_equal(flag_warning(&f, FLAG_zk_use_curator, &b),
                        "flag -zk_use_curator has no effect: there is one client");
    assert_string_equal(
        flag_warning(&f, FLAG_webhook_config, &b),
        "flag -webhook_config has no effect in this version (JSON file: where to announce task changes)");
    assert_null(flag_warning(&f, FLAG_http_port, &b));
    assert_null(flag_warning(&f, FLAG_backup_dir, &b));
    buf_release(&b);
    flags_release(&f);
}

static void test_files(void **state)
{
    (void)state;
    struct flags f;
    const char *const words[] = { "@file", "-http_port=7", NULL };
    assert_int_equal(parse_with(&f, read_text,
                                "# a comment\n\n-cluster_name=in file\r\n -native_log_file_path\n/l\n"
                                "-mesos_master_address=h:1",
                                words),
                     0);
    assert_string_equal(flag_text(&f, FLAG_cluster_name), "in file");
    assert_string_equal(flag_text(&f, FLAG_native_log_file_path), "/l");
    assert_int_equal(flag_int(&f, FLAG_http_port), 7);
    flags_release(&f);
    /* As a value, @ is just a character. */
    assert_int_equal(PARSE(&f, REQUIRED, "-hostname=@file"), 0);
    assert_string_equal(flag_text(&f, FLAG_hostname), "@file");
    flags_release(&f);
}

static void test_secrets_are_masked(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, REQUIRED, "-zk_digest_credentials=u:p"), 0);
    assert_string_equal(f.command_line.p, "-cluster_name=c -native_log_file_path=/tmp/l "
                                          "-mesos_master_address=127.0.0.1:5050 -zk_digest_credentials=<masked>");
    assert_string_equal(flag_shown(&f, FLAG_zk_digest_credentials).p, "<masked>");
    flags_release(&f);
    assert_int_equal(PARSE(&f, REQUIRED, "-zk_digest_credentials", "u:p"), 0);
    assert_null(strstr(f.command_line.p, "u:p"));
    flags_release(&f);
    REFUSED("flag -zk_digest_credentials is given more than once", "-zk_digest_credentials=u:p",
            "-zk_digest_credentials=u:p");
}

static void test_help(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, "-http_port=1", "nonsense", "--help"), 0);
    assert_true(f.help);
    flags_release(&f);
    struct buf b = { 0 };
    flags_help(&b);
    for (int id = 0; id < FLAG_COUNT; id++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "\n  -%s=", flag_name((enum flag_id)id));
        assert_non_null(strstr(buf_cstr(&b), line));
    }
    buf_release(&b);
}

static void test_argument_limit(void **state)
{
    (void)state;
    static const char *words[LIMIT_FLAG_ARGUMENTS + 2];
    for (int i = 0; i < LIMIT_FLAG_ARGUMENTS + 1; i++) words[i] = "-thermos_executor_resources=x";
    words[0] = "-cluster_name=c";
    words[1] = "-native_log_file_path=l";
    words[2] = "-mesos_master_address=m";
    struct flags f;
    assert_int_equal(parse_with(&f, NULL, NULL, words), ERR_INVALID);
    assert_string_equal(said, "more than 4096 arguments");
    flags_release(&f);
    words[LIMIT_FLAG_ARGUMENTS] = NULL;
    assert_int_equal(parse_with(&f, NULL, NULL, words), 0);
    flags_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_both_grammars),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unsafe_to_ignore),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_secrets_are_masked),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_argument_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
