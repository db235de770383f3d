/* --check: are the configuration's databases reachable, and is every task a valid query on each of its databases? */
#ifndef DB_WORKER_CHECK_H
#define DB_WORKER_CHECK_H

#include "shared/config/config.h"
#include "shared/tasks/tasks.h"

/* Prints a line for each database and for each problem; returns the number of problems. Main thread. */
int check_everything(const struct config *c, const struct task_set *tasks);

/* Redis: can it keep what we entrust to it? ERR_INVALID: it may evict keys; a warning is logged when its AOF is off, and, if
 * it is replicated (there are Sentinels), when it takes writes without a replica. */
struct redis;
enum err_code MUST_CHECK check_redis(struct redis *r, bool replicated, struct err *e);

#endif
