#include "shared/queue/work.h"

#include "shared/queue/place.h"

#include <stdio.h>
#include <string.h>

#define GROUP "workers"

void work_ask_make_group(struct cmd *c, const char *prefix, const char *queue)
{
	cmd_addstr(c, "XGROUP");
	cmd_addstr(c, "CREATE");
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addstr(c, GROUP);
	cmd_addstr(c, "0"); /* from the first entry: jobs may have come before the first worker */
	cmd_addstr(c, "MKSTREAM");
}

enum err_code work_read_group_made(const struct reply *r, struct err *e)
{
	/* OOM: a full Redis refuses before it looks whether the group is there; if it is not, the claim will say so. */
	const char *text = reply_type(r) == REPLY_ERROR ? reply_text(r, NULL) : "";
	if (strncmp(text, "BUSYGROUP", 9) == 0 || strncmp(text, "OOM", 3) == 0)
		return ERR_OK;
	return reply_error(r, e);
}

void work_ask_claim(
        struct cmd *c, const char *prefix, const char *queue, const char *consumer, int64_t block_ms, bool own)
{
	cmd_addstr(c, "XREADGROUP");
	cmd_addstr(c, "GROUP");
	cmd_addstr(c, GROUP);
	cmd_addstr(c, consumer);
	cmd_addstr(c, "COUNT");
	cmd_addstr(c, "1");
	if (block_ms >= 0) {
		cmd_addstr(c, "BLOCK");
		cmd_addi64(c, block_ms);
	}
	cmd_addstr(c, "STREAMS");
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addstr(c, own ? "0" : ">");
}

