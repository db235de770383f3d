/* From the JSON body of a POST to jobs that can be enqueued, with every check that a request can fail.
 *
 * Thread rule: one batch per thread. After job_batch_read_* the specs borrow from the batch: they are valid until
 * job_batch_clear (or the next read).
 */
#ifndef DB_FCGI_JOB_REQUEST_H
#define DB_FCGI_JOB_REQUEST_H

#include "fcgi/json_in.h"
#include "shared/base/buf.h"
#include "shared/config/config.h"
#include "shared/queue/queue.h"
#include "shared/tasks/tasks.h"

struct job_texts; /* where a spec's own texts are, while they are made */

struct job_batch {
	struct jin_reader *reader;
	const struct jin *document; /* of the last read */
	struct buf text;            /* generated ids, args, errors, each with its NUL */
	struct job_spec *specs;
	struct job_texts *texts;
	size_t n, cap;
	const char *group_id; /* of a group; else NULL */
	int64_t concurrency;  /* of a group */
};

/* False: no memory. */
bool job_batch_init(struct job_batch *b, const struct config *c);
void job_batch_fini(struct job_batch *b);
/* Forgets the document and gives back what is large. */
void job_batch_clear(struct job_batch *b);

/* A single job of the task: body is a job request (empty: {}). One spec. */
enum err_code MUST_CHECK job_batch_read_job(
        struct job_batch *b, const struct config *c, const struct task *task, const struct buf *body, struct err *e);
/* A group. ERR_NOT_FOUND: a job's task is unknown. */
enum err_code MUST_CHECK job_batch_read_group(struct job_batch *b, const struct config *c, const struct task_set *tasks,
        const struct buf *body, struct err *e);

#endif
