#include "shared/config/yaml_tree.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "shared/base/buf.h"

/* --- nodes --- */

static struct yaml_tree *node_new(enum yaml_tree_kind kind, int line)
{
	struct yaml_tree *node = calloc(1, sizeof *node);
	if (node) {
		node->kind = kind;
		node->line = line;
	}
	return node;
}

void yaml_tree_free(struct yaml_tree *node)
{
	if (!node)
		return;
	while (node->first) {
		struct yaml_tree *child = node->first;
		node->first = child->next;
		yaml_tree_free(child); /* as deep as YAML_TREE_DEPTH_MAX */
	}
	free(node->key);
	free(node->text);
	free(node->origin);
	free(node);
}

static void append(struct yaml_tree *parent, struct yaml_tree *takes)
{
	if (parent->last)
		parent->last->next = takes;
	else
		parent->first = takes;
	parent->last = takes;
}

struct yaml_tree *yaml_tree_get(const struct yaml_tree *map, const char *key)
{
	for (struct yaml_tree *child = map->first; child; child = child->next)
		if (child->key && strcmp(child->key, key) == 0)
			return child;
	return NULL;
}

bool yaml_tree_is_word(const char *key)
{
	size_t len = strlen(key);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)key[i]) && key[i] != '_' && key[i] != '-' && key[i] != '.')
			return false;
	return len > 0 && len <= 40;
}

bool yaml_tree_is_null(const struct yaml_tree *node)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	if (node->kind != TREE_SCALAR || !node->plain || node->origin)
		return false;
	for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
		if (strcmp(node->text, nulls[i]) == 0)
			return true;
	return false;
}

size_t yaml_tree_count(const struct yaml_tree *node)
{
	size_t n = 0;
	for (const struct yaml_tree *child = node ? node->first : NULL; child; child = child->next)
		n++;
	return n;
}

/* Makes node an empty one of kind, or a scalar of text; false: no memory, and node is as it was. */
static bool become(struct yaml_tree *node, enum yaml_tree_kind kind, const char *text, const char *origin)
{
	char *copy = text ? strdup(text) : NULL;
	char *from = strdup(origin);
	if ((text && !copy) || !from) {
		free(copy);
		free(from);
		return false;
	}
	while (node->first) {
		struct yaml_tree *child = node->first;
		node->first = child->next;
		yaml_tree_free(child);
	}
	node->last = NULL;
	free(node->text);
	free(node->origin);
	node->text = copy;
	node->kind = kind;
	node->plain = true;
	node->origin = from;
	return true;
}

/* The value of key in map, made when it is not there; NULL: no memory. */
static struct yaml_tree *put(
        struct yaml_tree *map, const char *key, enum yaml_tree_kind kind, const char *text, const char *origin)
{
	struct yaml_tree *node = yaml_tree_get(map, key);
	if (node)
		return become(node, kind, text, origin) ? node : NULL;
	node = node_new(kind, map->line);
	if (!node)
		return NULL;
	node->key = strdup(key);
	if (!node->key || !become(node, kind, text, origin)) {
		yaml_tree_free(node);
		return NULL;
	}
	append(map, node);
	return node;
}

struct yaml_tree *yaml_tree_put(struct yaml_tree *map, const char *key, const char *text, const char *origin)
{
	return put(map, key, TREE_SCALAR, text, origin);
}

struct yaml_tree *yaml_tree_put_empty(
        struct yaml_tree *map, const char *key, enum yaml_tree_kind kind, const char *origin)
{
	return put(map, key, kind, NULL, origin);
}

struct yaml_tree *yaml_tree_append(struct yaml_tree *list, const char *text, const char *origin)
{
	struct yaml_tree *node = node_new(TREE_SCALAR, list->line);
	if (!node || !become(node, TREE_SCALAR, text, origin)) {
		yaml_tree_free(node);
		return NULL;
	}
	append(list, node);
	return node;
}

/* --- reading --- */

struct reader {
	yaml_parser_t parser;
	const char *name;
	const char *text;
	size_t len;
	size_t nodes;
	struct err *e;
};

