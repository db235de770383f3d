#include "shared/config/config_table.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/config/ch_url.h"
#include "shared/config/config_value.h"
#include "shared/config/mysql_dsn.h"
#include "shared/config/redis_url.h"

#define MS INT64_C(1)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* --- texts that have a form --- */

static enum err_code check_redis_url(const char *text, struct err *e)
{
	struct redis_url url;
	enum err_code rc = redis_url_parse_any(text, &url, e); /* config.c knows whether it must name a host */
	redis_url_fini(&url);
	return rc;
}

static enum err_code check_sentinel(const char *text, struct err *e)
{
	char *host = NULL;
	int port;
	enum err_code rc = redis_sentinel_parse(text, &host, &port, e);
	free(host);
	return rc;
}

static enum err_code check_queue(const char *text, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	if (parse_name(text, strlen(text), CONFIG_QUEUE_NAME_MAX))
		return ERR_OK;
	return err_set(e, ERR_INVALID, "expected a name of 1 to %d letters, digits, _, : and -, got %s",
	        CONFIG_QUEUE_NAME_MAX, config_text_shown(text, shown));
}

/* A prefix or a worker's name is a part of Redis keys and of log lines. */
static enum err_code check_word(const char *text, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~')
			return err_set(e, ERR_INVALID, "expected printable ASCII characters without spaces, got %s",
			        config_text_shown(text, shown));
	return ERR_OK;
}

static enum err_code check_mode(const char *text, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	size_t len = strlen(text), octal = strspn(text, "01234567");
	if (octal == len && (len == 3 || (len == 4 && text[0] == '0')))
		return ERR_OK;
	return err_set(e, ERR_INVALID, "expected a file mode in octal, such as \"0660\", got %s",
	        config_text_shown(text, shown));
}

/* It stands in CREATE TABLE as it is. */
static enum err_code check_storage_engine(const char *text, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return err_set(e, ERR_INVALID, "expected a name of letters, digits and _, got %s",
			        config_text_shown(text, shown));
	return ERR_OK;
}

/* --- the table --- */

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};   /* enum log_level */
static const char *const engines[] = {"postgres", "mysql", "clickhouse", NULL}; /* enum db_engine */
static const char *const result_engines[] = {"postgres", "mysql", NULL};        /* its first two */
static const char *const engine_aliases[] = {"mariadb", "mysql", "postgresql", "postgres", NULL};
static const char *const durabilities[] = {"full", "relaxed", "unlogged", NULL}; /* enum durability */
_Static_assert(sizeof(enum log_level) == sizeof(int) && sizeof(enum db_engine) == sizeof(int) &&
                sizeof(enum durability) == sizeof(int),
        "a KEY_CHOICE is stored as an int");

#define RULE(...) \
	.rule = &(const struct key_rule) \
	{ \
		__VA_ARGS__ \
	}
#define AT(s, member) .offset = offsetof(struct s, member)
#define WIDTH(s, member) .width = sizeof(((struct s *)0)->member)

#define TEXT(s, member, ...) .type = "text", RULE(.kind = KEY_TEXT, AT(s, member), __VA_ARGS__)
#define BOOLEAN(s, member) .type = "boolean", RULE(.kind = KEY_BOOLEAN, AT(s, member))
#define INTEGER(s, member, least, most) \
	.type = "integer", RULE(.kind = KEY_INTEGER, AT(s, member), WIDTH(s, member), .min = (least), .max = (most))
#define DURATION(s, member, least, most) \
	.type = "duration", RULE(.kind = KEY_DURATION, AT(s, member), .min = (least), .max = (most))
#define SIZE(s, member, least, most) \
	.type = "size", RULE(.kind = KEY_SIZE, AT(s, member), .min = (least), .max = (most))
#define CHOICE(s, member, names, ...) \
	.type = "choice", RULE(.kind = KEY_CHOICE, AT(s, member), .choices = (names), __VA_ARGS__)

#define TYPE_HELP "The kind of database; mariadb is another name of mysql, postgresql of postgres."
#define DSN_HELP "How to connect; postgres: a libpq connection string or URI; mysql: `" MYSQL_DSN_FORM "`"
#define SOURCE_DSN_HELP DSN_HELP "; clickhouse: `" CH_URL_FORM "`."
#define RESULTS_DSN_HELP DSN_HELP "."
#define PASSWORD_HELP "Comes before a password in the dsn."
#define PASSWORD_FILE_HELP "A file that holds the password; a newline at its end does not belong to it."
#define MAX_ACTIVE_HELP \
	"Most connections of one worker process for its jobs; a job that needs one more waits; 0: as many as it " \
	"has slots."
