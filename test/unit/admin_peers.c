/* Whole logs of three and five members on one loop, each with its own libprocess port on loopback, disk and stream. */
#include "admin/peers.h"

#include "core/err.h"
#include "core/rng.h"
#include "core/store.h"
#include "log/coordinator.h"
#include "log/stream.h"
#include "test/lib/random_value.h"
#include "test/lib/zk_server.h"
#include "zk/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_MEMBERS = 5, MAX_ENTRY = 2000, DEADLINE_MS = 30000 };

struct member {
    struct cluster *cluster;
    char path[64], pid[UPID_TEXT_MAX];
    uint16_t port; /* kept over a restart */
    bool up;
    struct libprocess *lp;
    struct zk_session *zk;
    struct log *log;
    struct peers *peers;
    struct stream *stream;
    struct store *store;
    struct stats *stats;
    unsigned ops, snapshots; /* applied by following and replaying */
    uint64_t durable;
    bool ready, failed;
    int closed, snapshot_result;
};

struct cluster {
    uv_loop_t loop;
    uv_timer_t tick; /* so that waiting ends */
    unsigned n, quorum;
    const char *zookeeper; /* NULL: members are introduced */
    uint64_t write_timeout_ms;
    struct member v[MAX_MEMBERS];
};

static char folder[40];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/admin_peers.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[80];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- a member ---- */

static int64_t now_ms(void *arg)
{
    (void)arg;
    return 1000;
}

static int on_op(const struct api_op *op, void *arg)
{
    struct member *m = arg;
    m->ops++;
    return store_apply(m->store, op);
}

static struct store *on_snapshot(struct store *state, void *arg)
{
    struct member *m = arg;
    m->snapshots++;
    struct store *old = m->store;
    store_inherit(state, old);
    m->store = state;
    return old;
}

static void on_ready(void *arg)
{
    ((struct member *)arg)->ready = true;
}

static void on_durable(uint64_t durable, void *arg)
{
    ((struct member *)arg)->durable = durable;
}

static void on_failed(const char *why, void *arg)
{
    (void)why;
    ((struct member *)arg)->failed = true;
}

static void on_part_closed(void *arg)
{
    ((struct member *)arg)->closed++;
}

static void on_snapshot_done(int err, void *arg)
{
    ((struct member *)arg)->snapshot_result = err;
}

static void open_log(struct member *m)
{
    struct buf why = { 0 };
    struct log_config c = { .loop = &m->cluster->loop,
                            .path = m->path,
                            .quorum = m->cluster->quorum,
                            .seed = (uint64_t)m->port,
                            .auto_initialize = true,
                            .election_timeout_ms = 2000,
                            .read_timeout_ms = 5000,
                            .write_timeout_ms = m->cluster->write_timeout_ms,
                            .election_retries = 10,
                            .stats = m->stats };
    if (log_open(&c, &m->log, &why)) fail_msg("%s", buf_cstr(&why));
    buf_release(&why);
}

static void open_stream(struct member *m)
{
    struct stream_config c = { .loop = &m->cluster->loop,
                               .log = m->log,
                               .max_entry_bytes = MAX_ENTRY,
                               .now_ms = now_ms,
                               .stats = m->stats,
                               .on_snapshot = on_snapshot,
                               .on_op = on_op,
                               .on_ready = on_ready,
                               .on_durable = on_durable,
                               .on_failed = on_failed,
                               .arg = m };
    assert_int_equal(stream_new(&c, &m->stream), 0);
    stream_follow(m->stream);
}

static void start(struct member *m)
{
    char text[UPID_TEXT_MAX];
    struct libprocess_config lc = { .loop = &m->cluster->loop, .ip = "127.0.0.1", .port = m->port };
    assert_int_equal(libprocess_new(&lc, &m->lp), 0);
    m->port = libprocess_port(m->lp);
    snprintf(text, sizeof(text), "log-replica(1)@127.0.0.1:%u", m->port);
    memcpy(m->pid, text, sizeof(text));
    m->stats = stats_new();
    m->store = store_new();
    m->ops = m->snapshots = 0;
    m->durable = 0;
    m->ready = m->failed = false;
    m->closed = 0;
    open_log(m);
    struct zk_session_config zc = {
        .loop = &m->cluster->loop, .endpoints = m->cluster->zookeeper, .session_timeout_ms = 2000, .stats = m->stats
    };
    if (zc.endpoints) assert_int_equal(zk_session_new(&zc, &m->zk), 0);
    struct peers_config pc = { .loop = &m->cluster->loop,
                               .lp = m->lp,
                               .log = m->log,
                               .zk = m->zk,
                               .group_path = "/aurora/replicated-log",
                               .quorum = m->cluster->quorum,
                               .stats = m->stats };
    assert_int_equal(peers_new(&pc, &m->peers), 0);
    open_stream(m);
    m->up = true;
}

