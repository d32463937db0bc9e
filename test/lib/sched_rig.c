#include "test/lib/sched_rig.h"

#include "core/image.h"
#include "core/resources.h"
#include "core/task.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---------------- names ---------------- */

static struct rig_name *name_of(struct rig *r, struct str id)
{
    struct rig_name *n;
    HASH_FIND(hh, r->names, id.p, id.n, n);
    if (n) return n;
    n = xcalloc(1, sizeof *n + id.n + 1);
    memcpy(n->id, id.p, id.n);
    n->n = HASH_COUNT(r->names);
    HASH_ADD_KEYPTR(hh, r->names, n->id, id.n, n);
    return n;
}

struct str rig_id(struct rig *r, const char *name)
{
    if (name[0] != 't') return str_c(name);
    unsigned want = (unsigned)strtoul(name + 1, NULL, 10);
    for (struct rig_name *n = r->names; n; n = n->hh.next)
        if (n->n == want) return str_c(n->id);
    return str_c(name);
}

static bool name_task(const struct task *t, void *arg)
{
    name_of(arg, t->id);
    return true;
}

/* ---------------- checks of a step ---------------- */

static void mirror_op(struct rig *r, const struct api_op *op)
{
    struct buf b = { 0 };
    struct arena a = { 0 };
    assert_int_equal(tbinary_write(&b, &api_op_desc, op), 0);
    struct api_op *back = ARENA_NEW(&a, struct api_op);
    assert_int_equal(tbinary_read(b.data, b.len, &api_op_desc, back, &a, NULL), 0);
    assert_int_equal(store_apply(r->mirror, back), 0);
    buf_release(&b);
    arena_release(&a);
}

/* What the carves of a launch take from each entry of its offer. */
static void check_carves(const struct offer *o, milli *left, const struct carve *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct offer_resource *res = NULL;
        uint32_t at = 0;
        for (uint32_t k = 0; k < o->n_resources; k++)
            if (o->resources[k].index == v[i].index) res = &o->resources[at = k];
        assert_non_null(res);
        assert_int_equal(res->kind, v[i].kind);
        assert_true(v[i].amount > 0);
        left[at] -= v[i].amount;
        assert_true(left[at] >= 0);
        milli ports = 0;
        for (uint32_t k = 0; k < v[i].n_ranges; k++) {
            bool inside = false;
            for (uint32_t m = 0; m < res->n_ranges; m++)
                inside |= v[i].ranges[k].begin >= res->ranges[m].begin && v[i].ranges[k].end <= res->ranges[m].end;
            assert_true(inside);
            ports += (milli)(v[i].ranges[k].end - v[i].ranges[k].begin + 1) * MILLI;
        }
        if (v[i].kind == RES_PORTS) assert_int_equal(ports, v[i].amount);
    }
}

static void check_ports(const struct effect *e)
{
    for (uint32_t i = 0; i < e->launch.n_tasks; i++)
        for (uint32_t k = 0; k < e->launch.tasks[i].task->n_ports; k++)
            for (uint32_t j = 0; j <= i; j++)
                for (uint32_t m = 0; m < (j == i ? k : e->launch.tasks[j].task->n_ports); m++)
                    assert_int_not_equal(e->launch.tasks[i].task->ports[k].port,
                                         e->launch.tasks[j].task->ports[m].port);
}

static void drop_offer(struct rig *r, struct str id)
{
    struct rig_offer *o;
    HASH_FIND(hh, r->offers, id.p, id.n, o);
    assert_non_null(o); /* only what is held may be used, declined or taken back */
    HASH_DEL(r->offers, o);
    arena_release(&o->arena);
    free(o);
}

static void check_launch(struct rig *r, const struct effect *e)
{
    struct rig_offer *held;
    HASH_FIND(hh, r->offers, e->launch.offer_id.p, e->launch.offer_id.n, held);
    assert_non_null(held);
    const struct offer *o = &held->o;
    milli left[32];
    assert_true(o->n_resources <= 32 && e->launch.n_tasks > 0);
    for (uint32_t i = 0; i < o->n_resources; i++) left[i] = o->resources[i].amount;
    buf_addf(&r->trace, "launch %.*s:", STR_ARG(e->launch.offer_id));
    for (uint32_t i = 0; i < e->launch.n_tasks; i++) {
        const struct launch_task *t = &e->launch.tasks[i];
        assert_int_equal(t->task->status, API_SCHEDULE_STATUS_ASSIGNED);
        assert_true(str_eq(t->task->slave_id, e->launch.agent_id));
        struct rig_name *n = name_of(r, t->task->id);
        assert_false(n->launched);
        n->launched = true;
        r->launched++;
        check_carves(o, left, t->task_resources, t->n_task_resources);
        check_carves(o, left, t->executor_resources, t->n_executor_resources);
        buf_addf(&r->trace, " t%u", n->n);
    }
    check_ports(e);
    buf_addc(&r->trace, '\n');
    drop_offer(r, e->launch.offer_id);
}

