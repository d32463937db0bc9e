#include "mesos/local/faults.h"

#include "core/err.h"
#include "core/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

enum { REORDER_WAIT_MS = 1000 };

struct held {
    struct faults *f;
    struct timer timer;
    bool incoming, reorder;
    struct upid peer;
    struct buf name, body;
    struct held *prev, *next;
};

struct faults {
    struct faults_config config;
    struct fault rules[LIMIT_LOCAL_FAULTS];
    uint32_t n_rules, n_held;
    struct held *held;
};

struct faults *faults_new(const struct faults_config *c)
{
    struct faults *f = xcalloc(1, sizeof *f);
    f->config = *c;
    return f;
}

static void held_free(struct held *h)
{
    struct faults *f = h->f;
    timer_stop(f->config.timers, &h->timer);
    DL_DELETE(f->held, h);
    f->n_held--;
    buf_release(&h->name);
    buf_release(&h->body);
    free(h);
}

void faults_forget(struct faults *f)
{
    while (f->held) held_free(f->held);
}

void faults_free(struct faults *f)
{
    if (!f) return;
    faults_forget(f);
    free(f);
}

int faults_add(struct faults *f, const struct fault *rule)
{
    if (f->n_rules == LIMIT_LOCAL_FAULTS) return ERR_FULL;
    f->rules[f->n_rules++] = *rule;
    return 0;
}

void faults_clear(struct faults *f)
{
    f->n_rules = 0;
}

uint32_t faults_list(const struct faults *f, const struct fault **ret)
{
    *ret = f->rules;
    return f->n_rules;
}

/* ---------------- messages ---------------- */

static void deliver(struct faults *f, bool incoming, const struct upid *peer, struct str name, const void *body,
                    size_t n)
{
    f->config.deliver(incoming, peer, name, body, n, f->config.arg);
}

/* Out of the list first: the delivery may lead to further messages. */
static void let_go(struct held *h)
{
    struct faults *f = h->f;
    struct buf name = h->name, body = h->body;
    struct upid peer = h->peer;
    bool incoming = h->incoming;
    h->name = h->body = (struct buf){ 0 };
    held_free(h);
    deliver(f, incoming, &peer, (struct str){ (const char *)name.data, (uint32_t)name.len }, body.data, body.len);
    buf_release(&name);
    buf_release(&body);
}

static void time_is_up(struct timer *t, void *arg)
{
    (void)t;
    let_go(arg);
}

static void hold(struct faults *f, bool incoming, bool reorder, const struct upid *peer, struct str name,
                 const void *body, size_t n, int64_t until_ms)
{
    if (f->n_held == LIMIT_LOCAL_HELD_MESSAGES) {
        assert(f->held);
        let_go(f->held);
    }
    struct held *h = xcalloc(1, sizeof *h);
    h->f = f;
    h->incoming = incoming;
    h->reorder = reorder;
    h->peer = *peer;
    buf_add_str(&h->name, name);
    buf_cstr(&h->name);
    buf_add(&h->body, body, n);
    DL_APPEND(f->held, h);
    f->n_held++;
    timer_start(f->config.timers, &h->timer, until_ms, time_is_up, h);
}

static bool name_matches(const struct fault *r, struct str name, struct str kind)
{
    struct str want = str_c(r->name);
    if (strcmp(r->name, "*") == 0 || str_eq(want, name)) return true;
    if (kind.p && str_eq(want, kind)) return true;
    return name.n > want.n && name.p[name.n - want.n - 1] == '.' &&
           memcmp(name.p + name.n - want.n, want.p, want.n) == 0;
}

/* The rule that has this message, its counters moved on. */
static const struct fault *take(struct faults *f, bool incoming, struct str name, struct str kind)
{
    for (uint32_t i = 0; i < f->n_rules; i++) {
        struct fault *r = &f->rules[i];
        if (r->incoming != incoming || !r->count || !name_matches(r, name, kind)) continue;
        if (r->skip) {
            r->skip--;
            continue;
        }
        if (r->count != UINT32_MAX) r->count--;
        r->hits++;
        return r;
    }
    return NULL;
}

/* Those that waited for this message to pass. */
static void release_reordered(struct faults *f, bool incoming, const struct upid *peer, const struct held *newest)
{
    struct held *h, *next;
    DL_FOREACH_SAFE(f->held, h, next)
    {
        if (h->reorder && h->incoming == incoming && upid_eq(&h->peer, peer)) let_go(h);
        if (h == newest) return;
    }
}

void faults_pass(struct faults *f, bool incoming, const struct upid *peer, struct str name, struct str kind,
                 const void *body, size_t n, int64_t now_ms)
{
    const struct fault *r = take(f, incoming, name, kind);
    const struct held *newest = f->held ? f->held->prev : NULL;
    if (r && r->action == FAULT_DROP) return;
    if (r && (r->action == FAULT_DELAY || r->action == FAULT_REORDER)) {
        bool reorder = r->action == FAULT_REORDER;
        int64_t ms = reorder && !r->delay_ms ? REORDER_WAIT_MS : r->delay_ms;
        hold(f, incoming, reorder, peer, name, body, n, now_ms + ms);
        return;
    }
    deliver(f, incoming, peer, name, body, n);
    if (r) deliver(f, incoming, peer, name, body, n);
    if (newest) release_reordered(f, incoming, peer, newest);
}
