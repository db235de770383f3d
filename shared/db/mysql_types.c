#include "shared/db/mysql_types.h"

#include <string.h>

#include "shared/db/mysql_ops.h"

#define BINARY_CHARSET 63
#define BYTES_OF_CHARACTER 4 /* of utf8mb4, in which all texts come */
#define FRACTION_MAX 6

/* --- which kind a type is --- */

/* `other`: of UNSIGNED numbers; of strings without a character set. */
static const struct native {
	enum enum_field_types type;
	enum mysql_form form;
	enum kind kind, other;
} natives[] = {
        {MYSQL_TYPE_TINY, MYSQL_FORM_INT8, KIND_INT8, KIND_UINT8},
        {MYSQL_TYPE_SHORT, MYSQL_FORM_INT16, KIND_INT16, KIND_UINT16},
        {MYSQL_TYPE_INT24, MYSQL_FORM_INT32, KIND_INT24, KIND_UINT24},
        {MYSQL_TYPE_LONG, MYSQL_FORM_INT32, KIND_INT32, KIND_UINT32},
        {MYSQL_TYPE_LONGLONG, MYSQL_FORM_INT64, KIND_INT64, KIND_UINT64},
        {MYSQL_TYPE_NEWDECIMAL, MYSQL_FORM_TEXT, KIND_DECIMAL, KIND_DECIMAL},
        {MYSQL_TYPE_DECIMAL, MYSQL_FORM_TEXT, KIND_DECIMAL, KIND_DECIMAL},
        {MYSQL_TYPE_FLOAT, MYSQL_FORM_FLOAT, KIND_FLOAT, KIND_FLOAT},
        {MYSQL_TYPE_DOUBLE, MYSQL_FORM_DOUBLE, KIND_DOUBLE, KIND_DOUBLE},
        {MYSQL_TYPE_YEAR, MYSQL_FORM_YEAR, KIND_YEAR, KIND_YEAR},
        {MYSQL_TYPE_DATE, MYSQL_FORM_DATE, KIND_DATE, KIND_DATE},
        {MYSQL_TYPE_NEWDATE, MYSQL_FORM_DATE, KIND_DATE, KIND_DATE},
        {MYSQL_TYPE_TIME, MYSQL_FORM_TIME, KIND_DURATION, KIND_DURATION},
        {MYSQL_TYPE_DATETIME, MYSQL_FORM_DATETIME, KIND_TIMESTAMP, KIND_TIMESTAMP},
        {MYSQL_TYPE_TIMESTAMP, MYSQL_FORM_DATETIME, KIND_UNIXTIME, KIND_UNIXTIME},
        {MYSQL_TYPE_BIT, MYSQL_FORM_BIT, KIND_BIT, KIND_BIT},
        {MYSQL_TYPE_STRING, MYSQL_FORM_TEXT, KIND_CHAR, KIND_BINARY},
        {MYSQL_TYPE_VAR_STRING, MYSQL_FORM_TEXT, KIND_VARCHAR, KIND_VARBINARY},
        {MYSQL_TYPE_VARCHAR, MYSQL_FORM_TEXT, KIND_VARCHAR, KIND_VARBINARY},
        {MYSQL_TYPE_ENUM, MYSQL_FORM_TEXT, KIND_TEXT, KIND_TEXT},
        {MYSQL_TYPE_SET, MYSQL_FORM_TEXT, KIND_TEXT, KIND_TEXT},
        {MYSQL_TYPE_JSON, MYSQL_FORM_TEXT, KIND_JSON, KIND_JSON},
        {MYSQL_TYPE_NULL, MYSQL_FORM_TEXT, KIND_TEXT, KIND_TEXT},
        {MYSQL_TYPE_GEOMETRY, MYSQL_FORM_TEXT, KIND_BYTES, KIND_BYTES},
};
/* The four sizes of TEXT and BLOB, and whatever type is still to come: servers send those as strings. */
static const struct native any_string = {MYSQL_TYPE_BLOB, MYSQL_FORM_TEXT, KIND_TEXT, KIND_BYTES};

/* What MariaDB says of types that MySQL's numbers have no room for. */
static const struct special {
	const char *name; /* of the data type, or of the format */
	enum kind kind;
} specials[] = {{"json", KIND_JSON}, {"uuid", KIND_UUID}, {"inet6", KIND_INET}, {"inet4", KIND_INET}};

/* Texts that are computed, a parameter's among them, may come as CHAR and end in spaces, which a CHAR column does not keep. */
static enum enum_field_types type_of(const MYSQL_FIELD *f)
{
	bool is_computed = !f->org_table || !f->org_table[0];
	return f->type == MYSQL_TYPE_STRING && is_computed ? MYSQL_TYPE_VAR_STRING : f->type;
}

