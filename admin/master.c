#include "admin/master.h"

#include "core/buf.h"
#include "core/err.h"
#include "core/logline.h"
#include "zk/detector.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* How long a lost or unresolved master is left alone before its address is looked up again. */
#define RETRY_MS 1000
/* Of a session of our own: what Mesos's own scheduler library has. */
#define SESSION_TIMEOUT_MS 10000

struct master {
    struct master_config cfg;
    char *address;
    uv_timer_t retry;
    uv_getaddrinfo_t resolve;
    bool resolving, closing;
    struct zk_session *session; /* our own, or NULL */
    struct zk_detector *detector;
    unsigned parts; /* that are still closing */
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void part_closed(struct master *m)
{
    assert(m->parts > 0);
    if (--m->parts) return;
    void (*cb)(void *) = m->close_cb;
    void *arg = m->close_arg;
    free(m->address);
    free(m);
    if (cb) cb(arg);
}

static void on_retry(uv_timer_t *t);

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct master *m = req->data;
    m->resolving = false;
    if (m->closing) {
        part_closed(m);
    } else if (status == 0) {
        char ip[INET_ADDRSTRLEN];
        char pid[64];
        uv_ip4_name((struct sockaddr_in *)list->ai_addr, ip, sizeof(ip));
        (void)snprintf(pid, sizeof(pid), "master@%s:%s", ip, strrchr(m->address, ':') + 1);
        m->cfg.on_master(pid, m->cfg.arg);
    } else {
        logline(LOG_WARN, "master_unresolved", "address=%s reason=\"%s\"", m->address, uv_strerror(status));
        uv_timer_start(&m->retry, on_retry, RETRY_MS, 0);
    }
    uv_freeaddrinfo(list);
}

static void on_retry(uv_timer_t *t)
{
    struct master *m = t->data;
    if (m->resolving) return;
    char host[256];
    (void)snprintf(host, sizeof(host), "%.*s", (int)(strrchr(m->address, ':') - m->address), m->address);
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    m->resolve.data = m;
    m->resolving = uv_getaddrinfo(m->cfg.loop, &m->resolve, on_resolved, host, NULL, &hints) == 0;
    if (!m->resolving) uv_timer_start(&m->retry, on_retry, RETRY_MS, 0);
}

static void on_detected(const char *pid, void *arg)
{
    struct master *m = arg;
    logline(pid ? LOG_INFO : LOG_WARN, "mesos_master", "detected=%s", pid ? pid : "none");
    m->cfg.on_master(pid, m->cfg.arg);
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static int detect(struct master *m)
{
    struct zk_url url;
    int rv = zk_url_parse(m->address, &url);
    if (rv != 0) return ERR_INVALID;
    struct zk_session *session = m->cfg.session;
    if (!session || !same_text(url.endpoints, m->cfg.session_endpoints) ||
        !same_text(url.credentials, m->cfg.session_credentials)) {
        struct zk_session_config c = { .loop = m->cfg.loop,
                                       .endpoints = url.endpoints,
                                       .session_timeout_ms = SESSION_TIMEOUT_MS,
                                       .digest = url.credentials[0] ? url.credentials : NULL };
        rv = zk_session_new(&c, &m->session);
        if (rv != 0) return rv;
        session = m->session;
    }
    struct zk_detector_config d = { .session = session, .path = url.path, .on_master = on_detected, .arg = m };
    return zk_detector_new(&d, &m->detector);
}

static void on_failed_start(void *arg)
{
    (void)arg;
}

int master_new(const struct master_config *c, struct master **ret)
{
    struct master *m = xcalloc(1, sizeof(*m));
    m->cfg = *c;
    m->address = xstrdup(c->address);
    uv_timer_init(c->loop, &m->retry);
    m->retry.data = m;
    int rv = 0;
    if (strncmp(c->address, "zk://", 5) == 0)
        rv = detect(m);
    else
        uv_timer_start(&m->retry, on_retry, 0, 0);
    if (rv != 0)
        master_close(m, on_failed_start, NULL);
    else
        *ret = m;
    return rv;
}

/* A detected master needs nothing: the driver connects again by itself, and ZooKeeper tells of another one. */
void master_lost(struct master *m)
{
    if (!m->detector) uv_timer_start(&m->retry, on_retry, RETRY_MS, 0);
}

void master_found(struct master *m)
{
    uv_timer_stop(&m->retry);
}

static void on_session_closed(void *arg)
{
    part_closed(arg);
}

static void on_timer_closed(uv_handle_t *h)
{
    part_closed(h->data);
}

void master_close(struct master *m, void (*cb)(void *arg), void *arg)
{
    m->closing = true;
    m->close_cb = cb;
    m->close_arg = arg;
    m->parts = 1U + m->resolving + (m->session != NULL);
    zk_detector_free(m->detector);
    m->detector = NULL;
    if (m->session) zk_session_close(m->session, on_session_closed, m);
    uv_close((uv_handle_t *)&m->retry, on_timer_closed);
}
