/* A slot's places: its run's share of what the fleet may do at once in a source database and out of a queue
 * (shared/queue/place.h). A run of neither a limited source nor a limited queue asks nobody. Thread rule: the slot's. */
#ifndef DB_WORKER_PLACE_H
#define DB_WORKER_PLACE_H

#include "worker/worker.h"

int64_t place_lease_ms(const struct worker *w);
/* The place that such a name means to this worker, its limit too. False: this worker does not know it, or not any more. */
bool place_find(const struct worker *w, const char *thing, struct work_place *out);

/* Takes what a query in the source needs. ERR_BUSY: not now, and the slot remembers what for. */
enum err_code MUST_CHECK place_take(struct slot *s, const struct cfg_source *cfg, int64_t before, struct err *e);
/* Gives back what place_take has taken; when Redis does not answer, the lease does it. */
void place_leave(struct slot *s);
/* The same for what was kept for an entry that is not to be run. */
void place_forgo(struct slot *s, const struct work_entry *entry, const char *thing);

/* The run has found no place: its job waits for one (again and again until Redis has heard it). */
enum err_code MUST_CHECK place_park(struct slot *s, const struct work_entry *entry, struct err *e);

#endif
