#include "mesos/driver_internal.h"

#include "mesos/proto.h"
#include "mesos/proto_json.h"

#include "core/err.h"
#include "core/logline.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "mesos/messages.pb-c.h"

enum {
    REGISTRATION_BACKOFF_MS = 2000,
    REGISTRATION_BACKOFF_MAX_MS = 60000,
    RETRY_BACKOFF_MS = 1000,
    RETRY_BACKOFF_MAX_MS = 10000, /* a master at a fixed address may be back at any moment */
    AUTHENTICATION_TIMEOUT_MIN_MS = 5000,
    AUTHENTICATION_TIMEOUT_MAX_MS = 60000,
    TEARDOWN_MS = 500,
};

static void on_deadline(uv_timer_t *t);

/* ---------------- the registration table ---------------- */

static void enter(struct driver *d, enum registration_move move)
{
    int next = registration_next(d->state, move);
    assert(next >= 0);
    bool was_connected = d->state == REG_CONNECTED;
    if (next != (int)d->state)
        logline(d->broken_again && next != REG_CONNECTED ? LOG_DEBUG : LOG_INFO, "mesos_registration", "from=%s to=%s",
                registration_name(d->state), registration_name((enum registration_state)next));
    d->state = (enum registration_state)next;
    if (d->state == REG_CONNECTED) {
        d->broken[0] = 0;
        d->broken_again = false;
    }
    uv_timer_stop(&d->timer);
    auth_end(d);
    if (!was_connected || d->state == REG_CONNECTED) return;
    offer_table_release(&d->offers);
    stat_set(d->stats.registered, 0);
    if (d->closing) return;
    stat_add(d->stats.disconnects, 1);
    struct sched_event ev = { .type = EV_DISCONNECTED };
    driver_emit(d, &ev);
}

void driver_set_deadline(struct driver *d, int64_t delay_ms)
{
    uv_timer_start(&d->timer, on_deadline, (uint64_t)delay_ms, 0);
}

static void authenticate(struct driver *d)
{
    enter(d, MOVE_AUTHENTICATE);
    if (d->state != REG_AUTHENTICATING) return;
    lp_link(d->self, &d->master);
    auth_start(d);
}

static void subscribe(struct driver *d)
{
    enter(d, MOVE_SUBSCRIBE);
    if (d->state != REG_SUBSCRIBING) return;
    lp_link(d->self, &d->master);
    driver_send_subscribe(d);
    driver_set_deadline(d, backoff_next(&d->subscribe_backoff, &d->rng));
}

static void begin_attempt(struct driver *d)
{
    if (d->c.principal.p)
        authenticate(d);
    else
        subscribe(d);
}

static void on_deadline(uv_timer_t *t)
{
    struct driver *d = t->data;
    switch (d->state) {
    case REG_WAITING:
        begin_attempt(d);
        break;
    case REG_AUTHENTICATING:
        logline(LOG_WARN, "mesos_authentication_timeout", "principal=%.*s", STR_ARG(d->c.principal));
        patience_failed(&d->auth.patience);
        authenticate(d);
        break;
    case REG_SUBSCRIBING:
        subscribe(d);
        break;
    default:
        assert(0);
    }
}

void driver_authenticated(struct driver *d)
{
    logline(LOG_INFO, "mesos_authenticated", "principal=%.*s", STR_ARG(d->c.principal));
    patience_reset(&d->auth.patience);
    subscribe(d);
}

void driver_registered(struct driver *d, struct str framework_id, bool first)
{
    if (!d->framework_id.p || !str_eq(d->framework_id, framework_id)) {
        free((char *)d->framework_id.p);
        d->framework_id = (struct str){ xstrndup(framework_id.p, framework_id.n), framework_id.n };
    }
    enter(d, MOVE_REGISTERED);
    d->take_over = false;
    backoff_reset(&d->subscribe_backoff);
    backoff_reset(&d->retry_backoff);
    stat_set(d->stats.registered, 1);
    if (!first) stat_add(d->stats.reregisters, 1);
    logline(LOG_INFO, "mesos_registered", "framework=%.*s first=%d", STR_ARG(framework_id), first);
    if (d->suppressed) driver_suppress(d);
    struct sched_event ev = { .type = EV_REGISTERED };
    ev.registered.framework_id = d->framework_id;
    ev.registered.first = first;
    driver_emit(d, &ev);
}

void driver_broken(struct driver *d, const char *why)
{
    assert(d->state != REG_ENDED);
    bool at_once = d->state == REG_CONNECTED;
    /* One line for a loss, however often it is tried in vain from then on. */
    d->broken_again = strncmp(why, d->broken, sizeof(d->broken) - 1) == 0;
    (void)snprintf(d->broken, sizeof(d->broken), "%s", why);
    logline(d->broken_again ? LOG_DEBUG : LOG_WARN, "mesos_broken", "state=%s why=\"%s\"", registration_name(d->state),
            why);
    enter(d, MOVE_BROKEN);
    if (d->state != REG_WAITING) return;
    driver_set_deadline(d, at_once ? 0 : backoff_next(&d->retry_backoff, &d->rng));
}

