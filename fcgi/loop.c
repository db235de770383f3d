#include "fcgi/loop.h"

#include <errno.h>
#include <fcgiapp.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fcgi/counters.h"
#include "fcgi/guard.h"
#include "fcgi/job_request.h"
#include "fcgi/router.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/parse.h"

#define HEAD_MAX_BYTES 2048u
#define READ_BYTES 8192u
#define DISCARD_MAX_BYTES \
	(64u << 20)      /* of a body over the limit: more is not even thrown away, the connection is closed */
#define PEER_TIMEOUT_S 5 /* that a request may be waited for, and a write */
#define WARNINGS_PER_SECOND 10

/* The members that this file takes into its own hands. */
#define IS_INT(member) _Generic(((FCGX_Request *)0)->member, int : 1, default : 0)
_Static_assert(IS_INT(ipcFd) && IS_INT(keepConnection) && IS_INT(detached), "libfcgi 2.4.2's FCGX_Request is expected");

struct slot {
	FCGX_Request fcgi;
	struct exchange x;
	enum step step;
	bool open;        /* a request is in it */
	bool broken;      /* of no use after the answer: close the connection */
	int64_t began_us; /* monotonic */
};

struct loop {
	const struct app *app;           /* borrowed */
	struct counters *counters;       /* borrowed */
	const struct listener *listener; /* borrowed */
	int epoll, wake, ended;          /* ended is borrowed */
	bool listening;                  /* the listening socket is in epoll */
	_Atomic int phase;               /* enum loop_phase, set by main */
	size_t connections;              /* open */

	struct redis *redis;
	int64_t redis_again_ms; /* monotonic: until then Redis is taken for unreachable without a try */
	struct err redis_why;

	struct job_batch batch;
	struct buf head;
	struct slot slots[LOOP_BATCH];
	size_t n; /* slots in use this turn */

	struct cmd **cmds; /* of one pipeline */
	struct reply **replies;
	struct reply ***homes; /* where each is to go */
	size_t cap;

	int64_t warned_s; /* second in which warnings were counted */
	int warnings, unsaid;
};

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- libfcgi --- */

/* The request that the thread reads just now. */
static _Thread_local struct {
	struct guard guard;
	bool surplus; /* bytes came behind its end, and are lost */
	int patience_ms;
} reading;

/* False: nothing has come, and the request's time is over. */
static bool await_bytes(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t before = now_us();
	int n = reading.patience_ms > 0 ? poll(&p, 1, reading.patience_ms) : 0;
	reading.patience_ms -= (int)((now_us() - before) / 1000);
	return n > 0 || (n < 0 && errno == EINTR);
}

/* libfcgi reads with this function instead of its own of that name, since the program's symbols come first. So nothing gets
 * to it that the guard has not seen, and no peer can be waited for longer than for PEER_TIMEOUT_S. */
int OS_Read(int fd, char *buf, size_t len);
int OS_Read(int fd, char *buf, size_t len)
{
	ssize_t got;
	while ((got = recv(fd, buf, len, MSG_DONTWAIT)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !await_bytes(fd))
			return -1;
	}
	size_t taken = guard_feed(&reading.guard, (const unsigned char *)buf, (size_t)got);
	reading.surplus = taken < (size_t)got;
	if (taken > 0 || got == 0)
		return (int)taken;
	errno = EPROTO;
	return -1;
}

/* Reads a request from fd. False: there was none, and the connection is closed. */
static bool take_request(FCGX_Request *r, int fd)
{
	guard_reset(&reading.guard);
	reading.surplus = false;
	reading.patience_ms = PEER_TIMEOUT_S * 1000;
	r->ipcFd = fd;
	r->keepConnection = 1;
	r->detached = 1;
	return FCGX_Accept_r(r) == 0;
}

/* Sends what is left of the answer and takes the connection back. -1: it is closed. */
static int give_answer(FCGX_Request *r, bool keep)
{
	keep = keep && r->keepConnection;
	r->keepConnection = 1;
	r->detached = 1;
	FCGX_Finish_r(r); /* closes after an error of its own */
	int fd = r->ipcFd;
	r->ipcFd = -1;
	if (fd >= 0 && !keep) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* One request with one parameter, on a connection that is to be kept, or not. */
static const unsigned char probe[] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0,
        0,                                               /* BEGIN_REQUEST, responder; byte 10: keep */
        1, 4, 0, 1, 0, 4, 0, 0, 1, 1, 'A', 'b',          /* PARAMS: A=b */
        1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0, 1, 0, 0, 0, 0}; /* ends of PARAMS and STDIN */
