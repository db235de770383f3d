#include "fcgi/fleet.h"
#include "fcgi/handlers.h"
#include "fcgi/json_out.h"

/* --- GET /queues: all queues, and the sources that their jobs run in --- */

static void add_queue(struct buf *b, const struct fleet_queue *q)
{
	jout_name_text(b, q->name);
	jout_open(b, '{');
	jout_field_i64(b, "waiting", q->depth.waiting);
	jout_field_i64(b, "parked", q->depth.parked);
	jout_field_i64(b, "running", q->depth.running);
	jout_field_i64(b, "unstarted", q->depth.unstarted);
	jout_field_i64(b, "oldest_ms", q->depth.oldest_ms);
	jout_field_i64(b, "max_running", q->places.most);
	jout_close(b, '}');
}

/* What is not limited is not counted: null. */
static void add_counted(struct buf *b, const char *name, const struct fleet_places *p, int64_t v)
{
	jout_name(b, name);
	if (p->most)
		jout_i64(b, v);
	else
		jout_null(b);
}

static void add_source(struct buf *b, const struct fleet_source *s)
{
	jout_name_text(b, s->name);
	jout_open(b, '{');
	add_counted(b, "running", &s->places, s->places.running);
	add_counted(b, "waiting", &s->places, s->places.waiting);
	jout_field_i64(b, "max_running", s->places.most);
	jout_field_i64(b, "paused", s->paused);
	jout_close(b, '}');
}

enum step queues_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct fleet f;
	if (x->phase == 0)
		return fleet_ask_more(x);
	enum err_code rc = fleet_read(x, &f, &e);
	if (rc == ERR_OK) {
		struct buf *b = response_begin(&x->res);
		jout_open(b, '{');
		jout_name(b, "queues");
		jout_open(b, '{');
		for (size_t i = 0; i < f.n_queues; i++)
			add_queue(b, &f.queues[i]);
		jout_close(b, '}');
		jout_name(b, "sources");
		jout_open(b, '{');
		for (size_t i = 0; i < f.n_sources; i++)
			add_source(b, &f.sources[i]);
		jout_close(b, '}');
		jout_close(b, '}');
		response_end(&x->res);
	}
	fleet_fini(&f);
	return rc == ERR_OK ? STEP_DONE : exchange_fail(x, &e);
}

/* --- GET /jobs/queue/{queue} --- */

/* Phase 0 asks for the ids of a page, phase 1 for each job. */

#define PAGE_MAX 1000

enum step queue_get_ask(struct exchange *x)
{
	struct err e = ERR_INIT;
	int64_t limit = x->app->config->limits.page;
	int64_t most = limit > PAGE_MAX ? limit : PAGE_MAX;
	char after[QUEUE_JOB_ID_MAX + 1] = "";
	enum err_code rc = handler_check_name("the queue's name", x->arg, QUEUE_NAME_MAX, &e);
	if (rc == ERR_OK)
		rc = request_query_i64(&x->req, "limit", 1, most, &limit, &e);
	if (rc == ERR_OK)
		rc = request_query_text(&x->req, "after", after, sizeof after, &e);
	if (rc == ERR_OK && after[0])
		rc = handler_check_name("parameter 'after'", after, QUEUE_JOB_ID_MAX, &e);
	if (rc != ERR_OK)
		return exchange_fail(x, &e);
	queue_ask_list(exchange_command(x), x->app->config->redis.prefix, x->arg, after, limit);
	return STEP_ASK;
}

static enum step ask_jobs(struct exchange *x)
{
	struct err e = ERR_INIT;
	const struct reply *ids = exchange_reply(x, 0);
	if (reply_error(ids, &e) != ERR_OK)
		return exchange_fail(x, &e);
	for (size_t i = 0; i < reply_count(ids); i++)
		queue_ask_job(exchange_command(x), x->app->config->redis.prefix, reply_text(reply_at(ids, i), NULL));
	return STEP_ASK;
}

/* The names that existing clients decode; arguments may be private, so Payload stays null. */
static void pending_entry(struct buf *b, const char *id, const struct job_info *job, int64_t now_ms)
{
	jout_open(b, '{');
	jout_field(b, "ID", id);
	jout_raw(b, "\"OnSuccessIDs\":null");
	jout_field(b, "Status", job->order.eta_ms > now_ms ? "scheduled" : "queued");
	jout_field(b, "Queue", job->order.queue);
	jout_raw(b, "\"Schedule\":\"\"");
	jout_field_i64(b, "MaxRetry", job->order.retries);
	jout_field_i64(b, "Retried", job->retried);
	jout_field(b, "PrevErr", job->error);
	jout_field_time(b, "ProcessedAt", job->started_ms);
	jout_raw(b, "\"PrevJobResult\":null,\"Job\":{\"OnSuccess\":null");
	jout_field(b, "Task", job->order.task);
	jout_raw(b, "\"Payload\":null,\"OnError\":null,\"Opts\":{");
	jout_field(b, "ID", id);
	jout_field_time(b, "ETA", job->order.eta_ms);
	jout_field(b, "Queue", job->order.queue);
	jout_field_i64(b, "MaxRetries", job->order.retries);
	jout_raw(b, "\"Schedule\":\"\"");
	jout_field_i64(b, "Timeout", job->order.timeout_ms * 1000000); /* Go's Duration: ns */
	jout_close(b, '}');
	jout_close(b, '}');
	jout_close(b, '}');
}

enum step queue_get_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct job_info job;
	if (x->phase == 0)
		return ask_jobs(x);
	struct buf *b = response_begin(&x->res);
	jout_open(b, '[');
	for (size_t i = 0; i < reply_count(x->replies[0]); i++) {
		enum err_code rc = queue_read_job(exchange_reply(x, i), &job, &e);
		if (rc != ERR_OK && rc != ERR_NOT_FOUND)
			return exchange_fail(x, &e);
		/* What has begun or has been forgotten since the ids were read is no longer in the queue. */
		if (rc == ERR_OK && (job.state == JOB_PENDING || job.state == JOB_RETRY))
			pending_entry(b, reply_text(reply_at(x->replies[0], i), NULL), &job, x->now_ms);
	}
	jout_close(b, ']');
	response_end(&x->res);
	return STEP_DONE;
}
