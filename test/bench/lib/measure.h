/* What the programs of test/bench have in common: a clock, latencies with their percentiles, and the one line that ends
 * a turn. */
#ifndef AURORA_TEST_BENCH_MEASURE_H
#define AURORA_TEST_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Monotonic. */
uint64_t measure_now_ns(void);
/* CPU time that this process has used, all threads. */
uint64_t measure_cpu_ns(void);
/* Bytes that the TCP connections which this process has open have sent, by the kernel's count, headers left out. */
uint64_t measure_tcp_sent(void);

/* Zero-initialised is empty and valid. */
struct latencies {
    uint64_t *ns;
    size_t n, cap;
};

void latencies_add(struct latencies *l, uint64_t ns);
/* Keeps the memory. */
void latencies_reset(struct latencies *l);
/* The latency that the given share of all is not above, in ms; 0 of none. Sorts. */
double latencies_ms(struct latencies *l, double share);

/* One turn: so many operations, each with its latency. */
struct turn {
    struct latencies latencies;
    uint64_t began_ns, began_cpu_ns;
};

void turn_begin(struct turn *t);
/* Prints the turn as a JSON line: per_second, n, p50_ms, p99_ms, max_ms, cpu (of this process, in cores). `each` is how
 * many things one latency stands for. */
void turn_end(struct turn *t, unsigned each);

#endif
