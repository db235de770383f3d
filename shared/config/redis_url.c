#include "shared/config/redis_url.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"

#define REDIS_PORT 6379

/* A part of the text that is being read. */
struct span {
	const char *at;
	size_t len;
};

static enum err_code wrong(struct err *e, const char *got)
{
	return err_set(e, ERR_INVALID, "expected " REDIS_URL_FORM ", got %s", got);
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
			return wrong(e, what);
		}
		text[n++] = (char)(high * 16 + low);
		i += 2;
	}
	text[n] = '\0';
	*out = text;
	return ERR_OK;
}

static enum err_code read_user(struct span info, struct redis_url *out, struct err *e)
{
	struct span user;
	if (!cut(&info, ':', false, &user))
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

static bool is_host(struct span s, bool ipv6)
{
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		bool word = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.';
		if (!word && !(ipv6 ? c == ':' || c == '%' : c == '-' || c == '_'))
			return false;
	}
	return true;
}

static enum err_code read_host(struct span s, struct redis_url *out, struct err *e)
{
	struct span host = s, port = {NULL, 0};
	bool ipv6 = s.len > 0 && s.at[0] == '[', has_port = false;
	if (ipv6) {
		struct span rest = {s.at + 1, s.len - 1};
		if (!cut(&rest, ']', false, &host) || (rest.len > 0 && rest.at[0] != ':'))
			return wrong(e, "a host that is not a name or an address");
		has_port = rest.len > 0;
		port = has_port ? (struct span){rest.at + 1, rest.len - 1} : rest;
	} else if (cut(&s, ':', false, &host)) {
		has_port = true;
		port = s;
	}
	if (!is_host(host, ipv6))
		return wrong(e, host.len ? "a host that is not a name or an address" : "no host");
	int64_t number = REDIS_PORT;
	if (has_port && !parse_i64(port.at, port.len, 1, 65535, &number))
		return wrong(e, "a port that is not a number from 1 to 65535");
	out->port = (int)number;
	out->host = strndup(host.at, host.len);
	return out->host ? ERR_OK : err_nomem(e);
}

static enum err_code read_tcp(struct span s, struct redis_url *out, struct err *e)
{
	struct span authority = s, info;
	if (cut(&s, '/', false, &authority) && s.len > 0) {
		enum err_code rc = read_db(s, out, e);
		if (rc)
			return rc;
	}
	if (cut(&authority, '@', true, &info)) {
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
	if (cut(&before, '@', true, &info) && before.len == 0) {
		enum err_code rc = read_user(info, out, e);
		if (rc)
			return rc;
		s = (struct span){slash, s.len - (size_t)(slash - s.at)};
	}
	struct span path = s;
	if (cut(&s, '?', false, &path)) {
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

enum err_code redis_url_parse(const char *text, struct redis_url *out, struct err *e)
{
	static const char tcp[] = "redis://", local[] = "unix://", tls[] = "rediss://";
	enum err_code rc;
	*out = (struct redis_url){0};
	if (strncmp(text, tcp, sizeof tcp - 1) == 0)
		rc = read_tcp((struct span){text + sizeof tcp - 1, strlen(text) - (sizeof tcp - 1)}, out, e);
	else if (strncmp(text, local, sizeof local - 1) == 0)
		rc = read_unix((struct span){text + sizeof local - 1, strlen(text) - (sizeof local - 1)}, out, e);
	else if (strncmp(text, tls, sizeof tls - 1) == 0)
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
