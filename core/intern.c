#include "core/intern.h"

#include "core/buf.h"

#include <assert.h>

struct str intern(struct intern_pool *pool, struct str s)
{
    if (!s.p) return s;
    struct interned *i;
    HASH_FIND(hh, pool->table, s.p, s.n, i);
    if (!i) {
        i = xcalloc(1, sizeof *i + s.n + 1);
        i->pool = pool;
        i->n = s.n;
        if (s.n) memcpy(i->bytes, s.p, s.n);
        HASH_ADD_KEYPTR(hh, pool->table, i->bytes, i->n, i);
    }
    i->refs++;
    return (struct str){ i->bytes, i->n };
}

struct str intern_find(const struct intern_pool *pool, struct str s)
{
    struct interned *i = NULL;
    if (s.p) HASH_FIND(hh, pool->table, s.p, s.n, i);
    return i ? (struct str){ i->bytes, i->n } : (struct str){ 0 };
}

void intern_unref(struct str s)
{
    if (!s.p) return;
    struct interned *i = intern_of(s);
    assert(i->refs > 0);
    if (--i->refs) return;
    assert(i->by_host.n == 0);
    HASH_DEL(i->pool->table, i);
    free(i);
}

static struct config *known_by_address(const struct config_pool *pool, const struct api_task_config *api)
{
    if (pool->last_api == api) return pool->last;
    struct config_entry *e;
    HASH_FIND(hh_api, pool->by_api, &api, sizeof(void *), e);
    return e ? &e->pub : NULL;
}

static struct config_entry *entry_new(struct config_pool *pool, struct arena arena, struct buf encoded,
                                      const struct api_task_config *api)
{
    struct config_entry *e = xcalloc(1, sizeof *e);
    e->pool = pool;
    e->arena = arena;
    e->encoded = encoded;
    e->pub.api = api;
    e->pub.hash = hash_bytes(encoded.data, encoded.len, 0);
    HASH_ADD_KEYPTR(hh, pool->by_value, e->encoded.data, e->encoded.len, e);
    HASH_ADD_KEYPTR(hh_api, pool->by_api, &e->pub.api, sizeof(void *), e);
    return e;
}

struct config *config_intern(struct config_pool *pool, const struct api_task_config *api, bool *ret_new)
{
    if (ret_new) *ret_new = false;
    struct config *known = known_by_address(pool, api);
    if (known) return config_ref(known);

    struct arena arena = { 0 };
    struct buf encoded = { 0 };
    struct api_task_config *copy = thrift_clone(&api_task_config_desc, api, &arena);
    thrift_normalize(&api_task_config_desc, copy, &arena);
    if (tbinary_write(&encoded, &api_task_config_desc, copy) != 0) {
        arena_release(&arena);
        buf_release(&encoded);
        return NULL;
    }
    struct config_entry *e;
    HASH_FIND(hh, pool->by_value, encoded.data, encoded.len, e);
    if (e) {
        arena_release(&arena);
        buf_release(&encoded);
    } else {
        e = entry_new(pool, arena, encoded, copy);
        if (ret_new) *ret_new = true;
    }
    pool->last_api = api;
    pool->last = &e->pub;
    return config_ref(&e->pub);
}

struct config *config_ref(struct config *c)
{
    c->refs++;
    return c;
}

void config_unref(struct config *c)
{
    if (!c) return;
    assert(c->refs > 0);
    if (--c->refs) return;
    struct config_entry *e = config_entry(c);
    if (e->pool->last == c) config_pool_end(e->pool);
    HASH_DEL(e->pool->by_value, e);
    HASH_DELETE(hh_api, e->pool->by_api, e);
    arena_release(&e->arena);
    buf_release(&e->encoded);
    free(e);
}

void config_pool_end(struct config_pool *pool)
{
    pool->last_api = NULL;
    pool->last = NULL;
}
