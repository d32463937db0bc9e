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

/* What Mesos is told of an executor. */
struct driver_executor; /* mesos/executors.h */

struct driver_config {
    uv_loop_t *loop;
    struct libprocess *lp;
    struct driver_framework framework;
    struct str principal, secret; /* unset: no authentication */
    const struct executors *executors; /* mesos/executors.h */
    struct str cluster_name;
    bool populate_discovery_info;
    uint64_t seed;
    int64_t (*now_ms)(void *arg); /* wall clock */
    struct stats *stats;
    /* Every event of types EV_REGISTERED .. EV_EXECUTOR_LOST. Memory is the driver's, during the call. EV_REGISTERED
     * comes once per (re-)registration, EV_DISCONNECTED once per loss. */
    void (*on_event)(const struct sched_event *ev, void *arg);
    /* The master has refused us for good; the process should give up leadership. */
    void (*on_fatal)(const char *why, void *arg);
    void *arg;
};

/* Strings of config are copied. The driver is idle until driver_set_master(). */
int driver_new(const struct driver_config *c, struct driver **ret);
/* A newly detected leading master (pid text "master@ip:port" or "ip:port"), or NULL for none. Detection of the same one again
 * re-subscribes. ERR_MALFORMED. */
int driver_set_master(struct driver *d, const char *pid);
bool driver_connected(const struct driver *d);

/* Carries out an effect of type KILL, LAUNCH, DECLINE, RECONCILE or ACK. A launch whose offer is gone or that comes while
 * not connected is answered by an EV_STATUS with TASK_LOST (TASK_DROPPED if partition aware), later. */
void driver_effect(struct driver *d, const struct effect *e);
void driver_suppress(struct driver *d);
void driver_revive(struct driver *d);

/* failover = true keeps the tasks running (nothing is sent); false tears the framework down. Then cb. */
void driver_close(struct driver *d, bool failover, void (*cb)(void *arg), void *arg);

/* The JSON array of /offers: the original messages in Mesos's v1 form, of the ids given. */
void driver_write_offer(struct driver *d, struct str offer_id, struct buf *out);

#endif
