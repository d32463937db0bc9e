#include "mesos/local/state.h"

#include "core/err.h"

#include <stdlib.h>

const Mesos__TaskState sim_outcomes[SIM_OUTCOMES] = {
    MESOS__TASK_STATE__TASK_FINISHED, MESOS__TASK_STATE__TASK_FAILED, MESOS__TASK_STATE__TASK_KILLED,
    MESOS__TASK_STATE__TASK_LOST,     MESOS__TASK_STATE__TASK_ERROR,
};

static const char *const outcome_names[SIM_OUTCOMES] = { "finished", "failed", "killed", "lost", "error" };

/* ---------------- scripts ---------------- */

void sim_defaults(struct sim_script *s)
{
    *s = (struct sim_script){ .lifetime = { -1, -1 }, .weight = { 1 } };
}

static bool parse_number(const char **at, int64_t *ret)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    long long v = strtoll(*at, &end, 10);
    if (v > (long long)366 * 86400 * 1000) return false;
    *at = end;
    *ret = v;
    return true;
}

static bool parse_span(const char *text, struct sim_span *ret)
{
    struct sim_span s = { -1, -1 };
    if (strcmp(text, "-") == 0) {
        *ret = s;
        return true;
    }
    if (!parse_number(&text, &s.min_ms)) return false;
    s.max_ms = s.min_ms;
    if (*text == '-') {
        text++;
        if (!parse_number(&text, &s.max_ms)) return false;
    }
    if (*text || s.max_ms < s.min_ms) return false;
    *ret = s;
    return true;
}

/* "failed" or "failed:10,finished:90". */
static bool parse_outcome(const char *text, struct sim_script *s)
{
    uint32_t weight[SIM_OUTCOMES] = { 0 };
    uint64_t sum = 0;
    while (*text) {
        size_t n = strcspn(text, ":,"), i = 0;
        while (i < SIM_OUTCOMES && (strlen(outcome_names[i]) != n || strncmp(outcome_names[i], text, n) != 0)) i++;
        if (i == SIM_OUTCOMES) return false;
        int64_t w = 1;
        text += n;
        if (*text == ':') {
            text++;
            if (!parse_number(&text, &w) || w > 1000000) return false;
        }
        weight[i] = (uint32_t)w;
        sum += (uint64_t)w;
        if (*text == ',') {
            text++;
        } else if (*text) {
            return false;
        }
    }
    if (!sum) return false;
    memcpy(s->weight, weight, sizeof weight);
    return true;
}

static bool parse_setting(struct sim_script *s, const char *name, const char *value)
{
    if (strcmp(name, "starting") == 0) return parse_span(value, &s->starting);
    if (strcmp(name, "running") == 0) return parse_span(value, &s->running);
    if (strcmp(name, "lifetime") == 0) return parse_span(value, &s->lifetime);
    if (strcmp(name, "kill") == 0) return parse_span(value, &s->kill);
    if (strcmp(name, "outcome") == 0) return parse_outcome(value, s);
    return false;
}

int sim_parse(struct str text, struct sim_script *ret, struct buf *err)
{
    struct sim_script s = *ret;
    char *copy = xstrndup(text.p ? text.p : "", text.n), *at = copy;
    bool ok = true;
    while (ok && *(at += strspn(at, " "))) {
        if (strncmp(at, "message=", 8) == 0) {
            snprintf(s.message, sizeof s.message, "%s", at + 8);
            break;
        }
        char *word = at;
        at += strcspn(at, " ");
        if (*at) *at++ = 0;
        char *eq = strchr(word, '=');
        if (eq) *eq = 0;
        ok = eq && parse_setting(&s, word, eq + 1);
        if (!ok) buf_addf(err, "cannot parse '%s%s%s' of a simulation", word, eq ? "=" : "", eq ? eq + 1 : "");
    }
    free(copy);
    if (!ok) return ERR_MALFORMED;
    *ret = s;
    return 0;
}

