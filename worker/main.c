/* dungbeetle-worker: main. Signals are waited for here and nowhere else: TERM or INT drain (a second one hurries), HUP
 * reloads the tasks. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/notify.h"
#include "worker/check.h"
#include "worker/connect.h"
#include "worker/worker.h"

#define SLOT_STACK (512u << 10)
#define FIRST_SCAN_MS 2000 /* how long the slots wait at most for the keeper to have looked once */
#define HELPERS_S 1        /* how long the helpers may take to end, when no slot is left */
#define HURRY_MS 5000      /* how long a cancelled run may take to say so, before the process ends anyway */

/* --- queues --- */

static struct work_queue *find_queue(struct worker *w, const char *name)
{
	for (size_t i = 0; i < w->n_queues; i++)
		if (strcmp(w->queues[i].name, name) == 0)
			return &w->queues[i];
	return NULL;
}

/* How many slots the tasks of a queue ask for at most; 0: none says. */
static int slots_of_tasks(const struct config *c, const struct task_set *tasks, const char *queue)
{
	int most = 0;
	for (size_t i = 0; i < task_set_count(tasks); i++) {
		const struct task *t = task_set_at(tasks, i);
		if (strcmp(t->queue ? t->queue : c->jobs.default_queue, queue) == 0 && t->concurrency > most)
			most = t->concurrency;
	}
	return most;
}

static void add_queue(struct worker *w, const struct task_set *tasks, const char *name, int slots)
{
	if (find_queue(w, name))
		return;
	if (slots == 0)
		slots = slots_of_tasks(w->config, tasks, name);
	if (slots == 0)
		slots = w->config->worker.concurrency;
	w->queues[w->n_queues++] = (struct work_queue){
	        .name = name, .n_slots = slots, .max_running = config_queue_max_running(w->config, name)};
	w->n_slots += (size_t)slots;
}

/* The queues that were named; when none was, those of the tasks and the default one. Names are borrowed. */
static bool make_queues(struct worker *w, const struct task_set *tasks)
{
	const struct config *c = w->config;
	bool named = c->worker.n_queues != 1 || c->worker.queues[0].slots != 0;
	w->n_queues = w->n_slots = 0;
	w->queues = calloc(c->worker.n_queues + task_set_count(tasks) + 1, sizeof *w->queues);
	if (!w->queues)
		return false;
	for (size_t i = 0; i < c->worker.n_queues; i++)
		add_queue(w, tasks, c->worker.queues[i].name, c->worker.queues[i].slots);
	for (size_t i = 0; !named && i < task_set_count(tasks); i++) {
		const char *queue = task_set_at(tasks, i)->queue;
		if (queue)
			add_queue(w, tasks, queue, 0);
	}
	return true;
}

/* --- threads --- */

static bool make_slots(struct worker *w)
{
	const struct config *c = w->config;
	size_t n = 0;
	w->slots = calloc(w->n_slots, sizeof *w->slots);
	for (size_t q = 0; w->slots && q < w->n_queues; q++)
		for (int i = 0; i < w->queues[q].n_slots; i++) {
			struct slot *s = &w->slots[n++];
			s->worker = w;
			s->queue = &w->queues[q];
			s->recheck = true;
			snprintf(s->consumer, sizeof s->consumer, "%s/%d", w->instance, i);
			s->lease.queue = s->queue->name;
			s->lease.consumer = s->consumer;
			s->redis = redis_new(c);
			s->candidates = calloc(c->n_sources + 1, sizeof *s->candidates);
			s->wanted = calloc(c->n_sources + 1, sizeof *s->wanted);
			s->n_waiting = calloc(c->n_sources + 1, sizeof *s->n_waiting);
			pthread_mutex_init(&s->cancelling, NULL);
			pthread_mutex_init(&s->lock, NULL);
			if (!s->redis || !s->candidates || !s->wanted || !s->n_waiting)
				return false;
		}
	return w->slots != NULL;
}

/* What make_slots has made of them: all, or less when it failed. */
static void free_slots(struct worker *w)
{
	for (size_t n = 0; w->slots && n < w->n_slots; n++) {
		struct slot *s = &w->slots[n];
		free(s->candidates);
		free(s->wanted);
		free(s->n_waiting);
		redis_free(s->redis);
		pthread_mutex_destroy(&s->cancelling);
		pthread_mutex_destroy(&s->lock);
	}
	free(w->slots);
}

