/* Every combination of quorum sizes among one to three members of a real group, who start at once or one after the
 * other, and a random choice of those among four and five: real logs, peers and ZooKeeper, all groups at once on one
 * loop. Whoever may lead tries to; who is refused is told what to set. Never do two write at once, and what was
 * acknowledged is there for every later leader. */
#include "admin/peers.h"

#include "core/err.h"
#include "core/rng.h"
#include "test/lib/random_value.h"
#include "test/lib/zk_server.h"
#include "zk/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MEMBERS = 5, SIZES = 3, SAMPLES = 12, GROUPS_MAX = 100, DEADLINE_MS = 120000, PAUSE_MS = 500, QUIET_MS = 4000 };

struct group;

struct member {
    struct group *group;
    unsigned size;
    struct libprocess *lp;
    struct zk_session *zk;
    struct log *log;
    struct peers *peers;
    struct log_req req;
    enum quorum_verdict verdict;
    bool told, failed, busy, tried, elected, recorded;
    int result, closed;
    bool down;
};

struct group {
    char path[32];
    unsigned n, started;
    bool staggered;
    struct member v[MEMBERS];
    uint64_t decided_ms; /* when all had been decided */
    unsigned acknowledged, found, leaders;
    bool over;
};

static uv_loop_t loop;
static struct zk_server server;
static char folder[40];
static struct group groups[GROUPS_MAX];
static unsigned n_groups;

/* ---- a member ---- */

static bool is_right(const struct group *g)
{
    for (unsigned i = 0; i < g->n; i++)
        if (g->v[i].size != g->v[0].size) return false;
    return g->n <= 2 * g->v[0].size - 1;
}

/* There are enough to begin a log: each one comes to lead. */
static bool must_lead(const struct group *g)
{
    return is_right(g) && g->n == 2 * g->v[0].size - 1;
}

static void on_part_closed(void *arg)
{
    struct member *m = arg;
    if (++m->closed == 4) m->down = true;
}

/* As a process that ends. */
static void close_member(struct member *m)
{
    m->elected = false;
    peers_close(m->peers, on_part_closed, m);
    log_close(m->log, on_part_closed, m);
    zk_session_close(m->zk, on_part_closed, m);
    libprocess_close(m->lp, on_part_closed, m);
    m->peers = NULL;
}

static void look(struct member *m)
{
    struct buf why = { 0 };
    m->verdict = peers_judge(m->peers, &why);
    if (m->verdict != QUORUM_SAFE && why.len) {
        m->told = true;
        if (!strstr(buf_cstr(&why), "set -native_log_quorum_size=") && !strstr(buf_cstr(&why), "the log exists"))
            fail_msg("\"%s\" does not say what to do", buf_cstr(&why));
    }
    buf_release(&why);
}

static void on_changed(void *arg)
{
    look(arg);
}

static void on_failed(const char *why, void *arg)
{
    (void)why;
    ((struct member *)arg)->failed = true;
}

static void on_recorded(void *arg)
{
    struct member *m = arg;
    m->recorded = true;
    m->busy = false;
}

static void start(struct group *g)
{
    unsigned i = g->started++;
    struct member *m = &g->v[i];
    char path[80];
    struct buf why = { 0 };
    struct libprocess_config lc = { .loop = &loop, .ip = "127.0.0.1" };
    struct zk_session_config zc = { .loop = &loop, .endpoints = server.address, .session_timeout_ms = 20000 };
    snprintf(path, sizeof(path), "%s/%s.%u", folder, g->path + 1, i);
    struct log_config c = { .loop = &loop,
                            .path = path,
                            .quorum = m->size,
                            .seed = (uint64_t)(g - groups) * MEMBERS + i + 1,
                            .auto_initialize = true,
                            .election_timeout_ms = 3000,
                            .read_timeout_ms = 60000,
                            .write_timeout_ms = 3000,
                            .election_retries = 2,
                            .map_bytes = 1 << 20 };
    m->group = g;
    m->verdict = QUORUM_WAITS;
    assert_int_equal(libprocess_new(&lc, &m->lp), 0);
    assert_int_equal(zk_session_new(&zc, &m->zk), 0);
    if (log_open(&c, &m->log, &why)) fail_msg("%s", buf_cstr(&why));
    struct peers_config pc = { .loop = &loop,
                               .lp = m->lp,
                               .log = m->log,
                               .zk = m->zk,
                               .group_path = g->path,
                               .quorum = m->size,
                               .on_changed = on_changed,
                               .on_recorded = on_recorded,
                               .on_failed = on_failed,
                               .arg = m };
    assert_int_equal(peers_new(&pc, &m->peers), 0);
}

