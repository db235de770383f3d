#include "shared/db/mysql_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared/db/types.h"

#define ROW_BUDGET (32u << 10) /* bytes of a table's row that declared lengths may take */
#define CHARACTER_BYTES 4      /* utf8mb4 */
#define COUNT_FROM 4096        /* bytes of a cell from which on its escapes are counted before room is made */

/* What stands behind a backslash; 0: the byte is written as it is. */
static const char escapes[256] = {['\0'] = '0', ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r', ['\\'] = '\\', ['\''] = '\''};

enum mysql_cell mysql_rows_form(const struct column *c)
{
	if (c->kind == KIND_BINARY || c->kind == KIND_VARBINARY || c->kind == KIND_BYTES)
		return MYSQL_CELL_BYTES;
	if (types_is_text(DB_MYSQL, c))
		return MYSQL_CELL_TEXT;
	if (c->kind == KIND_BIT)
		return MYSQL_CELL_BIT;
	return types_is_partial(DB_MYSQL, c) ? MYSQL_CELL_PARTIAL : MYSQL_CELL_TEXT;
}

/* --- names and columns --- */

void mysql_rows_name(struct buf *out, const char *name)
{
	buf_addc(out, '`');
	for (; *name; name++) {
		if (*name == '`')
			buf_addc(out, '`');
		buf_addc(out, *name);
	}
	buf_addc(out, '`');
}

static size_t escaped_len(const char *data, size_t len)
{
	size_t n = len;
	for (size_t i = 0; i < len; i++)
		n += escapes[(unsigned char)data[i]] != 0;
	return n;
}

static void add_escaped(struct buf *out, const char *data, size_t len)
{
	size_t room = len < COUNT_FROM ? 2 * len : escaped_len(data, len);
	char *begin = buf_room(out, room), *at = begin;
	if (!at)
		return;
	for (size_t i = 0; i < len; i++) {
		char escape = escapes[(unsigned char)data[i]];
		if (escape)
			*at++ = '\\';
		*at++ = escape ? escape : data[i];
	}
	out->len += (size_t)(at - begin);
	*at = '\0';
}

void mysql_rows_literal(struct buf *out, const char *text)
{
	buf_addc(out, '\'');
	add_escaped(out, text, strlen(text));
	buf_addc(out, '\'');
}

/* What the column takes of the row's 65,535 bytes beyond what every type takes. */
static size_t declared_bytes(const struct column *c)
{
	if (types_is_text(DB_MYSQL, c))
		return 0;
	switch (c->kind) {
	case KIND_CHAR:
	case KIND_VARCHAR:
		return (size_t)c->length * CHARACTER_BYTES;
	case KIND_BINARY:
	case KIND_VARBINARY:
		return c->length > UINT16_MAX ? 0 : (size_t)c->length; /* such a long one is a BLOB already */
	case KIND_UUID:
	case KIND_INET:
		return (size_t)50 * CHARACTER_BYTES;
	default:
		return 0;
	}
}

void mysql_rows_columns(struct buf *out, const struct columns *columns)
{
	size_t left = ROW_BUDGET;
	buf_addc(out, '(');
	for (size_t i = 0; i < columns->n; i++) {
		struct column c = columns->list[i];
		size_t bytes = declared_bytes(&c);
		if (bytes > left) {
			c.kind = c.kind == KIND_BINARY || c.kind == KIND_VARBINARY ? KIND_BYTES : KIND_TEXT;
			c.length = (int64_t)bytes;
			bytes = 0;
		}
		left -= bytes;
		if (i)
			buf_addstr(out, ", ");
		mysql_rows_name(out, c.name);
		buf_addc(out, ' ');
		types_declare(DB_MYSQL, &c, out);
	}
	buf_addc(out, ')');
}

bool mysql_rows_keeps_names(const struct columns *columns)
{
	for (size_t i = 0; i < columns->n; i++) {
		unsigned char first = (unsigned char)columns->list[i].name[0];
		if (first <= ' ' || first == 0x7f)
			return false;
	}
	return true;
}

/* --- rows --- */

void mysql_rows_load(struct buf *out, const struct columns *columns)
{
	const char *joint = " SET ";
	buf_addstr(out, " CHARACTER SET binary (");
	for (size_t i = 0; i < columns->n; i++) {
		if (i)
			buf_addstr(out, ", ");
		if (mysql_rows_form(&columns->list[i]) == MYSQL_CELL_BIT)
			buf_addf(out, "@v%zu", i);
		else
			mysql_rows_name(out, columns->list[i].name);
	}
	buf_addc(out, ')');
	for (size_t i = 0; i < columns->n; i++) {
		if (mysql_rows_form(&columns->list[i]) != MYSQL_CELL_BIT)
			continue;
		buf_addstr(out, joint);
		mysql_rows_name(out, columns->list[i].name);
		buf_addf(out, " = CAST(CONV(@v%zu, 2, 10) AS UNSIGNED)", i);
		joint = ", ";
	}
}

void mysql_rows_add(
        struct buf *out, const struct columns *columns, const unsigned char *forms, const struct cell *cells)
{
	for (size_t i = 0; i < columns->n; i++) {
		const struct cell *c = &cells[i];
		bool null = c->len < 0 ||
		        (forms[i] == MYSQL_CELL_PARTIAL &&
		                !types_has_value(DB_MYSQL, &columns->list[i], c->data, (size_t)c->len));
		if (null)
			buf_add(out, "\\N", 2);
		else
			add_escaped(out, c->data, (size_t)c->len);
		buf_addc(out, i + 1 < columns->n ? '\t' : '\n');
	}
}

const char *mysql_rows_values(
        struct buf *out, const char *at, const struct columns *columns, const unsigned char *forms, bool aliases)
{
	for (size_t i = 0; i < columns->n; i++) {
		const char end = i + 1 < columns->n ? '\t' : '\n';
		const char *to =
		        at + strcspn(at, end == '\t' ? "\t" : "\n"); /* both are escaped inside of a cell, as is NUL */
		const size_t len = (size_t)(to - at);
		if (i)
			buf_addstr(out, ", ");
		if (len == 2 && at[0] == '\\' && at[1] == 'N') {
			buf_addstr(out, "NULL");
		} else {
			buf_addstr(out,
			        forms[i] == MYSQL_CELL_BYTES         ? "_binary'"
			                : forms[i] == MYSQL_CELL_BIT ? "b'"
			                                             : "'");
			buf_add(out, at, len);
			buf_addc(out, '\'');
		}
		if (aliases) {
			buf_addstr(out, " AS ");
			mysql_rows_name(out, columns->list[i].name);
		}
		at = to + 1;
	}
	return at;
}

/* 64-bit FNV-1a, with an end after each text. */
void mysql_rows_hash(const char *a, const char *b, char out[MYSQL_ROWS_HASH])
{
	uint64_t hash = UINT64_C(14695981039346656037);
	const char *const texts[] = {a, b};
	for (size_t t = 0; t < 2; t++)
		for (const char *p = texts[t];; p++) {
			hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
			if (!*p)
				break;
		}
	snprintf(out, MYSQL_ROWS_HASH, "%016" PRIx64, hash);
}
