/* A libmariadb connection with what both MySQL drivers need: options that end dead connections, TLS as the DSN says,
 * errors by number, cancel from another thread. Private to shared/db/mysql_*.c. Thread rule: one thread, except
 * mysql_conn_cancel and mysql_conn_break.
 */
#ifndef DB_DB_MYSQL_CONN_H
#define DB_DB_MYSQL_CONN_H

#include <mysql.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/mysql_dsn.h"

/* What a connection is opened with; the strings are borrowed and outlive it. */
struct mysql_settings {
	const char *dsn;      /* mysql_dsn.h */
	const char *password; /* NULL or "": the dsn's */
	int64_t connect_timeout_ms;
	const char *const *setup;              /* statements to begin with, ended by NULL; NULL: none */
	bool multi_statements;                 /* several statements, separated by ;, may be sent at once */
	bool local_infile;                     /* the server may ask for LOAD DATA LOCAL: prepare sets a handler */
	void (*prepare)(MYSQL *my, void *ctx); /* called before it connects; NULL: not */
	void *prepare_ctx;
};

struct mysql_conn {
	MYSQL *my;    /* NULL: not connected */
	bool mariadb; /* else MySQL; with version (100206 = 10.2.6) it tells what the server knows */
	unsigned long version;
	bool unfit;            /* it works, but not for us (read-only): not used again */
	atomic_bool cancelled; /* cancel was called since it was opened: not used again */
	enum err_code lost;    /* what a connection that breaks means for the run: ERR_TRANSIENT or ERR_UNAVAILABLE */

	/* What a second connection needs for cancel, guarded by lock; id 0: there is nothing to cancel. */
	pthread_mutex_t lock;
	unsigned long id;
	int fd; /* the socket that mysql_conn_break may cut, -1 = none */
	struct mysql_dsn dsn;
	const char *password;
	char server[256]; /* who it is, so that no other one behind the same address is meant */
};

void mysql_conn_init(struct mysql_conn *c, enum err_code lost);
void mysql_conn_fini(struct mysql_conn *c);

/* Connects (utf8mb4, no reconnecting) and runs the setup. ERR_UNAVAILABLE when that fails. */
enum err_code MUST_CHECK mysql_conn_open(struct mysql_conn *c, const struct mysql_settings *settings, struct err *e);
/* Cuts the line, so that freeing a result or a statement whose rows have not all been read does not read them first. The
 * server notices when it next writes; close follows. */
void mysql_conn_cut(struct mysql_conn *c);
/* What was made of the connection (results, statements) is freed before. */
void mysql_conn_close(struct mysql_conn *c);

/* Any thread: KILL QUERY of what runs, through a connection of its own. Blocks for about two round trips, at most some
 * seconds. From now on mysql_conn_alive is false, so that a KILL that comes late meets no other query. False:
 * the server could not be told. */
bool mysql_conn_cancel(struct mysql_conn *c);
/* Whether mysql_conn_break may cut the line of the open connection: said by its owner, who does not allow it while the loss of an
 * answer would leave unknown what was done. It ends with the connection. */
void mysql_conn_may_break(struct mysql_conn *c, bool on);
/* Any thread: who waits for a server that hangs does so no longer. */
void mysql_conn_break(struct mysql_conn *c);

/* Is the connection open as far as can be seen without a round trip? A server that went away meanwhile is noticed. */
bool mysql_conn_alive(const struct mysql_conn *c);

/* The error of a statement (NULL: of the connection). Its code comes from its number: lost connection, lack of resources
 * → c->lost; deadlock, lock timeout, time limit, KILL QUERY → ERR_TRANSIENT; the rest → ERR_PERMANENT. */
enum err_code mysql_conn_error(struct mysql_conn *c, MYSQL_STMT *stmt, struct err *e);
/* The same for a number and a text that the caller has; sqlstate of five characters. */
enum err_code mysql_conn_error_of(
        struct mysql_conn *c, unsigned number, const char *sqlstate, const char *text, struct err *e);

/* Runs sql (several statements when the settings allow it) to its end. *res, if not NULL, is the last result that has
 * columns, read whole and owned by the caller (mysql_free_result), or NULL when none has: for small answers. */
enum err_code MUST_CHECK mysql_conn_exec(struct mysql_conn *c, const char *sql, MYSQL_RES **res, struct err *e);

#endif
