/* A slot: claim an entry, start a run of its job, run it, settle it, for ever. One thread each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "worker/connect.h"
#include "worker/place.h"
#include "worker/run.h"
#include "worker/settle.h"

#define BLOCK_MS 5000 /* of one blocking read; the keeper ends it earlier when there is a reason */
#define REDIS_PAUSE_MS 200
#define GROUP_PAUSE_MS 20
#define LOOK_PAUSE_MS 500 /* between two looks for a results server that has gone, after a run */
#define LOOK_TRIES 60

static const char *prefix(const struct slot *s)
{
	return s->worker->config->redis.prefix;
}

static bool draining(const struct slot *s)
{
	return atomic_load(&s->worker->draining);
}

/* --- claiming --- */

/* An entry that is no job of ours: nobody could ever run it. */
static void drop_entry(struct slot *s, const char *entry)
{
	struct cmd ack, del;
	struct cmd *const both[] = {&ack, &del};
	struct reply *replies[2];
	cmd_init(&ack);
	cmd_init(&del);
	work_ask_drop(&ack, &del, prefix(s), s->queue->name, entry);
	if (redis_pipeline(s->redis, both, 2, replies, NULL) == ERR_OK)
		log_warn("entry dropped queue=%s entry=%s reason=\"it is no job\"", s->queue->name, entry);
	reply_free(replies[0]);
	reply_free(replies[1]);
	cmd_fini(&ack);
	cmd_fini(&del);
}

/* Makes sure of stream and group, and learns the connection's number. */
static enum err_code greet(struct slot *s, int64_t *client, struct err *e)
{
	struct cmd group, id;
	struct cmd *const both[] = {&group, &id};
	struct reply *replies[2];
	cmd_init(&group);
	cmd_init(&id);
	work_ask_make_group(&group, prefix(s), s->queue->name);
	work_ask_client_id(&id);
	enum err_code rc = redis_pipeline(s->redis, both, 2, replies, e);
	if (rc == ERR_OK)
		rc = work_read_group_made(replies[0], e);
	if (rc == ERR_OK)
		rc = reply_error(replies[1], e);
	*client = reply_i64(replies[1], 0);
	reply_free(replies[0]);
	reply_free(replies[1]);
	cmd_fini(&group);
	cmd_fini(&id);
	return rc;
}

static void set_blocked(struct slot *s, int64_t client)
{
	pthread_mutex_lock(&s->lock);
	s->blocked_client = client;
	pthread_mutex_unlock(&s->lock);
}

static enum err_code claim(struct slot *s, int64_t block_ms, bool own, struct work_entry *out, struct err *e)
{
	struct cmd c;
	struct reply *reply = NULL;
	struct cmd *const one[] = {&c};
	cmd_init(&c);
	work_ask_claim(&c, prefix(s), s->queue->name, s->consumer, block_ms, own);
	enum err_code rc = redis_pipeline(s->redis, one, 1, &reply, e);
	if (rc == ERR_OK)
		rc = work_read_claim(reply, out, e);
	reply_free(reply);
	cmd_fini(&c);
	return rc;
}

/* The slot's own turn; when the queue is empty, whatever comes is anybody's. */
static enum err_code go_first(struct slot *s, struct work_entry *out, struct err *e)
{
	const struct work_place place = {.kind = WORK_PLACE_QUEUE, .name = s->queue->name};
	s->goes_first = false;
	enum err_code rc = draining(s) ? ERR_NOT_FOUND : claim(s, -1, false, out, e);
	if (rc == ERR_NOT_FOUND)
		worker_note_waiting(s->worker, &place, 0, true);
	return rc;
}

