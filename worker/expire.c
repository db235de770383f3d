/* dungbeetle-expire: run by cron or a timer. Drops the results whose time is over from every results database.
 * Exit status: 0 all done; 1 something is left (locked by readers, a server that cannot be reached); 2 bad configuration (with --check also: a server that
 * cannot be reached).
 * Safe beside running workers and beside another copy of itself: rows are taken with FOR UPDATE SKIP LOCKED. */
#include <stdio.h>
#include <unistd.h>

#include "shared/base/log.h"
#include "shared/db/driver.h"

static int expire_one(const struct config *c, const struct cfg_results *cfg, bool dry_run)
{
	struct err e = ERR_INIT;
	struct expire_stats stats = {0};
	struct sink *sink = driver_sink(cfg->engine)->make(cfg);
	enum err_code rc = sink
	        ? sink->ops->expire(sink, c->expire.batch, c->expire.lock_timeout_ms, dry_run, &stats, &e)
	        : err_nomem(&e);
	printf("results=%s expired=%lld strays=%lld left=%lld%s%s%s\n", cfg->name, (long long)stats.expired,
	        (long long)stats.strays, (long long)stats.left, dry_run ? " dry-run" : "",
	        rc == ERR_OK ? "" : " error=", rc == ERR_OK ? "" : e.text);
	driver_sink(cfg->engine)->free(sink);
	return rc != ERR_OK || stats.left > 0;
}

/* --check: can it be reached? */
static int check_one(const struct cfg_results *cfg)
{
	struct err e = ERR_INIT;
	struct sink *sink = driver_sink(cfg->engine)->make(cfg);
	enum err_code rc = sink ? sink->ops->connect(sink, &e) : err_nomem(&e);
	printf("results %s: %s\n", cfg->name, rc == ERR_OK ? "ok" : e.text);
	driver_sink(cfg->engine)->free(sink);
	return rc == ERR_OK ? 0 : 2;
}

static int complain(const struct err *e)
{
	fprintf(stderr, "dungbeetle-expire: %s\n", e->text);
	return 2;
}

int main(int argc, char **argv)
{
	struct config_flags flags;
	struct config *config = NULL;
	struct err e = ERR_INIT;
	int status = 0;
	if (config_flags_parse(PROGRAM_EXPIRE, argc, argv, &flags, &e) != ERR_OK)
		return complain(&e);
	if (flags.help)
		fputs(config_usage(PROGRAM_EXPIRE), stdout);
	else if (flags.version)
		puts("dungbeetle-expire " DUNGBEETLE_VERSION);
	else if (config_load(&flags, environ, &config, &e) != ERR_OK || driver_check(config, &e) != ERR_OK)
		status = complain(&e);
	else
		for (size_t i = 0; i < config->n_results; i++)
			status |= flags.check ? check_one(&config->results[i])
			                      : expire_one(config, &config->results[i], flags.dry_run);
	config_free(config);
	config_flags_fini(&flags);
	return status;
}
