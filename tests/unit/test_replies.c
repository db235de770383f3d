/* How replies of Redis are read (shared/queue: redis.h's trees, queue_read_*, work_read_*). They are written here in
 * Redis' own protocol and parsed by hiredis; no server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "shared/queue/queue.h"
#include "shared/queue/work.h"

static struct reply *parse(const char *protocol)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	assert_non_null(reader);
	assert_int_equal(redisReaderFeed(reader, protocol, strlen(protocol)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply); /* else the test's text is cut short */
	redisReaderFree(reader);
	return reply;
}

/* An array of texts, as scripts and HMGET answer; NULL ends it, "(nil)" is a nil. */
static struct reply *texts(const char *first, ...)
{
	struct buf b;
	va_list args;
	size_t n = 0;
	buf_init(&b, 1 << 16);
	va_start(args, first);
	for (const char *t = first; t; t = va_arg(args, const char *), n++)
		if (strcmp(t, "(nil)") == 0)
			buf_addstr(&b, "$-1\r\n");
		else
			buf_addf(&b, "$%zu\r\n%s\r\n", strlen(t), t);
	va_end(args);
	struct buf whole;
	buf_init(&whole, 1 << 17);
	buf_addf(&whole, "*%zu\r\n%s", n, buf_str(&b));
	struct reply *r = parse(buf_str(&whole));
	buf_fini(&b);
	buf_fini(&whole);
	return r;
}

/* Runs `call` on the reply r and forgets it. */
#define READS(answer, wanted, call) \
	do { \
		struct err err_of_it = ERR_INIT, *e = &err_of_it; \
		struct reply *r = (answer); \
		assert_int_equal(call, wanted); \
		reply_free(r); \
		(void)e; \
	} while (0)

/* --- trees --- */

static void test_replies_types_and_values(void **state)
{
	(void)state;
	static const enum reply_type types[] = {
	        REPLY_TEXT, REPLY_INTEGER, REPLY_TEXT, REPLY_NIL, REPLY_ARRAY, REPLY_ERROR, REPLY_NIL};
	struct reply *r = parse("*7\r\n$5\r\nab\ncd\r\n:-7\r\n+OK\r\n$-1\r\n*0\r\n-ERR no\r\n*-1\r\n");
	size_t len;
	assert_int_equal(reply_type(r), REPLY_ARRAY);
	assert_int_equal(reply_count(r), 7);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(reply_type(reply_at(r, i)), types[i]);
	assert_string_equal(reply_text(reply_at(r, 0), &len), "ab\ncd");
	assert_int_equal(len, 5);
	assert_int_equal(reply_i64(reply_at(r, 1), 0), -7);
	assert_string_equal(reply_text(reply_at(r, 1), &len), "");
	assert_int_equal(len, 0);
	assert_string_equal(reply_text(reply_at(r, 2), NULL), "OK");
	assert_string_equal(reply_text(reply_at(r, 5), NULL), "ERR no");
	assert_int_equal(reply_count(reply_at(r, 4)), 0);
	assert_int_equal(reply_count(reply_at(r, 0)), 0);
	reply_free(r);
}

static void test_replies_absent_ones_read_as_nothing(void **state)
{
	(void)state;
	size_t len = 9;
	assert_int_equal(reply_type(NULL), REPLY_NIL);
	assert_string_equal(reply_text(NULL, &len), "");
	assert_int_equal(len, 0);
	assert_int_equal(reply_i64(NULL, -3), -3);
	assert_int_equal(reply_count(NULL), 0);
	assert_null(reply_at(NULL, 0));
	assert_null(reply_field(NULL, "x"));
	assert_int_equal(reply_error(NULL, NULL), ERR_OK);
	reply_free(NULL);
}

static void test_replies_integers_are_also_read_from_texts(void **state)
{
	(void)state;
	struct reply *r = texts("12", "-9223372036854775808", "1.5", "", "12x", "99999999999999999999", "(nil)", NULL);
	assert_int_equal(reply_i64(reply_at(r, 0), -1), 12);
	assert_true(reply_i64(reply_at(r, 1), -1) == INT64_MIN);
	for (size_t i = 2; i < 7; i++)
		assert_int_equal(reply_i64(reply_at(r, i), -1), -1);
	assert_null(reply_at(r, 7));
	reply_free(r);
}

