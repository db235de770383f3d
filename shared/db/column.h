/* The columns of a result, as a source describes them. Thread rule: one thread at a time. */
#ifndef DB_DB_COLUMN_H
#define DB_DB_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

#define COLUMN_NAME_MAX 255 /* bytes */

struct column {
	char name[COLUMN_NAME_MAX + 1];
	uint32_t type;  /* the source engine's own number of the type (PostgreSQL: OID) */
	int32_t typmod; /* PostgreSQL: atttypmod, -1 = none */
	bool as_text;   /* the type is not known everywhere: the value travels as its text, the result column is TEXT */
};

struct columns {
	enum db_engine engine; /* whose types these are */
	struct column *list;   /* owned */
	size_t n;
};

/* Makes room for n columns, all zero; what was there is forgotten. */
enum err_code MUST_CHECK columns_resize(struct columns *c, size_t n, struct err *e);
enum err_code MUST_CHECK columns_copy(struct columns *to, const struct columns *from, struct err *e);
void columns_fini(struct columns *c);

/* Takes a name as the source gave it: cut at a character's border where it is too long. */
void column_set_name(struct column *c, const char *name);

/* Makes every name non-empty, at most max bytes and unique: an empty one becomes column_<number>, the second "x" becomes
 * x_2, and so on; so does one of the reserved names (ended by NULL; or NULL: there are none). */
enum err_code MUST_CHECK columns_fix_names(struct columns *c, size_t max, const char *const *reserved, struct err *e);

#endif
