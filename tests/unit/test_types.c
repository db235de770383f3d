/* Which column a kind of value becomes in each results engine, and which values it cannot hold there. (That the servers
 * see it so: tests/integration.) */
#include "shared/db/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LAST_KIND KIND_INET

static const char *declared(enum db_engine results, struct column c)
{
	static char text[128];
	struct buf b;
	buf_init(&b, sizeof text - 1);
	types_declare(results, &c, &b);
	assert_true(buf_ok(&b));
	snprintf(text, sizeof text, "%s", buf_str(&b));
	buf_fini(&b);
	return text;
}

static void assert_declared(struct column c, const char *postgres, const char *mysql)
{
	assert_string_equal(declared(DB_POSTGRES, c), postgres);
	assert_string_equal(declared(DB_MYSQL, c), mysql);
}

static void test_types_integers_keep_their_range(void **state)
{
	(void)state;
	assert_declared((struct column){.kind = KIND_BOOL}, "boolean", "BOOLEAN");
	assert_declared((struct column){.kind = KIND_INT8}, "smallint", "TINYINT");
	assert_declared((struct column){.kind = KIND_UINT8}, "smallint", "TINYINT UNSIGNED");
	assert_declared((struct column){.kind = KIND_INT16}, "smallint", "SMALLINT");
	assert_declared((struct column){.kind = KIND_UINT16}, "integer", "SMALLINT UNSIGNED");
	assert_declared((struct column){.kind = KIND_INT24}, "integer", "MEDIUMINT");
	assert_declared((struct column){.kind = KIND_UINT24}, "integer", "MEDIUMINT UNSIGNED");
	assert_declared((struct column){.kind = KIND_INT32}, "integer", "INT");
	assert_declared((struct column){.kind = KIND_UINT32}, "bigint", "INT UNSIGNED");
	assert_declared((struct column){.kind = KIND_INT64}, "bigint", "BIGINT");
	assert_declared((struct column){.kind = KIND_UINT64}, "numeric(20,0)", "BIGINT UNSIGNED");
}

static void test_types_decimals_beyond_mysql_are_text_there(void **state)
{
	(void)state;
	struct column c = {.kind = KIND_DECIMAL, .precision = 18, .scale = 4};
	assert_declared(c, "numeric(18,4)", "DECIMAL(18,4)");
	c = (struct column){.kind = KIND_DECIMAL, .precision = 65, .scale = 30};
	assert_declared(c, "numeric(65,30)", "DECIMAL(65,30)");
	assert_false(types_is_text(DB_MYSQL, &c));
	c.precision = 66;
	assert_declared(c, "numeric(66,30)", "LONGTEXT");
	assert_true(types_is_text(DB_MYSQL, &c));
	assert_false(types_is_text(DB_POSTGRES, &c));
	c = (struct column){.kind = KIND_DECIMAL, .precision = 40, .scale = 31};
	assert_declared(c, "numeric(40,31)", "LONGTEXT");
	c = (struct column){.kind = KIND_DECIMAL};
	assert_declared(c, "numeric", "LONGTEXT");
}

static void test_types_texts_and_bytes_have_room_for_their_length(void **state)
{
	(void)state;
	assert_declared((struct column){.kind = KIND_TEXT}, "text", "LONGTEXT");
	assert_declared((struct column){.kind = KIND_TEXT, .length = 255}, "text", "TINYTEXT");
	assert_declared((struct column){.kind = KIND_TEXT, .length = 256}, "text", "TEXT");
	assert_declared((struct column){.kind = KIND_TEXT, .length = 65536}, "text", "MEDIUMTEXT");
	assert_declared((struct column){.kind = KIND_TEXT, .length = 1 << 24}, "text", "LONGTEXT");
	assert_declared((struct column){.kind = KIND_BYTES, .length = 65535}, "bytea", "BLOB");
	assert_declared((struct column){.kind = KIND_BYTES}, "bytea", "LONGBLOB");
	assert_declared((struct column){.kind = KIND_CHAR, .length = 20}, "character varying(20)", "CHAR(20)");
	assert_declared(
	        (struct column){.kind = KIND_VARCHAR, .length = 16383}, "character varying(16383)", "VARCHAR(16383)");
	assert_declared((struct column){.kind = KIND_VARCHAR, .length = 16384}, "character varying(16384)", "LONGTEXT");
	assert_declared((struct column){.kind = KIND_BINARY, .length = 16}, "bytea", "BINARY(16)");
	assert_declared((struct column){.kind = KIND_BINARY, .length = 256}, "bytea", "LONGBLOB");
	assert_declared((struct column){.kind = KIND_VARBINARY, .length = 20}, "bytea", "VARBINARY(20)");
	struct column c = {.kind = KIND_BINARY, .length = 256};
	assert_false(types_is_text(DB_MYSQL, &c));
	assert_declared((struct column){.kind = KIND_BIT, .length = 64}, "bit(64)", "BIT(64)");
	assert_declared((struct column){.kind = KIND_BIT, .length = 65}, "bit(65)", "LONGTEXT");
}

