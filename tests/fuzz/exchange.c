#include "tests/fuzz/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "fcgi/counters.h"
#include "fcgi/job_request.h"
#include "fcgi/router.h"
#include "tests/fuzz/fuzz.h"

static struct counters counters;
static struct app app;
static struct job_batch batch;

/* Made for each input anew, so that what an answer leaves behind shows at once. */
struct exchange *fuzz_exchange(void)
{
	static struct exchange x;
	app = (struct app){.config = fuzz_config(), .counters = &counters, .n_counters = 1};
	if (!job_batch_init(&batch, app.config))
		abort();
	exchange_init(&x, &app, &batch);
	x.tasks = fuzz_tasks();
	x.now_ms = INT64_C(1795516044000);
	return &x;
}

void fuzz_exchange_end(struct exchange *x)
{
	exchange_reset(x);
	exchange_fini(x);
	job_batch_fini(&batch);
}

void fuzz_check_command(const struct cmd *c)
{
	size_t n = 0;
	for (size_t at = 0; at < c->text.len; n++) {
		size_t len = 0;
		FUZZ_CHECK(c->text.data[at] == '$', "argument %zu", n);
		for (at++; c->text.data[at] >= '0' && c->text.data[at] <= '9'; at++)
			len = len * 10 + (size_t)(c->text.data[at] - '0');
		FUZZ_CHECK(c->text.len - at >= len + 4 && memcmp(c->text.data + at, "\r\n", 2) == 0 &&
		                memcmp(c->text.data + at + 2 + len, "\r\n", 2) == 0,
		        "argument %zu of %zu bytes", n, len);
		at += len + 4;
	}
	FUZZ_CHECK(!c->failed && n == c->n && n > 0, "%zu arguments, counted %zu", n, c->n);
}

static void check_head(const struct exchange *x)
{
	struct buf head;
	buf_init(&head, 4096);
	response_head(&x->res, &x->req, &head);
	FUZZ_CHECK(buf_ok(&head) && head.len > 4 && strcmp(head.data + head.len - 4, "\r\n\r\n") == 0, "%s",
	        buf_str(&head));
	FUZZ_CHECK(strstr(head.data, "\r\n\r\n") == head.data + head.len - 4, "%s", head.data);
	for (size_t i = 0; i < head.len; i++) {
		char c = head.data[i];
		FUZZ_CHECK((c >= ' ' && c < 0x7f) || c == '\r' || c == '\n', "%s", head.data);
	}
	buf_fini(&head);
}

static void check_answer(const struct exchange *x)
{
	static const int statuses[] = {200, 400, 404, 405, 409, 413, 500, 503};
	static const char success[] = "{\"status\":\"success\",\"data\":",
	                  error[] = "{\"status\":\"error\",\"message\":\"";
	const struct buf *b = &x->res.body;
	bool known = false;
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		known = known || x->res.status == statuses[i];
	FUZZ_CHECK(known && buf_ok(b), "status %d", x->res.status);
	FUZZ_CHECK(fuzz_is_utf8(buf_str(b), b->len), "%s", buf_str(b));
	if (strncmp(x->res.content_type, "application/json", 16) == 0) {
		fuzz_check_json(b->data, b->len);
		const char *begin = x->res.status == 200 ? success : error;
		FUZZ_CHECK(strncmp(b->data, begin, strlen(begin)) == 0, "%s", b->data);
	} else {
		FUZZ_CHECK(b->len > 0 && b->data[b->len - 1] == '\n', "%s", buf_str(b));
	}
	fuzz_check_err(x->res.why.code, &x->res.why, false);
	check_head(x);
}

void fuzz_check_exchange(struct exchange *x, enum step step)
{
	if (step == STEP_DONE) {
		check_answer(x);
		return;
	}
	FUZZ_CHECK(!x->nomem, "no memory");
	for (size_t i = x->first; i < x->n; i++)
		fuzz_check_command(&x->cmds[i]);
}
