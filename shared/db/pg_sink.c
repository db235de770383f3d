/* PostgreSQL as a results database.
 *
 * A small result (it fits the buffer) goes out as one string of statements in one go:
 *     BEGIN; CREATE TABLE results_x ...; COPY; INSERT into the registry; COMMIT
 * with no look beforehand: when the table or the registry row is there already, the INSERT or CREATE fails, all is rolled
 * back, and the long way is taken. The long way, for large results and for replacing one:
 *     BEGIN; CREATE TABLE staging; COPY | DROP the old table; RENAME; registry row, guarded by its run; COMMIT
 * Either way a reader sees the whole old result or the whole new one, and a crash at any point leaves nothing behind.
 */
#include "shared/db/pg_sink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/db/pg_types.h"
#include "shared/db/types.h"

#define PAGE_ROOM 7900u /* bytes of a row that surely fits a page of 8 KiB without TOAST */
#define STAGING "dungbeetle_staging_"
#define TEMPLATE "dungbeetle_template_"
#define LOCK_TRIES 60 /* attempts, of lock_timeout each, to replace a table that is being read */

static const char copy_header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* with the NUL of the literal: 19 bytes */

static struct sink *make(const struct cfg_results *cfg)
{
	struct pg_sink *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->base.ops = &pg_sink_ops;
	s->cfg = cfg;
	pg_conn_init(&s->conn, ERR_UNAVAILABLE);
	buf_init(&s->buf, (size_t)2 * PG_SINK_CHUNK);
	buf_init(&s->sql, 4u << 20);
	return &s->base;
}

static void forget_templates(struct pg_sink *s)
{
	struct pg_template *t, *next;
	HASH_ITER (hh, s->templates, t, next) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): cannot follow uthash, which frees its table with the last element */
		HASH_DEL(s->templates, t);
		free(t);
	}
}

void pg_sink_disconnect(struct pg_sink *s)
{
	forget_templates(s);
	pg_conn_close(&s->conn);
	s->mode = SINK_IDLE;
}

static void destroy(struct sink *base)
{
	if (!base)
		return;
	struct pg_sink *s = pg_sink_self(base);
	pg_sink_disconnect(s);
	pg_conn_fini(&s->conn);
	buf_fini(&s->buf);
	buf_fini(&s->sql);
	free(s->forms);
	free(s);
}

enum err_code pg_sink_connect(struct sink *base, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	if (pg_conn_alive(&s->conn))
		return ERR_OK;
	pg_sink_disconnect(s);
	char setup[256];
	snprintf(setup, sizeof setup,
	        "SET client_min_messages = warning; SET synchronous_commit = %s; SET datestyle = ISO;"
	        "SET intervalstyle = postgres; SET lc_monetary = 'C'; SET idle_in_transaction_session_timeout = 60000",
	        s->cfg->durability == DURABILITY_FULL ? "on" : "off");
	enum err_code rc = pg_conn_open(&s->conn, s->cfg->dsn, s->cfg->password, s->cfg->connect_timeout_ms, setup, e);
	if (rc == ERR_OK)
		rc = pg_registry_open(s, e);
	if (rc != ERR_OK)
		pg_sink_disconnect(s);
	return rc;
}

/* --- SQL texts --- */

static void add_escaped(struct pg_sink *s, char *escaped)
{
	if (escaped)
		buf_addstr(&s->sql, escaped);
	else
		s->sql.failed = true;
	PQfreemem(escaped);
}

void pg_sink_add_name(struct pg_sink *s, const char *name)
{
	add_escaped(s, PQescapeIdentifier(s->conn.pg, name, strlen(name)));
}

void pg_sink_add_literal(struct pg_sink *s, const char *text)
{
	add_escaped(s, PQescapeLiteral(s->conn.pg, text, strlen(text)));
}

enum err_code pg_sink_run(struct pg_sink *s, PGresult **res, struct err *e)
{
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	return pg_exec(&s->conn, buf_str(&s->sql), res, e);
}

static void add_staging(struct pg_sink *s)
{
	char name[64];
	snprintf(name, sizeof name, STAGING "%" PRId64, s->spec.run);
	pg_sink_add_name(s, name);
}

