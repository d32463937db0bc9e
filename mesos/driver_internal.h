/* Inside the driver: its state, and what its files call of each other.
 *
 *   driver.c           life: new, master detected, link lost, registered, closed; the registration table is driven here
 * only driver_auth.c      one CRAM-MD5 attempt at a time driver_incoming.c  messages of the master -> events
 *   driver_outgoing.c  effects -> calls to the master
 *
 * A callback to the driver's user may close the driver. Its memory then lives until the loop's next pass, in the state
 * ENDED; so whoever has called back looks at the state before going on. */
#ifndef AURORA_MESOS_DRIVER_INTERNAL_H
#define AURORA_MESOS_DRIVER_INTERNAL_H

#include "mesos/backoff.h"
#include "mesos/driver.h"
#include "mesos/offer_table.h"
#include "mesos/registration.h"

#include "mesos/scheduler.pb-c.h"

enum auth_step { AUTH_NONE, AUTH_ASKED, AUTH_STARTED, AUTH_ANSWERED };

/* Kinds of incoming messages by the names that they have in Mesos's v1 API, for mesos_scheduler_event_<NAME>. */
enum driver_event {
    EVENT_SUBSCRIBED,
    EVENT_OFFERS,
    EVENT_INVERSE_OFFERS,
    EVENT_RESCIND,
    EVENT_RESCIND_INVERSE_OFFER,
    EVENT_UPDATE,
    EVENT_MESSAGE,
    EVENT_FAILURE,
    EVENT_ERROR,
    EVENT_UNKNOWN,
    DRIVER_EVENTS
};

struct driver_stats {
    struct stat *offers, *updates, *framework_messages, *inverse_offers, *rescinded, *agents_lost, *executors_lost,
        *reregisters, *disconnects, *registered, *kill_failures, *subscriptions;
    struct stat *events[DRIVER_EVENTS];
    struct stat_timer *offers_time, *updates_time;
};

/* A status update that the driver makes itself, because a launch could not be sent. */
struct local_update {
    struct str task_id, agent_id; /* malloc'ed */
    bool offer_gone;              /* else: not connected */
};

struct local_updates {
    struct local_update *v; /* room for LIMIT_DRIVER_LOCAL_UPDATES, or NULL */
    uint32_t n;
};

struct driver {
    struct driver_config c; /* its strings are in `strings` */
    struct arena strings;
    struct driver_stats stats;
    struct rng rng;
    struct lp_process *self;
    uv_timer_t timer;       /* the deadline of the current state */
    uv_timer_t local_timer; /* delivers local_updates on the next pass */
    unsigned open_timers;

    enum registration_state state;
    struct upid master;      /* except in DETACHED */
    struct str framework_id; /* malloc'ed; unset before the first registration */
    bool take_over;          /* the id was given from outside: push an older scheduler out */
    bool suppressed;
    char broken[128];  /* why the last attempt failed; "" once connected */
    bool broken_again; /* for the same reason as the one before */
    struct backoff subscribe_backoff, retry_backoff;

    struct {
        struct lp_process *self; /* NULL: no attempt */
        struct upid session;
        enum auth_step step;
        struct patience patience;
    } auth;

    struct offer_table offers;
    struct local_updates local;

    bool closing;
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

/* ---- driver.c ---- */

/* The message comes from the detected master. */
bool driver_is_master(const struct driver *d, const struct upid *from);
/* Sends from the driver's own pid to the master. */
void driver_send(struct driver *d, const char *name, const void *message);
void driver_emit(struct driver *d, struct sched_event *ev);
void driver_registered(struct driver *d, struct str framework_id, bool first);
/* The connection, or the registration over it, is lost: a new attempt follows, at once after a time of being connected.
 */
void driver_broken(struct driver *d, const char *why);
/* Refused for good. */
void driver_fatal(struct driver *d, const char *why);
void driver_authenticated(struct driver *d);
/* Arms the deadline of the current state. */
void driver_set_deadline(struct driver *d, int64_t delay_ms);

/* ---- driver_auth.c ---- */

/* Begins an attempt, after ending an older one. */
void auth_start(struct driver *d);
void auth_end(struct driver *d);

/* ---- driver_incoming.c ---- */

void driver_on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg);

/* ---- driver_outgoing.c ---- */

void driver_send_call(struct driver *d, Mesos__Scheduler__Call *call);
void driver_send_subscribe(struct driver *d);
/* An offer beyond the limit goes back. */
void driver_decline_surplus(struct driver *d, struct str offer_id);
void driver_on_local_updates(uv_timer_t *t);
void local_updates_release(struct local_updates *l);

#endif
