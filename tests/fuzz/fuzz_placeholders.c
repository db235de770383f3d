/* A statement as each engine reads it, and ClickHouse's with its arguments put in. Input: a byte that chooses the engine;
 * the statement; arguments, 0xff between them.
 * Tokens follow each other within the statement, the placeholders among them are as many as are counted, and a statement
 * whose arguments are in it has none. */
#include <stdlib.h>
#include <string.h>

#include "shared/db/ch_bind.h"
#include "shared/sql/placeholders.h"
#include "tests/fuzz/fuzz.h"

#define ARGS_MAX 16

struct seen {
	enum db_engine engine;
	const char *begin, *end; /* of what has been seen */
	int placeholders, highest;
};

static void see(void *ctx, enum sql_token kind, const char *at, size_t len)
{
	struct seen *s = ctx;
	FUZZ_CHECK(len > 0 && at >= s->end, "a token at %zd", at - s->begin);
	s->end = at + len;
	if (kind != SQL_PLACEHOLDER)
		return;
	s->placeholders++;
	int n = 0;
	for (size_t i = 1; i < len; i++)
		n = n * 10 + (at[i] - '0');
	if (s->engine == DB_POSTGRES)
		FUZZ_CHECK(n >= 1 && n <= PLACEHOLDERS_MAX, "$%d", n);
	else
		FUZZ_CHECK(len == 1 && *at == '?', "%.*s", (int)len, at);
	if (n > s->highest)
		s->highest = n;
}

static void check_scan(enum db_engine engine, const char *sql, size_t len)
{
	struct seen s = {.engine = engine, .begin = sql, .end = sql};
	struct placeholders out, again;
	struct err e = ERR_INIT;
	int lines = 1;
	for (size_t i = 0; i < len; i++)
		lines += sql[i] == '\n';
	enum err_code rc = placeholders_walk(engine, sql, len, see, &s, &out, &e);
	fuzz_check_err(rc, &e, false);
	if (rc != ERR_OK) {
		FUZZ_CHECK(rc == ERR_INVALID && out.line >= 1 && out.line <= lines, "line %d of %d", out.line, lines);
		return;
	}
	FUZZ_CHECK(out.count <= PLACEHOLDERS_MAX && out.len <= len, "%d placeholders", out.count);
	FUZZ_CHECK(out.count == (engine == DB_POSTGRES ? s.highest : s.placeholders), "%d are counted", out.count);
	FUZZ_CHECK(sql + out.len == s.end, "%zu bytes, the last token ends at %zd", out.len, s.end - sql);
	/* Without what stands behind its last token it is the same statement. */
	char *cut = fuzz_copy(sql, out.len);
	rc = placeholders_scan(engine, cut, out.len, &again, &e);
	FUZZ_CHECK(rc == ERR_OK && again.count == out.count && again.len <= out.len, "%d, then %d: %s", out.count,
	        again.count, e.text);
	free(cut);
}

/* A literal is one token, whatever stands in it. */
static void check_literal(const char *arg)
{
	struct buf b;
	struct placeholders out;
	struct seen s = {.engine = DB_CLICKHOUSE};
	struct err e = ERR_INIT;
	buf_init(&b, 1 << 20);
	ch_bind_literal(&b, arg);
	s.begin = s.end = b.data;
	FUZZ_CHECK(placeholders_walk(DB_CLICKHOUSE, b.data, b.len, see, &s, &out, &e) == ERR_OK, "%s", e.text);
	FUZZ_CHECK(out.count == 0 && out.len == b.len, "%s", b.data);
	buf_fini(&b);
}

static void check_bind(const char *sql, struct fuzz_in *in)
{
	const char *args[ARGS_MAX];
	char *texts[ARGS_MAX] = {NULL};
	int count;
	struct err e = ERR_INIT;
	struct ch_statement statement;
	struct buf out;
	for (size_t i = 0; i < ARGS_MAX; i++) {
		args[i] = texts[i] = in->left ? fuzz_text(in) : NULL;
		if (texts[i])
			check_literal(texts[i]);
	}
	buf_init(&out, 1 << 20);
	enum err_code counted = placeholders_count(DB_CLICKHOUSE, sql, strlen(sql), &count, &e);
	if (counted == ERR_OK && count <= ARGS_MAX) {
		enum err_code rc = ch_bind(sql, args, (size_t)count, &out, &statement, &e);
		FUZZ_CHECK(rc == ERR_OK, "%s", e.text);
		int left = 0;
		rc = placeholders_count(DB_CLICKHOUSE, buf_str(&out), out.len, &left, &e);
		FUZZ_CHECK(rc == ERR_OK && left == 0, "%s: %s", e.text, buf_str(&out));
		buf_reset(&out);
		FUZZ_CHECK(ch_bind(sql, args, (size_t)count + 1, &out, &statement, &e) == ERR_PERMANENT, "%s", sql);
		buf_reset(&out);
		FUZZ_CHECK(ch_bind(sql, NULL, (size_t)count, &out, &statement, &e) == ERR_OK, "%s", e.text);
	} else if (counted != ERR_OK) {
		enum err_code rc = ch_bind(sql, NULL, 0, &out, &statement, &e);
		fuzz_check_err(rc, &e, false);
		FUZZ_CHECK(rc == ERR_PERMANENT, "%s", sql);
	}
	buf_fini(&out);
	for (size_t i = 0; i < ARGS_MAX; i++)
		free(texts[i]);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static const enum db_engine engines[] = {DB_POSTGRES, DB_MYSQL, DB_CLICKHOUSE};
	struct fuzz_in in = {data, size};
	enum db_engine engine = engines[fuzz_byte(&in) % 3];
	char *sql = fuzz_text(&in), *exact = fuzz_copy(sql, strlen(sql));
	check_scan(engine, exact, strlen(sql));
	if (engine == DB_CLICKHOUSE)
		check_bind(sql, &in);
	free(exact);
	free(sql);
}
