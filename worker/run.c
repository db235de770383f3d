#include "worker/run.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/clock.h"
#include "worker/connect.h"
#include "worker/json.h"

#define LIMIT_SLACK_MS 20   /* by which a server's clock may be ahead of ours when its time limit is over */
#define LIMIT_GRACE_MS 2000 /* the server's own time limit comes first; ours is for when it does not */

/* What a run works with; all borrowed but args and columns. */
struct run {
	struct feed feed; /* first: the sink's way back to the run */
	struct slot *slot;
	const struct work_order *order;
	const struct task *task;
	const struct cfg_results *sink_cfg;
	struct source *source; /* the slot's, like the sink */
	struct sink *sink;
	struct arg_list args;
	struct columns columns;
	int64_t timeout_ms, max_rows, max_bytes;
	int64_t rows, bytes;
};

static int64_t either(int64_t of_task, int64_t of_all)
{
	return of_task >= 0 ? of_task : of_all;
}

static enum err_code set_up(struct run *r, struct task_set *set, struct err *e)
{
	const struct config *c = r->slot->worker->config;
	r->task = task_set_find(set, r->order->job.task, strlen(r->order->job.task));
	if (!r->task) /* an older worker in a rolling upgrade: another one may know it */
		return err_set(e, ERR_UNAVAILABLE, "this worker has no task '%s'", r->order->job.task);
	r->sink_cfg = config_results(c, r->order->job.results);
	if (!r->sink_cfg)
		return err_set(e, ERR_UNAVAILABLE, "this worker's configuration has no results database '%s'",
		        r->order->job.results);
	enum err_code rc = arg_list_parse(&r->args, r->order->job.args, e);
	if (rc != ERR_OK)
		return rc;
	if (r->args.n != (size_t)r->task->n_placeholders)
		return err_set(e, ERR_PERMANENT, "task '%s' takes %d arguments, got %zu", r->task->name,
		        r->task->n_placeholders, r->args.n);
	r->max_rows = either(r->task->max_rows, c->jobs.max_rows);
	r->max_bytes = either(r->task->max_bytes, c->jobs.max_bytes);
	return ERR_OK;
}

static enum err_code connect_both(struct run *r, struct err *e)
{
	struct slot *s = r->slot;
	const struct cfg_source *cfg = NULL;
	r->timeout_ms = r->order->job.timeout_ms;
	enum err_code rc = connect_source(s, r->task, r->order, &cfg, e);
	if (rc != ERR_OK)
		return rc;
	if (!r->timeout_ms)
		r->timeout_ms = cfg->timeout_ms;
	r->source = s->source_held;
	rc = connect_sink(s, r->sink_cfg, r->timeout_ms, e);
	if (rc != ERR_OK)
		return rc;
	r->sink = s->sink_held;
	if (r->order->fence)
		rc = r->sink->ops->fence(r->sink, s->lease.job_id, r->order->run, r->order->job.ttl_ms, e);
	if (rc != ERR_OK && rc != ERR_LOST)
		err_prefix(e, "results database '%s'", r->order->job.results);
	return rc;
}

static enum err_code check_limits(const struct run *r, struct err *e)
{
	if (r->max_rows > 0 && r->rows > r->max_rows)
		return err_set(e, ERR_PERMANENT, "the result has more rows than max_rows allows (%lld)",
		        (long long)r->max_rows);
	if (r->max_bytes > 0 && r->bytes > r->max_bytes)
		return err_set(e, ERR_PERMANENT, "the result has more bytes than max_bytes allows (%lld)",
		        (long long)r->max_bytes);
	return ERR_OK;
}

/* The feed of the sink: the source's next row, counted and within the limits, unless the run is to stop. */
static enum err_code next_row(struct feed *f, struct row *row, bool *done, struct err *e)
{
	struct run *r = (struct run *)(void *)f;
	enum err_code rc = slot_stopped(r->slot, r->timeout_ms, e);
	if (rc == ERR_OK)
		rc = r->source->ops->next(r->source, row, done, e);
	if (rc != ERR_OK || *done)
		return rc;
	r->rows++;
	r->bytes += (int64_t)row->bytes;
	return check_limits(r, e);
}

/* Nobody may publish, or begin where his place can be another's, who could have been declared dead. As long as the lease was confirmed a short while ago that is
 * certain; else Redis is asked, and waited for. */
static enum err_code confirm_lease(struct run *r, struct err *e)
{
	struct slot *s = r->slot;
	const struct config *c = s->worker->config;
	for (;;) {
		pthread_mutex_lock(&s->lock);
		bool certain = clock_mono_ms() - s->leased_ms < c->worker.lease_ms * 2 / 3;
		pthread_mutex_unlock(&s->lock);
		enum err_code rc = slot_stopped(s, r->timeout_ms, e);
		if (certain || rc != ERR_OK)
			return rc;
		int64_t asked = clock_mono_ms();
		struct cmd cmd;
		struct reply *reply = NULL;
		cmd_init(&cmd);
		work_ask_beat(&cmd, c->redis.prefix, s->worker->instance, "", &s->lease, 1);
		rc = redis_call(s->redis, &cmd, &reply, e);
		cmd_fini(&cmd);
		bool lost = rc == ERR_OK && reply_count(reply) > 0;
		reply_free(reply);
		if (lost)
			return err_set(e, ERR_LOST, "another worker has taken the job over");
		if (rc == ERR_OK) {
			pthread_mutex_lock(&s->lock);
			s->leased_ms = asked;
			pthread_mutex_unlock(&s->lock);
			continue;
		}
		if (rc != ERR_UNAVAILABLE || atomic_load(&s->worker->hurrying))
			return rc;
		s->recheck = true;
		worker_wait(s->worker, 0, 200, &s->worker->hurrying);
	}
}