int64_t sim_draw(const struct sim_span *span, struct rng *r)
{
    if (span->min_ms < 0) return -1;
    return span->min_ms + (int64_t)rng_below(r, (uint64_t)(span->max_ms - span->min_ms) + 1);
}

Mesos__TaskState sim_draw_outcome(const struct sim_script *s, struct rng *r)
{
    uint64_t sum = 0;
    for (int i = 0; i < SIM_OUTCOMES; i++) sum += s->weight[i];
    uint64_t at = rng_below(r, sum);
    for (int i = 0; i < SIM_OUTCOMES; i++) {
        if (at < s->weight[i]) return sim_outcomes[i];
        at -= s->weight[i];
    }
    return sim_outcomes[0];
}

/* ---------------- a simulated task ---------------- */

static const struct sim_script *script_of(const struct master *m, const struct task *t)
{
    return t->script ? t->script : &m->config.script;
}

static void step_after(struct master *m, struct task *t, const struct sim_span *span,
                       void (*fn)(struct timer *timer, void *arg))
{
    int64_t ms = sim_draw(span, &m->rng);
    if (ms >= 0) timer_start(&m->timers, &t->sim, m->now_ms + ms, fn, t);
}

static const char *outcome_text(const struct sim_script *s, Mesos__TaskState state)
{
    if (s->message[0]) return s->message;
    if (state == MESOS__TASK_STATE__TASK_FINISHED) return "Command exited with status 0";
    if (state == MESOS__TASK_STATE__TASK_FAILED) return "Command exited with status 1";
    if (state == MESOS__TASK_STATE__TASK_KILLED) return "Command terminated with signal Terminated";
    return NULL;
}

static void ends(struct timer *timer, void *arg)
{
    struct task *t = arg;
    struct master *m = t->agent->m;
    (void)timer;
    Mesos__TaskState state = t->killing ? MESOS__TASK_STATE__TASK_KILLED : sim_draw_outcome(script_of(m, t), &m->rng);
    const char *text = t->killing ? "Command terminated with signal Terminated" : outcome_text(script_of(m, t), state);
    master_task_event(m, t, state, -1, text, m->now_ms);
}

static void runs(struct timer *timer, void *arg)
{
    struct task *t = arg;
    struct master *m = t->agent->m;
    (void)timer;
    master_task_event(m, t, MESOS__TASK_STATE__TASK_RUNNING, -1, NULL, m->now_ms);
    step_after(m, t, &script_of(m, t)->lifetime, ends);
}

static void starts(struct timer *timer, void *arg)
{
    struct task *t = arg;
    struct master *m = t->agent->m;
    (void)timer;
    master_task_event(m, t, MESOS__TASK_STATE__TASK_STARTING, -1, NULL, m->now_ms);
    step_after(m, t, &script_of(m, t)->running, runs);
}

/* A task's own script: its command behind "sim:", or the value of its label "mesos-local.sim". */
static struct str own_script(const Mesos__TaskInfo *info)
{
    const char *command = info->command ? info->command->value : NULL;
    if (command && strncmp(command, "sim:", 4) == 0) return str_c(command + 4);
    for (size_t i = 0; info->labels && i < info->labels->n_labels; i++)
        if (strcmp(info->labels->labels[i]->key, "mesos-local.sim") == 0) return str_c(info->labels->labels[i]->value);
    return (struct str){ 0 };
}

void sim_start(struct master *m, struct task *t, const Mesos__TaskInfo *info)
{
    struct str own = own_script(info);
    if (own.p) {
        struct buf err = { 0 };
        t->script = xmalloc(sizeof *t->script);
        *t->script = m->config.script;
        if (sim_parse(own, t->script, &err)) {
            snprintf(t->script->message, sizeof t->script->message, "%s", buf_cstr(&err));
            t->script->starting = t->script->running = t->script->lifetime = (struct sim_span){ 0, 0 };
            parse_outcome("failed", t->script);
        }
        buf_release(&err);
    }
    step_after(m, t, &script_of(m, t)->starting, starts);
}

void sim_kill(struct master *m, struct task *t)
{
    step_after(m, t, &script_of(m, t)->kill, ends);
}
