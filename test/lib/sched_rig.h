/* A scheduler on virtual time for tests of the core. Every step is checked: its ops, written and read back as they
 * would be in the log, bring a second store to the same state; effects come in their order; no task is launched twice;
 * no launch takes more than its offer has; an acknowledgement has a uuid.
 *
 * Effects are noted as lines of text with short names: tasks are t0, t1, ... in order of appearance. */
#ifndef AURORA_TEST_SCHED_RIG_H
#define AURORA_TEST_SCHED_RIG_H

#include "core/hash.h"
#include "core/sched.h"
#include "core/stats.h"
#include "core/store.h"
#include "core/task_fsm.h"

struct rig_name {
    UT_hash_handle hh;
    uint32_t n;
    bool launched;
    char id[];
};

/* A copy of an offer that the scheduler may hold. */
struct rig_offer {
    UT_hash_handle hh;
    struct arena arena;
    struct offer o;
};

struct rig {
    struct sched_config config;
    struct sched *s;
    struct stats *stats;
    struct store *mirror;
    int64_t now_ms;
    struct rig_name *names;
    struct rig_offer *offers;
    struct buf trace;     /* lines of effects since rig_clear() */
    struct arena replies; /* of the last reply */
    struct api_response *reply;
    struct sched_update update; /* of the last step */
    uint64_t launched, steps;
};

/* config may be NULL: Aurora's defaults. Starts leading and registered unless told otherwise. */
void rig_init(struct rig *r, const struct sched_config *config);
void rig_init_follower(struct rig *r, const struct sched_config *config);
void rig_lead(struct rig *r);
void rig_release(struct rig *r);
/* For tests whose *state is a rig with the defaults. */
int rig_set_up(void **state);
int rig_tear_down(void **state);
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
/* A new scheduler takes the old one's place with its state, through a snapshot, later by pause_ms; it does not lead
 * yet. */
void rig_fail_over(struct rig *r, int64_t pause_ms);
/* The master is gone, and all offers with it. */
void rig_disconnect(struct rig *r);
void rig_defaults(struct sched_config *c);

void rig_step(struct rig *r, struct sched_event *ev);
/* Lets time pass, firing timers when they are due. */
void rig_run(struct rig *r, int64_t ms);
void rig_clear(struct rig *r);
/* The trace equals the text. */
void rig_expect(struct rig *r, const char *text);

/* ---- commands ---- */
const struct tmethod *rig_method(const char *name);
/* Runs the method; args by its struct. Its response lives until the next call. */
const struct api_response *rig_call(struct rig *r, const char *method, const void *args);
/* NULL: a large creation that goes on. This lets it come to its end and gives its response. */
const struct api_response *rig_finish(struct rig *r);
/* The method with arguments as JSON, carried out to its end. */
const struct api_response *rig_call_json(struct rig *r, const char *method, const char *json);
/* "OK", "INVALID_REQUEST: text; text" of the response. */
const char *rig_answer(struct rig *r, const struct api_response *resp);
/* createJob role/prod/name: a job in the form that all tests use; more is JSON members of taskConfig ("" or
 * ",\"isService\":true"). */
const char *rig_create(struct rig *r, const char *name, int instances, const char *more);

/* ---- Mesos ---- */
/* cpus, mem, disk in whole units; ports 31000-31099; attributes "rack=a,host=x" or NULL. The id is the agent's name
 * with the number of offers so far. */
void rig_offer(struct rig *r, const char *agent, int cpus, int mem, int disk, const char *attributes);
void rig_rescind(struct rig *r, const char *offer_id);
/* A status update with uuid for a task by its short name. */
void rig_status(struct rig *r, const char *task, int mesos_state);
void rig_status_of(struct rig *r, struct status_update *u);
enum { RIG_STARTING, RIG_RUNNING, RIG_FINISHED, RIG_FAILED, RIG_KILLED, RIG_LOST, RIG_UNREACHABLE = 10 };

/* ---- looking ---- */
/* The task of a short name; NULL if it is not stored. */
const struct task *rig_task(struct rig *r, const char *name);
struct str rig_id(struct rig *r, const char *name);
/* "t0 PENDING; t1 RUNNING" in order of insertion. */
const char *rig_tasks(struct rig *r);
/* "PENDING RUNNING" of a task's events. */
const char *rig_events(struct rig *r, const char *name);

#endif
