#include <inttypes.h>

#include "tests/unit/test_fcgi_fixture.h"

#define OK_REPLY "*1\r\n$2\r\nOK\r\n"

#define JOB(state) \
	"@state=" state " task=plain queue=default results=reports worker=w1 attempt=2 retried=1 run=42 retries=3 " \
	"timeout=1500 queued_at=1795516044000"
#define PENDING JOB("PENDING")
#define STARTED JOB("STARTED") " group=g started_at=1795516045000"
#define RETRY JOB("RETRY") " error=oops eta=1795516099000"
#define SUCCESS JOB("SUCCESS") " table=results_a error= rows=12 started_at=1795516045000 finished_at=1795516045123"
#define GONE "@none=1"
#define GROUP(n, began, success, failure) "@n=" n " began=" began " success=" success " failure=" failure
#define OOM "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

static void test_tasks(void **state)
{
	(void)state;
	assert_int_equal(ask("GET", "/tasks", NULL), STEP_DONE);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{"
	        "\"plain\":{\"name\":\"plain\",\"queue\":\"default\",\"concurrency\":0,\"dbs\":[\"ledger\",\"other\"],"
	        "\"results\":[\"reports\",\"more\"],\"params\":[],\"description\":\"\"},"
	        "\"statement\":{\"name\":\"statement\",\"queue\":\"slow\",\"concurrency\":0,\"dbs\":[\"ledger\"],"
	        "\"results\":[\"reports\"],\"params\":[\"user_id\"],\"description\":\"entries of a \\\"user\\\"\"},"
	        "\"totals\":{\"name\":\"totals\",\"queue\":\"default\",\"concurrency\":3,\"dbs\":[\"ledger\",\"other\"]"
	        ","
	        "\"results\":[\"reports\",\"more\"],\"params\":[\"$1\",\"$2\"],\"description\":\"\"}}}");
	assert_int_equal(ask("GET", "/tasks?sql=1", NULL), STEP_DONE);
	assert_non_null(strstr(body(), "\"raw\":\"SELECT * FROM entries WHERE user_id = $1\""));
	ask("GET", "/tasks?sql=x", NULL);
	assert_error(400, "parameter 'sql': expected true or false");
}

static void test_job_post(void **state)
{
	(void)state;
	assert_int_equal(ask("POST", "/tasks/statement/jobs",
	                         "{\"job_id\":\"j\",\"eta\":\"2026-11-24 10:27:24\",\"args\":[\"x\"]}"),
	        STEP_ASK);
	assert_int_equal(fx.x.n, 1);
	assert_string_equal(argument(0, 0), "EVALSHA");
	assert_true(has_argument(0, "db:job:j"));
	assert_non_null(strstr(fx.x.cmds[0].text.data, "\nargs=[\"x\"]\r\n"));
	assert_int_equal(answer(OK_REPLY, NULL), STEP_DONE);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"job_id\":\"j\",\"task\":\"statement\",\"queue\":\"slow\","
	        "\"eta\":\"2026-11-24T10:27:24Z\",\"retries\":2}}");
}

static void test_job_post_errors(void **state)
{
	(void)state;
	assert_int_equal(ask("POST", "/tasks/nope/jobs", NULL), STEP_DONE);
	assert_error(404, "no such task 'nope'");
	assert_int_equal(ask("POST", "/tasks/plain/jobs", "{"), STEP_DONE);
	assert_error(400, "malformed JSON: it ends in the middle");
	assert_int_equal(ask("POST", "/tasks/plain/jobs", "{\"job_id\":\"j\"}"), STEP_ASK);
	answer("*3\r\n$8\r\nCONFLICT\r\n$3\r\njob\r\n$1\r\nj\r\n", NULL);
	assert_error(409, "job 'j' is already pending or running");
	ask("POST", "/tasks/plain/jobs", NULL);
	answer(OOM, NULL);
	assert_error(503, "Redis cannot serve now: OOM command not allowed when used memory > 'maxmemory'.");
	ask("POST", "/tasks/plain/jobs", NULL);
	answer("-ERR what is this\r\n", NULL);
	assert_error(500, "internal error; the log tells the reason under this request's id");
	assert_string_equal(fx.x.res.why.text, "Redis refused a command: ERR what is this");
}

