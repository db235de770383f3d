/* PostgreSQL's text forms of values. Pure; any thread.
 *
 * Into COPY's text form ("Text Format" in the manual's page on COPY): the writers append at `at`, which has room for
 * PG_COPY_ROOM(len) bytes (they may write, but do not keep, up to 8 bytes more than they return), and return the end.
 */
#ifndef DB_DB_PG_TEXT_H
#define DB_DB_PG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

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

#endif
