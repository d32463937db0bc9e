/* Whether a task may run on an offer, and if not, why: the vetoes. Rules and texts: reference, scheduling "Vetoes". */
#ifndef AURORA_CORE_FILTER_H
#define AURORA_CORE_FILTER_H

#include "core/buf.h"
#include "core/hash.h"
#include "core/resources.h"

/* In the order in which they are checked; the first kind that vetoes is the whole result. */
enum veto_type {
    VETO_DEDICATED_CONSTRAINT_MISMATCH,
    VETO_MAINTENANCE,
    VETO_CONSTRAINT_MISMATCH,
    VETO_LIMIT_NOT_SATISFIED,
    VETO_INSUFFICIENT_RESOURCES,
    VETO_TYPES
};

struct veto {
    enum veto_type type;
    struct str what; /* name of the constraint or resource, "draining" or "drained"; borrowed from the task's config */
    int32_t score;   /* how far the host is from fitting */
};

struct vetoes {
    struct veto v[RES_KINDS];
    uint32_t n; /* 0: it fits */
};

/* How many of a job's tasks run on hosts that share an attribute's value: what limit constraints count. */
struct aggregate_count;
struct aggregate {
    struct aggregate_count *table;
    struct arena arena;
};
void aggregate_add(struct aggregate *a, const struct api_host_attributes *host);
int32_t aggregate_get(const struct aggregate *a, struct str attribute, struct str value);
void aggregate_release(struct aggregate *a);

struct filter_offer {
    const struct bag *bag;                  /* what is left */
    const struct api_host_attributes *host; /* as stored; NULL = none known */
    int64_t unavailable_from_ms;            /* -1 = none */
};

/* True if it fits; ret_vetoes is always set. */
bool filter_offer(const struct filter_offer *offer, const struct api_task_config *config, const struct request *request,
                  const struct aggregate *aggregate, const struct sched_config *sc, int64_t now_ms,
                  struct vetoes *ret_vetoes);

/* A veto that holds as long as the offer is held: none of them depends on what runs elsewhere. */
bool vetoes_static(const struct vetoes *v);
int64_t vetoes_score(const struct vetoes *v);
/* "Insufficient: CPU" and so on. */
void veto_text(const struct veto *v, struct buf *out);
const char *veto_type_name(enum veto_type t); /* lower case, as in stats */

bool config_has_limit_constraint(const struct api_task_config *config);

#endif