static void stop(struct member *m)
{
    m->up = false;
    peers_close(m->peers, on_part_closed, m);
    stream_close(m->stream, on_part_closed, m);
    log_close(m->log, on_part_closed, m);
    libprocess_close(m->lp, on_part_closed, m);
    int parts = m->zk ? 5 : 4;
    if (m->zk) zk_session_close(m->zk, on_part_closed, m);
    m->zk = NULL;
    while (m->closed < parts) uv_run(&m->cluster->loop, UV_RUN_ONCE);
    store_free(m->store);
    stats_free(m->stats);
}

/* ---- a cluster ---- */

static void on_tick(uv_timer_t *t)
{
    (void)t;
}

static void introduce(struct cluster *c)
{
    const char *pids[MAX_MEMBERS];
    for (unsigned i = 0; i < c->n; i++) pids[i] = c->v[i].pid;
    for (unsigned i = 0; i < c->n; i++)
        if (c->v[i].up) assert_int_equal(peers_set(c->v[i].peers, pids, c->n), 0);
}

static void cluster_start_at(struct cluster *c, unsigned n, const char *zookeeper)
{
    memset(c, 0, sizeof(*c));
    c->zookeeper = zookeeper;
    c->n = n;
    c->quorum = n / 2 + 1;
    c->write_timeout_ms = 5000;
    uv_loop_init(&c->loop);
    uv_timer_init(&c->loop, &c->tick);
    uv_timer_start(&c->tick, on_tick, 5, 5);
    for (unsigned i = 0; i < n; i++) {
        c->v[i].cluster = c;
        snprintf(c->v[i].path, sizeof(c->v[i].path), "%s/%u", folder, i);
        start(&c->v[i]);
    }
    if (!zookeeper) introduce(c);
}

static void cluster_start(struct cluster *c, unsigned n)
{
    cluster_start_at(c, n, NULL);
}

static void cluster_stop(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->v[i].up) stop(&c->v[i]);
    uv_close((uv_handle_t *)&c->tick, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&c->loop), 0);
}

#define WAIT(c, condition)                                                                                             \
    do {                                                                                                               \
        uint64_t until_ = uv_now(&(c)->loop) + DEADLINE_MS;                                                            \
        while (!(condition) && uv_now(&(c)->loop) < until_) uv_run(&(c)->loop, UV_RUN_ONCE);                           \
        assert_true(condition);                                                                                        \
    } while (0)

static void lead(struct member *m)
{
    stream_start(m->stream);
    WAIT(m->cluster, m->ready || m->failed);
    assert_true(m->ready);
    for (unsigned i = 0; i < m->cluster->n; i++) /* who does not vote yet would make a second one missing */
        WAIT(m->cluster, !m->cluster->v[i].up || log_votes(m->cluster->v[i].log));
}

/* Applies and appends, as the scheduler does. */
static uint64_t save(struct member *m, struct rng *r)
{
    struct arena a = { 0 };
    struct api_save_quota *quota = ARENA_NEW(&a, struct api_save_quota);
    struct api_resource_aggregate *amount = ARENA_NEW(&a, struct api_resource_aggregate);
    struct api_resource *v = ARENA_ARRAY(&a, struct api_resource, 3);
    v[0] = (struct api_resource){ .has_num_cpus = true, .num_cpus = (double)rng_below(r, 1000) };
    v[1] = (struct api_resource){ .has_ram_mb = true, .ram_mb = (int64_t)rng_below(r, 1000) };
    v[2] = (struct api_resource){ .has_disk_mb = true, .disk_mb = (int64_t)rng_below(r, 1000) };
    *amount = (struct api_resource_aggregate){ .has_resources = true, .n_resources = 3, .resources = v };
    *quota = (struct api_save_quota){ .role = arena_strf(&a, "role%d", (int)rng_below(r, 50)), .quota = amount };
    struct api_op op = { .save_quota = quota };
    assert_int_equal(store_apply(m->store, &op), 0);
    uint64_t index = stream_append(m->stream, &op, 1);
    arena_release(&a);
    return index;
}

