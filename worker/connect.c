#include "worker/connect.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "worker/gate.h"
#include "worker/health.h"
#include "worker/place.h"

/* --- the whole worker's --- */

bool connect_open(struct worker *w)
{
	const struct config *c = w->config;
	w->health = health_new(c->n_sources);
	w->source_gates = calloc(c->n_sources + 1, sizeof *w->source_gates);
	w->sink_gates = calloc(c->n_results + 1, sizeof *w->sink_gates);
	if (!w->health || !w->source_gates || !w->sink_gates)
		return false;
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct cfg_source *db = &c->sources[i];
		w->source_gates[i] = gate_new(db->max_active, w->n_slots, db->idle_lifetime_ms);
		if (!w->source_gates[i])
			return false;
	}
	for (size_t i = 0; i < c->n_results; i++) {
		const struct cfg_results *db = &c->results[i];
		w->sink_gates[i] = gate_new(db->max_active, w->n_slots, db->idle_lifetime_ms);
		if (!w->sink_gates[i])
			return false;
	}
	return true;
}

static void close_sources(struct gate *g, bool all)
{
	struct source *source;
	while (g && (source = gate_stale(g, clock_mono_ms(), all))) {
		source->ops->free(source);
		gate_leave(g, NULL, 0);
	}
}

static void close_sinks(struct gate *g, bool all)
{
	struct sink *sink;
	while (g && (sink = gate_stale(g, clock_mono_ms(), all))) {
		sink->ops->free(sink);
		gate_leave(g, NULL, 0);
	}
}

void connect_close_idle(struct worker *w)
{
	for (size_t i = 0; i < w->config->n_sources; i++)
		close_sources(w->source_gates[i], false);
	for (size_t i = 0; i < w->config->n_results; i++)
		close_sinks(w->sink_gates[i], false);
}

void connect_close(struct worker *w)
{
	for (size_t i = 0; w->source_gates && i < w->config->n_sources; i++) {
		close_sources(w->source_gates[i], true);
		gate_free(w->source_gates[i]);
	}
	for (size_t i = 0; w->sink_gates && i < w->config->n_results; i++) {
		close_sinks(w->sink_gates[i], true);
		gate_free(w->sink_gates[i]);
	}
	free(w->source_gates);
	free(w->sink_gates);
	health_free(w->health);
}

/* --- a slot's --- */

static void set_waiting(struct slot *s, struct gate *g, int64_t timeout_ms)
{
	pthread_mutex_lock(&s->lock);
	s->waits_at = g;
	s->deadline_ms = timeout_ms ? clock_mono_ms() + timeout_ms : 0;
	pthread_mutex_unlock(&s->lock);
}

static bool is_stopped(void *ctx)
{
	const struct slot *s = ctx;
	return atomic_load(&s->stop) != STOP_NONE;
}

/* A stop ends the wait: slot_stop kicks the gate that the slot waits at. */
static enum err_code enter(struct slot *s, struct gate *g, int64_t timeout_ms, void **conn, struct err *e)
{
	set_waiting(s, g, timeout_ms);
	bool in = gate_enter(g, is_stopped, s, conn);
	set_waiting(s, NULL, 0);
	enum err_code rc = in ? ERR_OK : slot_stopped(s, timeout_ms, e);
	if (rc != ERR_OK)
		err_prefix(e, "all its connections (max_active) are in use");
	return rc;
}

void connect_leave_source(struct slot *s)
{
	if (s->source_gate)
		gate_leave(s->source_gate, s->source_held, clock_mono_ms());
	s->source_gate = NULL;
	s->source_held = NULL;
}

void connect_leave_sink(struct slot *s)
{
	if (s->sink_gate)
		gate_leave(s->sink_gate, s->sink_held, clock_mono_ms());
	s->sink_gate = NULL;
	s->sink_held = NULL;
}

static void note_health(struct slot *s, const struct cfg_source *cfg, enum err_code rc, const struct err *e)
{
	struct worker *w = s->worker;
	size_t i = (size_t)(cfg - w->config->sources);
	if (rc == ERR_OK && health_up(w->health, i))
		log_info("source is back source=%s", cfg->name);
	else if (rc == ERR_UNAVAILABLE && health_down(w->health, i, clock_mono_ms(), e->text))
		log_warn("source cannot be reached, others are used if there are any source=%s error=\"%s\"", cfg->name,
		        e->text);
}

static enum err_code connect_one(struct slot *s, const struct cfg_source *cfg, int64_t timeout_ms, struct err *e)
{
	struct gate *g = s->worker->source_gates[cfg - s->worker->config->sources];
	void *conn = NULL;
	enum err_code rc = enter(s, g, timeout_ms ? timeout_ms : cfg->timeout_ms, &conn, e);
	if (rc == ERR_OK) {
		s->source_gate = g;
		s->source_held = conn ? conn : driver_source(cfg->engine)->make(cfg);
		rc = s->source_held ? s->source_held->ops->connect(s->source_held, e) : err_nomem(e);
		note_health(s, cfg, rc, e);
	}
	if (rc != ERR_OK)
		connect_leave_source(s);
	return rc;
}

