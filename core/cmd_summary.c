/* getRoleSummary, getJobSummary, getJobs, getConfigSummary, getTierConfigs. */
#include "core/command.h"
#include "core/job_key.h"

#include <assert.h>
#include <ctype.h>

/* ---------------- roles ---------------- */

struct role_count {
    struct str role;
    int32_t jobs, cron_jobs;
    UT_hash_handle hh;
};

struct role_table {
    struct role_count *table;
    struct arena *a;
};

static struct role_count *count_of(struct role_table *t, struct str role)
{
    struct role_count *r;
    HASH_FIND(hh, t->table, role.p, role.n, r);
    if (r) return r;
    r = ARENA_NEW(t->a, struct role_count);
    r->role = arena_str(t->a, role);
    HASH_ADD_KEYPTR(hh, t->table, r->role.p, r->role.n, r);
    return r;
}

static bool count_jobs(struct str role, uint32_t n_jobs, void *arg)
{
    count_of(arg, role)->jobs = (int32_t)n_jobs;
    return true;
}

static bool count_cron_job(const struct api_job_configuration *j, void *arg)
{
    count_of(arg, j->key->role)->cron_jobs++;
    return true;
}

void cmd_get_role_summary(struct command *c)
{
    if (!command_ready(c)) return;
    struct role_table roles = { .a = c->a };
    store_each_role(c->s->store, count_jobs, &roles);
    store_each_cron_job(c->s->store, count_cron_job, &roles);
    struct api_role_summary_result *r = ARENA_NEW(c->a, struct api_role_summary_result);
    r->has_summaries = true;
    r->summaries = ARENA_ARRAY(c->a, struct api_role_summary, HASH_COUNT(roles.table));
    for (struct role_count *i = roles.table; i; i = i->hh.next)
        r->summaries[r->n_summaries++] = (struct api_role_summary){ .role = i->role,
                                                                    .has_job_count = true,
                                                                    .job_count = i->jobs,
                                                                    .has_cron_job_count = true,
                                                                    .cron_job_count = i->cron_jobs };
    HASH_CLEAR(hh, roles.table);
    command_result(c)->role_summary_result = r;
    command_workload(c, "scheduler_thrift_workload", r->n_summaries);
}

/* ---------------- jobs ---------------- */

struct job_view {
    struct api_job_configuration config;
    struct api_job_stats stats;
    bool has_tasks; /* any that count */
};

struct job_walk {
    struct command *c;
    bool active_only; /* getJobs; else history counts too */
    struct str role;  /* unset: all */
    bool no_cron;
    struct job_view *v;
    uint32_t n, cap;
};

static struct job_view *add_view(struct job_walk *w)
{
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? 2 * w->cap : 16;
        struct job_view *more = ARENA_ARRAY(w->c->a, struct job_view, cap);
        if (w->n) memcpy(more, w->v, w->n * sizeof *more);
        w->v = more;
        w->cap = cap;
    }
    return &w->v[w->n++];
}

static void count_status(struct api_job_stats *st, enum api_schedule_status s)
{
    if (status_in(s, ST(INIT) | ST(PENDING) | ST(THROTTLED)))
        st->pending_task_count++;
    else if (status_in(s, ST(KILLED) | ST(FINISHED)))
        st->finished_task_count++;
    else if (status_in(s, ST(LOST) | ST(FAILED)))
        st->failed_task_count++;
    else
        st->active_task_count++;
}

/* Any active task beats any that has ended; then the latest event counts. */
static bool more_telling(const struct task *a, const struct task *b)
{
    if (!b) return true;
    bool xa = status_in(a->status, TASKS_ACTIVE), xb = status_in(b->status, TASKS_ACTIVE);
    return xa != xb ? xa : task_last_event_ms(a) > task_last_event_ms(b);
}

