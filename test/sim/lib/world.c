#include "test/sim/lib/world.h"

#include "core/buf.h"

#include <assert.h>
#include <stdlib.h>

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){ .rng = { seed } };
}

void world_release(struct world *w)
{
    for (size_t i = 0; i < w->n; i++) free(w->heap[i]);
    free(w->heap);
}

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct world *w, size_t i, size_t j)
{
    struct event *e = w->heap[i];
    w->heap[i] = w->heap[j];
    w->heap[j] = e;
}

static void push(struct world *w, struct event *e)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 256;
        w->heap = xrealloc(w->heap, w->cap * sizeof(struct event *));
    }
    size_t i = w->n++;
    w->heap[i] = e;
    for (; i && before(w->heap[i], w->heap[(i - 1) / 2]); i = (i - 1) / 2) swap(w, i, (i - 1) / 2);
}

static struct event *pop(struct world *w)
{
    struct event *e = w->heap[0];
    w->heap[0] = w->heap[--w->n];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < w->n && before(w->heap[child], w->heap[least])) least = child;
        if (least == i) return e;
        swap(w, i, least);
        i = least;
    }
}

void *world_after(struct world *w, uint64_t delay_us, size_t size, void (*run)(struct event *e))
{
    assert(size >= sizeof(struct event));
    struct event *e = xcalloc(1, size);
    *e = (struct event){ w->now_us + delay_us, w->made++, run };
    push(w, e);
    return e;
}

bool world_step(struct world *w, uint64_t until_us)
{
    if (!w->n || w->heap[0]->at_us > until_us) {
        w->now_us = until_us;
        return false;
    }
    struct event *e = pop(w);
    assert(e->at_us >= w->now_us);
    w->now_us = e->at_us;
    w->ran++;
    e->run(e);
    if (e->at_us > w->now_us)
        push(w, e);
    else
        free(e);
    return true;
}
