/* Frameworks: the table of subscriptions (reference: mesos-scheduler, section 4), disconnects, teardown, authentication
 * status. */
#include "mesos/local/state.h"
#include "mesos/local/validate.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

struct framework *framework_find(struct master *m, const char *id)
{
    struct framework *f;
    DL_FOREACH(m->frameworks, f)
    {
        if (strcmp(f->id, id) == 0) return f;
    }
    return NULL;
}

bool framework_connected(const struct framework *f)
{
    return f->state == FRAMEWORK_CONNECTED;
}

/* Registered with this master, connected or not. */
static bool is_registered(const struct framework *f)
{
    return f->state == FRAMEWORK_CONNECTED || f->state == FRAMEWORK_DISCONNECTED;
}

struct framework *framework_by_pid(struct master *m, const struct upid *pid)
{
    struct framework *f;
    DL_FOREACH(m->frameworks, f)
    {
        if (is_registered(f) && upid_eq(&f->pid, pid)) return f;
    }
    return NULL;
}

void framework_send(struct master *m, struct framework *f, const char *name, const ProtobufCMessage *msg)
{
    m->config.io.send(&f->pid, name, msg, m->config.io.arg);
}

void framework_error(struct master *m, const struct upid *to, const char *text)
{
    Mesos__Internal__FrameworkErrorMessage msg = MESOS__INTERNAL__FRAMEWORK_ERROR_MESSAGE__INIT;
    msg.message = (char *)text;
    logline(LOG_INFO, "framework_error", "to=%s text=%s", to->id, text);
    m->config.io.send(to, "mesos.internal.FrameworkErrorMessage", &msg.base, m->config.io.arg);
}

void framework_charge(struct framework *f, const struct res *r, int sign)
{
    f->allocated_cpus += sign * res_scalar(r, "cpus");
    f->allocated_mem += sign * res_scalar(r, "mem");
}

/* ---------------- what a framework is ---------------- */

struct framework_role *framework_role(struct framework *f, const char *name)
{
    for (uint32_t i = 0; i < f->n_roles_live; i++)
        if (strcmp(f->roles[i]->name, name) == 0) return f->roles[i];
    return NULL;
}

/* Makes `name` the n-th live role. Roles that are left stay allocated behind, for what still points at their names. */
static void set_role(struct framework *f, uint32_t n, const char *name)
{
    uint32_t i = n;
    while (i < f->n_roles && strcmp(f->roles[i]->name, name) != 0) i++;
    if (i == f->n_roles) {
        f->roles = xrealloc(f->roles, (f->n_roles + 1) * sizeof(struct framework_role *));
        f->roles[f->n_roles] = xcalloc(1, sizeof **f->roles);
        f->roles[f->n_roles++]->name = xstrdup(name);
    }
    struct framework_role *r = f->roles[i];
    f->roles[i] = f->roles[n];
    f->roles[n] = r;
    r->suppressed = false;
}

static void replace(char **at, const char *value)
{
    char *old = *at;
    *at = value ? xstrdup(value) : NULL;
    free(old);
}

static unsigned capabilities(const Mesos__FrameworkInfo *info)
{
    static const struct {
        Mesos__FrameworkInfo__Capability__Type type;
        enum framework_capability bit;
    } map[] = {
        { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__REVOCABLE_RESOURCES, CAN_REVOCABLE },
        { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__TASK_KILLING_STATE, CAN_KILLING },
        { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__GPU_RESOURCES, CAN_GPUS },
        { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__PARTITION_AWARE, CAN_PARTITION },
        { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__MULTI_ROLE, CAN_ROLES },
        { MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__RESERVATION_REFINEMENT, CAN_REFINED },
    };
    unsigned bits = 0;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (framework_has(info, map[i].type)) bits |= map[i].bit;
    return bits;
}

