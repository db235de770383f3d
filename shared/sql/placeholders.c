#include "shared/sql/placeholders.h"

#include <stdbool.h>
#include <string.h>

/* One pass over the text: white space and comments are skipped, and the rest is read token by token, only as far as it
 * matters where strings and comments begin and end. */
struct scan {
	enum db_engine engine;
	const char *begin, *at, *end;
	const char *statement_end; /* behind the last token before the ';' */
	bool ended;                /* a ';' was read */
	int count;
	unsigned char seen[PLACEHOLDERS_MAX / 8 + 1]; /* bit n: $n is used */
	struct placeholders *out;
	sql_token_fn token; /* NULL: nobody looks */
	void *ctx;
	struct err *e;
};

static enum err_code PRINTF_LIKE(3, 4) fail(struct scan *s, const char *where, const char *fmt, ...)
{
	int line = 1;
	for (const char *p = s->begin; p < where; p++)
		line += *p == '\n';
	s->out->line = line;
	va_list args;
	va_start(args, fmt);
	err_vset(s->e, ERR_INVALID, fmt, args);
	va_end(args);
	return ERR_INVALID;
}

/* The byte n behind the one that is read, NUL behind the end (the text may hold no NUL: sqlfile.c sees to that). */
static char peek(const struct scan *s, size_t n)
{
	return (size_t)(s->end - s->at) > n ? s->at[n] : '\0';
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* --- comments --- */

static bool at_line_comment(const struct scan *s)
{
	char c = peek(s, 0), next = peek(s, 1), third = peek(s, 2);
	switch (s->engine) {
	case DB_POSTGRES:
		return c == '-' && next == '-';
	case DB_MYSQL: /* 5--3 is 8 there: the dashes need white space or a control character behind them */
		return c == '#' || (c == '-' && next == '-' && ((unsigned char)third <= ' ' || third == 0x7f));
	case DB_CLICKHOUSE:
		return (c == '-' && next == '-') || (c == '/' && next == '/') ||
		        (c == '#' && (next == ' ' || next == '!'));
	}
	return false;
}

static void skip_line_comment(struct scan *s)
{
	while (s->at < s->end && *s->at != '\n' && !(s->engine == DB_POSTGRES && *s->at == '\r'))
		s->at++;
}

static enum err_code skip_block_comment(struct scan *s)
{
	const char *open = s->at;
	int depth = 0;
	/* MySQL runs what stands in these two, if its version is new enough; which one will run it is not known here. */
	bool conditional = s->engine == DB_MYSQL && (peek(s, 2) == '!' || (peek(s, 2) == 'M' && peek(s, 3) == '!'));
	while (s->at < s->end) {
		if (peek(s, 0) == '*' && peek(s, 1) == '/') {
			s->at += 2;
			if (--depth == 0)
				return ERR_OK;
		} else if (peek(s, 0) == '/' && peek(s, 1) == '*' && (depth == 0 || s->engine != DB_MYSQL)) {
			if (depth > 0 && s->engine == DB_CLICKHOUSE)
				return fail(s, s->at, "a comment within a comment: not every ClickHouse nests them");
			s->at += 2;
			depth++;
		} else if (conditional && *s->at == '?') {
			return fail(s, s->at, "a placeholder within a /*! comment: not every server reads it");
		} else {
			s->at++;
		}
	}
	return fail(s, open, "a comment begins with /* and has no end");
}

/* --- strings and quoted identifiers --- */

/* What stands between two of the byte at s->at; doubled, that byte is a part of it. */
static enum err_code skip_quoted(struct scan *s, bool backslash)
{
	const char *open = s->at++;
	for (; s->at < s->end; s->at++) {
		if (*s->at == *open) {
			s->at++;
			if (peek(s, 0) != *open)
				return ERR_OK;
		} else if (backslash && *s->at == '\\' && s->at + 1 < s->end) {
			s->at++;
		}
	}
	return fail(s, open, "a %s begins with %c and has no end",
	        *open == '`' || (*open == '"' && s->engine != DB_MYSQL) ? "quoted name" : "string", *open);
}

/* PostgreSQL's E'...', with backslashes. Strings that only white space with a line break parts are one string, and the
 * backslashes count in all of its parts. */
static enum err_code skip_escape_string(struct scan *s)
{
	for (;;) {
		enum err_code rc = skip_quoted(s, true);
		if (rc)
			return rc;
		const char *next = s->at;
		bool line_break = false;
		for (; next < s->end && is_space(*next); next++)
			line_break = line_break || *next == '\n' || *next == '\r';
		if (!line_break || next == s->end || *next != '\'')
			return ERR_OK;
		s->at = next;
	}
}

/* $tag$ ... $tag$ (a heredoc in ClickHouse), or else a lone dollar sign. */
static enum err_code skip_dollar_quote(struct scan *s)
{
	const char *open = s->at++;
	while (s->at < s->end && (is_word_start(*s->at) || is_digit(*s->at)))
		s->at++;
	if (peek(s, 0) != '$') {
		s->at = open + 1;
		return ERR_OK;
	}
	size_t tag = (size_t)(++s->at - open);
	const char *close = memmem(s->at, (size_t)(s->end - s->at), open, tag);
	if (close) {
		s->at = close + tag;
		return ERR_OK;
	}
	/* Not even in ClickHouse, which would read on: an argument that is put in behind it could be its end. */
	return fail(s, open, "a dollar quote begins with %.*s and has no end", tag < 64 ? (int)tag : 1, open);
}

/* --- the rest --- */

/* A name or keyword. A dollar sign within one belongs to it: a$1 is no placeholder. */
static enum err_code skip_word(struct scan *s)
{
	const char *word = s->at;
	while (s->at < s->end && (is_word_start(*s->at) || is_digit(*s->at) || *s->at == '$'))
		s->at++;
	bool escapes = s->engine == DB_POSTGRES && s->at - word == 1 && (*word == 'e' || *word == 'E');
	return escapes && peek(s, 0) == '\'' ? skip_escape_string(s) : ERR_OK;
}

static enum err_code read_dollar_number(struct scan *s)
{
	const char *dollar = s->at++;
	int n = 0;
	for (; s->at < s->end && is_digit(*s->at); s->at++)
		if (n <= PLACEHOLDERS_MAX)
			n = n * 10 + (*s->at - '0');
	if (n < 1 || n > PLACEHOLDERS_MAX)
		return fail(s, dollar, "placeholders are $1 to $%d", PLACEHOLDERS_MAX);
	s->seen[n / 8] = (unsigned char)(s->seen[n / 8] | 1u << n % 8);
	if (n > s->count)
		s->count = n;
	return ERR_OK;
}

static enum err_code read_question_mark(struct scan *s)
{
	if (s->count == PLACEHOLDERS_MAX)
		return fail(s, s->at, "more than %d placeholders", PLACEHOLDERS_MAX);
	s->count++;
	s->at++;
	return ERR_OK;
}

static enum err_code skip_token(struct scan *s, enum sql_token *kind)
{
	char c = *s->at;
	*kind = SQL_WORD;
	if (is_word_start(c))
		return skip_word(s);
	*kind = SQL_QUOTED;
	if (c == '\'')
		return skip_quoted(s, s->engine != DB_POSTGRES);
	if (c == '"')
		return skip_quoted(s, s->engine != DB_POSTGRES);
	if (c == '`' && s->engine != DB_POSTGRES)
		return skip_quoted(s, s->engine == DB_CLICKHOUSE);
	*kind = SQL_PLACEHOLDER;
	if (c == '$' && s->engine == DB_POSTGRES && is_digit(peek(s, 1)))
		return read_dollar_number(s);
	if (c == '?' && s->engine != DB_POSTGRES)
		return read_question_mark(s);
	*kind = SQL_CHAR;
	if (c == '$' && s->engine != DB_MYSQL) {
		const char *dollar = s->at;
		enum err_code rc = skip_dollar_quote(s);
		if (s->at - dollar > 1)
			*kind = SQL_QUOTED;
		return rc;
	}
	s->at++;
	return ERR_OK;
}

static enum err_code read_token(struct scan *s)
{
	const char *at = s->at;
	enum sql_token kind;
	enum err_code rc = skip_token(s, &kind);
	if (!rc && s->token)
		s->token(s->ctx, kind, at, (size_t)(s->at - at));
	return rc;
}

static enum err_code scan_all(struct scan *s)
{
	while (s->at < s->end) {
		enum err_code rc = ERR_OK;
		if (is_space(*s->at)) {
			s->at++;
		} else if (at_line_comment(s)) {
			skip_line_comment(s);
		} else if (s->at[0] == '/' && peek(s, 1) == '*') {
			rc = skip_block_comment(s);
		} else if (*s->at == ';') {
			s->ended = true;
			s->at++;
		} else if (s->ended) {
			return fail(s, s->at,
			        "text stands behind the ';' that ends the statement: a task is one statement");
		} else {
			rc = read_token(s);
			s->statement_end = s->at;
		}
		if (rc)
			return rc;
	}
	for (int n = 1; s->engine == DB_POSTGRES && n < s->count; n++)
		if (!(s->seen[n / 8] & 1u << n % 8))
			return fail(s, s->begin, "$%d is used but $%d is not", s->count, n);
	return ERR_OK;
}

enum err_code placeholders_walk(enum db_engine engine, const char *sql, size_t len, sql_token_fn token, void *ctx,
        struct placeholders *out, struct err *e)
{
	*out = (struct placeholders){.line = 1};
	struct scan s = {
	        .engine = engine,
	        .begin = sql,
	        .at = sql,
	        .end = sql + len,
	        .statement_end = sql,
	        .out = out,
	        .token = token,
	        .ctx = ctx,
	        .e = e,
	};
	enum err_code rc = scan_all(&s);
	if (!rc) {
		out->count = s.count;
		out->len = (size_t)(s.statement_end - sql);
	}
	return rc;
}

enum err_code placeholders_scan(
        enum db_engine engine, const char *sql, size_t len, struct placeholders *out, struct err *e)
{
	return placeholders_walk(engine, sql, len, NULL, NULL, out, e);
}

enum err_code placeholders_count(enum db_engine engine, const char *sql, size_t len, int *count, struct err *e)
{
	struct placeholders found;
	enum err_code rc = placeholders_scan(engine, sql, len, &found, e);
	if (rc)
		return e ? err_prefix(e, "line %d", found.line) : rc;
	*count = found.count;
	return ERR_OK;
}
