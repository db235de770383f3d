/* One request on its way to its answer, as a handler sees it.
 *
 *   ask ──STEP_ASK──> [one pipeline to Redis, with those of all other requests of the turn] ──> answer ──STEP_DONE──>
 *    └──STEP_DONE──> (answered without Redis)                     ^                               │
 *                                                                 └──────────STEP_ASK─────────────┘ (the next phase)
 *
 * A handler is two pure functions over this struct: it reads the request, adds commands (exchange_command), reads replies
 * (exchange_reply, of the phase; replies[i], of all phases) and fills the response. It talks to nobody itself.
 * Thread rule: one loop's thread. Commands and replies live until exchange_reset.
 */
#ifndef DB_FCGI_EXCHANGE_H
#define DB_FCGI_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi/request.h"
#include "fcgi/response.h"
#include "shared/config/config.h"
#include "shared/queue/queue.h"
#include "shared/tasks/tasks.h"

struct counters;
struct job_batch;

/* What all threads share; constant while they run. */
struct app {
	const struct config *config;
	struct task_holder *tasks;
	struct counters *counters; /* one for each thread */
	size_t n_counters;
};

enum step { STEP_DONE, STEP_ASK };

struct exchange {
	const struct app *app;
	struct job_batch *batch;      /* borrowed scratch of the thread */
	const struct task_set *tasks; /* in force for this turn; borrowed */
	int64_t now_ms;               /* wall clock at the turn's begin */

	struct request req;
	const struct route *route; /* NULL: none matched */
	const char *arg;           /* what stands in the place of the route's {...}; "" = none */

	int phase; /* 0 while the first replies are awaited */
	int tries; /* for handlers that begin anew */
	struct cmd *cmds;
	struct reply **replies; /* replies[i] answers cmds[i]; NULL until it is read */
	size_t n, cap;
	size_t first; /* of the phase's commands */
	bool nomem;
	struct cmd spare; /* takes what cannot be sent */

	struct response res;
};

void exchange_init(struct exchange *x, const struct app *app, struct job_batch *batch);
void exchange_fini(struct exchange *x);
/* Ready for the next request: frees the replies, keeps most memory. */
void exchange_reset(struct exchange *x);

/* A new empty command of the next pipeline. Never NULL; without memory the exchange becomes `nomem`, a 500. */
struct cmd *exchange_command(struct exchange *x);
/* The i-th reply of the phase. */
const struct reply *exchange_reply(const struct exchange *x, size_t i);

/* End with an error: `return exchange_fail(x, &e);` */
enum step exchange_fail(struct exchange *x, const struct err *e);
enum step exchange_fail_with(struct exchange *x, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
