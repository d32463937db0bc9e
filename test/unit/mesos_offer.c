/* Offers: as the core sees them, as JSON, and kept by id. */
#include "core/err.h"
#include "core/limits.h"
#include "mesos/offer_convert.h"
#include "mesos/offer_table.h"
#include "mesos/proto_json.h"
#include "test/lib/mesos_offers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_plain_offer_converts(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct offer o;
    offer_convert(test_plain_offer("O1", "S1", &a), &o, &a);
    assert_string_equal(o.id.p, "O1");
    assert_string_equal(o.agent_id.p, "S1");
    assert_string_equal(o.hostname.p, "host-1");
    assert_int_equal(o.unavailable_from_ms, -1);
    assert_int_equal(o.n_resources, 4);
    assert_int_equal(o.resources[0].kind, RES_PORTS);
    assert_int_equal(o.resources[0].amount, 101000);
    assert_int_equal(o.resources[0].ranges[0].end, 31100);
    assert_int_equal(o.resources[1].kind, RES_CPUS);
    assert_int_equal(o.resources[1].amount, 4000);
    assert_int_equal(o.resources[2].amount, 2048000);
    assert_int_equal(o.resources[3].kind, RES_DISK_MB);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(o.resources[i].index, i);
        assert_false(o.resources[i].reserved);
        assert_false(o.resources[i].revocable);
    }
    arena_release(&a);
}

static void test_unknown_resources_are_left_out_but_counted_in_the_index(void **state)
{
    (void)state;
    struct arena a = { 0 };
    Mesos__Offer *m = test_offer("O1", "S1", &a);
    test_offer_add(m, test_scalar("bananas", 3, "*", &a));
    test_offer_add(m, test_scalar("ports", 3, "*", &a)); /* of the wrong type */
    test_offer_add(m, test_scalar("cpus", 1.5, "web", &a));
    test_offer_add(m, test_scalar("cpus", 2, NULL, &a));
    m->resources[3]->revocable = proto_new(&mesos__resource__revocable_info__descriptor, &a);
    struct offer o;
    offer_convert(m, &o, &a);
    assert_int_equal(o.n_resources, 2);
    assert_int_equal(o.resources[0].index, 2);
    assert_true(o.resources[0].reserved);
    assert_int_equal(o.resources[0].amount, 1500);
    assert_int_equal(o.resources[1].index, 3);
    assert_false(o.resources[1].reserved);
    assert_true(o.resources[1].revocable);
    arena_release(&a);
}

static void test_strange_amounts(void **state)
{
    (void)state;
    struct arena a = { 0 };
    Mesos__Offer *m = test_offer("O1", "S1", &a);
    test_offer_add(m, test_scalar("cpus", NAN, "*", &a));
    test_offer_add(m, test_scalar("mem", -5, "*", &a));
    test_offer_add(m, test_scalar("disk", INFINITY, "*", &a));
    test_offer_add(m, test_scalar("cpus", 0.0004, "*", &a));
    test_offer_add(m, test_scalar("cpus", 0.0006, "*", &a));
    test_offer_add(m, test_ports(65000, UINT64_MAX, "*", &a));
    test_offer_add(m, test_ports(70000, 80000, "*", &a));
    test_offer_add(m, test_ports(9, 8, "*", &a));
    struct offer o;
    offer_convert(m, &o, &a);
    static const milli want[] = { 0, 0, 1000000000000000, 0, 1, 536000, 0, 0 };
    assert_int_equal(o.n_resources, 8);
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(o.resources[i].amount, want[i]);
    assert_int_equal(o.resources[5].ranges[0].end, 65535);
    assert_int_equal(o.resources[6].n_ranges, 0);
    arena_release(&a);
}

static Mesos__Attribute *attribute(const char *name, Mesos__Value__Type type, struct arena *a)
{
    Mesos__Attribute *m = proto_new(&mesos__attribute__descriptor, a);
    m->name = proto_str(str_c(name), a);
    m->type = type;
    return m;
}

static void add_attributes(Mesos__Offer *m, struct arena *a)
{
    m->attributes[0] = attribute("rack", MESOS__VALUE__TYPE__TEXT, a);
    m->attributes[0]->text = proto_new(&mesos__value__text__descriptor, a);
    m->attributes[0]->text->value = "r\"1";
    m->attributes[1] = attribute("level", MESOS__VALUE__TYPE__SCALAR, a);
    m->attributes[1]->scalar = proto_new(&mesos__value__scalar__descriptor, a);
    m->attributes[1]->scalar->value = 3;
    m->attributes[2] = attribute("set", MESOS__VALUE__TYPE__SET, a);
    m->attributes[3] = attribute("empty", MESOS__VALUE__TYPE__TEXT, a);
    m->n_attributes = 4;
}

static void test_attributes_and_unavailability(void **state)
{
    (void)state;
    struct arena a = { 0 };
    Mesos__Offer *m = test_offer("O1", "S1", &a);
    add_attributes(m, &a);
    m->unavailability = proto_new(&mesos__unavailability__descriptor, &a);
    m->unavailability->start = proto_new(&mesos__time_info__descriptor, &a);
    m->unavailability->start->nanoseconds = 1500000000123999999;
    struct offer o;
    offer_convert(m, &o, &a);
    assert_int_equal(o.unavailable_from_ms, 1500000000123);
    assert_int_equal(o.n_attributes, 2);
    assert_string_equal(o.attributes[0].name.p, "rack");
    assert_string_equal(o.attributes[0].value.p, "r\"1");
    assert_string_equal(o.attributes[1].value.p, "3.0");
    arena_release(&a);
}

