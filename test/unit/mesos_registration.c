/* The pure parts of registering: the table, the times between attempts, the answer of CRAM-MD5. */
#include "core/buf.h"
#include "mesos/backoff.h"
#include "mesos/cram_md5.h"
#include "mesos/registration.h"
#include "test/lib/random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_only_subscribing_leads_to_connected(void **state)
{
    (void)state;
    for (int from = 0; from < REG_STATES; from++) {
        for (int move = 0; move < REGISTRATION_MOVES; move++) {
            int to = registration_next((enum registration_state)from, (enum registration_move)move);
            if (to == REG_CONNECTED) {
                assert_int_equal(from, REG_SUBSCRIBING);
                assert_int_equal(move, MOVE_REGISTERED);
            }
            if (from == REG_ENDED) assert_true(to == -1 || to == REG_ENDED);
        }
    }
}

static void test_each_state_can_be_left(void **state)
{
    (void)state;
    for (int s = 0; s < REG_ENDED; s++) {
        enum registration_state from = (enum registration_state)s;
        assert_int_equal(registration_next(from, MOVE_END), REG_ENDED);
        assert_int_equal(registration_next(from, MOVE_NO_MASTER), REG_DETACHED);
        assert_int_equal(registration_next(from, MOVE_SUBSCRIBE), REG_SUBSCRIBING);
        assert_int_equal(registration_next(from, MOVE_AUTHENTICATE), REG_AUTHENTICATING);
    }
    assert_int_equal(registration_next(REG_DETACHED, MOVE_BROKEN), -1);
    assert_int_equal(registration_next(REG_CONNECTED, MOVE_BROKEN), REG_WAITING);
    assert_string_equal(registration_name(REG_CONNECTED), "CONNECTED");
}

static void test_backoff_doubles_up_to_its_limit(void **state)
{
    (void)state;
    struct rng r = { random_seed("build/asan/test/mesos_registration") };
    struct backoff b;
    backoff_init(&b, 2000, 60000);
    int64_t bound = 2000;
    for (int i = 0; i < 20; i++) {
        int64_t delay = backoff_next(&b, &r);
        assert_true(delay >= 0);
        assert_true(delay <= bound);
        bound = bound * 2 < 60000 ? bound * 2 : 60000;
        assert_int_equal(b.bound, bound);
    }
    backoff_reset(&b);
    assert_int_equal(b.bound, 2000);
    backoff_init(&b, 2000, 500); /* a tenth of a short failover timeout */
    for (int i = 0; i < 20; i++) assert_true(backoff_next(&b, &r) <= 500);
}

static void test_patience_grows_after_failures(void **state)
{
    (void)state;
    struct rng r = { random_seed("build/asan/test/mesos_registration") };
    struct patience p;
    patience_init(&p, 5000, 60000);
    static const int64_t bounds[] = { 7000, 9000, 13000, 21000, 37000, 60000, 60000 };
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        assert_int_equal(p.bound, bounds[i]);
        int64_t t = patience_draw(&p, &r);
        assert_true(t >= 5000);
        assert_true(t <= bounds[i]);
        patience_failed(&p);
    }
    patience_reset(&p);
    assert_int_equal(p.bound, 7000);
}

static void assert_answer(const char *principal, const char *secret, const char *challenge, const char *want)
{
    struct buf b = { 0 };
    cram_md5_answer(str_c(principal), str_c(secret), challenge, strlen(challenge), &b);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_cram_md5_of_rfc_2195(void **state)
{
    (void)state;
    assert_answer("tim", "tanstaaftanstaaf", "<1896.697170952@postoffice.reston.mci.net>",
                  "tim b913a602c7eda7a495b4e6e7334d3890");
    assert_answer("", "", "", " 74e6f7298a9c2d168935f58c001bad88");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_subscribing_leads_to_connected),
        cmocka_unit_test(test_each_state_can_be_left),
        cmocka_unit_test(test_backoff_doubles_up_to_its_limit),
        cmocka_unit_test(test_patience_grows_after_failures),
        cmocka_unit_test(test_cram_md5_of_rfc_2195),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
