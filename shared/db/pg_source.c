/* PostgreSQL as a source.
 *
 * Two ways to read. With arguments: a prepared statement, executed in pipeline mode together with the statement that
 * says whose query it is (one round trip), rows one at a time. Without arguments: COPY (pg_source_copy.c).
 */
#include "shared/db/pg_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/clock.h"
#include "shared/db/db_socket.h"
#include "shared/db/pg_text.h"
#include "shared/db/pg_types.h"

#define CONVERTED_MAX (UINT32_C(2) << 30) /* bytes of a row's texts */
#define CONVERTED_KEPT (1u << 20)         /* more is given back after the query */
#define GONE_WITHIN_MS 2000               /* how long abort and evict wait until the query has ended */

static struct pg_source *self(struct source *s)
{
	return (struct pg_source *)(void *)s;
}

static void fini_prepared(struct stmt *s)
{
	columns_fini(&((struct pg_prepared *)(void *)s)->columns);
}

static struct source *make(const struct cfg_source *cfg)
{
	struct pg_source *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->base.ops = &pg_source_ops;
	s->cfg = cfg;
	pg_conn_init(&s->conn, ERR_TRANSIENT);
	stmt_cache_init(&s->cache, sizeof(struct pg_prepared), fini_prepared);
	buf_init(&s->converted, CONVERTED_MAX);
	return &s->base;
}

void pg_source_clear_row(struct pg_source *s)
{
	PQclear(s->res);
	s->res = NULL;
	if (s->copied)
		PQfreemem(s->copied);
	s->copied = NULL;
}

static void disconnect(struct pg_source *s)
{
	pg_source_clear_row(s);
	stmt_cache_clear(&s->cache);
	pg_conn_close(&s->conn);
	s->mode = MODE_IDLE;
}

static void destroy(struct source *base)
{
	if (!base)
		return;
	struct pg_source *s = self(base);
	disconnect(s);
	pg_conn_fini(&s->conn);
	buf_fini(&s->converted);
	free(s->cells);
	free(s->forms);
	free(s);
}

static enum err_code do_connect(struct source *base, struct err *e)
{
	struct pg_source *s = self(base);
	if (pg_conn_alive(&s->conn) && !stmt_cache_is_full(&s->cache))
		return ERR_OK;
	disconnect(s);
	char setup[512];
	snprintf(setup, sizeof setup,
	        "SET client_min_messages = warning; SET datestyle = ISO; SET intervalstyle = postgres; SET lc_monetary "
	        "= 'C';"
	        "SET extra_float_digits = 3; SET bytea_output = hex; SET default_transaction_read_only = %s;"
	        "PREPARE " PG_SOURCE_SET "(text, text) AS SELECT pg_catalog.set_config('application_name', $1, false),"
	        " pg_catalog.set_config('statement_timeout', $2, false)",
	        s->cfg->read_only ? "on" : "off");
	enum err_code rc = pg_conn_open(&s->conn, s->cfg->dsn, s->cfg->password, s->cfg->connect_timeout_ms, setup, e);
	/* A query whose client is dead ends by itself; servers before 14, and some systems, do not know this. */
	if (rc == ERR_OK)
		PQclear(PQexec(s->conn.pg, "SET client_connection_check_interval = 500"));
	return rc;
}

/* --- prepared statements --- */

