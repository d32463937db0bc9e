#include "mesos/proto_json.h"

#include "mesos/proto.h"

#include "core/err.h"
#include "core/stats.h"
#include "core/thrift.h"

#include <inttypes.h>
#include <math.h>

static size_t element_size(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

/* JSON knows no infinity. */
static void write_double(struct buf *out, double v)
{
    if (isfinite(v))
        java_double(out, v);
    else
        buf_adds(out, "null");
}

static void write_enum(const ProtobufCFieldDescriptor *f, int value, struct buf *out)
{
    struct str name = proto_enum_name(f->descriptor, value);
    if (name.p)
        json_write_string(out, name, JSON_PLAIN);
    else
        buf_addf(out, "%d", value);
}

/* JSON has no bytes: they are shown as text, and what is no text becomes U+FFFD. */
static void write_bytes(const ProtobufCBinaryData *b, struct buf *out)
{
    json_write_string(out, (struct str){ b->data ? (const char *)b->data : "", (uint32_t)b->len }, JSON_PLAIN);
}

static void write_value(const ProtobufCFieldDescriptor *f, const void *p, struct buf *out)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buf_addf(out, "%" PRId64, *(const int64_t *)p);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_addf(out, "%" PRIu64, *(const uint64_t *)p);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buf_addf(out, "%" PRIu32, *(const uint32_t *)p);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        write_double(out, *(const double *)p);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        write_double(out, *(const float *)p);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_adds(out, *(const protobuf_c_boolean *)p ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(f, *(const int *)p, out);
        break;
    case PROTOBUF_C_TYPE_STRING:
        json_write_string(out, str_c(*(char *const *)p), JSON_PLAIN);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        write_bytes(p, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        proto_write_json(*(ProtobufCMessage *const *)p, out);
        break;
    default:
        buf_addf(out, "%" PRId32, *(const int32_t *)p);
        break;
    }
}

static void write_list(const ProtobufCFieldDescriptor *f, const uint8_t *m, struct buf *out)
{
    size_t n = *(const size_t *)(m + f->quantifier_offset);
    const uint8_t *v = *(const uint8_t *const *)(m + f->offset);
    buf_addc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_addc(out, ',');
        write_value(f, v + i * element_size(f->type), out);
    }
    buf_addc(out, ']');
}

static bool is_set(const ProtobufCFieldDescriptor *f, const uint8_t *m)
{
    if (f->label != PROTOBUF_C_LABEL_OPTIONAL) return true;
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
        /* An absent string with a default points at that very default. */
        const void *p = *(void *const *)(m + f->offset);
        return p != NULL && p != f->default_value;
    }
    return *(const protobuf_c_boolean *)(m + f->quantifier_offset);
}

static const char *v1_name(const ProtobufCFieldDescriptor *f)
{
    return strcmp(f->name, "slave_id") == 0 ? "agent_id" : f->name;
}

void proto_write_json(const void *message, struct buf *out)
{
    const ProtobufCMessageDescriptor *d = ((const ProtobufCMessage *)message)->descriptor;
    const uint8_t *m = message;
    const char *sep = "";
    buf_addc(out, '{');
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (!is_set(f, m)) continue;
        buf_addf(out, "%s\"%s\":", sep, v1_name(f));
        sep = ",";
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            write_list(f, m, out);
        else
            write_value(f, m + f->offset, out);
    }
    buf_addc(out, '}');
}

/* ---------------- reading ---------------- */

struct reader {
    struct arena *a;
    struct buf *err;
};

/* Names the innermost place; read_object() puts the outer ones in front. */
static int fail(struct reader *r, const char *what)
{
    buf_adds(r->err, what);
    return ERR_INVALID;
}

static int read_object(struct reader *r, const cJSON *j, void *message);

static int read_enum(struct reader *r, const cJSON *j, const ProtobufCFieldDescriptor *f, void *p)
{
    const ProtobufCEnumValue *v =
        cJSON_IsString(j) ? protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, j->valuestring) : NULL;
    if (!v) return fail(r, "not one of the names of this enum");
    *(int *)p = v->value;
    return 0;
}

/* The documented sample writes booleans as strings. */
static int read_bool(struct reader *r, const cJSON *j, protobuf_c_boolean *p)
{
    bool yes = cJSON_IsTrue(j) || (cJSON_IsString(j) && strcmp(j->valuestring, "true") == 0);
    bool no = cJSON_IsFalse(j) || (cJSON_IsString(j) && strcmp(j->valuestring, "false") == 0);
    if (!yes && !no) return fail(r, "not true or false");
    *p = yes;
    return 0;
}

