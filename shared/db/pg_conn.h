/* A libpq connection with what both PostgreSQL drivers need: defaults that end dead connections, errors by SQLSTATE,
 * cancel from another thread. Private to shared/db/pg_*.c. Thread rule: one thread, except pg_conn_cancel and
 * pg_conn_break.
 */
#ifndef DB_DB_PG_CONN_H
#define DB_DB_PG_CONN_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/err.h"

struct pg_conn {
	PGconn *pg;          /* NULL: not connected */
	PGcancel *canceller; /* guarded by lock, as is fd */
	int fd;              /* the socket that pg_conn_break may cut, -1 = none */
	pthread_mutex_t lock;
	bool unfit;         /* it works, but not for us (a standby): not used again */
	enum err_code lost; /* what a connection that breaks means for the run: ERR_TRANSIENT or ERR_UNAVAILABLE */
};

void pg_conn_init(struct pg_conn *c, enum err_code lost);
void pg_conn_fini(struct pg_conn *c);

/* Connects with dsn (URI or keywords; what it says wins over our defaults, but the password over it, unless that is "")
 * and runs setup, a string of statements. ERR_UNAVAILABLE when that fails. */
enum err_code MUST_CHECK pg_conn_open(struct pg_conn *c, const char *dsn, const char *password,
        int64_t connect_timeout_ms, const char *setup, struct err *e);
void pg_conn_close(struct pg_conn *c);
void pg_conn_cancel(struct pg_conn *c);
/* Whether pg_conn_break may cut the line of the open connection: said by its owner, who does not allow it while the loss of an
 * answer would leave unknown what was done. It ends with the connection. */
void pg_conn_may_break(struct pg_conn *c, bool on);
/* Any thread: who waits for a server that hangs does so no longer. */
void pg_conn_break(struct pg_conn *c);

/* Is the connection open as far as can be seen without a round trip? A server that went away meanwhile is noticed. */
bool pg_conn_alive(struct pg_conn *c);

/* The error of a result (NULL: of the connection). Its code comes from the SQLSTATE: lost connection → c->lost; deadlock,
 * serialization, lock timeout, time limit, lack of resources → ERR_TRANSIENT; the rest → ERR_PERMANENT. */
enum err_code pg_conn_error(struct pg_conn *c, const PGresult *res, struct err *e);
bool pg_is_state(const PGresult *res, const char *sqlstate);
/* A number as the server writes it; -1 when it is none (the empty command tag of PQcmdTuples). */
int64_t pg_i64(const char *text);

/* Runs sql (one or more statements, simple protocol) to its end; *res, if not NULL, is the last result, owned by the
 * caller. */
enum err_code MUST_CHECK pg_exec(struct pg_conn *c, const char *sql, PGresult **res, struct err *e);
/* One statement with text parameters. */
enum err_code MUST_CHECK pg_exec_params(
        struct pg_conn *c, const char *sql, int n, const char *const *params, PGresult **res, struct err *e);

#endif
