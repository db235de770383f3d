#include "tests/unit/test_fcgi_fixture.h"

static struct err e;

static enum err_code read_job(const char *task, const char *json)
{
	struct buf text;
	buf_init(&text, 65536);
	buf_addstr(&text, json);
	e.text[0] = '\0';
	enum err_code rc =
	        job_batch_read_job(&fx.batch, &fx.config, task_set_find(fx.tasks, task, strlen(task)), &text, &e);
	buf_fini(&text);
	return rc;
}

static enum err_code read_group(const char *json)
{
	struct buf text;
	buf_init(&text, 65536);
	buf_addstr(&text, json);
	e.text[0] = '\0';
	enum err_code rc = job_batch_read_group(&fx.batch, &fx.config, fx.tasks, &text, &e);
	buf_fini(&text);
	return rc;
}

static void test_job_request_defaults(void **state)
{
	(void)state;
	assert_int_equal(read_job("plain", ""), ERR_OK);
	const struct job_spec *s = fx.batch.specs;
	assert_int_equal(fx.batch.n, 1);
	assert_null(fx.batch.group_id);
	assert_int_equal(strlen(s->id), 36);
	assert_string_equal(s->task, "plain");
	assert_string_equal(s->queue, "default");
	assert_string_equal(s->db, "");
	assert_string_equal(s->args, "[]");
	assert_int_equal(s->eta_ms, 0);
	assert_int_equal(s->retries, 1);
	assert_int_equal(s->ttl_ms, 3600000);
	assert_int_equal(s->timeout_ms, 0);
	assert_null(s->error);
	/* The task's own, and what its Go client always sends. */
	assert_int_equal(read_job("statement",
	                         "{\"task\":\"x\",\"job_id\":\"\",\"queue\":\"\",\"eta\":\"\",\"retries\":0,\"ttl\":0,"
	                         "\"args\":[\"7\"],\"db\":\"\",\"unknown\":{\"a\":1}}"),
	        ERR_OK);
	s = fx.batch.specs;
	assert_string_equal(s->queue, "slow");
	assert_string_equal(s->results, "reports");
	assert_int_equal(s->retries, 2);
	assert_int_equal(s->ttl_ms, 7200000);
	assert_int_equal(s->timeout_ms, 90000);
	assert_string_equal(s->args, "[\"7\"]");
}

static void test_job_request_fields(void **state)
{
	(void)state;
	assert_int_equal(
	        read_job("statement",
	                "{\"job_id\":\"a:b_c-1\",\"queue\":\"q\",\"db\":\"ledger\",\"eta\":\"2026-11-24 10:27:24\","
	                "\"retries\":5,\"ttl\":60,\"timeout\":30,\"args\":[1]}"),
	        ERR_OK);
	const struct job_spec *s = fx.batch.specs;
	assert_string_equal(s->id, "a:b_c-1");
	assert_string_equal(s->queue, "q");
	assert_string_equal(s->db, "ledger");
	assert_int_equal(s->eta_ms, FIXTURE_NOW_MS);
	assert_int_equal(s->retries, 5);
	assert_int_equal(s->ttl_ms, 60000);
	assert_int_equal(s->timeout_ms, 30000);
	assert_int_equal(read_job("statement", "{\"eta\":\"2026-11-24T11:27:24+01:00\",\"args\":[null]}"), ERR_OK);
	assert_int_equal(fx.batch.specs->eta_ms, FIXTURE_NOW_MS);
	assert_int_equal(read_job("plain", "null"), ERR_OK);
}

static void test_job_request_args(void **state)
{
	(void)state;
	fx.config.limits.args = 10;
	assert_int_equal(
	        read_job("plain",
	                "{\"args\":[\"a\\\"\\n\xc3\xa9\",1.10,18446744073709551615,-5,1E3,true,false,null,\"\"]}"),
	        ERR_OK);
	fx.config.limits.args = 5;
	assert_string_equal(
	        fx.batch.specs->args, "[\"a\\\"\\n\xc3\xa9\",1.10,18446744073709551615,-5,1E3,true,false,null,\"\"]");
	assert_string_equal(fx.batch.specs->error, "task 'plain' takes no arguments, got 9");
	assert_int_equal(read_job("statement", "{\"args\":null}"), ERR_OK);
	assert_string_equal(fx.batch.specs->error, "task 'statement' takes 1 argument (user_id), got 0");
	assert_int_equal(read_job("totals", "{\"args\":[1]}"), ERR_OK);
	assert_string_equal(fx.batch.specs->error, "task 'totals' takes 2 arguments, got 1");
	fx.config.jobs.reject_wrong_args = true;
	assert_int_equal(read_job("totals", "{\"args\":[1]}"), ERR_INVALID);
	assert_string_equal(e.text, "field 'args': task 'totals' takes 2 arguments, got 1");
	fx.config.jobs.reject_wrong_args = false;
}

