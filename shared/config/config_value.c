#include "shared/config/config_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/parse.h"

#define SHOWN_TEXT 40 /* bytes of a value that a message repeats */

const char *config_text_shown(const char *text, char out[CONFIG_SHOWN_SIZE])
{
	size_t len = strlen(text), n = len;
	if (len > SHOWN_TEXT)
		for (n = SHOWN_TEXT; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
			n--; /* not in the middle of a character */
	snprintf(out, CONFIG_SHOWN_SIZE, "\"%.*s%s\"", (int)n, text, n < len ? "..." : "");
	return out;
}

const char *config_value_shown(const struct yaml_tree *node, char out[CONFIG_SHOWN_SIZE])
{
	if (node->kind != TREE_SCALAR)
		return node->kind == TREE_LIST ? "a list" : "a map";
	if (yaml_tree_is_null(node))
		return "nothing";
	return config_text_shown(node->text, out);
}

static enum err_code wrong(
        const struct config_key *key, const struct yaml_tree *node, const char *expected, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	const char *got = config_value_shown(node, shown);
	if (got == shown && key->rule->secret)
		got = "a text that is not shown";
	return err_set(e, ERR_INVALID, "expected %s, got %s", expected, got);
}

/* A number or a boolean in quotes is a text: whoever wrote it meant something else, or will be surprised elsewhere. */
static enum err_code need_plain(
        const struct config_key *key, const struct yaml_tree *node, const char *expected, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE];
	if (node->kind != TREE_SCALAR || node->plain)
		return wrong(key, node, expected, e);
	return err_set(e, ERR_INVALID, "expected %s without quotes, got the quoted text %s", expected,
	        config_text_shown(node->text, shown));
}

static bool is_scalar(const struct yaml_tree *node)
{
	return node->kind == TREE_SCALAR && !yaml_tree_is_null(node);
}

/* 010 is 8 to YAML and 10 to people: neither is taken. */
static bool read_integer(const struct yaml_tree *node, int64_t min, int64_t max, int64_t *out)
{
	const char *digits = node->kind == TREE_SCALAR && node->plain ? node->text : "";
	size_t len = strlen(digits);
	return !(len > 1 && digits[0] == '0') && parse_i64(digits, len, min, max, out);
}

static enum err_code set_integer(const struct config_key *key, const struct yaml_tree *node, char *field, struct err *e)
{
	char limits[96], expected[128];
	int64_t v;
	if (!read_integer(node, key->rule->min, key->rule->max, &v)) {
		snprintf(expected, sizeof expected, "an integer %s",
		        config_limits_text(key->rule, limits, sizeof limits));
		return need_plain(key, node, expected, e);
	}
	if (key->rule->width == sizeof(int))
		*(int *)(void *)field = (int)v; /* the table's limits fit */
	else
		*(int64_t *)(void *)field = v;
	return ERR_OK;
}

static enum err_code set_boolean(const struct config_key *key, const struct yaml_tree *node, char *field, struct err *e)
{
	bool v;
	if (!is_scalar(node) || !node->plain || !parse_bool(node->text, strlen(node->text), &v))
		return need_plain(key, node, "true or false", e);
	*(bool *)(void *)field = v;
	return ERR_OK;
}

/* Durations and sizes. */
static enum err_code set_measure(const struct config_key *key, const struct yaml_tree *node, char *field, struct err *e)
{
	const struct key_rule *rule = key->rule;
	bool duration = rule->kind == KEY_DURATION;
	char limits[96], expected[192];
	int64_t v;
	if (is_scalar(node)) {
		size_t len = strlen(node->text);
		bool ok = duration ? parse_duration_ms(node->text, len, &v) : parse_size(node->text, len, &v);
		if (ok && v >= rule->min && v <= rule->max) {
			*(int64_t *)(void *)field = v;
			return ERR_OK;
		}
	}
	const char *form = duration ? "a duration (a number and ms, s, m, h or d, such as 15s)"
	                            : "a size (a number and perhaps B, KB, MB, GB, KiB, MiB or GiB, such as 64KiB)";
	snprintf(expected, sizeof expected, "%s %s", form, config_limits_text(rule, limits, sizeof limits));
	return wrong(key, node, expected, e);
}

/* What an alias stands for; any other text as it is. */
static const char *choice_meant(const struct key_rule *rule, const char *text)
{
	for (const char *const *a = rule->aliases; a && *a; a += 2)
		if (strcmp(text, *a) == 0)
			return a[1];
	return text;
}

static enum err_code set_choice(const struct config_key *key, const struct yaml_tree *node, char *field, struct err *e)
{
	char expected[128] = "one of";
	size_t n = strlen(expected);
	for (int i = 0; key->rule->choices[i]; i++) {
		if (is_scalar(node) && strcmp(choice_meant(key->rule, node->text), key->rule->choices[i]) == 0) {
			*(int *)(void *)field = i;
			return ERR_OK;
		}
		n += (size_t)snprintf(expected + n, sizeof expected - n, "%s %s", i ? "," : "", key->rule->choices[i]);
	}
	return wrong(key, node, expected, e);
}

