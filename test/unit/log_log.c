/* The log as its users see it, on a real disk: alone, and as three members on one loop whose messages go through
 * memory. */
#include "log/log.h"

#include "core/err.h"
#include "log/local.h"
#include "log/storage.h"
#include "log/message.h"
#include "log/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { MEMBERS = 3 };

static char folder[40];
static uv_loop_t loop;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/log_log.XXXXXX");
    return mkdtemp(folder) && uv_loop_init(&loop) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[80];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return uv_loop_close(&loop) || system(command);
}

static struct log_config config(const char *path)
{
    return (struct log_config){ .loop = &loop,
                                .path = path,
                                .quorum = 1,
                                .seed = 1,
                                .initialize = true,
                                .election_timeout_ms = 2000,
                                .read_timeout_ms = 5000,
                                .write_timeout_ms = 2000,
                                .election_retries = 10 };
}

static struct log *must_open(const struct log_config *c)
{
    struct log *l = NULL;
    struct buf why = { 0 };
    if (log_open(c, &l, &why)) fail_msg("%s", buf_cstr(&why));
    buf_release(&why);
    return l;
}

static struct log *open_alone(void)
{
    struct log_config c = config(folder);
    return must_open(&c);
}

/* ---- waiting ---- */

static void on_done(struct log_req *r, int err)
{
    *(int *)r->data = err;
}

static void on_flag(void *arg)
{
    *(bool *)arg = true;
}

static int wait_for(const int *result)
{
    while (*result == 1) uv_run(&loop, UV_RUN_ONCE);
    return *result;
}

static void close_log(struct log *l)
{
    bool closed = false;
    log_close(l, on_flag, &closed);
    while (!closed) uv_run(&loop, UV_RUN_ONCE);
}

static int elect(struct log *l, struct log_req *r)
{
    int result = 1;
    *r = (struct log_req){ .data = &result, .cb = on_done };
    log_elect(l, r);
    assert_int_equal(result, 1); /* never before the call returns */
    return wait_for(&result);
}

static int append(struct log *l, const char *text, uint64_t *position)
{
    int result = 1;
    struct log_req r = { .data = &result, .cb = on_done };
    log_append(l, &r, text, strlen(text));
    assert_int_equal(result, 1);
    wait_for(&result);
    if (position) *position = r.position;
    return result;
}

static int truncate_to(struct log *l, uint64_t to)
{
    int result = 1;
    struct log_req r = { .data = &result, .cb = on_done };
    log_truncate(l, &r, to);
    return wait_for(&result);
}

static int collect(uint64_t position, const void *bytes, size_t n, void *arg)
{
    buf_addf(arg, "%llu=%.*s ", (unsigned long long)position, (int)n, (const char *)bytes);
    return 0;
}

static int read_all(struct log *l, uint64_t from, uint64_t to, struct buf *out)
{
    int result = 1;
    struct log_req r = { .data = &result, .cb = on_done };
    buf_reset(out);
    log_read(l, &r, from, to, collect, out);
    return wait_for(&result);
}

/* ---- alone ---- */

static void appended_entries_survive_a_restart(void **state)
{
    (void)state;
    struct log_req r;
    uint64_t p;
    struct buf text = { 0 };
    struct log *l = open_alone();
    assert_int_equal(elect(l, &r), 0);
    assert_int_equal(r.position, 0);
    assert_int_equal(append(l, "one", &p), 0);
    assert_int_equal(p, 1);
    assert_int_equal(append(l, "two", &p), 0);
    assert_int_equal(p, 2);
    close_log(l);
    l = open_alone();
    assert_int_equal(elect(l, &r), 0);
    assert_int_equal(r.begin, 0);
    assert_int_equal(r.position, 2);
    assert_int_equal(append(l, "three", &p), 0);
    assert_int_equal(p, 3);
    assert_int_equal(read_all(l, 0, 3, &text), 0);
    assert_string_equal(buf_cstr(&text), "1=one 2=two 3=three ");
    assert_int_equal(truncate_to(l, 2), 0);
    assert_int_equal(read_all(l, 1, 3, &text), ERR_INVALID);
    assert_int_equal(read_all(l, 2, 9, &text), ERR_INVALID);
    assert_int_equal(read_all(l, 2, 4, &text), 0);
    assert_string_equal(buf_cstr(&text), "2=two 3=three ");
    close_log(l);
    l = open_alone();
    assert_int_equal(elect(l, &r), 0);
    assert_int_equal(r.begin, 2);
    assert_int_equal(r.position, 4);
    close_log(l);
    buf_release(&text);
}

