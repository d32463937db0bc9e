#include "mesos/cram_md5.h"
#include "mesos/driver_internal.h"
#include "mesos/proto.h"

#include "core/err.h"
#include "core/logline.h"

#include <assert.h>
#include <stdlib.h>

#include "mesos/authentication.pb-c.h"

/* Longer challenges are no challenges. */
enum { CHALLENGE_BYTES_MAX = 1024 };

static void send_to(struct driver *d, const struct upid *to, const char *name, const void *message)
{
    struct buf b = { 0 };
    proto_pack(message, &b);
    int err = lp_send(d->auth.self, to, name, b.data, b.len);
    if (err) logline(LOG_ERROR, "mesos_send", "message=%s error=\"%s\"", name, err_str(err));
    buf_release(&b);
}

static bool offers_cram_md5(const Mesos__Internal__AuthenticationMechanismsMessage *m)
{
    for (size_t i = 0; i < m->n_mechanisms; i++)
        if (strcmp(m->mechanisms[i], "CRAM-MD5") == 0) return true;
    return false;
}

/* The session's pid is known from here on; the rest goes there and not to the master's own. */
static bool on_mechanisms(struct driver *d, const struct upid *from, const void *message)
{
    if (d->auth.step != AUTH_ASKED || !offers_cram_md5(message)) return false;
    d->auth.session = *from;
    d->auth.step = AUTH_STARTED;
    Mesos__Internal__AuthenticationStartMessage m = MESOS__INTERNAL__AUTHENTICATION_START_MESSAGE__INIT;
    m.mechanism = "CRAM-MD5";
    m.has_data = true; /* empty, as the C++ driver has it */
    send_to(d, from, "mesos.internal.AuthenticationStartMessage", &m);
    return true;
}

static bool on_step(struct driver *d, const struct upid *from, const void *message)
{
    const Mesos__Internal__AuthenticationStepMessage *m = message;
    if (d->auth.step != AUTH_STARTED || !upid_eq(from, &d->auth.session)) return false;
    if (m->data.len > CHALLENGE_BYTES_MAX) return false;
    d->auth.step = AUTH_ANSWERED;
    struct buf answer = { 0 };
    cram_md5_answer(d->c.principal, d->c.secret, m->data.data, m->data.len, &answer);
    Mesos__Internal__AuthenticationStepMessage reply = MESOS__INTERNAL__AUTHENTICATION_STEP_MESSAGE__INIT;
    reply.data = (ProtobufCBinaryData){ answer.len, answer.data };
    send_to(d, from, "mesos.internal.AuthenticationStepMessage", &reply);
    buf_release(&answer);
    return true;
}

static bool on_completed(struct driver *d, const struct upid *from, const void *message)
{
    (void)message;
    if (d->auth.step != AUTH_ANSWERED || !upid_eq(from, &d->auth.session)) return false;
    driver_authenticated(d);
    return true;
}

static bool on_failed(struct driver *d, const struct upid *from, const void *message)
{
    (void)from;
    (void)message;
    driver_fatal(d, "Master refused authentication");
    return true;
}

static bool on_error(struct driver *d, const struct upid *from, const void *message)
{
    const Mesos__Internal__AuthenticationErrorMessage *m = message;
    (void)from;
    driver_broken(d, m->error ? m->error : "authentication error");
    return true;
}

static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *d;
    /* False: it does not belong here, which ends the attempt. */
    bool (*handle)(struct driver *d, const struct upid *from, const void *message);
} handlers[] = {
    { "mesos.internal.AuthenticationMechanismsMessage", &mesos__internal__authentication_mechanisms_message__descriptor,
      on_mechanisms },
    { "mesos.internal.AuthenticationStepMessage", &mesos__internal__authentication_step_message__descriptor, on_step },
    { "mesos.internal.AuthenticationCompletedMessage", &mesos__internal__authentication_completed_message__descriptor,
      on_completed },
    { "mesos.internal.AuthenticationFailedMessage", &mesos__internal__authentication_failed_message__descriptor,
      on_failed },
    { "mesos.internal.AuthenticationErrorMessage", &mesos__internal__authentication_error_message__descriptor,
      on_error },
};

/* A session is another process of the master, at the same address. */
static bool from_master(const struct driver *d, const struct upid *from)
{
    return from->ip == d->master.ip && from->port == d->master.port;
}

static void on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    struct driver *d = arg;
    assert(p == d->auth.self);
    assert(d->state == REG_AUTHENTICATING);
    if (!from_master(d, from)) return;
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (!str_eq(name, str_c(handlers[i].name))) continue;
        struct arena a = { 0 };
        const void *m = proto_unpack(handlers[i].d, body, n, &a);
        if (!m || !handlers[i].handle(d, from, m)) driver_broken(d, handlers[i].name);
        arena_release(&a);
        return;
    }
}

void auth_start(struct driver *d)
{
    assert(d->auth.self == NULL);
    struct lp_handlers h = { .on_message = on_message, .arg = d };
    int err = lp_spawn_numbered(d->c.lp, "crammd5-authenticatee", &h, &d->auth.self);
    assert(!err);
    d->auth.step = AUTH_ASKED;
    char pid[UPID_TEXT_MAX];
    Mesos__Internal__AuthenticateMessage m = MESOS__INTERNAL__AUTHENTICATE_MESSAGE__INIT;
    m.pid = (char *)upid_text(lp_self(d->self), pid);
    send_to(d, &d->master, "mesos.internal.AuthenticateMessage", &m);
    driver_set_deadline(d, patience_draw(&d->auth.patience, &d->rng));
}

void auth_end(struct driver *d)
{
    if (!d->auth.self) return;
    lp_terminate(d->auth.self);
    d->auth.self = NULL;
    d->auth.step = AUTH_NONE;
}
