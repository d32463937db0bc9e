/* Inside the scheduler: its parts and what they know of each other. For core/ only.
 *
 * A step runs one event to its end: the event's handler changes tasks through core/tasks.h, each change is stored at
 * once and put into `changes`, and when the handler is done the changes are shown to everybody whom they concern
 * (sched_changes.c), which may cause further changes. */
#ifndef AURORA_CORE_SCHED_IMPL_H
#define AURORA_CORE_SCHED_IMPL_H

#include "core/filter.h"
#include "core/hash.h"
#include "core/resources.h"
#include "core/rng.h"
#include "core/sched.h"
#include "core/step.h"
#include "core/store.h"
#include "core/task.h"
#include "core/task_fsm.h"
#include "core/timers.h"

/* ---------------- changes of tasks ---------------- */

struct task_changed {
    const struct task *task; /* as of the change; before it, if it was deleted. Counted. */
    int from;                /* enum api_schedule_status or -1: replayed at the start */
    bool deleted;
};

/* ---------------- offers ---------------- */

struct held_offer {
    struct offer offer; /* a copy, in `arena` */
    struct arena arena;
    struct bag bag;
    struct timer hold;
    uint64_t seq; /* grows: an offer that came later has a higher one */
    struct held_offer *prev, *next;
    UT_hash_handle hh;       /* by offer id */
    UT_hash_handle hh_agent; /* by agent id */
    bool postponed;          /* on a host with maintenance ahead: tried last */
    /* What the step in progress puts on it; memory of the update. */
    struct launch_task *launches;
    uint32_t n_launches, cap_launches;
    struct held_offer *next_used;
};

struct offer_list {
    struct held_offer *head, *tail;
    uint32_t n;
};

struct offers {
    struct held_offer *by_id, *by_agent;
    struct offer_list plain;             /* in order of arrival */
    struct offer_list postponed;         /* maintenance mode, then later unavailability first, then arrival */
    struct held_offer *used, *used_tail; /* of the step in progress, in order of first use */
    uint64_t seq;
};

/* ---------------- pending groups ---------------- */

struct group;

struct pending_task {
    struct group *group;
    struct pending_task *prev, *next;
    UT_hash_handle hh; /* by id */
    struct str id;
    char bytes[];
};

/* The vetoes of the host that came nearest to fitting: why the group waits. */
struct nearest_fit {
    struct vetoes vetoes; /* none: nothing recorded */
    int64_t score;
    int64_t since_ms;
};

/* Pending tasks of one config. */
struct group {
    struct config *config; /* counted */
    struct str name;       /* job key; in `arena` */
    struct request request;
    bool has_limits;
    struct pending_task *head, *tail;
    uint32_t n_tasks;
    struct timer timer;
    int64_t penalty_ms;
    bool evaluating;       /* its evaluation frees it if it becomes empty */
    bool waits_for_offers; /* its last attempt placed nothing */
    bool has_permit;       /* the limiter's, drawn before it had to wait */
    uint64_t vetoed_upto;  /* plain offers up to this one have a veto that lasts: they need no second look */
    struct nearest_fit nearest;
    struct arena arena;
    UT_hash_handle hh; /* by config pointer */
};

/* A token bucket for attempts. An attempt that has placed a task gives its token back: only those that achieve nothing
 * are slowed down. */
struct limiter {
    double tokens; /* below 0: promised to groups that wait */
    int64_t refilled_ms;
};

struct pending {
    struct group *groups;
    struct pending_task *by_id;
    struct limiter limiter;
    uint32_t placed_in_step;
};

/* ---------------- the rest ---------------- */

struct reconcile {
    struct timer explicit_run, explicit_batch, implicit_run;
    struct task_on_agent *batch; /* of the explicit run in progress; strings malloc'ed */
    uint32_t n, at;
};

struct job_prune;

struct sched_counters {
    struct stat *illegal_transitions, *timed_out_tasks, *kill_retries, *tasks_pruned;
    struct stat *explicit_runs, *implicit_runs;
    struct stat *resource_offers, *offers_rescinded, *offer_cancel_failures, *veto_evaluated, *slaves_lost,
        *executors_lost, *disconnects, *reregisters, *registered, *status_updates;
    struct stat *attempts_fired, *attempts_no_match, *attempts_blocked;
    struct stat *veto_static, *veto_dynamic, *veto_mixed, *veto_type[VETO_TYPES];
};

