/* A source: one connection to a database that queries run on. One table of functions per engine (driver.c lists them);
 * who moves rows knows only this.
 *
 * Life of a query: connect, begin, next until done, and then the next query; or, at any point, abort (which drops the
 * connection). An error of any call means abort. Thread rule: one thread at a time, except cancel.
 */
#ifndef DB_DB_SOURCE_H
#define DB_DB_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/config.h"
#include "shared/db/column.h"

/* The forms in which a row can travel. A sink says which it takes, the source chooses. */
enum wire {
	WIRE_TEXT = 1,      /* cells are written as types.h says for the column's kind: every pair of engines has it */
	WIRE_PG_TEXT = 2,   /* cells are PostgreSQL's text form (output functions) */
	WIRE_PG_BINARY = 4, /* cells are PostgreSQL's binary form (send functions) */
};

struct cell {
	const char *data; /* borrowed, valid until the next call; NULL when len < 0 */
	int len;          /* bytes; -1 = SQL NULL */
};

struct row {
	const struct cell *cells; /* NULL when the row is given whole in raw */
	const char *raw;          /* WIRE_PG_BINARY only: a whole tuple of COPY's binary form; borrowed like a cell */
	size_t raw_len;
	size_t bytes; /* of the row's values as they travel */
};

/* Where the rows of a result come from, for a sink: next as source_ops.next. */
struct feed {
	enum err_code (*next)(struct feed *f, struct row *row, bool *done, struct err *e);
};

struct query {
	const char *task;        /* its name: with the text, what a prepared statement is kept under */
	const char *sql;         /* one statement */
	bool raw;                /* do not prepare it */
	const char *const *args; /* texts, NULL = SQL NULL */
	size_t n_args;
	const char *tag;    /* who runs it, for the eyes of a DBA: "<job id> <task>" */
	const char *job_id; /* evict can find it by this, if it is not NULL */
	int64_t timeout_ms; /* the server ends it then; 0 = no limit */
};

struct source;

struct source_ops {
	/* Borrows cfg, which outlives it. Does not connect. NULL: no memory. */
	struct source *(*make)(const struct cfg_source *cfg);
	void (*free)(struct source *s); /* accepts NULL */
	/* Connects unless it is connected. ERR_UNAVAILABLE: the server cannot be reached or refuses. */
	enum err_code (*connect)(struct source *s, struct err *e);
	/* Prepares q and forgets it: is it a valid query that takes n_args arguments? */
	enum err_code (*check)(struct source *s, const struct query *q, struct err *e);
	/* Runs q and describes its columns (out, owned by the caller; n = 0: it returns none). wires: those the sink takes. */
	enum err_code (*begin)(struct source *s, const struct query *q, unsigned wires, struct columns *out,
	        enum wire *wire, struct err *e);
	/* The next row, or *done = true: and only then the server has said that the result is complete. */
	enum err_code (*next)(struct source *s, struct row *row, bool *done, struct err *e);
	void (*abort)(struct source *s);
	/* Ends what another connection of the same user still runs for the job there, and waits until it has ended, for some
	 * seconds at most: for one who takes the place of a run that may be alive. Between two queries. */
	enum err_code (*evict)(struct source *s, const char *job_id, struct err *e);
	/* Asks the server to stop what runs now. Any thread; blocks for a round trip; the owner must not free s meanwhile. */
	void (*cancel)(struct source *s);
};

struct source {
	const struct source_ops *ops; /* each driver's struct begins with this */
};

#endif
