/* A .sql file and the tasks of it. Input: the file's text.
 * What was read, written again, reads as the same; a task fits its statement on each of its databases. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/sql/placeholders.h"
#include "shared/tasks/task_build.h"
#include "tests/fuzz/fuzz.h"

static void check_query(const struct sqlfile_query *q, int *line)
{
	FUZZ_CHECK(q->n_tags > 0 && strcasecmp(q->tags[0].name, "name") == 0, "the first tag is no name");
	for (size_t i = 0; i < q->n_tags; i++) {
		struct sqlfile_slices slices;
		FUZZ_CHECK(q->tags[i].line > *line, "tag '%s' on line %d", q->tags[i].name, q->tags[i].line);
		*line = q->tags[i].line;
		FUZZ_CHECK(!strchr(q->tags[i].value, '\n'), "tag '%s'", q->tags[i].name);
		struct buf b;
		buf_init(&b, 1 << 21);
		buf_addf(&b, "--%s:%s", q->tags[i].name, q->tags[i].value);
		FUZZ_CHECK(sqlfile_is_tag(buf_str(&b), b.len, &slices) && slices.name_len == strlen(q->tags[i].name) &&
		                slices.value_len == strlen(q->tags[i].value),
		        "%s", buf_str(&b));
		buf_fini(&b);
	}
	FUZZ_CHECK(strlen(q->body) == q->body_len, "the body has %zu bytes", q->body_len);
	FUZZ_CHECK(q->body_len == 0 || q->body_line > *line, "the body is on line %d", q->body_line);
}

static void check_again(const struct sqlfile *f)
{
	struct buf b;
	struct sqlfile again;
	struct err e = ERR_INIT;
	buf_init(&b, SQLFILE_MAX_BYTES);
	for (size_t i = 0; i < f->n; i++) {
		for (size_t k = 0; k < f->queries[i].n_tags; k++)
			buf_addf(&b, "-- %s: %s\n", f->queries[i].tags[k].name, f->queries[i].tags[k].value);
		for (const char *p = f->queries[i].body; *p; p++) /* of several CR before a LF one is left */
			buf_addf(&b, *p == '\n' ? "\r\n" : "%c", *p);
		buf_addstr(&b, "\r\n");
	}
	FUZZ_CHECK(sqlfile_parse("f.sql", buf_str(&b), b.len, &again, &e) == ERR_OK, "%s", e.text);
	FUZZ_CHECK(again.n == f->n, "%zu queries, then %zu", f->n, again.n);
	for (size_t i = 0; i < f->n; i++) {
		const struct sqlfile_query *q = &f->queries[i], *r = &again.queries[i];
		FUZZ_CHECK(q->n_tags == r->n_tags && strcmp(q->body, r->body) == 0, "%s\n--\n%s", q->body, r->body);
		for (size_t k = 0; k < q->n_tags; k++)
			FUZZ_CHECK(strcmp(q->tags[k].name, r->tags[k].name) == 0 &&
			                strcmp(q->tags[k].value, r->tags[k].value) == 0,
			        "%s: %s", q->tags[k].name, q->tags[k].value);
	}
	sqlfile_fini(&again);
	buf_fini(&b);
}

static void check_task(const struct sqlfile_query *q)
{
	const struct config *c = fuzz_config();
	struct task t;
	struct err e = ERR_INIT;
	enum err_code rc = task_build(c, "f.sql", q, &t, &e);
	fuzz_check_err(rc, &e, false);
	FUZZ_CHECK(rc == ERR_OK || rc == ERR_INVALID, "code %d", rc);
	FUZZ_CHECK(rc == ERR_OK || strncmp(e.text, "f.sql:", 6) == 0, "%s", e.text);
	for (size_t i = 0; rc == ERR_OK && i < t.n_dbs; i++) {
		int count;
		enum db_engine engine = config_source(c, t.dbs[i])->engine;
		FUZZ_CHECK(placeholders_count(engine, t.sql, strlen(t.sql), &count, &e) == ERR_OK, "%s", e.text);
		FUZZ_CHECK(count == t.n_placeholders, "%d and %d placeholders", count, t.n_placeholders);
	}
	if (rc == ERR_OK) {
		FUZZ_CHECK(t.sql[0] && strncmp(t.sql, q->body, strlen(t.sql)) == 0, "%s", t.sql);
		FUZZ_CHECK(t.n_params == 0 || t.n_params == (size_t)t.n_placeholders, "%zu names", t.n_params);
		FUZZ_CHECK(t.name[0] && strlen(t.name) <= TASK_NAME_MAX, "%s", t.name);
		FUZZ_CHECK(t.n_dbs > 0 && t.n_results > 0 && t.concurrency >= 0 && t.timeout_ms >= -1, "%s", t.name);
	}
	task_fini(&t);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct sqlfile f;
	struct err e = ERR_INIT;
	int line = 0;
	enum err_code rc = sqlfile_parse("f.sql", (const char *)data, size, &f, &e);
	fuzz_check_err(rc, &e, false);
	if (rc != ERR_OK) {
		FUZZ_CHECK(rc == ERR_INVALID && strncmp(e.text, "f.sql:", 6) == 0, "%s", e.text);
		FUZZ_CHECK(f.n == 0 && !f.text, "something is left");
		return;
	}
	for (size_t i = 0; i < f.n; i++) {
		check_query(&f.queries[i], &line);
		check_task(&f.queries[i]);
	}
	check_again(&f);
	sqlfile_fini(&f);
}
