#include "core/image.h"

#include "core/buf.h"
#include "core/store_impl.h"

#include <assert.h>
#include <stdlib.h>

#include "build_info.h"

struct image_entry {
    struct image pub;
    uint32_t refs;
    struct store *store;
    struct image_entry *older, *newer;
    struct arena arena; /* of pub.rest */
    const struct task **tasks;
    /* What has left the store while this was the newest image. */
    const struct task **old_tasks;
    uint32_t n_old_tasks, cap_old_tasks;
    struct arena *old_arenas;
    uint32_t n_old_arenas, cap_old_arenas;
};

/* ---------------- what leaves the store ---------------- */

/* Room for one more; the array may move. */
static void *grown(void *v, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return v;
    *cap = *cap ? 2 * *cap : 64;
    return xrealloc(v, *cap * size);
}

static void keep_task(struct image_entry *e, const struct task *t)
{
    e->old_tasks = grown(e->old_tasks, e->n_old_tasks, &e->cap_old_tasks, sizeof(struct task *));
    e->old_tasks[e->n_old_tasks++] = t;
}

static void keep_arena(struct image_entry *e, struct arena a)
{
    e->old_arenas = grown(e->old_arenas, e->n_old_arenas, &e->cap_old_arenas, sizeof(*e->old_arenas));
    e->old_arenas[e->n_old_arenas++] = a;
}

void store_retire_task(struct store *s, const struct task *t)
{
    if (s->images)
        keep_task(s->images, t);
    else
        task_unref(t);
}

void store_retire_arena(struct store *s, struct arena a)
{
    if (s->images && a.chunks)
        keep_arena(s->images, a);
    else
        arena_release(&a);
}

/* ---------------- taking ---------------- */

/* What Aurora keeps of the program that made a snapshot. */
static void put_build(struct api_scheduler_metadata *m, struct arena *a)
{
    static const struct {
        struct str key, value;
    } build[] = {
        { STR("build.date"), STR(BUILD_DATE) },
        { STR("build.git.revision"), STR(BUILD_REVISION) },
        { STR("build.git.tag"), STR(BUILD_TAG) },
        { STR("build.time"), STR(BUILD_TIME) },
    };
    m->has_details = true;
    m->n_details = sizeof(build) / sizeof(build[0]);
    m->details_keys = ARENA_ARRAY(a, struct str, m->n_details);
    m->details = ARENA_ARRAY(a, struct str, m->n_details);
    for (uint32_t i = 0; i < m->n_details; i++) {
        m->details_keys[i] = build[i].key;
        m->details[i] = build[i].value;
    }
}

static void copy_tasks(struct image_entry *e)
{
    const struct store *s = e->store;
    uint32_t n = 0;
    e->tasks = xmalloc(HASH_COUNT(s->tasks) * sizeof(struct task *));
    for (uint32_t k = 0; k < s->n_versions; k++)
        if (s->versions[k]) e->tasks[n++] = s->versions[k];
    assert(n == HASH_COUNT(s->tasks));
    e->pub.tasks = e->tasks;
    e->pub.n = n;
}

struct image *image_take(const struct store *s, int64_t timestamp_ms)
{
    struct image_entry *e = xcalloc(1, sizeof(*e));
    struct api_snapshot *rest = &e->pub.rest;
    e->refs = 1;
    e->store = (struct store *)s; /* what it shows does not change; that it is shown does */
    copy_tasks(e);
    store_snapshot_rest(s, rest, &e->arena);
    e->pub.host_changes = s->host_changes;
    e->pub.other_changes = s->other_changes;
    rest->has_timestamp = true;
    rest->timestamp = timestamp_ms;
    put_build(rest->scheduler_metadata, &e->arena);
    e->older = s->images;
    if (e->older) e->older->newer = e;
    e->store->images = e;
    return &e->pub;
}

/* ---------------- giving back ---------------- */

struct image *image_ref(struct image *i)
{
    ((struct image_entry *)i)->refs++;
    return i;
}

static void leave_list(struct image_entry *e)
{
    if (e->older) e->older->newer = e->newer;
    if (e->newer)
        e->newer->older = e->older;
    else
        e->store->images = e->older;
}

/* What left the store while e was the newest image was there when an older one was taken. */
static void hand_down(struct image_entry *e)
{
    for (uint32_t k = 0; k < e->n_old_tasks; k++) {
        if (e->older)
            keep_task(e->older, e->old_tasks[k]);
        else
            task_unref(e->old_tasks[k]);
    }
    for (uint32_t k = 0; k < e->n_old_arenas; k++) {
        if (e->older)
            keep_arena(e->older, e->old_arenas[k]);
        else
            arena_release(&e->old_arenas[k]);
    }
    free(e->old_tasks);
    free(e->old_arenas);
}

void image_unref(struct image *i)
{
    if (!i) return;
    struct image_entry *e = (struct image_entry *)i;
    assert(e->refs > 0);
    if (--e->refs) return;
    leave_list(e);
    hand_down(e);
    free(e->tasks);
    arena_release(&e->arena);
    if (e->store->freed && !e->store->images) store_free(e->store);
    free(e);
}
