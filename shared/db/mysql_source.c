/* MySQL and MariaDB as a source.
 *
 * Two ways to read, both row by row, with no more in memory than a row. Prepared (the ordinary way): values come in the
 * binary protocol and are written by mysql_types.h, so that they are exact. Arguments are bound as texts, which the server
 * converts as it does a quoted constant; that holds for LIMIT, too. raw and without arguments: the text protocol, for what
 * cannot be prepared; a FLOAT then has the six digits that the server prints.
 *
 * Whose query it is: SHOW PROCESSLIST shows the text, which begins with a comment that names the task (of a raw query the
 * job, too). The job of a prepared one is the session's variable @dungbeetle (performance_schema.user_variables_by_thread):
 * its text is the same for every job. The variable is set with the time limit, in one round trip.
 */
#include <errmsg.h>
#include <inttypes.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/clock.h"
#include "shared/base/parse.h"
#include "shared/db/db_socket.h"
#include "shared/db/mysql_conn.h"
#include "shared/db/mysql_ops.h"
#include "shared/db/mysql_types.h"
#include "shared/db/stmt_cache.h"

#define MAX_SQL (16 << 20)
#define MAX_TAG 256
#define GONE_WITHIN_MS 2000 /* how long abort and evict wait until the query has ended */
#define LOCK_MAX 65         /* with its NUL */

struct prepared {
	struct stmt kept;
	MYSQL_STMT *stmt;
};

/* What the server is still to send: nothing, rows of a prepared statement, rows of a text query. */
enum mode { MODE_IDLE, MODE_STMT, MODE_TEXT };

struct mysql_source {
	struct source base;
	const struct cfg_source *cfg;
	struct mysql_conn conn;
	struct stmt_cache cache;
	enum mode mode;
	bool failed;              /* the server has reported the running query's error */
	char lock[LOCK_MAX];      /* the name of the user-level lock that the connection holds: see evict; "" = none */
	struct prepared *running; /* MODE_STMT */
	MYSQL_RES *res;           /* MODE_TEXT */

	/* For each column of the running query; room is MYSQL_TEXT_ROOM bytes each. */
	struct mysql_reader *readers;
	struct cell *cells;
	char *room;
	size_t n_columns, n_room;
};

static struct mysql_source *self(struct source *s)
{
	return (struct mysql_source *)(void *)s;
}

static void close_stmt(struct stmt *s)
{
	struct prepared *p = (struct prepared *)(void *)s;
	if (p->stmt)
		mysql_stmt_close(p->stmt);
}

static struct source *make(const struct cfg_source *cfg)
{
	struct mysql_source *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->base.ops = &mysql_source_ops;
	s->cfg = cfg;
	mysql_conn_init(&s->conn, ERR_TRANSIENT);
	stmt_cache_init(&s->cache, sizeof(struct prepared), close_stmt);
	return &s->base;
}

/* --- the connection --- */

static void disconnect(struct mysql_source *s)
{
	if (s->mode != MODE_IDLE)
		mysql_conn_cut(&s->conn);
	mysql_free_result(s->res);
	s->res = NULL;
	mysql_conn_close(&s->conn); /* before the statements, which then say no good-bye to the server */
	stmt_cache_clear(&s->cache);
	s->running = NULL;
	s->mode = MODE_IDLE;
	s->lock[0] = '\0';
}

static void destroy(struct source *base)
{
	if (!base)
		return;
	struct mysql_source *s = self(base);
	disconnect(s);
	mysql_conn_fini(&s->conn);
	free(s->readers);
	free(s->cells);
	free(s->room);
	free(s);
}

static enum err_code do_connect(struct source *base, struct err *e)
{
	/* A sink may be slow: by default the server would end the stream after a minute in which it could not write. */
	static const char session[] =
	        "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION',"
	        " net_write_timeout = 3600";
	struct mysql_source *s = self(base);
	if (mysql_conn_alive(&s->conn) && !stmt_cache_is_full(&s->cache))
		return ERR_OK;
	disconnect(s);
	const char *const setup[] = {session,
	        s->cfg->read_only ? "SET SESSION TRANSACTION READ ONLY" : "SET SESSION TRANSACTION READ WRITE", NULL};
	struct mysql_settings settings = {.dsn = s->cfg->dsn,
	        .password = s->cfg->password,
	        .connect_timeout_ms = s->cfg->connect_timeout_ms,
	        .setup = setup};
	return mysql_conn_open(&s->conn, &settings, e);
}

