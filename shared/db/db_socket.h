/* The end of a query that was broken off: the server is done with it when it has closed the connection. Pure POSIX. */
#ifndef DB_DB_DB_SOCKET_H
#define DB_DB_DB_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Says good-bye on the connected socket fd and throws away what still comes, until the peer has closed its side too, or
 * for ms at most (false). The caller has cancelled what the server does, and closes fd. */
bool db_socket_see_off(int fd, int64_t ms);

#endif
