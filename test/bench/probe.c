/* How long a server keeps a small request waiting: bench_probe PORT. Takes commands on standard input, each answered by
 * one line, a JSON object as bench_append prints it:
 *
 *   health SECONDS   GET /health over one connection, the next one 1 ms behind each answer
 *
 * It ends with its standard input. */
#include "test/bench/lib/measure.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_NS = 1000000, TIMEOUT_S = 60 };

static int open_conn(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval timeout = { .tv_sec = TIMEOUT_S };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a))) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    return fd;
}

/* The answer is a few hundred bytes, written at once. */
static void ask(int fd)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char answer[4096];
    ssize_t n = write(fd, request, sizeof(request) - 1);
    if (n == sizeof(request) - 1) n = read(fd, answer, sizeof(answer) - 1);
    if (n > 0) answer[n] = 0;
    if (n > 0 && strstr(answer, "200 OK") && strstr(answer, "\r\n\r\nOK")) return;
    fprintf(stderr, "/health: not OK\n");
    exit(1);
}

static void health(uint16_t port, double seconds)
{
    static struct turn t;
    int fd = open_conn(port);
    ask(fd);
    turn_begin(&t);
    uint64_t until = t.began_ns + (uint64_t)(seconds * 1e9), now = t.began_ns;
    while (now < until) {
        ask(fd);
        latencies_add(&t.latencies, measure_now_ns() - now);
        nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
        now = measure_now_ns();
    }
    close(fd);
    turn_end(&t, 1);
}

int main(int argc, char **argv)
{
    char line[64];
    double seconds;
    if (argc != 2) return 2;
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "health %lf", &seconds) != 1) return 2;
        health((uint16_t)atoi(argv[1]), seconds);
    }
    return 0;
}
