/* Vetoes, scores and texts; resource arithmetic and how an offer is carved. */
#include "core/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct arena a;
    struct sched_config sc;
    struct offer offer;
    struct bag bag;
    struct api_host_attributes host;
    struct api_task_config config;
    struct request request;
    struct aggregate aggregate;
    struct vetoes vetoes;
    int64_t unavailable_from_ms, now_ms;
};

static struct executor_setting executor = { { "AuroraExecutor", 14 }, 250, 128000, 0 };

static struct offer_resource scalar(enum resource_kind kind, uint32_t index, double amount)
{
    return (struct offer_resource){ .kind = kind, .index = index, .amount = (milli)(amount * MILLI) };
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    sched_config_defaults(&f->sc);
    f->sc.executors = &executor;
    f->sc.n_executors = 1;
    f->unavailable_from_ms = -1;
    f->now_ms = 1000000;
    f->offer.resources = ARENA_ARRAY(&f->a, struct offer_resource, 8);
    f->offer.resources[0] = scalar(RES_CPUS, 0, 4);
    f->offer.resources[1] = scalar(RES_RAM_MB, 1, 1024);
    f->offer.resources[2] = scalar(RES_DISK_MB, 2, 2048);
    f->offer.n_resources = 3;
    f->host.mode = API_MAINTENANCE_MODE_NONE;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    aggregate_release(&f->aggregate);
    arena_release(&f->a);
    free(f);
    return 0;
}

static void parse(struct fixture *f, const struct tdesc *d, void *obj, const char *json)
{
    struct buf err = { 0 };
    if (json_read(json, strlen(json), d, obj, &f->a, JSON_STRICT, &err)) fail_msg("%s: %s", json, buf_cstr(&err));
    buf_release(&err);
}

static void task(struct fixture *f, const char *json)
{
    f->config = (struct api_task_config){ 0 };
    parse(f, &api_task_config_desc, &f->config, json);
    thrift_normalize(&api_task_config_desc, &f->config, &f->a);
    request_init(&f->request, &f->config, &f->sc);
    bag_init(&f->bag, &f->offer, &f->a);
}

static void attributes(struct fixture *f, const char *json)
{
    enum api_maintenance_mode mode = f->host.mode;
    f->host = (struct api_host_attributes){ 0 };
    parse(f, &api_host_attributes_desc, &f->host, json);
    f->host.mode = mode;
}

/* The reasons, joined by ", "; "" if it fits. */
static const char *filter(struct fixture *f)
{
    struct filter_offer o = { &f->bag, &f->host, f->unavailable_from_ms };
    bool fits = filter_offer(&o, &f->config, &f->request, &f->aggregate, &f->sc, f->now_ms, &f->vetoes);
    assert_int_equal(fits, f->vetoes.n == 0);
    struct buf b = { 0 };
    for (uint32_t i = 0; i < f->vetoes.n; i++) {
        if (i) buf_adds(&b, ", ");
        veto_text(&f->vetoes.v[i], &b);
    }
    const char *text = arena_str(&f->a, (struct str){ buf_cstr(&b), (uint32_t)b.len }).p;
    buf_release(&b);
    return text;
}

#define SMALL "\"resources\":[{\"numCpus\":1},{\"ramMb\":128},{\"diskMb\":64}]"

static void resources_are_compared_to_the_last_milli(void **state)
{
    struct fixture *f = *state;
    task(f, "{\"resources\":[{\"numCpus\":4.0},{\"ramMb\":1024},{\"diskMb\":2048}]}");
    assert_string_equal(filter(f), "");
    task(f, "{\"resources\":[{\"numCpus\":4.001},{\"ramMb\":1025},{\"diskMb\":2049}]}");
    assert_string_equal(filter(f), "Insufficient: CPU, Insufficient: RAM, Insufficient: disk");
    assert_true(vetoes_static(&f->vetoes));
    task(f, "{\"resources\":[{\"numCpus\":0.1},{\"numCpus\":0.2},{\"ramMb\":1},{\"diskMb\":1}]}");
    assert_int_equal(f->request.total[RES_CPUS], 300);
}

