/* Pages that show the scheduler's state. */
#include "admin/endpoints.h"

#include "admin/exchange.h"
#include "admin/rpc.h"
#include "core/err.h"
#include "core/store.h"

#include <stdlib.h>

static void json_str(struct buf *out, struct str s)
{
    json_write_string(out, s, JSON_GSON);
}

/* ---------------- /agents ---------------- */

static int by_name(const void *x, const void *y)
{
    const struct api_attribute *const *a = x;
    const struct api_attribute *const *b = y;
    return str_cmp((*a)->name, (*b)->name);
}

static void write_attribute(const struct api_attribute *attribute, struct buf *out)
{
    html_escape(attribute->name, out);
    buf_adds(out, "=[");
    for (uint32_t i = 0; i < attribute->n_values; i++) {
        if (i) buf_addc(out, ',');
        html_escape(attribute->values[i], out);
    }
    buf_addc(out, ']');
}

static void write_attributes(const struct api_host_attributes *h, struct buf *out)
{
    const struct api_attribute **sorted = xcalloc(h->n_attributes, sizeof(struct api_attribute *));
    for (uint32_t i = 0; i < h->n_attributes; i++) sorted[i] = &h->attributes[i];
    qsort(sorted, h->n_attributes, sizeof(struct api_attribute *), by_name);
    for (uint32_t i = 0; i < h->n_attributes; i++) {
        if (i) buf_adds(out, ", ");
        write_attribute(sorted[i], out);
    }
    free(sorted);
}

static bool write_agent(const struct api_host_attributes *h, void *arg)
{
    struct buf *out = arg;
    const char *mode =
        tenum_name(&api_maintenance_mode_enum, h->has_mode ? (int32_t)h->mode : API_MAINTENANCE_MODE_NONE);
    buf_adds(out, "<tr><td><a href=\"http://");
    html_escape(h->host, out);
    buf_adds(out, ":1338\">");
    html_escape(h->host, out);
    buf_adds(out, "</a></td><td>");
    html_escape(h->slave_id, out);
    buf_addf(out, "</td><td>%s</td><td>", mode ? mode : "");
    write_attributes(h, out);
    buf_adds(out, "</td></tr>\n");
    return true;
}

void page_agents(struct page *p)
{
    struct buf title = { 0 };
    buf_addf(&title, "Aurora %.*s agents", STR_ARG(p->app->settings->sched.cluster_name));
    html_begin(p->out, buf_cstr(&title));
    buf_release(&title);
    buf_adds(p->out, "<table>\n<tr><th>Host</th><th>Agent ID</th><th>Maintenance mode</th><th>Attributes</th></tr>\n");
    store_each_host(sched_store(p->app->sched), write_agent, p->out);
    buf_adds(p->out, "</table>\n");
    html_end(p->out);
}

/* ---------------- /offers ---------------- */

static void write_offer(const struct offer *o, void *arg)
{
    struct page *p = arg;
    size_t before = p->out->len;
    if (before > 1) buf_addc(p->out, ',');
    size_t comma = p->out->len;
    driver_write_offer(p->app->driver, o->id, p->out);
    if (p->out->len == comma) p->out->len = before; /* taken meanwhile */
}

void page_offers(struct page *p)
{
    buf_addc(p->out, '[');
    sched_each_offer(p->app->sched, write_offer, p);
    buf_addc(p->out, ']');
}

/* ---------------- /pendingtasks ---------------- */

static void write_group(const struct pending_group *g, void *arg)
{
    struct buf *out = arg;
    if (out->len > 1) buf_addc(out, ',');
    buf_addf(out, "{\"penaltyMs\":%lld,\"taskIds\":[", (long long)g->penalty_ms);
    for (uint32_t i = 0; i < g->n_task_ids; i++) {
        if (i) buf_addc(out, ',');
        json_str(out, g->task_ids[i]);
    }
    buf_adds(out, "],\"name\":");
    json_str(out, g->name);
    buf_adds(out, ",\"reason\":");
    json_str(out, g->reason);
    buf_addc(out, '}');
}

void page_pendingtasks(struct page *p)
{
    buf_addc(p->out, '[');
    sched_each_pending_group(p->app->sched, write_group, p->out);
    buf_addc(p->out, ']');
}

/* ---------------- /tiers ---------------- */

void page_tiers(struct page *p)
{
    const struct sched_config *c = &p->app->settings->sched;
    buf_adds(p->out, "{\"default\":");
    json_str(p->out, c->default_tier);
    buf_adds(p->out, ",\"tiers\":{");
    for (uint32_t i = 0; i < c->n_tiers; i++) {
        const struct tier_setting *t = &c->tiers[i];
        if (i) buf_addc(p->out, ',');
        json_str(p->out, t->name);
        buf_addf(p->out, ":{\"preemptible\":%s,\"revocable\":%s}", t->preemptible ? "true" : "false",
                 t->revocable ? "true" : "false");
    }
    buf_adds(p->out, "}}");
}

void page_methods(struct page *p)
{
    rpc_write_methods(p->out);
}

/* ---------------- /state ---------------- */

/* All tasks, for a page that is made on the pool. */
struct state_job {
    struct exchange x; /* first */
    struct app *app;
    struct image *image;
};

static void free_state_job(struct exchange *x)
{
    struct state_job *job = (struct state_job *)x;
    image_unref(job->image);
    free(job);
}

static bool is_active(const struct task *t)
{
    return t->slave_id.p && t->status != API_SCHEDULE_STATUS_FINISHED && t->status != API_SCHEDULE_STATUS_FAILED &&
           t->status != API_SCHEDULE_STATUS_KILLED && t->status != API_SCHEDULE_STATUS_LOST;
}

