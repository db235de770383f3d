#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/tasks/sqlfile.h"

static struct sqlfile parse(const char *text)
{
	struct sqlfile f;
	struct err e = ERR_INIT;
	if (sqlfile_parse("t.sql", text, strlen(text), &f, &e))
		fail_msg("%s", e.text);
	return f;
}

static void refuse(const char *text, size_t len, const char *why)
{
	struct sqlfile f;
	struct err e = ERR_INIT;
	assert_int_equal(sqlfile_parse("t.sql", text, len, &f, &e), ERR_INVALID);
	assert_string_equal(e.text, why);
	assert_null(f.text);
}

static void is_query(const struct sqlfile_query *q, const char *name, size_t n_tags, const char *body, int body_line)
{
	assert_string_equal(q->tags[0].value, name);
	assert_int_equal(q->n_tags, n_tags);
	assert_string_equal(q->body, body);
	assert_int_equal(q->body_len, strlen(body));
	if (*body)
		assert_int_equal(q->body_line, body_line);
}

static void test_sqlfile_queries_have_tags_bodies_and_lines(void **state)
{
	(void)state;
	struct sqlfile f = parse("-- The reports.\n"
	                         "\n"
	                         "-- name: a\n"
	                         "-- db: x, y\n"
	                         "SELECT 1\n"
	                         "FROM t;\n"
	                         "\n"
	                         "-- name: b\n"
	                         "  SELECT 2  ");
	assert_int_equal(f.n, 2);
	is_query(&f.queries[0], "a", 2, "SELECT 1\nFROM t;", 5);
	assert_int_equal(f.queries[0].tags[0].line, 3);
	assert_string_equal(f.queries[0].tags[1].name, "db");
	assert_string_equal(f.queries[0].tags[1].value, "x, y");
	assert_int_equal(f.queries[0].tags[1].line, 4);
	is_query(&f.queries[1], "b", 1, "SELECT 2", 9);
	sqlfile_fini(&f);
}

static void test_sqlfile_white_space_in_a_tag_is_free(void **state)
{
	(void)state;
	struct sqlfile f = parse("--name:a\n \t--\tMax_Rows \t:\t 5 \nSELECT 1");
	is_query(&f.queries[0], "a", 2, "SELECT 1", 3);
	assert_string_equal(f.queries[0].tags[1].name, "Max_Rows");
	assert_string_equal(f.queries[0].tags[1].value, "5");
	sqlfile_fini(&f);
}

static void test_sqlfile_a_value_may_be_absent_or_hold_colons(void **state)
{
	(void)state;
	struct sqlfile f = parse("-- name: app:report\n-- raw:\n-- description: see: https://x\nSELECT 1");
	is_query(&f.queries[0], "app:report", 3, "SELECT 1", 4);
	assert_string_equal(f.queries[0].tags[1].value, "");
	assert_string_equal(f.queries[0].tags[2].value, "see: https://x");
	sqlfile_fini(&f);
}

static void test_sqlfile_comments_before_a_body_are_dropped(void **state)
{
	(void)state;
	struct sqlfile f = parse("-- name: a\n-- just a comment\n--\n-- two words: no tag\n-- $1: no tag\nSELECT 1");
	is_query(&f.queries[0], "a", 1, "SELECT 1", 6);
	sqlfile_fini(&f);
}

static void test_sqlfile_comments_within_a_body_belong_to_it(void **state)
{
	(void)state;
	struct sqlfile f = parse("-- name: a\nSELECT 1 -- one\n\n-- db: no tag here\n  -- and this: too\n, 2");
	is_query(&f.queries[0], "a", 1, "SELECT 1 -- one\n\n-- db: no tag here\n  -- and this: too\n, 2", 2);
	sqlfile_fini(&f);
}

static void test_sqlfile_name_begins_a_query_even_within_a_string(void **state)
{
	(void)state;
	struct sqlfile f = parse("-- name: a\nSELECT 'x\n  -- NAME: b\n', 1");
	assert_int_equal(f.n, 2);
	is_query(&f.queries[0], "a", 1, "SELECT 'x", 2);
	is_query(&f.queries[1], "b", 1, "', 1", 4);
	sqlfile_fini(&f);
}

static void test_sqlfile_a_query_without_a_body_is_empty(void **state)
{
	(void)state;
	struct sqlfile f = parse("-- name: a\n-- db: x\n\n-- name: b\n");
	assert_int_equal(f.n, 2);
	is_query(&f.queries[0], "a", 2, "", 0);
	is_query(&f.queries[1], "b", 1, "", 0);
	sqlfile_fini(&f);
}

