/* Load for an etcd member, over its own protocol (gRPC on HTTP/2), with little CPU of its own: bench_etcd PORT. Takes
 * commands on standard input, one a line, each answered by one line, a JSON object as bench_append prints it:
 *
 *   put CALLERS SECONDS   puts of about ENTRY_BYTES (the values; keys take turns), each caller when its last one is
 *                         answered. Callers share connections, CALLERS_PER_CONN to each.
 *
 * It ends with its standard input. Only what a unary call needs of HTTP/2 is there: headers are sent as literals and
 * those received are not read, because a call that failed has no data. */
#include "test/bench/lib/measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENTRY_BYTES = 1024, KEYS = 10000, CALLERS_MAX = 256, CALLERS_PER_CONN = 8, IN_BYTES = 64 << 10 };
enum { FRAME_HEADER = 9, WINDOW_FIRST = 65535, WINDOW_GIVE = 16 << 10, TIMEOUT_MS = 20000 };
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };

struct caller {
    uint32_t stream; /* 0: no call under way */
    bool has_data;
    uint64_t asked_ns;
};

struct conn {
    int fd;
    uint32_t next_stream;
    int64_t window; /* what may be sent yet */
    uint32_t taken; /* received since the last WINDOW_UPDATE */
    uint8_t in[IN_BYTES], out[IN_BYTES];
    size_t in_n, out_n;
    struct caller callers[CALLERS_PER_CONN];
    unsigned n_callers;
};

static struct conn conns[CALLERS_MAX / CALLERS_PER_CONN];
static unsigned n_conns, under_way, next_key;
static uint16_t port;
static uint64_t until_ns;
static struct turn turn;

static void die(const char *why)
{
    fprintf(stderr, "etcd: %s\n", why);
    exit(1);
}

/* ---- frames out ---- */

static uint8_t *frame(struct conn *c, size_t n, uint8_t type, uint8_t flags, uint32_t stream)
{
    uint8_t *p = c->out + c->out_n;
    if (c->out_n + FRAME_HEADER + n > sizeof(c->out)) die("it does not take what is sent");
    uint32_t id = htonl(stream);
    p[0] = (uint8_t)(n >> 16), p[1] = (uint8_t)(n >> 8), p[2] = (uint8_t)n;
    p[3] = type, p[4] = flags;
    memcpy(p + 5, &id, sizeof(id));
    c->out_n += FRAME_HEADER + n;
    return p + FRAME_HEADER;
}

static void send_out(struct conn *c)
{
    size_t done = 0;
    while (done < c->out_n) {
        ssize_t n = write(c->fd, c->out + done, c->out_n - done);
        if (n < 0) die(strerror(errno));
        done += (size_t)n;
    }
    c->out_n = 0;
}

/* HPACK without a table of ours: fields of the static table, and literals that are not to be indexed. */
static const char call_headers[] = "\x83\x86"
                                   "\x04\x14/etcdserverpb.KV/Put"
                                   "\x01\x09localhost"
                                   "\x0f\x10\x10"
                                   "application/grpc"
                                   "\x00\x02te\x08trailers";

/* PutRequest: key (1) and value (2), behind gRPC's prefix. */
static void call(struct conn *c, struct caller *k)
{
    static char value[ENTRY_BYTES];
    char key[16];
    size_t key_n = (size_t)snprintf(key, sizeof(key), "k%u", next_key++ % KEYS);
    size_t message = 2 + key_n + 3 + sizeof(value);
    c->window -= (int64_t)(5 + message);
    if (c->window < 0) die("the window of a connection is used up");
    *k = (struct caller){ .stream = c->next_stream, .asked_ns = measure_now_ns() };
    c->next_stream += 2;
    memcpy(frame(c, sizeof(call_headers) - 1, HEADERS, END_HEADERS, k->stream), call_headers, sizeof(call_headers) - 1);
    uint8_t *p = frame(c, 5 + message, DATA, END_STREAM, k->stream);
    uint32_t n = htonl((uint32_t)message);
    *p++ = 0;
    memcpy(p, &n, sizeof(n)), p += sizeof(n);
    *p++ = 0x0a, *p++ = (uint8_t)key_n;
    memcpy(p, key, key_n), p += key_n;
    *p++ = 0x12, *p++ = 0x80 | (ENTRY_BYTES & 0x7f), *p++ = ENTRY_BYTES >> 7;
    memcpy(p, value, sizeof(value));
    under_way++;
}

