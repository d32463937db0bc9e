#include "mesos/local/resources.h"

#include "core/err.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <uthash.h>

struct kind_entry {
    struct res_kind kind; /* first: a res_kind is its entry */
    uint8_t *key;
    UT_hash_handle hh;
};

struct res_table {
    struct kind_entry *kinds;
};

int64_t res_milli(double value)
{
    return llround(value * 1000.0);
}

/* ---------------- kinds ---------------- */

struct res_table *res_table_new(void)
{
    return xcalloc(1, sizeof(struct res_table));
}

void res_table_free(struct res_table *t)
{
    if (!t) return;
    struct kind_entry *e = t->kinds, *next;
    HASH_CLEAR(hh, t->kinds);
    for (; e; e = next) {
        next = e->hh.next;
        mesos__resource__free_unpacked(e->kind.post, NULL);
        mesos__resource__free_unpacked(e->kind.pre, NULL);
        free(e->key);
        free(e);
    }
    free(t);
}

/* Repacks a message that borrows its parts, so that it owns them. */
static Mesos__Resource *own(const Mesos__Resource *p)
{
    size_t n = mesos__resource__get_packed_size(p);
    uint8_t *bytes = xmalloc(n);
    mesos__resource__pack(p, bytes);
    Mesos__Resource *copy = mesos__resource__unpack(NULL, n, bytes);
    free(bytes);
    assert(copy);
    return copy;
}

static Mesos__Resource without_values(const Mesos__Resource *p)
{
    Mesos__Resource r = *p;
    r.scalar = NULL;
    r.ranges = NULL;
    r.set = NULL;
    r.allocation_info = NULL;
    return r;
}

/* `p` in the format with `reservations`. `one` and `list` give the memory for the single reservation. */
static Mesos__Resource refined(const Mesos__Resource *p, Mesos__Resource__ReservationInfo *one,
                               Mesos__Resource__ReservationInfo **list)
{
    static const Mesos__Resource blank = MESOS__RESOURCE__INIT;
    Mesos__Resource r = without_values(p);
    r.role = blank.role; /* the default by its address: isn't packed */
    r.reservation = NULL;
    if (p->n_reservations > 0) return r;
    if (!p->role || strcmp(p->role, "*") == 0) return r;
    if (p->reservation) *one = *p->reservation;
    one->has_type = true;
    one->type = p->reservation ? MESOS__RESOURCE__RESERVATION_INFO__TYPE__DYNAMIC
                               : MESOS__RESOURCE__RESERVATION_INFO__TYPE__STATIC;
    one->role = p->role;
    *list = one;
    r.reservations = list;
    r.n_reservations = 1;
    return r;
}

/* The old format of `post`: it has no words for refined reservations; frameworks that would need them don't get them
 * offered. */
static Mesos__Resource *unrefined(const Mesos__Resource *post)
{
    Mesos__Resource r = *post;
    Mesos__Resource__ReservationInfo info = MESOS__RESOURCE__RESERVATION_INFO__INIT;
    r.role = (char *)"*";
    r.n_reservations = 0;
    r.reservations = NULL;
    if (post->n_reservations > 0) {
        const Mesos__Resource__ReservationInfo *last = post->reservations[post->n_reservations - 1];
        r.role = last->role;
        if (last->type == MESOS__RESOURCE__RESERVATION_INFO__TYPE__DYNAMIC) {
            info = *last;
            info.has_type = false;
            info.role = NULL;
            r.reservation = &info;
        }
    }
    return own(&r);
}

