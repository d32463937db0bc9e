#include "core/stats.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/text.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

enum { DEFAULT_RETAIN = 3600 };

enum kind { KIND_INT, KIND_DOUBLE, KIND_STRING };

union number {
    int64_t i;
    double d;
};

/* From this tick on the value was so. Most stats seldom change, so a series of points is far smaller than a value per
 * tick. */
struct point {
    uint64_t tick;
    union number value;
};

struct stat {
    UT_hash_handle hh; /* by name */
    char *name;
    size_t name_len;
    enum kind kind;
    bool tracked;
    union number value;
    char *string;
    int64_t (*get_int)(void *arg);
    double (*get_double)(void *arg);
    void *get_arg;
    union number shown; /* the double whose text this is: sampled ones change once per tick and are read often */
    uint8_t shown_len;
    char shown_text[31];
    struct point *points; /* oldest first, from first_point on */
    uint32_t first_point, n_points, cap_points;
};

struct stat_timer {
    struct stat_timer *next;
    UT_hash_handle hh; /* by the name of `total`, which holds both name and unit */
    struct stat *events, *total, *events_per_sec, *total_per_sec, *per_event;
    int64_t last_events, last_total;
};

struct stats {
    struct stat *by_name;
    struct stat **sorted; /* as their lines in /vars sort; cap_sorted holds all */
    uint32_t n, cap_sorted;
    bool is_sorted;
    struct stat_timer *timers, *timers_by_name;
    uint32_t retain;
    uint64_t ticks;
    int64_t *times; /* of tick k at k % retain */
    int64_t last_tick_ms;
};

struct stats *stats_new(void)
{
    struct stats *s = xcalloc(1, sizeof *s);
    s->retain = DEFAULT_RETAIN;
    return s;
}

void stats_free(struct stats *s)
{
    if (!s) return;
    HASH_CLEAR(hh, s->timers_by_name);
    HASH_CLEAR(hh, s->by_name);
    for (struct stat_timer *t = s->timers, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        struct stat *st = s->sorted[i];
        free(st->name);
        free(st->string);
        free(st->points);
        free(st);
    }
    free(s->sorted);
    free(s->times);
    free(s);
}

/* ---------------- registering ---------------- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/' ||
           c == '.' || c == '-';
}

static struct stat *add_stat(struct stats *s, char *name, enum kind kind, bool tracked)
{
    struct stat *st = xcalloc(1, sizeof *st);
    st->name = name;
    st->name_len = strlen(name);
    st->kind = kind;
    st->tracked = tracked;
    HASH_ADD_KEYPTR(hh, s->by_name, st->name, st->name_len, st);
    if (s->n == s->cap_sorted) {
        s->cap_sorted = s->cap_sorted ? 2 * s->cap_sorted : 64;
        s->sorted = xrealloc(s->sorted, s->cap_sorted * sizeof(struct stat *));
    }
    s->sorted[s->n++] = st;
    s->is_sorted = false;
    return st;
}

/* What is registered under a name keeps its kind. Takes name, which is malloc'ed. */
static struct stat *find_or_add(struct stats *s, char *name, enum kind kind, bool tracked)
{
    for (char *c = name; tracked && *c; c++)
        if (!is_name_character(*c)) *c = '_';
    struct stat *st;
    HASH_FIND_STR(s->by_name, name, st);
    if (!st) return add_stat(s, name, kind, tracked);
    free(name);
    return st;
}

struct stat *stats_int(struct stats *s, const char *name)
{
    return find_or_add(s, xstrdup(name), KIND_INT, true);
}

static char *format_name(const char *fmt, va_list ap)
{
    struct buf b = { 0 };
    buf_vaddf(&b, fmt, ap);
    buf_cstr(&b);
    return (char *)b.data;
}

struct stat *stats_intf(struct stats *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *name = format_name(fmt, ap);
    va_end(ap);
    return find_or_add(s, name, KIND_INT, true);
}

