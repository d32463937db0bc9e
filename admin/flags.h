/* The command line: Aurora's flags (admin/flags.def) in both grammars that Aurora has had.
 *
 * Accepted are `-flag=value`, `-flag value`, bare `-flag` and `-no_flag` for booleans, `--flag` for `-flag`, the
 * qualified
 * `-org.apache.aurora.Some$Class.flag=value`, and `@file` as a whole argument, which stands for the lines of that file
 * (blank lines and those that begin with # are skipped). Quotes around a value are taken off. A list may be given more
 * than once and grows; anything else twice is an error, as is whatever else is not understood: no guess is made.
 *
 * The parser does no I/O (files come through a callback), prints nothing and never exits. */
#ifndef AURORA_ADMIN_FLAGS_H
#define AURORA_ADMIN_FLAGS_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/str.h"

enum flag_id {
#define GROUP(title)
#define FLAG(name, kind, def, rule, effect, help) FLAG_##name,
#define CHOICE(name, kind, def, choices, effect, help) FLAG_##name,
#include "admin/flags.def"
#undef GROUP
#undef FLAG
#undef CHOICE
    FLAG_COUNT
};

enum flag_kind {
    KIND_TEXT,
    KIND_SECRET,    /* a text that is never shown */
    KIND_REGEX,     /* a text; compiled by who uses it */
    KIND_BOOL,      /* true, false in any case */
    KIND_INT,       /* 32 bits */
    KIND_LONG,      /* 64 bits */
    KIND_DOUBLE,    /* finite */
    KIND_TIME,      /* <digits><ns|us|ms|secs|mins|hrs|days> */
    KIND_DATA,      /* <digits><BITS|Kb|Mb|Gb|BYTES|KB|MB|GB|TB|PB> */
    KIND_ENUM,      /* one of the choices, any case */
    KIND_ENUMS,     /* a list of them */
    KIND_LIST,      /* a,b,c */
    KIND_HOSTPORTS, /* a list of host:port; the port may be * */
    KIND_PARAMS,    /* a list of name=value */
    KIND_VOLUMES,   /* a list of host:container:rw|ro */
};

enum flag_rule { RULE_ANY, RULE_REQUIRED, RULE_POSITIVE, RULE_NOT_NEGATIVE, RULE_PORT };
enum flag_effect { EFFECT_OF_ACTS, EFFECT_OF_LATER, EFFECT_OF_NEVER, EFFECT_OF_REFUSED };

struct flag_value {
    bool given;      /* on the command line */
    struct str text; /* as given or the default; lists joined by commas; unset: neither */
    union {
        bool b;
        int64_t i; /* INT, LONG; TIME in nanoseconds; DATA in bytes */
        double d;
        struct {
            struct str *v;
            uint32_t n;
        } list;
    };
};

struct flags {
    struct flag_value v[FLAG_COUNT];
    bool help;               /* -h or -help was given: nothing else has been looked at */
    struct str command_line; /* all arguments joined by blanks, secrets masked */
    struct arena arena;
};

/* Gives the content of a file to out; non-zero: unreadable. */
typedef int (*flags_read_file)(const char *path, struct buf *out, void *arg);

/* Reads argv[1..argc-1] into *f (zeroed; flags_release() in any case). read may be NULL: then @file is an error.
 * ERR_INVALID with one line of text in err_text. */
int flags_parse(struct flags *f, int argc, const char *const *argv, flags_read_file read, void *arg,
                struct buf *err_text);
void flags_release(struct flags *f);

const char *flag_name(enum flag_id id);
/* NULL if unset. The text of a list is its items joined by commas. */
const char *flag_text(const struct flags *f, enum flag_id id);
struct str flag_str(const struct flags *f, enum flag_id id);
bool flag_bool(const struct flags *f, enum flag_id id);
int64_t flag_int(const struct flags *f, enum flag_id id);
double flag_double(const struct flags *f, enum flag_id id);
int64_t flag_ms(const struct flags *f, enum flag_id id);    /* of a TIME; part of a millisecond counts whole */
int64_t flag_bytes(const struct flags *f, enum flag_id id); /* of a DATA; part of a byte counts whole */
const struct str *flag_list(const struct flags *f, enum flag_id id, uint32_t *ret_n);
/* The text to show: secrets are masked, unset is "". */
struct str flag_shown(const struct flags *f, enum flag_id id);
/* A line for a flag that was given but does nothing here, or NULL. Good until the next call with that out. */
const char *flag_warning(const struct flags *f, enum flag_id id, struct buf *out);

/* What -help prints. */
void flags_help(struct buf *out);

#endif
