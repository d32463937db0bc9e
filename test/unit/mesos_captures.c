/* The master's side of recorded traffic (test/data/captures), replayed to our driver, whose calls must be those of the
 * recorded one.
 *
 * What a recorded scheduler decided (accept, decline, kill, ...) is handed to our driver as an effect; what its driver
 * did by itself (authenticate, subscribe, deactivate) ours must do by itself. Each message of the master must become
 * one event. Not compared, and why:
 *
 *   process ids, ports, AuthenticateMessage.pid    random
 *   SUBSCRIBE offer_constraints                    newer than our oldest master, and empty
 *   SUBSCRIBE role, roles, capabilities            Aurora does not use MULTI_ROLE, TASK_KILLING_STATE,
 * RESERVATION_REFINEMENT TaskInfo and ExecutorInfo: name, labels, data, allocation_info, role of resources the recorded
 * scheduler's own choice; ours are tested in mesos_task_info ACCEPT of an offer that is not there any more  ours
 * answers TASK_LOST itself, without asking the master calls while not connected                      ours sends none
 *   REQUEST, framework messages to executors       Aurora sends none
 *   relink: all after the first return             the recorded scheduler breaks the rules on purpose
 *   the masters of master-failover                 one after the other at the same address */
#include "core/store.h"
#include "mesos/proto.h"
#include "test/lib/mesos_master.h"
#include "test/lib/peer.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "mesos/authentication.pb-c.h"
#include "mesos/messages.pb-c.h"
#include "mesos/scheduler.pb-c.h"

/* ---------------- reading a recording ---------------- */

struct line {
    struct str from, to, kind, path; /* path unset: none */
    int conn;
    struct str name;             /* of the message, for requests */
    struct str sender, receiver; /* ids */
    struct str body;
};

struct recording {
    struct arena a;
    struct line *v;
    size_t n;
};

static char *read_file(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    if (!f) print_error("%s is missing; run from the top folder\n", path);
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    rewind(f);
    char *text = malloc((size_t)n + 1);
    assert_int_equal(fread(text, 1, (size_t)n, f), n);
    text[n] = 0;
    assert_int_equal(fclose(f), 0);
    *ret_n = (size_t)n;
    return text;
}

static struct str text_of(const cJSON *j, const char *name, struct arena *a)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(j, name);
    return cJSON_IsString(v) ? arena_str(a, str_c(v->valuestring)) : (struct str){ 0 };
}

static struct str base64(struct str in, struct arena *a)
{
    uint8_t *out = arena_alloc(a, in.n / 4 * 3 + 1);
    int n = EVP_DecodeBlock(out, (const uint8_t *)in.p, (int)in.n);
    assert_true(n >= 0);
    for (uint32_t i = in.n; i > 0 && in.p[i - 1] == '='; i--) n--;
    return (struct str){ (char *)out, (uint32_t)n };
}

/* Undoes the chunks of Mesos: one with everything, or no body at all. */
static struct str body_of(struct str http)
{
    const char *end = memmem(http.p, http.n, "\r\n\r\n", 4);
    assert_non_null(end);
    const char *p = end + 4;
    if (p == http.p + http.n) return (struct str){ p, 0 };
    char *data;
    unsigned long n = strtoul(p, &data, 16);
    assert_true(data + 2 + n <= http.p + http.n);
    return (struct str){ data + 2, (uint32_t)n };
}

/* The id in "Libprocess-From: id@ip:port". */
static struct str sender_of(struct str http, struct arena *a)
{
    static const char header[] = "Libprocess-From: ";
    const char *p = memmem(http.p, http.n, header, strlen(header));
    assert_non_null(p);
    p += strlen(header);
    const char *at = memchr(p, '@', (size_t)(http.p + http.n - p));
    if (!at) return (struct str){ 0 }; /* a probe that is no pid */
    return arena_str(a, (struct str){ p, (uint32_t)(at - p) });
}

static void read_line(struct recording *r, const cJSON *j)
{
    struct line *l = &r->v[r->n++];
    *l = (struct line){ .from = text_of(j, "from", &r->a),
                        .to = text_of(j, "to", &r->a),
                        .kind = text_of(j, "kind", &r->a),
                        .path = text_of(j, "path", &r->a),
                        .conn = cJSON_GetObjectItemCaseSensitive(j, "conn")->valueint };
    if (!str_eq(l->kind, STR("request")) || !l->path.p) return;
    const char *slash = strchr(l->path.p + 1, '/');
    struct str http = base64(text_of(j, "http", &r->a), &r->a);
    if (!slash || !memmem(http.p, http.n, "Libprocess-From", 15)) return;
    l->receiver = arena_str(&r->a, (struct str){ l->path.p + 1, (uint32_t)(slash - l->path.p - 1) });
    l->name = str_c(slash + 1);
    l->sender = sender_of(http, &r->a);
    l->body = body_of(http);
}

