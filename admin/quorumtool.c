#include "admin/quorumtool.h"

#include "admin/settings.h"
#include "core/err.h"
#include "log/quorum_change.h"
#include "log/storage.h"
#include "zk/group.h"
#include "zk/session.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { STATUS_DONE = 0, STATUS_USAGE = 2, STATUS_FAILED = 3 };

static const char SET_QUORUM[] = "set-quorum", NEW_REPLICA[] = "new-replica";

struct tool {
    const struct flags *flags;
    FILE *out;
    struct buf why;
    bool copy; /* new-replica */
    struct storage *storage;
    struct storage_metadata metadata;
    struct quorum_change change;
    struct quorum_plan plan;
    int32_t version; /* of the group's data */

    uv_loop_t loop;
    uv_timer_t timer;
    struct zk_session *session;
    struct zk_listener *listener;
    bool asked, over;
    int err;
};

bool quorumtool_wants(int argc, const char *const *argv)
{
    return argc > 2 && strcmp(argv[1], "log") == 0 &&
           (strcmp(argv[2], SET_QUORUM) == 0 || strcmp(argv[2], NEW_REPLICA) == 0);
}

/* ---- the folder ---- */

static const char *path_of(const struct tool *t)
{
    return flag_text(t->flags, FLAG_native_log_file_path);
}

static int open_folder(struct tool *t)
{
    struct storage_metadata *m = &t->metadata;
    struct storage *existing = NULL;
    /* Opening for writing would make a new one. */
    int err = storage_open_read_only(path_of(t), &existing, &t->why);
    storage_close(existing);
    if (!err) err = storage_open(path_of(t), 0, &t->storage, &t->why);
    if (err) return err;
    if (!storage_metadata(t->storage, m) || !m->quorum || !m->id) {
        buf_addf(&t->why, "log folder %s: no scheduler has used it yet; there is nothing to change", path_of(t));
        return ERR_INVALID;
    }
    t->change = (struct quorum_change){
        .to = (unsigned)flag_int(t->flags, FLAG_native_log_quorum_size),
        .own = { .replica = m->id, .size = m->quorum, .changes = m->changes, .n_seen = m->n_seen },
        .votes = m->status == REPLICA_VOTING,
        .complete = m->complete,
    };
    memcpy(t->change.own.seen, m->seen, m->n_seen * sizeof(*m->seen));
    return 0;
}

static int store_folder(struct tool *t)
{
    const struct quorum_record *own = &t->plan.own;
    t->metadata.quorum = own->size;
    t->metadata.id = (uint32_t)own->replica;
    t->metadata.changes = own->changes;
    t->metadata.n_seen = own->n_seen;
    memcpy(t->metadata.seen, own->seen, own->n_seen * sizeof(*own->seen));
    int err = storage_write(t->storage, &(struct storage_batch){ .metadata = &t->metadata });
    if (err) buf_addf(&t->why, "log folder %s: %s", path_of(t), storage_error(t->storage));
    return err;
}

/* ---- the plan ---- */

static uint64_t new_id(void)
{
    uint32_t id = 0;
    int rv = uv_random(NULL, NULL, &id, sizeof(id), 0, NULL);
    assert(rv == 0);
    return id | 1;
}

static int make_plan(struct tool *t)
{
    return t->copy ? quorum_plan_copy(&t->change, new_id(), &t->plan, &t->why)
                   : quorum_plan_size(&t->change, &t->plan, &t->why);
}

/* ---- ZooKeeper ---- */

static const char *group_path(const struct tool *t)
{
    return flag_text(t->flags, FLAG_native_log_zk_group_path);
}

static void end(struct tool *t, int err, const char *what)
{
    if (t->over) return;
    t->over = true;
    t->err = err;
    if (what) buf_addf(&t->why, "%s: %s", what, err_str(err));
    uv_stop(&t->loop);
}

static void on_written(const struct zk_result *r, void *arg)
{
    struct tool *t = arg;
    if (r->err == ERR_REJECTED)
        end(t, r->err, "the group's record was changed meanwhile; try again");
    else
        end(t, r->err, r->err ? "the group's record could not be written" : NULL);
}

static void write_record(struct tool *t)
{
    struct buf data = { 0 };
    quorum_encode(&t->plan.znode, &data);
    struct str s = { (const char *)data.data, (uint32_t)data.len };
    int err = zk_set(t->session, group_path(t), s, t->version, on_written, t);
    if (err) end(t, err, "the group's record could not be written");
    buf_release(&data);
}

static void on_data(const struct zk_result *r, void *arg)
{
    struct tool *t = arg;
    if (r->err) {
        end(t, r->err, "the group's record could not be read");
        return;
    }
    t->version = r->version;
    if (r->data.n && quorum_decode(r->data.p, r->data.n, &t->change.znode)) {
        buf_addf(&t->why, "the data of the znode %s is no quorum record of this version", group_path(t));
        end(t, ERR_MALFORMED, NULL);
        return;
    }
    int err = make_plan(t);
    if (!err && t->plan.changes_znode)
        write_record(t);
    else
        end(t, err, NULL);
}

/* The session answers in order: the members are counted before the record is read and changed, and whoever registers
 * later has to read it again. */
