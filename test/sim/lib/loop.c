#include "test/sim/lib/loop.h"

#include <assert.h>
#include <string.h>

/* A pass of the loop: what is due at its end comes within so long. */
#define PASS_MAX_US 200

/* A callback to come. Its handle, where it has one, points to it until it is cancelled or runs. */
struct due {
    struct event e;
    struct loop *loop;
    uv_handle_t *handle;
    uv_timer_cb timer;
    uv_check_cb check;
    uv_idle_cb idle;
    uv_close_cb close;
    uv_work_t *work;
    uv_after_work_cb after;
};

static struct world *current; /* for uv_hrtime(), which knows no loop */

void loop_init(struct loop *l, struct world *w)
{
    *l = (struct loop){ .w = w, .work_max_us = 1000 };
    current = w;
}

static void maybe_drained(struct loop *l)
{
    if (l->dead && !l->due) l->on_drained(l);
}

void loop_kill(struct loop *l)
{
    assert(!l->dead);
    l->dead = true;
    l->resume_us = 0;
}

static void call(const struct due *d)
{
    if (d->close) d->close(d->handle);
    if (d->after) d->after(d->work, 0);
    if (d->loop->dead || !d->handle) return;
    if (d->timer) d->timer((uv_timer_t *)d->handle);
    if (d->check) d->check((uv_check_t *)d->handle);
    if (d->idle) d->idle((uv_idle_t *)d->handle);
}

static void on_due(struct event *e)
{
    struct due *d = (struct due *)e;
    struct loop *l = d->loop;
    if (l->resume_us > l->w->now_us) {
        e->at_us = l->resume_us + 1000; /* behind all that came by the network */
        return;
    }
    bool again = (d->check || d->idle) && d->handle && !l->dead;
    if (d->timer && d->handle) d->handle->u.reserved[0] = NULL;
    call(d);
    if (again && d->handle && !l->dead) { /* not stopped by its callback */
        e->at_us = l->w->now_us + PASS_MAX_US;
        return;
    }
    l->due--;
    maybe_drained(l);
}

static struct due *due_in(struct loop *l, uint64_t delay_us)
{
    struct due *d = world_after(l->w, delay_us, sizeof(*d), on_due);
    d->loop = l;
    l->due++;
    return d;
}

static struct loop *loop_of(const void *handle)
{
    return (struct loop *)((const uv_handle_t *)handle)->loop;
}

static void init(uv_loop_t *l, uv_handle_t *h)
{
    h->loop = l;
    h->u.reserved[0] = NULL;
}

static void cancel(uv_handle_t *h)
{
    struct due *d = h->u.reserved[0];
    if (d) d->handle = NULL;
    h->u.reserved[0] = NULL;
}

static struct due *restart(void *handle, uint64_t delay_us)
{
    uv_handle_t *h = handle;
    cancel(h);
    struct due *d = due_in(loop_of(h), delay_us);
    d->handle = h;
    h->u.reserved[0] = d;
    return d;
}

static uint64_t rest_of_pass(void *handle)
{
    return world_between(loop_of(handle)->w, 1, PASS_MAX_US);
}

/* ---- in the place of libuv's ---- */

uint64_t uv_hrtime(void)
{
    return current ? current->now_us * 1000 : 0;
}

int uv_is_active(const uv_handle_t *h)
{
    return h->u.reserved[0] != NULL;
}

int uv_timer_init(uv_loop_t *l, uv_timer_t *t)
{
    init(l, (uv_handle_t *)t);
    return 0;
}

int uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t ms, uint64_t repeat_ms)
{
    assert(!repeat_ms);
    restart(t, ms * 1000)->timer = cb;
    return 0;
}

int uv_timer_stop(uv_timer_t *t)
{
    cancel((uv_handle_t *)t);
    return 0;
}

int uv_check_init(uv_loop_t *l, uv_check_t *c)
{
    init(l, (uv_handle_t *)c);
    return 0;
}

int uv_check_start(uv_check_t *c, uv_check_cb cb)
{
    if (!uv_is_active((uv_handle_t *)c)) restart(c, rest_of_pass(c))->check = cb;
    return 0;
}

int uv_check_stop(uv_check_t *c)
{
    cancel((uv_handle_t *)c);
    return 0;
}

int uv_idle_init(uv_loop_t *l, uv_idle_t *i)
{
    init(l, (uv_handle_t *)i);
    return 0;
}

int uv_idle_start(uv_idle_t *i, uv_idle_cb cb)
{
    if (!uv_is_active((uv_handle_t *)i)) restart(i, rest_of_pass(i))->idle = cb;
    return 0;
}

int uv_idle_stop(uv_idle_t *i)
{
    cancel((uv_handle_t *)i);
    return 0;
}

void uv_close(uv_handle_t *h, uv_close_cb cb)
{
    cancel(h);
    struct due *d = due_in(loop_of(h), 1);
    d->handle = h;
    d->close = cb;
}

/* The job sees what is there now, and its end comes later: jobs work on what nobody changes meanwhile. */
int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work, uv_after_work_cb after)
{
    struct loop *l = (struct loop *)loop;
    work(req);
    struct due *d = due_in(l, world_between(l->w, 20, l->work_max_us));
    d->work = req;
    d->after = after;
    return 0;
}
