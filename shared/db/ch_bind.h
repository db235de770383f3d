/* Puts a job's arguments in place of the `?` of a ClickHouse statement, as literals: servers know no other way that all
 * versions share and that takes every byte. An argument is a string literal ('...', \ and ' escaped), SQL NULL is NULL;
 * directly behind LIMIT and OFFSET, where no string may stand, an argument of digits alone is a number. Where the server
 * does not convert a string by itself (numbers, in older versions) the task says toInt64(?). Pure; any thread.
 */
#ifndef DB_DB_CH_BIND_H
#define DB_DB_CH_BIND_H

#include <stdbool.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"

enum ch_verb {
	CH_SELECTS, /* SELECT, WITH, or in parentheses */
	CH_TELLS,   /* SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK: it has columns and changes nothing */
	CH_CHANGES, /* the rest */
};

/* What is seen of a statement on the way. */
struct ch_statement {
	enum ch_verb verb;
	bool totals; /* WITH TOTALS stands in it */
	bool format; /* FORMAT and a format of tabs and lines that is not TabSeparatedWithNamesAndTypes */
};

/* Appends sql, one statement, with its arguments to out and describes it; args as in struct query, NULL = SQL NULL;
 * no args at all: something that the server can check the statement with, NULL and behind LIMIT and OFFSET a number.
 * ERR_PERMANENT: another number of arguments than the statement has `?`, or out is full. */
enum err_code MUST_CHECK ch_bind(const char *sql, const char *const *args, size_t n_args, struct buf *out,
        struct ch_statement *statement, struct err *e);

/* Appends text as a string literal. */
void ch_bind_literal(struct buf *out, const char *text);

#endif
