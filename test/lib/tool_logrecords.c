/* The records of a log of one replica as they are, for a peer that makes and reads them by itself:
 *
 *   tool_logrecords FOLDER append < RECORDS   appends to the log, which is made if there is none
 *   tool_logrecords FOLDER read > RECORDS
 *
 * A record is preceded by its length, 4 bytes big-endian. */
#include "core/err.h"
#include "log/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct tool {
    uv_loop_t loop;
    struct log *log;
    struct log_req req;
    struct buf record;
    bool append;
};

static void must(int err, const char *what)
{
    if (!err) return;
    (void)fprintf(stderr, "%s: %s\n", what, err_str(err));
    exit(1);
}

static void on_closed(void *arg)
{
    (void)arg;
}

/* False at the end. */
static bool next_record(struct buf *out)
{
    uint8_t length[4];
    size_t n = fread(length, 1, sizeof(length), stdin);
    if (n == 0) return false;
    assert(n == sizeof(length));
    n = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
    buf_reset(out);
    buf_commit(out, fread(buf_reserve(out, n), 1, n, stdin));
    assert(out->len == n);
    return true;
}

static void on_appended(struct log_req *r, int err)
{
    struct tool *t = r->data;
    must(err, "append");
    r->cb = on_appended;
    if (next_record(&t->record))
        log_append(t->log, r, t->record.data, t->record.len);
    else
        log_close(t->log, on_closed, NULL);
}

static int on_record(uint64_t position, const void *bytes, size_t n, void *arg)
{
    (void)position;
    (void)arg;
    uint8_t length[4] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
    return fwrite(length, sizeof(length), 1, stdout) == 1 && fwrite(bytes, 1, n, stdout) == n ? 0 : ERR_IO;
}

static void on_read(struct log_req *r, int err)
{
    struct tool *t = r->data;
    must(err, "read");
    must(fflush(stdout) == 0 ? 0 : ERR_IO, "output");
    log_close(t->log, on_closed, NULL);
}

static void on_elected(struct log_req *r, int err)
{
    struct tool *t = r->data;
    must(err, "election");
    if (t->append) {
        on_appended(r, 0);
        return;
    }
    r->cb = on_read;
    log_read(t->log, r, r->begin, r->position, on_record, NULL);
}

int main(int argc, char **argv)
{
    static struct tool t;
    struct buf why = { 0 };
    if (argc != 3) return 2;
    t.append = strcmp(argv[2], "append") == 0;
    t.req = (struct log_req){ .data = &t, .cb = on_elected };
    uv_loop_init(&t.loop);
    struct log_config c = { .loop = &t.loop,
                            .path = argv[1],
                            .quorum = 1,
                            .seed = uv_hrtime(),
                            .initialize = true,
                            .election_timeout_ms = 15000,
                            .read_timeout_ms = 5000,
                            .write_timeout_ms = 30000,
                            .election_retries = 20 };
    int err = log_open(&c, &t.log, &why);
    if (err) must(err, buf_cstr(&why));
    log_elect(t.log, &t.req);
    uv_run(&t.loop, UV_RUN_DEFAULT);
    buf_release(&t.record);
    buf_release(&why);
    return uv_loop_close(&t.loop) == 0 ? 0 : 1;
}