struct stat *stats_int_untracked(struct stats *s, const char *name)
{
    return find_or_add(s, xstrdup(name), KIND_INT, false);
}

struct stat *stats_double(struct stats *s, const char *name)
{
    return find_or_add(s, xstrdup(name), KIND_DOUBLE, true);
}

struct stat *stats_double_untracked(struct stats *s, const char *name)
{
    return find_or_add(s, xstrdup(name), KIND_DOUBLE, false);
}

void stats_string(struct stats *s, const char *name, struct str value)
{
    struct stat *st = find_or_add(s, xstrdup(name), KIND_STRING, false);
    free(st->string);
    st->string = xstrndup(value.p ? value.p : "", value.n);
}

void stats_gauge(struct stats *s, const char *name, int64_t (*get)(void *arg), void *arg)
{
    struct stat *st = stats_int(s, name);
    if (st->get_int) return;
    st->get_int = get;
    st->get_arg = arg;
}

void stats_gauge_double(struct stats *s, const char *name, double (*get)(void *arg), void *arg)
{
    struct stat *st = stats_double(s, name);
    if (st->get_double) return;
    st->get_double = get;
    st->get_arg = arg;
}

void stat_add(struct stat *st, int64_t delta)
{
    st->value.i = (int64_t)((uint64_t)st->value.i + (uint64_t)delta);
}

void stat_set(struct stat *st, int64_t value)
{
    st->value.i = value;
}

void stat_set_double(struct stat *st, double value)
{
    st->value.d = value - value == 0 ? value : 0; /* NaN and Infinity are not JSON */
}

/* The present value, gauges asked. */
static union number value_of(const struct stat *st)
{
    union number v = st->value;
    if (st->get_int) v.i = st->get_int(st->get_arg);
    if (st->get_double) v.d = st->get_double(st->get_arg);
    if (st->kind == KIND_DOUBLE && v.d - v.d != 0) v.d = 0;
    return v;
}

int64_t stat_get(const struct stat *st)
{
    return value_of(st).i;
}

/* ---------------- timers ---------------- */

struct stat_timer *stats_timer(struct stats *s, const char *name, const char *unit)
{
    struct stat *total = stats_intf(s, "%s_%s_total", name, unit);
    struct stat_timer *t;
    HASH_FIND(hh, s->timers_by_name, total->name, total->name_len, t);
    if (t) return t;
    t = xcalloc(1, sizeof *t);
    struct buf b = { 0 };
    t->total = total;
    t->events = stats_intf(s, "%s_events", name);
    buf_addf(&b, "%s_events_per_sec", name);
    t->events_per_sec = stats_double(s, buf_cstr(&b));
    buf_reset(&b);
    buf_addf(&b, "%s_%s_total_per_sec", name, unit);
    t->total_per_sec = stats_double(s, buf_cstr(&b));
    buf_reset(&b);
    buf_addf(&b, "%s_%s_per_event", name, unit);
    t->per_event = stats_double(s, buf_cstr(&b));
    buf_release(&b);
    HASH_ADD_KEYPTR(hh, s->timers_by_name, total->name, total->name_len, t);
    t->next = s->timers;
    s->timers = t;
    return t;
}

void stat_timer_add(struct stat_timer *t, int64_t amount)
{
    stat_add(t->events, 1);
    stat_add(t->total, amount);
}

/* seconds is 0 at the first tick: there is no interval yet. */
static void tick_timer(struct stat_timer *t, double seconds)
{
    int64_t events = t->events->value.i, total = t->total->value.i;
    double new_events = (double)(events - t->last_events), new_total = (double)(total - t->last_total);
    t->last_events = events;
    t->last_total = total;
    stat_set_double(t->events_per_sec, seconds > 0 ? new_events / seconds : 0);
    stat_set_double(t->total_per_sec, seconds > 0 ? new_total / seconds : 0);
    stat_set_double(t->per_event, seconds > 0 && new_events > 0 ? new_total / new_events : 0);
}

