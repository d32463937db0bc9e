/* TaskInfo and ExecutorInfo of a launch. */
#include "core/err.h"
#include "core/store.h"
#include "core/thrift.h"
#include "mesos/task_info.h"
#include "test/lib/mesos_offers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char custom[] =
    "[{\"executor\": {\"name\": \"mine\", \"command\": {\"value\": \"./run\","
    " \"uris\": [{\"value\": \"http://x/run\"}]}, \"labels\": {\"labels\": [{\"key\": \"gone\"}]}},"
    " \"volume_mounts\": [{\"host_path\": \"/h\", \"container_path\": \"/c\", \"mode\": \"RW\"}],"
    " \"task_prefix\": \"mine-\"}]";

struct fixture {
    struct arena a;
    struct executors *executors;
    struct task_info_config c;
    struct api_task_config config;
    struct api_job_key job;
    struct api_executor_config executor;
    struct config interned;
    struct task task;
    struct launch_task lt;
    Mesos__Offer *offer;
    Mesos__TaskInfo *info;
    const char *why;
};

static struct port_range two_ports[] = { { 31005, 31005 }, { 31007, 31008 } };

static const struct carve task_carves[] = {
    { .index = 1, .kind = RES_CPUS, .amount = 1500 },
    { .index = 2, .kind = RES_RAM_MB, .amount = 128000 },
    { .index = 3, .kind = RES_DISK_MB, .amount = 64000 },
    { .index = 0, .kind = RES_PORTS, .ranges = two_ports, .n_ranges = 2 },
};
static const struct carve executor_carves[] = { { .index = 1, .kind = RES_CPUS, .amount = 250 } };

static const struct assigned_port ports[] = { { STR("http"), 31005 }, { STR("admin"), 31007 } };

