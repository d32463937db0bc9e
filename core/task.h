/* Task versions in their compact form: one allocation that holds the struct, its events, its ports and its own strings;
 * host, agent and scheduler names are interned, the config is shared. Immutable once made. */
#ifndef AURORA_CORE_TASK_H
#define AURORA_CORE_TASK_H

#include "core/intern.h"
#include "core/store.h"

/* A new version with one reference. `config` is referenced once more; api must be valid (task_api_valid). */
struct task *task_new(struct intern_pool *strings, struct config *config, const struct api_scheduled_task *api);
/* Whether a stored task has what every task needs: id, config with a whole job key, known status. */
bool task_api_valid(const struct api_scheduled_task *api);

/* The latest event; every stored task has one once it has left INIT. NULL if there is none. */
static inline const struct task_event *task_last_event(const struct task *t)
{
    return t->n_events ? &t->events[t->n_events - 1] : NULL;
}
static inline int64_t task_last_event_ms(const struct task *t)
{
    return t->n_events ? t->events[t->n_events - 1].timestamp_ms : 0;
}
static inline const struct api_job_key *task_job(const struct task *t)
{
    return t->config->api->job;
}
/* "PENDING"; never NULL. */
const char *status_name(enum api_schedule_status s);

#endif