static void write_some(struct member *m, struct rng *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t index = save(m, r);
        if (rng_below(r, 3) == 0) WAIT(m->cluster, m->durable >= index);
    }
    WAIT(m->cluster, m->durable == stream_append(m->stream, NULL, 0));
}

static void snapshot(struct member *m)
{
    m->snapshot_result = 1;
    assert_int_equal(stream_snapshot(m->stream, m->store, on_snapshot_done, m), 0);
    WAIT(m->cluster, m->snapshot_result != 1);
    assert_int_equal(m->snapshot_result, 0);
}

static bool equal(struct cluster *c, const struct member *leader)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->v[i].up && store_hash(c->v[i].store) != store_hash(leader->store)) return false;
    return true;
}

/* All that are up come to have what the leader has. Who was away when the last entry was written learns it with the
 * next one, so there are some more. */
static void must_converge(struct cluster *c, struct member *leader)
{
    struct rng r = { 99 };
    for (int i = 0; i < 100 && !equal(c, leader); i++) {
        uint64_t pause = uv_now(&c->loop) + 200;
        while (!equal(c, leader) && uv_now(&c->loop) < pause) uv_run(&c->loop, UV_RUN_ONCE);
        if (!equal(c, leader)) write_some(leader, &r, 1);
    }
    assert_true(equal(c, leader));
}

static void remove_disk(struct member *m)
{
    char command[80];
    snprintf(command, sizeof(command), "rm -rf %s", m->path);
    assert_int_equal(system(command), 0);
}

/* ---- tests ---- */

static void empty_members_begin_a_log(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 1 };
    cluster_start(&c, 3);
    assert_false(log_votes(c.v[0].log));
    lead(&c.v[0]); /* waits for that */
    write_some(&c.v[0], &r, 20);
    must_converge(&c, &c.v[0]);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(peers_members(c.v[i].peers), 3);
        WAIT(&c, peers_judge(c.v[i].peers, NULL) == QUORUM_SAFE);
    }
    cluster_stop(&c);
}

static void two_of_five_may_be_lost(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 2 };
    cluster_start(&c, 5);
    lead(&c.v[4]);
    write_some(&c.v[4], &r, 10);
    stop(&c.v[0]);
    stop(&c.v[1]);
    write_some(&c.v[4], &r, 10);
    must_converge(&c, &c.v[4]);
    start(&c.v[0]);
    start(&c.v[1]);
    introduce(&c);
    must_converge(&c, &c.v[4]);
    cluster_stop(&c);
}

static void an_empty_member_recovers(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 3 };
    cluster_start(&c, 3);
    lead(&c.v[0]);
    write_some(&c.v[0], &r, 20);
    snapshot(&c.v[0]);
    stop(&c.v[2]);
    write_some(&c.v[0], &r, 20);
    remove_disk(&c.v[2]);
    start(&c.v[2]);
    introduce(&c);
    WAIT(&c, log_votes(c.v[2].log));
    must_converge(&c, &c.v[0]);
    assert_int_equal(c.v[2].snapshots, 1);
    stop(&c.v[1]); /* its vote is needed now */
    write_some(&c.v[0], &r, 5);
    must_converge(&c, &c.v[0]);
    cluster_stop(&c);
}

static void a_rival_demotes_the_leader(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 4 };
    cluster_start(&c, 3);
    lead(&c.v[0]);
    write_some(&c.v[0], &r, 5);
    lead(&c.v[1]);
    write_some(&c.v[1], &r, 5);
    save(&c.v[0], &r);
    WAIT(&c, c.v[0].failed);
    stop(&c.v[0]);
    must_converge(&c, &c.v[1]);
    cluster_stop(&c);
}

static void a_takeover_replays_nothing(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 5 };
    cluster_start(&c, 3);
    lead(&c.v[0]);
    write_some(&c.v[0], &r, 50);
    must_converge(&c, &c.v[0]);
    WAIT(&c, stream_lag(c.v[1].stream) == 0);
    unsigned applied = c.v[1].ops;
    assert_true(applied >= 50);
    uint64_t hash = store_hash(c.v[0].store);
    stop(&c.v[0]);
    lead(&c.v[1]);
    assert_int_equal(c.v[1].ops, applied);
    assert_int_equal(store_hash(c.v[1].store), hash);
    assert_int_equal(stream_lag(c.v[1].stream), 0);
    write_some(&c.v[1], &r, 5);
    must_converge(&c, &c.v[1]);
    cluster_stop(&c);
}

