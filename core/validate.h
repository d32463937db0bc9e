/* What a job must look like to be accepted, and the defaults that it gets (reference: jobs, "Validation and defaults").
 * Messages are Aurora's. */
#ifndef AURORA_CORE_VALIDATE_H
#define AURORA_CORE_VALIDATE_H

#include "core/arena.h"
#include "core/sched.h"

struct validation {
    const struct sched_config *config;
    struct arena *arena; /* for what is filled in and for messages */
    bool lenient_isset;  /* numbers in SLA policies may be unset without a sign of it: their limits are not checked */
    struct str message;  /* of the first check that failed */
};

/* True if the job is accepted. job must be in storage form and the caller's own: defaults are filled in, after which it
 * needs thrift_normalize() again. */
bool validate_job(struct validation *v, struct api_job_configuration *job);
/* The part that concerns the task, for callers that have no job. */
bool validate_task(struct validation *v, struct api_task_config *task, int32_t instance_count);

#endif
