#include "mesos/local/validate.h"

#include <limits.h>
#include <math.h>

/* Reads as a check: false with a reason. */
static bool fail(struct buf *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct buf *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(err, fmt, ap);
    va_end(ap);
    return false;
}

/* Puts `prefix` before the reason that a nested check left in `inner`. */
static bool nested(struct buf *err, const char *prefix, struct buf *inner)
{
    buf_addf(err, "%s%s", prefix, buf_cstr(inner));
    buf_release(inner);
    return false;
}

/* ---------------- ids, roles ---------------- */

bool validate_id(const char *id, struct buf *err)
{
    size_t n = strlen(id);
    if (n == 0) return fail(err, "ID must not be empty");
    if (n > NAME_MAX) return fail(err, "ID must not be greater than %d characters", NAME_MAX);
    if (strcmp(id, ".") == 0 || strcmp(id, "..") == 0) return fail(err, "'%s' is disallowed", id);
    for (const unsigned char *c = (const unsigned char *)id; *c; c++)
        if (*c < 0x20 || *c == 0x7f || *c == '/' || *c == '\\')
            return fail(err, "'%s' contains invalid characters", id);
    return true;
}

static bool role_component(const char *role, const char *part, size_t n, struct buf *err)
{
    if (n == 1 && part[0] == '.') return fail(err, "Role '%s' cannot include '.' as a component", role);
    if (n == 2 && part[0] == '.' && part[1] == '.')
        return fail(err, "Role '%s' cannot include '..' as a component", role);
    if (n == 1 && part[0] == '*') return fail(err, "Role '%s' cannot include '*' as a component", role);
    if (part[0] == '-')
        return fail(err, "Role component '%.*s' is invalid because it starts with a dash", (int)n, part);
    for (size_t i = 0; i < n; i++)
        if (strchr("\x09\x0a\x0b\x0c\x0d\x20\x7f", part[i]))
            return fail(err, "Role component '%.*s' is invalid because it contains backspace or whitespace", (int)n,
                        part);
    return true;
}

bool validate_role(const char *role, struct buf *err)
{
    size_t n = strlen(role);
    if (strcmp(role, "*") == 0) return true;
    if (n && role[0] == '/') return fail(err, "Role '%s' cannot start with a slash", role);
    if (n && role[n - 1] == '/') return fail(err, "Role '%s' cannot end with a slash", role);
    if (strstr(role, "//")) return fail(err, "Role '%s' cannot contain two adjacent slashes", role);
    if (!n) return fail(err, "Role names cannot be the empty string");
    for (const char *part = role; part;) {
        const char *slash = strchr(part, '/');
        if (!role_component(role, part, slash ? (size_t)(slash - part) : strlen(part), err)) return false;
        part = slash ? slash + 1 : NULL;
    }
    return true;
}

/* ---------------- frameworks ---------------- */

bool framework_has(const Mesos__FrameworkInfo *info, Mesos__FrameworkInfo__Capability__Type type)
{
    for (size_t i = 0; i < info->n_capabilities; i++)
        if (info->capabilities[i]->has_type && info->capabilities[i]->type == type) return true;
    return false;
}

static bool validate_roles(const Mesos__FrameworkInfo *info, struct buf *err)
{
    static const Mesos__FrameworkInfo blank = MESOS__FRAMEWORK_INFO__INIT;
    struct buf why = { 0 };
    bool multi = framework_has(info, MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__MULTI_ROLE);
    if (!multi && info->n_roles)
        return fail(err, "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable");
    if (!multi && !validate_role(info->role, &why))
        return nested(err, "'FrameworkInfo.role' is not a valid role: ", &why);
    if (!multi) return true;
    if (info->role != blank.role)
        return fail(err, "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable");
    for (size_t i = 0; i < info->n_roles; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(info->roles[i], info->roles[j]) == 0)
                return fail(err, "'FrameworkInfo.roles' contains duplicate items: { %s }", info->roles[i]);
    for (size_t i = 0; i < info->n_roles; i++)
        if (!validate_role(info->roles[i], &why))
            return nested(err, "'FrameworkInfo.roles' contains invalid role: ", &why);
    return true;
}