static const struct native *find(enum enum_field_types type)
{
	for (size_t i = 0; i < sizeof natives / sizeof *natives; i++)
		if (natives[i].type == type)
			return &natives[i];
	return &any_string;
}

static int at_most(unsigned v, int max)
{
	return v < (unsigned)max ? (int)v : max;
}

static enum kind kind_of(const MYSQL_FIELD *f, const struct native *native, const char *special, size_t special_len)
{
	for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
		if (special_len == strlen(specials[i].name) && memcmp(special, specials[i].name, special_len) == 0)
			return specials[i].kind;
	if (f->flags & (ENUM_FLAG | SET_FLAG))
		return KIND_TEXT;
	bool other = native->form == MYSQL_FORM_TEXT ? f->charsetnr == BINARY_CHARSET : (f->flags & UNSIGNED_FLAG) != 0;
	return other ? native->other : native->kind;
}

static void describe(
        const MYSQL_FIELD *f, const char *special, size_t special_len, struct column *c, struct mysql_reader *reader)
{
	const struct native *native = find(type_of(f));
	bool is_unsigned = f->flags & UNSIGNED_FLAG;
	c->type = f->type;
	c->kind = kind_of(f, native, special, special_len);
	*reader = (struct mysql_reader){.form = native->form, .is_unsigned = is_unsigned};
	int64_t length = (int64_t)f->length;
	switch (c->kind) {
	case KIND_DECIMAL: /* the length has room for a sign and a point */
		c->scale = at_most(f->decimals, 30);
		c->precision = (int)length - !is_unsigned - (c->scale > 0);
		break;
	case KIND_DURATION:
	case KIND_TIMESTAMP:
	case KIND_UNIXTIME: /* more digits than there are: they are not the same in every row */
		reader->digits = c->precision = at_most(f->decimals, FRACTION_MAX);
		break;
	case KIND_CHAR: /* also that of no characters has room for one */
	case KIND_VARCHAR:
		c->length = length < BYTES_OF_CHARACTER ? 1 : length / BYTES_OF_CHARACTER;
		break;
	case KIND_BINARY:
	case KIND_VARBINARY:
		c->length = length < 1 ? 1 : length;
		break;
	case KIND_BIT:
		reader->digits = (int)(c->length = at_most((unsigned)length, 64));
		break;
	case KIND_TEXT:
	case KIND_BYTES:
		c->length = length;
		break;
	default:
		break;
	}
}

void mysql_type_describe(const MYSQL_FIELD *field, struct column *out, struct mysql_reader *reader)
{
	MARIADB_CONST_STRING special = {NULL, 0};
	if (mariadb_field_attr(&special, field, MARIADB_FIELD_ATTR_DATA_TYPE_NAME) != 0 || special.length == 0)
		(void)!mariadb_field_attr(&special, field, MARIADB_FIELD_ATTR_FORMAT_NAME);
	column_set_name(out, field->name ? field->name : "");
	describe(field, special.str, special.length, out, reader);
}

/* --- reading --- */

static uint64_t little_endian(const unsigned char *at, int bytes)
{
	uint64_t v = 0;
	for (int i = bytes - 1; i >= 0; i--)
		v = v << 8 | at[i];
	return v;
}

/* The length that stands before a value; *at is moved behind it. */
static size_t length_before(unsigned char **at)
{
	static const int sizes[] = {2, 3, 8};
	unsigned char first = *(*at)++;
	if (first < 252)
		return first;
	int bytes = sizes[(first - 252) % 3];
	uint64_t len = little_endian(*at, bytes);
	*at += bytes;
	return (size_t)len;
}

static void read_integer(const struct mysql_reader *r, unsigned char **at, int bytes, char *room, struct cell *out)
{
	uint64_t v = little_endian(*at, bytes);
	*at += bytes;
	int unused = 64 - 8 * bytes; /* bits, into which the sign is drawn */
	size_t n = r->is_unsigned ? mysql_text_u64(v, room) : mysql_text_i64((int64_t)(v << unused) >> unused, room);
	*out = (struct cell){room, (int)n};
}

static char *put(char *to, uint64_t v, int width, char after)
{
	to += mysql_text_padded(v, width, to);
	if (after)
		*to++ = after;
	return to;
}

/* .ffffff, of which `digits` are wanted. */
static char *put_fraction(char *to, uint64_t microseconds, int digits)
{
	if (digits == 0)
		return to;
	*to = '.';
	put(to + 1, microseconds, FRACTION_MAX, 0);
	return to + 1 + digits;
}

