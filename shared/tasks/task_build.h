/* Makes a task of a query of a .sql file: what each tag means, its limits, and what must fit together. Private to this
 * directory. Thread rule: no shared state.
 */
#ifndef DB_TASKS_TASK_BUILD_H
#define DB_TASKS_TASK_BUILD_H

#include "shared/base/err.h"
#include "shared/config/config.h"
#include "shared/tasks/sqlfile.h"
#include "shared/tasks/tasks.h"

/* Fills *out, which the caller gives to task_fini whether this succeeds or not.
 * ERR_INVALID: "file:line: task 'x': why". */
enum err_code MUST_CHECK task_build(
        const struct config *c, const char *file, const struct sqlfile_query *query, struct task *out, struct err *e);
void task_fini(struct task *t);

#endif