static void test_replies_fields_are_found_by_name_not_by_value(void **state)
{
	(void)state;
	struct reply *r = texts("a", "b", "b", "c", "odd", NULL);
	assert_string_equal(reply_text(reply_field(r, "a"), NULL), "b");
	assert_string_equal(reply_text(reply_field(r, "b"), NULL), "c");
	assert_null(reply_field(r, "c"));
	assert_null(reply_field(r, "odd"));
	reply_free(r);
}

static void test_replies_errors_of_the_servers_state_are_no_fault_of_the_command(void **state)
{
	(void)state;
	static const char *const unavailable[] = {"-OOM command not allowed\r\n", "-MISCONF Redis is configured\r\n",
	        "-LOADING Redis is loading\r\n", "-READONLY You can't write\r\n", "-MASTERDOWN Link\r\n",
	        "-NOREPLICAS Not enough\r\n", "-NOAUTH Authentication required.\r\n", "-CLUSTERDOWN x\r\n",
	        "-TRYAGAIN x\r\n", "-BUSY Redis is busy running a script\r\n", "-NOPERM x\r\n", "-WRONGPASS x\r\n"};
	static const char *const permanent[] = {
	        "-ERR unknown command\r\n", "-WRONGTYPE Operation\r\n", "-BUSYGROUP exists\r\n", "-NOSCRIPT x\r\n"};
	for (size_t i = 0; i < sizeof unavailable / sizeof *unavailable; i++)
		READS(parse(unavailable[i]), ERR_UNAVAILABLE, reply_error(r, e));
	for (size_t i = 0; i < sizeof permanent / sizeof *permanent; i++)
		READS(parse(permanent[i]), ERR_PERMANENT, reply_error(r, e));
	READS(parse("+OK\r\n"), ERR_OK, reply_error(r, e));
}

/* --- queue_read_* --- */

static void test_replies_enqueue(void **state)
{
	(void)state;
	READS(texts("OK", NULL), ERR_OK, queue_read_enqueue(r, e));
	struct err why = ERR_INIT;
	struct reply *conflict = texts("CONFLICT", "job", "a-1", NULL);
	assert_int_equal(queue_read_enqueue(conflict, &why), ERR_CONFLICT);
	assert_string_equal(why.text, "job 'a-1' is already pending or running");
	reply_free(conflict);
	READS(parse("-OOM x\r\n"), ERR_UNAVAILABLE, queue_read_enqueue(r, e));
	READS(texts("WHAT", NULL), ERR_UNAVAILABLE, queue_read_enqueue(r, e));
	READS(parse("$-1\r\n"), ERR_UNAVAILABLE, queue_read_enqueue(r, e));
}

static struct reply *job(const char *state, const char *group, const char *expires)
{
	char spec[256];
	snprintf(spec, sizeof spec,
	        "task=task1\nqueue=default\nresults=reports%s%s\nretries=3\nttl=5000\nargs=[\"a=b\"]",
	        group[0] ? "\ngroup=" : "", group);
	return texts(state, spec, "results_a", "host-1", "", "12", "2", "1", "77", "1000", "2000", "3000", expires,
	        "900-3", NULL);
}

static void test_replies_job_is_read_field_by_field(void **state)
{
	(void)state;
	struct job_info j;
	struct reply *r = job("SUCCESS", "g", "8000");
	assert_int_equal(queue_read_job(r, &j, NULL), ERR_OK);
	assert_int_equal(j.state, JOB_SUCCESS);
	assert_string_equal(j.order.task, "task1");
	assert_string_equal(j.order.queue, "default");
	assert_string_equal(j.order.db, "");
	assert_string_equal(j.order.results, "reports");
	assert_string_equal(j.table, "results_a");
	assert_string_equal(j.worker, "host-1");
	assert_string_equal(j.error, "");
	assert_string_equal(j.order.group, "g");
	assert_true(j.rows == 12 && j.attempt == 2 && j.retried == 1 && j.run == 77 && j.order.retries == 3);
	assert_true(j.order.timeout_ms == 0 && j.order.eta_ms == 0 && j.order.ttl_ms == 5000);
	assert_string_equal(j.order.args, "[\"a=b\"]");
	assert_true(j.queued_ms == 1000 && j.started_ms == 2000 && j.finished_ms == 3000 && j.expires_ms == 8000);
	reply_free(r);
}

static void test_replies_only_a_success_has_a_result_that_expires(void **state)
{
	(void)state;
	static const char *const states[] = {"PENDING", "STARTED", "RETRY", "FAILURE"};
	for (size_t i = 0; i < 4; i++) {
		struct job_info j;
		struct reply *r = job(states[i], "", "(nil)");
		assert_int_equal(queue_read_job(r, &j, NULL), ERR_OK);
		assert_string_equal(job_state_name(j.state), states[i]);
		assert_int_equal(j.expires_ms, 0);
		reply_free(r);
	}
}

