/* PostgreSQL's text forms: out of it into WIRE_TEXT, out of and into COPY. (That a server reads and writes them so:
 * tests/integration.) */
#include "shared/db/pg_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/db/types.h"

/* Converts text in memory of exactly its size, in place and into other memory; both must be as expected. */
static void assert_converts(enum pg_text_form form, const char *text, const char *expected, size_t expected_len)
{
	for (int in_place = 0; in_place < 2; in_place++) {
		size_t len = strlen(text);
		char *from = malloc(len ? len : 1), *other = malloc(len ? len : 1);
		assert_true(from && other);
		memcpy(from, text, len);
		struct cell c = {from, (int)len};
		pg_text_convert(form, &c, in_place ? from : other);
		if ((size_t)c.len != expected_len || memcmp(c.data, expected, expected_len) != 0)
			fail_msg("%s became %.*s instead of %s", text, c.len, c.data, expected);
		free(from);
		free(other);
	}
}

static void assert_instant(const char *text, const char *expected)
{
	assert_converts(PG_TEXT_INSTANT, text, expected, strlen(expected));
}

static void test_pg_text_an_instant_is_written_in_utc(void **state)
{
	(void)state;
	assert_instant("2024-06-30 12:34:56+00", "2024-06-30 12:34:56");
	assert_instant("2024-06-30 12:34:56.789+02", "2024-06-30 10:34:56.789");
	assert_instant("2024-06-30 12:34:56.000001-03:30", "2024-06-30 16:04:56.000001");
	assert_instant("1850-01-01 06:00:00+05:53:28", "1850-01-01 00:06:32");
	assert_instant("2024-06-30 12:34:56-00:00:08", "2024-06-30 12:35:04");
}

static void test_pg_text_an_offset_may_lead_to_another_day_month_year(void **state)
{
	(void)state;
	assert_instant("2024-01-01 00:00:00+02", "2023-12-31 22:00:00");
	assert_instant("2023-12-31 23:59:59.999999-00:30", "2024-01-01 00:29:59.999999");
	assert_instant("2024-03-01 01:00:00+02", "2024-02-29 23:00:00");
	assert_instant("2023-03-01 01:00:00+02", "2023-02-28 23:00:00");
	assert_instant("1900-03-01 01:00:00+02", "1900-02-28 23:00:00");
	assert_instant("2000-02-28 23:00:00-02", "2000-02-29 01:00:00");
	assert_instant("2024-04-30 20:00:00-04", "2024-05-01 00:00:00");
	assert_instant("2024-05-01 15:59:59+15:59", "2024-05-01 00:00:59");
}

static void test_pg_text_instants_beyond_years_of_four_digits(void **state)
{
	(void)state;
	assert_instant("infinity", "infinity");
	assert_instant("-infinity", "-infinity");
	assert_instant("9999-12-31 23:00:00-02", "10000-01-01 01:00:00");
	assert_instant("10000-01-01 00:30:00+01", "9999-12-31 23:30:00");
	assert_instant("294276-12-31 23:59:59.999999+00", "294276-12-31 23:59:59.999999");
	assert_instant("0001-01-01 00:00:00+00 BC", "0001-01-01 00:00:00 BC");
	assert_instant("0001-01-01 00:00:00+01", "0001-12-31 23:00:00 BC");
	assert_instant("0001-12-31 23:30:00-01 BC", "0001-01-01 00:30:00");
	assert_instant("0001-03-01 00:30:00+01 BC", "0001-02-29 23:30:00 BC"); /* the year 0 is a leap year */
	assert_instant("4714-11-24 00:00:00+00 BC", "4714-11-24 00:00:00 BC");
}

