#include "worker/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/log.h"
#include "shared/db/driver.h"
#include "shared/queue/redis.h"

static int report(const char *what, const char *name, enum err_code rc, const struct err *e)
{
	printf("%s%s%s: %s\n", what, name[0] ? " " : "", name, rc == ERR_OK ? "ok" : e->text);
	return rc != ERR_OK;
}

/* Every argument as NULL: preparing needs only their number. */
static int check_task(struct source *source, const struct cfg_source *cfg, const struct task *t)
{
	struct err e = ERR_INIT;
	const char **args = calloc((size_t)t->n_placeholders + 1, sizeof *args);
	struct query q = {
	        .task = t->name, .sql = t->sql, .args = args, .n_args = (size_t)t->n_placeholders, .tag = t->name};
	enum err_code rc = args ? source->ops->check(source, &q, &e) : err_nomem(&e);
	if (rc != ERR_OK)
		printf("%s:%d: task %s on source %s: %s\n", t->file, t->line, t->name, cfg->name, e.text);
	free(args);
	return rc != ERR_OK;
}

static bool runs_on(const struct task *t, const char *source)
{
	for (size_t i = 0; i < t->n_dbs; i++)
		if (strcmp(t->dbs[i], source) == 0)
			return true;
	return false;
}

static int check_source(const struct cfg_source *cfg, const struct task_set *tasks)
{
	struct err e = ERR_INIT;
	struct source *source = driver_source(cfg->engine)->make(cfg);
	enum err_code rc = source ? source->ops->connect(source, &e) : err_nomem(&e);
	int problems = report("source", cfg->name, rc, &e);
	for (size_t i = 0; rc == ERR_OK && i < task_set_count(tasks); i++) {
		const struct task *t = task_set_at(tasks, i);
		if (!t->raw && runs_on(t, cfg->name))
			problems += check_task(source, cfg, t);
	}
	driver_source(cfg->engine)->free(source);
	return problems;
}

static int check_results(const struct cfg_results *cfg)
{
	struct err e = ERR_INIT;
	struct sink *sink = driver_sink(cfg->engine)->make(cfg);
	enum err_code rc = sink ? sink->ops->connect(sink, &e) : err_nomem(&e);
	driver_sink(cfg->engine)->free(sink);
	return report("results", cfg->name, rc, &e);
}

int check_everything(const struct config *c, const struct task_set *tasks)
{
	struct err e = ERR_INIT;
	struct redis *r = redis_new(c);
	enum err_code rc = r ? check_redis(r, c->redis.n_sentinels > 0, &e) : err_nomem(&e);
	int problems = report("redis", "", rc, &e);
	redis_free(r);
	for (size_t i = 0; i < c->n_sources; i++)
		problems += check_source(&c->sources[i], tasks);
	for (size_t i = 0; i < c->n_results; i++)
		problems += check_results(&c->results[i]);
	printf("%zu tasks, %d problem%s\n", task_set_count(tasks), problems, problems == 1 ? "" : "s");
	return problems;
}

/* The value of "name:value\r\n" in the text of INFO, up to size - 1 bytes; "" when it is not there. */
static void info_value(const char *info, const char *name, char *out, size_t size)
{
	const char *at = strstr(info, name);
	size_t n = strlen(name);
	out[0] = '\0';
	if (!at || at[n] != ':')
		return;
	size_t len = strcspn(at + n + 1, "\r\n");
	snprintf(out, size, "%.*s", (int)len, at + n + 1);
}

enum err_code check_redis(struct redis *r, bool replicated, struct err *e)
{
	static const char *const sections[] = {"memory", "persistence", "replication"};
	struct cmd cmds[3];
	struct cmd *const all[] = {&cmds[0], &cmds[1], &cmds[2]};
	struct reply *replies[3];
	char policy[64], aof[8], good[16];
	for (size_t i = 0; i < 3; i++) {
		cmd_init(&cmds[i]);
		cmd_addstr(&cmds[i], "INFO");
		cmd_addstr(&cmds[i], sections[i]);
	}
	enum err_code rc = redis_pipeline(r, all, 3, replies, e);
	if (rc == ERR_OK)
		rc = reply_error(replies[0], e);
	info_value(reply_text(replies[0], NULL), "maxmemory_policy", policy, sizeof policy);
	info_value(reply_text(replies[1], NULL), "aof_enabled", aof, sizeof aof);
	info_value(reply_text(replies[2], NULL), "min_slaves_good_slaves", good, sizeof good);
	if (rc == ERR_OK && policy[0] && strcmp(policy, "noeviction") != 0)
		rc = err_set(e, ERR_INVALID,
		        "Redis may evict keys (maxmemory-policy %s): jobs would be lost; set it to noeviction", policy);
	else if (rc == ERR_OK && strcmp(aof, "0") == 0)
		log_warn("redis keeps no append-only file: a crash of it loses jobs; set appendonly yes (and "
		         "appendfsync always)");
	/* The line is there only where min-replicas-to-write is set. */
	if (rc == ERR_OK && replicated && !good[0])
		log_warn("redis takes jobs that no replica has: a failover loses them; set min-replicas-to-write and "
		         "redis.wait_replicas");
	for (size_t i = 0; i < 3; i++) {
		reply_free(replies[i]);
		cmd_fini(&cmds[i]);
	}
	return rc;
}
