#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared/queue/redis.h"

#define CMD_MAX_BYTES (64u << 20)
#define LENGTH_MAX 24 /* of "$<length>\r\n" */

void cmd_init(struct cmd *c)
{
	*c = (struct cmd){0};
	buf_init(&c->text, CMD_MAX_BYTES);
}

void cmd_fini(struct cmd *c)
{
	buf_fini(&c->text);
	cmd_init(c);
}

void cmd_reset(struct cmd *c)
{
	buf_reset(&c->text);
	c->n = 0;
	c->rest = 0;
	c->script = NULL;
	c->joins = false;
	c->durable = false;
	c->failed = false;
}

/* Writes v in decimal digits that end at end; returns where they begin. */
static char *digits(char *end, uint64_t v)
{
	do
		*--end = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	return end;
}

static void add_parts(struct cmd *c, const char *const *parts, const size_t *lens, size_t n)
{
	size_t len = 0;
	for (size_t i = 0; i < n; i++)
		len += lens[i];
	char *at = buf_room(&c->text, LENGTH_MAX + len + 2);
	c->n++;
	if (!at) {
		c->failed = true;
		return;
	}
	char length[LENGTH_MAX], *from = digits(length + sizeof length, len);
	size_t width = (size_t)(length + sizeof length - from);
	char *p = at;
	*p++ = '$';
	memcpy(p, from, width);
	p += width;
	*p++ = '\r';
	*p++ = '\n';
	for (size_t i = 0; i < n; i++) {
		if (lens[i])
			memcpy(p, parts[i], lens[i]);
		p += lens[i];
	}
	*p++ = '\r';
	*p++ = '\n';
	c->text.len += (size_t)(p - at);
	c->text.data[c->text.len] = '\0';
}

void cmd_add(struct cmd *c, const void *bytes, size_t len)
{
	const char *part = bytes;
	add_parts(c, &part, &len, 1);
}

void cmd_addstr(struct cmd *c, const char *text)
{
	cmd_add(c, text, strlen(text));
}

void cmd_addi64(struct cmd *c, int64_t v)
{
	char text[LENGTH_MAX], *end = text + sizeof text;
	char *from = digits(end, v < 0 ? -(uint64_t)v : (uint64_t)v);
	if (v < 0)
		*--from = '-';
	cmd_add(c, from, (size_t)(end - from));
}

void cmd_addparts(struct cmd *c, const char *const *parts, size_t n)
{
	size_t lens[CMD_PARTS_MAX];
	for (size_t i = 0; i < n; i++)
		lens[i] = strlen(parts[i]);
	add_parts(c, parts, lens, n);
}

void cmd_addkey(struct cmd *c, const char *a, const char *b, const char *d)
{
	const char *parts[] = {a, b ? b : "", b && d ? d : ""};
	cmd_addparts(c, parts, 3);
}

void cmd_script(struct cmd *c, enum script_id id, size_t keys)
{
	cmd_addstr(c, "EVALSHA");
	cmd_addstr(c, scripts[id].digest);
	c->rest = c->text.len;
	cmd_addi64(c, (int64_t)keys);
	c->script = &scripts[id];
	c->keys = keys;
	c->first = c->text.len;
}

void cmd_durable(struct cmd *c)
{
	c->durable = true;
}

void cmd_joins(struct cmd *c)
{
	c->joins = true;
	c->common = c->n - CMD_SCRIPT_HEAD;
	c->own = c->text.len;
}

void cmd_args(struct cmd *c)
{
	c->args = c->text.len;
}

bool cmd_joins_with(const struct cmd *a, const struct cmd *b)
{
	size_t len = a->own - a->first;
	return a->joins && b->joins && a->script == b->script && !a->failed && !b->failed && len == b->own - b->first &&
	        memcmp(a->text.data + a->first, b->text.data + b->first, len) == 0;
}