static void on_children(const struct zk_result *r, void *arg)
{
    struct tool *t = arg;
    if (r->err) {
        end(t, r->err, "the group could not be listed");
        return;
    }
    for (uint32_t i = 0; i < r->n_names; i++) {
        int32_t number;
        struct str label;
        t->change.members += zk_member_name(r->names[i], &number, &label);
    }
    int err = zk_get(t->session, group_path(t), on_data, t);
    if (err) end(t, err, "the group's record could not be read");
}

static void on_made(const struct zk_result *r, void *arg)
{
    struct tool *t = arg;
    int err = r->err ? r->err : zk_children(t->session, group_path(t), on_children, t);
    if (err) end(t, err, "the group could not be listed");
}

static void on_session(enum zk_event ev, void *arg)
{
    struct tool *t = arg;
    if (ev == ZK_AUTH_FAILED) {
        end(t, ERR_REFUSED, "-zk_digest_credentials");
    } else if (ev == ZK_CONNECTED && !t->asked) {
        t->asked = true;
        int err = zk_ensure_path(t->session, group_path(t), on_made, t);
        if (err) end(t, err, "the group's path could not be made");
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct tool *t = timer->data;
    end(t, ERR_TIMEOUT, "-zk_endpoints: no answer");
}

static int open_session(struct tool *t)
{
    const struct flags *f = t->flags;
    struct zk_session_config c = { .loop = &t->loop,
                                   .endpoints = flag_text(f, FLAG_zk_endpoints),
                                   .session_timeout_ms = (uint32_t)flag_ms(f, FLAG_zk_session_timeout),
                                   .digest = flag_text(f, FLAG_zk_digest_credentials) };
    int err = zk_session_new(&c, &t->session);
    if (err) {
        buf_addf(&t->why, "flag -zk_endpoints: '%s' can't be used", c.endpoints);
        return err;
    }
    t->listener = zk_listen(t->session, on_session, t);
    return 0;
}

/* Plans with what the group says, and changes its record if need be. */
static int ask_group(struct tool *t)
{
    int rv = uv_loop_init(&t->loop);
    assert(rv == 0);
    uv_timer_init(&t->loop, &t->timer);
    t->timer.data = t;
    uv_timer_start(&t->timer, on_timeout, (uint64_t)flag_ms(t->flags, FLAG_zk_connection_timeout), 0);
    int err = open_session(t);
    if (!err) {
        uv_run(&t->loop, UV_RUN_DEFAULT);
        err = t->err;
        zk_unlisten(t->listener);
        zk_session_close(t->session, NULL, NULL);
    }
    uv_close((uv_handle_t *)&t->timer, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    rv = uv_loop_close(&t->loop);
    assert(rv == 0);
    return err;
}

/* ---- the whole ---- */

static int plan_and_write(struct tool *t)
{
    bool several = t->change.own.size > 1 || t->change.to > 1;
    if (settings_zookeeper(t->flags) && group_path(t)) return ask_group(t);
    if (!several) return make_plan(t);
    buf_adds(&t->why, "the group has to be changed, too: -zk_endpoints and -native_log_zk_group_path are needed");
    return ERR_INVALID;
}

static void report(const struct tool *t)
{
    const struct quorum_plan *p = &t->plan;
    if (t->copy)
        (void)fprintf(t->out, "log folder %s: is replica %016" PRIx64 " now\n", path_of(t), p->own.replica);
    else if (p->changes_own)
        (void)fprintf(t->out, "log folder %s: quorum size changed from %u to %u\n", path_of(t), t->change.own.size,
                      p->own.size);
    else
        (void)fprintf(t->out, "log folder %s: quorum size is %u; nothing changed\n", path_of(t), p->own.size);
    if (t->copy || !p->changes_own || p->own.size == 1) return;
    if (t->change.own.size > 1 && p->own.size > t->change.own.size)
        (void)fprintf(t->out, "run this on the log's other replicas, too\n");
    else
        (void)fprintf(t->out,
                      "it has everything that was acknowledged: copy it to %u others, run `aurora-scheduler log "
                      "new-replica` on each copy, and start these %u first\n",
                      p->own.size - 1, p->own.size);
}

static int run(struct tool *t)
{
    int err = open_folder(t);
    if (!err) err = plan_and_write(t);
    if (!err && t->plan.changes_own) err = store_folder(t);
    if (!err) report(t);
    storage_close(t->storage);
    return err;
}

int quorumtool(int argc, const char *const *argv, FILE *out, FILE *err)
{
    struct flags flags = { 0 };
    struct settings settings = { 0 };
    struct tool t = { .flags = &flags, .out = out, .copy = strcmp(argv[2], NEW_REPLICA) == 0 };
    int status = STATUS_USAGE;
    assert(quorumtool_wants(argc, argv));
    /* The command's name stands for the program's. */
    if (flags_parse(&flags, argc - 2, argv + 2, settings_read_file, NULL, &t.why) == 0 && !flags.help &&
        settings_from_flags(&settings, &flags, &t.why) == 0)
        status = run(&t) ? STATUS_FAILED : STATUS_DONE;
    if (flags.help)
        buf_addf(&t.why,
                 "usage: aurora-scheduler log %s FLAGS: the scheduler's own, with the new "
                 "-native_log_quorum_size",
                 argv[2]);
    if (status) (void)fprintf(err, "aurora-scheduler log %s: %s\n", argv[2], buf_cstr(&t.why));
    settings_release(&settings);
    flags_release(&flags);
    buf_release(&t.why);
    return status;
}