static bool is_foreign(const struct pg_sink *s)
{
	return s->columns->engine != DB_POSTGRES;
}

/* "(name type, ...)" */
static void add_columns(struct pg_sink *s)
{
	buf_addc(&s->sql, '(');
	for (size_t i = 0; i < s->columns->n; i++) {
		if (i)
			buf_addstr(&s->sql, ", ");
		pg_sink_add_name(s, s->columns->list[i].name);
		buf_addc(&s->sql, ' ');
		if (is_foreign(s))
			types_declare(DB_POSTGRES, &s->columns->list[i], &s->sql);
		else
			pg_type_declare(&s->columns->list[i], &s->sql);
	}
	buf_addc(&s->sql, ')');
}

/* FREEZE: a transaction whose snapshot is older than the swap finds the new table by its name, and must not find it empty. */
static void add_copy(struct pg_sink *s)
{
	buf_addstr(&s->sql, s->wire == WIRE_PG_BINARY ? " FROM STDIN (FORMAT binary, FREEZE)" : " FROM STDIN (FREEZE)");
}

enum err_code pg_sink_start_stream(struct pg_sink *s, struct err *e)
{
	bool unlogged = s->cfg->durability != DURABILITY_FULL;
	buf_reset(&s->sql);
	buf_addf(&s->sql, "BEGIN; CREATE %sTABLE ", unlogged ? "UNLOGGED " : "");
	add_staging(s);
	add_columns(s);
	buf_addstr(&s->sql, "; COPY ");
	add_staging(s);
	add_copy(s);
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	s->mode = SINK_STREAMING;
	PGresult *res = PQexec(s->conn.pg, buf_str(&s->sql));
	enum err_code rc = PQresultStatus(res) == PGRES_COPY_IN ? ERR_OK : pg_conn_error(&s->conn, res, e);
	PQclear(res);
	if (rc == ERR_OK && s->wire == WIRE_PG_BINARY)
		rc = pg_sink_put(s, copy_header, sizeof copy_header, e);
	if (rc == ERR_OK)
		rc = pg_sink_put(s, s->buf.data, s->buf.len, e);
	buf_reset(&s->buf);
	return rc;
}

static enum err_code begin(
        struct sink *base, const struct result_spec *spec, const struct columns *columns, enum wire wire, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	s->spec = *spec;
	s->columns = columns;
	s->wire = wire;
	s->rows = 0;
	s->widest = 0;
	s->mode = SINK_BUFFERING;
	atomic_store(&s->cancelled, false);
	db_insistence_reset(&s->insistence);
	pg_conn_may_break(&s->conn, true);
	buf_reset(&s->buf);
	return pg_sink_begin_rows(s, e);
}

/* Reads the results of what was sent, to the end; the first error is the one that counts. *failed is owned by the caller. */
static enum err_code drain(struct pg_sink *s, PGresult **failed, struct err *e)
{
	enum err_code rc = ERR_OK;
	PGresult *res;
	while ((res = PQgetResult(s->conn.pg))) {
		ExecStatusType status = PQresultStatus(res);
		bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
		if (!ok && rc == ERR_OK) {
			rc = pg_conn_error(&s->conn, res, e);
			*failed = res;
			if (status == PGRES_COPY_IN) /* cannot be; do not wait for ever */
				break;
			continue;
		}
		PQclear(res);
	}
	return rc;
}

static enum err_code end_data(struct pg_sink *s, struct err *e)
{
	enum err_code rc = pg_sink_put(s, s->buf.data, s->buf.len, e);
	if (rc == ERR_OK && s->wire == WIRE_PG_BINARY)
		rc = pg_sink_put(s, "\377\377", 2, e);
	if (rc == ERR_OK && PQputCopyEnd(s->conn.pg, NULL) != 1)
		rc = pg_conn_error(&s->conn, NULL, e);
	return rc;
}

/* --- small results --- */

