/* The master's side of CRAM-MD5 (reference: mesos-scheduler, section 3): one libprocess process per attempt. */
#ifndef AURORA_MESOS_LOCAL_AUTHN_H
#define AURORA_MESOS_LOCAL_AUTHN_H

#include "core/buf.h"
#include "core/rng.h"
#include "mesos/local/timerq.h"
#include "net/libprocess.h"

struct authn;

struct authn_config {
    struct timerq *timers;
    int64_t timeout_ms;
    uint64_t seed;
    const char *hostname; /* in challenges */
    int64_t (*now_ms)(void *arg);
    /* An attempt for that scheduler begins, and ends; principal NULL: it has failed. */
    void (*on_begin)(const struct upid *scheduler, void *arg);
    void (*on_end)(const struct upid *scheduler, const char *principal, void *arg);
    void *arg;
};

struct authn *authn_new(const struct authn_config *c);
void authn_free(struct authn *a);
/* Lines "principal secret" or {"credentials": [{"principal": .., "secret": ..}]}. ERR_MALFORMED, ERR_TOO_BIG with a
 * reason. */
int authn_load(struct authn *a, struct str text, struct buf *err);
/* An AuthenticateMessage came to `master` from the authenticatee. Without credentials it is told that there is no
 * authenticator. */
void authn_start(struct authn *a, struct libprocess *lp, struct lp_process *master, const struct upid *from,
                 const void *body, size_t n);
/* The connections and processes are gone. */
void authn_reset(struct authn *a);

/* "principal 0123..." with the HMAC-MD5 of the challenge: is it right for one of the credentials? Returns the principal
 * or NULL. */
const char *authn_check(const struct authn *a, struct str answer, struct str challenge);

#endif