static const struct res_kind *intern(struct res_table *t, const Mesos__Resource *p)
{
    Mesos__Resource__ReservationInfo one = MESOS__RESOURCE__RESERVATION_INFO__INIT, *list = NULL;
    Mesos__Resource post = refined(p, &one, &list);
    size_t n = mesos__resource__get_packed_size(&post);
    uint8_t *key = xmalloc(n);
    mesos__resource__pack(&post, key);
    struct kind_entry *e;
    HASH_FIND(hh, t->kinds, key, n, e);
    if (e) {
        free(key);
        return &e->kind;
    }
    e = xcalloc(1, sizeof *e);
    e->key = key;
    e->kind.post = own(&post);
    e->kind.pre = unrefined(e->kind.post);
    e->kind.name = e->kind.post->name;
    e->kind.type = e->kind.post->type;
    e->kind.revocable = e->kind.post->revocable != NULL;
    size_t last = e->kind.post->n_reservations;
    if (last) e->kind.reserved_role = e->kind.post->reservations[last - 1]->role;
    HASH_ADD_KEYPTR(hh, t->kinds, e->key, n, e);
    return &e->kind;
}

/* ---------------- items ---------------- */

static bool item_empty(const struct res_item *it)
{
    return it->kind->type == MESOS__VALUE__TYPE__SCALAR ? it->milli == 0 : it->n == 0;
}

static void item_release(struct res_item *it)
{
    if (it->kind->type == MESOS__VALUE__TYPE__RANGES) free(it->ranges);
    if (it->kind->type != MESOS__VALUE__TYPE__SET) return;
    for (uint32_t i = 0; i < it->n; i++) free(it->words[i]);
    free(it->words);
}

static struct res_item item_copy(const struct res_item *it)
{
    struct res_item c = *it;
    if (it->kind->type == MESOS__VALUE__TYPE__RANGES) {
        c.ranges = xmalloc(it->n * sizeof *c.ranges);
        memcpy(c.ranges, it->ranges, it->n * sizeof *c.ranges);
    } else if (it->kind->type == MESOS__VALUE__TYPE__SET) {
        c.words = xmalloc(it->n * sizeof *c.words);
        for (uint32_t i = 0; i < it->n; i++) c.words[i] = xstrdup(it->words[i]);
    }
    return c;
}

static struct res_item *find(const struct res *r, const struct res_kind *kind)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->v[i].kind == kind) return &r->v[i];
    return NULL;
}

static int range_cmp(const void *a, const void *b)
{
    const struct res_range *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Sorts and coalesces in place; returns how many are left. */
static uint32_t coalesce(struct res_range *v, uint32_t n)
{
    if (!n) return 0;
    qsort(v, n, sizeof *v, range_cmp);
    uint32_t last = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (v[last].end != UINT64_MAX && v[i].begin > v[last].end + 1) {
            v[++last] = v[i];
        } else if (v[i].end > v[last].end) {
            v[last].end = v[i].end;
        }
    }
    return last + 1;
}

static void ranges_add(struct res_item *a, const struct res_item *b)
{
    a->ranges = xrealloc(a->ranges, (a->n + b->n) * sizeof *a->ranges);
    memcpy(a->ranges + a->n, b->ranges, b->n * sizeof *a->ranges);
    a->n = coalesce(a->ranges, a->n + b->n);
}

static void ranges_sub(struct res_item *a, const struct res_item *b)
{
    /* Each range of b can split one of a. */
    struct res_range *out = xmalloc((a->n + b->n) * sizeof *out);
    uint32_t n = 0, j = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        uint64_t begin = a->ranges[i].begin, end = a->ranges[i].end;
        bool rest = true;
        while (j < b->n && b->ranges[j].end < begin) j++;
        for (uint32_t k = j; k < b->n && b->ranges[k].begin <= end; k++) {
            if (b->ranges[k].begin > begin) out[n++] = (struct res_range){ begin, b->ranges[k].begin - 1 };
            rest = b->ranges[k].end < end;
            if (!rest) break;
            begin = b->ranges[k].end + 1;
        }
        if (rest) out[n++] = (struct res_range){ begin, end };
    }
    assert(n <= a->n + b->n);
    free(a->ranges);
    a->ranges = out;
    a->n = n;
}

static bool ranges_contain(const struct res_item *a, const struct res_item *b)
{
    uint32_t i = 0;
    for (uint32_t j = 0; j < b->n; j++) {
        while (i < a->n && a->ranges[i].end < b->ranges[j].begin) i++;
        if (i == a->n || a->ranges[i].begin > b->ranges[j].begin || a->ranges[i].end < b->ranges[j].end) return false;
    }
    return true;
}

