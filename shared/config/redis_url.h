/* The address of Redis as it is written in redis.url:
 *
 *   redis://[user:password@]host[:port][/db]        the host may be an IPv6 address in brackets
 *   unix://[user:password@]/path/to.sock[?db=N]
 *
 * With redis.sentinels, which say where the master is: redis://[user:password@][/db]. A Sentinel's own address in that list
 * is host[:port].
 *
 * User, password and path are percent-decoded, so that a password may hold any byte but NUL. redis://:password@host
 * has no user. Pure functions; thread rule: any thread.
 */
#ifndef DB_CONFIG_REDIS_URL_H
#define DB_CONFIG_REDIS_URL_H

#include "shared/base/err.h"

#define REDIS_URL_FORM "redis://[user:password@]host[:port][/db] or unix:///path[?db=N]"
#define REDIS_URL_HOSTLESS "redis://[user:password@][/db]"
#define REDIS_SENTINEL_FORM "host[:port]"

struct redis_url {
	char *host;     /* NULL for a unix socket, and for a url that names no host */
	int port;       /* 6379 when none is named; 0 without a host */
	char *path;     /* of the unix socket; else NULL */
	char *user;     /* NULL: none */
	char *password; /* NULL: none; secret */
	int db;
};

/* On ERR_INVALID the text of e is "expected ..., got ..." and never holds a part of text, which may be a secret.
 * *out is owned by the caller (redis_url_fini), and empty when this fails. */
enum err_code MUST_CHECK redis_url_parse(const char *text, struct redis_url *out, struct err *e);
/* The same, but the url may name no host. */
enum err_code MUST_CHECK redis_url_parse_any(const char *text, struct redis_url *out, struct err *e);
/* The address of a Sentinel. *host is owned by the caller (free), NULL when this fails; *port is 26379 when none is named. */
enum err_code MUST_CHECK redis_sentinel_parse(const char *text, char **host, int *port, struct err *e);
void redis_url_fini(struct redis_url *url);

#endif