static bool copy_text(char *out, size_t size, const struct reply *r)
{
	size_t len;
	const char *text = reply_text(r, &len);
	if (len >= size)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

/* [entry id, [field, value, ...]] */
static enum err_code read_entry(const struct reply *r, struct work_entry *out, struct err *e)
{
	const struct reply *fields = reply_at(r, 1), *job = reply_field(fields, "job"),
	                   *group = reply_field(fields, "group");
	memset(out, 0, sizeof *out);
	if (!copy_text(out->entry, sizeof out->entry, reply_at(r, 0)) || !out->entry[0])
		return err_set(e, ERR_PERMANENT, "Redis: a stream entry without an id");
	bool named = job && copy_text(out->job_id, sizeof out->job_id, job) && out->job_id[0];
	if (!named || (group && !copy_text(out->group, sizeof out->group, group)))
		return err_set(e, ERR_INVALID, "stream entry %s is no job", out->entry);
	return ERR_OK;
}

enum err_code work_read_claim(const struct reply *r, struct work_entry *out, struct err *e)
{
	if (reply_type(r) == REPLY_ERROR) {
		const char *text = reply_text(r, NULL);
		if (strncmp(text, "NOGROUP", 7) == 0 || strncmp(text, "UNBLOCKED", 9) == 0)
			return err_set(e, ERR_LOST, "the queue's stream or group has vanished");
		return reply_error(r, e);
	}
	const struct reply *entries = reply_at(reply_at(r, 0), 1); /* [[stream, [entry, ...]]] */
	return reply_count(entries) ? read_entry(reply_at(entries, 0), out, e) : ERR_NOT_FOUND;
}

void work_ask_drop(struct cmd *ack, struct cmd *del, const char *prefix, const char *queue, const char *entry)
{
	cmd_addstr(ack, "XACK");
	cmd_addkey(ack, prefix, "queue:", queue);
	cmd_addstr(ack, GROUP);
	cmd_addstr(ack, entry);
	cmd_addstr(del, "XDEL");
	cmd_addkey(del, prefix, "queue:", queue);
	cmd_addstr(del, entry);
}

void work_ask_stale(struct cmd *c, const char *prefix, const char *queue, int64_t stale_ms, int64_t most)
{
	cmd_addstr(c, "XPENDING");
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addstr(c, GROUP);
	cmd_addstr(c, "IDLE");
	cmd_addi64(c, stale_ms);
	cmd_addstr(c, "-");
	cmd_addstr(c, "+");
	cmd_addi64(c, most);
}

size_t work_read_stale(const struct reply *r, size_t i, char entry[WORK_ENTRY_MAX])
{
	if (!copy_text(entry, WORK_ENTRY_MAX, reply_at(reply_at(r, i), 0)))
		entry[0] = '\0';
	return reply_count(r);
}

void work_ask_entry(struct cmd *c, const char *prefix, const char *queue, const char *entry)
{
	cmd_addstr(c, "XRANGE");
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addstr(c, entry);
	cmd_addstr(c, entry);
}

enum err_code work_read_entry(const struct reply *r, struct work_entry *out, struct err *e)
{
	enum err_code rc = reply_error(r, e);
	if (rc != ERR_OK)
		return rc;
	return reply_count(r) ? read_entry(reply_at(r, 0), out, e) : ERR_NOT_FOUND;
}

void work_ask_start(struct cmd *c, const char *prefix, const char *queue, const struct work_entry *entry,
        const char *consumer, const char *worker, int64_t stale)
{
	cmd_script(c, SCRIPT_START, 9);
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addkey(c, prefix, "job:", entry->job_id);
	cmd_addkey(c, prefix, "waiting:", queue);
	cmd_addkey(c, prefix, "runs", NULL);
	cmd_addkey(c, prefix, "stats", NULL);
	cmd_addkey(c, prefix, "group:", entry->group);
	cmd_addkey(c, prefix, "epoch", NULL);
	cmd_addkey(c, prefix, "handed", NULL);
	cmd_addkey(c, prefix, "parked:", queue);
	cmd_addstr(c, entry->entry);
	cmd_addstr(c, consumer);
	cmd_addstr(c, entry->job_id);
	cmd_addstr(c, worker);
	cmd_addi64(c, stale);
	cmd_addstr(c, entry->group);
	cmd_addstr(c, queue);
}

enum err_code work_read_start(const struct reply *r, struct work_order *out, struct err *e)
{
	const char *verdict = reply_text(reply_at(r, 0), NULL);
	out->kept = reply_text(reply_at(r, strcmp(verdict, "RUN") == 0 ? 10 : 1), NULL);
	if (strcmp(verdict, "GONE") == 0)
		return ERR_NOT_FOUND;
	if (strcmp(verdict, "BUSY") == 0)
		return err_set(e, ERR_CONFLICT, "the entry's owner lives");
	enum err_code rc = reply_error(r, e);
	if (rc != ERR_OK)
		return rc;
	if (strcmp(verdict, "RUN") != 0)
		return err_set(e, ERR_PERMANENT, "Redis: unexpected answer to start");
	out->run = reply_i64(reply_at(r, 1), 0);
	out->fence = reply_i64(reply_at(r, 2), 0) != 0;
	out->deaths = reply_i64(reply_at(r, 3), 0);
	spec_read(reply_text(reply_at(r, 4), NULL), &out->job);
	out->started_ms = reply_i64(reply_at(r, 5), 0);
	out->retried = reply_i64(reply_at(r, 6), 0);
	out->outage_since_ms = reply_i64(reply_at(r, 7), 0);
	out->queued_ms = reply_i64(reply_at(r, 8), 0);
	out->before = reply_i64(reply_at(r, 9), 0);
	return ERR_OK;
}

/* "<kind>_le|<i>" of the first bucket that holds ms, and ms itself. */
static void add_observation(struct cmd *c, const char *kind, int64_t ms)
{
	char field[32];
	int i = 0;
	while (i + 1 < QUEUE_BUCKETS && (double)ms > queue_buckets_s[i] * 1000)
		i++;
	snprintf(field, sizeof field, "%s_le|%d", kind, i);
	cmd_addstr(c, field);
	cmd_addi64(c, ms);
}

/* What finish.lua is told of places; nothing when the run has none. */
static void add_leaving(struct cmd *c, const struct work_lease *lease, bool next)
{
	if (lease->n_places == 0)
		return;
	cmd_addstr(c, lease->queue);
	cmd_addstr(c, next ? "1" : "0");
	cmd_addi64(c, lease->place_ms);
	for (size_t i = 0; i < lease->n_places; i++)
		work_add_thing(c, &lease->places[i]);
}

void work_ask_finish(struct cmd *c, const char *prefix, const struct work_lease *lease, const struct work_entry *entry,
        const struct work_order *order, const struct work_result *result, bool next)
{
	static const char *const outcomes[] = {"SUCCESS", "FAILURE", "RETRY", "WAIT", "RETURN", "PARK"};
	char list[16 + QUEUE_NAME_MAX];
	cmd_script(c, SCRIPT_FINISH, 8 + (lease->n_places ? 1 + 2 * lease->n_places : 0));
	cmd_addkey(c, prefix, "queue:", lease->queue);
	cmd_addkey(c, prefix, "job:", entry->job_id);
	cmd_addkey(c, prefix, "waiting:", lease->queue);
	cmd_addkey(c, prefix, "scheduled", NULL);
	cmd_addkey(c, prefix, "stats", NULL);
	cmd_addkey(c, prefix, "group:", entry->group);
	snprintf(list, sizeof list, "group:%s:jobs", entry->group);
	cmd_addkey(c, prefix, list, NULL);
	snprintf(list, sizeof list, "group:%s:wait", entry->group);
	cmd_addkey(c, prefix, list, NULL);
	if (lease->n_places)
		cmd_addkey(c, prefix, "handed", NULL);
	for (size_t i = 0; i < lease->n_places; i++)
		work_add_place_keys(c, prefix, &lease->places[i]);
	cmd_addstr(c, entry->entry);
	cmd_addstr(c, entry->job_id);
	cmd_addi64(c, order->run);
	cmd_addstr(c, outcomes[result->outcome]);
	cmd_addstr(c, result->error);
	cmd_addi64(c, result->rows);
	cmd_addstr(c, result->table);
	cmd_addi64(c, result->delay_ms);
	cmd_addi64(c, result->state_ttl_ms);
	cmd_addstr(c, entry->group);
	cmd_addkey(c, prefix, "wake", NULL);
	cmd_addi64(c, order->job.ttl_ms);
	cmd_addstr(c, order->job.task);
	int64_t since = order->job.eta_ms > order->queued_ms ? order->job.eta_ms : order->queued_ms;
	add_observation(c, "run", result->took_ms);
	add_observation(c, "wait", order->started_ms > since ? order->started_ms - since : 0);
	add_leaving(c, lease, next);
}

enum err_code work_read_finish(const struct reply *r, struct work_entry *next, struct err *e)
{
	const char *verdict = reply_text(reply_at(r, 0), NULL);
	memset(next, 0, sizeof *next);
	if (reply_count(r) == 4 &&
	        (!copy_text(next->entry, sizeof next->entry, reply_at(r, 1)) ||
	                !copy_text(next->job_id, sizeof next->job_id, reply_at(r, 2)) ||
	                !copy_text(next->group, sizeof next->group, reply_at(r, 3))))
		next->entry[0] = '\0'; /* the keeper finds it */
	if (strcmp(verdict, "OK") == 0)
		return ERR_OK;
	if (strcmp(verdict, "LOST") == 0)
		return err_set(e, ERR_LOST, "the run is no longer current");
	enum err_code rc = reply_error(r, e);
	return rc != ERR_OK ? rc : err_set(e, ERR_UNAVAILABLE, "Redis: unexpected answer to finish");
}

/* Which places beat.lua is to renew. */
static void add_held(struct cmd *c, const struct work_lease *leases, size_t n)
{
	cmd_addi64(c, leases[0].place_ms);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < leases[i].n_places; j++) {
			cmd_addi64(c, (int64_t)i);
			work_add_member(c, leases[i].entry, leases[i].job_id, leases[i].run);
		}
}

