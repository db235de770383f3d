/* dungbeetle-fcgi: accepts jobs over FastCGI.
 *
 * Signals (blocked everywhere, read here from a signalfd):
 *   SIGHUP    read the tasks anew; a broken file keeps the old set
 *   SIGTERM   drain: our own socket's path is removed, connections are served until nginx has closed them all (its site
 *             file makes it do so within 7 s) or fcgi.drain_timeout is over; then exit 0
 *   SIGINT, or a second SIGTERM   end after the turn that runs
 * Exit status: 0 fine, 1 it cannot run here, 2 flags, configuration, tasks or socket are wrong.
 */
#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "fcgi/counters.h"
#include "fcgi/loop.h"
#include "fcgi/router.h"
#include "fcgi/socket.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/notify.h"

#define LOOPS_MAX 64
#define IDLE_MS 2000      /* without a turn: time to give memory back */
#define LAST_TURN_MS 1000 /* how long an end at once waits for the turns that run */

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

_Static_assert(COUNTERS_ROUTES >= 13, "router.c has 13 routes");

struct program {
	struct config *config;
	struct app app;
	struct listener listener;
	struct counters counters[LOOPS_MAX];
	struct loop *loops[LOOPS_MAX];
	pthread_t threads[LOOPS_MAX];
	size_t n_loops; /* started */
	int signals, ended;
	enum loop_phase phase;
	int64_t deadline_ms;                /* of the phase; monotonic */
	uint64_t turns_seen, turns_trimmed; /* of all loops: when last looked at, when memory was given back */
};

static int fail(const struct err *e)
{
	log_error("cannot start: %s", e->text);
	return e->code == ERR_INVALID ? 2 : 1;
}

static int block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1); /* libfcgi would take it for an order to stop */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void reload(struct program *p)
{
	struct err e = ERR_INIT;
	notify_reloading();
	if (task_holder_reload(p->app.tasks, p->config, &e) == ERR_OK) {
		struct task_set *tasks = task_holder_get(p->app.tasks);
		log_info("tasks read anew tasks=%zu", task_set_count(tasks));
		task_set_unref(tasks);
	} else {
		log_error("tasks not read anew, the old ones stay error=%s", e.text);
	}
	notify_service("READY=1");
}

static void enter(struct program *p, enum loop_phase phase, int64_t limit_ms)
{
	p->phase = phase;
	p->deadline_ms = clock_mono_ms() + limit_ms;
	for (size_t i = 0; i < p->n_loops; i++)
		loop_phase(p->loops[i], phase);
}

static void drain(struct program *p)
{
	log_info("draining");
	notify_service("STOPPING=1");
	listener_withdraw(&p->listener);
	enter(p, LOOP_DRAIN, p->config->fcgi.drain_timeout_ms);
}

static void on_signal(struct program *p, int signal)
{
	if (signal == SIGHUP)
		reload(p);
	else if (signal == SIGTERM && p->phase == LOOP_RUN)
		drain(p);
	else if ((signal == SIGTERM || signal == SIGINT) && p->phase != LOOP_STOP)
		enter(p, LOOP_STOP, LAST_TURN_MS);
}

static void read_signals(struct program *p)
{
	struct signalfd_siginfo info;
	while (read(p->signals, &info, sizeof info) == (ssize_t)sizeof info)
		on_signal(p, (int)info.ssi_signo);
}

/* Builds with sanitizers are without it. */
#pragma weak mallctl

/* jemalloc frees the pages that it does not need in its calls only, of which an idle process has none. */
static void trim(void)
{
	static const char all[] = "arena." STRINGIFY(MALLCTL_ARENAS_ALL) ".purge";
	if (!mallctl)
		malloc_trim(0);
	else if (mallctl(all, NULL, NULL, NULL, 0) != 0)
		log_debug("memory cannot be given back");
}

/* The allocator holds on to what the busiest turns needed, in each thread's arena: an idle process gives that back. */
static void give_back(struct program *p)
{
	uint64_t turns = 0;
	for (size_t i = 0; i < p->n_loops; i++)
		turns += atomic_load_explicit(&p->counters[i].turns, memory_order_relaxed);
	if (turns == p->turns_seen && turns != p->turns_trimmed) {
		trim();
		p->turns_trimmed = turns;
	}
	p->turns_seen = turns;
}

/* Until all loops have ended; false: some did not in time. */
static bool supervise(struct program *p)
{
	uint64_t ended = 0, more;
	while (ended < p->n_loops) {
		struct pollfd fds[] = {{.fd = p->signals, .events = POLLIN}, {.fd = p->ended, .events = POLLIN}};
		int64_t left = p->deadline_ms - clock_mono_ms();
		if (poll(fds, 2, p->phase == LOOP_RUN ? IDLE_MS : left > 0 ? (int)left : 0) == 0)
			give_back(p);
		if (fds[0].revents)
			read_signals(p);
		if (fds[1].revents && read(p->ended, &more, sizeof more) == (ssize_t)sizeof more)
			ended += more;
		if (p->phase == LOOP_RUN || clock_mono_ms() < p->deadline_ms)
			continue;
		if (p->phase == LOOP_STOP)
			return ended == p->n_loops;
		log_warn("drain_timeout is over, connections are still open");
		enter(p, LOOP_STOP, LAST_TURN_MS);
	}
	return true;
}

