/* Which of several schedulers leads: the ZooKeeper session, our candidacy and advertisement at -serverset_path, and the
 * leader that is advertised there. With a single scheduler (no -zk_endpoints) there is no struct lead.
 *
 * A leader stays one through disconnections that are shorter than the session. It is over, for good, when the session
 * is: on_over comes by the local clock, before the server can have let another one lead. */
#ifndef AURORA_ADMIN_LEAD_H
#define AURORA_ADMIN_LEAD_H

#include "admin/flags.h"
#include "core/stats.h"
#include "zk/election.h"

#include <uv.h>

struct lead;

struct lead_config {
    uv_loop_t *loop;
    const struct flags *flags; /* borrowed */
    const char *host;          /* advertised */
    uint16_t port;
    struct stats *stats;
    void (*on_elected)(void *arg);
    /* The process has to end: leadership is lost, or there is nothing to be had. Last callback. */
    void (*on_over)(int exit_status, const char *why, void *arg);
    void *arg;
};

/* Strings are copied. Follows who leads, from now on. ERR_INVALID with a line in err_text. */
int lead_new(const struct lead_config *c, struct lead **ret, struct buf *err_text);
void lead_stand(struct lead *l);     /* becomes a candidate */
void lead_advertise(struct lead *l); /* elected and active: clients may come */
/* Gives up candidacy, advertisement and session. No callback runs after the call; then cb. */
void lead_close(struct lead *l, void (*cb)(void *arg), void *arg);

enum lead_who {
    LEAD_NOBODY, /* or more than one, or it is not known */
    LEAD_US,
    LEAD_OTHER,
};
/* The advertised leader; *ret is set for LEAD_OTHER and LEAD_US. ret may be NULL. */
enum lead_who lead_who(const struct lead *l, struct zk_endpoint *ret);

/* A session in which paths are as they are, without -zk_chroot_path. */
struct zk_session *lead_session(const struct lead *l);

#endif
