/* The running scheduler: what its parts are and how it lives, from start over leadership to the end. One process
 * leads at most once: there is no way back from a leader, whatever goes wrong ends the process and its supervisor
 * starts a new one. With several schedulers (-zk_endpoints) the ones that do not lead stay in STORAGE_PREPARED: they
 * follow the log, send clients to the leader and wait to be elected. A single one is elected at once.
 *
 *   IDLE ─► PREPARING_STORAGE ─► STORAGE_PREPARED ─► LEADER_AWAITING_REGISTRATION ─► ACTIVE ─► DEAD
 *                log_open             elected             replayed, Mesos driver runs      registered
 *
 * app.c holds the life and the data path, standby.c the time until we lead, lead.h the election, master.h the search
 * for Mesos, snapshots.c and recovery.c snapshots and backups, listen.c the ports, http.c and endpoints*.c what is
 * served on them. */
#ifndef AURORA_ADMIN_APP_H
#define AURORA_ADMIN_APP_H

#include "admin/backups.h"
#include "admin/lead.h"
#include "admin/looplag.h"
#include "admin/master.h"
#include "admin/peers.h"
#include "admin/pipeline.h"
#include "admin/settings.h"
#include "admin/statuses.h"
#include "core/stats.h"
#include "log/log.h"
#include "log/stream.h"
#include "mesos/driver.h"
#include "net/http.h"
#include "net/libprocess.h"

#include <uv.h>

#define LIFECYCLE_MAP(X)                                                                                               \
    X(IDLE)                                                                                                            \
    X(PREPARING_STORAGE)                                                                                               \
    X(STORAGE_PREPARED)                                                                                                \
    X(LEADER_AWAITING_REGISTRATION)                                                                                    \
    X(ACTIVE)                                                                                                          \
    X(DEAD)

enum lifecycle {
#define X(name) LIFECYCLE_##name,
    LIFECYCLE_MAP(X)
#undef X
        LIFECYCLE_COUNT
};

enum app_timer {
    TIMER_SCHED,        /* sched_timeout() */
    TIMER_TICK,         /* statistics */
    TIMER_SNAPSHOT,     /* dlog_snapshot_interval */
    TIMER_RECOVERY,     /* a call of the recovery methods has to wait */
    TIMER_REGISTRATION, /* max_registration_delay */
    TIMER_LEADING,      /* max_leading_duration */
    TIMER_WATCHDOG,     /* systemd's */
    TIMER_STOP,         /* an orderly end that takes too long */
    TIMER_COUNT
};

struct rpc_call;
struct recovery;

struct app {
    uv_loop_t *loop;
    const struct flags *flags;
    struct settings *settings;
    struct stats *stats;
    struct looplag lag;

    struct sched *sched;
    struct pipeline *pipeline;
    struct log *log;
    struct stream *stream;
    struct libprocess *lp;
    struct driver *driver; /* NULL until storage is replayed */
    struct master *master; /* as the driver */
    struct lead *lead;     /* NULL: a single scheduler */
    struct peers *peers;   /* NULL: the only replica */
    struct http_server *http;
    struct http_server *thrift; /* -thrift_port; NULL without */
    struct rpc_call *calls;     /* that wait for their answer */
    struct backups *backups;    /* NULL: no -backup_dir */
    struct recovery *recovery;

    enum lifecycle state;
    bool standing, elected;
    enum quorum_verdict verdict; /* the last one */
    bool waits_told;             /* that it waits, and for what */
    bool ready;                  /* storage is replayed: the scheduler may be stepped */
    bool frozen;                 /* a backup goes to the log as the new state: nothing is stepped any more */
    bool stopping;               /* nothing is stepped or answered any more */
    int exit_status;
    bool registered;           /* has been at least once */
    uint64_t registered_after; /* index of the step that registered us */
    struct stat *state_stats[LIFECYCLE_COUNT], *registered_stat, *queue_stat;

    uv_timer_t timers[TIMER_COUNT];
    uv_prepare_t pass;       /* before the loop waits */
    uint64_t leads_until_ns; /* as of the last pass, uv_hrtime(); 0: there was none */
    uv_idle_t go_on;         /* active while there is more to release */
    struct statuses statuses;
    uv_signal_t sigint, sigterm;
    int signals;
    unsigned ticks;
    unsigned closing;                              /* parts that are still closing */
    unsigned libprocess_users;                     /* of them, those that need libprocess */
    char http_address[64], libprocess_address[64]; /* ip:port as printed */
    uint16_t http_port;
    size_t vars_bytes; /* of the last /vars */
};

/* Opens everything and starts the life; *a is zeroed. On failure one line is in err_text; app_stop(), uv_run() and
 * app_free() are due in either case. Flags and settings must outlive *a. Blocks on the log's folder (start-up only). */
int app_start(struct app *a, uv_loop_t *loop, const struct flags *flags, struct settings *settings,
              struct buf *err_text);
/* Ends: tasks keep running, what is not durable is dropped. Once; later calls do nothing. */
void app_stop(struct app *a, int exit_status, const char *why);
/* Frees what is left, behind uv_run(). */
void app_free(struct app *a);

const char *lifecycle_name(enum lifecycle state);
/* Epoch, ms; fits the now_ms of the rooms. */
int64_t app_now_ms(void *arg);
/* Storage is replayed and this process leads, as far as it can know: what comes from outside is to be answered here. */
bool app_leads(struct app *a);
/* A command may be stepped; else *why says what to answer with ERROR_TRANSIENT. */
bool app_accepts_command(struct app *a, const char **why);

/* ---- listen.c: ports. Each gives one line on failure. ---- */
int listen_http(struct app *a, struct buf *err_text);
int listen_libprocess(struct app *a, struct buf *err_text);

/* ---- app.c, for standby.c ---- */
/* The log is replayed and ours: leads. */
void app_ready(struct app *a);
void app_enter(struct app *a, enum lifecycle state);
void app_start_timer(struct app *a, enum app_timer t, uv_timer_cb cb, int64_t ms, int64_t repeat_ms);

/* ---- standby.c ---- */
/* Joins the others: ZooKeeper, and the log's replicas. Nothing to do for a single scheduler. */
int standby_open(struct app *a, struct buf *err_text);
/* Follows the log and becomes a candidate, as soon as the quorum size is known to be safe. A single scheduler leads. */
void standby_start(struct app *a);
/* The log is replayed and ours (see stream_config.on_ready): once the group's record says so, leads. */
void standby_replayed(void *app);

/* ---- http.c ---- */
void http_on_request(struct http_request *r, void *app);
/* Passes an answer of the scheduler on; see pipeline_config.reply. */
void rpc_on_reply(struct app *a, uint64_t cookie, const struct api_response *response, struct held *h);
/* Forgets calls whose answer will not come. */
void rpc_free_calls(struct app *a);

#endif