static void read_recording(struct recording *r, const char *file)
{
    char path[128];
    snprintf(path, sizeof(path), "test/data/captures/%s.jsonl", file);
    size_t n = 0;
    char *text = read_file(path, &n);
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    *r = (struct recording){ 0 };
    r->v = calloc(lines + 1, sizeof(*r->v));
    char *save = NULL;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        cJSON *j = cJSON_Parse(l);
        assert_non_null(j);
        read_line(r, j);
        cJSON_Delete(j);
    }
    free(text);
}

static void release_recording(struct recording *r)
{
    free(r->v);
    arena_release(&r->a);
}

/* ---------------- every recorded body decodes ---------------- */

#define M(message, descriptor)                                                                                         \
    {                                                                                                                  \
        "mesos.internal." message, &mesos__internal__##descriptor##__descriptor                                        \
    }

static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *d;
} known[] = {
    { "mesos.scheduler.Call", &mesos__scheduler__call__descriptor },
    M("AuthenticateMessage", authenticate_message),
    M("AuthenticationMechanismsMessage", authentication_mechanisms_message),
    M("AuthenticationStartMessage", authentication_start_message),
    M("AuthenticationStepMessage", authentication_step_message),
    M("AuthenticationCompletedMessage", authentication_completed_message),
    M("AuthenticationFailedMessage", authentication_failed_message),
    M("FrameworkRegisteredMessage", framework_registered_message),
    M("FrameworkReregisteredMessage", framework_reregistered_message),
    M("FrameworkErrorMessage", framework_error_message),
    M("DeactivateFrameworkMessage", deactivate_framework_message),
    M("ResourceOffersMessage", resource_offers_message),
    M("RescindResourceOfferMessage", rescind_resource_offer_message),
    M("StatusUpdateMessage", status_update_message),
    M("LostSlaveMessage", lost_slave_message),
    M("ExitedExecutorMessage", exited_executor_message),
    M("ExecutorToFrameworkMessage", executor_to_framework_message),
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static void check_round_trip(const ProtobufCMessageDescriptor *d, struct str body)
{
    struct arena a = { 0 };
    struct buf once = { 0 }, twice = { 0 };
    const void *m = proto_unpack(d, body.p, body.n, &a);
    assert_non_null(m);
    proto_pack(m, &once);
    assert_int_equal(once.len, body.n);
    const void *again = proto_unpack(d, once.data, once.len, &a);
    assert_non_null(again);
    proto_pack(again, &twice);
    assert_memory_equal(twice.data, once.data, once.len);
    buf_release(&once);
    buf_release(&twice);
    arena_release(&a);
}

static void test_recorded_bodies_survive_decoding(void **state)
{
    (void)state;
    static const char *const files[] = { "agent-loss-and-return",
                                         "agent-loss-and-return-partition-aware",
                                         "custom-executor",
                                         "executor-and-agent-loss",
                                         "framework-auth-errors",
                                         "framework-lifecycle",
                                         "framework-lifecycle-crammd5",
                                         "framework-lifecycle-multirole-explicit-ack",
                                         "http-probes",
                                         "master-failover",
                                         "master-restart",
                                         "offer-rescind",
                                         "retries",
                                         "scheduler-failover",
                                         "scheduler-relink",
                                         "scheduler-resubscribe" };
    int seen[KNOWN] = { 0 };
    for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
        struct recording r;
        read_recording(&r, files[f]);
        for (size_t i = 0; i < r.n; i++) {
            for (int k = 0; k < KNOWN; k++) {
                bool garbage = str_eq(r.v[i].from, STR("probe")); /* sends malformed bodies on purpose */
                if (!str_eq(r.v[i].name, str_c(known[k].name)) || garbage) continue;
                check_round_trip(known[k].d, r.v[i].body);
                seen[k]++;
            }
        }
        release_recording(&r);
    }
    for (int k = 0; k < KNOWN; k++) assert_true(seen[k] > 0);
    assert_true(seen[0] > 200); /* calls */
}

/* ---------------- the replay ---------------- */

enum { CALLS_MAX = 64, OFFERS_MAX = 64, UUIDS_MAX = 64 };

