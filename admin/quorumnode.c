#include "admin/quorumnode.h"

#include "core/buf.h"

#include <stdlib.h>

enum { RETRY_MS = 2000 };

struct quorumnode {
    struct quorumnode_config c;
    char *path;
    struct zk_listener *listener;
    uv_timer_t *retry; /* own allocation: closing it outlives us */
    bool known, reading, dirty, writing, over;
    int32_t version; /* of what is known */
    void (*written)(int err, void *arg);
    void *written_arg;
};

static void read_node(struct quorumnode *n);

static void fail(struct quorumnode *n, const char *why)
{
    if (n->over) return;
    n->over = true;
    n->c.on_failed(why, n->c.arg);
}

static void on_retry(uv_timer_t *t)
{
    read_node(t->data);
}

static void retry_later(struct quorumnode *n)
{
    if (zk_connected(n->c.session)) uv_timer_start(n->retry, on_retry, RETRY_MS, 0);
}

static void refuse_data(struct quorumnode *n)
{
    struct buf why = { 0 };
    buf_addf(&why,
             "the data of the znode %s is no quorum record of this version: look at it, and if nobody needs it, delete "
             "the znode, or give another -native_log_zk_group_path",
             n->path);
    fail(n, buf_cstr(&why));
    buf_release(&why);
}

static void tell(struct quorumnode *n, const struct zk_result *r)
{
    struct quorum_record record = { 0 };
    if (r->data.n && quorum_decode(r->data.p, r->data.n, &record)) {
        refuse_data(n);
        return;
    }
    n->known = true;
    n->version = r->version;
    n->c.on_record(&record, n->c.arg);
}

static void refuse(struct quorumnode *n, const char *what)
{
    struct buf why = { 0 };
    zk_refusal(n->c.session, what, n->path, &why);
    fail(n, buf_cstr(&why));
    buf_release(&why);
}

static void on_made(const struct zk_result *r, void *arg)
{
    struct quorumnode *n = arg;
    n->reading = false;
    if (r->err == 0)
        read_node(n);
    else if (r->err == ERR_REFUSED)
        refuse(n, "make the group's path");
    else
        retry_later(n);
}

static void on_changed(void *arg)
{
    struct quorumnode *n = arg;
    n->dirty = true;
    read_node(n);
}

static void on_read(const struct zk_result *r, void *arg)
{
    struct quorumnode *n = arg;
    n->reading = false;
    if (r->err == ERR_NOT_FOUND)
        n->reading = zk_ensure_path(n->c.session, n->path, on_made, n) == 0;
    else if (r->err == ERR_REFUSED)
        refuse(n, "read the group's znode");
    else if (r->err)
        retry_later(n);
    else if (n->dirty)
        read_node(n);
    else
        tell(n, r);
}

static void read_node(struct quorumnode *n)
{
    if (n->reading || n->over) return;
    n->dirty = false;
    n->reading = zk_get_watch(n->c.session, n->path, on_changed, on_read, n) == 0;
}

static void on_session(enum zk_event ev, void *arg)
{
    struct quorumnode *n = arg;
    if (ev == ZK_LOST)
        n->known = n->reading = false;
    else if (ev == ZK_CONNECTED || ev == ZK_RECONNECTED)
        read_node(n);
    else if (ev == ZK_AUTH_FAILED)
        fail(n, "ZooKeeper refuses the credentials");
}

int quorumnode_new(const struct quorumnode_config *c, struct quorumnode **ret)
{
    if (!c->path || c->path[0] != '/' || !c->path[1]) return ERR_INVALID;
    struct quorumnode *n = xcalloc(1, sizeof(*n));
    n->c = *c;
    n->path = xstrdup(c->path);
    n->retry = xmalloc(sizeof(*n->retry));
    uv_timer_init(zk_loop(c->session), n->retry);
    n->retry->data = n;
    n->listener = zk_listen(c->session, on_session, n);
    if (zk_connected(c->session)) read_node(n);
    *ret = n;
    return 0;
}

static void on_written(const struct zk_result *r, void *arg)
{
    struct quorumnode *n = arg;
    n->writing = false;
    if (r->err == 0) n->version = r->version;
    if (r->err == ERR_REJECTED) on_changed(n);
    n->written(r->err, n->written_arg);
}

int quorumnode_write(struct quorumnode *n, const struct quorum_record *r, void (*cb)(int err, void *arg), void *arg)
{
    struct buf data = { 0 };
    if (!n->known || n->over) return ERR_CLOSED;
    if (n->writing) return ERR_BUSY;
    n->written = cb;
    n->written_arg = arg;
    quorum_encode(r, &data);
    int err = zk_set(n->c.session, n->path, (struct str){ (const char *)data.data, (uint32_t)data.len }, n->version,
                     on_written, n);
    n->writing = err == 0;
    buf_release(&data);
    return err;
}

static void on_closed(uv_handle_t *h)
{
    free(h);
}

void quorumnode_free(struct quorumnode *n)
{
    if (!n) return;
    zk_forget(n->c.session, n);
    zk_unlisten(n->listener);
    uv_close((uv_handle_t *)n->retry, on_closed);
    free(n->path);
    free(n);
}
