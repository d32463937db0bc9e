#include "core/validate.h"

#include "core/job_key.h"

#include <assert.h>

#define FAIL(v, ...) ((v)->message = arena_strf((v)->arena, __VA_ARGS__), false)

/* ---------------- the task, in Aurora's order ---------------- */

static const struct tier_setting *tier_named(const struct sched_config *c, struct str name)
{
    for (uint32_t i = 0; i < c->n_tiers; i++)
        if (str_eq(c->tiers[i].name, name)) return &c->tiers[i];
    return NULL;
}

/* The tier decides whether a task counts as production, whatever the client says. */
static bool check_tier(struct validation *v, struct api_task_config *t)
{
    if (t->tier.p && !identifier_valid(t->tier))
        return FAIL(v, "Tier contains illegal characters: %.*s", STR_ARG(t->tier));
    if (!t->tier.p) t->tier = arena_str(v->arena, v->config->default_tier);
    const struct tier_setting *tier = tier_named(v->config, t->tier);
    if (!tier) return FAIL(v, "Invalid tier '%.*s' in TaskConfig.", STR_ARG(t->tier));
    t->has_production = true;
    t->production = !tier->preemptible && !tier->revocable;
    return true;
}

static bool check_key(struct validation *v, const struct api_job_key *k)
{
    if (job_key_valid(k)) return true;
    struct str text = job_key_java(k, v->arena);
    return FAIL(v, "Job key %.*s is invalid.", STR_ARG(text));
}

static bool check_executor(struct validation *v, const struct api_task_config *t)
{
    bool docker = t->container && t->container->docker;
    if (!t->executor_config) return docker || FAIL(v, "Configuration may not be null.");
    struct str name = t->executor_config->name;
    if (!name.p) return FAIL(v, "Executor name may not be left unset.");
    for (uint32_t i = 0; i < v->config->n_executors; i++)
        if (str_eq(v->config->executors[i].name, name)) return true;
    return FAIL(v, "Configuration for executor '%.*s' doesn't exist.", STR_ARG(name));
}

static bool check_dedicated(struct validation *v, const struct api_task_config *t, const struct api_constraint *c)
{
    if (!c->constraint || !c->constraint->value) return FAIL(v, "A dedicated constraint must be of value type.");
    if (c->constraint->value->n_values != 1) return FAIL(v, "A dedicated constraint must have exactly one value");
    struct str role = c->constraint->value->values[0];
    const char *slash = memchr(role.p, '/', role.n);
    if (slash) role.n = (uint32_t)(slash - role.p);
    if (str_eq(role, STR("*")) || str_eq(role, t->job->role)) return true;
    return FAIL(v, "Only %.*s may use hosts dedicated for that role.", STR_ARG(role));
}

static bool check_constraints(struct validation *v, const struct api_task_config *t)
{
    for (uint32_t i = 0; i < t->n_constraints; i++)
        if (str_eq(t->constraints[i].name, STR("dedicated")) && !check_dedicated(v, t, &t->constraints[i]))
            return false;
    return true;
}

static void default_parameters(struct validation *v, struct api_docker_container *d)
{
    uint32_t n = v->config->n_default_docker_parameters;
    d->has_parameters = true;
    d->n_parameters = n;
    d->parameters = ARENA_ARRAY(v->arena, struct api_docker_parameter, n);
    for (uint32_t i = 0; i < n; i++) {
        d->parameters[i].name = arena_str(v->arena, v->config->default_docker_parameters[i].name);
        d->parameters[i].value = arena_str(v->arena, v->config->default_docker_parameters[i].value);
    }
}

static bool check_docker(struct validation *v, struct api_task_config *t)
{
    struct api_docker_container *d = t->container ? t->container->docker : NULL;
    if (!d) return true;
    if (!d->image.p) return FAIL(v, "A container must specify an image.");
    if (!d->n_parameters)
        default_parameters(v, d);
    else if (!v->config->allow_docker_parameters)
        return FAIL(v, "This scheduler is configured to disallow Docker parameters.");
    if (v->config->require_docker_use_executor && !t->executor_config)
        return FAIL(v, "This scheduler is configured to require an executor for Docker-based tasks.");
    return true;
}

