/* The floor of `idle`: the SQL statements of a small job and nothing else, by one client on two open connections.
 *
 *     floor_sql SOURCE-DSN RESULTS-DSN QUERY COUNT PAUSE-US
 *
 * Runs QUERY, whose one argument is a number, COUNT times and writes each result into a new table floor_<i>. These are the
 * statements that a worker sends: settings and the prepared query in one round trip, then the transaction with table, rows
 * and registry row. Prints how long each took, in microseconds, one a line. The results database must hold floor_template
 * and floor_registry (see idle in figures_jobs.py).
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COPY_MAX 65536

static void die(const char *what, PGconn *pg)
{
	fprintf(stderr, "floor_sql: %s: %s", what, PQerrorMessage(pg));
	exit(1);
}

static PGconn *open_with(const char *dsn, const char *setup)
{
	PGconn *pg = PQconnectdb(dsn);
	PGresult *res = PQstatus(pg) == CONNECTION_OK ? PQexec(pg, setup) : NULL;
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("set-up", pg);
	PQclear(res);
	return pg;
}

static void prepare(PGconn *pg, const char *name, const char *sql)
{
	PGresult *res = PQprepare(pg, name, sql, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("prepare", pg);
	PQclear(res);
}

/* The rows, in binary form, owned by the caller. */
static PGresult *read_rows(PGconn *pg, int i)
{
	char tag[64], number[16];
	snprintf(tag, sizeof tag, "floor_sql %d", i);
	snprintf(number, sizeof number, "%d", i + 1);
	const char *settings[] = {tag, "0"}, *args[] = {number};
	if (!PQenterPipelineMode(pg) || !PQsendQueryPrepared(pg, "set", 2, settings, NULL, NULL, 0) ||
	        !PQsendQueryPrepared(pg, "query", 1, args, NULL, NULL, 1) || !PQpipelineSync(pg))
		die("send", pg);
	PQclear(PQgetResult(pg));
	PQclear(PQgetResult(pg)); /* NULL: its end */
	PGresult *rows = PQgetResult(pg);
	if (PQresultStatus(rows) != PGRES_TUPLES_OK)
		die("query", pg);
	PQclear(PQgetResult(pg)); /* NULL */
	PQclear(PQgetResult(pg)); /* the synchronisation */
	if (!PQexitPipelineMode(pg))
		die("pipeline", pg);
	return rows;
}

static char *put_number(char *to, int value, int bytes)
{
	for (int b = bytes - 1; b >= 0; b--)
		*to++ = (char)((unsigned)value >> (8 * b));
	return to;
}

/* The rows in COPY's binary form; returns its length. */
static int copy_form(const PGresult *rows, char *out)
{
	static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
	memcpy(out, header, sizeof header);
	char *at = out + sizeof header;
	for (int r = 0; r < PQntuples(rows); r++) {
		at = put_number(at, PQnfields(rows), 2);
		for (int c = 0; c < PQnfields(rows); c++) {
			int null = PQgetisnull(rows, r, c), len = PQgetlength(rows, r, c);
			if (at - out > COPY_MAX - len - 64)
				exit(1);
			at = put_number(at, null ? -1 : len, 4);
			if (!null)
				memcpy(at, PQgetvalue(rows, r, c), (size_t)len);
			at += null ? 0 : len;
		}
	}
	return (int)(put_number(at, -1, 2) - out);
}

static void write_rows(PGconn *pg, const PGresult *rows, int i)
{
	char sql[1024], data[COPY_MAX];
	snprintf(sql, sizeof sql,
	        "BEGIN; CREATE TABLE floor_%d (LIKE floor_template INCLUDING STORAGE); COPY floor_%d FROM STDIN "
	        "(FORMAT "
	        "binary); INSERT INTO floor_registry AS r (job_id, run, table_name, task, row_count, unlogged, epoch, "
	        "expires_at) VALUES ('%d', %d, 'floor_%d', 'bench_small', %d, false, 1, now() + interval '3600000 "
	        "ms'); "
	        "COMMIT",
	        i, i, i, i, i, PQntuples(rows));
	if (!PQsendQuery(pg, sql))
		die("send", pg);
	PGresult *res;
	int commands = 0;
	while ((res = PQgetResult(pg))) {
		if (PQresultStatus(res) == PGRES_COPY_IN) {
			if (PQputCopyData(pg, data, copy_form(rows, data)) != 1 || PQputCopyEnd(pg, NULL) != 1)
				die("copy", pg);
		} else if (PQresultStatus(res) == PGRES_COMMAND_OK) {
			commands++;
		} else {
			die("result", pg);
		}
		PQclear(res);
	}
	if (commands != 5)
		die("a command is missing", pg);
}

static long long now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: floor_sql SOURCE-DSN RESULTS-DSN QUERY COUNT PAUSE-US\n");
		return 2;
	}
	PGconn *source = open_with(argv[1], "SET default_transaction_read_only = on");
	PGconn *results = open_with(argv[2], "SET synchronous_commit = off");
	prepare(source, "set",
	        "SELECT pg_catalog.set_config('application_name', $1, false), "
	        "pg_catalog.set_config('statement_timeout', "
	        "$2, false)");
	prepare(source, "query", argv[3]);
	const struct timespec pause = {.tv_nsec = atol(argv[5]) * 1000};
	for (int i = 0; i < atoi(argv[4]); i++) {
		nanosleep(&pause, NULL);
		long long began = now_us();
		PGresult *rows = read_rows(source, i);
		write_rows(results, rows, i);
		printf("%lld\n", now_us() - began);
		PQclear(rows);
	}
	PQfinish(source);
	PQfinish(results);
	return 0;
}
