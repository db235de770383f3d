#include "fcgi/handlers.h"

#include <string.h>

#include "fcgi/job_request.h"
#include "fcgi/json_out.h"
#include "shared/base/parse.h"

/* --- shared by the handlers --- */

enum step handler_true(struct exchange *x)
{
	jout_bool(response_begin(&x->res), true);
	response_end(&x->res);
	return STEP_DONE;
}

enum err_code handler_check_name(const char *what, const char *name, size_t max, struct err *e)
{
	size_t len = strlen(name);
	if (parse_name(name, len, max))
		return ERR_OK;
	if (len > max)
		return err_set(e, ERR_INVALID, "%s: at most %zu characters are allowed, got %zu", what, max, len);
	return err_set(e, ERR_INVALID, "%s: only letters, digits, '_', ':' and '-' are allowed", what);
}

void handler_cancel_spec(struct cancel_spec *spec, const char *id, const struct job_info *job)
{
	spec->id = id;
	memcpy(spec->queue, job->order.queue, sizeof spec->queue);
	memcpy(spec->group, job->order.group, sizeof spec->group);
}

void handler_job_state(struct buf *b, const char *id, const struct job_info *job)
{
	jout_open(b, '{');
	jout_field(b, "job_id", id);
	jout_field(b, "state", job_state_name(job->state));
	jout_field_i64(b, "count", job->rows);
	jout_field(b, "error", job->error);
	jout_field(b, "task", job->order.task);
	jout_field(b, "queue", job->order.queue);
	jout_field_i64(b, "attempt", job->attempt);
	jout_field_time_or_null(b, "queued_at", job->queued_ms);
	jout_field_time_or_null(b, "started_at", job->started_ms);
	jout_field_time_or_null(b, "finished_at", job->finished_ms);
	jout_field(b, "worker", job->worker);
	if (job->order.group[0])
		jout_field(b, "group_id", job->order.group);
	jout_name(b, "results");
	jout_open(b, '{');
	jout_field(b, "db", job->order.results);
	if (job->state == JOB_SUCCESS)
		jout_field(b, "table", job->table);
	jout_close(b, '}');
	jout_close(b, '}');
}

/* --- POST /tasks/{task}/jobs, POST /groups --- */

static void accepted(struct buf *b, const struct job_spec *job)
{
	jout_open(b, '{');
	jout_field(b, "job_id", job->id);
	jout_field(b, "task", job->task);
	jout_field(b, "queue", job->queue);
	jout_field_time(b, "eta", job->eta_ms);
	jout_field_i64(b, "retries", job->retries);
	jout_close(b, '}');
}

/* How long the state of a job that fails at once is kept. */
static int64_t state_ttl(const struct config *c, const struct job_batch *batch)
{
	int64_t ttl = c->jobs.state_ttl_ms;
	for (size_t i = 0; i < batch->n; i++)
		ttl = batch->specs[i].ttl_ms > ttl ? batch->specs[i].ttl_ms : ttl;
	return ttl;
}

static void enqueue(struct exchange *x)
{
	const struct config *c = x->app->config;
	queue_ask_enqueue(exchange_command(x), c->redis.prefix, x->batch->specs, x->batch->n, x->batch->group_id,
	        x->batch->concurrency, state_ttl(c, x->batch));
}

enum step job_post_ask(struct exchange *x)
{
	struct err e = ERR_INIT;
	const struct task *task = task_set_find(x->tasks, x->arg, strlen(x->arg));
	if (!task)
		return exchange_fail_with(x, ERR_NOT_FOUND, "no such task '%.128s'", x->arg);
	if (job_batch_read_job(x->batch, x->app->config, task, &x->req.body, &e) != ERR_OK)
		return exchange_fail(x, &e);
	enqueue(x);
	/* The answer is known now, but for an error. */
	accepted(response_begin(&x->res), x->batch->specs);
	response_end(&x->res);
	return STEP_ASK;
}

enum step group_post_ask(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct job_batch *batch = x->batch;
	if (job_batch_read_group(batch, x->app->config, x->tasks, &x->req.body, &e) != ERR_OK)
		return exchange_fail(x, &e);
	enqueue(x);
	struct buf *b = response_begin(&x->res);
	jout_open(b, '{');
	jout_field(b, "group_id", batch->group_id);
	jout_name(b, "jobs");
	jout_open(b, '[');
	for (size_t i = 0; i < batch->n; i++)
		accepted(b, &batch->specs[i]);
	jout_close(b, ']');
	jout_close(b, '}');
	response_end(&x->res);
	return STEP_ASK;
}

enum step job_post_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	if (queue_read_enqueue(exchange_reply(x, 0), &e) != ERR_OK)
		return exchange_fail(x, &e);
	return STEP_DONE;
}

/* --- GET /jobs/{id} --- */

static enum step ask_job(struct exchange *x)
{
	struct err e = ERR_INIT;
	if (handler_check_name("the job's id", x->arg, QUEUE_JOB_ID_MAX, &e) != ERR_OK)
		return exchange_fail(x, &e);
	queue_ask_job(exchange_command(x), x->app->config->redis.prefix, x->arg);
	return STEP_ASK;
}

/* ERR_NOT_FOUND gets its text. */
static enum err_code read_job(const struct exchange *x, struct job_info *job, struct err *e)
{
	enum err_code rc = queue_read_job(exchange_reply(x, 0), job, e);
	return rc == ERR_NOT_FOUND ? err_set(e, rc, "no such job '%s'", x->arg) : rc;
}

enum step job_get_ask(struct exchange *x)
{
	return ask_job(x);
}

enum step job_get_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct job_info job;
	if (read_job(x, &job, &e) != ERR_OK)
		return exchange_fail(x, &e);
	handler_job_state(response_begin(&x->res), x->arg, &job);
	response_end(&x->res);
	return STEP_DONE;
}

/* --- DELETE /jobs/{id}: look where the job is, then cancel it there; again when it has moved meanwhile --- */

enum step job_delete_ask(struct exchange *x)
{
	struct err e = ERR_INIT;
	bool purge = false;
	if (request_query_flag(&x->req, "purge", &purge, &e) != ERR_OK)
		return exchange_fail(x, &e);
	return ask_job(x);
}

static enum step cancel_job(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct job_info job;
	bool purge = false;
	if (request_query_flag(&x->req, "purge", &purge, &e) != ERR_OK || read_job(x, &job, &e) != ERR_OK)
		return exchange_fail(x, &e);
	struct cancel_spec spec;
	handler_cancel_spec(&spec, x->arg, &job);
	queue_ask_cancel(exchange_command(x), x->app->config->redis.prefix, &spec, 1, NULL, purge);
	return STEP_ASK;
}

enum step job_delete_answer(struct exchange *x)
{
	if (x->phase % 2 == 0)
		return cancel_job(x);
	struct err e = ERR_INIT;
	switch (queue_read_cancel(exchange_reply(x, 0), &e)) {
	case ERR_OK:
		return handler_true(x);
	case ERR_NOT_FOUND:
		return exchange_fail_with(x, ERR_NOT_FOUND, "no such job '%s'", x->arg);
	case ERR_CONFLICT:
		err_prefix(&e, "job '%s'", x->arg);
		return exchange_fail(x, &e);
	case ERR_TRANSIENT:
		if (++x->tries < HANDLER_TRIES_MAX)
			return ask_job(x);
		return exchange_fail(x, &e);
	default:
		return exchange_fail(x, &e);
	}
}
