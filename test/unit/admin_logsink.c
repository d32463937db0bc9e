/* Log lines: their form, and that a reader who stalls stalls nobody. */
#include "admin/logsink.h"

#include "core/buf.h"
#include "core/limits.h"

#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static int fds[2];

static void open_pipe(bool journal)
{
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    logsink_open(fds[1], journal);
}

static void read_all(struct buf *out)
{
    ssize_t n;
    while ((n = read(fds[0], buf_reserve(out, 65536), 65536)) > 0) buf_commit(out, (size_t)n);
}

static void close_pipe(struct buf *rest)
{
    logsink_close();
    close(fds[1]);
    read_all(rest);
    close(fds[0]);
}

static void assert_like(const char *text, const char *pattern)
{
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&re, text, 0, NULL, 0) != 0) fail_msg("'%s' is not like '%s'", text, pattern);
    regfree(&re);
}

static void test_form(void **state)
{
    (void)state;
    struct buf out = { 0 };
    open_pipe(false);
    logline(LOG_INFO, "event", "key=%d text=\"%s\"", 1, "a\nb");
    logline(LOG_DEBUG, "quiet", "%s", "");
    close_pipe(&out);
    assert_like(buf_cstr(&out), "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z INFO event key=1 text=\"a\\?b\"\n$");
    buf_reset(&out);
    open_pipe(true);
    logline(LOG_WARN, "event", "key=1");
    close_pipe(&out);
    assert_string_equal(buf_cstr(&out), "<4>event key=1\n");
    buf_release(&out);
}

/* Far more than a pipe holds: the first lines are kept whole, the others counted. */
static void test_a_reader_that_stalls(void **state)
{
    (void)state;
    enum { LINES = 40000 };
    char line[101];
    memset(line, 'x', 100);
    line[100] = 0;
    struct buf out = { 0 };
    open_pipe(true);
    for (int i = 0; i < LINES; i++) logline(LOG_ERROR, "event", "%s", line);
    unsigned read_lines = 0;
    unsigned long long dropped = 0;
    for (int i = 0; i < 1000; i++) {
        read_all(&out);
        logsink_flush();
    }
    close_pipe(&out);
    for (char *p = (char *)buf_cstr(&out), *end; *p; p = end + 1) {
        end = strchr(p, '\n');
        assert_non_null(end);
        *end = 0;
        char *n = strstr(p, "log_lines_dropped n=");
        if (n) {
            dropped += strtoull(n + strlen("log_lines_dropped n="), NULL, 10);
        } else {
            assert_int_equal(end - p, 109);
            read_lines++;
        }
    }
    assert_true(dropped > 0);
    assert_int_equal(read_lines + dropped, LINES);
    assert_true(read_lines > LIMIT_LOG_BUFFER_BYTES / 110 / 2);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_form), cmocka_unit_test(test_a_reader_that_stalls) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