/* The next entry of the slot; *stale says how to start it. ERR_NOT_FOUND: none for now. */
static enum err_code find_work(struct slot *s, struct work_entry *out, int64_t *stale, struct err *e)
{
	int64_t client = 0;
	enum err_code rc = ERR_OK;
	*stale = WORK_OWN;
	if (s->recheck) {
		rc = greet(s, &client, e);
		if (rc == ERR_OK)
			rc = claim(s, -1, true, out, e);
		if (rc != ERR_NOT_FOUND)
			return rc;
		s->recheck = false;
	}
	*stale = s->worker->config->worker.lease_ms;
	if (worker_take_redo(s->worker, s->queue, out))
		return ERR_OK;
	*stale = WORK_OWN;
	if (s->goes_first) {
		rc = go_first(s, out, e);
		if (rc != ERR_NOT_FOUND)
			return rc;
	}
	if (!worker_may_claim(s->worker, s->queue, true))
		return ERR_NOT_FOUND;
	rc = greet(s, &client, e);
	if (rc != ERR_OK)
		return rc;
	set_blocked(s, client);
	if (!draining(s) && worker_may_claim(s->worker, s->queue, false))
		rc = claim(s, BLOCK_MS, false, out, e);
	else
		rc = ERR_NOT_FOUND;
	set_blocked(s, 0);
	return rc;
}

/* --- starting and settling --- */

/* Asks for a run of the entry; the order's strings live as long as *reply. */
static enum err_code start(struct slot *s, const struct work_entry *entry, int64_t stale, struct reply **reply,
        struct work_order *order, struct err *e)
{
	struct cmd c;
	cmd_init(&c);
	work_ask_start(&c, prefix(s), s->queue->name, entry, s->consumer, s->worker->name, stale);
	enum err_code rc = redis_call(s->redis, &c, reply, e);
	if (rc == ERR_OK)
		rc = work_read_start(*reply, order, e);
	cmd_fini(&c);
	return rc;
}

/* What follows a run at once: an entry of the slot's own (stale WORK_OWN), or one that is to be started as another's. */
struct next {
	struct work_entry entry;
	int64_t stale;
	bool has;
};

/* Says how the run ended, again and again until Redis has heard it; and takes the next entry on the same way: the job that
 * gets the place that has become free, or, when the run had none, the queue's next. */
static enum err_code tell(struct slot *s, const struct work_entry *entry, const struct work_order *order,
        const struct work_result *result, struct next *next)
{
	struct work_entry freed = {0};
	const struct work_lease lease = s->lease; /* only this thread writes it */
	struct cmd finish, more;
	struct cmd *const both[] = {&finish, &more};
	struct err e = ERR_INIT;
	enum err_code rc;
	cmd_init(&finish);
	cmd_init(&more);
	work_ask_finish(&finish, prefix(s), &lease, entry, order, result, !draining(s));
	work_ask_claim(&more, prefix(s), s->queue->name, s->consumer, -1, false);
	for (;;) {
		struct reply *replies[2] = {NULL, NULL};
		bool claims = !draining(s) && !s->recheck && !next->has && lease.n_places == 0 &&
		        worker_may_claim(s->worker, s->queue, false);
		rc = redis_pipeline(s->redis, both, claims ? 2 : 1, replies, &e);
		if (rc == ERR_OK)
			rc = work_read_finish(replies[0], &freed, &e);
		else if (claims)
			s->recheck = true;
		struct err claim_error = ERR_INIT;
		if (claims && replies[1]) {
			enum err_code got = work_read_claim(replies[1], &next->entry, &claim_error);
			next->has = got == ERR_OK;
			s->recheck = s->recheck || (got != ERR_OK && got != ERR_NOT_FOUND);
		}
		reply_free(replies[0]);
		reply_free(replies[1]);
		if (rc != ERR_UNAVAILABLE || atomic_load(&s->worker->hurrying))
			break;
		log_warn("redis does not answer, the end of a run waits job=%s run=%lld error=\"%s\"", entry->job_id,
		        (long long)order->run, e.text);
		worker_wait(s->worker, 0, REDIS_PAUSE_MS, &s->worker->hurrying);
	}
	if (rc != ERR_OK && rc != ERR_LOST)
		log_error("the end of a run could not be told job=%s run=%lld error=\"%s\"", entry->job_id,
		        (long long)order->run, e.text);
	if ((rc == ERR_OK || rc == ERR_LOST) && freed.entry[0])
		*next = (struct next){.entry = freed, .stale = s->worker->config->worker.lease_ms, .has = true};
	cmd_fini(&finish);
	cmd_fini(&more);
	return rc;
}

