#include "mesos/executors.h"

#include "mesos/proto.h"
#include "mesos/proto_json.h"

#include "core/err.h"
#include "core/limits.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

struct executors {
    struct arena arena;
    struct executor *v;
    struct executor_setting *settings; /* parallel to v */
    uint32_t n;
};

const struct executor *executors_find(const struct executors *e, struct str name)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (str_eq(e->v[i].name, name)) return &e->v[i];
    return NULL;
}

struct executor_setting *executors_settings(const struct executors *e, uint32_t *ret_n)
{
    *ret_n = e->n;
    return e->settings;
}

void executors_free(struct executors *e)
{
    if (!e) return;
    arena_release(&e->arena);
    free(e->v);
    free(e->settings);
    free(e);
}

static milli overhead(const Mesos__ExecutorInfo *info, const char *resource)
{
    double sum = 0;
    for (size_t i = 0; info && i < info->n_resources; i++) {
        const Mesos__Resource *r = info->resources[i];
        if (r->scalar && strcmp(r->name, resource) == 0) sum += r->scalar->value;
    }
    return llround(sum * 1000);
}

static int add(struct executors *e, const struct executor *x, struct buf *err_text)
{
    if (executors_find(e, x->name)) {
        buf_addf(err_text, "the executor %.*s is there twice", STR_ARG(x->name));
        return ERR_INVALID;
    }
    if (e->n >= LIMIT_EXECUTORS) {
        buf_addf(err_text, "more than %d executors", LIMIT_EXECUTORS);
        return ERR_INVALID;
    }
    e->v = xrealloc(e->v, (e->n + 1) * sizeof(*e->v));
    e->settings = xrealloc(e->settings, (e->n + 1) * sizeof(*e->settings));
    e->v[e->n] = *x;
    e->settings[e->n] = (struct executor_setting){ .name = x->name,
                                                   .cpus = overhead(x->info, "cpus"),
                                                   .ram_mb = overhead(x->info, "mem"),
                                                   .disk_mb = overhead(x->info, "disk") };
    e->n++;
    return 0;
}

/* ---------------- comma lists ---------------- */

/* Cuts the first item off *rest, without blanks around it; false at the end. Empty items are skipped. */
static bool next_item(struct str *rest, char separator, struct str *ret)
{
    while (rest->n > 0) {
        const char *end = memchr(rest->p, separator, rest->n);
        uint32_t n = end ? (uint32_t)(end - rest->p) : rest->n;
        struct str item = { rest->p, n };
        uint32_t used = end ? n + 1 : n;
        *rest = (struct str){ rest->p + used, rest->n - used };
        while (item.n > 0 && item.p[0] == ' ') item = (struct str){ item.p + 1, item.n - 1 };
        while (item.n > 0 && item.p[item.n - 1] == ' ') item.n--;
        if (item.n == 0) continue;
        *ret = item;
        return true;
    }
    return false;
}

/* ---------------- Thermos ---------------- */

static void add_uri(Mesos__CommandInfo *c, struct str uri, struct arena *a)
{
    Mesos__CommandInfo__URI *u = proto_new(&mesos__command_info__uri__descriptor, a);
    u->value = proto_str(uri, a);
    u->has_executable = true;
    u->executable = true;
    c->uris[c->n_uris++] = u;
}

static size_t count_items(struct str list)
{
    struct str item;
    size_t n = 0;
    while (next_item(&list, ',', &item)) n++;
    return n;
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && s.p[s.n - 1] == ' ') s.n--;
    return s;
}

static int thermos_command(const struct executors_config *c, struct arena *a, Mesos__CommandInfo **ret,
                           struct buf *err_text)
{
    struct str path = c->thermos_executor_path;
    const char *slash = memrchr(path.p, '/', path.n);
    const char *base = slash ? slash + 1 : path.p;
    if (base == path.p + path.n) {
        buf_addf(err_text, "thermos_executor_path names no file: %.*s", STR_ARG(path));
        return ERR_INVALID;
    }
    Mesos__CommandInfo *m = proto_new(&mesos__command_info__descriptor, a);
    m->value = proto_str(trimmed(arena_strf(a, "%s${MESOS_SANDBOX=.}/%.*s %.*s",
                                            c->thermos_home_in_sandbox ? "HOME=${MESOS_SANDBOX=.} " : "",
                                            (int)(path.p + path.n - base), base, STR_ARG(c->thermos_executor_flags))),
                         a);
    struct str rest = c->thermos_executor_resources, item;
    m->uris = ARENA_ARRAY(a, Mesos__CommandInfo__URI *, 1 + count_items(rest));
    add_uri(m, path, a);
    while (next_item(&rest, ',', &item)) add_uri(m, item, a);
    *ret = m;
    return 0;
}

