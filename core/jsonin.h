/* JSON text as the codecs read it: pieces in order, nothing built. Strict grammar (RFC 8259), valid UTF-8 only;
 * unpaired surrogates in escapes become U+FFFD. All functions pass blanks first.
 *
 * Results are 0 or ERR_MALFORMED, ERR_TRUNCATED (the text ends within), ERR_TOO_BIG, ERR_TOO_DEEP. */
#ifndef AURORA_CORE_JSONIN_H
#define AURORA_CORE_JSONIN_H

#include "core/arena.h"
#include "core/str.h"

struct jsonin {
    const uint8_t *p, *end;
    struct arena *a; /* takes decoded strings */
    unsigned depth;  /* structs and containers around p, up to LIMIT_CODEC_DEPTH */
    bool lax;        /* control characters may stand in strings, as Thrift's Python library writes them */
};

/* The next character that is not blank, not taken; 0 at the end. */
int jsonin_peek(struct jsonin *in);
int jsonin_expect(struct jsonin *in, char c);
/* Takes c if it is next. */
bool jsonin_accept(struct jsonin *in, char c);
/* After a member or element: 0 with *ret_more telling `,` from `close`. */
int jsonin_more(struct jsonin *in, char close, bool *ret_more);
/* A string in the arena, decoded, at most LIMIT_CODEC_STRING_BYTES long in the text. */
int jsonin_string(struct jsonin *in, struct str *ret);
/* As jsonin_string(), but points into the text if there is nothing to decode (then no NUL behind). */
int jsonin_borrow_string(struct jsonin *in, struct str *ret);
/* What looks like a number, as it stands in the text. */
int jsonin_number(struct jsonin *in, struct str *ret);
/* Takes the word if it is next, as in true, false, null. */
bool jsonin_accept_word(struct jsonin *in, struct str word);
/* Passes over any value. */
int jsonin_skip(struct jsonin *in);
/* 0 if only blanks follow. */
int jsonin_end(struct jsonin *in);
int jsonin_enter(struct jsonin *in);
static inline void jsonin_leave(struct jsonin *in)
{
    in->depth--;
}

#endif
