#include "net/libprocess_impl.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"
#include "net/tcp.h"

#include <assert.h>
#include <stdlib.h>

enum { KEEP_OUT_BYTES = 64 << 10 };

static void on_handle_closed(uv_handle_t *h)
{
    struct lp_conn *c = h->data;
    struct libprocess *lp = c->lp;
    if (--c->n_handles) return;
    DL_DELETE(lp->conns, c);
    buf_release(&c->writing);
    free(c);
    lp_handle_closed(lp);
}

void conn_end(struct lp_conn *c)
{
    if (c->closing) return;
    c->closing = true;
    c->peer = NULL;
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

/* The connection is of no use any more, for the reason given. */
static void conn_failed(struct lp_conn *c, int error)
{
    struct lp_peer *p = c->peer;
    char text[TCP_ADDR_TEXT_MAX];
    struct sockaddr_storage a = { 0 };
    conn_end(c);
    if (!p) return;
    memcpy(&a, &p->addr, sizeof p->addr);
    /* Who can't be reached is tried again with every message. */
    logline(c->connected ? LOG_INFO : LOG_DEBUG, c->connected ? "libprocess_disconnected" : "libprocess_unreachable",
            "peer=%s error=%s", tcp_addr_text(&a, text), error == UV_EOF ? "closed" : uv_err_name(error));
    peer_end(p);
}

static void on_timer(uv_timer_t *t)
{
    conn_failed(t->data, UV_ETIMEDOUT);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    struct lp_conn *c = h->data;
    (void)hint;
    *ret = uv_buf_init(c->lp->discard, DISCARD_BYTES);
}

/* Answers are never looked at; but unread they would fill the peer's buffers until it stops reading us. */
static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
    struct lp_conn *c = h->data;
    (void)b;
    if (n < 0 && !c->closing) conn_failed(c, (int)n);
}

static void conn_write(struct lp_conn *c);

static void on_written(uv_write_t *w, int status)
{
    struct lp_conn *c = w->data;
    c->is_writing = false;
    buf_release(&c->writing);
    if (c->closing) return;
    if (status)
        conn_failed(c, status);
    else
        conn_write(c);
}

/* Gives the kernel what waits for the peer; the rest is under way until on_written. */
static void conn_write(struct lp_conn *c)
{
    struct lp_peer *p = c->peer;
    if (!p || !c->connected || c->is_writing || !p->out.len) return;
    uv_buf_t v = uv_buf_init((char *)p->out.data, (unsigned)p->out.len);
    int done = uv_try_write((uv_stream_t *)&c->tcp, &v, 1);
    if (done < 0 && done != UV_EAGAIN) {
        conn_failed(c, done);
        return;
    }
    if (done == (int)p->out.len) {
        buf_reset(&p->out);
        if (p->out.cap > KEEP_OUT_BYTES) buf_release(&p->out);
        return;
    }
    size_t skip = done < 0 ? 0 : (size_t)done;
    c->writing = p->out;
    p->out = (struct buf){ 0 };
    v = uv_buf_init((char *)c->writing.data + skip, (unsigned)(c->writing.len - skip));
    int rv = uv_write(&c->write, (uv_stream_t *)&c->tcp, &v, 1, on_written);
    c->is_writing = !rv;
    if (rv) conn_failed(c, rv);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct lp_conn *c = req->data;
    if (c->closing) return;
    uv_timer_stop(&c->timer);
    if (!status) status = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (status) {
        conn_failed(c, status);
        return;
    }
    c->connected = true;
    uv_tcp_nodelay(&c->tcp, 1);
    conn_write(c);
}