static void overhead_of_the_executor_counts(void **state)
{
    struct fixture *f = *state;
    task(f, "{\"resources\":[{\"numCpus\":4},{\"ramMb\":896},{\"diskMb\":1}],\"executorConfig\":{\"name\":"
            "\"AuroraExecutor\"}}");
    assert_string_equal(filter(f), "Insufficient: CPU");
    task(f, "{\"resources\":[{\"numCpus\":3.75},{\"ramMb\":896},{\"diskMb\":1}],\"executorConfig\":{\"name\":"
            "\"AuroraExecutor\"}}");
    assert_string_equal(filter(f), "");
    task(f, "{\"resources\":[{\"numCpus\":4},{\"ramMb\":896},{\"diskMb\":1}],\"executorConfig\":{\"name\":\"other\"}}");
    assert_string_equal(filter(f), "");
}

static void ports_and_gpus(void **state)
{
    struct fixture *f = *state;
    task(f, "{\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{\"namedPort\":\"a\"},{\"namedPort\":\"b\"},{"
            "\"numGpus\":1}]}");
    assert_string_equal(filter(f), "Insufficient: ports, Insufficient: GPU");
    struct port_range ranges[] = { { 10, 10 }, { 20, 20 }, { 9, 8 } }; /* the last is none */
    f->offer.resources[3] = (struct offer_resource){ .kind = RES_PORTS, .index = 3, .ranges = ranges, .n_ranges = 3 };
    f->offer.resources[4] = scalar(RES_GPUS, 4, 1);
    f->offer.n_resources = 5;
    bag_init(&f->bag, &f->offer, &f->a);
    assert_int_equal(bag_total(&f->bag, RES_PORTS), 2 * MILLI);
    assert_string_equal(filter(f), "");
}

static void scores_tell_how_near_it_was(void **state)
{
    struct fixture *f = *state;
    task(f, "{\"resources\":[{\"numCpus\":20},{\"ramMb\":1},{\"diskMb\":1}]}");
    filter(f);
    assert_int_equal(vetoes_score(&f->vetoes), 16000 / 16);
    task(f, "{\"resources\":[{\"numCpus\":100},{\"ramMb\":1},{\"diskMb\":1}]}");
    filter(f);
    assert_int_equal(vetoes_score(&f->vetoes), 1000);
    task(f, "{\"resources\":[{\"numCpus\":1},{\"ramMb\":25600},{\"diskMb\":1}]}");
    filter(f);
    assert_int_equal(vetoes_score(&f->vetoes), 1000);
    task(f, "{\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":462848}]}");
    filter(f);
    assert_int_equal(vetoes_score(&f->vetoes), 1000);
}

/* Amounts that no machine has must not overflow. */
static void absurd_amounts_just_do_not_fit(void **state)
{
    struct fixture *f = *state;
    task(f, "{\"resources\":[{\"numCpus\":1e300},{\"ramMb\":9223372036854775807},{\"diskMb\":9223372036854775807}]}");
    assert_string_equal(filter(f), "Insufficient: CPU, Insufficient: RAM, Insufficient: disk");
    task(f, "{\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{\"numGpus\":-5}]}");
    assert_int_equal(f->request.total[RES_GPUS], 0);
}

static void dedicated_hosts_are_for_those_who_ask(void **state)
{
    struct fixture *f = *state;
    attributes(f, "{\"host\":\"h\",\"attributes\":[{\"name\":\"dedicated\",\"values\":[\"role/x\"]}]}");
    task(f, "{" SMALL "}");
    assert_string_equal(filter(f), "Host is dedicated");
    assert_int_equal(vetoes_score(&f->vetoes), 1000000);
    task(f,
         "{" SMALL ",\"constraints\":[{\"name\":\"dedicated\",\"constraint\":{\"value\":{\"values\":[\"role/x\"]}}}]}");
    assert_string_equal(filter(f), "");
    task(f,
         "{" SMALL ",\"constraints\":[{\"name\":\"dedicated\",\"constraint\":{\"value\":{\"values\":[\"role/y\"]}}}]}");
    assert_string_equal(filter(f), "Constraint not satisfied: dedicated");
}

static void maintenance(void **state)
{
    struct fixture *f = *state;
    task(f, "{" SMALL "}");
    f->host.mode = API_MAINTENANCE_MODE_SCHEDULED;
    assert_string_equal(filter(f), "");
    f->host.mode = API_MAINTENANCE_MODE_DRAINING;
    assert_string_equal(filter(f), "Host draining for maintenance");
    f->host.mode = API_MAINTENANCE_MODE_DRAINED;
    assert_string_equal(filter(f), "Host drained for maintenance");
    assert_int_equal(vetoes_score(&f->vetoes), 100000);
    f->host.mode = API_MAINTENANCE_MODE_NONE;
    f->unavailable_from_ms = f->now_ms + f->sc.unavailability_threshold;
    assert_string_equal(filter(f), "");
    f->now_ms++;
    assert_string_equal(filter(f), "Host draining for maintenance");
}

