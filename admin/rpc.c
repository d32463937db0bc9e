#include "admin/rpc.h"

#include "admin/recovery.h"
#include "core/err.h"
#include "core/jsonin.h"
#include "core/limits.h"
#include "core/sched.h"

#include <assert.h>

/* ---------------- the method table ---------------- */

const struct tmethod *rpc_method(struct str name)
{
    for (uint32_t i = 0; i < api_n_methods; i++)
        if (str_eq(str_c(api_methods[i].name), name)) return &api_methods[i];
    return NULL;
}

bool rpc_method_writes(const struct tmethod *m)
{
    return strcmp(m->service, "ReadOnlyScheduler") != 0;
}

void rpc_method_permission(const struct tmethod *m, struct buf *out)
{
    if (rpc_method_writes(m)) buf_addf(out, "thrift.%s:%s", m->service, m->name);
}

static void write_method(const struct tmethod *m, struct buf *out)
{
    struct buf permission = { 0 };
    rpc_method_permission(m, &permission);
    buf_addf(out, "{\"name\":\"%s\",\"service\":\"%s\",\"writes\":%s,\"implemented\":%s,\"permission\":\"%s\",\"doc\":",
             m->name, m->service, rpc_method_writes(m) ? "true" : "false",
             sched_serves(str_c(m->name)) || recovery_serves(str_c(m->name)) ? "true" : "false", buf_cstr(&permission));
    json_write_string(out, str_c(m->doc), JSON_PLAIN);
    buf_adds(out, ",\"arguments\":[");
    for (uint16_t i = 0; i < m->args->n_fields; i++) buf_addf(out, "%s\"%s\"", i ? "," : "", m->args->fields[i].name);
    buf_adds(out, "]}");
    buf_release(&permission);
}

void rpc_write_methods(struct buf *out)
{
    buf_addc(out, '[');
    for (uint32_t i = 0; i < api_n_methods; i++) {
        if (i) buf_addc(out, ',');
        write_method(&api_methods[i], out);
    }
    buf_addc(out, ']');
}

/* ---------------- requests ---------------- */

