/* Recorded traffic of a real Mesos: test/data/captures/<name>.jsonl, its lines decoded down to message bodies. */
#ifndef AURORA_TEST_RECORDING_H
#define AURORA_TEST_RECORDING_H

#include "core/buf.h"

struct recorded {
    char *text;                                   /* the JSON line */
    char from[32], to[32], path[160], sender[64]; /* sender: the id part of Libprocess-From */
    struct buf body;
    bool is_message;
    int probe;
};

struct recording {
    struct recorded *v;
    size_t n;
};

/* Fails the test when the file is missing. */
struct recording recording_load(const char *name);
void recording_release(struct recording *rec);
/* The value of a JSON line's string field; "" where it has none. */
void recording_field(const char *text, const char *name, char *out, size_t cap);
/* What the receiver of message i answered; NULL: nothing. */
const struct recorded *recording_answer(const struct recording *rec, size_t i);

#endif
