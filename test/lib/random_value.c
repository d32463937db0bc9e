#include "test/lib/random_value.h"

#include "core/value.h"

#include <stdio.h>
#include <stdlib.h>

static struct str random_string(struct rng *r, struct arena *a)
{
    static const char *const parts[] = { "a",          "Zz9",   " ",          "\"",
                                         "\\",         "/",     "\b\f\n\r\t", "\x01",
                                         "\x1f",       "\x7f",  "\u00e4",     "\u20ac",
                                         "\U0001f600", "<&>='", "\u2028",     "role/env-name_0.1" };
    struct buf b = { 0 };
    for (uint64_t n = rng_below(r, 6); n; n--) buf_adds(&b, parts[rng_below(r, sizeof parts / sizeof *parts)]);
    struct str s = arena_str(a, (struct str){ b.len ? (char *)b.data : "", (uint32_t)b.len });
    buf_release(&b);
    return s;
}

static struct str random_bytes(struct rng *r, struct arena *a)
{
    uint8_t bytes[8];
    uint32_t n = (uint32_t)rng_below(r, sizeof bytes + 1);
    for (uint32_t i = 0; i < n; i++) bytes[i] = (uint8_t)rng_next(r);
    return arena_str(a, (struct str){ (char *)bytes, n });
}

static int64_t random_integer(struct rng *r)
{
    static const int64_t edges[] = { 0, 1, -1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (1LL << 53) + 1 };
    if (rng_below(r, 3) == 0) return edges[rng_below(r, sizeof edges / sizeof *edges)];
    return (int64_t)(rng_next(r) >> rng_below(r, 64));
}

static double random_double(struct rng *r)
{
    switch (rng_below(r, 4)) {
    case 0:
        return (double)rng_below(r, 100);
    case 1:
        return (double)rng_below(r, 100000) / 1000;
    case 2:
        return -rng_unit(r);
    default:
        break;
    }
    for (;;) {
        uint64_t bits = rng_next(r);
        double v;
        memcpy(&v, &bits, sizeof v);
        if (v - v == 0) return v; /* finite */
    }
}

static void fill_struct(struct rng *r, const struct tdesc *d, void *obj, struct arena *a);

static void fill_value(struct rng *r, const struct ttypedesc *t, void *v, struct arena *a)
{
    switch (t->type) {
    case TT_BOOL:
        *(bool *)v = rng_below(r, 2);
        break;
    case TT_I32:
        *(int32_t *)v = t->en ? t->en->values[rng_below(r, t->en->n)] : (int32_t)random_integer(r);
        break;
    case TT_I64:
        *(int64_t *)v = random_integer(r);
        break;
    case TT_DOUBLE:
        *(double *)v = random_double(r);
        break;
    case TT_STRING:
        *(struct str *)v = t->is_binary ? random_bytes(r, a) : random_string(r, a);
        break;
    case TT_STRUCT:
        fill_struct(r, t->st, v, a);
        break;
    default:
        abort(); /* the IDL has no such type */
    }
}

static void *fill_array(struct rng *r, const struct ttypedesc *t, uint32_t n, struct arena *a)
{
    size_t size = ttype_size(t);
    char *v = arena_alloc(a, n * size);
    for (uint32_t i = 0; i < n; i++) fill_value(r, t, v + i * size, a);
    return v;
}

static void fill_field(struct rng *r, const struct tfield *f, void *obj, struct arena *a)
{
    const struct ttypedesc *t = &f->type;
    if (t->type == TT_STRUCT) {
        *tfield_array(f, obj) = random_value(r, t->st, a);
    } else if (ttype_is_container(t->type)) {
        uint32_t n = (uint32_t)rng_below(r, 5);
        *tfield_has(f, obj) = true;
        *tfield_count(f, obj) = n;
        *tfield_array(f, obj) = fill_array(r, t->elem, n, a);
        if (t->key) *tfield_keys(f, obj) = fill_array(r, t->key, n, a);
    } else {
        if (t->type != TT_STRING) *tfield_has(f, obj) = true;
        fill_value(r, t, tfield_at(f, obj), a);
    }
}

static void fill_struct(struct rng *r, const struct tdesc *d, void *obj, struct arena *a)
{
    if (d->is_union) {
        fill_field(r, &d->fields[rng_below(r, d->n_fields)], obj, a);
        return;
    }
    for (uint32_t i = 0; i < d->n_fields; i++)
        if (d->fields[i].set_default || rng_below(r, 8)) fill_field(r, &d->fields[i], obj, a);
}

void *random_value(struct rng *r, const struct tdesc *d, struct arena *a)
{
    void *obj = arena_alloc(a, d->size);
    fill_struct(r, d, obj, a);
    return obj;
}

uint64_t random_seed(const char *program)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 10) : 20240229;
    printf("seed %llu; replay: SEED=%llu %s\n", (unsigned long long)seed, (unsigned long long)seed, program);
    return seed;
}
