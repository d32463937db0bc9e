/* GET /state: what there is, as JSON. Written by hand: with 100,000 tasks a tree of nodes would cost more than the
 * rest. */
#include "mesos/local/state.h"

#include "core/text.h"

static void member(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "\"%s\":", name);
    text_json_string(out, str_c(value ? value : ""), false);
    buf_addc(out, ',');
}

static const char *agent_state_name(enum agent_state s)
{
    static const char *const names[] = { "registered", "disconnected", "unreachable", "gone", "recovered" };
    return names[s];
}

static const char *framework_state_name(const struct framework *f)
{
    static const char *const names[] = { "absent", "recovered", "connected", "disconnected" };
    return f->state == FRAMEWORK_CONNECTED && !f->active ? "inactive" : names[f->state];
}

const char *task_state_name(Mesos__TaskState s)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&mesos__task_state__descriptor, (int)s);
    return v ? v->name : "?";
}

static void write_framework(struct buf *out, const struct framework *f)
{
    char pid[UPID_TEXT_MAX];
    buf_addc(out, '{');
    member(out, "id", f->id);
    member(out, "name", f->name);
    member(out, "user", f->user);
    member(out, "hostname", f->hostname);
    member(out, "webui_url", f->webui_url);
    member(out, "principal", f->principal);
    member(out, "state", framework_state_name(f));
    member(out, "pid", f->state == FRAMEWORK_ABSENT ? "" : upid_text(&f->pid, pid));
    buf_adds(out, "\"roles\":[");
    for (uint32_t i = 0; i < f->n_roles_live; i++) {
        if (i) buf_addc(out, ',');
        text_json_string(out, str_c(f->roles[i]->name), false);
    }
    buf_addf(out, "],\"checkpoint\":%s,\"failover_timeout_ms\":%lld,\"tasks\":%u}", f->checkpoint ? "true" : "false",
             (long long)f->failover_timeout_ms, (unsigned)HASH_COUNT(f->tasks));
}

static void write_agent(struct buf *out, const struct agent *a)
{
    struct buf text = { 0 };
    char pid[UPID_TEXT_MAX];
    buf_addc(out, '{');
    member(out, "id", a->id);
    member(out, "hostname", a->hostname);
    member(out, "pid", agent_pid(a, pid));
    member(out, "state", agent_state_name(a->state));
    res_text(&a->total, NULL, &text);
    member(out, "resources", buf_cstr(&text));
    buf_reset(&text);
    res_text(&a->free, NULL, &text);
    buf_adds(out, "\"free\":");
    text_json_string(out, str_c(buf_cstr(&text)), false);
    buf_addc(out, '}');
    buf_release(&text);
}

static void write_task(struct buf *out, const struct task *t)
{
    struct buf text = { 0 };
    const struct update *u;
    int waiting;
    LL_COUNT(t->queue, u, waiting);
    res_text(&t->res, NULL, &text);
    buf_addc(out, '{');
    member(out, "id", t->id);
    member(out, "name", t->name);
    member(out, "framework_id", t->fw->id);
    member(out, "agent_id", t->agent->id);
    member(out, "executor_id", t->executor_id);
    member(out, "command", t->command);
    member(out, "resources", buf_cstr(&text));
    member(out, "state", task_state_name(t->on_agent ? t->run_state : t->state));
    member(out, "master_state", t->at_master ? task_state_name(t->state) : t->unreachable ? "unreachable" : "");
    member(out, "sandbox", t->run_path);
    buf_addf(out, "\"on_agent\":%s,\"simulated\":%s,\"unacknowledged\":%d}", t->on_agent ? "true" : "false",
             t->run_path ? "false" : "true", waiting);
    buf_release(&text);
}

static void write_tasks(const struct master *m, uint32_t from, uint32_t n, struct buf *out)
{
    uint32_t at = 0;
    for (const struct agent *a = m->agents; a; a = a->hh.next) {
        const struct task *t;
        DL_FOREACH(a->tasks, t)
        {
            if (at >= from && at - from < n) {
                if (at > from) buf_addc(out, ',');
                write_task(out, t);
            }
            at++;
        }
    }
}

void master_write_state(const struct master *m, uint32_t from, uint32_t n, struct buf *out)
{
    struct master_totals all;
    const struct framework *f;
    uint32_t at = 0;
    master_totals(m, &all);
    buf_addf(out, "{\"id\":\"%s\",", m->id);
    buf_addf(out,
             "\"totals\":{\"agents\":%u,\"agents_registered\":%u,\"frameworks\":%u,\"offers\":%u,\"tasks\":%u,"
             "\"launched\":%llu,\"updates_sent\":%llu,\"acknowledged\":%llu,\"offers_sent\":%llu},",
             all.agents, all.agents_registered, all.frameworks, all.offers, all.tasks, (unsigned long long)all.launched,
             (unsigned long long)all.updates_sent, (unsigned long long)all.acknowledged,
             (unsigned long long)all.offers_sent);
    buf_adds(out, "\"frameworks\":[");
    DL_FOREACH(m->frameworks, f)
    {
        if (f != m->frameworks) buf_addc(out, ',');
        write_framework(out, f);
    }
    buf_adds(out, "],\"agents\":[");
    for (const struct agent *a = m->agents; a; a = a->hh.next, at++) {
        if (at < from || at - from >= n) continue;
        if (at > from) buf_addc(out, ',');
        write_agent(out, a);
    }
    buf_adds(out, "],\"offers\":[");
    at = 0;
    for (const struct offered *o = m->offers; o && at < n; o = o->hh.next, at++)
        buf_addf(out, "%s{\"id\":\"%s\",\"framework_id\":\"%s\",\"agent_id\":\"%s\"}", at ? "," : "", o->id, o->fw->id,
                 o->agent->id);
    buf_adds(out, "],\"tasks\":[");
    write_tasks(m, from, n, out);
    buf_adds(out, "]}\n");
}