void work_ask_beat(struct cmd *c, const char *prefix, const char *instance, const char *json,
        const struct work_lease *leases, size_t n)
{
	size_t places = 0;
	for (size_t i = 0; i < n; i++)
		places += leases[i].n_places;
	cmd_script(c, SCRIPT_BEAT, 1 + 2 * n + places);
	cmd_addkey(c, prefix, "workers", NULL);
	for (size_t i = 0; i < n; i++) {
		cmd_addkey(c, prefix, "queue:", leases[i].queue);
		cmd_addkey(c, prefix, "job:", leases[i].job_id);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < leases[i].n_places; j++)
			work_add_place_key(c, prefix, "running:", &leases[i].places[j]);
	cmd_addstr(c, instance);
	cmd_addstr(c, json);
	cmd_addi64(c, (int64_t)n);
	for (size_t i = 0; i < n; i++) {
		cmd_addstr(c, leases[i].entry);
		cmd_addstr(c, leases[i].consumer);
		cmd_addi64(c, leases[i].run);
	}
	if (places)
		add_held(c, leases, n);
}

void work_ask_due(struct cmd *c, const char *prefix, int64_t most)
{
	cmd_addstr(c, "ZRANGE");
	cmd_addkey(c, prefix, "scheduled", NULL);
	cmd_addstr(c, "0");
	cmd_addi64(c, most - 1);
	cmd_addstr(c, "WITHSCORES");
}

