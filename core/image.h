/* The store as it was at one moment, for the price of copying an array of pointers: what a snapshot, a backup or a long
 * answer reads while the store goes on. An image and what it shows never change, so that they may be read by another
 * thread as long as a reference is held; taking and giving back references is for the loop only.
 *
 * Nothing is counted per task. What leaves the store (a version that is replaced, a record that is removed) is kept by
 * the newest image, which all older ones precede, and handed to the next older one when that image goes. So giving
 * back an image costs as much as the store has changed meanwhile, not as much as it holds. */
#ifndef AURORA_CORE_IMAGE_H
#define AURORA_CORE_IMAGE_H

#include "core/store.h"

struct image {
    /* Everything but the tasks, as a Snapshot: timestamp, framework id and build properties are set. */
    struct api_snapshot rest;
    /* In the order of store_each_task(). */
    const struct task *const *tasks;
    uint32_t n;
    /* Equal in two images of a store: hosts, or whatever is neither host nor task, are the same. */
    uint64_t host_changes, other_changes;
};

/* With one reference. */
struct image *image_take(const struct store *s, int64_t timestamp_ms);
/* One reference more; returns i. */
struct image *image_ref(struct image *i);
/* NULL is allowed. */
void image_unref(struct image *i);

#endif
