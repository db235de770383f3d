/* What Redis may answer, however odd, to the workers' and the FastCGI process' questions. Input: a byte that chooses a
 * request; then replies: a byte of kind (text, number, nil, error, list and so on), and what belongs to it.
 * Every reader takes every reply; an answer that is made of them is in order, as of any request; a job's spec, written again,
 * reads as the same. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi/job_request.h"
#include "fcgi/router.h"
#include "shared/queue/work.h"
#include "tests/fuzz/exchange.h"
#include "tests/fuzz/fuzz.h"

#define NODES_MAX 400u

static size_t nodes;

/* --- replies out of bytes --- */

static redisReply *node(int type)
{
	redisReply *r = calloc(1, sizeof *r);
	if (!r)
		abort();
	r->type = type;
	return r;
}

static redisReply *text_node(int type, const char *bytes, size_t len)
{
	redisReply *r = node(type);
	r->str = malloc(len + 1);
	if (!r->str)
		abort();
	memcpy(r->str, bytes, len);
	r->str[len] = '\0';
	r->len = len;
	return r;
}

/* Texts that the readers know, so that they are met often. */
static const char *const known[] = {"OK", "CONFLICT", "GONE", "FINISHED", "CHANGED", "RUN", "BUSY", "LOST", "SUCCESS",
        "FAILURE", "PENDING", "STARTED", "RETRY", "job", "group", "accepted|default|plain", "finished|plain|SUCCESS",
        "run_le|3", "wait_le|14", "run_ms_sum", "rows", "1795516044000", "-1",
        "task=plain\nqueue=default\nresults=reports\ngroup=g\nretries=3\nttl=5000\nargs=[1]",
        "{\"name\":\"w\",\"slots\":2,\"running\":1,\"queues\":{\"a\":1},\"beat_ms\":1795516044000}"};

static redisReply *read_node(struct fuzz_in *in, int depth)
{
	static const char *const errors[] = {"OOM x", "NOGROUP x", "BUSYGROUP x", "ERR x\xff\x01y", "LOADING"};
	unsigned kind = fuzz_byte(in), n;
	char *text;
	size_t len;
	redisReply *r;
	nodes++;
	switch (kind % 8) {
	case 0:
		text = fuzz_part(in, &len);
		r = text_node(kind & 8 ? REDIS_REPLY_STATUS : REDIS_REPLY_STRING, text, len);
		free(text);
		return r;
	case 1:
		r = node(REDIS_REPLY_INTEGER);
		r->integer = kind & 8 ? fuzz_i64(in) : (int)fuzz_byte(in);
		return r;
	case 2:
		return node(REDIS_REPLY_NIL);
	case 3:
		n = fuzz_byte(in) % 6;
		if (n < 5)
			return text_node(REDIS_REPLY_ERROR, errors[n], strlen(errors[n]));
		text = fuzz_part(in, &len);
		r = text_node(REDIS_REPLY_ERROR, text, len);
		free(text);
		return r;
	case 4:
	case 5:
		n = fuzz_byte(in) % (sizeof known / sizeof *known);
		return text_node(REDIS_REPLY_STRING, known[n], strlen(known[n]));
	default:
		n = depth > 4 || nodes > NODES_MAX ? 0 : fuzz_byte(in) % 32;
		r = node(REDIS_REPLY_ARRAY);
		r->element = calloc(n + 1, sizeof(redisReply *));
		if (!r->element)
			abort();
		for (; r->elements < n && in->left; r->elements++)
			r->element[r->elements] = read_node(in, depth + 1);
		return r;
	}
}

static struct reply *read_reply(struct fuzz_in *in)
{
	nodes = 0;
	return (struct reply *)(void *)read_node(in, 0);
}

/* --- readers --- */

static void check_entry(const struct work_entry *entry)
{
	FUZZ_CHECK(memchr(entry->entry, 0, sizeof entry->entry) && memchr(entry->job_id, 0, sizeof entry->job_id) &&
	                memchr(entry->group, 0, sizeof entry->group),
	        "no end");
}

static void check_order(const struct job_order *o)
{
	const struct job_spec job = {.task = o->task,
	        .queue = o->queue,
	        .results = o->results,
	        .db = o->db,
	        .args = o->args,
	        .retries = o->retries,
	        .ttl_ms = o->ttl_ms,
	        .timeout_ms = o->timeout_ms,
	        .eta_ms = o->eta_ms};
	struct job_order again;
	struct cmd c;
	if (!o->task[0]) /* none is ever without */
		return;
	cmd_init(&c);
	spec_add(&c, &job, o->group);
	fuzz_check_command(&c);
	c.text.data[c.text.len - 2] = '\0';
	spec_read(strchr(c.text.data, '\n') + 1, &again);
	FUZZ_CHECK(strcmp(o->task, again.task) == 0 && strcmp(o->queue, again.queue) == 0 &&
	                strcmp(o->db, again.db) == 0 && strcmp(o->results, again.results) == 0 &&
	                strcmp(o->group, again.group) == 0 && o->retries == again.retries &&
	                o->ttl_ms == again.ttl_ms && o->timeout_ms == again.timeout_ms && o->eta_ms == again.eta_ms,
	        "%s", c.text.data);
	FUZZ_CHECK(strcmp(o->args[0] ? o->args : "[]", again.args) == 0, "%s and %s", o->args, again.args);
	cmd_fini(&c);
}

