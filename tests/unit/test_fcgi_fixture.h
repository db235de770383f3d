/* For the tests of the FastCGI process: a configuration, three tasks, and exchanges that are asked and answered by hand.
 * Replies are written in Redis' protocol. No server, no libfcgi. Thread rule: one thread.
 */
#ifndef DB_TESTS_FCGI_FIXTURE_H
#define DB_TESTS_FCGI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "fcgi/counters.h"
#include "fcgi/job_request.h"
#include "fcgi/router.h"
#include "tests/unit/test_cmd_fixture.h"

#define FIXTURE_NOW_MS INT64_C(1795516044000) /* 2026-11-24T10:27:24Z */

static const char fixture_sql[] = "-- name: statement\n"
                                  "-- db: ledger\n"
                                  "-- results: reports\n"
                                  "-- queue: slow\n"
                                  "-- params: user_id\n"
                                  "-- description: entries of a \"user\"\n"
                                  "-- ttl: 2h\n"
                                  "-- retries: 2\n"
                                  "-- timeout: 90s\n"
                                  "SELECT * FROM entries WHERE user_id = $1;\n"
                                  "-- name: totals\n"
                                  "-- concurrency: 3\n"
                                  "SELECT * FROM entries WHERE a > $1 AND b < $2;\n"
                                  "-- name: plain\n"
                                  "SELECT 1;\n";

static struct {
	char dir[64];
	char *directories[1];
	struct cfg_source sources[2];
	struct cfg_results results[2];
	struct config config;
	struct counters counters;
	struct app app;
	struct task_set *tasks;
	struct job_batch batch;
	struct exchange x;
	char uri[4096];
} fx;

static inline void fixture_config(void)
{
	fx.sources[0] = (struct cfg_source){.name = (char *)"ledger"};
	fx.sources[1] = (struct cfg_source){.name = (char *)"other"};
	fx.results[0] = (struct cfg_results){.name = (char *)"reports"};
	fx.results[1] = (struct cfg_results){.name = (char *)"more"};
	fx.directories[0] = fx.dir;
	struct config *c = &fx.config;
	*c = (struct config){.sources = fx.sources, .n_sources = 2, .results = fx.results, .n_results = 2};
	c->sql_directories = fx.directories;
	c->n_sql_directories = 1;
	c->redis.prefix = (char *)"db:";
	c->jobs.default_queue = (char *)"default";
	c->jobs.result_ttl_ms = 3600000;
	c->jobs.state_ttl_ms = 86400000;
	c->jobs.retries = 1;
	c->limits.body = 65536;
	c->limits.args = 5;
	c->limits.arg_bytes = 100;
	c->limits.group_jobs = 4;
	c->limits.json_depth = 6;
	c->limits.page = 3;
	c->worker.lease_ms = 15000;
}

static inline int fixture_setup(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char path[128];
	strcpy(fx.dir, "/tmp/dungbeetle-fcgi-XXXXXX");
	if (!mkdtemp(fx.dir))
		return -1;
	snprintf(path, sizeof path, "%s/t.sql", fx.dir);
	FILE *f = fopen(path, "w");
	if (!f)
		return -1;
	bool written = fputs(fixture_sql, f) >= 0;
	if (fclose(f) != 0 || !written)
		return -1;
	fixture_config();
	if (task_set_load(&fx.config, &fx.tasks, &e) != ERR_OK) {
		fprintf(stderr, "%s\n", e.text);
		return -1;
	}
	fx.app = (struct app){.config = &fx.config, .counters = &fx.counters, .n_counters = 1};
	if (!job_batch_init(&fx.batch, &fx.config))
		return -1;
	exchange_init(&fx.x, &fx.app, &fx.batch);
	return 0;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	char path[128];
	exchange_fini(&fx.x);
	job_batch_fini(&fx.batch);
	task_set_unref(fx.tasks);
	snprintf(path, sizeof path, "%s/t.sql", fx.dir);
	unlink(path);
	return rmdir(fx.dir);
}

/* Begins a request and asks; uri and body are copied. */
static inline enum step ask(const char *method, const char *uri, const char *body)
{
	struct err e = ERR_INIT;
	exchange_reset(&fx.x);
	fx.x.tasks = fx.tasks;
	fx.x.now_ms = FIXTURE_NOW_MS;
	snprintf(fx.uri, sizeof fx.uri, "%s", uri);
	if (body)
		buf_addstr(&fx.x.req.body, body);
	if (request_set(&fx.x.req, method, fx.uri, "req-1", &e) != ERR_OK)
		return exchange_fail(&fx.x, &e);
	return router_ask(&fx.x);
}

