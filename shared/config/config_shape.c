#include "shared/config/config_shape.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/parse.h"
#include "shared/config/config_table.h"
#include "shared/config/config_value.h"

enum { PATH_SIZE = 160 }; /* no valid path is longer: section, database's name, key */

enum err_code config_shape_place(const char *file, const struct yaml_tree *node, const char *path, struct err *e)
{
	if (e->code != ERR_INVALID)
		return e->code;
	if (node->origin)
		return err_prefix(e, "%s", node->origin);
	return err_prefix(e, "%s:%d: %s", file, node->line, path);
}

/* The next key or section right below a path, in the table's order; *at begins with 0. False: there is none left. */
static bool next_below(const char *path, size_t *at, char out[PATH_SIZE])
{
	size_t count, len = strlen(path);
	const struct config_key *keys = config_keys(&count);
	for (; *at < count; (*at)++) {
		const char *key = keys[*at].path;
		if (len && (strncmp(key, path, len) != 0 || key[len] != '.'))
			continue;
		const char *rest = len ? key + len + 1 : key;
		size_t n = strcspn(rest, ".");
		/* the keys of a section stand together: the first of them speaks for it */
		if (*at > 0 && strncmp(keys[*at - 1].path, key, (size_t)(rest - key) + n + 1) == 0)
			continue;
		snprintf(out, PATH_SIZE, "%.*s", (int)n, rest);
		(*at)++;
		return true;
	}
	return false;
}

static enum err_code unknown_key(
        const char *file, const struct yaml_tree *node, const char *pattern, const char *shown, struct err *e)
{
	char name[PATH_SIZE], best[PATH_SIZE] = "", path[PATH_SIZE];
	int best_distance = INT16_MAX;
	struct buf known;
	buf_init(&known, 1000);
	for (size_t at = 0; next_below(pattern, &at, name);) {
		buf_addf(&known, "%s%s", known.len ? ", " : "", name);
		int distance = config_distance(node->key, name);
		if (distance < best_distance && config_is_near(distance, strlen(name))) {
			best_distance = distance;
			memcpy(best, name, sizeof best);
		}
	}
	err_set(e, ERR_INVALID, "expected one of %s, got an unknown key%s%s%s", buf_str(&known),
	        best[0] ? " (did you mean " : "", best, best[0] ? "?)" : "");
	buf_fini(&known);
	snprintf(path, sizeof path, "%s%s%s", shown, *shown ? "." : "", yaml_tree_is_word(node->key) ? node->key : "?");
	return config_shape_place(file, node, path, e);
}

static enum err_code check_map(
        const char *file, const struct yaml_tree *map, const char *pattern, const char *shown, struct err *e);

static enum err_code check_child(
        const char *file, const struct yaml_tree *node, const char *pattern, const char *shown, struct err *e)
{
	char below[PATH_SIZE], path[PATH_SIZE], got[CONFIG_SHOWN_SIZE];
	bool databases = strcmp(pattern, "sources") == 0 || strcmp(pattern, "results") == 0;
	if (databases && !parse_name(node->key, strlen(node->key), CONFIG_DB_NAME_MAX)) {
		err_set(e, ERR_INVALID,
		        "expected database names of 1 to %d letters, digits, _, : and -, got another one",
		        CONFIG_DB_NAME_MAX);
		return config_shape_place(file, node, shown, e);
	}
	const char *dot = *pattern ? "." : "";
	int n = snprintf(below, sizeof below, "%s%s%s", pattern, dot, databases ? "*" : node->key);
	snprintf(path, sizeof path, "%s%s%s", shown, dot, node->key);
	if (n < PATH_SIZE && !strchr(node->key, '.') && config_table_find(below))
		return ERR_OK; /* its value is checked when it is read */
	if (n >= PATH_SIZE || strchr(node->key, '.') || !config_table_is_section(below))
		return unknown_key(file, node, pattern, shown, e);
	if (yaml_tree_is_null(node)) /* a section whose keys are all commented out */
		return ERR_OK;
	if (node->kind != TREE_MAP) {
		/* a text here is often a connection string in the wrong place: not shown */
		err_set(e, ERR_INVALID, "expected a map of keys, got %s",
		        node->kind == TREE_SCALAR ? "a text" : config_value_shown(node, got));
		return config_shape_place(file, node, path, e);
	}
	return check_map(file, node, below, path, e);
}

static enum err_code check_map(
        const char *file, const struct yaml_tree *map, const char *pattern, const char *shown, struct err *e)
{
	enum err_code rc = ERR_OK;
	for (const struct yaml_tree *child = map->first; child && !rc; child = child->next)
		rc = check_child(file, child, pattern, shown, e);
	return rc;
}

enum err_code config_shape_check(const char *file, const struct yaml_tree *root, struct err *e)
{
	if (root->kind != TREE_MAP)
		return err_set(e, ERR_INVALID, "%s:%d: expected a map of keys, got a %s", file, root->line,
		        root->kind == TREE_LIST ? "list" : "text");
	return check_map(file, root, "", "", e);
}