static void log_end(const struct slot *s, const struct work_entry *entry, const struct work_order *order,
        const struct work_result *result, const struct err *e, int64_t took_ms)
{
	static const char *const outcomes[] = {"success", "failure", "retry", "wait", "returned", "parked"};
	if (result->outcome == WORK_PARK)
		log_debug("job waits for a place job=%s task=%s worker=%s", entry->job_id, order->job.task,
		        s->worker->name);
	else if (result->outcome == WORK_SUCCESS)
		log_info("job finished job=%s task=%s run=%lld outcome=success rows=%lld ms=%lld worker=%s",
		        entry->job_id, order->job.task, (long long)order->run, (long long)result->rows,
		        (long long)took_ms, s->worker->name);
	else
		log_warn("job ended job=%s task=%s run=%lld outcome=%s ms=%lld worker=%s error=\"%s\"", entry->job_id,
		        order->job.task, (long long)order->run, outcomes[result->outcome], (long long)took_ms,
		        s->worker->name, e->quotes ? "(quotes the job's values: see its state)" : e->text);
}

/* What a run published that was not current any more must go again. */
static void take_back(struct slot *s, const struct work_order *order, const struct work_entry *entry)
{
	struct err e = ERR_INIT;
	struct sink *sink = s->sink_held;
	if (sink && sink->ops->purge(sink, entry->job_id, order->run, &e) != ERR_OK)
		log_warn("a lost run's result stays until it expires job=%s run=%lld error=\"%s\"", entry->job_id,
		        (long long)order->run, e.text);
}

static void lose(struct slot *s, const struct work_order *order, const struct work_entry *entry)
{
	struct cmd c;
	struct reply *reply = NULL;
	struct err e = ERR_INIT;
	char text[256];
	snprintf(text, sizeof text, RESULT_LOST, order->job.results);
	cmd_init(&c);
	work_ask_lose(&c, prefix(s), entry->job_id, order->run, text);
	enum err_code rc = redis_call(s->redis, &c, &reply, &e);
	log_warn("result lost job=%s run=%lld error=\"%s\"", entry->job_id, (long long)order->run,
	        rc == ERR_OK ? text : e.text);
	reply_free(reply);
	cmd_fini(&c);
}

/* A server that may forget its newest commits (durability) can have crashed, and a janitor can have looked for losses,
 * after the publication and before Redis was told: then nobody but us knows of this result. Costs nothing as long as the
 * connection stands. */
static void look_after(struct slot *s, const struct work_order *order, const struct work_entry *entry)
{
	const struct cfg_results *cfg = config_results(s->worker->config, order->job.results);
	struct sink *sink = s->sink_held;
	struct err e = ERR_INIT;
	bool has = true;
	if (!cfg || !sink || cfg->durability == DURABILITY_FULL || sink->ops->alive(sink))
		return;
	enum err_code rc = sink->ops->connect(sink, &e);
	for (int i = 0; rc == ERR_UNAVAILABLE && i < LOOK_TRIES && !draining(s); i++) {
		worker_wait(s->worker, 0, LOOK_PAUSE_MS, &s->worker->draining);
		rc = sink->ops->connect(sink, &e);
	}
	if (rc == ERR_OK)
		rc = sink->ops->has_result(sink, entry->job_id, order->run, &has, &e);
	if (rc != ERR_OK)
		log_warn("cannot see whether a result was lost job=%s run=%lld error=\"%s\"", entry->job_id,
		        (long long)order->run, e.text);
	else if (!has)
		lose(s, order, entry);
}

static enum err_code run_or_give_up(
        struct slot *s, const struct work_order *order, struct run_result *out, struct err *e)
{
	const struct config *c = s->worker->config;
	if (order->deaths >= c->worker.max_deliveries)
		return err_set(e, ERR_PERMANENT, "%lld workers died while they ran this job", (long long)order->deaths);
	return run_job(s, order, out, e);
}

