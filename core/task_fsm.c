#include "core/task_fsm.h"

#include <assert.h>

/* A cell is a mask of actions (enum task_action) plus conditions and whether the change is legal. */
enum {
    LEGAL = 1 << 8,
    RESCHEDULE_SERVICE = 1 << 9,      /* RESCHEDULE if the config says so */
    RESCHEDULE_BELOW_LIMIT = 1 << 10, /* ... or if it may fail again */
    RESCHEDULE_UNLESS_KILLED = 1 << 11,
};
static_assert(TASK_ACTIONS <= 8, "actions and conditions share a cell");

/* The cells by their one-letter names: F count failure, S save, R reschedule, L make lost, K kill, D delete. */
#define S_ (LEGAL | TASK_SAVE)
#define D_ (LEGAL | TASK_DELETE)
#define SR (S_ | TASK_RESCHEDULE)
#define SRK (SR | TASK_KILL)
#define SK (S_ | TASK_KILL)
#define SL (S_ | TASK_MAKE_LOST)
#define SR_SERV (S_ | RESCHEDULE_SERVICE)
#define FSR_LIM (S_ | TASK_COUNT_FAILURE | RESCHEDULE_BELOW_LIMIT)
#define SR_NK_K (S_ | RESCHEDULE_UNLESS_KILLED | TASK_KILL)
#define ZOMBIE TASK_KILL /* illegal, but what runs there must not */
#define TO(name) [API_SCHEDULE_STATUS_##name]

#define KILLS_ZOMBIES TO(ASSIGNED) = ZOMBIE, TO(STARTING) = ZOMBIE, TO(RUNNING) = ZOMBIE
#define ON_ITS_WAY_OUT                                                                                                 \
    KILLS_ZOMBIES, TO(FINISHED) = SR, TO(FAILED) = SR, TO(KILLED) = SR, TO(LOST) = SRK, TO(PARTITIONED) = SL,          \
                   TO(KILLING) = S_
#define MAY_BE_ENDED(c) TO(KILLING) = (c), TO(RESTARTING) = (c), TO(DRAINING) = (c), TO(PREEMPTING) = (c)

/* clang-format off */
static const uint16_t table[TASK_STATES][TASK_STATES] = {
    TO(INIT)       = { TO(PENDING) = S_, TO(THROTTLED) = S_ },
    TO(THROTTLED)  = { TO(PENDING) = S_, TO(KILLING) = D_ },
    TO(PENDING)    = { TO(ASSIGNED) = S_, TO(KILLING) = D_ },
    TO(ASSIGNED)   = { TO(STARTING) = S_, TO(RUNNING) = S_, TO(FINISHED) = SR_SERV, TO(FAILED) = FSR_LIM,
                       TO(KILLED) = SR, TO(LOST) = SRK, MAY_BE_ENDED(SK) },
    TO(STARTING)   = { TO(RUNNING) = S_, TO(FINISHED) = SR_SERV, TO(FAILED) = FSR_LIM,
                       TO(KILLED) = SR, TO(LOST) = SR, TO(PARTITIONED) = S_, MAY_BE_ENDED(SK) },
    TO(RUNNING)    = { TO(FINISHED) = SR_SERV, TO(FAILED) = FSR_LIM,
                       TO(KILLED) = SR, TO(LOST) = SR, TO(PARTITIONED) = S_, MAY_BE_ENDED(SK) },
    TO(PARTITIONED) = { TO(ASSIGNED) = S_, TO(STARTING) = S_, TO(RUNNING) = S_, TO(FINISHED) = S_,
                       TO(FAILED) = FSR_LIM, TO(LOST) = SR_NK_K, MAY_BE_ENDED(SL) },
    TO(RESTARTING) = { ON_ITS_WAY_OUT },
    TO(DRAINING)   = { ON_ITS_WAY_OUT },
    TO(PREEMPTING) = { ON_ITS_WAY_OUT },
    TO(KILLING)    = { KILLS_ZOMBIES, TO(FINISHED) = S_, TO(FAILED) = S_, TO(KILLED) = S_, TO(LOST) = S_,
                       TO(PARTITIONED) = SL },
    TO(FINISHED)   = { KILLS_ZOMBIES },
    TO(FAILED)     = { KILLS_ZOMBIES },
    TO(KILLED)     = { KILLS_ZOMBIES },
    TO(LOST)       = { KILLS_ZOMBIES },
    [TASK_ABSENT]  = { KILLS_ZOMBIES },
};
/* clang-format on */

/* Services are always tried again; others until the failure that reaches the limit. */
static bool may_fail_again(const struct task_facts *f)
{
    if (f->is_service || f->max_task_failures == -1) return true;
    return (int64_t)f->failure_count < (int64_t)f->max_task_failures - 1;
}

enum task_change task_fsm(enum api_schedule_status from, enum api_schedule_status to, const struct task_facts *facts,
                          unsigned *ret_actions)
{
    assert((unsigned)from < TASK_STATES && (unsigned)to < TASK_STATES);
    *ret_actions = 0;
    if (from == to) return TASK_NOOP;
    unsigned cell = table[from][to];
    unsigned actions = cell & ((1u << TASK_ACTIONS) - 1);
    if (cell & RESCHEDULE_SERVICE && facts->is_service) actions |= TASK_RESCHEDULE;
    if (cell & RESCHEDULE_BELOW_LIMIT && may_fail_again(facts)) actions |= TASK_RESCHEDULE;
    if (cell & RESCHEDULE_UNLESS_KILLED && !facts->was_killing) actions |= TASK_RESCHEDULE;
    *ret_actions = actions;
    if (cell & LEGAL) return TASK_CHANGED;
    return actions ? TASK_ILLEGAL_WITH_ACTIONS : TASK_ILLEGAL;
}
