#include "shared/config/config_env.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/config/config_table.h"

static const char prefix[] = "DUNGBEETLE_";

enum { NAME_MAX_LEN = 200 }; /* of a variable of ours: a database's name and some more */

/* One variable that may be ours. */
struct variable {
	char name[NAME_MAX_LEN];        /* as it was written */
	char origin[NAME_MAX_LEN + 16]; /* "environment NAME" */
	const char *rest;               /* the name behind the prefix */
	const char *value;
};

/* Fills v; false when the entry is none of ours. */
static bool read_variable(const char *entry, struct variable *v)
{
	const char *equals = strchr(entry, '=');
	if (!equals || strncasecmp(entry, prefix, sizeof prefix - 1) != 0)
		return false;
	/* a longer name is cut: it then names no key, and the message shows how it begins */
	snprintf(v->name, sizeof v->name, "%.*s", (int)(equals - entry), entry);
	snprintf(v->origin, sizeof v->origin, "environment %s", v->name);
	v->rest = v->name + sizeof prefix - 1;
	v->value = equals + 1;
	return true;
}

/* A path as a variable has it: upper case, other characters than letters and digits as _, a dot as __. */
static void as_variable(const char *path, char *out, size_t size)
{
	size_t n = 0;
	for (; *path && n + 3 < size; path++) {
		out[n++] = isalnum((unsigned char)*path) ? (char)toupper((unsigned char)*path) : '_';
		if (*path == '.')
			out[n++] = '_';
	}
	out[n] = '\0';
}

static bool is_database_key(const struct config_key *key)
{
	return strstr(key->path, ".*.") != NULL;
}

/* For "sources.*.dsn" and SOURCES__NAME__DSN: the NAME; false when rest is not of this key. */
static bool middle(const char *path, const char *rest, char *out, size_t size)
{
	char head[32], tail[64];
	const char *star = strchr(path, '*');
	snprintf(tail, sizeof tail, "%.*s", (int)(star - path), path);
	as_variable(tail, head, sizeof head);     /* SOURCES__ */
	as_variable(star + 1, tail, sizeof tail); /* __DSN */
	size_t len = strlen(rest), before = strlen(head), behind = strlen(tail);
	if (len <= before + behind || strncasecmp(rest, head, before) != 0 ||
	        strcasecmp(rest + len - behind, tail) != 0)
		return false;
	snprintf(out, size, "%.*s", (int)(len - before - behind), rest + before);
	return true;
}

enum err_code config_env_section(
        struct yaml_tree *root, const char *key, const char *origin, struct yaml_tree **out, struct err *e)
{
	struct yaml_tree *node = yaml_tree_get(root, key);
	if (!node || yaml_tree_is_null(node)) {
		node = yaml_tree_put_empty(root, key, TREE_MAP, origin);
		if (!node)
			return err_nomem(e);
	}
	*out = node->kind == TREE_MAP ? node : NULL;
	return ERR_OK;
}

static enum err_code put_list(
        struct yaml_tree *map, const char *name, char separator, const struct variable *v, struct err *e)
{
	const char separators[] = {separator, '\0'};
	struct yaml_tree *list = yaml_tree_put_empty(map, name, TREE_LIST, v->origin);
	char *copy = strdup(v->value), *rest = copy;
	enum err_code rc = list && copy ? ERR_OK : err_nomem(e);
	while (!rc && rest && *v->value) {
		const char *item = strsep(&rest, separators);
		if (!yaml_tree_append(list, item, v->origin))
			rc = err_nomem(e);
	}
	free(copy);
	return rc;
}

static enum err_code put_key(
        const struct config_key *key, struct yaml_tree *root, const struct variable *v, struct err *e)
{
	char section[64];
	struct yaml_tree *map = root;
	if (key->rule->kind == KEY_QUEUES)
		return err_set(e, ERR_INVALID, "%s: expected %s, got a variable, which cannot hold a map", v->origin,
		        strncmp(key->path, "worker.", 7) == 0 ? "queues in the file or as --queue"
		                                              : "a map in the file");
	const char *dot = strchr(key->path, '.');
	enum err_code rc = ERR_OK;
	if (dot) {
		snprintf(section, sizeof section, "%.*s", (int)(dot - key->path), key->path);
		rc = config_env_section(root, section, v->origin, &map, e);
	}
	if (rc || !map)
		return rc;
	const char *name = dot ? dot + 1 : key->path;
	if (key->rule->kind == KEY_LIST)
		return put_list(map, name, key->rule->separator, v, e);
	return yaml_tree_put(map, name, v->value, v->origin) ? ERR_OK : err_nomem(e);
}

