#include "shared/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = b->nomem = false;
	if (b->data)
		b->data[0] = '\0';
}

char *buf_room(struct buf *b, size_t len)
{
	if (b->failed || len > b->max - b->len) {
		b->failed = true;
		return NULL;
	}
	if (!b->data || b->len + len > b->cap) {
		size_t cap = b->cap ? b->cap : b->max < 64 ? b->max : 64;
		while (cap < b->len + len)
			cap = cap > b->max / 2 ? b->max : cap * 2;
		char *data = realloc(b->data, cap + 1);
		if (!data) {
			b->failed = b->nomem = true;
			return NULL;
		}
		b->data = data;
		b->cap = cap;
	}
	return b->data + b->len;
}

bool buf_add(struct buf *b, const void *bytes, size_t len)
{
	char *at = buf_room(b, len);
	if (!at)
		return false;
	if (len)
		memcpy(at, bytes, len);
	b->len += len;
	b->data[b->len] = '\0';
	return true;
}

bool buf_addstr(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

bool buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

bool buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	char *at = n < 0 ? NULL : buf_room(b, (size_t)n);
	if (at) {
		vsnprintf(at, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	} else {
		b->failed = true;
	}
	va_end(again);
	return at != NULL;
}

bool buf_add_be16(struct buf *b, uint16_t v)
{
	unsigned char bytes[2] = {(unsigned char)(v >> 8), (unsigned char)v};
	return buf_add(b, bytes, sizeof bytes);
}

bool buf_add_be32(struct buf *b, uint32_t v)
{
	unsigned char bytes[4] = {
	        (unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
	return buf_add(b, bytes, sizeof bytes);
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	char *out = NULL;
	if (buf_ok(b) && buf_add(b, "", 0))
		out = b->data;
	else
		free(b->data);
	buf_init(b, b->max);
	return out;
}
