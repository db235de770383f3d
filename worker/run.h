/* One run of a job: source → sink → publish. Knows no engine and no queue. Runs in the slot's thread. */
#ifndef DB_WORKER_RUN_H
#define DB_WORKER_RUN_H

#include "worker/worker.h"

struct run_result {
	int64_t rows;
	char table[64];
};

/* ERR_OK: published, and the slot still holds the sink (connect_leave_sink). The codes are those that settle_decide reads; ERR_LOST: the run is not current any more. */
enum err_code MUST_CHECK run_job(struct slot *s, const struct work_order *order, struct run_result *out, struct err *e);

#endif
