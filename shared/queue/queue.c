#include "shared/queue/queue.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/parse.h"

const double queue_buckets_s[QUEUE_BUCKETS] = {
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, INFINITY};

static const char *const state_names[] = {"PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE"};

const char *job_state_name(enum job_state s)
{
	return state_names[s];
}

bool job_state_parse(const char *text, enum job_state *out)
{
	for (int i = 0; i < 5; i++)
		if (strcmp(text, state_names[i]) == 0) {
			*out = (enum job_state)i;
			return true;
		}
	return false;
}

/* One job's arguments of enqueue.lua. */
static void add_job(struct cmd *c, const struct job_spec *j, const char *group_id)
{
	cmd_addstr(c, j->id);
	cmd_addi64(c, j->eta_ms);
	cmd_addstr(c, j->error ? j->error : "");
	cmd_addstr(c, j->task);
	cmd_addstr(c, j->queue);
	spec_add(c, j, group_id);
}

/* One job that is to run at once. */
static void ask_accept(struct cmd *c, const char *prefix, const struct job_spec *j)
{
	const char *counter[] = {"accepted|", j->queue, "|", j->task};
	cmd_script(c, SCRIPT_ACCEPT, 3);
	cmd_durable(c);
	cmd_addkey(c, prefix, "queue:", j->queue);
	cmd_addkey(c, prefix, "stats", NULL);
	cmd_joins(c);
	cmd_addkey(c, prefix, "job:", j->id);
	cmd_args(c);
	cmd_addstr(c, j->id);
	cmd_addstr(c, j->fresh_id ? "1" : "0");
	cmd_addparts(c, counter, 4);
	spec_add(c, j, NULL);
}

static void add_group_keys(struct cmd *c, const char *prefix, const char *group_id)
{
	static const char *const parts[] = {"", ":jobs", ":wait"};
	for (int i = 0; i < 3; i++) {
		char key[16 + QUEUE_NAME_MAX];
		snprintf(key, sizeof key, "group:%s%s", group_id, parts[i]);
		cmd_addkey(c, prefix, key, NULL);
	}
}

void queue_ask_enqueue(struct cmd *c, const char *prefix, const struct job_spec *jobs, size_t n, const char *group_id,
        int64_t concurrency, int64_t state_ttl_ms)
{
	const char *group = group_id ? group_id : "";
	if (n == 1 && !group_id && jobs->eta_ms == 0 && !jobs->error) {
		ask_accept(c, prefix, jobs);
		return;
	}
	cmd_script(c, SCRIPT_ENQUEUE, 5 + 3 * n);
	cmd_durable(c);
	cmd_addkey(c, prefix, "stats", NULL);
	cmd_addkey(c, prefix, "scheduled", NULL);
	add_group_keys(c, prefix, group);
	for (size_t i = 0; i < n; i++) {
		cmd_addkey(c, prefix, "job:", jobs[i].id);
		cmd_addkey(c, prefix, "queue:", jobs[i].queue);
		cmd_addkey(c, prefix, "waiting:", jobs[i].queue);
	}
	cmd_addi64(c, (int64_t)n);
	cmd_addstr(c, group);
	cmd_addi64(c, concurrency);
	cmd_addi64(c, state_ttl_ms);
	cmd_addkey(c, prefix, "wake", NULL);
	for (size_t i = 0; i < n; i++)
		add_job(c, &jobs[i], group_id);
}

/* The first word of a script's answer; "" when it is none. */
static const char *verdict(const struct reply *r)
{
	return reply_text(reply_at(r, 0), NULL);
}

static enum err_code unexpected(const struct reply *r, const char *what, struct err *e)
{
	enum err_code rc = reply_error(r, e);
	return rc != ERR_OK ? rc : err_set(e, ERR_UNAVAILABLE, "Redis: unexpected answer to %s", what);
}

enum err_code queue_read_enqueue(const struct reply *r, struct err *e)
{
	if (strcmp(verdict(r), "OK") == 0)
		return ERR_OK;
	if (strcmp(verdict(r), "CONFLICT") == 0)
		return err_set(e, ERR_CONFLICT, "%s '%s' is already pending or running",
		        reply_text(reply_at(r, 1), NULL), reply_text(reply_at(r, 2), NULL));
	return unexpected(r, "enqueue", e);
}