static bool check_container_type(struct validation *v, const struct api_task_config *t)
{
    bool docker = t->container && t->container->docker;
    if (docker ? v->config->allow_docker : v->config->allow_mesos) return true;
    return FAIL(v, "This scheduler is not configured to allow the container type %s", docker ? "DOCKER" : "MESOS");
}

struct resource_sums {
    uint32_t n_cpus, n_ram, n_disk, n_gpus;
    double cpus, ram, disk;
};

static struct resource_sums sum_resources(const struct api_task_config *t)
{
    struct resource_sums s = { 0 };
    for (uint32_t i = 0; i < t->n_resources; i++) {
        const struct api_resource *r = &t->resources[i];
        s.n_cpus += r->has_num_cpus;
        s.n_ram += r->has_ram_mb;
        s.n_disk += r->has_disk_mb;
        s.n_gpus += r->has_num_gpus;
        if (r->has_num_cpus) s.cpus += r->num_cpus;
        if (r->has_ram_mb) s.ram += (double)r->ram_mb;
        if (r->has_disk_mb) s.disk += (double)r->disk_mb;
    }
    return s;
}

static bool check_resources(struct validation *v, const struct api_task_config *t)
{
    struct resource_sums s = sum_resources(t);
    struct buf twice = { 0 };
    const struct {
        const char *name;
        uint32_t n;
    } kinds[] = { { "CPU", s.n_cpus }, { "GPU", s.n_gpus }, { "RAM", s.n_ram }, { "disk", s.n_disk } };
    for (int i = 0; i < 4; i++)
        if (kinds[i].n > 1) buf_addf(&twice, "%s%s", twice.len ? ", " : "", kinds[i].name);
    if (twice.len)
        v->message = arena_strf(v->arena, "Multiple resource values are not supported for %s", buf_cstr(&twice));
    bool ok = !twice.len;
    buf_release(&twice);
    if (!ok) return false;
    if (!(s.cpus > 0)) return FAIL(v, "num_cpus must be greater than 0.0");
    if (!(s.ram > 0)) return FAIL(v, "ram_mb must be greater than 0.0");
    if (!(s.disk > 0)) return FAIL(v, "disk_mb must be greater than 0.0");
    if (s.n_gpus && !v->config->allow_gpu_resource) return FAIL(v, "GPU resource support is disabled in this cluster.");
    return true;
}

static bool check_features(struct validation *v, const struct api_task_config *t)
{
    if (t->n_mesos_fetcher_uris && !v->config->enable_mesos_fetcher)
        return FAIL(v, "Mesos Fetcher for individual jobs is disabled in this cluster.");
    if (t->container && t->container->mesos && t->container->mesos->n_volumes && !v->config->allow_container_volumes)
        return FAIL(v, "This scheduler is configured to disallow container volumes.");
    return true;
}

/* ---------------- the SLA policy ---------------- */

static bool check_sla_size(struct validation *v, int32_t instances)
{
    if (instances >= v->config->min_required_instances_for_sla_check) return true;
    return FAIL(v, "Job with fewer than %lld instances cannot have Percentage/Count SlaPolicy.",
                (long long)v->config->min_required_instances_for_sla_check);
}

static bool check_sla_duration(struct validation *v, const char *policy, int64_t secs)
{
    if (secs <= v->config->max_sla_duration_secs) return true;
    return FAIL(v, "%s: durationSecs=%lld must be less than cluster-wide maximum of %lld secs.", policy,
                (long long)secs, (long long)v->config->max_sla_duration_secs);
}

