#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/db/ch_bind.h"

static struct ch_statement seen;

static const char *bound(const char *sql, const char *const *args, size_t n)
{
	static char text[4096];
	struct buf out;
	struct err e = ERR_INIT;
	buf_init(&out, sizeof text - 1);
	if (ch_bind(sql, args, n, &out, &seen, &e) != ERR_OK)
		fail_msg("%s: %s", sql, e.text);
	memcpy(text, buf_str(&out), out.len + 1);
	buf_fini(&out);
	return text;
}

static const char *bound1(const char *sql, const char *arg)
{
	return bound(sql, &arg, 1);
}

static void test_ch_bind_arguments_are_string_literals(void **state)
{
	(void)state;
	assert_string_equal(bound1("SELECT ? FROM t", "x"), "SELECT 'x' FROM t");
	assert_string_equal(bound1("SELECT ?", ""), "SELECT ''");
	assert_string_equal(bound1("SELECT ?", NULL), "SELECT NULL");
	assert_string_equal(bound1("SELECT ?", "17"), "SELECT '17'");
	assert_string_equal(bound1("SELECT ?", "it's \\n"), "SELECT 'it\\'s \\\\n'");
	assert_string_equal(bound1("SELECT ?;  -- ? done", "'; DROP TABLE t; --"), "SELECT '\\'; DROP TABLE t; --'");
	const char *const two[] = {"?", "b"};
	assert_string_equal(bound("WHERE a = ? AND b=?", two, 2), "WHERE a = '?' AND b='b'");
	assert_string_equal(bound("SELECT 'a'?, x?y", two, 2), "SELECT 'a' '?', x 'b' y"); /* one token each */
	assert_string_equal(bound("SELECT ??", two, 2), "SELECT '?' 'b'");
}

static void test_ch_bind_question_marks_in_text_stay(void **state)
{
	(void)state;
	assert_string_equal(bound1("SELECT '?', \"?\", `?`, ? -- ?\n, /* ? */ '\\'?' # ?", "x"),
	        "SELECT '?', \"?\", `?`, 'x' -- ?\n, /* ? */ '\\'?'");
}

static void test_ch_bind_numbers_behind_limit_are_bare(void **state)
{
	(void)state;
	const char *const two[] = {"10", "20"};
	assert_string_equal(bound1("SELECT a LIMIT ?", "3"), "SELECT a LIMIT 3");
	assert_string_equal(bound("SELECT a limit ?, ?", two, 2), "SELECT a limit 10, 20");
	assert_string_equal(bound("SELECT a LIMIT ? OFFSET ?", two, 2), "SELECT a LIMIT 10 OFFSET 20");
	assert_string_equal(bound1("SELECT a LIMIT 10 , ?", "3"), "SELECT a LIMIT 10 , 3");
	assert_string_equal(bound("LIMIT ? BY a LIMIT /* all */ ?", two, 2), "LIMIT 10 BY a LIMIT /* all */ 20");
	assert_string_equal(bound("LIMIT ? BY a, ?", two, 2), "LIMIT 10 BY a, '20'");
	assert_string_equal(bound1("SELECT a LIMIT ?", "-3"), "SELECT a LIMIT '-3'");
	assert_string_equal(bound1("SELECT a LIMIT ?", "3 UNION"), "SELECT a LIMIT '3 UNION'");
	assert_string_equal(bound1("SELECT a LIMIT ?", ""), "SELECT a LIMIT ''");
	assert_string_equal(
	        bound1("SELECT a LIMIT ?", "123456789012345678901"), "SELECT a LIMIT '123456789012345678901'");
	assert_string_equal(bound1("SELECT limit, ?", "3"), "SELECT limit, '3'");
	assert_string_equal(bound1("WHERE limit = ?", "3"), "WHERE limit = '3'");
	assert_string_equal(bound1("(SELECT 1 LIMIT 5), ?", "3"), "(SELECT 1 LIMIT 5), '3'");
	assert_string_equal(bound1("SELECT `LIMIT` ?", "3"), "SELECT `LIMIT` '3'");
}