static bool has_word(const struct res_item *a, const char *word)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (strcmp(a->words[i], word) == 0) return true;
    return false;
}

static void words_add(struct res_item *a, const struct res_item *b)
{
    a->words = xrealloc(a->words, (a->n + b->n) * sizeof *a->words);
    for (uint32_t i = 0; i < b->n; i++)
        if (!has_word(a, b->words[i])) a->words[a->n++] = xstrdup(b->words[i]);
}

static void words_sub(struct res_item *a, const struct res_item *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        if (has_word(b, a->words[i])) {
            free(a->words[i]);
        } else {
            a->words[n++] = a->words[i];
        }
    }
    a->n = n;
}

static bool item_contains(const struct res_item *a, const struct res_item *b)
{
    if (b->kind->type == MESOS__VALUE__TYPE__SCALAR) return b->milli <= a->milli;
    if (b->kind->type == MESOS__VALUE__TYPE__RANGES) return ranges_contain(a, b);
    for (uint32_t i = 0; i < b->n; i++)
        if (!has_word(a, b->words[i])) return false;
    return true;
}

static void add_item(struct res *r, const struct res_item *it)
{
    if (item_empty(it)) return;
    struct res_item *have = find(r, it->kind);
    if (!have) {
        r->v = xrealloc(r->v, (r->n + 1) * sizeof *r->v);
        r->v[r->n++] = item_copy(it);
    } else if (it->kind->type == MESOS__VALUE__TYPE__SCALAR) {
        have->milli += it->milli;
    } else if (it->kind->type == MESOS__VALUE__TYPE__RANGES) {
        ranges_add(have, it);
    } else {
        words_add(have, it);
    }
}

static void drop_item(struct res *r, uint32_t i)
{
    item_release(&r->v[i]);
    memmove(&r->v[i], &r->v[i + 1], (r->n - i - 1) * sizeof *r->v);
    r->n--;
}

/* ---------------- sets ---------------- */

void res_add(struct res *a, const struct res *b)
{
    assert(a != b);
    for (uint32_t i = 0; i < b->n; i++) add_item(a, &b->v[i]);
}

void res_sub(struct res *a, const struct res *b)
{
    assert(a != b);
    for (uint32_t i = 0; i < b->n; i++) {
        struct res_item *have = find(a, b->v[i].kind);
        if (!have) continue;
        if (have->kind->type == MESOS__VALUE__TYPE__SCALAR) {
            have->milli = have->milli > b->v[i].milli ? have->milli - b->v[i].milli : 0;
        } else if (have->kind->type == MESOS__VALUE__TYPE__RANGES) {
            ranges_sub(have, &b->v[i]);
        } else {
            words_sub(have, &b->v[i]);
        }
        if (item_empty(have)) drop_item(a, (uint32_t)(have - a->v));
    }
}

bool res_contains(const struct res *a, const struct res *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct res_item *have = find(a, b->v[i].kind);
        if (!have) return false;
        if (!item_contains(have, &b->v[i])) return false;
    }
    return true;
}

bool res_eq(const struct res *a, const struct res *b)
{
    return res_contains(a, b) && res_contains(b, a);
}

struct res res_copy(const struct res *a)
{
    struct res r = { a->n ? xmalloc(a->n * sizeof *r.v) : NULL, a->n };
    for (uint32_t i = 0; i < a->n; i++) r.v[i] = item_copy(&a->v[i]);
    return r;
}

void res_release(struct res *r)
{
    for (uint32_t i = 0; i < r->n; i++) item_release(&r->v[i]);
    free(r->v);
    *r = (struct res){ 0 };
}

void res_order(struct res *r, const struct res *like)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < like->n && to < r->n; i++) {
        struct res_item *it = find(r, like->v[i].kind);
        if (!it || it < &r->v[to]) continue;
        struct res_item tmp = r->v[to];
        r->v[to++] = *it;
        *it = tmp;
    }
}