static void note_reply(struct rig *r, const struct effect *e)
{
    arena_release(&r->replies);
    r->reply = thrift_clone(&api_response_desc, e->reply.response, &r->replies);
    assert_true(r->reply->has_details && r->reply->server_info);
}

static void note_effect(struct rig *r, const struct effect *e)
{
    switch (e->type) {
    case EFFECT_KILL:
        buf_addf(&r->trace, "kill t%u\n", name_of(r, e->kill.task_id)->n);
        return;
    case EFFECT_LAUNCH:
        check_launch(r, e);
        return;
    case EFFECT_DECLINE:
        buf_adds(&r->trace, "decline");
        for (uint32_t i = 0; i < e->decline.n; i++) {
            buf_addf(&r->trace, " %.*s", STR_ARG(e->decline.offer_ids[i]));
            drop_offer(r, e->decline.offer_ids[i]);
        }
        buf_addc(&r->trace, '\n');
        return;
    case EFFECT_RECONCILE:
        buf_adds(&r->trace, e->reconcile.n ? "reconcile" : "reconcile all");
        for (uint32_t i = 0; i < e->reconcile.n; i++)
            buf_addf(&r->trace, " t%u", name_of(r, e->reconcile.tasks[i].task_id)->n);
        buf_addc(&r->trace, '\n');
        return;
    case EFFECT_ACK:
        buf_addf(&r->trace, "ack t%u\n", name_of(r, e->ack.task_id)->n);
        return;
    case EFFECT_REPLY:
        note_reply(r, e);
        return;
    case EFFECT_TYPES:
        break;
    }
    fail();
}

void rig_step(struct rig *r, struct sched_event *ev)
{
    ev->now_ms = r->now_ms;
    sched_update_release(&r->update);
    sched_step(r->s, ev, &r->update);
    r->steps++;
    for (uint32_t i = 0; i < r->update.n_ops; i++) mirror_op(r, &r->update.ops[i]);
    if (store_task_count(r->mirror) < 500 || r->steps % 64 == 0)
        assert_int_equal(store_hash(sched_store(r->s)), store_hash(r->mirror));
    if (r->update.n_ops) store_each_task(sched_store(r->s), name_task, r);
    for (uint32_t i = 0; i < r->update.n_effects; i++) {
        if (i) assert_true(r->update.effects[i - 1].type <= r->update.effects[i].type);
        note_effect(r, &r->update.effects[i]);
    }
}

void rig_run(struct rig *r, int64_t ms)
{
    int64_t end = r->now_ms + ms;
    for (int i = 0; sched_timeout(r->s) <= end; i++) {
        assert_true(i < 1000000);
        if (sched_timeout(r->s) > r->now_ms) r->now_ms = sched_timeout(r->s);
        rig_step(r, &(struct sched_event){ .type = EV_TIMER });
    }
    r->now_ms = end;
}

void rig_clear(struct rig *r)
{
    buf_reset(&r->trace);
}

void rig_expect(struct rig *r, const char *text)
{
    assert_string_equal(buf_cstr(&r->trace), text);
    rig_clear(r);
}

/* ---------------- life ---------------- */

static struct executor_setting executors[] = { { { "AuroraExecutor", 14 }, 250, 128000, 0 },
                                               { { "shell", 5 }, 0, 0, 0 } };

void rig_defaults(struct sched_config *c)
{
    sched_config_defaults(c);
    c->cluster_name = STR("test");
    c->hostname = STR("scheduler.example");
    c->seed = 42;
    c->executors = executors;
    c->n_executors = 2;
}

void rig_init_follower(struct rig *r, const struct sched_config *config)
{
    *r = (struct rig){ .now_ms = 1600000000000 };
    if (config)
        r->config = *config;
    else
        rig_defaults(&r->config);
    r->stats = stats_new();
    r->s = sched_new(&r->config, r->stats);
    r->mirror = store_new();
}

void rig_lead(struct rig *r)
{
    rig_step(r, &(struct sched_event){ .type = EV_LEADING });
    rig_step(r, &(struct sched_event){ .type = EV_REGISTERED, .registered = { STR("framework-1"), true } });
}

void rig_init(struct rig *r, const struct sched_config *config)
{
    rig_init_follower(r, config);
    rig_lead(r);
}

