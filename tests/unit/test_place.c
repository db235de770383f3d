/* Traffic control as commands and replies (shared/queue/place.h). No server. */
#include "shared/queue/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

static struct reply *parse(const char *protocol)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	assert_int_equal(redisReaderFeed(reader, protocol, strlen(protocol)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	redisReaderFree(reader);
	return reply;
}

static void test_place_things_have_names(void **state)
{
	(void)state;
	struct work_place p;
	assert_true(work_parse_thing("db:ledger", &p));
	assert_string_equal(p.kind, WORK_PLACE_DB);
	assert_string_equal(p.name, "ledger");
	assert_true(work_parse_thing("queue:db:x", &p));
	assert_string_equal(p.kind, WORK_PLACE_QUEUE);
	assert_string_equal(p.name, "db:x");
	static const char *const none[] = {"", "db:", "queue:", "ledger", "DB:x"};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		assert_false(work_parse_thing(none[i], &p));
}

static void test_place_handed_jobs_are_read(void **state)
{
	(void)state;
	struct work_entry w;
	char queue[QUEUE_NAME_MAX + 1];
	assert_true(work_parse_handed("q:1 17-2 job-1 g", &w, queue));
	assert_string_equal(queue, "q:1");
	assert_string_equal(w.entry, "17-2");
	assert_string_equal(w.job_id, "job-1");
	assert_string_equal(w.group, "g");
	assert_true(work_parse_handed("q 17-2 job ", &w, queue));
	assert_string_equal(w.group, "");
	char long_id[2 * QUEUE_JOB_ID_MAX + 16] = "q 17-2 ";
	memset(long_id + 7, 'x', QUEUE_JOB_ID_MAX + 1);
	long_id[7 + QUEUE_JOB_ID_MAX + 1] = ' ';
	assert_false(work_parse_handed(long_id, &w, queue));
	static const char *const none[] = {
	        "", "q", "q 17-2", " 17-2 job ", "q  job ", "q 17-2  g", "q 17-2 job g more"};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		assert_false(work_parse_handed(none[i], &w, queue));
}

static void test_place_take_is_all_or_none(void **state)
{
	(void)state;
	bool full[WORK_PLACES_MAX] = {false};
	struct err e = ERR_INIT;
	struct reply *r = parse("*1\r\n$5\r\nTAKEN\r\n");
	assert_int_equal(work_read_take(r, full, &e), ERR_OK);
	reply_free(r);
	r = parse("*2\r\n$4\r\nFULL\r\n:1\r\n");
	assert_int_equal(work_read_take(r, full, &e), ERR_BUSY);
	assert_true(!full[0] && full[1]);
	reply_free(r);
	r = parse("*3\r\n$4\r\nFULL\r\n:0\r\n:9\r\n");
	assert_int_equal(work_read_take(r, full, &e), ERR_BUSY);
	assert_true(full[0]);
	reply_free(r);
	r = parse("*1\r\n$5\r\nEARLY\r\n");
	assert_int_equal(work_read_take(r, full, &e), ERR_CONFLICT);
	reply_free(r);
	r = parse("-LOADING x\r\n");
	assert_int_equal(work_read_take(r, full, &e), ERR_UNAVAILABLE);
	reply_free(r);
	r = parse("*1\r\n$4\r\nWHAT\r\n");
	assert_int_equal(work_read_take(r, full, &e), ERR_UNAVAILABLE);
	reply_free(r);
}

static void test_place_park_tells_how_many_wait(void **state)
{
	(void)state;
	int64_t waiting[2];
	struct err e = ERR_INIT;
	struct reply *r = parse("*3\r\n$2\r\nOK\r\n:7\r\n:0\r\n");
	assert_int_equal(work_read_park(r, waiting, 2, &e), ERR_OK);
	assert_true(waiting[0] == 7 && waiting[1] == 0);
	reply_free(r);
	r = parse("*1\r\n$4\r\nLOST\r\n");
	assert_int_equal(work_read_park(r, waiting, 2, &e), ERR_LOST);
	reply_free(r);
	r = parse("-OOM x\r\n");
	assert_int_equal(work_read_park(r, waiting, 2, &e), ERR_UNAVAILABLE);
	reply_free(r);
}

static void test_place_runs_without_places_cost_no_key(void **state)
{
	(void)state;
	struct cmd c;
	struct work_lease leases[2] = {{.entry = "1-0", .job_id = "a", .queue = "q", .consumer = "c", .run = 5},
	        {.entry = "2-0", .job_id = "b", .queue = "q", .consumer = "c", .run = 6}};
	cmd_init(&c);
	work_ask_beat(&c, "p:", "i", "", leases, 2);
	size_t plain = c.n;
	assert_int_equal(c.keys, 5);
	cmd_reset(&c);
	leases[1].places[0] = (struct work_place){.kind = WORK_PLACE_DB, .name = "ledger", .most = 3};
	leases[1].n_places = 1;
	leases[1].place_ms = 30000;
	work_ask_beat(&c, "p:", "i", "", leases, 2);
	assert_int_equal(c.keys, 6);
	assert_int_equal(c.n, plain + 1 + 3); /* the key; the lease, the number of its run, the member */
	assert_non_null(strstr(buf_str(&c.text), "p:running:db:ledger"));
	assert_non_null(strstr(buf_str(&c.text), "\r\n2-0 b 6\r\n"));
	assert_false(c.failed);
	cmd_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_place_things_have_names),
	        cmocka_unit_test(test_place_handed_jobs_are_read),
	        cmocka_unit_test(test_place_take_is_all_or_none),
	        cmocka_unit_test(test_place_park_tells_how_many_wait),
	        cmocka_unit_test(test_place_runs_without_places_cost_no_key),
	};
	return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
