/* Replies of Redis, as others see them (redis.h). */
#include <hiredis/hiredis.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/queue/redis.h"

static const redisReply *raw(const struct reply *r)
{
	return (const redisReply *)(const void *)r;
}

static struct reply *cooked(void *r)
{
	return (struct reply *)r;
}

enum reply_type reply_type(const struct reply *r)
{
	if (!r)
		return REPLY_NIL;
	switch (raw(r)->type) {
	case REDIS_REPLY_STRING:
	case REDIS_REPLY_STATUS:
		return REPLY_TEXT;
	case REDIS_REPLY_INTEGER:
		return REPLY_INTEGER;
	case REDIS_REPLY_ARRAY:
		return REPLY_ARRAY;
	case REDIS_REPLY_ERROR:
		return REPLY_ERROR;
	default:
		return REPLY_NIL;
	}
}

const char *reply_text(const struct reply *r, size_t *len)
{
	bool text = reply_type(r) == REPLY_TEXT || reply_type(r) == REPLY_ERROR;
	if (len)
		*len = text ? (size_t)raw(r)->len : 0;
	return text ? raw(r)->str : "";
}

int64_t reply_i64(const struct reply *r, int64_t fallback)
{
	if (reply_type(r) == REPLY_INTEGER)
		return raw(r)->integer;
	size_t len;
	const char *text = reply_text(r, &len);
	int64_t v;
	return reply_type(r) == REPLY_TEXT && parse_i64(text, len, INT64_MIN, INT64_MAX, &v) ? v : fallback;
}

size_t reply_count(const struct reply *r)
{
	return reply_type(r) == REPLY_ARRAY ? raw(r)->elements : 0;
}

const struct reply *reply_at(const struct reply *r, size_t i)
{
	return i < reply_count(r) ? cooked(raw(r)->element[i]) : NULL;
}

const struct reply *reply_field(const struct reply *r, const char *name)
{
	for (size_t i = 0; i + 1 < reply_count(r); i += 2)
		if (strcmp(reply_text(reply_at(r, i), NULL), name) == 0)
			return reply_at(r, i + 1);
	return NULL;
}

/* Only read, so that all threads can share it. */
static redisReply word_ok = {.type = REDIS_REPLY_STATUS, .str = (char[]){"OK"}, .len = 2};
static redisReply list_ok = {.type = REDIS_REPLY_ARRAY, .element = (redisReply *[]){&word_ok}, .elements = 1};

struct reply *reply_ok(void)
{
	return cooked(&list_ok);
}

void reply_free(struct reply *r)
{
	if (r && r != reply_ok())
		freeReplyObject(r);
}

enum err_code reply_error(const struct reply *r, struct err *e)
{
	/* The server's state, not our command's fault (redis 7 src/server.c, "shared" errors). */
	static const char *const states[] = {"OOM", "MISCONF", "LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS",
	        "NOAUTH", "CLUSTERDOWN", "TRYAGAIN", "BUSY ", "UNBLOCKED", "NOPERM", "WRONGPASS"};
	if (reply_type(r) != REPLY_ERROR)
		return ERR_OK;
	const char *text = reply_text(r, NULL);
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		if (strncmp(text, states[i], strlen(states[i])) == 0)
			return err_set(e, ERR_UNAVAILABLE, "Redis cannot serve now: %s", text);
	return err_set(e, ERR_PERMANENT, "Redis refused a command: %s", text);
}
