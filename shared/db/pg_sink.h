/* What the files of the PostgreSQL sink share. Private to shared/db/pg_sink*.c and pg_registry.c. */
#ifndef DB_DB_PG_SINK_H
#define DB_DB_PG_SINK_H

#include <stdatomic.h>

#include "shared/base/buf.h"
#include "shared/base/hash.h"
#include "shared/db/db_socket.h"
#include "shared/db/pg.h"
#include "shared/db/pg_conn.h"

#define PG_SINK_SMALL (128u << 10) /* bytes; a result up to this is written in one go */
#define PG_SINK_CHUNK (256u << 10) /* bytes of a COPY stream that are sent together */

enum sink_mode {
	SINK_IDLE,
	SINK_BUFFERING, /* rows are in buf, nothing has been sent */
	SINK_STREAMING, /* in a transaction, in COPY FROM STDIN into the staging table */
};

struct pg_template {
	char name[64];
	UT_hash_handle hh;
};

struct pg_sink {
	struct sink base;
	const struct cfg_results *cfg;
	struct pg_conn conn;
	int64_t epoch;                 /* of the server since its last crash: pg_registry.c */
	struct pg_template *templates; /* those known to exist */
	atomic_bool cancelled;
	struct db_insistence insistence;

	enum sink_mode mode;
	struct result_spec spec; /* strings borrowed from begin's caller */
	const struct columns *columns;
	enum wire wire;
	unsigned char *forms; /* of each column: pg_sink_rows.c */
	size_t n_forms;       /* that there is memory for */
	struct buf buf;       /* rows in COPY's form, without header and trailer; at most two chunks */
	struct buf sql;       /* scratch */
	int64_t rows;
	size_t widest; /* bytes of the largest row */
};

static inline struct pg_sink *pg_sink_self(struct sink *s)
{
	return (struct pg_sink *)(void *)s;
}

void pg_sink_disconnect(struct pg_sink *s);
enum err_code MUST_CHECK pg_sink_connect(struct sink *base, struct err *e);

/* Append to s->sql; a failure shows in buf_ok when it is sent. */
void pg_sink_add_name(struct pg_sink *s, const char *name);
void pg_sink_add_literal(struct pg_sink *s, const char *text);
/* Sends s->sql and reads its results to the end (or to COPY IN). */
enum err_code MUST_CHECK pg_sink_run(struct pg_sink *s, PGresult **res, struct err *e);

/* Begins the long way: from here on rows go to the server as they come. */
enum err_code MUST_CHECK pg_sink_start_stream(struct pg_sink *s, struct err *e);

/* Rows (pg_sink_rows.c). */
enum err_code MUST_CHECK pg_sink_begin_rows(struct pg_sink *s, struct err *e); /* columns and wire are set */
enum err_code MUST_CHECK pg_sink_put(struct pg_sink *s, const char *data, size_t len, struct err *e); /* into COPY */
enum err_code pg_sink_fill(struct sink *base, struct feed *feed, struct err *e);

/* The registry (pg_registry.c). */
enum err_code MUST_CHECK pg_registry_open(struct pg_sink *s, struct err *e); /* makes its tables, reads the epoch */
enum err_code MUST_CHECK pg_registry_make(struct pg_sink *s, struct err *e); /* only the tables: they may be gone */
/* Append the INSERT of a result's row, which fails when the job has one already. */
void pg_registry_add_insert(struct pg_sink *s, bool unlogged);
/* The same in place of an older run's row, RETURNING a row if that was done. */
void pg_registry_add_replace(struct pg_sink *s, bool unlogged);
enum err_code pg_registry_fence(struct sink *base, const char *job_id, int64_t run, int64_t ttl_ms, struct err *e);
enum err_code pg_registry_purge(struct sink *base, const char *job_id, int64_t run, struct err *e);
enum err_code pg_registry_recover(struct sink *base, bool *crashed, lost_fn lost, void *ctx, struct err *e);
enum err_code pg_registry_recovered(struct sink *base, struct err *e);
enum err_code pg_registry_has_result(struct sink *base, const char *job_id, int64_t run, bool *has, struct err *e);
enum err_code pg_registry_expire(
        struct sink *base, int batch, int64_t lock_timeout_ms, bool dry_run, struct expire_stats *stats, struct err *e);

#endif
