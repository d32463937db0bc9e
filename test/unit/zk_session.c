/* zk/ against a real ZooKeeper: sessions, groups, election, master detection. */
#include "core/buf.h"
#include "core/err.h"
#include "test/lib/zk_server.h"
#include "zk/detector.h"
#include "zk/election.h"
#include "zk/group.h"
#include "zk/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DEADLINE_MS = 30000, TIMEOUT_MS = 2000 };

static struct zk_server server;
static uv_loop_t loop;

/* ---------------- helpers ---------------- */

static void on_tick(uv_timer_t *t)
{
    (void)t;
}

/* Runs the loop until *flag >= at_least. */
static void run_until(const int *flag, int at_least)
{
    uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    uint64_t end = uv_now(&loop) + DEADLINE_MS;
    while (*flag < at_least && uv_now(&loop) < end) uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(*flag >= at_least);
}

static void on_closed(void *arg)
{
    ++*(int *)arg;
}

static struct zk_session *open_session(const char *digest, const char *chroot, uint32_t timeout_ms)
{
    struct zk_session *z = NULL;
    struct zk_session_config c = {
        .loop = &loop, .endpoints = server.address, .session_timeout_ms = timeout_ms, .digest = digest, .chroot = chroot
    };
    assert_int_equal(zk_session_new(&c, &z), 0);
    return z;
}

static void close_session(struct zk_session *z)
{
    int closed = 0;
    zk_session_close(z, on_closed, &closed);
    run_until(&closed, 1);
}

struct events {
    int n, connected, suspended, reconnected, lost, auth_failed;
};

static void on_event(enum zk_event ev, void *arg)
{
    struct events *e = arg;
    e->n++;
    e->connected += ev == ZK_CONNECTED;
    e->suspended += ev == ZK_SUSPENDED;
    e->reconnected += ev == ZK_RECONNECTED;
    e->lost += ev == ZK_LOST;
    e->auth_failed += ev == ZK_AUTH_FAILED;
}

struct answer {
    int done, err;
    char path[256], data[4096];
    int64_t owner;
    int32_t version;
    uint32_t n_names;
};

static void on_answer(const struct zk_result *r, void *arg)
{
    struct answer *a = arg;
    a->err = r->err;
    snprintf(a->path, sizeof a->path, "%.*s", STR_ARG(r->path));
    snprintf(a->data, sizeof a->data, "%.*s", STR_ARG(r->data));
    a->owner = r->owner;
    a->version = r->version;
    a->n_names = r->n_names;
    a->done++;
}

static struct answer create(struct zk_session *z, const char *path, const char *data, int flags)
{
    struct answer a = { 0 };
    assert_int_equal(zk_create(z, path, str_c(data), flags, on_answer, &a), 0);
    run_until(&a.done, 1);
    return a;
}

static struct answer get(struct zk_session *z, const char *path)
{
    struct answer a = { 0 };
    assert_int_equal(zk_get(z, path, on_answer, &a), 0);
    run_until(&a.done, 1);
    return a;
}

static struct answer ensure(struct zk_session *z, const char *path)
{
    struct answer a = { 0 };
    assert_int_equal(zk_ensure_path(z, path, on_answer, &a), 0);
    run_until(&a.done, 1);
    return a;
}

static struct zk_session *connected_session(void)
{
    struct zk_session *z = open_session(NULL, NULL, TIMEOUT_MS);
    struct events e = { 0 };
    struct zk_listener *l = zk_listen(z, on_event, &e);
    run_until(&e.connected, 1);
    zk_unlisten(l);
    return z;
}

