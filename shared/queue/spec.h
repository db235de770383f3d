/* What a job was ordered to be: constant from its acceptance on, and kept as one field `spec` of its hash, since one field
 * costs Redis a fraction of ten. Its form is lines of name=value:
 *
 *     task=top_users
 *     queue=reports
 *     results=reports
 *     ttl=3600000
 *     args=["10"]
 *
 * task, queue and results stand first and in this order (the scripts look for "\nqueue=...\n"), then those of db, group,
 * retries, ttl, timeout, eta (ms) that are set; args, which may be long, is the last line and always there. No value holds
 * a line feed: names cannot, and JSON escapes it. Pure; any thread.
 */
#ifndef DB_QUEUE_SPEC_H
#define DB_QUEUE_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "shared/queue/redis.h"

#define SPEC_NAME_MAX 128 /* bytes of a task's, queue's, group's or database's name */

struct job_order {
	char task[SPEC_NAME_MAX + 1], queue[SPEC_NAME_MAX + 1], db[SPEC_NAME_MAX + 1], results[SPEC_NAME_MAX + 1],
	        group[SPEC_NAME_MAX + 1];            /* "" = none */
	int64_t retries, ttl_ms, timeout_ms, eta_ms; /* 0 = none */
	const char *args;                            /* borrowed from the text that was read */
};

struct job_spec;
/* Adds the spec of the job as one argument. group: NULL = none. */
void spec_add(struct cmd *c, const struct job_spec *job, const char *group);

/* Reads text; lines that it does not know, and values that are too long, count as not there. */
void spec_read(const char *text, struct job_order *out);

#endif