static void set_up_task(struct fixture *f)
{
    f->job = (struct api_job_key){ .role = STR("www"), .environment = STR("prod"), .name = STR("hello") };
    f->executor = (struct api_executor_config){ .name = STR("mine"), .data = STR("{}") };
    f->config.job = &f->job;
    f->config.executor_config = &f->executor;
    f->interned.api = &f->config;
    f->task = (struct task){
        .refs = 1,
        .status = API_SCHEDULE_STATUS_ASSIGNED,
        .instance_id = 7,
        .config = &f->interned,
        .id = STR("www-prod-hello-7-abc"),
        .slave_id = STR("S1"),
        .slave_host = STR("host-1"),
        .ports = ports,
        .n_ports = 2,
    };
    f->lt = (struct launch_task){
        .task = &f->task,
        .tier = STR("preferred"),
        .task_resources = task_carves,
        .n_task_resources = 4,
        .executor_resources = executor_carves,
        .n_executor_resources = 1,
    };
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct executors_config c = { .custom_executor_config = str_c(custom) };
    struct buf err = { 0 };
    assert_int_equal(executors_new(&c, &f->executors, &err), 0);
    f->c = (struct task_info_config){ .executors = f->executors, .cluster_name = STR("devcluster") };
    f->offer = test_plain_offer("O1", "S1", &f->a);
    set_up_task(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    executors_free(f->executors);
    arena_release(&f->a);
    free(f);
    return 0;
}

static void build(struct fixture *f)
{
    assert_int_equal(task_info_build(&f->lt, f->offer, &f->c, &f->a, &f->info, &f->why), 0);
    /* Whatever was built can be sent: all that Mesos requires is there. */
    struct buf b = { 0 };
    proto_pack(f->info, &b);
    assert_non_null(proto_unpack(&mesos__task_info__descriptor, b.data, b.len, &f->a));
    buf_release(&b);
}

static void test_identity_and_labels(void **state)
{
    struct fixture *f = *state;
    struct api_metadata metadata[] = { { STR("owner"), STR("me") }, { STR("k"), STR("") } };
    f->config.metadata = metadata;
    f->config.n_metadata = 2;
    build(f);
    assert_string_equal(f->info->name, "www/prod/hello");
    assert_string_equal(f->info->task_id->value, "www-prod-hello-7-abc");
    assert_string_equal(f->info->slave_id->value, "S1");
    assert_null(f->info->discovery);
    assert_int_equal(f->info->labels->n_labels, 3);
    assert_string_equal(f->info->labels->labels[0]->key, "org.apache.aurora.tier");
    assert_string_equal(f->info->labels->labels[0]->value, "preferred");
    assert_string_equal(f->info->labels->labels[1]->key, "org.apache.aurora.metadata.owner");
    assert_string_equal(f->info->labels->labels[1]->value, "me");
    assert_string_equal(f->info->labels->labels[2]->value, "");
}

static void test_resources_are_copies_of_the_offers(void **state)
{
    struct fixture *f = *state;
    Mesos__Resource *cpus = f->offer->resources[1];
    cpus->role = "web";
    cpus->reservation = proto_new(&mesos__resource__reservation_info__descriptor, &f->a);
    cpus->reservation->principal = "me";
    cpus->allocation_info = proto_new(&mesos__resource__allocation_info__descriptor, &f->a);
    cpus->allocation_info->role = "web";
    build(f);
    assert_int_equal(f->info->n_resources, 4);
    const Mesos__Resource *r = f->info->resources[0];
    assert_string_equal(r->name, "cpus");
    assert_true(r->scalar->value == 1.5);
    assert_string_equal(r->role, "web");
    assert_string_equal(r->reservation->principal, "me");
    assert_string_equal(r->allocation_info->role, "web");
    assert_null(r->revocable);
    assert_true(cpus->scalar->value == 4);
    r = f->info->resources[3];
    assert_string_equal(r->name, "ports");
    assert_int_equal(r->ranges->n_range, 2);
    assert_int_equal(r->ranges->range[1]->begin, 31007);
    assert_int_equal(r->ranges->range[1]->end, 31008);
}

static void test_revocable_is_set_where_the_core_says_so(void **state)
{
    struct fixture *f = *state;
    struct carve c = { .index = 1, .kind = RES_CPUS, .amount = 1, .revocable = true };
    f->lt.task_resources = &c;
    f->lt.n_task_resources = 1;
    build(f);
    assert_non_null(f->info->resources[0]->revocable);
    assert_true(f->info->resources[0]->scalar->value == 0.001);
}

static void test_custom_executor(void **state)
{
    struct fixture *f = *state;
    struct api_mesos_fetcher_uri uri = { .value = STR("http://y/z"), .has_cache = true, .cache = true };
    f->config.mesos_fetcher_uris = &uri;
    f->config.n_mesos_fetcher_uris = 1;
    build(f);
    const Mesos__ExecutorInfo *x = f->info->executor;
    assert_null(f->info->command);
    assert_null(f->info->container);
    assert_string_equal(x->executor_id->value, "mine-www-prod-hello-7-abc");
    assert_string_equal(x->source, "www.prod.hello.7");
    assert_int_equal(x->labels->n_labels, 1);
    assert_string_equal(x->labels->labels[0]->key, "source");
    assert_string_equal(x->labels->labels[0]->value, "www.prod.hello.7");
    assert_string_equal(x->command->value, "./run");
    assert_int_equal(x->command->n_uris, 2);
    assert_string_equal(x->command->uris[1]->value, "http://y/z");
    assert_true(x->command->uris[1]->cache);
    assert_true(x->command->uris[1]->has_extract && !x->command->uris[1]->extract);
    assert_null(x->command->uris[1]->output_file);
    assert_int_equal(x->n_resources, 1);
    assert_true(x->resources[0]->scalar->value == 0.25);
    assert_null(x->container);
    /* What was configured is as it was. */
    assert_int_equal(executors_find(f->executors, STR("mine"))->info->command->n_uris, 1);
}

static void test_executor_data_is_the_assigned_task(void **state)
{
    struct fixture *f = *state;
    build(f);
    assert_true(f->info->has_data);
    struct api_assigned_task at = { 0 };
    assert_int_equal(tbinary_read(f->info->data.data, f->info->data.len, &api_assigned_task_desc, &at, &f->a, NULL), 0);
    assert_string_equal(at.task_id.p, "www-prod-hello-7-abc");
    assert_string_equal(at.slave_id.p, "S1");
    assert_string_equal(at.slave_host.p, "host-1");
    assert_int_equal(at.instance_id, 7);
    assert_int_equal(at.n_assigned_ports, 2);
    assert_string_equal(at.assigned_ports_keys[0].p, "admin"); /* sorted */
    assert_int_equal(at.assigned_ports[1], 31005);
    assert_string_equal(at.task->executor_config->data.p, "{}");
    assert_true(at.task->has_priority); /* storage form: defaults are written */
}

static void test_command_task(void **state)
{
    struct fixture *f = *state;
    struct api_mesos_fetcher_uri uri = { .value = STR("http://y/z"), .output_file = STR("out") };
    f->executor = (struct api_executor_config){ .name = STR("CommandExecutor"), .data = STR("echo hello; sleep 1") };
    f->config.mesos_fetcher_uris = &uri;
    f->config.n_mesos_fetcher_uris = 1;
    f->lt.n_executor_resources = 0;
    build(f);
    assert_null(f->info->executor);
    assert_false(f->info->has_data);
    assert_null(f->info->container);
    assert_string_equal(f->info->command->value, "echo hello; sleep 1");
    assert_true(f->info->command->has_shell && f->info->command->shell);
    assert_null(f->info->command->user);
    assert_null(f->info->command->environment);
    assert_int_equal(f->info->command->n_uris, 1);
    assert_string_equal(f->info->command->uris[0]->output_file, "out");
}

static void test_discovery(void **state)
{
    struct fixture *f = *state;
    f->c.populate_discovery_info = true;
    build(f);
    const Mesos__DiscoveryInfo *d = f->info->discovery;
    assert_int_equal(d->visibility, MESOS__DISCOVERY_INFO__VISIBILITY__CLUSTER);
    assert_string_equal(d->name, "hello.prod.www");
    assert_string_equal(d->environment, "prod");
    assert_string_equal(d->location, "devcluster");
    assert_int_equal(d->ports->n_ports, 2);
    assert_int_equal(d->ports->ports[0]->number, 31005);
    assert_string_equal(d->ports->ports[0]->name, "http");
    assert_string_equal(d->ports->ports[0]->protocol, "TCP");
}

static void test_docker_with_executor(void **state)
{
    struct fixture *f = *state;
    struct api_docker_parameter parameter = { STR("env"), STR("A=B") };
    struct api_docker_container docker = { .image = STR("debian:12"), .n_parameters = 1, .parameters = &parameter };
    struct api_container container = { .docker = &docker };
    f->config.container = &container;
    build(f);
    const Mesos__ContainerInfo *c = f->info->executor->container;
    assert_null(f->info->container);
    assert_int_equal(c->type, MESOS__CONTAINER_INFO__TYPE__DOCKER);
    assert_string_equal(c->docker->image, "debian:12");
    assert_string_equal(c->docker->parameters[0]->key, "env");
    assert_string_equal(c->docker->parameters[0]->value, "A=B");
    assert_int_equal(c->n_volumes, 1);
    assert_string_equal(c->volumes[0]->container_path, "/c");
}

static void test_docker_without_executor(void **state)
{
    struct fixture *f = *state;
    struct api_docker_container docker = { .image = STR("debian:12") };
    struct api_container container = { .docker = &docker };
    f->config.container = &container;
    f->config.executor_config = NULL;
    build(f);
    assert_null(f->info->executor);
    assert_false(f->info->has_data);
    assert_string_equal(f->info->container->docker->image, "debian:12");
    assert_int_equal(f->info->container->n_volumes, 0);
    assert_true(f->info->command->has_shell && !f->info->command->shell);
    assert_null(f->info->command->value);
}

static struct api_docker_image debian = { STR("debian"), STR("12") };
static struct api_image docker_image = { .docker = &debian };
static struct api_volume data_volume = { STR("/data"), STR("/srv"), true, API_MODE_RO };

static void test_mesos_image_with_executor(void **state)
{
    struct fixture *f = *state;
    struct api_mesos_container mesos = { .image = &docker_image, .n_volumes = 1, .volumes = &data_volume };
    struct api_container container = { .mesos = &mesos };
    f->config.container = &container;
    build(f);
    const Mesos__ContainerInfo *c = f->info->executor->container;
    assert_int_equal(c->type, MESOS__CONTAINER_INFO__TYPE__MESOS);
    assert_int_equal(c->n_volumes, 3);
    assert_string_equal(c->volumes[0]->container_path, "/c");
    assert_string_equal(c->volumes[1]->container_path, "/data");
    assert_string_equal(c->volumes[1]->host_path, "/srv");
    assert_int_equal(c->volumes[1]->mode, MESOS__VOLUME__MODE__RO);
    assert_string_equal(c->volumes[2]->container_path, "taskfs");
    assert_string_equal(c->volumes[2]->image->docker->name, "debian:12");
    assert_null(c->mesos);
}

static void test_mesos_image_with_a_command(void **state)
{
    struct fixture *f = *state;
    struct api_appc_image appc = { STR("nginx"), STR("sha512-1") };
    struct api_image image = { .appc = &appc };
    struct api_mesos_container mesos = { .image = &image, .n_volumes = 1, .volumes = &data_volume };
    struct api_container container = { .mesos = &mesos };
    f->executor.name = STR("CommandExecutor");
    f->config.container = &container;
    build(f);
    const Mesos__ContainerInfo *c = f->info->container;
    assert_int_equal(c->n_volumes, 1);
    assert_int_equal(c->mesos->image->type, MESOS__IMAGE__TYPE__APPC);
    assert_string_equal(c->mesos->image->appc->name, "nginx");
    assert_string_equal(c->mesos->image->appc->id, "sha512-1");
}

static void test_volumes_without_an_image_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct api_mesos_container mesos = { .n_volumes = 1, .volumes = &data_volume };
    struct api_container container = { .mesos = &mesos };
    f->config.container = &container;
    build(f);
    assert_null(f->info->executor->container);
}