/* *binary: the binary wire form does for all columns, also for those that travel as text (an enum's is its label). */
static enum err_code classify(struct pg_source *s, const struct columns *c, bool *binary, struct err *e)
{
	*binary = true;
	for (size_t i = 0; i < c->n; i++)
		*binary = *binary && pg_type_is_readable_in_binary(c->list[i].type);
	if (!*binary)
		return ERR_OK;
	struct buf oids;
	buf_init(&oids, 64 << 10);
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].as_text)
			buf_addf(&oids, "%s%u", oids.len ? "," : "{", c->list[i].type);
	}
	if (buf_ok(&oids) && !oids.len)
		return ERR_OK;
	enum err_code rc = buf_addc(&oids, '}') ? ERR_OK : err_nomem(e);
	const char *params[] = {buf_str(&oids)};
	PGresult *res = NULL;
	if (rc == ERR_OK)
		rc = pg_exec_params(&s->conn,
		        "SELECT count(*) FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS o(oid) WHERE NOT EXISTS "
		        "(SELECT"
		        " FROM pg_catalog.pg_type t WHERE t.oid = o.oid AND t.typtype = 'e')",
		        1, params, &res, e);
	if (rc == ERR_OK)
		*binary = strcmp(PQgetvalue(res, 0, 0), "0") == 0;
	PQclear(res);
	buf_fini(&oids);
	return rc;
}

static enum err_code describe(const PGresult *res, struct columns *out, struct err *e)
{
	int n = PQnfields(res);
	enum err_code rc = columns_resize(out, (size_t)n, e);
	out->engine = DB_POSTGRES;
	for (int i = 0; rc == ERR_OK && i < n; i++) {
		struct column *c = &out->list[i];
		column_set_name(c, PQfname(res, i));
		c->type = PQftype(res, i);
		c->typmod = PQfmod(res, i);
		c->as_text = !pg_type_is_portable(c->type);
		pg_type_set_kind(c);
	}
	return rc;
}

static enum err_code check_args(const struct pg_prepared *p, const struct query *q, struct err *e)
{
	if ((size_t)p->n_params == q->n_args)
		return ERR_OK;
	return err_set(e, ERR_PERMANENT, "the query takes %d arguments, got %zu", p->n_params, q->n_args);
}

/* Could COPY take it? It says so itself when not; this only saves asking for what is plainly none. */
static bool looks_like_select(const char *sql)
{
	static const char *const words[] = {"SELECT", "WITH", "VALUES", "TABLE"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strncasecmp(sql, words[i], strlen(words[i])) == 0)
			return true;
	return sql[0] == '(';
}

/* Prepares on the server and describes into p. */
static enum err_code prepare_new(struct pg_source *s, const struct query *q, struct pg_prepared *p, struct err *e)
{
	p->copyable = looks_like_select(q->sql);
	snprintf(p->name, sizeof p->name, "dungbeetle_%u", s->serial++);
	PGresult *res = PQprepare(s->conn.pg, p->name, q->sql, 0, NULL);
	enum err_code rc = PQresultStatus(res) == PGRES_COMMAND_OK ? ERR_OK : pg_conn_error(&s->conn, res, e);
	PQclear(res);
	if (rc != ERR_OK)
		return rc;
	res = PQdescribePrepared(s->conn.pg, p->name);
	rc = PQresultStatus(res) == PGRES_COMMAND_OK ? describe(res, &p->columns, e) : pg_conn_error(&s->conn, res, e);
	p->n_params = PQnparams(res);
	PQclear(res);
	if (rc == ERR_OK)
		rc = classify(s, &p->columns, &p->binary, e);
	return rc;
}

static enum err_code prepare(struct pg_source *s, const struct query *q, struct pg_prepared **out, struct err *e)
{
	bool fresh;
	struct stmt *kept = stmt_cache_get(&s->cache, q, &fresh);
	if (!kept)
		return err_nomem(e);
	*out = (struct pg_prepared *)(void *)kept;
	enum err_code rc = fresh ? prepare_new(s, q, *out, e) : ERR_OK;
	if (rc == ERR_OK)
		rc = check_args(*out, q, e);
	if (rc != ERR_OK && fresh)
		stmt_cache_forget(&s->cache, kept);
	return rc;
}

bool pg_source_is_outdated(const PGresult *res)
{
	return pg_is_state(res, "0A000") || pg_is_state(res, "26000");
}