static void test_replies_job_that_is_none(void **state)
{
	(void)state;
	struct job_info j;
	READS(job("(nil)", "", "(nil)"), ERR_NOT_FOUND, queue_read_job(r, &j, e));
	READS(job("success", "", "(nil)"), ERR_NOT_FOUND, queue_read_job(r, &j, e));
	READS(texts("SUCCESS", "x", NULL), ERR_UNAVAILABLE, queue_read_job(r, &j, e));
	READS(parse("-LOADING x\r\n"), ERR_UNAVAILABLE, queue_read_job(r, &j, e));
	READS(parse("-WRONGTYPE x\r\n"), ERR_PERMANENT, queue_read_job(r, &j, e));
}

static enum job_state group_state(const char *n, const char *began, const char *success, const char *failure)
{
	struct group_info g = {0};
	struct reply *r = texts(n, began, success, failure, NULL);
	assert_int_equal(queue_read_group(r, &g, NULL), ERR_OK);
	reply_free(r);
	return g.state;
}

static void test_replies_group_state_follows_its_counters(void **state)
{
	(void)state;
	assert_int_equal(group_state("3", "(nil)", "(nil)", "(nil)"), JOB_PENDING);
	assert_int_equal(group_state("3", "1", "(nil)", "(nil)"), JOB_STARTED);
	assert_int_equal(group_state("3", "1", "2", "0"), JOB_STARTED);
	assert_int_equal(group_state("3", "1", "3", "0"), JOB_SUCCESS);
	assert_int_equal(group_state("3", "1", "2", "1"), JOB_FAILURE);
	assert_int_equal(group_state("3", "(nil)", "(nil)", "3"), JOB_FAILURE);
	struct group_info g;
	READS(texts("(nil)", "(nil)", "(nil)", "(nil)", NULL), ERR_NOT_FOUND, queue_read_group(r, &g, e));
	READS(texts("1", NULL), ERR_UNAVAILABLE, queue_read_group(r, &g, e));
}

static void test_replies_cancel(void **state)
{
	(void)state;
	READS(texts("OK", NULL), ERR_OK, queue_read_cancel(r, e));
	READS(texts("GONE", "a", NULL), ERR_NOT_FOUND, queue_read_cancel(r, e));
	READS(texts("FINISHED", "a", NULL), ERR_CONFLICT, queue_read_cancel(r, e));
	READS(texts("CHANGED", "a", NULL), ERR_TRANSIENT, queue_read_cancel(r, e));
	READS(parse("-READONLY x\r\n"), ERR_UNAVAILABLE, queue_read_cancel(r, e));
	READS(parse(":1\r\n"), ERR_UNAVAILABLE, queue_read_cancel(r, e));
}

static void test_replies_health_and_depth(void **state)
{
	(void)state;
	struct queue_depth d;
	READS(texts("OK", NULL), ERR_OK, queue_read_health(r, e));
	READS(parse("-MISCONF x\r\n"), ERR_UNAVAILABLE, queue_read_health(r, e));
	struct reply *four = parse("*4\r\n:5\r\n:2\r\n:9\r\n:1234\r\n");
	assert_int_equal(queue_read_depth(four, &d, NULL), ERR_OK);
	assert_true(d.waiting == 5 && d.running == 2 && d.unstarted == 9 && d.oldest_ms == 1234);
	reply_free(four);
	READS(parse("*0\r\n"), ERR_UNAVAILABLE, queue_read_depth(r, &d, e));
}

/* --- work_read_* --- */

static void test_replies_group_made_or_there_already(void **state)
{
	(void)state;
	READS(parse("+OK\r\n"), ERR_OK, work_read_group_made(r, e));
	READS(parse("-BUSYGROUP Consumer Group name already exists\r\n"), ERR_OK, work_read_group_made(r, e));
	READS(parse("-BUSY Redis is busy running a script\r\n"), ERR_UNAVAILABLE, work_read_group_made(r, e));
	READS(parse("-WRONGTYPE x\r\n"), ERR_PERMANENT, work_read_group_made(r, e));
}

/* What XREADGROUP answers: one stream with one entry of these fields (in Redis' protocol). */
static struct reply *claimed(const char *fields)
{
	struct buf b;
	buf_init(&b, 4096);
	buf_addf(&b, "*1\r\n*2\r\n$7\r\nqueue:q\r\n*1\r\n*2\r\n$3\r\n1-0\r\n%s", fields);
	struct reply *r = parse(buf_str(&b));
	buf_fini(&b);
	return r;
}

