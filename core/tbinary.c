/* TBinaryProtocol: big-endian numbers, a struct is (type, id, value)* STOP. */
#include "core/value.h"

#include "core/err.h"
#include "core/limits.h"

#include <assert.h>

enum { STRICT_VERSION = 0x8001 };

/* ---------------- writing ---------------- */

/* The part of the buffer that is being filled: its length is brought up to date at the end and before it grows. */
struct out {
    uint8_t *p, *end;
    struct buf *b;
};

static struct out out_begin(struct buf *b)
{
    uint8_t *p = buf_reserve(b, 256);
    return (struct out){ p, b->data + b->cap, b };
}

static void out_end(struct out *o)
{
    o->b->len = (size_t)(o->p - o->b->data);
}

static void out_grow(struct out *o, size_t n)
{
    out_end(o);
    o->p = buf_reserve(o->b, n);
    o->end = o->b->data + o->b->cap;
}

static inline uint8_t *out_take(struct out *o, size_t n)
{
    if ((size_t)(o->end - o->p) < n) out_grow(o, n);
    uint8_t *p = o->p;
    o->p += n;
    return p;
}

static inline void put16(uint8_t *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof v);
}

static inline void put32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void put64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

static void out_byte(struct out *o, unsigned v)
{
    *out_take(o, 1) = (uint8_t)v;
}

static void out_i32(struct out *o, int32_t v)
{
    put32(out_take(o, 4), (uint32_t)v);
}

static void out_field(struct out *o, enum ttype type, int16_t id)
{
    uint8_t *p = out_take(o, 3);
    p[0] = (uint8_t)type;
    put16(p + 1, (uint16_t)id);
}

static int out_str(struct out *o, struct str s)
{
    if (s.n > LIMIT_CODEC_STRING_BYTES) return ERR_TOO_BIG;
    uint8_t *p = out_take(o, 4 + (size_t)s.n);
    put32(p, s.n);
    if (s.n) memcpy(p + 4, s.p, s.n);
    return 0;
}

static int out_struct(struct out *o, const struct tdesc *d, const void *obj);

/* v points to the value; for a struct, to the struct. */
static int out_value(struct out *o, const struct ttypedesc *t, const void *v)
{
    uint64_t bits;
    switch (t->type) {
    case TT_BOOL:
        out_byte(o, *(const bool *)v);
        return 0;
    case TT_I8:
        out_byte(o, *(const uint8_t *)v);
        return 0;
    case TT_I16:
        put16(out_take(o, 2), *(const uint16_t *)v);
        return 0;
    case TT_I32:
        put32(out_take(o, 4), *(const uint32_t *)v);
        return 0;
    case TT_I64:
    case TT_DOUBLE:
        memcpy(&bits, v, sizeof bits);
        put64(out_take(o, 8), bits);
        return 0;
    case TT_STRING:
        return out_str(o, *(const struct str *)v);
    case TT_STRUCT:
        return out_struct(o, t->st, v);
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    return ERR_UNSUPPORTED; /* never: the generator refuses containers of containers */
}

static int out_container(struct out *o, const struct tfield *f, const void *obj)
{
    const struct ttypedesc *t = &f->type;
    uint32_t n = *tfield_count(f, obj);
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    if (t->key) out_byte(o, t->key->type);
    out_byte(o, t->elem->type);
    out_i32(o, (int32_t)n);
    size_t key_size = t->key ? ttype_size(t->key) : 0, size = ttype_size(t->elem);
    const char *keys = t->key ? *tfield_keys(f, obj) : NULL, *v = *tfield_array(f, obj);
    for (uint32_t i = 0; i < n; i++) {
        int rc = t->key ? out_value(o, t->key, keys + i * key_size) : 0;
        if (rc == 0) rc = out_value(o, t->elem, v + i * size);
        if (rc) return rc;
    }
    return 0;
}

static int out_struct(struct out *o, const struct tdesc *d, const void *obj)
{
    unsigned written = 0;
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const struct tfield *f = &d->fields[i];
        if (!tfield_is_set(f, obj)) continue;
        written++;
        out_field(o, f->type.type, f->id);
        const void *v = tfield_value(f, obj);
        int rc = ttype_is_container(f->type.type) ? out_container(o, f, obj) : out_value(o, &f->type, v);
        if (rc) return rc;
    }
    out_byte(o, TT_STOP);
    return d->is_union && written != 1 ? ERR_INVALID : 0;
}