static const char *const job_fields[] = {"state", "spec", "table", "worker", "error", "rows", "attempt", "retried",
        "run", "queued_at", "started_at", "finished_at", "expires_at", "entry"};
#define JOB_FIELDS (sizeof job_fields / sizeof *job_fields)

void queue_ask_job(struct cmd *c, const char *prefix, const char *id)
{
	cmd_addstr(c, "HMGET");
	cmd_addkey(c, prefix, "job:", id);
	for (size_t i = 0; i < JOB_FIELDS; i++)
		cmd_addstr(c, job_fields[i]);
}

/* The time in a stream entry's id, "<ms>-<n>"; 0 when there is none. */
static int64_t entry_ms(const char *entry)
{
	int64_t ms;
	return parse_i64(entry, strcspn(entry, "-"), 0, INT64_MAX, &ms) ? ms : 0;
}

enum err_code queue_read_job(const struct reply *r, struct job_info *out, struct err *e)
{
	if (reply_count(r) != JOB_FIELDS)
		return unexpected(r, "job", e);
	if (!job_state_parse(reply_text(reply_at(r, 0), NULL), &out->state))
		return ERR_NOT_FOUND;
	spec_read(reply_text(reply_at(r, 1), NULL), &out->order);
	const char **texts[] = {&out->table, &out->worker, &out->error};
	for (size_t i = 0; i < 3; i++)
		*texts[i] = reply_text(reply_at(r, 2 + i), NULL);
	int64_t *numbers[] = {&out->rows, &out->attempt, &out->retried, &out->run, &out->queued_ms, &out->started_ms,
	        &out->finished_ms, &out->expires_ms};
	for (size_t i = 0; i < 8; i++)
		*numbers[i] = reply_i64(reply_at(r, 5 + i), 0);
	if (out->queued_ms == 0) /* it has not begun yet: accept.lua */
		out->queued_ms = entry_ms(reply_text(reply_at(r, 13), NULL));
	return ERR_OK;
}

void queue_ask_list(struct cmd *c, const char *prefix, const char *queue, const char *after, int64_t limit)
{
	cmd_script(c, SCRIPT_LIST, 4);
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addkey(c, prefix, "waiting:", queue);
	cmd_addkey(c, prefix, "job:", after);
	cmd_addkey(c, prefix, "parked:", queue);
	cmd_addstr(c, after);
	cmd_addi64(c, limit);
}

void queue_ask_group(struct cmd *c, const char *prefix, const char *group_id)
{
	cmd_addstr(c, "HMGET");
	cmd_addkey(c, prefix, "group:", group_id);
	cmd_addstr(c, "n");
	cmd_addstr(c, "began");
	cmd_addstr(c, "success");
	cmd_addstr(c, "failure");
}

enum err_code queue_read_group(const struct reply *r, struct group_info *out, struct err *e)
{
	if (reply_count(r) != 4)
		return unexpected(r, "group", e);
	out->n = reply_i64(reply_at(r, 0), -1);
	if (out->n < 0)
		return ERR_NOT_FOUND;
	int64_t success = reply_i64(reply_at(r, 2), 0), failure = reply_i64(reply_at(r, 3), 0);
	if ((uint64_t)success + (uint64_t)failure >= (uint64_t)out->n)
		out->state = failure ? JOB_FAILURE : JOB_SUCCESS;
	else
		out->state = reply_i64(reply_at(r, 1), 0) ? JOB_STARTED : JOB_PENDING;
	return ERR_OK;
}

void queue_ask_group_jobs(struct cmd *c, const char *prefix, const char *group_id)
{
	char key[16 + QUEUE_NAME_MAX];
	snprintf(key, sizeof key, "group:%s:jobs", group_id);
	cmd_addstr(c, "LRANGE");
	cmd_addkey(c, prefix, key, NULL);
	cmd_addstr(c, "0");
	cmd_addstr(c, "-1");
}

