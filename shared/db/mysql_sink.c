/* MySQL and MariaDB as a results database. DDL commits by itself there, so a result becomes readable by one statement that
 * is atomic: for readers, who wait for the metadata lock of the table's name, and in a crash.
 *
 * A small result of a job that has none yet goes out as one string of statements:
 *     INSERT into the registry, taking the job's lock; CREATE TABLE results_x ... SELECT literals; release the lock
 * The long way, for large results, for replacing one, and for servers and engines whose CREATE ... SELECT is not atomic:
 *     CREATE staging, LOAD or INSERT | claim the registry row, taking the job's lock; RENAME final TO trash, staging TO
 *     final; UPDATE the row; release the lock | DROP trash
 * What stands between bars is one string: a client that stops (SIGSTOP, a frozen machine) cannot stop in between. The lock
 * (GET_LOCK, mysql_registry.c) makes claim and RENAME one step for whoever claims, purges or drops the same job's result.
 * A crash leaves at most tables dungbeetle_staging_* and dungbeetle_trash_*, which dungbeetle-expire drops.
 */
#include "shared/db/mysql_sink.h"

#include <inttypes.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "shared/base/log.h"
#include "shared/base/parse.h"

#define ROWS_MAX_BYTES (1u << 30) /* of a row, the longest that the buffer takes */
#define SQL_MAX_BYTES ((size_t)2 << 30)
#define LOCK_TRIES 60  /* attempts to replace a table that is being read */
#define SELECT_ROWS 64 /* of a CREATE TABLE ... SELECT: with more, an INSERT and a RENAME cost less */
#define RESULT_ENGINES "InnoDB, Aria, MyISAM, ROCKSDB, TokuDB"

static struct sink *make(const struct cfg_results *cfg)
{
	struct mysql_sink *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->base.ops = &mysql_sink_ops;
	s->cfg = cfg;
	mysql_conn_init(&s->conn, ERR_UNAVAILABLE);
	buf_init(&s->buf, ROWS_MAX_BYTES);
	buf_init(&s->sql, SQL_MAX_BYTES);
	return &s->base;
}

void mysql_sink_disconnect(struct mysql_sink *s)
{
	mysql_conn_close(&s->conn);
	s->mode = MYSQL_SINK_IDLE;
}

static void destroy(struct sink *base)
{
	if (!base)
		return;
	struct mysql_sink *s = mysql_sink_self(base);
	mysql_conn_fini(&s->conn);
	buf_fini(&s->buf);
	buf_fini(&s->sql);
	free(s->forms);
	free(s);
}

/* --- sending --- */

enum err_code mysql_sink_run(struct mysql_sink *s, int *done, struct err *e)
{
	MYSQL *my = s->conn.my;
	int n = 0;
	if (done)
		*done = 0;
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	int status = mysql_real_query(my, s->sql.data, s->sql.len) ? 1 : 0; /* as mysql_next_result's: -1 is the end */
	while (status == 0) {
		MYSQL_RES *res = mysql_store_result(my);
		if (!res && mysql_field_count(my))
			break;
		mysql_free_result(res);
		s->affected = (int64_t)mysql_affected_rows(my);
		s->warnings = mysql_warning_count(my);
		n++;
		status = mysql_next_result(my);
	}
	if (done)
		*done = n;
	return status == -1 ? ERR_OK : mysql_conn_error(&s->conn, NULL, e);
}

enum err_code mysql_sink_ask(struct mysql_sink *s, MYSQL_RES **res, struct err *e)
{
	if (!buf_ok(&s->sql))
		return err_nomem(e);
	enum err_code rc = mysql_conn_exec(&s->conn, buf_str(&s->sql), res, e);
	if (rc == ERR_OK && !*res)
		rc = err_set(e, ERR_TRANSIENT, "the results database gave no answer");
	return rc;
}

bool mysql_sink_is_busy(const struct mysql_sink *s)
{
	unsigned number = mysql_errno(s->conn.my);
	return number == ER_LOCK_WAIT_TIMEOUT || number == ER_LOCK_DEADLOCK;
}

/* "<hash of the job>_<run>": of whom a table is. */
static void own_suffix(const struct mysql_sink *s, char out[64])
{
	char hash[MYSQL_ROWS_HASH];
	mysql_rows_hash(s->spec.job_id, "", hash);
	snprintf(out, 64, "%s_%" PRId64, hash, s->spec.run);
}

