#include "mesos/driver_internal.h"
#include "mesos/offer_convert.h"
#include "mesos/proto.h"
#include "mesos/status_convert.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"

#include <assert.h>

#include "mesos/messages.pb-c.h"

/* ---------------- registration ---------------- */

static void registered(struct driver *d, const Mesos__FrameworkID *id, const Mesos__MasterInfo *master, bool first)
{
    if (d->state != REG_SUBSCRIBING) return; /* a repeat, or late */
    if (!master->version) {
        driver_fatal(d, "the master says no version, so it is older than Mesos 0.23 and does not know our calls");
        return;
    }
    driver_registered(d, str_c(id->value), first);
}

static void on_registered(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__FrameworkRegisteredMessage *m = message;
    (void)a;
    registered(d, m->framework_id, m->master_info, true);
}

static void on_reregistered(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__FrameworkReregisteredMessage *m = message;
    (void)a;
    registered(d, m->framework_id, m->master_info, false);
}

static bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* The master lost our connection and says so; or it did, and its authentication of us went with it, while we were on
 * our way back. Both end well with a new attempt. Everything else is for good. */
static void on_framework_error(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__FrameworkErrorMessage *m = message;
    (void)a;
    bool disconnected = strcmp(m->message, "Framework disconnected") == 0;
    bool forgotten = d->c.principal.p && d->state == REG_SUBSCRIBING && contains(m->message, "is not authenticated");
    if (!disconnected && !forgotten) {
        driver_fatal(d, m->message);
        return;
    }
    if (d->state == REG_WAITING) return;
    lp_relink(d->self, &d->master);
    driver_broken(d, m->message);
}

/* ---------------- offers ---------------- */

/* Keeps the packed offer. False: not to be shown to anybody. */
static bool keep_offer(struct driver *d, const Mesos__Offer *m, struct buf *packed)
{
    struct str id = str_c(m->id->value);
    buf_reset(packed);
    proto_pack(m, packed);
    int err = offer_table_add(&d->offers, id, packed->data, packed->len);
    if (err == ERR_FULL) {
        logline(LOG_WARN, "mesos_offers_full", "limit=%d declined=%s", LIMIT_DRIVER_OFFERS, m->id->value);
        driver_decline_surplus(d, id);
    }
    return err == 0;
}

static void on_offers(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__ResourceOffersMessage *m = message;
    struct offer *offers = ARENA_ARRAY(a, struct offer, m->n_offers);
    struct buf packed = { 0 };
    uint32_t n = 0;
    for (size_t i = 0; i < m->n_offers; i++)
        if (keep_offer(d, m->offers[i], &packed)) offer_convert(m->offers[i], &offers[n++], a);
    buf_release(&packed);
    stat_add(d->stats.offers, (int64_t)m->n_offers);
    if (n == 0) return;
    uint64_t begin = uv_hrtime();
    struct sched_event ev = { .type = EV_OFFERS };
    ev.offers.v = offers;
    ev.offers.n = n;
    driver_emit(d, &ev);
    stat_timer_add(d->stats.offers_time, (int64_t)(uv_hrtime() - begin));
}

static void on_rescind(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__RescindResourceOfferMessage *m = message;
    (void)a;
    struct str id = str_c(m->offer_id->value);
    logline(LOG_DEBUG, "mesos_rescind", "offer=%s", m->offer_id->value);
    stat_add(d->stats.rescinded, 1);
    offer_table_rescind(&d->offers, id);
    struct sched_event ev = { .type = EV_RESCIND };
    ev.rescind.offer_id = id;
    driver_emit(d, &ev);
}

/* Not asked for and not answered, like the C++ driver: maintenance shows in the offers' unavailability. */
static void on_inverse_offers(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__InverseOffersMessage *m = message;
    (void)a;
    stat_add(d->stats.inverse_offers, (int64_t)m->n_inverse_offers);
}

static void on_rescind_inverse_offer(struct driver *d, const void *message, struct arena *a)
{
    (void)d;
    (void)message;
    (void)a;
}

/* ---------------- tasks, agents, executors ---------------- */

/* What comes of an update is logged with the task's transition. */
static void log_update(const struct status_update *u)
{
    if (logline_level() > LOG_DEBUG) return;
    const char *end = u->message.p ? memchr(u->message.p, '\n', u->message.n) : NULL;
    struct str line = { u->message.p, end ? (uint32_t)(end - u->message.p) : u->message.n };
    struct str state = proto_enum_name(&mesos__task_state__descriptor, u->state);
    struct str source = proto_enum_name(&mesos__task_status__source__descriptor, u->source);
    logline(LOG_DEBUG, "mesos_update", "task=%.*s state=%.*s source=%.*s reason=%.*s ack=%d message=\"%.*s\"",
            STR_ARG(u->task_id), STR_ARG(state), STR_ARG(source), STR_ARG(u->reason_name), u->has_uuid, STR_ARG(line));
}

static void on_status(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__StatusUpdateMessage *m = message;
    (void)a;
    if (!str_eq(str_c(m->update->framework_id->value), d->framework_id)) {
        logline(LOG_WARN, "mesos_foreign_update", "framework=%s", m->update->framework_id->value);
        return;
    }
    struct status_update u;
    status_convert(m, &u);
    log_update(&u);
    stat_add(d->stats.updates, 1);
    uint64_t begin = uv_hrtime();
    struct sched_event ev = { .type = EV_STATUS };
    ev.status.v = &u;
    ev.status.n = 1;
    driver_emit(d, &ev);
    stat_timer_add(d->stats.updates_time, (int64_t)(uv_hrtime() - begin));
}