/* Integers up to 2^53, beyond which a JSON number is not exact. */
static int read_integer(struct reader *r, const cJSON *j, double min, double max, int64_t *ret)
{
    if (!cJSON_IsNumber(j)) return fail(r, "not a number");
    double v = j->valuedouble;
    if (v < min || v > max || v != floor(v)) return fail(r, "not an integer of the right range");
    *ret = (int64_t)v;
    return 0;
}

static int read_number(struct reader *r, const cJSON *j, ProtobufCType type, void *p)
{
    static const double max_exact = 9007199254740992.0;
    int64_t v = 0;
    int err;
    switch (type) {
    case PROTOBUF_C_TYPE_DOUBLE:
        if (!cJSON_IsNumber(j)) return fail(r, "not a number");
        *(double *)p = j->valuedouble;
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
        err = read_integer(r, j, 0, UINT32_MAX, &v);
        if (!err) *(uint32_t *)p = (uint32_t)v;
        return err;
    case PROTOBUF_C_TYPE_UINT64:
        err = read_integer(r, j, 0, max_exact, &v);
        if (!err) *(uint64_t *)p = (uint64_t)v;
        return err;
    case PROTOBUF_C_TYPE_INT64:
        err = read_integer(r, j, -max_exact, max_exact, &v);
        if (!err) *(int64_t *)p = v;
        return err;
    default:
        err = read_integer(r, j, INT32_MIN, INT32_MAX, &v);
        if (!err) *(int32_t *)p = (int32_t)v;
        return err;
    }
}

static int read_value(struct reader *r, const cJSON *j, const ProtobufCFieldDescriptor *f, void *p)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: {
        void *m = proto_new(f->descriptor, r->a);
        int err = read_object(r, j, m);
        if (!err) *(void **)p = m;
        return err;
    }
    case PROTOBUF_C_TYPE_STRING:
        if (!cJSON_IsString(j)) return fail(r, "not a string");
        *(char **)p = proto_str(str_c(j->valuestring), r->a);
        return 0;
    case PROTOBUF_C_TYPE_BYTES:
        if (!cJSON_IsString(j)) return fail(r, "not a string");
        *(ProtobufCBinaryData *)p = proto_bytes(arena_str(r->a, str_c(j->valuestring)));
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, j, f, p);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, j, p);
    default:
        return read_number(r, j, f->type, p);
    }
}

static int read_list(struct reader *r, const cJSON *j, const ProtobufCFieldDescriptor *f, uint8_t *m)
{
    if (!cJSON_IsArray(j)) return fail(r, "not a list");
    size_t n = (size_t)cJSON_GetArraySize(j);
    uint8_t *v = arena_alloc(r->a, n * element_size(f->type));
    size_t i = 0;
    for (const cJSON *e = j->child; e; e = e->next) {
        int err = read_value(r, e, f, v + i++ * element_size(f->type));
        if (err) return err;
    }
    *(size_t *)(m + f->quantifier_offset) = n;
    *(void **)(m + f->offset) = v;
    return 0;
}

static int read_field(struct reader *r, const cJSON *j, const ProtobufCFieldDescriptor *f, uint8_t *m)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) return read_list(r, j, f, m);
    int err = read_value(r, j, f, m + f->offset);
    if (err) return err;
    bool by_pointer = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL && !by_pointer) *(protobuf_c_boolean *)(m + f->quantifier_offset) = true;
    return 0;
}

/* What went wrong inside is already in err; "name: " or "name." goes in front of it. */
static int located(struct reader *r, const char *name, int err)
{
    struct buf inner = *r->err;
    *r->err = (struct buf){ 0 };
    bool leaf = memchr(inner.data, ':', inner.len) == NULL;
    buf_addf(r->err, "%s%s%s", name, leaf ? ": " : ".", buf_cstr(&inner));
    buf_release(&inner);
    return err;
}

static int read_object(struct reader *r, const cJSON *j, void *message)
{
    const ProtobufCMessageDescriptor *d = ((ProtobufCMessage *)message)->descriptor;
    if (!cJSON_IsObject(j)) return fail(r, "not an object");
    for (const cJSON *e = j->child; e; e = e->next) {
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, e->string);
        int err = f ? read_field(r, e, f, message) : fail(r, "unknown");
        if (err) return located(r, e->string, err);
    }
    for (unsigned i = 0; i < d->n_fields; i++) {
        bool required = d->fields[i].label == PROTOBUF_C_LABEL_REQUIRED;
        if (required && !cJSON_GetObjectItemCaseSensitive(j, d->fields[i].name))
            return located(r, d->fields[i].name, fail(r, "missing"));
    }
    return 0;
}

int proto_read_json(const cJSON *j, void *message, struct arena *a, struct buf *err_text)
{
    struct buf text = { 0 };
    struct reader r = { a, &text };
    int err = read_object(&r, j, message);
    if (err) buf_adds(err_text, buf_cstr(&text));
    buf_release(&text);
    return err;
}
