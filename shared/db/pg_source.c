/* PostgreSQL as a source.
 *
 * Two ways to read. With arguments: a prepared statement, executed in pipeline mode together with the statement that
 * says whose query it is (one round trip), rows one at a time. Without arguments: COPY (query) TO STDOUT, whose tuples go
 * to the sink as they are; the columns are described in the same transaction, whose locks keep them as described.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "shared/base/buf.h"
#include "shared/db/pg.h"
#include "shared/db/pg_conn.h"
#include "shared/db/pg_types.h"

#define MAX_PREPARED 256
#define SET_STATEMENT "dungbeetle_set" /* prepared on each connection: who runs, and for how long at most */
#define COPY_SIGNATURE 19              /* bytes of the header of COPY's binary form, without its extension */

struct prepared {
	char *key; /* task name, newline, SQL */
	char name[32];
	struct columns columns;
	int n_params;
	bool binary;   /* every column has a binary form that is the same everywhere */
	bool copyable; /* COPY has not refused it yet */
	UT_hash_handle hh;
};

enum mode { MODE_IDLE, MODE_ROWS, MODE_COPY };

struct pg_source {
	struct source base;
	const struct cfg_source *cfg;
	struct pg_conn conn;
	struct prepared *cache;
	unsigned serial; /* of the next statement's name */
	enum mode mode;
	bool failed;           /* the server has reported the running query's error */
	atomic_bool cancelled; /* cancel was called since begin: the connection is not used again */
	PGresult *res;         /* MODE_ROWS: holds the current row */
	bool fresh;            /* res has not been handed out yet */
	struct cell *cells;
	size_t n_cells;
	char *copied; /* MODE_COPY: the current message */
	bool headed;  /* the header has been seen */
	int64_t rows;
};

static struct pg_source *self(struct source *s)
{
	return (struct pg_source *)(void *)s;
}

static struct source *make(const struct cfg_source *cfg)
{
	struct pg_source *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->base.ops = &pg_source_ops;
	s->cfg = cfg;
	pg_conn_init(&s->conn, ERR_TRANSIENT);
	return &s->base;
}

static void forget(struct pg_source *s, struct prepared *p)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): cannot follow uthash, which frees its table with the last element */
	HASH_DEL(s->cache, p);
	columns_fini(&p->columns);
	free(p->key);
	free(p);
}

static void clear_row(struct pg_source *s)
{
	PQclear(s->res);
	s->res = NULL;
	if (s->copied)
		PQfreemem(s->copied);
	s->copied = NULL;
}

static void disconnect(struct pg_source *s)
{
	clear_row(s);
	struct prepared *p, *next;
	HASH_ITER (hh, s->cache, p, next)
		forget(s, p);
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
	free(s->cells);
	free(s);
}

static enum err_code do_connect(struct source *base, struct err *e)
{
	struct pg_source *s = self(base);
	if (pg_conn_alive(&s->conn) && HASH_COUNT(s->cache) < MAX_PREPARED)
		return ERR_OK;
	disconnect(s);
	char setup[512];
	snprintf(setup, sizeof setup,
	        "SET client_min_messages = warning; SET datestyle = ISO; SET intervalstyle = postgres; SET lc_monetary "
	        "= 'C';"
	        "SET extra_float_digits = 3; SET bytea_output = hex; SET default_transaction_read_only = %s;"
	        "PREPARE " SET_STATEMENT "(text, text) AS SELECT pg_catalog.set_config('application_name', $1, false),"
	        " pg_catalog.set_config('statement_timeout', $2, false)",
	        s->cfg->read_only ? "on" : "off");
	enum err_code rc = pg_conn_open(&s->conn, s->cfg->dsn, s->cfg->password, s->cfg->connect_timeout_ms, setup, e);
	/* A query whose client is dead ends by itself; servers before 14, and some systems, do not know this. */
	if (rc == ERR_OK)
		PQclear(PQexec(s->conn.pg, "SET client_connection_check_interval = 500"));
	return rc;
}

/* --- prepared statements --- */