static enum err_code check(struct source *base, const struct query *q, struct err *e)
{
	struct pg_source *s = self(base);
	struct pg_prepared *p;
	enum err_code rc = prepare(s, q, &p, e);
	if (rc == ERR_OK && p->columns.n == 0)
		return err_set(e, ERR_PERMANENT, "the query returns no columns");
	return rc;
}

/* --- rows: prepared statement, single-row mode --- */

enum err_code pg_source_leave_pipeline(struct pg_source *s, struct err *e)
{
	for (int nulls = 0; nulls < 2;) {
		PGresult *res = PQgetResult(s->conn.pg);
		ExecStatusType status = PQresultStatus(res);
		nulls = res ? 0 : nulls + 1;
		PQclear(res);
		if (status == PGRES_PIPELINE_SYNC)
			break;
	}
	s->mode = MODE_IDLE;
	if (!PQexitPipelineMode(s->conn.pg))
		return err_set(e, s->conn.lost, "connection lost: %s", PQerrorMessage(s->conn.pg));
	return ERR_OK;
}

static enum err_code send_rows(
        struct pg_source *s, const struct query *q, const struct pg_prepared *p, bool binary, struct err *e)
{
	char limit[24];
	snprintf(limit, sizeof limit, "%lld", (long long)q->timeout_ms);
	const char *set[] = {q->tag, limit};
	PGconn *pg = s->conn.pg;
	int n = (int)q->n_args;
	s->mode = MODE_ROWS;
	s->failed = false;
	bool ok = PQenterPipelineMode(pg) && PQsendQueryPrepared(pg, PG_SOURCE_SET, 2, set, NULL, NULL, 0) &&
	        (p ? PQsendQueryPrepared(pg, p->name, n, q->args, NULL, NULL, binary)
	           : PQsendQueryParams(pg, q->sql, n, NULL, q->args, NULL, NULL, 0)) &&
	        PQpipelineSync(pg);
	return ok ? ERR_OK : err_set(e, s->conn.lost, "connection lost: %s", PQerrorMessage(pg));
}

/* Reads up to the query's first result, which stays in s->res. *outdated: preparing anew may help. */
static enum err_code first_result(struct pg_source *s, bool *outdated, struct err *e)
{
	PGresult *res = PQgetResult(s->conn.pg); /* of PG_SOURCE_SET */
	bool ok = PQresultStatus(res) == PGRES_TUPLES_OK;
	if (ok) {
		PQclear(res);
		PQclear(PQgetResult(s->conn.pg)); /* NULL: its end */
		PQsetSingleRowMode(s->conn.pg);
		res = PQgetResult(s->conn.pg);
		ExecStatusType status = PQresultStatus(res);
		ok = status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
	}
	*outdated = !ok && pg_source_is_outdated(res);
	s->failed = !ok;
	if (ok) {
		s->res = res;
		s->fresh = true;
		return ERR_OK;
	}
	enum err_code rc = pg_conn_error(&s->conn, res, e);
	PQclear(res);
	return rc;
}

enum err_code pg_source_take_columns(struct pg_source *s, const struct columns *c, struct err *e)
{
	if (c->n > s->n_cells) {
		struct cell *cells = realloc(s->cells, c->n * sizeof *cells);
		if (!cells)
			return err_nomem(e);
		s->cells = cells;
		unsigned char *forms = realloc(s->forms, c->n);
		if (!forms)
			return err_nomem(e);
		s->forms = forms;
		s->n_cells = c->n;
	}
	s->n_columns = c->n;
	for (size_t i = 0; i < c->n; i++)
		s->forms[i] = s->wire == WIRE_TEXT ? (unsigned char)pg_text_form(&c->list[i]) : PG_TEXT_AS_IS;
	return ERR_OK;
}

