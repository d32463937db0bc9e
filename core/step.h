/* A step in progress: the ops that it applies and records, the effects that it collects. */
#ifndef AURORA_CORE_STEP_H
#define AURORA_CORE_STEP_H

#include "core/hash.h"
#include "core/sched.h"
#include "core/store.h"

/* A saved task of the run of saves that will become one op: a later version takes the place of an earlier one. */
struct saved_task {
    const struct task *task; /* pinned by the update */
    struct saved_task *next;
    UT_hash_handle hh; /* by task id */
};

struct step {
    struct sched_update *update; /* NULL between steps */
    struct store *store;
    struct saved_task *saved; /* the run of saves that becomes one op, in order of first save */
    struct str *removed;      /* or the run of removals; never both */
    uint32_t n_removed, cap_removed;
    struct arena scratch; /* for what is not needed once the step is over */
};

void step_begin(struct step *st, struct store *store, struct sched_update *u);
/* Turns the last run into an op and sorts the effects. */
void step_end(struct step *st);

/* Keeps the version alive as long as the update. */
const struct task *step_pin(struct step *st, const struct task *t);

/* Applies and records. The op must be valid: what the scheduler decides always is. api may share memory with the
 * version that it replaces if that one is pinned. */
const struct task *step_save_task(struct step *st, const struct api_scheduled_task *api);
/* ids are copied. */
void step_remove_tasks(struct step *st, const struct str *ids, uint32_t n);
/* op is deeply copied. */
void step_record(struct step *st, const struct api_op *op);

/* A zeroed effect of the type, valid until the next one is added. */
struct effect *step_effect(struct step *st, enum effect_type type);

#endif