void res_keep(struct res *r, bool (*want)(const struct res_item *it, const void *arg), const void *arg)
{
    for (uint32_t i = r->n; i-- > 0;)
        if (!want(&r->v[i], arg)) drop_item(r, i);
}

int64_t res_scalar(const struct res *r, const char *name)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->v[i].kind->type == MESOS__VALUE__TYPE__SCALAR && strcmp(r->v[i].kind->name, name) == 0)
            sum += r->v[i].milli;
    return sum;
}

bool res_overlap(const struct res *a, const struct res *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct res_item *it = &b->v[i], *have = find(a, it->kind);
        if (!have) continue;
        for (uint32_t j = 0; it->kind->type == MESOS__VALUE__TYPE__SET && j < it->n; j++)
            if (has_word(have, it->words[j])) return true;
        for (uint32_t j = 0; it->kind->type == MESOS__VALUE__TYPE__RANGES && j < it->n; j++)
            for (uint32_t k = 0; k < have->n; k++)
                if (it->ranges[j].begin <= have->ranges[k].end && have->ranges[k].begin <= it->ranges[j].end)
                    return true;
    }
    return false;
}

/* ---------------- from messages ---------------- */

void res_add_proto(struct res_table *t, struct res *r, Mesos__Resource *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct res_item it = { .kind = intern(t, v[i]) };
        struct res_range *ranges = NULL;
        if (v[i]->type == MESOS__VALUE__TYPE__SCALAR) {
            it.milli = res_milli(v[i]->scalar->value);
        } else if (v[i]->type == MESOS__VALUE__TYPE__RANGES) {
            ranges = xmalloc(v[i]->ranges->n_range * sizeof *ranges);
            for (size_t j = 0; j < v[i]->ranges->n_range; j++)
                ranges[j] = (struct res_range){ v[i]->ranges->range[j]->begin, v[i]->ranges->range[j]->end };
            it.n = coalesce(ranges, (uint32_t)v[i]->ranges->n_range);
            it.ranges = ranges;
        } else {
            it.n = (uint32_t)v[i]->set->n_item;
            it.words = v[i]->set->item;
        }
        add_item(r, &it);
        free(ranges);
    }
}

/* ---------------- to messages ---------------- */

static void fill_value(Mesos__Resource *p, const struct res_item *it, struct arena *a)
{
    if (it->kind->type == MESOS__VALUE__TYPE__SCALAR) {
        p->scalar = ARENA_NEW(a, Mesos__Value__Scalar);
        mesos__value__scalar__init(p->scalar);
        p->scalar->value = (double)it->milli / 1000.0;
    } else if (it->kind->type == MESOS__VALUE__TYPE__RANGES) {
        p->ranges = ARENA_NEW(a, Mesos__Value__Ranges);
        mesos__value__ranges__init(p->ranges);
        p->ranges->n_range = it->n;
        p->ranges->range = ARENA_ARRAY(a, Mesos__Value__Range *, it->n);
        for (uint32_t i = 0; i < it->n; i++) {
            p->ranges->range[i] = ARENA_NEW(a, Mesos__Value__Range);
            mesos__value__range__init(p->ranges->range[i]);
            p->ranges->range[i]->begin = it->ranges[i].begin;
            p->ranges->range[i]->end = it->ranges[i].end;
        }
    } else {
        p->set = ARENA_NEW(a, Mesos__Value__Set);
        mesos__value__set__init(p->set);
        p->set->n_item = it->n;
        p->set->item = it->words;
    }
}

Mesos__Resource **res_to_proto(const struct res *r, struct arena *a, const char *allocated, bool is_refined,
                               size_t *ret_n)
{
    Mesos__Resource **v = ARENA_ARRAY(a, Mesos__Resource *, r->n);
    Mesos__Resource__AllocationInfo *info = NULL;
    if (allocated) {
        info = ARENA_NEW(a, Mesos__Resource__AllocationInfo);
        mesos__resource__allocation_info__init(info);
        info->role = (char *)allocated;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        v[i] = ARENA_NEW(a, Mesos__Resource);
        *v[i] = is_refined ? *r->v[i].kind->post : *r->v[i].kind->pre;
        v[i]->allocation_info = info;
        fill_value(v[i], &r->v[i], a);
    }
    *ret_n = r->n;
    return v;
}