/* --- before the query --- */

/* Appends text such that it ends no comment and no string. */
static void add_tame(struct buf *b, const char *text)
{
	for (; *text; text++)
		buf_addc(b, strchr("*/'\\\"", *text) || (unsigned char)*text < ' ' ? '_' : *text);
}

/* The text of the query with whose it is. */
static void add_signed(struct buf *b, const struct query *q, const char *whose)
{
	buf_addstr(b, "/* dungbeetle: ");
	add_tame(b, whose);
	buf_addstr(b, " */ ");
	buf_addstr(b, q->sql);
}

static void lock_name(const char *job_id, char out[LOCK_MAX])
{
	snprintf(out, LOCK_MAX, "dbt.%s", job_id ? job_id : "");
}

/* The server shows whose a prepared statement is to nobody else; but it tells who has a lock. */
static void add_lock(struct mysql_source *s, const struct query *q, struct buf *sql)
{
	char name[LOCK_MAX];
	lock_name(q->job_id, name);
	if (s->lock[0])
		buf_addf(sql, ", @dungbeetle_lock = RELEASE_LOCK('%s')", s->lock);
	s->lock[0] = '\0';
	if (!q->job_id)
		return;
	buf_addf(sql, ", @dungbeetle_lock = GET_LOCK('%s', 0)", name);
	memcpy(s->lock, name, sizeof name);
}

/* The run's time limit, as the server knows it (a MySQL before 5.7.8 knows none: the caller has its own), and its tag. */
static enum err_code send_limit(struct mysql_source *s, const struct query *q, struct err *e)
{
	struct buf sql;
	buf_init(&sql, MAX_TAG + 512);
	long long ms = q->timeout_ms;
	buf_addstr(&sql, "SET ");
	if (s->conn.mariadb && s->conn.version >= 100101)
		buf_addf(&sql, "max_statement_time = %lld.%03lld, ", ms / 1000, ms % 1000);
	else if (!s->conn.mariadb && s->conn.version >= 50708)
		buf_addf(&sql, "max_execution_time = %lld, ", ms < UINT32_MAX ? ms : UINT32_MAX);
	char tag[MAX_TAG];
	snprintf(tag, sizeof tag, "%s", q->tag ? q->tag : "");
	buf_addstr(&sql, "@dungbeetle = '");
	add_tame(&sql, tag);
	buf_addc(&sql, '\'');
	add_lock(s, q, &sql);
	enum err_code rc = buf_ok(&sql) ? mysql_conn_exec(&s->conn, buf_str(&sql), NULL, e) : err_nomem(e);
	buf_fini(&sql);
	return rc;
}

/* Makes room for n columns; what was there is forgotten. */
static enum err_code make_room(struct mysql_source *s, size_t n, struct err *e)
{
	s->n_columns = n;
	if (n <= s->n_room)
		return ERR_OK;
	free(s->readers);
	free(s->cells);
	free(s->room);
	s->readers = calloc(n, sizeof *s->readers);
	s->cells = calloc(n, sizeof *s->cells);
	s->room = malloc(n * MYSQL_TEXT_ROOM);
	bool ok = s->readers && s->cells && s->room;
	s->n_room = ok ? n : 0;
	return ok ? ERR_OK : err_nomem(e);
}

static enum err_code describe(struct mysql_source *s, MYSQL_RES *metadata, struct columns *out, struct err *e)
{
	size_t n = metadata ? mysql_num_fields(metadata) : 0;
	enum err_code rc = columns_resize(out, n, e);
	out->engine = DB_MYSQL;
	if (rc == ERR_OK)
		rc = make_room(s, n, e);
	for (size_t i = 0; rc == ERR_OK && i < n; i++)
		mysql_type_describe(mysql_fetch_field_direct(metadata, (unsigned)i), &out->list[i], &s->readers[i]);
	return rc;
}

static enum err_code too_many_results(struct err *e)
{
	return err_set(e, ERR_PERMANENT, "the query returns more than one result");
}

/* --- prepared statements --- */