static void test_job_get(void **state)
{
	(void)state;
	assert_int_equal(ask("GET", "/jobs/a", NULL), STEP_ASK);
	assert_string_equal(argument(0, 1), "db:job:a");
	assert_int_equal(answer(SUCCESS, NULL), STEP_DONE);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"job_id\":\"a\",\"state\":\"SUCCESS\",\"count\":12,\"error\":\"\","
	        "\"task\":\"plain\",\"queue\":\"default\",\"attempt\":2,\"queued_at\":\"2026-11-24T10:27:24Z\","
	        "\"started_at\":\"2026-11-24T10:27:25Z\",\"finished_at\":\"2026-11-24T10:27:25.123Z\",\"worker\":"
	        "\"w1\","
	        "\"results\":{\"db\":\"reports\",\"table\":\"results_a\"}}}");
	ask("GET", "/jobs/a", NULL);
	answer(STARTED, NULL);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"job_id\":\"a\",\"state\":\"STARTED\",\"count\":0,\"error\":\"\","
	        "\"task\":\"plain\",\"queue\":\"default\",\"attempt\":2,\"queued_at\":\"2026-11-24T10:27:24Z\","
	        "\"started_at\":\"2026-11-24T10:27:25Z\",\"finished_at\":null,\"worker\":\"w1\",\"group_id\":\"g\","
	        "\"results\":{\"db\":\"reports\"}}}");
	ask("GET", "/jobs/a", NULL); /* not begun: when it was queued stands in its entry */
	answer("@state=PENDING task=plain queue=default results=reports entry=1795516044000-3", NULL);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"job_id\":\"a\",\"state\":\"PENDING\",\"count\":0,\"error\":\"\","
	        "\"task\":\"plain\",\"queue\":\"default\",\"attempt\":0,\"queued_at\":\"2026-11-24T10:27:24Z\","
	        "\"started_at\":null,\"finished_at\":null,\"worker\":\"\",\"results\":{\"db\":\"reports\"}}}");
	ask("GET", "/jobs/a", NULL);
	answer(GONE, NULL);
	assert_error(404, "no such job 'a'");
	assert_int_equal(ask("GET", "/jobs/a%27b", NULL), STEP_DONE);
	assert_error(400, "the job's id: only letters, digits, '_', ':' and '-' are allowed");
}

static void test_job_delete(void **state)
{
	(void)state;
	assert_int_equal(ask("DELETE", "/jobs/a?purge=true", NULL), STEP_ASK);
	assert_int_equal(answer(SUCCESS, NULL), STEP_ASK);
	assert_int_equal(fx.x.n, 2);
	assert_true(has_argument(1, "db:waiting:default"));
	assert_int_equal(answer(OK_REPLY, NULL), STEP_DONE);
	assert_answer(200, "{\"status\":\"success\",\"data\":true}");
	ask("DELETE", "/jobs/a", NULL);
	assert_int_equal(answer(GONE, NULL), STEP_DONE);
	assert_error(404, "no such job 'a'");
	ask("DELETE", "/jobs/a", NULL);
	answer(SUCCESS, NULL);
	answer("*1\r\n$8\r\nFINISHED\r\n", NULL);
	assert_error(409, "job 'a': already finished; add ?purge=true to forget it and drop its result");
	assert_int_equal(ask("DELETE", "/jobs/a?purge=x", NULL), STEP_DONE);
	assert_error(400, "parameter 'purge': expected true or false");
}

