/* The prepared statements of one connection, each found by the task and the text that it was prepared for.
 *
 * A driver's own struct begins with a struct stmt. The cache makes it, zeroed, and frees it, after the driver's fini has let
 * go of what else it owns. Thread rule: one thread, the source's.
 */
#ifndef DB_DB_STMT_CACHE_H
#define DB_DB_STMT_CACHE_H

#include "shared/base/hash.h"
#include "shared/db/source.h"

#define STMT_CACHE_MAX 256

struct stmt {
	char *key; /* task name, newline, SQL */
	UT_hash_handle hh;
};

struct stmt_cache {
	struct stmt *all;
	size_t size; /* of the driver's struct */
	void (*fini)(struct stmt *s);
};

void stmt_cache_init(struct stmt_cache *c, size_t size, void (*fini)(struct stmt *s));
/* Forgets them all; the cache can be used again. */
void stmt_cache_clear(struct stmt_cache *c);
/* Has it STMT_CACHE_MAX statements? Then the connection is to be made anew, lest the server keeps ever more of them. */
bool stmt_cache_is_full(const struct stmt_cache *c);

/* The statement for q, borrowed until it is forgotten. *fresh: it was made by this call and is yet to be prepared; where that
 * fails it is to be forgotten. NULL: no memory. */
struct stmt *stmt_cache_get(struct stmt_cache *c, const struct query *q, bool *fresh);
void stmt_cache_forget(struct stmt_cache *c, struct stmt *s);

#endif
