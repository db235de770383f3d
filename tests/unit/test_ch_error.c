#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/db/ch_error.h"

struct want {
	const char *text;
	long status;
	enum err_code code;
	bool quotes;
	const char *says;
};

static void test_ch_error_says_what_the_server_said_in_a_line(void **state)
{
	(void)state;
	static const struct want wants[] = {
	        {"Code: 60, e.displayText() = DB::Exception: Table default.t doesn't exist., e.what() = "
	         "DB::Exception\n",
	                404, ERR_PERMANENT, false, "Table default.t doesn't exist. (code 60)"},
	        {"Code: 60. DB::Exception: Unknown table expression identifier 'nope'. In scope SELECT * FROM nope "
	         "WHERE s = "
	         "'secret'. (UNKNOWN_TABLE) (version 26.9.2.1)\n",
	                404, ERR_PERMANENT, false, "Unknown table expression identifier 'nope'. (code 60)"},
	        {"Code: 159. DB::Exception: Timeout exceeded: elapsed 1003.199 ms. (TIMEOUT_EXCEEDED) (version "
	         "26.9.2.1)",
	                408, ERR_TRANSIENT, false,
	                "Timeout exceeded: elapsed 1003.199 ms. (TIMEOUT_EXCEEDED) (code 159)"},
	        {"Code: 395, e.displayText() = DB::Exception: a DB::Exception: b, e.what() = DB::Exception, Stack "
	         "trace:\n\n0. x",
	                500, ERR_PERMANENT, true, "a DB::Exception: b (code 395)"},
	        {"Code: 62, e.displayText() = DB::Exception: Syntax error:\nline 2, e.what() = DB::Exception", 400,
	                ERR_PERMANENT, true, "Syntax error: line 2 (code 62)"},
	        {"Code: 193, e.displayText() = DB::Exception: Wrong password for user ro, e.what() = DB::Exception",
	                401, ERR_UNAVAILABLE, false, "Wrong password for user ro (code 193)"},
	        {"Code: 516. DB::Exception: ro: Authentication failed. (AUTHENTICATION_FAILED)", 403, ERR_UNAVAILABLE,
	                false, "ro: Authentication failed. (AUTHENTICATION_FAILED) (code 516)"},
	        {"Code: 241, e.displayText() = DB::Exception: Memory limit (total) exceeded, e.what() = DB::Exception",
	                500, ERR_TRANSIENT, false, "Memory limit (total) exceeded (code 241)"},
	        {"Poco::Exception. Code: 1000, e.code() = 111, e.displayText() = Connection refused, e.what() = "
	         "Connection refused",
	                500, ERR_PERMANENT, true, "Connection refused (code 1000)"},
	        {"Code: 47. DB::Exception: In scope SELECT 1 In scope SELECT 'secret'", 404, ERR_PERMANENT, true,
	                "In scope SELECT 1 (code 47)"},
	        {" In scope x In scope SELECT 'secret'", 400, ERR_PERMANENT, true, "HTTP status 400:  In scope x"},
	        {"<html>Bad Gateway</html>", 502, ERR_TRANSIENT, true, "HTTP status 502: <html>Bad Gateway</html>"},
	        {"", 503, ERR_TRANSIENT, true, "HTTP status 503"},
	        {"", 403, ERR_UNAVAILABLE, true, "HTTP status 403"},
	        {"moved", 301, ERR_PERMANENT, true, "HTTP status 301: moved"},
	};
	for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
		const struct want *w = &wants[i];
		struct err e = ERR_INIT;
		enum err_code rc = ch_error_set(&e, w->status, w->text, strlen(w->text));
		if (rc != w->code || e.code != w->code || strcmp(e.text, w->says) != 0 || e.quotes != w->quotes)
			fail_msg("%s: %d %d '%s'", w->text, (int)rc, e.quotes, e.text);
	}
}

/* e.text has room for 600 bytes; what stands before it, such as the source's name, comes yet. */
static void test_ch_error_keeps_its_number_however_long_the_text_is(void **state)
{
	(void)state;
	char text[5000] = "Code: 62. DB::Exception: ";
	size_t at = strlen(text);
	for (size_t i = at; i + 2 < sizeof text; i += 2)
		memcpy(text + i, i / 2 % 2 ? "\xc3\xa9" : "\xff\xff", 2);
	for (size_t len = at + 400; len < sizeof text; len += 97) {
		struct err e = ERR_INIT;
		(void)ch_error_set(&e, 400, text, len);
		const char *number = strstr(e.text, " (code 62)");
		if (!number || number[10] || (len > at + 500 && !strstr(e.text, "... (code 62)")))
			fail_msg("%zu: %s", len, e.text);
	}
}

static void test_ch_error_knows_how_such_a_text_begins(void **state)
{
	(void)state;
	static const char *const yes[] = {"Code: 395, e.displayText() = DB::Exception: x", "Code: 1. DB::Exception: x",
	        "Code: 209. DB::NetException: x", "Poco::Exception. Code: 1000, e.code() = 0",
	        "std::exception. Code: 1001, type: std::bad_alloc", "Unknown exception. Code: 1002"};
	static const char *const no[] = {"", "C", "Code: ", "Code: x", "Code: 395", "Code: 395, e.display",
	        "Code: 395. Red shirt", " Code: 395, e.displayText() = x", "code: 395, e.displayText() = x",
	        "Poco::Exception. Code: "};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		assert_true(ch_error_begins(yes[i], strlen(yes[i])));
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		assert_false(ch_error_begins(no[i], strlen(no[i])));
}

static void test_ch_error_that_is_not_escaped_is_no_value(void **state)
{
	(void)state;
	assert_false(ch_error_may_be_value("function 'throwIf'", 18));
	assert_true(ch_error_may_be_value("function \\'throwIf\\'", 20));
	assert_false(ch_error_may_be_value("a\\\\'b", 5));
	assert_true(ch_error_may_be_value("a\\\\\\'b", 6));
	assert_false(ch_error_may_be_value("a\rb", 3));
	assert_true(ch_error_may_be_value("a\tb\vc\x1b", 6));
	assert_true(ch_error_may_be_value("", 0));
}

static void test_ch_error_numbers(void **state)
{
	(void)state;
	assert_int_equal(ch_error_number("Code: 60. DB", 12), 60);
	assert_int_equal(ch_error_number("Poco::Exception. Code: 1000, x", 30), 1000);
	assert_int_equal(ch_error_number("Code: 60", 8), 60);
	assert_int_equal(ch_error_number("Code: ", 6), 0);
	assert_int_equal(ch_error_number("nothing", 7), 0);
	assert_int_equal(ch_error_number(NULL, 0), 0);
	assert_true(ch_error_is_of_values(43));
	assert_false(ch_error_is_of_values(60));
	assert_false(ch_error_is_of_values(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ch_error_says_what_the_server_said_in_a_line),
	        cmocka_unit_test(test_ch_error_keeps_its_number_however_long_the_text_is),
	        cmocka_unit_test(test_ch_error_knows_how_such_a_text_begins),
	        cmocka_unit_test(test_ch_error_that_is_not_escaped_is_no_value),
	        cmocka_unit_test(test_ch_error_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
