/* The floor of `post` and `status`: a FastCGI program that reads each request whole and answers a constant.
 *
 *     floor_fcgi SOCKET ANSWER
 *
 * The connection handling is that of fcgi/loop.c: nginx's connections are kept and parked in epoll, and each turn takes
 * every request that is ready before it answers any. What lies between them, our program's work, is what is left out.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 64
#define BACKLOG 1024

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool watch(int epoll, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void accept_connections(int epoll, int listener)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (!watch(epoll, fd))
			close(fd);
}

/* A request from fd with its body; false: there was none, and the connection is closed. */
static bool take_request(FCGX_Request *r, int fd)
{
	char body[8192];
	r->ipcFd = fd;
	r->keepConnection = 1;
	r->detached = 1;
	if (FCGX_Accept_r(r) != 0)
		return false;
	while (FCGX_GetStr(body, sizeof body, r->in) == (int)sizeof body)
		;
	return true;
}

static void give_answer(FCGX_Request *r, const char *answer, int len)
{
	FCGX_PutStr(answer, len, r->out);
	r->keepConnection = 1;
	r->detached = 1;
	FCGX_Finish_r(r);
	r->ipcFd = -1; /* stays open and in epoll */
}

static void serve(int epoll, int listener, const char *answer, int len)
{
	static FCGX_Request requests[BATCH];
	struct epoll_event events[BATCH];
	for (int i = 0; i < BATCH; i++)
		FCGX_InitRequest(&requests[i], -1, 0);
	for (;;) {
		int n = epoll_wait(epoll, events, BATCH, -1), taken = 0;
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_connections(epoll, listener);
			else if (take_request(&requests[taken], events[i].data.fd))
				taken++;
		}
		for (int i = 0; i < taken; i++)
			give_answer(&requests[i], answer, len);
	}
}

int main(int argc, char **argv)
{
	char answer[8192];
	if (argc != 3 || FCGX_Init() != 0) {
		fprintf(stderr, "usage: floor_fcgi SOCKET ANSWER\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	int len = snprintf(answer, sizeof answer,
	        "Status: 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\n\r\n%s",
	        strlen(argv[2]), argv[2]);
	int listener = listen_at(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
	if (len >= (int)sizeof answer || listener < 0 || epoll < 0 || !watch(epoll, listener)) {
		fprintf(stderr, "floor_fcgi: it cannot listen at %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	serve(epoll, listener, answer, len);
	return 0;
}