/* Two 64-bit FNV-1a hashes of the column list: one name for each list of names and types. */
static void template_name(struct pg_sink *s, char out[64])
{
	buf_reset(&s->sql);
	add_columns(s);
	uint64_t a = UINT64_C(14695981039346656037), b = UINT64_C(0x9e3779b97f4a7c15);
	for (size_t i = 0; i < s->sql.len; i++) {
		a = (a ^ (unsigned char)s->sql.data[i]) * UINT64_C(1099511628211);
		b = (b + (unsigned char)s->sql.data[i]) * UINT64_C(0xd1342543de82ef95);
	}
	snprintf(out, 64, TEMPLATE "%016" PRIx64 "%016" PRIx64, a, b);
}

static bool is_varlena(const struct pg_sink *s, const struct column *c)
{
	if (is_foreign(s))
		return types_is_varlena(c);
	return c->as_text || pg_type_is_varlena(c->type);
}

/* PostgreSQL makes a TOAST table and its index with every table that has a column of unlimited length, unless the
 * column's storage is PLAIN; a table LIKE a template inherits that. It halves the price of a small result. */
static bool fits_template(const struct pg_sink *s)
{
	bool varlena = false;
	for (size_t i = 0; i < s->columns->n; i++)
		varlena = varlena || is_varlena(s, &s->columns->list[i]);
	return varlena && s->widest + 8 * s->columns->n + 32 < PAGE_ROOM;
}

static enum err_code make_template(struct pg_sink *s, const char *name, struct err *e)
{
	buf_reset(&s->sql);
	buf_addstr(&s->sql,
	        "BEGIN; SELECT pg_advisory_xact_lock(hashtext('dungbeetle template')); CREATE TABLE IF NOT EXISTS ");
	pg_sink_add_name(s, name);
	add_columns(s);
	for (size_t i = 0; i < s->columns->n; i++) {
		const struct column *c = &s->columns->list[i];
		if (!is_varlena(s, c))
			continue;
		buf_addstr(&s->sql, "; ALTER TABLE ");
		pg_sink_add_name(s, name);
		buf_addstr(&s->sql, " ALTER COLUMN ");
		pg_sink_add_name(s, c->name);
		buf_addstr(&s->sql, " SET STORAGE PLAIN");
	}
	buf_addstr(&s->sql, "; COMMIT");
	enum err_code rc = pg_sink_run(s, NULL, e);
	if (rc != ERR_OK && PQstatus(s->conn.pg) == CONNECTION_OK)
		PQclear(PQexec(s->conn.pg, "ROLLBACK"));
	return rc;
}

/* *name = "" when an ordinary table has to do. */
static enum err_code use_template(struct pg_sink *s, char name[64], struct err *e)
{
	struct pg_template *t = NULL;
	name[0] = '\0';
	if (!fits_template(s))
		return ERR_OK;
	template_name(s, name);
	HASH_FIND_STR(s->templates, name, t);
	if (t)
		return ERR_OK;
	buf_reset(&s->sql);
	buf_addf(&s->sql, "SELECT to_regclass('%s') IS NULL", name);
	PGresult *res = NULL;
	enum err_code rc = pg_sink_run(s, &res, e);
	if (rc == ERR_OK && strcmp(PQgetvalue(res, 0, 0), "t") == 0)
		rc = make_template(s, name, e);
	PQclear(res);
	if (rc != ERR_OK)
		return rc;
	t = calloc(1, sizeof *t);
	if (!t)
		return err_nomem(e);
	memcpy(t->name, name, sizeof t->name);
	HASH_ADD_STR(s->templates, name, t);
	if (hash_has_added(t))
		return ERR_OK;
	free(t);
	return err_nomem(e);
}

static void small_sql(struct pg_sink *s, const char *template)
{
	bool unlogged = s->cfg->durability == DURABILITY_UNLOGGED;
	buf_reset(&s->sql);
	buf_addf(&s->sql, "BEGIN; CREATE %sTABLE ", unlogged ? "UNLOGGED " : "");
	pg_sink_add_name(s, s->spec.table);
	if (template[0])
		buf_addf(&s->sql, " (LIKE %s INCLUDING STORAGE)", template);
	else
		add_columns(s);
	buf_addstr(&s->sql, "; ");
	if (s->rows) {
		buf_addstr(&s->sql, "COPY ");
		pg_sink_add_name(s, s->spec.table);
		add_copy(s);
		buf_addstr(&s->sql, "; ");
	}
	pg_registry_add_insert(s, unlogged);
	buf_addstr(&s->sql, "; COMMIT");
}