/* ---------------- text ---------------- */

static void kind_text(const Mesos__Resource *p, const char *allocated, struct buf *out)
{
    buf_adds(out, p->name);
    if (allocated) buf_addf(out, "(allocated: %s)", allocated);
    if (p->n_reservations) buf_adds(out, "(reservations: [");
    for (size_t i = 0; i < p->n_reservations; i++) {
        const Mesos__Resource__ReservationInfo *r = p->reservations[i];
        const char *type = r->type == MESOS__RESOURCE__RESERVATION_INFO__TYPE__STATIC ? "STATIC" : "DYNAMIC";
        buf_addf(out, "%s(%s,%s", i ? "," : "", type, r->role ? r->role : "");
        if (r->principal) buf_addf(out, ",%s", r->principal);
        buf_addc(out, ')');
    }
    if (p->n_reservations) buf_adds(out, "])");
    if (p->disk) buf_addf(out, "[%s]", p->disk->persistence ? p->disk->persistence->id : "");
    if (p->revocable) buf_adds(out, "{REV}");
    if (p->shared) buf_adds(out, "<SHARED>");
    buf_addc(out, ':');
}

static void scalar_text(int64_t milli, struct buf *out)
{
    buf_addf(out, "%.15g", (double)milli / 1000.0);
}

static void item_text(const struct res_item *it, struct buf *out)
{
    if (it->kind->type == MESOS__VALUE__TYPE__SCALAR) {
        scalar_text(it->milli, out);
    } else if (it->kind->type == MESOS__VALUE__TYPE__RANGES) {
        for (uint32_t i = 0; i < it->n; i++)
            buf_addf(out, "%s%llu-%llu", i ? ", " : "[", (unsigned long long)it->ranges[i].begin,
                     (unsigned long long)it->ranges[i].end);
        buf_addc(out, ']');
    } else {
        for (uint32_t i = 0; i < it->n; i++) buf_addf(out, "%s%s", i ? ", " : "{", it->words[i]);
        buf_addc(out, '}');
    }
}

void res_text(const struct res *r, const char *allocated, struct buf *out)
{
    if (!r->n) buf_adds(out, "{}");
    for (uint32_t i = 0; i < r->n; i++) {
        if (i) buf_adds(out, "; ");
        kind_text(r->v[i].kind->post, allocated, out);
        item_text(&r->v[i], out);
    }
}

void res_text_proto(const Mesos__Resource *p, struct buf *out)
{
    kind_text(p, p->allocation_info ? p->allocation_info->role : NULL, out);
    if (p->type == MESOS__VALUE__TYPE__SCALAR) scalar_text(p->scalar ? res_milli(p->scalar->value) : 0, out);
    if (p->ranges) buf_addc(out, '[');
    for (size_t i = 0; p->ranges && i < p->ranges->n_range; i++)
        buf_addf(out, "%s%llu-%llu", i ? ", " : "", (unsigned long long)p->ranges->range[i]->begin,
                 (unsigned long long)p->ranges->range[i]->end);
    if (p->ranges) buf_addc(out, ']');
    if (p->set) buf_addc(out, '{');
    for (size_t i = 0; p->set && i < p->set->n_item; i++) buf_addf(out, "%s%s", i ? ", " : "", p->set->item[i]);
    if (p->set) buf_addc(out, '}');
}

/* ---------------- from a flag ---------------- */

/* Cuts `text` at the first `sep`; the part before goes to *head, without blanks around it. */
static struct str cut(struct str text, char sep, struct str *head)
{
    const char *at = memchr(text.p, sep, text.n);
    uint32_t n = at ? (uint32_t)(at - text.p) : text.n;
    uint32_t from = 0, to = n;
    while (from < to && text.p[from] == ' ') from++;
    while (to > from && text.p[to - 1] == ' ') to--;
    *head = (struct str){ text.p + from, to - from };
    return at ? (struct str){ at + 1, text.n - n - 1 } : (struct str){ text.p + text.n, 0 };
}

