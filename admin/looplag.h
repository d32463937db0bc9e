/* How long the loop keeps everybody waiting, measured in two ways: how late a timer of every 100 ms is, and how long
 * one pass of the loop works without waiting for events. */
#ifndef AURORA_ADMIN_LOOPLAG_H
#define AURORA_ADMIN_LOOPLAG_H

#include "core/stats.h"

#include <uv.h>

struct looplag {
    uv_prepare_t prepare;
    uv_timer_t timer;
    uint64_t due;                            /* of the timer, uv_hrtime() */
    uint64_t pass_began, idle_before;        /* of the present pass */
    uint64_t late, late_max, busy, busy_max; /* ns: worst since the last tick, worst ever */
    struct stat *late_stat, *late_max_stat, *busy_stat, *busy_max_stat, *busy_total_stat;
};

/* Before the loop's first pass: it turns on libuv's idle time accounting. */
void looplag_start(struct looplag *l, uv_loop_t *loop, struct stats *stats);
/* Writes the stats loop_lag_ms, loop_lag_ms_max, loop_busy_ms, loop_busy_ms_max, loop_busy_nanos_total. */
void looplag_tick(struct looplag *l);
void looplag_stop(struct looplag *l);

#endif