static int setup(void **state)
{
    (void)state;
    zk_server_start(&server);
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    zk_server_stop(&server);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* ---------------- session ---------------- */

static void creates_reads_and_deletes(void **state)
{
    (void)state;
    struct zk_session *z = connected_session();
    assert_int_equal(ensure(z, "/a/b/c").err, 0);
    assert_int_equal(ensure(z, "/a/b/c").err, 0);
    struct answer a = create(z, "/a/b/c/n_", "data", ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL);
    assert_int_equal(a.err, 0);
    assert_string_equal(a.path, "/a/b/c/n_0000000000");
    struct answer g = get(z, a.path);
    assert_string_equal(g.data, "data");
    assert_true(g.owner == zk_session_id(z));
    assert_int_equal(get(z, "/a/none").err, ERR_NOT_FOUND);
    assert_int_equal(create(z, "/a/b", "", ZK_PERSISTENT).err, ERR_EXISTS);
    struct answer d = { 0 };
    assert_int_equal(zk_delete(z, a.path, on_answer, &d), 0);
    run_until(&d.done, 1);
    assert_int_equal(d.err, 0);
    close_session(z);
}

static void chroot_stands_before_every_path(void **state)
{
    (void)state;
    struct zk_session *z = open_session(NULL, "/chroot", TIMEOUT_MS);
    struct events e = { 0 };
    struct zk_listener *l = zk_listen(z, on_event, &e);
    run_until(&e.connected, 1);
    struct zk_session *plain = connected_session();
    assert_int_equal(ensure(z, "/x").err, 0);
    assert_string_equal(create(z, "/x/y", "1", ZK_PERSISTENT).path, "/x/y");
    assert_string_equal(get(plain, "/chroot/x/y").data, "1");
    zk_unlisten(l);
    close_session(z);
    close_session(plain);
}

static void a_short_outage_keeps_the_session(void **state)
{
    (void)state;
    struct zk_session *z = open_session(NULL, NULL, 20000);
    struct events e = { 0 };
    zk_listen(z, on_event, &e);
    run_until(&e.connected, 1);
    int64_t id = zk_session_id(z);
    create(z, "/kept", "", ZK_EPHEMERAL_NODE);
    zk_server_kill(&server);
    run_until(&e.suspended, 1);
    struct answer a = { 0 };
    assert_int_equal(zk_get(z, "/kept", on_answer, &a), ERR_CLOSED);
    zk_server_restart(&server);
    run_until(&e.reconnected, 1);
    assert_true(zk_session_id(z) == id);
    assert_int_equal(get(z, "/kept").err, 0);
    assert_int_equal(e.lost, 0);
    close_session(z);
}

/* The client says nothing of an expiry while it is disconnected: our own timer must. */
static void a_long_outage_loses_the_session_in_time(void **state)
{
    (void)state;
    struct zk_session *z = open_session(NULL, NULL, 1000);
    struct events e = { 0 };
    zk_listen(z, on_event, &e);
    run_until(&e.connected, 1);
    int64_t id = zk_session_id(z);
    zk_server_freeze(&server);
    uint64_t frozen = uv_now(&loop);
    run_until(&e.lost, 1);
    assert_true(uv_now(&loop) - frozen < 5000);
    zk_server_thaw(&server);
    run_until(&e.connected, 2);
    assert_true(zk_session_id(z) != id);
    close_session(z);
}

static void others_may_not_change_what_credentials_made(void **state)
{
    (void)state;
    struct zk_session *mine = open_session("aurora:secret", NULL, TIMEOUT_MS);
    struct events e = { 0 };
    struct zk_listener *l = zk_listen(mine, on_event, &e);
    run_until(&e.connected, 1);
    struct zk_session *other = connected_session();
    assert_int_equal(ensure(mine, "/guarded").err, 0);
    assert_int_equal(create(mine, "/guarded/n", "x", ZK_PERSISTENT).err, 0);
    assert_int_equal(create(other, "/guarded/m", "x", ZK_PERSISTENT).err, ERR_REFUSED);
    assert_string_equal(get(other, "/guarded/n").data, "x");
    assert_int_equal(ensure(other, "/guarded/n").err, 0); /* it is there, whoever may create */
    assert_int_equal(ensure(other, "/guarded/m").err, ERR_REFUSED);
    zk_unlisten(l);
    close_session(mine);
    close_session(other);
}

static void bad_endpoints_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "host", "host:", ":1", "host:0", "host:65536", "h:1,,h:2", "h:x" };
    struct zk_session *z = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct zk_session_config c = { .loop = &loop, .endpoints = bad[i], .session_timeout_ms = 1000 };
        assert_int_equal(zk_session_new(&c, &z), ERR_INVALID);
    }
}

/* ---------------- group ---------------- */

struct members {
    int n_calls;
    uint32_t n;
    int32_t number[8];
    char data[8][64];
    int failed;
};

static void on_members(const struct zk_member *m, uint32_t n, void *arg)
{
    struct members *s = arg;
    s->n = n;
    for (uint32_t i = 0; i < n && i < 8; i++) {
        s->number[i] = m[i].number;
        snprintf(s->data[i], sizeof s->data[i], "%.*s", STR_ARG(m[i].data));
    }
    s->n_calls++;
}

