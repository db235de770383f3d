/* An HTTP request as plain data. Parsing it changes nothing and talks to nobody.
 *
 * Thread rule: one thread at a time. The strings it was given (method_name, uri) are borrowed until the next request_reset; what it
 * decodes it keeps in its own buffers, which are used again for the next request.
 */
#ifndef DB_FCGI_REQUEST_H
#define DB_FCGI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"

enum method { METHOD_GET = 1, METHOD_HEAD = 2, METHOD_POST = 4, METHOD_DELETE = 8, METHOD_OTHER = 16 };

#define REQUEST_SEGMENTS_MAX 4 /* more than any route has */
#define REQUEST_ID_MAX 64

struct request {
	enum method method;
	const char *method_name;                    /* as it was sent */
	const char *uri;                            /* as nginx got it; "" = none */
	const char *query;                          /* behind its '?'; "" = none */
	char id[REQUEST_ID_MAX + 1];                /* [A-Za-z0-9_.:-]; "" = none */
	const char *segments[REQUEST_SEGMENTS_MAX]; /* of the path, percent-decoded */
	size_t n_segments;                          /* may be larger than what segments holds */
	struct buf path;                            /* where segments points to */
	struct buf body;
	bool body_too_large; /* it was over the limit and thrown away */
	bool body_cut;       /* it ended before its Content-Length */
};

void request_init(struct request *r, size_t max_body);
void request_fini(struct request *r);
void request_reset(struct request *r);

/* Takes method, REQUEST_URI and request id apart (NULL: none). ERR_INVALID: the URI's encoding is broken. */
enum err_code MUST_CHECK request_set(
        struct request *r, const char *method, const char *uri, const char *id, struct err *e);

/* Parameters of the query. An empty or missing one leaves *out as it is. ERR_INVALID names the parameter. */
enum err_code MUST_CHECK request_query_flag(const struct request *r, const char *name, bool *out, struct err *e);
enum err_code MUST_CHECK request_query_i64(
        const struct request *r, const char *name, int64_t min, int64_t max, int64_t *out, struct err *e);
/* out holds at least one byte and is NUL-terminated. */
enum err_code MUST_CHECK request_query_text(
        const struct request *r, const char *name, char *out, size_t size, struct err *e);

#endif
