#include "shared/config/config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/config/config_table.h"
#include "shared/config/config_value.h"

/* What getopt_long returns for a flag; above every character, since there are no short flags. */
enum flag_id {
	FLAG_CONFIG = 256,
	FLAG_SQL_DIRECTORY,
	FLAG_QUEUE,
	FLAG_WORKER_NAME,
	FLAG_WORKER_CONCURRENCY,
	FLAG_SOCKET,
	FLAG_CHECK,
	FLAG_DRY_RUN,
	FLAG_VERSION,
	FLAG_HELP,
};

enum {
	FCGI = 1 << PROGRAM_FCGI,
	WORKER = 1 << PROGRAM_WORKER,
	EXPIRE = 1 << PROGRAM_EXPIRE,
	ALL = FCGI | WORKER | EXPIRE
};

/* Which program takes which flag. The texts of --help below name the same ones; a test holds them together. */
static const struct flag {
	const char *name;
	int has_arg;
	enum flag_id id;
	unsigned programs;
} flags[] = {
        {"config", required_argument, FLAG_CONFIG, ALL},
        {"sql-directory", required_argument, FLAG_SQL_DIRECTORY, FCGI | WORKER},
        {"queue", required_argument, FLAG_QUEUE, WORKER},
        {"worker-name", required_argument, FLAG_WORKER_NAME, WORKER},
        {"worker-concurrency", required_argument, FLAG_WORKER_CONCURRENCY, WORKER},
        {"socket", required_argument, FLAG_SOCKET, FCGI},
        {"check", no_argument, FLAG_CHECK, ALL},
        {"dry-run", no_argument, FLAG_DRY_RUN, EXPIRE},
        {"version", no_argument, FLAG_VERSION, ALL},
        {"help", no_argument, FLAG_HELP, ALL},
};
enum { N_FLAGS = sizeof flags / sizeof *flags };

#define HELP_CONFIG \
	"  --config FILE             read FILE (default: ./config.yml if there is one,\n" \
	"                            else /etc/dungbeetle/config.yml)\n"
#define HELP_SQL_DIRECTORY \
	"  --sql-directory DIR       read the tasks of DIR; may be repeated, and takes the\n" \
	"                            place of the file's sql_directories\n"
#define HELP_QUEUE \
	"  --queue NAME[:CONCURRENCY]\n" \
	"                            serve this queue; may be repeated, and takes the place\n" \
	"                            of the file's worker.queues\n" \
	"  --worker-name NAME        what this worker is called in Redis and in the logs\n" \
	"  --worker-concurrency N    jobs at once of a queue that names no number\n"
#define HELP_SOCKET "  --socket PATH             the unix socket for nginx\n"
#define HELP_COMMON \
	"  --version                 print the version\n" \
	"  --help                    print this\n" \
	"\nEvery key of the file can be set by an environment variable: redis.url by\n" \
	"DUNGBEETLE_REDIS__URL, sources.ledger.dsn by DUNGBEETLE_SOURCES__LEDGER__DSN.\n" \
	"Flags come before variables, variables before the file.\n"

const char *config_usage(enum config_program program)
{
	static const char *const texts[] = {
	        [PROGRAM_FCGI] =
	                "Usage: dungbeetle-fcgi [flags]\n"
	                "Accepts jobs over FastCGI and answers questions about them.\n\n" HELP_CONFIG HELP_SQL_DIRECTORY
	                        HELP_SOCKET
	                "  --check                   check configuration, tasks and Redis, then exit\n" HELP_COMMON,
	        [PROGRAM_WORKER] =
	                "Usage: dungbeetle-worker [flags]\n"
	                "Runs jobs and writes their results.\n\n" HELP_CONFIG HELP_SQL_DIRECTORY HELP_QUEUE
	                "  --check                   check configuration, databases and tasks, then exit\n" HELP_COMMON,
	        [PROGRAM_EXPIRE] =
	                "Usage: dungbeetle-expire [flags]\n"
	                "Drops the result tables that have expired; run it by cron.\n\n" HELP_CONFIG
	                "  --check                   check configuration and databases, then exit\n"
	                "  --dry-run                 say what would be dropped, and drop nothing\n" HELP_COMMON,
	};
	return texts[program];
}

static enum err_code add_directory(struct config_flags *out, const char *dir, struct err *e)
{
	if (!*dir)
		return err_set(e, ERR_INVALID, "--sql-directory: expected a directory, got \"\"");
	const char **list = realloc(out->sql_directories, (out->n_sql_directories + 1) * sizeof *list);
	if (!list)
		return err_nomem(e);
	out->sql_directories = list;
	list[out->n_sql_directories++] = dir;
	return ERR_OK;
}