#define PROBE_KEEP 10

static bool probe_once(FCGX_Request *r, bool keep)
{
	int pair[2];
	unsigned char bytes[sizeof probe], answer[256];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return false;
	memcpy(bytes, probe, sizeof probe);
	bytes[PROBE_KEEP] = keep ? 1 : 0;
	bool ok = write(pair[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes && take_request(r, pair[0]);
	if (ok) {
		const char *a = FCGX_GetParam("A", r->envp);
		ok = a && strcmp(a, "b") == 0 && r->keepConnection == (int)keep && r->ipcFd == pair[0];
		ok = ok && reading.guard.state == GUARD_DONE; /* it was read by our OS_Read */
		FCGX_PutStr("x", 1, r->out);
		int fd = give_answer(r, true);
		ok = ok && fd == (keep ? pair[0] : -1);
		/* STDOUT, its end and END_REQUEST: 16 + 8 + 16 bytes. */
		ok = ok && read(pair[1], answer, sizeof answer) == 40 && answer[8] == 'x';
		/* A second time: the peer is gone now, so the connection must be closed and nothing else accepted. */
		close(pair[1]);
		if (fd >= 0)
			ok = !take_request(r, fd) && ok && r->ipcFd < 0;
		return ok;
	}
	close(pair[1]);
	return false;
}

enum err_code loop_library_init(struct err *e)
{
	FCGX_Request r;
	if (FCGX_Init() != 0)
		return err_set(e, ERR_PERMANENT, "libfcgi cannot be initialised");
	signal(SIGPIPE, SIG_IGN); /* libfcgi has put a handler there */
	FCGX_InitRequest(&r, -1, 0);
	int64_t before = now_us();
	if (!probe_once(&r, true) || !probe_once(&r, false) || now_us() - before > 1000000)
		return err_set(e, ERR_PERMANENT,
		        "this libfcgi handles kept connections otherwise than 2.4.2, which is what was tested");
	return ERR_OK;
}

/* --- connections --- */

static bool watch(struct loop *l, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};
	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void count_connection(struct loop *l, int change)
{
	l->connections += (size_t)change;
	counters_add(&l->counters->connections, change);
}

/* Accepts what waits; with several loops only one connection a turn, so that they share them. False: none was there. */
static bool accept_connections(struct loop *l)
{
	int most = l->app->n_counters > 1 ? 1 : LOOP_BATCH, got = 0;
	for (; got < most; got++) {
		int fd = accept4(l->listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
				log_warn("a connection cannot be accepted errno=%d", errno);
				/* The kept ones go on, but not at the full speed of a busy loop. */
				nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
			}
			break;
		}
		const struct timeval limit = {.tv_sec = PEER_TIMEOUT_S};
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		if (!watch(l, fd, EPOLLIN)) {
			close(fd);
			break;
		}
		count_connection(l, 1);
	}
	return got > 0;
}

/* --- the log --- */

/* A Redis that is down, or a peer gone mad, must not fill the log with as many lines as there are requests. */
static bool may_warn(struct loop *l)
{
	int64_t second = clock_mono_ms() / 1000;
	if (second != l->warned_s) {
		if (l->unsaid > 0)
			log_warn("requests failed without a line of their own requests=%d", l->unsaid);
		l->warned_s = second;
		l->warnings = l->unsaid = 0;
	}
	if (l->warnings++ < WARNINGS_PER_SECOND)
		return true;
	l->unsaid++;
	return false;
}

static void warn_of_peer(struct loop *l)
{
	if (reading.guard.state == GUARD_REFUSED && may_warn(l))
		log_warn("a peer on the FastCGI socket is no nginx error=%s", reading.guard.why);
}

/* --- gather --- */

enum param { PARAM_METHOD, PARAM_URI, PARAM_ID, PARAM_CLIENTS_ID, PARAM_LENGTH, PARAMS };

/* The parameters that are of interest, by one walk over all of them: NULL where there is none, the first where there are two. */
static void find_params(char **envp, const char *found[static PARAMS])
{
	static const struct {
		const char *name;
		size_t len;
	} names[PARAMS] = {[PARAM_METHOD] = {"REQUEST_METHOD=", 15},
	        [PARAM_URI] = {"REQUEST_URI=", 12},
	        [PARAM_ID] = {"REQUEST_ID=", 11},
	        [PARAM_CLIENTS_ID] = {"HTTP_X_REQUEST_ID=", 18},
	        [PARAM_LENGTH] = {"CONTENT_LENGTH=", 15}};
	for (int i = 0; i < PARAMS; i++)
		found[i] = NULL;
	for (; *envp; envp++)
		for (int i = 0; i < PARAMS; i++)
			if (!found[i] && strncmp(*envp, names[i].name, names[i].len) == 0)
				found[i] = *envp + names[i].len;
}

/* length: CONTENT_LENGTH, or NULL. */
static void read_body(struct slot *s, const char *length)
{
	struct request *req = &s->x.req;
	int64_t declared = 0;
	if (length && !parse_i64(length, strlen(length), 0, INT64_MAX, &declared))
		declared = 0; /* nginx sends none, or an empty one */
	char scratch[READ_BYTES];
	size_t total = 0;
	for (bool more = true; more && total < DISCARD_MAX_BYTES;) {
		size_t left = req->body.max - req->body.len;
		char *to = left > 0 ? buf_room(&req->body, left < READ_BYTES ? left : READ_BYTES) : NULL;
		int want = to ? (int)(left < READ_BYTES ? left : READ_BYTES) : (int)sizeof scratch;
		/* cppcheck-suppress legacyUninitvar ; it is written to */
		int got = FCGX_GetStr(to ? to : scratch, want, s->fcgi.in);
		if (got > 0 && to) {
			req->body.len += (size_t)got;
			req->body.data[req->body.len] = '\0';
		} else if (got > 0) {
			req->body_too_large = true;
		}
		total += got > 0 ? (size_t)got : 0;
		more = got == want;
	}
	bool failed = FCGX_GetError(s->fcgi.in) != 0 || total >= DISCARD_MAX_BYTES;
	s->broken = failed || reading.surplus;
	req->body_cut = failed || total < (size_t)declared;
	req->body_too_large = req->body_too_large || (size_t)declared > req->body.max;
}

/* Reads the request that fd announces into the next slot. */
static void gather(struct loop *l, int fd)
{
	struct slot *s = &l->slots[l->n];
	struct err e = ERR_INIT;
	if (!take_request(&s->fcgi, fd)) {
		warn_of_peer(l);
		count_connection(l, -1);
		return;
	}
	l->n++;
	s->open = true;
	s->began_us = now_us();
	const char *params[PARAMS], *id;
	find_params(s->fcgi.envp, params);
	id = params[PARAM_ID] && params[PARAM_ID][0] ? params[PARAM_ID] : params[PARAM_CLIENTS_ID];
	enum err_code rc = request_set(&s->x.req, params[PARAM_METHOD], params[PARAM_URI], id, &e);
	read_body(s, params[PARAM_LENGTH]);
	warn_of_peer(l);
	s->step = STEP_ASK; /* to be asked */
	if (rc != ERR_OK)
		s->step = exchange_fail(&s->x, &e);
}

/* --- answer --- */

/* A 500 or 503 is worth a line. */
static void warn_of_answer(struct loop *l, const struct exchange *x)
{
	if (!may_warn(l))
		return;
	log_warn("request failed status=%d route=%s request=%s error=%s", x->res.status,
	        router_at(router_index(x->route))->pattern, x->req.id[0] ? x->req.id : "-", x->res.why.text);
}

static void send_answer(struct loop *l, struct slot *s)
{
	const struct exchange *x = &s->x;
	response_head(&x->res, &x->req, &l->head);
	FCGX_PutStr(l->head.data, (int)l->head.len, s->fcgi.out);
	if (x->req.method != METHOD_HEAD && x->res.body.len > 0)
		FCGX_PutStr(x->res.body.data, (int)x->res.body.len, s->fcgi.out);
	int64_t took = now_us() - s->began_us;
	counters_request(l->counters, router_index(x->route), x->res.status, took);
	if (x->res.status >= 500)
		warn_of_answer(l, x);
	log_debug("request method=%s uri=%.512s status=%d us=%" PRId64 " request=%s", x->req.method_name, x->req.uri,
	        x->res.status, took, x->req.id[0] ? x->req.id : "-");
	if (give_answer(&s->fcgi, !s->broken) < 0)
		count_connection(l, -1);
	exchange_reset(&s->x);
	s->open = s->broken = false;
}

/* --- ask --- */

static bool reserve(struct loop *l, size_t n)
{
	if (n <= l->cap)
		return true;
	struct cmd **cmds = realloc(l->cmds, n * sizeof(struct cmd *));
	if (cmds)
		l->cmds = cmds;
	struct reply **replies = cmds ? realloc(l->replies, n * sizeof(struct reply *)) : NULL;
	if (replies)
		l->replies = replies;
	struct reply ***homes = replies ? realloc(l->homes, n * sizeof(struct reply **)) : NULL;
	if (!homes)
		return false;
	l->homes = homes;
	l->cap = n;
	return true;
}

/* Puts commands that join next to each other; the others keep their order. */
static void bring_together(struct loop *l, size_t n)
{
	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		for (size_t k = end; l->cmds[i]->joins && k < n; k++) {
			if (!cmd_joins_with(l->cmds[i], l->cmds[k]))
				continue;
			struct cmd *cmd = l->cmds[k];
			struct reply **home = l->homes[k];
			memmove(&l->cmds[end + 1], &l->cmds[end], (k - end) * sizeof *l->cmds);
			memmove(&l->homes[end + 1], &l->homes[end], (k - end) * sizeof *l->homes);
			l->cmds[end] = cmd;
			l->homes[end++] = home;
		}
	}
}

