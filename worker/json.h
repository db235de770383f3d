/* The worker's JSON: a job's arguments in, a sign of life out. json-c is known to json.c only. Pure; any thread. */
#ifndef DB_WORKER_JSON_H
#define DB_WORKER_JSON_H

#include <stddef.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"

struct arg_list {
	const char **texts; /* NULL = SQL NULL; valid until arg_list_fini */
	size_t n;
	void *json; /* what the texts are borrowed from */
};

/* json: an array of strings, numbers, booleans and nulls. ERR_PERMANENT when it is something else. */
enum err_code MUST_CHECK arg_list_parse(struct arg_list *out, const char *json, struct err *e);
void arg_list_fini(struct arg_list *list);

/* Adds text as a JSON string, quotes included. */
void json_add_string(struct buf *b, const char *text);

#endif
