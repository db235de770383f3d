/* What the files of the PostgreSQL source share. Private to shared/db/pg_source*.c. */
#ifndef DB_DB_PG_SOURCE_H
#define DB_DB_PG_SOURCE_H

#include <stdatomic.h>

#include "shared/base/buf.h"
#include "shared/base/hash.h"
#include "shared/db/pg.h"
#include "shared/db/pg_conn.h"

#define PG_SOURCE_SET "dungbeetle_set" /* prepared on each connection: who runs, and for how long at most */

struct pg_prepared {
	char *key; /* task name, newline, SQL */
	char name[32];
	struct columns columns;
	int n_params;
	bool binary;   /* every column has a binary form that is the same everywhere */
	bool copyable; /* COPY has not refused it yet */
	UT_hash_handle hh;
};

enum pg_source_mode { MODE_IDLE, MODE_ROWS, MODE_COPY };

struct pg_source {
	struct source base;
	const struct cfg_source *cfg;
	struct pg_conn conn;
	struct pg_prepared *cache;
	unsigned serial; /* of the next statement's name */
	enum pg_source_mode mode;
	enum wire wire;
	bool failed;           /* the server has reported the running query's error */
	atomic_bool cancelled; /* cancel was called since begin: the connection is not used again */
	PGresult *res;         /* MODE_ROWS: holds the current row */
	bool fresh;            /* res has not been handed out yet */
	struct cell *cells;
	unsigned char *forms; /* of each column: enum pg_text_form */
	size_t n_cells;       /* that there is memory for, as for forms */
	size_t n_columns;
	struct buf converted; /* MODE_ROWS in WIRE_TEXT: the current row's texts that are not PostgreSQL's */
	char *copied;         /* MODE_COPY: the current message */
	bool headed;          /* the header has been seen */
	int64_t rows;
};

void pg_source_clear_row(struct pg_source *s);
/* The table was altered, or somebody dropped our statements (DISCARD ALL, a pooler): preparing anew helps. */
bool pg_source_is_outdated(const PGresult *res);
/* Reads what is left of the pipeline, after which the connection is free again. */
enum err_code pg_source_leave_pipeline(struct pg_source *s, struct err *e);
/* Makes room for a row of the columns and notes how each travels; s->wire is set. */
enum err_code MUST_CHECK pg_source_take_columns(struct pg_source *s, const struct columns *c, struct err *e);

/* COPY (pg_source_copy.c). *refused: COPY does not take this query, and the ordinary way is to be tried. */
enum err_code MUST_CHECK pg_source_begin_copy(struct pg_source *s, const struct query *q, const struct pg_prepared *p,
        struct columns *out, bool *outdated, bool *refused, struct err *e);
enum err_code MUST_CHECK pg_source_next_copied(struct pg_source *s, struct row *row, bool *done, struct err *e);

#endif