static void value_constraints(void **state)
{
    struct fixture *f = *state;
    attributes(f, "{\"host\":\"h\",\"attributes\":[{\"name\":\"rack\",\"values\":[\"a\",\"b\"]}]}");
    static const struct {
        const char *constraint, *result;
    } cases[] = {
        { "{\"name\":\"rack\",\"constraint\":{\"value\":{\"values\":[\"b\",\"c\"]}}}", "" },
        { "{\"name\":\"rack\",\"constraint\":{\"value\":{\"values\":[\"c\"]}}}", "Constraint not satisfied: rack" },
        { "{\"name\":\"rack\",\"constraint\":{\"value\":{\"negated\":true,\"values\":[\"c\"]}}}", "" },
        { "{\"name\":\"rack\",\"constraint\":{\"value\":{\"negated\":true,\"values\":[\"a\"]}}}",
          "Constraint not satisfied: rack" },
        { "{\"name\":\"zone\",\"constraint\":{\"value\":{\"values\":[\"a\"]}}}", "Constraint not satisfied: zone" },
        { "{\"name\":\"zone\",\"constraint\":{\"value\":{\"negated\":true,\"values\":[\"a\"]}}}", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str json = arena_strf(&f->a, "{" SMALL ",\"constraints\":[%s]}", cases[i].constraint);
        task(f, json.p);
        assert_string_equal(filter(f), cases[i].result);
    }
}

static void limit_constraints_count_the_job(void **state)
{
    struct fixture *f = *state;
    attributes(f, "{\"host\":\"h\",\"attributes\":[{\"name\":\"rack\",\"values\":[\"a\"]}]}");
    task(f, "{" SMALL ",\"constraints\":[{\"name\":\"rack\",\"constraint\":{\"limit\":{\"limit\":2}}}]}");
    assert_true(config_has_limit_constraint(&f->config));
    aggregate_add(&f->aggregate, &f->host);
    assert_string_equal(filter(f), "");
    aggregate_add(&f->aggregate, &f->host);
    assert_int_equal(aggregate_get(&f->aggregate, STR("rack"), STR("a")), 2);
    assert_string_equal(filter(f), "Limit not satisfied: rack");
    assert_false(vetoes_static(&f->vetoes));
    attributes(f, "{\"host\":\"h\",\"attributes\":[{\"name\":\"rack\",\"values\":[\"b\"]}]}");
    assert_string_equal(filter(f), "");
    attributes(f, "{\"host\":\"h\"}");
    assert_string_equal(filter(f), "Constraint not satisfied: rack");
    assert_true(vetoes_static(&f->vetoes));
}

static void value_constraints_come_before_limits(void **state)
{
    struct fixture *f = *state;
    attributes(f, "{\"host\":\"h\"}");
    task(f, "{" SMALL ",\"constraints\":[{\"name\":\"aa\",\"constraint\":{\"limit\":{\"limit\":1}}},{\"name\":\"zz\","
            "\"constraint\":{\"value\":{\"values\":[\"x\"]}}}]}");
    assert_string_equal(filter(f), "Constraint not satisfied: zz");
}

/* ---------------- carving ---------------- */

static void carve_to_text(struct buf *b, const struct carves *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        buf_addf(b, "%s%u:%lld", b->len ? " " : "", c->v[i].index, (long long)c->v[i].amount);
        for (uint32_t k = 0; k < c->v[i].n_ranges; k++)
            buf_addf(b, "[%u-%u]", c->v[i].ranges[k].begin, c->v[i].ranges[k].end);
        if (c->v[i].revocable) buf_adds(b, "r");
    }
}

static void expect_carve(struct fixture *f, const uint32_t *ports, uint32_t n, const char *want_task,
                         const char *want_executor)
{
    struct carves t, e;
    bag_take(&f->bag, &f->request, ports, n, &f->sc, &f->a, &t, &e);
    struct buf b = { 0 };
    carve_to_text(&b, &t);
    assert_string_equal(buf_cstr(&b), want_task);
    buf_reset(&b);
    carve_to_text(&b, &e);
    assert_string_equal(buf_cstr(&b), want_executor);
    buf_release(&b);
}

