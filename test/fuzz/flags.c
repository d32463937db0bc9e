/* The flag parser on arbitrary arguments: one per line of the input. */
#include "admin/flags.h"

#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int read_data(const char *path, struct buf *out, void *arg)
{
    const struct str *content = arg;
    if (strcmp(path, "none") == 0) return ERR_NOT_FOUND;
    buf_add_str(out, *content);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum { MAX_ARGS = 64 };
    char *text = xstrndup((const char *)data, n);
    const char *argv[MAX_ARGS] = { "aurora-scheduler" };
    int argc = 1;
    for (char *p = text; p && argc < MAX_ARGS;) {
        argv[argc++] = p;
        p = strchr(p, '\n');
        if (p) *p++ = 0;
    }
    struct str content = { (const char *)data, (uint32_t)n };
    struct flags f = { 0 };
    struct buf err = { 0 };
    int rv = flags_parse(&f, argc, argv, read_data, &content, &err);
    assert((rv == 0) == (err.len == 0));
    assert(!memchr(err.data ? err.data : (const uint8_t *)"", '\n', err.len));
    buf_release(&err);
    flags_release(&f);
    free(text);
    return 0;
}