/* *occupied: there is a result of this job already, or the short way does not do; the long way is to be taken. */
static enum err_code publish_small(struct pg_sink *s, bool *occupied, struct err *e)
{
	static const char *const states[] = {"42P07", "23505", "42P01", "54000"};
	char template[64];
	enum err_code rc = use_template(s, template, e);
	if (rc != ERR_OK)
		return rc;
	small_sql(s, template);
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	if (!PQsendQuery(s->conn.pg, buf_str(&s->sql)))
		return pg_conn_error(&s->conn, NULL, e);
	PGresult *res, *failed = NULL;
	while (s->rows && (res = PQgetResult(s->conn.pg))) {
		ExecStatusType status = PQresultStatus(res);
		if (status == PGRES_COPY_IN) {
			PQclear(res);
			const bool binary = s->wire == WIRE_PG_BINARY;
			rc = binary ? pg_sink_put(s, copy_header, sizeof copy_header, e) : ERR_OK;
			if (rc == ERR_OK)
				rc = end_data(s, e);
			break;
		}
		if (status != PGRES_COMMAND_OK) {
			rc = pg_conn_error(&s->conn, res, e);
			failed = res;
			break;
		}
		PQclear(res);
	}
	if (rc == ERR_OK || failed) {
		PGresult *second = NULL;
		enum err_code rest = drain(s, failed ? &second : &failed, rc == ERR_OK ? e : NULL);
		rc = rc == ERR_OK ? rest : rc;
		PQclear(second);
	}
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		*occupied = *occupied || pg_is_state(failed, states[i]);
	bool vanished = pg_is_state(failed, "42P01"); /* somebody has dropped a template, or the registry */
	PQclear(failed);
	if (rc != ERR_OK && PQstatus(s->conn.pg) == CONNECTION_OK)
		PQclear(PQexec(s->conn.pg, "ROLLBACK"));
	if (*occupied)
		forget_templates(s);
	return vanished ? pg_registry_make(s, e) : rc;
}

/* --- the long way --- */

static enum err_code end_stream(struct pg_sink *s, struct err *e)
{
	PGresult *failed = NULL, *res;
	enum err_code rc = end_data(s, e);
	if (rc != ERR_OK)
		return rc;
	res = PQgetResult(s->conn.pg);
	bool ok = PQresultStatus(res) == PGRES_COMMAND_OK;
	int64_t took = ok ? pg_i64(PQcmdTuples(res)) : -1;
	if (!ok)
		rc = pg_conn_error(&s->conn, res, e);
	PQclear(res);
	enum err_code rest = drain(s, &failed, rc == ERR_OK ? e : NULL);
	PQclear(failed);
	if (rc == ERR_OK)
		rc = rest;
	if (rc == ERR_OK && took != s->rows)
		rc = err_set(e, ERR_TRANSIENT, "the results database took %lld of %lld rows", (long long)took,
		        (long long)s->rows);
	return rc;
}

/* One attempt to put the staging table in the place of the final one. *locked: somebody reads the old one. COMMIT goes in
 * the same string: a client that stops in between (SIGSTOP, a frozen machine) would keep its locks, and with them every
 * reader and the run that takes its place waiting. The guard makes a string of an older run fail: 1 / 0. */
static enum err_code swap(struct pg_sink *s, bool *locked, struct err *e)
{
	buf_reset(&s->sql);
	buf_addf(&s->sql, "SAVEPOINT swap; SET LOCAL lock_timeout = %" PRId64 "; DROP TABLE IF EXISTS ",
	        s->cfg->lock_timeout_ms);
	pg_sink_add_name(s, s->spec.table);
	buf_addstr(&s->sql, "; ALTER TABLE ");
	add_staging(s);
	buf_addstr(&s->sql, " RENAME TO ");
	pg_sink_add_name(s, s->spec.table);
	buf_addstr(&s->sql, "; WITH mine AS (");
	pg_registry_add_replace(s, s->cfg->durability != DURABILITY_FULL);
	buf_addstr(&s->sql, ") SELECT 1 / count(*) FROM mine; COMMIT");
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	PGresult *res = PQexec(s->conn.pg, buf_str(&s->sql));
	enum err_code rc = PQresultStatus(res) == PGRES_COMMAND_OK ? ERR_OK : pg_conn_error(&s->conn, res, e);
	if (pg_is_state(res, "22012"))
		rc = err_set(e, ERR_LOST, "a newer run has published");
	*locked = pg_is_state(res, "55P03");
	PQclear(res);
	return rc;
}

