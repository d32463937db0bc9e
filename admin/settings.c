#include "admin/settings.h"

#include "core/err.h"
#include "core/limits.h"
#include "zk/detector.h"

#include <cjson/cJSON.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A pattern of the operator meets texts of users: backtracking has an end. */
#define ENVIRONMENT_MATCH_LIMIT 10000

int settings_read_file(const char *path, struct buf *out, void *arg)
{
    (void)arg;
    FILE *f = fopen(path, "re");
    if (!f) return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    int rv = 0;
    size_t n, total = 0;
    while ((n = fread(buf_reserve(out, 4096), 1, 4096, f)) > 0) {
        buf_commit(out, n);
        total += n;
        if (total > LIMIT_CONFIG_FILE_BYTES) rv = ERR_TOO_BIG;
        if (rv != 0) break;
    }
    if (rv == 0 && ferror(f)) rv = ERR_IO;
    (void)fclose(f);
    return rv;
}

/* The content of the file that a flag names, in the arena; unset for an unset flag. */
static int read_flag_file(struct settings *s, const struct flags *f, enum flag_id id, struct str *ret, struct buf *err)
{
    const char *path = flag_text(f, id);
    *ret = (struct str){ 0 };
    if (!path) return 0;
    struct buf b = { 0 };
    int rv = settings_read_file(path, &b, NULL);
    if (rv == 0)
        *ret = arena_str(&s->arena, (struct str){ buf_cstr(&b), (uint32_t)b.len });
    else
        buf_addf(err, "flag -%s: can't read %s: %s", flag_name(id), path, err_str(rv));
    buf_release(&b);
    return rv == 0 ? 0 : ERR_INVALID;
}

/* ---------------- allowed_job_environments ---------------- */

struct environment_pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static void environment_free(struct environment_pattern *e)
{
    if (!e) return;
    pcre2_match_context_free(e->context);
    pcre2_match_data_free(e->data);
    pcre2_code_free(e->code);
    free(e);
}

static int environment_new(struct str regex, struct environment_pattern **ret, struct buf *err)
{
    int code;
    PCRE2_SIZE at;
    struct environment_pattern *e = xcalloc(1, sizeof(*e));
    e->code = pcre2_compile((PCRE2_SPTR)regex.p, regex.n, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &code, &at, NULL);
    if (!e->code) {
        char text[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
        buf_addf(err, "flag -allowed_job_environments: %s at character %zu", text, at);
        environment_free(e);
        return ERR_INVALID;
    }
    e->data = pcre2_match_data_create_from_pattern(e->code, NULL);
    e->context = pcre2_match_context_create(NULL);
    if (!e->data || !e->context) abort();
    pcre2_set_match_limit(e->context, ENVIRONMENT_MATCH_LIMIT);
    *ret = e;
    return 0;
}

static bool environment_ok(struct str env, void *arg)
{
    struct environment_pattern *e = arg;
    return pcre2_match(e->code, (PCRE2_SPTR)env.p, env.n, 0, 0, e->data, e->context) >= 0;
}

/* ---------------- tiers ---------------- */

static bool read_tier_flag(const cJSON *tier, const char *name, bool *ret)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(tier, name);
    *ret = cJSON_IsTrue(v);
    return !v || cJSON_IsBool(v);
}

static int read_tier(const cJSON *json, struct tier_setting *t, struct arena *a, struct buf *err)
{
    const cJSON *field;
    cJSON_ArrayForEach(field, json)
    {
        if (strcmp(field->string, "preemptible") != 0 && strcmp(field->string, "revocable") != 0) {
            buf_addf(err, "tier '%s': unknown member '%s'", json->string, field->string);
            return ERR_INVALID;
        }
    }
    t->name = arena_str(a, str_c(json->string));
    if (cJSON_IsObject(json) && read_tier_flag(json, "preemptible", &t->preemptible) &&
        read_tier_flag(json, "revocable", &t->revocable))
        return 0;
    buf_addf(err, "tier '%s' is not {\"preemptible\": true|false, \"revocable\": true|false}", json->string);
    return ERR_INVALID;
}

