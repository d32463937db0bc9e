/* Random events from a seed; after each step the rig's checks and the invariants below hold, and when at last every
 * task is killed and every answer given, nothing is left over. */
#include "test/lib/sched_rig.h"

#include "core/rng.h"
#include "core/task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SEEDS = 15, STEPS = 250, JOBS = 6, AGENTS = 7, RACK_LIMIT = 2 };
enum { SECOND = 1000, MINUTE = 60 * SECOND };

static struct rng rng;

static uint32_t below(uint32_t n)
{
    return (uint32_t)rng_below(&rng, n);
}

/* ---------------- invariants ---------------- */

struct census {
    struct rig *r;
    uint64_t tasks;
};

/* No two active tasks are the same instance; on no rack are more tasks of a job with a limit than it allows. */
static bool check_job(const struct job *j, void *arg)
{
    struct census *c = arg;
    struct arena a = { 0 };
    struct task_list l = store_job_tasks(sched_store(c->r->s), &j->key, &a);
    uint32_t racks[3] = { 0 }, terminal = 0;
    bool limited = false;
    assert_int_equal(l.n, j->n_tasks);
    for (uint32_t i = 0; i < l.n; i++) {
        const struct task *t = l.v[i];
        c->tasks++;
        terminal += status_in(t->status, TASKS_TERMINAL);
        if (!status_in(t->status, TASKS_ACTIVE)) continue;
        for (uint32_t k = 0; k < i; k++)
            if (status_in(l.v[k]->status, TASKS_ACTIVE)) assert_int_not_equal(l.v[k]->instance_id, t->instance_id);
        if (!status_in(t->status, TASKS_SLAVE_ASSIGNED)) continue;
        limited |= t->config->api->n_constraints > 0;
        racks[(uint32_t)(t->slave_id.p[1] - '0') % 3]++;
    }
    assert_int_equal(terminal, j->n_terminal);
    for (int i = 0; limited && i < 3; i++) assert_true(racks[i] <= RACK_LIMIT);
    arena_release(&a);
    return true;
}

static void count_pending(const struct pending_group *g, void *arg)
{
    assert_true(g->n_task_ids > 0);
    *(uint32_t *)arg += g->n_task_ids;
}

static void count_offer(const struct offer *o, void *arg)
{
    (void)o;
    ++*(uint32_t *)arg;
}

/* What leaves has its reason among the ops of the same step. */
static void check_launches(const struct sched_update *u)
{
    for (uint32_t i = 0; i < u->n_effects; i++) {
        if (u->effects[i].type != EFFECT_LAUNCH) continue;
        for (uint32_t k = 0; k < u->effects[i].launch.n_tasks; k++) {
            bool saved = false;
            for (uint32_t m = 0; m < u->n_ops; m++)
                for (uint32_t n = 0; u->ops[m].save_tasks && n < u->ops[m].save_tasks->n_tasks; n++)
                    saved |= str_eq(u->ops[m].save_tasks->tasks[n].assigned_task->task_id,
                                    u->effects[i].launch.tasks[k].task->id);
            assert_true(saved);
        }
    }
}

static void check(struct rig *r)
{
    const struct store *s = sched_store(r->s);
    struct census c = { .r = r };
    store_each_job(s, (struct str){ 0 }, check_job, &c);
    assert_int_equal(c.tasks, store_task_count(s));
    uint32_t by_status = 0, pending = 0, offers = 0;
    for (unsigned i = 0; i < TASK_STATES; i++) by_status += store_status_count(s, (enum api_schedule_status)i);
    assert_int_equal(by_status, store_task_count(s));
    assert_int_equal(store_status_count(s, API_SCHEDULE_STATUS_INIT), 0);
    sched_each_pending_group(r->s, count_pending, &pending);
    assert_int_equal(pending, store_status_count(s, API_SCHEDULE_STATUS_PENDING));
    sched_each_offer(r->s, count_offer, &offers);
    assert_int_equal(offers, HASH_COUNT(r->offers));
    check_launches(&r->update);
}

/* ---------------- events ---------------- */

static const char *job_json(char *out, size_t n)
{
    snprintf(out, n, "{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j%u\"}", below(JOBS));
    return out;
}

/* The kind of job goes by its name, so that all instances that ever were of it have the same constraints. */
static void random_create(struct rig *r)
{
    static const char *const kinds[JOBS] = {
        "",
        ",\"isService\":true",
        ",\"maxTaskFailures\":3",
        ",\"isService\":true,\"constraints\":[{\"name\":\"rack\",\"constraint\":{\"limit\":{\"limit\":2}}}]",
        ",\"isService\":true,\"partitionPolicy\":{\"reschedule\":true,\"delaySecs\":90}",
        ",\"resources\":[{\"numCpus\":0.3},{\"ramMb\":7},{\"diskMb\":3},{\"namedPort\":\"a\"},{\"namedPort\":\"b\"}]",
    };
    char name[16];
    uint32_t k = below(JOBS);
    snprintf(name, sizeof name, "j%u", k);
    rig_create(r, name, 1 + (int)below(9), kinds[k]);
}

