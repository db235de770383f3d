#include "shared/db/column.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

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

/* The names that are taken, for columns_fix_names: a result may have 1,600 columns of one name. */
struct name {
	const char *text;
	UT_hash_handle hh;
};

static bool is_taken(struct name *taken, const char *text)
{
	struct name *found;
	HASH_FIND_STR(taken, text, found);
	return found != NULL;
}

static void make_unique(char *name, size_t number, size_t max, struct name *taken)
{
	if (!name[0])
		snprintf(name, COLUMN_NAME_MAX + 1, "column_%zu", number);
	name[cut(name, max)] = '\0';
	char wished[COLUMN_NAME_MAX + 1];
	memcpy(wished, name, sizeof wished);
	for (size_t k = 2; is_taken(taken, name); k++) {
		char suffix[24];
		size_t n = (size_t)snprintf(suffix, sizeof suffix, "_%zu", k);
		size_t keep = cut(wished, max - n);
		memcpy(name, wished, keep);
		memcpy(name + keep, suffix, n + 1);
	}
}

enum err_code columns_fix_names(struct columns *c, size_t max, const char *const *reserved, struct err *e)
{
	size_t n_reserved = 0, n = 0;
	while (reserved && reserved[n_reserved])
		n_reserved++;
	struct name *names = calloc(n_reserved + c->n + 1, sizeof *names), *taken = NULL;
	if (!names)
		return err_nomem(e);
	for (size_t i = 0; i < n_reserved + c->n; i++) {
		struct name *name = &names[n++];
		if (i < n_reserved) {
			name->text = reserved[i];
		} else {
			struct column *column = &c->list[i - n_reserved];
			make_unique(
			        column->name, i - n_reserved + 1, max < COLUMN_NAME_MAX ? max : COLUMN_NAME_MAX, taken);
			name->text = column->name;
		}
		HASH_ADD_KEYPTR(hh, taken, name->text, strlen(name->text), name);
	}
	HASH_CLEAR(hh, taken);
	free(names);
	return ERR_OK;
}
