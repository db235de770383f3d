#include "shared/db/ch_tsv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/db/escape.h"

#define FIRST (64 << 10) /* bytes of the first allocation */
#define LOW (1 << 20)    /* bytes that are kept between two results; a longer line's memory is given back */

void ch_tsv_init(struct ch_tsv *t, size_t max)
{
	*t = (struct ch_tsv){.max = max, .low = LOW};
}

void ch_tsv_fini(struct ch_tsv *t)
{
	free(t->data);
	ch_tsv_init(t, t->max);
}

void ch_tsv_reset(struct ch_tsv *t)
{
	if (t->cap > t->low)
		ch_tsv_fini(t);
	t->at = t->end = t->last_end = 0;
	t->nomem = false;
}

/* Moves what is left to the front. */
static void compact(struct ch_tsv *t)
{
	if (t->at < t->end)
		memmove(t->data, t->data + t->at, t->end - t->at);
	t->end -= t->at;
	t->last_end = t->last_end > t->at ? t->last_end - t->at : 0;
	t->at = 0;
}

static bool make_room(struct ch_tsv *t, size_t len)
{
	if (t->at == t->end && t->cap > t->low)
		ch_tsv_reset(t);
	size_t left = t->end - t->at;
	if (len > t->max - left)
		return false;
	if (t->cap - t->end >= len)
		return true;
	bool cheap = t->at >= left && t->cap - left >= len;
	compact(t);
	if (cheap)
		return true;
	/* Twice the size, so that the moves cost no more than a constant for each byte. */
	size_t cap = t->cap ? t->cap * 2 : FIRST;
	while (cap < left + len)
		cap *= 2;
	char *data = realloc(t->data, cap);
	if (!data) {
		t->nomem = true;
		return false;
	}
	t->data = data;
	t->cap = cap;
	return true;
}

bool ch_tsv_add(struct ch_tsv *t, const char *bytes, size_t len)
{
	if (len == 0)
		return true;
	if (!make_room(t, len))
		return false;
	memcpy(t->data + t->end, bytes, len);
	const char *feed = memrchr(bytes, '\n', len);
	if (feed)
		t->last_end = t->end + (size_t)(feed - bytes) + 1;
	t->end += len;
	return true;
}

bool ch_tsv_has_line(const struct ch_tsv *t)
{
	return t->last_end > t->at;
}

char *ch_tsv_line(struct ch_tsv *t, size_t *len)
{
	if (!ch_tsv_has_line(t))
		return NULL;
	char *line = t->data + t->at;
	const char *feed = memchr(line, '\n', t->last_end - t->at);
	*len = (size_t)(feed - line);
	t->at += *len + 1;
	return line;
}

char *ch_tsv_rest(struct ch_tsv *t, size_t *len)
{
	*len = ch_tsv_has_line(t) ? t->end - t->last_end : t->end - t->at;
	return *len ? t->data + t->end - *len : NULL;
}

size_t ch_tsv_count(const char *line, size_t len)
{
	size_t n = 1;
	const char *end = line + len;
	for (const char *p = line; p < end && (p = memchr(p, '\t', (size_t)(end - p))); p++)
		n++;
	return n;
}

/* The byte that \c stands for; -1: ClickHouse does not write it. */
static int unescaped(char c)
{
	if (c == '0')
		return '\0';
	return c == '\\' || c == '\'' ? c : escape_control(c);
}

static bool unescape(char *data, bool raw, struct cell *c)
{
	char *end = data + c->len, *from = memchr(data, '\\', (size_t)c->len), *to = from;
	if (!from)
		return true;
	if (c->len == 2 && data[0] == '\\' && data[1] == 'N') {
		*c = (struct cell){NULL, -1};
		return true;
	}
	if (raw)
		return true;
	while (from) {
		int byte = from + 1 < end ? unescaped(from[1]) : -1;
		if (byte < 0)
			return false;
		*to++ = (char)byte;
		from += 2;
		char *next = memchr(from, '\\', (size_t)(end - from));
		size_t plain = (size_t)((next ? next : end) - from);
		memmove(to, from, plain);
		to += plain;
		from = next;
	}
	c->len = (int)(to - data);
	return true;
}

bool ch_tsv_split(char *line, size_t len, const bool *raw, struct cell *cells, size_t n, size_t *bytes)
{
	char *at = line, *end = line + len;
	if (n == 0)
		return false;
	for (size_t i = 0; i + 1 < n; i++) {
		char *tab = memchr(at, '\t', (size_t)(end - at));
		if (!tab)
			return false;
		cells[i] = (struct cell){at, (int)(tab - at)};
		at = tab + 1;
	}
	if (memchr(at, '\t', (size_t)(end - at)))
		return false;
	cells[n - 1] = (struct cell){at, (int)(end - at)};
	*bytes = len - (n - 1);
	if (!memchr(line, '\\', len))
		return true;
	*bytes = 0;
	for (size_t i = 0; i < n; i++) {
		if (!unescape((char *)(uintptr_t)cells[i].data, raw && raw[i], &cells[i]))
			return false;
		*bytes += cells[i].len > 0 ? (size_t)cells[i].len : 0;
	}
	return true;
}