/* "reports", "reports:2"; "a:b" is the queue "a:b", since b is no number. */
static enum err_code add_queue(struct config_flags *out, const char *text, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	const char *colon = strrchr(text, ':');
	size_t name_len = strlen(text);
	int64_t slots = 0;
	if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1)) {
		name_len = (size_t)(colon - text);
		if (!parse_i64(colon + 1, strlen(colon + 1), 1, CONFIG_SLOTS_MAX, &slots))
			return err_set(e, ERR_INVALID, "--queue: expected a concurrency from 1 to %d, got %s",
			        CONFIG_SLOTS_MAX, config_text_shown(text, shown));
	}
	if (!parse_name(text, name_len, CONFIG_QUEUE_NAME_MAX) || text[name_len - 1] == ':')
		return err_set(e, ERR_INVALID,
		        "--queue: expected NAME or NAME:CONCURRENCY with a name of letters, digits, _, : and -, got %s",
		        config_text_shown(text, shown));
	struct cfg_queue *list = realloc(out->queues, (out->n_queues + 1) * sizeof *list);
	if (!list)
		return err_nomem(e);
	out->queues = list;
	char *name = strndup(text, name_len);
	if (!name)
		return err_nomem(e);
	list[out->n_queues++] = (struct cfg_queue){.name = name, .slots = (int)slots};
	return ERR_OK;
}

static enum err_code set_concurrency(struct config_flags *out, const char *text, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	int64_t v;
	if (!parse_i64(text, strlen(text), 1, CONFIG_SLOTS_MAX, &v))
		return err_set(e, ERR_INVALID, "--worker-concurrency: expected an integer from 1 to %d, got %s",
		        CONFIG_SLOTS_MAX, config_text_shown(text, shown));
	out->worker_concurrency = (int)v;
	return ERR_OK;
}

static enum err_code take_flag(enum flag_id id, const char *value, struct config_flags *out, struct err *e)
{
	switch (id) {
	case FLAG_CONFIG:
		out->config_path = value;
		return ERR_OK;
	case FLAG_SQL_DIRECTORY:
		return add_directory(out, value, e);
	case FLAG_QUEUE:
		return add_queue(out, value, e);
	case FLAG_WORKER_NAME:
		out->worker_name = value;
		return ERR_OK;
	case FLAG_WORKER_CONCURRENCY:
		return set_concurrency(out, value, e);
	case FLAG_SOCKET:
		out->socket = value;
		return ERR_OK;
	case FLAG_CHECK:
		out->check = true;
		return ERR_OK;
	case FLAG_DRY_RUN:
		out->dry_run = true;
		return ERR_OK;
	case FLAG_VERSION:
		out->version = true;
		return ERR_OK;
	case FLAG_HELP:
		out->help = true;
		return ERR_OK;
	}
	return ERR_OK;
}

/* Why getopt_long did not take the flag text, which may have its value behind a `=`. */
static enum err_code refuse(char why, const char *text, struct err *e)
{
	char name[64];
	snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
	if (why == ':')
		return err_set(e, ERR_INVALID, "%s: expected a value, got none", name);
	if (strncmp(name, "--", 2) == 0)
		for (int i = 0; i < N_FLAGS; i++) {
			if (strcmp(flags[i].name, name + 2) != 0)
				continue;
			return err_set(e, ERR_INVALID, "%s: expected %s", name,
			        flags[i].has_arg == no_argument && strchr(text, '=')
			                ? "no value, got one"
			                : "a flag of this program (see --help), got one of another");
		}
	return err_set(e, ERR_INVALID, "%s: expected a flag (see --help), got an unknown one", name);
}

enum err_code config_flags_parse(
        enum config_program program, int argc, char **argv, struct config_flags *out, struct err *e)
{
	struct option options[N_FLAGS + 1] = {0};
	size_t n = 0;
	for (int i = 0; i < N_FLAGS; i++)
		if (flags[i].programs & (1u << program))
			options[n++] = (struct option){flags[i].name, flags[i].has_arg, NULL, (int)flags[i].id};
	*out = (struct config_flags){.program = program};
	enum err_code rc = ERR_OK;
	optind = 0; /* forget an earlier argv */
	opterr = 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): main's, before threads start */
	for (int id; !rc && (id = getopt_long(argc, argv, "+:", options, NULL)) != -1;)
		rc = id >= FLAG_CONFIG ? take_flag((enum flag_id)id, optarg, out, e)
		                       : refuse((char)id, argv[optind - 1], e);
	if (!rc && optind < argc) {
		char shown[CONFIG_SHOWN_SIZE];
		rc = err_set(e, ERR_INVALID, "expected only flags (see --help), got %s",
		        config_text_shown(argv[optind], shown));
	}
	if (rc)
		config_flags_fini(out);
	return rc;
}

void config_flags_fini(struct config_flags *f)
{
	for (size_t i = 0; i < f->n_queues; i++)
		free(f->queues[i].name);
	free(f->queues);
	free(f->sql_directories);
	*f = (struct config_flags){0};
}