int tbinary_write(struct buf *b, const struct tdesc *d, const void *obj)
{
    size_t start = b->len;
    struct out o = out_begin(b);
    int rc = out_struct(&o, d, obj);
    out_end(&o);
    if (rc < 0) b->len = start;
    return rc;
}

static void out_message(struct out *o, struct str name, enum tmessage_type type, int32_t seqid)
{
    assert(name.n <= LIMIT_CODEC_STRING_BYTES);
    put32(out_take(o, 4), (uint32_t)STRICT_VERSION << 16 | type);
    out_str(o, name);
    out_i32(o, seqid);
}

int tbinary_reply_write(struct buf *b, struct str name, int32_t seqid, const struct tdesc *result_desc,
                        const void *result)
{
    size_t start = b->len;
    struct out o = out_begin(b);
    out_message(&o, name, TMSG_REPLY, seqid);
    out_field(&o, TT_STRUCT, 0);
    int rc = out_struct(&o, result_desc, result);
    out_byte(&o, TT_STOP);
    out_end(&o);
    if (rc < 0) b->len = start;
    return rc;
}

void tbinary_exception_write(struct buf *b, struct str name, int32_t seqid, const char *message, int type)
{
    struct out o = out_begin(b);
    out_message(&o, name, TMSG_EXCEPTION, seqid);
    out_field(&o, TT_STRING, 1);
    out_str(&o, str_c(message));
    out_field(&o, TT_I32, 2);
    out_i32(&o, type);
    out_byte(&o, TT_STOP);
    out_end(&o);
}

/* ---------------- reading ---------------- */

struct in {
    const uint8_t *p, *end;
    struct arena *a;
    unsigned depth;
};

static size_t in_left(const struct in *in)
{
    return (size_t)(in->end - in->p);
}

/* The next n bytes or NULL. */
static inline const uint8_t *in_take(struct in *in, size_t n)
{
    if (in_left(in) < n) return NULL;
    const uint8_t *p = in->p;
    in->p += n;
    return p;
}

static inline uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap16(v);
}

static inline uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

static inline uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

