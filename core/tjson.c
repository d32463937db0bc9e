/* TJSONProtocol: a struct is {"<id>":{"<type>":<value>},...}, containers start with their types and size. */
#include "core/value.h"

#include "core/err.h"
#include "core/jsonin.h"
#include "core/limits.h"
#include "core/text.h"

#include <assert.h>

static struct str tag_of(enum ttype t)
{
    switch (t) {
    case TT_BOOL:
        return STR("tf");
    case TT_I8:
        return STR("i8");
    case TT_I16:
        return STR("i16");
    case TT_I32:
        return STR("i32");
    case TT_I64:
        return STR("i64");
    case TT_DOUBLE:
        return STR("dbl");
    case TT_STRING:
        return STR("str");
    case TT_STRUCT:
        return STR("rec");
    case TT_MAP:
        return STR("map");
    case TT_SET:
        return STR("set");
    case TT_LIST:
        return STR("lst");
    case TT_STOP:
        break;
    }
    return STR("");
}

/* ---------------- writing ---------------- */

static void write_tag(struct buf *out, enum ttype t)
{
    buf_addc(out, '"');
    buf_add_str(out, tag_of(t));
    buf_addc(out, '"');
}

/* ,"28":{"rec":  without the comma before the first. Written at once, since half of all output is this. */
static void write_field_head(struct buf *out, bool first, int16_t id, enum ttype t)
{
    static const char before_tag[4] = { '"', ':', '{', '"' };
    assert(id >= 0 && id < 1000);
    char *p = (char *)buf_reserve(out, sizeof ",\"999\":{\"rec\":"), *start = p;
    struct str tag = tag_of(t);
    if (!first) *p++ = ',';
    *p++ = '"';
    if (id >= 100) *p++ = (char)('0' + id / 100);
    if (id >= 10) *p++ = (char)('0' + id / 10 % 10);
    *p++ = (char)('0' + id % 10);
    memcpy(p, before_tag, sizeof before_tag);
    p += sizeof before_tag;
    memcpy(p, tag.p, tag.n);
    p += tag.n;
    *p++ = '"';
    *p++ = ':';
    buf_commit(out, (size_t)(p - start));
}

static void write_double(struct buf *out, double v)
{
    bool finite = v - v == 0;
    if (!finite) buf_addc(out, '"');
    java_double(out, v);
    if (!finite) buf_addc(out, '"');
}

static int write_string(struct buf *out, struct str s, bool is_binary)
{
    if (s.n > LIMIT_CODEC_STRING_BYTES) return ERR_TOO_BIG;
    if (!is_binary) {
        text_json_string(out, s, false);
        return 0;
    }
    buf_addc(out, '"');
    text_base64(out, s, false);
    buf_addc(out, '"');
    return 0;
}

static int write_struct(struct buf *out, const struct tdesc *d, const void *obj);

