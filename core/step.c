#include "core/step.h"

#include "core/buf.h"

#include <assert.h>

void step_begin(struct step *st, struct store *store, struct sched_update *u)
{
    assert(!st->update && !st->saved);
    *u = (struct sched_update){ 0 };
    st->update = u;
    st->store = store;
}

/* Room for one more element of `size` bytes in a growing array. */
static void *grow(void *v, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return v;
    *cap = *cap ? 2 * *cap : 4;
    return xrealloc(v, *cap * size);
}

const struct task *step_pin(struct step *st, const struct task *t)
{
    struct sched_update *u = st->update;
    u->pins = grow(u->pins, u->n_pins, &u->cap_pins, sizeof(struct task *));
    u->pins[u->n_pins++] = task_ref(t);
    return t;
}

static struct api_op *add_op(struct sched_update *u)
{
    u->ops = grow(u->ops, u->n_ops, &u->cap_ops, sizeof *u->ops);
    u->ops[u->n_ops] = (struct api_op){ 0 };
    return &u->ops[u->n_ops++];
}

/* A set in the log must not hold a task twice: only the last version of each goes into the op. */
static void flush_saves(struct step *st)
{
    uint32_t n = HASH_COUNT(st->saved);
    if (!n) return;
    struct arena *a = &st->update->arena;
    struct api_save_tasks *op = ARENA_NEW(a, struct api_save_tasks);
    *op = (struct api_save_tasks){ .has_tasks = true, .tasks = ARENA_ARRAY(a, struct api_scheduled_task, n) };
    for (struct saved_task *t = st->saved; t; t = t->hh.next) task_to_api(t->task, &op->tasks[op->n_tasks++], a);
    assert(op->n_tasks == n);
    HASH_CLEAR(hh, st->saved);
    add_op(st->update)->save_tasks = op;
}

static void flush_removals(struct step *st)
{
    if (!st->n_removed) return;
    struct arena *a = &st->update->arena;
    struct api_remove_tasks *op = ARENA_NEW(a, struct api_remove_tasks);
    *op = (struct api_remove_tasks){ .has_task_ids = true, .n_task_ids = st->n_removed };
    op->task_ids = ARENA_ARRAY(a, struct str, st->n_removed);
    memcpy(op->task_ids, st->removed, st->n_removed * sizeof *op->task_ids);
    st->n_removed = 0;
    add_op(st->update)->remove_tasks = op;
}

static void apply(struct step *st, const struct api_op *op)
{
    int err = store_apply(st->store, op);
    assert(err == 0);
    (void)err;
}

const struct task *step_save_task(struct step *st, const struct api_scheduled_task *api)
{
    flush_removals(st);
    struct api_save_tasks save = { .has_tasks = true, .n_tasks = 1, .tasks = (struct api_scheduled_task *)api };
    apply(st, &(struct api_op){ .save_tasks = &save });
    const struct task *t = step_pin(st, store_task(st->store, api->assigned_task->task_id));
    struct saved_task *known;
    HASH_FIND(hh, st->saved, t->id.p, t->id.n, known);
    if (known) {
        known->task = t;
        return t;
    }
    known = ARENA_NEW(&st->scratch, struct saved_task);
    known->task = t;
    /* The key is the first version's id, which is pinned. */
    HASH_ADD_KEYPTR(hh, st->saved, t->id.p, t->id.n, known);
    return t;
}

void step_remove_tasks(struct step *st, const struct str *ids, uint32_t n)
{
    if (!n) return;
    flush_saves(st);
    struct api_remove_tasks op = { .has_task_ids = true, .n_task_ids = n, .task_ids = (struct str *)ids };
    for (uint32_t i = 0; i < n; i++) {
        st->removed = grow(st->removed, st->n_removed, &st->cap_removed, sizeof *st->removed);
        st->removed[st->n_removed++] = arena_str(&st->update->arena, ids[i]);
    }
    apply(st, &(struct api_op){ .remove_tasks = &op });
}

void step_record(struct step *st, const struct api_op *op)
{
    flush_saves(st);
    flush_removals(st);
    struct api_op *added = add_op(st->update);
    *added = *(struct api_op *)thrift_clone(&api_op_desc, op, &st->update->arena);
    thrift_normalize(&api_op_desc, added, &st->update->arena);
    apply(st, added);
}

struct effect *step_effect(struct step *st, enum effect_type type)
{
    struct sched_update *u = st->update;
    u->effects = grow(u->effects, u->n_effects, &u->cap_effects, sizeof *u->effects);
    struct effect *e = &u->effects[u->n_effects++];
    *e = (struct effect){ .type = type };
    return e;
}

/* Stable: effects of one type leave in the order of their origin. */
static void sort_effects(struct sched_update *u)
{
    if (u->n_effects < 2) return;
    struct effect *sorted = xmalloc(u->cap_effects * sizeof *sorted);
    uint32_t n = 0;
    for (int type = 0; type < EFFECT_TYPES; type++)
        for (uint32_t i = 0; i < u->n_effects; i++)
            if ((int)u->effects[i].type == type) sorted[n++] = u->effects[i];
    assert(n == u->n_effects);
    free(u->effects);
    u->effects = sorted;
}

void step_end(struct step *st)
{
    flush_saves(st);
    flush_removals(st);
    sort_effects(st->update);
    arena_release(&st->scratch);
    free(st->removed);
    st->removed = NULL;
    st->cap_removed = 0;
    st->update = NULL;
}

void sched_update_release(struct sched_update *u)
{
    for (uint32_t i = 0; i < u->n_pins; i++) task_unref(u->pins[i]);
    free(u->pins);
    free(u->ops);
    free(u->effects);
    arena_release(&u->arena);
    *u = (struct sched_update){ 0 };
}
