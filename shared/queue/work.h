/* The job queue as a worker sees it: claim, start, beat, finish, and the chores that any worker does for all.
 * As in queue.h each operation is a pure work_ask_* and, where needed, a pure work_read_*. No shared state.
 *
 * States of a job, and who moves it (each arrow is one script, so a crash leaves it in a state that is drawn here):
 *
 *              enqueue           start              finish(SUCCESS|FAILURE)
 *   (nothing) ────────> PENDING ───────> STARTED ──────────────────────────> SUCCESS | FAILURE ──ttl──> (nothing)
 *                          ^                │ finish(RETRY|WAIT)
 *                          │   promote      v
 *                          └───(stream)── RETRY (in `scheduled`)
 *
 *   worker dies in STARTED: the entry stays pending in the group; when it has been idle for the lease, any worker's
 *   start takes it over (deaths + 1, a new run number). finish(RETURN): STARTED -> PENDING, the entry keeps its place.
 *   park: STARTED -> PENDING too, when all places of a source or a queue are taken (place.h).
 *   delete, in any state: the hash is gone; a stream entry without a hash that names it is dropped where it is met.
 *
 * Failover. A replica that is promoted may have missed the last words of its master, and a Redis that comes back from its
 * append-only file the last second; a master that is cut off may even go on for a while, unheard. What must hold then:
 *   run numbers    start notices that Redis' history is another one (master_replid: new with every promotion and every start
 *                  of a master) and begins to count far beyond all that can have been handed out unheard: at its clock in us,
 *                  which the count of runs never reaches by itself, and at least 10^9 further. So no number comes twice,
 *                  and what is handed out now is newer than what was handed out by anybody before.
 *   start unheard  The job waits here (PENDING) while a worker runs it. Its next beat, which the listener's new subscription
 *                  asks for at once, is told that the run is lost. Should it publish before, its number is older than that of
 *                  the run that begins here: start asks every job that was accepted before the promotion to be fenced off
 *                  first (`fence`), after which the results database refuses the older one; what it published before
 *                  is replaced by the new run, and finish tells it LOST, upon which it takes its result back.
 *   finish unheard The job is STARTED here, with a worker that does not know of it any more: its lease ends, it runs again.
 *   beat unheard   The lease seems older than it is: at worst the job runs again, under a newer number.
 *   entry ids      are made of a clock: two masters can give the same one to two jobs. An entry that seems to be forgotten is
 *                  removed only when it names the job that it was taken for.
 *   accept, cancel unheard would break a promise: only those wait for replicas (redis.wait_replicas, cmd_durable).
 */
#ifndef DB_QUEUE_WORK_H
#define DB_QUEUE_WORK_H

#include "shared/queue/queue.h"

#define WORK_ENTRY_MAX 48
#define WORK_CONSUMER_MAX 176

/* A share of what the fleet may do at once in a source database or out of a queue (place.h). */
struct work_place {
	const char *kind; /* WORK_PLACE_DB or WORK_PLACE_QUEUE */
	const char *name; /* borrowed */
	int64_t most;     /* how many there are; 0 = no limit */
};
#define WORK_PLACE_DB "db:"
#define WORK_PLACE_QUEUE "queue:"
#define WORK_PLACES_MAX 2 /* that one run has */

/* A stream entry that a consumer owns. */
struct work_entry {
	char entry[WORK_ENTRY_MAX];
	char job_id[QUEUE_JOB_ID_MAX + 1];
	char group[QUEUE_NAME_MAX + 1]; /* "" = none */
};

/* Makes the queue's stream and group; a reply of BUSYGROUP or OOM is as good as OK (work_read_group_made). */
void work_ask_make_group(struct cmd *c, const char *prefix, const char *queue);
enum err_code MUST_CHECK work_read_group_made(const struct reply *r, struct err *e);

/* XREADGROUP of one entry. block_ms < 0: do not wait. own: instead of a new one the first that the consumer owns already
 * (claimed before a connection broke). */
void work_ask_claim(
        struct cmd *c, const char *prefix, const char *queue, const char *consumer, int64_t block_ms, bool own);
/* ERR_NOT_FOUND: none. ERR_LOST: stream or group have vanished, make them again. ERR_INVALID: an entry that is none of
 * ours (out->entry is set): drop it. */
enum err_code MUST_CHECK work_read_claim(const struct reply *r, struct work_entry *out, struct err *e);
/* XACK + XDEL of an entry that is no job. */
void work_ask_drop(struct cmd *ack, struct cmd *del, const char *prefix, const char *queue, const char *entry);

