/* The texts that the MySQL sink sends: rows, names, literals. Pure; any thread.
 *
 * Rows are kept in the form of LOAD DATA's default format: cells parted by tabs, a newline behind the last, \N for NULL,
 * and \0 \t \n \r \\ \' for those bytes. A cell in this form is also what stands inside '...' in a statement, so that
 * the same buffer serves both ways (not under the sql_mode NO_BACKSLASH_ESCAPES).
 */
#ifndef DB_DB_MYSQL_ROWS_H
#define DB_DB_MYSQL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/db/source.h"

/* How the cells of a column travel. */
enum mysql_cell {
	MYSQL_CELL_TEXT,
	MYSQL_CELL_PARTIAL, /* with values that MySQL lacks, and that become NULL */
	MYSQL_CELL_BYTES,
	MYSQL_CELL_BIT, /* digits */
};
enum mysql_cell mysql_rows_form(const struct column *c);

/* All append to out; a failure shows in buf_ok. */
void mysql_rows_name(struct buf *out, const char *name);
void mysql_rows_literal(struct buf *out, const char *text);
/* "(`name` TYPE, ...)". A row has at most 65,535 bytes, to which the declared length of CHAR and the like counts: columns
 * that would take more than half of that become TEXT or BLOB. */
void mysql_rows_columns(struct buf *out, const struct columns *columns);
/* The end of LOAD DATA: "CHARACTER SET binary (`a`, @b1) SET ...". (With another character set the bytes of a BLOB are
 * looked at as text; texts are checked against the columns' character set either way.) */
void mysql_rows_load(struct buf *out, const struct columns *columns);
/* One row; its cells are as types.h says. */
void mysql_rows_add(
        struct buf *out, const struct columns *columns, const unsigned char *forms, const struct cell *cells);
/* The row of the buffer that begins at `at`, as "value, value"; returns where the next begins. aliases: "value AS `name`". */
const char *mysql_rows_values(
        struct buf *out, const char *at, const struct columns *columns, const unsigned char *forms, bool aliases);
/* Do aliases keep the columns' names? (The server takes off spaces and control characters at their beginnings.) */
bool mysql_rows_keeps_names(const struct columns *columns);

#define MYSQL_ROWS_HASH 17
/* 16 hexadecimal digits that stand for the two texts. */
void mysql_rows_hash(const char *a, const char *b, char out[MYSQL_ROWS_HASH]);

#endif