static enum err_code wrong(struct reader *r, const yaml_event_t *at, const char *why)
{
	return err_set(r->e, ERR_INVALID, "%s:%zu: %s", r->name, at->start_mark.line + 1, why);
}

/* The reader of libyaml says where a byte is wrong, not on which line. */
static size_t line_of(const struct reader *r, size_t offset)
{
	size_t line = 1;
	for (size_t i = 0; i < offset && i < r->len; i++)
		line += r->text[i] == '\n';
	return line;
}

static enum err_code next(struct reader *r, yaml_event_t *event)
{
	if (yaml_parser_parse(&r->parser, event))
		return ERR_OK;
	memset(event, 0, sizeof *event); /* so that yaml_event_delete may be called */
	if (r->parser.error == YAML_MEMORY_ERROR)
		return err_nomem(r->e);
	size_t line = r->parser.error == YAML_READER_ERROR ? line_of(r, r->parser.problem_offset)
	                                                   : r->parser.problem_mark.line + 1;
	return err_set(r->e, ERR_INVALID, "%s:%zu: expected YAML, got a mistake: %s", r->name, line,
	        r->parser.problem ? r->parser.problem : "unreadable");
}

/* Refuses what hides meaning: whoever reads the file should see all that it says. */
static enum err_code refuse(struct reader *r, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return wrong(r, event, "an alias (*name) is not supported: write the value again");
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
			return wrong(r, event, "a text must not hold a NUL byte");
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		return wrong(r, event,
		        "an anchor (&name) is not supported: write the value where it is used (quote a text that "
		        "begins with &)");
	if (tag)
		return wrong(r, event, "a tag (!name) is not supported (quote a text that begins with !)");
	return ERR_OK;
}

static enum err_code read_node(struct reader *r, const yaml_event_t *event, int depth, struct yaml_tree **out);

static enum err_code read_list(struct reader *r, struct yaml_tree *list, int depth)
{
	enum err_code rc = ERR_OK;
	for (bool more = true; more && !rc;) {
		yaml_event_t event;
		struct yaml_tree *child = NULL;
		rc = next(r, &event);
		more = !rc && event.type != YAML_SEQUENCE_END_EVENT;
		if (more)
			rc = read_node(r, &event, depth, &child);
		if (child)
			append(list, child);
		yaml_event_delete(&event);
	}
	return rc;
}

/* Takes the key of a pair from its event. *key is owned by the caller. */
static enum err_code read_key(struct reader *r, const struct yaml_tree *map, const yaml_event_t *event, char **key)
{
	enum err_code rc = refuse(r, event);
	if (rc)
		return rc;
	if (event->type != YAML_SCALAR_EVENT)
		return wrong(r, event, "expected a key, got a list or a map");
	const char *text = (const char *)event->data.scalar.value;
	const struct yaml_tree *before = yaml_tree_get(map, text);
	if (before)
		return err_set(r->e, ERR_INVALID, "%s:%zu: %s: this key was given before, on line %d", r->name,
		        event->start_mark.line + 1, yaml_tree_is_word(text) ? text : "?", before->line);
	*key = strdup(text);
	return *key ? ERR_OK : err_nomem(r->e);
}

static enum err_code read_map(struct reader *r, struct yaml_tree *map, int depth)
{
	enum err_code rc = ERR_OK;
	for (bool more = true; more && !rc;) {
		yaml_event_t event, value = {0};
		struct yaml_tree *child = NULL;
		char *key = NULL;
		rc = next(r, &event);
		more = !rc && event.type != YAML_MAPPING_END_EVENT;
		if (more)
			rc = read_key(r, map, &event, &key);
		if (more && !rc)
			rc = next(r, &value);
		if (more && !rc)
			rc = read_node(r, &value, depth, &child);
		if (child) {
			child->key = key;
			child->line = (int)event.start_mark.line + 1;
			key = NULL;
			append(map, child);
		}
		free(key);
		yaml_event_delete(&value);
		yaml_event_delete(&event);
	}
	return rc;
}