static int read_tier_list(struct sched_config *c, const cJSON *root, struct arena *a, struct buf *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "tiers");
    const cJSON *def = cJSON_GetObjectItemCaseSensitive(root, "default");
    int n = cJSON_GetArraySize(list);
    if (!cJSON_IsObject(list) || n == 0 || !cJSON_IsString(def) || cJSON_GetArraySize(root) != 2) {
        buf_adds(err, "not of the form {\"default\": NAME, \"tiers\": {NAME: {...}, ...}}");
        return ERR_INVALID;
    }
    struct tier_setting *tiers = ARENA_ARRAY(a, struct tier_setting, (size_t)n);
    uint32_t i = 0;
    bool found = false;
    const cJSON *tier;
    cJSON_ArrayForEach(tier, list)
    {
        if (read_tier(tier, &tiers[i], a, err) != 0) return ERR_INVALID;
        found |= strcmp(tier->string, def->valuestring) == 0;
        i++;
    }
    if (!found) {
        buf_addf(err, "the default '%s' is not one of the tiers", def->valuestring);
        return ERR_INVALID;
    }
    c->tiers = tiers;
    c->n_tiers = i;
    c->default_tier = arena_str(a, str_c(def->valuestring));
    return 0;
}

int settings_read_tiers(struct sched_config *c, struct str json, struct arena *a, struct buf *err_text)
{
    cJSON *root = cJSON_ParseWithLength(json.p, json.n);
    buf_adds(err_text, "flag -tier_config: ");
    int rv = root ? read_tier_list(c, root, a, err_text) : ERR_INVALID;
    if (!root) buf_adds(err_text, "not valid JSON");
    cJSON_Delete(root);
    if (rv == 0) buf_reset(err_text);
    return rv;
}

/* ---------------- framework_authentication_file ---------------- */

static struct str trim(struct str s)
{
    while (s.n && strchr(" \t\r\f", s.p[0])) s.p++, s.n--;
    while (s.n && strchr(" \t\r\f", s.p[s.n - 1])) s.n--;
    return s;
}

static void read_property(struct settings *s, struct str line)
{
    line = trim(line);
    if (line.n == 0 || line.p[0] == '#' || line.p[0] == '!') return;
    uint32_t n = 0;
    while (n < line.n && !strchr("=: \t", line.p[n])) n++;
    struct str key = { line.p, n };
    struct str value = trim((struct str){ line.p + n, line.n - n });
    if (value.n && (value.p[0] == '=' || value.p[0] == ':')) value = trim((struct str){ value.p + 1, value.n - 1 });
    if (str_eq(key, STR("aurora_authentication_principal"))) s->principal = arena_str(&s->arena, value);
    if (str_eq(key, STR("aurora_authentication_secret"))) s->secret = arena_str(&s->arena, value);
}

int settings_read_credential(struct settings *s, struct str properties, struct buf *err_text)
{
    for (const char *p = properties.p, *end = p + properties.n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl) nl = end;
        read_property(s, (struct str){ p, (uint32_t)(nl - p) });
        p = nl + 1;
    }
    if (s->principal.n && s->secret.n) return 0;
    buf_adds(err_text, "flag -framework_authentication_file: the file must set aurora_authentication_principal and "
                       "aurora_authentication_secret");
    return ERR_INVALID;
}

/* ---------------- all ---------------- */

static void set_names(struct settings *s, const struct flags *f)
{
    char name[256] = "localhost";
    (void)gethostname(name, sizeof(name) - 1);
    const char *given = flag_text(f, FLAG_hostname);
    if (!given) given = flag_text(f, FLAG_ip);
    s->hostname = arena_str(&s->arena, str_c(given ? given : name));
    s->sched.cluster_name = flag_str(f, FLAG_cluster_name);
    s->sched.stats_url_prefix = flag_str(f, FLAG_viz_job_url_prefix);
    s->sched.hostname = s->hostname;
}

static void set_job_rules(struct sched_config *c, const struct flags *f)
{
    c->max_tasks_per_job = flag_int(f, FLAG_max_tasks_per_job);
    uint32_t n;
    const struct str *types = flag_list(f, FLAG_allowed_container_types, &n);
    c->allow_docker = c->allow_mesos = false;
    for (uint32_t i = 0; i < n; i++) {
        c->allow_docker |= str_eq(types[i], STR("DOCKER"));
        c->allow_mesos |= str_eq(types[i], STR("MESOS"));
    }
    c->allow_docker_parameters = flag_bool(f, FLAG_allow_docker_parameters);
    c->require_docker_use_executor = flag_bool(f, FLAG_require_docker_use_executor);
    c->allow_container_volumes = flag_bool(f, FLAG_allow_container_volumes);
    c->allow_gpu_resource = flag_bool(f, FLAG_allow_gpu_resource);
    c->enable_mesos_fetcher = flag_bool(f, FLAG_enable_mesos_fetcher);
    c->sla_aware_kill_non_prod = flag_bool(f, FLAG_sla_aware_kill_non_prod);
    c->enable_revocable_cpus = flag_bool(f, FLAG_enable_revocable_cpus);
    c->enable_revocable_ram = flag_bool(f, FLAG_enable_revocable_ram);
    c->min_required_instances_for_sla_check = flag_int(f, FLAG_min_required_instances_for_sla_check);
    c->max_sla_duration_secs = flag_ms(f, FLAG_max_sla_duration_secs) / 1000;
    c->partition_aware = flag_bool(f, FLAG_partition_aware);
}

