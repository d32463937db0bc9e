#include "core/filter.h"

#include <assert.h>

/* ---------------- the aggregate ---------------- */

struct aggregate_count {
    int32_t n;
    UT_hash_handle hh; /* by attribute, NUL, value */
};

static struct str aggregate_key(struct str attribute, struct str value, struct arena *a)
{
    uint32_t n = attribute.n + 1 + value.n;
    char *p = arena_alloc(a, (size_t)n + 1);
    assert(p);
    if (attribute.n) memcpy(p, attribute.p, attribute.n);
    if (value.n) memcpy(p + attribute.n + 1, value.p, value.n);
    return (struct str){ p, n };
}

static void count_value(struct aggregate *a, struct str attribute, struct str value)
{
    struct str key = aggregate_key(attribute, value, &a->arena);
    struct aggregate_count *c;
    HASH_FIND(hh, a->table, key.p, key.n, c);
    if (!c) {
        c = ARENA_NEW(&a->arena, struct aggregate_count);
        HASH_ADD_KEYPTR(hh, a->table, key.p, key.n, c);
    }
    c->n++;
}

void aggregate_add(struct aggregate *a, const struct api_host_attributes *host)
{
    for (uint32_t i = 0; i < host->n_attributes; i++)
        for (uint32_t j = 0; j < host->attributes[i].n_values; j++)
            count_value(a, host->attributes[i].name, host->attributes[i].values[j]);
}

int32_t aggregate_get(const struct aggregate *a, struct str attribute, struct str value)
{
    struct arena scratch = { 0 };
    struct str key = aggregate_key(attribute, value, &scratch);
    struct aggregate_count *c;
    HASH_FIND(hh, a->table, key.p, key.n, c);
    arena_release(&scratch);
    return c ? c->n : 0;
}

void aggregate_release(struct aggregate *a)
{
    HASH_CLEAR(hh, a->table);
    arena_release(&a->arena);
}

/* ---------------- vetoes ---------------- */

static void add_veto(struct vetoes *out, enum veto_type type, struct str what, int32_t score)
{
    assert(out->n < RES_KINDS);
    out->v[out->n++] = (struct veto){ type, what, score };
}

static const struct api_attribute *attribute_of(const struct api_host_attributes *host, struct str name)
{
    for (uint32_t i = 0; host && i < host->n_attributes; i++)
        if (str_eq(host->attributes[i].name, name)) return &host->attributes[i];
    return NULL;
}

static bool names_dedicated(const struct api_task_config *config)
{
    for (uint32_t i = 0; i < config->n_constraints; i++)
        if (str_eq(config->constraints[i].name, STR("dedicated"))) return true;
    return false;
}

static void check_dedicated(const struct api_host_attributes *host, const struct api_task_config *config,
                            struct vetoes *out)
{
    if (attribute_of(host, STR("dedicated")) && !names_dedicated(config))
        add_veto(out, VETO_DEDICATED_CONSTRAINT_MISMATCH, (struct str){ 0 }, 1000000);
}

static void check_maintenance(const struct filter_offer *o, int64_t threshold_ms, int64_t now_ms, struct vetoes *out)
{
    enum api_maintenance_mode mode = o->host ? o->host->mode : API_MAINTENANCE_MODE_NONE;
    if (mode == API_MAINTENANCE_MODE_DRAINED)
        add_veto(out, VETO_MAINTENANCE, STR("drained"), 100000);
    else if (mode == API_MAINTENANCE_MODE_DRAINING ||
             (o->unavailable_from_ms >= 0 && now_ms > o->unavailable_from_ms - threshold_ms))
        add_veto(out, VETO_MAINTENANCE, STR("draining"), 100000);
}

static bool value_matches(const struct api_value_constraint *c, const struct api_attribute *attribute)
{
    bool found = false;
    for (uint32_t i = 0; attribute && i < attribute->n_values; i++)
        for (uint32_t j = 0; j < c->n_values && !found; j++) found = str_eq(attribute->values[i], c->values[j]);
    return found != c->negated;
}

/* A host without the attribute can't be counted, so it doesn't match. */
static bool limit_matches(const struct api_constraint *c, const struct api_attribute *attribute,
                          const struct aggregate *aggregate, struct vetoes *out)
{
    if (!attribute) {
        add_veto(out, VETO_CONSTRAINT_MISMATCH, c->name, 10000);
        return false;
    }
    assert(aggregate);
    for (uint32_t i = 0; i < attribute->n_values; i++) {
        if (aggregate_get(aggregate, c->name, attribute->values[i]) < c->constraint->limit->limit) continue;
        add_veto(out, VETO_LIMIT_NOT_SATISFIED, c->name, 10000);
        return false;
    }
    return true;
}