void rig_release(struct rig *r)
{
    sched_update_release(&r->update);
    sched_free(r->s);
    stats_free(r->stats);
    store_free(r->mirror);
    while (r->offers) drop_offer(r, r->offers->o.id);
    for (struct rig_name *n = r->names, *next; n; n = next) {
        next = n->hh.next;
        HASH_DEL(r->names, n);
        free(n);
    }
    buf_release(&r->trace);
    arena_release(&r->replies);
}

int rig_set_up(void **state)
{
    rig_init(*state = xcalloc(1, sizeof(struct rig)), NULL);
    return 0;
}

int rig_tear_down(void **state)
{
    rig_release(*state);
    free(*state);
    return 0;
}

void rig_fail_over(struct rig *r, int64_t pause_ms)
{
    struct arena a = { 0 };
    struct image *image = image_take(sched_store(r->s), r->now_ms);
    struct api_snapshot snap = image->rest;
    snap.n_tasks = image->n;
    snap.tasks = ARENA_ARRAY(&a, struct api_scheduled_task, snap.n_tasks);
    for (uint32_t i = 0; i < snap.n_tasks; i++) task_to_api(image->tasks[i], &snap.tasks[i], &a);
    uint64_t hash = store_hash(sched_store(r->s));

    struct stats *stats = stats_new();
    r->config.seed++; /* every process has its own: ids of forgotten tasks must not come again */
    struct sched *s = sched_new(&r->config, stats);
    struct store *state = store_new();
    assert_int_equal(store_apply_snapshot(state, &snap), 0);
    store_free(sched_replace_store(s, state));
    assert_int_equal(store_hash(sched_store(s)), hash);
    image_unref(image);
    arena_release(&a);
    sched_update_release(&r->update);
    sched_free(r->s);
    stats_free(r->stats);
    r->s = s;
    r->stats = stats;
    while (r->offers) drop_offer(r, r->offers->o.id);
    r->now_ms += pause_ms;
}

void rig_disconnect(struct rig *r)
{
    rig_step(r, &(struct sched_event){ .type = EV_DISCONNECTED });
    while (r->offers) drop_offer(r, r->offers->o.id);
}

/* ---------------- commands ---------------- */

const struct tmethod *rig_method(const char *name)
{
    for (uint32_t i = 0; i < api_n_methods; i++)
        if (strcmp(api_methods[i].name, name) == 0) return &api_methods[i];
    fail_msg("no method %s", name);
    return NULL;
}

const struct api_response *rig_call(struct rig *r, const char *method, const void *args)
{
    struct sched_event ev = { .type = EV_COMMAND };
    ev.command.cookie = 7;
    ev.command.method = rig_method(method);
    ev.command.args = args;
    ev.command.user = STR("UNSECURE");
    r->reply = NULL;
    rig_step(r, &ev);
    return r->reply;
}

const struct api_response *rig_finish(struct rig *r)
{
    while (sched_busy(r->s)) rig_step(r, &(struct sched_event){ .type = EV_TIMER });
    return r->reply;
}

const struct api_response *rig_call_json(struct rig *r, const char *method, const char *json)
{
    struct arena a = { 0 };
    struct buf err = { 0 };
    const struct tdesc *d = rig_method(method)->args;
    void *args = arena_alloc(&a, d->size);
    int rv = json_read(json, strlen(json), d, args, &a, JSON_STRICT, &err);
    if (rv) fail_msg("%s: %s", json, buf_cstr(&err));
    const struct api_response *resp = rig_call(r, method, args);
    if (!resp) resp = rig_finish(r);
    arena_release(&a);
    buf_release(&err);
    return resp;
}

const char *rig_answer(struct rig *r, const struct api_response *resp)
{
    struct buf b = { 0 };
    buf_adds(&b, tenum_name(&api_response_code_enum, (int32_t)resp->response_code));
    for (uint32_t i = 0; i < resp->n_details; i++)
        buf_addf(&b, "%s %.*s", i ? ";" : ":", STR_ARG(resp->details[i].message));
    const char *text = arena_str(&r->replies, (struct str){ buf_cstr(&b), (uint32_t)b.len }).p;
    buf_release(&b);
    return text;
}

const char *rig_create(struct rig *r, const char *name, int instances, const char *more)
{
    struct buf b = { 0 };
    buf_addf(&b,
             "{\"description\":{\"key\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"%s\"},"
             "\"owner\":{\"user\":\"user\"},\"instanceCount\":%d,\"taskConfig\":{"
             "\"job\":{\"role\":\"role\",\"environment\":\"prod\",\"name\":\"%s\"},\"owner\":{\"user\":\"user\"},"
             "\"executorConfig\":{\"name\":\"shell\",\"data\":\"true\"}%s%s}}}",
             name, instances, name,
             strstr(more, "\"resources\"") ? "" : ",\"resources\":[{\"numCpus\":1.0},{\"ramMb\":128},{\"diskMb\":64}]",
             more);
    const char *answer = rig_answer(r, rig_call_json(r, "createJob", buf_cstr(&b)));
    buf_release(&b);
    return answer;
}

