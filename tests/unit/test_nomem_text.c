/* Without memory: buffers, tasks and their .sql files, commands for Redis and its replies. */
#include "tests/unit/nomem.h"

#include <hiredis/hiredis.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/queue/work.h"
#include "shared/sql/placeholders.h"
#include "shared/tasks/sqlfile.h"
#include "shared/tasks/task_build.h"

/* --- buffers --- */

static enum err_code fill_buffer(void *ctx, struct err *e)
{
	struct buf b;
	(void)ctx;
	buf_init(&b, 5000);
	for (int i = 0; i < 500 && buf_ok(&b); i++)
		buf_addf(&b, "%d,", i);
	if (b.nomem != b.failed || b.len > b.cap)
		nomem_wrong("the buffer is not as it says");
	size_t len = b.len;
	bool failed = b.failed;
	if (failed && (buf_addc(&b, 'x') || b.len != len))
		nomem_wrong("an add behind one that failed");
	char *text = buf_take(&b);
	if (failed ? text != NULL : text && strlen(text) != len)
		nomem_wrong("the text that was taken");
	bool ok = text != NULL;
	free(text);
	buf_fini(&b);
	return ok ? ERR_OK : err_nomem(e);
}

/* One that is used again and again, as most are. */
static enum err_code use_again(void *ctx, struct err *e)
{
	struct buf *b = ctx;
	buf_reset(b);
	if (!buf_ok(b) || b->nomem)
		nomem_wrong("a reset buffer has failed");
	bool before = b->cap >= 100;
	char *room = buf_room(b, 100);
	if (before && !room)
		nomem_wrong("no room in what there is");
	return room ? ERR_OK : err_nomem(e);
}

static void test_nomem_buffers(void **state)
{
	(void)state;
	struct buf b;
	nomem_each("a buffer", fill_buffer, NULL);
	buf_init(&b, 1000);
	nomem_each("a buffer that is used again", use_again, &b);
	buf_fini(&b);
	buf_init(&b, 10);
	assert_false(buf_add(&b, "too long for it", 15));
	assert_false(b.nomem); /* it is full, which more memory would not change */
	buf_fini(&b);
}

/* --- tasks --- */

static const char sql[] = "\xef\xbb\xbf-- name: a\r\n"
                          "-- db: ledger, my\n"
                          "-- results: reports\n"
                          "-- queue: slow\n"
                          "-- description: one\n"
                          "-- description: two\n"
                          "SELECT 1;\n"
                          "-- name: b\n"
                          "-- db: ledger\n"
                          "-- params: x, y\n"
                          "SELECT $1, $2;\n";

static char directory[] = "/tmp/dungbeetle-nomem-XXXXXX";

static const struct config *configuration(void)
{
	static struct cfg_source sources[] = {{.name = (char *)"ledger"}, {.name = (char *)"my", .engine = DB_MYSQL}};
	static struct cfg_results results[] = {{.name = (char *)"reports"}};
	static char *directories[] = {directory};
	static struct config c = {.sources = sources,
	        .n_sources = 2,
	        .results = results,
	        .n_results = 1,
	        .sql_directories = directories,
	        .n_sql_directories = 1};
	c.redis.prefix = (char *)"db:";
	return &c;
}

static enum err_code parse_file(void *ctx, struct err *e)
{
	struct sqlfile f;
	(void)ctx;
	enum err_code rc = sqlfile_parse("f.sql", sql, sizeof sql - 1, &f, e);
	if (rc != ERR_OK && (f.text || f.queries || f.n))
		nomem_wrong("something is left");
	for (size_t i = 0; rc == ERR_OK && i < f.n; i++) {
		struct task t;
		rc = task_build(configuration(), "f.sql", &f.queries[i], &t, e);
		task_fini(&t);
	}
	sqlfile_fini(&f);
	return rc;
}

static enum err_code load_tasks(void *ctx, struct err *e)
{
	struct task_set *set = NULL;
	(void)ctx;
	enum err_code rc = task_set_load(configuration(), &set, e);
	if ((rc == ERR_OK) != (set != NULL))
		nomem_wrong("a set in spite of an error, or none");
	if (set && (task_set_count(set) != 2 || !task_set_find(set, "b", 1)))
		nomem_wrong("a task is missing");
	task_set_unref(set);
	return rc;
}

/* The old set stays when the new one cannot be loaded. */
static enum err_code reload_tasks(void *ctx, struct err *e)
{
	struct task_holder *h = ctx;
	enum err_code rc = task_holder_reload(h, configuration(), e);
	struct task_set *set = task_holder_get(h);
	if (task_set_count(set) != 2)
		nomem_wrong("the set is not whole");
	task_set_unref(set);
	return rc;
}

static enum err_code hold_tasks(void *ctx, struct err *e)
{
	struct task_holder *h = task_holder_new(task_set_ref(ctx));
	if (!h) {
		task_set_unref(ctx); /* it was not taken */
		return err_nomem(e);
	}
	task_holder_free(h);
	return ERR_OK;
}

