/* The Lua scripts, embedded at build time from shared/queue/lua/NAME.lua. Constant; any thread. */
#ifndef DB_QUEUE_SCRIPTS_H
#define DB_QUEUE_SCRIPTS_H

#include <stddef.h>

enum script_id {
	SCRIPT_ENQUEUE,
	SCRIPT_ACCEPT,
	SCRIPT_LIST,
	SCRIPT_CANCEL,
	SCRIPT_DEPTH,
	SCRIPT_HEALTH,
	SCRIPT_START,
	SCRIPT_FINISH,
	SCRIPT_PROMOTE,
	SCRIPT_BEAT,
	SCRIPT_SWEEP,
	SCRIPT_SETTLE,
	SCRIPT_LOSE,
	SCRIPT_TAKE,
	SCRIPT_PARK,
	SCRIPT_TIDY,
	SCRIPT_PLACES,
	SCRIPT_COUNT
};

struct script {
	const char *name;
	const char *text;
	size_t len;
	const char *digest; /* SHA-1 of text, 40 hex digits */
};

extern const struct script scripts[SCRIPT_COUNT];

#endif
