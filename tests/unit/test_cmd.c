/* Commands as they are built (shared/queue/cmd.c); nothing is sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/queue/redis.h"
#include "tests/unit/test_cmd_fixture.h"

static void assert_arg(const struct cmd *c, size_t i, const void *bytes, size_t len)
{
	assert_true(i < c->n);
	size_t got = 0;
	const char *argument = cmd_argument(c, i, &got);
	assert_non_null(argument);
	assert_int_equal(got, len);
	assert_memory_equal(argument, bytes, len);
	assert_memory_equal(argument + len, "\r\n", 2);
}

static void assert_text(const struct cmd *c, size_t i, const char *text)
{
	assert_arg(c, i, text, strlen(text));
}

static void test_cmd_arguments_are_binary_safe(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	cmd_addstr(&c, "SET");
	cmd_add(&c, "a\0b\r\n", 5);
	cmd_add(&c, "", 0);
	cmd_addstr(&c, "");
	cmd_addstr(&c, "%s %n\r\n$3");
	assert_false(c.failed);
	assert_int_equal(c.n, 5);
	assert_text(&c, 0, "SET");
	assert_arg(&c, 1, "a\0b\r\n", 5);
	assert_arg(&c, 2, "", 0);
	assert_arg(&c, 3, "", 0);
	assert_text(&c, 4, "%s %n\r\n$3");
	cmd_fini(&c);
}

static void test_cmd_an_empty_first_argument_is_one(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	cmd_add(&c, "", 0);
	assert_false(c.failed);
	assert_int_equal(c.n, 1);
	assert_string_equal(c.text.data, "$0\r\n\r\n");
	cmd_fini(&c);
}

static void test_cmd_keys_are_prefix_kind_name(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	cmd_addkey(&c, "db:", "job:", "a b\n");
	cmd_addkey(&c, "db:", "stats", NULL);
	cmd_addkey(&c, "db:", NULL, "ignored");
	cmd_addkey(&c, "", "job:", "");
	cmd_addkey(&c, "", "", "");
	assert_false(c.failed);
	assert_int_equal(c.n, 5);
	assert_text(&c, 0, "db:job:a b\n");
	assert_text(&c, 1, "db:stats");
	assert_text(&c, 2, "db:");
	assert_text(&c, 3, "job:");
	assert_text(&c, 4, "");
	cmd_fini(&c);
}

static void test_cmd_integers_are_written_in_full(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	cmd_addi64(&c, 0);
	cmd_addi64(&c, INT64_MAX);
	cmd_addi64(&c, INT64_MIN);
	assert_text(&c, 0, "0");
	assert_text(&c, 1, "9223372036854775807");
	assert_text(&c, 2, "-9223372036854775808");
	cmd_fini(&c);
}

static void test_cmd_script_is_named_by_its_digest(void **state)
{
	(void)state;
	for (int id = 0; id < SCRIPT_COUNT; id++) {
		struct cmd c;
		cmd_init(&c);
		cmd_script(&c, (enum script_id)id, 3);
		assert_int_equal(c.n, 3);
		assert_text(&c, 0, "EVALSHA");
		assert_text(&c, 1, scripts[id].digest);
		assert_text(&c, 2, "3");
		assert_ptr_equal(c.script, &scripts[id]);
		cmd_fini(&c);
	}
}

static void test_cmd_scripts_are_whole_and_told_apart(void **state)
{
	(void)state;
	for (int id = 0; id < SCRIPT_COUNT; id++) {
		assert_non_null(scripts[id].name);
		assert_int_equal(strlen(scripts[id].digest), 40);
		assert_int_equal(strspn(scripts[id].digest, "0123456789abcdef"), 40);
		assert_int_equal(strlen(scripts[id].text), scripts[id].len);
		assert_memory_equal(scripts[id].text, "#!lua", 5);
		for (int other = 0; other < id; other++)
			assert_string_not_equal(scripts[other].digest, scripts[id].digest);
	}
}

static void test_cmd_holds_thousands_of_arguments(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	for (int64_t i = 0; i < 10000; i++)
		cmd_addi64(&c, i);
	assert_false(c.failed);
	assert_int_equal(c.n, 10000);
	for (int64_t i = 0; i < 10000; i++) {
		char text[24];
		snprintf(text, sizeof text, "%d", (int)i);
		assert_text(&c, (size_t)i, text);
	}
	cmd_fini(&c);
}

static void test_cmd_that_is_too_long_has_failed_until_it_is_reset(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	cmd_addstr(&c, "SET");
	cmd_add(&c, "x", 65u << 20); /* refused before it is read */
	assert_true(c.failed);
	cmd_addstr(&c, "more");
	assert_true(c.failed);
	cmd_reset(&c);
	assert_false(c.failed);
	cmd_addstr(&c, "PING");
	assert_false(c.failed);
	assert_int_equal(c.n, 1);
	assert_text(&c, 0, "PING");
	cmd_fini(&c);
}

