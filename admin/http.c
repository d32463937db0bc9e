/* Requests on the HTTP ports: the RPC paths here, all others through the table of endpoints.c. */
#include "admin/endpoints.h"
#include "admin/exchange.h"
#include "admin/redirect.h"
#include "admin/recovery.h"
#include "admin/rpc.h"
#include "admin/rpc_call.h"
#include "admin/staged.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#define CORS_METHODS "DELETE,GET,HEAD,OPTIONS,POST,PUT"
#define CORS_HEADERS "Accept,Content-Type,Origin,X-Requested-With"
#define MAX_CORS 3
#define NOT_READY "Storage is not READY\n"

/* ---------------- the RPC ---------------- */

/* A call that was stepped and waits for its answer. The cookie is its address. */
struct rpc_call {
    struct exchange x; /* first: the exchange is the call */
    struct app *app;
    struct rpc_request request;
    struct http_header cors[MAX_CORS];
    uint64_t began; /* uv_hrtime() */
    /* While it is encoded on the pool: */
    struct held *held;
    const struct api_response *response;
    struct rpc_call *prev, *next;
};

static void free_call(struct exchange *x)
{
    struct rpc_call *call = (struct rpc_call *)x;
    struct app *a = call->app;
    DL_DELETE(a->calls, call);
    rpc_request_release(&call->request);
    free(call);
}

static struct rpc_call *new_call(struct app *a, struct http_request *r)
{
    struct rpc_call *call = xcalloc(1, sizeof(*call));
    call->app = a;
    call->began = uv_hrtime();
    DL_APPEND(a->calls, call);
    call->x.free = free_call;
    exchange_begin(&call->x, r, a->loop);
    return call;
}

void rpc_free_calls(struct app *a)
{
    struct rpc_call *call, *next;
    DL_FOREACH_SAFE(a->calls, call, next) free_call(&call->x);
}

static struct str cors_origin(const struct app *a)
{
    struct str origin = flag_str(a->flags, FLAG_enable_cors_for);
    if (!origin.p && flag_bool(a->flags, FLAG_enable_cors_support)) return STR("*");
    return origin;
}

static uint32_t cors_headers(const struct app *a, struct http_header out[MAX_CORS])
{
    struct str origin = cors_origin(a);
    if (!origin.p) return 0;
    out[0] = (struct http_header){ STR("Access-Control-Allow-Origin"), origin };
    out[1] = (struct http_header){ STR("Access-Control-Allow-Methods"), STR(CORS_METHODS) };
    out[2] = (struct http_header){ STR("Access-Control-Allow-Headers"), STR(CORS_HEADERS) };
    return MAX_CORS;
}

static struct api_server_info server_info(const struct app *a)
{
    return (struct api_server_info){ .cluster_name = a->settings->sched.cluster_name,
                                     .stats_url_prefix = a->settings->sched.stats_url_prefix };
}

/* Counts and logs what was answered, reads quietly. */
static void note_answer(const struct rpc_call *call, const struct api_response *response)
{
    struct app *a = call->app;
    const struct tmethod *m = call->request.method;
    const char *code = tenum_name(&api_response_code_enum, (int32_t)response->response_code);
    int64_t nanos = (int64_t)(uv_hrtime() - call->began);
    struct buf name = { 0 };
    buf_addf(&name, "scheduler_thrift_%s", m->name);
    stat_timer_add(stats_timer(a->stats, buf_cstr(&name), "nanos"), nanos);
    buf_release(&name);
    stat_add(stats_intf(a->stats, "scheduler_thrift_response_%s", code ? code : "UNKNOWN"), 1);
    struct str detail = response->n_details ? response->details[0].message : (struct str){ 0 };
    logline(rpc_method_writes(m) ? LOG_INFO : LOG_DEBUG, "rpc", "method=%s code=%s us=%lld detail=\"%.*s\"", m->name,
            code, (long long)(nanos / 1000), STR_ARG(detail));
}

const struct rpc_request *rpc_call_request(const struct rpc_call *call)
{
    return &call->request;
}

