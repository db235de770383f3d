#include "shared/config/ch_url.h"

#include <stdlib.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/parse.h"

#define HTTP_PORT 8123
#define HTTPS_PORT 8443
#define SETTINGS_MAX 64

/* A part of the text that is being read. */
struct span {
	const char *at;
	size_t len;
};

static enum err_code wrong(struct err *e, const char *got)
{
	return err_set(e, ERR_INVALID, "expected " CH_URL_FORM ", got %s", got);
}

static bool is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static bool skip(struct span *s, const char *prefix)
{
	size_t n = strlen(prefix);
	if (s->len < n || memcmp(s->at, prefix, n) != 0)
		return false;
	*s = (struct span){s->at + n, s->len - n};
	return true;
}

/* Cuts what stands before the first (or last) c off s and drops c; false, and s unchanged, when there is no c. */
static bool cut(struct span *s, char c, bool last, struct span *before)
{
	const char *p = s->len == 0 ? NULL : last ? memrchr(s->at, c, s->len) : memchr(s->at, c, s->len);
	if (!p)
		return false;
	*before = (struct span){s->at, (size_t)(p - s->at)};
	*s = (struct span){p + 1, s->len - before->len - 1};
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* what names the part for the message. *out is owned by the caller. */
static enum err_code decode(struct span s, const char *what, char **out, struct err *e)
{
	char *text = malloc(s.len + 1);
	if (!text)
		return err_nomem(e);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] != '%') {
			text[n++] = s.at[i];
			continue;
		}
		int high = i + 2 < s.len ? hex(s.at[i + 1]) : -1;
		int low = i + 2 < s.len ? hex(s.at[i + 2]) : -1;
		if (high < 0 || low < 0 || high + low == 0) {
			free(text);
			return err_set(e, ERR_INVALID,
			        "expected " CH_URL_FORM ", got a %s with a %% that is not followed by two hex digits",
			        what);
		}
		text[n++] = (char)(high * 16 + low);
		i += 2;
	}
	text[n] = '\0';
	free(*out);
	*out = text;
	return ERR_OK;
}

static enum err_code read_user(struct span info, struct ch_url *out, struct err *e)
{
	struct span user = info;
	enum err_code rc = ERR_OK;
	if (cut(&info, ':', false, &user))
		rc = decode(info, "password", &out->password, e);
	if (rc == ERR_OK && user.len > 0)
		rc = decode(user, "user", &out->user, e);
	return rc;
}

static bool is_host(struct span s, bool ipv6)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= (ipv6 ? 'f' : 'z');
		if (!letter && !(c >= '0' && c <= '9') && c != '.' && !(ipv6 ? c == ':' : c == '-' || c == '_'))
			return false;
	}
	return s.len > 0;
}

static enum err_code read_host(struct span s, struct ch_url *out, struct err *e)
{
	struct span host = s, port = {NULL, 0};
	bool has_port = false;
	out->ipv6 = s.len > 0 && s.at[0] == '[';
	if (out->ipv6) {
		struct span rest = {s.at + 1, s.len - 1};
		if (!cut(&rest, ']', false, &host) || (rest.len > 0 && rest.at[0] != ':'))
			return wrong(e, "a host that is not a name or an address");
		has_port = rest.len > 0;
		port = has_port ? (struct span){rest.at + 1, rest.len - 1} : rest;
	} else if (cut(&s, ':', false, &host)) {
		has_port = true;
		port = s;
	}
	if (!is_host(host, out->ipv6))
		return wrong(e, host.len ? "a host that is not a name or an address" : "no host");
	int64_t number = out->https ? HTTPS_PORT : HTTP_PORT;
	if (has_port && !parse_i64(port.at, port.len, 1, 65535, &number))
		return wrong(e, "a port that is not a number from 1 to 65535");
	if (number == 9000 || number == 9440)
		return wrong(e, "the port of the native protocol (the HTTP interface has 8123, with TLS 8443)");
	out->port = (int)number;
	free(out->host);
	out->host = strndup(host.at, host.len);
	return out->host ? ERR_OK : err_nomem(e);
}

/* What this program says itself in each request, or cannot work with. */
static const char *reserved(const char *name)
{
	static const char *const names[][2] = {
	        {"user", "the parameter user (write http://user:password@host)"},
	        {"password", "the parameter password (write http://user:password@host)"},
	        {"username", "the parameter username (write http://user:password@host)"},
	        {"database", "the parameter database (write http://host/database)"},
	        {"readonly", "the parameter readonly (the source's read_only says it)"},
	        {"query", "the parameter query"},
	        {"query_id", "the parameter query_id"},
	        {"default_format", "the parameter default_format"},
	        {"session_id", "the parameter session_id"},
	        {"compress", "the parameter compress"},
	        {"decompress", "the parameter decompress"},
	        {"enable_http_compression", "the parameter enable_http_compression"},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i][0]) == 0)
			return names[i][1];
	return NULL;
}