bool validate_framework_info(const Mesos__FrameworkInfo *info, struct buf *err)
{
    if (!validate_roles(info, err)) return false;
    if (info->id && info->id->value[0] && !validate_id(info->id->value, err)) return false;
    /* What 64 bits of nanoseconds hold; written so that NaN passes, as it does there. */
    double ns = info->has_failover_timeout ? info->failover_timeout * 1e9 : 0;
    if (ns > (double)INT64_MAX || ns < (double)INT64_MIN)
        return fail(err, "The framework failover_timeout (%g) is invalid", info->failover_timeout);
    return true;
}

/* ---------------- calls ---------------- */

bool validate_uuid(const uint8_t *p, size_t n)
{
    if (n != 16) return false;
    unsigned version = p[6] >> 4;
    return version >= 1 && version <= 5;
}

static bool validate_subscribe(const Mesos__Scheduler__Call *call, struct buf *err)
{
    if (!call->subscribe) return fail(err, "Expecting 'subscribe' to be present");
    const Mesos__FrameworkID *id = call->subscribe->framework_info->id;
    if (strcmp(id ? id->value : "", call->framework_id ? call->framework_id->value : "") != 0)
        return fail(err, "'framework_id' differs from 'subscribe.framework_info.id'");
    return true;
}

bool validate_call(const Mesos__Scheduler__Call *call, struct buf *err)
{
    if (!call->has_type) return fail(err, "Expecting 'type' to be present");
    if (call->type == MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE) return validate_subscribe(call, err);
    if (!call->framework_id) return fail(err, "Expecting 'framework_id' to be present");
    switch (call->type) {
#define NEEDS(TYPE, field)                                                                                             \
    case MESOS__SCHEDULER__CALL__TYPE__##TYPE:                                                                         \
        return call->field ? true : fail(err, "Expecting '" #field "' to be present")
        NEEDS(ACCEPT, accept);
        NEEDS(DECLINE, decline);
        NEEDS(ACCEPT_INVERSE_OFFERS, accept_inverse_offers);
        NEEDS(DECLINE_INVERSE_OFFERS, decline_inverse_offers);
        NEEDS(KILL, kill);
        NEEDS(SHUTDOWN, shutdown);
        NEEDS(RECONCILE, reconcile);
        NEEDS(MESSAGE, message);
        NEEDS(REQUEST, request);
#undef NEEDS
    case MESOS__SCHEDULER__CALL__TYPE__ACKNOWLEDGE:
        if (!call->acknowledge) return fail(err, "Expecting 'acknowledge' to be present");
        if (!validate_uuid(call->acknowledge->uuid.data, call->acknowledge->uuid.len))
            return fail(err, "Not a valid UUID");
        return true;
    default:
        return true;
    }
}

/* ---------------- resources ---------------- */

static bool validate_value(const Mesos__Resource *r, struct buf *err)
{
    switch (r->type) {
    case MESOS__VALUE__TYPE__SCALAR:
        if (!r->scalar || r->ranges || r->set) return fail(err, "Invalid scalar resource");
        if (!isfinite(r->scalar->value) || fabs(r->scalar->value) > 1e15)
            return fail(err, "Invalid scalar resource: value is not a number of use");
        if (r->scalar->value != 0 && res_milli(r->scalar->value) <= 0)
            return fail(err, "Invalid scalar resource: value <= 0");
        return true;
    case MESOS__VALUE__TYPE__RANGES:
        if (r->scalar || !r->ranges || r->set) return fail(err, "Invalid ranges resource");
        for (size_t i = 0; i < r->ranges->n_range; i++) {
            const Mesos__Value__Range *a = r->ranges->range[i];
            if (a->begin > a->end) return fail(err, "Invalid ranges resource: begin > end");
            for (size_t j = i + 1; j < r->ranges->n_range; j++)
                if (a->begin <= r->ranges->range[j]->begin && r->ranges->range[j]->begin <= a->end)
                    return fail(err, "Invalid ranges resource: overlapping ranges");
        }
        return true;
    case MESOS__VALUE__TYPE__SET:
        if (r->scalar || r->ranges || !r->set) return fail(err, "Invalid set resource");
        for (size_t i = 0; i < r->set->n_item; i++)
            for (size_t j = i + 1; j < r->set->n_item; j++)
                if (strcmp(r->set->item[i], r->set->item[j]) == 0)
                    return fail(err, "Invalid set resource: duplicated elements");
        return true;
    default:
        return fail(err, "Unsupported resource type");
    }
}

static bool validate_reservations(const Mesos__Resource *r, struct buf *err)
{
    for (size_t i = 0; i < r->n_reservations; i++) {
        const Mesos__Resource__ReservationInfo *v = r->reservations[i];
        if (!v->has_type) return fail(err, "Invalid reservation: 'Resource.ReservationInfo.type' field must be set.");
        if (!v->role) return fail(err, "Invalid reservation: 'Resource.ReservationInfo.role' field must be set.");
        if (!validate_role(v->role, err)) return false;
        if (strcmp(v->role, "*") == 0) return fail(err, "Invalid reservation: role \"*\" cannot be reserved");
    }
    if (r->n_reservations) return true;
    if (!validate_role(r->role, err)) return false;
    if (!r->reservation) return true;
    if (r->reservation->has_type)
        return fail(err, "'Resource.ReservationInfo.type' must not be set for the 'Resource.reservation' field");
    if (r->reservation->role)
        return fail(err, "'Resource.ReservationInfo.role' must not be set for the 'Resource.reservation' field");
    if (strcmp(r->role, "*") == 0) return fail(err, "Invalid reservation: role \"*\" cannot be dynamically reserved");
    return true;
}

static bool validate_resource(const Mesos__Resource *r, struct buf *err)
{
    if (!r->name[0]) return fail(err, "Empty resource name");
    if (!validate_value(r, err)) return false;
    if (r->disk && strcmp(r->name, "disk") != 0)
        return fail(err, "DiskInfo should not be set for %s resource", r->name);
    if (!validate_reservations(r, err)) return false;
    if (r->shared && strcmp(r->name, "disk") != 0) return fail(err, "Resource %s cannot be shared", r->name);
    if (r->shared && (!r->disk || !r->disk->persistence)) return fail(err, "Only persistent volumes can be shared");
    return true;
}

static bool validate_resource_list(Mesos__Resource *const *v, size_t n, struct buf *err)
{
    for (size_t i = 0; i < n; i++) {
        struct buf why = { 0 };
        if (validate_resource(v[i], &why)) continue;
        buf_adds(err, "Resource '");
        res_text_proto(v[i], err);
        return nested(err, "' is invalid: ", &why);
    }
    return true;
}

bool validate_operation(const Mesos__Offer__Operation *op, struct buf *err)
{
    if (op->type != MESOS__OFFER__OPERATION__TYPE__LAUNCH) return true;
    if (!op->launch) return fail(err, "A LAUNCH offer operation must have the Offer.Operation.launch field set.");
    for (size_t i = 0; i < op->launch->n_task_infos; i++) {
        const Mesos__TaskInfo *t = op->launch->task_infos[i];
        if (!validate_resource_list(t->resources, t->n_resources, err)) return false;
        if (t->executor && !validate_resource_list(t->executor->resources, t->executor->n_resources, err)) return false;
    }
    return true;
}

/* Fractions of gpus are refused; volumes need what they name. */
static bool validate_special(Mesos__Resource *const *v, size_t n, struct buf *err)
{
    int64_t gpus = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i]->name, "gpus") == 0 && v[i]->scalar) gpus += res_milli(v[i]->scalar->value);
    if (gpus % 1000) return fail(err, "Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer");
    for (size_t i = 0; i < n; i++) {
        const Mesos__Resource__DiskInfo *d = v[i]->disk;
        if (!d || d->persistence) continue;
        if (d->volume) return fail(err, "Invalid DiskInfo: Non-persistent volume not supported");
        if (!d->source) return fail(err, "Invalid DiskInfo: DiskInfo is set but empty");
    }
    return true;
}