/* One pipeline, unless a try just now has shown that it would only wait in vain. */
static enum err_code pipeline(struct loop *l, size_t n)
{
	int64_t before = clock_mono_ms();
	if (before < l->redis_again_ms) {
		memset(l->replies, 0, n * sizeof(struct reply *));
		return l->redis_why.code;
	}
	enum err_code rc = redis_pipeline(l->redis, l->cmds, n, l->replies, &l->redis_why);
	int64_t after = clock_mono_ms();
	if (rc != ERR_OK && !redis_connected(l->redis))
		l->redis_again_ms = after + (after - before < 1000 ? after - before : 1000);
	return rc;
}

/* Sends the commands of all requests that wait for replies, and gives each its own. */
static enum err_code exchange_with_redis(struct loop *l)
{
	size_t n = 0, at = 0;
	for (size_t i = 0; i < l->n; i++)
		n += l->slots[i].open ? l->slots[i].x.n - l->slots[i].x.first : 0;
	if (n == 0)
		return ERR_OK;
	if (!reserve(l, n))
		return err_nomem(&l->redis_why);
	for (size_t i = 0; i < l->n; i++) {
		struct exchange *x = &l->slots[i].x;
		for (size_t c = x->first; l->slots[i].open && c < x->n; c++) {
			l->cmds[at] = &x->cmds[c];
			l->homes[at++] = &x->replies[c];
		}
	}
	bring_together(l, n);
	enum err_code rc = pipeline(l, n);
	for (size_t i = 0; i < n; i++)
		*l->homes[i] = l->replies[i];
	return rc;
}