void driver_fatal(struct driver *d, const char *why)
{
    logline(LOG_ERROR, "mesos_refused", "why=\"%s\"", why);
    if (d->state == REG_CONNECTED) {
        Mesos__Internal__DeactivateFrameworkMessage m = MESOS__INTERNAL__DEACTIVATE_FRAMEWORK_MESSAGE__INIT;
        Mesos__FrameworkID id = MESOS__FRAMEWORK_ID__INIT;
        id.value = (char *)d->framework_id.p;
        m.framework_id = &id;
        driver_send(d, "mesos.internal.DeactivateFrameworkMessage", &m);
    }
    enter(d, MOVE_END);
    if (!d->closing) d->c.on_fatal(why, d->c.arg);
}

/* ---------------- sending, events ---------------- */

bool driver_is_master(const struct driver *d, const struct upid *from)
{
    return d->state != REG_DETACHED && upid_eq(&d->master, from);
}

void driver_send(struct driver *d, const char *name, const void *message)
{
    struct buf b = { 0 };
    proto_pack(message, &b);
    int err = lp_send(d->self, &d->master, name, b.data, b.len);
    if (err) logline(LOG_ERROR, "mesos_send", "message=%s bytes=%zu error=\"%s\"", name, b.len, err_str(err));
    buf_release(&b);
}

void driver_emit(struct driver *d, struct sched_event *ev)
{
    assert(!d->closing);
    ev->now_ms = d->c.now_ms(d->c.arg);
    d->c.on_event(ev, d->c.arg);
}

/* ---------------- life ---------------- */

static void finish_close(uv_handle_t *h)
{
    struct driver *d = h->data;
    if (--d->open_timers > 0) return;
    void (*cb)(void *) = d->on_closed;
    void *arg = d->on_closed_arg;
    offer_table_release(&d->offers);
    local_updates_release(&d->local);
    free((char *)d->framework_id.p);
    arena_release(&d->strings);
    free(d);
    cb(arg);
}

static void close_now(struct driver *d)
{
    auth_end(d);
    lp_terminate(d->self);
    uv_close((uv_handle_t *)&d->timer, finish_close);
    uv_close((uv_handle_t *)&d->local_timer, finish_close);
}

static void on_torn_down(uv_timer_t *t)
{
    close_now(t->data);
}

static void on_exited(struct lp_process *p, const struct upid *peer, void *arg)
{
    struct driver *d = arg;
    (void)p;
    if (!upid_eq(peer, &d->master)) return;
    if (d->state == REG_DETACHED || d->state == REG_ENDED) return;
    driver_broken(d, "the connection to the master closed");
}

static void random_uuid(struct rng *r, char out[37])
{
    uint64_t a = rng_next(r), b = rng_next(r);
    snprintf(out, 37, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff,
             (unsigned)a & 0xfff, 0x8000 | ((unsigned)(b >> 48) & 0x3fff), (unsigned long long)(b & 0xffffffffffff));
}

static int spawn(struct driver *d)
{
    char id[64] = "scheduler-";
    random_uuid(&d->rng, id + strlen(id));
    struct lp_handlers h = { .on_message = driver_on_message, .on_exited = on_exited, .arg = d };
    return lp_spawn(d->c.lp, id, &h, &d->self);
}

static void copy_strings(struct driver *d)
{
    struct str *all[] = {
        &d->c.framework.user,     &d->c.framework.name, &d->c.framework.id,
        &d->c.framework.hostname, &d->c.framework.role, &d->c.framework.webui_url,
        &d->c.principal,          &d->c.secret,         &d->c.cluster_name,
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) *all[i] = arena_str(&d->strings, *all[i]);
}

static void make_stats(struct driver *d)
{
    struct stats *s = d->c.stats;
    d->stats = (struct driver_stats){
        .offers = stats_int(s, "scheduler_resource_offers"),
        .updates = stats_int(s, "scheduler_status_update"),
        .framework_messages = stats_int(s, "scheduler_framework_message"),
        .inverse_offers = stats_int(s, "scheduler_inverse_offers"),
        .rescinded = stats_int(s, "offers_rescinded"),
        .agents_lost = stats_int(s, "slaves_lost"),
        .executors_lost = stats_int(s, "scheduler_lost_executors"),
        .reregisters = stats_int(s, "scheduler_framework_reregisters"),
        .disconnects = stats_int(s, "scheduler_framework_disconnects"),
        .registered = stats_int(s, "framework_registered"),
        .kill_failures = stats_int(s, "scheduler_driver_kill_failures"),
        .subscriptions = stats_int(s, "mesos_scheduler_subscription_attempts"),
        .offers_time = stats_timer(s, "scheduler_resource_offers", "nanos"),
        .updates_time = stats_timer(s, "scheduler_status_update", "nanos"),
    };
}

