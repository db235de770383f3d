/* A sink: one connection to a results database. One table of functions per engine (driver.c lists them).
 *
 * Life of a result: connect, begin, fill, publish; or, at any point, abort, after which nothing of it is left.
 * An error of any call means abort. Rows are kept in a buffer; a result that fits is written by publish in one go.
 * Thread rule: one thread at a time, except cancel.
 *
 * The registry: the table dungbeetle_results in each results database has one row for each job id that has a result
 * there. Its `run` only ever grows: who holds an older run can neither publish nor drop.
 */
#ifndef DB_DB_SINK_H
#define DB_DB_SINK_H

#include "shared/db/source.h"

struct result_spec {
	const char *job_id;
	const char *table; /* where it will be readable; fits the database's names */
	const char *task;
	int64_t run;
	int64_t ttl_ms;
};

/* A result of which a crash of the server left no rows; strings are valid during the call. */
typedef void (*lost_fn)(void *ctx, const char *job_id, int64_t run);

struct expire_stats {
	int64_t expired; /* results dropped because their time was over */
	int64_t strays;  /* dropped because no result owns them, and registry rows without a table */
	int64_t left;    /* due, but locked by somebody: the next turn takes them */
};

struct sink;

struct sink_ops {
	unsigned wires;                    /* those it takes */
	size_t name_max;                   /* bytes of an identifier */
	const char *const *reserved_names; /* that no column can have; ended by NULL */
	bool names_fold; /* column names that differ in case only are the same; none ends in a space */
	struct sink *(*make)(const struct cfg_results *cfg);
	void (*free)(struct sink *s);
	enum err_code (*connect)(struct sink *s, struct err *e);
	bool (*alive)(struct sink *s); /* is it connected, as far as can be seen without a round trip? */
	/* Columns are borrowed until publish or abort; their names are fixed (columns_fix_names). */
	enum err_code (*begin)(struct sink *s, const struct result_spec *spec, const struct columns *columns,
	        enum wire wire, struct err *e);
	/* Takes all rows of the feed; an error of the feed is passed on as it is. */
	enum err_code (*fill)(struct sink *s, struct feed *feed, struct err *e);
	/* Makes the result readable, all of it at once, in place of an older one of the same job. ERR_LOST: a newer run has
	 * been here. ERR_UNAVAILABLE: the server went away; whether it was published is unknown, publishing anew is safe. */
	enum err_code (*publish)(struct sink *s, struct err *e);
	void (*abort)(struct sink *s);
	void (*cancel)(struct sink *s); /* as source_ops.cancel */

	/* From now on no run older than `run` can publish for the job. ERR_LOST: a newer one is here already. */
	enum err_code (*fence)(struct sink *s, const char *job_id, int64_t run, int64_t ttl_ms, struct err *e);
	/* Drops what run and older ones published for the job, now and for an hour to come. ERR_UNAVAILABLE: it is locked, or
	 * the server is away: try again. */
	enum err_code (*purge)(struct sink *s, const char *job_id, int64_t run, struct err *e);
	/* Has the server crashed since the last call of any process? Then drops every result whose rows that cost and calls
	 * lost for each; *crashed tells. published says whether (job, run) is still there, for jobs that the caller knows. */
	enum err_code (*recover)(struct sink *s, bool *crashed, lost_fn lost, void *ctx, struct err *e);
	enum err_code (*recovered)(struct sink *s, struct err *e); /* the caller has done its part */
	enum err_code (*has_result)(struct sink *s, const char *job_id, int64_t run, bool *has, struct err *e);
	/* Drops what has expired or is stray, in transactions of `batch` tables. dry_run: only counts. */
	enum err_code (*expire)(struct sink *s, int batch, int64_t lock_timeout_ms, bool dry_run,
	        struct expire_stats *stats, struct err *e);
};

struct sink {
	const struct sink_ops *ops;
};

#endif
