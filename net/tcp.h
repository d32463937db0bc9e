/* Small things that every user of uv_tcp_t needs. */
#ifndef AURORA_NET_TCP_H
#define AURORA_NET_TCP_H

#include "core/buf.h"

#include <uv.h>

enum { TCP_BACKLOG = 4096, TCP_ADDR_TEXT_MAX = 64 };

/* An IPv4 or IPv6 literal. ERR_INVALID. */
int tcp_addr(const char *ip, uint16_t port, struct sockaddr_storage *ret);
uint16_t tcp_addr_port(const struct sockaddr_storage *a);
/* "1.2.3.4:80" or "[::1]:80", for log lines. Returns out. */
const char *tcp_addr_text(const struct sockaddr_storage *a, char out[TCP_ADDR_TEXT_MAX]);
/* From now on writing to a connection that the peer has reset is an error and not the end of the process. Everything in
 * net/ that writes calls it; children started by libuv get the default back. */
void tcp_ignore_sigpipe(void);
/* Binds an initialised handle and listens; *ret_port is the port it got. ERR_BUSY, ERR_INVALID, ERR_IO; the handle is
 * the caller's to close in any case. */
int tcp_listen(uv_tcp_t *h, const char *ip, uint16_t port, uv_connection_cb cb, uint16_t *ret_port);
/* libuv's error as ours; 0 stays 0. */
int tcp_err(int uv_error);

#endif
