/* ClickHouse's types: which kind of value each is, and what of its TabSeparated form is not that of WIRE_TEXT yet
 * (types.h). A type that is not in the table travels as the text that the server prints. Pure; any thread.
 */
#ifndef DB_DB_CH_TYPES_H
#define DB_DB_CH_TYPES_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"
#include "shared/db/column.h"
#include "shared/db/source.h"

/* What is done with each cell of a column. */
enum ch_fix {
	CH_AS_IS,
	CH_BOOL,   /* true and false become 1 and 0 */
	CH_FLOAT,  /* nan, inf and -inf become NaN, Infinity and -Infinity; the largest Float32 TYPES_FLOAT_MAX */
	CH_DOUBLE, /* nan, inf and -inf */
	CH_FIXED,  /* FixedString: the NUL bytes that fill it up are cut */
	CH_RAW,    /* of values in values: strings are quoted and escaped within it already, so it is not unescaped */
};

/* Reads a type as the server names it, "Nullable(Decimal(9, 2))", and sets c's kind and its sizes. *known: it is a type
 * of the table, or one of ClickHouse's that travel as text. ERR_PERMANENT: its values have no text (AggregateFunction). */
enum err_code MUST_CHECK ch_type_read(
        const char *type, size_t len, struct column *c, enum ch_fix *fix, bool *known, struct err *e);

void ch_type_fix(enum ch_fix fix, struct cell *cell);

/* Shows each type of the table: native as ClickHouse writes it, with parameters where it has some, and its column. */
void ch_types_each(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx);

#endif
