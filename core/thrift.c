#include "core/value.h"

#include "core/err.h"
#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>

const char *tenum_name(const struct tenum *e, int32_t value)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (e->values[i] == value) return e->names[i];
    return NULL;
}

int tenum_value(const struct tenum *e, struct str name, int32_t *ret_value)
{
    for (uint32_t i = 0; i < e->n; i++) {
        if (!str_eq(name, str_c(e->names[i]))) continue;
        *ret_value = e->values[i];
        return 0;
    }
    return ERR_NOT_FOUND;
}

const struct tfield *tdesc_field(const struct tdesc *d, const char *name)
{
    for (uint32_t i = 0; i < d->n_fields; i++)
        if (strcmp(d->fields[i].name, name) == 0) return &d->fields[i];
    return NULL;
}

const struct tfield *tdesc_field_by_id(const struct tdesc *d, int32_t id, uint32_t *at)
{
    for (uint32_t i = 0; i < d->n_fields; i++) {
        uint32_t k = *at + i < d->n_fields ? *at + i : *at + i - d->n_fields;
        if (d->fields[k].id != id) continue;
        *at = k + 1 < d->n_fields ? k + 1 : 0;
        return &d->fields[k];
    }
    return NULL;
}

unsigned tdesc_count_set(const struct tdesc *d, const void *obj)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < d->n_fields; i++) n += tfield_is_set(&d->fields[i], obj);
    return n;
}

size_t ttype_size(const struct ttypedesc *t)
{
    switch (t->type) {
    case TT_BOOL:
        return sizeof(bool);
    case TT_I8:
        return sizeof(int8_t);
    case TT_I16:
        return sizeof(int16_t);
    case TT_I32:
        return sizeof(int32_t);
    case TT_I64:
        return sizeof(int64_t);
    case TT_DOUBLE:
        return sizeof(double);
    case TT_STRING:
        return sizeof(struct str);
    case TT_STRUCT:
        return t->st->size;
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    abort(); /* the generator refuses containers of containers */
}

void *decode_alloc(struct arena *a, uint64_t n, size_t size)
{
    assert(n <= LIMIT_CODEC_STRING_BYTES + 1);
    size_t bytes = n * size;
    if (a->used > LIMIT_CODEC_ARENA_BYTES || bytes > LIMIT_CODEC_ARENA_BYTES - a->used) return NULL;
    return arena_alloc(a, bytes);
}

int decode_finish(const struct tdesc *d, void *obj, struct arena *a)
{
    if (d->is_union) return tdesc_count_set(d, obj) > 1 ? ERR_MALFORMED : 0;
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const struct tfield *f = &d->fields[i];
        if (!f->set_default || tfield_is_set(f, obj)) continue;
        if (!f->set_default(obj, a)) return ERR_TOO_BIG;
    }
    return 0;
}

/* ---------------- order ---------------- */

#define COMPARE(x, y) (((x) > (y)) - ((x) < (y)))

/* By value, then by bits: a total order that keeps -0.0 apart from 0.0 as their encodings are. */
static int compare_doubles(const void *x, const void *y)
{
    double a, b;
    uint64_t abits, bbits;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    memcpy(&abits, x, sizeof abits);
    memcpy(&bbits, y, sizeof bbits);
    bool both_numbers = a == a && b == b;
    return both_numbers && a != b ? COMPARE(a, b) : COMPARE(abits, bbits);
}

/* x and y point to elements. */
static int compare_values(const struct ttypedesc *t, const void *x, const void *y)
{
    switch (t->type) {
    case TT_BOOL:
        return COMPARE(*(const bool *)x, *(const bool *)y);
    case TT_I8:
        return COMPARE(*(const int8_t *)x, *(const int8_t *)y);
    case TT_I16:
        return COMPARE(*(const int16_t *)x, *(const int16_t *)y);
    case TT_I32:
        return COMPARE(*(const int32_t *)x, *(const int32_t *)y);
    case TT_I64:
        return COMPARE(*(const int64_t *)x, *(const int64_t *)y);
    case TT_DOUBLE:
        return compare_doubles(x, y);
    case TT_STRING:
        return str_cmp(*(const struct str *)x, *(const struct str *)y);
    case TT_STRUCT:
        return thrift_compare(t->st, x, y);
    case TT_STOP:
    case TT_MAP:
    case TT_SET:
    case TT_LIST:
        break;
    }
    abort();
}

