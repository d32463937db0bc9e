/* Every message of the validation, in its order, and the defaults. */
#include "core/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct executor_setting executor = { { "AuroraExecutor", 14 }, 250, 128000, 0 };
static struct arena arena;
static struct sched_config sc;

static int setup(void **state)
{
    (void)state;
    sched_config_defaults(&sc);
    sc.executors = &executor;
    sc.n_executors = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static struct api_job_configuration *parse(const char *json)
{
    struct buf err = { 0 };
    struct api_job_configuration *j = ARENA_NEW(&arena, struct api_job_configuration);
    if (json_read(json, strlen(json), &api_job_configuration_desc, j, &arena, JSON_STRICT, &err))
        fail_msg("%s: %s", json, buf_cstr(&err));
    buf_release(&err);
    thrift_normalize(&api_job_configuration_desc, j, &arena);
    return j;
}

/* "" or the message. */
static const char *verdict(struct api_job_configuration *j)
{
    struct validation v = { .config = &sc, .arena = &arena };
    return validate_job(&v, j) ? "" : v.message.p;
}

#define KEY "{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"n\"}"
#define EXEC "\"executorConfig\":{\"name\":\"AuroraExecutor\",\"data\":\"x\"}"
#define RESOURCES "\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1}]"
#define TASK(more) "{\"job\":" KEY "," EXEC "," RESOURCES more "}"

static struct api_job_configuration *job(const char *task)
{
    return parse(
        arena_strf(&arena, "{\"key\":" KEY ",\"owner\":{\"user\":\"u\"},\"instanceCount\":30,\"taskConfig\":%s}", task)
            .p);
}

static void expect_task(const char *task, const char *message)
{
    assert_string_equal(verdict(job(task)), message);
}

static void good_job_gets_defaults(void **state)
{
    (void)state;
    struct api_job_configuration *j = job(
        "{\"job\":" KEY "," EXEC ",\"production\":true,\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{"
        "\"namedPort\":\"http\"},{\"namedPort\":\"health\"}]}");
    assert_string_equal(verdict(j), "");
    assert_true(str_eq(j->task_config->tier, STR("preemptible")));
    assert_false(j->task_config->production);
    assert_int_equal(j->task_config->n_task_links, 2);
    assert_true(str_eq(j->task_config->task_links_keys[0], STR("health")));
    assert_true(str_eq(j->task_config->task_links[0], STR("http://%host%:%port:health%")));
    assert_true(str_eq(j->task_config->task_links[1], STR("http://%host%:%port:http%")));

    j = job(TASK(",\"tier\":\"preferred\",\"taskLinks\":{\"a\":\"b\"}"));
    assert_string_equal(verdict(j), "");
    assert_true(j->task_config->production);
    assert_int_equal(j->task_config->n_task_links, 1);
}

static void job_level_checks_in_order(void **state)
{
    (void)state;
    assert_string_equal(verdict(parse("{}")), "Job configuration must have taskConfig set.");
    assert_string_equal(verdict(parse("{\"taskConfig\":{}}")), "Instance count must be positive.");
    assert_string_equal(verdict(parse("{\"taskConfig\":{},\"instanceCount\":1}")), "Job key null is invalid.");
    assert_string_equal(
        verdict(parse("{\"taskConfig\":{},\"instanceCount\":1,\"key\":{\"role\":\"a b\",\"name\":\"n\"}}")),
        "Job key IJobKey{role=a b, environment=null, name=n} is invalid.");
    assert_string_equal(
        verdict(parse(
            "{\"taskConfig\":{},\"instanceCount\":1,\"key\":{\"role\":\"a\",\"environment\":\"e\",\"name\":\"n\"}}")),
        "Job environment e doesn't match: ^(prod|devel|test|staging\\d*)$");
    assert_string_equal(
        verdict(parse("{\"taskConfig\":{},\"instanceCount\":1,\"key\":" KEY ",\"owner\":{\"user\":\"a/b\"}}")),
        "Job user contains illegal characters: a/b");
    assert_string_equal(
        verdict(parse("{\"instanceCount\":1,\"key\":" KEY
                      ",\"cronSchedule\":\"* * * * *\",\"taskConfig\":" TASK(",\"isService\":true") "}")),
        "A service task may not be run on a cron schedule: r/prod/n");
}

static void environments_match_in_full(void **state)
{
    (void)state;
    static const char *const good[] = { "prod", "devel", "test", "staging", "staging1", "staging42" };
    static const char *const bad[] = { "production", "", "stagingx", "Prod", "staging1x" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(sc.environment_ok(str_c(good[i]), NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(sc.environment_ok(str_c(bad[i]), NULL));
}

static void identifiers_end_at_their_limit(void **state)
{
    (void)state;
    char tier[300];
    memset(tier, 'a', sizeof tier);
    tier[255] = 0;
    struct str json = arena_strf(&arena, TASK(",\"tier\":\"%s\""), tier);
    expect_task(json.p, arena_strf(&arena, "Invalid tier '%s' in TaskConfig.", tier).p);
    tier[255] = 'a';
    tier[256] = 0;
    json = arena_strf(&arena, TASK(",\"tier\":\"%s\""), tier);
    expect_task(json.p, arena_strf(&arena, "Tier contains illegal characters: %s", tier).p);
}

static void task_level_checks(void **state)
{
    (void)state;
    expect_task(TASK(",\"tier\":\"a b\""), "Tier contains illegal characters: a b");
    expect_task(TASK(",\"tier\":\"gold\""), "Invalid tier 'gold' in TaskConfig.");
    expect_task("{}", "Job key null is invalid.");
    expect_task("{\"job\":" KEY "}", "Configuration may not be null.");
    expect_task("{\"job\":" KEY ",\"executorConfig\":{}}", "Executor name may not be left unset.");
    expect_task("{\"job\":" KEY ",\"executorConfig\":{\"name\":\"X\"}}",
                "Configuration for executor 'X' doesn't exist.");
    expect_task("{\"job\":" KEY "," EXEC "}", "num_cpus must be greater than 0.0");
    expect_task("{\"job\":" KEY "," EXEC ",\"resources\":[{\"numCpus\":0}]}", "num_cpus must be greater than 0.0");
    expect_task("{\"job\":" KEY "," EXEC ",\"resources\":[{\"numCpus\":1}]}", "ram_mb must be greater than 0.0");
    expect_task("{\"job\":" KEY "," EXEC ",\"resources\":[{\"numCpus\":1},{\"ramMb\":1}]}",
                "disk_mb must be greater than 0.0");
    expect_task("{\"job\":" KEY "," EXEC
                ",\"resources\":[{\"numCpus\":1},{\"numCpus\":2},{\"ramMb\":1},{\"ramMb\":2},{\"diskMb\":1}]}",
                "Multiple resource values are not supported for CPU, RAM");
    expect_task("{\"job\":" KEY "," EXEC
                ",\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{\"numGpus\":1}]}",
                "GPU resource support is disabled in this cluster.");
    expect_task(TASK(",\"mesosFetcherUris\":[{\"value\":\"http://x\"}]"),
                "Mesos Fetcher for individual jobs is disabled in this cluster.");
    expect_task(TASK(",\"container\":{\"mesos\":{\"volumes\":[{\"containerPath\":\"/a\",\"hostPath\":\"/"
                     "b\",\"mode\":\"RO\"}]}}"),
                "This scheduler is configured to disallow container volumes.");
    sc.allow_gpu_resource = sc.enable_mesos_fetcher = sc.allow_container_volumes = true;
    expect_task(
        "{\"job\":" KEY "," EXEC ",\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{\"numGpus\":1}]}", "");
    expect_task(TASK(",\"mesosFetcherUris\":[{\"value\":\"http://x\"}]"), "");
}

#define DEDICATED(c) TASK(",\"constraints\":[{\"name\":\"dedicated\",\"constraint\":" c "}]")

static void dedicated_constraints(void **state)
{
    (void)state;
    expect_task(DEDICATED("{\"limit\":{\"limit\":1}}"), "A dedicated constraint must be of value type.");
    expect_task(DEDICATED("{\"value\":{\"values\":[\"a\",\"b\"]}}"),
                "A dedicated constraint must have exactly one value");
    expect_task(DEDICATED("{\"value\":{\"values\":[]}}"), "A dedicated constraint must have exactly one value");
    expect_task(DEDICATED("{\"value\":{\"values\":[\"other/x\"]}}"),
                "Only other may use hosts dedicated for that role.");
    expect_task(DEDICATED("{\"value\":{\"values\":[\"r/x\"]}}"), "");
    expect_task(DEDICATED("{\"value\":{\"values\":[\"r\"]}}"), "");
    expect_task(DEDICATED("{\"value\":{\"values\":[\"*/x\"]}}"), "");
}

#define DOCKER(d) "{\"job\":" KEY "," RESOURCES ",\"container\":{\"docker\":" d "}}"

static void docker(void **state)
{
    (void)state;
    static struct api_docker_parameter defaults[] = { { .name = { "a", 1 }, .value = { "b", 1 } } };
    expect_task(DOCKER("{}"), "A container must specify an image.");
    expect_task(DOCKER("{\"image\":\"i\",\"parameters\":[{\"name\":\"x\",\"value\":\"y\"}]}"),
                "This scheduler is configured to disallow Docker parameters.");
    expect_task(DOCKER("{\"image\":\"i\"}"),
                "This scheduler is configured to require an executor for Docker-based tasks.");
    sc.require_docker_use_executor = false;
    expect_task(DOCKER("{\"image\":\"i\"}"), "This scheduler is not configured to allow the container type DOCKER");
    sc.allow_docker = true;
    sc.default_docker_parameters = defaults;
    sc.n_default_docker_parameters = 1;
    struct api_job_configuration *j = job(DOCKER("{\"image\":\"i\"}"));
    assert_string_equal(verdict(j), "");
    assert_int_equal(j->task_config->container->docker->n_parameters, 1);
    sc.allow_mesos = false;
    expect_task(TASK(""), "This scheduler is not configured to allow the container type MESOS");
}

#define SLA(p) TASK(",\"tier\":\"preferred\",\"slaPolicy\":" p)

static void sla_policies(void **state)
{
    (void)state;
    expect_task(TASK(",\"slaPolicy\":{\"countSlaPolicy\":{\"count\":1}}"),
                "Tier 'preemptible' does not support SlaPolicy.");
    expect_task(SLA("{\"countSlaPolicy\":{\"count\":29,\"durationSecs\":7200}}"), "");
    expect_task(SLA("{\"countSlaPolicy\":{\"count\":30}}"),
                "Current CountSlaPolicy: count=30 will not allow any instances to be killed. Must be less than "
                "instanceCount=30.");
    expect_task(SLA("{\"countSlaPolicy\":{\"count\":1,\"durationSecs\":7201}}"),
                "CountSlaPolicy: durationSecs=7201 must be less than cluster-wide maximum of 7200 secs.");
    expect_task(SLA("{\"percentageSlaPolicy\":{\"percentage\":90}}"), "");
    expect_task(
        SLA("{\"percentageSlaPolicy\":{\"percentage\":99}}"),
        "Current PercentageSlaPolicy: percentage=99.000000 will not allow any instances to be killed. Must be less "
        "than 96.666667.");
    expect_task(SLA("{\"percentageSlaPolicy\":{\"percentage\":1,\"durationSecs\":7201}}"),
                "PercentageSlaPolicy: durationSecs=7201 must be less than cluster-wide maximum of 7200 secs.");
    expect_task(SLA("{\"coordinatorSlaPolicy\":{\"coordinatorUrl\":\"x\"}}"), "");
    struct api_job_configuration *j = job(SLA("{\"countSlaPolicy\":{\"count\":1}}"));
    j->instance_count = 19;
    assert_string_equal(verdict(j), "Job with fewer than 20 instances cannot have Percentage/Count SlaPolicy.");
    j->instance_count = 20;
    assert_string_equal(verdict(j), "");
    sc.sla_aware_kill_non_prod = true;
    expect_task(TASK(",\"slaPolicy\":{\"countSlaPolicy\":{\"count\":1}}"), "");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(good_job_gets_defaults),
        T(job_level_checks_in_order),
        T(environments_match_in_full),
        T(identifiers_end_at_their_limit),
        T(task_level_checks),
        T(dedicated_constraints),
        T(docker),
        T(sla_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
