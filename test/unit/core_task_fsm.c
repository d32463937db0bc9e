/* The transition table against the sheet's, which is written down here a second time in the sheet's own letters. */
#include "core/task_fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const columns[] = { "PENDING",    "ASSIGNED", "STARTING",   "RUNNING",     "FINISHED",
                                       "FAILED",     "KILLED",   "LOST",       "PARTITIONED", "KILLING",
                                       "RESTARTING", "DRAINING", "PREEMPTING", "THROTTLED",   "INIT" };
enum { COLUMNS = sizeof columns / sizeof *columns };

/* F count failure, S save, R reschedule, L make lost, K kill, D delete; Rs only services, Rf services or below the
 * limit, Ru unless KILLING was seen; "." illegal, (K) illegal but killed, "-" no change. */
static const struct {
    const char *from;
    const char *cells; /* one word per column */
} rows[] = {
    /*                PEND ASGN STRT RUN  FIN  FAIL KILLED LOST PART KILLING RSTRT DRAIN PREEMPT THROT INIT */
    { "INIT", "S    .    .    .    .    .    .      .    .    .       .     .     .       S     -" },
    { "THROTTLED", "S    .    .    .    .    .    .      .    .    D       .     .     .       -     ." },
    { "PENDING", "-    S    .    .    .    .    .      .    .    D       .     .     .       .     ." },
    { "ASSIGNED", ".    -    S    S    SRs  FSRf SR     SRK  .    SK      SK    SK    SK      .     ." },
    { "STARTING", ".    .    -    S    SRs  FSRf SR     SR   S    SK      SK    SK    SK      .     ." },
    { "RUNNING", ".    .    .    -    SRs  FSRf SR     SR   S    SK      SK    SK    SK      .     ." },
    { "PARTITIONED", ".    S    S    S    S    FSRf .      SRuK -    SL      SL    SL    SL      .     ." },
    { "RESTARTING", ".    (K)  (K)  (K)  SR   SR   SR     SRK  SL   S       -     .     .       .     ." },
    { "DRAINING", ".    (K)  (K)  (K)  SR   SR   SR     SRK  SL   S       .     -     .       .     ." },
    { "PREEMPTING", ".    (K)  (K)  (K)  SR   SR   SR     SRK  SL   S       .     .     -       .     ." },
    { "KILLING", ".    (K)  (K)  (K)  S    S    S      S    SL   -       .     .     .       .     ." },
    { "FINISHED", ".    (K)  (K)  (K)  -    .    .      .    .    .       .     .     .       .     ." },
    { "FAILED", ".    (K)  (K)  (K)  .    -    .      .    .    .       .     .     .       .     ." },
    { "KILLED", ".    (K)  (K)  (K)  .    .    -      .    .    .       .     .     .       .     ." },
    { "LOST", ".    (K)  (K)  (K)  .    .    .      -    .    .       .     .     .       .     ." },
    { "ABSENT", ".    (K)  (K)  (K)  .    .    .      .    .    .       .     .     .       .     ." },
};
enum { ROWS = sizeof rows / sizeof *rows };

static enum api_schedule_status state(const char *name)
{
    if (strcmp(name, "ABSENT") == 0) return TASK_ABSENT;
    int32_t v;
    assert_int_equal(tenum_value(&api_schedule_status_enum, str_c(name), &v), 0);
    return (enum api_schedule_status)v;
}

static bool retries(const struct task_facts *f)
{
    return f->is_service || f->max_task_failures == -1 || f->failure_count < f->max_task_failures - 1;
}

/* What a cell of the sheet means for a task. */
static unsigned expected_actions(const char *cell, const struct task_facts *f)
{
    unsigned actions = 0;
    for (const char *c = cell; *c; c++) {
        switch (*c) {
        case 'F':
            actions |= TASK_COUNT_FAILURE;
            break;
        case 'S':
            actions |= TASK_SAVE;
            break;
        case 'R': {
            bool yes = c[1] == 's' ? f->is_service : c[1] == 'f' ? retries(f) : c[1] == 'u' ? !f->was_killing : true;
            if (yes) actions |= TASK_RESCHEDULE;
            break;
        }
        case 'L':
            actions |= TASK_MAKE_LOST;
            break;
        case 'K':
            actions |= TASK_KILL;
            break;
        case 'D':
            actions |= TASK_DELETE;
            break;
        default:
            break;
        }
    }
    return actions;
}

