/* The body of a POST. Input: a byte that chooses (a document alone; a job of one of the tasks; a group); the body.
 * A document is taken exactly when it is JSON, as a reader of our own has it, and within the limits; what becomes a job has
 * names that fit, arguments that are a JSON array of the request's, and a spec that reads as the same. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi/job_request.h"
#include "shared/base/parse.h"
#include "tests/fuzz/exchange.h"
#include "tests/fuzz/fuzz.h"

/* --- documents --- */

#define DEPTH 6

static void check_document(const char *body, size_t len)
{
	struct jin_reader *r = jin_reader_new(DEPTH);
	const struct jin *document = NULL;
	struct err e = ERR_INIT;
	enum err_code rc = jin_read(r, body, len, &document, &e);
	fuzz_check_err(rc, &e, false);
	struct fuzz_json want = fuzz_read_json(body, len);
	FUZZ_CHECK(rc != ERR_OK || (want.valid && !want.huge), "taken: %s", body);
	FUZZ_CHECK(rc == ERR_OK || !want.valid || want.huge || want.depth >= DEPTH, "refused: %s: %s", e.text, body);
	FUZZ_CHECK(rc == ERR_OK || !document, "something is left");
	/* the reader is as good as new */
	const struct jin *next = NULL;
	jin_done(r);
	FUZZ_CHECK(jin_read(r, "{\"a\":[1]}", 9, &next, &e) == ERR_OK && jin_count(jin_field(next, "a")) == 1, "%s",
	        e.text);
	jin_reader_free(r);
}

/* --- jobs --- */

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH);
	struct json_object *o = json_tokener_parse_ex(t, text, (int)len + 1);
	FUZZ_CHECK(json_tokener_get_error(t) == json_tokener_success, "%s", text);
	json_tokener_free(t);
	return o;
}

/* An escaped surrogate pair at p becomes the character; returns how many bytes that are, 0: there is none. */
static size_t join_pair(char *p)
{
	unsigned high, low;
	if (sscanf(p, "\\u%4x\\u%4x", &high, &low) != 2 || high >> 10 != 0xD800 >> 10 || low >> 10 != 0xDC00 >> 10)
		return 0;
	unsigned code = 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF);
	const unsigned char bytes[] = {(unsigned char)(0xF0 | code >> 18), (unsigned char)(0x80 | (code >> 12 & 0x3F)),
	        (unsigned char)(0x80 | (code >> 6 & 0x3F)), (unsigned char)(0x80 | (code & 0x3F))};
	memcpy(p, bytes, sizeof bytes);
	memmove(p + sizeof bytes, p + 12, strlen(p + 12) + 1);
	return sizeof bytes;
}

/* The request as json-c has it. To json-c 0.16 names end at a NUL, so each \\u0000 is made a \\u0001 first: an argument cannot
 * have one (that is refused), and all that matters of a name with one is that it is none of ours. And it takes some escaped
 * characters, such as U+1DA01, for half of one (its pull request 893): so they are written out. */
static struct json_object *parse_request(const struct buf *body)
{
	char *text = strdup(body->data);
	if (!text)
		abort();
	FUZZ_CHECK(strlen(text) == body->len, "a NUL was taken");
	size_t joined;
	for (char *p = text; (p = strchr(p, '\\')); p += joined ? joined : 2) {
		joined = join_pair(p);
		if (!joined && strncmp(p + 1, "u0000", 5) == 0)
			p[5] = '1';
	}
	struct json_object *o = parse(text, strlen(text));
	free(text);
	return o;
}

/* The job's arguments are the request's, one by one. */
static void check_args(const char *args, struct json_object *request)
{
	struct json_object *wanted = NULL, *got = parse(args, strlen(args));
	fuzz_check_json(args, strlen(args));
	json_object_object_get_ex(request, "args", &wanted);
	size_t n = wanted ? json_object_array_length(wanted) : 0;
	FUZZ_CHECK(json_object_array_length(got) == n, "%s", args);
	for (size_t i = 0; i < n; i++) {
		struct json_object *a = json_object_array_get_idx(wanted, i), *b = json_object_array_get_idx(got, i);
		FUZZ_CHECK(json_object_get_type(a) == json_object_get_type(b), "argument %zu of %s", i, args);
		FUZZ_CHECK(strcmp(json_object_to_json_string(a), json_object_to_json_string(b)) == 0,
		        "argument %zu of %s", i, args);
	}
	json_object_put(got);
}