/* ---- leading ---- */

static int on_entry(uint64_t position, const void *bytes, size_t n, void *arg)
{
    (void)position, (void)bytes;
    ((struct group *)arg)->found += n == 1;
    return 0;
}

static void on_deposed(struct log_req *r, int err)
{
    struct member *m = r->data;
    m->busy = false;
    assert_int_not_equal(err, 0); /* another one has been elected */
}

static void on_appended(struct log_req *r, int err)
{
    struct member *m = r->data;
    m->busy = false;
    if (err) {
        m->elected = false;
        m->tried = !must_lead(m->group);
        return;
    }
    m->group->acknowledged++;
    m->group->leaders++;
    for (unsigned i = 0; i < m->group->started; i++) {
        struct member *o = &m->group->v[i];
        if (o == m || !o->elected || o->busy) continue;
        o->elected = false;
        o->busy = true;
        log_append(o->log, &o->req, "y", 1);
    }
}

static void on_read(struct log_req *r, int err)
{
    struct member *m = r->data;
    assert_int_equal(err, 0);
    assert_true(m->group->found >= m->group->acknowledged);
    m->elected = true;
    peers_lead(m->peers);
}

static void on_elected(struct log_req *r, int err)
{
    struct member *m = r->data;
    if (err) {
        m->busy = false;
        m->tried = !must_lead(m->group); /* a slow machine */
        return;
    }
    m->group->found = 0;
    r->cb = on_read;
    log_read(m->log, r, r->begin, r->position, on_entry, m->group);
}

static void try_to_lead(struct member *m)
{
    m->tried = m->busy = true;
    m->req = (struct log_req){ .data = m, .cb = on_elected };
    log_elect(m->log, &m->req);
}

static void try_to_write(struct member *m)
{
    m->recorded = false;
    m->busy = true;
    m->req = (struct log_req){ .data = m, .cb = on_appended };
    log_append(m->log, &m->req, "x", 1);
}

/* ---- a group ---- */

/* Each one is refused, waits for something that it has told, or takes part. */
static bool decided(struct group *g)
{
    bool all = true;
    for (unsigned i = 0; i < g->started; i++) {
        struct member *m = &g->v[i];
        if (!m->peers) continue;
        look(m);
        if (m->verdict == QUORUM_REFUSED || m->failed)
            close_member(m);
        else
            all = all && (m->verdict == QUORUM_SAFE || m->told);
    }
    if (!all) g->decided_ms = 0;
    if (all && !g->decided_ms) g->decided_ms = uv_now(&loop);
    return all;
}

/* One that leads writes, while those before it still believe that they lead. True: something is under way. */
static bool is_busy(struct group *g)
{
    for (unsigned i = 0; i < g->started; i++) {
        struct member *m = &g->v[i];
        if (!m->peers) continue;
        if (m->busy) return true;
        if (!m->recorded || !m->elected) continue;
        for (unsigned k = 0; k < g->started; k++) g->v[k].req.cb = on_deposed;
        try_to_write(m);
        return true;
    }
    return false;
}

