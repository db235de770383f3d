/* Expiry in a MySQL or MariaDB results database. Every table is dropped under its lock, and a job's after another look at
 * the row: who holds the lock (a run that publishes, another copy of ourselves) keeps it until the next turn. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared/db/mysql_sink.h"

/* Rows whose table somebody has dropped by hand, or whose server crashed before it was made. */
#define STRAY \
	"table_name IS NOT NULL AND table_name NOT IN" \
	" (SELECT t.table_name FROM information_schema.tables t WHERE t.table_schema = DATABASE())"

/* The tables of runs that did not end well. */
#define OWN_TABLES \
	"SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()" \
	" AND table_name REGEXP '^(" MYSQL_STAGING "|" MYSQL_TRASH ")[0-9a-f]{16}_[0-9]+$'"

static enum err_code number(struct mysql_sink *s, int64_t *out, struct err *e)
{
	MYSQL_RES *res = NULL;
	enum err_code rc = mysql_sink_ask(s, &res, e);
	MYSQL_ROW row = rc == ERR_OK ? mysql_fetch_row(res) : NULL;
	*out = row ? mysql_sink_number(row[0]) : 0;
	mysql_free_result(res);
	return rc;
}

/* Takes a lock if it is free. */
static enum err_code lock(struct mysql_sink *s, const char *what, bool *got, struct err *e)
{
	int64_t answer = 0;
	buf_reset(&s->sql);
	buf_addf(&s->sql, "SET wait_timeout = %d; SELECT GET_LOCK(", MYSQL_SILENCE_S);
	mysql_registry_add_lock_name(s, what);
	buf_addstr(&s->sql, ", 0)");
	enum err_code rc = number(s, &answer, e);
	*got = answer == 1;
	return rc;
}

/* Sends s->sql, which drops a table; what is being read is left for the next turn. */
static enum err_code drop(struct mysql_sink *s, int64_t *dropped, struct expire_stats *stats, struct err *e)
{
	enum err_code rc = mysql_sink_run(s, NULL, e);
	if (rc == ERR_OK) {
		++*dropped;
	} else if (rc != ERR_UNAVAILABLE && mysql_sink_is_busy(s)) {
		stats->left++;
		*e = ERR_INIT;
		rc = ERR_OK;
	}
	return rc;
}

/* --- results --- */

static void add_where(struct mysql_sink *s, const char *job_id, const char *condition)
{
	buf_addf(&s->sql, " FROM dungbeetle_results WHERE %s AND job_id = ", condition);
	mysql_rows_literal(&s->sql, job_id);
}

/* With the lock held: drops the job's table and row if the condition still holds. */
static enum err_code drop_result(struct mysql_sink *s, const char *job_id, const char *condition, int64_t *dropped,
        struct expire_stats *stats, struct err *e)
{
	MYSQL_RES *res = NULL;
	int64_t guards = 0; /* rows without a result are not counted */
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "SELECT claimed, table_name");
	add_where(s, job_id, condition);
	enum err_code rc = mysql_sink_ask(s, &res, e);
	MYSQL_ROW row = rc == ERR_OK ? mysql_fetch_row(res) : NULL;
	if (row) {
		buf_reset(&s->sql);
		if (row[0]) {
			buf_addstr(&s->sql, "DROP TABLE IF EXISTS ");
			mysql_rows_name(&s->sql, row[0]);
			buf_addstr(&s->sql, "; ");
		}
		buf_addstr(&s->sql, "DELETE");
		add_where(s, job_id, condition);
		rc = drop(s, row[1] ? dropped : &guards, stats, e);
	}
	mysql_free_result(res);
	return rc;
}

static enum err_code expire_one(struct mysql_sink *s, const char *job_id, const char *condition, int64_t *dropped,
        struct expire_stats *stats, struct err *e)
{
	bool got = false;
	enum err_code rc = lock(s, job_id, &got, e);
	if (rc != ERR_OK || !got)
		return rc;
	rc = drop_result(s, job_id, condition, dropped, stats, e);
	mysql_registry_unlock(s, job_id);
	return rc;
}

