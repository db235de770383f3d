/* Numbers as text, exactly and quickly: what the MySQL drivers write a row's values with. Pure; any thread.
 *
 * All write at out, which has room for MYSQL_TEXT_ROOM bytes, no NUL behind it, and return how many bytes they wrote.
 */
#ifndef DB_DB_MYSQL_TEXT_H
#define DB_DB_MYSQL_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define MYSQL_TEXT_ROOM 72

size_t mysql_text_u64(uint64_t v, char *out);
size_t mysql_text_i64(int64_t v, char *out);
/* At least `width` digits, with zeros before them. */
size_t mysql_text_padded(uint64_t v, int width, char *out);

/* The shortest digits that bring the same bits back, or nearly so; NaN, Infinity and -Infinity by name. */
size_t mysql_text_double(double v, char *out);
/* Also when it is read as a double and then rounded to a float. */
size_t mysql_text_float(float v, char *out);

#endif
