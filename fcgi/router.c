#include "fcgi/router.h"

#include <string.h>

#include "fcgi/fleet.h"
#include "fcgi/handlers.h"

static const struct route routes[] = {
        {METHOD_OTHER, "(none)", NULL, NULL}, /* index 0 */
        {METHOD_GET, "/", index_ask, NULL},
        {METHOD_GET, "/tasks", tasks_ask, NULL},
        {METHOD_POST, "/tasks/{task}/jobs", job_post_ask, job_post_answer},
        {METHOD_GET, "/jobs/{id}", job_get_ask, job_get_answer},
        {METHOD_DELETE, "/jobs/{id}", job_delete_ask, job_delete_answer},
        {METHOD_GET, "/jobs/queue/{queue}", queue_get_ask, queue_get_answer},
        {METHOD_GET, "/queues", fleet_ask, queues_answer},
        {METHOD_POST, "/groups", group_post_ask, job_post_answer},
        {METHOD_GET, "/groups/{id}", group_get_ask, group_get_answer},
        {METHOD_DELETE, "/groups/{id}", group_delete_ask, group_delete_answer},
        {METHOD_GET, "/health", health_ask, health_answer},
        {METHOD_GET, "/metrics", fleet_ask, metrics_answer},
        {METHOD_GET, "/openapi.yaml", openapi_ask, NULL},
};
#define ROUTES (sizeof routes / sizeof *routes)

size_t router_count(void)
{
	return ROUTES;
}

const struct route *router_at(size_t i)
{
	return &routes[i];
}

size_t router_index(const struct route *route)
{
	return route ? (size_t)(route - routes) : 0;
}

/* Does the path fit the pattern? *arg becomes what stands in the place of {...}. */
static bool matches(const char *pattern, const struct request *req, const char **arg)
{
	size_t i = 0;
	if (req->n_segments > REQUEST_SEGMENTS_MAX)
		return false;
	*arg = "";
	for (const char *p = pattern; p[1]; i++) {
		const char *part = p + 1;
		size_t len = strcspn(part, "/");
		p = part + len - (part[len] ? 0 : 1); /* on the next slash, or on the last character */
		if (i == req->n_segments)
			return false;
		const char *segment = req->segments[i];
		if (part[0] == '{' && segment[0])
			*arg = segment;
		else if (strlen(segment) != len || memcmp(segment, part, len) != 0)
			return false;
	}
	return i == req->n_segments;
}

/* The route for the request; NULL, with *allow telling for which methods there is one. */
static const struct route *find(struct exchange *x, unsigned *allow)
{
	enum method method = x->req.method == METHOD_HEAD ? METHOD_GET : x->req.method;
	*allow = 0;
	for (size_t i = 1; i < ROUTES; i++) {
		const char *arg;
		if (!matches(routes[i].pattern, &x->req, &arg))
			continue;
		if (routes[i].method == method) {
			x->arg = arg;
			return &routes[i];
		}
		*allow |= routes[i].method | (routes[i].method == METHOD_GET ? METHOD_HEAD : 0);
	}
	return NULL;
}

/* A command that could not be built must not reach the pipeline: it would fail the whole turn. */
static enum step check_commands(struct exchange *x, enum step step)
{
	if (step == STEP_DONE) {
		if (buf_ok(&x->res.body))
			return STEP_DONE;
		return exchange_fail_with(
		        x, ERR_NOMEM, "%s", x->res.body.nomem ? "out of memory" : "the answer is too large");
	}
	for (size_t i = x->first; i < x->n; i++)
		x->nomem = x->nomem || x->cmds[i].failed;
	return x->nomem ? exchange_fail_with(x, ERR_NOMEM, "out of memory") : STEP_ASK;
}

static enum step fail_status(struct exchange *x, int status, const char *text)
{
	struct err e;
	err_set(&e, ERR_INVALID, "%s", text);
	response_error_status(&x->res, status, &e);
	return STEP_DONE;
}

enum step router_ask(struct exchange *x)
{
	unsigned allow;
	x->route = find(x, &allow);
	if (!x->route && allow) {
		x->res.allow = allow;
		return fail_status(x, 405, "method not allowed");
	}
	if (!x->route)
		return exchange_fail_with(x, ERR_NOT_FOUND, "no such route");
	if (x->req.body_too_large)
		return fail_status(x, 413, "the request body is too large");
	if (x->req.body_cut)
		return fail_status(x, 400, "the request body ended before its Content-Length");
	return check_commands(x, x->route->ask(x));
}

enum step router_answer(struct exchange *x)
{
	size_t before = x->n;
	enum step step = x->route->answer(x);
	if (step == STEP_ASK) {
		x->first = before;
		x->phase++;
	}
	return check_commands(x, step);
}