/* A job that has moved between the look and the cancel is looked for again, but not for ever. */
static void test_job_delete_again(void **state)
{
	(void)state;
	ask("DELETE", "/jobs/a", NULL);
	answer(PENDING, NULL);
	assert_int_equal(answer("*1\r\n$7\r\nCHANGED\r\n", NULL), STEP_ASK);
	assert_int_equal(answer(STARTED, NULL), STEP_ASK);
	assert_int_equal(answer(OK_REPLY, NULL), STEP_DONE);
	assert_answer(200, "{\"status\":\"success\",\"data\":true}");
	ask("DELETE", "/jobs/a", NULL);
	int times = 0;
	do {
		assert_int_equal(answer(PENDING, NULL), STEP_ASK);
		times++;
	} while (answer("*1\r\n$7\r\nCHANGED\r\n", NULL) == STEP_ASK);
	assert_int_equal(times, 5);
	assert_int_equal(fx.x.res.status, 503);
}

static void test_group_post(void **state)
{
	(void)state;
	assert_int_equal(
	        ask("POST", "/groups", "{\"group_id\":\"g\",\"jobs\":[{\"task\":\"plain\",\"job_id\":\"a\"}]}"),
	        STEP_ASK);
	assert_int_equal(answer(OK_REPLY, NULL), STEP_DONE);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"group_id\":\"g\",\"jobs\":[{\"job_id\":\"a\",\"task\":\"plain\","
	        "\"queue\":\"default\",\"eta\":\"0001-01-01T00:00:00Z\",\"retries\":1}]}}");
	ask("POST", "/groups", "{\"jobs\":[{\"task\":\"nope\"}]}");
	assert_error(404, "jobs[0].task: no such task 'nope'");
}