/* The role that resources without allocation_info get is the offer's. */
static const char *allocation_role(const Mesos__Resource *r, const char *offered)
{
    return r->allocation_info && r->allocation_info->role ? r->allocation_info->role : offered;
}

static bool validate_single_role(Mesos__Resource *const *v, size_t n, const char *offered, struct buf *err)
{
    for (size_t i = 1; i < n; i++) {
        const char *first = allocation_role(v[0], offered), *role = allocation_role(v[i], offered);
        if (strcmp(first, role) != 0)
            return fail(err,
                        "The resources have multiple allocation roles ('%s' and '%s') but only one allocation role is "
                        "allowed",
                        role, first);
    }
    return true;
}

static bool validate_not_mixed(Mesos__Resource *const *v, size_t n, struct buf *err)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(v[i]->name, v[j]->name) == 0 && !v[i]->revocable != !v[j]->revocable)
                return fail(err, "Cannot use both revocable and non-revocable '%s' at the same time", v[i]->name);
    return true;
}

static bool validate_set(Mesos__Resource *const *v, size_t n, const char *role, const char *who, const char *whose,
                         struct buf *err)
{
    struct buf why = { 0 };
    if (!validate_special(v, n, &why)) {
        buf_adds(err, who);
        return nested(err, " uses invalid resources: ", &why);
    }
    if (!validate_single_role(v, n, role, &why)) {
        buf_addf(err, "Invalid %s", whose);
        return nested(err, " resources: ", &why);
    }
    if (!validate_not_mixed(v, n, &why)) {
        buf_adds(err, who);
        return nested(err, " mixes revocable and non-revocable resources: ", &why);
    }
    return true;
}

