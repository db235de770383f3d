#include "shared/tasks/task_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/base/buf.h"
#include "shared/base/parse.h"
#include "shared/queue/queue.h"
#include "shared/sql/placeholders.h"

#define SECOND INT64_C(1000)

enum { SHOWN_SIZE = 48, TASK_CONCURRENCY_MAX = 1000, TASK_RETRIES_MAX = 100, KNOWN_MAX = 400 };

struct builder {
	const struct config *c;
	const char *file;
	const struct sqlfile_query *query;
	struct task *t;
	struct err *e;
};

/* value for a message: cut where a UTF-8 character begins when it is long. */
static const char *shown(const char *value, char out[SHOWN_SIZE])
{
	size_t len = strlen(value);
	if (len < SHOWN_SIZE) {
		memcpy(out, value, len + 1);
		return out;
	}
	len = SHOWN_SIZE - 4;
	while (len > 0 && ((unsigned char)value[len] & 0xc0) == 0x80)
		len--;
	snprintf(out, SHOWN_SIZE, "%.*s...", (int)len, value);
	return out;
}

static enum err_code expected(struct builder *b, const char *what, const char *value)
{
	char text[SHOWN_SIZE];
	return err_set(b->e, ERR_INVALID, "expected %s, got '%s'", what, shown(value, text));
}

static enum err_code copy(struct builder *b, const char *value, char **out)
{
	*out = strdup(value);
	return *out ? ERR_OK : err_nomem(b->e);
}

/* --- lists --- */

static bool list_has(char **list, size_t n, const char *item)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], item) == 0)
			return true;
	return false;
}

