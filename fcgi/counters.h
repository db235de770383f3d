/* What this process counts about its requests. One struct a thread: its thread alone adds, any thread may read (relaxed
 * atomics: a figure may be a request behind another).
 */
#ifndef DB_FCGI_COUNTERS_H
#define DB_FCGI_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTERS_ROUTES 16  /* at least router_count() */
#define COUNTERS_STATUSES 9 /* counters_statuses, and one for all others */
#define COUNTERS_BUCKETS 11 /* counters_buckets_us, and one for all longer ones */

extern const int counters_statuses[COUNTERS_STATUSES - 1];
extern const int64_t counters_buckets_us[COUNTERS_BUCKETS - 1];

struct counters {
	_Atomic uint64_t requests[COUNTERS_ROUTES][COUNTERS_STATUSES];
	_Atomic uint64_t
	        took[COUNTERS_BUCKETS]; /* requests by the first bucket that holds their time; not cumulative */
	_Atomic uint64_t took_us;       /* sum */
	_Atomic uint64_t turns;         /* of the loop that had requests */
	_Atomic uint64_t connections;   /* open now */
};

/* The thread is the only writer of its struct. */
void counters_add(_Atomic uint64_t *counter, int64_t n);
void counters_request(struct counters *c, size_t route, int status, int64_t us);

#endif