/* Are all replies of the phase there? After a failed pipeline some requests may have theirs. */
static bool is_complete(const struct exchange *x)
{
	for (size_t i = x->first; i < x->n; i++)
		if (!x->replies[i])
			return false;
	return true;
}

static void ask_all(struct loop *l, const struct task_set *tasks)
{
	int64_t now_ms = clock_wall_ms();
	for (size_t i = 0; i < l->n; i++) {
		struct slot *s = &l->slots[i];
		s->x.tasks = tasks;
		s->x.now_ms = now_ms;
		if (s->step == STEP_ASK)
			s->step = router_ask(&s->x);
		if (s->step == STEP_DONE)
			send_answer(l, s);
	}
}

/* One pipeline and its answers; returns how many requests want another. */
static size_t answer_all(struct loop *l)
{
	size_t left = 0;
	enum err_code rc = exchange_with_redis(l);
	for (size_t i = 0; i < l->n; i++) {
		struct slot *s = &l->slots[i];
		if (!s->open)
			continue;
		if (rc != ERR_OK && !is_complete(&s->x))
			s->step = exchange_fail(&s->x, &l->redis_why);
		else
			s->step = router_answer(&s->x);
		if (s->step == STEP_DONE)
			send_answer(l, s);
		left += s->open;
	}
	return left;
}