static void a_write_without_election_is_rejected(void **state)
{
    (void)state;
    struct log *l = open_alone();
    assert_int_equal(append(l, "x", NULL), ERR_REJECTED);
    assert_int_equal(truncate_to(l, 0), ERR_REJECTED);
    close_log(l);
}

static void closing_ends_what_is_under_way(void **state)
{
    (void)state;
    int result = 1;
    struct log_req r = { .data = &result, .cb = on_done };
    struct log *l = open_alone();
    log_elect(l, &r);
    close_log(l);
    assert_int_equal(result, ERR_CLOSED);
}

static void a_single_member_begins_a_new_log(void **state)
{
    (void)state;
    struct log_config c = config(folder);
    struct log_req r;
    c.initialize = false;
    c.auto_initialize = true;
    struct log *l = must_open(&c);
    assert_false(log_votes(l));
    assert_int_equal(log_set_peers(l, NULL, 0), 0);
    assert_int_equal(elect(l, &r), 0);
    assert_true(log_votes(l));
    assert_int_equal(append(l, "one", NULL), 0);
    close_log(l);
}

/* Whoever was refused with a wrong size has left nothing behind but an empty folder. */
static void an_empty_folder_takes_another_size(void **state)
{
    (void)state;
    struct log_config c = config(folder);
    c.initialize = false;
    c.quorum = 3;
    close_log(must_open(&c));
    c.quorum = 2;
    struct log *l = must_open(&c);
    assert_int_equal(log_quorum_record(l)->size, 2);
    close_log(l);
    c.quorum = 1;
    c.initialize = true;
    close_log(must_open(&c));
    struct buf why = { 0 };
    c.quorum = 2;
    assert_int_equal(log_open(&c, &l, &why), ERR_INVALID);
    buf_release(&why);
}

static void replicas_that_were_seen_are_kept(void **state)
{
    (void)state;
    struct log *l = open_alone();
    uint64_t own = log_quorum_record(l)->replica;
    assert_int_equal(log_quorum_record(l)->n_seen, 1);
    log_see_replicas(l, (const uint64_t[]){ 7 }, 1); /* replaces it: there is one place */
    assert_int_equal(log_quorum_record(l)->seen[0], 7);
    log_see_replicas(l, &own, 1);
    close_log(l);
    l = open_alone();
    assert_int_equal(log_quorum_record(l)->replica, own);
    assert_int_equal(log_quorum_record(l)->n_seen, 1);
    assert_int_equal(log_quorum_record(l)->seen[0], own);
    close_log(l);
}

static bool is_complete(void)
{
    struct storage *s = NULL;
    struct storage_metadata m;
    assert_int_equal(storage_open_read_only(folder, &s, NULL), 0);
    assert_true(storage_metadata(s, &m));
    storage_close(s);
    return m.complete;
}

/* Only what the writer has closed has everything for sure. */
static void the_writer_leaves_a_complete_log(void **state)
{
    (void)state;
    struct log_req r;
    struct log *l = open_alone();
    close_log(l);
    assert_false(is_complete());
    l = open_alone();
    assert_int_equal(elect(l, &r), 0);
    assert_int_equal(append(l, "one", NULL), 0);
    close_log(l);
    assert_true(is_complete());
    l = open_alone();
    close_log(l);
    assert_false(is_complete());
}

static void another_quorum_size_is_refused(void **state)
{
    (void)state;
    close_log(open_alone());
    struct log_config c = config(folder);
    struct log *l = NULL;
    struct buf why = { 0 };
    c.quorum = 2;
    assert_int_equal(log_open(&c, &l, &why), ERR_INVALID);
    assert_non_null(strstr(buf_cstr(&why), "set it to 1"));
    buf_release(&why);
}

