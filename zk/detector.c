#include "zk/detector.h"

#include "core/buf.h"
#include "core/logline.h"
#include "zk/group.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

enum { UNKNOWN = -1, NONE = -2 };

struct zk_detector {
    struct zk_detector_config cfg;
    struct zk_group *group;
    struct zk_listener *listener;
    int32_t leader; /* number, UNKNOWN or NONE */
};

static int copy_part(char *to, size_t cap, const char *from, size_t n)
{
    if (n >= cap) return ERR_MALFORMED;
    memcpy(to, from, n);
    to[n] = 0;
    return 0;
}

int zk_url_parse(const char *url, struct zk_url *ret)
{
    if (strncmp(url, "zk://", 5) != 0) return ERR_MALFORMED;
    const char *p = url + 5, *slash = strchr(p, '/');
    if (!slash || !slash[1]) return ERR_MALFORMED;
    const char *at = NULL;
    for (const char *q = p; q < slash; q++)
        if (*q == '@') at = q; /* the last one: passwords may hold '@' */
    struct zk_url u = { 0 };
    if (at && copy_part(u.credentials, sizeof u.credentials, p, (size_t)(at - p))) return ERR_MALFORMED;
    if (at) p = at + 1;
    if (p == slash || copy_part(u.endpoints, sizeof u.endpoints, p, (size_t)(slash - p))) return ERR_MALFORMED;
    if (copy_part(u.path, sizeof u.path, slash, strlen(slash))) return ERR_MALFORMED;
    *ret = u;
    return 0;
}

/* ---------------- reading a master's znode ---------------- */

static bool looks_like_pid(struct str s)
{
    const char *at = s.n ? memchr(s.p, '@', s.n) : NULL;
    for (uint32_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~') return false; /* it is logged, and handed on as a C string */
    return at && memchr(at, ':', s.n - (size_t)(at - s.p)) && s.n <= ZK_MASTER_PID_MAX;
}

static int pid_of_json(struct str data, struct buf *out)
{
    cJSON *j = cJSON_ParseWithLength(data.p, data.n);
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(j, "pid");
    const cJSON *address = cJSON_GetObjectItemCaseSensitive(j, "address");
    const cJSON *ip = cJSON_GetObjectItemCaseSensitive(address, "ip");
    const cJSON *port = cJSON_GetObjectItemCaseSensitive(address, "port");
    int rc = ERR_MALFORMED;
    if (cJSON_IsString(pid) && looks_like_pid(str_c(pid->valuestring))) {
        buf_adds(out, pid->valuestring);
        rc = 0;
    } else if (cJSON_IsString(ip) && cJSON_IsNumber(port)) {
        struct buf made = { 0 };
        buf_addf(&made, "master@%s:%d", ip->valuestring, port->valueint);
        rc = looks_like_pid((struct str){ buf_cstr(&made), (uint32_t)made.len }) ? 0 : ERR_MALFORMED;
        if (!rc) buf_add(out, made.data, made.len);
        buf_release(&made);
    }
    cJSON_Delete(j);
    return rc;
}

/* One varint; false at the end of the input. */
static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t c = *(*p)++;
        *ret |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) return true;
    }
    return false;
}

/* MasterInfo.pid is field 4; nothing else of the message is needed, so it is looked up in the wire form. */
static int pid_of_protobuf(struct str data, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)data.p, *end = p + data.n;
    uint64_t key, v;
    while (p < end && varint(&p, end, &key)) {
        unsigned wire = key & 7;
        if (wire == 2) {
            if (!varint(&p, end, &v) || v > (uint64_t)(end - p)) return ERR_MALFORMED;
            struct str s = { (const char *)p, (uint32_t)v };
            if (key >> 3 == 4) return looks_like_pid(s) ? buf_add_str(out, s), 0 : ERR_MALFORMED;
            p += v;
        } else if (wire == 0) {
            if (!varint(&p, end, &v)) return ERR_MALFORMED;
        } else {
            unsigned n = wire == 1 ? 8 : 4;
            if ((wire != 1 && wire != 5) || (size_t)(end - p) < n) return ERR_MALFORMED;
            p += n;
        }
    }
    return ERR_MALFORMED;
}

int zk_master_pid(struct str label, struct str data, struct buf *out)
{
    if (!data.p || data.n == 0) return ERR_MALFORMED;
    if (!label.p) return looks_like_pid(data) ? buf_add_str(out, data), 0 : ERR_MALFORMED;
    if (str_eq(label, STR("info"))) return pid_of_protobuf(data, out);
    if (str_eq(label, STR("json.info"))) return pid_of_json(data, out);
    return ERR_UNSUPPORTED;
}

/* ---------------- following the group ---------------- */

static void on_members(const struct zk_member *m, uint32_t n, void *arg)
{
    struct zk_detector *d = arg;
    if (n == 0) {
        if (d->leader != NONE) d->cfg.on_master(NULL, d->cfg.arg);
        d->leader = NONE;
        return;
    }
    if (m[0].number == d->leader) return;
    d->leader = m[0].number;
    struct buf pid = { 0 };
    int rc = zk_master_pid(m[0].label, m[0].data, &pid);
    if (rc)
        logline(LOG_WARN, "mesos-master-unreadable", "path=%s number=%d label=%.*s error=\"%s\"", d->cfg.path,
                m[0].number, STR_ARG(m[0].label), err_str(rc));
    d->cfg.on_master(rc ? NULL : buf_cstr(&pid), d->cfg.arg);
    buf_release(&pid);
}

static void on_failed(const char *why, void *arg)
{
    struct zk_detector *d = arg;
    logline(LOG_ERROR, "mesos-master-detection", "path=%s error=\"%s\"", d->cfg.path, why);
    d->cfg.on_master(NULL, d->cfg.arg);
}

/* As in Mesos: without a session nothing is known of the masters. */
static void on_session(enum zk_event ev, void *arg)
{
    struct zk_detector *d = arg;
    if (ev != ZK_LOST) return;
    if (d->leader >= 0) d->cfg.on_master(NULL, d->cfg.arg);
    d->leader = UNKNOWN;
}

int zk_detector_new(const struct zk_detector_config *c, struct zk_detector **ret)
{
    struct zk_detector *d = xcalloc(1, sizeof *d);
    d->cfg = *c;
    d->cfg.path = xstrdup(c->path);
    d->leader = UNKNOWN;
    struct zk_group_config g = {
        .session = c->session, .path = c->path, .on_members = on_members, .on_failed = on_failed, .arg = d
    };
    int rc = zk_group_new(&g, &d->group);
    if (rc) {
        free((char *)(uintptr_t)d->cfg.path);
        free(d);
        return rc;
    }
    d->listener = zk_listen(c->session, on_session, d);
    *ret = d;
    return 0;
}

void zk_detector_free(struct zk_detector *d)
{
    if (!d) return;
    zk_unlisten(d->listener);
    zk_group_free(d->group);
    free((char *)(uintptr_t)d->cfg.path);
    free(d);
}
