#include "core/logline.h"

#include "core/buf.h"

enum { USUAL_BYTES = 512 };

static logline_sink the_sink;
static void *the_arg;
static enum log_level the_level = LOG_INFO;

void logline_set_sink(logline_sink sink, void *arg)
{
    the_sink = sink;
    the_arg = arg;
}

void logline_set_level(enum log_level level)
{
    the_level = level;
}

enum log_level logline_level(void)
{
    return the_level;
}

void logline(enum log_level level, const char *event, const char *fmt, ...)
{
    if (!the_sink || level < the_level) return;
    struct buf b = { 0 };
    buf_reserve(&b, USUAL_BYTES);
    buf_adds(&b, event);
    if (*fmt) buf_addc(&b, ' ');
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(&b, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < b.len; i++)
        if (b.data[i] < 0x20 || b.data[i] == 0x7f) b.data[i] = '?';
    the_sink(level, buf_cstr(&b), the_arg);
    buf_release(&b);
}
