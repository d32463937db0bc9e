#include "admin/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

/* Buffers of log entries and answers are some hundred kilobytes: taken from the heap they have their pages already. */
#define MMAP_FROM_BYTES (8 << 20)
#define KEPT_AT_END_BYTES (32 << 20)
/* Growth since the last trim that is worth another one: a quarter, and at least this. */
#define GROWN_BYTES ((int64_t)8 << 20)
#define TRIM_INTERVAL_MS 600000

/* One heap, one trimmer. */
static struct {
    int64_t own, at_ms; /* after the last time */
    bool running;
    uv_work_t work;
} trim;

void memory_setup(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_AT_END_BYTES);
}

bool memory_read(struct memory *ret)
{
    long long size, resident, shared, text, library, data;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return false;
    int n = fscanf(f, "%lld %lld %lld %lld %lld %lld", &size, &resident, &shared, &text, &library, &data);
    (void)fclose(f);
    if (n != 6) return false;
    int64_t page = sysconf(_SC_PAGESIZE);
    *ret = (struct memory){ .resident = resident * page, .own = (resident - shared) * page, .reserved = data * page };
    return true;
}

static void trim_in_pool(uv_work_t *w)
{
    (void)w;
    (void)malloc_trim(0);
}

static void after_trim(uv_work_t *w, int status)
{
    struct memory m;
    (void)w;
    (void)status;
    if (memory_read(&m)) trim.own = m.own;
    trim.running = false;
}

void memory_trim(uv_loop_t *loop, int64_t now_ms)
{
    struct memory m;
    if (trim.running || !memory_read(&m)) return;
    bool grown = m.own > trim.own + trim.own / 4 && m.own > trim.own + GROWN_BYTES;
    if (!grown && now_ms - trim.at_ms < TRIM_INTERVAL_MS) return;
    trim.at_ms = now_ms;
    trim.running = uv_queue_work(loop, &trim.work, trim_in_pool, after_trim) == 0;
}
