#include "net/tcp.h"

#include "core/err.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

int tcp_addr(const char *ip, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_storage a = { 0 };
    if (uv_ip4_addr(ip, port, (struct sockaddr_in *)&a) && uv_ip6_addr(ip, port, (struct sockaddr_in6 *)&a))
        return ERR_INVALID;
    *ret = a;
    return 0;
}

uint16_t tcp_addr_port(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)a)->sin_port);
    assert(a->ss_family == AF_INET6);
    return ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
}

const char *tcp_addr_text(const struct sockaddr_storage *a, char out[TCP_ADDR_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (a->ss_family != AF_INET && a->ss_family != AF_INET6) return strcpy(out, "?");
    uv_ip_name((const struct sockaddr *)a, ip, sizeof ip);
    snprintf(out, TCP_ADDR_TEXT_MAX, a->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, tcp_addr_port(a));
    return out;
}

void tcp_ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

int tcp_listen(uv_tcp_t *h, const char *ip, uint16_t port, uv_connection_cb cb, uint16_t *ret_port)
{
    struct sockaddr_storage a, got = { 0 };
    int len = sizeof got;
    int rv = tcp_addr(ip, port, &a);
    if (rv) return rv;
    rv = uv_tcp_bind(h, (const struct sockaddr *)&a, 0);
    if (rv) return tcp_err(rv);
    /* Else libuv sleeps after each accept, so that several processes could share a listener. */
    uv_tcp_simultaneous_accepts(h, 1);
    rv = uv_listen((uv_stream_t *)h, TCP_BACKLOG, cb);
    if (rv) return tcp_err(rv);
    rv = uv_tcp_getsockname(h, (struct sockaddr *)&got, &len);
    if (rv) return tcp_err(rv);
    *ret_port = tcp_addr_port(&got);
    return 0;
}

int tcp_err(int uv_error)
{
    switch (uv_error) {
    case 0:
        return 0;
    case UV_EADDRINUSE:
        return ERR_BUSY;
    case UV_EADDRNOTAVAIL:
    case UV_EINVAL:
        return ERR_INVALID;
    case UV_ECONNREFUSED:
        return ERR_REFUSED;
    case UV_ETIMEDOUT:
        return ERR_TIMEOUT;
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_EPIPE:
    case UV_ECANCELED:
        return ERR_CLOSED;
    default:
        return ERR_IO;
    }
}
