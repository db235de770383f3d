/* The columns of a result, as a source describes them. Thread rule: one thread at a time. */
#ifndef DB_DB_COLUMN_H
#define DB_DB_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

#define COLUMN_NAME_MAX 255 /* bytes */

/* What a value is, whichever engine it comes from; types.h says which columns it becomes and how it is written. */
enum kind {
	KIND_TEXT, /* unbounded; length: bytes at most, 0 = no limit */
	KIND_CHAR, /* of length characters, without trailing spaces */
	KIND_VARCHAR,
	KIND_BOOL,
	KIND_INT8,
	KIND_UINT8,
	KIND_INT16,
	KIND_UINT16,
	KIND_INT24,
	KIND_UINT24,
	KIND_INT32,
	KIND_UINT32,
	KIND_INT64,
	KIND_UINT64,
	KIND_DECIMAL, /* precision and scale; precision 0 = unlimited */
	KIND_FLOAT,   /* 4 bytes */
	KIND_DOUBLE,  /* 8 bytes */
	KIND_YEAR,
	KIND_DATE,
	KIND_TIME,      /* of day; precision: digits of the fraction, as in the next four */
	KIND_DURATION,  /* hours, minutes, seconds, with a sign: MySQL's TIME */
	KIND_TIMESTAMP, /* date and time without a zone */
	KIND_INSTANT,   /* a moment, written in UTC */
	KIND_UNIXTIME,  /* the same within 1970 to 2038 or 2106: MySQL's TIMESTAMP */
	KIND_BINARY,    /* of length bytes */
	KIND_VARBINARY,
	KIND_BYTES, /* unbounded; length as KIND_TEXT */
	KIND_BIT,   /* length bits */
	KIND_JSON,
	KIND_UUID,
	KIND_INET,
};

struct column {
	char name[COLUMN_NAME_MAX + 1];
	enum kind kind;
	int precision, scale;
	int64_t length;

	/* Only for a sink of the source's own engine, which can make exactly the same column. */
	uint32_t type;  /* the engine's number of the type (PostgreSQL: OID) */
	int32_t typmod; /* PostgreSQL: atttypmod, -1 = none */
	bool as_text;   /* the type is not known everywhere: the value travels as its text, the result column is TEXT */
};

struct columns {
	enum db_engine engine; /* whose types these are */
	struct column *list;   /* owned */
	size_t n;
};

/* Makes room for n columns, all zero; what was there is forgotten. */
enum err_code MUST_CHECK columns_resize(struct columns *c, size_t n, struct err *e);
enum err_code MUST_CHECK columns_copy(struct columns *to, const struct columns *from, struct err *e);
void columns_fini(struct columns *c);

/* Takes a name as the source gave it: cut at a character's border where it is too long. */
void column_set_name(struct column *c, const char *name);

/* What the names of columns have to be. */
struct name_rules {
	size_t max;                  /* bytes */
	const char *const *reserved; /* that none can have; ended by NULL; NULL: there are none */
	bool fold;                   /* "x" and "X" are the same; no space at the end, no character beyond U+FFFF */
};

/* Makes every name non-empty, at most max bytes and unique: an empty one becomes column_<number>, the second "x" becomes
 * x_2, and so on; so does one of the reserved names. */
enum err_code MUST_CHECK columns_fix_names(struct columns *c, const struct name_rules *rules, struct err *e);

#endif
