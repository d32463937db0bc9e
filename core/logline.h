/* Structured log lines: `level event key=value ...`. The core formats; where a line goes is set
 * once by main (stderr) or by a test (a buffer), so nothing here does I/O. */
#ifndef AURORA_CORE_LOGLINE_H
#define AURORA_CORE_LOGLINE_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* `line` has no newline and is valid only during the call. */
typedef void (*logline_sink)(enum log_level level, const char *line, void *arg);

/* NULL drops all lines (the default). */
void logline_set_sink(logline_sink sink, void *arg);
/* Lines below the level are not formatted. Default LOG_INFO. */
void logline_set_level(enum log_level level);
enum log_level logline_level(void);
/* `event` is one word; fmt gives `key=value` pairs. Control characters in the result become '?',
 * so that input can never forge a line. */
void logline(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
