/* The small tables of the store: hosts, cron templates, quotas, maintenance requests, and job updates. */
#include "core/err.h"
#include "core/job_key.h"
#include "core/store_impl.h"

#include <assert.h>

/* ---------------- one deep copy under a key ---------------- */

struct record *record_find(struct record *table, struct str key)
{
    struct record *r = NULL;
    if (key.p) HASH_FIND(hh, table, key.p, key.n, r);
    return r;
}

static bool encodable(const struct tdesc *d, const void *obj)
{
    struct buf b = { 0 };
    int err = tbinary_write(&b, d, obj);
    buf_release(&b);
    return err == 0;
}

static void count_change(struct store *s, struct record **table)
{
    if (table == &s->hosts)
        s->host_changes++;
    else
        s->other_changes++;
}

int record_put(struct store *s, struct record **table, struct str key, const struct tdesc *d, const void *obj)
{
    assert(key.p);
    struct arena arena = { 0 };
    void *copy = thrift_clone(d, obj, &arena);
    thrift_normalize(d, copy, &arena);
    if (!encodable(d, copy)) {
        arena_release(&arena);
        return ERR_INVALID;
    }
    struct record *r = record_find(*table, key);
    struct arena old = { 0 };
    if (r)
        old = r->arena; /* `key` may live in there: freed last */
    else
        r = xcalloc(1, sizeof *r);
    bool is_new = !r->obj;
    r->arena = arena;
    r->obj = copy;
    r->key = arena_str(&r->arena, key);
    r->hh.key = (void *)r->key.p;
    if (is_new) HASH_ADD_KEYPTR(hh, *table, r->key.p, r->key.n, r);
    store_retire_arena(s, old);
    count_change(s, table);
    return 0;
}

void record_remove(struct store *s, struct record **table, struct str key)
{
    struct record *r = record_find(*table, key);
    if (!r) return;
    HASH_DEL(*table, r);
    count_change(s, table);
    store_retire_arena(s, r->arena);
    free(r);
}

void record_clear(struct store *s, struct record **table)
{
    while (*table) record_remove(s, table, (*table)->key);
}

/* ---------------- job updates ---------------- */

static struct str update_key_text(const struct api_job_update_key *key, struct arena *a)
{
    struct str job = key ? job_key_text(key->job, a) : (struct str){ 0 };
    if (!job.p || !key->id.p) return (struct str){ 0 };
    return arena_strf(a, "%.*s/%.*s", STR_ARG(job), STR_ARG(key->id));
}

static struct update_record *update_find(const struct store *s, const struct api_job_update_key *key)
{
    struct arena a = { 0 };
    struct str text = update_key_text(key, &a);
    struct update_record *u = NULL;
    if (text.p) HASH_FIND(hh, s->updates, text.p, text.n, u);
    arena_release(&a);
    return u;
}

static void update_free(struct store *s, struct update_record *u)
{
    store_retire_arena(s, u->arena);
    free(u);
}

static bool has_ranges(const struct api_instance_task_config *c)
{
    if (!c->task || c->n_instances == 0) return false;
    for (uint32_t i = 0; i < c->n_instances; i++)
        if (c->instances[i].first > c->instances[i].last) return false;
    return true;
}

static bool update_valid(const struct api_job_update *u)
{
    if (!u->summary || !u->summary->key || !u->instructions || !u->instructions->settings) return false;
    const struct api_job_update_instructions *in = u->instructions;
    if (!in->desired_state && !in->n_initial_state) return false;
    if (in->desired_state && !has_ranges(in->desired_state)) return false;
    for (uint32_t i = 0; i < in->n_initial_state; i++)
        if (!has_ranges(&in->initial_state[i])) return false;
    return true;
}

/* Updates from before the strategies existed get the one that their settings meant. */
static void backfill_strategy(struct api_job_update_settings *s, struct arena *a)
{
    if (s->update_strategy) return;
    s->update_strategy = ARENA_NEW(a, struct api_job_update_strategy);
    if (s->wait_for_batch_completion) {
        struct api_batch_job_update_strategy *b = ARENA_NEW(a, struct api_batch_job_update_strategy);
        *b = (struct api_batch_job_update_strategy){ .has_group_size = true, .group_size = s->update_group_size };
        b->has_autopause_after_batch = true;
        s->update_strategy->batch_strategy = b;
    } else {
        struct api_queue_job_update_strategy *q = ARENA_NEW(a, struct api_queue_job_update_strategy);
        *q = (struct api_queue_job_update_strategy){ .has_group_size = true, .group_size = s->update_group_size };
        s->update_strategy->queue_strategy = q;
    }
}

int store_put_update(struct store *s, const struct api_job_update *update)
{
    if (!update_valid(update)) return ERR_INVALID;
    struct update_record *u = xcalloc(1, sizeof *u);
    u->key = update_key_text(update->summary->key, &u->arena);
    u->update = thrift_clone(&api_job_update_desc, update, &u->arena);
    backfill_strategy(u->update->instructions->settings, &u->arena);
    thrift_normalize(&api_job_update_desc, u->update, &u->arena);
    if (!u->key.p || !encodable(&api_job_update_desc, u->update)) {
        update_free(s, u);
        return ERR_INVALID;
    }
    store_remove_update(s, update->summary->key);
    HASH_ADD_KEYPTR(hh, s->updates, u->key.p, u->key.n, u);
    s->other_changes++;
    return 0;
}

