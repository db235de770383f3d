#include "shared/config/mysql_dsn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/base/parse.h"
#include "shared/config/url.h"

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT 3306
#define PARAM_NAME_MAX 32 /* bytes that an error shows */

static enum err_code wrong(struct err *e, const char *got)
{
	return err_set(e, ERR_INVALID, "expected " MYSQL_DSN_FORM ", got %s", got);
}

/* what names the part for the message. */
static enum err_code decode(struct span s, const char *what, char **out, struct err *e)
{
	enum err_code rc = url_decode(s, out, e);
	if (rc == ERR_INVALID)
		err_set(e, ERR_INVALID, "%s has a %% that is not followed by two hex digits", what);
	return rc;
}

/* host, host:port, [ipv6], [ipv6]:port; what is empty has its default. */
static enum err_code read_host(struct span s, struct mysql_dsn *out, struct err *e)
{
	struct span host;
	bool ipv6;
	out->port = DEFAULT_PORT;
	const char *why = url_read_host(s, &host, &ipv6, &out->port);
	if (why || (ipv6 && host.len == 0))
		return wrong(e, why ? why : "no host");
	return span_keep(host.len ? host : span_of(DEFAULT_HOST), &out->host, e);
}

static enum err_code read_socket(struct span s, struct mysql_dsn *out, struct err *e)
{
	if (s.len < 2 || s.at[0] != '/')
		return wrong(e, "a socket whose path does not begin with /");
	return span_keep(s, &out->socket, e);
}

/* --- params --- */

/* Those of go-sql-driver that mean nothing here. */
static const char *const ignored[] = {"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext",
        "allowNativePasswords", "allowOldPasswords", "charset", "checkConnLiveness", "clientFoundRows", "collation",
        "columnsWithAlias", "compress", "connectionAttributes", "interpolateParams", "loc", "maxAllowedPacket",
        "multiStatements", "parseTime", "readTimeout", "rejectReadOnly", "serverPubKey", "strict", "timeTruncate",
        "timeout", "writeTimeout"};

