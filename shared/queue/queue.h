/* The job queue as a client of it sees it: enqueue, look, cancel. (The worker's side is work.h.)
 *
 * Each operation is two pure functions: queue_ask_* appends one command to a struct cmd, queue_read_* reads its reply.
 * Nothing here talks to a server, so that many requests can share one round trip. Thread rule: no shared state.
 *
 * Keys, all behind redis.prefix:
 *   queue:<name>      stream, group `workers`; an entry {job, group} for each job that waits for a slot or runs
 *   waiting:<name>    sorted set: ids of the queue's jobs that are not yet started and not in the stream either (eta,
 *                     backoff, a place in a group; or given back), by the time they were queued (us)
 *   parked:<name>     sorted set: ids of those that wait for a place in a source or in the queue (place.h), by the time
 *                     of their entry (us); that entry is in the stream, but no longer pending in the group
 *   job:<id>          hash: spec (what was ordered: spec.h) | state attempt run entry worker rows table error deaths
 *                     retried queued_at (from the first run on; before, entry tells it) started_at
 *                     finished_at expires_at outage_since (times: ms)
 *   scheduled         sorted set: ids of jobs by the time they are due (ms): eta, backoff, a freed place in a group
 *   group:<id>        hash: n concurrency active began success failure
 *   group:<id>:jobs   list of the job ids
 *   group:<id>:wait   list of the ids that wait for a place in the group
 *   runs              counter: the fencing token
 *   epoch             hash: replid (Redis' name for the history that `runs` was last counted in), since (ms, by Redis' clock:
 *                     when that began; 0: it is the first)
 *   stats             hash: counters of the whole fleet
 *   workers           hash: instance -> JSON
 *   purges            hash: job id -> "run results-db": results to be dropped
 *   running:<thing>, wanting:<thing>, things, handed    see place.h
 *   wake, cancel      pub/sub channels: hints only
 */
#ifndef DB_QUEUE_QUEUE_H
#define DB_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/queue/redis.h"
#include "shared/queue/spec.h"

/* Longest id or queue name: the result table `results_<job id>` must fit 63 bytes. */
#define QUEUE_JOB_ID_MAX 55
#define QUEUE_NAME_MAX 128
#define QUEUE_TABLE_PREFIX "results_"

enum job_state { JOB_PENDING, JOB_STARTED, JOB_RETRY, JOB_SUCCESS, JOB_FAILURE };

const char *job_state_name(enum job_state s); /* "PENDING", ... */
bool job_state_parse(const char *text, enum job_state *out);

/* What is enqueued. Borrows all its strings. */
struct job_spec {
	const char *id;
	bool fresh_id; /* made at random just now: no other job can have it */
	const char *task;
	const char *queue;
	const char *db;      /* the source it must run on; "" = any of the task's */
	const char *results; /* the results database it goes to; never "" */
	const char *args;    /* JSON array of strings, numbers, booleans, nulls; "[]" */
	int64_t eta_ms;      /* 0 = now */
	int64_t retries;
	int64_t ttl_ms;     /* how long the result is kept */
	int64_t timeout_ms; /* 0 = no limit */
	const char *error;  /* NULL; else the job is accepted and is FAILURE at once with this reason */
};

/* One job (group_id NULL) or a whole group, all or none. concurrency 0 = no limit. state_ttl_ms: how long the state of
 * a job that fails at once is kept. */
void queue_ask_enqueue(struct cmd *c, const char *prefix, const struct job_spec *jobs, size_t n, const char *group_id,
        int64_t concurrency, int64_t state_ttl_ms);
/* ERR_CONFLICT names the id (job or group) that is already pending or running. */
enum err_code MUST_CHECK queue_read_enqueue(const struct reply *r, struct err *e);

