#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi/counters.h"
#include "fcgi/handlers.h"
#include "fcgi/job_request.h"
#include "fcgi/prom.h"
#include "fcgi/router.h"
#include "shared/base/parse.h"

/* GET /metrics: phase 0 asks for the fleet's counters (replies[0]) and its workers (replies[1]), phase 1 for the depth of
 * every queue that these, the tasks and the configuration name. */

#define QUEUES_MAX 1000u /* shown; clients name queues */
#define LEASES_ALIVE 3   /* a worker that has shown no sign of life for so many leases is gone */

#define LABEL(n, v) \
	{ \
		.name = (n), .value = (v), .len = strlen(v) \
	}

/* --- the queues --- */

struct queues {
	char (*names)[QUEUE_NAME_MAX + 1];
	size_t n;
};

static void add_queue(struct queues *q, const char *name, size_t len)
{
	if (q->n == QUEUES_MAX || !parse_name(name, len, QUEUE_NAME_MAX))
		return;
	for (size_t i = 0; i < q->n; i++)
		if (strlen(q->names[i]) == len && memcmp(q->names[i], name, len) == 0)
			return;
	memcpy(q->names[q->n], name, len);
	q->names[q->n++][len] = '\0';
}

/* If name is "<kind>|rest": the rest; else NULL. */
static const char *behind(const char *name, const char *kind)
{
	size_t len = strlen(kind);
	return strncmp(name, kind, len) == 0 && name[len] == '|' ? name + len + 1 : NULL;
}

/* The same queues in the same order in both phases, since they come from what phase 0 read. False: no memory. */
static bool find_queues(const struct exchange *x, struct queues *q)
{
	const struct config *c = x->app->config;
	const struct reply *stats = x->replies[0];
	q->n = 0;
	q->names = malloc(QUEUES_MAX * sizeof *q->names);
	if (!q->names)
		return false;
	add_queue(q, c->jobs.default_queue, strlen(c->jobs.default_queue));
	for (size_t i = 0; i < task_set_count(x->tasks); i++) {
		const struct task *t = task_set_at(x->tasks, i);
		if (t->queue)
			add_queue(q, t->queue, strlen(t->queue));
	}
	for (size_t i = 0; i + 1 < reply_count(stats); i += 2) {
		const char *queue = behind(reply_text(reply_at(stats, i), NULL), "accepted");
		if (queue)
			add_queue(q, queue, strcspn(queue, "|"));
	}
	return true;
}

/* --- the fleet's counters --- */

/* Adds a sample for each counter "<kind>|<first>|<second>" (second NULL: "<kind>|<first>"); a task's name is never split. */
static void counters_of(struct buf *b, const struct reply *stats, const char *kind, const char *metric,
        const char *first, const char *second, bool at_last_bar)
{
	for (size_t i = 0; i + 1 < reply_count(stats); i += 2) {
		const char *rest = behind(reply_text(reply_at(stats, i), NULL), kind);
		if (!rest)
			continue;
		const char *bar = second ? (at_last_bar ? strrchr(rest, '|') : strchr(rest, '|')) : NULL;
		if (second && !bar)
			continue;
		struct prom_label labels[2] = {
		        {first, rest, bar ? (size_t)(bar - rest) : strlen(rest)}, {second, NULL, 0}};
		if (bar)
			labels[1] = (struct prom_label){second, bar + 1, strlen(bar + 1)};
		prom_i64(b, metric, labels, bar ? 2 : 1, reply_i64(reply_at(stats, i + 1), 0));
	}
}

static void histogram_of(
        struct buf *b, const struct reply *stats, const char *kind, const char *metric, const char *help)
{
	uint64_t counts[QUEUE_BUCKETS];
	char name[32];
	for (int i = 0; i < QUEUE_BUCKETS; i++) {
		snprintf(name, sizeof name, "%s_le|%d", kind, i);
		int64_t v = reply_i64(reply_field(stats, name), 0);
		counts[i] = v > 0 ? (uint64_t)v : 0;
	}
	snprintf(name, sizeof name, "%s_ms_sum", kind);
	double sum_s = (double)reply_i64(reply_field(stats, name), 0) / 1000;
	prom_histogram(b, metric, help, queue_buckets_s, counts, QUEUE_BUCKETS, sum_s);
}