/* The fewest bytes that a value of this type takes; 0 for what is no type. */
static unsigned least_bytes(unsigned type)
{
    switch (type) {
    case TT_BOOL:
    case TT_I8:
    case TT_STRUCT:
        return 1;
    case TT_I16:
        return 2;
    case TT_I32:
    case TT_STRING:
        return 4;
    case TT_SET:
    case TT_LIST:
        return 5;
    case TT_MAP:
        return 6;
    case TT_I64:
    case TT_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

/* A string's length; that many bytes are there. */
static int in_length(struct in *in, uint32_t *ret_n)
{
    const uint8_t *p = in_take(in, 4);
    if (!p) return ERR_TRUNCATED;
    uint32_t n = get32(p);
    if (n > INT32_MAX) return ERR_MALFORMED;
    if (n > LIMIT_CODEC_STRING_BYTES) return ERR_TOO_BIG;
    if (n > in_left(in)) return ERR_TRUNCATED;
    *ret_n = n;
    return 0;
}

/* A container's head; n elements can be in what is left of the input. key is TT_STOP but for maps. */
static int in_container(struct in *in, bool is_map, unsigned *ret_key, unsigned *ret_elem, uint32_t *ret_n)
{
    const uint8_t *p = in_take(in, is_map ? 6 : 5);
    if (!p) return ERR_TRUNCATED;
    unsigned key = is_map ? *p++ : TT_STOP, elem = *p++;
    uint32_t n = get32(p);
    if (n > INT32_MAX) return ERR_MALFORMED;
    if (n > LIMIT_CODEC_ELEMENTS) return ERR_TOO_BIG;
    if (n) {
        if (!least_bytes(elem) || (is_map && !least_bytes(key))) return ERR_MALFORMED;
        if (n > in_left(in) / (least_bytes(elem) + least_bytes(key))) return ERR_TRUNCATED;
    }
    *ret_key = key;
    *ret_elem = elem;
    *ret_n = n;
    return 0;
}

static int in_skip(struct in *in, unsigned type);

static int in_skip_struct(struct in *in)
{
    for (;;) {
        const uint8_t *p = in_take(in, 1);
        if (!p) return ERR_TRUNCATED;
        if (*p == TT_STOP) return 0;
        if (!in_take(in, 2)) return ERR_TRUNCATED;
        int rc = in_skip(in, *p);
        if (rc) return rc;
    }
}

static int in_skip_container(struct in *in, bool is_map)
{
    unsigned key, elem;
    uint32_t n;
    int rc = in_container(in, is_map, &key, &elem, &n);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (is_map) rc = in_skip(in, key);
        if (rc == 0) rc = in_skip(in, elem);
    }
    return rc;
}

/* Passes over a value of any type. */
static int in_skip(struct in *in, unsigned type)
{
    uint32_t n = least_bytes(type);
    int rc;
    switch (type) {
    case TT_BOOL:
    case TT_I8:
    case TT_I16:
    case TT_I32:
    case TT_I64:
    case TT_DOUBLE:
        return in_take(in, n) ? 0 : ERR_TRUNCATED;
    case TT_STRING:
        rc = in_length(in, &n);
        if (rc == 0) in->p += n;
        return rc;
    case TT_STRUCT:
    case TT_SET:
    case TT_LIST:
    case TT_MAP:
        if (in->depth == LIMIT_CODEC_DEPTH) return ERR_TOO_DEEP;
        in->depth++;
        rc = type == TT_STRUCT ? in_skip_struct(in) : in_skip_container(in, type == TT_MAP);
        in->depth--;
        return rc;
    default:
        return ERR_MALFORMED;
    }
}

static int in_str(struct in *in, struct str *ret)
{
    uint32_t n;
    int rc = in_length(in, &n);
    if (rc) return rc;
    char *p = decode_alloc(in->a, (uint64_t)n + 1, 1);
    if (!p) return ERR_TOO_BIG;
    memcpy(p, in->p, n);
    in->p += n;
    *ret = (struct str){ p, n };
    return 0;
}

static int in_struct(struct in *in, const struct tdesc *d, void *obj);

/* v points to the place of the value; for a struct, to the zeroed struct. */
static int in_value(struct in *in, const struct ttypedesc *t, void *v)
{
    if (t->type == TT_STRING) return in_str(in, v);
    if (t->type == TT_STRUCT) return in_struct(in, t->st, v);
    const uint8_t *p = in_take(in, least_bytes(t->type));
    if (!p) return ERR_TRUNCATED;
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (t->type) {
    case TT_BOOL:
        *(bool *)v = *p == 1; /* so Java reads it */
        break;
    case TT_I8:
        memcpy(v, p, 1);
        break;
    case TT_I16:
        v16 = get16(p);
        memcpy(v, &v16, sizeof v16);
        break;
    case TT_I32:
        v32 = get32(p);
        memcpy(v, &v32, sizeof v32);
        break;
    default:
        assert(t->type == TT_I64 || t->type == TT_DOUBLE);
        v64 = get64(p);
        memcpy(v, &v64, sizeof v64);
    }
    return 0;
}

static int in_elements(struct in *in, const struct tfield *f, uint32_t n, char *keys, char *v)
{
    const struct ttypedesc *t = &f->type;
    size_t key_size = t->key ? ttype_size(t->key) : 0, size = ttype_size(t->elem);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (t->key) rc = in_value(in, t->key, keys + i * key_size);
        if (rc == 0) rc = in_value(in, t->elem, v + i * size);
    }
    return rc;
}