static enum err_code begin_rows(struct pg_source *s, const struct query *q, const struct pg_prepared *p, unsigned wires,
        struct columns *out, enum wire *wire, bool *outdated, struct err *e)
{
	bool binary = p && p->binary && (wires & WIRE_PG_BINARY);
	*wire = s->wire = binary ? WIRE_PG_BINARY : (wires & WIRE_PG_TEXT) ? WIRE_PG_TEXT : WIRE_TEXT;
	enum err_code rc = send_rows(s, q, p, binary, e);
	if (rc == ERR_OK)
		rc = first_result(s, outdated, e);
	if (rc == ERR_OK)
		rc = p ? columns_copy(out, &p->columns, e) : describe(s->res, out, e);
	if (rc == ERR_OK)
		rc = pg_source_take_columns(s, out, e);
	if (rc == ERR_OK && PQresultStatus(s->res) == PGRES_COMMAND_OK)
		out->n = 0;
	return rc;
}

/* The row's cells as WIRE_TEXT; libpq's memory is not ours to write to. */
static enum err_code convert_row(struct pg_source *s, struct row *row, struct err *e)
{
	buf_reset(&s->converted);
	char *at = buf_room(&s->converted, row->bytes);
	if (!at)
		return err_nomem(e);
	for (size_t i = 0; i < s->n_columns; i++) {
		struct cell *c = &s->cells[i];
		if (c->len < 0 || s->forms[i] == PG_TEXT_AS_IS)
			continue;
		size_t room = (size_t)c->len;
		pg_text_convert((enum pg_text_form)s->forms[i], c, at);
		at += room;
		row->bytes = row->bytes - room + (size_t)c->len;
	}
	return ERR_OK;
}

static enum err_code next_row(struct pg_source *s, struct row *row, bool *done, struct err *e)
{
	if (!s->fresh) {
		PQclear(s->res);
		s->res = PQgetResult(s->conn.pg);
	}
	s->fresh = false;
	ExecStatusType status = PQresultStatus(s->res);
	if (status == PGRES_SINGLE_TUPLE) {
		size_t bytes = 0;
		int n = PQnfields(s->res);
		for (int i = 0; i < n; i++) {
			struct cell *c = &s->cells[i];
			bool null = PQgetisnull(s->res, 0, i);
			*c = (struct cell){
			        null ? NULL : PQgetvalue(s->res, 0, i), null ? -1 : PQgetlength(s->res, 0, i)};
			bytes += null ? 0 : (size_t)c->len;
		}
		*row = (struct row){.cells = s->cells, .bytes = bytes};
		*done = false;
		return s->wire == WIRE_TEXT ? convert_row(s, row, e) : ERR_OK;
	}
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		s->failed = true;
		return pg_conn_error(&s->conn, s->res, e);
	}
	*done = true;
	pg_source_clear_row(s);
	if (s->converted.cap > CONVERTED_KEPT)
		buf_fini(&s->converted);
	return pg_source_leave_pipeline(s, e);
}

/* --- the interface --- */

static void roll_back(struct pg_source *s)
{
	PQclear(PQexec(s->conn.pg, "ROLLBACK"));
	s->mode = MODE_IDLE;
}

static void recover_connection(struct pg_source *s)
{
	pg_source_clear_row(s);
	if (s->mode == MODE_ROWS && pg_source_leave_pipeline(s, NULL) != ERR_OK)
		disconnect(s);
	else if (s->mode == MODE_COPY)
		roll_back(s);
}

/* Is it to be read by COPY? For another server of PostgreSQL only in binary: its text form saves nothing there. */
static bool may_copy(const struct pg_prepared *p, const struct query *q, unsigned wires)
{
	bool fits = (wires & WIRE_PG_BINARY) ? p->binary : !(wires & WIRE_PG_TEXT);
	return p->copyable && p->columns.n && q->n_args == 0 && fits;
}