static void assert_impossible(struct fixture *f, const char *why)
{
    assert_int_equal(task_info_build(&f->lt, f->offer, &f->c, &f->a, &f->info, &f->why), ERR_INVALID);
    assert_string_equal(f->why, why);
    assert_null(f->info);
}

static void test_impossible_launches(void **state)
{
    struct fixture *f = *state;
    struct carve beyond = { .index = 4, .kind = RES_CPUS, .amount = 1 };
    f->executor.name = STR("other");
    assert_impossible(f, "the executor of the task is not configured");
    f->config.executor_config = NULL;
    assert_impossible(f, "the task has neither an executor nor a Docker image");
    f->executor.name = STR("mine");
    f->config.executor_config = &f->executor;
    f->lt.executor_resources = &beyond;
    assert_impossible(f, "a resource of the executor is not in the offer");
    f->lt.task_resources = &beyond;
    f->lt.n_task_resources = 1;
    assert_impossible(f, "a resource of the task is not in the offer");
    f->lt.tier = (struct str){ 0 };
    assert_impossible(f, "the task has no tier");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_identity_and_labels),
        T(test_resources_are_copies_of_the_offers),
        T(test_revocable_is_set_where_the_core_says_so),
        T(test_custom_executor),
        T(test_executor_data_is_the_assigned_task),
        T(test_command_task),
        T(test_discovery),
        T(test_docker_with_executor),
        T(test_docker_without_executor),
        T(test_mesos_image_with_executor),
        T(test_mesos_image_with_a_command),
        T(test_volumes_without_an_image_are_ignored),
        T(test_impossible_launches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
