#include "mesos/task_info.h"

#include "mesos/container.h"
#include "mesos/proto.h"

#include "core/err.h"
#include "core/store.h"
#include "core/thrift.h"

#include <assert.h>

struct builder {
    const struct task *task;
    const struct api_task_config *config;
    const Mesos__Offer *offer;
    const struct task_info_config *c;
    struct arena *a;
    Mesos__TaskInfo *info;
};

/* ---------------- resources ---------------- */

static Mesos__Value__Ranges *carve_ranges(const struct carve *c, struct arena *a)
{
    Mesos__Value__Ranges *m = proto_new(&mesos__value__ranges__descriptor, a);
    m->range = ARENA_ARRAY(a, Mesos__Value__Range *, c->n_ranges);
    for (uint32_t i = 0; i < c->n_ranges; i++) {
        Mesos__Value__Range *r = proto_new(&mesos__value__range__descriptor, a);
        r->begin = c->ranges[i].begin;
        r->end = c->ranges[i].end;
        m->range[m->n_range++] = r;
    }
    return m;
}

static Mesos__Resource *carve_resource(const Mesos__Resource *whole, const struct carve *c, struct arena *a)
{
    Mesos__Resource *r = ARENA_NEW(a, Mesos__Resource);
    *r = *whole;
    if (c->kind == RES_PORTS) {
        r->ranges = carve_ranges(c, a);
    } else {
        r->scalar = proto_new(&mesos__value__scalar__descriptor, a);
        r->scalar->value = (double)c->amount / 1000;
    }
    if (c->revocable && !r->revocable) r->revocable = proto_new(&mesos__resource__revocable_info__descriptor, a);
    return r;
}

static int carve_all(const struct builder *b, const struct carve *v, uint32_t n, size_t *ret_n, Mesos__Resource ***ret)
{
    Mesos__Resource **out = ARENA_ARRAY(b->a, Mesos__Resource *, n);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].index >= b->offer->n_resources) return ERR_INVALID;
        out[i] = carve_resource(b->offer->resources[v[i].index], &v[i], b->a);
    }
    *ret = out;
    *ret_n = n;
    return 0;
}

/* ---------------- labels, discovery ---------------- */

static Mesos__Label *label(struct str key, struct str value, struct arena *a)
{
    Mesos__Label *l = proto_new(&mesos__label__descriptor, a);
    l->key = proto_str(key, a);
    l->value = proto_str(value, a);
    return l;
}

static Mesos__Labels *labels_new(size_t n, struct arena *a)
{
    Mesos__Labels *m = proto_new(&mesos__labels__descriptor, a);
    m->labels = ARENA_ARRAY(a, Mesos__Label *, n);
    return m;
}

static void set_labels(struct builder *b, struct str tier)
{
    const struct api_task_config *c = b->config;
    Mesos__Labels *m = labels_new(1 + c->n_metadata, b->a);
    m->labels[m->n_labels++] = label(STR("org.apache.aurora.tier"), tier, b->a);
    for (uint32_t i = 0; i < c->n_metadata; i++) {
        struct str key = arena_strf(b->a, "org.apache.aurora.metadata.%.*s", STR_ARG(c->metadata[i].key));
        m->labels[m->n_labels++] = label(key, c->metadata[i].value, b->a);
    }
    b->info->labels = m;
}

static Mesos__Ports *discovery_ports(const struct task *t, struct arena *a)
{
    Mesos__Ports *m = proto_new(&mesos__ports__descriptor, a);
    m->ports = ARENA_ARRAY(a, Mesos__Port *, t->n_ports);
    for (uint32_t i = 0; i < t->n_ports; i++) {
        Mesos__Port *p = proto_new(&mesos__port__descriptor, a);
        p->number = (uint32_t)t->ports[i].port;
        p->name = proto_str(t->ports[i].name, a);
        p->protocol = proto_str(STR("TCP"), a);
        m->ports[m->n_ports++] = p;
    }
    return m;
}

static void set_discovery(struct builder *b)
{
    const struct api_job_key *job = b->config->job;
    Mesos__DiscoveryInfo *m = proto_new(&mesos__discovery_info__descriptor, b->a);
    m->visibility = MESOS__DISCOVERY_INFO__VISIBILITY__CLUSTER;
    struct str name =
        arena_strf(b->a, "%.*s.%.*s.%.*s", STR_ARG(job->name), STR_ARG(job->environment), STR_ARG(job->role));
    m->name = proto_str(name, b->a);
    m->environment = proto_str(job->environment, b->a);
    m->location = proto_str(b->c->cluster_name, b->a);
    m->ports = discovery_ports(b->task, b->a);
    b->info->discovery = m;
}

/* ---------------- what runs ---------------- */

/* base (may be NULL) with the task's own URIs behind its own. */
static Mesos__CommandInfo *command_with_uris(const Mesos__CommandInfo *base, const struct builder *b)
{
    const struct api_task_config *c = b->config;
    Mesos__CommandInfo *m = proto_new(&mesos__command_info__descriptor, b->a);
    if (base) *m = *base;
    Mesos__CommandInfo__URI **uris = ARENA_ARRAY(b->a, Mesos__CommandInfo__URI *, m->n_uris + c->n_mesos_fetcher_uris);
    for (size_t i = 0; i < m->n_uris; i++) uris[i] = m->uris[i];
    for (uint32_t i = 0; i < c->n_mesos_fetcher_uris; i++) {
        const struct api_mesos_fetcher_uri *from = &c->mesos_fetcher_uris[i];
        Mesos__CommandInfo__URI *u = proto_new(&mesos__command_info__uri__descriptor, b->a);
        u->value = proto_str(from->value, b->a);
        u->has_executable = u->has_extract = u->has_cache = true;
        u->executable = false;
        u->extract = from->extract;
        u->cache = from->cache;
        u->output_file = proto_str(from->output_file, b->a);
        uris[m->n_uris + i] = u;
    }
    m->uris = uris;
    m->n_uris += c->n_mesos_fetcher_uris;
    return m;
}

