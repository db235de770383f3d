/* The registry of a PostgreSQL results database: dungbeetle_results, and what tells of a crash.
 *
 * A crash of the server empties UNLOGGED tables and takes back the newest commits that did not wait for the disk.
 * dungbeetle_marker is UNLOGGED itself and holds a number, the epoch: when it is empty, there was a crash, and a new epoch
 * begins. Each registry row keeps the epoch in which its table was filled; dungbeetle_recovered the last epoch whose
 * losses have been dealt with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/db/pg_sink.h"

/* The lock makes concurrent first starts wait for each other: IF NOT EXISTS alone races in the catalog. */
static const char make_tables[] =
        "BEGIN; SELECT pg_advisory_xact_lock(hashtext('dungbeetle registry'));"
        "CREATE TABLE IF NOT EXISTS dungbeetle_results ("
        " job_id text PRIMARY KEY, run bigint NOT NULL, table_name text, task text, row_count bigint,"
        " unlogged boolean NOT NULL, epoch bigint NOT NULL,"
        " created_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL);"
        "CREATE TABLE IF NOT EXISTS dungbeetle_recovered (one boolean PRIMARY KEY CHECK (one), epoch bigint NOT NULL);"
        "CREATE UNLOGGED TABLE IF NOT EXISTS dungbeetle_marker (one boolean PRIMARY KEY CHECK (one), epoch bigint NOT "
        "NULL);"
        "COMMIT";

static enum err_code scalar(struct pg_sink *s, const char *sql, int64_t fallback, int64_t *out, struct err *e)
{
	PGresult *res = NULL;
	enum err_code rc = pg_exec(&s->conn, sql, &res, e);
	if (rc == ERR_OK)
		*out = PQntuples(res) ? pg_i64(PQgetvalue(res, 0, 0)) : fallback;
	PQclear(res);
	return rc;
}

static void roll_back(struct pg_sink *s)
{
	if (s->conn.pg && PQstatus(s->conn.pg) == CONNECTION_OK && PQtransactionStatus(s->conn.pg) != PQTRANS_IDLE)
		PQclear(PQexec(s->conn.pg, "ROLLBACK"));
}

enum err_code pg_registry_make(struct pg_sink *s, struct err *e)
{
	int64_t there = 0;
	enum err_code rc = scalar(s,
	        "SELECT count(to_regclass(n)) FROM "
	        "unnest('{dungbeetle_results,dungbeetle_recovered,dungbeetle_marker}'::text[]) n",
	        0, &there, e);
	if (rc == ERR_OK && there < 3)
		rc = pg_exec(&s->conn, make_tables, NULL, e);
	roll_back(s);
	return rc;
}

enum err_code pg_registry_open(struct pg_sink *s, struct err *e)
{
	enum err_code rc = pg_registry_make(s, e);
	if (rc == ERR_OK)
		rc = scalar(s, "SELECT epoch FROM dungbeetle_marker", 0, &s->epoch, e);
	if (rc == ERR_OK && s->epoch == 0)
		rc = pg_exec(&s->conn,
		        "INSERT INTO dungbeetle_marker SELECT true, (extract(epoch FROM clock_timestamp()) * "
		        "1000000)::bigint"
		        " ON CONFLICT DO NOTHING",
		        NULL, e);
	if (rc == ERR_OK && s->epoch == 0)
		rc = scalar(s, "SELECT epoch FROM dungbeetle_marker", 0, &s->epoch, e);
	if (rc == ERR_OK)
		rc = pg_exec(&s->conn,
		        "PREPARE dungbeetle_insert(text, bigint, text, text, bigint, boolean, bigint, bigint) AS "
		        "INSERT INTO"
		        " dungbeetle_results (job_id, run, table_name, task, row_count, unlogged, epoch, expires_at)"
		        " VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 ms')",
		        NULL, e);
	roll_back(s);
	return rc;
}

static void add_values(struct pg_sink *s, bool unlogged)
{
	pg_sink_add_literal(s, s->spec.job_id);
	buf_addf(&s->sql, ", %" PRId64 ", ", s->spec.run);
	pg_sink_add_literal(s, s->spec.table);
	buf_addstr(&s->sql, ", ");
	pg_sink_add_literal(s, s->spec.task);
	buf_addf(&s->sql, ", %" PRId64 ", %s, %" PRId64 ", ", s->rows, unlogged ? "true" : "false", s->epoch);
}