/* Marks which columns travel as text; *binary: all that do may do so in the binary wire form (an enum's is its label). */
static enum err_code classify(struct pg_source *s, struct columns *c, bool *binary, struct err *e)
{
	struct buf oids;
	buf_init(&oids, 64 << 10);
	for (size_t i = 0; i < c->n; i++) {
		c->list[i].as_text = !pg_type_is_portable(c->list[i].type);
		if (c->list[i].as_text)
			buf_addf(&oids, "%s%u", oids.len ? "," : "{", c->list[i].type);
	}
	*binary = true;
	if (!oids.len)
		return ERR_OK;
	buf_addc(&oids, '}');
	const char *params[] = {buf_str(&oids)};
	PGresult *res = NULL;
	enum err_code rc = pg_exec_params(&s->conn,
	        "SELECT count(*) FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS o(oid) WHERE NOT EXISTS (SELECT FROM"
	        " pg_catalog.pg_type t WHERE t.oid = o.oid AND t.typtype = 'e')",
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
	}
	return rc;
}

static enum err_code check_args(const struct prepared *p, const struct query *q, struct err *e)
{
	if ((size_t)p->n_params == q->n_args)
		return ERR_OK;
	return err_set(e, ERR_PERMANENT, "the query takes %d arguments, got %zu", p->n_params, q->n_args);
}

/* Prepares on the server and describes into p, which is not in the cache yet. */
static enum err_code prepare_new(struct pg_source *s, const struct query *q, struct prepared *p, struct err *e)
{
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

/* Could COPY take it? It says so itself when not; this only saves asking for what is plainly none. */
static bool looks_like_select(const char *sql)
{
	static const char *const words[] = {"SELECT", "WITH", "VALUES", "TABLE"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strncasecmp(sql, words[i], strlen(words[i])) == 0)
			return true;
	return sql[0] == '(';
}

static enum err_code prepare(struct pg_source *s, const struct query *q, struct prepared **out, struct err *e)
{
	size_t size = strlen(q->task) + strlen(q->sql) + 2;
	char *key = malloc(size);
	if (!key)
		return err_nomem(e);
	snprintf(key, size, "%s\n%s", q->task, q->sql);
	HASH_FIND_STR(s->cache, key, *out);
	if (*out) {
		free(key);
		return check_args(*out, q, e);
	}
	struct prepared *p = calloc(1, sizeof *p);
	if (!p) {
		free(key);
		return err_nomem(e);
	}
	p->key = key;
	p->copyable = looks_like_select(q->sql);
	snprintf(p->name, sizeof p->name, "dungbeetle_%u", s->serial++);
	enum err_code rc = prepare_new(s, q, p, e);
	if (rc == ERR_OK)
		rc = check_args(p, q, e);
	HASH_ADD_KEYPTR(hh, s->cache, p->key, strlen(p->key), p);
	if (rc != ERR_OK) {
		forget(s, p);
		return rc;
	}
	*out = p;
	return ERR_OK;
}

/* The table was altered, or somebody dropped our statements (DISCARD ALL, a pooler): preparing anew helps. */
static bool is_outdated(const PGresult *res)
{
	return pg_is_state(res, "0A000") || pg_is_state(res, "26000");
}

static enum err_code check(struct source *base, const struct query *q, struct err *e)
{
	struct pg_source *s = self(base);
	struct prepared *p;
	enum err_code rc = prepare(s, q, &p, e);
	if (rc == ERR_OK && p->columns.n == 0)
		return err_set(e, ERR_PERMANENT, "the query returns no columns");
	return rc;
}

/* --- rows: prepared statement, single-row mode --- */

/* Reads what is left of the pipeline, after which the connection is free again. */
static enum err_code leave_pipeline(struct pg_source *s, struct err *e)
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
        struct pg_source *s, const struct query *q, const struct prepared *p, bool binary, struct err *e)
{
	char limit[24];
	snprintf(limit, sizeof limit, "%lld", (long long)q->timeout_ms);
	const char *set[] = {q->tag, limit};
	PGconn *pg = s->conn.pg;
	int n = (int)q->n_args;
	s->mode = MODE_ROWS;
	s->failed = false;
	bool ok = PQenterPipelineMode(pg) && PQsendQueryPrepared(pg, SET_STATEMENT, 2, set, NULL, NULL, 0) &&
	        (p ? PQsendQueryPrepared(pg, p->name, n, q->args, NULL, NULL, binary)
	           : PQsendQueryParams(pg, q->sql, n, NULL, q->args, NULL, NULL, 0)) &&
	        PQpipelineSync(pg);
	return ok ? ERR_OK : err_set(e, s->conn.lost, "connection lost: %s", PQerrorMessage(pg));
}