static enum err_code add_setting(struct span name, struct span value, struct ch_url *out, struct err *e)
{
	if (out->n_settings == SETTINGS_MAX)
		return wrong(e, "more than 64 parameters");
	struct ch_setting *more = realloc(out->settings, (out->n_settings + 1) * sizeof *more);
	if (!more)
		return err_nomem(e);
	out->settings = more;
	struct ch_setting *s = &more[out->n_settings++];
	*s = (struct ch_setting){NULL, NULL};
	enum err_code rc = decode(name, "parameter's name", &s->name, e);
	if (rc == ERR_OK)
		rc = decode(value, "parameter's value", &s->value, e);
	return rc == ERR_OK && reserved(s->name) ? wrong(e, reserved(s->name)) : rc;
}

static enum err_code read_parameter(struct span value, struct ch_url *out, struct err *e)
{
	struct span name;
	if (!cut(&value, '=', false, &name) || name.len == 0)
		return wrong(e, "a parameter that is not name=value");
	if (is(name, "ca"))
		return out->https ? decode(value, "parameter's value", &out->ca, e) : wrong(e, "ca without https");
	if (!is(name, "insecure"))
		return add_setting(name, value, out, e);
	if (!is(value, "1") && !is(value, "0"))
		return wrong(e, "insecure with a value that is neither 1 nor 0");
	if (!out->https)
		return wrong(e, "insecure without https");
	out->insecure = is(value, "1");
	return ERR_OK;
}

/* The part before the first / or ?; *s becomes what begins there. */
static struct span take_authority(struct span *s)
{
	size_t n = 0;
	while (n < s->len && s->at[n] != '/' && s->at[n] != '?')
		n++;
	struct span authority = {s->at, n};
	*s = (struct span){s->at + n, s->len - n};
	return authority;
}

static enum err_code read_url(struct span s, struct ch_url *out, struct err *e)
{
	struct span host = take_authority(&s), info, path = s, params = {NULL, 0};
	enum err_code rc = ERR_OK;
	if (cut(&host, '@', true, &info))
		rc = read_user(info, out, e);
	if (rc == ERR_OK)
		rc = read_host(host, out, e);
	if (cut(&s, '?', false, &path))
		params = s;
	if (rc == ERR_OK && skip(&path, "/") && path.len > 0)
		rc = memchr(path.at, '/', path.len) ? wrong(e, "a path of more than a database")
		                                    : decode(path, "database", &out->database, e);
	while (rc == ERR_OK && params.len > 0) {
		struct span one = params;
		if (!cut(&params, '&', false, &one))
			params.len = 0;
		rc = read_parameter(one, out, e);
	}
	return rc;
}

/* tcp://host:9000?username=u&password=p&database=d, as the native protocol's drivers want it. */
static enum err_code answer_native(struct span s, struct err *e)
{
	struct span host = take_authority(&s), info, name, rest, path = s, params = {NULL, 0};
	if (cut(&s, '?', false, &path))
		params = s;
	struct span database = path;
	skip(&database, "/");
	cut(&host, '@', true, &info);
	rest = host;
	cut(&rest, ',', false, &host); /* the first of several */
	rest = host;
	bool ipv6 = skip(&rest, "[") && cut(&rest, ']', false, &name);
	if (ipv6)
		host.len = name.len + 2;
	else
		cut(&rest, ':', true, &host);
	bool secure = false;
	while (params.len > 0) {
		struct span value = params;
		if (!cut(&params, '&', false, &value))
			params.len = 0;
		if (!cut(&value, '=', false, &name))
			continue;
		if (is(name, "database"))
			database = value;
		secure = secure || (is(name, "secure") && (is(value, "true") || is(value, "1")));
	}
	/* Only what cannot be a secret that went astray is repeated. */
	bool plain = ipv6 ? is_host((struct span){host.at + 1, host.len - 2}, true) : is_host(host, false);
	if (!plain)
		host = (struct span){"HOST", 4};
	if (database.len > 0 && !is_host(database, false))
		database = (struct span){"DATABASE", 8};
	return err_set(e, ERR_INVALID,
	        "expected " CH_URL_FORM
	        ", got an address of the native protocol: ClickHouse is asked over HTTP, so write "
	        "%s://USER:PASSWORD@%.*s:%d/%.*s",
	        secure ? "https" : "http", (int)host.len, host.at, secure ? HTTPS_PORT : HTTP_PORT, (int)database.len,
	        database.len ? database.at : "");
}

enum err_code ch_url_parse(const char *text, struct ch_url *out, struct err *e)
{
	struct span s = {text, strlen(text)};
	enum err_code rc;
	*out = (struct ch_url){0};
	if (skip(&s, "tcp://") || skip(&s, "clickhouse://") || skip(&s, "native://"))
		return answer_native(s, e);
	out->https = skip(&s, "https://");
	if (out->https || skip(&s, "http://"))
		rc = read_url(s, out, e);
	else
		rc = wrong(e, "another kind of address");
	if (rc != ERR_OK)
		ch_url_fini(out);
	return rc;
}

void ch_url_fini(struct ch_url *url)
{
	for (size_t i = 0; i < url->n_settings; i++) {
		free(url->settings[i].name);
		free(url->settings[i].value);
	}
	free(url->settings);
	free(url->host);
	free(url->user);
	free(url->password);
	free(url->database);
	free(url->ca);
	*url = (struct ch_url){0};
}