void pg_registry_add_insert(struct pg_sink *s, bool unlogged)
{
	buf_addstr(&s->sql, "EXECUTE dungbeetle_insert(");
	add_values(s, unlogged);
	buf_addf(&s->sql, "%" PRId64 ")", s->spec.ttl_ms);
}

void pg_registry_add_replace(struct pg_sink *s, bool unlogged)
{
	buf_addstr(&s->sql,
	        "INSERT INTO dungbeetle_results AS r (job_id, run, table_name, task, row_count, unlogged, epoch,"
	        " expires_at) VALUES (");
	add_values(s, unlogged);
	buf_addf(&s->sql, "now() + interval '%" PRId64 " ms')", s->spec.ttl_ms);
	buf_addstr(&s->sql,
	        " ON CONFLICT (job_id) DO UPDATE SET run = EXCLUDED.run, table_name = EXCLUDED.table_name, task = "
	        "EXCLUDED.task,"
	        " row_count = EXCLUDED.row_count, unlogged = EXCLUDED.unlogged, epoch = EXCLUDED.epoch,"
	        " created_at = now(), expires_at = EXCLUDED.expires_at WHERE r.run <= EXCLUDED.run RETURNING r.run");
}

/* Claims the job's row for run; what is published stays. Without a result the row has no table and only guards. */
enum err_code pg_registry_fence(struct sink *base, const char *job_id, int64_t run, int64_t ttl_ms, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	enum err_code rc = pg_sink_connect(base, e);
	if (rc != ERR_OK)
		return rc;
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "INSERT INTO dungbeetle_results AS r (job_id, run, unlogged, epoch, expires_at) VALUES (");
	pg_sink_add_literal(s, job_id);
	buf_addf(&s->sql,
	        ", %" PRId64 ", false, %" PRId64 ", now() + interval '%" PRId64 " ms')"
	        " ON CONFLICT (job_id) DO UPDATE SET run = EXCLUDED.run WHERE r.run <= EXCLUDED.run RETURNING r.run",
	        run, s->epoch, ttl_ms);
	PGresult *res = NULL;
	rc = pg_sink_run(s, &res, e);
	if (rc == ERR_OK && PQntuples(res) == 0)
		rc = err_set(e, ERR_LOST, "a newer run has begun");
	PQclear(res);
	return rc;
}

static void add_drop(struct pg_sink *s, const char *table)
{
	buf_addstr(&s->sql, "DROP TABLE IF EXISTS ");
	pg_sink_add_name(s, table);
	buf_addstr(&s->sql, "; ");
}

/* The purge itself, inside a transaction. The row then belongs to the next run, of whatever job: the one that is purged may not
 * have ended, and is to publish nothing afterwards. */
static enum err_code purge_row(struct pg_sink *s, const char *job_id, int64_t run, struct err *e)
{
	buf_reset(&s->sql);
	buf_addf(&s->sql,
	        "BEGIN; SET LOCAL lock_timeout = %" PRId64
	        "; INSERT INTO dungbeetle_results AS r (job_id, run, unlogged, epoch, expires_at) VALUES (",
	        s->cfg->lock_timeout_ms);
	pg_sink_add_literal(s, job_id);
	buf_addf(&s->sql,
	        ", %" PRId64 ", false, 0, now() + interval '1 hour') ON CONFLICT (job_id) DO UPDATE"
	        " SET run = EXCLUDED.run WHERE r.run < EXCLUDED.run RETURNING r.table_name",
	        run + 1);
	PGresult *res = NULL;
	enum err_code rc = pg_sink_run(s, &res, e);
	if (rc == ERR_OK && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0)) {
		buf_reset(&s->sql);
		add_drop(s, PQgetvalue(res, 0, 0));
		buf_addstr(&s->sql,
		        "UPDATE dungbeetle_results SET table_name = NULL, row_count = NULL, unlogged = false,"
		        " expires_at = now() + interval '1 hour' WHERE job_id = ");
		pg_sink_add_literal(s, job_id);
		rc = pg_sink_run(s, NULL, e);
	}
	PQclear(res);
	return rc == ERR_OK ? pg_exec(&s->conn, "COMMIT", NULL, e) : rc;
}