/* Reads up to the query's first result, which stays in s->res. *outdated: preparing anew may help. */
static enum err_code first_result(struct pg_source *s, bool *outdated, struct err *e)
{
	PGresult *res = PQgetResult(s->conn.pg); /* of SET_STATEMENT */
	bool ok = PQresultStatus(res) == PGRES_TUPLES_OK;
	if (ok) {
		PQclear(res);
		PQclear(PQgetResult(s->conn.pg)); /* NULL: its end */
		PQsetSingleRowMode(s->conn.pg);
		res = PQgetResult(s->conn.pg);
		ExecStatusType status = PQresultStatus(res);
		ok = status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
	}
	*outdated = !ok && is_outdated(res);
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

static enum err_code take_columns(struct pg_source *s, const struct prepared *p, struct columns *out, struct err *e)
{
	enum err_code rc = p ? columns_copy(out, &p->columns, e) : describe(s->res, out, e);
	if (rc == ERR_OK && !p) /* text: no question to the server in mid-pipeline */
		for (size_t i = 0; i < out->n; i++)
			out->list[i].as_text = !pg_type_is_portable(out->list[i].type);
	if (rc != ERR_OK || out->n <= s->n_cells)
		return rc;
	struct cell *cells = realloc(s->cells, out->n * sizeof *cells);
	if (!cells)
		return err_nomem(e);
	s->cells = cells;
	s->n_cells = out->n;
	return ERR_OK;
}

static enum err_code begin_rows(struct pg_source *s, const struct query *q, const struct prepared *p, unsigned wires,
        struct columns *out, enum wire *wire, bool *outdated, struct err *e)
{
	bool binary = p && p->binary && (wires & WIRE_PG_BINARY);
	*wire = binary ? WIRE_PG_BINARY : WIRE_PG_TEXT;
	enum err_code rc = send_rows(s, q, p, binary, e);
	if (rc == ERR_OK)
		rc = first_result(s, outdated, e);
	if (rc == ERR_OK)
		rc = take_columns(s, p, out, e);
	if (rc == ERR_OK && PQresultStatus(s->res) == PGRES_COMMAND_OK)
		out->n = 0;
	return rc;
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
		return ERR_OK;
	}
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		s->failed = true;
		return pg_conn_error(&s->conn, s->res, e);
	}
	*done = true;
	clear_row(s);
	return leave_pipeline(s, e);
}

/* --- COPY (query) TO STDOUT --- */

static void roll_back(struct pg_source *s)
{
	PQclear(PQexec(s->conn.pg, "ROLLBACK"));
	s->mode = MODE_IDLE;
}

/* Begins the transaction and describes the columns under its locks, in one round trip. */
static enum err_code open_copy(struct pg_source *s, const struct query *q, const struct prepared *p,
        struct columns *out, bool *outdated, struct err *e)
{
	char limit[24];
	snprintf(limit, sizeof limit, "%lld", (long long)q->timeout_ms);
	const char *set[] = {q->tag, limit};
	PGconn *pg = s->conn.pg;
	bool sent = PQenterPipelineMode(pg) && PQsendQueryParams(pg, "BEGIN", 0, NULL, NULL, NULL, NULL, 0) &&
	        PQsendQueryPrepared(pg, SET_STATEMENT, 2, set, NULL, NULL, 0) && PQsendDescribePrepared(pg, p->name) &&
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
			*outdated = is_outdated(res);
		}
		PQclear(res);
		PQclear(PQgetResult(pg));
	}
	enum err_code left = leave_pipeline(s, rc == ERR_OK ? e : NULL);
	s->mode = MODE_COPY;
	rc = rc == ERR_OK ? left : rc;
	return rc == ERR_OK ? columns_copy(out, &p->columns, e) : rc;
}