/* ---------------- commands and containers ---------------- */

static bool validate_variable(const Mesos__Environment__Variable *v, struct buf *err)
{
    switch (v->type) {
    case MESOS__ENVIRONMENT__VARIABLE__TYPE__VALUE:
        if (!v->value) return fail(err, "Environment variable '%s' of type 'VALUE' must have a value set", v->name);
        if (v->secret)
            return fail(err, "Environment variable '%s' of type 'VALUE' must not have a secret set", v->name);
        return true;
    case MESOS__ENVIRONMENT__VARIABLE__TYPE__SECRET:
        if (!v->secret) return fail(err, "Environment variable '%s' of type 'SECRET' must have a secret set", v->name);
        if (v->value) return fail(err, "Environment variable '%s' of type 'SECRET' must not have a value set", v->name);
        return true;
    default:
        return fail(err, "Environment variable of type 'UNKNOWN' is not allowed");
    }
}

static bool validate_command(const Mesos__CommandInfo *c, struct buf *err)
{
    for (size_t i = 0; c->environment && i < c->environment->n_variables; i++)
        if (!validate_variable(c->environment->variables[i], err)) return false;
    return true;
}

/* Sources that this program never reads arrive as unknown fields; their presence still counts. */
static bool has_field(const ProtobufCMessage *m, uint32_t tag)
{
    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        if (m->unknown_fields[i].tag == tag) return true;
    return false;
}

static bool validate_volume_source(const Mesos__Volume__Source *s, struct buf *err)
{
    switch (s->has_type ? s->type : MESOS__VOLUME__SOURCE__TYPE__UNKNOWN) {
    case MESOS__VOLUME__SOURCE__TYPE__DOCKER_VOLUME:
        return s->docker_volume || fail(err, "'source.docker_volume' is not set for DOCKER_VOLUME volume");
    case MESOS__VOLUME__SOURCE__TYPE__HOST_PATH:
        return has_field(&s->base, 5) || fail(err, "'source.host_path' is not set for HOST_PATH volume");
    case MESOS__VOLUME__SOURCE__TYPE__SANDBOX_PATH:
        return has_field(&s->base, 3) || fail(err, "'source.sandbox_path' is not set for SANDBOX_PATH volume");
    case MESOS__VOLUME__SOURCE__TYPE__SECRET:
        return has_field(&s->base, 4) || fail(err, "'source.secret' is not set for SECRET volume");
    case MESOS__VOLUME__SOURCE__TYPE__CSI_VOLUME:
        return has_field(&s->base, 6) || fail(err, "'source.csi_volume' is not set for CSI volume");
    default:
        return fail(err, "'source.type' is unknown");
    }
}