static void check_finish(const struct work_order *order)
{
	const struct work_entry entry = {"1-0", "a", "g"};
	const struct work_result result = {WORK_SUCCESS, "", "results_a", 1, 2, 0, 1000};
	struct cmd c;
	cmd_init(&c);
	const struct work_lease lease = {
	        .entry = "1-0", .job_id = "a", .queue = order->job.queue, .consumer = "c", .run = 1};
	work_ask_finish(&c, "db:", &lease, &entry, order, &result, true);
	fuzz_check_command(&c);
	cmd_fini(&c);
}

static void check_readers(struct fuzz_in *in)
{
	struct reply *r = read_reply(in);
	struct err e = ERR_INIT;
	struct job_info job;
	struct group_info group;
	struct queue_depth depth;
	struct work_entry entry;
	struct work_order order;
	char stale[WORK_ENTRY_MAX];
	fuzz_check_err(reply_error(r, &e), &e, false);
	fuzz_check_err(queue_read_enqueue(r, &e), &e, false);
	enum err_code rc = queue_read_job(r, &job, &e);
	fuzz_check_err(rc, &e, rc == ERR_NOT_FOUND);
	if (rc == ERR_OK)
		check_order(&job.order);
	rc = queue_read_group(r, &group, &e);
	fuzz_check_err(rc, &e, rc == ERR_NOT_FOUND);
	fuzz_check_err(queue_read_cancel(r, &e), &e, false);
	fuzz_check_err(queue_read_health(r, &e), &e, false);
	fuzz_check_err(queue_read_depth(r, &depth, &e), &e, false);
	fuzz_check_err(work_read_group_made(r, &e), &e, false);
	rc = work_read_claim(r, &entry, &e);
	fuzz_check_err(rc, &e, rc == ERR_NOT_FOUND);
	if (rc == ERR_OK)
		check_entry(&entry);
	for (size_t i = 0; i < work_read_stale(r, i, stale); i++)
		FUZZ_CHECK(memchr(stale, 0, sizeof stale), "no end");
	rc = work_read_entry(r, &entry, &e);
	fuzz_check_err(rc, &e, rc == ERR_NOT_FOUND);
	rc = work_read_start(r, &order, &e);
	fuzz_check_err(rc, &e, rc == ERR_NOT_FOUND);
	if (rc == ERR_OK) {
		check_order(&order.job);
		check_finish(&order);
	}
	fuzz_check_err(work_read_finish(r, &entry, &e), &e, false);
	(void)work_read_time_ms(r);
	(void)work_scanned_id("db:", reply_text(r, NULL));
	reply_free(r);
}

/* --- answers --- */

static void check_answers(struct fuzz_in *in, unsigned which)
{
	static const struct {
		const char *method, *uri;
	} requests[] = {{"GET", "/jobs/a-1"}, {"DELETE", "/jobs/a-1"}, {"DELETE", "/jobs/a-1?purge=1"},
	        {"GET", "/jobs/queue/default?limit=2"}, {"GET", "/groups/g"}, {"DELETE", "/groups/g?purge=true"},
	        {"GET", "/health"}, {"GET", "/metrics"}, {"GET", "/queues"}, {"POST", "/tasks/plain/jobs"}};
	which %= sizeof requests / sizeof *requests;
	struct exchange *x = fuzz_exchange();
	struct err e = ERR_INIT;
	FUZZ_CHECK(request_set(&x->req, requests[which].method, requests[which].uri, "id", &e) == ERR_OK, "%s", e.text);
	enum step step = router_ask(x);
	for (int phase = 0; step == STEP_ASK; phase++) {
		fuzz_check_exchange(x, step);
		FUZZ_CHECK(phase < 4 * 5, "it has no end");
		for (size_t i = x->first; i < x->n; i++)
			x->replies[i] = in->left ? read_reply(in) : NULL;
		step = router_answer(x);
	}
	fuzz_check_exchange(x, step);
	fuzz_exchange_end(x);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned what = fuzz_byte(&in);
	if (what % 2 == 0)
		check_readers(&in);
	else
		check_answers(&in, what / 2);
}