/* A follower that was away while the log was truncated goes on from the snapshot. */
static void a_follower_misses_a_truncation(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 6 };
    cluster_start(&c, 3);
    lead(&c.v[0]);
    write_some(&c.v[0], &r, 10);
    must_converge(&c, &c.v[0]);
    const char *nobody[1] = { c.v[2].pid };
    assert_int_equal(peers_set(c.v[0].peers, (const char *const[]){ c.v[1].pid }, 1), 0);
    assert_int_equal(peers_set(c.v[2].peers, nobody, 1), 0);
    write_some(&c.v[0], &r, 30);
    snapshot(&c.v[0]);
    write_some(&c.v[0], &r, 3);
    introduce(&c);
    must_converge(&c, &c.v[0]);
    assert_int_equal(c.v[2].snapshots, 1);
    assert_false(c.v[2].failed);
    cluster_stop(&c);
}

static void step(struct cluster *c, unsigned *leader, struct rng *r)
{
    struct member *m = &c->v[*leader];
    struct member *other = &c->v[(*leader + 1 + rng_below(r, c->n - 1)) % c->n];
    switch (rng_below(r, 5)) {
    case 0:
        snapshot(m);
        break;
    case 1: /* away, with its disk or without */
        stop(other);
        write_some(m, r, 1 + (unsigned)rng_below(r, 10));
        if (rng_below(r, 2)) remove_disk(other);
        start(other);
        introduce(c);
        WAIT(c, log_votes(other->log)); /* two disks must never be away */
        break;
    case 2: /* fail-over */
        stop(m);
        lead(other);
        start(m);
        introduce(c);
        *leader = (unsigned)(other - c->v);
        break;
    default:
        write_some(m, r, 1 + (unsigned)rng_below(r, 20));
    }
}

static void followers_equal_the_leader(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { random_seed("admin_peers") };
    unsigned leader = 0;
    cluster_start(&c, 3);
    lead(&c.v[0]);
    for (int i = 0; i < 25; i++) {
        step(&c, &leader, &r);
        if (i % 5 == 4) must_converge(&c, &c.v[leader]);
    }
    must_converge(&c, &c.v[leader]);
    cluster_stop(&c);
}

static void malformed_members_are_left_out(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 7 };
    cluster_start(&c, 3);
    struct member *m = &c.v[0];
    char newline[UPID_TEXT_MAX + 1];
    snprintf(newline, sizeof(newline), "%s\n", c.v[1].pid);
    const char *pids[] = { "",     "log-replica(1)", "{\"a\":1}", "x@1.2.3.4:0", "x@0.0.0.0:1", "@1.2.3.4:5",
                           m->pid, c.v[1].pid,       newline,     c.v[2].pid,    c.v[2].pid };
    assert_int_equal(peers_set(m->peers, pids, sizeof(pids) / sizeof(*pids)), 0);
    assert_int_equal(peers_members(m->peers), 3);
    assert_int_equal(stat_get(stats_int(m->stats, "log_members_malformed")), 6);
    lead(m);
    write_some(m, &r, 3);
    cluster_stop(&c);
}

static void requests_to_the_silent_are_bounded(void **state)
{
    (void)state;
    struct cluster c;
    struct rng r = { 8 };
    cluster_start(&c, 3);
    lead(&c.v[0]);
    write_some(&c.v[0], &r, 1);
    stop(&c.v[2]);
    for (int i = 0; i < PEERS_REQUESTS_MAX + 10; i++) {
        save(&c.v[0], &r);
        WAIT(&c, c.v[0].durable == stream_append(c.v[0].stream, NULL, 0));
    }
    assert_true(stat_get(stats_int(c.v[0].stats, "log_requests_unanswered")) >= 10);
    cluster_stop(&c);
}

static void another_quorum_size_is_heard_of(void **state)
{
    (void)state;
    struct cluster c;
    struct buf why = { 0 };
    cluster_start(&c, 3);
    stop(&c.v[2]);
    remove_disk(&c.v[2]);
    c.quorum = 3;
    start(&c.v[2]);
    introduce(&c);
    WAIT(&c, peers_judge(c.v[2].peers, NULL) == QUORUM_REFUSED);
    peers_judge(c.v[2].peers, &why);
    assert_non_null(strstr(buf_cstr(&why), "set -native_log_quorum_size=2"));
    buf_release(&why);
    cluster_stop(&c);
}

