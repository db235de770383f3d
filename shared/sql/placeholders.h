/* Counts a query's placeholders, as its database would: those inside strings, quoted identifiers, comments and dollar
 * quotes are text. PostgreSQL counts $1..$n (the highest number; a gap is an error); MySQL and ClickHouse count `?`.
 *
 * The engines are read in their default modes: PostgreSQL with standard_conforming_strings, MySQL without ANSI_QUOTES
 * and NO_BACKSLASH_ESCAPES. ClickHouse's `cond ? a : b` counts as a placeholder: a task writes if(cond, a, b).
 * Pure; any thread.
 */
#ifndef DB_SQL_PLACEHOLDERS_H
#define DB_SQL_PLACEHOLDERS_H

#include <stddef.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

#define PLACEHOLDERS_MAX 65535 /* PostgreSQL's and MySQL's protocols send the count in 16 bits */

/* A statement as it was read. */
struct placeholders {
	int count;
	size_t len; /* of the statement: up to its last token, without a trailing ';', white space and comments; 0: empty */
	int line; /* on an error: where, counted from 1 at sql's beginning */
};

/* What a statement consists of, white space and comments left out. */
enum sql_token {
	SQL_WORD,        /* a name or keyword that is not quoted */
	SQL_PLACEHOLDER, /* `?` or $n */
	SQL_QUOTED,      /* a string or a quoted name, with its quotes */
	SQL_CHAR,        /* any other character; a number is one for each digit */
};
/* Called for each token in its order; at is borrowed. */
typedef void (*sql_token_fn)(void *ctx, enum sql_token kind, const char *at, size_t len);

/* ERR_INVALID: an unterminated string, comment or dollar quote; a gap ("$3 is used but $2 is not"); a `;` that ends a
 * statement with more text behind it (a task is one statement); a comment that versions of the engine end in different
 * places. The text of e does not name the line: out->line does. */
enum err_code MUST_CHECK placeholders_scan(
        enum db_engine engine, const char *sql, size_t len, struct placeholders *out, struct err *e);
/* The same, and shows the tokens. */
enum err_code MUST_CHECK placeholders_walk(enum db_engine engine, const char *sql, size_t len, sql_token_fn token,
        void *ctx, struct placeholders *out, struct err *e);

/* The count alone; the text of e begins with "line N: ". */
enum err_code MUST_CHECK placeholders_count(
        enum db_engine engine, const char *sql, size_t len, int *count, struct err *e);

#endif