/* What the server makes of a literal: the bytes between the quotes, \x standing for x. */
static void test_ch_bind_every_byte_survives(void **state)
{
	(void)state;
	for (int byte = 1; byte < 256; byte++) {
		char arg[] = {'a', (char)byte, (char)byte, 'z', '\0'}, back[8];
		const char *text = bound1("?", arg);
		size_t n = 0, len = strlen(text);
		assert_true(text[0] == '\'' && text[len - 1] == '\'');
		for (size_t i = 1; i < len - 1; i++) {
			assert_true(text[i] != '\'');
			i += text[i] == '\\';
			back[n++] = text[i];
		}
		back[n] = '\0';
		assert_string_equal(back, arg);
	}
}

static void test_ch_bind_without_arguments_is_for_a_check(void **state)
{
	(void)state;
	assert_string_equal(bound("SELECT ? LIMIT ?, ? OFFSET ?", NULL, 4), "SELECT NULL LIMIT 1, 1 OFFSET 1");
}

static void test_ch_bind_counts_arguments(void **state)
{
	(void)state;
	const char *const args[] = {"a", "b"};
	for (size_t n = 0; n <= 2; n++) {
		struct buf out;
		struct err e = ERR_INIT;
		buf_init(&out, 100);
		enum err_code rc = ch_bind("SELECT ?", args, n, &out, &seen, &e);
		assert_int_equal(rc, n == 1 ? ERR_OK : ERR_PERMANENT);
		assert_true(n == 1 || strstr(e.text, "takes 1 arguments, got"));
		buf_fini(&out);
	}
}

static void test_ch_bind_refuses_what_it_cannot_read_or_hold(void **state)
{
	(void)state;
	const char *arg = "secret secret";
	static const char *const wrong[] = {"SELECT '?", "SELECT ?; SELECT 2", "SELECT 1 /* ?", "SELECT ?, 1234567890"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct buf out;
		struct err e = ERR_INIT;
		buf_init(&out, 30);
		assert_int_equal(ch_bind(wrong[i], &arg, 1, &out, &seen, &e), ERR_PERMANENT);
		assert_null(strstr(e.text, "secret"));
		buf_fini(&out);
	}
}

static void test_ch_bind_tells_what_kind_of_statement_it_is(void **state)
{
	(void)state;
	static const struct {
		const char *sql;
		struct ch_statement is;
	} cases[] = {
	        {"select 1", {CH_SELECTS, false, false}},
	        {"-- note\n WITH 1 AS x SELECT x", {CH_SELECTS, false, false}},
	        {"(SELECT 1)", {CH_SELECTS, false, false}},
	        {"SHOW TABLES", {CH_TELLS, false, false}},
	        {"DESC t", {CH_TELLS, false, false}},
	        {"INSERT INTO t SELECT 1", {CH_CHANGES, false, false}},
	        {"'x'", {CH_CHANGES, false, false}},
	        {"", {CH_CHANGES, false, false}},
	        {"SELECT 1 GROUP BY a WITH /**/ totals", {CH_SELECTS, true, false}},
	        {"SELECT 'WITH TOTALS', \"WITH\" TOTALS", {CH_SELECTS, false, false}},
	        {"SELECT 1 FORMAT TSV", {CH_SELECTS, false, true}},
	        {"SELECT 1 format TabSeparatedRaw", {CH_SELECTS, false, true}},
	        {"SELECT 1 FORMAT TSVWithNamesAndTypes", {CH_SELECTS, false, false}},
	        {"SELECT format FROM format", {CH_SELECTS, false, false}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bound(cases[i].sql, NULL, 0);
		if (seen.verb != cases[i].is.verb || seen.totals != cases[i].is.totals ||
		        seen.format != cases[i].is.format)
			fail_msg("%s: %d %d %d", cases[i].sql, (int)seen.verb, seen.totals, seen.format);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ch_bind_arguments_are_string_literals),
	        cmocka_unit_test(test_ch_bind_question_marks_in_text_stay),
	        cmocka_unit_test(test_ch_bind_numbers_behind_limit_are_bare),
	        cmocka_unit_test(test_ch_bind_every_byte_survives),
	        cmocka_unit_test(test_ch_bind_without_arguments_is_for_a_check),
	        cmocka_unit_test(test_ch_bind_counts_arguments),
	        cmocka_unit_test(test_ch_bind_refuses_what_it_cannot_read_or_hold),
	        cmocka_unit_test(test_ch_bind_tells_what_kind_of_statement_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
