#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/sql/placeholders.h"

struct claim {
	const char *sql;
	int count;
};

/* The text is copied to the end of its own allocation, so that the address sanitizer sees a byte that is read too far. */
static enum err_code scan(enum db_engine engine, const char *sql, struct placeholders *out, struct err *e)
{
	size_t len = strlen(sql);
	char *exact = malloc(len ? len : 1);
	assert_non_null(exact);
	memcpy(exact, sql, len);
	enum err_code rc = placeholders_scan(engine, exact, len, out, e);
	free(exact);
	return rc;
}

static void check(enum db_engine engine, const struct claim *claims, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct placeholders found;
		struct err e = ERR_INIT;
		enum err_code rc = scan(engine, claims[i].sql, &found, &e);
		if (rc || found.count != claims[i].count)
			fail_msg("%s: expected %d, got %d %s", claims[i].sql, claims[i].count, found.count, e.text);
	}
}

/* Claims that scanning sql fails in that line with a text that holds `why`. */
static void refuse(enum db_engine engine, const char *sql, int line, const char *why)
{
	struct placeholders found;
	struct err e = ERR_INIT;
	if (scan(engine, sql, &found, &e) != ERR_INVALID)
		fail_msg("%s: expected an error, got %d placeholders", sql, found.count);
	if (!strstr(e.text, why) || found.line != line)
		fail_msg("%s: expected line %d and '%s', got line %d and '%s'", sql, line, why, found.line, e.text);
}

#define CHECK(engine, claims) check(engine, claims, sizeof(claims) / sizeof(claims)[0])

static void test_placeholders_postgres_counts_the_highest_number(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT 1", 0},
	        {"SELECT $1", 1},
	        {"SELECT $2, $1, $2", 2},
	        {"SELECT $1::text || $2::text", 2},
	        {"SELECT $1+$2", 2},
	        {"SELECT ($1),($2),($3),($4),($5),($6),($7),($8),($9),($10)", 10},
	        {"SELECT x FROM t WHERE a ? 'b' AND c = $1", 1},
	        {"SELECT '{a,b}'::text[] && $1", 1},
	};
	CHECK(DB_POSTGRES, claims);
}

static void test_placeholders_postgres_strings_and_names_are_text(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT '$1'", 0},
	        {"SELECT '$1''$2', $1", 1},
	        {"SELECT 'a\\', $1", 1}, /* no escape: the string ends behind the backslash */
	        {"SELECT E'a\\'$2', $1", 1},
	        {"SELECT e'a\\\\', $1", 1},
	        {"SELECT E'it''s \\' $2', $1", 1},
	        {"SELECT E'a'\n  'b\\' $2', $1", 1}, /* parts of one string */
	        {"SELECT like'a\\', $1", 1},         /* no E string: the word is another */
	        {"SELECT U&'d\\0061t\\+000061 $2', $1", 1},
	        {"SELECT U&\"d$2\", $1", 1},
	        {"SELECT B'1', x'1F', N'$2', $1", 1},
	        {"SELECT \"$1\", \"a\"\"$2\", $1", 1},
	        {"SELECT \"it's\", $1, \"it's\"", 1},
	};
	CHECK(DB_POSTGRES, claims);
}

static void test_placeholders_postgres_dollar_quotes_are_text(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT $$ $1 ' \" $$, $1", 1},
	        {"SELECT $a$ $1 $$ $b$ $a$, $1", 1},
	        {"SELECT $t_1$ $2 $t_$ $t_1$, $1", 1},
	        {"SELECT $\xc3\xa9$ $2 $\xc3\xa9$, $1", 1},
	        {"SELECT $1 $$x$$", 1},
	};
	CHECK(DB_POSTGRES, claims);
}

static void test_placeholders_postgres_a_dollar_within_a_name_is_a_letter(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT a$1 FROM t", 0},
	        {"SELECT a$$ FROM t WHERE b$$ = $1", 1},
	        {"SELECT \xc3\xa9$2, $1", 1},
	        {"SELECT _$9$8 FROM t WHERE x=$1", 1},
	};
	CHECK(DB_POSTGRES, claims);
}

static void test_placeholders_postgres_comments_are_text(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT 1 -- $1", 0}, {"SELECT 1--$1\n+ $1", 1},
	        {"SELECT 1 -- it's\r, $1", 1}, /* a carriage return ends the comment */
	        {"SELECT /* $1 */ 1", 0}, {"SELECT /* a /* $2 */ ' $3 */ $1", 1}, {"SELECT 2*/* $2 */$1", 1},
	        {"SELECT 8 # $1", 1}, /* XOR */
	};
	CHECK(DB_POSTGRES, claims);
}

