#include "core/task.h"

#include "core/task_fsm.h"

#include <assert.h>

static_assert(sizeof(struct task) <= 160, "a task version is to stay small");
static_assert(sizeof(struct task_event) <= 48, "an event is to stay small");

bool task_api_valid(const struct api_scheduled_task *api)
{
    const struct api_assigned_task *a = api->assigned_task;
    if (!a || !a->task_id.p || !a->task || !api->has_status) return false;
    if (!tenum_name(&api_schedule_status_enum, api->status)) return false;
    for (uint32_t i = 0; i < api->n_task_events; i++)
        if (!tenum_name(&api_schedule_status_enum, api->task_events[i].status)) return false;
    const struct api_job_key *k = a->task->job;
    return k && k->role.p && k->environment.p && k->name.p;
}

const char *status_name(enum api_schedule_status s)
{
    const char *name = tenum_name(&api_schedule_status_enum, (int32_t)s);
    return name ? name : "UNKNOWN";
}

static size_t own_size(struct str s)
{
    return s.p ? (size_t)s.n + 1 : 0;
}

static size_t own_strings_size(const struct api_scheduled_task *api)
{
    const struct api_assigned_task *a = api->assigned_task;
    size_t n = own_size(a->task_id) + own_size(api->ancestor_id);
    for (uint32_t i = 0; i < a->n_assigned_ports; i++) n += own_size(a->assigned_ports_keys[i]);
    for (uint32_t i = 0; i < api->n_task_events; i++) n += own_size(api->task_events[i].message);
    return n;
}

/* Copies s to *at and moves *at behind it. */
static struct str put(char **at, struct str s)
{
    if (!s.p) return s;
    char *p = *at;
    if (s.n) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    *at = p + s.n + 1;
    return (struct str){ p, s.n };
}

struct task *task_new(struct intern_pool *strings, struct config *config, const struct api_scheduled_task *api)
{
    assert(task_api_valid(api));
    const struct api_assigned_task *a = api->assigned_task;
    size_t events_size = api->n_task_events * sizeof(struct task_event);
    size_t ports_size = a->n_assigned_ports * sizeof(struct assigned_port);
    struct task *t = xmalloc(sizeof *t + events_size + ports_size + own_strings_size(api));
    struct task_event *events = (struct task_event *)(t + 1);
    struct assigned_port *ports = (struct assigned_port *)(events + api->n_task_events);
    char *at = (char *)(ports + a->n_assigned_ports);

    *t = (struct task){ .refs = 1,
                        .status = api->status,
                        .instance_id = a->instance_id,
                        .failure_count = api->failure_count,
                        .times_partitioned = api->times_partitioned,
                        .config = config_ref(config),
                        .events = events,
                        .n_events = api->n_task_events,
                        .ports = ports,
                        .n_ports = a->n_assigned_ports };
    t->id = put(&at, a->task_id);
    t->ancestor_id = put(&at, api->ancestor_id);
    t->slave_id = intern(strings, a->slave_id);
    t->slave_host = intern(strings, a->slave_host);
    for (uint32_t i = 0; i < t->n_events; i++) {
        const struct api_task_event *e = &api->task_events[i];
        events[i] = (struct task_event){ e->timestamp, e->status, put(&at, e->message), intern(strings, e->scheduler) };
    }
    for (uint32_t i = 0; i < t->n_ports; i++)
        ports[i] = (struct assigned_port){ put(&at, a->assigned_ports_keys[i]), a->assigned_ports[i] };
    return t;
}

const struct task *task_ref(const struct task *t)
{
    ((struct task *)t)->refs++;
    return t;
}

void task_unref(const struct task *t)
{
    if (!t) return;
    struct task *m = (struct task *)t;
    assert(m->refs > 0);
    if (--m->refs) return;
    config_unref(m->config);
    intern_unref(m->slave_id);
    intern_unref(m->slave_host);
    for (uint32_t i = 0; i < m->n_events; i++) intern_unref(m->events[i].scheduler);
    free(m);
}

static void events_to_api(const struct task *t, struct api_scheduled_task *out, struct arena *a)
{
    out->has_task_events = true;
    out->n_task_events = t->n_events;
    out->task_events = ARENA_ARRAY(a, struct api_task_event, t->n_events);
    for (uint32_t i = 0; i < t->n_events; i++)
        out->task_events[i] = (struct api_task_event){ .has_timestamp = true,
                                                       .timestamp = t->events[i].timestamp_ms,
                                                       .has_status = true,
                                                       .status = t->events[i].status,
                                                       .message = t->events[i].message,
                                                       .scheduler = t->events[i].scheduler };
}

static void ports_to_api(const struct task *t, struct api_assigned_task *out, struct arena *a)
{
    out->has_assigned_ports = true;
    out->n_assigned_ports = t->n_ports;
    if (!t->n_ports) return;
    out->assigned_ports_keys = ARENA_ARRAY(a, struct str, t->n_ports);
    out->assigned_ports = ARENA_ARRAY(a, int32_t, t->n_ports);
    for (uint32_t i = 0; i < t->n_ports; i++) {
        out->assigned_ports_keys[i] = t->ports[i].name;
        out->assigned_ports[i] = t->ports[i].port;
    }
}

void task_to_api(const struct task *t, struct api_scheduled_task *out, struct arena *a)
{
    struct api_assigned_task *at = ARENA_NEW(a, struct api_assigned_task);
    *at = (struct api_assigned_task){ .task_id = t->id,
                                      .slave_id = t->slave_id,
                                      .slave_host = t->slave_host,
                                      .task = (struct api_task_config *)t->config->api,
                                      .has_instance_id = true,
                                      .instance_id = t->instance_id };
    ports_to_api(t, at, a);
    *out = (struct api_scheduled_task){ .assigned_task = at,
                                        .has_status = true,
                                        .status = t->status,
                                        .has_failure_count = true,
                                        .failure_count = t->failure_count,
                                        .ancestor_id = t->ancestor_id,
                                        .has_times_partitioned = true,
                                        .times_partitioned = t->times_partitioned };
    events_to_api(t, out, a);
}
