/* A job's arguments as the worker reads them. */
#include "worker/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *json, size_t n, const char *const *wanted)
{
	struct err e = ERR_INIT;
	struct arg_list list;
	assert_int_equal(arg_list_parse(&list, json, &e), ERR_OK);
	assert_int_equal(list.n, n);
	for (size_t i = 0; i < n; i++)
		if (wanted[i])
			assert_string_equal(list.texts[i], wanted[i]);
		else
			assert_null(list.texts[i]);
	arg_list_fini(&list);
	assert_true(!list.texts && list.n == 0);
}

#define CHECK(json, ...) \
	check(json, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__})

static void refused(const char *json, const char *reason)
{
	struct err e = ERR_INIT;
	struct arg_list list;
	assert_int_equal(arg_list_parse(&list, json, &e), ERR_PERMANENT);
	assert_non_null(strstr(e.text, reason));
	assert_true(!list.texts && !list.json);
	arg_list_fini(&list);
}

static void test_args_none_are_no_arguments(void **state)
{
	(void)state;
	check("[]", 0, NULL);
	check(" [ ] ", 0, NULL);
}

static void test_args_numbers_keep_their_digits(void **state)
{
	(void)state;
	CHECK("[0, -1, 42]", "0", "-1", "42");
	CHECK("[9223372036854775807, -9223372036854775808, 18446744073709551615]", "9223372036854775807",
	        "-9223372036854775808", "18446744073709551615");
	CHECK("[1.10, -1.50, 0.0, 100.000]", "1.10", "-1.50", "0.0", "100.000");
	CHECK("[0.1000000000000000055511151231257827]", "0.1000000000000000055511151231257827");
	CHECK("[12345678901234567890.123456789]", "12345678901234567890.123456789");
	CHECK("[1e5, 1E400, 2.5e-7]", "1e5", "1E400", "2.5e-7");
}

static void test_args_texts_are_decoded(void **state)
{
	(void)state;
	CHECK("[\"\", \"x\", \"a\\\"b\\\\c\\n\\t\\/\"]", "", "x", "a\"b\\c\n\t/");
	CHECK("[\"\\u00e9\\u20ac\\ud83d\\ude00\", \"é\"]", "é€😀", "é");
	CHECK("[\"1.10\", \"null\"]", "1.10", "null");
}

static void test_args_null_is_sql_null_and_booleans_are_words(void **state)
{
	(void)state;
	CHECK("[null, true, false, \"\", null]", NULL, "true", "false", "", NULL);
}

static void test_args_nul_characters_are_refused(void **state)
{
	(void)state;
	refused("[\"ok\", \"a\\u0000b\"]", "argument 2 holds a NUL character");
	refused("[\"\\u0000\"]", "argument 1 holds a NUL character");
}

static void test_args_nested_values_are_refused(void **state)
{
	(void)state;
	refused("[1, [2]]", "argument 2");
	refused("[{\"a\": 1}]", "argument 1");
	refused("[[]]", "argument 1");
}

static void test_args_what_is_no_array_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {"", " ", "{}", "null", "1", "\"[]\"", "[1", "[1 2]", "[nul]", "]"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		refused(texts[i], "no JSON array");
}

static void test_args_many_are_taken(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct arg_list list;
	struct buf b;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 10000; i++)
		buf_addf(&b, "%c%d", i ? ',' : '[', i);
	buf_addc(&b, ']');
	assert_int_equal(arg_list_parse(&list, buf_str(&b), &e), ERR_OK);
	assert_int_equal(list.n, 10000);
	assert_string_equal(list.texts[9999], "9999");
	arg_list_fini(&list);
	buf_fini(&b);
}

static void quoted(const char *text, const char *wanted)
{
	struct buf b;
	buf_init(&b, 1000);
	buf_addstr(&b, "=");
	json_add_string(&b, text);
	assert_true(buf_ok(&b));
	assert_string_equal(buf_str(&b) + 1, wanted);
	buf_fini(&b);
}

static void test_args_json_strings_are_escaped(void **state)
{
	(void)state;
	quoted("", "\"\"");
	quoted("plain/text", "\"plain/text\"");
	quoted("a\"b\\c", "\"a\\\"b\\\\c\"");
	quoted("\n\r\t\b\f", "\"\\n\\r\\t\\b\\f\"");
	quoted("\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"");
	quoted("é€😀", "\"é€😀\"");
	quoted("</script>", "\"</script>\"");
}

static void test_args_json_string_that_does_not_fit_fails_the_buffer(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 5);
	json_add_string(&b, "four"); /* six with its quotes */
	assert_false(buf_ok(&b));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_args_none_are_no_arguments),
	        cmocka_unit_test(test_args_numbers_keep_their_digits),
	        cmocka_unit_test(test_args_texts_are_decoded),
	        cmocka_unit_test(test_args_null_is_sql_null_and_booleans_are_words),
	        cmocka_unit_test(test_args_nul_characters_are_refused),
	        cmocka_unit_test(test_args_nested_values_are_refused),
	        cmocka_unit_test(test_args_what_is_no_array_is_refused),
	        cmocka_unit_test(test_args_many_are_taken),
	        cmocka_unit_test(test_args_json_strings_are_escaped),
	        cmocka_unit_test(test_args_json_string_that_does_not_fit_fails_the_buffer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
