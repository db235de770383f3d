#include "shared/queue/redis.h"

#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "shared/base/clock.h"
#include "shared/config/redis_url.h"
#include "shared/queue/sentinel.h"

#define JOINED_MAX 64 /* calls in one: nobody else is served meanwhile */
#define PEER_SIZE (SENTINEL_HOST_MAX + 16)
#define PAUSE_FIRST_MS 50 /* between two vain questions for the master */
#define PAUSE_MAX_MS 800
#define REPLICAS_MS 1000 /* most time that replicas have to confirm; at most half of redis.timeout */

struct redis {
	const struct config *config; /* borrowed */
	redisContext *ctx;           /* NULL: not connected */
	int64_t timeout_ms;          /* of reads, as wished */
	int64_t timeout_set_ms;      /* as set on ctx */
	char peer[PEER_SIZE];        /* redis_peer */
	struct sentinels *sentinels; /* NULL: redis.url says where Redis is */
	int64_t pause_ms, again_ms;  /* with sentinels: the pause after a failure, its end (monotonic), and */
	struct err why;              /* what is said meanwhile */
	pthread_mutex_t lock;        /* guards fd against redis_interrupt */
	int fd;                      /* of ctx, -1 when none */
};

static struct reply *cooked(void *r)
{
	return (struct reply *)r;
}

/* --- the connection --- */

