#include "core/image.h"

#include "core/buf.h"

#include <assert.h>
#include <stdlib.h>

#include "build_info.h"

struct image_entry {
    struct image pub;
    uint32_t refs;
    struct arena arena; /* of pub.rest */
    const struct task **tasks;
};

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

struct image *image_take(const struct store *s, int64_t timestamp_ms)
{
    struct image_entry *e = xcalloc(1, sizeof(*e));
    struct image *i = &e->pub;
    e->refs = 1;
    store_snapshot_rest(s, &i->rest, &e->arena);
    i->rest.has_timestamp = true;
    i->rest.timestamp = timestamp_ms;
    put_build(i->rest.scheduler_metadata, &e->arena);
    e->tasks = store_pin_all(s, &i->n);
    i->tasks = e->tasks;
    return i;
}

struct image *image_ref(struct image *i)
{
    ((struct image_entry *)i)->refs++;
    return i;
}

void image_unref(struct image *i)
{
    if (!i) return;
    struct image_entry *e = (struct image_entry *)i;
    assert(e->refs > 0);
    if (--e->refs) return;
    for (uint32_t k = 0; k < i->n; k++) task_unref(e->tasks[k]);
    free(e->tasks);
    arena_release(&e->arena);
    free(e);
}
