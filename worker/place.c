#include "worker/place.h"

#include <string.h>

#include "shared/base/log.h"
#include "shared/queue/place.h"

#define REDIS_PAUSE_MS 200
#define TURN_PAUSE_MS 2 /* before asking again while older jobs are about to ask */
#define TASKS_TEXT_MAX ((size_t)16 << 20)
#define LEASES \
	2 /* that a place outlives its last confirmation: one more than the job, so that it comes back with a run */

static const char *prefix(const struct slot *s)
{
	return s->worker->config->redis.prefix;
}

bool place_find(const struct worker *w, const char *thing, struct work_place *out)
{
	const struct config *c = w->config;
	if (!work_parse_thing(thing, out))
		return false;
	if (strcmp(out->kind, WORK_PLACE_QUEUE) == 0) {
		out->most = config_queue_max_running(c, out->name);
		return true;
	}
	const struct cfg_source *cfg = config_source(c, out->name);
	if (cfg)
		*out = (struct work_place){.kind = WORK_PLACE_DB, .name = cfg->name, .most = cfg->max_running};
	return cfg != NULL;
}

int64_t place_lease_ms(const struct worker *w)
{
	return LEASES * w->config->worker.lease_ms;
}

/* From now on the keeper renews these and finish gives them back. */
static void hold(struct slot *s, const struct work_lease *lease)
{
	pthread_mutex_lock(&s->lock);
	memcpy(s->lease.places, lease->places, sizeof s->lease.places);
	s->lease.n_places = lease->n_places;
	s->lease.place_ms = lease->place_ms;
	pthread_mutex_unlock(&s->lock);
}

static void want(struct slot *s, const struct work_place *place)
{
	for (size_t i = 0; i < s->n_wanted; i++)
		if (s->wanted[i].kind == place->kind && strcmp(s->wanted[i].name, place->name) == 0)
			return;
	s->wanted[s->n_wanted++] = *place;
}

/* The tasks that no other source can run, as work_ask_take wants them. */
static void add_only_there(const struct worker *w, const struct cfg_source *cfg, struct buf *out)
{
	struct task_set *set = task_holder_get(w->tasks);
	for (size_t i = 0; i < task_set_count(set); i++) {
		const struct task *task = task_set_at(set, i);
		if (task->n_dbs == 1 && strcmp(task->dbs[0], cfg->name) == 0)
			buf_addf(out, "%s%s\n", out->len ? "" : "\n", task->name);
	}
	task_set_unref(set);
}

/* One attempt. */
static enum err_code ask_take(struct slot *s, const struct work_lease *lease, int64_t before, const char *source,
        const char *only_there, bool full[WORK_PLACES_MAX], struct err *e)
{
	struct cmd c;
	struct reply *reply = NULL;
	cmd_init(&c);
	work_ask_take(&c, prefix(s), lease, before, source, only_there);
	enum err_code rc = redis_call(s->redis, &c, &reply, e);
	if (rc == ERR_OK)
		rc = work_read_take(reply, full, e);
	reply_free(reply);
	cmd_fini(&c);
	return rc;
}

enum err_code place_take(struct slot *s, const struct cfg_source *cfg, int64_t before, struct err *e)
{
	struct work_lease lease = s->lease;
	bool full[WORK_PLACES_MAX] = {false};
	lease.n_places = 0;
	lease.place_ms = place_lease_ms(s->worker);
	if (cfg->max_running)
		lease.places[lease.n_places++] =
		        (struct work_place){.kind = WORK_PLACE_DB, .name = cfg->name, .most = cfg->max_running};
	if (s->queue->max_running)
		lease.places[lease.n_places++] = (struct work_place){
		        .kind = WORK_PLACE_QUEUE, .name = s->queue->name, .most = s->queue->max_running};
	if (lease.n_places == 0)
		return ERR_OK;
	struct buf only_there;
	buf_init(&only_there, TASKS_TEXT_MAX);
	if (cfg->max_running)
		add_only_there(s->worker, cfg, &only_there);
	enum err_code rc;
	while ((rc = ask_take(s, &lease, before, cfg->name, buf_str(&only_there), full, e)) == ERR_CONFLICT) {
		worker_wait(s->worker, 0, TURN_PAUSE_MS, &s->worker->hurrying);
		rc = slot_stopped(s, 0, e);
		if (rc != ERR_OK)
			break;
	}
	buf_fini(&only_there);
	if (rc != ERR_BUSY)
		hold(s, &lease); /* or perhaps: when the answer was lost */
	else
		want(s, &lease.places[full[0] ? 0 : 1]);
	return rc;
}

static void tidy(struct slot *s, const struct work_place *place, const struct work_entry *entry, int64_t run)
{
	struct cmd c;
	struct reply *reply = NULL;
	cmd_init(&c);
	work_ask_tidy(&c, prefix(s), place, place_lease_ms(s->worker), entry, run);
	if (redis_call(s->redis, &c, &reply, NULL) == ERR_UNAVAILABLE)
		s->recheck = true;
	reply_free(reply);
	cmd_fini(&c);
}

void place_leave(struct slot *s)
{
	const struct work_lease held = s->lease, none = {.n_places = 0};
	struct work_entry entry = {0};
	if (held.n_places == 0)
		return;
	hold(s, &none);
	memcpy(entry.entry, held.entry, sizeof entry.entry);
	memcpy(entry.job_id, held.job_id, sizeof entry.job_id);
	for (size_t i = 0; i < held.n_places; i++)
		tidy(s, &held.places[i], &entry, held.run);
}

void place_forgo(struct slot *s, const struct work_entry *entry, const char *thing)
{
	struct work_place place;
	if (place_find(s->worker, thing, &place))
		tidy(s, &place, entry, 0);
}

/* One attempt. */
static enum err_code ask_park(struct slot *s, const struct work_entry *entry, struct err *e)
{
	struct cmd c;
	struct reply *reply = NULL;
	struct work_lease lease = s->lease;
	lease.place_ms = place_lease_ms(s->worker);
	cmd_init(&c);
	work_ask_park(&c, prefix(s), entry, &lease, s->wanted, s->n_wanted);
	enum err_code rc = redis_call(s->redis, &c, &reply, e);
	if (rc == ERR_OK)
		rc = work_read_park(reply, s->n_waiting, s->n_wanted, e);
	reply_free(reply);
	cmd_fini(&c);
	return rc;
}

enum err_code place_park(struct slot *s, const struct work_entry *entry, struct err *e)
{
	enum err_code rc;
	for (;;) {
		rc = ask_park(s, entry, e);
		if (rc != ERR_UNAVAILABLE || atomic_load(&s->worker->hurrying))
			break;
		s->recheck = true;
		worker_wait(s->worker, 0, REDIS_PAUSE_MS, &s->worker->hurrying);
	}
	for (size_t i = 0; rc == ERR_OK && i < s->n_wanted; i++)
		worker_note_full(s->worker, s->queue, &s->wanted[i], s->n_waiting[i]);
	return rc;
}
