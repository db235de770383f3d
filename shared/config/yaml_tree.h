/* A YAML text as a small tree of nodes with their line numbers: libyaml and nothing else of the project knows it.
 *
 * Refused, since a configuration needs none of it: anchors, aliases, tags, duplicate keys, a second document, NUL bytes, nesting
 * deeper than 16, more than 10,000 nodes, more than 1 MiB. What a scalar means is not decided here: it stays text,
 * with a note whether it was quoted. Thread rule: one thread at a time; a tree owns all its strings.
 */
#ifndef DB_CONFIG_YAML_TREE_H
#define DB_CONFIG_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/err.h"

#define YAML_TREE_BYTES_MAX ((size_t)1024 * 1024)
#define YAML_TREE_DEPTH_MAX 16
#define YAML_TREE_NODES_MAX 10000

enum yaml_tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP };

struct yaml_tree {
	enum yaml_tree_kind kind;
	bool plain;              /* a scalar that was written without quotes and not as a block */
	int line;                /* where it begins, from 1; for a value of a map: where its key stands */
	char *origin;            /* what to name in place of file and line ("--socket", "environment X"), or NULL */
	char *key;               /* of a value of a map; else NULL */
	char *text;              /* of a scalar; else NULL */
	struct yaml_tree *first; /* children, in the order of the text */
	struct yaml_tree *last;
	struct yaml_tree *next; /* the next child of the same parent */
};

/* name is the file as messages name it: "name:line: why" (ERR_INVALID). An empty text is an empty map.
 * *out is owned by the caller (yaml_tree_free). */
enum err_code MUST_CHECK yaml_tree_parse(
        const char *name, const char *text, size_t len, struct yaml_tree **out, struct err *e);
/* Reads the file at path and parses it. A file that cannot be read is ERR_INVALID too. */
enum err_code MUST_CHECK yaml_tree_read(const char *path, struct yaml_tree **out, struct err *e);
void yaml_tree_free(struct yaml_tree *node);

/* The value of key in a map, or NULL. Borrowed. */
struct yaml_tree *yaml_tree_get(const struct yaml_tree *map, const char *key);
/* Whether it is a scalar that YAML takes for "nothing": empty, ~ or null, without quotes. */
bool yaml_tree_is_null(const struct yaml_tree *node);

/* Whether a key looks like one: what is not a key of ours may be anything, a misplaced password too, and a message
 * repeats only what looks like a key. */
bool yaml_tree_is_word(const char *key);

size_t yaml_tree_count(const struct yaml_tree *node); /* of its children; of NULL: 0 */

/* Puts a scalar of that text into the map, in place of a value that is there already; NULL: no memory. */
struct yaml_tree *yaml_tree_put(struct yaml_tree *map, const char *key, const char *text, const char *origin);
/* The same for an empty map or list. */
struct yaml_tree *yaml_tree_put_empty(
        struct yaml_tree *map, const char *key, enum yaml_tree_kind kind, const char *origin);
/* Appends a scalar to a list; NULL: no memory. */
struct yaml_tree *yaml_tree_append(struct yaml_tree *list, const char *text, const char *origin);

#endif