static void a_full_log_says_so(void **state)
{
    (void)state;
    static char big[100000];
    struct log_config c = config(folder);
    struct log_req r;
    c.map_bytes = 1 << 20;
    struct log *l = must_open(&c);
    assert_int_equal(elect(l, &r), 0);
    memset(big, 'x', sizeof(big) - 1);
    int err = 0;
    while (!err) err = append(l, big, NULL);
    assert_int_equal(err, ERR_NOSPACE);
    assert_non_null(strstr(log_error(l), "limit of 1048576 bytes"));
    assert_int_equal(append(l, "small", NULL), ERR_NOSPACE);
    assert_int_equal(elect(l, &r), ERR_NOSPACE);
    close_log(l);
}

static int count_bytes(uint64_t position, const void *bytes, size_t n, void *arg)
{
    (void)position;
    (void)bytes;
    *(size_t *)arg += n;
    return 0;
}

static int stop_at_three(uint64_t position, const void *bytes, size_t n, void *arg)
{
    (void)bytes;
    (void)n;
    (void)arg;
    return position == 3 ? ERR_MALFORMED : 0;
}

static void long_reads_come_in_slices(void **state)
{
    (void)state;
    static char big[300001];
    struct log_req r;
    struct log *l = open_alone();
    assert_int_equal(elect(l, &r), 0);
    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 20; i++) assert_int_equal(append(l, big, NULL), 0);
    size_t bytes = 0;
    int result = 1;
    struct log_req read = { .data = &result, .cb = on_done };
    log_read(l, &read, 0, 20, count_bytes, &bytes);
    assert_int_equal(wait_for(&result), 0);
    assert_int_equal(bytes, 20 * 300000);
    result = 1;
    log_read(l, &read, 0, 20, stop_at_three, NULL);
    assert_int_equal(wait_for(&result), ERR_MALFORMED);
    close_log(l);
}

/* The loop is blocked for longer than the timeout, while the disk is done at once. */
struct answers {
    unsigned n;
    uint64_t positions[2 * LOCAL_NEEDED_MAX];
    bool accepted[2 * LOCAL_NEEDED_MAX], learned[2 * LOCAL_NEEDED_MAX];
};

static void keep_answer(uint64_t request, const char *to, const char *name, const void *body, size_t n, void *arg)
{
    struct answers *g = arg;
    struct arena a = { 0 };
    struct message m;
    assert_int_equal(request, 0);
    assert_string_equal(to, "somebody");
    assert_string_equal(name, message_name(MESSAGE_PROMISE_RESPONSE));
    assert_int_equal(message_decode(MESSAGE_PROMISE_RESPONSE, body, n, &a, &m), 0);
    g->accepted[g->n] = m.answer == ANSWER_ACCEPT;
    g->learned[g->n] = m.has_action && m.action.learned;
    g->positions[g->n++] = m.has_action ? m.action.position : m.position;
    arena_release(&a);
}

static void ask_promise(struct log *l, uint64_t proposal, uint64_t position)
{
    struct buf body = { 0 };
    struct message m = {
        .kind = MESSAGE_PROMISE_REQUEST, .proposal = proposal, .has_position = true, .position = position
    };
    message_encode(&m, &body);
    assert_int_equal(log_request(l, "somebody", str_c(message_name(m.kind)), body.data, body.len), 0);
    buf_release(&body);
}

/* Somebody catches up: what his promises need is read together and answered by few commits, each for itself. */
static void promises_of_many_positions_share_commits(void **state)
{
    (void)state;
    enum { N = LOCAL_NEEDED_MAX + 10 };
    struct answers got = { 0 };
    struct stats *stats = stats_new();
    struct log_config c = config(folder);
    struct log_req r;
    c.stats = stats;
    c.send = keep_answer;
    c.arg = &got;
    struct log *l = must_open(&c);
    assert_int_equal(elect(l, &r), 0);
    for (int i = 0; i < N; i++) assert_int_equal(append(l, "v", NULL), 0);
    struct stat *commits = stats_int(stats, "log_commit_events");
    int64_t before = stat_get(commits);
    for (uint64_t p = 1; p <= N; p++) ask_promise(l, 100, p);
    ask_promise(l, 100, N);     /* not higher than the one before */
    ask_promise(l, 101, N);     /* of the same position */
    ask_promise(l, 101, N + 1); /* nobody has written there */
    while (got.n < N + 3) uv_run(&loop, UV_RUN_ONCE);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(got.positions[i], i + 1);
        assert_true(got.accepted[i]);
        assert_true(got.learned[i]);
    }
    assert_false(got.accepted[N]);
    assert_true(got.accepted[N + 1]);
    assert_int_equal(got.positions[N + 1], N);
    assert_true(got.accepted[N + 2]);
    assert_false(got.learned[N + 2]);
    assert_in_range(stat_get(commits) - before, 1, 8);
    close_log(l);
    stats_free(stats);
}

