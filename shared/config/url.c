#include "shared/config/url.h"

#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"

struct span span_of(const char *text)
{
	return (struct span){text, strlen(text)};
}

bool span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.at, word, s.len) == 0;
}

bool span_skip(struct span *s, const char *prefix)
{
	size_t n = strlen(prefix);
	if (s->len < n || memcmp(s->at, prefix, n) != 0)
		return false;
	*s = (struct span){s->at + n, s->len - n};
	return true;
}

bool span_cut(struct span *s, char c, bool last, struct span *before)
{
	const char *p = s->len == 0 ? NULL : last ? memrchr(s->at, c, s->len) : memchr(s->at, c, s->len);
	if (!p)
		return false;
	*before = (struct span){s->at, (size_t)(p - s->at)};
	*s = (struct span){p + 1, s->len - before->len - 1};
	return true;
}

enum err_code span_keep(struct span s, char **out, struct err *e)
{
	free(*out);
	*out = strndup(s.at, s.len);
	return *out ? ERR_OK : err_nomem(e);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err_code url_decode(struct span s, char **out, struct err *e)
{
	enum err_code rc = span_keep(s, out, e);
	if (rc != ERR_OK)
		return rc;
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++, n++) {
		(*out)[n] = s.at[i];
		if (s.at[i] != '%')
			continue;
		int high = i + 2 < s.len ? hex(s.at[i + 1]) : -1;
		int low = i + 2 < s.len ? hex(s.at[i + 2]) : -1;
		if (high < 0 || low < 0 || high + low == 0)
			return ERR_INVALID;
		(*out)[n] = (char)(high * 16 + low);
		i += 2;
	}
	(*out)[n] = '\0';
	return ERR_OK;
}

bool url_is_host(struct span s, bool ipv6)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		bool word = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.';
		if (!word && !(ipv6 ? c == ':' || c == '%' : c == '-' || c == '_'))
			return false;
	}
	return s.len > 0 && (!ipv6 || memchr(s.at, ':', s.len));
}

const char *url_read_host(struct span s, struct span *host, bool *ipv6, int *port)
{
	static const char no_host[] = "a host that is not a name or an address";
	struct span digits = {NULL, 0};
	bool has_port = false;
	*host = s;
	*ipv6 = s.len > 0 && s.at[0] == '[';
	if (*ipv6) {
		struct span rest = {s.at + 1, s.len - 1};
		if (!span_cut(&rest, ']', false, host) || (rest.len > 0 && rest.at[0] != ':'))
			return no_host;
		has_port = span_skip(&rest, ":");
		digits = rest;
	} else if (span_cut(&s, ':', false, host)) {
		has_port = true;
		digits = s;
	}
	if (host->len > 0 && !url_is_host(*host, *ipv6))
		return no_host;
	int64_t number = *port;
	if (has_port && !parse_i64(digits.at, digits.len, 1, 65535, &number))
		return host->len > 0 ? "a port that is not a number from 1 to 65535" : "no host";
	*port = (int)number;
	return NULL;
}