/* Up to batch of the jobs for which the condition holds and whose ids come behind `after`, which moves on. */
static enum err_code expire_batch(struct mysql_sink *s, int batch, const char *condition, struct buf *after, bool *more,
        int64_t *dropped, struct expire_stats *stats, struct err *e)
{
	MYSQL_RES *res = NULL;
	MYSQL_ROW row;
	int n = 0;
	buf_reset(&s->sql);
	buf_addf(&s->sql, "SELECT job_id FROM dungbeetle_results WHERE %s AND job_id > ", condition);
	mysql_rows_literal(&s->sql, buf_str(after));
	buf_addf(&s->sql, " ORDER BY job_id LIMIT %d", batch);
	enum err_code rc = mysql_sink_ask(s, &res, e);
	for (; rc == ERR_OK && (row = mysql_fetch_row(res)); n++) {
		rc = expire_one(s, row[0], condition, dropped, stats, e);
		buf_reset(after);
		if (!buf_addstr(after, row[0]) && rc == ERR_OK)
			rc = err_nomem(e);
	}
	*more = n == batch;
	mysql_free_result(res);
	return rc;
}

static enum err_code expire_all(struct mysql_sink *s, int batch, bool dry_run, const char *condition, int64_t *dropped,
        struct expire_stats *stats, struct err *e)
{
	struct buf after;
	bool more = true;
	enum err_code rc = ERR_OK;
	if (dry_run) {
		buf_reset(&s->sql);
		buf_addf(&s->sql, "SELECT COUNT(*) FROM dungbeetle_results WHERE %s AND table_name IS NOT NULL",
		        condition);
		return number(s, dropped, e);
	}
	buf_init(&after, 4096);
	while (rc == ERR_OK && more)
		rc = expire_batch(s, batch, condition, &after, &more, dropped, stats, e);
	buf_fini(&after);
	return rc;
}

/* --- tables of runs --- */

/* "dungbeetle_staging_<of whom>": dropped when nobody holds the lock of that run. */
static enum err_code drop_own(
        struct mysql_sink *s, const char *table, bool dry_run, struct expire_stats *stats, struct err *e)
{
	bool got = false;
	const char *whose = table + strlen(strstr(table, MYSQL_TRASH) ? MYSQL_TRASH : MYSQL_STAGING);
	enum err_code rc = lock(s, whose, &got, e);
	if (rc != ERR_OK || !got)
		return rc;
	if (dry_run) {
		stats->strays++;
	} else {
		buf_reset(&s->sql);
		buf_addstr(&s->sql, "DROP TABLE IF EXISTS ");
		mysql_rows_name(&s->sql, table);
		rc = drop(s, &stats->strays, stats, e);
	}
	mysql_registry_unlock(s, whose);
	return rc;
}

static enum err_code drop_all_own(struct mysql_sink *s, bool dry_run, struct expire_stats *stats, struct err *e)
{
	MYSQL_RES *res = NULL;
	MYSQL_ROW row;
	buf_reset(&s->sql);
	buf_addstr(&s->sql, OWN_TABLES);
	enum err_code rc = mysql_sink_ask(s, &res, e);
	while (rc == ERR_OK && (row = mysql_fetch_row(res)))
		rc = drop_own(s, row[0], dry_run, stats, e);
	mysql_free_result(res);
	return rc;
}

/* The condition on rows that have expired before this whole second of the server's clock: what expires while we work is the
 * next turn's. And for how long a DROP may wait. */
static enum err_code begin(struct mysql_sink *s, int64_t lock_timeout_ms, char expired[64], struct err *e)
{
	MYSQL_RES *res = NULL;
	buf_reset(&s->sql);
	buf_addf(&s->sql, "SET lock_wait_timeout = %" PRId64 "; SELECT UTC_TIMESTAMP()",
	        lock_timeout_ms <= 1000 ? 1 : (lock_timeout_ms + 999) / 1000);
	enum err_code rc = mysql_sink_ask(s, &res, e);
	MYSQL_ROW row = rc == ERR_OK ? mysql_fetch_row(res) : NULL;
	snprintf(expired, 64, "expires_at < '%.19s'", row && row[0] ? row[0] : "1000-01-01");
	mysql_free_result(res);
	return rc;
}

enum err_code mysql_registry_expire(
        struct sink *base, int batch, int64_t lock_timeout_ms, bool dry_run, struct expire_stats *stats, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	char expired[64];
	enum err_code rc = mysql_sink_connect(base, e);
	if (rc == ERR_OK)
		rc = begin(s, lock_timeout_ms, expired, e);
	if (rc == ERR_OK)
		rc = expire_all(s, batch, dry_run, expired, &stats->expired, stats, e);
	if (rc == ERR_OK)
		rc = expire_all(s, batch, dry_run, STRAY, &stats->strays, stats, e);
	if (rc == ERR_OK)
		rc = drop_all_own(s, dry_run, stats, e);
	return rc;
}
