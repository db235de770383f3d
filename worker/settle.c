#include "worker/settle.h"

/* Doubles from base with each attempt, at most max; half of it is jitter, so that failed jobs do not come back as one. */
static int64_t backoff(int64_t base, int64_t max, int64_t attempt, uint32_t random)
{
	int64_t delay = base;
	for (int64_t i = 0; i < attempt && delay < max; i++)
		delay *= 2;
	if (delay > max)
		delay = max;
	int64_t half = delay / 2;
	return half + (int64_t)((double)(delay - half) * ((double)random / 4294967296.0));
}

void settle_decide(const struct config *c, const struct work_order *order, enum err_code rc, int64_t now_ms,
        uint32_t random, struct work_result *result)
{
	int64_t base = c->worker.retry_base_ms, max = c->worker.retry_max_ms;
	result->delay_ms = 0;
	switch (rc) {
	case ERR_OK:
		result->outcome = WORK_SUCCESS;
		return;
	case ERR_CANCELLED:
		result->outcome = WORK_RETURN;
		return;
	case ERR_BUSY:
		result->outcome = WORK_PARK;
		return;
	case ERR_UNAVAILABLE: {
		/* Not the job's fault: it waits without a limit of attempts, but not for ever. The waits grow with the outage. */
		int64_t outage = order->outage_since_ms ? now_ms - order->outage_since_ms : 0;
		if (outage >= c->worker.outage_timeout_ms)
			break;
		int64_t wait = outage / 4 < 30000 ? outage / 4 : 30000;
		result->outcome = WORK_WAIT;
		result->delay_ms = backoff(wait > base ? wait : base, max, 0, random);
		return;
	}
	case ERR_TRANSIENT:
	case ERR_NOMEM:
		if (order->retried >= order->job.retries)
			break;
		result->outcome = WORK_RETRY;
		result->delay_ms = backoff(base, max, order->retried, random);
		return;
	default:
		break;
	}
	result->outcome = WORK_FAILURE;
}