static void set_docker_parameters(struct settings *s, const struct flags *f)
{
    uint32_t n;
    const struct str *v = flag_list(f, FLAG_default_docker_parameters, &n);
    struct api_docker_parameter *out = ARENA_ARRAY(&s->arena, struct api_docker_parameter, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t eq = (uint32_t)((const char *)memchr(v[i].p, '=', v[i].n) - v[i].p);
        out[i].name = arena_str(&s->arena, (struct str){ v[i].p, eq });
        out[i].value = (struct str){ v[i].p + eq + 1, v[i].n - eq - 1 };
    }
    s->sched.default_docker_parameters = out;
    s->sched.n_default_docker_parameters = n;
}

/* Settings that a flag of the same name gives as it is. */
static void set_same_named(struct sched_config *c, const struct flags *f)
{
#define MS(name) c->name = flag_ms(f, FLAG_##name)
#define NUMBER(name) c->name = flag_int(f, FLAG_##name)
    MS(first_schedule_delay);
    MS(initial_schedule_penalty);
    MS(max_schedule_penalty);
    c->max_schedule_attempts_per_sec = flag_double(f, FLAG_max_schedule_attempts_per_sec);
    NUMBER(max_tasks_per_schedule_attempt);
    MS(flapping_task_threshold);
    MS(initial_flapping_task_delay);
    MS(max_flapping_task_delay);
    MS(max_reschedule_task_delay_on_startup);
    MS(min_offer_hold_time);
    MS(offer_hold_jitter_window);
    MS(offer_filter_duration);
    MS(unavailability_threshold);
    c->hold_offers_forever = flag_bool(f, FLAG_hold_offers_forever);
    MS(transient_task_state_timeout);
    MS(initial_task_kill_retry_interval);
    MS(reconciliation_initial_delay);
    MS(reconciliation_explicit_interval);
    MS(reconciliation_implicit_interval);
    MS(reconciliation_schedule_spread);
    MS(reconciliation_explicit_batch_interval);
    NUMBER(reconciliation_explicit_batch_size);
    MS(history_prune_threshold);
    MS(history_min_retention_threshold);
    NUMBER(history_max_per_job_threshold);
#undef MS
#undef NUMBER
}

static int set_executors(struct settings *s, const struct flags *f, struct buf *err)
{
    struct executors_config c = {
        .thermos_executor_path = flag_str(f, FLAG_thermos_executor_path),
        .thermos_executor_flags = flag_str(f, FLAG_thermos_executor_flags),
        .thermos_executor_resources = flag_str(f, FLAG_thermos_executor_resources),
        .thermos_home_in_sandbox = flag_bool(f, FLAG_thermos_home_in_sandbox),
        .thermos_cpus = (milli)(flag_double(f, FLAG_thermos_executor_cpu) * 1000 + 0.5),
        .thermos_ram_mb = flag_bytes(f, FLAG_thermos_executor_ram) / (1 << 20) * 1000,
        .global_container_mounts = flag_str(f, FLAG_global_container_mounts),
    };
    if (read_flag_file(s, f, FLAG_custom_executor_config, &c.custom_executor_config, err) != 0) return ERR_INVALID;
    if (executors_new(&c, &s->executors, err) != 0) return ERR_INVALID;
    s->sched.executors = executors_settings(s->executors, &s->sched.n_executors);
    return 0;
}

static int set_environments(struct settings *s, const struct flags *f, struct buf *err)
{
    struct str regex = flag_str(f, FLAG_allowed_job_environments);
    if (environment_new(regex, &s->environment, err) != 0) return ERR_INVALID;
    s->sched.environment_regex = regex;
    s->sched.environment_ok = environment_ok;
    s->sched.environment_arg = s->environment;
    return 0;
}

