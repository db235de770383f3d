/* How MySQL's values are written, and which kind each native type is. (That servers send them so:
 * tests/integration/test_mysql_source.py.) */
#include "shared/db/mysql_types.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/db/mysql_ops.h"
#include "shared/db/types.h"

static const char *text_of(size_t len, char *room)
{
	assert_true(len < MYSQL_TEXT_ROOM);
	room[len] = '\0';
	return room;
}

static void test_mysql_text_writes_integers(void **state)
{
	(void)state;
	char room[MYSQL_TEXT_ROOM + 1];
	static const int64_t edges[] = {0, 1, -1, 9, 10, 99, 100, -100, 12345, INT32_MIN, INT64_MAX, INT64_MIN};
	for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
		char want[32];
		snprintf(want, sizeof want, "%lld", (long long)edges[i]);
		assert_string_equal(text_of(mysql_text_i64(edges[i], room), room), want);
	}
	assert_string_equal(text_of(mysql_text_u64(UINT64_MAX, room), room), "18446744073709551615");
	assert_string_equal(text_of(mysql_text_padded(7, 4, room), room), "0007");
	assert_string_equal(text_of(mysql_text_padded(12345, 4, room), room), "12345");
}

static void test_mysql_text_writes_short_doubles_short(void **state)
{
	(void)state;
	char room[MYSQL_TEXT_ROOM + 1];
	static const struct {
		double v;
		const char *text;
	} wants[] = {{0.0, "0"}, {-0.0, "-0"}, {1.0, "1"}, {-2.5, "-2.5"}, {0.1, "0.1"}, {1.005, "1.005"},
	        {123456789.25, "123456789.25"}, {9007199254740991.0, "9007199254740991"}, {1e-5, "0.00001"},
	        {1e22, "1e+22"}, {0.30000000000000004, "0.30000000000000004"}, {5e-324, "4.94065645841247e-324"},
	        {1.7976931348623157e308, "1.7976931348623157e+308"}, {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"},
	        {NAN, "NaN"}};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
		assert_string_equal(text_of(mysql_text_double(wants[i].v, room), room), wants[i].text);
	assert_string_equal(text_of(mysql_text_float(0.1f, room), room), "0.1");
	assert_string_equal(text_of(mysql_text_float(16777216.0f, room), room), "16777216");
	assert_string_equal(text_of(mysql_text_float(-FLT_MAX, room), room), "-" TYPES_FLOAT_MAX);
	assert_string_equal(text_of(mysql_text_float(NAN, room), room), "NaN");
}

static uint64_t random_bits(void)
{
	static uint64_t x = 88172645463325252u; /* xorshift: the same numbers in every run */
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static uint64_t bits_of(double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof bits);
	return bits;
}

static uint32_t bits_of_float(float v)
{
	uint32_t bits;
	memcpy(&bits, &v, sizeof bits);
	return bits;
}

static void check_double(double v)
{
	char room[MYSQL_TEXT_ROOM + 1];
	double back = strtod(text_of(mysql_text_double(v, room), room), NULL);
	if (bits_of(back) != bits_of(v))
		fail_msg("%.17g became %s", v, room);
}

static void check_float(float v)
{
	char room[MYSQL_TEXT_ROOM + 1];
	const char *text = text_of(mysql_text_float(v, room), room);
	float direct = strtof(text, NULL), by_double = (float)strtod(text, NULL);
	if (bits_of_float(direct) != bits_of_float(v) || bits_of_float(by_double) != bits_of_float(v))
		fail_msg("%.9g became %s", (double)v, text);
}

static void test_mysql_text_brings_the_same_bits_back(void **state)
{
	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint64_t bits = random_bits();
		uint32_t bits32 = (uint32_t)bits;
		double v;
		float f;
		memcpy(&v, &bits, sizeof v);
		memcpy(&f, &bits32, sizeof f);
		if (isfinite(v))
			check_double(v);
		if (isfinite(f))
			check_float(f);
		check_double((double)(int64_t)bits / 1e6);
		check_double((double)(bits % 1000000000) / 100);
		check_float((float)(bits % 10000000) / 1000);
		check_float((float)(bits % 100000) / 1e7f);
	}
	double power = 1e-320;
	for (int i = 0; i < 628; i++) {
		check_double(power);
		power *= 10;
	}
	check_double(DBL_MIN);
	check_double(0.1 + DBL_EPSILON / 16);
	check_float(FLT_MIN);
	check_float(FLT_MAX);
}

/* --- values of the binary protocol --- */

struct value {
	struct mysql_reader reader;
	unsigned char bytes[16];
	size_t len;
	const char *text;
};