static void test_group_get(void **state)
{
	(void)state;
	const char *const group = GROUP("3", "1", "0", "0");
	assert_int_equal(ask("GET", "/groups/g", NULL), STEP_ASK);
	assert_int_equal(answer(group, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", NULL), STEP_ASK);
	assert_int_equal(fx.x.n, 4);
	assert_int_equal(answer(GONE, STARTED, NULL), STEP_DONE); /* a was forgotten meanwhile */
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"group_id\":\"g\",\"state\":\"STARTED\",\"jobs\":[{\"job_id\":"
	        "\"b\","
	        "\"state\":\"STARTED\",\"count\":0,\"error\":\"\",\"task\":\"plain\",\"queue\":\"default\",\"attempt\":"
	        "2,"
	        "\"queued_at\":\"2026-11-24T10:27:24Z\",\"started_at\":\"2026-11-24T10:27:25Z\",\"finished_at\":null,"
	        "\"worker\":\"w1\",\"group_id\":\"g\",\"results\":{\"db\":\"reports\"}}]}}");
	ask("GET", "/groups/g", NULL);
	assert_int_equal(answer(GONE, "*0\r\n", NULL), STEP_DONE);
	assert_error(404, "no such group 'g'");
}

static void test_group_delete(void **state)
{
	(void)state;
	const char *const group = GROUP("2", "1", "0", "0");
	const char *const ids = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";
	ask("DELETE", "/groups/g", NULL);
	assert_int_equal(answer(group, ids, NULL), STEP_ASK);
	assert_int_equal(answer(STARTED, GONE, NULL), STEP_ASK);
	assert_true(has_argument(4, "db:job:a"));
	assert_false(has_argument(4, "db:job:b"));
	assert_int_equal(answer("*1\r\n$7\r\nCHANGED\r\n", NULL), STEP_ASK); /* all anew */
	assert_int_equal(answer(group, ids, NULL), STEP_ASK);
	assert_int_equal(answer(STARTED, STARTED, NULL), STEP_ASK);
	assert_true(has_argument(9, "db:job:b"));
	assert_int_equal(answer(OK_REPLY, NULL), STEP_DONE);
	assert_answer(200, "{\"status\":\"success\",\"data\":true}");
	ask("DELETE", "/groups/g", NULL);
	answer(group, ids, NULL);
	answer(SUCCESS " group=g", SUCCESS " group=g", NULL);
	answer("*1\r\n$8\r\nFINISHED\r\n", NULL);
	assert_error(409, "group 'g': already finished; add ?purge=true to forget it and drop its result");
}

#define ENTRY_A \
	"{\"ID\":\"a\",\"OnSuccessIDs\":null,\"Status\":\"queued\",\"Queue\":\"default\",\"Schedule\":\"\"," \
	"\"MaxRetry\":3," \
	"\"Retried\":1,\"PrevErr\":\"\",\"ProcessedAt\":\"0001-01-01T00:00:00Z\",\"PrevJobResult\":null,\"Job\":{" \
	"\"OnSuccess\":null,\"Task\":\"plain\",\"Payload\":null,\"OnError\":null,\"Opts\":{\"ID\":\"a\"," \
	"\"ETA\":\"0001-01-01T00:00:00Z\",\"Queue\":\"default\",\"MaxRetries\":3,\"Schedule\":\"\"," \
	"\"Timeout\":1500000000}}}"
#define ENTRY_C \
	"{\"ID\":\"c\",\"OnSuccessIDs\":null,\"Status\":\"scheduled\",\"Queue\":\"default\",\"Schedule\":\"\"," \
	"\"MaxRetry\":3,\"Retried\":1,\"PrevErr\":\"oops\",\"ProcessedAt\":\"0001-01-01T00:00:00Z\"," \
	"\"PrevJobResult\":null,\"Job\":{\"OnSuccess\":null,\"Task\":\"plain\",\"Payload\":null,\"OnError\":null," \
	"\"Opts\":{\"ID\":\"c\",\"ETA\":\"2026-11-24T10:28:19Z\",\"Queue\":\"default\",\"MaxRetries\":3," \
	"\"Schedule\":\"\",\"Timeout\":1500000000}}}"

static void test_queue_get(void **state)
{
	(void)state;
	assert_int_equal(ask("GET", "/jobs/queue/default?limit=7&after=z", NULL), STEP_ASK);
	assert_true(has_argument(0, "db:waiting:default"));
	assert_true(has_argument(0, "7"));
	assert_true(has_argument(0, "z"));
	assert_int_equal(answer("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", NULL), STEP_ASK);
	assert_int_equal(answer(PENDING, STARTED, RETRY, NULL), STEP_DONE); /* b has begun meanwhile */
	assert_answer(200, "{\"status\":\"success\",\"data\":[" ENTRY_A "," ENTRY_C "]}");
	assert_int_equal(ask("GET", "/jobs/queue/nobody", NULL), STEP_ASK);
	assert_true(has_argument(0, "3")); /* limits.page */
	assert_int_equal(answer("*0\r\n", NULL), STEP_ASK);
	assert_int_equal(answer(NULL, NULL), STEP_DONE);
	assert_answer(200, "{\"status\":\"success\",\"data\":[]}");
	ask("GET", "/jobs/queue/q?limit=1001", NULL);
	assert_error(400, "parameter 'limit': expected a whole number from 1 to 1000");
	ask("GET", "/jobs/queue/q?after=a%20b", NULL);
	assert_error(400, "parameter 'after': only letters, digits, '_', ':' and '-' are allowed");
	ask("GET", "/jobs/queue/a%2Fb", NULL);
	assert_error(400, "the queue's name: only letters, digits, '_', ':' and '-' are allowed");
}

static void test_health(void **state)
{
	(void)state;
	assert_int_equal(ask("GET", "/health", NULL), STEP_ASK);
	answer(OK_REPLY, NULL);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"status\":\"ok\",\"redis\":\"ok\",\"version\":\"" //
	        DUNGBEETLE_VERSION "\",\"tasks\":3}}");
	ask("GET", "/health", NULL);
	answer(OOM, NULL);
	assert_error(503,
	        "no job can be accepted: Redis cannot serve now: OOM command not allowed when used memory > "
	        "'maxmemory'.");
}

static void assert_line(const char *line)
{
	const char *at = strstr(body(), line);
	if (!at)
		fail_msg("'%s' is missing in:\n%s", line, body());
	assert_true(at == body() || at[-1] == '\n');
	assert_int_equal(at[strlen(line)], '\n');
}

