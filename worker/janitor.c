/* The janitor: what is to be done in the results databases beside the runs. Drops the tables of deleted jobs (purges),
 * after a crash of a results server tells the jobs whose results that cost, and closes the runs' connections that have
 * idled for too long. One thread, connections of its own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/parse.h"
#include "worker/connect.h"

#define ROUND_MS 2000
#define AWAY_MS 500 /* the same while a results database is away: when it is back it may have to be mended at once */

struct janitor {
	struct worker *w;
	struct redis *redis;
	size_t n;            /* results databases */
	struct sink **sinks; /* by the index of the configuration */
	bool *away;          /* said once that it cannot be reached */
	struct cmd cmd;
};

static const char *prefix(const struct janitor *j)
{
	return j->w->config->redis.prefix;
}

static enum err_code call(struct janitor *j, struct reply **reply, struct err *e)
{
	*reply = NULL;
	enum err_code rc = redis_call(j->redis, &j->cmd, reply, e);
	cmd_reset(&j->cmd);
	return rc;
}

/* --- purges --- */

/* value: "<run> <results database>". True: done, or nothing that this worker can do. */
static bool purge(struct janitor *j, const char *id, const char *value)
{
	const struct config *c = j->w->config;
	struct err e = ERR_INIT;
	const char *space = strchr(value, ' ');
	int64_t run;
	if (!space || !parse_i64(value, (size_t)(space - value), 1, INT64_MAX, &run))
		return true;
	const struct cfg_results *cfg = config_results(c, space + 1);
	if (!cfg || j->away[cfg - c->results])
		return false; /* another worker's, or to be done when it is back */
	struct sink *sink = j->sinks[cfg - c->results];
	if (sink->ops->purge(sink, id, run, &e) != ERR_OK) {
		log_warn("purge waits job=%s results=%s error=\"%s\"", id, cfg->name, e.text);
		return false;
	}
	log_info("result purged job=%s results=%s", id, cfg->name);
	return true;
}

static void do_purges(struct janitor *j)
{
	struct reply *list;
	work_ask_purges(&j->cmd, prefix(j));
	if (call(j, &list, NULL) != ERR_OK)
		return;
	for (size_t i = 0; i + 1 < reply_count(list) && !atomic_load(&j->w->stopping); i += 2) {
		const char *id = reply_text(reply_at(list, i), NULL), *value = reply_text(reply_at(list, i + 1), NULL);
		struct reply *reply;
		if (!purge(j, id, value))
			continue;
		work_ask_settle(&j->cmd, prefix(j), id, value);
		if (call(j, &reply, NULL) == ERR_OK)
			reply_free(reply);
	}
	reply_free(list);
}

/* --- losses --- */

struct loss {
	struct janitor *j;
	const char *results;
	int64_t count;
};

static void lose(void *ctx, const char *job_id, int64_t run)
{
	struct loss *loss = ctx;
	struct janitor *j = loss->j;
	char text[256];
	struct reply *reply;
	snprintf(text, sizeof text, RESULT_LOST, loss->results);
	work_ask_lose(&j->cmd, prefix(j), job_id, run, text);
	if (call(j, &reply, NULL) != ERR_OK)
		return;
	loss->count += reply_i64(reply, 0);
	reply_free(reply);
}

/* A job that says SUCCESS, whose result should still be there: is it? (Commits that did not wait for the disk may have
 * been taken back, table, registry row and all.) */
static enum err_code look_at(struct janitor *j, struct loss *loss, struct sink *sink, const char *id, struct err *e)
{
	struct job_info job;
	struct reply *reply;
	bool has = true;
	queue_ask_job(&j->cmd, prefix(j), id);
	enum err_code rc = call(j, &reply, e);
	if (rc != ERR_OK)
		return rc;
	if (queue_read_job(reply, &job, NULL) == ERR_OK && job.state == JOB_SUCCESS &&
	        strcmp(job.order.results, loss->results) == 0 && job.expires_ms > clock_wall_ms())
		rc = sink->ops->has_result(sink, id, job.run, &has, e);
	if (rc == ERR_OK && !has)
		lose(loss, id, job.run);
	reply_free(reply);
	return rc;
}

static enum err_code look_at_all(struct janitor *j, struct loss *loss, struct sink *sink, struct err *e)
{
	char cursor[32] = "0";
	enum err_code rc = ERR_OK;
	do {
		struct reply *page;
		work_ask_scan(&j->cmd, prefix(j), cursor);
		rc = call(j, &page, e);
		if (rc != ERR_OK)
			return rc;
		snprintf(cursor, sizeof cursor, "%s", reply_text(reply_at(page, 0), NULL));
		const struct reply *keys = reply_at(page, 1);
		for (size_t i = 0; rc == ERR_OK && i < reply_count(keys); i++)
			rc = look_at(j, loss, sink, work_scanned_id(prefix(j), reply_text(reply_at(keys, i), NULL)), e);
		reply_free(page);
	} while (rc == ERR_OK && strcmp(cursor, "0") != 0);
	return rc;
}

static void check_results(struct janitor *j, size_t i)
{
	struct sink *sink = j->sinks[i];
	struct loss loss = {.j = j, .results = j->w->config->results[i].name};
	struct err e = ERR_INIT;
	bool crashed = false;
	enum err_code rc = sink->ops->recover(sink, &crashed, lose, &loss, &e);
	if (rc == ERR_OK && crashed) {
		rc = look_at_all(j, &loss, sink, &e);
		if (rc == ERR_OK)
			rc = sink->ops->recovered(sink, &e);
		if (rc == ERR_OK)
			log_warn("the results server had crashed results=%s results_lost=%lld", loss.results,
			        (long long)loss.count);
	}
	if (rc != ERR_OK && !j->away[i])
		log_warn("results database cannot be checked results=%s error=\"%s\"", loss.results, e.text);
	else if (rc == ERR_OK && j->away[i])
		log_info("results database is back results=%s", loss.results);
	j->away[i] = rc != ERR_OK;
}

static bool set_up(struct janitor *j)
{
	const struct config *c = j->w->config;
	j->redis = redis_new(c);
	j->n = c->n_results;
	j->sinks = calloc(j->n + 1, sizeof *j->sinks);
	j->away = calloc(j->n + 1, sizeof *j->away);
	if (!j->redis || !j->sinks || !j->away)
		return false;
	for (size_t i = 0; i < j->n; i++) {
		j->sinks[i] = driver_sink(c->results[i].engine)->make(&c->results[i]);
		if (!j->sinks[i])
			return false;
	}
	return true;
}

static bool any_away(const struct janitor *j)
{
	bool any = false;
	for (size_t i = 0; i < j->n; i++)
		any = any || j->away[i];
	return any;
}

void *janitor_main(void *ctx)
{
	struct janitor j = {.w = ctx};
	cmd_init(&j.cmd);
	if (!set_up(&j)) {
		log_error("janitor: out of memory");
		abort(); /* at the start only: without it purges would never end */
	}
	while (!atomic_load(&j.w->stopping)) {
		for (size_t i = 0; i < j.n && !atomic_load(&j.w->stopping); i++)
			check_results(&j, i);
		do_purges(&j);
		connect_close_idle(j.w);
		worker_wait(j.w, WAKE_JANITOR, any_away(&j) ? AWAY_MS : ROUND_MS, &j.w->stopping);
	}
	for (size_t i = 0; i < j.n; i++)
		j.sinks[i]->ops->free(j.sinks[i]);
	free(j.sinks);
	free(j.away);
	cmd_fini(&j.cmd);
	redis_free(j.redis);
	return NULL;
}
