#include "mesos/local/control.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "core/text.h"
#include "mesos/local/files.h"
#include "mesos/local/wire.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* One request at work: its answer is made in `out`. */
struct control {
    struct wire *w;
    struct http_request *r;
    const cJSON *body; /* of POST; NULL: none */
    struct buf out;
    const char *type;
};

/* Each endpoint returns the HTTP status; for 4xx `out` says why in words. */
typedef int (*endpoint)(struct control *c);

static int refuse(struct control *c, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(struct control *c, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    c->type = "text/plain; charset=utf-8";
    buf_reset(&c->out);
    buf_vaddf(&c->out, fmt, ap);
    buf_addc(&c->out, '\n');
    va_end(ap);
    return status;
}

/* ---------------- parameters ---------------- */

static bool query_text(struct control *c, const char *name, struct buf *out)
{
    return c->r->query.p && query_param(c->r->query, name, out) == 0;
}

static bool query_number(struct control *c, const char *name, long long fallback, long long *ret)
{
    struct buf text = { 0 };
    char *end;
    *ret = fallback;
    bool ok = true;
    if (query_text(c, name, &text)) {
        *ret = strtoll(buf_cstr(&text), &end, 10);
        ok = text.len > 0 && !*end;
    }
    buf_release(&text);
    return ok;
}

static const char *text_of(struct control *c, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c->body, name));
}

static bool flag_of(struct control *c, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(c->body, name));
}

static double number_of(struct control *c, const char *name, double fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(c->body, name);
    return cJSON_IsNumber(v) && v->valuedouble >= -1 && v->valuedouble < 1e12 ? v->valuedouble : fallback;
}

/* ---------------- looking ---------------- */

static int get_health(struct control *c)
{
    c->type = NULL;
    return 200;
}

static int get_version(struct control *c)
{
    buf_adds(&c->out, "{\"version\":\"1.12.0\",\"program\":\"mesos-local\"}\n");
    return 200;
}

static int get_state(struct control *c)
{
    long long from, n;
    if (!query_number(c, "from", 0, &from) || !query_number(c, "n", UINT32_MAX, &n) || from < 0 || n < 0 ||
        from > UINT32_MAX || n > UINT32_MAX)
        return refuse(c, 400, "from and n are numbers of 0 or more");
    master_write_state(c->w->m, (uint32_t)from, (uint32_t)n, &c->out);
    return 200;
}

/* ---------------- files ---------------- */

/* Opens the query's path; below 0: the answer is made and *ret_status is set. */
static int open_path(struct control *c, struct buf *path, int *ret_status)
{
    if (!query_text(c, "path", path) || !path->len) {
        *ret_status = refuse(c, 400, "Expecting 'path=value' in query.");
        return -1;
    }
    int fd = strlen(buf_cstr(path)) == path->len ? files_open(c->w->work_dir, buf_cstr(path)) : ERR_REFUSED;
    if (fd == ERR_REFUSED) *ret_status = refuse(c, 403, "not below the work folder");
    if (fd < 0 && fd != ERR_REFUSED) *ret_status = refuse(c, 404, "no such file");
    return fd;
}

static int read_error(struct control *c, int err)
{
    if (err == ERR_UNSUPPORTED) return refuse(c, 400, "Cannot read a directory.");
    return refuse(c, 500, "%s", err_str(err));
}

