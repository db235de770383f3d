/* The rows of a result on their way into COPY. A row is written in one piece into room that is surely enough; only one
 * whose room would be more than a chunk goes cell by cell, and its long cells slice by slice. */
#include "shared/db/pg_sink.h"

#include <stdlib.h>
#include <string.h>

#include "shared/db/pg_text.h"
#include "shared/db/types.h"

#define SLICE_BYTES (32u << 10) /* of a long cell */

/* How the cells of a column are written. */
enum form {
	FORM_AS_IS,   /* PostgreSQL's own text */
	FORM_TEXT,    /* another engine's, which PostgreSQL may not take */
	FORM_PARTIAL, /* the same, with values that become NULL */
	FORM_BYTES,
};

static unsigned char form_of(const struct pg_sink *s, const struct column *c)
{
	if (s->wire != WIRE_TEXT)
		return FORM_AS_IS;
	if (c->kind == KIND_BINARY || c->kind == KIND_VARBINARY || c->kind == KIND_BYTES)
		return FORM_BYTES;
	return types_is_partial(DB_POSTGRES, c) ? FORM_PARTIAL : FORM_TEXT;
}

enum err_code pg_sink_begin_rows(struct pg_sink *s, struct err *e)
{
	size_t n = s->columns->n;
	if (n > s->n_forms) {
		unsigned char *forms = realloc(s->forms, n);
		if (!forms)
			return err_nomem(e);
		s->forms = forms;
		s->n_forms = n;
	}
	for (size_t i = 0; i < n; i++)
		s->forms[i] = form_of(s, &s->columns->list[i]);
	return ERR_OK;
}

enum err_code pg_sink_put(struct pg_sink *s, const char *data, size_t len, struct err *e)
{
	const size_t slice = 1u << 20;
	for (; len > 0; data += len < slice ? len : slice, len -= len < slice ? len : slice)
		if (PQputCopyData(s->conn.pg, data, (int)(len < slice ? len : slice)) != 1)
			return pg_conn_error(&s->conn, NULL, e);
	return ERR_OK;
}

/* Adds bytes of a row: to the buffer as long as the result may be a small one, else to the stream. */
static enum err_code add(struct pg_sink *s, const char *data, size_t len, struct err *e)
{
	enum err_code rc = ERR_OK;
	if (s->mode == SINK_BUFFERING && s->buf.len + len > PG_SINK_SMALL)
		rc = pg_sink_start_stream(s, e);
	if (rc == ERR_OK && s->mode == SINK_STREAMING && s->buf.len + len > PG_SINK_CHUNK) {
		rc = pg_sink_put(s, s->buf.data, s->buf.len, e);
		buf_reset(&s->buf);
		if (rc == ERR_OK && len > PG_SINK_CHUNK / 2)
			return pg_sink_put(s, data, len, e);
	}
	if (rc == ERR_OK && !buf_add(&s->buf, data, len))
		rc = err_nomem(e);
	return rc;
}

static enum err_code add_binary_row(struct pg_sink *s, const struct row *row, struct err *e)
{
	char head[4] = {(char)(s->columns->n >> 8), (char)s->columns->n};
	enum err_code rc = add(s, head, 2, e);
	for (size_t i = 0; rc == ERR_OK && i < s->columns->n; i++) {
		uint32_t len = (uint32_t)row->cells[i].len; /* -1 for NULL, as COPY has it */
		for (int b = 0; b < 4; b++)
			head[b] = (char)(len >> (24 - 8 * b));
		rc = add(s, head, 4, e);
		if (rc == ERR_OK && row->cells[i].len > 0)
			rc = add(s, row->cells[i].data, len, e);
	}
	return rc;
}

/* --- text --- */

/* The error of a text that PostgreSQL does not take. Its own message knows no column: it looks at whole chunks. */
static enum err_code refuse(const struct pg_sink *s, size_t i, const char *why, struct err *e)
{
	return err_set(e, ERR_PERMANENT, "column '%s', row %lld: the text %s, which PostgreSQL cannot hold",
	        s->columns->list[i].name, (long long)s->rows, why);
}

static enum err_code check(const struct pg_sink *s, size_t i, const struct cell *c, unsigned odd, struct err *e)
{
	if (s->forms[i] == FORM_AS_IS || !odd)
		return ERR_OK;
	if (odd & PG_TEXT_NUL)
		return refuse(s, i, "has a NUL byte", e);
	return pg_text_is_utf8(c->data, (size_t)c->len) ? ERR_OK : refuse(s, i, "is not valid UTF-8", e);
}

static bool is_null(const struct pg_sink *s, size_t i, const struct cell *c)
{
	return c->len < 0 ||
	        (s->forms[i] == FORM_PARTIAL &&
	                !types_has_value(DB_POSTGRES, &s->columns->list[i], c->data, (size_t)c->len));
}