/* Called by mysql_stmt_fetch for each value of a row, one after the other; *at: the value, NULL: SQL NULL. */
static void on_value(void *ctx, unsigned column, unsigned char **at)
{
	struct mysql_source *s = ctx;
	struct cell *cell = &s->cells[column];
	if (at)
		mysql_type_read(&s->readers[column], at, s->room + (size_t)column * MYSQL_TEXT_ROOM, cell);
	else
		*cell = (struct cell){NULL, -1};
}

static enum err_code prepare_new(struct mysql_source *s, const struct query *q, struct prepared *p, struct err *e)
{
	struct buf sql;
	buf_init(&sql, MAX_SQL);
	add_signed(&sql, q, q->task);
	p->stmt = mysql_stmt_init(s->conn.my);
	enum err_code rc = buf_ok(&sql) && p->stmt ? ERR_OK : err_nomem(e);
	if (rc == ERR_OK && mysql_stmt_prepare(p->stmt, buf_str(&sql), sql.len) != 0)
		rc = mysql_conn_error(&s->conn, p->stmt, e);
	if (rc == ERR_OK) {
		mysql_stmt_attr_set(p->stmt, STMT_ATTR_CB_USER_DATA, s);
		mysql_stmt_attr_set(p->stmt, STMT_ATTR_CB_RESULT, (const void *)on_value);
	}
	buf_fini(&sql);
	return rc;
}

static enum err_code check_args(const struct prepared *p, const struct query *q, struct err *e)
{
	unsigned long n = mysql_stmt_param_count(p->stmt);
	if (n == q->n_args)
		return ERR_OK;
	return err_set(e, ERR_PERMANENT, "the query takes %lu arguments, got %zu", n, q->n_args);
}

static enum err_code prepare(struct mysql_source *s, const struct query *q, struct prepared **out, struct err *e)
{
	bool fresh;
	struct stmt *kept = stmt_cache_get(&s->cache, q, &fresh);
	if (!kept)
		return err_nomem(e);
	*out = (struct prepared *)(void *)kept;
	enum err_code rc = fresh ? prepare_new(s, q, *out, e) : ERR_OK;
	if (rc == ERR_OK)
		rc = check_args(*out, q, e);
	if (rc != ERR_OK && fresh)
		stmt_cache_forget(&s->cache, kept);
	return rc;
}

static enum err_code check(struct source *base, const struct query *q, struct err *e)
{
	struct prepared *p;
	enum err_code rc = prepare(self(base), q, &p, e);
	if (rc == ERR_OK && mysql_stmt_field_count(p->stmt) == 0)
		return err_set(e, ERR_PERMANENT, "the query returns no columns");
	return rc;
}

static enum err_code bind_args(struct mysql_source *s, const struct query *q, MYSQL_STMT *stmt, struct err *e)
{
	if (q->n_args == 0)
		return ERR_OK;
	MYSQL_BIND *binds = calloc(q->n_args, sizeof *binds);
	if (!binds)
		return err_nomem(e);
	for (size_t i = 0; i < q->n_args; i++) {
		const char *text = q->args[i];
		binds[i].buffer_type = text ? MYSQL_TYPE_STRING : MYSQL_TYPE_NULL;
		binds[i].buffer = (void *)(uintptr_t)text; /* only read */
		binds[i].buffer_length = text ? strlen(text) : 0;
	}
	enum err_code rc = mysql_stmt_bind_param(stmt, binds) == 0 ? ERR_OK : mysql_conn_error(&s->conn, stmt, e);
	free(binds);
	return rc;
}

/* The server has lost the statement, or the table was altered under it: preparing anew helps. */
static bool is_outdated(unsigned number)
{
	return number == ER_UNKNOWN_STMT_HANDLER || number == ER_NEED_REPREPARE || number == CR_NEW_STMT_METADATA;
}

static enum err_code begin_stmt(
        struct mysql_source *s, const struct query *q, struct columns *out, bool *outdated, struct err *e)
{
	struct prepared *p;
	enum err_code rc = prepare(s, q, &p, e);
	if (rc == ERR_OK)
		rc = send_limit(s, q, e);
	if (rc == ERR_OK)
		rc = bind_args(s, q, p->stmt, e);
	if (rc != ERR_OK)
		return rc;
	s->mode = MODE_STMT;
	s->running = p;
	if (mysql_stmt_execute(p->stmt) != 0) {
		*outdated = is_outdated(mysql_stmt_errno(p->stmt));
		s->failed = s->conn.my->status == MYSQL_STATUS_READY;
		return mysql_conn_error(&s->conn, p->stmt, e);
	}
	MYSQL_RES *metadata = mysql_stmt_result_metadata(p->stmt);
	rc = describe(s, metadata, out, e);
	mysql_free_result(metadata);
	return rc;
}

