#include "core/command.h"

#include "core/buf.h"
#include "core/job_key.h"
#include "core/stats.h"

#include <assert.h>

const struct command_entry command_table[] = {
    { "createJob", cmd_create_job },
    { "getConfigSummary", cmd_get_config_summary },
    { "getJobSummary", cmd_get_job_summary },
    { "getJobs", cmd_get_jobs },
    { "getPendingReason", cmd_get_pending_reason },
    { "getRoleSummary", cmd_get_role_summary },
    { "getTasksStatus", cmd_get_tasks_status },
    { "getTasksWithoutConfigs", cmd_get_tasks_without_configs },
    { "getTierConfigs", cmd_get_tier_configs },
    { "killTasks", cmd_kill_tasks },
    { "populateJobConfig", cmd_populate_job_config },
    { "restartShards", cmd_restart_shards },
    { NULL, NULL },
};

static command_fn find(struct str method)
{
    for (const struct command_entry *e = command_table; e->method; e++)
        if (str_eq(method, str_c(e->method))) return e->run;
    return NULL;
}

bool sched_serves(struct str method_name)
{
    return find(method_name) != NULL;
}

/* ---------------- answers ---------------- */

static void add_detail(struct command *c, struct str text)
{
    struct api_response *r = c->response;
    struct api_response_detail *more = ARENA_ARRAY(c->a, struct api_response_detail, r->n_details + 1);
    if (r->n_details) memcpy(more, r->details, r->n_details * sizeof *more);
    more[r->n_details++].message = text;
    r->details = more;
}

bool command_fail(struct command *c, enum api_response_code code, const char *fmt, ...)
{
    struct buf b = { 0 };
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(&b, fmt, ap);
    va_end(ap);
    c->response->response_code = code;
    add_detail(c, arena_str(c->a, (struct str){ buf_cstr(&b), (uint32_t)b.len }));
    buf_release(&b);
    return false;
}

bool command_fail_blank(struct command *c)
{
    c->response->response_code = API_RESPONSE_CODE_ERROR;
    add_detail(c, (struct str){ 0 });
    return false;
}

void command_note(struct command *c, const char *text)
{
    add_detail(c, arena_str(c->a, str_c(text)));
}

bool command_ready(struct command *c)
{
    return c->s->leading || command_fail(c, API_RESPONSE_CODE_ERROR_TRANSIENT, "Storage is not READY");
}

bool command_key_ok(struct command *c, const struct api_job_key *key)
{
    return job_key_valid(key) || command_fail_blank(c);
}

void *command_normal(struct command *c, const struct tdesc *d, const void *obj)
{
    if (!obj) return NULL;
    void *copy = thrift_clone(d, obj, c->a);
    thrift_normalize(d, copy, c->a);
    return copy;
}

void command_workload(struct command *c, const char *prefix, int64_t n)
{
    stat_add(stats_intf(c->s->stats, "%s_%s", prefix, c->ev->command.method->name), n);
}

struct api_result *command_result(struct command *c)
{
    return c->response->result = ARENA_NEW(c->a, struct api_result);
}

static struct api_response *response_new(struct sched *s, struct arena *a)
{
    struct api_response *r = ARENA_NEW(a, struct api_response);
    *r = (struct api_response){ .has_response_code = true, .response_code = API_RESPONSE_CODE_OK, .has_details = true };
    r->server_info = ARENA_NEW(a, struct api_server_info);
    r->server_info->cluster_name = arena_str(a, s->config.cluster_name);
    r->server_info->stats_url_prefix = arena_str(a, s->config.stats_url_prefix);
    return r;
}

static void answer(struct sched *s, uint64_t cookie, const struct api_response *response)
{
    struct effect *e = step_effect(&s->step, EFFECT_REPLY);
    e->reply.cookie = cookie;
    e->reply.response = response;
}

void command_run(struct sched *s, const struct sched_event *ev)
{
    assert(ev->command.method);
    struct arena *a = &s->step.update->arena;
    struct command c = { .s = s, .ev = ev, .args = ev->command.args, .a = a, .response = response_new(s, a) };
    const char *method = ev->command.method->name;
    command_fn run = find(str_c(method));
    if (run)
        run(&c);
    else
        command_fail(&c, API_RESPONSE_CODE_ERROR, "Method %s is not implemented by this scheduler.", method);

    if (!c.deferred) answer(s, ev->command.cookie, c.response);
}

void command_answer_ok(struct sched *s, uint64_t cookie)
{
    answer(s, cookie, response_new(s, &s->step.update->arena));
}