#define IDLE_LIFETIME_HELP "A connection that no job has used for so long is closed; 0: never."
#define CONNECT_TIMEOUT_HELP "How long connecting may take."
/* The keys that sources and results have in common, in two groups. */
#define CREDENTIALS(section, s, dsn_help) \
	{.path = section ".*.dsn", TEXT(s, dsn, .min = 1, .max = 4096, .secret = true), .help = (dsn_help)}, \
	        {.path = section ".*.password", \
	                .fallback = "\"\"", \
	                TEXT(s, password, .max = CONFIG_PASSWORD_MAX, .secret = true), \
	                .help = PASSWORD_HELP}, \
	{ \
		.path = section ".*.password_file", .fallback = "\"\"", TEXT(s, password_file, .max = 4095), \
		.help = PASSWORD_FILE_HELP \
	}
#define CONNECTIONS(section, s) \
	{.path = section ".*.connect_timeout", \
	        .fallback = "5s", \
	        DURATION(s, connect_timeout_ms, 100 * MS, 5 * MINUTE), \
	        .help = CONNECT_TIMEOUT_HELP}, \
	        {.path = section ".*.max_active", \
	                .fallback = "0", \
	                INTEGER(s, max_active, 0, CONFIG_CONNECTIONS_MAX), \
	                .help = MAX_ACTIVE_HELP}, \
	{ \
		.path = section ".*.idle_lifetime", .fallback = "10m", DURATION(s, idle_lifetime_ms, 0, 30 * DAY), \
		.help = IDLE_LIFETIME_HELP \
	}

