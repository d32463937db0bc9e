#include "core/err.h"

const char *err_str(int err)
{
    switch (err) {
    case ERR_OK:
        return "success";
#define X(code, text)                                                                                                  \
    case ERR_##code:                                                                                                   \
        return text;
        ERR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}
