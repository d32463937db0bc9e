/* Plain JSON, reading: forgiving in what cannot be misunderstood, and precise about where something is wrong. */
#include "core/value.h"

#include "core/err.h"
#include "core/jsonin.h"
#include "core/limits.h"
#include "core/text.h"

#include <math.h>

/* Where in the document the reader is: a member or, without a name, an element. */
struct place {
    const struct place *up;
    struct str name;
    uint32_t index;
};

struct reader {
    struct jsonin in;
    const uint8_t *start;
    int flags;
    struct buf *err_text; /* may be NULL */
};

static void add_place(struct buf *out, const struct place *p)
{
    if (!p) return;
    add_place(out, p->up);
    if (!p->name.p) {
        buf_addf(out, "[%u]", p->index);
        return;
    }
    if (p->up) buf_addc(out, '.');
    buf_add_str(out, p->name);
}

/* Explains an error; only the first one is kept, which is the innermost. */
static int fail(struct reader *r, const struct place *p, int code, const char *text)
{
    if (!r->err_text || r->err_text->len) return code;
    add_place(r->err_text, p);
    if (p) buf_adds(r->err_text, ": ");
    buf_adds(r->err_text, text);
    return code;
}

/* Passes on what the grammar said. */
static int check(struct reader *r, const struct place *p, int code)
{
    if (code == 0 || !r->err_text || r->err_text->len) return code;
    fail(r, p, code, err_str(code));
    if (code == ERR_MALFORMED) buf_addf(r->err_text, " at byte %zu", (size_t)(r->in.p - r->start));
    return code;
}

/* A value of another kind than wanted; if it is no JSON at all, that is said instead. */
static int wrong_kind(struct reader *r, const struct place *p, const char *text)
{
    int rc = check(r, p, jsonin_skip(&r->in));
    return rc ? rc : fail(r, p, ERR_INVALID, text);
}

static bool is_number_next(struct reader *r)
{
    int c = jsonin_peek(&r->in);
    return c == '-' || (c >= '0' && c <= '9');
}

/* An integer, also where it is written as 5.0 or 1e3. */
static int read_integer(struct reader *r, const struct place *p, int64_t min, int64_t max, int64_t *ret)
{
    if (!is_number_next(r)) return wrong_kind(r, p, "not an integer");
    struct str s;
    int64_t v;
    double d;
    int rc = check(r, p, jsonin_number(&r->in, &s));
    if (rc) return rc;
    if (!text_parse_i64(s, &v)) {
        if (!text_parse_double(s, &d)) return fail(r, p, ERR_INVALID, "not a number, or too big");
        if (d != floor(d)) return fail(r, p, ERR_INVALID, "not an integer");
        if (fabs(d) > 0x1p53) return fail(r, p, ERR_INVALID, "out of range");
        v = (int64_t)d;
    }
    if (v < min || v > max) return fail(r, p, ERR_INVALID, "out of range");
    *ret = v;
    return 0;
}

static int read_double(struct reader *r, const struct place *p, double *ret)
{
    if (!is_number_next(r)) return wrong_kind(r, p, "not a number");
    struct str s;
    int rc = check(r, p, jsonin_number(&r->in, &s));
    if (rc) return rc;
    return text_parse_double(s, ret) ? 0 : fail(r, p, ERR_INVALID, "not a number, or too big");
}

static int read_bool(struct reader *r, const struct place *p, bool *ret)
{
    bool yes = jsonin_accept_word(&r->in, STR("true"));
    if (!yes && !jsonin_accept_word(&r->in, STR("false"))) return wrong_kind(r, p, "not true or false");
    *ret = yes;
    return 0;
}

static int read_binary(struct reader *r, const struct place *p, struct str *ret)
{
    struct str text;
    int rc = check(r, p, jsonin_borrow_string(&r->in, &text));
    if (rc) return rc;
    char *bytes = decode_alloc(r->in.a, (uint64_t)text.n + 1, 1);
    uint32_t n;
    if (!bytes) return check(r, p, ERR_TOO_BIG);
    if (!text_parse_base64(text, bytes, &n)) return fail(r, p, ERR_INVALID, "not base64");
    bytes[n] = 0;
    *ret = (struct str){ bytes, n };
    return 0;
}

