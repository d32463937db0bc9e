#include "admin/logtool_impl.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/text.h"
#include "core/thrift.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

/* ---- output ---- */

void logtool_complain(struct logtool *t, const char *fmt, ...)
{
    va_list ap;
    (void)fputs("aurora-scheduler log: ", t->err);
    va_start(ap, fmt);
    (void)vfprintf(t->err, fmt, ap);
    va_end(ap);
    (void)fputc('\n', t->err);
}

void logtool_print(struct logtool *t)
{
    buf_addc(&t->line, '\n');
    bool written = t->status == LOGTOOL_FAILED || fwrite(t->line.data, 1, t->line.len, t->out) == t->line.len;
    buf_reset(&t->line);
    if (written) return;
    t->status = LOGTOOL_FAILED; /* a closed pipe, a full disk: nothing more is tried */
    logtool_complain(t, "cannot print: %s", strerror(errno));
}

/* ---- the folder ---- */

int logtool_open(struct logtool *t, struct buf *why)
{
    int err = storage_open_read_only(t->path, &t->storage, why);
    if (err) return err;
    t->has_metadata = storage_metadata(t->storage, &t->metadata);
    replica_init(&t->replica);
    return 0;
}

struct surveying {
    struct logtool *t;
    void (*fn)(uint64_t position, const struct action *a, void *arg);
    void *arg;
};

static bool survey_one(uint64_t position, const struct action *a, void *arg)
{
    struct surveying *s = arg;
    struct logtool *t = s->t;
    t->n_records++;
    t->n_damaged += !a;
    replica_restore_action(&t->replica, a ? a : &(struct action){ .position = position });
    if (s->fn) s->fn(position, a, s->arg);
    return true;
}

int logtool_survey(struct logtool *t, void (*fn)(uint64_t position, const struct action *a, void *arg), void *arg)
{
    struct surveying s = { t, fn, arg };
    return storage_scan(t->storage, 0, UINT64_MAX, survey_one, &s);
}

void logtool_add_metadata(struct logtool *t)
{
    const struct storage_metadata *m = &t->metadata;
    buf_addf(&t->line, "\"status\":\"%s\"", t->has_metadata ? replica_status_name(m->status) : "EMPTY");
    buf_addf(&t->line, ",\"promised\":%" PRIu64 ",\"quorum\":%" PRIu32 ",\"replica\":\"%016" PRIx64 "\"", m->promised,
             m->quorum, (uint64_t)m->id);
    buf_adds(&t->line, ",\"seen\":[");
    for (unsigned i = 0; i < m->n_seen; i++) buf_addf(&t->line, "%s\"%016" PRIx64 "\"", i ? "," : "", m->seen[i]);
    buf_addf(&t->line, "],\"changes\":%" PRIu32 ",\"complete\":%s", m->changes, m->complete ? "true" : "false");
    buf_addf(&t->line, ",\"begin\":%" PRIu64 ",\"end\":%" PRIu64 ",\"records\":%" PRIu64, t->replica.begin,
             t->replica.end, t->n_records);
}

/* Opened and surveyed, or complained. */
static bool prepare(struct logtool *t)
{
    struct buf why = { 0 };
    int err = logtool_open(t, &why);
    if (!err && (err = logtool_survey(t, NULL, NULL))) buf_adds(&why, storage_error(t->storage));
    if (err) {
        t->status = err == ERR_CORRUPT ? LOGTOOL_DAMAGED : LOGTOOL_FAILED;
        logtool_complain(t, "%s", buf_cstr(&why));
    }
    buf_release(&why);
    return !err;
}

static void found_damaged(struct logtool *t, uint64_t position)
{
    if (t->status == LOGTOOL_OK) t->status = LOGTOOL_DAMAGED;
    logtool_complain(t, "the record of position %" PRIu64 " is damaged", position);
}

/* Goes through the live records of the wanted range; those that are damaged are complained about. */
static void each_wanted(struct logtool *t, bool (*fn)(uint64_t position, const struct action *a, void *arg), void *arg)
{
    uint64_t from = t->from > t->replica.begin ? t->from : t->replica.begin;
    if (from > t->to) return;
    if (!storage_scan(t->storage, from, t->to, fn, arg)) return;
    t->status = LOGTOOL_FAILED;
    logtool_complain(t, "%s", storage_error(t->storage));
}

/* ---- read ---- */

struct reading {
    struct logtool *t;
    struct entry_reader reader;
};

static bool read_one(uint64_t position, const struct action *a, void *arg)
{
    struct reading *r = arg;
    struct logtool *t = r->t;
    if (!a) {
        found_damaged(t, position);
        return true;
    }
    buf_addc(&t->line, '{');
    logtool_add_action(&t->line, a);
    if (a->type == ACTION_APPEND) {
        buf_adds(&t->line, ",\"entry\":");
        logtool_add_content(&t->line, &r->reader, a);
    }
    buf_addc(&t->line, '}');
    logtool_print(t);
    return t->status != LOGTOOL_FAILED;
}

