/* How a run ends for its job: the one place that decides between done, again, wait, give back, and failure. Pure. */
#ifndef DB_WORKER_SETTLE_H
#define DB_WORKER_SETTLE_H

#include "shared/config/config.h"
#include "shared/queue/work.h"

/* rc: how the run ended; now_ms: wall clock of Redis' kind (order->started_ms + how long it ran); random: any number, for
 * the jitter. result->outcome and delay_ms are set, all else is left. */
void settle_decide(const struct config *c, const struct work_order *order, enum err_code rc, int64_t now_ms,
        uint32_t random, struct work_result *result);

#endif