/* One reply, in Redis' protocol. Owned by whoever it is given to. */
static inline struct reply *reply_of(const char *resp)
{
	void *got = NULL;
	assert_non_null(resp);
	redisReader *reader = redisReaderCreate();
	assert_non_null(reader);
	redisReaderFeed(reader, resp, strlen(resp));
	assert_int_equal(redisReaderGetReply(reader, &got), REDIS_OK);
	assert_non_null(got);
	redisReaderFree(reader);
	return (struct reply *)got;
}

/* An argument of the i-th command of all phases. */
static inline const char *argument(size_t command, size_t i)
{
	static char text[4096];
	assert_true(command < fx.x.n);
	const struct cmd *c = &fx.x.cmds[command];
	assert_true(i < c->n);
	size_t len = 0;
	const char *bytes = cmd_argument(c, i, &len);
	assert_non_null(bytes);
	snprintf(text, sizeof text, "%.*s", (int)len, bytes);
	return text;
}

/* The value of name in "@state=PENDING task=plain", *width bytes; NULL: it is not there. */
static inline const char *field_value(const char *fields, const char *name, size_t *width)
{
	char pattern[64];
	assert_non_null(fields);
	size_t n = (size_t)snprintf(pattern, sizeof pattern, " %.60s=", name);
	const char *at = strncmp(fields + 1, pattern + 1, n - 1) == 0 ? fields : strstr(fields, pattern);
	*width = at ? strcspn(at + n, " ") : 0;
	return at ? at + n : NULL;
}

/* The spec (spec.h) that those fields make which belong into one. */
static inline void make_spec(char *out, size_t size, const char *fields)
{
	static const char *const names[] = {
	        "task", "queue", "results", "db", "group", "retries", "ttl", "timeout", "eta"};
	size_t len = 0, width;
	out[0] = '\0';
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *value = field_value(fields, names[i], &width);
		if (value)
			len += (size_t)snprintf(out + len, size - len, "%s=%.*s\n", names[i], (int)width, value);
	}
	snprintf(out + len, size - len, "args=[]");
}

/* The reply to an HMGET: of "@state=PENDING task=plain" those fields that the command asks for, nil for all others. */
static inline struct reply *hash_reply(size_t command, const char *fields)
{
	char resp[4096], spec[1024];
	size_t n = fx.x.cmds[command].n, len = 0;
	make_spec(spec, sizeof spec, fields);
	len += (size_t)snprintf(resp, sizeof resp, "*%zu\r\n", n - 2);
	for (size_t i = 2; i < n; i++) {
		size_t width;
		bool whole = strcmp(argument(command, i), "spec") == 0;
		const char *value = whole ? spec : field_value(fields, argument(command, i), &width);
		if (value)
			len += (size_t)snprintf(resp + len, sizeof resp - len, "$%zu\r\n%.*s\r\n",
			        whole ? strlen(spec) : width, whole ? (int)strlen(spec) : (int)width, value);
		else
			len += (size_t)snprintf(resp + len, sizeof resp - len, "$-1\r\n");
	}
	return reply_of(resp);
}

/* Gives the phase its replies (as many as there are commands, then NULL; "@..." as hash_reply) and lets the handler answer. */
static inline enum step answer(const char *first, ...)
{
	struct exchange *x = &fx.x;
	va_list args;
	va_start(args, first);
	const char *resp = first;
	for (size_t i = x->first; i < x->n; i++, resp = va_arg(args, const char *)) {
		assert_non_null(resp);
		x->replies[i] = resp[0] == '@' ? hash_reply(i, resp) : reply_of(resp);
	}
	assert_null(resp);
	va_end(args);
	return router_answer(x);
}

/* Is text one of the command's arguments? */
static inline int has_argument(size_t command, const char *text)
{
	for (size_t i = 0; i < fx.x.cmds[command].n; i++)
		if (strcmp(argument(command, i), text) == 0)
			return 1;
	return 0;
}

static inline const char *body(void)
{
	return buf_str(&fx.x.res.body);
}

static inline void assert_answer(int status, const char *text)
{
	assert_int_equal(fx.x.res.status, status);
	assert_string_equal(body(), text);
}

static inline void assert_error(int status, const char *message)
{
	char text[2048];
	snprintf(text, sizeof text, "{\"status\":\"error\",\"message\":\"%s\",\"data\":null}", message);
	assert_answer(status, text);
}

#endif