static int read_string(struct reader *r, const struct place *p, bool is_binary, struct str *ret)
{
    if (jsonin_peek(&r->in) != '"') return wrong_kind(r, p, "not a string");
    if (is_binary) return read_binary(r, p, ret);
    return check(r, p, jsonin_string(&r->in, ret));
}

/* A name, or a number, which is how a value without a name is written. ERR_NOT_FOUND, with the name passed, for an
 * unknown name. */
static int read_enum(struct reader *r, const struct place *p, const struct tenum *e, int32_t *ret)
{
    if (is_number_next(r)) {
        int64_t v = 0;
        int rc = read_integer(r, p, INT32_MIN, INT32_MAX, &v);
        *ret = (int32_t)v;
        return rc;
    }
    struct str name;
    if (jsonin_peek(&r->in) != '"') return wrong_kind(r, p, "not a name");
    int rc = check(r, p, jsonin_borrow_string(&r->in, &name));
    return rc ? rc : tenum_value(e, name, ret);
}

static int read_struct(struct reader *r, const struct place *p, const struct tdesc *d, void *obj);

/* v points to the place of the value; for a struct, to the zeroed struct. */
static int read_value(struct reader *r, const struct place *p, const struct ttypedesc *t, void *v)
{
    int64_t i = 0;
    int rc;
    switch (t->type) {
    case TT_BOOL:
        return read_bool(r, p, v);
    case TT_I8:
        rc = read_integer(r, p, INT8_MIN, INT8_MAX, &i);
        *(int8_t *)v = (int8_t)i;
        return rc;
    case TT_I16:
        rc = read_integer(r, p, INT16_MIN, INT16_MAX, &i);
        *(int16_t *)v = (int16_t)i;
        return rc;
    case TT_I32:
        if (t->en) return read_enum(r, p, t->en, v);
        rc = read_integer(r, p, INT32_MIN, INT32_MAX, &i);
        *(int32_t *)v = (int32_t)i;
        return rc;
    case TT_I64:
        return read_integer(r, p, INT64_MIN, INT64_MAX, v);
    case TT_DOUBLE:
        return read_double(r, p, v);
    case TT_STRING:
        return read_string(r, p, t->is_binary, v);
    case TT_STRUCT:
        return read_struct(r, p, t->st, v);
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    return ERR_UNSUPPORTED;
}

static int unknown_name(struct reader *r, const struct place *p)
{
    return fail(r, p, ERR_INVALID, "unknown name");
}

/* A growing array in the arena; the elements' number is not known beforehand. */
struct elements {
    char *v;
    struct str *keys;
    uint32_t n, cap;
};

static int make_room(struct reader *r, const struct ttypedesc *t, struct elements *e)
{
    if (e->n < e->cap) return 0;
    if (e->n == LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    uint32_t cap = e->cap ? 2 * e->cap : 4;
    size_t size = ttype_size(t->elem);
    char *v = decode_alloc(r->in.a, cap, size);
    struct str *keys = t->key ? decode_alloc(r->in.a, cap, sizeof *keys) : NULL;
    if (!v || (t->key && !keys)) return ERR_TOO_BIG;
    if (e->n) memcpy(v, e->v, e->n * size);
    if (e->n && keys) memcpy(keys, e->keys, e->n * sizeof *keys);
    *e = (struct elements){ v, keys, e->n, cap };
    return 0;
}

static int read_element(struct reader *r, const struct place *up, const struct ttypedesc *t, struct elements *e)
{
    struct place p = { up, { 0 }, e->n };
    int rc = check(r, &p, make_room(r, t, e));
    if (rc) return rc;
    if (t->key) {
        rc = check(r, &p, jsonin_string(&r->in, &e->keys[e->n]));
        if (rc == 0) rc = check(r, &p, jsonin_expect(&r->in, ':'));
        if (rc) return rc;
        p.name = e->keys[e->n];
    }
    rc = read_value(r, &p, t->elem, e->v + e->n * ttype_size(t->elem));
    if (rc == ERR_NOT_FOUND) return unknown_name(r, &p);
    if (rc == 0) e->n++;
    return rc;
}

static int read_elements(struct reader *r, const struct place *p, const struct ttypedesc *t, struct elements *e)
{
    char open = t->key ? '{' : '[', close = t->key ? '}' : ']';
    if (jsonin_peek(&r->in) != open) return wrong_kind(r, p, t->key ? "not an object" : "not an array");
    int rc = check(r, p, jsonin_enter(&r->in));
    if (rc) return rc;
    r->in.p++;
    rc = check(r, p, make_room(r, t, e)); /* so that an empty container has an array too */
    for (bool more = rc == 0 && !jsonin_accept(&r->in, close); more && rc == 0;) {
        rc = read_element(r, p, t, e);
        if (rc == 0) rc = check(r, p, jsonin_more(&r->in, close, &more));
    }
    jsonin_leave(&r->in);
    return rc;
}

static int read_container(struct reader *r, const struct place *p, const struct tfield *f, void *obj)
{
    struct elements e = { 0 };
    int rc = read_elements(r, p, &f->type, &e);
    if (rc) return rc;
    tfield_set_container(f, obj, e.n, e.keys, e.v);
    return 0;
}

static int read_field(struct reader *r, const struct place *p, const struct tfield *f, void *obj)
{
    if (ttype_is_container(f->type.type)) return read_container(r, p, f, obj);
    void *at = tfield_at(f, obj);
    if (f->type.type == TT_STRUCT) {
        void *s = decode_alloc(r->in.a, 1, f->type.st->size);
        if (!s) return check(r, p, ERR_TOO_BIG);
        *(void **)at = s;
        return read_struct(r, p, f->type.st, s);
    }
    int rc = read_value(r, p, &f->type, at);
    if (rc == ERR_NOT_FOUND) return r->flags & JSON_STRICT ? unknown_name(r, p) : 0;
    if (f->type.type != TT_STRING) *tfield_has(f, obj) = true;
    return rc;
}

static const struct tfield *field_named(const struct tdesc *d, struct str name)
{
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const char *known = d->fields[i].name;
        if (strncmp(known, name.p, name.n) == 0 && !known[name.n]) return &d->fields[i];
    }
    return NULL;
}

static int read_member(struct reader *r, const struct place *up, const struct tdesc *d, void *obj)
{
    struct place p = { .up = up };
    int rc = check(r, up, jsonin_borrow_string(&r->in, &p.name));
    if (rc == 0) rc = check(r, up, jsonin_expect(&r->in, ':'));
    if (rc) return rc;
    const struct tfield *f = field_named(d, p.name);
    bool strict = d->is_union || r->flags & JSON_STRICT;
    if (!f) return strict ? wrong_kind(r, &p, "unknown member") : check(r, &p, jsonin_skip(&r->in));
    if (strict && tfield_is_set(f, obj)) return wrong_kind(r, &p, "given twice");
    return jsonin_accept_word(&r->in, STR("null")) ? 0 : read_field(r, &p, f, obj);
}

static int read_struct(struct reader *r, const struct place *p, const struct tdesc *d, void *obj)
{
    if (jsonin_peek(&r->in) != '{') return wrong_kind(r, p, "not an object");
    int rc = check(r, p, jsonin_enter(&r->in));
    if (rc) return rc;
    r->in.p++;
    for (bool more = !jsonin_accept(&r->in, '}'); more && rc == 0;) {
        rc = read_member(r, p, d, obj);
        if (rc == 0) rc = check(r, p, jsonin_more(&r->in, '}', &more));
    }
    jsonin_leave(&r->in);
    if (rc) return rc;
    if (d->is_union && tdesc_count_set(d, obj) != 1) return fail(r, p, ERR_INVALID, "needs exactly one member");
    return check(r, p, decode_finish(d, obj, r->in.a));
}

int json_read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a, int flags,
              struct buf *err_text)
{
    if (!data) data = "", n = 0;
    struct reader r = { { data, (const uint8_t *)data + n, a, 0, false }, data, flags, err_text };
    int rc = read_struct(&r, NULL, d, obj);
    return rc ? rc : check(&r, NULL, jsonin_end(&r.in));
}
