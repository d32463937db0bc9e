/* The ports: HTTP (RPC, endpoints), a second one for -thrift_port, libprocess. */
#include "admin/app.h"

#include "admin/exchange.h"
#include "core/err.h"
#include "core/logline.h"

#include <stdio.h>
#include <stdlib.h>

/* monit's documented probe waits two seconds for its answer. */
#define BARE_REQUEST_MS 300

static int new_server(struct app *a, struct http_server **ret)
{
    struct http_server_config c = {
        .stats = a->stats,
        .bare_request_ms = BARE_REQUEST_MS,
        .on_request = http_on_request,
        .on_abandoned = exchange_abandoned,
        .arg = a,
    };
    return http_server_new(a->loop, &c, ret);
}

/* On -ip, or on all addresses: IPv6's, which take IPv4 too, where the machine has it. */
static int bind_server(struct app *a, struct http_server *s, uint16_t port)
{
    const char *ip = flag_text(a->flags, FLAG_ip);
    if (ip) return http_server_listen(s, ip, port);
    int rv = http_server_listen(s, "::", port);
    return rv == 0 || rv == ERR_BUSY ? rv : http_server_listen(s, "0.0.0.0", port);
}

static int listen_one(struct app *a, enum flag_id flag, struct http_server **ret, struct buf *err)
{
    uint16_t port = (uint16_t)flag_int(a->flags, flag);
    int rv = new_server(a, ret);
    if (rv == 0) rv = bind_server(a, *ret, port);
    if (rv != 0) {
        const char *ip = flag_text(a->flags, FLAG_ip);
        buf_addf(err, "can't listen on %s:%u (flags -ip, -%s): %s", ip ? ip : "all addresses", port, flag_name(flag),
                 err_str(rv));
    }
    return rv;
}

int listen_http(struct app *a, struct buf *err_text)
{
    int rv = listen_one(a, FLAG_http_port, &a->http, err_text);
    if (rv == 0 && flag_text(a->flags, FLAG_thrift_port)) rv = listen_one(a, FLAG_thrift_port, &a->thrift, err_text);
    if (rv != 0) return rv;
    const char *ip = flag_text(a->flags, FLAG_ip);
    a->http_port = http_server_port(a->http);
    (void)snprintf(a->http_address, sizeof(a->http_address), "%s:%u", ip ? ip : "0.0.0.0", a->http_port);
    return 0;
}

/* A port of the environment; 0 if unset. */
static int env_port(const char *name, uint16_t *ret, struct buf *err)
{
    const char *text = getenv(name);
    *ret = 0;
    if (!text || !*text) return 0;
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || *text < '0' || *text > '9' || v > 65535) {
        buf_addf(err, "%s: '%s' is not a port", name, text);
        return ERR_INVALID;
    }
    *ret = (uint16_t)v;
    return 0;
}

int listen_libprocess(struct app *a, struct buf *err_text)
{
    const char *ip = getenv("LIBPROCESS_IP");
    const char *advertise = getenv("LIBPROCESS_ADVERTISE_IP");
    struct libprocess_config c = { .loop = a->loop,
                                   .ip = ip && *ip ? ip : "0.0.0.0",
                                   .advertise_ip = advertise && *advertise ? advertise : NULL,
                                   .stats = a->stats };
    int rv = env_port("LIBPROCESS_PORT", &c.port, err_text);
    if (rv == 0) rv = env_port("LIBPROCESS_ADVERTISE_PORT", &c.advertise_port, err_text);
    if (rv != 0) return rv;
    rv = libprocess_new(&c, &a->lp);
    if (rv != 0) {
        buf_addf(err_text, "can't listen for Mesos on %s:%u (LIBPROCESS_IP, LIBPROCESS_PORT): %s", c.ip, c.port,
                 err_str(rv));
        return rv;
    }
    (void)snprintf(a->libprocess_address, sizeof(a->libprocess_address), "%s:%u", c.ip, libprocess_port(a->lp));
    return 0;
}
