/* What the chosen log says, op by op: the one history that all stores, answers and effects of a scheduler cluster are
 * held against. It reads the checker's chosen values with the real codec into a store of its own, and remembers for
 * each job of the test what it looked like after every op. So an answer is linearizable exactly if some point of this
 * history explains it that is not before what was known when the question was asked.
 *
 * Jobs are role/prod/j<number>, each created once, with services of which each instance is to run. */
#ifndef AURORA_SIM_TRUTH_H
#define AURORA_SIM_TRUTH_H

#include "core/store.h"
#include "log/entry.h"
#include "test/sim/lib/checker.h"

#define TRUTH_JOBS_MAX 256
#define TRUTH_INSTANCES_MAX 4

/* What a job looks like. */
struct job_view {
    uint64_t print; /* of ids, states and numbers of events of its tasks, in any order */
    unsigned tasks, active;
    unsigned live; /* neither terminal nor being killed */
};

struct job_moment {
    uint64_t op; /* behind which it looks so, until the next moment */
    struct job_view view;
};

struct job_history {
    struct job_moment *v;
    size_t n, cap;
    bool kill_acknowledged;
    unsigned first_tasks[TRUTH_INSTANCES_MAX];
};

struct seen_task;

struct truth {
    struct checker *check;
    struct store *store;
    struct entry_reader reader;
    uint64_t next; /* position that is read next */
    uint64_t ops;
    uint64_t *hashes; /* of the store, by `next` */
    size_t cap;
    struct job_history jobs[TRUTH_JOBS_MAX];
    struct seen_task *tasks; /* that the log has ever held */
    unsigned snapshots;
};

void truth_init(struct truth *t, struct checker *check);
void truth_release(struct truth *t);
/* Reads what has been chosen since. */
void truth_advance(struct truth *t);

/* The store's hash when all positions below `next` are applied; advances. false: they are not all chosen. */
bool truth_hash(struct truth *t, uint64_t next, uint64_t *ret);
/* Who begins to read at `begin`, to where the log was truncated, may know all that is below it only when it has read up
 * to this position: then it has the whole snapshot. */
uint64_t truth_whole_from(const struct truth *t, uint64_t begin);
/* Whether the log has ever held the task with an event of this state. */
bool truth_has_task(const struct truth *t, struct str task_id, enum api_schedule_status status);

/* The view of tasks of one job. */
void view_add(struct job_view *v, struct str task_id, enum api_schedule_status status, uint32_t n_events);
/* The first op, not before `floor`, behind which the job looks like this; UINT64_MAX: never. */
uint64_t truth_explains(const struct truth *t, unsigned job, const struct job_view *view, uint64_t floor);
/* The first op behind which the job was there; or, from there on, nothing of it lived. UINT64_MAX: never. */
uint64_t truth_created(const struct truth *t, unsigned job);
uint64_t truth_killed(const struct truth *t, unsigned job);
/* From here on it must not come to life again. */
void truth_kill_acknowledged(struct truth *t, unsigned job);

/* The number of a job of the test; TRUTH_JOBS_MAX: of another. */
unsigned truth_job(const struct api_job_key *key);

#endif