static void test_pg_text_what_is_no_instant_stays_as_it_is(void **state)
{
	(void)state;
	static const char *const others[] = {
	        "",
	        "x",
	        "2024-06-30",
	        "2024-06-30 12:34:56",
	        "2024-06-30 12:34+02",
	        "2024-13-30 12:34:56+02",
	        "2024-06-30 12:34:56.+02",
	        "2024-06-30 12:34:56+02 AD",
	        "2024-06-30 12:34:56+",
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_instant(others[i], others[i]);
}

static void test_pg_text_booleans_and_floats(void **state)
{
	(void)state;
	assert_converts(PG_TEXT_BOOL, "t", "1", 1);
	assert_converts(PG_TEXT_BOOL, "f", "0", 1);
	assert_converts(PG_TEXT_FLOAT, "0.1", "0.1", 3);
	assert_converts(PG_TEXT_FLOAT, "NaN", "NaN", 3);
	assert_converts(PG_TEXT_FLOAT, "-3.4028233e+38", "-3.4028233e+38", 14);
	assert_converts(PG_TEXT_FLOAT, "3.4028235e+38", TYPES_FLOAT_MAX, strlen(TYPES_FLOAT_MAX));
	assert_converts(PG_TEXT_FLOAT, "-3.4028235e+38", "-" TYPES_FLOAT_MAX, strlen("-" TYPES_FLOAT_MAX));
	assert_true(strtof(TYPES_FLOAT_MAX, NULL) == strtof("3.4028235e+38", NULL));
	assert_true(strtod(TYPES_FLOAT_MAX, NULL) == (double)strtof("3.4028235e+38", NULL));
}

static void test_pg_text_bytes_are_themselves(void **state)
{
	(void)state;
	char hex[2 + 512 + 1] = "\\x", bytes[256];
	for (int i = 0; i < 256; i++) {
		snprintf(hex + 2 + (ptrdiff_t)2 * i, 3, "%02x", (unsigned)i);
		bytes[i] = (char)i;
	}
	assert_converts(PG_TEXT_BYTEA, hex, bytes, sizeof bytes);
	assert_converts(PG_TEXT_BYTEA, "\\x", "", 0);
}

static void test_pg_text_which_column_needs_what(void **state)
{
	(void)state;
	static const struct {
		enum kind kind;
		enum pg_text_form form;
	} all[] = {
	        {KIND_BOOL, PG_TEXT_BOOL},
	        {KIND_FLOAT, PG_TEXT_FLOAT},
	        {KIND_DOUBLE, PG_TEXT_AS_IS},
	        {KIND_BYTES, PG_TEXT_BYTEA},
	        {KIND_INSTANT, PG_TEXT_INSTANT},
	        {KIND_TIMESTAMP, PG_TEXT_AS_IS},
	        {KIND_TEXT, PG_TEXT_AS_IS},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		assert_int_equal(pg_text_form(&(struct column){.kind = all[i].kind}), all[i].form);
}

/* --- COPY --- */

static void assert_copied(const char *data, size_t len, const char *expected, unsigned expected_odd)
{
	char *from = malloc(len + 1), *out = malloc(PG_COPY_ROOM(len));
	assert_true(from && out);
	memcpy(from, data, len);
	unsigned odd = 0;
	size_t n = (size_t)(pg_copy_text(out, from, len, &odd) - out);
	assert_int_equal(n, strlen(expected));
	assert_memory_equal(out, expected, n);
	assert_int_equal(odd, expected_odd);
	free(from);
	free(out);
}

static void test_pg_text_copy_escapes_at_every_place_of_a_word(void **state)
{
	(void)state;
	assert_copied("", 0, "", 0);
	assert_copied("a\\b\tc\nd\re", 9, "a\\\\b\\tc\\nd\\re", 0);
	assert_copied("\\N", 2, "\\\\N", 0);
	assert_copied("\\.", 2, "\\\\.", 0);
	for (size_t len = 1; len < 40; len++)
		for (size_t at = 0; at < len; at++) {
			char data[40], expected[42];
			memset(data, 'x', sizeof data);
			memset(expected, 'x', sizeof expected);
			data[at] = '\t';
			memcpy(expected + at, "\\t", 2);
			expected[len + 1] = '\0';
			assert_copied(data, len, expected, 0);
		}
}

static void test_pg_text_copy_tells_what_is_odd(void **state)
{
	(void)state;
	assert_copied("0123456789\xc3\xa4", 12, "0123456789\xc3\xa4", PG_TEXT_HIGH);
	assert_copied("\xff"
	              "23456789",
	        9,
	        "\xff"
	        "23456789",
	        PG_TEXT_HIGH);
	char out[64];
	unsigned odd = 0;
	pg_copy_text(out, "a\0", 2, &odd);
	assert_int_equal(odd, PG_TEXT_NUL);
	odd = 0;
	pg_copy_text(out, "\0aaaaaaaaa", 10, &odd);
	assert_int_equal(odd, PG_TEXT_NUL);
}

static void test_pg_text_copy_writes_bytes_in_hex(void **state)
{
	(void)state;
	char out[32];
	size_t n = (size_t)(pg_copy_hex(out, "\x00\x7f\x80\xff\n", 5) - out);
	assert_int_equal(n, 10);
	assert_memory_equal(out, "007f80ff0a", 10);
}

static void test_pg_text_knows_utf8(void **state)
{
	(void)state;
	static const char *const valid[] = {"", "plain", "12345678\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
	        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xf0\x9f\x98\x80z"};
	static const char *const invalid[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf",
	        "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
	        "abcdefgh\xe4", "\xf0\x9f\x98"};
	for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
		assert_true(pg_text_is_utf8(valid[i], strlen(valid[i])));
	for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
		assert_false(pg_text_is_utf8(invalid[i], strlen(invalid[i])));
}

static void assert_split(const char *text, size_t n, const char *const *expected)
{
	size_t len = strlen(text);
	char *line = malloc(len + 1); /* as libpq's: the newline's place is behind it */
	assert_non_null(line);
	memcpy(line, text, len);
	struct cell cells[8];
	assert_true(pg_copy_split(line, len, cells, n));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(cells[i].len, expected[i] ? (int)strlen(expected[i]) : -1);
		if (expected[i])
			assert_memory_equal(cells[i].data, expected[i], strlen(expected[i]));
	}
	free(line);
}

static void test_pg_text_takes_a_line_apart(void **state)
{
	(void)state;
	assert_split("", 1, (const char *const[]){""});
	assert_split("\\N", 1, (const char *const[]){NULL});
	assert_split("\t", 2, (const char *const[]){"", ""});
	assert_split("1\t\\N\tthree and more\t", 4, (const char *const[]){"1", NULL, "three and more", ""});
	assert_split("\\\\N\tx\\\\N\t\\N", 3, (const char *const[]){"\\N", "x\\N", NULL});
	assert_split("\\b\\f\\n\\r\\t\\v\\\\\t\\\\x00ff", 2, (const char *const[]){"\b\f\n\r\t\v\\", "\\x00ff"});
	assert_split("0123456789\\n0123456789\\t\tnext", 2, (const char *const[]){"0123456789\n0123456789\t", "next"});
	assert_split("\\Nx\ty", 2, (const char *const[]){"Nx", "y"});
}

static void test_pg_text_a_line_with_other_fields_is_refused(void **state)
{
	(void)state;
	struct cell cells[4];
	char three[] = "1\t2\t3";
	assert_false(pg_copy_split(three, 5, cells, 2));
	assert_false(pg_copy_split(three, 5, cells, 4));
	assert_true(pg_copy_split(three, 5, cells, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pg_text_an_instant_is_written_in_utc),
	        cmocka_unit_test(test_pg_text_an_offset_may_lead_to_another_day_month_year),
	        cmocka_unit_test(test_pg_text_instants_beyond_years_of_four_digits),
	        cmocka_unit_test(test_pg_text_what_is_no_instant_stays_as_it_is),
	        cmocka_unit_test(test_pg_text_booleans_and_floats),
	        cmocka_unit_test(test_pg_text_bytes_are_themselves),
	        cmocka_unit_test(test_pg_text_which_column_needs_what),
	        cmocka_unit_test(test_pg_text_copy_escapes_at_every_place_of_a_word),
	        cmocka_unit_test(test_pg_text_copy_tells_what_is_odd),
	        cmocka_unit_test(test_pg_text_copy_writes_bytes_in_hex),
	        cmocka_unit_test(test_pg_text_knows_utf8),
	        cmocka_unit_test(test_pg_text_takes_a_line_apart),
	        cmocka_unit_test(test_pg_text_a_line_with_other_fields_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