static int in_container_field(struct in *in, const struct tfield *f, void *obj)
{
    const struct ttypedesc *t = &f->type;
    unsigned key, elem;
    uint32_t n;
    int rc = in_container(in, t->key != NULL, &key, &elem, &n);
    if (rc) return rc;
    if (n && (elem != t->elem->type || (t->key && key != t->key->type))) return ERR_MALFORMED;
    void *keys = t->key ? decode_alloc(in->a, n, ttype_size(t->key)) : NULL;
    void *v = decode_alloc(in->a, n, ttype_size(t->elem));
    if (!v || (t->key && !keys)) return ERR_TOO_BIG;
    if (in->depth == LIMIT_CODEC_DEPTH) return ERR_TOO_DEEP;
    in->depth++;
    rc = in_elements(in, f, n, keys, v);
    in->depth--;
    if (rc) return rc;
    tfield_set_container(f, obj, n, keys, v);
    return 0;
}

static int in_field(struct in *in, const struct tfield *f, void *obj)
{
    if (ttype_is_container(f->type.type)) return in_container_field(in, f, obj);
    void *at = tfield_at(f, obj);
    if (f->type.type == TT_STRUCT) {
        void *s = decode_alloc(in->a, 1, f->type.st->size);
        if (!s) return ERR_TOO_BIG;
        *(void **)at = s;
        return in_struct(in, f->type.st, s);
    }
    if (f->type.type != TT_STRING) *tfield_has(f, obj) = true;
    return in_value(in, &f->type, at);
}

static int in_struct(struct in *in, const struct tdesc *d, void *obj)
{
    if (in->depth == LIMIT_CODEC_DEPTH) return ERR_TOO_DEEP;
    in->depth++;
    uint32_t at = 0;
    for (;;) {
        const uint8_t *p = in_take(in, 1);
        if (!p) return ERR_TRUNCATED;
        if (*p == TT_STOP) break;
        const uint8_t *id = in_take(in, 2);
        if (!id) return ERR_TRUNCATED;
        const struct tfield *f = tdesc_field_by_id(d, (int16_t)get16(id), &at);
        int rc = f && f->type.type == *p ? in_field(in, f, obj) : in_skip(in, *p);
        if (rc) return rc;
    }
    in->depth--;
    return decode_finish(d, obj, in->a);
}

int tbinary_read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a, size_t *ret_used)
{
    struct in in = { data, (const uint8_t *)data + n, a, 0 };
    if (!data) return ERR_TRUNCATED;
    int rc = in_struct(&in, d, obj);
    if (rc) return rc;
    if (!ret_used) return in_left(&in) ? ERR_MALFORMED : 0;
    *ret_used = n - in_left(&in);
    return 0;
}

int tbinary_skip(const void *data, size_t n, unsigned type, size_t *ret_used)
{
    struct in in = { data, (const uint8_t *)data + n, NULL, 0 };
    if (!data) return ERR_TRUNCATED;
    int rc = in_skip(&in, type);
    if (rc) return rc;
    *ret_used = n - in_left(&in);
    return 0;
}

int tbinary_message_read(const void *data, size_t n, struct tmessage *ret, struct arena *a)
{
    struct in in = { data, (const uint8_t *)data + n, a, 0 };
    if (n < 4) return ERR_TRUNCATED;
    struct tmessage m = { 0 };
    uint32_t head = get32(data);
    bool strict = head > INT32_MAX;
    if (strict) {
        if (head >> 16 != STRICT_VERSION) return ERR_MALFORMED;
        m.type = head & 0xff;
        in.p += 4;
    }
    int rc = in_str(&in, &m.name);
    if (rc) return rc;
    const uint8_t *p = in_take(&in, strict ? 4 : 5);
    if (!p) return ERR_TRUNCATED;
    if (!strict) m.type = *p++;
    m.seqid = (int32_t)get32(p);
    m.body = n - in_left(&in);
    *ret = m;
    return 0;
}