static enum err_code publish_stream(struct pg_sink *s, struct err *e)
{
	enum err_code rc = end_stream(s, e);
	bool locked = true;
	for (int i = 0; rc == ERR_OK && i < LOCK_TRIES; i++) {
		rc = swap(s, &locked, e);
		if (!locked)
			break;
		/* Who waits for a lock makes later readers wait too: let them in before the next attempt. */
		nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
		bool again = i + 1 < LOCK_TRIES && !atomic_load(&s->cancelled);
		rc = again ? pg_exec(&s->conn, "ROLLBACK TO swap", NULL, e)
		           : err_set(e, ERR_UNAVAILABLE, "the old result table is locked by its readers");
	}
	return rc;
}

static enum err_code publish(struct sink *base, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	enum err_code rc = ERR_OK;
	bool occupied = s->mode == SINK_STREAMING;
	pg_conn_may_break(&s->conn, false);
	if (s->mode == SINK_BUFFERING) {
		rc = publish_small(s, &occupied, e);
		if (occupied) {
			*e = ERR_INIT;
			rc = pg_sink_start_stream(s, e);
		}
	}
	if (occupied && rc == ERR_OK)
		rc = publish_stream(s, e);
	if (rc == ERR_OK) {
		s->mode = SINK_IDLE;
		if (atomic_load(&s->cancelled))
			pg_sink_disconnect(s); /* the cancel came too late for this result and must not meet the next */
	}
	return rc;
}

static void do_abort(struct sink *base)
{
	struct pg_sink *s = pg_sink_self(base);
	bool usable = s->conn.pg && PQstatus(s->conn.pg) == CONNECTION_OK && !atomic_load(&s->cancelled);
	if (s->mode == SINK_STREAMING && usable) {
		PGresult *res;
		if (PQputCopyEnd(s->conn.pg, "aborted") < 0)
			usable = PQtransactionStatus(s->conn.pg) == PQTRANS_INERROR ||
			        PQtransactionStatus(s->conn.pg) == PQTRANS_INTRANS;
		while ((res = PQgetResult(s->conn.pg)))
			PQclear(res);
		if (usable)
			PQclear(PQexec(s->conn.pg, "ROLLBACK"));
	}
	if (!usable || PQtransactionStatus(s->conn.pg) != PQTRANS_IDLE)
		pg_sink_disconnect(s);
	s->mode = SINK_IDLE;
	buf_reset(&s->buf);
}

static void do_cancel(struct sink *base)
{
	struct pg_sink *s = pg_sink_self(base);
	atomic_store(&s->cancelled, true);
	if (db_insistence_is_due(&s->insistence))
		pg_conn_break(&s->conn);
	else
		pg_conn_cancel(&s->conn);
}

static bool alive(struct sink *base)
{
	return pg_conn_alive(&pg_sink_self(base)->conn);
}

/* The system columns that every table has. */
static const char *const reserved_names[] = {"tableoid", "ctid", "xmin", "cmin", "xmax", "cmax", NULL};

const struct sink_ops pg_sink_ops = {
        .wires = WIRE_TEXT | WIRE_PG_TEXT | WIRE_PG_BINARY,
        .name_max = 63,
        .reserved_names = reserved_names,
        .make = make,
        .free = destroy,
        .connect = pg_sink_connect,
        .alive = alive,
        .begin = begin,
        .fill = pg_sink_fill,
        .publish = publish,
        .abort = do_abort,
        .cancel = do_cancel,
        .fence = pg_registry_fence,
        .purge = pg_registry_purge,
        .recover = pg_registry_recover,
        .recovered = pg_registry_recovered,
        .has_result = pg_registry_has_result,
        .expire = pg_registry_expire,
};
