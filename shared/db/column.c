#include "shared/db/column.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err_code columns_resize(struct columns *c, size_t n, struct err *e)
{
	struct column *list = calloc(n ? n : 1, sizeof *list);
	if (!list)
		return err_nomem(e);
	free(c->list);
	c->list = list;
	c->n = n;
	return ERR_OK;
}

enum err_code columns_copy(struct columns *to, const struct columns *from, struct err *e)
{
	enum err_code rc = columns_resize(to, from->n, e);
	if (rc != ERR_OK)
		return rc;
	to->engine = from->engine;
	if (from->n)
		memcpy(to->list, from->list, from->n * sizeof *from->list);
	return ERR_OK;
}

void columns_fini(struct columns *c)
{
	free(c->list);
	c->list = NULL;
	c->n = 0;
}

/* The length of text cut to at most max bytes without splitting a UTF-8 character. */
static size_t cut(const char *text, size_t max)
{
	size_t len = strlen(text);
	if (len <= max)
		return len;
	while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
		max--;
	return max;
}

void column_set_name(struct column *c, const char *name)
{
	size_t len = cut(name, COLUMN_NAME_MAX);
	memcpy(c->name, name, len);
	c->name[len] = '\0';
}

static bool taken(const struct columns *c, size_t upto, const char *name, const char *const *reserved)
{
	for (; reserved && *reserved; reserved++)
		if (strcmp(*reserved, name) == 0)
			return true;
	for (size_t i = 0; i < upto; i++)
		if (strcmp(c->list[i].name, name) == 0)
			return true;
	return false;
}

void columns_fix_names(struct columns *c, size_t max, const char *const *reserved)
{
	if (max > COLUMN_NAME_MAX)
		max = COLUMN_NAME_MAX;
	for (size_t i = 0; i < c->n; i++) {
		char *name = c->list[i].name;
		if (!name[0])
			snprintf(name, sizeof c->list[i].name, "column_%zu", i + 1);
		name[cut(name, max)] = '\0';
		char wished[COLUMN_NAME_MAX + 1];
		memcpy(wished, name, sizeof wished);
		for (size_t k = 2; taken(c, i, name, reserved); k++) {
			char suffix[24];
			size_t n = (size_t)snprintf(suffix, sizeof suffix, "_%zu", k);
			size_t keep = cut(wished, max - n);
			memcpy(name, wished, keep);
			memcpy(name + keep, suffix, n + 1);
		}
	}
}
