/* Tasks: the named SQL queries of the .sql files (goyesql format), read once and then constant.
 *
 * A file is a row of queries; each begins with tag lines `-- tag: value` of which `name` is required. Tags: name, db,
 * results (both comma-separated lists), queue, concurrency (or conc), raw, description, timeout, ttl, retries, params
 * (names for the placeholders), max_rows, max_bytes. sqlfile.h says how a file is divided, and a tag may be:
 *   concurrency 1..1000; raw true|false|1|0; timeout and ttl a duration ("90s", "12h") or a bare number of seconds;
 *   retries 0..100; max_rows a number, max_bytes a size ("512MiB"); 0 is no limit for timeout, max_rows and max_bytes.
 * A tag is given once, but description, whose lines are joined.
 *
 * Thread rule: a task_set is immutable; it is counted by references (atomic), and a reload makes a new one: a holder
 * keeps what it has until it unrefs. struct task pointers are valid as long as their set is held.
 */
#ifndef DB_TASKS_TASKS_H
#define DB_TASKS_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

#define TASK_NAME_MAX 128 /* bytes of a name, [A-Za-z0-9_:.-]: it stands in URLs */

struct task {
	char *name;
	char *sql;       /* one statement without its trailing ';', white space and comments */
	bool raw;        /* executed as it is, not prepared: the worker's --check does not prepare it */
	char *queue;     /* NULL: the request's, else jobs.default_queue */
	int concurrency; /* 0: not said */
	char **dbs;      /* names of sources; when the tag is missing, every source of the configuration */
	size_t n_dbs;
	char **results; /* names of results databases; when the tag is missing, every one of the configuration */
	size_t n_results;
	char *description; /* "" when not said */
	char **params;     /* names of the placeholders, or none */
	size_t n_params;
	int n_placeholders; /* arguments that a job must have */
	int64_t timeout_ms; /* -1: not said */
	int64_t ttl_ms;     /* -1: not said */
	int64_t retries;    /* -1: not said */
	int64_t max_rows;   /* -1: not said */
	int64_t max_bytes;  /* -1: not said */
	char *file;         /* and line of its name tag: for messages */
	int line;
};

struct task_set;

/* Reads every *.sql file of c's directories (regular files or links to them, no hidden ones), directory by directory,
 * in the order of their names. On ERR_INVALID the text is "file:line: why", or "path: why" for a file or directory that
 * cannot be read and for a directory without a .sql file.
 * An unknown database or results database, a duplicate name, an empty query, stray text before the first tag, unknown
 * tags (a comment line that merely contains a colon inside the query's body is no tag), gaps in $1..$n are errors; so is
 * a task on databases of several engines that do not count the same number of placeholders. */
enum err_code MUST_CHECK task_set_load(const struct config *c, struct task_set **out, struct err *e);

struct task_set *task_set_ref(struct task_set *set);
void task_set_unref(struct task_set *set);

/* NULL when there is none. Borrowed. name need not be NUL-terminated. */
const struct task *task_set_find(const struct task_set *set, const char *name, size_t len);
/* In the order of their names. */
size_t task_set_count(const struct task_set *set);
const struct task *task_set_at(const struct task_set *set, size_t i);

/* The set that is in force, for programs that reload: one holder, one lock. */
struct task_holder;
struct task_holder *task_holder_new(struct task_set *takes); /* NULL: no memory */
void task_holder_free(struct task_holder *h);
/* Returns a reference that the caller unrefs. Any thread. */
struct task_set *task_holder_get(struct task_holder *h);
/* Loads anew and swaps; on an error the old set stays and e says why. Any one thread at a time. */
enum err_code MUST_CHECK task_holder_reload(struct task_holder *h, const struct config *c, struct err *e);

#endif
