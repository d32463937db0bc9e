/* From open storage to leading: the log is followed, and a candidate stands, but only while the quorum size is known
 * to be safe. What was elected with an unsafe one does not begin to write. */
#include "admin/app.h"

#include "core/logline.h"

static void on_wait_timeout(uv_timer_t *t)
{
    app_stop(t->data, 1, "elected, but the quorum size has not been confirmed within max_registration_delay");
}

/* True: safe. Else the process ends, or the reason is logged, once. */
static bool quorum_is_safe(struct app *a)
{
    struct buf why = { 0 };
    a->verdict = a->peers ? peers_judge(a->peers, &why) : QUORUM_SAFE;
    if (a->verdict == QUORUM_REFUSED)
        app_stop(a, 1, buf_cstr(&why));
    else if (a->verdict == QUORUM_WAITS && why.len && !a->waits_told)
        logline(LOG_WARN, "quorum_waits", "reason=\"%s\"", buf_cstr(&why));
    a->waits_told = a->verdict == QUORUM_WAITS && why.len;
    buf_release(&why);
    return a->verdict == QUORUM_SAFE;
}

static void begin_leading(struct app *a)
{
    uv_timer_stop(&a->timers[TIMER_REGISTRATION]);
    stream_start(a->stream);
}

static void on_elected(void *arg)
{
    struct app *a = arg;
    if (a->stopping) return;
    app_enter(a, LIFECYCLE_LEADER_AWAITING_REGISTRATION);
    a->elected = true;
    if (quorum_is_safe(a))
        begin_leading(a);
    else
        app_start_timer(a, TIMER_REGISTRATION, on_wait_timeout, flag_ms(a->flags, FLAG_max_registration_delay), 0);
}

/* Once it leads, a contradiction is the newcomer's who brings it. */
static void on_peers_changed(void *arg)
{
    struct app *a = arg;
    bool waits = a->elected ? a->verdict == QUORUM_WAITS : !a->standing;
    if (a->stopping || a->state < LIFECYCLE_STORAGE_PREPARED || !waits || !quorum_is_safe(a)) return;
    if (a->elected) {
        begin_leading(a);
    } else {
        a->standing = true;
        lead_stand(a->lead);
    }
}

void standby_replayed(void *app)
{
    struct app *a = app;
    if (a->stopping) return;
    if (a->peers)
        peers_lead(a->peers);
    else
        app_ready(a);
}

static void on_recorded(void *arg)
{
    struct app *a = arg;
    if (!a->stopping) app_ready(a);
}

static void on_peers_failed(const char *why, void *arg)
{
    app_stop(arg, 1, why);
}

/* Nothing is written from here on: the pipeline is not stepped any more, and what is queued is dropped. */
static void on_over(int exit_status, const char *why, void *arg)
{
    app_stop(arg, exit_status, why);
}

static int open_lead(struct app *a, struct buf *err)
{
    struct lead_config c = { .loop = a->loop,
                             .flags = a->flags,
                             .host = a->settings->hostname.p,
                             .port = a->http_port,
                             .stats = a->stats,
                             .on_elected = on_elected,
                             .on_over = on_over,
                             .arg = a };
    return lead_new(&c, &a->lead, err);
}

static int open_peers(struct app *a, struct buf *err)
{
    struct peers_config c = { .loop = a->loop,
                              .lp = a->lp,
                              .log = a->log,
                              .zk = lead_session(a->lead),
                              .group_path = flag_text(a->flags, FLAG_native_log_zk_group_path),
                              .quorum = (unsigned)flag_int(a->flags, FLAG_native_log_quorum_size),
                              .stats = a->stats,
                              .on_changed = on_peers_changed,
                              .on_recorded = on_recorded,
                              .on_failed = on_peers_failed,
                              .arg = a };
    int rv = peers_new(&c, &a->peers);
    if (rv != 0) buf_addf(err, "flag -native_log_zk_group_path: '%s' can't be used", c.group_path);
    return rv;
}

int standby_open(struct app *a, struct buf *err_text)
{
    if (!settings_zookeeper(a->flags)) return 0;
    int rv = open_lead(a, err_text);
    if (rv == 0 && flag_text(a->flags, FLAG_native_log_zk_group_path)) rv = open_peers(a, err_text);
    return rv;
}

void standby_start(struct app *a)
{
    if (!a->lead) {
        on_elected(a);
        return;
    }
    if (a->peers) stream_follow(a->stream);
    on_peers_changed(a);
}
