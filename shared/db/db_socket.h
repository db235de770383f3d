/* The end of a query that was broken off: the server is done with it when it has closed the connection. Pure POSIX. */
#ifndef DB_DB_DB_SOCKET_H
#define DB_DB_DB_SOCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Says good-bye on the connected socket fd and throws away what still comes, until the peer has closed its side too, or
 * for ms at most (false). The caller has cancelled what the server does, and closes fd. */
bool db_socket_see_off(int fd, int64_t ms);

/* A run is cancelled again and again until it ends. When it has not after a while, its results server may hang, which is
 * not to hold up the query in the source: then the connection goes. Any thread. */
struct db_insistence {
	_Atomic(int64_t) since; /* the first cancel, ms of the monotonic clock; 0 = none */
};
void db_insistence_reset(struct db_insistence *i);
/* Said at each cancel: is the time for gentle means over? */
bool db_insistence_is_due(struct db_insistence *i);

#endif
