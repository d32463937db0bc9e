/* createJob, killTasks, restartShards, populateJobConfig (reference: jobs, "Job operations"; api, "Method semantics").
 */
#include "core/command.h"
#include "core/job_key.h"
#include "core/tasks.h"
#include "core/validate.h"

#include <assert.h>

static struct str user_of(const struct command *c)
{
    return c->ev->command.user.p ? c->ev->command.user : STR("UNSECURE");
}

/* A clean copy of what the client described, or NULL with the answer set. prefix stands before the reason. */
static struct api_job_configuration *accept_job(struct command *c, const struct api_job_configuration *sent,
                                                const char *prefix)
{
    struct api_job_configuration *job = command_normal(c, &api_job_configuration_desc, sent);
    if (!job) {
        command_fail_blank(c);
        return NULL;
    }
    struct validation v = { .config = &c->s->config, .arena = c->a, .lenient_isset = c->ev->command.lenient_isset };
    if (!validate_job(&v, job)) {
        command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST, "%s%.*s", prefix, STR_ARG(v.message));
        return NULL;
    }
    thrift_normalize(&api_job_configuration_desc, job, c->a);
    return job;
}

static bool not_updating(struct command *c, const struct api_job_key *key)
{
    if (creation_of(c->s, key)) {
        struct str text = job_key_text(key, c->a);
        return command_fail(c, API_RESPONSE_CODE_ERROR_TRANSIENT, "Job %.*s is being created", STR_ARG(text));
    }
    return !store_job_updating(c->s->store, key) ||
           command_fail(c, API_RESPONSE_CODE_JOB_UPDATING_ERROR, "Job is currently updating");
}

/* Cron jobs exist while their template does, others while a task of theirs is active. */
static bool job_exists(struct command *c, const struct api_job_key *key)
{
    const struct job *j = store_job(c->s->store, key);
    return (j && j->n_tasks > j->n_terminal) || store_cron_job(c->s->store, key);
}

static bool limits_ok(struct command *c, int64_t instances)
{
    int64_t max = c->s->config.max_tasks_per_job;
    return (instances >= 1 && instances <= max) ||
           command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST, "Instance count must be between 1 and %lld inclusive.",
                        (long long)max);
}

/* Tasks are stored under their config's key, which may be another than the job's. */
static bool no_collision(struct command *c, const struct api_job_key *key, int32_t instances)
{
    struct task_list l = store_job_tasks(c->s->store, key, &c->s->step.scratch);
    for (uint32_t i = 0; i < l.n; i++)
        if (status_in(l.v[i]->status, TASKS_ACTIVE) && l.v[i]->instance_id < instances)
            return command_fail(c, API_RESPONSE_CODE_ERROR, "Instance ID collision detected.");
    return true;
}

static void insert_instances(struct command *c, const struct api_job_configuration *job)
{
    struct config *config = store_intern_config(c->s->store, job->task_config);
    if (!config) {
        command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST, "The task configuration holds a union without a value.");
        return;
    }
    creation_start(c, config, (uint32_t)job->instance_count);
    config_unref(config);
    command_workload(c, "thrift_workload", job->instance_count);
}

void cmd_create_job(struct command *c)
{
    const struct api_create_job_args *args = c->args;
    struct api_job_configuration *job = accept_job(c, args->description, "");
    if (!job) return;
    if (job->cron_schedule.p) {
        command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST,
                     "Cron jobs may only be created/updated by calling scheduleCronJob.");
        return;
    }
    if (!command_ready(c) || !not_updating(c, job->key)) return;
    if (job_exists(c, job->key)) {
        struct str text = job_key_text(job->key, c->a);
        command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST, "Job %.*s already exists", STR_ARG(text));
        return;
    }
    if (!limits_ok(c, job->instance_count) || !no_collision(c, job->task_config->job, job->instance_count)) return;
    insert_instances(c, job);
}

/* The ACTIVE tasks of a job, or those with the ids. */
static struct task_list active_tasks(struct command *c, const struct api_job_key *key, const int32_t *ids, uint32_t n)
{
    struct api_task_query q = { .has_job_keys = true, .n_job_keys = 1, .job_keys = (struct api_job_key *)key };
    q.has_instance_ids = n > 0;
    q.n_instance_ids = n;
    q.instance_ids = (int32_t *)ids;
    struct task_list l = store_query(c->s->store, &q, &c->s->step.scratch);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l.n; i++)
        if (status_in(l.v[i]->status, TASKS_ACTIVE)) l.v[kept++] = l.v[i];
    l.n = kept;
    return l;
}

void cmd_kill_tasks(struct command *c)
{
    struct api_kill_tasks_args *args = command_normal(c, &api_kill_tasks_args_desc, c->args);
    if (!command_key_ok(c, args->job) || !command_ready(c) || !not_updating(c, args->job)) return;
    struct str user = user_of(c);
    struct str message =
        arena_strf(c->a, "Killed by %.*s%s%.*s", STR_ARG(user), args->message.p ? ".\n" : "", STR_ARG(args->message));
    struct task_list l = active_tasks(c, args->job, args->instances, args->n_instances);
    uint32_t killed = 0;
    for (uint32_t i = 0; i < l.n; i++)
        killed += task_change(c->s, l.v[i]->id,
                              &(struct task_order){ .to = API_SCHEDULE_STATUS_KILLING,
                                                    .only_from = -1,
                                                    .message = message,
                                                    .cause = "kill-tasks" }) == TASK_RESULT_SUCCESS;
    command_workload(c, "thrift_workload", killed);
    if (!killed) command_note(c, "No tasks to kill.");
}

void cmd_restart_shards(struct command *c)
{
    struct api_restart_shards_args *args = command_normal(c, &api_restart_shards_args_desc, c->args);
    if (!command_key_ok(c, args->job)) return;
    if (!args->n_shard_ids) {
        command_fail(c, API_RESPONSE_CODE_ERROR, "Argument cannot be blank");
        return;
    }
    if (!command_ready(c) || !not_updating(c, args->job)) return;
    struct task_list l = active_tasks(c, args->job, args->shard_ids, args->n_shard_ids);
    if (l.n != args->n_shard_ids) {
        command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST, "Not all requested shards are active.");
        return;
    }
    struct str user = user_of(c);
    struct str message = arena_strf(c->a, "Restarted by %.*s", STR_ARG(user));
    for (uint32_t i = 0; i < l.n; i++)
        task_change(
            c->s, l.v[i]->id,
            &(struct task_order){
                .to = API_SCHEDULE_STATUS_RESTARTING, .only_from = -1, .message = message, .cause = "restart-shards" });
    command_workload(c, "thrift_workload", l.n);
}

void cmd_populate_job_config(struct command *c)
{
    const struct api_populate_job_config_args *args = c->args;
    struct api_job_configuration *job = accept_job(c, args->description, "Invalid configuration: ");
    if (!job) return;
    struct api_populate_job_result *r = ARENA_NEW(c->a, struct api_populate_job_result);
    r->task_config = job->task_config;
    command_result(c)->populate_job_result = r;
}
