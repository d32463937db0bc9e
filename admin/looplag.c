#include "admin/looplag.h"

#include <assert.h>

#define INTERVAL_MS 100
#define NS_PER_MS 1000000u

static void note(uint64_t value, uint64_t *worst, uint64_t *worst_ever)
{
    if (value > *worst) *worst = value;
    if (value > *worst_ever) *worst_ever = value;
}

static void on_timer(uv_timer_t *t)
{
    struct looplag *l = t->data;
    uint64_t now = uv_hrtime();
    note(now > l->due ? now - l->due : 0, &l->late, &l->late_max);
    l->due = now + INTERVAL_MS * (uint64_t)NS_PER_MS;
    uv_timer_start(t, on_timer, INTERVAL_MS, 0);
}

/* Runs once per pass, right before the loop waits. Callbacks of I/O run inside the waiting part, so what counts as
 * work is the time of the whole pass less what libuv has spent idle. */
static void on_prepare(uv_prepare_t *p)
{
    struct looplag *l = p->data;
    uint64_t now = uv_hrtime();
    uint64_t idle = uv_metrics_idle_time(p->loop);
    uint64_t pass = now - l->pass_began;
    uint64_t waited = idle - l->idle_before;
    uint64_t busy = pass > waited ? pass - waited : 0;
    note(busy, &l->busy, &l->busy_max);
    stat_add(l->busy_total_stat, (int64_t)busy);
    l->pass_began = now;
    l->idle_before = idle;
}

void looplag_start(struct looplag *l, uv_loop_t *loop, struct stats *stats)
{
    *l = (struct looplag){ 0 };
    int rv = uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    assert(rv == 0);
    l->late_stat = stats_int(stats, "loop_lag_ms");
    l->late_max_stat = stats_int(stats, "loop_lag_ms_max");
    l->busy_stat = stats_int(stats, "loop_busy_ms");
    l->busy_max_stat = stats_int(stats, "loop_busy_ms_max");
    l->busy_total_stat = stats_int(stats, "loop_busy_nanos_total");
    uv_prepare_init(loop, &l->prepare);
    uv_timer_init(loop, &l->timer);
    l->prepare.data = l->timer.data = l;
    l->pass_began = uv_hrtime();
    l->due = l->pass_began + INTERVAL_MS * (uint64_t)NS_PER_MS;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_timer_start(&l->timer, on_timer, INTERVAL_MS, 0);
}

void looplag_tick(struct looplag *l)
{
    stat_set(l->late_stat, (int64_t)(l->late / NS_PER_MS));
    stat_set(l->late_max_stat, (int64_t)(l->late_max / NS_PER_MS));
    stat_set(l->busy_stat, (int64_t)(l->busy / NS_PER_MS));
    stat_set(l->busy_max_stat, (int64_t)(l->busy_max / NS_PER_MS));
    l->late = l->busy = 0;
}

void looplag_stop(struct looplag *l)
{
    if (!l->prepare.loop || uv_is_closing((uv_handle_t *)&l->prepare)) return;
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->timer, NULL);
}