static void reserved_entries_are_used_first(void **state)
{
    struct fixture *f = *state;
    f->offer.resources[3] = scalar(RES_CPUS, 7, 0.5);
    f->offer.resources[3].reserved = true;
    f->offer.n_resources = 4;
    task(f, "{\"resources\":[{\"numCpus\":2},{\"ramMb\":100},{\"diskMb\":10}],\"executorConfig\":{\"name\":"
            "\"AuroraExecutor\"}}");
    expect_carve(f, NULL, 0, "7:500 0:1500 1:100000 2:10000", "0:250 1:128000");
    /* The rest of the offer stays usable. */
    assert_int_equal(bag_available(&f->bag, RES_CPUS, false, &f->sc), 2250);
    expect_carve(f, NULL, 0, "0:2000 1:100000 2:10000", "0:250 1:128000");
}

static void revocable_tasks_take_revocable_cpus(void **state)
{
    struct fixture *f = *state;
    f->offer.resources[3] = scalar(RES_CPUS, 5, 8);
    f->offer.resources[3].revocable = true;
    f->offer.n_resources = 4;
    task(f, "{\"tier\":\"revocable\",\"resources\":[{\"numCpus\":6},{\"ramMb\":100},{\"diskMb\":10}]}");
    assert_string_equal(filter(f), "");
    expect_carve(f, NULL, 0, "5:6000r 1:100000 2:10000", "");
    task(f, "{\"tier\":\"preferred\",\"resources\":[{\"numCpus\":6},{\"ramMb\":100},{\"diskMb\":10}]}");
    assert_string_equal(filter(f), "Insufficient: CPU");
}

static void ports_come_from_their_entries(void **state)
{
    struct fixture *f = *state;
    struct port_range open[] = { { 100, 104 } }, reserved[] = { { 200, 200 } };
    f->offer.resources[3] = (struct offer_resource){ .kind = RES_PORTS, .index = 3, .ranges = open, .n_ranges = 1 };
    f->offer.resources[4] =
        (struct offer_resource){ .kind = RES_PORTS, .index = 4, .ranges = reserved, .n_ranges = 1, .reserved = true };
    f->offer.n_resources = 5;
    task(f, "{\"resources\":[{\"numCpus\":1},{\"ramMb\":1},{\"diskMb\":1},{\"namedPort\":\"a\"},{\"namedPort\":\"b\"},{"
            "\"namedPort\":\"c\"}]}");
    const uint32_t ports[] = { 103, 200, 102 };
    expect_carve(f, ports, 3, "0:1000 1:1000 2:1000 4:1000[200-200] 3:2000[102-103]", "");
    assert_int_equal(bag_available(&f->bag, RES_PORTS, false, &f->sc), 3 * MILLI);
    const uint32_t rest[] = { 104, 100, 101 };
    expect_carve(f, rest, 3, "0:1000 1:1000 2:1000 3:3000[100-101][104-104]", "");
    assert_int_equal(bag_available(&f->bag, RES_PORTS, false, &f->sc), 0);
}

static void picked_ports_differ(void **state)
{
    struct fixture *f = *state;
    struct port_range ranges[] = { { 100, 104 }, { 300, 304 } };
    f->offer.resources[3] = (struct offer_resource){ .kind = RES_PORTS, .index = 3, .ranges = ranges, .n_ranges = 2 };
    f->offer.n_resources = 4;
    bag_init(&f->bag, &f->offer, &f->a);
    struct rng rng = { 1 };
    bool seen[10] = { 0 };
    for (int round = 0; round < 50; round++) {
        uint32_t ports[7];
        bag_pick_ports(&f->bag, false, &f->sc, 7, ports, &rng);
        for (int i = 0; i < 7; i++) {
            assert_true((ports[i] >= 100 && ports[i] <= 104) || (ports[i] >= 300 && ports[i] <= 304));
            seen[ports[i] % 100 + (ports[i] >= 300 ? 5 : 0)] = true;
            for (int k = 0; k < i; k++) assert_int_not_equal(ports[i], ports[k]);
        }
    }
    for (int i = 0; i < 10; i++) assert_true(seen[i]);
    uint32_t all[10];
    bag_pick_ports(&f->bag, false, &f->sc, 10, all, &rng);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(resources_are_compared_to_the_last_milli),
        T(overhead_of_the_executor_counts),
        T(ports_and_gpus),
        T(scores_tell_how_near_it_was),
        T(absurd_amounts_just_do_not_fit),
        T(dedicated_hosts_are_for_those_who_ask),
        T(maintenance),
        T(value_constraints),
        T(limit_constraints_count_the_job),
        T(value_constraints_come_before_limits),
        T(reserved_entries_are_used_first),
        T(revocable_tasks_take_revocable_cpus),
        T(ports_come_from_their_entries),
        T(picked_ports_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
