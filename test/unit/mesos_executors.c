/* The executors that tasks may name. */
#include "core/err.h"
#include "core/limits.h"
#include "mesos/executors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct executors *made(const struct executors_config *c)
{
    struct buf err = { 0 };
    struct executors *e = NULL;
    int rc = executors_new(c, &e, &err);
    if (rc) print_error("%s\n", buf_cstr(&err));
    assert_int_equal(rc, 0);
    buf_release(&err);
    return e;
}

static void assert_refused(const struct executors_config *c, const char *want)
{
    struct buf err = { 0 };
    struct executors *e = NULL;
    assert_int_equal(executors_new(c, &e, &err), ERR_INVALID);
    assert_string_equal(buf_cstr(&err), want);
    assert_null(e);
    buf_release(&err);
}

static void assert_config_refused(const char *text, const char *want)
{
    struct executors_config c = { .custom_executor_config = str_c(text) };
    struct buf full = { 0 };
    buf_addf(&full, "custom_executor_config: %s", want);
    assert_refused(&c, buf_cstr(&full));
    buf_release(&full);
}

static void test_command_executor_is_always_there(void **state)
{
    (void)state;
    struct executors_config c = { 0 };
    struct executors *e = made(&c);
    const struct executor *x = executors_find(e, STR(EXECUTOR_COMMAND));
    assert_non_null(x);
    assert_null(x->info);
    uint32_t n = 0;
    const struct executor_setting *s = executors_settings(e, &n);
    assert_int_equal(n, 1);
    assert_string_equal(s[0].name.p, "CommandExecutor");
    assert_int_equal(s[0].cpus + s[0].ram_mb + s[0].disk_mb, 0);
    assert_null(executors_find(e, STR(EXECUTOR_THERMOS)));
    executors_free(e);
    executors_free(NULL);
}

static struct executors_config thermos(void)
{
    return (struct executors_config){
        .thermos_executor_path = STR("/usr/share/thermos_executor.pex"),
        .thermos_executor_flags = STR("--announcer-ensemble zk:2181"),
        .thermos_executor_resources = STR("http://x/a.sh, http://x/b.tgz,"),
        .thermos_cpus = 250,
        .thermos_ram_mb = 128000,
        .global_container_mounts = STR("/etc/x:/etc/x:ro,/var:/mnt/var:rw"),
    };
}

static void test_thermos(void **state)
{
    (void)state;
    struct executors_config c = thermos();
    struct executors *e = made(&c);
    const struct executor *x = executors_find(e, STR("AuroraExecutor"));
    assert_non_null(x);
    assert_string_equal(x->task_prefix.p, "thermos-");
    assert_string_equal(x->info->name, "AuroraExecutor");
    const Mesos__CommandInfo *cmd = x->info->command;
    assert_string_equal(cmd->value, "${MESOS_SANDBOX=.}/thermos_executor.pex --announcer-ensemble zk:2181");
    assert_int_equal(cmd->n_uris, 3);
    assert_string_equal(cmd->uris[0]->value, "/usr/share/thermos_executor.pex");
    assert_string_equal(cmd->uris[2]->value, "http://x/b.tgz");
    for (int i = 0; i < 3; i++) assert_true(cmd->uris[i]->executable);
    assert_int_equal(x->n_volumes, 2);
    assert_string_equal(x->volumes[0]->host_path, "/etc/x");
    assert_int_equal(x->volumes[0]->mode, MESOS__VOLUME__MODE__RO);
    assert_string_equal(x->volumes[1]->container_path, "/mnt/var");
    assert_int_equal(x->volumes[1]->mode, MESOS__VOLUME__MODE__RW);
    uint32_t n = 0;
    const struct executor_setting *s = executors_settings(e, &n);
    assert_int_equal(n, 2);
    assert_int_equal(s[1].cpus, 250);
    assert_int_equal(s[1].ram_mb, 128000);
    executors_free(e);
}

