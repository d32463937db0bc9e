/* The registry behind /vars, /vars.json and /graphdata. Names, kinds and formats are Aurora's
 * (reference: vars). A stat, once made, lives as long as the registry; nothing is ever removed. */
#ifndef AURORA_CORE_STATS_H
#define AURORA_CORE_STATS_H

#include "core/buf.h"
#include "core/str.h"
#include "core/text.h" /* java_double() is how doubles are shown */

struct stats;
struct stat;
struct stat_timer;

struct stats *stats_new(void);
void stats_free(struct stats *s);

/* A counter or gauge of 64-bit integers: found or made (value 0). Names are normalised: other characters
 * than [A-Za-z0-9_/.-] become '_'. A name that is taken keeps its kind; a gauge keeps its first function. */
struct stat *stats_int(struct stats *s, const char *name);
/* As above with a printf name, for names with a variable part. */
struct stat *stats_intf(struct stats *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Untracked: the name is kept as it is and the stat stays out of the time series. */
struct stat *stats_int_untracked(struct stats *s, const char *name);
struct stat *stats_double(struct stats *s, const char *name);
struct stat *stats_double_untracked(struct stats *s, const char *name);
void stats_string(struct stats *s, const char *name, struct str value);
/* A gauge that is asked for at each read and tick. */
void stats_gauge(struct stats *s, const char *name, int64_t (*get)(void *arg), void *arg);
void stats_gauge_double(struct stats *s, const char *name, double (*get)(void *arg), void *arg);

void stat_add(struct stat *st, int64_t delta);
void stat_set(struct stat *st, int64_t value);
void stat_set_double(struct stat *st, double value);
int64_t stat_get(const struct stat *st);

/* The set `X_events`, `X_<unit>_total`, `X_events_per_sec`, `X_<unit>_total_per_sec`, `X_<unit>_per_event`; unit
 * "nanos", "ms", "micros". Appears at the first stats_timer(). */
struct stat_timer *stats_timer(struct stats *s, const char *name, const char *unit);
void stat_timer_add(struct stat_timer *t, int64_t amount);

/* One sampling tick: rates are recomputed, tracked stats get a point in their time series. now_ms is wall clock. At
 * most `retain` points are kept (set once, before the first tick; default 3600). */
void stats_retain(struct stats *s, unsigned retain);
void stats_tick(struct stats *s, int64_t now_ms);

/* The body of /vars (lines sorted bytewise, no newline at the end), of /vars.json, and of /graphdata.
 * stats_write_graph: `metrics` is the comma list, points later than since_ms are given; 0, ERR_NOT_FOUND with the
 * unknown name (part of metrics) in *ret_unknown, or ERR_TOO_BIG for more than LIMIT_GRAPH_METRICS; on failure nothing
 * is written. */
void stats_write_vars(struct stats *s, struct buf *out);
void stats_write_json(struct stats *s, struct buf *out, bool pretty);
void stats_write_series_names(struct stats *s, struct buf *out);
int stats_write_graph(struct stats *s, struct str metrics, int64_t since_ms, struct buf *out, struct str *ret_unknown);

#endif