static void on_lost_agent(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__LostSlaveMessage *m = message;
    (void)a;
    logline(LOG_INFO, "mesos_agent_lost", "agent=%s", m->slave_id->value);
    stat_add(d->stats.agents_lost, 1);
    struct sched_event ev = { .type = EV_AGENT_LOST };
    ev.agent_lost.agent_id = str_c(m->slave_id->value);
    driver_emit(d, &ev);
}

/* Clean exits are reported, too; only the others count. */
static void on_exited_executor(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__ExitedExecutorMessage *m = message;
    (void)a;
    if (m->status != 0) {
        logline(LOG_WARN, "mesos_executor_lost", "executor=%s agent=%s status=%d", m->executor_id->value,
                m->slave_id->value, m->status);
        stat_add(d->stats.executors_lost, 1);
    }
    struct sched_event ev = { .type = EV_EXECUTOR_LOST };
    ev.executor_lost.agent_id = str_c(m->slave_id->value);
    ev.executor_lost.executor_id = str_c(m->executor_id->value);
    ev.executor_lost.status = m->status;
    driver_emit(d, &ev);
}

static void on_framework_message(struct driver *d, const void *message, struct arena *a)
{
    const Mesos__Internal__ExecutorToFrameworkMessage *m = message;
    (void)a;
    stat_add(d->stats.framework_messages, 1);
    logline(LOG_WARN, "mesos_framework_message_ignored", "executor=%s agent=%s bytes=%zu", m->executor_id->value,
            m->slave_id->value, m->data.len);
}

/* ---------------- dispatch ---------------- */

enum who { FROM_MASTER_CONNECTED, FROM_MASTER, FROM_ANYBODY };

static const struct handler {
    const char *name;
    const ProtobufCMessageDescriptor *d;
    enum who who; /* taken only then */
    enum driver_event event;
    void (*handle)(struct driver *d, const void *message, struct arena *a);
} handlers[] = {
    { "mesos.internal.StatusUpdateMessage", &mesos__internal__status_update_message__descriptor, FROM_MASTER_CONNECTED,
      EVENT_UPDATE, on_status },
    { "mesos.internal.ResourceOffersMessage", &mesos__internal__resource_offers_message__descriptor,
      FROM_MASTER_CONNECTED, EVENT_OFFERS, on_offers },
    { "mesos.internal.RescindResourceOfferMessage", &mesos__internal__rescind_resource_offer_message__descriptor,
      FROM_MASTER_CONNECTED, EVENT_RESCIND, on_rescind },
    { "mesos.internal.FrameworkRegisteredMessage", &mesos__internal__framework_registered_message__descriptor,
      FROM_MASTER, EVENT_SUBSCRIBED, on_registered },
    { "mesos.internal.FrameworkReregisteredMessage", &mesos__internal__framework_reregistered_message__descriptor,
      FROM_MASTER, EVENT_SUBSCRIBED, on_reregistered },
    { "mesos.internal.FrameworkErrorMessage", &mesos__internal__framework_error_message__descriptor, FROM_MASTER,
      EVENT_ERROR, on_framework_error },
    { "mesos.internal.LostSlaveMessage", &mesos__internal__lost_slave_message__descriptor, FROM_MASTER_CONNECTED,
      EVENT_FAILURE, on_lost_agent },
    { "mesos.internal.ExitedExecutorMessage", &mesos__internal__exited_executor_message__descriptor,
      FROM_MASTER_CONNECTED, EVENT_FAILURE, on_exited_executor },
    { "mesos.internal.ExecutorToFrameworkMessage", &mesos__internal__executor_to_framework_message__descriptor,
      FROM_ANYBODY, EVENT_MESSAGE, on_framework_message },
    { "mesos.internal.InverseOffersMessage", &mesos__internal__inverse_offers_message__descriptor,
      FROM_MASTER_CONNECTED, EVENT_INVERSE_OFFERS, on_inverse_offers },
    { "mesos.internal.RescindInverseOfferMessage", &mesos__internal__rescind_inverse_offer_message__descriptor,
      FROM_MASTER_CONNECTED, EVENT_RESCIND_INVERSE_OFFER, on_rescind_inverse_offer },
};

static const struct handler *find_handler(struct str name)
{
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
        if (str_eq(name, str_c(handlers[i].name))) return &handlers[i];
    return NULL;
}

static bool admitted(const struct driver *d, const struct handler *h, const struct upid *from)
{
    if (h->who == FROM_ANYBODY) return true;
    if (h->who == FROM_MASTER_CONNECTED && d->state != REG_CONNECTED) return false;
    return driver_is_master(d, from);
}

void driver_on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    struct driver *d = arg;
    assert(p == d->self);
    if (d->closing || d->state == REG_ENDED) return;
    const struct handler *h = find_handler(name);
    if (!h) {
        stat_add(d->stats.events[EVENT_UNKNOWN], 1);
        logline(LOG_WARN, "mesos_unknown_message", "name=%.*s", STR_ARG(name));
        return;
    }
    char pid[UPID_TEXT_MAX];
    if (!admitted(d, h, from)) {
        logline(LOG_INFO, "mesos_message_dropped", "name=%s from=%s state=%s", h->name, upid_text(from, pid),
                registration_name(d->state));
        return;
    }
    struct arena a = { 0 };
    const void *m = proto_unpack(h->d, body, n, &a);
    if (m) {
        stat_add(d->stats.events[h->event], 1);
        h->handle(d, m, &a);
    } else {
        logline(LOG_WARN, "mesos_malformed_message", "name=%s from=%s bytes=%zu", h->name, upid_text(from, pid), n);
    }
    arena_release(&a);
}