static void test_thermos_without_flags_in_the_sandbox_home(void **state)
{
    (void)state;
    struct executors_config c = { .thermos_executor_path = STR("thermos.pex"), .thermos_home_in_sandbox = true };
    struct executors *e = made(&c);
    assert_string_equal(executors_find(e, STR("AuroraExecutor"))->info->command->value,
                        "HOME=${MESOS_SANDBOX=.} ${MESOS_SANDBOX=.}/thermos.pex");
    executors_free(e);
}

static void test_bad_thermos_flags(void **state)
{
    (void)state;
    struct executors_config c = thermos();
    c.thermos_executor_path = STR("/usr/share/");
    assert_refused(&c, "thermos_executor_path names no file: /usr/share/");
    c = thermos();
    c.thermos_executor_path = STR("");
    assert_refused(&c, "thermos_executor_path names no file: ");
    c = thermos();
    c.global_container_mounts = STR("/a:/b:ro,/a:/b");
    assert_refused(&c, "global_container_mounts: /a:/b is not host:container:ro or host:container:rw");
    c.global_container_mounts = STR("/a:/b:ro:rw");
    assert_refused(&c, "global_container_mounts: /a:/b:ro:rw is not host:container:ro or host:container:rw");
}

/* The shape of Aurora's documented sample, booleans as strings included. */
static const char sample[] =
    "[{\"executor\": {\"name\": \"docker-compose\", \"command\": {\"value\": \"./executor\", \"shell\": \"true\","
    " \"uris\": [{\"value\": \"https://x/compose.tgz\", \"executable\": \"false\", \"extract\": true, \"cache\": "
    "true}]},"
    " \"resources\": [{\"name\": \"cpus\", \"type\": \"SCALAR\", \"scalar\": {\"value\": 0.25}},"
    " {\"name\": \"mem\", \"type\": \"SCALAR\", \"scalar\": {\"value\": 32}}]},"
    " \"volume_mounts\": [{\"host_path\": \"/h\", \"container_path\": \"/c\", \"mode\": \"RO\"}],"
    " \"task_prefix\": \"compose-\"},"
    " {\"executor\": {\"name\": \"two\", \"command\": {\"value\": \"x\"}}, \"task_prefix\": \"\"}]";

static void test_custom_executors(void **state)
{
    (void)state;
    struct executors_config c = { .custom_executor_config = str_c(sample) };
    struct executors *e = made(&c);
    const struct executor *x = executors_find(e, STR("docker-compose"));
    assert_non_null(x);
    assert_string_equal(x->task_prefix.p, "compose-");
    assert_string_equal(x->info->command->value, "./executor");
    assert_true(x->info->command->has_shell && x->info->command->shell);
    assert_false(x->info->command->uris[0]->executable);
    assert_true(x->info->command->uris[0]->has_cache && x->info->command->uris[0]->cache);
    assert_int_equal(x->n_volumes, 1);
    assert_int_equal(x->volumes[0]->mode, MESOS__VOLUME__MODE__RO);
    assert_non_null(executors_find(e, STR("two")));
    uint32_t n = 0;
    const struct executor_setting *s = executors_settings(e, &n);
    assert_int_equal(n, 3);
    assert_int_equal(s[1].cpus, 250);
    assert_int_equal(s[1].ram_mb, 32000);
    executors_free(e);
}

#define ENTRY(executor, rest) "[{\"executor\": {" executor "}" rest "}]"
#define OK "\"name\": \"x\", \"command\": {}"
#define PREFIX ", \"task_prefix\": \"p\""

