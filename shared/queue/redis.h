/* One connection to Redis: hiredis, which nobody else of the project knows (but sentinel.c).
 *
 * Commands are built in a struct cmd (binary-safe, never through a format), sent as a pipeline, and answered by borrowed
 * struct reply trees. Scripts are called by EVALSHA; when Redis does not know one, it is sent whole (EVAL) and the call
 * goes on. A broken connection is dropped and made anew at the next call (never redisReconnect).
 *
 * With redis.sentinels each new connection begins with the question who is the master (sentinel.h), and is one only when the
 * server there says so itself (ROLE). All of it, to the last answer, takes at most redis.connect_timeout; after a failure
 * calls fail at once for a while (50 ms, doubling to 800 ms, half of it by chance). A connection is dropped, so that the next call asks again, when
 * the server has become a replica (READONLY, MASTERDOWN) or cuts it, which Sentinel sees to. (LOADING is no reason: who
 * loads was and still is what it is taken for.)
 * Thread rule: one struct redis per thread, except redis_interrupt.
 */
#ifndef DB_QUEUE_REDIS_H
#define DB_QUEUE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/config/config.h"
#include "shared/queue/scripts.h"

/* --- commands --- */

#define CMD_SCRIPT_HEAD 3 /* arguments before the keys: EVALSHA, digest, number of keys */
struct cmd {
	struct buf
	        text; /* the arguments as they go over the wire: "$<length>\r\n<bytes>\r\n" each (RESP, bulk strings) */
	size_t n;     /* how many */
	size_t rest;  /* of a script: where in text what follows its digest begins */
	const struct script *script; /* argument 1 is its digest; NULL: a plain command */
	size_t keys;                 /* of a script: how many; they begin at first */
	size_t first;                /* where in text they begin */
	size_t common, own, args;    /* of one that joins: how many are common, where its own and the arguments begin */
	bool joins;                  /* cmd_joins */
	bool durable;                /* cmd_durable */
	bool failed;                 /* an add failed: the command is refused when it is sent */
};

void cmd_init(struct cmd *c);
void cmd_fini(struct cmd *c);
void cmd_reset(struct cmd *c);
/* Begins EVALSHA <digest> <keys>; the caller adds the keys, then the arguments. */
void cmd_script(struct cmd *c, enum script_id id, size_t keys);
/* Neighbours in a pipeline that call the same script for the same common keys go as one call, which is a good deal cheaper:
 * with the common keys once, the own keys of all, and then the arguments of all. Said behind the common keys, and cmd_args
 * behind the own ones. Such a script answers a list with an item for each, an error being an item too, or the status 'ALL OK',
 * which stands for the item {'OK'} for each; an error of the whole call means that it has done nothing. */
void cmd_joins(struct cmd *c);
void cmd_args(struct cmd *c);
/* Could b follow a in one call? */
bool cmd_joins_with(const struct cmd *a, const struct cmd *b);
/* What this command writes is promised to somebody: with redis.wait_replicas its reply counts only when so many replicas have
 * it. If they have not in time, redis_pipeline takes the reply away (and it is unknown whether a failover will lose it). */
void cmd_durable(struct cmd *c);
void cmd_add(struct cmd *c, const void *bytes, size_t len);
void cmd_addstr(struct cmd *c, const char *text);
void cmd_addi64(struct cmd *c, int64_t v);
/* One argument made of n texts, at most CMD_PARTS_MAX. */
#define CMD_PARTS_MAX 24
void cmd_addparts(struct cmd *c, const char *const *parts, size_t n);
/* One argument made of up to three texts (NULL ends the list early): a key is prefix, kind, name. */
void cmd_addkey(struct cmd *c, const char *a, const char *b, const char *d);

/* --- replies: borrowed trees, freed by reply_free --- */

struct reply; /* a hiredis reply */

enum reply_type { REPLY_NIL, REPLY_TEXT, REPLY_INTEGER, REPLY_ARRAY, REPLY_ERROR };

enum reply_type reply_type(const struct reply *r); /* of NULL: REPLY_NIL */
/* The text of a REPLY_TEXT or REPLY_ERROR; else "". *len may be NULL. NUL-terminated; borrowed. */
const char *reply_text(const struct reply *r, size_t *len);
/* The value of a REPLY_INTEGER, or of a text that is one; else fallback. */
int64_t reply_i64(const struct reply *r, int64_t fallback);
size_t reply_count(const struct reply *r);                     /* of an array; else 0 */
const struct reply *reply_at(const struct reply *r, size_t i); /* NULL when there is none */
/* In an array of name, value, name, value: the value, or NULL. */
const struct reply *reply_field(const struct reply *r, const char *name);
void reply_free(struct reply *r);
/* The list {'OK'}, which costs nothing: the same one always, to be freed like any other. */
struct reply *reply_ok(void);

/* An error reply of the server as an error of ours: OOM, MISCONF, LOADING, READONLY, MASTERDOWN, NOAUTH... are
 * ERR_UNAVAILABLE, all others ERR_PERMANENT. ERR_OK when r is no error. */
enum err_code MUST_CHECK reply_error(const struct reply *r, struct err *e);

/* --- the connection --- */

struct redis;

/* Does not connect yet. Borrows c, which must outlive it. NULL: no memory. */
struct redis *redis_new(const struct config *c);
void redis_free(struct redis *r);

/* Connects if it is not connected (or the peer has hung up meanwhile). Called by redis_pipeline as needed. */
enum err_code MUST_CHECK redis_connect(struct redis *r, struct err *e);
bool redis_connected(const struct redis *r);
/* Which server that is: "host:port" or the socket's path, "" before the first connection. Valid until the next one. */
const char *redis_peer(const struct redis *r);
void redis_disconnect(struct redis *r);
/* How long the next reads may take; a blocking command needs its BLOCK and some seconds more. 0 = redis.timeout. */
void redis_set_timeout(struct redis *r, int64_t ms);

/* Sends n commands in one write and reads their replies. replies[i] is owned by the caller, an error reply of one
 * command is in its place (reply_error). When the connection fails: ERR_UNAVAILABLE, every reply that was not read is
 * NULL, and it is unknown whether those commands were executed. The same for commands that are durable (cmd_durable), when too
 * few replicas have confirmed them. */
enum err_code MUST_CHECK redis_pipeline(
        struct redis *r, struct cmd *const *cmds, size_t n, struct reply **replies, struct err *e);
/* One command; an error reply is turned into an error (reply_error) and *reply is then NULL. */
enum err_code MUST_CHECK redis_call(struct redis *r, struct cmd *c, struct reply **reply, struct err *e);

/* For a subscriber: reads the next message, waiting for it at most timeout_ms; *reply is NULL when none came. */
enum err_code MUST_CHECK redis_wait(struct redis *r, int64_t timeout_ms, struct reply **reply, struct err *e);

/* Ends a call that another thread is waiting in (that thread sees ERR_UNAVAILABLE). Any thread, as long as r lives. */
void redis_interrupt(struct redis *r);

#endif
