#include "admin/endpoints.h"

#include "admin/rpc.h"
#include "core/err.h"
#include "core/logline.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

const struct route endpoint_routes[] = {
    { "/", "GET", page_index, TYPE_HTML, false, NULL },
    { "/index.html", "GET", page_index, TYPE_HTML, false, NULL },
    { "/agents", "GET", page_agents, TYPE_HTML, true, "agents, their attributes and maintenance mode" },
    { "/slaves", "GET", page_agents, TYPE_HTML, true, NULL },
    { "/offers", "GET", page_offers, TYPE_JSON, true, "offers of Mesos that are held" },
    { "/pendingtasks", "GET", page_pendingtasks, TYPE_JSON, true, "what waits for a place, and why" },
    { "/state", "GET", page_state, TYPE_JSON, true, "active tasks by agent" },
    { "/tiers", "GET", page_tiers, TYPE_JSON, false, "the tiers" },
    { "/structdump/task/", "GET", page_structdump, TYPE_HTML, true, NULL },
    { "/api/v1", "GET", page_methods, TYPE_JSON, false, "methods of the RPC (POST /api/v1/<method>)" },
    { "/health", "GET", page_health, TYPE_TEXT, false, "OK if the loop answers" },
    { "/leaderhealth", "GET", page_leaderhealth, TYPE_TEXT, false, "whether this scheduler leads" },
    { "/replica", "GET", page_replica, TYPE_JSON, false, "this scheduler's part of the replicated log" },
    { "/services", "GET", page_services, TYPE_JSON, false, "state of the parts" },
    { "/vars", "GET", page_vars, TYPE_TEXT, false, "statistics" },
    { "/vars.json", "GET", page_vars_json, TYPE_JSON, false, "statistics as JSON" },
    { "/graphdata/", "GET", page_graphdata, TYPE_JSON, false, "time series (?metrics=a,b&since=MS)" },
    { "/graphdata", "GET", page_graphdata, TYPE_JSON, false, NULL },
    { "/quitquitquit", "POST", page_quit, TYPE_TEXT, false, NULL },
    { "/abortabortabort", "POST", page_abort, TYPE_TEXT, false, NULL },
};
const size_t endpoint_n_routes = sizeof(endpoint_routes) / sizeof(endpoint_routes[0]);

const struct route *endpoint_find(struct str path, struct str *rest)
{
    for (size_t i = 0; i < endpoint_n_routes; i++) {
        const struct route *r = &endpoint_routes[i];
        uint32_t n = (uint32_t)strlen(r->path);
        bool is_folder = n > 1 && r->path[n - 1] == '/';
        if (is_folder ? path.n < n : path.n != n) continue;
        if (memcmp(path.p, r->path, n) != 0) continue;
        *rest = (struct str){ path.p + n, path.n - n };
        return r;
    }
    return NULL;
}

/* ---------------- HTML ---------------- */

void html_escape(struct str s, struct buf *out)
{
    for (uint32_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '<':
            buf_adds(out, "&lt;");
            break;
        case '>':
            buf_adds(out, "&gt;");
            break;
        case '&':
            buf_adds(out, "&amp;");
            break;
        case '"':
            buf_adds(out, "&quot;");
            break;
        case '\'':
            buf_adds(out, "&#39;");
            break;
        default:
            buf_addc(out, s.p[i]);
        }
    }
}