static enum task_change expected_change(const char *cell)
{
    switch (*cell) {
    case '-':
        return TASK_NOOP;
    case '.':
        return TASK_ILLEGAL;
    case '(':
        return TASK_ILLEGAL_WITH_ACTIONS;
    default:
        return TASK_CHANGED;
    }
}

static void check_cell(const char *from, const char *to, const char *cell, const struct task_facts *f)
{
    unsigned actions = 12345;
    enum task_change change = task_fsm(state(from), state(to), f, &actions);
    if (change != expected_change(cell) || actions != expected_actions(cell, f))
        fail_msg("%s -> %s (service %d, limit %d, failures %d, killing %d): change %d actions %u, sheet says %s", from,
                 to, f->is_service, f->max_task_failures, f->failure_count, f->was_killing, change, actions, cell);
}

static void every_cell_is_the_sheets(void **unused)
{
    (void)unused;
    static const struct task_facts facts[] = {
        { false, 0, 0, false },  { false, 1, 0, false }, { false, 3, 1, false },
        { false, 3, 2, false },  { false, 3, 3, true },  { false, -1, 99, false },
        { false, -2, 0, false }, { true, 1, 5, false },  { true, 0, 0, true },
    };
    unsigned cells = 0;
    for (unsigned r = 0; r < ROWS; r++) {
        char *line = strdup(rows[r].cells), *save = NULL, *cell = strtok_r(line, " ", &save);
        for (unsigned c = 0; c < COLUMNS; c++, cell = strtok_r(NULL, " ", &save)) {
            assert_non_null(cell);
            for (unsigned i = 0; i < sizeof facts / sizeof *facts; i++)
                check_cell(rows[r].from, columns[c], cell, &facts[i]);
            cells++;
        }
        free(line);
    }
    assert_int_equal(cells, ROWS * COLUMNS);
    /* Nothing leads to being absent. */
    for (unsigned r = 0; r < ROWS; r++)
        if (strcmp(rows[r].from, "ABSENT") != 0) check_cell(rows[r].from, "ABSENT", ".", &facts[0]);
}

static void all_states_are_in_the_table(void **unused)
{
    (void)unused;
    assert_int_equal(api_schedule_status_enum.n, COLUMNS);
    assert_int_equal(api_schedule_status_enum.n + 1, ROWS);
}

/* Failures are carried into the copy, the copy is made before the original goes. */
static void every_action_has_its_place(void **unused)
{
    (void)unused;
    assert_true(TASK_COUNT_FAILURE_AT < TASK_SAVE_AT);
    assert_true(TASK_SAVE_AT < TASK_RESCHEDULE_AT);
    assert_true(TASK_RESCHEDULE_AT < TASK_MAKE_LOST_AT);
    assert_true(TASK_MAKE_LOST_AT < TASK_KILL_AT);
    assert_true(TASK_KILL_AT < TASK_DELETE_AT);
    assert_int_equal(TASK_DELETE_AT + 1, TASK_ACTIONS);
}

static void sets_are_the_sheets(void **unused)
{
    (void)unused;
    assert_int_equal(TASKS_ACTIVE & TASKS_TERMINAL, 0);
    assert_int_equal(TASKS_ACTIVE | TASKS_TERMINAL | ST(INIT), (1u << 19) - 1 - (1u << 8) - (1u << 10) - (3u << 14));
    assert_int_equal(TASKS_ACTIVE & ~TASKS_SLAVE_ASSIGNED, ST(PENDING) | ST(THROTTLED));
    assert_false(status_in(API_SCHEDULE_STATUS_STARTING, TASKS_TRANSIENT));
    assert_false(status_in(API_SCHEDULE_STATUS_PREEMPTING, TASKS_INTERRUPTED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_the_sheets),
        cmocka_unit_test(all_states_are_in_the_table),
        cmocka_unit_test(every_action_has_its_place),
        cmocka_unit_test(sets_are_the_sheets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
