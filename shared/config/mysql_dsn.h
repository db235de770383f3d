/* The address of a MySQL or MariaDB server as it is written in a `dsn`:
 *
 *   user:password@tcp(host:port)/database?params   as go-sql-driver has it. Nothing before the database is decoded: the
 *   user:password@unix(/path.sock)/database         password may hold any character; the last / with an address before it
 *                                                   and the last @ before that address divide. An IPv6 host has brackets.
 *   mysql://user:password@host:port/database?params (also mariadb://) every part is percent-decoded
 *
 * Whatever is left out has a default: no password, host 127.0.0.1, port 3306, no database. Params are percent-decoded:
 *   tls        false; true: the server's certificate is verified; skip-verify: TLS without that; preferred: TLS, not
 *              verified, when the server has it, else none. Default: false, but true when there is an ssl_ca
 *   ssl_ca     file of the authorities that may have signed it (default: the system's)
 *   ssl_cert, ssl_key   files of a certificate and key of our own, which the server asks for
 *   socket     path of a unix socket (mysql:// has no other place for it)
 * The other params of go-sql-driver are accepted and mean nothing here: charset, time zone, timeouts and the like are
 * the program's own. Pure functions; thread rule: any thread.
 */
#ifndef DB_CONFIG_MYSQL_DSN_H
#define DB_CONFIG_MYSQL_DSN_H

#include "shared/base/err.h"

#define MYSQL_DSN_FORM \
	"user:password@tcp(host:port)/database, user:password@unix(/path)/database or " \
	"mysql://user:password@host:port/database"

enum mysql_tls {
	MYSQL_TLS_OFF,
	MYSQL_TLS_PREFERRED,
	MYSQL_TLS_UNVERIFIED,
	MYSQL_TLS_VERIFIED,
};

struct mysql_dsn {
	char *user;     /* "" = none */
	char *password; /* "" = none; secret */
	char *host;     /* NULL with a unix socket */
	int port;       /* 0 with a unix socket */
	char *socket;   /* path; NULL: TCP */
	char *database; /* "" = none */
	enum mysql_tls tls;
	char *ca, *cert, *key; /* paths; NULL: none */
};

/* On ERR_INVALID the text of e is "expected ..., got ..." or names a param; it never holds a password. *out is owned by
 * the caller (mysql_dsn_fini), and empty when this fails. */
enum err_code MUST_CHECK mysql_dsn_parse(const char *text, struct mysql_dsn *out, struct err *e);
void mysql_dsn_fini(struct mysql_dsn *dsn);

#endif
