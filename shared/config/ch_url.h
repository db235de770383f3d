/* The address of a ClickHouse server as it is written in a source's dsn:
 *
 *   http[s]://[user[:password]@]host[:port][/database][?name=value&...]     the host may be an IPv6 address in brackets
 *
 * User, password, database, names and values are percent-decoded. ca=PATH (the certificates that https trusts, instead of
 * the system's) and insecure=1 (https without looking at the certificate) are ours; every other parameter is a setting
 * that goes to the server with each query. Pure functions; thread rule: any thread.
 */
#ifndef DB_CONFIG_CH_URL_H
#define DB_CONFIG_CH_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"

#define CH_URL_FORM "http[s]://[user[:password]@]host[:port][/database][?setting=value&...]"

struct ch_setting {
	char *name, *value; /* decoded */
};

struct ch_url {
	bool https;
	char *host; /* without brackets */
	bool ipv6;
	int port;       /* 8123, for https 8443, when none is named */
	char *user;     /* NULL: none */
	char *password; /* NULL: none; secret */
	char *database; /* NULL: none */
	char *ca;       /* NULL: the system's */
	bool insecure;
	struct ch_setting *settings;
	size_t n_settings;
};

/* On ERR_INVALID the text of e is "expected ..., got ..." and never holds user or password. The form of the native
 * protocol (tcp://, clickhouse://) is answered with the address that takes its place.
 * *out is owned by the caller (ch_url_fini), and empty when this fails. */
enum err_code MUST_CHECK ch_url_parse(const char *text, struct ch_url *out, struct err *e);
void ch_url_fini(struct ch_url *url);

#endif