struct status_gauge {
    struct store *const *store; /* it may be replaced */
    enum api_schedule_status status;
};

struct sched {
    struct sched_config config;
    struct stats *stats;
    struct sched_counters count;
    struct status_gauge gauges[TASK_STATES];
    struct store *store;
    struct rng rng;
    bool leading;   /* EV_LEADING has come */
    bool active;    /* registered since: timers run */
    int64_t now_ms; /* of the step in progress */
    struct step step;
    struct creation *creations;   /* in progress, oldest first */
    struct task_changed *changes; /* a queue: [change_at, n_changes) */
    uint32_t change_at, n_changes, cap_changes;
    struct timers timers;
    struct task_timer *task_timers; /* those that are set, for freeing */
    struct offers offers;
    struct pending pending;
    struct reconcile reconcile;
    struct job_prune *job_prunes;
};

/* Truncated binary back-off: the first delay is in [initial, 2 initial], each later one 1 to 2 times the last. */
int64_t truncated_backoff(struct sched *s, int64_t last, int64_t initial, int64_t max);

/* sched_changes.c */
void changes_add(struct sched *s, const struct task *t, int from, bool deleted);
/* Shows all changes to all parts until there are no more. */
void changes_deliver(struct sched *s);

/* offers.c */
void offers_add(struct sched *s, const struct offer *v, uint32_t n);
void offers_rescind(struct sched *s, struct str offer_id);
/* Drops them all without a word: the master that made them is gone. */
void offers_clear(struct sched *s);
/* Puts what the step has used into effects. */
void offers_launch_used(struct sched *s);
/* Notes a task for an offer; the offer is used up at the end of the step. */
struct launch_task *offer_use(struct sched *s, struct held_offer *o);

/* pending.c */
void pending_add(struct sched *s, const struct task *t, int64_t delay_ms);
void pending_remove(struct sched *s, struct str task_id);
/* New offers have come: groups that wait for some are tried soon. */
void pending_wake(struct sched *s);
void pending_clear(struct sched *s);
/* "a, b" or "a,b": the reasons of the nearest fit. */
void group_reason(const struct group *g, const char *separator, struct buf *out);
const struct group *pending_group_of(const struct sched *s, struct str task_id);

/* assign.c: one attempt for the first tasks of the group; how many of them were tried and placed. */
struct attempt {
    uint32_t tried, placed;
};
struct assignment; /* what attempts of one evaluation share */
struct assignment *assignment_begin(struct sched *s, struct group *g);
struct attempt assignment_attempt(struct sched *s, struct assignment *a, uint32_t max_tasks);
/* How many more tasks the offer that the last one went to is to get. */
uint32_t assignment_share_left(const struct assignment *a);
void assignment_end(struct assignment *a);

/* task_timers.c: time-outs, kill retries, partition policy, throttling, pruning of single tasks */
/* The states in which something happens by time alone. */
#define TASKS_TIMED                                                                                                    \
    (TASKS_TRANSIENT | TASKS_TERMINAL | STATUS_BIT(API_SCHEDULE_STATUS_KILLING) |                                      \
     STATUS_BIT(API_SCHEDULE_STATUS_PARTITIONED) | STATUS_BIT(API_SCHEDULE_STATUS_THROTTLED))
void task_timers_on_change(struct sched *s, const struct task_changed *c);
void task_timers_clear(struct sched *s);
/* Sets a timer that remembers the task's present state; fire finds out what has become of it. */
struct task_timer {
    struct timer timer;
    enum api_schedule_status status;
    int64_t event_ms; /* of the event that set it: an older one of the same status is not meant */
    int64_t backoff_ms;
    struct task_timer *prev, *next;
    struct str id;
    char bytes[];
};

/* flapping.c */
int64_t flapping_penalty(struct sched *s, const struct task *t);

/* prune.c */
void prune_on_change(struct sched *s, const struct task_changed *c);
void prune_clear(struct sched *s);

/* reconcile.c */
void reconcile_start(struct sched *s);
void reconcile_clear(struct sched *s);

/* status.c */
void status_updates(struct sched *s, const struct status_update *v, uint32_t n);

/* sched_stats.c */
void sched_stats_init(struct sched *s);
void sched_stats_on_change(struct sched *s, const struct task_changed *c);
void sched_stats_vetoes(struct sched *s, const struct vetoes *v);

/* command.c */
void command_run(struct sched *s, const struct sched_event *ev);

#endif
