#include "shared/db/ch_bind.h"

#include <string.h>
#include <strings.h>

#include "shared/sql/placeholders.h"

#define NUMBER_MAX 20 /* digits of the largest UInt64 */

/* Where the reader is as to LIMIT n, m and OFFSET n. */
enum place {
	ELSEWHERE,
	BEFORE_NUMBER, /* behind the keyword, or behind the comma */
	AFTER_NUMBER,
};

struct binder {
	struct ch_statement *statement;
	const char *const *args;
	size_t n_args, used;
	struct buf *out;
	const char *copied; /* the statement is in out up to here */
	enum place place;
	const char *word; /* the token before, if that was a word; else NULL */
	size_t word_len;
	bool begun; /* a token has been seen */
};

static bool is(const char *word, size_t len, const char *text)
{
	return len == strlen(text) && strncasecmp(word, text, len) == 0;
}

static bool is_one_of(const char *word, size_t len, const char *const *texts)
{
	for (; *texts; texts++)
		if (is(word, len, *texts))
			return true;
	return false;
}

static enum ch_verb verb_of(enum sql_token kind, const char *at, size_t len)
{
	static const char *const selects[] = {"SELECT", "WITH", NULL};
	static const char *const tells[] = {"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", NULL};
	if (kind == SQL_CHAR && *at == '(')
		return CH_SELECTS;
	if (kind != SQL_WORD)
		return CH_CHANGES;
	return is_one_of(at, len, selects) ? CH_SELECTS : is_one_of(at, len, tells) ? CH_TELLS : CH_CHANGES;
}

/* Formats whose answer could be taken for ours. */
static bool is_foreign_format(const char *word, size_t len)
{
	static const char *const ours[] = {"TabSeparatedWithNamesAndTypes", "TSVWithNamesAndTypes", NULL};
	bool tabs = (len >= 3 && strncasecmp(word, "TSV", 3) == 0) ||
	        (len >= 12 && strncasecmp(word, "TabSeparated", 12) == 0);
	return tabs && !is_one_of(word, len, ours);
}

static void see_word(struct binder *b, const char *at, size_t len)
{
	if (!b->word)
		return;
	if (is(b->word, b->word_len, "WITH") && is(at, len, "TOTALS"))
		b->statement->totals = true;
	if (is(b->word, b->word_len, "FORMAT") && is_foreign_format(at, len))
		b->statement->format = true;
}

static bool is_number(const char *text)
{
	size_t len = strlen(text);
	return len > 0 && len <= NUMBER_MAX && strspn(text, "0123456789") == len;
}

void ch_bind_literal(struct buf *out, const char *text)
{
	buf_addc(out, '\'');
	while (*text) {
		size_t plain = strcspn(text, "\\'");
		buf_add(out, text, plain);
		text += plain;
		if (*text) {
			buf_addc(out, '\\');
			buf_addc(out, *text++);
		}
	}
	buf_addc(out, '\'');
}

/* Would the byte and a value beside it read as one word, or as one string? */
static bool is_sticky(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80 ||
	        (c && strchr("_$'\"`", c));
}

static void bind_value(struct binder *b)
{
	const char *arg = b->args ? b->args[b->used - 1] : b->place == BEFORE_NUMBER ? "1" : NULL;
	if (!arg)
		buf_addstr(b->out, "NULL");
	else if (b->place == BEFORE_NUMBER && is_number(arg))
		buf_addstr(b->out, arg);
	else
		ch_bind_literal(b->out, arg);
}

static void bind(struct binder *b, char next)
{
	if (b->used++ >= b->n_args)
		return;
	if (b->out->len && is_sticky(b->out->data[b->out->len - 1]))
		buf_addc(b->out, ' ');
	bind_value(b);
	if (is_sticky(next))
		buf_addc(b->out, ' ');
}

static enum place next_place(enum place place, enum sql_token kind, const char *at, size_t len)
{
	static const char *const keywords[] = {"LIMIT", "OFFSET", NULL};
	if (kind == SQL_WORD)
		return is_one_of(at, len, keywords) ? BEFORE_NUMBER : ELSEWHERE;
	if (place == ELSEWHERE)
		return ELSEWHERE;
	if (kind == SQL_PLACEHOLDER || (kind == SQL_CHAR && *at >= '0' && *at <= '9'))
		return AFTER_NUMBER;
	return kind == SQL_CHAR && *at == ',' && place == AFTER_NUMBER ? BEFORE_NUMBER : ELSEWHERE;
}

static void take_token(void *ctx, enum sql_token kind, const char *at, size_t len)
{
	struct binder *b = ctx;
	if (!b->begun)
		b->statement->verb = verb_of(kind, at, len);
	b->begun = true;
	if (kind == SQL_WORD)
		see_word(b, at, len);
	if (kind == SQL_PLACEHOLDER) {
		buf_add(b->out, b->copied, (size_t)(at - b->copied));
		bind(b, at[len]); /* the NUL at the end of all */
		b->copied = at + len;
	}
	b->place = next_place(b->place, kind, at, len);
	b->word = kind == SQL_WORD ? at : NULL;
	b->word_len = len;
}

enum err_code ch_bind(const char *sql, const char *const *args, size_t n_args, struct buf *out,
        struct ch_statement *statement, struct err *e)
{
	*statement = (struct ch_statement){.verb = CH_CHANGES};
	struct binder b = {.statement = statement, .args = args, .n_args = n_args, .out = out, .copied = sql};
	struct placeholders found;
	enum err_code rc = placeholders_walk(DB_CLICKHOUSE, sql, strlen(sql), take_token, &b, &found, e);
	if (rc != ERR_OK)
		return err_set(e, ERR_PERMANENT, "line %d of the query: the statement cannot be read", found.line);
	if (b.used != n_args)
		return err_set(e, ERR_PERMANENT, "the query takes %zu arguments, got %zu", b.used, n_args);
	if (b.copied < sql + found.len)
		buf_add(out, b.copied, (size_t)(sql + found.len - b.copied));
	if (out->nomem)
		return err_nomem(e);
	return buf_ok(out) ? ERR_OK : err_set(e, ERR_PERMANENT, "the query with its arguments is too long");
}
