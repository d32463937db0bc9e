/* getTasksStatus, getTasksWithoutConfigs, getPendingReason. */
#include "core/buf.h"
#include "core/command.h"

/* offset and limit count where they are positive. */
static struct task_list page(struct task_list l, const struct api_task_query *q)
{
    uint32_t skip = q->offset > 0 ? (uint32_t)q->offset : 0;
    if (skip > l.n) skip = l.n;
    l.v += skip;
    l.n -= skip;
    if (q->limit > 0 && (uint32_t)q->limit < l.n) l.n = (uint32_t)q->limit;
    return l;
}

static bool query(struct command *c, const struct api_task_query *sent, struct task_list *ret)
{
    struct api_task_query *q = command_normal(c, &api_task_query_desc, sent);
    if (!q) return command_fail_blank(c);
    if (!command_ready(c)) return false;
    *ret = page(store_query(c->s->store, q, &c->s->step.scratch), q);
    return true;
}

static struct api_scheduled_task *answer_tasks(struct command *c, struct task_list l)
{
    struct api_schedule_status_result *r = ARENA_NEW(c->a, struct api_schedule_status_result);
    *r = (struct api_schedule_status_result){ .has_tasks = true, .n_tasks = l.n };
    r->tasks = ARENA_ARRAY(c->a, struct api_scheduled_task, l.n);
    for (uint32_t i = 0; i < l.n; i++) task_to_api(step_pin(&c->s->step, l.v[i]), &r->tasks[i], c->a);
    command_result(c)->schedule_status_result = r;
    command_workload(c, "scheduler_thrift_workload", l.n);
    return r->tasks;
}

void cmd_get_tasks_status(struct command *c)
{
    const struct api_get_tasks_status_args *args = c->args;
    struct task_list l;
    if (query(c, args->query, &l)) answer_tasks(c, l);
}

/* The config without the executor's data, which may be large; the same copy for tasks of the same config in a row. */
static struct api_task_config *without_data(struct arena *a, const struct api_task_config *config)
{
    struct api_task_config *copy = ARENA_NEW(a, struct api_task_config);
    *copy = *config;
    if (!config->executor_config) return copy;
    copy->executor_config = ARENA_NEW(a, struct api_executor_config);
    copy->executor_config->name = config->executor_config->name;
    return copy;
}

void cmd_get_tasks_without_configs(struct command *c)
{
    const struct api_get_tasks_without_configs_args *args = c->args;
    struct task_list l;
    if (!query(c, args->query, &l)) return;
    struct api_scheduled_task *tasks = answer_tasks(c, l);
    const struct config *last = NULL;
    struct api_task_config *stripped = NULL;
    for (uint32_t i = 0; i < l.n; i++) {
        if (l.v[i]->config != last) stripped = without_data(c->a, l.v[i]->config->api);
        last = l.v[i]->config;
        tasks[i].assigned_task->task = stripped;
    }
}

static struct str reason_of(struct command *c, const struct task *t)
{
    const struct group *g = pending_group_of(c->s, t->id);
    struct buf b = { 0 };
    if (g) group_reason(g, ",", &b);
    struct str reason = arena_str(c->a, (struct str){ buf_cstr(&b), (uint32_t)b.len });
    buf_release(&b);
    return reason;
}

static struct str query_text(struct command *c, const struct api_task_query *q)
{
    struct buf b = { 0 };
    struct str text = STR("the query");
    if (json_write(&b, &api_task_query_desc, q, JSON_PLAIN) == 0)
        text = arena_str(c->a, (struct str){ buf_cstr(&b), (uint32_t)b.len });
    buf_release(&b);
    return text;
}

void cmd_get_pending_reason(struct command *c)
{
    const struct api_get_pending_reason_args *args = c->args;
    struct api_task_query *q = command_normal(c, &api_task_query_desc, args->query);
    if (!q) {
        command_fail_blank(c);
        return;
    }
    if (q->n_slave_hosts || q->n_statuses) {
        struct str text = query_text(c, args->query);
        command_fail(c, API_RESPONSE_CODE_INVALID_REQUEST, "%s in %.*s",
                     q->n_slave_hosts ? "SlaveHosts are not supported" : "Statuses is not supported", STR_ARG(text));
        return;
    }
    enum api_schedule_status pending = API_SCHEDULE_STATUS_PENDING;
    q->n_statuses = 1;
    q->statuses = &pending;
    if (!command_ready(c)) return;
    struct task_list l = page(store_query(c->s->store, q, &c->s->step.scratch), q);
    struct api_get_pending_reason_result *r = ARENA_NEW(c->a, struct api_get_pending_reason_result);
    *r = (struct api_get_pending_reason_result){ .has_reasons = true, .n_reasons = l.n };
    r->reasons = ARENA_ARRAY(c->a, struct api_pending_reason, l.n);
    for (uint32_t i = 0; i < l.n; i++) {
        r->reasons[i].task_id = arena_str(c->a, l.v[i]->id);
        r->reasons[i].reason = reason_of(c, l.v[i]);
    }
    command_result(c)->get_pending_reason_result = r;
    command_workload(c, "scheduler_thrift_workload", l.n);
}
