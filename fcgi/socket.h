/* The listening socket: inherited from systemd (LISTEN_FDS, fd 3) or a spawner (fd 0), or a unix socket of our own.
 *
 * Our own is bound under a temporary name in the same directory, gets mode and group there, and is then renamed over its
 * path. So there is no moment without a socket, and a new process takes over from an old one (a rolling upgrade): new
 * connections reach the new one, the old one keeps what it has. At the end the path is removed only when it still leads to
 * our socket. Look and deed are made under a lock on the directory.
 * Thread rule: main, before threads start and after they have ended; listener_withdraw also while they run.
 */
#ifndef DB_FCGI_SOCKET_H
#define DB_FCGI_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

struct listener {
	int fd; /* non-blocking, close-on-exec; -1: none */
	bool inherited;
	char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* "" when inherited */
	dev_t device;                                         /* of our socket's file */
	ino_t inode;
};

enum err_code MUST_CHECK listener_open(struct listener *l, const struct config *c, struct err *e);
/* Removes the path, so that nobody connects any more; those in the backlog can still be accepted. Does nothing for an
 * inherited socket. */
void listener_withdraw(struct listener *l);
void listener_close(struct listener *l);

#endif