void queue_ask_cancel(
        struct cmd *c, const char *prefix, const struct cancel_spec *jobs, size_t n, const char *group_id, bool purge)
{
	const char *group = group_id ? group_id : n ? jobs[0].group : "";
	cmd_script(c, SCRIPT_CANCEL, 6 + 3 * n);
	cmd_durable(c);
	cmd_addkey(c, prefix, "scheduled", NULL);
	cmd_addkey(c, prefix, "purges", NULL);
	add_group_keys(c, prefix, group);
	cmd_addkey(c, prefix, "runs", NULL);
	for (size_t i = 0; i < n; i++) {
		cmd_addkey(c, prefix, "job:", jobs[i].id);
		cmd_addkey(c, prefix, "waiting:", jobs[i].queue);
		cmd_addkey(c, prefix, "parked:", jobs[i].queue);
	}
	cmd_addi64(c, (int64_t)n);
	cmd_addstr(c, group);
	cmd_addstr(c, group_id ? "1" : "0");
	cmd_addstr(c, purge ? "1" : "0");
	cmd_addkey(c, prefix, "cancel", NULL);
	cmd_addkey(c, prefix, "wake", NULL);
	for (size_t i = 0; i < n; i++) {
		cmd_addstr(c, jobs[i].id);
		cmd_addstr(c, jobs[i].queue);
	}
}

enum err_code queue_read_cancel(const struct reply *r, struct err *e)
{
	const char *v = verdict(r);
	if (strcmp(v, "OK") == 0)
		return ERR_OK;
	if (strcmp(v, "GONE") == 0)
		return err_set(e, ERR_NOT_FOUND, "no such job");
	if (strcmp(v, "FINISHED") == 0)
		return err_set(e, ERR_CONFLICT, "already finished; add ?purge=true to forget it and drop its result");
	if (strcmp(v, "CHANGED") == 0)
		return err_set(e, ERR_TRANSIENT, "changed meanwhile");
	return unexpected(r, "cancel", e);
}

void queue_ask_health(struct cmd *c)
{
	cmd_script(c, SCRIPT_HEALTH, 0);
}

enum err_code queue_read_health(const struct reply *r, struct err *e)
{
	return strcmp(verdict(r), "OK") == 0 ? ERR_OK : unexpected(r, "health", e);
}

void queue_ask_stats(struct cmd *c, const char *prefix)
{
	cmd_addstr(c, "HGETALL");
	cmd_addkey(c, prefix, "stats", NULL);
}

void queue_ask_depth(struct cmd *c, const char *prefix, const char *queue)
{
	cmd_script(c, SCRIPT_DEPTH, 3);
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addkey(c, prefix, "waiting:", queue);
	cmd_addkey(c, prefix, "parked:", queue);
}

enum err_code queue_read_depth(const struct reply *r, struct queue_depth *out, struct err *e)
{
	if (reply_count(r) != 5)
		return unexpected(r, "depth", e);
	out->waiting = reply_i64(reply_at(r, 0), 0);
	out->running = reply_i64(reply_at(r, 1), 0);
	out->unstarted = reply_i64(reply_at(r, 2), 0);
	out->oldest_ms = reply_i64(reply_at(r, 3), 0);
	out->parked = reply_i64(reply_at(r, 4), 0);
	return ERR_OK;
}

void queue_ask_places(struct cmd *c, const char *prefix, const char *kind, const char *name)
{
	const char *running[] = {prefix, "running:", kind, name}, *wanting[] = {prefix, "wanting:", kind, name};
	cmd_script(c, SCRIPT_PLACES, 2);
	cmd_addparts(c, running, 4);
	cmd_addparts(c, wanting, 4);
}

enum err_code queue_read_places(const struct reply *r, int64_t *running, int64_t *waiting, struct err *e)
{
	if (reply_count(r) != 2)
		return unexpected(r, "places", e);
	*running = reply_i64(reply_at(r, 0), 0);
	*waiting = reply_i64(reply_at(r, 1), 0);
	return ERR_OK;
}

void queue_ask_workers(struct cmd *c, const char *prefix)
{
	cmd_addstr(c, "HGETALL");
	cmd_addkey(c, prefix, "workers", NULL);
}