/* v points to the value; for a struct, to the struct. */
static int write_value(struct buf *out, const struct ttypedesc *t, const void *v)
{
    switch (t->type) {
    case TT_BOOL:
        buf_addc(out, *(const bool *)v ? '1' : '0');
        return 0;
    case TT_I8:
        text_i64(out, *(const int8_t *)v);
        return 0;
    case TT_I16:
        text_i64(out, *(const int16_t *)v);
        return 0;
    case TT_I32:
        text_i64(out, *(const int32_t *)v);
        return 0;
    case TT_I64:
        text_i64(out, *(const int64_t *)v);
        return 0;
    case TT_DOUBLE:
        write_double(out, *(const double *)v);
        return 0;
    case TT_STRING:
        return write_string(out, *(const struct str *)v, t->is_binary);
    case TT_STRUCT:
        return write_struct(out, t->st, v);
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    return ERR_UNSUPPORTED; /* never: the generator refuses containers of containers */
}

/* The elements of a list or set, each behind a comma; of a map as members of an object. */
static int write_elements(struct buf *out, const struct tfield *f, const void *obj)
{
    const struct ttypedesc *t = &f->type;
    const struct str *keys = t->key ? *tfield_keys(f, obj) : NULL;
    const char *v = *tfield_array(f, obj);
    size_t size = ttype_size(t->elem);
    for (uint32_t i = 0; i < *tfield_count(f, obj); i++) {
        if (!keys || i) buf_addc(out, ',');
        int rc = keys ? write_string(out, keys[i], false) : 0;
        if (rc == 0 && keys) buf_addc(out, ':');
        if (rc == 0) rc = write_value(out, t->elem, v + i * size);
        if (rc) return rc;
    }
    return 0;
}

static int write_container(struct buf *out, const struct tfield *f, const void *obj)
{
    const struct ttypedesc *t = &f->type;
    uint32_t n = *tfield_count(f, obj);
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    buf_addc(out, '[');
    if (t->key) {
        write_tag(out, t->key->type);
        buf_addc(out, ',');
    }
    write_tag(out, t->elem->type);
    buf_addc(out, ',');
    text_i64(out, n);
    if (t->key) buf_add(out, ",{", 2);
    int rc = write_elements(out, f, obj);
    buf_adds(out, t->key ? "}]" : "]");
    return rc;
}

static int write_struct(struct buf *out, const struct tdesc *d, const void *obj)
{
    unsigned written = 0;
    buf_addc(out, '{');
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const struct tfield *f = &d->fields[i];
        if (!tfield_is_set(f, obj)) continue;
        write_field_head(out, written++ == 0, f->id, f->type.type);
        const void *v = tfield_value(f, obj);
        int rc = ttype_is_container(f->type.type) ? write_container(out, f, obj) : write_value(out, &f->type, v);
        if (rc) return rc;
        buf_addc(out, '}');
    }
    buf_addc(out, '}');
    return d->is_union && written != 1 ? ERR_INVALID : 0;
}

int tjson_write(struct buf *out, const struct tdesc *d, const void *obj)
{
    size_t start = out->len;
    int rc = write_struct(out, d, obj);
    if (rc < 0) out->len = start;
    return rc;
}

static void write_message_head(struct buf *out, struct str name, enum tmessage_type type, int32_t seqid)
{
    buf_add(out, "[1,", 3);
    text_json_string(out, name, false);
    buf_addf(out, ",%d,%d,{", type, seqid);
}

int tjson_reply_write(struct buf *out, struct str name, int32_t seqid, const struct tdesc *result_desc,
                      const void *result)
{
    size_t start = out->len;
    write_message_head(out, name, TMSG_REPLY, seqid);
    write_field_head(out, true, 0, TT_STRUCT);
    int rc = write_struct(out, result_desc, result);
    buf_adds(out, "}}]");
    if (rc < 0) out->len = start;
    return rc;
}

void tjson_exception_write(struct buf *out, struct str name, int32_t seqid, const char *message, int type)
{
    write_message_head(out, name, TMSG_EXCEPTION, seqid);
    write_field_head(out, true, 1, TT_STRING);
    text_json_string(out, str_c(message), false);
    buf_addc(out, '}');
    write_field_head(out, false, 2, TT_I32);
    buf_addf(out, "%d}}]", type);
}

/* ---------------- reading ---------------- */

static int read_integer(struct jsonin *in, int64_t min, int64_t max, int64_t *ret)
{
    struct str s;
    int64_t v;
    int rc = jsonin_number(in, &s);
    if (rc) return rc;
    if (!text_parse_i64(s, &v) || v < min || v > max) return ERR_MALFORMED;
    *ret = v;
    return 0;
}

/* A number, or one of the three that JSON has not, in quotes. */
static int read_double(struct jsonin *in, double *ret)
{
    struct str s;
    bool quoted = jsonin_peek(in) == '"';
    int rc = quoted ? jsonin_borrow_string(in, &s) : jsonin_number(in, &s);
    if (rc) return rc;
    if (!quoted) return text_parse_double(s, ret) ? 0 : ERR_MALFORMED;
    if (str_eq(s, STR("NaN")))
        *ret = __builtin_nan("");
    else if (str_eq(s, STR("Infinity")))
        *ret = __builtin_inf();
    else if (str_eq(s, STR("-Infinity")))
        *ret = -__builtin_inf();
    else
        return ERR_MALFORMED;
    return 0;
}

static int read_string(struct jsonin *in, bool is_binary, struct str *ret)
{
    if (!is_binary) return jsonin_string(in, ret);
    struct str text;
    int rc = jsonin_borrow_string(in, &text);
    if (rc) return rc;
    char *p = decode_alloc(in->a, (uint64_t)text.n + 1, 1);
    if (!p) return ERR_TOO_BIG;
    uint32_t n;
    if (!text_parse_base64(text, p, &n)) return ERR_MALFORMED;
    p[n] = 0;
    *ret = (struct str){ p, n };
    return 0;
}

