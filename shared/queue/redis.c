#include "shared/queue/redis.h"

#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shared/base/parse.h"
#include "shared/config/redis_url.h"

#define JOINED_MAX 64 /* calls in one: nobody else is served meanwhile */
#define SCRIPT_HEAD 3 /* arguments before the keys: EVALSHA, digest, number of keys */

struct redis {
	const struct config *config; /* borrowed */
	redisContext *ctx;           /* NULL: not connected */
	int64_t timeout_ms;          /* of reads, as wished */
	int64_t timeout_set_ms;      /* as set on ctx */
	pthread_mutex_t lock;        /* guards fd against redis_interrupt */
	int fd;                      /* of ctx, -1 when none */
};

/* --- replies --- */

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

void reply_free(struct reply *r)
{
	if (r)
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

/* --- the connection --- */

struct redis *redis_new(const struct config *c)
{
	struct redis *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->config = c;
	r->fd = -1;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void redis_disconnect(struct redis *r)
{
	pthread_mutex_lock(&r->lock);
	r->fd = -1;
	pthread_mutex_unlock(&r->lock);
	if (r->ctx)
		redisFree(r->ctx);
	r->ctx = NULL;
}

void redis_free(struct redis *r)
{
	if (!r)
		return;
	redis_disconnect(r);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

bool redis_connected(const struct redis *r)
{
	return r->ctx != NULL;
}

void redis_interrupt(struct redis *r)
{
	pthread_mutex_lock(&r->lock);
	if (r->fd >= 0)
		shutdown(r->fd, SHUT_RDWR);
	pthread_mutex_unlock(&r->lock);
}

void redis_set_timeout(struct redis *r, int64_t ms)
{
	r->timeout_ms = ms;
}

static struct timeval to_timeval(int64_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

static void apply_timeout(struct redis *r)
{
	int64_t ms = r->timeout_ms > 0 ? r->timeout_ms : r->config->redis.timeout_ms;
	if (ms == r->timeout_set_ms)
		return;
	redisSetTimeout(r->ctx, to_timeval(ms));
	r->timeout_set_ms = ms;
}

/* Drops the connection and says why; hiredis' errors are sticky, so nothing else can be done with it. */
static enum err_code broken(struct redis *r, struct err *e)
{
	char text[128] = "connection closed";
	if (r->ctx && r->ctx->errstr[0])
		memcpy(text, r->ctx->errstr,
		        sizeof r->ctx->errstr < sizeof text ? sizeof r->ctx->errstr : sizeof text - 1);
	text[sizeof text - 1] = '\0';
	redis_disconnect(r);
	return err_set(e, ERR_UNAVAILABLE, "Redis: %s", text);
}

/* The peer closed the connection, or says something that nobody asked for, while no reply was due. */
static bool hung_up(struct redis *r)
{
	struct pollfd p = {.fd = r->fd, .events = POLLIN | POLLRDHUP};
	return poll(&p, 1, 0) != 0;
}

static enum err_code simple(struct redis *r, int argc, const char **argv, struct err *e)
{
	redisReply *reply = redisCommandArgv(r->ctx, argc, argv, NULL);
	if (!reply)
		return broken(r, e);
	enum err_code rc = reply_error(cooked(reply), e);
	freeReplyObject(reply);
	return rc;
}

static enum err_code log_in(struct redis *r, const struct redis_url *url, struct err *e)
{
	enum err_code rc = ERR_OK;
	if (url->password) {
		const char *with_user[] = {"AUTH", url->user, url->password};
		const char *without[] = {"AUTH", url->password};
		rc = url->user && url->user[0] ? simple(r, 3, with_user, e) : simple(r, 2, without, e);
	}
	if (rc == ERR_OK && url->db > 0) {
		char digits[16];
		snprintf(digits, sizeof digits, "%d", url->db);
		const char *select[] = {"SELECT", digits};
		rc = simple(r, 2, select, e);
	}
	if (rc != ERR_OK)
		redis_disconnect(r);
	return rc;
}

/* A dead peer is noticed within about half a minute, whatever the system's defaults are: also by who only listens, to a
 * server whose host was started anew. */
static void tune_socket(int fd)
{
	int on = 1, idle = 10, interval = 5, count = 3, timeout = 30000;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

enum err_code redis_connect(struct redis *r, struct err *e)
{
	if (r->ctx && hung_up(r))
		redis_disconnect(r);
	if (r->ctx)
		return ERR_OK;
	struct redis_url url;
	enum err_code rc = redis_url_parse(r->config->redis.url, &url, e);
	if (rc != ERR_OK)
		return rc;
	struct timeval timeout = to_timeval(r->config->redis.connect_timeout_ms);
	r->ctx = url.path ? redisConnectUnixWithTimeout(url.path, timeout)
	                  : redisConnectWithTimeout(url.host, url.port, timeout);
	if (!r->ctx) {
		rc = err_nomem(e);
	} else if (r->ctx->err) {
		rc = broken(r, e);
	} else {
		if (!url.path)
			tune_socket(r->ctx->fd);
		pthread_mutex_lock(&r->lock);
		r->fd = r->ctx->fd;
		pthread_mutex_unlock(&r->lock);
		r->timeout_set_ms = -1;
		apply_timeout(r);
		rc = log_in(r, &url, e);
	}
	redis_url_fini(&url);
	return rc;
}

static enum err_code append_bytes(struct redis *r, const char *bytes, size_t len, struct err *e)
{
	return redisAppendFormattedCommand(r->ctx, bytes, len) == REDIS_OK ? ERR_OK : broken(r, e);
}

/* Puts one command into the output buffer; whole: the script's text goes instead of its digest. */
static enum err_code append(struct redis *r, const struct cmd *c, bool whole, struct err *e)
{
	if (c->failed)
		return err_nomem(e);
	char head[64];
	int n = whole ? snprintf(head, sizeof head, "*%zu\r\n$4\r\nEVAL\r\n$%zu\r\n", c->n, c->script->len)
	              : snprintf(head, sizeof head, "*%zu\r\n", c->n);
	enum err_code rc = append_bytes(r, head, (size_t)n, e);
	if (rc == ERR_OK && whole)
		rc = append_bytes(r, c->script->text, c->script->len, e);
	if (rc == ERR_OK && whole)
		rc = append_bytes(r, "\r\n", 2, e);
	size_t from = whole ? c->rest : 0;
	return rc == ERR_OK ? append_bytes(r, c->text.data + from, c->text.len - from, e) : rc;
}

/* How many commands from the first on go as one call. */
static size_t joined(struct cmd *const *cmds, size_t n)
{
	size_t k = 1;
	while (cmds[0]->joins && k < n && k < JOINED_MAX && cmds[k]->joins && cmds[k]->script == cmds[0]->script)
		k++;
	return k;
}

static enum err_code append_joined(struct redis *r, struct cmd *const *cmds, size_t k, struct err *e)
{
	size_t n = 0, keys = 0;
	for (size_t i = 0; i < k; i++) {
		if (cmds[i]->failed)
			return err_nomem(e);
		n += cmds[i]->n - SCRIPT_HEAD;
		keys += cmds[i]->keys;
	}
	char head[32], digits[24], count[48];
	int digits_len = snprintf(digits, sizeof digits, "%zu", keys);
	int head_len = snprintf(head, sizeof head, "*%zu\r\n", n + SCRIPT_HEAD);
	int count_len = snprintf(count, sizeof count, "$%d\r\n%s\r\n", digits_len, digits);
	enum err_code rc = append_bytes(r, head, (size_t)head_len, e);
	if (rc == ERR_OK)
		rc = append_bytes(r, cmds[0]->text.data, cmds[0]->rest, e);
	if (rc == ERR_OK)
		rc = append_bytes(r, count, (size_t)count_len, e);
	for (size_t i = 0; i < k && rc == ERR_OK; i++)
		rc = append_bytes(r, cmds[i]->text.data + cmds[i]->first, cmds[i]->args - cmds[i]->first, e);
	for (size_t i = 0; i < k && rc == ERR_OK; i++)
		rc = append_bytes(r, cmds[i]->text.data + cmds[i]->args, cmds[i]->text.len - cmds[i]->args, e);
	return rc;
}

static enum err_code read_reply(struct redis *r, struct reply **reply, struct err *e)
{
	void *got = NULL;
	if (redisGetReply(r->ctx, &got) != REDIS_OK || !got)
		return broken(r, e);
	*reply = cooked(got);
	return ERR_OK;
}

/* Reads the reply of k commands that went as one call, and gives each its item; an error of the call goes to the first. */
static enum err_code read_joined(struct redis *r, size_t k, struct reply **replies, struct err *e)
{
	struct reply *whole = NULL;
	enum err_code rc = read_reply(r, &whole, e);
	if (rc != ERR_OK || reply_type(whole) != REPLY_ARRAY) {
		replies[0] = whole;
		return rc;
	}
	redisReply *list = (redisReply *)(void *)whole;
	for (size_t i = 0; i < k && i < list->elements; i++) {
		replies[i] = cooked(list->element[i]);
		list->element[i] = NULL;
	}
	reply_free(whole);
	return ERR_OK;
}

static bool is_noscript(const struct reply *r)
{
	return reply_type(r) == REPLY_ERROR && strncmp(reply_text(r, NULL), "NOSCRIPT", 8) == 0;
}

/* Rare (a new server, SCRIPT FLUSH): a call whose script is unknown has done nothing, and goes again, whole. */
static enum err_code send_again(
        struct redis *r, struct cmd *const *cmds, size_t k, struct reply **replies, struct err *e)
{
	bool whole = is_noscript(replies[0]);
	if (!cmds[0]->script || reply_type(replies[0]) != REPLY_ERROR || (!whole && (k == 1 || replies[1])))
		return ERR_OK;
	reply_free(replies[0]);
	replies[0] = NULL;
	enum err_code rc = ERR_OK;
	for (size_t i = 0; i < k && rc == ERR_OK; i++)
		rc = append(r, cmds[i], whole, e);
	for (size_t i = 0; i < k && rc == ERR_OK; i++)
		rc = cmds[i]->joins ? read_joined(r, 1, &replies[i], e) : read_reply(r, &replies[i], e);
	return rc;
}

enum err_code redis_pipeline(struct redis *r, struct cmd *const *cmds, size_t n, struct reply **replies, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		replies[i] = NULL;
	enum err_code rc = redis_connect(r, e);
	if (rc != ERR_OK)
		return rc;
	apply_timeout(r);
	for (size_t i = 0, k; i < n && rc == ERR_OK; i += k) {
		k = joined(cmds + i, n - i);
		rc = k > 1 ? append_joined(r, cmds + i, k, e) : append(r, cmds[i], false, e);
	}
	for (size_t i = 0, k; i < n && rc == ERR_OK; i += k) {
		k = joined(cmds + i, n - i);
		rc = cmds[i]->joins ? read_joined(r, k, replies + i, e) : read_reply(r, &replies[i], e);
	}
	for (size_t i = 0, k; i < n && rc == ERR_OK; i += k) {
		k = joined(cmds + i, n - i);
		rc = send_again(r, cmds + i, k, replies + i, e);
	}
	if (rc == ERR_NOMEM)
		redis_disconnect(r); /* half a pipeline may be in its buffer */
	return rc;
}

enum err_code redis_call(struct redis *r, struct cmd *c, struct reply **reply, struct err *e)
{
	struct cmd *const one[] = {c};
	enum err_code rc = redis_pipeline(r, one, 1, reply, e);
	if (rc == ERR_OK)
		rc = reply_error(*reply, e);
	if (rc != ERR_OK) {
		reply_free(*reply);
		*reply = NULL;
	}
	return rc;
}

enum err_code redis_wait(struct redis *r, int64_t timeout_ms, struct reply **reply, struct err *e)
{
	void *got = NULL;
	*reply = NULL;
	if (!r->ctx)
		return err_set(e, ERR_UNAVAILABLE, "Redis: not connected");
	if (redisGetReplyFromReader(r->ctx, &got) != REDIS_OK)
		return broken(r, e);
	if (!got) {
		struct pollfd p = {.fd = r->fd, .events = POLLIN};
		if (poll(&p, 1, (int)timeout_ms) <= 0)
			return ERR_OK;
		return read_reply(r, reply, e);
	}
	*reply = cooked(got);
	return ERR_OK;
}
