#include "shared/db/mysql_conn.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CANCEL_TIMEOUT_S 5

/* MySQL's own numbers, which MariaDB's header lacks. */
#define MY_QUERY_TIMEOUT 3024 /* max_execution_time */
#define MY_SESSION_WAS_KILLED 3169
#define MY_INTERACTION_TIMEOUT 4031 /* idled for longer than wait_timeout */

static void init_library(void)
{
	mysql_library_init(0, NULL, NULL);
}

void mysql_conn_init(struct mysql_conn *c, enum err_code lost)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_library);
	*c = (struct mysql_conn){.lost = lost, .fd = -1};
	pthread_mutex_init(&c->lock, NULL);
}

void mysql_conn_cut(struct mysql_conn *c)
{
	if (c->my)
		mariadb_cancel(c->my); /* shuts the socket down */
}

void mysql_conn_close(struct mysql_conn *c)
{
	pthread_mutex_lock(&c->lock);
	c->id = 0;
	c->fd = -1;
	c->password = NULL;
	mysql_dsn_fini(&c->dsn);
	pthread_mutex_unlock(&c->lock);
	if (c->my && c->my->status != MYSQL_STATUS_READY)
		mysql_conn_cut(c);
	mysql_close(c->my);
	c->my = NULL;
}

void mysql_conn_fini(struct mysql_conn *c)
{
	mysql_conn_close(c);
	pthread_mutex_destroy(&c->lock);
}

/* --- connecting --- */

static void set_tls(MYSQL *my, const struct mysql_dsn *dsn)
{
	my_bool use = dsn->tls != MYSQL_TLS_OFF, verify = dsn->tls == MYSQL_TLS_VERIFIED;
	if (use)
		mysql_ssl_set(my, dsn->key, dsn->cert, dsn->ca, NULL, NULL);
	mysql_options(my, MYSQL_OPT_SSL_ENFORCE, &use);
	mysql_options(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
}

/* A dead peer is noticed within about half a minute, whatever the system's defaults are. (Not by a read timeout: a query
 * may well say nothing for hours.) */
static void keep_alive(MYSQL *my)
{
	int on = 1, idle = 10, interval = 5, count = 3, timeout = 30000, fd = mysql_get_socket(my);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

struct dial {
	const struct mysql_dsn *dsn;
	const char *password;
	unsigned timeout_s, read_timeout_s; /* 0: none */
	bool multi_statements, local_infile;
	void (*prepare)(MYSQL *my, void *ctx);
	void *prepare_ctx;
};

/* NULL: e says why. */
static MYSQL *dial(const struct dial *d, struct err *e)
{
	const struct mysql_dsn *dsn = d->dsn;
	MYSQL *my = mysql_init(NULL);
	if (!my) {
		err_nomem(e);
		return NULL;
	}
	my_bool no = 0, yes = 1;
	unsigned local = d->local_infile, protocol = dsn->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
	mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &d->timeout_s);
	if (d->read_timeout_s)
		mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &d->read_timeout_s);
	mysql_options(my, MYSQL_OPT_PROTOCOL, &protocol); /* "localhost" is a host, too */
	mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	mysql_options(my, MYSQL_OPT_RECONNECT, &no);
	mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &local);
	mysql_options(my, MYSQL_REPORT_DATA_TRUNCATION, &yes);
	mysql_options4(my, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "dungbeetle");
	set_tls(my, dsn);
	if (d->prepare)
		d->prepare(my, d->prepare_ctx);
	const char *database = dsn->database[0] ? dsn->database : NULL;
	if (!mysql_real_connect(my, dsn->host, dsn->user, d->password, database, (unsigned)dsn->port, dsn->socket,
	            d->multi_statements ? CLIENT_MULTI_STATEMENTS : 0)) {
		err_set(e, ERR_UNAVAILABLE, "%s (error %u)", mysql_error(my), mysql_errno(my));
	} else if (dsn->tls >= MYSQL_TLS_UNVERIFIED && !mysql_get_ssl_cipher(my)) {
		err_set(e, ERR_UNAVAILABLE, "the server has no TLS, which the dsn asks for");
	} else {
		if (!dsn->socket)
			keep_alive(my);
		return my;
	}
	mysql_close(my);
	return NULL;
}

/* Writes who the server is. */
static enum err_code identify(struct mysql_conn *c, char *out, size_t size, struct err *e)
{
	MYSQL_RES *res = NULL;
	enum err_code rc = mysql_conn_exec(c, "SELECT CONCAT(@@hostname, ' ', @@port, ' ', @@server_id)", &res, e);
	if (rc != ERR_OK)
		return rc;
	MYSQL_ROW row = res ? mysql_fetch_row(res) : NULL;
	snprintf(out, size, "%s", row && row[0] ? row[0] : "");
	mysql_free_result(res);
	return ERR_OK;
}

