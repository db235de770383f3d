/* An HTTP answer: the envelope that every answer comes in, and its header.
 *
 *   {"status":"success","data":...}      {"status":"error","message":"...","data":null}
 *
 * Thread rule: one thread at a time; the body's memory is used again for the next answer.
 */
#ifndef DB_FCGI_RESPONSE_H
#define DB_FCGI_RESPONSE_H

#include <stdbool.h>

#include "fcgi/request.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"

struct response {
	int status;
	const char *content_type;
	unsigned allow; /* of a 405: methods */
	struct buf body;
	struct err why; /* of an error, for the log; of a 500 the client is not told */
};

void response_init(struct response *res);
void response_fini(struct response *res);
void response_reset(struct response *res);

/* Begins a 200 with the envelope; the caller adds the data's JSON and then calls response_end. */
struct buf *response_begin(struct response *res);
void response_end(struct response *res);

/* Throws away what there is and answers with the error; the code chooses the status. */
void response_error(struct response *res, const struct err *e);
void response_error_status(struct response *res, int status, const struct err *e);
int response_status_of(enum err_code code);

/* The header as CGI wants it, with the empty line at its end. */
void response_head(const struct response *res, const struct request *req, struct buf *out);

#endif