static void accept_job(struct cmd *c, enum script_id script, const char *queue, const char *id)
{
	cmd_init(c);
	cmd_script(c, script, 2);
	cmd_addkey(c, "p:", "queue:", queue);
	cmd_joins(c);
	cmd_addkey(c, "p:", "job:", id);
	cmd_args(c);
	cmd_addstr(c, id);
}

static void test_cmd_joins_what_has_script_and_common_keys_in_common(void **state)
{
	(void)state;
	struct cmd a, same, elsewhere, other, plain;
	accept_job(&a, SCRIPT_ACCEPT, "q", "1");
	accept_job(&same, SCRIPT_ACCEPT, "q", "22");
	accept_job(&elsewhere, SCRIPT_ACCEPT, "r", "1");
	accept_job(&other, SCRIPT_START, "q", "1");
	cmd_init(&plain);
	cmd_addstr(&plain, "PING");
	assert_true(a.common == 1 && a.keys == 2);
	assert_memory_equal(a.text.data + a.first, "$9\r\np:queue:q\r\n", a.own - a.first);
	assert_memory_equal(a.text.data + a.own, "$7\r\np:job:1\r\n", a.args - a.own);
	assert_string_equal(a.text.data + a.args, "$1\r\n1\r\n");
	assert_true(cmd_joins_with(&a, &same));
	assert_false(cmd_joins_with(&a, &elsewhere));
	assert_false(cmd_joins_with(&a, &other));
	assert_false(cmd_joins_with(&a, &plain));
	assert_false(cmd_joins_with(&plain, &a));
	same.failed = true;
	assert_false(cmd_joins_with(&a, &same));
	cmd_reset(&a);
	cmd_fini(&other);
	accept_job(&other, SCRIPT_ACCEPT, "q", "1");
	assert_false(cmd_joins_with(&a, &other));
	for (struct cmd **c = (struct cmd *[]){&a, &same, &elsewhere, &other, &plain, NULL}; *c; c++)
		cmd_fini(*c);
}

static void test_cmd_reset_forgets_the_script(void **state)
{
	(void)state;
	struct cmd c;
	cmd_init(&c);
	cmd_script(&c, SCRIPT_START, 6);
	cmd_reset(&c);
	assert_true(c.n == 0 && !c.script && c.text.len == 0);
	cmd_fini(&c);
	cmd_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_cmd_arguments_are_binary_safe),
	        cmocka_unit_test(test_cmd_an_empty_first_argument_is_one),
	        cmocka_unit_test(test_cmd_keys_are_prefix_kind_name),
	        cmocka_unit_test(test_cmd_integers_are_written_in_full),
	        cmocka_unit_test(test_cmd_script_is_named_by_its_digest),
	        cmocka_unit_test(test_cmd_scripts_are_whole_and_told_apart),
	        cmocka_unit_test(test_cmd_holds_thousands_of_arguments),
	        cmocka_unit_test(test_cmd_that_is_too_long_has_failed_until_it_is_reset),
	        cmocka_unit_test(test_cmd_joins_what_has_script_and_common_keys_in_common),
	        cmocka_unit_test(test_cmd_reset_forgets_the_script),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