static void random_kill(struct rig *r)
{
    char key[128], json[256];
    job_json(key, sizeof key);
    if (below(2))
        snprintf(json, sizeof json, "{\"job\":%s}", key);
    else
        snprintf(json, sizeof json, "{\"job\":%s,\"instances\":[%u,%u]}", key, below(9), below(9));
    rig_call_json(r, "killTasks", json);
}

static void random_restart(struct rig *r)
{
    char key[128], json[256];
    snprintf(json, sizeof json, "{\"job\":%s,\"shardIds\":[%u]}", job_json(key, sizeof key), below(5));
    rig_call_json(r, "restartShards", json);
}

static void random_read(struct rig *r)
{
    static const char *const methods[] = { "getJobSummary", "getRoleSummary", "getJobs" };
    rig_call_json(r, methods[below(3)], "{}");
    rig_call_json(r, "getPendingReason", "{\"query\":{}}");
}

/* The hosts of an agent keep their rack. */
static void random_offer(struct rig *r)
{
    char agent[8], attributes[16];
    uint32_t n = below(AGENTS);
    snprintf(agent, sizeof agent, "a%u", n);
    snprintf(attributes, sizeof attributes, "rack=r%u", n % 3);
    rig_offer(r, agent, (int)below(6), (int)below(700), (int)below(400), attributes);
}

static void random_rescind(struct rig *r)
{
    uint32_t n = HASH_COUNT(r->offers);
    if (!n) return;
    struct rig_offer *o = r->offers;
    for (uint32_t i = below(n); i; i--) o = o->hh.next;
    char id[64];
    snprintf(id, sizeof id, "%.*s", STR_ARG(o->o.id));
    rig_rescind(r, id);
}

static void random_status(struct rig *r)
{
    char name[16];
    uint32_t n = HASH_COUNT(r->names);
    snprintf(name, sizeof name, "t%u", below(n + 1)); /* or one that nobody knows */
    rig_status(r, name, (int)below(14));
}

static void change_of_leader(struct rig *r)
{
    if (below(4)) {
        rig_disconnect(r);
    } else {
        rig_fail_over(r, below(10 * MINUTE));
        rig_step(r, &(struct sched_event){ .type = EV_LEADING });
    }
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("f"), false } });
}

static void random_event(struct rig *r)
{
    uint32_t dice = below(100);
    if (dice < 12)
        random_create(r);
    else if (dice < 18)
        random_kill(r);
    else if (dice < 23)
        random_restart(r);
    else if (dice < 25)
        random_read(r);
    else if (dice < 45)
        random_offer(r);
    else if (dice < 48)
        random_rescind(r);
    else if (dice < 75)
        random_status(r);
    else if (dice < 97)
        rig_run(r, below(3) ? below(5 * SECOND) : below(8 * MINUTE));
    else
        change_of_leader(r);
}

/* ---------------- the end ---------------- */

static void kill_everything(struct rig *r)
{
    for (uint32_t i = 0; i < JOBS; i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"j%u\"}}", i);
        rig_call_json(r, "killTasks", json);
    }
    for (uint32_t i = 0; i < HASH_COUNT(r->names); i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", i);
        const struct task *t = rig_task(r, name);
        if (t && t->status == API_SCHEDULE_STATUS_KILLING && below(2)) rig_status(r, name, RIG_KILLED);
    }
}

static void nothing_is_left(struct rig *r)
{
    kill_everything(r);
    check(r);
    rig_run(r, 10 * MINUTE); /* those that did not answer are lost */
    check(r);
    assert_int_equal(store_status_count(sched_store(r->s), API_SCHEDULE_STATUS_KILLING), 0);
    struct arena a = { 0 };
    assert_int_equal(store_status_tasks(sched_store(r->s), TASKS_ACTIVE, &a).n, 0);
    arena_release(&a);
    rig_run(r, 72 * 60 * (int64_t)MINUTE);
    assert_int_equal(store_task_count(sched_store(r->s)), 0);
    assert_int_equal(HASH_COUNT(r->offers), 0);
}

static void run_seed(uint64_t seed)
{
    print_message("SEED=%llu build/asan/test/core_sched_random\n", (unsigned long long)seed);
    rng.state = seed;
    struct sched_config c;
    rig_defaults(&c);
    c.seed = seed;
    c.history_max_per_job_threshold = 20;
    struct rig r;
    rig_init(&r, &c);
    for (int i = 0; i < STEPS; i++) {
        random_event(&r);
        check(&r);
    }
    assert_true(r.launched > 0);
    nothing_is_left(&r);
    rig_release(&r);
}

static void random_events(void **state)
{
    (void)state;
    const char *one = getenv("SEED");
    if (one) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) run_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_events) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