static void test_metrics(void **state)
{
	(void)state;
	char fresh[128], stale[128], workers[512];
	snprintf(fresh, sizeof fresh, "{\"name\":\"w\",\"slots\":10,\"running\":4,\"beat_ms\":%" PRId64 "}",
	        FIXTURE_NOW_MS - 44000);
	snprintf(stale, sizeof stale, "{\"name\":\"v\",\"slots\":10,\"running\":4,\"beat_ms\":%" PRId64 "}",
	        FIXTURE_NOW_MS - 46000);
	snprintf(workers, sizeof workers,
	        "*6\r\n$1\r\n1\r\n$%zu\r\n%s\r\n$1\r\n2\r\n$%zu\r\n%s\r\n$1\r\n3\r\n$1\r\n{\r\n", strlen(fresh), fresh,
	        strlen(stale), stale);
	counters_request(&fx.counters, 4, 200, 300);
	counters_request(&fx.counters, 4, 299, 10000000);
	assert_int_equal(ask("GET", "/metrics", NULL), STEP_ASK);
	assert_int_equal(answer("*18\r\n$16\r\naccepted|q1|a|b\"\r\n$1\r\n7\r\n$18\r\nfinished|a|FAILURE\r\n$1\r\n2\r\n"
	                        "$9\r\nretried|a\r\n$1\r\n3\r\n$4\r\nrows\r\n$2\r\n99\r\n$8\r\nrun_le|0\r\n$1\r\n1\r\n"
	                        "$9\r\nrun_le|14\r\n$1\r\n2\r\n$10\r\nrun_ms_sum\r\n$4\r\n1500\r\n"
	                        "$9\r\nwait_le|1\r\n$1\r\n5\r\n$4\r\ndied\r\n$1\r\n1\r\n",
	                         workers, NULL),
	        STEP_ASK);
	assert_int_equal(fx.x.n, 5); /* default, slow and q1 */
	assert_int_equal(answer("*5\r\n:1\r\n:2\r\n:3\r\n:1500\r\n:1\r\n", "*5\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n",
	                         "*5\r\n:9\r\n:0\r\n:0\r\n:0\r\n:0\r\n", NULL),
	        STEP_DONE);
	assert_int_equal(fx.x.res.status, 200);
	assert_string_equal(fx.x.res.content_type, "text/plain; version=0.0.4; charset=utf-8");
	assert_line("dungbeetle_jobs_accepted_total{queue=\"q1\",task=\"a|b\\\"\"} 7");
	assert_line("dungbeetle_jobs_finished_total{task=\"a\",state=\"FAILURE\"} 2");
	assert_line("dungbeetle_jobs_retried_total{task=\"a\"} 3");
	assert_line("dungbeetle_rows_total 99");
	assert_line("dungbeetle_run_deaths_total 1");
	assert_line("dungbeetle_run_seconds_bucket{le=\"0.005\"} 1");
	assert_line("dungbeetle_run_seconds_bucket{le=\"3600\"} 1");
	assert_line("dungbeetle_run_seconds_bucket{le=\"+Inf\"} 3");
	assert_line("dungbeetle_run_seconds_sum 1.5");
	assert_line("dungbeetle_run_seconds_count 3");
	assert_line("dungbeetle_wait_seconds_bucket{le=\"0.01\"} 5");
	assert_line("dungbeetle_queue_waiting{queue=\"default\"} 1");
	assert_line("dungbeetle_queue_running{queue=\"default\"} 2");
	assert_line("dungbeetle_queue_unstarted{queue=\"default\"} 3");
	assert_line("dungbeetle_queue_oldest_seconds{queue=\"default\"} 1.5");
	assert_line("dungbeetle_queue_parked{queue=\"default\"} 1");
	assert_line("dungbeetle_queue_max_running{queue=\"default\"} 0");
	assert_line("dungbeetle_queue_waiting{queue=\"slow\"} 0");
	assert_line("dungbeetle_queue_waiting{queue=\"q1\"} 9");
	assert_line("dungbeetle_workers_alive 1");
	assert_line("dungbeetle_worker_slots 10");
	assert_line("dungbeetle_worker_slots_running 4");
	assert_line("dungbeetle_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"200\"} 1");
	assert_line("dungbeetle_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"other\"} 1");
	assert_line("dungbeetle_http_request_seconds_bucket{le=\"0.0005\"} 1");
	assert_line("dungbeetle_http_request_seconds_bucket{le=\"+Inf\"} 2");
	assert_line("dungbeetle_build_info{version=\"" DUNGBEETLE_VERSION "\"} 1");
}