static void check_spec(const struct job_spec *s, struct json_object *request)
{
	struct job_order order;
	struct cmd c;
	FUZZ_CHECK(parse_name(s->id, strlen(s->id), QUEUE_JOB_ID_MAX), "%s", s->id);
	FUZZ_CHECK(parse_name(s->queue, strlen(s->queue), QUEUE_NAME_MAX), "%s", s->queue);
	FUZZ_CHECK(
	        s->results[0] && s->retries >= 0 && s->ttl_ms > 0 && s->timeout_ms >= 0 && s->eta_ms >= 0, "%s", s->id);
	check_args(s->args, request);
	cmd_init(&c);
	spec_add(&c, s, NULL);
	fuzz_check_command(&c);
	c.text.data[c.text.len - 2] = '\0';
	spec_read(strchr(c.text.data, '\n') + 1, &order);
	FUZZ_CHECK(strcmp(order.task, s->task) == 0 && strcmp(order.queue, s->queue) == 0 &&
	                strcmp(order.db, s->db) == 0 && strcmp(order.args, s->args) == 0 && order.ttl_ms == s->ttl_ms &&
	                order.eta_ms == s->eta_ms,
	        "%s", c.text.data);
	cmd_fini(&c);
}

static void check_enqueue(const struct job_batch *b)
{
	struct cmd c;
	cmd_init(&c);
	queue_ask_enqueue(&c, "db:", b->specs, b->n, b->group_id, b->concurrency, 1000);
	fuzz_check_command(&c);
	cmd_fini(&c);
}

static void check_batch(unsigned which, const struct buf *body)
{
	const struct config *config = fuzz_config();
	const struct task_set *tasks = fuzz_tasks();
	struct job_batch b;
	struct err e = ERR_INIT;
	if (!job_batch_init(&b, config))
		abort();
	bool group = which == 0;
	enum err_code rc = group ? job_batch_read_group(&b, config, tasks, body, &e)
	                         : job_batch_read_job(&b, config, task_set_at(tasks, which - 1), body, &e);
	fuzz_check_err(rc, &e, false);
	FUZZ_CHECK(rc == ERR_OK || rc == ERR_INVALID || (group && rc == ERR_NOT_FOUND), "code %d: %s", rc, e.text);
	if (rc == ERR_OK) {
		struct json_object *request = body->len ? parse_request(body) : NULL, *jobs = NULL;
		json_object_object_get_ex(request, "jobs", &jobs);
		FUZZ_CHECK(b.n == (group ? json_object_array_length(jobs) : 1), "%zu jobs", b.n);
		for (size_t i = 0; i < b.n; i++) {
			check_spec(&b.specs[i], group ? json_object_array_get_idx(jobs, i) : request);
			for (size_t k = 0; k < i; k++)
				FUZZ_CHECK(strcmp(b.specs[i].id, b.specs[k].id) != 0, "%s twice", b.specs[i].id);
		}
		FUZZ_CHECK(!group || parse_name(b.group_id, strlen(b.group_id), QUEUE_NAME_MAX), "%s", b.group_id);
		check_enqueue(&b);
		json_object_put(request);
	}
	job_batch_fini(&b);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	unsigned which = fuzz_byte(&in) % 5;
	size_t len;
	char *text = fuzz_rest(&in, &len);
	if (which == 4) {
		check_document(text, len);
	} else {
		struct buf body;
		buf_init(&body, 1 << 20);
		buf_add(&body, text, len);
		check_batch(which, &body);
		buf_fini(&body);
	}
	free(text);
}