static void test_types_times_keep_their_fraction(void **state)
{
	(void)state;
	assert_declared((struct column){.kind = KIND_DATE}, "date", "DATE");
	assert_declared((struct column){.kind = KIND_TIME, .precision = 6}, "time(6)", "TIME(6)");
	assert_declared((struct column){.kind = KIND_DURATION, .precision = 0}, "interval(0)", "TIME(0)");
	assert_declared((struct column){.kind = KIND_TIMESTAMP, .precision = 3}, "timestamp(3)", "DATETIME(3)");
	assert_declared(
	        (struct column){.kind = KIND_INSTANT, .precision = 6}, "timestamp(6) with time zone", "DATETIME(6)");
	assert_declared((struct column){.kind = KIND_UNIXTIME, .precision = 0}, "timestamp(0) with time zone",
	        "TIMESTAMP(0) NULL");
}

static void test_types_every_kind_has_a_declaration_and_what_may_be_long_is_varlena(void **state)
{
	(void)state;
	for (int kind = KIND_TEXT; kind <= LAST_KIND; kind++) {
		struct column c = {.kind = (enum kind)kind, .length = 10, .precision = 6};
		assert_true(declared(DB_MYSQL, c)[0]);
		const char *type = declared(DB_POSTGRES, c);
		static const char *const fixed[] = {"boolean", "smallint", "integer", "bigint", "real", "double",
		        "date", "time", "interval", "uuid"};
		bool varlena = true;
		for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
			varlena = varlena && strncmp(type, fixed[i], strlen(fixed[i])) != 0;
		assert_int_equal(types_is_varlena(&c), varlena);
	}
}

/* --- values --- */

static bool has(enum db_engine results, enum kind kind, const char *cell)
{
	struct column c = {.kind = kind, .precision = 6};
	return types_has_value(results, &c, cell, strlen(cell));
}

static void test_types_partial_columns(void **state)
{
	(void)state;
	static const enum kind dates[] = {KIND_DATE, KIND_TIMESTAMP, KIND_INSTANT, KIND_UNIXTIME};
	static const enum kind numbers[] = {KIND_DECIMAL, KIND_FLOAT, KIND_DOUBLE};
	size_t partial = 0;
	for (int kind = KIND_TEXT; kind <= LAST_KIND; kind++) {
		struct column c = {.kind = (enum kind)kind, .precision = 6};
		partial += types_is_partial(DB_POSTGRES, &c) + types_is_partial(DB_MYSQL, &c);
	}
	for (size_t i = 0; i < 4; i++) {
		struct column c = {.kind = dates[i]};
		assert_true(types_is_partial(DB_POSTGRES, &c) && types_is_partial(DB_MYSQL, &c));
	}
	for (size_t i = 0; i < 3; i++) {
		struct column c = {.kind = numbers[i], .precision = 6};
		assert_true(!types_is_partial(DB_POSTGRES, &c) && types_is_partial(DB_MYSQL, &c));
	}
	assert_int_equal(partial, 2 * 4 + 3);
	struct column text = {.kind = KIND_DECIMAL}; /* LONGTEXT: NaN is a text like others */
	assert_false(types_is_partial(DB_MYSQL, &text));
	assert_true(types_has_value(DB_MYSQL, &text, "NaN", 3));
}