static Mesos__Resource *scalar_resource(const char *name, milli amount, struct arena *a)
{
    Mesos__Resource *r = proto_new(&mesos__resource__descriptor, a);
    r->name = proto_str(str_c(name), a);
    r->type = MESOS__VALUE__TYPE__SCALAR;
    r->scalar = proto_new(&mesos__value__scalar__descriptor, a);
    r->scalar->value = (double)amount / 1000;
    return r;
}

/* "host:container:ro" or ":rw". */
static int parse_mount(struct str text, struct arena *a, Mesos__Volume **ret, struct buf *err_text)
{
    struct str rest = text, part[4];
    size_t n = 0;
    while (n < 4 && next_item(&rest, ':', &part[n])) n++;
    bool ro = n == 3 && str_eq(part[2], STR("ro"));
    bool rw = n == 3 && str_eq(part[2], STR("rw"));
    if (!ro && !rw) {
        buf_addf(err_text, "global_container_mounts: %.*s is not host:container:ro or host:container:rw",
                 STR_ARG(text));
        return ERR_INVALID;
    }
    Mesos__Volume *v = proto_new(&mesos__volume__descriptor, a);
    v->host_path = proto_str(part[0], a);
    v->container_path = proto_str(part[1], a);
    v->mode = ro ? MESOS__VOLUME__MODE__RO : MESOS__VOLUME__MODE__RW;
    *ret = v;
    return 0;
}

static int parse_mounts(struct str list, struct arena *a, struct executor *x, struct buf *err_text)
{
    struct str item;
    x->volumes = ARENA_ARRAY(a, Mesos__Volume *, count_items(list));
    while (next_item(&list, ',', &item)) {
        int err = parse_mount(item, a, &x->volumes[x->n_volumes], err_text);
        if (err) return err;
        x->n_volumes++;
    }
    return 0;
}

static int add_thermos(struct executors *e, const struct executors_config *c, struct buf *err_text)
{
    struct arena *a = &e->arena;
    if (!c->thermos_executor_path.p) return 0;
    Mesos__ExecutorInfo *info = proto_new(&mesos__executor_info__descriptor, a);
    struct executor x = { .name = STR(EXECUTOR_THERMOS), .task_prefix = STR("thermos-"), .info = info };
    int err = thermos_command(c, a, &info->command, err_text);
    if (!err) err = parse_mounts(c->global_container_mounts, a, &x, err_text);
    if (err) return err;
    info->name = proto_str(x.name, a);
    info->resources = ARENA_ARRAY(a, Mesos__Resource *, 2);
    info->resources[info->n_resources++] = scalar_resource("cpus", c->thermos_cpus, a);
    info->resources[info->n_resources++] = scalar_resource("mem", c->thermos_ram_mb, a);
    return add(e, &x, err_text);
}

/* ---------------- custom_executor_config ---------------- */

static int read_executor_info(const cJSON *j, struct arena *a, struct executor *x, struct buf *err_text)
{
    Mesos__ExecutorInfo *info = proto_new(&mesos__executor_info__descriptor, a);
    int err = proto_read_json(j, info, a, err_text);
    if (!err && (!info->name || !info->name[0])) {
        buf_adds(err_text, "name: missing");
        err = ERR_INVALID;
    }
    if (!err && !info->command) {
        buf_adds(err_text, "command: missing");
        err = ERR_INVALID;
    }
    if (err) return err;
    x->name = str_c(info->name);
    x->info = info;
    return 0;
}

/* Mesos wants an executor_id, which differs from task to task; the file has none. */
static void add_placeholder_id(cJSON *executor)
{
    if (!cJSON_IsObject(executor) || cJSON_GetObjectItemCaseSensitive(executor, "executor_id")) return;
    cJSON *id = cJSON_AddObjectToObject(executor, "executor_id");
    cJSON_AddStringToObject(id, "value", "");
}