static bool start_thread(pthread_t *t, void *(*f)(void *), void *ctx)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, SLOT_STACK);
	int rc = pthread_create(t, &attr, f, ctx);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		log_error("cannot start a thread error=%d", rc);
	return rc == 0;
}

/* --- stopping --- */

static bool all_slots_ended(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	bool ended = w->live_slots == 0;
	pthread_mutex_unlock(&w->lock);
	return ended;
}

/* Waits for one of set, at most ms; 0 when none came. */
static int next_signal(const sigset_t *set, int64_t ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	int sig = sigtimedwait(set, NULL, &t);
	return sig < 0 ? 0 : sig;
}

/* From the first signal to the last slot's end: no new claims; at the drain's end (or a second signal) what still runs
 * is cancelled and given back; after HURRY_MS more nobody is waited for. Returns false when slots were left behind. */
static bool drain(struct worker *w, const sigset_t *signals)
{
	struct redis *redis = redis_new(w->config);
	int64_t deadline = clock_mono_ms() + w->config->worker.drain_timeout_ms;
	bool cancelled = false;
	log_info("draining worker=%s timeout_ms=%lld", w->name, (long long)w->config->worker.drain_timeout_ms);
	notify_service("STOPPING=1");
	atomic_store(&w->draining, true);
	worker_wake(w, 0);
	while (!all_slots_ended(w)) {
		if (redis)
			worker_unblock(w, redis, NULL, w->n_slots);
		int sig = next_signal(signals, 50);
		int64_t now = clock_mono_ms();
		if ((sig == SIGTERM || sig == SIGINT || now >= deadline) && !cancelled) {
			log_info("cancelling what still runs worker=%s", w->name);
			cancelled = true;
			deadline = now + HURRY_MS;
		} else if (cancelled && now >= deadline) {
			atomic_store(&w->hurrying, true);
			worker_wake(w, 0);
			if (now >= deadline + HURRY_MS)
				break;
		}
		if (cancelled)
			worker_stop_runs(w, NULL, 0, STOP_DRAIN);
	}
	redis_free(redis);
	return all_slots_ended(w);
}

/* The helpers have nothing more to do. One that waits for a server that is away is not waited for (false): what the janitor
 * left undone another worker's does. */
static bool join_helpers(const pthread_t *threads, size_t n)
{
	struct timespec until;
	bool ended = true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HELPERS_S;
	for (size_t i = 0; i < n; i++)
		ended = pthread_timedjoin_np(threads[i], NULL, &until) == 0 && ended;
	return ended;
}

static void reload(struct worker *w)
{
	struct err e = ERR_INIT;
	notify_reloading();
	enum err_code rc = task_holder_reload(w->tasks, w->config, &e);
	notify_service("READY=1");
	if (rc != ERR_OK) {
		log_error("tasks not reloaded, the old ones stay error=\"%s\"", e.text);
		return;
	}
	struct task_set *set = task_holder_get(w->tasks);
	log_info("tasks reloaded count=%zu", task_set_count(set));
	task_set_unref(set);
}

/* Redis must be able to keep jobs; when it cannot be reached yet, it is waited for. False: a signal ended that. */
static enum err_code await_redis(struct worker *w, const sigset_t *signals, struct err *e)
{
	struct redis *r = redis_new(w->config);
	enum err_code rc = ERR_NOMEM;
	bool said = false;
	while (r) {
		rc = check_redis(r, w->config->redis.n_sentinels > 0, e);
		if (rc != ERR_UNAVAILABLE)
			break;
		if (!said)
			log_warn("waiting for redis error=\"%s\"", e->text);
		said = true;
		int sig = next_signal(signals, 500);
		if (sig == SIGTERM || sig == SIGINT) {
			rc = ERR_CANCELLED;
			break;
		}
	}
	redis_free(r);
	return rc;
}