static enum err_code set_up(struct mysql_conn *c, const struct mysql_settings *settings, struct err *e)
{
	char server[sizeof c->server];
	c->mariadb = mariadb_connection(c->my);
	c->version = mysql_get_server_version(c->my);
	/* The client has asked for it already; some servers are told not to listen (skip-character-set-client-handshake). */
	enum err_code rc = mysql_conn_exec(c, "SET NAMES utf8mb4", NULL, e);
	if (rc == ERR_OK)
		rc = identify(c, server, sizeof server, e);
	for (size_t i = 0; rc == ERR_OK && settings->setup && settings->setup[i]; i++)
		rc = mysql_conn_exec(c, settings->setup[i], NULL, e);
	if (rc != ERR_OK)
		return rc;
	pthread_mutex_lock(&c->lock);
	memcpy(c->server, server, sizeof server);
	c->id = mysql_thread_id(c->my);
	pthread_mutex_unlock(&c->lock);
	return ERR_OK;
}

enum err_code mysql_conn_open(struct mysql_conn *c, const struct mysql_settings *settings, struct err *e)
{
	mysql_conn_close(c);
	c->unfit = false;
	atomic_store(&c->cancelled, false);
	pthread_mutex_lock(&c->lock);
	enum err_code rc = mysql_dsn_parse(settings->dsn, &c->dsn, e);
	if (rc == ERR_OK)
		c->password = settings->password && settings->password[0] ? settings->password : c->dsn.password;
	pthread_mutex_unlock(&c->lock);
	if (rc == ERR_OK) {
		struct dial d = {.dsn = &c->dsn,
		        .password = c->password,
		        .timeout_s = (unsigned)((settings->connect_timeout_ms + 999) / 1000),
		        .multi_statements = settings->multi_statements,
		        .local_infile = settings->local_infile,
		        .prepare = settings->prepare,
		        .prepare_ctx = settings->prepare_ctx};
		c->my = dial(&d, e);
		rc = c->my ? set_up(c, settings, e) : ERR_UNAVAILABLE;
	}
	if (rc == ERR_OK)
		return ERR_OK;
	mysql_conn_close(c);
	return e->code = ERR_UNAVAILABLE;
}

/* --- while it is open --- */

static bool kill_query(const struct mysql_conn *c)
{
	struct err ignored = ERR_INIT;
	struct dial d = {.dsn = &c->dsn,
	        .password = c->password,
	        .timeout_s = CANCEL_TIMEOUT_S,
	        .read_timeout_s = CANCEL_TIMEOUT_S};
	struct mysql_conn killer = {.lost = ERR_TRANSIENT, .my = dial(&d, &ignored)};
	if (!killer.my)
		return false;
	char sql[64], server[sizeof c->server];
	snprintf(sql, sizeof sql, "KILL QUERY %lu", c->id);
	bool told = identify(&killer, server, sizeof server, &ignored) == ERR_OK && strcmp(server, c->server) == 0 &&
	        mysql_query(killer.my, sql) == 0;
	mysql_close(killer.my);
	return told;
}

bool mysql_conn_cancel(struct mysql_conn *c)
{
	bool told = true;
	pthread_mutex_lock(&c->lock);
	if (c->id) {
		atomic_store(&c->cancelled, true);
		told = kill_query(c);
	}
	pthread_mutex_unlock(&c->lock);
	return told;
}

void mysql_conn_may_break(struct mysql_conn *c, bool on)
{
	pthread_mutex_lock(&c->lock);
	c->fd = on ? mysql_get_socket(c->my) : -1;
	pthread_mutex_unlock(&c->lock);
}

void mysql_conn_break(struct mysql_conn *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
}

bool mysql_conn_alive(const struct mysql_conn *c)
{
	if (!c->my || c->unfit || atomic_load(&c->cancelled) || c->my->status != MYSQL_STATUS_READY)
		return false;
	/* An idle connection has nothing to say, unless it is to say good-bye. */
	struct pollfd p = {.fd = mysql_get_socket(c->my), .events = POLLIN | POLLRDHUP};
	return p.fd >= 0 && poll(&p, 1, 0) == 0;
}

/* --- errors --- */

static bool is_one_of(unsigned number, const unsigned *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == number)
			return true;
	return false;
}
#define IS_ONE_OF(number, list) is_one_of(number, list, sizeof(list) / sizeof *(list))

static const unsigned gone[] = {CR_CONNECTION_ERROR, CR_CONN_HOST_ERROR, CR_UNKNOWN_HOST, CR_SERVER_GONE_ERROR,
        CR_SERVER_HANDSHAKE_ERR, CR_SERVER_LOST, CR_SERVER_LOST_EXTENDED, CR_SSL_CONNECTION_ERROR, CR_MALFORMED_PACKET,
        ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN, ER_NET_READ_ERROR, ER_NET_READ_INTERRUPTED, ER_NET_ERROR_ON_WRITE,
        ER_NET_WRITE_INTERRUPTED, ER_NEW_ABORTING_CONNECTION, ER_ABORTING_CONNECTION, ER_CONNECTION_KILLED,
        MY_SESSION_WAS_KILLED, MY_INTERACTION_TIMEOUT};

