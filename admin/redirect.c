#include "admin/redirect.h"

#include "admin/endpoints.h"
#include "admin/exchange.h"

/* Beginnings of paths, not folders: /apibeta and /api/v1 are the leader's, too. The last ones are pages of the UI. */
static const char *const prefixes[] = {
    "/agents",           "/api",       "/cron",   "/maintenance", "/mname", "/offers",
    "/pendingtasks",     "/quotas",    "/slaves", "/state",       "/tiers", "/utilization",
    "/assets/scheduler", "/scheduler", "/updates"
};

bool redirect_applies(struct str path)
{
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t n = strlen(prefixes[i]);
        if (path.n >= n && memcmp(path.p, prefixes[i], n) == 0) return true;
    }
    return false;
}

static void answer_no_leader(struct app *a, struct http_request *r)
{
    struct buf page = { 0 };
    html_begin(&page, "No Leader Found");
    buf_adds(&page,
             "<p>There is no leading scheduler at the moment, or more than one is announced. The answer will change "
             "once one has been elected and Mesos has registered it.</p>\n");
    html_end(&page);
    exchange_reply(r, 503, TYPE_HTML, NULL, 0, &page, a->loop);
}

/* The path goes as it came, with its escapes. */
static void answer_redirect(struct http_request *r, const struct zk_endpoint *leader)
{
    struct buf location = { 0 };
    buf_addf(&location, "http://%s:%u%.*s", leader->host, leader->port, STR_ARG(r->path));
    if (r->query.p) buf_addf(&location, "?%.*s", STR_ARG(r->query));
    struct http_header header = { STR("Location"), str_c(buf_cstr(&location)) };
    http_respond(r, 307, NULL, &header, 1, "", 0);
    buf_release(&location);
}

bool redirect_request(struct app *a, struct http_request *r, struct str path)
{
    if (!a->lead || !redirect_applies(path)) return false;
    if (http_request_header(r, "Bypass-Leader-Redirect").p) return false;
    struct zk_endpoint leader;
    switch (lead_who(a->lead, &leader)) {
    case LEAD_US:
        return false;
    case LEAD_OTHER:
        answer_redirect(r, &leader);
        return true;
    default:
        answer_no_leader(a, r);
        return true;
    }
}