/* Entries whose owner has shown no sign of life for stale_ms (XPENDING): ids only, to be read with work_ask_entry. */
void work_ask_stale(struct cmd *c, const char *prefix, const char *queue, int64_t stale_ms, int64_t most);
size_t work_read_stale(const struct reply *r, size_t i, char entry[WORK_ENTRY_MAX]); /* returns the count */
void work_ask_entry(struct cmd *c, const char *prefix, const char *queue, const char *entry);
/* ERR_NOT_FOUND: the entry was deleted from the stream while pending: acknowledge it. */
enum err_code MUST_CHECK work_read_entry(const struct reply *r, struct work_entry *out, struct err *e);

enum { WORK_OWN = -1 }; /* the consumer claimed it; or the lease in ms: take over a dead worker's entry */
void work_ask_start(struct cmd *c, const char *prefix, const char *queue, const struct work_entry *entry,
        const char *consumer, const char *worker, int64_t stale);

/* A run as it was ordered; its arguments are borrowed from the reply. */
struct work_order {
	int64_t run; /* the fencing token */
	bool fence; /* an older run may still be alive, known here or not: fence it off in the results database first */
	int64_t deaths; /* how many workers have died running it */
	struct job_order job;
	int64_t retried;                                /* retries that are spent */
	int64_t queued_ms, started_ms, outage_since_ms; /* 0 = none */
	int64_t before;   /* the entry's run before this one, whose worker died; 0 = none */
	const char *kept; /* the name of the thing (place.h) that keeps a place for it; "" = none */
};
/* ERR_NOT_FOUND: nothing to do any more. ERR_CONFLICT: its owner lives. out->kept is set in either case. */
enum err_code MUST_CHECK work_read_start(const struct reply *r, struct work_order *out, struct err *e);

/* PARK is said by work_ask_park, all others by work_ask_finish. */
enum work_outcome { WORK_SUCCESS, WORK_FAILURE, WORK_RETRY, WORK_WAIT, WORK_RETURN, WORK_PARK };
struct work_result {
	enum work_outcome outcome;
	const char *error; /* "" = none */
	const char *table; /* "" = none */
	int64_t rows;
	int64_t took_ms;      /* how long it ran */
	int64_t delay_ms;     /* of RETRY and WAIT */
	int64_t state_ttl_ms; /* how long the state of the finished job is kept */
};
/* What an instance has of a run: renewed by its sign of life. */
struct work_lease {
	char entry[WORK_ENTRY_MAX];
	char job_id[QUEUE_JOB_ID_MAX + 1];
	const char *queue, *consumer; /* borrowed */
	int64_t run;
	struct work_place places[WORK_PLACES_MAX];
	size_t n_places;
	int64_t place_ms; /* the lease of a place */
};

/* Saying it twice is as good as once. Gives back the lease's places. next: the caller starts a job that gets one of
 * them. */
void work_ask_finish(struct cmd *c, const char *prefix, const struct work_lease *lease, const struct work_entry *entry,
        const struct work_order *order, const struct work_result *result, bool next);
/* ERR_LOST: the run was not current; what it published must go. *next: the job that the caller is to start (as one
 * that somebody else had: stale >= 0); its entry is "" when there is none. */
enum err_code MUST_CHECK work_read_finish(const struct reply *r, struct work_entry *next, struct err *e);

/* json: "" = only the leases; "@beat@" in it becomes the time in ms. The reply lists the numbers of the lost leases. */
void work_ask_beat(struct cmd *c, const char *prefix, const char *instance, const char *json,
        const struct work_lease *leases, size_t n);

/* Jobs that are due: the reply is an array id, score (ms), ... of the first `most`. */
void work_ask_due(struct cmd *c, const char *prefix, int64_t most);
void work_ask_promote(struct cmd *c, const char *prefix, const char *id, const char *queue, const char *group);
void work_ask_time(struct cmd *c);                /* of Redis; reply: seconds, microseconds */
int64_t work_read_time_ms(const struct reply *r); /* 0: the reply is none */

/* The connection's number at the server, by which another one can end its blocking read. */
void work_ask_client_id(struct cmd *c);
void work_ask_unblock(struct cmd *c, int64_t client_id);
void work_ask_subscribe(struct cmd *c, const char *prefix); /* to `cancel` and `wake` */

/* Removes idle consumers without entries; instance "" = of any. leave: the instance says good-bye. */
void work_ask_sweep(
        struct cmd *c, const char *prefix, const char *queue, const char *instance, int64_t idle_ms, bool leave);

/* Purges: HGETALL (id, "run results"), and the word that one was carried out. */
void work_ask_purges(struct cmd *c, const char *prefix);
void work_ask_settle(struct cmd *c, const char *prefix, const char *id, const char *value);
/* One step over all jobs: the reply is [next cursor, [keys]]; "0" begins and ends. work_scanned_id: the id in a key. */
void work_ask_scan(struct cmd *c, const char *prefix, const char *cursor);
const char *work_scanned_id(const char *prefix, const char *key); /* borrowed from key */
/* A result was lost in a crash. */
void work_ask_lose(struct cmd *c, const char *prefix, const char *id, int64_t run, const char *error);

#endif