#define JOB_A "$3\r\njob\r\n$1\r\na\r\n"

static void test_replies_claim_of_a_job(void **state)
{
	(void)state;
	struct work_entry w;
	struct reply *r = claimed("*4\r\n" JOB_A "$5\r\ngroup\r\n$1\r\ng\r\n");
	assert_int_equal(work_read_claim(r, &w, NULL), ERR_OK);
	assert_string_equal(w.entry, "1-0");
	assert_string_equal(w.job_id, "a");
	assert_string_equal(w.group, "g");
	reply_free(r);
	r = claimed("*2\r\n" JOB_A);
	assert_int_equal(work_read_claim(r, &w, NULL), ERR_OK);
	assert_string_equal(w.group, "");
	reply_free(r);
}

static void test_replies_claim_of_nothing(void **state)
{
	(void)state;
	struct work_entry w;
	READS(parse("*-1\r\n"), ERR_NOT_FOUND, work_read_claim(r, &w, e));
	READS(parse("$-1\r\n"), ERR_NOT_FOUND, work_read_claim(r, &w, e));
	READS(parse("*1\r\n*2\r\n$7\r\nqueue:q\r\n*0\r\n"), ERR_NOT_FOUND, work_read_claim(r, &w, e));
}

static void test_replies_claim_of_a_queue_that_has_vanished(void **state)
{
	(void)state;
	struct work_entry w;
	READS(parse("-NOGROUP No such key\r\n"), ERR_LOST, work_read_claim(r, &w, e));
	READS(parse("-UNBLOCKED the stream key no longer exists\r\n"), ERR_LOST, work_read_claim(r, &w, e));
	READS(parse("-LOADING x\r\n"), ERR_UNAVAILABLE, work_read_claim(r, &w, e));
	READS(parse("-WRONGTYPE x\r\n"), ERR_PERMANENT, work_read_claim(r, &w, e));
}

static void test_replies_claim_of_what_is_no_job_names_the_entry(void **state)
{
	(void)state;
	char long_id[256];
	memset(long_id, 0, sizeof long_id);
	strcpy(long_id, "*2\r\n$3\r\njob\r\n$56\r\n");
	memset(long_id + strlen(long_id), 'x', QUEUE_JOB_ID_MAX + 1);
	strcat(long_id, "\r\n");
	const char *const fields[] = {"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$3\r\njob\r\n$0\r\n\r\n", "*0\r\n",
	        "*-1\r\n" /* pending, deleted from the stream */, long_id};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		struct work_entry w;
		struct reply *r = claimed(fields[i]);
		assert_int_equal(work_read_claim(r, &w, NULL), ERR_INVALID);
		assert_string_equal(w.entry, "1-0");
		reply_free(r);
	}
}

static void test_replies_stale_entries(void **state)
{
	(void)state;
	char entry[WORK_ENTRY_MAX];
	struct reply *r =
	        parse("*2\r\n*4\r\n$3\r\n1-0\r\n$1\r\nc\r\n:9\r\n:1\r\n*4\r\n$3\r\n2-5\r\n$1\r\nc\r\n:8\r\n:1\r\n");
	assert_int_equal(work_read_stale(r, 0, entry), 2);
	assert_string_equal(entry, "1-0");
	assert_int_equal(work_read_stale(r, 1, entry), 2);
	assert_string_equal(entry, "2-5");
	assert_int_equal(work_read_stale(r, 2, entry), 2);
	assert_string_equal(entry, "");
	reply_free(r);
	assert_int_equal(work_read_stale(NULL, 0, entry), 0);
	assert_string_equal(entry, "");
}

static void test_replies_entry_by_its_id(void **state)
{
	(void)state;
	struct work_entry w;
	struct reply *got = parse("*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n" JOB_A);
	assert_int_equal(work_read_entry(got, &w, NULL), ERR_OK);
	assert_string_equal(w.job_id, "a");
	reply_free(got);
	READS(parse("*0\r\n"), ERR_NOT_FOUND, work_read_entry(r, &w, e));
	READS(parse("-LOADING x\r\n"), ERR_UNAVAILABLE, work_read_entry(r, &w, e));
}

