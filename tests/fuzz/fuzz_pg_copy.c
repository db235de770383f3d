/* What a PostgreSQL source reads of COPY TO STDOUT, and what the PostgreSQL sink makes of it. Input: a byte (bit 0: binary;
 * bits 1-3: columns; bit 4: the stream begins with no header of its own), a byte of kinds, then messages, each a byte of
 * length and its bytes. libpq's functions are played here.
 * Binary: the tuples arrive as they came, and header and trailer are none. Text: what the sink writes reads as the cells
 * that the source gave; a stream of another form is an error, never a short success. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/db/pg_sink.h"
#include "shared/db/pg_source.h"
#include "shared/db/pg_text.h"
#include "tests/fuzz/fuzz.h"

#define COLUMNS_MAX 8

/* --- libpq --- */

static struct fuzz_in stream;
static bool binary, header_due;
static char counted[32];
static int results; /* that PQgetResult still has */

int PQgetCopyData(PGconn *conn, char **buffer, int async)
{
	static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
	(void)conn;
	(void)async;
	*buffer = NULL;
	if (stream.left == 0)
		return -1;
	size_t head = header_due ? sizeof header : 0, len = fuzz_byte(&stream);
	if (len > stream.left)
		len = stream.left;
	if (head + len == 0)
		return PQgetCopyData(conn, buffer, async);
	header_due = false;
	*buffer = malloc(head + len + 1); /* libpq ends a message with a NUL */
	if (!*buffer)
		abort();
	if (head)
		memcpy(*buffer, header, head);
	if (len)
		memcpy(*buffer + head, stream.at, len);
	(*buffer)[head + len] = '\0';
	stream.at += len;
	stream.left -= len;
	return (int)(head + len);
}

PGresult *PQgetResult(PGconn *conn)
{
	(void)conn;
	return results-- > 0 ? (PGresult *)(void *)counted : NULL;
}

ExecStatusType PQresultStatus(const PGresult *res)
{
	(void)res;
	return PGRES_COMMAND_OK;
}

char *PQcmdTuples(PGresult *res)
{
	(void)res;
	return counted;
}

void PQclear(PGresult *res)
{
	(void)res;
}

void PQfreemem(void *ptr)
{
	free(ptr);
}

/* --- source and sink --- */

struct pipe {
	struct feed feed;
	struct pg_source *source;
	struct buf seen; /* cells and tuples as they pass */
	size_t n;
};

static void note_cells(struct pipe *p, const struct row *row)
{
	size_t bytes = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct cell *c = &row->cells[i];
		FUZZ_CHECK(c->len >= -1 && (c->len < 0) == !c->data, "cell %zu", i);
		buf_addf(&p->seen, "%d:", c->len);
		buf_add(&p->seen, c->data ? c->data : "", c->len > 0 ? (size_t)c->len : 0);
		bytes += c->len > 0 ? (size_t)c->len : 0;
	}
	FUZZ_CHECK(bytes == row->bytes, "%zu bytes, counted %zu", bytes, row->bytes);
}

static enum err_code next(struct feed *feed, struct row *row, bool *done, struct err *e)
{
	struct pipe *p = (struct pipe *)(void *)feed;
	snprintf(counted, sizeof counted, "%lld", (long long)p->source->rows);
	enum err_code rc = pg_source_next_copied(p->source, row, done, e);
	if (rc != ERR_OK || *done)
		return rc;
	if (binary)
		buf_add(&p->seen, row->raw, row->raw_len);
	else
		note_cells(p, row);
	return ERR_OK;
}

/* Reads the sink's buffer as a server would, and writes it down as note_cells does. */
static void check_text(const struct pipe *p, const struct pg_sink *sink)
{
	struct buf read;
	struct cell cells[COLUMNS_MAX];
	char room[512 * 4];
	buf_init(&read, 1 << 22);
	char *text = fuzz_copy(buf_str(&sink->buf), sink->buf.len), *end = text + sink->buf.len;
	for (char *line = text; line < end;) {
		char *feed = memchr(line, '\n', (size_t)(end - line));
		FUZZ_CHECK(feed, "a row without an end");
		FUZZ_CHECK(pg_copy_split(line, (size_t)(feed - line), cells, p->n), "%.*s", (int)(feed - line), line);
		for (size_t i = 0; i < p->n; i++) {
			struct cell *c = &cells[i];
			if (c->len > 0 && sink->columns->list[i].kind == KIND_BYTES && c->data[0] == '\\')
				pg_text_convert(PG_TEXT_BYTEA, c, room);
			buf_addf(&read, "%d:", c->len);
			buf_add(&read, c->data ? c->data : "", c->len > 0 ? (size_t)c->len : 0);
		}
		line = feed + 1;
	}
	FUZZ_CHECK(read.len == p->seen.len && memcmp(buf_str(&read), buf_str(&p->seen), read.len) == 0, "%s\n--\n%s",
	        buf_str(&read), buf_str(&p->seen));
	free(text);
	buf_fini(&read);
}

static void run(struct pg_source *source, struct pg_sink *sink)
{
	struct pipe p = {.feed = {next}, .source = source, .n = source->n_columns};
	struct err e = ERR_INIT;
	buf_init(&p.seen, 1 << 22);
	enum err_code rc = pg_sink_fill(&sink->base, &p.feed, &e);
	fuzz_check_err(rc, &e, false);
	FUZZ_CHECK(rc == ERR_OK || rc == ERR_PERMANENT, "code %d: %s", rc, e.text);
	if (rc == ERR_OK) {
		FUZZ_CHECK(stream.left == 0, "%zu bytes were not read", stream.left);
		FUZZ_CHECK(sink->rows == source->rows && source->mode == MODE_IDLE, "%lld rows", (long long)sink->rows);
		if (binary)
			FUZZ_CHECK(sink->buf.len == p.seen.len &&
			                memcmp(buf_str(&sink->buf), buf_str(&p.seen), p.seen.len) == 0,
			        "%zu bytes", sink->buf.len);
		else
			check_text(&p, sink);
	}
	pg_source_clear_row(source);
	buf_fini(&p.seen);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	static const enum kind kinds[] = {KIND_TEXT, KIND_BYTES, KIND_BOOL, KIND_FLOAT};
	stream = (struct fuzz_in){data, size};
	unsigned what = fuzz_byte(&stream), kind = fuzz_byte(&stream);
	struct pg_source source = {.mode = MODE_COPY, .conn = {.lost = ERR_TRANSIENT}};
	struct pg_sink sink = {.mode = SINK_BUFFERING};
	struct columns columns = {.engine = DB_POSTGRES};
	struct err e = ERR_INIT;
	binary = what & 1;
	header_due = binary && !(what & 16);
	results = 2;
	if (columns_resize(&columns, 1 + (what >> 1 & 7), &e) != ERR_OK)
		abort();
	for (size_t i = 0; i < columns.n; i++)
		columns.list[i].kind = kinds[kind >> (i % 4 * 2) & 3];
	source.wire = sink.wire = binary ? WIRE_PG_BINARY : WIRE_TEXT;
	sink.columns = &columns;
	buf_init(&sink.buf, 2 * PG_SINK_CHUNK);
	if (pg_source_take_columns(&source, &columns, &e) != ERR_OK || pg_sink_begin_rows(&sink, &e) != ERR_OK)
		abort();
	run(&source, &sink);
	free(source.cells);
	free(source.forms);
	free(sink.forms);
	buf_fini(&sink.buf);
	columns_fini(&columns);
}