static enum err_code try_source(
        struct slot *s, const struct cfg_source *cfg, const struct work_order *order, struct err *e)
{
	enum err_code rc = place_take(s, cfg, order->before, e);
	if (rc == ERR_OK)
		rc = connect_one(s, cfg, order->job.timeout_ms, e);
	return rc == ERR_OK ? ERR_OK : err_prefix(e, "source '%s'", cfg->name);
}

/* The task's sources that this worker knows, into the slot's scratch; how many. */
static size_t list_sources(struct slot *s, const struct task *task)
{
	const struct config *c = s->worker->config;
	size_t n = 0;
	for (size_t i = 0; i < task->n_dbs && n < c->n_sources; i++) {
		const struct cfg_source *cfg = config_source(c, task->dbs[i]);
		if (cfg)
			s->candidates[n++] = (size_t)(cfg - c->sources);
	}
	return n;
}

/* The one source of a job that names it. */
static size_t list_pinned(struct slot *s, const char *name)
{
	const struct cfg_source *cfg = config_source(s->worker->config, name);
	if (cfg)
		s->candidates[0] = (size_t)(cfg - s->worker->config->sources);
	return cfg ? 1 : 0;
}

/* No job of a database that is down costs it a connection before a little time is over. */
static enum err_code refused_lately(const struct slot *s, struct err *e)
{
	char why[HEALTH_WHY_SIZE];
	health_why(s->worker->health, s->candidates[0], why);
	return err_set(e, ERR_UNAVAILABLE, "source '%s' has refused a connection a moment ago: %s",
	        s->worker->config->sources[s->candidates[0]].name, why);
}

/* One that is full is passed over; when no other takes the job, it waits for a place in any that was. */
static enum err_code try_any(
        struct slot *s, size_t n, const struct work_order *order, const struct cfg_source **cfg, struct err *e)
{
	struct worker *w = s->worker;
	enum err_code rc = ERR_UNAVAILABLE;
	bool rest = true; /* one that is down may be tried, once */
	while (rc == ERR_UNAVAILABLE || rc == ERR_BUSY) {
		uint32_t random = 0;
		ssize_t ignored = getrandom(&random, sizeof random, 0);
		(void)ignored;
		size_t at = health_pick(w->health, s->candidates, n, random, clock_mono_ms(), &rest);
		if (at == HEALTH_NONE && s->n_wanted == 0) /* the last one's error stands, if one was tried */
			return e->code ? rc : refused_lately(s, e);
		place_leave(s);
		if (at == HEALTH_NONE)
			return err_set(e, ERR_BUSY, "all places (max_running) are taken");
		*cfg = &w->config->sources[s->candidates[at]];
		rc = try_source(s, *cfg, order, e);
		s->candidates[at] = s->candidates[--n];
	}
	return rc;
}

/* Puts aside the candidate that keeps a place for the job; NULL: none does. */
static const struct cfg_source *take_kept(struct slot *s, size_t *n, const char *kept)
{
	struct work_place place;
	if (!kept[0] || !place_find(s->worker, kept, &place))
		return NULL;
	for (size_t i = 0; i < *n; i++) {
		const struct cfg_source *cfg = &s->worker->config->sources[s->candidates[i]];
		if (strcmp(place.kind, WORK_PLACE_DB) != 0 || strcmp(cfg->name, place.name) != 0)
			continue;
		s->candidates[i] = s->candidates[--*n];
		return cfg;
	}
	return NULL;
}

enum err_code connect_source(struct slot *s, const struct task *task, const struct work_order *order,
        const struct cfg_source **cfg, struct err *e)
{
	const char *pinned = order->job.db;
	s->n_wanted = 0;
	size_t n = pinned[0] ? list_pinned(s, pinned) : list_sources(s, task);
	if (n == 0 && pinned[0])
		return err_set(e, ERR_UNAVAILABLE, "this worker's configuration has no source '%s'", pinned);
	if (n == 0)
		return err_set(
		        e, ERR_UNAVAILABLE, "this worker's configuration has no source of task '%s'", task->name);
	*cfg = take_kept(s, &n, order->kept);
	enum err_code rc = *cfg ? try_source(s, *cfg, order, e) : ERR_UNAVAILABLE;
	return rc == ERR_UNAVAILABLE || rc == ERR_BUSY ? try_any(s, n, order, cfg, e) : rc;
}

enum err_code connect_sink(struct slot *s, const struct cfg_results *cfg, int64_t timeout_ms, struct err *e)
{
	struct gate *g = s->worker->sink_gates[cfg - s->worker->config->results];
	void *conn = NULL;
	enum err_code rc = enter(s, g, timeout_ms, &conn, e);
	if (rc == ERR_OK) {
		s->sink_gate = g;
		s->sink_held = conn ? conn : driver_sink(cfg->engine)->make(cfg);
		rc = s->sink_held ? ERR_OK : err_nomem(e);
	}
	if (rc == ERR_OK) {
		bool stood = s->sink_held->ops->alive(s->sink_held);
		rc = s->sink_held->ops->connect(s->sink_held, e);
		if (!stood)
			worker_wake(s->worker, WAKE_JANITOR);
	}
	if (rc != ERR_OK) {
		connect_leave_sink(s);
		err_prefix(e, "results database '%s'", cfg->name);
	}
	return rc;
}