static enum err_code end_stmt(struct mysql_source *s, struct err *e)
{
	struct prepared *p = s->running;
	bool called = mysql_stmt_more_results(p->stmt); /* a procedure: after its rows comes its own status */
	int next = -1;
	while (mysql_stmt_more_results(p->stmt) && (next = mysql_stmt_next_result(p->stmt)) == 0)
		if (mysql_stmt_field_count(p->stmt) > 0)
			return too_many_results(e);
	if (next > 0) {
		s->failed = true;
		return mysql_conn_error(&s->conn, p->stmt, e);
	}
	s->mode = MODE_IDLE;
	if (called)
		stmt_cache_forget(&s->cache, &p->kept); /* its columns were not its own */
	s->running = NULL;
	return ERR_OK;
}

static enum err_code next_stmt_row(struct mysql_source *s, bool *done, struct err *e)
{
	if (s->n_columns == 0) {
		*done = true;
		return end_stmt(s, e);
	}
	int rc = mysql_stmt_fetch(s->running->stmt);
	*done = rc == MYSQL_NO_DATA;
	if (rc == 0)
		return ERR_OK;
	if (*done)
		return end_stmt(s, e);
	s->failed = true;
	return mysql_conn_error(&s->conn, s->running->stmt, e);
}

/* --- text queries --- */

static enum err_code begin_text(struct mysql_source *s, const struct query *q, struct columns *out, struct err *e)
{
	enum err_code rc = send_limit(s, q, e);
	if (rc != ERR_OK)
		return rc;
	struct buf sql;
	buf_init(&sql, MAX_SQL);
	add_signed(&sql, q, q->tag ? q->tag : q->task);
	s->mode = MODE_TEXT;
	if (!buf_ok(&sql)) {
		s->failed = true;
		rc = err_nomem(e);
	} else if (mysql_real_query(s->conn.my, buf_str(&sql), sql.len) != 0) {
		s->failed = true;
		rc = mysql_conn_error(&s->conn, NULL, e);
	}
	buf_fini(&sql);
	if (rc != ERR_OK)
		return rc;
	s->res = mysql_use_result(s->conn.my);
	if (!s->res && mysql_field_count(s->conn.my) > 0)
		return mysql_conn_error(&s->conn, NULL, e);
	return describe(s, s->res, out, e);
}

static enum err_code end_text(struct mysql_source *s, struct err *e)
{
	mysql_free_result(s->res);
	s->res = NULL;
	int next = -1;
	while (mysql_more_results(s->conn.my) && (next = mysql_next_result(s->conn.my)) == 0)
		if (mysql_field_count(s->conn.my) > 0)
			return too_many_results(e);
	if (next > 0) {
		s->failed = true;
		return mysql_conn_error(&s->conn, NULL, e);
	}
	s->mode = MODE_IDLE;
	return ERR_OK;
}

static enum err_code next_text_row(struct mysql_source *s, bool *done, struct err *e)
{
	MYSQL_ROW values = s->res ? mysql_fetch_row(s->res) : NULL;
	*done = !values;
	if (!values && s->res && mysql_errno(s->conn.my)) {
		s->failed = true;
		return mysql_conn_error(&s->conn, NULL, e);
	}
	if (!values)
		return end_text(s, e);
	const unsigned long *lengths = mysql_fetch_lengths(s->res);
	for (size_t i = 0; i < s->n_columns; i++) {
		const struct mysql_reader *r = &s->readers[i];
		if (values[i] && r->form == MYSQL_FORM_BIT)
			mysql_type_read_bits(r, (const unsigned char *)values[i], lengths[i],
			        s->room + i * MYSQL_TEXT_ROOM, &s->cells[i]);
		else
			s->cells[i] = (struct cell){values[i], values[i] ? (int)lengths[i] : -1};
	}
	return ERR_OK;
}

/* --- the interface --- */

