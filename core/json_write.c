/* Plain JSON, writing: a struct is an object by field names. */
#include "core/value.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/text.h"

void json_write_string(struct buf *out, struct str s, int flags)
{
    text_json_string(out, s, flags & JSON_GSON);
}

static int write_struct(struct buf *out, const struct tdesc *d, const void *obj, int flags);

static void write_integer(struct buf *out, const struct ttypedesc *t, int64_t v)
{
    const char *name = t->en ? tenum_name(t->en, (int32_t)v) : NULL;
    if (!name) {
        text_i64(out, v);
        return;
    }
    buf_addc(out, '"');
    buf_adds(out, name);
    buf_addc(out, '"');
}

static int write_string(struct buf *out, struct str s, bool is_binary, int flags)
{
    if (s.n > LIMIT_CODEC_STRING_BYTES) return ERR_TOO_BIG;
    if (!is_binary) {
        json_write_string(out, s, flags);
        return 0;
    }
    buf_addc(out, '"');
    text_base64(out, s, true);
    buf_addc(out, '"');
    return 0;
}

/* v points to the value; for a struct, to the struct. */
static int write_value(struct buf *out, const struct ttypedesc *t, const void *v, int flags)
{
    switch (t->type) {
    case TT_BOOL:
        buf_adds(out, *(const bool *)v ? "true" : "false");
        return 0;
    case TT_I8:
        write_integer(out, t, *(const int8_t *)v);
        return 0;
    case TT_I16:
        write_integer(out, t, *(const int16_t *)v);
        return 0;
    case TT_I32:
        write_integer(out, t, *(const int32_t *)v);
        return 0;
    case TT_I64:
        write_integer(out, t, *(const int64_t *)v);
        return 0;
    case TT_DOUBLE:
        if (*(const double *)v - *(const double *)v == 0)
            java_double(out, *(const double *)v);
        else
            buf_adds(out, "null");
        return 0;
    case TT_STRING:
        return write_string(out, *(const struct str *)v, t->is_binary, flags);
    case TT_STRUCT:
        return write_struct(out, t->st, v, flags);
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    return ERR_UNSUPPORTED; /* never: the generator refuses containers of containers */
}

static int write_container(struct buf *out, const struct tfield *f, const void *obj, int flags)
{
    const struct ttypedesc *t = &f->type;
    const struct str *keys = t->key ? *tfield_keys(f, obj) : NULL;
    const char *v = *tfield_array(f, obj);
    size_t size = ttype_size(t->elem);
    uint32_t n = *tfield_count(f, obj);
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    buf_addc(out, t->key ? '{' : '[');
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_addc(out, ',');
        int rc = keys ? write_string(out, keys[i], false, flags) : 0;
        if (rc == 0 && keys) buf_addc(out, ':');
        if (rc == 0) rc = write_value(out, t->elem, v + i * size, flags);
        if (rc) return rc;
    }
    buf_addc(out, t->key ? '}' : ']');
    return 0;
}

/* Gson goes over Java fields, in which primitives always have a value. */
static bool is_shown_unset(const struct tdesc *d, const struct tfield *f, int flags)
{
    bool primitive =
        !f->type.en && f->type.type != TT_STRING && f->type.type != TT_STRUCT && !ttype_is_container(f->type.type);
    return (flags & JSON_GSON) && primitive && !d->is_union;
}

static int write_struct(struct buf *out, const struct tdesc *d, const void *obj, int flags)
{
    unsigned written = 0;
    buf_addc(out, '{');
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const struct tfield *f = &d->fields[i];
        if (!tfield_is_set(f, obj) && !is_shown_unset(d, f, flags)) continue;
        if (written++) buf_addc(out, ',');
        buf_addc(out, '"');
        buf_adds(out, f->name);
        buf_add(out, "\":", 2);
        const void *v = tfield_value(f, obj);
        int rc = ttype_is_container(f->type.type) ? write_container(out, f, obj, flags)
                                                  : write_value(out, &f->type, v, flags);
        if (rc) return rc;
    }
    buf_addc(out, '}');
    return d->is_union && written != 1 ? ERR_INVALID : 0;
}

int json_write(struct buf *out, const struct tdesc *d, const void *obj, int flags)
{
    size_t start = out->len;
    int rc = write_struct(out, d, obj, flags);
    if (rc < 0) out->len = start;
    return rc;
}
