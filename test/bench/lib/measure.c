#include "test/bench/lib/measure.h"

#include "core/buf.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { FDS_MAX = 256 };

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t measure_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t measure_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t measure_tcp_sent(void)
{
    uint64_t sent = 0;
    for (int fd = 0; fd < FDS_MAX; fd++) {
        struct tcp_info info = { 0 };
        socklen_t n = sizeof(info);
        if (!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n)) sent += info.tcpi_bytes_sent;
    }
    return sent;
}

void latencies_add(struct latencies *l, uint64_t ns)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 1024;
        l->ns = xrealloc(l->ns, l->cap * sizeof(*l->ns));
    }
    l->ns[l->n++] = ns;
}

void latencies_reset(struct latencies *l)
{
    l->n = 0;
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

double latencies_ms(struct latencies *l, double share)
{
    if (!l->n) return 0;
    qsort(l->ns, l->n, sizeof(*l->ns), by_time);
    size_t i = (size_t)(share * (double)l->n);
    return (double)l->ns[i < l->n ? i : l->n - 1] / 1e6;
}

void turn_begin(struct turn *t)
{
    latencies_reset(&t->latencies);
    t->began_ns = measure_now_ns();
    t->began_cpu_ns = measure_cpu_ns();
}

void turn_end(struct turn *t, unsigned each)
{
    double ns = (double)(measure_now_ns() - t->began_ns), cpu = (double)(measure_cpu_ns() - t->began_cpu_ns);
    size_t n = t->latencies.n * each;
    printf("{\"per_second\": %.1f, \"n\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"cpu\": %.3f}\n",
           (double)n / (ns / 1e9), n, latencies_ms(&t->latencies, 0.5), latencies_ms(&t->latencies, 0.99),
           latencies_ms(&t->latencies, 1), cpu / ns);
    fflush(stdout);
}