/* The node that event begins, with all that is below it; *out stays NULL when this fails. */
static enum err_code read_node(struct reader *r, const yaml_event_t *event, int depth, struct yaml_tree **out)
{
	enum err_code rc = refuse(r, event);
	if (rc)
		return rc;
	if (++r->nodes > YAML_TREE_NODES_MAX)
		return wrong(r, event, "the file has too many values (at most 10000)");
	bool scalar = event->type == YAML_SCALAR_EVENT, list = event->type == YAML_SEQUENCE_START_EVENT;
	if (!scalar && depth >= YAML_TREE_DEPTH_MAX)
		return wrong(r, event, "nested too deeply (at most 16 levels)");
	enum yaml_tree_kind kind = scalar ? TREE_SCALAR : list ? TREE_LIST : TREE_MAP;
	struct yaml_tree *node = node_new(kind, (int)event->start_mark.line + 1);
	if (!node)
		return err_nomem(r->e);
	if (scalar) {
		node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
		node->text = strdup((const char *)event->data.scalar.value);
		rc = node->text ? ERR_OK : err_nomem(r->e);
	} else {
		rc = list ? read_list(r, node, depth + 1) : read_map(r, node, depth + 1);
	}
	if (rc) {
		yaml_tree_free(node);
		return rc;
	}
	*out = node;
	return ERR_OK; /* NOLINT(clang-analyzer-unix.Malloc): thinks that a document may have two roots */
}

/* stream start, [document start, the root, document end], stream end */
static enum err_code read_stream(struct reader *r, struct yaml_tree **out)
{
	enum err_code rc = ERR_OK;
	for (bool more = true; more && !rc;) {
		yaml_event_t event;
		rc = next(r, &event);
		if (!rc && event.type == YAML_DOCUMENT_START_EVENT && *out)
			rc = wrong(r, &event, "a second document (---) is not supported");
		else if (!rc && (event.type == YAML_STREAM_END_EVENT))
			more = false;
		else if (!rc && event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
		        event.type != YAML_DOCUMENT_END_EVENT)
			rc = read_node(r, &event, 0, out);
		yaml_event_delete(&event);
	}
	return rc;
}

enum err_code yaml_tree_parse(const char *name, const char *text, size_t len, struct yaml_tree **out, struct err *e)
{
	struct reader r = {.name = name, .text = text, .len = len, .e = e};
	struct yaml_tree *root = NULL;
	*out = NULL;
	if (len > YAML_TREE_BYTES_MAX)
		return err_set(e, ERR_INVALID, "%s:1: the file is too long (at most 1 MiB)", name);
	if (!yaml_parser_initialize(&r.parser))
		return err_nomem(e);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	enum err_code rc = read_stream(&r, &root);
	if (!rc && (!root || yaml_tree_is_null(root))) {
		yaml_tree_free(root);
		root = node_new(TREE_MAP, 1);
		rc = root ? ERR_OK : err_nomem(e);
	}
	if (rc)
		yaml_tree_free(root);
	else
		*out = root;
	yaml_parser_delete(&r.parser);
	return rc;
}

/* Reads all of fd into b, and one byte more than is allowed when there is one. 0, or an errno. */
static int read_all(int fd, struct buf *b)
{
	for (;;) {
		char block[4096];
		ssize_t n = read(fd, block, sizeof block);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0 || b->len > YAML_TREE_BYTES_MAX)
			return 0;
		if (!buf_add(b, block, (size_t)n))
			return ENOMEM;
	}
}

enum err_code yaml_tree_read(const char *path, struct yaml_tree **out, struct err *e)
{
	char why[64];
	struct buf b;
	buf_init(&b, YAML_TREE_BYTES_MAX + 4096);
	*out = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int errnum = fd < 0 ? errno : read_all(fd, &b);
	enum err_code rc = ERR_OK;
	if (errnum == ENOMEM)
		rc = err_nomem(e);
	else if (errnum)
		rc = err_set(e, ERR_INVALID, "%s: cannot be read: %s", path, err_errno(errnum, why, sizeof why));
	else
		rc = yaml_tree_parse(path, buf_str(&b), b.len, out, e);
	if (fd >= 0)
		close(fd);
	buf_fini(&b);
	return rc;
}
