/* One member of a replicated log, to be measured: bench_append FOLDER QUORUM. Its members talk libprocess on loopback,
 * as schedulers do. It prints its process id, then takes commands on standard input, one a line, each answered by one
 * line, a JSON object but for the first two:
 *
 *   peers PID...          the other members; answer: peers
 *   lead                  becomes the writer; answer: leads. Without it, it follows as a standby does.
 *   log CALLERS SECONDS   durable appends of ENTRY_BYTES through log/stream.h: each caller appends when its last one is
 *                         durable
 *   raw CALLERS SECONDS   the same bytes over a plain file in the same folder, made in full before, as that is
 *                         cheapest; one fdatasync for one entry of each caller
 *   bytes                 what all its TCP connections have sent so far
 *
 * It ends with its standard input. */
#include "admin/peers.h"
#include "core/buf.h"
#include "core/err.h"
#include "log/coordinator.h"
#include "log/log.h"
#include "log/stream.h"
#include "test/bench/lib/measure.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ENTRY_BYTES = 1024, ENTRY_FRAME = 40, CALLERS_MAX = 256, LINE_MAX_BYTES = 4096, RAW_BYTES = 4 << 20 };

struct bench {
    uv_loop_t loop;
    uv_pipe_t in;
    char line[LINE_MAX_BYTES];
    size_t line_n;
    const char *folder;
    unsigned quorum;
    struct libprocess *lp;
    struct log *log;
    struct peers *peers;
    struct stream *stream;
    int raw;
    size_t raw_at;

    struct api_op op;
    struct api_save_framework_id save;
    struct turn turn;
    uint64_t until_ns, index, durable;
    uint64_t asked_ns[CALLERS_MAX]; /* by index: at most so many wait */
};

static void must(int err, const char *what)
{
    if (!err) return;
    fprintf(stderr, "%s: %s\n", what, err_str(err));
    exit(1);
}

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

/* ---- turns ---- */

static void append(struct bench *b)
{
    b->asked_ns[b->index % CALLERS_MAX] = measure_now_ns();
    uint64_t index = stream_append(b->stream, &b->op, 1);
    assert(index == b->index + 1);
    b->index = index;
}

/* Every caller whose append became durable makes its next one at once. */
static void on_durable(uint64_t durable, void *arg)
{
    struct bench *b = arg;
    uint64_t now = measure_now_ns(), n = durable - b->durable;
    for (; b->durable < durable; b->durable++)
        latencies_add(&b->turn.latencies, now - b->asked_ns[b->durable % CALLERS_MAX]);
    if (now < b->until_ns) {
        while (n--) append(b);
    } else if (b->durable == b->index) {
        turn_end(&b->turn, 1);
    }
}

static void turn_log(struct bench *b, unsigned callers, double seconds)
{
    turn_begin(&b->turn);
    b->until_ns = b->turn.began_ns + (uint64_t)(seconds * 1e9);
    while (callers--) append(b);
}

static void write_raw(struct bench *b, size_t n)
{
    static char bytes[ENTRY_BYTES * CALLERS_MAX];
    if (b->raw_at + n > RAW_BYTES) b->raw_at = 0;
    if (pwrite(b->raw, bytes, n, (off_t)b->raw_at) != (ssize_t)n || fdatasync(b->raw)) {
        perror("raw");
        exit(1);
    }
    b->raw_at += n;
}

static void turn_raw(struct bench *b, unsigned callers, double seconds)
{
    turn_begin(&b->turn);
    uint64_t until = b->turn.began_ns + (uint64_t)(seconds * 1e9), now = b->turn.began_ns;
    while (now < until) {
        uint64_t began = now;
        write_raw(b, (size_t)callers * ENTRY_BYTES);
        now = measure_now_ns();
        latencies_add(&b->turn.latencies, now - began);
    }
    turn_end(&b->turn, callers);
}

static void tell_bytes(void)
{
    printf("{\"sent\": %llu}\n", (unsigned long long)measure_tcp_sent());
    fflush(stdout);
}

/* ---- the member ---- */

