/* COPY (query) TO STDOUT: how the PostgreSQL source reads a query without arguments. In binary the tuples go to the sink
 * as they are, in text a line is taken apart. The columns are described in the same transaction, whose locks keep them as
 * described.
 */
#include "shared/db/pg_source.h"

#include <stdio.h>
#include <string.h>

#include "shared/db/pg_text.h"

#define COPY_SIGNATURE 19 /* bytes of the header of COPY's binary form, without its extension */

/* Begins the transaction and describes the columns under its locks, in one round trip. */
static enum err_code open_copy(struct pg_source *s, const struct query *q, const struct pg_prepared *p,
        struct columns *out, bool *outdated, struct err *e)
{
	char limit[24];
	snprintf(limit, sizeof limit, "%lld", (long long)q->timeout_ms);
	const char *set[] = {q->tag, limit};
	PGconn *pg = s->conn.pg;
	bool sent = PQenterPipelineMode(pg) && PQsendQueryParams(pg, "BEGIN", 0, NULL, NULL, NULL, NULL, 0) &&
	        PQsendQueryPrepared(pg, PG_SOURCE_SET, 2, set, NULL, NULL, 0) && PQsendDescribePrepared(pg, p->name) &&
	        PQpipelineSync(pg);
	if (!sent)
		return err_set(e, s->conn.lost, "connection lost: %s", PQerrorMessage(pg));
	enum err_code rc = ERR_OK;
	for (int i = 0; i < 3; i++) { /* each result is followed by a NULL */
		PGresult *res = PQgetResult(pg);
		ExecStatusType status = PQresultStatus(res);
		bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
		if (!ok && rc == ERR_OK) {
			rc = pg_conn_error(&s->conn, res, e);
			*outdated = pg_source_is_outdated(res);
		}
		PQclear(res);
		PQclear(PQgetResult(pg));
	}
	enum err_code left = pg_source_leave_pipeline(s, rc == ERR_OK ? e : NULL);
	s->mode = MODE_COPY;
	rc = rc == ERR_OK ? left : rc;
	if (rc == ERR_OK)
		rc = columns_copy(out, &p->columns, e);
	return rc == ERR_OK ? pg_source_take_columns(s, out, e) : rc;
}

enum err_code pg_source_begin_copy(struct pg_source *s, const struct query *q, const struct pg_prepared *p,
        struct columns *out, bool *outdated, bool *refused, struct err *e)
{
	enum err_code rc = open_copy(s, q, p, out, outdated, e);
	if (rc != ERR_OK) {
		s->failed = true;
		return rc;
	}
	struct buf sql;
	buf_init(&sql, 2 << 20);
	buf_addf(&sql, "COPY (%s\n) TO STDOUT (FORMAT %s); COMMIT", q->sql,
	        s->wire == WIRE_PG_BINARY ? "binary" : "text");
	PGresult *res = buf_ok(&sql) ? PQexec(s->conn.pg, buf_str(&sql)) : NULL;
	buf_fini(&sql);
	if (PQresultStatus(res) == PGRES_COPY_OUT) {
		s->headed = false;
		s->rows = 0;
	} else {
		rc = res ? pg_conn_error(&s->conn, res, e) : err_nomem(e);
		s->failed = true;
		*refused = rc == ERR_PERMANENT;
	}
	PQclear(res);
	return rc;
}

static enum err_code end_copy(struct pg_source *s, struct err *e)
{
	PGresult *res = PQgetResult(s->conn.pg);
	bool ok = PQresultStatus(res) == PGRES_COMMAND_OK;
	int64_t said = ok ? pg_i64(PQcmdTuples(res)) : 0;
	enum err_code rc = ok ? ERR_OK : pg_conn_error(&s->conn, res, e);
	PQclear(res);
	if (rc != ERR_OK) {
		s->failed = true;
		return rc;
	}
	while ((res = PQgetResult(s->conn.pg))) { /* of COMMIT */
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			rc = pg_conn_error(&s->conn, res, e);
		PQclear(res);
	}
	if (rc == ERR_OK && said != s->rows)
		rc = err_set(e, ERR_TRANSIENT, "the source counted %lld rows, %lld came", (long long)said,
		        (long long)s->rows);
	if (rc == ERR_OK)
		s->mode = MODE_IDLE;
	return rc;
}

/* The header comes with the first row, the trailer (-1 as the field count) by itself or behind the header. *more: there
 * is no row in this message. */
static enum err_code take_tuple(struct pg_source *s, size_t n, struct row *row, bool *more, struct err *e)
{
	const char *data = s->copied;
	if (!s->headed) {
		if (n < COPY_SIGNATURE || memcmp(data, "PGCOPY\n\377\r\n", 11) != 0)
			return err_set(e, ERR_PERMANENT, "the source's COPY stream begins with no header");
		s->headed = true;
		data += COPY_SIGNATURE;
		n -= COPY_SIGNATURE;
	}
	*more = n == 0 || (n == 2 && memcmp(data, "\377\377", 2) == 0);
	*row = (struct row){.raw = data, .raw_len = n, .bytes = n};
	return ERR_OK;
}

/* The message is ours: cells are resolved and converted where they stand. */
static enum err_code take_line(struct pg_source *s, size_t n, struct row *row, struct err *e)
{
	if (n == 0 || s->copied[n - 1] != '\n' || !pg_copy_split(s->copied, n - 1, s->cells, s->n_columns))
		return err_set(e, ERR_PERMANENT, "the source's COPY stream has a line of another form");
	size_t bytes = 0;
	for (size_t i = 0; i < s->n_columns; i++) {
		struct cell *c = &s->cells[i];
		if (c->len >= 0 && s->forms[i] != PG_TEXT_AS_IS)
			pg_text_convert((enum pg_text_form)s->forms[i], c, s->copied + (c->data - s->copied));
		bytes += c->len > 0 ? (size_t)c->len : 0;
	}
	*row = (struct row){.cells = s->cells, .bytes = bytes};
	return ERR_OK;
}

/* PostgreSQL sends one message a row. */
enum err_code pg_source_next_copied(struct pg_source *s, struct row *row, bool *done, struct err *e)
{
	for (bool more = true; more;) {
		pg_source_clear_row(s);
		int len = PQgetCopyData(s->conn.pg, &s->copied, 0);
		if (len == -2)
			s->failed = true;
		if (len < 0) {
			*done = true;
			return len == -1 ? end_copy(s, e) : pg_conn_error(&s->conn, NULL, e);
		}
		more = false;
		enum err_code rc = s->wire == WIRE_PG_BINARY ? take_tuple(s, (size_t)len, row, &more, e)
		                                             : take_line(s, (size_t)len, row, e);
		if (rc != ERR_OK)
			return rc;
	}
	s->rows++;
	*done = false;
	return ERR_OK;
}
