/* Which databases of several are worth trying: one that refuses connections is left out for a while.
 *
 *     up ──refused──> down for 5 s ──a try is due──> down for 10 s, then 20 s, 40 s, 60 s, 60 s ...
 *      ^                                 │
 *      └──────── any connection made ────┘
 *
 * When its time is over a database is on trial: whoever picks it then has taken the trial, and for the others it stays
 * down. Where there is no other to choose it is tried all the same, but not more often than each HEALTH_PAUSE_MS. It counts
 * places in an array and knows no database. Thread rule: any thread; times are monotonic ms, passed in.
 */
#ifndef DB_WORKER_HEALTH_H
#define DB_WORKER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_FIRST_MS 5000
#define HEALTH_MOST_MS 60000
#define HEALTH_PAUSE_MS 1000
#define HEALTH_NONE SIZE_MAX
#define HEALTH_WHY_SIZE 400

struct health;

struct health *health_new(size_t n); /* all up; NULL: no memory */
void health_free(struct health *h);

/* A place in the list of the databases that may be tried now, at random among those up or on trial. None is: with *rest
 * the one whose last try is longest ago, if it is not too new, and *rest becomes false; else HEALTH_NONE, as for an empty
 * list. */
size_t health_pick(struct health *h, const size_t *list, size_t n, uint32_t random, int64_t now_ms, bool *rest);

/* Is it down, as a try of the last minute has shown? (For those who watch: what nobody wants is not asked for again.) */
bool health_is_down(struct health *h, size_t i, int64_t now_ms);

/* It has refused (why is copied) / taken a connection. True: that is news. */
bool health_down(struct health *h, size_t i, int64_t now_ms, const char *why);
bool health_up(struct health *h, size_t i);

/* Why it refused the last time; "" when it is up. */
void health_why(struct health *h, size_t i, char out[HEALTH_WHY_SIZE]);

#endif