/* ---------------- time series ---------------- */

void stats_retain(struct stats *s, unsigned retain)
{
    assert(s->ticks == 0);
    assert(retain > 0);
    s->retain = retain;
}

/* The first tick that is still kept. */
static uint64_t oldest_tick(const struct stats *s)
{
    return s->ticks > s->retain ? s->ticks - s->retain : 0;
}

/* Forgets points that no kept tick needs: the last one at or before the oldest tick stays. */
static void drop_old_points(struct stat *st, uint64_t oldest)
{
    struct point *p = st->points;
    while (st->n_points > 1 && p[st->first_point + 1].tick <= oldest) {
        st->first_point++;
        st->n_points--;
    }
    if (st->first_point <= st->n_points) return;
    memmove(p, p + st->first_point, st->n_points * sizeof *p);
    st->first_point = 0;
}

static void record(struct stats *s, struct stat *st)
{
    struct point now = { s->ticks, value_of(st) };
    struct point *last = st->n_points ? &st->points[st->first_point + st->n_points - 1] : NULL;
    if (last ? last->value.i == now.value.i : now.value.i == 0) return; /* without a point it is 0 */
    drop_old_points(st, oldest_tick(s));
    if (st->first_point + st->n_points == st->cap_points) {
        st->cap_points = st->cap_points ? 2 * st->cap_points : 4;
        st->points = xrealloc(st->points, st->cap_points * sizeof *st->points);
    }
    st->points[st->first_point + st->n_points++] = now;
}

void stats_tick(struct stats *s, int64_t now_ms)
{
    double seconds = s->ticks && now_ms > s->last_tick_ms ? (double)(now_ms - s->last_tick_ms) / 1000 : 0;
    for (struct stat_timer *t = s->timers; t; t = t->next) tick_timer(t, seconds);
    if (!s->times) s->times = xcalloc(s->retain, sizeof *s->times);
    s->times[s->ticks % s->retain] = now_ms;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->sorted[i]->tracked) record(s, s->sorted[i]);
    s->ticks++;
    s->last_tick_ms = now_ms;
}

/* ---------------- output ---------------- */