/* user and checkpoint keep their first values (MESOS-703). */
static void update_info(struct framework *f, const Mesos__FrameworkInfo *info, char *const *suppressed, size_t n)
{
    double ms = info->has_failover_timeout ? info->failover_timeout * 1000 : 0;
    replace(&f->name, info->name);
    replace(&f->hostname, info->hostname);
    replace(&f->webui_url, info->webui_url);
    f->failover_timeout_ms = ms > 0 ? (int64_t)ms : 0;
    f->capabilities = capabilities(info);
    if (f->capabilities & CAN_ROLES) {
        for (uint32_t i = 0; i < info->n_roles; i++) set_role(f, i, info->roles[i]);
        f->n_roles_live = (uint32_t)info->n_roles;
    } else {
        set_role(f, 0, info->role);
        f->n_roles_live = 1;
    }
    for (size_t i = 0; i < n; i++) {
        struct framework_role *r = framework_role(f, suppressed[i]);
        if (r) r->suppressed = true;
    }
}

static struct framework *framework_new(struct master *m, const char *id, const Mesos__FrameworkInfo *info,
                                       const char *principal)
{
    struct framework *f = xcalloc(1, sizeof *f);
    f->m = m;
    f->id = xstrdup(id);
    f->user = xstrdup(info->user);
    f->principal = principal ? xstrdup(principal) : NULL;
    f->checkpoint = info->has_checkpoint && info->checkpoint;
    f->refusal_epoch = 1;
    DL_APPEND(m->frameworks, f);
    return f;
}

void framework_free(struct master *m, struct framework *f)
{
    assert(!f->tasks);
    assert(!f->offers);
    timer_stop(&m->timers, &f->failover);
    DL_DELETE(m->frameworks, f);
    for (uint32_t i = 0; i < f->n_roles; i++) {
        free(f->roles[i]->name);
        free(f->roles[i]);
    }
    free(f->roles);
    free(f->name);
    free(f->user);
    free(f->hostname);
    free(f->webui_url);
    free(f->principal);
    free(f->id);
    free(f);
}

/* Ends what points at the framework from the agents' side. */
static void leave_agents(struct master *m, struct framework *f)
{
    for (struct agent *a = m->agents; a; a = a->hh.next) {
        struct task *t, *next;
        DL_FOREACH_SAFE(a->tasks, t, next)
        {
            if (t->fw == f) task_drop_agent_half(m, t);
        }
        for (struct executor *e = a->executors, *after; e; e = after) {
            after = e->next;
            if (e->fw == f) executor_remove(a, e);
        }
        for (struct refusal *r = a->refusals; r; r = r->next)
            if (r->fw == f) r->fw = NULL;
    }
}

/* ---------------- completed ---------------- */

static bool is_completed(struct master *m, const char *id)
{
    struct completed *c;
    DL_FOREACH(m->completed, c)
    {
        if (strcmp(c->id, id) == 0) return true;
    }
    return false;
}

static void forget_completed(struct master *m, struct completed *c)
{
    DL_DELETE(m->completed, c);
    m->n_completed--;
    free(c->id);
    free(c);
}

static void add_completed(struct master *m, const char *id)
{
    struct completed *c = xcalloc(1, sizeof *c);
    c->id = xstrdup(id);
    DL_APPEND(m->completed, c);
    if (++m->n_completed > LIMIT_LOCAL_COMPLETED_FRAMEWORKS) forget_completed(m, m->completed);
}

void completed_clear(struct master *m)
{
    while (m->completed) forget_completed(m, m->completed);
}

/* ---------------- authentication status ---------------- */

static struct authentication *auth_find(struct master *m, const struct upid *pid)
{
    struct authentication *a = m->authentications;
    while (a && !upid_eq(&a->pid, pid)) a = a->next;
    return a;
}

void authentication_forget(struct master *m, const struct upid *pid)
{
    struct authentication *a = auth_find(m, pid);
    if (!a) return;
    LL_DELETE(m->authentications, a);
    buf_release(&a->waiting);
    free(a->principal);
    free(a);
}

static const char *authenticated_as(struct master *m, const struct upid *pid)
{
    const struct authentication *a = auth_find(m, pid);
    return a ? a->principal : NULL;
}

void master_authenticating(struct master *m, const struct upid *peer, int64_t now_ms)
{
    m->now_ms = now_ms;
    authentication_forget(m, peer);
    struct authentication *a = xcalloc(1, sizeof *a);
    a->pid = *peer;
    a->pending = true;
    LL_PREPEND(m->authentications, a);
}