void store_remove_update(struct store *s, const struct api_job_update_key *key)
{
    struct update_record *u = update_find(s, key);
    if (!u) return;
    HASH_DEL(s->updates, u);
    s->other_changes++;
    update_free(s, u);
}

void store_clear_updates(struct store *s)
{
    while (s->updates) store_remove_update(s, s->updates->update->summary->key);
}

/* The state is not stored: it is what the events say. */
static void derive_state(struct update_record *u)
{
    struct api_job_update_summary *summary = u->update->summary;
    if (!summary->state) summary->state = ARENA_NEW(&u->arena, struct api_job_update_state);
    struct api_job_update_state *st = summary->state;
    if (u->n_events) {
        st->has_status = true;
        st->status = u->events[u->n_events - 1].status;
        st->created_timestamp_ms = u->events[0].timestamp_ms;
        st->last_modified_timestamp_ms = u->events[u->n_events - 1].timestamp_ms;
    }
    if (u->n_instance_events) {
        int64_t last = u->instance_events[u->n_instance_events - 1].timestamp_ms;
        if (last > st->last_modified_timestamp_ms) st->last_modified_timestamp_ms = last;
    }
    st->has_created_timestamp_ms = st->has_last_modified_timestamp_ms = true;
}

/* The array v of *n elements, with room for one more at `at`, which is counted in. An image may show the elements that
 * are there: the new one goes behind them, or into another array. */
static void *make_room(const struct store *s, struct arena *a, void *v, uint32_t *n, uint32_t *cap, uint32_t at,
                       size_t size)
{
    char *old = v, *to = old;
    bool shown = s->images && at < *n;
    if (*n == *cap || shown) {
        if (*n == *cap) *cap = *cap ? 2 * *cap : 4;
        to = arena_alloc(a, *cap * size);
        if (at) memcpy(to, old, at * size);
    }
    if (at < *n) memmove(to + (at + 1) * size, old + at * size, (*n - at) * size);
    ++*n;
    return to;
}

int store_add_update_event(struct store *s, const struct api_job_update_key *key, const struct api_job_update_event *e)
{
    struct update_record *u = update_find(s, key);
    if (!u || !e->has_status || !tenum_name(&api_job_update_status_enum, e->status)) return ERR_INVALID;
    struct api_job_update_event *copy = thrift_clone(&api_job_update_event_desc, e, &u->arena);
    thrift_normalize(&api_job_update_event_desc, copy, &u->arena);
    uint32_t at = u->n_events;
    while (at && u->events[at - 1].timestamp_ms > copy->timestamp_ms) at--;
    u->events = make_room(s, &u->arena, u->events, &u->n_events, &u->cap_events, at, sizeof(*copy));
    u->events[at] = *copy;
    s->other_changes++;
    derive_state(u);
    return 0;
}

int store_add_instance_event(struct store *s, const struct api_job_update_key *key,
                             const struct api_job_instance_update_event *e)
{
    struct update_record *u = update_find(s, key);
    if (!u) return ERR_INVALID;
    struct api_job_instance_update_event *copy = thrift_clone(&api_job_instance_update_event_desc, e, &u->arena);
    thrift_normalize(&api_job_instance_update_event_desc, copy, &u->arena);
    uint32_t at = u->n_instance_events;
    while (at && u->instance_events[at - 1].timestamp_ms > copy->timestamp_ms) at--;
    u->instance_events =
        make_room(s, &u->arena, u->instance_events, &u->n_instance_events, &u->cap_instance_events, at, sizeof(*copy));
    u->instance_events[at] = *copy;
    s->other_changes++;
    derive_state(u);
    return 0;
}

void update_record_to_api(const struct update_record *u, struct api_job_update_details *out)
{
    *out = (struct api_job_update_details){ .update = u->update,
                                            .has_update_events = true,
                                            .n_update_events = u->n_events,
                                            .update_events = u->events,
                                            .has_instance_events = true,
                                            .n_instance_events = u->n_instance_events,
                                            .instance_events = u->instance_events };
}

static bool update_active(enum api_job_update_status s)
{
    switch (s) {
    case API_JOB_UPDATE_STATUS_ROLLING_FORWARD:
    case API_JOB_UPDATE_STATUS_ROLLING_BACK:
    case API_JOB_UPDATE_STATUS_ROLL_FORWARD_PAUSED:
    case API_JOB_UPDATE_STATUS_ROLL_BACK_PAUSED:
    case API_JOB_UPDATE_STATUS_ROLL_FORWARD_AWAITING_PULSE:
    case API_JOB_UPDATE_STATUS_ROLL_BACK_AWAITING_PULSE:
        return true;
    default:
        return false;
    }
}

bool store_job_updating(const struct store *s, const struct api_job_key *key)
{
    for (struct update_record *u = s->updates; u; u = u->hh.next) {
        const struct api_job_update_state *st = u->update->summary->state;
        if (u->n_events && update_active(st->status) && job_key_eq(u->update->summary->key->job, key)) return true;
    }
    return false;
}