/* By "name ", so that the lines `a 1` and `a_b 1` come in byte order. */
static int compare_lines(const void *x, const void *y)
{
    const struct stat *a = *(struct stat *const *)x, *b = *(struct stat *const *)y;
    size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int c = memcmp(a->name, b->name, n);
    if (c || a->name_len == b->name_len) return c;
    uint8_t next_a = n < a->name_len ? (uint8_t)a->name[n] : ' ', next_b = n < b->name_len ? (uint8_t)b->name[n] : ' ';
    return next_a != next_b ? next_a - next_b : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static void sort(struct stats *s)
{
    if (s->is_sorted || !s->n) return;
    qsort(s->sorted, s->n, sizeof(struct stat *), compare_lines);
    s->is_sorted = true;
}

static void add_number(struct buf *out, enum kind kind, union number v)
{
    if (kind == KIND_INT)
        text_i64(out, v.i);
    else
        java_double(out, v.d);
}

static void add_value(struct buf *out, struct stat *st)
{
    union number v = value_of(st);
    if (st->kind == KIND_INT) {
        text_i64(out, v.i);
        return;
    }
    if (!st->shown_len || st->shown.i != v.i) {
        size_t start = out->len;
        java_double(out, v.d);
        st->shown = v;
        st->shown_len = (uint8_t)(out->len - start);
        assert(st->shown_len <= sizeof st->shown_text);
        memcpy(st->shown_text, out->data + start, st->shown_len);
        return;
    }
    buf_add(out, st->shown_text, st->shown_len);
}

void stats_write_vars(struct stats *s, struct buf *out)
{
    sort(s);
    for (uint32_t i = 0; i < s->n; i++) {
        struct stat *st = s->sorted[i];
        if (i) buf_addc(out, '\n');
        buf_add(out, st->name, st->name_len);
        buf_addc(out, ' ');
        if (st->kind == KIND_STRING)
            buf_adds(out, st->string);
        else
            add_value(out, st);
    }
}

void stats_write_json(struct stats *s, struct buf *out, bool pretty)
{
    sort(s);
    buf_addc(out, '{');
    for (uint32_t i = 0; i < s->n; i++) {
        struct stat *st = s->sorted[i];
        if (i) buf_addc(out, ',');
        if (pretty) buf_adds(out, "\n  ");
        text_json_string(out, str_c(st->name), true);
        buf_adds(out, pretty ? ": " : ":");
        if (st->kind == KIND_STRING)
            text_json_string(out, str_c(st->string), true);
        else
            add_value(out, st);
    }
    buf_adds(out, pretty && s->n ? "\n}" : "}");
}

void stats_write_series_names(struct stats *s, struct buf *out)
{
    sort(s);
    buf_addc(out, '[');
    bool any = false;
    for (uint32_t i = 0; i < s->n; i++) {
        if (!s->sorted[i]->tracked) continue;
        if (any) buf_addc(out, ',');
        any = true;
        text_json_string(out, str_c(s->sorted[i]->name), true);
    }
    buf_addc(out, ']');
}

/* One column of a graph: the next point that has not come yet. */
struct column {
    const struct stat *st;
    uint32_t next;
    union number value;
};

/* Splits the list into columns; "time" is implied. */
static int parse_columns(struct stats *s, struct str metrics, struct column *columns, uint32_t *ret_n,
                         struct str *ret_unknown)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < metrics.n;) {
        const char *from = metrics.p + at, *comma = memchr(from, ',', metrics.n - at);
        struct str name = { from, comma ? (uint32_t)(comma - from) : metrics.n - at };
        at += name.n + 1;
        if (!name.n || str_eq(name, STR("time"))) continue;
        struct stat *st;
        HASH_FIND(hh, s->by_name, name.p, name.n, st);
        if (!st || !st->tracked) {
            *ret_unknown = name;
            return ERR_NOT_FOUND;
        }
        if (n == LIMIT_GRAPH_METRICS) return ERR_TOO_BIG;
        columns[n++] = (struct column){ .st = st };
    }
    *ret_n = n;
    return 0;
}

static void write_row(const struct stats *s, uint64_t tick, struct column *columns, uint32_t n, struct buf *out)
{
    buf_addc(out, '[');
    text_i64(out, s->times[tick % s->retain]);
    for (uint32_t i = 0; i < n; i++) {
        struct column *c = &columns[i];
        const struct point *points = c->st->points + c->st->first_point;
        while (c->next < c->st->n_points && points[c->next].tick <= tick) c->value = points[c->next++].value;
        buf_addc(out, ',');
        add_number(out, c->st->kind, c->value);
    }
    buf_addc(out, ']');
}

int stats_write_graph(struct stats *s, struct str metrics, int64_t since_ms, struct buf *out, struct str *ret_unknown)
{
    struct column columns[LIMIT_GRAPH_METRICS] = { 0 };
    uint32_t n;
    int rc = parse_columns(s, metrics, columns, &n, ret_unknown);
    if (rc < 0) return rc;
    buf_adds(out, "{\"names\":[\"time\"");
    for (uint32_t i = 0; i < n; i++) {
        buf_addc(out, ',');
        text_json_string(out, str_c(columns[i].st->name), true);
    }
    buf_adds(out, "],\"data\":[");
    bool any = false;
    for (uint64_t tick = oldest_tick(s); tick < s->ticks; tick++) {
        if (s->times[tick % s->retain] <= since_ms) continue;
        if (any) buf_addc(out, ',');
        any = true;
        write_row(s, tick, columns, n, out);
    }
    buf_adds(out, "]}");
    return 0;
}