static enum logtool_status command_read(struct logtool *t)
{
    struct reading r = { .t = t };
    if (!prepare(t)) return t->status;
    buf_adds(&t->line, "{\"metadata\":{");
    logtool_add_metadata(t);
    buf_adds(&t->line, "}}");
    logtool_print(t);
    each_wanted(t, read_one, &r);
    entry_reader_release(&r.reader);
    return t->status;
}

/* ---- dump ---- */

struct dumping {
    struct logtool *t;
    struct entry_reader reader;
    uint64_t first; /* of the entry that is being read */
};

static void dump_entry(struct dumping *d, uint64_t last, const struct api_log_entry *e)
{
    struct logtool *t = d->t;
    int err;
    if (t->thrift_json) {
        err = tjson_write(&t->line, &api_log_entry_desc, e);
    } else {
        buf_addf(&t->line, "{\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"entry\":", d->first, last);
        err = json_write(&t->line, &api_log_entry_desc, e, JSON_PLAIN);
        buf_addc(&t->line, '}');
    }
    if (!err) {
        logtool_print(t);
        return;
    }
    buf_reset(&t->line);
    if (t->status == LOGTOOL_OK) t->status = LOGTOOL_DAMAGED;
    logtool_complain(t, "the entry of positions %" PRIu64 " to %" PRIu64 " cannot be printed: %s", d->first, last,
                     err_str(err));
}

static bool dump_one(uint64_t position, const struct action *a, void *arg)
{
    struct dumping *d = arg;
    struct arena arena = { 0 };
    struct buf why = { 0 };
    const struct api_log_entry *e = NULL;
    if (!a) found_damaged(d->t, position);
    if (!a || a->type != ACTION_APPEND) return true;
    uint64_t dropped = d->reader.bad_frames;
    if (!d->reader.wanted) d->first = position;
    int err = entry_reader_feed(&d->reader, a->bytes, a->n, &arena, &e, &why);
    if (d->reader.bad_frames != dropped) d->first = position; /* the frame before it was incomplete */
    if (err) {
        entry_reader_end(&d->reader);
        if (d->t->status == LOGTOOL_OK) d->t->status = LOGTOOL_DAMAGED;
        logtool_complain(d->t, "position %" PRIu64 ": %s", position, buf_cstr(&why));
    } else if (e) {
        dump_entry(d, position, e);
    }
    arena_release(&arena);
    buf_release(&why);
    return d->t->status != LOGTOOL_FAILED;
}

static enum logtool_status command_dump(struct logtool *t)
{
    struct dumping d = { .t = t };
    if (!prepare(t)) return t->status;
    each_wanted(t, dump_one, &d);
    entry_reader_release(&d.reader);
    return t->status;
}

/* ---- the command line ---- */

enum option {
    OPTION_PATH = 1,
    OPTION_FROM = 2,
    OPTION_TO = 4,
    OPTION_QUORUM = 8,
    OPTION_TJSON = 16,
    OPTION_HELP = 32,
    OPTION_BACKUP = 64
};

static const struct {
    const char *name;
    enum option option;
} options[] = {
    { "path", OPTION_PATH },         { "native_log_file_path", OPTION_PATH },
    { "from", OPTION_FROM },         { "to", OPTION_TO },
    { "quorum", OPTION_QUORUM },     { "native_log_quorum_size", OPTION_QUORUM },
    { "thrift-json", OPTION_TJSON }, { "thrift_json", OPTION_TJSON },
    { "backup", OPTION_BACKUP },     { "help", OPTION_HELP },
};

static const struct command {
    const char *name;
    int options, needed;
    enum logtool_status (*run)(struct logtool *t);
} commands[] = {
    { "read", OPTION_PATH | OPTION_FROM | OPTION_TO, OPTION_PATH, command_read },
    { "dump", OPTION_PATH | OPTION_FROM | OPTION_TO | OPTION_TJSON, OPTION_PATH, command_dump },
    { "verify", OPTION_PATH, OPTION_PATH, logtool_verify },
    { "initialize", OPTION_PATH | OPTION_QUORUM, OPTION_PATH | OPTION_QUORUM, logtool_initialize },
    { "import", OPTION_PATH | OPTION_QUORUM | OPTION_BACKUP, OPTION_PATH | OPTION_QUORUM | OPTION_BACKUP,
      logtool_import },
};