static void a_blocked_loop_does_not_time_out(void **state)
{
    (void)state;
    struct log_config c = config(folder);
    struct log_req r;
    struct buf text = { 0 };
    c.write_timeout_ms = c.read_timeout_ms = 100;
    struct log *l = must_open(&c);
    assert_int_equal(elect(l, &r), 0);
    int result = 1;
    struct log_req write = { .data = &result, .cb = on_done };
    log_append(l, &write, "one", 3);
    uv_sleep(300);
    assert_int_equal(wait_for(&result), 0);
    result = 1;
    log_read(l, &write, 0, 1, collect, &text);
    uv_sleep(300);
    assert_int_equal(wait_for(&result), 0);
    assert_string_equal(buf_cstr(&text), "1=one ");
    buf_release(&text);
    close_log(l);
}

/* ---- three members ---- */

struct member {
    struct log *log;
    struct network *net;
    char pid[48], path[64];
    bool cut; /* neither sends nor gets */
    uint64_t map_bytes;
    int failure; /* that its follower was told of */
};

struct network {
    struct member v[MEMBERS];
};

/* What libprocess would carry, on its way through one loop iteration. */
struct parcel {
    uv_timer_t timer;
    struct member *from, *to;
    uint64_t request; /* of a request: its number at the sender; of an answer: at the receiver */
    bool is_answer;
    char *name;
    struct buf body;
};

static void on_parcel_closed(uv_handle_t *h)
{
    struct parcel *p = h->data;
    free(p->name);
    buf_release(&p->body);
    free(p);
}

static void on_parcel(uv_timer_t *t)
{
    struct parcel *p = t->data;
    char from[80];
    if (p->to->log && !p->to->cut && !p->from->cut) {
        snprintf(from, sizeof(from), "%llu/%s", (unsigned long long)p->request, p->from->pid);
        if (p->is_answer)
            (void)log_answer(p->to->log, p->request, p->from->pid, str_c(p->name), p->body.data, p->body.len);
        else
            (void)log_request(p->to->log, from, str_c(p->name), p->body.data, p->body.len);
    }
    uv_close((uv_handle_t *)t, on_parcel_closed);
}

/* `to` is a pid, or what log_request() was told: "request/pid". */
static void send_parcel(uint64_t request, const char *to, const char *name, const void *body, size_t n, void *arg)
{
    struct member *from = arg;
    struct parcel *p = xcalloc(1, sizeof(*p));
    const char *slash = strchr(to, '/');
    p->is_answer = slash != NULL;
    p->request = slash ? strtoull(to, NULL, 10) : request;
    p->from = from;
    for (int i = 0; i < MEMBERS; i++)
        if (strcmp(from->net->v[i].pid, slash ? slash + 1 : to) == 0) p->to = &from->net->v[i];
    assert_non_null(p->to);
    p->name = xstrdup(name);
    buf_add(&p->body, body, n);
    p->timer.data = p;
    uv_timer_init(&loop, &p->timer);
    uv_timer_start(&p->timer, on_parcel, 0, 0);
}

static void start_member(struct network *net, int i)
{
    struct member *m = &net->v[i];
    const char *peers[MEMBERS - 1];
    unsigned n = 0;
    m->net = net;
    snprintf(m->pid, sizeof(m->pid), "log-replica(1)@127.0.0.1:%d", 5101 + i);
    snprintf(m->path, sizeof(m->path), "%s/%d", folder, i);
    for (int k = 0; k < MEMBERS; k++)
        if (k != i) peers[n++] = net->v[k].pid;
    struct log_config c = config(m->path);
    c.quorum = 2;
    c.seed = (uint64_t)i + 1;
    c.write_timeout_ms = 300;
    c.map_bytes = m->map_bytes;
    c.send = send_parcel;
    c.arg = m;
    m->log = must_open(&c);
    assert_int_equal(log_set_peers(m->log, peers, n), 0);
}