/* Adds text[0..len) to the list, with the white space around it gone. */
static enum err_code list_add(struct builder *b, const char *text, size_t len, char ***list, size_t *n)
{
	while (len > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	char **more = reallocarray(*list, *n + 1, sizeof *more);
	if (!more)
		return err_nomem(b->e);
	*list = more;
	char *item = strndup(text, len);
	if (!item)
		return err_nomem(b->e);
	bool twice = list_has(*list, *n, item);
	more[(*n)++] = item;
	char out[SHOWN_SIZE];
	return twice ? err_set(b->e, ERR_INVALID, "names '%s' twice", shown(item, out)) : ERR_OK;
}

static enum err_code split(struct builder *b, const char *value, char ***list, size_t *n)
{
	for (const char *whole = value;;) {
		size_t len = strcspn(value, ",");
		enum err_code rc = list_add(b, value, len, list, n);
		if (rc)
			return rc;
		if ((*list)[*n - 1][0] == '\0')
			return expected(b, "a list of names with commas between them", whole);
		if (value[len] == '\0')
			return ERR_OK;
		value += len + 1;
	}
}

/* --- databases --- */

/* The configuration's sources or results databases, by number: name, or NULL behind the last. */
typedef const char *(*name_at)(const struct config *c, size_t i);

static const char *source_at(const struct config *c, size_t i)
{
	return i < c->n_sources ? c->sources[i].name : NULL;
}

static const char *results_at(const struct config *c, size_t i)
{
	return i < c->n_results ? c->results[i].name : NULL;
}

static bool is_known(const struct config *c, name_at at, const char *name)
{
	size_t i = 0;
	for (const char *known = at(c, i); known; known = at(c, ++i))
		if (strcmp(known, name) == 0)
			return true;
	return false;
}

static enum err_code unknown(struct builder *b, const char *what, const char *name, name_at at)
{
	char text[SHOWN_SIZE];
	struct buf known;
	buf_init(&known, KNOWN_MAX);
	size_t i = 0;
	for (const char *one = at(b->c, i); one; one = at(b->c, ++i))
		buf_addf(&known, "%s%s", i ? ", " : "", one);
	enum err_code rc = err_set(b->e, ERR_INVALID, "unknown %s '%s'; known: %s%s", what, shown(name, text),
	        buf_str(&known), buf_ok(&known) ? "" : ", ...");
	buf_fini(&known);
	return rc;
}

static enum err_code split_databases(
        struct builder *b, const char *what, const char *value, name_at at, char ***list, size_t *n)
{
	enum err_code rc = split(b, value, list, n);
	for (size_t i = 0; !rc && i < *n; i++)
		if (!is_known(b->c, at, (*list)[i]))
			rc = unknown(b, what, (*list)[i], at);
	return rc;
}

/* Without the tag: every database that the configuration has. */
static enum err_code all_databases(struct builder *b, const char *what, name_at at, char ***list, size_t *n)
{
	if (*n > 0)
		return ERR_OK;
	size_t i = 0;
	enum err_code rc = ERR_OK;
	for (const char *name = at(b->c, i); !rc && name; name = at(b->c, ++i))
		rc = list_add(b, name, strlen(name), list, n);
	return i > 0 ? rc : err_set(b->e, ERR_INVALID, "the configuration has no %s", what);
}

/* --- the tags --- */

static enum err_code set_name(struct builder *b, const char *value)
{
	for (const char *p = value; *p; p++)
		if (!parse_name(p, 1, 1) && *p != '.')
			return expected(b, "a task's name of letters, digits, '_', ':', '.' and '-'", value);
	if (*value == '\0' || strlen(value) > TASK_NAME_MAX)
		return expected(b, "a task's name of 1 to 128 bytes", value);
	return copy(b, value, &b->t->name);
}

static enum err_code set_db(struct builder *b, const char *value)
{
	return split_databases(b, "database", value, source_at, &b->t->dbs, &b->t->n_dbs);
}

static enum err_code set_results(struct builder *b, const char *value)
{
	return split_databases(b, "results database", value, results_at, &b->t->results, &b->t->n_results);
}

static enum err_code set_queue(struct builder *b, const char *value)
{
	if (!parse_name(value, strlen(value), QUEUE_NAME_MAX))
		return expected(b, "a queue's name: 1 to 128 letters, digits, '_', ':' and '-'", value);
	return copy(b, value, &b->t->queue);
}

static enum err_code set_concurrency(struct builder *b, const char *value)
{
	int64_t n;
	if (!parse_i64(value, strlen(value), 1, TASK_CONCURRENCY_MAX, &n))
		return expected(b, "a number from 1 to 1000", value);
	b->t->concurrency = (int)n;
	return ERR_OK;
}

static enum err_code set_raw(struct builder *b, const char *value)
{
	bool one = strcmp(value, "1") == 0;
	if (one || strcmp(value, "0") == 0)
		b->t->raw = one;
	else if (!parse_bool(value, strlen(value), &b->t->raw))
		return expected(b, "true or false", value);
	return ERR_OK;
}

/* The one tag that may be given again: the next line of the text. */
static enum err_code set_description(struct builder *b, const char *value)
{
	if (!b->t->description)
		return copy(b, value, &b->t->description);
	char *joined = NULL;
	if (asprintf(&joined, "%s %s", b->t->description, value) < 0)
		return err_nomem(b->e);
	free(b->t->description);
	b->t->description = joined;
	return ERR_OK;
}

/* "90s", or a bare number of seconds. */
static bool parse_seconds(const char *value, int64_t *ms)
{
	size_t len = strlen(value);
	char with_unit[24];
	if (len + 2 <= sizeof with_unit && strspn(value, "0123456789") == len) {
		snprintf(with_unit, sizeof with_unit, "%ss", value);
		return parse_duration_ms(with_unit, len + 1, ms);
	}
	return parse_duration_ms(value, len, ms);
}

static enum err_code set_timeout(struct builder *b, const char *value)
{
	if (!parse_seconds(value, &b->t->timeout_ms))
		return expected(b, "a duration such as 90s or 15m (0: no limit)", value);
	return ERR_OK;
}

static enum err_code set_ttl(struct builder *b, const char *value)
{
	if (!parse_seconds(value, &b->t->ttl_ms) || b->t->ttl_ms < SECOND)
		return expected(b, "a duration of at least 1s, such as 12h", value);
	return ERR_OK;
}

static enum err_code set_retries(struct builder *b, const char *value)
{
	if (!parse_i64(value, strlen(value), 0, TASK_RETRIES_MAX, &b->t->retries))
		return expected(b, "a number from 0 to 100", value);
	return ERR_OK;
}

static enum err_code set_params(struct builder *b, const char *value)
{
	enum err_code rc = split(b, value, &b->t->params, &b->t->n_params);
	for (size_t i = 0; !rc && i < b->t->n_params; i++) {
		const char *name = b->t->params[i];
		for (const char *p = name; *p; p++)
			if (!parse_name(p, 1, 1) || *p == ':' || *p == '-' || (*name >= '0' && *name <= '9'))
				return expected(b, "names of letters, digits and '_'", name);
	}
	return rc;
}

static enum err_code set_max_rows(struct builder *b, const char *value)
{
	if (!parse_i64(value, strlen(value), 0, INT64_MAX, &b->t->max_rows))
		return expected(b, "a number of rows (0: no limit)", value);
	return ERR_OK;
}

static enum err_code set_max_bytes(struct builder *b, const char *value)
{
	if (!parse_size(value, strlen(value), &b->t->max_bytes))
		return expected(b, "a size such as 512MiB (0: no limit)", value);
	return ERR_OK;
}

/* Two names with one setter are the same tag. */
struct tag_rule {
	const char *name;
	enum err_code (*set)(struct builder *b, const char *value);
};

static const struct tag_rule rules[] = {
        {"name", set_name},
        {"db", set_db},
        {"results", set_results},
        {"queue", set_queue},
        {"concurrency", set_concurrency},
        {"conc", set_concurrency},
        {"raw", set_raw},
        {"description", set_description},
        {"timeout", set_timeout},
        {"ttl", set_ttl},
        {"retries", set_retries},
        {"params", set_params},
        {"max_rows", set_max_rows},
        {"max_bytes", set_max_bytes},
};
enum { N_RULES = sizeof rules / sizeof rules[0] };

static const struct tag_rule *find_rule(const char *name, size_t len)
{
	for (size_t i = 0; i < N_RULES; i++)
		if (strlen(rules[i].name) == len && strncasecmp(rules[i].name, name, len) == 0)
			return &rules[i];
	return NULL;
}

/* "file:line: " and, once its name is known to be one, "task 'x': " before the text of e. */
static enum err_code place(struct builder *b, enum err_code rc, int line)
{
	if (rc != ERR_INVALID || !b->e)
		return rc;
	if (b->t->name)
		return err_prefix(b->e, "%s:%d: task '%s'", b->file, line, b->t->name);
	return err_prefix(b->e, "%s:%d", b->file, line);
}

static enum err_code unknown_tag(struct builder *b, const struct sqlfile_tag *tag)
{
	char text[SHOWN_SIZE];
	struct buf known;
	buf_init(&known, KNOWN_MAX);
	for (size_t i = 0; i < N_RULES; i++)
		buf_addf(&known, "%s%s", i ? ", " : "", rules[i].name);
	enum err_code rc = err_set(b->e, ERR_INVALID, "%s:%d: unknown tag '%s'; known: %s", b->file, tag->line,
	        shown(tag->name, text), buf_str(&known));
	buf_fini(&known);
	return rc;
}

static bool given_before(const struct builder *b, size_t i, const struct tag_rule *rule)
{
	for (size_t k = 0; k < i; k++) {
		const char *name = b->query->tags[k].name;
		const struct tag_rule *other = find_rule(name, strlen(name));
		if (other && other->set == rule->set)
			return true;
	}
	return false;
}

static enum err_code read_tag(struct builder *b, size_t i, const struct tag_rule *rule)
{
	if (rule->set != set_description && given_before(b, i, rule))
		return err_set(b->e, ERR_INVALID, "tag '%s' is given twice", rule->name);
	enum err_code rc = rule->set(b, b->query->tags[i].value);
	bool says_what = rule->set == set_name || rule->set == set_db || rule->set == set_results;
	return rc == ERR_INVALID && b->e && !says_what ? err_prefix(b->e, "tag '%s'", rule->name) : rc;
}

static enum err_code read_tags(struct builder *b)
{
	for (size_t i = 0; i < b->query->n_tags; i++) {
		const struct sqlfile_tag *tag = &b->query->tags[i];
		const struct tag_rule *rule = find_rule(tag->name, strlen(tag->name));
		if (!rule)
			return unknown_tag(b, tag);
		enum err_code rc = read_tag(b, i, rule);
		if (rc)
			return place(b, rc, tag->line);
	}
	return ERR_OK;
}

/* --- the query --- */

static const struct cfg_source *source(struct builder *b, size_t i)
{
	return config_source(b->c, b->t->dbs[i]);
}

/* Comments behind the query are dropped; one that is a tag was meant for something. */
static enum err_code check_tail(struct builder *b, size_t from)
{
	const char *body = b->query->body;
	int line = b->query->body_line;
	for (const char *at = body; *at; line++) {
		size_t len = strcspn(at, "\n");
		struct sqlfile_slices tag;
		if (at >= body + from && sqlfile_is_tag(at, len, &tag) && find_rule(tag.name, tag.name_len))
			return place(b,
			        err_set(b->e, ERR_INVALID, "tag '%.*s' stands behind the query: tags stand before it",
			                (int)tag.name_len, tag.name),
			        line);
		at += len + (at[len] == '\n');
	}
	return ERR_OK;
}

/* Engines read comments and strings in different ways, so the statement is as long as any of them takes it to be. */
static enum err_code set_sql(struct builder *b)
{
	const struct sqlfile_query *q = b->query;
	struct placeholders found;
	size_t len = 0;
	for (size_t i = 0; i < b->t->n_dbs; i++) {
		enum err_code rc = placeholders_scan(source(b, i)->engine, q->body, q->body_len, &found, b->e);
		if (rc)
			return place(b, rc, q->body_line + found.line - 1);
		if (found.len > len)
			len = found.len;
	}
	if (len == 0)
		return place(b, err_set(b->e, ERR_INVALID, "the query is empty"), b->t->line);
	b->t->sql = strndup(q->body, len);
	return b->t->sql ? check_tail(b, len) : err_nomem(b->e);
}

/* A job may run on any of the task's databases with the same arguments, so all must count the same. */
static enum err_code count_placeholders(struct builder *b)
{
	struct task *t = b->t;
	for (size_t i = 0; i < t->n_dbs; i++) {
		struct placeholders found;
		enum db_engine engine = source(b, i)->engine;
		enum err_code rc = placeholders_scan(engine, t->sql, strlen(t->sql), &found, b->e);
		if (rc)
			return place(b, rc, b->query->body_line + found.line - 1);
		if (i > 0 && found.count != t->n_placeholders)
			return place(b,
			        err_set(b->e, ERR_INVALID,
			                "its databases count different numbers of placeholders: '%s' (%s) %d, '%s' "
			                "(%s) %d",
			                t->dbs[0], db_engine_name(source(b, 0)->engine), t->n_placeholders, t->dbs[i],
			                db_engine_name(engine), found.count),
			        t->line);
		t->n_placeholders = found.count;
	}
	if (t->n_params == 0 || t->n_params == (size_t)t->n_placeholders)
		return ERR_OK;
	int line = t->line;
	for (size_t i = 0; i < b->query->n_tags; i++)
		if (strcasecmp(b->query->tags[i].name, "params") == 0)
			line = b->query->tags[i].line;
	return place(b,
	        err_set(b->e, ERR_INVALID, "tag 'params' names %zu placeholders, but the query has %d", t->n_params,
	                t->n_placeholders),
	        line);
}

enum err_code task_build(
        const struct config *c, const char *file, const struct sqlfile_query *query, struct task *out, struct err *e)
{
	*out = (struct task){
	        .line = query->tags[0].line,
	        .timeout_ms = -1,
	        .ttl_ms = -1,
	        .retries = -1,
	        .max_rows = -1,
	        .max_bytes = -1,
	};
	struct builder b = {.c = c, .file = file, .query = query, .t = out, .e = e};
	enum err_code rc = copy(&b, file, &out->file);
	if (!rc)
		rc = read_tags(&b);
	if (!rc && !out->description)
		rc = copy(&b, "", &out->description);
	if (!rc)
		rc = place(&b, all_databases(&b, "sources", source_at, &out->dbs, &out->n_dbs), out->line);
	if (!rc)
		rc = place(&b, all_databases(&b, "results databases", results_at, &out->results, &out->n_results),
		        out->line);
	if (!rc)
		rc = set_sql(&b);
	return rc ? rc : count_placeholders(&b);
}

static void free_list(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void task_fini(struct task *t)
{
	free(t->name);
	free(t->sql);
	free(t->queue);
	free_list(t->dbs, t->n_dbs);
	free_list(t->results, t->n_results);
	free(t->description);
	free_list(t->params, t->n_params);
	free(t->file);
	*t = (struct task){0};
}