static void test_bad_configurations_say_where(void **state)
{
    (void)state;
    assert_config_refused("", "not JSON, at byte 0");
    assert_config_refused("[] x", "not JSON, at byte 3");
    assert_config_refused("{}", "not a JSON list");
    assert_config_refused("[{}]", "[0]: executor: missing");
    assert_config_refused("[1]", "[0]: executor: missing");
    assert_config_refused("[[{}]]", "[0]: entry: ");
    assert_config_refused(ENTRY(OK, ""), "[0]: task_prefix: missing");
    assert_config_refused(ENTRY(OK, ", \"task_prefix\": 1"), "[0]: task_prefix: not a string");
    assert_config_refused(ENTRY(OK, PREFIX ", \"more\": 1"), "[0]: more: unknown");
    assert_config_refused(ENTRY("\"command\": {}", PREFIX), "[0]: executor: name: missing");
    assert_config_refused(ENTRY("\"name\": \"x\"", PREFIX), "[0]: executor: command: missing");
    assert_config_refused(ENTRY("\"nam\": \"x\"", PREFIX), "[0]: executor: nam: unknown");
    assert_config_refused(ENTRY("\"name\": \"x\", \"command\": {\"shell\": \"yes\"}", PREFIX),
                          "[0]: executor: command.shell: not true or false");
    assert_config_refused(ENTRY(OK ", \"resources\": [{\"name\": \"cpus\", \"type\": \"scalar\"}]", PREFIX),
                          "[0]: executor: resources.type: not one of the names of this enum");
    assert_config_refused(ENTRY(OK ", \"resources\": [{\"name\": \"cpus\"}]", PREFIX),
                          "[0]: executor: resources.type: missing");
    assert_config_refused(ENTRY(OK ", \"shutdown_grace_period\": {\"nanoseconds\": 1.5}", PREFIX),
                          "[0]: executor: shutdown_grace_period.nanoseconds: not an integer of the right range");
    assert_config_refused(ENTRY(OK, PREFIX ", \"volume_mounts\": [{\"container_path\": \"/c\"}]"),
                          "[0]: volume_mounts: mode: missing");
    assert_config_refused("[{\"executor\": {" OK "}" PREFIX "}, {\"executor\": {" OK "}" PREFIX "}]",
                          "[1]: the executor x is there twice");
    assert_config_refused(ENTRY("\"name\": \"CommandExecutor\", \"command\": {}", PREFIX),
                          "[0]: the executor CommandExecutor is there twice");
}

static void test_executors_are_bounded(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_addc(&b, '[');
    for (int i = 1; i < LIMIT_EXECUTORS; i++)
        buf_addf(&b, "%s{\"executor\":{\"name\":\"x%d\",\"command\":{}},\"task_prefix\":\"\"}", i > 1 ? "," : "", i);
    size_t len = b.len;
    buf_addc(&b, ']');
    struct executors_config c = { .custom_executor_config = { (char *)b.data, (uint32_t)b.len } };
    executors_free(made(&c)); /* with CommandExecutor just as many as allowed */
    b.len = len;
    buf_adds(&b, ",{\"executor\":{\"name\":\"y\",\"command\":{}},\"task_prefix\":\"\"}]");
    assert_config_refused(buf_cstr(&b), "[999]: more than 1000 executors");
    buf_release(&b);
}

static void test_the_file_is_bounded(void **state)
{
    (void)state;
    char *text = malloc(LIMIT_EXECUTOR_CONFIG_BYTES + 2);
    memset(text, ' ', LIMIT_EXECUTOR_CONFIG_BYTES + 1);
    text[0] = '[';
    text[1] = ']';
    struct executors_config c = { .custom_executor_config = { text, LIMIT_EXECUTOR_CONFIG_BYTES } };
    executors_free(made(&c));
    c.custom_executor_config.n++;
    assert_refused(&c, "custom_executor_config: over 4194304 bytes");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_executor_is_always_there),
        cmocka_unit_test(test_thermos),
        cmocka_unit_test(test_thermos_without_flags_in_the_sandbox_home),
        cmocka_unit_test(test_bad_thermos_flags),
        cmocka_unit_test(test_custom_executors),
        cmocka_unit_test(test_bad_configurations_say_where),
        cmocka_unit_test(test_executors_are_bounded),
        cmocka_unit_test(test_the_file_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