/* A job's state as it is kept. Strings are borrowed from the reply. */
struct job_info {
	enum job_state state;
	struct job_order order;
	const char *table, *worker, *error;
	int64_t rows, attempt, retried, run;
	int64_t queued_ms, started_ms, finished_ms; /* 0 = none */
	int64_t expires_ms;                         /* of the result; 0 = there is none */
};
void queue_ask_job(struct cmd *c, const char *prefix, const char *id);
/* ERR_NOT_FOUND when there is no such job (e's text is left for the caller to set). */
enum err_code MUST_CHECK queue_read_job(const struct reply *r, struct job_info *out, struct err *e);

/* The ids of a queue's jobs that are not yet started, oldest first; at most limit; those behind the id `after` unless it
 * is "". The reply is an array of ids (reply_at). */
void queue_ask_list(struct cmd *c, const char *prefix, const char *queue, const char *after, int64_t limit);

/* A group: its counters (state from them) and the ids of its jobs: two commands, in this order. */
struct group_info {
	enum job_state state; /* PENDING, STARTED, SUCCESS, FAILURE */
	int64_t n;
};
void queue_ask_group(struct cmd *c, const char *prefix, const char *group_id);
enum err_code MUST_CHECK queue_read_group(const struct reply *r, struct group_info *out, struct err *e);
void queue_ask_group_jobs(struct cmd *c, const char *prefix, const char *group_id); /* reply: array of ids */

/* Cancels one job or all jobs of a group (group_id not NULL; it is then forgotten too), all or none. jobs come from
 * queue_read_job just before (id, queue, group); the script looks again and answers ERR_TRANSIENT when one has changed
 * its queue or group meanwhile (ask again). Pending: forgotten. Running: forgotten, the run is told to stop and its
 * result will never show. Finished: ERR_CONFLICT, or with purge forgotten and its result dropped. */
struct cancel_spec {
	const char *id;                                          /* borrowed */
	char queue[SPEC_NAME_MAX + 1], group[SPEC_NAME_MAX + 1]; /* as in job_order; group "" = none */
};
void queue_ask_cancel(
        struct cmd *c, const char *prefix, const struct cancel_spec *jobs, size_t n, const char *group_id, bool purge);
enum err_code MUST_CHECK queue_read_cancel(const struct reply *r, struct err *e);

/* Can a job be accepted now? A script that would write, and does not. */
void queue_ask_health(struct cmd *c);
enum err_code MUST_CHECK queue_read_health(const struct reply *r, struct err *e);

/* Counters of the whole fleet since Redis was set up. The reply is an array name, value, ... with the names
 *   accepted|<queue>|<task>   finished|<task>|<STATE>   retried|<task>   rows   died
 *   run_le|<i> run_count run_ms_sum   wait_le|<i> wait_count wait_ms_sum
 * where <i> is the index of the first bucket of queue_buckets_s that holds the value (not cumulative). */
void queue_ask_stats(struct cmd *c, const char *prefix);
#define QUEUE_BUCKETS 15
extern const double queue_buckets_s[QUEUE_BUCKETS]; /* upper bounds in seconds; the last one is infinity */

struct queue_depth {
	int64_t waiting;   /* entries in the stream that no slot has taken, those of parked jobs too */
	int64_t running;   /* entries taken and not finished */
	int64_t unstarted; /* all jobs not yet started, those scheduled for later too */
	int64_t oldest_ms; /* age of the oldest entry that no slot has taken; 0 when none */
	int64_t parked;    /* jobs that wait for a place in a source or in the queue */
};
void queue_ask_depth(struct cmd *c, const char *prefix, const char *queue);
enum err_code MUST_CHECK queue_read_depth(const struct reply *r, struct queue_depth *out, struct err *e);

/* How many of the places of a source (kind "db:") or a queue ("queue:") are taken, and how many jobs wait for one: place.h */
void queue_ask_places(struct cmd *c, const char *prefix, const char *kind, const char *name);
enum err_code MUST_CHECK queue_read_places(const struct reply *r, int64_t *running, int64_t *waiting, struct err *e);

/* instance -> JSON {"name","host","pid","queues":{..},"slots","running","paused":{source:1,..},"beat_ms"} as array name,
 * value, ... paused: the sources that this worker cannot reach. */
void queue_ask_workers(struct cmd *c, const char *prefix);

#endif
