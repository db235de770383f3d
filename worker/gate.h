/* The connections of one database that the slots of this process share: at most so many at once.
 *
 * Who needs one enters: it gets the one that was used last among those that idle, or, when none does, the right to make
 * one; when as many as may be are in use it waits in turn. Who has done leaves, and what it brings back idles here. So no
 * slot sits on a connection that another waits for, and a quiet database is left with few connections.
 *
 * It knows no database: connections are pointers. In use or idle, a connection belongs to one thread at a time, but not
 * always to the same. Thread rule: any thread; times are monotonic ms.
 */
#ifndef DB_WORKER_GATE_H
#define DB_WORKER_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gate;

/* most: connections at once, 0 = no limit. users: threads that enter, each for one connection at a time.
 * lifetime_ms: how long one may idle, 0 = for ever. NULL: no memory. */
struct gate *gate_new(int most, size_t users, int64_t lifetime_ms);
void gate_free(struct gate *g); /* nobody is inside, and gate_stale has given out all */

/* *conn is now the caller's; NULL: it may make one. Waits; over(ctx) is asked after each gate_kick, with the gate locked:
 * true ends the wait, and the answer is false. */
bool gate_enter(struct gate *g, bool (*over)(void *), void *ctx, void **conn);
/* conn belongs to the gate again; NULL: there is none any more. */
void gate_leave(struct gate *g, void *conn, int64_t now_ms);
/* Those who wait ask again whether it is over. */
void gate_kick(struct gate *g);
/* Takes out one that has idled past its lifetime (all: any that idles), to be closed by the caller, who then leaves the
 * gate with NULL. NULL: there is none. */
void *gate_stale(struct gate *g, int64_t now_ms, bool all);

#endif
