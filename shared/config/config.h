/* The configuration: one YAML file, overridden by environment variables and then by command-line flags.
 *
 * One table (config_table.c) lists every key with its type, default, limits and help; the loader, `config.sample.yml`
 * and the README are held against it by a test. Thread rule: loaded by main before threads start, constant after.
 * All strings are owned by the struct config and NUL-terminated. Durations are milliseconds, sizes bytes.
 */
#ifndef DB_CONFIG_CONFIG_H
#define DB_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/base/err.h"
#include "shared/base/log.h"

enum db_engine { DB_POSTGRES, DB_MYSQL, DB_CLICKHOUSE };

/* How surely a result survives a crash of its results database's server (README, "Durability"). */
enum durability {
	DURABILITY_FULL,     /* ordinary tables, commits wait for the disk */
	DURABILITY_RELAXED,  /* small results: ordinary table, commit does not wait; large ones: UNLOGGED */
	DURABILITY_UNLOGGED, /* UNLOGGED always */
};

/* A source database: `sources: {NAME: {...}}`. */
struct cfg_source {
	char *name;
	enum db_engine engine; /* `type` */
	char *dsn;             /* secret: never log it */
	char *password; /* from `password`, `password_file` or the environment; wins over the dsn's; "" = none; secret */
	char *password_file;      /* its path, "" = none; read by config_load into password */
	int max_active;           /* connections of this process at once; 0 = no limit */
	int64_t idle_lifetime_ms; /* a connection that has idled for longer is closed; 0 = never */
	bool read_only;           /* sessions refuse writes; default true */
	int64_t timeout_ms;       /* most time a run may take here when task and job name none; 0 = no limit */
	int64_t connect_timeout_ms;
	int max_running; /* jobs of the whole fleet in it at once; 0 = no limit */
};

/* A results database: `results: {NAME: {...}}`. */
struct cfg_results {
	char *name;
	enum db_engine engine;
	char *dsn;                  /* secret: never log it */
	char *password;             /* as of a source */
	char *password_file;        /* as of a source */
	int max_active;             /* as of a source */
	int64_t idle_lifetime_ms;   /* as of a source */
	char *storage_engine;       /* MySQL: of result tables, "InnoDB" unless another is given; else "" */
	enum durability durability; /* `durability`, or `unlogged: true` */
	bool unlogged;              /* as it was written; durability says what holds */
	int64_t lock_timeout_ms;    /* how long one attempt to replace a table waits for its readers */
	int64_t connect_timeout_ms;
};

/* A queue that this worker serves: `worker: {queues: {NAME: SLOTS}}` or --queue NAME[:CONCURRENCY]; or one whose jobs are
 * limited: `jobs: {max_running: {NAME: MOST}}`. */
struct cfg_queue {
	char *name;
	int slots; /* 0: as the tasks say, else worker.concurrency. In jobs.max_running: jobs of the whole fleet at once */
};

struct config {
	char *file; /* where it was read from */

	struct {
		enum log_level level;
	} log;

	struct {
		char *url; /* redis://[user:password@]host[:port][/db] or unix:///path/to.sock[?db=N]; secret. With
		            * sentinels: redis://[user:password@][/db], or "" */
		char **sentinels; /* host[:port]; none: the url says where Redis is */
		size_t n_sentinels;
		char *master;                                /* its name at the sentinels; "" without them */
		char *sentinel_username, *sentinel_password; /* "" = none; the latter is secret */
		int wait_replicas; /* so many must have an accepted or deleted job before it is answered; 0 = not waited for */
		char *prefix; /* every key starts with it */
		int64_t connect_timeout_ms;
		int64_t timeout_ms; /* of one command */
	} redis;

	char **sql_directories; /* `sql_directories`, or --sql-directory (replaces the list) */
	size_t n_sql_directories;

	struct {
		char *default_queue;
		int64_t result_ttl_ms; /* how long a result is kept when task and job name no ttl */
		int64_t state_ttl_ms; /* how long the state of a finished job is kept, at least (never shorter than its result) */
		int retries;                   /* when task and job name none */
		bool reject_wrong_args;        /* 400 instead of an accepted job that is FAILURE at once */
		int64_t max_rows;              /* of a result; 0 = no limit */
		int64_t max_bytes;             /* of a result as sent; 0 = no limit */
		struct cfg_queue *max_running; /* queues with a limit */
		size_t n_max_running;
	} jobs;