static int read_struct(struct jsonin *in, const struct tdesc *d, void *obj);

/* v points to the place of the value; for a struct, to the zeroed struct. */
static int read_value(struct jsonin *in, const struct ttypedesc *t, void *v)
{
    int64_t i = 0;
    int rc;
    switch (t->type) {
    case TT_BOOL:
        rc = read_integer(in, 0, 1, &i);
        *(bool *)v = i;
        return rc;
    case TT_I8:
        rc = read_integer(in, INT8_MIN, INT8_MAX, &i);
        *(int8_t *)v = (int8_t)i;
        return rc;
    case TT_I16:
        rc = read_integer(in, INT16_MIN, INT16_MAX, &i);
        *(int16_t *)v = (int16_t)i;
        return rc;
    case TT_I32:
        rc = read_integer(in, INT32_MIN, INT32_MAX, &i);
        *(int32_t *)v = (int32_t)i;
        return rc;
    case TT_I64:
        return read_integer(in, INT64_MIN, INT64_MAX, v);
    case TT_DOUBLE:
        return read_double(in, v);
    case TT_STRING:
        return read_string(in, t->is_binary, v);
    case TT_STRUCT:
        return read_struct(in, t->st, v);
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    return ERR_UNSUPPORTED;
}

/* The types and the size of a container, up to the comma behind it or the closing bracket; n elements can be in what is
 * left. */
static int read_container_head(struct jsonin *in, const struct ttypedesc *t, uint32_t *ret_n)
{
    struct str key = STR(""), elem;
    int64_t n = 0;
    int rc = jsonin_expect(in, '[');
    if (rc == 0 && t->key) rc = jsonin_borrow_string(in, &key);
    if (rc == 0 && t->key) rc = jsonin_expect(in, ',');
    if (rc == 0) rc = jsonin_borrow_string(in, &elem);
    if (rc == 0) rc = jsonin_expect(in, ',');
    if (rc == 0) rc = read_integer(in, 0, INT32_MAX, &n);
    if (rc) return rc;
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    if (n > (in->end - in->p) / 2) return ERR_TRUNCATED; /* each has a comma or brace and a character at least */
    if (n && !str_eq(elem, tag_of(t->elem->type))) return ERR_MALFORMED;
    if (n && t->key && !str_eq(key, tag_of(t->key->type))) return ERR_MALFORMED;
    *ret_n = (uint32_t)n;
    return 0;
}

static int read_list(struct jsonin *in, const struct ttypedesc *elem, uint32_t n, char *v)
{
    size_t size = ttype_size(elem);
    for (uint32_t i = 0; i < n; i++) {
        int rc = jsonin_expect(in, ',');
        if (rc == 0) rc = read_value(in, elem, v + i * size);
        if (rc) return rc;
    }
    return 0;
}

static int read_map(struct jsonin *in, const struct ttypedesc *elem, uint32_t n, struct str *keys, char *v)
{
    size_t size = ttype_size(elem);
    int rc = jsonin_expect(in, ',');
    if (rc == 0) rc = jsonin_expect(in, '{');
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (i) rc = jsonin_expect(in, ',');
        if (rc == 0) rc = jsonin_string(in, &keys[i]);
        if (rc == 0) rc = jsonin_expect(in, ':');
        if (rc == 0) rc = read_value(in, elem, v + i * size);
    }
    return rc ? rc : jsonin_expect(in, '}');
}

static int read_container(struct jsonin *in, const struct tfield *f, void *obj)
{
    const struct ttypedesc *t = &f->type;
    assert(!t->key || t->key->type == TT_STRING); /* the generator sees to it */
    uint32_t n;
    int rc = read_container_head(in, t, &n);
    if (rc) return rc;
    struct str *keys = t->key ? decode_alloc(in->a, n, sizeof *keys) : NULL;
    void *v = decode_alloc(in->a, n, ttype_size(t->elem));
    if (!v || (t->key && !keys)) return ERR_TOO_BIG;
    rc = jsonin_enter(in);
    if (rc) return rc;
    rc = t->key ? read_map(in, t->elem, n, keys, v) : read_list(in, t->elem, n, v);
    jsonin_leave(in);
    if (rc == 0) rc = jsonin_expect(in, ']');
    if (rc) return rc;
    tfield_set_container(f, obj, n, keys, v);
    return 0;
}