void html_begin(struct buf *out, const char *title)
{
    buf_adds(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    html_escape(str_c(title), out);
    buf_adds(out, "</title>\n<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
                  "td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left}</style></head><body>\n<h1>");
    html_escape(str_c(title), out);
    buf_adds(out, "</h1>\n");
}

void html_end(struct buf *out)
{
    buf_adds(out, "</body></html>\n");
}

void page_index(struct page *p)
{
    const struct app *a = p->app;
    struct buf title = { 0 };
    buf_addf(&title, "Aurora scheduler %.*s", STR_ARG(a->settings->sched.cluster_name));
    html_begin(p->out, buf_cstr(&title));
    buf_release(&title);
    buf_addf(p->out, "<p>%s</p>\n<table>\n", lifecycle_name(a->state));
    for (size_t i = 0; i < endpoint_n_routes; i++) {
        const struct route *r = &endpoint_routes[i];
        if (!r->about) continue;
        buf_addf(p->out, "<tr><td><a href=\"%s\">%s</a></td><td>", r->path, r->path);
        html_escape(str_c(r->about), p->out);
        buf_adds(p->out, "</td></tr>\n");
    }
    buf_adds(p->out, "</table>\n");
    html_end(p->out);
}

/* ---------------- health ---------------- */

void page_health(struct page *p)
{
    buf_adds(p->out, "OK\n");
}

static enum lead_who who_leads(const struct app *a)
{
    if (a->lead) return lead_who(a->lead, NULL);
    return a->state == LIFECYCLE_ACTIVE ? LEAD_US : LEAD_NOBODY;
}

void page_leaderhealth(struct page *p)
{
    static const struct {
        int status;
        const char *text;
    } answers[] = { [LEAD_US] = { 200, "This is the leading scheduler." },
                    [LEAD_NOBODY] = { 502, "There is no leading scheduler or the leader is unknown." },
                    [LEAD_OTHER] = { 503, "Another instance is the leading scheduler." } };
    enum lead_who who = who_leads(p->app);
    p->status = answers[who].status;
    buf_addf(p->out, "Current status: %s\n\n", answers[who].text);
    buf_addf(p->out, "200: %s\n502: %s\n503: %s\n", answers[LEAD_US].text, answers[LEAD_NOBODY].text,
             answers[LEAD_OTHER].text);
}

/* How far this replica is; `lag` counts positions that are not applied yet. */
void page_replica(struct page *p)
{
    const struct app *a = p->app;
    struct zk_endpoint leader;
    uint64_t begin = log_begin(a->log);
    buf_addf(p->out, "{\"state\":\"%s\",\"leader\":", lifecycle_name(a->state));
    if (a->lead && lead_who(a->lead, &leader) != LEAD_NOBODY) {
        buf_adds(p->out, "{\"host\":");
        json_write_string(p->out, str_c(leader.host), JSON_GSON);
        buf_addf(p->out, ",\"port\":%u}", leader.port);
    } else {
        buf_adds(p->out, "null");
    }
    buf_addf(p->out, ",\"quorum\":%lld,\"members\":%u,\"votes\":%s",
             (long long)flag_int(a->flags, FLAG_native_log_quorum_size), a->peers ? peers_members(a->peers) : 1,
             log_votes(a->log) ? "true" : "false");
    buf_addf(p->out, ",\"begin\":%llu,\"known\":%llu,\"heard\":%llu,\"lag\":%llu}", (unsigned long long)begin,
             (unsigned long long)log_known(a->log, begin), (unsigned long long)log_heard(a->log),
             (unsigned long long)stream_lag(a->stream));
}

static void write_service(struct buf *out, const char *name, bool runs)
{
    buf_addf(out, "{\"name\":\"%s\",\"state\":\"%s\"}", name, runs ? "RUNNING" : "STARTING");
}

void page_services(struct page *p)
{
    const struct app *a = p->app;
    buf_addc(p->out, '[');
    write_service(p->out, "HttpServer", true);
    buf_addc(p->out, ',');
    write_service(p->out, "LogStorage", a->ready);
    buf_addc(p->out, ',');
    write_service(p->out, "SchedulerDriver", a->driver && driver_connected(a->driver));
    buf_addc(p->out, ']');
}

/* ---------------- statistics ---------------- */

/* The body is about as long as the last time: growing it step by step would copy it again and again. */
void page_vars(struct page *p)
{
    buf_reserve(p->out, p->app->vars_bytes + p->app->vars_bytes / 8);
    stats_write_vars(p->app->stats, p->out);
    p->app->vars_bytes = p->out->len;
}

void page_vars_json(struct page *p)
{
    struct buf value = { 0 };
    bool pretty = query_param(p->request->query, "pretty", &value) == 0 &&
                  (value.len == 0 || strcmp(buf_cstr(&value), "true") == 0);
    buf_release(&value);
    stats_write_json(p->app->stats, p->out, pretty);
}

static void bad_graph(struct page *p, const char *what, struct str which)
{
    struct buf text = { 0 };
    buf_addf(&text, "%s %.*s", what, STR_ARG(which));
    p->status = 400;
    buf_adds(p->out, "{\"error\":");
    json_write_string(p->out, (struct str){ buf_cstr(&text), (uint32_t)text.len }, JSON_GSON);
    buf_addc(p->out, '}');
    buf_release(&text);
}

static bool read_since(struct page *p, int64_t *ret)
{
    struct buf text = { 0 };
    *ret = 0;
    bool ok = true;
    if (query_param(p->request->query, "since", &text) == 0) {
        char *end;
        const char *z = buf_cstr(&text);
        errno = 0;
        *ret = strtoll(z, &end, 10);
        ok = !errno && end != z && !*end;
        if (!ok) bad_graph(p, "Not a time in milliseconds:", (struct str){ z, (uint32_t)text.len });
    }
    buf_release(&text);
    return ok;
}

void page_graphdata(struct page *p)
{
    struct buf metrics = { 0 };
    int64_t since;
    if (query_param(p->request->query, "metrics", &metrics) != 0) {
        stats_write_series_names(p->app->stats, p->out);
    } else if (read_since(p, &since)) {
        struct str unknown = { 0 };
        struct str names = { buf_cstr(&metrics), (uint32_t)metrics.len };
        int rv = stats_write_graph(p->app->stats, names, since, p->out, &unknown);
        if (rv == ERR_NOT_FOUND)
            bad_graph(p, "Unknown metric", unknown);
        else if (rv != 0)
            bad_graph(p, "Too many metrics:", names);
    }
    buf_release(&metrics);
}

/* ---------------- the end ---------------- */

void page_quit(struct page *p)
{
    buf_adds(p->out, "Notifying quit listener.");
    app_stop(p->app, 0, "/quitquitquit");
}

void page_abort(struct page *p)
{
    (void)p;
    logline(LOG_ERROR, "aborting", "reason=/abortabortabort");
    _exit(0);
}
