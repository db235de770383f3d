#include "shared/db/types.h"

#include <string.h>

#define MYSQL_DECIMAL_DIGITS 65
#define MYSQL_DECIMAL_SCALE 30
#define MYSQL_BIT_MAX 64
#define MYSQL_CHAR_MAX 255
#define MYSQL_VARCHAR_MAX 16383 /* characters of 4 bytes in a row of 65,535 bytes */
#define MYSQL_BINARY_MAX 255
#define MYSQL_VARBINARY_MAX 65532
#define FRACTION_MAX 6 /* microseconds: what both engines have */

/* What follows the name of a type. */
enum form {
	PLAIN,
	LENGTH,    /* (length) */
	DECIMALS,  /* (precision,scale), nothing when the precision is not limited */
	FRACTION,  /* (digits of the fraction), and the tail behind it */
	BY_LENGTH, /* MySQL: the smallest of the four sizes of the type that holds length bytes */
};

struct target {
	const char *name, *tail;
	enum form form;
};

#define PG(name, form, tail) \
	{ \
		name, tail, form \
	}
#define MY(name, form) \
	{ \
		name, "", form \
	}

static const struct target targets[][2] = {
        [KIND_TEXT] = {PG("text", PLAIN, ""), MY("TEXT", BY_LENGTH)},
        [KIND_CHAR] = {PG("character varying", LENGTH, ""), MY("CHAR", LENGTH)},
        [KIND_VARCHAR] = {PG("character varying", LENGTH, ""), MY("VARCHAR", LENGTH)},
        [KIND_BOOL] = {PG("boolean", PLAIN, ""), MY("BOOLEAN", PLAIN)},
        [KIND_INT8] = {PG("smallint", PLAIN, ""), MY("TINYINT", PLAIN)},
        [KIND_UINT8] = {PG("smallint", PLAIN, ""), MY("TINYINT UNSIGNED", PLAIN)},
        [KIND_INT16] = {PG("smallint", PLAIN, ""), MY("SMALLINT", PLAIN)},
        [KIND_UINT16] = {PG("integer", PLAIN, ""), MY("SMALLINT UNSIGNED", PLAIN)},
        [KIND_INT24] = {PG("integer", PLAIN, ""), MY("MEDIUMINT", PLAIN)},
        [KIND_UINT24] = {PG("integer", PLAIN, ""), MY("MEDIUMINT UNSIGNED", PLAIN)},
        [KIND_INT32] = {PG("integer", PLAIN, ""), MY("INT", PLAIN)},
        [KIND_UINT32] = {PG("bigint", PLAIN, ""), MY("INT UNSIGNED", PLAIN)},
        [KIND_INT64] = {PG("bigint", PLAIN, ""), MY("BIGINT", PLAIN)},
        [KIND_UINT64] = {PG("numeric(20,0)", PLAIN, ""), MY("BIGINT UNSIGNED", PLAIN)},
        [KIND_DECIMAL] = {PG("numeric", DECIMALS, ""), MY("DECIMAL", DECIMALS)},
        [KIND_FLOAT] = {PG("real", PLAIN, ""), MY("FLOAT", PLAIN)},
        [KIND_DOUBLE] = {PG("double precision", PLAIN, ""), MY("DOUBLE", PLAIN)},
        [KIND_YEAR] = {PG("smallint", PLAIN, ""), MY("YEAR", PLAIN)},
        [KIND_DATE] = {PG("date", PLAIN, ""), MY("DATE", PLAIN)},
        [KIND_TIME] = {PG("time", FRACTION, ""), MY("TIME", FRACTION)},
        [KIND_DURATION] = {PG("interval", FRACTION, ""), MY("TIME", FRACTION)},
        [KIND_TIMESTAMP] = {PG("timestamp", FRACTION, ""), MY("DATETIME", FRACTION)},
        [KIND_INSTANT] = {PG("timestamp", FRACTION, " with time zone"), MY("DATETIME", FRACTION)},
        [KIND_UNIXTIME] = {PG("timestamp", FRACTION, " with time zone"), {"TIMESTAMP", " NULL", FRACTION}},
        [KIND_BINARY] = {PG("bytea", PLAIN, ""), MY("BINARY", LENGTH)},
        [KIND_VARBINARY] = {PG("bytea", PLAIN, ""), MY("VARBINARY", LENGTH)},
        [KIND_BYTES] = {PG("bytea", PLAIN, ""), MY("BLOB", BY_LENGTH)},
        [KIND_BIT] = {PG("bit", LENGTH, ""), MY("BIT", LENGTH)},
        [KIND_JSON] = {PG("json", PLAIN, ""), MY("LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", PLAIN)},
        [KIND_UUID] = {PG("uuid", PLAIN, ""), MY("CHAR(36)", PLAIN)},
        [KIND_INET] = {PG("inet", PLAIN, ""), MY("VARCHAR(49)", PLAIN)},
};

static bool is_between(int64_t v, int64_t least, int64_t most)
{
	return v >= least && v <= most;
}

/* (MySQL's JSON is none of the targets: MariaDB's is a LONGTEXT like this one with a check that refuses 32 levels and more,
 * MySQL's rounds numbers and drops what is said twice.) */