static void on_group_failed(const char *why, void *arg)
{
    (void)why;
    ((struct members *)arg)->failed++;
}

static struct zk_group *group(struct zk_session *z, const char *path, const char *data, struct members *m)
{
    struct zk_group *g = NULL;
    struct zk_group_config c = { .session = z,
                                 .path = path,
                                 .join_data = str_c(data),
                                 .on_members = on_members,
                                 .on_failed = on_group_failed,
                                 .arg = m };
    assert_int_equal(zk_group_new(&c, &g), 0);
    return g;
}

static void run_until_members(struct members *m, uint32_t n)
{
    while (m->n != n || !m->n_calls) run_until(&m->n_calls, m->n_calls + 1);
}

static void members_see_each_other_come_and_go(void **state)
{
    (void)state;
    struct zk_session *z1 = connected_session(), *z2 = connected_session();
    struct members m1 = { 0 }, m2 = { 0 };
    struct zk_group *g1 = group(z1, "/log/replicas", "log-replica(1)@127.0.0.1:5101", &m1);
    run_until_members(&m1, 1);
    create(z1, "/log/replicas/ignored", "", ZK_EPHEMERAL_NODE);
    struct zk_group *g2 = group(z2, "/log/replicas", "log-replica(1)@127.0.0.1:5102", &m2);
    run_until_members(&m1, 2);
    run_until_members(&m2, 2);
    assert_string_equal(m1.data[0], "log-replica(1)@127.0.0.1:5101");
    assert_string_equal(m1.data[1], "log-replica(1)@127.0.0.1:5102");
    zk_group_free(g2);
    run_until_members(&m1, 1);
    zk_group_free(g1);
    close_session(z1);
    close_session(z2);
}

static void a_member_joins_again_when_its_node_is_deleted(void **state)
{
    (void)state;
    struct zk_session *z = connected_session();
    struct members m = { 0 };
    struct zk_group *g = group(z, "/again", "me", &m);
    run_until_members(&m, 1);
    int32_t first = m.number[0];
    struct buf p = { 0 };
    buf_addf(&p, "/again/%010d", first);
    struct answer d = { 0 };
    assert_int_equal(zk_delete(z, buf_cstr(&p), on_answer, &d), 0);
    while (m.n != 1 || m.number[0] == first) run_until(&m.n_calls, m.n_calls + 1);
    assert_true(m.number[0] > first);
    buf_release(&p);
    zk_group_free(g);
    close_session(z);
}

static void member_names_are_read_as_mesos_does(void **state)
{
    (void)state;
    int32_t n;
    struct str label;
    assert_true(zk_member_name(STR("0000000042"), &n, &label));
    assert_int_equal(n, 42);
    assert_null(label.p);
    assert_true(zk_member_name(STR("json.info_0000000007"), &n, &label));
    assert_int_equal(n, 7);
    assert_true(str_eq(label, STR("json.info")));
    assert_false(zk_member_name(STR("log_replicas"), &n, &label));
    assert_false(zk_member_name(STR("x_"), &n, &label));
    assert_false(zk_member_name(STR("_99999999999"), &n, &label));
}

/* ---------------- election ---------------- */

struct candidate {
    struct zk_election *e;
    int elected, defeated, leader_changes;
    char leader[300];
};

static void on_elected(void *arg)
{
    ((struct candidate *)arg)->elected++;
}

static void on_defeated(const char *why, void *arg)
{
    (void)why;
    ((struct candidate *)arg)->defeated++;
}

static void on_leader(const struct zk_endpoint *l, void *arg)
{
    struct candidate *c = arg;
    snprintf(c->leader, sizeof c->leader, "%s:%u", l ? l->host : "none", l ? l->port : 0);
    c->leader_changes++;
}

static void on_election_failed(const char *why, void *arg)
{
    (void)arg;
    fail_msg("election failed: %s", why);
}

static void stand(struct candidate *c, struct zk_session *z, uint16_t port, const char *uuid)
{
    struct zk_election_config cfg = { .session = z,
                                      .path = "/aurora/scheduler",
                                      .host = "10.0.0.1",
                                      .port = port,
                                      .endpoint_name = "http",
                                      .uuid = uuid,
                                      .on_elected = on_elected,
                                      .on_defeated = on_defeated,
                                      .on_leader = on_leader,
                                      .on_failed = on_election_failed,
                                      .arg = c };
    assert_int_equal(zk_election_new(&cfg, &c->e), 0);
    zk_election_join(c->e);
}