/* Mesos's form: offset -1 asks for the size, which comes as `offset` with no data. */
static int get_read(struct control *c)
{
    struct buf path = { 0 }, data = { 0 };
    long long offset, length;
    uint64_t size = 0;
    int status = 200;
    if (!query_number(c, "offset", -1, &offset)) return refuse(c, 400, "Failed to parse offset.");
    if (offset < -1) return refuse(c, 400, "Negative offset provided: %lld.", offset);
    if (!query_number(c, "length", -1, &length)) return refuse(c, 400, "Failed to parse length.");
    if (length < -1) return refuse(c, 400, "Negative length provided: %lld.", length);
    int fd = open_path(c, &path, &status);
    if (fd >= 0) {
        uint64_t want = length < 0 || length > LIMIT_LOCAL_READ_BYTES ? LIMIT_LOCAL_READ_BYTES : (uint64_t)length;
        int rc = files_read(fd, offset < 0 ? 0 : (uint64_t)offset, offset < 0 ? 0 : want, &data, &size);
        if (rc) status = read_error(c, rc);
    }
    if (status == 200) {
        buf_adds(&c->out, "{\"data\":");
        text_json_string(&c->out, (struct str){ data.len ? (const char *)data.data : "", (uint32_t)data.len }, false);
        buf_addf(&c->out, ",\"offset\":%llu}", offset < 0 ? (unsigned long long)size : (unsigned long long)offset);
    }
    buf_release(&path);
    buf_release(&data);
    return status;
}

static int send_file(struct control *c, int fd, const char *type)
{
    uint64_t size = 0;
    c->type = type;
    int rc = files_read(fd, 0, LIMIT_LOCAL_DOWNLOAD_BYTES, &c->out, &size);
    if (rc) return read_error(c, rc);
    if (size > LIMIT_LOCAL_DOWNLOAD_BYTES)
        return refuse(c, 413, "larger than %u bytes: use /files/read", LIMIT_LOCAL_DOWNLOAD_BYTES);
    return 200;
}

static int get_download(struct control *c)
{
    struct buf path = { 0 };
    int status, fd = open_path(c, &path, &status);
    if (fd >= 0) status = send_file(c, fd, "application/octet-stream");
    buf_release(&path);
    return status;
}

/* /sandbox/<task id>/<file> */
static int get_sandbox(struct control *c)
{
    struct buf path = { 0 };
    struct str rest = { c->r->path.p + strlen("/sandbox/"), c->r->path.n - (uint32_t)strlen("/sandbox/") };
    int fd = ERR_NOT_FOUND;
    if (url_decode(rest, &path, false) == 0 && strlen(buf_cstr(&path)) == path.len) {
        char *id = (char *)path.data, *slash = strchr(id, '/');
        if (slash) *slash++ = 0;
        fd = files_open_sandbox(c->w->work_dir, id, slash ? slash : "");
    }
    buf_release(&path);
    if (fd == ERR_REFUSED) return refuse(c, 403, "not below the work folder");
    if (fd < 0) return refuse(c, 404, "no such file");
    return send_file(c, fd, "text/plain; charset=utf-8");
}

static int get_browse(struct control *c)
{
    struct buf path = { 0 };
    int status = 200, fd = open_path(c, &path, &status);
    int rc = fd >= 0 ? files_list(fd, buf_cstr(&path), &c->out) : 0;
    if (rc == ERR_UNSUPPORTED) status = refuse(c, 400, "not a folder");
    buf_release(&path);
    return status;
}

/* ---------------- faults ---------------- */

static bool fault_of(struct control *c, struct fault *f)
{
    static const char *const actions[] = { "drop", "delay", "duplicate", "reorder" };
    const char *action = text_of(c, "action"), *name = text_of(c, "message"), *dir = text_of(c, "direction");
    if (!action || !name || !dir || strlen(name) >= sizeof f->name) return false;
    *f = (struct fault){ .action = FAULT_DROP };
    while ((size_t)f->action < sizeof actions / sizeof *actions && strcmp(actions[f->action], action) != 0) f->action++;
    f->incoming = strcmp(dir, "in") == 0;
    snprintf(f->name, sizeof f->name, "%s", name);
    double count = number_of(c, "count", 1);
    f->count = count < 0 ? UINT32_MAX : (uint32_t)count;
    f->skip = (uint32_t)number_of(c, "skip", 0);
    f->delay_ms = (int64_t)number_of(c, "delay_ms", 0);
    return (size_t)f->action < sizeof actions / sizeof *actions && (f->incoming || strcmp(dir, "out") == 0);
}