static void make_event_stats(struct driver *d)
{
    static const char *const names[DRIVER_EVENTS] = {
        "SUBSCRIBED", "OFFERS",  "INVERSE_OFFERS", "RESCIND", "RESCIND_INVERSE_OFFER",
        "UPDATE",     "MESSAGE", "FAILURE",        "ERROR",   "UNKNOWN"
    };
    for (int i = 0; i < DRIVER_EVENTS; i++)
        d->stats.events[i] = stats_intf(d->c.stats, "mesos_scheduler_event_%s", names[i]);
}

static int64_t or_default(int64_t v, int64_t otherwise)
{
    return v > 0 ? v : otherwise;
}

static void make_schedules(struct driver *d)
{
    const struct driver_timing *t = &d->c.timing;
    int64_t max = REGISTRATION_BACKOFF_MAX_MS;
    int64_t tenth = (int64_t)(d->c.framework.failover_timeout_secs * 100);
    if (tenth > 0 && tenth < max) max = tenth;
    backoff_init(&d->subscribe_backoff, or_default(t->registration_backoff, REGISTRATION_BACKOFF_MS), max);
    backoff_init(&d->retry_backoff, or_default(t->retry_backoff, RETRY_BACKOFF_MS), RETRY_BACKOFF_MAX_MS);
    int64_t least = or_default(t->authentication_timeout_min, AUTHENTICATION_TIMEOUT_MIN_MS);
    int64_t most = or_default(t->authentication_timeout_max, AUTHENTICATION_TIMEOUT_MAX_MS);
    patience_init(&d->auth.patience, least, most < least ? least : most);
}

int driver_new(const struct driver_config *c, struct driver **ret)
{
    assert(c->on_event != NULL);
    assert(c->on_fatal != NULL);
    struct driver *d = xcalloc(1, sizeof(*d));
    d->c = *c;
    d->rng.state = c->seed;
    int err = spawn(d);
    if (err) {
        free(d);
        return err;
    }
    copy_strings(d);
    make_stats(d);
    make_event_stats(d);
    make_schedules(d);
    if (c->framework.id.n > 0) {
        d->framework_id = (struct str){ xstrndup(c->framework.id.p, c->framework.id.n), c->framework.id.n };
        d->take_over = true;
    }
    uv_timer_init(c->loop, &d->timer);
    uv_timer_init(c->loop, &d->local_timer);
    d->timer.data = d->local_timer.data = d;
    d->open_timers = 2;
    *ret = d;
    return 0;
}

int driver_set_master(struct driver *d, const char *pid)
{
    assert(!d->closing);
    struct upid master;
    if (pid) {
        struct buf text = { 0 };
        buf_addf(&text, "%s%s", strchr(pid, '@') ? "" : "master@", pid);
        int err = upid_parse((struct str){ (char *)text.data, (uint32_t)text.len }, &master);
        buf_release(&text);
        if (err || !upid_valid(&master)) return ERR_MALFORMED;
    }
    if (d->state == REG_ENDED) return 0;
    if (d->state != REG_DETACHED) enter(d, MOVE_NO_MASTER);
    if (!pid || d->state != REG_DETACHED) return 0;
    d->master = master;
    backoff_reset(&d->subscribe_backoff);
    backoff_reset(&d->retry_backoff);
    patience_reset(&d->auth.patience);
    begin_attempt(d);
    return 0;
}

bool driver_connected(const struct driver *d)
{
    return d->state == REG_CONNECTED;
}

void driver_close(struct driver *d, bool failover, void (*cb)(void *arg), void *arg)
{
    assert(!d->closing);
    bool teardown = !failover && d->state == REG_CONNECTED;
    if (teardown) {
        Mesos__Scheduler__Call call = MESOS__SCHEDULER__CALL__INIT;
        call.type = MESOS__SCHEDULER__CALL__TYPE__TEARDOWN;
        driver_send_call(d, &call);
    }
    d->closing = true;
    d->on_closed = cb;
    d->on_closed_arg = arg;
    enter(d, MOVE_END);
    uv_timer_stop(&d->local_timer);
    if (teardown)
        uv_timer_start(&d->timer, on_torn_down, (uint64_t)or_default(d->c.timing.teardown, TEARDOWN_MS), 0);
    else
        close_now(d);
}

void driver_write_offer(struct driver *d, struct str offer_id, struct buf *out)
{
    size_t n = 0;
    const void *packed = offer_table_find(&d->offers, offer_id, &n);
    if (!packed) return;
    struct arena a = { 0 };
    const Mesos__Offer *m = proto_unpack(&mesos__offer__descriptor, packed, n, &a);
    if (m) proto_write_json(m, out);
    arena_release(&a);
}