void master_authenticated(struct master *m, const struct upid *peer, const char *principal, int64_t now_ms)
{
    m->now_ms = now_ms;
    struct authentication *a = auth_find(m, peer);
    if (!a || !a->pending) return;
    a->pending = false;
    struct buf waiting = a->waiting;
    a->waiting = (struct buf){ 0 };
    if (principal) {
        a->principal = xstrdup(principal);
    } else {
        authentication_forget(m, peer);
        buf_reset(&waiting);
    }
    if (waiting.len) master_receive(m, peer, STR("mesos.scheduler.Call"), waiting.data, waiting.len, now_ms);
    buf_release(&waiting);
}

/* A SUBSCRIBE that comes while its sender authenticates waits for the outcome; only the last one is kept. */
static bool queue_subscribe(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info, bool force)
{
    struct authentication *a = auth_find(m, from);
    if (!a || !a->pending) return false;
    Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
    Mesos__Scheduler__Call__Subscribe sub = MESOS__SCHEDULER__CALL__SUBSCRIBE__INIT;
    sub.framework_info = (Mesos__FrameworkInfo *)info;
    sub.has_force = true;
    sub.force = force;
    call.has_type = true;
    call.type = MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE;
    call.framework_id = info->id;
    call.subscribe = &sub;
    size_t n = mesos__scheduler__call__get_packed_size(&call);
    buf_reset(&a->waiting);
    mesos__scheduler__call__pack(&call, buf_reserve(&a->waiting, n));
    buf_commit(&a->waiting, n);
    return true;
}

static bool check_authentication(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info,
                                 struct buf *err)
{
    const char *principal = authenticated_as(m, from);
    char text[UPID_TEXT_MAX];
    if (m->config.authenticate && !principal) {
        buf_addf(err, "Framework at %s is not authenticated", upid_text(from, text));
        return false;
    }
    if (info->principal && principal && strcmp(info->principal, principal) != 0) {
        buf_addf(err, "Framework principal '%s' does not match authenticated principal '%s'", info->principal,
                 principal);
        return false;
    }
    return true;
}

/* ---------------- registration ---------------- */

