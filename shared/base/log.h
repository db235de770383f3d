/* Log lines: one a line of text to standard error, `<time> <level> <what happened> key=value ...`.
 *
 * Thread rule: any thread; one write(2) a line, so lines never mix. log_set_level is for main, before threads start.
 * Never pass a DSN, a password or a job's arguments. Control characters are escaped, so a value cannot forge a line.
 */
#ifndef DB_BASE_LOG_H
#define DB_BASE_LOG_H

#include <stdbool.h>

#include "shared/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level least);
bool log_level_parse(const char *name, enum log_level *out);

/* fmt is the event in a few words and then its key=value pairs: log_at(LOG_INFO, "job finished job=%s rows=%lld", ...) */
void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

#endif