/* Has the engine the kind in this size? */
static bool fits(enum db_engine results, const struct column *c)
{
	if (results != DB_MYSQL)
		return true;
	switch (c->kind) {
	case KIND_DECIMAL:
		return is_between(c->precision, 1, MYSQL_DECIMAL_DIGITS) &&
		        is_between(
		                c->scale, 0, c->precision < MYSQL_DECIMAL_SCALE ? c->precision : MYSQL_DECIMAL_SCALE);
	case KIND_BIT:
		return is_between(c->length, 1, MYSQL_BIT_MAX);
	case KIND_CHAR:
		return is_between(c->length, 1, MYSQL_CHAR_MAX);
	case KIND_VARCHAR:
		return is_between(c->length, 1, MYSQL_VARCHAR_MAX);
	case KIND_BINARY:
		return is_between(c->length, 1, MYSQL_BINARY_MAX);
	case KIND_VARBINARY:
		return is_between(c->length, 1, MYSQL_VARBINARY_MAX);
	default:
		return true;
	}
}

static bool is_bytes(enum kind kind)
{
	return kind == KIND_BINARY || kind == KIND_VARBINARY || kind == KIND_BYTES;
}

/* The four sizes of MySQL's TEXT and BLOB. */
static const char *size_of(int64_t length)
{
	return length <= 0           ? "LONG"
	        : length <= 0xff     ? "TINY"
	        : length <= 0xffff   ? ""
	        : length <= 0xffffff ? "MEDIUM"
	                             : "LONG";
}

void types_declare(enum db_engine results, const struct column *c, struct buf *out)
{
	if (!fits(results, c)) {
		buf_addstr(out, is_bytes(c->kind) ? "LONGBLOB" : "LONGTEXT");
		return;
	}
	const struct target *t = &targets[c->kind][results == DB_MYSQL];
	if (t->form == BY_LENGTH)
		buf_addstr(out, size_of(c->length));
	buf_addstr(out, t->name);
	if (t->form == LENGTH)
		buf_addf(out, "(%lld)", (long long)c->length);
	else if (t->form == DECIMALS && c->precision > 0)
		buf_addf(out, "(%d,%d)", c->precision, c->scale);
	else if (t->form == FRACTION)
		buf_addf(out, "(%d)", c->precision < FRACTION_MAX ? c->precision : FRACTION_MAX);
	buf_addstr(out, t->tail);
}

bool types_is_text(enum db_engine results, const struct column *c)
{
	return c->kind == KIND_TEXT || (!fits(results, c) && !is_bytes(c->kind));
}

bool types_is_varlena(const struct column *c)
{
	switch (c->kind) {
	case KIND_TEXT:
	case KIND_CHAR:
	case KIND_VARCHAR:
	case KIND_UINT64:
	case KIND_DECIMAL:
	case KIND_BINARY:
	case KIND_VARBINARY:
	case KIND_BYTES:
	case KIND_BIT:
	case KIND_JSON:
	case KIND_INET:
		return true;
	default:
		return false;
	}
}

/* --- values without a counterpart --- */

bool types_is_partial(enum db_engine results, const struct column *c)
{
	switch (c->kind) {
	case KIND_DATE:
	case KIND_TIMESTAMP:
	case KIND_INSTANT:
	case KIND_UNIXTIME:
		return true;
	case KIND_DECIMAL:
	case KIND_FLOAT:
	case KIND_DOUBLE:
		return results == DB_MYSQL && fits(results, c);
	default:
		return false;
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The number of the n digits at text. */
static int number(const char *text, size_t n)
{
	int v = 0;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (text[i] - '0');
	return v;
}

static bool has_shape_of_date(const char *cell, size_t len)
{
	if (len < 10 || cell[4] != '-' || cell[7] != '-')
		return false;
	for (size_t i = 0; i < 10; i++)
		if (i != 4 && i != 7 && !is_digit(cell[i]))
			return false;
	return true;
}

/* Is it a day of the calendar? What is no date at all is: the server says what is wrong with it. */
static bool is_day(const char *cell, size_t len)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	if (!has_shape_of_date(cell, len))
		return true;
	int year = number(cell, 4), month = number(cell + 5, 2), day = number(cell + 8, 2);
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (!is_between(year, 1, 9999) || !is_between(month, 1, 12))
		return false;
	return is_between(day, 1, days[month - 1] + (month == 2 && leap));
}

/* Is it within the years that MySQL has, 0000 to 9999? */
static bool is_mysql_date(const char *cell, size_t len)
{
	return has_shape_of_date(cell, len) && cell[len - 1] != 'C'; /* BC */
}

/* Within MySQL's TIMESTAMP? It begins after the first moment of 1970, which is its zero; where it ends (2038, 2106) is the
 * server's affair. */
static bool is_unixtime(const char *cell, size_t len)
{
	static const char zero[] = "1970-01-01 00:00:00.000000";
	if (!is_mysql_date(cell, len) || number(cell, 4) > 2106)
		return false;
	return len >= sizeof zero || memcmp(cell, zero, len) != 0;
}

static bool is_number(const char *cell, size_t len)
{
	bool sign = len > 0 && (cell[0] == '-' || cell[0] == '+');
	return len > sign && (is_digit(cell[sign]) || cell[sign] == '.');
}

bool types_has_value(enum db_engine results, const struct column *c, const char *cell, size_t len)
{
	if (!types_is_partial(results, c))
		return true;
	if (results != DB_MYSQL)
		return is_day(cell, len);
	switch (c->kind) {
	case KIND_DATE:
	case KIND_TIMESTAMP:
	case KIND_INSTANT:
		return is_mysql_date(cell, len);
	case KIND_UNIXTIME:
		return is_unixtime(cell, len);
	default:
		return is_number(cell, len);
	}
}