static int post_faults(struct control *c)
{
    struct fault f;
    if (!fault_of(c, &f))
        return refuse(c, 400, "expecting action (drop, delay, duplicate, reorder), direction (in, out) and message");
    if (faults_add(c->w->faults, &f)) return refuse(c, 409, "no more than %d rules", LIMIT_LOCAL_FAULTS);
    buf_adds(&c->out, "{}\n");
    return 200;
}

static int post_faults_clear(struct control *c)
{
    faults_clear(c->w->faults);
    buf_adds(&c->out, "{}\n");
    return 200;
}

static int get_faults(struct control *c)
{
    const struct fault *v;
    uint32_t n = faults_list(c->w->faults, &v);
    buf_addc(&c->out, '[');
    for (uint32_t i = 0; i < n; i++) {
        buf_addf(&c->out, "%s{\"direction\":\"%s\",\"message\":", i ? "," : "", v[i].incoming ? "in" : "out");
        text_json_string(&c->out, str_c(v[i].name), false);
        buf_addf(&c->out, ",\"left\":%u,\"hits\":%llu}", v[i].count, (unsigned long long)v[i].hits);
    }
    buf_adds(&c->out, "]\n");
    return 200;
}

/* ---------------- agents, offers, tasks, the master ---------------- */

static struct agent *agent_of(struct control *c)
{
    const char *name = text_of(c, "agent");
    return name ? master_find_agent(c->w->m, name) : NULL;
}

static int post_lose(struct control *c)
{
    static const char *const hows[] = { "disconnect", "unreachable", "gone" };
    const char *how = text_of(c, "how");
    struct agent *a = agent_of(c);
    int i = 0;
    while (i < 3 && strcmp(hows[i], how ? how : "unreachable") != 0) i++;
    if (!a) return refuse(c, 404, "no such agent");
    if (i == 3) return refuse(c, 400, "how is disconnect, unreachable or gone");
    if (master_lose_agent(c->w->m, a, (enum agent_loss)i, flag_of(c, "kill_tasks"), wire_now(c->w)))
        return refuse(c, 409, "the agent is in that state already, or gone");
    buf_adds(&c->out, "{}\n");
    return 200;
}

static int post_return(struct control *c)
{
    struct agent *a = agent_of(c);
    if (!a) return refuse(c, 404, "no such agent");
    if (master_return_agent(c->w->m, a, flag_of(c, "kill_tasks"), wire_now(c->w)))
        return refuse(c, 409, "the agent isn't away, or gone for good");
    buf_adds(&c->out, "{}\n");
    return 200;
}

static int post_add(struct control *c)
{
    const struct options *o = &c->w->options;
    const char *resources = text_of(c, "resources"), *attributes = text_of(c, "attributes"),
               *hostname = text_of(c, "hostname");
    struct agent_spec spec = { str_c(resources ? resources : o->agent_resources),
                               str_c(attributes ? attributes : o->attributes),
                               str_c(hostname ? hostname : o->agent_hostname) };
    struct buf err = { 0 };
    double n = number_of(c, "n", 1);
    int status = 200;
    if (n < 1 || n > LIMIT_LOCAL_AGENTS) return refuse(c, 400, "n is 1 to %d", LIMIT_LOCAL_AGENTS);
    int rc = master_add_agents(c->w->m, &spec, (uint32_t)n, wire_now(c->w), &err);
    if (rc) {
        status = refuse(c, 400, "%s", err.len ? buf_cstr(&err) : err_str(rc));
    } else {
        buf_adds(&c->out, "{}\n");
    }
    buf_release(&err);
    return status;
}

static int post_failover(struct control *c)
{
    int64_t down = (int64_t)number_of(c, "down_ms", 0), after = (int64_t)number_of(c, "agents_after_ms", 0),
            spread = (int64_t)number_of(c, "agents_spread_ms", 0);
    if (down < 0 || spread < 0) return refuse(c, 400, "times are milliseconds");
    if (wire_failover(c->w, down, after, spread)) return refuse(c, 409, "the master is down");
    buf_addf(&c->out, "{\"id\":\"%s\"}\n", master_id(c->w->m));
    return 200;
}