static void test_json_is_the_v1_form(void **state)
{
    (void)state;
    struct arena a = { 0 };
    Mesos__Offer *m = test_offer("O1", "S1", &a);
    test_offer_add(m, test_scalar("cpus", 4, "*", &a));
    test_offer_add(m, test_ports(31000, 31100, NULL, &a));
    add_attributes(m, &a);
    m->n_attributes = 1;
    struct buf b = { 0 };
    proto_write_json(m, &b);
    assert_string_equal(
        buf_cstr(&b),
        "{\"id\":{\"value\":\"O1\"},\"framework_id\":{\"value\":\"F-0000\"},\"agent_id\":{\"value\":\"S1\"},"
        "\"hostname\":\"host-1\",\"resources\":[{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{\"value\":4.0},"
        "\"role\":\"*\",\"reservations\":[]},{\"name\":\"ports\",\"type\":\"RANGES\",\"ranges\":{\"range\":[{"
        "\"begin\":31000,\"end\":31100}]},\"reservations\":[]}],\"executor_ids\":[],\"attributes\":[{\"name\":"
        "\"rack\",\"type\":\"TEXT\",\"text\":{\"value\":\"r\\\"1\"}}]}");
    buf_release(&b);
    arena_release(&a);
}

static void test_packing_and_unpacking(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct buf b = { 0 };
    Mesos__Offer *m = test_plain_offer("O1", "S1", &a);
    proto_pack(m, &b);
    const Mesos__Offer *back = proto_unpack(&mesos__offer__descriptor, b.data, b.len, &a);
    assert_non_null(back);
    assert_string_equal(back->id->value, "O1");
    assert_null(proto_unpack(&mesos__offer__descriptor, b.data, b.len - 1, &a));
    assert_null(proto_unpack(&mesos__offer__descriptor, NULL, 0, &a)); /* required fields are missing */
    buf_release(&b);
    arena_release(&a);
}

/* ---------------- the table ---------------- */

static struct str numbered(char out[32], int i)
{
    snprintf(out, 32, "O%d", i);
    return str_c(out);
}

static void test_table_keeps_and_removes(void **state)
{
    (void)state;
    struct offer_table t = { 0 };
    size_t n = 0;
    assert_null(offer_table_find(&t, STR("O1"), &n));
    assert_int_equal(offer_table_add(&t, STR("O1"), "abc", 3), 0);
    assert_int_equal(offer_table_add(&t, STR("O1"), "xyz", 3), ERR_EXISTS);
    assert_memory_equal(offer_table_find(&t, STR("O1"), &n), "abc", 3);
    assert_int_equal(n, 3);
    assert_true(offer_table_remove(&t, STR("O1")));
    assert_false(offer_table_remove(&t, STR("O1")));
    assert_int_equal(offer_table_count(&t), 0);
    offer_table_release(&t);
}

static void test_a_rescind_may_come_first(void **state)
{
    (void)state;
    struct offer_table t = { 0 };
    offer_table_rescind(&t, STR("O1"));
    offer_table_rescind(&t, STR("O1"));
    assert_int_equal(offer_table_add(&t, STR("O1"), "", 0), ERR_REFUSED);
    assert_int_equal(offer_table_add(&t, STR("O1"), "", 0), 0); /* ids are never used twice: the ban was used up */
    offer_table_rescind(&t, STR("O1"));
    assert_int_equal(offer_table_count(&t), 0);
    assert_int_equal(offer_table_add(&t, STR("O1"), "", 0), 0); /* that one was known, so no ban was left */
    offer_table_release(&t);
}

static void test_bans_are_bounded(void **state)
{
    (void)state;
    struct offer_table t = { 0 };
    char id[32];
    for (int i = 0; i <= LIMIT_DRIVER_RESCINDS; i++) offer_table_rescind(&t, numbered(id, i));
    assert_int_equal(offer_table_add(&t, numbered(id, 0), "", 0), 0); /* the oldest has been forgotten */
    assert_int_equal(offer_table_add(&t, numbered(id, 1), "", 0), ERR_REFUSED);
    assert_int_equal(offer_table_add(&t, numbered(id, LIMIT_DRIVER_RESCINDS), "", 0), ERR_REFUSED);
    offer_table_release(&t);
}

static void test_offers_are_bounded(void **state)
{
    (void)state;
    struct offer_table t = { 0 };
    char id[32];
    for (int i = 0; i < LIMIT_DRIVER_OFFERS; i++) assert_int_equal(offer_table_add(&t, numbered(id, i), "", 0), 0);
    assert_int_equal(offer_table_add(&t, STR("one more"), "", 0), ERR_FULL);
    assert_true(offer_table_remove(&t, numbered(id, 7)));
    assert_int_equal(offer_table_add(&t, STR("one more"), "", 0), 0);
    offer_table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_offer_converts),
        cmocka_unit_test(test_unknown_resources_are_left_out_but_counted_in_the_index),
        cmocka_unit_test(test_strange_amounts),
        cmocka_unit_test(test_attributes_and_unavailability),
        cmocka_unit_test(test_json_is_the_v1_form),
        cmocka_unit_test(test_packing_and_unpacking),
        cmocka_unit_test(test_table_keeps_and_removes),
        cmocka_unit_test(test_a_rescind_may_come_first),
        cmocka_unit_test(test_bans_are_bounded),
        cmocka_unit_test(test_offers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
