#include "admin/flags.h"

#include "core/err.h"
#include "core/limits.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct flag {
    const char *name;
    enum flag_kind kind;
    const char *def;
    enum flag_rule rule;
    enum flag_effect effect;
    const char *choices;
    const char *help;
};

static const struct flag flag_table[FLAG_COUNT] = {
#define GROUP(title)
#define FLAG(name, kind, def, rule, effect, help)                                                                      \
    [FLAG_##name] = { #name, KIND_##kind, def, RULE_##rule, EFFECT_OF_##effect, NULL, help },
#define CHOICE(name, kind, def, choices, effect, help)                                                                 \
    [FLAG_##name] = { #name, KIND_##kind, def, RULE_ANY, EFFECT_OF_##effect, choices, help },
#include "admin/flags.def"
#undef GROUP
#undef FLAG
#undef CHOICE
};

#define MASKED "<masked>"

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit time_units[] = { { "ns", 1 },
                                          { "us", 1000 },
                                          { "ms", 1000000 },
                                          { "secs", 1000000000 },
                                          { "mins", 60000000000 },
                                          { "hrs", 3600000000000 },
                                          { "days", 86400000000000 },
                                          { NULL, 0 } };
/* In bits, since some of them are smaller than a byte. */
static const struct unit data_units[] = {
    { "BITS", 1 },
    { "Kb", 1 << 10 },
    { "Mb", 1 << 20 },
    { "Gb", 1 << 30 },
    { "BYTES", 8 },
    { "KB", INT64_C(8) << 10 },
    { "MB", INT64_C(8) << 20 },
    { "GB", INT64_C(8) << 30 },
    { "TB", INT64_C(8) << 40 },
    { "PB", INT64_C(8) << 50 },
    { NULL, 0 },
};

static bool is_list(enum flag_kind k)
{
    return k >= KIND_ENUMS;
}

static struct str trim(struct str s)
{
    while (s.n && isspace((unsigned char)s.p[0])) s.p++, s.n--;
    while (s.n && isspace((unsigned char)s.p[s.n - 1])) s.n--;
    return s;
}

/* Blanks and one pair of quotes around a value are not part of it. */
static struct str unquote(struct str s)
{
    s = trim(s);
    if (s.n >= 2 && (s.p[0] == '"' || s.p[0] == '\'') && s.p[s.n - 1] == s.p[0]) s.p++, s.n -= 2;
    return s;
}

/* ---------------- values ---------------- */

/* Each reads a NUL-terminated text; on failure what is expected goes to *want. */
static int read_integer(const char *z, int64_t min, int64_t max, int64_t *ret)
{
    char *end;
    errno = 0;
    long long v = strtoll(z, &end, 10);
    if (errno || end == z || *end || isspace((unsigned char)*z) || v < min || v > max) return ERR_INVALID;
    *ret = v;
    return 0;
}

static int read_amount(const char *z, const struct unit *units, int64_t *ret)
{
    size_t digits = strspn(z, "0123456789");
    if (!digits || digits > 19) return ERR_INVALID;
    errno = 0;
    long long v = strtoll(z, NULL, 10);
    if (errno) return ERR_INVALID;
    for (; units->name; units++) {
        if (strcmp(z + digits, units->name) != 0) continue;
        int64_t product;
        if (__builtin_mul_overflow((int64_t)v, units->factor, &product)) return ERR_INVALID;
        *ret = product;
        return 0;
    }
    return ERR_INVALID;
}

static int read_double(const char *z, double *ret)
{
    char *end;
    double v = strtod(z, &end);
    if (end == z || *end || isspace((unsigned char)*z) || !isfinite(v)) return ERR_INVALID;
    *ret = v;
    return 0;
}

static int read_bool(const char *z, bool *ret)
{
    bool yes = strcasecmp(z, "true") == 0;
    if (!yes && strcasecmp(z, "false") != 0) return ERR_INVALID;
    *ret = yes;
    return 0;
}

/* The choice that text names, in any case, as it is spelled in the table; unset if none. */
static struct str find_choice(const char *choices, struct str text)
{
    for (const char *c = choices; *c;) {
        uint32_t n = (uint32_t)strcspn(c, "|");
        if (n == text.n && strncasecmp(c, text.p, n) == 0) return (struct str){ c, n };
        c += n + (c[n] == '|');
    }
    return (struct str){ 0 };
}

static bool is_hostport(struct str s)
{
    const char *colon = memrchr(s.p, ':', s.n);
    if (!colon) return false;
    struct str port = { colon + 1, (uint32_t)(s.p + s.n - colon - 1) };
    if (port.n == 1 && port.p[0] == '*') return true;
    char z[8];
    if (port.n == 0 || port.n >= sizeof(z) || !isdigit((unsigned char)port.p[0])) return false;
    memcpy(z, port.p, port.n);
    z[port.n] = 0;
    int64_t v;
    return read_integer(z, 0, 65535, &v) == 0;
}

static bool is_param(struct str s)
{
    const char *eq = memchr(s.p, '=', s.n);
    return eq && eq > s.p;
}

static bool is_volume(struct str s)
{
    const char *a = memchr(s.p, ':', s.n);
    const char *b = a ? memchr(a + 1, ':', (size_t)(s.p + s.n - a - 1)) : NULL;
    if (!b || a == s.p || b == a + 1) return false;
    struct str mode = { b + 1, (uint32_t)(s.p + s.n - b - 1) };
    return find_choice("rw|ro", mode).p != NULL;
}

static int check_item(const struct flag *fl, struct str *item)
{
    switch (fl->kind) {
    case KIND_ENUMS:
        *item = find_choice(fl->choices, *item);
        return item->p ? 0 : ERR_INVALID;
    case KIND_HOSTPORTS:
        return is_hostport(*item) ? 0 : ERR_INVALID;
    case KIND_PARAMS:
        return is_param(*item) ? 0 : ERR_INVALID;
    case KIND_VOLUMES:
        return is_volume(*item) ? 0 : ERR_INVALID;
    default:
        return 0;
    }
}

/* Adds the comma-separated items of text to the list, and to the value's text. Empty items are dropped. */
static int add_items(struct flags *f, const struct flag *fl, struct flag_value *v, struct str text)
{
    uint32_t room = v->list.n + 1;
    for (uint32_t i = 0; i < text.n; i++) room += text.p[i] == ',';
    struct str *items = ARENA_ARRAY(&f->arena, struct str, room);
    if (v->list.n) memcpy(items, v->list.v, v->list.n * sizeof(*items));
    uint32_t n = v->list.n;
    struct buf joined = { 0 };
    if (v->text.p && n) buf_add_str(&joined, v->text);
    for (const char *p = text.p, *end = text.p + text.n; p <= end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        if (!comma) comma = end;
        struct str item = trim((struct str){ p, (uint32_t)(comma - p) });
        p = comma + 1;
        if (!item.n) continue;
        if (check_item(fl, &item) != 0) {
            buf_release(&joined);
            return ERR_INVALID;
        }
        if (joined.len) buf_addc(&joined, ',');
        buf_add_str(&joined, item);
        items[n++] = arena_str(&f->arena, item);
    }
    v->list.v = items;
    v->list.n = n;
    v->text = arena_str(&f->arena, (struct str){ buf_cstr(&joined), (uint32_t)joined.len });
    buf_release(&joined);
    return 0;
}

static int read_scalar(struct flags *f, const struct flag *fl, struct flag_value *v, struct str text)
{
    v->text = arena_str(&f->arena, text);
    const char *z = v->text.p;
    if (strlen(z) != text.n) return ERR_INVALID;
    switch (fl->kind) {
    case KIND_BOOL:
        return read_bool(z, &v->b);
    case KIND_INT:
        return read_integer(z, INT32_MIN, INT32_MAX, &v->i);
    case KIND_LONG:
        return read_integer(z, INT64_MIN, INT64_MAX, &v->i);
    case KIND_DOUBLE:
        return read_double(z, &v->d);
    case KIND_TIME:
        return read_amount(z, time_units, &v->i);
    case KIND_DATA:
        if (read_amount(z, data_units, &v->i) != 0) return ERR_INVALID;
        v->i = v->i / 8 + (v->i % 8 != 0);
        return 0;
    case KIND_ENUM:
        v->text = arena_str(&f->arena, find_choice(fl->choices, text));
        return v->text.p ? 0 : ERR_INVALID;
    default:
        return 0;
    }
}

static const char *wanted(const struct flag *fl)
{
    switch (fl->kind) {
    case KIND_BOOL:
        return "true or false";
    case KIND_INT:
    case KIND_LONG:
        return "an integer";
    case KIND_DOUBLE:
        return "a number";
    case KIND_TIME:
        return "a time like 30secs (units: ns us ms secs mins hrs days)";
    case KIND_DATA:
        return "an amount like 512KB (units: BITS Kb Mb Gb BYTES KB MB GB TB PB)";
    case KIND_ENUM:
    case KIND_ENUMS:
        return fl->choices;
    case KIND_HOSTPORTS:
        return "host:port,...";
    case KIND_PARAMS:
        return "name=value,...";
    case KIND_VOLUMES:
        return "host:container:rw|ro,...";
    default:
        return "a text";
    }
}

static bool zero_or_less(const struct flag *fl, const struct flag_value *v, bool zero_too)
{
    if (fl->kind == KIND_DOUBLE) return zero_too ? v->d <= 0 : v->d < 0;
    return zero_too ? v->i <= 0 : v->i < 0;
}

/* What the rule has against the value, or NULL. */
static const char *broken_rule(const struct flag *fl, const struct flag_value *v)
{
    switch (fl->rule) {
    case RULE_REQUIRED:
        return v->text.n ? NULL : "must not be empty";
    case RULE_POSITIVE:
        return zero_or_less(fl, v, true) ? "must be greater than 0" : NULL;
    case RULE_NOT_NEGATIVE:
        return zero_or_less(fl, v, false) ? "must not be negative" : NULL;
    case RULE_PORT:
        return v->i < 0 || v->i > 65535 ? "must be a port, 0 to 65535" : NULL;
    default:
        return NULL;
    }
}

static struct str shown(const struct flag *fl, struct str text)
{
    return fl->kind == KIND_SECRET ? STR(MASKED) : text;
}

static int set_value(struct flags *f, enum flag_id id, struct str raw, struct buf *err)
{
    const struct flag *fl = &flag_table[id];
    struct flag_value *v = &f->v[id];
    if (v->given && !is_list(fl->kind)) {
        buf_addf(err, "flag -%s is given more than once", fl->name);
        return ERR_INVALID;
    }
    struct str text = unquote(raw);
    if (is_list(fl->kind) && !v->given) v->list.n = 0; /* what is given replaces the default */
    v->given = true;
    if ((is_list(fl->kind) ? add_items(f, fl, v, text) : read_scalar(f, fl, v, text)) != 0) {
        buf_addf(err, "flag -%s: '%.*s' is not %s", fl->name, STR_ARG(shown(fl, text)), wanted(fl));
        return ERR_INVALID;
    }
    const char *broken = broken_rule(fl, v);
    if (broken) buf_addf(err, "flag -%s: '%.*s' %s", fl->name, STR_ARG(shown(fl, text)), broken);
    return broken ? ERR_INVALID : 0;
}

static void set_defaults(struct flags *f)
{
    for (int id = 0; id < FLAG_COUNT; id++) {
        const struct flag *fl = &flag_table[id];
        struct flag_value *v = &f->v[id];
        if (!fl->def) continue;
        int err = is_list(fl->kind) ? add_items(f, fl, v, str_c(fl->def)) : read_scalar(f, fl, v, str_c(fl->def));
        assert(err == 0);
        assert(!broken_rule(fl, v));
    }
}

/* ---------------- arguments ---------------- */

struct args {
    struct str *v;
    uint32_t n, cap;
};

static int add_arg(struct flags *f, struct args *a, struct str s, struct buf *err)
{
    if (a->n == LIMIT_FLAG_ARGUMENTS) {
        buf_addf(err, "more than %d arguments", LIMIT_FLAG_ARGUMENTS);
        return ERR_INVALID;
    }
    if (a->n == a->cap) {
        uint32_t cap = a->cap ? 2 * a->cap : 64;
        struct str *v = ARENA_ARRAY(&f->arena, struct str, cap);
        if (a->n) memcpy(v, a->v, a->n * sizeof(*v));
        a->v = v;
        a->cap = cap;
    }
    a->v[a->n++] = arena_str(&f->arena, s);
    return 0;
}

static int add_file(struct flags *f, struct args *a, const char *path, flags_read_file read, void *arg, struct buf *err)
{
    struct buf content = { 0 };
    int rv = read ? read(path, &content, arg) : ERR_NOT_FOUND;
    if (rv != 0) buf_addf(err, "can't read the arguments in %s: %s", path, err_str(rv));
    for (size_t at = 0; rv == 0 && at < content.len;) {
        const char *p = (const char *)content.data + at;
        const char *nl = memchr(p, '\n', content.len - at);
        size_t n = nl ? (size_t)(nl - p) : content.len - at;
        at += n + 1;
        struct str line = trim((struct str){ p, (uint32_t)n });
        if (line.n && line.p[0] != '#') rv = add_arg(f, a, line, err);
    }
    buf_release(&content);
    return rv == 0 ? 0 : ERR_INVALID;
}

static int collect(struct flags *f, struct args *a, int argc, const char *const *argv, flags_read_file read, void *arg,
                   struct buf *err)
{
    for (int i = 1; i < argc; i++) {
        int rv = argv[i][0] == '@' && argv[i][1] ? add_file(f, a, argv[i] + 1, read, arg, err)
                                                 : add_arg(f, a, str_c(argv[i]), err);
        if (rv != 0) return rv;
    }
    return 0;
}

static int find_flag(struct str name)
{
    for (int id = 0; id < FLAG_COUNT; id++)
        if (str_eq(str_c(flag_table[id].name), name)) return id;
    return -1;
}

/* One argument that begins with a dash, taken apart. */
struct option {
    int id; /* -1: unknown */
    bool negated;
    struct str name;  /* without dashes */
    struct str value; /* unset without = */
};

static struct option split_option(struct str arg)
{
    struct option o = { 0 };
    uint32_t dashes = arg.n > 1 && arg.p[1] == '-' ? 2 : 1;
    o.name = (struct str){ arg.p + dashes, arg.n - dashes };
    const char *eq = memchr(o.name.p, '=', o.name.n);
    if (eq) {
        o.value = (struct str){ eq + 1, (uint32_t)(o.name.p + o.name.n - eq - 1) };
        o.name.n = (uint32_t)(eq - o.name.p);
    }
    struct str last = o.name; /* behind the class of a qualified name */
    const char *dot = memrchr(last.p, '.', last.n);
    if (dot) last = (struct str){ dot + 1, (uint32_t)(last.p + last.n - dot - 1) };
    o.id = find_flag(last);
    if (o.id < 0 && last.n > 3 && memcmp(last.p, "no_", 3) == 0) {
        int id = find_flag((struct str){ last.p + 3, last.n - 3 });
        if (id >= 0 && flag_table[id].kind == KIND_BOOL) {
            o.id = id;
            o.negated = true;
        }
    }
    return o;
}

static bool is_option(struct str arg)
{
    return arg.n > 1 && arg.p[0] == '-';
}

static bool names_flag(struct str arg)
{
    return is_option(arg) && split_option(arg).id >= 0;
}

static bool is_bool_word(struct str s)
{
    bool b;
    return read_bool(s.p, &b) == 0;
}

static int set_bool(struct flags *f, const struct option *o, struct buf *err)
{
    struct str value = o->value.p ? unquote(o->value) : STR("true");
    if (o->negated && value.n == 4 && strncasecmp(value.p, "true", 4) == 0)
        value = STR("false");
    else if (o->negated && value.n == 5 && strncasecmp(value.p, "false", 5) == 0)
        value = STR("true");
    return set_value(f, (enum flag_id)o->id, value, err);
}

/* Reads the option at args[*at] and moves *at behind it and its value. */
static int read_option(struct flags *f, const struct args *args, uint32_t *at, struct buf *err)
{
    struct str arg = args->v[(*at)++];
    if (!is_option(arg)) {
        buf_addf(err, "'%.*s' is not a flag: flags begin with a dash (see -help)", STR_ARG(arg));
        return ERR_INVALID;
    }
    struct option o = split_option(arg);
    if (o.id < 0) {
        buf_addf(err, "unknown flag -%.*s (see -help)", STR_ARG(o.name));
        return ERR_INVALID;
    }
    const struct flag *fl = &flag_table[o.id];
    struct str next = *at < args->n ? args->v[*at] : (struct str){ 0 };
    if (fl->kind == KIND_BOOL) {
        if (!o.value.p && !o.negated && next.p && is_bool_word(next)) o.value = args->v[(*at)++];
        return set_bool(f, &o, err);
    }
    if (!o.value.p) {
        if (!next.p || names_flag(next)) {
            buf_addf(err, "flag -%s needs a value: %s", fl->name, wanted(fl));
            return ERR_INVALID;
        }
        o.value = args->v[(*at)++];
    }
    return set_value(f, (enum flag_id)o.id, o.value, err);
}

static bool asks_for_help(struct str arg)
{
    static const char *const words[] = { "-h", "-help", "--h", "--help" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_eq(arg, str_c(words[i]))) return true;
    return false;
}

/* The arguments as one text, with the values of secrets masked. */
static struct str join_args(struct flags *f, const struct args *args)
{
    struct buf b = { 0 };
    bool secret_next = false;
    for (uint32_t i = 0; i < args->n; i++) {
        struct str arg = args->v[i];
        struct option o = is_option(arg) ? split_option(arg) : (struct option){ .id = -1 };
        bool secret = o.id >= 0 && flag_table[o.id].kind == KIND_SECRET;
        if (i) buf_addc(&b, ' ');
        if (secret && o.value.p)
            buf_addf(&b, "-%s=" MASKED, flag_table[o.id].name);
        else
            buf_add_str(&b, secret_next ? STR(MASKED) : arg);
        secret_next = secret && !o.value.p;
    }
    struct str joined = arena_str(&f->arena, (struct str){ buf_cstr(&b), (uint32_t)b.len });
    buf_release(&b);
    return joined;
}

/* What only the whole command line shows: flags that are missing or that must not be ignored. */
static int check_whole(const struct flags *f, struct buf *err)
{
    for (int id = 0; id < FLAG_COUNT; id++) {
        const struct flag *fl = &flag_table[id];
        const struct flag_value *v = &f->v[id];
        if (fl->rule == RULE_REQUIRED && !v->given) {
            buf_addf(err, "flag -%s is required: %s", fl->name, fl->help);
            return ERR_INVALID;
        }
        if (fl->effect == EFFECT_OF_REFUSED && v->given && strcasecmp(v->text.p, fl->def) != 0) {
            buf_addf(err, "flag -%s: this version can do only '%s', and ignoring the flag would not be safe (%s)",
                     fl->name, fl->def, fl->help);
            return ERR_INVALID;
        }
    }
    return 0;
}

static int parse(struct flags *f, int argc, const char *const *argv, flags_read_file read, void *arg, struct buf *err)
{
    struct args args = { 0 };
    set_defaults(f);
    if (collect(f, &args, argc, argv, read, arg, err) != 0) return ERR_INVALID;
    for (uint32_t i = 0; i < args.n && !f->help; i++) f->help = asks_for_help(args.v[i]);
    if (f->help) return 0;
    for (uint32_t at = 0; at < args.n;)
        if (read_option(f, &args, &at, err) != 0) return ERR_INVALID;
    f->command_line = join_args(f, &args);
    return check_whole(f, err);
}

int flags_parse(struct flags *f, int argc, const char *const *argv, flags_read_file read, void *arg,
                struct buf *err_text)
{
    int rv = parse(f, argc, argv, read, arg, err_text);
    /* One line, whatever the arguments held. */
    for (size_t i = 0; i < err_text->len; i++)
        if (err_text->data[i] < 0x20) err_text->data[i] = '?';
    return rv;
}

void flags_release(struct flags *f)
{
    arena_release(&f->arena);
    memset(f, 0, sizeof(*f));
}

/* ---------------- values, read ---------------- */

const char *flag_name(enum flag_id id)
{
    return flag_table[id].name;
}

const char *flag_text(const struct flags *f, enum flag_id id)
{
    return f->v[id].text.p;
}

struct str flag_str(const struct flags *f, enum flag_id id)
{
    return f->v[id].text;
}

bool flag_bool(const struct flags *f, enum flag_id id)
{
    assert(flag_table[id].kind == KIND_BOOL);
    return f->v[id].b;
}

int64_t flag_int(const struct flags *f, enum flag_id id)
{
    assert(flag_table[id].kind == KIND_INT || flag_table[id].kind == KIND_LONG);
    return f->v[id].i;
}

double flag_double(const struct flags *f, enum flag_id id)
{
    assert(flag_table[id].kind == KIND_DOUBLE);
    return f->v[id].d;
}

int64_t flag_ms(const struct flags *f, enum flag_id id)
{
    assert(flag_table[id].kind == KIND_TIME);
    return f->v[id].i / 1000000 + (f->v[id].i % 1000000 != 0);
}

int64_t flag_bytes(const struct flags *f, enum flag_id id)
{
    assert(flag_table[id].kind == KIND_DATA);
    return f->v[id].i;
}

const struct str *flag_list(const struct flags *f, enum flag_id id, uint32_t *ret_n)
{
    assert(is_list(flag_table[id].kind));
    *ret_n = f->v[id].list.n;
    return f->v[id].list.v;
}

struct str flag_shown(const struct flags *f, enum flag_id id)
{
    struct str text = f->v[id].text;
    return text.p ? shown(&flag_table[id], text) : STR("");
}

const char *flag_warning(const struct flags *f, enum flag_id id, struct buf *out)
{
    const struct flag *fl = &flag_table[id];
    if (!f->v[id].given || fl->effect == EFFECT_OF_ACTS || fl->effect == EFFECT_OF_REFUSED) return NULL;
    buf_reset(out);
    if (fl->effect == EFFECT_OF_LATER)
        buf_addf(out, "flag -%s has no effect in this version (%s)", fl->name, fl->help);
    else
        buf_addf(out, "flag -%s has no effect: %s", fl->name, fl->help);
    return buf_cstr(out);
}

/* ---------------- -help ---------------- */

static void help_flag(const struct flag *fl, struct buf *out)
{
    static const char *const notes[] = { [EFFECT_OF_LATER] = "; no effect in this version",
                                         [EFFECT_OF_NEVER] = "; no effect",
                                         [EFFECT_OF_REFUSED] = "; only the default so far" };
    buf_addf(out, "  -%s=%s", fl->name, fl->def ? fl->def : "");
    if (fl->rule == RULE_REQUIRED) buf_adds(out, "  (required)");
    buf_addf(out, "\n      %s", fl->help);
    if (fl->kind != KIND_TEXT && fl->kind != KIND_SECRET) buf_addf(out, " [%s]", wanted(fl));
    if (notes[fl->effect]) buf_adds(out, notes[fl->effect]);
    buf_addc(out, '\n');
}

void flags_help(struct buf *out)
{
    buf_adds(
        out,
        "usage: aurora-scheduler -flag=value ...\n"
        "\n"
        "  -h, -help  prints this. Booleans also read -flag and -no_flag; @file stands for the lines of a file.\n"
        "  Times are like 30secs (ns us ms secs mins hrs days), amounts like 512KB.\n"
        "  LIBPROCESS_IP, LIBPROCESS_PORT, LIBPROCESS_ADVERTISE_IP, LIBPROCESS_ADVERTISE_PORT in the environment say\n"
        "  where Mesos reaches the scheduler; GLOG_v=1 logs more.\n");
#define GROUP(title) buf_adds(out, "\n" title "\n");
#define FLAG(name, kind, def, rule, effect, help) help_flag(&flag_table[FLAG_##name], out);
#define CHOICE(name, kind, def, choices, effect, help) help_flag(&flag_table[FLAG_##name], out);
#include "admin/flags.def"
#undef GROUP
#undef FLAG
#undef CHOICE
}
