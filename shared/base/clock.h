/* Time. Wall-clock times are milliseconds since 1970-01-01 UTC; durations are milliseconds of the monotonic clock.
 * Thread rule: any thread.
 */
#ifndef DB_BASE_CLOCK_H
#define DB_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLOCK_RFC3339_SIZE 32
/* What Go prints for a time that was never set; the clients of the HTTP API parse it. */
#define CLOCK_ZERO_TIME "0001-01-01T00:00:00Z"

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);

/* Writes "2026-11-24T10:27:24.123Z" (no fraction when the milliseconds are 0; CLOCK_ZERO_TIME when ms is 0). */
void clock_rfc3339(int64_t ms, char out[CLOCK_RFC3339_SIZE]);

/* Reads "yyyy-mm-dd hh:mm:ss" (UTC) or RFC 3339 ("T" or space, optional fraction, "Z" or an offset).
 * False when the text is neither, or names no real moment of the years 1970 to 9999. len excludes any NUL. */
bool clock_parse(const char *text, size_t len, int64_t *ms);

#endif
