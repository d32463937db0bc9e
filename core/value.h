/* For the codecs only: access to C values through the descriptors of core/thrift.h. */
#ifndef AURORA_CORE_VALUE_H
#define AURORA_CORE_VALUE_H

#include "core/thrift.h"

/* The place of a field's value (or pointer) in obj. */
static inline void *tfield_at(const struct tfield *f, const void *obj)
{
    return (char *)(uintptr_t)obj + f->off;
}

static inline bool *tfield_has(const struct tfield *f, const void *obj)
{
    return (bool *)((char *)(uintptr_t)obj + f->has_off);
}

/* Containers only. */
static inline uint32_t *tfield_count(const struct tfield *f, const void *obj)
{
    return (uint32_t *)((char *)(uintptr_t)obj + f->n_off);
}

/* The arrays of a container: elements (of a map: values), and keys. */
static inline void **tfield_array(const struct tfield *f, const void *obj)
{
    return (void **)tfield_at(f, obj);
}

static inline void **tfield_keys(const struct tfield *f, const void *obj)
{
    return (void **)((char *)(uintptr_t)obj + f->keys_off);
}

/* What a reader has read of a container: n elements, and as many keys (of a map; else NULL). */
static inline void tfield_set_container(const struct tfield *f, void *obj, uint32_t n, void *keys, void *elements)
{
    *tfield_has(f, obj) = true;
    *tfield_count(f, obj) = n;
    *tfield_array(f, obj) = elements;
    if (f->type.key) *tfield_keys(f, obj) = keys;
}

/* The value itself: of a struct, the struct. Not for containers. */
static inline const void *tfield_value(const struct tfield *f, const void *obj)
{
    return f->type.type == TT_STRUCT ? *tfield_array(f, obj) : tfield_at(f, obj);
}

static inline bool tfield_is_set(const struct tfield *f, const void *obj)
{
    if (f->type.type == TT_STRUCT) return *tfield_array(f, obj) != NULL;
    if (f->type.type == TT_STRING) return ((const struct str *)tfield_at(f, obj))->p != NULL;
    return *tfield_has(f, obj);
}

static inline bool ttype_is_container(enum ttype t)
{
    return t == TT_LIST || t == TT_SET || t == TT_MAP;
}

/* Bytes of one element of this type in an array: a struct lies there itself, not its pointer. */
size_t ttype_size(const struct ttypedesc *t);
/* The field with this id or NULL. *at is where to look first, 0 at the start of a struct: fields mostly come in order.
 */
const struct tfield *tdesc_field_by_id(const struct tdesc *d, int32_t id, uint32_t *at);
/* Number of members that are set. */
unsigned tdesc_count_set(const struct tdesc *d, const void *obj);

/* n zeroed elements of `size` bytes for a reader; NULL if the arena's limit or LIMIT_CODEC_ARENA_BYTES is reached. n =
 * 0 gives a pointer too. */
void *decode_alloc(struct arena *a, uint64_t n, size_t size);
/* Last act of every reader of a struct: IDL defaults for what is absent, and not more than one member in a union (none
 * is allowed: the member may be one that only newer versions know). */
int decode_finish(const struct tdesc *d, void *obj, struct arena *a);

#endif
