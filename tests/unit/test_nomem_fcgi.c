/* Without memory: a request from its URI and body to the commands or the answer. */
#include "tests/unit/nomem.h"

#include "fcgi/json_in.h"
#include "fcgi/json_out.h"
#include "tests/unit/test_fcgi_fixture.h"

/* --- JSON --- */

static const char document[] =
        "{\"job_id\": \"a-1\", \"args\": [1, 2.50, \"a text that is rather longer than thirty-one bytes \\u00e4\\n\","
        " true, null, 12345678901, [[], {\"x\": {}}], \"b\"], \"c\": 1, \"d\": 2, \"e\": 3, \"f\": \"\", \"g\": 5,"
        " \"h\": 6, \"i\": 7, \"j\": 8, \"k\": 9, \"l\": 10, \"m\": 11, \"n\": 12, \"o\": 13, \"p\": 14, \"q\": 15,"
        " \"r\": 16, \"s\": 17, \"t\": 18, \"d\": 3}";

static bool text_is(const struct jin *v, const char *want)
{
	size_t len;
	const char *text = jin_text(v, &len);
	return text && len == strlen(want) && strcmp(text, want) == 0;
}

static const struct jin *item(const struct jin *array, size_t i)
{
	const struct jin *v = jin_first(array);
	while (i-- > 0)
		v = jin_next(v);
	return v;
}

/* Whatever is not there must show as an error, never as a document of another content. */
static bool is_whole(const struct jin *d)
{
	const struct jin *args = jin_field(d, "args");
	bool ok = jin_kind(d) == JIN_OBJECT && text_is(jin_field(d, "job_id"), "a-1") && jin_count(args) == 8 &&
	        text_is(item(args, 1), "2.50") &&
	        text_is(item(args, 2), "a text that is rather longer than thirty-one bytes \xc3\xa4\n") &&
	        jin_true(item(args, 3)) && jin_kind(item(args, 4)) == JIN_NULL && jin_count(item(args, 6)) == 2;
	for (char name[2] = "c"; ok && name[0] <= 't'; name[0]++)
		ok = jin_kind(jin_field(d, name)) != JIN_NULL;
	return ok;
}

static enum err_code read_document(void *ctx, struct err *e)
{
	const struct jin *d = NULL;
	enum err_code rc = jin_read(ctx, document, sizeof document - 1, &d, e);
	if (rc != ERR_OK && d)
		nomem_wrong("a document in spite of an error");
	if (rc == ERR_OK && !is_whole(d))
		nomem_wrong("the document is not whole");
	jin_done(ctx);
	return rc;
}

static enum err_code read_with_new_reader(void *ctx, struct err *e)
{
	struct jin_reader *r = jin_reader_new(6);
	(void)ctx;
	if (!r)
		return err_nomem(e);
	enum err_code rc = read_document(r, e);
	jin_reader_free(r);
	return rc;
}

static void test_nomem_json_in(void **state)
{
	(void)state;
	nomem_each("a document", read_with_new_reader, NULL);
	struct jin_reader *r = jin_reader_new(6);
	nomem_each("a document, by a reader that lives", read_document, r);
	jin_reader_free(r);
}

static enum err_code write_document(void *ctx, struct err *e)
{
	struct buf b;
	(void)ctx;
	buf_init(&b, 4096);
	jout_open(&b, '{');
	for (int i = 0; i < 20; i++) {
		jout_field(&b, "name", "a \"text\" \xff");
		jout_field_i64(&b, "n", INT64_MIN);
		jout_field_time(&b, "at", 1);
	}
	jout_close(&b, '}');
	bool ok = buf_ok(&b);
	buf_fini(&b);
	return ok ? ERR_OK : err_nomem(e);
}

static void test_nomem_json_out(void **state)
{
	(void)state;
	nomem_each("JSON", write_document, NULL);
}

/* --- job requests --- */

static struct buf post;

static void set_body(const char *text)
{
	buf_fini(&post);
	buf_init(&post, 65536);
	buf_addstr(&post, text);
}

/* A batch for this request alone, or (ctx) the one that lives. */
static enum err_code read_job(void *ctx, struct err *e)
{
	struct job_batch own = {0}, *b = ctx ? ctx : &own;
	if (!ctx && !job_batch_init(&own, &fx.config))
		return err_nomem(e);
	const struct task *task = task_set_find(fx.tasks, "statement", 9);
	enum err_code rc = job_batch_read_job(b, &fx.config, task, &post, e);
	if (rc == ERR_OK && (b->n != 1 || strcmp(b->specs[0].args, "[7]") != 0 || b->specs[0].timeout_ms != 9000))
		nomem_wrong("the job is another");
	job_batch_clear(b);
	if (!ctx)
		job_batch_fini(&own);
	return rc;
}

static enum err_code read_group(void *ctx, struct err *e)
{
	struct job_batch own = {0}, *b = ctx ? ctx : &own;
	if (!ctx && !job_batch_init(&own, &fx.config))
		return err_nomem(e);
	enum err_code rc = job_batch_read_group(b, &fx.config, fx.tasks, &post, e);
	if (rc == ERR_OK && (b->n != 3 || strcmp(b->specs[1].args, "[\"x\"]") != 0 || b->concurrency != 2))
		nomem_wrong("the group is another");
	job_batch_clear(b);
	if (!ctx)
		job_batch_fini(&own);
	return rc;
}