static void on_created(const struct zk_result *r, void *arg)
{
    assert_int_equal(r->err, 0);
    *(bool *)arg = true;
}

/* Beside them, the group has a member that is no process id. */
static void members_come_from_zookeeper(void **state)
{
    (void)state;
    struct zk_server server;
    struct cluster c;
    struct rng r = { 9 };
    bool created = false;
    zk_server_start(&server);
    cluster_start_at(&c, 3, server.address);
    lead(&c.v[0]);
    assert_int_equal(zk_create(c.v[0].zk, "/aurora/replicated-log/0000000777", STR("{\"no\": \"pid\"}"), ZK_PERSISTENT,
                               on_created, &created),
                     0);
    WAIT(&c, created);
    WAIT(&c, stat_get(stats_int(c.v[2].stats, "log_members_malformed")) > 0);
    assert_int_equal(peers_members(c.v[2].peers), 3);
    stop(&c.v[1]); /* leaves */
    WAIT(&c, peers_members(c.v[0].peers) == 2);
    write_some(&c.v[0], &r, 5);
    must_converge(&c, &c.v[0]);
    start(&c.v[1]);
    WAIT(&c, peers_members(c.v[0].peers) == 3);
    must_converge(&c, &c.v[0]);
    cluster_stop(&c);
    zk_server_stop(&server);
}

static bool all_lost(const struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++)
        if (stat_get(stats_int(c->v[i].stats, "zk_connection_state_LOST")) != 1) return false;
    return true;
}

static bool all_back(const struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (stat_get(stats_int(c->v[i].stats, "zk_connection_state_CONNECTED")) != 1) return false;
        if (peers_members(c->v[i].peers) != c->n) return false;
    }
    return true;
}

/* With the session the registration is lost. It is made again by the next one, which reads all anew before. */
static void lost_sessions_register_again(void **state)
{
    (void)state;
    struct zk_server server;
    struct cluster c;
    struct rng r = { 10 };
    zk_server_start(&server);
    cluster_start_at(&c, 3, server.address);
    lead(&c.v[0]);
    write_some(&c.v[0], &r, 5);
    zk_server_freeze(&server);
    WAIT(&c, all_lost(&c));
    write_some(&c.v[0], &r, 5); /* the last known members stand */
    zk_server_thaw(&server);
    WAIT(&c, all_back(&c));
    WAIT(&c, peers_judge(c.v[1].peers, NULL) == QUORUM_SAFE);
    stop(&c.v[0]);
    lead(&c.v[1]);
    write_some(&c.v[1], &r, 5);
    must_converge(&c, &c.v[1]);
    cluster_stop(&c);
    zk_server_stop(&server);
}

static void processes_are_spawned_once(void **state)
{
    (void)state;
    struct cluster c;
    struct peers *again = NULL;
    cluster_start(&c, 1);
    struct peers_config pc = { .loop = &c.loop, .lp = c.v[0].lp, .log = c.v[0].log, .quorum = 1 };
    assert_int_equal(peers_new(&pc, &again), ERR_EXISTS);
    pc.quorum = LIMIT_LOG_QUORUM + 1;
    assert_int_equal(peers_new(&pc, &again), ERR_INVALID);
    assert_int_equal(peers_set(c.v[0].peers, NULL, COORDINATOR_MEMBERS_MAX), ERR_TOO_BIG);
    cluster_stop(&c);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(empty_members_begin_a_log),          WITH_FOLDER(two_of_five_may_be_lost),
        WITH_FOLDER(an_empty_member_recovers),           WITH_FOLDER(a_rival_demotes_the_leader),
        WITH_FOLDER(a_takeover_replays_nothing),         WITH_FOLDER(a_follower_misses_a_truncation),
        WITH_FOLDER(followers_equal_the_leader),         WITH_FOLDER(malformed_members_are_left_out),
        WITH_FOLDER(requests_to_the_silent_are_bounded), WITH_FOLDER(another_quorum_size_is_heard_of),
        WITH_FOLDER(members_come_from_zookeeper),        WITH_FOLDER(lost_sessions_register_again),
        WITH_FOLDER(processes_are_spawned_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