static void send_registered(struct master *m, struct framework *f, bool again)
{
    Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
    Mesos__Address address = MESOS__ADDRESS__INIT;
    Mesos__MasterInfo__Capability caps[3], *list[3];
    Mesos__MasterInfo info = MESOS__MASTER_INFO__INIT;
    char pid[UPID_TEXT_MAX], ip[16];
    const uint8_t *b = (const uint8_t *)&m->config.self.ip;
    snprintf(ip, sizeof ip, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    for (int i = 0; i < 3; i++) {
        list[i] = &caps[i];
        mesos__master_info__capability__init(list[i]);
        caps[i].has_type = true;
        caps[i].type = MESOS__MASTER_INFO__CAPABILITY__TYPE__AGENT_UPDATE + i;
    }
    address.hostname = info.hostname = m->hostname;
    address.ip = ip;
    address.port = m->config.self.port;
    info.id = m->id;
    info.ip = m->config.self.ip;
    info.port = m->config.self.port;
    info.pid = (char *)upid_text(&m->config.self, pid);
    info.version = (char *)"1.12.0";
    info.address = &address;
    info.n_capabilities = 3;
    info.capabilities = list;
    id.value = f->id;
    /* Both messages have the same fields. */
    Mesos__Internal__FrameworkRegisteredMessage first = MESOS__INTERNAL__FRAMEWORK_REGISTERED_MESSAGE__INIT;
    Mesos__Internal__FrameworkReregisteredMessage next = MESOS__INTERNAL__FRAMEWORK_REREGISTERED_MESSAGE__INIT;
    first.framework_id = next.framework_id = &id;
    first.master_info = next.master_info = &info;
    if (again) {
        framework_send(m, f, "mesos.internal.FrameworkReregisteredMessage", &next.base);
    } else {
        framework_send(m, f, "mesos.internal.FrameworkRegisteredMessage", &first.base);
    }
    logline(LOG_INFO, "framework_registered", "id=%s pid=%s again=%d", f->id, f->pid.id, again);
}

static void activate(struct master *m, struct framework *f)
{
    timer_stop(&m->timers, &f->failover);
    f->state = FRAMEWORK_CONNECTED;
    if (f->active) return;
    f->active = true;
    offers_prompt_all(m);
}

/* Agents hear of the scheduler's return and send again what waits. */
static void resume_tasks(struct master *m, struct framework *f)
{
    struct task *t, *next;
    HASH_ITER(hh, f->tasks, t, next)
    {
        task_resume(m, t);
    }
}

static void subscribe_new(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info,
                          const char *principal, char *const *suppressed, size_t n_suppressed)
{
    struct framework *f = framework_by_pid(m, from);
    if (f) {
        send_registered(m, f, false);
        return;
    }
    char id[ID_BYTES];
    snprintf(id, sizeof id, "%s-%04llu", m->id, (unsigned long long)m->next_framework++);
    f = framework_new(m, id, info, principal);
    update_info(f, info, suppressed, n_suppressed);
    f->pid = *from;
    m->config.io.link(from, m->config.io.arg);
    send_registered(m, f, false);
    activate(m, f);
}

static void discard_offers(struct master *m, struct framework *f, bool rescind)
{
    struct offered *o, *next;
    DL_FOREACH_SAFE2(f->offers, o, next, fw_next)
    {
        if (rescind) {
            offer_rescind(m, o);
        } else {
            offer_discard(m, o, NULL);
        }
    }
}

/* Unknown to this master, or known from agents only: adopted as it is, whatever force says. */
static void adopt(struct master *m, struct framework *f, const struct upid *from)
{
    f->pid = *from;
    f->active = false;
    m->config.io.link(from, m->config.io.arg);
    f->state = FRAMEWORK_CONNECTED;
    send_registered(m, f, false);
    activate(m, f);
    resume_tasks(m, f);
}

static void take_over(struct master *m, struct framework *f, const struct upid *from)
{
    if (!upid_eq(&f->pid, from) && framework_connected(f)) framework_error(m, &f->pid, "Framework failed over");
    f->pid = *from;
    m->config.io.link(from, m->config.io.arg);
    discard_offers(m, f, false);
    f->state = FRAMEWORK_CONNECTED;
    send_registered(m, f, false);
    activate(m, f);
    offers_prompt_all(m);
    resume_tasks(m, f);
}

static void subscribe_again(struct master *m, struct framework *f, const struct upid *from)
{
    discard_offers(m, f, true);
    m->config.io.link(from, m->config.io.arg);
    f->state = FRAMEWORK_CONNECTED;
    send_registered(m, f, true);
    activate(m, f);
    resume_tasks(m, f);
}

static bool same_principal(const struct framework *f, const char *principal)
{
    return strcmp(f->principal ? f->principal : "", principal ? principal : "") == 0 && !f->principal == !principal;
}

static void subscribe_known(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info, bool force,
                            const char *principal, char *const *suppressed, size_t n_suppressed)
{
    struct framework *f = framework_by_pid(m, from);
    /* Another framework is at this address: an error would go to it, so nothing is said. */
    if (f && strcmp(f->id, info->id->value) != 0) return;
    f = framework_find(m, info->id->value);
    if (!f) f = framework_new(m, info->id->value, info, principal);
    if (f->state != FRAMEWORK_ABSENT && !same_principal(f, principal)) {
        framework_error(m, from, "Changing framework's principal is not allowed.");
        return;
    }
    if (is_registered(f) && !upid_eq(&f->pid, from) && !force) {
        framework_error(m, from, "Framework failed over");
        return;
    }
    update_info(f, info, suppressed, n_suppressed);
    if (!is_registered(f)) {
        replace(&f->principal, principal);
        adopt(m, f, from);
    } else if (force) {
        take_over(m, f, from);
    } else {
        subscribe_again(m, f, from);
    }
}

static bool check_suppressed(const Mesos__FrameworkInfo *info, char *const *suppressed, size_t n, struct buf *err)
{
    bool multi = framework_has(info, MESOS__FRAMEWORK_INFO__CAPABILITY__TYPE__MULTI_ROLE);
    for (size_t i = 0; i < n; i++) {
        bool known = !multi && strcmp(info->role, suppressed[i]) == 0;
        for (size_t j = 0; multi && j < info->n_roles; j++) known = known || strcmp(info->roles[j], suppressed[i]) == 0;
        if (known) continue;
        buf_addf(err, "Suppressed roles { %s } are not contained in the set of roles", suppressed[i]);
        return false;
    }
    return true;
}

static bool check_subscribe(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info,
                            char *const *suppressed, size_t n_suppressed, struct buf *err)
{
    if (!validate_framework_info(info, err)) return false;
    if (info->id && is_completed(m, info->id->value)) {
        buf_adds(err, "Framework has been removed");
        return false;
    }
    if (!check_authentication(m, from, info, err)) return false;
    return check_suppressed(info, suppressed, n_suppressed, err);
}

void framework_subscribe(struct master *m, const struct upid *from, const Mesos__FrameworkInfo *info, bool force,
                         char *const *suppressed, size_t n_suppressed)
{
    struct buf err = { 0 };
    if (queue_subscribe(m, from, info, force)) return;
    if (!check_subscribe(m, from, info, suppressed, n_suppressed, &err)) {
        framework_error(m, from, buf_cstr(&err));
        buf_release(&err);
        return;
    }
    const char *principal = info->principal ? info->principal : authenticated_as(m, from);
    if (info->id && info->id->value[0]) {
        subscribe_known(m, from, info, force, principal, suppressed, n_suppressed);
    } else {
        subscribe_new(m, from, info, principal, suppressed, n_suppressed);
    }
}

/* ---------------- the end of a connection or a framework ---------------- */

void framework_deactivate(struct master *m, struct framework *f, bool rescind)
{
    if (!f->active) return;
    f->active = false;
    discard_offers(m, f, rescind);
}

static void failover_timeout(struct timer *timer, void *arg)
{
    struct framework *f = arg;
    (void)timer;
    assert(f->state == FRAMEWORK_DISCONNECTED);
    framework_teardown(f->m, f);
}

void framework_disconnect(struct master *m, struct framework *f)
{
    framework_deactivate(m, f, true);
    authentication_forget(m, &f->pid);
    f->state = FRAMEWORK_DISCONNECTED;
    logline(LOG_INFO, "framework_disconnected", "id=%s failover_timeout_ms=%lld", f->id,
            (long long)f->failover_timeout_ms);
    timer_start(&m->timers, &f->failover, m->now_ms + f->failover_timeout_ms, failover_timeout, f);
}

void master_exited(struct master *m, const struct upid *peer, int64_t now_ms)
{
    m->now_ms = now_ms;
    struct framework *f = framework_by_pid(m, peer);
    if (!f || !framework_connected(f)) return;
    framework_error(m, &f->pid, "Framework disconnected");
    framework_disconnect(m, f);
}

int master_disconnect(struct master *m, const char *framework_id, int64_t now_ms)
{
    struct framework *f = framework_find(m, framework_id);
    if (!f || !framework_connected(f)) return ERR_NOT_FOUND;
    struct upid pid = f->pid;
    master_exited(m, &pid, now_ms);
    return 0;
}

void framework_teardown(struct master *m, struct framework *f)
{
    struct task *t, *next;
    logline(LOG_INFO, "framework_removed", "id=%s", f->id);
    framework_deactivate(m, f, false);
    HASH_ITER(hh, f->tasks, t, next)
    {
        if (t->at_master) task_set_state(m, t, MESOS__TASK_STATE__TASK_KILLED);
        task_drop_master_half(m, t);
    }
    leave_agents(m, f);
    if (is_registered(f)) authentication_forget(m, &f->pid);
    add_completed(m, f->id);
    framework_free(m, f);
}

/* A framework that agents have tasks of. */
static bool has_tasks(struct master *m, const struct framework *f)
{
    for (struct agent *a = m->agents; a; a = a->hh.next) {
        struct task *t;
        DL_FOREACH(a->tasks, t)
        {
            if (t->fw == f) return true;
        }
        for (struct executor *e = a->executors; e; e = e->next)
            if (e->fw == f) return true;
    }
    return false;
}

void framework_forget(struct master *m, struct framework *f)
{
    struct task *t, *next;
    struct offered *o, *after;
    DL_FOREACH_SAFE2(f->offers, o, after, fw_next)
    {
        offer_discard(m, o, NULL);
    }
    HASH_ITER(hh, f->tasks, t, next)
    {
        task_drop_master_half(m, t);
    }
    timer_stop(&m->timers, &f->failover);
    f->state = FRAMEWORK_ABSENT;
    f->active = false;
    f->allocated_cpus = f->allocated_mem = 0;
    f->refusal_epoch++;
    if (!has_tasks(m, f)) framework_free(m, f);
}
