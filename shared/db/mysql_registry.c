/* The registry of a MySQL or MariaDB results database: the table dungbeetle_results, always InnoDB.
 *
 *   run         the newest run that has claimed the job: no older one can do anything any more
 *   claimed     the table that is the job's, whether it is there or not: what a purge drops
 *   table_name  the same while there is a result in it; NULL: there is none. With a new result it comes a moment before the
 *               table, with a replaced one the other columns come a moment after it
 *   published   the run whose rows those are
 *
 * DDL cannot be undone, so the row alone cannot guard the table: each job has a lock of the server's (GET_LOCK), and who
 * changes its row or table holds it. It is taken by the statement that claims the row, IF(GET_LOCK(...) = 1, run, NULL)
 * into a column that cannot be NULL, so that the statement fails, and with it the string of statements, when it is not got.
 * The server gives a lock back when the session ends; it ends one that holds a lock and is silent for a minute.
 */
#include <inttypes.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/db/mysql_sink.h"

static const char make_table[] =
        "CREATE TABLE IF NOT EXISTS dungbeetle_results ("
        " job_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, run BIGINT NOT NULL,"
        " claimed VARCHAR(64), table_name VARCHAR(64), task VARCHAR(255), row_count BIGINT, published BIGINT,"
        " created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), expires_at DATETIME(6) NOT NULL"
        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='times are UTC'";

/* The look spares a lock on the table's name, and an account that may not CREATE where somebody else has made it. */
enum err_code mysql_registry_make(struct mysql_sink *s, struct err *e)
{
	enum err_code rc = mysql_conn_exec(&s->conn, "SELECT 1 FROM dungbeetle_results LIMIT 0", NULL, e);
	if (rc == ERR_OK || mysql_errno(s->conn.my) != ER_NO_SUCH_TABLE)
		return rc;
	*e = ERR_INIT;
	return mysql_conn_exec(&s->conn, make_table, NULL, e);
}

/* --- parts of statements --- */

void mysql_registry_add_lock_name(struct mysql_sink *s, const char *what)
{
	char hash[MYSQL_ROWS_HASH];
	mysql_rows_hash(s->database, what, hash);
	buf_addf(&s->sql, "'dungbeetle.%s'", hash);
}

static void add_interval(struct mysql_sink *s, int64_t ms)
{
	buf_addf(&s->sql, "UTC_TIMESTAMP(6) + INTERVAL %" PRId64 " MICROSECOND", ms * 1000);
}

/* "SET ...; INSERT INTO dungbeetle_results (job_id, run<more>) VALUES ('...', <run with the lock>" */
static void add_claim(struct mysql_sink *s, const char *job_id, int64_t run, const char *more)
{
	buf_addf(&s->sql, "SET wait_timeout = %d; INSERT INTO dungbeetle_results (job_id, run%s) VALUES (",
	        MYSQL_SILENCE_S, more);
	mysql_rows_literal(&s->sql, job_id);
	buf_addstr(&s->sql, ", IF(GET_LOCK(");
	mysql_registry_add_lock_name(s, job_id);
	buf_addf(&s->sql, ", %" PRId64 ") = 1, %" PRId64 ", NULL), ", s->lock_wait_s, run);
}

void mysql_registry_add_insert(struct mysql_sink *s)
{
	add_claim(s, s->spec.job_id, s->spec.run, ", claimed, table_name, task, row_count, published, expires_at");
	mysql_rows_literal(&s->sql, s->spec.table);
	buf_addstr(&s->sql, ", claimed, ");
	mysql_rows_literal(&s->sql, s->spec.task);
	buf_addf(&s->sql, ", %" PRId64 ", %" PRId64 ", ", s->rows, s->spec.run);
	add_interval(s, s->spec.ttl_ms);
	buf_addc(&s->sql, ')');
}