static void fleet(struct buf *b, const struct reply *stats)
{
	prom_family(b, "dungbeetle_jobs_accepted_total", "counter", "Jobs accepted.");
	counters_of(b, stats, "accepted", "dungbeetle_jobs_accepted_total", "queue", "task", false);
	prom_family(b, "dungbeetle_jobs_finished_total", "counter", "Jobs that ended, by their last state.");
	counters_of(b, stats, "finished", "dungbeetle_jobs_finished_total", "task", "state", true);
	prom_family(b, "dungbeetle_jobs_retried_total", "counter", "Runs that failed and were put back for a retry.");
	counters_of(b, stats, "retried", "dungbeetle_jobs_retried_total", "task", NULL, false);
	prom_family(b, "dungbeetle_results_lost_total", "counter", "Results lost in a crash of their database.");
	counters_of(b, stats, "lost", "dungbeetle_results_lost_total", "task", NULL, false);
	prom_family(b, "dungbeetle_run_deaths_total", "counter", "Runs whose worker died.");
	prom_i64(b, "dungbeetle_run_deaths_total", NULL, 0, reply_i64(reply_field(stats, "died"), 0));
	prom_family(b, "dungbeetle_rows_total", "counter", "Rows written into result tables.");
	prom_i64(b, "dungbeetle_rows_total", NULL, 0, reply_i64(reply_field(stats, "rows"), 0));
	histogram_of(b, stats, "run", "dungbeetle_run_seconds", "Duration of the last run of jobs that ended.");
	histogram_of(b, stats, "wait", "dungbeetle_wait_seconds", "Time from queued (or due) to that run's start.");
}

/* --- queues and workers --- */

static enum err_code depths(const struct exchange *x, struct buf *b, struct err *e)
{
	static const struct {
		const char *name, *help;
	} families[] = {{"dungbeetle_queue_waiting", "Jobs that wait for a slot."},
	        {"dungbeetle_queue_running", "Jobs that a slot has taken."},
	        {"dungbeetle_queue_unstarted", "Jobs not yet started, those that are due later too."},
	        {"dungbeetle_queue_oldest_seconds", "Age of the oldest job that waits for a slot."}};
	struct queues q;
	struct queue_depth depth;
	if (!find_queues(x, &q))
		return err_nomem(e);
	enum err_code rc = ERR_OK;
	for (size_t f = 0; f < 4 && rc == ERR_OK; f++) {
		prom_family(b, families[f].name, "gauge", families[f].help);
		for (size_t i = 0; i < q.n && rc == ERR_OK; i++) {
			struct prom_label label = LABEL("queue", q.names[i]);
			rc = queue_read_depth(exchange_reply(x, i), &depth, e);
			if (rc != ERR_OK)
				break;
			if (f == 3)
				prom_seconds(b, families[f].name, &label, 1, (double)depth.oldest_ms / 1000);
			else
				prom_i64(b, families[f].name, &label, 1,
				        f == 0           ? depth.waiting
				                : f == 1 ? depth.running
				                         : depth.unstarted);
		}
	}
	free(q.names);
	return rc;
}

static int64_t number_of(const struct jin *object, const char *name)
{
	size_t len;
	int64_t v;
	const char *digits = jin_text(jin_field(object, name), &len);
	return parse_i64(digits, len, 0, INT64_MAX, &v) ? v : 0;
}

static void workers(const struct exchange *x, struct buf *b)
{
	const struct reply *all = x->replies[1];
	int64_t alive = 0, slots = 0, running = 0;
	int64_t since = x->now_ms - LEASES_ALIVE * x->app->config->worker.lease_ms;
	for (size_t i = 1; i < reply_count(all); i += 2) {
		const struct jin *w;
		size_t len;
		const char *json = reply_text(reply_at(all, i), &len);
		if (jin_read(x->batch->reader, json, len, &w, NULL) != ERR_OK)
			continue;
		if (number_of(w, "beat_ms") >= since) {
			alive++;
			slots += number_of(w, "slots");
			running += number_of(w, "running");
		}
	}
	prom_family(b, "dungbeetle_workers_alive", "gauge", "Workers that have lately shown a sign of life.");
	prom_i64(b, "dungbeetle_workers_alive", NULL, 0, alive);
	prom_family(b, "dungbeetle_worker_slots", "gauge", "Slots of these workers.");
	prom_i64(b, "dungbeetle_worker_slots", NULL, 0, slots);
	prom_family(b, "dungbeetle_worker_slots_running", "gauge", "Slots of these workers that run a job.");
	prom_i64(b, "dungbeetle_worker_slots_running", NULL, 0, running);
}