/* The AssignedTask in storage form, which Thermos and custom executors read. */
static ProtobufCBinaryData assigned_task(const struct builder *b)
{
    struct api_scheduled_task st = { 0 };
    task_to_api(b->task, &st, b->a);
    struct api_assigned_task *at = thrift_clone(&api_assigned_task_desc, st.assigned_task, b->a);
    thrift_normalize(&api_assigned_task_desc, at, b->a);
    struct buf out = { 0 };
    int err = tbinary_write(&out, &api_assigned_task_desc, at);
    assert(!err); /* it has been written to the log before */
    ProtobufCBinaryData data = { out.len, ARENA_ARRAY(b->a, uint8_t, out.len) };
    memcpy(data.data, out.data, out.len);
    buf_release(&out);
    return data;
}

static void set_executor(struct builder *b, const struct executor *x, Mesos__Resource **resources, size_t n)
{
    const struct api_job_key *job = b->config->job;
    Mesos__ExecutorInfo *m = ARENA_NEW(b->a, Mesos__ExecutorInfo);
    *m = *x->info;
    m->executor_id = proto_new(&mesos__executor_id__descriptor, b->a);
    m->executor_id->value =
        proto_str(arena_strf(b->a, "%.*s%.*s", STR_ARG(x->task_prefix), STR_ARG(b->task->id)), b->a);
    struct str source = arena_strf(b->a, "%.*s.%.*s.%.*s.%d", STR_ARG(job->role), STR_ARG(job->environment),
                                   STR_ARG(job->name), b->task->instance_id);
    m->source = proto_str(source, b->a);
    m->labels = labels_new(1, b->a);
    m->labels->labels[m->labels->n_labels++] = label(STR("source"), source, b->a);
    m->command = command_with_uris(x->info->command, b);
    m->resources = resources;
    m->n_resources = n;
    Mesos__ContainerInfo *container = container_for_executor(b->config->container, x, b->a);
    if (container) m->container = container;
    b->info->executor = m;
    b->info->has_data = true;
    b->info->data = assigned_task(b);
}

/* Mesos's command executor runs it; user and environment are the agent's affair. */
static void set_shell_command(struct builder *b)
{
    Mesos__CommandInfo *m = command_with_uris(NULL, b);
    m->value = proto_str(b->config->executor_config->data, b->a);
    m->has_shell = m->shell = true;
    b->info->command = m;
    b->info->container = container_for_command(b->config->container, b->a);
}

/* A Docker image that knows what to run. */
static void set_image_command(struct builder *b)
{
    b->info->command = proto_new(&mesos__command_info__descriptor, b->a);
    b->info->command->has_shell = true;
    b->info->command->shell = false;
    b->info->container = container_for_command(b->config->container, b->a);
}

static int set_what_runs(struct builder *b, const struct launch_task *lt, const char **ret_why)
{
    const struct api_executor_config *ec = b->config->executor_config;
    if (!ec) {
        bool docker = b->config->container && b->config->container->docker;
        *ret_why = "the task has neither an executor nor a Docker image";
        if (docker) set_image_command(b);
        return docker ? 0 : ERR_INVALID;
    }
    const struct executor *x = executors_find(b->c->executors, ec->name);
    *ret_why = "the executor of the task is not configured";
    if (!x) return ERR_INVALID;
    if (!x->info) {
        set_shell_command(b);
        return 0;
    }
    Mesos__Resource **resources;
    size_t n;
    *ret_why = "a resource of the executor is not in the offer";
    int err = carve_all(b, lt->executor_resources, lt->n_executor_resources, &n, &resources);
    if (!err) set_executor(b, x, resources, n);
    return err;
}

static void set_identity(struct builder *b)
{
    const struct api_job_key *job = b->config->job;
    b->info->name = proto_str(
        arena_strf(b->a, "%.*s/%.*s/%.*s", STR_ARG(job->role), STR_ARG(job->environment), STR_ARG(job->name)), b->a);
    b->info->task_id = proto_new(&mesos__task_id__descriptor, b->a);
    b->info->task_id->value = proto_str(b->task->id, b->a);
    b->info->slave_id = b->offer->slave_id;
}

int task_info_build(const struct launch_task *lt, const Mesos__Offer *offer, const struct task_info_config *c,
                    struct arena *a, Mesos__TaskInfo **ret, const char **ret_why)
{
    const struct task *t = lt->task;
    struct builder b = { .task = t, .config = t->config->api, .offer = offer, .c = c, .a = a };
    assert(b.config->job != NULL);
    b.info = proto_new(&mesos__task_info__descriptor, a);
    *ret_why = "the task has no tier";
    if (!lt->tier.p) return ERR_INVALID;
    set_identity(&b);
    set_labels(&b, lt->tier);
    if (c->populate_discovery_info) set_discovery(&b);
    *ret_why = "a resource of the task is not in the offer";
    int err = carve_all(&b, lt->task_resources, lt->n_task_resources, &b.info->n_resources, &b.info->resources);
    if (!err) err = set_what_runs(&b, lt, ret_why);
    if (!err) *ret = b.info;
    return err;
}