/* *refused: COPY does not take this query, and the ordinary way is to be tried. */
static enum err_code begin_copy(struct pg_source *s, const struct query *q, struct prepared *p, struct columns *out,
        bool *outdated, bool *refused, struct err *e)
{
	enum err_code rc = open_copy(s, q, p, out, outdated, e);
	if (rc != ERR_OK) {
		s->failed = true;
		return rc;
	}
	struct buf sql;
	buf_init(&sql, 2 << 20);
	buf_addf(&sql, "COPY (%s\n) TO STDOUT (FORMAT binary); COMMIT", q->sql);
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

/* PostgreSQL sends one message a row; the header comes with the first, the trailer (-1 as the field count) by itself or
 * behind the header. */
static enum err_code next_copied(struct pg_source *s, struct row *row, bool *done, struct err *e)
{
	for (;;) {
		clear_row(s);
		int len = PQgetCopyData(s->conn.pg, &s->copied, 0);
		if (len == -2)
			s->failed = true;
		if (len < 0) {
			*done = true;
			return len == -1 ? end_copy(s, e) : pg_conn_error(&s->conn, NULL, e);
		}
		const char *data = s->copied;
		size_t n = (size_t)len;
		if (!s->headed) {
			if (n < COPY_SIGNATURE || memcmp(data, "PGCOPY\n\377\r\n", 11) != 0)
				return err_set(e, ERR_PERMANENT, "the source's COPY stream begins with no header");
			s->headed = true;
			data += COPY_SIGNATURE;
			n -= COPY_SIGNATURE;
		}
		if (n == 0 || (n == 2 && memcmp(data, "\377\377", 2) == 0))
			continue;
		s->rows++;
		*row = (struct row){.raw = data, .raw_len = n, .bytes = n};
		*done = false;
		return ERR_OK;
	}
}

/* --- the interface --- */

static void recover_connection(struct pg_source *s)
{
	clear_row(s);
	if (s->mode == MODE_ROWS && leave_pipeline(s, NULL) != ERR_OK)
		disconnect(s);
	else if (s->mode == MODE_COPY)
		roll_back(s);
}

static enum err_code try_begin(struct pg_source *s, const struct query *q, unsigned wires, struct columns *out,
        enum wire *wire, bool *outdated, struct err *e)
{
	struct prepared *p = NULL;
	bool refused = false;
	enum err_code rc = q->raw ? ERR_OK : prepare(s, q, &p, e);
	if (rc != ERR_OK)
		return rc;
	if (p && p->copyable && p->binary && p->columns.n && q->n_args == 0 && (wires & WIRE_PG_BINARY)) {
		*wire = WIRE_PG_BINARY;
		rc = begin_copy(s, q, p, out, outdated, &refused, e);
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
		forget(s, p); /* its name is not used again; the server keeps it until the connection ends */
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
	enum err_code rc = s->mode == MODE_COPY ? next_copied(s, row, done, e) : next_row(s, row, done, e);
	if (rc == ERR_OK && *done && atomic_load(&s->cancelled))
		disconnect(s); /* the cancel came too late for this query and must not meet the next */
	return rc;
}

static void do_abort(struct source *base)
{
	struct pg_source *s = self(base);
	/* When the server itself has ended the query, the connection is as good as new; else it still sends rows. */
	if (s->mode != MODE_IDLE && s->failed && !atomic_load(&s->cancelled) && PQstatus(s->conn.pg) == CONNECTION_OK)
		recover_connection(s);
	if (s->mode != MODE_IDLE || atomic_load(&s->cancelled))
		disconnect(s);
	s->failed = false;
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
        .cancel = do_cancel,
};