static void test_sqlfile_without_queries_is_no_error(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "\n\n", "-- nothing yet\n", "\xef\xbb\xbf"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct sqlfile f = parse(texts[i]);
		assert_int_equal(f.n, 0);
		sqlfile_fini(&f);
	}
}

static void test_sqlfile_crlf_and_byte_order_mark_are_accepted(void **state)
{
	(void)state;
	struct sqlfile f = parse("\xef\xbb\xbf-- name: a\r\n-- db: x\r\nSELECT 'a\r\nb\rc'\r\n;\r\n");
	is_query(&f.queries[0], "a", 2, "SELECT 'a\nb\rc'\n;", 3);
	assert_string_equal(f.queries[0].tags[1].value, "x");
	sqlfile_fini(&f);
}

static void test_sqlfile_text_before_the_first_name_is_an_error(void **state)
{
	(void)state;
	static const char text[] = "-- fine\nSELECT 1;\n-- name: a\nSELECT 2",
	                  tag[] = "\n-- db: x\n-- name: a\nSELECT 2";
	refuse(text, sizeof text - 1, "t.sql:2: text stands before the first '-- name:' tag");
	refuse(tag, sizeof tag - 1, "t.sql:2: tag 'db' stands before the first '-- name:' tag");
}

static void test_sqlfile_nul_and_bad_utf8_are_errors(void **state)
{
	(void)state;
	static const char nul[] = "-- name: a\nSELECT '\0'";
	refuse(nul, sizeof nul - 1, "t.sql:2: holds a NUL byte");
	static const char *const bad[] = {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
	        "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff", "\xe2\x82"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char text[32];
		int n = snprintf(text, sizeof text, "-- name: a\n\n%s", bad[i]);
		refuse(text, (size_t)n, "t.sql:3: is not UTF-8");
	}
	struct sqlfile f =
	        parse("-- name: a\nSELECT '\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9e\xed\x9f\xbf\xf4\x8f\xbf\xbf'");
	assert_int_equal(f.n, 1);
	sqlfile_fini(&f);
}

static void test_sqlfile_above_its_limit_is_an_error(void **state)
{
	(void)state;
	size_t len = SQLFILE_MAX_BYTES + 1;
	char *text = malloc(len);
	assert_non_null(text);
	memset(text, ' ', len);
	refuse(text, len, "t.sql: is larger than 1048576 bytes");
	struct sqlfile f;
	assert_int_equal(sqlfile_parse("t.sql", text, len - 1, &f, NULL), ERR_OK);
	sqlfile_fini(&f);
	free(text);
}

static void test_sqlfile_many_queries_are_all_kept(void **state)
{
	(void)state;
	enum { N = 5000, LINE = 32 };
	char *text = malloc((size_t)N * LINE);
	assert_non_null(text);
	size_t len = 0;
	for (int i = 0; i < N; i++)
		len += (size_t)snprintf(text + len, LINE, "-- name: q%d\nSELECT %d;\n", i, i);
	struct sqlfile f;
	assert_int_equal(sqlfile_parse("t.sql", text, len, &f, NULL), ERR_OK);
	assert_int_equal(f.n, N);
	is_query(&f.queries[0], "q0", 1, "SELECT 0;", 2);
	is_query(&f.queries[N - 1], "q4999", 1, "SELECT 4999;", 2 * N);
	sqlfile_fini(&f);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sqlfile_queries_have_tags_bodies_and_lines),
	        cmocka_unit_test(test_sqlfile_white_space_in_a_tag_is_free),
	        cmocka_unit_test(test_sqlfile_a_value_may_be_absent_or_hold_colons),
	        cmocka_unit_test(test_sqlfile_comments_before_a_body_are_dropped),
	        cmocka_unit_test(test_sqlfile_comments_within_a_body_belong_to_it),
	        cmocka_unit_test(test_sqlfile_name_begins_a_query_even_within_a_string),
	        cmocka_unit_test(test_sqlfile_a_query_without_a_body_is_empty),
	        cmocka_unit_test(test_sqlfile_without_queries_is_no_error),
	        cmocka_unit_test(test_sqlfile_crlf_and_byte_order_mark_are_accepted),
	        cmocka_unit_test(test_sqlfile_text_before_the_first_name_is_an_error),
	        cmocka_unit_test(test_sqlfile_nul_and_bad_utf8_are_errors),
	        cmocka_unit_test(test_sqlfile_above_its_limit_is_an_error),
	        cmocka_unit_test(test_sqlfile_many_queries_are_all_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
