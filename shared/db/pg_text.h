/* PostgreSQL's text forms of values. Pure; any thread.
 *
 * Into COPY's text form ("Text Format" in the manual's page on COPY): the writers append at `at`, which has room for
 * PG_COPY_ROOM(len) bytes (they may write, but do not keep, up to 8 bytes more than they return), and return the end.
 *
 * Out of PostgreSQL: what its output functions write (with the settings of our sessions: datestyle ISO, bytea_output hex,
 * extra_float_digits above 0) becomes WIRE_TEXT (types.h).
 */
#ifndef DB_DB_PG_TEXT_H
#define DB_DB_PG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/db/source.h"

#define PG_COPY_ROOM(len) (2 * (len) + 16)

/* What a text has that not every server takes; see pg_text_is_utf8. */
#define PG_TEXT_NUL 1u  /* a byte 0 */
#define PG_TEXT_HIGH 2u /* bytes beyond ASCII */

/* Sets bits of *odd. */
char *pg_copy_text(char *at, const char *data, size_t len, unsigned *odd);
/* The two characters of each byte. A bytea is PG_COPY_HEX and these. */
char *pg_copy_hex(char *at, const char *data, size_t len);
#define PG_COPY_HEX "\\\\x"

/* Is it UTF-8 as PostgreSQL has it (no surrogates, nothing longer than need be, nothing above U+10FFFF; a NUL counts as
 * valid here)? */
bool pg_text_is_utf8(const char *data, size_t len);

/* What has to be done with the texts of a column. */
enum pg_text_form {
	PG_TEXT_AS_IS,
	PG_TEXT_BOOL,    /* t, f */
	PG_TEXT_FLOAT,   /* the largest one */
	PG_TEXT_BYTEA,   /* \x and hex digits */
	PG_TEXT_INSTANT, /* in the session's zone, its offset behind it */
};
enum pg_text_form pg_text_form(const struct column *c);

/* Changes the cell (not NULL) into its WIRE_TEXT. The new text, when there is one, is written to out, which has room for
 * as many bytes as the cell has and may be the cell's own memory. A text of another form than expected stays as it is. */
void pg_text_convert(enum pg_text_form form, struct cell *c, char *out);

/* Takes a line of COPY's text form (without its newline) apart into n cells, in place: escapes are resolved in line's
 * memory, which the cells borrow. false: it does not have n fields, or is no such line. */
bool pg_copy_split(char *line, size_t len, struct cell *cells, size_t n);

#endif