static int check_master(const struct flags *f, struct buf *err)
{
    struct str address = flag_str(f, FLAG_mesos_master_address);
    const char *colon = memrchr(address.p, ':', address.n);
    struct zk_url url;
    if (strncmp(address.p, "zk://", 5) == 0) {
        if (zk_url_parse(address.p, &url) == 0) return 0;
        buf_adds(err, "flag -mesos_master_address: not of the form zk://[user:password@]host:port,.../path");
    } else if (!colon || colon == address.p || atoi(colon + 1) <= 0 || atoi(colon + 1) > 65535) {
        buf_addf(err, "flag -mesos_master_address: '%s' is not host:port", address.p);
    } else {
        return 0;
    }
    return ERR_INVALID;
}

/* A path of ZooKeeper that is not its root. */
static int check_zk_path(const struct flags *f, enum flag_id id, struct buf *err)
{
    const char *path = flag_text(f, id);
    if (!path || (path[0] == '/' && path[1] && path[strlen(path) - 1] != '/' && !strstr(path, "//"))) return 0;
    buf_addf(err, "flag -%s: '%s' is not of the form /name/name", flag_name(id), path);
    return ERR_INVALID;
}

static bool is_credential(const char *text)
{
    const char *colon = strchr(text, ':');
    return colon && colon != text && colon[1] && !strchr(colon + 1, ':');
}

/* What the other flags need, once there are several schedulers. */
static int check_zookeeper(const struct flags *f, struct buf *err)
{
    bool used = settings_zookeeper(f), several = flag_int(f, FLAG_native_log_quorum_size) > 1;
    const char *credential = flag_text(f, FLAG_zk_digest_credentials), *chroot = flag_text(f, FLAG_zk_chroot_path);
    if (check_zk_path(f, FLAG_serverset_path, err) != 0 || check_zk_path(f, FLAG_native_log_zk_group_path, err) != 0)
        return ERR_INVALID;
    if (chroot && *chroot && strcmp(chroot, "/") != 0 && check_zk_path(f, FLAG_zk_chroot_path, err) != 0)
        return ERR_INVALID;
    if (several && !used)
        buf_adds(err, "flag -native_log_quorum_size: more than 1 needs -zk_endpoints");
    else if (several && !flag_text(f, FLAG_native_log_zk_group_path))
        buf_adds(err, "flag -native_log_quorum_size: more than 1 needs -native_log_zk_group_path");
    else if (used && !flag_text(f, FLAG_serverset_path))
        buf_adds(err, "flag -zk_endpoints needs -serverset_path");
    else if (used && memchr(flag_text(f, FLAG_zk_endpoints), '*', strlen(flag_text(f, FLAG_zk_endpoints))))
        buf_adds(err, "flag -zk_endpoints: a port is a number");
    else if (credential && !is_credential(credential))
        buf_adds(err, "flag -zk_digest_credentials is not of the form user:password");
    else
        return 0;
    return ERR_INVALID;
}

bool settings_zookeeper(const struct flags *f)
{
    const char *endpoints = flag_text(f, FLAG_zk_endpoints);
    return endpoints && *endpoints;
}

int settings_from_flags(struct settings *s, const struct flags *f, struct buf *err_text)
{
    sched_config_defaults(&s->sched);
    set_names(s, f);
    set_job_rules(&s->sched, f);
    set_docker_parameters(s, f);
    set_same_named(&s->sched, f);
    struct str tiers, credential;
    if (check_master(f, err_text) != 0) return ERR_INVALID;
    if (check_zookeeper(f, err_text) != 0) return ERR_INVALID;
    if (set_environments(s, f, err_text) != 0) return ERR_INVALID;
    if (set_executors(s, f, err_text) != 0) return ERR_INVALID;
    if (read_flag_file(s, f, FLAG_tier_config, &tiers, err_text) != 0) return ERR_INVALID;
    if (tiers.p && settings_read_tiers(&s->sched, tiers, &s->arena, err_text) != 0) return ERR_INVALID;
    if (read_flag_file(s, f, FLAG_framework_authentication_file, &credential, err_text) != 0) return ERR_INVALID;
    if (credential.p && settings_read_credential(s, credential, err_text) != 0) return ERR_INVALID;
    return 0;
}

void settings_release(struct settings *s)
{
    environment_free(s->environment);
    if (s->executors) executors_free(s->executors);
    arena_release(&s->arena);
    memset(s, 0, sizeof(*s));
}