struct call {
    struct str name, body; /* in the replay's arena */
    struct str to;         /* receiver's id */
};

struct replay {
    struct test_master m;
    struct arena a;
    const char *role;             /* "scheduler-2" */
    struct call calls[CALLS_MAX]; /* of our driver, not compared yet */
    size_t n_calls;
    const Mesos__Offer *offers[OFFERS_MAX];
    size_t n_offers;
    uint8_t uuids[UUIDS_MAX][16]; /* of updates that want an acknowledgement */
    size_t n_uuids;
    size_t n_events, n_events_due;
    struct str last_subscribe; /* repeats of it are no surprise */
    bool detected;
    bool digest_unknown; /* the recorded secret is not known */
};

static void keep_call(struct test_master *m, struct str name, const void *body, size_t n)
{
    struct replay *r = m->arg;
    assert_true(r->n_calls < CALLS_MAX);
    r->calls[r->n_calls++] = (struct call){ .name = arena_str(&r->a, name),
                                            .body = arena_str(&r->a, (struct str){ n ? body : "", (uint32_t)n }) };
}

static void keep_event(struct test_master *m, const struct sched_event *ev)
{
    struct replay *r = m->arg;
    r->n_events++;
    for (uint32_t i = 0; ev->type == EV_STATUS && i < ev->status.n; i++) {
        if (!ev->status.v[i].has_uuid) continue;
        assert_true(r->n_uuids < UUIDS_MAX);
        memcpy(r->uuids[r->n_uuids++], ev->status.v[i].uuid, 16);
    }
}

static void settle(struct replay *r)
{
    buf_reset(&r->m.trace);
    if (strstr(r->m.sender.id, "authenticatee")) { /* one has no counter that shows when it is done */
        uv_run(&r->m.loop, UV_RUN_NOWAIT);
        return;
    }
    test_master_settle(&r->m);
    buf_reset(&r->m.trace);
}

static struct call next_call(struct replay *r)
{
    assert_true(RUN_UNTIL(&r->m.loop, r->n_calls > 0));
    struct call c = r->calls[0];
    memmove(r->calls, r->calls + 1, --r->n_calls * sizeof(c));
    return c;
}

static const Mesos__Scheduler__Call *decode_call(struct replay *r, struct str body)
{
    const void *c = proto_unpack(&mesos__scheduler__call__descriptor, body.p, body.n, &r->a);
    assert_non_null(c);
    return c;
}

/* ---- comparing ---- */

/* Packed without what is not compared. */
static struct str canonical(struct replay *r, struct str body)
{
    Mesos__Scheduler__Call *c = (Mesos__Scheduler__Call *)decode_call(r, body);
    if (c->type == MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE) {
        Mesos__FrameworkInfo *f = c->subscribe->framework_info;
        c->subscribe->base.n_unknown_fields = 0;
        f->role = (char *)protobuf_c_message_descriptor_get_field_by_name(f->base.descriptor, "role")->default_value;
        f->n_roles = f->n_capabilities = 0;
    }
    struct buf b = { 0 };
    proto_pack(c, &b);
    struct str s = arena_str(&r->a, (struct str){ (char *)b.data, (uint32_t)b.len });
    buf_release(&b);
    return s;
}

static void describe_resources(struct buf *b, Mesos__Resource *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++) buf_addf(b, " %s=%g", v[i]->name, v[i]->scalar ? v[i]->scalar->value : -1.0);
}

static struct str describe_accept(struct replay *r, const Mesos__Scheduler__Call *c)
{
    struct buf b = { 0 };
    const Mesos__Scheduler__Call__Accept *m = c->accept;
    for (size_t i = 0; i < m->n_offer_ids; i++) buf_addf(&b, "%s ", m->offer_ids[i]->value);
    buf_addf(&b, "refuse=%g\n", m->filters ? m->filters->refuse_seconds : 5.0);
    for (size_t i = 0; i < m->n_operations; i++) {
        assert_int_equal(m->operations[i]->type, MESOS__OFFER__OPERATION__TYPE__LAUNCH);
        for (size_t k = 0; k < m->operations[i]->launch->n_task_infos; k++) {
            const Mesos__TaskInfo *t = m->operations[i]->launch->task_infos[k];
            buf_addf(&b, "%s@%s", t->task_id->value, t->slave_id->value);
            describe_resources(&b, t->resources, t->n_resources);
            if (t->command) buf_addf(&b, " runs %s shell=%d", t->command->value, t->command->shell);
            if (t->executor) {
                buf_addf(&b, " executor %s runs %s", t->executor->executor_id->value, t->executor->command->value);
                describe_resources(&b, t->executor->resources, t->executor->n_resources);
            }
            buf_addc(&b, '\n');
        }
    }
    struct str s = arena_str(&r->a, (struct str){ (char *)b.data, (uint32_t)b.len });
    buf_release(&b);
    return s;
}

