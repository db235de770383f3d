/* What the files of the MySQL sink share. Private to shared/db/mysql_sink.c, mysql_load.c and mysql_registry.c. */
#ifndef DB_DB_MYSQL_SINK_H
#define DB_DB_MYSQL_SINK_H

#include <mysql.h>

#include "shared/base/buf.h"
#include "shared/db/db_socket.h"
#include "shared/db/mysql_conn.h"
#include "shared/db/mysql_ops.h"
#include "shared/db/mysql_rows.h"

#define MYSQL_SINK_SMALL (128u << 10) /* bytes of a result that is written in one go */
#define MYSQL_SILENCE_S 60            /* after which a session that holds a job's lock is ended */

enum mysql_sink_mode {
	MYSQL_SINK_IDLE,
	MYSQL_SINK_BUFFERING, /* rows are in buf, the server knows nothing */
	MYSQL_SINK_STAGED,    /* there is, or may be, a staging table, and we hold its lock */
};

struct mysql_sink {
	struct sink base;
	const struct cfg_results *cfg;
	struct mysql_conn conn;
	struct db_insistence insistence;
	bool atomic_select;  /* CREATE TABLE ... SELECT survives a crash whole or not at all */
	bool folds_names;    /* two tables cannot differ in the case of their names' letters */
	bool local_infile;   /* the server allows LOAD DATA LOCAL */
	int64_t packet;      /* bytes of a statement at most */
	int64_t lock_wait_s; /* of one attempt to get a lock */
	char database[256];

	enum mysql_sink_mode mode;
	struct result_spec spec; /* strings borrowed from begin's caller */
	const struct columns *columns;
	unsigned char *forms; /* enum mysql_cell of each column; owned */
	int64_t rows;
	bool has_table;    /* a result of the job is probably there */
	bool recorded;     /* the registry may have a result of this run that is not there */
	struct buf buf;    /* rows (mysql_rows.h) */
	struct buf sql;    /* what is sent */
	int64_t affected;  /* rows, by the last statement that was sent */
	unsigned warnings; /* of the same */

	/* While LOAD DATA runs: */
	struct feed *feed;  /* NULL: it does not run */
	size_t served;      /* bytes of buf */
	bool fed;           /* the feed has ended */
	struct err trouble; /* of the feed */
};

static inline struct mysql_sink *mysql_sink_self(struct sink *s)
{
	return (struct mysql_sink *)(void *)s;
}

enum err_code MUST_CHECK mysql_sink_connect(struct sink *base, struct err *e);
void mysql_sink_disconnect(struct mysql_sink *s);
/* Sends s->sql; *done, if not NULL, is the number of its statements that have succeeded. */
enum err_code MUST_CHECK mysql_sink_run(struct mysql_sink *s, int *done, struct err *e);
/* The same, for the rows of the last statement that has some; owned by the caller. */
enum err_code MUST_CHECK mysql_sink_ask(struct mysql_sink *s, MYSQL_RES **res, struct err *e);
/* Did the last statement fail because of somebody else's locks? */
bool mysql_sink_is_busy(const struct mysql_sink *s);
/* Appends a table name of ours for the run: "`dungbeetle_staging_..." and so on. */
#define MYSQL_STAGING "dungbeetle_staging_"
#define MYSQL_TRASH "dungbeetle_trash_"
void mysql_sink_add_own(struct mysql_sink *s, const char *prefix);
/* Appends the name of the lock that a session holds as long as the run's tables are in use. */
void mysql_sink_add_own_lock(struct mysql_sink *s);
/* Appends "(columns) ENGINE=..." of a result table. */
void mysql_sink_add_table(struct mysql_sink *s);
/* LOAD DATA LOCAL turned out to be forbidden. */
void mysql_sink_forbid_infile(struct mysql_sink *s);
/* A number as the server writes it; 0 for NULL and when it is none. */
int64_t mysql_sink_number(const char *text);

/* The rows (mysql_load.c). */
enum err_code MUST_CHECK mysql_load_row(struct mysql_sink *s, const struct row *row, struct err *e);
/* Makes the staging table of what is in the buffer and what the feed (NULL: none) still has. */
enum err_code MUST_CHECK mysql_load_stage(struct mysql_sink *s, struct feed *feed, struct err *e);
void mysql_load_prepare(MYSQL *my, void *sink); /* mysql_settings.prepare */

/* The registry (mysql_registry.c). */
enum err_code MUST_CHECK mysql_registry_make(struct mysql_sink *s, struct err *e);
/* Has the job a result (s->has_table)? ERR_LOST: a newer run has claimed it. */
enum err_code MUST_CHECK mysql_registry_look(struct mysql_sink *s, struct err *e);

/* These append to s->sql. Each job has a lock: who changes its row or its table holds it. Between lock and unlock the
 * server ends the session when it hears nothing of us for a minute. */
/* The INSERT that takes the lock and records the result; fails when the job has a row, or the lock is not free soon. */
void mysql_registry_add_insert(struct mysql_sink *s);
/* Takes the lock and claims the job's row for the run (table: which is its; may be NULL); ER_BAD_NULL_ERROR: a newer run
 * has it, or the lock is not free soon. */
void mysql_registry_add_guard(struct mysql_sink *s, const char *job_id, int64_t run, const char *table, int64_t ttl_ms);
#define MYSQL_GUARD_STATEMENTS 2
void mysql_registry_add_update(struct mysql_sink *s);  /* records the result */
void mysql_registry_add_retract(struct mysql_sink *s); /* takes that back */
void mysql_registry_add_unlock(struct mysql_sink *s, const char *job_id);
/* A lock's name, as a literal: of what, in this database. */
void mysql_registry_add_lock_name(struct mysql_sink *s, const char *what);
/* After a failure: gives the lock back if we have it; mysql_errno is lost. */
void mysql_registry_unlock(struct mysql_sink *s, const char *job_id);

enum err_code mysql_registry_fence(struct sink *base, const char *job_id, int64_t run, int64_t ttl_ms, struct err *e);
enum err_code mysql_registry_purge(struct sink *base, const char *job_id, int64_t run, struct err *e);
enum err_code mysql_registry_recover(struct sink *base, bool *crashed, lost_fn lost, void *ctx, struct err *e);
enum err_code mysql_registry_recovered(struct sink *base, struct err *e);
enum err_code mysql_registry_has_result(struct sink *base, const char *job_id, int64_t run, bool *has, struct err *e);
/* mysql_expire.c */
enum err_code mysql_registry_expire(
        struct sink *base, int batch, int64_t lock_timeout_ms, bool dry_run, struct expire_stats *stats, struct err *e);

#endif
