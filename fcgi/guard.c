#include "fcgi/guard.h"

#include <stdbool.h>
#include <stdint.h>

enum { TYPE_BEGIN_REQUEST = 1, TYPE_PARAMS = 4, TYPE_STDIN = 5 };
#define BEGIN_BYTES 8u
#define ROLE_RESPONDER 1u

void guard_reset(struct guard *g)
{
	*g = (struct guard){.state = GUARD_BEGIN, .why = ""};
}

static void refuse(struct guard *g, const char *why)
{
	g->state = GUARD_REFUSED;
	g->why = why;
}

static unsigned be16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* --- parameters --- */

/* A length is one byte, or four with the highest bit set. */
static size_t width_of(unsigned char first)
{
	return first & 0x80 ? 4 : 1;
}

static size_t length_of(const unsigned char *p)
{
	if (!(p[0] & 0x80))
		return p[0];
	return (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* One more byte of the two lengths. */
static void add_length(struct guard *g, unsigned char byte)
{
	g->lengths[g->n_lengths++] = byte;
	size_t name = width_of(g->lengths[0]);
	if (g->n_lengths <= name || g->n_lengths < name + width_of(g->lengths[name]))
		return;
	g->pair = length_of(g->lengths) + length_of(g->lengths + name);
	g->n_lengths = 0;
	if (g->pair > GUARD_PARAMS_MAX)
		refuse(g, "the length of a parameter");
}

static void feed_params(struct guard *g, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n && g->state == GUARD_PARAMS;) {
		if (g->pair > 0) {
			size_t step = g->pair < n - i ? g->pair : n - i;
			g->pair -= step;
			i += step;
		} else {
			add_length(g, p[i++]);
		}
	}
}

/* --- records --- */

static bool expects(const struct guard *g, unsigned type, unsigned id)
{
	if (g->state == GUARD_BEGIN)
		return type == TYPE_BEGIN_REQUEST && id != 0 && be16(g->head + 4) == BEGIN_BYTES;
	return id == g->id && type == (g->state == GUARD_PARAMS ? TYPE_PARAMS : TYPE_STDIN);
}

/* A record of no content ends its stream. */
static void end_stream(struct guard *g)
{
	if (g->padding > 0)
		refuse(g, "padding behind an empty record");
	else if (g->state == GUARD_STDIN)
		g->state = GUARD_DONE;
	else if (g->pair > 0 || g->n_lengths > 0)
		refuse(g, "the parameters end in the middle of one");
	else
		g->state = GUARD_STDIN;
}

/* The record's header is there. */
static void begin_record(struct guard *g)
{
	unsigned id = be16(g->head + 2);
	g->n_head = 0;
	if (g->head[0] != 1) {
		refuse(g, "another version of FastCGI, or none");
		return;
	}
	if (!expects(g, g->head[1], id)) {
		refuse(g, "a record that is not expected here");
		return;
	}
	g->id = id;
	g->content = be16(g->head + 4);
	g->padding = g->head[6];
	if (g->state == GUARD_PARAMS)
		g->params += g->content;
	if (g->params > GUARD_PARAMS_MAX)
		refuse(g, "too many parameters");
	else if (g->content == 0)
		end_stream(g);
}

static void feed_content(struct guard *g, const unsigned char *p, size_t n)
{
	if (g->state == GUARD_PARAMS)
		feed_params(g, p, n);
	for (size_t i = 0; i < n && g->state == GUARD_BEGIN; i++) {
		size_t at = BEGIN_BYTES - g->content + i; /* the role is in the first two bytes */
		if ((at == 0 && p[i] != 0) || (at == 1 && p[i] != ROLE_RESPONDER))
			refuse(g, "another role than that of a responder");
	}
	g->content -= n;
	if (g->state == GUARD_BEGIN && g->content == 0)
		g->state = GUARD_PARAMS;
}

size_t guard_feed(struct guard *g, const unsigned char *bytes, size_t n)
{
	size_t i = 0;
	while (i < n && g->state != GUARD_DONE && g->state != GUARD_REFUSED) {
		size_t left = n - i, step = 1;
		if (g->content > 0) {
			step = g->content < left ? g->content : left;
			feed_content(g, bytes + i, step);
		} else if (g->padding > 0) {
			step = g->padding < left ? g->padding : left;
			g->padding -= step;
		} else {
			g->head[g->n_head++] = bytes[i];
			if (g->n_head == sizeof g->head)
				begin_record(g);
		}
		i += step;
	}
	return g->state == GUARD_REFUSED ? 0 : i;
}
