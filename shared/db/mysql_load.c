/* The rows of a result on their way into the staging table: by LOAD DATA LOCAL INFILE, whose "file" is a function of ours
 * that pulls rows from the feed while libmariadb sends; or by INSERT. LOAD DATA LOCAL treats what does not fit as IGNORE
 * does, also in strict mode: it cuts, zeroes and drops, and gives a warning; so any warning is a failure. */
#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>

#include "shared/db/mysql_sink.h"

#define CHUNK_BYTES (64u << 10)  /* rows that are made ready at a time for LOAD DATA */
#define BATCH_BYTES (512u << 10) /* rows in one INSERT; as a statement they are somewhat longer */
#define KEEP_BYTES (1u << 20)    /* a buffer that has grown larger is given back */

/* MySQL's number for what MariaDB calls ER_LOAD_INFILE_CAPABILITY_DISABLED. */
#define MY_CLIENT_LOCAL_FILES_DISABLED 3948

enum err_code mysql_load_row(struct mysql_sink *s, const struct row *row, struct err *e)
{
	s->rows++;
	mysql_rows_add(&s->buf, s->columns, s->forms, row->cells);
	return buf_ok(&s->buf) ? ERR_OK : err_nomem(e);
}

static void empty(struct buf *b)
{
	if (b->cap > KEEP_BYTES)
		buf_fini(b);
	else
		buf_reset(b);
}

/* Puts the next rows into the buffer, about `bytes` of them; s->fed: there are no more. */
static enum err_code pull(struct mysql_sink *s, size_t bytes, struct err *e)
{
	struct row row;
	enum err_code rc = ERR_OK;
	while (rc == ERR_OK && !s->fed && s->buf.len < bytes) {
		rc = s->feed->next(s->feed, &row, &s->fed, e);
		if (rc == ERR_OK && !s->fed)
			rc = mysql_load_row(s, &row, e);
	}
	return rc;
}

/* --- LOAD DATA --- */

/* The server can ask for a "file" at any time: there is one only while we are loading. */
static int infile_init(void **file, const char *name, void *sink)
{
	struct mysql_sink *s = sink;
	(void)name;
	*file = s;
	return s->feed ? 0 : 1;
}

static int infile_read(void *file, char *to, unsigned size)
{
	struct mysql_sink *s = file;
	if (s->served == s->buf.len) {
		empty(&s->buf);
		s->served = 0;
		if (pull(s, CHUNK_BYTES, &s->trouble) != ERR_OK)
			return -1;
	}
	size_t n = s->buf.len - s->served < size ? s->buf.len - s->served : size;
	if (n)
		memcpy(to, s->buf.data + s->served, n);
	s->served += n;
	return (int)n;
}

static void infile_end(void *file)
{
	(void)file;
}

static int infile_error(void *file, char *text, unsigned size)
{
	(void)file;
	snprintf(text, size, "no more rows");
	return CR_UNKNOWN_ERROR;
}

void mysql_load_prepare(MYSQL *my, void *sink)
{
	mysql_set_local_infile_handler(my, infile_init, infile_read, infile_end, infile_error, sink);
}

/* What the server has to say of values that it did not take as they are: the first warning, or else the first note. */
static enum err_code tell_warning(struct mysql_sink *s, struct err *e)
{
	MYSQL_RES *res = NULL;
	MYSQL_ROW row, told = NULL;
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "SHOW WARNINGS");
	enum err_code rc = mysql_sink_ask(s, &res, e);
	if (rc != ERR_OK)
		return rc;
	while ((row = mysql_fetch_row(res))) {
		bool note = strcmp(row[0], "Note") == 0;
		if (!told || !note)
			told = row;
		if (!note)
			break;
	}
	rc = err_set(e, ERR_PERMANENT, "a value does not fit the result table: %s (warning %s)",
	        told ? told[2] : "unknown", told ? told[1] : "?");
	e->quotes = true;
	mysql_free_result(res);
	return rc;
}

static enum err_code check_count(struct mysql_sink *s, int64_t rows, struct err *e)
{
	if (s->affected == rows)
		return ERR_OK;
	return err_set(e, ERR_TRANSIENT, "the results database took %lld of %lld rows", (long long)s->affected,
	        (long long)rows);
}

static bool is_forbidden(unsigned number)
{
	return number == ER_NOT_ALLOWED_COMMAND || number == MY_CLIENT_LOCAL_FILES_DISABLED ||
	        number == ER_LOAD_INFILE_CAPABILITY_DISABLED;
}

