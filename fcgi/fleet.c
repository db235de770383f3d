#include "fcgi/fleet.h"

#include <stdlib.h>
#include <string.h>

#include "fcgi/job_request.h"
#include "shared/base/parse.h"
#include "shared/queue/work.h"

#define QUEUES_MAX 1000u /* shown; clients name queues */
#define LEASES_ALIVE 3   /* a worker that has shown no sign of life for so many leases is gone */

/* --- which queues and sources --- */

static void add_queue(const struct exchange *x, struct fleet *f, const char *name, size_t len)
{
	if (f->n_queues == QUEUES_MAX || !parse_name(name, len, QUEUE_NAME_MAX))
		return;
	for (size_t i = 0; i < f->n_queues; i++)
		if (strlen(f->queues[i].name) == len && memcmp(f->queues[i].name, name, len) == 0)
			return;
	struct fleet_queue *q = &f->queues[f->n_queues++];
	memcpy(q->name, name, len);
	q->places.most = config_queue_max_running(x->app->config, q->name);
}

/* The same in the same order in both phases, since they come from what phase 0 read. */
static enum err_code find(const struct exchange *x, struct fleet *f, struct err *e)
{
	const struct config *c = x->app->config;
	const struct reply *stats = x->replies[0];
	*f = (struct fleet){.queues = calloc(QUEUES_MAX, sizeof *f->queues),
	        .sources = calloc(c->n_sources + 1, sizeof *f->sources)};
	if (!f->queues || !f->sources)
		return err_nomem(e);
	add_queue(x, f, c->jobs.default_queue, strlen(c->jobs.default_queue));
	for (size_t i = 0; i < c->jobs.n_max_running; i++)
		add_queue(x, f, c->jobs.max_running[i].name, strlen(c->jobs.max_running[i].name));
	for (size_t i = 0; i < task_set_count(x->tasks); i++) {
		const struct task *t = task_set_at(x->tasks, i);
		if (t->queue)
			add_queue(x, f, t->queue, strlen(t->queue));
	}
	for (size_t i = 0; i + 1 < reply_count(stats); i += 2) {
		const char *field = reply_text(reply_at(stats, i), NULL);
		if (strncmp(field, "accepted|", 9) == 0)
			add_queue(x, f, field + 9, strcspn(field + 9, "|"));
	}
	for (size_t i = 0; i < c->n_sources; i++)
		f->sources[f->n_sources++] =
		        (struct fleet_source){.name = c->sources[i].name, .places.most = c->sources[i].max_running};
	return ERR_OK;
}

/* --- asking --- */

enum step fleet_ask(struct exchange *x)
{
	const char *prefix = x->app->config->redis.prefix;
	queue_ask_stats(exchange_command(x), prefix);
	queue_ask_workers(exchange_command(x), prefix);
	return STEP_ASK;
}

enum step fleet_ask_more(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct fleet f;
	const char *prefix = x->app->config->redis.prefix;
	if (reply_error(exchange_reply(x, 0), &e) != ERR_OK || reply_error(exchange_reply(x, 1), &e) != ERR_OK)
		return exchange_fail(x, &e);
	enum err_code rc = find(x, &f, &e);
	for (size_t i = 0; rc == ERR_OK && i < f.n_queues; i++) {
		queue_ask_depth(exchange_command(x), prefix, f.queues[i].name);
		if (f.queues[i].places.most)
			queue_ask_places(exchange_command(x), prefix, WORK_PLACE_QUEUE, f.queues[i].name);
	}
	for (size_t i = 0; rc == ERR_OK && i < f.n_sources; i++)
		if (f.sources[i].places.most)
			queue_ask_places(exchange_command(x), prefix, WORK_PLACE_DB, f.sources[i].name);
	fleet_fini(&f);
	return rc == ERR_OK ? STEP_ASK : exchange_fail(x, &e);
}

/* --- reading --- */

static enum err_code read_places(const struct exchange *x, size_t *at, struct fleet_places *p, struct err *e)
{
	return p->most ? queue_read_places(exchange_reply(x, (*at)++), &p->running, &p->waiting, e) : ERR_OK;
}

static int64_t number_of(const struct jin *object, const char *name)
{
	size_t len;
	int64_t v;
	const char *digits = jin_text(jin_field(object, name), &len);
	return parse_i64(digits, len, 0, INT64_MAX, &v) ? v : 0;
}

static void read_workers(const struct exchange *x, struct fleet *f)
{
	const struct reply *all = x->replies[1];
	int64_t since = x->now_ms - LEASES_ALIVE * x->app->config->worker.lease_ms;
	for (size_t i = 1; i < reply_count(all); i += 2) {
		const struct jin *w;
		size_t len;
		const char *json = reply_text(reply_at(all, i), &len);
		if (jin_read(x->batch->reader, json, len, &w, NULL) != ERR_OK)
			continue;
		if (number_of(w, "beat_ms") >= since) {
			f->workers_alive++;
			f->slots += number_of(w, "slots");
			f->slots_running += number_of(w, "running");
			for (size_t s = 0; s < f->n_sources; s++)
				f->sources[s].paused += number_of(jin_field(w, "paused"), f->sources[s].name);
		}
	}
}

enum err_code fleet_read(const struct exchange *x, struct fleet *out, struct err *e)
{
	size_t at = 0;
	enum err_code rc = find(x, out, e);
	for (size_t i = 0; rc == ERR_OK && i < out->n_queues; i++) {
		rc = queue_read_depth(exchange_reply(x, at++), &out->queues[i].depth, e);
		if (rc == ERR_OK)
			rc = read_places(x, &at, &out->queues[i].places, e);
	}
	for (size_t i = 0; rc == ERR_OK && i < out->n_sources; i++)
		rc = read_places(x, &at, &out->sources[i].places, e);
	if (rc == ERR_OK)
		read_workers(x, out);
	return rc;
}

void fleet_fini(struct fleet *f)
{
	free(f->queues);
	free(f->sources);
}
