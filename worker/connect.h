/* How a run comes by its connections: a source that is up (health.h), a place at its gate (gate.h), and a connection that
 * works; then the same for its results database. Before the first comes its place in the source (place.h).
 *
 * No deadlock: a slot enters the source's gate first and the results database's second, and never waits at a source's
 * while it is inside a results database's. Thread rule: the functions of a slot in its own thread.
 */
#ifndef DB_WORKER_CONNECT_H
#define DB_WORKER_CONNECT_H

#include "worker/worker.h"

/* Gates and health for all databases of the configuration; the slots have been counted. False: no memory. */
bool connect_open(struct worker *w);
/* Closes what idles; no slot is inside. Also after a connect_open that failed. */
void connect_close(struct worker *w);
/* Closes what has idled past its lifetime. The janitor's thread. */
void connect_close_idle(struct worker *w);

/* Connects the slot to the source that the job names, or to one of the task's: one that refuses, or that has no place for
 * the job (place.h), is passed over for another. On ERR_OK the slot holds it (slot.source_held), and *cfg says which it is.
 * ERR_UNAVAILABLE: none can be reached. ERR_BUSY: none has a place (slot.wanted). */
enum err_code MUST_CHECK connect_source(struct slot *s, const struct task *task, const struct work_order *order,
        const struct cfg_source **cfg, struct err *e);
/* The same for one results database (slot.sink_held). A connection that has been lost wakes the janitor: it may have been
 * in a crash. */
enum err_code MUST_CHECK connect_sink(struct slot *s, const struct cfg_results *cfg, int64_t timeout_ms, struct err *e);

/* Lets others have what the slot holds, if anything. */
void connect_leave_source(struct slot *s);
void connect_leave_sink(struct slot *s);

#endif