static char *read_time_of_day(const unsigned char *at, size_t hours, int digits, uint64_t microseconds, char *to)
{
	to = put(to, hours, 2, ':');
	to = put(to, at[1], 2, ':');
	to = put(to, at[2], 2, 0);
	return put_fraction(to, microseconds, digits);
}

/* year 2, month, day, hour, minute, second, microseconds 4: 0, 4, 7 or 11 bytes of them */
static void read_date(const struct mysql_reader *r, unsigned char **at, char *room, struct cell *out)
{
	unsigned char fields[11] = {0};
	size_t len = length_before(at);
	memcpy(fields, *at, len < sizeof fields ? len : sizeof fields);
	*at += len;
	char *to = put(room, little_endian(fields, 2), 4, '-');
	to = put(to, fields[2], 2, '-');
	to = put(to, fields[3], 2, 0);
	if (r->form == MYSQL_FORM_DATETIME) {
		*to++ = ' ';
		to = read_time_of_day(fields + 4, fields[4], r->digits, little_endian(fields + 7, 4), to);
	}
	*out = (struct cell){room, (int)(to - room)};
}

/* sign, days 4, hour, minute, second, microseconds 4: 0, 8 or 12 bytes of them */
static void read_time(const struct mysql_reader *r, unsigned char **at, char *room, struct cell *out)
{
	unsigned char fields[12] = {0};
	size_t len = length_before(at);
	memcpy(fields, *at, len < sizeof fields ? len : sizeof fields);
	*at += len;
	char *to = room;
	if (fields[0])
		*to++ = '-';
	size_t hours = 24 * little_endian(fields + 1, 4) + fields[5];
	to = read_time_of_day(fields + 5, hours, r->digits, little_endian(fields + 8, 4), to);
	*out = (struct cell){room, (int)(to - room)};
}

void mysql_type_read_bits(
        const struct mysql_reader *reader, const unsigned char *bytes, size_t len, char *room, struct cell *out)
{
	for (int i = 0; i < reader->digits; i++) { /* from the lowest, which is the last byte's */
		size_t byte = (size_t)i / 8;
		bool set = byte < len && (bytes[len - 1 - byte] >> (i % 8) & 1);
		room[reader->digits - 1 - i] = set ? '1' : '0';
	}
	*out = (struct cell){room, reader->digits};
}

static void read_string(const struct mysql_reader *r, unsigned char **at, char *room, struct cell *out)
{
	size_t len = length_before(at);
	if (r->form == MYSQL_FORM_BIT)
		mysql_type_read_bits(r, *at, len, room, out);
	else
		*out = (struct cell){(const char *)*at, (int)len};
	*at += len;
}

void mysql_type_read(const struct mysql_reader *r, unsigned char **at, char *room, struct cell *out)
{
	float single;
	double real;
	uint32_t bits32;
	uint64_t bits64;
	switch (r->form) {
	case MYSQL_FORM_TEXT:
	case MYSQL_FORM_BIT:
		read_string(r, at, room, out);
		return;
	case MYSQL_FORM_INT8:
		read_integer(r, at, 1, room, out);
		return;
	case MYSQL_FORM_INT16:
		read_integer(r, at, 2, room, out);
		return;
	case MYSQL_FORM_INT32:
		read_integer(r, at, 4, room, out);
		return;
	case MYSQL_FORM_INT64:
		read_integer(r, at, 8, room, out);
		return;
	case MYSQL_FORM_YEAR:
		*out = (struct cell){room, (int)mysql_text_padded(little_endian(*at, 2), 4, room)};
		*at += 2;
		return;
	case MYSQL_FORM_FLOAT:
		bits32 = (uint32_t)little_endian(*at, 4);
		memcpy(&single, &bits32, sizeof single);
		*out = (struct cell){room, (int)mysql_text_float(single, room)};
		*at += 4;
		return;
	case MYSQL_FORM_DOUBLE:
		bits64 = little_endian(*at, 8);
		memcpy(&real, &bits64, sizeof real);
		*out = (struct cell){room, (int)mysql_text_double(real, room)};
		*at += 8;
		return;
	case MYSQL_FORM_DATE:
	case MYSQL_FORM_DATETIME:
		read_date(r, at, room, out);
		return;
	case MYSQL_FORM_TIME:
		read_time(r, at, room, out);
		return;
	}
}

/* --- the list for people --- */

#define U UNSIGNED_FLAG
#define B BINARY_CHARSET
#define T 45 /* utf8mb4 */