void mysql_sink_add_own(struct mysql_sink *s, const char *prefix)
{
	char suffix[64];
	own_suffix(s, suffix);
	buf_addf(&s->sql, "`%s%s`", prefix, suffix);
}

void mysql_sink_add_own_lock(struct mysql_sink *s)
{
	char suffix[64];
	own_suffix(s, suffix);
	mysql_registry_add_lock_name(s, suffix);
}

/* --- connecting --- */

static const char *engine_of(const struct mysql_sink *s)
{
	const char *engine = s->cfg->storage_engine;
	return engine && engine[0] ? engine : "InnoDB";
}

/* Is name in the list, whose members are parted by ", "? */
static bool is_listed(const char *list, const char *name)
{
	size_t len = strlen(name);
	for (const char *at = list; *at;) {
		size_t n = strcspn(at, ",");
		if (n == len && strncasecmp(at, name, n) == 0)
			return true;
		at += n + strspn(at + n, ", ");
	}
	return false;
}

static enum err_code check_engine(struct mysql_sink *s, struct err *e)
{
	const char *engine = engine_of(s);
	if (!is_listed(RESULT_ENGINES, engine))
		return err_set(e, ERR_UNAVAILABLE,
		        "storage_engine '%.64s': results cannot be kept in it, only in one of " RESULT_ENGINES, engine);
	buf_reset(&s->sql);
	buf_addstr(&s->sql,
	        "SELECT COUNT(*) FROM information_schema.engines WHERE support IN ('YES', 'DEFAULT') AND engine = ");
	mysql_rows_literal(&s->sql, engine);
	MYSQL_RES *res = NULL;
	enum err_code rc = mysql_sink_ask(s, &res, e);
	MYSQL_ROW row = rc == ERR_OK ? mysql_fetch_row(res) : NULL;
	if (rc == ERR_OK && (!row || !row[0] || strcmp(row[0], "0") == 0))
		rc = err_set(e, ERR_UNAVAILABLE, "storage_engine '%.64s': the server has none of that name", engine);
	mysql_free_result(res);
	return rc;
}

int64_t mysql_sink_number(const char *text)
{
	int64_t v;
	return text && parse_i64(text, strlen(text), INT64_MIN, INT64_MAX, &v) ? v : 0;
}

/* Said once for each database, whatever number of slots use it. */
static void warn_of_infile(const struct cfg_results *cfg)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards said */
	static const struct cfg_results *said[64];
	size_t i = 0;
	pthread_mutex_lock(&lock);
	while (i < sizeof said / sizeof *said && said[i] && said[i] != cfg)
		i++;
	bool is_new = i == sizeof said / sizeof *said || !said[i];
	if (i < sizeof said / sizeof *said)
		said[i] = cfg;
	pthread_mutex_unlock(&lock);
	if (is_new)
		log_warn(
		        "the results database forbids LOAD DATA LOCAL (local_infile is off): large results go there by "
		        "INSERT, which is slower results=%s",
		        cfg->name);
}

void mysql_sink_forbid_infile(struct mysql_sink *s)
{
	s->local_infile = false;
	warn_of_infile(s->cfg);
}

static enum err_code look_at_server(struct mysql_sink *s, struct err *e)
{
	MYSQL_RES *res = NULL;
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "SELECT DATABASE(), @@local_infile, @@lower_case_table_names, @@max_allowed_packet");
	enum err_code rc = mysql_sink_ask(s, &res, e);
	MYSQL_ROW row = rc == ERR_OK ? mysql_fetch_row(res) : NULL;
	if (rc == ERR_OK && (!row || !row[0])) {
		rc = err_set(e, ERR_UNAVAILABLE, "the dsn names no database");
	} else if (row) {
		snprintf(s->database, sizeof s->database, "%s", row[0]);
		s->local_infile = mysql_sink_number(row[1]) != 0;
		s->folds_names = mysql_sink_number(row[2]) != 0;
		s->packet = mysql_sink_number(row[3]);
		s->atomic_select = s->conn.version >= (s->conn.mariadb ? 100600u : 80021u);
		if (!s->local_infile)
			warn_of_infile(s->cfg);
	}
	mysql_free_result(res);
	return rc;
}