enum err_code pg_registry_purge(struct sink *base, const char *job_id, int64_t run, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	enum err_code rc = pg_sink_connect(base, e);
	if (rc == ERR_OK)
		rc = purge_row(s, job_id, run, e);
	roll_back(s);
	if (rc != ERR_OK && rc != ERR_NOMEM)
		e->code = rc = ERR_UNAVAILABLE;
	return rc;
}

/* Drops what is UNLOGGED and of an older epoch: emptied by the crash. */
static enum err_code drop_emptied(struct pg_sink *s, lost_fn lost, void *ctx, struct err *e)
{
	buf_reset(&s->sql);
	buf_addf(&s->sql,
	        "SELECT job_id, run, table_name FROM dungbeetle_results WHERE unlogged AND epoch <> %" PRId64
	        " AND table_name IS NOT NULL",
	        s->epoch);
	PGresult *res = NULL;
	enum err_code rc = pg_sink_run(s, &res, e);
	for (int i = 0; rc == ERR_OK && i < PQntuples(res); i++) {
		const char *job_id = PQgetvalue(res, i, 0), *run = PQgetvalue(res, i, 1);
		buf_reset(&s->sql);
		buf_addstr(&s->sql, "BEGIN; SET LOCAL lock_timeout = 5000; ");
		add_drop(s, PQgetvalue(res, i, 2));
		buf_addstr(&s->sql, "DELETE FROM dungbeetle_results WHERE job_id = ");
		pg_sink_add_literal(s, job_id);
		buf_addf(&s->sql, " AND run = %s; COMMIT", run);
		rc = pg_sink_run(s, NULL, e);
		if (rc == ERR_OK)
			lost(ctx, job_id, pg_i64(run));
	}
	PQclear(res);
	return rc;
}

enum err_code pg_registry_recover(struct sink *base, bool *crashed, lost_fn lost, void *ctx, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	int64_t recovered = 0;
	*crashed = false;
	enum err_code rc = pg_sink_connect(base, e);
	if (rc == ERR_OK)
		rc = scalar(s, "SELECT epoch FROM dungbeetle_recovered", 0, &recovered, e);
	if (rc == ERR_OK && recovered == 0)
		return pg_registry_recovered(base, e); /* a new database */
	if (rc == ERR_OK && recovered != s->epoch) {
		*crashed = true;
		rc = drop_emptied(s, lost, ctx, e);
	}
	roll_back(s);
	return rc;
}

enum err_code pg_registry_recovered(struct sink *base, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	buf_reset(&s->sql);
	buf_addf(&s->sql,
	        "BEGIN; SET LOCAL synchronous_commit = on; INSERT INTO dungbeetle_recovered VALUES (true, %" PRId64 ")"
	        " ON CONFLICT (one) DO UPDATE SET epoch = EXCLUDED.epoch; COMMIT",
	        s->epoch);
	enum err_code rc = pg_sink_run(s, NULL, e);
	roll_back(s);
	return rc;
}

enum err_code pg_registry_has_result(struct sink *base, const char *job_id, int64_t run, bool *has, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	char digits[24];
	snprintf(digits, sizeof digits, "%" PRId64, run);
	const char *params[] = {job_id, digits};
	PGresult *res = NULL;
	enum err_code rc = pg_exec_params(&s->conn,
	        "SELECT FROM dungbeetle_results WHERE job_id = $1 AND run = $2::bigint AND table_name IS NOT NULL", 2,
	        params, &res, e);
	if (rc == ERR_OK)
		*has = PQntuples(res) == 1;
	PQclear(res);
	return rc;
}

/* --- expiry --- */

/* Drops one table and its row inside the transaction; what is locked by a reader is left for the next turn. */
static enum err_code expire_one(
        struct pg_sink *s, const char *job_id, const char *table, struct expire_stats *stats, struct err *e)
{
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "SAVEPOINT one; ");
	if (table)
		add_drop(s, table);
	buf_addstr(&s->sql, "DELETE FROM dungbeetle_results WHERE job_id = ");
	pg_sink_add_literal(s, job_id);
	buf_addstr(&s->sql, "; RELEASE one");
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	PGresult *res = PQexec(s->conn.pg, buf_str(&s->sql));
	enum err_code rc = ERR_OK;
	if (pg_is_state(res, "55P03")) {
		stats->left++;
		rc = pg_exec(&s->conn, "ROLLBACK TO one", NULL, e);
	} else if (PQresultStatus(res) != PGRES_COMMAND_OK) {
		rc = pg_conn_error(&s->conn, res, e);
	} else if (table) {
		stats->expired++;
	}
	PQclear(res);
	return rc;
}

