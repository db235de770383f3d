#include "shared/config/ch_url.h"

#include <stdlib.h>
#include <string.h>

#include "shared/config/url.h"

#define HTTP_PORT 8123
#define HTTPS_PORT 8443
#define SETTINGS_MAX 64

static enum err_code wrong(struct err *e, const char *got)
{
	return err_set(e, ERR_INVALID, "expected " CH_URL_FORM ", got %s", got);
}

/* what names the part for the message. */
static enum err_code decode(struct span s, const char *what, char **out, struct err *e)
{
	enum err_code rc = url_decode(s, out, e);
	if (rc == ERR_INVALID)
		err_set(e, ERR_INVALID,
		        "expected " CH_URL_FORM ", got a %s with a %% that is not followed by two hex digits", what);
	return rc;
}

static enum err_code read_user(struct span info, struct ch_url *out, struct err *e)
{
	struct span user = info;
	enum err_code rc = ERR_OK;
	if (span_cut(&info, ':', false, &user))
		rc = decode(info, "password", &out->password, e);
	if (rc == ERR_OK && user.len > 0)
		rc = decode(user, "user", &out->user, e);
	return rc;
}

static enum err_code read_host(struct span s, struct ch_url *out, struct err *e)
{
	struct span host;
	out->port = out->https ? HTTPS_PORT : HTTP_PORT;
	const char *why = url_read_host(s, &host, &out->ipv6, &out->port);
	if (why || host.len == 0)
		return wrong(e, why ? why : "no host");
	if (out->port == 9000 || out->port == 9440)
		return wrong(e, "the port of the native protocol (the HTTP interface has 8123, with TLS 8443)");
	return span_keep(host, &out->host, e);
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
	if (!span_cut(&value, '=', false, &name) || name.len == 0)
		return wrong(e, "a parameter that is not name=value");
	if (span_is(name, "ca"))
		return out->https ? decode(value, "parameter's value", &out->ca, e) : wrong(e, "ca without https");
	if (!span_is(name, "insecure"))
		return add_setting(name, value, out, e);
	if (!span_is(value, "1") && !span_is(value, "0"))
		return wrong(e, "insecure with a value that is neither 1 nor 0");
	if (!out->https)
		return wrong(e, "insecure without https");
	out->insecure = span_is(value, "1");
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
	if (span_cut(&host, '@', true, &info))
		rc = read_user(info, out, e);
	if (rc == ERR_OK)
		rc = read_host(host, out, e);
	if (span_cut(&s, '?', false, &path))
		params = s;
	if (rc == ERR_OK && span_skip(&path, "/") && path.len > 0)
		rc = memchr(path.at, '/', path.len) ? wrong(e, "a path of more than a database")
		                                    : decode(path, "database", &out->database, e);
	while (rc == ERR_OK && params.len > 0) {
		struct span one = params;
		if (!span_cut(&params, '&', false, &one))
			params.len = 0;
		rc = read_parameter(one, out, e);
	}
	return rc;
}

/* tcp://host:9000?username=u&password=p&database=d, as the native protocol's drivers want it. */
static enum err_code answer_native(struct span s, struct err *e)
{
	struct span host = take_authority(&s), info, name, rest, path = s, params = {NULL, 0};
	if (span_cut(&s, '?', false, &path))
		params = s;
	struct span database = path;
	bool stray = path.len > 0 && memchr(path.at, '@', path.len); /* then the password may reach to there */
	stray = stray || (params.len > 0 && memchr(params.at, '@', params.len));
	span_skip(&database, "/");
	span_cut(&host, '@', true, &info);
	rest = host;
	span_cut(&rest, ',', false, &host); /* the first of several */
	rest = host;
	bool ipv6 = span_skip(&rest, "[") && span_cut(&rest, ']', false, &name);
	if (ipv6)
		host.len = name.len + 2;
	else
		span_cut(&rest, ':', true, &host);
	bool secure = false;
	while (params.len > 0) {
		struct span value = params;
		if (!span_cut(&params, '&', false, &value))
			params.len = 0;
		if (!span_cut(&value, '=', false, &name))
			continue;
		if (span_is(name, "database"))
			database = value;
		secure = secure || (span_is(name, "secure") && (span_is(value, "true") || span_is(value, "1")));
	}
	/* Only what cannot be a secret that went astray is repeated. */
	bool plain = ipv6 ? url_is_host((struct span){host.at + 1, host.len - 2}, true) : url_is_host(host, false);
	if (!plain || stray)
		host = (struct span){"HOST", 4};
	if (database.len > 0 && (stray || !url_is_host(database, false)))
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
	struct span s = span_of(text);
	enum err_code rc;
	*out = (struct ch_url){0};
	if (span_skip(&s, "tcp://") || span_skip(&s, "clickhouse://") || span_skip(&s, "native://"))
		return answer_native(s, e);
	out->https = span_skip(&s, "https://");
	if (out->https || span_skip(&s, "http://"))
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
