#include "shared/base/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
	return parse_i64(text, strlen(text), min, max, out);
}

static void test_parse_i64_reads_the_whole_range(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t value;
	} good[] = {{"0", 0}, {"-0", 0}, {"7", 7}, {"-7", -7}, {"007", 7}, {"9223372036854775807", INT64_MAX},
	        {"-9223372036854775808", INT64_MIN}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		int64_t v = 1;
		assert_true(i64(good[i].text, INT64_MIN, INT64_MAX, &v));
		assert_true(v == good[i].value);
	}
}

static void test_parse_i64_refuses_what_is_no_number_of_its_range(void **state)
{
	(void)state;
	static const char *const wrong[] = {"", "-", "--1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "abc", "1-",
	        "9223372036854775808", "-9223372036854775809", "99999999999999999999999"};
	int64_t v = 42;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_false(i64(wrong[i], INT64_MIN, INT64_MAX, &v));
	assert_false(i64("4", 5, 10, &v));
	assert_false(i64("11", 5, 10, &v));
	assert_false(i64("-1", 0, 10, &v));
	assert_int_equal(v, 42);
	assert_true(i64("5", 5, 10, &v) && v == 5);
	assert_true(i64("10", 5, 10, &v) && v == 10);
}

static void test_parse_takes_the_length_and_no_nul(void **state)
{
	(void)state;
	int64_t v;
	bool b;
	assert_true(parse_i64("123456", 3, 0, 1000, &v) && v == 123);
	assert_true(parse_duration_ms("15sX", 3, &v) && v == 15000);
	assert_true(parse_size("1KiBX", 4, &v) && v == 1024);
	assert_true(parse_bool("trueX", 4, &b) && b);
	assert_true(parse_name("ab c", 2, 10));
	assert_false(parse_i64("1\0", 2, 0, 10, &v));
	assert_false(parse_bool("true\0", 5, &b));
	assert_false(parse_name("a\0b", 3, 10));
	assert_false(parse_i64(NULL, 0, 0, 10, &v));
	assert_false(parse_name(NULL, 0, 10));
}

static void test_parse_duration_knows_its_units_up_to_ten_years(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"0", 0}, {"0s", 0}, {"250ms", 250}, {"15s", 15000}, {"2m", 120000}, {"1h", 3600000},
	        {"1d", 86400000}, {"3650d", INT64_C(315360000000)}};
	static const char *const wrong[] = {"", "s", "15", "00", "1.5s", "-1s", "1 s", "15S", "1w", "1sec", "1s1s",
	        "3651d", "9223372036854775807d", "99999999999999999999s"};
	int64_t v = 42;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_false(parse_duration_ms(wrong[i], strlen(wrong[i]), &v));
	assert_int_equal(v, 42);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(parse_duration_ms(good[i].text, strlen(good[i].text), &v) && v == good[i].ms);
}

static void test_parse_size_tells_thousands_from_1024s(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t bytes;
	} good[] = {{"0", 0}, {"17", 17}, {"17B", 17}, {"2KB", 2000}, {"2KiB", 2048}, {"3MB", 3000000},
	        {"3MiB", 3145728}, {"4GB", INT64_C(4000000000)}, {"4GiB", INT64_C(4294967296)},
	        {"9223372036854775807", INT64_MAX}};
	static const char *const wrong[] = {"", "B", "1kb", "1kib", "1K", "-1", "1.5MB", "1 MB", "1TB",
	        "9223372036854775807KB", "9007199254740992GiB"};
	int64_t v = 42;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_false(parse_size(wrong[i], strlen(wrong[i]), &v));
	assert_int_equal(v, 42);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(parse_size(good[i].text, strlen(good[i].text), &v) && v == good[i].bytes);
}

static void test_parse_bool_takes_three_pairs_in_lower_case(void **state)
{
	(void)state;
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
	static const char *const wrong[] = {"", "True", "YES", "1", "0", "t", "y", "truee", "tru"};
	bool b;
	for (size_t i = 0; i < 3; i++) {
		b = false;
		assert_true(parse_bool(yes[i], strlen(yes[i]), &b) && b);
		assert_true(parse_bool(no[i], strlen(no[i]), &b) && !b);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_false(parse_bool(wrong[i], strlen(wrong[i]), &b));
}

static void test_parse_name_takes_just_its_characters_and_length(void **state)
{
	(void)state;
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:-";
	for (int c = 0; c < 256; c++) {
		char text[] = {'a', (char)c};
		assert_int_equal(parse_name(text, 2, 10), c && strchr(allowed, c));
	}
	assert_false(parse_name("", 0, 10));
	assert_true(parse_name("abc", 3, 3));
	assert_false(parse_name("abcd", 4, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_parse_i64_reads_the_whole_range),
	        cmocka_unit_test(test_parse_i64_refuses_what_is_no_number_of_its_range),
	        cmocka_unit_test(test_parse_takes_the_length_and_no_nul),
	        cmocka_unit_test(test_parse_duration_knows_its_units_up_to_ten_years),
	        cmocka_unit_test(test_parse_size_tells_thousands_from_1024s),
	        cmocka_unit_test(test_parse_bool_takes_three_pairs_in_lower_case),
	        cmocka_unit_test(test_parse_name_takes_just_its_characters_and_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
