/* Two threads about stopping. The listener hears of cancels at once (and when it cannot have heard all, the keeper asks for
 * the leases that are lost). The canceller has every stop carried to the databases, which are asked again and
 * again, because a cancel that arrives before its query has no effect, until the slot says that its run has ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/parse.h"
#include "worker/worker.h"

#define CANCEL_AGAIN_MS 100

/* "<job id> <run>" */
static void on_cancel(struct worker *w, const char *text)
{
	char id[QUEUE_JOB_ID_MAX + 1];
	const char *space = strchr(text, ' ');
	int64_t run;
	if (!space || (size_t)(space - text) >= sizeof id ||
	        !parse_i64(space + 1, strlen(space + 1), 1, INT64_MAX, &run))
		return;
	memcpy(id, text, (size_t)(space - text));
	id[space - text] = '\0';
	worker_stop_runs(w, id, run, STOP_LOST);
}

/* ["message", channel, payload] */
static void on_message(struct worker *w, const struct reply *r)
{
	const char *kind = reply_text(reply_at(r, 0), NULL), *channel = reply_text(reply_at(r, 1), NULL);
	if (strcmp(kind, "message") != 0)
		return;
	const char *name = channel + strlen(w->config->redis.prefix);
	const char *payload = reply_text(reply_at(r, 2), NULL);
	if (strcmp(name, "cancel") == 0)
		on_cancel(w, payload);
	else {
		if (strcmp(payload, "handed") == 0)
			atomic_store(&w->handed, true);
		worker_wake(w, strcmp(payload, "purge") == 0 ? WAKE_JANITOR : WAKE_KEEPER);
	}
}

static enum err_code subscribe(struct worker *w, struct redis *r, struct err *e)
{
	struct cmd c;
	struct reply *reply = NULL;
	cmd_init(&c);
	work_ask_subscribe(&c, w->config->redis.prefix);
	enum err_code rc = redis_call(r, &c, &reply, e);
	reply_free(reply);
	cmd_fini(&c);
	if (rc == ERR_OK) { /* whatever was said while nobody listened */
		atomic_store(&w->unheard, true);
		worker_wake(w, WAKE_KEEPER | WAKE_JANITOR);
	}
	return rc;
}

void *listener_main(void *ctx)
{
	struct worker *w = ctx;
	struct redis *r = redis_new(w->config);
	unsigned moves = atomic_load(&w->moves);
	while (r && !atomic_load(&w->stopping)) {
		struct err e = ERR_INIT;
		struct reply *message = NULL;
		if (moves != atomic_load(&w->moves)) { /* a subscriber of a master that is gone might wait for ever */
			moves = atomic_load(&w->moves);
			redis_disconnect(r);
		}
		enum err_code rc = redis_connected(r) ? ERR_OK : subscribe(w, r, &e);
		if (rc == ERR_OK)
			rc = redis_wait(r, 500, &message, &e);
		if (message)
			on_message(w, message);
		reply_free(message);
		if (rc != ERR_OK) {
			redis_disconnect(r);
			worker_wait(w, 0, 200, &w->stopping);
		}
	}
	redis_free(r);
	return NULL;
}

/* Asks for the stop of one slot's run if it is wanted; true: it still runs. False ends the slot's stopper, if it has one: who
 * wants a stop from then on, finds it so. */
static bool carry_out(struct slot *s)
{
	pthread_mutex_lock(&s->cancelling);
	pthread_mutex_lock(&s->lock);
	bool wanted = s->running && atomic_load(&s->stop) != STOP_NONE;
	struct source *source = wanted ? s->source : NULL;
	struct sink *sink = wanted ? s->sink : NULL;
	if (!wanted && atomic_load(&s->stopper) == STOPPER_RUNS)
		atomic_store(&s->stopper, STOPPER_ENDED);
	pthread_mutex_unlock(&s->lock);
	if (source)
		source->ops->cancel(source);
	if (sink)
		sink->ops->cancel(sink);
	pthread_mutex_unlock(&s->cancelling);
	return wanted;
}

/* Stops one slot's run. A thread of its own: a database that is away may take half a minute to show it, and no other
 * slot's stop is to wait for that. */
static void *stopper_main(void *ctx)
{
	struct slot *s = ctx;
	for (;;) {
		int64_t began = clock_mono_ms();
		atomic_store(&s->stop_news, false);
		if (!carry_out(s))
			break;
		/* The run cannot end while somebody cancels: after an attempt that took long, it has as long for that. But the
		 * slot's next run may be there meanwhile, and its stop. */
		int64_t took = clock_mono_ms() - began;
		worker_wait(s->worker, 0, took > CANCEL_AGAIN_MS ? took : CANCEL_AGAIN_MS, &s->stop_news);
	}
	return NULL;
}

static bool is_wanted(struct slot *s)
{
	pthread_mutex_lock(&s->lock);
	bool wanted = s->running && atomic_load(&s->stop) != STOP_NONE;
	pthread_mutex_unlock(&s->lock);
	return wanted;
}

/* Has the slot's run stopped by a thread, if that is wanted; true: look again soon. */
static bool see_to(struct slot *s)
{
	if (atomic_load(&s->stopper) == STOPPER_ENDED) {
		pthread_join(s->stopper_thread, NULL);
		atomic_store(&s->stopper, STOPPER_NONE);
	}
	bool wanted = is_wanted(s);
	if (!wanted || atomic_load(&s->stopper) == STOPPER_RUNS)
		return wanted;
	atomic_store(&s->stopper, STOPPER_RUNS);
	if (pthread_create(&s->stopper_thread, NULL, stopper_main, s) == 0)
		return true;
	atomic_store(&s->stopper, STOPPER_NONE);
	return carry_out(s);
}

/* A run that has a place, and whose lease could not be renewed for so long that the place is nearly another's, ends. Here,
 * because the keeper may be waiting for Redis. */
static void stop_stale(struct slot *s)
{
	pthread_mutex_lock(&s->lock);
	int64_t margin = s->worker->config->worker.lease_ms / 2;
	bool stale = s->running && s->lease.n_places && clock_mono_ms() - s->leased_ms >= s->lease.place_ms - margin;
	int64_t run = s->lease.run;
	pthread_mutex_unlock(&s->lock);
	if (stale)
		slot_stop(s, run, STOP_STALE);
}

void *canceller_main(void *ctx)
{
	struct worker *w = ctx;
	bool again = false;
	while (!atomic_load(&w->stopping)) {
		worker_wait(w, WAKE_CANCELLER, again ? CANCEL_AGAIN_MS : 1000, &w->stopping);
		again = false;
		for (size_t i = 0; i < w->n_slots; i++) {
			stop_stale(&w->slots[i]);
			again = see_to(&w->slots[i]) || again;
		}
	}
	for (size_t i = 0; i < w->n_slots; i++)
		atomic_store(&w->slots[i].stop_news, true);
	worker_wake(w, 0);
	for (size_t i = 0; i < w->n_slots; i++)
		if (atomic_load(&w->slots[i].stopper) != STOPPER_NONE)
			pthread_join(w->slots[i].stopper_thread, NULL);
	return NULL;
}