static const char USAGE[] =
    "usage: aurora-scheduler log read       --path=DIR [--from=POSITION] [--to=POSITION]\n"
    "       aurora-scheduler log dump       --path=DIR [--from=POSITION] [--to=POSITION] [--thrift-json]\n"
    "       aurora-scheduler log verify     --path=DIR\n"
    "       aurora-scheduler log initialize --path=DIR --quorum=SIZE\n"
    "       aurora-scheduler log import     --path=DIR --quorum=SIZE --backup=FILE\n"
    "       aurora-scheduler log set-quorum | new-replica FLAGS  (see docs/operating.md)\n"
    "\n"
    "Looks at the log folder of a scheduler that is stopped (-native_log_file_path); prints JSON lines.\n"
    "  read        a line for the replica's metadata, then one per position: what is stored and what it is\n"
    "  dump        the entries of the log, whole; --thrift-json: each as a LogEntry in Thrift's TJSONProtocol\n"
    "  verify      checks checksums, holes and frames, decodes all entries and replays them\n"
    "  initialize  makes an empty folder a replica that votes, of a log with this quorum size\n"
    "  import      the same, and the log begins with what a backup holds\n"
    "Exit status: 0 all is well, 1 something stored is damaged or missing, 2 wrong arguments,\n"
    "3 it could not be done (no log there, another program's, in use, cannot read or write).\n";

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

/* 0: there is no such option. */
static enum option find_option(struct str name)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (str_eq(name, str_c(options[i].name))) return options[i].option;
    return 0;
}

static bool take_number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *ret <= max;
}

static bool set(struct logtool *t, enum option o, const char *value)
{
    uint64_t n;
    switch (o) {
    case OPTION_PATH:
        t->path = value;
        return *value;
    case OPTION_BACKUP:
        t->backup = value;
        return *value;
    case OPTION_FROM:
        return take_number(value, UINT64_MAX, &t->from);
    case OPTION_TO:
        return take_number(value, UINT64_MAX, &t->to);
    case OPTION_QUORUM:
        if (!take_number(value, LIMIT_LOG_QUORUM, &n) || !n) return false;
        t->quorum = (unsigned)n;
        return true;
    default:
        return false;
    }
}

/* One option, -name=value or -name value, with one dash or two; *i is left at its last word. */
static enum option take_option(struct logtool *t, const struct command *c, int argc, const char *const *argv, int *i)
{
    const char *word = argv[*i], *name = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
    const char *equals = strchr(name, '=');
    struct str s = { name, (uint32_t)(equals ? (size_t)(equals - name) : strlen(name)) };
    enum option o = word[0] == '-' ? find_option(s) : 0;
    if (!o || !((c->options | OPTION_HELP) & (int)o)) {
        logtool_complain(t, "%s does not know \"%s\"", c->name, word);
        return 0;
    }
    if (o == OPTION_HELP || o == OPTION_TJSON) {
        t->help = t->help || o == OPTION_HELP;
        t->thrift_json = t->thrift_json || o == OPTION_TJSON;
        return o;
    }
    const char *value = equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : "";
    if (set(t, o, value)) return o;
    logtool_complain(t, "-%.*s: \"%s\" is not a value that it can have", STR_ARG(s), value);
    return 0;
}

static bool parse(struct logtool *t, const struct command *c, int argc, const char *const *argv)
{
    int given = 0;
    for (int i = 0; i < argc; i++) {
        enum option o = take_option(t, c, argc, argv, &i);
        if (!o) return false;
        given |= (int)o;
    }
    if (t->help || (c->needed & ~given) == 0) return true;
    logtool_complain(t, "%s needs --path%s%s", c->name, c->needed & OPTION_QUORUM ? " and --quorum" : "",
                     c->needed & OPTION_BACKUP ? " and --backup" : "");
    return false;
}

static void release(struct logtool *t)
{
    if (t->storage) replica_release(&t->replica);
    storage_close(t->storage);
    buf_release(&t->line);
}

static bool wants_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "-help") == 0 || strcmp(word, "--help") == 0;
}

enum logtool_status logtool(int argc, const char *const *argv, FILE *out, FILE *err)
{
    struct logtool t = { .out = out, .err = err, .to = UINT64_MAX };
    if (argc > 0 && wants_help(argv[0])) return fputs(USAGE, out) < 0 ? LOGTOOL_FAILED : LOGTOOL_OK;
    const struct command *c = argc > 0 ? find_command(argv[0]) : NULL;
    if (argc > 0 && !c) logtool_complain(&t, "there is no command \"%s\"", argv[0]);
    if (!c || !parse(&t, c, argc - 1, argv + 1)) {
        (void)fputs(USAGE, err);
        return LOGTOOL_USAGE;
    }
    enum logtool_status status = LOGTOOL_OK;
    if (t.help)
        (void)fputs(USAGE, out);
    else
        status = c->run(&t);
    release(&t);
    if (fflush(out) == 0) return status;
    logtool_complain(&t, "cannot print: %s", strerror(errno));
    return LOGTOOL_FAILED;
}