struct redis *redis_new(const struct config *c)
{
	struct redis *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->config = c;
	r->fd = -1;
	if (c->redis.n_sentinels > 0) {
		r->sentinels = sentinels_new(c);
		if (!r->sentinels) {
			free(r);
			return NULL;
		}
	}
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
	sentinels_free(r->sentinels);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

bool redis_connected(const struct redis *r)
{
	return r->ctx != NULL;
}

const char *redis_peer(const struct redis *r)
{
	return r->peer;
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

/* One command of the greeting; an error reply is an error. until_ms: the time limit of the whole greeting (monotonic), 0:
 * redis.timeout for each command. */
static enum err_code greet(
        struct redis *r, int argc, const char **argv, int64_t until_ms, struct reply **reply, struct err *e)
{
	if (until_ms) {
		int64_t left = until_ms - clock_mono_ms();
		redisSetTimeout(r->ctx, to_timeval(left > 1 ? left : 1));
		r->timeout_set_ms = -1;
	}
	redisReply *got = redisCommandArgv(r->ctx, argc, argv, NULL);
	if (!got)
		return broken(r, e);
	*reply = cooked(got);
	return reply_error(*reply, e);
}

static enum err_code greet_simply(struct redis *r, int argc, const char **argv, int64_t until_ms, struct err *e)
{
	struct reply *reply = NULL;
	enum err_code rc = greet(r, argc, argv, until_ms, &reply, e);
	reply_free(reply);
	return rc;
}

static enum err_code check_role(struct redis *r, int64_t until_ms, struct err *e)
{
	const char *argv[] = {"ROLE"};
	struct reply *reply = NULL;
	enum err_code rc = greet(r, 1, argv, until_ms, &reply, e);
	const char *role = reply_text(reply_at(reply, 0), NULL);
	if (rc == ERR_OK && strcmp(role, "master") != 0)
		rc = err_set(e, ERR_UNAVAILABLE, "its role is '%.20s', not master", role);
	reply_free(reply);
	return rc;
}

static enum err_code log_in(struct redis *r, const struct redis_url *url, int64_t until_ms, struct err *e)
{
	enum err_code rc = ERR_OK;
	if (url->password) {
		const char *with_user[] = {"AUTH", url->user, url->password};
		const char *without[] = {"AUTH", url->password};
		bool user = url->user && url->user[0];
		rc = greet_simply(r, user ? 3 : 2, user ? with_user : without, until_ms, e);
	}
	if (rc == ERR_OK && url->db > 0) {
		char digits[16];
		snprintf(digits, sizeof digits, "%d", url->db);
		const char *select[] = {"SELECT", digits};
		rc = greet_simply(r, 2, select, until_ms, e);
	}
	if (rc == ERR_OK && r->sentinels)
		rc = check_role(r, until_ms, e);
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

/* Connects to host and port, or, host being NULL, to the url's socket. until_ms as in greet. */
static enum err_code open_link(
        struct redis *r, const struct redis_url *url, const char *host, int port, int64_t until_ms, struct err *e)
{
	int64_t ms = until_ms ? until_ms - clock_mono_ms() : r->config->redis.connect_timeout_ms;
	struct timeval timeout = to_timeval(ms > 1 ? ms : 1);
	r->ctx = host ? redisConnectWithTimeout(host, port, timeout) : redisConnectUnixWithTimeout(url->path, timeout);
	if (!r->ctx)
		return err_nomem(e);
	if (r->ctx->err)
		return broken(r, e);
	if (host)
		tune_socket(r->ctx->fd);
	pthread_mutex_lock(&r->lock);
	r->fd = r->ctx->fd;
	pthread_mutex_unlock(&r->lock);
	r->timeout_set_ms = -1;
	apply_timeout(r);
	enum err_code rc = log_in(r, url, until_ms, e);
	if (rc != ERR_OK)
		return rc;
	apply_timeout(r);
	if (host)
		snprintf(r->peer, sizeof r->peer, "%s:%d", host, port);
	else
		snprintf(r->peer, sizeof r->peer, "%s", url->path);
	return ERR_OK;
}

/* Asks Sentinel after Sentinel until one names a server that is the master. e is about the last of them, or about the server
 * that was named. */
static enum err_code find_master(struct redis *r, const struct redis_url *url, struct err *e)
{
	int64_t until = clock_mono_ms() + r->config->redis.connect_timeout_ms;
	struct sentinel_answer at = {.port = 0}, tried = {.port = 0};
	size_t n = sentinels_count(r->sentinels), answered = n;
	enum err_code rc = ERR_UNAVAILABLE;
	for (size_t i = 0; i < n && rc == ERR_UNAVAILABLE; i++) {
		struct err why = ERR_INIT;
		rc = sentinels_ask(r->sentinels, i, until, &at, &why);
		if (rc != ERR_OK) {
			if (tried.port == 0)
				*e = why;
			continue;
		}
		answered = answered < n ? answered : i;
		rc = ERR_UNAVAILABLE;
		if (at.port == tried.port && strcmp(at.host, tried.host) == 0)
			continue;
		tried = at;
		rc = open_link(r, url, at.host, at.port, until, e);
		if (rc == ERR_OK)
			answered = i;
		else
			err_prefix(e, "%s:%d, master by word of a Sentinel", at.host, at.port);
	}
	if (answered < n)
		sentinels_prefer(r->sentinels, answered);
	return rc;
}

/* Half of it by chance: when a master goes, all its clients ask at once. */
static void pause_search(struct redis *r)
{
	uint32_t random = 0;
	ssize_t ignored = getrandom(&random, sizeof random, 0);
	(void)ignored;
	int64_t pause = r->pause_ms ? r->pause_ms * 2 : PAUSE_FIRST_MS;
	r->pause_ms = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
	r->again_ms = clock_mono_ms() + r->pause_ms / 2 + random % (r->pause_ms / 2 + 1);
}

static enum err_code connect_by_sentinels(struct redis *r, struct err *e)
{
	struct redis_url url = {.db = 0};
	struct err why = ERR_INIT;
	if (clock_mono_ms() < r->again_ms)
		return err_set(e, r->why.code, "%s", r->why.text);
	enum err_code rc = r->config->redis.url[0] ? redis_url_parse_any(r->config->redis.url, &url, &why) : ERR_OK;
	if (rc == ERR_OK)
		rc = find_master(r, &url, &why);
	redis_url_fini(&url);
	if (rc == ERR_OK) {
		r->pause_ms = r->again_ms = 0;
		return ERR_OK;
	}
	r->why = why;
	pause_search(r);
	return err_set(e, why.code, "%s", why.text);
}

enum err_code redis_connect(struct redis *r, struct err *e)
{
	if (r->ctx && hung_up(r))
		redis_disconnect(r);
	if (r->ctx)
		return ERR_OK;
	if (r->sentinels)
		return connect_by_sentinels(r, e);
	struct redis_url url;
	enum err_code rc = redis_url_parse(r->config->redis.url, &url, e);
	if (rc == ERR_OK)
		rc = open_link(r, &url, url.host, url.port, 0, e);
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
	while (k < n && k < JOINED_MAX && cmd_joins_with(cmds[0], cmds[k]))
		k++;
	return k;
}

static enum err_code append_joined(struct redis *r, struct cmd *const *cmds, size_t k, struct err *e)
{
	const struct cmd *first = cmds[0];
	size_t n = CMD_SCRIPT_HEAD + first->common, keys = first->common;
	for (size_t i = 0; i < k; i++) {
		n += cmds[i]->n - CMD_SCRIPT_HEAD - first->common;
		keys += cmds[i]->keys - first->common;
	}
	char head[32], digits[24], count[48];
	int digits_len = snprintf(digits, sizeof digits, "%zu", keys);
	int head_len = snprintf(head, sizeof head, "*%zu\r\n", n);
	int count_len = snprintf(count, sizeof count, "$%d\r\n%s\r\n", digits_len, digits);
	enum err_code rc = append_bytes(r, head, (size_t)head_len, e);
	if (rc == ERR_OK)
		rc = append_bytes(r, first->text.data, first->rest, e);
	if (rc == ERR_OK)
		rc = append_bytes(r, count, (size_t)count_len, e);
	if (rc == ERR_OK)
		rc = append_bytes(r, first->text.data + first->first, first->own - first->first, e);
	for (size_t i = 0; i < k && rc == ERR_OK; i++)
		rc = append_bytes(r, cmds[i]->text.data + cmds[i]->own, cmds[i]->args - cmds[i]->own, e);
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
	if (rc == ERR_OK && reply_type(whole) == REPLY_TEXT && strcmp(reply_text(whole, NULL), "ALL OK") == 0) {
		reply_free(whole);
		for (size_t i = 0; i < k; i++)
			replies[i] = reply_ok();
		return ERR_OK;
	}
	if (rc != ERR_OK || !whole || reply_type(whole) != REPLY_ARRAY) {
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

/* Are those of the commands that are durable with enough replicas? Else their replies are taken away: what they say may not
 * outlive the master. */
static enum err_code await_replicas(
        struct redis *r, struct cmd *const *cmds, size_t n, struct reply **replies, struct err *e)
{
	int wanted = r->config->redis.wait_replicas;
	bool any = false;
	for (size_t i = 0; i < n; i++)
		any = any || cmds[i]->durable;
	if (!any || wanted == 0)
		return ERR_OK;
	int64_t ms = r->config->redis.timeout_ms / 2;
	struct cmd c;
	struct reply *reply = NULL;
	cmd_init(&c);
	cmd_addstr(&c, "WAIT");
	cmd_addi64(&c, wanted);
	cmd_addi64(&c, ms < REPLICAS_MS ? ms : REPLICAS_MS);
	enum err_code rc = append(r, &c, false, e);
	if (rc == ERR_OK)
		rc = read_reply(r, &reply, e);
	int64_t have = reply_i64(reply, 0);
	if (rc == ERR_OK && have < wanted)
		rc = err_set(e, ERR_UNAVAILABLE,
		        "Redis: %lld of %d replicas have confirmed it in time: it may or may not be lost",
		        (long long)have, wanted);
	for (size_t i = 0; i < n && rc != ERR_OK; i++)
		if (cmds[i]->durable) {
			reply_free(replies[i]);
			replies[i] = NULL;
		}
	reply_free(reply);
	cmd_fini(&c);
	return rc;
}

/* What is no master any more is left: the next call looks for the one that is. */
static void leave_replica(struct redis *r, struct reply *const *replies, size_t n)
{
	static const char *const words[] = {"READONLY", "MASTERDOWN"};
	for (size_t i = 0; i < n && r->ctx; i++)
		for (size_t w = 0; w < 2 && r->ctx && reply_type(replies[i]) == REPLY_ERROR; w++)
			if (strncmp(reply_text(replies[i], NULL), words[w], strlen(words[w])) == 0)
				redis_disconnect(r);
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
	if (rc == ERR_OK)
		rc = await_replicas(r, cmds, n, replies, e);
	if (rc == ERR_NOMEM)
		redis_disconnect(r); /* half a pipeline may be in its buffer */
	leave_replica(r, replies, n);
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