static const struct config_key keys[] = {
        {.path = "log.level",
                .fallback = "info",
                CHOICE(config, log.level, levels),
                .help = "Least level of the lines that are written to standard error."},

        {.path = "redis.url",
                TEXT(config, redis.url, .min = 1, .max = 4096, .secret = true, .unless = "redis.sentinels",
                        .check = check_redis_url),
                .help = "Where the queue is: `" REDIS_URL_FORM
                        "`; user and password are percent-encoded. With redis.sentinels: `" REDIS_URL_HOSTLESS "`."},
        {.path = "redis.sentinels",
                .fallback = "[]",
                .type = "list of addresses",
                RULE(.kind = KEY_LIST, AT(config, redis.sentinels), .count = offsetof(struct config, redis.n_sentinels),
                        .list_form = "a list of Sentinels, such as [\"10.0.0.1:26379\", \"10.0.0.2:26379\"]",
                        .item_form = "the address of a Sentinel, " REDIS_SENTINEL_FORM ",", .separator = ',',
                        .check = check_sentinel),
                .help = "The Sentinels, each `" REDIS_SENTINEL_FORM "`, that are asked where the master is."},
        {.path = "redis.master",
                .fallback = "\"\"",
                TEXT(config, redis.master, .max = 128, .check = check_word),
                .help = "What the Sentinels call the master."},
        {.path = "redis.sentinel_username",
                .fallback = "\"\"",
                TEXT(config, redis.sentinel_username, .max = 256),
                .help = "The user at the Sentinels, if they know users."},
        {.path = "redis.sentinel_password",
                .fallback = "\"\"",
                TEXT(config, redis.sentinel_password, .max = CONFIG_PASSWORD_MAX, .secret = true),
                .help = "The password at the Sentinels, if they want one; that of Redis is in the url."},
        {.path = "redis.wait_replicas",
                .fallback = "0",
                INTEGER(config, redis.wait_replicas, 0, 16),
                .help = "So many replicas must have an accepted, or deleted, job before the answer says so; else it is "
                        "a 503."},
        {.path = "redis.prefix",
                .fallback = "\"dungbeetle:\"",
                TEXT(config, redis.prefix, .min = 1, .max = 64, .check = check_word),
                .help = "Every key in Redis begins with it; with a `{tag}` in it all keys are in one slot of a "
                        "Cluster."},
        {.path = "redis.connect_timeout",
                .fallback = "2s",
                DURATION(config, redis.connect_timeout_ms, 10 * MS, 5 * MINUTE),
                .help = "How long connecting may take."},
        {.path = "redis.timeout",
                .fallback = "5s",
                DURATION(config, redis.timeout_ms, 10 * MS, 5 * MINUTE),
                .help = "How long the answer to a command may take."},

        {.path = "sql_directories",
                .fallback = "[queries]",
                .type = "list of paths",
                RULE(.kind = KEY_LIST, AT(config, sql_directories), .count = offsetof(struct config, n_sql_directories),
                        .min = 1, .list_form = "a list of at least one directory, such as [queries]",
                        .item_form = "the path of a directory", .separator = ':'),
                .help = "Where the .sql files with the tasks are; --sql-directory takes the place of the list."},

        {.path = "jobs.default_queue",
                .fallback = "default",
                TEXT(config, jobs.default_queue, .min = 1, .max = CONFIG_QUEUE_NAME_MAX, .check = check_queue),
                .help = "The queue of a job when neither the request nor the task names one."},
        {.path = "jobs.result_ttl",
                .fallback = "1h",
                DURATION(config, jobs.result_ttl_ms, SECOND, 3650 * DAY),
                .help = "How long a result is kept when task and job name no ttl."},
        {.path = "jobs.state_ttl",
                .fallback = "24h",
                DURATION(config, jobs.state_ttl_ms, SECOND, 3650 * DAY),
                .help = "How long the state of a finished job is kept; never shorter than its result."},
        {.path = "jobs.retries",
                .fallback = "0",
                INTEGER(config, jobs.retries, 0, 1000),
                .help = "How often a failed job is run again when task and job name no number."},
        {.path = "jobs.reject_wrong_args",
                .fallback = "false",
                BOOLEAN(config, jobs.reject_wrong_args),
                .help = "Answer a wrong number of arguments with 400 rather than accept a job that fails at once."},
        {.path = "jobs.max_rows",
                .fallback = "0",
                INTEGER(config, jobs.max_rows, 0, INT64_MAX),
                .help = "A result with more rows is a failure; 0: no limit."},
        {.path = "jobs.max_bytes",
                .fallback = "0",
                SIZE(config, jobs.max_bytes, 0, INT64_MAX),
                .help = "A result with more bytes, as sent, is a failure; 0: no limit."},
        {.path = "jobs.max_running",
                .fallback = "{}",
                .type = "map of queue to jobs at once",
                RULE(.kind = KEY_QUEUES, AT(config, jobs.max_running),
                        .count = offsetof(struct config, jobs.n_max_running), .min = 1, .max = CONFIG_CONNECTIONS_MAX),
                .help = "Most jobs of a queue that all workers together run at once; more of them wait; a queue that "
                        "is "
                        "not named has no limit."},

        {.path = "limits.body",
                .fallback = "1MiB",
                SIZE(config, limits.body, KIB, GIB),
                .help = "Largest body of a request; nginx's client_max_body_size should be the same."},
        {.path = "limits.args",
                .fallback = "100",
                INTEGER(config, limits.args, 0, 10000),
                .help = "Most arguments of a job."},
        {.path = "limits.arg_bytes",
                .fallback = "64KiB",
                SIZE(config, limits.arg_bytes, 1, GIB),
                .help = "Longest argument."},
        {.path = "limits.group_jobs",
                .fallback = "1000",
                INTEGER(config, limits.group_jobs, 1, 100000),
                .help = "Most jobs of a group."},
        {.path = "limits.json_depth",
                .fallback = "16",
                INTEGER(config, limits.json_depth, 4, 100),
                .help = "Deepest nesting of a request's JSON."},
        {.path = "limits.page",
                .fallback = "100",
                INTEGER(config, limits.page, 1, 10000),
                .help = "Entries of a page of GET /jobs/queue/{queue} when the request names no limit."},

        {.path = "fcgi.socket",
                .fallback = "/run/dungbeetle/fcgi.sock",
                TEXT(config, fcgi.socket, .min = 1, .max = 107), /* sun_path */
                .help = "The unix socket for nginx; not used when a socket is inherited."},
        {.path = "fcgi.socket_mode",
                .fallback = "\"0660\"",
                TEXT(config, fcgi.socket_mode, .max = 4, .check = check_mode),
                .help = "The socket's permissions, in octal."},
        {.path = "fcgi.socket_group",
                .fallback = "\"\"",
                TEXT(config, fcgi.socket_group, .max = 32),
                .help = "The socket's group, which nginx belongs to; empty: left as it is."},
        {.path = "fcgi.threads",
                .fallback = "3",
                INTEGER(config, fcgi.threads, 1, 64),
                .help = "Event loops: while one waits for Redis the other reads requests."},
        {.path = "fcgi.drain_timeout",
                .fallback = "10s",
                DURATION(config, fcgi.drain_timeout_ms, 0, HOUR),
                .help = "How long a stop waits for the requests in flight."},

        {.path = "worker.name",
                .fallback = "\"\"",
                TEXT(config, worker.name, .max = 100, .check = check_word),
                .help = "What this worker is called in Redis and in the logs; empty: the host's name."},
        {.path = "worker.concurrency",
                .fallback = "10",
                INTEGER(config, worker.concurrency, 1, CONFIG_SLOTS_MAX),
                .help = "Jobs at once of a queue that names no number."},
        {.path = "worker.queues",
                .fallback = "{}",
                .type = "map of queue to jobs at once",
                RULE(.kind = KEY_QUEUES, AT(config, worker.queues), .count = offsetof(struct config, worker.n_queues),
                        .max = CONFIG_SLOTS_MAX),
                .help = "The queues that this worker serves; empty: jobs.default_queue; --queue takes the place of the "
                        "map."},
        {.path = "worker.lease",
                .fallback = "15s",
                DURATION(config, worker.lease_ms, SECOND, HOUR),
                .help = "After so long without a sign of life a worker is taken for dead and its jobs move on."},
        {.path = "worker.drain_timeout",
                .fallback = "30s",
                DURATION(config, worker.drain_timeout_ms, 0, DAY),
                .help = "How long a stop waits for running jobs before they are cancelled and given back."},
        {.path = "worker.max_deliveries",
                .fallback = "3",
                INTEGER(config, worker.max_deliveries, 1, 1000),
                .help = "A job whose worker died so often is a failure."},
        {.path = "worker.retry_base",
                .fallback = "1s",
                DURATION(config, worker.retry_base_ms, MS, DAY),
                .help = "The wait before the first retry; it doubles with each."},
        {.path = "worker.retry_max",
                .fallback = "5m",
                DURATION(config, worker.retry_max_ms, MS, 7 * DAY),
                .help = "The longest wait before a retry."},
        {.path = "worker.outage_timeout",
                .fallback = "15m",
                DURATION(config, worker.outage_timeout_ms, 0, 30 * DAY),
                .help = "How long a job waits for a database that cannot be reached before it is a failure."},

        {.path = "expire.batch",
                .fallback = "50",
                INTEGER(config, expire.batch, 1, 10000),
                .help = "Result tables that dungbeetle-expire drops in one transaction."},
        {.path = "expire.lock_timeout",
                .fallback = "1s",
                DURATION(config, expire.lock_timeout_ms, MS, HOUR),
                .help = "How long the drop of one table waits for its readers."},

        {.path = "sources.*.type", CHOICE(cfg_source, engine, engines, .aliases = engine_aliases), .help = TYPE_HELP},
        CREDENTIALS("sources", cfg_source, SOURCE_DSN_HELP),
        {.path = "sources.*.read_only",
                .fallback = "true",
                BOOLEAN(cfg_source, read_only),
                .help = "Sessions refuse to write."},
        {.path = "sources.*.timeout",
                .fallback = "0",
                DURATION(cfg_source, timeout_ms, 0, 30 * DAY),
                .help = "Longest run when task and job name no timeout; 0: no limit."},
        {.path = "sources.*.max_running",
                .fallback = "0",
                INTEGER(cfg_source, max_running, 0, CONFIG_CONNECTIONS_MAX),
                .help = "Most jobs that all workers together run in it at once; more of them wait; 0: no limit."},
        CONNECTIONS("sources", cfg_source),

        {.path = "results.*.type",
                CHOICE(cfg_results, engine, result_engines, .aliases = engine_aliases),
                .help = TYPE_HELP},
        CREDENTIALS("results", cfg_results, RESULTS_DSN_HELP),
        {.path = "results.*.storage_engine",
                .fallback = "\"\"",
                TEXT(cfg_results, storage_engine, .max = 64, .check = check_storage_engine),
                .help = "Storage engine of the result tables, for mysql only; empty: InnoDB."},
        {.path = "results.*.durability",
                .fallback = "full",
                CHOICE(cfg_results, durability, durabilities),
                .help = "What a crash of the server may cost: full: nothing; relaxed: the newest results and large "
                        "ones; unlogged: all results."},
        {.path = "results.*.unlogged",
                .fallback = "false",
                BOOLEAN(cfg_results, unlogged),
                .help = "true is another way to write durability: unlogged."},
        {.path = "results.*.lock_timeout",
                .fallback = "2s",
                DURATION(cfg_results, lock_timeout_ms, MS, HOUR),
                .help = "How long one attempt to replace a table waits for its readers."},
        CONNECTIONS("results", cfg_results),
};