static void view_job(struct job_walk *w, const struct api_job_key *key)
{
    struct command *c = w->c;
    struct task_list l = store_job_tasks(c->s->store, key, &c->s->step.scratch);
    struct job_view view = { .stats = { .has_active_task_count = true,
                                        .has_finished_task_count = true,
                                        .has_failed_task_count = true,
                                        .has_pending_task_count = true } };
    const struct task *latest = NULL;
    for (uint32_t i = 0; i < l.n; i++) {
        if (w->active_only && !status_in(l.v[i]->status, TASKS_ACTIVE)) continue;
        count_status(&view.stats, l.v[i]->status);
        view.config.instance_count++;
        if (more_telling(l.v[i], latest)) latest = l.v[i];
    }
    if (!latest) return;
    step_pin(&c->s->step, latest); /* the answer shows its config */
    view.config.has_instance_count = true;
    view.config.key = thrift_clone(&api_job_key_desc, key, c->a);
    view.config.owner = latest->config->api->owner;
    view.config.task_config = (struct api_task_config *)latest->config->api;
    *add_view(w) = view;
}

static bool on_job(const struct job *j, void *arg)
{
    struct job_walk *w = arg;
    /* A cron job shows its template; on_cron_job() has taken care of it. */
    if (!w->no_cron && store_cron_job(w->c->s->store, &j->key)) return true;
    view_job(w, &j->key);
    return true;
}

static bool on_cron_job(const struct api_job_configuration *j, void *arg)
{
    struct job_walk *w = arg;
    if (w->no_cron || (w->role.p && !str_eq(w->role, j->key->role))) return true;
    uint32_t before = w->n;
    view_job(w, j->key);
    struct job_view *view = w->n > before ? &w->v[before] : add_view(w);
    view->config = *(struct api_job_configuration *)thrift_clone(&api_job_configuration_desc, j, w->c->a);
    view->stats.has_active_task_count = view->stats.has_finished_task_count = true;
    view->stats.has_failed_task_count = view->stats.has_pending_task_count = true;
    return true;
}

static bool is_blank(struct str s)
{
    for (uint32_t i = 0; i < s.n; i++)
        if (!isspace((unsigned char)s.p[i])) return false;
    return true;
}

/* A role of only blanks means all roles, but then without cron templates: as in Aurora. */
static struct job_walk walk_jobs(struct command *c, struct str role, bool active_only)
{
    struct job_walk w = { .c = c, .active_only = active_only, .role = role };
    if (role.p && is_blank(role)) {
        w.no_cron = true;
        w.role = (struct str){ 0 };
    }
    store_each_cron_job(c->s->store, on_cron_job, &w);
    store_each_job(c->s->store, w.role, on_job, &w);
    return w;
}

void cmd_get_jobs(struct command *c)
{
    const struct api_get_jobs_args *args = c->args;
    if (!command_ready(c)) return;
    struct job_walk w = walk_jobs(c, args->owner_role, true);
    struct api_get_jobs_result *r = ARENA_NEW(c->a, struct api_get_jobs_result);
    *r = (struct api_get_jobs_result){ .has_configs = true, .n_configs = w.n };
    r->configs = ARENA_ARRAY(c->a, struct api_job_configuration, w.n);
    for (uint32_t i = 0; i < w.n; i++) r->configs[i] = w.v[i].config;
    command_result(c)->get_jobs_result = r;
    command_workload(c, "scheduler_thrift_workload", w.n);
}

void cmd_get_job_summary(struct command *c)
{
    const struct api_get_job_summary_args *args = c->args;
    if (!command_ready(c)) return;
    struct job_walk w = walk_jobs(c, args->role, false);
    struct api_job_summary_result *r = ARENA_NEW(c->a, struct api_job_summary_result);
    *r = (struct api_job_summary_result){ .has_summaries = true, .n_summaries = w.n };
    r->summaries = ARENA_ARRAY(c->a, struct api_job_summary, w.n);
    for (uint32_t i = 0; i < w.n; i++)
        r->summaries[i] = (struct api_job_summary){ .job = &w.v[i].config, .stats = &w.v[i].stats };
    command_result(c)->job_summary_result = r;
    command_workload(c, "scheduler_thrift_workload", w.n);
}

/* ---------------- configs of a job ---------------- */