/* Value constraints first: they are cheap and hold for long. The first that fails is the result. */
static void check_constraints(const struct api_host_attributes *host, const struct api_task_config *config,
                              const struct aggregate *aggregate, struct vetoes *out)
{
    for (uint32_t i = 0; i < config->n_constraints; i++) {
        const struct api_constraint *c = &config->constraints[i];
        if (!c->constraint || !c->constraint->value) continue;
        if (value_matches(c->constraint->value, attribute_of(host, c->name))) continue;
        add_veto(out, VETO_CONSTRAINT_MISMATCH, c->name, 10000);
        return;
    }
    for (uint32_t i = 0; i < config->n_constraints; i++) {
        const struct api_constraint *c = &config->constraints[i];
        if (!c->constraint || !c->constraint->limit) continue;
        if (!limit_matches(c, attribute_of(host, c->name), aggregate, out)) return;
    }
}

static const struct {
    struct str name;
    int32_t range; /* what counts as far away */
} kinds[RES_KINDS] = {
    [RES_CPUS] = { { "CPU", 3 }, 16 },         [RES_RAM_MB] = { { "RAM", 3 }, 24576 },
    [RES_DISK_MB] = { { "disk", 4 }, 460800 }, [RES_PORTS] = { { "ports", 5 }, 1000 },
    [RES_GPUS] = { { "GPU", 3 }, 4 },
};

static void check_resources(const struct bag *bag, const struct request *request, const struct sched_config *sc,
                            struct vetoes *out)
{
    for (int k = 0; k < RES_KINDS; k++) {
        if (!request->total[k]) continue;
        milli missing = request->total[k] - bag_available(bag, (enum resource_kind)k, request->revocable, sc);
        if (missing <= 0) continue;
        int64_t score = missing / kinds[k].range;
        add_veto(out, VETO_INSUFFICIENT_RESOURCES, kinds[k].name, (int32_t)(score > 1000 ? 1000 : score));
    }
}

bool filter_offer(const struct filter_offer *offer, const struct api_task_config *config, const struct request *request,
                  const struct aggregate *aggregate, const struct sched_config *sc, int64_t now_ms,
                  struct vetoes *ret_vetoes)
{
    *ret_vetoes = (struct vetoes){ 0 };
    check_dedicated(offer->host, config, ret_vetoes);
    if (!ret_vetoes->n) check_maintenance(offer, sc->unavailability_threshold, now_ms, ret_vetoes);
    if (!ret_vetoes->n) check_constraints(offer->host, config, aggregate, ret_vetoes);
    if (!ret_vetoes->n) check_resources(offer->bag, request, sc, ret_vetoes);
    return ret_vetoes->n == 0;
}

bool vetoes_static(const struct vetoes *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (v->v[i].type == VETO_LIMIT_NOT_SATISFIED) return false;
    return v->n > 0;
}

int64_t vetoes_score(const struct vetoes *v)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < v->n; i++) sum += v->v[i].score;
    return sum;
}

void veto_text(const struct veto *v, struct buf *out)
{
    switch (v->type) {
    case VETO_DEDICATED_CONSTRAINT_MISMATCH:
        buf_adds(out, "Host is dedicated");
        return;
    case VETO_MAINTENANCE:
        buf_addf(out, "Host %.*s for maintenance", STR_ARG(v->what));
        return;
    case VETO_CONSTRAINT_MISMATCH:
        buf_addf(out, "Constraint not satisfied: %.*s", STR_ARG(v->what));
        return;
    case VETO_LIMIT_NOT_SATISFIED:
        buf_addf(out, "Limit not satisfied: %.*s", STR_ARG(v->what));
        return;
    case VETO_INSUFFICIENT_RESOURCES:
        buf_addf(out, "Insufficient: %.*s", STR_ARG(v->what));
        return;
    case VETO_TYPES:
        break;
    }
    assert(!"no such veto");
}

const char *veto_type_name(enum veto_type t)
{
    static const char *const names[VETO_TYPES] = {
        [VETO_DEDICATED_CONSTRAINT_MISMATCH] = "dedicated_constraint_mismatch",
        [VETO_MAINTENANCE] = "maintenance",
        [VETO_CONSTRAINT_MISMATCH] = "constraint_mismatch",
        [VETO_LIMIT_NOT_SATISFIED] = "limit_not_satisfied",
        [VETO_INSUFFICIENT_RESOURCES] = "insufficient_resources",
    };
    return names[t];
}

bool config_has_limit_constraint(const struct api_task_config *config)
{
    for (uint32_t i = 0; i < config->n_constraints; i++)
        if (config->constraints[i].constraint && config->constraints[i].constraint->limit) return true;
    return false;
}
