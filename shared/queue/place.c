#include "shared/queue/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MEMBER_MAX (WORK_ENTRY_MAX + QUEUE_JOB_ID_MAX + 24)

void work_add_place_key(struct cmd *c, const char *prefix, const char *kind, const struct work_place *place)
{
	const char *parts[] = {prefix, kind, place->kind, place->name};
	cmd_addparts(c, parts, 4);
}

void work_add_place_keys(struct cmd *c, const char *prefix, const struct work_place *place)
{
	work_add_place_key(c, prefix, "running:", place);
	work_add_place_key(c, prefix, "wanting:", place);
}

void work_add_thing(struct cmd *c, const struct work_place *place)
{
	const char *parts[] = {place->kind, place->name};
	cmd_addparts(c, parts, 2);
	cmd_addi64(c, place->most);
}

void work_ask_take(struct cmd *c, const char *prefix, const struct work_lease *lease, int64_t before,
        const char *source, const char *only_there)
{
	cmd_script(c, SCRIPT_TAKE, 2 + 2 * lease->n_places);
	cmd_addkey(c, prefix, "handed", NULL);
	cmd_addkey(c, prefix, "queue:", lease->queue);
	for (size_t i = 0; i < lease->n_places; i++)
		work_add_place_keys(c, prefix, &lease->places[i]);
	cmd_addstr(c, lease->entry);
	cmd_addstr(c, lease->job_id);
	cmd_addi64(c, lease->run);
	cmd_addi64(c, before);
	cmd_addi64(c, lease->place_ms);
	cmd_addkey(c, prefix, "wake", NULL);
	cmd_addkey(c, prefix, "job:", NULL);
	cmd_addstr(c, source);
	cmd_addstr(c, only_there);
	for (size_t i = 0; i < lease->n_places; i++)
		work_add_thing(c, &lease->places[i]);
}

enum err_code work_read_take(const struct reply *r, bool full[WORK_PLACES_MAX], struct err *e)
{
	const char *verdict = reply_text(reply_at(r, 0), NULL);
	if (strcmp(verdict, "TAKEN") == 0)
		return ERR_OK;
	if (strcmp(verdict, "EARLY") == 0)
		return err_set(e, ERR_CONFLICT, "older jobs of the queue come first");
	enum err_code rc = reply_error(r, e);
	if (rc != ERR_OK)
		return rc;
	if (strcmp(verdict, "FULL") != 0)
		return err_set(e, ERR_UNAVAILABLE, "Redis: unexpected answer to take");
	for (size_t i = 1; i < reply_count(r); i++) {
		int64_t at = reply_i64(reply_at(r, i), -1);
		if (at >= 0 && at < WORK_PLACES_MAX)
			full[at] = true;
	}
	return err_set(e, ERR_BUSY, "all places (max_running) are taken");
}

void work_ask_park(struct cmd *c, const char *prefix, const struct work_entry *entry, const struct work_lease *lease,
        const struct work_place *places, size_t n)
{
	cmd_script(c, SCRIPT_PARK, 6 + 2 * n);
	cmd_addkey(c, prefix, "queue:", lease->queue);
	cmd_addkey(c, prefix, "job:", entry->job_id);
	cmd_addkey(c, prefix, "parked:", lease->queue);
	cmd_addkey(c, prefix, "group:", entry->group);
	cmd_addkey(c, prefix, "things", NULL);
	cmd_addkey(c, prefix, "handed", NULL);
	for (size_t i = 0; i < n; i++)
		work_add_place_keys(c, prefix, &places[i]);
	cmd_addstr(c, entry->entry);
	cmd_addstr(c, entry->job_id);
	cmd_addi64(c, lease->run);
	cmd_addstr(c, lease->queue);
	cmd_addstr(c, entry->group);
	cmd_addi64(c, lease->place_ms);
	cmd_addkey(c, prefix, "wake", NULL);
	for (size_t i = 0; i < n; i++)
		work_add_thing(c, &places[i]);
}

enum err_code work_read_park(const struct reply *r, int64_t *waiting, size_t n, struct err *e)
{
	const char *verdict = reply_text(reply_at(r, 0), NULL);
	for (size_t i = 0; i < n; i++)
		waiting[i] = reply_i64(reply_at(r, 1 + i), 0);
	if (strcmp(verdict, "OK") == 0)
		return ERR_OK;
	if (strcmp(verdict, "LOST") == 0)
		return err_set(e, ERR_LOST, "the run is no longer current");
	enum err_code rc = reply_error(r, e);
	return rc != ERR_OK ? rc : err_set(e, ERR_UNAVAILABLE, "Redis: unexpected answer to park");
}

void work_add_member(struct cmd *c, const char *entry, const char *job_id, int64_t run)
{
	char member[MEMBER_MAX];
	snprintf(member, sizeof member, "%s %s %" PRId64, entry, job_id, run);
	cmd_addstr(c, member);
}

void work_ask_tidy(struct cmd *c, const char *prefix, const struct work_place *place, int64_t lease_ms,
        const struct work_entry *entry, int64_t run)
{
	cmd_script(c, SCRIPT_TIDY, 4);
	cmd_addkey(c, prefix, "things", NULL);
	cmd_addkey(c, prefix, "handed", NULL);
	work_add_place_keys(c, prefix, place);
	work_add_thing(c, place);
	cmd_addi64(c, lease_ms);
	cmd_addkey(c, prefix, "wake", NULL);
	if (!entry)
		return;
	work_add_member(c, entry->entry, entry->job_id, 0);
	if (run)
		work_add_member(c, entry->entry, entry->job_id, run);
}

void work_ask_things(struct cmd *c, const char *prefix)
{
	cmd_addstr(c, "SMEMBERS");
	cmd_addkey(c, prefix, "things", NULL);
}

void work_ask_handed(struct cmd *c, const char *prefix)
{
	cmd_addstr(c, "HGETALL");
	cmd_addkey(c, prefix, "handed", NULL);
}

/* Copies up to the next space, or the end; *text is then behind it. */
static bool next_word(const char **text, char *out, size_t size)
{
	size_t n = strcspn(*text, " ");
	if (n >= size)
		return false;
	memcpy(out, *text, n);
	out[n] = '\0';
	*text += n + ((*text)[n] == ' ');
	return true;
}

bool work_parse_handed(const char *text, struct work_entry *out, char queue[QUEUE_NAME_MAX + 1])
{
	memset(out, 0, sizeof *out);
	return next_word(&text, queue, QUEUE_NAME_MAX + 1) && next_word(&text, out->entry, sizeof out->entry) &&
	        next_word(&text, out->job_id, sizeof out->job_id) && next_word(&text, out->group, sizeof out->group) &&
	        queue[0] && out->entry[0] && out->job_id[0] && !*text;
}

bool work_parse_thing(const char *text, struct work_place *out)
{
	static const char *const kinds[] = {WORK_PLACE_DB, WORK_PLACE_QUEUE};
	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(kinds[i]);
		if (strncmp(text, kinds[i], n) != 0 || !text[n])
			continue;
		*out = (struct work_place){.kind = kinds[i], .name = text + n};
		return true;
	}
	return false;
}