static bool check_count_sla(struct validation *v, const struct api_count_sla_policy *p, int32_t n)
{
    if (!check_sla_size(v, n)) return false;
    if (v->lenient_isset) return true;
    if (p->count > n - 1)
        return FAIL(v,
                    "Current CountSlaPolicy: count=%lld will not allow any instances to be killed. Must be less than "
                    "instanceCount=%d.",
                    (long long)p->count, n);
    return check_sla_duration(v, "CountSlaPolicy", p->duration_secs);
}

static bool check_percentage_sla(struct validation *v, const struct api_percentage_sla_policy *p, int32_t n)
{
    if (!check_sla_size(v, n)) return false;
    if (v->lenient_isset) return true;
    if (!(n - n * p->percentage / 100 >= 1))
        return FAIL(v,
                    "Current PercentageSlaPolicy: percentage=%f will not allow any instances to be killed. Must be "
                    "less than %f.",
                    p->percentage, (n - 1) / (double)n * 100);
    return check_sla_duration(v, "PercentageSlaPolicy", p->duration_secs);
}

static bool check_sla(struct validation *v, const struct api_task_config *t, int32_t n)
{
    const struct api_sla_policy *p = t->sla_policy;
    if (!p) return true;
    if (!t->production && !v->config->sla_aware_kill_non_prod)
        return FAIL(v, "Tier '%.*s' does not support SlaPolicy.", STR_ARG(t->tier));
    if (p->count_sla_policy) return check_count_sla(v, p->count_sla_policy, n);
    if (p->percentage_sla_policy) return check_percentage_sla(v, p->percentage_sla_policy, n);
    return true;
}

/* ---------------- task links ---------------- */

static bool has_port(const struct api_task_config *t, struct str name)
{
    for (uint32_t i = 0; i < t->n_resources; i++)
        if (str_eq(t->resources[i].named_port, name)) return true;
    return false;
}

static void default_links(struct validation *v, struct api_task_config *t)
{
    if (t->n_task_links) return;
    t->has_task_links = true;
    t->task_links_keys = ARENA_ARRAY(v->arena, struct str, 2);
    t->task_links = ARENA_ARRAY(v->arena, struct str, 2);
    const struct str names[] = { STR("health"), STR("http") };
    for (int i = 0; i < 2; i++) {
        if (!has_port(t, names[i])) continue;
        t->task_links_keys[t->n_task_links] = names[i];
        t->task_links[t->n_task_links++] = arena_strf(v->arena, "http://%%host%%:%%port:%s%%", names[i].p);
    }
}

bool validate_task(struct validation *v, struct api_task_config *t, int32_t instance_count)
{
    if (!check_tier(v, t) || !check_key(v, t->job) || !check_executor(v, t) || !check_constraints(v, t) ||
        !check_docker(v, t) || !check_container_type(v, t) || !check_resources(v, t) || !check_features(v, t) ||
        !check_sla(v, t, instance_count))
        return false;
    default_links(v, t);
    return true;
}

/* ---------------- the job ---------------- */

bool validate_job(struct validation *v, struct api_job_configuration *job)
{
    if (!job->task_config) return FAIL(v, "Job configuration must have taskConfig set.");
    if (job->instance_count <= 0) return FAIL(v, "Instance count must be positive.");
    if (!check_key(v, job->key)) return false;
    struct str env = job->key->environment;
    if (!v->config->environment_ok(env, v->config->environment_arg))
        return FAIL(v, "Job environment %.*s doesn't match: %.*s", STR_ARG(env), STR_ARG(v->config->environment_regex));
    if (job->owner && !identifier_valid(job->owner->user))
        return FAIL(v, "Job user contains illegal characters: %s", job->owner->user.p ? job->owner->user.p : "null");
    if (!validate_task(v, job->task_config, job->instance_count)) return false;
    if (job->cron_schedule.n && job->task_config->is_service) {
        struct str key = job_key_text(job->key, v->arena);
        return FAIL(v, "A service task may not be run on a cron schedule: %.*s", STR_ARG(key));
    }
    return true;
}