/* One transaction: up to batch results whose ids come behind `after`, which moves on. *more: there may be others. */
static enum err_code expire_batch(struct pg_sink *s, int batch, int64_t lock_timeout_ms, int64_t cutoff,
        struct buf *after, bool *more, struct expire_stats *stats, struct err *e)
{
	buf_reset(&s->sql);
	buf_addf(&s->sql,
	        "BEGIN; SET LOCAL lock_timeout = %" PRId64
	        "; SELECT job_id, table_name FROM dungbeetle_results WHERE expires_at < to_timestamp(%" PRId64
	        ") AND job_id > ",
	        lock_timeout_ms, cutoff);
	pg_sink_add_literal(s, buf_str(after));
	buf_addf(&s->sql, " ORDER BY job_id LIMIT %d FOR UPDATE SKIP LOCKED", batch);
	PGresult *res = NULL;
	enum err_code rc = pg_sink_run(s, &res, e);
	int n = rc == ERR_OK ? PQntuples(res) : 0;
	for (int i = 0; rc == ERR_OK && i < n; i++)
		rc = expire_one(
		        s, PQgetvalue(res, i, 0), PQgetisnull(res, i, 1) ? NULL : PQgetvalue(res, i, 1), stats, e);
	if (rc == ERR_OK)
		rc = pg_exec(&s->conn, "COMMIT", NULL, e);
	if (n) {
		buf_reset(after);
		if (!buf_addstr(after, PQgetvalue(res, n - 1, 0)) && rc == ERR_OK)
			rc = err_nomem(e);
	}
	*more = n == batch;
	PQclear(res);
	roll_back(s);
	return rc;
}

static enum err_code count_only(struct pg_sink *s, struct expire_stats *stats, struct err *e)
{
	enum err_code rc =
	        scalar(s, "SELECT count(*) FROM dungbeetle_results WHERE expires_at < now() AND table_name IS NOT NULL",
	                0, &stats->expired, e);
	if (rc == ERR_OK)
		rc = scalar(s,
		        "SELECT count(*) FROM dungbeetle_results WHERE table_name IS NOT NULL AND "
		        "to_regclass(quote_ident(table_name)) IS NULL",
		        0, &stats->strays, e);
	return rc;
}

/* Rows whose table somebody has dropped by hand. (A table and its row are committed together, so there are no tables
 * without a row but such as somebody else made; those are not ours to drop.) */
static enum err_code drop_strays(struct pg_sink *s, struct expire_stats *stats, struct err *e)
{
	return scalar(s,
	        "WITH gone AS (DELETE FROM dungbeetle_results WHERE table_name IS NOT NULL"
	        " AND to_regclass(quote_ident(table_name)) IS NULL RETURNING 1) SELECT count(*) FROM gone",
	        0, &stats->strays, e);
}

enum err_code pg_registry_expire(
        struct sink *base, int batch, int64_t lock_timeout_ms, bool dry_run, struct expire_stats *stats, struct err *e)
{
	struct pg_sink *s = pg_sink_self(base);
	struct buf after;
	bool more = true;
	int64_t cutoff = 0; /* whole seconds of the server's clock: what expires while we work is the next turn's */
	buf_init(&after, 4096);
	enum err_code rc = pg_sink_connect(base, e);
	if (rc == ERR_OK)
		rc = scalar(s, "SELECT floor(extract(epoch FROM now()))::bigint", 0, &cutoff, e);
	if (rc == ERR_OK && dry_run) {
		rc = count_only(s, stats, e);
		more = false;
	}
	while (rc == ERR_OK && more)
		rc = expire_batch(s, batch, lock_timeout_ms, cutoff, &after, &more, stats, e);
	if (rc == ERR_OK && !dry_run)
		rc = drop_strays(s, stats, e);
	buf_fini(&after);
	return rc;
}