	struct {
		int64_t body;      /* bytes of a request's body */
		int64_t args;      /* arguments of a job */
		int64_t arg_bytes; /* bytes of one argument */
		int64_t group_jobs;
		int64_t json_depth;
		int64_t page; /* entries of one page of GET /jobs/queue/{queue} */
	} limits;

	struct {
		char *socket; /* path of the unix socket; not used when a listening socket is inherited as fd 0 or by LISTEN_FDS */
		char *socket_mode;  /* octal text, e.g. "0660" */
		char *socket_group; /* "" = leave it */
		int threads;        /* event loops */
		int64_t drain_timeout_ms;
	} fcgi;

	struct {
		char *name;               /* "" = the host name */
		int concurrency;          /* slots of a queue that names no number */
		struct cfg_queue *queues; /* never empty: when none is named, jobs.default_queue */
		size_t n_queues;
		int64_t lease_ms;
		int64_t drain_timeout_ms;
		int max_deliveries;
		int64_t retry_base_ms; /* first backoff */
		int64_t retry_max_ms;
		int64_t outage_timeout_ms; /* how long a job waits for a database that cannot be reached, before it is FAILURE */
	} worker;

	struct {
		int batch;               /* tables dropped in one transaction */
		int64_t lock_timeout_ms; /* of one DROP */
	} expire;

	struct cfg_source *sources;
	size_t n_sources;
	struct cfg_results *results;
	size_t n_results;
};

enum config_program { PROGRAM_FCGI, PROGRAM_WORKER, PROGRAM_EXPIRE };

/* What the command line said; main fills it with config_flags_parse. */
struct config_flags {
	enum config_program program;  /* which databases must be there: expire can do without sources */
	const char *config_path;      /* --config */
	const char **sql_directories; /* --sql-directory, repeatable */
	size_t n_sql_directories;
	struct cfg_queue *queues; /* --queue NAME[:CONCURRENCY], repeatable */
	size_t n_queues;
	const char *worker_name;
	int worker_concurrency; /* 0: not given */
	const char *socket;     /* --socket (fcgi) */
	bool check, version, help, dry_run;
};

/* Reads argv for the program; a flag that the program does not know is ERR_INVALID. A queue's name may hold colons:
 * what stands behind the last one is its concurrency when it is a number. Strings are borrowed from argv;
 * the arrays are freed by config_flags_fini. */
enum err_code MUST_CHECK config_flags_parse(
        enum config_program program, int argc, char **argv, struct config_flags *out, struct err *e);
void config_flags_fini(struct config_flags *flags);
/* The text of --help, static. */
const char *config_usage(enum config_program program);

/* The programs that connect to a database read its password_file; the FastCGI program connects to none and needs no
 * password.
 *
 * Loads file, environment (DUNGBEETLE_REDIS__URL style: section and key in upper case, joined by two underscores;
 * a `-` or `:` in a database's name stands as `_`) and flags, in this order. environ_list may be NULL: none.
 * On ERR_INVALID the text of e is "file:line: key: expected ..., got ..." (for a variable "environment NAME: ...", for
 * a flag "--flag: ..."), and holds no secret. *out is owned by the caller (config_free). */
enum err_code MUST_CHECK config_load(
        const struct config_flags *flags, char **environ_list, struct config **out, struct err *e);
void config_free(struct config *c);

const struct cfg_source *config_source(const struct config *c, const char *name);
const struct cfg_results *config_results(const struct config *c, const char *name);
/* How many jobs of the queue may run at once in the whole fleet; 0 = no limit. */
int config_queue_max_running(const struct config *c, const char *queue);

const char *db_engine_name(enum db_engine engine);

/* One row of the table of keys, for the tests that hold sample and README against it. */
struct config_key {
	const char *path;            /* "redis.url"; a database's keys are "sources.*.dsn" */
	const char *type;            /* "duration", "size", "integer", "boolean", "text", ... */
	const char *fallback;        /* the default as it is written in YAML; NULL: required */
	const char *help;            /* one sentence */
	const struct key_rule *rule; /* limits and storage: private to this module (config_table.h) */
};
/* All keys, in the order of the sample; *count says how many. Static. */
const struct config_key *config_keys(size_t *count);
/* Writes the keys as a Markdown table, as it stands in the README between <!-- config --> and <!-- /config -->. */
void config_print_markdown(FILE *out);

#endif