static void test_replies_start_gives_the_order(void **state)
{
	(void)state;
	struct work_order o;
	struct reply *r = texts("RUN", "77", "1", "2",
	        "task=t\nqueue=q\nresults=reports\nretries=3\nttl=5000\ntimeout=600\nlater=unknown\nargs=[1]", "1000",
	        "1", "900", NULL);
	assert_int_equal(work_read_start(r, &o, NULL), ERR_OK);
	assert_true(o.run == 77 && o.fence && o.deaths == 2);
	assert_string_equal(o.job.task, "t");
	assert_string_equal(o.job.args, "[1]");
	assert_string_equal(o.job.db, "");
	assert_string_equal(o.job.results, "reports");
	assert_true(o.job.retries == 3 && o.retried == 1 && o.job.ttl_ms == 5000 && o.job.timeout_ms == 600);
	assert_true(o.started_ms == 1000 && o.outage_since_ms == 900);
	reply_free(r);
	r = texts("RUN", "78", "0", "0", NULL);
	assert_int_equal(work_read_start(r, &o, NULL), ERR_OK);
	assert_true(o.run == 78 && !o.fence && o.deaths == 0 && o.job.retries == 0 && o.outage_since_ms == 0);
	assert_string_equal(o.job.args, "[]");
	assert_string_equal(o.job.task, "");
	reply_free(r);
}

static void test_replies_start_of_nothing(void **state)
{
	(void)state;
	struct work_order o;
	READS(texts("GONE", NULL), ERR_NOT_FOUND, work_read_start(r, &o, e));
	READS(texts("BUSY", NULL), ERR_CONFLICT, work_read_start(r, &o, e));
	READS(texts("WHAT", NULL), ERR_PERMANENT, work_read_start(r, &o, e));
	READS(parse("-OOM x\r\n"), ERR_UNAVAILABLE, work_read_start(r, &o, e));
}

static void test_replies_finish(void **state)
{
	(void)state;
	READS(texts("OK", NULL), ERR_OK, work_read_finish(r, e));
	READS(texts("LOST", NULL), ERR_LOST, work_read_finish(r, e));
	READS(parse("-LOADING x\r\n"), ERR_UNAVAILABLE, work_read_finish(r, e));
	READS(parse("-WRONGTYPE x\r\n"), ERR_PERMANENT, work_read_finish(r, e));
	READS(parse("$-1\r\n"), ERR_UNAVAILABLE, work_read_finish(r, e));
}

static void test_replies_time_is_in_milliseconds(void **state)
{
	(void)state;
	struct reply *r = texts("1795516044", "123999", NULL);
	assert_true(work_read_time_ms(r) == INT64_C(1795516044123));
	reply_free(r);
}

static void test_replies_scanned_keys_give_their_ids(void **state)
{
	(void)state;
	assert_string_equal(work_scanned_id("dungbeetle:", "dungbeetle:job:a-1"), "a-1");
	assert_string_equal(work_scanned_id("", "job:a:b"), "a:b");
	assert_string_equal(work_scanned_id("dungbeetle:", "job:"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_replies_types_and_values),
	        cmocka_unit_test(test_replies_absent_ones_read_as_nothing),
	        cmocka_unit_test(test_replies_integers_are_also_read_from_texts),
	        cmocka_unit_test(test_replies_fields_are_found_by_name_not_by_value),
	        cmocka_unit_test(test_replies_errors_of_the_servers_state_are_no_fault_of_the_command),
	        cmocka_unit_test(test_replies_enqueue),
	        cmocka_unit_test(test_replies_job_is_read_field_by_field),
	        cmocka_unit_test(test_replies_only_a_success_has_a_result_that_expires),
	        cmocka_unit_test(test_replies_job_that_is_none),
	        cmocka_unit_test(test_replies_group_state_follows_its_counters),
	        cmocka_unit_test(test_replies_cancel),
	        cmocka_unit_test(test_replies_health_and_depth),
	        cmocka_unit_test(test_replies_group_made_or_there_already),
	        cmocka_unit_test(test_replies_claim_of_a_job),
	        cmocka_unit_test(test_replies_claim_of_nothing),
	        cmocka_unit_test(test_replies_claim_of_a_queue_that_has_vanished),
	        cmocka_unit_test(test_replies_claim_of_what_is_no_job_names_the_entry),
	        cmocka_unit_test(test_replies_stale_entries),
	        cmocka_unit_test(test_replies_entry_by_its_id),
	        cmocka_unit_test(test_replies_start_gives_the_order),
	        cmocka_unit_test(test_replies_start_of_nothing),
	        cmocka_unit_test(test_replies_finish),
	        cmocka_unit_test(test_replies_time_is_in_milliseconds),
	        cmocka_unit_test(test_replies_scanned_keys_give_their_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
