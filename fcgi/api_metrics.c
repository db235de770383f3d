#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fcgi/counters.h"
#include "fcgi/fleet.h"
#include "fcgi/handlers.h"
#include "fcgi/prom.h"
#include "fcgi/router.h"

/* GET /metrics: what fleet.h asks for, its counters in replies[0]. */

#define LABEL(n, v) \
	{ \
		.name = (n), .value = (v), .len = strlen(v) \
	}

/* If name is "<kind>|rest": the rest; else NULL. */
static const char *behind(const char *name, const char *kind)
{
	size_t len = strlen(kind);
	return strncmp(name, kind, len) == 0 && name[len] == '|' ? name + len + 1 : NULL;
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

static void counters(struct buf *b, const struct reply *stats)
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

/* A gauge with one sample for each queue: the number at that offset of its depth. */
static void gauge_of(
        struct buf *b, const struct fleet *f, const char *name, const char *help, size_t offset, bool seconds)
{
	prom_family(b, name, "gauge", help);
	for (size_t i = 0; i < f->n_queues; i++) {
		struct prom_label label = LABEL("queue", f->queues[i].name);
		int64_t v = *(const int64_t *)(const void *)((const char *)&f->queues[i].depth + offset);
		if (seconds)
			prom_seconds(b, name, &label, 1, (double)v / 1000);
		else
			prom_i64(b, name, &label, 1, v);
	}
}

static void queues(struct buf *b, const struct fleet *f)
{
	gauge_of(b, f, "dungbeetle_queue_waiting", "Jobs that wait for a slot or for a place.",
	        offsetof(struct queue_depth, waiting), false);
	gauge_of(b, f, "dungbeetle_queue_running", "Jobs that a slot has taken.", offsetof(struct queue_depth, running),
	        false);
	gauge_of(b, f, "dungbeetle_queue_unstarted", "Jobs not yet started, those that are due later too.",
	        offsetof(struct queue_depth, unstarted), false);
	gauge_of(b, f, "dungbeetle_queue_oldest_seconds", "Age of the oldest job that waits for a slot or for a place.",
	        offsetof(struct queue_depth, oldest_ms), true);
	gauge_of(b, f, "dungbeetle_queue_parked", "Jobs that wait for a place in their source or in the queue.",
	        offsetof(struct queue_depth, parked), false);
	prom_family(
	        b, "dungbeetle_queue_max_running", "gauge", "How many jobs of the queue may run at once; 0: no limit.");
	for (size_t i = 0; i < f->n_queues; i++) {
		struct prom_label label = LABEL("queue", f->queues[i].name);
		prom_i64(b, "dungbeetle_queue_max_running", &label, 1, f->queues[i].places.most);
	}
}

enum source_gauge { RUNNING, WAITING, MAX_RUNNING, PAUSED };

static int64_t of_source(const struct fleet_source *s, enum source_gauge which)
{
	return which == RUNNING        ? s->places.running
	        : which == WAITING     ? s->places.waiting
	        : which == MAX_RUNNING ? s->places.most
	                               : s->paused;
}

static void sources(struct buf *b, const struct fleet *f)
{
	static const struct {
		const char *name, *help;
		enum source_gauge which;
	} gauges[] = {{"dungbeetle_source_running", "Jobs that have a place in the source (max_running).", RUNNING},
	        {"dungbeetle_source_waiting", "Jobs that wait for a place in the source.", WAITING},
	        {"dungbeetle_source_max_running", "How many jobs may run in the source at once; 0: no limit.",
	                MAX_RUNNING},
	        {"dungbeetle_source_paused", "Workers that the source refuses: its jobs wait.", PAUSED}};
	for (size_t g = 0; g < sizeof gauges / sizeof *gauges; g++) {
		bool counted = gauges[g].which == RUNNING || gauges[g].which == WAITING;
		prom_family(b, gauges[g].name, "gauge", gauges[g].help);
		for (size_t i = 0; i < f->n_sources; i++) {
			struct prom_label label = LABEL("db", f->sources[i].name);
			if (!counted || f->sources[i].places.most)
				prom_i64(b, gauges[g].name, &label, 1, of_source(&f->sources[i], gauges[g].which));
		}
	}
}

static void workers(struct buf *b, const struct fleet *f)
{
	prom_family(b, "dungbeetle_workers_alive", "gauge", "Workers that have lately shown a sign of life.");
	prom_i64(b, "dungbeetle_workers_alive", NULL, 0, f->workers_alive);
	prom_family(b, "dungbeetle_worker_slots", "gauge", "Slots of these workers.");
	prom_i64(b, "dungbeetle_worker_slots", NULL, 0, f->slots);
	prom_family(b, "dungbeetle_worker_slots_running", "gauge", "Slots of these workers that run a job.");
	prom_i64(b, "dungbeetle_worker_slots_running", NULL, 0, f->slots_running);
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

enum step metrics_answer(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct buf *b = &x->res.body;
	struct fleet f;
	if (x->phase == 0)
		return fleet_ask_more(x);
	if (fleet_read(x, &f, &e) != ERR_OK) {
		fleet_fini(&f);
		return exchange_fail(x, &e);
	}
	buf_reset(b);
	counters(b, x->replies[0]);
	queues(b, &f);
	sources(b, &f);
	workers(b, &f);
	process(x->app, b);
	fleet_fini(&f);
	x->res.status = 200;
	x->res.content_type = "text/plain; version=0.0.4; charset=utf-8";
	return STEP_DONE;
}
