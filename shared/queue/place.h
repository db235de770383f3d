/* Traffic control: how many jobs of the whole fleet may run at once in a source database, or out of a queue.
 *
 * Each such number of places is a thing with a name, "db:<source>" or "queue:<queue>", and two sorted sets in Redis:
 *
 *   running:<thing>   the places that are taken, by the end of their lease (ms of Redis' clock)
 *   wanting:<thing>   the jobs that wait for one, in the order of their stream entries
 *
 * and for all things together the set `things` (those that jobs wait for) and the hash `handed` (the jobs that have been
 * let in and are to be started -> the thing that has a place for them). A job that waits is not held by any slot:
 *
 *            start            take: TAKEN                      finish: the place goes to the first in `wanting`
 *   PENDING ───────> STARTED ─────────────> its query runs ──────────────────────────────────────────────────>
 *      ^                │ take: FULL
 *      │ start          v park
 *   handed <──────── PENDING, in `parked:<queue>` and `wanting:<thing>`; its entry is in the stream, but pending no more
 *          a place is free: finish, park, take, tidy
 *
 * Slots that claim jobs at one moment ask for places in any order: take lets none pass an older entry of its queue that is on
 * its way to ask for the same (as far as the asking worker's tasks tell; one with several sources it lets pass).
 * Whoever lets a job in keeps the place for it. A place that nobody gives back (a crash) is free when its lease is over;
 * the next run of the same stream entry takes it over at once. How many places there are is said by who asks: each
 * worker holds to its own configuration. Like work.h: pure work_ask_* and work_read_*, no shared state.
 */
#ifndef DB_QUEUE_PLACE_H
#define DB_QUEUE_PLACE_H

#include "shared/queue/work.h"

/* Parts of commands: a place's key (kind: "running:" or "wanting:"), both of its keys, the thing's name and how many
 * places it has, a member of `running` (run 0: kept for who is to be started). */
void work_add_place_key(struct cmd *c, const char *prefix, const char *kind, const struct work_place *place);
void work_add_place_keys(struct cmd *c, const char *prefix, const struct work_place *place);
void work_add_thing(struct cmd *c, const struct work_place *place);
void work_add_member(struct cmd *c, const char *entry, const char *job_id, int64_t run);

/* The run asks for the lease's places, all or none. before: the number of the entry's run before this one, 0 = none.
 * source: the one that it is to run in; only_there: the tasks that have no other, as "\nname\nname\n" ("" = none). */
void work_ask_take(struct cmd *c, const char *prefix, const struct work_lease *lease, int64_t before,
        const char *source, const char *only_there);
/* ERR_BUSY: not now. full[i] becomes true where the lease's place i was the reason. ERR_CONFLICT: places are free, but
 * older entries of the queue come first, which other slots have claimed a moment ago: ask again in another moment. */
enum err_code MUST_CHECK work_read_take(const struct reply *r, bool full[WORK_PLACES_MAX], struct err *e);

/* The run has never been; its job waits for a place in any of the n. Saying it twice is as good as once. */
void work_ask_park(struct cmd *c, const char *prefix, const struct work_entry *entry, const struct work_lease *lease,
        const struct work_place *places, size_t n);
/* waiting[i]: how many wait for a place in places[i] now; 0 when it had been said before. ERR_LOST as in
 * work_read_finish. */
enum err_code MUST_CHECK work_read_park(const struct reply *r, int64_t *waiting, size_t n, struct err *e);

/* Frees what has run out of its lease, and what is kept for the entry or its run (NULL: of none); lets in who waits. The
 * reply: how many still do, is a place free (0/1). */
void work_ask_tidy(struct cmd *c, const char *prefix, const struct work_place *place, int64_t lease_ms,
        const struct work_entry *entry, int64_t run);

/* The things that jobs wait for: an array of names. The jobs that were let in: an array of text, thing, ... */
void work_ask_things(struct cmd *c, const char *prefix);
void work_ask_handed(struct cmd *c, const char *prefix);
/* One of those texts. False: it is none. */
bool work_parse_handed(const char *text, struct work_entry *out, char queue[QUEUE_NAME_MAX + 1]);
/* The thing's name: its kind is constant, the rest borrowed from text. False: it is none. */
bool work_parse_thing(const char *text, struct work_place *out);

#endif
