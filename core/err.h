/* Error codes shared by all rooms. Functions return 0 or a negative code; outputs (`ret_*`) are
 * untouched on failure. Only the top (admin/main.c, tests) prints. */
#ifndef AURORA_CORE_ERR_H
#define AURORA_CORE_ERR_H

#define ERR_MAP(X)                                                                                                     \
    X(NOMEM, "out of memory")                                                                                          \
    X(INVALID, "invalid argument")                                                                                     \
    X(MALFORMED, "malformed input")                                                                                    \
    X(TRUNCATED, "input ends too early")                                                                               \
    X(TOO_BIG, "a size limit is exceeded")                                                                             \
    X(TOO_DEEP, "nesting is too deep")                                                                                 \
    X(NOT_FOUND, "not found")                                                                                          \
    X(EXISTS, "already exists")                                                                                        \
    X(IO, "input/output error")                                                                                        \
    X(NOSPACE, "no space left on device")                                                                              \
    X(CORRUPT, "stored data is damaged")                                                                               \
    X(FOREIGN, "not a folder of this program")                                                                         \
    X(BUSY, "in use")                                                                                                  \
    X(FULL, "a queue is full")                                                                                         \
    X(CLOSED, "closed")                                                                                                \
    X(TIMEOUT, "timed out")                                                                                            \
    X(REJECTED, "rejected by a newer leader")                                                                          \
    X(UNSUPPORTED, "not supported")                                                                                    \
    X(REFUSED, "refused")

enum err {
    ERR_OK = 0,
    ERR_BASE_ = -1000,
#define X(code, text) ERR_##code,
    ERR_MAP(X)
#undef X
};

/* The text for a code of this enum; a generic text for any other number. Never NULL. */
const char *err_str(int err);

#endif
