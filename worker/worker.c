#include "worker/worker.h"

#include <string.h>
#include <time.h>

#include "shared/base/clock.h"
#include "worker/gate.h"

void worker_wait(struct worker *w, unsigned bits, int64_t ms, const atomic_bool *until)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t); /* the condition's clock: main.c */
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	while (!(w->wakes & bits) && !atomic_load(until))
		if (pthread_cond_timedwait(&w->changed, &w->lock, &t) != 0)
			break;
	w->wakes &= ~bits;
	pthread_mutex_unlock(&w->lock);
}

void worker_wake(struct worker *w, unsigned bits)
{
	pthread_mutex_lock(&w->lock);
	w->wakes |= bits;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/* Between the script that begins a run and slot_runs nobody here knows of it, but it can be cancelled already. */
static void note_cancelled(struct worker *w, int64_t run)
{
	pthread_mutex_lock(&w->lock);
	w->cancelled[w->n_cancelled++ % WORKER_CANCELLED] = run;
	pthread_mutex_unlock(&w->lock);
}

static bool is_cancelled(struct worker *w, int64_t run)
{
	bool found = false;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < WORKER_CANCELLED; i++)
		found = found || w->cancelled[i] == run;
	pthread_mutex_unlock(&w->lock);
	return found;
}

void slot_runs(struct slot *s, const struct work_entry *entry, int64_t run, int64_t leased_ms)
{
	pthread_mutex_lock(&s->lock);
	s->running = run != 0;
	s->lease.run = run;
	memcpy(s->lease.entry, entry->entry, sizeof s->lease.entry);
	memcpy(s->lease.job_id, entry->job_id, sizeof s->lease.job_id);
	s->lease.n_places = 0;
	s->leased_ms = leased_ms;
	atomic_store(&s->stop, STOP_NONE);
	pthread_mutex_unlock(&s->lock);
	if (run && is_cancelled(s->worker, run))
		slot_stop(s, run, STOP_LOST);
}

void slot_stop(struct slot *s, int64_t run, enum stop_reason reason)
{
	bool news = false;
	struct gate *gate = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->running && s->lease.run == run) {
		enum stop_reason now = atomic_load(&s->stop);
		/* A job that is lost stays lost, whatever else comes. */
		if (now == STOP_NONE || reason == STOP_LOST)
			atomic_store(&s->stop, reason);
		news = now == STOP_NONE; /* else the canceller is at it */
		if (news)
			atomic_store(&s->stop_news, true);
		gate = s->waits_at;
	}
	pthread_mutex_unlock(&s->lock);
	if (gate)
		gate_kick(gate);
	if (news)
		worker_wake(s->worker, WAKE_CANCELLER);
}

enum err_code slot_stopped(const struct slot *s, int64_t timeout_ms, struct err *e)
{
	switch (atomic_load(&s->stop)) {
	case STOP_LOST:
		return err_set(e, ERR_LOST, "the job was deleted or taken over");
	case STOP_DRAIN:
		return err_set(e, ERR_CANCELLED, "the worker is stopping");
	case STOP_STALE:
		return err_set(e, ERR_CANCELLED, "the lease of its place (max_running) could not be renewed");
	case STOP_TIMEOUT:
		return err_set(e, ERR_TRANSIENT, "the time limit of %lld ms is over", (long long)timeout_ms);
	case STOP_NONE:
		break;
	}
	return ERR_OK;
}

void worker_stop_runs(struct worker *w, const char *job_id, int64_t run, enum stop_reason reason)
{
	if (job_id) /* before the slots are asked: whoever runs it later, finds it */
		note_cancelled(w, run);
	for (size_t i = 0; i < w->n_slots; i++) {
		struct slot *s = &w->slots[i];
		pthread_mutex_lock(&s->lock);
		bool match = s->running && (!job_id || (s->lease.run == run && strcmp(s->lease.job_id, job_id) == 0));
		int64_t current = s->lease.run;
		pthread_mutex_unlock(&s->lock);
		if (match)
			slot_stop(s, current, reason);
	}
}

/* How many may wait for a place before the queues that they come from are left alone: those of one database keep nobody
 * else from being claimed until they are many; behind a queue's own limit there is nobody else. */
static int64_t most_waiting(const struct work_place *place)
{
	return strcmp(place->kind, WORK_PLACE_QUEUE) == 0 ? 1 : WORKER_PARKED_MAX;
}

static bool is_same(const struct work_place *a, const struct work_place *b)
{
	return a->kind && strcmp(a->kind, b->kind) == 0 && strcmp(a->name, b->name) == 0;
}

void worker_note_full(struct worker *w, struct work_queue *q, const struct work_place *place, int64_t waiting)
{
	pthread_mutex_lock(&w->lock);
	if (waiting >= most_waiting(place) && !q->full.kind)
		q->full = *place;
	pthread_mutex_unlock(&w->lock);
}

void worker_note_waiting(struct worker *w, const struct work_place *place, int64_t waiting, bool room)
{
	bool relieved = waiting < most_waiting(place) && (room || strcmp(place->kind, WORK_PLACE_QUEUE) != 0);
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; relieved && i < w->n_queues; i++)
		if (is_same(&w->queues[i].full, place)) {
			w->queues[i].full = (struct work_place){0};
			pthread_cond_broadcast(&w->changed);
		}
	pthread_mutex_unlock(&w->lock);
}

bool worker_may_claim(struct worker *w, struct work_queue *q, bool wait)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec++;
	pthread_mutex_lock(&w->lock);
	while (wait && q->full.kind && q->n_redo == 0 && !atomic_load(&w->draining))
		if (pthread_cond_timedwait(&w->changed, &w->lock, &t) != 0)
			break;
	bool may = !q->full.kind && q->n_redo == 0;
	pthread_mutex_unlock(&w->lock);
	return may;
}

bool worker_take_redo(struct worker *w, struct work_queue *q, struct work_entry *out)
{
	pthread_mutex_lock(&w->lock);
	bool any = q->n_redo > 0;
	if (any) {
		*out = q->redo[0];
		memmove(q->redo, q->redo + 1, --q->n_redo * sizeof *q->redo);
	}
	pthread_mutex_unlock(&w->lock);
	return any;
}

void worker_unblock(struct worker *w, struct redis *r, const struct work_queue *q, size_t most)
{
	for (size_t i = 0; i < w->n_slots && most > 0; i++) {
		struct slot *s = &w->slots[i];
		if (q && s->queue != q)
			continue;
		pthread_mutex_lock(&s->lock);
		int64_t client = s->blocked_client;
		pthread_mutex_unlock(&s->lock);
		if (!client)
			continue;
		struct cmd c;
		struct reply *reply = NULL;
		cmd_init(&c);
		work_ask_unblock(&c, client);
		enum err_code rc = redis_call(r, &c, &reply, NULL);
		cmd_fini(&c);
		most -= reply_i64(reply, 0) == 1;
		reply_free(reply);
		if (rc == ERR_UNAVAILABLE)
			return;
	}
}
