/* RPC methods inside the core: the table of handlers and what they share. A handler reads its arguments, may change
 * tasks through core/tasks.h, and fills in the response, which is OK unless it says otherwise. */
#ifndef AURORA_CORE_COMMAND_H
#define AURORA_CORE_COMMAND_H

#include "core/sched_impl.h"

struct command {
    struct sched *s;
    const struct sched_event *ev;
    const void *args;              /* of the method's type, as the client sent them */
    struct arena *a;               /* lives as long as the answer */
    struct api_response *response; /* details present, serverInfo filled in */
    bool deferred;                 /* a creation goes on and answers when it is done */
};

typedef void (*command_fn)(struct command *c);
struct command_entry {
    const char *method;
    command_fn run;
};
/* Ends with an entry without method. */
extern const struct command_entry command_table[];

/* Sets the code and adds a detail. Returns false, so that a check can end with it. */
bool command_fail(struct command *c, enum api_response_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Aurora's answer to an argument that it stumbles over: ERROR and a detail without text. */
bool command_fail_blank(struct command *c);
void command_note(struct command *c, const char *text);
/* False with ERROR_TRANSIENT while this process does not lead. */
bool command_ready(struct command *c);
/* False with an ERROR if the key is no valid one. */
bool command_key_ok(struct command *c, const struct api_job_key *key);
/* The client's struct in storage form, the command's own; NULL stays NULL. */
void *command_normal(struct command *c, const struct tdesc *d, const void *obj);
/* Items that an answer holds, or tasks that a command touched. */
void command_workload(struct command *c, const char *prefix, int64_t n);
struct api_result *command_result(struct command *c);

/* creation.c: the instances of a new job, in slices of LIMIT_STEP_CREATED_TASKS. */
/* Inserts instances 0 .. n - 1, the first slice at once. If more are left, the command is deferred. */
void creation_start(struct command *c, struct config *config, uint32_t n);
/* The next slice; answers the command with the last one. */
void creation_go_on(struct sched *s);
/* Tasks of this key are still being created. */
bool creation_of(const struct sched *s, const struct api_job_key *key);
void creation_free_all(struct sched *s);
/* command.c: the answer that a deferred command is due. */
void command_answer_ok(struct sched *s, uint64_t cookie);

/* cmd_jobs.c */
void cmd_create_job(struct command *c);
void cmd_kill_tasks(struct command *c);
void cmd_restart_shards(struct command *c);
void cmd_populate_job_config(struct command *c);
/* cmd_tasks.c */
void cmd_get_tasks_status(struct command *c);
void cmd_get_tasks_without_configs(struct command *c);
void cmd_get_pending_reason(struct command *c);
/* cmd_summary.c */
void cmd_get_role_summary(struct command *c);
void cmd_get_job_summary(struct command *c);
void cmd_get_jobs(struct command *c);
void cmd_get_config_summary(struct command *c);
void cmd_get_tier_configs(struct command *c);

#endif
