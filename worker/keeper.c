/* The keeper: what must go on in time while the slots are busy. One thread, a Redis connection of its own, no database. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/queue/place.h"
#include "worker/health.h"
#include "worker/json.h"
#include "worker/place.h"
#include "worker/worker.h"

#define DUE_AT_ONCE 64
#define IDLE_CONSUMER_MS 600000

struct keeper {
	struct worker *w;
	struct redis *redis;
	struct cmd cmd;                           /* scratch */
	int64_t next_beat, next_scan, next_sweep; /* monotonic ms */
	bool down;                                /* Redis did not answer last time: said once */
	char peer[300];                           /* the Redis that did */
};

static const char *prefix(const struct keeper *k)
{
	return k->w->config->redis.prefix;
}

/* Sends k->cmd. NULL: it failed (logged once an outage). */
static struct reply *call(struct keeper *k)
{
	struct err e = ERR_INIT;
	struct reply *reply = NULL;
	enum err_code rc = redis_call(k->redis, &k->cmd, &reply, &e);
	if (rc != ERR_OK && !k->down)
		log_warn("keeper cannot reach redis error=\"%s\"", e.text);
	else if (rc == ERR_OK && k->down)
		log_info("keeper reaches redis again");
	k->down = rc != ERR_OK;
	cmd_reset(&k->cmd);
	return reply;
}

/* --- beat --- */

static void describe_worker(const struct worker *w, size_t running, struct buf *b)
{
	buf_addstr(b, "{\"name\":");
	json_add_string(b, w->name);
	buf_addstr(b, ",\"host\":");
	json_add_string(b, w->host);
	buf_addf(b, ",\"pid\":%d,\"slots\":%zu,\"running\":%zu,\"queues\":{", (int)getpid(), w->n_slots, running);
	for (size_t i = 0; i < w->n_queues; i++)
		buf_addf(b, "%s\"%s\":%d", i ? "," : "", w->queues[i].name, w->queues[i].n_slots);
	buf_addstr(b, "},\"paused\":{");
	bool any = false;
	for (size_t i = 0; i < w->config->n_sources; i++) {
		if (!health_is_down(w->health, i, clock_mono_ms()))
			continue;
		buf_addf(b, "%s\"%s\":1", any ? "," : "", w->config->sources[i].name);
		any = true;
	}
	buf_addf(b, "},\"started_ms\":%" PRId64 ",\"beat_ms\":@beat@}", w->began_ms);
}

