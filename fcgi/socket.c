#include "fcgi/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/parse.h"

#define BACKLOG 4096 /* as the kernel's net.core.somaxconn: nginx answers 502 at once when it is full */
#define LISTEN_FDS_START 3

/* --- inherited --- */

static bool is_listening(int fd)
{
	int on = 0;
	socklen_t size = sizeof on;
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == 0 && on;
}

static enum err_code adopt(struct listener *l, int fd, const char *what, struct err *e)
{
	if (!is_listening(fd))
		return err_set(e, ERR_INVALID, "%s is not a listening socket", what);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	l->fd = fd;
	l->inherited = true;
	return ERR_OK;
}

/* systemd's way; ERR_NOT_FOUND when it is not used. */
static enum err_code from_systemd(struct listener *l, struct err *e)
{
	const char *pid_text = getenv("LISTEN_PID"), *fds_text = getenv("LISTEN_FDS");
	int64_t pid, fds;
	if (!pid_text || !fds_text || !parse_i64(pid_text, strlen(pid_text), 1, INT32_MAX, &pid) || pid != getpid())
		return ERR_NOT_FOUND;
	if (!parse_i64(fds_text, strlen(fds_text), 1, 1, &fds))
		return err_set(e, ERR_INVALID, "LISTEN_FDS is %s: expected exactly one socket", fds_text);
	return adopt(l, LISTEN_FDS_START, "the file descriptor that LISTEN_FDS announces (3)", e);
}

/* --- our own --- */

static enum err_code failed(const char *what, const char *path, struct err *e)
{
	char why[64];
	return err_set(e, ERR_INVALID, "socket %s: %s: %s", path, what, err_errno(errno, why, sizeof why));
}

/* Opens and locks the directory of path; closing the descriptor unlocks it. */
static int lock_directory(const char *path)
{
	char copy[sizeof((struct sockaddr_un *)0)->sun_path];
	memcpy(copy, path, strlen(path) + 1);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

/* "<directory>/.<pid>.sock", which must fit a socket's name too. */
static enum err_code temporary_name(const char *path, struct sockaddr_un *out, struct err *e)
{
	const char *slash = strrchr(path, '/');
	int directory = slash ? (int)(slash - path) + 1 : 0;
	int n = snprintf(out->sun_path, sizeof out->sun_path, "%.*s.%d.sock", directory, path, (int)getpid());
	if (n < (int)sizeof out->sun_path)
		return ERR_OK;
	return err_set(e, ERR_INVALID, "socket %s: the path leaves no room for a temporary name beside it", path);
}

/* Gives the socket's file its group and its permissions. */
static enum err_code set_access(const char *file, const struct config *c, struct err *e)
{
	if (c->fcgi.socket_group[0]) {
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): before threads start */
		const struct group *g = getgrnam(c->fcgi.socket_group);
		if (!g)
			return err_set(e, ERR_INVALID, "fcgi.socket_group: no such group '%s'", c->fcgi.socket_group);
		if (chown(file, (uid_t)-1, g->gr_gid) != 0)
			return failed("changing the group", file, e);
	}
	mode_t mode = (mode_t)strtol(c->fcgi.socket_mode, NULL, 8); /* checked by the configuration */
	if (c->fcgi.socket_mode[0] && chmod(file, mode) != 0)
		return failed("changing the mode", file, e);
	return ERR_OK;
}

/* Binds, listens and renames, in this order: whoever finds the path can connect. */
static enum err_code put_in_place(
        struct listener *l, const struct sockaddr_un *temporary, const struct config *c, struct err *e)
{
	const char *file = temporary->sun_path;
	struct stat st;
	unlink(file); /* a leftover of a process that died with our pid */
	mode_t old = umask(0177);
	int rc = bind(l->fd, (const struct sockaddr *)(const void *)temporary, sizeof *temporary);
	umask(old);
	if (rc != 0)
		return failed("bind", file, e);
	enum err_code code = set_access(file, c, e);
	if (code == ERR_OK && listen(l->fd, BACKLOG) != 0)
		code = failed("listen", file, e);
	if (code == ERR_OK && stat(file, &st) != 0)
		code = failed("stat", file, e);
	if (code == ERR_OK && rename(file, l->path) != 0)
		code = failed("rename", l->path, e);
	if (code != ERR_OK) {
		unlink(file);
		return code;
	}
	l->device = st.st_dev;
	l->inode = st.st_ino;
	return ERR_OK;
}

static enum err_code make(struct listener *l, const struct config *c, struct err *e)
{
	const char *path = c->fcgi.socket;
	struct sockaddr_un temporary = {.sun_family = AF_UNIX};
	struct stat st;
	if (strlen(path) >= sizeof l->path)
		return err_set(e, ERR_INVALID, "socket %s: the path has more than %zu bytes", path, sizeof l->path - 1);
	enum err_code rc = temporary_name(path, &temporary, e);
	if (rc != ERR_OK)
		return rc;
	int directory = lock_directory(path);
	if (directory < 0)
		return failed("opening its directory", path, e);
	memcpy(l->path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		rc = err_set(
		        e, ERR_INVALID, "socket %s: something that is not a socket is there; it is left alone", path);
	} else if ((l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0) {
		rc = failed("socket", path, e);
	} else {
		rc = put_in_place(l, &temporary, c, e);
	}
	if (rc != ERR_OK) {
		listener_close(l);
		l->path[0] = '\0';
	}
	close(directory);
	return rc;
}

enum err_code listener_open(struct listener *l, const struct config *c, struct err *e)
{
	*l = (struct listener){.fd = -1};
	enum err_code rc = from_systemd(l, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (is_listening(STDIN_FILENO))
		return adopt(l, STDIN_FILENO, "file descriptor 0", e);
	return make(l, c, e);
}

void listener_withdraw(struct listener *l)
{
	if (!l->path[0])
		return;
	struct stat st;
	int directory = lock_directory(l->path);
	if (lstat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
		unlink(l->path);
	if (directory >= 0)
		close(directory);
	l->path[0] = '\0';
}

void listener_close(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}