static void test_placeholders_postgres_gaps_are_errors(void **state)
{
	(void)state;
	refuse(DB_POSTGRES, "SELECT $3, $1", 1, "$3 is used but $2 is not");
	refuse(DB_POSTGRES, "SELECT $2", 1, "$2 is used but $1 is not");
	refuse(DB_POSTGRES, "SELECT\n$0", 2, "placeholders are $1 to $65535");
	refuse(DB_POSTGRES, "SELECT $65536", 1, "placeholders are $1 to $65535");
	refuse(DB_POSTGRES, "SELECT $99999999999999999999", 1, "placeholders are $1 to $65535");
}

static void test_placeholders_mysql_counts_question_marks_outside_strings(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT ?", 1},
	        {"SELECT ?, ? FROM t WHERE a=?", 3},
	        {"SELECT $1", 0},
	        {"SELECT '?', ?", 1},
	        {"SELECT 'it''s ?', ?", 1},
	        {"SELECT 'a\\'?', ?", 1},
	        {"SELECT \"a\\\"?\", ?", 1},
	        {"SELECT \"a\"\"?\", ?", 1},
	        {"SELECT `a?`, `b``?`, `c\\`, ?", 1}, /* no escapes in a quoted name */
	        {"SELECT $$ ? $$", 1},
	        {"SELECT E'\\'?', ?", 1},
	};
	CHECK(DB_MYSQL, claims);
}

static void test_placeholders_mysql_comments_are_text(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT 1 -- ?", 0},
	        {"SELECT 1 --", 0},
	        {"SELECT 5--?", 1}, /* no comment: two minus signs */
	        {"SELECT 1 --\t?\n, ?", 1},
	        {"SELECT 1 # ? it's\n, ?", 1},
	        {"SELECT 1 #?", 0},
	        {"SELECT /* ? /* ? */ ?", 1}, /* not nested */
	        {"SELECT /*!40101 SQL_NO_CACHE */ ?", 1},
	        {"SELECT /*+ MAX_EXECUTION_TIME(1) ? */ ?", 1},
	};
	CHECK(DB_MYSQL, claims);
	refuse(DB_MYSQL, "SELECT 1 /*!50000 , ? */", 1, "within a /*! comment");
	refuse(DB_MYSQL, "SELECT 1 /*M!100000 , ? */", 1, "within a /*! comment");
}

static void test_placeholders_clickhouse_counts_question_marks_outside_strings(void **state)
{
	(void)state;
	static const struct claim claims[] = {
	        {"SELECT ?", 1}, {"SELECT 'a\\'?', ?", 1}, {"SELECT 'it''s ?', ?", 1},
	        {"SELECT \"a\\\"?\", `b\\`?`, `c``?`, ?", 1}, {"SELECT 1 --?\n, ?", 1}, {"SELECT 1 // ?\n, ?", 1},
	        {"SELECT 1 # ?\n, ?", 1}, {"SELECT 1 #! ?\n, ?", 1}, {"SELECT /* ? */ ?", 1},
	        {"SELECT $$ ? ' $$, $a$ ? $a$, ?", 1}, {"SELECT $x, ?", 1}, {"SELECT x$y$, ?, z$y$", 1},
	        {"SELECT a ? b : c", 1}, /* the operator counts: write if(a, b, c) */
	};
	CHECK(DB_CLICKHOUSE, claims);
	refuse(DB_CLICKHOUSE, "SELECT /* a\n/* b */ ?", 2, "a comment within a comment");
}

static void test_placeholders_what_has_no_end_is_an_error_where_it_begins(void **state)
{
	(void)state;
	refuse(DB_POSTGRES, "SELECT\n'abc\n", 2, "a string begins with ' and has no end");
	refuse(DB_POSTGRES, "SELECT 'it''", 1, "a string begins with ' and has no end");
	refuse(DB_POSTGRES, "SELECT E'abc\\'", 1, "a string begins with ' and has no end");
	refuse(DB_POSTGRES, "SELECT E'abc\\", 1, "a string begins with ' and has no end");
	refuse(DB_POSTGRES, "SELECT \"abc", 1, "a quoted name begins with \" and has no end");
	refuse(DB_POSTGRES, "SELECT\n\n$x$ $y$ $1", 3, "a dollar quote begins with $x$ and has no end");
	refuse(DB_POSTGRES, "SELECT $$ $", 1, "a dollar quote begins with $$ and has no end");
	refuse(DB_POSTGRES, "SELECT /* /* */", 1, "a comment begins with /* and has no end");
	refuse(DB_POSTGRES, "SELECT /*/", 1, "a comment begins with /* and has no end");
	refuse(DB_MYSQL, "SELECT \"abc", 1, "a string begins with \" and has no end");
	refuse(DB_MYSQL, "SELECT `abc", 1, "a quoted name begins with ` and has no end");
	refuse(DB_CLICKHOUSE, "SELECT\n$t$, ?", 2,
	        "a dollar quote begins with $t$ and has no end"); /* could be an argument's */
	refuse(DB_CLICKHOUSE, "SELECT `abc\\`", 1, "a quoted name begins with ` and has no end");
}

