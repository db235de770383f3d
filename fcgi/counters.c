#include "fcgi/counters.h"

const int counters_statuses[COUNTERS_STATUSES - 1] = {200, 400, 404, 405, 409, 413, 500, 503};
const int64_t counters_buckets_us[COUNTERS_BUCKETS - 1] = {
        250, 500, 1000, 2500, 5000, 10000, 50000, 250000, 1000000, 5000000};

/* With one writer a load and a store are as good as an atomic addition, and quicker. */
void counters_add(_Atomic uint64_t *counter, int64_t n)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, old + (uint64_t)n, memory_order_relaxed);
}

void counters_request(struct counters *c, size_t route, int status, int64_t us)
{
	size_t s = 0, bucket = 0;
	while (s < COUNTERS_STATUSES - 1 && counters_statuses[s] != status)
		s++;
	while (bucket < COUNTERS_BUCKETS - 1 && us > counters_buckets_us[bucket])
		bucket++;
	counters_add(&c->requests[route < COUNTERS_ROUTES ? route : 0][s], 1);
	counters_add(&c->took[bucket], 1);
	counters_add(&c->took_us, us > 0 ? us : 0);
}
