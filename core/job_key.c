#include "core/job_key.h"

#include "core/limits.h"

#include <assert.h>

static bool identifier_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
}

bool identifier_valid(struct str s)
{
    if (!s.p || s.n == 0 || s.n > LIMIT_IDENTIFIER_BYTES) return false;
    for (uint32_t i = 0; i < s.n; i++)
        if (!identifier_char(s.p[i])) return false;
    return true;
}

bool job_key_valid(const struct api_job_key *k)
{
    return k && identifier_valid(k->role) && identifier_valid(k->environment) && identifier_valid(k->name);
}

bool job_key_eq(const struct api_job_key *a, const struct api_job_key *b)
{
    return str_eq(a->role, b->role) && str_eq(a->environment, b->environment) && str_eq(a->name, b->name);
}

struct str job_key_text(const struct api_job_key *k, struct arena *a)
{
    if (!k || !k->role.p || !k->environment.p || !k->name.p) return (struct str){ 0 };
    uint32_t n = k->role.n + k->environment.n + k->name.n + 2;
    char *p = arena_alloc(a, (size_t)n + 1), *at = p;
    assert(p);
    const struct str parts[] = { k->role, k->environment, k->name };
    for (int i = 0; i < 3; i++) {
        if (i) *at++ = '/';
        if (parts[i].n) memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    return (struct str){ p, n };
}

static const char *java(struct str s)
{
    return s.p ? s.p : "null";
}

struct str job_key_java(const struct api_job_key *k, struct arena *a)
{
    if (!k) return STR("null");
    return arena_strf(a, "IJobKey{role=%s, environment=%s, name=%s}", java(arena_str(a, k->role)),
                      java(arena_str(a, k->environment)), java(arena_str(a, k->name)));
}