static void step(struct group *g)
{
    if (is_busy(g) || !decided(g)) return;
    for (unsigned i = 0; i < g->started; i++) {
        struct member *m = &g->v[i];
        if (!m->peers || m->tried || m->verdict != QUORUM_SAFE || !log_votes(m->log)) continue;
        try_to_lead(m);
        return;
    }
    if (g->started == g->n)
        g->over = must_lead(g) ? g->leaders >= g->n : uv_now(&loop) > g->decided_ms + QUIET_MS;
    else if (!g->staggered || uv_now(&loop) > g->decided_ms + PAUSE_MS)
        start(g);
}

static void check(const struct group *g)
{
    unsigned told = 0;
    for (unsigned i = 0; i < g->n; i++) told += g->v[i].told;
    if (is_right(g)) {
        assert_int_equal(told, 0);
        assert_int_equal(g->leaders > 0, must_lead(g));
    } else {
        assert_true(told > 0);
    }
}

static void add_group(const unsigned *sizes, unsigned n, bool staggered)
{
    assert_true(n_groups < GROUPS_MAX);
    struct group *g = &groups[n_groups++];
    *g = (struct group){ .n = n, .staggered = staggered };
    snprintf(g->path, sizeof(g->path), "/g%u", n_groups);
    for (unsigned i = 0; i < n; i++) g->v[i].size = sizes[i];
}

static void add_groups(struct rng *r)
{
    unsigned sizes[MEMBERS];
    for (unsigned n = 1, combinations = SIZES; n <= 3; n++, combinations *= SIZES) {
        for (unsigned code = 0; code < combinations; code++) {
            for (unsigned i = 0, rest = code; i < n; i++, rest /= SIZES) sizes[i] = 1 + rest % SIZES;
            add_group(sizes, n, false);
            add_group(sizes, n, true);
        }
    }
    for (unsigned k = 0; k < SAMPLES; k++) {
        unsigned usual = 1 + (unsigned)rng_below(r, SIZES);
        for (unsigned i = 0; i < MEMBERS; i++) sizes[i] = rng_below(r, 3) ? usual : 1 + (unsigned)rng_below(r, SIZES);
        add_group(sizes, 4 + k % 2, rng_below(r, 2));
    }
}

static bool all_over(void)
{
    bool all = true;
    for (unsigned k = 0; k < n_groups; k++) {
        if (!groups[k].over) step(&groups[k]);
        all = all && groups[k].over;
    }
    return all;
}

static bool all_down(void)
{
    bool all = true;
    for (unsigned k = 0; k < n_groups; k++)
        for (unsigned i = 0; i < groups[k].n; i++) all = all && groups[k].v[i].down;
    return all;
}

static void on_tick(uv_timer_t *t)
{
    (void)t;
}

static void run_until(bool (*done)(void))
{
    uint64_t end = uv_now(&loop) + DEADLINE_MS;
    while (!done() && uv_now(&loop) < end) uv_run(&loop, UV_RUN_ONCE);
    assert_true(done());
}

static void every_combination(void **state)
{
    (void)state;
    struct rng r = { random_seed("admin_peers_quorum") };
    uv_timer_t tick;
    unsigned leaders = 0;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 10, 10);
    add_groups(&r);
    for (unsigned k = 0; k < n_groups; k++) {
        start(&groups[k]);
        while (!groups[k].staggered && groups[k].started < groups[k].n) start(&groups[k]);
    }
    run_until(all_over);
    for (unsigned k = 0; k < n_groups; k++) {
        check(&groups[k]);
        leaders += groups[k].leaders;
        for (unsigned i = 0; i < groups[k].n; i++)
            if (groups[k].v[i].peers) close_member(&groups[k].v[i]);
    }
    run_until(all_down);
    print_message("%u groups, %u leaders\n", n_groups, leaders);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int setup(void **state)
{
    (void)state;
    zk_server_start(&server);
    snprintf(folder, sizeof(folder), "/tmp/admin_quorum.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[80];
    (void)state;
    zk_server_stop(&server);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(every_combination, setup, teardown) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