/* What a server may not know, or not allow everybody. */
static void set_more(struct mysql_sink *s)
{
	struct err ignored = ERR_INIT;
	/* A row whose columns might not fit a page is refused when such a row comes, not when the table is made. */
	(void)!mysql_conn_exec(&s->conn, "SET innodb_strict_mode = OFF", NULL, &ignored);
	if (s->conn.mariadb)
		(void)!mysql_conn_exec(&s->conn, "SET max_statement_time = 0", NULL, &ignored);
}

enum err_code mysql_sink_connect(struct sink *base, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	if (mysql_conn_alive(&s->conn))
		return ERR_OK;
	mysql_sink_disconnect(s);
	s->lock_wait_s = s->cfg->lock_timeout_ms <= 1000 ? 1 : (s->cfg->lock_timeout_ms + 999) / 1000;
	char locks[128];
	snprintf(locks, sizeof locks, "SET lock_wait_timeout = %" PRId64 ", innodb_lock_wait_timeout = %" PRId64,
	        s->lock_wait_s, s->lock_wait_s);
	/* The server may wait for rows as long as a source makes us wait. Zero dates are values. */
	const char *const setup[] = {"SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
	                             " autocommit = 1, net_read_timeout = 86400, net_write_timeout = 600",
	        locks, NULL};
	struct mysql_settings settings = {.dsn = s->cfg->dsn,
	        .password = s->cfg->password,
	        .connect_timeout_ms = s->cfg->connect_timeout_ms,
	        .setup = setup,
	        .multi_statements = true,
	        .local_infile = true,
	        .prepare = mysql_load_prepare,
	        .prepare_ctx = s};
	enum err_code rc = mysql_conn_open(&s->conn, &settings, e);
	if (rc == ERR_OK)
		rc = look_at_server(s, e);
	if (rc == ERR_OK)
		rc = check_engine(s, e);
	if (rc == ERR_OK)
		rc = mysql_registry_make(s, e);
	if (rc == ERR_OK) {
		set_more(s);
		return ERR_OK;
	}
	mysql_sink_disconnect(s);
	return rc == ERR_NOMEM ? rc : (e->code = ERR_UNAVAILABLE);
}

/* --- a result --- */