static void test_job_request_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *json, *why;
	} cases[] = {
	        {"[]", "the body must be a JSON object, got an array"},
	        {"{\"job_id\":5}", "field 'job_id': expected a string, got an integer"},
	        {"{\"job_id\":\"a b\"}", "field 'job_id': only letters, digits, '_', ':' and '-' are allowed"},
	        {"{\"job_id\":\"a\\u0000\"}", "field 'job_id': only letters, digits, '_', ':' and '-' are allowed"},
	        {"{\"job_id\":\"12345678901234567890123456789012345678901234567890123456\"}",
	                "field 'job_id': at most 55 characters (the name of its result table, results_<job_id>, must "
	                "fit the "
	                "database), got 56"},
	        {"{\"queue\":\"a/b\"}", "field 'queue': only letters, digits, '_', ':' and '-' are allowed"},
	        {"{\"db\":\"nope\"}", "field 'db': task 'statement' knows no database 'nope'; it knows: ledger"},
	        {"{\"db\":true}", "field 'db': expected a string, got a boolean"},
	        {"{\"eta\":\"tomorrow\"}",
	                "field 'eta': expected \"yyyy-mm-dd hh:mm:ss\" (UTC) or RFC 3339, got \"tomorrow\""},
	        {"{\"eta\":\"2026-02-30 00:00:00\"}",
	                "field 'eta': expected \"yyyy-mm-dd hh:mm:ss\" (UTC) or RFC 3339, got \"2026-02-30 00:00:00\""},
	        {"{\"retries\":1001}", "field 'retries': expected a number from 0 to 1000, got 1001"},
	        {"{\"retries\":-1}", "field 'retries': expected a number from 0 to 1000, got -1"},
	        {"{\"retries\":1.0}",
	                "field 'retries': expected a whole number, got a number with a fraction or exponent"},
	        {"{\"retries\":\"1\"}", "field 'retries': expected a whole number, got a string"},
	        {"{\"ttl\":-1}", "field 'ttl': expected a number from 0 to 315360000, got -1"},
	        {"{\"timeout\":9999999}", "field 'timeout': expected a number from 0 to 2592000, got 9999999"},
	        {"{\"args\":{}}", "field 'args': expected an array, got an object"},
	        {"{\"args\":[[1]]}",
	                "field 'args': args[0] must be a string, a number, a boolean or null, got an array"},
	        {"{\"args\":[1,{}]}",
	                "field 'args': args[1] must be a string, a number, a boolean or null, got an object"},
	        {"{\"args\":[\"a\\u0000b\"]}", "field 'args': args[0] holds a NUL character, which no database takes"},
	        {"{\"args\":[1,2,3,4,5,6]}", "field 'args': at most 5 arguments are allowed, got 6"},
	        {"{\"a\":[[[[[[1]]]]]]}", "the JSON is nested deeper than 6 levels at byte 10"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_job("statement", cases[i].json), ERR_INVALID);
		assert_string_equal(e.text, cases[i].why);
	}
	char long_arg[256];
	snprintf(long_arg, sizeof long_arg, "{\"args\":[\"%0101d\"]}", 0);
	assert_int_equal(read_job("statement", long_arg), ERR_INVALID);
	assert_string_equal(e.text, "field 'args': args[0] has 101 bytes, at most 100 are allowed");
}

