/* Where the master is: asks Redis' Sentinels (redis.sentinels) for the address of redis.master.
 *
 * The rules are those of the Sentinel client specification: Sentinels are asked in turn, each with a short time limit; the
 * one that has answered is asked first the next time; the address is asked for anew for every connection; and whoever is
 * there is taken for the master only when it says so itself (ROLE, in redis.c).
 * A Sentinel may be wrong: cut off from the others it still names the old master. So the caller asks the next one when an
 * address leads nowhere.
 * Thread rule: one struct sentinels per thread.
 */
#ifndef DB_QUEUE_SENTINEL_H
#define DB_QUEUE_SENTINEL_H

#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/config/config.h"

/* Most time for connecting to one Sentinel, and again for its answer (ms); none is a host far away. */
#define SENTINEL_LIMIT_MS 200
#define SENTINEL_HOST_MAX 255

struct sentinels;

struct sentinel_answer {
	char host[SENTINEL_HOST_MAX + 1]; /* an address, or a name where Sentinel has been told to give names */
	int port;
};

/* Borrows c, which must outlive it. NULL: no memory. */
struct sentinels *sentinels_new(const struct config *c);
void sentinels_free(struct sentinels *s);

size_t sentinels_count(const struct sentinels *s);
/* Asks the i-th in the order of today. until_ms (monotonic): the end of the caller's patience. A host's name is looked up by
 * the system's resolver, whose own time limits apply. ERR_UNAVAILABLE: it cannot be reached in time, knows no such master,
 * or says something else; e's text names it. */
enum err_code MUST_CHECK sentinels_ask(
        struct sentinels *s, size_t i, int64_t until_ms, struct sentinel_answer *out, struct err *e);
/* The i-th has answered: it comes first from now on, the others keep their order. */
void sentinels_prefer(struct sentinels *s, size_t i);

#endif
