/* Durable appends per second through log/stream.h, with one caller and with many, against raw fdatasync of the same
 * bytes in the same folder. The kinds are interleaved, round by round, so that all meet the same background load; the
 * ratio is what counts.
 *
 * Usage: bench_append DIR ROUNDS SECONDS_PER_TURN. Prints one JSON object. */
#include "core/buf.h"
#include "core/logline.h"
#include "log/log.h"
#include "log/stream.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ENTRY_BYTES = 1024, MANY = 64 };

struct bench {
    uv_loop_t loop;
    struct log *log;
    struct stream *stream;
    bool ready;
    struct api_op op;
    struct api_save_framework_id save;
    unsigned callers;
    uint64_t done, last_durable, until_ns;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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
    (void)op;
    (void)arg;
    return 0;
}

static void on_ready(void *arg)
{
    ((struct bench *)arg)->ready = true;
}

static void on_failed(const char *why, void *arg)
{
    (void)arg;
    fprintf(stderr, "the log failed: %s\n", why);
    exit(1);
}

/* Every caller whose append became durable makes its next one at once. */
static void on_durable(uint64_t durable, void *arg)
{
    struct bench *b = arg;
    uint64_t n = durable - b->last_durable;
    b->last_durable = durable;
    b->done += n;
    if (now_ns() >= b->until_ns) return;
    for (uint64_t i = 0; i < n; i++) stream_append(b->stream, &b->op, 1);
}

static double turn_stream(struct bench *b, unsigned callers, double seconds)
{
    uint64_t start = now_ns();
    b->done = 0;
    b->until_ns = start + (uint64_t)(seconds * 1e9);
    uint64_t last = 0;
    for (unsigned i = 0; i < callers; i++) last = stream_append(b->stream, &b->op, 1);
    (void)last;
    while (now_ns() < b->until_ns || stream_durable(b->stream) < stream_append(b->stream, NULL, 0))
        uv_run(&b->loop, UV_RUN_ONCE);
    return (double)b->done / ((double)(now_ns() - start) / 1e9);
}

/* Appends and syncs `batch` entries at a time to a plain file; entries per second. */
static double turn_raw(int fd, unsigned batch, double seconds)
{
    static char bytes[ENTRY_BYTES * MANY];
    uint64_t start = now_ns(), until = start + (uint64_t)(seconds * 1e9), n = 0;
    while (now_ns() < until) {
        if (write(fd, bytes, (size_t)batch * ENTRY_BYTES) < 0 || fdatasync(fd) < 0) {
            perror("raw");
            exit(1);
        }
        n += batch;
    }
    return (double)n / ((double)(now_ns() - start) / 1e9);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void open_log(struct bench *b, const char *dir)
{
    struct buf err = { 0 }, path = { 0 };
    buf_addf(&path, "%s/log", dir);
    struct log_config lc = { .loop = &b->loop,
                             .path = buf_cstr(&path),
                             .quorum = 1,
                             .seed = 1,
                             .initialize = true,
                             .election_timeout_ms = 15000,
                             .read_timeout_ms = 5000,
                             .write_timeout_ms = 30000,
                             .election_retries = 20 };
    if (log_open(&lc, &b->log, &err)) {
        fprintf(stderr, "%s\n", buf_cstr(&err));
        exit(1);
    }
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
    if (stream_new(&sc, &b->stream)) exit(1);
    stream_start(b->stream);
    while (!b->ready) uv_run(&b->loop, UV_RUN_ONCE);
    buf_release(&path);
    buf_release(&err);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    int rounds = atoi(argv[2]);
    double secs = atof(argv[3]);
    if (rounds < 1 || rounds > 100) return 2;
    static struct bench b;
    static char id[ENTRY_BYTES - 40]; /* the entry around it is about 40 bytes */
    memset(id, 'x', sizeof id - 1);
    b.save = (struct api_save_framework_id){ .id = str_c(id) };
    b.op = (struct api_op){ .save_framework_id = &b.save };
    uv_loop_init(&b.loop);
    open_log(&b, argv[1]);
    struct buf path = { 0 };
    buf_addf(&path, "%s/raw", argv[1]);
    int fd = open(buf_cstr(&path), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    assert(fd >= 0);
    static double v[4][100];
    for (int i = 0; i < rounds; i++) {
        v[0][i] = turn_raw(fd, 1, secs);
        v[1][i] = turn_stream(&b, 1, secs);
        v[2][i] = turn_raw(fd, MANY, secs);
        v[3][i] = turn_stream(&b, MANY, secs);
    }
    double m[4];
    for (int k = 0; k < 4; k++) m[k] = median(v[k], rounds);
    printf("{\"raw_1\": %.1f, \"log_1\": %.1f, \"ratio_1\": %.3f, \"raw_64\": %.1f, \"log_64\": %.1f, \"ratio_64\": "
           "%.3f}\n",
           m[0], m[1], m[1] / m[0], m[2], m[3], m[3] / m[2]);
    return 0;
}
