/* The Mesos v0 scheduler driver on libprocess (reference: mesos-scheduler): finds itself a registered framework at the
 * master and stays one; turns messages into plain events of core/sched.h and effects into calls.
 *
 * The driver acknowledges nothing by itself: the caller does, once the change is durable. It sends nothing while
 * it is not connected. */
#ifndef AURORA_MESOS_DRIVER_H
#define AURORA_MESOS_DRIVER_H

#include "core/sched.h"
#include "net/libprocess.h"

struct driver;

struct driver_framework {
    struct str user, name, id /* unset: new */, hostname, webui_url, role /* unset: none */;
    double failover_timeout_secs;
    bool checkpoint;
    bool announce_principal;
    bool revocable_resources, gpu_resources, partition_aware;
};

struct executors; /* mesos/executors.h */

/* All in milliseconds; 0 = the default that is given here. */
struct driver_timing {
    int64_t registration_backoff; /* 2 s: SUBSCRIBE is repeated after up to this, doubling up to a minute */
    int64_t retry_backoff; /* 1 s: a lost connection or authentication is begun anew after up to this, doubling up to 10
                              s */
    int64_t authentication_timeout_min; /* 5 s: an unanswered attempt ends after at least this */
    int64_t authentication_timeout_max; /* 1 min: and after at most this */
    int64_t teardown;                   /* 0.5 s: how long the last call of all may take to leave */
};

struct driver_config {
    uv_loop_t *loop;
    struct libprocess *lp;
    struct driver_framework framework;
    struct str principal, secret;      /* unset: no authentication */
    const struct executors *executors; /* borrowed until closed */
    struct str cluster_name;
    bool populate_discovery_info;
    struct driver_timing timing;
    uint64_t seed;                /* makes the process id too, so it must differ from run to run */
    int64_t (*now_ms)(void *arg); /* wall clock */
    struct stats *stats;
    /* Every event of types EV_REGISTERED .. EV_EXECUTOR_LOST. Memory is the driver's, during the call. EV_REGISTERED
     * comes once per (re-)registration, EV_DISCONNECTED once per loss. */
    void (*on_event)(const struct sched_event *ev, void *arg);
    /* The master has refused us for good; the process should give up leadership. At most once; no event follows. */
    void (*on_fatal)(const char *why, void *arg);
    void *arg;
};

/* Strings of config are copied. The driver is idle until driver_set_master(). */
int driver_new(const struct driver_config *c, struct driver **ret);
/* A newly detected leading master (pid text "master@ip:port" or "ip:port"), or NULL for none. Detection of the same one
 * again re-subscribes. ERR_MALFORMED. */
int driver_set_master(struct driver *d, const char *pid);
bool driver_connected(const struct driver *d);

/* Carries out an effect of type KILL, LAUNCH, DECLINE, RECONCILE or ACK. While not connected all are dropped: each is
 * derived again from state after the next EV_REGISTERED. But a launch that comes while not connected, or whose offer
 * is gone, is answered by an EV_STATUS with TASK_LOST (TASK_DROPPED if partition aware), later. */
void driver_effect(struct driver *d, const struct effect *e);
/* No offers until driver_revive(); remembered over a change of master. */
void driver_suppress(struct driver *d);
/* Offers again, and all decline filters are forgotten. */
void driver_revive(struct driver *d);

/* failover = true keeps the tasks running (nothing is sent); false tears the framework down: all its tasks are killed
 * and its id is dead. Then cb, later; the driver is gone and no other callback comes after this call. c.lp must stay
 * until then. */
void driver_close(struct driver *d, bool failover, void (*cb)(void *arg), void *arg);

/* One element of the JSON array of /offers: the original message in Mesos's v1 form. Nothing for an unknown id. */
void driver_write_offer(struct driver *d, struct str offer_id, struct buf *out);

#endif
