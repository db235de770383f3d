/* Checked parsing of short texts: the one place where text becomes a number, a duration, a size or a name.
 * All take the text's length (no NUL needed), accept nothing before or behind the value, and never set errno.
 * Thread rule: any thread, no shared state.
 */
#ifndef DB_BASE_PARSE_H
#define DB_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decimal integer with an optional '-', within [min, max]. */
bool parse_i64(const char *text, size_t len, int64_t min, int64_t max, int64_t *out);

/* A duration: digits and one unit of ms, s, m, h, d ("250ms", "15s", "1h"); "0" needs no unit. Result in ms, at most 10 years. */
bool parse_duration_ms(const char *text, size_t len, int64_t *out);

/* A size: digits and an optional unit of B, KB, MB, GB (1000s) or KiB, MiB, GiB (1024s). Result in bytes. */
bool parse_size(const char *text, size_t len, int64_t *out);

/* "true"/"false", "yes"/"no", "on"/"off" in lower case. */
bool parse_bool(const char *text, size_t len, bool *out);

/* A job, group or queue name: 1 to max bytes of [A-Za-z0-9_:-]. */
bool parse_name(const char *text, size_t len, size_t max);

#endif