/* ---------------- Mesos ---------------- */

static void add_attributes(struct offer *o, const char *text, struct arena *a)
{
    o->attributes = ARENA_ARRAY(a, struct offer_attribute, 8);
    char *copy = (char *)arena_str(a, str_c(text)).p, *save = NULL;
    for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(p, '=');
        assert_non_null(eq);
        *eq = 0;
        o->attributes[o->n_attributes++] = (struct offer_attribute){ str_c(p), str_c(eq + 1) };
    }
}

void rig_offer(struct rig *r, const char *agent, int cpus, int mem, int disk, const char *attributes)
{
    struct rig_offer *held = xcalloc(1, sizeof *held);
    struct arena *a = &held->arena;
    assert(agent);
    held->o = (struct offer){ .agent_id = arena_str(a, str_c(agent)),
                              .hostname = arena_strf(a, "host-%s", agent),
                              .unavailable_from_ms = -1,
                              .n_resources = 4 };
    struct rig_offer *same;
    held->o.id = arena_str(a, str_c(agent));
    for (unsigned n = 2;; n++) {
        HASH_FIND(hh, r->offers, held->o.id.p, held->o.id.n, same);
        if (!same) break;
        held->o.id = arena_strf(a, "%s.%u", agent, n);
    }
    struct offer_resource *res = held->o.resources = ARENA_ARRAY(a, struct offer_resource, 4);
    res[0] = (struct offer_resource){ .kind = RES_CPUS, .index = 0, .amount = cpus * MILLI };
    res[1] = (struct offer_resource){ .kind = RES_RAM_MB, .index = 1, .amount = (milli)mem * MILLI };
    res[2] = (struct offer_resource){ .kind = RES_DISK_MB, .index = 2, .amount = (milli)disk * MILLI };
    res[3] = (struct offer_resource){ .kind = RES_PORTS, .index = 4, .amount = 100 * MILLI, .n_ranges = 1 };
    res[3].ranges = ARENA_ARRAY(a, struct port_range, 1);
    res[3].ranges[0] = (struct port_range){ 31000, 31099 };
    if (attributes) add_attributes(&held->o, attributes, a);
    HASH_ADD_KEYPTR(hh, r->offers, held->o.id.p, held->o.id.n, held);
    rig_step(r, &(struct sched_event){ .type = EV_OFFERS, .offers = { &held->o, 1 } });
}

void rig_rescind(struct rig *r, const char *offer_id)
{
    rig_step(r, &(struct sched_event){ .type = EV_RESCIND, .rescind = { str_c(offer_id) } });
    drop_offer(r, str_c(offer_id));
}

void rig_status_of(struct rig *r, struct status_update *u)
{
    rig_step(r, &(struct sched_event){ .type = EV_STATUS, .status = { u, 1 } });
}

void rig_status(struct rig *r, const char *task, int mesos_state)
{
    struct status_update u = { .task_id = rig_id(r, task),
                               .agent_id = STR("agent"),
                               .state = mesos_state,
                               .source = 2,
                               .reason = -1,
                               .has_uuid = true,
                               .uuid = { 1 },
                               .timestamp_ms = -1 };
    rig_status_of(r, &u);
}

/* ---------------- looking ---------------- */

const struct task *rig_task(struct rig *r, const char *name)
{
    return store_task(sched_store(r->s), rig_id(r, name));
}

struct describe {
    struct rig *r;
    struct buf b;
};

static bool describe_task(const struct task *t, void *arg)
{
    struct describe *d = arg;
    buf_addf(&d->b, "%st%u %s", d->b.len ? "; " : "", name_of(d->r, t->id)->n, status_name(t->status));
    return true;
}

const char *rig_tasks(struct rig *r)
{
    struct describe d = { .r = r };
    store_each_task(sched_store(r->s), describe_task, &d);
    const char *text = arena_str(&r->replies, (struct str){ buf_cstr(&d.b), (uint32_t)d.b.len }).p;
    buf_release(&d.b);
    return text;
}

const char *rig_events(struct rig *r, const char *name)
{
    const struct task *t = rig_task(r, name);
    struct buf b = { 0 };
    for (uint32_t i = 0; t && i < t->n_events; i++)
        buf_addf(&b, "%s%s", i ? " " : "", status_name(t->events[i].status));
    const char *text = arena_str(&r->replies, (struct str){ buf_cstr(&b), (uint32_t)b.len }).p;
    buf_release(&b);
    return text;
}