/* Copies the leases of what runs; owners[i] is the slot of leases[i]. */
static size_t collect(const struct worker *w, struct work_lease *leases, struct slot **owners)
{
	size_t n = 0;
	for (size_t i = 0; i < w->n_slots; i++) {
		struct slot *s = &w->slots[i];
		pthread_mutex_lock(&s->lock);
		if (s->running) {
			leases[n] = s->lease;
			owners[n++] = s;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return n;
}

static void confirm(struct slot *s, int64_t run, int64_t asked)
{
	pthread_mutex_lock(&s->lock);
	if (s->running && s->lease.run == run && asked > s->leased_ms)
		s->leased_ms = asked;
	pthread_mutex_unlock(&s->lock);
}

static void beat(struct keeper *k)
{
	struct worker *w = k->w;
	struct work_lease *leases = calloc(w->n_slots, sizeof *leases);
	struct slot **owners = calloc(w->n_slots, sizeof *owners);
	struct buf json;
	buf_init(&json, 64 << 10);
	if (leases && owners) {
		size_t n = collect(w, leases, owners);
		describe_worker(w, n, &json);
		int64_t asked = clock_mono_ms();
		work_ask_beat(&k->cmd, prefix(k), w->instance, buf_str(&json), leases, n);
		struct reply *lost = call(k);
		for (size_t i = 0; lost && i < n; i++) {
			bool gone = false;
			for (size_t j = 0; j < reply_count(lost); j++)
				gone = gone || reply_i64(reply_at(lost, j), -1) == (int64_t)i;
			if (gone)
				slot_stop(owners[i], leases[i].run, STOP_LOST);
			else
				confirm(owners[i], leases[i].run, asked);
		}
		reply_free(lost);
	}
	buf_fini(&json);
	free(leases);
	free(owners);
}

/* --- jobs of dead workers --- */

static void hand_over(struct worker *w, struct work_queue *q, const struct work_entry *entry)
{
	pthread_mutex_lock(&w->lock);
	bool known = false;
	for (size_t i = 0; i < q->n_redo; i++)
		known = known || strcmp(q->redo[i].entry, entry->entry) == 0;
	if (!known && q->n_redo < sizeof q->redo / sizeof *q->redo)
		q->redo[q->n_redo++] = *entry;
	pthread_mutex_unlock(&w->lock);
}

/* There is something in the queue's redo list: whoever waits for new entries takes it. */
static void wake_slots(struct keeper *k, struct work_queue *q)
{
	struct worker *w = k->w;
	pthread_mutex_lock(&w->lock);
	size_t n = q->n_redo;
	if (n)
		pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (n)
		worker_unblock(w, k->redis, q, n);
}

static void drop_entry(struct keeper *k, const char *queue, const char *entry)
{
	struct cmd del;
	cmd_init(&del);
	work_ask_drop(&k->cmd, &del, prefix(k), queue, entry);
	reply_free(call(k));
	cmd_fini(&del);
}

static void scan(struct keeper *k, struct work_queue *q)
{
	struct worker *w = k->w;
	char entry[WORK_ENTRY_MAX];
	work_ask_make_group(&k->cmd, prefix(k), q->name); /* it may have vanished: FLUSHALL, a failover */
	struct cmd pending;
	struct cmd *const both[] = {&k->cmd, &pending};
	struct reply *replies[2];
	cmd_init(&pending);
	work_ask_stale(&pending, prefix(k), q->name, w->config->worker.lease_ms, 32);
	k->down = redis_pipeline(k->redis, both, 2, replies, NULL) != ERR_OK;
	struct reply *stale = replies[1];
	reply_free(replies[0]);
	cmd_reset(&k->cmd);
	cmd_fini(&pending);
	for (size_t i = 0; i < reply_count(stale); i++) {
		struct work_entry found;
		if (work_read_stale(stale, i, entry) == 0 || !entry[0])
			continue;
		work_ask_entry(&k->cmd, prefix(k), q->name, entry);
		struct reply *reply = call(k);
		if (!reply)
			break;
		enum err_code rc = work_read_entry(reply, &found, NULL);
		if (rc == ERR_OK)
			hand_over(w, q, &found);
		else
			drop_entry(k, q->name, entry);
		reply_free(reply);
	}
	reply_free(stale);
	wake_slots(k, q);
}

/* --- places --- */

/* Frees the places whose lease is over and lets in who waits for them. */
static void tidy(struct keeper *k, const struct work_place *place)
{
	work_ask_tidy(&k->cmd, prefix(k), place, place_lease_ms(k->w), NULL, 0);
	struct reply *waiting = call(k);
	if (waiting)
		worker_note_waiting(
		        k->w, place, reply_i64(reply_at(waiting, 0), 0), reply_i64(reply_at(waiting, 1), 0) != 0);
	reply_free(waiting);
}

/* Where somebody waits, and where this worker believes it. */
static void tidy_all(struct keeper *k)
{
	struct worker *w = k->w;
	struct work_place place;
	work_ask_things(&k->cmd, prefix(k));
	struct reply *things = call(k);
	for (size_t i = 0; i < reply_count(things); i++)
		if (place_find(w, reply_text(reply_at(things, i), NULL), &place))
			tidy(k, &place);
	reply_free(things);
	for (size_t i = 0; !k->down && i < w->n_queues; i++) {
		pthread_mutex_lock(&w->lock);
		place = w->queues[i].full;
		pthread_mutex_unlock(&w->lock);
		if (place.kind)
			tidy(k, &place);
	}
}

/* Jobs that have been let in go to the slots of their queues. */
static void fetch_handed(struct keeper *k)
{
	struct worker *w = k->w;
	char queue[QUEUE_NAME_MAX + 1];
	atomic_store(&w->handed, false);
	work_ask_handed(&k->cmd, prefix(k));
	struct reply *handed = call(k);
	for (size_t i = 0; i < reply_count(handed); i += 2) {
		struct work_entry entry;
		if (!work_parse_handed(reply_text(reply_at(handed, i), NULL), &entry, queue))
			continue;
		for (size_t q = 0; q < w->n_queues; q++)
			if (strcmp(w->queues[q].name, queue) == 0)
				hand_over(w, &w->queues[q], &entry);
	}
	for (size_t q = 0; reply_count(handed) > 0 && q < w->n_queues; q++)
		wake_slots(k, &w->queues[q]);
	reply_free(handed);
}

/* --- jobs that are due --- */

/* Sends n commands as one pipeline; replies[i] is NULL for all when that failed. */
static void batch(struct keeper *k, struct cmd *cmds, size_t n, struct reply **replies)
{
	struct cmd *all[DUE_AT_ONCE] = {NULL};
	for (size_t i = 0; i < n; i++)
		all[i] = &cmds[i];
	k->down = redis_pipeline(k->redis, all, n, replies, NULL) != ERR_OK;
}

/* Looks at the jobs of the first n ids of due (id, score, ...) and promotes them: two round trips for all. */
static void promote(struct keeper *k, const struct reply *due, size_t n)
{
	struct cmd cmds[DUE_AT_ONCE];
	struct reply *jobs[DUE_AT_ONCE] = {NULL}, *done[DUE_AT_ONCE] = {NULL};
	for (size_t i = 0; i < n; i++) {
		cmd_init(&cmds[i]);
		queue_ask_job(&cmds[i], prefix(k), reply_text(reply_at(due, 2 * i), NULL));
	}
	batch(k, cmds, n, jobs);
	for (size_t i = 0; i < n; i++) {
		struct job_info job;
		bool known = jobs[i] && queue_read_job(jobs[i], &job, NULL) == ERR_OK;
		cmd_reset(&cmds[i]);
		work_ask_promote(&cmds[i], prefix(k), reply_text(reply_at(due, 2 * i), NULL),
		        known ? job.order.queue : "", known ? job.order.group : "");
	}
	if (!k->down)
		batch(k, cmds, n, done);
	for (size_t i = 0; i < n; i++) {
		reply_free(jobs[i]);
		reply_free(done[i]);
		cmd_fini(&cmds[i]);
	}
}

/* Promotes what is due; returns how long until the next one is, at most 1 s. */
static int64_t promote_due(struct keeper *k)
{
	struct cmd time, due;
	struct cmd *const both[] = {&time, &due};
	struct reply *replies[2];
	int64_t wait = 1000;
	cmd_init(&time);
	cmd_init(&due);
	work_ask_time(&time);
	work_ask_due(&due, prefix(k), DUE_AT_ONCE);
	if (redis_pipeline(k->redis, both, 2, replies, NULL) == ERR_OK) {
		int64_t now = work_read_time_ms(replies[0]);
		size_t n = 0, all = reply_count(replies[1]) / 2;
		int64_t ahead = 0;
		while (n < all && (ahead = reply_i64(reply_at(replies[1], 2 * n + 1), now) - now) <= 0)
			n++;
		if (n > 0) {
			promote(k, replies[1], n);
			wait = 1; /* look again: there may be more than one page of them */
		} else if (all > 0) {
			wait = ahead < wait ? ahead : wait;
		}
	}
	reply_free(replies[0]);
	reply_free(replies[1]);
	cmd_fini(&time);
	cmd_fini(&due);
	return wait;
}

/* --- the rest --- */

static void watch_deadlines(struct worker *w, int64_t now)
{
	for (size_t i = 0; i < w->n_slots; i++) {
		struct slot *s = &w->slots[i];
		pthread_mutex_lock(&s->lock);
		bool over = s->running && s->deadline_ms && now >= s->deadline_ms;
		int64_t run = s->lease.run;
		pthread_mutex_unlock(&s->lock);
		if (over)
			slot_stop(s, run, STOP_TIMEOUT);
	}
}

static void sweep(struct keeper *k, bool leave)
{
	struct worker *w = k->w;
	for (size_t i = 0; i < w->n_queues; i++) {
		work_ask_sweep(&k->cmd, prefix(k), w->queues[i].name, leave ? w->instance : "",
		        leave ? 0 : IDLE_CONSUMER_MS, leave);
		reply_free(call(k));
	}
}

static void beat_if_due(struct keeper *k)
{
	int64_t now = clock_mono_ms();
	if (now < k->next_beat && !atomic_exchange(&k->w->unheard, false))
		return;
	beat(k);
	k->next_beat = now + k->w->config->worker.lease_ms / 3;
}

/* After a failover: whoever still waits for the old master, which may be a silent host, need not wait until his time is over.
 * The slots' calls break off and are made anew; the listener looks at `moves`. */
static void follow_master(struct keeper *k)
{
	struct worker *w = k->w;
	const char *peer = redis_peer(k->redis);
	if (k->down || strcmp(peer, k->peer) == 0)
		return;
	if (k->peer[0]) {
		log_warn("redis has moved from=%s to=%s", k->peer, peer);
		atomic_fetch_add(&w->moves, 1);
		for (size_t i = 0; i < w->n_slots; i++)
			redis_interrupt(w->slots[i].redis);
	}
	snprintf(k->peer, sizeof k->peer, "%s", peer);
}

static int64_t turn(struct keeper *k)
{
	struct worker *w = k->w;
	int64_t now = clock_mono_ms(), lease = w->config->worker.lease_ms;
	beat_if_due(k);
	follow_master(k);
	watch_deadlines(w, now);
	if (now >= k->next_scan && !atomic_load(&w->draining)) {
		for (size_t i = 0; i < w->n_queues; i++) {
			scan(k, &w->queues[i]);
			beat_if_due(k); /* with a Redis far away and many queues this takes its time */
		}
		tidy_all(k);
		fetch_handed(k);
		if (!k->down && !atomic_exchange(&w->scanned, true))
			worker_wake(w, 0);
		k->next_scan = now + (lease / 15 < 1000 ? lease / 15 : 1000);
	}
	if (atomic_load(&w->handed) && !atomic_load(&w->draining))
		fetch_handed(k);
	if (now >= k->next_sweep) {
		sweep(k, false);
		k->next_sweep = now + IDLE_CONSUMER_MS / 4;
	}
	int64_t wait = promote_due(k);
	int64_t until_scan = k->next_scan - clock_mono_ms();
	wait = until_scan < wait ? until_scan : wait;
	return wait < 1 ? 1 : wait;
}

void *keeper_main(void *ctx)
{
	struct keeper k = {.w = ctx, .redis = redis_new(((struct worker *)ctx)->config)};
	cmd_init(&k.cmd);
	if (!k.redis) {
		log_error("keeper: out of memory");
		abort(); /* at the start only: without it no lease would ever be renewed */
	}
	while (!atomic_load(&k.w->stopping)) {
		int64_t wait = turn(&k);
		if (k.down && wait < 200)
			wait = 200;
		worker_wait(k.w, WAKE_KEEPER, wait, &k.w->stopping);
	}
	if (!k.down)
		sweep(&k, true);
	cmd_fini(&k.cmd);
	redis_free(k.redis);
	return NULL;
}
