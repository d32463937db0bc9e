#include "core/command.h"

#include "core/buf.h"
#include "core/limits.h"
#include "core/tasks.h"

#include <assert.h>

/* A large job in the making. What its steps save becomes durable together (sched_busy()), so a crash leaves all of it
 * or nothing; in between the loop is free for others. */
struct creation {
    struct creation *next;
    struct config *config; /* counted */
    uint32_t n, at;
    uint64_t cookie; /* of the command that waits */
};

static void insert_slice(struct sched *s, struct creation *k)
{
    uint32_t n = k->n - k->at < LIMIT_STEP_CREATED_TASKS ? k->n - k->at : LIMIT_STEP_CREATED_TASKS;
    int32_t ids[LIMIT_STEP_CREATED_TASKS];
    for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)(k->at + i);
    tasks_insert(s, k->config, ids, n, "create-job");
    k->at += n;
}

static void creation_free(struct creation *k)
{
    config_unref(k->config);
    free(k);
}

void creation_start(struct command *c, struct config *config, uint32_t n)
{
    struct creation first = { .config = config, .n = n, .cookie = c->ev->command.cookie };
    insert_slice(c->s, &first);
    if (first.at == n) return;
    struct creation **end = &c->s->creations;
    while (*end) end = &(*end)->next;
    *end = xmalloc(sizeof **end);
    **end = first;
    config_ref(config);
    c->deferred = true;
}

void creation_go_on(struct sched *s)
{
    struct creation *k = s->creations;
    assert(k);
    insert_slice(s, k);
    if (k->at < k->n) return;
    s->creations = k->next;
    command_answer_ok(s, k->cookie);
    creation_free(k);
}

bool creation_of(const struct sched *s, const struct api_job_key *key)
{
    for (const struct creation *k = s->creations; k; k = k->next) {
        const struct api_job_key *own = k->config->api->job;
        if (str_eq(own->role, key->role) && str_eq(own->environment, key->environment) && str_eq(own->name, key->name))
            return true;
    }
    return false;
}

void creation_free_all(struct sched *s)
{
    while (s->creations) {
        struct creation *k = s->creations;
        s->creations = k->next;
        creation_free(k);
    }
}
