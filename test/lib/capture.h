/* Reads the recorded traffic of test/data/captures, line by line. Tests run at the top of the tree. */
#ifndef AURORA_TEST_CAPTURE_H
#define AURORA_TEST_CAPTURE_H

#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

struct capture {
    FILE *file;
    char *line;
    size_t cap;
    int conn;
    char kind[32], from[64], to[64], path[256], call[64], status[64];
    struct buf http; /* the raw bytes */
};

static inline bool capture_open(struct capture *c, const char *scenario)
{
    char name[256];
    snprintf(name, sizeof name, "test/data/captures/%s.jsonl", scenario);
    *c = (struct capture){ .file = fopen(name, "r") };
    return c->file != NULL;
}

static inline void capture_close(struct capture *c)
{
    if (c->file) fclose(c->file);
    free(c->line);
    buf_release(&c->http);
}

/* The text of a field, which has no escapes in these files; NULL if it is not there or null. */
static inline const char *capture_field_(const struct capture *c, const char *name, size_t *ret_n)
{
    char key[40];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(c->line, key);
    if (!at) return NULL;
    at += strlen(key);
    *ret_n = (size_t)(strchr(at, '"') - at);
    return at;
}

static inline void capture_text_(const struct capture *c, const char *name, char *out, size_t size)
{
    size_t n = 0;
    const char *at = capture_field_(c, name, &n);
    if (n >= size) abort();
    if (n) memcpy(out, at, n);
    out[n] = 0;
}

static inline void capture_base64_(struct buf *out, const char *s, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, value = 0;
    buf_reset(out);
    for (size_t i = 0; i < n && s[i] != '='; i++) {
        value = value << 6 | (unsigned)(strchr(digits, s[i]) - digits);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        buf_addc(out, (char)(value >> bits));
    }
}

static inline bool capture_next(struct capture *c)
{
    size_t n = 0;
    if (getline(&c->line, &c->cap, c->file) < 0) return false;
    const char *at = strstr(c->line, "\"conn\":");
    c->conn = at ? (int)strtol(at + 7, NULL, 10) : -1;
    capture_text_(c, "kind", c->kind, sizeof c->kind);
    capture_text_(c, "from", c->from, sizeof c->from);
    capture_text_(c, "to", c->to, sizeof c->to);
    capture_text_(c, "path", c->path, sizeof c->path);
    capture_text_(c, "call", c->call, sizeof c->call);
    capture_text_(c, "status", c->status, sizeof c->status);
    at = capture_field_(c, "http", &n);
    capture_base64_(&c->http, at, n);
    return true;
}

#endif
