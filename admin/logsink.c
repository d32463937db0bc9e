#include "admin/logsink.h"

#include "core/buf.h"
#include "core/limits.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Ordinary lines are gathered until logsink_flush(), once per pass of the loop, or until there are so many bytes. */
enum { GATHER_BYTES = 16 << 10 };

static struct {
    int fd;
    bool journal;
    struct buf kept; /* whole lines */
    uint64_t dropped;
    time_t second; /* of the stamp, which many lines share */
    char stamp[32];
} sink;

static void begin_line(struct buf *b, enum log_level level)
{
    static const char *const names[] = { "DEBUG", "INFO", "WARN", "ERROR" };
    static const int priorities[] = { 7, 6, 4, 3 };
    if (sink.journal) {
        buf_addf(b, "<%d>", priorities[level]);
        return;
    }
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (ts.tv_sec != sink.second) {
        struct tm tm;
        sink.second = ts.tv_sec;
        gmtime_r(&ts.tv_sec, &tm);
        strftime(sink.stamp, sizeof(sink.stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    }
    buf_addf(b, "%s.%03ldZ %s ", sink.stamp, ts.tv_nsec / 1000000, names[level]);
}

/* Room for a piece of PIPE_BUF bytes is what POLLOUT promises of a pipe, so a write of that size can't block. */
static size_t write_some(const uint8_t *p, size_t n, int wait_ms)
{
    enum { PIECE = 4096 };
    size_t done = 0;
    while (done < n) {
        struct pollfd pfd = { .fd = sink.fd, .events = POLLOUT };
        if (poll(&pfd, 1, wait_ms) <= 0 || !(pfd.revents & POLLOUT)) break;
        ssize_t rv = write(sink.fd, p + done, n - done < PIECE ? n - done : PIECE);
        if (rv < 0 && errno == EINTR) continue;
        if (rv <= 0) break;
        done += (size_t)rv;
    }
    return done;
}

static void write_kept(int wait_ms)
{
    buf_consume(&sink.kept, write_some(sink.kept.data, sink.kept.len, wait_ms));
    if (sink.kept.len || !sink.dropped) return;
    struct buf b = { 0 };
    begin_line(&b, LOG_WARN);
    buf_addf(&b, "log_lines_dropped n=%llu\n", (unsigned long long)sink.dropped);
    sink.dropped = 0;
    buf_add(&sink.kept, b.data, b.len);
    buf_release(&b);
}

static void on_line(enum log_level level, const char *line, void *arg)
{
    (void)arg;
    if (sink.kept.len + strlen(line) > LIMIT_LOG_BUFFER_BYTES) write_kept(0);
    if (sink.kept.len + strlen(line) > LIMIT_LOG_BUFFER_BYTES) {
        sink.dropped++;
        return;
    }
    begin_line(&sink.kept, level);
    buf_adds(&sink.kept, line);
    buf_addc(&sink.kept, '\n');
    if (level >= LOG_WARN || sink.kept.len >= GATHER_BYTES) write_kept(0);
}

void logsink_open(int fd, bool journal)
{
    sink.fd = fd;
    sink.journal = journal;
    logline_set_sink(on_line, NULL);
}

void logsink_flush(void)
{
    write_kept(0);
}

void logsink_close(void)
{
    logline_set_sink(NULL, NULL);
    write_kept(1000);
    buf_release(&sink.kept);
}
