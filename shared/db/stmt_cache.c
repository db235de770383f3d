#include "shared/db/stmt_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stmt_cache_init(struct stmt_cache *c, size_t size, void (*fini)(struct stmt *s))
{
	*c = (struct stmt_cache){.size = size, .fini = fini};
}

void stmt_cache_clear(struct stmt_cache *c)
{
	struct stmt *s, *following;
	HASH_ITER (hh, c->all, s, following)
		stmt_cache_forget(c, s);
}

bool stmt_cache_is_full(const struct stmt_cache *c)
{
	return HASH_COUNT(c->all) >= STMT_CACHE_MAX;
}

/* Takes key, whatever comes of it. */
static struct stmt *add(struct stmt_cache *c, char *key)
{
	struct stmt *s = calloc(1, c->size);
	if (s) {
		s->key = key;
		HASH_ADD_KEYPTR(hh, c->all, s->key, strlen(key), s);
		if (hash_has_added(s))
			return s;
	}
	free(s);
	free(key);
	return NULL;
}

struct stmt *stmt_cache_get(struct stmt_cache *c, const struct query *q, bool *fresh)
{
	size_t size = strlen(q->task) + 1 + strlen(q->sql) + 1;
	char *key = malloc(size);
	if (!key)
		return NULL;
	snprintf(key, size, "%s\n%s", q->task, q->sql);
	struct stmt *s = NULL;
	HASH_FIND_STR(c->all, key, s);
	*fresh = !s;
	if (!s)
		return add(c, key);
	free(key);
	return s;
}

void stmt_cache_forget(struct stmt_cache *c, struct stmt *s)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): cannot follow uthash, which frees its table with the last element */
	HASH_DEL(c->all, s);
	c->fini(s);
	free(s->key);
	free(s);
}
