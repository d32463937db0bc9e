#include "mesos/local/authn.h"

#include "core/err.h"
#include "core/limits.h"
#include "core/logline.h"

#include "mesos/authentication.pb-c.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <utlist.h>

struct credential {
    char *principal, *secret;
    struct credential *next;
};

enum session_state { SESSION_STARTING, SESSION_STEPPING };

struct session {
    struct authn *a;
    struct lp_process *p;
    struct upid peer;      /* the authenticatee */
    struct upid scheduler; /* who is to be authenticated */
    enum session_state state;
    char challenge[160];
    struct timer timeout;
    struct session *prev, *next;
};

struct authn {
    struct authn_config config;
    struct rng rng;
    struct credential *credentials;
    unsigned n_credentials;
    struct session *sessions;
};

/* ---------------- credentials ---------------- */

struct authn *authn_new(const struct authn_config *c)
{
    struct authn *a = xcalloc(1, sizeof *a);
    a->config = *c;
    a->rng.state = c->seed ^ 0x61757468;
    return a;
}

static void session_free(struct session *s)
{
    timer_stop(s->a->config.timers, &s->timeout);
    DL_DELETE(s->a->sessions, s);
    free(s);
}

void authn_reset(struct authn *a)
{
    while (a->sessions) session_free(a->sessions);
}

void authn_free(struct authn *a)
{
    if (!a) return;
    authn_reset(a);
    while (a->credentials) {
        struct credential *c = a->credentials;
        a->credentials = c->next;
        free(c->principal);
        free(c->secret);
        free(c);
    }
    free(a);
}

static int add_credential(struct authn *a, const char *principal, const char *secret, struct buf *err)
{
    if (a->n_credentials++ == LIMIT_LOCAL_CREDENTIALS) {
        buf_addf(err, "more than %d credentials", LIMIT_LOCAL_CREDENTIALS);
        return ERR_TOO_BIG;
    }
    struct credential *c = xcalloc(1, sizeof *c);
    c->principal = xstrdup(principal);
    c->secret = xstrdup(secret);
    LL_APPEND(a->credentials, c);
    return 0;
}

static int load_json(struct authn *a, const char *text, struct buf *err)
{
    cJSON *doc = cJSON_Parse(text), *one;
    const cJSON *list = cJSON_GetObjectItem(doc, "credentials");
    int rc = cJSON_IsArray(list) ? 0 : ERR_MALFORMED;
    if (rc) buf_adds(err, "credentials: not JSON with a list `credentials`");
    cJSON_ArrayForEach(one, list)
    {
        const char *principal = cJSON_GetStringValue(cJSON_GetObjectItem(one, "principal"));
        const char *secret = cJSON_GetStringValue(cJSON_GetObjectItem(one, "secret"));
        if (!rc && !principal) {
            buf_adds(err, "credentials: an entry without principal");
            rc = ERR_MALFORMED;
        }
        if (!rc) rc = add_credential(a, principal, secret ? secret : "", err);
    }
    cJSON_Delete(doc);
    return rc;
}

static int load_lines(struct authn *a, char *text, struct buf *err)
{
    int rc = 0;
    for (char *save = NULL, *line = strtok_r(text, "\r\n", &save); line && !rc; line = strtok_r(NULL, "\r\n", &save)) {
        char *word = NULL, *principal = strtok_r(line, " \t", &word), *secret = strtok_r(NULL, " \t", &word);
        if (!principal) continue;
        if (secret) rc = add_credential(a, principal, secret, err);
        if (secret) continue;
        buf_addf(err, "credentials: no secret for '%s'", principal);
        rc = ERR_MALFORMED;
    }
    return rc;
}

int authn_load(struct authn *a, struct str text, struct buf *err)
{
    char *copy = xstrndup(text.p, text.n);
    int rc = copy[strspn(copy, " \t\r\n")] == '{' ? load_json(a, copy, err) : load_lines(a, copy, err);
    free(copy);
    return rc;
}

