/* Everything but the RPC that is served over HTTP (reference: http). One table says path, methods, handler and what it
 * is; routing, 405, OPTIONS and the index page follow from it. */
#ifndef AURORA_ADMIN_ENDPOINTS_H
#define AURORA_ADMIN_ENDPOINTS_H

#include "admin/app.h"
#include "admin/exchange.h"

/* Appends the body and may change status (200) and type. `rest` is what follows the path of a route that ends in /. */
struct page {
    struct app *app;
    struct http_request *request;
    struct str rest; /* decoded */
    int status;
    const char *content_type;
    struct buf *out;
    bool taken; /* the handler answers by itself, later */
};

struct route {
    const char *path;    /* one that ends in / takes whatever follows */
    const char *methods; /* "GET" (and HEAD), "POST" */
    void (*handler)(struct page *p);
    const char *content_type;
    bool needs_storage; /* 503 until storage is replayed; what it shows must be durable */
    const char *about;  /* on the index page; NULL: not there */
};

extern const struct route endpoint_routes[];
extern const size_t endpoint_n_routes;

/* The route of a decoded path or NULL; *rest is what follows. */
const struct route *endpoint_find(struct str path, struct str *rest);

/* Sends the page once all that it may show is durable. */
void page_send_durable(struct app *a, struct exchange *x);

/* ---- handlers: endpoints.c ---- */
void page_index(struct page *p);
void page_health(struct page *p);
void page_leaderhealth(struct page *p);
void page_replica(struct page *p);
void page_vars(struct page *p);
void page_vars_json(struct page *p);
void page_graphdata(struct page *p);
void page_quit(struct page *p);
void page_abort(struct page *p);
void page_services(struct page *p);
/* ---- endpoints_state.c ---- */
void page_agents(struct page *p);
void page_offers(struct page *p);
void page_pendingtasks(struct page *p);
void page_state(struct page *p);
void page_tiers(struct page *p);
void page_structdump(struct page *p);
void page_methods(struct page *p);

/* Text into HTML. */
void html_escape(struct str s, struct buf *out);
void html_begin(struct buf *out, const char *title);
void html_end(struct buf *out);

#endif