static enum err_code set_text(const struct config_key *key, const struct yaml_tree *node, char *field, struct err *e)
{
	const struct key_rule *rule = key->rule;
	size_t len = is_scalar(node) ? strlen(node->text) : 0;
	if (!is_scalar(node) || len < (size_t)rule->min || len > (size_t)rule->max) {
		char expected[64];
		snprintf(expected, sizeof expected, "a text of %d to %d bytes", (int)rule->min, (int)rule->max);
		return wrong(key, node, expected, e);
	}
	enum err_code rc = rule->check ? rule->check(node->text, e) : ERR_OK;
	if (rc)
		return rc;
	char *copy = strdup(node->text);
	*(char **)(void *)field = copy;
	return copy ? ERR_OK : err_nomem(e);
}

/* Sets list and *count as it goes, so that config_free frees what is there. */
static enum err_code set_list(
        const struct config_key *key, const struct yaml_tree *node, char ***list, size_t *count, struct err *e)
{
	const struct key_rule *rule = key->rule;
	char expected[128];
	if (node->kind != TREE_LIST)
		return wrong(key, node, rule->list_form, e);
	if (yaml_tree_count(node) < (size_t)rule->min)
		return err_set(e, ERR_INVALID, "expected %s, got an empty list", rule->list_form);
	*list = calloc(yaml_tree_count(node) + 1, sizeof **list);
	if (!*list)
		return err_nomem(e);
	snprintf(expected, sizeof expected, "%s in each entry", rule->item_form);
	for (const struct yaml_tree *child = node->first; child; child = child->next) {
		if (!is_scalar(child) || !child->text[0])
			return wrong(key, child, expected, e);
		enum err_code rc = rule->check ? rule->check(child->text, e) : ERR_OK;
		if (rc != ERR_OK)
			return rc;
		char *copy = strdup(child->text);
		if (!copy)
			return err_nomem(e);
		(*list)[(*count)++] = copy;
	}
	return ERR_OK;
}

static enum err_code set_queue(
        const struct config_key *key, const struct yaml_tree *node, struct cfg_queue *queue, struct err *e)
{
	char shown[CONFIG_SHOWN_SIZE], expected[96];
	const struct key_rule *rule = key->rule;
	int64_t slots = 0;
	if (!parse_name(node->key, strlen(node->key), CONFIG_QUEUE_NAME_MAX))
		return err_set(e, ERR_INVALID, "expected queue names of 1 to %d letters, digits, _, : and -, got %s",
		        CONFIG_QUEUE_NAME_MAX, config_text_shown(node->key, shown));
	bool left_out = yaml_tree_is_null(node) && rule->min == 0;
	if (!left_out && !read_integer(node, rule->min, rule->max, &slots)) {
		snprintf(expected, sizeof expected, "jobs at once, an integer from %d%s to %d", (int)rule->min,
		        rule->min == 0 ? " (as the tasks say)" : "", (int)rule->max);
		enum err_code rc = need_plain(key, node, expected, e);
		err_prefix(e, "%s", node->key);
		return rc;
	}
	queue->slots = (int)slots;
	queue->name = strdup(node->key);
	return queue->name ? ERR_OK : err_nomem(e);
}

static enum err_code set_queues(const struct config_key *key, const struct yaml_tree *node, char *base, struct err *e)
{
	struct cfg_queue **queues = (struct cfg_queue **)(void *)(base + key->rule->offset);
	size_t *n = (size_t *)(void *)(base + key->rule->count);
	if (yaml_tree_is_null(node))
		return ERR_OK;
	if (node->kind != TREE_MAP)
		return wrong(key, node, "a map of queues and their jobs at once, such as {default: 10}", e);
	if (!node->first)
		return ERR_OK;
	*queues = calloc(yaml_tree_count(node), sizeof **queues);
	if (!*queues)
		return err_nomem(e);
	for (const struct yaml_tree *child = node->first; child; child = child->next) {
		enum err_code rc = set_queue(key, child, &(*queues)[*n], e);
		if (rc)
			return rc;
		(*n)++;
	}
	return ERR_OK;
}

enum err_code config_value_set(const struct config_key *key, const struct yaml_tree *node, void *base, struct err *e)
{
	char *field = (char *)base + key->rule->offset;
	switch (key->rule->kind) {
	case KEY_TEXT:
		return set_text(key, node, field, e);
	case KEY_BOOLEAN:
		return set_boolean(key, node, field, e);
	case KEY_INTEGER:
		return set_integer(key, node, field, e);
	case KEY_DURATION:
	case KEY_SIZE:
		return set_measure(key, node, field, e);
	case KEY_CHOICE:
		return set_choice(key, node, field, e);
	case KEY_LIST:
		return set_list(
		        key, node, (char ***)(void *)field, (size_t *)(void *)((char *)base + key->rule->count), e);
	case KEY_QUEUES:
		return set_queues(key, node, base, e);
	}
	return ERR_OK;
}