static int read_field(struct jsonin *in, const struct tfield *f, void *obj)
{
    if (ttype_is_container(f->type.type)) return read_container(in, f, obj);
    void *at = tfield_at(f, obj);
    if (f->type.type == TT_STRUCT) {
        void *s = decode_alloc(in->a, 1, f->type.st->size);
        if (!s) return ERR_TOO_BIG;
        *(void **)at = s;
        return read_struct(in, f->type.st, s);
    }
    if (f->type.type != TT_STRING) *tfield_has(f, obj) = true;
    return read_value(in, &f->type, at);
}

/* "<id>":{"<type>":<value>} */
static int read_member(struct jsonin *in, const struct tdesc *d, void *obj, uint32_t *at)
{
    struct str id_text, tag;
    int64_t id;
    int rc = jsonin_borrow_string(in, &id_text);
    if (rc) return rc;
    if (!text_parse_i64(id_text, &id) || id < INT16_MIN || id > INT16_MAX) return ERR_MALFORMED;
    rc = jsonin_expect(in, ':');
    if (rc == 0) rc = jsonin_expect(in, '{');
    if (rc == 0) rc = jsonin_borrow_string(in, &tag);
    if (rc == 0) rc = jsonin_expect(in, ':');
    if (rc) return rc;
    const struct tfield *f = tdesc_field_by_id(d, (int32_t)id, at);
    rc = f && str_eq(tag, tag_of(f->type.type)) ? read_field(in, f, obj) : jsonin_skip(in);
    return rc ? rc : jsonin_expect(in, '}');
}

static int read_struct(struct jsonin *in, const struct tdesc *d, void *obj)
{
    int rc = jsonin_enter(in);
    if (rc == 0) rc = jsonin_expect(in, '{');
    uint32_t at = 0;
    for (bool more = rc == 0 && !jsonin_accept(in, '}'); more && rc == 0;) {
        rc = read_member(in, d, obj, &at);
        if (rc == 0) rc = jsonin_more(in, '}', &more);
    }
    if (rc) return rc;
    jsonin_leave(in);
    return decode_finish(d, obj, in->a);
}

int tjson_read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a, size_t *ret_used)
{
    if (!data) return ERR_TRUNCATED;
    struct jsonin in = { data, (const uint8_t *)data + n, a, 0, true };
    int rc = read_struct(&in, d, obj);
    if (rc) return rc;
    if (!ret_used) return jsonin_end(&in);
    *ret_used = (size_t)(in.p - (const uint8_t *)data);
    return 0;
}

int tjson_message_read(const void *data, size_t n, struct tmessage *ret, struct arena *a)
{
    if (!data) return ERR_TRUNCATED;
    struct jsonin in = { data, (const uint8_t *)data + n, a, 0, true };
    struct tmessage m = { 0 };
    int64_t version, type = 0, seqid = 0;
    int rc = jsonin_expect(&in, '[');
    if (rc == 0) rc = read_integer(&in, 1, 1, &version);
    if (rc == 0) rc = jsonin_expect(&in, ',');
    if (rc == 0) rc = jsonin_string(&in, &m.name);
    if (rc == 0) rc = jsonin_expect(&in, ',');
    if (rc == 0) rc = read_integer(&in, INT32_MIN, INT32_MAX, &type);
    if (rc == 0) rc = jsonin_expect(&in, ',');
    if (rc == 0) rc = read_integer(&in, INT32_MIN, INT32_MAX, &seqid);
    if (rc == 0) rc = jsonin_expect(&in, ',');
    if (rc) return rc;
    m.type = (int32_t)type;
    m.seqid = (int32_t)seqid;
    m.body = (size_t)(in.p - (const uint8_t *)data);
    *ret = m;
    return 0;
}

int tjson_message_end(const void *data, size_t n, size_t at)
{
    assert(at <= n);
    struct jsonin in = { (const uint8_t *)data + at, (const uint8_t *)data + n, NULL, 0, true };
    int rc = jsonin_expect(&in, ']');
    return rc ? rc : jsonin_end(&in);
}