/* --- this process --- */

/* Of all threads; first is the counter of the first one. */
static int64_t sum(const struct app *app, const _Atomic uint64_t *first)
{
	uint64_t total = 0;
	for (size_t t = 0; t < app->n_counters; t++) {
		const char *at = (const char *)first + t * sizeof(struct counters);
		total += atomic_load_explicit((const _Atomic uint64_t *)(const void *)at, memory_order_relaxed);
	}
	return (int64_t)total;
}

static const char *method_name(enum method m)
{
	return m == METHOD_GET ? "GET" : m == METHOD_POST ? "POST" : m == METHOD_DELETE ? "DELETE" : "";
}

static void requests(const struct app *app, struct buf *b)
{
	prom_family(b, "dungbeetle_http_requests_total", "counter", "Requests answered by this process.");
	for (size_t r = 0; r < router_count(); r++)
		for (size_t s = 0; s < COUNTERS_STATUSES; s++) {
			int64_t n = sum(app, &app->counters->requests[r][s]);
			if (n == 0)
				continue;
			char status[16] = "other";
			if (s < COUNTERS_STATUSES - 1)
				snprintf(status, sizeof status, "%d", counters_statuses[s]);
			struct prom_label labels[] = {LABEL("method", method_name(router_at(r)->method)),
			        LABEL("route", router_at(r)->pattern), LABEL("status", status)};
			prom_i64(b, "dungbeetle_http_requests_total", labels, 3, n);
		}
}

static void process(const struct app *app, struct buf *b)
{
	double bounds_s[COUNTERS_BUCKETS];
	uint64_t counts[COUNTERS_BUCKETS];
	requests(app, b);
	for (size_t i = 0; i < COUNTERS_BUCKETS; i++) {
		bounds_s[i] = i < COUNTERS_BUCKETS - 1 ? (double)counters_buckets_us[i] / 1e6 : (double)INFINITY;
		counts[i] = (uint64_t)sum(app, &app->counters->took[i]);
	}
	prom_histogram(b, "dungbeetle_http_request_seconds", "Time from a request's arrival to its answer.", bounds_s,
	        counts, COUNTERS_BUCKETS, (double)sum(app, &app->counters->took_us) / 1e6);
	prom_family(b, "dungbeetle_http_turns_total", "counter", "Turns of the event loops that had requests.");
	prom_i64(b, "dungbeetle_http_turns_total", NULL, 0, sum(app, &app->counters->turns));
	prom_family(b, "dungbeetle_http_connections", "gauge", "FastCGI connections open now.");
	prom_i64(b, "dungbeetle_http_connections", NULL, 0, sum(app, &app->counters->connections));
	struct prom_label version = LABEL("version", DUNGBEETLE_VERSION);
	prom_family(b, "dungbeetle_build_info", "gauge", "Always 1; the version is in the label.");
	prom_i64(b, "dungbeetle_build_info", &version, 1, 1);
}

/* --- the handler --- */

enum step metrics_ask(struct exchange *x)
{
	const char *prefix = x->app->config->redis.prefix;
	queue_ask_stats(exchange_command(x), prefix);
	queue_ask_workers(exchange_command(x), prefix);
	return STEP_ASK;
}

static enum step ask_depths(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct queues q;
	if (reply_error(exchange_reply(x, 0), &e) != ERR_OK || reply_error(exchange_reply(x, 1), &e) != ERR_OK)
		return exchange_fail(x, &e);
	if (!find_queues(x, &q))
		return exchange_fail_with(x, ERR_NOMEM, "out of memory");
	for (size_t i = 0; i < q.n; i++)
		queue_ask_depth(exchange_command(x), x->app->config->redis.prefix, q.names[i]);
	free(q.names);
	return STEP_ASK;
}

enum step metrics_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct buf *b = &x->res.body;
	if (x->phase == 0)
		return ask_depths(x);
	buf_reset(b);
	fleet(b, x->replies[0]);
	if (depths(x, b, &e) != ERR_OK)
		return exchange_fail(x, &e);
	workers(x, b);
	process(x->app, b);
	x->res.status = 200;
	x->res.content_type = "text/plain; version=0.0.4; charset=utf-8";
	return STEP_DONE;
}
