#include "shared/db/pg_conn.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "shared/base/parse.h"

void pg_conn_init(struct pg_conn *c, enum err_code lost)
{
	*c = (struct pg_conn){.lost = lost, .fd = -1};
	pthread_mutex_init(&c->lock, NULL);
}

void pg_conn_close(struct pg_conn *c)
{
	pthread_mutex_lock(&c->lock);
	PQfreeCancel(c->canceller);
	c->canceller = NULL;
	c->fd = -1;
	pthread_mutex_unlock(&c->lock);
	PQfinish(c->pg);
	c->pg = NULL;
}

void pg_conn_fini(struct pg_conn *c)
{
	pg_conn_close(c);
	pthread_mutex_destroy(&c->lock);
}

void pg_conn_cancel(struct pg_conn *c)
{
	char ignored[256];
	pthread_mutex_lock(&c->lock);
	if (c->canceller)
		PQcancel(c->canceller, ignored, sizeof ignored);
	pthread_mutex_unlock(&c->lock);
}

void pg_conn_may_break(struct pg_conn *c, bool on)
{
	pthread_mutex_lock(&c->lock);
	c->fd = on ? PQsocket(c->pg) : -1;
	pthread_mutex_unlock(&c->lock);
}

void pg_conn_break(struct pg_conn *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
}

/* Notices (a name was cut, a table does not exist) are for psql's user, not for a log. */
static void ignore_notice(void *ctx, const PGresult *res)
{
	(void)ctx;
	(void)res;
}

/* The server too notices within half a minute that our host is gone: it then ends the session, its query and its locks.
 * (Over a unix socket this says nothing; servers before 12 do not know the last one.) */
static const char server_keepalives[] =
        "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
        "SELECT pg_catalog.set_config(name, '30000', false) FROM pg_catalog.pg_settings WHERE name = "
        "'tcp_user_timeout'";

enum err_code pg_conn_open(struct pg_conn *c, const char *dsn, const char *password, int64_t connect_timeout_ms,
        const char *setup, struct err *e)
{
	char seconds[16];
	/* libpq takes whole seconds and reads 1 as 2. */
	snprintf(seconds, sizeof seconds, "%d", (int)((connect_timeout_ms + 999) / 1000));
	/* A dead peer is noticed within about half a minute, whatever the system's defaults are. Later keywords win. */
	const char *keywords[] = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
	        "tcp_user_timeout", "application_name", "dbname", "password", "client_encoding", NULL};
	const char *values[] = {seconds, "10", "5", "3", "30000", "dungbeetle", dsn, password, "UTF8", NULL};
	pg_conn_close(c);
	c->unfit = false;
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	if (!options) /* libpq's own message would quote the DSN */
		return err_set(e, ERR_UNAVAILABLE,
		        "the dsn is neither a postgresql:// URI nor a string of keyword=value pairs");
	PQconninfoFree(options);
	c->pg = PQconnectdbParams(keywords, values, 1);
	if (!c->pg)
		return err_nomem(e);
	if (PQstatus(c->pg) != CONNECTION_OK) {
		err_set(e, ERR_UNAVAILABLE, "%s", PQerrorMessage(c->pg));
		pg_conn_close(c);
		return ERR_UNAVAILABLE;
	}
	PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
	if (pg_exec(c, server_keepalives, NULL, e) != ERR_OK || pg_exec(c, setup, NULL, e) != ERR_OK) {
		pg_conn_close(c);
		return e->code = ERR_UNAVAILABLE;
	}
	pthread_mutex_lock(&c->lock);
	c->canceller = PQgetCancel(c->pg);
	pthread_mutex_unlock(&c->lock);
	return ERR_OK;
}

bool pg_conn_alive(struct pg_conn *c)
{
	if (!c->pg || c->unfit || PQstatus(c->pg) != CONNECTION_OK)
		return false;
	/* An idle connection has nothing to say, unless it is to say good-bye. */
	struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLIN | POLLRDHUP};
	if (poll(&p, 1, 0) > 0 && !PQconsumeInput(c->pg))
		return false;
	return PQstatus(c->pg) == CONNECTION_OK && !(p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

bool pg_is_state(const PGresult *res, const char *sqlstate)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	return state && strcmp(state, sqlstate) == 0;
}

int64_t pg_i64(const char *text)
{
	int64_t v;
	return parse_i64(text, strlen(text), INT64_MIN, INT64_MAX, &v) ? v : -1;
}

static bool in_class(const char *state, const char *class)
{
	return strncmp(state, class, 2) == 0;
}

/* Where in a COPY a value is that the server refuses: ", line 3, column j" of its context, which goes on with the value. */
static const char *place_in_copy(const PGresult *res, int *len)
{
	const char *context = res ? PQresultErrorField(res, PG_DIAG_CONTEXT) : NULL;
	const char *copy = context ? strstr(context, "COPY ") : NULL;
	const char *place = copy ? strstr(copy, ", line ") : NULL;
	const char *value = place ? strstr(place, ": ") : NULL;
	*len = value ? (int)(value - place) : 0;
	return place;
}

enum err_code pg_conn_error(struct pg_conn *c, const PGresult *res, struct err *e)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	if (!text)
		text = res && PQresultErrorMessage(res)[0] ? PQresultErrorMessage(res) : PQerrorMessage(c->pg);
	/* 57P01..03: the server is shutting down, has crashed, is starting. */
	bool gone = in_class(state ? state : "", "08") || strncmp(state ? state : "", "57P0", 4) == 0;
	if (gone || !state || PQstatus(c->pg) != CONNECTION_OK)
		return err_set(e, c->lost, "connection lost: %s", text[0] ? text : "the server closed it");
	enum err_code code = ERR_PERMANENT;
	if (strcmp(state, "25006") == 0 && c->lost == ERR_UNAVAILABLE) {
		/* We are to write here and may not: the server has become a standby. The DSN may lead to the new primary. */
		c->unfit = true;
		code = c->lost;
	} else if (in_class(state, "53"))
		code = c->lost; /* lack of disk, memory, connections */
	else if (in_class(state, "40") || in_class(state, "55") || in_class(state, "58") || strcmp(state, "57014") == 0)
		code = ERR_TRANSIENT;
	int len;
	const char *place = place_in_copy(res, &len);
	err_set(e, code, "%s (SQLSTATE %s)%.*s", text, state, len, place ? place : "");
	e->quotes = in_class(state, "22") || in_class(state, "23") || in_class(state, "P0");
	return code;
}

static enum err_code finish(struct pg_conn *c, PGresult *got, PGresult **res, struct err *e)
{
	ExecStatusType status = PQresultStatus(got);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		enum err_code rc = pg_conn_error(c, got, e);
		PQclear(got);
		return rc;
	}
	if (res)
		*res = got;
	else
		PQclear(got);
	return ERR_OK;
}

enum err_code pg_exec(struct pg_conn *c, const char *sql, PGresult **res, struct err *e)
{
	return finish(c, PQexec(c->pg, sql), res, e);
}

enum err_code pg_exec_params(
        struct pg_conn *c, const char *sql, int n, const char *const *params, PGresult **res, struct err *e)
{
	return finish(c, PQexecParams(c->pg, sql, n, NULL, params, NULL, NULL, 0), res, e);
}
