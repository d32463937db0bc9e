/* The scheduler's part of /vars (reference: vars, "Tasks" and "Mesos, offers, scheduling"). */
#include "core/job_key.h"
#include "core/sched_impl.h"
#include "core/stats.h"

#include <assert.h>
#include <stdio.h>

static int64_t status_count(void *arg)
{
    const struct status_gauge *g = arg;
    return store_status_count(*g->store, g->status);
}

static int64_t offer_count(void *arg)
{
    const struct sched *s = arg;
    return HASH_COUNT(s->offers.by_id);
}

static void gauges_init(struct sched *s)
{
    const struct tenum *e = &api_schedule_status_enum;
    for (uint32_t i = 0; i < e->n; i++) {
        enum api_schedule_status status = (enum api_schedule_status)e->values[i];
        assert((unsigned)status < TASK_STATES);
        s->gauges[status] = (struct status_gauge){ &s->store, status };
        char name[64];
        snprintf(name, sizeof name, "task_store_%s", e->names[i]);
        stats_gauge(s->stats, name, status_count, &s->gauges[status]);
    }
    stats_gauge(s->stats, "outstanding_offers", offer_count, s);
}

static void vetoes_init(struct sched *s)
{
    struct sched_counters *c = &s->count;
    c->veto_evaluated = stats_int(s->stats, "veto_evaluated_offers");
    c->veto_static = stats_int(s->stats, "scheduling_veto_static");
    c->veto_dynamic = stats_int(s->stats, "scheduling_veto_dynamic");
    c->veto_mixed = stats_int(s->stats, "scheduling_veto_mixed");
    for (int t = 0; t < VETO_TYPES; t++)
        c->veto_type[t] = stats_intf(s->stats, "scheduling_veto_%s", veto_type_name((enum veto_type)t));
}

void sched_stats_init(struct sched *s)
{
    static const struct {
        const char *name;
        size_t off;
    } counters[] = {
#define COUNTER(field, text) { text, offsetof(struct sched_counters, field) }
        COUNTER(illegal_transitions, "scheduler_illegal_task_state_transitions"),
        COUNTER(timed_out_tasks, "timed_out_tasks"),
        COUNTER(kill_retries, "task_kill_retries"),
        COUNTER(tasks_pruned, "tasks_pruned"),
        COUNTER(explicit_runs, "reconciliation_explicit_runs"),
        COUNTER(implicit_runs, "reconciliation_implicit_runs"),
        COUNTER(resource_offers, "scheduler_resource_offers"),
        COUNTER(offers_rescinded, "offers_rescinded"),
        COUNTER(offer_cancel_failures, "offer_cancel_failures"),
        COUNTER(slaves_lost, "slaves_lost"),
        COUNTER(executors_lost, "scheduler_lost_executors"),
        COUNTER(disconnects, "scheduler_framework_disconnects"),
        COUNTER(reregisters, "scheduler_framework_reregisters"),
        COUNTER(registered, "framework_registered"),
        COUNTER(status_updates, "scheduler_status_update"),
        COUNTER(attempts_fired, "schedule_attempts_fired"),
        COUNTER(attempts_no_match, "schedule_attempts_no_match"),
        COUNTER(attempts_blocked, "schedule_attempts_blocks"),
#undef COUNTER
    };
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        *(struct stat **)((char *)&s->count + counters[i].off) = stats_int(s->stats, counters[i].name);
    vetoes_init(s);
    gauges_init(s);
}

void sched_stats_vetoes(struct sched *s, const struct vetoes *v)
{
    uint32_t limits = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        limits += v->v[i].type == VETO_LIMIT_NOT_SATISFIED;
        stat_add(s->count.veto_type[v->v[i].type], 1);
    }
    struct stat *group = !limits ? s->count.veto_static : limits == v->n ? s->count.veto_dynamic : s->count.veto_mixed;
    stat_add(group, 1);
}

/* Counts a loss for the values of one attribute of the host; 0 makes the counter appear. */
static void count_attribute(struct sched *s, const struct api_host_attributes *h, const char *attribute, int64_t amount)
{
    for (uint32_t i = 0; h && i < h->n_attributes; i++) {
        if (!str_eq(h->attributes[i].name, str_c(attribute))) continue;
        for (uint32_t j = 0; j < h->attributes[i].n_values; j++) {
            struct str v = arena_str(&s->step.scratch, h->attributes[i].values[j]);
            for (uint32_t k = 0; k < v.n; k++)
                if (v.p[k] == '*') ((char *)v.p)[k] = '_';
            stat_add(stats_intf(s->stats, "tasks_lost_%s_%.*s", attribute, STR_ARG(v)), amount);
        }
    }
}

static void count_end(struct sched *s, const struct task *t)
{
    if (t->status != API_SCHEDULE_STATUS_LOST && t->status != API_SCHEDULE_STATUS_FAILED) return;
    struct arena *a = &s->step.scratch;
    struct str job = job_key_text(task_job(t), a);
    struct str name = arena_strf(a, "tasks_%s_%.*s", status_name(t->status), STR_ARG(job));
    stat_add(stats_int_untracked(s->stats, name.p), 1);
}

void sched_stats_on_change(struct sched *s, const struct task_changed *c)
{
    if (c->deleted || c->from < 0) return;
    count_end(s, c->task);
    if (!c->task->slave_host.p) return;
    const struct api_host_attributes *h = store_host(s->store, c->task->slave_host);
    int64_t lost = c->task->status == API_SCHEDULE_STATUS_LOST;
    count_attribute(s, h, "rack", lost);
    count_attribute(s, h, "dedicated", lost);
}