static struct str trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static bool same_word(struct str s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* The codec that a Content-Type asks for; false: none. Aurora compares parameters too, so
 * `application/json; charset=utf-8` is none, but the same behind vnd.apache.thrift.json is fine. */
static bool form_of(struct str content_type, enum rpc_form *ret)
{
    *ret = RPC_TJSON;
    struct str type = trim(content_type);
    if (!type.p || type.n == 0) return true;
    struct str parameter = { 0 };
    const char *semicolon = memchr(type.p, ';', type.n);
    if (semicolon) {
        parameter = trim((struct str){ semicolon + 1, (uint32_t)(type.p + type.n - semicolon - 1) });
        type = trim((struct str){ type.p, (uint32_t)(semicolon - type.p) });
    }
    if (same_word(type, TYPE_TBINARY)) {
        *ret = RPC_TBINARY;
        return !parameter.p;
    }
    if (same_word(type, TYPE_TJSON)) return !parameter.p || same_word(parameter, "charset=utf-8");
    return !parameter.p && (same_word(type, TYPE_JSON) || same_word(type, "application/x-thrift"));
}

static const char *type_of(enum rpc_form form)
{
    static const char *const types[] = {
        [RPC_V1] = TYPE_JSON, [RPC_BETA] = TYPE_JSON, [RPC_TJSON] = TYPE_TJSON, [RPC_TBINARY] = TYPE_TBINARY
    };
    return types[form];
}

static bool answer_text(struct rpc_answer *a, int status, const char *fmt, struct str what)
{
    a->status = status;
    a->content_type = TYPE_TEXT;
    buf_addf(&a->body, fmt, STR_ARG(what));
    return false;
}

static void write_exception(const struct rpc_request *q, const char *message, enum rpc_exception type,
                            struct rpc_answer *a)
{
    a->status = 200;
    a->content_type = type_of(q->form);
    if (q->form == RPC_TBINARY)
        tbinary_exception_write(&a->body, q->name, q->seqid, message, type);
    else
        tjson_exception_write(&a->body, q->name, q->seqid, message, type);
}

/* An answer inside the protocol; the request is done with. */
static bool answer_exception(struct rpc_request *q, const char *message, enum rpc_exception type, struct rpc_answer *a)
{
    write_exception(q, message, type, a);
    rpc_request_release(q);
    return false;
}

static int read_envelope(enum rpc_form form, struct str body, struct tmessage *m, struct arena *a)
{
    return form == RPC_TBINARY ? tbinary_message_read(body.p, body.n, m, a) : tjson_message_read(body.p, body.n, m, a);
}

static int read_thrift_args(enum rpc_form form, struct str body, size_t at, struct rpc_request *q)
{
    const struct tdesc *d = q->method->args;
    size_t used = 0;
    q->args = arena_alloc(&q->arena, d->size);
    if (!q->args) return ERR_TOO_BIG;
    if (form == RPC_TBINARY) return tbinary_read(body.p + at, body.n - at, d, q->args, &q->arena, &used);
    int rv = tjson_read(body.p + at, body.n - at, d, q->args, &q->arena, &used);
    return rv != 0 ? rv : tjson_message_end(body.p, body.n, at + used);
}

bool rpc_read_thrift(struct str content_type, struct str accept, struct str body, struct rpc_request *q,
                     struct rpc_answer *a)
{
    enum rpc_form form;
    if (!form_of(content_type, &form)) return answer_text(a, 415, "Unsupported Content-Type: %.*s", content_type);
    *q = (struct rpc_request){ .form = same_word(trim(accept), TYPE_TBINARY) ? RPC_TBINARY : RPC_TJSON };
    q->arena.max_bytes = LIMIT_CODEC_ARENA_BYTES;
    struct tmessage m;
    int rv = read_envelope(form, body, &m, &q->arena);
    if (rv != 0) {
        rpc_request_release(q);
        /* There is no name or number yet to which a Thrift exception could answer. */
        return answer_text(a, 500, "The body is not a Thrift message: %.*s", str_c(err_str(rv)));
    }
    q->name = m.name;
    q->seqid = m.seqid;
    q->method = rpc_method(m.name);
    if (!q->method) {
        struct str text = arena_strf(&q->arena, "Invalid method name: '%.*s'", STR_ARG(m.name));
        return answer_exception(q, text.p, RPC_UNKNOWN_METHOD, a);
    }
    rv = read_thrift_args(form, body, m.body, q);
    if (rv == 0) return true;
    struct str text = arena_strf(&q->arena, "Arguments of %s: %s", q->method->name, err_str(rv));
    return answer_exception(q, text.p ? text.p : err_str(rv), RPC_PROTOCOL_ERROR, a);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct str skip_blanks(struct str s)
{
    while (s.n && is_blank(s.p[0])) s.p++, s.n--;
    return s;
}

static bool is_json(struct str s)
{
    struct jsonin in = { .p = (const uint8_t *)s.p, .end = (const uint8_t *)s.p + s.n };
    return jsonin_skip(&in) == 0 && jsonin_end(&in) == 0;
}

/* What is wrong with a body that could not be read, in the words that Aurora has for it. */
static void explain_json(struct str body, const char *detail, struct buf *out)
{
    if (!is_json(body))
        buf_adds(out, "Request must be valid JSON");
    else if (skip_blanks(body).p[0] != '{')
        buf_adds(out, "Request data must be a JSON object of method parameters.");
    else
        buf_adds(out, "Failed to parse parameter");
    if (*detail) buf_addf(out, ": %s", detail);
}

static bool answer_error(enum rpc_form form, int status, const struct api_server_info *server, struct buf *message,
                         struct rpc_answer *a)
{
    enum api_response_code code = form == RPC_BETA ? API_RESPONSE_CODE_ERROR : API_RESPONSE_CODE_INVALID_REQUEST;
    rpc_write_error(form, status, code, server, (struct str){ buf_cstr(message), (uint32_t)message->len }, a);
    buf_release(message);
    return false;
}

bool rpc_read_json(enum rpc_form form, struct str method, struct str body, const struct api_server_info *server,
                   struct rpc_request *q, struct rpc_answer *a)
{
    assert(form == RPC_V1 || form == RPC_BETA);
    struct buf text = { 0 };
    *q = (struct rpc_request){ .form = form, .method = rpc_method(method) };
    if (!q->method) {
        buf_addf(&text, "Unknown method '%.*s'", STR_ARG(method));
        return answer_error(form, 404, server, &text, a);
    }
    q->arena.max_bytes = LIMIT_CODEC_ARENA_BYTES;
    q->name = str_c(q->method->name);
    q->args = arena_alloc(&q->arena, q->method->args->size);
    assert(q->args);
    if (skip_blanks(body).n == 0) body = STR("{}");
    struct buf detail = { 0 };
    int flags = form == RPC_V1 ? JSON_STRICT : JSON_GSON;
    int rv = json_read(body.p, body.n, q->method->args, q->args, &q->arena, flags, &detail);
    if (rv == 0) {
        buf_release(&detail);
        return true;
    }
    explain_json(body, detail.len ? buf_cstr(&detail) : err_str(rv), &text);
    buf_release(&detail);
    rpc_request_release(q);
    return answer_error(form, 400, server, &text, a);
}

void rpc_request_release(struct rpc_request *q)
{
    arena_release(&q->arena);
    *q = (struct rpc_request){ 0 };
}

/* ---------------- answers ---------------- */

static int write_body(const struct rpc_request *q, const struct api_response *response, struct buf *out)
{
    switch (q->form) {
    case RPC_TBINARY:
        return tbinary_reply_write(out, q->name, q->seqid, &api_response_desc, response);
    case RPC_TJSON:
        return tjson_reply_write(out, q->name, q->seqid, &api_response_desc, response);
    case RPC_BETA:
        return json_write(out, &api_response_desc, response, JSON_GSON);
    default:
        return json_write(out, &api_response_desc, response, JSON_PLAIN);
    }
}

static void write_unwritable(const struct rpc_request *q, const struct api_response *response, int err,
                             struct rpc_answer *a)
{
    struct buf text = { 0 };
    buf_addf(&text, "The answer of %s can't be written: %s", q->method->name, err_str(err));
    buf_reset(&a->body);
    if (q->form == RPC_TBINARY || q->form == RPC_TJSON)
        write_exception(q, buf_cstr(&text), RPC_INTERNAL_ERROR, a);
    else
        rpc_write_error(q->form, 500, API_RESPONSE_CODE_ERROR, response->server_info,
                        (struct str){ buf_cstr(&text), (uint32_t)text.len }, a);
    buf_release(&text);
}

void rpc_write(const struct rpc_request *q, const struct api_response *response, struct rpc_answer *a)
{
    a->status = 200;
    a->content_type = type_of(q->form);
    int rv = write_body(q, response, &a->body);
    if (rv != 0) write_unwritable(q, response, rv, a);
}

void rpc_write_error(enum rpc_form form, int status, enum api_response_code code, const struct api_server_info *server,
                     struct str message, struct rpc_answer *a)
{
    struct api_response_detail detail = { .message = message };
    struct api_server_info info = server ? *server : (struct api_server_info){ 0 };
    struct api_response r = {
        .has_response_code = true,
        .response_code = code,
        .server_info = server ? &info : NULL,
        .has_details = true,
        .n_details = 1,
        .details = &detail,
    };
    a->status = status;
    a->content_type = TYPE_JSON;
    int rv = json_write(&a->body, &api_response_desc, &r, form == RPC_BETA ? JSON_GSON : JSON_PLAIN);
    assert(rv == 0);
}