static enum err_code read_tls(struct span s, struct mysql_dsn *out, struct err *e)
{
	static const struct {
		const char *word;
		enum mysql_tls tls;
	} words[] = {{"false", MYSQL_TLS_OFF}, {"true", MYSQL_TLS_VERIFIED}, {"skip-verify", MYSQL_TLS_UNVERIFIED},
	        {"preferred", MYSQL_TLS_PREFERRED}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (s.len == strlen(words[i].word) && strncasecmp(s.at, words[i].word, s.len) == 0) {
			out->tls = words[i].tls;
			return ERR_OK;
		}
	return err_set(e, ERR_INVALID, "the param tls of the dsn is none of false, true, skip-verify, preferred");
}

/* What stands before an @ may be a part of a password. */
static enum err_code unknown_param(struct span name, bool secret, struct err *e)
{
	bool word =
	        !secret && name.len > 0 && name.len <= PARAM_NAME_MAX && parse_name(name.at, name.len, PARAM_NAME_MAX);
	if (!word)
		return wrong(e, "something other than name=value behind the ?");
	return err_set(e, ERR_INVALID,
	        "the dsn has an unknown param %.*s (known: tls, ssl_ca, ssl_cert, ssl_key, socket, and those of"
	        " go-sql-driver)",
	        (int)name.len, name.at);
}

static enum err_code read_param(
        struct span value, struct span name, bool secret, bool *has_tls, struct mysql_dsn *out, struct err *e)
{
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		if (span_is(name, ignored[i]))
			return ERR_OK;
	if (span_is(name, "tls")) {
		*has_tls = true;
		return read_tls(value, out, e);
	}
	char **path = span_is(name, "ssl_ca") ? &out->ca
	        : span_is(name, "ssl_cert")   ? &out->cert
	        : span_is(name, "ssl_key")    ? &out->key
	        : span_is(name, "socket")     ? &out->socket
	                                      : NULL;
	return path ? decode(value, "a param of the dsn", path, e) : unknown_param(name, secret, e);
}

static enum err_code read_params(struct span s, struct mysql_dsn *out, struct err *e)
{
	enum err_code rc = ERR_OK;
	bool has_tls = false, secret = s.len > 0 && memchr(s.at, '@', s.len);
	while (rc == ERR_OK && s.len > 0) {
		struct span param, name;
		if (!span_cut(&s, '&', false, &param)) {
			param = s;
			s.len = 0;
		}
		if (!span_cut(&param, '=', false, &name))
			return wrong(e, "something other than name=value behind the ?");
		rc = read_param(param, name, secret, &has_tls, out, e);
	}
	if (out->ca && !has_tls)
		out->tls = MYSQL_TLS_VERIFIED;
	return rc;
}

/* database[?params] */
static enum err_code read_tail(struct span s, struct mysql_dsn *out, struct err *e)
{
	struct span database;
	bool has_params = span_cut(&s, '?', false, &database);
	enum err_code rc = decode(has_params ? database : s, "the database's name in the dsn", &out->database, e);
	return rc == ERR_OK && has_params ? read_params(s, out, e) : rc;
}

/* --- the two forms --- */

static enum err_code read_url(struct span s, struct mysql_dsn *out, struct err *e)
{
	struct span authority, info, user;
	if (!span_cut(&s, '/', false, &authority)) {
		authority = s;
		s.len = 0;
	} else if (memchr(s.at, '@', s.len)) {
		return wrong(
		        e, "an @ behind the host (in a mysql:// URL a / in the password is %2F, an @ elsewhere %40)");
	}
	enum err_code rc = ERR_OK;
	if (span_cut(&authority, '@', true, &info)) {
		if (!span_cut(&info, ':', false, &user)) {
			user = info;
			info.len = 0;
		}
		rc = decode(user, "the user of the dsn", &out->user, e);
		if (rc == ERR_OK)
			rc = decode(info, "the password of the dsn", &out->password, e);
	}
	if (rc == ERR_OK)
		rc = read_host(authority, out, e);
	return rc == ERR_OK ? read_tail(s, out, e) : rc;
}

/* net or net(address), which ends where s ends. */
static bool is_address(struct span s, struct span *net, struct span *address)
{
	*net = s;
	*address = (struct span){s.at, 0};
	if (s.len > 0 && s.at[s.len - 1] == ')') {
		*address = (struct span){s.at, s.len - 1};
		if (!span_cut(address, '(', false, net))
			return false;
	}
	for (size_t i = 0; i < net->len; i++)
		if (net->at[i] < 'a' || net->at[i] > 'z')
			return false;
	return true;
}

/* Finds the / before the database: the last one with an address before it, since a param may hold a path. */
static bool split_go(struct span s, struct span *info, struct span *net, struct span *address, struct span *tail)
{
	struct span before = s, rest;
	for (;;) {
		rest = before;
		if (!span_cut(&rest, '/', true, &before))
			return false;
		struct span place = before;
		if (!span_cut(&place, '@', true, info))
			info->len = 0;
		*tail = (struct span){rest.at, (size_t)(s.at + s.len - rest.at)};
		if (is_address(place, net, address))
			return true;
	}
}

static enum err_code read_go(struct span s, struct mysql_dsn *out, struct err *e)
{
	struct span info = {s.at, 0}, net, address, tail, user;
	if (!split_go(s, &info, &net, &address, &tail))
		return wrong(e, "something else");
	if (!span_cut(&info, ':', false, &user)) {
		user = info;
		info.len = 0;
	}
	enum err_code rc = span_keep(user, &out->user, e);
	if (rc == ERR_OK)
		rc = span_keep(info, &out->password, e);
	if (rc != ERR_OK)
		return rc;
	if (span_is(net, "unix"))
		rc = read_socket(address, out, e);
	else if (span_is(net, "tcp") || net.len == 0)
		rc = read_host(address, out, e);
	else
		rc = wrong(e, "a network that is neither tcp nor unix");
	return rc == ERR_OK ? read_tail(tail, out, e) : rc;
}

static bool begins(const char *text, const char *prefix, struct span *rest)
{
	size_t n = strlen(prefix);
	*rest = span_of(text + (strncasecmp(text, prefix, n) == 0 ? n : 0));
	return rest->at != text;
}

/* What no part of the dsn has named; a socket of the params replaces the host. */
static enum err_code complete(struct mysql_dsn *out, struct err *e)
{
	char **texts[] = {&out->user, &out->password, &out->database};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (!*texts[i] && span_keep(span_of(""), texts[i], e) != ERR_OK)
			return ERR_NOMEM;
	if (out->socket) {
		free(out->host);
		out->host = NULL;
		out->port = 0;
	}
	return ERR_OK;
}

enum err_code mysql_dsn_parse(const char *text, struct mysql_dsn *out, struct err *e)
{
	struct span rest;
	*out = (struct mysql_dsn){0};
	bool url = begins(text, "mysql://", &rest) || begins(text, "mariadb://", &rest);
	enum err_code rc = url ? read_url(rest, out, e) : read_go(rest, out, e);
	if (rc == ERR_OK)
		rc = complete(out, e);
	if (rc != ERR_OK)
		mysql_dsn_fini(out);
	return rc;
}

void mysql_dsn_fini(struct mysql_dsn *dsn)
{
	free(dsn->user);
	free(dsn->password);
	free(dsn->host);
	free(dsn->socket);
	free(dsn->database);
	free(dsn->ca);
	free(dsn->cert);
	free(dsn->key);
	*dsn = (struct mysql_dsn){0};
}