void mysql_registry_add_guard(struct mysql_sink *s, const char *job_id, int64_t run, const char *table, int64_t ttl_ms)
{
	add_claim(s, job_id, run, ", claimed, expires_at");
	if (table)
		mysql_rows_literal(&s->sql, table);
	else
		buf_addstr(&s->sql, "NULL");
	buf_addstr(&s->sql, ", ");
	add_interval(s, ttl_ms);
	buf_addf(&s->sql, ") ON DUPLICATE KEY UPDATE run = IF(run <= %" PRId64 ", %" PRId64 ", NULL)", run, run);
	if (table) {
		buf_addstr(&s->sql, ", claimed = ");
		mysql_rows_literal(&s->sql, table);
	}
}

static void add_where(struct mysql_sink *s, const char *job_id)
{
	buf_addstr(&s->sql, " WHERE job_id = ");
	mysql_rows_literal(&s->sql, job_id);
}

void mysql_registry_add_update(struct mysql_sink *s)
{
	buf_addstr(&s->sql, "; UPDATE dungbeetle_results SET table_name = ");
	mysql_rows_literal(&s->sql, s->spec.table);
	buf_addstr(&s->sql, ", task = ");
	mysql_rows_literal(&s->sql, s->spec.task);
	buf_addf(&s->sql,
	        ", row_count = %" PRId64 ", published = %" PRId64 ", created_at = UTC_TIMESTAMP(6), expires_at = ",
	        s->rows, s->spec.run);
	add_interval(s, s->spec.ttl_ms);
	add_where(s, s->spec.job_id);
}

#define NO_RESULT "table_name = NULL, task = NULL, row_count = NULL, published = NULL"

void mysql_registry_add_retract(struct mysql_sink *s)
{
	buf_addstr(&s->sql, "; UPDATE dungbeetle_results SET " NO_RESULT);
	add_where(s, s->spec.job_id);
	buf_addf(&s->sql, " AND run = %" PRId64 " AND published = run", s->spec.run);
}

void mysql_registry_add_unlock(struct mysql_sink *s, const char *job_id)
{
	buf_addstr(&s->sql, "; SET @released = RELEASE_LOCK(");
	mysql_registry_add_lock_name(s, job_id);
	buf_addstr(&s->sql, "), wait_timeout = DEFAULT");
}

void mysql_registry_unlock(struct mysql_sink *s, const char *job_id)
{
	struct err ignored = ERR_INIT;
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "DO 0");
	mysql_registry_add_unlock(s, job_id);
	(void)!mysql_sink_run(s, NULL, &ignored);
}

/* --- looking --- */

/* The job's row; *row is valid until *res is freed by the caller, and NULL when there is none. */
static enum err_code read_row(
        struct mysql_sink *s, const char *job_id, const char *columns, MYSQL_RES **res, MYSQL_ROW *row, struct err *e)
{
	buf_reset(&s->sql);
	buf_addf(&s->sql, "SELECT %s FROM dungbeetle_results", columns);
	add_where(s, job_id);
	enum err_code rc = mysql_sink_ask(s, res, e);
	*row = rc == ERR_OK ? mysql_fetch_row(*res) : NULL;
	return rc;
}

enum err_code mysql_registry_look(struct mysql_sink *s, struct err *e)
{
	MYSQL_RES *res = NULL;
	MYSQL_ROW row;
	enum err_code rc = read_row(s, s->spec.job_id, "run, table_name", &res, &row, e);
	if (rc != ERR_OK && mysql_errno(s->conn.my) == ER_NO_SUCH_TABLE) { /* somebody has dropped it */
		*e = ERR_INIT;
		rc = mysql_registry_make(s, e);
	}
	s->has_table = row && row[1];
	if (row && mysql_sink_number(row[0]) > s->spec.run)
		rc = err_set(e, ERR_LOST, "a newer run has begun");
	mysql_free_result(res);
	return rc;
}

enum err_code mysql_registry_has_result(struct sink *base, const char *job_id, int64_t run, bool *has, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	MYSQL_RES *res = NULL;
	MYSQL_ROW row;
	enum err_code rc = read_row(s, job_id, "published", &res, &row, e);
	if (rc == ERR_OK)
		*has = row && row[0] && mysql_sink_number(row[0]) == run;
	mysql_free_result(res);
	return rc;
}

/* --- claiming --- */

