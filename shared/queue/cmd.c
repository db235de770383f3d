#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/queue/redis.h"

#define CMD_MAX_BYTES (64u << 20)

void cmd_init(struct cmd *c)
{
	*c = (struct cmd){0};
	buf_init(&c->text, CMD_MAX_BYTES);
}

void cmd_fini(struct cmd *c)
{
	buf_fini(&c->text);
	free(c->ends);
	cmd_init(c);
}

void cmd_reset(struct cmd *c)
{
	buf_reset(&c->text);
	c->n = 0;
	c->script = NULL;
	c->failed = false;
}

/* Ends the argument whose bytes were just added to the text. */
static void end_argument(struct cmd *c)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 32;
		size_t *ends = realloc(c->ends, cap * sizeof *ends);
		if (!ends) {
			c->failed = true;
			return;
		}
		c->ends = ends;
		c->cap = cap;
	}
	c->ends[c->n++] = c->text.len;
	c->failed = c->failed || !buf_ok(&c->text);
}

void cmd_add(struct cmd *c, const void *bytes, size_t len)
{
	buf_add(&c->text, bytes, len);
	end_argument(c);
}

void cmd_addstr(struct cmd *c, const char *text)
{
	cmd_add(c, text, strlen(text));
}

void cmd_addi64(struct cmd *c, int64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof digits, "%" PRId64, v);
	cmd_add(c, digits, (size_t)n);
}

void cmd_addkey(struct cmd *c, const char *a, const char *b, const char *d)
{
	buf_addstr(&c->text, a);
	if (b)
		buf_addstr(&c->text, b);
	if (b && d)
		buf_addstr(&c->text, d);
	end_argument(c);
}

void cmd_script(struct cmd *c, enum script_id id, size_t keys)
{
	cmd_addstr(c, "EVALSHA");
	cmd_addstr(c, scripts[id].digest);
	cmd_addi64(c, (int64_t)keys);
	c->script = &scripts[id];
}
