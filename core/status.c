/* Status updates of Mesos: what they mean for a task, and their acknowledgement, which waits like every effect until
 * the change is durable. */
#include "core/logline.h"
#include "core/stats.h"
#include "core/tasks.h"

/* mesos.TaskState */
enum {
    MESOS_STARTING,
    MESOS_RUNNING,
    MESOS_FINISHED,
    MESOS_FAILED,
    MESOS_KILLED,
    MESOS_LOST,
    MESOS_STAGING,
    MESOS_ERROR,
    MESOS_KILLING,
    MESOS_DROPPED,
    MESOS_UNREACHABLE,
    MESOS_GONE,
    MESOS_GONE_BY_OPERATOR,
    MESOS_UNKNOWN,
    MESOS_STATES
};

static const enum api_schedule_status meaning[MESOS_STATES] = {
    [MESOS_STAGING] = API_SCHEDULE_STATUS_STARTING,
    [MESOS_STARTING] = API_SCHEDULE_STATUS_STARTING,
    [MESOS_RUNNING] = API_SCHEDULE_STATUS_RUNNING,
    [MESOS_FINISHED] = API_SCHEDULE_STATUS_FINISHED,
    [MESOS_FAILED] = API_SCHEDULE_STATUS_FAILED,
    [MESOS_KILLING] = API_SCHEDULE_STATUS_KILLED,
    [MESOS_KILLED] = API_SCHEDULE_STATUS_KILLED,
    [MESOS_LOST] = API_SCHEDULE_STATUS_LOST,
    [MESOS_ERROR] = API_SCHEDULE_STATUS_LOST,
    [MESOS_DROPPED] = API_SCHEDULE_STATUS_LOST,
    [MESOS_GONE] = API_SCHEDULE_STATUS_LOST,
    [MESOS_GONE_BY_OPERATOR] = API_SCHEDULE_STATUS_LOST,
    [MESOS_UNREACHABLE] = API_SCHEDULE_STATUS_PARTITIONED,
    [MESOS_UNKNOWN] = API_SCHEDULE_STATUS_PARTITIONED,
};

static const char *source_name(int source)
{
    static const char *const names[] = { "SOURCE_MASTER", "SOURCE_SLAVE", "SOURCE_EXECUTOR" };
    return source >= 0 && source < 3 ? names[source] : NULL;
}

/* Mesos's own words are kept, except where they say less than the reason does. */
static struct str event_message(const struct status_update *u)
{
    if (str_eq(u->reason_name, STR("REASON_EXECUTOR_UNREGISTERED"))) return (struct str){ 0 };
    if (u->message.p) return u->message;
    if (str_eq(u->reason_name, STR("REASON_CONTAINER_LIMITATION_MEMORY")))
        return STR("Task used more memory than requested.");
    if (str_eq(u->reason_name, STR("REASON_CONTAINER_LIMITATION_DISK")))
        return STR("Task used more disk than requested.");
    return u->message;
}

static void count_receipt(struct sched *s, const struct status_update *u)
{
    stat_add(s->count.status_updates, 1);
    const char *source = source_name(u->source);
    if (u->state == MESOS_LOST && source) stat_add(stats_intf(s->stats, "task_lost_%s", source), 1);
    if (u->reason_name.p) stat_add(stats_intf(s->stats, "task_exit_%.*s", STR_ARG(u->reason_name)), 1);
    if (!source || u->timestamp_ms < 0 || s->now_ms <= u->timestamp_ms) return;
    struct str name = arena_strf(&s->step.scratch, "task_delivery_delay_%s", source);
    stat_timer_add(stats_timer(s->stats, name.p, "micros"), (s->now_ms - u->timestamp_ms) * 1000);
}

static void apply_update(struct sched *s, const struct status_update *u)
{
    if (u->state < 0 || u->state >= MESOS_STATES) {
        logline(LOG_WARN, "status-update-unknown", "task=%.*s state=%d", STR_ARG(u->task_id), u->state);
        return;
    }
    enum task_result r = task_change(s, u->task_id,
                                     &(struct task_order){ .to = meaning[u->state],
                                                           .only_from = -1,
                                                           .message = event_message(u),
                                                           .agent_id = u->agent_id,
                                                           .cause = "status-update" });
    if (u->reason_name.p)
        stat_add(stats_intf(s->stats, "status_update_%.*s_%s", STR_ARG(u->reason_name), task_result_name(r)), 1);
}

static void acknowledge(struct sched *s, const struct status_update *u)
{
    if (!u->has_uuid) return;
    struct arena *a = &s->step.update->arena;
    struct effect *e = step_effect(&s->step, EFFECT_ACK);
    e->ack.task_id = arena_str(a, u->task_id);
    e->ack.agent_id = arena_str(a, u->agent_id);
    memcpy(e->ack.uuid, u->uuid, sizeof e->ack.uuid);
}

void status_updates(struct sched *s, const struct status_update *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        count_receipt(s, &v[i]);
        apply_update(s, &v[i]);
        acknowledge(s, &v[i]);
    }
}