void work_ask_promote(struct cmd *c, const char *prefix, const char *id, const char *queue, const char *group)
{
	char wait[16 + QUEUE_NAME_MAX];
	cmd_script(c, SCRIPT_PROMOTE, 6);
	cmd_addkey(c, prefix, "scheduled", NULL);
	cmd_addkey(c, prefix, "job:", id);
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addkey(c, prefix, "group:", group);
	snprintf(wait, sizeof wait, "group:%s:wait", group);
	cmd_addkey(c, prefix, wait, NULL);
	cmd_addkey(c, prefix, "waiting:", queue);
	cmd_addstr(c, id);
	cmd_addstr(c, queue);
	cmd_addstr(c, group);
}

void work_ask_time(struct cmd *c)
{
	cmd_addstr(c, "TIME");
}

int64_t work_read_time_ms(const struct reply *r)
{
	int64_t s = reply_i64(reply_at(r, 0), 0), us = reply_i64(reply_at(r, 1), 0);
	return s < 0 || s >= INT64_MAX / 1000 || us < 0 || us >= 1000000 ? 0 : s * 1000 + us / 1000;
}

void work_ask_sweep(
        struct cmd *c, const char *prefix, const char *queue, const char *instance, int64_t idle_ms, bool leave)
{
	cmd_script(c, SCRIPT_SWEEP, 2);
	cmd_addkey(c, prefix, "workers", NULL);
	cmd_addkey(c, prefix, "queue:", queue);
	cmd_addstr(c, instance);
	cmd_addi64(c, idle_ms);
	cmd_addstr(c, leave ? "1" : "0");
}

void work_ask_purges(struct cmd *c, const char *prefix)
{
	cmd_addstr(c, "HGETALL");
	cmd_addkey(c, prefix, "purges", NULL);
}

void work_ask_settle(struct cmd *c, const char *prefix, const char *id, const char *value)
{
	cmd_script(c, SCRIPT_SETTLE, 1);
	cmd_addkey(c, prefix, "purges", NULL);
	cmd_addstr(c, id);
	cmd_addstr(c, value);
}

void work_ask_lose(struct cmd *c, const char *prefix, const char *id, int64_t run, const char *error)
{
	cmd_script(c, SCRIPT_LOSE, 2);
	cmd_addkey(c, prefix, "job:", id);
	cmd_addkey(c, prefix, "stats", NULL);
	cmd_addi64(c, run);
	cmd_addstr(c, error);
}

void work_ask_client_id(struct cmd *c)
{
	cmd_addstr(c, "CLIENT");
	cmd_addstr(c, "ID");
}

void work_ask_unblock(struct cmd *c, int64_t client_id)
{
	cmd_addstr(c, "CLIENT");
	cmd_addstr(c, "UNBLOCK");
	cmd_addi64(c, client_id);
}

void work_ask_subscribe(struct cmd *c, const char *prefix)
{
	cmd_addstr(c, "SUBSCRIBE");
	cmd_addkey(c, prefix, "cancel", NULL);
	cmd_addkey(c, prefix, "wake", NULL);
}

void work_ask_scan(struct cmd *c, const char *prefix, const char *cursor)
{
	struct buf pattern;
	buf_init(&pattern, 1024);
	for (const char *p = prefix; *p; p++) {
		if (strchr("*?[]\\^-", *p))
			buf_addc(&pattern, '\\');
		buf_addc(&pattern, *p);
	}
	buf_addstr(&pattern, "job:*");
	c->failed = c->failed || !buf_ok(&pattern);
	cmd_addstr(c, "SCAN");
	cmd_addstr(c, cursor);
	cmd_addstr(c, "MATCH");
	cmd_addstr(c, buf_str(&pattern));
	cmd_addstr(c, "COUNT");
	cmd_addstr(c, "1000");
	buf_fini(&pattern);
}

const char *work_scanned_id(const char *prefix, const char *key)
{
	size_t n = strlen(prefix) + strlen("job:");
	return strlen(key) > n ? key + n : "";
}
