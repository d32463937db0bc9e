#include "test/lib/recording.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void recording_field(const char *text, const char *name, char *out, size_t cap)
{
    char key[32];
    snprintf(key, sizeof(key), "\"%s\":\"", name);
    const char *p = strstr(text, key);
    out[0] = 0;
    if (!p) return;
    p += strlen(key);
    size_t n = strcspn(p, "\"");
    assert_true(n < cap);
    memcpy(out, p, n);
    out[n] = 0;
}

static void base64(const char *in, struct buf *out)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t acc = 0;
    int bits = 0;
    for (; *in && *in != '='; in++) {
        acc = acc << 6 | (uint32_t)(strchr(set, *in) - set);
        bits += 6;
        if (bits >= 8) buf_addc(out, (char)(acc >> (bits -= 8)));
    }
}

static void dechunk(char *p, const char *end, struct buf *out)
{
    for (;;) {
        char *data;
        size_t n = strtoul(p, &data, 16);
        if (!n) return;
        data += 2;
        assert_true(data + n <= end);
        buf_add(out, data, n);
        p = data + n + 2;
    }
}

static void parse_line(struct recorded *l)
{
    static char encoded[1 << 20];
    const char *text = l->text;
    const char *probe = strstr(text, "\"probe\":");
    l->probe = probe ? atoi(probe + 8) : 0;
    recording_field(text, "from", l->from, sizeof(l->from));
    recording_field(text, "to", l->to, sizeof(l->to));
    recording_field(text, "path", l->path, sizeof(l->path));
    l->is_message = l->path[0] != 0;
    if (!l->is_message) return;
    struct buf http = { 0 };
    recording_field(text, "http", encoded, sizeof(encoded));
    base64(encoded, &http);
    char *head = (char *)(uintptr_t)buf_cstr(&http), *body = strstr(head, "\r\n\r\n");
    assert_non_null(body);
    const char *from = strstr(head, "Libprocess-From: ");
    if (from) sscanf(from, "Libprocess-From: %63[^@]", l->sender);
    if (strstr(head, "chunked")) dechunk(body + 4, (char *)http.data + http.len, &l->body);
    buf_release(&http);
}

struct recording recording_load(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "test/data/captures/%s.jsonl", name);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("%s is missing", path);
    struct recording rec = { 0 };
    char *text = NULL;
    size_t cap = 0;
    while (getline(&text, &cap, f) > 0) {
        rec.v = xrealloc(rec.v, (rec.n + 1) * sizeof(*rec.v));
        rec.v[rec.n] = (struct recorded){ .text = xstrdup(text) };
        parse_line(&rec.v[rec.n++]);
    }
    free(text);
    fclose(f);
    return rec;
}

void recording_release(struct recording *rec)
{
    for (size_t i = 0; i < rec->n; i++) {
        free(rec->v[i].text);
        buf_release(&rec->v[i].body);
    }
    free(rec->v);
}

const struct recorded *recording_answer(const struct recording *rec, size_t request)
{
    const struct recorded *q = &rec->v[request];
    char prefix[80];
    snprintf(prefix, sizeof(prefix), "/%s/", q->sender);
    for (size_t i = request + 1; i < rec->n; i++) {
        const struct recorded *l = &rec->v[i];
        if (strcmp(l->from, q->to) == 0 && strcmp(l->to, q->from) == 0 && strncmp(l->path, prefix, strlen(prefix)) == 0)
            return l;
    }
    return NULL;
}
