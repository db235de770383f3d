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
	int placeholders, highest, tokens;
};

static void see(void *ctx, enum sql_token kind, const char *at, size_t len)
{
	struct seen *s = ctx;
	FUZZ_CHECK(len > 0 && at >= s->end, "a token at %zd", at - s->begin);
	s->end = at + len;
	s->tokens++;
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

/* The tokens of a statement, digits left out. */
static int count_tokens(const char *sql, size_t len, int *placeholders)
{
	struct seen s = {.engine = DB_CLICKHOUSE, .begin = sql, .end = sql};
	struct placeholders out;
	struct err e = ERR_INIT;
	enum err_code rc = placeholders_walk(DB_CLICKHOUSE, sql, len, see, &s, &out, &e);
	FUZZ_CHECK(rc == ERR_OK, "%s: %s", e.text, sql);
	*placeholders = out.count;
	return s.tokens;
}

/* Each argument is a token in the place of its placeholder; all others are as they were. */
static void check_bound(const char *sql, const char *const *args, size_t n)
{
	struct err e = ERR_INIT;
	struct ch_statement statement;
	struct buf out;
	int before, after, digits = 0;
	buf_init(&out, 1 << 20);
	enum err_code rc = ch_bind(sql, args, n, &out, &statement, &e);
	FUZZ_CHECK(rc == ERR_OK, "%s", e.text);
	int tokens = count_tokens(sql, strlen(sql), &before);
	for (size_t i = 0; args && i < n; i++) /* behind LIMIT a number is a token a digit */
		digits += args[i] && args[i][0] && strspn(args[i], "0123456789") == strlen(args[i])
		        ? (int)strlen(args[i])
		        : 0;
	int bound = count_tokens(buf_str(&out), out.len, &after);
	FUZZ_CHECK(after == 0 && bound >= tokens && bound <= tokens + digits, "%d tokens, then %d: %s", tokens, bound,
	        buf_str(&out));
	buf_reset(&out);
	FUZZ_CHECK(ch_bind(sql, args, n + 1, &out, &statement, &e) == ERR_PERMANENT, "%s", sql);
	buf_fini(&out);
}

static void check_bind(const char *sql, struct fuzz_in *in)
{
	const char *args[ARGS_MAX + 1] = {NULL};
	char *texts[ARGS_MAX] = {NULL};
	int count;
	struct err e = ERR_INIT;
	for (size_t i = 0; i < ARGS_MAX; i++) {
		args[i] = texts[i] = in->left ? fuzz_text(in) : NULL;
		if (texts[i])
			check_literal(texts[i]);
	}
	enum err_code counted = placeholders_count(DB_CLICKHOUSE, sql, strlen(sql), &count, &e);
	if (counted == ERR_OK && count <= ARGS_MAX) {
		check_bound(sql, args, (size_t)count);
		check_bound(sql, NULL, (size_t)count);
	} else if (counted != ERR_OK) {
		struct ch_statement statement;
		struct buf out;
		buf_init(&out, 1 << 20);
		enum err_code rc = ch_bind(sql, NULL, 0, &out, &statement, &e);
		fuzz_check_err(rc, &e, false);
		FUZZ_CHECK(rc == ERR_PERMANENT, "%s", sql);
		buf_fini(&out);
	}
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
