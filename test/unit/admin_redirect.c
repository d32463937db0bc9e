/* Which paths a scheduler that does not lead sends on. */
#include "admin/redirect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Beginnings of paths, not folders, as Aurora's filter has it. */
static void test_paths(void **state)
{
    (void)state;
    static const char *const leaders[] = { "/api",
                                           "/api/v1/getJobs",
                                           "/apibeta/getJobs",
                                           "/apiclient",
                                           "/agents",
                                           "/cron",
                                           "/maintenance",
                                           "/mname/www/prod/x/0",
                                           "/offers",
                                           "/pendingtasks",
                                           "/quotas",
                                           "/slaves",
                                           "/state",
                                           "/tiers",
                                           "/utilization",
                                           "/scheduler/www",
                                           "/updates",
                                           "/statement",
                                           "/assets/scheduler/index.html" };
    static const char *const own[] = {
        "/",     "",        "/vars",      "/vars.json",         "/health", "/leaderhealth",
        "/ap",   "/API",    "/replica",   "/structdump/task/x", "api",     "/quitquitquit",
        "//api", "/assets", "/graphdata/"
    };
    for (size_t i = 0; i < sizeof(leaders) / sizeof(leaders[0]); i++) assert_true(redirect_applies(str_c(leaders[i])));
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) assert_false(redirect_applies(str_c(own[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_paths) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
