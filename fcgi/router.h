/* Which handler answers which request: one table. Pure; any thread. */
#ifndef DB_FCGI_ROUTER_H
#define DB_FCGI_ROUTER_H

#include "fcgi/exchange.h"

typedef enum step handler_fn(struct exchange *x);

struct route {
	enum method method;  /* HEAD goes where GET goes */
	const char *pattern; /* segments, of which one may be {a name} */
	handler_fn *ask;
	handler_fn *answer; /* NULL: ask always answers at once */
};

/* Routes, for the counters: index 0 stands for "no route". */
size_t router_count(void);
const struct route *router_at(size_t i);
size_t router_index(const struct route *route); /* of NULL: 0 */

/* Finds the route for x's request (sets route and arg) and asks; or answers 400, 404, 405, 413 at once. */
enum step router_ask(struct exchange *x);
/* The phase's replies are there. */
enum step router_answer(struct exchange *x);

#endif