static void run_until_leader(struct candidate *c, const char *leader)
{
    while (strcmp(c->leader, leader)) run_until(&c->leader_changes, c->leader_changes + 1);
}

static void the_next_candidate_follows_the_leader(void **state)
{
    (void)state;
    struct zk_session *z1 = connected_session(), *z2 = connected_session();
    struct candidate a = { 0 }, b = { 0 };
    stand(&a, z1, 8081, "11111111-1111-4111-8111-111111111111");
    run_until(&a.elected, 1);
    stand(&b, z2, 8082, "22222222-2222-4222-8222-222222222222");
    zk_election_advertise(a.e);
    run_until_leader(&b, "10.0.0.1:8081");
    run_until_leader(&a, "10.0.0.1:8081");
    assert_int_equal(b.elected, 0);
    zk_election_free(a.e);
    run_until(&b.elected, 1);
    zk_election_advertise(b.e);
    run_until_leader(&b, "10.0.0.1:8082");
    assert_int_equal(a.defeated + b.defeated, 0);
    zk_election_free(b.e);
    close_session(z1);
    close_session(z2);
}

static void a_lost_session_defeats_the_leader(void **state)
{
    (void)state;
    struct zk_session *z = open_session(NULL, NULL, 1000);
    struct candidate a = { 0 };
    stand(&a, z, 8081, "33333333-3333-4333-8333-33333333333f");
    run_until(&a.elected, 1);
    zk_server_freeze(&server);
    run_until(&a.defeated, 1);
    zk_server_thaw(&server);
    zk_election_free(a.e);
    close_session(z);
}

static void services_have_the_form_that_clients_read(void **state)
{
    (void)state;
    struct buf b = { 0 };
    struct zk_endpoint e;
    zk_service_write(&b, "h1", 8081, "http");
    assert_string_equal(buf_cstr(&b),
                        "{\"serviceEndpoint\":{\"host\":\"h1\",\"port\":8081},\"additionalEndpoints\":{\"http\":"
                        "{\"host\":\"h1\",\"port\":8081}},\"status\":\"ALIVE\"}");
    assert_int_equal(zk_service_read(str_c(buf_cstr(&b)), &e), 0);
    assert_string_equal(e.host, "h1");
    assert_int_equal(e.port, 8081);
    assert_int_equal(zk_service_read(STR("{\"serviceEndpoint\":{\"host\":\"h\",\"port\":70000}}"), &e), ERR_MALFORMED);
    assert_int_equal(zk_service_read(STR("nonsense"), &e), ERR_MALFORMED);
    assert_int_equal(zk_service_read(STR("{\"serviceEndpoint\":{\"host\":\"h\\r\\nX:\",\"port\":1}}"), &e),
                     ERR_MALFORMED);
    assert_int_equal(zk_service_read(STR("{\"serviceEndpoint\":{\"host\":\"[::1%eth0]\",\"port\":1}}"), &e), 0);
    buf_release(&b);
}

/* ---------------- detection ---------------- */

struct masters {
    int n;
    char pid[128];
};

static void on_master(const char *pid, void *arg)
{
    struct masters *m = arg;
    snprintf(m->pid, sizeof m->pid, "%s", pid ? pid : "none");
    m->n++;
}

static void the_smallest_number_leads(void **state)
{
    (void)state;
    struct zk_session *z = connected_session(), *masters = connected_session();
    struct masters m = { 0 };
    struct zk_detector *d = NULL;
    ensure(z, "/mesos/log_replicas");
    struct zk_detector_config c = { .session = z, .path = "/mesos", .on_master = on_master, .arg = &m };
    assert_int_equal(zk_detector_new(&c, &d), 0);
    run_until(&m.n, 1);
    assert_string_equal(m.pid, "none");
    struct answer first =
        create(masters, "/mesos/json.info_", "{\"pid\":\"master@127.0.0.1:5050\"}", ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL);
    run_until(&m.n, 2);
    assert_string_equal(m.pid, "master@127.0.0.1:5050");
    create(masters, "/mesos/json.info_", "{\"address\":{\"ip\":\"127.0.0.1\",\"port\":5049}}",
           ZK_EPHEMERAL_NODE | ZK_SEQUENTIAL);
    struct answer gone = { 0 };
    zk_delete(masters, first.path, on_answer, &gone);
    run_until(&m.n, 3);
    assert_string_equal(m.pid, "master@127.0.0.1:5049");
    close_session(masters);
    run_until(&m.n, 4);
    assert_string_equal(m.pid, "none");
    zk_detector_free(d);
    close_session(z);
}