static int compare_arrays(const struct ttypedesc *t, const char *x, uint32_t nx, const char *y, uint32_t ny)
{
    size_t size = ttype_size(t);
    for (uint32_t i = 0; i < nx && i < ny; i++) {
        int c = compare_values(t, x + i * size, y + i * size);
        if (c) return c;
    }
    return COMPARE(nx, ny);
}

static int compare_fields(const struct tfield *f, const void *x, const void *y)
{
    bool has_x = tfield_is_set(f, x), has_y = tfield_is_set(f, y);
    if (!has_x || !has_y) return COMPARE(has_x, has_y);
    const struct ttypedesc *t = &f->type;
    if (t->type == TT_STRUCT) return thrift_compare(t->st, *tfield_array(f, x), *tfield_array(f, y));
    if (!ttype_is_container(t->type)) return compare_values(t, tfield_at(f, x), tfield_at(f, y));
    uint32_t nx = *tfield_count(f, x), ny = *tfield_count(f, y);
    int c = t->key ? compare_arrays(t->key, *tfield_keys(f, x), nx, *tfield_keys(f, y), ny) : 0;
    return c ? c : compare_arrays(t->elem, *tfield_array(f, x), nx, *tfield_array(f, y), ny);
}

int thrift_compare(const struct tdesc *d, const void *x, const void *y)
{
    for (uint32_t i = 0; i < d->n_fields; i++) {
        int c = compare_fields(&d->fields[i], x, y);
        if (c) return c;
    }
    return 0;
}

/* ---------------- storage form ---------------- */

static int compare_elements(const void *x, const void *y, void *type)
{
    return compare_values(type, x, y);
}

static bool is_strictly_sorted(const struct ttypedesc *t, const char *v, uint32_t n)
{
    size_t size = ttype_size(t);
    for (uint32_t i = 1; i < n; i++)
        if (compare_values(t, v + (i - 1) * size, v + i * size) >= 0) return false;
    return true;
}

static void normalize_set(const struct ttypedesc *t, char *v, uint32_t *n)
{
    if (is_strictly_sorted(t, v, *n)) return;
    size_t size = ttype_size(t);
    qsort_r(v, *n, size, compare_elements, (void *)(uintptr_t)t);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < *n; i++) {
        if (compare_values(t, v + (kept - 1) * size, v + i * size) == 0) continue;
        if (kept != i) memcpy(v + kept * size, v + i * size, size);
        kept++;
    }
    *n = kept;
}

struct map_order {
    const struct ttypedesc *key;
    const char *keys;
    size_t key_size;
};

/* By key; of equal keys the later one first, so that it is the one that stays. */
static int compare_entries(const void *x, const void *y, void *arg)
{
    const struct map_order *o = arg;
    uint32_t i = *(const uint32_t *)x, k = *(const uint32_t *)y;
    int c = compare_values(o->key, o->keys + i * o->key_size, o->keys + k * o->key_size);
    return c ? c : COMPARE(k, i);
}

