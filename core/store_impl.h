/* Inside the store: for core/store*.c only. */
#ifndef AURORA_CORE_STORE_IMPL_H
#define AURORA_CORE_STORE_IMPL_H

#include "core/intern.h"
#include "core/store.h"
#include "core/task.h"
#include "core/task_fsm.h"

enum task_index { BY_JOB, BY_STATUS, BY_HOST, TASK_INDEXES };

/* The place of a task id in the store; versions come and go in it. */
struct slot {
    const struct task *task;
    uint32_t at; /* in the store's versions */
    struct job_entry *job;
    struct {
        struct slot *prev, *next;
    } link[TASK_INDEXES];
    UT_hash_handle hh; /* the key is the present version's id */
};

struct job_entry {
    struct job pub; /* strings in the entry's own memory */
    struct role_entry *role;
    struct job_entry *prev, *next; /* in the role */
    struct index_list tasks;
    UT_hash_handle hh; /* by pub.text */
    char bytes[];
};

struct role_entry {
    struct str name;
    struct job_entry *head, *tail;
    uint32_t n_jobs;
    UT_hash_handle hh;
    char bytes[];
};

/* A host, cron template, quota or maintenance request: one deep copy in storage form under its key. */
struct record {
    struct arena arena;
    struct str key;
    void *obj;
    UT_hash_handle hh;
};

struct update_record {
    struct arena arena;
    struct str key;                /* role/environment/name/id */
    struct api_job_update *update; /* summary.state is derived from the events */
    /* In the arena. What an image shows of them is the first so many: see make_room(). */
    struct api_job_update_event *events;
    uint32_t n_events, cap_events;
    struct api_job_instance_update_event *instance_events;
    uint32_t n_instance_events, cap_instance_events;
    UT_hash_handle hh;
};

struct image_entry;

struct store {
    struct intern_pool strings;
    struct config_pool configs;
    struct slot *tasks;
    /* The versions in the order of the slots, with a hole (NULL) for each task that has gone: an image copies them
     * without following a pointer. */
    const struct task **versions;
    uint32_t n_versions, cap_versions;
    struct image_entry *images; /* the newest; NULL: there is none */
    bool freed;                 /* but images still show it */
    struct job_entry *jobs;
    struct role_entry *roles;
    struct index_list by_status[TASK_STATES];
    struct record *hosts, *cron_jobs, *quotas, *maintenance;
    struct update_record *updates;
    struct str framework_id;              /* malloc'ed */
    uint64_t host_changes, other_changes; /* so far */
};

/* ---- core/store_task.c ---- */
/* api must be valid (task_api_valid). */
void store_put_task(struct store *s, const struct api_scheduled_task *api, struct config *config);
void store_remove_task(struct store *s, struct str task_id);
void store_clear_tasks(struct store *s);
struct slot *store_slot(const struct store *s, struct str task_id);
struct job_entry *store_job_entry(const struct store *s, const struct api_job_key *key);

/* ---- core/image.c: what leaves the store goes here, since an image may still show it ---- */
/* Takes over the store's reference. */
void store_retire_task(struct store *s, const struct task *t);
/* Takes over the memory. */
void store_retire_arena(struct store *s, struct arena a);

/* ---- core/store_record.c ---- */
/* Puts a copy of obj under the key; an existing one keeps its place. ERR_INVALID if it can't be encoded. */
int record_put(struct store *s, struct record **table, struct str key, const struct tdesc *d, const void *obj);
struct record *record_find(struct record *table, struct str key);
void record_remove(struct store *s, struct record **table, struct str key);
void record_clear(struct store *s, struct record **table);
int store_put_update(struct store *s, const struct api_job_update *update);
int store_add_update_event(struct store *s, const struct api_job_update_key *key, const struct api_job_update_event *e);
int store_add_instance_event(struct store *s, const struct api_job_update_key *key,
                             const struct api_job_instance_update_event *e);
void store_remove_update(struct store *s, const struct api_job_update_key *key);
void store_clear_updates(struct store *s);
/* The update with its derived state and events, shallow. */
void update_record_to_api(const struct update_record *u, struct api_job_update_details *out);

#endif
