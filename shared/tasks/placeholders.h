/* Counts a query's placeholders, as its database would: those inside strings, quoted identifiers, comments and dollar
 * quotes are text. PostgreSQL counts $1..$n (the highest number; a gap is an error); MySQL and ClickHouse count `?`.
 * Pure; any thread.
 */
#ifndef DB_TASKS_PLACEHOLDERS_H
#define DB_TASKS_PLACEHOLDERS_H

#include <stddef.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

/* ERR_INVALID: an unterminated string, comment or dollar quote; a gap ("$3 is used but $2 is not"); a `;` that ends a
 * statement with more text behind it (a task is one statement). line in the text counts from 1 at sql's beginning. */
enum err_code MUST_CHECK placeholders_count(
        enum db_engine engine, const char *sql, size_t len, int *count, struct err *e);

#endif