static char *write_null(char *at)
{
	*at++ = '\\';
	*at++ = 'N';
	return at;
}

static enum err_code write_cell(struct pg_sink *s, size_t i, const struct cell *c, char **at, struct err *e)
{
	if (is_null(s, i, c)) {
		*at = write_null(*at);
		return ERR_OK;
	}
	if (s->forms[i] == FORM_BYTES) {
		memcpy(*at, PG_COPY_HEX, 3);
		*at = pg_copy_hex(*at + 3, c->data, (size_t)c->len);
		return ERR_OK;
	}
	unsigned odd = 0;
	*at = pg_copy_text(*at, c->data, (size_t)c->len, &odd);
	return odd ? check(s, i, c, odd, e) : ERR_OK;
}

/* A cell of any length. */
static enum err_code add_cell(struct pg_sink *s, size_t i, const struct cell *c, struct err *e)
{
	char slice[PG_COPY_ROOM(SLICE_BYTES)], *at = slice;
	if (c->len <= (int)SLICE_BYTES || is_null(s, i, c)) {
		enum err_code rc = write_cell(s, i, c, &at, e);
		return rc == ERR_OK ? add(s, slice, (size_t)(at - slice), e) : rc;
	}
	bool bytes = s->forms[i] == FORM_BYTES;
	enum err_code rc = bytes ? add(s, PG_COPY_HEX, 3, e) : ERR_OK;
	unsigned odd = 0;
	for (size_t from = 0, n; rc == ERR_OK && from < (size_t)c->len; from += n) {
		n = (size_t)c->len - from < SLICE_BYTES ? (size_t)c->len - from : SLICE_BYTES;
		at = bytes ? pg_copy_hex(slice, c->data + from, n) : pg_copy_text(slice, c->data + from, n, &odd);
		rc = add(s, slice, (size_t)(at - slice), e);
	}
	return rc == ERR_OK ? check(s, i, c, odd, e) : rc;
}

static enum err_code add_long_row(struct pg_sink *s, const struct row *row, struct err *e)
{
	enum err_code rc = ERR_OK;
	for (size_t i = 0; rc == ERR_OK && i < s->columns->n; i++) {
		rc = add_cell(s, i, &row->cells[i], e);
		if (rc == ERR_OK)
			rc = add(s, i + 1 < s->columns->n ? "\t" : "\n", 1, e);
	}
	return rc;
}

/* What add does beforehand, after a row: the buffer (of two chunks) has room for one more. */
static enum err_code pass_on(struct pg_sink *s, struct err *e)
{
	if (s->mode == SINK_BUFFERING)
		return s->buf.len > PG_SINK_SMALL ? pg_sink_start_stream(s, e) : ERR_OK;
	if (s->buf.len < PG_SINK_CHUNK)
		return ERR_OK;
	enum err_code rc = pg_sink_put(s, s->buf.data, s->buf.len, e);
	buf_reset(&s->buf);
	return rc;
}

static enum err_code add_text_row(struct pg_sink *s, const struct row *row, struct err *e)
{
	size_t n = s->columns->n, room = 0;
	for (size_t i = 0; i < n; i++)
		room += PG_COPY_ROOM(row->cells[i].len > 0 ? (size_t)row->cells[i].len : 0);
	if (room > PG_SINK_CHUNK)
		return add_long_row(s, row, e);
	char *at = buf_room(&s->buf, room);
	if (!at)
		return err_nomem(e);
	for (size_t i = 0; i < n; i++) {
		enum err_code rc = write_cell(s, i, &row->cells[i], &at, e);
		if (rc != ERR_OK)
			return rc;
		*at++ = i + 1 < n ? '\t' : '\n';
	}
	*at = '\0';
	s->buf.len = (size_t)(at - s->buf.data);
	return pass_on(s, e);
}

static enum err_code add_row(struct pg_sink *s, const struct row *row, struct err *e)
{
	s->rows++;
	if (row->bytes > s->widest)
		s->widest = row->bytes;
	if (row->raw)
		return add(s, row->raw, row->raw_len, e);
	return s->wire == WIRE_PG_BINARY ? add_binary_row(s, row, e) : add_text_row(s, row, e);
}

enum err_code pg_sink_fill(struct sink *base, struct feed *feed, struct err *e)
{
	struct row row;
	for (bool done = false;;) {
		enum err_code rc = feed->next(feed, &row, &done, e);
		if (rc == ERR_OK && !done)
			rc = add_row(pg_sink_self(base), &row, e);
		if (rc != ERR_OK || done)
			return rc;
	}
}
