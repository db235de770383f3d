/* What a ClickHouse server lets this user set, and what has to be set so that an answer is whole and in the expected
 * form whatever the user's profile says: asked once a connection. Private to shared/db/ch_*.c. One thread at a time.
 */
#ifndef DB_DB_CH_SERVER_H
#define DB_DB_CH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/config/ch_url.h"
#include "shared/db/ch_http.h"

struct ch_server {
	bool may_set;      /* the user may change settings: the profile does not say readonly = 1 */
	struct buf params; /* of each query: &name=value... with the url's settings */
};

void ch_server_init(struct ch_server *s);
void ch_server_fini(struct ch_server *s);

/* Asks. ERR_UNAVAILABLE: the server cannot be reached, or refuses, or results would not be whole. */
enum err_code MUST_CHECK ch_server_ask(struct ch_server *s, struct ch_http *h, const struct ch_url *url, bool read_only,
        int64_t timeout_ms, struct err *e);

/* Appends the parameters of one query to out: query_id, database, settings; timeout_ms 0 = no limit; len: of its text. */
void ch_server_params(const struct ch_server *s, const struct ch_url *url, const char *query_id, int64_t timeout_ms,
        size_t len, struct buf *out);

/* Ends the query with this id on the server; from any thread, on a connection of its own. Did it find the query? */
bool ch_server_kill(const struct ch_url *url, const char *password, int64_t connect_timeout_ms, const char *query_id);
/* The same for all of this user's queries whose id begins so. */
bool ch_server_kill_all(const struct ch_url *url, const char *password, int64_t connect_timeout_ms, const char *begins);

#endif
