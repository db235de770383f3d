#include "shared/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/config/config_db.h"
#include "shared/config/config_env.h"
#include "shared/config/config_shape.h"
#include "shared/config/config_table.h"
#include "shared/config/config_value.h"
#include "shared/config/redis_url.h"
#include "shared/config/yaml_tree.h"

enum { PATH_SIZE = 160 };

/* One load: file, variables and flags are laid over each other in one tree, which is then read into the struct once. So
 * every value is checked by the same rule, and its message says where it came from. */
struct loader {
	struct config *c;
	struct yaml_tree *root;
	struct err *e;
};

static enum err_code choose_file(const struct config_flags *flags, char **out, struct err *e)
{
	static const char here[] = "config.yml", there[] = "/etc/dungbeetle/config.yml";
	const char *path = flags->config_path;
	if (!path && access(here, F_OK) == 0)
		path = here;
	if (!path && access(there, F_OK) == 0)
		path = there;
	if (!path)
		return err_set(
		        e, ERR_INVALID, "expected a configuration (--config FILE), got neither %s nor %s", here, there);
	*out = strdup(path);
	return *out ? ERR_OK : err_nomem(e);
}

/* --- flags over the tree --- */

static enum err_code put_flag(
        struct loader *l, const char *section, const char *key, const char *text, const char *flag)
{
	struct yaml_tree *map;
	enum err_code rc = config_env_section(l->root, section, flag, &map, l->e);
	if (!rc && map && !yaml_tree_put(map, key, text, flag))
		rc = err_nomem(l->e);
	return rc;
}

static enum err_code put_directories(struct loader *l, const struct config_flags *flags)
{
	struct yaml_tree *list = yaml_tree_put_empty(l->root, "sql_directories", TREE_LIST, "--sql-directory");
	if (!list)
		return err_nomem(l->e);
	for (size_t i = 0; i < flags->n_sql_directories; i++)
		if (!yaml_tree_append(list, flags->sql_directories[i], "--sql-directory"))
			return err_nomem(l->e);
	return ERR_OK;
}

static enum err_code put_queues(struct loader *l, const struct config_flags *flags)
{
	struct yaml_tree *worker;
	enum err_code rc = config_env_section(l->root, "worker", "--queue", &worker, l->e);
	if (rc || !worker)
		return rc;
	struct yaml_tree *queues = yaml_tree_put_empty(worker, "queues", TREE_MAP, "--queue");
	for (size_t i = 0; queues && i < flags->n_queues; i++) {
		char slots[16];
		snprintf(slots, sizeof slots, "%d", flags->queues[i].slots);
		if (!yaml_tree_put(queues, flags->queues[i].name, slots, "--queue"))
			return err_nomem(l->e);
	}
	return queues ? ERR_OK : err_nomem(l->e);
}

static enum err_code put_flags(struct loader *l, const struct config_flags *flags)
{
	char number[16];
	snprintf(number, sizeof number, "%d", flags->worker_concurrency);
	enum err_code rc = ERR_OK;
	if (flags->n_sql_directories)
		rc = put_directories(l, flags);
	if (!rc && flags->n_queues)
		rc = put_queues(l, flags);
	if (!rc && flags->worker_name)
		rc = put_flag(l, "worker", "name", flags->worker_name, "--worker-name");
	if (!rc && flags->worker_concurrency)
		rc = put_flag(l, "worker", "concurrency", number, "--worker-concurrency");
	if (!rc && flags->socket)
		rc = put_flag(l, "fcgi", "socket", flags->socket, "--socket");
	return rc;
}

/* --- the tree into the struct --- */

/* The node at a path of keys below map, or NULL. */
static struct yaml_tree *find(struct yaml_tree *map, const char *path)
{
	char key[PATH_SIZE];
	for (struct yaml_tree *node = map; node && node->kind == TREE_MAP; path++) {
		size_t n = strcspn(path, ".");
		snprintf(key, sizeof key, "%.*s", (int)n, path);
		node = yaml_tree_get(node, key);
		path += n;
		if (!*path)
			return node;
	}
	return NULL;
}

