/* The other end of a connection to a server of ours, in the same thread: plain non-blocking sockets, and a loop that is
 * run until what a test waits for is there or PEER_DEADLINE_MS have passed. */
#ifndef AURORA_TEST_PEER_H
#define AURORA_TEST_PEER_H

#include "core/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { PEER_DEADLINE_MS = 20000 };

struct peer {
    uv_loop_t *loop;
    int fd;
    struct buf in; /* received and not yet taken */
    bool eof, reset;
};

/* Runs the loop while the condition is false. The expression's value tells which of the two ended it. */
#define RUN_UNTIL(loop, cond)                                                                                          \
    ({                                                                                                                 \
        uint64_t end_ = uv_hrtime() + (uint64_t)PEER_DEADLINE_MS * 1000000;                                            \
        bool ok_ = (cond);                                                                                             \
        while (!ok_ && uv_hrtime() < end_) {                                                                           \
            if (!uv_run((loop), UV_RUN_NOWAIT)) usleep(100);                                                           \
            ok_ = (cond);                                                                                              \
        }                                                                                                              \
        ok_;                                                                                                           \
    })

static inline struct sockaddr_in peer_addr(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static inline struct peer peer_open(uv_loop_t *loop, uint16_t port)
{
    struct sockaddr_in a = peer_addr(port);
    struct peer p = { .loop = loop, .fd = socket(AF_INET, SOCK_STREAM, 0) };
    if (p.fd < 0 || connect(p.fd, (struct sockaddr *)&a, sizeof a)) abort();
    return p;
}

/* A listening socket; peers of ours are what it accepts. */
static inline int peer_listen(uint16_t *ret_port, int backlog)
{
    struct sockaddr_in a = peer_addr(0);
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) || listen(fd, backlog)) abort();
    if (getsockname(fd, (struct sockaddr *)&a, &n)) abort();
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static inline bool peer_accept_(int listener, struct peer *p)
{
    p->fd = accept(listener, NULL, NULL);
    return p->fd >= 0;
}

static inline bool peer_accept(uv_loop_t *loop, int listener, struct peer *ret)
{
    *ret = (struct peer){ .loop = loop, .fd = -1 };
    return RUN_UNTIL(loop, peer_accept_(listener, ret));
}

static inline void peer_close(struct peer *p)
{
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    buf_release(&p->in);
}

/* Closes with a reset. */
static inline void peer_reset(struct peer *p)
{
    struct linger l = { 1, 0 };
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    peer_close(p);
}

/* Sends all of it, running the loop while the socket is full. */
static inline bool peer_send_n(struct peer *p, const void *data, size_t n)
{
    const char *at = data;
    uint64_t end = uv_hrtime() + (uint64_t)PEER_DEADLINE_MS * 1000000;
    while (n && uv_hrtime() < end) {
        ssize_t k = send(p->fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN) return false;
        if (k > 0) at += k, n -= (size_t)k;
        if (n) uv_run(p->loop, UV_RUN_NOWAIT);
    }
    return !n;
}

static inline bool peer_send(struct peer *p, const char *text)
{
    return peer_send_n(p, text, strlen(text));
}

/* Takes what has arrived. */
static inline void peer_poll(struct peer *p)
{
    while (!p->eof && !p->reset) {
        ssize_t k = recv(p->fd, buf_reserve(&p->in, 65536), 65536, MSG_DONTWAIT);
        if (k < 0 && errno == EAGAIN) return;
        if (k > 0) buf_commit(&p->in, (size_t)k);
        p->eof = k == 0;
        p->reset = k < 0;
    }
}

static inline bool peer_has_(struct peer *p, const char *text)
{
    peer_poll(p);
    return memmem(p->in.data, p->in.len, text, strlen(text)) != NULL;
}

/* Until that text has come. */
static inline bool peer_expect(struct peer *p, const char *text)
{
    return RUN_UNTIL(p->loop, peer_has_(p, text) || p->eof || p->reset) && peer_has_(p, text);
}

static inline bool peer_got_(struct peer *p, size_t n)
{
    peer_poll(p);
    return p->in.len >= n;
}

static inline bool peer_expect_bytes(struct peer *p, size_t n)
{
    return RUN_UNTIL(p->loop, peer_got_(p, n) || p->eof || p->reset) && peer_got_(p, n);
}

static inline bool peer_over_(struct peer *p)
{
    peer_poll(p);
    return p->eof || p->reset;
}

/* Until the other side has closed; what came stays in p->in. */
static inline bool peer_expect_end(struct peer *p)
{
    return RUN_UNTIL(p->loop, peer_over_(p));
}

static inline unsigned peer_count(struct peer *p, const char *text)
{
    unsigned n = 0;
    peer_poll(p);
    for (const char *at = buf_cstr(&p->in);
         (at = memmem(at, p->in.len - (size_t)(at - (char *)p->in.data), text, strlen(text))); at += strlen(text))
        n++;
    return n;
}

#endif