static void start_network(struct network *net)
{
    for (int i = 0; i < MEMBERS; i++)
        snprintf(net->v[i].pid, sizeof(net->v[i].pid), "log-replica(1)@127.0.0.1:%d", 5101 + i);
    for (int i = 0; i < MEMBERS; i++) start_member(net, i);
}

static void stop_network(struct network *net)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct log *l = net->v[i].log;
        net->v[i].log = NULL;
        if (l) close_log(l);
    }
    while (uv_run(&loop, UV_RUN_DEFAULT)) {
    }
}

static void three_members_agree(void **state)
{
    (void)state;
    struct network net = { 0 };
    struct log_req r;
    uint64_t p;
    struct buf text = { 0 };
    start_network(&net);
    assert_int_equal(elect(net.v[0].log, &r), 0);
    assert_int_equal(append(net.v[0].log, "one", &p), 0);
    net.v[2].cut = true; /* a minority is away */
    assert_int_equal(append(net.v[0].log, "two", &p), 0);
    assert_int_equal(p, 2);
    net.v[2].cut = false;
    assert_int_equal(elect(net.v[2].log, &r), 0); /* it fetches what it missed */
    assert_int_equal(r.position, 2);
    assert_int_equal(read_all(net.v[2].log, 0, 2, &text), 0);
    assert_string_equal(buf_cstr(&text), "1=one 2=two ");
    assert_int_equal(append(net.v[0].log, "stale", &p), ERR_REJECTED);
    assert_int_equal(append(net.v[2].log, "three", &p), 0);
    assert_int_equal(p, 3);
    stop_network(&net);
    start_network(&net);
    assert_int_equal(elect(net.v[1].log, &r), 0);
    assert_int_equal(read_all(net.v[1].log, 0, r.position, &text), 0);
    assert_string_equal(buf_cstr(&text), "1=one 2=two 3=three ");
    stop_network(&net);
    buf_release(&text);
}

static void without_a_quorum_a_write_times_out(void **state)
{
    (void)state;
    struct network net = { 0 };
    struct log_req r;
    start_network(&net);
    assert_int_equal(elect(net.v[0].log, &r), 0);
    net.v[1].cut = net.v[2].cut = true;
    assert_int_equal(append(net.v[0].log, "lonely", NULL), ERR_TIMEOUT);
    assert_int_equal(append(net.v[0].log, "more", NULL), ERR_REJECTED);
    stop_network(&net);
}

static void on_follower(void *arg)
{
    struct member *m = arg;
    m->failure = log_failure(m->log);
}

/* The others can do without it, but its process is to know. */
static void a_full_log_is_told_to_the_follower(void **state)
{
    (void)state;
    static char big[100000];
    struct network net = { 0 };
    struct log_req r;
    struct member *full = &net.v[2];
    full->map_bytes = 1 << 20;
    start_network(&net);
    log_follow(full->log, on_follower, full);
    assert_int_equal(elect(net.v[0].log, &r), 0);
    memset(big, 'x', sizeof(big) - 1);
    while (!full->failure) assert_int_equal(append(net.v[0].log, big, NULL), 0);
    assert_int_equal(full->failure, ERR_NOSPACE);
    assert_int_equal(log_failure(net.v[0].log), 0);
    assert_int_equal(append(net.v[0].log, big, NULL), 0);
    stop_network(&net);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(appended_entries_survive_a_restart),
        WITH_LOOP(a_write_without_election_is_rejected),
        WITH_LOOP(closing_ends_what_is_under_way),
        WITH_LOOP(a_single_member_begins_a_new_log),
        WITH_LOOP(another_quorum_size_is_refused),
        WITH_LOOP(an_empty_folder_takes_another_size),
        WITH_LOOP(replicas_that_were_seen_are_kept),
        WITH_LOOP(the_writer_leaves_a_complete_log),
        WITH_LOOP(a_full_log_says_so),
        WITH_LOOP(long_reads_come_in_slices),
        WITH_LOOP(promises_of_many_positions_share_commits),
        WITH_LOOP(a_blocked_loop_does_not_time_out),
        WITH_LOOP(three_members_agree),
        WITH_LOOP(without_a_quorum_a_write_times_out),
        WITH_LOOP(a_full_log_is_told_to_the_follower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
