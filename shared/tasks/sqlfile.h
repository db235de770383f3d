/* The form of a .sql file (that of goyesql): a row of queries, each with tags before it. Nothing here knows what a tag
 * means or reads SQL; a file is read line by line:
 *
 *   -- The reports of the ledger.            a comment: is dropped before a query's body, and belongs to it within
 *   -- name: top_users                       a tag, `-- name: value`; letters, '_' and '-'; white space around is free
 *   -- db: ledger
 *   SELECT id FROM users                     the body: from the first line that is neither blank nor a comment
 *   -- the best: first                       within it no line is a tag,
 *   ORDER BY balance DESC;
 *   -- name: slow_report                     but `-- name:` always begins the next query
 *
 * That last rule holds within strings, dollar quotes and block comments too: this is how goyesql divides a file.
 * CRLF line ends (read as LF) and a UTF-8 byte order mark are accepted.
 * Thread rule: no shared state. Pure: the file's text comes from the caller.
 */
#ifndef DB_TASKS_SQLFILE_H
#define DB_TASKS_SQLFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"

#define SQLFILE_MAX_BYTES (1024 * 1024)

struct sqlfile_tag {
	const char *name;  /* as written; tags are compared without regard to case */
	const char *value; /* "" when there is none */
	int line;
};

struct sqlfile_query {
	struct sqlfile_tag *tags; /* the first one is `name` */
	size_t n_tags;
	const char *body; /* "" when there is none; no white space around it */
	size_t body_len;
	int body_line;
};

struct sqlfile {
	char *text; /* owned; all strings above are parts of it, each with its NUL */
	struct sqlfile_query *queries;
	size_t n;
};

/* file is the name for messages: on ERR_INVALID (too large, a NUL byte, no UTF-8, stray text or a tag before the first
 * name) e is "file:line: why". *out is the caller's (sqlfile_fini) when it is ERR_OK, and empty otherwise. */
enum err_code MUST_CHECK sqlfile_parse(
        const char *file, const char *text, size_t len, struct sqlfile *out, struct err *e);
void sqlfile_fini(struct sqlfile *f);

/* A line that has the form of a tag, as slices of it. */
struct sqlfile_slices {
	const char *name, *value;
	size_t name_len, value_len;
};
bool sqlfile_is_tag(const char *line, size_t len, struct sqlfile_slices *out);

#endif