static int run(struct worker *w, const sigset_t *signals)
{
	static void *(*const helpers[])(void *) = {keeper_main, listener_main, canceller_main, janitor_main};
	pthread_t threads[4];
	struct err e = ERR_INIT;
	enum err_code rc = await_redis(w, signals, &e);
	if (rc == ERR_CANCELLED)
		return 0;
	if (rc != ERR_OK) {
		log_error("cannot start error=\"%s\"", e.text);
		return rc == ERR_INVALID ? 2 : 1;
	}
	for (size_t i = 0; i < 4; i++)
		if (!start_thread(&threads[i], helpers[i], w))
			_exit(1); /* those that run use what an orderly end would free */
	worker_wait(w, 0, FIRST_SCAN_MS, &w->scanned);
	w->live_slots = w->n_slots;
	for (size_t i = 0; i < w->n_slots; i++)
		if (!start_thread(&w->slots[i].thread, slot_main, &w->slots[i]))
			_exit(1);
	log_info("worker started worker=%s instance=%s slots=%zu queues=%zu", w->name, w->instance, w->n_slots,
	        w->n_queues);
	notify_service("READY=1");
	for (int sig = 0; sig != SIGTERM && sig != SIGINT;) {
		if (sigwait(signals, &sig) == 0 && sig == SIGHUP)
			reload(w);
	}
	if (!drain(w, signals)) {
		log_error("slots did not end in time: their jobs go on elsewhere when their lease is over");
		_exit(1);
	}
	for (size_t i = 0; i < w->n_slots; i++)
		pthread_join(w->slots[i].thread, NULL);
	atomic_store(&w->stopping, true);
	worker_wake(w, 0);
	bool ended = join_helpers(threads, 4);
	log_info("worker stopped worker=%s", w->name);
	if (!ended)
		_exit(0); /* what they use is not to be freed */
	return 0;
}

/* --- the beginning --- */

static void init_worker(struct worker *w, const struct config *c)
{
	pthread_condattr_t attr;
	w->config = c;
	w->began_ms = clock_wall_ms();
	if (gethostname(w->host, sizeof w->host - 1) != 0)
		snprintf(w->host, sizeof w->host, "localhost");
	snprintf(w->name, sizeof w->name, "%.120s", c->worker.name[0] ? c->worker.name : w->host);
	/* In a container the process id is the same after each restart: who came back must not be taken for who died. */
	uint32_t random = 0;
	ssize_t ignored = getrandom(&random, sizeof random, 0);
	(void)ignored;
	snprintf(w->instance, sizeof w->instance, "%s-%d-%08x", w->name, (int)getpid(), random);
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &attr);
	pthread_condattr_destroy(&attr);
}

static int start(const struct config *c, struct task_set *tasks, const sigset_t *signals)
{
	struct worker w = {0};
	int status = 1;
	init_worker(&w, c);
	w.tasks = task_holder_new(task_set_ref(tasks));
	if (w.tasks && make_queues(&w, tasks) && make_slots(&w) && connect_open(&w))
		status = run(&w, signals);
	else
		log_error("out of memory");
	connect_close(&w);
	free_slots(&w);
	free(w.queues);
	task_holder_free(w.tasks);
	return status;
}

static int complain(const struct err *e)
{
	fprintf(stderr, "dungbeetle-worker: %s\n", e->text);
	return 2;
}

int main(int argc, char **argv)
{
	struct config_flags flags;
	struct config *config = NULL;
	struct task_set *tasks = NULL;
	struct err e = ERR_INIT;
	sigset_t signals;
	int status = 0;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread or library */
	signal(SIGPIPE, SIG_IGN);

	if (config_flags_parse(PROGRAM_WORKER, argc, argv, &flags, &e) != ERR_OK)
		return complain(&e);
	if (flags.help)
		fputs(config_usage(PROGRAM_WORKER), stdout);
	else if (flags.version)
		puts("dungbeetle-worker " DUNGBEETLE_VERSION);
	else if (config_load(&flags, environ, &config, &e) != ERR_OK || driver_check(config, &e) != ERR_OK ||
	        task_set_load(config, &tasks, &e) != ERR_OK)
		status = complain(&e);
	else if (flags.check)
		status = check_everything(config, tasks) ? 2 : 0;
	else {
		log_set_level(config->log.level);
		status = start(config, tasks, &signals);
	}
	task_set_unref(tasks);
	config_free(config);
	config_flags_fini(&flags);
	return status;
}