const struct config_key *config_keys(size_t *count)
{
	*count = sizeof keys / sizeof *keys;
	return keys;
}

const struct config_key *config_table_find(const char *path)
{
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (strcmp(keys[i].path, path) == 0)
			return &keys[i];
	return NULL;
}

bool config_table_is_section(const char *path)
{
	size_t len = strlen(path);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (strncmp(keys[i].path, path, len) == 0 && keys[i].path[len] == '.')
			return true;
	return false;
}

const char *db_engine_name(enum db_engine engine)
{
	return engines[engine];
}

/* --- words that are nearly right --- */

static int least(int a, int b)
{
	return a < b ? a : b;
}

int config_distance(const char *a, const char *b)
{
	enum { LONGEST = 64 };
	size_t n = strlen(a), m = strlen(b);
	if (n > LONGEST || m > LONGEST)
		return INT16_MAX;
	int d[LONGEST + 1][LONGEST + 1]; /* d[i][j]: between the first i of a and the first j of b */
	for (size_t i = 0; i <= n; i++)
		for (size_t j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = (int)(i + j);
				continue;
			}
			d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[n][m];
}

bool config_is_near(int distance, size_t len)
{
	return distance <= (len < 3 ? 0 : len < 6 ? 1 : 2);
}

/* --- limits in words --- */