/* The database of the map that the variable means; NULL: none, and e says so. */
static struct yaml_tree *find_database(
        const struct yaml_tree *map, const char *name, const struct variable *v, struct err *e)
{
	char wanted[NAME_MAX_LEN], has[NAME_MAX_LEN];
	struct yaml_tree *found = NULL;
	size_t count = 0;
	as_variable(name, wanted, sizeof wanted);
	for (struct yaml_tree *db = map->first; db; db = db->next) {
		as_variable(db->key, has, sizeof has);
		if (strcmp(has, wanted) != 0)
			continue;
		found = db;
		count++;
	}
	if (count == 0)
		err_set(e, ERR_INVALID, "%s: expected the name of a database of the file, got an unknown one",
		        v->origin);
	else if (count > 1)
		err_set(e, ERR_INVALID, "%s: expected the name of one database, got one that fits two", v->origin);
	return count == 1 ? found : NULL;
}

static enum err_code put_database_key(
        const struct config_key *key, const char *name, struct yaml_tree *root, const struct variable *v, struct err *e)
{
	char section[64];
	struct yaml_tree *map = NULL, *db = NULL;
	snprintf(section, sizeof section, "%.*s", (int)strcspn(key->path, "."), key->path);
	enum err_code rc = config_env_section(root, section, v->origin, &map, e);
	if (rc || !map)
		return rc;
	db = find_database(map, name, v, e);
	if (!db)
		return ERR_INVALID;
	rc = config_env_section(map, db->key, v->origin, &db, e); /* it may be there with nothing in it yet */
	if (!rc && db && !yaml_tree_put(db, strrchr(key->path, '.') + 1, v->value, v->origin))
		rc = err_nomem(e);
	return rc;
}

/* Whether a name that is no key was surely meant as one: it has the two underscores, or begins with a section. */
static bool looks_like_ours(const char *rest)
{
	size_t count;
	const struct config_key *keys = config_keys(&count);
	if (strstr(rest, "__"))
		return true;
	for (size_t i = 0; i < count; i++) {
		size_t len = strcspn(keys[i].path, ".");
		if (keys[i].path[len] && strncasecmp(rest, keys[i].path, len) == 0 && (!rest[len] || rest[len] == '_'))
			return true;
	}
	return false;
}

static enum err_code unknown(const struct variable *v, struct err *e)
{
	size_t count;
	const struct config_key *keys = config_keys(&count);
	char wanted[NAME_MAX_LEN], has[NAME_MAX_LEN], best[NAME_MAX_LEN] = "";
	int best_distance = INT16_MAX;
	as_variable(v->rest, wanted, sizeof wanted);
	for (size_t i = 0; i < count; i++) {
		as_variable(keys[i].path, has, sizeof has);
		int distance = is_database_key(&keys[i]) ? INT16_MAX : config_distance(wanted, has);
		if (distance < best_distance && config_is_near(distance, strlen(has))) {
			best_distance = distance;
			memcpy(best, has, sizeof best);
		}
	}
	err_set(e, ERR_INVALID, "%s: expected a key, such as DUNGBEETLE_REDIS__URL, got an unknown one%s%s%s%s",
	        v->origin, best[0] ? " (did you mean " : "", best[0] ? prefix : "", best, best[0] ? "?)" : "");
	return ERR_INVALID;
}

static enum err_code apply_variable(const struct variable *v, struct yaml_tree *root, struct err *e)
{
	size_t count;
	const struct config_key *keys = config_keys(&count);
	char name[NAME_MAX_LEN];
	for (size_t i = 0; i < count; i++) {
		if (is_database_key(&keys[i])) {
			if (middle(keys[i].path, v->rest, name, sizeof name))
				return put_database_key(&keys[i], name, root, v, e);
			continue;
		}
		as_variable(keys[i].path, name, sizeof name);
		if (strcasecmp(name, v->rest) == 0)
			return put_key(&keys[i], root, v, e);
	}
	return looks_like_ours(v->rest) ? unknown(v, e) : ERR_OK;
}

enum err_code config_env_apply(char **environ_list, struct yaml_tree *root, struct err *e)
{
	for (char **entry = environ_list; *entry; entry++) {
		struct variable v;
		if (!read_variable(*entry, &v))
			continue;
		enum err_code rc = apply_variable(&v, root, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}