static bool validate_container(const Mesos__ContainerInfo *c, struct buf *err)
{
    for (size_t i = 0; i < c->n_volumes; i++) {
        const Mesos__Volume *v = c->volumes[i];
        struct buf why = { 0 };
        if (!!v->host_path + !!v->image + !!v->source != 1)
            return fail(err, "Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'");
        if (v->source && !validate_volume_source(v->source, &why)) return nested(err, "Invalid volume: ", &why);
    }
    if (c->type != MESOS__CONTAINER_INFO__TYPE__DOCKER) return true;
    if (!c->docker) return fail(err, "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo");
    for (size_t i = 0; i < c->docker->n_parameters; i++)
        if (strcmp(c->docker->parameters[i]->key, "name") == 0)
            return fail(err, "Parameter in DockerInfo must not be 'name'");
    return true;
}

/* ---------------- executors ---------------- */

void executor_identity(const Mesos__ExecutorInfo *e, const char *framework_id, struct buf *out)
{
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    Mesos__ExecutorInfo filled = *e;
    id.value = (char *)framework_id;
    if (!filled.framework_id) filled.framework_id = &id;
    size_t n = mesos__executor_info__get_packed_size(&filled);
    mesos__executor_info__pack(&filled, buf_reserve(out, n));
    buf_commit(out, n);
}

static bool validate_executor_info(const Mesos__ExecutorInfo *e, struct buf *err)
{
    struct buf why = { 0 };
    if (e->has_type && e->type == MESOS__EXECUTOR_INFO__TYPE__DEFAULT && e->command)
        return fail(err, "'ExecutorInfo.command' must not be set for 'DEFAULT' executor");
    if (e->has_type && e->type == MESOS__EXECUTOR_INFO__TYPE__CUSTOM && !e->command)
        return fail(err, "'ExecutorInfo.command' must be set for 'CUSTOM' executor");
    if (!validate_id(e->executor_id->value, err)) return false;
    if (e->shutdown_grace_period && e->shutdown_grace_period->nanoseconds < 0)
        return fail(err, "ExecutorInfo's 'shutdown_grace_period' must be non-negative");
    if (e->command && !validate_command(e->command, &why))
        return nested(err, "Executor's `CommandInfo` is invalid: ", &why);
    if (e->container && !validate_container(e->container, &why))
        return nested(err, "Executor's `ContainerInfo` is invalid: ", &why);
    return true;
}

static bool validate_compatible(const struct launch_context *c, const Mesos__ExecutorInfo *e, struct buf *err)
{
    struct str running = c->executor(e->executor_id->value, c->arg);
    if (!running.p) return true;
    struct buf mine = { 0 };
    executor_identity(e, c->framework_id, &mine);
    bool same = str_eq(running, (struct str){ (const char *)mine.data, (uint32_t)mine.len });
    buf_release(&mine);
    return same || fail(err, "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n");
}

static bool validate_executor(const struct launch_context *c, const Mesos__ExecutorInfo *e, struct buf *err)
{
    if (!validate_executor_info(e, err)) return false;
    if (e->framework_id && strcmp(e->framework_id->value, c->framework_id) != 0)
        return fail(err, "ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", e->framework_id->value,
                    c->framework_id);
    if (!validate_set(e->resources, e->n_resources, c->role, "Executor", "executor", err)) return false;
    if (!validate_compatible(c, e, err)) return false;
    if (e->has_type && e->type != MESOS__EXECUTOR_INFO__TYPE__CUSTOM)
        return fail(err, "'ExecutorInfo.type' must be 'CUSTOM'");
    if (!e->command) return fail(err, "'ExecutorInfo.command' must be set");
    return true;
}

/* ---------------- tasks ---------------- */

static bool validate_task_id(const struct launch_context *c, const Mesos__TaskInfo *t, struct buf *err)
{
    const char *id = t->task_id->value;
    if (!validate_id(id, err)) return false;
    enum task_known known = c->known(id, c->arg);
    if (known == TASK_KNOWN) return fail(err, "Task has duplicate ID: %s", id);
    if (known == TASK_KNOWN_UNREACHABLE) return fail(err, "Task reuses the ID of an unreachable task: %s", id);
    if (strcmp(t->slave_id->value, c->agent_id) != 0)
        return fail(err, "Task uses invalid agent %s while agent %s is expected", t->slave_id->value, c->agent_id);
    return true;
}

