/* What was ordered, as one text (shared/queue/spec.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/queue/queue.h"
#include "tests/unit/test_cmd_fixture.h"

static const struct job_spec plain = {.task = "t", .queue = "q", .results = "r", .db = "", .args = "[]"};

static const char *written(const struct job_spec *job, const char *group)
{
	static char text[512];
	struct cmd c;
	size_t len = 0;
	cmd_init(&c);
	spec_add(&c, job, group);
	assert_int_equal(c.n, 1);
	const char *argument = cmd_argument(&c, 0, &len);
	assert_non_null(argument);
	assert_true(len < sizeof text);
	memcpy(text, argument, len);
	text[len] = '\0';
	cmd_fini(&c);
	return text;
}

static void test_spec_leaves_out_what_is_not_set(void **state)
{
	(void)state;
	assert_string_equal(written(&plain, NULL), "task=t\nqueue=q\nresults=r\nargs=[]");
}

static void test_spec_reads_what_it_has_written(void **state)
{
	(void)state;
	struct job_spec job = plain;
	job.db = "a:b";
	job.retries = 3;
	job.ttl_ms = 5000;
	job.timeout_ms = 600;
	job.eta_ms = INT64_C(1795516044123);
	job.args = "[\"x\\nqueue=other\",\"=\",1.50]";
	struct job_order order;
	spec_read(written(&job, "g"), &order);
	assert_string_equal(order.task, "t");
	assert_string_equal(order.queue, "q");
	assert_string_equal(order.results, "r");
	assert_string_equal(order.db, "a:b");
	assert_string_equal(order.group, "g");
	assert_true(
	        order.retries == 3 && order.ttl_ms == 5000 && order.timeout_ms == 600 && order.eta_ms == job.eta_ms);
	assert_string_equal(order.args, job.args);
}

static void test_spec_that_is_none_reads_as_nothing(void **state)
{
	(void)state;
	static const char *const texts[] = {
	        "", "\n\n", "tas", "task", "=", "xtask=a\ntaskx=b", "retries=x\nttl=-1\neta=", "args=[]\n"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct job_order order;
		memset(&order, 'x', sizeof order);
		spec_read(texts[i], &order);
		assert_string_equal(order.task, "");
		assert_string_equal(order.group, "");
		assert_true(order.retries == 0 && order.ttl_ms == 0 && order.timeout_ms == 0 && order.eta_ms == 0);
		assert_string_equal(order.args, "[]");
	}
}

static void test_spec_a_name_that_is_too_long_is_not_cut(void **state)
{
	(void)state;
	char text[300] = "task=";
	struct job_order order;
	memset(text + 5, 'n', SPEC_NAME_MAX);
	spec_read(text, &order);
	assert_int_equal(strlen(order.task), SPEC_NAME_MAX);
	text[5 + SPEC_NAME_MAX] = 'n';
	spec_read(text, &order);
	assert_string_equal(order.task, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_spec_leaves_out_what_is_not_set),
	        cmocka_unit_test(test_spec_reads_what_it_has_written),
	        cmocka_unit_test(test_spec_that_is_none_reads_as_nothing),
	        cmocka_unit_test(test_spec_a_name_that_is_too_long_is_not_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