/* ---- frames in ---- */

static struct caller *caller_of(struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < c->n_callers; i++)
        if (c->callers[i].stream == stream) return &c->callers[i];
    die("an answer to nobody");
    return NULL;
}

static void answered(struct conn *c, struct caller *k)
{
    uint64_t now = measure_now_ns();
    if (!k->has_data) die("a put was refused");
    latencies_add(&turn.latencies, now - k->asked_ns);
    under_way--;
    k->stream = 0;
    if (now < until_ns) call(c, k);
}

static void give_window(struct conn *c, uint32_t n)
{
    c->taken += n;
    if (c->taken < WINDOW_GIVE) return;
    uint32_t more = htonl(c->taken);
    memcpy(frame(c, sizeof(more), WINDOW_UPDATE, 0, 0), &more, sizeof(more));
    c->taken = 0;
}

static void take(struct conn *c, uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *body, uint32_t n)
{
    uint32_t more;
    if (type == DATA) {
        caller_of(c, stream)->has_data = true;
        give_window(c, n);
    } else if (type == HEADERS && flags & END_STREAM) {
        answered(c, caller_of(c, stream));
    } else if (type == SETTINGS && !(flags & ACK)) {
        (void)frame(c, 0, SETTINGS, ACK, 0);
    } else if (type == PING && !(flags & ACK)) {
        memcpy(frame(c, n, PING, ACK, 0), body, n);
    } else if (type == WINDOW_UPDATE && stream == 0 && n == sizeof(more)) {
        memcpy(&more, body, sizeof(more));
        c->window += ntohl(more);
    } else if (type == RST_STREAM || type == GOAWAY) {
        die("it ends a call");
    }
}

static void receive(struct conn *c)
{
    size_t at = 0;
    ssize_t got = read(c->fd, c->in + c->in_n, sizeof(c->in) - c->in_n);
    if (got <= 0) die("it closes the connection");
    c->in_n += (size_t)got;
    while (c->in_n - at >= FRAME_HEADER) {
        const uint8_t *p = c->in + at;
        uint32_t n = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2], stream;
        memcpy(&stream, p + 5, sizeof(stream));
        if (c->in_n - at < FRAME_HEADER + n) break;
        take(c, p[3], p[4], ntohl(stream), p + FRAME_HEADER, n);
        at += FRAME_HEADER + n;
    }
    memmove(c->in, c->in + at, c->in_n - at);
    c->in_n -= at;
    send_out(c);
}

/* ---- turns ---- */

static void open_conn(struct conn *c)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    int on = 1;
    *c = (struct conn){ .fd = socket(AF_INET, SOCK_STREAM, 0), .next_stream = 1, .window = WINDOW_FIRST };
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a))) die(strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    memcpy(c->out, preface, sizeof(preface) - 1);
    c->out_n = sizeof(preface) - 1;
    (void)frame(c, 0, SETTINGS, 0, 0);
    send_out(c);
}

static void begin(unsigned callers)
{
    for (unsigned i = 0; callers; i++) {
        if (i == n_conns) open_conn(&conns[n_conns++]);
        struct conn *c = &conns[i];
        for (c->n_callers = 0; c->n_callers < CALLERS_PER_CONN && callers; callers--)
            call(c, &c->callers[c->n_callers++]);
        send_out(c);
    }
}

static void put(unsigned callers, double seconds)
{
    struct pollfd fds[CALLERS_MAX / CALLERS_PER_CONN];
    turn_begin(&turn);
    until_ns = turn.began_ns + (uint64_t)(seconds * 1e9);
    begin(callers);
    while (under_way) {
        for (unsigned i = 0; i < n_conns; i++) fds[i] = (struct pollfd){ conns[i].fd, POLLIN, 0 };
        if (poll(fds, n_conns, TIMEOUT_MS) <= 0) die("no answer");
        for (unsigned i = 0; i < n_conns; i++)
            if (fds[i].revents) receive(&conns[i]);
    }
    turn_end(&turn, 1);
}

int main(int argc, char **argv)
{
    char line[256];
    unsigned callers;
    double seconds;
    if (argc != 2) return 2;
    port = (uint16_t)atoi(argv[1]);
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "put %u %lf", &callers, &seconds) != 2 || !callers || callers > CALLERS_MAX) return 2;
        put(callers, seconds);
    }
    return 0;
}