static int post_rescind(struct control *c)
{
    uint32_t n = master_rescind(c->w->m, text_of(c, "offer"), wire_now(c->w));
    buf_addf(&c->out, "{\"rescinded\":%u}\n", n);
    return 200;
}

static int post_task(struct control *c)
{
    const char *id = text_of(c, "task"), *state = text_of(c, "state"), *reason = text_of(c, "reason");
    struct task *t = id ? master_find_task(c->w->m, text_of(c, "framework"), id) : NULL;
    const ProtobufCEnumValue *s =
        state ? protobuf_c_enum_descriptor_get_value_by_name(&mesos__task_state__descriptor, state) : NULL;
    const ProtobufCEnumValue *why =
        reason ? protobuf_c_enum_descriptor_get_value_by_name(&mesos__task_status__reason__descriptor, reason) : NULL;
    if (!t) return refuse(c, 404, "no such task at any agent");
    if (!s || (reason && !why))
        return refuse(c, 400, "expecting state (TASK_FAILED, ...) and a reason (REASON_...) or none");
    if (task_is_real(t)) return refuse(c, 409, "the task really runs: kill its processes instead");
    master_task_event(c->w->m, t, (Mesos__TaskState)s->value, why ? why->value : -1, text_of(c, "message"),
                      wire_now(c->w));
    buf_adds(&c->out, "{}\n");
    return 200;
}

/* As if the connection to the scheduler had broken. */
static int post_disconnect(struct control *c)
{
    const char *id = text_of(c, "framework");
    if (!id || master_disconnect(c->w->m, id, wire_now(c->w))) return refuse(c, 404, "no such connected framework");
    buf_adds(&c->out, "{}\n");
    return 200;
}

/* ---------------- routing ---------------- */

static const struct {
    const char *method, *path;
    endpoint fn;
} endpoints[] = {
    { "GET", "/health", get_health },
    { "GET", "/master/health", get_health },
    { "GET", "/version", get_version },
    { "GET", "/state", get_state },
    { "GET", "/master/state", get_state },
    { "GET", "/files/read", get_read },
    { "GET", "/files/download", get_download },
    { "GET", "/files/browse", get_browse },
    { "GET", "/control/faults", get_faults },
    { "POST", "/control/faults", post_faults },
    { "POST", "/control/faults/clear", post_faults_clear },
    { "POST", "/control/agents/add", post_add },
    { "POST", "/control/agents/lose", post_lose },
    { "POST", "/control/agents/return", post_return },
    { "POST", "/control/frameworks/disconnect", post_disconnect },
    { "POST", "/control/master/failover", post_failover },
    { "POST", "/control/offers/rescind", post_rescind },
    { "POST", "/control/tasks/update", post_task },
};

static int run(struct control *c, endpoint fn)
{
    if (!c->r->body.n) return fn(c);
    cJSON *doc = cJSON_ParseWithLength(c->r->body.p, c->r->body.n);
    if (!cJSON_IsObject(doc)) {
        cJSON_Delete(doc);
        return refuse(c, 400, "the body is not a JSON object");
    }
    c->body = doc;
    int status = fn(c);
    cJSON_Delete(doc);
    return status;
}

static int dispatch(struct control *c)
{
    bool known = false;
    struct str path = c->r->path;
    if (path.n > 9 && memcmp(path.p, "/sandbox/", 9) == 0 && str_eq(c->r->method, STR("GET"))) return get_sandbox(c);
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        if (!str_eq(path, str_c(endpoints[i].path))) continue;
        known = true;
        if (str_eq(c->r->method, str_c(endpoints[i].method))) return run(c, endpoints[i].fn);
    }
    return known ? refuse(c, 405, "not with this method") : refuse(c, 404, "no such endpoint");
}

void control_handle(struct http_request *r, void *arg)
{
    struct control c = { .w = arg, .r = r, .type = "application/json" };
    int status = dispatch(&c);
    logline(LOG_DEBUG, "http", "method=%.*s path=%.*s status=%d", STR_ARG(r->method), STR_ARG(r->path), status);
    http_respond_buf(r, status, c.type, NULL, 0, &c.out);
    buf_release(&c.out);
}