/* Runs what the entry asks for, to its end; next: what follows at once. */
static void work_on(struct slot *s, const struct work_entry *entry, int64_t stale, struct next *next)
{
	struct err e = ERR_INIT;
	struct reply *reply = NULL;
	struct work_order order = {.kept = ""};
	struct run_result out = {0};
	int64_t began = clock_mono_ms();
	*next = (struct next){.stale = WORK_OWN};
	enum err_code rc = start(s, entry, stale, &reply, &order, &e);
	if (rc != ERR_OK) {
		if (rc == ERR_UNAVAILABLE) {
			s->recheck = true; /* it may have been started: look at what we own */
		} else if (rc != ERR_NOT_FOUND && rc != ERR_CONFLICT) {
			log_error("a job could not be started job=%s error=\"%s\"", entry->job_id, e.text);
			worker_wait(s->worker, 0, REDIS_PAUSE_MS, &s->worker->draining);
		} else if (order.kept[0]) {
			place_forgo(s, entry, order.kept);
		}
		reply_free(reply);
		return;
	}
	slot_runs(s, entry, order.run, began);
	rc = run_or_give_up(s, &order, &out, &e);
	int64_t took = clock_mono_ms() - began;
	uint32_t random = 0;
	ssize_t ignored = getrandom(&random, sizeof random, 0);
	(void)ignored;
	const struct config *c = s->worker->config;
	struct work_result result = {.error = rc == ERR_OK ? "" : e.text,
	        .table = rc == ERR_OK ? out.table : "",
	        .rows = rc == ERR_OK ? out.rows : 0,
	        .took_ms = took,
	        .state_ttl_ms = order.job.ttl_ms > c->jobs.state_ttl_ms ? order.job.ttl_ms : c->jobs.state_ttl_ms};
	settle_decide(c, &order, rc, order.started_ms + took, random, &result);
	enum err_code told =
	        result.outcome == WORK_PARK ? place_park(s, entry, &e) : tell(s, entry, &order, &result, next);
	struct work_entry none = {0};
	slot_runs(s, &none, 0, 0);
	if (told == ERR_LOST) {
		if (rc == ERR_OK)
			take_back(s, &order, entry);
		log_info("job lost job=%s run=%lld reason=\"deleted or taken over\"", entry->job_id,
		        (long long)order.run);
	} else {
		log_end(s, entry, &order, &result, &e, took);
		if (told == ERR_OK && rc == ERR_OK)
			look_after(s, &order, entry);
	}
	connect_leave_sink(s);
	reply_free(reply);
}

/* What find_work could not do: says so once in a while and waits for better times. */
static void on_trouble(struct slot *s, enum err_code rc, const struct work_entry *entry, const struct err *e)
{
	if (rc == ERR_NOT_FOUND)
		return;
	if (rc == ERR_LOST) { /* greet makes the group again, unless Redis is full */
		worker_wait(s->worker, 0, GROUP_PAUSE_MS, &s->worker->draining);
		return;
	}
	if (rc == ERR_INVALID) {
		drop_entry(s, entry->entry);
		return;
	}
	s->recheck = true;
	if (s == &s->worker->slots[0])
		log_warn("no work can be claimed error=\"%s\"", e->text);
	worker_wait(s->worker, 0, REDIS_PAUSE_MS, &s->worker->draining);
}

/* Of a queue with max_running: does the slot go on with the next entry, whatever the others do? Not when a place of the
 * queue is what its job waits for. (Were all woken when a place is free, they would crowd at it, and pass each other.) */
static bool goes_first(const struct slot *s, const struct next *next)
{
	bool waits = next->has;
	for (size_t i = 0; i < s->n_wanted; i++)
		waits = waits || strcmp(s->wanted[i].kind, WORK_PLACE_QUEUE) == 0;
	return s->queue->max_running && !waits;
}

void *slot_main(void *ctx)
{
	struct slot *s = ctx;
	struct work_entry entry;
	struct next next = {.has = false};
	redis_set_timeout(s->redis, BLOCK_MS + s->worker->config->redis.timeout_ms);
	while (next.has || !draining(s)) {
		int64_t stale = next.stale;
		struct err e = ERR_INIT;
		enum err_code rc = ERR_OK;
		if (next.has)
			entry = next.entry;
		else
			rc = find_work(s, &entry, &stale, &e);
		if (rc != ERR_OK) {
			on_trouble(s, rc, &entry, &e);
			continue;
		}
		s->n_wanted = 0;
		work_on(s, &entry, stale, &next);
		s->goes_first = goes_first(s, &next);
	}
	pthread_mutex_lock(&s->worker->lock);
	s->worker->live_slots--;
	pthread_cond_broadcast(&s->worker->changed);
	pthread_mutex_unlock(&s->worker->lock);
	return NULL;
}