static void compare_calls(struct replay *r, struct str want, struct str got)
{
    const Mesos__Scheduler__Call *w = decode_call(r, want), *g = decode_call(r, got);
    assert_int_equal(g->type, w->type);
    if (w->type == MESOS__SCHEDULER__CALL__TYPE__ACCEPT) {
        assert_string_equal(describe_accept(r, g).p, describe_accept(r, w).p);
        return;
    }
    struct str cw = canonical(r, want), cg = canonical(r, got);
    assert_int_equal(cg.n, cw.n);
    assert_memory_equal(cg.p, cw.p, cw.n);
}

static void compare(struct replay *r, const struct line *l, const struct call *c)
{
    assert_string_equal(c->name.p, l->name.p);
    if (str_eq(l->name, STR("mesos.scheduler.Call"))) {
        compare_calls(r, l->body, c->body);
        return;
    }
    if (str_eq(l->name, STR("mesos.internal.AuthenticateMessage"))) return;
    bool step = str_eq(l->name, STR("mesos.internal.AuthenticationStepMessage"));
    uint32_t n = l->body.n - (step && r->digest_unknown ? 32 : 0);
    assert_int_equal(c->body.n, l->body.n);
    assert_memory_equal(c->body.p, l->body.p, n);
}

/* ---- causing ---- */

static const Mesos__Offer *find_offer(const struct replay *r, const char *id)
{
    for (size_t i = 0; i < r->n_offers; i++)
        if (strcmp(r->offers[i]->id->value, id) == 0) return r->offers[i];
    return NULL;
}

static enum resource_kind kind_of(const char *name)
{
    if (strcmp(name, "cpus") == 0) return RES_CPUS;
    assert_string_equal(name, "mem");
    return RES_RAM_MB;
}

static struct carve *carves_of(struct replay *r, const Mesos__Offer *offer, Mesos__Resource *const *v, size_t n)
{
    struct carve *out = ARENA_ARRAY(&r->a, struct carve, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t index = 0;
        while (offer && strcmp(offer->resources[index]->name, v[i]->name) != 0) index++;
        out[i] = (struct carve){ .index = index,
                                 .kind = kind_of(v[i]->name),
                                 .amount = (milli)(v[i]->scalar->value * 1000 + 0.5) };
    }
    return out;
}

static struct api_job_key job = { STR("role"), STR("env"), STR("name") };

static struct config *config_of(struct replay *r, const Mesos__TaskInfo *t)
{
    struct api_task_config *tc = ARENA_NEW(&r->a, struct api_task_config);
    tc->job = &job;
    tc->executor_config = ARENA_NEW(&r->a, struct api_executor_config);
    tc->executor_config->name = t->executor ? STR("custom") : STR("CommandExecutor");
    tc->executor_config->data = str_c(t->command ? t->command->value : "");
    struct config *c = ARENA_NEW(&r->a, struct config);
    c->api = tc;
    c->refs = 1;
    return c;
}

static struct launch_task launch_task_of(struct replay *r, const Mesos__Offer *offer, const Mesos__TaskInfo *t)
{
    struct task *task = ARENA_NEW(&r->a, struct task);
    task->refs = 1;
    task->id = str_c(t->task_id->value);
    task->slave_id = str_c(t->slave_id->value);
    task->config = config_of(r, t);
    struct launch_task lt = { .task = task, .tier = STR("preferred") };
    lt.task_resources = carves_of(r, offer, t->resources, t->n_resources);
    lt.n_task_resources = (uint32_t)t->n_resources;
    if (!t->executor) return lt;
    lt.executor_resources = carves_of(r, offer, t->executor->resources, t->executor->n_resources);
    lt.n_executor_resources = (uint32_t)t->executor->n_resources;
    return lt;
}

