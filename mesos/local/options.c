#include "mesos/local/options.h"

#include "core/err.h"
#include "core/limits.h"

#include <stdlib.h>

enum kind { TEXT, PORT, COUNT, SEED, DURATION, SWITCH, SCRIPT };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *fallback, *help;
};

#define AT(field) offsetof(struct options, field)
static const struct option options[] = {
    { "ip", TEXT, AT(ip), "127.0.0.1", "address to listen on" },
    { "port", PORT, AT(port), "0", "port to listen on; 0: any" },
    { "advertise-ip", TEXT, AT(advertise_ip), NULL, "address that schedulers are told, if another" },
    { "advertise-port", PORT, AT(advertise_port), "0", "port that schedulers are told; 0: the same" },
    { "hostname", TEXT, AT(hostname), NULL, "host name of the master; else the address" },
    { "agents", COUNT, AT(agents), "1", "number of agents" },
    { "agent-resources", TEXT, AT(agent_resources), "cpus:4;mem:4096;disk:10000;ports:[31000-32000]",
      "of each agent, as Mesos writes them; name(role) is reserved, name{REV} revocable" },
    { "attributes", TEXT, AT(attributes), "", "of each agent: \"rack:r%d;zone:a\", %d is its number from 1" },
    { "agent-hostname", TEXT, AT(agent_hostname), "localhost", "of each agent, %d as above" },
    { "work-dir", TEXT, AT(work_dir), NULL, "folder for sandboxes; else a new one below /tmp that is kept" },
    { "simulate", SWITCH, AT(simulate), NULL, "run no command: every task follows the script" },
    { "script", SCRIPT, AT(script), NULL,
      "of simulated tasks: \"starting=0 running=0 lifetime=1000-5000 outcome=finished:9,failed:1 kill=0\"" },
    { "allocation-interval", DURATION, AT(allocation_interval_ms), "1secs", "between two rounds of offers" },
    { "offer-timeout", DURATION, AT(offer_timeout_ms), "0", "an offer that is out so long is rescinded; 0: never" },
    { "agent-reregister-timeout", DURATION, AT(agent_reregister_ms), "10mins",
      "a disconnected agent that is away so long is unreachable" },
    { "authentication-timeout", DURATION, AT(authentication_timeout_ms), "15secs", "for one attempt" },
    { "credentials", TEXT, AT(credentials), NULL,
      "file with principals and secrets: lines \"principal secret\" or Mesos's JSON" },
    { "authenticate", SWITCH, AT(authenticate), NULL, "frameworks must authenticate" },
    { "seed", SEED, AT(seed), NULL, "of all that is random; else from the clock" },
    { "verbose", SWITCH, AT(verbose), NULL, "log every task and offer" },
    { "help", SWITCH, AT(help), NULL, "this text" },
};
enum { N_OPTIONS = sizeof options / sizeof *options };

int duration_parse(struct str text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = { { "", 1000 },     { "ns", 1e-6 },     { "us", 1e-3 },       { "ms", 1 },
                  { "s", 1000 },    { "secs", 1000 },   { "m", 60000 },       { "mins", 60000 },
                  { "h", 3600000 }, { "hrs", 3600000 }, { "days", 86400000 }, { "weeks", 604800000 } };
    char copy[64], *end;
    if (!text.n || text.n >= sizeof copy) return ERR_MALFORMED;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if ((copy[0] < '0' || copy[0] > '9') && copy[0] != '.') return ERR_MALFORMED;
    double v = strtod(copy, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        if (!(v * units[i].ms <= 1e14)) return ERR_MALFORMED;
        *ret_ms = (int64_t)(v * units[i].ms + 0.5);
        return 0;
    }
    return ERR_MALFORMED;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    unsigned long long v = strtoull(text, &end, 10);
    if (*end || v > max) return false;
    *ret = v;
    return true;
}

static bool store(const struct option *o, const char *value, struct options *to, struct buf *err)
{
    void *at = (char *)to + o->offset;
    uint64_t v = 0;
    bool ok = true;
    switch (o->kind) {
    case TEXT:
        *(const char **)at = value;
        break;
    case PORT:
        ok = parse_number(value, 65535, &v);
        if (ok) *(uint16_t *)at = (uint16_t)v;
        break;
    case COUNT:
        ok = parse_number(value, LIMIT_LOCAL_AGENTS, &v);
        if (ok) *(uint32_t *)at = (uint32_t)v;
        break;
    case SEED:
        ok = parse_number(value, UINT64_MAX, &v);
        if (ok) *(uint64_t *)at = v;
        break;
    case DURATION:
        ok = duration_parse(str_c(value), at) == 0;
        break;
    case SCRIPT:
        return sim_parse(str_c(value), at, err) == 0;
    case SWITCH:
        ok = strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
        if (ok) *(bool *)at = value[0] == 't';
        break;
    }
    if (!ok) buf_addf(err, "--%s: '%s' is not a value for it", o->name, value);
    return ok;
}

static const struct option *find(const char *name, size_t n)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (strlen(options[i].name) == n && strncmp(options[i].name, name, n) == 0) return &options[i];
    return NULL;
}

/* One word of the command line, and the next one as its value where it has none. */
static bool parse_word(int argc, char **argv, int *i, struct options *to, struct buf *err)
{
    const char *word = argv[*i] + 2, *eq;
    if (strncmp(argv[*i], "--", 2) != 0 || !*word) {
        buf_addf(err, "'%s' is not an option", argv[*i]);
        return false;
    }
    eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    const struct option *o = find(word, n);
    if (!o && !eq && strncmp(word, "no-", 3) == 0) {
        o = find(word + 3, n - 3);
        if (o && o->kind == SWITCH) return store(o, "false", to, err);
        o = NULL;
    }
    if (!o) {
        buf_addf(err, "unknown option --%.*s", (int)n, word);
        return false;
    }
    if (eq) return store(o, eq + 1, to, err);
    if (o->kind == SWITCH) return store(o, "true", to, err);
    if (*i + 1 == argc) {
        buf_addf(err, "--%s needs a value", o->name);
        return false;
    }
    return store(o, argv[++*i], to, err);
}

static bool check(const struct options *o, struct buf *err)
{
    if (o->allocation_interval_ms <= 0) {
        buf_adds(err, "--allocation-interval must be more than 0");
        return false;
    }
    if (o->authenticate && !o->credentials) {
        buf_adds(err, "--authenticate needs --credentials");
        return false;
    }
    return true;
}

int options_parse(int argc, char **argv, struct options *ret, struct buf *err)
{
    struct options o = { 0 };
    sim_defaults(&o.script);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (options[i].fallback && !store(&options[i], options[i].fallback, &o, err)) return ERR_MALFORMED;
    for (int i = 1; i < argc; i++)
        if (!parse_word(argc, argv, &i, &o, err)) return ERR_MALFORMED;
    if (!o.help && !check(&o, err)) return ERR_MALFORMED;
    *ret = o;
    return 0;
}

void options_usage(struct buf *out)
{
    buf_adds(out, "mesos-local: a Mesos master with agents in one process.\n\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        int n = (int)strlen(o->name);
        buf_addf(out, "  --%s%*s %s", o->name, n < 24 ? 24 - n : 0, "", o->help);
        if (o->fallback && o->fallback[0]) buf_addf(out, " (%s)", o->fallback);
        buf_addc(out, '\n');
    }
}