static void test_queues(void **state)
{
	(void)state;
	char beat[160], workers[256];
	snprintf(beat, sizeof beat, "{\"slots\":2,\"paused\":{\"other\":1},\"beat_ms\":%" PRId64 "}", FIXTURE_NOW_MS);
	snprintf(workers, sizeof workers, "*2\r\n$1\r\n1\r\n$%zu\r\n%s\r\n", strlen(beat), beat);
	struct cfg_queue limited = {.name = (char *)"q1", .slots = 7};
	fx.config.jobs.max_running = &limited;
	fx.config.jobs.n_max_running = 1;
	fx.sources[0].max_running = 3;
	assert_int_equal(ask("GET", "/queues", NULL), STEP_ASK);
	assert_int_equal(answer("*0\r\n", workers, NULL), STEP_ASK);
	assert_int_equal(fx.x.n, 2 + 3 + 2); /* default, q1 and its places, slow, the places of ledger */
	assert_int_equal(
	        answer("*5\r\n:1\r\n:2\r\n:3\r\n:1500\r\n:1\r\n", "*5\r\n:0\r\n:7\r\n:0\r\n:0\r\n:0\r\n",
	                "*2\r\n:7\r\n:0\r\n", "*5\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n", "*2\r\n:3\r\n:1\r\n", NULL),
	        STEP_DONE);
	assert_answer(200,
	        "{\"status\":\"success\",\"data\":{\"queues\":{"
	        "\"default\":{\"waiting\":1,\"parked\":1,\"running\":2,\"unstarted\":3,\"oldest_ms\":1500,\"max_"
	        "running\":0},"
	        "\"q1\":{\"waiting\":0,\"parked\":0,\"running\":7,\"unstarted\":0,\"oldest_ms\":0,\"max_running\":7},"
	        "\"slow\":{\"waiting\":0,\"parked\":0,\"running\":0,\"unstarted\":0,\"oldest_ms\":0,\"max_running\":0}}"
	        ","
	        "\"sources\":{\"ledger\":{\"running\":3,\"waiting\":1,\"max_running\":3,\"paused\":0},"
	        "\"other\":{\"running\":null,\"waiting\":null,\"max_running\":0,\"paused\":1}}}}");
	fx.config.jobs.n_max_running = 0;
	fx.sources[0].max_running = 0;
}

static void test_metrics_errors(void **state)
{
	(void)state;
	ask("GET", "/metrics", NULL);
	assert_int_equal(answer("-LOADING wait\r\n", "*0\r\n", NULL), STEP_DONE);
	assert_error(503, "Redis cannot serve now: LOADING wait");
	ask("GET", "/metrics", NULL);
	answer("*0\r\n", "*0\r\n", NULL);
	assert_int_equal(answer("*5\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n", "-LOADING wait\r\n", NULL), STEP_DONE);
	assert_error(503, "Redis cannot serve now: LOADING wait");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_tasks),
	        cmocka_unit_test(test_job_post),
	        cmocka_unit_test(test_job_post_errors),
	        cmocka_unit_test(test_job_get),
	        cmocka_unit_test(test_job_delete),
	        cmocka_unit_test(test_job_delete_again),
	        cmocka_unit_test(test_group_post),
	        cmocka_unit_test(test_group_get),
	        cmocka_unit_test(test_group_delete),
	        cmocka_unit_test(test_queue_get),
	        cmocka_unit_test(test_health),
	        cmocka_unit_test(test_metrics),
	        cmocka_unit_test(test_metrics_errors),
	        cmocka_unit_test(test_queues),
	};
	return cmocka_run_group_tests_name("fcgi_handlers", tests, fixture_setup, fixture_teardown);
}