static void test_mysql_types_read_values(void **state)
{
	(void)state;
	static const struct value values[] = {
	        {{MYSQL_FORM_INT8, false, 0}, {0x80}, 1, "-128"},
	        {{MYSQL_FORM_INT8, true, 0}, {0xff}, 1, "255"},
	        {{MYSQL_FORM_INT16, false, 0}, {0xff, 0xff}, 2, "-1"},
	        {{MYSQL_FORM_INT16, true, 0}, {0xff, 0xff}, 2, "65535"},
	        {{MYSQL_FORM_INT32, false, 0}, {0, 0, 0, 0x80}, 4, "-2147483648"},
	        {{MYSQL_FORM_INT64, false, 0}, {0, 0, 0, 0, 0, 0, 0, 0x80}, 8, "-9223372036854775808"},
	        {{MYSQL_FORM_INT64, true, 0}, {255, 255, 255, 255, 255, 255, 255, 255}, 8, "18446744073709551615"},
	        {{MYSQL_FORM_YEAR, true, 0}, {0, 0}, 2, "0000"},
	        {{MYSQL_FORM_YEAR, true, 0}, {0x6d, 0x07}, 2, "1901"},
	        {{MYSQL_FORM_FLOAT, false, 0}, {0, 0, 0xc0, 0x3f}, 4, "1.5"},
	        {{MYSQL_FORM_DOUBLE, false, 0}, {0, 0, 0, 0, 0, 0, 0xf8, 0xbf}, 8, "-1.5"},
	        {{MYSQL_FORM_TEXT, false, 0}, {3, 'a', '\\', 'b'}, 4, "a\\b"},
	        {{MYSQL_FORM_TEXT, false, 0}, {252, 2, 0, 'x', 'y'}, 5, "xy"},
	        {{MYSQL_FORM_TEXT, false, 0}, {253, 1, 0, 0, 'z'}, 5, "z"},
	        {{MYSQL_FORM_TEXT, false, 0}, {254, 1, 0, 0, 0, 0, 0, 0, 0, '9'}, 10, "9"},
	        {{MYSQL_FORM_BIT, true, 10}, {2, 0x02, 0x01}, 3, "1000000001"},
	        {{MYSQL_FORM_BIT, true, 1}, {1, 0x01}, 2, "1"},
	        {{MYSQL_FORM_DATE, false, 0}, {0}, 1, "0000-00-00"},
	        {{MYSQL_FORM_DATE, false, 0}, {4, 0xe8, 0x07, 2, 29}, 5, "2024-02-29"},
	        {{MYSQL_FORM_DATE, false, 0}, {4, 0xe8, 0x07, 0, 0}, 5, "2024-00-00"},
	        {{MYSQL_FORM_DATETIME, false, 0}, {0}, 1, "0000-00-00 00:00:00"},
	        {{MYSQL_FORM_DATETIME, false, 3}, {4, 0x01, 0, 1, 1}, 5, "0001-01-01 00:00:00.000"},
	        {{MYSQL_FORM_DATETIME, false, 0}, {7, 0xe8, 0x07, 2, 29, 23, 59, 58}, 8, "2024-02-29 23:59:58"},
	        {{MYSQL_FORM_DATETIME, false, 6}, {11, 0x0f, 0x27, 12, 31, 23, 59, 59, 0x3f, 0x42, 0x0f, 0}, 12,
	                "9999-12-31 23:59:59.999999"},
	        {{MYSQL_FORM_DATETIME, false, 1}, {11, 0xe8, 0x07, 1, 1, 0, 0, 0, 0x20, 0xa1, 0x07, 0}, 12,
	                "2024-01-01 00:00:00.5"},
	        {{MYSQL_FORM_TIME, false, 0}, {0}, 1, "00:00:00"},
	        {{MYSQL_FORM_TIME, false, 2}, {0}, 1, "00:00:00.00"},
	        {{MYSQL_FORM_TIME, false, 0}, {8, 1, 34, 0, 0, 0, 22, 59, 59}, 9, "-838:59:59"},
	        {{MYSQL_FORM_TIME, false, 6}, {12, 0, 0, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0}, 13, "01:02:03.000001"},
	};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		const struct value *v = &values[i];
		char room[MYSQL_TEXT_ROOM];
		unsigned char bytes[sizeof v->bytes], *at = bytes;
		memcpy(bytes, v->bytes, sizeof bytes);
		struct cell cell;
		mysql_type_read(&v->reader, &at, room, &cell);
		assert_int_equal(at - bytes, v->len);
		if ((size_t)cell.len != strlen(v->text) || memcmp(cell.data, v->text, strlen(v->text)) != 0)
			fail_msg("value %zu: \"%.*s\", expected \"%s\"", i, cell.len, cell.data, v->text);
	}
}

/* --- columns --- */