static enum err_code set_default(const struct config_key *key, void *base, struct err *e)
{
	struct yaml_tree *node;
	enum err_code rc = yaml_tree_parse("default", key->fallback, strlen(key->fallback), &node, e);
	if (!rc)
		rc = config_value_set(key, node, base, e);
	yaml_tree_free(node);
	return rc;
}

/* A text that another key makes unnecessary. */
static enum err_code set_missing(const struct config_key *key, void *base, struct err *e)
{
	char *empty = strdup("");
	*(char **)(void *)((char *)base + key->rule->offset) = empty;
	return empty ? ERR_OK : err_nomem(e);
}

/* Every key whose path begins with group ("" are those of no database) from the map into base. shown is what messages
 * put in place of group. */
static enum err_code set_keys(struct loader *l, struct yaml_tree *map, const char *group, const char *shown, void *base)
{
	size_t count, len = strlen(group);
	const struct config_key *keys = config_keys(&count);
	for (size_t i = 0; i < count; i++) {
		char path[PATH_SIZE];
		if (len ? strncmp(keys[i].path, group, len) != 0 : strchr(keys[i].path, '*') != NULL)
			continue;
		struct yaml_tree *node = find(map, keys[i].path + len);
		snprintf(path, sizeof path, "%s%s", shown, keys[i].path + len);
		enum err_code rc = ERR_OK;
		if (node) {
			rc = config_value_set(&keys[i], node, base, l->e);
			if (rc)
				return config_shape_place(l->c->file, node, path, l->e);
		} else if (keys[i].fallback) {
			rc = set_default(&keys[i], base, l->e);
		} else if (keys[i].rule->unless && find(map, keys[i].rule->unless)) {
			rc = set_missing(&keys[i], base, l->e);
		} else {
			struct yaml_tree *section = len ? map : find(map, "redis");
			rc = err_set(l->e, ERR_INVALID,
			        "%s:%d: %s: expected a value, since it has no default, got none", l->c->file,
			        section ? section->line : map->line, path);
		}
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* The databases of a section into an array of structs of that size, which begin with their name. *n counts those whose
 * fields may have been set, so that config_free frees just them. */
static enum err_code set_databases(struct loader *l, const char *section, size_t size, void **array, size_t *n)
{
	char group[32], shown[PATH_SIZE];
	const struct yaml_tree *map = yaml_tree_get(l->root, section);
	size_t count = yaml_tree_count(map);
	if (count == 0)
		return ERR_OK;
	*array = calloc(count, size);
	if (!*array)
		return err_nomem(l->e);
	snprintf(group, sizeof group, "%s.*.", section);
	for (struct yaml_tree *db = map->first; db; db = db->next) {
		char *base = (char *)*array + *n * size;
		(*n)++;
		*(char **)(void *)base = strdup(db->key);
		if (!*(char **)(void *)base)
			return err_nomem(l->e);
		snprintf(shown, sizeof shown, "%s.%s.", section, db->key);
		enum err_code rc = set_keys(l, db, group, shown, base);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

_Static_assert(offsetof(struct cfg_source, name) == 0 && offsetof(struct cfg_results, name) == 0,
        "set_databases puts the name first");

/* --- what concerns more than one key --- */

static enum err_code check_unlogged(struct loader *l, struct cfg_results *db)
{
	char path[PATH_SIZE];
	if (!db->unlogged)
		return ERR_OK;
	snprintf(path, sizeof path, "results.%s.durability", db->name);
	const struct yaml_tree *durability = find(l->root, path);
	if (durability && db->durability != DURABILITY_UNLOGGED) {
		err_set(l->e, ERR_INVALID, "expected unlogged, since unlogged is true, got \"%s\"", durability->text);
		return config_shape_place(l->c->file, durability, path, l->e);
	}
	db->durability = DURABILITY_UNLOGGED;
	return ERR_OK;
}

static enum err_code check_backoff(struct loader *l)
{
	char base[32], max[32];
	const struct config *c = l->c;
	if (c->worker.retry_base_ms <= c->worker.retry_max_ms)
		return ERR_OK;
	config_duration_text(c->worker.retry_base_ms, base, sizeof base);
	config_duration_text(c->worker.retry_max_ms, max, sizeof max);
	const char *path = "worker.retry_max";
	const struct yaml_tree *node = find(l->root, path);
	if (node) {
		err_set(l->e, ERR_INVALID, "expected no less than worker.retry_base (%s), got %s", base, max);
	} else {
		path = "worker.retry_base";
		node = find(l->root, path); /* the defaults agree: one of the two was given */
		err_set(l->e, ERR_INVALID, "expected no more than worker.retry_max (%s), got %s", max, base);
	}
	return node ? config_shape_place(c->file, node, path, l->e) : l->e->code;
}

/* "key: expected ..., got ..." at a key that is there. */
static enum err_code wrong_at(struct loader *l, const char *path, const char *expected, const char *got)
{
	const struct yaml_tree *node = find(l->root, path);
	err_set(l->e, ERR_INVALID, "expected %s, got %s", expected, got);
	return node ? config_shape_place(l->c->file, node, path, l->e) : err_prefix(l->e, "%s", path);
}

/* Redis where the url says, and nothing about Sentinels. */
static enum err_code check_no_sentinels(struct loader *l)
{
	static const char *const paths[] = {"redis.master", "redis.sentinel_username", "redis.sentinel_password"};
	const struct config *c = l->c;
	const char *const values[] = {c->redis.master, c->redis.sentinel_username, c->redis.sentinel_password};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		if (values[i][0])
			return wrong_at(
			        l, paths[i], "nothing here unless redis.sentinels lists the Sentinels", "a text");
	if (!c->redis.url[0])
		return wrong_at(l, "redis.sentinels", "at least one Sentinel, or redis.url", "neither");
	struct redis_url url;
	enum err_code rc = redis_url_parse(c->redis.url, &url, l->e);
	redis_url_fini(&url);
	const struct yaml_tree *node = rc ? find(l->root, "redis.url") : NULL;
	return node ? config_shape_place(c->file, node, "redis.url", l->e) : rc;
}

/* The Sentinels say where Redis is; the url, if there is one, as whom and which db. */
static enum err_code check_sentinels(struct loader *l)
{
	const struct config *c = l->c;
	struct redis_url url;
	if (!c->redis.master[0])
		return wrong_at(
		        l, "redis.sentinels", "redis.master beside it, the Sentinels' name of the master", "none");
	if (c->redis.sentinel_username[0] && !c->redis.sentinel_password[0])
		return wrong_at(l, "redis.sentinel_username", "redis.sentinel_password beside it", "none");
	if (!c->redis.url[0])
		return ERR_OK;
	enum err_code rc = redis_url_parse_any(c->redis.url, &url, l->e);
	bool placed = rc == ERR_OK && (url.host || url.path);
	redis_url_fini(&url);
	return placed ? wrong_at(l, "redis.url", REDIS_URL_HOSTLESS ", since redis.sentinels say where the master is",
	                        "one with a host")
	              : rc;
}

static enum err_code need_database(struct loader *l, const char *section)
{
	const struct yaml_tree *node = yaml_tree_get(l->root, section);
	return err_set(l->e, ERR_INVALID, "%s:%d: %s: expected at least one database, got none", l->c->file,
	        node ? node->line : l->root->line, section);
}

/* A worker that names no queue serves the one that jobs are put into. */
static enum err_code default_queue(struct config *c, struct err *e)
{
	if (c->worker.n_queues)
		return ERR_OK;
	c->worker.queues = calloc(1, sizeof *c->worker.queues);
	if (!c->worker.queues)
		return err_nomem(e);
	c->worker.n_queues = 1;
	c->worker.queues[0].name = strdup(c->jobs.default_queue);
	return c->worker.queues[0].name ? ERR_OK : err_nomem(e);
}

static enum err_code finish_databases(struct loader *l, enum config_program program)
{
	struct config *c = l->c;
	struct config_db_place at = {.file = c->file, .section = "sources"};
	enum err_code rc = ERR_OK;
	for (size_t i = 0; rc == ERR_OK && i < c->n_sources; i++) {
		at.name = c->sources[i].name;
		at.map = yaml_tree_get(yaml_tree_get(l->root, at.section), at.name);
		rc = config_db_source(&at, program == PROGRAM_WORKER, &c->sources[i], l->e);
	}
	at.section = "results";
	for (size_t i = 0; rc == ERR_OK && i < c->n_results; i++) {
		at.name = c->results[i].name;
		at.map = yaml_tree_get(yaml_tree_get(l->root, at.section), at.name);
		rc = config_db_results(&at, program != PROGRAM_FCGI, &c->results[i], l->e);
		if (rc == ERR_OK)
			rc = check_unlogged(l, &c->results[i]);
	}
	return rc;
}

static enum err_code finish(struct loader *l, enum config_program program)
{
	struct config *c = l->c;
	if (c->n_sources == 0 && program != PROGRAM_EXPIRE)
		return need_database(l, "sources");
	if (c->n_results == 0)
		return need_database(l, "results");
	enum err_code rc = c->redis.n_sentinels ? check_sentinels(l) : check_no_sentinels(l);
	if (!rc)
		rc = finish_databases(l, program);
	if (!rc)
		rc = check_backoff(l);
	return rc ? rc : default_queue(c, l->e);
}

static enum err_code set_all(struct loader *l)
{
	struct config *c = l->c;
	void *sources = NULL, *results = NULL;
	enum err_code rc = set_keys(l, l->root, "", "", c);
	if (!rc)
		rc = set_databases(l, "sources", sizeof *c->sources, &sources, &c->n_sources);
	c->sources = sources;
	if (!rc)
		rc = set_databases(l, "results", sizeof *c->results, &results, &c->n_results);
	c->results = results;
	return rc;
}

enum err_code config_load(const struct config_flags *flags, char **environ_list, struct config **out, struct err *e)
{
	struct loader l = {.c = calloc(1, sizeof *l.c), .e = e};
	*out = NULL;
	if (!l.c)
		return err_nomem(e);
	enum err_code rc = choose_file(flags, &l.c->file, e);
	if (!rc)
		rc = yaml_tree_read(l.c->file, &l.root, e);
	if (!rc)
		rc = config_shape_check(l.c->file, l.root, e);
	if (!rc && environ_list)
		rc = config_env_apply(environ_list, l.root, e);
	if (!rc)
		rc = put_flags(&l, flags);
	if (!rc)
		rc = set_all(&l);
	if (!rc)
		rc = finish(&l, flags->program);
	if (!rc) {
		*out = l.c;
		l.c = NULL;
	}
	yaml_tree_free(l.root);
	config_free(l.c);
	return rc;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_sql_directories; i++)
		free(c->sql_directories[i]);
	for (size_t i = 0; i < c->worker.n_queues; i++)
		free(c->worker.queues[i].name);
	for (size_t i = 0; i < c->jobs.n_max_running; i++)
		free(c->jobs.max_running[i].name);
	for (size_t i = 0; i < c->n_sources; i++) {
		free(c->sources[i].name);
		free(c->sources[i].dsn);
		free(c->sources[i].password);
		free(c->sources[i].password_file);
	}
	for (size_t i = 0; i < c->n_results; i++) {
		free(c->results[i].name);
		free(c->results[i].dsn);
		free(c->results[i].password);
		free(c->results[i].password_file);
		free(c->results[i].storage_engine);
	}
	free(c->sql_directories);
	free(c->worker.queues);
	free(c->jobs.max_running);
	free(c->sources);
	free(c->results);
	free(c->file);
	free(c->redis.url);
	for (size_t i = 0; i < c->redis.n_sentinels; i++)
		free(c->redis.sentinels[i]);
	free(c->redis.sentinels);
	free(c->redis.master);
	free(c->redis.sentinel_username);
	free(c->redis.sentinel_password);
	free(c->redis.prefix);
	free(c->jobs.default_queue);
	free(c->fcgi.socket);
	free(c->fcgi.socket_mode);
	free(c->fcgi.socket_group);
	free(c->worker.name);
	free(c);
}

const struct cfg_source *config_source(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_sources; i++)
		if (strcmp(c->sources[i].name, name) == 0)
			return &c->sources[i];
	return NULL;
}

const struct cfg_results *config_results(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_results; i++)
		if (strcmp(c->results[i].name, name) == 0)
			return &c->results[i];
	return NULL;
}

int config_queue_max_running(const struct config *c, const char *queue)
{
	for (size_t i = 0; i < c->jobs.n_max_running; i++)
		if (strcmp(c->jobs.max_running[i].name, queue) == 0)
			return c->jobs.max_running[i].slots;
	return 0;
}