static bool parse_u64(struct str s, uint64_t *ret)
{
    if (!s.n || s.n > 19) return false;
    uint64_t v = 0;
    for (uint32_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *ret = v;
    return true;
}

static bool parse_ranges(struct str list, struct res_item *it)
{
    while (list.n) {
        struct str one, begin, end;
        list = cut(list, ',', &one);
        end = cut(one, '-', &begin);
        struct res_range r;
        if (!parse_u64(begin, &r.begin) || !parse_u64(end, &r.end) || r.begin > r.end) return false;
        it->ranges = xrealloc(it->ranges, (it->n + 1) * sizeof *it->ranges);
        it->ranges[it->n++] = r;
    }
    it->n = coalesce(it->ranges, it->n);
    return it->n > 0;
}

static bool parse_words(struct str list, struct res_item *it)
{
    while (list.n) {
        struct str one;
        list = cut(list, ',', &one);
        it->words = xrealloc(it->words, (it->n + 1) * sizeof *it->words);
        it->words[it->n++] = xstrndup(one.p, one.n);
    }
    return it->n > 0;
}

static bool parse_scalar(struct str s, struct res_item *it)
{
    char text[32], *end;
    if (!s.n || s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    errno = 0;
    double v = strtod(text, &end);
    if (*end || errno || !isfinite(v) || v < 0 || v > 1e12) return false;
    it->milli = res_milli(v);
    return true;
}

static Mesos__Value__Type value_type(struct str value)
{
    if (value.n > 1 && value.p[0] == '[' && value.p[value.n - 1] == ']') return MESOS__VALUE__TYPE__RANGES;
    if (value.n > 1 && value.p[0] == '{' && value.p[value.n - 1] == '}') return MESOS__VALUE__TYPE__SET;
    return MESOS__VALUE__TYPE__SCALAR;
}

/* "name", "name(role)", "name{REV}". */
static const struct res_kind *parse_kind(struct res_table *t, struct str head, Mesos__Value__Type type)
{
    Mesos__Resource p = MESOS__RESOURCE__INIT;
    Mesos__Resource__RevocableInfo rev = MESOS__RESOURCE__REVOCABLE_INFO__INIT;
    struct str name, role;
    if (head.n > 5 && memcmp(head.p + head.n - 5, "{REV}", 5) == 0) {
        p.revocable = &rev;
        head.n -= 5;
    }
    role = cut(head, '(', &name);
    if (role.n && role.p[role.n - 1] != ')') return NULL;
    if (!name.n) return NULL;
    char *role_text = role.n > 1 ? xstrndup(role.p, role.n - 1) : NULL;
    p.name = xstrndup(name.p, name.n);
    p.type = type;
    if (role_text) p.role = role_text;
    const struct res_kind *kind = intern(t, &p);
    free(p.name);
    free(role_text);
    return kind;
}

static bool parse_one(struct res_table *t, struct str one, struct res *r)
{
    struct str head, value = cut(one, ':', &head);
    struct str inner = { value.p + 1, value.n > 2 ? value.n - 2 : 0 };
    Mesos__Value__Type type = value_type(value);
    struct res_item it = { .kind = parse_kind(t, head, type) };
    if (!it.kind) return false;
    bool ok = type == MESOS__VALUE__TYPE__SCALAR   ? parse_scalar(value, &it)
              : type == MESOS__VALUE__TYPE__RANGES ? parse_ranges(inner, &it)
                                                   : parse_words(inner, &it);
    if (ok) add_item(r, &it);
    item_release(&it);
    return ok;
}

int res_parse(struct res_table *t, struct str text, struct res *ret, struct buf *err)
{
    struct res r = { 0 };
    while (text.n) {
        struct str one;
        text = cut(text, ';', &one);
        if (!one.n) continue;
        if (!parse_one(t, one, &r)) {
            buf_addf(err, "cannot parse resource '%.*s'", STR_ARG(one));
            res_release(&r);
            return ERR_MALFORMED;
        }
    }
    *ret = r;
    return 0;
}