/* *forbidden: nothing has happened, INSERTs have to do. */
static enum err_code load(struct mysql_sink *s, bool *forbidden, struct err *e)
{
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "LOAD DATA LOCAL INFILE 'rows' INTO TABLE ");
	mysql_sink_add_own(s, MYSQL_STAGING);
	mysql_rows_load(&s->sql, s->columns);
	s->served = 0;
	s->trouble = ERR_INIT;
	enum err_code rc = mysql_sink_run(s, NULL, e);
	if (s->trouble.code != ERR_OK) {
		if (e)
			*e = s->trouble;
		return s->trouble.code;
	}
	*forbidden = rc != ERR_OK && is_forbidden(mysql_errno(s->conn.my));
	if (rc == ERR_OK && s->warnings)
		rc = tell_warning(s, e);
	return rc == ERR_OK ? check_count(s, s->rows, e) : rc;
}

/* --- INSERT --- */

/* Appends an INSERT of rows from at on, up to about a batch of them; returns where the next ones begin. */
static const char *add_insert(struct mysql_sink *s, const char *at, const char *end, int64_t *n)
{
	const char *limit = end - at > BATCH_BYTES ? at + BATCH_BYTES : end;
	buf_addstr(&s->sql, "INSERT INTO ");
	mysql_sink_add_own(s, MYSQL_STAGING);
	buf_addstr(&s->sql, " VALUES ");
	for (*n = 0; at < limit && buf_ok(&s->sql) && (*n == 0 || (int64_t)s->sql.len < s->packet / 2); ++*n) {
		buf_addstr(&s->sql, *n ? ", (" : "(");
		at = mysql_rows_values(&s->sql, at, s->columns, s->forms, false);
		buf_addc(&s->sql, ')');
	}
	return at;
}

/* Everything that is in the buffer. */
static enum err_code insert(struct mysql_sink *s, struct err *e)
{
	const char *at = buf_str(&s->buf), *end = at + s->buf.len;
	enum err_code rc = ERR_OK;
	while (rc == ERR_OK && at < end) {
		int64_t n;
		buf_reset(&s->sql);
		at = add_insert(s, at, end, &n);
		if ((int64_t)s->sql.len >= s->packet)
			return err_set(e, ERR_PERMANENT,
			        "a row is larger than the results database's max_allowed_packet (%lld bytes)",
			        (long long)s->packet);
		rc = mysql_sink_run(s, NULL, e);
		if (rc == ERR_OK)
			rc = check_count(s, n, e);
	}
	empty(&s->buf);
	empty(&s->sql);
	return rc;
}

static enum err_code insert_all(struct mysql_sink *s, struct err *e)
{
	enum err_code rc = ERR_OK;
	do {
		rc = pull(s, BATCH_BYTES, e);
		if (rc == ERR_OK)
			rc = insert(s, e);
	} while (rc == ERR_OK && !s->fed);
	return rc;
}

/* The lock tells dungbeetle-expire that the tables of this run are in use; the server gives it up with our session. */
static enum err_code make_table(struct mysql_sink *s, struct err *e)
{
	s->mode = MYSQL_SINK_STAGED;
	buf_reset(&s->sql);
	buf_addstr(&s->sql, "DO GET_LOCK(");
	mysql_sink_add_own_lock(s);
	buf_addstr(&s->sql, ", 10); DROP TABLE IF EXISTS ");
	mysql_sink_add_own(s, MYSQL_STAGING);
	buf_addstr(&s->sql, "; CREATE TABLE ");
	mysql_sink_add_own(s, MYSQL_STAGING);
	buf_addc(&s->sql, ' ');
	mysql_sink_add_table(s);
	return mysql_sink_run(s, NULL, e);
}

enum err_code mysql_load_stage(struct mysql_sink *s, struct feed *feed, struct err *e)
{
	bool forbidden = !s->local_infile;
	enum err_code rc = mysql_registry_look(s, e); /* a newer run: no need to begin */
	if (rc == ERR_OK)
		rc = make_table(s, e);
	if (rc != ERR_OK)
		return rc;
	if (!feed) /* few rows, for which LOAD DATA is not faster, and INSERT names what does not fit by itself */
		return insert(s, e);
	s->feed = feed;
	s->fed = false;
	if (!forbidden) {
		rc = load(s, &forbidden, e);
		if (forbidden)
			mysql_sink_forbid_infile(s);
	}
	if (forbidden)
		rc = insert_all(s, e);
	s->feed = NULL;
	return rc;
}