/* Lack of disk, memory, connections. */
static const unsigned scarce[] = {ER_DISK_FULL, ER_OUTOFMEMORY, ER_OUT_OF_SORTMEMORY, ER_CON_COUNT_ERROR,
        ER_OUT_OF_RESOURCES, ER_RECORD_FILE_FULL, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED,
        ER_CANT_CREATE_THREAD};

static const unsigned passing[] = {ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_QUERY_INTERRUPTED, ER_CHECKREAD,
        ER_TABLE_DEF_CHANGED, ER_NEED_REPREPARE, ER_UNKNOWN_STMT_HANDLER, ER_STATEMENT_TIMEOUT, MY_QUERY_TIMEOUT};

#define IO_ERROR_MAX 99 /* numbers below are those of the server's own files (EE_WRITE ...) */

/* A full disk, or a quota that is used up, comes under many numbers; the system's own one is in the text, or InnoDB's word for
 * it (135, "No more room in record file"). */
static bool is_disk_full(const char *text)
{
	static const char *const marks[] = {"Errcode: ", "errno: ", "Got error "};
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		const char *at = strstr(text, marks[i]);
		const char *digits = at ? at + strlen(marks[i]) : "";
		size_t n = strspn(digits, "0123456789");
		if ((n == 2 && memcmp(digits, "28", n) == 0) ||
		        (n == 3 && (memcmp(digits, "122", n) == 0 || memcmp(digits, "135", n) == 0)))
			return true;
	}
	return false;
}

static const unsigned of_files[] = {
        ER_CANT_CREATE_FILE, ER_CANT_CREATE_TABLE, ER_ERROR_ON_RENAME, ER_ERROR_ON_WRITE, ER_GET_ERRNO};

/* Of no telling SQLSTATE, with values in their texts. */
static const unsigned quoting[] = {ER_UNKNOWN_ERROR, ER_REGEXP_ERROR, ER_PARSE_ERROR, ER_TRUNCATED_WRONG_VALUE,
        ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, ER_ILLEGAL_VALUE_FOR_TYPE, ER_WRONG_VALUE_FOR_TYPE, ER_WRONG_VALUE,
        ER_NO_PARTITION_FOR_GIVEN_VALUE};

static bool may_quote(unsigned number, const char *sqlstate)
{
	static const char *const classes[] = {"22", "23", "45"}; /* data, constraints, SIGNAL */
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	/* The last two: of JSON functions, in MySQL and in MariaDB. */
	return IS_ONE_OF(number, quoting) || (number >= 3140 && number <= 3165) || (number >= 4036 && number <= 4049);
}

enum err_code mysql_conn_error_of(
        struct mysql_conn *c, unsigned number, const char *sqlstate, const char *text, struct err *e)
{
	if (number == 0 || IS_ONE_OF(number, gone))
		return err_set(
		        e, c->lost, "connection lost: %s (error %u)", text[0] ? text : "the server closed it", number);
	enum err_code code = ERR_PERMANENT;
	if (c->lost == ERR_UNAVAILABLE && number == ER_OPTION_PREVENTS_STATEMENT && strstr(text, "read-only")) {
		/* We are to write here and may not: the server has become a replica. The DSN may lead to the new primary. */
		c->unfit = true;
		code = c->lost;
	} else if (number == CR_OUT_OF_MEMORY)
		code = ERR_NOMEM;
	else if (IS_ONE_OF(number, scarce) ||
	        ((number <= IO_ERROR_MAX || IS_ONE_OF(number, of_files)) && is_disk_full(text)))
		code = c->lost;
	else if (IS_ONE_OF(number, passing) || number <= IO_ERROR_MAX)
		code = ERR_TRANSIENT;
	err_set(e, code, "%s (error %u)", text, number);
	if (e)
		e->quotes = may_quote(number, sqlstate);
	return code;
}

enum err_code mysql_conn_error(struct mysql_conn *c, MYSQL_STMT *stmt, struct err *e)
{
	if (stmt && mysql_stmt_errno(stmt)) /* a late error is the connection's only */
		return mysql_conn_error_of(
		        c, mysql_stmt_errno(stmt), mysql_stmt_sqlstate(stmt), mysql_stmt_error(stmt), e);
	return mysql_conn_error_of(c, mysql_errno(c->my), mysql_sqlstate(c->my), mysql_error(c->my), e);
}

enum err_code mysql_conn_exec(struct mysql_conn *c, const char *sql, MYSQL_RES **res, struct err *e)
{
	MYSQL_RES *last = NULL;
	int status = mysql_real_query(c->my, sql, strlen(sql)) ? 1 : 0; /* as mysql_next_result's: -1 is the end */
	for (bool ok = status == 0; ok && status == 0; status = mysql_next_result(c->my)) {
		MYSQL_RES *got = mysql_store_result(c->my);
		ok = got || mysql_field_count(c->my) == 0;
		if (!ok)
			break;
		if (got) {
			mysql_free_result(last);
			last = got;
		}
	}
	enum err_code rc = status == -1 ? ERR_OK : mysql_conn_error(c, NULL, e);
	if (rc == ERR_OK && res) {
		*res = last;
		last = NULL;
	}
	mysql_free_result(last);
	return rc;
}