/* Sends s->sql, which begins with a guard for the job. ERR_LOST: a newer run has it; ERR_UNAVAILABLE: it is locked. */
static enum err_code run_guarded(struct mysql_sink *s, const char *job_id, int64_t run, struct err *e)
{
	int done = 0;
	enum err_code rc = mysql_sink_run(s, &done, e);
	if (rc == ERR_OK || rc == ERR_UNAVAILABLE || rc == ERR_NOMEM)
		return rc;
	bool refused = done < MYSQL_GUARD_STATEMENTS && mysql_errno(s->conn.my) == ER_BAD_NULL_ERROR;
	bool busy = mysql_sink_is_busy(s);
	mysql_registry_unlock(s, job_id);
	if (refused) {
		MYSQL_RES *res = NULL;
		MYSQL_ROW row;
		rc = read_row(s, job_id, "run", &res, &row, e);
		bool lost = row && mysql_sink_number(row[0]) > run;
		mysql_free_result(res);
		if (rc != ERR_OK)
			return rc;
		if (lost)
			return err_set(e, ERR_LOST, "a newer run has begun");
	}
	if (refused || busy)
		return err_set(e, ERR_UNAVAILABLE, "the result of job %s is locked", job_id);
	return rc;
}

enum err_code mysql_registry_fence(struct sink *base, const char *job_id, int64_t run, int64_t ttl_ms, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	enum err_code rc = mysql_sink_connect(base, e);
	if (rc != ERR_OK)
		return rc;
	buf_reset(&s->sql);
	mysql_registry_add_guard(s, job_id, run, NULL, ttl_ms);
	mysql_registry_add_unlock(s, job_id);
	return run_guarded(s, job_id, run, e);
}

/* With the lock held. The row then belongs to the next run, of whatever job: the one that is purged may not have ended, and
 * is to publish nothing afterwards. */
static enum err_code drop_claimed(
        struct mysql_sink *s, const char *job_id, int64_t run, const char *table, struct err *e)
{
	buf_reset(&s->sql);
	buf_addf(&s->sql, "UPDATE dungbeetle_results SET run = %" PRId64, run + 1);
	add_where(s, job_id);
	if (table) {
		buf_addstr(&s->sql, "; DROP TABLE IF EXISTS ");
		mysql_rows_name(&s->sql, table);
		buf_addstr(&s->sql, "; UPDATE dungbeetle_results SET claimed = NULL, " NO_RESULT ", expires_at = ");
		add_interval(s, 3600000);
		add_where(s, job_id);
	}
	mysql_registry_add_unlock(s, job_id);
	return mysql_sink_run(s, NULL, e);
}

enum err_code mysql_registry_purge(struct sink *base, const char *job_id, int64_t run, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	MYSQL_RES *res = NULL;
	MYSQL_ROW row = NULL;
	enum err_code rc = mysql_sink_connect(base, e);
	if (rc != ERR_OK)
		return rc;
	buf_reset(&s->sql);
	mysql_registry_add_guard(s, job_id, run, NULL, 3600000);
	rc = run_guarded(s, job_id, run, e);
	if (rc == ERR_LOST) { /* what is there is not ours to drop */
		*e = ERR_INIT;
		return ERR_OK;
	}
	bool locked = rc == ERR_OK;
	if (rc == ERR_OK)
		rc = read_row(s, job_id, "claimed", &res, &row, e);
	if (rc == ERR_OK)
		rc = drop_claimed(s, job_id, run, row ? row[0] : NULL, e);
	mysql_free_result(res);
	if (rc != ERR_OK && locked)
		mysql_registry_unlock(s, job_id);
	if (rc != ERR_OK && rc != ERR_NOMEM)
		e->code = rc = ERR_UNAVAILABLE;
	return rc;
}

/* A crash costs no rows: every table of an engine that results may be kept in is on disk when its statement has ended.
 * (The durabilities relaxed and unlogged mean full here.) */
enum err_code mysql_registry_recover(struct sink *base, bool *crashed, lost_fn lost, void *ctx, struct err *e)
{
	(void)lost;
	(void)ctx;
	*crashed = false;
	return mysql_sink_connect(base, e);
}

enum err_code mysql_registry_recovered(struct sink *base, struct err *e)
{
	(void)base;
	(void)e;
	return ERR_OK;
}
