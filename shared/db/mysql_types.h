/* The native types of MySQL and MariaDB: which kind of column each is, and how a value of it comes in a row of the binary
 * protocol. Private to shared/db/mysql_*.c but for mysql_types_each (types.h). Pure; any thread.
 */
#ifndef DB_DB_MYSQL_TYPES_H
#define DB_DB_MYSQL_TYPES_H

#include <mysql.h>

#include "shared/db/column.h"
#include "shared/db/mysql_text.h"
#include "shared/db/source.h"

/* How a value comes. */
enum mysql_form {
	MYSQL_FORM_TEXT, /* a length and bytes: a text that is already as types.h wants it, or the bytes themselves */
	MYSQL_FORM_BIT,  /* a length and bytes */
	MYSQL_FORM_INT8, /* integers and floating point numbers: little-endian */
	MYSQL_FORM_INT16,
	MYSQL_FORM_INT32,
	MYSQL_FORM_INT64,
	MYSQL_FORM_YEAR,
	MYSQL_FORM_FLOAT,
	MYSQL_FORM_DOUBLE,
	MYSQL_FORM_DATE, /* this and the next two: a length and as many of the fields as are not 0 */
	MYSQL_FORM_DATETIME,
	MYSQL_FORM_TIME,
};

struct mysql_reader {
	enum mysql_form form;
	bool is_unsigned;
	int digits; /* of a fraction of seconds; bits of a BIT */
};

/* The column that the metadata describe, and how its values are read. */
void mysql_type_describe(const MYSQL_FIELD *field, struct column *out, struct mysql_reader *reader);

/* Reads one value (not NULL) at *at, which is moved behind it. What is not in the row as it is to be is written into
 * room, of MYSQL_TEXT_ROOM bytes; *out is valid as long as both. */
void mysql_type_read(const struct mysql_reader *reader, unsigned char **at, char *room, struct cell *out);
/* A BIT's bytes as its digits. */
void mysql_type_read_bits(
        const struct mysql_reader *reader, const unsigned char *bytes, size_t len, char *room, struct cell *out);

#endif