static int64_t wall_ms(void *arg)
{
    (void)arg;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct store *on_snapshot(struct store *state, void *arg)
{
    (void)arg;
    return state;
}

static int on_op(const struct api_op *op, void *arg)
{
    (void)op, (void)arg;
    return 0;
}

static void on_ready(void *arg)
{
    (void)arg;
    say("leads");
}

static void on_failed(const char *why, void *arg)
{
    (void)arg;
    fprintf(stderr, "the log failed: %s\n", why);
    exit(1);
}

static void open_log(struct bench *b)
{
    struct buf err = { 0 };
    struct log_config c = { .loop = &b->loop,
                            .path = b->folder,
                            .quorum = b->quorum,
                            .seed = uv_hrtime(),
                            .initialize = true,
                            .election_timeout_ms = 15000,
                            .read_timeout_ms = 5000,
                            .write_timeout_ms = 30000,
                            .election_retries = 20 };
    struct peers_config pc = { .loop = &b->loop, .lp = b->lp, .quorum = b->quorum };
    must(log_open(&c, &b->log, &err), buf_cstr(&err));
    pc.log = b->log;
    if (b->quorum > 1) must(peers_new(&pc, &b->peers), "peers");
    buf_release(&err);
}

static void open_member(struct bench *b)
{
    char text[UPID_TEXT_MAX];
    struct libprocess_config lc = { .loop = &b->loop, .ip = "127.0.0.1" };
    must(libprocess_new(&lc, &b->lp), "libprocess");
    open_log(b);
    struct stream_config sc = { .loop = &b->loop,
                                .log = b->log,
                                .max_entry_bytes = 512 * 1024,
                                .now_ms = wall_ms,
                                .on_snapshot = on_snapshot,
                                .on_op = on_op,
                                .on_ready = on_ready,
                                .on_durable = on_durable,
                                .on_failed = on_failed,
                                .arg = b };
    must(stream_new(&sc, &b->stream), "stream");
    if (b->peers) stream_follow(b->stream);
    snprintf(text, sizeof(text), "log-replica(1)@127.0.0.1:%u", libprocess_port(b->lp));
    say(text);
}

static void open_raw(struct bench *b)
{
    struct buf path = { 0 };
    buf_addf(&path, "%s/raw", b->folder);
    b->raw = open(buf_cstr(&path), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert(b->raw >= 0);
    while (b->raw_at < RAW_BYTES) write_raw(b, (size_t)CALLERS_MAX * ENTRY_BYTES);
    buf_release(&path);
}

/* An operation whose entry is of ENTRY_BYTES. */
static void make_op(struct bench *b)
{
    static char id[ENTRY_BYTES - ENTRY_FRAME];
    memset(id, 'x', sizeof(id) - 1);
    b->save = (struct api_save_framework_id){ .id = str_c(id) };
    b->op = (struct api_op){ .save_framework_id = &b->save };
}

/* ---- commands ---- */

static void set_peers(struct bench *b, char *pids)
{
    const char *v[COORDINATOR_MEMBERS_MAX];
    unsigned n = 0;
    for (char *save, *p = strtok_r(pids, " ", &save); p && n < COORDINATOR_MEMBERS_MAX; p = strtok_r(NULL, " ", &save))
        v[n++] = p;
    must(peers_set(b->peers, v, n), "peers");
    say("peers");
}

static void command(struct bench *b, char *line)
{
    unsigned callers = 0;
    double seconds = 0;
    char what[8] = "";
    if (strncmp(line, "peers ", 6) == 0) {
        set_peers(b, line + 6);
    } else if (strcmp(line, "lead") == 0) {
        stream_start(b->stream);
    } else if (strcmp(line, "bytes") == 0) {
        tell_bytes();
    } else if (sscanf(line, "%7s %u %lf", what, &callers, &seconds) == 3 && callers && callers <= CALLERS_MAX) {
        if (strcmp(what, "raw") == 0) turn_raw(b, callers, seconds);
        if (strcmp(what, "log") == 0) turn_log(b, callers, seconds);
    } else {
        fprintf(stderr, "not a command: %s\n", line);
        exit(2);
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    struct bench *b = h->data;
    (void)hint;
    *ret = uv_buf_init(b->line + b->line_n, (unsigned)(sizeof(b->line) - b->line_n));
}

static void on_input(uv_stream_t *h, ssize_t n, const uv_buf_t *unused)
{
    struct bench *b = h->data;
    (void)unused;
    if (n < 0) exit(0);
    b->line_n += (size_t)n;
    char *end = memchr(b->line, '\n', b->line_n);
    if (!end) return;
    *end = 0;
    b->line_n = 0; /* the next command comes behind the answer */
    command(b, b->line);
}

int main(int argc, char **argv)
{
    static struct bench b;
    if (argc != 3) return 2;
    b.folder = argv[1];
    b.quorum = (unsigned)atoi(argv[2]);
    uv_loop_init(&b.loop);
    make_op(&b);
    open_member(&b);
    open_raw(&b);
    b.in.data = &b;
    uv_pipe_init(&b.loop, &b.in, 0);
    must(uv_pipe_open(&b.in, STDIN_FILENO), "standard input");
    uv_read_start((uv_stream_t *)&b.in, on_alloc, on_input);
    return uv_run(&b.loop, UV_RUN_DEFAULT);
}