static void serve(struct loop *l)
{
	struct task_set *tasks = task_holder_get(l->app->tasks);
	counters_add(&l->counters->turns, 1);
	ask_all(l, tasks);
	size_t left = 0;
	for (size_t i = 0; i < l->n; i++)
		left += l->slots[i].open;
	while (left > 0)
		left = answer_all(l);
	job_batch_clear(&l->batch);
	task_set_unref(tasks);
	l->n = 0;
}

/* --- the thread --- */

/* What the phase asks for; false: end. */
static bool follow_phase(struct loop *l)
{
	int phase = atomic_load(&l->phase);
	if (phase == LOOP_RUN)
		return true;
	if (phase == LOOP_STOP)
		return false;
	if (l->listener->inherited && l->listening) {
		/* Whoever has the socket too, or gets it next, takes what waits there. */
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->listener->fd, NULL);
		l->listening = false;
	}
	/* Our own has been withdrawn: when its backlog is empty too, nobody can come any more. */
	return l->connections > 0 || (l->listening && accept_connections(l));
}

static void turn(struct loop *l)
{
	struct epoll_event events[LOOP_BATCH];
	int n = epoll_wait(l->epoll, events, LOOP_BATCH, -1);
	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;
		if (fd == l->wake) {
			uint64_t ignored;
			if (read(fd, &ignored, sizeof ignored) < 0)
				log_error("the loop's eventfd cannot be read errno=%d", errno);
		} else if (fd == l->listener->fd) {
			accept_connections(l);
		} else {
			gather(l, fd);
		}
	}
	if (l->n > 0)
		serve(l);
}

void *loop_main(void *arg)
{
	struct loop *l = arg;
	struct err e = ERR_INIT;
	/* Whoever wakes us runs on: meanwhile more requests gather, and turns are larger. A tenth more requests; harmless
	 * where it is refused. */
	const struct sched_param none = {0};
	if (sched_setscheduler(0, SCHED_BATCH, &none) != 0)
		log_debug("SCHED_BATCH is refused errno=%d", errno);
	if (redis_connect(l->redis, &e) != ERR_OK)
		log_warn("Redis cannot be reached yet error=%s", e.text);
	while (follow_phase(l))
		turn(l);
	eventfd_write(l->ended, 1);
	return NULL;
}

void loop_phase(struct loop *l, enum loop_phase phase)
{
	atomic_store(&l->phase, (int)phase);
	eventfd_write(l->wake, 1);
}

struct loop *loop_new(
        const struct app *app, struct counters *counters, const struct listener *listener, int ended_fd, struct err *e)
{
	struct loop *l = calloc(1, sizeof *l);
	if (!l) {
		(void)err_nomem(e);
		return NULL;
	}
	l->app = app;
	l->counters = counters;
	l->listener = listener;
	l->ended = ended_fd;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->redis = redis_new(app->config);
	buf_init(&l->head, HEAD_MAX_BYTES);
	for (size_t i = 0; i < LOOP_BATCH; i++) {
		FCGX_InitRequest(&l->slots[i].fcgi, -1, 0);
		exchange_init(&l->slots[i].x, app, &l->batch);
	}
	bool ok = job_batch_init(&l->batch, app->config) && l->redis;
	l->listening = ok && watch(l, listener->fd, EPOLLIN | EPOLLEXCLUSIVE);
	if (l->listening && watch(l, l->wake, EPOLLIN))
		return l;
	err_set(e, ERR_PERMANENT, "an event loop cannot be set up (errno %d)", errno);
	loop_free(l);
	return NULL;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < LOOP_BATCH; i++)
		exchange_fini(&l->slots[i].x);
	job_batch_fini(&l->batch);
	buf_fini(&l->head);
	redis_free(l->redis);
	free(l->cmds);
	free(l->replies);
	free(l->homes);
	if (l->epoll >= 0)
		close(l->epoll);
	if (l->wake >= 0)
		close(l->wake);
	free(l);
}
