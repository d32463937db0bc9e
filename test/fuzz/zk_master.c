/* The znode of a Mesos master: the first line of the input is its label, the rest its data. */
#include "zk/detector.h"

#include "core/buf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_pid(const struct buf *pid)
{
    assert(pid->len > 0);
    assert(pid->len <= ZK_MASTER_PID_MAX);
    for (size_t i = 0; i < pid->len; i++) assert(pid->data[i] > ' ' && pid->data[i] <= '~');
    const uint8_t *at = memchr(pid->data, '@', pid->len);
    assert(at);
    assert(memchr(at, ':', pid->len - (size_t)(at - pid->data)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf pid = { 0 };
    const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
    if (!end) return 0;
    struct str label = { (const char *)data, (uint32_t)(end - data) };
    struct str content = { (const char *)end + 1, (uint32_t)(n - label.n - 1) };
    if (!label.n) label.p = NULL;
    if (zk_master_pid(label, content, &pid) == 0)
        check_pid(&pid);
    else
        assert(pid.len == 0);
    buf_release(&pid);
    return 0;
}