static void masters_of_every_version_are_read(void **state)
{
    (void)state;
    struct buf b = { 0 };
    assert_int_equal(zk_master_pid((struct str){ 0 }, STR("master@10.0.0.1:5050"), &b), 0);
    assert_string_equal(buf_cstr(&b), "master@10.0.0.1:5050");
    buf_reset(&b);
    /* id "x", ip, port 5050, pid */
    assert_int_equal(zk_master_pid(STR("info"), STR("\x0a\x01x\x10\xff\x01\x18\xba\x27\x22\x0cmaster@1:505"), &b), 0);
    assert_string_equal(buf_cstr(&b), "master@1:505");
    buf_reset(&b);
    assert_int_equal(zk_master_pid(STR("info"), STR("\x0a\x7fx"), &b), ERR_MALFORMED);
    assert_int_equal(zk_master_pid(STR("json.info"), STR("{}"), &b), ERR_MALFORMED);
    assert_int_equal(zk_master_pid(STR("json.info"), STR("{\"address\":{\"ip\":\"\\n\",\"port\":1}}"), &b),
                     ERR_MALFORMED);
    assert_int_equal(zk_master_pid((struct str){ 0 }, STR("master@10.0.0.1:50\0"), &b), ERR_MALFORMED);
    assert_int_equal(b.len, 0);
    assert_int_equal(zk_master_pid(STR("foo"), STR("x"), &b), ERR_UNSUPPORTED);
    buf_release(&b);
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    struct zk_url u;
    assert_int_equal(zk_url_parse("zk://u:p@ss@h1:1,h2:2/mesos/x", &u), 0);
    assert_string_equal(u.credentials, "u:p@ss");
    assert_string_equal(u.endpoints, "h1:1,h2:2");
    assert_string_equal(u.path, "/mesos/x");
    assert_int_equal(zk_url_parse("zk://h:1/", &u), ERR_MALFORMED);
    assert_int_equal(zk_url_parse("zk://h:1", &u), ERR_MALFORMED);
    assert_int_equal(zk_url_parse("zk:///p", &u), ERR_MALFORMED);
    assert_int_equal(zk_url_parse("10.0.0.1:5050", &u), ERR_MALFORMED);
}

static struct answer set(struct zk_session *z, const char *path, const char *data, int32_t version)
{
    struct answer a = { 0 };
    assert_int_equal(zk_set(z, path, str_c(data), version, on_answer, &a), 0);
    run_until(&a.done, 1);
    return a;
}

static void data_are_replaced_by_version(void **state)
{
    (void)state;
    struct zk_session *z = connected_session(), *rival = connected_session();
    assert_int_equal(create(z, "/replaced", "", ZK_PERSISTENT).err, 0);
    struct answer mine = get(z, "/replaced"), theirs = get(rival, "/replaced");
    struct answer won = set(z, "/replaced", "mine", mine.version);
    assert_int_equal(won.err, 0);
    assert_int_equal(set(rival, "/replaced", "theirs", theirs.version).err, ERR_REJECTED);
    struct answer now = get(rival, "/replaced");
    assert_string_equal(now.data, "mine");
    assert_int_equal(now.version, won.version);
    assert_int_equal(set(z, "/nowhere", "", 0).err, ERR_NOT_FOUND);
    close_session(z);
    close_session(rival);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_reads_and_deletes),
        cmocka_unit_test(chroot_stands_before_every_path),
        cmocka_unit_test(a_short_outage_keeps_the_session),
        cmocka_unit_test(a_long_outage_loses_the_session_in_time),
        cmocka_unit_test(others_may_not_change_what_credentials_made),
        cmocka_unit_test(data_are_replaced_by_version),
        cmocka_unit_test(bad_endpoints_are_refused),
        cmocka_unit_test(members_see_each_other_come_and_go),
        cmocka_unit_test(a_member_joins_again_when_its_node_is_deleted),
        cmocka_unit_test(member_names_are_read_as_mesos_does),
        cmocka_unit_test(the_next_candidate_follows_the_leader),
        cmocka_unit_test(a_lost_session_defeats_the_leader),
        cmocka_unit_test(services_have_the_form_that_clients_read),
        cmocka_unit_test(the_smallest_number_leads),
        cmocka_unit_test(masters_of_every_version_are_read),
        cmocka_unit_test(urls_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