static enum err_code begin(
        struct sink *base, const struct result_spec *spec, const struct columns *columns, enum wire wire, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	(void)wire;
	for (const char *p = spec->table; s->folds_names && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			return err_set(e, ERR_PERMANENT,
			        "the results database does not tell capital letters in table names (its "
			        "lower_case_table_names is not 0), so a job id cannot have any");
	unsigned char *forms = realloc(s->forms, columns->n ? columns->n : 1);
	if (!forms)
		return err_nomem(e);
	s->forms = forms;
	for (size_t i = 0; i < columns->n; i++)
		s->forms[i] = (unsigned char)mysql_rows_form(&columns->list[i]);
	s->spec = *spec;
	s->columns = columns;
	s->rows = 0;
	s->has_table = s->recorded = false;
	db_insistence_reset(&s->insistence);
	mysql_conn_may_break(&s->conn, true);
	s->mode = MYSQL_SINK_BUFFERING;
	buf_reset(&s->buf);
	return ERR_OK;
}

static enum err_code fill(struct sink *base, struct feed *feed, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	struct row row;
	for (bool done = false;;) {
		enum err_code rc = feed->next(feed, &row, &done, e);
		if (rc == ERR_OK && !done)
			rc = mysql_load_row(s, &row, e);
		if (rc != ERR_OK || done)
			return rc;
		if (s->buf.len > MYSQL_SINK_SMALL)
			return mysql_load_stage(s, feed, e);
	}
}

void mysql_sink_add_table(struct mysql_sink *s)
{
	mysql_rows_columns(&s->sql, s->columns);
	/* InnoDB would keep statistics of each table in two tables of its own: half of the price of a small result. */
	buf_addf(&s->sql, " ENGINE=%s DEFAULT CHARSET=utf8mb4 STATS_PERSISTENT=0", engine_of(s));
}

/* --- small results --- */

static bool fits_select(const struct mysql_sink *s)
{
	return s->rows == 0 ||
	        (s->atomic_select && s->rows <= SELECT_ROWS && strcasecmp(engine_of(s), "InnoDB") == 0 &&
	                mysql_rows_keeps_names(s->columns));
}

static void small_sql(struct mysql_sink *s)
{
	buf_reset(&s->sql);
	mysql_registry_add_insert(s);
	buf_addstr(&s->sql, "; CREATE TABLE ");
	mysql_rows_name(&s->sql, s->spec.table);
	buf_addc(&s->sql, ' ');
	mysql_sink_add_table(s);
	const char *at = buf_str(&s->buf);
	for (int64_t i = 0; i < s->rows; i++) {
		buf_addstr(&s->sql, i ? " UNION ALL SELECT " : " SELECT ");
		at = mysql_rows_values(&s->sql, at, s->columns, s->forms, i == 0);
	}
	mysql_registry_add_unlock(s, s->spec.job_id);
}

/* *occupied: there is a table of that name already, or the short way does not do; the long way is to be taken. */
static enum err_code publish_small(struct mysql_sink *s, bool *occupied, struct err *e)
{
	small_sql(s);
	*occupied = (int64_t)s->sql.len >= s->packet;
	if (*occupied)
		return ERR_OK;
	int done = 0;
	enum err_code rc = mysql_sink_run(s, &done, e);
	if (rc == ERR_OK)
		return ERR_OK;
	s->recorded = done >= MYSQL_GUARD_STATEMENTS;
	if (rc == ERR_UNAVAILABLE || atomic_load(&s->conn.cancelled))
		return rc;
	/* The INSERT: the job has a row, or its lock is taken. Else the CREATE: there is a table without a row; or a value that
	 * its column cannot hold, which the long way tells better. */
	*occupied = rc == ERR_PERMANENT || mysql_sink_is_busy(s);
	mysql_registry_unlock(s, s->spec.job_id);
	return rc;
}

/* --- the long way --- */

/* What is sent to put the staging table in the final one's place, from the statement on that is not yet done. */
static void swap_sql(struct mysql_sink *s)
{
	buf_reset(&s->sql);
	mysql_registry_add_guard(s, s->spec.job_id, s->spec.run, s->spec.table, s->spec.ttl_ms);
	buf_addstr(&s->sql, "; RENAME TABLE ");
	if (s->has_table) {
		mysql_rows_name(&s->sql, s->spec.table);
		buf_addstr(&s->sql, " TO ");
		mysql_sink_add_own(s, MYSQL_TRASH);
		buf_addstr(&s->sql, ", ");
	}
	mysql_sink_add_own(s, MYSQL_STAGING);
	buf_addstr(&s->sql, " TO ");
	mysql_rows_name(&s->sql, s->spec.table);
	mysql_registry_add_update(s);
	mysql_registry_add_unlock(s, s->spec.job_id);
}

/* One attempt. *busy: somebody has a lock, or it turned out whether there is a table: try again. */
static enum err_code swap(struct mysql_sink *s, bool *busy, struct err *e)
{
	int done = 0;
	swap_sql(s);
	enum err_code rc = mysql_sink_run(s, &done, e);
	*busy = false;
	if (rc == ERR_OK || rc == ERR_UNAVAILABLE || rc == ERR_NOMEM)
		return rc;
	*busy = mysql_sink_is_busy(s);
	const unsigned number = mysql_errno(s->conn.my);
	if (done < MYSQL_GUARD_STATEMENTS) {
		if (number == ER_BAD_NULL_ERROR) {
			rc = mysql_registry_look(s, e);
			*busy = rc == ERR_OK;
			if (*busy) /* then it is the lock */
				rc = err_set(e, ERR_UNAVAILABLE, "another run has the job's lock");
		}
	} else if (done > MYSQL_GUARD_STATEMENTS) {
		/* It is published, but not recorded, which the next run does. */
		e->code = rc = ERR_UNAVAILABLE;
		*busy = false;
	} else if (number == (s->has_table ? ER_NO_SUCH_TABLE : ER_TABLE_EXISTS_ERROR)) {
		s->has_table = !s->has_table;
		*busy = true;
	}
	mysql_registry_unlock(s, s->spec.job_id);
	return rc;
}

/* The old table, which nobody can name any more, and our lock on the two. What fails here is for dungbeetle-expire. */
static void drop_trash(struct mysql_sink *s)
{
	struct err ignored = ERR_INIT;
	buf_reset(&s->sql);
	if (s->has_table) {
		buf_addstr(&s->sql, "DROP TABLE IF EXISTS ");
		mysql_sink_add_own(s, MYSQL_TRASH);
		buf_addstr(&s->sql, "; ");
	}
	buf_addstr(&s->sql, "DO RELEASE_LOCK(");
	mysql_sink_add_own_lock(s);
	buf_addc(&s->sql, ')');
	(void)!mysql_sink_run(s, NULL, &ignored);
}

static enum err_code publish_staged(struct mysql_sink *s, struct err *e)
{
	enum err_code rc = ERR_OK;
	bool busy = true;
	for (int i = 0; i < LOCK_TRIES; i++) {
		rc = swap(s, &busy, e);
		if (!busy || atomic_load(&s->conn.cancelled))
			break;
		/* Who waits for a lock makes later readers wait too: let them in before the next attempt. */
		nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
	}
	if (rc == ERR_OK)
		drop_trash(s);
	else if (busy)
		rc = err_set(e, ERR_UNAVAILABLE, "the old result table is locked by its readers");
	return rc;
}

/* Of what is in the buffer. */
static enum err_code publish_buffered(struct mysql_sink *s, bool *published, struct err *e)
{
	if (fits_select(s)) {
		bool occupied = false;
		enum err_code rc = publish_small(s, &occupied, e);
		if (!occupied) {
			*published = rc == ERR_OK;
			return rc;
		}
		*e = ERR_INIT;
	}
	return mysql_load_stage(s, NULL, e);
}

static enum err_code publish(struct sink *base, struct err *e)
{
	struct mysql_sink *s = mysql_sink_self(base);
	bool published = false;
	mysql_conn_may_break(&s->conn, false);
	enum err_code rc = s->mode == MYSQL_SINK_BUFFERING ? publish_buffered(s, &published, e) : ERR_OK;
	if (rc == ERR_OK && !published)
		rc = publish_staged(s, e);
	if (rc == ERR_OK) {
		s->mode = MYSQL_SINK_IDLE;
		s->recorded = false;
	}
	return rc;
}

/* The staging table goes, and what the registry says of a result that has not come; a connection that is not to be used any more (a KILL may still come for it) is replaced. */
static void do_abort(struct sink *base)
{
	struct mysql_sink *s = mysql_sink_self(base);
	struct err ignored = ERR_INIT;
	bool left = s->mode == MYSQL_SINK_STAGED || s->recorded;
	if (left && atomic_load(&s->conn.cancelled))
		left = mysql_sink_connect(base, &ignored) == ERR_OK;
	if (left && mysql_conn_alive(&s->conn)) {
		buf_reset(&s->sql);
		buf_addstr(&s->sql, "DROP TABLE IF EXISTS ");
		mysql_sink_add_own(s, MYSQL_STAGING);
		buf_addstr(&s->sql, "; DO RELEASE_LOCK(");
		mysql_sink_add_own_lock(s);
		buf_addc(&s->sql, ')');
		if (s->recorded)
			mysql_registry_add_retract(s);
		if (mysql_sink_run(s, NULL, &ignored) != ERR_OK)
			mysql_sink_disconnect(s);
	}
	if (!mysql_conn_alive(&s->conn))
		mysql_sink_disconnect(s);
	s->mode = MYSQL_SINK_IDLE;
	s->recorded = false;
	buf_reset(&s->buf);
}

static void do_cancel(struct sink *base)
{
	struct mysql_sink *s = mysql_sink_self(base);
	if (db_insistence_is_due(&s->insistence) || !mysql_conn_cancel(&s->conn))
		mysql_conn_break(&s->conn);
}

static bool alive(struct sink *base)
{
	return mysql_conn_alive(&mysql_sink_self(base)->conn);
}

const struct sink_ops mysql_sink_ops = {
        .wires = WIRE_TEXT,
        .name_max = 64, /* characters, in truth */
        .names_fold = true,
        .make = make,
        .free = destroy,
        .connect = mysql_sink_connect,
        .alive = alive,
        .begin = begin,
        .fill = fill,
        .publish = publish,
        .abort = do_abort,
        .cancel = do_cancel,
        .fence = mysql_registry_fence,
        .purge = mysql_registry_purge,
        .recover = mysql_registry_recover,
        .recovered = mysql_registry_recovered,
        .has_result = mysql_registry_has_result,
        .expire = mysql_registry_expire,
};
