/* Numbers and JSON strings as text. Nothing here depends on a locale. */
#ifndef AURORA_CORE_TEXT_H
#define AURORA_CORE_TEXT_H

#include "core/buf.h"
#include "core/str.h"

/* A double as Java prints it: "0.0", "12.0", "1.5E-4", "1.0E7", "NaN", "-Infinity"; the fewest digits that read back as
 * the same number. */
void java_double(struct buf *out, double v);
void text_i64(struct buf *out, int64_t v);
/* The whole of s is [-]digits in the range of an int64 (leading zeros allowed). */
bool text_parse_i64(struct str s, int64_t *ret);
/* The whole of s is a JSON number, however precise, and finite as a double. */
bool text_parse_double(struct str s, double *ret);

/* Bytes of the valid UTF-8 sequence at p (1..4), 0 if it is none; n > 0 bytes are there. */
size_t utf8_length(const uint8_t *p, size_t n);
/* Appends a code point; surrogates and what is beyond U+10FFFF become U+FFFD. */
void utf8_add(struct buf *out, uint32_t code);

/* s as a JSON string with quotes: control characters as \n or \u001f, invalid UTF-8 replaced by U+FFFD. for_html: also
 * `< > & = '` and U+2028, U+2029 as \u003c, which is Gson's habit. */
void text_json_string(struct buf *out, struct str s, bool for_html);
/* How many bytes from p on stand for themselves in a JSON string and are ASCII. */
size_t text_plain_run(const uint8_t *p, size_t n, bool for_html);

/* Base64 in the standard alphabet. Reading takes it with or without padding; `to` has room for from.n bytes. */
void text_base64(struct buf *out, struct str bytes, bool padded);
bool text_parse_base64(struct str from, char *to, uint32_t *ret_n);

#endif