struct api_response *rpc_call_response(const struct rpc_call *call, struct arena *a)
{
    struct api_response *r = ARENA_NEW(a, struct api_response);
    *r = (struct api_response){ .has_response_code = true, .response_code = API_RESPONSE_CODE_OK, .has_details = true };
    r->server_info = ARENA_NEW(a, struct api_server_info);
    *r->server_info = server_info(call->app);
    return r;
}

void rpc_call_encode(struct rpc_call *call, const struct api_response *response)
{
    struct exchange *x = &call->x;
    rpc_write(&call->request, response, &x->answer);
    x->gzipped =
        x->gzip && x->answer.status == 200 && x->answer.body.len >= GZIP_MIN_BYTES && gzip_buf(&x->answer.body);
}

void rpc_call_send(struct rpc_call *call, const struct api_response *response)
{
    note_answer(call, response);
    exchange_send(&call->x);
}

static void work_encode(struct exchange *x)
{
    struct rpc_call *call = (struct rpc_call *)x;
    rpc_call_encode(call, call->response);
}

static void on_encoded(struct exchange *x)
{
    held_unpin(((struct rpc_call *)x)->held);
    exchange_send(x);
}

void rpc_on_reply(struct app *a, uint64_t cookie, const struct api_response *response, struct held *h)
{
    struct rpc_call *call = (struct rpc_call *)(uintptr_t)cookie;
    assert(call->app == a);
    note_answer(call, response);
    if (!call->x.request) {
        free_call(&call->x);
    } else if (held_n_tasks(h) > LIMIT_INLINE_ANSWER_TASKS) {
        held_pin(h);
        call->held = h;
        call->response = response;
        exchange_offload(&call->x, work_encode, on_encoded);
    } else {
        rpc_write(&call->request, response, &call->x.answer);
        exchange_send(&call->x);
    }
}

/* Not now: as the scheduler itself would say it. */
static void answer_transient(struct rpc_call *call, const char *why)
{
    struct arena arena = { 0 };
    struct api_response *response = rpc_call_response(call, &arena);
    response_fail(response, &arena, API_RESPONSE_CODE_ERROR_TRANSIENT, why);
    rpc_write(&call->request, response, &call->x.answer);
    rpc_call_send(call, response);
    arena_release(&arena);
}

static void step_call(struct rpc_call *call)
{
    const char *why;
    if (recovery_serves(call->request.name)) {
        recovery_call(call->app->recovery, call);
        return;
    }
    if (!app_accepts_command(call->app, &why)) {
        answer_transient(call, why);
        return;
    }
    struct sched_event ev = { .type = EV_COMMAND };
    ev.command.cookie = (uint64_t)(uintptr_t)call;
    ev.command.method = call->request.method;
    ev.command.args = call->request.args;
    ev.command.user = STR("UNSECURE");
    ev.command.lenient_isset = call->request.form == RPC_BETA;
    pipeline_step(call->app->pipeline, &ev);
}

static void serve_json(struct app *a, struct http_request *r, enum rpc_form form, struct str method)
{
    struct rpc_call *call = new_call(a, r);
    struct api_server_info info = server_info(a);
    call->x.headers = call->cors;
    call->x.n_headers = form == RPC_V1 ? cors_headers(a, call->cors) : 0;
    if (rpc_read_json(form, method, r->body, &info, &call->request, &call->x.answer))
        step_call(call);
    else
        exchange_send(&call->x);
}

static void serve_thrift(struct app *a, struct http_request *r)
{
    struct rpc_call *call = new_call(a, r);
    call->x.headers = call->cors;
    call->x.n_headers = cors_headers(a, call->cors);
    if (rpc_read_thrift(http_request_header(r, "Content-Type"), http_request_header(r, "Accept"), r->body,
                        &call->request, &call->x.answer))
        step_call(call);
    else
        exchange_send(&call->x);
}

/* ---------------- routing ---------------- */

static bool is(struct str s, const char *word)
{
    return str_eq(s, str_c(word));
}