static int by_config(const void *x, const void *y)
{
    const struct task *const *a = x;
    const struct task *const *b = y;
    if ((*a)->config == (*b)->config) return 0;
    const struct api_job_key *j = (*a)->config->api->job;
    const struct api_job_key *k = (*b)->config->api->job;
    int d = str_cmp(j->role, k->role);
    if (!d) d = str_cmp(j->environment, k->environment);
    if (!d) d = str_cmp(j->name, k->name);
    if (d) return d;
    return (*a)->config->hash < (*b)->config->hash ? -1 : 1;
}

static int by_agent(const void *x, const void *y)
{
    const struct task *const *a = x;
    const struct task *const *b = y;
    int d = str_cmp((*a)->slave_id, (*b)->slave_id);
    return d ? d : by_config(x, y);
}

static void write_config_key(const struct config *c, struct buf *out)
{
    struct buf key = { 0 };
    const struct api_job_key *j = c->api->job;
    buf_addf(&key, "%.*s/%.*s/%.*s-%016llx", STR_ARG(j->role), STR_ARG(j->environment), STR_ARG(j->name),
             (unsigned long long)c->hash);
    json_str(out, (struct str){ buf_cstr(&key), (uint32_t)key.len });
    buf_release(&key);
}

static int write_configs(const struct task **tasks, uint32_t n, struct buf *out)
{
    const struct config *last = NULL;
    int rv = 0;
    qsort(tasks, n, sizeof(const struct task *), by_config);
    for (uint32_t i = 0; i < n && rv == 0; i++) {
        if (tasks[i]->config == last) continue;
        if (last) buf_addc(out, ',');
        last = tasks[i]->config;
        write_config_key(last, out);
        buf_addc(out, ':');
        rv = json_write(out, &api_task_config_desc, last->api, JSON_GSON);
    }
    return rv;
}

static void write_agents(const struct task **tasks, uint32_t n, struct buf *out)
{
    qsort(tasks, n, sizeof(const struct task *), by_agent);
    for (uint32_t i = 0; i < n; i++) {
        bool first = i == 0 || !str_eq(tasks[i]->slave_id, tasks[i - 1]->slave_id);
        if (first) {
            buf_adds(out, i ? "]," : "");
            json_str(out, tasks[i]->slave_id);
            buf_adds(out, ":[");
        } else {
            buf_addc(out, ',');
        }
        write_config_key(tasks[i]->config, out);
    }
    if (n) buf_addc(out, ']');
}

static void work_state(struct exchange *x)
{
    struct state_job *job = (struct state_job *)x;
    struct buf *out = &x->answer.body;
    const struct image *image = job->image;
    const struct task **active = xcalloc(image->n, sizeof(const struct task *));
    uint32_t n = 0;
    for (uint32_t i = 0; i < image->n; i++)
        if (is_active(image->tasks[i])) active[n++] = image->tasks[i];
    buf_adds(out, "{\"taskConfigs\":{");
    int rv = write_configs(active, n, out);
    buf_adds(out, "},\"agents\":{");
    write_agents(active, n, out);
    buf_adds(out, "}}");
    free(active);
    x->answer.status = rv == 0 ? 200 : 500;
    x->answer.content_type = TYPE_JSON;
}

static void on_state_made(struct exchange *x)
{
    page_send_durable(((struct state_job *)x)->app, x);
}

void page_state(struct page *p)
{
    struct state_job *job = xcalloc(1, sizeof(*job));
    job->app = p->app;
    job->image = image_take(sched_store(p->app->sched), app_now_ms(NULL));
    job->x.free = free_state_job;
    p->taken = true;
    exchange_begin(&job->x, p->request, p->app->loop);
    exchange_offload(&job->x, work_state, on_state_made);
}

/* ---------------- /structdump ---------------- */

static void new_line(struct buf *out, int depth)
{
    buf_addf(out, "\n%*s", 2 * depth, "");
}

/* Compact JSON, laid out over lines and made safe for HTML. */
static void write_pretty(struct str json, struct buf *out)
{
    int depth = 0;
    bool quoted = false;
    for (uint32_t i = 0; i < json.n; i++) {
        struct str c = { json.p + i, 1 };
        char ch = *c.p;
        if (quoted && ch == '\\') {
            c.n = 2;
            i++;
        } else if (ch == '"') {
            quoted = !quoted;
        }
        bool empty = i + 1 < json.n && (json.p[i + 1] == '}' || json.p[i + 1] == ']');
        if (!quoted && (ch == '}' || ch == ']')) {
            depth--;
            if (json.p[i - 1] != '{' && json.p[i - 1] != '[') new_line(out, depth);
        }
        html_escape(c, out);
        if (quoted) continue;
        if (ch == '{' || ch == '[') {
            depth++;
            if (!empty) new_line(out, depth);
        } else if (ch == ',') {
            new_line(out, depth);
        } else if (ch == ':') {
            buf_addc(out, ' ');
        }
    }
}

void page_structdump(struct page *p)
{
    const struct task *t = store_task(sched_store(p->app->sched), p->rest);
    html_begin(p->out, "Task");
    if (t) {
        struct arena arena = { 0 };
        struct api_scheduled_task api = { 0 };
        struct buf json = { 0 };
        task_to_api(t, &api, &arena);
        int rv = json_write(&json, &api_scheduled_task_desc, &api, JSON_PLAIN);
        buf_adds(p->out, "<pre>");
        if (rv == 0) write_pretty((struct str){ buf_cstr(&json), (uint32_t)json.len }, p->out);
        buf_adds(p->out, "</pre>\n");
        buf_release(&json);
        arena_release(&arena);
    } else {
        buf_adds(p->out, "<p>Exception: Entity not found</p>\n");
    }
    html_end(p->out);
}
