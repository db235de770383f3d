/* What the fleet looks like now: its queues, its sources, its workers. Two phases of an exchange: the first asks for the
 * fleet's counters (replies[0]) and its workers (replies[1]), the second for the depth of every queue that these, the tasks
 * and the configuration name, and for the places of what is limited. Pure, like the handlers that use it.
 */
#ifndef DB_FCGI_FLEET_H
#define DB_FCGI_FLEET_H

#include "fcgi/exchange.h"

/* max_running of a source or a queue; most 0: no limit, and nothing is counted. */
struct fleet_places {
	int64_t most, running, waiting;
};

struct fleet_queue {
	char name[QUEUE_NAME_MAX + 1];
	struct queue_depth depth;
	struct fleet_places places;
};

struct fleet_source {
	const char *name; /* borrowed from the configuration */
	struct fleet_places places;
	int64_t paused; /* workers alive that cannot reach it */
};

struct fleet {
	struct fleet_queue *queues;
	size_t n_queues;
	struct fleet_source *sources; /* in the configuration's order */
	size_t n_sources;
	int64_t workers_alive, slots, slots_running;
};

enum step fleet_ask(struct exchange *x);      /* phase 0 */
enum step fleet_ask_more(struct exchange *x); /* phase 1 */
/* After phase 1; out is owned by the caller (fleet_fini), also after an error. */
enum err_code MUST_CHECK fleet_read(const struct exchange *x, struct fleet *out, struct err *e);
void fleet_fini(struct fleet *f);

#endif