static void normalize_map(const struct ttypedesc *t, char *keys, char *values, uint32_t *n)
{
    if (is_strictly_sorted(t->key, keys, *n)) return;
    size_t ks = ttype_size(t->key), vs = ttype_size(t->elem);
    uint32_t *order = xmalloc(*n * sizeof *order);
    char *old_keys = xmalloc(*n * ks), *old_values = xmalloc(*n * vs);
    memcpy(old_keys, keys, *n * ks);
    memcpy(old_values, values, *n * vs);
    for (uint32_t i = 0; i < *n; i++) order[i] = i;
    struct map_order o = { t->key, old_keys, ks };
    qsort_r(order, *n, sizeof *order, compare_entries, &o);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *n; i++) {
        const char *key = old_keys + order[i] * ks;
        if (kept && compare_values(t->key, keys + (kept - 1) * ks, key) == 0) continue;
        memcpy(keys + kept * ks, key, ks);
        memcpy(values + kept * vs, old_values + order[i] * vs, vs);
        kept++;
    }
    *n = kept;
    free(order);
    free(old_keys);
    free(old_values);
}

static void normalize_container(const struct tfield *f, void *obj, struct arena *a)
{
    const struct ttypedesc *t = &f->type;
    *tfield_has(f, obj) = true;
    uint32_t *n = tfield_count(f, obj);
    char *v = *tfield_array(f, obj);
    if (t->elem->type == TT_STRUCT)
        for (uint32_t i = 0; i < *n; i++) thrift_normalize(t->elem->st, v + i * t->elem->st->size, a);
    if (*n < 2) return;
    if (t->type == TT_SET) normalize_set(t->elem, v, n);
    if (t->type == TT_MAP) normalize_map(t, *tfield_keys(f, obj), v, n);
}

void thrift_normalize(const struct tdesc *d, void *obj, struct arena *a)
{
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const struct tfield *f = &d->fields[i];
        bool set = tfield_is_set(f, obj);
        if (d->is_union && !set) continue;
        if (!set && f->set_default) {
            set = f->set_default(obj, a);
            assert(set);
        }
        if (f->type.type == TT_STRUCT) {
            if (set) thrift_normalize(f->type.st, *tfield_array(f, obj), a);
        } else if (ttype_is_container(f->type.type)) {
            normalize_container(f, obj, a);
        } else if (f->type.type != TT_STRING && !f->type.en) {
            *tfield_has(f, obj) = true;
        }
    }
}

/* ---------------- copies ---------------- */

static void clone_insides(const struct tdesc *d, void *obj, struct arena *a);

static void *clone_array(const struct ttypedesc *t, const void *from, uint32_t n, struct arena *a)
{
    if (!n) return NULL;
    size_t size = ttype_size(t);
    char *to = arena_alloc(a, n * size);
    assert(to);
    memcpy(to, from, n * size);
    if (t->type == TT_STRING) {
        struct str *s = (struct str *)to;
        for (uint32_t i = 0; i < n; i++) s[i] = arena_str(a, s[i]);
    } else if (t->type == TT_STRUCT) {
        for (uint32_t i = 0; i < n; i++) clone_insides(t->st, to + i * size, a);
    }
    return to;
}

/* obj is a shallow copy: gives it its own copies of all that it points to. */
static void clone_insides(const struct tdesc *d, void *obj, struct arena *a)
{
    for (uint32_t i = 0; i < d->n_fields; i++) {
        const struct tfield *f = &d->fields[i];
        if (!tfield_is_set(f, obj)) continue;
        if (f->type.type == TT_STRUCT) {
            *tfield_array(f, obj) = thrift_clone(f->type.st, *tfield_array(f, obj), a);
        } else if (f->type.type == TT_STRING) {
            struct str *s = tfield_at(f, obj);
            *s = arena_str(a, *s);
        } else if (ttype_is_container(f->type.type)) {
            uint32_t n = *tfield_count(f, obj);
            *tfield_array(f, obj) = clone_array(f->type.elem, *tfield_array(f, obj), n, a);
            if (f->type.key) *tfield_keys(f, obj) = clone_array(f->type.key, *tfield_keys(f, obj), n, a);
        }
    }
}

void *thrift_clone(const struct tdesc *d, const void *obj, struct arena *a)
{
    void *copy = arena_alloc(a, d->size);
    assert(copy);
    memcpy(copy, obj, d->size);
    clone_insides(d, copy, a);
    return copy;
}
