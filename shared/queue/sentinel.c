#include "shared/queue/sentinel.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/clock.h"
#include "shared/base/parse.h"
#include "shared/config/redis_url.h"

struct sentinels {
	const struct config *config; /* borrowed */
	const char **order;          /* the addresses as configured, borrowed; the one to be asked first comes first */
	size_t n;
};

struct sentinels *sentinels_new(const struct config *c)
{
	struct sentinels *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->config = c;
	s->n = c->redis.n_sentinels;
	s->order = calloc(s->n + 1, sizeof *s->order);
	if (!s->order) {
		free(s);
		return NULL;
	}
	for (size_t i = 0; i < s->n; i++)
		s->order[i] = c->redis.sentinels[i];
	return s;
}

void sentinels_free(struct sentinels *s)
{
	if (!s)
		return;
	free(s->order);
	free(s);
}

size_t sentinels_count(const struct sentinels *s)
{
	return s->n;
}

void sentinels_prefer(struct sentinels *s, size_t i)
{
	const char *first = s->order[i];
	for (; i > 0; i--)
		s->order[i] = s->order[i - 1];
	s->order[0] = first;
}

/* --- one Sentinel --- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static enum err_code silent(const redisContext *ctx, struct err *e)
{
	return err_set(e, ERR_UNAVAILABLE, "%s", ctx->err ? ctx->errstr : "no answer in time");
}

static enum err_code reach(const char *address, int64_t until_ms, redisContext **out, struct err *e)
{
	char *host = NULL;
	int port;
	enum err_code rc = redis_sentinel_parse(address, &host, &port, e);
	if (rc != ERR_OK)
		return rc;
	int64_t ms = earlier(until_ms - clock_mono_ms(), SENTINEL_LIMIT_MS);
	if (ms <= 0) {
		rc = err_set(e, ERR_UNAVAILABLE, "there was no time left to ask it");
	} else {
		struct timeval limit = {.tv_usec = ms * 1000};
		*out = redisConnectWithTimeout(host, port, limit);
		if (!*out)
			rc = err_nomem(e);
		else if ((*out)->err)
			rc = silent(*out, e);
	}
	free(host);
	return rc;
}

static enum err_code send_all(redisContext *ctx, struct err *e)
{
	for (int done = 0; !done;)
		if (redisBufferWrite(ctx, &done) != REDIS_OK)
			return silent(ctx, e);
	return ERR_OK;
}

/* The next reply. The time is that of all its bytes together: a server that sends them one by one gains nothing. */
static enum err_code receive(redisContext *ctx, int64_t until_ms, redisReply **out, struct err *e)
{
	for (;;) {
		void *got = NULL;
		if (redisGetReplyFromReader(ctx, &got) != REDIS_OK)
			return silent(ctx, e);
		*out = got;
		if (got)
			return ERR_OK;
		int64_t ms = until_ms - clock_mono_ms();
		struct pollfd p = {.fd = ctx->fd, .events = POLLIN};
		int ready = ms > 0 ? poll(&p, 1, (int)ms) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0 || redisBufferRead(ctx) != REDIS_OK)
			return silent(ctx, e);
	}
}

/* [host, port] */
static enum err_code read_address(const redisReply *r, const char *master, struct sentinel_answer *out, struct err *e)
{
	int64_t port;
	if (r->type == REDIS_REPLY_NIL || (r->type == REDIS_REPLY_ARRAY && r->elements == 0))
		return err_set(e, ERR_UNAVAILABLE, "it knows no master '%s'", master);
	if (r->type == REDIS_REPLY_ERROR)
		return err_set(e, ERR_UNAVAILABLE, "%s", r->str);
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[0]->type != REDIS_REPLY_STRING ||
	        r->element[1]->type != REDIS_REPLY_STRING)
		return err_set(e, ERR_UNAVAILABLE, "its answer is no address");
	const redisReply *host = r->element[0], *digits = r->element[1];
	size_t len = (size_t)host->len;
	if (len == 0 || len > SENTINEL_HOST_MAX || strlen(host->str) != len ||
	        !parse_i64(digits->str, (size_t)digits->len, 1, 65535, &port))
		return err_set(e, ERR_UNAVAILABLE, "its answer is no address");
	memcpy(out->host, host->str, len + 1);
	out->port = (int)port;
	return ERR_OK;
}

static enum err_code log_in(redisContext *ctx, const struct config *c, int64_t until_ms, struct err *e)
{
	const char *user = c->redis.sentinel_username, *password = c->redis.sentinel_password;
	const char *with_user[] = {"AUTH", user, password}, *without[] = {"AUTH", password};
	redisReply *reply = NULL;
	if (!password[0])
		return ERR_OK;
	if (redisAppendCommandArgv(ctx, user[0] ? 3 : 2, user[0] ? with_user : without, NULL) != REDIS_OK)
		return silent(ctx, e);
	enum err_code rc = send_all(ctx, e);
	if (rc == ERR_OK)
		rc = receive(ctx, until_ms, &reply, e);
	if (reply && reply->type == REDIS_REPLY_ERROR)
		rc = err_set(e, ERR_UNAVAILABLE, "it refuses the password: %s", reply->str);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static enum err_code converse(
        redisContext *ctx, const struct config *c, int64_t until_ms, struct sentinel_answer *out, struct err *e)
{
	const char *ask[] = {"SENTINEL", "get-master-addr-by-name", c->redis.master};
	redisReply *reply = NULL;
	enum err_code rc = log_in(ctx, c, until_ms, e);
	if (rc == ERR_OK && redisAppendCommandArgv(ctx, 3, ask, NULL) != REDIS_OK)
		rc = silent(ctx, e);
	if (rc == ERR_OK)
		rc = send_all(ctx, e);
	if (rc == ERR_OK)
		rc = receive(ctx, until_ms, &reply, e);
	if (rc == ERR_OK && reply)
		rc = read_address(reply, c->redis.master, out, e);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

enum err_code sentinels_ask(struct sentinels *s, size_t i, int64_t until_ms, struct sentinel_answer *out, struct err *e)
{
	redisContext *ctx = NULL;
	struct err why = ERR_INIT;
	enum err_code rc = reach(s->order[i], until_ms, &ctx, &why);
	if (rc == ERR_OK && ctx)
		rc = converse(ctx, s->config, earlier(until_ms, clock_mono_ms() + SENTINEL_LIMIT_MS), out, &why);
	if (ctx)
		redisFree(ctx);
	if (rc == ERR_OK || rc == ERR_NOMEM)
		return rc == ERR_OK ? rc : err_nomem(e);
	return err_set(e, ERR_UNAVAILABLE, "Sentinel %s: %s", s->order[i], why.text);
}
