/* Requests to one ClickHouse server over HTTP, one at a time, on a connection that is kept: each is a POST whose body is
 * the statement. The answer is read as it comes and only as fast as its rows are taken. Private to shared/db/ch_*.c.
 * Thread rule: one thread at a time, except ch_http_interrupt.
 */
#ifndef DB_DB_CH_HTTP_H
#define DB_DB_CH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/config/ch_url.h"
#include "shared/db/ch_tsv.h"

#define CH_FORMAT "TabSeparatedWithNamesAndTypes"

struct ch_http;

/* What the head of an answer says. */
struct ch_head {
	long status;       /* 0: it has not come */
	bool tsv;          /* the content is TabSeparated, of whichever kind */
	bool tagged;       /* the server marks an error that comes behind rows, and breaks the answer off */
	bool names_format; /* the server says the format's name */
	bool right_format; /* and it is CH_FORMAT */
};

/* url and password (NULL: the url's) are borrowed and outlive it. NULL: no memory. */
struct ch_http *ch_http_new(const struct ch_url *url, const char *password, int64_t connect_timeout_ms);
void ch_http_free(struct ch_http *h);

/* Appends &name=value to a request's parameters. */
void ch_http_param(struct buf *params, const char *name, const char *value);

/* Sends body (borrowed until the request has ended) with params and forgets the request before. */
enum err_code MUST_CHECK ch_http_send(
        struct ch_http *h, const struct buf *params, const char *body, size_t len, struct err *e);
/* Moves the request on: until there is a whole line to be taken, or its end, a wake-up, or timeout_ms (-1: none) is over. */
void ch_http_move(struct ch_http *h, int timeout_ms);
/* Has the request ended, well or not? ERR_OK: well. Else e says how the connection failed: ERR_UNAVAILABLE when there was
 * none, ERR_TRANSIENT when it broke, ERR_PERMANENT for a line that is too long. */
bool ch_http_ended(const struct ch_http *h);
enum err_code MUST_CHECK ch_http_result(const struct ch_http *h, struct err *e);
/* The request's rows, when the status is 200; else its text, up to a few KiB. */
struct ch_tsv *ch_http_rows(struct ch_http *h);
const struct buf *ch_http_text(const struct ch_http *h);
const struct ch_head *ch_http_head(const struct ch_http *h);

/* Throws away from now on what the request brings. */
void ch_http_discard(struct ch_http *h);
/* Gives the request up; its connection is closed unless it has ended. */
void ch_http_drop(struct ch_http *h);
/* Is the connection of the request before still open, as far as can be seen without a round trip? */
bool ch_http_alive(const struct ch_http *h);
/* Ends a ch_http_move that waits, or the next; and when the answer has begun, cuts the connection: a server that cannot
 * write to it would not listen to anything else. Any thread. */
void ch_http_interrupt(struct ch_http *h);

/* A whole request with a small answer, which is then in ch_http_rows; an error status is an error. timeout_ms bounds
 * all of it. */
enum err_code MUST_CHECK ch_http_run(
        struct ch_http *h, const struct buf *params, const char *sql, int64_t timeout_ms, struct err *e);

#endif
