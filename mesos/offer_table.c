#include "mesos/offer_table.h"

#include "core/buf.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/limits.h"

struct kept_offer {
    UT_hash_handle hh;
    char *id; /* the key; it lies behind the message */
    size_t n;
    uint8_t packed[];
};

struct ban {
    UT_hash_handle hh;
    char id[];
};

static struct kept_offer *find(const struct offer_table *t, struct str id)
{
    struct kept_offer *o = NULL;
    HASH_FIND(hh, t->offers, id.p, id.n, o);
    return o;
}

static struct ban *find_ban(const struct offer_table *t, struct str id)
{
    struct ban *b = NULL;
    HASH_FIND(hh, t->bans, id.p, id.n, b);
    return b;
}

static void drop_ban(struct offer_table *t, struct ban *b)
{
    HASH_DEL(t->bans, b);
    free(b);
}

/* HASH_CLEAR leaves the entries and their chain alone. */
void offer_table_release(struct offer_table *t)
{
    struct kept_offer *o = t->offers;
    HASH_CLEAR(hh, t->offers);
    while (o) {
        struct kept_offer *next = o->hh.next;
        free(o);
        o = next;
    }
    struct ban *b = t->bans;
    HASH_CLEAR(hh, t->bans);
    while (b) {
        struct ban *next = b->hh.next;
        free(b);
        b = next;
    }
}

int offer_table_add(struct offer_table *t, struct str id, const void *packed, size_t n)
{
    struct ban *b = find_ban(t, id);
    if (b) {
        drop_ban(t, b);
        return ERR_REFUSED;
    }
    if (find(t, id)) return ERR_EXISTS;
    if (HASH_COUNT(t->offers) >= LIMIT_DRIVER_OFFERS) return ERR_FULL;
    struct kept_offer *o = xmalloc(sizeof(*o) + n + id.n);
    o->n = n;
    memcpy(o->packed, packed, n);
    o->id = memcpy(o->packed + n, id.p, id.n);
    HASH_ADD_KEYPTR(hh, t->offers, o->id, id.n, o);
    return 0;
}

const void *offer_table_find(const struct offer_table *t, struct str id, size_t *ret_n)
{
    const struct kept_offer *o = find(t, id);
    if (!o) return NULL;
    *ret_n = o->n;
    return o->packed;
}

bool offer_table_remove(struct offer_table *t, struct str id)
{
    struct kept_offer *o = find(t, id);
    if (!o) return false;
    HASH_DEL(t->offers, o);
    free(o);
    return true;
}

void offer_table_rescind(struct offer_table *t, struct str id)
{
    if (offer_table_remove(t, id) || find_ban(t, id)) return;
    struct ban *b = xmalloc(sizeof(*b) + id.n);
    memcpy(b->id, id.p, id.n);
    HASH_ADD_KEYPTR(hh, t->bans, b->id, id.n, b);
    /* uthash iterates in order of insertion, so the head is the oldest. */
    if (HASH_COUNT(t->bans) > LIMIT_DRIVER_RESCINDS) drop_ban(t, t->bans);
}

size_t offer_table_count(const struct offer_table *t)
{
    return HASH_COUNT(t->offers);
}