struct unit {
	const char *name;
	int64_t factor;
};

static const char *in_units(int64_t v, const struct unit *units, size_t count, char *out, size_t size)
{
	while (count > 1 && (v == 0 || v % units[count - 1].factor != 0))
		count--;
	snprintf(out, size, "%" PRId64 "%s", v / units[count - 1].factor, v ? units[count - 1].name : "");
	return out;
}

const char *config_duration_text(int64_t ms, char *out, size_t size)
{
	static const struct unit units[] = {{"ms", MS}, {"s", SECOND}, {"m", MINUTE}, {"h", HOUR}, {"d", DAY}};
	return in_units(ms, units, sizeof units / sizeof *units, out, size);
}

const char *config_size_text(int64_t bytes, char *out, size_t size)
{
	static const struct unit units[] = {{"B", 1}, {"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}};
	return in_units(bytes, units, sizeof units / sizeof *units, out, size);
}

const char *config_limits_text(const struct key_rule *rule, char *out, size_t size)
{
	char low[32], high[32];
	if (rule->kind == KEY_DURATION) {
		config_duration_text(rule->min, low, sizeof low);
		config_duration_text(rule->max, high, sizeof high);
	} else if (rule->kind == KEY_SIZE) {
		config_size_text(rule->min, low, sizeof low);
		config_size_text(rule->max, high, sizeof high);
	} else if (rule->kind == KEY_INTEGER) {
		snprintf(low, sizeof low, "%" PRId64, rule->min);
		snprintf(high, sizeof high, "%" PRId64, rule->max);
	} else {
		out[0] = '\0';
		return out;
	}
	if (rule->max == INT64_MAX)
		snprintf(out, size, "at least %s", low);
	else
		snprintf(out, size, "from %s to %s", low, high);
	return out;
}

/* A cell must not end at a `|` of its own. */
static void print_cell(FILE *out, const char *text)
{
	for (const char *p = text; *p; p++)
		fprintf(out, "%s%c", *p == '|' ? "\\" : "", *p);
}

void config_print_markdown(FILE *out)
{
	fputs("| key | value | default | meaning |\n| --- | --- | --- | --- |\n", out);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		char limits[96];
		const struct config_key *key = &keys[i];
		fprintf(out, "| `%s` | ", key->path);
		if (key->rule->choices)
			for (const char *const *c = key->rule->choices; *c; c++)
				fprintf(out, "%s`%s`", c == key->rule->choices ? "" : ", ", *c);
		else
			fprintf(out, "%s%s%s", key->type,
			        *config_limits_text(key->rule, limits, sizeof limits) ? " " : "", limits);
		if (key->fallback)
			fprintf(out, " | `%s` | ", key->fallback);
		else
			fprintf(out, key->rule->unless ? " | required without `%s` | " : " | required | ",
			        key->rule->unless);
		print_cell(out, key->help);
		fputs(" |\n", out);
	}
}
