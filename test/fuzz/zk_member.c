/* A child of a group or of an election: the first line of the input is its name, the rest its data, which is a process
 * id where the group is the log's. */
#include "core/buf.h"
#include "net/libprocess.h"
#include "zk/election.h"
#include "zk/group.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_name(struct str name)
{
    int32_t number = -1;
    struct str label = { 0 };
    if (zk_member_name(name, &number, &label)) {
        assert(number >= 0);
        assert(!label.p || (label.p == name.p && label.n < name.n && name.p[label.n] == '_'));
    } else {
        assert(number == -1);
    }
}

static void check_key(const char *name)
{
    const char *key = zk_lock_key(name);
    assert(key >= name);
    assert(key <= name + strlen(name));
    assert(!strstr(key, "lock-") || key == name);
}

static void check_pid(struct str text)
{
    struct upid pid, again;
    char out[UPID_TEXT_MAX];
    if (upid_parse(text, &pid) || !upid_valid(&pid)) return;
    int err = upid_parse(str_c(upid_text(&pid, out)), &again);
    assert(!err);
    assert(upid_eq(&pid, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
    size_t name = end ? (size_t)(end - data) : n;
    char *text = xstrndup((const char *)data, name);
    check_name((struct str){ (const char *)data, (uint32_t)name });
    check_key(text);
    if (end) check_pid((struct str){ (const char *)end + 1, (uint32_t)(n - name - 1) });
    free(text);
    return 0;
}