static enum err_code try_begin(struct pg_source *s, const struct query *q, unsigned wires, struct columns *out,
        enum wire *wire, bool *outdated, struct err *e)
{
	struct pg_prepared *p = NULL;
	bool refused = false;
	enum err_code rc = q->raw ? ERR_OK : prepare(s, q, &p, e);
	if (rc != ERR_OK)
		return rc;
	if (p && may_copy(p, q, wires)) {
		*wire = s->wire = (wires & WIRE_PG_BINARY) ? WIRE_PG_BINARY : WIRE_TEXT;
		rc = pg_source_begin_copy(s, q, p, out, outdated, &refused, e);
		if (refused) {
			p->copyable = false;
			recover_connection(s);
		}
	} else {
		refused = true;
	}
	if (refused)
		rc = begin_rows(s, q, p, wires, out, wire, outdated, e);
	if (*outdated && p) {
		recover_connection(s);
		stmt_cache_forget(&s->cache,
		        &p->kept); /* its name is not used again; the server keeps it until the connection ends */
	}
	return rc;
}

static enum err_code begin(
        struct source *base, const struct query *q, unsigned wires, struct columns *out, enum wire *wire, struct err *e)
{
	struct pg_source *s = self(base);
	bool outdated = false;
	atomic_store(&s->cancelled, false);
	s->failed = false;
	enum err_code rc = try_begin(s, q, wires, out, wire, &outdated, e);
	if (rc != ERR_OK && outdated && pg_conn_alive(&s->conn)) {
		outdated = false;
		rc = try_begin(s, q, wires, out, wire, &outdated, e);
	}
	return rc;
}

static enum err_code next(struct source *base, struct row *row, bool *done, struct err *e)
{
	struct pg_source *s = self(base);
	enum err_code rc = s->mode == MODE_COPY ? pg_source_next_copied(s, row, done, e) : next_row(s, row, done, e);
	if (rc == ERR_OK && *done && atomic_load(&s->cancelled))
		disconnect(s); /* the cancel came too late for this query and must not meet the next */
	return rc;
}

/* The server may still run the query. Cutting the line would end it too, but later than its place is given to another. */
static void end_query(struct pg_source *s)
{
	if (PQstatus(s->conn.pg) != CONNECTION_OK)
		return;
	if (!s->failed && !atomic_load(&s->cancelled))
		pg_conn_cancel(&s->conn);
	db_socket_see_off(PQsocket(s->conn.pg), GONE_WITHIN_MS);
}

static void do_abort(struct source *base)
{
	struct pg_source *s = self(base);
	/* When the server itself has ended the query, the connection is as good as new; else it may still send rows. */
	if (s->mode != MODE_IDLE && s->failed && !atomic_load(&s->cancelled) && PQstatus(s->conn.pg) == CONNECTION_OK)
		recover_connection(s);
	if (s->mode != MODE_IDLE)
		end_query(s);
	if (s->mode != MODE_IDLE || atomic_load(&s->cancelled))
		disconnect(s);
	s->failed = false;
}

static enum err_code evict(struct source *base, const char *job_id, struct err *e)
{
	struct pg_source *s = self(base);
	const char *params[] = {job_id};
	int64_t until = clock_mono_ms() + GONE_WITHIN_MS;
	enum err_code rc;
	bool gone = false;
	do {
		PGresult *res = NULL;
		rc = pg_exec_params(&s->conn,
		        "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)), pg_catalog.pg_sleep(0.02)"
		        " FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid() AND usename = "
		        "current_user"
		        " AND state <> 'idle' AND pg_catalog.left(application_name, pg_catalog.length($1) + 1) = $1 || "
		        "' '",
		        1, params, &res, e);
		gone = rc == ERR_OK && strcmp(PQgetvalue(res, 0, 0), "0") == 0;
		PQclear(res);
	} while (rc == ERR_OK && !gone && clock_mono_ms() < until);
	return rc;
}

static void do_cancel(struct source *base)
{
	struct pg_source *s = self(base);
	atomic_store(&s->cancelled, true);
	pg_conn_cancel(&s->conn);
}

const struct source_ops pg_source_ops = {
        .make = make,
        .free = destroy,
        .connect = do_connect,
        .check = check,
        .begin = begin,
        .next = next,
        .abort = do_abort,
        .evict = evict,
        .cancel = do_cancel,
};
