/* Reads the arguments of a struct cmd back out of its wire form. */
#ifndef DB_TESTS_TEST_CMD_FIXTURE_H
#define DB_TESTS_TEST_CMD_FIXTURE_H

#include <stdlib.h>

#include "shared/queue/redis.h"

/* The bytes of argument i (0 is the command's name), borrowed; *len of them. NULL: there is none. */
static inline const char *cmd_argument(const struct cmd *c, size_t i, size_t *len)
{
	const char *at = c->text.data;
	for (size_t k = 0; at && at < c->text.data + c->text.len; k++) {
		char *end;
		if (*at != '$')
			return NULL;
		*len = strtoul(at + 1, &end, 10);
		if (k == i)
			return end + 2;
		at = end + 2 + *len + 2;
	}
	return NULL;
}

#endif