static enum err_code begin(
        struct source *base, const struct query *q, unsigned wires, struct columns *out, enum wire *wire, struct err *e)
{
	struct mysql_source *s = self(base);
	(void)wires; /* every sink takes it */
	*wire = WIRE_TEXT;
	s->failed = false;
	if (atomic_load(&s->conn.cancelled))
		return err_set(e, ERR_TRANSIENT, "cancelled before the query began");
	if (q->raw && q->n_args == 0)
		return begin_text(s, q, out, e);
	bool outdated = false;
	enum err_code rc = begin_stmt(s, q, out, &outdated, e);
	if (rc != ERR_OK && outdated && !atomic_load(&s->conn.cancelled)) {
		outdated = false;
		disconnect(s);
		rc = do_connect(base, e);
		if (rc == ERR_OK)
			rc = begin_stmt(s, q, out, &outdated, e);
	}
	return rc;
}

static enum err_code next(struct source *base, struct row *row, bool *done, struct err *e)
{
	struct mysql_source *s = self(base);
	enum err_code rc = s->mode == MODE_STMT ? next_stmt_row(s, done, e) : next_text_row(s, done, e);
	if (rc != ERR_OK)
		return rc;
	if (*done) {
		if (atomic_load(&s->conn.cancelled))
			disconnect(s); /* the cancel came too late for this query and must not meet the next */
		return ERR_OK;
	}
	*row = (struct row){.cells = s->cells};
	for (size_t i = 0; i < s->n_columns; i++)
		row->bytes += s->cells[i].len > 0 ? (size_t)s->cells[i].len : 0;
	return ERR_OK;
}

static void do_abort(struct source *base)
{
	struct mysql_source *s = self(base);
	/* When the server itself has ended the query, the connection is as good as new; else it is to stop. (Cutting the line
	 * would not tell it before its next row.) */
	if (s->mode != MODE_IDLE && s->failed) {
		mysql_free_result(s->res);
		s->res = NULL;
		s->running = NULL;
		s->mode = MODE_IDLE;
	}
	if (s->mode != MODE_IDLE && !atomic_load(&s->conn.cancelled))
		mysql_conn_cancel(&s->conn);
	if (s->mode != MODE_IDLE && s->conn.my)
		db_socket_see_off(mysql_get_socket(s->conn.my), GONE_WITHIN_MS);
	if (s->mode != MODE_IDLE || !mysql_conn_alive(&s->conn))
		disconnect(s);
	s->failed = false;
}

/* One look: is nobody there any more? Who has the lock is told to go; *id: who was, 0 = nobody. (The lock is free a little
 * before the server forgets the connection.) */
static enum err_code end_other(struct mysql_source *s, const char *name, int64_t *id, bool *gone, struct err *e)
{
	char sql[256];
	MYSQL_RES *res = NULL;
	snprintf(sql, sizeof sql,
	        "SELECT COALESCE(IS_USED_LOCK('%s'), 0), COUNT(*), SLEEP(0.01) FROM information_schema.processlist"
	        " WHERE id = %" PRId64,
	        name, *id);
	enum err_code rc = mysql_conn_exec(&s->conn, sql, &res, e);
	MYSQL_ROW row = rc == ERR_OK && res ? mysql_fetch_row(res) : NULL;
	int64_t holder = 0;
	bool known = row && row[0] && parse_i64(row[0], strlen(row[0]), 0, INT64_MAX, &holder);
	*gone = !known || (holder == 0 && strcmp(row[1], "0") == 0);
	mysql_free_result(res);
	if (known && holder) {
		*id = holder;
		snprintf(sql, sizeof sql, "KILL %" PRId64, holder);
		(void)!mysql_query(s->conn.my, sql); /* it may have ended by itself meanwhile */
	}
	return rc;
}

static enum err_code evict(struct source *base, const char *job_id, struct err *e)
{
	struct mysql_source *s = self(base);
	char name[LOCK_MAX];
	int64_t until = clock_mono_ms() + GONE_WITHIN_MS, id = 0;
	enum err_code rc;
	bool gone = false;
	lock_name(job_id, name);
	if (strcmp(name, s->lock) == 0) /* the same connection again */
		return ERR_OK;
	do
		rc = end_other(s, name, &id, &gone, e);
	while (rc == ERR_OK && !gone && clock_mono_ms() < until);
	return rc;
}

static void do_cancel(struct source *base)
{
	mysql_conn_cancel(&self(base)->conn);
}

const struct source_ops mysql_source_ops = {
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