static enum err_code fix_names(struct run *r, struct err *e)
{
	const struct sink_ops *ops = r->sink->ops;
	struct name_rules rules = {.max = ops->name_max, .reserved = ops->reserved_names, .fold = ops->names_fold};
	return columns_fix_names(&r->columns, &rules, e);
}

/* What a function of the sink has returned. A server that went away may have crashed: the janitor is to look at once. */
static enum err_code of_sink(struct run *r, enum err_code rc, struct err *e)
{
	if (rc != ERR_UNAVAILABLE)
		return rc;
	worker_wake(r->slot->worker, WAKE_JANITOR);
	return err_prefix(e, "results database '%s'", r->order->job.results);
}

/* The databases' part. What is broken off is aborted by the caller. */
static enum err_code execute(struct run *r, const char *table, struct err *e)
{
	struct slot *s = r->slot;
	char tag[160];
	snprintf(tag, sizeof tag, "%s %s", s->lease.job_id, r->task->name);
	struct query q = {.task = r->task->name,
	        .sql = r->task->sql,
	        .raw = r->task->raw,
	        .args = r->args.texts,
	        .n_args = r->args.n,
	        .tag = tag,
	        .job_id = s->lease.n_places ? s->lease.job_id : NULL,
	        .timeout_ms = r->timeout_ms};
	struct result_spec spec = {.job_id = s->lease.job_id,
	        .table = table,
	        .task = r->task->name,
	        .run = r->order->run,
	        .ttl_ms = r->order->job.ttl_ms};
	enum wire wire = WIRE_TEXT;
	/* Who has a place in the source may have been stopped for so long that it is another's by now. */
	enum err_code rc = s->lease.n_places ? confirm_lease(r, e) : slot_stopped(s, r->timeout_ms, e);
	if (rc == ERR_OK && s->lease.n_places && r->order->fence)
		rc = r->source->ops->evict(r->source, s->lease.job_id, e);
	if (rc == ERR_OK)
		rc = r->source->ops->begin(r->source, &q, r->sink->ops->wires, &r->columns, &wire, e);
	if (rc == ERR_OK && r->columns.n == 0)
		rc = err_set(e, ERR_PERMANENT, "the query returns no columns, so there is no result to keep");
	if (rc == ERR_OK)
		rc = fix_names(r, e);
	if (rc == ERR_OK)
		rc = of_sink(r, r->sink->ops->begin(r->sink, &spec, &r->columns, wire, e), e);
	if (rc == ERR_OK)
		rc = of_sink(r, r->sink->ops->fill(r->sink, &r->feed, e), e);
	if (rc == ERR_OK)
		rc = confirm_lease(r, e);
	return rc == ERR_OK ? of_sink(r, r->sink->ops->publish(r->sink, e), e) : rc;
}

/* Lets others cancel what the run does in the databases, or ends that. */
static void expose(struct run *r, bool on)
{
	struct slot *s = r->slot;
	if (!on)
		pthread_mutex_lock(&s->cancelling); /* nobody is in the middle of it, nor begins */
	pthread_mutex_lock(&s->lock);
	s->source = on ? r->source : NULL;
	s->sink = on ? r->sink : NULL;
	s->deadline_ms = on && r->timeout_ms ? clock_mono_ms() + r->timeout_ms + LIMIT_GRACE_MS : 0;
	pthread_mutex_unlock(&s->lock);
	if (!on)
		pthread_mutex_unlock(&s->cancelling);
}

enum err_code run_job(struct slot *s, const struct work_order *order, struct run_result *out, struct err *e)
{
	struct run r = {.feed.next = next_row, .slot = s, .order = order};
	struct task_set *set = task_holder_get(s->worker->tasks);
	int64_t began = 0;
	snprintf(out->table, sizeof out->table, QUEUE_TABLE_PREFIX "%s", s->lease.job_id);
	enum err_code rc = set_up(&r, set, e);
	if (rc == ERR_OK)
		rc = connect_both(&r, e);
	if (rc == ERR_OK) {
		began = clock_mono_ms();
		expose(&r, true);
		rc = execute(&r, out->table, e);
		expose(&r, false);
		if (rc != ERR_OK) {
			r.source->ops->abort(r.source);
			r.sink->ops->abort(r.sink);
		}
		/* A database's "canceled" is only as good as the reason that we know for it. */
		struct err why = ERR_INIT;
		if (rc != ERR_OK && rc != ERR_LOST && slot_stopped(s, r.timeout_ms, &why) != ERR_OK)
			*e = why;
		else if (rc == ERR_TRANSIENT && r.timeout_ms &&
		        clock_mono_ms() - began >= r.timeout_ms - LIMIT_SLACK_MS)
			err_set(e, ERR_TRANSIENT, "the time limit of %lld ms is over", (long long)r.timeout_ms);
		rc = rc == ERR_OK ? rc : e->code;
	}
	connect_leave_source(s);
	out->rows = r.rows;
	columns_fini(&r.columns);
	arg_list_fini(&r.args);
	task_set_unref(set);
	return rc;
}