static enum err_code start_loops(struct program *p, struct err *e)
{
	size_t n = (size_t)p->config->fcgi.threads;
	p->app.counters = p->counters;
	p->app.n_counters = n;
	p->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (size_t i = 0; i < n; i++) {
		p->loops[i] = loop_new(&p->app, &p->counters[i], &p->listener, p->ended, e);
		if (!p->loops[i])
			return e->code;
	}
	for (; p->n_loops < n; p->n_loops++)
		if (pthread_create(&p->threads[p->n_loops], NULL, loop_main, p->loops[p->n_loops]) != 0)
			return err_set(e, ERR_PERMANENT, "a thread cannot be started");
	return ERR_OK;
}

static int run(struct program *p)
{
	struct err e = ERR_INIT;
	bool all = true;
	if (listener_open(&p->listener, p->config, &e) != ERR_OK)
		return fail(&e);
	int status = start_loops(p, &e) == ERR_OK ? 0 : fail(&e);
	if (status == 0) {
		log_info("ready version=%s socket=%s loops=%zu", DUNGBEETLE_VERSION,
		        p->listener.inherited ? "(inherited)" : p->listener.path, p->n_loops);
		notify_service("READY=1");
	} else {
		enter(p, LOOP_STOP, LAST_TURN_MS);
	}
	all = supervise(p);
	listener_withdraw(&p->listener);
	if (!all) /* a turn waits for Redis: what it would still answer is lost */
		_exit(status);
	for (size_t i = 0; i < p->n_loops; i++)
		pthread_join(p->threads[i], NULL);
	for (size_t i = 0; i < LOOPS_MAX; i++)
		loop_free(p->loops[i]);
	listener_close(&p->listener);
	log_info("ended");
	return status;
}

/* --check: configuration and tasks are fine; can Redis take a job? */
static int check(const struct config *c, const struct task_set *tasks)
{
	struct err e = ERR_INIT;
	struct cmd health;
	struct reply *reply = NULL;
	struct redis *redis = redis_new(c);
	cmd_init(&health);
	queue_ask_health(&health);
	enum err_code rc = redis ? redis_call(redis, &health, &reply, &e) : err_nomem(&e);
	if (rc == ERR_OK)
		rc = queue_read_health(reply, &e);
	if (rc == ERR_OK)
		printf("ok: configuration, %zu tasks, Redis\n", task_set_count(tasks));
	else
		fprintf(stderr, "dungbeetle-fcgi: %s\n", e.text);
	reply_free(reply);
	cmd_fini(&health);
	redis_free(redis);
	return rc == ERR_OK ? 0 : 2;
}

/* Configuration and tasks; the exit status, or -1 to go on. */
static int prepare(struct program *p, const struct config_flags *flags)
{
	struct err e = ERR_INIT;
	struct task_set *tasks = NULL;
	if (config_load(flags, environ, &p->config, &e) != ERR_OK)
		return fail(&e);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): config_load has set it */
	log_set_level(p->config->log.level);
	if (task_set_load(p->config, &tasks, &e) != ERR_OK)
		return fail(&e);
	if (flags->check) {
		int status = check(p->config, tasks);
		task_set_unref(tasks);
		return status;
	}
	p->app.config = p->config;
	p->app.tasks = task_holder_new(tasks);
	if (!p->app.tasks) {
		task_set_unref(tasks);
		(void)err_nomem(&e);
		return fail(&e);
	}
	return loop_library_init(&e) == ERR_OK ? -1 : fail(&e);
}

int main(int argc, char **argv)
{
	static struct program p = {.signals = -1, .ended = -1};
	struct config_flags flags = {0};
	struct err e = ERR_INIT;
	p.signals = block_signals();
	if (config_flags_parse(PROGRAM_FCGI, argc, argv, &flags, &e) != ERR_OK) {
		fprintf(stderr, "dungbeetle-fcgi: %s\n", e.text);
		config_flags_fini(&flags);
		return 2;
	}
	int status = 0;
	if (flags.help)
		fputs(config_usage(PROGRAM_FCGI), stdout);
	else if (flags.version)
		puts("dungbeetle-fcgi " DUNGBEETLE_VERSION);
	else if ((status = prepare(&p, &flags)) < 0)
		status = run(&p);
	task_holder_free(p.app.tasks);
	config_free(p.config);
	config_flags_fini(&flags);
	return status;
}