static void test_placeholders_a_second_statement_is_an_error(void **state)
{
	(void)state;
	refuse(DB_POSTGRES, "SELECT 1;\nSELECT 2", 2, "a task is one statement");
	refuse(DB_POSTGRES, "SELECT 1; # x", 1, "a task is one statement");
	refuse(DB_MYSQL, "SELECT ';';\n\nDROP TABLE t;", 3, "a task is one statement");
	refuse(DB_CLICKHOUSE, "SELECT 1; -- x\n'", 2, "a task is one statement");
}

static void test_placeholders_statement_ends_at_its_last_token(void **state)
{
	(void)state;
	static const struct {
		enum db_engine engine;
		const char *sql;
		size_t len;
	} claims[] = {
	        {DB_POSTGRES, "SELECT 1", 8},
	        {DB_POSTGRES, "SELECT 1 ; ;; \n", 8},
	        {DB_POSTGRES, "SELECT ';' -- ;\n;-- done; it's\n/* ; */", 10},
	        {DB_MYSQL, "SELECT 1 # ;\n", 8},
	        {DB_CLICKHOUSE, "-- x\nSELECT 1;", 13},
	        {DB_POSTGRES, "", 0},
	        {DB_POSTGRES, " ; ", 0},
	        {DB_POSTGRES, "-- only\n/* a comment */;", 0},
	};
	for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
		struct placeholders found;
		assert_int_equal(scan(claims[i].engine, claims[i].sql, &found, NULL), ERR_OK);
		if (found.len != claims[i].len)
			fail_msg("%s: expected %zu, got %zu", claims[i].sql, claims[i].len, found.len);
	}
}

static void test_placeholders_count_names_the_line(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	int count = -1;
	assert_int_equal(placeholders_count(DB_POSTGRES, "SELECT $1;", 10, &count, &e), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(placeholders_count(DB_POSTGRES, "SELECT\n'", 8, &count, &e), ERR_INVALID);
	assert_string_equal(e.text, "line 2: a string begins with ' and has no end");
	assert_int_equal(placeholders_count(DB_POSTGRES, "SELECT\n'", 8, &count, NULL), ERR_INVALID);
}

static void test_placeholders_more_than_the_protocol_can_send_are_an_error(void **state)
{
	(void)state;
	size_t len = (size_t)(PLACEHOLDERS_MAX + 1) * 2;
	char *sql = malloc(len);
	assert_non_null(sql);
	for (size_t i = 0; i < len; i += 2)
		memcpy(sql + i, "?,", 2);
	int count;
	assert_int_equal(placeholders_count(DB_MYSQL, sql, len - 2, &count, NULL), ERR_OK);
	assert_int_equal(count, PLACEHOLDERS_MAX);
	assert_int_equal(placeholders_count(DB_MYSQL, sql, len, &count, NULL), ERR_INVALID);
	free(sql);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_placeholders_postgres_counts_the_highest_number),
	        cmocka_unit_test(test_placeholders_postgres_strings_and_names_are_text),
	        cmocka_unit_test(test_placeholders_postgres_dollar_quotes_are_text),
	        cmocka_unit_test(test_placeholders_postgres_a_dollar_within_a_name_is_a_letter),
	        cmocka_unit_test(test_placeholders_postgres_comments_are_text),
	        cmocka_unit_test(test_placeholders_postgres_gaps_are_errors),
	        cmocka_unit_test(test_placeholders_mysql_counts_question_marks_outside_strings),
	        cmocka_unit_test(test_placeholders_mysql_comments_are_text),
	        cmocka_unit_test(test_placeholders_clickhouse_counts_question_marks_outside_strings),
	        cmocka_unit_test(test_placeholders_what_has_no_end_is_an_error_where_it_begins),
	        cmocka_unit_test(test_placeholders_a_second_statement_is_an_error),
	        cmocka_unit_test(test_placeholders_statement_ends_at_its_last_token),
	        cmocka_unit_test(test_placeholders_count_names_the_line),
	        cmocka_unit_test(test_placeholders_more_than_the_protocol_can_send_are_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