/* False: the offer is gone, so our driver answers itself. */
static bool cause_accept(struct replay *r, const Mesos__Scheduler__Call__Accept *m)
{
    const Mesos__Offer *offer = find_offer(r, m->offer_ids[0]->value);
    assert_int_equal(m->n_operations, 1);
    const Mesos__Offer__Operation__Launch *launch = m->operations[0]->launch;
    struct launch_task *tasks = ARENA_ARRAY(&r->a, struct launch_task, launch->n_task_infos);
    for (size_t i = 0; i < launch->n_task_infos; i++) tasks[i] = launch_task_of(r, offer, launch->task_infos[i]);
    struct effect e = { .type = EFFECT_LAUNCH };
    e.launch.offer_id = str_c(m->offer_ids[0]->value);
    e.launch.tasks = tasks;
    e.launch.n_tasks = (uint32_t)launch->n_task_infos;
    e.launch.refuse_ms = m->filters ? (int64_t)(m->filters->refuse_seconds * 1000) : 5000;
    struct buf json = { 0 };
    driver_write_offer(r->m.driver, e.launch.offer_id, &json);
    bool there = json.len > 0;
    buf_release(&json);
    driver_effect(r->m.driver, &e);
    if (!there) r->n_events_due++;
    return there;
}

static void cause_decline(struct replay *r, const Mesos__Scheduler__Call__Decline *m)
{
    struct effect e = { .type = EFFECT_DECLINE };
    struct str *ids = ARENA_ARRAY(&r->a, struct str, m->n_offer_ids);
    for (size_t i = 0; i < m->n_offer_ids; i++) ids[i] = str_c(m->offer_ids[i]->value);
    e.decline.offer_ids = ids;
    e.decline.n = (uint32_t)m->n_offer_ids;
    e.decline.refuse_ms = (int64_t)(m->filters->refuse_seconds * 1000);
    driver_effect(r->m.driver, &e);
}

static void cause_reconcile(struct replay *r, const Mesos__Scheduler__Call__Reconcile *m)
{
    struct effect e = { .type = EFFECT_RECONCILE };
    struct task_on_agent *tasks = ARENA_ARRAY(&r->a, struct task_on_agent, m->n_tasks);
    for (size_t i = 0; i < m->n_tasks; i++) {
        tasks[i].task_id = str_c(m->tasks[i]->task_id->value);
        tasks[i].agent_id = str_c(m->tasks[i]->slave_id ? m->tasks[i]->slave_id->value : NULL);
    }
    e.reconcile.tasks = tasks;
    e.reconcile.n = (uint32_t)m->n_tasks;
    driver_effect(r->m.driver, &e);
}

static void cause_ack(struct replay *r, const Mesos__Scheduler__Call__Acknowledge *m)
{
    bool wanted = false;
    for (size_t i = 0; i < r->n_uuids; i++) wanted = wanted || memcmp(r->uuids[i], m->uuid.data, 16) == 0;
    assert_true(wanted);
    struct effect e = { .type = EFFECT_ACK };
    e.ack.task_id = str_c(m->task_id->value);
    e.ack.agent_id = str_c(m->slave_id->value);
    memcpy(e.ack.uuid, m->uuid.data, 16);
    driver_effect(r->m.driver, &e);
}

