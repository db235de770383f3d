#include "shared/base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_err_set_keeps_code_and_text(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(e.code, ERR_OK);
	assert_string_equal(e.text, "");
	assert_int_equal(err_set(&e, ERR_CONFLICT, "job %s has %d", "a", 2), ERR_CONFLICT);
	assert_int_equal(e.code, ERR_CONFLICT);
	assert_string_equal(e.text, "job a has 2");
	assert_int_equal(err_nomem(&e), ERR_NOMEM);
	assert_string_equal(e.text, "out of memory");
}

static void test_err_set_needs_no_struct(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_LOST, "x"), ERR_LOST);
	assert_int_equal(err_nomem(NULL), ERR_NOMEM);
}

static void test_err_text_is_one_line(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	err_set(&e, ERR_INVALID, "%s",
	        "a\nb\tc\rd\x7f"
	        "e\x1b[0m\xc3\xa4");
	assert_string_equal(e.text, "a b c d e [0m\xc3\xa4");
}

static void test_err_text_is_utf8_whatever_it_quotes(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	err_set(&e, ERR_INVALID, "%s", "\xff\xc3\xa4\xed\xa0\x80.\xc0\x80\xf0\x9f\x98\x80 \xe2\x82");
	assert_string_equal(e.text, "?\xc3\xa4???.??\xf0\x9f\x98\x80 ??");
	err_set(&e, ERR_INVALID, "'%.4s'", "abc\xc3\xa4"); /* cut within a character */
	assert_string_equal(e.text, "'abc?'");
	err_prefix(&e, "\x80");
	assert_string_equal(e.text, "?: 'abc?'");
}

static void test_err_long_text_is_cut_between_characters(void **state)
{
	(void)state;
	for (int shift = 0; shift < 4; shift++) {
		struct err e = ERR_INIT;
		char text[2000] = "xxx";
		for (size_t at = (size_t)shift; at + 4 < sizeof text; at += 3)
			memcpy(text + at, "\xe2\x82\xac", 4); /* a euro sign */
		err_set(&e, ERR_INVALID, "%s", text);
		size_t len = strlen(e.text);
		assert_true(len < sizeof e.text && len > sizeof e.text - 8);
		assert_string_equal(e.text + len - 3, "...");
		assert_int_equal((len - 3 - (size_t)shift) % 3, 0);
	}
	struct err e = ERR_INIT;
	char just[sizeof e.text];
	memset(just, 'x', sizeof just - 1);
	just[sizeof just - 1] = '\0';
	err_set(&e, ERR_INVALID, "%s", just);
	assert_string_equal(e.text, just); /* the longest that is not cut */
}

static void test_err_prefix_keeps_the_code(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	err_set(&e, ERR_TRANSIENT, "lost");
	assert_int_equal(err_prefix(&e, "db %d", 1), ERR_TRANSIENT);
	assert_int_equal(e.code, ERR_TRANSIENT);
	assert_string_equal(e.text, "db 1: lost");
	for (int i = 0; i < 200; i++)
		err_prefix(&e, "again");
	assert_true(strncmp(e.text, "again: again: ", 14) == 0);
	assert_true(strlen(e.text) < sizeof e.text);
}

static void test_err_errno_names_the_error(void **state)
{
	(void)state;
	char out[64], small[8];
	assert_string_equal(err_errno(ENOENT, out, sizeof out), "No such file or directory");
	assert_ptr_equal(err_errno(EACCES, out, sizeof out), out);
	assert_string_equal(out, "Permission denied");
	assert_non_null(strstr(err_errno(99999, out, sizeof out), "99999"));
	assert_string_equal(err_errno(ENOENT, small, sizeof small), "No such");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_err_set_keeps_code_and_text),
	        cmocka_unit_test(test_err_set_needs_no_struct),
	        cmocka_unit_test(test_err_text_is_one_line),
	        cmocka_unit_test(test_err_text_is_utf8_whatever_it_quotes),
	        cmocka_unit_test(test_err_long_text_is_cut_between_characters),
	        cmocka_unit_test(test_err_prefix_keeps_the_code),
	        cmocka_unit_test(test_err_errno_names_the_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