static struct lp_conn *conn_open(struct lp_peer *p)
{
    struct libprocess *lp = p->lp;
    struct lp_conn *c = xcalloc(1, sizeof *c);
    if (uv_tcp_init(lp->loop, &c->tcp)) {
        free(c);
        return NULL;
    }
    uv_timer_init(lp->loop, &c->timer);
    c->tcp.data = c->timer.data = c->connect.data = c->write.data = c->shutdown.data = c;
    c->n_handles = 2;
    c->lp = lp;
    c->peer = p;
    DL_APPEND(lp->conns, c);
    lp->n_handles++;
    if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&p->addr, on_connect)) {
        conn_end(c);
        return NULL;
    }
    uv_timer_start(&c->timer, on_timer, lp->cfg.connect_timeout_ms, 0);
    return c;
}

static void connect_peer(struct lp_peer *p)
{
    p->conn = conn_open(p);
    if (p->conn) return;
    p->failing = true;
    peer_touch(p);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct lp_conn *c = req->data;
    (void)status;
    conn_end(c);
}

/* What is under way on it may still go out, within the time of a connect; nobody is told of its end. */
static void conn_retire(struct lp_conn *c)
{
    c->peer = NULL;
    if (!c->connected || !c->is_writing || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown)) {
        conn_end(c);
        return;
    }
    uv_timer_start(&c->timer, on_timer, c->lp->cfg.connect_timeout_ms, 0);
}

int peer_get(struct libprocess *lp, uint32_t ip, uint16_t port, struct lp_peer **ret)
{
    uint64_t key = (uint64_t)ip << 16 | port;
    struct lp_peer *p;
    HASH_FIND(hh, lp->peers, &key, sizeof key, p);
    if (!p) {
        if (HASH_COUNT(lp->peers) >= LIMIT_LIBPROCESS_PEERS) return ERR_FULL;
        p = xcalloc(1, sizeof *p);
        p->lp = lp;
        p->key = key;
        p->addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = ip };
        HASH_ADD(hh, lp->peers, key, sizeof p->key, p);
        connect_peer(p);
    }
    *ret = p;
    return 0;
}

size_t peer_waiting(const struct lp_peer *p)
{
    return p->out.len + (p->conn ? uv_stream_get_write_queue_size((const uv_stream_t *)&p->conn->tcp) : 0);
}

void peer_touch(struct lp_peer *p)
{
    if (p->is_dirty) return;
    p->is_dirty = true;
    DL_APPEND(p->lp->dirty, p);
    p->lp->n_dirty++;
    lp_kick(p->lp);
}

static void peer_untouch(struct lp_peer *p)
{
    if (!p->is_dirty) return;
    p->is_dirty = false;
    DL_DELETE(p->lp->dirty, p);
    p->lp->n_dirty--;
}

void peer_pump(struct lp_peer *p)
{
    peer_untouch(p);
    if (p->failing)
        peer_end(p);
    else
        conn_write(p->conn);
}

/* It is in no list but that of its process. */
static void link_free(struct lp_link *l)
{
    DL_DELETE2(l->process->links, l, p_prev, p_next);
    free(l);
}

void link_drop(struct lp_link *l)
{
    struct lp_link **list = l->peer ? &l->peer->links : &l->process->lp->local_links;
    DL_DELETE(*list, l);
    link_free(l);
}

/* From here on the address is free for a new peer, which a process may well ask for in on_exited. */
void peer_end(struct lp_peer *p)
{
    struct libprocess *lp = p->lp;
    peer_untouch(p);
    HASH_DEL(lp->peers, p);
    if (p->conn) conn_end(p->conn);
    if (p->out.len) lp_count(lp->dropped);
    buf_release(&p->out);
    struct lp_link *l;
    while ((l = p->links)) {
        struct lp_process *process = l->process;
        struct upid to = l->to;
        DL_DELETE(p->links, l);
        link_free(l);
        lp_count(lp->exits);
        if (!lp->closing && process->handlers.on_exited)
            process->handlers.on_exited(process, &to, process->handlers.arg);
    }
    free(p);
}

void peer_reconnect(struct lp_peer *p)
{
    if (p->failing) return;
    conn_retire(p->conn);
    connect_peer(p);
}
