#include "shared/config/redis_url.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/config/url.h"

#define REDIS_PORT 6379
#define SENTINEL_PORT 26379

static enum err_code wrong(struct err *e, const char *got)
{
	return err_set(e, ERR_INVALID, "expected " REDIS_URL_FORM ", got %s", got);
}

/* what names the part for the message. */
static enum err_code decode(struct span s, const char *what, char **out, struct err *e)
{
	enum err_code rc = url_decode(s, out, e);
	return rc == ERR_INVALID ? wrong(e, what) : rc;
}

static enum err_code read_user(struct span info, struct redis_url *out, struct err *e)
{
	struct span user;
	if (!span_cut(&info, ':', false, &user))
		return wrong(e, "a user without a password (for a password alone: redis://:password@host)");
	enum err_code rc =
	        decode(info, "a password with a % that is not followed by two hex digits", &out->password, e);
	if (!rc && user.len > 0)
		rc = decode(user, "a user with a % that is not followed by two hex digits", &out->user, e);
	return rc;
}

static enum err_code read_db(struct span s, struct redis_url *out, struct err *e)
{
	int64_t db;
	if (!parse_i64(s.at, s.len, 0, INT_MAX, &db))
		return wrong(e, "a db that is not a number");
	out->db = (int)db;
	return ERR_OK;
}

static enum err_code read_host(struct span s, struct redis_url *out, struct err *e)
{
	struct span host;
	bool ipv6;
	if (s.len == 0)
		return ERR_OK;
	out->port = REDIS_PORT;
	const char *why = url_read_host(s, &host, &ipv6, &out->port);
	if (why || host.len == 0)
		return wrong(e, why ? why : "no host");
	return span_keep(host, &out->host, e);
}

static enum err_code read_tcp(struct span s, struct redis_url *out, struct err *e)
{
	struct span authority = s, info;
	if (span_cut(&s, '/', false, &authority) && s.len > 0) {
		enum err_code rc = read_db(s, out, e);
		if (rc)
			return rc;
	}
	if (span_cut(&authority, '@', true, &info)) {
		enum err_code rc = read_user(info, out, e);
		if (rc)
			return rc;
	}
	return read_host(authority, out, e);
}

static enum err_code read_unix(struct span s, struct redis_url *out, struct err *e)
{
	struct span info;
	const char *slash = s.len ? memchr(s.at, '/', s.len) : NULL;
	struct span before = {s.at, slash ? (size_t)(slash - s.at) : 0};
	if (span_cut(&before, '@', true, &info) && before.len == 0) {
		enum err_code rc = read_user(info, out, e);
		if (rc)
			return rc;
		s = (struct span){slash, s.len - (size_t)(slash - s.at)};
	}
	struct span path = s;
	if (span_cut(&s, '?', false, &path)) {
		if (s.len < 3 || memcmp(s.at, "db=", 3) != 0)
			return wrong(e, "something other than db=N behind the ?");
		enum err_code rc = read_db((struct span){s.at + 3, s.len - 3}, out, e);
		if (rc)
			return rc;
	}
	if (path.len < 2 || path.at[0] != '/')
		return wrong(e, "a socket whose path does not begin with /");
	return decode(path, "a path with a % that is not followed by two hex digits", &out->path, e);
}

static bool names_host(const struct redis_url *url)
{
	return url->host || url->path;
}

enum err_code redis_url_parse(const char *text, struct redis_url *out, struct err *e)
{
	enum err_code rc = redis_url_parse_any(text, out, e);
	if (rc || names_host(out))
		return rc;
	redis_url_fini(out);
	return wrong(e, "no host");
}

enum err_code redis_sentinel_parse(const char *text, char **host, int *port, struct err *e)
{
	struct span found;
	bool ipv6;
	*host = NULL;
	*port = SENTINEL_PORT;
	const char *why = url_read_host(span_of(text), &found, &ipv6, port);
	if (why || found.len == 0)
		return err_set(e, ERR_INVALID, "expected the address of a Sentinel, " REDIS_SENTINEL_FORM ", got %s",
		        why ? why : "no host");
	return span_keep(found, host, e);
}

enum err_code redis_url_parse_any(const char *text, struct redis_url *out, struct err *e)
{
	struct span s = span_of(text);
	enum err_code rc;
	*out = (struct redis_url){0};
	if (span_skip(&s, "redis://"))
		rc = read_tcp(s, out, e);
	else if (span_skip(&s, "unix://"))
		rc = read_unix(s, out, e);
	else if (span_skip(&s, "rediss://"))
		rc = wrong(e, "rediss:// (TLS is not supported: put a tunnel in front)");
	else
		rc = wrong(e, "another kind of address");
	if (rc)
		redis_url_fini(out);
	return rc;
}

void redis_url_fini(struct redis_url *url)
{
	free(url->host);
	free(url->path);
	free(url->user);
	free(url->password);
	*url = (struct redis_url){0};
}