static int by_config_and_instance(const void *a, const void *b)
{
    const struct task *x = *(const struct task *const *)a, *y = *(const struct task *const *)b;
    if (x->config->hash != y->config->hash) return x->config->hash < y->config->hash ? -1 : 1;
    return (x->instance_id > y->instance_id) - (x->instance_id < y->instance_id);
}

/* The instances of v[0..n), ascending, as ranges without gaps. */
static void to_ranges(struct command *c, const struct task **v, uint32_t n, struct api_config_group *g)
{
    g->has_instances = true;
    g->instances = ARENA_ARRAY(c->a, struct api_range, n);
    for (uint32_t i = 0; i < n; i++) {
        int32_t id = v[i]->instance_id;
        struct api_range *last = g->n_instances ? &g->instances[g->n_instances - 1] : NULL;
        if (last && id <= last->last) continue;
        if (last && id == last->last + 1)
            last->last = id;
        else
            g->instances[g->n_instances++] =
                (struct api_range){ .has_first = true, .first = id, .has_last = true, .last = id };
    }
}

static void group_configs(struct command *c, struct task_list l, struct api_config_summary *out)
{
    if (l.n) qsort(l.v, l.n, sizeof(struct task *), by_config_and_instance);
    out->has_groups = true;
    out->groups = ARENA_ARRAY(c->a, struct api_config_group, l.n);
    for (uint32_t i = 0, next; i < l.n; i = next) {
        for (next = i + 1; next < l.n && l.v[next]->config == l.v[i]->config;) next++;
        struct api_config_group *g = &out->groups[out->n_groups++];
        g->config = (struct api_task_config *)step_pin(&c->s->step, l.v[i])->config->api;
        to_ranges(c, l.v + i, next - i, g);
    }
}

void cmd_get_config_summary(struct command *c)
{
    const struct api_get_config_summary_args *args = c->args;
    if (!command_key_ok(c, args->job) || !command_ready(c)) return;
    struct task_list l = store_job_tasks(c->s->store, args->job, &c->s->step.scratch);
    uint32_t n = 0;
    for (uint32_t i = 0; i < l.n; i++)
        if (status_in(l.v[i]->status, TASKS_ACTIVE)) l.v[n++] = l.v[i];
    l.n = n;
    struct api_config_summary_result *r = ARENA_NEW(c->a, struct api_config_summary_result);
    r->summary = ARENA_NEW(c->a, struct api_config_summary);
    r->summary->key = thrift_clone(&api_job_key_desc, args->job, c->a);
    group_configs(c, l, r->summary);
    command_result(c)->config_summary_result = r;
    command_workload(c, "scheduler_thrift_workload", r->summary->n_groups);
}

/* ---------------- tiers ---------------- */

static void show_tier(struct command *c, const struct tier_setting *t, struct api_tier_config *out)
{
    out->name = arena_str(c->a, t->name);
    out->has_settings = true;
    out->n_settings = 2;
    out->settings_keys = ARENA_ARRAY(c->a, struct str, 2);
    out->settings = ARENA_ARRAY(c->a, struct str, 2);
    out->settings_keys[0] = STR("preemptible");
    out->settings[0] = t->preemptible ? STR("true") : STR("false");
    out->settings_keys[1] = STR("revocable");
    out->settings[1] = t->revocable ? STR("true") : STR("false");
}

void cmd_get_tier_configs(struct command *c)
{
    const struct sched_config *sc = &c->s->config;
    struct api_get_tier_config_result *r = ARENA_NEW(c->a, struct api_get_tier_config_result);
    *r = (struct api_get_tier_config_result){ .default_tier_name = arena_str(c->a, sc->default_tier),
                                              .has_tiers = true,
                                              .n_tiers = sc->n_tiers };
    r->tiers = ARENA_ARRAY(c->a, struct api_tier_config, sc->n_tiers);
    for (uint32_t i = 0; i < sc->n_tiers; i++) show_tier(c, &sc->tiers[i], &r->tiers[i]);
    command_result(c)->get_tier_config_result = r;
}
