#include <stdlib.h>
#include <string.h>

#include "fcgi/handlers.h"
#include "fcgi/json_out.h"

/* Both begin alike: phase 0 asks for the group's counters and its job ids, phase 1 for each job.
 * x->replies[begin] is the group, [begin + 1] the ids; the phase's replies are the jobs. */

static enum step ask_group(struct exchange *x)
{
	struct err e = ERR_INIT;
	const char *prefix = x->app->config->redis.prefix;
	if (handler_check_name("the group's id", x->arg, QUEUE_NAME_MAX, &e) != ERR_OK)
		return exchange_fail(x, &e);
	queue_ask_group(exchange_command(x), prefix, x->arg);
	queue_ask_group_jobs(exchange_command(x), prefix, x->arg);
	return STEP_ASK;
}

static enum err_code read_group(
        const struct exchange *x, const struct reply *r, struct group_info *group, struct err *e)
{
	enum err_code rc = queue_read_group(r, group, e);
	return rc == ERR_NOT_FOUND ? err_set(e, rc, "no such group '%s'", x->arg) : rc;
}

/* The group is known: asks for its jobs. */
static enum step ask_jobs(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct group_info group;
	const struct reply *ids = exchange_reply(x, 1);
	if (read_group(x, exchange_reply(x, 0), &group, &e) != ERR_OK || reply_error(ids, &e) != ERR_OK)
		return exchange_fail(x, &e);
	for (size_t i = 0; i < reply_count(ids); i++)
		queue_ask_job(exchange_command(x), x->app->config->redis.prefix, reply_text(reply_at(ids, i), NULL));
	return STEP_ASK;
}

/* The i-th job of the phase. ERR_NOT_FOUND: it has been forgotten meanwhile, or its id has been used again and belongs to the
 * group no more. */
static enum err_code read_member(const struct exchange *x, size_t i, struct job_info *job, struct err *e)
{
	enum err_code rc = queue_read_job(exchange_reply(x, i), job, e);
	return rc == ERR_OK && strcmp(job->order.group, x->arg) != 0 ? ERR_NOT_FOUND : rc;
}

/* --- GET /groups/{id} --- */

enum step group_get_ask(struct exchange *x)
{
	return ask_group(x);
}

enum step group_get_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct group_info group;
	struct job_info job;
	if (x->phase == 0)
		return ask_jobs(x);
	if (read_group(x, x->replies[0], &group, &e) != ERR_OK)
		return exchange_fail(x, &e);
	struct buf *b = response_begin(&x->res);
	jout_open(b, '{');
	jout_field(b, "group_id", x->arg);
	jout_field(b, "state", job_state_name(group.state));
	jout_name(b, "jobs");
	jout_open(b, '[');
	for (size_t i = 0; i < reply_count(x->replies[1]); i++) {
		enum err_code rc = read_member(x, i, &job, &e);
		if (rc == ERR_OK)
			handler_job_state(b, reply_text(reply_at(x->replies[1], i), NULL), &job);
		else if (rc != ERR_NOT_FOUND)
			return exchange_fail(x, &e);
	}
	jout_close(b, ']');
	jout_close(b, '}');
	response_end(&x->res);
	return STEP_DONE;
}

/* --- DELETE /groups/{id} --- */

enum step group_delete_ask(struct exchange *x)
{
	struct err e = ERR_INIT;
	bool purge = false;
	if (request_query_flag(&x->req, "purge", &purge, &e) != ERR_OK)
		return exchange_fail(x, &e);
	return ask_group(x);
}

/* Fills specs with the jobs that the group still has. */
static enum err_code collect(
        const struct exchange *x, const struct reply *ids, struct cancel_spec *specs, size_t *n, struct err *e)
{
	struct job_info job;
	*n = 0;
	for (size_t i = 0; i < reply_count(ids); i++) {
		enum err_code rc = read_member(x, i, &job, e);
		if (rc == ERR_OK)
			handler_cancel_spec(&specs[(*n)++], reply_text(reply_at(ids, i), NULL), &job);
		else if (rc != ERR_NOT_FOUND)
			return rc;
	}
	return ERR_OK;
}

static enum step cancel_group(struct exchange *x)
{
	struct err e = ERR_INIT;
	bool purge = false;
	const struct reply *ids = x->replies[x->first - 1]; /* of the phase before */
	size_t n = reply_count(ids);
	if (request_query_flag(&x->req, "purge", &purge, &e) != ERR_OK)
		return exchange_fail(x, &e);
	struct cancel_spec *specs = calloc(n + 1, sizeof *specs);
	if (!specs)
		return exchange_fail_with(x, ERR_NOMEM, "out of memory");
	enum err_code rc = collect(x, ids, specs, &n, &e);
	if (rc == ERR_OK)
		queue_ask_cancel(exchange_command(x), x->app->config->redis.prefix, specs, n, x->arg, purge);
	free(specs);
	return rc == ERR_OK ? STEP_ASK : exchange_fail(x, &e);
}

enum step group_delete_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	if (x->phase % 3 == 0)
		return ask_jobs(x);
	if (x->phase % 3 == 1)
		return cancel_group(x);
	switch (queue_read_cancel(exchange_reply(x, 0), &e)) {
	case ERR_OK:
		return handler_true(x);
	case ERR_NOT_FOUND:
		return exchange_fail_with(x, ERR_NOT_FOUND, "group '%s' has no jobs any more", x->arg);
	case ERR_CONFLICT:
		err_prefix(&e, "group '%s'", x->arg);
		return exchange_fail(x, &e);
	case ERR_TRANSIENT:
		if (++x->tries < HANDLER_TRIES_MAX)
			return ask_group(x);
		return exchange_fail(x, &e);
	default:
		return exchange_fail(x, &e);
	}
}
