#include "fcgi/exchange.h"

#include <stdlib.h>
#include <string.h>

/* Commands that keep their memory between requests; the rest gives it back: there are many exchanges, and what each once
 * needed for a group would stay until it needs that again. */
#define KEEP_COMMANDS 4u
#define KEEP_BYTES 8192u
#define KEEP_ROOM 16u /* commands, without their text */

void exchange_init(struct exchange *x, const struct app *app, struct job_batch *batch)
{
	*x = (struct exchange){.app = app, .batch = batch, .arg = ""};
	request_init(&x->req, (size_t)app->config->limits.body);
	response_init(&x->res);
	cmd_init(&x->spare);
}

void exchange_fini(struct exchange *x)
{
	exchange_reset(x); /* frees the replies */
	for (size_t i = 0; i < x->cap; i++)
		cmd_fini(&x->cmds[i]);
	cmd_fini(&x->spare);
	free(x->cmds);
	free(x->replies);
	request_fini(&x->req);
	response_fini(&x->res);
}

static void shrink(struct exchange *x)
{
	for (size_t i = 0; i < x->n; i++)
		if (i >= KEEP_COMMANDS || x->cmds[i].text.cap > KEEP_BYTES)
			cmd_fini(&x->cmds[i]);
	if (x->cap <= KEEP_ROOM)
		return;
	for (size_t i = 0; i < x->cap; i++)
		cmd_fini(&x->cmds[i]);
	free(x->cmds);
	free(x->replies);
	x->cmds = NULL;
	x->replies = NULL;
	x->cap = 0;
}

void exchange_reset(struct exchange *x)
{
	for (size_t i = 0; i < x->n; i++)
		reply_free(x->replies[i]);
	shrink(x);
	request_reset(&x->req);
	response_reset(&x->res);
	x->tasks = NULL;
	x->route = NULL;
	x->arg = "";
	x->phase = x->tries = 0;
	x->n = x->first = 0;
	x->nomem = false;
}

static bool grow(struct exchange *x)
{
	size_t cap = x->cap ? x->cap * 2 : KEEP_COMMANDS;
	struct cmd *cmds = realloc(x->cmds, cap * sizeof *cmds);
	if (!cmds)
		return false;
	x->cmds = cmds;
	struct reply **replies = realloc(x->replies, cap * sizeof(struct reply *));
	if (!replies)
		return false;
	x->replies = replies;
	for (; x->cap < cap; x->cap++)
		cmd_init(&x->cmds[x->cap]);
	return true;
}

struct cmd *exchange_command(struct exchange *x)
{
	if (x->n == x->cap && !grow(x)) {
		x->nomem = true;
		cmd_reset(&x->spare);
		return &x->spare;
	}
	struct cmd *c = &x->cmds[x->n];
	cmd_reset(c);
	x->replies[x->n++] = NULL;
	return c;
}

const struct reply *exchange_reply(const struct exchange *x, size_t i)
{
	return x->first + i < x->n ? x->replies[x->first + i] : NULL;
}

enum step exchange_fail(struct exchange *x, const struct err *e)
{
	response_error(&x->res, e);
	return STEP_DONE;
}

enum step exchange_fail_with(struct exchange *x, enum err_code code, const char *fmt, ...)
{
	struct err e;
	va_list args;
	va_start(args, fmt);
	err_vset(&e, code, fmt, args);
	va_end(args);
	return exchange_fail(x, &e);
}