static int read_volumes(const cJSON *j, struct arena *a, struct executor *x, struct buf *err_text)
{
    if (!cJSON_IsArray(j)) {
        buf_adds(err_text, "not a list");
        return ERR_INVALID;
    }
    x->volumes = ARENA_ARRAY(a, Mesos__Volume *, (size_t)cJSON_GetArraySize(j));
    for (const cJSON *e = j->child; e; e = e->next) {
        Mesos__Volume *v = proto_new(&mesos__volume__descriptor, a);
        int err = proto_read_json(e, v, a, err_text);
        if (err) return err;
        x->volumes[x->n_volumes++] = v;
    }
    return 0;
}

static int read_member(cJSON *j, struct arena *a, struct executor *x, struct buf *err_text)
{
    if (strcmp(j->string, "executor") == 0) {
        add_placeholder_id(j);
        return read_executor_info(j, a, x, err_text);
    }
    if (strcmp(j->string, "volume_mounts") == 0) return read_volumes(j, a, x, err_text);
    if (strcmp(j->string, "task_prefix") != 0)
        buf_adds(err_text, "unknown");
    else if (!cJSON_IsString(j))
        buf_adds(err_text, "not a string");
    else {
        x->task_prefix = arena_str(a, str_c(j->valuestring));
        return 0;
    }
    return ERR_INVALID;
}

static int read_entry(struct executors *e, cJSON *j, struct buf *err_text)
{
    struct executor x = { 0 };
    for (cJSON *m = j->child; m; m = m->next) {
        struct buf text = { 0 };
        int err = cJSON_IsObject(j) ? read_member(m, &e->arena, &x, &text) : ERR_INVALID;
        if (err) buf_addf(err_text, "%s: %s", m->string ? m->string : "entry", buf_cstr(&text));
        buf_release(&text);
        if (err) return err;
    }
    const char *missing = !x.info ? "executor" : !x.task_prefix.p ? "task_prefix" : NULL;
    if (missing) {
        buf_addf(err_text, "%s: missing", missing);
        return ERR_INVALID;
    }
    return add(e, &x, err_text);
}

static int read_entries(struct executors *e, const cJSON *j, struct buf *err_text)
{
    if (!cJSON_IsArray(j)) {
        buf_adds(err_text, "custom_executor_config: not a JSON list");
        return ERR_INVALID;
    }
    int i = 0;
    for (cJSON *entry = j->child; entry; entry = entry->next, i++) {
        struct buf text = { 0 };
        int err = read_entry(e, entry, &text);
        if (err) buf_addf(err_text, "custom_executor_config: [%d]: %s", i, buf_cstr(&text));
        buf_release(&text);
        if (err) return err;
    }
    return 0;
}

static int add_custom(struct executors *e, struct str text, struct buf *err_text)
{
    if (!text.p) return 0;
    if (text.n > LIMIT_EXECUTOR_CONFIG_BYTES) {
        buf_addf(err_text, "custom_executor_config: over %u bytes", LIMIT_EXECUTOR_CONFIG_BYTES);
        return ERR_INVALID;
    }
    char *z = xstrndup(text.p, text.n);
    const char *end = NULL;
    cJSON *j = cJSON_ParseWithOpts(z, &end, true);
    if (!j) buf_addf(err_text, "custom_executor_config: not JSON, at byte %td", end ? end - z : 0);
    int err = j ? read_entries(e, j, err_text) : ERR_INVALID;
    cJSON_Delete(j);
    free(z);
    return err;
}

int executors_new(const struct executors_config *c, struct executors **ret, struct buf *err_text)
{
    struct executors *e = xcalloc(1, sizeof(*e));
    struct executor command = { .name = STR(EXECUTOR_COMMAND), .task_prefix = STR("") };
    int err = add(e, &command, err_text);
    assert(!err);
    err = add_thermos(e, c, err_text);
    if (!err) err = add_custom(e, c->custom_executor_config, err_text);
    if (err) {
        executors_free(e);
        return err;
    }
    *ret = e;
    return 0;
}