static bool cut_prefix(struct str *s, const char *prefix)
{
    uint32_t n = (uint32_t)strlen(prefix);
    if (s->n < n || memcmp(s->p, prefix, n) != 0) return false;
    *s = (struct str){ s->p + n, s->n - n };
    return true;
}

/* An answer without a body of its own: OPTIONS and 405 name the methods. */
static void answer_methods(struct app *a, struct http_request *r, int status, const char *allow)
{
    struct http_header headers[MAX_CORS + 1];
    uint32_t n = cors_headers(a, headers);
    headers[n++] = (struct http_header){ STR("Allow"), str_c(allow) };
    const char *text = status == 405 ? "Method Not Allowed\n" : "";
    http_respond(r, status, status == 405 ? TYPE_TEXT : NULL, headers, n, text, strlen(text));
}

/* True: the path is one of the RPC, and the request is answered or will be. */
static bool serve_rpc(struct app *a, struct http_request *r, struct str path)
{
    enum rpc_form form = RPC_V1;
    bool thrift = is(path, "/api");
    if (!thrift && !cut_prefix(&path, "/api/v1/")) {
        if (!cut_prefix(&path, "/apibeta/")) return false;
        form = RPC_BETA;
    }
    if (path.n == 0) return false;
    /* Aurora runs a GET of /api as a call, too; without a body that only gives its error. */
    if (is(r->method, "POST") || (thrift && is(r->method, "GET")))
        thrift ? serve_thrift(a, r) : serve_json(a, r, form, path);
    else
        answer_methods(a, r, is(r->method, "OPTIONS") ? 200 : 405, "POST,OPTIONS");
    return true;
}

static bool allows(const struct route *route, struct str method)
{
    return is(method, route->methods) || (is(method, "HEAD") && strcmp(route->methods, "GET") == 0);
}

static void send_page(void *exchange)
{
    exchange_send(exchange);
}

void page_send_durable(struct app *a, struct exchange *x)
{
    if (!a->stopping) {
        pipeline_after(a->pipeline, send_page, x);
        return;
    }
    buf_release(&x->answer.body);
    x->answer = (struct rpc_answer){ .status = 503, .content_type = TYPE_TEXT };
    buf_adds(&x->answer.body, NOT_READY);
    exchange_send(x);
}

static void serve_route(struct app *a, struct http_request *r, const struct route *route, struct str rest)
{
    if (!allows(route, r->method)) {
        const char *allow = strcmp(route->methods, "GET") == 0 ? "GET,HEAD,OPTIONS" : "POST,OPTIONS";
        answer_methods(a, r, is(r->method, "OPTIONS") ? 200 : 405, allow);
        return;
    }
    if (route->needs_storage && !app_leads(a)) {
        exchange_reply_text(r, 503, NOT_READY);
        return;
    }
    struct buf body = { 0 };
    struct page page = { a, r, rest, 200, route->content_type, &body, false };
    route->handler(&page);
    if (page.taken) return;
    if (route->needs_storage)
        page_send_durable(a, exchange_new(r, page.status, page.content_type, &body, a->loop));
    else
        exchange_reply(r, page.status, page.content_type, NULL, 0, &body, a->loop);
}

void http_on_request(struct http_request *r, void *app)
{
    struct app *a = app;
    struct buf decoded = { 0 };
    logline(LOG_DEBUG, "http", "method=%.*s target=%.*s body=%u", STR_ARG(r->method), STR_ARG(r->target), r->body.n);
    if (url_decode(r->path, &decoded, false) != 0) {
        exchange_reply_text(r, 400, "The path has a bad escape.\n");
    } else {
        struct str path = { buf_cstr(&decoded), (uint32_t)decoded.len };
        struct str rest;
        const struct route *route;
        if (redirect_request(a, r, path) || serve_rpc(a, r, path))
            ;
        else if ((route = endpoint_find(path, &rest)))
            serve_route(a, r, route, rest);
        else
            exchange_reply_text(r, 404, "Not Found\n");
    }
    buf_release(&decoded);
}
