/* What the addresses of Redis, MySQL and ClickHouse have in common: parts of a text, percent-encoding, host and port.
 * Spans are borrowed. Pure; any thread. */
#ifndef DB_CONFIG_URL_H
#define DB_CONFIG_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"

/* A part of the text that is being read. */
struct span {
	const char *at;
	size_t len;
};

struct span span_of(const char *text);
bool span_is(struct span s, const char *word);
/* Cuts prefix off s; false, and s unchanged, when it does not begin with it. */
bool span_skip(struct span *s, const char *prefix);
/* Cuts what stands before the first (or last) c off s and drops c; false, and s unchanged, when there is no c. */
bool span_cut(struct span *s, char c, bool last, struct span *before);
/* Replaces *out, which the caller owns. */
enum err_code MUST_CHECK span_keep(struct span s, char **out, struct err *e);

/* span_keep, with %XX decoded. ERR_INVALID, about which e says nothing yet: a % that is not followed by two hex digits, or
 * by 00. */
enum err_code MUST_CHECK url_decode(struct span s, char **out, struct err *e);
bool url_is_host(struct span s, bool ipv6);
/* host, host:port, [ipv6], [ipv6]:port. *port is left alone when none is given; *host is what stands between brackets, and
 * may be empty. NULL, or what is wrong: "a host that is ...". */
const char *url_read_host(struct span s, struct span *host, bool *ipv6, int *port);

#endif