/* The same id always goes to the same results database, and ids are spread over them. */
static void test_job_request_results(void **state)
{
	(void)state;
	int first = 0;
	char json[64], before[16];
	for (int i = 0; i < 100; i++) {
		snprintf(json, sizeof json, "{\"job_id\":\"job-%d\"}", i);
		assert_int_equal(read_job("plain", json), ERR_OK);
		snprintf(before, sizeof before, "%s", fx.batch.specs->results);
		first += strcmp(before, "reports") == 0;
		assert_int_equal(read_job("plain", json), ERR_OK);
		assert_string_equal(fx.batch.specs->results, before);
	}
	assert_in_range(first, 25, 75);
}

static void test_group_request(void **state)
{
	(void)state;
	assert_int_equal(
	        read_group("{\"group_id\":\"g\",\"concurrency\":2,\"jobs\":[{\"task\":\"plain\",\"job_id\":\"a\"},"
	                   "{\"task\":\"statement\",\"args\":[\"x\"]},{\"task\":\"totals\",\"args\":[3]}]}"),
	        ERR_OK);
	const struct job_spec *s = fx.batch.specs;
	assert_int_equal(fx.batch.n, 3);
	assert_string_equal(fx.batch.group_id, "g");
	assert_int_equal(fx.batch.concurrency, 2);
	assert_string_equal(s[0].id, "a");
	assert_string_equal(s[0].args, "[]");
	assert_int_equal(strlen(s[1].id), 36);
	assert_string_equal(s[1].args, "[\"x\"]");
	assert_string_equal(s[1].queue, "slow");
	assert_string_equal(s[2].args, "[3]");
	assert_string_equal(s[2].error, "task 'totals' takes 2 arguments, got 1");
	assert_int_equal(read_group("{\"jobs\":[{\"task\":\"plain\"}]}"), ERR_OK);
	assert_int_equal(strlen(fx.batch.group_id), 36);
	assert_int_equal(fx.batch.concurrency, 0);
}

static void test_group_request_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *json, *why;
	} cases[] = {
	        {"", "field 'jobs': must hold at least one job"},
	        {"{\"jobs\":[]}", "field 'jobs': must hold at least one job"},
	        {"{\"jobs\":{}}", "field 'jobs': expected an array, got an object"},
	        {"{\"jobs\":[1]}", "jobs[0]: expected an object, got an integer"},
	        {"{\"jobs\":[{}]}", "jobs[0].task: is missing"},
	        {"{\"jobs\":[{\"task\":\"plain\"},{\"task\":\"plain\",\"eta\":\"x\"}]}",
	                "jobs[1].eta: expected \"yyyy-mm-dd hh:mm:ss\" (UTC) or RFC 3339, got \"x\""},
	        {"{\"jobs\":[{\"task\":\"plain\",\"job_id\":\"a\"},{\"task\":\"plain\",\"job_id\":\"b\"},{\"task\":"
	         "\"plain\","
	         "\"job_id\":\"a\"}]}",
	                "jobs[2].job_id: 'a' comes twice in the group"},
	        {"{\"group_id\":\"a b\",\"jobs\":[{\"task\":\"plain\"}]}",
	                "field 'group_id': only letters, digits, '_', ':' and '-' are allowed"},
	        {"{\"concurrency\":-1,\"jobs\":[{\"task\":\"plain\"}]}",
	                "field 'concurrency': expected a number from 0 to 1000000, got -1"},
	        {"{\"jobs\":[{},{},{},{},{}]}", "field 'jobs': at most 4 jobs are allowed in a group, got 5"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_group(cases[i].json), ERR_INVALID);
		assert_string_equal(e.text, cases[i].why);
		assert_int_equal(fx.batch.n == 0 || i == 6, 1);
	}
	assert_int_equal(read_group("{\"jobs\":[{\"task\":\"plain\"},{\"task\":\"nope\"}]}"), ERR_NOT_FOUND);
	assert_string_equal(e.text, "jobs[1].task: no such task 'nope'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_job_request_defaults),
	        cmocka_unit_test(test_job_request_fields),
	        cmocka_unit_test(test_job_request_args),
	        cmocka_unit_test(test_job_request_wrong),
	        cmocka_unit_test(test_job_request_results),
	        cmocka_unit_test(test_group_request),
	        cmocka_unit_test(test_group_request_wrong),
	};
	return cmocka_run_group_tests_name("fcgi_job_request", tests, fixture_setup, fixture_teardown);
}