static void test_nomem_job_requests(void **state)
{
	(void)state;
	set_body("{\"timeout\":9,\"args\":[7],\"eta\":\"2026-11-24 10:27:24\",\"queue\":\"a-queue\"}");
	nomem_each("a job", read_job, NULL);
	nomem_each("a job in memory that is there", read_job, &fx.batch);
	set_body(
	        "{\"concurrency\":2,\"jobs\":[{\"task\":\"plain\"},{\"task\":\"statement\",\"args\":[\"x\"]},{\"task\":"
	        "\"totals\",\"args\":[1,2]}]}");
	nomem_each("a group", read_group, NULL);
	nomem_each("a group in memory that is there", read_group, &fx.batch);
	buf_fini(&post);
}

/* --- exchanges --- */

struct call {
	const char *method, *uri, *body;
	const char *replies[6]; /* of all phases */
};

/* The error that an exchange ended with; else it is answered with 200. */
static enum err_code outcome(struct exchange *x, struct err *e)
{
	*e = x->res.why;
	if (!buf_ok(&x->res.body))
		nomem_wrong("the answer is not whole");
	if (x->res.status == 200)
		return ERR_OK;
	if (e->code == ERR_NOMEM && x->res.status != 500)
		nomem_wrong("another status than 500");
	if (strncmp(buf_str(&x->res.body), "{\"status\":\"error\",", 18) != 0)
		nomem_wrong("the answer is no error");
	return e->code;
}

static enum err_code exchange(void *ctx, struct err *e)
{
	const struct call *call = ctx;
	struct exchange *x = &fx.x;
	size_t k = 0;
	exchange_reset(x);
	x->tasks = fx.tasks;
	x->now_ms = FIXTURE_NOW_MS;
	if (!buf_addstr(&x->req.body, call->body))
		return err_nomem(e);
	enum err_code rc = request_set(&x->req, call->method, call->uri, "id", e);
	enum step step = rc == ERR_OK ? router_ask(x) : exchange_fail(x, e);
	while (step == STEP_ASK) {
		for (size_t i = x->first; i < x->n; i++, k++) {
			bool armed = nomem_pause(); /* the replies are hiredis' business */
			const char *reply = call->replies[k];
			assert_non_null(reply);
			x->replies[i] = reply[0] == '@' ? hash_reply(i, reply) : reply_of(reply);
			nomem_resume(armed);
		}
		step = router_answer(x);
	}
	rc = outcome(x, e);
	bool armed = nomem_pause();
	for (size_t i = 0; i < x->n; i++) {
		reply_free(x->replies[i]);
		x->replies[i] = NULL;
	}
	nomem_resume(armed);
	return rc;
}

/* As exchange, with an exchange and a batch of its own, so that nothing of them may be left. */
static enum err_code exchange_anew(void *ctx, struct err *e)
{
	struct exchange old = fx.x;
	struct job_batch batch;
	if (!job_batch_init(&batch, &fx.config))
		return err_nomem(e);
	exchange_init(&fx.x, &fx.app, &batch);
	enum err_code rc = exchange(ctx, e);
	exchange_fini(&fx.x);
	job_batch_fini(&batch);
	fx.x = old;
	return rc;
}

static void test_nomem_exchanges(void **state)
{
	(void)state;
	static const char job[] = "@state=PENDING task=plain queue=q group=g";
	static const struct call calls[] = {
	        {"GET", "/tasks?sql=1", "", {NULL}},
	        {"POST", "/tasks/plain/jobs", "{\"job_id\":\"a\",\"args\":[]}", {"*1\r\n$2\r\nOK\r\n"}},
	        {"POST", "/groups", "{\"jobs\":[{\"task\":\"plain\"},{\"task\":\"plain\"}]}", {"*1\r\n$2\r\nOK\r\n"}},
	        {"GET", "/jobs/a%2D1", "", {job}},
	        {"DELETE", "/jobs/a?purge=%31", "", {job, "*1\r\n$2\r\nOK\r\n"}},
	        {"GET", "/groups/g", "", {"*4\r\n:2\r\n:1\r\n:0\r\n:0\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", job, job}},
	        {"DELETE", "/groups/g", "",
	                {"*4\r\n:2\r\n:1\r\n:0\r\n:0\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", job, job,
	                        "*1\r\n$2\r\nOK\r\n"}},
	        {"GET", "/jobs/queue/q?limit=2&after=a", "", {"*2\r\n$1\r\na\r\n$1\r\nb\r\n", job, job}},
	        {"GET", "/metrics", "",
	                {"*4\r\n$17\r\naccepted|slow|one\r\n:1\r\n$4\r\nrows\r\n:2\r\n", "*0\r\n",
	                        "*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n", "*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"}},
	};
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		char name[128];
		snprintf(name, sizeof name, "%s %s", calls[i].method, calls[i].uri);
		nomem_each(name, exchange_anew, (void *)(uintptr_t)&calls[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nomem_json_in),
	        cmocka_unit_test(test_nomem_json_out),
	        cmocka_unit_test(test_nomem_job_requests),
	        cmocka_unit_test(test_nomem_exchanges),
	};
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