static void cause_kill(struct replay *r, const Mesos__Scheduler__Call__Kill *m)
{
    struct effect e = { .type = EFFECT_KILL };
    e.kill.task_id = str_c(m->task_id->value);
    e.kill.agent_id = str_c(m->slave_id ? m->slave_id->value : NULL);
    driver_effect(r->m.driver, &e);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void tear_down(struct replay *r)
{
    bool closed = false;
    driver_close(r->m.driver, false, on_closed, &closed);
    r->m.driver = NULL;
    assert_true(RUN_UNTIL(&r->m.loop, closed));
}

/* Makes the driver do what the recorded scheduler wanted. False: it will not be seen on the wire. */
static bool cause(struct replay *r, const Mesos__Scheduler__Call *c)
{
    switch (c->type) {
    case MESOS__SCHEDULER__CALL__TYPE__ACCEPT:
        return cause_accept(r, c->accept);
    case MESOS__SCHEDULER__CALL__TYPE__DECLINE:
        cause_decline(r, c->decline);
        return true;
    case MESOS__SCHEDULER__CALL__TYPE__RECONCILE:
        cause_reconcile(r, c->reconcile);
        return true;
    case MESOS__SCHEDULER__CALL__TYPE__ACKNOWLEDGE:
        cause_ack(r, c->acknowledge);
        return true;
    case MESOS__SCHEDULER__CALL__TYPE__KILL:
        cause_kill(r, c->kill);
        return true;
    case MESOS__SCHEDULER__CALL__TYPE__SUPPRESS:
        driver_suppress(r->m.driver);
        return true;
    case MESOS__SCHEDULER__CALL__TYPE__REVIVE:
        driver_revive(r->m.driver);
        return true;
    case MESOS__SCHEDULER__CALL__TYPE__TEARDOWN:
        tear_down(r);
        return true;
    default:
        assert_int_equal(c->type, MESOS__SCHEDULER__CALL__TYPE__REQUEST);
        return false;
    }
}

static void detect(struct replay *r)
{
    if (driver_connected(r->m.driver)) r->n_events_due++; /* disconnected */
    test_master_detect(&r->m);
    r->detected = true;
}

/* Our driver must do it by itself, but it has to be told of the master where the recorded one's detector told it. */
static void on_own_call(struct replay *r, const struct line *l)
{
    bool begins = !str_eq(l->name, STR("mesos.internal.AuthenticationStartMessage")) &&
                  !str_eq(l->name, STR("mesos.internal.AuthenticationStepMessage")) &&
                  !str_eq(l->name, STR("mesos.internal.DeactivateFrameworkMessage"));
    if (begins && r->n_calls == 0 && (!r->detected || driver_connected(r->m.driver))) detect(r);
    struct call c = next_call(r);
    compare(r, l, &c);
    if (str_eq(l->name, STR("mesos.scheduler.Call"))) r->last_subscribe = c.body;
}

static void drop_repeated_subscribes(struct replay *r)
{
    while (r->n_calls > 0 && r->last_subscribe.p && str_eq(r->calls[0].body, r->last_subscribe)) next_call(r);
}

static void on_recorded_call(struct replay *r, const struct line *l)
{
    if (!str_eq(l->name, STR("mesos.scheduler.Call"))) {
        on_own_call(r, l);
        return;
    }
    const Mesos__Scheduler__Call *want = decode_call(r, l->body);
    if (want->type == MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE) {
        on_own_call(r, l);
        return;
    }
    if (!driver_connected(r->m.driver)) return;
    drop_repeated_subscribes(r);
    assert_int_equal(r->n_calls, 0);
    if (!cause(r, want)) {
        settle(r);
        assert_int_equal(r->n_calls, 0);
        return;
    }
    struct call c = next_call(r);
    compare(r, l, &c);
}

/* ---- the master's side ---- */

static void keep_offers(struct replay *r, struct str body)
{
    const Mesos__Internal__ResourceOffersMessage *m =
        proto_unpack(&mesos__internal__resource_offers_message__descriptor, body.p, body.n, &r->a);
    assert_non_null(m);
    for (size_t i = 0; i < m->n_offers; i++) {
        assert_true(r->n_offers < OFFERS_MAX);
        r->offers[r->n_offers++] = m->offers[i];
    }
}

static bool is_message(const struct line *l, const char *name)
{
    char full[128];
    snprintf(full, sizeof(full), "mesos.internal.%s", name);
    return str_eq(l->name, str_c(full));
}

/* How many events a message must give. */
static size_t events_due(const struct replay *r, const struct line *l)
{
    bool connected = driver_connected(r->m.driver);
    if (is_message(l, "FrameworkRegisteredMessage") || is_message(l, "FrameworkReregisteredMessage")) return !connected;
    if (is_message(l, "ExecutorToFrameworkMessage")) return 0;
    return connected && strstr(l->receiver.p, "authenticatee") == NULL;
}

static void on_master_message(struct replay *r, const struct line *l)
{
    bool disconnected = is_message(l, "FrameworkErrorMessage") && memmem(l->body.p, l->body.n, "disconnected", 12);
    bool dies =
        is_message(l, "AuthenticationFailedMessage") || (is_message(l, "FrameworkErrorMessage") && !disconnected);
    if (is_message(l, "ResourceOffersMessage")) keep_offers(r, l->body);
    r->n_events_due += events_due(r, l);
    if (disconnected) r->n_calls = 0; /* an unanswered SUBSCRIBE is repeated */
    struct lp_process *master = r->m.master;
    if (strstr(l->sender.p, "authenticator-session")) r->m.master = r->m.session;
    test_master_send_bytes(&r->m, l->name.p, l->body.p, l->body.n);
    r->m.master = master;
    if (dies) {
        assert_true(RUN_UNTIL(&r->m.loop, memmem(r->m.trace.data, r->m.trace.len, "fatal:", 6) != NULL));
        r->n_events = r->n_events_due;
        return;
    }
    settle(r);
    assert_int_equal(r->n_events, r->n_events_due);
    if (disconnected) assert_true(RUN_UNTIL(&r->m.loop, r->n_calls > 0));
}

/* ---- the scenarios ---- */

struct scenario {
    const char *file, *role;
    struct str principal, secret;
    bool digest_unknown;
    int64_t registration_backoff, authentication_timeout; /* ms; 0: longer than the test */
    int subscribes_max;                                   /* stops before the next one; 0: no end */
};

static const struct line *first_subscribe(const struct recording *rec, struct str role)
{
    for (size_t i = 0; i < rec->n; i++)
        if (str_eq(rec->v[i].from, role) && str_eq(rec->v[i].name, STR("mesos.scheduler.Call"))) return &rec->v[i];
    return NULL;
}

static void configure(struct replay *r, const struct recording *rec, const struct scenario *s, struct driver_config *c)
{
    *c = (struct driver_config){ .principal = s->principal, .secret = s->secret };
    c->timing.registration_backoff = s->registration_backoff;
    c->timing.authentication_timeout_min = s->authentication_timeout ? s->authentication_timeout : 60000;
    c->timing.authentication_timeout_max = c->timing.authentication_timeout_min;
    const struct line *l = first_subscribe(rec, str_c(s->role));
    if (!l) return;
    const Mesos__FrameworkInfo *f = decode_call(r, l->body)->subscribe->framework_info;
    c->framework = (struct driver_framework){
        .user = str_c(f->user),
        .name = str_c(f->name),
        .id = str_c(f->id ? f->id->value : NULL),
        .hostname = str_c(f->hostname),
        .webui_url = str_c(f->webui_url),
        .failover_timeout_secs = f->failover_timeout,
        .checkpoint = f->checkpoint,
        .announce_principal = f->principal != NULL,
    };
}

static const char custom[] =
    "[{\"executor\": {\"name\": \"custom\", \"command\": {\"value\": \"%s\"}, \"resources\": []},"
    " \"task_prefix\": \"exec-\"}]";

/* The command of the recorded ExecutorInfo, wherever there is one. */
static struct executors *executors_of(struct replay *r, const struct recording *rec)
{
    const char *command = "none";
    for (size_t i = 0; i < rec->n; i++) {
        if (!str_eq(rec->v[i].name, STR("mesos.scheduler.Call"))) continue;
        const Mesos__Scheduler__Call *c = decode_call(r, rec->v[i].body);
        if (c->type != MESOS__SCHEDULER__CALL__TYPE__ACCEPT) continue;
        const Mesos__TaskInfo *t = c->accept->operations[0]->launch->task_infos[0];
        if (t->executor) command = t->executor->command->value;
    }
    struct executors_config c = { .custom_executor_config = arena_strf(&r->a, custom, command) };
    struct executors *e = NULL;
    struct buf err = { 0 };
    assert_int_equal(executors_new(&c, &e, &err), 0);
    return e;
}

/* The master closes a connection that the scheduler had opened: it is gone. (It closes its own for other reasons.) */
static bool is_death(const struct recording *rec, size_t i, struct str role)
{
    const struct line *l = &rec->v[i];
    if (!str_eq(l->kind, STR("fin")) || !str_eq(l->to, role)) return false;
    bool ours = false, later = false;
    for (size_t k = 0; k < rec->n; k++) {
        const struct line *o = &rec->v[k];
        if (!str_eq(o->from, role)) continue;
        ours = ours || (o->conn == l->conn && str_eq(o->kind, STR("open")));
        later = later || (k > i && o->name.p);
    }
    return ours && later && strncmp(l->from.p, "master", 6) == 0;
}

static void master_dies(struct replay *r)
{
    r->n_events_due += driver_connected(r->m.driver);
    test_master_kill(&r->m);
    assert_true(RUN_UNTIL(&r->m.loop, r->n_events == r->n_events_due));
    test_master_restart(&r->m);
}

static bool is_subscribe(struct replay *r, const struct line *l)
{
    return str_eq(l->name, STR("mesos.scheduler.Call")) &&
           decode_call(r, l->body)->type == MESOS__SCHEDULER__CALL__TYPE__SUBSCRIBE;
}

static void replay_lines(struct replay *r, const struct recording *rec, const struct scenario *s)
{
    struct str role = str_c(s->role);
    int subscribes = 0;
    for (size_t i = 0; i < rec->n && r->m.driver; i++) {
        const struct line *l = &rec->v[i];
        if (is_death(rec, i, role)) master_dies(r);
        if (!l->name.p) continue;
        if (str_eq(l->from, role) && strcmp(l->to.p, "agent") != 0) {
            subscribes += is_subscribe(r, l);
            if (s->subscribes_max && subscribes > s->subscribes_max) return;
            on_recorded_call(r, l);
        } else if (str_eq(l->to, role)) {
            on_master_message(r, l);
        }
    }
}

static void replay(const struct scenario *s)
{
    struct recording rec;
    read_recording(&rec, s->file);
    struct replay *r = calloc(1, sizeof(*r));
    r->digest_unknown = s->digest_unknown;
    struct driver_config c;
    configure(r, &rec, s, &c);
    struct executors *executors = executors_of(r, &rec);
    c.executors = executors;
    test_master_start(&r->m, &c);
    r->m.arg = r;
    r->m.on_call = keep_call;
    r->m.on_event = keep_event;
    replay_lines(r, &rec, s);
    drop_repeated_subscribes(r);
    bool endless = s->registration_backoff || s->authentication_timeout;
    if (!endless) assert_int_equal(r->n_calls, 0);
    test_master_stop(&r->m);
    executors_free(executors);
    arena_release(&r->a);
    free(r);
    release_recording(&rec);
}

#define SCENARIO(test, file_, role_, ...)                                                                              \
    static void test(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        replay(&(struct scenario){ .file = file_, .role = role_, __VA_ARGS__ });                                       \
    }

SCENARIO(test_lifecycle, "framework-lifecycle", "scheduler")
SCENARIO(test_lifecycle_multirole, "framework-lifecycle-multirole-explicit-ack", "scheduler")
SCENARIO(test_lifecycle_crammd5, "framework-lifecycle-crammd5", "scheduler", .principal = STR("aurora"),
         .secret = STR("s3cret-for-test"))
SCENARIO(test_wrong_secret, "framework-auth-errors", "scheduler-bad-secret", .principal = STR("aurora"),
         .secret = STR("wrong"), .digest_unknown = true)
SCENARIO(test_unknown_principal, "framework-auth-errors", "scheduler-unknown-principal", .principal = STR("nobody"),
         .secret = STR("wrong"), .digest_unknown = true)
SCENARIO(test_no_credential, "framework-auth-errors", "scheduler-no-credential")
SCENARIO(test_failover_leaves, "scheduler-failover", "scheduler-1")
SCENARIO(test_failover_takes_over, "scheduler-failover", "scheduler-2")
SCENARIO(test_failover_pushes_out, "scheduler-failover", "scheduler-3")
SCENARIO(test_resubscribe, "scheduler-resubscribe", "scheduler")
SCENARIO(test_relink, "scheduler-relink", "scheduler-1", .subscribes_max = 2)
SCENARIO(test_master_failover, "master-failover", "scheduler", .registration_backoff = 20)
SCENARIO(test_restart_of_the_master, "master-restart", "scheduler")
SCENARIO(test_rescind, "offer-rescind", "scheduler")
SCENARIO(test_custom_executor, "custom-executor", "scheduler")
SCENARIO(test_executor_and_agent_loss, "executor-and-agent-loss", "scheduler")
SCENARIO(test_agent_returns, "agent-loss-and-return", "scheduler")
SCENARIO(test_agent_returns_partition_aware, "agent-loss-and-return-partition-aware", "scheduler")
SCENARIO(test_late_acknowledgement, "retries", "scheduler")
SCENARIO(test_silence_after_subscribe, "retries", "scheduler-1", .registration_backoff = 5)
SCENARIO(test_silence_after_authenticate, "retries", "scheduler-2", .principal = STR("aurora"), .secret = STR("x"),
         .authentication_timeout = 5)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_bodies_survive_decoding),
        cmocka_unit_test(test_lifecycle),
        cmocka_unit_test(test_lifecycle_multirole),
        cmocka_unit_test(test_lifecycle_crammd5),
        cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_unknown_principal),
        cmocka_unit_test(test_no_credential),
        cmocka_unit_test(test_failover_leaves),
        cmocka_unit_test(test_failover_takes_over),
        cmocka_unit_test(test_failover_pushes_out),
        cmocka_unit_test(test_resubscribe),
        cmocka_unit_test(test_relink),
        cmocka_unit_test(test_master_failover),
        cmocka_unit_test(test_restart_of_the_master),
        cmocka_unit_test(test_rescind),
        cmocka_unit_test(test_custom_executor),
        cmocka_unit_test(test_executor_and_agent_loss),
        cmocka_unit_test(test_agent_returns),
        cmocka_unit_test(test_agent_returns_partition_aware),
        cmocka_unit_test(test_late_acknowledgement),
        cmocka_unit_test(test_silence_after_subscribe),
        cmocka_unit_test(test_silence_after_authenticate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