/* What a server sends of a column of each type: a length of characters is one of 4 bytes each. */
static const struct sample {
	const char *name, *special;
	unsigned long length;
	enum enum_field_types type;
	unsigned flags, charset, decimals;
} samples[] = {
        {"TINYINT, BOOLEAN", "", 4, MYSQL_TYPE_TINY, 0, B, 0},
        {"TINYINT UNSIGNED", "", 3, MYSQL_TYPE_TINY, U, B, 0},
        {"SMALLINT", "", 6, MYSQL_TYPE_SHORT, 0, B, 0},
        {"SMALLINT UNSIGNED", "", 5, MYSQL_TYPE_SHORT, U, B, 0},
        {"MEDIUMINT", "", 9, MYSQL_TYPE_INT24, 0, B, 0},
        {"MEDIUMINT UNSIGNED", "", 8, MYSQL_TYPE_INT24, U, B, 0},
        {"INT", "", 11, MYSQL_TYPE_LONG, 0, B, 0},
        {"INT UNSIGNED", "", 10, MYSQL_TYPE_LONG, U, B, 0},
        {"BIGINT", "", 20, MYSQL_TYPE_LONGLONG, 0, B, 0},
        {"BIGINT UNSIGNED", "", 20, MYSQL_TYPE_LONGLONG, U, B, 0},
        {"DECIMAL(18,4)", "", 20, MYSQL_TYPE_NEWDECIMAL, 0, B, 4},
        {"FLOAT", "", 12, MYSQL_TYPE_FLOAT, 0, B, 31},
        {"DOUBLE", "", 22, MYSQL_TYPE_DOUBLE, 0, B, 31},
        {"BIT(10)", "", 10, MYSQL_TYPE_BIT, U, B, 0},
        {"YEAR", "", 4, MYSQL_TYPE_YEAR, U, B, 0},
        {"DATE", "", 10, MYSQL_TYPE_DATE, 0, B, 0},
        {"TIME(6)", "", 17, MYSQL_TYPE_TIME, 0, B, 6},
        {"DATETIME(6)", "", 26, MYSQL_TYPE_DATETIME, 0, B, 6},
        {"TIMESTAMP(6)", "", 26, MYSQL_TYPE_TIMESTAMP, 0, B, 6},
        {"CHAR(20)", "", 80, MYSQL_TYPE_STRING, 0, T, 0},
        {"VARCHAR(20)", "", 80, MYSQL_TYPE_VAR_STRING, 0, T, 0},
        {"TINYTEXT", "", 1020, MYSQL_TYPE_BLOB, 0, T, 0},
        {"TEXT", "", 262140, MYSQL_TYPE_BLOB, 0, T, 0},
        {"MEDIUMTEXT, LONGTEXT", "", 4294967295, MYSQL_TYPE_BLOB, 0, T, 0},
        {"BINARY(16)", "", 16, MYSQL_TYPE_STRING, 0, B, 0},
        {"VARBINARY(20)", "", 20, MYSQL_TYPE_VAR_STRING, 0, B, 0},
        {"TINYBLOB", "", 255, MYSQL_TYPE_BLOB, 0, B, 0},
        {"BLOB", "", 65535, MYSQL_TYPE_BLOB, 0, B, 0},
        {"MEDIUMBLOB", "", 16777215, MYSQL_TYPE_BLOB, 0, B, 0},
        {"LONGBLOB", "", 4294967295, MYSQL_TYPE_BLOB, 0, B, 0},
        {"ENUM, SET", "", 40, MYSQL_TYPE_STRING, ENUM_FLAG, T, 0},
        {"JSON", "json", 4294967295, MYSQL_TYPE_BLOB, 0, T, 0},
        {"UUID (MariaDB)", "uuid", 144, MYSQL_TYPE_STRING, 0, T, 0},
        {"INET4, INET6 (MariaDB)", "inet6", 156, MYSQL_TYPE_STRING, 0, T, 0},
        {"GEOMETRY, POINT, ...", "", 4294967295, MYSQL_TYPE_GEOMETRY, 0, B, 0},
};

void mysql_types_each(void (*fn)(void *ctx, const char *native, const struct column *c), void *ctx)
{
	for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
		const struct sample *s = &samples[i];
		MYSQL_FIELD field = {.org_table = (char[]){"t"},
		        .type = s->type,
		        .flags = s->flags,
		        .charsetnr = s->charset,
		        .length = s->length,
		        .decimals = s->decimals};
		struct column c = {.name = ""};
		struct mysql_reader reader;
		describe(&field, s->special, strlen(s->special), &c, &reader);
		fn(ctx, s->name, &c);
	}
}