static void test_nomem_tasks(void **state)
{
	(void)state;
	char path[64];
	struct err e = ERR_INIT;
	struct task_set *set = NULL;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/a.sql", directory);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(sql, f);
	fclose(f);
	nomem_each("a .sql file", parse_file, NULL);
	nomem_each("a set of tasks", load_tasks, NULL);
	assert_int_equal(task_set_load(configuration(), &set, &e), ERR_OK);
	nomem_each("a holder", hold_tasks, set);
	struct task_holder *h = task_holder_new(set);
	/* the set before is freed while the new one is counted */
	nomem_once("a reload", reload_tasks, h);
	for (long n = 0;; n++) {
		nomem.countdown = n;
		nomem.armed = true;
		enum err_code rc = reload_tasks(h, &e);
		nomem.armed = false;
		assert_null(nomem.wrong);
		assert_true(rc == ERR_OK || rc == ERR_NOMEM);
		if (nomem.countdown >= 0)
			break;
	}
	task_holder_free(h);
	unlink(path);
	rmdir(directory);
}

static enum err_code scan(void *ctx, struct err *e)
{
	int count;
	static const char query[] = "SELECT ?, '?' /* ? */ FROM t;";
	return placeholders_count(*(enum db_engine *)ctx, query, sizeof query - 1, &count, e);
}

static void test_nomem_placeholders(void **state)
{
	(void)state;
	enum db_engine engine = DB_MYSQL;
	nomem_each("a statement", scan, &engine); /* takes none */
}

/* --- commands --- */

static enum err_code ask(void *ctx, struct err *e)
{
	static const struct job_spec jobs[] = {
	        {.id = "a",
	                .task = "t",
	                .queue = "q",
	                .db = "d",
	                .results = "r",
	                .args = "[\"a rather long argument, for which there must be room\"]",
	                .ttl_ms = 1},
	        {.id = "b", .task = "t", .queue = "q", .db = "", .results = "r", .args = "[]", .eta_ms = 5}};
	static const struct cancel_spec cancels[] = {{"a", "q", "g"}, {"b", "q", "g"}};
	static const struct work_lease leases[] = {
	        {.entry = "1-0", .job_id = "a", .queue = "q", .consumer = "c", .run = 1},
	        {.entry = "2-0", .job_id = "b", .queue = "q", .consumer = "c", .run = 2}};
	struct cmd c;
	bool failed = false;
	cmd_init(&c);
	for (int i = 0; i < 6; i++) {
		cmd_reset(&c);
		if (c.failed)
			nomem_wrong("a command that was reset has failed");
		switch (i) {
		case 0:
			queue_ask_enqueue(&c, "db:", jobs, 1, NULL, 0, 1000);
			break;
		case 1:
			queue_ask_enqueue(&c, "db:", jobs, 2, "g", 3, 1000);
			break;
		case 2:
			queue_ask_cancel(&c, "db:", cancels, 2, "g", true);
			break;
		case 3:
			work_ask_beat(&c, "db:", "w", "{}", leases, 2);
			break;
		case 4:
			work_ask_scan(&c, "a*b[c]:", "0");
			break;
		default:
			queue_ask_stats(&c, "db:");
			break;
		}
		failed = failed || c.failed;
	}
	cmd_fini(&c);
	(void)ctx;
	return failed ? err_nomem(e) : ERR_OK;
}

/* What failed is refused when it is sent, before anything else is done. */
static enum err_code send_failed(void *ctx, struct err *e)
{
	struct redis *r = redis_new(ctx);
	if (!r)
		return err_nomem(e);
	if (redis_connected(r))
		nomem_wrong("connected to nothing");
	redis_free(r);
	return ERR_OK;
}

static void test_nomem_commands(void **state)
{
	(void)state;
	nomem_each("commands", ask, NULL);
	nomem_each("a connection that is not made", send_failed, (void *)configuration());
}

/* --- replies: hiredis reads them, and says so when it cannot --- */

static enum err_code read_replies(void *ctx, struct err *e)
{
	struct job_info job;
	struct group_info group;
	struct work_order order;
	redisReader *reader = redisReaderCreate();
	void *got = NULL;
	(void)ctx;
	if (!reader)
		return err_nomem(e);
	static const char text[] =
	        "*9\r\n$3\r\nRUN\r\n:7\r\n:0\r\n:0\r\n$35\r\ntask=plain\nqueue=default\nargs=[\"1\"]\r\n"
	        ":5\r\n:0\r\n:0\r\n:3\r\n";
	bool fed = redisReaderFeed(reader, text, sizeof text - 1) == REDIS_OK;
	bool read = fed && redisReaderGetReply(reader, &got) == REDIS_OK && got;
	enum err_code rc = ERR_OK;
	if (read) {
		rc = work_read_start(got, &order, e);
		if (rc != ERR_OK || order.run != 7 || strcmp(order.job.task, "plain") != 0)
			nomem_wrong("a reply is read otherwise");
		if (queue_read_job(got, &job, NULL) == ERR_OK || queue_read_group(got, &group, NULL) == ERR_OK)
			nomem_wrong("a reply is taken for another");
		freeReplyObject(got);
	}
	redisReaderFree(reader);
	return read ? rc : err_nomem(e);
}

static void test_nomem_replies(void **state)
{
	(void)state;
	nomem_each("a reply", read_replies, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nomem_buffers),
	        cmocka_unit_test(test_nomem_tasks),
	        cmocka_unit_test(test_nomem_placeholders),
	        cmocka_unit_test(test_nomem_commands),
	        cmocka_unit_test(test_nomem_replies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
