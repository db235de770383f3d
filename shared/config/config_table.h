/* The table of keys, seen from inside the module: what a value may be and where it goes. Everything here is constant.
 */
#ifndef DB_CONFIG_CONFIG_TABLE_H
#define DB_CONFIG_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

#define CONFIG_DB_NAME_MAX 64
#define CONFIG_PASSWORD_MAX 1024
#define CONFIG_CONNECTIONS_MAX 10000
#define CONFIG_QUEUE_NAME_MAX 128 /* QUEUE_NAME_MAX of shared/queue/queue.h */
#define CONFIG_SLOTS_MAX 1000

/* How a value is read and what it is stored as. */
enum key_kind {
	KEY_TEXT,     /* char *, owned */
	KEY_BOOLEAN,  /* bool */
	KEY_INTEGER,  /* int or int64_t: see width */
	KEY_DURATION, /* int64_t, ms */
	KEY_SIZE,     /* int64_t, bytes */
	KEY_CHOICE,   /* an enum: the index in choices */
	KEY_LIST,     /* char **, an owned array of owned texts; their number at count */
	KEY_QUEUES,   /* struct cfg_queue *, owned, and how many: see count */
};

struct key_rule {
	enum key_kind kind;
	size_t offset;                     /* in struct config; for sources.* and results.* in their own struct */
	size_t width;                      /* of a KEY_INTEGER: sizeof its field */
	size_t count;                      /* of a KEY_LIST or KEY_QUEUES: where its size_t is, as offset */
	int64_t min, max;                  /* of a number; of a text's length in bytes; min: of a list's length */
	const char *const *choices;        /* NULL-terminated */
	const char *const *aliases;        /* other names of choices: alias, choice, ..., NULL; or NULL */
	const char *list_form, *item_form; /* what is expected of a list, and of each of its texts */
	char separator;                    /* between a list's texts in an environment variable */
	const char *unless; /* without a default: may be missing (and is "") when this other key is given; or NULL */
	/* A text's own form, or that of a list's texts; says "expected ..., got ..." in e. NULL: any. */
	enum err_code (*check)(const char *text, struct err *e);
	bool secret; /* its value is in no message */
};

/* The key of that path ("sources.*.dsn" for a database's), or NULL. */
const struct config_key *config_table_find(const char *path);
/* Whether keys stand below that path. */
bool config_table_is_section(const char *path);

/* How alike two words are: how many characters were mistyped, left out, put in or swapped; a big number when either is
 * longer than any key. Case counts. */
int config_distance(const char *a, const char *b);
/* Whether so many mistakes in a word of that many characters still let one guess what was meant. */
bool config_is_near(int distance, size_t len);

/* Writes a duration or a size of the table in its largest even unit ("15s"); returns out. */
const char *config_duration_text(int64_t ms, char *out, size_t size);
const char *config_size_text(int64_t bytes, char *out, size_t size);
/* "from 1 to 64", "at least 1s", or "" when the rule has no limits that matter; returns out. */
const char *config_limits_text(const struct key_rule *rule, char *out, size_t size);

#endif