static void describe(struct column *c, enum enum_field_types type, unsigned flags, unsigned charset,
        unsigned long length, unsigned decimals, struct mysql_reader *reader)
{
	MYSQL_FIELD field = {.name = (char[]){"x"},
	        .type = type,
	        .flags = flags,
	        .charsetnr = charset,
	        .length = length,
	        .decimals = decimals};
	memset(c, 0, sizeof *c);
	mysql_type_describe(&field, c, reader);
	assert_string_equal(c->name, "x");
}

static void test_mysql_types_describe_columns(void **state)
{
	(void)state;
	struct mysql_reader r;
	struct column c;
	describe(&c, MYSQL_TYPE_NEWDECIMAL, 0, 63, 67, 30, &r);
	assert_int_equal(c.kind, KIND_DECIMAL);
	assert_int_equal(c.precision, 65);
	assert_int_equal(c.scale, 30);
	describe(&c, MYSQL_TYPE_NEWDECIMAL, UNSIGNED_FLAG, 63, 10, 0, &r);
	assert_int_equal(c.precision, 10);
	describe(&c, MYSQL_TYPE_LONGLONG, UNSIGNED_FLAG, 63, 20, 0, &r);
	assert_int_equal(c.kind, KIND_UINT64);
	assert_true(r.is_unsigned);
	describe(&c, MYSQL_TYPE_VAR_STRING, 0, 45, 80, 0, &r);
	assert_int_equal(c.kind, KIND_VARCHAR);
	assert_int_equal(c.length, 20);
	describe(&c, MYSQL_TYPE_VAR_STRING, 0, 45, 0, 39, &r); /* SELECT '' */
	assert_int_equal(c.length, 1);
	describe(&c, MYSQL_TYPE_VAR_STRING, 0, 63, 0, 39, &r);
	assert_int_equal(c.kind, KIND_VARBINARY);
	assert_int_equal(c.length, 1);
	describe(&c, MYSQL_TYPE_STRING, 0, 45, 80, 0, &r); /* of no table: may end in spaces */
	assert_int_equal(c.kind, KIND_VARCHAR);
	assert_int_equal(c.length, 20);
	describe(&c, MYSQL_TYPE_STRING, SET_FLAG, 45, 12, 0, &r);
	assert_int_equal(c.kind, KIND_TEXT);
	describe(&c, MYSQL_TYPE_DATETIME, 0, 63, 26, 39, &r); /* of an expression: as many digits as a value has */
	assert_int_equal(c.precision, 6);
	assert_int_equal(r.digits, 6);
	describe(&c, MYSQL_TYPE_JSON, 0, 63, 4294967295, 0, &r);
	assert_int_equal(c.kind, KIND_JSON);
	describe(&c, (enum enum_field_types)242, 0, 63, 40, 0, &r); /* MySQL 9's VECTOR */
	assert_int_equal(c.kind, KIND_BYTES);
	assert_int_equal(r.form, MYSQL_FORM_TEXT);
	describe(&c, MYSQL_TYPE_NULL, 0, 63, 0, 0, &r);
	assert_int_equal(c.kind, KIND_TEXT);
}

static void note_type(void *ctx, const char *native, const struct column *c)
{
	struct buf *b = ctx;
	buf_addf(b, "%s=", native);
	types_declare(DB_MYSQL, c, b);
	buf_addstr(b, "; ");
}

static void test_mysql_types_are_listed_with_their_kinds(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1 << 16);
	mysql_types_each(note_type, &b);
	assert_true(buf_ok(&b));
	static const char *const parts[] = {"TINYINT UNSIGNED=TINYINT UNSIGNED; ", "BIGINT UNSIGNED=BIGINT UNSIGNED; ",
	        "DECIMAL(18,4)=DECIMAL(18,4); ", "BIT(10)=BIT(10); ", "TIME(6)=TIME(6); ", "DATETIME(6)=DATETIME(6); ",
	        "TIMESTAMP(6)=TIMESTAMP(6) NULL; ", "CHAR(20)=CHAR(20); ", "VARCHAR(20)=VARCHAR(20); ",
	        "BINARY(16)=BINARY(16); ", "TINYBLOB=TINYBLOB; ", "BLOB=BLOB; ", "LONGBLOB=LONGBLOB; ",
	        "UUID (MariaDB)=CHAR(36); ", "YEAR=YEAR; "};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!strstr(buf_str(&b), parts[i]))
			fail_msg("no %s in %s", parts[i], buf_str(&b));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_mysql_text_writes_integers),
	        cmocka_unit_test(test_mysql_text_writes_short_doubles_short),
	        cmocka_unit_test(test_mysql_text_brings_the_same_bits_back),
	        cmocka_unit_test(test_mysql_types_read_values),
	        cmocka_unit_test(test_mysql_types_describe_columns),
	        cmocka_unit_test(test_mysql_types_are_listed_with_their_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