static bool validate_task_info(const struct launch_context *c, const Mesos__TaskInfo *t, struct buf *err)
{
    struct buf why = { 0 };
    if (!validate_task_id(c, t, err)) return false;
    if (t->kill_policy && t->kill_policy->grace_period && t->kill_policy->grace_period->nanoseconds < 0)
        return fail(err, "Task's 'kill_policy.grace_period' must be non-negative");
    if (t->max_completion_time && t->max_completion_time->nanoseconds < 0)
        return fail(err, "Task's `max_completion_time` must be non-negative");
    if (!t->n_resources) return fail(err, "Task uses no resources");
    if (!validate_set(t->resources, t->n_resources, c->role, "Task", "task", err)) return false;
    if (t->command && !validate_command(t->command, &why))
        return nested(err, "Task's `CommandInfo` is invalid: ", &why);
    if (t->container && !validate_container(t->container, &why))
        return nested(err, "Task's `ContainerInfo` is invalid: ", &why);
    return true;
}

/* Both together: nothing twice, nothing revocable beside the same thing that isn't. */
static bool validate_together(const struct launch_context *c, const Mesos__TaskInfo *t, struct buf *err)
{
    const Mesos__ExecutorInfo *e = t->executor;
    struct res task = { 0 }, executor = { 0 };
    res_add_proto(c->table, &task, t->resources, t->n_resources);
    res_add_proto(c->table, &executor, e->resources, e->n_resources);
    bool ok = !res_overlap(&task, &executor);
    if (!ok) {
        buf_adds(err, "There are overlapping resources in the task resources ");
        res_text(&task, c->role, err);
        buf_adds(err, " and executor resources ");
        res_text(&executor, c->role, err);
    }
    for (size_t i = 0; ok && i < t->n_resources; i++)
        for (size_t j = 0; ok && j < e->n_resources; j++)
            if (strcmp(t->resources[i]->name, e->resources[j]->name) == 0 &&
                !t->resources[i]->revocable != !e->resources[j]->revocable)
                ok = fail(err,
                          "Task and its executor mix revocable and non-revocable resources: Cannot use both revocable "
                          "and non-revocable '%s' at the same time",
                          t->resources[i]->name);
    res_release(&task);
    res_release(&executor);
    return ok;
}

/* Everything that the launch takes is in the offers, and was allocated to the same role. */
static bool validate_fits(const struct launch_context *c, const Mesos__TaskInfo *t, bool new_executor,
                          struct res *ret_total, struct buf *err)
{
    const char *role = allocation_role(t->resources[0], c->role);
    struct res total = { 0 };
    res_add_proto(c->table, &total, t->resources, t->n_resources);
    bool ok = strcmp(role, c->role) == 0;
    if (new_executor && t->executor->n_resources) {
        res_add_proto(c->table, &total, t->executor->resources, t->executor->n_resources);
        ok = ok && strcmp(allocation_role(t->executor->resources[0], c->role), role) == 0;
    }
    if (ok && res_contains(c->available, &total)) {
        *ret_total = total;
        return true;
    }
    buf_adds(err, "Total resources ");
    res_text(&total, role, err);
    buf_adds(err, " required by task and its executor is more than available ");
    res_text(c->available, c->role, err);
    res_release(&total);
    return false;
}

bool validate_task(const struct launch_context *c, const Mesos__TaskInfo *t, struct res *ret_total, struct buf *err)
{
    if (!validate_task_info(c, t, err)) return false;
    if (!t->executor == !t->command)
        return fail(err, "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present");
    if (t->executor && !validate_executor(c, t->executor, err)) return false;
    if (t->executor && !validate_together(c, t, err)) return false;
    bool new_executor = t->executor && !c->executor(t->executor->executor_id->value, c->arg).p;
    return validate_fits(c, t, new_executor, ret_total, err);
}
