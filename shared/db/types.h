/* The kinds of values: how each travels between two engines, and which column it becomes in each results engine. The
 * native types of each source engine, and the kind that each is, stand beside its driver and are listed by types_print.
 * Pure; any thread.
 *
 * WIRE_TEXT, the form of a cell that every source writes and every sink reads, by kind:
 *   TEXT CHAR VARCHAR JSON UUID INET   the text, UTF-8
 *   BOOL                               0 or 1
 *   INT* UINT* YEAR                    decimal digits, with - when negative
 *   DECIMAL                            decimal digits, or NaN, Infinity, -Infinity
 *   FLOAT DOUBLE                       as many decimal digits as bring the same bits back, or NaN, Infinity, -Infinity;
 *                                      the largest FLOAT as TYPES_FLOAT_MAX (shorter digits are a DOUBLE beyond it, which
 *                                      MySQL refuses)
 *   DATE                               YYYY-MM-DD; MySQL's zero dates as they are (0000-00-00, 2024-00-00); what PostgreSQL
 *                                      writes beyond that: infinity, -infinity, years of five digits, a BC behind it
 *   TIME DURATION                      [-]HH:MM:SS[.ffffff], DURATION with up to three digits of hours
 *   TIMESTAMP INSTANT UNIXTIME         a DATE, a space, a TIME (before a BC); the last two in UTC
 *   BINARY VARBINARY BYTES             the bytes themselves
 *   BIT                                a digit 0 or 1 for each bit, the highest first
 */
#ifndef DB_DB_TYPES_H
#define DB_DB_TYPES_H

#include <stdbool.h>
#include <stdio.h>

#include "shared/base/buf.h"
#include "shared/db/column.h"

#define TYPES_FLOAT_MAX "3.4028234663852886e+38"

/* Writes the declared type that a column of this kind gets in a results database of the engine: "numeric(18,4)",
 * "BIGINT UNSIGNED". A kind that the engine lacks, or lacks in this size, becomes its text type. Not for PostgreSQL to
 * PostgreSQL: pg_types.h. */
void types_declare(enum db_engine results, const struct column *c, struct buf *out);
/* Does the column become text there (whatever its kind)? Then its cells are written as they came. */
bool types_is_text(enum db_engine results, const struct column *c);

/* Is its type in PostgreSQL one of varying length, whose long values need a TOAST table? */
bool types_is_varlena(const struct column *c);

/* May the column have values that the results engine cannot hold? Asked once a column; no: types_has_value is always true. */
bool types_is_partial(enum db_engine results, const struct column *c);
/* Can the results engine hold this value of a partial column? No: it is one that has no counterpart there, and becomes
 * NULL (README, "Types"): in PostgreSQL dates that the calendar has not (zero dates); in MySQL NaN and the infinities, and
 * dates before the year 0 or after 9999. */
bool types_has_value(enum db_engine results, const struct column *c, const char *cell, size_t len);

#endif