static void test_types_postgres_has_the_days_of_the_calendar(void **state)
{
	(void)state;
	static const char *const days[] = {
	        "0001-01-01", "2024-02-29", "2000-02-29", "1999-12-31", "9999-12-31", "1970-01-01"};
	static const char *const others[] = {"0000-00-00", "2024-00-00", "2024-01-00", "2024-00-01", "0000-01-01",
	        "2024-02-30", "2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01"};
	char text[64];
	for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
		assert_true(has(DB_POSTGRES, KIND_DATE, days[i]));
		snprintf(text, sizeof text, "%s 23:59:59.999999", days[i]);
		assert_true(has(DB_POSTGRES, KIND_TIMESTAMP, text));
		assert_true(has(DB_POSTGRES, KIND_UNIXTIME, text));
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		assert_false(has(DB_POSTGRES, KIND_DATE, others[i]));
		snprintf(text, sizeof text, "%s 00:00:00", others[i]);
		assert_false(has(DB_POSTGRES, KIND_TIMESTAMP, text));
		assert_false(has(DB_POSTGRES, KIND_INSTANT, text));
	}
	assert_true(has(DB_POSTGRES, KIND_DATE, "no date")); /* is for the server to refuse */
	assert_true(has(DB_POSTGRES, KIND_DATE, ""));
	assert_true(has(DB_POSTGRES, KIND_DOUBLE, "NaN"));
	assert_true(has(DB_POSTGRES, KIND_DURATION, "-838:59:59"));
}

static void test_types_mysql_has_the_years_of_four_digits(void **state)
{
	(void)state;
	static const char *const dates[] = {"0001-01-01", "9999-12-31", "0000-00-00", "2024-00-00"};
	static const char *const others[] = {
	        "infinity", "-infinity", "10000-01-01", "0001-01-01 BC", "294276-12-31", ""};
	for (size_t i = 0; i < sizeof dates / sizeof *dates; i++)
		assert_true(has(DB_MYSQL, KIND_DATE, dates[i]));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		assert_false(has(DB_MYSQL, KIND_DATE, others[i]));
		assert_false(has(DB_MYSQL, KIND_INSTANT, others[i]));
	}
	assert_true(has(DB_MYSQL, KIND_TIMESTAMP, "9999-12-31 23:59:59.999999"));
	assert_false(has(DB_MYSQL, KIND_TIMESTAMP, "10000-01-01 00:00:00"));
	assert_false(has(DB_MYSQL, KIND_TIMESTAMP, "0044-03-15 12:00:00 BC"));
}

static void test_types_mysql_timestamps_begin_after_the_first_moment_of_1970(void **state)
{
	(void)state;
	assert_true(has(DB_MYSQL, KIND_UNIXTIME, "0000-00-00 00:00:00"));
	assert_true(has(DB_MYSQL, KIND_UNIXTIME, "1970-01-01 00:00:00.5"));
	assert_true(has(DB_MYSQL, KIND_UNIXTIME, "1970-01-01 00:00:01"));
	assert_true(has(DB_MYSQL, KIND_UNIXTIME, "2038-01-19 03:14:07.999999"));
	assert_false(has(DB_MYSQL, KIND_UNIXTIME, "1970-01-01 00:00:00"));
	assert_false(has(DB_MYSQL, KIND_UNIXTIME, "1970-01-01 00:00:00.000"));
	assert_false(has(DB_MYSQL, KIND_UNIXTIME, "2107-01-01 00:00:00"));
	assert_true(has(DB_MYSQL, KIND_TIMESTAMP, "1970-01-01 00:00:00"));
}

static void test_types_mysql_has_finite_numbers_only(void **state)
{
	(void)state;
	static const enum kind kinds[] = {KIND_DECIMAL, KIND_FLOAT, KIND_DOUBLE};
	static const char *const numbers[] = {"0", "-0", "1.5", "-1e-300", ".5", "5e-324", "1.7976931348623157e+308"};
	static const char *const others[] = {"NaN", "Infinity", "-Infinity", "nan", "inf", "-inf", "", "-"};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
			assert_true(has(DB_MYSQL, kinds[k], numbers[i]));
		for (size_t i = 0; i < sizeof others / sizeof *others; i++)
			assert_false(has(DB_MYSQL, kinds[k], others[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_types_integers_keep_their_range),
	        cmocka_unit_test(test_types_decimals_beyond_mysql_are_text_there),
	        cmocka_unit_test(test_types_texts_and_bytes_have_room_for_their_length),
	        cmocka_unit_test(test_types_times_keep_their_fraction),
	        cmocka_unit_test(test_types_every_kind_has_a_declaration_and_what_may_be_long_is_varlena),
	        cmocka_unit_test(test_types_partial_columns),
	        cmocka_unit_test(test_types_postgres_has_the_days_of_the_calendar),
	        cmocka_unit_test(test_types_mysql_has_the_years_of_four_digits),
	        cmocka_unit_test(test_types_mysql_timestamps_begin_after_the_first_moment_of_1970),
	        cmocka_unit_test(test_types_mysql_has_finite_numbers_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