const char *authn_check(const struct authn *a, struct str answer, struct str challenge)
{
    const char *blank = answer.n ? memchr(answer.p, ' ', answer.n) : NULL;
    if (!blank) return NULL;
    struct str principal = { answer.p, (uint32_t)(blank - answer.p) };
    struct str digest = { blank + 1, answer.n - principal.n - 1 };
    for (const struct credential *c = a->credentials; c; c = c->next) {
        if (!str_eq(principal, str_c(c->principal))) continue;
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        HMAC(EVP_md5(), c->secret, (int)strlen(c->secret), (const unsigned char *)challenge.p, challenge.n, md, &n);
        for (unsigned i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", md[i]);
        return str_eq(digest, str_c(hex)) ? c->principal : NULL;
    }
    return NULL;
}

/* ---------------- sessions ---------------- */

static void say(struct lp_process *p, const struct upid *to, const char *name, const ProtobufCMessage *msg)
{
    struct buf b = { 0 };
    size_t n = protobuf_c_message_get_packed_size(msg);
    protobuf_c_message_pack(msg, buf_reserve(&b, n));
    lp_send(p, to, name, b.data, n);
    buf_release(&b);
}

static void say_error(struct lp_process *p, const struct upid *to, const char *text)
{
    Mesos__Internal__AuthenticationErrorMessage msg = MESOS__INTERNAL__AUTHENTICATION_ERROR_MESSAGE__INIT;
    msg.error = (char *)text;
    say(p, to, "mesos.internal.AuthenticationErrorMessage", &msg.base);
}

/* The attempt is over; principal NULL: failed. */
static void session_end(struct session *s, const char *principal)
{
    struct authn *a = s->a;
    struct upid scheduler = s->scheduler;
    lp_terminate(s->p);
    session_free(s);
    logline(LOG_INFO, "authentication", "scheduler=%s principal=%s", scheduler.id, principal ? principal : "-");
    a->config.on_end(&scheduler, principal, a->config.arg);
}

static void session_error(struct session *s, const char *text)
{
    say_error(s->p, &s->peer, text);
    session_end(s, NULL);
}

static void on_start_message(struct session *s, const void *body, size_t n)
{
    Mesos__Internal__AuthenticationStartMessage *msg =
        mesos__internal__authentication_start_message__unpack(NULL, n, body);
    Mesos__Internal__AuthenticationStepMessage step = MESOS__INTERNAL__AUTHENTICATION_STEP_MESSAGE__INIT;
    if (!msg) return;
    if (s->state != SESSION_STARTING) {
        session_error(s, "Unexpected authentication 'start' received");
    } else if (strcmp(msg->mechanism, "CRAM-MD5") != 0) {
        session_error(s, "SASL(-4): no mechanism available: No worthy mechs found");
    } else if (msg->has_data && msg->data.len) {
        session_error(s, "SASL(-5): bad protocol / cancel: CRAM-MD5 does not accept inital data");
    } else {
        s->state = SESSION_STEPPING;
        snprintf(s->challenge, sizeof s->challenge, "<%llu.%lld@%.64s>", (unsigned long long)rng_next(&s->a->rng),
                 (long long)(s->a->config.now_ms(s->a->config.arg) / 1000), s->a->config.hostname);
        step.data = (ProtobufCBinaryData){ strlen(s->challenge), (uint8_t *)s->challenge };
        say(s->p, &s->peer, "mesos.internal.AuthenticationStepMessage", &step.base);
    }
    mesos__internal__authentication_start_message__free_unpacked(msg, NULL);
}

static void on_step_message(struct session *s, const void *body, size_t n)
{
    Mesos__Internal__AuthenticationStepMessage *msg =
        mesos__internal__authentication_step_message__unpack(NULL, n, body);
    Mesos__Internal__AuthenticationCompletedMessage yes = MESOS__INTERNAL__AUTHENTICATION_COMPLETED_MESSAGE__INIT;
    Mesos__Internal__AuthenticationFailedMessage no = MESOS__INTERNAL__AUTHENTICATION_FAILED_MESSAGE__INIT;
    if (!msg) return;
    if (s->state != SESSION_STEPPING) {
        session_error(s, "Unexpected authentication 'step' received");
    } else {
        struct str answer = { (const char *)msg->data.data, (uint32_t)msg->data.len };
        const char *principal = authn_check(s->a, answer, str_c(s->challenge));
        if (principal) say(s->p, &s->peer, "mesos.internal.AuthenticationCompletedMessage", &yes.base);
        if (!principal) say(s->p, &s->peer, "mesos.internal.AuthenticationFailedMessage", &no.base);
        session_end(s, principal);
    }
    mesos__internal__authentication_step_message__free_unpacked(msg, NULL);
}

static void on_message(struct lp_process *p, const struct upid *from, struct str name, const void *body, size_t n,
                       void *arg)
{
    (void)p;
    (void)from; /* a real authenticator takes them from anybody, too */
    if (str_eq(name, STR("mesos.internal.AuthenticationStartMessage"))) on_start_message(arg, body, n);
    if (str_eq(name, STR("mesos.internal.AuthenticationStepMessage"))) on_step_message(arg, body, n);
}

static void on_exited(struct lp_process *p, const struct upid *peer, void *arg)
{
    (void)p;
    (void)peer;
    session_end(arg, NULL);
}

static void on_timeout(struct timer *t, void *arg)
{
    (void)t;
    session_end(arg, NULL);
}

static struct session *session_new(struct authn *a, struct libprocess *lp, const struct upid *from)
{
    struct session *s = xcalloc(1, sizeof *s);
    struct lp_handlers h = { on_message, on_exited, s };
    s->a = a;
    s->peer = *from;
    if (lp_spawn_numbered(lp, "crammd5-authenticator-session", &h, &s->p)) {
        free(s);
        return NULL;
    }
    DL_APPEND(a->sessions, s);
    timer_start(a->config.timers, &s->timeout, a->config.now_ms(a->config.arg) + a->config.timeout_ms, on_timeout, s);
    return s;
}

void authn_start(struct authn *a, struct libprocess *lp, struct lp_process *master, const struct upid *from,
                 const void *body, size_t n)
{
    Mesos__Internal__AuthenticateMessage *msg = mesos__internal__authenticate_message__unpack(NULL, n, body);
    Mesos__Internal__AuthenticationMechanismsMessage mechs = MESOS__INTERNAL__AUTHENTICATION_MECHANISMS_MESSAGE__INIT;
    char *list[] = { (char *)"CRAM-MD5" };
    struct upid scheduler = { 0 };
    struct session *s, *next;
    if (!msg) return;
    upid_parse(str_c(msg->pid), &scheduler);
    mesos__internal__authenticate_message__free_unpacked(msg, NULL);
    /* An older attempt is of no interest any more, and neither is an older success. */
    DL_FOREACH_SAFE(a->sessions, s, next)
    {
        if (!upid_eq(&s->scheduler, &scheduler)) continue;
        lp_terminate(s->p);
        session_free(s);
    }
    a->config.on_begin(&scheduler, a->config.arg);
    s = a->credentials ? session_new(a, lp, from) : NULL;
    if (!s) {
        say_error(master, from, "No authenticator loaded");
        a->config.on_end(&scheduler, NULL, a->config.arg);
        return;
    }
    s->scheduler = scheduler;
    lp_link(s->p, from);
    mechs.n_mechanisms = 1;
    mechs.mechanisms = list;
    say(s->p, from, "mesos.internal.AuthenticationMechanismsMessage", &mechs.base);
}
